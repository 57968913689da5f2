//! From which mailboxes letters come in: of several that a professional has, that is the one they
//! read. No letter is remembered, only that an address writes, how often, and on which day last.
//!
//! Rows `h/<half of a keyed hash>` -> how often, day, address (sealed: with whom a house exchanges
//! letters is nobody's business). They are written every minute, in one commit of many: a minute
//! of counting may be lost with the power.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::keys::Keyring;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

const ROWS: &[u8] = b"h/";
const FORMAT: u8 = 2;
/// Rows of this format have no address. Their letters count; whom they are of is known again with
/// the next one.
const WITHOUT_ADDRESS: u8 = 1;
/// What a sealed address says that it is.
const PURPOSE: &str = "correspondent";
const DAY_SECONDS: u64 = 86_400;
/// Who has not written for so long is forgotten: people move.
const DAYS_KEPT: u32 = 730;
/// Rows of one commit.
const WRITTEN_AT_ONCE: usize = 1_000;

/// Half of a keyed hash of an address.
pub(super) type Key = [u8; 16];

/// The counters, in memory.
#[derive(Default)]
pub(super) struct Correspondents(Mutex<HashMap<Key, Heard>>);

#[derive(Clone)]
struct Heard {
    letters: u32,
    day: u32,
    /// In its look-up form; empty while it is not known.
    address: Box<str>,
    is_written: bool,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Row {
    letters: u32,
    day: u32,
    address: Vec<u8>,
}

/// As it was stored before addresses were kept.
#[derive(Deserialize)]
struct OldRow {
    letters: u32,
    day: u32,
}

impl Correspondents {
    /// Reads what was counted before; what is too old goes.
    pub(super) async fn load(
        &self,
        store: &dyn Store,
        keys: &Keyring,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut range = store::prefix(ROWS);
        let mut old = Batch::new();
        loop {
            let page = store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, found) in &page.rows {
                let of = key.get(ROWS.len()..).and_then(|key| Key::try_from(key).ok());
                match (of, decoded(&found.value)) {
                    (Some(of), Some(Row { letters, day, address }))
                        if day.saturating_add(DAYS_KEPT) >= today(now) =>
                    {
                        let address = opened(keys, &of, &address).unwrap_or_default();
                        self.heard().insert(of, Heard { letters, day, address, is_written: true });
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
    pub(super) fn count(&self, key: Key, address: &Address, now: Timestamp) {
        let day = today(now);
        let mut heard = self.heard();
        if heard.len() >= limits::CORRESPONDENTS_MAX && !heard.contains_key(&key) {
            heard.retain(|_, one| one.letters > 1 && one.day + 90 >= day);
            if heard.len() >= limits::CORRESPONDENTS_MAX {
                return;
            }
        }
        let one = heard.entry(key).or_insert_with(|| Heard {
            letters: 0,
            day,
            address: Box::default(),
            is_written: false,
        });
        if one.address.is_empty() {
            one.address = address.lookup_form().into();
        }
        (one.letters, one.day, one.is_written) = (one.letters.saturating_add(1), day, false);
    }

    /// Those who write most, with the letters that came from them, at most `limit`; first those
    /// whose address has all these words (folded): where very many mailboxes are found, a search
    /// for a name must not miss the one that everybody here works with.
    pub(super) fn best(&self, words: &[&str], limit: usize) -> HashMap<String, u32> {
        let heard = self.heard();
        let mut best: Vec<(bool, u32, &str)> = heard
            .values()
            .filter(|one| !one.address.is_empty())
            .map(|one| {
                let is_meant = words.iter().all(|word| one.address.contains(word));
                (is_meant, one.letters, &*one.address)
            })
            .collect();
        if best.len() > limit {
            best.select_nth_unstable_by(limit, |one, other| other.cmp(one));
            best.truncate(limit);
        }
        best.into_iter().map(|(_, letters, address)| (address.to_owned(), letters)).collect()
    }

    /// Letters that came from there.
    pub(super) fn letters(&self, key: &Key) -> u32 {
        self.heard().get(key).map_or(0, |one| one.letters)
    }

    /// Writes what has changed.
    pub(super) async fn write(&self, store: &dyn Store, keys: &Keyring) -> Result<(), CommitError> {
        loop {
            let mut batch = Batch::new();
            let mut written = Vec::new();
            for (key, one) in self.heard().iter_mut().filter(|(_, one)| !one.is_written) {
                let address = match one.address.is_empty() {
                    true => Vec::new(),
                    false => keys.seal_small(PURPOSE, one.address.as_bytes()),
                };
                let row = Row { letters: one.letters, day: one.day, address };
                batch.put([ROWS, key].concat(), row::encode(FORMAT, &row));
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

fn decoded(value: &[u8]) -> Option<Row> {
    let old = || {
        let OldRow { letters, day } = row::decode(WITHOUT_ADDRESS, value)?;
        Some(Row { letters, day, address: Vec::new() })
    };
    row::decode(FORMAT, value).or_else(old)
}

/// The address of a row, if it is the one under which the row lies.
fn opened(keys: &Keyring, of: &Key, sealed: &[u8]) -> Option<Box<str>> {
    let clear = keys.open_small(PURPOSE, sealed).ok()?;
    let address = Address::parse(std::str::from_utf8(clear.expose()).ok()?).ok()?;
    (key(keys, &address) == *of).then(|| address.lookup_form().into())
}

/// The name of an address among the rows.
pub(super) fn key(keys: &Keyring, address: &Address) -> Key {
    let whole = keys.address_key(address);
    std::array::from_fn(|at| whole[at])
}

fn today(now: Timestamp) -> u32 {
    u32::try_from(now.as_seconds() / DAY_SECONDS).unwrap_or(u32::MAX - DAYS_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;
    use crate::infra::store::simulated::SimulatedStore;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[tokio::test]
    async fn who_writes_is_remembered_over_a_restart_and_forgotten_after_two_years() {
        let store = SimulatedStore::new(7);
        let keys = Keyring::with_master(Secret::new([7; 32]));
        let now = Timestamp::from_seconds(1_795_388_399);
        let (marie, nobody) = (address("Marie@hopital.fr"), address("nobody@hopital.fr"));
        let counted = Correspondents::default();
        counted.count(key(&keys, &marie), &marie, now);
        counted.count(key(&keys, &marie), &marie, now);
        counted.write(&store, &keys).await.unwrap();
        let later = Correspondents::default();
        later.load(&store, &keys, now).await.unwrap();
        let letters = |of: &Correspondents, who| of.letters(&key(&keys, who));
        assert_eq!((letters(&later, &marie), letters(&later, &nobody)), (2, 0));
        assert_eq!(later.best(&[], 9), HashMap::from([("marie@hopital.fr".to_owned(), 2)]));
        let page = store.scan(store::prefix(ROWS), 9).await.unwrap();
        let stored = &page.rows[0].1.value;
        assert!(!stored.windows(5).any(|at| at.eq_ignore_ascii_case(b"marie")), "it is sealed");
        let much_later = Timestamp::from_seconds(now.as_seconds() + 731 * DAY_SECONDS);
        let forgotten = Correspondents::default();
        forgotten.load(&store, &keys, much_later).await.unwrap();
        assert_eq!(letters(&forgotten, &marie), 0);
    }

    #[tokio::test]
    async fn an_address_is_believed_only_in_its_own_row_and_an_old_row_still_counts() {
        #[derive(Serialize)]
        struct Old {
            letters: u32,
            day: u32,
        }
        let store = SimulatedStore::new(8);
        let keys = Keyring::with_master(Secret::new([7; 32]));
        let now = Timestamp::from_seconds(1_795_388_399);
        let (marie, jean) = (address("marie@hopital.fr"), address("jean@hopital.fr"));
        let mut batch = Batch::new();
        let moved = Row {
            letters: 3,
            day: today(now),
            address: keys.seal_small(PURPOSE, b"marie@hopital.fr"),
        };
        batch.put([ROWS, &key(&keys, &jean)].concat(), row::encode(FORMAT, &moved));
        let old = row::encode(WITHOUT_ADDRESS, &Old { letters: 4, day: today(now) });
        batch.put([ROWS, &key(&keys, &marie)].concat(), old);
        store.commit(batch).await.unwrap();
        let read = Correspondents::default();
        read.load(&store, &keys, now).await.unwrap();
        assert_eq!(read.letters(&key(&keys, &marie)), 4);
        assert!(read.best(&[], 9).is_empty());
    }

    #[test]
    fn whoever_a_word_may_mean_comes_before_those_who_write_more() {
        let keys = Keyring::with_master(Secret::new([7; 32]));
        let now = Timestamp::from_seconds(1_795_388_399);
        let heard = Correspondents::default();
        for (text, letters) in [("a.b@x.fr", 9), ("c.d@x.fr", 5), ("marie.martin@x.fr", 1)] {
            for _ in 0..letters {
                heard.count(key(&keys, &address(text)), &address(text), now);
            }
        }
        let best = heard.best(&["martin"], 2);
        assert_eq!(best.len(), 2);
        assert_eq!((best.get("marie.martin@x.fr"), best.get("a.b@x.fr")), (Some(&1), Some(&9)));
    }
}
