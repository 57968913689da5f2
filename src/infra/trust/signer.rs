//! Whose signature counts: a certificate that chains to the anchors and has the right name.
//!
//! Never by fingerprint: the signer's certificate changes every three years, and the firm in
//! its subject changes with the contract.
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::TrustAnchor;
use rustls::pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::domain::time::Timestamp;
use crate::infra::net::refuse_tests_under_others;
use crate::infra::trust::SignerRule;
use crate::infra::trust::TrustError;

/// The signer of a list, proven.
pub(super) struct Signer<'a> {
    /// Its certificate, DER.
    pub(super) certificate: &'a [u8],
    /// From it to the anchor, both included.
    pub(super) path: Vec<CertificateDer<'static>>,
    /// True when it had expired and the operator takes it all the same.
    pub(super) expired: bool,
}

/// Picks the signer among the certificates of a signature and proves that it may sign.
pub(super) fn check<'a>(
    certificates: &'a [Vec<u8>],
    rule: &SignerRule,
    anchors: &[CertificateDer<'static>],
    accept_expired: bool,
    now: Timestamp,
) -> Result<Signer<'a>, TrustError> {
    if rule.common_name.is_none() && rule.email.is_none() {
        return Err(wrong("no signer is configured, so nobody may sign"));
    }
    // During a rotation a publisher may put the old certificate beside the new one. Which of them
    // comes first must not matter; its key must have made the signature in any case.
    let mut refusal = None;
    for certificate in certificates.iter().filter(|certificate| is_named(certificate, rule)) {
        match prove(certificate, certificates, anchors, false, now) {
            Ok(signer) => return Ok(signer),
            Err(error) => refusal = refusal.or(Some((certificate, error))),
        }
    }
    let (certificate, error) =
        refusal.ok_or_else(|| wrong("no certificate in it has the configured signer's name"))?;
    if accept_expired {
        return prove(certificate, certificates, anchors, true, now);
    }
    Err(error)
}

fn prove<'a>(
    certificate: &'a [u8],
    certificates: &'a [Vec<u8>],
    anchors: &[CertificateDer<'static>],
    accept_expired: bool,
    now: Timestamp,
) -> Result<Signer<'a>, TrustError> {
    let leaf = CertificateDer::from(certificate);
    let others: Vec<CertificateDer<'_>> = certificates
        .iter()
        .filter(|other| other.as_slice() != certificate)
        .map(|other| CertificateDer::from(other.as_slice()))
        .collect();
    match path(&leaf, &others, anchors, now) {
        Ok(path) => {
            refuse_tests_under_others(&path, anchors).map_err(wrong)?;
            Ok(Signer { certificate, path, expired: false })
        }
        Err(webpki::Error::CertExpired { .. }) => {
            let ended = end_of(&leaf).filter(|end| *end < now);
            let ended =
                ended.ok_or_else(|| wrong("a certificate above the signer's has expired"))?;
            if !accept_expired {
                return Err(wrong(format!(
                    "the signer's certificate has expired on {ended}; \
                     trust.accept_expired_signer takes it all the same"
                )));
            }
            // Whatever else may be wrong with it is still looked for.
            let path = path(&leaf, &others, anchors, ended).map_err(|error| unchained(&error))?;
            refuse_tests_under_others(&path, anchors).map_err(wrong)?;
            Ok(Signer { certificate, path, expired: true })
        }
        Err(error) => Err(unchained(&error)),
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    u64::try_from(seconds).ok().map(Timestamp::from_seconds)
}

fn wrong(reason: impl Into<String>) -> TrustError {
    TrustError::Signature(reason.into())
}

fn unchained(error: &webpki::Error) -> TrustError {
    wrong(format!("the signer's certificate: {error}"))
}

/// True when the subject CN or an rfc822 alternative name is the configured one, and the
/// certificate is for signatures.
fn is_named(certificate: &[u8], rule: &SignerRule) -> bool {
    let Ok((rest, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    rest.is_empty()
        && may_sign(&certificate)
        && (has_common_name(&certificate, rule) || has_email(&certificate, rule))
}

fn has_common_name(certificate: &X509Certificate<'_>, rule: &SignerRule) -> bool {
    let mut names = certificate.subject().iter_common_name().map(|name| name.as_str());
    match (&rule.common_name, names.next(), names.next()) {
        // Of two common names nobody can say which one the authority checked.
        (Some(wanted), Some(Ok(name)), None) => name.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

fn has_email(certificate: &X509Certificate<'_>, rule: &SignerRule) -> bool {
    let (Some(wanted), Ok(Some(names))) = (&rule.email, certificate.subject_alternative_name())
    else {
        return false;
    };
    names.value.general_names.iter().any(
        |name| matches!(name, GeneralName::RFC822Name(email) if email.eq_ignore_ascii_case(wanted)),
    )
}

/// RFC 5280 §4.2.1.3: a key usage, if there is one, must allow signatures. Extended usages are
/// not asked: which of them the next signer will have, nobody has published.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.digital_signature() || usage.value.non_repudiation(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// The way from the leaf to an anchor, both included, good at `now`.
fn path(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, webpki::Error> {
    let trusted: Vec<TrustAnchor<'_>> =
        anchors.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<_, _>>()?;
    let end_entity = webpki::EndEntityCert::try_from(leaf)?;
    let found = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &trusted,
        others,
        UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis())),
        AnyPurpose,
        None,
        None,
    )?;
    let place = trusted.iter().position(|anchor| anchor == found.anchor());
    let anchor = place.map(|place| anchors[place].clone()).ok_or(webpki::Error::UnknownIssuer)?;
    let between = found.intermediate_certificates().map(|between| between.der().into_owned());
    Ok(std::iter::once(leaf.clone().into_owned()).chain(between).chain([anchor]).collect())
}

/// See [`may_sign`].
struct AnyPurpose;

impl webpki::ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(
        &self,
        mut purposes: webpki::KeyPurposeIdIter<'_, '_>,
    ) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(|_| ()))
    }
}
