//! A certificate's names, as the trust list compares them.
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::AttributeTypeAndValue;
use x509_parser::x509::X509Name;

use crate::domain::certificate::CertificateFacts;
use crate::domain::operator::OperatorDn;
use crate::domain::time::Timestamp;
use crate::infra::net::NetError;

/// Who the leaf certificate names.
///
/// # Errors
/// [`NetError::Certificate`] when it is not one X.509 certificate, or a name in it cannot be
/// read without guessing.
pub fn certificate_facts(leaf: &CertificateDer<'_>) -> Result<CertificateFacts, NetError> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| NetError::Certificate(error.to_string()))?;
    if !rest.is_empty() {
        return Err(NetError::Certificate("bytes behind the certificate".to_owned()));
    }
    let serial = certificate.raw_serial();
    // DER puts a zero octet before a serial whose first bit is set; people do not write it.
    let serial = serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial);
    let validity = certificate.validity();
    Ok(CertificateFacts {
        subject: distinguished_name(certificate.subject())?,
        issuer: distinguished_name(certificate.issuer())?,
        serial: serial.iter().map(|octet| format!("{octet:02x}")).collect(),
        not_before: moment(validity.not_before.timestamp()),
        not_after: moment(validity.not_after.timestamp()),
    })
}

/// The hosts, addresses and mailboxes that a certificate names as its subject's (RFC 5280
/// §4.2.1.6), as texts; empty when there are none or they cannot be read.
pub fn certificate_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(octets) => {
            match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
                (Ok(octets), _) => Some(IpAddr::from(octets).to_string()),
                (_, Ok(octets)) => Some(IpAddr::from(octets).to_string()),
                _ => None,
            }
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

/// A name besides the subject that a certificate gives to software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host, in lower case.
    Dns(String),
    /// A mailbox; its domain in lower case, as it means the same in any (RFC 5280 §7.5).
    Email(String),
}

impl AlternativeName {
    /// A host.
    pub fn dns(host: &str) -> Self {
        Self::Dns(host.trim().to_ascii_lowercase())
    }

    /// A mailbox.
    pub fn email(mailbox: &str) -> Self {
        let mailbox = mailbox.trim();
        Self::Email(match mailbox.rsplit_once('@') {
            Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
            None => mailbox.to_owned(),
        })
    }
}

/// The hosts and mailboxes that a certificate names as its subject's, each with its kind: a host
/// is never taken for a mailbox. Names with control characters are left out.
pub fn alternative_names(leaf: &CertificateDer<'_>) -> Vec<AlternativeName> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let is_plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic());
    let named = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) if is_plain(host) => Some(AlternativeName::dns(host)),
        GeneralName::RFC822Name(text) if is_plain(text) => Some(AlternativeName::email(text)),
        _ => None,
    };
    names.value.general_names.iter().filter_map(named).collect()
}

/// Dates before 1970 are of no use to anybody and count as 1970.
fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0))
}

/// A name with the short attribute names that the trust list uses; any other attribute is
/// written as its dotted object identifier, so that it can never be taken for one of those.
///
/// # Errors
/// [`NetError::Certificate`] for a value that is no text or holds control characters: a NUL
/// inside a name has fooled comparisons before.
pub fn distinguished_name(name: &X509Name<'_>) -> Result<OperatorDn, NetError> {
    let mut pairs = Vec::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let value = text_of(attribute)
            .filter(|value| !value.chars().any(char::is_control))
            .ok_or_else(|| NetError::Certificate(format!("attribute {oid} is not a text")))?;
        pairs.push((short_name(&oid).to_owned(), value));
    }
    Ok(OperatorDn::new(pairs))
}

/// RFC 4514 §3: the short names in use.
fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        other => other,
    }
}

/// The value in whichever of the string types of RFC 5280 §4.1.2.4 the authority chose.
fn text_of(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::NumericString | Tag::Ia5String => {
            bytes.is_ascii().then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
        }
        // Nobody ever wrote real T.61; every implementation means Latin-1.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
            if rest.is_empty() { text } else { None }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(common_name: rcgen::DnValue) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CountryName, "FR");
        name.push(rcgen::DnType::StateOrProvinceName, "Paris (75)");
        name.push(rcgen::DnType::OrganizationName, "CHU  \"X\", site A");
        name.push(rcgen::DnType::OrganizationalUnitName, "318003502400041");
        name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 97]), "NTRFR-318003502");
        name.push(rcgen::DnType::CommonName, common_name);
        parameters.distinguished_name = name;
        parameters.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x00, 0xf0, 0x01]));
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_subject_equals_its_entry_in_the_list() {
        let peer = certificate_facts(&certificate("MX.chu-x.fr".into())).unwrap();
        let mut listed = OperatorDn::parse_list_form(
            "CN=mx.chu-x.fr,OU=318003502400041,O=CHU \"X\", site A,ST=Paris (75),C=FR",
        )
        .unwrap()
        .pairs()
        .to_vec();
        assert_ne!(peer.subject.pairs(), listed, "another attribute makes another name");
        listed.push(("2.5.4.97".to_owned(), "NTRFR-318003502".to_owned()));
        assert_eq!(peer.subject, OperatorDn::new(listed));
        assert_eq!(peer.issuer, peer.subject);
        assert_eq!(peer.serial, "f001");
    }

    #[test]
    fn older_string_types_are_read() {
        let accented = "hôpital.test";
        let bmp: Vec<u8> = accented.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let bmp = rcgen::string::BmpString::from_utf16be(bmp).unwrap();
        let peer = certificate_facts(&certificate(rcgen::DnValue::BmpString(bmp))).unwrap();
        assert!(peer.subject.to_string().contains(accented), "{}", peer.subject);
    }

    #[test]
    fn a_nul_in_a_name_makes_the_certificate_unreadable() {
        assert!(certificate_facts(&certificate("mx.test\0.evil.test".into())).is_err());
    }

    #[test]
    fn bytes_behind_a_certificate_are_refused() {
        let mut bytes = certificate("mx.test".into()).to_vec();
        bytes.push(0);
        assert!(certificate_facts(&CertificateDer::from(bytes)).is_err());
        assert!(certificate_facts(&CertificateDer::from(vec![0x30, 0x80])).is_err());
    }
}
