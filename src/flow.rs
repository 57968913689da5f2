//! A letter's way through the relay, on one screen.
//!
//! ```text
//! sender ─► recipient ─► begin ─► (content streams) ─► finish ─► 250
//! accept     policy      seal                           queue, deliver (here), count
//! authenticate                                            │
//!                                 dispatch ◄──────────────┘ (clock)
//!                                 route, deliver (elsewhere), count, notify
//! ```
//!
//! Each station takes the parcel the one before it made and makes its own. A parcel has
//! private fields and one maker, so a skipped station does not compile.

pub mod office; // what every station leans on
pub mod mailbox; // where letters lie when they have arrived
pub mod exchange; // who may answer whom
pub mod accept;
pub mod authenticate;
pub mod policy;
pub mod seal;
pub mod queue;
pub mod route;
pub mod deliver;
pub mod count;
pub mod notify;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::net::Stop;
use crate::infra::store::Batch;
use accept::Accepted;
use accept::Caller;
use accept::Credentials;
use crate::domain::door::Door;
use authenticate::Authenticated;
use deliver::Delivery;
use office::Office;
use policy::Approved;
use queue::Claimed;
use queue::Queued;
use queue::Settlement;
use seal::Sealed;
use seal::Sealing;

/// How long the queue sleeps when nothing is due: a bell may be missed, a due row never is.
const NAP: Duration = Duration::from_secs(30);

/// MAIL: may this caller send as this reverse path, a letter of this size?
pub fn sender(
    office: &Office,
    accepted: Accepted,
    reverse_path: ReversePath,
    parameters: MailParameters,
) -> Result<Authenticated, Refusal> {
    policy::check_size(office, &parameters)?;
    authenticate::authenticate(office, accepted, reverse_path, parameters)
}

/// RCPT: may the sender write to this recipient?
pub async fn recipient(
    office: &Office,
    authenticated: &Authenticated,
    recipient: Recipient,
) -> Result<Approved, Refusal> {
    policy::approve(office, authenticated, recipient).await
}

/// DATA: room for the clear text, keys for every recipient; then the content may stream in.
pub async fn begin(
    office: &Arc<Office>,
    authenticated: Authenticated,
    recipients: Vec<Approved>,
) -> Result<Sealing, Refusal> {
    let cleared = policy::clear(authenticated, recipients)?;
    seal::begin(office, cleared).await
}

/// End of DATA: header rules, seal, one durable commit of queue rows and local mailboxes.
/// The only way to a [`Queued`], and `Queued::reply` is the only way to a 250.
pub async fn finish(office: &Arc<Office>, sealing: Sealing) -> Result<Queued, Refusal> {
    finish_with(office, sealing, Batch::new()).await
}

/// [`finish`], in one commit with the end of something else.
async fn finish_with(
    office: &Arc<Office>,
    sealing: Sealing,
    also: Batch,
) -> Result<Queued, Refusal> {
    let sealed = seal::finish(sealing).await?;
    let letter = mailbox::Letter {
        blob: sealed.blob(),
        content_key: sealed.content_key(),
        size: sealed.size(),
        summary: sealed.summary(),
        internal_date: sealed.accepted_at(),
    };
    let deposits = deliver::into_mailboxes(sealed.homes(), &letter, sealed.identity());
    let approved = sealed.cleared().approved().iter();
    let elsewhere: Vec<Recipient> = approved
        .filter(|approved| approved.home().is_none())
        .map(|approved| approved.recipient().clone())
        .collect();
    let mut facts = Vec::new();
    let prepared = queue::prepare(office, sealed).await?;
    let commit = queue::commit(office, prepared, &elsewhere, &deposits, |sealed, fresh, batch| {
        facts = count::taken_in(office, &taken(sealed), fresh);
        facts.iter().for_each(|fact| office.ledger.ride(fact, batch));
        note_exchanges(office, sealed, batch);
        batch.extend(also.clone());
    });
    let queued = commit.await?;
    facts.iter().for_each(|fact| office.metrics.count(fact));
    let (here, elsewhere) = (deposits.len(), elsewhere.len());
    tracing::info!(letter = %queued.queue_id(), here, elsewhere, "a letter was taken in");
    Ok(queued)
}

