//! Opening what strangers sent. The order is the protection: the packets' framing is walked
//! through first, the library reads what is left, and the clear text leaves when all of it was
//! read and its protection held (EFAIL).
use std::cell::RefCell;
use std::io;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::SystemTime;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::cert::amalgamation::ValidateAmalgamation;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::SKESK;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::packet::Tag;
use sequoia_openpgp::parse::PacketParser;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::DecryptionHelper;
use sequoia_openpgp::parse::stream::DecryptorBuilder;
use sequoia_openpgp::parse::stream::DetachedVerifierBuilder;
use sequoia_openpgp::parse::stream::GoodChecksum;
use sequoia_openpgp::parse::stream::MessageLayer;
use sequoia_openpgp::parse::stream::MessageStructure;
use sequoia_openpgp::parse::stream::VerificationError;
use sequoia_openpgp::parse::stream::VerificationHelper;
use sequoia_openpgp::parse::stream::VerificationResult;
use sequoia_openpgp::parse::stream::VerifierBuilder;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;
use sequoia_openpgp::types::SymmetricAlgorithm;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::armour;
use crate::infra::keys::framing;
use crate::infra::keys::mail::Certificates;
use crate::infra::keys::mail::OpenFlaw;
use crate::infra::keys::mail::OpenedMessage;
use crate::infra::keys::mail::SignatureVerdict;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::peers::fingerprint_of;
use crate::infra::keys::peers::system_time;

/// First and last lines of a text that was signed in clear (RFC 9580 §7).
const CLEARTEXT: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const SIGNATURE_END: &str = "-----END PGP SIGNATURE-----";

