//! A certificate revocation list (RFC 5280 §5): read, verified once per issuer key, asked often.
//!
//! The octets stay as they came; of each entry only its place is kept, in the order of the
//! serial numbers. A list of a million entries then costs its own size and four megabytes, and
//! a question some twenty comparisons.
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::domain::limits::CRL_OCTETS_MAX;
use crate::domain::limits::REVOCATION_SKEW;
use crate::domain::time::Timestamp;
use crate::infra::net;
use crate::infra::revocation::card::Card;
use crate::infra::revocation::der;
use crate::infra::revocation::der::Reader;
use crate::infra::revocation::der::Signed;
use crate::infra::revocation::der::Value;
use crate::infra::revocation::der::Wrong;

/// Content of object identifiers below id-ce (2.5.29).
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON: &[u8] = &[0x55, 0x1d, 21];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 35];

/// Issuer keys for which a list remembers whether they signed it.
const JUDGED_MAX: usize = 8;

/// A CRL that can be read. Whether it counts, [`Crl::judge`] says.
#[derive(Debug)]
pub(super) struct Crl {
    octets: Vec<u8>,
    issuer: Range<usize>,
    pub(super) made: Timestamp,
    pub(super) ends: Timestamp,
    number: Option<Vec<u8>>,
    scope: Scope,
    /// Where the serial numbers stand, in the order of their values.
    entries: Vec<u32>,
    /// By key name: whether that key signed this list.
    judged: Mutex<Vec<([u8; 32], Result<(), Wrong>)>>,
}

/// What a list is about (RFC 5280 §5.2.5).
#[derive(Debug, Default)]
struct Scope {
    /// Its distribution point's URI names; `None` without such a point.
    point: Option<Vec<String>>,
    users: bool,
    authorities: bool,
    attributes: bool,
    some_reasons: bool,
}

