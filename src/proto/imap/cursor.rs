//! Tokens of a command (RFC 3501 §9): a cursor over text pieces and literals.
use zeroize::Zeroize;

use crate::domain::limits;
use crate::proto::imap::name::Mode;

/// A command as it came: lines without their CRLF and literal announcements, and literals.
/// Wiped when dropped, because LOGIN is a command too.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Octets of a line.
    Text(Vec<u8>),
    /// Octets of a literal.
    Literal(Vec<u8>),
    /// Octets of a `literal8` (RFC 3516 §4.1), which may hold NUL.
    Literal8(Vec<u8>),
}

impl Piece {
    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Text(octets) | Self::Literal(octets) | Self::Literal8(octets) => octets,
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        match self {
            Self::Text(octets) | Self::Literal(octets) | Self::Literal8(octets) => {
                octets.zeroize();
            }
        }
    }
}

/// What is wrong with a command, for the text of a response, and which response it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub &'static str, pub Fault);

/// How a command is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is none: BAD.
    Form,
    /// It is one, but more than we take: NO [LIMIT] (RFC 5530 §3).
    Limit,
    /// It asks for an event that nobody knows here: NO [BADEVENT] (RFC 5465 §5).
    Event,
    /// It holds a message or value that is too large: NO [TOOBIG] (RFC 7889 §3).
    TooBig,
}

impl Fault {
    /// The response code of the NO; `None` for BAD.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::Form => None,
            Self::Limit => Some("LIMIT"),
            Self::TooBig => Some("TOOBIG"),
            Self::Event => Some(
                "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange \
                 MailboxMetadataChange ServerMetadataChange)",
            ),
        }
    }
}

impl Bad {
    /// Not what the grammar says.
    pub const fn form(expected: &'static str) -> Self {
        Self(expected, Fault::Form)
    }

    /// Right, but too much of it.
    pub const fn limit(text: &'static str) -> Self {
        Self(text, Fault::Limit)
    }
}

/// Walks over the pieces of one command. Every method either takes a whole token or answers
/// [`Bad`] and the command is given up, so a half-taken token does not matter.
pub struct Cursor<'a> {
    pieces: &'a [Piece],
    at: usize,
    mode: Mode,
    keys: usize,
    ranges: usize,
}

impl<'a> Cursor<'a> {
    /// Stands before the first octet.
    pub fn new(pieces: &'a [Piece]) -> Self {
        Self::in_mode(pieces, Mode::default())
    }

    /// The same, in a session in which mailbox names are written so.
    pub fn in_mode(pieces: &'a [Piece], mode: Mode) -> Self {
        Self { pieces, at: 0, mode, keys: 0, ranges: 0 }
    }

    /// How mailbox names are written.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Counts a search key of the command.
    pub fn count_key(&mut self) -> Result<(), Bad> {
        self.keys += 1;
        at_most(self.keys, limits::IMAP_SEARCH_KEYS_MAX, "a search has too many keys")
    }

    /// Counts a range of a set of the command.
    pub fn count_range(&mut self) -> Result<(), Bad> {
        self.ranges += 1;
        at_most(self.ranges, limits::IMAP_RANGES_MAX, "a set has too many ranges")
    }

