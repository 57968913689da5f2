//! How contacts lie in the store, and what becomes of one when a source shows something.
//!
//! Rows `u/c/<keyed address>` -> contact, sealed.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::contacts::Found;
use crate::flow::office::Office;
use crate::infra::keys::Keyring;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store;
use crate::infra::store::Version;
use crate::infra::store::row;

pub(super) const CONTACTS: &[u8] = b"u/c/";
const FORMAT: u8 = 1;
const PURPOSE: &str = "openpgp contact";
/// Certificates that an administrator has said no to, of one address.
const REFUSED_MAX: usize = 20;

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An administrator brought it.
    Import,
    /// The Web Key Directory of the address's domain.
    Wkd,
    /// An attribute of our own directory.
    Ldap,
}

impl Source {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Wkd => "wkd",
            Self::Ldap => "ldap",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Import, Self::Wkd, Self::Ldap].into_iter().find(|source| source.name() == name)
    }
}

/// Somebody outside, with a certificate.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Who.
    pub address: Address,
    /// The pinned one, without what does not count.
    pub certificate: PeerCertificate,
    /// Where it came from.
    pub source: Source,
    /// Since when it is pinned.
    pub since: Timestamp,
    /// When a source was last asked, or an administrator brought something.
    pub looked: Timestamp,
    /// What a source shows instead.
    pub changed: Option<Changed>,
    /// What an administrator has said no to.
    pub refused: Vec<Fingerprint>,
}

/// A certificate that differs from the pinned one.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Without what does not count.
    pub certificate: PeerCertificate,
    /// Who shows it.
    pub source: Source,
    /// Since when.
    pub seen: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Row {
    address: String,
    certificate: Vec<u8>,
    source: String,
    since: u64,
    looked: u64,
    changed: Option<(Vec<u8>, String, u64)>,
    refused: Vec<String>,
}

impl Contact {
    /// What a station needs to know.
    pub fn found(&self, now: Timestamp) -> Found {
        let flaw = self.certificate.check_for(&self.address, now).err();
        Found {
            certificate: flaw.is_none().then(|| self.certificate.clone()),
            pinned: self.certificate.fingerprint(),
            flaw,
            source: self.source,
            changed: self.changed.as_ref().map(|it| it.certificate.fingerprint()),
        }
    }

    pub(super) fn refuse(&mut self, fingerprint: Fingerprint) {
        self.refused.push(fingerprint);
        let too_many = self.refused.len().saturating_sub(REFUSED_MAX);
        self.refused.drain(..too_many);
    }
}

/// What is to be kept after a source has shown these; `None` when there is nothing to keep.
pub(super) fn learnt(
    before: Option<&Contact>,
    heard: &[PeerCertificate],
    source: Source,
    address: &Address,
    now: Timestamp,
) -> Option<Contact> {
    // Checked as it came: what is cut off cannot make it better.
    let good = heard.iter().filter(|it| it.check_for(address, now).is_ok());
    let mut good: Vec<PeerCertificate> =
        good.filter_map(|it| it.narrowed(Some(address)).ok()).collect();
    good.sort_by_key(|it| std::cmp::Reverse(it.created()));
    let Some(before) = before else {
        let certificate = good.into_iter().next()?;
        return Some(Contact {
            address: address.clone(),
            certificate,
            source,
            since: now,
            looked: now,
            changed: None,
            refused: Vec::new(),
        });
    };
    let mut next = Contact { looked: now, ..before.clone() };
    let pinned = before.certificate.fingerprint();
    for same in heard.iter().filter(|it| it.fingerprint() == pinned) {
        next.certificate = merged(&next.certificate, same, address);
    }
    let other = good.into_iter().find(|it| it.fingerprint() != pinned);
    if let Some(certificate) = other
        && !next.refused.contains(&certificate.fingerprint())
    {
        let known = next.changed.take();
        let known = known.filter(|it| it.certificate.fingerprint() == certificate.fingerprint());
        next.changed = Some(match known {
            Some(change) => Changed {
                certificate: merged(&change.certificate, &certificate, address),
                ..change
            },
            None => Changed { certificate, source, seen: now },
        });
    }
    Some(next)
}

/// Both, as far as it counts. A copy that would make it too large brings nothing, but a
/// revocation always fits: it is kept alone then.
fn merged(kept: &PeerCertificate, newer: &PeerCertificate, address: &Address) -> PeerCertificate {
    let narrow = newer.narrowed(Some(address)).or_else(|_| newer.revocation_only());
    let merged = narrow.ok().and_then(|newer| kept.merge(&newer));
    let merged = merged.and_then(|merged| merged.narrowed(Some(address)).ok());
    merged.unwrap_or_else(|| kept.clone())
}

pub(super) fn key(address: &[u8; 32]) -> Vec<u8> {
    [CONTACTS, address].concat()
}

/// `None` when a certificate has no stored form.
pub(super) fn seal(keys: &Keyring, contact: &Contact) -> Option<Vec<u8>> {
    let changed = match &contact.changed {
        Some(it) => {
            let octets = it.certificate.to_binary().ok()?;
            Some((octets, it.source.name().to_owned(), it.seen.as_millis()))
        }
        None => None,
    };
    let row = Row {
        address: contact.address.to_string(),
        certificate: contact.certificate.to_binary().ok()?,
        source: contact.source.name().to_owned(),
        since: contact.since.as_millis(),
        looked: contact.looked.as_millis(),
        changed,
        refused: contact.refused.iter().map(ToString::to_string).collect(),
    };
    Some(keys.seal_small(PURPOSE, &row::encode(FORMAT, &row)))
}

