//! What senders may rely on: that they hear of a letter that has arrived when they asked for it,
//! of one that waits for too long, and of one that did not meet its service level.
//!
//! A promise is a row that rides in the commit of the letter, and goes in the commit of the
//! report: whatever happens between, the report is written once. The rows are in the order in
//! which they are due, so that nobody looks through a million letters for the one that is late.
//! A letter that is gone by then costs one delete.
mod alternatives; // other ways to a recipient
mod rows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task;
use tokio::task::JoinSet;

use crate::domain::address::Address;
use crate::domain::envelope::MssHeaders;
use crate::domain::envelope::QueueId;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::filter;
use crate::flow::filter::Answer;
use crate::flow::filter::Redirect;
use crate::flow::mailbox;
use crate::flow::notify;
use crate::flow::notify::About;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Filter;
use crate::flow::queue::QueueRow;
use crate::flow::queue::RowState;
use crate::flow::queue::Target;
use crate::flow::queue::Waiting;
use crate::flow::seal::Sealed;
use crate::flow::timeline;
use crate::flow::timeline::Attempt;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::net::Stop;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Version;
use crate::proto::dsn::Action;
use crate::proto::dsn::Late;
use crate::proto::dsn::RecipientReport;
use rows::LateAt;
use rows::Promise;
use rows::Success;
use rows::Watch;

/// How long nobody looks when nothing is due: a bell may be missed, a due row never is.
const NAP: Duration = Duration::from_secs(5);
/// After so long a promise that could not be kept is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// The subject of the alarm about a letter that is late without its sender's notice.
const LATE: &str = "a letter is late";
/// The subject of the alarm about a promise that is given up.
const BROKEN: &str = "a sender could not be told what became of a letter";

/// A row that is due.
struct Row {
    key: Bytes,
    value: Bytes,
    version: Version,
    letter: QueueId,
}

/// One or more recipients whom a letter has reached, for a report of success.
pub struct Arrived<'a> {
    /// Our name of the letter.
    pub letter: QueueId,
    /// To whom the report goes.
    pub sender: &'a Address,
    /// `ENVID=`, decoded.
    pub envid: Option<&'a str>,
    /// When the letter was taken in.
    pub arrival: Timestamp,
    /// Its header section.
    pub header: &'a [u8],
    /// Who took it, when it was another operator: host and reply.
    pub relayed_to: Option<(Option<&'a str>, &'a str)>,
    /// The recipients who want to be reported.
    pub recipients: Vec<&'a Recipient>,
    /// When they were reached.
    pub at: Timestamp,
}

/// Promises reports of success in a batch; true when there are any. Ring
/// [`Office::promise_bell`] after the commit.
pub fn success(office: &Office, arrived: &Arrived<'_>, batch: &mut Batch) -> bool {
    for some in arrived.recipients.chunks(limits::PROMISED_RECIPIENTS_MAX) {
        let (remote_mta, reply) = match arrived.relayed_to {
            Some((host, reply)) => (host.map(str::to_owned), Some(reply.to_owned())),
            None => (None, None),
        };
        let promise = Promise::Success(Success {
            sender: arrived.sender.to_string(),
            envid: arrived.envid.map(str::to_owned),
            arrival: arrived.arrival.as_millis(),
            header: notify::bounded_header(arrived.header).to_vec(),
            relayed: arrived.relayed_to.is_some(),
            remote_mta,
            reply,
            at: arrived.at.as_millis(),
            recipients: some
                .iter()
                .map(|one| (one.address.to_string(), one.parameters.orcpt.clone()))
                .collect(),
        });
        put(office, arrived.at, arrived.letter, &promise, batch);
    }
    !arrived.recipients.is_empty()
}

/// The promises of a letter that was just taken in: reports of success for mailboxes here where
/// it is news, and an eye on it when it travels on. True when the bell must be rung.
pub fn taken_in(office: &Office, sealed: &Sealed, fresh: &[bool], batch: &mut Batch) -> bool {
    let authenticated = sealed.cleared().authenticated();
    let Some(sender) = authenticated.reverse_path().address() else { return false };
    if sealed.travels() {
        watch(office, sealed, batch);
    }
    let Some(header) = sealed.returned_header() else { return false };
    let here = sealed.cleared().approved().iter().filter(|approved| approved.home().is_some());
    let recipients = here
        .zip(fresh)
        .filter(|(_, fresh)| **fresh)
        .map(|(approved, _)| approved.recipient())
        .filter(|one| notify::wants(one.parameters.notify, Action::Delivered))
        .collect();
    let arrived = Arrived {
        letter: sealed.queue_id(),
        sender,
        envid: authenticated.parameters().envid.as_deref(),
        arrival: sealed.accepted_at(),
        header,
        relayed_to: None,
        recipients,
        at: sealed.accepted_at(),
    };
    success(office, &arrived, batch)
}

