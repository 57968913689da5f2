//! Cryptographic Message Syntax (RFC 5652 §5), by OpenSSL. What it does not tell (how many
//! signers, by which digest, with which certificates) is read from its own encoding first.
use openssl::asn1::Asn1StringRef;
use openssl::cms::CMSOptions;
use openssl::cms::CmsContentInfo;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::X509PurposeId;
use openssl::x509::X509Ref;
use openssl::x509::X509StoreContext;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::Class;
use x509_parser::asn1_rs::FromDer;
use x509_parser::asn1_rs::Tag;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::keys::smime::SmimeAnchors;
use crate::infra::keys::smime::SmimeSigner;
use crate::infra::keys::smime::SmimeVerdict;

/// Contents of object identifiers: signed-data and data (RFC 5652 §4, §5.1).
const SIGNED_DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2];
const DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1];
/// SHA-256, SHA-384 and SHA-512 (RFC 5754 §2) begin with this, and end with 1, 2 or 3.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
/// 112 bits: RSA of 2048 bits and more, no SHA-1 in the chain.
const SECURITY_LEVEL: i32 = 2;

type Read<T> = Result<T, &'static str>;

pub(super) fn verify_detached(
    signed_part: &[u8],
    signature: &[u8],
    anchors: &SmimeAnchors,
    now: Timestamp,
) -> SmimeVerdict {
    let verdict = || {
        if signature.len() > limits::SMIME_SIGNATURE_OCTETS_MAX {
            return Err("it is larger than any signature");
        }
        let (mut cms, form) = read(signature)?;
        // OpenSSL could look at the other content instead of what the letter shows.
        if form.holds_content {
            return Err("it holds a content of its own");
        }
        let signer = form.signer(&mut cms, Some(signed_part), None)?;
        Ok(form.judge(&signer, anchors, now))
    };
    verdict().unwrap_or_else(SmimeVerdict::Bad)
}

pub(super) fn open_signed(
    message: &[u8],
    anchors: &SmimeAnchors,
    now: Timestamp,
) -> (Option<Vec<u8>>, SmimeVerdict) {
    let opened = || {
        if message.len() > limits::SMIME_MESSAGE_OCTETS_MAX {
            return Err("it is larger than any letter");
        }
        let (mut cms, form) = read(message)?;
        if !form.holds_content {
            return Err("it holds no content");
        }
        let mut content = Vec::new();
        let signer = form.signer(&mut cms, None, Some(&mut content))?;
        Ok((content, form.judge(&signer, anchors, now)))
    };
    match opened() {
        Ok((content, verdict)) => (Some(content), verdict),
        Err(reason) => (None, SmimeVerdict::Bad(reason)),
    }
}

/// What OpenSSL read, and what it does not tell of it.
fn read(octets: &[u8]) -> Read<(CmsContentInfo, Form)> {
    const UNREADABLE: &str = "not a signature of S/MIME";
    let cms = CmsContentInfo::from_der(octets).map_err(|_| UNREADABLE)?;
    // Its own encoding has one form only, whatever was sent.
    let der = cms.to_der().map_err(|_| UNREADABLE)?;
    let form = Form::of(&der)?;
    Ok((cms, form))
}

struct Form {
    holds_content: bool,
    certificates: Vec<X509>,
}

impl Form {
    fn of(der: &[u8]) -> Read<Self> {
        const UNREADABLE: &str = "not signed data of S/MIME";
        let [kind, inside] = children(der).and_then(exactly).ok_or(UNREADABLE)?;
        if kind.data != SIGNED_DATA {
            return Err(UNREADABLE);
        }
        let mut parts = children(inside.data).ok_or(UNREADABLE)?.into_iter();
        let (_version, _digests) = (parts.next(), parts.next());
        let content = parts.next().ok_or(UNREADABLE)?;
        let content = elements(content.data).ok_or(UNREADABLE)?;
        if content.first().is_none_or(|kind| kind.data != DATA) {
            return Err("what it signs is no letter");
        }
        let mut certificates = Vec::new();
        let mut signers = Vec::new();
        for part in parts {
            match (part.class(), part.tag().0) {
                (Class::ContextSpecific, 0) => {
                    certificates = elements(part.data).ok_or(UNREADABLE)?;
                }
                // Lists of revoked certificates are fetched by who wants them.
                (Class::ContextSpecific, 1) => {}
                _ => signers = elements(part.data).ok_or(UNREADABLE)?,
            }
        }
        if certificates.len() > limits::SMIME_CERTIFICATES_MAX {
            return Err("it brings too many certificates");
        }
        let [signer] = signers.as_slice() else { return Err("it has not exactly one signer") };
        let digest = elements(signer.data).and_then(|parts| parts.into_iter().nth(2));
        let digest = digest.and_then(|digest| elements(digest.data)?.into_iter().next());
        let is_sha2 = digest.is_some_and(|digest| {
            digest.data.strip_prefix(SHA2).is_some_and(|last| matches!(last, [1..=3]))
        });
        if !is_sha2 {
            return Err("it was made by a digest that is no longer trusted");
        }
        let certificates: Result<Vec<X509>, _> = certificates
            .into_iter()
            .filter(|choice| choice.tag() == Tag::Sequence)
            .map(|choice| X509::from_der(choice.whole))
            .collect();
        let certificates = certificates.map_err(|_| "it brings a certificate that is none")?;
        Ok(Self { holds_content: content.len() > 1, certificates })
    }

