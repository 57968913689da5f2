//! From a certificate to an anchor, outside a handshake.
//!
//! A handshake that refuses a certificate can only send an alert, and the peer's administrator
//! reads "handshake failure". Judged here, the same certificate gets a sentence and a record.
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::TrustAnchor;
use rustls::pki_types::UnixTime;
use webpki::EndEntityCert;
use webpki::KeyUsage;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;

use crate::domain::time::Timestamp;
use crate::infra::net::distinguished_name;
use crate::infra::net::test_authority;

/// What a certificate must be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A TLS client. `or_server`: one for servers only passes too (`mx.accept_server_certificates`).
    Client {
        /// See above.
        or_server: bool,
    },
    /// A TLS server.
    Server,
}

impl Purpose {
    /// The extended key usages of which one must be there, when the certificate names any.
    fn usages(self) -> &'static [KeyUsage] {
        const CLIENT: KeyUsage = KeyUsage::client_auth();
        const SERVER: KeyUsage = KeyUsage::server_auth();
        match self {
            Self::Client { or_server: false } => &[CLIENT],
            Self::Client { or_server: true } => &[CLIENT, SERVER],
            Self::Server => &[SERVER],
        }
    }
}

/// The path from `leaf` to one of `anchors`, both included, when chain, dates and purpose are
/// good at `now`. Names are not looked at: the trust list does that.
///
/// The rules are those of RFC 5280 §6.1, as the library that also serves handshakes has them. The
/// dates of an anchor do not count (RFC 5280 §6.1.1 d): whoever configured it trusts it.
///
/// # Errors
/// What is wrong, for people: expired since when, not yet valid, unknown issuer, other purpose.
pub fn verified_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let (rest, read) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| "not an X.509 certificate")?;
    if !rest.is_empty() {
        return Err("not one X.509 certificate: octets lie behind it".to_owned());
    }
    may_sign_handshakes(&read)?;
    let trusted: Vec<(TrustAnchor<'_>, &CertificateDer<'static>)> = anchors
        .iter()
        .filter_map(|anchor| Some((webpki::anchor_from_trusted_cert(anchor).ok()?, anchor)))
        .collect();
    let roots: Vec<TrustAnchor<'_>> = trusted.iter().map(|(root, _)| root.clone()).collect();
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| told(&error, &read, &[]))?;
    let mut first_failure = None;
    for usage in purpose.usages() {
        let verified = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &roots,
            intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(now.as_seconds())),
            *usage,
            None,
            None,
        );
        let path = match verified {
            Ok(path) => path,
            Err(error) => {
                first_failure.get_or_insert_with(|| told(&error, &read, intermediates));
                if matches!(error, webpki::Error::RequiredEkuNotFoundContext(_)) {
                    continue;
                }
                break;
            }
        };
        let anchor = trusted.iter().find(|(root, _)| root == path.anchor());
        let (_, anchor) = anchor.ok_or("its path ends at no anchor of ours")?;
        let between = path.intermediate_certificates().map(|issuer| issuer.der().into_owned());
        let mut whole = vec![leaf.clone().into_owned()];
        whole.extend(between);
        whole.push((*anchor).clone());
        refuse_tests_under_others(&whole, anchors)?;
        return Ok(whole);
    }
    Err(first_failure.unwrap_or_else(|| "for another use".to_owned()))
}

/// An authority of the TEST hierarchy counts only under anchors of that hierarchy, which must be
/// allowed by name: one that hangs under a real authority is no way into the trust space.
///
/// # Errors
/// The name of such an authority above the leaf of `path`.
pub fn refuse_tests_under_others(
    path: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
) -> Result<(), String> {
    let Some(name) = path.iter().skip(1).find_map(test_authority) else { return Ok(()) };
    match anchors.iter().any(|anchor| test_authority(anchor).is_some()) {
        true => Ok(()),
        false => Err(format!("issued under {name}, an authority of the TEST hierarchy")),
    }
}

/// RFC 5280 §4.2.1.3: who names key usages means these and no others. With ephemeral key exchange
/// the key of a certificate does nothing but sign, so without `digitalSignature` it is not for TLS
/// as spoken here. The library does not look.
fn may_sign_handshakes(read: &X509Certificate<'_>) -> Result<(), String> {
    match read.key_usage() {
        Ok(Some(usage)) if !usage.value.digital_signature() => {
            Err(format!("for another use ({}), it may not sign handshakes", usage.value))
        }
        Ok(_) => Ok(()),
        Err(_) => Err("its key usage cannot be read".to_owned()),
    }
}

