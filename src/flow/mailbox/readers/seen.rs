//! `\Seen` of those who read somebody else's mailbox, when each has their own
//! (`mailboxes.shared_seen = false`): a message is unread for a reader until that reader read it.
//!
//! Rows `M/<mailbox>/e/<reader><folder><chunk>` hold, for a run of message numbers, what this
//! reader marked, and the step of the change log at which they did: so CONDSTORE and IDLE tell it
//! to this reader and to nobody else. A row of a message that is gone does no harm, because
//! numbers never come back; it goes when its chunk is written again.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::btree_map;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::contents::Contents;
use crate::flow::mailbox::readers::Reader;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::SEEN_CHUNK as CHUNK;
use crate::infra::store;

/// Sets of one mailbox that are kept in memory.
const SETS_KEPT_MAX: usize = 200;

/// What a reader marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow::mailbox) struct Mark {
    seen: bool,
    modseq: u64,
}

/// Place in the chunk, seen, step.
#[derive(Serialize, Deserialize)]
struct Row(Vec<(u16, bool, u64)>);

type Marks = BTreeMap<u32, Mark>;
/// What each reader has seen of each folder, as far as it is in memory.
pub(in crate::flow::mailbox) type SeenSets = HashMap<(MailboxId, FolderId), Arc<UidSet>>;

impl OpenMailbox {
    /// Whose own `\Seen` counts; `None` for the owner, and where all share one.
    pub(in crate::flow::mailbox) fn own_seen_of(&self) -> Option<MailboxId> {
        let reader = self.reader.as_ref().filter(|_| !self.shelf.rules.shared_seen)?;
        Some(reader.id)
    }

    /// Shows rows to whoever opened the mailbox: with their own `\Seen`.
    pub(in crate::flow::mailbox) async fn as_seen(
        &self,
        folder: FolderId,
        entries: &mut [Entry],
    ) -> Result<(), MailboxError> {
        let (Some(reader), Some(first), Some(last)) =
            (self.own_seen_of(), entries.first(), entries.last())
        else {
            return Ok(());
        };
        let marks = self.marks(reader, folder, first.uid.0..=last.uid.0).await?;
        for entry in entries {
            let mark = marks.get(&entry.uid.0);
            entry.flags.seen = mark.is_some_and(|mark| mark.seen);
            entry.modseq = entry.modseq.max(ModSeq(mark.map_or(0, |mark| mark.modseq)));
        }
        Ok(())
    }

    /// The same for a folder's counters.
    pub(in crate::flow::mailbox) async fn folder_as_seen(
        &self,
        mut folder: Folder,
    ) -> Result<Folder, MailboxError> {
        if let Some(reader) = self.own_seen_of() {
            let seen = self.seen_set(reader, folder.id).await?;
            let uids = &self.plain_contents(folder.id).await?.uids;
            folder.unseen = uids.difference(&seen).len();
        }
        Ok(folder)
    }

    /// The same for its contents.
    pub(in crate::flow::mailbox) async fn contents_as_seen(
        &self,
        folder: FolderId,
        contents: Arc<Contents>,
    ) -> Result<Arc<Contents>, MailboxError> {
        let Some(reader) = self.own_seen_of() else { return Ok(contents) };
        let seen = self.seen_set(reader, folder).await?;
        let unseen = contents.uids.difference(&seen);
        Ok(Arc::new(Contents { unseen, ..(*contents).clone() }))
    }

    /// Which messages this reader marked after a step, when the change log does not say it.
    pub(in crate::flow::mailbox) async fn marked_since(
        &self,
        folder: FolderId,
        since: ModSeq,
    ) -> Result<UidSet, MailboxError> {
        let Some(reader) = self.own_seen_of() else { return Ok(UidSet::new()) };
        let marks = self.marks(reader, folder, 1..=u32::MAX).await?;
        Ok(marks.iter().filter(|(_, mark)| mark.modseq > since.0).map(|(uid, _)| *uid).collect())
    }

