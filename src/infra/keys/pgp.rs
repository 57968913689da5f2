//! OpenPGP (RFC 9580): making keys, sealing a stream, opening a message.
//!
//! The form at rest is narrow on purpose: PKESK version 3 packets, then one SEIPD version 1
//! packet that holds one literal packet. Every OpenPGP program since RFC 4880 reads it; nothing
//! else is ever opened, so there is no compression bomb and no unauthenticated text.
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::key::PublicParts;
use sequoia_openpgp::packet::key::SecretParts;
use sequoia_openpgp::packet::key::UnspecifiedRole;
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::Serialize;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::Features;
use sequoia_openpgp::types::KeyFlags;
use sequoia_openpgp::types::SymmetricAlgorithm;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
use crate::infra::keys::container;
use crate::infra::keys::container::Length;
use crate::infra::keys::container::SESSION_KEY_OCTETS;

/// The cipher of everything that we seal.
const CIPHER: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
/// Its identifier (RFC 9580 §9.3).
const CIPHER_ID: u8 = 9;
/// Octets of the digest that ties a content key to the packets before the encrypted one.
const COMMITMENT_OCTETS: usize = 16;
/// A key is made a little before "now", so that a peer whose clock is behind can use it.
const KEY_AGE_AT_BIRTH: Duration = Duration::from_secs(300);
/// First octet of the packets that hold a session key (RFC 9580 §4.2, §5.1).
const PKESK_TAG: u8 = 0xC0 | 1;

/// A public encryption subkey.
pub(super) type EncryptionKey = Key<PublicParts, UnspecifiedRole>;
/// A secret encryption subkey.
pub(super) type DecryptionKey = Key<SecretParts, UnspecifiedRole>;

/// A new OpenPGP key: version 4, Ed25519 to certify, X25519 to encrypt, no expiry.
pub(super) fn generate(user_id: &str, now: Timestamp) -> Result<Cert, KeyError> {
    let born = UNIX_EPOCH + Duration::from_secs(now.as_seconds()).saturating_sub(KEY_AGE_AT_BIRTH);
    let build = || {
        CertBuilder::new()
            .set_profile(openpgp::Profile::RFC4880)?
            .set_cipher_suite(CipherSuite::Cv25519)
            // Says to other programs: version 1 of the encrypted container, please.
            .set_features(Features::empty().set_seipdv1())?
            .set_creation_time(born)
            .set_validity_period(None)
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_userid(user_id)
            .add_subkey(
                KeyFlags::empty().set_storage_encryption().set_transport_encryption(),
                None,
                None,
            )
            .generate()
    };
    let (cert, _revocation) = build().map_err(library)?;
    Ok(cert)
}

/// The binary certificate, without secrets.
pub(super) fn public_octets(cert: &Cert) -> Result<Vec<u8>, KeyError> {
    cert.to_vec().map_err(library)
}

/// The binary key, with its secrets.
pub(super) fn secret_octets(cert: &Cert) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    cert.as_tsk().to_vec().map(Zeroizing::new).map_err(library)
}

/// The encryption subkey of a certificate.
pub(super) fn encryption_key(binary: &[u8]) -> Result<EncryptionKey, KeyError> {
    let cert = Cert::from_bytes(binary).map_err(unusable)?;
    let policy = StandardPolicy::new();
    cert.keys()
        .with_policy(&policy, as_of(&cert))
        .supported()
        .alive()
        .revoked(false)
        .for_storage_encryption()
        .next()
        .map(|key| key.key().clone().role_into_unspecified())
        .ok_or_else(|| KeyError::Certificate("no usable encryption key".to_owned()))
}

/// The secret encryption subkeys of a key.
pub(super) fn decryption_keys(binary: &[u8]) -> Result<Vec<DecryptionKey>, KeyError> {
    let cert = Cert::from_bytes(binary).map_err(library)?;
    let policy = StandardPolicy::new();
    Ok(cert
        .keys()
        .with_policy(&policy, as_of(&cert))
        .supported()
        .unencrypted_secret()
        .for_storage_encryption()
        .map(|key| key.key().clone().role_into_unspecified())
        .collect())
}

