//! What became of each letter, step by step: the answer to "where is my letter?".
//!
//! Entries are sealed with the spool's keys: they name people. They ride in the commit of what
//! they tell.
//!
//! | key | value |
//! |---|---|
//! | `Y/<queue id><UUIDv7>` | entries, sealed; the first row of a letter also holds the hash below |
//! | `y/<keyed hash of the Message-ID><queue id>` | empty |
//!
//! A queue id begins with its time, so the oldest timelines come first and are swept first.
mod arrivals; // what comes back about a letter: reports, receipts, a patient who reads
mod intake; // the first entry of each letter
mod rows;

use bytes::Bytes;

use crate::domain::address::Address;
use crate::domain::certificate::CertificateFacts;
use crate::domain::decision::SessionId;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::StoreError;
use crate::infra::store::Versioned;

pub use arrivals::hear;
pub use arrivals::read_on_page;
pub use intake::taken_in;

/// One thing that happened to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// To which recipient; `None` for the whole letter. Never print its `Display` unmasked.
    pub recipient: Option<Address>,
    /// What.
    pub step: Step,
}

/// What can happen to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Taken in, sealed and queued: one durable commit.
    Accepted {
        /// Name of the door.
        door: String,
        /// The connection, at the operators' door.
        session: Option<SessionId>,
        /// The other operator's subject, at the operators' door; at the submission door `login as
        /// sender`, when somebody sent with another mailbox's address.
        peer: Option<String>,
        /// Octets in clear.
        size: u64,
        /// Keys it was sealed to.
        keys: u32,
    },
    /// In a mailbox here.
    Delivered,
    /// The mailbox has had this very letter before: nothing was added.
    KnownAlready,
    /// Waits for another operator.
    Queued {
        /// Of this domain.
        domain: String,
    },
    /// Another operator was tried.
    Attempt(Box<Attempt>),
    /// A report of ours went to the sender: `failed`, `delayed`, `delivered`, `relayed`, `late`.
    Reported(String),
    /// A report about the letter came from elsewhere.
    ReportCame {
        /// RFC 3464 §2.3.3.
        action: String,
        /// RFC 3464 §2.3.4.
        status: String,
        /// Who reports.
        reporter: String,
    },
    /// A receipt came (RFC 8098): its disposition.
    ReceiptCame(String),
    /// The recipient opened it on the page.
    ReadOnPage,
    /// An administrator did something.
    Hands {
        /// What.
        action: String,
        /// Who.
        author: String,
        /// Why.
        reason: String,
    },
    /// It broke a worker and was set aside.
    SetAside(String),
    /// Given up without another attempt: an administrator, or its age, decided.
    Ended {
        /// Its code.
        enhanced: EnhancedStatus,
        /// Why, and what was said last.
        reply: String,
    },
    /// An attempt (its number) was cut by a stop or a crash: nobody knows what came of it.
    Cut(u32),
    /// What a filter of the recipient's mailbox did: `answered`, `sent on`, `not sent on: …`.
    Filtered(String),
}

/// One attempt at another operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// The host, as route or DNS name it.
    pub host: String,
    /// Its network address.
    pub address: String,
    /// Its certificate.
    pub certificate: Option<CertificateFacts>,
    /// TLS version and suite.
    pub tls: Option<String>,
    /// What came of it.
    pub status: DeliveryStatus,
    /// Its code.
    pub enhanced: EnhancedStatus,
    /// What the host, or our own diagnosis, said.
    pub reply: String,
    /// What the host called the letter.
    pub remote_id: Option<String>,
    /// When it is tried again.
    pub again_at: Option<Timestamp>,
}

/// A letter and all that happened to it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The letter.
    pub letter: QueueId,
    /// Its timeline.
    pub entries: Vec<Entry>,
}

/// Begins a letter's timeline, and lets it be found by its Message-ID.
pub fn begin(
    office: &Office,
    letter: QueueId,
    message_id: Option<&str>,
    entries: &[Entry],
    batch: &mut Batch,
) {
    let digest = message_id.and_then(|id| digest(office, id));
    if let Some(digest) = &digest {
        batch.put(rows::index_key(digest, letter), Vec::new());
    }
    put(office, letter, digest, entries, batch);
}

/// Adds entries to a batch, so that they are kept exactly when what they tell is.
pub fn ride(office: &Office, letter: QueueId, entries: &[Entry], batch: &mut Batch) {
    put(office, letter, None, entries, batch);
}

/// Adds one entry and does not wait for it: what it tells has happened already.
pub fn note(office: &Office, letter: QueueId, entry: &Entry) {
    let mut batch = Batch::new();
    ride(office, letter, std::slice::from_ref(entry), &mut batch);
    drop(office.store.submit(batch));
}

fn put(
    office: &Office,
    letter: QueueId,
    mut digest: Option<[u8; 32]>,
    entries: &[Entry],
    batch: &mut Batch,
) {
    for stored in rows::pack(entries) {
        let key = rows::fresh_key(letter);
        let value = rows::seal(office, &key, digest.take(), &stored);
        batch.put(key, value);
    }
}

