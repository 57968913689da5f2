//! Where a command line ends: at CRLF and nowhere else (RFC 5321 §2.3.8).
//!
//! A line that ends with a bare LF, or holds a bare CR or a NUL, is one *bad* line up to its LF.
//! Nothing in it is ever read as a command, so two readers cannot see different commands.
use crate::domain::limits;

/// What the next line is, so how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expecting {
    /// A command.
    Command,
    /// An answer within AUTH.
    AuthResponse,
}

/// A line that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Well formed; without its CRLF.
    Whole(&'a [u8]),
    /// It has a bare CR, a bare LF or a NUL.
    BadEnds,
    /// Longer than allowed; none of it was kept.
    TooLong,
}

/// Finds lines in a buffer that grows. It remembers how far it has looked, so that a client
/// that sends one byte at a time does not make us read all the others again.
#[derive(Debug, Default)]
pub struct LineFinder {
    looked: usize,
    skipping: bool,
}

impl LineFinder {
    /// Looks at all the octets that have arrived and were not used. Answers how many of them are
    /// used up now, and the line, if one is whole.
    pub fn find<'a>(
        &mut self,
        buffer: &'a [u8],
        expecting: Expecting,
    ) -> (usize, Option<Line<'a>>) {
        let end = buffer[self.looked..].iter().position(|octet| *octet == b'\n');
        let Some(end) = end.map(|place| self.looked + place) else {
            if !self.skipping && buffer.len() < octets_max(buffer, expecting) {
                self.looked = buffer.len();
                return (0, None);
            }
            // RFC 5321 §4.5.3.1.9: the line is refused at its end, and none of it is kept.
            *self = Self { looked: 0, skipping: true };
            return (buffer.len(), None);
        };
        let used = end + 1;
        let too_long = self.skipping || used > octets_max(buffer, expecting);
        *self = Self::default();
        let line = match buffer[..used].strip_suffix(b"\r\n") {
            _ if too_long => Line::TooLong,
            Some(text) if !text.iter().any(|octet| matches!(octet, b'\r' | 0)) => Line::Whole(text),
            _ => Line::BadEnds,
        };
        (used, Some(line))
    }
}

/// Octets of a line with its CRLF.
fn octets_max(line: &[u8], expecting: Expecting) -> usize {
    // RFC 4954 §4: an initial response may make the AUTH command as long as its other lines.
    let is_auth = line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
    match expecting {
        Expecting::Command if !is_auth => limits::SMTP_COMMAND_OCTETS_MAX,
        _ => limits::SMTP_AUTH_LINE_OCTETS_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `input` when it arrives in pieces of `piece` octets.
    fn lines(input: &[u8], piece: usize) -> Vec<String> {
        let mut finder = LineFinder::default();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for part in input.chunks(piece) {
            buffer.extend_from_slice(part);
            loop {
                let (used, line) = finder.find(&buffer, Expecting::Command);
                let line = line.map(|line| match line {
                    Line::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                });
                buffer.drain(..used);
                match line {
                    Some(line) => found.push(line),
                    None => break,
                }
            }
        }
        found
    }

    fn check(input: &[u8], expected: &[&str]) {
        for piece in [1, 2, 3, 7, input.len()] {
            assert_eq!(lines(input, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_ends_at_crlf_and_nowhere_else() {
        check(b"NOOP\r\nQUIT\r\nha", &["NOOP", "QUIT"]);
        check(b"NOOP\nQUIT\r\n", &["BadEnds", "QUIT"]);
        check(b"NOOP\rQUIT\r\nRSET\r\n", &["BadEnds", "RSET"]);
        check(b"NOOP\0\r\n\r\n", &["BadEnds", ""]);
        check(b"\n\r\n", &["BadEnds", ""]);
        check(b"NOOP\r\r\nQUIT\r\n", &["BadEnds", "QUIT"]);
    }

    #[test]
    fn an_overlong_line_is_one_error_and_none_of_it_is_a_command() {
        let mut input = vec![b'a'; 100_000];
        input.extend_from_slice(b"\r\nQUIT\r\n");
        check(&input, &["TooLong", "QUIT"]);
    }

    #[test]
    fn the_longest_allowed_line_passes_and_one_octet_more_does_not() {
        let fits = vec![b'a'; limits::SMTP_COMMAND_OCTETS_MAX - 2];
        let text = String::from_utf8(fits.clone()).unwrap();
        check(&[&fits, &b"\r\n"[..]].concat(), &[&text]);
        check(&[&fits, &b"a\r\n"[..]].concat(), &["TooLong"]);
    }

    #[test]
    fn an_initial_response_makes_a_command_longer() {
        let long = format!("auth PLAIN {}", "A".repeat(12_000));
        check(format!("{long}\r\n").as_bytes(), &[&long]);
    }
}
