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

/// What a new mailbox needs.
pub struct NewAccount<'a> {
    /// Its address, for ever.
    pub address: Address,
    /// Its kind, for ever.
    pub kind: MailboxKind,
    /// Shown in the public directory or not.
    pub listing: Listing,
    /// What people call it.
    pub display_name: String,
    /// Its first password.
    pub password: &'a Secret<String>,
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
    /// A key could not be made or opened.
    #[error("directory: keys: {0}")]
    Keys(String),
    /// The address is taken: it is never given to another mailbox.
    #[error("the address has a mailbox already")]
    Taken,
    /// No such mailbox.
    #[error("no such mailbox")]
    Unknown,
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    Busy,
}

/// A source of mailboxes and logins.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The mailbox of an address.
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError>;

    /// The mailbox that this name and password open; `None` when they do not. Takes as long
    /// for an unknown name as for a wrong password.
    async fn login(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Account>, DirectoryError>;

    /// The same, but only when this very login was found right a short while ago: cheap, so
    /// that it may be asked before anything is throttled. `None` says nothing about the password.
    async fn recently_verified(
        &self,
        _name: &str,
        _password: &Secret<String>,
    ) -> Result<Option<Account>, DirectoryError> {
        Ok(None)
    }
}

/// What the directory asks of the keyring. `relay` lends it: rooms of this floor do not know
/// each other.
pub trait KeyDesk: Send + Sync {
    /// A keyed hash under which an address is found, so that no INS lies on disk.
    fn address_key(&self, address: &Address) -> [u8; 32];
    /// Seals a patient's address and name.
    fn seal_identity(&self, clear: &[u8]) -> Vec<u8>;
    /// Opens what `seal_identity` made.
    fn open_identity(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>>;
    /// Public certificate and wrapped secret keys of a new mailbox.
    fn mailbox_keys(
        &self,
        owner: &MailboxId,
        user_id: &str,
        now: Timestamp,
    ) -> Result<(Bytes, Bytes), String>;
}
