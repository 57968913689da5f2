//! Logging in, for every door alike: who comes, who vouches, and what it opens.
pub mod conversation; // SASL, for every door
#[cfg(test)]
pub(crate) mod fake;
pub mod live; // who is in
pub mod software; // client certificates
mod throttle; // how often somebody may be wrong

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::domain::address::Domain;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Mechanism;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::login::live::Cuts;
use crate::flow::login::live::Sessions;
use crate::flow::login::live::TokenTimes;
use crate::flow::login::throttle::Counted;
use crate::flow::login::throttle::Throttle;
use crate::flow::login::throttle::Tried;
use crate::flow::login::throttle::Turn;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::Arrival;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Voucher;
use crate::infra::directory::chain::Admitted;
use crate::infra::directory::chain::Chain;
use crate::infra::metrics::Metrics;

/// How long a login from nowhere usual waits for its turn.
const STRANGERS_WAIT: Duration = Duration::from_secs(10);

/// Somebody at a door, before they are known.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// Which door.
    pub entrance: Entrance,
    /// From where.
    pub ip: Option<IpAddr>,
}

/// Somebody who came in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The mailbox that is theirs here.
    pub account: Account,
    /// Who vouches.
    pub source: Source,
    /// What they showed.
    pub means: Means,
    /// What it is good for.
    pub scope: Scope,
    /// When what they showed ends.
    pub until: Option<Timestamp>,
    /// How many sessions had been cut when they began to log in: what is cut meanwhile counts.
    pub began: Cuts,
    /// Who they are to an OpenID provider, when it was one that vouched.
    pub voucher: Option<Voucher>,
}

/// Login attempts: throttled by network address, verified in constant effort.
pub struct Logins {
    chain: Arc<Chain>,
    clock: Arc<dyn Clock>,
    throttle: Throttle,
    /// Places for logins that are held.
    held: Semaphore,
    /// Places for logins that wait in a lane.
    in_lanes: Semaphore,
    /// Turns of those who come from nowhere usual.
    strangers: Arc<Semaphore>,
    metrics: Option<Arc<Metrics>>,
    settings: Settings,
    sessions: Sessions,
}

/// What the configuration says of logins.
pub struct Settings {
    /// What is offered where a door can carry it, in this order.
    pub mechanisms: Vec<Mechanism>,
    /// Mail programs may use a person's own password.
    pub passwords_on_clients: bool,
    /// A login name without `@` belongs here.
    pub home: Option<Domain>,
    /// From it follows what a stranger hears of names that nobody has. It outlives restarts.
    pub relay_key: Secret<[u8; 32]>,
    /// Where a client learns how to get a token, if there is such a place.
    pub openid_configuration: Option<String>,
    /// How long sessions may last that began with a token.
    pub token_times: TokenTimes,
}

impl Logins {
    /// Logins against directories; after `failures_per_minute` with one name from one address, or
    /// ten times as many from the address, tries are turned away for a while.
    pub fn new(chain: Arc<Chain>, clock: Arc<dyn Clock>, failures_per_minute: u32) -> Self {
        let times =
            TokenTimes { session: Duration::from_secs(14_400), idle: Duration::from_secs(1_800) };
        let settings = Settings {
            mechanisms: Mechanism::ALL.to_vec(),
            passwords_on_clients: true,
            home: None,
            relay_key: Secret::new([0; 32]),
            openid_configuration: None,
            token_times: times,
        };
        let sessions = Sessions::new(Arc::clone(&clock), times);
        Self {
            chain,
            clock,
            throttle: Throttle::new(failures_per_minute),
            held: Semaphore::new(limits::LOGINS_HELD_MAX),
            in_lanes: Semaphore::new(limits::LOGINS_IN_LANES_MAX),
            strangers: Arc::new(Semaphore::new(limits::STRANGERS_AT_ONCE)),
            metrics: None,
            settings,
            sessions,
        }
    }

