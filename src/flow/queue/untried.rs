//! Rows of an attempt that did not begin: for want of something of ours, nobody was called.
use std::time::Duration;

use crate::domain::envelope::QueueId;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::rows;
use crate::flow::queue::rows::State;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

/// They wait again for a moment, and it was no attempt. Together if possible, for what waits
/// together is attempted together; one that somebody touched meanwhile stays as it is.
pub async fn untried(
    office: &Office,
    id: QueueId,
    recipients: &[ClaimedRecipient],
    moment: Duration,
) {
    let due = office.clock.now().after(moment);
    // When the store fails, the leases run out.
    if let Err(CommitError::Conflict) = put_back(office, id, recipients, due).await {
        for one in recipients {
            let _ = put_back(office, id, std::slice::from_ref(one), due).await;
        }
    }
    for recipient in recipients {
        office.lanes.ring(&rows::lane_name(&recipient.row));
    }
    office.lanes.ring_benches();
}

async fn put_back(
    office: &Office,
    id: QueueId,
    recipients: &[ClaimedRecipient],
    due: Timestamp,
) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    for recipient in recipients {
        let mut row = recipient.row.clone();
        row.state = State::Waiting;
        row.due = due.as_millis();
        if row.order.is_none() {
            // The lease counted it.
            row.attempts = row.attempts.saturating_sub(1);
        }
        let leased = (&recipient.row, recipient.version);
        rows::change(&mut batch, leased, &row, id, recipient.number);
    }
    office.store.commit(batch).await
}
