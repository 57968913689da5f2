//! What is in a folder, at a glance: sets of message numbers, so that opening a folder of a million
//! messages reads no million rows. Filled by one walk over the rows, then kept up to date from the
//! change log; the folders used last stay in memory.
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::rights::Right;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::Glance;

/// Messages between two that are read in one walk with them.
const HOLE_MAX: u32 = 16;
/// Changed messages that are looked at one by one; of more, all are.
const TOUCHED_MAX: u32 = 20_000;

/// A folder's messages, at least as new as `modseq`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// All of them; a message's place is its sequence number.
    pub uids: UidSet,
    /// Those without `\Seen`.
    pub unseen: UidSet,
    /// Those with `\Deleted`.
    pub deleted: UidSet,
    /// Keywords in use, and some that were lately; at most `limits::KEYWORDS_MAX`.
    pub keywords: BTreeSet<String>,
    /// Everything that happened up to here is in it. Ask [`OpenMailbox::changes`] for the rest:
    /// some of that may be in it as well, and is then told again.
    pub modseq: ModSeq,
}

impl Contents {
    /// Sequence number of the first message without `\Seen`.
    pub fn first_unseen(&self) -> Option<u32> {
        self.unseen.first().and_then(|uid| self.uids.place_of(uid))
    }

    fn put(&mut self, uid: Uid, glance: Option<Glance<'_>>, mailbox: &OpenMailbox) {
        self.uids.insert(uid.0);
        // A damaged row is shown without any mark.
        let (is_seen, is_deleted) =
            glance.as_ref().map_or((false, false), |row| (row.is_seen(), row.is_deleted()));
        match is_seen {
            true => self.unseen.remove(uid.0),
            false => self.unseen.insert(uid.0),
        };
        match is_deleted {
            true => self.deleted.insert(uid.0),
            false => self.deleted.remove(uid.0),
        };
        if let Some(glance) = glance.filter(|_| self.keywords.len() < limits::KEYWORDS_MAX) {
            let room = limits::KEYWORDS_MAX - self.keywords.len();
            self.keywords.extend(glance.keywords(&mailbox.slot.keys).into_iter().take(room));
        }
    }

    fn remove(&mut self, uid: u32) {
        self.uids.remove(uid);
        self.unseen.remove(uid);
        self.deleted.remove(uid);
    }

    /// Octets in memory, roughly: a set has two octets for each number, or one bit for each that
    /// could be in it.
    fn octets(&self) -> usize {
        let octets = |set: &UidSet| {
            let span = set.last().unwrap_or(0) - set.first().unwrap_or(0);
            (set.len() as usize * 2).min(span as usize / 8) + 64
        };
        let sets = octets(&self.uids) + octets(&self.unseen) + octets(&self.deleted);
        let words: usize = self.keywords.iter().map(|word| word.len() + 48).sum();
        sets + words + 256
    }
}

impl OpenMailbox {
    /// What is in a folder, for whoever opened the mailbox.
    pub async fn contents(&self, folder: FolderId) -> Result<Arc<Contents>, MailboxError> {
        self.must_have(folder, Right::Read).await?;
        self.sitting.lists().await?;
        let contents = self.plain_contents(folder).await?;
        self.contents_as_seen(folder, contents).await
    }

    /// What is in a folder, with the `\Seen` of its owner.
    pub(super) async fn plain_contents(
        &self,
        folder: FolderId,
    ) -> Result<Arc<Contents>, MailboxError> {
        let now = self.modseq_of(folder).await?;
        if let Some(known) = self.known(folder).filter(|known| known.modseq >= now) {
            return Ok(known);
        }
        // One walks for all who ask at the same time.
        let _walk = self.slot.walk.lock().await;
        let now = self.modseq_of(folder).await?;
        let known = match self.known(folder) {
            Some(known) if known.modseq >= now => return Ok(known),
            known => known,
        };
        let contents = match known {
            Some(known) => self.brought_up_to_date(folder, known, now).await?,
            None => None,
        };
        let contents = match contents {
            Some(contents) => contents,
            None => Arc::new(self.walked_through(folder, now).await?),
        };
        self.shelf.contents().keep(self.slot.id, folder, &contents);
        Ok(contents)
    }

