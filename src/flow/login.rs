//! Logging in, for every door alike: who comes, who vouches, and what it opens.
pub mod conversation; // SASL, for every door
pub mod live; // who is in
pub mod software; // client certificates
mod throttle; // how often somebody may be wrong

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::Domain;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Mechanism;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::login::live::Sessions;
use crate::flow::login::live::TokenTimes;
use crate::flow::login::throttle::Throttle;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::chain::Admitted;
use crate::infra::directory::chain::Chain;

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
}

/// Login attempts: throttled by network address, verified in constant effort.
pub struct Logins {
    chain: Arc<Chain>,
    clock: Arc<dyn Clock>,
    throttle: Throttle,
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
    /// Logins against directories; in a minute, `failures_per_minute` are allowed for one name
    /// from one network, and ten times as many from the network.
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
        Self { chain, clock, throttle: Throttle::new(failures_per_minute), settings, sessions }
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
    /// Refuses with `AuthFailed`, `TooManyFromPeer` (for a minute), `Busy`, `DirectoryAway` or
    /// `DependencyFailed`.
    pub async fn login(
        &self,
        visitor: Visitor,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Login, Refusal> {
        match self.chain.recently(name, password).await {
            Ok(Some(admitted)) => return self.let_in(visitor, admitted),
            Ok(None) => {}
            Err(error) => return Err(unanswered(&error)),
        }
        let caller = visitor.ip.map(|ip| self.throttle.caller(ip, name));
        let now = self.clock.now();
        // Before the password is hashed, so that guesses made at the same time count as well.
        if caller.is_some_and(|caller| !self.throttle.count(caller, now)) {
            return Err(Refusal::TooManyFromPeer);
        }
        let verdict = match self.chain.password(name, password).await {
            Ok(Some(admitted)) => Ok(admitted),
            Ok(None) => return Err(Refusal::AuthFailed),
            // Not refunded: while a directory is away, nobody may guess local passwords.
            Err(error @ DirectoryError::Unsettled { .. }) => return Err(unanswered(&error)),
            Err(error) => Err(unanswered(&error)),
        };
        if let Some(caller) = caller {
            self.throttle.refund(caller, now);
        }
        self.let_in(visitor, verdict?)
    }

    /// Whether what a directory admits is good for this door. That a password is right is nobody's
    /// business where it opens nothing.
    fn let_in(&self, visitor: Visitor, admitted: Admitted) -> Result<Login, Refusal> {
        let Admitted { account, source, means, scope, network, until } = admitted;
        let is_page = visitor.entrance == Entrance::Pages;
        // A patient reads and answers on the inbox page, and nowhere else.
        let is_at_home = account.kind != MailboxKind::Citizen || is_page;
        let may_show = is_page || self.settings.passwords_on_clients || means != Means::Password;
        // Without an address somebody calls from this machine.
        let is_near = network.zip(visitor.ip).is_none_or(|(network, ip)| network.contains(ip));
        if !is_at_home || !is_near || !may_show || !scope.covers(visitor.entrance.needs()) {
            return Err(Refusal::AuthFailed);
        }
        Ok(Login { account, source, means, scope, until })
    }
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
