//! The append-only ledger of facts. Every statistic is a function of it.
//!
//! A fact rides in the commit of what it tells, so a figure is there exactly when the thing is.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::envelope::QueueId;
use crate::domain::fact::Counterpart;
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
/// Rows of format 1 have no peer; they stay readable.
const FORMAT: u8 = 2;

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
    /// `Event::name`: accepted, sent, received, refused, relayed, deferred, failed.
    pub event: String,
    /// `Refusal::name` of a refusal, the enhanced status of a failure, else empty.
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
    at: u64,
    letter: Option<[u8; 16]>,
    domain: String,
    mailbox_kind: Option<String>,
    counterpart: String,
    event: String,
    reason: String,
    size: u64,
    automatic: bool,
    peer: Option<String>,
}

/// A fact as the first format had it.
#[derive(Deserialize)]
struct FirstRow {
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

fn read_row(value: &[u8]) -> Option<Row> {
    row::decode(FORMAT, value).or_else(|| {
        let first: FirstRow = row::decode(1, value)?;
        Some(Row {
            at: first.at,
            letter: first.letter,
            domain: first.domain,
            mailbox_kind: first.mailbox_kind,
            counterpart: first.counterpart,
            event: first.event,
            reason: first.reason,
            size: first.size,
            automatic: first.automatic,
            peer: None,
        })
    })
}

impl Ledger {
    /// The ledger in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds a fact to a batch, so that it is kept exactly when the batch is.
    pub fn ride(&self, fact: &Fact, batch: &mut Batch) {
        let row = Row {
            at: fact.at.as_millis(),
            letter: fact.letter.map(|id| *id.as_bytes()),
            domain: fact.domain.clone(),
            mailbox_kind: fact.mailbox_kind.map(|kind| kind.code().to_owned()),
            counterpart: fact.counterpart.name().to_owned(),
            event: fact.event.name().to_owned(),
            reason: reason(fact.event),
            size: fact.size,
            automatic: fact.automatic,
            peer: fact.peer.clone(),
        };
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
            let day = Day::in_france(Timestamp::from_millis(row.at));
            let key = (day, row.domain, row.mailbox_kind, row.counterpart, row.event, row.reason);
            let sum = sums.entry(key).or_default();
            sum.0 += 1;
            sum.1 += row.size;
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
            if let Some(peer) = row.peer.filter(|_| ["sent", "received"].contains(&&*row.event)) {
                *exchanged.entry(peer).or_default() += 1;
            }
        })
        .await?;
        Ok(exchanged)
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
        _ => String::new(),
    }
}

fn counterpart_of(name: &str) -> Counterpart {
    Counterpart::ALL
        .into_iter()
        .find(|counterpart| counterpart.name() == name)
        .unwrap_or(Counterpart::Unknown)
}

fn fact_of(row: Row) -> Fact {
    let status = EnhancedStatus::parse(&row.reason).unwrap_or(EnhancedStatus(4, 0, 0));
    let event = match row.event.as_str() {
        "accepted" => Event::Accepted,
        "sent" => Event::Sent,
        "received" => Event::Received,
        "relayed" => Event::Relayed,
        "deferred" => Event::Deferred(status),
        "failed" => Event::Failed(status),
        "closed" => Event::Closed,
        _ => Event::Refused(refusal_of(&row.reason)),
    };
    Fact {
        at: Timestamp::from_millis(row.at),
        letter: row.letter.map(QueueId::from_bytes),
        domain: row.domain,
        mailbox_kind: row.mailbox_kind.as_deref().and_then(MailboxKind::from_code),
        counterpart: counterpart_of(&row.counterpart),
        event,
        size: row.size,
        automatic: row.automatic,
        peer: row.peer,
    }
}

fn refusal_of(name: &str) -> Refusal {
    Refusal::ALL.into_iter().find(|refusal| refusal.name() == name).unwrap_or(Refusal::Busy)
}