    /// `None` when a walk over all rows is needed: the change log does not go back so far, or tells
    /// of so much that it would cost more.
    async fn brought_up_to_date(
        &self,
        folder: FolderId,
        mut known: Arc<Contents>,
        now: ModSeq,
    ) -> Result<Option<Arc<Contents>>, MailboxError> {
        let changes = self.logged_changes(folder, known.modseq).await?;
        let Some((touched, gone)) = changes else { return Ok(None) };
        if touched.len() > TOUCHED_MAX {
            return Ok(None);
        }
        // A copy where somebody still looks at the older one.
        let contents = Arc::make_mut(&mut known);
        gone.iter().for_each(|uid| contents.remove(uid));
        let touched: Vec<u32> = touched.difference(&gone).iter().collect();
        // Numbers without a large hole between them are one walk.
        for run in touched.chunk_by(|one, next| next - one <= HOLE_MAX) {
            let mut found = UidSet::new();
            self.glances(folder, run[0]..=run[run.len() - 1], |uid, glance| {
                found.insert(uid.0);
                contents.put(uid, glance, self);
            })
            .await?;
            // Gone since the log was read.
            run.iter().filter(|uid| !found.contains(**uid)).for_each(|uid| contents.remove(*uid));
        }
        contents.modseq = now;
        Ok(Some(known))
    }

    async fn walked_through(
        &self,
        folder: FolderId,
        now: ModSeq,
    ) -> Result<Contents, MailboxError> {
        let mut contents = Contents { modseq: now, ..Contents::default() };
        self.glances(folder, 1..=u32::MAX, |uid, glance| contents.put(uid, glance, self)).await?;
        Ok(contents)
    }

    async fn modseq_of(&self, folder: FolderId) -> Result<ModSeq, MailboxError> {
        let head = self.durable_head().await?;
        let counters = head.folder(folder).ok_or(MailboxError::NoSuchFolder)?;
        Ok(ModSeq(counters.modseq))
    }

    fn known(&self, folder: FolderId) -> Option<Arc<Contents>> {
        self.shelf.contents().find(self.slot.id, folder)
    }

    /// Looks at the rows with a UID in the range, ascending, page by page; `None` is a damaged one.
    pub(super) async fn glances(
        &self,
        folder: FolderId,
        uids: RangeInclusive<u32>,
        mut look: impl FnMut(Uid, Option<Glance<'_>>),
    ) -> Result<(), MailboxError> {
        let mut range = rows::message_range(&self.slot.id, folder, *uids.start(), *uids.end());
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some(uid) = rows::uid_of(key) else { continue };
                look(uid, rows::glance(&row.value));
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(()),
            }
            // A million rows take a second: others have a turn in between.
            tokio::task::yield_now().await;
        }
    }
}

/// The contents of the folders used last.
#[derive(Default)]
pub(super) struct Shown {
    folders: HashMap<(MailboxId, FolderId), (Arc<Contents>, u64)>,
    octets: usize,
    /// Counts uses, so that the oldest is known.
    uses: u64,
}

impl Shown {
    fn find(&mut self, mailbox: MailboxId, folder: FolderId) -> Option<Arc<Contents>> {
        self.uses += 1;
        let (contents, used) = self.folders.get_mut(&(mailbox, folder))?;
        *used = self.uses;
        Some(Arc::clone(contents))
    }

    pub(super) fn keep(&mut self, mailbox: MailboxId, folder: FolderId, contents: &Arc<Contents>) {
        self.uses += 1;
        self.octets += contents.octets();
        let kept = (Arc::clone(contents), self.uses);
        if let Some((before, _)) = self.folders.insert((mailbox, folder), kept) {
            self.octets = self.octets.saturating_sub(before.octets());
        }
        while self.octets > limits::CONTENTS_OCTETS_MAX && self.folders.len() > 1 {
            let oldest = self.folders.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(place, _)| *place) else { return };
            if let Some((gone, _)) = self.folders.remove(&oldest) {
                self.octets = self.octets.saturating_sub(gone.octets());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_used_last_are_kept_within_their_octets() {
        let many = |first: u32| {
            let mut uids = UidSet::new();
            uids.insert_range(first..=first + 4_000_000);
            Arc::new(Contents { uids, ..Contents::default() })
        };
        let mailbox = MailboxId::from_bytes([1; 16]);
        let mut shown = Shown::default();
        for folder in 1..=300 {
            shown.keep(mailbox, FolderId(folder), &many(folder));
            assert!(shown.octets <= limits::CONTENTS_OCTETS_MAX);
            assert!(shown.find(mailbox, FolderId(1)).is_some(), "it is in use");
        }
        assert!(shown.folders.len() < 200);
        assert!(shown.find(mailbox, FolderId(2)).is_none());
        let sum: usize = shown.folders.values().map(|(contents, _)| contents.octets()).sum();
        assert_eq!(shown.octets, sum);
        // The same folder again counts once.
        shown.keep(mailbox, FolderId(300), &Arc::default());
        let sum: usize = shown.folders.values().map(|(contents, _)| contents.octets()).sum();
        assert_eq!(shown.octets, sum);
    }
}
