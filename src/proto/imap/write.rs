//! Strings on their way out: quoted when they can be, literals when they must.
use std::io::Write;

/// A string longer than this goes out as a literal even if it could be quoted.
const QUOTED_OCTETS_MAX: usize = 1_024;

/// `string`: quoted, or a literal when it holds CR, LF, octets over 0x7F or much text. NUL,
/// which no string may hold (RFC 3501 §9 `CHAR8`), becomes a space.
pub fn string(out: &mut Vec<u8>, value: &[u8]) {
    if value.len() <= QUOTED_OCTETS_MAX && value.iter().all(|&octet| is_quotable(octet)) {
        out.push(b'"');
        for &octet in value {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(octet);
        }
        out.push(b'"');
    } else {
        literal_start(out, value.len());
        out.extend(value.iter().map(|&octet| if octet == 0 { b' ' } else { octet }));
    }
}

/// `nstring`.
pub fn nstring(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => string(out, value),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// The announcement of a literal; its octets must follow.
pub fn literal_start(out: &mut Vec<u8>, octets: usize) {
    text(out, format_args!("{{{octets}}}\r\n"));
}

/// Formatted text.
pub fn text(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing into a Vec does not fail");
}

fn is_quotable(octet: u8) -> bool {
    // A tab is a TEXT-CHAR; other control characters would confuse people's terminals.
    matches!(octet, b' '..=b'~' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_takes_the_form_that_its_octets_need() {
        let check = |value: &[u8], expected: &[u8]| {
            let mut out = Vec::new();
            string(&mut out, value);
            assert_eq!(out, expected);
        };
        check(b"", b"\"\"");
        check(br#"a "b" \c"#, br#""a \"b\" \\c""#);
        check("é".as_bytes(), "{2}\r\né".as_bytes());
        check(b"a\r\n* BYE", b"{8}\r\na\r\n* BYE");
        check(b"a\0b", b"{3}\r\na b");
        check(&[b'x'; 1_025], &[b"{1025}\r\n".as_slice(), &[b'x'; 1_025]].concat());
    }
}
