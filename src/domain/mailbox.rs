//! Mailboxes (*boîtes aux lettres*, BAL) and their kinds.
use std::fmt;

/// What a mailbox is in the national directory (TRE_R257-TypeBAL). Immutable, like the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MailboxKind {
    /// PER: one professional, under their own responsibility.
    Personal,
    /// ORG: a team or service of a structure.
    Organisational,
    /// APP: software, with a person responsible.
    Applicative,
    /// CAB: a liberal practice with co-holders.
    Practice,
    /// A patient's inbox; not a directory type. The local part of its address is the INS.
    Citizen,
}

impl MailboxKind {
    /// Every kind, in the order in which tables show them.
    pub const ALL: [Self; 5] =
        [Self::Personal, Self::Organisational, Self::Applicative, Self::Practice, Self::Citizen];

    /// The national code: `PER`, `ORG`, `APP`, `CAB`, and `CTN` for a citizen.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Personal => "PER",
            Self::Organisational => "ORG",
            Self::Applicative => "APP",
            Self::Practice => "CAB",
            Self::Citizen => "CTN",
        }
    }

    /// The kind of a national code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Whether the public directory shows a mailbox (*liste rouge*). A hidden one still receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Shown.
    Public,
    /// Hidden, never refused as a recipient.
    RedList,
}

/// A mailbox's identity inside the relay: 16 bytes, UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId([u8; 16]);

impl MailboxId {
    /// From the stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The stored bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", uuid::Uuid::from_bytes(self.0))
    }
}
