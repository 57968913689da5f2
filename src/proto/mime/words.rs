//! Encoded words of header texts (RFC 2047), decoded for people.
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;

/// Decodes an unfolded header text. Never fails: what is not an encoded word stays as it is.
/// Control characters become spaces, so that a decoded text is still one line.
pub(super) fn decode(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut pending: Option<Word<'_>> = None;
    let mut rest = raw;
    while !rest.is_empty() {
        let start = find(rest, b"=?").unwrap_or(rest.len());
        let (before, from) = rest.split_at(start);
        // RFC 2047 §6.2: white space between two encoded words is not shown.
        let between_words = pending.is_some() && before.iter().all(u8::is_ascii_whitespace);
        match Word::take(from) {
            Some((word, after)) if between_words || before.is_empty() => {
                append(&mut pending, word, &mut text);
                rest = after;
            }
            Some((word, after)) => {
                flush(&mut pending, &mut text);
                text.push_str(&plain(before));
                pending = Some(word);
                rest = after;
            }
            None => {
                flush(&mut pending, &mut text);
                let (odd, after) = rest.split_at((start + 2).min(rest.len()));
                text.push_str(&plain(odd));
                rest = after;
            }
        }
    }
    flush(&mut pending, &mut text);
    if text.contains(char::is_control) {
        return text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    text
}

/// Text outside encoded words: UTF-8 (RFC 6532), else what French programs of old send.
fn plain(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => match charset_decoder(b"windows-1252") {
            Some(decoder) => decoder(octets),
            None => String::from_utf8_lossy(octets).into_owned(),
        },
    }
}

struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
}

impl<'a> Word<'a> {
    /// `=?charset*language?B or Q?text?=` and what follows it.
    fn take(from: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let inside = from.strip_prefix(b"=?")?;
        let charset_end = find(inside, b"?")?;
        let (charset, inside_rest) = (&inside[..charset_end], &inside[charset_end + 1..]);
        let (&encoding, rest) = inside_rest.split_first()?;
        let text_and_rest = rest.strip_prefix(b"?")?;
        // RFC 2047 §2: no `?` inside. So each try ends at the next one, and a field full of
        // beginnings is still read in one pass.
        let text_end =
            find(text_and_rest, b"?").filter(|at| text_and_rest[*at..].starts_with(b"?="))?;
        let text = &text_and_rest[..text_end];
        let octets = match encoding {
            b'B' | b'b' => base64_decode(text)?,
            b'Q' | b'q' => q_decode(text),
            _ => return None,
        };
        let used = 2 + charset_end + 1 + 2 + text_end + 2;
        let charset = charset.split(|octet| *octet == b'*').next().unwrap_or(charset);
        let named = !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
        named.then_some((Self { charset, octets }, &from[used..]))
    }

    fn text(&self) -> String {
        match charset_decoder(self.charset) {
            Some(decoder) => decoder(&self.octets),
            None => String::from_utf8_lossy(&self.octets).into_owned(),
        }
    }
}

/// Neighbours of one charset are decoded together: many programs split a character in two.
fn append<'a>(pending: &mut Option<Word<'a>>, word: Word<'a>, text: &mut String) {
    match pending {
        Some(before) if before.charset.eq_ignore_ascii_case(word.charset) => {
            before.octets.extend_from_slice(&word.octets);
        }
        _ => {
            flush(pending, text);
            *pending = Some(word);
        }
    }
}

fn flush(pending: &mut Option<Word<'_>>, text: &mut String) {
    if let Some(word) = pending.take() {
        text.push_str(&word.text());
    }
}

fn q_decode(text: &[u8]) -> Vec<u8> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let decoded = match after {
            [high, low, ..] if octet == b'=' => digit(high).zip(digit(low)),
            _ => None,
        };
        match decoded.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(decoded) => {
                octets.push(decoded);
                rest = &after[2..];
            }
            None => octets.push(if octet == b'_' { b' ' } else { octet }),
        }
    }
    octets
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_shown_as_text() {
        for (raw, shown) in [
            ("plain", "plain"),
            ("=?utf-8?q?H=C3=A9l=C3=A8ne?=", "Hélène"),
            ("=?UTF-8?B?w6l0w6k=?= suite", "été suite"),
            ("a =?iso-8859-1?q?=E9_=E8?= b", "a é è b"),
            ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
            ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
            ("=?utf-8*fr?q?=C3=A9?=", "é"),
            ("=?x-unknown?q?a?=", "a"),
            ("=?utf-8?q?a", "=?utf-8?q?a"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("=??=?=?", "=??=?=?"),
            ("=?utf-8?q?a=0D=0AX-MSS-MES:_FIN=00?=", "a  X-MSS-MES: FIN "),
            ("été", "été"),
            ("=?utf-8?q?[FIN]?=", "[FIN]"),
        ] {
            assert_eq!(decode(raw.as_bytes()), shown, "{raw}");
        }
        assert_eq!(decode(b"\xe9t\xe9"), "été");
    }

    #[test]
    fn a_megabyte_of_beginnings_is_passed_over() {
        for unit in ["=?", "=?a?", "=?x?q?a", "=?utf-8?q?", "=?utf-8?q?a?=", "=?utf-8?b??=", "?="] {
            let raw = unit.repeat(1_000_000 / unit.len());
            assert!(decode(raw.as_bytes()).len() <= raw.len());
        }
    }
}
