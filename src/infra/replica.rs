//! Disposable, node-local copies of published sources: the national directory, in sled.
//!
//! Each import makes a fresh database, a *generation*, in a directory of its own; a small file
//! names the one that counts. So an import that stops half way changes nothing, a finished one
//! counts from one moment to the next, and the old one is removed whole.
//!
//! sled may lose or refuse its files after a crash, and may panic. Then the generation is moved
//! to `replica/damaged` and the replica is empty until the next import.
mod generation;
mod query;
mod source;
mod table;
mod words;

pub use crate::infra::replica::query::Query;
pub use crate::infra::replica::query::Ranking;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

use crate::domain::address::Address;
use crate::infra::replica::generation::Builder;
use crate::infra::replica::generation::Generation;
use crate::infra::replica::source::Lines;
use crate::infra::store;
use crate::proto::extraction::Header;

/// Names the generation that counts.
const CURRENT: &str = "current";
/// Where the last damaged one lies, for somebody to look at.
const DAMAGED: &str = "damaged";
const GENERATION: &str = "generation-";
/// An import with fewer than so many hundredths of the mailboxes of the last one is refused, by
/// default: the source is published by a machine that can fail, too.
const SHARE_MIN_PERCENT: usize = 50;
/// Rows between two reports of progress.
const PROGRESS_ROWS: usize = 10_000;

/// The directory replica. If it does not open it is moved aside and rebuilt; no truth is in it.
pub struct Replica {
    directory: PathBuf,
    generation: RwLock<Option<Open>>,
    importing: Mutex<()>,
    /// Held locked as long as the replica is open.
    _lock: File,
}

/// The generation that counts and where it lies.
struct Open {
    name: String,
    generation: Generation,
}

/// One line of the national mailbox extraction, as far as the relay needs it. Texts that the
/// directory leaves out are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedMailbox {
    /// `PER` or `ORG`.
    pub kind: String,
    /// The mailbox.
    pub address: String,
    /// RPPS of a professional, empty otherwise.
    pub rpps: String,
    /// *Identification nationale PP*: `8` and the RPPS, or `0` and the older ADELI number.
    pub identity: String,
    /// National structure id (FINESS, SIRET), empty for a PER tied to no structure.
    pub structure: String,
    /// What the structure's id is: `1` FINESS, `3` SIRET, `4` RPPS and rank.
    pub structure_kind: String,
    /// The structure's name.
    pub structure_name: String,
    /// *Service de rattachement*.
    pub service: String,
    /// *Civilité d'exercice*: `Docteur`, `Madame`.
    pub title: String,
    /// Family name, or the structure's name.
    pub name: String,
    /// Given name, or the service.
    pub given_name: String,
    /// Profession code (TRE_G15), `10` for a physician.
    pub profession_code: String,
    /// Profession label.
    pub profession: String,
    /// Speciality code (TRE_R38), `SM26` for general medicine.
    pub speciality_code: String,
    /// Speciality label.
    pub speciality: String,
    /// Number and street of the structure.
    pub street: String,
    /// Postal code.
    pub postal_code: String,
    /// Town.
    pub town: String,
    /// Department: `75`, `2A`, `974`.
    pub department: String,
    /// *Dématérialisation*: paper-free exchange accepted.
    pub paper_free: bool,
}

/// Figures of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Rows read.
    pub rows: usize,
    /// Distinct addresses.
    pub addresses: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// Source file name.
    pub source: String,
}

/// Why an import or a look-up failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The source file is missing or has no such form.
    #[error("{file}: {reason}")]
    Source {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// sled failed; the replica can be rebuilt.
    #[error("directory replica: {0}")]
    Engine(String),
}

