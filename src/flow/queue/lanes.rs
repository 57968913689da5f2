//! What scheduler, doors and administrators share in memory about the lanes of the queue.
//!
//! The store is the truth; everything here can be forgotten. Holds and reroutes of domains are
//! loaded before a door opens; counts are made in the background.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::flow::office::Office;
use crate::flow::queue::circuit::CircuitView;
use crate::flow::queue::circuit::Circuits;
use crate::flow::queue::circuit::Patience;
use crate::flow::queue::circuit::Verdict;
use crate::flow::queue::count::Counting;
use crate::flow::queue::rows;
use crate::flow::queue::rows::PauseRow;
use crate::flow::queue::rows::RerouteRow;
use crate::infra::store;
use crate::infra::store::Store;
use crate::infra::store::StoreError;

/// See the module's text.
pub struct Lanes {
    bell: Notify,
    memory: Mutex<Memory>,
}

pub(super) struct Memory {
    /// Lanes in which something changed.
    pub(super) rung: BTreeSet<String>,
    /// Something changed on the bench of suspects, or among what ends without an attempt.
    pub(super) benches_rung: bool,
    pub(super) paused: BTreeMap<String, PauseRow>,
    pub(super) rerouted: BTreeMap<String, RerouteRow>,
    pub(super) circuits: Circuits,
    /// The host that a lane's last attempt spoke to, where only the attempt could know.
    pub(super) hosts: HashMap<String, String>,
    pub(super) counting: Counting,
    /// Attempts that run, lane by lane.
    pub(super) running: HashMap<String, usize>,
    /// A scheduler works on this store: leased rows are somebody's.
    pub(super) scheduled: bool,
    /// The last process died with several suspects in flight: they are tried strictly one by one.
    pub(super) suspects_alone: bool,
    dice: u64,
}

