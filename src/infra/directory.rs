//! Who has a mailbox here, and who may log in to it.
pub mod accounts;

use async_trait::async_trait;
use bytes::Bytes;
use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// A mailbox of this relay, as the directory knows it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The mailbox's identity; rows and keys are bound to it.
    pub id: MailboxId,
    /// Its address. Immutable.
    pub address: Address,
    /// Its kind. Immutable.
    pub kind: MailboxKind,
    /// Shown in the public directory or not.
    pub listing: Listing,
    /// Closed for now: it neither sends nor receives.
    pub suspended: bool,
    /// What people call it, e.g. `Dr Marie MARTIN`; sealed on disk for patients.
    pub display_name: String,
    /// Public OpenPGP certificate, binary.
    pub certificate: Bytes,
    /// Wrapped secret keys, opaque here.
    pub wrapped_keys: Bytes,
    /// When it was created.
    pub created: Timestamp,
}

/// Why the directory did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store failed.
    #[error("directory: {0}")]
    Store(String),
    /// A row does not have the form that was written.
    #[error("directory: damaged account: {0}")]
    Damaged(String),
    /// The address is taken: it is never given to another mailbox.
    #[error("the address has a mailbox already")]
    Taken,
    /// No such mailbox.
    #[error("no such mailbox")]
    Unknown,
}

/// A source of mailboxes and logins.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The mailbox of an address.
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError>;

    /// The mailbox that this name and password open; `None` when they do not. Takes as long
    /// for an unknown name as for a wrong password.
    async fn login(&self, name: &str, password: &Secret<String>) -> Result<Option<Account>, DirectoryError>;
}
