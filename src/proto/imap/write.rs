//! Strings on their way out: quoted when they can be, literals when they must.
use std::io::Write;

use crate::proto::imap::cursor;
use crate::proto::imap::name;
use crate::proto::imap::name::Mode;

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

/// `astring`: bare when it can be.
pub fn astring(out: &mut Vec<u8>, value: &[u8]) {
    if !value.is_empty() && value.iter().all(|&octet| cursor::is_astring_char(octet)) {
        out.extend_from_slice(value);
    } else {
        string(out, value);
    }
}

/// A mailbox name as a session of this mode reads it.
pub fn mailbox(out: &mut Vec<u8>, name: &str, mode: Mode) {
    utf8_string(out, &name::encode_in(name, mode), mode);
}

/// `string`; in a session that speaks UTF-8, what is not ASCII may be quoted too (RFC 6855 §3,
/// RFC 9051 §4.3).
pub fn utf8_string(out: &mut Vec<u8>, value: &str, mode: Mode) {
    let is_quotable = value.len() <= QUOTED_OCTETS_MAX && !value.chars().any(char::is_control);
    if mode == Mode::Utf8 && is_quotable {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        text(out, format_args!("\"{escaped}\""));
    } else {
        string(out, value.as_bytes());
    }
}

/// Numbers in their order as a short set: runs that ascend by one are joined, and no others, so
/// that orders and pairs survive (RFC 4315 §4).
pub fn set(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    let mut run: Option<(u32, u32)> = None;
    let mut before = "";
    for number in numbers {
        match &mut run {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => {
                before = end_run(out, run, before);
                run = Some((number, number));
            }
        }
    }
    end_run(out, run, before);
}

/// Writes a run that has ended; answers what comes before the next.
fn end_run(out: &mut Vec<u8>, run: Option<(u32, u32)>, before: &'static str) -> &'static str {
    match run {
        None => before,
        Some((first, last)) => {
            text(out, format_args!("{before}{first}"));
            if first != last {
                text(out, format_args!(":{last}"));
            }
            ","
        }
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
