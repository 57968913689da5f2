//! POP3 (RFC 1939) with capabilities (RFC 2449), STLS (RFC 2595 §4) and SASL (RFC 5034): the
//! words of clients, and letters in the form in which they travel.
use crate::domain::secret::Secret;

/// What a client asks.
#[derive(Debug)]
pub enum Command {
    /// RFC 2449 §5
    Capa,
    /// RFC 2595 §4
    Stls,
    /// RFC 1939 §7
    User(String),
    /// RFC 1939 §7. Spaces belong to the password.
    Pass(Secret<String>),
    /// RFC 5034 §4: the mechanism in capitals, and the initial response in base64.
    Auth {
        /// `PLAIN`
        mechanism: String,
        /// Empty when it is `=`.
        initial: Option<Secret<Vec<u8>>>,
    },
    /// RFC 1939 §5
    Stat,
    /// RFC 1939 §5; of one message, or of all.
    List(Option<u32>),
    /// RFC 1939 §7; of one message, or of all.
    Uidl(Option<u32>),
    /// RFC 1939 §5
    Retr(u32),
    /// RFC 1939 §7: the header and so many lines of the body.
    Top(u32, u32),
    /// RFC 1939 §5
    Dele(u32),
    /// RFC 1939 §5
    Noop,
    /// RFC 1939 §5
    Rset,
    /// RFC 1939 §5, §6
    Quit,
}

/// Why a line is no command; the text says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub &'static str);

impl Command {
    /// Parses a line without its line end (RFC 1939 §3: keywords in any case, one space between
    /// arguments; spaces at the end are let pass, because some clients send them).
    pub fn parse(line: &[u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(line).map_err(|_| Bad("the line is not UTF-8"))?;
        let (keyword, rest) = text.split_once(' ').unwrap_or((text, ""));
        // A password may end with a space, everything else may not.
        let argument = rest.trim_matches(' ');
        match keyword.to_ascii_uppercase().as_str() {
            "CAPA" => none(argument, Self::Capa),
            "STLS" => none(argument, Self::Stls),
            "STAT" => none(argument, Self::Stat),
            "NOOP" => none(argument, Self::Noop),
            "RSET" => none(argument, Self::Rset),
            "QUIT" => none(argument, Self::Quit),
            "USER" if !argument.is_empty() => Ok(Self::User(argument.to_owned())),
            "USER" => Err(Bad("USER takes a mailbox address")),
            "PASS" if !rest.is_empty() => Ok(Self::Pass(Secret::new(rest.to_owned()))),
            "PASS" => Err(Bad("PASS takes a password")),
            "AUTH" => auth(argument),
            "LIST" => Ok(Self::List(optional(argument)?)),
            "UIDL" => Ok(Self::Uidl(optional(argument)?)),
            "RETR" => Ok(Self::Retr(number(argument)?)),
            "DELE" => Ok(Self::Dele(number(argument)?)),
            "TOP" => {
                let (message, lines) =
                    argument.split_once(' ').ok_or(Bad("TOP takes a message and a count"))?;
                let lines = lines.trim_start().parse().ok().filter(|_| is_number(lines));
                Ok(Self::Top(number(message)?, lines.ok_or(Bad("TOP takes a count of lines"))?))
            }
            _ => Err(Bad("unknown command")),
        }
    }
}

fn none(argument: &str, command: Command) -> Result<Command, Bad> {
    if argument.is_empty() { Ok(command) } else { Err(Bad("this command takes no argument")) }
}

fn auth(argument: &str) -> Result<Command, Bad> {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim())),
        None => (argument, None),
    };
    if mechanism.is_empty() {
        return Err(Bad("AUTH takes a mechanism"));
    }
    // RFC 5034 §4: `=` is an empty response.
    let initial = initial.map(|text| if text == "=" { "" } else { text });
    let initial = initial.map(|text| Secret::new(text.as_bytes().to_vec()));
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

fn optional(argument: &str) -> Result<Option<u32>, Bad> {
    if argument.is_empty() { Ok(None) } else { number(argument).map(Some) }
}