/// Every letter with this Message-ID (with or without angle brackets) or this queue id, oldest
/// first; empty when none is known (any more).
///
/// # Errors
/// [`Refusal::StoreFailed`] when the store does not answer.
pub async fn trace(office: &Office, id: &str) -> Result<Vec<Traced>, Refusal> {
    let id = id.trim();
    let mut letters = letters_of(office, id).await?;
    if let Some(letter) = QueueId::parse(id.trim_matches(['<', '>']))
        && !letters.contains(&letter)
    {
        letters.push(letter);
    }
    let mut traced = Vec::new();
    for letter in letters {
        let entries = read(office, letter).await?;
        if !entries.is_empty() {
            traced.push(Traced { letter, entries });
        }
    }
    Ok(traced)
}

/// Everything that is known of one letter, in order. Of a timeline that is longer than any honest
/// letter's, the beginning and the end.
///
/// # Errors
/// [`Refusal::StoreFailed`] when the store does not answer.
pub async fn read(office: &Office, letter: QueueId) -> Result<Vec<Entry>, Refusal> {
    let mut entries = Vec::new();
    let mut open = |rows: &[(Bytes, Versioned)]| {
        for (key, row) in rows {
            match rows::open(office, key, &row.value) {
                Some(opened) => entries.extend(opened),
                None => tracing::error!(%letter, "a part of a timeline is damaged"),
            }
        }
    };
    let mut range = store::prefix(&rows::letter_prefix(letter));
    for _ in 0..limits::TIMELINE_PAGES_MAX {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await;
        let page = page.map_err(|error| refusal_of(&error))?;
        open(&page.rows);
        match page.rows.last().filter(|_| page.more) {
            Some((last, _)) => range.start = [last.as_ref(), &[0]].concat(),
            None => return Ok(entries),
        }
    }
    tracing::warn!(%letter, "the middle of a very long timeline is left out");
    let page = office.store.scan_back(range, limits::SCAN_ROWS_MAX).await;
    let mut newest = page.map_err(|error| refusal_of(&error))?.rows;
    newest.reverse();
    open(&newest);
    Ok(entries)
}

/// The letters with this Message-ID, oldest first.
async fn letters_of(office: &Office, message_id: &str) -> Result<Vec<QueueId>, Refusal> {
    let Some(digest) = digest(office, message_id) else { return Ok(Vec::new()) };
    let range = store::prefix(&rows::index_prefix(&digest));
    let page = office.store.scan(range, limits::TRACED_LETTERS_MAX).await;
    let page = page.map_err(|error| refusal_of(&error))?;
    Ok(page.rows.iter().filter_map(|(key, _)| rows::indexed_letter(key)).collect())
}

/// Removes timelines of letters that were taken in more than `trace.keep_days` ago, in small
/// batches, oldest first. Answers how many rows went; the rest waits for the next time.
///
/// # Errors
/// [`Refusal::StoreFailed`], or what a failed commit means.
pub async fn sweep(office: &Office) -> Result<usize, Refusal> {
    let now = office.clock.now();
    let mut swept = 0;
    for _ in 0..limits::TIMELINE_SWEEPS_MAX {
        let range = store::prefix(rows::TIMELINES);
        let page = office.store.scan(range, limits::TIMELINE_SWEPT_AT_ONCE).await;
        let page = page.map_err(|error| refusal_of(&error))?;
        let mut batch = Batch::new();
        let mut rows = 0;
        for (key, row) in &page.rows {
            let letter = rows::letter_of(key);
            if letter
                .is_some_and(|letter| now.since(taken_in_at(letter)) <= office.config.trace.keep)
            {
                break;
            }
            if let (Some(letter), Some(stored)) = (letter, rows::decode(&row.value))
                && let Some(digest) = stored.message_id
            {
                batch.delete(rows::index_key(&digest, letter));
            }
            batch.delete(key.to_vec());
            rows += 1;
        }
        if rows == 0 {
            break;
        }
        let commit = office.store.commit(batch).await;
        commit.map_err(|error| crate::flow::mailbox::commit_refusal(&error))?;
        swept += rows;
    }
    Ok(swept)
}

/// RFC 9562 §5.7: the first 48 bits of a UUIDv7 are milliseconds since 1970.
fn taken_in_at(letter: QueueId) -> Timestamp {
    let first = letter.as_bytes().iter().take(6);
    Timestamp::from_millis(first.fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
}

/// A Message-ID says who wrote to whom and when, to those who know its sender's program: only a
/// keyed hash of it lies on disk.
fn digest(office: &Office, message_id: &str) -> Option<[u8; 32]> {
    let id = message_id.trim().trim_start_matches('<').trim_end_matches('>').trim();
    let context: &[u8] = b"message-id/";
    (!id.is_empty()).then(|| office.spool_keys.digest(&[context, id.as_bytes()].concat()))
}

fn refusal_of(error: &StoreError) -> Refusal {
    tracing::error!(%error, "a timeline cannot be read");
    Refusal::StoreFailed
}
