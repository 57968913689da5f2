//! What became of an attempt: written down once, and told to the sender.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::delivery::NextHop;
use crate::domain::envelope::Recipient;
use crate::domain::fact::Fact;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::count;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::mailbox;
use crate::flow::notify;
use crate::flow::office::Office;
use crate::flow::promise;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::Settlement;
use crate::flow::timeline;
use crate::flow::timeline::Attempt;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::store::Batch;
use crate::proto::dsn::Action;

/// Pause before a settlement or a report that could not be kept is tried again.
const SETTLE_AGAIN: Duration = Duration::from_secs(2);
/// Two hops of one letter that report at the same time change the same row: one of them comes
/// again after so long, and up to four times that, so that they do not meet for ever.
const COLLISION_PAUSE_MS: u64 = 50;
/// So often in a row another hop may be faster.
const COLLISIONS_MAX: u32 = 40;
/// A report waits so long for what it needs before its attempt lets the letter go.
const REPORT_PATIENCE: Duration = Duration::from_secs(120);
/// A letter whose report still cannot be made so long after the time for its delivery goes
/// without one; administrators are told.
const REPORT_OVERTIME: Duration = Duration::from_secs(86_400);
/// The subject of the alarm about a sender who could not be told.
const NOT_TOLD: &str = "a sender could not be told of a failure";

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
    let whole = notify::whole_letter(office, delivery).await;
    let returned = whole.as_ref().map(|(letter, _)| letter.as_slice());
    if let Some((to, content)) = notify::failed(office, delivery, &verdicts.failures, returned) {
        let content = Zeroizing::new(content);
        let telling = Telling { office, claimed, delivery, ends: &ends };
        let patience = if whole.is_some() { Duration::ZERO } else { REPORT_PATIENCE };
        let mut told = telling.tell(&to, &content, patience).await;
        if told.is_err() && whole.is_some() {
            // Perhaps it was too much, for memory or for the sender: the header section is not.
            drop((whole, content));
            if let Some((to, short)) = notify::failed(office, delivery, &verdicts.failures, None) {
                told = telling.tell(&to, &short, REPORT_PATIENCE).await;
            }
        }
        match told {
            Ok(()) => return,
            Err(Refusal::Stopping) => return,
            Err(refusal) if refusal.is_temporary() && !is_overdue(office, claimed, now) => {
                // The lease runs out, the attempt is made again, and the report with it.
                tracing::warn!(letter = %claimed.queue_id(), %refusal, "a report must wait");
                return;
            }
            Err(refusal) => {
                let letter = claimed.queue_id();
                let text = format!(
                    "The letter {letter} failed for {} of its recipients, and no report about it \
                     can be made ({refusal}). `vaguemestre trace {letter}` shows what happened.",
                    ends.len()
                );
                alerts::raise(office, NOT_TOLD, &text);
            }
        }
    }
    persist(office, claimed, delivery, &ends, true).await;
}

/// True when not even a report can be waited for any more.
fn is_overdue(office: &Office, claimed: &Claimed, now: Timestamp) -> bool {
    let age = now.since(claimed.letter().accepted_at);
    age >= office.config.queue.give_up.saturating_add(REPORT_OVERTIME)
}