impl Crl {
    /// Reads PEM or DER, of which the list must be all.
    pub(super) fn read(octets: &[u8]) -> Result<Self, Wrong> {
        if octets.len() > CRL_OCTETS_MAX {
            return Err(format!("more than {CRL_OCTETS_MAX} octets"));
        }
        if !octets.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Self::from_der(octets.to_vec());
        }
        let mut lists = read_pem(octets)?;
        match (lists.pop(), lists.pop()) {
            (Some(list), None) => Ok(list),
            _ => Err("not one CRL".to_owned()),
        }
    }

    /// Reads a file that may hold several lists, as PEM, or one as DER.
    pub(super) fn read_all(octets: &[u8]) -> Result<Vec<Self>, Wrong> {
        // A DER list begins with a SEQUENCE; PEM may begin with any text.
        if octets.first() == Some(&der::SEQUENCE) && octets.get(1).is_some_and(|o| *o >= 0x80) {
            return Ok(vec![Self::from_der(octets.to_vec())?]);
        }
        read_pem(octets)
    }

    fn from_der(octets: Vec<u8>) -> Result<Self, Wrong> {
        let mut outside = Reader::new(&octets);
        let list = outside.expect(der::SEQUENCE, "the CRL").map_err(|wrong| {
            let page = octets.trim_ascii_start().first() == Some(&b'<');
            if page { "a page instead of a CRL".to_owned() } else { wrong }
        })?;
        outside.finish("the CRL")?;
        let mut inside = list.reader();
        let signed = Signed::read(&mut inside)?;
        inside.finish("the signature")?;

        let mut body = signed.what.reader();
        if let Some(version) = body.optional(der::INTEGER)?
            && version.content != [1]
        {
            return Err("a CRL version that is not known".to_owned());
        }
        // RFC 5280 §5.1.2.2: the algorithm stands twice and must be the same.
        if body.expect(der::SEQUENCE, "the algorithm")?.content != signed.algorithm.content {
            return Err("two different signature algorithms".to_owned());
        }
        let issuer = body.expect(der::SEQUENCE, "the CRL's issuer")?;
        let made = body.next()?.time("thisUpdate")?;
        // RFC 5280 §5.1.2.5 demands it, and a list without an end could be replayed for ever.
        let ends = body.next().ok().filter(Value::is_time).ok_or("nextUpdate is missing")?;
        let ends = ends.time("nextUpdate")?;
        let entries = match body.optional(der::SEQUENCE)? {
            Some(revoked) => entries(&octets, &revoked)?,
            None => Vec::new(),
        };
        let (mut number, mut scope) = (None, Scope::default());
        if let Some(list) = body.optional(der::nested(0))? {
            let list = list.only(der::SEQUENCE, "the CRL's extensions")?;
            for extension in der::extensions(&list, "a CRL extension")? {
                match extension.id {
                    CRL_NUMBER => {
                        let value = Reader::new(extension.value).expect(der::INTEGER, "number")?;
                        number = Some(value.number().to_vec());
                    }
                    // Says what changed since another list, and nothing about the rest.
                    DELTA_INDICATOR => return Err("a delta CRL".to_owned()),
                    ISSUING_POINT => scope = Scope::read(extension.value)?,
                    AUTHORITY_KEY => {}
                    // RFC 5280 §5.2: whoever cannot process it must not use the list.
                    _ if extension.critical => {
                        return Err("a critical extension that is not known".to_owned());
                    }
                    _ => {}
                }
            }
        }
        body.finish("the CRL's body")?;
        let start = offset(&octets, issuer.whole);
        let issuer = start..start + issuer.whole.len();
        let judged = Mutex::default();
        Ok(Self { issuer, made, ends, number, scope, entries, judged, octets })
    }

    /// Its issuer's name, as DER.
    pub(super) fn issuer(&self) -> &[u8] {
        &self.octets[self.issuer.clone()]
    }

    /// The same for people.
    pub(super) fn issuer_text(&self) -> String {
        let Ok((_, name)) = X509Name::from_der(self.issuer()) else { return String::new() };
        net::distinguished_name(&name).map_or_else(|_| name.to_string(), |name| name.to_string())
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// True when `other` was made later by the same issuer: what a replay cannot be.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        let number = |crl: &Self| crl.number.as_ref().map(|number| (number.len(), number.clone()));
        match (number(self), number(other)) {
            (Some(ours), Some(theirs)) if ours != theirs => ours < theirs,
            _ => self.made < other.made,
        }
    }

    /// Whether this issuer signed it. The arithmetic is done once per key.
    pub(super) fn judge(&self, issuer: &Card) -> Result<(), Wrong> {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, result)) = judged.iter().find(|(key, _)| *key == issuer.key.name) {
            return result.clone();
        }
        let result = self.verify(issuer);
        if judged.len() >= JUDGED_MAX {
            drop(judged.remove(0));
        }
        judged.push((issuer.key.name, result.clone()));
        result
    }

    /// True when [`Self::judge`] answers at once.
    pub(super) fn is_judged(&self, issuer: &Card) -> bool {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.iter().any(|(key, _)| *key == issuer.key.name)
    }

    /// Why nobody's signature on it was good; empty when one was, or nobody asked yet.
    pub(super) fn trouble(&self) -> String {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.iter().any(|(_, result)| result.is_ok()) {
            return String::new();
        }
        judged.iter().find_map(|(_, result)| result.clone().err()).unwrap_or_default()
    }

    fn verify(&self, issuer: &Card) -> Result<(), Wrong> {
        if self.issuer() != issuer.subject {
            return Err(format!("a CRL of another issuer, {}", self.issuer_text()));
        }
        if !issuer.signs_lists {
            return Err("its issuer's certificate is not for signing CRLs".to_owned());
        }
        let list = Reader::new(&self.octets).next()?;
        Signed::read(&mut list.reader())?.verify(&issuer.key)
    }

    /// Whether it says anything about this certificate, whose issuer it was judged for.
    ///
    /// RFC 5280 §6.3.3 (b): the scope, and one of its names among the certificate's.
    pub(super) fn covers(&self, card: &Card) -> Result<(), Wrong> {
        let scope = &self.scope;
        let outside = |why: &str| Err(format!("a CRL {why}"));
        if scope.attributes {
            return outside("of attribute certificates");
        }
        if scope.users && card.authority {
            return outside("of other certificates than authorities'");
        }
        if scope.authorities && !card.authority {
            return outside("of authorities only");
        }
        if scope.some_reasons {
            return outside("of some reasons only");
        }
        if let Some(names) = &scope.point {
            let shared = |point: &Vec<String>| point.iter().any(|name| names.contains(name));
            if card.no_points || !card.points.iter().any(shared) {
                return outside("of another distribution point");
            }
        }
        Ok(())
    }

    /// RFC 5280 does not say it, every client does: a list of tomorrow is no list.
    pub(super) fn is_of_the_future(&self, now: Timestamp) -> bool {
        self.made > now.after(REVOCATION_SKEW)
    }

    /// Since when this serial number is revoked.
    pub(super) fn revoked(&self, serial: &[u8]) -> Option<Timestamp> {
        let place = self
            .entries
            .binary_search_by(|place| order(serial_at(&self.octets, *place)).cmp(&order(serial)))
            .ok()?;
        let from = usize::try_from(self.entries[place]).expect("an offset fits in memory");
        let mut reader = Reader::new(&self.octets[from..]);
        let date = reader.next().and_then(|_| reader.next()).and_then(|date| date.time("date"));
        // The dates were read before; if not, revoked it is all the same.
        Some(date.unwrap_or(self.made))
    }
}