impl Replica {
    /// Opens `directory/replica`; a damaged one is moved aside and an empty one made.
    pub fn open(directory: &Path) -> Result<Self, ReplicaError> {
        let directory = directory.join("replica");
        fs::create_dir_all(&directory)?;
        let lock = lock(&directory.join("lock"))?;
        let replica = Self {
            directory,
            generation: RwLock::new(None),
            importing: Mutex::new(()),
            _lock: lock,
        };
        if let Some(name) = replica.current()? {
            let path = replica.directory.join(&name);
            match unwound(|| Generation::open(&path)) {
                Ok(generation) => replica.install(Open { name, generation }),
                Err(error) => replica.set_aside(&name, &error)?,
            }
        }
        replica.remove_leftovers()?;
        Ok(replica)
    }

    /// Imports an extraction (`.txt` or `.zip`), streaming, and swaps it in atomically. `progress`
    /// hears the number of rows now and then. Takes seconds: call it where waiting is allowed.
    ///
    /// Refused, with the old copy kept, when the file is no extraction, or has less than half of
    /// the mailboxes of the last one.
    pub fn import(
        &self,
        extraction: &Path,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Imported, ReplicaError> {
        self.import_at_least(extraction, SHARE_MIN_PERCENT, progress)
    }

    /// The same with another share of the last import's mailboxes, in hundredths; 0 takes any.
    pub fn import_at_least(
        &self,
        extraction: &Path,
        share_min_percent: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Imported, ReplicaError> {
        let _one_at_a_time = self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove_leftovers()?;
        let before = self.imported()?.map_or(0, |imported| imported.addresses);
        let name = self.fresh_name()?;
        let path = self.directory.join(&name);
        let outcome = unwound(|| {
            source::with_lines(extraction, |lines| {
                let builder = build(&path, lines, progress)?;
                if builder.addresses() == 0 {
                    return Err(lines.refused("no mailbox is in it".to_owned()));
                }
                if builder.addresses() * 100 < before * share_min_percent {
                    return Err(lines.refused(format!(
                        "only {} mailboxes where the last import had {before}: the old copy stays",
                        builder.addresses()
                    )));
                }
                builder.finish(&source::name_of(extraction), &path)
            })?;
            Generation::open(&path)
        });
        match outcome {
            Ok(generation) => {
                self.name_current(&name)?;
                self.install(Open { name, generation });
                self.remove_leftovers()?;
                self.imported()?
                    .ok_or_else(|| ReplicaError::Engine("the import did not open".to_owned()))
            }
            Err(error) => {
                self.remove_leftovers()?;
                Err(error)
            }
        }
    }

    /// Looks an address up. Absence here is not absence of a mailbox (red list).
    pub fn find(&self, address: &Address) -> Result<Option<PublishedMailbox>, ReplicaError> {
        Ok(self.read(|generation| generation.find(address))?.flatten())
    }

    /// What was imported last.
    pub fn imported(&self) -> Result<Option<Imported>, ReplicaError> {
        self.read(Generation::imported)
    }

    /// Mailboxes that a query finds, the best first, at most `limit`.
    pub fn search(
        &self,
        query: &Query,
        ranking: &Ranking<'_>,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let all = [
            &query.words,
            &query.name,
            &query.profession,
            &query.speciality,
            &query.place,
            &query.structure,
        ];
        let all = all.map(String::as_str).join(" ");
        let mut found = self.read(|generation| generation.search(&all, 1_000))?.unwrap_or_default();
        found.retain(|one| {
            query.kind.is_none_or(|kind| one.kind == kind.code())
                && !(ranking.hidden)(&one.address.to_lowercase())
        });
        found.truncate(limit);
        Ok(found)
    }

    /// Mailboxes of a professional, published under this RPPS, at most `limit`. Nothing is
    /// hidden here.
    pub fn by_rpps(&self, rpps: &str, limit: usize) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let mut found = self.read(|generation| generation.search(rpps, limit))?.unwrap_or_default();
        found.retain(|one| one.rpps == rpps);
        Ok(found)
    }

    /// Mailboxes of a structure, published under this FINESS or SIRET, at most `limit`. Nothing
    /// is hidden here.
    pub fn by_structure(
        &self,
        structure: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let mut found =
            self.read(|generation| generation.search(structure, limit))?.unwrap_or_default();
        found.retain(|one| one.structure == structure);
        Ok(found)
    }

