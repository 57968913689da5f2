//! Which rows have which word, and in which field: sets of row numbers.
use std::collections::BTreeMap;
use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::infra::replica::ReplicaError;
use crate::infra::replica::table::Table;
use crate::infra::replica::table::Writer;

/// Numbers up to which a set is kept as a list.
const FEW: usize = 32;
/// A stored set begins with one of these.
const LIST: u8 = 0;
const BITMAP: u8 = 1;
/// Words of a beginning as short as this are many: their union is kept, too.
pub(super) const SHORT: usize = 3;

/// Where a word stands. The letter is the end of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Field {
    Address = b'a',
    Department = b'd',
    Kind = b'k',
    Name = b'n',
    PaperFree = b'p',
    Postal = b'z',
    Profession = b'f',
    ProfessionCode = b'g',
    Service = b'v',
    Speciality = b's',
    SpecialityCode = b't',
    Structure = b'i',
    StructureName = b'w',
    Town = b'c',
}

/// The key of a word in a field. A folded word holds no NUL.
pub(super) fn key(word: &str, field: Field) -> Vec<u8> {
    [word.as_bytes(), &[0, field as u8]].concat()
}

/// Row numbers of one word. Most words, names of people above all, are those of few rows.
enum Numbers {
    One(u32),
    Few(Vec<u32>),
    Many(Box<RoaringBitmap>),
}

impl Numbers {
    /// Adds a number; they come in order.
    fn add(&mut self, number: u32) {
        match self {
            Self::One(one) if *one == number => {}
            Self::One(one) => *self = Self::Few(vec![*one, number]),
            Self::Few(few) if few.last() == Some(&number) => {}
            Self::Few(few) if few.len() < FEW => few.push(number),
            Self::Few(few) => {
                let mut many: RoaringBitmap = few.iter().copied().collect();
                many.insert(number);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(number);
            }
        }
    }

