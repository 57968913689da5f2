//! Station 5, queue: when it has committed, the letter is ours to deliver.
//!
//! | key | value |
//! |---|---|
//! | `Q/m/<queue id>` | the letter: sealed reverse path, blob, sealed content key, who still waits |
//! | `Q/r/<queue id><number>` | one recipient: sealed address and wishes, attempts, lease |
//! | `Q/d/<due><queue id><number>` | when it is due |
//!
//! A row is leased with an epoch: the result of an attempt commits only on the version that the
//! lease wrote, so a slow or dead attempt can never deliver behind another's back.
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::QueueId;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::mailbox;
use crate::flow::mailbox::Deposit;
use crate::flow::mailbox::Placed;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::blobs::StagedBlob;

use rows::LetterRow;
use rows::RecipientRow;

/// When a damaged row is looked at again.
const DAMAGED_AGAIN: Duration = Duration::from_secs(6 * 3_600);

/// A sealed letter whose content is on the shelf (or rides in the commit); not durable yet.
pub struct Prepared {
    sealed: Sealed,
    staged: StagedBlob,
}

/// A letter that is durable. Only [`commit`] makes one.
#[derive(Debug)]
pub struct Queued {
    queue_id: QueueId,
    placed: Vec<Placed>,
}

/// One recipient whose letter waits, for tables.
#[derive(Clone, Debug)]
pub struct QueueRow {
    /// The letter.
    pub queue_id: QueueId,
    /// For whom. `Debug` masks a patient; never print its `Display`.
    pub recipient: Address,
    /// The recipient's domain.
    pub next_hop: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt: Timestamp,
    /// When the letter was taken in.
    pub accepted_at: Timestamp,
    /// Octets in clear.
    pub size: u64,
    /// What the next operator, or our own diagnosis, said last.
    pub last_reply: String,
}

/// A letter of which at least one recipient is due.
#[derive(Clone, Debug)]
pub struct Due {
    queue_id: QueueId,
    numbers: Vec<(u16, Timestamp)>,
    domains: Vec<String>,
}

/// A letter leased to one attempt.
#[derive(Clone)]
pub struct Claimed {
    queue_id: QueueId,
    letter: Letter,
    recipients: Vec<ClaimedRecipient>,
    lease_until: Timestamp,
}

/// What an attempt must know of a letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The sender.
    pub reverse_path: ReversePath,
    /// What the sender asked for.
    pub parameters: MailParameters,
    /// The sealed content.
    pub blob: BlobId,
    /// The content key, sealed for the spool.
    pub sealed_key: Vec<u8>,
    /// Octets at the beginning of the content that do not travel on.
    pub return_path_octets: u64,
    /// Octets in clear.
    pub size: u64,
    /// When it was taken in.
    pub accepted_at: Timestamp,
    /// Our domain for which it counts.
    pub domain: String,
    /// Kind of the mailbox that sent it.
    pub mailbox_kind: Option<MailboxKind>,
    /// A report.
    pub automatic: bool,
}

/// One leased recipient.
#[derive(Clone, Debug)]
pub struct ClaimedRecipient {
    /// Its number in the letter.
    pub number: u16,
    /// Who.
    pub recipient: Recipient,
    /// Attempts so far, this one included.
    pub attempts: u32,
    version: Version,
}

/// What an attempt decides about one recipient.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Done, well or for good: the row goes.
    Finished,
    /// Try again then; the reply is kept for tables.
    Again(Timestamp, String),
}

/// Puts the content on the shelf. A large one is on disk when this returns.
pub async fn prepare(office: &Office, sealed: Sealed) -> Result<Prepared, Refusal> {
    let staged = office
        .blobs
        .stage(sealed.blob(), sealed.ciphertext().clone())
        .await
        .map_err(|error| refusal_of(&error))?;
    Ok(Prepared { sealed, staged })
}

