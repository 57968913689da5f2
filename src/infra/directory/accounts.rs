//! Local accounts: rows of the store, passwords as argon2id.
pub mod app_passwords; // one for each program
pub mod arrivals; // last logins, usual networks
pub mod holders; // which professional holds which mailbox
mod life; // accounts that change or end together with the mailbox's state
mod rows; // the stored form
mod verified; // passwords that were right a short while ago
mod vouched; // which mailbox's person a directory outside knows
pub mod wraps; // their keys, when the master key changes

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::identity::NationalId;
use crate::domain::limits;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::infra::clock::Clock;
use crate::infra::directory::Account;
use crate::infra::directory::Arrival;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::NewAccount;
use crate::infra::directory::ScramKeys;
use crate::infra::directory::Verdict;
use crate::infra::directory::Vouched;
use crate::infra::directory::accounts::arrivals::Arrivals;
use crate::infra::directory::accounts::rows::Credential;
use crate::infra::directory::accounts::rows::Scram;
use crate::infra::directory::accounts::rows::Stored;
use crate::infra::directory::accounts::verified::Verified;
use crate::infra::directory::accounts::vouched::Vouchers;
use crate::infra::directory::hashing::Hashing;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::Versioned;
use crate::proto::sasl::scram::Keys;

pub use life::Known;

/// Rows `a/<address key>` -> mailbox id; `A/<mailbox id>` -> account.
const BY_ADDRESS: &[u8] = b"a/";
/// How long a password that was right is remembered, when nobody says otherwise.
const VERIFIED_FOR: Duration = Duration::from_secs(600);

/// The mailboxes of this relay.
pub struct Accounts {
    store: Arc<dyn Store>,
    desk: Arc<dyn KeyDesk>,
    clock: Arc<dyn Clock>,
    /// A login name without `@` belongs here.
    home: Domain,
    hashing: Hashing,
    verified: Verified,
    arrivals: Arrivals,
    vouchers: Vouchers,
    /// Hashed against when the name is unknown, so that both answers take as long.
    nobody: String,
}

impl Accounts {
    /// The accounts in this store.
    pub fn new(
        store: Arc<dyn Store>,
        desk: Arc<dyn KeyDesk>,
        clock: Arc<dyn Clock>,
        home: Domain,
    ) -> Result<Self, DirectoryError> {
        Ok(Self {
            store,
            desk,
            clock,
            home,
            hashing: Hashing::start()?,
            verified: Verified::new(VERIFIED_FOR)?,
            arrivals: Arrivals::default(),
            vouchers: Vouchers::default(),
            nobody: hash_password(&Secret::new("nobody".to_owned()))?,
        })
    }

    /// Remembers passwords that were right for so long; zero: not at all.
    ///
    /// # Errors
    /// [`DirectoryError::Keys`] without randomness.
    pub fn remembering(mut self, kept_for: Duration) -> Result<Self, DirectoryError> {
        self.verified = Verified::new(kept_for)?;
        Ok(self)
    }

    /// Creates a mailbox's account and keys; durable when this returns.
    pub async fn add(&self, new: NewAccount<'_>) -> Result<Account, DirectoryError> {
        self.add_with(new, |_, _| {}).await
    }

    /// [`Accounts::add`]; `ride` may still change whether it is open, and adds to the commit.
    pub async fn add_with(
        &self,
        new: NewAccount<'_>,
        ride: impl FnOnce(&mut Account, &mut Batch),
    ) -> Result<Account, DirectoryError> {
        let now = self.clock.now();
        let id = MailboxId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let user_id = match new.kind {
            // A certificate is public: a patient's shows no number and no name.
            MailboxKind::Citizen => format!("<{id:?}@{}>", new.address.domain()),
            // A name changes; and what is left of an ended mailbox names nobody.
            _ => format!("<{}>", new.address),
        };
        let has_end = new.kind != MailboxKind::Citizen;
        let keys = self.desk.mailbox_keys(&id, &user_id, has_end, now);
        let (certificate, wrapped_keys) = keys.map_err(DirectoryError::Keys)?;
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
        let credential = match new.password {
            Some(password) => self.credential(password, None).await?,
            None => nobodys(new_salt()?)?,
        };
        let password = rows::seal(self.desk.as_ref(), &id, &credential);
        let mut stored = Stored { account, password, logins_known: true };
        let mut batch = Batch::new();
        let by_address = self.address_row(&stored.account.address);
        batch.require_absent(by_address.clone());
        batch.put(by_address, Bytes::copy_from_slice(id.as_bytes()));
        ride(&mut stored.account, &mut batch);
        batch.put(rows::key(&id), rows::encode(self.desk.as_ref(), &stored));
        match self.store.commit(batch).await {
            Ok(()) => Ok(stored.account),
            Err(CommitError::Conflict) => Err(DirectoryError::Taken),
            Err(error) => Err(DirectoryError::Store(error.to_string())),
        }
    }