    /// Marks messages seen or not for this reader, durably; answers the step. The gate is held.
    pub(in crate::flow::mailbox) async fn mark_seen(
        &self,
        folder: FolderId,
        wanted: &[(Uid, bool)],
    ) -> Result<Option<ModSeq>, MailboxError> {
        let Some(reader) = self.own_seen_of().filter(|_| !wanted.is_empty()) else {
            return Ok(None);
        };
        let there = Arc::clone(&self.plain_contents(folder).await?);
        let mut chunks: BTreeMap<u32, Marks> = BTreeMap::new();
        for (uid, _) in wanted {
            let chunk = uid.0 / CHUNK;
            if let btree_map::Entry::Vacant(unread) = chunks.entry(chunk) {
                let range = chunk * CHUNK..=chunk.saturating_mul(CHUNK).saturating_add(CHUNK - 1);
                let mut marks = self.marks(reader, folder, range).await?;
                marks.retain(|uid, _| there.uids.contains(*uid));
                unread.insert(marks);
            }
        }
        let modseq = self
            .change(|head, batch| {
                let uids = wanted.iter().map(|(uid, _)| uid.0).collect();
                let kind = ChangeKind::SeenBy(*reader.as_bytes());
                let modseq = self.log_change(head, folder, kind, uids, batch);
                let mut after = chunks.clone();
                for (uid, seen) in wanted {
                    let mark = Mark { seen: *seen, modseq: modseq.0 };
                    after.entry(uid.0 / CHUNK).or_default().insert(uid.0, mark);
                }
                for (chunk, marks) in &after {
                    let row = Row(marks
                        .iter()
                        .map(|(uid, mark)| ((uid % CHUNK) as u16, mark.seen, mark.modseq))
                        .collect());
                    let key = rows::seen_key(&self.slot.id, &reader, folder, *chunk);
                    batch.put(key, rows::encode(&row));
                }
                Ok(modseq)
            })
            .await;
        let mut sets = self.seen_sets();
        self.slot.seen_epoch.fetch_add(1, Ordering::SeqCst);
        match (&modseq, sets.get_mut(&(reader, folder))) {
            (Ok(_), Some(set)) => {
                let set = Arc::make_mut(set);
                for (uid, seen) in wanted {
                    match seen {
                        true => set.insert(uid.0),
                        false => set.remove(uid.0),
                    };
                }
            }
            // Nobody knows what became of it: read again next time.
            _ => drop(sets.remove(&(reader, folder))),
        }
        drop(sets);
        modseq.map(Some)
    }

    /// Messages that came with `\Seen`, by APPEND or COPY, are seen by whoever put them there. They
    /// are durable already: an error would make a client file them twice, so a mark that cannot
    /// be written is left out, and the message is new to its own sender.
    pub(in crate::flow::mailbox) async fn mark_placed(
        &self,
        folder: FolderId,
        seen: impl IntoIterator<Item = Uid>,
    ) {
        let wanted: Vec<(Uid, bool)> = seen.into_iter().map(|uid| (uid, true)).collect();
        if self.own_seen_of().is_none() || wanted.is_empty() {
            return;
        }
        let _gate = self.slot.gate.lock().await;
        for some in wanted.chunks(CHUNK as usize) {
            if let Err(error) = self.mark_seen(folder, some).await {
                tracing::warn!(mailbox = ?self.id(), %error, "what was filed stays unread");
                return;
            }
        }
    }

    /// What each reader had seen of messages that were moved within the mailbox, they have seen at
    /// the new place as well. The gate is held. The messages lie there already: a mark that cannot
    /// be written is left out, and somebody finds a letter unread that they knew.
    pub(in crate::flow::mailbox) async fn carry_marks(
        &self,
        from: FolderId,
        to: FolderId,
        pairs: &[(Uid, Uid)],
    ) {
        if self.shelf.rules.shared_seen || pairs.is_empty() {
            return;
        }
        if let Err(error) = self.carry_all_marks(from, to, pairs).await {
            tracing::warn!(mailbox = ?self.id(), %error, "what was moved is unread for some");
        }
    }

    async fn carry_all_marks(
        &self,
        from: FolderId,
        to: FolderId,
        pairs: &[(Uid, Uid)],
    ) -> Result<(), MailboxError> {
        for reader in self.readers_with_marks(from).await? {
            let mut wanted = Vec::new();
            for some in pairs.chunks(CHUNK as usize) {
                let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
                let marks = self.marks(reader, from, first.0.0..=last.0.0).await?;
                let is_seen = |uid: &Uid| marks.get(&uid.0).is_some_and(|mark| mark.seen);
                wanted.extend(some.iter().filter(|(old, _)| is_seen(old)).map(|(_, new)| *new));
            }
            // In their name, for what they did themselves.
            let named = Reader { id: reader, address: String::new() };
            let theirs = Self { reader: Some(Arc::new(named)), ..self.clone() };
            for some in wanted.chunks(CHUNK as usize) {
                let some: Vec<(Uid, bool)> = some.iter().map(|uid| (*uid, true)).collect();
                theirs.mark_seen(to, &some).await?;
            }
        }
        Ok(())
    }

