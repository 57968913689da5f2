//! The ledger of key uses: who opened which mailbox's contents, or used its secret key, by which
//! door and why. Append-only and chained: each entry holds the hash of the one before it.
//!
//! An entry is durable before the use that it tells of; a crash in between leaves an entry too
//! many, never a use without one. It holds numbers and names of the trade only: a mailbox's id, an
//! administrator's name as in the journal, never a patient's address.
//!
//! The head row says where the chain ends, with a mark that only the holder of the relay's keys can
//! make: whoever can write to the disk, and no more, cannot write a chain of their own. Writers
//! share group commits, because the head is foretold, as that of a mailbox is.
mod export; // entries as lines of JSON, and the verifier that needs nothing else
mod proof; // whether the chain holds
mod prune; // what is too old goes, and the rest can still be proved
mod sitting; // one session's reading of one mailbox

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Committing;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::row;

pub use export::Checked;
pub use export::ExportFlaw;
pub use export::check;
pub use proof::Checkpoint;
pub use proof::Flaw;
pub use proof::Proof;
pub use sitting::Sitting;

/// Rows `O/<number, big endian>` -> entry.
const ENTRIES: &[u8] = b"O/";
/// The row that says where the chain ends.
const HEAD: &[u8] = b"O:head";
/// The row that says where it begins, once its front has been pruned.
const ANCHOR: &[u8] = b"O:anchor";
const FORMAT: u8 = 1;
/// How often an entry is built anew when the head turned out to be another.
const ATTEMPTS_MAX: usize = 50;
/// The first octets of what is hashed; another form is another text.
const FORM: &str = "vaguemestre audit 1";

/// SHA-256 of an entry and of all before it.
pub type Hash = [u8; 32];

/// The hash before the first entry.
pub const NOTHING: Hash = [0; 32];

/// Makes a mark that only the holder of the relay's keys can make.
pub trait Witness: Send + Sync {
    /// The mark of these octets.
    fn mark(&self, octets: &[u8]) -> [u8; 32];
}

/// The ledger of key uses. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Chain>);

struct Chain {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    witness: Arc<dyn Witness>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    foretold: Option<(Head, Option<Version>)>,
    /// Grows when a foretold head turned out wrong.
    epoch: u64,
}

/// Who used a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever was logged in to this mailbox.
    Mailbox(MailboxId),
    /// An administrator, as the journal names them.
    Administrator(String),
    /// The relay, by itself.
    Relay,
}

/// One use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// When, to the millisecond.
    pub at: Timestamp,
    /// `mailbox:<id>`, `administrator:<name>` or `relay`.
    pub who: String,
    /// Whose key; none where the use concerns all of them.
    pub mailbox: Option<MailboxId>,
    /// By which door: `imap`, `pop3`, `portal`, `control`, `gateway`, `relay`.
    pub door: String,
    /// What for, in the words of the trade.
    pub why: String,
    /// How many contents.
    pub count: u64,
    /// The hash of the entry before.
    pub previous: Hash,
    /// The hash of this one.
    pub hash: Hash,
}

/// What is to be recorded.
#[derive(Clone, Debug)]
struct Draft {
    who: String,
    mailbox: Option<MailboxId>,
    door: String,
    why: String,
    count: u64,
}

/// The stored form of an entry. Its number is also its key: an entry that was moved is known.
#[derive(Serialize, Deserialize)]
struct Row {
    number: u64,
    at: u64,
    who: String,
    mailbox: Option<[u8; 16]>,
    door: String,
    why: String,
    count: u64,
    previous: Hash,
    hash: Hash,
}

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The number of the last entry; 0 before the first one.
    last: u64,
    hash: Hash,
    mark: [u8; 32],
}

/// Where the chain begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    /// The last entry that was pruned.
    through: u64,
    hash: Hash,
    mark: [u8; 32],
}

/// Why a use could not be recorded; it must not happen then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger could not be read.
    #[error("the ledger of key uses cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The entry did not become durable.
    #[error("the ledger of key uses cannot be written: {0}")]
    Commit(#[from] CommitError),
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// About this mailbox only.
    pub mailbox: Option<MailboxId>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// By this door only.
    pub door: Option<String>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(id) => write!(f, "mailbox:{id:?}"),
            Self::Administrator(name) => write!(f, "administrator:{name}"),
            Self::Relay => f.write_str("relay"),
        }
    }
}