    /// Every mailbox, in the order of creation.
    pub async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        let mut accounts = Vec::new();
        let mut range = store::prefix(rows::BY_ID);
        loop {
            let page =
                self.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await.map_err(failed)?;
            for (key, row) in &page.rows {
                accounts.push(rows::decode(self.desk.as_ref(), key, &row.value)?.account);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(accounts),
            }
        }
    }

    /// Sets another password: the mailbox's person is a local account from now on, unless a
    /// directory outside knows them as well. App passwords stay.
    pub async fn set_password(
        &self,
        address: &Address,
        password: &Secret<String>,
    ) -> Result<(), DirectoryError> {
        let (stored, _) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
        // The salt stays: the SCRAM keys of app passwords were made with it.
        let salt = rows::open(self.desk.as_ref(), &stored)?.scram.map(|scram| scram.salt);
        let credential = self.credential(password, salt).await?;
        self.forget_voucher(&stored.account.id).await?;
        self.change(address, |stored| {
            stored.password = rows::seal(self.desk.as_ref(), &stored.account.id, &credential);
        })
        .await
    }

    /// Takes the password away: whoever the mailbox belongs to logs in by another directory, or
    /// by app passwords, which stay.
    pub async fn remove_password(&self, address: &Address) -> Result<(), DirectoryError> {
        let (stored, _) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
        let salt = rows::open(self.desk.as_ref(), &stored)?.scram.map(|scram| scram.salt);
        let credential = nobodys(salt.map_or_else(new_salt, Ok)?)?;
        self.change(address, |stored| {
            stored.password = rows::seal(self.desk.as_ref(), &stored.account.id, &credential);
        })
        .await
    }

    /// Closes a mailbox for now, or opens it again.
    pub async fn set_suspended(
        &self,
        address: &Address,
        suspended: bool,
    ) -> Result<(), DirectoryError> {
        self.change(address, |stored| stored.account.suspended = suspended).await
    }

    async fn change(
        &self,
        address: &Address,
        edit: impl Fn(&mut Stored),
    ) -> Result<(), DirectoryError> {
        loop {
            let (mut stored, version) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
            edit(&mut stored);
            let key = rows::key(&stored.account.id);
            let mut batch = Batch::new();
            batch.require_at(key.clone(), version);
            batch.put(key, rows::encode(self.desk.as_ref(), &stored));
            match self.store.commit(batch).await {
                Err(CommitError::Conflict) => {}
                other => return other.map_err(|error| DirectoryError::Store(error.to_string())),
            }
        }
    }

    async fn load(
        &self,
        address: &Address,
    ) -> Result<Option<(Stored, store::Version)>, DirectoryError> {
        let Some(id) = self.store.get(&self.address_row(address)).await.map_err(failed)? else {
            return Ok(None);
        };
        if life::is_of_nobody(&id.value) {
            return Ok(None);
        }
        let id = <[u8; 16]>::try_from(id.value.as_ref())
            .map_err(|_| DirectoryError::Damaged("mailbox id".to_owned()))?;
        let key = rows::key(&MailboxId::from_bytes(id));
        let Some(Versioned { value, version }) = self.store.get(&key).await.map_err(failed)? else {
            return Err(DirectoryError::Damaged("address without account".to_owned()));
        };
        Ok(Some((rows::decode(self.desk.as_ref(), &key, &value)?, version)))
    }

    /// The account of a login name.
    async fn named(&self, name: &str) -> Result<Option<Stored>, DirectoryError> {
        let Some(address) = self.meant(name) else { return Ok(None) };
        Ok(self.load(&address).await?.map(|(stored, _)| stored))
    }

    fn address_row(&self, address: &Address) -> Vec<u8> {
        [BY_ADDRESS, &self.desk.address_key(address)].concat()
    }

    /// Hash and SCRAM keys of a password, with this salt or a new one.
    async fn credential(
        &self,
        password: &Secret<String>,
        salt: Option<Vec<u8>>,
    ) -> Result<Credential, DirectoryError> {
        let copy = Secret::new(password.expose().clone());
        let hash = self.hashing.run(move || hash_password(&copy)).await??;
        let salt = match salt {
            Some(salt) => salt,
            None => new_salt()?,
        };
        let scram = self.scram_of(password, salt).await?;
        Ok(Credential { hash: Zeroizing::new(hash), scram: Some(scram) })
    }

    async fn scram_of(
        &self,
        password: &Secret<String>,
        salt: Vec<u8>,
    ) -> Result<Scram, DirectoryError> {
        let copy = Secret::new(password.expose().clone());
        self.hashing.run(move || scram_keys(&copy, &salt)).await
    }

    /// Gives an account of version 1 its SCRAM keys, now that its password was shown. Whatever
    /// goes wrong is tried again at the next login.
    async fn learn_scram(&self, address: &Address, password: &Secret<String>, hash: &str) {
        let made = async {
            let scram = self.scram_of(password, new_salt()?).await?;
            let (stored, version) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
            // Not when somebody set another password meanwhile.
            if *rows::open(self.desk.as_ref(), &stored)?.hash != hash {
                return Ok(());
            }
            let id = stored.account.id;
            let credential =
                Credential { hash: Zeroizing::new(hash.to_owned()), scram: Some(scram) };
            let password = rows::seal(self.desk.as_ref(), &id, &credential);
            let mut batch = Batch::new();
            batch.require_at(rows::key(&id), version);
            let stored = Stored { password, ..stored };
            batch.put(rows::key(&id), rows::encode(self.desk.as_ref(), &stored));
            match self.store.commit(batch).await {
                Ok(()) | Err(CommitError::Conflict) => Ok(()),
                Err(error) => Err(DirectoryError::Store(error.to_string())),
            }
        };
        if let Err(error) = made.await {
            tracing::warn!(%error, "keys for SCRAM could not be made");
        }
    }
}

