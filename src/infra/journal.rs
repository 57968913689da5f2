//! What administrators did, and why: append-only, one row an action.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

/// Rows `J/<UUIDv7>` -> entry.
const JOURNAL: &[u8] = b"J/";
const FORMAT: u8 = 1;

/// The journal.
pub struct Journal {
    store: Arc<dyn Store>,
}

/// One action. Nothing in it may hold a patient's address, an INS or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: the name of the system's user, and what they said of themselves.
    pub author: String,
    /// What, as it was typed: `queue bounce`, `trust approve`…
    pub action: String,
    /// On what: a letter's id, a domain, a list's version.
    pub target: String,
    /// Why, in the author's words.
    pub reason: String,
    /// What came of it.
    pub outcome: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    at: u64,
    author: String,
    action: String,
    target: String,
    reason: String,
    outcome: String,
}

impl Journal {
    /// The journal in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds an entry to a batch, so that it is kept exactly when the action is done.
    pub fn ride(&self, entry: &Entry, batch: &mut Batch) {
        let row = Row {
            at: entry.at.as_millis(),
            author: entry.author.clone(),
            action: entry.action.clone(),
            target: entry.target.clone(),
            reason: entry.reason.clone(),
            outcome: entry.outcome.clone(),
        };
        let key = [JOURNAL, uuid::Uuid::now_v7().as_bytes()].concat();
        batch.put(key, row::encode(FORMAT, &row));
    }

    /// The last entries, youngest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn last(&self, entries: usize) -> Result<Vec<Entry>, StoreError> {
        let rows = entries.min(limits::SCAN_ROWS_MAX);
        let page = self.store.scan_back(store::prefix(JOURNAL), rows).await?;
        let entry = |value: &[u8]| {
            let row: Row = row::decode(FORMAT, value)
                .ok_or_else(|| StoreError::Damaged("an entry of the journal".to_owned()))?;
            Ok(Entry {
                at: Timestamp::from_millis(row.at),
                author: row.author,
                action: row.action,
                target: row.target,
                reason: row.reason,
                outcome: row.outcome,
            })
        };
        page.rows.iter().map(|(_, versioned)| entry(&versioned.value)).collect()
    }
}
