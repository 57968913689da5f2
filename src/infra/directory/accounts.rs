//! Local accounts: rows of the store, passwords as argon2id.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::limits;
use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::NewAccount;
use crate::infra::directory::Verdict;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::Versioned;
use crate::infra::store::row;

/// Rows `a/<address key>` -> mailbox id, `A/<mailbox id>` -> account.
const BY_ADDRESS: &[u8] = b"a/";
const BY_ID: &[u8] = b"A/";
const FORMAT: u8 = 1;

/// How long a verified password is remembered (as a keyed hash, in memory only): a mail client
/// opens many connections, and argon2id is slow on purpose.
const VERIFIED_FOR: Duration = Duration::from_secs(600);
const VERIFIED_MAX: usize = 10_000;

/// How long a password waits for its turn: a client that hears "later" is served better than
/// one that hears nothing.
const HASHING_WAIT: Duration = Duration::from_secs(10);

/// The mailboxes of this relay.
pub struct Accounts {
    store: Arc<dyn Store>,
    desk: Arc<dyn KeyDesk>,
    clock: Arc<dyn Clock>,
    /// A login name without `@` belongs here.
    home: Domain,
    /// Bounds the memory of password hashing: argon2id takes 19 MiB at a time.
    hashing: Arc<Semaphore>,
    verified: Mutex<HashMap<[u8; 32], Timestamp>>,
    /// Keys `verified`; lives and dies with the process.
    verified_key: hmac::Key,
    /// Hashed against when the name is unknown, so that both answers take as long.
    nobody: String,
}

/// The stored form of an account.
#[derive(Serialize, Deserialize)]
struct Row {
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
enum Identity {
    /// A professional: public facts.
    Clear { address: String, display_name: String },
    /// A patient: `address LF display name`, sealed by the master key.
    Sealed(Vec<u8>),
}

impl Accounts {
    /// The accounts in this store.
    pub fn new(
        store: Arc<dyn Store>,
        desk: Arc<dyn KeyDesk>,
        clock: Arc<dyn Clock>,
        home: Domain,
    ) -> Result<Self, DirectoryError> {
        let at_once = std::thread::available_parallelism().map_or(2, usize::from);
        let random = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new())
            .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
        Ok(Self {
            store,
            desk,
            clock,
            home,
            hashing: Arc::new(Semaphore::new(at_once)),
            verified: Mutex::default(),
            verified_key: random,
            nobody: hash_password(&Secret::new("nobody".to_owned()))?,
        })
    }

    /// Creates a mailbox's account and keys; durable when this returns.
    pub async fn add(&self, new: NewAccount<'_>) -> Result<Account, DirectoryError> {
        let now = self.clock.now();
        let id = MailboxId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let user_id = match new.kind {
            // A certificate is public: a patient's shows no number and no name.
            MailboxKind::Citizen => format!("<{id:?}@{}>", new.address.domain()),
            _ => format!("{} <{}>", plain(&new.display_name), new.address),
        };
        let (certificate, wrapped_keys) =
            self.desk.mailbox_keys(&id, &user_id, now).map_err(DirectoryError::Keys)?;
        let account = Account {
            id,
            address: new.address,
            kind: new.kind,
            listing: new.listing,
            suspended: false,
            display_name: new.display_name,
            certificate,
            wrapped_keys,
            created: now,
        };
        let password = self.hash(new.password).await?;
        let mut batch = Batch::new();
        let by_address = self.address_row(&account.address);
        batch.require_absent(by_address.clone());
        batch.put(by_address, Bytes::copy_from_slice(id.as_bytes()));
        batch.put(account_row(&id), self.encode(&account, password));
        match self.store.commit(batch).await {
            Ok(()) => Ok(account),
            Err(CommitError::Conflict) => Err(DirectoryError::Taken),
            Err(error) => Err(DirectoryError::Store(error.to_string())),
        }
    }

