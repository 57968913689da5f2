//! What somebody may do in a folder of a mailbox (RFC 4314 §2.1).
use std::fmt;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Right {
    /// `l`: the folder is visible to LIST and SUBSCRIBE.
    Lookup,
    /// `r`: SELECT, FETCH, SEARCH, COPY from it.
    Read,
    /// `s`: `\Seen` is kept.
    KeepSeen,
    /// `w`: other marks and keywords.
    Write,
    /// `i`: APPEND, COPY into it.
    Insert,
    /// `p`: letters may be sent to it; of no effect here.
    Post,
    /// `k`: folders below it are created.
    CreateFolders,
    /// `x`: the folder is deleted or renamed.
    DeleteFolder,
    /// `t`: `\Deleted` is set.
    DeleteMessages,
    /// `e`: EXPUNGE.
    Expunge,
    /// `a`: rights are given and taken.
    Administer,
}

/// A set of rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u16);

impl Right {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 11] = [
        Self::Lookup,
        Self::Read,
        Self::KeepSeen,
        Self::Write,
        Self::Insert,
        Self::Post,
        Self::CreateFolders,
        Self::DeleteFolder,
        Self::DeleteMessages,
        Self::Expunge,
        Self::Administer,
    ];

    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Self::Lookup => 'l',
            Self::Read => 'r',
            Self::KeepSeen => 's',
            Self::Write => 'w',
            Self::Insert => 'i',
            Self::Post => 'p',
            Self::CreateFolders => 'k',
            Self::DeleteFolder => 'x',
            Self::DeleteMessages => 't',
            Self::Expunge => 'e',
            Self::Administer => 'a',
        }
    }
}

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// What the owner of a mailbox has.
    pub const ALL: Self = Self(0x7ff);

    /// True when `right` is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u16) != 0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of them that are also there.
    #[must_use]
    pub const fn also_in(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True when there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rights of these letters; `c` and `d` of RFC 2086 are what RFC 4314 §2.1.1 makes of them.
    /// `None` when a letter is no right.
    pub fn parse(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::NONE, |rights, letter| {
            let one = match letter {
                'c' => Self::from_iter([Right::CreateFolders, Right::DeleteFolder]),
                'd' => Self::from_iter([Right::DeleteMessages, Right::Expunge]),
                _ => {
                    let right = Right::ALL.into_iter().find(|right| right.letter() == letter)?;
                    Self::from_iter([right])
                }
            };
            Some(rights.with(one))
        })
    }

    /// As stored.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From a store; bits that are no rights are left out.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | 1 << right as u16))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Right::ALL
            .into_iter()
            .filter(|right| self.has(*right))
            .try_for_each(|right| write!(f, "{}", right.letter()))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_rights_are_one_to_one_and_old_letters_are_understood() {
        assert_eq!(Rights::parse("lrswipkxtea"), Some(Rights::ALL));
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtea");
        assert_eq!(Rights::parse("cd"), Rights::parse("kxte"));
        assert_eq!(Rights::parse("lz"), None);
        assert_eq!(Rights::from_bits(u16::MAX), Rights::ALL);
        let read = Rights::parse("lr").unwrap();
        assert!(read.has(Right::Lookup) && !read.has(Right::Write));
        assert_eq!(Rights::ALL.without(read).with(read), Rights::ALL);
    }
}
