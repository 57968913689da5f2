//! The tagged line that ends a command, and what failures become in it (RFC 5530 §3).
use crate::domain::status::Refusal;
use crate::flow::mailbox;
use crate::flow::mailbox::MailboxError;
use crate::proto::imap::command::Tag;
use crate::proto::imap::write;
use crate::server::imap::line::Gone;

/// A tagged response without its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: &'static str,
    code: Option<String>,
    text: &'static str,
    removes: bool,
}

/// What a command comes to.
pub(super) type Done = Result<Answer, Halt>;

/// Why a command stopped on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The connection is over.
    Gone(Gone),
    /// The command is answered so.
    Refused(Answer),
}

impl Answer {
    /// `OK`
    pub(super) fn ok(text: &'static str) -> Self {
        Self { status: "OK", code: None, text, removes: false }
    }

    /// `NO` with a response code.
    pub(super) fn no(code: &'static str, text: &'static str) -> Self {
        Self { status: "NO", code: Some(code.to_owned()), text, removes: false }
    }

    /// `BAD`
    pub(super) fn bad(text: &'static str) -> Self {
        Self { status: "BAD", code: None, text, removes: false }
    }

    /// What somebody is told who may see a mailbox, but not do that in it (RFC 5530 §3).
    pub(super) fn not_permitted() -> Self {
        Self::no("NOPERM", "You have no right to do that there")
    }

    /// Of a command that removed messages: the mailbox's new HIGHESTMODSEQ belongs behind the news
    /// (RFC 7162 §3.2.7).
    #[must_use]
    pub(super) fn after_removal(mut self) -> Self {
        self.removes = true;
        self
    }

    /// True when HIGHESTMODSEQ shall be its code.
    pub(super) fn wants_modseq(&self) -> bool {
        self.removes && self.code.is_none()
    }

    /// With this response code.
    #[must_use]
    pub(super) fn code(mut self, code: String) -> Self {
        self.code = Some(code);
        self
    }

    /// True for `BAD`.
    pub(super) fn is_bad(&self) -> bool {
        self.status == "BAD"
    }

    /// Writes the line.
    pub(super) fn write(&self, out: &mut Vec<u8>, tag: Option<&Tag>) {
        let tag = tag.map_or("*", Tag::as_str);
        let (status, text) = (self.status, self.text);
        match &self.code {
            Some(code) => write::text(out, format_args!("{tag} {status} [{code}] {text}\r\n")),
            None => write::text(out, format_args!("{tag} {status} {text}\r\n")),
        }
    }
}

impl From<Gone> for Halt {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl From<Answer> for Halt {
    fn from(answer: Answer) -> Self {
        Self::Refused(answer)
    }
}

impl From<MailboxError> for Halt {
    fn from(error: MailboxError) -> Self {
        Self::Refused(match error {
            MailboxError::NoSuchFolder => Answer::no("NONEXISTENT", "No such mailbox"),
            MailboxError::FolderExists => {
                Answer::no("ALREADYEXISTS", "A mailbox of that name exists")
            }
            MailboxError::FolderFixed => Answer::no("CANNOT", "This mailbox cannot be changed so"),
            // RFC 5530 §3: somebody sits on the branch that would be sawn off.
            MailboxError::Claimed => Answer::no("INUSE", "Somebody else has claimed a message"),
            MailboxError::NotAllowed => Answer::no("NOPERM", "You have not the right to do that"),
            MailboxError::OverLimit(mailbox::COPIED_AT_ONCE) => {
                Answer::no("LIMIT", "Too many messages to copy at once; copy fewer at a time")
            }
            MailboxError::OverLimit(_) => {
                Answer::no("LIMIT", "Too many mailboxes or keywords, or a name is too long")
            }
            MailboxError::NoSuchMessage => {
                Answer::no("EXPUNGEISSUED", "A message is not there any more")
            }
            MailboxError::Unreadable(_) => {
                Answer::no("UNAVAILABLE", "A message cannot be opened; the others can")
            }
            MailboxError::OverQuota => refused(Refusal::MailboxFull),
            MailboxError::Temporary(refusal) => refused(refusal),
        })
    }
}

/// The one table of refusals at this door.
pub(super) fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::AuthFailed | Refusal::MailboxSuspended | Refusal::AuthRequired => {
            Answer::no("AUTHENTICATIONFAILED", "Wrong name or password")
        }
        Refusal::TooManyFromPeer => {
            Answer::no("LIMIT", "Too many failed logins from your address; try later")
        }
        Refusal::MessageTooLarge => Answer::no("TOOBIG", "The message is too large"),
        Refusal::MailboxFull => Answer::no("OVERQUOTA", "The mailbox is full"),
        Refusal::StoreFull => Answer::no("UNAVAILABLE", "No space left for now; try later"),
        // RFC 5530 §3: UNAVAILABLE is for a subsystem that is down.
        Refusal::DirectoryAway => {
            Answer::no("UNAVAILABLE", "The directory does not answer; try later")
        }
        _ => Answer::no("UNAVAILABLE", "Temporary failure; try later"),
    }
}