    /// Every mailbox, in the order of creation.
    pub async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        let mut accounts = Vec::new();
        let mut range = store::prefix(BY_ID);
        loop {
            let page =
                self.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await.map_err(failed)?;
            for (key, row) in &page.rows {
                accounts.push(self.decode(key, &row.value)?.0);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(accounts),
            }
        }
    }

    /// Sets another password.
    pub async fn set_password(
        &self,
        address: &Address,
        password: &Secret<String>,
    ) -> Result<(), DirectoryError> {
        let hash = self.hash(password).await?;
        self.change(address, |_, current| *current = hash.clone()).await
    }

    /// Closes a mailbox for now, or opens it again.
    pub async fn set_suspended(
        &self,
        address: &Address,
        suspended: bool,
    ) -> Result<(), DirectoryError> {
        self.change(address, |account, _| account.suspended = suspended).await
    }

    async fn change(
        &self,
        address: &Address,
        edit: impl Fn(&mut Account, &mut String),
    ) -> Result<(), DirectoryError> {
        loop {
            let (mut account, mut password, version) =
                self.load(address).await?.ok_or(DirectoryError::Unknown)?;
            edit(&mut account, &mut password);
            let mut batch = Batch::new();
            batch.require_at(account_row(&account.id), version);
            batch.put(account_row(&account.id), self.encode(&account, password));
            match self.store.commit(batch).await {
                Err(CommitError::Conflict) => {}
                other => return other.map_err(|error| DirectoryError::Store(error.to_string())),
            }
        }
    }

    async fn load(
        &self,
        address: &Address,
    ) -> Result<Option<(Account, String, store::Version)>, DirectoryError> {
        let Some(id) = self.store.get(&self.address_row(address)).await.map_err(failed)? else {
            return Ok(None);
        };
        let id = <[u8; 16]>::try_from(id.value.as_ref())
            .map_err(|_| DirectoryError::Damaged("mailbox id".to_owned()))?;
        let key = account_row(&MailboxId::from_bytes(id));
        let Some(Versioned { value, version }) = self.store.get(&key).await.map_err(failed)? else {
            return Err(DirectoryError::Damaged("address without account".to_owned()));
        };
        let (account, password) = self.decode(&key, &value)?;
        Ok(Some((account, password, version)))
    }

    /// A login name without `@` is one of the home domain.
    fn full(&self, name: &str) -> String {
        if name.contains('@') { name.to_owned() } else { format!("{name}@{}", self.home) }
    }

    /// The account of a login name, and its stored password.
    async fn named(&self, full: &str) -> Result<Option<(Account, String)>, DirectoryError> {
        let Ok(address) = Address::parse(full) else { return Ok(None) };
        Ok(self.load(&address).await?.map(|(account, hash, _)| (account, hash)))
    }

    fn address_row(&self, address: &Address) -> Vec<u8> {
        [BY_ADDRESS, &self.desk.address_key(address)].concat()
    }

    fn encode(&self, account: &Account, password: String) -> Vec<u8> {
        let identity = match account.kind {
            MailboxKind::Citizen => {
                let clear = Secret::new(format!("{}\n{}", account.address, account.display_name));
                Identity::Sealed(self.desk.seal_identity(clear.expose().as_bytes()))
            }
            _ => Identity::Clear {
                address: account.address.to_string(),
                display_name: account.display_name.clone(),
            },
        };
        let row = Row {
            kind: account.kind.code().to_owned(),
            red_list: account.listing == Listing::RedList,
            suspended: account.suspended,
            identity,
            password,
            certificate: account.certificate.to_vec(),
            wrapped_keys: account.wrapped_keys.to_vec(),
            created: account.created.as_millis(),
        };
        row::encode(FORMAT, &row)
    }

    fn decode(&self, key: &[u8], value: &[u8]) -> Result<(Account, String), DirectoryError> {
        let damaged = |what: &str| DirectoryError::Damaged(what.to_owned());
        let row: Row = row::decode(FORMAT, value).ok_or(damaged("row"))?;
        let id = key.get(BY_ID.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
        let (address, display_name) = match row.identity {
            Identity::Clear { address, display_name } => (address, display_name),
            Identity::Sealed(sealed) => {
                let clear = self.desk.open_identity(&sealed).ok_or(damaged("sealed identity"))?;
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
        Ok((account, row.password))
    }

    async fn hash(&self, password: &Secret<String>) -> Result<String, DirectoryError> {
        let copy = Secret::new(password.expose().clone());
        self.on_hashing_thread(move || hash_password(&copy)).await?
    }

    /// Hashing takes tens of milliseconds: never on a thread that serves connections.
    async fn on_hashing_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let place = Arc::clone(&self.hashing).acquire_owned();
        let permit = tokio::time::timeout(HASHING_WAIT, place).await;
        let permit = permit.map_err(|_| DirectoryError::Busy)?;
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        answer.await.map_err(|_| DirectoryError::Keys("password hashing stopped".to_owned()))
    }

    /// The key under which a verified password is remembered. Name, password and stored hash
    /// are all in it, each with its length, so that no two logins share an entry.
    fn verified_tag(&self, name: &str, password: &Secret<String>, stored: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.verified_key);
        for part in [name.as_bytes(), password.expose().as_bytes(), stored.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn was_verified(&self, tag: &[u8; 32], now: Timestamp) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(tag).is_some_and(|at| now.since(*at) < VERIFIED_FOR)
    }

    fn remember(&self, tag: [u8; 32], now: Timestamp) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED_MAX {
            verified.retain(|_, at| now.since(*at) < VERIFIED_FOR);
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
        }
        verified.insert(tag, now);
    }
}

