//! Where the signature is in a list, and what it says it signs (RFC 3275).
//!
//! No cryptography here: [`locate`] reads the form and refuses every form but the one that the
//! trust space publishes. What it returns is still a claim; `infra::trust` proves it.
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::domain::limits::TRUST_LIST_OCTETS_MAX;
use crate::proto::trust_list::BadTrustList;
use crate::proto::trust_list::NAMESPACE;
use crate::proto::trust_list::text::Reader;
use crate::proto::trust_list::text::Step;

/// Namespace of XML signatures.
pub const XMLDSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Exclusive XML canonicalisation, without comments.
pub const EXCLUSIVE_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
/// RSA with SHA-256 (RFC 4051 §2.3.2).
pub const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
/// The transform that leaves the signature itself out.
pub const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// The digest.
pub const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

/// Certificates inside one signature: the signer's, and perhaps those above it.
const CERTIFICATES_MAX: usize = 5;

/// What a list says about its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureForm {
    /// The octets of the `Signature` element in the document.
    pub span: Range<usize>,
    /// SHA-256 of the canonical document without that element, as the signature claims it.
    pub digest: Vec<u8>,
    /// Certificates in it, DER; at least one.
    pub certificates: Vec<Vec<u8>>,
}

/// Finds the one signature of a list: a child of the root, over the whole document, with
/// exactly the algorithms in use. Anything else is refused, two signatures included.
///
/// # Errors
/// [`BadTrustList`] says what is not of the published form.
pub fn locate(document: &[u8]) -> Result<SignatureForm, BadTrustList> {
    let mut reader = Reader::new(document, TRUST_LIST_OCTETS_MAX)?;
    reader.open(NAMESPACE, "ListeBlancheMSSante")?;
    let mut found: Option<SignatureForm> = None;
    loop {
        match reader.step()? {
            Step::Open(start) if reader.is(&start, XMLDSIG, "Signature") => {
                if reader.depth() != 2 {
                    return Err(reader.wrong("a Signature that is not a child of the root"));
                }
                if found.is_some() {
                    return Err(reader.wrong("a second Signature"));
                }
                only_ids(&reader, &reader.attributes(&start)?)?;
                let begin = reader.begun();
                let (digest, certificates) = signature(&mut reader)?;
                let span = begin..reader.place();
                check_span(&reader, document, &span)?;
                found = Some(SignatureForm { span, digest, certificates });
            }
            Step::End => break,
            Step::Open(_) | Step::Close | Step::Text(_) => {}
        }
    }
    found.ok_or_else(|| reader.wrong("no Signature"))
}

/// The rest of the open `Signature`.
fn signature(reader: &mut Reader<'_>) -> Result<(Vec<u8>, Vec<Vec<u8>>), BadTrustList> {
    let attributes = reader.open_with(XMLDSIG, "SignedInfo")?;
    only_ids(reader, &attributes)?;
    algorithm(reader, "CanonicalizationMethod", EXCLUSIVE_C14N)?;
    algorithm(reader, "SignatureMethod", RSA_SHA256)?;
    let attributes = reader.open_with(XMLDSIG, "Reference")?;
    match attributes.iter().find(|(name, _)| name == "URI") {
        Some((_, uri)) if uri.is_empty() => {}
        _ => return Err(reader.wrong("a Reference to something else than the document")),
    }
    reader.open(XMLDSIG, "Transforms")?;
    algorithm(reader, "Transform", ENVELOPED)?;
    algorithm(reader, "Transform", EXCLUSIVE_C14N)?;
    reader.close()?;
    algorithm(reader, "DigestMethod", SHA256)?;
    let digest = reader.element(XMLDSIG, "DigestValue")?;
    let digest = decoded(reader, &digest)?;
    reader.close()?;
    // A second Reference would fail here.
    reader.close()?;
    let attributes = reader.open_with(XMLDSIG, "SignatureValue")?;
    only_ids(reader, &attributes)?;
    reader.text()?;
    let certificates = key_info(reader)?;
    reader.close()?;
    Ok((digest, certificates))
}

/// Only certificates count. Names and issuers that stand beside them are read over: the chain
/// and the configured names decide who signed.
fn key_info(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, BadTrustList> {
    let attributes = reader.open_with(XMLDSIG, "KeyInfo")?;
    only_ids(reader, &attributes)?;
    let outside = reader.depth();
    let mut certificates = Vec::new();
    while reader.depth() >= outside {
        match reader.step()? {
            Step::Open(start) if reader.is(&start, XMLDSIG, "X509Certificate") => {
                if certificates.len() == CERTIFICATES_MAX {
                    return Err(reader.wrong("more certificates than any signature has"));
                }
                let text = reader.text()?;
                certificates.push(decoded(reader, &text)?);
            }
            Step::Open(start) if reader.is(&start, XMLDSIG, "Signature") => {
                return Err(reader.wrong("a Signature inside a Signature"));
            }
            Step::Open(_) | Step::Close | Step::Text(_) => {}
            Step::End => return Err(reader.wrong("the document ends inside a Signature")),
        }
    }
    if certificates.is_empty() {
        return Err(reader.wrong("a Signature without X509Certificate"));
    }
    Ok(certificates)
}

/// An element whose only content is its `Algorithm`, which must be the expected one. A child,
/// such as `InclusiveNamespaces`, would change what is signed and is refused.
fn algorithm(reader: &mut Reader<'_>, name: &str, expected: &str) -> Result<(), BadTrustList> {
    let attributes = reader.open_with(XMLDSIG, name)?;
    match attributes.as_slice() {
        [(attribute, value)] if attribute == "Algorithm" && value == expected => reader.close(),
        _ => Err(reader.wrong(format!("{name} is not {expected}"))),
    }
}

fn only_ids(reader: &Reader<'_>, attributes: &[(String, String)]) -> Result<(), BadTrustList> {
    if attributes.iter().all(|(name, _)| name == "Id") {
        return Ok(());
    }
    Err(reader.wrong("an attribute that signatures do not have"))
}

/// The generator in use breaks lines with `&#13;` and LF.
fn decoded(reader: &Reader<'_>, text: &str) -> Result<Vec<u8>, BadTrustList> {
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).map_err(|_| reader.wrong("bad base64"))
}

/// What will be cut out must be one whole element, in any version of the XML reader.
fn check_span(
    reader: &Reader<'_>,
    document: &[u8],
    span: &Range<usize>,
) -> Result<(), BadTrustList> {
    match document.get(span.clone()) {
        Some([b'<', .., b'>']) => Ok(()),
        _ => Err(reader.wrong("the Signature element cannot be cut out")),
    }
}
