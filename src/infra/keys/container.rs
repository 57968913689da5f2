//! The encrypted container of OpenPGP, version 1 (SEIPD, RFC 9580 §5.13.1), and the literal
//! packet inside it (RFC 9580 §5.9). Nothing else is written and nothing else is opened.
//!
//! AES and SHA-1 are aws-lc's; only the framing is ours. The OpenPGP library could do it all,
//! but its SHA-1 looks for collisions, which an integrity check under a secret prefix does not
//! need and which cost more than sealing itself, and its buffers of clear text are not wiped.
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::cipher;
use aws_lc_rs::cipher::StreamingEncryptingKey;
use aws_lc_rs::constant_time;
use aws_lc_rs::digest;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use crate::infra::keys::KeyError;

/// Octets of the session key (AES-256).
pub(super) const SESSION_KEY_OCTETS: usize = 32;
/// Octets of a cipher block.
const BLOCK: usize = 16;
/// Octets of clear text per chunk: a power of two, at least 512 (RFC 9580 §4.2.1.4).
const CHUNK: usize = 1 << CHUNK_EXPONENT;
const CHUNK_EXPONENT: u8 = 15;
/// First octets of packets (RFC 9580 §4.2, §5).
const LITERAL_TAG: u8 = 0xC0 | 11;
pub(super) const SEIPD_TAG: u8 = 0xC0 | 18;
/// The integrity packet's tag and length, in front of 20 octets of SHA-1.
const MDC_HEAD: [u8; 2] = [0xC0 | 19, MDC_OCTETS as u8];
const MDC_OCTETS: usize = 20;
/// The container's version octet.
const VERSION: u8 = 1;
/// RFC 9580 §5.9: binary, no file name, no date.
const LITERAL_HEAD: &[u8; 6] = b"b\0\0\0\0\0";

/// Clear text streams in, a container grows behind the packets that are there.
pub(super) struct Writer {
    /// Never locked: the mutex only makes the writer shareable, as a future that holds it must be.
    cipher: Mutex<StreamingEncryptingKey>,
    digest: digest::Context,
    /// The next chunk of the literal packet.
    chunk: Zeroizing<Vec<u8>>,
    began: bool,
    message: Vec<u8>,
    /// Where the container's length belongs.
    length_at: usize,
}

impl Writer {
    /// Begins the container behind `head`.
    pub(super) fn new(
        head: Vec<u8>,
        session_key: &[u8; SESSION_KEY_OCTETS],
    ) -> Result<Self, KeyError> {
        let mut message = head;
        message.push(SEIPD_TAG);
        // The length is known at the end; its five-octet form holds any.
        message.push(255);
        let length_at = message.len();
        message.extend_from_slice(&[0; 4]);
        message.push(VERSION);
        // An initialisation vector of zeros: the random block that comes first does its work.
        let iv = cipher::EncryptionContext::Iv128(FixedLength::from([0; BLOCK]));
        let cipher = unbound(session_key)
            .and_then(|key| StreamingEncryptingKey::less_safe_cfb128(key, iv))
            .map_err(failed)?;
        let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK));
        chunk.extend_from_slice(LITERAL_HEAD);
        let digest = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        let cipher = Mutex::new(cipher);
        let mut writer = Self { cipher, digest, chunk, began: false, message, length_at };

        let mut prefix = [0; BLOCK + 2];
        super::fill_random(&mut prefix[..BLOCK]);
        prefix.copy_within(BLOCK - 2..BLOCK, BLOCK);
        writer.encrypt(&prefix)?;
        Ok(writer)
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

    /// Ends the container and gives the whole message.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, KeyError> {
        // RFC 9580 §4.2.1.4: the last length is not a partial one.
        let [a, b, c, d] = u32::try_from(self.chunk.len()).expect("at most CHUNK").to_be_bytes();
        self.write_chunk(&[255, a, b, c, d])?;
        self.encrypt(&MDC_HEAD)?;
        let digest = self.digest.clone().finish();
        self.encrypt(digest.as_ref())?;
        let body = self.message.len() - self.length_at - 4;
        let length =
            u32::try_from(body).map_err(|_| KeyError::Library("a content of 4 GiB".to_owned()))?;
        self.message[self.length_at..][..4].copy_from_slice(&length.to_be_bytes());
        Ok(self.message)
    }

    fn write_chunk(&mut self, length: &[u8]) -> Result<(), KeyError> {
        if !std::mem::replace(&mut self.began, true) {
            self.encrypt(&[LITERAL_TAG])?;
        }
        self.encrypt(length)?;
        let mut chunk = std::mem::take(&mut self.chunk);
        self.encrypt(&chunk)?;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }

    fn encrypt(&mut self, clear: &[u8]) -> Result<(), KeyError> {
        self.digest.update(clear);
        let before = self.message.len();
        // The cipher wants room for one block more than it fills.
        self.message.resize(before + clear.len() + BLOCK, 0);
        let cipher = self.cipher.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = cipher.update(clear, &mut self.message[before..]).map_err(failed)?;
        let written = written.written().len();
        assert_eq!(written, clear.len(), "CFB gives an octet for an octet");
        self.message.truncate(before + written);
        Ok(())
    }
}