fn judge<'a>(
    office: &Office,
    claimed: &Claimed,
    delivery: &'a Delivery,
    now: Timestamp,
) -> Verdicts<'a> {
    let age = now.since(claimed.letter().accepted_at);
    // Drawn once: recipients who were put off together come back together, as one letter and one
    // report.
    let chance = office.lanes.chance();
    let mut verdicts = Verdicts::default();
    for (recipient, outcome) in delivery.routed().recipients().iter().zip(delivery.outcomes()) {
        let status = outcome.status();
        let again = match status {
            DeliveryStatus::Deferred => queue::again_by(office, recipient.attempts, age, chance),
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
/// builds them anew, on a failing store it waits. It gives up when the lease is lost: no clock,
/// only the rows' versions tell whether a letter that another operator took may go out again.
async fn persist(
    office: &Office,
    claimed: &Claimed,
    delivery: &Delivery,
    settlements: &[(u16, Settlement)],
    given_up: bool,
) {
    loop {
        let facts = facts(office, delivery, settlements, given_up);
        let refusal = match queue::settle(office, claimed, settlements).await {
            Ok(mut settled) => {
                facts.iter().for_each(|fact| office.ledger.ride(fact, &mut settled.batch));
                let tried = attempts(office, delivery, settlements);
                timeline::ride(office, claimed.queue_id(), &tried, &mut settled.batch);
                let has_promised = promise_success(office, delivery, settlements, &mut settled);
                match office.store.commit(settled.batch).await {
                    Ok(()) => {
                        if has_promised {
                            office.promise_bell.notify_one();
                        }
                        facts.iter().for_each(|fact| office.metrics.count(fact));
                        for released in settled.released {
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
        if !queue::holds(office, claimed, settlements).await {
            break;
        }
    }
    tracing::error!(letter = %claimed.queue_id(), "the lease was lost before the result was kept");
}

/// What must be told to a sender, and ends with it.
struct Telling<'a> {
    office: &'a Arc<Office>,
    claimed: &'a Claimed,
    delivery: &'a Delivery,
    ends: &'a [(u16, Settlement)],
}

impl Telling<'_> {
    /// Makes the report. One that collides with another hop of its letter is built anew, on the
    /// rows that the other left; other troubles that pass are waited for, `patience` at most.
    async fn tell(&self, to: &Address, content: &[u8], patience: Duration) -> Result<(), Refusal> {
        let (began, mut collisions) = (Instant::now(), 0);
        loop {
            let Err(refusal) = self.report(to.clone(), content).await else { return Ok(()) };
            let pause = match refusal {
                Refusal::Stopping => return Err(refusal),
                Refusal::Busy if collisions < COLLISIONS_MAX => {
                    collisions += 1;
                    Duration::from_millis(COLLISION_PAUSE_MS * (1 + self.office.lanes.chance() % 4))
                }
                // All wait for room then; nothing is asked of anybody meanwhile.
                Refusal::StoreFull => SETTLE_AGAIN,
                _ if refusal.is_temporary() && began.elapsed() < patience => SETTLE_AGAIN,
                _ => return Err(refusal),
            };
            tokio::time::sleep(pause).await;
            if !queue::holds(self.office, self.claimed, self.ends).await {
                let letter = self.claimed.queue_id();
                tracing::error!(%letter, "the lease was lost before a report was made");
                // Whoever has the letter now reports.
                return Ok(());
            }
        }
    }

    /// The report and the end of the rows are one commit: neither twice, neither lost.
    async fn report(&self, to: Address, content: &[u8]) -> Result<(), Refusal> {
        let Self { office, claimed, delivery, ends } = *self;
        let mut settled = queue::settle(office, claimed, ends).await?;
        let facts = facts(office, delivery, ends, true);
        facts.iter().for_each(|fact| office.ledger.ride(fact, &mut settled.batch));
        let tried = attempts(office, delivery, ends);
        timeline::ride(office, claimed.queue_id(), &tried, &mut settled.batch);
        let (reported, mut told) = (reported(office, delivery, ends), Batch::new());
        timeline::ride(office, claimed.queue_id(), &reported, &mut told);
        crate::flow::house_report(office, to, content, settled.batch, told).await?;
        facts.iter().for_each(|fact| office.metrics.count(fact));
        for released in settled.released {
            office.blobs.sweep(released).await;
        }
        Ok(())
    }
}

/// The attempt as each recipient's timeline tells it; the end, where nobody was tried.
fn attempts(office: &Office, delivery: &Delivery, settlements: &[(u16, Settlement)]) -> Vec<Entry> {
    let contact = delivery.contact();
    let domain = match delivery.routed().next() {
        NextHop::Operator { domain, .. } => domain.as_str(),
        NextHop::Mailbox => "",
    };
    let at = office.clock.now();
    settled(delivery, settlements)
        .map(|(recipient, outcome, settlement)| {
            let of =
                |step| Entry { at, recipient: Some(recipient.recipient.address.clone()), step };
            if recipient.order.is_some() && contact.address.is_none() {
                let (enhanced, reply) = (outcome.enhanced(), outcome.reply.clone());
                return of(Step::Ended { enhanced, reply });
            }
            let again_at = match settlement {
                Settlement::Again(at, _) => Some(*at),
                Settlement::Finished => None,
            };
            let host = if contact.host.is_empty() { domain } else { &contact.host };
            let status = match (outcome.status(), again_at) {
                // Tried for long enough.
                (DeliveryStatus::Deferred, None) => DeliveryStatus::Failed,
                (status, _) => status,
            };
            of(Step::Attempt(Box::new(Attempt {
                number: recipient.attempts,
                host: host.to_owned(),
                address: contact.address.map(|address| address.to_string()).unwrap_or_default(),
                certificate: contact.certificate.clone(),
                tls: contact.tls.clone(),
                status,
                enhanced: outcome.enhanced(),
                reply: outcome.reply.clone(),
                remote_id: contact.remote_id.clone().filter(|_| status == DeliveryStatus::Relayed),
                again_at,
            })))
        })
        .collect()
}

/// The recipients of whose failure the sender is told.
fn reported(office: &Office, delivery: &Delivery, ends: &[(u16, Settlement)]) -> Vec<Entry> {
    let at = office.clock.now();
    settled(delivery, ends)
        .map(|(recipient, ..)| &recipient.recipient)
        .filter(|one| notify::wants(one.parameters.notify, Action::Failed))
        .map(|one| Entry {
            at,
            recipient: Some(one.address.clone()),
            step: Step::Reported("failed".to_owned()),
        })
        .collect()
}

/// RFC 3461 §5.2.2: a host that takes the letter and offers no DSN will not report its arrival; so
/// the sender hears from us that it went there.
fn promise_success(
    office: &Office,
    delivery: &Delivery,
    settlements: &[(u16, Settlement)],
    settled_batch: &mut queue::Settled,
) -> bool {
    let letter = delivery.routed().letter();
    let Some(sender) = letter.reverse_path.address() else { return false };
    if delivery.contact().offers_dsn {
        return false;
    }
    let relayed: Vec<(&Recipient, &Outcome)> = settled(delivery, settlements)
        .filter(|(_, outcome, _)| outcome.status() == DeliveryStatus::Relayed)
        .map(|(recipient, outcome, _)| (&recipient.recipient, outcome))
        .filter(|(one, _)| notify::wants(one.parameters.notify, Action::Relayed))
        .collect();
    let Some((_, first)) = relayed.first() else { return false };
    let arrived = promise::Arrived {
        letter: delivery.routed().queue_id(),
        sender,
        envid: letter.parameters.envid.as_deref(),
        arrival: letter.accepted_at,
        header: delivery.header(),
        relayed_to: Some((notify::remote_mta(delivery), &first.reply)),
        recipients: relayed.iter().map(|(one, _)| *one).collect(),
        at: office.clock.now(),
    };
    promise::success(office, &arrived, &mut settled_batch.batch)
}

/// Each recipient that is settled now, with what the hop said and what was decided.
fn settled<'a>(
    delivery: &'a Delivery,
    settlements: &'a [(u16, Settlement)],
) -> impl Iterator<Item = (&'a ClaimedRecipient, &'a Outcome, &'a Settlement)> {
    let pairs = delivery.routed().recipients().iter().zip(delivery.outcomes());
    pairs.filter_map(|(recipient, outcome)| {
        let mut decided = settlements.iter();
        let (_, settlement) = decided.find(|(number, _)| *number == recipient.number)?;
        Some((recipient, outcome, settlement))
    })
}

fn facts(
    office: &Office,
    delivery: &Delivery,
    settlements: &[(u16, Settlement)],
    given_up: bool,
) -> Vec<Fact> {
    settled(delivery, settlements)
        .map(|(_, outcome, _)| count::attempted(office, delivery, outcome, given_up))
        .collect()
}
