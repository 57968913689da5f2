//! OpenPGP (RFC 9580 §10.3): making keys, sealing a stream, opening a message.
//!
//! The form at rest is narrow on purpose: PKESK version 3 packets, then one SEIPD version 1
//! packet that holds one literal packet. Every OpenPGP program since RFC 4880 §5.13 reads it; nothing
//! else is ever opened, so there is no compression bomb and no unauthenticated text.
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
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
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::SKESK;
use sequoia_openpgp::packet::Tag;
use sequoia_openpgp::packet::key::PublicParts;
use sequoia_openpgp::packet::key::SecretParts;
use sequoia_openpgp::packet::key::UnspecifiedRole;
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::parse::PacketParser;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::DecryptionHelper;
use sequoia_openpgp::parse::stream::DecryptorBuilder;
use sequoia_openpgp::parse::stream::MessageStructure;
use sequoia_openpgp::parse::stream::VerificationHelper;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::Serialize;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::Encryptor;
use sequoia_openpgp::serialize::stream::Message;
use sequoia_openpgp::types::Features;
use sequoia_openpgp::types::KeyFlags;
use sequoia_openpgp::types::SymmetricAlgorithm;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;

/// The cipher of everything that we seal.
const CIPHER: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
/// Its identifier (RFC 9580 §9.3).
const CIPHER_ID: u8 = 9;
/// Octets of its key.
const SESSION_KEY_OCTETS: usize = 32;
/// Octets of the digest that ties a content key to the packets before the encrypted one.
const COMMITMENT_OCTETS: usize = 16;
/// A key is made a little before "now", so that a peer whose clock is behind can use it.
const KEY_AGE_AT_BIRTH: Duration = Duration::from_secs(300);
/// Octets of clear text per chunk: a power of two, at least 512 (RFC 9580 §4.2.1.4).
const CHUNK: usize = 1 << CHUNK_EXPONENT;
const CHUNK_EXPONENT: u8 = 15;
/// First octets of the packets that we write (RFC 9580 §4.2, §5).
const PKESK_TAG: u8 = 0xC0 | 1;
const LITERAL_TAG: u8 = 0xC0 | 11;
const SEIPD_TAG: u8 = 0xC0 | 18;

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
    session_key: SessionKey,
    commitment: [u8; COMMITMENT_OCTETS],
}

impl ContentKey {
    /// The form that is wrapped.
    pub(super) fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let length = 1 + COMMITMENT_OCTETS + SESSION_KEY_OCTETS;
        let mut octets = Zeroizing::new(Vec::with_capacity(length));
        octets.push(CIPHER_ID);
        octets.extend_from_slice(&self.commitment);
        octets.extend_from_slice(&self.session_key);
        octets
    }

    /// From the form that was wrapped.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (&cipher, rest) = octets.split_first()?;
        let (commitment, session_key) = rest.split_first_chunk::<COMMITMENT_OCTETS>()?;
        if cipher != CIPHER_ID || session_key.len() != SESSION_KEY_OCTETS {
            return None;
        }
        Some(Self { session_key: SessionKey::from(session_key), commitment: *commitment })
    }
}

/// Clear text streams in, a ciphertext grows.
pub(super) struct Sealing {
    message: Message<'static>,
    sink: Sink,
    content_key: ContentKey,
    /// The literal packet's next chunk. Framed here and not by the library, whose buffers are
    /// large and not wiped.
    chunk: Zeroizing<Vec<u8>>,
    began: bool,
}

