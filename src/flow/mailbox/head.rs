//! The head of a mailbox as it lies on disk. One row counts for everything, and it is written at
//! each change: when it is damaged, it is counted anew from the rows that it counts, because a
//! mailbox must not be lost with its most worn row.
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::status::Refusal;
use crate::flow::mailbox::ATTEMPTS_MAX;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Shelf;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeRow;
use crate::flow::mailbox::rows::FolderHead;
use crate::flow::mailbox::rows::Head;
use crate::flow::mailbox::slot::Slot;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;
use crate::infra::store::Versioned;

impl Shelf {
    /// The head and its version; an empty one for a mailbox that has nothing yet.
    pub(super) async fn head(&self, slot: &Slot) -> Result<(Head, Option<Version>), MailboxError> {
        let key = rows::head_key(&slot.id);
        for _ in 0..ATTEMPTS_MAX {
            let row = self.store.get(&key).await?;
            let version = row.as_ref().map(|row| row.version);
            if row.as_ref().is_some_and(|row| row.value == rows::LAST_HEAD) {
                return Err(MailboxError::Temporary(Refusal::MailboxUnknown));
            }
            match row.as_ref().map(|row| rows::decode(&row.value)) {
                Some(Some(head)) => return Ok((head, version)),
                None if self.has_no_rows(&slot.id).await? => return Ok((Head::default(), None)),
                _ => {
                    tracing::error!(mailbox = ?slot.id, "a mailbox head is damaged; counting anew")
                }
            }
            let head = self.count_anew(slot).await?;
            let mut batch = Batch::new();
            match version {
                None => batch.require_absent(key.clone()),
                Some(version) => batch.require_at(key.clone(), version),
            };
            batch.put(key.clone(), rows::encode(&head));
            match self.store.commit(batch).await {
                // Read again: it is the row that counts.
                Ok(()) | Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    async fn has_no_rows(&self, id: &MailboxId) -> Result<bool, MailboxError> {
        let page = self.store.scan(store::prefix(&rows::folders_prefix(id)), 1).await?;
        Ok(page.rows.is_empty())
    }

    /// Nothing may change meanwhile; the precondition on the head's version sees to it.
    async fn count_anew(&self, slot: &Slot) -> Result<Head, MailboxError> {
        let id = &slot.id;
        let log = rows::change_key(id, 0)..rows::changes_end(id);
        let first = self.store.scan(log.clone(), 1).await?;
        let first = first.rows.first().and_then(|(key, _)| rows::modseq_of(key));
        let last = self.store.scan_back(log, 1).await?;
        let last = last.rows.first().and_then(|(key, _)| rows::modseq_of(key));
        let modseq = last.unwrap_or(0) + 1;
        // RFC 3501 §2.3.1.1: UIDs may be given again, so clients must forget the old ones.
        let now = u32::try_from(self.clock.now().as_seconds()).unwrap_or(u32::MAX);
        let mut folders: BTreeMap<u32, FolderHead> = BTreeMap::new();
        let folder = |number: u32, folders: &mut BTreeMap<u32, FolderHead>| {
            let uid_validity = now.saturating_add(u32::try_from(folders.len()).unwrap_or(u32::MAX));
            folders.entry(number).or_insert(FolderHead {
                id: number,
                uid_validity,
                uid_next: 1,
                modseq,
                exists: 0,
                unseen: 0,
                octets: 0,
            });
        };
        for (key, _) in self.all(rows::folders_prefix(id)).await? {
            if let Some(Uid(number)) = rows::uid_of(&key) {
                folder(number, &mut folders);
            }
        }
        let mut range = store::prefix(&rows::messages_prefix(id));
        loop {
            let page = self.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some((FolderId(number), uid)) = rows::place_of(key) else { continue };
                folder(number, &mut folders);
                let entry = rows::decode_message(&slot.keys, FolderId(number), uid, &row.value);
                if let Some(counters) = folders.get_mut(&number) {
                    counters.uid_next = counters.uid_next.max(uid.0.saturating_add(1));
                    counters.exists += 1;
                    counters.unseen += u32::from(!entry.flags.seen);
                    counters.octets += entry.size;
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        let next_folder = self.past_numbers(id, &mut folders).await?;
        let folders: Vec<FolderHead> = folders.into_values().collect();
        Ok(Head {
            modseq,
            floor: first.map_or(modseq, |first| first.saturating_sub(1)),
            next_folder,
            last_uid_validity: folders.iter().map(|folder| folder.uid_validity).max().unwrap_or(0),
            folders,
        })
    }

    /// Raises each `uid_next` over the numbers of messages that are gone, as far as anything still
    /// tells of them: what a reader has seen under a number must not count for another letter.
    /// Answers the greatest number that any folder has had, for the same reason.
    async fn past_numbers(
        &self,
        id: &MailboxId,
        folders: &mut BTreeMap<u32, FolderHead>,
    ) -> Result<u32, MailboxError> {
        let mut last_folder = folders.keys().last().copied().unwrap_or(0);
        let mut had = |number: u32, last_uid: u32| {
            last_folder = last_folder.max(number);
            if let Some(folder) = folders.get_mut(&number) {
                folder.uid_next = folder.uid_next.max(last_uid.saturating_add(1));
            }
        };
        let log = rows::change_key(id, 0)..rows::changes_end(id);
        for mut range in [log, store::prefix(&rows::seen_prefix(id))] {
            loop {
                let page = self.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
                for (key, row) in &page.rows {
                    if let Some((FolderId(folder), last)) = rows::seen_run(id, key) {
                        had(folder, last);
                    } else if let Some(row) = rows::decode::<ChangeRow>(&row.value) {
                        had(row.folder, row.uids.iter().copied().max().unwrap_or(0));
                    }
                }
                match page.rows.last() {
                    Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                    _ => break,
                }
            }
        }
        Ok(last_folder)
    }

    /// All rows behind a prefix of which there are few.
    async fn all(&self, prefix: Vec<u8>) -> Result<Vec<(Bytes, Versioned)>, MailboxError> {
        let page = self.store.scan(store::prefix(&prefix), limits::FOLDERS_MAX + 10).await?;
        Ok(page.rows)
    }
}
