//! Commands on messages of the selected mailbox, but for FETCH and SEARCH.

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::Access;
use crate::proto::imap::command::Echo;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Store;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::imap::write;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::folders;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view;
use crate::server::imap::view::View;

/// Rows that are changed or read at once.
const ROWS: usize = 500;

/// Whether a copy leaves the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// COPY
    Copy,
    /// MOVE
    Move,
}

/// STORE and UID STORE.
pub(super) async fn store<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    view: &mut View<M>,
    store: &Store,
) -> Done {
    let Store { by, ref set, ref change, echo, .. } = *store;
    must_be_writable(view)?;
    let (FlagChange::Replace(flags) | FlagChange::Add(flags) | FlagChange::Remove(flags)) = change;
    check_keywords(flags)?;
    let wanted = view.named(by, set)?;
    let mut missing = wanted.len();
    for page in wanted.chunks(ROWS) {
        let uids: Vec<Uid> = page.iter().copied().map(Uid).collect();
        let changed = view.shelf.store_flags(view.folder, &uids, change).await?;
        for entry in &changed {
            view.has_told(entry);
        }
        let rows = with_unchanged(view, page, changed).await?;
        missing -= rows.len();
        for entry in rows.iter().filter(|_| echo == Echo::Flags) {
            if let Some(sequence) = view.sequence_of(entry.uid) {
                view::write_flags(line.out(), sequence, entry, by);
                line.relieve().await?;
            }
        }
    }
    let done = Answer::ok("Done");
    Ok(if missing > 0 { done.code("EXPUNGEISSUED".to_owned()) } else { done })
}

/// A STORE that changes nothing for a message still tells its flags.
async fn with_unchanged<M: Shelf>(
    view: &View<M>,
    page: &[u32],
    changed: Vec<Entry>,
) -> Result<Vec<Entry>, MailboxError> {
    if changed.len() == page.len() {
        return Ok(changed);
    }
    view.rows(page).await
}

/// COPY, MOVE and their UID variants.
pub(super) async fn transfer<D: Desk, S: Stream>(
    (desk, own): (&D, &D::Shelf),
    line: &mut Line<S>,
    view: &mut View<D::Shelf>,
    (by, set): (Numbering, &SequenceSet),
    mailbox: &MailboxName,
    transfer: Transfer,
) -> Done {
    if transfer == Transfer::Move {
        must_be_writable(view)?;
    }
    let target = folders::find_target(desk, own, mailbox).await?;
    let uids: Vec<Uid> = view.named(by, set)?.into_iter().map(Uid).collect();
    if uids.is_empty() {
        return Ok(Answer::ok("Nothing to do"));
    }
    let (uid_validity, pairs) = match transfer {
        Transfer::Copy => view.shelf.copy(view.folder, &uids, target.folder.id).await?,
        Transfer::Move => view.shelf.move_messages(view.folder, &uids, target.folder.id).await?,
    };
    let done = Answer::ok("Done");
    if pairs.is_empty() {
        return Ok(done);
    }
    let code = view::copy_uid(uid_validity, &pairs);
    if transfer == Transfer::Copy {
        return Ok(done.code(code));
    }
    // RFC 6851 §4.3: COPYUID comes untagged, before the EXPUNGEs.
    write::text(line.out(), format_args!("* OK [{code}] Moved\r\n"));
    view.remove(line, pairs.into_iter().map(|(from, _)| from)).await?;
    Ok(done)
}

/// EXPUNGE and UID EXPUNGE.
pub(super) async fn expunge<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    view: &mut View<M>,
    set: Option<&SequenceSet>,
) -> Done {
    must_be_writable(view)?;
    // Only what this session knows of: a message that another session has just put there and
    // marked is not ours to remove by a set of UIDs.
    let uids: Option<Vec<Uid>> = match set {
        Some(set) => Some(view.named(Numbering::Uid, set)?.into_iter().map(Uid).collect()),
        None => None,
    };
    let gone = view.shelf.expunge(view.folder, uids.as_deref()).await?;
    view.remove(line, gone).await?;
    Ok(Answer::ok("Expunged"))
}

pub(super) fn must_be_writable<M: Shelf>(view: &View<M>) -> Result<(), Halt> {
    match view.access {
        Access::ReadWrite => Ok(()),
        Access::ReadOnly => {
            Err(Answer::no("CANNOT", "The mailbox is open for reading only").into())
        }
    }
}

pub(super) fn check_keywords(flags: &Flags) -> Result<(), Halt> {
    let is_over = flags.keywords.len() > limits::KEYWORDS_MAX
        || flags.keywords.iter().any(|keyword| keyword.len() > limits::KEYWORD_OCTETS_MAX);
    if is_over {
        return Err(Answer::no("LIMIT", "Too many keywords, or one is too long").into());
    }
    Ok(())
}
