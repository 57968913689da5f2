//! Certificates of people outside: where they come from, and which one counts.
//!
//! The first certificate that is valid for an address is pinned. A source that shows another one
//! later changes nothing but a warning: an administrator decides (`keys contact accept`). What its
//! owner says about the pinned one (an extension, a revocation, another subkey) is merged and
//! counts at once.
//!
//! Addresses may be patients': rows are found by a keyed hash, and sealed.
mod ask; // Web Key Directories of other domains
mod attribute; // our own directory
mod index; // who made a signature
mod rows;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::mailbox::commit_refusal;
use crate::flow::office::Office;
use crate::infra::config::openpgp::CertificateSource;
use crate::infra::directory::Directory;
use crate::infra::directory::ldap::Ldap;
use crate::infra::journal::Entry;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;

pub use index::Known;
pub use index::known;
pub(crate) use index::mailbox_changed;
pub(crate) use index::mailboxes_of;
pub(crate) use index::named;
pub use rows::Changed;
pub use rows::Contact;
pub use rows::Source;

/// How often a change is built anew when somebody else changed the contact under it.
const ATTEMPTS_MAX: usize = 10;
/// Under which name the journal has what the relay does by itself.
const ITSELF: &str = "the relay";

/// What is remembered about certificates of others.
pub struct Contacts {
    index: index::Index,
    /// Addresses (their keyed hash) for which nothing was found, and until when that counts.
    none: Mutex<HashMap<[u8; 32], Nothing>>,
    asking: Semaphore,
    /// Our own directory, when it shows certificates.
    directory: Option<Ldap>,
}

/// What came of the last question for an address without a certificate.
#[derive(Clone, Copy)]
struct Nothing {
    until: Timestamp,
    /// A source did not answer; it did not say no.
    away: bool,
}

/// What is known of an address.
#[derive(Clone, Debug)]
pub struct Found {
    /// The pinned certificate, when letters may be sealed to it now. `None`: it has expired, is
    /// revoked, or has no usable subkey left; nothing else is used in its place.
    pub certificate: Option<PeerCertificate>,
    /// The pinned fingerprint.
    pub pinned: Fingerprint,
    /// What stands against the pinned certificate.
    pub flaw: Option<CertificateFlaw>,
    /// Where it came from.
    pub source: Source,
    /// A source shows this one instead, and no administrator has decided yet.
    pub changed: Option<Fingerprint>,
}

impl Default for Contacts {
    fn default() -> Self {
        Self {
            index: index::Index::default(),
            none: Mutex::default(),
            asking: Semaphore::new(limits::WKD_AT_ONCE),
            directory: None,
        }
    }
}

impl Contacts {
    /// Nothing is known yet; this directory shows certificates.
    pub fn asking(directory: Option<Ldap>) -> Self {
        Self { directory, ..Self::default() }
    }

    /// What is wrong with that directory, each with the key to mend; for the log.
    pub async fn probe(&self) -> Vec<String> {
        match &self.directory {
            Some(directory) => directory.probe().await,
            None => Vec::new(),
        }
    }

    /// Tries its servers that were away, so that no letter has to.
    pub async fn revive(&self) {
        if let Some(directory) = &self.directory {
            let _ = directory.revive().await;
        }
    }
}

/// True when some source may know the certificate of this address.
pub fn may_look(office: &Office, address: &Address) -> bool {
    office.config.openpgp.sources.iter().any(|source| may_ask(office, *source, address))
}

fn may_ask(office: &Office, source: CertificateSource, address: &Address) -> bool {
    match source {
        CertificateSource::Ldap => attribute::may_ask(office, address),
        CertificateSource::Wkd => ask::may_ask(office, address),
    }
}

