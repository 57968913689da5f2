//! SORT and THREAD over what a search found: summaries by pages, opened aside.
use crate::domain::limits;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::index::SealedSummaries;
use crate::proto::imap::command::SortCriterion;
use crate::proto::imap::command::ThreadAlgorithm;
use crate::proto::imap::sorting::Sortable;
use crate::proto::imap::sorting::Sorter;
use crate::proto::imap::sorting::TooMany;
use crate::proto::imap::threading::Threader;
use crate::proto::imap::threading::Threads;
use crate::proto::mime::summary::EnvelopeFields;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Stream;
use crate::server::imap::search::hunt::Found;
use crate::server::imap::search::hunt::Hunt;
use crate::server::imap::shelf::Desk;
use crate::server::imap::shelf::Shelf;

/// Octets that a message takes while it is put in order, about.
const OCTETS_EACH: u64 = 200;

/// A page of messages, with their summaries where they are needed.
type Page = (Vec<Entry>, Option<SealedSummaries>);

/// The UIDs that were found, in the order that is asked for.
pub(super) async fn sorted<D: Desk, S: Stream>(
    hunt: &mut Hunt<'_, D, S>,
    found: &Found,
    criteria: &[SortCriterion],
) -> Result<Vec<u32>, Halt> {
    let with_summaries = Sorter::asks_envelopes(criteria);
    let sorter = gathered(hunt, found, with_summaries, Sorter::new(criteria), |sorter, page| {
        let (entries, summaries) = page;
        let nothing = EnvelopeFields::default();
        for (place, entry) in entries.iter().enumerate() {
            let summary = summaries.as_ref().map(|summaries| summaries.open(place, entry));
            sorter.add(&Sortable {
                uid: entry.uid.0,
                internal_date: entry.internal_date,
                size: entry.size,
                envelope: summary.as_ref().map_or(&nothing, |summary| &summary.envelope),
            })?;
        }
        Ok(())
    });
    let sorter = sorter.await?;
    Ok(hunt.view.shelf.aside(move || sorter.sorted()).await?)
}

/// The threads of what was found.
pub(super) async fn threads<D: Desk, S: Stream>(
    hunt: &mut Hunt<'_, D, S>,
    found: &Found,
    algorithm: ThreadAlgorithm,
) -> Result<Threads, Halt> {
    let threader = gathered(hunt, found, true, Threader::new(algorithm), |threader, page| {
        let (entries, summaries) = page;
        let opened = summaries.iter().flat_map(|summaries| {
            let entries = entries.iter().enumerate();
            entries.map(|(place, entry)| (entry, summaries.open(place, entry)))
        });
        for (entry, summary) in opened {
            threader.add(entry.uid.0, entry.internal_date, &summary)?;
        }
        Ok(())
    });
    let threader = threader.await?;
    Ok(hunt.view.shelf.aside(move || threader.threads()).await?)
}

/// Shows all that was found to `gatherer`, page by page.
async fn gathered<D: Desk, S: Stream, G: Send + 'static>(
    hunt: &mut Hunt<'_, D, S>,
    found: &Found,
    with_summaries: bool,
    gatherer: G,
    add: fn(&mut G, &Page) -> Result<(), TooMany>,
) -> Result<G, Halt> {
    let count = found.uids.len() as usize;
    if count > limits::ORDERED_MESSAGES_MAX {
        return Err(too_many());
    }
    let room = hunt.desk.reserve_reading(count as u64 * OCTETS_EACH);
    let _room = room.await.map_err(answer::refused)?;
    let view = hunt.view;
    let mut gatherer = Some(gatherer);
    let uids: Vec<u32> = found.uids.iter().collect();
    for (number, uids) in uids.chunks(limits::SEARCHED_ROWS_AT_ONCE).enumerate() {
        let entries = view.rows(uids).await?;
        let summaries = match with_summaries {
            true => Some(view.shelf.summaries_to_open(view.folder, &entries).await?),
            false => None,
        };
        let Some(mut taken) = gatherer.take() else { break };
        let page = (entries, summaries);
        let (taken, added) = view
            .shelf
            .aside(move || {
                let added = add(&mut taken, &page);
                (taken, added)
            })
            .await?;
        added.map_err(|TooMany| too_many())?;
        gatherer = Some(taken);
        let done = number * limits::SEARCHED_ROWS_AT_ONCE;
        hunt.tick(done, count).await?;
    }
    gatherer.ok_or_else(|| MailboxError::NoSuchMessage.into())
}

fn too_many() -> Halt {
    Answer::no("LIMIT", "Too many messages to put in order at once; search for fewer").into()
}
