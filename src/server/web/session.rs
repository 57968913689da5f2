//! Logins to the pages: in memory only, so that a restart ends them and a disk never holds one.
//!
//! The cookie carries 128 random bits and nothing else. We keep only their digest: who reads
//! our memory cannot log in, and comparing digests tells a listener nothing about the token.
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::login::live::Seat;
use crate::infra::directory::Account;
use crate::infra::directory::factors::passkeys::Ceremony;

/// The cookie of a login. `__Host-`: only this host over TLS can set it, for the whole site.
pub const SESSION_COOKIE: &str = "__Host-vaguemestre";
/// The cookie that binds a login form to the browser that fetched it.
pub const FORM_COOKIE: &str = "__Host-form";
/// The cookie of a browser that is at the OpenID provider.
pub const OIDC_COOKIE: &str = "__Host-oidc";
/// The cookie of the chosen language.
pub const LANG_COOKIE: &str = "__Host-lang";

/// Who logged in.
#[derive(Clone, Debug)]
pub enum Person {
    /// A patient, to their own inbox.
    Citizen(Box<Account>),
    /// A professional, to their own page.
    Professional(Box<Account>),
    /// Whose password was right and whose second factor is still to come: to no page but the
    /// one that asks for it.
    HalfIn(Box<Account>),
    /// An administrator of this name, to the dashboard.
    Administrator(String),
    /// An administrator whose password was right and whose passkey is still to come.
    HalfInAdministrator(String),
}

/// A login that an OpenID provider vouched for: what its logout message will name, and what
/// ours must carry.
#[derive(Debug)]
pub struct Vouched {
    /// The provider's session.
    pub sid: Option<String>,
    /// The provider's name for the person.
    pub subject: String,
    /// The ID token, shown again when the person logs out.
    pub id_token: Secret<String>,
    /// All mailboxes that the person may open.
    pub mailboxes: Vec<Address>,
    /// When the provider must be asked again (`login.token_session_seconds`).
    pub until: Timestamp,
}

/// Something to say on the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The answer is sent and filed.
    Sent,
    /// The answer is sent; its copy could not be filed.
    SentWithoutCopy,
}

/// One login.
pub struct Session {
    /// Who.
    pub person: Person,
    /// Must come back in every POST.
    pub csrf: Secret<String>,
    /// The OpenID provider's part, when it was one that vouched.
    pub vouched: Option<Arc<Vouched>>,
    /// Its place among all who are in the mailbox; it can be ended there.
    seat: Option<Seat>,
    created: Timestamp,
    last_seen: AtomicU64,
    notice: Mutex<Option<Notice>>,
    proposal: Mutex<Option<Secret<Vec<u8>>>>,
    /// The challenge that a browser has, and the name that a new passkey shall have.
    ceremony: Mutex<Option<(Ceremony, String)>>,
    /// When a second factor was shown again, to change something.
    shown_again: Mutex<Option<Timestamp>>,
    used_tickets: Mutex<VecDeque<String>>,
}

/// All logins.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<HashMap<[u8; 32], Arc<Session>>>,
}

/// A lock that is never poisoned for long: what it guards is valid after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    name
}

/// Compares two tokens without telling how much of them agrees.
pub fn same_token(one: &str, other: &str) -> bool {
    !one.is_empty() && verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

impl Sessions {
    /// Begins a login under a fresh token, never under one that the browser brought.
    pub fn begin(
        &self,
        token: &Secret<String>,
        csrf: Secret<String>,
        person: Person,
        vouched: Option<Arc<Vouched>>,
        seat: Option<Seat>,
        now: Timestamp,
    ) {
        let mut open = lock(&self.open);
        open.retain(|_, session| session.alive(now));
        let mine = |session: &Session| session.person.is_same(&person);
        while open.values().filter(|session| mine(session)).count()
            >= limits::WEB_SESSIONS_PER_PERSON_MAX
        {
            end_idlest(&mut open, mine);
        }
        while open.len() >= limits::WEB_SESSIONS_MAX {
            end_idlest(&mut open, |_| true);
        }
        let session = Session {
            person,
            csrf,
            vouched,
            seat,
            created: now,
            last_seen: AtomicU64::new(now.as_millis()),
            notice: Mutex::new(None),
            proposal: Mutex::new(None),
            ceremony: Mutex::new(None),
            shown_again: Mutex::new(None),
            used_tickets: Mutex::new(VecDeque::new()),
        };
        open.insert(name_of(token.expose()), Arc::new(session));
    }

    /// The login of a cookie, if it is still alive; it is used now.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<Arc<Session>> {
        let name = name_of(token);
        let mut open = lock(&self.open);
        let session = Arc::clone(open.get(&name)?);
        if !session.alive(now) {
            open.remove(&name);
            return None;
        }
        session.last_seen.store(now.as_millis(), Ordering::Relaxed);
        if let Some(seat) = &session.seat {
            seat.touch();
        }
        Some(session)
    }

    /// Ends a login.
    pub fn end(&self, token: &str) {
        lock(&self.open).remove(&name_of(token));
    }

    /// Ends the logins that a provider vouched for: of one of its sessions, or of a person
    /// altogether when it names no session. Answers how many.
    pub fn end_vouched(&self, sid: Option<&str>, subject: Option<&str>) -> usize {
        let mut open = lock(&self.open);
        let before = open.len();
        open.retain(|_, session| {
            let Some(vouched) = &session.vouched else { return true };
            let is_session = sid.is_none_or(|sid| vouched.sid.as_deref() == Some(sid));
            let is_person = subject.is_none_or(|subject| vouched.subject == subject);
            (sid.is_none() && subject.is_none()) || !is_session || !is_person
        });
        before - open.len()
    }

    /// Whom a session of the provider is of.
    pub fn subject_of(&self, sid: &str) -> Option<String> {
        let open = lock(&self.open);
        let mut vouched = open.values().filter_map(|session| session.vouched.as_ref());
        vouched.find(|it| it.sid.as_deref() == Some(sid)).map(|it| it.subject.clone())
    }

    /// Logins that are alive.
    pub fn count(&self, now: Timestamp) -> usize {
        lock(&self.open).values().filter(|session| session.alive(now)).count()
    }
}

