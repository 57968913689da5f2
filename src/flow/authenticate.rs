//! Station 2, authenticate: who vouches for this letter?
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::decision::ListEvidence;
use crate::domain::door::Door;
use crate::domain::envelope::MailParameters;
use crate::domain::folder::FolderId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::rights::Right;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::accept::Accepted;
use crate::flow::accept::Credentials;
use crate::flow::judge;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::Office;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;

/// Counters of attempts that are remembered, of each kind.
const COUNTERS_MAX: usize = 100_000;
const WINDOW: Duration = Duration::from_secs(60);
/// A network may fail so many times as often as one name from it: a hospital has many people
/// behind one address, and some of them forget their password on the same morning.
const NAMES_OF_A_NETWORK: u32 = 10;

/// Login attempts: throttled by network address, verified in constant effort.
///
/// A counter belongs to a name *as tried from one network*, and a wider one to the network.
/// Nothing is counted per account alone: otherwise a stranger could lock a clinician out. A
/// password that was right a moment ago passes before anything is counted, so that a colleague's
/// program with an old password stops nobody who is at work.
pub struct Logins {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    failures_per_minute: u32,
    /// Names are kept as keyed hashes: a stranger chooses them, and their length.
    hasher: RandomState,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    by_name: HashMap<(IpAddr, u64), Window>,
    by_network: HashMap<IpAddr, Window>,
}

/// Attempts that failed or have no answer yet, since a moment.
#[derive(Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

impl Logins {
    /// Logins against a directory; in a minute, `failures_per_minute` are allowed for one name
    /// from one network, and ten times as many from the network.
    pub fn new(
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        failures_per_minute: u32,
    ) -> Self {
        let (hasher, attempts) = (RandomState::new(), Mutex::default());
        Self { directory, clock, failures_per_minute, hasher, attempts }
    }

    /// The mailbox that name and password open. All doors log in here (SMTP, IMAP, pages).
    ///
    /// Refuses with `AuthFailed`, `TooManyFromPeer` (for a minute), `Busy` or `DependencyFailed`.
    pub async fn login(
        &self,
        ip: Option<IpAddr>,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Account, Refusal> {
        match self.directory.recently_verified(name, password).await {
            Ok(Some(account)) => return Ok(account),
            Ok(None) => {}
            Err(error) => return Err(unanswered(&error)),
        }
        let caller = ip.map(|ip| (network_of(ip), self.hashed(name)));
        let now = self.clock.now();
        // Before the password is hashed, so that guesses made at the same time count as well.
        if caller.is_some_and(|caller| !self.count(caller, now)) {
            return Err(Refusal::TooManyFromPeer);
        }
        let verdict = match self.directory.login(name, password).await {
            Ok(Some(account)) => Ok(account),
            Ok(None) => return Err(Refusal::AuthFailed),
            Err(error) => Err(unanswered(&error)),
        };
        if let Some(caller) = caller {
            self.refund(caller, now);
        }
        verdict
    }

    fn hashed(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.to_ascii_lowercase())
    }

    /// Counts an attempt; false, and nothing counted, when there were too many.
    fn count(&self, (network, name): (IpAddr, u64), now: Timestamp) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = &mut *attempts;
        let all = window(&mut attempts.by_network, network, now);
        if all.count >= self.failures_per_minute.saturating_mul(NAMES_OF_A_NETWORK) {
            return false;
        }
        let one = window(&mut attempts.by_name, (network, name), now);
        if one.count >= self.failures_per_minute {
            return false;
        }
        one.count += 1;
        all.count += 1;
        true
    }

    /// The attempt of that moment was none: the password was right, or nobody could tell.
    fn refund(&self, (network, name): (IpAddr, u64), counted: Timestamp) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = &mut *attempts;
        let windows =
            [attempts.by_network.get_mut(&network), attempts.by_name.get_mut(&(network, name))];
        for window in windows.into_iter().flatten().filter(|window| window.since <= counted) {
            window.count = window.count.saturating_sub(1);
        }
    }
}

/// The current window of a key. When too many keys are remembered the old windows go; when
/// none is old, all go: a flood from so many networks may guess a little more for a moment, and
/// neither memory nor anybody's login is spent on it.
fn window<K: Hash + Eq>(windows: &mut HashMap<K, Window>, key: K, now: Timestamp) -> &mut Window {
    if windows.len() >= COUNTERS_MAX && !windows.contains_key(&key) {
        windows.retain(|_, window| now.since(window.since) < WINDOW);
        if windows.len() >= COUNTERS_MAX {
            windows.clear();
        }
    }
    let fresh = Window { since: now, count: 0 };
    let window = windows.entry(key).or_insert(fresh);
    if now.since(window.since) >= WINDOW {
        *window = fresh;
    }
    window
}

