//! Commands on mailboxes as a whole: SELECT, LIST, STATUS.
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Pattern;
use crate::proto::imap::sequence::SequenceSet;

/// What SELECT asks besides (RFC 7162 §3.1.8, §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectOptions {
    /// `CONDSTORE`
    pub condstore: bool,
    /// `QRESYNC (…)`
    pub qresync: Option<Qresync>,
}

/// What a client knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qresync {
    /// The UIDVALIDITY that it remembers.
    pub uid_validity: u32,
    /// The HIGHESTMODSEQ that it remembers; not 0.
    pub modseq: u64,
    /// The UIDs that it knows; all when `None`.
    pub known_uids: Option<SequenceSet>,
    /// Sequence numbers and their UIDs, in the same order.
    pub pairs: Option<(SequenceSet, SequenceSet)>,
}

/// LIST, plain or extended (RFC 5258 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What restricts the answer.
    pub selection: Selection,
    /// Comes before each pattern.
    pub reference: MailboxName,
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// What is told besides; `None` for the plain form.
    pub returns: Option<Returns>,
    /// True when any extended syntax was used.
    pub extended: bool,
}

/// Selection options of LIST. `REMOTE` changes nothing here: there are no remote mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `SPECIAL-USE` (RFC 6154 §2)
    pub special_use: bool,
    /// `RECURSIVEMATCH`
    pub recursive: bool,
}

/// Return options of LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `MYRIGHTS` (RFC 8440 §4)
    pub my_rights: bool,
    /// `STATUS (…)` (RFC 5819 §2); empty when not asked for.
    pub status: Vec<StatusItem>,
}

/// What STATUS tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 3501 §6.3.10")]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    /// RFC 8438 §3
    Size,
    /// RFC 7162 §3.1.7
    HighestModSeq,
    /// RFC 7889 §4
    AppendLimit,
    /// RFC 8474 §4.3
    MailboxId,
    /// RFC 9051 §6.3.11
    Deleted,
    /// RFC 9208 §4.1.4
    DeletedStorage,
}

impl StatusItem {
    /// All, in the order in which STATUS answers.
    pub const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::MailboxId,
        Self::Deleted,
        Self::DeletedStorage,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
            Self::MailboxId => "MAILBOXID",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
        }
    }
}