impl Lanes {
    /// What the store says of holds and reroutes of whole domains.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged: mail that somebody
    /// wanted held must not go out because of that.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let lanes = Self::seeded(seed);
        {
            let paused = table(store, rows::PAUSED).await?;
            let rerouted = table(store, rows::REROUTED).await?;
            let mut memory = lanes.memory();
            (memory.paused, memory.rerouted) = (paused, rerouted);
        }
        Ok(lanes)
    }

    /// Empty, with this seed for the dice: for tests.
    pub fn seeded(seed: u64) -> Self {
        let memory = Memory {
            rung: BTreeSet::new(),
            benches_rung: true,
            paused: BTreeMap::new(),
            rerouted: BTreeMap::new(),
            circuits: Circuits::default(),
            hosts: HashMap::new(),
            counting: Counting::new(),
            running: HashMap::new(),
            scheduled: false,
            suspects_alone: false,
            dice: seed,
        };
        Self { bell: Notify::new(), memory: Mutex::new(memory) }
    }

    /// Something became due in the lane of this domain.
    pub fn ring(&self, domain: &str) {
        self.memory().rung.insert(domain.to_owned());
        self.bell.notify_one();
    }

    /// Something became due outside of the lanes.
    pub(super) fn ring_benches(&self) {
        self.memory().benches_rung = true;
        self.bell.notify_one();
    }

    /// Resolves when somebody rang since the last time.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// A row was committed.
    pub(super) fn came(&self, letter: QueueId, domain: &str) {
        self.memory().counting.came(letter, domain);
        self.ring(domain);
    }

    /// A row is gone.
    pub(super) fn went(&self, letter: QueueId, domain: &str) {
        self.memory().counting.went(letter, domain);
    }

    /// Rows in all lanes; `None` while they are still being counted.
    pub fn rows(&self) -> Option<u64> {
        self.memory().counting.rows()
    }

    /// A random number.
    pub fn chance(&self) -> u64 {
        let mut memory = self.memory();
        // SplitMix64.
        memory.dice = memory.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = memory.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn rerouted(&self, domain: &str) -> Option<String> {
        self.memory().rerouted.get(domain).map(|row| row.to.clone())
    }

    pub(super) fn is_paused(&self, domain: &str) -> bool {
        self.memory().paused.contains_key(rows::parts_of(domain).0)
    }

    /// The host that the next attempt of a lane will meet, as far as anybody knows.
    pub(super) fn host(&self, office: &Office, domain: &str) -> String {
        if let (_, Some(host)) = rows::parts_of(domain) {
            return host.to_owned();
        }
        let memory = self.memory();
        if let Some(reroute) = memory.rerouted.get(domain) {
            return reroute.to.clone();
        }
        let name = Domain::parse(domain).ok();
        if let Some(host) = name.and_then(|name| office.config.mx.routes.get(&name)) {
            return host.clone();
        }
        memory.hosts.get(domain).cloned().unwrap_or_else(|| domain.to_owned())
    }

    pub(super) fn verdict(&self, host: &str) -> Verdict {
        self.memory().circuits.verdict(host, Instant::now())
    }

    pub(super) fn begin(&self, host: &str) {
        self.memory().circuits.begin(host, Instant::now());
    }

    pub(super) fn end(&self, host: &str) {
        self.memory().circuits.end(host);
    }

    /// What an attempt in a lane found at a host: `said` is the host's name when the attempt knows it.
    pub fn heard(&self, office: &Office, domain: &str, said: &str, has_answered: bool) {
        let expected = self.host(office, domain);
        let host = if said.is_empty() { expected.as_str() } else { said };
        let mut memory = self.memory();
        if host != expected {
            if memory.hosts.len() >= limits::CIRCUITS_MAX && !memory.hosts.contains_key(domain) {
                // Anyone: the next attempt finds it again.
                let anyone = memory.hosts.keys().next().cloned();
                anyone.and_then(|anyone| memory.hosts.remove(&anyone));
            }
            memory.hosts.insert(domain.to_owned(), host.to_owned());
        }
        match has_answered {
            true => {
                if memory.circuits.answered(host) {
                    tracing::info!(host, "a host answers again");
                }
            }
            false => memory.circuits.failed(host, patience(office), Instant::now()),
        }
    }

    /// Circuits that are not closed.
    pub fn circuits(&self) -> Vec<CircuitView> {
        self.memory().circuits.views(Instant::now())
    }

    /// An administrator wants a try now.
    pub(super) fn knock(&self, office: &Office, domain: &str) {
        let host = self.host(office, domain);
        self.memory().circuits.half_open(&host, Instant::now());
        self.ring(domain);
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A circuit is not open for longer than letters wait between attempts: they have their own
/// patience.
pub(super) fn patience(office: &Office) -> Patience {
    let retry = &office.config.queue.retry;
    let shortest = retry.iter().min().copied().unwrap_or(limits::CIRCUIT_OPEN_MIN);
    let longest = retry.iter().max().copied().unwrap_or(limits::CIRCUIT_OPEN_MAX);
    let first: Duration = limits::CIRCUIT_OPEN_MIN.min(shortest);
    Patience { first, most: limits::CIRCUIT_OPEN_MAX.min(longest).max(first) }
}

async fn table<T: serde::de::DeserializeOwned>(
    store: &dyn Store,
    prefix: &[u8],
) -> Result<BTreeMap<String, T>, StoreError> {
    let mut found = BTreeMap::new();
    let mut range = store::prefix(prefix);
    loop {
        let page = store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
        for (key, versioned) in &page.rows {
            let damaged = || StoreError::Damaged("a hold or reroute of a domain".to_owned());
            let domain = std::str::from_utf8(&key[prefix.len()..]).map_err(|_| damaged())?;
            let row = rows::decode(&versioned.value).ok_or_else(damaged)?;
            found.insert(domain.to_owned(), row);
        }
        match super::rest(range, &page) {
            Some(rest) => range = rest,
            None => return Ok(found),
        }
    }
}
