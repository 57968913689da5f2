//! The stored form of an account.
//!
//! Version 1 held the password's argon2id hash in clear. Version 2 seals it, together with the
//! keys for SCRAM: those are PBKDF2 and quicker to guess than argon2id, and with the server key
//! somebody could play the relay to a client. Sealed by the master key, a stolen store or backup
//! allows no guessing at all. Version 1 is read for ever; a row becomes version 2 whenever it is
//! written.
use base64::Engine as _;
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::Account;
use crate::infra::directory::AppScramKeys;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::ScramKeys;
use crate::infra::directory::accounts::wraps::Rewrap;
use crate::infra::store::row;

/// Rows `A/<mailbox id>` -> account.
pub(super) const BY_ID: &[u8] = b"A/";
const FORMAT_1: u8 = 1;
const FORMAT: u8 = 2;

/// An account, and what its password is checked against.
pub(super) struct Stored {
    pub(super) account: Account,
    pub(super) password: Password,
    /// True when logins were recorded from the mailbox's first day on: then no record means that
    /// nobody ever came.
    pub(super) logins_known: bool,
}

/// As it lies in the row.
pub(super) enum Password {
    /// Version 1: the argon2id hash.
    Hash(String),
    /// Version 2.
    Sealed(Vec<u8>),
}

/// What a password is checked against.
#[derive(Serialize, Deserialize)]
pub(super) struct Credential {
    /// argon2id, PHC form.
    pub(super) hash: Zeroizing<String>,
    /// Absent until the password of a version 1 row was shown once more.
    pub(super) scram: Option<Scram>,
}

impl Credential {
    /// True for what stands where no password was ever set: `accounts::nobodys`, whose hash has
    /// the salt of its keys. Those of a password are two, of 128 random bits each.
    pub(super) fn is_nobodys(&self) -> bool {
        let Some(scram) = &self.scram else { return false };
        let salt = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&scram.salt);
        // $argon2id$v=…$m=…,t=…,p=…$salt$hash
        self.hash.split('$').nth(4) == Some(salt.as_str())
    }
}

/// Keys for SCRAM-SHA-256.
#[derive(Serialize, Deserialize)]
pub(super) struct Scram {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    pub(super) stored_key: Zeroizing<[u8; 32]>,
    pub(super) server_key: Zeroizing<[u8; 32]>,
}

