//! Packets of strangers, counted and measured before the library sees any of them (RFC 9580 §4.2,
//! §10.3). Nothing is decrypted, decompressed, copied or verified here: a walk over lengths.
use crate::domain::limits;
use crate::infra::keys::mail::OpenFlaw;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::pgp::Length;
use crate::infra::keys::pgp::body_length;

/// Numbers of packets (RFC 9580 §5).
mod tag {
    pub(super) const PKESK: u8 = 1;
    pub(super) const SIGNATURE: u8 = 2;
    pub(super) const SKESK: u8 = 3;
    pub(super) const ONE_PASS: u8 = 4;
    pub(super) const SECRET_KEY: u8 = 5;
    pub(super) const PUBLIC_KEY: u8 = 6;
    pub(super) const SECRET_SUBKEY: u8 = 7;
    pub(super) const COMPRESSED: u8 = 8;
    pub(super) const UNPROTECTED: u8 = 9;
    pub(super) const MARKER: u8 = 10;
    pub(super) const LITERAL: u8 = 11;
    pub(super) const TRUST: u8 = 12;
    pub(super) const USER_ID: u8 = 13;
    pub(super) const PUBLIC_SUBKEY: u8 = 14;
    pub(super) const USER_ATTRIBUTE: u8 = 17;
    pub(super) const PROTECTED: u8 = 18;
    /// "OCB Encrypted Data" of LibrePGP, which RFC 9580 left out.
    pub(super) const LIBREPGP: u8 = 20;
    pub(super) const PADDING: u8 = 21;
    /// From here on, a packet that nobody knows may be passed over (RFC 9580 §4.3).
    pub(super) const NOT_CRITICAL: u8 = 40;
}

/// The least octets of a container of version 1: its version, a block and two octets of it again,
/// a packet of digest. What it holds comes on top.
const VERSION_1_OCTETS: usize = 1 + 16 + 2 + 22;

/// What a message is on the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// Keys, and one container with protection.
    Encrypted,
    /// Signed, compressed or plain.
    Clear,
}

/// A packet where it lies.
struct Packet<'a> {
    tag: u8,
    /// With its header.
    whole: &'a [u8],
    /// Its body, or the first part of it.
    body: &'a [u8],
    /// Octets of all of its body.
    octets: usize,
    in_one_piece: bool,
}

struct Packets<'a> {
    rest: &'a [u8],
    parts: usize,
}

impl<'a> Packets<'a> {
    fn of(octets: &'a [u8]) -> Self {
        Self { rest: octets, parts: 0 }
    }

    /// `None` where lengths do not fit, or there are more parts than anybody writes.
    fn next_packet(&mut self) -> Option<Packet<'a>> {
        let began = self.rest;
        let (&first, after) = began.split_first()?;
        let (tag, body, more, in_one_piece, rest) = match first {
            0xC0.. => {
                let (length, body) = body_length(after)?;
                match length {
                    Length::Whole(length) => {
                        let (body, rest) = body.split_at_checked(length)?;
                        (first & 0x3F, body, 0, true, rest)
                    }
                    Length::Partial(length) => {
                        // RFC 9580 §4.2.1.4: the first part has 512 octets at least.
                        let (part, rest) = body.split_at_checked(length)?;
                        if length < 512 {
                            return None;
                        }
                        let (more, rest) = self.further_parts(rest)?;
                        (first & 0x3F, part, more, false, rest)
                    }
                }
            }
            0x80.. => {
                let (body, in_one_piece, rest) = match (first & 3, after) {
                    (0, [length, body @ ..]) => cut(body, usize::from(*length))?,
                    (1, [high, low, body @ ..]) => {
                        cut(body, usize::from(u16::from_be_bytes([*high, *low])))?
                    }
                    (2, [a, b, c, d, body @ ..]) => {
                        cut(body, usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?)?
                    }
                    // To the end of all.
                    (3, body) => (body, false, &body[body.len()..]),
                    _ => return None,
                };
                ((first >> 2) & 0x0F, body, 0, in_one_piece, rest)
            }
            _ => return None,
        };
        self.rest = rest;
        let whole = began.get(..began.len() - rest.len())?;
        Some(Packet { tag, whole, body, octets: body.len() + more, in_one_piece })
    }

    /// How many octets they have, and what follows them.
    fn further_parts(&mut self, mut rest: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let mut octets = 0;
        loop {
            self.parts += 1;
            let (length, body) = body_length(rest)?;
            match length {
                Length::Whole(length) => return Some((octets + length, body.get(length..)?)),
                Length::Partial(length) => {
                    octets += length;
                    rest = body.get(length..)?;
                }
            }
            if self.parts > limits::OPENPGP_PACKET_PARTS_MAX {
                return None;
            }
        }
    }
}

fn cut(body: &[u8], length: usize) -> Option<(&[u8], bool, &[u8])> {
    let (body, rest) = body.split_at_checked(length)?;
    Some((body, true, rest))
}

