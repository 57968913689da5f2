//! How timelines lie in the store: entries sealed with the spool's keys, because they name people
//! and quote what other operators said.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::certificate::CertificateFacts;
use crate::domain::decision::SessionId;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::operator::OperatorDn;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::timeline::Attempt;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::store::row;

/// All timelines, oldest letter first: a queue id begins with its time.
pub(super) const TIMELINES: &[u8] = b"Y/";
const BY_MESSAGE_ID: &[u8] = b"y/";
const FORMAT: u8 = 1;

/// Recipients that share one stored entry.
const SHARED_BY_MAX: usize = 50;
/// Octets of the entries of one row: a value has at most 64 KiB, and sealing adds a little.
const ROW_OCTETS_MAX: usize = 40_000;
/// Parts of a certificate's name that are kept.
const NAME_PAIRS_MAX: usize = 8;
/// Octets of an entry besides its texts.
const ENTRY_OCTETS: usize = 128;

/// One row.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    /// Where the letter is found by its Message-ID; in its first row only.
    pub(super) message_id: Option<[u8; 32]>,
    pub(super) sealed: Vec<u8>,
}

/// What happened to one recipient, to some in the same way, or (none named) to the whole letter.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredEntry {
    at: u64,
    recipients: Vec<String>,
    step: StoredStep,
}

/// Variants are stored by their place: a new one goes to the end.
#[derive(Serialize, Deserialize)]
enum StoredStep {
    Accepted { door: String, session: Option<[u8; 16]>, peer: Option<String>, size: u64, keys: u32 },
    Delivered,
    Queued { domain: String },
    Attempt(Box<StoredAttempt>),
    Reported(String),
    ReportCame { action: String, status: String, reporter: String },
    ReceiptCame(String),
    ReadOnPage,
    Hands { action: String, author: String, reason: String },
    SetAside(String),
    KnownAlready,
    Ended { enhanced: (u8, u16, u16), reply: String },
    Cut(u32),
    Filtered(String),
}

#[derive(Serialize, Deserialize)]
struct StoredAttempt {
    number: u32,
    host: String,
    address: String,
    certificate: Option<StoredCertificate>,
    tls: Option<String>,
    status: u8,
    enhanced: (u8, u16, u16),
    reply: String,
    remote_id: Option<String>,
    again_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    subject: Vec<(String, String)>,
    issuer: Vec<(String, String)>,
    serial: String,
    not_before: u64,
    not_after: u64,
}

/// Entries as they are stored, in rows that fit. Neighbours that tell the same of several
/// recipients share an entry: a letter to a hundred people costs one row, not a hundred.
pub(super) fn pack(entries: &[Entry]) -> Vec<Vec<StoredEntry>> {
    let mut rows: Vec<Vec<StoredEntry>> = Vec::new();
    let mut octets = 0;
    let mut last: Option<&Entry> = None;
    for entry in entries {
        let recipient = entry.recipient.as_ref().map(Address::to_string);
        let named = recipient.as_ref().map_or(0, |recipient| recipient.len() + 4);
        let is_same = last.is_some_and(|last| {
            last.at == entry.at
                && last.step == entry.step
                && last.recipient.is_some()
                && recipient.is_some()
        });
        let shared = rows.last_mut().and_then(|row| row.last_mut()).filter(|stored| {
            is_same && stored.recipients.len() < SHARED_BY_MAX && octets + named <= ROW_OCTETS_MAX
        });
        last = Some(entry);
        if let (Some(stored), Some(recipient)) = (shared, &recipient) {
            stored.recipients.push(recipient.clone());
            octets += named;
            continue;
        }
        let weight = named + ENTRY_OCTETS + text_octets(&entry.step);
        if rows.is_empty() || octets + weight > ROW_OCTETS_MAX {
            rows.push(Vec::new());
            octets = 0;
        }
        octets += weight;
        if let Some(row) = rows.last_mut() {
            let recipients = recipient.into_iter().collect();
            row.push(StoredEntry {
                at: entry.at.as_millis(),
                recipients,
                step: store(&entry.step),
            });
        }
    }
    rows
}

