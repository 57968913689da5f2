//! Other operators' certificates, as they were shown to us.
//!
//! One row for each certificate and direction, written when it is new and then once a day: the
//! row says "last seen on", and who talks to us all day must not cost a commit a connection.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::digest::Context;
use aws_lc_rs::digest::SHA256;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::certificate::CertificateFacts;
use crate::domain::limits;
use crate::domain::operator::OperatorDn;
use crate::domain::time::Timestamp;
use crate::flow::certificates::change::Waiting;
use crate::flow::office::Office;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::StoreError;
use crate::infra::store::row;

/// Rows `C/<i or o>/<SHA-256 of issuer, serial and subject>` -> certificate.
const CERTIFICATES: &[u8] = b"C/";
const FORMAT: u8 = 1;
/// "Last seen" is as exact as this.
const WRITTEN_EVERY: Duration = Duration::from_secs(86_400);
/// A certificate that ended so long ago, or was not seen for so long, is forgotten.
const ENDED_FOR: Duration = Duration::from_secs(90 * 86_400);
const UNSEEN_FOR: Duration = Duration::from_secs(400 * 86_400);

/// Who showed the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// A client that called us.
    In,
    /// A server that we called.
    Out,
}

impl Direction {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    const fn letter(self) -> u8 {
        match self {
            Self::In => b'i',
            Self::Out => b'o',
        }
    }
}

/// What is remembered between two questions.
#[derive(Default)]
pub struct Book {
    /// Key of the row -> when it was last written.
    written: Mutex<HashMap<Vec<u8>, Timestamp>>,
    /// New files that wait for a decision.
    pub(super) waiting: Mutex<Vec<Waiting>>,
    /// Why the last reload failed.
    pub(super) trouble: Mutex<Option<String>>,
    /// One reload at a time.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// What was said of which certificate, and on which day.
    pub(super) said: Mutex<HashMap<String, u64>>,
}

impl Book {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A certificate of another operator, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The certificate.
    pub facts: CertificateFacts,
    /// Who showed it.
    pub direction: Direction,
    /// When, to the day.
    pub last: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Row {
    subject: Vec<(String, String)>,
    issuer: Vec<(String, String)>,
    serial: String,
    not_before: u64,
    not_after: u64,
    last: u64,
}

/// Notes that this certificate of another operator was shown just now. Call it once a connection,
/// after its path was verified: an authority of ours stands behind each row, so strangers cannot
/// fill the book. Does not wait; mostly it is one look into a table in memory.
pub fn seen(office: &Office, facts: &CertificateFacts, direction: Direction) {
    let now = office.clock.now();
    let key = key(facts, direction);
    {
        let mut written =
            office.certificates.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&key) {
            Some(last) if now.since(*last) < WRITTEN_EVERY => return,
            None if written.len() >= limits::CERTIFICATES_SEEN_MAX => {
                tracing::warn!(
                    subject = %facts.subject,
                    "the book of certificates is full; this one is not noted"
                );
                return;
            }
            _ => written.insert(key.clone(), now),
        };
    }
    let row = Row {
        subject: facts.subject.pairs().to_vec(),
        issuer: facts.issuer.pairs().to_vec(),
        serial: facts.serial.clone(),
        not_before: facts.not_before.as_millis(),
        not_after: facts.not_after.as_millis(),
        last: now.as_millis(),
    };
    let mut batch = Batch::new();
    batch.put(key, row::encode(FORMAT, &row));
    // Nobody waits for it: a lost row is written again tomorrow.
    drop(office.store.submit(batch));
}

/// Takes over what an earlier run has written, and forgets what is long over. To be called once,
/// soon after the start.
///
/// # Errors
/// [`StoreError`] when the store does not answer.
pub async fn load(office: &Office) -> Result<(), StoreError> {
    let now = office.clock.now();
    let mut batch = Batch::new();
    for (key, seen) in rows(office).await? {
        if now.since(seen.facts.not_after) > ENDED_FOR || now.since(seen.last) > UNSEEN_FOR {
            batch.delete(key);
        } else {
            let book = &office.certificates;
            let mut written = book.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.entry(key).or_insert(seen.last);
        }
    }
    if !batch.writes.is_empty() {
        tracing::info!(certificates = batch.writes.len(), "certificates that are over, forgotten");
        drop(office.store.submit(batch));
    }
    Ok(())
}

/// Every certificate of another operator that is in the book.
pub(super) async fn all(office: &Office) -> Result<Vec<Seen>, StoreError> {
    Ok(rows(office).await?.into_iter().map(|(_, seen)| seen).collect())
}

async fn rows(office: &Office) -> Result<Vec<(Vec<u8>, Seen)>, StoreError> {
    let mut found = Vec::new();
    let mut range = store::prefix(CERTIFICATES);
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
        for (key, versioned) in &page.rows {
            // One bad row must not silence the alarms of all others.
            match read(key, &versioned.value) {
                Some(seen) => found.push((key.to_vec(), seen)),
                None => tracing::warn!(
                    row = %String::from_utf8_lossy(&key[..key.len().min(CERTIFICATES.len() + 1)]),
                    "a certificate that was seen cannot be read and is left out"
                ),
            }
        }
        match page.rows.last() {
            // The smallest key behind this one.
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(found),
        }
    }
}

fn read(key: &[u8], value: &[u8]) -> Option<Seen> {
    let direction = match key.get(CERTIFICATES.len())? {
        b'i' => Direction::In,
        b'o' => Direction::Out,
        _ => return None,
    };
    let row: Row = row::decode(FORMAT, value)?;
    let facts = CertificateFacts {
        subject: OperatorDn::new(row.subject),
        issuer: OperatorDn::new(row.issuer),
        serial: row.serial,
        not_before: Timestamp::from_millis(row.not_before),
        not_after: Timestamp::from_millis(row.not_after),
    };
    Some(Seen { facts, direction, last: Timestamp::from_millis(row.last) })
}

/// An issuer gives each serial number once; the subject is there for authorities that do not.
fn key(facts: &CertificateFacts, direction: Direction) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for name in [&facts.issuer, &facts.subject] {
        for (attribute, value) in name.pairs() {
            for text in [attribute, value] {
                digest.update(&(text.len() as u64).to_be_bytes());
                digest.update(text.as_bytes());
            }
        }
        // A name cannot be this long, so here one ends.
        digest.update(&u64::MAX.to_be_bytes());
    }
    digest.update(facts.serial.as_bytes());
    let mut key = CERTIFICATES.to_vec();
    key.extend([direction.letter(), b'/']);
    key.extend(digest.finish().as_ref());
    key
}
