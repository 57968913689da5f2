//! Messages: rows, summaries, contents, marks, copies, the change log.
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FlagChange;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::mailbox::Changes;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::index::News;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::ChangeRow;
use crate::flow::mailbox::rows::Head;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::summary;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;

/// Messages that one commit changes at most, so that no batch grows without bound.
const MESSAGES_AT_ONCE: usize = 200;
/// Octets after which a move commits and goes on: one more message always fits the batch.
const MOVED_OCTETS_AT_ONCE: usize = limits::BATCH_OCTETS_MAX / 8;
/// What is over its limit when too much is copied.
pub const COPIED_AT_ONCE: &str = "messages copied at once";

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
        let key = rows::message_key(&self.slot.id, folder, uid);
        let Some(row) = self.shelf.store.get(&key).await? else { return Ok(None) };
        Ok(Some(rows::decode_message(&self.slot.keys, folder, uid, &row.value)))
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
            batch.put(key, rows::encode_message(&self.slot.keys, entry));
        }
        Ok(after)
    }

    /// Copies; answers UIDVALIDITY of the target and (source, target) UID pairs. All or nothing
    /// (RFC 3501 §6.4.7), so there is a limit to what is copied at once.
    pub async fn copy(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut sealed: Vec<(Entry, Vec<u8>)> = Vec::new();
        let mut octets = 0;
        for some in sorted(uids).chunks(limits::SCAN_ROWS_MAX) {
            for entry in self.present(from, some).await? {
                let summary = self.sealed_summary(from, entry.uid).await?;
                octets += weight(&entry, &summary);
                if octets > limits::TRANSFER_OCTETS_MAX {
                    return Err(MailboxError::OverLimit(COPIED_AT_ONCE));
                }
                sealed.push((entry, summary));
            }
        }
        for _ in 0..super::ATTEMPTS_MAX {
            let mut target = Batch::new();
            for (blob, count) in references(sealed.iter().map(|(entry, _)| entry)) {
                // In a batch of its own: it looks through what the batch has already.
                let mut one = Batch::new();
                self.shelf.blobs.refer(blob, count, &mut one).await?;
                target.extend(one);
            }
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(std::mem::take(&mut target));
                    self.place(&sealed, to, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(placed) => return placed,
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    /// Moves; answers as [`OpenMailbox::copy`]. Each message is moved or not (RFC 6851 §3.3);
    /// many of them take several commits.
    pub async fn move_messages(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut uid_validity = self.folder(to).await?.uid_validity;
        let mut pairs = Vec::with_capacity(uids.len());
        for some in sorted(uids).chunks(MESSAGES_AT_ONCE) {
            let mut entries = self.present(from, some).await?.into_iter().peekable();
            while entries.peek().is_some() {
                let mut sealed = Vec::new();
                let mut octets = 0;
                while octets < MOVED_OCTETS_AT_ONCE
                    && let Some(entry) = entries.next()
                {
                    let summary = self.sealed_summary(from, entry.uid).await?;
                    octets += weight(&entry, &summary);
                    sealed.push((entry, summary));
                }
                let moved = self.change(|head, batch| {
                    // First gone, then placed: a move within one folder gives new UIDs.
                    self.take_away(from, sealed.iter().map(|(entry, _)| entry), head, batch)?;
                    self.place(&sealed, to, head, batch)
                });
                let (validity, more) = moved.await?;
                uid_validity = validity;
                pairs.extend(more);
            }
        }
        Ok((uid_validity, pairs))
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
        self.move_messages(from, &uids, to).await?;
        Ok(())
    }

    /// What happened in the folder after `since`.
    pub async fn changes(&self, folder: FolderId, since: ModSeq) -> Result<Changes, MailboxError> {
        let mut touched = UidSet::new();
        let mut range = rows::change_key(&self.slot.id, since.0.saturating_add(1))
            ..rows::changes_end(&self.slot.id);
        let mut gone = UidSet::new();
        let mut has_hole = false;
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (_, row) in &page.rows {
                let Some(row) = rows::decode::<ChangeRow>(&row.value) else {
                    has_hole = true;
                    continue;
                };
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
        if has_hole {
            tracing::error!(mailbox = ?self.slot.id, "a row of the change log is damaged");
            return self.everything_may_have_changed(folder).await;
        }
        let folder = match self.folder(folder).await {
            Ok(folder) => Some(folder),
            Err(MailboxError::NoSuchFolder) => None,
            Err(error) => return Err(error),
        };
        Ok(Changes { touched: touched.difference(&gone), gone, folder })
    }

    /// What happened when nobody knows: whatever is there is told again, whatever is not is gone.
    async fn everything_may_have_changed(&self, id: FolderId) -> Result<Changes, MailboxError> {
        // Before the rows: what arrives in between is told, and not taken for gone.
        let folder = match self.folder(id).await {
            Ok(folder) => folder,
            Err(MailboxError::NoSuchFolder) => return Ok(Changes::default()),
            Err(error) => return Err(error),
        };
        let entries = self.entries(id, 1..=u32::MAX, usize::MAX).await?;
        let touched: UidSet = entries.iter().map(|entry| entry.uid.0).collect();
        let mut all = UidSet::new();
        all.insert_range(1..=folder.uid_next.0.saturating_sub(1).max(1));
        Ok(Changes { gone: all.difference(&touched), touched, folder: Some(folder) })
    }

    /// Like [`OpenMailbox::change`], but a conflict is told, because rows outside the mailbox
    /// (reference counts) may have caused it and must be read again.
    async fn attempt<T>(
        &self,
        mut build: impl FnMut(&mut Head, &mut Batch) -> Result<T, MailboxError>,
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

    /// Removes messages, durably, with their contents where nobody else refers to them.
    async fn remove(&self, folder: FolderId, doomed: &[Entry]) -> Result<(), MailboxError> {
        let now = self.shelf.clock.now();
        for some in doomed.chunks(MESSAGES_AT_ONCE) {
            self.shelf.index.keeper.noticed(&self.slot, now, News::Changed);
            'again: {
                for _ in 0..super::ATTEMPTS_MAX {
                    let mut releases = Batch::new();
                    let mut released = Vec::with_capacity(some.len());
                    for (blob, count) in references(some) {
                        let mut one = Batch::new();
                        match self.shelf.blobs.release(blob, count, &mut one).await {
                            Ok(each) => {
                                released.push(each);
                                releases.extend(one);
                            }
                            // Otherwise it could never be removed. What is left of the content
                            // lies there without a message.
                            Err(error @ (StoreError::Damaged(_) | StoreError::BlobMissing)) => {
                                tracing::error!(%blob, %error, "a content was not released");
                            }
                            Err(error) => return Err(error.into()),
                        }
                    }
                    let outcome = self
                        .attempt(|head, batch| {
                            batch.extend(std::mem::take(&mut releases));
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
    fn take_away<'e>(
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

    /// Gives messages new rows at the end of a folder.
    fn place(
        &self,
        sealed: &[(Entry, Vec<u8>)],
        to: FolderId,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<(u32, Vec<(Uid, Uid)>), MailboxError> {
        let mut pairs = Vec::with_capacity(sealed.len());
        for (entry, summary) in sealed {
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
        batch.put(key, rows::encode_message(&self.slot.keys, &entry));
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

    pub(super) async fn sealed_summary(&self, folder: FolderId, uid: Uid) -> Result<Vec<u8>, MailboxError> {
        let range = store::prefix(&rows::summary_prefix(&self.slot.id, folder, uid));
        let page = self.shelf.store.scan(range, usize::from(u8::MAX)).await?;
        Ok(page.rows.iter().flat_map(|(_, row)| row.value.iter().copied()).collect())
    }
}

/// Octets of a batch that a message takes to be copied or moved: its summary, its keywords (a
/// sealed row holds them once), and rows and keys of a known length.
fn weight(entry: &Entry, sealed_summary: &[u8]) -> usize {
    let keywords: usize = entry.flags.keywords.iter().map(|word| word.len() + 4).sum();
    sealed_summary.len() + keywords + entry.sealed_key.len() + 1_024
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
pub(super) fn safe_summary(entry: &Entry) -> Summary {
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
        header_forms: HeaderForms::default(),
        references: Vec::new(),
        preview: String::new(),
    }
}

pub(super) fn check_keywords(flags: &crate::domain::folder::Flags) -> Result<(), MailboxError> {
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
fn references<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<(BlobId, u32)> {
    let mut counts = std::collections::BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.blob).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