fn watch(office: &Office, sealed: &Sealed, batch: &mut Batch) {
    let at = sealed.accepted_at();
    let elsewhere = sealed.cleared().approved().iter().filter(|one| one.home().is_none());
    let mut elsewhere = elsewhere.map(|approved| approved.recipient().parameters.notify);
    let is_wanted = elsewhere.any(|notify| notify::wants(notify, Action::Delayed));
    // Whatever the sender wants to hear: what the operator promised, the operator must know of.
    let late = strictest(office, &sealed.header().mss).map(|(class, within)| LateAt {
        at: at.after(within).as_millis(),
        class: class.to_owned(),
        within_seconds: within.as_secs(),
    });
    let notice = office.config.queue.delay_notice.filter(|_| is_wanted);
    let delay_at = notice.map(|notice| at.after(notice).as_millis());
    let watch = Watch { late, delay_at };
    if let Some(due) = watch.next() {
        put(office, due, sealed.queue_id(), &Promise::Watch(watch), batch);
    }
}

/// The shortest time that the configuration promises for one of the letter's documents.
fn strictest<'a>(office: &'a Office, headers: &MssHeaders) -> Option<(&'a str, Duration)> {
    let within = office.config.service.within.iter();
    within
        .filter(|(class, _)| class.as_str() == "*" || headers.cda_codes.contains(class))
        .map(|(class, within)| (class.as_str(), *within))
        // Of two with the same time, the one that says more.
        .min_by_key(|(class, within)| (*within, *class == "*"))
}

/// Promises an automatic answer in a batch. Ring [`Office::promise_bell`] after the commit.
pub fn answer(office: &Office, at: Timestamp, letter: QueueId, answer: &Answer, batch: &mut Batch) {
    put(office, at, letter, &Promise::Answer(answer.clone()), batch);
}

/// Promises to send a letter on; the batch must refer once more to its content.
pub fn redirect(
    office: &Office,
    at: Timestamp,
    letter: QueueId,
    redirect: &Redirect,
    batch: &mut Batch,
) {
    put(office, at, letter, &Promise::Redirect(redirect.clone()), batch);
}

fn put(office: &Office, due: Timestamp, letter: QueueId, promise: &Promise, batch: &mut Batch) {
    batch.put(rows::key(due, letter), rows::seal(office, letter, promise));
}

/// Keeps promises when they are due, until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    let mut broken = Broken::new();
    while !stop.is_stopping() {
        let nap = match keep_due(&office, &mut broken).await {
            Ok(nap) => nap,
            Err(refusal) => {
                tracing::warn!(%refusal, "promises to senders must wait");
                NAP
            }
        };
        tokio::select! {
            () = office.promise_bell.notified() => {}
            () = tokio::time::sleep(nap) => {}
            () = stop.stopped() => {}
        }
    }
}

/// Promises over which a worker broke, and how often. In memory: after a start each has its
/// chances anew.
type Broken = HashMap<Vec<u8>, u8>;

/// Keeps some that are due; tells how long to sleep.
async fn keep_due(office: &Arc<Office>, broken: &mut Broken) -> Result<Duration, Refusal> {
    let page = office.store.scan(store::prefix(rows::PROMISES), limits::PROMISES_AT_ONCE).await;
    let page = page.map_err(|error| {
        tracing::error!(%error, "promises cannot be read");
        Refusal::StoreFailed
    })?;
    let now = office.clock.now();
    let mut keeping = JoinSet::new();
    let mut under_way: HashMap<task::Id, Arc<Row>> = HashMap::new();
    let mut nap = NAP;
    for (key, row) in page.rows {
        let Some(due) = rows::due_of(&key) else { continue };
        if due.at > now {
            nap = due.at.since(now).clamp(Duration::from_millis(5), NAP);
            break;
        }
        let (value, version, letter) = (row.value, row.version, due.letter);
        let row = Arc::new(Row { key, value, version, letter });
        let (at, kept) = (Arc::clone(office), Arc::clone(&row));
        under_way.insert(keeping.spawn(async move { keep(&at, &kept).await }).id(), row);
        nap = Duration::ZERO;
    }
    let (mut moved, mut stuck) = (0, 0);
    while let Some(ended) = keeping.join_next_with_id().await {
        let has_moved = match ended {
            Ok((_, has_moved)) => has_moved,
            Err(error) => match under_way.remove(&error.id()) {
                Some(row) => broke(office, &row, broken).await,
                None => false,
            },
        };
        *(if has_moved { &mut moved } else { &mut stuck }) += 1;
    }
    // Rows that could neither be kept nor put off are met again at once: not in a hurry. They
    // hinder nobody behind them.
    Ok(if stuck > 0 && moved == 0 { NAP } else { nap })
}