#[async_trait]
impl Mailboxes for Accounts {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(self.load(address).await?.map(|(account, _, _)| account))
    }

    async fn held_by(&self, _national_id: &str) -> Result<Vec<Address>, DirectoryError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Directory for Accounts {
    fn source(&self) -> Source {
        Source::Local
    }

    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        let full = self.full(name);
        let found = self.named(&full).await?;
        let stored = found.as_ref().map_or(&self.nobody, |(_, hash)| hash).clone();
        let tag = self.verified_tag(&full, password, &stored);
        let now = self.clock.now();
        let matches = if found.is_some() && self.was_verified(&tag, now) {
            true
        } else {
            let copy = Secret::new(password.expose().clone());
            self.on_hashing_thread(move || password_matches(&copy, &stored)).await?
        };
        match found {
            Some((account, _)) if matches && !account.suspended => {
                self.remember(tag, now);
                Ok(Verdict::Known(by_password(account)))
            }
            Some(_) => Ok(Verdict::Refused),
            None => Ok(Verdict::Stranger),
        }
    }

    async fn pretend(&self, _name: &str) {
        let stored = self.nobody.clone();
        let nobody = Secret::new("somebody".to_owned());
        let _ = self.on_hashing_thread(move || password_matches(&nobody, &stored)).await;
    }

    async fn recently_verified(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        let full = self.full(name);
        let Some((account, stored)) = self.named(&full).await? else { return Ok(None) };
        let tag = self.verified_tag(&full, password, &stored);
        let now = self.clock.now();
        if account.suspended || !self.was_verified(&tag, now) {
            return Ok(None);
        }
        self.remember(tag, now);
        Ok(Some(by_password(account)))
    }
}

/// The holder of this mailbox, who typed its password.
fn by_password(account: Account) -> Identified {
    Identified {
        mailboxes: vec![account.address],
        national_id: None,
        display_name: None,
        means: Means::Password,
        scope: Scope::ALL,
        network: None,
        until: None,
    }
}

/// An argon2id hash in PHC form, with a random salt.
pub fn hash_password(password: &Secret<String>) -> Result<String, DirectoryError> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| DirectoryError::Keys(error.to_string()))?;
    Ok(hash.to_string())
}

/// True when the password has this argon2id hash. Slow on purpose; compares in constant time.
pub fn password_matches(password: &Secret<String>, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
    })
}

fn account_row(id: &MailboxId) -> Vec<u8> {
    [BY_ID, id.as_bytes()].concat()
}

fn failed(error: store::StoreError) -> DirectoryError {
    DirectoryError::Store(error.to_string())
}

/// A display name for an OpenPGP user id: without the characters that delimit the address.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '<' | '>') && !c.is_control()).collect()
}

#[cfg(test)]
pub(in crate::infra::directory) mod tests;
