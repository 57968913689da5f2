//! Sets of message numbers (RFC 3501 §9 `sequence-set`).
use std::fmt;
use std::ops::RangeInclusive;

use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::write;

/// A number, or `*`: the largest in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// From 1.
    Value(u32),
    /// `*`
    Last,
}

/// `3,7:9,12:*`. A range may be written backwards. Without any range it is `$`: what the last
/// search saved (RFC 5182 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(Vec<(Number, Number)>);

impl SequenceSet {
    /// Parses a set.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        let mut ranges = Vec::new();
        if cursor.eat(b'$') {
            return Ok(Self(ranges));
        }
        loop {
            cursor.count_range()?;
            let from = Number::parse(cursor)?;
            let to = if cursor.eat(b':') { Number::parse(cursor)? } else { from };
            ranges.push((from, to));
            if !cursor.eat(b',') {
                return Ok(Self(ranges));
            }
        }
    }

    /// `first:last`
    pub fn of_range(first: u32, last: u32) -> Self {
        Self(vec![(Number::Value(first), Number::Value(last))])
    }

    /// Parses a set that names its numbers one and all: without `*`, and not `$`.
    pub fn parse_known(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        let set = Self::parse(cursor)?;
        if set.is_saved() || set.has_last() {
            return Err(Bad::form("a set without * or $ was expected"));
        }
        Ok(set)
    }

    /// How many numbers a set without `*` names; those named twice are counted twice.
    pub fn count(&self) -> u64 {
        let value = |number| match number {
            Number::Value(value) => u64::from(value),
            Number::Last => u64::from(u32::MAX),
        };
        self.0.iter().map(|&(from, to)| value(from).abs_diff(value(to)) + 1).sum()
    }

    /// The set as ascending ranges that neither overlap nor touch, with `last` for `*`.
    /// RFC 3501 §9: `559:*` means the last message even when it is below 559. With nothing in
    /// the mailbox (`last == 0`) a `*` names nothing.
    pub fn resolve(&self, last: u32) -> Vec<RangeInclusive<u32>> {
        let value = |number| match number {
            Number::Value(value) => value,
            Number::Last => last,
        };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|&(from, to)| (value(from), value(to)))
            .map(|(from, to)| (from.min(to), from.max(to)))
            .filter(|&(from, _)| from > 0)
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(before) if from <= before.1.saturating_add(1) => before.1 = before.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged.into_iter().map(|(from, to)| from..=to).collect()
    }

    /// True for `$`.
    pub fn is_saved(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest number that is written out.
    pub fn largest(&self) -> Option<u32> {
        let written = |number| match number {
            Number::Value(value) => Some(value),
            Number::Last => None,
        };
        self.0.iter().flat_map(|&(from, to)| [written(from), written(to)]).flatten().max()
    }

    /// True when `*` occurs.
    pub fn has_last(&self) -> bool {
        self.0.iter().any(|&(from, to)| from == Number::Last || to == Number::Last)
    }
}

impl Number {
    /// Parses `nz-number / "*"`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        if cursor.eat(b'*') { Ok(Self::Last) } else { cursor.nonzero().map(Self::Value) }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_saved() {
            return f.write_str("$");
        }
        for (index, (from, to)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{from}")?;
            if from != to {
                write!(f, ":{to}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Last => f.write_str("*"),
        }
    }
}

/// Numbers in their order as a short set, for APPENDUID and COPYUID (RFC 4315 §4). Only runs
/// that ascend by one are joined, so that source and target sets pair off.
pub fn compact(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut text = Vec::new();
    write::set(&mut text, numbers);
    String::from_utf8_lossy(&text).into_owned()
}

/// True when one of the ascending ranges holds `number`.
pub fn contains(ranges: &[RangeInclusive<u32>], number: u32) -> bool {
    let after = ranges.partition_point(|range| *range.start() <= number);
    after > 0 && ranges[after - 1].contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::cursor::Piece;

    fn set(text: &str) -> Result<SequenceSet, Bad> {
        let pieces = [Piece::Text(text.as_bytes().to_vec())];
        let mut cursor = Cursor::new(&pieces);
        let set = SequenceSet::parse(&mut cursor)?;
        cursor.end()?;
        Ok(set)
    }

    #[test]
    fn ranges_are_sorted_merged_and_turned_round() {
        let resolve = |text: &str, last| set(text).unwrap().resolve(last);
        assert_eq!(resolve("5:3,4,9,10:*", 12), [3..=5, 9..=12]);
        assert_eq!(resolve("559:*", 100), [100..=559]);
        assert_eq!(resolve("*", 7), [7..=7]);
        assert_eq!(resolve("*", 0), []);
        assert_eq!(resolve("1,2,3", 9), [1..=3]);
        assert_eq!(resolve("4294967295:1", 9), [1..=u32::MAX]);
    }

    #[test]
    fn zero_emptiness_and_loose_ends_are_refused() {
        for text in ["0", "", "1,", ",1", "1:", ":2", "1:2:3", "01", "1 2"] {
            assert!(set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_of_uids_stay_paired() {
        assert_eq!(compact([1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(compact([3, 2, 1]), "3,2,1");
        assert_eq!(compact([]), "");
    }

    #[test]
    fn membership_is_found_by_halving() {
        let ranges = set("2:4,8").unwrap().resolve(9);
        let members: Vec<u32> = (1..10).filter(|&number| contains(&ranges, number)).collect();
        assert_eq!(members, [2, 3, 4, 8]);
    }
}
