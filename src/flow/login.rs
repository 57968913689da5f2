//! Logging in, for every door alike: who comes, who vouches, and what it opens.
mod throttle;

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
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
}

impl Logins {
    /// Logins against directories; in a minute, `failures_per_minute` are allowed for one name
    /// from one network, and ten times as many from the network.
    pub fn new(chain: Arc<Chain>, clock: Arc<dyn Clock>, failures_per_minute: u32) -> Self {
        Self { chain, clock, throttle: Throttle::new(failures_per_minute) }
    }

    /// The mailbox that name and password open. All doors log in here.
    ///
    /// Refuses with `AuthFailed`, `TooManyFromPeer` (for a minute), `Busy` or `DependencyFailed`.
    pub async fn login(
        &self,
        visitor: Visitor,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Login, Refusal> {
        match self.chain.recently(name, password).await {
            Ok(Some(admitted)) => return let_in(visitor, admitted),
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
            Err(error) => Err(unanswered(&error)),
        };
        if let Some(caller) = caller {
            self.throttle.refund(caller, now);
        }
        let_in(visitor, verdict?)
    }
}

/// Whether what a directory admits is good for this door. That a password is right is nobody's
/// business where it opens nothing.
fn let_in(visitor: Visitor, admitted: Admitted) -> Result<Login, Refusal> {
    let Admitted { account, source, means, scope, network, until } = admitted;
    // A patient reads and answers on the inbox page, and nowhere else.
    let is_at_home = account.kind != MailboxKind::Citizen || visitor.entrance == Entrance::Pages;
    // Without an address somebody calls from this machine.
    let is_near = network.zip(visitor.ip).is_none_or(|(network, ip)| network.contains(ip));
    if !is_at_home || !is_near || !scope.covers(visitor.entrance.needs()) {
        return Err(Refusal::AuthFailed);
    }
    Ok(Login { account, source, means, scope, until })
}

/// What is said when a directory did not answer.
pub(in crate::flow) fn unanswered(error: &DirectoryError) -> Refusal {
    match error {
        DirectoryError::Busy => Refusal::Busy,
        error => {
            tracing::error!(%error, "the directory did not answer");
            Refusal::DependencyFailed
        }
    }
}

#[cfg(test)]
mod tests;
