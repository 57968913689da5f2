//! Octets to commands: framing of lines and literals, within budgets.
//!
//! Nothing is ever allocated because a client announced it; buffers grow with what arrived.
use std::mem;

use zeroize::Zeroize;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::parse;

/// How much one command may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Octets of its lines.
    pub line_octets: usize,
    /// Octets of one literal.
    pub literal_octets: usize,
    /// Octets of lines and literals together, without the message of an APPEND.
    pub command_octets: usize,
}

impl Budget {
    /// For strangers.
    pub const BEFORE_LOGIN: Self = Self {
        line_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
        literal_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
        command_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
    };
    /// For people who logged in.
    pub const AFTER_LOGIN: Self = Self {
        line_octets: limits::IMAP_LINE_OCTETS_MAX,
        literal_octets: limits::IMAP_LITERAL_OCTETS_MAX,
        command_octets: limits::IMAP_COMMAND_OCTETS_MAX,
    };
}

/// What the reader came to.
#[derive(Debug)]
pub enum Step {
    /// A literal is announced and there is room: send a continuation request.
    Continue,
    /// The message of an APPEND is announced. Decide: [`Reader::accept_message`] or
    /// [`Reader::refuse_message`].
    Message(Announced),
    /// A whole command.
    Command(Command),
    /// A line that was asked for with [`Reader::expect_line`], without its CRLF.
    Line(Secret<Vec<u8>>),
    /// Not a command. Answer BAD to the tag, or untagged.
    Bad(Refused),
}

/// A message that a client wants to send.
#[derive(Debug)]
pub struct Announced {
    /// The command's tag.
    pub tag: Tag,
    /// Where it shall go.
    pub start: AppendStart,
    /// How long it is.
    pub octets: u64,
    /// Whether the client waits.
    pub literal: LiteralMode,
}

/// RFC 3501 §4.3 and RFC 7888 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralMode {
    /// `{n}`: the client waits for a continuation request.
    Synchronising,
    /// `{n+}`: the octets come at once.
    NonSynchronising,
}

/// A command that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its tag, when it has one.
    pub tag: Option<Tag>,
    /// Why.
    pub reason: Bad,
    /// What to do with the connection.
    pub next: Next,
}

/// What to do with a connection after a refused command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next command can be read.
    GoOn,
    /// More is on its way than we want to see: close.
    Close,
}

/// The octets of a connection become commands here.
pub struct Reader {
    budget: Budget,
    /// The command's first octets, kept whatever happens: they hold its tag.
    head: Vec<u8>,
    /// The command so far, without the line that is on its way.
    pieces: Vec<Piece>,
    /// The line that is on its way.
    text: Vec<u8>,
    /// Octets in `pieces`.
    octets: usize,
    /// Octets in the texts of `pieces`.
    line_octets: usize,
    /// Octets that were read and forgotten.
    skipped: u64,
    /// Why the command will be refused when it ends.
    fault: Option<Bad>,
    state: State,
}

enum State {
    /// In a line of a command.
    Line,
    /// In a line that stands alone.
    LoneLine,
    /// In a literal.
    Literal { octets: Vec<u8>, left: usize },
    /// A message was announced and the driver thinks about it.
    Deciding { tag: Tag, start: AppendStart, octets: u64, literal: LiteralMode },
    /// In the message of an APPEND.
    Message { tag: Tag, start: AppendStart, octets: Vec<u8>, left: usize },
    /// Behind the message of an APPEND, where nothing but CRLF may stand.
    Behind { tag: Tag, start: AppendStart, message: Secret<Vec<u8>> },
    /// In a literal that nobody wants.
    Skipping { left: u64 },
}

