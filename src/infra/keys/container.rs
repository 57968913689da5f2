//! The encrypted container of version 2 (RFC 9580 §5.13.2) with AES-256 in OCB.
//!
//! Keys, nonces and the cipher are the library's. The framing is ours: how the clear text is cut
//! into chunks, and that the container has one definite length. So a chunk goes from where it
//! lies in the ciphertext to where it belongs in the clear text, and no buffer of the library,
//! which are large and not wiped, is in between. And since the framing is always the same, any
//! stretch of the clear text can be opened without the rest: see [`Opener`].
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::crypto::aead::DecryptionContext;
use sequoia_openpgp::crypto::aead::EncryptionContext;
use sequoia_openpgp::crypto::aead::SEIPv2Schedule;
use sequoia_openpgp::crypto::aead::Schedule;
use sequoia_openpgp::types::AEADAlgorithm;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::domain::secret::Wipe;
use crate::infra::keys::KeyError;
use crate::infra::keys::fill_random;
use crate::infra::keys::pgp::CIPHER;
use crate::infra::keys::pgp::CIPHER_ID;
use crate::infra::keys::pgp::LITERAL_TAG;
use crate::infra::keys::pgp::Length;
use crate::infra::keys::pgp::SEIPD_TAG;
use crate::infra::keys::pgp::body_length;
use crate::infra::keys::pgp::library;

/// The mode that every implementation must have, and its identifier (RFC 9580 §9.6).
const MODE: AEADAlgorithm = AEADAlgorithm::OCB;
const MODE_ID: u8 = 2;
/// Octets of its tags.
const TAG: usize = 16;
/// Octets of clear text under one tag, as the exponent that the container names: large enough
/// that the cipher's preparation does not count, small enough for a core's own cache.
const CHUNK_OCTET: u8 = 10;
const CHUNK: usize = 1 << (CHUNK_OCTET + 6);
/// RFC 9580 §5.13.2: no chunk is larger than 4 MiB.
const CHUNK_OCTET_MAX: u8 = 16;
/// The version of this container.
const VERSION: u8 = 2;
const SALT: usize = 32;
/// Version, cipher, mode, chunk size and salt.
const HEADER: usize = 4 + SALT;
/// Octets of a part of the literal packet: a power of two, at least 512 (RFC 9580 §4.2.1.4).
const PART_EXPONENT: u8 = 15;
const PART: usize = 1 << PART_EXPONENT;
/// Octets of the last part's length.
const LAST_LENGTH: u64 = 5;
/// How a literal packet's content begins: binary, no file name, no date (RFC 9580 §5.9).
const LITERAL_HEAD: &[u8] = b"b\0\0\0\0\0";

/// Clear text streams in, a container grows.
pub(super) struct Sealing {
    chunks: Chunks,
    /// The literal packet's next part.
    part: Vec<u8>,
}

impl Sealing {
    /// Begins a container behind `head`.
    pub(super) fn new(head: Vec<u8>, session_key: &SessionKey) -> Result<Self, KeyError> {
        let mut chunks = Chunks::new(head, session_key)?;
        chunks.write(&[LITERAL_TAG])?;
        let mut part = Vec::with_capacity(PART);
        part.extend_from_slice(LITERAL_HEAD);
        Ok(Self { chunks, part })
    }

    /// Takes the next octets.
    pub(super) fn write(&mut self, mut clear: &[u8]) -> Result<(), KeyError> {
        self.chunks.sealed.reserve(clear.len());
        while !clear.is_empty() {
            if self.part.len() == PART {
                self.end_part(&[0xE0 | PART_EXPONENT])?;
            }
            let (now, later) = clear.split_at(clear.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            clear = later;
        }
        Ok(())
    }

    /// Ends the container.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, KeyError> {
        // RFC 9580 §4.2.1.4: the last length is not a partial one.
        let [a, b, c, d] = u32::try_from(self.part.len()).expect("at most PART").to_be_bytes();
        self.end_part(&[0xFF, a, b, c, d])?;
        self.chunks.finish()
    }

    fn end_part(&mut self, length: &[u8]) -> Result<(), KeyError> {
        self.chunks.write(length)?;
        self.chunks.write(&self.part)?;
        wipe(&mut self.part);
        Ok(())
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        wipe(&mut self.part);
    }
}

