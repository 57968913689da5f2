//! Messages: rows, summaries, contents, marks, copies, the change log.
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::folder::FlagChange;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::mailbox::Changes;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::ChangeRow;
use crate::flow::mailbox::rows::Head;
use crate::flow::mailbox::rows::MessageRow;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::proto::mime::summary;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;

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
        let mut entries = Vec::new();
        if uids.is_empty() {
            return Ok(entries);
        }
        let mut range = rows::message_range(&self.slot.id, folder, *uids.start(), *uids.end());
        while entries.len() < limit {
            let rows = (limit - entries.len()).min(limits::SCAN_ROWS_MAX);
            let page = self.shelf.store.scan(range.clone(), rows).await?;
            for (key, row) in &page.rows {
                let uid = rows::uid_of(key).ok_or_else(damaged_row)?;
                let row: MessageRow = rows::decode(&row.value).ok_or_else(damaged_row)?;
                entries.push(row.into_entry(uid));
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
        let key = rows::message_key(&self.slot.id, folder, uid);
        let Some(row) = self.shelf.store.get(&key).await? else { return Ok(None) };
        let row: MessageRow = rows::decode(&row.value).ok_or_else(damaged_row)?;
        Ok(Some(row.into_entry(uid)))
    }

    /// The message's summary (envelope, structure), opened from the sealed index. A message
    /// whose summary is damaged gets a safe one: never an error for the listing.
    pub async fn summary(
        &self,
        folder: FolderId,
        entry: &Entry,
    ) -> Result<Arc<Summary>, MailboxError> {
        let sealed = self.sealed_summary(folder, entry.uid).await?;
        let opened = self
            .slot
            .keys
            .open_index(&summary_context(entry), &sealed)
            .ok()
            .and_then(|clear| summary::decode(clear.expose()));
        Ok(Arc::new(opened.unwrap_or_else(|| safe_summary(entry))))
    }

    /// The message in clear. `MailboxError::Unreadable` concerns this message alone.
    pub async fn content(&self, entry: &Entry) -> Result<Arc<Secret<Vec<u8>>>, MailboxError> {
        let ciphertext = self.shelf.blobs.read(entry.blob).await?;
        let content_key = self.slot.keys.unwrap(&entry.sealed_key)?;
        Ok(self.slot.keys.open(&content_key, &ciphertext)?)
    }

    /// Changes marks; answers the changed rows, ascending. UIDs that are gone are left out.
    pub async fn store_flags(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<Entry>, MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut changed = Vec::with_capacity(uids.len());
        for some in sorted(uids).chunks(MESSAGES_AT_ONCE) {
            let entries = self.present(folder, some).await?;
            for entry in &entries {
                check_keywords(&entry.flags.changed(change))?;
            }
            let after = self
                .change(|head, batch| self.write_flags(folder, &entries, change, head, batch))
                .await?;
            changed.extend(after);
        }
        Ok(changed)
    }

    fn write_flags(
        &self,
        folder: FolderId,
        entries: &[Entry],
        change: &FlagChange,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Vec<Entry>, MailboxError> {
        let mut after = entries.to_vec();
        let different = |entry: &Entry| entry.flags.changed(change) != entry.flags;
        let uids: Vec<u32> = entries.iter().filter(|e| different(e)).map(|e| e.uid.0).collect();
        if uids.is_empty() {
            return Ok(after);
        }
        let counters = head.folder_mut(folder).ok_or(MailboxError::NoSuchFolder)?;
        let mut unseen = i64::from(counters.unseen);
        for entry in &mut after {
            let flags = entry.flags.changed(change);
            unseen += i64::from(entry.flags.seen) - i64::from(flags.seen);
            entry.flags = flags;
        }
        counters.unseen = u32::try_from(unseen.max(0)).unwrap_or(u32::MAX);
        let modseq = self.log_change(head, folder, ChangeKind::Changed, uids.clone(), batch);
        for entry in after.iter_mut().filter(|entry| uids.contains(&entry.uid.0)) {
            entry.modseq = modseq;
            let key = rows::message_key(&self.slot.id, folder, entry.uid);
            batch.put(key, rows::encode(&MessageRow::new(entry)));
        }
        Ok(after)
    }

    /// Copies; answers UIDVALIDITY of the target and (source, target) UID pairs. All or nothing.
    pub async fn copy(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let uids = sorted(uids);
        let mut target = Batch::new();
        let entries = self.present(from, &uids).await?;
        let summaries = self.summaries(from, &entries).await?;
        for _ in 0..super::ATTEMPTS_MAX {
            target = Batch::new();
            for entry in &entries {
                self.shelf.blobs.refer(entry.blob, 1, &mut target).await?;
            }
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(target.clone());
                    self.place(&entries, &summaries, to, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(placed) => return placed,
            }
        }
        drop(target);
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    /// Moves, atomically; answers as [`OpenMailbox::copy`].
    pub async fn move_messages(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let entries = self.present(from, &sorted(uids)).await?;
        let summaries = self.summaries(from, &entries).await?;
        self.change(|head, batch| {
            // First gone, then placed: a move within one folder gives new UIDs.
            self.take_away(from, &entries, head, batch)?;
            self.place(&entries, &summaries, to, head, batch)
        })
        .await
    }

    /// Removes messages marked `\Deleted`, of these UIDs or of all; answers the UIDs removed,
    /// ascending.
    pub async fn expunge(
        &self,
        folder: FolderId,
        uids: Option<&[Uid]>,
    ) -> Result<Vec<Uid>, MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let candidates = match uids {
            Some(uids) => self.present(folder, &sorted(uids)).await?,
            None => self.entries(folder, 1..=u32::MAX, usize::MAX).await?,
        };
        let doomed: Vec<Entry> =
            candidates.into_iter().filter(|entry| entry.flags.deleted).collect();
        self.remove(folder, &doomed).await?;
        Ok(doomed.iter().map(|entry| entry.uid).collect())
    }

    /// Removes all messages of a folder.
    pub(super) async fn remove_all(&self, folder: FolderId) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let all = self.entries(folder, 1..=u32::MAX, usize::MAX).await?;
        self.remove(folder, &all).await
    }

    /// Moves all messages of a folder.
    pub(super) async fn move_all(&self, from: FolderId, to: FolderId) -> Result<(), MailboxError> {
        let all = self.entries(from, 1..=u32::MAX, usize::MAX).await?;
        let uids: Vec<Uid> = all.iter().map(|entry| entry.uid).collect();
        for some in uids.chunks(MESSAGES_AT_ONCE) {
            self.move_messages(from, some, to).await?;
        }
        Ok(())
    }

    /// What happened in the folder after `since`.
    pub async fn changes(&self, folder: FolderId, since: ModSeq) -> Result<Changes, MailboxError> {
        let mut touched = BTreeSet::new();
        let mut range = rows::change_key(&self.slot.id, since.0.saturating_add(1))
            ..rows::changes_end(&self.slot.id);
        let mut gone = BTreeSet::new();
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (_, row) in &page.rows {
                let row: ChangeRow = rows::decode(&row.value).ok_or_else(damaged_row)?;
                if row.folder != folder.0 {
                    continue;
                }
                match row.kind {
                    ChangeKind::Changed => touched.extend(row.uids),
                    ChangeKind::Gone => gone.extend(row.uids),
                    ChangeKind::Folder => {}
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        let mut changed = Vec::new();
        for uid in touched.difference(&gone) {
            changed.extend(self.entry(folder, Uid(*uid)).await?);
        }
        let folder = match self.folder(folder).await {
            Ok(folder) => Some(folder),
            Err(MailboxError::NoSuchFolder) => None,
            Err(error) => return Err(error),
        };
        Ok(Changes { changed, gone: gone.into_iter().map(Uid).collect(), folder })
    }

    /// Like [`OpenMailbox::change`], but a conflict is told, because rows outside the mailbox
    /// (reference counts) may have caused it and must be read again.
    async fn attempt<T>(
        &self,
        mut build: impl FnMut(&mut Head, &mut Batch) -> Result<T, MailboxError>,
    ) -> Result<Result<T, MailboxError>, CommitError> {
        if let Err(error) = self.slot.load(&self.shelf.store).await {
            return Ok(Err(error));
        }
        let (result, epoch, committing) = {
            let mut state = self.slot.lock();
            let Some(mut head) = state.head().cloned() else { return Err(CommitError::Conflict) };
            let mut batch = Batch::new();
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

    /// Removes messages, durably, with their contents where nobody else refers to them.
    async fn remove(&self, folder: FolderId, doomed: &[Entry]) -> Result<(), MailboxError> {
        for some in doomed.chunks(MESSAGES_AT_ONCE) {
            'again: {
                for _ in 0..super::ATTEMPTS_MAX {
                    let mut releases = Batch::new();
                    let mut released = Vec::with_capacity(some.len());
                    for (blob, count) in references(some) {
                        released.push(self.shelf.blobs.release(blob, count, &mut releases).await?);
                    }
                    let outcome = self
                        .attempt(|head, batch| {
                            batch.extend(releases.clone());
                            self.take_away(folder, some, head, batch)
                        })
                        .await;
                    match outcome {
                        Err(CommitError::Conflict) => {}
                        Err(error) => return Err(error.into()),
                        Ok(result) => {
                            result?;
                            for each in released {
                                self.shelf.blobs.sweep(each).await;
                            }
                            break 'again;
                        }
                    }
                }
                return Err(MailboxError::Temporary(Refusal::Busy));
            }
        }
        Ok(())
    }

    /// Takes rows out of a folder; the contents stay referred to.
    fn take_away(
        &self,
        folder: FolderId,
        entries: &[Entry],
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<(), MailboxError> {
        if entries.is_empty() {
            return Ok(());
        }
        let counters = head.folder_mut(folder).ok_or(MailboxError::NoSuchFolder)?;
        for entry in entries {
            counters.exists = counters.exists.saturating_sub(1);
            counters.unseen = counters.unseen.saturating_sub(u32::from(!entry.flags.seen));
            counters.octets = counters.octets.saturating_sub(entry.size);
            batch.delete(rows::message_key(&self.slot.id, folder, entry.uid));
            for chunk in 0..summary_chunks() {
                batch.delete(rows::summary_key(&self.slot.id, folder, entry.uid, chunk));
            }
        }
        let uids = entries.iter().map(|entry| entry.uid.0).collect();
        self.log_change(head, folder, ChangeKind::Gone, uids, batch);
        Ok(())
    }

    /// Gives messages new rows at the end of a folder.
    fn place(
        &self,
        entries: &[Entry],
        summaries: &[Vec<u8>],
        to: FolderId,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let mut pairs = Vec::with_capacity(entries.len());
        for (entry, summary) in entries.iter().zip(summaries) {
            let uid = self.put_message(to, entry.clone(), summary, head, batch)?;
            pairs.push((entry.uid, uid));
        }
        let counters = head.folder(to).ok_or(MailboxError::NoSuchFolder)?;
        let uid_validity = counters.uid_validity;
        Ok((uid_validity, pairs))
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
        batch.put(key, rows::encode(&MessageRow::new(&entry)));
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
            let mut entries = self.entries(folder, first.0..=last.0, usize::MAX).await?;
            entries.retain(|entry| wanted.contains(&entry.uid.0));
            return Ok(entries);
        }
        let mut entries = Vec::with_capacity(uids.len());
        for uid in uids {
            entries.extend(self.entry(folder, *uid).await?);
        }
        Ok(entries)
    }

    async fn sealed_summary(&self, folder: FolderId, uid: Uid) -> Result<Vec<u8>, MailboxError> {
        let range = store::prefix(&rows::summary_prefix(&self.slot.id, folder, uid));
        let page = self.shelf.store.scan(range, usize::from(u8::MAX)).await?;
        Ok(page.rows.iter().flat_map(|(_, row)| row.value.iter().copied()).collect())
    }

    async fn summaries(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<Vec<Vec<u8>>, MailboxError> {
        let mut summaries = Vec::with_capacity(entries.len());
        for entry in entries {
            summaries.push(self.sealed_summary(folder, entry.uid).await?);
        }
        Ok(summaries)
    }
}

/// A sealed summary is bound to its content, not to its place, so that copies keep it.
pub(super) fn summary_context(entry: &Entry) -> Vec<u8> {
    [b"summary/".as_slice(), entry.blob.as_bytes()].concat()
}

fn summary_chunks() -> u8 {
    let sealed = limits::SUMMARY_OCTETS_MAX + 1024;
    u8::try_from(sealed.div_ceil(rows::SUMMARY_CHUNK_OCTETS)).unwrap_or(u8::MAX)
}

/// What a listing shows of a message whose summary cannot be read.
fn safe_summary(entry: &Entry) -> Summary {
    Summary {
        envelope: EnvelopeFields::default(),
        structure: Part {
            kind: "application".to_owned(),
            subtype: "octet-stream".to_owned(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: "8bit".to_owned(),
            disposition: None,
            language: Vec::new(),
            location: None,
            md5: None,
            header_start: 0,
            body_start: 0,
            body_end: entry.size,
            lines: 0,
            children: Vec::new(),
            message: None,
        },
        subject: String::new(),
        attachments: 0,
        over_budget: true,
    }
}

fn check_keywords(flags: &crate::domain::folder::Flags) -> Result<(), MailboxError> {
    let long = flags.keywords.iter().any(|word| word.len() > limits::KEYWORD_OCTETS_MAX);
    if long || flags.keywords.len() > limits::KEYWORDS_MAX {
        return Err(MailboxError::OverLimit("keywords of one message"));
    }
    Ok(())
}

/// Ascending, each once.
fn sorted(uids: &[Uid]) -> Vec<Uid> {
    uids.iter().copied().collect::<BTreeSet<Uid>>().into_iter().collect()
}

/// How often each content is referred to by these rows.
fn references(entries: &[Entry]) -> Vec<(crate::domain::envelope::BlobId, u32)> {
    let mut counts = std::collections::BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.blob).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

fn damaged_row() -> MailboxError {
    MailboxError::Unreadable("damaged message row".to_owned())
}
