//! Messages: rows and contents. The rooms behind it: what happened, marks, copies and moves,
//! summaries, and messages that go.
mod changes;
mod expunge;
mod flags;
mod shred;
mod summaries;
mod transfer;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::secret::Secret;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::Head;
use crate::flow::reading::Sealed;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

pub(super) use expunge::Parting;
pub(super) use flags::check_keywords;
pub(super) use summaries::safe_summary;
pub(super) use summaries::summary_context;
pub use transfer::COPIED_AT_ONCE;
pub(super) use transfer::weight;

/// Messages that one commit changes at most, so that no batch grows without bound.
const MESSAGES_AT_ONCE: usize = 200;

impl OpenMailbox {
    /// Rows with a UID in the range, ascending, at most `limit`. Page with `last.uid + 1`.
    pub async fn entries(
        &self,
        folder: FolderId,
        uids: RangeInclusive<u32>,
        limit: usize,
    ) -> Result<Vec<Entry>, MailboxError> {
        self.must_have(folder, Right::Read).await?;
        self.sitting.lists().await?;
        let mut entries = self.plain_entries(folder, uids, limit).await?;
        self.as_seen(folder, &mut entries).await?;
        Ok(entries)
    }

    /// The rows as they lie there, whoever asks.
    pub(super) async fn plain_entries(
        &self,
        folder: FolderId,
        uids: RangeInclusive<u32>,
        limit: usize,
    ) -> Result<Vec<Entry>, MailboxError> {
        let mut entries = Vec::new();
        if uids.is_empty() {
            return Ok(entries);
        }
        let mut range = rows::message_range(&self.slot.id, folder, *uids.start(), *uids.end());
        while entries.len() < limit {
            let rows = (limit - entries.len()).min(limits::SCAN_ROWS_MAX);
            let page = self.shelf.store.scan(range.clone(), rows).await?;
            for (key, row) in &page.rows {
                let Some(uid) = rows::uid_of(key) else { continue };
                entries.push(rows::decode_message(&self.slot.keys, folder, uid, &row.value));
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        Ok(entries)
    }

    /// One row.
    pub async fn entry(&self, folder: FolderId, uid: Uid) -> Result<Option<Entry>, MailboxError> {
        self.must_have(folder, Right::Read).await?;
        self.sitting.lists().await?;
        let Some(mut entry) = self.plain_entry(folder, uid).await? else { return Ok(None) };
        self.as_seen(folder, std::slice::from_mut(&mut entry)).await?;
        Ok(Some(entry))
    }

    pub(super) async fn plain_entry(
        &self,
        folder: FolderId,
        uid: Uid,
    ) -> Result<Option<Entry>, MailboxError> {
        let key = rows::message_key(&self.slot.id, folder, uid);
        let Some(row) = self.shelf.store.get(&key).await? else { return Ok(None) };
        Ok(Some(rows::decode_message(&self.slot.keys, folder, uid, &row.value)))
    }

    /// The message in clear. `MailboxError::Unreadable` concerns this message alone.
    pub async fn content(&self, entry: &Entry) -> Result<Arc<Secret<Vec<u8>>>, MailboxError> {
        self.sealed(entry).await?.whole().await
    }

    /// What it takes to open the message, for whoever reads it in pieces. That it is opened is in
    /// the ledger first.
    pub async fn sealed<'e>(&'e self, entry: &'e Entry) -> Result<Sealed<'e>, MailboxError> {
        self.sitting.opens_content(entry.blob).await?;
        Ok(Sealed {
            blobs: &self.shelf.blobs,
            keys: &self.slot.keys,
            blob: entry.blob,
            sealed_key: &entry.sealed_key,
            octets: entry.size,
        })
    }

    /// Like [`OpenMailbox::change`], but a conflict is told, because rows outside the mailbox
    /// (reference counts) may have caused it and must be read again.
    pub(super) async fn attempt<T>(
        &self,
        build: impl FnOnce(&mut Head, &mut Batch) -> Result<T, MailboxError>,
    ) -> Result<Result<T, MailboxError>, CommitError> {
        if let Err(error) = self.slot.load(&self.shelf).await {
            return Ok(Err(error));
        }
        let (result, epoch, committing) = {
            let mut state = self.slot.lock();
            let Some(mut head) = state.head().cloned() else { return Err(CommitError::Conflict) };
            let mut batch = Batch::new();
            self.add_missing_folders(&mut head, &mut batch);
            let result = match build(&mut head, &mut batch) {
                Ok(result) => result,
                Err(error) => return Ok(Err(error)),
            };
            let epoch = state.foretell(&self.slot.id, head, &mut batch);
            (result, epoch, self.shelf.store.submit(batch))
        };
        match committing.await {
            Ok(()) => {
                self.slot.announce();
                Ok(Ok(result))
            }
            Err(error) => {
                self.slot.forget(epoch);
                Err(error)
            }
        }
    }

    /// Takes rows out of a folder; the contents stay referred to.
    pub(super) fn take_away<'e>(
        &self,
        folder: FolderId,
        entries: impl IntoIterator<Item = &'e Entry>,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<(), MailboxError> {
        let mut uids = Vec::new();
        let counters = head.folder_mut(folder).ok_or(MailboxError::NoSuchFolder)?;
        for entry in entries {
            uids.push(entry.uid.0);
            counters.exists = counters.exists.saturating_sub(1);
            counters.unseen = counters.unseen.saturating_sub(u32::from(!entry.flags.seen));
            counters.octets = counters.octets.saturating_sub(entry.size);
            batch.delete(rows::message_key(&self.slot.id, folder, entry.uid));
            if let Some(named) = &entry.named {
                batch.delete(rows::named_key(&self.slot.id, named, folder, entry.uid));
            }
            for chunk in 0..summary_chunks() {
                batch.delete(rows::summary_key(&self.slot.id, folder, entry.uid, chunk));
            }
        }
        if counters.exists == 0 {
            // A damaged row did not say what it had counted for.
            (counters.unseen, counters.octets) = (0, 0);
        }
        if uids.is_empty() {
            return Ok(());
        }
        self.log_change(head, folder, ChangeKind::Gone, uids, batch);
        Ok(())
    }

    /// Writes one new message row with its sealed summary; `entry.uid` and `modseq` are given
    /// here.
    pub(super) fn put_message(
        &self,
        to: FolderId,
        mut entry: Entry,
        sealed_summary: &[u8],
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Uid, MailboxError> {
        let counters = head.folder_mut(to).ok_or(MailboxError::NoSuchFolder)?;
        let uid = counters.uid_next;
        counters.uid_next =
            uid.checked_add(1).ok_or(MailboxError::OverLimit("messages of one folder"))?;
        counters.exists += 1;
        counters.unseen += u32::from(!entry.flags.seen);
        counters.octets += entry.size;
        entry.uid = Uid(uid);
        entry.modseq = self.log_change(head, to, ChangeKind::Changed, vec![uid], batch);
        let key = rows::message_key(&self.slot.id, to, entry.uid);
        batch.require_absent(key.clone());
        batch.put(key, rows::encode_message(&self.slot.keys, &entry));
        if let Some(named) = &entry.named {
            batch.put(rows::named_key(&self.slot.id, named, to, entry.uid), rows::encode(&()));
        }
        for (number, chunk) in sealed_summary.chunks(rows::SUMMARY_CHUNK_OCTETS).enumerate() {
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            let key = rows::summary_key(&self.slot.id, to, entry.uid, number);
            batch.put(key, chunk.to_vec());
        }
        Ok(entry.uid)
    }

    /// The rows of those UIDs that exist, ascending.
    async fn present(&self, folder: FolderId, uids: &[Uid]) -> Result<Vec<Entry>, MailboxError> {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return Ok(Vec::new()) };
        // A dense range is one scan; a few of many are single reads.
        let span = (last.0 - first.0) as usize;
        if span <= uids.len().saturating_mul(4) {
            let wanted: BTreeSet<u32> = uids.iter().map(|uid| uid.0).collect();
            let mut entries = self.plain_entries(folder, first.0..=last.0, usize::MAX).await?;
            entries.retain(|entry| wanted.contains(&entry.uid.0));
            return Ok(entries);
        }
        let mut entries = Vec::with_capacity(uids.len());
        for uid in uids {
            entries.extend(self.plain_entry(folder, *uid).await?);
        }
        Ok(entries)
    }
}

fn summary_chunks() -> u8 {
    let sealed = limits::SUMMARY_OCTETS_MAX + 1024;
    u8::try_from(sealed.div_ceil(rows::SUMMARY_CHUNK_OCTETS)).unwrap_or(u8::MAX)
}

/// Ascending, each once.
fn sorted(uids: &[Uid]) -> Vec<Uid> {
    uids.iter().copied().collect::<BTreeSet<Uid>>().into_iter().collect()
}

/// How often each content is referred to by these rows.
fn references<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<(BlobId, u32)> {
    let mut counts = std::collections::BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.blob).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
