//! Mailboxes: folders, messages, marks and the change log; everything personal is sealed with
//! the mailbox's keys. IMAP and the inbox page stand on this.
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::Uid;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::directory::Account;
use crate::proto::mime::summary::Summary;

/// All mailboxes of the relay.
pub struct Mailboxes {}

/// One mailbox whose keys are unlocked. Cheap to clone; the keys are wiped with the last clone.
#[derive(Clone)]
pub struct OpenMailbox {}

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
    /// No message of that number (any more).
    #[error("no such message")]
    NoSuchMessage,
    /// The sealed text of this message is damaged or of an unknown key; the others are fine.
    #[error("this message cannot be opened: {0}")]
    Unreadable(String),
    /// The world failed (store, keys); temporary.
    #[error("temporary failure: {0}")]
    Temporary(Refusal),
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
}

/// What happened in a folder since some [`ModSeq`].
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New or changed messages, ascending.
    pub changed: Vec<Entry>,
    /// Messages that are gone, ascending.
    pub gone: Vec<Uid>,
    /// The folder as it stands now; `None` when it was deleted.
    pub folder: Option<Folder>,
}

/// A message that a client files (APPEND), in clear.
pub struct NewMessage {
    /// The whole message, as the client sent it.
    pub content: Secret<Vec<u8>>,
    /// Its marks.
    pub flags: Flags,
    /// INTERNALDATE; now when `None`.
    pub internal_date: Option<Timestamp>,
}

impl Mailboxes {
    /// Stub.
    pub async fn create(&self, account: &Account) -> Result<(), MailboxError> { let _ = account; todo!() }
    /// Opens an account's mailbox.
    pub async fn open(&self, account: &Account) -> Result<OpenMailbox, MailboxError> { let _ = account; todo!() }
}

impl OpenMailbox {
    /// Whose it is.
    pub fn id(&self) -> MailboxId { todo!() }
    /// All folders, INBOX first, then by name.
    pub async fn folders(&self) -> Result<Vec<Folder>, MailboxError> { todo!() }
    /// One folder.
    pub async fn folder(&self, id: FolderId) -> Result<Folder, MailboxError> { let _ = id; todo!() }
    /// Creates a folder (and does not create missing parents).
    pub async fn create_folder(&self, name: &str, special_use: Option<SpecialUse>) -> Result<Folder, MailboxError> { let _ = (name, special_use); todo!() }
    /// Deletes a folder and its messages.
    pub async fn delete_folder(&self, id: FolderId) -> Result<(), MailboxError> { let _ = id; todo!() }
    /// Renames a folder and those below it. Renaming INBOX moves its messages (RFC 3501 §6.3.5).
    pub async fn rename_folder(&self, id: FolderId, name: &str) -> Result<(), MailboxError> { let _ = (id, name); todo!() }
    /// Subscribes or unsubscribes.
    pub async fn subscribe(&self, id: FolderId, subscribed: bool) -> Result<(), MailboxError> { let _ = (id, subscribed); todo!() }
    /// Rows with a UID in the range, ascending, at most `limit`. Page with `last.uid + 1`.
    pub async fn entries(&self, folder: FolderId, uids: RangeInclusive<u32>, limit: usize) -> Result<Vec<Entry>, MailboxError> { let _ = (folder, uids, limit); todo!() }
    /// One row.
    pub async fn entry(&self, folder: FolderId, uid: Uid) -> Result<Option<Entry>, MailboxError> { let _ = (folder, uid); todo!() }
    /// The message's summary (envelope, structure), opened from the sealed index. A message
    /// whose summary is damaged gets a safe one: never an error for the listing.
    pub async fn summary(&self, folder: FolderId, entry: &Entry) -> Result<Arc<Summary>, MailboxError> { let _ = (folder, entry); todo!() }
    /// The message in clear. `MailboxError::Unreadable` concerns this message alone.
    pub async fn content(&self, entry: &Entry) -> Result<Arc<Secret<Vec<u8>>>, MailboxError> { let _ = entry; todo!() }
    /// Files a message durably (Sent, Drafts…).
    pub async fn append(&self, folder: FolderId, message: NewMessage) -> Result<(u32, Uid), MailboxError> { let _ = (folder, message); todo!() }
    /// Changes marks; answers the changed rows, ascending. UIDs that are gone are left out.
    pub async fn store_flags(&self, folder: FolderId, uids: &[Uid], change: &FlagChange) -> Result<Vec<Entry>, MailboxError> { let _ = (folder, uids, change); todo!() }
    /// Copies; answers UIDVALIDITY of the target and (source, target) UID pairs. All or nothing.
    pub async fn copy(&self, from: FolderId, uids: &[Uid], to: FolderId) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> { let _ = (from, uids, to); todo!() }
    /// Moves, atomically; answers as [`OpenMailbox::copy`].
    pub async fn move_messages(&self, from: FolderId, uids: &[Uid], to: FolderId) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> { let _ = (from, uids, to); todo!() }
    /// Removes messages marked `\Deleted`, of these UIDs or of all; answers the UIDs removed, ascending.
    pub async fn expunge(&self, folder: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Uid>, MailboxError> { let _ = (folder, uids); todo!() }
    /// What happened in the folder after `since`.
    pub async fn changes(&self, folder: FolderId, since: ModSeq) -> Result<Changes, MailboxError> { let _ = (folder, since); todo!() }
    /// Resolves at the next change of the mailbox after the watch was made or last resolved.
    /// A hint: read [`OpenMailbox::changes`] for the truth.
    pub fn watch(&self) -> Watch { todo!() }
}

/// See [`OpenMailbox::watch`].
pub struct Watch(pub(crate) tokio::sync::watch::Receiver<u64>);

impl Watch {
    /// Waits for a change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
