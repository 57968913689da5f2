//! What administrators type and see: arguments, tables, JSON, exit codes.
//!
//! This is the only place that writes to standard output, through [`output`].
mod approval; // what waits for a second administrator
mod audit; // the ledger of key uses
mod arguments; // what can be typed, and its help
mod certs; // certificates and their ends
mod commands; // doing it
mod dns; // records that lead mail and programs here
mod directory; // the copy of the national directory
mod explain; // why somebody was let in or refused
mod keys; // keys: the master key
mod life; // mailboxes from the request to the end
mod holders; // who holds a mailbox, and its app passwords
pub mod output; // tables for people, JSON for programs
mod password; // asking for one without showing it
mod publish; // our mailboxes in the national directory
mod queue; // letters that wait
mod session; // who is logged in now
mod team; // who may read whose mailbox
mod trace; // one letter, step by step
mod trust; // the list of operators

pub use arguments::Arguments;
pub use commands::run;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: not done; standard error says why.
    Failed,
    /// 78 (`EX_CONFIG` of sysexits.h): the configuration is wrong. 2 is clap's, for wrong usage.
    BadConfiguration,
}

impl From<Outcome> for std::process::ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::BadConfiguration => Self::from(78),
        }
    }
}
