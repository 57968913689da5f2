//! What revocation needs of a certificate, read once: as the one asked about, and as an issuer.
use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::digest::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::CRLDistributionPoint;
use x509_parser::extensions::DistributionPointName;
use x509_parser::extensions::GeneralName;
use x509_parser::extensions::ParsedExtension;

use crate::domain::limits::REVOCATION_SOURCES_MAX;
use crate::domain::limits::REVOCATION_URL_OCTETS_MAX;
use crate::infra::net;
use crate::infra::revocation::der::PublicKey;
use crate::infra::revocation::der::Wrong;
use crate::infra::revocation::der::without_zeros;

/// id-ad-ocsp (RFC 5280 §4.2.2.1).
const ACCESS_OCSP: &str = "1.3.6.1.5.5.7.48.1";

/// A certificate, seen by revocation.
#[derive(Debug)]
pub(super) struct Card {
    /// For people.
    pub(super) text: String,
    /// Serial number, without zeros before it.
    pub(super) serial: Vec<u8>,
    /// The same as an INTEGER's content, as requests need it.
    pub(super) raw_serial: Vec<u8>,
    /// Names, as DER.
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) key: PublicKey,
    /// SHA-1, which is what OCSP names issuers by (RFC 6960 §4.1.1). It only finds; it proves
    /// nothing.
    pub(super) subject_sha1: [u8; 20],
    pub(super) key_sha1: [u8; 20],
    /// Is a CA's certificate.
    pub(super) authority: bool,
    /// May sign CRLs: RFC 5280 §6.3.3 (f) asks for it when there is a key usage at all.
    pub(super) signs_lists: bool,
    /// Names no distribution point at all.
    pub(super) no_points: bool,
    /// The distribution points that are complete, by their URI names: of those for some reasons
    /// only, or of another issuer, no single CRL says enough.
    pub(super) points: Vec<Vec<String>>,
    /// From where its CRL is fetched.
    pub(super) list_urls: Vec<String>,
    /// Who answers for it.
    pub(super) responder_urls: Vec<String>,
}

impl Card {
    pub(super) fn read(certificate: &[u8]) -> Result<Self, Wrong> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if !rest.is_empty() {
            return Err("octets behind the certificate".to_owned());
        }
        let key = PublicKey::read(parsed.public_key().raw)?;
        let subject = parsed.subject().as_raw().to_vec();
        let authority = matches!(parsed.basic_constraints(), Ok(Some(basic)) if basic.value.ca);
        let signs_lists = match parsed.key_usage() {
            Ok(Some(usage)) => usage.value.crl_sign(),
            Ok(None) => true,
            Err(_) => false,
        };
        let mut card = Self {
            text: text_of(&parsed),
            serial: without_zeros(parsed.raw_serial()).to_vec(),
            raw_serial: parsed.raw_serial().to_vec(),
            subject_sha1: sha1(&subject),
            key_sha1: sha1(&key.bits),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject,
            key,
            authority,
            signs_lists,
            no_points: true,
            points: Vec::new(),
            list_urls: Vec::new(),
            responder_urls: Vec::new(),
        };
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => {
                    card.no_points = false;
                    points.points.iter().for_each(|point| card.add_point(point));
                }
                ParsedExtension::AuthorityInfoAccess(access) => {
                    for access in &access.accessdescs {
                        if access.access_method.to_id_string() == ACCESS_OCSP
                            && let GeneralName::URI(url) = access.access_location
                        {
                            add_url(&mut card.responder_urls, url);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(card)
    }

    fn add_point(&mut self, point: &CRLDistributionPoint<'_>) {
        if point.reasons.is_some() || point.crl_issuer.is_some() {
            return;
        }
        let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
            return;
        };
        let mut uris = Vec::new();
        for name in names {
            if let GeneralName::URI(url) = name {
                uris.push((*url).to_owned());
                add_url(&mut self.list_urls, url);
            }
        }
        self.points.push(uris);
    }

    /// True when it says where to ask.
    pub(super) fn names_a_source(&self) -> bool {
        !(self.list_urls.is_empty() && self.responder_urls.is_empty())
    }
}

/// Plain HTTP only: what comes is signed, and HTTPS would need its own revocation (RFC 5280 §8).
/// LDAP is not asked.
fn add_url(urls: &mut Vec<String>, url: &str) {
    let http = url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let sane = url.len() <= REVOCATION_URL_OCTETS_MAX && url.bytes().all(|o| o.is_ascii_graphic());
    if http && sane && urls.len() < REVOCATION_SOURCES_MAX && !urls.iter().any(|known| known == url)
    {
        urls.push(url.to_owned());
    }
}

fn text_of(certificate: &X509Certificate<'_>) -> String {
    let subject = net::distinguished_name(certificate.subject())
        .map_or_else(|_| certificate.subject().to_string(), |name| name.to_string());
    let serial: String = without_zeros(certificate.raw_serial())
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("{subject} ({serial})")
}

pub(super) fn sha1(octets: &[u8]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().try_into().expect("SHA-1 has 20 octets")
}
