//! OpenPGP (RFC 9580 §10.3): making keys, sealing a stream, opening a message.
//!
//! The form at rest is narrow on purpose: PKESK version 6 packets, then one SEIPD version 2
//! packet (AES-256, OCB) that holds one literal packet. Contents that were sealed before have
//! PKESK version 3 and SEIPD version 1 (RFC 4880 §5.13), and open as well; nothing else is ever
//! opened, so there is no compression bomb and no unauthenticated text. Why: decision 11.
use std::io::Read;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest;
use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::cert::CertParser;
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
use sequoia_openpgp::packet::pkesk::PKESK6;
use sequoia_openpgp::parse::PacketParser;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::DecryptionHelper;
use sequoia_openpgp::parse::stream::DecryptorBuilder;
use sequoia_openpgp::parse::stream::MessageStructure;
use sequoia_openpgp::parse::stream::VerificationHelper;
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
use crate::infra::keys::peers::system_time;

/// The cipher of everything that we seal.
pub(super) const CIPHER: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
/// Its identifier (RFC 9580 §9.3).
pub(super) const CIPHER_ID: u8 = 9;
/// Octets of its key.
const SESSION_KEY_OCTETS: usize = 32;
/// Octets of the digest that ties a content key to the packets before the encrypted one.
const COMMITMENT_OCTETS: usize = 16;
/// A key is made a little before "now", so that a peer whose clock is behind can use it.
pub(super) const KEY_AGE_AT_BIRTH: Duration = Duration::from_secs(300);
/// First octet of a content key's form, for a container of version 1: its cipher. A container
/// of version 2 names its cipher itself.
const FORM_OF_VERSION_1: u8 = CIPHER_ID;
/// The same for version 2: not the number of any cipher.
const FORM_OF_VERSION_2: u8 = 0x82;
/// First octets of the packets that we write (RFC 9580 §4.2, §5).
const PKESK_TAG: u8 = 0xC0 | 1;
pub(super) const LITERAL_TAG: u8 = 0xC0 | 11;
pub(super) const SEIPD_TAG: u8 = 0xC0 | 18;

/// A public encryption subkey.
pub(super) type EncryptionKey = Key<PublicParts, UnspecifiedRole>;
/// A secret encryption subkey.
pub(super) type DecryptionKey = Key<SecretParts, UnspecifiedRole>;

/// A new OpenPGP key: version 4, Ed25519 to certify and to sign, X25519 to encrypt, no expiry.
pub(super) fn generate(user_id: &str, now: Timestamp) -> Result<Cert, KeyError> {
    let born = UNIX_EPOCH + Duration::from_secs(now.as_seconds()).saturating_sub(KEY_AGE_AT_BIRTH);
    let build = || {
        CertBuilder::new()
            .set_profile(openpgp::Profile::RFC4880)?
            .set_cipher_suite(CipherSuite::Cv25519)
            // Which versions of the encrypted container its owner reads.
            .set_features(Features::empty().set_seipdv1().set_seipdv2())?
            .set_creation_time(born)
            .set_validity_period(None)
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_userid(user_id)
            .add_subkey(
                KeyFlags::empty().set_storage_encryption().set_transport_encryption(),
                None,
                None,
            )
            .add_subkey(KeyFlags::empty().set_signing(), None, None)
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
    // Into room that is wiped: the library's own vector may be moved, and leave a copy behind.
    let key = cert.as_tsk();
    let mut octets = Zeroizing::new(vec![0; key.serialized_len()]);
    let length = key.serialize_into(&mut octets).map_err(library)?;
    octets.truncate(length);
    Ok(octets)
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
        // After a rotation there are two for a while.
        .max_by_key(|key| key.key().creation_time())
        .map(|key| key.key().clone().role_into_unspecified())
        .ok_or_else(|| KeyError::Certificate("no usable encryption key".to_owned()))
}

/// The secret encryption subkeys of a key, also of those that were revoked and replaced by it:
/// what was sealed to them stays readable.
pub(super) fn decryption_keys(binary: &[u8]) -> Result<Vec<DecryptionKey>, KeyError> {
    let policy = StandardPolicy::new();
    let mut secret = Vec::new();
    for cert in secret_certs(binary)? {
        let keys = cert.keys().with_policy(&policy, as_of(&cert)).supported();
        let keys = keys.unencrypted_secret().for_storage_encryption();
        secret.extend(keys.map(|key| key.key().clone().role_into_unspecified()));
    }
    Ok(secret)
}

/// The certificate of a key.
pub(super) fn own_certificate(binary: &[u8]) -> openpgp::Result<Cert> {
    Ok(Cert::from_bytes(binary)?.strip_secret_key_material())
}

/// The signing subkey of a key, ready to sign.
pub(super) fn signing_pair(
    binary: &[u8],
    now: Timestamp,
) -> openpgp::Result<openpgp::crypto::KeyPair> {
    let certs = secret_certs(binary)?;
    let cert = certs.first().ok_or_else(|| openpgp::anyhow::anyhow!("no key"))?;
    let policy = StandardPolicy::new();
    let keys = cert.keys().with_policy(&policy, system_time(now)).supported();
    let keys = keys.alive().revoked(false).unencrypted_secret().for_signing();
    let key = keys.max_by_key(|key| key.key().creation_time());
    let key = key.ok_or_else(|| openpgp::anyhow::anyhow!("no key that signs"))?;
    key.key().clone().into_keypair()
}

/// The keys of a mailbox: the one in use first, then those that it replaced.
pub(super) fn secret_certs(binary: &[u8]) -> Result<Vec<Cert>, KeyError> {
    let certs = CertParser::from_bytes(binary).map_err(library)?;
    certs.collect::<openpgp::Result<Vec<Cert>>>().map_err(library)
}

/// A certificate is judged as it stood when its owner last signed it: the keys that the relay
/// made have no expiry, and only `infra::clock` may ask for the time.
pub(super) fn as_of(cert: &Cert) -> SystemTime {
    let user_ids = cert.userids().flat_map(|user_id| user_id.self_signatures().collect::<Vec<_>>());
    let keys = cert.keys().flat_map(|key| key.self_signatures().collect::<Vec<_>>());
    user_ids
        .chain(keys)
        .filter_map(|signature| signature.signature_creation_time())
        .max()
        .unwrap_or(UNIX_EPOCH)
}

/// Of the encrypted container, and with it of the packets that hold its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// CFB and SHA-1 (RFC 9580 §5.13.1), behind PKESK version 3. Only read.
    One,
    /// AEAD (RFC 9580 §5.13.2), behind PKESK version 6.
    Two,
}