impl Audit {
    /// The ledger in this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, witness: Arc<dyn Witness>) -> Self {
        Self(Arc::new(Chain { store, clock, witness, state: Mutex::default() }))
    }

    /// Records a use of a mailbox's key, durably, and answers its number. Do it before the use.
    ///
    /// # Errors
    /// [`AuditError`]: nothing was recorded, so nothing may be used.
    pub async fn used(
        &self,
        mailbox: Option<&MailboxId>,
        who: &Who,
        door: &str,
        why: &str,
    ) -> Result<u64, AuditError> {
        self.used_for(mailbox, who, door, why, 1).await
    }

    /// [`Audit::used`] for several contents at once.
    ///
    /// # Errors
    /// As [`Audit::used`].
    pub async fn used_for(
        &self,
        mailbox: Option<&MailboxId>,
        who: &Who,
        door: &str,
        why: &str,
        count: u64,
    ) -> Result<u64, AuditError> {
        self.append(&Draft::new(mailbox, who, door, why, count), |_| {}).await
    }

    /// A session's reading of a mailbox; nothing is recorded before its first content.
    pub fn sitting(
        &self,
        mailbox: MailboxId,
        who: Who,
        door: &'static str,
        why: &'static str,
    ) -> Arc<Sitting> {
        Arc::new(Sitting::new(self.clone(), mailbox, who, door, why))
    }

    /// The last entries that are wanted, youngest first, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or an entry is damaged.
    pub async fn last(&self, wanted: &Wanted, most: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        let mut range = store::prefix(ENTRIES);
        while found.len() < most {
            let page = self.0.store.scan_back(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let damaged =
                    || StoreError::Damaged("an entry of the ledger of key uses".to_owned());
                let entry = decode(key, &row.value).ok_or_else(damaged)?;
                if wanted.since.is_some_and(|since| entry.at < since) {
                    return Ok(found);
                }
                if wanted.takes(&entry) && found.len() < most {
                    found.push(entry);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.end = last.to_vec(),
                _ => break,
            }
        }
        Ok(found)
    }

    /// Entries from a number on, in order, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or an entry is damaged.
    pub async fn from(&self, number: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let range = key(number)..store::prefix(ENTRIES).end;
        let page = self.0.store.scan(range, most.min(limits::SCAN_ROWS_MAX)).await?;
        let damaged = || StoreError::Damaged("an entry of the ledger of key uses".to_owned());
        page.rows.iter().map(|(key, row)| decode(key, &row.value).ok_or_else(damaged)).collect()
    }

    /// Where the chain ends now: what `--expect` takes later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let (head, _) = self.0.head().await?;
        Ok(Checkpoint { number: head.last, hash: head.hash })
    }

    /// One durable entry; `also` adds to its commit.
    async fn append(&self, draft: &Draft, also: impl Fn(&mut Batch)) -> Result<u64, AuditError> {
        for _ in 0..ATTEMPTS_MAX {
            self.0.load().await?;
            let Some((number, epoch, committing)) = self.0.submit(draft, &also) else { continue };
            match committing.await {
                Ok(()) => return Ok(number),
                Err(CommitError::Conflict) => self.0.forget(epoch),
                Err(error) => {
                    self.0.forget(epoch);
                    return Err(error.into());
                }
            }
        }
        Err(AuditError::Commit(CommitError::Conflict))
    }

    /// Hands an entry in without waiting: for what nobody can wait for, such as the end of a
    /// session.
    fn note(&self, draft: &Draft) {
        drop(self.0.submit(draft, &|_| {}));
    }
}

impl Chain {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn head(&self) -> Result<(Head, Option<Version>), StoreError> {
        let Some(row) = self.store.get(HEAD).await? else {
            return Ok((Head { last: 0, hash: NOTHING, mark: [0; 32] }, None));
        };
        let head = row::decode(FORMAT, &row.value);
        let head = head
            .ok_or_else(|| StoreError::Damaged("the head of the ledger of key uses".to_owned()))?;
        Ok((head, Some(row.version)))
    }

    /// Makes sure that a head is in memory.
    async fn load(&self) -> Result<(), StoreError> {
        let epoch = {
            let state = self.lock();
            if state.foretold.is_some() {
                return Ok(());
            }
            state.epoch
        };
        let found = self.head().await?;
        let mut state = self.lock();
        if state.foretold.is_none() && state.epoch == epoch {
            state.foretold = Some(found);
        }
        Ok(())
    }

