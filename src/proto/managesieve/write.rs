//! What clients are told (RFC 5804 §1.2, §1.3).

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not done, and the connection ends.
    Bye,
}

/// Octets of a quoted string (RFC 5804 §4).
const QUOTED_OCTETS_MAX: usize = 1_024;

/// `OK (CODE) "text"` and a line end.
pub fn answer(out: &mut Vec<u8>, ending: Ending, code: Option<&str>, text: &str) {
    out.extend_from_slice(match ending {
        Ending::Ok => b"OK",
        Ending::No => b"NO",
        Ending::Bye => b"BYE",
    });
    if let Some(code) = code {
        out.extend_from_slice(b" (");
        out.extend_from_slice(code.as_bytes());
        out.push(b')');
    }
    out.push(b' ');
    string(out, text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A string: quoted where that is possible, else a literal.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    let is_short = text.len() <= QUOTED_OCTETS_MAX && std::str::from_utf8(text).is_ok();
    if is_short && !text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        out.push(b'"');
        for octet in text {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*octet);
        }
        out.push(b'"');
        return;
    }
    literal(out, text);
}

/// `{12}`, a line end, the octets.
pub fn literal(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
}

/// One capability with its value, and a line end (RFC 5804 §1.7).
pub fn capability(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    string(out, name.as_bytes());
    if let Some(value) = value {
        out.push(b' ');
        string(out, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