/// A worker broke over a promise: it is put off, and forgotten the second time, or nobody behind
/// it would be told anything any more. False when it lies there as before.
async fn broke(office: &Arc<Office>, row: &Row, broken: &mut Broken) -> bool {
    let letter = row.letter;
    let breaks = broken.remove(row.key.as_ref()).unwrap_or(0).saturating_add(1);
    tracing::error!(%letter, breaks, "keeping a promise to a sender broke its worker");
    if breaks < limits::BREAKS_MAX {
        let later = put_off_key(office, row);
        let has_moved = move_to(office, row, later.clone()).await.is_ok();
        broken.insert(if has_moved { later } else { row.key.to_vec() }, breaks);
        return has_moved;
    }
    let text = format!(
        "A report about the letter {letter} broke the relay's worker {breaks} times and is given \
         up; its sender is not told. `vaguemestre trace {letter}` shows what happened to it."
    );
    alerts::raise(office, BROKEN, &text);
    forget(office, row).await.is_ok()
}

/// Keeps one; false when it lies there as before.
async fn keep(office: &Arc<Office>, row: &Row) -> bool {
    let outcome = match rows::open(office, row.letter, &row.value) {
        Some(Promise::Success(success)) => report_success(office, row, &success).await,
        Some(Promise::Watch(watch)) => look(office, row, &watch).await,
        Some(Promise::Answer(answer)) => {
            filter::send_answer(office, row.letter, &answer, end(row)).await
        }
        Some(Promise::Redirect(redirect)) => {
            filter::send_redirect(office, row.letter, &redirect, end(row)).await
        }
        None => {
            tracing::error!(letter = %row.letter, "a promise to a sender is damaged");
            forget(office, row).await
        }
    };
    let refusal = match outcome {
        Ok(()) => return true,
        Err(refusal) => refusal,
    };
    tracing::warn!(letter = %row.letter, %refusal, "a promise to a sender could not be kept");
    let settled =
        if refusal.is_temporary() { put_off(office, row).await } else { forget(office, row).await };
    settled.is_ok()
}

/// What ends with the row.
fn end(row: &Row) -> Batch {
    let mut batch = Batch::new();
    batch.require_at(row.key.to_vec(), row.version);
    batch.delete(row.key.to_vec());
    batch
}

async fn forget(office: &Office, row: &Row) -> Result<(), Refusal> {
    commit(office, end(row)).await
}

async fn put_off(office: &Office, row: &Row) -> Result<(), Refusal> {
    move_to(office, row, put_off_key(office, row)).await
}

fn put_off_key(office: &Office, row: &Row) -> Vec<u8> {
    rows::key(office.clock.now().after(AGAIN), row.letter)
}

async fn move_to(office: &Office, row: &Row, key: Vec<u8>) -> Result<(), Refusal> {
    let mut batch = end(row);
    batch.put(key, row.value.clone());
    commit(office, batch).await
}

async fn commit(office: &Office, batch: Batch) -> Result<(), Refusal> {
    office.store.commit(batch).await.map_err(|error| mailbox::commit_refusal(&error))
}

fn reported(what: &str, at: Timestamp, recipients: &[Address]) -> Vec<Entry> {
    recipients
        .iter()
        .map(|recipient| Entry {
            at,
            recipient: Some(recipient.clone()),
            step: Step::Reported(what.to_owned()),
        })
        .collect()
}

