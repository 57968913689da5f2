//! App passwords: one for each program, for what it does and from where, until it is revoked.
//!
//! We make them, with a hundred random bits: nobody guesses one, so a keyed hash under the master
//! key is enough to keep it, and one look finds it among all of a mailbox. All of a mailbox's are
//! one sealed row: their names, networks and last uses say much about a person's life.
use std::net::IpAddr;

use aws_lc_rs::constant_time;
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Means;
use crate::domain::login::Network;
use crate::domain::login::Scope;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::Account;
use crate::infra::directory::AppScramKeys;
use crate::infra::directory::Arrival;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::failed;
use crate::infra::directory::accounts::rows;
use crate::infra::directory::accounts::rows::Scram;
use crate::infra::directory::letters;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::row;

/// Rows `Ap/<mailbox id>` -> its app passwords, sealed.
const APP_PASSWORDS: &[u8] = b"Ap/";
const FORMAT: u8 = 1;

/// An app password, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// What its owner calls it; one name a mailbox.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// The only network from which it is good.
    pub network: Option<Network>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub author: String,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// Its last use.
    pub used: Option<Use>,
}

/// A use of an app password. Written at most once an hour; exact while the relay runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub ip: Option<IpAddr>,
    /// By which door, as [`Entrance::name`] says it.
    pub door: String,
}

/// What a new app password shall be.
#[derive(Clone, Debug)]
pub struct NewAppPassword {
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// The only network from which it is good.
    pub network: Option<Network>,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// Who makes it.
    pub author: String,
}

/// Why app passwords stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum NoAppPassword {
    /// The directory did not answer, or knows no such mailbox.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Patients use the pages.
    #[error("a patient's inbox opens on the pages only, and has no app passwords")]
    OfAPatient,
    /// No name, or a long one.
    #[error("a name has 1 to {} characters on one line", limits::LOGIN_NAME_CHARACTERS_MAX)]
    BadName,
    /// It would open nothing.
    #[error("an app password is for send, read, or both")]
    ForNothing,
    /// It would be over at once, or not for years.
    #[error("an app password ends after 1 to {} days, or never", limits::APP_PASSWORD_DAYS_MAX)]
    BadEnd,
    /// There is one of this name.
    #[error("the mailbox has an app password of this name already; revoke it first")]
    NameTaken,
    /// As many as there may be.
    #[error("a mailbox has at most {} app passwords; revoke one first", limits::APP_PASSWORDS_MAX)]
    TooMany,
    /// There is none of this name.
    #[error("the mailbox has no app password of this name")]
    Unknown,
}

#[derive(Default, Serialize, Deserialize)]
struct Row {
    app_passwords: Vec<AppRow>,
}

#[derive(Serialize, Deserialize)]
struct AppRow {
    name: String,
    digest: Zeroizing<[u8; 32]>,
    send: bool,
    read: bool,
    network: Option<String>,
    created: u64,
    author: String,
    until: Option<u64>,
    used: Option<UseRow>,
    /// With the salt of the mailbox's own password: SCRAM tells the salt before it learns which
    /// password is shown.
    scram: Option<Scram>,
}

#[derive(Serialize, Deserialize)]
struct UseRow {
    at: u64,
    ip: Option<String>,
    door: String,
}

impl AppRow {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now.as_millis() >= until)
    }

    /// `None` when the network cannot be read: then it is good nowhere.
    fn identified(&self, account: &Account) -> Option<Identified> {
        let network = match &self.network {
            Some(text) => Some(Network::parse(text)?),
            None => None,
        };
        Some(Identified {
            mailboxes: vec![account.address.clone()],
            national_id: None,
            display_name: None,
            means: Means::AppPassword(self.name.clone()),
            scope: Scope { send: self.send, read: self.read },
            network,
            until: self.until.map(Timestamp::from_millis),
            voucher: None,
        })
    }

    fn shown(self) -> AppPassword {
        let used = self.used.map(|used| Use {
            at: Timestamp::from_millis(used.at),
            ip: used.ip.and_then(|ip| ip.parse().ok()),
            door: used.door,
        });
        AppPassword {
            name: self.name,
            scope: Scope { send: self.send, read: self.read },
            network: self.network.as_deref().and_then(Network::parse),
            created: Timestamp::from_millis(self.created),
            author: self.author,
            until: self.until.map(Timestamp::from_millis),
            used,
        }
    }
}

