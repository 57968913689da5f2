//! Second factors of the pages: one-time codes, passkeys and recovery codes.
//!
//! All of a mailbox's factors are one sealed row, so that each use is one commit at the version
//! that was read: of two pages that show the same code at the same moment, one comes in.
pub mod passkeys;
mod rows;

use std::sync::Arc;

use aws_lc_rs::constant_time;
use totp_rs::Builder;
use totp_rs::Totp;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::KeyDesk;
use crate::infra::directory::factors::passkeys::Passkey;
use crate::infra::directory::factors::passkeys::Whose;
use crate::infra::directory::factors::rows::Row;
use crate::infra::directory::factors::rows::TotpRow;
use crate::infra::directory::letters;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::row;

/// Rows `Af/<mailbox id>` -> sealed factors.
const FACTORS: &[u8] = b"Af/";
/// Rows `Ag/<keyed digest of a name>` -> the last time step of an administrator, sealed.
const ADMINISTRATORS: &[u8] = b"Ag/";
/// The format of those.
const STEP_FORMAT: u8 = 1;
/// Octets of a one-time code's secret (RFC 4226 §4 recommends 160 bits).
const SECRET_OCTETS: usize = 20;
/// How often a change is built anew when another page changed the row under it.
const ATTEMPTS_MAX: usize = 20;

/// Who must show what besides a password, and what they may show.
pub struct Factors {
    store: Arc<dyn Store>,
    desk: Arc<dyn KeyDesk>,
    clock: Arc<dyn Clock>,
}

/// What somebody has set up; no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// One-time codes are on since then.
    pub totp_since: Option<Timestamp>,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
}

impl Overview {
    /// True when a second factor is asked for. Recovery codes alone are none.
    pub fn is_set_up(&self) -> bool {
        // A passkey that was copied opens nothing, but neither may the password alone.
        self.totp_since.is_some() || !self.passkeys.is_empty()
    }
}

/// A secret that an authenticator program is about to learn. Nothing is stored yet: that happens
/// when a code proves that the program has it ([`Factors::confirm_totp`]).
#[derive(Debug)]
pub struct Proposal {
    /// 160 random bits. The page keeps them in the session, not in the form.
    pub secret: Secret<Vec<u8>>,
    /// For typing: base32.
    pub base32: Secret<String>,
    /// `otpauth://totp/…`, for a link or a QR code.
    pub address: Secret<String>,
}

impl Proposal {
    /// A new secret: for a mailbox, or for administrators.
    ///
    /// # Errors
    /// [`DirectoryError::Keys`] when there is no randomness.
    pub fn new(issuer: &str, account: &str) -> Result<Self, DirectoryError> {
        let mut secret = vec![0; SECRET_OCTETS];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| DirectoryError::Keys("no randomness".to_owned()))?;
        Self::of(Secret::new(secret), issuer, account)
    }

    /// The same secret in its forms for people.
    ///
    /// # Errors
    /// [`DirectoryError::Keys`] when it is no secret that a program could learn.
    pub fn of(
        secret: Secret<Vec<u8>>,
        issuer: &str,
        account: &str,
    ) -> Result<Self, DirectoryError> {
        let failed = |error: totp_rs::TotpError| DirectoryError::Keys(error.to_string());
        // A colon would end the issuer inside the address.
        let plain = |text: &str| text.replace(':', " ");
        let totp = Builder::new()
            .with_secret(secret.expose().clone())
            .with_issuer(Some(plain(issuer)))
            .with_account_name(plain(account))
            .build()
            .map_err(failed)?;
        let base32 = Secret::new(totp_rs::Secret::from(secret.expose().clone()).to_base32());
        let address = Secret::new(totp.to_url().map_err(failed)?);
        Ok(Self { secret, base32, address })
    }
}

impl Factors {
    /// The second factors in this store.
    pub fn new(store: Arc<dyn Store>, desk: Arc<dyn KeyDesk>, clock: Arc<dyn Clock>) -> Self {
        Self { store, desk, clock }
    }