/// The certificate of an address outside, from what is pinned or from the sources; `None` when
/// nobody knows one. What is found is durable when this returns.
///
/// # Errors
/// [`Refusal::DependencyFailed`] when nothing is pinned and a source did not answer: nobody can
/// say that there is no certificate. [`Refusal::StoreFailed`].
pub async fn find(office: &Arc<Office>, address: &Address) -> Result<Option<Found>, Refusal> {
    let now = office.clock.now();
    let kept = read(office, address).await?.map(|(contact, _)| contact);
    let is_fresh =
        kept.as_ref().is_some_and(|it| now.since(it.looked) < office.config.openpgp.refresh);
    if is_fresh || !may_look(office, address) {
        return Ok(kept.map(|contact| contact.found(now)));
    }
    match (office.contacts.remembered(&office.keys.address_key(address), now), kept) {
        (Some(_), Some(contact)) => return Ok(Some(contact.found(now))),
        (Some(Nothing { away: false, .. }), None) => return Ok(None),
        (Some(Nothing { away: true, .. }), None) => return Err(Refusal::DependencyFailed),
        (None, _) => {}
    }
    look(office, address).await
}

/// Asks the sources now, whatever is remembered.
///
/// # Errors
/// As [`find`].
pub async fn look(office: &Arc<Office>, address: &Address) -> Result<Option<Found>, Refusal> {
    let row = office.keys.address_key(address);
    let has_pinned = read(office, address).await?.is_some();
    let (mut found, mut has_answered) = (None, false);
    for source in &office.config.openpgp.sources {
        if !may_ask(office, *source, address) {
            continue;
        }
        let (name, heard) = match source {
            CertificateSource::Ldap => (Source::Ldap, attribute::ask(office, address).await),
            CertificateSource::Wkd => (Source::Wkd, ask::ask(office, address).await),
        };
        match heard {
            Ok(heard) => {
                has_answered = true;
                // What is pinned learns from each of them; what is not, from the first.
                if !heard.is_empty() {
                    found = learn(office, address, &heard, name).await?;
                }
                if found.is_some() && !has_pinned {
                    return Ok(found);
                }
            }
            Err(reason) => {
                let (now, domain) = (office.clock.now(), address.domain());
                let source = name.name();
                tracing::warn!(%domain, source, reason, "no answer about a certificate");
                office.contacts.remember(row, limits::WKD_AWAY_FOR, true, now);
                // A source that is away must not lead to what another one says.
                if !has_pinned {
                    return Err(Refusal::DependencyFailed);
                }
            }
        }
    }
    if has_pinned && found.is_none() && has_answered {
        // It was looked for, and nobody shows anything: that takes nothing away.
        found = learn(office, address, &[], Source::Wkd).await?;
    }
    if has_pinned {
        let now = office.clock.now();
        return Ok(read(office, address).await?.map(|(contact, _)| contact.found(now)));
    }
    office.contacts.remember(row, limits::WKD_NONE_FOR, false, office.clock.now());
    Ok(found)
}

/// What is pinned for an address; no source is asked.
///
/// # Errors
/// [`Refusal::StoreFailed`], also for a row that cannot be read.
pub async fn pinned(office: &Office, address: &Address) -> Result<Option<Contact>, Refusal> {
    Ok(read(office, address).await?.map(|(contact, _)| contact))
}

/// Every contact, in no order that means anything, page by page: at most `count`, and where the
/// next ones begin.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn page(
    office: &Office,
    after: Option<Vec<u8>>,
    count: usize,
) -> Result<(Vec<Contact>, Option<Vec<u8>>), Refusal> {
    rows::page(office, after, count).await
}

/// What an import did with one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Nothing was pinned for the address before.
    Pinned,
    /// The same certificate, perhaps with news.
    Merged,
    /// Another one is pinned; this one waits for a decision.
    Differs(Fingerprint),
}