/// What [`pack`] made, one entry a recipient again.
pub(super) fn unpack(stored: Vec<StoredEntry>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for StoredEntry { at, recipients, step } in stored {
        let at = Timestamp::from_millis(at);
        let step = restore(step);
        if recipients.is_empty() {
            entries.push(Entry { at, recipient: None, step });
            continue;
        }
        for recipient in recipients {
            let recipient = Address::parse(&recipient).ok();
            entries.push(Entry { at, recipient, step: step.clone() });
        }
    }
    entries
}

/// The sealed value of one row under this key.
pub(super) fn seal(
    office: &Office,
    key: &[u8],
    message_id: Option<[u8; 32]>,
    stored: &[StoredEntry],
) -> Vec<u8> {
    let sealed = office.spool_keys.seal_index(&context(key), &row::encode(FORMAT, &stored));
    row::encode(FORMAT, &Row { message_id, sealed })
}

/// Opens a row; `None` when it is damaged.
pub(super) fn open(office: &Office, key: &[u8], value: &[u8]) -> Option<Vec<Entry>> {
    let Row { sealed, .. } = decode(value)?;
    let clear = office.spool_keys.open_index(&context(key), &sealed).ok()?;
    row::decode::<Vec<StoredEntry>>(FORMAT, clear.expose()).map(unpack)
}

pub(super) fn decode(value: &[u8]) -> Option<Row> {
    row::decode(FORMAT, value)
}

/// A key behind all earlier ones of the letter.
pub(super) fn fresh_key(letter: QueueId) -> Vec<u8> {
    [TIMELINES, letter.as_bytes(), uuid::Uuid::now_v7().as_bytes()].concat()
}

pub(super) fn letter_prefix(letter: QueueId) -> Vec<u8> {
    [TIMELINES, letter.as_bytes()].concat()
}

pub(super) fn letter_of(key: &[u8]) -> Option<QueueId> {
    let id = key.strip_prefix(TIMELINES)?.get(..16)?;
    id.try_into().ok().map(QueueId::from_bytes)
}

pub(super) fn index_prefix(digest: &[u8; 32]) -> Vec<u8> {
    [BY_MESSAGE_ID, digest].concat()
}

pub(super) fn index_key(digest: &[u8; 32], letter: QueueId) -> Vec<u8> {
    [BY_MESSAGE_ID, digest, letter.as_bytes()].concat()
}

pub(super) fn indexed_letter(key: &[u8]) -> Option<QueueId> {
    let id = key.strip_prefix(BY_MESSAGE_ID)?.get(32..)?;
    id.try_into().ok().map(QueueId::from_bytes)
}

/// A row that is moved under another key does not open.
fn context(key: &[u8]) -> Vec<u8> {
    [b"timeline/", key].concat()
}

fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(limits::TIMELINE_TEXT_OCTETS_MAX)].to_owned()
}

/// A certificate may be long: what is kept of its names is not.
fn pairs(dn: &OperatorDn) -> Vec<(String, String)> {
    let kept = dn.pairs().iter().take(NAME_PAIRS_MAX);
    kept.map(|(attribute, value)| (clip(attribute), clip(value))).collect()
}

fn text_octets(step: &Step) -> usize {
    let names = |dn: &OperatorDn| pairs(dn).iter().map(|(a, v)| a.len() + v.len()).sum::<usize>();
    match step {
        Step::Attempt(attempt) => {
            let certificate = attempt.certificate.as_ref();
            let names = certificate.map_or(0, |one| names(&one.subject) + names(&one.issuer));
            4 * limits::TIMELINE_TEXT_OCTETS_MAX + names
        }
        Step::Delivered | Step::KnownAlready | Step::ReadOnPage | Step::Cut(_) => 0,
        Step::Queued { domain } => domain.len(),
        _ => 3 * limits::TIMELINE_TEXT_OCTETS_MAX,
    }
}

