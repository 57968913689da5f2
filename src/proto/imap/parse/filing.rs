//! APPEND and REPLACE up to their messages (RFC 3501 §6.3.11, RFC 3502 §3, RFC 8508 §3.1).
use crate::proto::imap::command::AppendMessage;
use crate::proto::imap::command::AppendStart;
use crate::proto::imap::command::MessageForm;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::command::Tag;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::Piece;
use crate::proto::imap::date;
use crate::proto::imap::flags;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::name::Mode;
use crate::proto::imap::parse::mailbox;
use crate::proto::imap::parse::tag;
use crate::proto::imap::sequence::Number;

/// The message that REPLACE takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// What the number counts.
    pub by: Numbering,
    /// Its number.
    pub number: Number,
}

/// The beginning of a command that brings messages, up to its first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its tag.
    pub tag: Tag,
    /// What it replaces: REPLACE. `None`: APPEND.
    pub replaced: Option<Replaced>,
    /// Where the messages go.
    pub mailbox: MailboxName,
    /// What it says of the first message.
    pub first: MessageOpening,
}

/// What stands before a message's literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageOpening {
    /// What becomes of it.
    pub start: MessageStart,
    /// True behind `UTF8 (`.
    pub is_utf8: bool,
}

/// Marks and date of a message.
pub type MessageStart = (crate::domain::folder::Flags, Option<crate::domain::time::ZonedTime>);

impl AppendMessage {
    /// The same with its mailbox.
    pub fn start(&self, mailbox: &MailboxName) -> AppendStart {
        AppendStart { mailbox: mailbox.clone(), flags: self.flags.clone(), date: self.date }
    }
}

/// Parses the beginning of an APPEND or REPLACE up to its first literal; `None` when it is
/// neither, or when this literal is its mailbox name.
pub fn opening(pieces: &[Piece], mode: Mode) -> Option<Result<Opening, Bad>> {
    let mut cursor = Cursor::in_mode(pieces, mode);
    let tag = tag(&mut cursor).ok()?;
    if !cursor.eat(b' ') {
        return None;
    }
    let mut replaced = None;
    if cursor.eat_word("REPLACE ") {
        replaced = Some(Numbering::Sequence);
    } else if cursor.eat_word("UID REPLACE ") {
        replaced = Some(Numbering::Uid);
    } else if !cursor.eat_word("APPEND ") {
        return None;
    }
    let replaced = match replaced {
        None => None,
        Some(by) => match Number::parse(&mut cursor).and_then(|number| {
            cursor.space()?;
            Ok(Replaced { by, number })
        }) {
            Ok(replaced) => Some(replaced),
            Err(bad) => return Some(Err(bad)),
        },
    };
    // The literal may be the mailbox name: nothing is wrong, but it is no message.
    if cursor.is_at_end() {
        return None;
    }
    Some(mailbox(&mut cursor).and_then(|mailbox| {
        let first = message_opening(&mut cursor)?;
        Ok(Opening { tag, replaced, mailbox, first })
    }))
}

/// Parses `[SP flag-list] [SP date-time] SP`, and perhaps `UTF8 (`, before a literal.
pub fn message_opening(cursor: &mut Cursor<'_>) -> Result<MessageOpening, Bad> {
    let otherwise = "flags, a date-time or a message literal was expected";
    let expected = |_| Bad::form(otherwise);
    cursor.space().map_err(expected)?;
    let mut start = MessageStart::default();
    if cursor.peek() == Some(b'(') {
        start.0 = flags::flag_list(cursor)?;
        cursor.space().map_err(expected)?;
    }
    if cursor.peek() == Some(b'"') {
        start.1 = Some(date::date_time(cursor)?);
        cursor.space().map_err(expected)?;
    }
    let is_utf8 = cursor.eat_word("UTF8 (");
    cursor.end().map_err(expected)?;
    Ok(MessageOpening { start, is_utf8 })
}

impl MessageOpening {
    /// The message with its literal. RFC 6855 §4: UTF8 goes with a `literal8`.
    pub fn with_literal(self, is_literal8: bool, octets: u64) -> Result<AppendMessage, Bad> {
        let form = match (self.is_utf8, is_literal8) {
            (false, false) => MessageForm::Literal,
            (false, true) => MessageForm::Binary,
            (true, true) => MessageForm::Utf8,
            (true, false) => return Err(Bad::form("UTF8 takes a literal8: ~{octets}")),
        };
        let (flags, date) = self.start;
        Ok(AppendMessage { flags, date, form, octets })
    }
}
