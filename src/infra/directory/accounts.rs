//! Local accounts: rows of the store, passwords as argon2id.
use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;

/// The mailboxes of this relay.
pub struct Accounts {}

/// A mailbox to be made.
pub struct NewAccount<'a> {
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: MailboxKind,
    /// Shown or hidden.
    pub listing: Listing,
    /// What people call it.
    pub display_name: String,
    /// The first password.
    pub password: &'a Secret<String>,
}

impl Accounts {
    /// Stub.
    pub async fn add(&self, new: NewAccount<'_>) -> Result<Account, DirectoryError> { let _ = new; todo!() }
    /// Stub.
    pub async fn list(&self) -> Result<Vec<Account>, DirectoryError> { todo!() }
    /// Stub.
    pub async fn set_password(&self, address: &Address, password: &Secret<String>) -> Result<(), DirectoryError> { let _ = (address, password); todo!() }
}
