//! A session's view of the selected mailbox: which message has which sequence number.
//!
//! RFC 3501 §7.4.1: sequence numbers change only when the client was told, and it is never
//! told in the middle of FETCH, STORE or SEARCH. So the view is the session's own list; the
//! change log brings it up to date when that is allowed.
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::rights::Right;
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
use crate::server::imap::dialect::Dialect;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::marks;
use crate::server::imap::shelf::Shelf;

/// A view of one mailbox. A million messages in a row take a few octets of it.
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
    saved: UidSet,
    /// Marks that the client knows can occur here: what FLAGS told last.
    pub(super) marks: Flags,
    /// The client was told what a search cannot see here.
    pub(super) has_told_limits: AtomicBool,
    /// Whether new marks are told unasked (NOTIFY may say no).
    pub(super) tells_flags: bool,
    /// What the client knows of; the place of a UID is its sequence number.
    uids: UidSet,
    /// Gone from the mailbox, and the client does not know yet.
    gone: UidSet,
    /// Changes up to here were told.
    seen: ModSeq,
    /// Changes that this session made and told already.
    told: BTreeMap<ModSeq, UidSet>,
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
        let contents = shelf.contents(id).await?;
        let first_unseen = contents.first_unseen();
        let view = Self {
            shelf,
            rights,
            folder: id,
            access,
            bell,
            saved: UidSet::new(),
            marks: marks::all_with(contents.keywords.clone()),
            has_told_limits: AtomicBool::new(false),
            tells_flags: true,
            uids: contents.uids.clone(),
            gone: UidSet::new(),
            seen: contents.modseq,
            told: BTreeMap::new(),
        };
        Ok(Opened { view, folder, first_unseen })
    }

    /// How many messages the client knows of.
    pub(super) fn exists(&self) -> u32 {
        self.uids.len()
    }

    /// All UIDs of the view.
    pub(super) fn uids(&self) -> &UidSet {
        &self.uids
    }

    /// The largest UID; 0 in an empty view.
    pub(super) fn last_uid(&self) -> u32 {
        self.uids.last().unwrap_or(0)
    }

    /// The message's sequence number.
    pub(super) fn sequence_of(&self, uid: Uid) -> Option<u32> {
        self.uids.place_of(uid.0)
    }

    /// The UID at a sequence number.
    pub(super) fn uid_at(&self, sequence: u32) -> Option<u32> {
        self.uids.at(sequence)
    }

    /// Changes up to here were told: what HIGHESTMODSEQ may say to this client.
    pub(super) fn seen(&self) -> ModSeq {
        self.seen
    }

    /// True when nothing is gone that the client was not told of.
    pub(super) fn has_told_all_gone(&self) -> bool {
        self.gone.is_empty()
    }

    /// What the last search saved, without what is gone since (RFC 5182 §2.1).
    pub(super) fn saved(&self) -> UidSet {
        self.saved.intersection(&self.uids)
    }

    /// Saves what a search found.
    pub(super) fn save(&mut self, found: UidSet) {
        self.saved = found;
    }

    /// The UIDs that a set names.
    pub(super) fn named(&self, by: Numbering, set: &SequenceSet) -> Result<UidSet, Answer> {
        if set.is_saved() {
            return Ok(self.saved());
        }
        let mut named = UidSet::new();
        match by {
            // RFC 3501 §6.4.8: a UID that names nothing is ignored without any error.
            Numbering::Uid => {
                for range in set.resolve(self.last_uid()) {
                    named.insert_range(range);
                }
                named = named.intersection(&self.uids);
            }
            // RFC 3501 §9 `seq-number`: a number over EXISTS is an error. `1:*` in an empty
            // mailbox is let pass, because scripts say it before they look.
            Numbering::Sequence => {
                let is_open_range_of_nothing = self.uids.is_empty() && set.has_last();
                if set.largest() > Some(self.exists()) && !is_open_range_of_nothing {
                    return Err(Answer::bad("No message has that sequence number"));
                }
                for range in set.resolve(self.exists()) {
                    let last = (*range.end()).min(self.exists());
                    let ends = self.uids.at(*range.start()).zip(self.uids.at(last));
                    if let Some((first, last)) = ends {
                        named.insert_range(first..=last);
                    }
                }
                named = named.intersection(&self.uids);
            }
        }
        Ok(named)
    }

    /// Rows of these UIDs (ascending, all of the view), as far as they still are there.
    pub(super) async fn rows(&self, wanted: &[u32]) -> Result<Vec<Entry>, MailboxError> {
        let shelf = &self.shelf;
        let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let place = |uid| self.uids.place_of(uid).unwrap_or(0) as usize;
        let span = place(last).saturating_sub(place(first)) + 1;
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
        self.told.entry(entry.modseq).or_default().insert(entry.uid.0);
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
        self.gone = self.gone.union(&changes.gone);
        if numbers == Numbers::MayChange {
            self.tell_gone(line).await?;
        }
        let last = self.last_uid();
        let new = match last.checked_add(1) {
            Some(first) => changes.touched.within(first..=u32::MAX),
            None => UidSet::new(),
        };
        if !new.is_empty() {
            self.uids = self.uids.union(&new);
            let dialect = line.dialect;
            write_exists(line.out(), self.exists(), dialect);
        }
        let changed = changes.touched.difference(&new).intersection(&self.uids);
        for page in pages(&changed, limits::SCAN_ROWS_MAX) {
            for entry in self.rows(&page).await? {
                let is_known =
                    self.told.get(&entry.modseq).is_some_and(|uids| uids.contains(entry.uid.0));
                let is_news = self.tells_flags && !is_known;
                if let (true, Some(sequence)) = (is_news, self.sequence_of(entry.uid)) {
                    self.introduce(line.out(), &entry.flags);
                    let dialect = line.dialect;
                    write_flags(line.out(), sequence, &entry, Numbering::Uid, dialect);
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
        let gone = std::mem::take(&mut self.gone).intersection(&self.uids);
        if line.dialect.qresync {
            // RFC 7162 §3.2.10: VANISHED, and never EXPUNGE any more.
            write_vanished(line, "VANISHED", &gone).await?;
        } else {
            // Each EXPUNGE moves all later messages down by one.
            for (told, uid) in (0..).zip(gone.iter()) {
                let Some(place) = self.uids.place_of(uid) else { continue };
                write::text(line.out(), format_args!("* {} EXPUNGE\r\n", place - told));
                line.relieve().await?;
            }
        }
        self.uids = self.uids.difference(&gone);
        self.saved = self.saved.difference(&gone);
        Ok(())
    }

    /// `Ok` when the right is there. Whoever has a mailbox open may at least know of it.
    pub(super) fn must(&self, right: Right) -> Result<(), Halt> {
        if self.rights.has(right) { Ok(()) } else { Err(Answer::not_permitted().into()) }
    }
}

/// The UIDs of a set by the page.
pub(super) fn pages(set: &UidSet, size: usize) -> impl Iterator<Item = Vec<u32>> + '_ {
    let mut uids = set.iter();
    std::iter::from_fn(move || {
        let page: Vec<u32> = uids.by_ref().take(size).collect();
        (!page.is_empty()).then_some(page)
    })
}

/// Deleted in another session. IMAP4rev1 has no word for "your mailbox was closed", so the
/// connection is.
fn was_deleted<S: Stream>(line: &mut Line<S>) -> Halt {
    line.out().extend_from_slice(b"* BYE The selected mailbox was deleted\r\n");
    Halt::Gone(Gone::Told)
}

/// `* n EXISTS`, and what RFC 3501 §7.3.2 wants beside it: RFC 9051 has no `\Recent`.
pub(super) fn write_exists(out: &mut Vec<u8>, exists: u32, dialect: Dialect) {
    write::text(out, format_args!("* {exists} EXISTS\r\n"));
    if !dialect.rev2 {
        out.extend_from_slice(b"* 0 RECENT\r\n");
    }
}

/// `* n FETCH (UID u FLAGS (…) MODSEQ (m))`. The UID is left out when the client counts by
/// sequence, and MODSEQ when it does not know mod-sequences (RFC 7162 §3.1, §3.2.4).
pub(super) fn write_flags(
    out: &mut Vec<u8>,
    sequence: u32,
    entry: &Entry,
    by: Numbering,
    dialect: Dialect,
) {
    write::text(out, format_args!("* {sequence} FETCH ("));
    if by == Numbering::Uid || dialect.condstore {
        write::text(out, format_args!("UID {} ", entry.uid.0));
    }
    write::text(out, format_args!("FLAGS {}", flags::print(&entry.flags)));
    if dialect.condstore {
        write::text(out, format_args!(" MODSEQ ({})", entry.modseq.0));
    }
    out.extend_from_slice(b")\r\n");
}

/// `* n FETCH (UID u MODSEQ (m))`: all that a silent STORE tells (RFC 7162 §3.1.3).
pub(super) fn write_modseq(out: &mut Vec<u8>, sequence: u32, entry: &Entry) {
    let (uid, modseq) = (entry.uid.0, entry.modseq.0);
    write::text(out, format_args!("* {sequence} FETCH (UID {uid} MODSEQ ({modseq}))\r\n"));
}

/// `* VANISHED 1:3,7`, in as many lines as it takes.
pub(super) async fn write_vanished<S: Stream>(
    line: &mut Line<S>,
    response: &str,
    uids: &UidSet,
) -> Result<(), Gone> {
    let mut runs = runs(uids).peekable();
    while runs.peek().is_some() {
        write::text(line.out(), format_args!("* {response} "));
        write_runs(line.out(), runs.by_ref().take(limits::IMAP_RANGES_PER_LINE_MAX));
        line.out().extend_from_slice(b"\r\n");
        line.relieve().await?;
    }
    Ok(())
}

/// A set as its ranges, ascending.
pub(super) fn runs(set: &UidSet) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut numbers = set.iter().peekable();
    std::iter::from_fn(move || {
        let first = numbers.next()?;
        let mut last = first;
        while numbers.peek().is_some_and(|next| last.checked_add(1) == Some(*next)) {
            last = numbers.next()?;
        }
        Some((first, last))
    })
}

/// `1:3,7`
pub(super) fn write_runs(out: &mut Vec<u8>, runs: impl Iterator<Item = (u32, u32)>) {
    for (index, (first, last)) in runs.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        match first == last {
            true => write::text(out, format_args!("{comma}{first}")),
            false => write::text(out, format_args!("{comma}{first}:{last}")),
        }
    }
}

/// UIDs of pairs as two sets (RFC 4315 §3).
pub(super) fn copy_uid(uid_validity: u32, pairs: &[(Uid, Uid)]) -> String {
    let from = sequence::compact(pairs.iter().map(|(from, _)| from.0));
    let to = sequence::compact(pairs.iter().map(|(_, to)| to.0));
    format!("COPYUID {uid_validity} {from} {to}")
}
