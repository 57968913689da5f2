//! From a signed document to the very bytes that the signature covers.
//!
//! Signature wrapping works when one reader checks a signature and another one reads the data.
//! Here nobody reads the document after the check: the caller gets the canonical bytes whose
//! digest stands in the signed `SignedInfo`, and parses those.
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use bergshamra::DsigContext;
use bergshamra::KeysManager;
use bergshamra::VerifyResult;
use bergshamra::c14n::C14nMode;
use rustls::pki_types::CertificateDer;

use crate::domain::certificate::CertificateFacts;
use crate::domain::time::Timestamp;
use crate::infra::net::certificate_facts;
use crate::infra::trust::SignerRule;
use crate::infra::trust::TrustError;
use crate::infra::trust::signer;
use crate::proto::trust_list::signature;
use crate::proto::trust_list::signature::SignatureForm;

/// A list whose signature is good.
pub struct Verified {
    /// Its canonical octets without the signature: what was signed, and all that may be read.
    pub bytes: Vec<u8>,
    /// The signer's certificate, those between, and the anchor: whose revocation is to be asked.
    pub signer_path: Vec<CertificateDer<'static>>,
    /// What the signer's certificate says.
    pub signer: CertificateFacts,
    /// True when that certificate has expired and was taken all the same.
    pub signer_expired: bool,
}

/// [`verified`] for somebody who wants the octets alone and takes no expired signer.
///
/// # Errors
/// The same as [`verified`].
pub fn verified_bytes(
    document: &[u8],
    rule: &SignerRule,
    anchors: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<Vec<u8>, TrustError> {
    verified(document, rule, anchors, false, now).map(|verified| verified.bytes)
}

/// Proves a signed list.
///
/// Five steps, each of which must hold: the form is the published one, with one signature over
/// the whole document; the embedded certificate is the configured signer's and chains to the
/// anchors at `now`; its key made the signature over `SignedInfo`; the document without the
/// signature, made canonical here, has the digest that stands there; only those bytes leave.
/// Revocation is the sixth step, and the caller's, because it may have to ask somebody.
///
/// # Errors
/// [`TrustError::Signature`] with the step that failed.
pub fn verified(
    document: &[u8],
    rule: &SignerRule,
    anchors: &[CertificateDer<'static>],
    accept_expired: bool,
    now: Timestamp,
) -> Result<Verified, TrustError> {
    let form = signature::locate(document).map_err(|error| wrong(error.to_string()))?;
    let signer = signer::check(&form.certificates, rule, anchors, accept_expired, now)?;
    let text = std::str::from_utf8(document).map_err(|_| wrong("not UTF-8"))?;
    check_signature(text, signer.certificate)?;
    let bytes = canonical_without_signature(text, &form)?;
    if digest(&SHA256, &bytes).as_ref() != form.digest {
        return Err(wrong("the digest of the data is not the signed one"));
    }
    let facts = certificate_facts(&CertificateDer::from(signer.certificate))
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Verified { bytes, signer_path: signer.path, signer: facts, signer_expired: signer.expired })
}

fn wrong(reason: impl Into<String>) -> TrustError {
    TrustError::Signature(reason.into())
}

/// The signature over `SignedInfo`, with this key and no other: whatever else `KeyInfo` holds
/// is not looked at. The certificate's dates were checked with its chain.
fn check_signature(text: &str, certificate: &[u8]) -> Result<(), TrustError> {
    let failed = |error: bergshamra::Error| wrong(error.to_string());
    let mut keys = KeysManager::new();
    keys.add_key(bergshamra::keys::loader::load_x509_cert_der(certificate).map_err(failed)?);
    let context = DsigContext::new(keys)
        .with_trusted_keys_only(true)
        .with_strict_verification(true)
        .with_require_reference_digests(true)
        .with_skip_time_checks(true);
    match bergshamra::verify(&context, text).map_err(failed)? {
        VerifyResult::Valid { references, .. } => match references.as_slice() {
            [one] if one.uri.is_empty() && one.digest_verified => Ok(()),
            _ => Err(wrong("it does not cover the whole document, once")),
        },
        VerifyResult::Invalid { reason } => Err(wrong(reason)),
    }
}

/// The enveloped-signature transform, then exclusive canonicalisation.
fn canonical_without_signature(text: &str, form: &SignatureForm) -> Result<Vec<u8>, TrustError> {
    let (head, tail) = text
        .get(..form.span.start)
        .zip(text.get(form.span.end..))
        .ok_or_else(|| wrong("the Signature element cannot be cut out"))?;
    let rest = [head, tail].concat();
    let prefixes: [&str; 0] = [];
    bergshamra::c14n::canonicalize(&rest, C14nMode::Exclusive, None, &prefixes)
        .map_err(|error| wrong(error.to_string()))
}
