//! Sieve (RFC 5228): scripts by which people sort their mail. Read, checked and run without I/O;
//! what a script wants done is a [`Verdict`], which the flow carries out.
//!
//! Everything about a script is known when it is compiled: an unknown command, test, tag or
//! extension is a [`Fault`] with its line, wherever it stands. Running is bounded: there are no
//! loops, nesting is limited, and each octet that a test looks at is counted.
//!
//! Extensions: see [`EXTENSIONS`]. Not here: reject (a health letter is not sent back by a
//! filter), include, regex, editheader and whatever else would reach outside.
mod answer; // who may be answered, and how an answer is written
mod check; // from syntax to a program
mod examine; // tests
mod flags; // imap4flags
mod letter; // what tests look at
mod lexer; // octets to words
mod matching; // comparators and match types
mod moment; // dates
mod program; // a checked script
mod run; // actions
mod syntax; // words to commands
mod variables; // ${…}

use crate::domain::address::Address;
use crate::domain::folder::Flags;
use crate::domain::time::Timestamp;
use crate::proto::sieve::program::Program;

pub use answer::Answer;
pub use answer::answer_subject;
pub use answer::from_of;
pub use answer::may_be_answered;
pub use answer::write as write_answer;
pub use letter::Letter;

/// What `require` may name, and ManageSieve announces.
pub const EXTENSIONS: &[&str] = &[
    "fileinto",
    "envelope",
    "encoded-character",
    "body",
    "copy",
    "date",
    "index",
    "imap4flags",
    "mailbox",
    "relational",
    "special-use",
    "vacation",
    "vacation-seconds",
    "variables",
    "comparator-i;octet",
    "comparator-i;ascii-casemap",
    "comparator-i;ascii-numeric",
];

/// A script that may be run.
#[derive(Clone, Debug)]
pub struct Script(Program);

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Fault {
    /// Where, from 1.
    pub line: u32,
    /// For people.
    pub why: String,
}

/// Why a script that runs was stopped. The letter is kept then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Over `limits::SIEVE_STEPS_MAX`.
    #[error("it did too much work on this letter")]
    TooLong,
    /// Over `limits::SIEVE_ACTIONS_MAX`, or more redirects than allowed.
    #[error("it wanted too many actions")]
    TooManyActions,
    /// RFC 5230 §4.7: one answer a letter.
    #[error("it wanted two automatic answers")]
    TwoAnswers,
    /// An address that a variable made is none.
    #[error("it redirects to what is no address")]
    BadAddress,
}

/// What a script may know besides the letter.
pub struct Circumstances<'a> {
    /// The reverse path; empty for the null path.
    pub from: &'a str,
    /// The recipient, i.e. the mailbox.
    pub to: &'a str,
    /// Now.
    pub now: Timestamp,
    /// The mailbox's folders, by name, with the attribute of their special use.
    pub folders: &'a [(String, Option<&'static str>)],
    /// How many addresses a letter may be redirected to.
    pub redirects_max: usize,
}

/// What shall become of a letter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Where it shall lie, each place once. Empty: it was discarded, or only redirected.
    pub filed: Vec<Filing>,
    /// To whom it shall be sent on, each once.
    pub redirects: Vec<Address>,
    /// The automatic answer that was asked for.
    pub vacation: Option<Vacation>,
}

/// One place for a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filing {
    /// Its name; `None`: INBOX, by keep.
    pub folder: Option<Folder>,
    /// Marks.
    pub flags: Flags,
}

/// A folder that fileinto names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// RFC 5490 §3.2: it shall be created when it is missing.
    pub create: bool,
    /// RFC 8579 §4: a folder of this use is preferred to the name.
    pub special_use: Option<String>,
}

/// RFC 5230 §4: an automatic answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacation {
    /// Seconds before the same sender is answered again; `None`: the default.
    pub seconds: Option<u64>,
    /// The subject, when the script has one.
    pub subject: Option<String>,
    /// From, when the script has one. To be checked: nobody writes in another's name.
    pub from: Option<String>,
    /// Other addresses of the same person.
    pub addresses: Vec<String>,
    /// The text is a MIME entity.
    pub mime: bool,
    /// Answers with the same handle count as the same (RFC 5230 §4.2).
    pub handle: String,
    /// The text.
    pub reason: String,
}

/// Reads and checks a script.
///
/// # Errors
/// The first [`Fault`].
pub fn compile(script: &[u8]) -> Result<Script, Fault> {
    let commands = syntax::read(script)?;
    check::program(&commands).map(Script)
}

impl Letter<'_> {
    /// The Message-IDs that an answer to it names, its own last; with their angle brackets.
    pub fn conversation(&self) -> Vec<String> {
        answer::references(self)
    }
}

impl Script {
    /// Runs it on a letter.
    ///
    /// # Errors
    /// [`Stopped`]: nothing of what it wanted is to be done, and the letter is to be kept.
    pub fn run(&self, letter: &Letter<'_>, around: &Circumstances<'_>) -> Result<Verdict, Stopped> {
        run::run(&self.0, letter, around)
    }

    /// The addresses that stand in it behind redirect.
    pub fn redirects(&self) -> Vec<&Address> {
        self.0.redirects()
    }

    /// True when it looks into bodies, which takes memory.
    pub fn reads_bodies(&self) -> bool {
        self.0.reads_bodies
    }
}

#[cfg(test)]
mod tests;
