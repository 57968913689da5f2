//! Octets to commands: framing of lines and literals, within budgets.
//!
//! Nothing is ever allocated because a client announced it; buffers grow with what arrived.
use std::mem;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::secret::Wipe;
use crate::proto::imap::command::Append;
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::Body;
use crate::proto::imap::command::Command;
use crate::proto::imap::command::MessageForm;
use crate::proto::imap::command::Replace;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Fault;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Mode;
use crate::proto::imap::parse;
use crate::proto::imap::parse::filing;
use crate::proto::imap::parse::filing::Opening;
use crate::proto::imap::parse::filing::Replaced;

/// How much one command may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Octets of its lines.
    pub line_octets: usize,
    /// Octets of one literal.
    pub literal_octets: usize,
    /// Octets of lines and literals together, without the messages of an APPEND.
    pub command_octets: usize,
    /// Literals, without the messages of an APPEND.
    pub literals: usize,
    /// Octets of a refused message that are read and forgotten at most.
    pub refused_octets: u64,
}

impl Budget {
    /// For strangers.
    pub const BEFORE_LOGIN: Self = Self {
        line_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
        literal_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
        command_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX,
        literals: limits::IMAP_LITERALS_BEFORE_LOGIN_MAX,
        refused_octets: limits::IMAP_LINE_OCTETS_BEFORE_LOGIN_MAX as u64,
    };
    /// For people who logged in.
    pub const AFTER_LOGIN: Self = Self {
        line_octets: limits::IMAP_LINE_OCTETS_MAX,
        literal_octets: limits::IMAP_LITERAL_OCTETS_MAX,
        command_octets: limits::IMAP_COMMAND_OCTETS_MAX,
        literals: limits::IMAP_LITERALS_MAX,
        refused_octets: u64::MAX,
    };
}

/// What the reader came to.
#[derive(Debug)]
pub enum Step {
    /// A literal is announced and there is room: send a continuation request.
    Continue,
    /// A message of an APPEND or REPLACE is announced. Decide: [`Reader::accept_message`] or
    /// [`Reader::refuse_message`].
    Message(Announced),
    /// The message that was accepted last has come whole. The reader forgets it here; nothing
    /// may become of it before the command is whole too.
    Received(Secret<Vec<u8>>),
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
    /// Which one of its command, from 0. Whether it is the last only the end of the command
    /// tells.
    pub index: usize,
    /// The message that it replaces: REPLACE. `None`: APPEND.
    pub replaced: Option<Replaced>,
    /// How it is sent.
    pub form: MessageForm,
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
    /// Literals of the command so far.
    literals: usize,
    /// Why the command will be refused when it ends.
    fault: Option<Bad>,
    /// How mailbox names are written.
    mode: Mode,
    state: State,
}

enum State {
    /// In a line of a command.
    Line,
    /// In a line that stands alone.
    LoneLine,
    /// In a literal.
    Literal { octets: Vec<u8>, left: usize, is_literal8: bool },
    /// A message was announced and the driver thinks about it.
    Deciding { filing: Box<Filing>, literal: LiteralMode },
    /// In a message.
    Message { filing: Box<Filing>, octets: Vec<u8>, left: usize },
    /// Behind a message, where the command ends or the next message is announced.
    Behind { filing: Box<Filing> },
    /// In a literal that nobody wants.
    Skipping { left: u64 },
}

/// An APPEND or REPLACE so far.
struct Filing {
    tag: Tag,
    replaced: Option<Replaced>,
    mailbox: MailboxName,
    /// The announced ones; the last is on its way. Never empty.
    messages: Vec<AppendMessage>,
    /// Octets of all of them.
    octets: u64,
}

impl Filing {
    fn announced(&self, literal: LiteralMode) -> Option<Announced> {
        let message = self.messages.last()?;
        Some(Announced {
            tag: self.tag.clone(),
            start: message.start(&self.mailbox),
            index: self.messages.len() - 1,
            replaced: self.replaced,
            form: message.form,
            octets: message.octets,
            literal,
        })
    }

