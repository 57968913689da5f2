//! Messages that other programs read and write: PGP/MIME and inline OpenPGP (RFC 9580 §10.3,
//! RFC 3156). What lies at rest is another matter, and narrower: see `pgp`.
//!
//! What comes from outside is hostile until proven otherwise: nothing of it is returned before its
//! integrity is known, and its packets, depth and size are bounded (`opening`).
mod opening;

use std::io::Write;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::Armorer;
use sequoia_openpgp::serialize::stream::Encryptor;
use sequoia_openpgp::serialize::stream::LiteralWriter;
use sequoia_openpgp::serialize::stream::Message;
use sequoia_openpgp::serialize::stream::Signer;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::peers::Fingerprint;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::peers::system_time;
use crate::infra::keys::pgp::library;

pub(super) use crate::infra::keys::mail::opening::guarded;
pub use crate::infra::keys::mail::opening::open_message;
pub use crate::infra::keys::mail::opening::verify_cleartext;
pub use crate::infra::keys::mail::opening::verify_detached;

/// Octets of a message over those of its clear text, before armour: containers, a signature.
const ROOM: usize = 4_096;
/// The same for each recipient: an RSA key of 8192 bits, an intended recipient.
const ROOM_PER_RECIPIENT: usize = 1_200;

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
    /// Made by a method that is not read here: the packet 20 of LibrePGP, EAX, ciphers of old.
    #[error("made by a method that is not read here")]
    Unsupported,
}

/// Finds the certificates that may have made a signature.
pub trait Certificates: Send + Sync {
    /// Certificates of this fingerprint or key id (hexadecimal digits, capitals); usually one.
    fn of_key(&self, handle: &str) -> Vec<PeerCertificate>;
}

/// An armoured message for these recipients, signed inside when there is a signer. Its form
/// follows what the certificates say that their owners read: SEIPD version 2 where all do,
/// version 1 otherwise. Never compressed, and each recipient is named by key, as others expect.
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
    let room = clear.len() + ROOM + recipients.len() * ROOM_PER_RECIPIENT;
    // 64 signs and a line end stand for 48 octets. Growing would leave copies behind.
    let mut sealed = Vec::with_capacity(room / 48 * 65 + room % 48 + ROOM);
    let write = || -> openpgp::Result<()> {
        let message = Armorer::new(Message::new(&mut sealed)).build()?;
        let mut message = Encryptor::for_recipients(message, keys).build()?;
        if let Some(signer) = signer {
            let pair = signer.signing_pair(now)?;
            let mut layer = Signer::new(message, pair)?.creation_time(system_time(now));
            // Who is sent the clear text by one of them is not told that it was for them
            // (RFC 9580 §5.2.3.36). More do not fit into a signature.
            if recipients.len() <= limits::OPENPGP_KEY_PACKETS_MAX {
                for recipient in recipients {
                    layer = layer.add_intended_recipient(&recipient.0);
                }
            }
            message = layer.build()?;
        }
        let mut message = LiteralWriter::new(message).build()?;
        // Each layer of the library keeps a copy of what it is given at a time.
        for piece in clear.chunks(limits::OPENPGP_PIECE_OCTETS) {
            message.write_all(piece)?;
        }
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

#[cfg(test)]
pub(super) mod tests;
