//! The append-only ledger of facts. Every statistic is a function of it.
//!
//! A fact rides in the commit of what it tells, so a figure is there exactly when the thing is.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::document::DocumentCode;
use crate::domain::document::DocumentTag;
use crate::domain::document::Findings;
use crate::domain::document::InsStatus;
use crate::domain::envelope::QueueId;
use crate::domain::fact::Counterpart;
use crate::domain::fact::DelegationRecord;
use crate::domain::fact::DelegationStep;
use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

/// Rows `L/<YYYY-MM-DD>/<UUIDv7>` -> fact.
const LEDGER: &str = "L/";
/// Rows of format 1 have no peer, those of format 2 no document, those of format 3 no delegation;
/// they stay readable.
const FORMAT: u8 = 4;
/// Event of the lines that count findings. They are read from the facts of documents.
const FINDING: &str = "document-finding";

/// The ledger.
pub struct Ledger {
    store: Arc<dyn Store>,
}

/// One line of the statistics: how often something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatRow {
    /// French calendar day.
    pub day: Day,
    /// Our domain.
    pub domain: String,
    /// Kind of our mailbox, where known.
    pub mailbox_kind: Option<MailboxKind>,
    /// At whose end the other side is.
    pub counterpart: Counterpart,
    /// `Event::name`: accepted, sent, received, refused, relayed, deferred, failed, document;
    /// or `document-finding`, once for each finding of a document.
    pub event: String,
    /// `Refusal::name` of a refusal, the enhanced status of a failure, code and INS status of a
    /// document (`18748-4 qualified`), `Finding::name` of a finding, else empty.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// Octets in all.
    pub octets: u64,
}

/// Day, domain, kind of mailbox, counterpart, event, reason: what makes a line of its own.
type StatKey = (Day, String, Option<String>, String, String, String);

/// The stored form of a fact.
#[derive(Serialize, Deserialize)]
struct Row {
    base: Base,
    peer: Option<String>,
    document: Option<DocumentRow>,
    delegation: Option<DelegationRow>,
}

/// The stored form of a delegation.
#[derive(Serialize, Deserialize)]
struct DelegationRow {
    mailbox: String,
    reader: String,
    rights: String,
    until: Option<u64>,
    author: String,
    reason: String,
}

/// A fact as the first format had it. Later formats have more behind it.
#[derive(Serialize, Deserialize)]
struct Base {
    at: u64,
    letter: Option<[u8; 16]>,
    domain: String,
    mailbox_kind: Option<String>,
    counterpart: String,
    event: String,
    reason: String,
    size: u64,
    automatic: bool,
}

/// The stored form of a document's tag.
#[derive(Serialize, Deserialize)]
struct DocumentRow {
    code: String,
    format: String,
    ins: String,
    findings: u32,
    patient: Option<[u8; 16]>,
}

/// A row of the third format.
type Third = (Base, Option<String>, Option<DocumentRow>);

fn read_row(value: &[u8]) -> Option<Row> {
    let third = || {
        let (base, peer, document) = row::decode::<Third>(3, value)?;
        Some(Row { base, peer, document, delegation: None })
    };
    let second = || {
        let (base, peer) = row::decode::<(Base, Option<String>)>(2, value)?;
        Some(Row { base, peer, document: None, delegation: None })
    };
    let first = || {
        let base = row::decode(1, value)?;
        Some(Row { base, peer: None, document: None, delegation: None })
    };
    row::decode(FORMAT, value).or_else(third).or_else(second).or_else(first)
}

impl Ledger {
    /// The ledger in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds a fact to a batch, so that it is kept exactly when the batch is.
    pub fn ride(&self, fact: &Fact, batch: &mut Batch) {
        self.write(fact, None, batch);
    }

    /// The same for the fact of a delegation, with who decided what, why and until when.
    pub fn ride_delegation(&self, fact: &Fact, record: &DelegationRecord, batch: &mut Batch) {
        self.write(fact, Some(record), batch);
    }