impl Scope {
    fn read(octets: &[u8]) -> Result<Self, Wrong> {
        let what = "the CRL's scope";
        let mut outside = Reader::new(octets);
        let mut inside = outside.expect(der::SEQUENCE, what)?.reader();
        outside.finish(what)?;
        let mut scope = Self::default();
        if let Some(point) = inside.optional(der::nested(0))? {
            // Of the other form, a name relative to the issuer, nothing is understood here, and
            // an empty list of names matches nothing.
            let mut names = Vec::new();
            let name = point.reader().next()?;
            let mut full = name.reader();
            while name.tag == der::nested(0) && !full.is_done() {
                let name = full.next()?;
                if name.tag == der::plain(6) {
                    names.push(String::from_utf8_lossy(name.content).into_owned());
                }
            }
            scope.point = Some(names);
        }
        scope.users = flag(&mut inside, 1)?;
        scope.authorities = flag(&mut inside, 2)?;
        scope.some_reasons = inside.optional(der::plain(3))?.is_some();
        if flag(&mut inside, 4)? {
            // Its entries may speak of other issuers' certificates.
            return Err("an indirect CRL".to_owned());
        }
        scope.attributes = flag(&mut inside, 5)?;
        inside.finish(what)?;
        Ok(scope)
    }
}

/// `[number] IMPLICIT BOOLEAN DEFAULT FALSE`.
fn flag(reader: &mut Reader<'_>, number: u8) -> Result<bool, Wrong> {
    match reader.optional(der::plain(number))? {
        Some(flag) => flag.truth("a flag of the CRL's scope"),
        None => Ok(false),
    }
}

/// Checks every entry and sorts their places.
fn entries(octets: &[u8], revoked: &Value<'_>) -> Result<Vec<u32>, Wrong> {
    let mut places = Vec::new();
    let mut list = revoked.reader();
    while !list.is_done() {
        let entry = list.expect(der::SEQUENCE, "a CRL entry")?;
        let mut inside = entry.reader();
        let serial = inside.expect(der::INTEGER, "a serial number")?;
        inside.next()?.time("a revocation date")?;
        if let Some(list) = inside.optional(der::SEQUENCE)? {
            for extension in der::extensions(&list, "an extension of a CRL entry")? {
                match extension.id {
                    REASON | INVALIDITY_DATE => {}
                    CERTIFICATE_ISSUER => return Err("an indirect CRL".to_owned()),
                    // RFC 5280 §5.3: such a list must not be used for any certificate.
                    _ if extension.critical => {
                        return Err("an entry with a critical extension that is not known".into());
                    }
                    _ => {}
                }
            }
        }
        inside.finish("a CRL entry")?;
        let place = offset(octets, serial.whole);
        places.push(u32::try_from(place).map_err(|_| "a CRL beyond four gigabytes")?);
    }
    places.sort_unstable_by(|left, right| {
        order(serial_at(octets, *left)).cmp(&order(serial_at(octets, *right)))
    });
    places.shrink_to_fit();
    Ok(places)
}

/// Where `part` begins, which is a piece of `all`.
fn offset(all: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - all.as_ptr().addr()
}

fn serial_at(octets: &[u8], place: u32) -> &[u8] {
    let from = usize::try_from(place).expect("an offset fits in memory");
    Reader::new(&octets[from..]).next().map_or(&[], |serial| serial.number())
}

/// By size, then by value: any order does, as long as it is total.
fn order(serial: &[u8]) -> (usize, &[u8]) {
    (serial.len(), serial)
}

fn read_pem(octets: &[u8]) -> Result<Vec<Crl>, Wrong> {
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(octets) {
        let list = list.map_err(|error| format!("not a CRL in PEM: {error}"))?;
        lists.push(Crl::from_der(list.as_ref().to_vec())?);
    }
    if lists.is_empty() { Err("no CRL in it".to_owned()) } else { Ok(lists) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(serials: &[u64]) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::Issuer::new(parameters, key);
        let entry = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2026, 11, 2),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let parameters = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 11, 1),
            next_update: rcgen::date_time_ymd(2026, 12, 1),
            crl_number: rcgen::SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        parameters.signed_by(&issuer).unwrap().der().to_vec()
    }

    proptest! {
        #[test]
        fn arbitrary_octets_are_no_list_and_no_panic(
            octets in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let _ = Crl::read(&octets);
            let _ = Crl::read_all(&octets);
            let _ = Scope::read(&octets);
        }

        #[test]
        fn a_damaged_list_is_read_without_panic(
            changes in proptest::collection::vec((0..400_usize, any::<u8>()), 1..6),
            cut in 0..400_usize,
        ) {
            static LIST: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| list(&[3, 700]));
            let mut octets = LIST.clone();
            for (place, octet) in changes {
                let place = place % octets.len();
                octets[place] = octet;
            }
            if let Ok(crl) = Crl::read(&octets) {
                let _ = (crl.revoked(&[3]), crl.issuer_text());
            }
            octets.truncate(cut);
            let _ = Crl::read(&octets);
        }

        #[test]
        fn exactly_the_listed_serials_are_revoked(
            serials in proptest::collection::hash_set(any::<u64>(), 0..60),
            others in proptest::collection::vec(any::<u64>(), 0..20),
        ) {
            let crl = Crl::read(&list(&serials.iter().copied().collect::<Vec<_>>())).unwrap();
            for serial in serials.iter().chain(&others) {
                let octets = serial.to_be_bytes();
                let revoked = crl.revoked(der::without_zeros(&octets)).is_some();
                prop_assert_eq!(revoked, serials.contains(serial), "{}", serial);
            }
        }
    }
}
