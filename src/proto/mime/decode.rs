//! Bodies decoded: transfer encodings (RFC 2045 §6), then charsets. Lenient: what cannot be
//! decoded is passed over or kept as it stands, because a reader is better served by a letter
//! with a blemish than by none.
use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use mail_parser::decoders::charsets::map::charset_decoder;

use crate::domain::secret::Wipe;

/// Base64 as it comes: padded or not, last bits whatever they are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Undoes a transfer encoding. The result is never longer than `body`.
pub(super) fn transfer<'b>(encoding: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    match encoding {
        "base64" => Cow::Owned(base64(body)),
        "quoted-printable" => Cow::Owned(quoted_printable(body)),
        _ => Cow::Borrowed(body),
    }
}

fn in_alphabet(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')
}

fn base64(body: &[u8]) -> Vec<u8> {
    // RFC 2045 §6.8: characters outside the alphabet are passed over, padding ends the data.
    let mut digits: Vec<u8> = Vec::with_capacity(body.len());
    digits
        .extend(body.iter().take_while(|octet| **octet != b'=').filter(|octet| in_alphabet(octet)));
    // A lone last digit says nothing.
    let whole = digits.len() - usize::from(digits.len() % 4 == 1);
    LENIENT.decode(&digits[..whole]).unwrap_or_default()
}

/// Base64 as [`transfer`] undoes it, piece by piece.
#[derive(Debug, Default)]
pub struct Base64Pieces {
    /// Digits that wait for their fourth.
    waiting: Vec<u8>,
    has_ended: bool,
}

impl Base64Pieces {
    /// Decodes the next piece behind what is in `out`, which grows by the piece's length and three
    /// octets at most.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        let end = piece.iter().position(|octet| *octet == b'=');
        let data = &piece[..end.unwrap_or(piece.len())];
        // Growing would leave copies behind.
        self.waiting.reserve(data.len().max(4_096) + 4 - self.waiting.len());
        self.waiting.extend(data.iter().filter(|octet| in_alphabet(octet)));
        self.has_ended = end.is_some();
        let whole = self.waiting.len() / 4 * 4;
        self.decode_first(whole, out);
    }

    /// Decodes what is left at the end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        // A lone last digit says nothing.
        let whole = if self.waiting.len() == 1 { 0 } else { self.waiting.len() };
        self.decode_first(whole, out);
        self.waiting.wipe();
        self.has_ended = true;
    }

    fn decode_first(&mut self, digits: usize, out: &mut Vec<u8>) {
        // The digits are of the alphabet, so there is nothing that could fail.
        let _ = LENIENT.decode_vec(&self.waiting[..digits], out);
        self.waiting.copy_within(digits.., 0);
        self.waiting.truncate(self.waiting.len() - digits);
    }
}

impl Drop for Base64Pieces {
    fn drop(&mut self) {
        self.waiting.wipe();
    }
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let mut decoded = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        let (text, line_end) = line.split_at(line.len() - end);
        // RFC 2045 §6.7 (3): white space at the end of a line was added on the way.
        let text = text.trim_ascii_end();
        let (mut rest, soft) = match text.strip_suffix(b"=") {
            Some(text) => (text, true),
            None => (text, false),
        };
        while let Some((&octet, after)) = rest.split_first() {
            let value = match after {
                [high, low, ..] if octet == b'=' => digit(high).zip(digit(low)),
                _ => None,
            };
            match value.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
                Some(value) => {
                    decoded.push(value);
                    rest = &after[2..];
                }
                None => {
                    decoded.push(octet);
                    rest = after;
                }
            }
        }
        if !soft {
            decoded.extend_from_slice(line_end);
        }
    }
    decoded
}

/// Text of a declared charset as UTF-8. Undeclared 8-bit text is UTF-8, or else what French
/// programs of old send.
pub(super) fn text(charset: Option<&str>, octets: &[u8]) -> String {
    let charset = charset.unwrap_or("us-ascii").trim();
    let undeclared = ["us-ascii", "ascii", "utf-8", "utf8", ""];
    if undeclared.iter().any(|name| charset.eq_ignore_ascii_case(name)) {
        if let Ok(text) = std::str::from_utf8(octets) {
            return text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        }
        if charset.to_ascii_lowercase().starts_with("utf") {
            return String::from_utf8_lossy(octets).into_owned();
        }
    }
    match charset_decoder(charset.as_bytes()).or_else(|| charset_decoder(b"windows-1252")) {
        Some(decoder) => decoder(octets),
        None => String::from_utf8_lossy(octets).into_owned(),
    }
}

