//! Commands on messages: FETCH and STORE.
use crate::domain::folder::FlagChange;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::PartialRange;
use crate::proto::imap::fetch::FetchItem;
use crate::proto::imap::sequence::SequenceSet;

/// FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What the set counts.
    pub by: Numbering,
    /// Of which messages.
    pub set: SequenceSet,
    /// What.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE` (RFC 7162 §3.1.4.1)
    pub changed_since: Option<u64>,
    /// `VANISHED` (RFC 7162 §3.2.6)
    pub vanished: bool,
    /// `PARTIAL` (RFC 9394 §3.3)
    pub partial: Option<PartialRange>,
}

/// STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What the set counts.
    pub by: Numbering,
    /// Of which messages.
    pub set: SequenceSet,
    /// How marks change.
    pub change: FlagChange,
    /// Whether the new marks are told.
    pub echo: Echo,
    /// `UNCHANGEDSINCE` (RFC 7162 §3.1.3)
    pub unchanged_since: Option<u64>,
}

/// Whether STORE tells the new flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// `FLAGS`
    Flags,
    /// `FLAGS.SILENT`
    Silent,
}