impl Sealing {
    /// One session key, wrapped for each recipient.
    pub(super) fn new<'k>(
        recipients: impl Iterator<Item = &'k EncryptionKey>,
    ) -> Result<Self, KeyError> {
        let session_key = SessionKey::new(SESSION_KEY_OCTETS).map_err(library)?;
        let mut head = Vec::new();
        for recipient in recipients {
            let pkesk = PKESK3::for_recipient(CIPHER, &session_key, recipient).map_err(library)?;
            Packet::from(pkesk).serialize(&mut head).map_err(library)?;
        }
        if head.is_empty() {
            return Err(KeyError::Certificate("a letter without recipients".to_owned()));
        }
        let content_key =
            ContentKey { session_key: session_key.clone(), commitment: commitment(&head) };
        let sink = Sink(Arc::new(Mutex::new(head)));
        let message = Message::new(sink.clone());
        let message = Encryptor::with_session_key(message, CIPHER, session_key)
            .and_then(Encryptor::build)
            .map_err(library)?;
        let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK));
        // RFC 9580 §5.9: binary, no file name, no date.
        chunk.extend_from_slice(b"b\0\0\0\0\0");
        Ok(Self { message, sink, content_key, chunk, began: false })
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, mut clear: &[u8]) -> Result<(), KeyError> {
        while !clear.is_empty() {
            if self.chunk.len() == CHUNK {
                self.write_chunk(&[0xE0 | CHUNK_EXPONENT])?;
            }
            let (now, later) = clear.split_at(clear.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            clear = later;
        }
        Ok(())
    }

    /// Ends the message.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, ContentKey), KeyError> {
        // RFC 9580 §4.2.1.4: the last length is not a partial one. Five octets hold any.
        let length = u32::try_from(self.chunk.len()).expect("at most CHUNK").to_be_bytes();
        self.write_chunk(&[0xFF, length[0], length[1], length[2], length[3]])?;
        self.message.finalize().map_err(library)?;
        Ok((self.sink.take(), self.content_key))
    }

    fn write_chunk(&mut self, length: &[u8]) -> Result<(), KeyError> {
        if !std::mem::replace(&mut self.began, true) {
            self.message.write_all(&[LITERAL_TAG]).map_err(failed)?;
        }
        self.message.write_all(length).map_err(failed)?;
        self.message.write_all(&self.chunk).map_err(failed)?;
        self.chunk.clear();
        Ok(())
    }
}

/// Where the library writes to; taken back at the end.
#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens a content with its key. No public-key operation; nothing is returned before the
/// integrity of all is known.
pub(super) fn open(key: &ContentKey, ciphertext: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
    let head = head(ciphertext).ok_or(KeyError::Open)?;
    let same = commitment(head) == key.commitment;
    if !same {
        return Err(KeyError::Open);
    }
    // Reserved once: growing would leave copies of the clear text behind.
    let mut clear = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    let policy = StandardPolicy::new();
    DecryptorBuilder::from_bytes(ciphertext)
        // The library's own choice, 25 MiB whatever the letter's size, would be cleared twice for
        // each letter. Clear text is never longer than its ciphertext: nothing is compressed.
        .map(|builder| builder.buffer_size(ciphertext.len()))
        .and_then(|builder| builder.with_policy(&policy, UNIX_EPOCH, Opening { key }))
        .map_err(|_| KeyError::Open)?
        .read_to_end(&mut clear)
        .map_err(|_| KeyError::Open)?;
    Ok(Secret::new(std::mem::take(&mut *clear)))
}