impl Scram {
    pub(super) fn keys(&self, app_passwords: Vec<AppScramKeys>) -> ScramKeys {
        ScramKeys {
            app_passwords,
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: Secret::new(*self.stored_key),
            server_key: Secret::new(*self.server_key),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Row1 {
    kind: String,
    red_list: bool,
    suspended: bool,
    identity: Identity,
    password: String,
    certificate: Vec<u8>,
    wrapped_keys: Vec<u8>,
    created: u64,
}

#[derive(Serialize, Deserialize)]
struct Row {
    kind: String,
    red_list: bool,
    suspended: bool,
    identity: Identity,
    credential: Vec<u8>,
    certificate: Vec<u8>,
    wrapped_keys: Vec<u8>,
    created: u64,
    logins_known: bool,
}

#[derive(Serialize, Deserialize)]
enum Identity {
    /// A professional, as earlier versions wrote them.
    Clear { address: String, display_name: String },
    /// `address LF display name`, sealed by the master key: what pages of the store that are free
    /// again still hold of an ended mailbox names nobody.
    Sealed(Vec<u8>),
}

pub(super) fn key(id: &MailboxId) -> Vec<u8> {
    [BY_ID, id.as_bytes()].concat()
}

fn context(id: &MailboxId) -> Vec<u8> {
    [b"credential/".as_slice(), id.as_bytes()].concat()
}

/// The sealed form of a credential, for its own mailbox alone.
pub(super) fn seal(desk: &dyn KeyDesk, id: &MailboxId, credential: &Credential) -> Password {
    let clear = Zeroizing::new(row::encode(FORMAT, credential));
    Password::Sealed(desk.seal(&context(id), &clear))
}

/// What the password of an account is checked against.
pub(super) fn open(desk: &dyn KeyDesk, stored: &Stored) -> Result<Credential, DirectoryError> {
    match &stored.password {
        Password::Hash(hash) => Ok(Credential { hash: Zeroizing::new(hash.clone()), scram: None }),
        Password::Sealed(sealed) => desk
            .open(&context(&stored.account.id), sealed)
            .and_then(|clear| row::decode(FORMAT, clear.expose()))
            .ok_or_else(|| DirectoryError::Damaged("sealed credential".to_owned())),
    }
}

pub(super) fn encode(desk: &dyn KeyDesk, stored: &Stored) -> Vec<u8> {
    let account = &stored.account;
    let clear = Secret::new(format!("{}\n{}", account.address, account.display_name));
    let identity = Identity::Sealed(desk.seal_identity(clear.expose().as_bytes()));
    let credential = match &stored.password {
        Password::Sealed(sealed) => sealed.clone(),
        Password::Hash(hash) => {
            let credential = Credential { hash: Zeroizing::new(hash.clone()), scram: None };
            let clear = Zeroizing::new(row::encode(FORMAT, &credential));
            desk.seal(&context(&account.id), &clear)
        }
    };
    let row = Row {
        kind: account.kind.code().to_owned(),
        red_list: account.listing == Listing::RedList,
        suspended: account.suspended,
        identity,
        credential,
        certificate: account.certificate.to_vec(),
        wrapped_keys: account.wrapped_keys.to_vec(),
        created: account.created.as_millis(),
        logins_known: stored.logins_known,
    };
    row::encode(FORMAT, &row)
}

pub(super) fn decode(
    desk: &dyn KeyDesk,
    key: &[u8],
    value: &[u8],
) -> Result<Stored, DirectoryError> {
    let damaged = |what: &str| DirectoryError::Damaged(what.to_owned());
    let (row, password) = match row::decode::<Row>(FORMAT, value) {
        Some(mut row) => {
            let sealed = std::mem::take(&mut row.credential);
            (row, Password::Sealed(sealed))
        }
        None => {
            let old: Row1 = row::decode(FORMAT_1, value).ok_or(damaged("row"))?;
            let row = Row {
                kind: old.kind,
                red_list: old.red_list,
                suspended: old.suspended,
                identity: old.identity,
                credential: Vec::new(),
                certificate: old.certificate,
                wrapped_keys: old.wrapped_keys,
                created: old.created,
                logins_known: false,
            };
            (row, Password::Hash(old.password))
        }
    };
    let id = key.get(BY_ID.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
    let (address, display_name) = match row.identity {
        Identity::Clear { address, display_name } => (address, display_name),
        Identity::Sealed(sealed) => {
            let clear = desk.open_identity(&sealed).ok_or(damaged("sealed identity"))?;
            let text = std::str::from_utf8(clear.expose()).map_err(|_| damaged("identity"))?;
            let (address, name) = text.split_once('\n').ok_or(damaged("identity"))?;
            (address.to_owned(), name.to_owned())
        }
    };
    let account = Account {
        id: MailboxId::from_bytes(id.ok_or(damaged("key"))?),
        address: Address::parse(&address).map_err(|_| damaged("address"))?,
        kind: MailboxKind::from_code(&row.kind).ok_or(damaged("kind"))?,
        listing: if row.red_list { Listing::RedList } else { Listing::Public },
        suspended: row.suspended,
        display_name,
        certificate: row.certificate.into(),
        wrapped_keys: row.wrapped_keys.into(),
        created: Timestamp::from_millis(row.created),
    };
    Ok(Stored { account, password, logins_known: row.logins_known })
}

/// The row with another wrapped key, in its own version; nothing sealed in it is opened. `None`
/// for a damaged row.
pub(super) fn rewrapped(value: &[u8], change: impl FnOnce(&[u8]) -> Rewrap) -> Option<Rewrap> {
    if let Some(mut row) = row::decode::<Row>(FORMAT, value) {
        return Some(match change(&row.wrapped_keys) {
            Rewrap::With(wrapped) => {
                row.wrapped_keys = wrapped;
                Rewrap::With(row::encode(FORMAT, &row))
            }
            other => other,
        });
    }
    let mut row = row::decode::<Row1>(FORMAT_1, value)?;
    Some(match change(&row.wrapped_keys) {
        Rewrap::With(wrapped) => {
            row.wrapped_keys = wrapped;
            Rewrap::With(row::encode(FORMAT_1, &row))
        }
        other => other,
    })
}

/// A row as version 1 wrote it, for the tests of upgrades.
#[cfg(test)]
pub(super) fn encode_as_version_1(account: &Account, hash: &str) -> Vec<u8> {
    let row = Row1 {
        kind: account.kind.code().to_owned(),
        red_list: account.listing == Listing::RedList,
        suspended: account.suspended,
        identity: Identity::Clear {
            address: account.address.to_string(),
            display_name: account.display_name.clone(),
        },
        password: hash.to_owned(),
        certificate: account.certificate.to_vec(),
        wrapped_keys: account.wrapped_keys.to_vec(),
        created: account.created.as_millis(),
    };
    row::encode(FORMAT_1, &row)
}
