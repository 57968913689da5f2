//! The thread that commits: it gathers what waits, writes it in one transaction, syncs once and
//! answers all.
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use redb::Database;
use redb::ReadableTable;
use redb::Table;
use tokio::sync::oneshot;

use crate::domain::limits;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Precondition;
use crate::infra::store::Version;
use crate::infra::store::Write;
use crate::infra::store::is_full;
use crate::infra::store::redb::Opener;
use crate::infra::store::redb::ROWS;
use crate::infra::store::redb::Shelf;
use crate::infra::store::redb::VERSION_OCTETS;
use crate::infra::store::redb::device::Switch;
use crate::infra::store::redb::version_of;

/// Octets that the probe writes to see whether a full or failing disk has recovered: a few times
/// what one group needs, so that the real commit does not fail at once again.
const PROBE_OCTETS: usize = 2 * limits::GROUP_OCTETS_MAX;

/// What the callers send.
pub(super) enum Message {
    /// A batch, what it weighs, and who waits for it.
    Commit(Batch, usize, oneshot::Sender<Result<(), CommitError>>),
    /// Finish what was sent before, then stop.
    Close,
}

/// Why a group failed.
#[derive(Clone, Debug)]
enum Fault {
    Full,
    Engine(String),
}

impl Fault {
    fn answer(&self) -> CommitError {
        match self {
            Self::Full => CommitError::Full,
            Self::Engine(reason) => CommitError::Engine(reason.clone()),
        }
    }
}

/// The committing thread's own things.
pub(super) struct Committer {
    pub(super) inbox: Receiver<Message>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) opener: Opener,
    pub(super) switch: Arc<Switch>,
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) probe: PathBuf,
    /// True after a failed commit until the file is opened anew for writing.
    pub(super) stalled: bool,
}

type Group = Vec<(Batch, usize, oneshot::Sender<Result<(), CommitError>>)>;

impl Committer {
    /// Runs until it is told to close, or nobody can send any more.
    pub(super) fn run(mut self) {
        loop {
            let (group, last) = self.gather();
            if !group.is_empty() {
                self.commit(group);
            }
            // What is still in the inbox came after `Close`: its callers see `Closing`.
            if last {
                return;
            }
        }
    }

    /// Waits for one batch and takes what else is there, within the bounds of a group.
    fn gather(&self) -> (Group, bool) {
        let mut group = Group::new();
        let mut octets_sum = 0;
        let mut next = self.inbox.recv().ok();
        loop {
            match next {
                Some(Message::Commit(batch, octets, answer)) => {
                    octets_sum += octets;
                    group.push((batch, octets, answer));
                }
                Some(Message::Close) | None => return (group, true),
            }
            if group.len() >= limits::GROUP_BATCHES_MAX || octets_sum >= limits::GROUP_OCTETS_MAX {
                return (group, false);
            }
            match self.inbox.try_recv() {
                Ok(message) => next = Some(message),
                // Also when nobody can send any more: the next `recv` will say so.
                Err(_) => return (group, false),
            }
        }
    }

    fn commit(&mut self, group: Group) {
        let octets = group.iter().map(|(_, octets, _)| octets).sum();
        let outcome = self
            .recover()
            .and_then(|()| self.write(&group).inspect_err(|fault| self.fall_back(fault)));
        self.waiting.fetch_sub(octets, Ordering::Relaxed);
        match outcome {
            Ok(verdicts) => {
                for ((_, _, answer), verdict) in group.into_iter().zip(verdicts) {
                    // Nobody listens when the caller was cancelled; the batch stands all the same.
                    let _ = answer.send(verdict);
                }
            }
            Err(fault) => {
                self.stalled = true;
                for (_, _, answer) in group {
                    let _ = answer.send(Err(fault.answer()));
                }
            }
        }
    }

    /// Writes the group in one transaction. On an error nothing of it counts.
    fn write(&self, group: &Group) -> Result<Vec<Result<(), CommitError>>, Fault> {
        let outcome = self.shelf.with(|database| {
            // redb asserts what it holds to be impossible; such a panic must cost one group,
            // not the relay's ability to take mail.
            panic::catch_unwind(AssertUnwindSafe(|| write_group(database, group)))
                .unwrap_or_else(|_| Err("the engine panicked".to_owned()))
        });
        let reason = match outcome {
            Some(Ok(verdicts)) => return Ok(verdicts),
            Some(Err(reason)) => reason,
            None => "the store is closed".to_owned(),
        };
        Err(match self.switch.fault() {
            Some((kind, _)) if is_full(kind) => Fault::Full,
            Some((_, fault)) => Fault::Engine(fault),
            None => Fault::Engine(reason),
        })
    }

