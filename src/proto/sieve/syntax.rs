//! Commands of a script, before anybody asks what they mean (RFC 5228 §8.2).
use std::vec::IntoIter;

use crate::domain::limits;
use crate::proto::sieve::Fault;
use crate::proto::sieve::lexer;
use crate::proto::sieve::lexer::Token;
use crate::proto::sieve::lexer::Word;

/// A command or a test.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// In lower case.
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) arguments: Vec<Argument>,
    pub(super) tests: Vec<Node>,
    pub(super) block: Option<Vec<Node>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Tag(String),
    Number(u64),
    /// A string is a list of one, but a list of one is no string.
    Text(String),
    Texts(Vec<String>),
}

/// Reads a whole script.
pub(super) fn read(script: &[u8]) -> Result<Vec<Node>, Fault> {
    let words = lexer::words(script)?;
    let last_line = words.last().map_or(1, |word| word.line);
    let mut reader = Reader { words: words.into_iter(), peeked: None, line: last_line };
    reader.peeked = reader.words.next();
    let commands = reader.commands(0)?;
    match reader.peeked {
        None => Ok(commands),
        Some(word) => Err(fault(word.line, "a } without its {")),
    }
}

fn fault(line: u32, why: impl Into<String>) -> Fault {
    Fault { line, why: why.into() }
}

struct Reader {
    words: IntoIter<Word>,
    peeked: Option<Word>,
    /// The last one, for what is missing at the end.
    line: u32,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.peeked.as_ref().map(|word| &word.token)
    }

    fn here(&self) -> u32 {
        self.peeked.as_ref().map_or(self.line, |word| word.line)
    }

    fn take(&mut self) -> Option<Word> {
        std::mem::replace(&mut self.peeked, self.words.next())
    }

    fn takes(&mut self, punctuation: u8) -> bool {
        let found = self.peek() == Some(&Token::Punctuation(punctuation));
        if found {
            self.take();
        }
        found
    }

    /// Up to the end, or to a `}` that is left where it is.
    fn commands(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        if depth > limits::SIEVE_NESTING_MAX {
            return Err(fault(self.here(), "blocks are nested too deeply"));
        }
        let mut commands = Vec::new();
        while !matches!(self.peek(), None | Some(Token::Punctuation(b'}'))) {
            let mut node = self.node("a command", 0)?;
            if self.takes(b'{') {
                node.block = Some(self.commands(depth + 1)?);
                if !self.takes(b'}') {
                    return Err(fault(node.line, format!("the block of {} has no }}", node.name)));
                }
            } else if !self.takes(b';') {
                return Err(fault(self.here(), format!("a ; is missing behind {}", node.name)));
            }
            commands.push(node);
        }
        Ok(commands)
    }

    /// A name, its arguments, its tests.
    fn node(&mut self, expected: &str, depth: usize) -> Result<Node, Fault> {
        let line = self.here();
        if depth > limits::SIEVE_NESTING_MAX {
            return Err(fault(line, "tests are nested too deeply"));
        }
        let name = match self.take().map(|word| word.token) {
            Some(Token::Identifier(name)) => name,
            _ => return Err(fault(line, format!("{expected} is expected here"))),
        };
        let mut arguments = Vec::new();
        loop {
            arguments.push(match self.peek() {
                Some(Token::Tag(_) | Token::Number(_) | Token::Text(_)) => {
                    match self.take().map(|word| word.token) {
                        Some(Token::Tag(tag)) => Argument::Tag(tag),
                        Some(Token::Number(number)) => Argument::Number(number),
                        Some(Token::Text(text)) => Argument::Text(text),
                        _ => break,
                    }
                }
                Some(Token::Punctuation(b'[')) => Argument::Texts(self.list()?),
                _ => break,
            });
        }
        let mut tests = Vec::new();
        match self.peek() {
            Some(Token::Identifier(_)) => tests.push(self.node("a test", depth + 1)?),
            Some(Token::Punctuation(b'(')) => {
                self.take();
                loop {
                    tests.push(self.node("a test", depth + 1)?);
                    if self.takes(b')') {
                        break;
                    }
                    if !self.takes(b',') {
                        return Err(fault(self.here(), "a , or ) is missing between tests"));
                    }
                }
            }
            _ => {}
        }
        Ok(Node { name, line, arguments, tests, block: None })
    }

    fn list(&mut self) -> Result<Vec<String>, Fault> {
        let line = self.here();
        self.take();
        let mut texts = Vec::new();
        loop {
            match self.take().map(|word| word.token) {
                Some(Token::Text(text)) => texts.push(text),
                _ => return Err(fault(line, "a list holds strings")),
            }
            if texts.len() > limits::SIEVE_LIST_MAX {
                return Err(fault(line, "a list is too long"));
            }
            if self.takes(b']') {
                return Ok(texts);
            }
            if !self.takes(b',') {
                return Err(fault(line, "a list without its end"));
            }
        }
    }
}
