//! Accounts that change, or end, in one commit with the state of their mailbox.
//!
//! What is left of an account that ended is its row `a/<address key>`: a keyed hash and a number,
//! so that the address is found to be taken, and nobody is named.
use bytes::Bytes;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::BY_ADDRESS;
use crate::infra::directory::accounts::failed;
use crate::infra::directory::accounts::holders;
use crate::infra::directory::accounts::rows;
use crate::infra::store;
use crate::infra::store::Batch;

/// Stands behind the mailbox's number when its account has ended.
const ENDED: u8 = b'.';

/// What is known of an address.
#[derive(Clone, Debug)]
pub enum Known {
    /// Somebody has it.
    Living(Account),
    /// Somebody had it, and nobody ever will again.
    Ended(MailboxId),
}

/// True for an address whose account has ended.
pub(super) fn is_of_nobody(value: &[u8]) -> bool {
    value.len() == 17 && value.last() == Some(&ENDED)
}

impl Accounts {
    /// Who has, or had, an address.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer or a row is damaged.
    pub async fn known(&self, address: &Address) -> Result<Option<Known>, DirectoryError> {
        if let Some((stored, _)) = self.load(address).await? {
            return Ok(Some(Known::Living(stored.account)));
        }
        let row = self.store.get(&self.address_row(address)).await.map_err(failed)?;
        let number = row.and_then(|row| <[u8; 16]>::try_from(row.value.get(..16)?).ok());
        Ok(number.map(|number| Known::Ended(MailboxId::from_bytes(number))))
    }

    /// The account behind a mailbox's number.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer or the row is damaged.
    pub async fn numbered(&self, id: &MailboxId) -> Result<Option<Account>, DirectoryError> {
        let key = rows::key(id);
        let row = self.store.get(&key).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(rows::decode(self.desk.as_ref(), &key, &row.value)?.account))
    }

    /// True while there is an account behind a mailbox's number.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn is_there(&self, id: &MailboxId) -> Result<bool, DirectoryError> {
        Ok(self.store.get(&rows::key(id)).await.map_err(failed)?.is_some())
    }

    /// Lets a batch commit only while the account is there, as it is now.
    ///
    /// # Errors
    /// [`DirectoryError::Unknown`] when it is not.
    pub async fn require_present(
        &self,
        id: &MailboxId,
        batch: &mut Batch,
    ) -> Result<(), DirectoryError> {
        let key = rows::key(id);
        let row = self.store.get(&key).await.map_err(failed)?.ok_or(DirectoryError::Unknown)?;
        batch.require_at(key, row.version);
        Ok(())
    }

    /// Removes what other tables of the directory keep for a mailbox that has ended: rows
    /// `A<letter>/<mailbox>…`. Answers how many there were.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn clear_away(&self, id: &MailboxId) -> Result<usize, DirectoryError> {
        let mut batch = Batch::new();
        for holder in self.holders(id).await? {
            batch.delete(holders::of_holder(&holder.national_id, id));
        }
        for letter in (b'a'..=b'z').chain(b'A'..=b'Z') {
            let prefix = [&[b'A', letter, b'/'], id.as_bytes().as_slice()].concat();
            let page = self.store.scan(store::prefix(&prefix), limits::SCAN_ROWS_MAX).await;
            for (key, _) in page.map_err(failed)?.rows {
                batch.delete(key.to_vec());
            }
        }
        let count = batch.writes.len();
        if count > 0 {
            let committed = self.store.commit(batch).await;
            committed.map_err(|error| DirectoryError::Store(error.to_string()))?;
        }
        Ok(count)
    }

    /// The mailbox behind the keyed hash of an address, also one that has ended.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn number_of(&self, address: &[u8; 32]) -> Result<Option<MailboxId>, DirectoryError> {
        let row = self.store.get(&[BY_ADDRESS, address].concat()).await.map_err(failed)?;
        let number = row.and_then(|row| <[u8; 16]>::try_from(row.value.get(..16)?).ok());
        Ok(number.map(MailboxId::from_bytes))
    }

    /// Adds a change of an account to a batch, on the version that is read now; answers what it
    /// changes to.
    ///
    /// # Errors
    /// [`DirectoryError::Unknown`] without such an account.
    pub async fn stage(
        &self,
        address: &Address,
        batch: &mut Batch,
        edit: impl FnOnce(&mut Account),
    ) -> Result<Account, DirectoryError> {
        let (mut stored, version) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
        edit(&mut stored.account);
        let key = rows::key(&stored.account.id);
        batch.require_at(key.clone(), version);
        batch.put(key, rows::encode(self.desk.as_ref(), &stored));
        Ok(stored.account)
    }

    /// Adds the end of an account to a batch, on the version that is read now: keys and names go,
    /// the address stays taken.
    ///
    /// # Errors
    /// [`DirectoryError::Unknown`] without such an account.
    pub async fn stage_end(
        &self,
        address: &Address,
        batch: &mut Batch,
    ) -> Result<(), DirectoryError> {
        let (stored, version) = self.load(address).await?.ok_or(DirectoryError::Unknown)?;
        let account = stored.account;
        let key = rows::key(&account.id);
        batch.require_at(key.clone(), version);
        batch.delete(key);
        let ended = [account.id.as_bytes().as_slice(), &[ENDED]].concat();
        batch.put(self.address_row(address), Bytes::from(ended));
        Ok(())
    }

    /// Accounts behind a mailbox's number, in the order of creation, at most `count`; and where
    /// the next ones begin, if there are more. A damaged row is left out and told in the log.
    ///
    /// # Errors
    /// [`DirectoryError`] when the store does not answer.
    pub async fn page(
        &self,
        after: Option<MailboxId>,
        count: usize,
    ) -> Result<(Vec<Account>, Option<MailboxId>), DirectoryError> {
        let mut range = store::prefix(rows::BY_ID);
        if let Some(after) = after {
            range.start = [rows::key(&after).as_slice(), &[0]].concat();
        }
        let page = self.store.scan(range, count).await.map_err(failed)?;
        let decode = |(key, row): &(Bytes, store::Versioned)| {
            rows::decode(self.desk.as_ref(), key, &row.value)
        };
        let accounts = page.rows.iter().map(decode).filter_map(|decoded| match decoded {
            Ok(stored) => Some(stored.account),
            Err(error) => {
                tracing::error!(%error, "an account is left out of a list");
                None
            }
        });
        let accounts = accounts.collect();
        let last = page.rows.last().and_then(|(key, _)| {
            let number = <[u8; 16]>::try_from(key.get(rows::BY_ID.len()..)?).ok()?;
            Some(MailboxId::from_bytes(number))
        });
        Ok((accounts, last.filter(|_| page.more)))
    }
}
