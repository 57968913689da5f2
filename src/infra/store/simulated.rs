//! A store whose disk a test can break: crashes, torn writes, full disk, failing fsync; seeded.
//!
//! It keeps its rows in memory and its truth in a log of groups, like a real engine: a group is
//! written, synced, then answered. A crash keeps what was synced. Of what was written and not
//! synced it keeps as much as the seed likes, also half a group or a spoiled one; recovery takes
//! whole groups only. So an answered commit is always there, an unanswered one is there whole or
//! not at all, and never without those before it.
//!
//! A batch is committed and answered inside `submit`, unless the test [`SimulatedStore::hold`]s
//! the disk to see what happens in between.
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::domain::limits;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Committing;
use crate::infra::store::Page;
use crate::infra::store::Precondition;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::Versioned;
use crate::infra::store::Write;

/// Batches that share one commit, at most, after a hold.
const GROUP_BATCHES_MAX: u64 = 8;
const CHECKSUM_OCTETS: usize = 8;
const DELETED: u8 = 0;
const PUT: u8 = 1;

/// See the module's text.
pub struct SimulatedStore(Mutex<World>);

type Rows = BTreeMap<Vec<u8>, Versioned>;
type Answer = oneshot::Sender<Result<(), CommitError>>;

struct World {
    random: Random,
    rows: Rows,
    disk: Disk,
    waiting: VecDeque<(Batch, Answer)>,
    held: bool,
    gone: bool,
}

/// What outlives a crash: the synced part of the log.
#[derive(Default)]
struct Disk {
    log: Vec<u8>,
    synced: usize,
    full: bool,
    fails_next_sync: bool,
}

impl SimulatedStore {
    /// An empty store. The same seed and the same calls give the same outcome.
    pub fn new(seed: u64) -> Self {
        Self::recover(Random(seed), Vec::new())
    }

    /// The next sync fails; the commits that it was for are refused and leave nothing.
    pub fn fail_next_sync(&self) {
        self.world().disk.fails_next_sync = true;
    }

    /// While full, every commit is refused with [`CommitError::Full`].
    pub fn set_full(&self, full: bool) {
        self.world().disk.full = full;
    }

    /// From now on batches wait, unanswered.
    pub fn hold(&self) {
        self.world().held = true;
    }

    /// Commits what waits, in groups of random size, and holds no more.
    pub fn release(&self) {
        let mut world = self.world();
        world.held = false;
        while world.step() {}
    }

    /// Commits one group of what waits; false when nothing did.
    pub fn step(&self) -> bool {
        self.world().step()
    }

    /// The power goes: this handle answers nothing any more. Of the waiting batches some may
    /// have reached the disk.
    pub fn crash(&self) {
        let mut world = self.world();
        if world.gone {
            return;
        }
        world.gone = true;
        let groups = world.random.below(3);
        for _ in 0..groups {
            let Some((group, answers)) = world.take_group() else { break };
            let record = world.apply(&group).record;
            world.disk.log.extend(record);
            // Nobody hears of it.
            drop(answers);
        }
        world.waiting.clear();
        world.tear();
    }

    /// The power comes back: a new handle to what survived. Crashes first if that has not
    /// happened yet.
    pub fn reopen(&self) -> Self {
        self.crash();
        let mut world = self.world();
        let random = Random(world.random.next());
        Self::recover(random, world.disk.log.clone())
    }

    fn recover(random: Random, log: Vec<u8>) -> Self {
        let mut rows = Rows::new();
        let synced = log.len() - replay(&log, &mut rows);
        let disk = Disk { log: log[..synced].to_vec(), synced, ..Disk::default() };
        let waiting = VecDeque::new();
        Self(Mutex::new(World { random, rows, disk, waiting, held: false, gone: false }))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, action: impl FnOnce(&Rows) -> T) -> Result<T, StoreError> {
        let world = self.world();
        if world.gone {
            return Err(StoreError::Engine("the power is gone".to_owned()));
        }
        Ok(action(&world.rows))
    }
}

#[async_trait]
impl Store for SimulatedStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.read(|rows| rows.get(key).cloned())
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.read(|rows| match range.start < range.end {
            true => page(rows.range(range), limit),
            false => Page::default(),
        })
    }

    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.read(|rows| match range.start < range.end {
            true => page(rows.range(range).rev(), limit),
            false => Page::default(),
        })
    }

    fn submit(&self, batch: Batch) -> Committing {
        let (answer, committing) = oneshot::channel();
        let mut world = self.world();
        match batch.weigh() {
            _ if world.gone => drop(answer),
            Err(error) => drop(answer.send(Err(error))),
            Ok(_) => {
                world.waiting.push_back((batch, answer));
                while !world.held && world.step() {}
            }
        }
        Committing(committing)
    }
}

/// What applying a group did, so that it can be written, answered or undone.
struct Applied {
    verdicts: Vec<Result<(), CommitError>>,
    record: Vec<u8>,
    undo: Vec<(Vec<u8>, Option<Versioned>)>,
}

impl World {
    fn take_group(&mut self) -> Option<(Vec<Batch>, Vec<Answer>)> {
        let size = usize::try_from(1 + self.random.below(GROUP_BATCHES_MAX)).unwrap_or(1);
        let size = size.min(self.waiting.len());
        (size > 0).then(|| self.waiting.drain(..size).unzip())
    }