impl Reader {
    /// Waits for a first command.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            head: Vec::new(),
            pieces: Vec::new(),
            text: Vec::new(),
            octets: 0,
            line_octets: 0,
            skipped: 0,
            fault: None,
            state: State::Line,
        }
    }

    /// From the next command on, this is the budget.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// True in the middle of a command, when the client must go on.
    pub fn is_begun(&self) -> bool {
        !matches!(self.state, State::Line | State::LoneLine)
            || !self.text.is_empty()
            || !self.pieces.is_empty()
            || self.fault.is_some()
    }

    /// True in the middle of an APPEND's message, which may take longer than a line.
    pub fn is_in_message(&self) -> bool {
        matches!(self.state, State::Message { .. })
    }

    /// The next line is no command: an answer to a SASL challenge, or DONE.
    pub fn expect_line(&mut self) {
        self.state = State::LoneLine;
    }

    /// Takes the message that was announced. The caller answers for its size and has room.
    pub fn accept_message(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Line) {
            State::Deciding { tag, start, octets: 0, .. } => {
                State::Behind { tag, start, message: Secret::new(Vec::new()) }
            }
            State::Deciding { tag, start, octets, .. } => State::Message {
                tag,
                start,
                octets: Vec::new(),
                left: usize::try_from(octets).unwrap_or(usize::MAX),
            },
            other => other,
        };
    }

    /// Does not take the message; the caller has answered the command. Says whether the
    /// connection can go on: it cannot when more than `skip_max` octets are on their way.
    pub fn refuse_message(&mut self, skip_max: u64) -> Next {
        let State::Deciding { octets, literal, .. } = &self.state else { return Next::GoOn };
        let (octets, literal) = (*octets, *literal);
        self.reset();
        // RFC 3501 §7.5: a client that waits for the continuation request sends nothing more.
        if literal == LiteralMode::Synchronising {
            return Next::GoOn;
        }
        // RFC 7888 §4: the octets come anyway; swallow them, or close.
        if octets > skip_max {
            return Next::Close;
        }
        self.fault = Some(ANSWERED);
        self.skip(octets);
        Next::GoOn
    }

    /// Takes octets; answers how many were used and, perhaps, what they came to. Call again
    /// with the rest until it uses all and answers nothing: then more must be read.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Step>) {
        let mut used = 0;
        while used < input.len() {
            let (taken, step) = self.take(&input[used..]);
            used += taken;
            if step.is_some() {
                return (used, step);
            }
            if taken == 0 {
                break;
            }
        }
        (used, None)
    }

    fn take(&mut self, input: &[u8]) -> (usize, Option<Step>) {
        match &mut self.state {
            State::Deciding { .. } => (0, None),
            State::Line | State::LoneLine | State::Behind { .. } => self.take_line(input),
            State::Literal { octets, left } => {
                let taken = take_some(octets, left, input);
                if *left == 0 {
                    let octets = mem::take(octets);
                    self.end_literal(octets);
                }
                (taken, None)
            }
            State::Message { octets, left, .. } => {
                let taken = take_some(octets, left, input);
                if *left == 0 {
                    self.end_message();
                }
                (taken, None)
            }
            State::Skipping { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Line;
                }
                (taken, None)
            }
        }
    }

    fn end_literal(&mut self, octets: Vec<u8>) {
        // RFC 3501 §9: a CHAR8 is not NUL.
        if octets.contains(&0) {
            self.fault.get_or_insert(Bad("a literal holds NUL"));
        }
        self.pieces.push(Piece::Literal(octets));
        self.state = State::Line;
    }

    fn end_message(&mut self) {
        if let State::Message { tag, start, octets, .. } =
            mem::replace(&mut self.state, State::Line)
        {
            self.state = State::Behind { tag, start, message: Secret::new(octets) };
        }
    }

    fn take_line(&mut self, input: &[u8]) -> (usize, Option<Step>) {
        let end = input.iter().position(|&octet| octet == b'\n');
        let taken = end.map_or(input.len(), |at| at + 1);
        self.keep(&input[..taken]);
        if end.is_some() {
            return (taken, self.end_line());
        }
        if self.skipped > limits::IMAP_SKIPPED_OCTETS_MAX {
            return (taken, Some(self.bad(TOO_LONG, Next::Close)));
        }
        (taken, None)
    }

    /// Keeps octets of a line while there is room; behind that only the last few, which may
    /// announce a literal.
    fn keep(&mut self, octets: &[u8]) {
        if self.pieces.is_empty() && self.head.len() < HEAD_OCTETS {
            let kept = octets.len().min(HEAD_OCTETS - self.head.len());
            self.head.extend_from_slice(&octets[..kept]);
        }
        let room = (self.budget.line_octets.saturating_sub(self.line_octets))
            .min(self.budget.command_octets.saturating_sub(self.octets));
        if self.text.len() + octets.len() > room {
            self.fault.get_or_insert(TOO_LONG);
        }
        if self.fault.is_none() {
            grow(&mut self.text, octets);
            return;
        }
        self.skipped = self.skipped.saturating_add(octets.len() as u64);
        self.text.extend_from_slice(&octets[octets.len().saturating_sub(TAIL_OCTETS)..]);
        let surplus = self.text.len().saturating_sub(TAIL_OCTETS);
        self.text.drain(..surplus);
    }

    fn end_line(&mut self) -> Option<Step> {
        let mut line = mem::take(&mut self.text);
        line.pop();
        if line.pop_if(|octet| *octet == b'\r').is_none() {
            self.fault.get_or_insert(Bad("a line ends with LF alone, not with CRLF"));
        }
        if line.iter().any(|octet| matches!(octet, b'\r' | 0)) {
            self.fault.get_or_insert(Bad("a line holds a bare CR or NUL"));
        }
        match mem::replace(&mut self.state, State::Line) {
            State::LoneLine => Some(self.end_lone_line(line)),
            State::Behind { tag, start, message } => {
                self.end_append(tag, start, message, line).into()
            }
            _ => match announced(&line) {
                Some((octets, literal, text)) => {
                    line.truncate(text);
                    self.begin_literal(line, octets, literal)
                }
                None => self.end_command(line),
            },
        }
    }

    fn end_lone_line(&mut self, line: Vec<u8>) -> Step {
        match self.fault {
            None => {
                self.reset();
                Step::Line(Secret::new(line))
            }
            Some(fault) => {
                // There is no tag in such a line; the command that waits for it has one.
                self.head.clear();
                self.bad(fault, Next::GoOn)
            }
        }
    }

    fn end_append(
        &mut self,
        tag: Tag,
        start: AppendStart,
        message: Secret<Vec<u8>>,
        line: Vec<u8>,
    ) -> Step {
        let fault = match self.fault {
            None if line.is_empty() => {
                self.reset();
                return Step::Command(parse::append(tag, start, message));
            }
            None => Bad("APPEND takes one message and nothing behind it"),
            Some(fault) => fault,
        };
        // Somebody who sends another literal unasked would be out of step with us.
        let next = match announced(&line) {
            Some((_, LiteralMode::NonSynchronising, _)) => Next::Close,
            _ => Next::GoOn,
        };
        self.reset();
        Step::Bad(Refused { tag: Some(tag), reason: fault, next })
    }

    fn end_command(&mut self, line: Vec<u8>) -> Option<Step> {
        if self.fault == Some(ANSWERED) {
            self.reset();
            return None;
        }
        if let Some(fault) = self.fault {
            return Some(self.bad(fault, Next::GoOn));
        }
        self.pieces.push(Piece::Text(line));
        match parse::command(&self.pieces) {
            Ok(command) => {
                self.reset();
                Some(Step::Command(command))
            }
            Err(reason) => Some(self.bad(reason, Next::GoOn)),
        }
    }

    fn begin_literal(&mut self, text: Vec<u8>, octets: u64, literal: LiteralMode) -> Option<Step> {
        if self.fault.is_none() {
            self.octets += text.len();
            self.line_octets += text.len();
            self.pieces.push(Piece::Text(text));
            if let Some((tag, start)) = parse::append_start(&self.pieces) {
                let announced =
                    Announced { tag: tag.clone(), start: start.clone(), octets, literal };
                self.state = State::Deciding { tag, start, octets, literal };
                return Some(Step::Message(announced));
            }
            let room = self.budget.command_octets.saturating_sub(self.octets);
            match usize::try_from(octets) {
                Ok(octets) if octets <= self.budget.literal_octets.min(room) => {
                    self.octets += octets;
                    self.start_literal(octets);
                    return (literal == LiteralMode::Synchronising).then_some(Step::Continue);
                }
                _ => self.fault = Some(LITERAL_TOO_LARGE),
            }
        }
        self.skip_literal(octets, literal)
    }

    fn start_literal(&mut self, left: usize) {
        if left == 0 {
            self.end_literal(Vec::new());
        } else {
            self.state = State::Literal { octets: Vec::new(), left };
        }
    }

    /// A literal of a command that is refused already.
    fn skip_literal(&mut self, octets: u64, literal: LiteralMode) -> Option<Step> {
        let fault = self.fault.unwrap_or(LITERAL_TOO_LARGE);
        let was_answered = fault == ANSWERED;
        if literal == LiteralMode::Synchronising {
            // The client waits, so a tagged BAD ends the command right here.
            if was_answered {
                self.reset();
                return None;
            }
            return Some(self.bad(fault, Next::GoOn));
        }
        self.skipped = self.skipped.saturating_add(octets);
        if self.skipped > limits::IMAP_SKIPPED_OCTETS_MAX || fault == LITERAL_TOO_LARGE {
            return Some(self.bad(fault, Next::Close));
        }
        self.skip(octets);
        None
    }

    fn skip(&mut self, left: u64) {
        self.state = if left == 0 { State::Line } else { State::Skipping { left } };
    }

    fn bad(&mut self, reason: Bad, next: Next) -> Step {
        let tag = parse::tag_of(&self.head);
        self.reset();
        Step::Bad(Refused { tag, reason, next })
    }

    fn reset(&mut self) {
        self.head.zeroize();
        self.pieces = Vec::new();
        self.text = Vec::new();
        self.octets = 0;
        self.line_octets = 0;
        self.skipped = 0;
        self.fault = None;
        self.state = State::Line;
    }
}

