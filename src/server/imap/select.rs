//! SELECT and EXAMINE, and the ways out of a mailbox.
use crate::domain::folder::Flags;
use crate::domain::folder::ModSeq;
use crate::domain::folder::SpecialUse;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::rights::Rights;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Qresync;
use crate::proto::imap::command::SelectOptions;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::marks;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view;
use crate::server::imap::view::Opened;
use crate::server::imap::view::View;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    pub(super) async fn select(
        &mut self,
        mailbox: &MailboxName,
        access: Access,
        options: &SelectOptions,
    ) -> Done {
        self.shelf()?;
        if options.qresync.is_some() && !self.line.dialect.qresync {
            // RFC 7162 §3.2.5
            return Err(Answer::bad("ENABLE QRESYNC first").into());
        }
        // RFC 3501 §6.3.1: whatever comes of it, the mailbox selected before is not any more.
        if self.unselect() {
            // RFC 7162 §3.2.11: what comes behind it is of another mailbox.
            self.line.out().extend_from_slice(b"* OK [CLOSED] The mailbox before is closed\r\n");
        }
        let shelf = self.shelf()?;
        let place = folders::find(self.desk, shelf, mailbox).await?;
        permit(place.rights, Right::Read)?;
        let name = place.name;
        let mut opened = View::open(place.shelf, place.folder.id, access).await?;
        if !may_change(opened.view.rights) {
            opened.view.access = Access::ReadOnly;
        }
        let code = self.write_state(&opened, &name);
        if let Some(known) = &options.qresync {
            resynchronise(&mut self.line, &opened, known).await?;
        }
        if let State::LoggedIn(shelf) = std::mem::replace(&mut self.state, State::Stranger) {
            self.state = State::Selected(shelf, Box::new(opened.view));
        }
        let text = if access == Access::ReadOnly { "Examined" } else { "Selected" };
        Ok(Answer::ok(text).code(code.to_owned()))
    }

    /// What SELECT tells of a mailbox (RFC 3501 §6.3.1, RFC 9051 §6.3.2); answers the last code.
    fn write_state(&mut self, opened: &Opened<D::Shelf>, name: &str) -> &'static str {
        let Opened { view, folder, first_unseen } = opened;
        let dialect = self.line.dialect;
        let out = self.line.out();
        write::text(out, format_args!("* FLAGS {}\r\n", flags::print(&view.marks)));
        view::write_exists(out, view.exists(), dialect);
        if let (Some(first), false) = (first_unseen, dialect.rev2) {
            write::text(out, format_args!("* OK [UNSEEN {first}] First unread\r\n"));
        }
        let validity = folder.uid_validity;
        // What came while the mailbox was opened has its number already.
        let next = folder.uid_next.0.max(view.last_uid().saturating_add(1));
        write::text(out, format_args!("* OK [UIDVALIDITY {validity}] UIDs are valid\r\n"));
        write::text(out, format_args!("* OK [UIDNEXT {next}] Next UID\r\n"));
        marks::write_permanent(out, view);
        // RFC 7162 §3.1.2.1: never 0 and never NOMODSEQ, for every mailbox keeps them.
        let highest = view.seen().0.max(1);
        write::text(out, format_args!("* OK [HIGHESTMODSEQ {highest}] Highest\r\n"));
        let id = view.shelf.mailbox_id(folder);
        write::text(out, format_args!("* OK [MAILBOXID ({id})] Its name for ever\r\n"));
        if dialect.rev2 {
            // Somebody else's Sent is not where ours goes.
            let special_use = folder.special_use.filter(|_| !view.shelf.is_foreign());
            let attributes = special_use.map_or("", SpecialUse::attribute);
            write::text(out, format_args!("* LIST ({attributes}) \"/\" "));
            dialect.write_name(out, name);
            out.extend_from_slice(b"\r\n");
        }
        match view.access {
            Access::ReadWrite => "READ-WRITE",
            Access::ReadOnly => "READ-ONLY",
        }
    }

    pub(super) async fn delete(&mut self, mailbox: &MailboxName) -> Done {
        let shelf = self.shelf()?;
        let gone = folders::delete(self.desk, shelf, mailbox).await?;
        // Who deletes the mailbox that they have open need not be told that it is gone.
        if self.selected().is_ok_and(|view| (view.shelf.id(), view.folder) == gone) {
            self.unselect();
        }
        Ok(Answer::ok("Deleted"))
    }

    /// RFC 3501 §6.4.2: removes what is marked `\Deleted`, without a word, if it may.
    pub(super) async fn close(&mut self) -> Done {
        let view = self.selected()?;
        let mut highest = None;
        // RFC 4314 §4: without the right nothing is removed, and the mailbox is closed all the same.
        if view.access == Access::ReadWrite && view.rights.has(Right::Expunge) {
            match view.shelf.expunge(view.folder, None).await {
                Ok(gone) if !gone.is_empty() && self.line.dialect.qresync => {
                    highest = self.highest_without_gaps(view, gone).await?;
                }
                // Somebody deleted the mailbox meanwhile: nothing is left to remove, and a client
                // must get out of it (RFC 3501 §6.4.2 knows no NO).
                Ok(_) | Err(MailboxError::NoSuchFolder) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unselect();
        let closed = Answer::ok("Closed");
        Ok(match highest {
            Some(ModSeq(modseq)) => closed.code(format!("HIGHESTMODSEQ {modseq}")),
            None => closed,
        })
    }

    /// HIGHESTMODSEQ after a CLOSE that removed something (RFC 7162 §3.2.8). A client that trusts it
    /// asks for nothing older again; so it is told only when nothing else happened that the client
    /// does not know.
    async fn highest_without_gaps(
        &self,
        view: &View<D::Shelf>,
        removed: impl IntoIterator<Item = Uid>,
    ) -> Result<Option<ModSeq>, MailboxError> {
        let changes = match view.shelf.changes(view.folder, view.seen()).await {
            Err(MailboxError::NoSuchFolder) => return Ok(None),
            changes => changes?,
        };
        let highest = changes.folder.map(|folder| folder.highest_modseq);
        let removed: UidSet = removed.into_iter().map(|uid| uid.0).collect();
        // What others removed from what the client knows counts as well: it was never told.
        let by_others = changes.gone.intersection(view.uids()).difference(&removed);
        let has_no_gap =
            changes.touched.is_empty() && by_others.is_empty() && view.has_told_all_gone();
        Ok(highest.filter(|_| has_no_gap))
    }
}

/// VANISHED (EARLIER) and FETCH for what happened since the client was here (RFC 7162 §3.2.5).
async fn resynchronise<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    opened: &Opened<M>,
    known: &Qresync,
) -> Result<(), Halt> {
    let Opened { view, folder, .. } = opened;
    if known.uid_validity != folder.uid_validity {
        return Ok(());
    }
    let changes = view.shelf.changes(view.folder, ModSeq(known.modseq)).await?;
    let mut uids = UidSet::new();
    match &known.known_uids {
        Some(set) => set.resolve(view.last_uid()).into_iter().for_each(|r| uids.insert_range(r)),
        // What came while the mailbox was opened is in the view, with a number of its own.
        None => {
            let before = folder.uid_next.0.saturating_sub(1);
            uids.insert_range(1..=before.max(view.last_uid()).max(1));
        }
    }
    // What is in the view has not vanished yet, whatever happened since it was opened.
    let mut gone = changes.gone.intersection(&uids).difference(view.uids());
    if let Some(last) = known.pairs.as_ref().and_then(|pairs| last_match(view, pairs)) {
        gone = gone.difference(&gone.within(1..=last));
    }
    view::write_vanished(line, "VANISHED (EARLIER)", &gone).await?;
    let changed = changes.touched.intersection(&uids).intersection(view.uids());
    for page in view::pages(&changed, limits::SCAN_ROWS_MAX) {
        for entry in view.rows(&page).await? {
            let Some(sequence) = view.sequence_of(entry.uid) else { continue };
            let dialect = line.dialect;
            view::write_flags(line.out(), sequence, &entry, Numbering::Uid, dialect);
            line.relieve().await?;
        }
    }
    Ok(())
}

