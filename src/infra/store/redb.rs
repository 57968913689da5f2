//! The embedded engine: redb, with group commit.
//!
//! One file, one table of ordered byte keys. A row is the version (8 octets, big endian) and the
//! value. Deleting a key forgets its version: the next put makes version 1 again.
//!
//! **When the disk fails.** redb refuses everything after an I/O error. We then put the header of
//! the last durable commit back, read on from a shadow of that commit which writes nothing, and
//! refuse batches with [`CommitError::Full`] or [`CommitError::Engine`]. Before the next group we
//! try the disk with a file of our own; when that works the store is opened anew and goes on. No
//! restart is needed; and a start on a full disk gives a store that can be read. If the process
//! dies before the header is back, the refused group may be there, whole, after the restart: a
//! caller that was told "later" may then see it twice.
//!
//! A sector that cannot be read costs the rows that need it: [`StoreError::Damaged`] for them,
//! and all others go on.
mod committer;
mod device;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::Database;
use redb::ReadOnlyTable;
use redb::ReadableDatabase;
use redb::StorageBackend;
use redb::StorageError;
use redb::TableDefinition;
use tokio::sync::oneshot;

use crate::domain::limits;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Committing;
use crate::infra::store::Page;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::Versioned;
use crate::infra::store::is_full;
use crate::infra::store::redb::committer::Committer;
use crate::infra::store::redb::committer::Message;
use crate::infra::store::redb::device::Device;
use crate::infra::store::redb::device::Disk;
use crate::infra::store::redb::device::Shadow;
use crate::infra::store::redb::device::Switch;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const VERSION_OCTETS: usize = 8;
/// Memory that redb may use for pages: half of it for reading, half for what is being written.
const CACHE_OCTETS: usize = 134_217_728;
/// How long a read waits, and how often, for the store to stand up again after a failed commit.
const READ_RETRY: Duration = Duration::from_millis(20);
const READ_RETRIES: usize = 250;

/// One redb file and the thread that commits to it.
pub struct RedbStore {
    shelf: Arc<Shelf>,
    inbox: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The database that readers use: replaced after a fault, taken away on closing.
struct Shelf(RwLock<Option<Database>>);

impl Shelf {
    /// Lends the database; `None` after closing. Never held over an await.
    fn with<T>(&self, action: impl FnOnce(&Database) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(action)
    }

    fn replace(&self, database: Database) {
        let old = self.0.write().unwrap_or_else(PoisonError::into_inner).replace(database);
        // Closing takes its time: not under the lock. A database in which a commit panicked may
        // do so again here.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(old)));
    }

    fn take(&self) -> Option<Database> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RedbStore {
    /// Opens or creates `directory/truth.redb` and starts the committing thread. After a crash
    /// the whole file is read once, which takes about half a second a gigabyte.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with_cache(directory, CACHE_OCTETS)
    }

    /// The same with another amount of memory for pages, in octets.
    pub fn open_with_cache(directory: &Path, cache_octets: usize) -> Result<Self, StoreError> {
        let path = directory.join("truth.redb");
        fs::create_dir_all(directory).map_err(|error| io_failed(&path, &error))?;
        let file = open_locked(&path)?;
        let fresh = file.metadata().map_err(|error| io_failed(&path, &error))?.len() == 0;
        let disk = Disk::new(file).map_err(|error| io_failed(&path, &error))?;
        let opener = Opener { path: path.clone(), disk: Arc::new(disk), cache_octets };
        let (database, switch, stalled) = match opener.open() {
            Ok((database, switch)) => (database, switch, false),
            // People can still read their mail while somebody makes room.
            Err(StoreError::Full) if !fresh => {
                tracing::error!("the store's disk is full; mail is put off");
                (opener.shadow()?, Arc::default(), true)
            }
            Err(error) => {
                // What could not be created is not left behind as a damaged file. What was there
                // before is never touched.
                if fresh {
                    let _ = opener.disk.restore();
                }
                return Err(error);
            }
        };
        if fresh {
            sync_directory(directory).map_err(|error| io_failed(&path, &error))?;
        }
        let shelf = Arc::new(Shelf(RwLock::new(Some(database))));
        let (inbox, messages) = mpsc::channel();
        let waiting = Arc::<AtomicUsize>::default();
        let committer = Committer {
            inbox: messages,
            shelf: Arc::clone(&shelf),
            opener,
            switch,
            waiting: Arc::clone(&waiting),
            probe: directory.join("truth.probe"),
            stalled,
        };
        let thread = thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| io_failed(&path, &error))?;
        Ok(Self { shelf, inbox, waiting, thread: Mutex::new(Some(thread)) })
    }

