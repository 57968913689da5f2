//! The append-only ledger of facts. Every statistic is a function of it.
use std::sync::Arc;

use crate::domain::fact::Counterpart;
use crate::domain::fact::Fact;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Day;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::StoreError;

/// The ledger.
pub struct Ledger { _store: Arc<dyn Store> }

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

impl Ledger {
    /// The ledger in this store.
    pub fn new(store: Arc<dyn Store>) -> Self { Self { _store: store } }
    /// Adds a fact to a batch, so that it is kept exactly when the batch is.
    pub fn ride(&self, fact: &Fact, batch: &mut Batch) { let _ = (fact, batch); todo!() }
    /// Statistics from the first to the last day, both included, computed from the facts.
    pub async fn statistics(&self, from: Day, to: Day) -> Result<Vec<StatRow>, StoreError> { let _ = (from, to); todo!() }
    /// The facts of one day, in order.
    pub async fn facts(&self, day: Day) -> Result<Vec<Fact>, StoreError> { let _ = day; todo!() }
}