    /// The certificate that the signature is by; its chain is not looked at here. OpenSSL does not
    /// say which one it took, so each is offered alone: those that are not the signer's are turned
    /// down before anything is computed.
    fn signer(
        &self,
        cms: &mut CmsContentInfo,
        detached: Option<&[u8]>,
        mut content: Option<&mut Vec<u8>>,
    ) -> Read<X509> {
        let only_these =
            CMSOptions::NOINTERN | CMSOptions::NO_SIGNER_CERT_VERIFY | CMSOptions::BINARY;
        for certificate in &self.certificates {
            let mut alone = Stack::new().map_err(|_| "OpenSSL has no memory")?;
            alone.push(certificate.clone()).map_err(|_| "OpenSSL has no memory")?;
            let output = content.as_deref_mut();
            if cms.verify(Some(&alone), None, detached, output, only_these).is_ok() {
                return Ok(certificate.clone());
            }
        }
        Err(match self.certificates.is_empty() {
            true => "it does not bring its certificate",
            false => "it does not match",
        })
    }

    /// Whether an anchor vouches for it, now, for mail.
    fn judge(&self, signer: &X509, anchors: &SmimeAnchors, now: Timestamp) -> SmimeVerdict {
        let mut shown = SmimeSigner {
            subject: subject(signer),
            addresses: addresses(signer),
            certificate: signer.to_der().unwrap_or_default(),
            path: Vec::new(),
        };
        let chain = || {
            let mut store = X509StoreBuilder::new()?;
            for anchor in &anchors.certificates {
                store.add_cert(anchor.clone())?;
            }
            let mut wanted = X509VerifyParam::new()?;
            wanted.set_purpose(X509PurposeId::SMIME_SIGN)?;
            wanted.set_time(i64::try_from(now.as_seconds()).unwrap_or(i64::MAX));
            wanted.set_auth_level(SECURITY_LEVEL);
            store.set_param(&wanted)?;
            let store = store.build();
            let mut others = Stack::new()?;
            for certificate in &self.certificates {
                others.push(certificate.clone())?;
            }
            X509StoreContext::new()?.init(&store, signer, &others, |context| {
                let vouched = context.verify_cert()?;
                let path = context.chain().filter(|_| vouched).into_iter().flatten();
                let path: Result<Vec<Vec<u8>>, _> = path.map(X509Ref::to_der).collect();
                Ok((vouched, context.error().error_string(), path?))
            })
        };
        match chain() {
            Ok((true, _, path)) => {
                shown.path = path;
                SmimeVerdict::Good(shown)
            }
            Ok((false, reason, _)) => SmimeVerdict::Untrusted(shown, reason.to_owned()),
            Err(_) => SmimeVerdict::Untrusted(shown, "its chain could not be looked at".to_owned()),
        }
    }
}

fn addresses(certificate: &X509Ref) -> Vec<Address> {
    let named = certificate.subject_alt_names();
    let named: Vec<&str> = named.iter().flatten().filter_map(|name| name.email()).collect();
    let mut found: Vec<Address> =
        named.iter().filter_map(|address| Address::parse(address).ok()).collect();
    // RFC 8550 §3: of old, the address stood in the subject.
    if named.is_empty() {
        let legacy = certificate.subject_name().entries_by_nid(Nid::PKCS9_EMAILADDRESS);
        let legacy = legacy.filter_map(|entry| text(entry.data()));
        found.extend(legacy.filter_map(|address| Address::parse(&address).ok()));
    }
    found
}

fn subject(certificate: &X509Ref) -> String {
    let name = certificate.subject_name();
    let first = |nid| name.entries_by_nid(nid).next().and_then(|entry| text(entry.data()));
    let shown = first(Nid::COMMONNAME).or_else(|| first(Nid::ORGANIZATIONNAME)).unwrap_or_default();
    shown
        .chars()
        .filter(|sign| !sign.is_control())
        .take(limits::OPENPGP_REASON_OCTETS_MAX)
        .collect()
}

fn text(string: &Asn1StringRef) -> Option<String> {
    string.to_string().ok()
}

/// One element of DER: class and number, contents, and all of it.
struct Element<'a> {
    class: Class,
    tag: Tag,
    data: &'a [u8],
    whole: &'a [u8],
}

impl Element<'_> {
    fn class(&self) -> Class {
        self.class
    }

    fn tag(&self) -> Tag {
        self.tag
    }
}

/// All elements, one behind the other. `None` where they do not fit.
fn elements(mut octets: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let (rest, any) = Any::from_der(octets).ok()?;
        let whole = octets.get(..octets.len() - rest.len())?;
        found.push(Element { class: any.class(), tag: any.tag(), data: any.data, whole });
        octets = rest;
    }
    Some(found)
}

/// The elements inside the only element.
fn children(octets: &[u8]) -> Option<Vec<Element<'_>>> {
    let [only] = exactly(elements(octets)?)?;
    elements(only.data)
}

fn exactly<const N: usize>(elements: Vec<Element<'_>>) -> Option<[Element<'_>; N]> {
    elements.try_into().ok()
}