/// One durable commit: rows for the recipients elsewhere, deposits for those here, and
/// whatever `also` adds (facts, exchanges, the end of an older letter).
pub async fn commit(
    office: &Office,
    prepared: Prepared,
    elsewhere: &[Recipient],
    deposits: &[Deposit],
    mut also: impl FnMut(&Sealed, &[bool], &mut Batch),
) -> Result<Queued, Refusal> {
    let queue_id = prepared.sealed.queue_id();
    let mut is_named = false;
    let outcome = office
        .mailboxes
        .commit(deposits, |fresh| {
            let mut batch = Batch::new();
            let here = fresh.iter().filter(|fresh| **fresh).count();
            let references =
                u32::try_from(here).unwrap_or(u32::MAX) + u32::from(!elsewhere.is_empty());
            is_named = references > 0;
            if is_named {
                prepared.staged.ride(&mut batch, references);
            }
            if !elsewhere.is_empty() {
                enqueue(office, &prepared.sealed, elsewhere, &mut batch);
            }
            also(&prepared.sealed, fresh, &mut batch);
            Ok(batch)
        })
        .await;
    if outcome.is_err() || !is_named {
        // No row names the content: a large one must not stay on the disk.
        office.blobs.discard(prepared.staged).await;
    }
    let placed = outcome.map_err(|error| {
        tracing::error!(%error, letter = %queue_id, "a letter could not be committed");
        mailbox::commit_refusal(&error)
    })?;
    if !elsewhere.is_empty() {
        office.queue_bell.notify_one();
    }
    Ok(Queued { queue_id, placed })
}

fn enqueue(office: &Office, sealed: &Sealed, elsewhere: &[Recipient], batch: &mut Batch) {
    let id = sealed.queue_id();
    let due = sealed.accepted_at();
    let account = sealed.cleared().authenticated().account();
    let row = LetterRow::new(office, sealed, account, elsewhere.len());
    batch.require_absent(rows::letter_key(id));
    batch.put(rows::letter_key(id), rows::encode(&row));
    for (number, recipient) in elsewhere.iter().enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let row = RecipientRow::new(office, id, number, recipient, due);
        let domain = recipient.address.domain().as_str().as_bytes().to_vec();
        batch.put(rows::recipient_key(id, number), rows::encode(&row));
        batch.put(rows::due_key(due, id, number), domain);
    }
}

impl Prepared {
    /// The letter.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

impl Queued {
    /// The text of the reply that takes responsibility (RFC 5321 §6.1), without code:
    /// `Queued as 0192…`. Only a committed letter can say it.
    pub fn reply(&self) -> String {
        format!("Queued as {}", self.queue_id)
    }

    /// The letter's correlation id.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// Where it lies in mailboxes here, in the order of the deposits.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }
}

/// At the start no attempt runs, so no lease of an earlier life is worth anything.
pub async fn recover(office: &Office) -> Result<usize, Refusal> {
    let now = office.clock.now();
    let mut freed = 0;
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = scan(office, range.clone()).await?;
        let mut batch = Batch::new();
        for (key, versioned) in &page.rows {
            let (Some((id, number)), Some(mut row)) =
                (rows::recipient_of(key), rows::decode::<RecipientRow>(&versioned.value))
            else {
                continue;
            };
            if row.leased {
                batch.delete(rows::due_key(Timestamp::from_millis(row.due), id, number));
                // A letter that ends the process each time it is tried must not do so at once.
                let patience = retry_after_crash(office, row.attempts);
                let due = now.after(patience);
                let domain = row.open(office, id, number).map(|r| r.address.domain().to_string());
                row.leased = false;
                row.due = due.as_millis();
                batch.put(key.to_vec(), rows::encode(&row));
                batch.put(rows::due_key(due, id, number), domain.unwrap_or_default().into_bytes());
                freed += 1;
            }
        }
        if !batch.writes.is_empty() {
            office.store.commit(batch).await.map_err(|error| mailbox::commit_refusal(&error))?;
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(freed),
        }
    }
}

/// The first few interrupted attempts are tried again at once, later ones as the schedule says.
fn retry_after_crash(office: &Office, attempts: u32) -> Duration {
    let queue = &office.config.queue;
    match attempts {
        0..=5 => Duration::ZERO,
        _ => {
            next_attempt(&queue.retry, queue.give_up, attempts, Duration::ZERO).unwrap_or_default()
        }
    }
}

