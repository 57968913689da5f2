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

/// A letter as it travels (RFC 1939 §3): a line that begins with a dot gets another one, and a dot
/// alone ends it. With `body_lines` only the header, the empty line and so many lines (TOP).
pub fn dotted(letter: &[u8], body_lines: Option<u32>) -> Vec<u8> {
    let letter = body_lines.map_or(letter, |lines| top(letter, lines));
    let mut out = Vec::with_capacity(letter.len() + letter.len() / 64 + 5);
    for line in letter.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn top(letter: &[u8], lines: u32) -> &[u8] {
    let mut left = None;
    let mut end = 0;
    for line in letter.split_inclusive(|&octet| octet == b'\n') {
        if left == Some(0) {
            break;
        }
        end += line.len();
        left = match left {
            None if matches!(line, b"\r\n" | b"\n") => Some(lines),
            None => None,
            Some(left) => Some(left - 1),
        };
    }
    &letter[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
