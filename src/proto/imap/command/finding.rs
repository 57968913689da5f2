//! SEARCH, SORT and THREAD (RFC 3501 §6.4.4, RFC 5256).
use crate::proto::imap::command::Numbering;
use crate::proto::imap::search::SearchKey;

/// SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What the answer counts.
    pub by: Numbering,
    /// `RETURN (…)` (RFC 4731 §3.1); `None` for the old form.
    pub returns: Option<SearchReturns>,
    /// The charset of the texts.
    pub charset: Option<Vec<u8>>,
    /// What is searched.
    pub key: SearchKey,
}

/// SORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is searched, and how it is answered.
    pub search: Search,
    /// In which order; at least one.
    pub criteria: Vec<SortCriterion>,
}

/// THREAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What is searched; never with returns.
    pub search: Search,
    /// How threads are made.
    pub algorithm: ThreadAlgorithm,
}

/// What SEARCH and SORT return. `RETURN ()` is `all` (RFC 4731 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturns {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
    /// `SAVE` (RFC 5182 §2.1)
    pub save: bool,
    /// `PARTIAL` (RFC 9394 §3.1)
    pub partial: Option<PartialRange>,
}

/// `1:10` counts results from the first, `-1:-10` from the last (RFC 9394 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialRange {
    /// The smaller number, from 1.
    pub first: u32,
    /// The larger number.
    pub last: u32,
    /// True when counted from the last result.
    pub from_end: bool,
}

/// One key of an order (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    /// By what.
    pub key: SortKey,
    /// `REVERSE`
    pub reverse: bool,
}

/// By what messages are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 5256 §3 and RFC 5957 §3")]
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    From,
    Size,
    Subject,
    To,
    DisplayFrom,
    DisplayTo,
}

/// How threads are made (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 5256")]
pub enum ThreadAlgorithm {
    OrderedSubject,
    References,
}

impl SortKey {
    /// All, in the order of RFC 5256 §3 and RFC 5957 §3.
    pub const ALL: [Self; 9] = [
        Self::Arrival,
        Self::Cc,
        Self::Date,
        Self::From,
        Self::Size,
        Self::Subject,
        Self::To,
        Self::DisplayFrom,
        Self::DisplayTo,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "ARRIVAL",
            Self::Cc => "CC",
            Self::Date => "DATE",
            Self::From => "FROM",
            Self::Size => "SIZE",
            Self::Subject => "SUBJECT",
            Self::To => "TO",
            Self::DisplayFrom => "DISPLAYFROM",
            Self::DisplayTo => "DISPLAYTO",
        }
    }
}

impl ThreadAlgorithm {
    /// All.
    pub const ALL: [Self; 2] = [Self::OrderedSubject, Self::References];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderedSubject => "ORDEREDSUBJECT",
            Self::References => "REFERENCES",
        }
    }
}
