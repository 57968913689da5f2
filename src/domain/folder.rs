//! Folders of a mailbox, and the numbers and marks that IMAP gives to messages.
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

/// A message's number in its folder, ascending, never used twice (RFC 3501 §2.3.1.1). Not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u32);

/// A folder's number inside its mailbox; 1 is INBOX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId(pub u32);

impl FolderId {
    /// Every mailbox has it.
    pub const INBOX: Self = Self(1);
}

/// Many UIDs, or many sequence numbers; a million in a row take a few octets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UidSet(RoaringBitmap);

impl UidSet {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when `uid` is among them.
    pub fn contains(&self, uid: u32) -> bool {
        self.0.contains(uid)
    }

    /// Adds one; false when it was there.
    pub fn insert(&mut self, uid: u32) -> bool {
        self.0.insert(uid)
    }

    /// Takes one away; false when it was not there.
    pub fn remove(&mut self, uid: u32) -> bool {
        self.0.remove(uid)
    }

    /// Adds a range.
    pub fn insert_range(&mut self, range: RangeInclusive<u32>) {
        self.0.insert_range(range);
    }

    /// The smallest.
    pub fn first(&self) -> Option<u32> {
        self.0.min()
    }

    /// The largest.
    pub fn last(&self) -> Option<u32> {
        self.0.max()
    }

    /// The place of `uid` among them, from 1: its sequence number when these are all of a folder.
    pub fn place_of(&self, uid: u32) -> Option<u32> {
        self.contains(uid).then(|| u32::try_from(self.0.rank(uid)).unwrap_or(u32::MAX))
    }

    /// The one at a place, from 1.
    pub fn at(&self, place: u32) -> Option<u32> {
        self.0.select(place.checked_sub(1)?)
    }

    /// Those in a range.
    #[must_use]
    pub fn within(&self, range: RangeInclusive<u32>) -> Self {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return Self::new() };
        let mut all = RoaringBitmap::new();
        // Not up to `u32::MAX`: a set of everything is large.
        all.insert_range(*range.start().max(&first)..=*range.end().min(&last));
        Self(&self.0 & &all)
    }

    /// These and those.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    /// These without those.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Those in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// Ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.0.iter()
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        Self(uids.into_iter().collect())
    }
}

impl Extend<u32> for UidSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, uids: I) {
        self.0.extend(uids);
    }
}

/// A conversation: messages that answer each other have the same (RFC 8474 §5.2). A keyed digest,
/// which tells nothing outside its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub [u8; 8]);

/// A mailbox-wide counter that grows with every change (RFC 7162 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ModSeq(pub u64);

/// What a folder is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpecialUse {
    /// `\Sent`
    Sent,
    /// `\Drafts`
    Drafts,
    /// `\Trash`
    Trash,
    /// `\Junk`
    Junk,
    /// `\Archive`
    Archive,
}

impl SpecialUse {
    /// All, in the order of their stored numbers.
    pub const ALL: [Self; 5] = [Self::Sent, Self::Drafts, Self::Trash, Self::Junk, Self::Archive];

    /// The attribute, with its backslash.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Sent => "\\Sent",
            Self::Drafts => "\\Drafts",
            Self::Trash => "\\Trash",
            Self::Junk => "\\Junk",
            Self::Archive => "\\Archive",
        }
    }
}

/// A message's marks (RFC 3501 §2.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `\Seen`
    pub seen: bool,
    /// `\Answered`
    pub answered: bool,
    /// `\Flagged`
    pub flagged: bool,
    /// `\Deleted`
    pub deleted: bool,
    /// `\Draft`
    pub draft: bool,
    /// Keywords such as `$Forwarded` or `$MDNSent`; compared without case, kept as written.
    pub keywords: BTreeSet<String>,
}

/// How STORE changes marks (RFC 3501 §6.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace(Flags),
    /// `+FLAGS`
    Add(Flags),
    /// `-FLAGS`
    Remove(Flags),
}

impl Flags {
    /// These marks after `change`.
    #[must_use]
    pub fn changed(&self, change: &FlagChange) -> Self {
        let union = |a: &Self, b: &Self| {
            let mut keywords = a.keywords.clone();
            for keyword in &b.keywords {
                if !has_keyword(&keywords, keyword) {
                    keywords.insert(keyword.clone());
                }
            }
            Self {
                seen: a.seen | b.seen,
                answered: a.answered | b.answered,
                flagged: a.flagged | b.flagged,
                deleted: a.deleted | b.deleted,
                draft: a.draft | b.draft,
                keywords,
            }
        };
        match change {
            FlagChange::Replace(flags) => flags.clone(),
            FlagChange::Add(flags) => union(self, flags),
            FlagChange::Remove(flags) => Self {
                seen: self.seen & !flags.seen,
                answered: self.answered & !flags.answered,
                flagged: self.flagged & !flags.flagged,
                deleted: self.deleted & !flags.deleted,
                draft: self.draft & !flags.draft,
                keywords: self
                    .keywords
                    .iter()
                    .filter(|keyword| !has_keyword(&flags.keywords, keyword))
                    .cloned()
                    .collect(),
            },
        }
    }

    /// True when the keyword is set, in whatever case.
    pub fn has_keyword(&self, keyword: &str) -> bool {
        has_keyword(&self.keywords, keyword)
    }
}

fn has_keyword(keywords: &BTreeSet<String>, wanted: &str) -> bool {
    keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_set_is_what_lies_in_the_range() {
        let set: UidSet = [3, 5, 90_000].into_iter().collect();
        for (range, expected) in [
            (1..=u32::MAX, vec![3, 5, 90_000]),
            (4..=5, vec![5]),
            (6..=89_999, vec![]),
            (100_000..=u32::MAX, vec![]),
            (0..=2, vec![]),
        ] {
            assert_eq!(set.within(range).iter().collect::<Vec<_>>(), expected);
        }
        assert!(UidSet::new().within(0..=u32::MAX).is_empty());
    }

    #[test]
    fn a_keyword_is_removed_in_any_case() {
        let keyword = |text: &str| Flags { keywords: [text.to_owned()].into(), ..Flags::default() };
        let flags = keyword("$Forwarded").changed(&FlagChange::Remove(keyword("$forwarded")));
        assert_eq!(flags, Flags::default());
    }
}
