//! Commands on messages of the selected mailbox, but for FETCH and SEARCH.

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::domain::rights::Right;
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
use crate::server::imap::select;
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
    check_rights(view, change)?;
    let wanted = view.named(by, set)?;
    let (mut done, mut missing, mut modified) = (0, UidSet::new(), UidSet::new());
    for page in view::pages(&wanted, ROWS) {
        let unless = store.unchanged_since.map(ModSeq);
        let (rows, refused) = change_page(view, &page, change, unless).await?;
        missing.extend(page.iter().copied());
        for entry in &rows {
            missing.remove(entry.uid.0);
            view.has_told(entry);
            let Some(sequence) = view.sequence_of(entry.uid) else { continue };
            let dialect = line.dialect;
            match echo {
                Echo::Flags => {
                    view.introduce(line.out(), &entry.flags);
                    view::write_flags(line.out(), sequence, entry, by, dialect);
                }
                // RFC 7162 §3.1.3: even a silent STORE tells the new mod-sequence.
                Echo::Silent if dialect.condstore => {
                    view::write_modseq(line.out(), sequence, entry);
                }
                Echo::Silent => {}
            }
            line.relieve().await?;
        }
        // RFC 7162 §3.1.3: who lost a race is told the marks that won it.
        let refused: Vec<u32> = refused.iter().map(|uid| uid.0).collect();
        for entry in view.rows(&refused).await? {
            missing.remove(entry.uid.0);
            view.has_told(&entry);
            if let Some(sequence) = view.sequence_of(entry.uid) {
                view.introduce(line.out(), &entry.flags);
                let dialect = line.dialect;
                view::write_flags(line.out(), sequence, &entry, by, dialect);
                line.relieve().await?;
            }
        }
        modified.extend(refused);
        done += page.len();
        line.progress(done, wanted.len() as usize).await?;
    }
    Ok(stored(view, store, modified, missing))
}

/// What a STORE comes to. RFC 7162 §3.1.3: a condition fails for a message that is gone, unless it
/// was named by its UID (RFC 3501 §6.4.8).
fn stored<M: Shelf>(view: &View<M>, store: &Store, modified: UidSet, missing: UidSet) -> Answer {
    let is_conditional = store.unchanged_since.is_some();
    let lost = is_conditional && store.by == Numbering::Sequence && !missing.is_empty();
    let failed = if lost { modified.union(&missing) } else { modified };
    if failed.is_empty() {
        let done = Answer::ok("Done");
        return match missing.is_empty() {
            true => done,
            false => done.code("EXPUNGEISSUED".to_owned()),
        };
    }
    let numbers: UidSet = match store.by {
        Numbering::Uid => failed,
        Numbering::Sequence => failed.iter().filter_map(|uid| view.sequence_of(Uid(uid))).collect(),
    };
    let mut code = b"MODIFIED ".to_vec();
    view::write_runs(&mut code, view::runs(&numbers));
    let code = String::from_utf8_lossy(&code).into_owned();
    match lost {
        true => {
            Answer::no("EXPUNGEISSUED", "Some of the messages are not there any more").code(code)
        }
        false => Answer::ok("Others changed some of the messages first").code(code),
    }
}

/// Changes the marks of one page; answers the rows as they stand now, and the UIDs whose condition
/// failed.
async fn change_page<M: Shelf>(
    view: &View<M>,
    page: &[u32],
    change: &FlagChange,
    unless: Option<ModSeq>,
) -> Result<(Vec<Entry>, Vec<Uid>), MailboxError> {
    let uids: Vec<Uid> = page.iter().copied().map(Uid).collect();
    let unless = unless.unwrap_or(ModSeq(u64::MAX));
    let rights = view.rights;
    let permitted = |flags: &Flags| select::permitted_flags(flags, rights);
    let has_all = [Right::KeepSeen, Right::Write, Right::DeleteMessages]
        .into_iter()
        .all(|right| rights.has(right));
    let change = match change {
        change if has_all => change.clone(),
        FlagChange::Add(flags) => FlagChange::Add(permitted(flags)),
        FlagChange::Remove(flags) => FlagChange::Remove(permitted(flags)),
        FlagChange::Replace(flags) => {
            return replace_permitted(view, page, &permitted(flags), unless).await;
        }
    };
    view.shelf.store_flags_unless(view.folder, &uids, &change, unless).await
}