fn unanswered(error: &DirectoryError) -> Refusal {
    match error {
        DirectoryError::Busy => Refusal::Busy,
        error => {
            tracing::error!(%error, "the directory did not answer a login");
            Refusal::DependencyFailed
        }
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
    list: Option<ListEvidence>,
}

/// Binds the reverse path to what the caller has shown.
///
/// For another operator this is the point: its letter is judged here, by certificate and list as
/// they are now. What changes between here and the 250 counts for the next letter; content that
/// was asked for is not refused for a list that came while it was under way.
pub async fn authenticate(
    office: &Office,
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
) -> Result<Authenticated, Refusal> {
    let sender = reverse_path.address();
    let mut list = None;
    match (accepted.door(), &accepted.caller().credentials) {
        (Door::House, Credentials::House) => {}
        // The mailbox that sends a letter on answers for it.
        (Door::House, Credentials::Filter(account)) => {
            if account.suspended {
                return Err(Refusal::MailboxSuspended);
            }
            if sender.is_some_and(|sender| *sender != account.address) {
                return Err(Refusal::SenderNotYours);
            }
        }
        (Door::Submission | Door::Portal, Credentials::Login(account)) => {
            if account.suspended {
                return Err(Refusal::MailboxSuspended);
            }
            // A null path is fine: a read receipt is sent so (RFC 8098 §3), and the login vouches.
            if let Some(sender) = sender
                && !may_send_as(office, account, sender).await?
            {
                return Err(Refusal::SenderNotYours);
            }
        }
        (Door::Submission | Door::Portal, _) => return Err(Refusal::AuthRequired),
        (Door::Mx, Credentials::Operator(grounds)) => {
            let domain = sender.map(|sender| sender.domain());
            list = judge::verdict_with_evidence(office, grounds, domain, office.clock.now())?;
        }
        (Door::Mx, _) => return Err(Refusal::PeerCertificateMissing),
        (Door::House, _) => return Err(Refusal::AuthRequired),
    }
    if sender.is_some_and(|sender| sender.needs_smtputf8()) && !parameters.smtputf8 {
        return Err(Refusal::Utf8NotAnnounced);
    }
    Ok(Authenticated { accepted, reverse_path, parameters, list })
}

/// True for a login's own address, and for that of a mailbox here whose inbox grants the login
/// the right to post (RFC 4314 §2.1 `p`), at this moment.
///
/// # Errors
/// Temporary: it cannot be told now.
pub async fn may_send_as(
    office: &Office,
    account: &Account,
    address: &Address,
) -> Result<bool, Refusal> {
    if *address == account.address {
        return Ok(true);
    }
    if account.kind == MailboxKind::Citizen || !office.hosts(address.domain()) {
        return Ok(false);
    }
    let found = office.accounts.find(address).await.map_err(|error| unanswered(&error))?;
    let is_lent = |owner: &Account| !owner.suspended && owner.kind != MailboxKind::Citizen;
    let Some(owner) = found.filter(is_lent) else { return Ok(false) };
    let unread = |error: MailboxError| {
        tracing::error!(%error, "who may send as somebody else cannot be told");
        Refusal::DependencyFailed
    };
    let own = office.mailboxes.open(account).await.map_err(unread)?;
    // Most who try are granted nothing: one look, and the mailbox is not opened.
    if !office.mailboxes.may_grant(&owner, &own).await.map_err(unread)? {
        return Ok(false);
    }
    let lent = office.mailboxes.open_for(&owner, &own).await.map_err(unread)?;
    let rights = lent.rights(FolderId::INBOX).await.map_err(unread)?;
    Ok(rights.has(Right::Post))
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

    /// By which entry of which trust list it was let in, at the operators' door.
    pub fn list(&self) -> Option<&ListEvidence> {
        self.list.as_ref()
    }

    /// True when a filter sends the letter on.
    pub fn is_sent_on(&self) -> bool {
        matches!(self.accepted.caller().credentials, Credentials::Filter(_))
    }

    /// The mailbox whose login vouches, if any.
    pub fn account(&self) -> Option<&Account> {
        match &self.accepted.caller().credentials {
            Credentials::Login(account) => Some(account),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