fn end_idlest(open: &mut HashMap<[u8; 32], Arc<Session>>, among: impl Fn(&Session) -> bool) {
    let idlest = open
        .iter()
        .filter(|(_, session)| among(session))
        .min_by_key(|(_, session)| session.last_seen.load(Ordering::Relaxed))
        .map(|(name, _)| *name);
    if let Some(name) = idlest {
        open.remove(&name);
    }
}

impl Person {
    /// Who counts as one when logins are bounded. Half a login is somebody else's: a password
    /// alone must not push its owner out.
    fn is_same(&self, other: &Self) -> bool {
        match (self.who(), other.who()) {
            (Ok(name), Ok(other)) => name == other,
            (Err(mailbox), Err(other)) => mailbox == other,
            _ => false,
        }
    }

    /// The administrator's name or the mailbox, and whether the login is whole.
    fn who(&self) -> Result<(&str, bool), (MailboxId, bool)> {
        match self {
            Self::Citizen(account) | Self::Professional(account) => Err((account.id, true)),
            Self::HalfIn(account) => Err((account.id, false)),
            Self::Administrator(name) => Ok((name, true)),
            Self::HalfInAdministrator(name) => Ok((name, false)),
        }
    }
}

impl Session {
    fn alive(&self, now: Timestamp) -> bool {
        let last_seen = Timestamp::from_millis(self.last_seen.load(Ordering::Relaxed));
        self.vouched.as_ref().is_none_or(|vouched| now < vouched.until)
            && self.seat.as_ref().is_none_or(|seat| seat.is_over().is_none())
            && now.since(last_seen) < limits::WEB_SESSION_IDLE
            && now.since(self.created) < limits::WEB_SESSION_LIFETIME
    }

    /// Leaves something to say on the next page.
    pub fn leave(&self, notice: Notice) {
        *lock(&self.notice) = Some(notice);
    }

    /// Takes what was left, once.
    pub fn notice(&self) -> Option<Notice> {
        lock(&self.notice).take()
    }