fn store(step: &Step) -> StoredStep {
    match step {
        Step::Accepted { door, session, peer, size, keys } => StoredStep::Accepted {
            door: clip(door),
            session: session.map(|session| *session.as_bytes()),
            peer: peer.as_deref().map(clip),
            size: *size,
            keys: *keys,
        },
        Step::Delivered => StoredStep::Delivered,
        Step::KnownAlready => StoredStep::KnownAlready,
        Step::Queued { domain } => StoredStep::Queued { domain: clip(domain) },
        Step::Attempt(attempt) => StoredStep::Attempt(Box::new(StoredAttempt {
            number: attempt.number,
            host: clip(&attempt.host),
            address: clip(&attempt.address),
            certificate: attempt.certificate.as_ref().map(|facts| StoredCertificate {
                subject: pairs(&facts.subject),
                issuer: pairs(&facts.issuer),
                serial: clip(&facts.serial),
                not_before: facts.not_before.as_millis(),
                not_after: facts.not_after.as_millis(),
            }),
            tls: attempt.tls.as_deref().map(clip),
            status: match attempt.status {
                DeliveryStatus::Delivered => 0,
                DeliveryStatus::Relayed => 1,
                DeliveryStatus::Deferred => 2,
                DeliveryStatus::Failed => 3,
            },
            enhanced: (attempt.enhanced.0, attempt.enhanced.1, attempt.enhanced.2),
            reply: clip(&attempt.reply),
            remote_id: attempt.remote_id.as_deref().map(clip),
            again_at: attempt.again_at.map(Timestamp::as_millis),
        })),
        Step::Reported(what) => StoredStep::Reported(clip(what)),
        Step::ReportCame { action, status, reporter } => StoredStep::ReportCame {
            action: clip(action),
            status: clip(status),
            reporter: clip(reporter),
        },
        Step::ReceiptCame(disposition) => StoredStep::ReceiptCame(clip(disposition)),
        Step::ReadOnPage => StoredStep::ReadOnPage,
        Step::Hands { action, author, reason } => {
            StoredStep::Hands { action: clip(action), author: clip(author), reason: clip(reason) }
        }
        Step::SetAside(why) => StoredStep::SetAside(clip(why)),
        Step::Ended { enhanced, reply } => {
            StoredStep::Ended { enhanced: (enhanced.0, enhanced.1, enhanced.2), reply: clip(reply) }
        }
        Step::Cut(attempt) => StoredStep::Cut(*attempt),
        Step::Filtered(what) => StoredStep::Filtered(clip(what)),
    }
}