/// Takes in a certificate that an administrator has. It is pinned for the address unless another
/// one is.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn import(
    office: &Arc<Office>,
    address: &Address,
    certificate: &PeerCertificate,
    author: &str,
    reason: &str,
) -> Result<Imported, String> {
    let now = office.clock.now();
    let fingerprint = certificate.fingerprint();
    let before = pinned(office, address).await.map_err(sentence)?;
    let is_same = before.as_ref().is_some_and(|it| it.certificate.fingerprint() == fingerprint);
    if !is_same {
        certificate.check_for(address, now).map_err(|flaw| flaw.to_string())?;
    }
    let entry = Entry {
        at: now,
        author: author.to_owned(),
        action: "keys import".to_owned(),
        target: format!("{address:?}"),
        reason: reason.to_owned(),
        outcome: fingerprint.to_string(),
    };
    let heard = std::slice::from_ref(certificate);
    learn_with(office, address, heard, Source::Import, Some(&entry)).await.map_err(sentence)?;
    match pinned(office, address).await.map_err(sentence)? {
        Some(contact) if contact.certificate.fingerprint() != fingerprint => {
            Ok(Imported::Differs(contact.certificate.fingerprint()))
        }
        Some(_) if before.is_some() => Ok(Imported::Merged),
        _ => Ok(Imported::Pinned),
    }
}

/// An administrator's decision about a certificate that differs from the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From now on this one is pinned.
    Accept,
    /// The pinned one stays, and this one is not spoken of again.
    Keep,
}

/// Decides about a change. The fingerprint must be that of the certificate that was shown.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn decide(
    office: &Arc<Office>,
    address: &Address,
    fingerprint: &Fingerprint,
    choice: Choice,
    author: &str,
    reason: &str,
) -> Result<Contact, String> {
    for _ in 0..ATTEMPTS_MAX {
        let kept = read(office, address).await.map_err(sentence)?;
        let (contact, version) = kept.ok_or("no certificate is known for this address")?;
        let Some(change) = contact.changed.clone() else {
            return Err("no other certificate waits for a decision for this address".to_owned());
        };
        let shown = change.certificate.fingerprint();
        if shown != *fingerprint {
            return Err(format!("the certificate that waits for a decision is {shown}"));
        }
        let now = office.clock.now();
        let mut next = contact.clone();
        next.changed = None;
        match choice {
            Choice::Accept => {
                let good = change.certificate.check_for(address, now);
                good.map_err(|flaw| format!("it cannot be used: {flaw}"))?;
                next.certificate = change.certificate;
                next.source = change.source;
                next.since = now;
                next.refused.clear();
            }
            Choice::Keep => next.refuse(shown),
        }
        let action = match choice {
            Choice::Accept => "keys contact accept",
            Choice::Keep => "keys contact keep",
        };
        let entry = Entry {
            at: now,
            author: author.to_owned(),
            action: action.to_owned(),
            target: format!("{address:?}"),
            reason: reason.to_owned(),
            outcome: next.certificate.fingerprint().to_string(),
        };
        match write(office, &next, Some(version), Some(&entry)).await {
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.to_string()),
            Ok(()) => {
                office.contacts.index.forget_contact(&office.keys.address_key(address));
                office.contacts.index.learn_contact(office, &next);
                return Ok(next);
            }
        }
    }
    Err("the contact is being changed by others; try again".to_owned())
}

