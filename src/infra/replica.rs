//! Disposable, node-local copies of published sources: the national directory, in sled.
use std::path::Path;
use crate::domain::address::Address;

/// The directory replica. If it does not open it is moved aside and rebuilt; no truth is in it.
pub struct Replica {}

/// One line of the national mailbox extraction, as far as the relay needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedMailbox {
    /// `PER` or `ORG`.
    pub kind: String,
    /// The mailbox.
    pub address: String,
    /// RPPS of a professional, empty otherwise.
    pub rpps: String,
    /// National structure id, empty for a PER tied to no structure.
    pub structure: String,
    /// Family name, or the structure's name.
    pub name: String,
    /// Given name, or the service.
    pub given_name: String,
    /// Profession label.
    pub profession: String,
    /// Speciality label.
    pub speciality: String,
    /// Postal code.
    pub postal_code: String,
    /// Town.
    pub town: String,
    /// *Dématérialisation*: paper-free exchange accepted.
    pub paper_free: bool,
}

/// Figures of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported { /// Rows read.
    pub rows: usize, /// Distinct addresses.
    pub addresses: usize, /// Rows that could not be read.
    pub bad_rows: usize, /// Source file name.
    pub source: String }

/// Why an import or a look-up failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The source file is missing or has no such form.
    #[error("{file}: {reason}")]
    Source { /// Which file.
        file: String, /// Why.
        reason: String },
    /// sled failed; the replica can be rebuilt.
    #[error("directory replica: {0}")]
    Engine(String),
}

impl Replica {
    /// Opens `directory/replica`; a damaged one is moved aside and an empty one made.
    pub fn open(directory: &Path) -> Result<Self, ReplicaError> { let _ = directory; todo!() }
    /// Imports an extraction (`.txt` or `.zip`), streaming, and swaps it in atomically. `progress`
    /// hears the number of rows now and then.
    pub fn import(&self, extraction: &Path, progress: &mut dyn FnMut(usize)) -> Result<Imported, ReplicaError> { let _ = (extraction, progress); todo!() }
    /// Looks an address up. Absence here is not absence of a mailbox (red list).
    pub fn find(&self, address: &Address) -> Result<Option<PublishedMailbox>, ReplicaError> { let _ = address; todo!() }
    /// What was imported last.
    pub fn imported(&self) -> Result<Option<Imported>, ReplicaError> { todo!() }
    /// Mailboxes whose name, place or address begins with the words of `query`, at most `limit`.
    pub fn search(&self, query: &str, limit: usize) -> Result<Vec<PublishedMailbox>, ReplicaError> { let _ = (query, limit); todo!() }
}