    /// Reads; `None` while nothing is imported. A generation that fails is set aside.
    fn read<T>(
        &self,
        action: impl FnOnce(&Generation) -> Result<T, ReplicaError>,
    ) -> Result<Option<T>, ReplicaError> {
        let open = self.generation.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Open { name, generation }) = open.as_ref() else { return Ok(None) };
        let (name, outcome) = (name.clone(), unwound(|| action(generation)));
        drop(open);
        if let Err(error) = &outcome {
            self.set_aside(&name, error)?;
        }
        outcome.map(Some)
    }

    fn install(&self, open: Open) {
        let old = self.generation.write().unwrap_or_else(PoisonError::into_inner).replace(open);
        close(old);
    }

    /// Moves a generation that failed out of the way, unless another has taken its place.
    fn set_aside(&self, name: &str, reason: &ReplicaError) -> Result<(), ReplicaError> {
        tracing::error!(%reason, name, "the directory replica is damaged; import it again");
        let mut open = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| open.name != name) {
            return Ok(());
        }
        close(open.take());
        if self.current()?.as_deref() == Some(name) {
            fs::remove_file(self.directory.join(CURRENT))?;
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
        match fs::read(self.directory.join(CURRENT)) {
            Ok(octets) => Ok(String::from_utf8(octets)
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|name| number_of(name).is_some())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn name_current(&self, name: &str) -> Result<(), ReplicaError> {
        let fresh = self.directory.join("current.new");
        fs::write(&fresh, name)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(fresh, self.directory.join(CURRENT))?;
        Ok(File::open(&self.directory)?.sync_all()?)
    }

    fn generations(&self) -> Result<Vec<String>, ReplicaError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names
                .extend(entry?.file_name().into_string().ok().filter(|it| number_of(it).is_some()));
        }
        Ok(names)
    }

    fn fresh_name(&self) -> Result<String, ReplicaError> {
        let last = self.generations()?.iter().filter_map(|name| number_of(name)).max();
        Ok(format!("{GENERATION}{}", last.unwrap_or(0) + 1))
    }

    /// Removes generations that do not count: of an import that stopped, or of the one before.
    fn remove_leftovers(&self) -> Result<(), ReplicaError> {
        let current = self.current()?;
        for name in self.generations()? {
            if current.as_ref() != Some(&name) {
                remove_if_there(&self.directory.join(name))?;
            }
        }
        Ok(())
    }
}

/// Reads all lines into a fresh generation.
fn build(
    path: &Path,
    lines: &mut Lines<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Builder, ReplicaError> {
    let header = match lines.next_line()? {
        Some(line) => Header::parse(line).map_err(|error| error.to_string()),
        None => Err("it is empty".to_owned()),
    };
    let header = header.map_err(|reason| lines.refused(reason))?;
    let mut builder = Builder::new(path)?;
    let mut rows = 0;
    while let Some(line) = lines.next_line()? {
        match header.read(line) {
            Ok(row) => builder.add(&row)?,
            Err(_) => builder.add_bad(),
        }
        rows += 1;
        if rows % PROGRESS_ROWS == 0 {
            progress(rows);
        }
    }
    progress(rows);
    Ok(builder)
}

/// sled may panic where it finds damage.
fn unwound<T>(action: impl FnOnce() -> Result<T, ReplicaError>) -> Result<T, ReplicaError> {
    panic::catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|_| Err(ReplicaError::Engine("the engine panicked".to_owned())))
}

/// Also dropping may make sled panic.
fn close(open: Option<Open>) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(open)));
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(GENERATION)?.parse().ok()
}

fn remove_if_there(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Keeps a second process out.
fn lock(path: &Path) -> Result<File, ReplicaError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match store::try_lock_patiently(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(ReplicaError::Engine("in use by another process".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl From<io::Error> for ReplicaError {
    fn from(error: io::Error) -> Self {
        Self::Engine(error.to_string())
    }
}