    /// How long ago it began.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.created)
    }

    /// Keeps the secret that an authenticator program is learning: in no form and no cookie.
    pub fn propose(&self, secret: Secret<Vec<u8>>) {
        *lock(&self.proposal) = Some(secret);
    }

    /// The secret that was proposed last.
    pub fn proposed(&self) -> Option<Secret<Vec<u8>>> {
        lock(&self.proposal).as_ref().map(|secret| Secret::new(secret.expose().clone()))
    }

    /// Keeps the challenge that goes to the browser; the one before is void. `name` is that of a
    /// passkey to be made.
    pub fn begin_ceremony(&self, ceremony: Ceremony, name: &str) {
        *lock(&self.ceremony) = Some((ceremony, name.to_owned()));
    }

    /// Gives the challenge up: the first answer is the only one.
    pub fn take_ceremony(&self) -> Option<(Ceremony, String)> {
        lock(&self.ceremony).take()
    }

    /// Notes that a second factor was shown again, on this very page.
    pub fn show_again(&self, now: Timestamp) {
        *lock(&self.shown_again) = Some(now);
    }

    /// True for a while after that: somebody's own hands are on the page.
    pub fn is_shown_again(&self, now: Timestamp) -> bool {
        lock(&self.shown_again).is_some_and(|at| now.since(at) < limits::SHOWN_AGAIN_MAX)
    }

    /// Takes a form's ticket; false when it was used before. So a letter is not sent twice when
    /// somebody presses the button twice or reloads the page.
    pub fn take_ticket(&self, ticket: &str) -> bool {
        let mut used = lock(&self.used_tickets);
        if used.iter().any(|known| known == ticket) {
            return false;
        }
        if used.len() >= 64 {
            used.pop_front();
        }
        used.push_back(ticket.to_owned());
        true
    }

    /// Gives a ticket back: nothing was sent under it.
    pub fn return_ticket(&self, ticket: &str) {
        lock(&self.used_tickets).retain(|known| known != ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_358_400);

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn log_in(sessions: &Sessions, token: &str, now: Timestamp) {
        sessions.begin(
            &secret(token),
            secret("csrf"),
            Person::Administrator("admin".to_owned()),
            None,
            None,
            now,
        );
    }

    #[test]
    fn a_login_ends_when_nobody_uses_it() {
        let sessions = Sessions::default();
        log_in(&sessions, "one", START);
        let later = START.after(limits::WEB_SESSION_IDLE / 2);
        assert!(sessions.find("one", later).is_some());
        assert!(sessions.find("two", later).is_none());
        assert!(sessions.find("one", later.after(limits::WEB_SESSION_IDLE)).is_none());
        assert!(sessions.find("one", later).is_none(), "an ended login came back");
    }

    #[test]
    fn a_login_ends_after_eight_hours_even_in_use() {
        let sessions = Sessions::default();
        log_in(&sessions, "one", START);
        let mut now = START;
        while now.since(START) < limits::WEB_SESSION_LIFETIME {
            assert!(sessions.find("one", now).is_some());
            now = now.after(limits::WEB_SESSION_IDLE / 3);
        }
        assert!(sessions.find("one", now).is_none());
    }

    #[test]
    fn logins_are_bounded_and_the_idlest_ends_first() {
        let sessions = Sessions::default();
        for number in 0..limits::WEB_SESSIONS_PER_PERSON_MAX + 3 {
            let now = START.after(std::time::Duration::from_secs(number as u64));
            log_in(&sessions, &number.to_string(), now);
        }
        assert_eq!(sessions.count(START), limits::WEB_SESSIONS_PER_PERSON_MAX);
        assert!(sessions.find("0", START).is_none());
        assert!(sessions.find("12", START).is_some());
    }

    #[test]
    fn logging_out_ends_the_login() {
        let sessions = Sessions::default();
        log_in(&sessions, "one", START);
        sessions.end("one");
        assert!(sessions.find("one", START).is_none());
    }

    #[test]
    fn a_providers_logout_ends_its_sessions_and_no_others() {
        let sessions = Sessions::default();
        let vouched = |sid: &str, subject: &str| {
            Some(Arc::new(Vouched {
                sid: Some(sid.to_owned()),
                subject: subject.to_owned(),
                id_token: secret("id"),
                mailboxes: Vec::new(),
                until: START.after(std::time::Duration::from_secs(60)),
            }))
        };
        for (token, by) in [
            ("a1", vouched("s1", "a")),
            ("a2", vouched("s2", "a")),
            ("b", vouched("s3", "b")),
            ("password", None),
        ] {
            sessions.begin(
                &secret(token),
                secret("csrf"),
                Person::Administrator("admin".to_owned()),
                by,
                None,
                START,
            );
        }
        assert_eq!(sessions.end_vouched(None, None), 0);
        assert_eq!(sessions.end_vouched(Some("s1"), Some("b")), 0);
        assert_eq!(sessions.end_vouched(Some("s1"), None), 1);
        assert_eq!(sessions.end_vouched(None, Some("a")), 1);
        assert!(sessions.find("b", START).is_some() && sessions.find("password", START).is_some());
        let later = START.after(std::time::Duration::from_secs(60));
        assert!(sessions.find("b", later).is_none(), "it outlived what vouched for it");
        assert!(sessions.find("password", later).is_some());
    }

    #[test]
    fn a_form_sends_once() {
        let sessions = Sessions::default();
        log_in(&sessions, "one", START);
        let session = sessions.find("one", START).unwrap();
        assert!(session.take_ticket("a"));
        assert!(!session.take_ticket("a"));
        session.return_ticket("a");
        assert!(session.take_ticket("a"));
    }

    #[test]
    fn an_empty_token_is_never_right() {
        assert!(!same_token("", ""));
        assert!(same_token("abc", "abc"));
        assert!(!same_token("abc", "abd"));
    }
}