    /// Attempts are counted there.
    #[must_use]
    pub fn counted_by(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// With these settings. Nobody has logged in yet.
    #[must_use]
    pub fn configured(mut self, settings: Settings) -> Self {
        self.sessions = Sessions::new(Arc::clone(&self.clock), settings.token_times);
        self.settings = settings;
        self
    }

    /// Who is in.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The mailbox that name and password open. All doors log in here.
    ///
    /// Refuses with `AuthFailed`, `TooManyFromPeer` (for minutes), `Busy`, `DirectoryAway` or
    /// `DependencyFailed`. A password that is right and opens nothing here (another door, another
    /// network) is answered as a wrong one is, after the same work, and counts as one.
    pub async fn login(
        &self,
        visitor: Visitor,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Login, Refusal> {
        let began = self.sessions.cuts();
        let tried = self.tried(visitor, name);
        // Nobody guesses one of these: whatever happened in its network, it is heard at once.
        match self.chain.app_password(name, password).await {
            Ok(Some(admitted)) => {
                if let Ok(login) = self.let_in(visitor, admitted, began) {
                    self.welcome(visitor, tried, &login).await;
                    return Ok(login);
                }
            }
            Ok(None) => {}
            Err(error) => return Err(self.told(visitor, "app-password", unanswered(&error))),
        }
        if tried.is_none_or(|tried| self.throttle.may_glance(tried)) {
            match self.chain.recently(name, password).await {
                Ok(Some(admitted)) => {
                    if let Ok(login) = self.let_in(visitor, admitted, began) {
                        self.welcome(visitor, tried, &login).await;
                        return Ok(login);
                    }
                }
                Ok(None) => {}
                Err(error) => return Err(self.told(visitor, "password", unanswered(&error))),
            }
        }
        let attempt = self.attempt(visitor, name).await?;
        let verdict = self.chain.password(name, password).await;
        self.settle(visitor, attempt, "password", verdict).await
    }

    /// A token that was right before and has not ended, whatever happened in its network.
    async fn known_token(
        &self,
        visitor: Visitor,
        name: &str,
        token: &Secret<String>,
        began: Cuts,
    ) -> Result<Option<Login>, Refusal> {
        let admitted = match self.chain.recent_token(name, token).await {
            Ok(admitted) => admitted,
            Err(error) => return Err(self.told(visitor, "token", unanswered(&error))),
        };
        let login = admitted.and_then(|admitted| self.let_in(visitor, admitted, began).ok());
        if let Some(login) = &login {
            self.welcome(visitor, self.tried(visitor, name), login).await;
        }
        Ok(login)
    }

    /// Counts an attempt before it is looked at, so that attempts made at the same time count,
    /// and waits until it may be.
    async fn attempt(&self, visitor: Visitor, name: &str) -> Result<Attempt, Refusal> {
        let began = self.sessions.cuts();
        let Some(tried) = self.tried(visitor, name) else {
            return Ok(Attempt { began, counted: None, _turn: None });
        };
        let turned_away = || self.told(visitor, "unread", Refusal::TooManyFromPeer);
        let now = self.clock.now();
        let mut is_usual = self.throttle.is_usual(tried);
        if !is_usual && self.throttle.would_wait(tried, now) {
            // What was usual before the last start.
            is_usual = self.chain.mailboxes().is_usual(name, tried.neighbourhood()).await;
        }
        let counted = match self.throttle.count(tried, is_usual, now) {
            Turn::TurnedAway => return Err(turned_away()),
            Turn::In(wait, counted) => {
                if !wait.is_zero() {
                    let Ok(_place) = self.held.try_acquire() else { return Err(turned_away()) };
                    tokio::time::sleep(wait).await;
                }
                counted
            }
            Turn::Lane(counted) => {
                let Ok(_place) = self.in_lanes.try_acquire() else { return Err(turned_away()) };
                let Some(place) = self.throttle.queue_up(tried) else { return Err(turned_away()) };
                place.turn().await;
                counted
            }
        };
        let mut turn = None;
        if !is_usual {
            let next = Arc::clone(&self.strangers).acquire_owned();
            match tokio::time::timeout(STRANGERS_WAIT, next).await {
                Ok(Ok(permit)) => turn = Some(permit),
                _ => {
                    self.throttle.refund(tried, counted);
                    return Err(self.told(visitor, "unread", Refusal::Busy));
                }
            }
        }
        Ok(Attempt { began, counted: Some((tried, counted)), _turn: turn })
    }

    /// What a directory said, as a login at this door.
    async fn settle(
        &self,
        visitor: Visitor,
        attempt: Attempt,
        means: &'static str,
        verdict: Result<Option<Admitted>, DirectoryError>,
    ) -> Result<Login, Refusal> {
        let tried = attempt.counted.map(|(tried, _)| tried);
        let login = match verdict {
            Ok(Some(admitted)) => self.let_in(visitor, admitted, attempt.began),
            Ok(None) => Err(Refusal::AuthFailed),
            Err(error) => {
                // Not refunded: while a directory is away, nobody may guess local passwords.
                if !matches!(error, DirectoryError::Unsettled { .. }) {
                    self.refund(&attempt);
                }
                return Err(self.told(visitor, means, unanswered(&error)));
            }
        };
        match login {
            Ok(login) => {
                self.refund(&attempt);
                self.welcome(visitor, tried, &login).await;
                Ok(login)
            }
            Err(refusal) => Err(self.told(visitor, means, refusal)),
        }
    }

    fn refund(&self, attempt: &Attempt) {
        if let Some((tried, counted)) = attempt.counted {
            self.throttle.refund(tried, counted);
        }
    }

    /// What is remembered of somebody who came in.
    async fn welcome(&self, visitor: Visitor, tried: Option<Tried>, login: &Login) {
        let at = self.clock.now();
        if let Some(tried) = tried {
            self.throttle.came_in(tried, at);
        }
        let arrival = Arrival {
            mailbox: login.account.id,
            means: login.means.clone(),
            entrance: visitor.entrance,
            ip: visitor.ip,
            at,
        };
        self.chain.mailboxes().arrived(&arrival).await;
        self.tally(visitor, "succeeded", login.means.name());
    }

    fn told(&self, visitor: Visitor, means: &'static str, refusal: Refusal) -> Refusal {
        let result = match refusal {
            Refusal::AuthFailed => "refused",
            Refusal::TooManyFromPeer => "turned-away",
            Refusal::Busy => "busy",
            _ => "unanswered",
        };
        self.tally(visitor, result, means);
        refusal
    }

    fn tally(&self, visitor: Visitor, result: &'static str, means: &'static str) {
        if let Some(metrics) = &self.metrics {
            let now = self.clock.now();
            metrics.login_attempt(visitor.entrance.name(), result, means, now);
        }
    }

    /// How an attempt is counted: by address, and by name as the mailbox is called.
    fn tried(&self, visitor: Visitor, name: &str) -> Option<Tried> {
        let ip = visitor.ip?;
        Some(match (&self.settings.home, name.contains('@')) {
            (Some(home), false) => self.throttle.tried(ip, &format!("{name}@{home}")),
            _ => self.throttle.tried(ip, name),
        })
    }

    /// Whether what a directory admits is good for this door. That a password is right is nobody's
    /// business where it opens nothing.
    fn let_in(&self, visitor: Visitor, admitted: Admitted, began: Cuts) -> Result<Login, Refusal> {
        let Admitted { account, source, means, scope, network, until, voucher } = admitted;
        let is_page = visitor.entrance == Entrance::Pages;
        // A patient reads and answers on the inbox page, and nowhere else.
        let is_at_home = account.kind != MailboxKind::Citizen || is_page;
        // App passwords are for programs that can do no better; on the pages they would be a way
        // around a second factor.
        let may_show = match means {
            Means::AppPassword(_) => !is_page,
            Means::Password => is_page || self.settings.passwords_on_clients,
            Means::Token | Means::Certificate => true,
        };
        // Without an address somebody calls from this machine.
        let is_near = network.zip(visitor.ip).is_none_or(|(network, ip)| network.contains(ip));
        if !is_at_home || !is_near || !may_show || !scope.covers(visitor.entrance.needs()) {
            return Err(Refusal::AuthFailed);
        }
        Ok(Login { account, source, means, scope, until, began, voucher })
    }
}

/// An attempt that is being looked at. It counts as a failure until the directory has said yes,
/// also when the client goes away meanwhile.
struct Attempt {
    began: Cuts,
    counted: Option<(Tried, Counted)>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// What is said when a directory did not answer.
pub(in crate::flow) fn unanswered(error: &DirectoryError) -> Refusal {
    match error {
        DirectoryError::Busy => Refusal::Busy,
        // The chain tells the log once, and not at each login.
        DirectoryError::Away { .. } | DirectoryError::Unsettled { .. } => Refusal::DirectoryAway,
        error => {
            tracing::error!(%error, "the directory did not answer");
            Refusal::DependencyFailed
        }
    }
}

#[cfg(test)]
mod tests;
