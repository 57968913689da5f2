//! Why something was not done to a mailbox: as a value, so that pages say it in their language.
//! `Display` is the sentence of commands and logs.
use std::fmt;

use crate::domain::life::NoStep;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::holders::NotHeld;

/// Why nothing was done.
#[derive(Debug)]
pub enum Undone {
    /// The step does not follow.
    Step(NoStep),
    /// No such mailbox.
    NoSuchMailbox,
    /// Somebody else changed it at the same time, again and again.
    Restless,
    /// Too much waits for a second administrator.
    TooManyPetitions,
    /// It is their own petition.
    OwnPetition,
    /// No such petition.
    NoSuchPetition,
    /// The petition is `done`, `refused` or `over`.
    Answered(&'static str),
    /// Somebody else answered at the same time.
    AnsweredMeanwhile,
    /// A rule holds letters here.
    Retained,
    /// The letter's content is gone.
    LetterGone,
    /// A holder stays, or does not become one.
    Holder(NotHeld),
    /// A mailbox is not delegated to itself.
    ToItself,
    /// Without a right there is nothing to delegate.
    NoRights,
    /// The end of a delegation lies in the past.
    EndInPast,
    /// Nobody else reads a patient's inbox.
    PatientsInbox,
    /// Something below failed: a sentence for the log, in English.
    Failed(String),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Step(step) => return step.fmt(f),
            Self::Holder(not) => return not.fmt(f),
            Self::Answered(state) => return write!(f, "the petition is {state} already"),
            Self::Failed(text) => text,
            Self::NoSuchMailbox => "no such mailbox",
            Self::Restless => "the mailbox changes too fast right now; try again",
            Self::TooManyPetitions => "too many petitions wait; answer some of them first",
            Self::OwnPetition => {
                "whoever asks for something does not approve it: that takes somebody else"
            }
            Self::NoSuchPetition => "no such petition: see `vaguemestre approval list`",
            Self::AnsweredMeanwhile => "somebody else answered at the same time",
            Self::Retained => {
                "mailboxes.retention_seconds holds letters here: say --over-retention, \
                 which needs a second administrator"
            }
            Self::LetterGone => "its content is gone already",
            Self::ToItself => "a mailbox is not delegated to itself",
            Self::NoRights => "at least one right is granted: --rights lrs",
            Self::EndInPast => "the end lies in the past",
            Self::PatientsInbox => "a patient's inbox is not read by others",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Undone {}

impl From<NoStep> for Undone {
    fn from(step: NoStep) -> Self {
        Self::Step(step)
    }
}

impl From<NotHeld> for Undone {
    fn from(not: NotHeld) -> Self {
        match not {
            NotHeld::Directory(error) => error.into(),
            not => Self::Holder(not),
        }
    }
}

impl From<DirectoryError> for Undone {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Unknown => Self::NoSuchMailbox,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<String> for Undone {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for Undone {
    fn from(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }
}

impl From<Undone> for String {
    fn from(undone: Undone) -> Self {
        undone.to_string()
    }
}
