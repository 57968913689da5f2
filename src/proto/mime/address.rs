//! Address lists of header fields (RFC 5322 §3.4), for two kinds of readers: a listing wants
//! whatever can be shown, policy wants to know when a field can be read in more than one way.

use crate::domain::limits;

/// What a field holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressList {
    /// In order; groups are opened and closed between them.
    pub items: Vec<Item>,
    /// True when another reader could see other addresses.
    pub doubtful: bool,
}

/// One element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// `name:`
    GroupStart(Vec<u8>),
    /// `;`
    GroupEnd,
    /// A mailbox. `domain` is `None` for a bare word.
    Mailbox {
        /// Display name, unquoted.
        name: Option<Vec<u8>>,
        /// Unquoted.
        local_part: Vec<u8>,
        /// As written.
        domain: Option<Vec<u8>>,
        /// The address as it stands between the angle brackets.
        written: Vec<u8>,
    },
}

/// Reads the value of an address field. Linear in its length; never fails.
pub(crate) fn parse(value: &[u8]) -> AddressList {
    let mut reader = Reader { rest: value, list: AddressList::default(), in_group: false };
    reader.read();
    reader.list
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Atom text, dots included.
    Word(Vec<u8>),
    /// A quoted string's content.
    Quoted(Vec<u8>),
    Comment(Vec<u8>),
    /// `[…]` with its brackets.
    Literal(Vec<u8>),
    /// One of `< > @ , ; :`
    Special(u8),
}

struct Reader<'a> {
    rest: &'a [u8],
    list: AddressList,
    in_group: bool,
}