    /// Stops taking batches, waits for the submitted ones, closes the file.
    pub fn close(&self) {
        // An error means that the thread is gone already.
        let _ = self.inbox.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the committing thread panicked");
        }
        drop(self.shelf.take());
    }

    /// Reads from a snapshot; waits a while when the store is just standing up after a fault.
    ///
    /// The reading itself is done on the caller's thread: it is a walk through pages in memory,
    /// a few microseconds; handing it to another thread would cost more.
    async fn read<T>(
        &self,
        action: impl Fn(&Snapshot) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        for _ in 0..READ_RETRIES {
            let outcome = self.shelf.with(|database| unwound(|| action(&snapshot(database)?)));
            match outcome {
                None => return Err(StoreError::Engine("the store is closed".to_owned())),
                Some(Err(redb::Error::PreviousIo | redb::Error::DatabaseClosed)) => {
                    tokio::time::sleep(READ_RETRY).await;
                }
                Some(outcome) => return outcome.map_err(storage_failed),
            }
        }
        Err(StoreError::Engine("the disk failed and has not recovered".to_owned()))
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.read(|rows| rows.get(key)?.map(|row| versioned(row.value())).transpose()).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.read(|rows| match slices(&range) {
            Some(range) => page(rows.range(range)?, limit),
            None => Ok(Page::default()),
        })
        .await
    }

    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.read(|rows| match slices(&range) {
            Some(range) => page(rows.range(range)?.rev(), limit),
            None => Ok(Page::default()),
        })
        .await
    }

    fn submit(&self, batch: Batch) -> Committing {
        let (answer, committing) = oneshot::channel();
        match batch.weigh() {
            Err(error) => drop(answer.send(Err(error))),
            Ok(octets) => {
                let waiting = self.waiting.fetch_add(octets, Ordering::Relaxed);
                if waiting > limits::WAITING_OCTETS_MAX {
                    self.waiting.fetch_sub(octets, Ordering::Relaxed);
                    let reason = "the disk does not keep up with what is submitted".to_owned();
                    drop(answer.send(Err(CommitError::Engine(reason))));
                } else {
                    // When the thread is gone the answer is dropped, and reads as `Closing`.
                    let _ = self.inbox.send(Message::Commit(batch, octets, answer));
                }
            }
        }
        Committing(committing)
    }
}

/// How the file is opened: at start, and again after a fault.
struct Opener {
    path: PathBuf,
    disk: Arc<Disk>,
    cache_octets: usize,
}

impl Opener {
    /// For reading and writing.
    fn open(&self) -> Result<(Database, Arc<Switch>), StoreError> {
        let (device, switch) = Device::new(Arc::clone(&self.disk));
        let database = self.open_on(device).map_err(|error| match switch.fault() {
            Some((kind, _)) if is_full(kind) => StoreError::Full,
            Some((_, reason)) => StoreError::Engine(format!("{}: {reason}", self.path.display())),
            None => error,
        })?;
        switch.serve();
        Ok((database, switch))
    }

    /// For reading the last durable commit while the disk takes no writes.
    fn shadow(&self) -> Result<Database, StoreError> {
        let (shadow, switch) =
            Shadow::new(Arc::clone(&self.disk)).map_err(|error| io_failed(&self.path, &error))?;
        let database = self.open_on(shadow)?;
        switch.serve();
        Ok(database)
    }

    fn open_on(&self, backend: impl StorageBackend) -> Result<Database, StoreError> {
        unwound(|| {
            let database = Database::builder()
                .set_cache_size(self.cache_octets)
                .set_repair_callback(|repair| {
                    tracing::warn!(
                        progress = repair.progress(),
                        "checking the store after a crash"
                    );
                })
                .create_with_backend(backend)?;
            // Readers expect the table.
            if snapshot(&database).is_err() {
                let transaction = database.begin_write()?;
                transaction.open_table(ROWS)?;
                transaction.commit()?;
            }
            Ok(database)
        })
        .map_err(|error| match error {
            // A file that was cut short, or is none of ours, reads as such.
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
                ) =>
            {
                self.damaged(&error)
            }
            redb::Error::Io(error) => io_failed(&self.path, &error),
            other => self.damaged(&other),
        })
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged(format!(
            "{} does not open: {reason}. The file was left as it is. Keep a copy of it, then put \
             the last backup in its place, or move it away to begin with an empty store",
            self.path.display()
        ))
    }
}

/// redb may panic on a file that somebody altered: that is damage, and must not end a task that
/// can say so.
fn unwound<T>(action: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    panic::catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("the engine panicked".to_owned())))
}

/// Opens the file, for its owner only, and holds a lock on it for as long as it is open.
fn open_locked(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| io_failed(path, &error))?;
    match store::try_lock_patiently(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let directory = path.parent().unwrap_or(path);
            Err(StoreError::InUse(directory.display().to_string()))
        }
        Err(TryLockError::Error(error)) => Err(io_failed(path, &error)),
    }
}

/// Makes new names in a directory durable.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

type Snapshot = ReadOnlyTable<&'static [u8], &'static [u8]>;

fn snapshot(database: &Database) -> Result<Snapshot, redb::Error> {
    Ok(database.begin_read()?.open_table(ROWS)?)
}

/// The bounds of a scan; `None` when nothing can lie between them.
fn slices(range: &Range<Vec<u8>>) -> Option<Range<&[u8]>> {
    (range.start < range.end).then_some(range.start.as_slice()..range.end.as_slice())
}

type Row<'a> = (redb::AccessGuard<'a, &'static [u8]>, redb::AccessGuard<'a, &'static [u8]>);

fn page<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, StorageError>>,
    limit: usize,
) -> Result<Page, redb::Error> {
    let mut page = Page::default();
    let mut octets = 0;
    for row in rows {
        if page.rows.len() >= limit || octets >= limits::SCAN_OCTETS_MAX {
            page.more = true;
            break;
        }
        let (key, value) = row?;
        let value = versioned(value.value())?;
        octets += value.value.len();
        page.rows.push((Bytes::copy_from_slice(key.value()), value));
    }
    Ok(page)
}

fn version_of(row: &[u8]) -> Result<Version, redb::Error> {
    row.first_chunk::<VERSION_OCTETS>()
        .map(|octets| Version(u64::from_be_bytes(*octets)))
        .ok_or_else(|| redb::Error::Corrupted("a row without version".to_owned()))
}

fn versioned(row: &[u8]) -> Result<Versioned, redb::Error> {
    let version = version_of(row)?;
    Ok(Versioned { value: Bytes::copy_from_slice(&row[VERSION_OCTETS..]), version })
}

fn io_failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::of_io(&path.display().to_string(), error)
}

fn storage_failed(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Corrupted(reason) => StoreError::Damaged(reason),
        other => StoreError::Engine(other.to_string()),
    }
}