fn restore(step: StoredStep) -> Step {
    match step {
        StoredStep::Accepted { door, session, peer, size, keys } => {
            Step::Accepted { door, session: session.map(SessionId::from_bytes), peer, size, keys }
        }
        StoredStep::Delivered => Step::Delivered,
        StoredStep::KnownAlready => Step::KnownAlready,
        StoredStep::Queued { domain } => Step::Queued { domain },
        StoredStep::Attempt(attempt) => Step::Attempt(Box::new(Attempt {
            number: attempt.number,
            host: attempt.host,
            address: attempt.address,
            certificate: attempt.certificate.map(|facts| CertificateFacts {
                subject: OperatorDn::new(facts.subject),
                issuer: OperatorDn::new(facts.issuer),
                serial: facts.serial,
                not_before: Timestamp::from_millis(facts.not_before),
                not_after: Timestamp::from_millis(facts.not_after),
            }),
            tls: attempt.tls,
            status: match attempt.status {
                0 => DeliveryStatus::Delivered,
                1 => DeliveryStatus::Relayed,
                2 => DeliveryStatus::Deferred,
                _ => DeliveryStatus::Failed,
            },
            enhanced: EnhancedStatus(attempt.enhanced.0, attempt.enhanced.1, attempt.enhanced.2),
            reply: attempt.reply,
            remote_id: attempt.remote_id,
            again_at: attempt.again_at.map(Timestamp::from_millis),
        })),
        StoredStep::Reported(what) => Step::Reported(what),
        StoredStep::ReportCame { action, status, reporter } => {
            Step::ReportCame { action, status, reporter }
        }
        StoredStep::ReceiptCame(disposition) => Step::ReceiptCame(disposition),
        StoredStep::ReadOnPage => Step::ReadOnPage,
        StoredStep::Hands { action, author, reason } => Step::Hands { action, author, reason },
        StoredStep::SetAside(why) => Step::SetAside(why),
        StoredStep::Ended { enhanced, reply } => {
            Step::Ended { enhanced: EnhancedStatus(enhanced.0, enhanced.1, enhanced.2), reply }
        }
        StoredStep::Cut(attempt) => Step::Cut(attempt),
        StoredStep::Filtered(what) => Step::Filtered(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(recipient: Option<&str>, step: Step) -> Entry {
        let recipient = recipient.map(|text| Address::parse(text).unwrap());
        Entry { at: Timestamp::from_seconds(1_795_181_760), recipient, step }
    }

    fn attempt(reply: &str) -> Step {
        let dn = OperatorDn::parse_list_form("CN=mx.x.test,O=X,C=FR").unwrap();
        Step::Attempt(Box::new(Attempt {
            number: 3,
            host: "mx.x.test:25".to_owned(),
            address: "192.0.2.1:25".to_owned(),
            certificate: Some(CertificateFacts {
                subject: dn.clone(),
                issuer: dn,
                serial: "0a".to_owned(),
                not_before: Timestamp::from_seconds(1),
                not_after: Timestamp::from_seconds(2),
            }),
            tls: Some("TLSv1_3".to_owned()),
            status: DeliveryStatus::Deferred,
            enhanced: EnhancedStatus(4, 2, 2),
            reply: reply.to_owned(),
            remote_id: None,
            again_at: Some(Timestamp::from_seconds(3)),
        }))
    }

    #[test]
    fn every_step_survives_the_store() {
        let steps = [
            Step::Accepted {
                door: "operators".to_owned(),
                session: Some(SessionId::from_bytes([7; 16])),
                peer: Some("CN=x".to_owned()),
                size: 9,
                keys: 2,
            },
            Step::Delivered,
            Step::KnownAlready,
            Step::Queued { domain: "x.test".to_owned() },
            attempt("450 4.2.2 full"),
            Step::Reported("late".to_owned()),
            Step::ReportCame {
                action: "failed".to_owned(),
                status: "5.1.1".to_owned(),
                reporter: "mx".to_owned(),
            },
            Step::ReceiptCame("displayed".to_owned()),
            Step::ReadOnPage,
            Step::Hands {
                action: "hold".to_owned(),
                author: "root".to_owned(),
                reason: "why".to_owned(),
            },
            Step::SetAside("panic".to_owned()),
            Step::Ended { enhanced: EnhancedStatus(4, 4, 7), reply: "too old".to_owned() },
            Step::Cut(3),
            Step::Filtered("answered".to_owned()),
        ];
        for step in steps {
            for recipient in [None, Some("a@x.test")] {
                let entries = vec![entry(recipient, step.clone())];
                let stored = row::encode(FORMAT, &pack(&entries).remove(0));
                assert_eq!(unpack(row::decode(FORMAT, &stored).unwrap()), entries);
            }
        }
    }

    #[test]
    fn a_hundred_recipients_share_one_row_and_none_is_lost() {
        let addresses: Vec<String> = (0..100).map(|n| format!("u{n}@x.test")).collect();
        let all: Vec<Entry> =
            addresses.iter().map(|address| entry(Some(address), Step::Delivered)).collect();
        let rows = pack(&all);
        assert_eq!((rows.len(), rows[0].len()), (1, 2));
        assert_eq!(rows.into_iter().flat_map(unpack).collect::<Vec<_>>(), all);
    }

    #[test]
    fn rows_stay_below_the_limit_of_a_value_whatever_strangers_say() {
        let long = "é".repeat(100_000);
        let all: Vec<Entry> = (0..300)
            .map(|n| entry(Some(&format!("u{n}@x.test")), attempt(&format!("{n} {long}"))))
            .collect();
        let rows = pack(&all);
        assert!(rows.len() > 1);
        for row in &rows {
            assert!(row::encode(FORMAT, row).len() < limits::VALUE_OCTETS_MAX - 1_000);
        }
        let unpacked: Vec<Entry> = rows.into_iter().flat_map(unpack).collect();
        assert_eq!(unpacked.len(), 300);
    }
}
