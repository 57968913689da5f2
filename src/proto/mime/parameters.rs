//! Structured values with parameters: Content-Type, Content-Disposition (RFC 2045 §5.1,
//! RFC 2183 §2), with the continuations and charsets of RFC 2231.
use std::collections::BTreeMap;

use mail_parser::decoders::charsets::map::charset_decoder;

use crate::domain::limits;
use crate::proto::mime::content;

/// A value and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameterised {
    /// The value in lower case, without comments and white space.
    pub value: String,
    /// Names in lower case, values decoded.
    pub parameters: Vec<(String, String)>,
}

/// The first parameter of that name.
pub(super) fn find<'p>(parameters: &'p [(String, String)], name: &str) -> Option<&'p str> {
    parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

/// Reads an unfolded value. Never fails: what is not a parameter is passed over.
pub(super) fn parse(unfolded: &[u8]) -> Parameterised {
    let mut scanner = Scanner { rest: unfolded };
    let value = scanner.token(b";");
    let mut raw = Vec::new();
    let mut octets = 0;
    while scanner.skip_to(b';') && raw.len() < limits::MIME_PARAMETERS_MAX {
        let name = scanner.token(b"=;");
        if !scanner.take(b'=') {
            continue;
        }
        let content = scanner.value();
        octets += name.len() + content.len();
        if octets > limits::MIME_PARAMETERS_OCTETS_MAX {
            break;
        }
        if !name.is_empty() {
            raw.push((lower(&name), content));
        }
    }
    Parameterised { value: lower(&value), parameters: decode(raw) }
}

fn lower(octets: &[u8]) -> String {
    let kept = octets.iter().filter(|octet| octet.is_ascii_graphic());
    kept.map(|octet| char::from(octet.to_ascii_lowercase())).collect()
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    /// White space and comments (nested, with backslashes).
    fn skip_space(&mut self) {
        let mut depth = 0_usize;
        while let Some((&octet, rest)) = self.rest.split_first() {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                octet if depth == 0 && !octet.is_ascii_whitespace() => return,
                _ => {}
            }
            self.rest = rest;
        }
    }

    /// Everything up to one of `ends`, white space and comments left out.
    fn token(&mut self, ends: &[u8]) -> Vec<u8> {
        let mut token = Vec::new();
        loop {
            self.skip_space();
            match self.rest.split_first() {
                Some((octet, rest)) if !ends.contains(octet) => {
                    token.push(*octet);
                    self.rest = rest;
                }
                _ => return token,
            }
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((octet, rest)) if *octet == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Behind the next `wanted`; false at the end.
    fn skip_to(&mut self, wanted: u8) -> bool {
        while !self.take(wanted) {
            match self.rest.split_first() {
                Some((_, rest)) => self.rest = rest,
                None => return false,
            }
        }
        true
    }

    /// A quoted string or a token; a token may hold what it should not, up to `;`.
    fn value(&mut self) -> Vec<u8> {
        self.skip_space();
        if !self.rest.starts_with(b"\"") {
            let end = self.rest.iter().position(|octet| *octet == b';').unwrap_or(self.rest.len());
            let (token, rest) = self.rest.split_at(end);
            self.rest = rest;
            // `charset=utf-8 (comment)`: a comment ends an unquoted value.
            let token = token.split(|octet| *octet == b'(').next().unwrap_or_default();
            return token.trim_ascii().to_vec();
        }
        let mut text = Vec::new();
        let mut octets = self.rest.iter().enumerate().skip(1);
        while let Some((place, &octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = &self.rest[place + 1..];
                    return text;
                }
                b'\\' => text.extend(octets.next().map(|(_, escaped)| *escaped)),
                octet => text.push(octet),
            }
        }
        self.rest = &[];
        text
    }
}

/// Joins continuations and decodes charsets (RFC 2231 §3, §4). A plain value may be an encoded
/// word, against the standard (RFC 2047 §5), as every client writes it.
fn decode(raw: Vec<(String, Vec<u8>)>) -> Vec<(String, String)> {
    let mut plain: Vec<(String, String)> = Vec::new();
    let mut pieces: BTreeMap<String, BTreeMap<u32, (bool, Vec<u8>)>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for (name, value) in raw {
        match extended(&name) {
            None => plain.push((name, content::decoded_header(&value))),
            Some((base, number, encoded)) => {
                if !pieces.contains_key(base) {
                    order.push(base.to_owned());
                }
                pieces
                    .entry(base.to_owned())
                    .or_default()
                    .entry(number)
                    .or_insert((encoded, value));
            }
        }
    }
    for base in order {
        let value = join(pieces.remove(&base).unwrap_or_default());
        // RFC 2231 wins over the plain form that is there for old software.
        plain.retain(|(name, _)| *name != base);
        plain.push((base, value));
    }
    plain
}

