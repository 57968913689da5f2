//! Sessions that are open now: who is in, by which door, since when; and how they end.
//!
//! A connection has a [`Seat`]. Once somebody logged in on it, they stand in the book of
//! [`Sessions`]; they leave it when they log out, or when the seat is gone with its connection.
//! What ends a session from outside (an administrator, a revoked app password, a closed mailbox,
//! the end of a token's time) reaches the door through [`Seat::over`].
use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::domain::address::Address;
use crate::domain::decision::SessionId;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::infra::clock::Clock;
use crate::infra::directory::Voucher;

/// How long sessions may last that began with a token (ANS Ref2 §1.2.1: the token is short-lived).
#[derive(Clone, Copy, Debug)]
pub struct TokenTimes {
    /// In all.
    pub session: Duration,
    /// Without a command.
    pub idle: Duration,
}

/// Everybody who is in. Clones are the same book.
#[derive(Clone)]
pub struct Sessions(Arc<Book>);

struct Book {
    clock: Arc<dyn Clock>,
    times: TokenTimes,
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
    cuts: Mutex<CutLog>,
}

/// How many cuts there were: a moment that no clock moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cuts(u64);

/// The last cuts. A login that was looked at meanwhile must not take its seat behind them.
#[derive(Default)]
struct CutLog {
    made: u64,
    last: VecDeque<Cut>,
}

/// Whose sessions were ended.
enum Cut {
    One(SessionId),
    Mailbox(MailboxId),
    AppPassword(MailboxId, String),
    Vouched { sid: Option<String>, subject: Option<String> },
}

impl Cut {
    fn is_meant(&self, facts: &Facts) -> bool {
        match self {
            Self::One(id) => facts.id == *id,
            Self::Mailbox(mailbox) => facts.mailbox == *mailbox,
            Self::AppPassword(mailbox, name) => {
                facts.mailbox == *mailbox
                    && matches!(&facts.means, Means::AppPassword(its) if its == name)
            }
            Self::Vouched { sid, subject } => {
                let Some(voucher) = &facts.voucher else { return false };
                let is_person = subject.as_ref().is_none_or(|subject| voucher.subject == *subject);
                let is_session = match (sid, &voucher.sid) {
                    (Some(named), Some(its)) => named == its,
                    // Nobody says which session it is: then it is the person who counts.
                    _ => subject.is_some(),
                };
                is_person && is_session
            }
        }
    }
}

impl CutLog {
    /// Whether a login that began then may stand: not behind a cut that means it, and not when so
    /// much was cut meanwhile that nobody can tell.
    fn allows(&self, facts: &Facts, began: Cuts) -> bool {
        let meanwhile = usize::try_from(self.made - began.0).unwrap_or(usize::MAX);
        meanwhile <= self.last.len()
            && !self.last.iter().rev().take(meanwhile).any(|cut| cut.is_meant(facts))
    }
}

/// A session.
#[derive(Debug)]
struct Live {
    facts: Facts,
    used: AtomicU64,
    ended: watch::Sender<bool>,
}

/// What does not change in a session.
#[derive(Clone, Debug)]
struct Facts {
    id: SessionId,
    mailbox: MailboxId,
    address: Address,
    kind: MailboxKind,
    entrance: Entrance,
    peer: Option<IpAddr>,
    means: Means,
    voucher: Option<Voucher>,
    since: Timestamp,
}

/// A session, for a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub id: SessionId,
    /// Whose mailbox.
    pub mailbox: MailboxId,
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: MailboxKind,
    /// By which door.
    pub entrance: Entrance,
    /// From where.
    pub peer: Option<IpAddr>,
    /// What was shown.
    pub means: Means,
    /// Since when.
    pub since: Timestamp,
    /// When something was asked last.
    pub used: Timestamp,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Somebody ended it.
    Ended,
    /// It began with a token, and has lasted long enough.
    TokenSpent,
    /// It began with a token, and nothing moves.
    TokenIdle,
}

impl Sessions {
    /// Nobody is in.
    pub fn new(clock: Arc<dyn Clock>, times: TokenTimes) -> Self {
        Self(Arc::new(Book { clock, times, live: Mutex::default(), cuts: Mutex::default() }))
    }

    /// A seat for a connection on which nobody logged in yet.
    pub fn seat(&self) -> Seat {
        Seat(Arc::new(Place { book: Arc::clone(&self.0), taken: watch::channel(None).0 }))
    }

    /// Everybody who is in, the oldest first; of one mailbox, if it is named.
    pub fn list(&self, mailbox: Option<&MailboxId>) -> Vec<Listed> {
        let mut listed: Vec<Listed> = {
            let live = self.0.live();
            let chosen =
                live.values().filter(|one| mailbox.is_none_or(|id| one.facts.mailbox == *id));
            chosen.map(|one| one.listed()).collect()
        };
        listed.sort_by_key(|one| one.id);
        listed
    }

    /// Ends one session; what it was, if there is one of this name.
    pub fn end(&self, id: &SessionId) -> Option<Listed> {
        self.end_all(Cut::One(*id)).pop()
    }

    /// Ends all sessions of a mailbox; how many there were.
    pub fn end_mailbox(&self, mailbox: &MailboxId) -> usize {
        self.end_all(Cut::Mailbox(*mailbox)).len()
    }

    /// Ends all sessions that began with this app password; how many there were.
    pub fn end_app_password(&self, mailbox: &MailboxId, name: &str) -> usize {
        self.end_all(Cut::AppPassword(*mailbox, name.to_owned())).len()
    }