    /// True when nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest().is_empty() && self.pieces.len() <= 1
    }

    /// The next octet of the line; `None` at its end or before a literal.
    pub fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Takes `octet` if it is next.
    pub fn eat(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    /// Takes `octet`, which must be next.
    pub fn expect(&mut self, octet: u8, otherwise: &'static str) -> Result<(), Bad> {
        if self.eat(octet) { Ok(()) } else { Err(Bad::form(otherwise)) }
    }

    /// Exactly one space: RFC 3501 §9 note 1 allows no more.
    pub fn space(&mut self) -> Result<(), Bad> {
        self.expect(b' ', "one space expected")
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Bad> {
        if self.is_at_end() { Ok(()) } else { Err(Bad::form("unexpected text after the command")) }
    }

    /// True when `word`, in whatever case, is next.
    pub fn is_next(&self, word: &str) -> bool {
        let next = self.rest().get(..word.len());
        next.is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Takes `word`, in whatever case, if it is next.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let is_next = self.is_next(word);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Octets as long as they are of one kind; perhaps none.
    pub fn take_while(&mut self, is_of_kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&octet| !is_of_kind(octet)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// `atom`, as text: atoms are ASCII.
    pub fn atom(&mut self) -> Result<&'a str, Bad> {
        word(self.take_while(is_atom_char), "an atom was expected")
    }

    /// `tag`: `1*<any ASTRING-CHAR except "+">`.
    pub fn tag(&mut self) -> Result<&'a str, Bad> {
        word(self.take_while(is_tag_char), "a tag was expected")
    }

    /// `number`: 32 bits without sign.
    pub fn number(&mut self) -> Result<u32, Bad> {
        word(self.take_while(|octet| octet.is_ascii_digit()), "a number was expected")?
            .parse()
            .map_err(|_| Bad::form("a number is over 4294967295"))
    }

    /// `number64`: 63 bits without sign, as quotas and mod-sequences have (RFC 7162 §7).
    pub fn number64(&mut self) -> Result<u64, Bad> {
        word(self.take_while(|octet| octet.is_ascii_digit()), "a number was expected")?
            .parse()
            .ok()
            .filter(|number| *number <= i64::MAX as u64)
            .ok_or(Bad::form("a number is over 9223372036854775807"))
    }

    /// `nz-number`.
    pub fn nonzero(&mut self) -> Result<u32, Bad> {
        match self.peek() {
            Some(b'1'..=b'9') => self.number(),
            _ => Err(Bad::form("a number from 1 was expected")),
        }
    }

    /// `string`: quoted or literal; `None` when neither is next.
    ///
    /// RFC 3501 allows 7-bit characters in quoted strings only. Octets from 0x80 are taken all
    /// the same: Outlook sends passwords so, and what they mean is checked where they are used.
    pub fn string(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        if self.rest().is_empty()
            && let [_, Piece::Literal(octets), ..] = self.pieces
        {
            self.pieces = &self.pieces[1..];
            self.step_over_literal();
            return Ok(Some(octets.clone()));
        }
        if self.rest().is_empty() && matches!(self.pieces, [_, Piece::Literal8(_), ..]) {
            return Err(Bad::form("a literal8 cannot stand here"));
        }
        if !self.eat(b'"') {
            return Ok(None);
        }
        let mut value = Vec::new();
        loop {
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(Some(value));
                }
                [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                    value.push(*escaped);
                    self.at += 2;
                }
                [b'\\', ..] => return Err(Bad::form("only \\\" and \\\\ are escapes")),
                [] => return Err(Bad::form("a quoted string has no end")),
                [octet, ..] => {
                    value.push(*octet);
                    self.at += 1;
                }
            }
        }
    }

    /// `astring`.
    pub fn astring(&mut self) -> Result<Vec<u8>, Bad> {
        if let Some(value) = self.string()? {
            return Ok(value);
        }
        let value = self.take_while(is_astring_char);
        if value.is_empty() { Err(Bad::form("an argument is missing")) } else { Ok(value.to_vec()) }
    }

    /// `nstring`.
    pub fn nstring(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        if let Some(value) = self.string()? {
            return Ok(Some(value));
        }
        if self.eat_word("NIL") { Ok(None) } else { Err(Bad::form("a string or NIL was expected")) }
    }

    /// `nstring / literal8`: a value of SETMETADATA (RFC 5464 §5).
    pub fn value(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        if self.rest().is_empty()
            && let [_, Piece::Literal8(octets), ..] = self.pieces
        {
            self.pieces = &self.pieces[1..];
            self.step_over_literal();
            return Ok(Some(octets.clone()));
        }
        self.nstring()
    }

    /// `list-mailbox`: an astring that may hold `%` and `*`.
    pub fn list_mailbox(&mut self) -> Result<Vec<u8>, Bad> {
        if let Some(value) = self.string()? {
            return Ok(value);
        }
        let value = self.take_while(|octet| is_astring_char(octet) || matches!(octet, b'%' | b'*'));
        if value.is_empty() {
            Err(Bad::form("a mailbox pattern is missing"))
        } else {
            Ok(value.to_vec())
        }
    }

    /// `"(" one *(SP one) ")"`; the list may be empty when `may_be_empty`.
    pub fn list<T>(
        &mut self,
        may_be_empty: bool,
        mut one: impl FnMut(&mut Self) -> Result<T, Bad>,
    ) -> Result<Vec<T>, Bad> {
        self.expect(b'(', "a list in parentheses was expected")?;
        let mut items = Vec::new();
        if may_be_empty && self.eat(b')') {
            return Ok(items);
        }
        loop {
            items.push(one(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            self.space()?;
        }
    }

    fn rest(&self) -> &'a [u8] {
        match self.pieces.first() {
            Some(Piece::Text(octets)) => &octets[self.at..],
            _ => &[],
        }
    }

    /// After a literal the next text piece goes on.
    fn step_over_literal(&mut self) {
        self.pieces = &self.pieces[1..];
        self.at = 0;
    }
}

