//! One import of PS_LibreAcces: who is a professional, and where they work, by national identity.
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::replica::Imported;
use crate::infra::replica::Professional;
use crate::infra::replica::ReplicaError;
use crate::infra::replica::engine;
use crate::infra::replica::generation::SUMMARY;
use crate::infra::replica::generation::Summary;
use crate::infra::replica::generation::identity_number;
use crate::infra::replica::table::Table;
use crate::infra::replica::table::decode;
use crate::infra::replica::table::encode;
use crate::proto::extraction::people::PersonRow;

/// Structures, professions and skills of one person that are kept; real people have a few.
const PARTS_MAX: usize = 64;
/// Octets of a piece of the memory in which lines wait to be put in order.
const PIECE_OCTETS: usize = 4_194_304;

/// An import that can be read.
pub(super) struct People {
    database: sled::Db,
    people: Table,
}

/// A person as they are stored.
#[derive(Default, Serialize, Deserialize)]
struct Stored<'a> {
    name: &'a str,
    given_name: &'a str,
    active: bool,
    #[serde(borrow)]
    professions: Vec<(&'a str, &'a str)>,
    specialities: Vec<&'a str>,
    structures: Vec<&'a str>,
}

/// What a line adds, while it waits.
#[derive(Serialize, Deserialize)]
struct Part<'a> {
    name: &'a str,
    given_name: &'a str,
    is_activity: bool,
    profession_code: &'a str,
    profession: &'a str,
    speciality_code: &'a str,
    structure: &'a str,
}

impl People {
    /// Opens an import that was finished.
    pub(super) fn open(directory: &Path) -> Result<Self, ReplicaError> {
        let people = Self::open_any(directory)?;
        people.imported()?;
        Ok(people)
    }

    fn open_any(directory: &Path) -> Result<Self, ReplicaError> {
        let database = engine::open(directory)?;
        Ok(Self { people: Table::open(&database, "people")?, database })
    }

    /// What was imported; `addresses` counts people.
    pub(super) fn imported(&self) -> Result<Imported, ReplicaError> {
        Summary::read(&self.database)
    }

    /// A person, by `8` and the RPPS or by `0` and the ADELI number.
    pub(super) fn find(&self, identity: &str) -> Result<Option<Professional>, ReplicaError> {
        let Some(number) = identity_number(identity) else { return Ok(None) };
        self.people.get(&number.to_be_bytes(), |row| {
            let stored: Stored<'_> = decode(row)?;
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            Ok(Professional {
                identity: identity.to_owned(),
                name: stored.name.to_owned(),
                given_name: stored.given_name.to_owned(),
                active: stored.active,
                professions: stored
                    .professions
                    .iter()
                    .map(|(code, label)| ((*code).to_owned(), (*label).to_owned()))
                    .collect(),
                specialities: owned(&stored.specialities),
                structures: owned(&stored.structures),
            })
        })
    }
}

/// An import in the making: lines come in any order, three files one after the other.
pub(super) struct PeopleBuilder {
    people: People,
    /// Lines, one after the other; a line lies in one piece.
    pieces: Vec<Vec<u8>>,
    /// Identity, piece, place in it and octets: the order in which lines are put together.
    lines: Vec<(u64, u32, u32, u32)>,
    last: (u64, bool),
    rows: u64,
    bad_rows: u64,
    activities: u64,
}

impl PeopleBuilder {
    /// Begins in a directory that does not exist yet.
    pub(super) fn new(directory: &Path) -> Result<Self, ReplicaError> {
        Ok(Self {
            people: People::open_any(directory)?,
            pieces: Vec::new(),
            lines: Vec::new(),
            last: (0, false),
            rows: 0,
            bad_rows: 0,
            activities: 0,
        })
    }