#[async_trait]
impl Mailboxes for Accounts {
    async fn find(&self, address: &Address) -> Result<Option<Account>, DirectoryError> {
        Ok(self.load(address).await?.map(|(stored, _)| stored.account))
    }

    async fn held_by(&self, national_id: &str) -> Result<Vec<Address>, DirectoryError> {
        match NationalId::parse(national_id) {
            Some(national_id) => self.held_mailboxes(&national_id).await,
            None => Ok(Vec::new()),
        }
    }

    async fn app_password(
        &self,
        mailbox: &Address,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        if !app_passwords::may_be_one(password) {
            return Ok(None);
        }
        let Some((stored, _)) = self.load(mailbox).await? else { return Ok(None) };
        if stored.account.suspended {
            return Ok(None);
        }
        let found = Self::app_password(self, &stored.account, password).await?;
        Ok(found.map(|(identified, _)| identified))
    }

    /// A name without `@` is one of the home domain.
    fn meant(&self, name: &str) -> Option<Address> {
        if name.contains('@') {
            return Address::parse(name).ok();
        }
        Address::parse(&format!("{name}@{}", self.home)).ok()
    }

    async fn has_password(&self, mailbox: &Address) -> Result<bool, DirectoryError> {
        let Some((stored, _)) = self.load(mailbox).await? else { return Ok(false) };
        Ok(!rows::open(self.desk.as_ref(), &stored)?.is_nobodys())
    }

    async fn vouched(&self, mailbox: &Address) -> Result<Option<Vouched>, DirectoryError> {
        match self.load(mailbox).await? {
            Some((stored, _)) => self.voucher_of(&stored.account.id).await,
            None => Ok(None),
        }
    }

    async fn vouch(&self, mailbox: &Address, vouched: &Vouched) {
        if let Ok(Some((stored, _))) = self.load(mailbox).await {
            self.note_voucher(&stored.account.id, vouched).await;
        }
    }

    async fn arrived(&self, arrival: &Arrival) {
        self.remember_arrival(arrival).await;
    }

    async fn is_usual(&self, name: &str, network: Network) -> bool {
        match self.named(name).await {
            Ok(Some(stored)) => self.is_usual_network(&stored.account.id, network).await,
            _ => false,
        }
    }
}

#[async_trait]
impl Directory for Accounts {
    fn source(&self) -> Source {
        Source::Local
    }