/// Opens a message (binary or armoured) with a mailbox's secret key, and looks at its signatures.
/// One message, in one armour, with nothing around it; encryption stands outermost or nowhere.
/// What the message says of itself (a file's name, a date) is not authenticated, and left out.
///
/// Takes memory for the message once and for its clear text once, or twice when it was compressed.
///
/// # Errors
/// What stands against it; nothing of its text is returned then. Whoever sent it should not learn
/// which of them it was.
pub fn open_message(
    keys: &MailboxKeys,
    message: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Result<OpenedMessage, OpenFlaw> {
    guarded(|| open(keys, message, known, now)).unwrap_or(Err(OpenFlaw::Malformed))
}

/// A letter that the library stumbles over is a bad letter, and must not come back as a crash at
/// each attempt: such places were found here. Nothing of ours is left half done by it.
pub(in crate::infra::keys) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn open(
    keys: &MailboxKeys,
    message: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Result<OpenedMessage, OpenFlaw> {
    if message.len() > limits::OPENPGP_MESSAGE_OCTETS_MAX {
        return Err(OpenFlaw::OverLimit);
    }
    let unarmoured;
    let message = match armour::is_binary(message) {
        true => message,
        false => {
            let (kind, octets) = armour::only_block(message).ok_or(OpenFlaw::Malformed)?;
            if kind != armour::Kind::Message {
                return Err(OpenFlaw::Malformed);
            }
            unarmoured = octets;
            unarmoured.as_slice()
        }
    };
    let encrypted = framing::message(message)? == framing::Outside::Encrypted;
    let course = RefCell::new(Course::default());
    let policy = StandardPolicy::new();
    let at = system_time(now);
    let helper = Opening { keys: Some(keys), known, policy: &policy, at, course: &course };
    let mut decryptor = DecryptorBuilder::from_bytes(message)
        .map(|builder| builder.buffer_size(limits::OPENPGP_PIECE_OCTETS))
        .and_then(|builder| builder.with_policy(&policy, Some(at), helper))
        .map_err(|error| course.borrow().flaw(encrypted, &error))?;
    let clear = collect(&mut decryptor, message.len()).map_err(|stopped| match stopped {
        Stopped::OverLimit => OpenFlaw::OverLimit,
        Stopped::Library(error) => course.borrow().flaw(encrypted, &error.into()),
    })?;
    drop(decryptor);
    let course = course.into_inner();
    // The framing promised a container, and the library has opened it.
    if encrypted != course.encrypted {
        return Err(OpenFlaw::Integrity);
    }
    Ok(OpenedMessage { clear: Secret::new(clear), encrypted, signatures: course.verdicts })
}

/// Looks at a detached signature (binary or armoured) over these octets.
pub fn verify_detached(
    signed: &[u8],
    signature: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Vec<SignatureVerdict> {
    let Some(signatures) = signature_packets(signature) else {
        return vec![SignatureVerdict::Bad("not a signature, or too many of them")];
    };
    let course = RefCell::new(Course::default());
    let policy = StandardPolicy::new();
    let at = system_time(now);
    let helper = Opening { keys: None, known, policy: &policy, at, course: &course };
    let verified = guarded(|| {
        DetachedVerifierBuilder::from_bytes(&signatures)
            .and_then(|builder| builder.with_policy(&policy, Some(at), helper))
            .and_then(|mut verifier| verifier.verify_bytes(signed))
    });
    match verified {
        Some(Ok(())) => course.into_inner().verdicts,
        _ => vec![SignatureVerdict::Bad("not a signature")],
    }
}

/// A text that was signed in clear (RFC 9580 §7): the text that the signatures are over, and what
/// they say. It begins with its first line and ends with its last one: what stands around a signed
/// text is not signed, and belongs to the caller.
///
/// # Errors
/// [`OpenFlaw::Malformed`], [`OpenFlaw::OverLimit`]. A signature that is not good is a verdict.
pub fn verify_cleartext(
    message: &[u8],
    known: &dyn Certificates,
    now: Timestamp,
) -> Result<(Vec<u8>, Vec<SignatureVerdict>), OpenFlaw> {
    if message.len() > limits::OPENPGP_MESSAGE_OCTETS_MAX {
        return Err(OpenFlaw::OverLimit);
    }
    let text = std::str::from_utf8(message).map_err(|_| OpenFlaw::Malformed)?.trim();
    cleartext_form(text)?;
    guarded(|| verify_text(text, known, now)).unwrap_or(Err(OpenFlaw::Malformed))
}

fn verify_text(
    text: &str,
    known: &dyn Certificates,
    now: Timestamp,
) -> Result<(Vec<u8>, Vec<SignatureVerdict>), OpenFlaw> {
    let course = RefCell::new(Course::default());
    let policy = StandardPolicy::new();
    let at = system_time(now);
    let helper = Opening { keys: None, known, policy: &policy, at, course: &course };
    let mut verifier = VerifierBuilder::from_bytes(text.as_bytes())
        .map(|builder| builder.buffer_size(limits::OPENPGP_PIECE_OCTETS))
        .and_then(|builder| builder.with_policy(&policy, Some(at), helper))
        .map_err(|error| course.borrow().flaw(false, &error))?;
    let clear = collect(&mut verifier, text.len()).map_err(|_| OpenFlaw::Malformed)?;
    drop(verifier);
    Ok((clear, course.into_inner().verdicts))
}

/// One signed text: `Hash` is the only header (others were shown as if they were signed), and the
/// signature is one armour of a bounded number of signatures, the last thing of all.
fn cleartext_form(text: &str) -> Result<(), OpenFlaw> {
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(CLEARTEXT) {
        return Err(OpenFlaw::Malformed);
    }
    let headers = lines.by_ref().map(str::trim_end).take_while(|line| !line.is_empty());
    for (at, header) in headers.enumerate() {
        if !header.starts_with("Hash: ") || at >= limits::OPENPGP_ARMOUR_HEADERS_MAX {
            return Err(OpenFlaw::Malformed);
        }
    }
    // A line of the text itself that begins with a dash has another one before it.
    let mut dashes = text.lines().filter(|line| line.starts_with("-----")).map(str::trim_end);
    let in_order = dashes.by_ref().eq([CLEARTEXT, SIGNATURE, SIGNATURE_END]);
    let signature = text.rfind(SIGNATURE).map(|at| &text.as_bytes()[at..]);
    match (in_order, signature) {
        (true, Some(signature)) if signature_packets(signature).is_some() => Ok(()),
        _ => Err(OpenFlaw::Malformed),
    }
}

/// The packets of a detached signature, within limits and each once.
fn signature_packets(signature: &[u8]) -> Option<Vec<u8>> {
    let longest = 2 * limits::OPENPGP_MESSAGE_SIGNATURES_MAX * limits::OPENPGP_PACKET_OCTETS_MAX;
    if signature.len() > longest {
        return None;
    }
    if armour::is_binary(signature) {
        return framing::signatures(signature).ok().map(|packets| packets.concat());
    }
    let (kind, octets) = armour::only_block(signature)?;
    let is_signature = kind == armour::Kind::Signature;
    is_signature.then(|| framing::signatures(&octets).ok().map(|packets| packets.concat()))?
}

enum Stopped {
    OverLimit,
    Library(io::Error),
}

/// Reads to the end, or to the limit, into memory that is wiped on any way out but the good one.
fn collect(reader: &mut impl Read, message_octets: usize) -> Result<Vec<u8>, Stopped> {
    let ceiling = message_octets
        .saturating_mul(limits::OPENPGP_EXPANSION_MAX)
        .clamp(limits::OPENPGP_EXPANSION_FREE_OCTETS, limits::OPENPGP_CLEAR_OCTETS_MAX);
    // A clear text is shorter than its message unless it was compressed; one octet more tells the
    // end. What comes on top goes into pieces of their own: a vector that grows leaves its old
    // octets behind, in clear.
    let mut pieces = vec![Zeroizing::new(vec![0; message_octets.min(ceiling) + 1])];
    let mut before = 0;
    let mut filled = 0;
    while let Some(piece) = pieces.last_mut() {
        if filled == piece.len() {
            before += filled;
            filled = 0;
            if before > ceiling {
                return Err(Stopped::OverLimit);
            }
            pieces.push(Zeroizing::new(vec![0; before.min(ceiling + 1 - before)]));
            continue;
        }
        // No more at once than the library buffers: it takes a longer read for the end of the
        // message, and then reads all of it into memory, whatever its length.
        let end = piece.len().min(filled + limits::OPENPGP_PIECE_OCTETS);
        match reader.read(&mut piece[filled..end]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Library(error)),
        }
    }
    if let Some(last) = pieces.last_mut() {
        last.truncate(filled);
    }
    match pieces.as_mut_slice() {
        [only] => Ok(std::mem::take(&mut **only)),
        several => {
            let mut clear = Vec::with_capacity(before + filled);
            for piece in several {
                clear.extend_from_slice(piece);
            }
            Ok(clear)
        }
    }
}

/// What the library told on its way through a message.
#[derive(Default)]
struct Course {
    /// Of the limits, found while reading: decides over what the library says.
    flaw: Option<OpenFlaw>,
    /// A key of ours is named in the message.
    addressed: bool,
    /// Our key opened the container.
    opened: bool,
    encrypted: bool,
    compressed: bool,
    signatures: usize,
    idle: usize,
    verdicts: Vec<SignatureVerdict>,
}

impl Course {
    fn flaw(&self, encrypted: bool, error: &openpgp::anyhow::Error) -> OpenFlaw {
        if let Some(flaw) = self.flaw {
            return flaw;
        }
        match error.downcast_ref::<openpgp::Error>() {
            // The library's policy meets this packet before we do.
            Some(openpgp::Error::PolicyViolation(what, _))
                if what.starts_with(&Tag::SED.to_string()) =>
            {
                OpenFlaw::Integrity
            }
            Some(
                openpgp::Error::UnsupportedAEADAlgorithm(_)
                | openpgp::Error::UnsupportedSymmetricAlgorithm(_)
                | openpgp::Error::UnsupportedCompressionAlgorithm(_)
                | openpgp::Error::PolicyViolation(..),
            ) => OpenFlaw::Unsupported,
            _ if !encrypted => OpenFlaw::Malformed,
            _ if self.opened || self.addressed => OpenFlaw::Integrity,
            _ => OpenFlaw::OtherKey,
        }
    }

    /// A packet may stand where it stands. The grammar is the library's (RFC 9580 §10.3); numbers
    /// and depth are ours.
    fn meet(&mut self, packet: &Packet, depth: isize) -> Result<(), OpenFlaw> {
        match packet.tag() {
            // Counted by the walk; inside a container there is no further encryption.
            Tag::PKESK | Tag::SKESK | Tag::SEIP if depth == 0 => Ok(()),
            Tag::PKESK | Tag::SKESK | Tag::SEIP => Err(OpenFlaw::OverLimit),
            Tag::SED => Err(OpenFlaw::Integrity),
            Tag::OnePassSig | Tag::Signature => {
                self.signatures += 1;
                within(self.signatures <= 2 * limits::OPENPGP_MESSAGE_SIGNATURES_MAX)
            }
            // Once: a compressed packet that holds itself (a quine) has no end.
            Tag::CompressedData => within(!std::mem::replace(&mut self.compressed, true)),
            Tag::Marker | Tag::Padding => {
                self.idle += 1;
                within(self.idle <= limits::OPENPGP_IDLE_PACKETS_MAX)
            }
            Tag::Literal | Tag::MDC => Ok(()),
            _ => Err(OpenFlaw::Unsupported),
        }
    }
}

fn within(is_within: bool) -> Result<(), OpenFlaw> {
    if is_within { Ok(()) } else { Err(OpenFlaw::OverLimit) }
}

struct Opening<'a> {
    keys: Option<&'a MailboxKeys>,
    known: &'a dyn Certificates,
    policy: &'a StandardPolicy<'a>,
    at: SystemTime,
    course: &'a RefCell<Course>,
}

impl VerificationHelper for Opening<'_> {
    fn get_certs(&mut self, ids: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let found = ids.iter().flat_map(|id| self.known.of_key(&fingerprint_of(id)));
        Ok(found.map(|certificate| Cert::clone(&certificate.0)).collect())
    }

    fn inspect(&mut self, parser: &PacketParser<'_>) -> openpgp::Result<()> {
        let mut course = self.course.borrow_mut();
        let met = course.meet(&parser.packet, parser.recursion_depth());
        met.map_err(|flaw| {
            course.flaw = Some(flaw);
            flaw.into()
        })
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        let mut course = self.course.borrow_mut();
        for layer in structure {
            match layer {
                MessageLayer::Encryption { .. } => course.encrypted = true,
                MessageLayer::SignatureGroup { results } => {
                    for result in results {
                        let verdict = verdict(result, self.policy, self.at);
                        // Twice the same signature says nothing more.
                        if !course.verdicts.contains(&verdict) {
                            course.verdicts.push(verdict);
                        }
                    }
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
        let mut course = self.course.borrow_mut();
        let mut tries = 0;
        for pkesk in pkesks {
            for key in keys.decryption_keys()? {
                let is_named = match pkesk.recipient() {
                    Some(id) if id.aliases(key.key_handle()) => true,
                    Some(_) => continue,
                    None => false,
                };
                if pkesk.pk_algo() != key.pk_algo() {
                    continue;
                }
                tries += 1;
                if tries > limits::OPENPGP_TRIES_MAX {
                    course.flaw = Some(OpenFlaw::OverLimit);
                    return Err(OpenFlaw::OverLimit.into());
                }
                course.addressed |= is_named;
                let Ok(mut pair) = key.clone().into_keypair() else { continue };
                if let Some((algorithm, session_key)) = pkesk.decrypt(&mut pair, cipher)
                    && decrypt(algorithm, &session_key)
                {
                    course.opened = true;
                    // A signature that was meant for others is not good for us.
                    return keys.own_certificate().map(Some);
                }
            }
        }
        Ok(None)
    }
}

fn verdict(
    result: VerificationResult<'_>,
    policy: &StandardPolicy<'_>,
    now: SystemTime,
) -> SignatureVerdict {
    let error = match result {
        Ok(good) => return standing(&good, policy, now),
        Err(error) => error,
    };
    match error {
        VerificationError::MissingKey { sig } => SignatureVerdict::Unknown(issuer(sig)),
        VerificationError::BadKey { .. } => {
            SignatureVerdict::Bad("its key is expired, revoked or may not sign")
        }
        VerificationError::UnboundKey { .. } => {
            SignatureVerdict::Bad("its key is not, by today's rules, a part of the certificate")
        }
        VerificationError::UnknownSignature { .. }
        | VerificationError::MalformedSignature { .. } => {
            SignatureVerdict::Bad("it is of a kind that is not read here")
        }
        VerificationError::BadSignature { error, .. } => {
            SignatureVerdict::Bad(match error.downcast_ref::<openpgp::Error>() {
                Some(openpgp::Error::UnsupportedSignatureType(_)) => {
                    "it is a signature of something else than a letter"
                }
                Some(openpgp::Error::PolicyViolation(..)) => {
                    "it was made by a method that is no longer trusted"
                }
                Some(openpgp::Error::Expired(_) | openpgp::Error::NotYetLive(_)) => {
                    "its time has ended, or has not begun"
                }
                Some(openpgp::Error::BadSignature(reason)) if reason.starts_with("Not an int") => {
                    "it was made for other recipients"
                }
                _ => "it does not match",
            })
        }
        _ => SignatureVerdict::Bad("it does not match"),
    }
}

/// The signature was good when it says that it was made; who has stolen an old key says any date.
/// So the certificate and the key must be good now as well.
fn standing(
    good: &GoodChecksum<'_>,
    policy: &StandardPolicy<'_>,
    now: SystemTime,
) -> SignatureVerdict {
    const GONE: SignatureVerdict =
        SignatureVerdict::Bad("its key has expired or was revoked since it was made");
    let is_revoked = |status| matches!(status, RevocationStatus::Revoked(_));
    let cert = good.ka.cert();
    let Ok(key) = good.ka.amalgamation().clone().with_policy(policy, now) else { return GONE };
    let valid = key.valid_cert();
    if valid.alive().is_err()
        || key.alive().is_err()
        || is_revoked(valid.revocation_status())
        || is_revoked(key.revocation_status())
        || !key.for_signing()
    {
        return GONE;
    }
    SignatureVerdict::Good(PeerCertificate(std::sync::Arc::new(cert.clone())).fingerprint())
}

fn issuer(signature: &Signature) -> String {
    signature.get_issuers().first().map(fingerprint_of).unwrap_or_default()
}
