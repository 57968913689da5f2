//! A session's view of the selected mailbox: which message has which sequence number.
//!
//! RFC 3501 §7.4.1: sequence numbers change only when the client was told, and it is never
//! told in the middle of FETCH, STORE or SEARCH. So the view is the session's own list; the
//! change log brings it up to date when that is allowed.
use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::rights::Rights;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::flags;
use crate::proto::imap::sequence;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Shelf;

/// A view of one mailbox.
pub(super) struct View<M: Shelf> {
    /// The mailbox that it is in: the own one, or one of others.
    pub(super) shelf: M,
    /// What this login may do there.
    pub(super) rights: Rights,
    /// Which.
    pub(super) folder: FolderId,
    /// How it was opened.
    pub(super) access: Access,
    /// Rings when it may have changed.
    pub(super) bell: M::Bell,
    /// UIDs that the last search saved: `$` (RFC 5182 §2.1).
    pub(super) saved: UidSet,
    /// Whether new marks are told unasked (NOTIFY may say no).
    pub(super) tells_flags: bool,
    /// UIDs in ascending order; the place is the sequence number less one.
    uids: Vec<u32>,
    /// Gone from the mailbox, and the client does not know yet.
    gone: BTreeSet<u32>,
    /// Changes up to here were told.
    seen: ModSeq,
    /// Changes that this session made and told already.
    told: HashMap<u32, ModSeq>,
}

/// Whether sequence numbers may change now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// EXPUNGE may be sent.
    MayChange,
    /// RFC 3501 §7.4.1 forbids it.
    MustStay,
}

/// What SELECT learnt.
pub(super) struct Opened<M: Shelf> {
    /// The view.
    pub(super) view: View<M>,
    /// The mailbox.
    pub(super) folder: Folder,
    /// Sequence number of the first message without `\Seen`.
    pub(super) first_unseen: Option<u32>,
    /// Keywords in use, for the FLAGS response.
    pub(super) keywords: BTreeSet<String>,
}

impl<M: Shelf> View<M> {
    /// Opens a view.
    pub(super) async fn open(
        shelf: M,
        id: FolderId,
        access: Access,
    ) -> Result<Opened<M>, MailboxError> {
        // In this order nothing is missed: what happens while we read rings the bell, and
        // comes after the state that we read first.
        let bell = shelf.watch();
        let folder = shelf.folder(id).await?;
        let rights = shelf.rights(id).await?;
        let mut uids = Vec::new();
        let mut first_unseen = None;
        let mut keywords = BTreeSet::new();
        let mut next = Some(1);
        while let Some(first) = next {
            let rows = shelf.entries(id, first..=u32::MAX, limits::SCAN_ROWS_MAX).await?;
            next = rows.last().and_then(|row| row.uid.0.checked_add(1));
            for row in rows {
                uids.push(row.uid.0);
                if !row.flags.seen && first_unseen.is_none() {
                    first_unseen = Some(number(uids.len()));
                }
                if keywords.len() < limits::KEYWORDS_MAX {
                    keywords.extend(row.flags.keywords);
                }
            }
        }
        let seen = folder.highest_modseq;
        let view = Self {
            shelf,
            rights,
            folder: id,
            access,
            bell,
            saved: UidSet::new(),
            tells_flags: true,
            uids,
            gone: BTreeSet::new(),
            seen,
            told: HashMap::new(),
        };
        Ok(Opened { view, folder, first_unseen, keywords })
    }

    /// How many messages the client knows of.
    pub(super) fn exists(&self) -> u32 {
        number(self.uids.len())
    }

    /// All UIDs of the view, ascending.
    pub(super) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// The largest UID; 0 in an empty view.
    pub(super) fn last_uid(&self) -> u32 {
        self.uids.last().copied().unwrap_or(0)
    }

    /// The message's sequence number.
    pub(super) fn sequence_of(&self, uid: Uid) -> Option<u32> {
        self.uids.binary_search(&uid.0).ok().map(|place| number(place + 1))
    }

    /// The UIDs, ascending, that a set names.
    pub(super) fn named(&self, by: Numbering, set: &SequenceSet) -> Result<Vec<u32>, Answer> {
        if set.is_saved() {
            return Ok(self.saved.iter().collect());
        }
        match by {
            // RFC 3501 §6.4.8: a UID that names nothing is ignored without any error.
            Numbering::Uid => {
                let ranges = set.resolve(self.last_uid());
                Ok(ranges
                    .into_iter()
                    .flat_map(|range| {
                        let start = self.uids.partition_point(|uid| uid < range.start());
                        let end = self.uids.partition_point(|uid| uid <= range.end());
                        self.uids[start..end].iter().copied()
                    })
                    .collect())
            }
            // RFC 3501 §9 `seq-number`: a number over EXISTS is an error. `1:*` in an empty
            // mailbox is let pass, because scripts say it before they look.
            Numbering::Sequence => {
                let is_open_range_of_nothing = self.uids.is_empty() && set.has_last();
                if set.largest() > Some(self.exists()) && !is_open_range_of_nothing {
                    return Err(Answer::bad("No message has that sequence number"));
                }
                let ranges = set.resolve(self.exists());
                Ok(ranges
                    .into_iter()
                    .flat_map(|range| {
                        let end = (*range.end() as usize).min(self.uids.len());
                        let start = (*range.start() as usize - 1).min(end);
                        self.uids[start..end].iter().copied()
                    })
                    .collect())
            }
        }
    }

