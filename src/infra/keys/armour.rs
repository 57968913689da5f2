//! Armour, read within limits (RFC 9580 §6.2): one block, its kind known, its header bounded,
//! nothing around it. The checksum is not looked at: RFC 9580 §6.1 wants no message refused for
//! it, and integrity comes from elsewhere.
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;

use crate::domain::limits;

/// What an armour says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Signature,
    PublicKey,
    PrivateKey,
}

/// One block, opened.
pub(super) struct Block<'a> {
    pub(super) kind: Kind,
    pub(super) octets: Vec<u8>,
    /// What follows its last line.
    pub(super) rest: &'a [u8],
}

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Signs of base64 that are decoded at a time; a multiple of four.
const SIGNS_AT_ONCE: usize = 4_096;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    // Some programs leave the last `=` out, and nothing depends on it.
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Message => b"MESSAGE",
            Self::Signature => b"SIGNATURE",
            Self::PublicKey => b"PUBLIC KEY BLOCK",
            Self::PrivateKey => b"PRIVATE KEY BLOCK",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        [Self::Message, Self::Signature, Self::PublicKey, Self::PrivateKey]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// Whether these octets are packets rather than text: the first octet of each packet has its
/// highest bit set (RFC 9580 §4.2), no text in ASCII has one.
pub(super) fn is_binary(octets: &[u8]) -> bool {
    octets.first().is_some_and(|first| *first >= 0x80) && !octets.starts_with(BYTE_ORDER_MARK)
}

/// The first block, which begins where the text does, after blank lines only.
pub(super) fn block(text: &[u8]) -> Option<Block<'_>> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start();
    let (first, mut rest) = line(text)?;
    let kind = Kind::of(first.strip_prefix(BEGIN)?.strip_suffix(b"-----")?)?;
    for headers in 0.. {
        let (header, after) = line(rest)?;
        rest = after;
        if header.is_empty() {
            break;
        }
        let is_header = header.windows(2).any(|pair| pair == b": ") || header.ends_with(b":");
        if !is_header
            || headers >= limits::OPENPGP_ARMOUR_HEADERS_MAX
            || header.len() > limits::OPENPGP_ARMOUR_HEADER_OCTETS_MAX
        {
            return None;
        }
    }
    let (octets, rest) = body(rest, kind)?;
    Some(Block { kind, octets, rest })
}

/// The octets of the only block of a text.
pub(super) fn only_block(text: &[u8]) -> Option<(Kind, Vec<u8>)> {
    let block = block(text)?;
    block.rest.trim_ascii().is_empty().then_some((block.kind, block.octets))
}

fn body(mut rest: &[u8], kind: Kind) -> Option<(Vec<u8>, &[u8])> {
    let mut octets = Vec::with_capacity(rest.len() / 4 * 3);
    let mut signs = Vec::with_capacity(SIGNS_AT_ONCE);
    let mut ended = false;
    loop {
        let (text, after) = line(rest)?;
        rest = after;
        if let Some(end) = text.strip_prefix(END) {
            decode(&mut signs, &mut octets, &mut ended)?;
            return (end.strip_suffix(b"-----")? == kind.name()).then_some((octets, rest));
        }
        let is_checksum = text.len() == 5 && text.starts_with(b"=");
        if is_checksum {
            decode(&mut signs, &mut octets, &mut ended)?;
            ended = true;
            continue;
        }
        for sign in text.iter().filter(|sign| !sign.is_ascii_whitespace()) {
            signs.push(*sign);
            if signs.len() == SIGNS_AT_ONCE {
                decode(&mut signs, &mut octets, &mut ended)?;
            }
        }
    }
}

/// Nothing may follow padding.
fn decode(signs: &mut Vec<u8>, octets: &mut Vec<u8>, ended: &mut bool) -> Option<()> {
    if signs.is_empty() {
        return Some(());
    }
    if *ended {
        return None;
    }
    *ended = signs.last() == Some(&b'=') || !signs.len().is_multiple_of(4);
    BASE64.decode_vec(signs.as_slice(), octets).ok()?;
    signs.clear();
    Some(())
}

/// A line without its end and the blanks before it, and what follows.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|octet| *octet == b'\n');
    let (line, rest) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &text[text.len()..]),
    };
    Some((line.trim_ascii_end(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armoured(body: &str) -> String {
        format!("-----BEGIN PGP MESSAGE-----\nComment: x\n\n{body}\n-----END PGP MESSAGE-----\n")
    }

    #[test]
    fn one_block_is_read_with_and_without_checksum_and_line_ends_of_any_kind() {
        for body in ["aGVs\nbG8=\n=abcd", "aGVsbG8=", "aGVsbG8", "aG\r\nVs\t\r\nbG8=\r\n=+/aB"] {
            for text in [armoured(body), armoured(body).replace('\n', "\r\n")] {
                let read = only_block(text.as_bytes());
                assert_eq!(read, Some((Kind::Message, b"hello".to_vec())), "{text}");
            }
        }
        let marked = format!("\u{feff}\n\n{}\n\n", armoured("aGVsbG8="));
        assert!(!is_binary(marked.as_bytes()));
        assert!(only_block(marked.as_bytes()).is_some());
    }

    #[test]
    fn long_bodies_come_out_as_they_went_in() {
        for length in [3_071, 3_072, 3_073, 6_144, 100_001] {
            let octets: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let encoded = base64::engine::general_purpose::STANDARD.encode(&octets);
            let lines: Vec<String> = encoded
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8(line.to_vec()).unwrap())
                .collect();
            let read = only_block(armoured(&lines.join("\n")).as_bytes());
            assert_eq!(read, Some((Kind::Message, octets)), "{length}");
        }
    }

    #[test]
    fn a_wrong_armour_is_not_read() {
        let good = armoured("aGVsbG8=");
        for bad in [
            // Text around it, or a second block.
            format!("Bonjour\n{good}"),
            format!("{good}signature of the list"),
            format!("{good}{good}"),
            // Cut, of two kinds, of no kind, quoted.
            good.replace("-----END PGP MESSAGE-----", ""),
            good.replace("END PGP MESSAGE", "END PGP SIGNATURE"),
            good.replace("MESSAGE", "MESSAGE, PART 1/2"),
            good.replace("MESSAGE", "SIGNED MESSAGE"),
            good.lines().map(|line| format!("> {line}\n")).collect(),
            // No blank line, a header that is none, too many, one too long.
            good.replace("Comment: x\n\n", "Comment: x\n"),
            good.replace("Comment: x", "Comment"),
            good.replace("Comment: x\n", &"Comment: x\n".repeat(17)),
            good.replace("Comment: x", &format!("Comment: {}", "x".repeat(1_000))),
            // Not base64, and octets behind the padding.
            armoured("aGV%bG8="),
            armoured("aGVsbG8=\naGVsbG8="),
            armoured("=abcd\naGVsbG8="),
            armoured("aGVsb"),
        ] {
            assert_eq!(only_block(bad.as_bytes()), None, "{bad}");
        }
    }
}