/// Marks the rest of a command that has its answer already.
const ANSWERED: Bad = Bad("answered");
const TOO_LONG: Bad = Bad("a line is too long");
const LITERAL_TOO_LARGE: Bad = Bad("a literal is too large");
/// Enough for a tag.
const HEAD_OCTETS: usize = 128;
/// Enough for `{18446744073709551615+}` and CRLF.
const TAIL_OCTETS: usize = 32;

/// Finds a literal's announcement at the end of a line: its size, its mode, and the length of
/// the text before it. A size beyond 64 bits is as good as the largest.
fn announced(line: &[u8]) -> Option<(u64, LiteralMode, usize)> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, literal) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, LiteralMode::NonSynchronising),
        None => (inside, LiteralMode::Synchronising),
    };
    let digits = inside.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let (before, digits) = inside.split_at(inside.len() - digits);
    let text = before.strip_suffix(b"{")?.len();
    if digits.is_empty() {
        return None;
    }
    let octets = digits.iter().fold(0_u64, |octets, digit| {
        octets.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some((octets, literal, text))
}

fn take_some(octets: &mut Vec<u8>, left: &mut usize, input: &[u8]) -> usize {
    let taken = input.len().min(*left);
    grow(octets, &input[..taken]);
    *left -= taken;
    taken
}

/// Appends like `extend_from_slice`, but wipes the old memory when the buffer moves: it holds
/// passwords, or a letter in clear.
fn grow(buffer: &mut Vec<u8>, octets: &[u8]) {
    if buffer.len() + octets.len() > buffer.capacity() {
        let mut larger =
            Vec::with_capacity((buffer.len() + octets.len()).max(buffer.capacity() * 2).max(64));
        larger.extend_from_slice(buffer);
        buffer.zeroize();
        *buffer = larger;
    }
    buffer.extend_from_slice(octets);
}

#[cfg(test)]
mod tests;