    /// What is set up for a mailbox.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer or the row does not open. Then nobody
    /// may be let in with a password alone.
    pub async fn overview(&self, mailbox: &MailboxId) -> Result<Overview, DirectoryError> {
        let (row, _) = self.load(&key(mailbox)).await?;
        Ok(overview(&row))
    }

    /// A new secret for an authenticator program, to be shown once.
    ///
    /// # Errors
    /// [`DirectoryError::Keys`] when there is no randomness.
    pub fn propose_totp(&self, issuer: &str, account: &str) -> Result<Proposal, DirectoryError> {
        Proposal::new(issuer, account)
    }

    /// Turns one-time codes on, when `code` shows that the authenticator has the secret. False,
    /// and nothing stored, when it does not, or when the mailbox has a second factor already: a
    /// stranger's secret would take its place; unless `besides` says that they were shown a moment
    /// ago, and none of them is a code. The code is used up. `along`, the journal's line, is
    /// committed with it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn confirm_totp(
        &self,
        mailbox: &MailboxId,
        secret: &Secret<Vec<u8>>,
        code: &str,
        besides: bool,
        along: &Batch,
    ) -> Result<bool, DirectoryError> {
        let now = self.clock.now();
        let Some(step) = step_of(secret.expose(), code, now) else { return Ok(false) };
        let done = self.change(key(mailbox), |row, batch| {
            if row.totp.is_some() || (row.is_set_up() && !besides) {
                return None;
            }
            batch.extend(along.clone());
            row.totp = Some(TotpRow {
                secret: Zeroizing::new(secret.expose().clone()),
                since: now.as_millis(),
                used_step: step,
            });
            Some(())
        });
        Ok(done.await?.is_some())
    }

    /// True when the code is right now and was not used before, nor a later one (RFC 6238 §5.2).
    /// Durable when this returns: a restart forgets no used code.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn check_totp(
        &self,
        mailbox: &MailboxId,
        code: &str,
    ) -> Result<bool, DirectoryError> {
        let now = self.clock.now();
        let taken = self.change(key(mailbox), |row, _| {
            let totp = row.totp.as_mut()?;
            let step = step_of(&totp.secret, code, now).filter(|step| *step > totp.used_step)?;
            totp.used_step = step;
            Some(())
        });
        Ok(taken.await?.is_some())
    }

    /// New recovery codes, to be shown once. The ones before are void.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer or there is no randomness.
    pub async fn new_recovery_codes(
        &self,
        mailbox: &MailboxId,
    ) -> Result<Vec<Secret<String>>, DirectoryError> {
        let mut codes = Vec::with_capacity(limits::RECOVERY_CODES);
        for _ in 0..limits::RECOVERY_CODES {
            codes.push(letters::random(limits::RECOVERY_CODE_LETTERS)?);
        }
        let digests: Vec<[u8; 32]> =
            codes.iter().filter_map(|code| self.recovery_digest(mailbox, code.expose())).collect();
        self.change(key(mailbox), |row, _| {
            row.recovery = digests.clone();
            Some(())
        })
        .await?;
        Ok(codes)
    }

    /// True when the code is one of the mailbox's; it is void from then on. Groups, spaces and
    /// letter case do not matter.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn use_recovery_code(
        &self,
        mailbox: &MailboxId,
        code: &str,
    ) -> Result<bool, DirectoryError> {
        let Some(digest) = self.recovery_digest(mailbox, code) else { return Ok(false) };
        let used = self.change(key(mailbox), |row, _| {
            let before = row.recovery.len();
            row.recovery
                .retain(|one| constant_time::verify_slices_are_equal(one, &digest).is_err());
            (row.recovery.len() < before).then_some(())
        });
        Ok(used.await?.is_some())
    }

    /// Forgets all factors, passkeys among them: when somebody turns them off, or an administrator
    /// resets lost ones. `along`, the journal's line, is committed with it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn clear(&self, mailbox: &MailboxId, along: &Batch) -> Result<(), DirectoryError> {
        self.clear_of(Whose::Mailbox(mailbox), along).await
    }

    /// True when no code of this time step or a later one was taken from this administrator of
    /// the dashboard; it is taken now, and durably. Their secrets lie in a file, not here.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn take_administrators_step(
        &self,
        administrator: &str,
        step: u64,
    ) -> Result<bool, DirectoryError> {
        let digest = self.desk.digest(b"administrator/", administrator.as_bytes());
        let key = [ADMINISTRATORS, digest.as_slice()].concat();
        let failed = |error: store::StoreError| DirectoryError::Store(error.to_string());
        for _ in 0..ATTEMPTS_MAX {
            let mut batch = Batch::new();
            match self.store.get(&key).await.map_err(failed)? {
                Some(stored) => {
                    let damaged = || DirectoryError::Damaged("an administrator's step".to_owned());
                    let clear = self.desk.open(&key, &stored.value).ok_or_else(damaged)?;
                    let used: u64 = row::decode(STEP_FORMAT, clear.expose()).ok_or_else(damaged)?;
                    if step <= used {
                        return Ok(false);
                    }
                    batch.require_at(key.clone(), stored.version);
                }
                None => {
                    batch.require_absent(key.clone());
                }
            }
            batch.put(key.clone(), self.desk.seal(&key, &row::encode(STEP_FORMAT, &step)));
            match self.store.commit(batch).await {
                Ok(()) => return Ok(true),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(DirectoryError::Store(error.to_string())),
            }
        }
        Err(DirectoryError::Busy)
    }

    fn recovery_digest(&self, mailbox: &MailboxId, code: &str) -> Option<[u8; 32]> {
        let typed = letters::normal(code, limits::RECOVERY_CODE_LETTERS)?;
        let context = [b"recovery code/".as_slice(), mailbox.as_bytes()].concat();
        Some(self.desk.digest(&context, typed.expose().as_bytes()))
    }

    /// Edits a row until nobody was faster; what the edit adds to the batch is committed with it.
    /// `None` of the edit means no, and nothing written.
    async fn change<T>(
        &self,
        key: Vec<u8>,
        edit: impl Fn(&mut Row, &mut Batch) -> Option<T>,
    ) -> Result<Option<T>, DirectoryError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut row, version) = self.load(&key).await?;
            let mut batch = Batch::new();
            let Some(answer) = edit(&mut row, &mut batch) else { return Ok(None) };
            match version {
                Some(version) => batch.require_at(key.clone(), version),
                None => batch.require_absent(key.clone()),
            };
            batch.put(key.clone(), self.desk.seal(&key, &rows::encode(&row)));
            match self.store.commit(batch).await {
                Ok(()) => return Ok(Some(answer)),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(DirectoryError::Store(error.to_string())),
            }
        }
        Err(DirectoryError::Busy)
    }

    async fn load(&self, key: &[u8]) -> Result<(Row, Option<store::Version>), DirectoryError> {
        let stored = self.store.get(key).await;
        let Some(stored) = stored.map_err(|error| DirectoryError::Store(error.to_string()))? else {
            return Ok((Row::default(), None));
        };
        let damaged = || DirectoryError::Damaged("second factors".to_owned());
        let clear = self.desk.open(key, &stored.value).ok_or_else(damaged)?;
        let row = rows::decode(clear.expose()).ok_or_else(damaged)?;
        Ok((row, Some(stored.version)))
    }
}

fn overview(row: &Row) -> Overview {
    Overview {
        totp_since: row.totp.as_ref().map(|totp| Timestamp::from_millis(totp.since)),
        recovery_codes: row.recovery.len(),
        passkeys: row.passkeys.iter().map(Passkey::of).collect(),
    }
}

fn key(mailbox: &MailboxId) -> Vec<u8> {
    [FACTORS, mailbox.as_bytes()].concat()
}

/// The time step of a code that is right now, or was or will be in half a minute.
pub fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let totp: Totp = Builder::new().with_secret(secret.to_vec()).build().ok()?;
    let is_code = code.len() == 6 && code.bytes().all(|c| c.is_ascii_digit());
    is_code.then(|| totp.check(&code, now.as_seconds())).flatten()
}

#[cfg(test)]
mod tests;
