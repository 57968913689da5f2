//! Passkeys (WebAuthn): a second factor that answers to our own pages only, so that it cannot be
//! phished.
//!
//! The library checks challenge, origin, relying party, flags and signature
//! (`passkeys::ceremony`); here is what it leaves to us: whose they are, that each challenge is
//! good once and not for long, that no two people have the same one, and that of two copies
//! none opens anything.
#[cfg_attr(not(feature = "passkeys"), path = "passkeys/absent.rs")]
mod ceremony;

pub use ceremony::Ceremony;
pub use ceremony::Party;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::factors;
use crate::infra::directory::factors::Factors;
use crate::infra::directory::factors::Overview;
use crate::infra::directory::factors::passkeys::ceremony::NotShown;
use crate::infra::directory::factors::rows::PasskeyRow;
use crate::infra::store::Batch;

/// Rows `Ai/<keyed digest of a name>` -> sealed passkeys of an administrator.
const ADMINISTRATORS: &[u8] = b"Ai/";
/// Rows `Ak/<keyed digest of a credential's name>`: it belongs to somebody.
const TAKEN: &[u8] = b"Ak/";

/// Whose passkeys.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// A mailbox's.
    Mailbox(&'a MailboxId),
    /// An administrator's of the dashboard, by name.
    Administrator(&'a str),
}

/// A passkey as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Our name for it, in forms.
    pub handle: uuid::Uuid,
    /// Its owner's name for it.
    pub name: String,
    /// Since when it is registered.
    pub since: Timestamp,
    /// Its last use.
    pub used: Option<Timestamp>,
    /// Its counter ran backwards: there are two of it, and neither opens anything.
    pub is_copied: bool,
}

/// What a page asks of a browser.
pub struct Challenge {
    /// For `navigator.credentials`, as JSON.
    pub options: String,
    /// To be kept here, and given up for the answer.
    pub ceremony: Ceremony,
}

/// What a browser brings when it was asked to make a passkey.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    /// What it made, as JSON.
    pub answer: &'a str,
    /// How its owner calls it.
    pub name: &'a str,
    /// Another factor was shown a moment ago.
    pub besides: bool,
}

/// What came of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is there, and it is their first second factor.
    First,
    /// It is there, besides others.
    Another,
    /// There are as many as there may be.
    TooMany,
    /// The answer is not one to this challenge, or too late.
    No,
}

/// What came of showing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is theirs.
    Yes,
    /// Its counter ran backwards. It opens nothing from now on.
    Copied,
    /// It is not, or the answer is not one to this challenge, or too late.
    No,
}

/// What came of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Yes,
    /// It is the last second factor, and one must stay.
    Last,
    /// There is none of that name.
    No,
}

impl Passkey {
    pub(super) fn of(row: &PasskeyRow) -> Self {
        Self {
            handle: uuid::Uuid::from_bytes(row.handle),
            name: row.name.clone(),
            since: Timestamp::from_millis(row.since),
            used: row.used.map(Timestamp::from_millis),
            is_copied: row.copied.is_some(),
        }
    }
}

impl Factors {
    /// What is set up for somebody.
    ///
    /// # Errors
    /// As [`Factors::overview`].
    pub async fn overview_of(&self, whose: Whose<'_>) -> Result<Overview, DirectoryError> {
        let (row, _) = self.load(&self.key_of(whose)).await?;
        Ok(factors::overview(&row))
    }

    /// Asks a browser to make a passkey. `name` and `display` are shown by the authenticator.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer, or there is no challenge.
    pub async fn begin_passkey(
        &self,
        party: &Party,
        whose: Whose<'_>,
        name: &str,
        display: &str,
    ) -> Result<Challenge, DirectoryError> {
        let (row, _) = self.load(&self.key_of(whose)).await?;
        let known = row.passkeys.iter().map(|one| one.credential.clone()).collect();
        party.make(self.user(whose), name, display, known, self.clock.now())
    }

