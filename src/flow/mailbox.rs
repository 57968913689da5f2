//! Mailboxes: folders, messages, marks and the change log; everything personal is sealed with
//! the mailbox's keys. IMAP and the inbox page stand on this.
//!
//! Deliveries only append, so they never wait for each other's disk sync (see `slot`). Whoever
//! reads rows in order to change them passes the mailbox's gate one at a time.
mod answered;
mod append;
mod contents;
mod deposit;
mod ending;
mod folders;
mod head;
pub mod index;
mod ids;
mod messages;
pub mod readers;
mod retention;
mod rows;
mod rules;
mod slot;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::domain::envelope::BlobId;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::ThreadId;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::domain::time::ZonedTime;
use crate::flow::mailbox::contents::Shown;
use crate::flow::mailbox::readers::Reader;
use crate::flow::mailbox::rows::Head;
use crate::flow::mailbox::slot::Current;
use crate::flow::mailbox::slot::Slot;
use crate::infra::audit::Audit;
use crate::infra::audit::AuditError;
use crate::infra::audit::Sitting;
use crate::infra::audit::Who;
use crate::infra::audit::Witness;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::keys::Certificate;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::blobs::Blobs;

pub use append::Staged;
pub use contents::Contents;
pub use deposit::Deposit;
pub use deposit::Letter;
pub use deposit::Placed;
pub use ids::Named;
pub use messages::COPIED_AT_ONCE;
pub use rules::Room;
pub use rules::Rules;
pub use rules::Usage;

/// Mailboxes kept in memory with their keys; beyond it, those that nobody uses are let go.
const SLOTS_MAX: usize = 10_000;
/// How often a change is built anew when others changed the mailbox under it.
const ATTEMPTS_MAX: usize = 50;

/// All mailboxes of the relay.
pub struct Mailboxes {
    shelf: Arc<Shelf>,
}

/// What all mailboxes share.
struct Shelf {
    store: Arc<dyn Store>,
    blobs: Blobs,
    keys: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    audit: Audit,
    slots: Mutex<HashMap<MailboxId, Arc<Slot>>>,
    index: index::Workshop,
    contents: Mutex<Shown>,
}

/// One mailbox whose keys are unlocked. Cheap to clone; the keys are wiped with the last clone.
#[derive(Clone)]
pub struct OpenMailbox {
    shelf: Arc<Shelf>,
    slot: Arc<Slot>,
    current: Arc<Current>,
    /// Whoever opened it, when that is not its owner.
    reader: Option<Arc<Reader>>,
    /// Who opens contents here, by which door and why: recorded before the first one.
    sitting: Arc<Sitting>,
}

/// Why a mailbox did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// No folder of that number or name.
    #[error("no such folder")]
    NoSuchFolder,
    /// A folder of that name exists.
    #[error("a folder of that name exists")]
    FolderExists,
    /// INBOX and the folders with a special use cannot be deleted; INBOX cannot hold that name.
    #[error("this folder cannot be changed so")]
    FolderFixed,
    /// Over `limits::FOLDERS_MAX`, the name's length, or the keywords' limits.
    #[error("over a limit: {0}")]
    OverLimit(&'static str),
    /// Whoever opened the mailbox has not the right for it (RFC 4314 §4).
    #[error("not allowed here")]
    NotAllowed,
    /// Somebody else has claimed a message (see `readers::claims`).
    #[error("somebody else works on it")]
    Claimed,
    /// No message of that number (any more).
    #[error("no such message")]
    NoSuchMessage,
    /// The sealed text of this message is damaged or of an unknown key; the others are fine.
    #[error("this message cannot be opened: {0}")]
    Unreadable(String),
    /// The mailbox has no room for it.
    #[error("the mailbox is full")]
    OverQuota,
    /// The world failed (store, keys); temporary.
    #[error("temporary failure: {0}")]
    Temporary(Refusal),
}

impl MailboxError {
    /// What it means for a letter at a door.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::OverQuota => Refusal::MailboxFull,
            Self::Temporary(refusal) => *refusal,
            _ => Refusal::StoreFailed,
        }
    }
}

/// A folder as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its number.
    pub id: FolderId,
    /// Its full name in UTF-8, levels separated by `/`. `INBOX` for number 1.
    pub name: String,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Subscribed (LSUB).
    pub subscribed: bool,
    /// RFC 3501 §2.3.1.1
    pub uid_validity: u32,
    /// The UID that the next message will at least get.
    pub uid_next: Uid,
    /// Grows with each change in the folder.
    pub highest_modseq: ModSeq,
    /// Messages.
    pub exists: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Clear octets of all messages.
    pub octets: u64,
}