/// Letters due now, oldest first, at most `letters`, and when the next one will be. Domains for
/// which `skip` answers true are passed over, so that they cannot hide the others.
pub async fn due(
    office: &Office,
    now: Timestamp,
    letters: usize,
    skip: impl Fn(&str) -> bool,
) -> Result<(Vec<Due>, Option<Timestamp>), Refusal> {
    let mut found: BTreeMap<QueueId, Due> = BTreeMap::new();
    let mut range = store::prefix(rows::DUE);
    if letters == 0 {
        return Ok((Vec::new(), None));
    }
    loop {
        let page = scan(office, range.clone()).await?;
        for (key, versioned) in &page.rows {
            let Some((at, queue_id, number)) = rows::due_of(key) else { continue };
            if at > now {
                return Ok((found.into_values().collect(), Some(at)));
            }
            let domain = String::from_utf8_lossy(&versioned.value);
            if skip(&domain) {
                continue;
            }
            if found.len() >= letters && !found.contains_key(&queue_id) {
                return Ok((found.into_values().collect(), Some(now)));
            }
            let letter = found.entry(queue_id).or_insert_with(|| Due::new(queue_id));
            letter.numbers.push((number, at));
            if !letter.domains.iter().any(|known| *known == domain) {
                letter.domains.push(domain.into_owned());
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => break,
        }
    }
    Ok((found.into_values().collect(), None))
}

impl Due {
    fn new(queue_id: QueueId) -> Self {
        Self { queue_id, numbers: Vec::new(), domains: Vec::new() }
    }

    /// The domains of the recipients that are due.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }
}

/// Leases the due recipients of a letter; `None` when somebody else was faster.
pub async fn claim(office: &Office, due: &Due, now: Timestamp) -> Result<Option<Claimed>, Refusal> {
    let id = due.queue_id;
    let lease_until = now.after(limits::LEASE);
    let row = office.store.get(&rows::letter_key(id)).await.map_err(|e| refusal_of(&e))?;
    let letter = row.as_ref().and_then(|row| rows::decode::<LetterRow>(&row.value));
    let letter = letter.and_then(|row| row.open(office, id));
    let mut batch = Batch::new();
    let mut recipients = Vec::with_capacity(due.numbers.len());
    for (number, at) in &due.numbers {
        let mark = rows::due_key(*at, id, *number);
        let key = rows::recipient_key(id, *number);
        let Some(row) = office.store.get(&key).await.map_err(|error| refusal_of(&error))? else {
            // A mark without its row: the recipient is settled.
            batch.delete(mark);
            continue;
        };
        let decoded = rows::decode::<RecipientRow>(&row.value);
        if decoded.as_ref().is_some_and(|decoded| decoded.due != at.as_millis()) {
            // An older mark of a row that is due at another time: it must not steal a lease.
            batch.delete(mark);
            continue;
        }
        let opened = decoded.and_then(|row| Some((row.open(office, id, *number)?, row)));
        let (Some((recipient, mut decoded)), Some(_)) = (opened, &letter) else {
            // Kept for a human; looked at again much later, so that it hides nobody.
            tracing::error!(letter = %id, number, "a waiting letter is damaged");
            batch.delete(mark);
            batch.put(rows::due_key(now.after(DAMAGED_AGAIN), id, *number), Vec::new());
            continue;
        };
        batch.require_at(key.clone(), row.version);
        batch.delete(mark);
        // Counted now: an attempt that ends with the process was one, too.
        decoded.attempts += 1;
        decoded.leased = true;
        decoded.due = lease_until.as_millis();
        let attempts = decoded.attempts;
        batch.put(key, rows::encode(&decoded));
        let domain = recipient.address.domain().as_str().as_bytes().to_vec();
        batch.put(rows::due_key(lease_until, id, *number), domain);
        let version = Version(row.version.0 + 1);
        recipients.push(ClaimedRecipient { number: *number, recipient, attempts, version });
    }
    match office.store.commit(batch).await {
        Ok(()) => {}
        Err(CommitError::Conflict) => return Ok(None),
        Err(error) => return Err(mailbox::commit_refusal(&error)),
    }
    Ok(letter.filter(|_| !recipients.is_empty()).map(|letter| Claimed {
        queue_id: id,
        letter,
        recipients,
        lease_until,
    }))
}

/// True while the rows of these recipients are as the lease left them.
pub async fn holds(office: &Office, claimed: &Claimed, settlements: &[(u16, Settlement)]) -> bool {
    for recipient in &claimed.recipients {
        if !settlements.iter().any(|(number, _)| *number == recipient.number) {
            continue;
        }
        let key = rows::recipient_key(claimed.queue_id, recipient.number);
        match office.store.get(&key).await {
            Ok(Some(row)) if row.version == recipient.version => {}
            Ok(_) => return false,
            // Unknown is not lost: the caller asks again.
            Err(_) => {}
        }
    }
    true
}

/// The writes that end an attempt. They commit only if the lease still holds.
pub struct Settled {
    /// Preconditions and writes.
    pub batch: Batch,
    /// What to sweep after the commit.
    pub released: Option<store::blobs::Released>,
}

/// Prepares the end of an attempt for some of its recipients.
pub async fn settle(
    office: &Office,
    claimed: &Claimed,
    settlements: &[(u16, Settlement)],
) -> Result<Settled, Refusal> {
    let id = claimed.queue_id;
    let mut batch = Batch::new();
    let mut finished = 0;
    for (number, settlement) in settlements {
        let Some(recipient) = claimed.recipients.iter().find(|each| each.number == *number) else {
            continue;
        };
        let key = rows::recipient_key(id, *number);
        batch.require_at(key.clone(), recipient.version);
        batch.delete(rows::due_key(claimed.lease_until, id, *number));
        match settlement {
            Settlement::Finished => {
                batch.delete(key);
                finished += 1;
            }
            Settlement::Again(at, reply) => {
                let mut row = RecipientRow::new(office, id, *number, &recipient.recipient, *at);
                row.attempts = recipient.attempts;
                row.keep_reply(office, id, *number, reply);
                batch.put(key, rows::encode(&row));
                let domain = recipient.recipient.address.domain().as_str().as_bytes().to_vec();
                batch.put(rows::due_key(*at, id, *number), domain);
            }
        }
    }
    let released =
        if finished > 0 { finish(office, id, finished, &mut batch).await? } else { None };
    Ok(Settled { batch, released })
}

/// Counts recipients off the letter; the last one takes letter and content with it.
async fn finish(
    office: &Office,
    id: QueueId,
    finished: u32,
    batch: &mut Batch,
) -> Result<Option<store::blobs::Released>, Refusal> {
    let key = rows::letter_key(id);
    let row = office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
    let Some(row) = row else { return Ok(None) };
    let Some(mut letter) = rows::decode::<LetterRow>(&row.value) else {
        return Err(Refusal::StoreFailed);
    };
    batch.require_at(key.clone(), row.version);
    if letter.waiting > finished {
        letter.waiting -= finished;
        batch.put(key, rows::encode(&letter));
        return Ok(None);
    }
    batch.delete(key);
    let blob = BlobId::from_bytes(letter.blob);
    office.blobs.release(blob, 1, batch).await.map(Some).map_err(|error| refusal_of(&error))
}

/// When to try again after `attempts` vain attempts; a pure function. `None`: give up.
pub fn next_attempt(
    retry: &[Duration],
    give_up: Duration,
    attempts: u32,
    age: Duration,
) -> Option<Duration> {
    if age >= give_up {
        return None;
    }
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = retry.get(place).or(retry.last()).copied().unwrap_or(Duration::from_secs(900));
    // Otherwise a letter would wait past its end before anybody is told.
    Some(wait.min(give_up.saturating_sub(age).max(Duration::from_secs(1))))
}

/// How many rows wait, and since when the oldest, for the gauges.
pub async fn waiting(office: &Office) -> Result<(u64, Option<Timestamp>), Refusal> {
    let mut count = 0;
    let mut oldest = None;
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = scan(office, range.clone()).await?;
        count += page.rows.len() as u64;
        if let (None, Some((key, _))) = (oldest, page.rows.first()) {
            // The id is a UUIDv7: its first octets are the time, so the first row is the oldest.
            oldest = rows::recipient_of(key).map(|(id, _)| taken_in_at(id));
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok((count, oldest)),
        }
    }
}

