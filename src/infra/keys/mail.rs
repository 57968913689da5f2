//! Messages that other programs read and write: PGP/MIME and inline OpenPGP (RFC 9580 §10.3,
//! RFC 3156). What lies at rest is another matter, and narrower: see `pgp`.
//!
//! What comes from outside is hostile until proven otherwise: nothing of it is returned before its
//! integrity is known, and its packets, depth and size are bounded.
use std::io::Read;
use std::io::Write;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::SKESK;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::DecryptionHelper;
use sequoia_openpgp::parse::stream::DecryptorBuilder;
use sequoia_openpgp::parse::stream::DetachedVerifierBuilder;
use sequoia_openpgp::parse::stream::MessageLayer;
use sequoia_openpgp::parse::stream::MessageStructure;
use sequoia_openpgp::parse::stream::VerificationError;
use sequoia_openpgp::parse::stream::VerificationHelper;
use sequoia_openpgp::parse::stream::VerificationResult;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::Armorer;
use sequoia_openpgp::serialize::stream::Encryptor;
use sequoia_openpgp::serialize::stream::LiteralWriter;
use sequoia_openpgp::serialize::stream::Message;
use sequoia_openpgp::serialize::stream::Signer;
use sequoia_openpgp::types::SymmetricAlgorithm;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::peers::fingerprint_of;
use crate::infra::keys::peers::system_time;
use crate::infra::keys::pgp::library;

/// What a signature says, in the words of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// The octets are what the owner of this certificate signed.
    Good(Fingerprint),
    /// Nobody here knows the certificate of this key (fingerprint or key id).
    Unknown(String),
    /// The certificate was known, and the signature is not good; the reason, for people.
    Bad(&'static str),
}

/// A message of another program, opened; its integrity is known.
pub struct OpenedMessage {
    /// The clear text.
    pub clear: Secret<Vec<u8>>,
    /// It was encrypted.
    pub encrypted: bool,
    /// Signatures over the whole of the clear text, inside the encryption.
    pub signatures: Vec<SignatureVerdict>,
}

/// Why a message of another program is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFlaw {
    /// Not an OpenPGP message, or cut.
    #[error("not an OpenPGP message, or a part of one")]
    Malformed,
    /// It was not made for this key.
    #[error("not made for a key that is here")]
    OtherKey,
    /// It was altered, or has no protection against it (EFAIL).
    #[error("altered on its way, or without protection against it")]
    Integrity,
    /// Too large, too deep, too many packets.
    #[error("larger or deeper than allowed")]
    OverLimit,
}

/// Finds the certificates that may have made a signature.
pub trait Certificates: Send + Sync {
    /// Certificates of this fingerprint or key id (hexadecimal digits, capitals); usually one.
    fn of_key(&self, handle: &str) -> Vec<PeerCertificate>;
}

/// An armoured message for these recipients, signed inside when there is a signer. Its form
/// follows what the certificates say that their owners read: SEIPD version 2 where all do,
/// version 1 otherwise.
///
/// # Errors
/// [`KeyError::Certificate`] when a recipient has no usable key or there is none,
/// [`KeyError::Library`].
pub fn seal_for(
    clear: &[u8],
    recipients: &[PeerCertificate],
    signer: Option<&MailboxKeys>,
    now: Timestamp,
) -> Result<Vec<u8>, KeyError> {
    let policy = StandardPolicy::new();
    let mut keys = Vec::new();
    for recipient in recipients {
        let before = keys.len();
        let usable = recipient.0.keys().with_policy(&policy, system_time(now));
        keys.extend(usable.supported().alive().revoked(false).for_transport_encryption());
        if keys.len() == before {
            return Err(KeyError::Certificate("no usable encryption key".to_owned()));
        }
    }
    if keys.is_empty() {
        return Err(KeyError::Certificate("a letter without recipients".to_owned()));
    }
    let mut sealed = Vec::new();
    let write = || -> openpgp::Result<()> {
        let message = Armorer::new(Message::new(&mut sealed)).build()?;
        let mut message = Encryptor::for_recipients(message, keys).build()?;
        if let Some(signer) = signer {
            let pair = signer.signing_pair(now)?;
            message = Signer::new(message, pair)?.creation_time(system_time(now)).build()?;
        }
        let mut message = LiteralWriter::new(message).build()?;
        message.write_all(clear)?;
        message.finalize()
    };
    write().map_err(library)?;
    Ok(sealed)
}

