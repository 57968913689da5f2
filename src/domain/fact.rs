//! Facts of the ledger: what every statistic is a function of. Never content, never an INS.
use crate::domain::document::DocumentTag;
use crate::domain::envelope::QueueId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;

/// One thing that happened, as the ledger keeps it for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When.
    pub at: Timestamp,
    /// About which letter; `None` for a refusal before there was one.
    pub letter: Option<QueueId>,
    /// Our domain whose figure this is.
    pub domain: String,
    /// The kind of our mailbox that sent or received.
    pub mailbox_kind: Option<MailboxKind>,
    /// Who is at the other end.
    pub counterpart: Counterpart,
    /// The mail domain at the other end, where there is one. Never an address.
    pub peer: Option<String>,
    /// What happened.
    pub event: Event,
    /// Size of the letter in octets, 0 when unknown.
    pub size: u64,
    /// Automatic letters (reports) are counted apart.
    pub automatic: bool,
}

/// At whose end the other side of a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counterpart {
    /// A mailbox of this relay.
    Here,
    /// Another operator.
    OtherOperator,
    /// A patient.
    Patient,
    /// Not known, e.g. a refused recipient in an unlisted domain.
    Unknown,
}

impl Counterpart {
    /// All, in the order in which tables show them.
    pub const ALL: [Self; 4] = [Self::Here, Self::OtherOperator, Self::Patient, Self::Unknown];

    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::OtherOperator => "other-operator",
            Self::Patient => "patient",
            Self::Unknown => "unknown",
        }
    }
}

/// What happened. `Sent` and `Received` count (letter x recipient) pairs; `Accepted` counts
/// letters, because published definitions of a "message" differ and both must be derivable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A letter was taken in at a door; once a letter.
    Accepted,
    /// One of our mailboxes sent a letter to one recipient.
    Sent,
    /// A letter reached one of our mailboxes.
    Received,
    /// A recipient, or a whole letter, was refused at a door.
    Refused(Refusal),
    /// Another operator took the letter.
    Relayed,
    /// Delivery was put off.
    Deferred(EnhancedStatus),
    /// Delivery was given up.
    Failed(EnhancedStatus),
    /// A patient or professional answered with FIN: the exchange is closed.
    Closed,
    /// Somebody may read another mailbox, or may not any more.
    Delegation(DelegationStep),
    /// The letter carries documents of this code; once a letter and code.
    Document(DocumentTag),
}

/// What becomes of a delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegationStep {
    /// An administrator granted it.
    Granted,
    /// An administrator took it back.
    Revoked,
    /// Its time was over.
    Ended,
    /// Its owner is away; the reader stands in.
    Away,
    /// An administrator took the absence back.
    Back,
}

/// What the ledger keeps of a delegation besides: professionals' addresses, never a patient's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationRecord {
    /// Of which mailbox.
    pub mailbox: String,
    /// To whom.
    pub reader: String,
    /// Letters of RFC 4314 §2.1.
    pub rights: String,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// Who decided it.
    pub author: String,
    /// Why.
    pub reason: String,
}

impl DelegationStep {
    /// All.
    pub const ALL: [Self; 5] = [Self::Granted, Self::Revoked, Self::Ended, Self::Away, Self::Back];

    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "grant",
            Self::Revoked => "revoke",
            Self::Ended => "end",
            Self::Away => "absence",
            Self::Back => "absence off",
        }
    }
}

impl Event {
    /// A stable name without details.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Refused(_) => "refused",
            Self::Relayed => "relayed",
            Self::Deferred(_) => "deferred",
            Self::Failed(_) => "failed",
            Self::Closed => "closed",
            Self::Delegation(_) => "delegation",
            Self::Document(_) => "document",
        }
    }
}
