//! A shelf: imports of one kind, each in a directory of its own, and a small file that names the
//! one that counts.
use std::fs;
use std::fs::File;
use std::io;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::RwLock;

use crate::infra::replica::ReplicaError;

/// Where the last damaged one lies, for somebody to look at.
const DAMAGED: &str = "damaged";

/// Imports of one kind.
pub(super) struct Shelf<T> {
    directory: PathBuf,
    /// What the directories' names begin with.
    prefix: &'static str,
    /// The file that names the one that counts.
    current: &'static str,
    open: fn(&Path) -> Result<T, ReplicaError>,
    standing: RwLock<Option<Standing<T>>>,
}

/// The import that counts, and where it lies.
struct Standing<T> {
    name: String,
    import: T,
}

impl<T> Shelf<T> {
    /// Opens the import that counts; a damaged one is moved aside.
    pub(super) fn open(
        directory: &Path,
        prefix: &'static str,
        current: &'static str,
        open: fn(&Path) -> Result<T, ReplicaError>,
    ) -> Result<Self, ReplicaError> {
        let directory = directory.to_owned();
        let shelf = Self { directory, prefix, current, open, standing: RwLock::new(None) };
        if let Some(name) = shelf.current()? {
            let path = shelf.directory.join(&name);
            match unwound(|| open(&path)) {
                Ok(import) => shelf.install(Standing { name, import }),
                Err(error) => shelf.set_aside(&name, &error)?,
            }
        }
        shelf.remove_leftovers()?;
        Ok(shelf)
    }

    /// Lets `build` fill a fresh directory, opens it and lets it count. When anything fails, what
    /// counted before counts on.
    pub(super) fn replace(
        &self,
        build: impl FnOnce(&Path) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        self.remove_leftovers()?;
        let name = self.fresh_name()?;
        let path = self.directory.join(&name);
        let outcome = unwound(|| {
            build(&path)?;
            (self.open)(&path)
        });
        let outcome = match outcome {
            Ok(import) => {
                self.name_current(&name).map(|()| self.install(Standing { name, import }))
            }
            Err(error) => Err(error),
        };
        let removed = self.remove_leftovers();
        outcome.and(removed)
    }

    /// Reads; `None` while nothing is imported. An import that fails is set aside.
    pub(super) fn read<R>(
        &self,
        action: impl FnOnce(&T) -> Result<R, ReplicaError>,
    ) -> Result<Option<R>, ReplicaError> {
        let open = self.standing.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Standing { name, import }) = open.as_ref() else { return Ok(None) };
        let (name, outcome) = (name.clone(), unwound(|| action(import)));
        drop(open);
        if let Err(error) = &outcome {
            self.set_aside(&name, error)?;
        }
        outcome.map(Some)
    }

    fn install(&self, standing: Standing<T>) {
        let old = self.standing.write().unwrap_or_else(PoisonError::into_inner).replace(standing);
        close(old);
    }

    /// Moves an import that failed out of the way, unless another has taken its place.
    fn set_aside(&self, name: &str, reason: &ReplicaError) -> Result<(), ReplicaError> {
        tracing::error!(%reason, name, "the directory replica is damaged; it is made again");
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        if standing.as_ref().is_some_and(|standing| standing.name != name) {
            return Ok(());
        }
        close(standing.take());
        if self.current()?.as_deref() == Some(name) {
            fs::remove_file(self.directory.join(self.current))?;
        }
        let aside = self.directory.join(DAMAGED);
        remove_if_there(&aside)?;
        match fs::rename(self.directory.join(name), aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    /// The name in the small file, if it is one of ours.
    fn current(&self) -> Result<Option<String>, ReplicaError> {
        match fs::read(self.directory.join(self.current)) {
            Ok(octets) => Ok(String::from_utf8(octets)
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|name| self.number_of(name).is_some())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn name_current(&self, name: &str) -> Result<(), ReplicaError> {
        let fresh = self.directory.join(format!("{}.new", self.current));
        fs::write(&fresh, name)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(fresh, self.directory.join(self.current))?;
        Ok(File::open(&self.directory)?.sync_all()?)
    }

    fn names(&self) -> Result<Vec<String>, ReplicaError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().into_string().ok();
            names.extend(name.filter(|it| self.number_of(it).is_some()));
        }
        Ok(names)
    }

    fn fresh_name(&self) -> Result<String, ReplicaError> {
        let last = self.names()?.iter().filter_map(|name| self.number_of(name)).max();
        Ok(format!("{}{}", self.prefix, last.unwrap_or(0) + 1))
    }

    /// Removes imports that do not count: one that stopped, or the one before.
    fn remove_leftovers(&self) -> Result<(), ReplicaError> {
        let current = self.current()?;
        for name in self.names()? {
            if current.as_ref() != Some(&name) {
                remove_if_there(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    fn number_of(&self, name: &str) -> Option<u64> {
        name.strip_prefix(self.prefix)?.parse().ok()
    }
}

/// sled may panic where it finds damage.
fn unwound<T>(action: impl FnOnce() -> Result<T, ReplicaError>) -> Result<T, ReplicaError> {
    panic::catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|_| Err(ReplicaError::Engine("the engine panicked".to_owned())))
}

/// Also dropping may make sled panic.
fn close<T>(standing: Option<T>) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(standing)));
}

pub(super) fn remove_if_there(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