/// The last UID that the client and we give the same sequence number: as messages only ever go from
/// the middle, none below it is gone that the client still has (RFC 7162 §3.2.5.2).
fn last_match<M: Shelf>(view: &View<M>, pairs: &(SequenceSet, SequenceSet)) -> Option<u32> {
    let sequences = pairs.0.resolve(view.exists()).into_iter().flatten();
    let uids = pairs.1.resolve(view.last_uid()).into_iter().flatten();
    sequences
        .zip(uids)
        .take(limits::IMAP_LINE_OCTETS_MAX)
        .filter(|(sequence, uid)| view.uid_at(*sequence) == Some(*uid))
        .map(|(_, uid)| uid)
        .last()
}

/// `Ok` with the right; otherwise what RFC 4314 §6 makes of it: who may not even look is told that
/// there is nothing.
pub(super) fn permit(rights: Rights, right: Right) -> Result<(), Halt> {
    if rights.has(right) {
        return Ok(());
    }
    // RFC 4314 §6: with neither `l` nor `r` a mailbox must not be told from one that is not there.
    match rights.has(Right::Lookup) || rights.has(Right::Read) {
        true => Err(Answer::not_permitted().into()),
        false => Err(MailboxError::NoSuchFolder.into()),
    }
}

/// RFC 4314 §5.2: whether SELECT may say READ-WRITE.
fn may_change(rights: Rights) -> bool {
    use Right::*;
    [Insert, Expunge, KeepSeen, Write, DeleteMessages].into_iter().any(|right| rights.has(right))
}

/// Those of the flags that these rights may change.
pub(super) fn permitted_flags(flags: &Flags, rights: Rights) -> Flags {
    let may_write = rights.has(Right::Write);
    Flags {
        seen: flags.seen && rights.has(Right::KeepSeen),
        deleted: flags.deleted && rights.has(Right::DeleteMessages),
        answered: flags.answered && may_write,
        flagged: flags.flagged && may_write,
        draft: flags.draft && may_write,
        keywords: if may_write { flags.keywords.clone() } else { Default::default() },
    }
}
