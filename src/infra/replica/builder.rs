//! An import of mailboxes in the making.
//!
//! Rows go to the database as they come; the indexes are gathered in memory and written in order
//! at the end. What many rows share (structures, labels, domains) is read once and kept by number.
use std::collections::HashMap;
use std::path::Path;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::replica::ReplicaError;
use crate::infra::replica::engine;
use crate::infra::replica::generation::Generation;
use crate::infra::replica::generation::LABELS;
use crate::infra::replica::generation::Line;
use crate::infra::replica::generation::NOWHERE;
use crate::infra::replica::generation::SUMMARY;
use crate::infra::replica::generation::Structure;
use crate::infra::replica::generation::Summary;
use crate::infra::replica::generation::address_key;
use crate::infra::replica::generation::identity_number;
use crate::infra::replica::postings;
use crate::infra::replica::postings::Field;
use crate::infra::replica::postings::Gathered;
use crate::infra::replica::table::NumberedWriter;
use crate::infra::replica::table::encode;
use crate::infra::replica::words::words;
use crate::proto::extraction::Row;

/// Different labels: the real file has some hundreds.
const LABELS_MAX: usize = 20_000;
/// Domains whose words are remembered: the real file has 5,018.
const DOMAINS_MAX: usize = 50_000;

/// Takes rows in.
pub(super) struct Builder {
    generation: Generation,
    rows: NumberedWriter,
    structures: NumberedWriter,
    known_structures: HashMap<Box<[u8]>, Known>,
    labels: Vec<(String, String)>,
    known_labels: HashMap<Box<str>, Known>,
    domains: HashMap<Box<str>, Box<[u32]>>,
    addresses: Vec<([u8; 16], u32)>,
    people: Vec<(u64, u32)>,
    words: Gathered,
    /// Octets of memory that structures take.
    structure_octets: usize,
    good_rows: u32,
    bad_rows: u64,
    scratch: Vec<u8>,
    label_key: String,
}

/// Something that many rows share: its number, and its words.
struct Known {
    number: u32,
    words: Box<[u32]>,
}

impl Builder {
    /// Begins in a directory that does not exist yet.
    pub(super) fn new(directory: &Path) -> Result<Self, ReplicaError> {
        let generation = Generation::open_any(directory)?;
        Ok(Self {
            rows: generation.rows.write(),
            structures: generation.structures.write(),
            generation,
            known_structures: HashMap::new(),
            labels: Vec::new(),
            known_labels: HashMap::new(),
            domains: HashMap::new(),
            addresses: Vec::new(),
            people: Vec::new(),
            words: Gathered::default(),
            structure_octets: 0,
            good_rows: 0,
            bad_rows: 0,
            scratch: Vec::new(),
            label_key: String::new(),
        })
    }

    /// Takes a line in.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), ReplicaError> {
        let Ok(address) = Address::parse(row.address) else {
            self.bad_rows += 1;
            return Ok(());
        };
        if self.good_rows as usize >= limits::EXTRACTION_MAILBOXES_MAX
            || self.words.octets() + self.structure_octets > limits::EXTRACTION_INDEX_OCTETS_MAX
        {
            return Err(ReplicaError::Engine(
                "more mailboxes, names and structures than any real extraction has".to_owned(),
            ));
        }
        let number = self.good_rows;
        let is_team = row.kind == "ORG";
        let structure = self.structure(row, number)?;
        let title = self.label("", row.title, None, number)?;
        let profession = self.label(
            row.profession_code,
            row.profession,
            Some((Field::ProfessionCode, Field::Profession)),
            number,
        )?;
        let speciality = self.label(
            row.speciality_code,
            row.speciality,
            Some((Field::SpecialityCode, Field::Speciality)),
            number,
        )?;
        let is_usual = row.identity.strip_prefix('8') == Some(row.rpps);
        let line = Line {
            is_team,
            paper_free: row.paper_free,
            address: row.address,
            rpps: row.rpps,
            identity: if is_usual { "" } else { row.identity },
            structure,
            service: row.service,
            title,
            name: row.name,
            given_name: row.given_name,
            profession,
            speciality,
        };
        self.scratch.clear();
        let stored = postcard::to_extend(&line, std::mem::take(&mut self.scratch));
        self.scratch = stored.map_err(|error| ReplicaError::Engine(error.to_string()))?;
        self.rows.push(&self.scratch)?;
        self.good_rows += 1;