/// What stands between two separators.
#[derive(Default)]
struct Element {
    /// Outside angle brackets; the flag tells whether white space stood before.
    outside: Vec<(bool, Token)>,
    /// Inside angle brackets.
    inside: Option<Vec<(bool, Token)>>,
    closed: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut element = Element::default();
        let mut spaced = false;
        while let Some(&octet) = self.rest.first() {
            if matches!(octet, b' ' | b'\t' | b'\r' | b'\n') {
                spaced = true;
                self.rest = &self.rest[1..];
                continue;
            }
            let words = element.outside.len() + element.inside.as_ref().map_or(0, Vec::len);
            if self.list.items.len() >= limits::ADDRESSES_PER_FIELD_MAX
                || words >= limits::ADDRESS_WORDS_MAX
            {
                self.list.doubtful = true;
                return;
            }
            let token = self.token();
            let in_angle = element.inside.is_some() && !element.closed;
            match token {
                Token::Special(b',') if !in_angle => self.end(std::mem::take(&mut element)),
                Token::Special(b';') if !in_angle => {
                    self.end(std::mem::take(&mut element));
                    self.end_group();
                }
                Token::Special(b':') if !in_angle => {
                    self.start_group(std::mem::take(&mut element));
                }
                Token::Special(b'<') if element.inside.is_none() => {
                    element.inside = Some(Vec::new());
                }
                Token::Special(b'>') if in_angle => element.closed = true,
                Token::Special(b'<' | b'>') => self.list.doubtful = true,
                token => match &mut element.inside {
                    Some(inside) if !element.closed => inside.push((spaced, token)),
                    Some(_) => {
                        // Only a comment may follow an angle address.
                        self.list.doubtful |= !matches!(token, Token::Comment(_));
                        element.outside.push((spaced, token));
                    }
                    None => element.outside.push((spaced, token)),
                },
            }
            spaced = false;
        }
        self.end(element);
        if self.in_group {
            self.list.doubtful = true;
            self.end_group();
        }
    }

    /// Takes the next token; there is at least one octet and it is no white space.
    fn token(&mut self) -> Token {
        let (first, rest) = (self.rest[0], &self.rest[1..]);
        match first {
            b'"' => {
                self.rest = rest;
                Token::Quoted(self.until(b'"', None))
            }
            b'(' => {
                self.rest = rest;
                Token::Comment(self.until(b')', Some(b'(')))
            }
            b'[' => {
                let end = self.rest.iter().position(|octet| *octet == b']');
                self.list.doubtful |= end.is_none();
                let (literal, rest) = self.rest.split_at(end.map_or(self.rest.len(), |at| at + 1));
                self.rest = rest;
                Token::Literal(literal.to_vec())
            }
            b'<' | b'>' | b'@' | b',' | b';' | b':' => {
                self.rest = rest;
                Token::Special(first)
            }
            _ => {
                let end = self
                    .rest
                    .iter()
                    .skip(1)
                    .position(|octet| b" \t\r\n\"([<>@,;:".contains(octet))
                    .map_or(self.rest.len(), |at| at + 1);
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                // A stray `)`, `]`, `\` or a control character means something to somebody.
                self.list.doubtful |=
                    word.iter().any(|octet| matches!(octet, 0..=31 | 127 | b')' | b']' | b'\\'));
                Token::Word(word.to_vec())
            }
        }
    }

    /// The text up to `close`, with backslashes resolved and line ends removed.
    fn until(&mut self, close: u8, open: Option<u8>) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_usize;
        let mut octets = self.rest.iter().enumerate();
        while let Some((place, &octet)) = octets.next() {
            match octet {
                b'\\' => match octets.next() {
                    Some((_, &escaped)) => text.push(escaped),
                    None => break,
                },
                octet if octet == close && depth == 0 => {
                    self.rest = &self.rest[place + 1..];
                    return text;
                }
                octet => {
                    if Some(octet) == open {
                        depth += 1;
                    } else if octet == close {
                        depth -= 1;
                    }
                    match octet {
                        b'\r' | b'\n' => {}
                        0..=8 | 11..=31 | 127 => self.list.doubtful = true,
                        _ => text.push(octet),
                    }
                }
            }
        }
        self.list.doubtful = true;
        self.rest = &[];
        text
    }

    fn start_group(&mut self, element: Element) {
        let has_at = element.outside.iter().any(|(_, token)| *token == Token::Special(b'@'));
        // A group in a group, a group without a name, or `a@b:`.
        self.list.doubtful |= self.in_group || has_at || element.inside.is_some();
        if self.in_group {
            self.list.items.push(Item::GroupEnd);
        }
        let name = phrase(&element.outside);
        self.list.doubtful |= name.is_none();
        self.list.items.push(Item::GroupStart(name.unwrap_or_default()));
        self.in_group = true;
    }

    fn end_group(&mut self) {
        if self.in_group {
            self.list.items.push(Item::GroupEnd);
        } else {
            self.list.doubtful = true;
        }
        self.in_group = false;
    }

    fn end(&mut self, element: Element) {
        let mailbox = match &element.inside {
            Some(inside) => {
                self.list.doubtful |= !element.closed;
                // `a@x <b@y>`: some readers take the first address, some the second.
                let has_at = |(_, token): &(bool, Token)| match token {
                    Token::Literal(text) => text.contains(&b'@'),
                    other => *other == Token::Special(b'@'),
                };
                self.list.doubtful |= element.outside.iter().any(has_at);
                let (inside, routed) = without_route(inside);
                self.list.doubtful |= routed;
                self.mailbox(inside, &element.outside)
            }
            None if element.outside.iter().all(|(_, t)| matches!(t, Token::Comment(_))) => None,
            None => self.mailbox(&element.outside, &[]),
        };
        self.list.items.extend(mailbox);
    }

    /// Reads `local-part@domain` out of `tokens`.
    fn mailbox(
        &mut self,
        tokens: &[(bool, Token)],
        phrase_tokens: &[(bool, Token)],
    ) -> Option<Item> {
        let mut comment = None;
        let mut local_part = Vec::new();
        let mut domain: Option<Vec<u8>> = None;
        let mut written = Vec::new();
        let mut began = false;
        let mut commented = false;
        let mut quoted = false;
        for (spaced, token) in tokens {
            // White space or a comment inside an address is obsolete (RFC 5322 §4.4) and read
            // differently here and there.
            let inside = began && !matches!(token, Token::Comment(_));
            self.list.doubtful |= inside && (*spaced || commented);
            match token {
                Token::Comment(text) => {
                    comment = Some(text.clone());
                    commented = began;
                    continue;
                }
                Token::Special(b'@') if domain.is_none() => {
                    domain = Some(Vec::new());
                    written.push(b'@');
                    quoted = false;
                }
                Token::Special(other) => {
                    self.list.doubtful = true;
                    domain.as_mut().unwrap_or(&mut local_part).push(*other);
                    written.push(*other);
                }
                Token::Word(text) => {
                    self.list.doubtful |= quoted || text.starts_with(b"=?");
                    domain.as_mut().unwrap_or(&mut local_part).extend_from_slice(text);
                    written.extend_from_slice(text);
                }
                Token::Quoted(text) => {
                    // `"a"b@x` or `a."b"@x` or `a@"x"`.
                    self.list.doubtful |= began || domain.is_some();
                    domain.as_mut().unwrap_or(&mut local_part).extend_from_slice(text);
                    quote(text, &mut written);
                    quoted = true;
                }
                Token::Literal(text) => {
                    self.list.doubtful |= domain.as_ref().is_none_or(|domain| !domain.is_empty());
                    domain.as_mut().unwrap_or(&mut local_part).extend_from_slice(text);
                    written.extend_from_slice(text);
                }
            }
            began = true;
        }
        let empty = local_part.is_empty() || domain.as_ref().is_none_or(Vec::is_empty);
        self.list.doubtful |= empty;
        let name = phrase(phrase_tokens).or(comment);
        if local_part.is_empty() && domain.is_none() && name.is_none() {
            return None;
        }
        Some(Item::Mailbox { name, local_part, domain, written })
    }
}