/// Opens the body of a container: checks its integrity, then unpacks the literal packet. `None`
/// when anything is not as we write it.
pub(super) fn open(
    session_key: &[u8; SESSION_KEY_OCTETS],
    body: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (&VERSION, encrypted) = body.split_first()? else { return None };
    let mut clear = Zeroizing::new(encrypted.to_vec());
    let iv = cipher::DecryptionContext::Iv128(FixedLength::from([0; BLOCK]));
    unbound(session_key)
        .and_then(cipher::DecryptingKey::cfb128)
        .and_then(|key| key.decrypt(&mut clear, iv).map(|_| ()))
        .ok()?;

    let covered = clear.len().checked_sub(MDC_OCTETS)?;
    let (text, integrity) = clear.split_at(covered);
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text);
    constant_time::verify_slices_are_equal(digest.as_ref(), integrity).ok()?;
    // From here on the octets are those of somebody who knew the key.
    let end = covered.checked_sub(MDC_HEAD.len())?;
    let start = BLOCK + 2;
    if end < start || text[end..] != MDC_HEAD {
        return None;
    }
    unpack(&mut clear, start, end)?;
    Some(clear)
}

fn unbound(
    session_key: &[u8; SESSION_KEY_OCTETS],
) -> Result<cipher::UnboundCipherKey, aws_lc_rs::error::Unspecified> {
    cipher::UnboundCipherKey::new(&cipher::AES_256, session_key)
}

/// Moves the content of the one literal packet in `start..end` to the front of `clear`, and
/// cuts the rest off.
fn unpack(clear: &mut Vec<u8>, start: usize, end: usize) -> Option<()> {
    if clear.get(start..end)?.first() != Some(&LITERAL_TAG) {
        return None;
    }
    let (mut place, mut filled, mut head_skipped) = (start + 1, 0, false);
    loop {
        let (length, after) = body_length(clear.get(place..end)?)?;
        let from = end - after.len();
        let (octets, last) = match length {
            Length::Whole(octets) => (octets, true),
            Length::Partial(octets) => (octets, false),
        };
        place = from.checked_add(octets).filter(|place| *place <= end)?;
        let mut content = from..place;
        if !std::mem::replace(&mut head_skipped, true) {
            // The first chunk holds the head: at least 512 octets, or it is all there is.
            let name = usize::from(*clear.get(content.clone())?.get(1)?);
            content.start = content.start.checked_add(LITERAL_HEAD.len() + name)?;
        }
        if content.start > content.end {
            return None;
        }
        let octets = content.len();
        clear.copy_within(content, filled);
        filled += octets;
        if last {
            break;
        }
    }
    // What lies behind the content is wiped with the buffer; it is still clear text.
    (place == end).then(|| clear.truncate(filled))
}

/// A packet's length.
pub(super) enum Length {
    /// Of the whole body, or its last piece.
    Whole(usize),
    /// Of one piece; more follow.
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

fn failed(_: aws_lc_rs::error::Unspecified) -> KeyError {
    KeyError::Library("AES refused to work".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_read_as_the_standard_writes_them() {
        // RFC 9580 §4.2.1.5
        for (octets, length) in
            [(&[0x64][..], 100), (&[0xC5, 0xFB], 1723), (&[0xFF, 0x00, 0x01, 0x86, 0xA0], 100_000)]
        {
            assert!(matches!(body_length(octets), Some((Length::Whole(l), [])) if l == length));
        }
        assert!(matches!(body_length(&[0xEF]), Some((Length::Partial(32_768), []))));
        for cut in [&[][..], &[0xC5], &[0xFF, 0, 0, 0]] {
            assert!(body_length(cut).is_none());
        }
    }

    proptest! {
        #[test]
        fn no_packet_breaks_the_unpacker(
            octets in proptest::collection::vec(any::<u8>(), 0..80),
            start in 0_usize..20,
            end in 0_usize..80,
        ) {
            let mut literal = octets.clone();
            if let Some(first) = literal.get_mut(start) {
                *first = LITERAL_TAG;
            }
            let _ = unpack(&mut literal, start, end.min(octets.len()));
            prop_assert!(literal.len() <= octets.len());
            prop_assert!(open(&[7; 32], &octets).is_none());
        }
    }
}
