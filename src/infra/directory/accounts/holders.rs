//! Which professional holds which mailbox.
//!
//! A mailbox PER has one holder; a team, a program or a practice has several. Who shows the
//! identity of a holder (a token of Pro Santé Connect, an entry of the hospital's directory) may
//! open the mailbox. National identities are public facts and lie in clear.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::identity::NationalId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::failed;
use crate::infra::directory::accounts::rows;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::row;

/// Rows `Ah/<mailbox id>` -> its holders, and `ah/<national id>/<mailbox id>` -> nothing.
const OF_MAILBOX: &[u8] = b"Ah/";
const OF_HOLDER: &[u8] = b"ah/";
const FORMAT: u8 = 1;

/// One holder of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub national_id: NationalId,
    /// Since when, as far as this relay knows.
    pub since: Timestamp,
}

/// Why holders stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    /// The directory did not answer, or knows no such mailbox.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A patient's inbox is the patient's.
    #[error("a patient's inbox has no holder")]
    OfAPatient,
    /// PER: another one holds it.
    #[error("a mailbox PER has one holder, and has one already")]
    HasOne,
    /// As many as there may be.
    #[error("too many holders of one mailbox, or mailboxes of one holder")]
    TooMany,
    /// It is so already.
    #[error("this professional holds the mailbox already")]
    Already,
    /// They do not hold it.
    #[error("this professional does not hold the mailbox")]
    NoHolder,
}

#[derive(Serialize, Deserialize)]
struct Row {
    holders: Vec<HolderRow>,
}

#[derive(Serialize, Deserialize)]
struct HolderRow {
    national_id: String,
    since: u64,
}

impl Accounts {
    /// Makes a professional a holder. `along` is committed with it (a line of the journal).
    ///
    /// # Errors
    /// [`NotHeld`]
    pub async fn add_holder(
        &self,
        mailbox: &Address,
        holder: &NationalId,
        along: &Batch,
    ) -> Result<(), NotHeld> {
        if self.held_count(holder).await? >= limits::HELD_MAX {
            return Err(NotHeld::TooMany);
        }
        self.change_holders(mailbox, along, |kind, holders| {
            if holders.iter().any(|one| one.national_id == *holder) {
                return Err(NotHeld::Already);
            }
            match kind {
                MailboxKind::Citizen => return Err(NotHeld::OfAPatient),
                MailboxKind::Personal if !holders.is_empty() => return Err(NotHeld::HasOne),
                _ if holders.len() >= limits::HOLDERS_MAX => return Err(NotHeld::TooMany),
                _ => {}
            }
            holders.push(Holder { national_id: holder.clone(), since: self.clock.now() });
            Ok((holder.clone(), true))
        })
        .await
    }

    /// Adds the first holder of a mailbox that is being made to the commit that makes it.
    pub fn stage_first_holder(&self, mailbox: &MailboxId, holder: &NationalId, batch: &mut Batch) {
        let since = self.clock.now().as_millis();
        let row = Row { holders: vec![HolderRow { national_id: holder.to_string(), since }] };
        let of_mailbox = [OF_MAILBOX, mailbox.as_bytes()].concat();
        batch.require_absent(of_mailbox.clone());
        batch.put(of_mailbox, row::encode(FORMAT, &row));
        batch.put(of_holder(holder, mailbox), vec![FORMAT]);
    }

