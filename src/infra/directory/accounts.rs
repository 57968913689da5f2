//! Local accounts: rows of the store, passwords as argon2id.

/// The mailboxes of this relay.
pub struct Accounts {}
