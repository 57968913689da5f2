//! One import of mailboxes: a sled database of its own, written once and read from then on.
//!
//! Its tables: `rows`, one for each published line; `structures`, that rows name by number;
//! `addresses`, by a digest, with the numbers of their rows, the first line's first; `people`, by
//! national identity, the same way; and the words of the search with the sets of their rows
//! ([`Postings`]). Labels of professions and specialities are few, and held in memory.
use std::path::Path;

use aws_lc_rs::digest;
use roaring::RoaringBitmap;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::infra::replica::Imported;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::ReplicaError;
use crate::infra::replica::engine;
use crate::infra::replica::postings;
use crate::infra::replica::postings::Field;
use crate::infra::replica::postings::Postings;
use crate::infra::replica::table::Numbered;
use crate::infra::replica::table::Table;
use crate::infra::replica::table::decode;

/// Key of the summary; it is written last, so that it tells a whole import.
pub(super) const SUMMARY: &[u8] = b"imported";
/// Key of the labels.
pub(super) const LABELS: &[u8] = b"labels";
/// No structure.
pub(super) const NOWHERE: u32 = u32::MAX;

/// An import that can be read.
pub(super) struct Generation {
    pub(super) database: sled::Db,
    pub(super) rows: Numbered,
    pub(super) structures: Numbered,
    pub(super) addresses: Table,
    pub(super) people: Table,
    pub(super) postings: Postings,
    labels: Vec<(String, String)>,
}

/// A line as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) is_team: bool,
    pub(super) paper_free: bool,
    pub(super) address: &'a str,
    pub(super) rpps: &'a str,
    /// Empty when it is `8` and the RPPS.
    pub(super) identity: &'a str,
    pub(super) structure: u32,
    pub(super) service: &'a str,
    pub(super) title: u32,
    pub(super) name: &'a str,
    pub(super) given_name: &'a str,
    pub(super) profession: u32,
    pub(super) speciality: u32,
}

/// A structure as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Structure<'a> {
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) trading_name: &'a str,
    pub(super) street: &'a str,
    pub(super) postal_code: &'a str,
    pub(super) town: &'a str,
    pub(super) department: &'a str,
}

/// The summary as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Summary<'a> {
    pub(super) rows: u64,
    pub(super) addresses: u64,
    pub(super) bad_rows: u64,
    pub(super) source: &'a str,
    pub(super) at: u64,
}

impl Summary<'_> {
    /// What a stored summary says.
    pub(super) fn read(database: &sled::Db) -> Result<Imported, ReplicaError> {
        let summary = database.get(SUMMARY)?;
        let summary = summary
            .ok_or_else(|| ReplicaError::Engine("the last import was not finished".to_owned()))?;
        let summary: Summary<'_> = decode(&summary)?;
        let count = |figure| usize::try_from(figure).unwrap_or(usize::MAX);
        Ok(Imported {
            rows: count(summary.rows),
            addresses: count(summary.addresses),
            bad_rows: count(summary.bad_rows),
            source: summary.source.to_owned(),
            at: Timestamp::from_millis(summary.at),
        })
    }
}

impl Generation {
    /// Opens an import that was finished.
    pub(super) fn open(directory: &Path) -> Result<Self, ReplicaError> {
        let mut generation = Self::open_any(directory)?;
        let imported = generation.imported()?;
        let labels = generation.database.get(LABELS)?;
        let labels = labels.ok_or_else(|| ReplicaError::Engine("no labels".to_owned()))?;
        generation.labels = decode(&labels)?;
        // A look at the ends of what was written in order.
        let good = imported.rows.saturating_sub(imported.bad_rows);
        let last = u32::try_from(good).unwrap_or(u32::MAX).saturating_sub(1);
        for number in [0, last] {
            generation.mailbox(number)?;
        }
        Ok(generation)
    }

    /// Opens any, also one that is to be filled.
    pub(super) fn open_any(directory: &Path) -> Result<Self, ReplicaError> {
        let database = engine::open(directory)?;
        Ok(Self {
            rows: Numbered::open(&database, "rows")?,
            structures: Numbered::open(&database, "structures")?,
            addresses: Table::open(&database, "addresses")?,
            people: Table::open(&database, "people")?,
            postings: Postings::open(&database)?,
            labels: Vec::new(),
            database,
        })
    }

    /// What was imported.
    pub(super) fn imported(&self) -> Result<Imported, ReplicaError> {
        Summary::read(&self.database)
    }