/// RFC 9562 §5.7: the first 48 bits of a UUIDv7 are milliseconds since 1970.
fn taken_in_at(id: QueueId) -> Timestamp {
    let milliseconds = id.as_bytes()[..6].iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    Timestamp::from_millis(milliseconds)
}

/// A letter that waits, and for whom.
pub struct Waiting {
    /// The letter.
    pub letter: Letter,
    /// Those who still wait, attempts under way included.
    pub recipients: Vec<Recipient>,
    /// Holds as long as no recipient of the letter comes to an end.
    pub unchanged: Batch,
}

/// The recipients of a letter that still wait; `None` when the letter is gone.
pub async fn waiting_recipients(office: &Office, id: QueueId) -> Result<Option<Waiting>, Refusal> {
    let key = rows::letter_key(id);
    let row = office.store.get(&key).await.map_err(|error| refusal_of(&error))?;
    let Some(row) = row else { return Ok(None) };
    let letter = rows::decode::<LetterRow>(&row.value).and_then(|letter| letter.open(office, id));
    let Some(letter) = letter else { return Ok(None) };
    let mut unchanged = Batch::new();
    unchanged.require_at(key, row.version);
    let page = scan(office, store::prefix(&rows::recipients_prefix(id))).await?;
    let recipients = page
        .rows
        .iter()
        .filter_map(|(key, row)| {
            let (_, number) = rows::recipient_of(key)?;
            rows::decode::<RecipientRow>(&row.value)?.open(office, id, number)
        })
        .collect();
    Ok(Some(Waiting { letter, recipients, unchanged }))
}