/// Judges a message by its outermost packets.
pub(super) fn message(octets: &[u8]) -> Result<Outside, OpenFlaw> {
    let mut packets = Packets::of(octets);
    let mut counted = Counted::default();
    let mut found = None;
    while !packets.rest.is_empty() {
        let packet = packets.next_packet().ok_or(OpenFlaw::Malformed)?;
        let is_container = matches!(
            packet.tag,
            tag::COMPRESSED | tag::UNPROTECTED | tag::LITERAL | tag::PROTECTED | tag::LIBREPGP
        );
        if !is_container && !packet.in_one_piece {
            return Err(OpenFlaw::Malformed);
        }
        if !is_container && packet.body.len() > limits::OPENPGP_PACKET_OCTETS_MAX {
            return Err(OpenFlaw::OverLimit);
        }
        match packet.tag {
            tag::MARKER | tag::PADDING => counted.idle += 1,
            // Exactly one message: nothing but signatures follows its content.
            _ if found == Some(Outside::Encrypted) => return Err(OpenFlaw::Malformed),
            tag::SIGNATURE if counted.keys == 0 => counted.signatures += 1,
            _ if found.is_some() => return Err(OpenFlaw::Malformed),
            tag::ONE_PASS if counted.keys == 0 => counted.signatures += 1,
            tag::COMPRESSED | tag::LITERAL if counted.keys == 0 => found = Some(Outside::Clear),
            // Signatures around a container are written by nobody, and mean little.
            tag::PKESK | tag::SKESK if counted.signatures == 0 => counted.keys += 1,
            tag::PROTECTED if counted.keys > 0 => {
                protection(&packet)?;
                found = Some(Outside::Encrypted);
            }
            // EFAIL: what has no protection is not opened, whoever wrote it and when.
            tag::UNPROTECTED => return Err(OpenFlaw::Integrity),
            tag::LIBREPGP => return Err(OpenFlaw::Unsupported),
            _ => return Err(OpenFlaw::Malformed),
        }
        counted.within_limits()?;
    }
    found.ok_or(OpenFlaw::Malformed)
}

#[derive(Default)]
struct Counted {
    keys: usize,
    signatures: usize,
    idle: usize,
}

impl Counted {
    fn within_limits(&self) -> Result<(), OpenFlaw> {
        let within = self.keys <= limits::OPENPGP_KEY_PACKETS_MAX
            // One at the beginning and one at the end are one signature.
            && self.signatures <= 2 * limits::OPENPGP_MESSAGE_SIGNATURES_MAX
            && self.idle <= limits::OPENPGP_IDLE_PACKETS_MAX;
        if within { Ok(()) } else { Err(OpenFlaw::OverLimit) }
    }
}

/// RFC 9580 §5.13: versions 1 and 2 are known. Chunks of version 2 have 4 MiB at most.
fn protection(packet: &Packet<'_>) -> Result<(), OpenFlaw> {
    match packet.body {
        // The library panics where the octets of the digest are not there (its 2.4.2).
        [1, ..] if packet.octets < VERSION_1_OCTETS => Err(OpenFlaw::Malformed),
        [1, ..] => Ok(()),
        [2, _cipher, _mode, 0..=16, ..] => Ok(()),
        [2, ..] | [] => Err(OpenFlaw::Malformed),
        _ => Err(OpenFlaw::Unsupported),
    }
}

/// The signature packets of a detached signature, each once.
pub(super) fn signatures(octets: &[u8]) -> Result<Vec<&[u8]>, OpenFlaw> {
    let mut packets = Packets::of(octets);
    let mut found: Vec<&[u8]> = Vec::new();
    let mut idle = 0;
    while !packets.rest.is_empty() {
        let packet = packets.next_packet().ok_or(OpenFlaw::Malformed)?;
        match packet.tag {
            tag::SIGNATURE if packet.in_one_piece => {
                if packet.body.len() > limits::OPENPGP_PACKET_OCTETS_MAX {
                    return Err(OpenFlaw::OverLimit);
                }
                if !found.contains(&packet.whole) {
                    found.push(packet.whole);
                }
            }
            tag::MARKER | tag::PADDING => idle += 1,
            _ => return Err(OpenFlaw::Malformed),
        }
        if found.len() > limits::OPENPGP_MESSAGE_SIGNATURES_MAX
            || idle > limits::OPENPGP_IDLE_PACKETS_MAX
        {
            return Err(OpenFlaw::OverLimit);
        }
    }
    if found.is_empty() { Err(OpenFlaw::Malformed) } else { Ok(found) }
}

