//! CRLs that somebody brings here as files.
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::limits::CRL_OCTETS_MAX;
use crate::domain::time::Timestamp;
use crate::infra::revocation::crl::Crl;

/// One configured file: what was read from it last, and what is wrong with it now.
#[derive(Clone, Debug)]
pub(super) struct CrlFile {
    pub(super) path: PathBuf,
    /// The lists of the last good reading.
    pub(super) lists: Vec<Arc<Crl>>,
    /// When somebody brought it: the file's date.
    pub(super) brought: Timestamp,
    /// Why the file as it is now cannot be read; empty otherwise.
    pub(super) trouble: String,
    /// What it looked like when it was read.
    stamp: Option<Stamp>,
}

type Stamp = (i64, i64, u64, u64);

impl CrlFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let nothing = Timestamp::from_millis(0);
        let mut file =
            Self { path, lists: Vec::new(), brought: nothing, trouble: String::new(), stamp: None };
        file.read_if_changed();
        file
    }

    /// Reads the file again if it changed, and says whether it did. A bad one changes nothing but
    /// the trouble.
    pub(super) fn read_if_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        if stamp.is_some() && stamp == self.stamp {
            return false;
        }
        let before = std::mem::replace(&mut self.stamp, stamp);
        match read(&self.path) {
            Ok(lists) => {
                let seconds = stamp.and_then(|stamp| u64::try_from(stamp.0).ok()).unwrap_or(0);
                self.brought = Timestamp::from_seconds(seconds);
                self.trouble.clear();
                let entries: usize = lists.iter().map(Crl::entries).sum();
                tracing::info!(file = %self.path.display(), lists = lists.len(), entries, "CRL read");
                self.lists = lists.into_iter().map(Arc::new).collect();
            }
            Err(reason) => {
                if reason == self.trouble && before == stamp {
                    return false;
                }
                tracing::error!(
                    file = %self.path.display(),
                    reason,
                    "a CRL file cannot be read, the lists before stay"
                );
                self.trouble = reason;
            }
        }
        true
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
}

fn read(path: &Path) -> Result<Vec<Crl>, String> {
    let mut octets = Vec::new();
    let opened = std::fs::File::open(path).map_err(|error| error.to_string())?;
    // PEM is a third longer than what it holds.
    let limit = CRL_OCTETS_MAX * 3 / 2;
    let bound = u64::try_from(limit + 1).unwrap_or(u64::MAX);
    opened.take(bound).read_to_end(&mut octets).map_err(|error| error.to_string())?;
    if octets.len() > limit {
        return Err(format!("more than {limit} octets"));
    }
    Crl::read_all(&octets)
}