/// Octets of a charset as UTF-8; `None` when the charset is not known.
pub(super) fn known_text(charset: &[u8], octets: &[u8]) -> Option<String> {
    let is = |name: &str| charset.eq_ignore_ascii_case(name.as_bytes());
    if is("utf-8") || is("us-ascii") {
        return Some(String::from_utf8_lossy(octets).into_owned());
    }
    charset_decoder(charset).map(|decoder| decoder(octets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_are_decoded_as_they_come() {
        for (encoding, body, decoded) in [
            ("base64", "w6l0\r\nw6k=\r\n", "été"),
            ("base64", "w6l0w6k", "été"),
            ("base64", "w6l0!!w6k= rubbish", "été"),
            ("base64", "", ""),
            ("base64", "A", ""),
            ("quoted-printable", "=C3=A9t=c3=a9 =\r\nsuite  \r\nfin", "été suite\r\nfin"),
            ("quoted-printable", "a=zz=4 =", "a=zz=4 "),
            ("quoted-printable", "a =  \nb", "a b"),
            ("7bit", "=C3", "=C3"),
            ("x-unknown", "abc", "abc"),
        ] {
            let found = transfer(encoding, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), decoded, "{encoding} {body:?}");
        }
    }

    #[test]
    fn texts_of_other_charsets_are_shown() {
        for (charset, octets, shown) in [
            (Some("utf-8"), &b"\xc3\xa9"[..], "é"),
            (Some("UTF-8"), b"\xef\xbb\xbfa", "a"),
            (Some("iso-8859-1"), b"\xe9", "é"),
            (Some("ISO-8859-15"), b"\xa4", "€"),
            (Some("windows-1252"), b"\x80", "€"),
            (Some("us-ascii"), b"\xe9", "é"),
            (None, b"\xc3\xa9", "é"),
            (None, b"\xe9", "é"),
            (Some("x-unknown"), b"\xe9", "é"),
            (Some("utf-8"), b"a\xe9", "a\u{fffd}"),
            (Some("iso-2022-jp"), b"\x1b$B$\"\x1b(B", "あ"),
        ] {
            assert_eq!(text(charset, octets), shown, "{charset:?} {octets:?}");
        }
    }

    proptest! {
        #[test]
        fn base64_in_pieces_is_base64(
            body in proptest::collection::vec(
                prop_oneof![8 => b'A'..=b'Z', 4 => b'0'..=b'9', 2 => Just(b'\n'), 1 => b'+'..=b'='],
                0..90,
            ),
            octets in 1_usize..40,
        ) {
            let (mut pieces, mut decoded) = (Base64Pieces::default(), Vec::new());
            for piece in body.chunks(octets) {
                let before = decoded.len();
                pieces.push(piece, &mut decoded);
                prop_assert!(decoded.len() - before <= piece.len() + 3);
            }
            pieces.finish(&mut decoded);
            prop_assert_eq!(decoded, transfer("base64", &body).into_owned());
        }

        #[test]
        fn no_octets_break_a_decoder(
            octets in proptest::collection::vec(any::<u8>(), 0..300),
            charset in prop_oneof![
                Just("utf-7"), Just("utf-16"), Just("utf-16le"), Just("utf-16be"), Just("big5"),
                Just("iso-2022-jp"), Just("iso-2022-kr"), Just("euc-jp"), Just("euc-kr"),
                Just("gb18030"), Just("gbk"), Just("hz-gb-2312"), Just("koi8-r"), Just("shift_jis"),
                Just("iso-8859-6"), Just("tis-620"), Just("macintosh"), Just("cp850"),
            ],
        ) {
            prop_assert!(transfer("base64", &octets).len() <= octets.len());
            prop_assert!(transfer("quoted-printable", &octets).len() <= octets.len());
            prop_assert!(text(Some(charset), &octets).len() <= 12 * octets.len() + 12);
            let shown = String::from_utf8_lossy(&octets);
            let _ = mail_parser::decoders::html::html_to_text(&shown);
        }
    }
}