    fn write(&self, fact: &Fact, record: Option<&DelegationRecord>, batch: &mut Batch) {
        let base = Base {
            at: fact.at.as_millis(),
            letter: fact.letter.map(|id| *id.as_bytes()),
            domain: fact.domain.clone(),
            mailbox_kind: fact.mailbox_kind.map(|kind| kind.code().to_owned()),
            counterpart: fact.counterpart.name().to_owned(),
            event: fact.event.name().to_owned(),
            reason: reason(fact.event),
            size: fact.size,
            automatic: fact.automatic,
        };
        let document = match fact.event {
            Event::Document(tag) => Some(DocumentRow::of(&tag)),
            _ => None,
        };
        let delegation = record.map(|record| DelegationRow {
            mailbox: record.mailbox.clone(),
            reader: record.reader.clone(),
            rights: record.rights.clone(),
            until: record.until.map(Timestamp::as_millis),
            author: record.author.clone(),
            reason: record.reason.clone(),
        });
        let row = Row { base, peer: fact.peer.clone(), document, delegation };
        let value = row::encode(FORMAT, &row);
        let mut key = day_prefix(Day::in_france(fact.at));
        key.extend_from_slice(uuid::Uuid::now_v7().as_bytes());
        batch.put(key, value);
    }

    /// Statistics from the first to the last day, both included, computed from the facts. All
    /// of them are exact but one: refusals are written within a budget a second (the flow's
    /// `RefusalBudget`), so a flood of them is a sample here and exact in the metrics.
    pub async fn statistics(&self, from: Day, to: Day) -> Result<Vec<StatRow>, StoreError> {
        let mut sums: BTreeMap<StatKey, (u64, u64)> = BTreeMap::new();
        self.each(from, to, |row| {
            let base = row.base;
            let day = Day::in_france(Timestamp::from_millis(base.at));
            let mut count = |event: String, reason: String| {
                let (kind, counterpart) = (base.mailbox_kind.clone(), base.counterpart.clone());
                let key = (day, base.domain.clone(), kind, counterpart, event, reason);
                let sum = sums.entry(key).or_default();
                sum.0 += 1;
                sum.1 += base.size;
            };
            let findings = row.document.map_or(Findings::NONE, |d| Findings::from_bits(d.findings));
            for finding in findings.iter() {
                count(FINDING.to_owned(), finding.name().to_owned());
            }
            count(base.event.clone(), base.reason.clone());
        })
        .await?;
        Ok(sums
            .into_iter()
            .map(|((day, domain, kind, counterpart, event, reason), (count, octets))| StatRow {
                day,
                domain,
                mailbox_kind: kind.as_deref().and_then(MailboxKind::from_code),
                counterpart: counterpart_of(&counterpart),
                event,
                reason,
                count,
                octets,
            })
            .collect())
    }

