//! Folders of a mailbox, and the numbers and marks that IMAP gives to messages.
use std::collections::BTreeSet;

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
    fn a_keyword_is_removed_in_any_case() {
        let keyword = |text: &str| Flags { keywords: [text.to_owned()].into(), ..Flags::default() };
        let flags = keyword("$Forwarded").changed(&FlagChange::Remove(keyword("$forwarded")));
        assert_eq!(flags, Flags::default());
    }
}
