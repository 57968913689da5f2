//! Words of commands, as they come in: a byte at a time, within a budget (RFC 5804 §1.2, §4).
use zeroize::Zeroize;

use crate::domain::limits;

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// In upper case.
    Atom(String),
    /// A quoted string or literal.
    Text(Vec<u8>),
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole command; at least one word.
    Words(Vec<Word>),
    /// A line that is none; the next one may be.
    Bad(&'static str),
    /// A command with more octets than there is room for; it was read to its end.
    TooLarge,
    /// So much more that reading on makes no sense.
    Close,
}

/// Reads commands.
pub struct Reader {
    words: Vec<Word>,
    current: Vec<u8>,
    state: State,
    octets: usize,
    octets_max: usize,
    is_too_large: bool,
    bad: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Atom,
    Quoted,
    Escaped,
    /// Behind a closing quote.
    Closed,
    /// Between `{` and `}`.
    Head,
    /// Behind `}`; the length is known.
    HeadEnd(u64),
    Literal(u64),
    /// A bad line, up to its end.
    Rest,
}

impl Reader {
    /// For a stranger.
    pub fn new() -> Self {
        Self {
            words: Vec::new(),
            current: Vec::new(),
            state: State::Between,
            octets: 0,
            octets_max: limits::MANAGESIEVE_STRANGER_OCTETS_MAX,
            is_too_large: false,
            bad: None,
        }
    }

    /// Who has logged in may say more at once.
    pub fn set_octets_max(&mut self, octets_max: usize) {
        self.octets_max = octets_max;
    }

    /// True in the middle of a command.
    pub fn is_begun(&self) -> bool {
        self.octets > 0
    }

    /// Takes octets until a command is whole; tells how many were taken.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Step>) {
        let mut used = 0;
        while used < input.len() {
            if let State::Literal(left) = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
                if !self.is_too_large {
                    self.current.extend_from_slice(&input[used..used + taken]);
                }
                used += taken;
                self.state = State::Literal(left - taken as u64);
                if left == taken as u64 {
                    self.end_text();
                }
                continue;
            }
            let octet = input[used];
            used += 1;
            self.octets += 1;
            if self.octets > self.octets_max {
                return (used, Some(Step::Close));
            }
            if let Some(step) = self.take(octet) {
                return (used, Some(step));
            }
        }
        (used, None)
    }

    fn take(&mut self, octet: u8) -> Option<Step> {
        match (self.state, octet) {
            (State::HeadEnd(_), b'\r') => {}
            (State::HeadEnd(octets), b'\n') => return self.begin_literal(octets),
            (State::HeadEnd(_), _) => self.spoil("a literal begins behind a line end"),
            (State::Quoted, b'"') => self.end_text(),
            (State::Quoted, b'\\') => self.state = State::Escaped,
            (State::Quoted | State::Escaped, b'\r' | b'\n') => {
                self.spoil("a quoted string ends before its line");
                return self.end_of_line(octet);
            }
            (State::Quoted, 0) => self.spoil("a NUL"),
            (State::Quoted, _) => self.current.push(octet),
            (State::Escaped, b'"' | b'\\') => {
                self.current.push(octet);
                self.state = State::Quoted;
            }
            (State::Escaped, _) => self.spoil("only \" and \\ are escaped"),
            (State::Head, b'}') => match head(&self.current) {
                Some(octets) => {
                    self.current.clear();
                    self.state = State::HeadEnd(octets);
                }
                None => self.spoil("a literal has a length"),
            },
            (State::Head, b'0'..=b'9' | b'+') if self.current.len() < 20 => {
                self.current.push(octet);
            }
            (State::Head, b'\r' | b'\n') => {
                self.spoil("a literal has a length");
                return self.end_of_line(octet);
            }
            (State::Head, _) => self.spoil("a literal has a length"),
            (_, b'\r' | b'\n') => {
                self.end_atom();
                return self.end_of_line(octet);
            }
            (State::Rest, _) => {}
            (State::Between | State::Atom | State::Closed, b' ') => {
                self.end_atom();
                self.state = State::Between;
            }
            (State::Between, b'"') => self.state = State::Quoted,
            (State::Between, b'{') => self.state = State::Head,
            (State::Between | State::Atom, _)
                if octet.is_ascii_graphic() && !b"\"{}()\\".contains(&octet) =>
            {
                self.state = State::Atom;
                self.current.push(octet.to_ascii_uppercase());
            }
            _ => self.spoil("a character that has no place there"),
        }
        None
    }

    fn begin_literal(&mut self, octets: u64) -> Option<Step> {
        let room = self.octets_max.saturating_sub(self.octets) as u64;
        let is_stranger = self.octets_max <= limits::MANAGESIEVE_STRANGER_OCTETS_MAX;
        if octets > room {
            if is_stranger || octets > limits::MANAGESIEVE_SKIPPED_OCTETS_MAX {
                return Some(Step::Close);
            }
            self.is_too_large = true;
        } else {
            self.octets += usize::try_from(octets).unwrap_or(usize::MAX);
        }
        self.state = State::Literal(octets);
        if octets == 0 {
            self.end_text();
        }
        None
    }

    fn spoil(&mut self, why: &'static str) {
        self.bad.get_or_insert(why);
        self.state = State::Rest;
    }

    fn end_text(&mut self) {
        let text = std::mem::take(&mut self.current);
        self.push(Word::Text(text));
        self.state = State::Closed;
    }

    fn end_atom(&mut self) {
        if self.state == State::Atom {
            let atom = String::from_utf8(std::mem::take(&mut self.current)).unwrap_or_default();
            self.push(Word::Atom(atom));
        }
    }

    fn push(&mut self, word: Word) {
        if self.words.len() < limits::MANAGESIEVE_WORDS_MAX {
            self.words.push(word);
        } else {
            self.bad.get_or_insert("too many words");
        }
    }

    /// CR is passed over: what counts is LF.
    fn end_of_line(&mut self, octet: u8) -> Option<Step> {
        if octet == b'\r' {
            if self.state != State::Rest {
                self.state = State::Closed;
            }
            return None;
        }
        let words = std::mem::take(&mut self.words);
        let (bad, is_too_large) = (self.bad.take(), std::mem::take(&mut self.is_too_large));
        self.current.zeroize();
        (self.state, self.octets) = (State::Between, 0);
        Some(match bad {
            Some(why) => Step::Bad(why),
            None if is_too_large => Step::TooLarge,
            None if words.is_empty() => Step::Bad("an empty line"),
            None => Step::Words(words),
        })
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.current.zeroize();
    }
}

/// RFC 5804 §4 literal-c2s: `{12+}`. Without the `+` it means the same here, for nothing is ever
/// asked for.
fn head(octets: &[u8]) -> Option<u64> {
    let digits = octets.strip_suffix(b"+").unwrap_or(octets);
    std::str::from_utf8(digits).ok().filter(|digits| !digits.contains('+'))?.parse().ok()
}
