//! From which mailboxes letters come in: of several that a professional has, that is the one they
//! read. No letter is remembered, only that an address writes, how often, and on which day last.
//!
//! Rows `h/<half of a keyed hash>` -> how often, day. They are written every minute, in one
//! commit of many: a minute of counting may be lost with the power.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

const ROWS: &[u8] = b"h/";
const FORMAT: u8 = 1;
const DAY_SECONDS: u64 = 86_400;
/// Who has not written for so long is forgotten: people move.
const DAYS_KEPT: u32 = 730;
/// Rows of one commit.
const WRITTEN_AT_ONCE: usize = 1_000;

/// Half of a keyed hash of an address.
pub(super) type Key = [u8; 16];

/// The counters, in memory; few octets each.
#[derive(Default)]
pub(super) struct Correspondents(Mutex<HashMap<Key, Heard>>);

#[derive(Clone, Copy)]
struct Heard {
    letters: u32,
    day: u32,
    is_written: bool,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Row {
    letters: u32,
    day: u32,
}

impl Correspondents {
    /// Reads what was counted before; what is too old goes.
    pub(super) async fn load(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let mut range = store::prefix(ROWS);
        let mut old = Batch::new();
        loop {
            let page = store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, found) in &page.rows {
                let of = key.get(ROWS.len()..).and_then(|key| Key::try_from(key).ok());
                let stored: Option<Row> = row::decode(FORMAT, &found.value);
                match (of, stored) {
                    (Some(of), Some(Row { letters, day })) if day + DAYS_KEPT >= today(now) => {
                        self.heard().insert(of, Heard { letters, day, is_written: true });
                    }
                    _ => drop(old.delete(key.to_vec())),
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        // Forgetting can wait for the next start.
        drop(store.submit(old));
        Ok(())
    }

    /// A letter came from there.
    pub(super) fn count(&self, key: Key, now: Timestamp) {
        let day = today(now);
        let mut heard = self.heard();
        if heard.len() >= limits::CORRESPONDENTS_MAX && !heard.contains_key(&key) {
            heard.retain(|_, one| one.letters > 1 && one.day + 90 >= day);
            if heard.len() >= limits::CORRESPONDENTS_MAX {
                return;
            }
        }
        let one = heard.entry(key).or_insert(Heard { letters: 0, day, is_written: false });
        *one = Heard { letters: one.letters.saturating_add(1), day, is_written: false };
    }

    /// Letters that came from there.
    pub(super) fn letters(&self, key: &Key) -> u32 {
        self.heard().get(key).map_or(0, |one| one.letters)
    }

    /// Writes what has changed.
    pub(super) async fn write(&self, store: &dyn Store) -> Result<(), CommitError> {
        loop {
            let mut batch = Batch::new();
            let mut written = Vec::new();
            for (key, one) in self.heard().iter_mut().filter(|(_, one)| !one.is_written) {
                let Heard { letters, day, .. } = *one;
                batch.put([ROWS, key].concat(), row::encode(FORMAT, &Row { letters, day }));
                one.is_written = true;
                written.push(*key);
                if written.len() >= WRITTEN_AT_ONCE {
                    break;
                }
            }
            if written.is_empty() {
                return Ok(());
            }
            if let Err(error) = store.commit(batch).await {
                let mut heard = self.heard();
                for key in &written {
                    if let Some(one) = heard.get_mut(key) {
                        one.is_written = false;
                    }
                }
                return Err(error);
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<Key, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn today(now: Timestamp) -> u32 {
    u32::try_from(now.as_seconds() / DAY_SECONDS).unwrap_or(u32::MAX - DAYS_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infra::store::simulated::SimulatedStore;

    #[tokio::test]
    async fn who_writes_is_remembered_over_a_restart_and_forgotten_after_two_years() {
        let store = SimulatedStore::new(7);
        let now = Timestamp::from_seconds(1_795_388_399);
        let counted = Correspondents::default();
        counted.count([1; 16], now);
        counted.count([1; 16], now);
        counted.write(&store).await.unwrap();
        let later = Correspondents::default();
        later.load(&store, now).await.unwrap();
        assert_eq!((later.letters(&[1; 16]), later.letters(&[2; 16])), (2, 0));
        let much_later = Timestamp::from_seconds(now.as_seconds() + 731 * DAY_SECONDS);
        let forgotten = Correspondents::default();
        forgotten.load(&store, much_later).await.unwrap();
        assert_eq!(forgotten.letters(&[1; 16]), 0);
    }
}
