//! Station 2, authenticate: who vouches for this letter?
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::address::ReversePath;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::accept::Accepted;
use crate::flow::accept::Credentials;
use crate::flow::office::Office;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::Directory;

/// Networks whose failed logins are remembered; beyond it the oldest windows are forgotten.
const NETWORKS_MAX: usize = 100_000;
const WINDOW: Duration = Duration::from_secs(60);

/// Login attempts: throttled by network address, verified in constant effort.
///
/// Nothing is counted per account: otherwise a stranger could lock a clinician out.
pub struct Logins {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    failures_per_minute: u32,
    failures: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl Logins {
    /// Logins against a directory; `failures_per_minute` are allowed from one network.
    pub fn new(
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        failures_per_minute: u32,
    ) -> Self {
        Self { directory, clock, failures_per_minute, failures: Mutex::default() }
    }

    /// The mailbox that name and password open. All doors log in here (SMTP, IMAP, pages).
    ///
    /// Refuses with `AuthFailed`, `TooManyFromPeer` (for a minute) or `DependencyFailed`.
    pub async fn login(
        &self,
        ip: Option<IpAddr>,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Account, Refusal> {
        let network = ip.map(network_of);
        let now = self.clock.now();
        if network.is_some_and(|network| self.is_throttled(network, now)) {
            return Err(Refusal::TooManyFromPeer);
        }
        match self.directory.login(name, password).await {
            Ok(Some(account)) => Ok(account),
            Ok(None) => {
                if let Some(network) = network {
                    self.count_failure(network, now);
                }
                Err(Refusal::AuthFailed)
            }
            Err(error) => {
                tracing::error!(%error, "the directory did not answer a login");
                Err(Refusal::DependencyFailed)
            }
        }
    }

    fn is_throttled(&self, network: IpAddr, now: Timestamp) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&network).is_some_and(|(since, count)| {
            now.since(*since) < WINDOW && *count >= self.failures_per_minute
        })
    }

    fn count_failure(&self, network: IpAddr, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= NETWORKS_MAX {
            failures.retain(|_, (since, _)| now.since(*since) < WINDOW);
        }
        let entry = failures.entry(network).or_insert((now, 0));
        if now.since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

/// One IPv6 subscriber has a /64 at least: counting single addresses would count nothing.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((u128::from(six) & !(u128::from(u64::MAX))).into()),
        },
    }
}

/// A letter somebody vouches for.
#[derive(Debug)]
pub struct Authenticated {
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
}

/// Binds the reverse path to what the caller has shown.
pub fn authenticate(
    office: &Office,
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
) -> Result<Authenticated, Refusal> {
    let sender = reverse_path.address();
    match (accepted.door(), &accepted.caller().credentials) {
        (Door::House, Credentials::House) => {}
        (Door::Submission | Door::Portal, Credentials::Login(account)) => {
            if account.suspended {
                return Err(Refusal::MailboxSuspended);
            }
            // A null path is fine: a read receipt is sent so (RFC 8098 §3), and the login vouches.
            if sender.is_some_and(|sender| *sender != account.address) {
                return Err(Refusal::SenderNotYours);
            }
        }
        (Door::Submission | Door::Portal, _) => return Err(Refusal::AuthRequired),
        (Door::Mx, Credentials::Operator(peer)) => {
            office.trust.judge_peer(&peer.subject, sender.map(|sender| sender.domain()))?;
        }
        (Door::Mx, _) => return Err(Refusal::PeerCertificateMissing),
        (Door::House, _) => return Err(Refusal::AuthRequired),
    }
    if sender.is_some_and(|sender| sender.needs_smtputf8()) && !parameters.smtputf8 {
        return Err(Refusal::Utf8NotAnnounced);
    }
    Ok(Authenticated { accepted, reverse_path, parameters })
}

impl Authenticated {
    /// Who stands at the door.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// The sender.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// What MAIL said besides.
    pub fn parameters(&self) -> &MailParameters {
        &self.parameters
    }

    /// The mailbox whose login vouches, if any.
    pub fn account(&self) -> Option<&Account> {
        match &self.accepted.caller().credentials {
            Credentials::Login(account) => Some(account),
            _ => None,
        }
    }
}