        let lookup_form = address.lookup_form();
        self.addresses.push((address_key(&lookup_form), number));
        if let Some(identity) = identity_number(row.identity) {
            self.people.push((identity, number));
        }
        self.index(row, &lookup_form, is_team, number);
        Ok(())
    }

    /// The words of what rows do not share.
    fn index(&mut self, row: &Row<'_>, address: &str, is_team: bool, number: u32) {
        let texts = [
            (row.name, Field::Name),
            (row.given_name, Field::Name),
            (row.service, Field::Service),
            (if is_team { row.service } else { "" }, Field::Name),
            (if is_team { row.structure_name } else { "" }, Field::Name),
            (if is_team { "org" } else { "per" }, Field::Kind),
            (if row.paper_free { "o" } else { "n" }, Field::PaperFree),
        ];
        for (text, field) in texts {
            for word in words(text) {
                self.add_word(&word, field, number);
            }
        }
        let (local_part, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        for word in words(local_part) {
            self.add_word(&word, Field::Address, number);
        }
        if let Some(ids) = self.domains.get(domain) {
            for id in ids {
                self.words.add(*id, number);
            }
            return;
        }
        let ids: Box<[u32]> =
            words(domain).map(|word| self.add_word(&word, Field::Address, number)).collect();
        if self.domains.len() < DOMAINS_MAX {
            self.domains.insert(domain.into(), ids);
        }
    }

    fn add_word(&mut self, word: &str, field: Field, number: u32) -> u32 {
        let id = self.words.id(word, field, number);
        self.words.add(id, number);
        id
    }

    fn add_words<'w>(
        &mut self,
        texts: impl IntoIterator<Item = (&'w str, Field)>,
        number: u32,
    ) -> Box<[u32]> {
        let mut ids = Vec::new();
        for (text, field) in texts {
            ids.extend(words(text).map(|word| self.add_word(&word, field, number)));
        }
        ids.into()
    }

    fn structure(&mut self, row: &Row<'_>, number: u32) -> Result<u32, ReplicaError> {
        let street: Vec<_> = row.street.into_iter().filter(|part| !part.is_empty()).collect();
        let structure = Structure {
            kind: row.structure_kind,
            id: row.structure,
            name: row.structure_name,
            trading_name: row.trading_name,
            street: &street.join(" "),
            postal_code: row.postal_code,
            town: row.town,
            department: row.department,
        };
        let is_nowhere = [structure.id, structure.name, structure.postal_code, structure.town]
            .iter()
            .all(|text| text.is_empty());
        if is_nowhere {
            return Ok(NOWHERE);
        }
        let stored = encode(&structure)?;
        if let Some(known) = self.known_structures.get(stored.as_slice()) {
            for id in &known.words {
                self.words.add(*id, number);
            }
            return Ok(known.number);
        }
        let trading_name =
            if row.trading_name == row.structure_name { "" } else { row.trading_name };
        // An identifier is one word: it is compared as a whole, or by its beginning.
        let words = self.add_words(
            [
                (row.structure, Field::Structure),
                (row.structure_name, Field::StructureName),
                (trading_name, Field::StructureName),
                (row.postal_code, Field::Postal),
                (row.town, Field::Town),
                (row.department, Field::Department),
            ],
            number,
        );
        let known = Known { number: self.structures.push(&stored)?, words };
        let its = known.number;
        self.structure_octets += stored.len() + known.words.len() * 4 + 96;
        self.known_structures.insert(stored.into(), known);
        Ok(its)
    }

    /// The number of a code and its label; `fields` say where their words are found.
    fn label(
        &mut self,
        code: &str,
        label: &str,
        fields: Option<(Field, Field)>,
        number: u32,
    ) -> Result<u32, ReplicaError> {
        // The kinds of labels do not share numbers: their words stand in different fields.
        let kind = fields.map_or('-', |(_, field)| char::from(field as u8));
        self.label_key.clear();
        self.label_key.push(kind);
        self.label_key.push_str(code);
        self.label_key.push('|');
        self.label_key.push_str(label);
        if let Some(known) = self.known_labels.get(self.label_key.as_str()) {
            for id in &known.words {
                self.words.add(*id, number);
            }
            return Ok(known.number);
        }
        if self.labels.len() >= LABELS_MAX {
            return Err(ReplicaError::Engine(
                "more professions and specialities than any real extraction has".to_owned(),
            ));
        }
        let words = match fields {
            Some((of_code, of_label)) => {
                self.add_words([(code, of_code), (label, of_label)], number)
            }
            None => Box::default(),
        };
        let its = u32::try_from(self.labels.len()).expect("fewer, by the limit above");
        self.labels.push((code.to_owned(), label.to_owned()));
        self.known_labels.insert(self.label_key.as_str().into(), Known { number: its, words });
        Ok(its)
    }

    /// Counts a line that could not be read.
    pub(super) fn add_bad(&mut self) {
        self.bad_rows += 1;
    }

    /// Good rows and bad ones so far.
    pub(super) fn rows(&self) -> (u64, u64) {
        (u64::from(self.good_rows), self.bad_rows)
    }

    /// Distinct addresses so far. Sorts them.
    pub(super) fn addresses(&mut self) -> usize {
        self.addresses.sort_unstable();
        self.addresses.chunk_by(|(one, _), (other, _)| one == other).count()
    }

    /// Writes the indexes and the summary, and syncs.
    pub(super) fn finish(
        mut self,
        source: &str,
        at: Timestamp,
        directory: &Path,
    ) -> Result<(), ReplicaError> {
        let addresses = self.addresses() as u64;
        let generation = self.generation;
        self.rows.finish()?;
        self.structures.finish()?;
        drop(self.known_structures);
        let mut writer = generation.addresses.write();
        for same in self.addresses.chunk_by(|(one, _), (other, _)| one == other) {
            let numbers: Vec<u32> = same.iter().map(|(_, number)| *number).collect();
            writer.push(same[0].0.into(), postings::encode_list(&numbers))?;
        }
        writer.finish()?;
        drop(self.addresses);
        self.people.sort_unstable();
        let mut writer = generation.people.write();
        for same in self.people.chunk_by(|(one, _), (other, _)| one == other) {
            let numbers: Vec<u32> = same.iter().map(|(_, number)| *number).collect();
            writer.push(same[0].0.to_be_bytes().into(), postings::encode_list(&numbers))?;
        }
        writer.finish()?;
        drop(self.people);
        let postings = &generation.postings;
        let short = std::array::from_fn(|letters| postings.short[letters].write());
        self.words.write(postings.words.write(), short)?;
        generation.database.insert(LABELS, encode(&self.labels)?)?;
        let rows = u64::from(self.good_rows) + self.bad_rows;
        let summary =
            Summary { rows, addresses, bad_rows: self.bad_rows, source, at: at.as_millis() };
        generation.database.insert(SUMMARY, encode(&summary)?)?;
        generation.database.flush()?;
        // Closes the files.
        drop(generation);
        Ok(engine::sync_all(directory)?)
    }
}
