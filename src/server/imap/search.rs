//! SEARCH, SORT and THREAD.
use std::sync::Arc;

use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Search;
use crate::proto::imap::matching::Facts;
use crate::proto::imap::matching::FoldedLetter;
use crate::proto::imap::matching::Known;
use crate::proto::imap::matching::Query;
use crate::proto::imap::write;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::summary::Summary;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Line;
use crate::server::imap::line::Stream;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;
use crate::server::imap::view;
use crate::server::imap::view::View;

/// Rows that are read at once.
const ROWS: usize = 500;

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
    for page in view::pages(view.uids(), ROWS) {
        for entry in view.rows(&page).await? {
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
