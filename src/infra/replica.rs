//! Disposable, node-local copies of published sources: the national directory, in sled.
//!
//! Each import makes a fresh database in a directory of its own; a small file names the one that
//! counts ([`shelf`]). So an import that stops half way changes nothing, a finished one counts from
//! one moment to the next, and the old one is removed whole. The file that was imported last is
//! kept, so that the copy can be made again from it.
//!
//! sled may lose or refuse its files after a crash, and may panic. Then the import is moved to
//! `replica/damaged`, and the copy is empty until [`Replica::rebuild`] or the next import.
mod builder; // an import of mailboxes in the making
mod engine; // sled, opened and made durable
mod generation; // one import of mailboxes
mod people; // one import of professionals
mod postings; // which rows have which word
mod query; // what somebody looks for
mod search; // from a query to mailboxes
mod shelf; // the import that counts
mod source; // the published file
mod table; // sorted blocks in sled
mod words; // words as people search them

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::replica::builder::Builder;
use crate::infra::replica::generation::Generation;
use crate::infra::replica::people::People;
use crate::infra::replica::people::PeopleBuilder;
pub use crate::infra::replica::query::Query;
pub use crate::infra::replica::query::Ranking;
use crate::infra::replica::shelf::Shelf;
use crate::infra::replica::source::Lines;
pub use crate::infra::replica::words::words as folded_words;
use crate::infra::store;
use crate::proto::extraction::Header;
use crate::proto::extraction::people::PeopleHeader;

/// An import with fewer than so many hundredths of the mailboxes of the last one is refused, by
/// default: the source is published by a machine that can fail, too.
const SHARE_MIN_PERCENT: usize = 50;
/// Rows between two reports of progress.
const PROGRESS_ROWS: usize = 10_000;
/// The texts of PS_LibreAcces.
const PEOPLE_TEXTS: usize = 3;
/// Where the file that was imported last is kept, by kind.
const KEPT_MAILBOXES: &str = "kept-extraction";
const KEPT_PEOPLE: &str = "kept-people";

/// The directory replica. If it does not open it is moved aside and rebuilt; no truth is in it.
pub struct Replica {
    directory: PathBuf,
    mailboxes: Shelf<Generation>,
    people: Shelf<People>,
    importing: Mutex<()>,
    /// Held locked as long as the replica is open.
    _lock: File,
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

/// A professional, as the PS_LibreAcces files know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Professional {
    /// `8` and the RPPS, or `0` and the older ADELI number.
    pub identity: String,
    /// Family name.
    pub name: String,
    /// Given name.
    pub given_name: String,
    /// They have an activity. Without one they have stopped, or not begun yet.
    pub active: bool,
    /// Codes (TRE_G15) and labels.
    pub professions: Vec<(String, String)>,
    /// Codes of skills (TRE_R38 and others).
    pub specialities: Vec<String>,
    /// FINESS or SIRET of the places where they work.
    pub structures: Vec<String>,
}

/// What can be imported, known by its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The mailbox extraction.
    Mailboxes,
    /// The PS_LibreAcces files.
    People,
}

/// Figures of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Rows read.
    pub rows: usize,
    /// Distinct addresses; distinct people in an import of PS_LibreAcces.
    pub addresses: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// Source file name.
    pub source: String,
    /// When it was imported.
    pub at: Timestamp,
}

impl Imported {
    /// When the source was made: its name ends with `AAAAMMJJhhmm`, French time. `None` when it
    /// does not, and for what is no date.
    pub fn made(&self) -> Option<Timestamp> {
        source::made(&self.source)
    }
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
    /// Opens `directory/replica`; what is damaged is moved aside and empty.
    pub fn open(directory: &Path) -> Result<Self, ReplicaError> {
        let directory = directory.join("replica");
        fs::create_dir_all(&directory)?;
        let lock = lock(&directory.join("lock"))?;
        Ok(Self {
            mailboxes: Shelf::open(&directory, "generation-", "current", Generation::open)?,
            people: Shelf::open(&directory, "people-", "current-people", People::open)?,
            directory,
            importing: Mutex::new(()),
            _lock: lock,
        })
    }