    /// Always one argon2id run, and one keyed hash for all app passwords: an unknown name, a
    /// wrong password, an app password in the wrong place cost the same.
    async fn password(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, DirectoryError> {
        let found = self.named(name).await?;
        let (credential, app) = match &found {
            Some(stored) => (
                Some(rows::open(self.desk.as_ref(), stored)?),
                Self::app_password(self, &stored.account, password).await?,
            ),
            None => (None, None),
        };
        let hash = credential.as_ref().map_or(&self.nobody, |credential| &credential.hash).clone();
        let copy = Secret::new(password.expose().clone());
        let matches = self.hashing.run(move || password_matches(&copy, &hash)).await?;
        let (Some(stored), Some(credential)) = (found, credential) else {
            return Ok(Verdict::Stranger);
        };
        let account = stored.account;
        if account.suspended {
            return Ok(Verdict::Refused);
        }
        let now = self.clock.now();
        if let Some((identified, digest)) = app {
            self.verified.remember(self.verified.tag(APP, &account.id, password, &digest), now);
            return Ok(Verdict::Known(identified));
        }
        if !matches {
            // A mailbox without a password of ours is no account of ours: another directory may
            // know its person.
            let is_nobodys = credential.is_nobodys();
            return Ok(if is_nobodys { Verdict::Stranger } else { Verdict::Refused });
        }
        if credential.scram.is_none() {
            self.learn_scram(&account.address, password, &credential.hash).await;
        }
        let hash = credential.hash.as_bytes();
        self.verified.remember(self.verified.tag(OWN, &account.id, password, hash), now);
        Ok(Verdict::Known(by_password(account)))
    }

    async fn recently_verified(
        &self,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Option<Identified>, DirectoryError> {
        let Some(stored) = self.named(name).await? else { return Ok(None) };
        if stored.account.suspended {
            return Ok(None);
        }
        let now = self.clock.now();
        let hash = rows::open(self.desk.as_ref(), &stored)?.hash;
        let account = stored.account;
        let own = self.verified.tag(OWN, &account.id, password, hash.as_bytes());
        if self.verified.knows(&own, now) {
            self.verified.remember(own, now);
            return Ok(Some(by_password(account)));
        }
        let Some((identified, digest)) = Self::app_password(self, &account, password).await? else {
            return Ok(None);
        };
        let app = self.verified.tag(APP, &account.id, password, &digest);
        if !self.verified.knows(&app, now) {
            return Ok(None);
        }
        self.verified.remember(app, now);
        Ok(Some(identified))
    }

    /// One hash, of nothing.
    async fn pretend(&self, _name: &str) {
        let nobody = self.nobody.clone();
        let work = move || password_matches(&Secret::new("guess".to_owned()), &nobody);
        let _ = self.hashing.run(work).await;
    }

    async fn scram(&self, name: &str) -> Result<Option<ScramKeys>, DirectoryError> {
        let Some(stored) = self.named(name).await? else { return Ok(None) };
        if stored.account.suspended {
            return Ok(None);
        }
        let Some(scram) = rows::open(self.desk.as_ref(), &stored)?.scram else { return Ok(None) };
        let app_passwords = self.app_scram(&stored.account, &scram.salt).await?;
        Ok(Some(scram.keys(app_passwords)))
    }
}

/// What the memory of right passwords calls a mailbox's own password, and an app password.
const OWN: &str = "password";
const APP: &str = "app password";

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
        voucher: None,
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

/// What no password fits: random where the hash and the keys of one stand. It is checked like any
/// other, so that it takes as long, and takes no time to make. Its one salt tells it from a
/// password's, whose hash and keys have one each.
fn nobodys(salt: Vec<u8>) -> Result<Credential, DirectoryError> {
    let no_randomness = |_| DirectoryError::Keys("no randomness".to_owned());
    let mut random = Zeroizing::new([0; 96]);
    aws_lc_rs::rand::fill(random.as_mut()).map_err(no_randomness)?;
    let [hash, stored_key, server_key] = [0, 32, 64].map(|at| {
        let mut part = Zeroizing::new([0; 32]);
        part.copy_from_slice(&random[at..at + 32]);
        part
    });
    let params = Argon2::default();
    let params = params.params();
    let (memory, rounds, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let text = |octets: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(octets);
    let hash = format!(
        "$argon2id$v=19$m={memory},t={rounds},p={lanes}${}${}",
        text(&salt),
        text(hash.as_ref())
    );
    let scram = Scram { salt, iterations: limits::SCRAM_ITERATIONS, stored_key, server_key };
    Ok(Credential { hash: Zeroizing::new(hash), scram: Some(scram) })
}

fn new_salt() -> Result<Vec<u8>, DirectoryError> {
    let mut salt = vec![0; limits::SCRAM_SALT_OCTETS];
    aws_lc_rs::rand::fill(&mut salt)
        .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
    Ok(salt)
}

/// RFC 5803 §2: what a server keeps of a password for SCRAM. Slow on purpose.
fn scram_keys(password: &Secret<String>, salt: &[u8]) -> Scram {
    const ROUNDS: NonZeroU32 = NonZeroU32::new(limits::SCRAM_ITERATIONS).expect("not zero");
    let keys = Keys::derive(password, salt, ROUNDS);
    Scram {
        iterations: keys.iterations,
        stored_key: Zeroizing::new(*keys.stored_key.expose()),
        server_key: Zeroizing::new(*keys.server_key.expose()),
        salt: keys.salt,
    }
}

fn failed(error: store::StoreError) -> DirectoryError {
    DirectoryError::Store(error.to_string())
}

#[cfg(test)]
pub(in crate::infra::directory) mod tests;
