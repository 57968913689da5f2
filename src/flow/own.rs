//! Own certificates: mailboxes whose people keep their key themselves.
//!
//! From the registration on, new letters, and what is filed, are sealed to that certificate and the
//! relay has no secret for them. Earlier letters stay as they are until an administrator has them
//! sealed too (`gateway::reseal`). All registered certificates are in memory: each delivery asks.
//!
//! Rows `u/o/<mailbox>` -> certificate, sealed: the user ids of a patient's are nobody's business.
pub mod challenge; // does whoever brings a certificate have its key
pub mod post; // by mail

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::RwLock;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::contacts;
use crate::flow::office::Office;
use crate::flow::own::challenge::Challenges;
use crate::infra::directory::Account;
use crate::infra::journal::Entry;
use crate::infra::keys::Keyring;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

const OWN: &[u8] = b"u/o/";
const FORMAT: u8 = 1;
const PURPOSE: &str = "own openpgp certificate";
/// How often a change is built anew when somebody else changed the row under it.
const ATTEMPTS_MAX: usize = 10;

/// The own certificates of all mailboxes here.
#[derive(Default)]
pub struct Own {
    certificates: RwLock<HashMap<MailboxId, Registered>>,
    challenges: Challenges,
}

/// A registered certificate.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Without what others signed on it.
    pub certificate: PeerCertificate,
    /// Since when.
    pub since: Timestamp,
    /// How: `page`, `mail`, or the administrator who vouched.
    pub by: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    certificate: Vec<u8>,
    since: u64,
    by: String,
}

/// Who registers or removes, for the journal.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The administrator, or `the holder`.
    pub author: &'a str,
    /// `page`, `mail` or `administrator`.
    pub way: &'static str,
    /// Why.
    pub reason: &'a str,
}

impl Own {
    /// Everything that is registered, from the store.
    ///
    /// # Errors
    /// [`StoreError`] when it does not answer, or a row cannot be read: to go on without it would
    /// seal letters to a key that their owner wanted out of it.
    pub async fn load(store: &dyn Store, keys: &Keyring) -> Result<Self, StoreError> {
        let mut own = HashMap::new();
        let mut range = store::prefix(OWN);
        loop {
            let page = store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let damaged = || StoreError::Damaged("an own OpenPGP certificate".to_owned());
                let id = key.get(OWN.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
                let id = MailboxId::from_bytes(id.ok_or_else(damaged)?);
                let registered = open(keys, &row.value).ok_or_else(damaged)?;
                own.insert(id, registered);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => {
                    return Ok(Self {
                        certificates: RwLock::new(own),
                        challenges: Challenges::default(),
                    });
                }
            }
        }
    }

    fn get(&self, id: &MailboxId) -> Option<Registered> {
        let own = self.certificates.read().unwrap_or_else(PoisonError::into_inner);
        if own.is_empty() { None } else { own.get(id).cloned() }
    }

    fn put(&self, id: MailboxId, registered: Option<Registered>) {
        let mut own = self.certificates.write().unwrap_or_else(PoisonError::into_inner);
        match registered {
            Some(registered) => own.insert(id, registered),
            None => own.remove(&id),
        };
    }
}

/// The own certificate of a mailbox here; `None` when none is registered.
///
/// # Errors
/// [`Refusal::RecipientKeyMissing`] when one is registered and cannot be used now (it has expired
/// or was revoked): whoever asked that the relay cannot read their letters must not find it
/// reading them again, unasked. The letter waits with its sender until the holder acts.
pub async fn of(office: &Office, id: &MailboxId) -> Result<Option<PeerCertificate>, Refusal> {
    let Some(registered) = office.own.get(id) else { return Ok(None) };
    match registered.certificate.check(office.clock.now()) {
        Ok(()) => Ok(Some(registered.certificate)),
        Err(flaw) => {
            tracing::warn!(mailbox = ?id, %flaw, "the own certificate of a mailbox is not usable");
            Err(Refusal::RecipientKeyMissing)
        }
    }
}

/// What is registered for a mailbox, usable or not.
pub fn registered(office: &Office, id: &MailboxId) -> Option<Registered> {
    office.own.get(id)
}

/// The registered certificate, usable or not: old signatures are checked with it.
pub fn kept(office: &Office, id: &MailboxId) -> Option<PeerCertificate> {
    office.own.get(id).map(|registered| registered.certificate)
}

/// Every mailbox with an own certificate.
pub fn all(office: &Office) -> Vec<(MailboxId, Registered)> {
    let own = office.own.certificates.read().unwrap_or_else(PoisonError::into_inner);
    own.iter().map(|(id, registered)| (*id, registered.clone())).collect()
}