    /// Keeps the passkey that a browser made for this challenge; besides other factors only when
    /// one of them was shown a moment ago. `along`, the journal's line, is committed with it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn finish_passkey(
        &self,
        party: &Party,
        whose: Whose<'_>,
        ceremony: Ceremony,
        offer: Offer<'_>,
        along: &Batch,
    ) -> Result<Registered, DirectoryError> {
        let now = self.clock.now();
        let Offer { answer, name, besides } = offer;
        let Some(made) = party.made(ceremony, self.user(whose), answer, now) else {
            return Ok(Registered::No);
        };
        let taken = self.taken_key(&made.credential);
        let is_taken = self.store.get(&taken).await;
        if is_taken.map_err(|error| DirectoryError::Store(error.to_string()))?.is_some() {
            return Ok(Registered::No);
        }
        let (handle, name) = (*uuid::Uuid::new_v4().as_bytes(), short(name));
        let done = self.change(self.key_of(whose), |row, batch| {
            if row.is_set_up() && !besides {
                return None;
            }
            if row.passkeys.len() >= limits::PASSKEYS_MAX {
                return Some(Registered::TooMany);
            }
            let is_first = !row.is_set_up();
            row.passkeys.push(PasskeyRow {
                handle,
                name: name.clone(),
                credential: made.credential.clone(),
                kept: made.kept.clone(),
                since: now.as_millis(),
                used: None,
                counter: 0,
                copied: None,
            });
            // WebAuthn §7.1, step 26: nobody else has it, not even at this moment.
            batch.require_absent(taken.clone()).put(taken.clone(), Vec::new());
            batch.extend(along.clone());
            Some(if is_first { Registered::First } else { Registered::Another })
        });
        Ok(done.await?.unwrap_or(Registered::No))
    }

    /// Asks a browser to show one of somebody's passkeys; `None` when there is none that counts.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer, or there is no challenge.
    pub async fn ask_passkey(
        &self,
        party: &Party,
        whose: Whose<'_>,
    ) -> Result<Option<Challenge>, DirectoryError> {
        let (row, _) = self.load(&self.key_of(whose)).await?;
        let good = row.passkeys.iter().filter(|one| one.copied.is_none());
        let kept: Vec<&[u8]> = good.map(|one| one.kept.as_slice()).collect();
        match kept.is_empty() {
            true => Ok(None),
            false => party.ask(self.user(whose), &kept, self.clock.now()).map(Some),
        }
    }

    /// Looks at what a browser showed for this challenge. Durable when this returns. `copied`, the
    /// journal's line, is committed when the passkey's counter ran backwards.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn take_passkey(
        &self,
        party: &Party,
        whose: Whose<'_>,
        ceremony: Ceremony,
        answer: &str,
        copied: &Batch,
    ) -> Result<Shown, DirectoryError> {
        let now = self.clock.now();
        let shown = match party.shown(ceremony, self.user(whose), answer, now) {
            Err(NotShown::No) => return Ok(Shown::No),
            shown => shown,
        };
        let taken = self.change(self.key_of(whose), |row, batch| {
            let credential = match &shown {
                Ok(shown) => shown.credential(),
                Err(NotShown::Copied(credential)) => credential,
                Err(NotShown::No) => return None,
            };
            let passkey = row.passkeys.iter_mut().find(|one| one.credential == credential);
            // Removed, or found to be copied, since the challenge went out.
            let passkey = passkey.filter(|one| one.copied.is_none())?;
            // Two may show it at the same moment; the library compared with what was there before.
            let fresh = shown.as_ref().ok().filter(|shown| {
                shown.counter() > passkey.counter || (shown.counter() == 0 && passkey.counter == 0)
            });
            let Some(shown) = fresh else {
                passkey.copied = Some(now.as_millis());
                batch.extend(copied.clone());
                return Some(Shown::Copied);
            };
            passkey.kept = shown.updated(&passkey.kept)?;
            passkey.counter = shown.counter();
            passkey.used = Some(now.as_millis());
            Some(Shown::Yes)
        });
        Ok(taken.await?.unwrap_or(Shown::No))
    }

    /// Forgets a passkey; with the last factor its recovery codes go, too. `along`, the journal's
    /// line, is committed with it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn remove_passkey(
        &self,
        whose: Whose<'_>,
        handle: uuid::Uuid,
        one_must_stay: bool,
        along: &Batch,
    ) -> Result<Removed, DirectoryError> {
        let done = self.change(self.key_of(whose), |row, batch| {
            let is_it = |one: &PasskeyRow| one.handle == *handle.as_bytes();
            let place = row.passkeys.iter().position(is_it)?;
            if one_must_stay && row.totp.is_none() && row.passkeys.len() == 1 {
                return Some(Removed::Last);
            }
            let gone = row.passkeys.remove(place);
            if !row.is_set_up() {
                row.recovery.clear();
            }
            batch.delete(self.taken_key(&gone.credential));
            batch.extend(along.clone());
            Some(Removed::Yes)
        });
        Ok(done.await?.unwrap_or(Removed::No))
    }

    /// [`Factors::clear`], of anybody.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn clear_of(&self, whose: Whose<'_>, along: &Batch) -> Result<(), DirectoryError> {
        let mut batch = Batch::new();
        // What cannot be read any more can still be forgotten.
        if let Ok((row, _)) = self.load(&self.key_of(whose)).await {
            for passkey in &row.passkeys {
                batch.delete(self.taken_key(&passkey.credential));
            }
        }
        batch.delete(self.key_of(whose));
        batch.extend(along.clone());
        self.store.commit(batch).await.map_err(|error| DirectoryError::Store(error.to_string()))
    }

    fn key_of(&self, whose: Whose<'_>) -> Vec<u8> {
        match whose {
            Whose::Mailbox(mailbox) => factors::key(mailbox),
            Whose::Administrator(name) => {
                let digest = self.desk.digest(b"administrator's passkeys/", name.as_bytes());
                [ADMINISTRATORS, digest.as_slice()].concat()
            }
        }
    }

    fn taken_key(&self, credential: &[u8]) -> Vec<u8> {
        [TAKEN, self.desk.digest(b"passkey/", credential).as_slice()].concat()
    }

    /// What the authenticator knows somebody by: it says nothing about them.
    fn user(&self, whose: Whose<'_>) -> [u8; 16] {
        match whose {
            Whose::Mailbox(mailbox) => *mailbox.as_bytes(),
            Whose::Administrator(name) => {
                let digest = self.desk.digest(b"administrator's handle/", name.as_bytes());
                let mut user = [0; 16];
                user.copy_from_slice(&digest[..16]);
                user
            }
        }
    }
}

/// A name of bounded length, on one line.
fn short(name: &str) -> String {
    let plain = name.trim().chars().filter(|c| !c.is_control());
    plain.take(limits::PASSKEY_NAME_CHARACTERS).collect()
}

#[cfg(all(test, feature = "passkeys"))]
mod tests;
