//! Makes certificates: the two authorities, and leaves below them.
use std::time::Duration;

use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SanType;

use crate::demo::pki::files::PemPair;
use crate::demo::pki::files::write;
use crate::domain::time::Timestamp;

/// Like the real authorities, which end in 2033.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3_653 * 86_400);
/// Clocks differ; a certificate of this second would not be valid for a peer yet.
pub(super) const BACKDATED: Duration = Duration::from_secs(3_600);

/// What a leaf certificate shall say.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// Subject, in certificate order (C first).
    pub subject: &'a [(DnType, &'a str)],
    /// Alternative names: addresses, hosts, or mail addresses.
    pub names: &'a [&'a str],
    /// What it is for.
    pub purposes: &'a [ExtendedKeyUsagePurpose],
    /// RSA-2048 instead of P-256.
    pub rsa: bool,
    /// From when.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

pub(super) fn make_authorities(
    root_files: &PemPair,
    authority_files: &PemPair,
    now: Timestamp,
) -> Result<(), anyhow::Error> {
    let root_key = KeyPair::generate()?;
    let root = authority("DEMO AC RACINE IGC-SANTE ELEMENTAIRE", 1, now)?;
    let root_pem = root.self_signed(&root_key)?.pem();
    let root_issuer = rcgen::Issuer::from_params(&root, &root_key);
    let key = KeyPair::generate()?;
    let intermediate = authority("DEMO AC IGC-SANTE ELEMENTAIRE ORGANISATIONS", 0, now)?;
    let pem = intermediate.signed_by(&key, &root_issuer)?.pem();
    write(&root_files.key, &root_key.serialize_pem(), true)?;
    write(&authority_files.key, &key.serialize_pem(), true)?;
    write(&authority_files.certificate, &pem, false)?;
    write(&root_files.certificate, &root_pem, false)
}

fn authority(
    common_name: &str,
    below: u8,
    now: Timestamp,
) -> Result<CertificateParams, anyhow::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "FR");
    name.push(DnType::OrganizationName, "VAGUEMESTRE DEMO");
    name.push(DnType::OrganizationalUnitName, "IGC-SANTE DEMO");
    name.push(DnType::CommonName, common_name);
    parameters.distinguished_name = name;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(below));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut parameters, earlier(now, BACKDATED), now.after(AUTHORITY_VALIDITY));
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

pub(super) fn make(
    authority: &rcgen::Issuer<'static, KeyPair>,
    authority_pem: &str,
    leaf: &Leaf<'_>,
    files: &PemPair,
) -> Result<(), anyhow::Error> {
    let key = if leaf.rsa {
        KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?
    } else {
        KeyPair::generate()?
    };
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.subject_alt_names =
        leaf.names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
    let mut subject = rcgen::DistinguishedName::new();
    for (attribute, value) in leaf.subject {
        subject.push(attribute.clone(), *value);
    }
    parameters.distinguished_name = subject;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if leaf.purposes.contains(&ExtendedKeyUsagePurpose::EmailProtection) {
        parameters.key_usages.push(KeyUsagePurpose::ContentCommitment);
    }
    parameters.extended_key_usages = leaf.purposes.to_vec();
    set_validity(&mut parameters, leaf.not_before, leaf.not_after);
    parameters.use_authority_key_identifier_extension = true;
    let pem = parameters.signed_by(&key, authority)?.pem();
    write(&files.key, &key.serialize_pem(), true)?;
    write(&files.certificate, &(pem + authority_pem), false)
}

fn alternative_name(name: &str) -> Result<SanType, anyhow::Error> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    if name.contains('@') {
        return Ok(SanType::Rfc822Name(name.try_into()?));
    }
    Ok(SanType::DnsName(name.try_into()?))
}

/// rcgen counts in a date type of its own; seconds since the epoch say the same.
fn set_validity(parameters: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(from.as_seconds());
    parameters.not_after = epoch + Duration::from_secs(until.as_seconds());
}

pub(super) fn earlier(moment: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(moment.as_millis().saturating_sub(by))
}