/// `name*`, `name*0`, `name*0*`: the name, the piece's number, and whether it is encoded.
fn extended(name: &str) -> Option<(&str, u32, bool)> {
    let (base, rest) = name.split_once('*')?;
    if base.is_empty() {
        return None;
    }
    let (number, encoded) = match rest.strip_suffix('*') {
        Some(number) => (number, true),
        None => (rest, rest.is_empty()),
    };
    match number {
        "" => Some((base, 0, encoded)),
        digits => digits.parse().ok().map(|number| (base, number, encoded)),
    }
}

fn join(pieces: BTreeMap<u32, (bool, Vec<u8>)>) -> String {
    let mut charset = Vec::new();
    let mut octets = Vec::new();
    let mut encoded_at_all = false;
    for (place, (number, (encoded, value))) in pieces.into_iter().enumerate() {
        // A gap ends the value.
        if u32::try_from(place).is_ok_and(|place| place != number) {
            break;
        }
        if !encoded {
            octets.extend_from_slice(&value);
            continue;
        }
        encoded_at_all = true;
        let mut value = value.as_slice();
        if place == 0 {
            let mut parts = value.splitn(3, |octet| *octet == b'\'');
            if let (Some(name), Some(_language), Some(rest)) =
                (parts.next(), parts.next(), parts.next())
            {
                charset = name.to_vec();
                value = rest;
            }
        }
        percent_decode(value, &mut octets);
    }
    match charset_decoder(&charset) {
        Some(decoder) if encoded_at_all => decoder(&octets),
        _ => String::from_utf8_lossy(&octets).into_owned(),
    }
}

fn percent_decode(value: &[u8], into: &mut Vec<u8>) {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let mut rest = value;
    while let Some((&octet, after)) = rest.split_first() {
        let decoded = match after {
            [high, low, ..] if octet == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match decoded.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(decoded) => {
                into.push(decoded);
                rest = &after[2..];
            }
            None => {
                into.push(octet);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &str, value: &str, parameters: &[(&str, &str)]) {
        let parsed = parse(field.as_bytes());
        let found: Vec<_> =
            parsed.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((parsed.value.as_str(), found.as_slice()), (value, parameters), "{field}");
    }

    #[test]
    fn parameters_are_read_as_mail_programs_write_them() {
        check("text/plain", "text/plain", &[]);
        check("Text / Plain ; Charset = UTF-8", "text/plain", &[("charset", "UTF-8")]);
        check("text/plain; charset=utf-8 (c)", "text/plain", &[("charset", "utf-8")]);
        check("text/plain (a (b) c); charset=\"a\\\"b;c\"", "text/plain", &[("charset", "a\"b;c")]);
        check("multipart/mixed; boundary==_x", "multipart/mixed", &[("boundary", "=_x")]);
        check("a/b;; x=1;", "a/b", &[("x", "1")]);
        check("a/b; x=\"1", "a/b", &[("x", "1")]);
        check("a/b; novalue; x=1", "a/b", &[("x", "1")]);
        check("attachment; filename=a b.pdf", "attachment", &[("filename", "a b.pdf")]);
        check("", "", &[]);
    }

    #[test]
    fn file_names_in_other_alphabets_are_decoded() {
        check("a; filename*=utf-8''%e2%82%ac.pdf", "a", &[("filename", "€.pdf")]);
        check("a; filename*=iso-8859-1'fr'%e9t%E9", "a", &[("filename", "été")]);
        check("a; filename=\"=?utf-8?q?=C3=A9t=C3=A9.pdf?=\"", "a", &[("filename", "été.pdf")]);
        check(
            "a; filename*1=\"b\"; filename*0*=utf-8''%C3%A9; filename*2*=%C3%A8; filename=old",
            "a",
            &[("filename", "ébè")],
        );
        check("a; x*0=a; x*2=c", "a", &[("x", "a")]);
        check("a; x*0*=%zz%4", "a", &[("x", "%zz%4")]);
    }

    #[test]
    fn a_flood_of_continuations_is_cut() {
        let mut field = "a/b".to_owned();
        for number in 0..200_000 {
            field.push_str(&format!("; x*{number}*=%41"));
        }
        let parsed = parse(field.as_bytes());
        assert!(parsed.parameters[0].1.len() <= limits::MIME_PARAMETERS_MAX);
        let nested = parse(&b"a/b;x=(".repeat(200_000));
        assert!(nested.parameters.len() <= limits::MIME_PARAMETERS_MAX);
    }
}