/// Everything that waits, for tables.
pub async fn list(office: &Office) -> Result<Vec<QueueRow>, Refusal> {
    let mut list = Vec::new();
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = scan(office, range.clone()).await?;
        for (key, versioned) in &page.rows {
            let Some((id, number)) = rows::recipient_of(key) else { continue };
            let Some(row) = rows::decode::<RecipientRow>(&versioned.value) else { continue };
            let letter =
                office.store.get(&rows::letter_key(id)).await.map_err(|e| refusal_of(&e))?;
            let letter = letter.and_then(|row| rows::decode::<LetterRow>(&row.value));
            let (Some(recipient), Some(letter)) = (row.open(office, id, number), letter) else {
                continue;
            };
            list.push(QueueRow {
                queue_id: id,
                next_hop: recipient.address.domain().to_string(),
                recipient: recipient.address,
                attempts: row.attempts,
                next_attempt: Timestamp::from_millis(row.due),
                accepted_at: Timestamp::from_millis(letter.accepted_at),
                size: letter.size,
                last_reply: row.reply(office, id, number),
            });
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(list),
        }
    }
}

impl Claimed {
    /// Which letter.
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// What it is.
    pub fn letter(&self) -> &Letter {
        &self.letter
    }

    /// When another attempt may take it.
    pub fn lease_until(&self) -> Timestamp {
        self.lease_until
    }

    /// For whom this attempt is.
    pub fn recipients(&self) -> &[ClaimedRecipient] {
        &self.recipients
    }
}

async fn scan(office: &Office, range: std::ops::Range<Vec<u8>>) -> Result<store::Page, Refusal> {
    office.store.scan(range, limits::SCAN_ROWS_MAX).await.map_err(|error| refusal_of(&error))
}

fn refusal_of(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the queue cannot read or write");
    match error {
        StoreError::Full => Refusal::StoreFull,
        _ => Refusal::StoreFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_schedule_waits_longer_and_longer_then_gives_up() {
        let retry = [MINUTE, 5 * MINUTE, 30 * MINUTE];
        let at = |attempts, age| next_attempt(&retry, 100 * MINUTE, attempts, age);
        assert_eq!(at(1, Duration::ZERO), Some(MINUTE));
        assert_eq!(at(2, MINUTE), Some(5 * MINUTE));
        assert_eq!(at(9, 60 * MINUTE), Some(30 * MINUTE));
        assert_eq!(at(10, 90 * MINUTE), Some(10 * MINUTE));
        assert_eq!(at(11, 100 * MINUTE), None);
    }
}
