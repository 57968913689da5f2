//! How mailboxes of this relay come into the national directory.
//!
//! Two ways: an export file that somebody deposits, because the layout of the official deposit
//! is not public, and the draft API of 2026 (FHIRPath PATCH). Which of them, and what is to be
//! published, the flow decides; here is how it is said and what came of it.
mod api; // FHIRPath PATCH
mod file; // a file for somebody to deposit

pub use api::ApiPublisher;
pub use file::FilePublisher;

use async_trait::async_trait;

use crate::domain::address::Address;
use crate::domain::mailbox::MailboxKind;

/// A mailbox, as the national directory is to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its address. Immutable: another address is another mailbox.
    pub address: Address,
    /// Its kind. Immutable.
    pub kind: MailboxKind,
    /// On whom it hangs.
    pub holder: Holder,
    /// What a team is called.
    pub description: String,
    /// Family name of a professional.
    pub name: String,
    /// Given name.
    pub given_name: String,
    /// Profession, as the national directory calls it.
    pub profession: String,
    /// The structure's name.
    pub structure_name: String,
    /// The service in it.
    pub service: String,
}

/// On whom a mailbox hangs in the national directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A professional, by *identification nationale*: `8` and the RPPS.
    Professional(String),
    /// A structure, by its FINESS number.
    Structure(String),
    /// Nobody said.
    Unknown,
}

/// What is to be said of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there now, and shown.
    Insert,
    /// It is on the red list now, or not any more.
    Hide(bool),
    /// It is gone.
    Delete,
}

impl Change {
    /// What reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Hide(true) => "hide",
            Self::Hide(false) => "show",
            Self::Delete => "delete",
        }
    }
}

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is published.
    Done,
    /// It was refused: somebody must look at it.
    Refused(String),
    /// Not now; the next run tries again. Seconds, when the other side named them.
    Later(String, Option<u64>),
}

/// A way into the national directory.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Which one.
    fn name(&self) -> &'static str;

    /// Says these changes; one outcome for each, in their order.
    async fn publish(&self, changes: &[(Record, Change)]) -> Vec<Outcome>;
}
