//! sled, opened and made durable.
use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::infra::replica::ReplicaError;

/// How often, and how long, the lock of an earlier handle is waited for: two seconds in all.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);
/// Memory that sled may use for pages.
const CACHE_OCTETS: u64 = 33_554_432;

/// Opens the database in that directory, or makes it.
pub(super) fn open(directory: &Path) -> Result<sled::Db, ReplicaError> {
    let config = sled::Config::new()
        .path(directory)
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(CACHE_OCTETS)
        .flush_every_ms(None);
    Ok(open_when_free(&config)?)
}

/// sled gives its file lock back some time after the last handle is dropped, when its own
/// threads have ended: an import that has just been written may be locked for a moment.
fn open_when_free(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    let mut tries = LOCK_TRIES;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if tries > 0 && is_locked(&error) => {
                tries -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
}

/// sled keeps the reason as a text.
fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Makes all files below a directory durable, and their names: sled's own flush is not enough to
/// survive a power cut.
pub(super) fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}