    fn add_to(&self, union: &mut RoaringBitmap) {
        match self {
            Self::One(one) => {
                union.insert(*one);
            }
            Self::Few(few) => union.extend(few),
            Self::Many(many) => *union |= many.as_ref(),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, ReplicaError> {
        match self {
            Self::One(one) => Ok(encode_list(&[*one])),
            Self::Few(few) => Ok(encode_list(few)),
            Self::Many(many) => encode_set(many),
        }
    }
}

/// Differences, seven bits an octet.
pub(super) fn encode_list(numbers: &[u32]) -> Vec<u8> {
    let mut octets = vec![LIST];
    let mut before = 0;
    for number in numbers {
        let mut rest = number - before;
        before = *number;
        while rest >= 128 {
            octets.push(rest as u8 | 128);
            rest >>= 7;
        }
        octets.push(rest as u8);
    }
    octets
}

fn encode_set(set: &RoaringBitmap) -> Result<Vec<u8>, ReplicaError> {
    if set.len() <= FEW as u64 {
        return Ok(encode_list(&set.iter().collect::<Vec<_>>()));
    }
    let mut octets = Vec::with_capacity(set.serialized_size() + 1);
    octets.push(BITMAP);
    set.serialize_into(&mut octets)?;
    Ok(octets)
}

/// Adds a stored set to `union`.
pub(super) fn add_stored(octets: &[u8], union: &mut RoaringBitmap) -> Result<(), ReplicaError> {
    let damaged = || ReplicaError::Engine("damaged: a set of rows".to_owned());
    match octets.split_first() {
        Some((&LIST, list)) => {
            let (mut number, mut value, mut shift) = (0_u32, 0_u32, 0_u32);
            for octet in list {
                value |= u32::from(octet & 127).checked_shl(shift).ok_or_else(damaged)?;
                shift += 7;
                if octet & 128 == 0 {
                    number = number.checked_add(value).ok_or_else(damaged)?;
                    union.insert(number);
                    (value, shift) = (0, 0);
                }
            }
            Ok(())
        }
        Some((&BITMAP, set)) => {
            *union |= RoaringBitmap::deserialize_from(set).map_err(|_| damaged())?;
            Ok(())
        }
        _ => Err(damaged()),
    }
}

/// Gathers words while rows come.
#[derive(Default)]
pub(super) struct Gathered {
    ids: HashMap<Box<[u8]>, u32>,
    numbers: Vec<Numbers>,
    octets: usize,
}

impl Gathered {
    /// The id of a word in a field; a new one has this row as its first.
    pub(super) fn id(&mut self, word: &str, field: Field, number: u32) -> u32 {
        let key = key(word, field);
        if let Some(id) = self.ids.get(key.as_slice()) {
            return *id;
        }
        let id = u32::try_from(self.numbers.len()).expect("memory ends before that");
        // What the map and the list take for it, roughly.
        self.octets += key.len() + 64;
        self.ids.insert(key.into(), id);
        self.numbers.push(Numbers::One(number));
        id
    }

    /// A row has the word.
    pub(super) fn add(&mut self, id: u32, number: u32) {
        self.numbers[id as usize].add(number);
    }

    /// Octets of memory that different words take.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Writes all in order; `short[n]` gets the unions of the beginnings of n + 1 letters.
    pub(super) fn write(
        self,
        mut words: Writer,
        short: [Writer; SHORT],
    ) -> Result<(), ReplicaError> {
        let mut ids: Vec<(Box<[u8]>, u32)> = self.ids.into_iter().collect();
        ids.sort_unstable();
        let mut unions =
            short.map(|writer| Union { writer, of: Box::default(), fields: BTreeMap::new() });
        for (key, id) in ids {
            let numbers = &self.numbers[id as usize];
            let (word, field) = key.split_at(key.len() - 2);
            let text = std::str::from_utf8(word).unwrap_or_default();
            for (letters, union) in (1..).zip(&mut unions) {
                if let Some(beginning) = beginning(text, letters) {
                    union.add(beginning, field[1], numbers)?;
                }
            }
            words.push(key.into(), numbers.encode()?)?;
        }
        for mut union in unions {
            union.flush()?;
            union.writer.finish()?;
        }
        words.finish()
    }
}

/// The first letters of a word that has as many.
fn beginning(word: &str, letters: usize) -> Option<&str> {
    let (at, last) = word.char_indices().nth(letters - 1)?;
    Some(&word[..at + last.len_utf8()])
}

/// The union of all words with one beginning, field by field.
struct Union {
    writer: Writer,
    of: Box<str>,
    fields: BTreeMap<u8, RoaringBitmap>,
}

impl Union {
    fn add(&mut self, beginning: &str, field: u8, numbers: &Numbers) -> Result<(), ReplicaError> {
        if *self.of != *beginning {
            self.flush()?;
            self.of = beginning.into();
        }
        numbers.add_to(self.fields.entry(field).or_default());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ReplicaError> {
        for (field, mut set) in std::mem::take(&mut self.fields) {
            set.optimize();
            let key = [self.of.as_bytes(), &[0, field]].concat();
            self.writer.push(key, encode_set(&set)?)?;
        }
        Ok(())
    }
}

/// Reads what [`Gathered::write`] wrote.
pub(super) struct Postings {
    pub(super) words: Table,
    pub(super) short: [Table; SHORT],
}

/// Rows that have a word beginning like that, and those that have the very word.
#[derive(Default)]
pub(super) struct Hits {
    pub(super) all: RoaringBitmap,
    pub(super) exact: RoaringBitmap,
}

impl Postings {
    pub(super) fn open(database: &sled::Db) -> Result<Self, ReplicaError> {
        let words = Table::open(database, "words")?;
        let short = [
            Table::open(database, "short1")?,
            Table::open(database, "short2")?,
            Table::open(database, "short3")?,
        ];
        Ok(Self { words, short })
    }

    /// Rows that have `word` itself in one of `exact`, or a word with this beginning in one of
    /// `beginning`.
    pub(super) fn hits(
        &self,
        word: &str,
        beginning: &[Field],
        exact: &[Field],
    ) -> Result<Hits, ReplicaError> {
        let mut hits = Hits::default();
        for field in exact {
            self.very(word, *field, &mut hits.exact)?;
        }
        let letters = word.chars().count();
        if letters <= SHORT && !beginning.is_empty() {
            for field in beginning {
                self.very(word, *field, &mut hits.exact)?;
                self.short[letters - 1]
                    .get(&key(word, *field), |set| add_stored(set, &mut hits.all))?;
            }
        } else if !beginning.is_empty() {
            self.words.scan_prefix(word.as_bytes(), |key, set| {
                let Some((found, &[0, field])) = key.split_last_chunk::<2>() else {
                    return Ok(true);
                };
                if beginning.iter().any(|wanted| *wanted as u8 == field) {
                    let is_exact = found == word.as_bytes();
                    add_stored(set, if is_exact { &mut hits.exact } else { &mut hits.all })?;
                }
                Ok(true)
            })?;
        }
        hits.all |= &hits.exact;
        Ok(hits)
    }

    /// Adds the rows that have the very word.
    pub(super) fn very(
        &self,
        word: &str,
        field: Field,
        union: &mut RoaringBitmap,
    ) -> Result<(), ReplicaError> {
        self.words.get(&key(word, field), |set| add_stored(set, union))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_written() {
        for numbers in [
            vec![0],
            vec![127, 128, 129],
            vec![5, 500_000, 4_000_000_000],
            (0..100_000).step_by(3).collect(),
        ] {
            let mut gathered = Numbers::One(numbers[0]);
            for number in &numbers {
                gathered.add(*number);
            }
            let mut read = RoaringBitmap::new();
            add_stored(&gathered.encode().unwrap(), &mut read).unwrap();
            assert_eq!(read.iter().collect::<Vec<_>>(), numbers);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_set_is_an_error_and_no_panic(octets in proptest::collection::vec(0_u8.., 0..40)) {
            let _ = add_stored(&octets, &mut RoaringBitmap::new());
        }
    }
}