/// Whether a certificate may be registered for a mailbox. A professional's must show the address;
/// a patient's need not, because the address is a number that nobody should write on a key.
///
/// # Errors
/// What stands against it.
pub fn check(
    office: &Office,
    account: &Account,
    certificate: &PeerCertificate,
) -> Result<PeerCertificate, CertificateFlaw> {
    let now = office.clock.now();
    let narrow = match account.kind {
        MailboxKind::Citizen => {
            certificate.check(now)?;
            certificate.narrowed(None)?
        }
        _ => {
            certificate.check_for(&account.address, now)?;
            certificate.narrowed(Some(&account.address))?
        }
    };
    narrow.check(now)?;
    Ok(narrow)
}

/// Registers a certificate; durable when this returns. Somebody has seen to it that the holder
/// has its secret key: a challenge, or an administrator who vouches.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn set(
    office: &Office,
    account: &Account,
    certificate: &PeerCertificate,
    act: Act<'_>,
) -> Result<Registered, String> {
    let narrow = check(office, account, certificate).map_err(|flaw| flaw.to_string())?;
    let by = if act.way == "administrator" { act.author } else { act.way };
    let registered =
        Registered { certificate: narrow, since: office.clock.now(), by: by.to_owned() };
    change(office, account, Some(&registered), "keys own set", act).await?;
    contacts::mailbox_changed(office, account.id, &registered.certificate);
    Ok(registered)
}

/// Takes a registration back: new letters are sealed to the key that the relay keeps. Letters
/// that were sealed to the own certificate stay as they are.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn remove(office: &Office, account: &Account, act: Act<'_>) -> Result<(), String> {
    change(office, account, None, "keys own remove", act).await
}

async fn change(
    office: &Office,
    account: &Account,
    registered: Option<&Registered>,
    action: &str,
    act: Act<'_>,
) -> Result<(), String> {
    let key = [OWN, account.id.as_bytes()].concat();
    for _ in 0..ATTEMPTS_MAX {
        let before = office.store.get(&key).await.map_err(|error| error.to_string())?;
        let mut batch = Batch::new();
        match (&before, registered) {
            (None, None) => return Err("no own certificate is registered".to_owned()),
            (Some(row), _) => batch.require_at(key.clone(), row.version),
            (None, Some(_)) => batch.require_absent(key.clone()),
        };
        let old = before.as_ref().and_then(|row| open(&office.keys, &row.value));
        let old = old.map(|it| it.certificate.fingerprint().to_string());
        match registered {
            Some(registered) => batch.put(key.clone(), seal(&office.keys, registered)?),
            None => batch.delete(key.clone()),
        };
        let new = registered.map(|it| it.certificate.fingerprint().to_string());
        let entry = Entry {
            at: office.clock.now(),
            author: act.author.to_owned(),
            action: action.to_owned(),
            target: format!("{:?}", account.address),
            reason: act.reason.to_owned(),
            outcome: format!(
                "{}: {} -> {}",
                act.way,
                old.as_deref().unwrap_or("none"),
                new.as_deref().unwrap_or("none")
            ),
        };
        office.journal.ride(&entry, &mut batch);
        match office.store.commit(batch).await {
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.to_string()),
            Ok(()) => {
                office.own.put(account.id, registered.cloned());
                return Ok(());
            }
        }
    }
    Err("the mailbox is being changed by others; try again".to_owned())
}

/// Adds the end of a registration to the batch that ends a mailbox.
pub fn stage_end(id: &MailboxId, batch: &mut Batch) {
    batch.delete([OWN, id.as_bytes()].concat());
}

/// The mailbox has ended.
pub fn ended(office: &Office, id: &MailboxId) {
    office.own.put(*id, None);
}

fn seal(keys: &Keyring, registered: &Registered) -> Result<Vec<u8>, String> {
    let row = Row {
        certificate: registered.certificate.to_binary().map_err(|error| error.to_string())?,
        since: registered.since.as_millis(),
        by: registered.by.clone(),
    };
    Ok(keys.seal_small(PURPOSE, &row::encode(FORMAT, &row)))
}

fn open(keys: &Keyring, sealed: &[u8]) -> Option<Registered> {
    let clear = keys.open_small(PURPOSE, sealed).ok()?;
    let row: Row = row::decode(FORMAT, clear.expose())?;
    Some(Registered {
        certificate: PeerCertificate::read(&row.certificate).ok()?,
        since: Timestamp::from_millis(row.since),
        by: row.by,
    })
}
