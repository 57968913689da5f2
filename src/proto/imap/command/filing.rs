//! APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 8508).
use crate::domain::folder::Flags;
use crate::domain::time::ZonedTime;
use crate::proto::imap::command::Numbering;
use crate::proto::imap::name::MailboxName;
use crate::proto::imap::sequence::Number;

/// APPEND without its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendStart {
    /// Where to.
    pub mailbox: MailboxName,
    /// Its marks.
    pub flags: Flags,
    /// Its internal date.
    pub date: Option<ZonedTime>,
}

/// APPEND, at its end: its messages were handed over as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub mailbox: MailboxName,
    /// At least one, in the order in which they came (RFC 3502 §3).
    pub messages: Vec<AppendMessage>,
}

/// REPLACE, at its end: its message was handed over when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// What `replaced` counts.
    pub by: Numbering,
    /// The message that goes away.
    pub replaced: Number,
    /// Where the new one comes.
    pub mailbox: MailboxName,
    /// The new one.
    pub message: AppendMessage,
}

/// What an APPEND or REPLACE says of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// Its marks.
    pub flags: Flags,
    /// Its internal date.
    pub date: Option<ZonedTime>,
    /// How it is sent.
    pub form: MessageForm,
    /// How long it is.
    pub octets: u64,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageForm {
    /// As a literal: without NUL.
    #[default]
    Literal,
    /// As a `literal8`: octets of any kind (RFC 3516 §4.4).
    Binary,
    /// As `UTF8 (literal8)`: its header may hold UTF-8 (RFC 6855 §4).
    Utf8,
}