impl Accounts {
    /// Makes an app password; what is returned is shown once and kept nowhere. `along` is
    /// committed with it.
    ///
    /// # Errors
    /// [`NoAppPassword`]
    pub async fn add_app_password(
        &self,
        mailbox: &Address,
        new: NewAppPassword,
        along: &Batch,
    ) -> Result<Secret<String>, NoAppPassword> {
        let now = self.clock.now();
        let name = checked_name(&new.name)?;
        if !new.scope.send && !new.scope.read {
            return Err(NoAppPassword::ForNothing);
        }
        let longest =
            std::time::Duration::from_secs(u64::from(limits::APP_PASSWORD_DAYS_MAX) * 86_400);
        if new.until.is_some_and(|until| until <= now || until.since(now) > longest) {
            return Err(NoAppPassword::BadEnd);
        }
        let (stored, _) = self.load(mailbox).await?.ok_or(DirectoryError::Unknown)?;
        if stored.account.kind == MailboxKind::Citizen {
            return Err(NoAppPassword::OfAPatient);
        }
        let id = stored.account.id;
        let password = letters::random(limits::APP_PASSWORD_LETTERS)?;
        let digest = self.app_digest(&id, &password).ok_or_else(|| {
            DirectoryError::Keys("an app password that was made is none".to_owned())
        })?;
        let salt = rows::open(self.desk.as_ref(), &stored)?.scram.map(|scram| scram.salt);
        let scram = match salt {
            Some(salt) => Some(self.scram_of(&password, salt).await?),
            None => None,
        };
        let scram = scram.map(|scram| (scram.salt, scram.stored_key, scram.server_key));
        self.change_app_passwords(&id, along, |row| {
            row.app_passwords.retain(|one| !one.is_over(now) || one.name != name);
            if row.app_passwords.iter().any(|one| one.name == name) {
                return Err(NoAppPassword::NameTaken);
            }
            if row.app_passwords.len() >= limits::APP_PASSWORDS_MAX {
                return Err(NoAppPassword::TooMany);
            }
            row.app_passwords.push(AppRow {
                name: name.clone(),
                digest: Zeroizing::new(digest),
                send: new.scope.send,
                read: new.scope.read,
                network: new.network.map(|network| network.to_string()),
                created: now.as_millis(),
                author: new.author.clone(),
                until: new.until.map(Timestamp::as_millis),
                used: None,
                scram: scram.as_ref().map(|(salt, stored_key, server_key)| Scram {
                    salt: salt.clone(),
                    iterations: limits::SCRAM_ITERATIONS,
                    stored_key: stored_key.clone(),
                    server_key: server_key.clone(),
                }),
            });
            Ok(())
        })
        .await?;
        Ok(password)
    }