/// Finds the content key of a ciphertext with a secret key.
pub(super) fn content_key_of(
    secret_keys: &[DecryptionKey],
    ciphertext: &[u8],
) -> Result<ContentKey, KeyError> {
    let head = head(ciphertext).ok_or(KeyError::Open)?;
    let packets = openpgp::PacketPile::from_bytes(head).map_err(|_| KeyError::Open)?;
    for packet in packets.children() {
        let Packet::PKESK(pkesk) = packet else { continue };
        for secret_key in secret_keys {
            if pkesk.recipient().is_some_and(|id| !id.aliases(secret_key.key_handle())) {
                continue;
            }
            let Ok(mut pair) = secret_key.clone().into_keypair() else { continue };
            if let Some((Some(CIPHER), session_key)) = pkesk.decrypt(&mut pair, None)
                && session_key.len() == SESSION_KEY_OCTETS
            {
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

/// The PKESK packets before the encrypted part. `None` unless the whole is exactly that: one or
/// more PKESK packets and one SEIPD packet that ends where the ciphertext ends.
fn head(ciphertext: &[u8]) -> Option<&[u8]> {
    let mut rest = ciphertext;
    while let Some((&PKESK_TAG, after_tag)) = rest.split_first() {
        let (length, body) = body_length(after_tag)?;
        let Length::Whole(length) = length else { return None };
        rest = body.get(length..)?;
    }
    let head_length = ciphertext.len() - rest.len();
    let (&SEIPD_TAG, mut rest) = rest.split_first()? else { return None };
    if head_length == 0 {
        return None;
    }
    loop {
        let (length, body) = body_length(rest)?;
        match length {
            Length::Whole(length) if length == body.len() => return ciphertext.get(..head_length),
            Length::Whole(_) => return None,
            Length::Partial(length) => rest = body.get(length..)?,
        }
    }
}

enum Length {
    Whole(usize),
    Partial(usize),
}

/// RFC 9580 §4.2.1: a length and what follows it.
fn body_length(octets: &[u8]) -> Option<(Length, &[u8])> {
    match octets {
        [short @ 0..=191, rest @ ..] => Some((Length::Whole(usize::from(*short)), rest)),
        [high @ 192..=223, low, rest @ ..] => {
            let length = ((usize::from(*high) - 192) << 8) + usize::from(*low) + 192;
            Some((Length::Whole(length), rest))
        }
        [partial @ 224..=254, rest @ ..] => Some((Length::Partial(1 << (partial & 31)), rest)),
        [255, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            Some((Length::Whole(usize::try_from(length).ok()?), rest))
        }
        _ => None,
    }
}

/// Gives the library the session key, and lets no packet pass that we never write.
struct Opening<'k> {
    key: &'k ContentKey,
}

impl VerificationHelper for Opening<'_> {
    fn get_certs(&mut self, _ids: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(Vec::new())
    }

    fn check(&mut self, _structure: MessageStructure<'_>) -> openpgp::Result<()> {
        Ok(())
    }

    fn inspect(&mut self, parser: &PacketParser<'_>) -> openpgp::Result<()> {
        match parser.packet.tag() {
            Tag::PKESK | Tag::SEIP | Tag::Literal | Tag::MDC => Ok(()),
            // Compressed data, above all: a bomb, or a quine.
            other => Err(openpgp::Error::MalformedMessage(format!("{other} not expected")).into()),
        }
    }
}

impl DecryptionHelper for Opening<'_> {
    fn decrypt(
        &mut self,
        _pkesks: &[PKESK],
        _skesks: &[SKESK],
        _cipher: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        decrypt(Some(CIPHER), &self.key.session_key);
        Ok(None)
    }
}

fn library(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Library(error.to_string())
}

fn unusable(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Certificate(error.to_string())
}

fn failed(error: std::io::Error) -> KeyError {
    KeyError::Library(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use sequoia_openpgp::serialize::stream::Compressor;
    use sequoia_openpgp::serialize::stream::LiteralWriter;
    use sequoia_openpgp::serialize::stream::Recipient;

    use super::*;

    /// A message that another program might make, and that we do not open.
    pub(crate) fn sealed_with_compression(key: &EncryptionKey, clear: &[u8]) -> Vec<u8> {
        let recipient = Recipient::new(Features::empty().set_seipdv1(), key.key_handle(), key);
        let mut ciphertext = Vec::new();
        let message = Message::new(&mut ciphertext);
        let message = Encryptor::for_recipients(message, [recipient]).build().unwrap();
        let message = Compressor::new(message).build().unwrap();
        let mut message = LiteralWriter::new(message).build().unwrap();
        message.write_all(clear).unwrap();
        message.finalize().unwrap();
        ciphertext
    }
}