/// The chunks of the container, and its frame.
struct Chunks {
    /// What was given before the container, and the container.
    sealed: Vec<u8>,
    /// Where the container's length is written when it is known.
    length_at: usize,
    schedule: SEIPv2Schedule,
    /// The next chunk.
    chunk: Vec<u8>,
    /// How many are sealed, and how many octets of clear text are in them.
    count: u64,
    octets: u64,
}

impl Chunks {
    fn new(mut sealed: Vec<u8>, session_key: &SessionKey) -> Result<Self, KeyError> {
        // RFC 9580 §4.2.1.3: five octets hold any length.
        sealed.extend_from_slice(&[SEIPD_TAG, 0xFF]);
        let length_at = sealed.len();
        sealed.extend_from_slice(&[0; 4]);
        let mut salt = [0; SALT];
        fill_random(&mut salt);
        sealed.extend_from_slice(&[VERSION, CIPHER_ID, MODE_ID, CHUNK_OCTET]);
        sealed.extend_from_slice(&salt);
        let schedule =
            SEIPv2Schedule::new(session_key, CIPHER, MODE, CHUNK, &salt).map_err(library)?;
        let chunk = Vec::with_capacity(CHUNK);
        Ok(Self { sealed, length_at, schedule, chunk, count: 0, octets: 0 })
    }