    /// How many letters were exchanged with each other mail domain from the first to the last
    /// day: sent there or taken in from there, one for each (letter, recipient) pair.
    pub async fn exchanged(&self, from: Day, to: Day) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut exchanged: BTreeMap<String, u64> = BTreeMap::new();
        self.each(from, to, |row| {
            if let Some(peer) =
                row.peer.filter(|_| ["sent", "received"].contains(&&*row.base.event))
            {
                *exchanged.entry(peer).or_default() += 1;
            }
        })
        .await?;
        Ok(exchanged)
    }

    /// Of how many different patients documents were taken in, from the first to the last day.
    /// Nobody is named: facts hold keyed digests only.
    pub async fn patients(&self, from: Day, to: Day) -> Result<usize, StoreError> {
        let mut patients = BTreeSet::new();
        self.each(from, to, |row| patients.extend(row.document.and_then(|it| it.patient))).await?;
        Ok(patients.len())
    }

    /// The delegations of some days, in order: who granted or took back what, why, until when.
    pub async fn delegations(
        &self,
        from: Day,
        to: Day,
    ) -> Result<Vec<(DelegationStep, DelegationRecord)>, StoreError> {
        let mut delegations = Vec::new();
        self.each(from, to, |row| {
            let step = step_of(&row.base.reason);
            delegations.extend(row.delegation.map(|kept| {
                let record = DelegationRecord {
                    mailbox: kept.mailbox,
                    reader: kept.reader,
                    rights: kept.rights,
                    until: kept.until.map(Timestamp::from_millis),
                    author: kept.author,
                    reason: kept.reason,
                };
                (step, record)
            }));
        })
        .await?;
        Ok(delegations)
    }

    /// The facts of one day, in order.
    pub async fn facts(&self, day: Day) -> Result<Vec<Fact>, StoreError> {
        let mut facts = Vec::new();
        self.each(day, day, |row| facts.push(fact_of(row))).await?;
        Ok(facts)
    }

    async fn each(&self, from: Day, to: Day, mut visit: impl FnMut(Row)) -> Result<(), StoreError> {
        let end = store::prefix(&day_prefix(to)).end;
        let mut range = day_prefix(from)..end;
        loop {
            let page = self.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (_, versioned) in &page.rows {
                let row = read_row(&versioned.value);
                visit(row.ok_or_else(|| StoreError::Damaged("a fact of the ledger".to_owned()))?);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }
}

fn day_prefix(day: Day) -> Vec<u8> {
    format!("{LEDGER}{day}/").into_bytes()
}

fn reason(event: Event) -> String {
    match event {
        Event::Refused(refusal) => refusal.name().to_owned(),
        Event::Deferred(status) | Event::Failed(status) => status.to_string(),
        Event::Document(tag) => format!("{} {}", tag.code, tag.ins.name()),
        Event::Delegation(step) => step.name().to_owned(),
        _ => String::new(),
    }
}

fn counterpart_of(name: &str) -> Counterpart {
    Counterpart::ALL
        .into_iter()
        .find(|counterpart| counterpart.name() == name)
        .unwrap_or(Counterpart::Unknown)
}

impl DocumentRow {
    fn of(tag: &DocumentTag) -> Self {
        Self {
            code: tag.code.to_string(),
            format: tag.format.to_string(),
            ins: tag.ins.name().to_owned(),
            findings: tag.findings.bits(),
            patient: tag.patient,
        }
    }

    fn tag(&self) -> DocumentTag {
        let ins = InsStatus::ALL.into_iter().find(|status| status.name() == self.ins);
        DocumentTag {
            code: DocumentCode::read(&self.code),
            format: DocumentCode::read(&self.format),
            ins: ins.unwrap_or_default(),
            findings: Findings::from_bits(self.findings),
            patient: self.patient,
        }
    }
}

fn fact_of(row: Row) -> Fact {
    let base = row.base;
    let status = EnhancedStatus::parse(&base.reason).unwrap_or(EnhancedStatus(4, 0, 0));
    let event = match (base.event.as_str(), &row.document) {
        ("document", Some(document)) => Event::Document(document.tag()),
        ("accepted", _) => Event::Accepted,
        ("sent", _) => Event::Sent,
        ("received", _) => Event::Received,
        ("relayed", _) => Event::Relayed,
        ("deferred", _) => Event::Deferred(status),
        ("failed", _) => Event::Failed(status),
        ("closed", _) => Event::Closed,
        ("delegation", _) => Event::Delegation(step_of(&base.reason)),
        _ => Event::Refused(refusal_of(&base.reason)),
    };
    Fact {
        at: Timestamp::from_millis(base.at),
        letter: base.letter.map(QueueId::from_bytes),
        domain: base.domain,
        mailbox_kind: base.mailbox_kind.as_deref().and_then(MailboxKind::from_code),
        counterpart: counterpart_of(&base.counterpart),
        event,
        size: base.size,
        automatic: base.automatic,
        peer: row.peer,
    }
}

fn step_of(name: &str) -> DelegationStep {
    let known = DelegationStep::ALL.into_iter().find(|step| step.name() == name);
    known.unwrap_or(DelegationStep::Ended)
}

fn refusal_of(name: &str) -> Refusal {
    Refusal::ALL.into_iter().find(|refusal| refusal.name() == name).unwrap_or(Refusal::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::Finding;
    use crate::infra::store::simulated::SimulatedStore;

    /// A fact as relays before documents wrote it, octet by octet.
    #[derive(Serialize)]
    struct SecondFormat {
        at: u64,
        letter: Option<[u8; 16]>,
        domain: &'static str,
        mailbox_kind: Option<&'static str>,
        counterpart: &'static str,
        event: &'static str,
        reason: &'static str,
        size: u64,
        automatic: bool,
        peer: Option<&'static str>,
    }

    #[test]
    fn facts_of_older_relays_stay_readable() {
        let older = SecondFormat {
            at: 1_795_388_399_000,
            letter: Some([7; 16]),
            domain: "hopital.mssante.test",
            mailbox_kind: Some("PER"),
            counterpart: "other-operator",
            event: "sent",
            reason: "",
            size: 4_096,
            automatic: true,
            peer: Some("cabinet.mssante.test"),
        };
        let second = row::encode(2, &older);
        let fact = fact_of(read_row(&second).unwrap());
        assert_eq!(fact.event, Event::Sent);
        assert_eq!(fact.peer.as_deref(), Some("cabinet.mssante.test"));
        assert_eq!((fact.size, fact.automatic), (4_096, true));

        // The first format had the same fields, but for the last.
        let peer = postcard::to_allocvec(&older.peer).unwrap().len();
        let mut first = second[..second.len() - peer].to_vec();
        first[0] = 1;
        let fact = fact_of(read_row(&first).unwrap());
        assert_eq!((fact.event, fact.peer), (Event::Sent, None));
        assert!(read_row(&[4, 0]).is_none() && read_row(&[]).is_none());
    }

    #[test]
    fn a_documents_tag_comes_back_as_it_was_kept() {
        let mut findings = Findings::NONE;
        findings.add(Finding::HashDiffers);
        let tag = DocumentTag {
            code: DocumentCode::read("18748-4"),
            format: DocumentCode::read("urn:ihe:iti:xds-sd:pdf:2008"),
            ins: InsStatus::Qualified,
            findings,
            patient: Some([3; 16]),
        };
        assert_eq!(DocumentRow::of(&tag).tag(), tag);
    }

    fn document(code: &str, patient: u8, findings: &[Finding]) -> Fact {
        let mut all = Findings::NONE;
        findings.iter().for_each(|finding| all.add(*finding));
        let tag = DocumentTag {
            code: DocumentCode::read(code),
            ins: InsStatus::Qualified,
            findings: all,
            patient: Some([patient; 16]),
            ..DocumentTag::unknown()
        };
        Fact {
            at: Timestamp::from_seconds(1_795_388_399),
            letter: Some(QueueId::from_bytes([patient; 16])),
            domain: "hopital.mssante.test".to_owned(),
            mailbox_kind: Some(MailboxKind::Applicative),
            counterpart: Counterpart::Patient,
            peer: None,
            event: Event::Document(tag),
            size: 1_000,
            automatic: true,
        }
    }

    #[tokio::test]
    async fn documents_are_told_by_code_and_ins_status_and_patients_are_only_counted() {
        let store = Arc::new(SimulatedStore::new(7)) as Arc<dyn Store>;
        let ledger = Ledger::new(Arc::clone(&store));
        let facts = [
            document("11502-2", 1, &[]),
            document("11502-2", 2, &[Finding::HashDiffers, Finding::CodesDiffer]),
            document("18748-4", 1, &[Finding::HashDiffers]),
        ];
        let mut batch = Batch::new();
        facts.iter().for_each(|fact| ledger.ride(fact, &mut batch));
        store.commit(batch).await.unwrap();
        let day = Day::in_france(facts[0].at);
        let rows = ledger.statistics(day, day).await.unwrap();
        let told: Vec<(&str, &str, u64)> =
            rows.iter().map(|row| (&*row.event, &*row.reason, row.count)).collect();
        let expected = [
            ("document", "11502-2 qualified", 2),
            ("document", "18748-4 qualified", 1),
            ("document-finding", "codes-differ", 1),
            ("document-finding", "hash-differs", 2),
        ];
        assert_eq!(told, expected);
        assert_eq!(ledger.patients(day, day).await.unwrap(), 2);
        assert_eq!(ledger.facts(day).await.unwrap(), facts);
    }
}