    /// Commits one group. False when nothing waits.
    fn step(&mut self) -> bool {
        let Some((group, answers)) = self.take_group() else { return false };
        let applied = self.apply(&group);
        match self.disk.write(&applied.record) {
            Ok(()) => {
                for (answer, verdict) in answers.into_iter().zip(applied.verdicts) {
                    let _ = answer.send(verdict);
                }
            }
            Err(fault) => {
                for (key, before) in applied.undo.into_iter().rev() {
                    match before {
                        Some(row) => self.rows.insert(key, row),
                        None => self.rows.remove(&key),
                    };
                }
                for answer in answers {
                    let _ = answer.send(Err(fault()));
                }
            }
        }
        true
    }

    fn apply(&mut self, group: &[Batch]) -> Applied {
        let mut verdicts = Vec::new();
        let mut undo = Vec::new();
        let mut body = Vec::new();
        for batch in group {
            if !batch.preconditions.iter().all(|precondition| holds(&self.rows, precondition)) {
                verdicts.push(Err(CommitError::Conflict));
                continue;
            }
            for write in &batch.writes {
                let key = match write {
                    Write::Put(key, _) | Write::Delete(key) => key,
                };
                let before = self.rows.remove(key);
                body.put_u32(u32::try_from(key.len()).expect("a batch is limited"));
                body.put_slice(key);
                match write {
                    Write::Delete(_) => body.put_u8(DELETED),
                    Write::Put(_, value) => {
                        let version = before.as_ref().map_or(1, |row| row.version.0 + 1);
                        body.put_u8(PUT);
                        body.put_u64(version);
                        body.put_u32(u32::try_from(value.len()).expect("a value is limited"));
                        body.put_slice(value);
                        let row = Versioned { value: value.clone(), version: Version(version) };
                        self.rows.insert(key.clone(), row);
                    }
                }
                undo.push((key.clone(), before));
            }
            verdicts.push(Ok(()));
        }
        let mut record = Vec::with_capacity(4 + CHECKSUM_OCTETS + body.len());
        record.put_u32(u32::try_from(body.len()).expect("a group is limited"));
        record.put_slice(&checksum(&body));
        record.put_slice(&body);
        Applied { verdicts, record, undo }
    }

    /// Decides what of the unsynced part of the log reached the disk.
    fn tear(&mut self) {
        let unsynced = self.disk.log.len() - self.disk.synced;
        let kept = self.random.below(unsynced as u64 + 1);
        self.disk.log.truncate(self.disk.synced + usize::try_from(kept).unwrap_or(0));
        // Sectors may reach the disk in any order: sometimes one of them did not.
        if kept > 0 && self.random.below(2) == 0 {
            let from = self.disk.synced + usize::try_from(self.random.below(kept)).unwrap_or(0);
            let to = self.disk.log.len().min(from + 512);
            self.disk.log[from..to].fill(0);
        }
    }
}

impl Disk {
    /// Appends and syncs; on an error the log is as before.
    fn write(&mut self, record: &[u8]) -> Result<(), fn() -> CommitError> {
        if self.full {
            return Err(|| CommitError::Full);
        }
        self.log.extend(record);
        if std::mem::take(&mut self.fails_next_sync) {
            self.log.truncate(self.synced);
            return Err(|| CommitError::Engine("simulated: the sync failed".to_owned()));
        }
        self.synced = self.log.len();
        Ok(())
    }
}

fn holds(rows: &Rows, precondition: &Precondition) -> bool {
    match precondition {
        Precondition::Absent(key) => !rows.contains_key(key),
        Precondition::At(key, version) => rows.get(key).is_some_and(|row| row.version == *version),
    }
}

fn page<'a>(mut rows: impl Iterator<Item = (&'a Vec<u8>, &'a Versioned)>, limit: usize) -> Page {
    let mut page = Page::default();
    let mut octets = 0;
    while page.rows.len() < limit && octets < limits::SCAN_OCTETS_MAX {
        let Some((key, row)) = rows.next() else { return page };
        octets += row.value.len();
        page.rows.push((Bytes::copy_from_slice(key), row.clone()));
    }
    page.more = rows.next().is_some();
    page
}

/// Takes whole groups from the start of the log; returns the octets that are left behind them.
fn replay(mut log: &[u8], rows: &mut Rows) -> usize {
    while let Some((body, rest)) = next_record(log) {
        replay_group(body, rows);
        log = rest;
    }
    log.len()
}

fn next_record(log: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = log.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk::<CHECKSUM_OCTETS>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (checksum(body) == *sum).then_some((body, rest))
}

/// The checksum held: the body is one that [`World::apply`] wrote.
fn replay_group(mut body: &[u8], rows: &mut Rows) {
    while body.has_remaining() {
        let octets = body.get_u32() as usize;
        let key = body.copy_to_bytes(octets).to_vec();
        if body.get_u8() == DELETED {
            rows.remove(&key);
            continue;
        }
        let version = Version(body.get_u64());
        let octets = body.get_u32() as usize;
        let value = body.copy_to_bytes(octets);
        rows.insert(key, Versioned { value, version });
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_OCTETS] {
    let digest = digest::digest(&digest::SHA256, body);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
}

/// SplitMix64: small, good enough to break disks with, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