/// An armoured detached signature, and the name of its digest as PGP/MIME writes it
/// (`pgp-sha512`, RFC 3156 §5).
///
/// # Errors
/// [`KeyError::Library`], also when the signer has no key that signs.
pub fn sign_detached(
    clear: &[u8],
    signer: &MailboxKeys,
    now: Timestamp,
) -> Result<(Vec<u8>, &'static str), KeyError> {
    let mut signature = Vec::new();
    let mut write = || -> openpgp::Result<()> {
        let pair = signer.signing_pair(now)?;
        let message = Message::new(&mut signature);
        let message = Armorer::new(message).kind(openpgp::armor::Kind::Signature).build()?;
        let signer = Signer::new(message, pair)?.detached();
        let signer = signer.hash_algo(openpgp::types::HashAlgorithm::SHA512)?;
        let mut message = signer.creation_time(system_time(now)).build()?;
        message.write_all(clear)?;
        message.finalize()
    };
    write().map_err(library)?;
    Ok((signature, "pgp-sha512"))
}

/// Opens a message (binary or armoured) with a mailbox's secret key, and looks at its signatures.
///
/// # Errors
/// What stands against it; nothing of its text is returned then.
pub fn open_message(
    keys: &MailboxKeys,
    message: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Result<OpenedMessage, OpenFlaw> {
    let policy = StandardPolicy::new();
    let helper = Opening { keys: Some(keys), known, encrypted: false, signatures: Vec::new() };
    let builder = DecryptorBuilder::from_bytes(message).map_err(|_| OpenFlaw::Malformed)?;
    let mut decryptor = builder
        .with_policy(&policy, Some(system_time(now)), helper)
        .map_err(|_| OpenFlaw::OtherKey)?;
    let mut clear = Zeroizing::new(Vec::new());
    decryptor.read_to_end(&mut clear).map_err(|_| OpenFlaw::Integrity)?;
    let helper = decryptor.into_helper();
    Ok(OpenedMessage {
        clear: Secret::new(std::mem::take(&mut *clear)),
        encrypted: helper.encrypted,
        signatures: helper.signatures,
    })
}

/// Looks at a detached signature (binary or armoured) over these octets.
pub fn verify_detached(
    signed: &[u8],
    signature: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Vec<SignatureVerdict> {
    let policy = StandardPolicy::new();
    let helper = Opening { keys: None, known, encrypted: false, signatures: Vec::new() };
    let verified = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|builder| builder.with_policy(&policy, Some(system_time(now)), helper))
        .and_then(|mut verifier| verifier.verify_bytes(signed).map(|()| verifier.into_helper()));
    match verified {
        Ok(helper) => helper.signatures,
        Err(_) => vec![SignatureVerdict::Bad("not a signature")],
    }
}

struct Opening<'a> {
    keys: Option<&'a MailboxKeys>,
    known: &'a dyn Certificates,
    encrypted: bool,
    signatures: Vec<SignatureVerdict>,
}

impl VerificationHelper for Opening<'_> {
    fn get_certs(&mut self, ids: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let found = ids.iter().flat_map(|id| self.known.of_key(&fingerprint_of(id)));
        Ok(found.map(|certificate| Cert::clone(&certificate.0)).collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            match layer {
                MessageLayer::Encryption { .. } => self.encrypted = true,
                MessageLayer::SignatureGroup { results } => {
                    self.signatures.extend(results.into_iter().map(verdict));
                }
                MessageLayer::Compression { .. } => {}
            }
        }
        Ok(())
    }
}

impl DecryptionHelper for Opening<'_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        _skesks: &[SKESK],
        cipher: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        let Some(keys) = self.keys else { return Ok(None) };
        for pkesk in pkesks {
            for key in keys.decryption_keys()? {
                if pkesk.recipient().is_some_and(|id| !id.aliases(key.key_handle())) {
                    continue;
                }
                let Ok(mut pair) = key.clone().into_keypair() else { continue };
                if let Some((algorithm, session_key)) = pkesk.decrypt(&mut pair, cipher)
                    && decrypt(algorithm, &session_key)
                {
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

fn verdict(result: VerificationResult<'_>) -> SignatureVerdict {
    match result {
        Ok(good) => SignatureVerdict::Good(
            PeerCertificate(std::sync::Arc::new(good.ka.cert().clone())).fingerprint(),
        ),
        Err(VerificationError::MissingKey { sig }) => SignatureVerdict::Unknown(issuer(sig)),
        Err(VerificationError::BadKey { .. } | VerificationError::UnboundKey { .. }) => {
            SignatureVerdict::Bad("its key is expired, revoked or may not sign")
        }
        Err(_) => SignatureVerdict::Bad("it does not match"),
    }
}

fn issuer(signature: &Signature) -> String {
    signature.get_issuers().first().map(fingerprint_of).unwrap_or_default()
}

#[cfg(test)]
mod tests;