    /// What a file is, by its columns.
    pub fn kind_of(file: &Path) -> Result<Kind, ReplicaError> {
        let mut kind = None;
        source::with_texts(file, PEOPLE_TEXTS, limits::PEOPLE_OCTETS_MAX, |lines| {
            if kind.is_none() {
                let first = lines.next_line()?.unwrap_or_default();
                kind = match (Header::parse(first), PeopleHeader::parse(first)) {
                    (Ok(_), _) => Some(Ok(Kind::Mailboxes)),
                    (_, Ok(_)) => Some(Ok(Kind::People)),
                    (Err(_), Err(_)) if first.is_empty() => Some(Err("it is empty".to_owned())),
                    (Err(error), Err(_)) => {
                        Some(Err(format!("{error}, and no PS_LibreAcces file either")))
                    }
                };
            }
            Ok(())
        })?;
        let refused = |reason: String| ReplicaError::Source { file: source::name_of(file), reason };
        kind.unwrap_or_else(|| Err("it is empty".to_owned())).map_err(refused)
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
        let before = self.imported()?.map_or(0, |imported| imported.addresses);
        self.mailboxes.replace(|path| {
            source::with_lines(extraction, |lines| {
                let mut builder = build(path, lines, progress)?;
                let (addresses, (rows, bad)) = (builder.addresses(), builder.rows());
                check(lines, "mailbox", addresses, before, share_min_percent)?;
                check_rows(lines, rows + bad, bad)?;
                builder.finish(&source::name_of(extraction), SystemClock.now(), path)
            })
        })?;
        self.keep(extraction, KEPT_MAILBOXES);
        self.imported()?.ok_or_else(did_not_open)
    }

    /// Imports the PS_LibreAcces files: the archive of three, or the text of the activities. The
    /// same rules hold as for the extraction.
    pub fn import_people(
        &self,
        files: &Path,
        share_min_percent: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Imported, ReplicaError> {
        let _one_at_a_time = self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.people_imported()?.map_or(0, |imported| imported.addresses);
        let name = source::name_of(files);
        let refused = |reason| ReplicaError::Source { file: name.clone(), reason };
        self.people.replace(|path| {
            let mut builder = PeopleBuilder::new(path)?;
            source::with_texts(files, PEOPLE_TEXTS, limits::PEOPLE_OCTETS_MAX, |lines| {
                read_people(&mut builder, lines, progress)
            })?;
            let (rows, bad, activities) = builder.rows();
            if activities == 0 {
                let reason = "no Personne_activite file with rows is in it: everybody would look \
                              retired";
                return Err(refused(reason.to_owned()));
            }
            if let Some(reason) =
                shrunk("professional", builder.people(), before, share_min_percent)
            {
                return Err(refused(reason));
            }
            if bad * 2 > rows {
                return Err(refused(mostly_bad(rows, bad)));
            }
            builder.finish(&name, SystemClock.now(), path)
        })?;
        self.keep(files, KEPT_PEOPLE);
        self.people_imported()?.ok_or_else(did_not_open)
    }

    /// Makes what is empty again from the files that were imported last. True when it did.
    pub fn rebuild(&self, progress: &mut dyn FnMut(usize)) -> Result<bool, ReplicaError> {
        let mut has_made = false;
        if self.imported()?.is_none()
            && let Some(file) = self.kept(KEPT_MAILBOXES)?
        {
            self.import_at_least(&file, 0, progress)?;
            has_made = true;
        }
        if self.people_imported()?.is_none()
            && let Some(file) = self.kept(KEPT_PEOPLE)?
        {
            self.import_people(&file, 0, progress)?;
            has_made = true;
        }
        Ok(has_made)
    }

    /// Where files may be put that are about to be imported; on the same disk as the replica.
    pub fn folder(&self) -> &Path {
        &self.directory
    }

    /// Looks an address up. Absence here is not absence of a mailbox (red list).
    pub fn find(&self, address: &Address) -> Result<Option<PublishedMailbox>, ReplicaError> {
        Ok(self.mailboxes.read(|generation| generation.find(address))?.flatten())
    }

    /// The published lines of an address, at most `limit`: one for each structure.
    pub fn lines(
        &self,
        address: &Address,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let lines = self.mailboxes.read(|generation| generation.lines(address, limit))?;
        Ok(lines.unwrap_or_default())
    }

    /// What was imported last.
    pub fn imported(&self) -> Result<Option<Imported>, ReplicaError> {
        self.mailboxes.read(Generation::imported)
    }

    /// What was imported last of PS_LibreAcces.
    pub fn people_imported(&self) -> Result<Option<Imported>, ReplicaError> {
        self.people.read(People::imported)
    }

    /// Mailboxes that a query finds, the best first, at most `limit`.
    ///
    /// Where very many are found, those of one rank come in the order of the file.
    pub fn search(
        &self,
        query: &Query,
        ranking: &Ranking<'_>,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let found = self.mailboxes.read(|generation| generation.search(query, ranking, limit))?;
        Ok(found.unwrap_or_default())
    }

    /// Mailboxes of a professional, published under this RPPS, at most `limit`. Nothing is
    /// hidden here.
    pub fn by_rpps(&self, rpps: &str, limit: usize) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let Some(identity) = generation::identity_number(&format!("8{rpps}")) else {
            return Ok(Vec::new());
        };
        let found = self.mailboxes.read(|generation| generation.by_identity(identity, limit))?;
        Ok(found.unwrap_or_default())
    }