    /// The app passwords of a mailbox, oldest first; those that are over as well.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn app_passwords(
        &self,
        mailbox: &MailboxId,
    ) -> Result<Vec<AppPassword>, DirectoryError> {
        let (row, _) = self.load_app_passwords(mailbox).await?;
        let mut shown: Vec<AppPassword> =
            row.app_passwords.into_iter().map(AppRow::shown).collect();
        for one in &mut shown {
            // What is in memory is younger than what was written.
            let latest = self.arrivals.last_use(mailbox, &one.name);
            if let Some(latest) = latest.filter(|latest| latest.at >= one.created) {
                one.used = Some(latest);
            }
        }
        Ok(shown)
    }

    /// Ends an app password: no login with it succeeds when this returns. Whose mailbox it is
    /// comes back, so that the caller ends the sessions that it opened. `along` is committed
    /// with it.
    ///
    /// # Errors
    /// [`NoAppPassword`]
    pub async fn revoke_app_password(
        &self,
        mailbox: &Address,
        name: &str,
        along: &Batch,
    ) -> Result<MailboxId, NoAppPassword> {
        let (stored, _) = self.load(mailbox).await?.ok_or(DirectoryError::Unknown)?;
        let id = stored.account.id;
        self.change_app_passwords(&id, along, |row| {
            let place = row.app_passwords.iter().position(|one| one.name == name.trim());
            row.app_passwords.remove(place.ok_or(NoAppPassword::Unknown)?);
            Ok(())
        })
        .await?;
        self.arrivals.forget_use(&id, name.trim());
        Ok(id)
    }

    /// Whom this app password of the account is good for, if it is one, and its keyed hash.
    pub(super) async fn app_password(
        &self,
        account: &Account,
        password: &Secret<String>,
    ) -> Result<Option<(Identified, [u8; 32])>, DirectoryError> {
        let Some(digest) = self.app_digest(&account.id, password) else { return Ok(None) };
        let now = self.clock.now();
        let (row, _) = self.load_app_passwords(&account.id).await?;
        let mut found = None;
        // All are looked at, whichever it is.
        for one in &row.app_passwords {
            if constant_time::verify_slices_are_equal(&*one.digest, &digest).is_ok() {
                found = Some(one);
            }
        }
        let identified =
            found.filter(|one| !one.is_over(now)).and_then(|one| one.identified(account));
        Ok(identified.map(|identified| (identified, digest)))
    }

    /// The SCRAM keys of the account's app passwords that share this salt.
    pub(super) async fn app_scram(
        &self,
        account: &Account,
        salt: &[u8],
    ) -> Result<Vec<AppScramKeys>, DirectoryError> {
        let now = self.clock.now();
        let (row, _) = self.load_app_passwords(&account.id).await?;
        let keys = row.app_passwords.iter().filter(|one| !one.is_over(now)).filter_map(|one| {
            let scram = one.scram.as_ref().filter(|scram| scram.salt == salt)?;
            Some(AppScramKeys {
                stored_key: Secret::new(*scram.stored_key),
                server_key: Secret::new(*scram.server_key),
                identified: one.identified(account)?,
            })
        });
        Ok(keys.collect())
    }

    /// Writes down that an app password was used, when that was not done lately.
    pub(super) async fn app_password_used(&self, arrival: &Arrival, name: &str) {
        let used = Use {
            at: arrival.at,
            ip: arrival.ip,
            door: Entrance::name(arrival.entrance).to_owned(),
        };
        if !self.arrivals.note_use(&arrival.mailbox, name, &used) {
            return;
        }
        let Ok((mut row, Some(version))) = self.load_app_passwords(&arrival.mailbox).await else {
            return;
        };
        let Some(one) = row.app_passwords.iter_mut().find(|one| one.name == name) else { return };
        one.used = Some(UseRow {
            at: used.at.as_millis(),
            ip: used.ip.map(|ip| ip.to_string()),
            door: used.door,
        });
        // Handed in and not waited for. If somebody revoked it meanwhile, the version is another
        // one and nothing is written.
        drop(self.store.submit(self.app_batch(&arrival.mailbox, &row, Some(version))));
    }

    fn app_digest(&self, mailbox: &MailboxId, password: &Secret<String>) -> Option<[u8; 32]> {
        let typed = letters::normal(password.expose(), limits::APP_PASSWORD_LETTERS)?;
        let context = [b"app password/".as_slice(), mailbox.as_bytes()].concat();
        Some(self.desk.digest(&context, typed.expose().as_bytes()))
    }

    async fn change_app_passwords(
        &self,
        mailbox: &MailboxId,
        along: &Batch,
        edit: impl Fn(&mut Row) -> Result<(), NoAppPassword>,
    ) -> Result<(), NoAppPassword> {
        loop {
            let (mut row, version) = self.load_app_passwords(mailbox).await?;
            edit(&mut row)?;
            let mut batch = self.app_batch(mailbox, &row, version);
            batch.extend(along.clone());
            match self.store.commit(batch).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(DirectoryError::Store(error.to_string()).into()),
            }
        }
    }

    fn app_batch(&self, mailbox: &MailboxId, row: &Row, version: Option<store::Version>) -> Batch {
        let key = key(mailbox);
        let clear = Zeroizing::new(row::encode(FORMAT, row));
        let mut batch = Batch::new();
        match version {
            Some(version) => batch.require_at(key.clone(), version),
            None => batch.require_absent(key.clone()),
        };
        let sealed = self.desk.seal(&key, &clear);
        batch.put(key, sealed);
        batch
    }

    async fn load_app_passwords(
        &self,
        mailbox: &MailboxId,
    ) -> Result<(Row, Option<store::Version>), DirectoryError> {
        let key = key(mailbox);
        let Some(found) = self.store.get(&key).await.map_err(failed)? else {
            return Ok((Row::default(), None));
        };
        let damaged = || DirectoryError::Damaged("app passwords".to_owned());
        let clear = self.desk.open(&key, &found.value).ok_or_else(damaged)?;
        let row = row::decode(FORMAT, clear.expose()).ok_or_else(damaged)?;
        Ok((row, Some(found.version)))
    }
}

/// False for what has not the form of those that we make.
pub(super) fn may_be_one(password: &Secret<String>) -> bool {
    letters::normal(password.expose(), limits::APP_PASSWORD_LETTERS).is_some()
}

fn key(mailbox: &MailboxId) -> Vec<u8> {
    [APP_PASSWORDS, mailbox.as_bytes()].concat()
}

fn checked_name(name: &str) -> Result<String, NoAppPassword> {
    let name = name.trim();
    let is_name = (1..=limits::LOGIN_NAME_CHARACTERS_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control);
    if is_name { Ok(name.to_owned()) } else { Err(NoAppPassword::BadName) }
}