async fn report_success(office: &Arc<Office>, row: &Row, success: &Success) -> Result<(), Refusal> {
    let Ok(sender) = Address::parse(&success.sender) else { return forget(office, row).await };
    let (action, what, status) = match success.relayed {
        true => (Action::Relayed, "relayed", EnhancedStatus(2, 0, 0)),
        false => (Action::Delivered, "delivered", EnhancedStatus(2, 1, 5)),
    };
    let recipients: Vec<(Address, Option<&str>)> = success
        .recipients
        .iter()
        .filter_map(|(text, orcpt)| Some((Address::parse(text).ok()?, orcpt.as_deref())))
        .collect();
    let reports: Vec<RecipientReport<'_>> = recipients
        .iter()
        .map(|(address, orcpt)| RecipientReport {
            address,
            orcpt: *orcpt,
            action,
            status,
            diagnostic: success.reply.as_deref(),
            remote_mta: success.remote_mta.as_deref(),
            last_attempt: Some(Timestamp::from_millis(success.at)),
            retry_until: None,
            attempts: 0,
            alternatives: &[],
        })
        .collect();
    let about = About {
        letter: row.letter,
        sender: &sender,
        arrival: Timestamp::from_millis(success.arrival),
        envid: success.envid.as_deref(),
        header: &success.header,
    };
    let Some(content) = notify::write(office, &about, &reports, None, None) else {
        return forget(office, row).await;
    };
    let addresses: Vec<Address> = recipients.iter().map(|(address, _)| address.clone()).collect();
    let entries = reported(what, office.clock.now(), &addresses);
    let mut told = Batch::new();
    timeline::ride(office, row.letter, &entries, &mut told);
    crate::flow::house_report(office, sender, &content, end(row), told).await
}

/// Looks whether the letter still waits, and tells its sender.
async fn look(office: &Arc<Office>, row: &Row, watch: &Watch) -> Result<(), Refusal> {
    let Some(waiting) = queue::waiting_recipients(office, row.letter).await? else {
        return forget(office, row).await;
    };
    let now = office.clock.now();
    let is_due = |at: u64| Timestamp::from_millis(at) <= now;
    let (late, delay) = (
        watch.late.as_ref().filter(|late| is_due(late.at)),
        watch.delay_at.filter(|at| is_due(*at)),
    );
    let mut also = end(row);
    // The letter's row: were a recipient settled meanwhile, nothing of this would be kept, and the
    // sender would not hear of a delay after the arrival.
    also.extend(waiting.unchanged.clone());
    let left = Watch {
        late: watch.late.clone().filter(|_| late.is_none()),
        delay_at: watch.delay_at.filter(|_| delay.is_none()),
    };
    if let Some(next) = left.next() {
        put(office, next, row.letter, &Promise::Watch(left), &mut also);
    }
    let concerned: Vec<&Recipient> = waiting
        .recipients
        .iter()
        .filter(|one| notify::wants(one.parameters.notify, Action::Delayed))
        .collect();
    let sender = waiting.letter.reverse_path.address();
    let (Some(sender), false) = (sender, concerned.is_empty()) else {
        commit(office, also).await?;
        if let Some(late) = late.filter(|_| !waiting.recipients.is_empty()) {
            tell_late(office, row.letter, late);
        }
        return Ok(());
    };
    let late = late
        .map(|late| Late { class: &late.class, within: Duration::from_secs(late.within_seconds) });
    let content = delay_notice(office, row.letter, &waiting, sender, &concerned, late).await?;
    let what = if late.is_some() { "late" } else { "delayed" };
    let addresses: Vec<Address> = concerned.iter().map(|one| one.address.clone()).collect();
    let mut told = Batch::new();
    timeline::ride(office, row.letter, &reported(what, now, &addresses), &mut told);
    tracing::info!(letter = %row.letter, what, recipients = addresses.len(), "a sender is told");
    crate::flow::house_report(office, sender.clone(), &content, also, told).await
}

/// The sender did not want to hear of it; somebody must.
fn tell_late(office: &Arc<Office>, letter: QueueId, late: &LateAt) {
    let text = format!(
        "The letter {letter} has not met its service level (documents of type {}, {} seconds), and \
         its sender does not want notices. `vaguemestre trace {letter}` shows where it is.",
        late.class, late.within_seconds
    );
    alerts::raise(office, LATE, &text);
}