    /// Rows of these UIDs (ascending, all of the view), as far as they still are there.
    pub(super) async fn rows(&self, wanted: &[u32]) -> Result<Vec<Entry>, MailboxError> {
        let shelf = &self.shelf;
        let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let place = |uid| self.uids.partition_point(|&known| known < uid);
        let span = place(last) - place(first) + 1;
        let mut rows = Vec::with_capacity(wanted.len());
        // Few rows far apart are asked for one by one, others in one sweep.
        if span > wanted.len() * 4 + 16 {
            for &uid in wanted {
                rows.extend(shelf.entry(self.folder, Uid(uid)).await?);
            }
            return Ok(rows);
        }
        let mut next = Some(first);
        while let Some(from) = next.filter(|&from| from <= last) {
            let page = shelf.entries(self.folder, from..=last, limits::SCAN_ROWS_MAX).await?;
            next = page.last().and_then(|row| row.uid.0.checked_add(1));
            rows.extend(page.into_iter().filter(|row| wanted.binary_search(&row.uid.0).is_ok()));
        }
        Ok(rows)
    }

    /// Remembers that the client was told of this change, so that it is not told again.
    pub(super) fn has_told(&mut self, entry: &Entry) {
        self.told.insert(entry.uid.0, entry.modseq);
    }

    /// Tells the client what happened in the mailbox.
    pub(super) async fn tell<S: Stream>(
        &mut self,
        line: &mut Line<S>,
        numbers: Numbers,
    ) -> Result<(), Halt> {
        // The state is read before the log: what happens in between is then told twice, which
        // does no harm, and never lost.
        let state = match self.shelf.folder(self.folder).await {
            Ok(folder) => folder.highest_modseq,
            Err(MailboxError::NoSuchFolder) => return Err(was_deleted(line)),
            Err(error) => return Err(error.into()),
        };
        let has_news = state > self.seen || !self.gone.is_empty();
        if !has_news {
            return Ok(());
        }
        let changes = self.shelf.changes(self.folder, self.seen).await?;
        if changes.folder.is_none() {
            return Err(was_deleted(line));
        }
        self.seen = state;
        self.gone.extend(changes.gone.iter());
        if numbers == Numbers::MayChange {
            self.tell_gone(line).await?;
        }
        let last = self.last_uid();
        let (changed, new): (Vec<u32>, Vec<u32>) =
            changes.touched.iter().partition(|uid| *uid <= last);
        if !new.is_empty() {
            self.uids.extend(new);
            write::text(line.out(), format_args!("* {} EXISTS\r\n* 0 RECENT\r\n", self.exists()));
        }
        for page in changed.chunks(limits::SCAN_ROWS_MAX) {
            for entry in self.rows(page).await? {
                let was_told = self.told.remove(&entry.uid.0) == Some(entry.modseq);
                let is_news = self.tells_flags && !was_told;
                if let (true, Some(sequence)) = (is_news, self.sequence_of(entry.uid)) {
                    write_flags(line.out(), sequence, &entry, Numbering::Uid);
                    line.relieve().await?;
                }
            }
        }
        self.told.clear();
        Ok(())
    }

    /// Takes messages out of the view and tells the client.
    pub(super) async fn remove<S: Stream>(
        &mut self,
        line: &mut Line<S>,
        uids: impl IntoIterator<Item = Uid>,
    ) -> Result<(), Halt> {
        self.gone.extend(uids.into_iter().map(|uid| uid.0));
        self.tell_gone(line).await
    }

    async fn tell_gone<S: Stream>(&mut self, line: &mut Line<S>) -> Result<(), Halt> {
        let gone = std::mem::take(&mut self.gone);
        // Each EXPUNGE moves all later messages down by one.
        let mut told = 0;
        for uid in &gone {
            if let Ok(place) = self.uids.binary_search(uid) {
                write::text(line.out(), format_args!("* {} EXPUNGE\r\n", place + 1 - told));
                told += 1;
                line.relieve().await?;
            }
        }
        if told > 0 {
            self.uids.retain(|uid| !gone.contains(uid));
            self.saved = self.saved.difference(&gone.iter().copied().collect());
        }
        Ok(())
    }
}

/// Deleted in another session. IMAP4rev1 has no word for "your mailbox was closed", so the
/// connection is.
fn was_deleted<S: Stream>(line: &mut Line<S>) -> Halt {
    line.out().extend_from_slice(b"* BYE The selected mailbox was deleted\r\n");
    Halt::Gone(Gone::Told)
}

/// `* n FETCH (UID u FLAGS (…))`; the UID is left out when the client counts by sequence.
pub(super) fn write_flags(out: &mut Vec<u8>, sequence: u32, entry: &Entry, by: Numbering) {
    let flags = flags::print(&entry.flags);
    match by {
        Numbering::Uid => {
            let uid = entry.uid.0;
            write::text(out, format_args!("* {sequence} FETCH (UID {uid} FLAGS {flags})\r\n"));
        }
        Numbering::Sequence => {
            write::text(out, format_args!("* {sequence} FETCH (FLAGS {flags})\r\n"));
        }
    }
}

/// UIDs of pairs as two sets (RFC 4315 §3).
pub(super) fn copy_uid(uid_validity: u32, pairs: &[(Uid, Uid)]) -> String {
    let from = sequence::compact(pairs.iter().map(|(from, _)| from.0));
    let to = sequence::compact(pairs.iter().map(|(_, to)| to.0));
    format!("COPYUID {uid_validity} {from} {to}")
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