/// The key of one content, tied to the packets that stand before its encrypted part: these are
/// not covered by the integrity check of OpenPGP.
pub(super) struct ContentKey {
    version: Version,
    session_key: SessionKey,
    commitment: [u8; COMMITMENT_OCTETS],
}

impl ContentKey {
    /// The form that is wrapped.
    pub(super) fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let length = 1 + COMMITMENT_OCTETS + SESSION_KEY_OCTETS;
        let mut octets = Zeroizing::new(Vec::with_capacity(length));
        octets.push(match self.version {
            Version::One => FORM_OF_VERSION_1,
            Version::Two => FORM_OF_VERSION_2,
        });
        octets.extend_from_slice(&self.commitment);
        octets.extend_from_slice(&self.session_key);
        octets
    }

    /// From the form that was wrapped.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (&form, rest) = octets.split_first()?;
        let (commitment, session_key) = rest.split_first_chunk::<COMMITMENT_OCTETS>()?;
        let version = match form {
            FORM_OF_VERSION_1 => Version::One,
            FORM_OF_VERSION_2 => Version::Two,
            _ => return None,
        };
        if session_key.len() != SESSION_KEY_OCTETS {
            return None;
        }
        Some(Self { version, session_key: SessionKey::from(session_key), commitment: *commitment })
    }
}

/// Clear text streams in, a ciphertext grows.
pub(super) struct Sealing {
    container: container::Sealing,
    content_key: ContentKey,
}

impl Sealing {
    /// One session key, wrapped for each recipient.
    pub(super) fn new<'k>(
        recipients: impl Iterator<Item = &'k EncryptionKey>,
    ) -> Result<Self, KeyError> {
        let session_key = SessionKey::new(SESSION_KEY_OCTETS).map_err(library)?;
        let mut head = Vec::new();
        for recipient in recipients {
            let pkesk = PKESK6::for_recipient(&session_key, recipient).map_err(library)?;
            Packet::from(pkesk).serialize(&mut head).map_err(library)?;
        }
        if head.is_empty() {
            return Err(KeyError::Certificate("a letter without recipients".to_owned()));
        }
        let commitment = commitment(&head);
        let container = container::Sealing::new(head, &session_key)?;
        let content_key = ContentKey { version: Version::Two, session_key, commitment };
        Ok(Self { container, content_key })
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
    let (head, container) = split(ciphertext).ok_or(KeyError::Open)?;
    let same = commitment(head) == key.commitment;
    if !same {
        return Err(KeyError::Open);
    }
    match key.version {
        Version::One => open_version_1(key, ciphertext),
        Version::Two => match body_length(container) {
            Some((Length::Whole(_), body)) => container::open(&key.session_key, body),
            // Only version 1 was written in parts.
            _ => None,
        }
        .ok_or(KeyError::Open),
    }
}