/// RFC 4314 §4: flags that somebody may not change stay as they are. Messages with the same ones
/// are changed together.
async fn replace_permitted<M: Shelf>(
    view: &View<M>,
    page: &[u32],
    flags: &Flags,
    unless: ModSeq,
) -> Result<(Vec<Entry>, Vec<Uid>), MailboxError> {
    let mut groups: Vec<(Flags, Vec<Uid>)> = Vec::new();
    for entry in view.rows(page).await? {
        let may_change = select::permitted_flags(&entry.flags, view.rights);
        let kept = entry.flags.changed(&FlagChange::Remove(may_change));
        match groups.iter_mut().find(|(flags, _)| *flags == kept) {
            Some((_, uids)) => uids.push(entry.uid),
            None => groups.push((kept, vec![entry.uid])),
        }
    }
    let (mut rows, mut refused) = (Vec::with_capacity(page.len()), Vec::new());
    for (kept, uids) in groups {
        let change = FlagChange::Replace(kept.changed(&FlagChange::Add(flags.clone())));
        let (some, others) =
            view.shelf.store_flags_unless(view.folder, &uids, &change, unless).await?;
        rows.extend(some);
        refused.extend(others);
    }
    rows.sort_unstable_by_key(|entry| entry.uid);
    refused.sort_unstable();
    Ok((rows, refused))
}

/// RFC 4314 §4: a STORE is refused when nothing of it is permitted; otherwise what is not permitted
/// is passed over.
fn check_rights<M: Shelf>(view: &View<M>, change: &FlagChange) -> Result<(), Halt> {
    let (FlagChange::Replace(flags) | FlagChange::Add(flags) | FlagChange::Remove(flags)) = change;
    let permitted = select::permitted_flags(flags, view.rights);
    if *flags != Flags::default() && permitted == Flags::default() {
        return Err(Answer::not_permitted().into());
    }
    Ok(())
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
        // RFC 6851 §4.3: a move is a copy and an expunge.
        view.must(Right::DeleteMessages)?;
        view.must(Right::Expunge)?;
    }
    let target = folders::find_target(desk, own, mailbox).await?;
    select::permit(target.rights, Right::Insert)?;
    let uids: Vec<Uid> = view.named(by, set)?.iter().map(Uid).collect();
    if uids.is_empty() {
        return Ok(Answer::ok("Nothing to do"));
    }
    let to = target.folder.id;
    let (uid_validity, pairs) = match transfer {
        Transfer::Copy => view.shelf.copy_to(view.folder, &uids, &target.shelf, to).await?,
        Transfer::Move => view.shelf.move_to(view.folder, &uids, &target.shelf, to).await?,
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
    Ok(done.after_removal())
}

/// EXPUNGE and UID EXPUNGE.
pub(super) async fn expunge<M: Shelf, S: Stream>(
    line: &mut Line<S>,
    view: &mut View<M>,
    set: Option<&SequenceSet>,
) -> Done {
    must_be_writable(view)?;
    view.must(Right::Expunge)?;
    // Only what this session knows of: a message that another session has just put there and
    // marked is not ours to remove by a set of UIDs.
    let uids: Option<Vec<Uid>> = match set {
        Some(set) => Some(view.named(Numbering::Uid, set)?.iter().map(Uid).collect()),
        None => None,
    };
    let gone = view.shelf.expunge(view.folder, uids.as_deref()).await?;
    let done = Answer::ok("Expunged");
    let is_some = !gone.is_empty();
    view.remove(line, gone).await?;
    Ok(if is_some { done.after_removal() } else { done })
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