fn quote(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            into.push(b'\\');
        }
        into.push(octet);
    }
    into.push(b'"');
}

/// RFC 5322 §4.4: `<@a,@b:user@host>`; the route is ignored, as it must be, and told of.
fn without_route(tokens: &[(bool, Token)]) -> (&[(bool, Token)], bool) {
    match tokens.iter().position(|(_, token)| *token == Token::Special(b':')) {
        Some(colon) if tokens.first().is_some_and(|(_, t)| *t == Token::Special(b'@')) => {
            (&tokens[colon + 1..], true)
        }
        _ => (tokens, false),
    }
}

/// A display name: words joined as they were spaced; the last comment when there are no words.
fn phrase(tokens: &[(bool, Token)]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut comment = None;
    for (spaced, token) in tokens {
        if let Token::Comment(text) = token {
            comment = Some(text.clone());
            continue;
        }
        if *spaced && !name.is_empty() {
            name.push(b' ');
        }
        match token {
            Token::Word(text) | Token::Quoted(text) | Token::Literal(text) => {
                name.extend_from_slice(text);
            }
            Token::Special(octet) => name.push(*octet),
            Token::Comment(_) => {}
        }
    }
    if name.is_empty() { comment } else { Some(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> (Vec<String>, bool) {
        let list = parse(value.as_bytes());
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let items = list.items.iter().map(|item| match item {
            Item::GroupStart(name) => format!("{}:", text(name)),
            Item::GroupEnd => ";".to_owned(),
            Item::Mailbox { name, local_part, domain, .. } => format!(
                "{}|{}|{}",
                text(name.as_deref().unwrap_or(b"-")),
                text(local_part),
                text(domain.as_deref().unwrap_or(b"-"))
            ),
        });
        (items.collect(), list.doubtful)
    }

    #[test]
    fn ordinary_lists_are_read_without_doubt() {
        let check = |value: &str, expected: &[&str]| {
            let (items, doubtful) = shown(value);
            assert_eq!(items, expected, "{value}");
            assert!(!doubtful, "{value}");
        };
        check("a@x.fr", &["-|a|x.fr"]);
        check("<a@x.fr>", &["-|a|x.fr"]);
        check(" Dr Lune <a@x.fr> ", &["Dr Lune|a|x.fr"]);
        check("\"Lune, Dr\" <a@x.fr>, b@y.fr", &["Lune, Dr|a|x.fr", "-|b|y.fr"]);
        check(
            "=?utf-8?q?H=C3=A9l=C3=A8ne?= Lune\r\n <a@x.fr>",
            &["=?utf-8?q?H=C3=A9l=C3=A8ne?= Lune|a|x.fr"],
        );
        check("a@x.fr (Dr Lune)", &["Dr Lune|a|x.fr"]);
        check("\"a b\"@x.fr", &["-|a b|x.fr"]);
        check("\"a@x.fr\" <a@x.fr>", &["a@x.fr|a|x.fr"]);
        check("J. R. Lune <a@x.fr>", &["J. R. Lune|a|x.fr"]);
        check("équipe: a@x.fr, Dr <b@y.fr>;", &["équipe:", "-|a|x.fr", "Dr|b|y.fr", ";"]);
        check("undisclosed-recipients:;", &["undisclosed-recipients:", ";"]);
        check("a@x.fr,, b@y.fr,", &["-|a|x.fr", "-|b|y.fr"]);
        check("", &[]);
        check("a+b_c'd@x-y.fr", &["-|a+b_c'd|x-y.fr"]);
        check("Hélène <hélène@x.fr>", &["Hélène|hélène|x.fr"]);
        check("a@[192.0.2.1]", &["-|a|[192.0.2.1]"]);
    }

    #[test]
    fn what_two_readers_read_differently_is_doubtful() {
        for value in [
            "a@x.fr <b@y.fr>",
            "<a@x.fr> <b@y.fr>",
            "<a@x.fr>b@y.fr",
            "<a@x.fr> b@y.fr",
            "<a@x.fr",
            "a@x.fr>",
            "\"Lune <a@x.fr>",
            "Lune\" <a@x.fr>",
            "(Lune <a@x.fr>",
            "Lune) <a@x.fr>",
            "a(b)@x.fr",
            "a@(b)x.fr",
            "a @x.fr",
            "a@ x.fr",
            "a b@x.fr",
            "a@x.fr b@y.fr",
            "a@x@y.fr",
            "a@x.fr@y.fr",
            "=?utf-8?q?a=40x.fr?=",
            "<=?utf-8?q?a?=@x.fr>",
            "=?utf-8?q?<a@x.fr>?= <b@y.fr>",
            "<@relay.fr:a@x.fr>",
            "<>",
            "root",
            "a@",
            "@x.fr",
            "a@x.fr;",
            "g: a@x.fr",
            "g: h: a@x.fr;;",
            ": a@x.fr;",
            "a@x.fr\0",
            "a\u{1}@x.fr",
            "\"a\"b@x.fr",
            "a.\"b\"@x.fr",
            "a@\"x.fr\"",
            "a@[192.0.2.1",
            "[@] <a@x.fr>",
            "a\\@x.fr",
            "\"a\\",
            "(a\\",
        ] {
            assert!(shown(value).1, "{value:?} was not doubted");
        }
    }

    #[test]
    fn an_address_field_of_a_megabyte_is_read_in_bounded_memory() {
        for unit in ["a@x.fr,", "(", "\"", "<", "g:", "[", "a ", ",", ";", "\\", "@"] {
            let value = unit.repeat(1_000_000 / unit.len());
            let list = parse(value.as_bytes());
            assert!(list.items.len() <= limits::ADDRESSES_PER_FIELD_MAX + 2, "{unit}");
        }
    }
}