pub(super) fn open(keys: &Keyring, sealed: &[u8]) -> Option<Contact> {
    let clear = keys.open_small(PURPOSE, sealed).ok()?;
    let row: Row = row::decode(FORMAT, clear.expose())?;
    let changed = match row.changed {
        Some((octets, source, seen)) => Some(Changed {
            certificate: PeerCertificate::read(&octets).ok()?,
            source: Source::parse(&source)?,
            seen: Timestamp::from_millis(seen),
        }),
        None => None,
    };
    Some(Contact {
        address: Address::parse(&row.address).ok()?,
        certificate: PeerCertificate::read(&row.certificate).ok()?,
        source: Source::parse(&row.source)?,
        since: Timestamp::from_millis(row.since),
        looked: Timestamp::from_millis(row.looked),
        changed,
        refused: row.refused.iter().filter_map(|text| Fingerprint::parse(text)).collect(),
    })
}

pub(super) async fn read(
    office: &Office,
    address: &[u8; 32],
) -> Result<Option<(Contact, Version)>, Refusal> {
    let row = office.store.get(&key(address)).await.map_err(|error| {
        tracing::error!(%error, "cannot read a contact");
        Refusal::StoreFailed
    })?;
    let Some(row) = row else { return Ok(None) };
    match open(&office.keys, &row.value) {
        Some(contact) => Ok(Some((contact, row.version))),
        None => {
            // As if there were none would mean: pinned anew, from whoever answers now.
            tracing::error!("a contact cannot be read");
            Err(Refusal::StoreFailed)
        }
    }
}

pub(super) async fn page(
    office: &Office,
    after: Option<Vec<u8>>,
    count: usize,
) -> Result<(Vec<Contact>, Option<Vec<u8>>), Refusal> {
    let mut range = store::prefix(CONTACTS);
    if let Some(after) = after {
        range.start = [after.as_slice(), &[0]].concat();
    }
    let page =
        office.store.scan(range, count.min(limits::SCAN_ROWS_MAX)).await.map_err(|error| {
            tracing::error!(%error, "cannot read contacts");
            Refusal::StoreFailed
        })?;
    let contacts = page.rows.iter().filter_map(|(_, row)| {
        let contact = open(&office.keys, &row.value);
        if contact.is_none() {
            tracing::error!("a contact cannot be read and is left out");
        }
        contact
    });
    let contacts = contacts.collect();
    let last = page.rows.last().filter(|_| page.more).map(|(key, _)| key.to_vec());
    Ok((contacts, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mailbox::MailboxId;
    use crate::domain::secret::Secret;

    const BEGIN: Timestamp = Timestamp::from_seconds(1_795_388_399);
    const LATER: Timestamp = Timestamp::from_seconds(1_795_488_399);

    fn keyring() -> Keyring {
        Keyring::with_master(Secret::new([7; 32]))
    }

    fn certificate(address: &str, now: Timestamp) -> PeerCertificate {
        let owner = MailboxId::from_bytes([1; 16]);
        let new = keyring().generate(&owner, &format!("<{address}>"), now).unwrap();
        PeerCertificate::read(&new.certificate).unwrap()
    }

    fn lune() -> Address {
        Address::parse("dr.lune@clinique.test").unwrap()
    }

    #[test]
    fn the_first_certificate_is_pinned_and_another_one_waits_for_a_decision() {
        let [first, other] = [BEGIN, LATER].map(|at| certificate("dr.lune@clinique.test", at));
        let pinned =
            learnt(None, std::slice::from_ref(&first), Source::Wkd, &lune(), BEGIN).unwrap();
        assert_eq!(pinned.found(BEGIN).pinned, first.fingerprint());
        let heard = [other.clone()];
        let changed = learnt(Some(&pinned), &heard, Source::Wkd, &lune(), LATER).unwrap();
        let found = changed.found(LATER);
        assert_eq!(found.pinned, first.fingerprint());
        assert_eq!(found.certificate.unwrap().fingerprint(), first.fingerprint());
        assert_eq!(found.changed, Some(other.fingerprint()));
        assert_eq!(changed.changed.as_ref().unwrap().seen, LATER);

        // What an administrator has said no to is not spoken of again.
        let mut kept = changed.clone();
        kept.changed = None;
        kept.refuse(other.fingerprint());
        let again = learnt(Some(&kept), &heard, Source::Wkd, &lune(), LATER).unwrap();
        assert!(again.changed.is_none());
        // A source that shows nothing takes nothing away.
        let gone = learnt(Some(&pinned), &[], Source::Wkd, &lune(), LATER).unwrap();
        assert_eq!(gone.certificate.fingerprint(), first.fingerprint());
    }

    #[test]
    fn a_certificate_for_another_address_is_not_pinned() {
        let other = [certificate("dr.soleil@clinique.test", BEGIN)];
        assert!(learnt(None, &other, Source::Wkd, &lune(), LATER).is_none());
        assert!(learnt(None, &[], Source::Wkd, &lune(), LATER).is_none());
    }

    #[test]
    fn a_contact_lies_sealed_and_is_read_as_it_was() {
        let [first, other] = [BEGIN, LATER].map(|at| certificate("dr.lune@clinique.test", at));
        let pinned = learnt(None, std::slice::from_ref(&first), Source::Import, &lune(), BEGIN);
        let contact = learnt(pinned.as_ref(), &[other], Source::Wkd, &lune(), LATER).unwrap();
        let sealed = seal(&keyring(), &contact).unwrap();
        let at = |word: &[u8]| sealed.windows(word.len()).any(|window| window == word);
        assert!(!at(b"dr.lune") && !at(b"clinique"));
        let read = open(&keyring(), &sealed).unwrap();
        assert_eq!(read.address, contact.address);
        assert_eq!((read.source, read.since, read.looked), (Source::Import, BEGIN, LATER));
        assert_eq!(read.found(LATER).changed, contact.found(LATER).changed);
    }
}