    /// Builds the next entry on the foretold head and hands it in; `None` when there is no head in
    /// memory.
    fn submit(&self, draft: &Draft, also: &impl Fn(&mut Batch)) -> Option<(u64, u64, Committing)> {
        let mut state = self.lock();
        let (head, version) = state.foretold.take()?;
        let mut entry = Entry {
            number: head.last + 1,
            at: self.clock.now(),
            who: draft.who.clone(),
            mailbox: draft.mailbox,
            door: draft.door.clone(),
            why: draft.why.clone(),
            count: draft.count,
            previous: head.hash,
            hash: NOTHING,
        };
        entry.hash = entry.computed();
        let mark = self.witness.mark(&marked(b"head", entry.number, &entry.hash));
        let next = Head { last: entry.number, hash: entry.hash, mark };
        let mut batch = Batch::new();
        match version {
            None => batch.require_absent(HEAD),
            Some(version) => batch.require_at(HEAD, version),
        };
        batch.put(HEAD, row::encode(FORMAT, &next));
        batch.put(key(entry.number), entry.encode());
        also(&mut batch);
        state.foretold = Some((next, Some(Version(version.map_or(1, |version| version.0 + 1)))));
        // Submitted under the lock: the order of heads is the order of commits.
        Some((entry.number, state.epoch, self.store.submit(batch)))
    }

    /// The head was wrong, or its batch failed: read it again next time.
    fn forget(&self, epoch: u64) {
        let mut state = self.lock();
        if state.epoch == epoch {
            state.epoch += 1;
            state.foretold = None;
        }
    }
}

impl Draft {
    fn new(mailbox: Option<&MailboxId>, who: &Who, door: &str, why: &str, count: u64) -> Self {
        let who = words(&who.to_string());
        Self { who, mailbox: mailbox.copied(), door: words(door), why: words(why), count }
    }
}

impl Entry {
    /// What is hashed: one line for each part, none of which holds a line end.
    fn canonical(&self) -> String {
        let mailbox = self.mailbox.map_or_else(|| "-".to_owned(), |id| format!("{id:?}"));
        format!(
            "{FORM}\n{}\n{}\n{}\n{mailbox}\n{}\n{}\n{}\n",
            self.number,
            self.at.as_millis(),
            self.who,
            self.door,
            self.why,
            self.count,
        )
    }

    /// The hash that the entry must have.
    fn computed(&self) -> Hash {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.previous);
        context.update(self.canonical().as_bytes());
        context.finish().as_ref().try_into().expect("SHA-256 has 32 octets")
    }

    fn encode(&self) -> Vec<u8> {
        row::encode(
            FORMAT,
            &Row {
                number: self.number,
                at: self.at.as_millis(),
                who: self.who.clone(),
                mailbox: self.mailbox.map(|id| *id.as_bytes()),
                door: self.door.clone(),
                why: self.why.clone(),
                count: self.count,
                previous: self.previous,
                hash: self.hash,
            },
        )
    }
}

impl Wanted {
    fn takes(&self, entry: &Entry) -> bool {
        self.mailbox.is_none_or(|id| entry.mailbox == Some(id))
            && self.door.as_ref().is_none_or(|door| entry.door == *door)
    }
}

/// The entry under a key, as it lies there: `None` when it is no entry.
fn decode(_key: &[u8], value: &[u8]) -> Option<Entry> {
    let row: Row = row::decode(FORMAT, value)?;
    Some(Entry {
        number: row.number,
        at: Timestamp::from_millis(row.at),
        who: row.who,
        mailbox: row.mailbox.map(MailboxId::from_bytes),
        door: row.door,
        why: row.why,
        count: row.count,
        previous: row.previous,
        hash: row.hash,
    })
}

fn key(number: u64) -> Vec<u8> {
    [ENTRIES, &number.to_be_bytes()].concat()
}

fn number_of(key: &[u8]) -> Option<u64> {
    let octets = key.strip_prefix(ENTRIES)?.try_into().ok()?;
    Some(u64::from_be_bytes(octets))
}

fn marked(what: &[u8], number: u64, hash: &Hash) -> Vec<u8> {
    [b"audit ", what, &number.to_be_bytes(), hash].concat()
}

/// One line of bounded length: a line end would let one entry look like another.
fn words(text: &str) -> String {
    let signs = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    signs.take(limits::AUDIT_WORDS_MAX).collect()
}

/// A hash as people read it.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A hash as people wrote it.
pub fn from_hex(text: &str) -> Option<Hash> {
    let octets: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect();
    octets?.try_into().ok()
}

#[cfg(test)]
mod tests;