/// What the statistics must know of a letter.
fn taken(sealed: &Sealed) -> count::Taken<'_> {
    let cleared = sealed.cleared();
    let approved = cleared.approved().iter();
    count::Taken {
        letter: sealed.queue_id(),
        at: sealed.accepted_at(),
        size: sealed.size(),
        automatic: sealed.header().automatic || cleared.is_from_the_house(),
        from_house: cleared.is_from_the_house(),
        account: cleared.authenticated().account(),
        sender: cleared.authenticated().reverse_path().address(),
        recipients: approved.map(|each| (&each.recipient().address, each.home())).collect(),
    }
}

/// A professional's letter to a patient opens (or closes) the exchange between them.
fn note_exchanges(office: &Office, sealed: &Sealed, batch: &mut Batch) {
    let sender = sealed.cleared().authenticated().reverse_path().address();
    let from_patient = sender.is_some_and(|sender| office.is_patient_domain(sender.domain()));
    // A report or an automatic answer (null path) opens nothing.
    if from_patient || sender.is_none() {
        return;
    }
    for approved in sealed.cleared().approved() {
        let address = &approved.recipient().address;
        if office.is_patient_domain(address.domain()) {
            exchange::note(office, address, sealed.header(), batch);
        }
    }
}

/// Says in ledger, metrics and log that a caller was refused.
pub fn refused(
    office: &Office,
    accepted: &Accepted,
    recipient: Option<&Address>,
    refusal: Refusal,
) {
    let account = match &accepted.caller().credentials {
        Credentials::Login(account) => Some(account),
        _ => None,
    };
    let domain = account.map_or(&office.config.operator.hostname, |a| a.address.domain());
    let kind = account.map(|account| account.kind);
    let fact = count::refused(office, domain.to_string(), kind, recipient, refusal);
    office.metrics.count(&fact);
    tracing::info!(door = ?accepted.door(), ip = ?accepted.caller().ip, %refusal, "refused");
    if office.refusals.take(fact.at) {
        let mut batch = Batch::new();
        office.ledger.ride(&fact, &mut batch);
        // Not waited for: a stranger's refused letter must not cost a disk sync of our time.
        drop(office.store.submit(batch));
    }
}

/// Delivers what is due until the relay stops.
pub async fn dispatch(office: Arc<Office>, mut stop: Stop) {
    match queue::recover(&office).await {
        Ok(0) => {}
        Ok(freed) => tracing::info!(freed, "leases of an earlier life are free again"),
        Err(refusal) => tracing::error!(%refusal, "the queue could not be recovered"),
    }
    let places = Arc::new(Semaphore::new(limits::DELIVERIES_AT_ONCE));
    let mut attempts = JoinSet::new();
    while !stop.is_stopping() {
        let now = office.clock.now();
        let (due, next) = match queue::due(&office, now, limits::SCAN_ROWS_MAX).await {
            Ok(found) => found,
            Err(_) => (Vec::new(), Some(now.after(Duration::from_secs(1)))),
        };
        for letter in due {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            if let Ok(Some(claimed)) = queue::claim(&office, &letter, now).await {
                let office = Arc::clone(&office);
                attempts.spawn(async move {
                    attempt(&office, &claimed).await;
                    drop(place);
                });
            }
        }
        while attempts.try_join_next().is_some() {}
        let nap = next.map_or(NAP, |next| next.since(office.clock.now())).clamp(
            Duration::from_millis(5),
            NAP,
        );
        tokio::select! {
            () = office.queue_bell.notified() => {}
            () = tokio::time::sleep(nap) => {}
            () = stop.stopped() => {}
        }
    }
    // An attempt that is cut keeps its lease; the next start frees it.
    let _ = tokio::time::timeout(Duration::from_secs(5), attempts.join_all()).await;
}

