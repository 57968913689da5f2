//! What became of an attempt: written down once, and told to the sender.
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::envelope::Recipient;
use crate::domain::fact::Fact;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::count;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::mailbox;
use crate::flow::notify;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::Settlement;

/// Pause before a settlement that the store refused is tried again.
const SETTLE_AGAIN: Duration = Duration::from_secs(2);

/// What an attempt decided about the recipients behind one hop.
#[derive(Default)]
struct Verdicts<'a> {
    /// Relayed, or to be tried again.
    settled: Vec<(u16, Settlement)>,
    /// Given up; the sender is told.
    given_up: Vec<u16>,
    failures: Vec<(&'a Recipient, &'a Outcome)>,
}

/// Writes down what became of the letter, as long as the lease holds. What was relayed is
/// settled first and alone: a report that cannot be made must never make a letter go out again.
pub(super) async fn settle(office: &Arc<Office>, claimed: &Claimed, delivery: &Delivery) {
    let now = office.clock.now();
    let verdicts = judge(office, claimed, delivery, now);
    if !verdicts.settled.is_empty() {
        persist(office, claimed, delivery, &verdicts.settled, false).await;
    }
    if verdicts.given_up.is_empty() {
        return;
    }
    let ends: Vec<(u16, Settlement)> =
        verdicts.given_up.iter().map(|number| (*number, Settlement::Finished)).collect();
    if let Some((to, content)) = notify::failed(office, delivery, &verdicts.failures, now) {
        let told = report(office, claimed, delivery, &ends, to, &content).await;
        match told {
            Ok(()) => return,
            Err(refusal) if refusal.is_temporary() => {
                // The lease runs out, the attempt is made again, and the report with it.
                tracing::warn!(letter = %claimed.queue_id(), %refusal, "a report must wait");
                return;
            }
            Err(refusal) => {
                tracing::error!(letter = %claimed.queue_id(), %refusal, "a report cannot be made");
            }
        }
    }
    persist(office, claimed, delivery, &ends, true).await;
}

fn judge<'a>(
    office: &Office,
    claimed: &Claimed,
    delivery: &'a Delivery,
    now: Timestamp,
) -> Verdicts<'a> {
    let age = now.since(claimed.letter().accepted_at);
    let mut verdicts = Verdicts::default();
    for (recipient, outcome) in delivery.routed().recipients().iter().zip(delivery.outcomes()) {
        let status = outcome.status();
        let again = match status {
            DeliveryStatus::Deferred => {
                queue::again(office, recipient.attempts, age)
            }
            _ => None,
        };
        tracing::info!(
            letter = %claimed.queue_id(),
            ?status,
            code = %outcome.enhanced(),
            attempt = recipient.attempts,
            retry_in = ?again,
            "a delivery was tried"
        );
        match (status, again) {
            (DeliveryStatus::Relayed, _) => {
                verdicts.settled.push((recipient.number, Settlement::Finished));
            }
            (_, Some(wait)) => {
                let settlement = Settlement::Again(now.after(wait), outcome.reply.clone());
                verdicts.settled.push((recipient.number, settlement));
            }
            (_, None) => {
                verdicts.given_up.push(recipient.number);
                verdicts.failures.push((&recipient.recipient, outcome));
            }
        }
    }
    verdicts
}

/// Commits settlements with their facts; on a conflict with another hop of the same letter it
/// builds them anew, on a failing store it waits. It gives up when the lease is over.
async fn persist(
    office: &Office,
    claimed: &Claimed,
    delivery: &Delivery,
    settlements: &[(u16, Settlement)],
    given_up: bool,
) {
    // Once at least, whatever the clock says: it may have jumped, and only the lease's epoch
    // tells whether the result may still be kept.
    loop {
        let facts = facts(office, delivery, settlements, given_up);
        let refusal = match queue::settle(office, claimed, settlements).await {
            Ok(mut settled) => {
                facts.iter().for_each(|fact| office.ledger.ride(fact, &mut settled.batch));
                match office.store.commit(settled.batch).await {
                    Ok(()) => {
                        facts.iter().for_each(|fact| office.metrics.count(fact));
                        if let Some(released) = settled.released {
                            office.blobs.sweep(released).await;
                        }
                        return;
                    }
                    Err(error) => mailbox::commit_refusal(&error),
                }
            }
            Err(refusal) => refusal,
        };
        match refusal {
            // Somebody else changed the letter's row: another hop, or a thief of the lease.
            Refusal::Busy => tokio::task::yield_now().await,
            Refusal::Stopping => return,
            _ => tokio::time::sleep(SETTLE_AGAIN).await,
        }
        let is_late = office.clock.now() >= claimed.lease_until();
        if is_late || !queue::holds(office, claimed, settlements).await {
            break;
        }
    }
    tracing::error!(letter = %claimed.queue_id(), "the lease was lost before the result was kept");
}

/// The report and the end of the rows are one commit: neither twice, neither lost.
async fn report(
    office: &Arc<Office>,
    claimed: &Claimed,
    delivery: &Delivery,
    ends: &[(u16, Settlement)],
    to: Address,
    content: &[u8],
) -> Result<(), Refusal> {
    let mut settled = queue::settle(office, claimed, ends).await?;
    let facts = facts(office, delivery, ends, true);
    facts.iter().for_each(|fact| office.ledger.ride(fact, &mut settled.batch));
    crate::flow::house_letter(office, to, content, settled.batch).await?;
    facts.iter().for_each(|fact| office.metrics.count(fact));
    if let Some(released) = settled.released {
        office.blobs.sweep(released).await;
    }
    Ok(())
}

fn facts(
    office: &Office,
    delivery: &Delivery,
    settlements: &[(u16, Settlement)],
    given_up: bool,
) -> Vec<Fact> {
    let pairs = delivery.routed().recipients().iter().zip(delivery.outcomes());
    pairs
        .filter(|(recipient, _)| settlements.iter().any(|(number, _)| *number == recipient.number))
        .map(|(_, outcome)| count::attempted(office, delivery, outcome, given_up))
        .collect()
}