/// The library's reason as a sentence about the certificate that it is about.
fn told(
    error: &webpki::Error,
    read: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
) -> String {
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            let own = seconds(read.validity().not_after.timestamp()) == not_after.as_secs();
            let whose = if own { String::new() } else { ended(not_after.as_secs(), intermediates) };
            format!("{whose}expired on {}", day(not_after.as_secs()))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!("not valid before {}", moment(not_before.as_secs()))
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => another_use(read),
        webpki::Error::UnknownIssuer
        | webpki::Error::CaUsedAsEndEntity
        | webpki::Error::InvalidSignatureForPublicKey => foreign(error, read),
        webpki::Error::UnsupportedCertVersion => {
            "not an X.509 version 3 certificate, so nobody can say what it is for".to_owned()
        }
        webpki::Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not known here".to_owned()
        }
        webpki::Error::NameConstraintViolation => {
            "its names are outside of what an authority above it may name".to_owned()
        }
        webpki::Error::PathLenConstraintViolated | webpki::Error::EndEntityUsedAsCa => {
            "issued by somebody who may not issue certificates".to_owned()
        }
        webpki::Error::UnsupportedSignatureAlgorithmContext(_) => {
            "signed with an algorithm that does not count here, such as SHA-1".to_owned()
        }
        other => format!("not usable: {other}"),
    }
}

/// No path to an anchor: the sentence says what the certificate itself shows of that.
fn foreign(error: &webpki::Error, read: &X509Certificate<'_>) -> String {
    let issuer = || {
        distinguished_name(read.issuer())
            .map_or_else(|_| "somebody without a readable name".to_owned(), |name| name.to_string())
    };
    if read.subject().as_raw() == read.issuer().as_raw() {
        return "self-signed, not under our anchors".to_owned();
    }
    match error {
        webpki::Error::CaUsedAsEndEntity => "the certificate of an authority".to_owned(),
        webpki::Error::InvalidSignatureForPublicKey => {
            format!("not signed by its issuer, {}, as that authority is known here", issuer())
        }
        _ => format!("not under our anchors: issued by {}", issuer()),
    }
}

fn another_use(read: &X509Certificate<'_>) -> String {
    match read.extended_key_usage() {
        Ok(Some(usage)) => format!("for another use ({})", uses(usage.value).join(", ")),
        // Then an authority above has the extension.
        _ => "for another use, as an authority above it says".to_owned(),
    }
}

/// The names of RFC 5280 §4.2.1.12.
fn uses(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = known.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned());
    named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect()
}