/// A message's row: what can be told without opening anything.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub uid: Uid,
    /// When it arrived here (INTERNALDATE).
    pub internal_date: Timestamp,
    /// The zone in which whoever filed it named that moment.
    pub zone: Zone,
    /// When it came into this folder (RFC 8514 §2).
    pub saved: Timestamp,
    /// The conversation that it belongs to.
    pub thread: ThreadId,
    /// Clear octets (RFC822.SIZE).
    pub size: u64,
    /// Marks.
    pub flags: Flags,
    /// Last change.
    pub modseq: ModSeq,
    /// The sealed content.
    pub blob: BlobId,
    /// The content's key, sealed for this mailbox.
    pub sealed_key: Bytes,
    /// In a team's mailbox, a keyed digest of the Message-ID: see `ids::named`.
    pub named: Option<Named>,
}

/// What happened in a folder since some [`ModSeq`].
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New or changed messages that may still be there; read their rows by pages.
    pub touched: UidSet,
    /// Messages that are gone.
    pub gone: UidSet,
    /// The folder as it stood before the rest was read; `None` when it was deleted.
    pub folder: Option<Folder>,
}

/// A message that a client files (APPEND), in clear.
pub struct NewMessage {
    /// The whole message, as the client sent it.
    pub content: Secret<Vec<u8>>,
    /// Its marks.
    pub flags: Flags,
    /// INTERNALDATE; now when `None`.
    pub internal_date: Option<ZonedTime>,
}

impl Mailboxes {
    /// The mailboxes in this store, without rules.
    pub fn new(
        store: Arc<dyn Store>,
        blobs: Blobs,
        keys: Arc<Keyring>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with_rules(store, blobs, keys, clock, Rules::default())
    }

    /// The mailboxes in this store.
    pub fn with_rules(
        store: Arc<dyn Store>,
        blobs: Blobs,
        keys: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        rules: Rules,
    ) -> Self {
        let (slots, contents) = (Mutex::default(), Mutex::default());
        let index = index::Workshop::default();
        let marks = Arc::new(Marks(Arc::clone(&keys)));
        let audit = Audit::new(Arc::clone(&store), Arc::clone(&clock), marks);
        let shelf = Shelf { store, blobs, keys, clock, rules, audit, slots, contents, index };
        Self { shelf: Arc::new(shelf) }
    }

    /// True when mailboxes are limited: only then a door needs to ask for room.
    pub fn has_quota(&self) -> bool {
        self.shelf.rules.has_quota()
    }

    /// The ledger of key uses.
    pub fn audit(&self) -> &Audit {
        &self.shelf.audit
    }