/// One attempt: route, deliver, count, and settle the rows.
async fn attempt(office: &Arc<Office>, claimed: &Claimed) {
    for routed in route::plan(office, claimed) {
        let delivery = deliver::to_operator(office, routed).await;
        if let Err(refusal) = settle(office, claimed, &delivery).await {
            // The lease runs out and the rows become due again: late, not lost.
            tracing::warn!(letter = %claimed.queue_id(), %refusal, "an attempt was not settled");
        }
    }
}

async fn settle(
    office: &Arc<Office>,
    claimed: &Claimed,
    delivery: &Delivery,
) -> Result<(), Refusal> {
    let now = office.clock.now();
    let age = now.since(claimed.letter().accepted_at);
    let mut settlements = Vec::new();
    let mut failures = Vec::new();
    let mut facts = Vec::new();
    for (recipient, outcome) in delivery.routed().recipients().iter().zip(delivery.outcomes()) {
        let again = match outcome.status() {
            DeliveryStatus::Deferred => next_attempt(office, recipient.attempts + 1, age, now),
            _ => None,
        };
        let failed = again.is_none() && outcome.status() != DeliveryStatus::Relayed;
        tracing::info!(
            letter = %claimed.queue_id(),
            status = ?outcome.status(),
            code = %outcome.enhanced(),
            attempt = recipient.attempts + 1,
            given_up = failed,
            "a delivery was tried"
        );
        facts.push(count::attempted(office, delivery, outcome, failed));
        let settlement = match again {
            Some(at) => Settlement::Again(at, outcome.reply.clone()),
            None => Settlement::Finished,
        };
        settlements.push((recipient.number, settlement));
        if failed {
            failures.push((&recipient.recipient, outcome));
        }
    }
    let mut settled = queue::settle(office, claimed, &settlements).await?;
    facts.iter().for_each(|fact| office.ledger.ride(fact, &mut settled.batch));
    let report = notify::failed(office, delivery, &failures, now);
    match report {
        // The report and the end of the rows are one commit: neither twice, neither lost.
        Some((to, content)) => house_letter(office, to, &content, settled.batch).await?,
        None => {
            let commit = office.store.commit(settled.batch).await;
            commit.map_err(|error| mailbox::commit_refusal(&error))?;
        }
    }
    facts.iter().for_each(|fact| office.metrics.count(fact));
    if let Some(released) = settled.released {
        office.blobs.sweep(released).await;
    }
    Ok(())
}

fn next_attempt(office: &Office, attempts: u32, age: Duration, now: Timestamp) -> Option<Timestamp> {
    let queue = &office.config.queue;
    queue::next_attempt(&queue.retry, queue.give_up, attempts, age).map(|wait| now.after(wait))
}

/// Our own mail has its own door and walks the same way as any other. When it cannot be
/// delivered, `also` is committed alone: a report is never answered by another report.
async fn house_letter(
    office: &Arc<Office>,
    to: Address,
    content: &[u8],
    also: Batch,
) -> Result<(), Refusal> {
    let caller = Caller {
        ip: None,
        client_name: office.config.operator.hostname.to_string(),
        protocol: "local",
        tls: None,
        credentials: Credentials::House,
    };
    let accepted = accept::accept(Door::House, caller);
    let parameters = MailParameters { smtputf8: true, ..MailParameters::default() };
    let authenticated = sender(office, accepted, ReversePath::Null, parameters)?;
    let to = Recipient { address: to, parameters: Default::default() };
    match recipient(office, &authenticated, to).await {
        Ok(approved) => {
            let mut sealing = begin(office, authenticated, vec![approved]).await?;
            sealing.write(content)?;
            finish_with(office, sealing, also).await.map(|_| ())
        }
        Err(refusal) => {
            tracing::warn!(%refusal, "a report has no recipient any more");
            let commit = office.store.commit(also).await;
            commit.map_err(|error| mailbox::commit_refusal(&error))
        }
    }
}
