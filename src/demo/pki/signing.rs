//! The enveloped XML signature of the demonstration's list (RFC 3275).
use anyhow::Context;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;

use crate::proto::trust_list::signature as form;
use crate::proto::trust_list::signature::XMLDSIG;

/// Signs a canonical list document with any key and certificate.
///
/// The text is canonical XML already, and so is the `SignedInfo` below once its namespace is
/// written on it, so no canonicaliser is needed here; the one that verifies is another's.
///
/// # Errors
/// When the key refuses, or the text has no end tag of a list.
pub fn sign(
    canonical: &str,
    key: &RsaKeyPair,
    certificate: &CertificateDer<'_>,
) -> Result<Vec<u8>, anyhow::Error> {
    let (head, tail) = canonical
        .rfind("</")
        .map(|place| canonical.split_at(place))
        .context("the document has no end tag")?;
    let digest = BASE64.encode(digest(&SHA256, canonical.as_bytes()));
    let signed_info = signed_info(&digest);
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed_info.as_bytes(), &mut signature)
        .context("the list's signature")?;
    let in_place = signed_info.replacen(&format!(" xmlns=\"{XMLDSIG}\""), "", 1);
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{head}<Signature xmlns=\"{XMLDSIG}\">{in_place}\
         <SignatureValue>{}</SignatureValue><KeyInfo><X509Data><X509Certificate>{}\
         </X509Certificate></X509Data></KeyInfo></Signature>{tail}",
        BASE64.encode(&signature),
        BASE64.encode(certificate),
    )
    .into_bytes())
}

/// The canonical form of what is signed (RFC 3275 §4.3).
fn signed_info(digest: &str) -> String {
    format!(
        "<SignedInfo xmlns=\"{XMLDSIG}\">\
         <CanonicalizationMethod Algorithm=\"{}\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{}\"></SignatureMethod>\
         <Reference URI=\"\"><Transforms>\
         <Transform Algorithm=\"{}\"></Transform><Transform Algorithm=\"{}\"></Transform>\
         </Transforms><DigestMethod Algorithm=\"{}\"></DigestMethod>\
         <DigestValue>{digest}</DigestValue></Reference></SignedInfo>",
        form::EXCLUSIVE_C14N,
        form::RSA_SHA256,
        form::ENVELOPED,
        form::EXCLUSIVE_C14N,
        form::SHA256,
    )
}