/// `ATOM-CHAR`
pub fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic()
        && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`
pub fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

/// A character of a tag.
pub fn is_tag_char(octet: u8) -> bool {
    is_astring_char(octet) && octet != b'+'
}

/// Refuses what goes over a limit.
pub fn at_most(count: usize, max: usize, otherwise: &'static str) -> Result<(), Bad> {
    if count <= max { Ok(()) } else { Err(Bad::limit(otherwise)) }
}

fn word<'a>(octets: &'a [u8], otherwise: &'static str) -> Result<&'a str, Bad> {
    match std::str::from_utf8(octets) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(Bad::form(otherwise)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Vec<Piece> {
        vec![Piece::Text(line.as_bytes().to_vec())]
    }

    #[test]
    fn a_quoted_string_knows_two_escapes() {
        let pieces = text(r#""a\"b\\c" d"#);
        let mut cursor = Cursor::new(&pieces);
        assert_eq!(cursor.astring().unwrap(), br#"a"b\c"#);
        assert_eq!(cursor.peek(), Some(b' '));
        assert!(Cursor::new(&text(r#""a\b""#)).astring().is_err());
        assert!(Cursor::new(&text(r#""abc"#)).astring().is_err());
        assert!(Cursor::new(&text(r#""abc\"#)).astring().is_err());
    }

    #[test]
    fn a_literal_stands_where_a_string_may() {
        let pieces = vec![
            Piece::Text(b"x ".to_vec()),
            Piece::Literal(b"a b".to_vec()),
            Piece::Text(b" y".to_vec()),
        ];
        let mut cursor = Cursor::new(&pieces);
        assert_eq!(cursor.atom().unwrap(), "x");
        cursor.space().unwrap();
        assert_eq!(cursor.astring().unwrap(), b"a b");
        cursor.space().unwrap();
        assert!(!cursor.is_at_end());
        assert_eq!(cursor.atom().unwrap(), "y");
        cursor.end().unwrap();
    }

    #[test]
    fn a_literal_is_no_atom_and_is_not_overlooked_at_the_end() {
        let pieces = vec![
            Piece::Text(b"x".to_vec()),
            Piece::Literal(b"y".to_vec()),
            Piece::Text(Vec::new()),
        ];
        let mut cursor = Cursor::new(&pieces);
        assert_eq!(cursor.atom().unwrap(), "x");
        assert!(cursor.end().is_err());
        assert!(cursor.atom().is_err());
    }

    #[test]
    fn a_number_has_32_bits() {
        assert_eq!(Cursor::new(&text("4294967295")).number(), Ok(u32::MAX));
        assert!(Cursor::new(&text("4294967296")).number().is_err());
        assert!(Cursor::new(&text("0")).nonzero().is_err());
        assert!(Cursor::new(&text("-1")).number().is_err());
    }
}