    /// Mailboxes of a structure, published under this FINESS or SIRET, at most `limit`. Nothing
    /// is hidden here.
    pub fn by_structure(
        &self,
        structure: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let found = self.mailboxes.read(|generation| generation.by_structure(structure, limit))?;
        Ok(found.unwrap_or_default())
    }

    /// Mailboxes published under a domain, at most `limit`. Nothing is hidden here.
    pub fn by_domain(
        &self,
        domain: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let found = self.mailboxes.read(|generation| generation.by_domain(domain, limit))?;
        Ok(found.unwrap_or_default())
    }

    /// What PS_LibreAcces knows of a person, by `8` and the RPPS, or by `0` and the ADELI number.
    pub fn professional(&self, identity: &str) -> Result<Option<Professional>, ReplicaError> {
        Ok(self.people.read(|people| people.find(identity))?.flatten())
    }

    /// Keeps the file that was imported, so that the copy can be made again. Not being able to is
    /// no failure of the import.
    fn keep(&self, file: &Path, folder: &str) {
        let folder = self.directory.join(folder);
        if file.parent().is_some_and(|parent| parent == folder) {
            return;
        }
        let copy = || -> io::Result<()> {
            let fresh = self.directory.join("kept.new");
            fs::copy(file, &fresh)?;
            shelf::remove_if_there(&folder)?;
            fs::create_dir(&folder)?;
            fs::rename(fresh, folder.join(source::name_of(file)))
        };
        if let Err(error) = copy() {
            tracing::warn!(%error, "the imported file cannot be kept");
        }
    }

    fn kept(&self, folder: &str) -> Result<Option<PathBuf>, ReplicaError> {
        match fs::read_dir(self.directory.join(folder)) {
            Ok(mut entries) => Ok(entries.next().transpose()?.map(|entry| entry.path())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
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
    let mut is_last_bad = false;
    while let Some(line) = lines.next_line()? {
        let row = header.read(line);
        is_last_bad = row.is_err();
        match row {
            Ok(row) => builder.add(&row)?,
            Err(_) => builder.add_bad(),
        }
        rows += 1;
        if rows % PROGRESS_ROWS == 0 {
            progress(rows);
        }
    }
    progress(rows);
    if is_last_bad && !lines.was_ended() {
        return Err(lines.refused(format!("it is cut: row {rows} has no end")));
    }
    Ok(builder)
}

/// Reads one of the three texts.
fn read_people(
    builder: &mut PeopleBuilder,
    lines: &mut Lines<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<(), ReplicaError> {
    let header = match lines.next_line()? {
        Some(line) => PeopleHeader::parse(line).map_err(|error| error.to_string()),
        None => Err("it is empty".to_owned()),
    };
    let header = header.map_err(|reason| lines.refused(reason))?;
    let mut is_last_bad = false;
    while let Some(line) = lines.next_line()? {
        let row = header.read(line);
        is_last_bad = row.is_err();
        match row {
            Ok(row) => builder.add(&row)?,
            Err(_) => builder.add_bad(),
        }
        let rows = usize::try_from(builder.rows().0).unwrap_or(usize::MAX);
        if rows.is_multiple_of(PROGRESS_ROWS) {
            progress(rows);
        }
    }
    progress(usize::try_from(builder.rows().0).unwrap_or(usize::MAX));
    if is_last_bad && !lines.was_ended() {
        return Err(lines.refused("it is cut: its last row has no end".to_owned()));
    }
    Ok(())
}

/// Refuses what is empty or shrank too much.
fn check(
    lines: &Lines<'_>,
    what: &str,
    found: usize,
    before: usize,
    share_min_percent: usize,
) -> Result<(), ReplicaError> {
    match shrunk(what, found, before, share_min_percent) {
        Some(reason) => Err(lines.refused(reason)),
        None => Ok(()),
    }
}

fn shrunk(what: &str, found: usize, before: usize, share_min_percent: usize) -> Option<String> {
    if found == 0 {
        return Some(format!("no {what} is in it"));
    }
    let plural = if what == "mailbox" { "mailboxes".to_owned() } else { format!("{what}s") };
    (found * 100 < before * share_min_percent).then(|| {
        format!("only {found} {plural} where the last import had {before}: the old copy stays")
    })
}

fn check_rows(lines: &Lines<'_>, rows: u64, bad: u64) -> Result<(), ReplicaError> {
    if bad * 2 > rows { Err(lines.refused(mostly_bad(rows, bad))) } else { Ok(()) }
}

fn mostly_bad(rows: u64, bad: u64) -> String {
    format!("{bad} of {rows} rows cannot be read: is it UTF-8, with the fields of its header?")
}

fn did_not_open() -> ReplicaError {
    ReplicaError::Engine("the import did not open".to_owned())
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