/// RFC 1939 §5: a message-number is at least 1.
fn number(argument: &str) -> Result<u32, Bad> {
    let number = argument.parse().ok().filter(|&number: &u32| number > 0 && is_number(argument));
    number.ok_or(Bad("a message number is a whole number from 1"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// A letter as it travels (RFC 1939 §3), piece by piece: a line that begins with a dot gets another
/// one, and a dot alone ends it. With a number of body lines it is only the header, the empty line
/// and so many lines (TOP).
#[derive(Debug)]
pub struct Dotting {
    /// Body lines that are still wanted; `None` in the header, and when all are wanted.
    left: Option<u32>,
    body_lines: Option<u32>,
    line: Begun,
    ends_with_crlf: bool,
}

/// A line, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// Nothing of it yet.
    Empty,
    /// CR, and nothing else.
    Return,
    /// Something else, and whether CR is the last of it.
    Full(bool),
}

impl Dotting {
    /// Before the first piece.
    pub fn new(body_lines: Option<u32>) -> Self {
        Self { left: None, body_lines, line: Begun::Empty, ends_with_crlf: false }
    }

    /// The next piece; `out` grows by twice its length at most. False when no more is wanted.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        for octets in piece.split_inclusive(|&octet| octet == b'\n') {
            if self.line == Begun::Empty {
                if self.left == Some(0) {
                    return false;
                }
                if octets.starts_with(b".") {
                    out.push(b'.');
                }
            }
            out.extend_from_slice(octets);
            self.grow(octets);
        }
        self.left != Some(0) || self.line != Begun::Empty
    }

    /// Behind the last piece.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.ends_with_crlf {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    /// Takes note of the next octets of a line.
    fn grow(&mut self, octets: &[u8]) {
        let Some(before) = octets.strip_suffix(b"\n") else {
            self.line = match (self.line, octets) {
                (Begun::Empty, b"\r") => Begun::Return,
                _ => Begun::Full(octets.ends_with(b"\r")),
            };
            self.ends_with_crlf = false;
            return;
        };
        let is_empty_line =
            matches!((self.line, before), (Begun::Empty, b"" | b"\r") | (Begun::Return, b""));
        self.ends_with_crlf = match before {
            b"" => matches!(self.line, Begun::Return | Begun::Full(true)),
            _ => before.ends_with(b"\r"),
        };
        self.line = Begun::Empty;
        self.left = match self.left {
            None if is_empty_line => self.body_lines,
            None => None,
            Some(left) => Some(left - 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In pieces of so many octets.
    fn dotted_in(letter: &[u8], body_lines: Option<u32>, octets: usize) -> Vec<u8> {
        let (mut dotting, mut out) = (Dotting::new(body_lines), Vec::new());
        for piece in letter.chunks(octets) {
            let before = out.len();
            let more = dotting.push(piece, &mut out);
            assert!(out.len() - before <= 2 * piece.len());
            if !more {
                break;
            }
        }
        dotting.finish(&mut out);
        out
    }

    fn dotted(letter: &[u8], body_lines: Option<u32>) -> Vec<u8> {
        let whole = dotted_in(letter, body_lines, usize::MAX);
        (1..5).for_each(|octets| assert_eq!(dotted_in(letter, body_lines, octets), whole));
        whole
    }

    fn bad(line: &str) -> &'static str {
        Command::parse(line.as_bytes()).unwrap_err().0
    }

    #[test]
    fn commands_are_read_in_any_case_and_with_spaces_behind() {
        assert!(matches!(Command::parse(b"sTaT"), Ok(Command::Stat)));
        assert!(matches!(Command::parse(b"LIST"), Ok(Command::List(None))));
        assert!(matches!(Command::parse(b"list 3 "), Ok(Command::List(Some(3)))));
        assert!(matches!(Command::parse(b"TOP 1 0"), Ok(Command::Top(1, 0))));
        assert!(matches!(Command::parse(b"UIDL"), Ok(Command::Uidl(None))));
        let Ok(Command::Pass(password)) = Command::parse(b"PASS two  words ") else { panic!() };
        assert_eq!(password.expose(), "two  words ");
        let Ok(Command::Auth { mechanism, initial }) = Command::parse(b"AUTH plain =") else {
            panic!()
        };
        assert_eq!((mechanism.as_str(), initial.unwrap().expose().len()), ("PLAIN", 0));
    }

    #[test]
    fn what_is_no_command_is_told_what_was_expected() {
        assert_eq!(bad("XTND"), "unknown command");
        assert_eq!(bad("RETR"), "a message number is a whole number from 1");
        assert_eq!(bad("RETR 0"), "a message number is a whole number from 1");
        assert_eq!(bad("RETR +1"), "a message number is a whole number from 1");
        assert_eq!(bad("DELE 99999999999"), "a message number is a whole number from 1");
        assert_eq!(bad("STAT 1"), "this command takes no argument");
        assert_eq!(bad("TOP 1"), "TOP takes a message and a count");
        assert_eq!(bad("TOP 1 -1"), "TOP takes a count of lines");
        assert_eq!(bad("USER"), "USER takes a mailbox address");
        assert!(Command::parse(b"USER \xff").is_err());
    }

    #[test]
    fn a_letter_ends_with_a_dot_alone_and_its_own_dots_are_doubled() {
        assert_eq!(dotted(b"A: b\r\n\r\n.\r\n..x\r\n", None), b"A: b\r\n\r\n..\r\n...x\r\n.\r\n");
        assert_eq!(dotted(b"A: b\r\n\r\nno end", None), b"A: b\r\n\r\nno end\r\n.\r\n");
        assert_eq!(dotted(b"", None), b"\r\n.\r\n");
        let letter = b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\nthree\r\n";
        assert_eq!(dotted(letter, Some(0)), b"A: b\r\nC: d\r\n\r\n.\r\n");
        assert_eq!(dotted(letter, Some(2)), b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n.\r\n");
        assert_eq!(dotted(letter, Some(u32::MAX)), dotted(letter, None));
        assert_eq!(dotted(b"A: b\n\nx\r", Some(1)), b"A: b\n\nx\r\r\n.\r\n");
        assert_eq!(dotted(b"A: b\r\n\r\n\r\nx", Some(1)), b"A: b\r\n\r\n\r\n.\r\n");
        assert_eq!(dotted(b"A: b\r\n\r\nx\n", None), b"A: b\r\n\r\nx\n\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn no_line_ends_a_session_of_ours(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn undoing_the_dots_gives_the_letter(lines in proptest::collection::vec("[.a]{0,4}", 1..20)) {
            let letter: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let travelled = String::from_utf8(dotted(letter.as_bytes(), None)).unwrap();
            let body = travelled.strip_suffix(".\r\n").unwrap();
            let back: String = body
                .split_inclusive("\r\n")
                .map(|line| line.strip_prefix('.').unwrap_or(line))
                .collect();
            prop_assert_eq!(back, letter);
            prop_assert!(!body.split("\r\n").any(|line| line == "."));
        }
    }
}