    fn form(&self) -> MessageForm {
        self.messages.last().map_or_else(MessageForm::default, |message| message.form)
    }

    fn into_command(self) -> Option<Command> {
        let Self { tag, replaced, mailbox, mut messages, .. } = self;
        let body = match replaced {
            None => Body::Append(Append { mailbox, messages }),
            Some(Replaced { by, number }) => {
                Body::Replace(Replace { by, replaced: number, mailbox, message: messages.pop()? })
            }
        };
        Some(Command { tag, body })
    }
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
            literals: 0,
            fault: None,
            mode: Mode::default(),
            state: State::Line,
        }
    }

    /// From the next command on, mailbox names are written so.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
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

    /// True in the middle of a message, which may take longer than a line.
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
            State::Deciding { filing, .. } => {
                let octets = filing.messages.last().map_or(0, |message| message.octets);
                let left = usize::try_from(octets).unwrap_or(usize::MAX);
                State::Message { filing, octets: Vec::new(), left }
            }
            other => other,
        };
    }

    /// Does not take the message, and so none of the command's; the caller has answered the
    /// command. Says whether the connection can go on: it cannot when more than `skip_max` octets
    /// are on their way.
    pub fn refuse_message(&mut self, skip_max: u64) -> Next {
        let State::Deciding { filing, literal } = &self.state else { return Next::GoOn };
        let literal = *literal;
        let octets = filing.messages.last().map_or(0, |message| message.octets);
        self.reset();
        // RFC 3501 §7.5: a client that waits for the continuation request sends nothing more.
        if literal == LiteralMode::Synchronising {
            return Next::GoOn;
        }
        // RFC 7888 §4: the octets come anyway; swallow them, or close.
        if octets > skip_max.min(self.budget.refused_octets) {
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
            State::Literal { octets, left, is_literal8 } => {
                let taken = take_some(octets, left, input);
                if *left == 0 {
                    let (octets, is_literal8) = (mem::take(octets), *is_literal8);
                    self.end_literal(octets, is_literal8);
                }
                (taken, None)
            }
            State::Message { octets, left, .. } => {
                let taken = take_some(octets, left, input);
                let step = (*left == 0).then(|| self.end_message()).flatten();
                (taken, step)
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

    fn end_literal(&mut self, octets: Vec<u8>, is_literal8: bool) {
        self.state = State::Line;
        if is_literal8 {
            self.pieces.push(Piece::Literal8(octets));
            return;
        }
        // RFC 3501 §9: a CHAR8 is not NUL.
        if octets.contains(&0) {
            self.fault.get_or_insert(Bad::form("a literal holds NUL"));
        }
        self.pieces.push(Piece::Literal(octets));
    }

    fn end_message(&mut self) -> Option<Step> {
        match mem::replace(&mut self.state, State::Line) {
            State::Message { filing, octets, .. } => {
                self.state = State::Behind { filing };
                Some(Step::Received(Secret::new(octets)))
            }
            other => {
                self.state = other;
                None
            }
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
            self.fault.get_or_insert(Bad::form("a line ends with LF alone, not with CRLF"));
        }
        if line.iter().any(|octet| matches!(octet, b'\r' | 0)) {
            self.fault.get_or_insert(Bad::form("a line holds a bare CR or NUL"));
        }
        match mem::replace(&mut self.state, State::Line) {
            State::LoneLine => Some(self.end_lone_line(line)),
            State::Behind { filing } => self.end_line_behind(filing, line),
            _ => match Literal::announced(&line) {
                Some(literal) => {
                    line.truncate(literal.text);
                    self.begin_literal(line, literal)
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

    /// Behind a message: the command's end, or another message.
    fn end_line_behind(&mut self, mut filing: Box<Filing>, mut line: Vec<u8>) -> Option<Step> {
        let literal = Literal::announced(&line);
        if let Some(literal) = literal {
            line.truncate(literal.text);
        }
        if self.fault.is_none() && filing.form() == MessageForm::Utf8 {
            if line.first() == Some(&b')') {
                line.remove(0);
            } else {
                self.fault = Some(Bad::form("the ) of UTF8 (…) was expected behind its message"));
            }
        }
        if self.fault.is_none() {
            let next = match literal {
                None if line.iter().all(|&octet| octet == b' ') => {
                    self.reset();
                    return filing.into_command().map(Step::Command);
                }
                Some(literal) if filing.replaced.is_none() => self.next_message(line, literal),
                Some(_) => Err(Bad::form("REPLACE takes one message and nothing behind it")),
                None => Err(Bad::form("the end of the command or another message was expected")),
            };
            match next.and_then(|message| self.has_room(&filing, message)) {
                Ok(message) => {
                    filing.octets = filing.octets.saturating_add(message.octets);
                    filing.messages.push(message);
                    let mode = literal.map_or(LiteralMode::Synchronising, |literal| literal.mode);
                    return self.ask(filing, mode);
                }
                Err(bad) => self.fault = Some(bad),
            }
        }
        match literal {
            Some(literal) => self.skip_literal(literal),
            None => self.end_command(Vec::new()),
        }
    }

    fn next_message(&mut self, text: Vec<u8>, literal: Literal) -> Result<AppendMessage, Bad> {
        self.octets += text.len();
        self.line_octets += text.len();
        let pieces = [Piece::Text(text)];
        filing::message_opening(&mut Cursor::in_mode(&pieces, self.mode))?
            .with_literal(literal.is_literal8, literal.octets)
    }

    fn has_room(&self, filing: &Filing, message: AppendMessage) -> Result<AppendMessage, Bad> {
        at_most(
            filing.messages.len() + 1,
            limits::IMAP_APPEND_MESSAGES_MAX,
            "an APPEND brings too many messages",
        )?;
        if filing.octets.saturating_add(message.octets) > limits::IMAP_APPEND_OCTETS_MAX {
            return Err(Bad("the messages of an APPEND are too large together", Fault::TooBig));
        }
        Ok(message)
    }

    fn ask(&mut self, filing: Box<Filing>, literal: LiteralMode) -> Option<Step> {
        let announced = filing.announced(literal)?;
        self.state = State::Deciding { filing, literal };
        Some(Step::Message(announced))
    }

    fn end_command(&mut self, mut line: Vec<u8>) -> Option<Step> {
        if self.fault == Some(ANSWERED) {
            self.reset();
            return None;
        }
        if let Some(fault) = self.fault {
            return Some(self.bad(fault, Next::GoOn));
        }
        // Several phones and scripts leave spaces at the end of a line. No token ends with one.
        let spaces = line.iter().rev().take_while(|octet| **octet == b' ').count();
        line.truncate(line.len() - spaces);
        self.pieces.push(Piece::Text(line));
        match parse::command(&self.pieces, self.mode) {
            Ok(command) => {
                self.reset();
                Some(Step::Command(command))
            }
            Err(reason) => Some(self.bad(reason, Next::GoOn)),
        }
    }

    fn begin_literal(&mut self, text: Vec<u8>, literal: Literal) -> Option<Step> {
        if self.fault.is_none() {
            self.octets += text.len();
            self.line_octets += text.len();
            self.pieces.push(Piece::Text(text));
            match self.open(literal) {
                Ok(Some(filing)) => return self.ask(filing, literal.mode),
                Ok(None) => {
                    return (literal.mode == LiteralMode::Synchronising).then_some(Step::Continue);
                }
                Err(bad) => self.fault = Some(bad),
            }
        }
        self.skip_literal(literal)
    }

    /// Makes room for a literal, or finds that it is the first message of a command.
    fn open(&mut self, literal: Literal) -> Result<Option<Box<Filing>>, Bad> {
        if let Some(opening) = filing::opening(&self.pieces, self.mode) {
            let Opening { tag, replaced, mailbox, first } = opening?;
            let message = first.with_literal(literal.is_literal8, literal.octets)?;
            let (octets, messages) = (message.octets, vec![message]);
            return Ok(Some(Box::new(Filing { tag, replaced, mailbox, messages, octets })));
        }
        if self.literals == 0 {
            parse::check_name(&self.pieces)?;
        }
        self.literals += 1;
        at_most(self.literals, self.budget.literals, "a command has too many literals")?;
        let room = self.budget.command_octets.saturating_sub(self.octets);
        match usize::try_from(literal.octets) {
            Ok(octets) if octets <= self.budget.literal_octets.min(room) => {
                self.octets += octets;
                self.start_literal(octets, literal.is_literal8);
                Ok(None)
            }
            _ => Err(LITERAL_TOO_LARGE),
        }
    }

    fn start_literal(&mut self, left: usize, is_literal8: bool) {
        if left == 0 {
            self.end_literal(Vec::new(), is_literal8);
        } else {
            self.state = State::Literal { octets: Vec::new(), left, is_literal8 };
        }
    }

    /// A literal of a command that is refused already.
    fn skip_literal(&mut self, literal: Literal) -> Option<Step> {
        let fault = self.fault.unwrap_or(LITERAL_TOO_LARGE);
        let was_answered = fault == ANSWERED;
        if literal.mode == LiteralMode::Synchronising {
            // The client waits, so a tagged BAD ends the command right here.
            if was_answered {
                self.reset();
                return None;
            }
            return Some(self.bad(fault, Next::GoOn));
        }
        self.skipped = self.skipped.saturating_add(literal.octets);
        if self.skipped > limits::IMAP_SKIPPED_OCTETS_MAX || fault == LITERAL_TOO_LARGE {
            return Some(self.bad(fault, Next::Close));
        }
        self.skip(literal.octets);
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
        self.head.wipe();
        self.pieces = Vec::new();
        self.text = Vec::new();
        self.octets = 0;
        self.line_octets = 0;
        self.skipped = 0;
        self.literals = 0;
        self.fault = None;
        self.state = State::Line;
    }
}

/// Marks the rest of a command that has its answer already.
const ANSWERED: Bad = Bad::form("answered");
const TOO_LONG: Bad = Bad::form("a line is too long");
const LITERAL_TOO_LARGE: Bad = Bad::form("a literal is too large");
/// Enough for a tag.
const HEAD_OCTETS: usize = 128;
/// Enough for `{18446744073709551615+}` and CRLF.
const TAIL_OCTETS: usize = 32;

/// What the end of a line announces.
#[derive(Clone, Copy)]
struct Literal {
    /// How many octets come. A size beyond 64 bits is as good as the largest.
    octets: u64,
    mode: LiteralMode,
    /// `~{n}`
    is_literal8: bool,
    /// Length of the text before it.
    text: usize,
}

impl Literal {
    fn announced(line: &[u8]) -> Option<Self> {
        let inside = line.strip_suffix(b"}")?;
        let (inside, mode) = match inside.strip_suffix(b"+") {
            Some(inside) => (inside, LiteralMode::NonSynchronising),
            None => (inside, LiteralMode::Synchronising),
        };
        let digits = inside.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
        let (before, digits) = inside.split_at(inside.len() - digits);
        let text = before.strip_suffix(b"{")?;
        if digits.is_empty() {
            return None;
        }
        let octets = digits.iter().fold(0_u64, |octets, digit| {
            octets.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        let is_literal8 = text.ends_with(b" ~") || text.ends_with(b"(~");
        let text = text.len() - usize::from(is_literal8);
        Some(Self { octets, mode, is_literal8, text })
    }
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
        buffer.wipe();
        *buffer = larger;
    }
    buffer.extend_from_slice(octets);
}

#[cfg(test)]
mod tests;