/// A certificate is judged as it stood when its owner last signed it: the keys that the relay
/// made have no expiry, and only `infra::clock` may ask for the time.
fn as_of(cert: &Cert) -> SystemTime {
    let user_ids = cert.userids().flat_map(|user_id| user_id.self_signatures().collect::<Vec<_>>());
    let keys = cert.keys().flat_map(|key| key.self_signatures().collect::<Vec<_>>());
    user_ids
        .chain(keys)
        .filter_map(|signature| signature.signature_creation_time())
        .max()
        .unwrap_or(UNIX_EPOCH)
}

/// The key of one content, tied to the packets that stand before its encrypted part: these are
/// not covered by the integrity check of OpenPGP.
pub(super) struct ContentKey {
    session_key: Zeroizing<[u8; SESSION_KEY_OCTETS]>,
    commitment: [u8; COMMITMENT_OCTETS],
}

impl ContentKey {
    /// The form that is wrapped.
    pub(super) fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let length = 1 + COMMITMENT_OCTETS + SESSION_KEY_OCTETS;
        let mut octets = Zeroizing::new(Vec::with_capacity(length));
        octets.push(CIPHER_ID);
        octets.extend_from_slice(&self.commitment);
        octets.extend_from_slice(&*self.session_key);
        octets
    }

    /// From the form that was wrapped.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (&CIPHER_ID, rest) = octets.split_first()? else { return None };
        let (commitment, session_key) = rest.split_first_chunk::<COMMITMENT_OCTETS>()?;
        let session_key = Zeroizing::new(session_key.try_into().ok()?);
        Some(Self { session_key, commitment: *commitment })
    }
}

/// Clear text streams in, a ciphertext grows.
pub(super) struct Sealing {
    container: container::Writer,
    content_key: ContentKey,
}

impl Sealing {
    /// One session key, wrapped for each recipient.
    pub(super) fn new<'k>(
        recipients: impl Iterator<Item = &'k EncryptionKey>,
    ) -> Result<Self, KeyError> {
        let mut session_key = Zeroizing::new([0; SESSION_KEY_OCTETS]);
        super::fill_random(&mut *session_key);
        let wrapped = SessionKey::from(&session_key[..]);
        let mut head = Vec::new();
        for recipient in recipients {
            let pkesk = PKESK3::for_recipient(CIPHER, &wrapped, recipient).map_err(library)?;
            Packet::from(pkesk).serialize(&mut head).map_err(library)?;
        }
        if head.is_empty() {
            return Err(KeyError::Certificate("a letter without recipients".to_owned()));
        }
        let commitment = commitment(&head);
        let container = container::Writer::new(head, &session_key)?;
        Ok(Self { container, content_key: ContentKey { session_key, commitment } })
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, clear: &[u8]) -> Result<(), KeyError> {
        self.container.write(clear)
    }

    /// Ends the message.
    pub(super) fn finish(self) -> Result<(Vec<u8>, ContentKey), KeyError> {
        Ok((self.container.finish()?, self.content_key))
    }
}

/// Opens a content with its key. No public-key operation; nothing is returned before the
/// integrity of all is known.
pub(super) fn open(key: &ContentKey, ciphertext: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
    let (head, body) = split(ciphertext).ok_or(KeyError::Open)?;
    if commitment(head) != key.commitment {
        return Err(KeyError::Open);
    }
    let mut clear = container::open(&key.session_key, body).ok_or(KeyError::Open)?;
    Ok(Secret::new(std::mem::take(&mut *clear)))
}

/// Finds the content key of a ciphertext with a secret key.
pub(super) fn content_key_of(
    secret_keys: &[DecryptionKey],
    ciphertext: &[u8],
) -> Result<ContentKey, KeyError> {
    let (head, _) = split(ciphertext).ok_or(KeyError::Open)?;
    let packets = openpgp::PacketPile::from_bytes(head).map_err(|_| KeyError::Open)?;
    for packet in packets.children() {
        let Packet::PKESK(pkesk) = packet else { continue };
        for secret_key in secret_keys {
            if pkesk.recipient().is_some_and(|id| !id.aliases(secret_key.key_handle())) {
                continue;
            }
            let Ok(mut pair) = secret_key.clone().into_keypair() else { continue };
            if let Some((Some(CIPHER), session_key)) = pkesk.decrypt(&mut pair, None)
                && let Ok(session_key) = session_key[..].try_into()
            {
                let session_key = Zeroizing::new(session_key);
                return Ok(ContentKey { session_key, commitment: commitment(head) });
            }
        }
    }
    Err(KeyError::Open)
}

