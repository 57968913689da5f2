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

<<<<<<< HEAD
pub(super) fn must_be_writable<M: Shelf>(view: &View<M>) -> Result<(), Halt> {
=======
/// SEARCH and UID SEARCH.
pub(super) async fn search<D: Desk, S: Stream>(
    desk: &D,
    line: &mut Line<S>,
    view: &View<D::Shelf>,
    search: &Search,
) -> Done {
    let Search { by, ref charset, ref key, .. } = *search;
    let is_known = charset.as_deref().is_none_or(|charset| {
        charset.eq_ignore_ascii_case(b"UTF-8") || charset.eq_ignore_ascii_case(b"US-ASCII")
    });
    if !is_known {
        return Err(Answer::no("BADCHARSET (UTF-8 US-ASCII)", "Unknown charset").into());
    }
    let query = Query::new(key, view.exists(), view.last_uid());
    let mut found = Vec::new();
    for page in view.uids().chunks(ROWS) {
        for entry in view.rows(page).await? {
            let Some(sequence) = view.sequence_of(entry.uid) else { continue };
            if answers(desk, view, &query, &entry, sequence).await? {
                found.push(if by == Numbering::Uid { entry.uid.0 } else { sequence });
            }
        }
    }
    line.out().extend_from_slice(b"* SEARCH");
    for number in found {
        write::text(line.out(), format_args!(" {number}"));
    }
    line.out().extend_from_slice(b"\r\n");
    Ok(Answer::ok("Done"))
}

/// Opens as little as the query needs: the row, then the summary, then the letter.
async fn answers<D: Desk>(
    desk: &D,
    view: &View<D::Shelf>,
    query: &Query,
    entry: &Entry,
    sequence: u32,
) -> Result<bool, Halt> {
    let mut facts = Facts {
        sequence,
        uid: entry.uid.0,
        flags: &entry.flags,
        internal_date: entry.internal_date,
        size: entry.size,
        envelope: Known::NotYet,
        header_forms: HeaderForms::default(),
        text: Known::NotYet,
    };
    if let Some(answer) = query.matches(&facts) {
        return Ok(answer);
    }
    let summary: Option<Arc<Summary>> = match view.shelf.summary(view.folder, entry).await {
        Ok(summary) => Some(summary),
        Err(error @ MailboxError::Temporary(_)) => return Err(error.into()),
        Err(_) => None,
    };
    facts.header_forms = summary.as_ref().map(|summary| summary.header_forms).unwrap_or_default();
    facts.envelope = summary.as_ref().map_or(Known::Never, |summary| Known::Yes(&summary.envelope));
    if let Some(answer) = query.matches(&facts) {
        return Ok(answer);
    }
    // The decoded and the folded text are as large as the letter, or larger. All is asked for at
    // once: who holds some and waits for more may wait for those who do the same.
    let room = desk.reserve_reading(entry.size.saturating_mul(2)).await.map_err(answer::refused)?;
    let letter = match view.shelf.content(entry).await {
        // Decoding a large letter must not hold up the other sessions of this thread.
        Ok(letter) => tokio::task::spawn_blocking(move || FoldedLetter::new(letter.expose()))
            .await
            .inspect_err(|_| {
                tracing::error!(uid = entry.uid.0, "searching a letter met a bug of ours")
            })
            .ok(),
        Err(error @ MailboxError::Temporary(_)) => return Err(error.into()),
        Err(_) => None,
    };
    facts.text = letter.as_ref().map_or(Known::Never, Known::Yes);
    let answer = query.matches(&facts).unwrap_or(false);
    drop(letter);
    drop(room);
    Ok(answer)
}

/// APPEND.
pub(super) async fn append<D: Desk>(
    desk: &D,
    own: &D::Shelf,
    append: Append,
    message: Option<Secret<Vec<u8>>>,
) -> Done {
    let (Some(start), Some(message)) = (append.messages.into_iter().next(), message) else {
        return Err(Answer::bad("A message was expected").into());
    };
    check_keywords(&start.flags)?;
    if message.expose().is_empty() {
        return Err(Answer::no("CANNOT", "An empty message cannot be kept").into());
    }
    // RFC 3501 §9: a literal holds no NUL, and we store no binary messages.
    if message.expose().contains(&0) {
        return Err(Answer::no("CANNOT", "A message cannot hold NUL").into());
    }
    let target = folders::find_target(desk, own, &append.mailbox).await?;
    let content = with_whole_line_ends(message);
    let new = NewMessage { content, flags: start.flags, internal_date: start.date };
    let (uid_validity, uid) = target.shelf.append(target.folder.id, new).await?;
    Ok(Answer::ok("Kept").code(format!("APPENDUID {uid_validity} {}", uid.0)))
}

/// Lines of a letter end with CRLF. Some programs file their copies with LF alone (`curl -T` of
/// a Unix file does); kept so, no client could read them, and refused, they would be lost.
fn with_whole_line_ends(message: Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    let octets = message.expose();
    let bare = |at: usize| match octets[at] {
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let count = (0..octets.len()).filter(|&at| bare(at)).count();
    if count == 0 {
        return message;
    }
    let mut whole = Vec::with_capacity(octets.len() + count);
    for (at, &octet) in octets.iter().enumerate() {
        if bare(at) {
            whole.extend_from_slice(b"\r\n");
        } else {
            whole.push(octet);
        }
    }
    Secret::new(whole)
}

fn must_be_writable<M: Shelf>(view: &View<M>) -> Result<(), Halt> {
>>>>>>> grammar
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