    /// Ends all sessions for which an OpenID provider vouched and no longer does: those of this
    /// person of its own, and of this session of its own where a token named one; how many there
    /// were. Others who hold the same mailbox stay in.
    pub fn end_vouched(&self, sid: Option<&str>, subject: Option<&str>) -> usize {
        let (sid, subject) = (sid.map(str::to_owned), subject.map(str::to_owned));
        self.end_all(Cut::Vouched { sid, subject }).len()
    }

    /// How many cuts there were so far; a login keeps it from its beginning.
    pub fn cuts(&self) -> Cuts {
        Cuts(self.0.cuts().made)
    }

    fn end_all(&self, cut: Cut) -> Vec<Listed> {
        // One lock in the other, as in `Seat::take`: whoever sits down is either cut here or sees
        // the cut.
        let mut live = self.0.live();
        let ended: Vec<Arc<Live>> =
            live.extract_if(|_, one| cut.is_meant(&one.facts)).map(|(_, one)| one).collect();
        {
            let mut cuts = self.0.cuts();
            cuts.made += 1;
            cuts.last.push_back(cut);
            if cuts.last.len() > limits::LIVE_SESSION_CUTS_MAX {
                cuts.last.pop_front();
            }
        }
        drop(live);
        for one in &ended {
            one.ended.send_replace(true);
        }
        ended.iter().map(|one| one.listed()).collect()
    }
}

impl Book {
    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cuts(&self) -> MutexGuard<'_, CutLog> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a session may still last, and why it ends then; `None`: for ever.
    fn left(&self, one: &Live) -> Option<(Duration, Over)> {
        if one.facts.means != Means::Token {
            return None;
        }
        let now = self.clock.now();
        let whole = self.times.session.saturating_sub(now.since(one.facts.since));
        let idle = self.times.idle.saturating_sub(now.since(one.used()));
        Some(if whole <= idle { (whole, Over::TokenSpent) } else { (idle, Over::TokenIdle) })
    }
}

impl Live {
    fn used(&self) -> Timestamp {
        Timestamp::from_millis(self.used.load(Ordering::Relaxed))
    }

    fn listed(&self) -> Listed {
        let Facts { id, mailbox, address, kind, entrance, peer, means, since, voucher: _ } =
            self.facts.clone();
        Listed { id, mailbox, address, kind, entrance, peer, means, since, used: self.used() }
    }
}

/// A connection's place in the book. Clones are the same seat.
#[derive(Clone)]
pub struct Seat(Arc<Place>);

struct Place {
    book: Arc<Book>,
    taken: watch::Sender<Option<Arc<Live>>>,
}

impl Seat {
    /// Somebody logged in. From now on they are listed and can be ended.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too many are in, [`Refusal::AuthFailed`] when what they showed was
    /// cut off while it was looked at.
    pub fn take(&self, visitor: Visitor, login: &Login) -> Result<(), Refusal> {
        let book = &self.0.book;
        let since = book.clock.now();
        let id = SessionId::from_bytes(uuid::Uuid::now_v7().into_bytes());
        let facts = Facts {
            id,
            mailbox: login.account.id,
            address: login.account.address.clone(),
            kind: login.account.kind,
            entrance: visitor.entrance,
            peer: visitor.ip,
            means: login.means.clone(),
            voucher: login.voucher.clone(),
            since,
        };
        let used = AtomicU64::new(since.as_millis());
        let one = Arc::new(Live { facts, used, ended: watch::channel(false).0 });
        self.leave();
        {
            let mut live = book.live();
            if live.len() >= limits::LIVE_SESSIONS_MAX {
                return Err(Refusal::Busy);
            }
            if !book.cuts().allows(&one.facts, login.began) {
                return Err(Refusal::AuthFailed);
            }
            live.insert(id, Arc::clone(&one));
        }
        self.0.taken.send_replace(Some(one));
        Ok(())
    }

    /// They logged out; the connection may go on.
    pub fn leave(&self) {
        if let Some(one) = self.0.taken.send_replace(None) {
            self.0.book.live().remove(&one.facts.id);
        }
    }

    /// They asked for something.
    pub fn touch(&self) {
        if let Some(one) = &*self.0.taken.borrow() {
            one.used.store(self.0.book.clock.now().as_millis(), Ordering::Relaxed);
        }
    }

    /// Whether the session is over, without waiting.
    pub fn is_over(&self) -> Option<Over> {
        let taken = self.0.taken.borrow();
        let one = taken.as_ref()?;
        if *one.ended.borrow() {
            return Some(Over::Ended);
        }
        self.0.book.left(one).filter(|(left, _)| left.is_zero()).map(|(_, why)| why)
    }

    /// Resolves when the session is over; never while nobody has logged in. May be dropped and
    /// asked again.
    pub async fn over(&self) -> Over {
        let mut taken = self.0.taken.subscribe();
        loop {
            let one = taken.borrow_and_update().clone();
            let Some(one) = one else {
                // The sender is in `self`.
                let _ = taken.changed().await;
                continue;
            };
            if let Some(over) = self.is_over() {
                return over;
            }
            let mut ended = one.ended.subscribe();
            let left = self.0.book.left(&one).map(|(left, _)| left);
            let spent = async {
                match left {
                    // What was touched meanwhile has more time left: the loop looks again.
                    Some(left) => sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => {}
                _ = taken.changed() => {}
                () = spent => {}
            }
        }
    }

    /// Does `work` until it is done, or until the session has been over for a moment: whoever
    /// sits in the middle of something then was not reached in another way.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let cut = async {
            self.over().await;
            sleep(limits::LIVE_SESSION_GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = cut => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(one) = self.taken.send_replace(None) {
            self.book.live().remove(&one.facts.id);
        }
    }
}

#[cfg(test)]
mod tests;