/// What the beginning of a ciphertext says about how it can be opened.
pub(super) enum Beginning {
    /// So few octets do not say it.
    Short,
    /// Only as a whole.
    Whole,
    /// Chunk by chunk. The container's body, which begins with its header, begins here.
    InChunks { opener: container::Opener, body_at: u64 },
}

/// How a ciphertext of `length` octets that begins with `start` opens with its key. As with the
/// whole: the packets before the container are the ones that it was sealed with.
pub(super) fn beginning(
    key: &ContentKey,
    start: &[u8],
    length: u64,
) -> Result<Beginning, KeyError> {
    if key.version == Version::One {
        return Ok(Beginning::Whole);
    }
    let Some((head, container)) = head_of(start) else {
        return if (start.len() as u64) < length {
            Ok(Beginning::Short)
        } else {
            Err(KeyError::Open)
        };
    };
    if commitment(head) != key.commitment {
        return Err(KeyError::Open);
    }
    let Some((Length::Whole(body_length), body)) = body_length(container) else {
        return Err(KeyError::Open);
    };
    let body_at = (start.len() - body.len()) as u64;
    if body_at.checked_add(body_length as u64) != Some(length) {
        return Err(KeyError::Open);
    }
    let Some(header) = body.first_chunk() else { return Ok(Beginning::Short) };
    let opener = container::Opener::new(&key.session_key, header, body_length as u64);
    Ok(match opener {
        Some(opener) => Beginning::InChunks { opener, body_at },
        None => Beginning::Whole,
    })
}

/// The PKESK packets, and what is behind the first octet of the container. `None` when the octets
/// do not go so far.
fn head_of(start: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = start;
    while let Some((&PKESK_TAG, after_tag)) = rest.split_first() {
        let (Length::Whole(length), body) = body_length(after_tag)? else { return None };
        rest = body.get(length..)?;
    }
    let head = start.get(..start.len() - rest.len()).filter(|head| !head.is_empty())?;
    let (&SEIPD_TAG, container) = rest.split_first()? else { return None };
    // Its length must be there, too.
    body_length(container).map(|_| (head, container))
}

fn open_version_1(key: &ContentKey, ciphertext: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
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
    let (head, _) = split(ciphertext).ok_or(KeyError::Open)?;
    let packets = openpgp::PacketPile::from_bytes(head).map_err(|_| KeyError::Open)?;
    for packet in packets.children() {
        let Packet::PKESK(pkesk) = packet else { continue };
        for secret_key in secret_keys {
            if pkesk.recipient().is_some_and(|id| !id.aliases(secret_key.key_handle())) {
                continue;
            }
            let Ok(mut pair) = secret_key.clone().into_keypair() else { continue };
            let (version, session_key) = match pkesk.decrypt(&mut pair, None) {
                Some((Some(CIPHER), session_key)) => (Version::One, session_key),
                Some((None, session_key)) => (Version::Two, session_key),
                _ => continue,
            };
            if session_key.len() == SESSION_KEY_OCTETS {
                return Ok(ContentKey { version, session_key, commitment: commitment(head) });
            }
        }
    }
    Err(KeyError::Open)
}

fn commitment(head: &[u8]) -> [u8; COMMITMENT_OCTETS] {
    let digest = digest::digest(&digest::SHA256, head);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 octets")
}

/// The PKESK packets, and the SEIPD packet behind its first octet. `None` unless the whole is
/// exactly that: one or more PKESK packets and one SEIPD packet that ends where the ciphertext
/// ends.
fn split(ciphertext: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = ciphertext;
    while let Some((&PKESK_TAG, after_tag)) = rest.split_first() {
        let (length, body) = body_length(after_tag)?;
        let Length::Whole(length) = length else { return None };
        rest = body.get(length..)?;
    }
    let head_length = ciphertext.len() - rest.len();
    let (&SEIPD_TAG, container) = rest.split_first()? else { return None };
    let mut rest = container;
    if head_length == 0 {
        return None;
    }
    loop {
        let (length, body) = body_length(rest)?;
        match length {
            Length::Whole(length) if length == body.len() => {
                return Some((ciphertext.get(..head_length)?, container));
            }
            Length::Whole(_) => return None,
            Length::Partial(length) => rest = body.get(length..)?,
        }
    }
}

/// How long a packet is, or a part of it.
#[derive(Clone, Copy)]
pub(super) enum Length {
    Whole(usize),
    Partial(usize),
}

