//! How many rows wait, without looking at all of them again and again.
//!
//! Rows of letters from before this process are counted once, in the background and in the order
//! of their ids; what comes and goes meanwhile is added and taken off where the count has passed.
use std::collections::HashMap;

use crate::domain::envelope::QueueId;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::rows;
use crate::flow::queue::rows::RecipientRow;
use crate::infra::store;

/// How far the count has come, and what it found.
#[derive(Debug)]
pub struct Counting {
    /// Ids of letters are moments: a letter behind this one is of this process.
    until: QueueId,
    /// The count has passed all letters up to this one.
    passed: Option<QueueId>,
    done: bool,
    lanes: HashMap<String, u64>,
}

impl Counting {
    pub(super) fn new() -> Self {
        let until = QueueId::from_bytes(uuid::Uuid::now_v7().into_bytes());
        Self { until, passed: None, done: false, lanes: HashMap::new() }
    }

    fn has_passed(&self, letter: QueueId) -> bool {
        self.done || letter > self.until || self.passed.is_some_and(|passed| letter <= passed)
    }

    pub(super) fn came(&mut self, letter: QueueId, domain: &str) {
        if self.has_passed(letter) {
            *self.lanes.entry(domain.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn went(&mut self, letter: QueueId, domain: &str) {
        if self.has_passed(letter)
            && let Some(rows) = self.lanes.get_mut(domain)
        {
            *rows = rows.saturating_sub(1);
            if *rows == 0 {
                self.lanes.remove(domain);
            }
        }
    }

    pub(super) fn rows(&self) -> Option<u64> {
        self.done.then(|| self.lanes.values().sum())
    }

    /// Rows of each lane; `None` while they are still being counted.
    pub(super) fn lanes(&self) -> Option<HashMap<String, u64>> {
        self.done.then(|| self.lanes.clone())
    }
}

/// Counts what was there when the process started, page by page.
pub async fn count(office: &Office) -> Result<(), Refusal> {
    let mut range = store::prefix(rows::RECIPIENTS);
    loop {
        let page = queue::scan(office, range.clone()).await?;
        let mut found: HashMap<String, u64> = HashMap::new();
        let until = office.lanes.memory().counting.until;
        let mut passed = None;
        for (key, versioned) in &page.rows {
            let Some((id, number)) = rows::row_of(rows::RECIPIENTS, key) else { continue };
            passed = Some(id);
            if id > until {
                continue;
            }
            let row = RecipientRow::read(office, id, number, &versioned.value);
            *found.entry(row.map(|row| row.domain).unwrap_or_default()).or_default() += 1;
        }
        let next = queue::rest(range, &page);
        {
            let mut memory = office.lanes.memory();
            let counting = &mut memory.counting;
            for (domain, rows) in found {
                *counting.lanes.entry(domain).or_default() += rows;
            }
            // A letter at the end of a page may go on in the next one: it is passed then.
            counting.passed = passed.or(counting.passed);
            counting.done = next.is_none() || passed.is_some_and(|passed| passed > until);
            if counting.done {
                return Ok(());
            }
        }
        let Some(next) = next else { return Ok(()) };
        range = next;
        tokio::task::yield_now().await;
    }
}

/// When the oldest letter that waits was taken in: ids are in the order of time.
pub async fn oldest(office: &Office) -> Result<Option<Timestamp>, Refusal> {
    let first = office.store.scan(store::prefix(rows::RECIPIENTS), 1).await;
    let page = first.map_err(|error| queue::refusal_of(&error))?;
    let first = page.rows.first().and_then(|(key, _)| rows::row_of(rows::RECIPIENTS, key));
    Ok(first.map(|(id, _)| rows::taken_in_at(id)))
}