/// The subject of the authority that ended then.
fn ended(not_after: u64, intermediates: &[CertificateDer<'_>]) -> String {
    let named = intermediates.iter().find_map(|der| {
        let (_, read) = x509_parser::parse_x509_certificate(der).ok()?;
        let ended = seconds(read.validity().not_after.timestamp()) == not_after;
        ended.then(|| distinguished_name(read.subject()).ok()).flatten()
    });
    named.map_or_else(
        || "an authority above it ".to_owned(),
        |name| format!("the authority above it, {name}, "),
    )
}

/// Dates before 1970 are of no use to anybody and count as 1970.
fn seconds(moment: i64) -> u64 {
    u64::try_from(moment).unwrap_or(0)
}

fn moment(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// In UTC, as certificates count.
fn day(seconds: u64) -> String {
    moment(seconds).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::ExtendedKeyUsagePurpose as For;
    use rcgen::KeyUsagePurpose;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_300_000);
    const CLIENT: Purpose = Purpose::Client { or_server: false };

    /// An authority, perhaps under another one.
    struct Authority {
        issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
        certificate: CertificateDer<'static>,
    }

    fn parameters(name: &str, from_days: i64, to_days: i64) -> rcgen::CertificateParams {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let at = |days: i64| {
            let seconds = i64::try_from(NOW.as_seconds()).unwrap() + days * 86_400;
            let moment =
                std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap());
            moment.into()
        };
        parameters.not_before = at(from_days);
        parameters.not_after = at(to_days);
        parameters
    }

    fn authority(name: &str, above: Option<&Authority>, to_days: i64) -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = parameters(name, -100, to_days);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = match above {
            Some(above) => parameters.signed_by(&key, &above.issuer).unwrap(),
            None => parameters.self_signed(&key).unwrap(),
        };
        let certificate = certificate.der().clone();
        Authority { issuer: rcgen::Issuer::new(parameters, key), certificate }
    }

    fn leaf(of: &Authority, parameters: &rcgen::CertificateParams) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.signed_by(&key, &of.issuer).unwrap().der().clone()
    }

    fn good(purposes: &[For]) -> rcgen::CertificateParams {
        let mut parameters = parameters("mx.test", -10, 10);
        parameters.extended_key_usages = purposes.to_vec();
        parameters
    }

    #[test]
    fn a_path_has_the_leaf_the_authorities_between_and_the_anchor() {
        let root = authority("root", None, 100);
        let between = authority("between", Some(&root), 100);
        let other = authority("other", None, 100);
        let leaf = leaf(&between, &good(&[For::ClientAuth]));
        let anchors = [other.certificate.clone(), root.certificate.clone()];
        let sent = [between.certificate.clone()];
        let path = verified_path(&leaf, &sent, &anchors, CLIENT, NOW).unwrap();
        assert_eq!(path, [leaf.clone(), between.certificate.clone(), root.certificate]);

        // An authority that is itself an anchor ends the path.
        let path = verified_path(&leaf, &sent, &sent, CLIENT, NOW).unwrap();
        assert_eq!(path, [leaf.clone(), between.certificate]);

        let error = verified_path(&leaf, &[], &anchors, CLIENT, NOW).unwrap_err();
        assert_eq!(error, "not under our anchors: issued by CN=between");
        assert!(verified_path(&leaf, &sent, &[], CLIENT, NOW).is_err(), "no anchors, no path");
    }

    #[test]
    fn an_authority_of_the_test_hierarchy_is_no_way_under_a_real_anchor() {
        let root = authority("root", None, 100);
        let between = authority("TEST AC IGC-SANTE", Some(&root), 100);
        let leaf = leaf(&between, &good(&[For::ClientAuth]));
        let sent = [between.certificate.clone()];
        let error = verified_path(&leaf, &sent, &[root.certificate], CLIENT, NOW).unwrap_err();
        assert!(error.contains("TEST hierarchy"), "{error}");
        // As an anchor it was allowed when the anchors were read.
        assert!(verified_path(&leaf, &[], &sent, CLIENT, NOW).is_ok());
    }

    #[test]
    fn dates_are_told_with_the_certificate_that_they_belong_to() {
        let root = authority("root", None, 100);
        let ended = authority("Ended Authority", Some(&root), -2);
        let anchors = [root.certificate.clone()];
        let at = |leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>]| {
            verified_path(leaf, sent, &anchors, CLIENT, NOW).unwrap_err()
        };
        let expired = leaf(&root, &parameters("mx.test", -10, -1));
        assert_eq!(at(&expired, &[]), "expired on 2026-11-20");
        let early = leaf(&root, &parameters("mx.test", 1, 10));
        assert!(at(&early, &[]).starts_with("not valid before 2026-11-22T"), "{}", at(&early, &[]));
        let under = leaf(&ended, &good(&[]));
        assert_eq!(
            at(&under, &[ended.certificate]),
            "the authority above it, CN=ended authority, expired on 2026-11-19"
        );
    }

    #[test]
    fn a_certificate_for_another_use_is_told_so() {
        let root = authority("root", None, 100);
        let anchors = [root.certificate.clone()];
        let judged = |purposes: &[For], purpose| {
            verified_path(&leaf(&root, &good(purposes)), &[], &anchors, purpose, NOW).map(|_| ())
        };
        let lenient = Purpose::Client { or_server: true };
        let wrong = |uses: &str| Err(format!("for another use ({uses})"));
        for purpose in [CLIENT, lenient, Purpose::Server] {
            assert_eq!(judged(&[], purpose), Ok(()), "no extension: any use");
            assert_eq!(judged(&[For::ServerAuth, For::ClientAuth], purpose), Ok(()));
            assert_eq!(judged(&[For::EmailProtection], purpose), wrong("emailProtection"));
        }
        assert_eq!(judged(&[For::ServerAuth], lenient), Ok(()));
        assert_eq!(judged(&[For::ServerAuth], CLIENT), wrong("serverAuth"));
        assert_eq!(judged(&[For::ClientAuth], Purpose::Server), wrong("clientAuth"));
    }

    #[test]
    fn a_key_that_may_not_sign_is_not_for_tls() {
        let root = authority("root", None, 100);
        let anchors = [root.certificate.clone()];
        let judged = |usages: &[KeyUsagePurpose]| {
            let mut parameters = good(&[For::ClientAuth]);
            parameters.key_usages = usages.to_vec();
            verified_path(&leaf(&root, &parameters), &[], &anchors, CLIENT, NOW).map(|_| ())
        };
        assert_eq!(judged(&[KeyUsagePurpose::DigitalSignature]), Ok(()));
        let error = judged(&[KeyUsagePurpose::KeyEncipherment]).unwrap_err();
        assert!(error.starts_with("for another use ("), "{error}");
    }

    #[test]
    fn who_is_not_under_our_anchors_learns_why() {
        let root = authority("root", None, 100);
        let anchors = [root.certificate.clone()];
        let judged = |leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>]| {
            verified_path(leaf, sent, &anchors, CLIENT, NOW).unwrap_err()
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let alone = good(&[]).self_signed(&key).unwrap().der().clone();
        assert!(judged(&alone, &[]).starts_with("self-signed"));
        // As `openssl req -x509` makes them.
        let authority_alone = authority("mx.test", None, 10).certificate;
        assert!(judged(&authority_alone, &[]).starts_with("self-signed"));
        // The name of our authority, another key.
        let namesake = authority("root", None, 100);
        let forged = leaf(&namesake, &good(&[]));
        assert!(
            judged(&forged, &[]).starts_with("not signed by its issuer"),
            "{}",
            judged(&forged, &[])
        );
        assert!(judged(&forged, &[namesake.certificate]).starts_with("not signed by its issuer"));
        // A leaf that plays the authority.
        let key = rcgen::KeyPair::generate().unwrap();
        let host = good(&[]).signed_by(&key, &root.issuer).unwrap().der().clone();
        let host = Authority { issuer: rcgen::Issuer::new(good(&[]), key), certificate: host };
        let child = leaf(&host, &parameters("child.test", -1, 1));
        assert_eq!(
            judged(&child, &[host.certificate]),
            "issued by somebody who may not issue certificates"
        );
        assert!(judged(&CertificateDer::from(vec![0x30, 0x80]), &[]).contains("not an X.509"));
    }
}