    /// How many mailboxes a professional holds, at most `limits::HELD_MAX`.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn held_count(&self, holder: &NationalId) -> Result<usize, DirectoryError> {
        let held = store::prefix(&[OF_HOLDER, holder.to_string().as_bytes(), b"/"].concat());
        Ok(self.store.scan(held, limits::HELD_MAX).await.map_err(failed)?.rows.len())
    }

    /// Ends it. `along` is committed with it.
    ///
    /// # Errors
    /// [`NotHeld`]
    pub async fn remove_holder(
        &self,
        mailbox: &Address,
        holder: &NationalId,
        along: &Batch,
    ) -> Result<(), NotHeld> {
        self.change_holders(mailbox, along, |_, holders| {
            let place = holders.iter().position(|one| one.national_id == *holder);
            holders.remove(place.ok_or(NotHeld::NoHolder)?);
            Ok((holder.clone(), false))
        })
        .await
    }

    /// Who holds a mailbox, in the order in which they came.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn holders(&self, mailbox: &MailboxId) -> Result<Vec<Holder>, DirectoryError> {
        Ok(self.load_holders(mailbox).await?.0)
    }

    /// The mailboxes of a holder, in the order of their creation.
    pub(super) async fn held_mailboxes(
        &self,
        holder: &NationalId,
    ) -> Result<Vec<Address>, DirectoryError> {
        let range = store::prefix(&[OF_HOLDER, holder.to_string().as_bytes(), b"/"].concat());
        let page = self.store.scan(range, limits::HELD_MAX).await.map_err(failed)?;
        let mut addresses = Vec::new();
        for (key, _) in &page.rows {
            let id = key.len().checked_sub(16).and_then(|at| <[u8; 16]>::try_from(&key[at..]).ok());
            let id = id.ok_or_else(|| DirectoryError::Damaged("holder's key".to_owned()))?;
            let key = rows::key(&MailboxId::from_bytes(id));
            // A mailbox that is gone for good leaves nobody's login in the lurch.
            if let Some(found) = self.store.get(&key).await.map_err(failed)? {
                let stored = rows::decode(self.desk.as_ref(), &key, &found.value)?;
                addresses.push(stored.account.address);
            }
        }
        Ok(addresses)
    }

    async fn change_holders(
        &self,
        mailbox: &Address,
        along: &Batch,
        edit: impl Fn(MailboxKind, &mut Vec<Holder>) -> Result<(NationalId, bool), NotHeld>,
    ) -> Result<(), NotHeld> {
        let (stored, _) = self.load(mailbox).await?.ok_or(DirectoryError::Unknown)?;
        let account = stored.account;
        loop {
            let (mut holders, version) = self.load_holders(&account.id).await?;
            let (whom, comes) = edit(account.kind, &mut holders)?;
            let row = |one: &Holder| HolderRow {
                national_id: one.national_id.to_string(),
                since: one.since.as_millis(),
            };
            let row = Row { holders: holders.iter().map(row).collect() };
            let of_mailbox = [OF_MAILBOX, account.id.as_bytes()].concat();
            let of_holder = of_holder(&whom, &account.id);
            let mut batch = Batch::new();
            match version {
                Some(version) => batch.require_at(of_mailbox.clone(), version),
                None => batch.require_absent(of_mailbox.clone()),
            };
            batch.put(of_mailbox, row::encode(FORMAT, &row));
            match comes {
                true => batch.put(of_holder, vec![FORMAT]),
                false => batch.delete(of_holder),
            };
            batch.extend(along.clone());
            match self.store.commit(batch).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(DirectoryError::Store(error.to_string()).into()),
            }
        }
    }

    async fn load_holders(
        &self,
        mailbox: &MailboxId,
    ) -> Result<(Vec<Holder>, Option<store::Version>), DirectoryError> {
        let key = [OF_MAILBOX, mailbox.as_bytes()].concat();
        let Some(found) = self.store.get(&key).await.map_err(failed)? else {
            return Ok((Vec::new(), None));
        };
        let damaged = || DirectoryError::Damaged("holders".to_owned());
        let row: Row = row::decode(FORMAT, &found.value).ok_or_else(damaged)?;
        let mut holders = Vec::with_capacity(row.holders.len());
        for one in row.holders {
            holders.push(Holder {
                national_id: NationalId::parse(&one.national_id).ok_or_else(damaged)?,
                since: Timestamp::from_millis(one.since),
            });
        }
        Ok((holders, Some(found.version)))
    }
}

/// The row that leads from a holder to a mailbox.
pub(super) fn of_holder(holder: &NationalId, mailbox: &MailboxId) -> Vec<u8> {
    [OF_HOLDER, holder.to_string().as_bytes(), b"/", mailbox.as_bytes()].concat()
}