/// RFC 9580 §4.2.1: a length and what follows it.
pub(super) fn body_length(octets: &[u8]) -> Option<(Length, &[u8])> {
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
        match &parser.packet {
            // A container of another version has its own key, and is opened elsewhere.
            Packet::SEIP(container) if container.version() != 1 => {
                Err(openpgp::Error::MalformedMessage("not version 1".to_owned()).into())
            }
            packet => expected(packet.tag()),
        }
    }
}

fn expected(tag: Tag) -> openpgp::Result<()> {
    match tag {
        Tag::PKESK | Tag::SEIP | Tag::Literal | Tag::MDC => Ok(()),
        // Compressed data, above all: a bomb, or a quine.
        other => Err(openpgp::Error::MalformedMessage(format!("{other} not expected")).into()),
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

pub(super) fn library(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Library(error.to_string())
}

fn unusable(error: openpgp::anyhow::Error) -> KeyError {
    KeyError::Certificate(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use sequoia_openpgp::packet::pkesk::PKESK3;
    use sequoia_openpgp::serialize::stream::Compressor;
    use sequoia_openpgp::serialize::stream::Encryptor;
    use sequoia_openpgp::serialize::stream::LiteralWriter;
    use sequoia_openpgp::serialize::stream::Message;

    use super::*;

    /// Sealed as it was before containers of version 2, by the library alone.
    pub(crate) fn sealed_as_before<'k>(
        recipients: impl Iterator<Item = &'k EncryptionKey>,
        clear: &[u8],
        compressed: bool,
    ) -> (Vec<u8>, ContentKey) {
        let session_key = SessionKey::new(SESSION_KEY_OCTETS).unwrap();
        let mut sealed = Vec::new();
        for recipient in recipients {
            let pkesk = PKESK3::for_recipient(CIPHER, &session_key, recipient).unwrap();
            Packet::from(pkesk).serialize(&mut sealed).unwrap();
        }
        let commitment = commitment(&sealed);
        let message = Message::new(&mut sealed);
        let mut message = Encryptor::with_session_key(message, CIPHER, session_key.clone())
            .and_then(Encryptor::build)
            .unwrap();
        if compressed {
            message = Compressor::new(message).build().unwrap();
        }
        let mut message = LiteralWriter::new(message).build().unwrap();
        message.write_all(clear).unwrap();
        message.finalize().unwrap();
        (sealed, ContentKey { version: Version::One, session_key, commitment })
    }

    /// A container of version 2 with these packets instead of one literal packet.
    pub(crate) fn sealed_packets(key: &EncryptionKey, packets: &[u8]) -> Vec<u8> {
        let session_key = SessionKey::new(SESSION_KEY_OCTETS).unwrap();
        let mut head = Vec::new();
        let pkesk = PKESK6::for_recipient(&session_key, key).unwrap();
        Packet::from(pkesk).serialize(&mut head).unwrap();
        container::tests::sealed_packets(head, &session_key, packets)
    }

    /// A compressed packet that holds a literal packet.
    pub(crate) fn compressed_packet(clear: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let message = Compressor::new(Message::new(&mut packet)).build().unwrap();
        let mut message = LiteralWriter::new(message).build().unwrap();
        message.write_all(clear).unwrap();
        message.finalize().unwrap();
        packet
    }

    /// Opened by the library's own reader of messages, whatever packets are inside.
    pub(crate) fn opened_by_the_library(key: &ContentKey, ciphertext: &[u8]) -> Vec<u8> {
        struct Helper<'k>(&'k ContentKey);
        impl VerificationHelper for Helper<'_> {
            fn get_certs(&mut self, _: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
                Ok(Vec::new())
            }
            fn check(&mut self, _: MessageStructure<'_>) -> openpgp::Result<()> {
                Ok(())
            }
        }
        impl DecryptionHelper for Helper<'_> {
            fn decrypt(
                &mut self,
                pkesks: &[PKESK],
                _: &[SKESK],
                cipher: Option<SymmetricAlgorithm>,
                decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
            ) -> openpgp::Result<Option<Cert>> {
                assert!(pkesks.iter().all(|pkesk| pkesk.version() == 6));
                assert_eq!(cipher, Some(CIPHER));
                assert!(decrypt(None, &self.0.session_key));
                Ok(None)
            }
        }
        let mut clear = Vec::new();
        DecryptorBuilder::from_bytes(ciphertext)
            .unwrap()
            .with_policy(&StandardPolicy::new(), UNIX_EPOCH, Helper(key))
            .unwrap()
            .read_to_end(&mut clear)
            .unwrap();
        clear
    }
}