/// Forgets what is known of an address: the next certificate that is found is pinned.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn forget(
    office: &Office,
    address: &Address,
    author: &str,
    reason: &str,
) -> Result<(), String> {
    let kept = read(office, address).await.map_err(sentence)?;
    let (contact, version) = kept.ok_or("no certificate is known for this address")?;
    let row = office.keys.address_key(address);
    let entry = Entry {
        at: office.clock.now(),
        author: author.to_owned(),
        action: "keys contact forget".to_owned(),
        target: format!("{address:?}"),
        reason: reason.to_owned(),
        outcome: contact.certificate.fingerprint().to_string(),
    };
    let mut batch = Batch::new();
    batch.require_at(rows::key(&row), version).delete(rows::key(&row));
    office.journal.ride(&entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    office.contacts.index.forget_contact(&row);
    office.contacts.lock().remove(&row);
    Ok(())
}

/// Takes in what a source shows for an address.
async fn learn(
    office: &Arc<Office>,
    address: &Address,
    heard: &[PeerCertificate],
    source: Source,
) -> Result<Option<Found>, Refusal> {
    learn_with(office, address, heard, source, None).await
}

async fn learn_with(
    office: &Arc<Office>,
    address: &Address,
    heard: &[PeerCertificate],
    source: Source,
    entry: Option<&Entry>,
) -> Result<Option<Found>, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        let now = office.clock.now();
        let kept = read(office, address).await?;
        let (before, version) =
            kept.map_or((None, None), |(it, version)| (Some(it), Some(version)));
        let Some(next) = rows::learnt(before.as_ref(), heard, source, address, now) else {
            return Ok(None);
        };
        let news = next.changed.as_ref().map(|it| it.certificate.fingerprint());
        let told = before.as_ref().and_then(|it| it.changed.as_ref());
        let news =
            news.filter(|it| told.map(|it| it.certificate.fingerprint()).as_ref() != Some(it));
        let own = news.as_ref().map(|shown| Entry {
            at: now,
            author: ITSELF.to_owned(),
            action: "keys contact changed".to_owned(),
            target: format!("{address:?}"),
            reason: format!("{} shows another certificate", source.name()),
            outcome: format!("{shown} waits; {} stays", next.certificate.fingerprint()),
        });
        match write(office, &next, version, entry.or(own.as_ref())).await {
            Err(CommitError::Conflict) => continue,
            Err(error) => return Err(commit_refusal(&error)),
            Ok(()) => {}
        }
        office.contacts.index.learn_contact(office, &next);
        if let Some(shown) = news {
            tell_of_change(office, &next, &shown);
        }
        return Ok(Some(next.found(now)));
    }
    Err(Refusal::Busy)
}

fn tell_of_change(office: &Arc<Office>, contact: &Contact, shown: &Fingerprint) {
    office.metrics.openpgp_pin_changed();
    let address = &contact.address;
    let pinned = contact.certificate.fingerprint();
    let text = format!(
        "The OpenPGP certificate of {address:?} has changed.\nPinned: {pinned}\nShown now: \
         {shown}\nLetters are still sealed to the pinned one. Ask the person over another way, \
         then: vaguemestre keys contact accept ADDRESS {shown} --reason … (or --keep)."
    );
    alerts::raise(office, &format!("OpenPGP certificate of {address:?} has changed"), &text);
}

async fn read(office: &Office, address: &Address) -> Result<Option<(Contact, Version)>, Refusal> {
    rows::read(office, &office.keys.address_key(address)).await
}

async fn write(
    office: &Office,
    contact: &Contact,
    version: Option<Version>,
    entry: Option<&Entry>,
) -> Result<(), CommitError> {
    let key = rows::key(&office.keys.address_key(&contact.address));
    let mut batch = Batch::new();
    match version {
        Some(version) => batch.require_at(key.clone(), version),
        None => batch.require_absent(key.clone()),
    };
    let sealed = rows::seal(&office.keys, contact);
    batch.put(key, sealed.ok_or(CommitError::ValueTooLarge(limits::OPENPGP_KEPT_OCTETS_MAX))?);
    if let Some(entry) = entry {
        office.journal.ride(entry, &mut batch);
    }
    office.store.commit(batch).await
}

fn sentence(refusal: Refusal) -> String {
    format!("the store does not answer ({refusal:?})")
}

impl Contacts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Nothing>> {
        self.none.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, row: &[u8; 32], now: Timestamp) -> Option<Nothing> {
        self.lock().get(row).copied().filter(|nothing| now < nothing.until)
    }

    fn remember(&self, row: [u8; 32], wait: Duration, away: bool, now: Timestamp) {
        let mut none = self.lock();
        if none.len() >= limits::WKD_NONE_REMEMBERED_MAX {
            none.retain(|_, nothing| now < nothing.until);
            // Asked once more is better than remembered without bound.
            if none.len() >= limits::WKD_NONE_REMEMBERED_MAX {
                none.clear();
            }
        }
        none.insert(row, Nothing { until: now.after(wait), away });
    }
}
