//! The life of a mailbox, and what administrators do about it.

/// What may need a second administrator (`life.four_eyes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Close a mailbox.
    Close,
    /// Delete what is in a closed mailbox before its time.
    Delete,
    /// Import mailboxes from a file.
    Bulk,
    /// Let somebody read another's mailbox.
    Grant,
    /// Say which professional holds a mailbox.
    Holder,
    /// Take a mailbox's content out.
    Export,
}

impl Action {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Close, Self::Delete, Self::Bulk, Self::Grant, Self::Holder, Self::Export];

    /// As the configuration and lists say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Delete => "delete",
            Self::Bulk => "bulk",
            Self::Grant => "grant",
            Self::Holder => "holder",
            Self::Export => "export",
        }
    }

    /// The action of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}
