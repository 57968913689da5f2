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

    /// Hands the keys that begin with `prefix` and their rows to `action`, until it says
    /// `false`.
    pub(super) fn scan_prefix(
        &self,
        prefix: &[u8],
        mut action: impl FnMut(&[u8], &[u8]) -> Result<bool, ReplicaError>,
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
                if key.starts_with(prefix) && !action(key, row)? {
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

/// Rows in a block of a [`Numbered`] table.
const BLOCK_ROWS: u32 = 32;

/// Rows by their numbers from 0 on, without gaps: one is found in its block without reading the
/// others.
pub(super) struct Numbered(sled::Tree);

impl Numbered {
    /// The tree of that name.
    pub(super) fn open(database: &sled::Db, name: &str) -> Result<Self, ReplicaError> {
        Ok(Self(database.open_tree(name)?))
    }

    /// Hands a row to `action`.
    pub(super) fn get<T>(
        &self,
        number: u32,
        action: impl FnOnce(&[u8]) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        let missing = || ReplicaError::Engine("a row is missing".to_owned());
        let block = self.0.get((number / BLOCK_ROWS).to_be_bytes())?.ok_or_else(missing)?;
        // Each row's end, 4 octets, then the rows.
        let place = (number % BLOCK_ROWS) as usize;
        let ends = usize::try_from(BLOCK_ROWS).unwrap_or_default() * 4;
        let end = |place: usize| {
            let octets = block.get(place * 4..place * 4 + 4)?;
            Some(ends + u32::from_le_bytes(octets.try_into().ok()?) as usize)
        };
        let begin = if place == 0 { Some(ends) } else { end(place - 1) };
        let range = begin.ok_or_else(missing)?..end(place).ok_or_else(missing)?;
        action(block.get(range).ok_or_else(missing)?)
    }

    /// Writes the table; it must be empty.
    pub(super) fn write(&self) -> NumberedWriter {
        NumberedWriter { tree: self.0.clone(), next: 0, ends: Vec::new(), block: Vec::new() }
    }
}

/// Takes rows in the order of their numbers.
pub(super) struct NumberedWriter {
    tree: sled::Tree,
    next: u32,
    ends: Vec<u8>,
    block: Vec<u8>,
}

impl NumberedWriter {
    /// Takes the next row and tells its number.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<u32, ReplicaError> {
        let number = self.next;
        self.next += 1;
        self.block.extend_from_slice(row);
        let end = u32::try_from(self.block.len())
            .map_err(|_| ReplicaError::Engine("a block is too large".to_owned()))?;
        self.ends.extend_from_slice(&end.to_le_bytes());
        if self.next.is_multiple_of(BLOCK_ROWS) {
            self.close_block(number / BLOCK_ROWS)?;
        }
        Ok(number)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<(), ReplicaError> {
        if self.ends.is_empty() {
            return Ok(());
        }
        // Missing rows of the last block end where the last one ends: they are empty.
        let last = self.ends[self.ends.len() - 4..].to_vec();
        while self.ends.len() < BLOCK_ROWS as usize * 4 {
            self.ends.extend_from_slice(&last);
        }
        self.close_block(self.next / BLOCK_ROWS)
    }

    fn close_block(&mut self, number: u32) -> Result<(), ReplicaError> {
        let value = [self.ends.as_slice(), &self.block].concat();
        self.tree.insert(number.to_be_bytes(), value)?;
        self.ends.clear();
        self.block.clear();
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
    fn a_numbered_row_is_found_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = sled::open(directory.path()).unwrap();
        for rows in [0_u32, 1, 31, 32, 33, 1_000] {
            let table = Numbered::open(&database, &rows.to_string()).unwrap();
            let mut writer = table.write();
            for number in 0..rows {
                assert_eq!(writer.push(&number.to_be_bytes()).unwrap(), number);
            }
            writer.finish().unwrap();
            for number in 0..rows {
                let row = table.get(number, |row| Ok(row.to_vec())).unwrap();
                assert_eq!(row, number.to_be_bytes());
            }
            assert!(table.get(rows + 32, |_| Ok(())).is_err());
        }
    }

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
            let count = |_: &[u8], _: &[u8]| {
                found += 1;
                Ok(true)
            };
            table.scan_prefix(prefix.as_bytes(), count).unwrap();
            let expected = keys.iter().filter(|key| key.starts_with(prefix)).count();
            assert_eq!(found, expected, "{prefix:?}");
        }
    }
}
