//! The maildrop of a session (RFC 1939 §4, §5): the inbox as it was at login, under a lock.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::ClearMemory;
use crate::flow::reading::Need;
use crate::flow::reading::Reading;

/// Inboxes that are open over POP3. RFC 1939 §4: a session has the maildrop for itself, so that two
/// programs do not each fetch and delete. IMAP is not kept out: it knows how to share.
#[derive(Debug, Default)]
pub struct Locks(Mutex<HashSet<MailboxId>>);

/// One inbox, locked.
struct Lock {
    locks: Arc<Locks>,
    id: MailboxId,
}

impl Locks {
    fn take(self: &Arc<Self>, id: MailboxId) -> Option<Lock> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_free.then(|| Lock { locks: Arc::clone(self), id })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The inbox of one session.
pub(super) struct Maildrop {
    mailbox: OpenMailbox,
    uid_validity: u32,
    messages: Vec<Message>,
    _lock: Lock,
}

/// One message of the snapshot.
struct Message {
    uid: Uid,
    octets: u64,
    is_deleted: bool,
    was_read: bool,
}

/// Why a maildrop does not open.
#[derive(Debug)]
pub(super) enum Closed {
    /// Another session has it.
    InUse,
    /// The store failed.
    Failed(MailboxError),
}

impl Maildrop {
    /// Takes a snapshot, with at most [`limits::POP3_MESSAGES_MAX`] messages.
    pub(super) async fn open(locks: &Arc<Locks>, mailbox: OpenMailbox) -> Result<Self, Closed> {
        let lock = locks.take(mailbox.id()).ok_or(Closed::InUse)?;
        let snapshot = async {
            let uid_validity = mailbox.folder(FolderId::INBOX).await?.uid_validity;
            let mut messages: Vec<Message> = Vec::new();
            loop {
                let next = messages.last().map_or(Some(1), |last| last.uid.0.checked_add(1));
                let left = limits::POP3_MESSAGES_MAX - messages.len();
                let Some(next) = next.filter(|_| left > 0) else { break };
                let page = left.min(limits::SCAN_ROWS_MAX);
                let rows = mailbox.entries(FolderId::INBOX, next..=u32::MAX, page).await?;
                if rows.is_empty() {
                    break;
                }
                messages.extend(rows.iter().map(|row| Message {
                    uid: row.uid,
                    octets: row.size,
                    is_deleted: false,
                    was_read: false,
                }));
            }
            Ok((uid_validity, messages))
        };
        let (uid_validity, messages) = snapshot.await.map_err(Closed::Failed)?;
        Ok(Self { mailbox, uid_validity, messages, _lock: lock })
    }

    /// Messages that are not deleted, and their octets (STAT).
    pub(super) fn sums(&self) -> (usize, u64) {
        self.listed().fold((0, 0), |(count, sum), (_, message)| (count + 1, sum + message.octets))
    }

    /// Number and octets of each message that is not deleted.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.listed().map(|(number, message)| (number, message.octets))
    }

    /// Number and unique id of each message that is not deleted. RFC 1939 §7: 1 to 70 characters
    /// that never name another message of this maildrop.
    pub(super) fn ids(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.listed().map(|(number, message)| (number, self.id(message)))
    }

    fn listed(&self) -> impl Iterator<Item = (usize, &Message)> {
        let all = self.messages.iter().enumerate();
        all.filter(|(_, message)| !message.is_deleted).map(|(place, message)| (place + 1, message))
    }

    fn id(&self, message: &Message) -> String {
        format!("{:08x}{:08x}", self.uid_validity, message.uid.0)
    }

    fn place(&self, number: u32) -> Option<usize> {
        let place = (number as usize).checked_sub(1)?;
        self.messages.get(place).filter(|message| !message.is_deleted).map(|_| place)
    }

    /// Octets of a message; `None` when there is none of that number, or it is deleted.
    pub(super) fn octets(&self, number: u32) -> Option<u64> {
        Some(self.messages[self.place(number)?].octets)
    }

    /// The unique id of a message.
    pub(super) fn id_of(&self, number: u32) -> Option<String> {
        Some(self.id(&self.messages[self.place(number)?]))
    }

    /// Marks a message as deleted, for now; false when there is none.
    pub(super) fn delete(&mut self, number: u32) -> bool {
        let place = self.place(number);
        place.inspect(|&place| self.messages[place].is_deleted = true).is_some()
    }

    /// Nothing is deleted (RSET).
    pub(super) fn reset(&mut self) {
        self.messages.iter_mut().for_each(|message| message.is_deleted = false);
    }

    /// Opens a message as far as it will be needed; `None` when there is none of that number.
    pub(super) async fn read(
        &mut self,
        number: u32,
        memory: &ClearMemory,
    ) -> Result<Option<(BlobId, Reading)>, MailboxError> {
        let Some(place) = self.place(number) else { return Ok(None) };
        let uid = self.messages[place].uid;
        // Another session may have removed it since: as good as unreadable to this one.
        let Some(entry) = self.mailbox.entry(FolderId::INBOX, uid).await? else {
            return Err(MailboxError::NoSuchMessage);
        };
        let sealed = self.mailbox.sealed(&entry).await?;
        let mut reading = Reading::begin(sealed, memory, Need::Stretches).await?;
        reading.prepare(0..reading.octets()).await?;
        self.messages[place].was_read = true;
        Ok(Some((entry.blob, reading)))
    }

    /// The UPDATE state (RFC 1939 §6): what was read is marked as seen, what was deleted goes,
    /// durably. Nothing of it happens when a session ends without QUIT.
    pub(super) async fn update(self) -> Result<(), MailboxError> {
        let uids = |wanted: fn(&Message) -> bool| -> Vec<Uid> {
            self.messages.iter().filter(|each| wanted(each)).map(|each| each.uid).collect()
        };
        let read = uids(|message| message.was_read && !message.is_deleted);
        if !read.is_empty() {
            let seen = FlagChange::Add(Flags { seen: true, ..Flags::default() });
            self.mailbox.store_flags(FolderId::INBOX, &read, &seen).await?;
        }
        let deleted = uids(|message| message.is_deleted);
        if !deleted.is_empty() {
            let mark = FlagChange::Add(Flags { deleted: true, ..Flags::default() });
            self.mailbox.store_flags(FolderId::INBOX, &deleted, &mark).await?;
            self.mailbox.expunge(FolderId::INBOX, Some(&deleted)).await?;
        }
        Ok(())
    }
}