    /// After a failed commit: redb takes no more writes, and soon no reads, until it is opened
    /// anew. Reads go on from the last durable commit, without touching the disk.
    fn fall_back(&self, fault: &Fault) {
        match fault {
            Fault::Full => tracing::error!("the store's disk is full; mail is put off"),
            Fault::Engine(reason) => tracing::error!(%reason, "the store failed; mail is put off"),
        }
        self.switch.sever();
        // At once, so that a crash before the disk recovers finds the durable commit, too. When
        // this fails it is done again before the next commit.
        if let Err(error) = self.opener.disk.restore() {
            tracing::error!(%error, "the store's header could not be put back yet");
        }
        match self.opener.shadow() {
            Ok(database) => self.shelf.replace(database),
            Err(error) => tracing::error!(%error, "the store cannot be read until it recovers"),
        }
    }

    /// Opens the store for writing again, if it must be and can be.
    fn recover(&mut self) -> Result<(), Fault> {
        if !self.stalled {
            return Ok(());
        }
        self.try_disk().map_err(|error| fault_of(&error))?;
        self.opener.disk.restore().map_err(|error| fault_of(&error))?;
        let (database, switch) =
            self.opener.open().map_err(|error| Fault::Engine(error.to_string()))?;
        self.switch = switch;
        self.shelf.replace(database);
        self.stalled = false;
        tracing::warn!("the store recovered; mail is taken again");
        Ok(())
    }

    /// Writes and syncs a file beside the store. Opening redb only to see it fail again would
    /// cost a scan of the whole file each time.
    fn try_disk(&self) -> io::Result<()> {
        let outcome = File::create(&self.probe).and_then(|mut file| {
            let zeros = vec![0; 65_536];
            for _ in 0..PROBE_OCTETS / zeros.len() {
                file.write_all(&zeros)?;
            }
            file.sync_data()
        });
        let removed = match fs::remove_file(&self.probe) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        outcome.and(removed)
    }
}

fn fault_of(error: &io::Error) -> Fault {
    if is_full(error.kind()) { Fault::Full } else { Fault::Engine(error.to_string()) }
}

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

fn write_group(database: &Database, group: &Group) -> Result<Vec<Result<(), CommitError>>, String> {
    let transaction = database.begin_write().map_err(|error| error.to_string())?;
    let mut verdicts = Vec::with_capacity(group.len());
    let mut written = false;
    {
        let mut rows = transaction.open_table(ROWS).map_err(|error| error.to_string())?;
        for (batch, _, _) in group {
            verdicts.push(if holds(&rows, &batch.preconditions)? {
                write_batch(&mut rows, &batch.writes)?;
                written |= !batch.writes.is_empty();
                Ok(())
            } else {
                Err(CommitError::Conflict)
            });
        }
    }
    if written {
        transaction.commit().map_err(|error| error.to_string())?;
    } else {
        transaction.abort().map_err(|error| error.to_string())?;
    }
    Ok(verdicts)
}

/// Judged in the state that the batches before this one left.
fn holds(rows: &Rows<'_>, preconditions: &[Precondition]) -> Result<bool, String> {
    for precondition in preconditions {
        let holds = match precondition {
            Precondition::Absent(key) => current(rows, key)?.is_none(),
            Precondition::At(key, version) => current(rows, key)? == Some(*version),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_batch(rows: &mut Rows<'_>, writes: &[Write]) -> Result<(), String> {
    for write in writes {
        match write {
            Write::Put(key, value) => {
                let version = current(rows, key)?.map_or(1, |Version(version)| version + 1);
                let mut row = rows
                    .insert_reserve(key.as_slice(), VERSION_OCTETS + value.len())
                    .map_err(|error| error.to_string())?;
                let (head, body) = row.as_mut().split_at_mut(VERSION_OCTETS);
                head.copy_from_slice(&version.to_be_bytes());
                body.copy_from_slice(value);
            }
            Write::Delete(key) => {
                rows.remove(key.as_slice()).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

fn current(rows: &Rows<'_>, key: &[u8]) -> Result<Option<Version>, String> {
    let Some(row) = rows.get(key).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    version_of(row.value()).map(Some).map_err(|error| error.to_string())
}
