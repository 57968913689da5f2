//! Whose person a mailbox's is: of a directory outside, or of nobody but us.
//!
//! An app password belongs to the mailbox, and its person may be one of the LDAP directory's. When
//! that directory forgets them their app passwords must stop, and nothing in an answer "I know
//! nobody of this name" tells somebody who has left from somebody who was never there. So it is
//! written down that a directory vouched for the mailbox's person, and under which login name. The
//! name is a person's: the row is sealed.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::domain::login::Source;
use crate::domain::mailbox::MailboxId;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Vouched;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::accounts::failed;
use crate::infra::store::Batch;
use crate::infra::store::row;

/// Rows `Av/<mailbox id>` -> who vouched last, sealed.
const VOUCHED: &[u8] = b"Av/";
const FORMAT: u8 = 1;

/// What the rows said, so that most logins read none.
#[derive(Default)]
pub(super) struct Vouchers(Mutex<HashMap<MailboxId, Option<Vouched>>>);

#[derive(Serialize, Deserialize)]
struct Row {
    source: String,
    name: Zeroizing<String>,
}

impl Vouchers {
    fn known(&self) -> MutexGuard<'_, HashMap<MailboxId, Option<Vouched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, id: MailboxId, vouched: Option<Vouched>) {
        let mut known = self.known();
        if known.len() >= limits::LOGINS_REMEMBERED_MAX && !known.contains_key(&id) {
            known.clear();
        }
        known.insert(id, vouched);
    }
}

impl Accounts {
    pub(super) async fn voucher_of(
        &self,
        id: &MailboxId,
    ) -> Result<Option<Vouched>, DirectoryError> {
        if let Some(known) = self.vouchers.known().get(id) {
            return Ok(known.clone());
        }
        let key = key(id);
        let vouched = match self.store.get(&key).await.map_err(failed)? {
            None => None,
            Some(found) => {
                let damaged = || DirectoryError::Damaged("who vouches".to_owned());
                let clear = self.desk.open(&key, &found.value).ok_or_else(damaged)?;
                let row: Row = row::decode(FORMAT, clear.expose()).ok_or_else(damaged)?;
                let source = Source::parse(&row.source).ok_or_else(damaged)?;
                Some(Vouched { source, name: row.name.as_str().to_owned() })
            }
        };
        self.vouchers.learn(*id, vouched.clone());
        Ok(vouched)
    }

    pub(super) async fn note_voucher(&self, id: &MailboxId, vouched: &Vouched) {
        match self.voucher_of(id).await {
            Ok(Some(known)) if known == *vouched => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "who vouches for a mailbox is written anew"),
        }
        let key = key(id);
        let row = Row {
            source: vouched.source.name().to_owned(),
            name: Zeroizing::new(vouched.name.clone()),
        };
        let clear = Zeroizing::new(row::encode(FORMAT, &row));
        let mut batch = Batch::new();
        batch.put(key.clone(), self.desk.seal(&key, &clear));
        // Handed in and not waited for: nobody's login waits for a disk. What is lost in a crash
        // is learnt again at the next one.
        drop(self.store.submit(batch));
        self.vouchers.learn(*id, Some(vouched.clone()));
    }

    /// From now on the mailbox's person is ours alone, until a directory outside knows them again.
    pub(super) async fn forget_voucher(&self, id: &MailboxId) -> Result<(), DirectoryError> {
        let mut batch = Batch::new();
        batch.delete(key(id));
        let committed = self.store.commit(batch).await;
        committed.map_err(|error| DirectoryError::Store(error.to_string()))?;
        self.vouchers.learn(*id, None);
        Ok(())
    }
}

fn key(id: &MailboxId) -> Vec<u8> {
    [VOUCHED, id.as_bytes()].concat()
}