async fn delay_notice(
    office: &Arc<Office>,
    letter: QueueId,
    waiting: &Waiting,
    sender: &Address,
    concerned: &[&Recipient],
    late: Option<Late<'_>>,
) -> Result<Vec<u8>, Refusal> {
    let entries = timeline::read(office, letter).await?;
    let arrival = waiting.letter.accepted_at;
    let until = arrival.after(office.config.queue.give_up);
    let held = held(office, letter).await?;
    let mut tried = Vec::with_capacity(concerned.len());
    for recipient in concerned {
        let last = last_attempt(&entries, &recipient.address);
        let status = last.map(|(_, attempt)| attempt.enhanced);
        let others = alternatives::of(office, &recipient.address, status).await;
        tried.push((last, others));
    }
    let reports: Vec<RecipientReport<'_>> = concerned
        .iter()
        .zip(&tried)
        .map(|(recipient, (last, others))| {
            let attempt = last.map(|(_, attempt)| attempt);
            RecipientReport {
                address: &recipient.address,
                orcpt: recipient.parameters.orcpt.as_deref(),
                action: Action::Delayed,
                status: notify::delay_status(attempt.map(|attempt| attempt.enhanced)),
                diagnostic: attempt.map(|attempt| attempt.reply.as_str()),
                remote_mta: attempt
                    .filter(|attempt| !attempt.address.is_empty())
                    .map(|attempt| notify::host_name(&attempt.host)),
                last_attempt: last.map(|(at, _)| at),
                // Nobody tries what is on hold.
                retry_until: (!held.contains(&recipient.address)).then_some(until),
                attempts: attempt.map_or(0, |attempt| attempt.number),
                alternatives: others,
            }
        })
        .collect();
    let header = header_section(office, waiting).await;
    let about = About {
        letter,
        sender,
        arrival,
        envid: waiting.letter.parameters.envid.as_deref(),
        header: &header,
    };
    // Our own host name is an address's domain: checked with the configuration.
    notify::write(office, &about, &reports, late, None).ok_or(Refusal::DependencyFailed)
}

/// The recipients of a letter for whom it is on hold, alone or with its whole domain.
async fn held(office: &Office, letter: QueueId) -> Result<Vec<Address>, Refusal> {
    let target = Some(Target::Letter(letter));
    let filter = Filter { target, held: false, limit: usize::MAX };
    let rows = queue::list(office, &filter).await?;
    let is_held =
        |row: &QueueRow| matches!(row.state, RowState::Held { .. } | RowState::LaneHeld { .. });
    Ok(rows.into_iter().filter(is_held).filter_map(|row| row.recipient).collect())
}

fn last_attempt<'a>(entries: &'a [Entry], recipient: &Address) -> Option<(Timestamp, &'a Attempt)> {
    entries.iter().rev().find_map(|entry| match &entry.step {
        Step::Attempt(attempt)
            if entry.recipient.as_ref() == Some(recipient)
                && attempt.status == DeliveryStatus::Deferred =>
        {
            Some((entry.at, attempt.as_ref()))
        }
        _ => None,
    })
}

/// The letter's header section, or nothing when it cannot be opened now: the notice matters more.
async fn header_section(office: &Office, waiting: &Waiting) -> Vec<u8> {
    let letter = &waiting.letter;
    let Ok(_room) = office.clear_memory.reserve(letter.size.saturating_mul(2)).await else {
        return Vec::new();
    };
    let Ok(ciphertext) = office.blobs.read(letter.blob).await else { return Vec::new() };
    let opened = office
        .spool_keys
        .unwrap(&letter.sealed_key)
        .and_then(|key| office.spool_keys.open(&key, &ciphertext));
    let Ok(clear) = opened else { return Vec::new() };
    let skip = usize::try_from(letter.return_path_octets).unwrap_or(0);
    let travels = clear.expose().get(skip..).unwrap_or_default();
    let end = travels.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    notify::bounded_header(&travels[..end.unwrap_or(travels.len())]).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_looks_for_what_comes_first() {
        let late = |at| LateAt { at, class: "*".to_owned(), within_seconds: 1 };
        for (late, delay_at, next) in [
            (Some(late(5)), Some(9), Some(5)),
            (Some(late(9)), Some(5), Some(5)),
            (None, Some(9), Some(9)),
            (None, None, None),
        ] {
            let watch = Watch { late, delay_at };
            assert_eq!(watch.next(), next.map(Timestamp::from_millis));
        }
    }

    #[test]
    fn a_promises_key_says_when_and_about_which_letter() {
        let letter = QueueId::from_bytes([7; 16]);
        let early = rows::key(Timestamp::from_millis(5), letter);
        let late = rows::key(Timestamp::from_millis(500), letter);
        assert!(early < late);
        let due = rows::due_of(&late).unwrap();
        assert_eq!((due.at, due.letter), (Timestamp::from_millis(500), letter));
        assert!(rows::due_of(b"W/short").is_none());
    }
}