/// The certificates of a file, where they lie, each judged by its packets.
pub(super) fn certificates(octets: &[u8]) -> Vec<Result<&[u8], CertificateFlaw>> {
    let mut packets = Packets::of(octets);
    let mut found = Vec::new();
    let mut began = octets;
    let mut current: Option<Parts> = None;
    let mut flaw = None;
    loop {
        let at = packets.rest;
        let next = match at.is_empty() {
            true => None,
            false => Some(packets.next_packet()),
        };
        let begins = match &next {
            Some(Some(packet)) => matches!(packet.tag, tag::PUBLIC_KEY | tag::SECRET_KEY),
            Some(None) | None => true,
        };
        if begins && current.is_some() {
            let whole = &began[..began.len() - at.len()];
            found.push(flaw.take().map_or(Ok(whole), Err));
            current = None;
        }
        let packet = match next {
            None => return found,
            Some(None) => {
                found.push(Err(CertificateFlaw::Unreadable));
                return found;
            }
            Some(Some(packet)) => packet,
        };
        if begins {
            if found.len() >= limits::OPENPGP_KEY_RING_CERTIFICATES_MAX {
                found.push(Err(CertificateFlaw::OverLimit));
                return found;
            }
            began = at;
            current = Some(Parts::default());
        }
        match &mut current {
            Some(parts) => flaw = flaw.or(parts.take(&packet).err()),
            // Something stands before the first key.
            None if matches!(packet.tag, tag::MARKER | tag::PADDING) => {}
            None => {
                found.push(Err(CertificateFlaw::Unreadable));
                return found;
            }
        }
    }
}

/// Of one certificate.
#[derive(Default)]
struct Parts {
    octets: usize,
    user_ids: usize,
    subkeys: usize,
    signatures: usize,
    others: usize,
}

impl Parts {
    fn take(&mut self, packet: &Packet<'_>) -> Result<(), CertificateFlaw> {
        if !packet.in_one_piece {
            return Err(CertificateFlaw::Unreadable);
        }
        let longest = match packet.tag {
            tag::SECRET_KEY | tag::SECRET_SUBKEY => return Err(CertificateFlaw::HoldsSecret),
            tag::PUBLIC_KEY => {
                numbers(packet.body)?;
                limits::OPENPGP_KEY_OCTETS_MAX
            }
            tag::PUBLIC_SUBKEY => {
                numbers(packet.body)?;
                self.subkeys += 1;
                limits::OPENPGP_KEY_OCTETS_MAX
            }
            tag::USER_ID => {
                self.user_ids += 1;
                limits::OPENPGP_USER_ID_OCTETS_MAX
            }
            tag::USER_ATTRIBUTE => {
                self.user_ids += 1;
                limits::OPENPGP_CERTIFICATE_OCTETS_MAX
            }
            tag::SIGNATURE => {
                self.signatures += 1;
                limits::OPENPGP_PACKET_OCTETS_MAX
            }
            tag::MARKER | tag::PADDING | tag::TRUST | tag::NOT_CRITICAL.. => {
                self.others += 1;
                limits::OPENPGP_PACKET_OCTETS_MAX
            }
            _ => return Err(CertificateFlaw::Unreadable),
        };
        self.octets += packet.whole.len();
        let within = packet.body.len() <= longest
            && self.octets <= limits::OPENPGP_CERTIFICATE_OCTETS_MAX
            && self.user_ids <= limits::OPENPGP_USER_IDS_MAX
            && self.subkeys <= limits::OPENPGP_SUBKEYS_MAX
            && self.signatures <= limits::OPENPGP_CERTIFICATE_SIGNATURES_MAX
            && self.others <= limits::OPENPGP_CERTIFICATE_SIGNATURES_MAX;
        if within { Ok(()) } else { Err(CertificateFlaw::OverLimit) }
    }
}

/// Numbers of RSA (1, 2, 3), ElGamal (16) and DSA (17) keys are as long as their maker likes, and
/// work with them takes time by the cube of it. Those of curves have their curve's length.
fn numbers(key: &[u8]) -> Result<(), CertificateFlaw> {
    // RFC 9580 §5.5.2: version, time, algorithm; version 6 says the length of what follows.
    let (algorithm, mut rest) = match key {
        [4, _, _, _, _, algorithm, rest @ ..] => (*algorithm, rest),
        [6, _, _, _, _, algorithm, _, _, _, _, rest @ ..] => (*algorithm, rest),
        _ => return Err(CertificateFlaw::Unreadable),
    };
    let longest: &[usize] = match algorithm {
        1..=3 => &[limits::OPENPGP_NUMBER_BITS_MAX, limits::OPENPGP_EXPONENT_BITS_MAX],
        16 => &[limits::OPENPGP_NUMBER_BITS_MAX; 3],
        17 => &[
            limits::OPENPGP_NUMBER_BITS_MAX,
            512,
            limits::OPENPGP_NUMBER_BITS_MAX,
            limits::OPENPGP_NUMBER_BITS_MAX,
        ],
        _ => return Ok(()),
    };
    for longest in longest {
        let [high, low, number @ ..] = rest else { return Err(CertificateFlaw::Unreadable) };
        let bits = usize::from(u16::from_be_bytes([*high, *low]));
        if bits > *longest {
            return Err(CertificateFlaw::OverLimit);
        }
        rest = number.get(bits.div_ceil(8)..).ok_or(CertificateFlaw::Unreadable)?;
    }
    Ok(())
}
