//! Who made a signature: every key that is known, by its key id.
//!
//! Numbers only are in memory, some fifty octets a key; certificates are read when one is asked
//! for. Contacts and own certificates are taken in when they change, our mailboxes in the order of
//! their creation, from where the last look ended.
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::contacts::Contact;
use crate::flow::contacts::rows;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::published;
use crate::infra::directory::Account;
use crate::infra::keys::mail::Certificates;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::proto::wkd;

/// Accounts of which certificates are read before others get a turn.
const ACCOUNTS_AT_ONCE: usize = 50;

/// Keys by key id.
#[derive(Default)]
pub(super) struct Index {
    keys: Mutex<Keys>,
    /// Held by whoever reads what is new. Others wait for it rather than read the same again:
    /// after a start that is every mailbox.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<u64, Vec<Whose>>,
    /// Names in Web Key Directories of our domains, `name@domain`, professionals' only.
    names: HashMap<Box<str>, MailboxId>,
    contacts_read: bool,
    /// The youngest mailbox whose certificate was taken in.
    last: Option<MailboxId>,
}

/// Where a certificate is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Contact([u8; 32]),
    Mailbox(MailboxId),
}

impl Index {
    pub(super) fn learn_contact(&self, office: &Office, contact: &Contact) {
        let whose = Whose::Contact(office.keys.address_key(&contact.address));
        self.lock().learn(&contact.certificate.key_ids(), whose);
    }

    pub(super) fn forget_contact(&self, address: &[u8; 32]) {
        self.lock().by_id.retain(|_, whose| {
            whose.retain(|it| *it != Whose::Contact(*address));
            !whose.is_empty()
        });
    }

    fn seen(&self, last: Option<MailboxId>) {
        let mut keys = self.lock();
        keys.last = keys.last.max(last);
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody's mailbox.
const NOBODY: MailboxId = MailboxId::from_bytes([0xff; 16]);

impl Keys {
    fn learn_name(&mut self, account: &Account) {
        let address = &account.address;
        let name = format!("{}@{}", wkd::hash(address.local_part()), address.domain());
        self.names.insert(name.into_boxed_str(), account.id);
    }

    fn learn(&mut self, key_ids: &[String], whose: Whose) {
        for id in key_ids.iter().filter_map(|id| number(id)) {
            let known = self.by_id.entry(id).or_default();
            if !known.contains(&whose) {
                known.push(whose);
            }
        }
    }
}

/// The address behind a name in the Web Key Directory of one of our domains.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub(crate) async fn named(
    office: &Office,
    domain: &Domain,
    name: &str,
) -> Result<Option<Address>, Refusal> {
    catch_up(office).await?;
    let id = office.contacts.index.lock().names.get(&*format!("{name}@{domain}")).copied();
    // Whether it is there or not costs one look into the store.
    let account = office.accounts.numbered(&id.unwrap_or(NOBODY)).await.map_err(|error| {
        tracing::error!(%error, "an account cannot be read");
        Refusal::StoreFailed
    })?;
    Ok(account.map(|account| account.address))
}

/// Mailboxes, also some that have ended, that have or had a key with this key id.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub(crate) async fn mailboxes_of(office: &Office, key_id: &str) -> Result<Vec<MailboxId>, Refusal> {
    catch_up(office).await?;
    let Some(id) = number(key_id) else { return Ok(Vec::new()) };
    let whose = office.contacts.index.lock().by_id.get(&id).cloned().unwrap_or_default();
    let mailboxes = whose.into_iter().filter_map(|whose| match whose {
        Whose::Mailbox(id) => Some(id),
        Whose::Contact(_) => None,
    });
    Ok(mailboxes.collect())
}

/// Finds the certificates behind signatures: those of contacts and of our mailboxes, own ones
/// included.
pub struct Known(Arc<Office>);

/// What is known now. Asked once for each letter; after the first time it costs one look into
/// the store.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn known(office: &Arc<Office>) -> Result<Known, Refusal> {
    catch_up(office).await?;
    Ok(Known(Arc::clone(office)))
}

/// A mailbox has other keys than before.
pub(crate) fn mailbox_changed(office: &Office, id: MailboxId, certificate: &PeerCertificate) {
    office.contacts.index.lock().learn(&certificate.key_ids(), Whose::Mailbox(id));
}

async fn catch_up(office: &Office) -> Result<(), Refusal> {
    let index = &office.contacts.index;
    let _reading = index.reading.lock().await;
    if !index.lock().contacts_read {
        let mut after = None;
        loop {
            let (contacts, more) = rows::page(office, after, limits::SCAN_ROWS_MAX).await?;
            for contact in &contacts {
                index.learn_contact(office, contact);
            }
            after = more;
            if after.is_none() {
                break;
            }
        }
        index.lock().contacts_read = true;
    }
    loop {
        let last = index.lock().last;
        let (accounts, more) =
            office.accounts.page(last, ACCOUNTS_AT_ONCE).await.map_err(|error| {
                tracing::error!(%error, "certificates of mailboxes cannot be read");
                Refusal::StoreFailed
            })?;
        for account in &accounts {
            if account.kind != MailboxKind::Citizen {
                index.lock().learn_name(account);
            }
            let whose = Whose::Mailbox(account.id);
            // A copy that was not made by this program is told at the mailbox's own door.
            index.lock().learn(&PeerCertificate::key_ids_in(&account.certificate), whose);
            if let Some(certificate) = own::kept(office, &account.id) {
                index.lock().learn(&certificate.key_ids(), whose);
            }
            for certificate in published::revoked(office, &account.id).await? {
                index.lock().learn(&certificate.key_ids(), whose);
            }
        }
        index.seen(more.max(accounts.last().map(|account| account.id)));
        if more.is_none() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

impl Certificates for Known {
    fn of_key(&self, handle: &str) -> Vec<PeerCertificate> {
        let id = match Fingerprint::parse(handle) {
            Some(fingerprint) => number(&fingerprint.key_id()),
            None => number(handle),
        };
        let Some(id) = id else { return Vec::new() };
        let whose = self.0.contacts.index.lock().by_id.get(&id).cloned().unwrap_or_default();
        let certificates = whose.into_iter().flat_map(|whose| self.read(whose));
        // The index may know a key that its owner no longer has.
        certificates.filter(|it| it.key_ids().iter().any(|key| number(key) == Some(id))).collect()
    }
}

impl Known {
    fn read(&self, whose: Whose) -> Vec<PeerCertificate> {
        let office = &self.0;
        match whose {
            Whose::Contact(address) => {
                let contact = at_once(rows::read(office, &address));
                let contact = contact.and_then(Result::ok).flatten();
                contact.map(|(contact, _)| contact.certificate).into_iter().collect()
            }
            Whose::Mailbox(id) => {
                let account = at_once(office.accounts.numbered(&id));
                let account: Option<Account> = account.and_then(Result::ok).flatten();
                let ours = account.and_then(|it| PeerCertificate::read(&it.certificate).ok());
                ours.into_iter().chain(own::kept(office, &id)).collect()
            }
        }
    }
}

/// A read of the store is there at once, unless the disk has just failed: then the key is one
/// that nobody knows.
fn at_once<T>(reading: impl Future<Output = T>) -> Option<T> {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => Some(read),
        Poll::Pending => None,
    }
}

/// The number behind sixteen hexadecimal digits.
fn number(key_id: &str) -> Option<u64> {
    (key_id.len() == 16).then(|| u64::from_str_radix(key_id, 16).ok()).flatten()
}
