//! One import: a sled database of its own, written once and read from then on.
//!
//! Four tables. `rows`: number (4 octets, big endian) to the first published line of an address.
//! `more`: number to the further lines of that address. `addresses`: address in lower case to
//! number. `words`: folded word to the numbers of the rows that have it. A word that very many
//! rows have keeps the first of them only: it selects nothing, and is looked for in the rows that
//! the other words select.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::infra::replica::Imported;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::ReplicaError;
use crate::infra::replica::table::Table;
use crate::infra::replica::table::Writer;
use crate::infra::replica::table::decode;
use crate::infra::replica::table::encode;
use crate::infra::replica::words::words;
use crate::proto::extraction::Row;

/// Key of the summary; it is written last, so that it tells a whole import.
const SUMMARY: &[u8] = b"imported";
/// Rows that one word names, and that one search looks at.
const CANDIDATES_MAX: usize = 20_000;
/// Words of a query that are looked at.
const QUERY_WORDS_MAX: usize = 16;
/// Further lines of one address that are kept, and of all addresses together. The real file has
/// some hundreds.
const MORE_LINES_MAX: usize = 32;
const ALL_MORE_LINES_MAX: usize = 100_000;
/// How often, and how long, the lock of an earlier handle is waited for: two seconds in all.
pub(super) const LOCK_TRIES: u32 = 100;
pub(super) const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(20);
/// Memory that sled may use for pages.
const CACHE_OCTETS: u64 = 33_554_432;

/// An import that can be read.
pub(super) struct Generation {
    database: sled::Db,
    rows: Table,
    more: Table,
    addresses: Table,
    words: Table,
}

/// A line as it is stored.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    kind: &'a str,
    address: &'a str,
    rpps: &'a str,
    structure: &'a str,
    name: &'a str,
    given_name: &'a str,
    profession: &'a str,
    speciality: &'a str,
    postal_code: &'a str,
    town: &'a str,
    paper_free: bool,
}

/// The summary as it is stored.
#[derive(Serialize, Deserialize)]
struct Summary<'a> {
    rows: u64,
    addresses: u64,
    bad_rows: u64,
    source: &'a str,
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
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

impl Generation {
    /// Opens an import that was finished.
    pub(super) fn open(directory: &Path) -> Result<Self, ReplicaError> {
        let generation = Self::open_any(directory)?;
        let imported = generation.imported()?;
        // A look at the ends of what was written in order.
        let last = u32::try_from(imported.addresses).unwrap_or(u32::MAX).saturating_sub(1);
        for number in [0, last] {
            generation.line(number, |_| ())?;
        }
        Ok(generation)
    }

    fn open_any(directory: &Path) -> Result<Self, ReplicaError> {
        let database = open_when_free(
            &sled::Config::new()
                .path(directory)
                .mode(sled::Mode::HighThroughput)
                .cache_capacity(CACHE_OCTETS)
                .flush_every_ms(None),
        )?;
        Ok(Self {
            rows: Table::open(&database, "rows")?,
            more: Table::open(&database, "more")?,
            addresses: Table::open(&database, "addresses")?,
            words: Table::open(&database, "words")?,
            database,
        })
    }

    /// What was imported.
    pub(super) fn imported(&self) -> Result<Imported, ReplicaError> {
        let summary = self.database.get(SUMMARY)?;
        let summary = summary
            .ok_or_else(|| ReplicaError::Engine("the last import was not finished".to_owned()))?;
        let summary: Summary<'_> = decode(&summary)?;
        let count = |figure| usize::try_from(figure).unwrap_or(usize::MAX);
        Ok(Imported {
            rows: count(summary.rows),
            addresses: count(summary.addresses),
            bad_rows: count(summary.bad_rows),
            source: summary.source.to_owned(),
        })
    }

    /// The first line of an address.
    pub(super) fn find(&self, address: &Address) -> Result<Option<PublishedMailbox>, ReplicaError> {
        let number = self.addresses.get(address.lookup_form().as_bytes(), |row| decode(row))?;
        number.map(|number| self.line(number, |line| line.mailbox())).transpose()
    }

