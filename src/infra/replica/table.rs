//! A sorted table that is written once, in order, as blocks of rows: sled keeps some ten thousand
//! blocks in a few seconds, where two million rows of their own took a minute and a gigabyte.
use serde::Deserialize;
use serde::Serialize;

use crate::infra::replica::ReplicaError;

/// Octets after which a block is closed.
const BLOCK_OCTETS: usize = 8_192;

/// Reads what a [`Writer`] wrote. The key of a block is that of its first row.
pub(super) struct Table(sled::Tree);

type Block<'a> = Vec<(&'a [u8], &'a [u8])>;

impl Table {
    /// The tree of that name.
    pub(super) fn open(database: &sled::Db, name: &str) -> Result<Self, ReplicaError> {
        Ok(Self(database.open_tree(name)?))
    }

    /// Hands the row of a key to `action`.
    pub(super) fn get<T>(
        &self,
        key: &[u8],
        action: impl FnOnce(&[u8]) -> Result<T, ReplicaError>,
    ) -> Result<Option<T>, ReplicaError> {
        let Some(block) = self.0.range(..=key).next_back() else { return Ok(None) };
        let (_, block) = block?;
        let block: Block<'_> = decode(&block)?;
        match block.binary_search_by_key(&key, |(found, _)| found) {
            Ok(at) => action(block[at].1).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Hands the rows whose keys begin with `prefix` to `action`, until it says `false`.
    pub(super) fn scan_prefix(
        &self,
        prefix: &[u8],
        mut action: impl FnMut(&[u8]) -> Result<bool, ReplicaError>,
    ) -> Result<(), ReplicaError> {
        // The first of them may lie in the block that begins before the prefix.
        let first = match self.0.range(..=prefix).next_back() {
            Some(block) => block?.0,
            None => sled::IVec::default(),
        };
        for block in self.0.range(first..) {
            let (_, block) = block?;
            for (key, row) in decode::<Block<'_>>(&block)? {
                if key > prefix && !key.starts_with(prefix) {
                    return Ok(());
                }
                if key.starts_with(prefix) && !action(row)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes the table; it must be empty.
    pub(super) fn write(&self) -> Writer {
        Writer { tree: self.0.clone(), block: Vec::new(), octets: 0 }
    }
}

/// Takes rows in the order of their keys.
pub(super) struct Writer {
    tree: sled::Tree,
    block: Vec<(Vec<u8>, Vec<u8>)>,
    octets: usize,
}

impl Writer {
    /// Takes a row, behind all before it.
    pub(super) fn push(&mut self, key: Vec<u8>, row: Vec<u8>) -> Result<(), ReplicaError> {
        debug_assert!(self.block.last().is_none_or(|(last, _)| *last < key), "not in order");
        self.octets += key.len() + row.len();
        self.block.push((key, row));
        if self.octets >= BLOCK_OCTETS {
            self.close_block()?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<(), ReplicaError> {
        self.close_block()
    }

    fn close_block(&mut self) -> Result<(), ReplicaError> {
        let Some((first, _)) = self.block.first() else { return Ok(()) };
        let rows: Block<'_> =
            self.block.iter().map(|(key, row)| (key.as_slice(), row.as_slice())).collect();
        self.tree.insert(first, encode(&rows)?)?;
        self.block.clear();
        self.octets = 0;
        Ok(())
    }
}

/// To the form that is stored.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ReplicaError> {
    postcard::to_stdvec(value).map_err(|error| ReplicaError::Engine(error.to_string()))
}

/// From the form that is stored.
pub(super) fn decode<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> Result<T, ReplicaError> {
    postcard::from_bytes(octets).map_err(|error| ReplicaError::Engine(format!("damaged: {error}")))
}

impl From<sled::Error> for ReplicaError {
    fn from(error: sled::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_alone_and_by_the_beginning_of_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let database = sled::open(directory.path()).unwrap();
        let table = Table::open(&database, "t").unwrap();
        assert_eq!(table.get(b"x", |_| Ok(())).unwrap(), None);
        let keys: Vec<String> = (0..5_000).map(|number| format!("{number:05}")).collect();
        let mut writer = table.write();
        for key in &keys {
            writer.push(key.clone().into(), key.repeat(5).into()).unwrap();
        }
        writer.finish().unwrap();
        for key in &keys {
            let found = table.get(key.as_bytes(), |row| Ok(row.to_vec())).unwrap().unwrap();
            assert_eq!(found, key.repeat(5).into_bytes());
            assert_eq!(table.get(format!("{key}x").as_bytes(), |_| Ok(())).unwrap(), None);
        }
        for prefix in ["", "0", "01", "012", "0123", "01234", "012345", "04999", "05", "x"] {
            let mut found = 0;
            let count = |_: &[u8]| {
                found += 1;
                Ok(true)
            };
            table.scan_prefix(prefix.as_bytes(), count).unwrap();
            let expected = keys.iter().filter(|key| key.starts_with(prefix)).count();
            assert_eq!(found, expected, "{prefix:?}");
        }
    }
}