    fn write(&mut self, mut octets: &[u8]) -> Result<(), KeyError> {
        while !octets.is_empty() {
            if self.chunk.len() == CHUNK {
                self.end_chunk()?;
            }
            let (now, later) = octets.split_at(octets.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            octets = later;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<u8>, KeyError> {
        self.end_chunk()?;
        let context = self.schedule.finalizer(self.count, self.octets, &mut for_encryption);
        seal_onto(&mut self.sealed, context.map_err(library)?, &[])?;
        let length_end = self.length_at + 4;
        let length = u32::try_from(self.sealed.len() - length_end)
            .map_err(|_| KeyError::Library("a content of more than 4 GiB".to_owned()))?;
        self.sealed[self.length_at..length_end].copy_from_slice(&length.to_be_bytes());
        Ok(std::mem::take(&mut self.sealed))
    }

    fn end_chunk(&mut self) -> Result<(), KeyError> {
        let context = self.schedule.chunk(self.count, &mut for_encryption).map_err(library)?;
        seal_onto(&mut self.sealed, context, &self.chunk)?;
        self.count += 1;
        self.octets += self.chunk.len() as u64;
        wipe(&mut self.chunk);
        Ok(())
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        wipe(&mut self.chunk);
    }
}

/// Empties a buffer. It is always emptied so: what lies behind its end was never used, and a
/// small letter does not pay for a large buffer.
fn wipe(buffer: &mut Vec<u8>) {
    buffer.as_mut_slice().wipe();
    buffer.clear();
}

fn seal_onto(
    sealed: &mut Vec<u8>,
    mut context: EncryptionContext,
    clear: &[u8],
) -> Result<(), KeyError> {
    let start = sealed.len();
    sealed.resize(start + clear.len() + TAG, 0);
    context.encrypt_seal(&mut sealed[start..], clear).map_err(library)
}

fn for_encryption(
    key: &SessionKey,
    nonce: &[u8],
    associated: &[u8],
) -> sequoia_openpgp::Result<EncryptionContext> {
    MODE.context(CIPHER, key, associated, nonce)?.for_encryption()
}

fn for_decryption(
    key: &SessionKey,
    nonce: &[u8],
    associated: &[u8],
) -> sequoia_openpgp::Result<DecryptionContext> {
    MODE.context(CIPHER, key, associated, nonce)?.for_decryption()
}

/// Opens a container, given its body (what follows the packet's length). Each chunk has its own
/// tag, and a last one counts them: nothing is returned before all of them are checked. `None`
/// when anything was altered, moved or cut.
pub(super) fn open(session_key: &SessionKey, body: &[u8]) -> Option<Secret<Vec<u8>>> {
    let (header, sealed) = body.split_first_chunk::<HEADER>()?;
    let ([VERSION, CIPHER_ID, MODE_ID, chunk_octet @ ..=CHUNK_OCTET_MAX], salt) =
        header.split_first_chunk::<4>()?
    else {
        return None;
    };
    let chunk = 1_usize << (chunk_octet + 6);
    let schedule = SEIPv2Schedule::new(session_key, CIPHER, MODE, chunk, salt).ok()?;
    let (sealed, last_tag) = sealed.split_last_chunk::<TAG>()?;
    // Room for all of it from the start: growing would leave copies of the clear text behind.
    // What is not yet authentic lies here too; it is wiped on every way out but the last.
    let mut clear = Zeroizing::new(vec![0; sealed.len()]);
    let (mut index, mut end) = (0, 0);
    for sealed_chunk in sealed.chunks(chunk + TAG) {
        let length = sealed_chunk.len().checked_sub(TAG).filter(|length| *length > 0)?;
        let mut context = schedule.chunk(index, &mut for_decryption).ok()?;
        let place = clear.get_mut(end..end + length)?;
        context.decrypt_verify(place, sealed_chunk).ok()?;
        index += 1;
        end += length;
    }
    let mut context = schedule.finalizer(index, end as u64, &mut for_decryption).ok()?;
    context.decrypt_verify(&mut [], last_tag).ok()?;
    let length = unframe(&mut clear[..end])?;
    clear.truncate(length);
    Some(Secret::new(std::mem::take(&mut *clear)))
}

/// Moves the content of the one literal packet to the front, and gives its length. `None` for
/// any other packet (compressed data, above all: a bomb, or a quine), and for more than one.
fn unframe(packet: &mut [u8]) -> Option<usize> {
    if *packet.first()? != LITERAL_TAG {
        return None;
    }
    let (mut at, mut end) = (1, 0);
    loop {
        let (length, rest) = body_length(packet.get(at..)?)?;
        let start = packet.len() - rest.len();
        let (Length::Whole(octets) | Length::Partial(octets)) = length;
        let part = rest.get(..octets)?;
        // The first part begins with the head; nothing is moved before it was seen.
        let head = if at == 1 { LITERAL_HEAD } else { &[] };
        if !part.starts_with(head) {
            return None;
        }
        at = start + octets;
        packet.copy_within(start + head.len()..at, end);
        end += octets - head.len();
        if matches!(length, Length::Whole(_)) {
            return (at == packet.len()).then_some(end);
        }
    }
}

/// Opens a container chunk by chunk, in any order. What a chunk says is authentic before it is given
/// out; that nothing is missing behind the last one is known from the last tag, which may be asked
/// first.
///
/// The framing of what [`Sealing`] writes follows from the container's length alone, so each octet
/// of clear text has a known place. That it is framed so is checked chunk by chunk, too: a container
/// that is framed in another way (nobody wrote one) has to be opened whole.
pub(super) struct Opener {
    schedule: SEIPv2Schedule,
    /// Octets of the literal packet, with its frame.
    packet: u64,
    /// Its parts of [`PART`] octets before the last one.
    parts: u64,
    /// Octets of its content.
    content: u64,
}

/// What lies at a place of the literal packet.
enum Place {
    /// An octet of its frame.
    Frame(u8),
    /// So many octets of content, up to the next octet of the frame.
    Content(u64),
}

impl Opener {
    /// Octets of clear text in a chunk, at most.
    pub(super) const CLEAR: usize = CHUNK;
    /// Octets of a chunk with its tag, at most.
    pub(super) const SEALED: usize = CHUNK + TAG;
    /// Octets of the header, which are before the first chunk.
    pub(super) const HEADER: usize = HEADER;
    /// Octets of the last tag, which are behind the last chunk.
    pub(super) const LAST_TAG: usize = TAG;

    /// Reads the header of a container whose body has `length` octets. `None` when it is none that
    /// [`Sealing`] writes.
    pub(super) fn new(
        session_key: &SessionKey,
        header: &[u8; HEADER],
        length: u64,
    ) -> Option<Self> {
        let ([VERSION, CIPHER_ID, MODE_ID, CHUNK_OCTET], salt) = header.split_first_chunk::<4>()?
        else {
            return None;
        };
        let sealed = length.checked_sub((HEADER + TAG) as u64)?;
        let chunks = sealed.div_ceil(Self::SEALED as u64);
        let packet = sealed.checked_sub(chunks * TAG as u64)?;
        // A chunk of a tag alone.
        if packet.div_ceil(CHUNK as u64) != chunks {
            return None;
        }
        // The tag of the packet, a length of one octet for each part of `PART`, one of five for the
        // last part, which has 1 to `PART` octets.
        let framed = packet.checked_sub(1 + LAST_LENGTH)?;
        let parts = framed.checked_sub(1)? / (PART as u64 + 1);
        let last = framed - parts * (PART as u64 + 1);
        let content = (framed - parts).checked_sub(LITERAL_HEAD.len() as u64)?;
        if last > PART as u64 {
            return None;
        }
        let schedule = SEIPv2Schedule::new(session_key, CIPHER, MODE, CHUNK, salt).ok()?;
        Some(Self { schedule, packet, parts, content })
    }

    /// Octets of the content.
    pub(super) fn len(&self) -> u64 {
        self.content
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> u64 {
        self.packet.div_ceil(CHUNK as u64)
    }

    /// In which chunk an octet of the content lies.
    pub(super) fn chunk_of(&self, octet: u64) -> u64 {
        let octet = octet + LITERAL_HEAD.len() as u64;
        let part = (octet / PART as u64).min(self.parts);
        let lengths = part + if part < self.parts { 1 } else { LAST_LENGTH };
        (1 + lengths + octet) / CHUNK as u64
    }

    /// Where the content of a chunk begins in the whole content.
    pub(super) fn start_of(&self, chunk: u64) -> u64 {
        let Some(at) = (chunk * CHUNK as u64).min(self.packet).checked_sub(1) else { return 0 };
        let part = (at / (PART as u64 + 1)).min(self.parts);
        let lengths = if part < self.parts { 1 } else { LAST_LENGTH };
        let in_part = (at - part * (PART as u64 + 1)).saturating_sub(lengths);
        (part * PART as u64 + in_part).saturating_sub(LITERAL_HEAD.len() as u64)
    }

    /// Opens a chunk, given all its octets and its tag, at the end of `clear`, which gets no more
    /// than [`Opener::CLEAR`] octets. False, and nothing is added, when it was altered or is
    /// another chunk.
    pub(super) fn open(&self, chunk: u64, sealed: &[u8], clear: &mut Vec<u8>) -> bool {
        let (start, length) = (clear.len(), sealed.len().saturating_sub(TAG));
        clear.resize(start + length, 0);
        match self.open_onto(chunk, sealed, &mut clear[start..]) {
            Some(content) => {
                // What is behind was shorter by the frame.
                clear[start + content..].wipe();
                clear.truncate(start + content);
                true
            }
            None => {
                // Nobody may see what is not authentic.
                clear[start..].wipe();
                clear.truncate(start);
                false
            }
        }
    }

    fn open_onto(&self, chunk: u64, sealed: &[u8], clear: &mut [u8]) -> Option<usize> {
        let first = chunk.checked_mul(CHUNK as u64)?;
        let octets = self.packet.checked_sub(first)?.min(CHUNK as u64);
        if octets == 0 || clear.len() as u64 != octets {
            return None;
        }
        let mut context = self.schedule.chunk(chunk, &mut for_decryption).ok()?;
        context.decrypt_verify(clear, sealed).ok()?;
        let (mut at, mut end) = (0, 0);
        while at < clear.len() {
            match self.place(first + at as u64) {
                Place::Frame(octet) if clear[at] == octet => at += 1,
                Place::Frame(_) => return None,
                Place::Content(run) => {
                    let left = clear.len() - at;
                    let run = usize::try_from(run).map_or(left, |run| run.min(left));
                    clear.copy_within(at..at + run, end);
                    (at, end) = (at + run, end + run);
                }
            }
        }
        Some(end)
    }

    /// True when the last tag says that there are so many chunks and octets as the container's
    /// length lets one think: nothing was cut off, and nothing put behind.
    pub(super) fn is_complete(&self, last_tag: &[u8]) -> bool {
        let context = self.schedule.finalizer(self.chunks(), self.packet, &mut for_decryption);
        context.is_ok_and(|mut context| context.decrypt_verify(&mut [], last_tag).is_ok())
    }

    fn place(&self, at: u64) -> Place {
        let Some(behind_tag) = at.checked_sub(1) else { return Place::Frame(LITERAL_TAG) };
        let part = (behind_tag / (PART as u64 + 1)).min(self.parts);
        let start = part * (PART as u64 + 1);
        let end = if part < self.parts { start + PART as u64 + 1 } else { self.packet - 1 };
        let place = behind_tag - start;
        let head: &[u8] = if part == 0 { LITERAL_HEAD } else { &[] };
        let is_frame = |length: &[u8]| {
            let octet = length.iter().chain(head).nth(usize::try_from(place).ok()?);
            octet.copied().map(Place::Frame)
        };
        let frame = if part < self.parts {
            is_frame(&[0xE0 | PART_EXPONENT])
        } else {
            let last = end - start - LAST_LENGTH;
            let [a, b, c, d] = u32::try_from(last).unwrap_or(0).to_be_bytes();
            is_frame(&[0xFF, a, b, c, d])
        };
        frame.unwrap_or(Place::Content(end - behind_tag))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Octets of the frame that `Chunks` puts before the header.
    const FRAME: usize = 6;

    /// A container that holds these packets.
    pub(crate) fn sealed_packets(
        head: Vec<u8>,
        session_key: &SessionKey,
        packets: &[u8],
    ) -> Vec<u8> {
        let mut chunks = Chunks::new(head, session_key).unwrap();
        chunks.write(packets).unwrap();
        chunks.finish().unwrap()
    }

    fn key(octet: u8) -> SessionKey {
        SessionKey::from(vec![octet; 32])
    }

    /// The body of a container with `length` octets of clear text.
    fn sealed(length: usize) -> Vec<u8> {
        let mut sealing = Sealing::new(Vec::new(), &key(1)).unwrap();
        sealing.write(&vec![b'x'; length]).unwrap();
        sealing.finish().unwrap().split_off(FRAME)
    }

    #[test]
    fn a_container_opens_with_its_key_only() {
        let body = sealed(100);
        assert_eq!(open(&key(1), &body).unwrap().expose(), &[b'x'; 100]);
        assert!(open(&key(2), &body).is_none());
    }

    #[test]
    fn a_container_cut_anywhere_does_not_open() {
        let body = sealed(300);
        (0..body.len()).for_each(|end| assert!(open(&key(1), &body[..end]).is_none(), "{end}"));
        let body = sealed(3 * CHUNK);
        let mut boundary = HEADER;
        while boundary < body.len() {
            for end in boundary - 2..=boundary + TAG + 2 {
                let end = end.min(body.len() - 1);
                assert!(open(&key(1), &body[..end]).is_none(), "{end}");
            }
            boundary += CHUNK + TAG;
        }
    }

    #[test]
    fn chunks_swapped_left_out_repeated_or_of_another_container_do_not_open() {
        let body = sealed(3 * CHUNK);
        let other = sealed(3 * CHUNK);
        let (header, rest) = body.split_at(HEADER);
        let (sealed, last_tag) = rest.split_at(rest.len() - TAG);
        let chunks: Vec<_> = sealed.chunks(CHUNK + TAG).collect();
        let [a, b, c, d] = chunks[..] else { panic!("{} chunks", chunks.len()) };
        let of_other = &other[HEADER..HEADER + CHUNK + TAG];
        let with = |chunks: &[&[u8]]| [header, &chunks.concat(), last_tag].concat();
        assert!(open(&key(1), &with(&[a, b, c, d])).is_some());
        for changed in [
            with(&[b, a, c, d]),
            with(&[a, c, b, d]),
            with(&[a, b, c]),
            with(&[a, b, d]),
            with(&[b, c, d]),
            with(&[a]),
            with(&[]),
            with(&[a, b, c, c, d]),
            with(&[a, b, c, d, d]),
            with(&[of_other, b, c, d]),
            with(&[a, b, c, d, last_tag]),
            [header, sealed, &other[other.len() - TAG..]].concat(),
            [&other[..HEADER], rest].concat(),
            [header, sealed].concat(),
        ] {
            assert!(open(&key(1), &changed).is_none());
        }
    }

    #[test]
    fn a_header_that_names_another_version_cipher_mode_or_chunk_does_not_open() {
        let body = sealed(100);
        for place in 0..4 {
            for value in 0..=u8::MAX {
                let mut altered = body.clone();
                altered[place] = value;
                assert_eq!(open(&key(1), &altered).is_some(), altered == body);
            }
        }
    }

    #[test]
    fn an_empty_letter_takes_no_more_than_its_frame_and_two_tags() {
        assert_eq!(sealed(0).len(), HEADER + 1 + 5 + LITERAL_HEAD.len() + TAG + TAG);
    }

    /// A letter whose octets tell their places.
    fn letter(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
    }

    fn sealed_letter(length: usize) -> Vec<u8> {
        let mut sealing = Sealing::new(Vec::new(), &key(1)).unwrap();
        letter(length).chunks(7_001).for_each(|piece| sealing.write(piece).unwrap());
        sealing.finish().unwrap().split_off(FRAME)
    }

    fn opener(key: &SessionKey, body: &[u8]) -> Option<Opener> {
        Opener::new(key, body.first_chunk()?, body.len() as u64)
    }

    fn sealed_chunks(body: &[u8]) -> std::slice::Chunks<'_, u8> {
        body[HEADER..body.len() - TAG].chunks(Opener::SEALED)
    }

    /// Where the framing changes: with and without room for the frame, one octet more and less.
    fn boundaries() -> impl Iterator<Item = usize> {
        let near = |at: usize| at.saturating_sub(16)..=at + 16;
        let parts = (0..=5).map(|parts| parts * PART);
        let chunks = (1..=3).map(|chunks| chunks * CHUNK);
        parts.chain(chunks).flat_map(near)
    }

    #[test]
    fn chunk_by_chunk_a_container_says_what_it_says_as_a_whole() {
        for length in boundaries() {
            let body = sealed_letter(length);
            let opener = opener(&key(1), &body).unwrap();
            assert_eq!(opener.len(), length as u64);
            assert_eq!(opener.chunks(), sealed_chunks(&body).len() as u64);
            assert!(opener.is_complete(&body[body.len() - TAG..]), "{length}");
            let mut clear = Vec::new();
            for (index, sealed) in (0..).zip(sealed_chunks(&body)) {
                assert_eq!(opener.start_of(index), clear.len() as u64, "{length} {index}");
                assert!(opener.open(index, sealed, &mut clear), "{length} {index}");
            }
            assert_eq!(opener.start_of(opener.chunks()), length as u64);
            assert!(clear == letter(length), "{length}");
            assert!(clear == *open(&key(1), &body).unwrap().expose(), "{length}");
            for octet in (0..length as u64).filter(|at| at % 61 == 0 || at % 0x8000 > 0x7FF0) {
                let chunk = opener.chunk_of(octet);
                let within = opener.start_of(chunk)..opener.start_of(chunk + 1);
                assert!(within.contains(&octet), "{length} {octet}");
            }
        }
    }

    #[test]
    fn a_chunk_opens_in_its_own_place_only_and_leaves_nothing_when_it_does_not() {
        let body = sealed_letter(3 * CHUNK);
        let other = sealed_letter(3 * CHUNK);
        let opener = opener(&key(1), &body).unwrap();
        let chunks: Vec<_> = sealed_chunks(&body).collect();
        let mut clear = b"before".to_vec();
        for place in 0..6 {
            for (index, sealed) in (0..).zip(&chunks).filter(|(index, _)| *index != place) {
                assert!(!opener.open(place, sealed, &mut clear), "{index} at {place}");
            }
        }
        let foreign = sealed_chunks(&other).next().unwrap();
        assert!(!opener.open(0, foreign, &mut clear));
        assert!(!opener.open(0, &chunks[0][1..], &mut clear));
        assert!(!opener.open(0, &[], &mut clear));
        for octet in [0, 1, CHUNK - 1, CHUNK, CHUNK + TAG - 1] {
            let mut altered = chunks[0].to_vec();
            altered[octet] ^= 1;
            assert!(!opener.open(0, &altered, &mut clear), "{octet}");
        }
        assert_eq!(clear, b"before");
        assert!(clear.spare_capacity_mut().len() >= CHUNK);
        assert!(opener.open(0, chunks[0], &mut clear));
    }

    #[test]
    fn a_container_that_was_cut_or_grew_is_known_by_its_last_tag_before_any_chunk() {
        let body = sealed_letter(3 * CHUNK);
        let complete = |body: &[u8]| {
            let opener = opener(&key(1), body);
            opener.is_some_and(|opener| opener.is_complete(&body[body.len() - TAG..]))
        };
        assert!(complete(&body));
        let (start, last_tag) = body.split_at(body.len() - TAG);
        for end in (HEADER..start.len()).rev().step_by(997).chain([
            HEADER + Opener::SEALED,
            HEADER + 2 * Opener::SEALED,
            start.len() - 1,
        ]) {
            assert!(!complete(&body[..end]), "{end}");
            assert!(!complete(&[&start[..end], last_tag].concat()), "{end}");
        }
        for more in [1, TAG, Opener::SEALED] {
            assert!(!complete(&[start, &vec![0; more], last_tag].concat()), "{more}");
        }
        let other = sealed_letter(3 * CHUNK);
        assert!(!complete(&[start, &other[start.len()..]].concat()));
    }

    #[test]
    fn another_framing_under_a_good_seal_gives_no_octets() {
        // What another program might have written, of the size of what we write.
        let text = letter(2 * PART);
        let whole = [
            &[LITERAL_TAG, 0xFF],
            u32::try_from(text.len() + LITERAL_HEAD.len()).unwrap().to_be_bytes().as_slice(),
            LITERAL_HEAD,
            &text,
        ]
        .concat();
        let compressed = [&[0xC0 | 8], &whole[1..]].concat();
        for packets in [whole, compressed] {
            let body = sealed_packets(Vec::new(), &key(1), &packets).split_off(FRAME);
            let opener = opener(&key(1), &body).unwrap();
            let mut clear = Vec::new();
            let opened = (0..)
                .zip(sealed_chunks(&body))
                .filter(|(index, sealed)| opener.open(*index, sealed, &mut clear));
            assert_eq!(opened.count(), 0);
            assert!(clear.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_length_and_any_header_has_an_opener_or_none(
            header in proptest::array::uniform32(any::<u8>()),
            length in any::<u64>(),
            octet in any::<u64>(),
        ) {
            let mut whole = [0; HEADER];
            whole[..4].copy_from_slice(&[VERSION, CIPHER_ID, MODE_ID, CHUNK_OCTET]);
            whole[4..].copy_from_slice(&header);
            if let Some(opener) = Opener::new(&key(1), &whole, length) {
                let octet = octet % opener.len().max(1);
                let chunk = opener.chunk_of(octet);
                if octet < opener.len() {
                    prop_assert!(opener.start_of(chunk) <= octet);
                    prop_assert!(octet < opener.start_of(chunk + 1));
                }
            }
        }

        #[test]
        fn any_octets_in_place_of_a_container_are_refused(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            chunk_octet in 0_u8..20,
        ) {
            prop_assert!(open(&key(1), &octets).is_none());
            let header = [&[VERSION, CIPHER_ID, MODE_ID, chunk_octet], octets.as_slice()].concat();
            prop_assert!(open(&key(1), &header).is_none());
        }

        #[test]
        fn well_sealed_packets_of_any_form_are_read_or_refused(
            mut packets in proptest::collection::vec(any::<u8>(), 1..700),
            literal in any::<bool>(),
            length in prop_oneof![any::<u8>(), 190_u8..200, 224_u8..=235],
        ) {
            if literal {
                packets.splice(..0, [LITERAL_TAG, length].into_iter().chain(*b"b\0\0\0\0\0"));
            }
            let all = packets.len();
            let body = sealed_packets(Vec::new(), &key(1), &packets).split_off(FRAME);
            let opened = open(&key(1), &body);
            prop_assert!(opened.is_none_or(|clear| clear.expose().len() < all));
        }
    }
}