    /// Takes a line in.
    pub(super) fn add(&mut self, row: &PersonRow<'_>) -> Result<(), ReplicaError> {
        self.rows += 1;
        let Some(identity) = identity_number(row.identity) else {
            // Other registers (the armed forces' among them) have identifiers with letters.
            return Ok(());
        };
        self.activities += u64::from(row.is_activity);
        // Lines of one person mostly follow each other: the name is kept once.
        let is_same = self.last == (identity, row.is_activity);
        let has_nothing_new = row.profession_code.is_empty() && row.structure.is_empty();
        if is_same && has_nothing_new {
            return Ok(());
        }
        self.last = (identity, row.is_activity);
        let part = Part {
            name: if is_same { "" } else { row.name },
            given_name: if is_same { "" } else { row.given_name },
            is_activity: row.is_activity,
            profession_code: row.profession_code,
            profession: row.profession,
            speciality_code: row.speciality_code,
            structure: row.structure,
        };
        if self.lines.len() >= limits::PEOPLE_LINES_MAX {
            return Err(ReplicaError::Engine("more people than any real file has".to_owned()));
        }
        let part = encode(&part)?;
        if self.pieces.last().is_none_or(|piece| piece.len() + part.len() > PIECE_OCTETS) {
            self.pieces.push(Vec::with_capacity(PIECE_OCTETS));
        }
        let number = u32::try_from(self.pieces.len() - 1).expect("memory ends before that");
        let piece = self.pieces.last_mut().expect("there is one, by the lines above");
        let place = u32::try_from(piece.len()).expect("a piece is small");
        piece.extend_from_slice(&part);
        let octets = u32::try_from(part.len()).expect("a line is short");
        self.lines.push((identity, number, place, octets));
        Ok(())
    }

    /// Counts a line that could not be read.
    pub(super) fn add_bad(&mut self) {
        self.rows += 1;
        self.bad_rows += 1;
    }

    /// Rows so far, bad ones among them, and activities.
    pub(super) fn rows(&self) -> (u64, u64, u64) {
        (self.rows, self.bad_rows, self.activities)
    }

    /// Distinct people so far. Puts them in order.
    pub(super) fn people(&mut self) -> usize {
        self.lines.sort_unstable();
        self.lines.chunk_by(|one, other| one.0 == other.0).count()
    }

    /// Writes people and the summary, and syncs.
    pub(super) fn finish(
        mut self,
        source: &str,
        at: Timestamp,
        directory: &Path,
    ) -> Result<(), ReplicaError> {
        let people = self.people() as u64;
        let mut writer = self.people.people.write();
        for lines in self.lines.chunk_by(|one, other| one.0 == other.0) {
            let mut person = Stored::default();
            for (_, piece, place, octets) in lines {
                let begin = *place as usize;
                let part = &self.pieces[*piece as usize][begin..begin + *octets as usize];
                person.add(&decode(part)?);
            }
            writer.push(lines[0].0.to_be_bytes().into(), encode(&person)?)?;
        }
        writer.finish()?;
        let summary = Summary {
            rows: self.rows,
            addresses: people,
            bad_rows: self.bad_rows,
            source,
            at: at.as_millis(),
        };
        self.people.database.insert(SUMMARY, encode(&summary)?)?;
        self.people.database.flush()?;
        // Closes the files.
        drop(self.people);
        Ok(engine::sync_all(directory)?)
    }
}

impl<'a> Stored<'a> {
    fn add(&mut self, part: &Part<'a>) {
        fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
            if list.len() < PARTS_MAX && !list.contains(&item) {
                list.push(item);
            }
        }
        if self.name.is_empty() {
            (self.name, self.given_name) = (part.name, part.given_name);
        }
        self.active |= part.is_activity;
        if !part.profession_code.is_empty() {
            add(&mut self.professions, (part.profession_code, part.profession));
        }
        if !part.speciality_code.is_empty() {
            add(&mut self.specialities, part.speciality_code);
        }
        if !part.structure.is_empty() {
            add(&mut self.structures, part.structure);
        }
    }
}