    /// Opens an account's mailbox for the relay's own work; a door says whose with
    /// [`OpenMailbox::read_by_owner`].
    pub async fn open(&self, account: &Account) -> Result<OpenMailbox, MailboxError> {
        let shelf = Arc::clone(&self.shelf);
        let sitting = shelf.own_work(account.id, "its own work");
        let known = shelf.lock().get(&account.id).cloned();
        if let Some(slot) = &known
            && let Some(current) = slot.current_of(account)
        {
            let slot = Arc::clone(slot);
            return Ok(OpenMailbox { shelf, slot, current, reader: None, sitting });
        }
        let keys = shelf.keys.unlock(&account.id, &account.wrapped_keys)?;
        let certificate = shelf.keys.certificate(&account.certificate)?;
        let current = Current::new(account, keys, certificate);
        if let Some(slot) = known {
            // Its key was extended, rotated or replaced since.
            let current = Arc::new(current);
            slot.set_current(Arc::clone(&current));
            return Ok(OpenMailbox { shelf, slot, current, reader: None, sitting });
        }
        let slot = {
            let mut slots = shelf.lock();
            if slots.len() >= SLOTS_MAX {
                slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            let fresh = || Arc::new(Slot::new(account, current));
            Arc::clone(slots.entry(account.id).or_insert_with(fresh))
        };
        let current = slot.current();
        Ok(OpenMailbox { shelf, slot, current, reader: None, sitting })
    }

    /// Gives a new account its folders; false, and nothing is done, when it has them.
    pub async fn create(&self, account: &Account) -> Result<bool, MailboxError> {
        self.open(account).await?.create_standard_folders().await
    }
}

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MailboxId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the relay does by itself in a mailbox.
    fn own_work(&self, id: MailboxId, why: &'static str) -> Arc<Sitting> {
        self.audit.sitting(id, Who::Relay, "relay", why)
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenMailbox {
    /// Whose it is.
    pub fn id(&self) -> MailboxId {
        self.slot.id
    }

    /// The same mailbox, read by its owner through this door. One of a session: the first content
    /// that it opens is recorded before it is opened.
    pub fn read_by_owner(&self, door: &'static str, why: &'static str) -> Self {
        let id = self.slot.id;
        let sitting = self.shelf.audit.sitting(id, Who::Mailbox(id), door, why);
        Self { sitting, ..self.clone() }
    }

    /// The same mailbox, read by somebody else than its owner, whom the flow has let in.
    pub fn read_by(&self, who: Who, door: &'static str, why: &'static str) -> Self {
        let sitting = self.shelf.audit.sitting(self.slot.id, who, door, why);
        Self { sitting, ..self.clone() }
    }

    /// The certificate to which letters for this mailbox are sealed.
    pub fn certificate(&self) -> &Certificate {
        &self.current.certificate
    }

    /// The unlocked keys.
    pub fn keys(&self) -> &MailboxKeys {
        &self.current.keys
    }

    /// Resolves at the next change of the mailbox after the watch was made or last resolved.
    /// A hint: read [`OpenMailbox::changes`] for the truth.
    pub fn watch(&self) -> Watch {
        Watch(self.slot.news.subscribe())
    }

    /// The head as it lies on disk: what a reader may know of. A mailbox that never got its
    /// folders gets them now.
    async fn durable_head(&self) -> Result<Head, MailboxError> {
        let (head, _) = self.shelf.head(&self.slot).await?;
        if !head.folders.is_empty() {
            return Ok(head);
        }
        self.create_standard_folders().await?;
        Ok(self.shelf.head(&self.slot).await?.0)
    }

    /// One durable change: `build` edits the head and fills the batch. It is called again on
    /// the newer head when somebody else changed the mailbox first.
    async fn change<T>(
        &self,
        mut build: impl FnMut(&mut Head, &mut Batch) -> Result<T, MailboxError>,
    ) -> Result<T, MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            self.slot.load(&self.shelf).await?;
            let (result, epoch, committing) = {
                let mut state = self.slot.lock();
                let Some(mut head) = state.head().cloned() else { continue };
                let mut batch = Batch::new();
                self.add_missing_folders(&mut head, &mut batch);
                let result = build(&mut head, &mut batch)?;
                let epoch = state.foretell(&self.slot.id, head, &mut batch);
                // Submitted under the lock: the order of heads is the order of commits.
                (result, epoch, self.shelf.store.submit(batch))
            };
            match committing.await {
                Ok(()) => {
                    self.slot.announce();
                    return Ok(result);
                }
                Err(CommitError::Conflict) => self.slot.forget(epoch),
                Err(error) => {
                    self.slot.forget(epoch);
                    return Err(error.into());
                }
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }
}

/// See [`OpenMailbox::watch`].
pub struct Watch(tokio::sync::watch::Receiver<u64>);

impl Watch {
    /// Waits for a change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl From<StoreError> for MailboxError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Temporary(Refusal::StoreFull),
            StoreError::Damaged(what) => Self::Unreadable(what),
            StoreError::BlobMissing => Self::Unreadable("its content is missing".to_owned()),
            StoreError::Engine(_) | StoreError::InUse(_) => Self::Temporary(Refusal::StoreFailed),
        }
    }
}

impl From<AuditError> for MailboxError {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "a letter was not opened: its reading cannot be recorded");
        Self::Temporary(match error {
            AuditError::Commit(error) => commit_refusal(&error),
            AuditError::Store(_) => Refusal::StoreFailed,
        })
    }
}

impl From<CommitError> for MailboxError {
    fn from(error: CommitError) -> Self {
        Self::Temporary(commit_refusal(&error))
    }
}

impl From<KeyError> for MailboxError {
    fn from(error: KeyError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Marks of the ledger's chain are made with the relay's keys.
struct Marks(Arc<Keyring>);

impl Witness for Marks {
    fn mark(&self, octets: &[u8]) -> [u8; 32] {
        self.0.login_digest(b"ledger of key uses", octets)
    }
}

/// What a failed commit means to whoever waits at the door.
pub fn commit_refusal(error: &CommitError) -> Refusal {
    match error {
        CommitError::Full => Refusal::StoreFull,
        CommitError::Conflict => Refusal::Busy,
        CommitError::Closing => Refusal::Stopping,
        CommitError::ValueTooLarge(_) | CommitError::Engine(_) => Refusal::StoreFailed,
    }
}

#[cfg(test)]
mod tests;
