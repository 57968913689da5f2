//! The queue: leases, turns, operators' hands, poison, clocks that jump.
mod hands;
pub(crate) mod lab;
mod leases;
mod migration;
mod poison;
mod settling;
mod silence;
mod together;
mod turns;

use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Claimed;
use vaguemestre::flow::queue::Filter;
use vaguemestre::flow::queue::QueueRow;
use vaguemestre::flow::queue::RowState;
use vaguemestre::flow::queue::Schedule;
use vaguemestre::flow::queue::Settlement;
use vaguemestre::flow::queue::Work;
use vaguemestre::infra::store::CommitError;

/// A schedule that has found its lanes.
async fn schedule(office: &Office) -> Schedule {
    Schedule::open(office).await.unwrap()
}

/// The next letter, if one is to be had.
async fn next(schedule: &mut Schedule, office: &Office) -> Option<Work> {
    schedule.next(office, office.clock.now()).await.unwrap()
}

/// Ends an attempt for all its recipients, as a worker would.
async fn end(office: &Office, claimed: &Claimed, what: Settlement) -> Result<(), CommitError> {
    let ends: Vec<_> = claimed.recipients().iter().map(|r| (r.number, what.clone())).collect();
    let settled = queue::settle(office, claimed, &ends).await.expect("the store answers");
    let committed = office.store.commit(settled.batch).await;
    if committed.is_ok() {
        for released in settled.released {
            office.blobs.sweep(released).await;
        }
        queue::note_gone(office, claimed).await;
    }
    committed
}

async fn finish(office: &Office, claimed: &Claimed) -> Result<(), CommitError> {
    end(office, claimed, Settlement::Finished).await
}

fn again(at: Timestamp) -> Settlement {
    Settlement::Again(at, "450 4.2.1 later".to_owned())
}

async fn waiting(office: &Office) -> Vec<QueueRow> {
    let filter = Filter { target: None, held: false, limit: 100_000 };
    queue::list(office, &filter).await.unwrap()
}

fn lane_of(claimed: &Claimed) -> String {
    claimed.recipients()[0].recipient.address.domain().to_string()
}

fn is_held(row: &QueueRow) -> bool {
    matches!(row.state, RowState::Held { .. })
}