fn commitment(head: &[u8]) -> [u8; COMMITMENT_OCTETS] {
    let digest = digest::digest(&digest::SHA256, head);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
}

/// The PKESK packets, and the body of the encrypted container behind them. `None` unless the
/// whole is exactly that: one or more PKESK packets and one SEIPD packet that ends where the
/// ciphertext ends.
fn split(ciphertext: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = ciphertext;
    while let Some((&PKESK_TAG, after_tag)) = rest.split_first() {
        let (Length::Whole(length), body) = container::body_length(after_tag)? else {
            return None;
        };
        rest = body.get(length..)?;
    }
    let head = &ciphertext[..ciphertext.len() - rest.len()];
    let (&container::SEIPD_TAG, rest) = rest.split_first()? else { return None };
    let (Length::Whole(length), body) = container::body_length(rest)? else { return None };
    (!head.is_empty() && length == body.len()).then_some((head, body))
}

fn library(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Library(error.to_string())
}

fn unusable(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Certificate(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;
    use std::io::Write;

    use sequoia_openpgp::packet::PKESK;
    use sequoia_openpgp::packet::SKESK;
    use sequoia_openpgp::parse::stream::DecryptionHelper;
    use sequoia_openpgp::parse::stream::DecryptorBuilder;
    use sequoia_openpgp::parse::stream::MessageStructure;
    use sequoia_openpgp::parse::stream::VerificationHelper;
    use sequoia_openpgp::serialize::stream::Compressor;
    use sequoia_openpgp::serialize::stream::Encryptor;
    use sequoia_openpgp::serialize::stream::LiteralWriter;
    use sequoia_openpgp::serialize::stream::Message;
    use sequoia_openpgp::serialize::stream::Recipient;

    use super::*;

    /// A message as the OpenPGP library itself makes it.
    pub(crate) fn sealed_by_the_library(
        key: &EncryptionKey,
        clear: &[u8],
        packed: bool,
    ) -> Vec<u8> {
        let recipient = Recipient::new(Features::empty().set_seipdv1(), key.key_handle(), key);
        let mut ciphertext = Vec::new();
        let message = Message::new(&mut ciphertext);
        let mut message = Encryptor::for_recipients(message, [recipient]).build().unwrap();
        if packed {
            message = Compressor::new(message).build().unwrap();
        }
        let mut message = LiteralWriter::new(message).filename("name").unwrap().build().unwrap();
        message.write_all(clear).unwrap();
        message.finalize().unwrap();
        ciphertext
    }

    /// Opens a message as the OpenPGP library itself does.
    pub(crate) fn opened_by_the_library(key: &ContentKey, ciphertext: &[u8]) -> Vec<u8> {
        let mut clear = Vec::new();
        let session_key = SessionKey::from(&key.session_key[..]);
        DecryptorBuilder::from_bytes(ciphertext)
            .unwrap()
            .with_policy(&StandardPolicy::new(), UNIX_EPOCH, KnownKey(session_key))
            .unwrap()
            .read_to_end(&mut clear)
            .unwrap();
        clear
    }

    struct KnownKey(SessionKey);

    impl VerificationHelper for KnownKey {
        fn get_certs(&mut self, _ids: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
            Ok(Vec::new())
        }

        fn check(&mut self, _structure: MessageStructure<'_>) -> openpgp::Result<()> {
            Ok(())
        }
    }

    impl DecryptionHelper for KnownKey {
        fn decrypt(
            &mut self,
            _pkesks: &[PKESK],
            _skesks: &[SKESK],
            _cipher: Option<SymmetricAlgorithm>,
            decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
        ) -> openpgp::Result<Option<Cert>> {
            decrypt(Some(CIPHER), &self.0);
            Ok(None)
        }
    }
}
