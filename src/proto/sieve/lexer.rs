//! Words of a script (RFC 5228 §8.1).
use crate::domain::limits;
use crate::proto::sieve::Fault;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// In lower case.
    Identifier(String),
    /// Without its colon, in lower case.
    Tag(String),
    Number(u64),
    Text(String),
    /// One of `( ) , ; [ ] { }`
    Punctuation(u8),
}

/// A word and its line.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) line: u32,
}

/// All words of a script.
pub(super) fn words(script: &[u8]) -> Result<Vec<Word>, Fault> {
    if script.len() > limits::SIEVE_SCRIPT_OCTETS_MAX {
        let why = format!("a script has at most {} octets", limits::SIEVE_SCRIPT_OCTETS_MAX);
        return Err(Fault { line: 1, why });
    }
    let line_of = |at: usize| 1 + script[..at].iter().filter(|octet| **octet == b'\n').count();
    let fault_at = |at: usize, why: &str| Fault {
        line: u32::try_from(line_of(at)).unwrap_or(u32::MAX),
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(script)
        .map_err(|error| fault_at(error.valid_up_to(), "the script is not UTF-8"))?;
    if let Some(at) = text.find('\0') {
        return Err(fault_at(at, "a NUL character"));
    }
    let mut lexer = Lexer { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 };
    let mut words = Vec::new();
    while let Some(word) = lexer.next_word()? {
        words.push(word);
    }
    Ok(words)
}

struct Lexer<'s> {
    text: &'s str,
    at: usize,
    line: u32,
}

impl<'s> Lexer<'s> {
    fn next_word(&mut self) -> Result<Option<Word>, Fault> {
        self.skip_white_space()?;
        let Some(first) = self.rest().bytes().next() else { return Ok(None) };
        let line = self.line;
        let token = match first {
            b'(' | b')' | b',' | b';' | b'[' | b']' | b'{' | b'}' => {
                self.advance(1);
                Token::Punctuation(first)
            }
            b'"' => self.quoted()?,
            b':' => {
                self.advance(1);
                match self.identifier() {
                    "" => return Err(self.fault("a tag has a name behind its colon")),
                    name => Token::Tag(name.to_ascii_lowercase()),
                }
            }
            b'0'..=b'9' => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let name = self.identifier().to_ascii_lowercase();
                match (name.as_str(), self.rest().starts_with(':')) {
                    ("text", true) => self.multi_line()?,
                    _ => Token::Identifier(name),
                }
            }
            _ => return Err(self.fault("a character that has no meaning here")),
        };
        Ok(Some(Word { token, line }))
    }

    fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    /// `octets` end at a character.
    fn advance(&mut self, octets: usize) -> &'s str {
        let taken = &self.rest()[..octets];
        let lines = taken.bytes().filter(|octet| *octet == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += octets;
        taken
    }

    fn fault(&self, why: &str) -> Fault {
        Fault { line: self.line, why: why.to_owned() }
    }

    fn skip_white_space(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let white = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.advance(white);
            let rest = self.rest();
            if rest.starts_with('#') {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| self.fault("a comment without an end"))?;
                self.advance(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn identifier(&mut self) -> &'s str {
        let rest = self.rest();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.advance(end)
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let written = self.identifier();
        let digits = written.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match &written[digits.len()..] {
            "" => Some(1),
            "k" | "K" => Some(1 << 10),
            "m" | "M" => Some(1 << 20),
            "g" | "G" => Some(1 << 30),
            _ => None,
        };
        let number = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
        number.map(Token::Number).ok_or_else(|| self.fault("this is no number, or one too large"))
    }

    fn quoted(&mut self) -> Result<Token, Fault> {
        let start = self.fault("a string without an end");
        self.advance(1);
        let mut text = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.advance(at + 1);
                    return Ok(Token::Text(text));
                }
                // RFC 5228 §2.4.2: an undefined escape is the character itself.
                '\\' => match characters.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(start)
    }

    /// `text:`, perhaps a comment, a line end; lines; a lone dot.
    fn multi_line(&mut self) -> Result<Token, Fault> {
        let start = self.fault("a text: without its lone dot");
        self.advance(1);
        let rest = self.rest();
        let end = rest.find('\n').ok_or_else(|| start.clone())?;
        let behind = rest[..end].trim();
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(self.fault("nothing but a comment may stand behind text:"));
        }
        self.advance(end + 1);
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find('\n') else {
                // The last line of a file without its line end.
                if rest.trim_end_matches('\r') == "." {
                    self.advance(rest.len());
                    return Ok(Token::Text(text));
                }
                return Err(start);
            };
            let line = self.advance(end + 1).trim_end_matches('\n').trim_end_matches('\r');
            if line == "." {
                return Ok(Token::Text(text));
            }
            text.push_str(
                line.strip_prefix('.').filter(|_| line.starts_with("..")).unwrap_or(line),
            );
            text.push_str("\r\n");
        }
    }
}
