//! The ordered key-value store in which the truth lives: snapshot reads, atomic durable commits.
//!
//! One narrow trait, because one machine and a cluster are both real, and because a third,
//! simulated engine lets tests break the disk. All engines pass one conformance suite.
//!
//! **Versions.** A put on an absent key makes version 1; a put on version *v* makes *v* + 1.
//! So a caller that submits several batches in a row can foretell the versions that they will
//! meet, and need not wait for one commit before it builds the next. Deleting a key forgets its
//! version: the next put makes version 1. So a key that is deleted and put again may stand at a
//! version that somebody read before; give such things fresh keys.
//!
//! **Order.** Batches commit in the order in which they were submitted.
pub mod blobs;
pub mod redb;
pub(crate) mod row;
pub mod simulated;

use std::fs::File;
use std::fs::TryLockError;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::domain::limits;

/// Which put of a key this is; see the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The stored bytes, at most `limits::VALUE_OCTETS_MAX`.
    pub value: Bytes,
    /// Which put made it.
    pub version: Version,
}

/// Rows of a scan in key order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// At most as many as were asked for.
    pub rows: Vec<(Bytes, Versioned)>,
    /// True when the range holds more rows behind the last one.
    pub more: bool,
}

/// What must hold for a batch to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent(Vec<u8>),
    /// The key exists at just this version.
    At(Vec<u8>, Version),
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value.
    Put(Vec<u8>, Bytes),
    /// Removes the key; nothing happens when it is absent.
    Delete(Vec<u8>),
}

/// Preconditions and writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// All must hold, in the state that the batches before this one leave.
    pub preconditions: Vec<Precondition>,
    /// Done in order.
    pub writes: Vec<Write>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that the key does not exist.
    pub fn require_absent(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.preconditions.push(Precondition::Absent(key.into()));
        self
    }

    /// Requires the key at this version.
    pub fn require_at(&mut self, key: impl Into<Vec<u8>>, version: Version) -> &mut Self {
        self.preconditions.push(Precondition::At(key.into(), version));
        self
    }

    /// Writes a value.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.writes.push(Write::Delete(key.into()));
        self
    }

    /// Adds all that `other` requires and writes.
    pub fn extend(&mut self, other: Self) -> &mut Self {
        self.preconditions.extend(other.preconditions);
        self.writes.extend(other.writes);
        self
    }

    /// Octets of all keys and values; refused when one value, or all together, are over the
    /// limit. Every engine asks this before it takes the batch.
    pub(crate) fn weigh(&self) -> Result<usize, CommitError> {
        let required = self.preconditions.iter().map(|precondition| match precondition {
            Precondition::Absent(key) | Precondition::At(key, _) => key.len(),
        });
        let mut octets_sum: usize = required.sum();
        for write in &self.writes {
            octets_sum += match write {
                Write::Put(_, value) if value.len() > limits::VALUE_OCTETS_MAX => {
                    return Err(CommitError::ValueTooLarge(value.len()));
                }
                Write::Put(key, value) => key.len() + value.len(),
                Write::Delete(key) => key.len(),
            };
        }
        if octets_sum > limits::BATCH_OCTETS_MAX {
            return Err(CommitError::ValueTooLarge(octets_sum));
        }
        Ok(octets_sum)
    }
}

/// The world failed while reading or opening.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine or the file system said no.
    #[error("the store failed: {0}")]
    Engine(String),
    /// A row or blob does not have the form that was written.
    #[error("the store holds damaged data: {0}")]
    Damaged(String),
    /// Another process has the store open.
    #[error("the store in {0} is in use by another process")]
    InUse(String),
    /// The blob is not there.
    #[error("no such blob")]
    BlobMissing,
    /// No room on the device.
    #[error("the disk is full")]
    Full,
}

impl StoreError {
    /// An error of the file system at `place`.
    pub(crate) fn of_io(place: &str, error: &io::Error) -> Self {
        if is_full(error.kind()) { Self::Full } else { Self::Engine(format!("{place}: {error}")) }
    }
}

/// No room on the device, or none for us: a quota, or a limit on the size of files.
pub(crate) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A batch did not become durable. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A precondition did not hold: read again and retry.
    #[error("a precondition of the batch did not hold")]
    Conflict,
    /// A value, or a batch, over the limit: our bug, refused before it is written.
    #[error("a value or batch of {0} octets is over the limit")]
    ValueTooLarge(usize),
    /// No room on the device.
    #[error("the disk is full")]
    Full,
    /// The engine failed; whether it will recover is unknown.
    #[error("the store failed: {0}")]
    Engine(String),
    /// The store is closing.
    #[error("the store is closing")]
    Closing,
}

/// Resolves when the submitted batch is durable, or will never be.
///
/// Dropping it does not take the batch back.
#[derive(Debug)]
pub struct Committing(pub oneshot::Receiver<Result<(), CommitError>>);

impl Future for Committing {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(CommitError::Closing)))
    }
}

/// Ordered keys, snapshot reads, atomic durable commits.
#[async_trait]
pub trait Store: Send + Sync {
    /// The newest durable value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// Rows with `range.start <= key < range.end` in key order, from one snapshot, at most `limit`.
    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError>;

    /// Like [`Store::scan`], from the end of the range backwards.
    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError>;

    /// Hands a batch in. Order of submission is order of commit. Never waits.
    fn submit(&self, batch: Batch) -> Committing;

    /// Hands a batch in and waits until it is durable.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.submit(batch).await
    }
}

/// All keys that begin with `prefix`.
pub fn prefix(prefix: &[u8]) -> Range<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return prefix.to_vec()..end;
        }
    }
    // A prefix of 0xff only: no key of ours starts so.
    prefix.to_vec()..vec![u8::MAX; prefix.len() + 1]
}

/// Takes a file's lock, or tells that another process has it after a second of asking.
///
/// Not at once: a process that is just being started holds copies of our open files, and their
/// locks, until it becomes itself; and an earlier handle of ours may still be closing.
pub(crate) fn try_lock_patiently(file: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 50;
    const WAIT: Duration = Duration::from_millis(20);
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(WAIT),
            other => return other,
        }
    }
    file.try_lock()
}