    /// Who has marked something in a folder.
    async fn readers_with_marks(
        &self,
        folder: FolderId,
    ) -> Result<BTreeSet<MailboxId>, MailboxError> {
        let mut readers = BTreeSet::new();
        let mut range = store::prefix(&rows::seen_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            let of_folder =
                page.rows.iter().filter(|(key, _)| rows::seen_folder(key) == Some(folder));
            readers.extend(of_folder.filter_map(|(key, _)| rows::seen_reader(&self.slot.id, key)));
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(readers),
            }
        }
    }

    /// The marks with which whoever opened the mailbox may put a message into a folder (RFC 4314
    /// §4). Also tells whether it is seen by them.
    pub(in crate::flow::mailbox) fn marks_for_new(
        &self,
        rights: Rights,
        flags: &Flags,
    ) -> (Flags, bool) {
        let mut kept = permitted(rights, &Flags::default(), flags.clone());
        let seen = kept.seen;
        if self.own_seen_of().is_some() {
            kept.seen = false;
        }
        (kept, seen)
    }

    async fn seen_set(
        &self,
        reader: MailboxId,
        folder: FolderId,
    ) -> Result<Arc<UidSet>, MailboxError> {
        if let Some(set) = self.seen_sets().get(&(reader, folder)) {
            return Ok(Arc::clone(set));
        }
        let epoch = self.slot.seen_epoch.load(Ordering::SeqCst);
        let marks = self.marks(reader, folder, 1..=u32::MAX).await?;
        let seen = marks.iter().filter(|(_, mark)| mark.seen).map(|(uid, _)| *uid);
        let set: Arc<UidSet> = Arc::new(seen.collect());
        let mut sets = self.seen_sets();
        // Kept only when nobody marked anything while it was read.
        if self.slot.seen_epoch.load(Ordering::SeqCst) == epoch {
            sets.insert((reader, folder), Arc::clone(&set));
        }
        Ok(set)
    }

    async fn marks(
        &self,
        reader: MailboxId,
        folder: FolderId,
        uids: RangeInclusive<u32>,
    ) -> Result<Marks, MailboxError> {
        let mut marks = Marks::new();
        let key = |chunk| rows::seen_key(&self.slot.id, &reader, folder, chunk);
        let mut end = key(*uids.end() / CHUNK);
        end.push(0);
        let mut range = key(*uids.start() / CHUNK)..end;
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let chunk = rows::uid_of(key).map_or(0, |number| number.0);
                // A damaged row: unread again is better than an error for the folder.
                let Some(Row(stored)) = rows::decode::<Row>(&row.value) else { continue };
                marks.extend(stored.into_iter().map(|(place, seen, modseq)| {
                    (chunk * CHUNK + u32::from(place), Mark { seen, modseq })
                }));
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        marks.retain(|uid, _| uids.contains(uid));
        Ok(marks)
    }

    /// Forgets what readers marked in a folder that is deleted.
    pub(in crate::flow::mailbox) async fn forget_marks(
        &self,
        folder: FolderId,
    ) -> Result<(), MailboxError> {
        self.seen_sets().clear();
        let mut range = store::prefix(&rows::seen_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            let mut batch = store::Batch::new();
            for (key, _) in
                page.rows.iter().filter(|(key, _)| rows::seen_folder(key) == Some(folder))
            {
                batch.delete(key.to_vec());
            }
            if !batch.writes.is_empty() {
                self.shelf.store.commit(batch).await?;
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    fn seen_sets(&self) -> MutexGuard<'_, SeenSets> {
        let mut sets = self.slot.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() > SETS_KEPT_MAX {
            sets.clear();
        }
        sets
    }
}

/// Marks as they become when somebody with these rights changes them to `wanted`: each right is
/// for some marks, the others stay (RFC 4314 §4).
pub fn permitted(rights: Rights, before: &Flags, wanted: Flags) -> Flags {
    let pick = |right, wanted: bool, before: bool| if rights.has(right) { wanted } else { before };
    let writes = rights.has(Right::Write);
    Flags {
        seen: pick(Right::KeepSeen, wanted.seen, before.seen),
        deleted: pick(Right::DeleteMessages, wanted.deleted, before.deleted),
        answered: pick(Right::Write, wanted.answered, before.answered),
        flagged: pick(Right::Write, wanted.flagged, before.flagged),
        draft: pick(Right::Write, wanted.draft, before.draft),
        keywords: if writes { wanted.keywords } else { before.keywords.clone() },
    }
}