    /// The first line of an address.
    pub(super) fn find(&self, address: &Address) -> Result<Option<PublishedMailbox>, ReplicaError> {
        self.number(&address.lookup_form())?.map(|number| self.mailbox(number)).transpose()
    }

    /// The number of an address's first line.
    pub(super) fn number(&self, lookup_form: &str) -> Result<Option<u32>, ReplicaError> {
        let mut numbers = RoaringBitmap::new();
        self.addresses
            .get(&address_key(lookup_form), |set| postings::add_stored(set, &mut numbers))?;
        Ok(numbers.min())
    }

    /// Lines of an address, the first `limit` of them.
    pub(super) fn lines(
        &self,
        address: &Address,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let mut numbers = RoaringBitmap::new();
        let key = address_key(&address.lookup_form());
        self.addresses.get(&key, |set| postings::add_stored(set, &mut numbers))?;
        numbers.iter().take(limit).map(|number| self.mailbox(number)).collect()
    }

    /// Lines of a person.
    pub(super) fn by_identity(
        &self,
        identity: u64,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let numbers = self.numbers_of(identity)?;
        numbers.iter().take(limit).map(|number| self.mailbox(number)).collect()
    }

    /// Row numbers of a person.
    pub(super) fn numbers_of(&self, identity: u64) -> Result<RoaringBitmap, ReplicaError> {
        let mut numbers = RoaringBitmap::new();
        self.people.get(&identity.to_be_bytes(), |set| postings::add_stored(set, &mut numbers))?;
        Ok(numbers)
    }

    /// Lines of a structure.
    pub(super) fn by_structure(
        &self,
        structure: &str,
        limit: usize,
    ) -> Result<Vec<PublishedMailbox>, ReplicaError> {
        let mut numbers = RoaringBitmap::new();
        let word = structure.to_ascii_lowercase();
        self.postings.very(&word, Field::Structure, &mut numbers)?;
        numbers.iter().take(limit).map(|number| self.mailbox(number)).collect()
    }

    /// A line with its structure and its labels.
    pub(super) fn mailbox(&self, number: u32) -> Result<PublishedMailbox, ReplicaError> {
        let (mut mailbox, structure) = self.rows.get(number, |row| {
            let line: Line<'_> = decode(row)?;
            Ok((self.of_line(&line), line.structure))
        })?;
        if structure != NOWHERE {
            self.structures.get(structure, |structure| {
                let structure: Structure<'_> = decode(structure)?;
                mailbox.structure = structure.id.to_owned();
                mailbox.structure_kind = structure.kind.to_owned();
                mailbox.structure_name = structure.name.to_owned();
                mailbox.street = structure.street.to_owned();
                mailbox.postal_code = structure.postal_code.to_owned();
                mailbox.town = structure.town.to_owned();
                mailbox.department = structure.department.to_owned();
                Ok(())
            })?;
        }
        if mailbox.kind == "ORG" {
            mailbox.name = mailbox.structure_name.clone();
            mailbox.given_name = mailbox.service.clone();
        }
        Ok(mailbox)
    }

    fn of_line(&self, line: &Line<'_>) -> PublishedMailbox {
        let nothing = (String::new(), String::new());
        let label = |number: u32| self.labels.get(number as usize).unwrap_or(&nothing);
        let (profession, speciality) = (label(line.profession), label(line.speciality));
        PublishedMailbox {
            kind: if line.is_team { "ORG" } else { "PER" }.to_owned(),
            address: line.address.to_owned(),
            rpps: line.rpps.to_owned(),
            identity: match line.identity {
                "" if !line.rpps.is_empty() => format!("8{}", line.rpps),
                identity => identity.to_owned(),
            },
            service: line.service.to_owned(),
            title: label(line.title).1.clone(),
            name: line.name.to_owned(),
            given_name: line.given_name.to_owned(),
            profession_code: profession.0.clone(),
            profession: profession.1.clone(),
            speciality_code: speciality.0.clone(),
            speciality: speciality.1.clone(),
            paper_free: line.paper_free,
            ..PublishedMailbox::default()
        }
    }
}

/// Half of a SHA-256: no two addresses meet in it, whoever chooses them.
pub(super) fn address_key(lookup_form: &str) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, lookup_form.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_ref()[..16]);
    key
}

/// A national identity as a number: `8` and the RPPS, or `0` and the ADELI number. `None` for
/// what has other signs than digits.
pub(super) fn identity_number(identity: &str) -> Option<u64> {
    let is_number =
        (2..=18).contains(&identity.len()) && identity.bytes().all(|octet| octet.is_ascii_digit());
    if is_number { identity.parse().ok() } else { None }
}