    /// Rows that have a word beginning with each word of the query.
    pub(super) fn search(
        &self,
        query: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let query: Vec<_> = words(query).take(QUERY_WORDS_MAX).collect();
        let mut candidates: Option<BTreeSet<u32>> = None;
        for word in &query {
            let numbers = self.numbers(word)?;
            if candidates.as_ref().is_none_or(|fewest| numbers.len() < fewest.len()) {
                candidates = Some(numbers);
            }
        }
        let mut found = Vec::new();
        for number in candidates.unwrap_or_default() {
            if found.len() >= limit {
                break;
            }
            let answer = |line: &Line<'_>| line.answers(&query).then(|| line.mailbox());
            match self.line(number, answer)? {
                Some(mailbox) => found.push(mailbox),
                None => found.extend(self.more_lines(number, answer)?),
            }
        }
        Ok(found)
    }

    fn line<T>(&self, number: u32, action: impl FnOnce(&Line<'_>) -> T) -> Result<T, ReplicaError> {
        self.rows
            .get(&number.to_be_bytes(), |row| Ok(action(&decode(row)?)))?
            .ok_or_else(|| ReplicaError::Engine("a row is missing".to_owned()))
    }

    /// The first answer that the further lines of an address give.
    fn more_lines<T>(
        &self,
        number: u32,
        action: impl FnMut(&Line<'_>) -> Option<T>,
    ) -> Result<Option<T>, ReplicaError> {
        let answer = self.more.get(&number.to_be_bytes(), |lines| {
            Ok(decode::<Vec<Line<'_>>>(lines)?.iter().find_map(action))
        })?;
        Ok(answer.flatten())
    }

    /// Numbers of the rows that have a word with this beginning, up to the bound.
    fn numbers(&self, beginning: &str) -> Result<BTreeSet<u32>, ReplicaError> {
        let mut numbers = BTreeSet::new();
        self.words.scan_prefix(beginning.as_bytes(), |list| {
            numbers.extend(decode::<Vec<u32>>(list)?);
            Ok(numbers.len() < CANDIDATES_MAX)
        })?;
        Ok(numbers)
    }
}

impl<'a> Line<'a> {
    fn of(row: &Row<'a>) -> Self {
        let (name, given_name) = match row.kind {
            "ORG" => (row.structure_name, row.service),
            _ => (row.name, row.given_name),
        };
        Self {
            kind: row.kind,
            address: row.address,
            rpps: row.rpps,
            structure: row.structure,
            name,
            given_name,
            profession: row.profession,
            speciality: row.speciality,
            postal_code: row.postal_code,
            town: row.town,
            paper_free: row.paper_free,
        }
    }

    fn mailbox(&self) -> PublishedMailbox {
        PublishedMailbox {
            kind: self.kind.to_owned(),
            address: self.address.to_owned(),
            rpps: self.rpps.to_owned(),
            structure: self.structure.to_owned(),
            name: self.name.to_owned(),
            given_name: self.given_name.to_owned(),
            profession: self.profession.to_owned(),
            speciality: self.speciality.to_owned(),
            postal_code: self.postal_code.to_owned(),
            town: self.town.to_owned(),
            paper_free: self.paper_free,
            ..PublishedMailbox::default()
        }
    }

    /// What people search by.
    fn words(&self) -> impl Iterator<Item = String> {
        [
            self.name,
            self.given_name,
            self.town,
            self.postal_code,
            self.address,
            self.profession,
            self.speciality,
            self.rpps,
            self.structure,
        ]
        .into_iter()
        .flat_map(words)
    }

    fn answers(&self, query: &[String]) -> bool {
        let words: Vec<_> = self.words().collect();
        query.iter().all(|wanted| words.iter().any(|word| word.starts_with(wanted)))
    }
}

/// An import in the making. Rows go to the database as they come; the indexes are gathered in
/// memory and written in order at the end.
pub(super) struct Builder {
    generation: Generation,
    row_writer: Writer,
    more: BTreeMap<u32, Vec<Vec<u8>>>,
    more_lines: usize,
    addresses: BTreeMap<Box<str>, u32>,
    words: HashMap<Box<str>, Numbers>,
    rows: u64,
    bad_rows: u64,
}

/// Most words, numbers of people above all, are those of one row.
enum Numbers {
    One(u32),
    Many(Vec<u32>),
}

impl Numbers {
    /// Adds a number; they come in order but for the further lines of an address.
    fn add(&mut self, number: u32) {
        match self {
            Self::One(one) if *one == number => {}
            Self::One(one) => *self = Self::Many(vec![*one, number]),
            Self::Many(many) if many.last() == Some(&number) || many.len() >= CANDIDATES_MAX => {}
            Self::Many(many) => many.push(number),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Builder {
    /// Begins in a directory that does not exist yet.
    pub(super) fn new(directory: &Path) -> Result<Self, ReplicaError> {
        let generation = Generation::open_any(directory)?;
        Ok(Self {
            row_writer: generation.rows.write(),
            generation,
            more: BTreeMap::new(),
            more_lines: 0,
            addresses: BTreeMap::new(),
            words: HashMap::new(),
            rows: 0,
            bad_rows: 0,
        })
    }

    /// Takes a line in.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), ReplicaError> {
        self.rows += 1;
        let Ok(address) = Address::parse(row.address) else {
            self.bad_rows += 1;
            return Ok(());
        };
        if self.addresses.len() >= limits::EXTRACTION_MAILBOXES_MAX {
            return Err(ReplicaError::Engine("more mailboxes than any real extraction".to_owned()));
        }
        let line = Line::of(row);
        let next = u32::try_from(self.addresses.len()).expect("fewer, by the limit above");
        let number = match self.addresses.entry(address.lookup_form().into()) {
            Entry::Vacant(entry) => {
                entry.insert(next);
                self.row_writer.push(next.to_be_bytes().into(), encode(&line)?)?;
                next
            }
            Entry::Occupied(entry) => {
                let lines = self.more.entry(*entry.get()).or_default();
                if lines.len() < MORE_LINES_MAX && self.more_lines < ALL_MORE_LINES_MAX {
                    lines.push(encode(&line)?);
                    self.more_lines += 1;
                }
                *entry.get()
            }
        };
        for word in line.words() {
            match self.words.get_mut(word.as_str()) {
                Some(numbers) => numbers.add(number),
                None => drop(self.words.insert(word.into(), Numbers::One(number))),
            }
        }
        Ok(())
    }

    /// Counts a line that could not be read.
    pub(super) fn add_bad(&mut self) {
        self.rows += 1;
        self.bad_rows += 1;
    }

    /// Distinct addresses so far.
    pub(super) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// Writes the indexes and the summary, and syncs: sled's own flush is not enough to survive
    /// a power cut.
    pub(super) fn finish(self, source: &str, directory: &Path) -> Result<(), ReplicaError> {
        let generation = self.generation;
        self.row_writer.finish()?;
        let mut writer = generation.more.write();
        for (number, lines) in self.more {
            let lines: Result<Vec<Line<'_>>, _> = lines.iter().map(|line| decode(line)).collect();
            writer.push(number.to_be_bytes().into(), encode(&lines?)?)?;
        }
        writer.finish()?;
        let addresses = self.addresses.len() as u64;
        let mut writer = generation.addresses.write();
        for (address, number) in self.addresses {
            writer.push(address.into_string().into_bytes(), encode(&number)?)?;
        }
        writer.finish()?;
        let mut words: Vec<_> = self.words.into_iter().collect();
        words.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut writer = generation.words.write();
        for (word, numbers) in words {
            writer.push(word.into_string().into_bytes(), encode(numbers.as_slice())?)?;
        }
        writer.finish()?;
        let (rows, bad_rows) = (self.rows, self.bad_rows);
        let summary = encode(&Summary { rows, addresses, bad_rows, source })?;
        generation.database.insert(SUMMARY, summary)?;
        generation.database.flush()?;
        // Closes the files.
        drop(generation);
        sync_all(directory).map_err(|error| ReplicaError::Engine(error.to_string()))
    }
}

/// Makes all files below a directory durable, and their names.
fn sync_all(directory: &Path) -> io::Result<()> {
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
