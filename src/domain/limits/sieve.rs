//! Sieve and ManageSieve: filters, absences and the answers they write.
use crate::domain::limits::login::SASL_LINE_OCTETS_MAX;
use std::time::Duration;

/// Octets of one Sieve script: several hundred rules. Sealed, it still fits a row.
pub const SIEVE_SCRIPT_OCTETS_MAX: usize = 49_152;
/// Sieve scripts of one mailbox; one of them is active.
pub const SIEVE_SCRIPTS_MAX: usize = 16;
/// Octets of a script's name (RFC 5804 §1.6 asks for 128 characters).
pub const SIEVE_NAME_OCTETS_MAX: usize = 512;
/// Blocks, and tests, inside each other in a Sieve script (RFC 5228 §2.10.5 asks for 15).
pub const SIEVE_NESTING_MAX: usize = 32;
/// Entries in one string list of a Sieve script.
pub const SIEVE_LIST_MAX: usize = 1_000;
/// Actions that one letter may cause: fileinto, keep, redirect.
pub const SIEVE_ACTIONS_MAX: usize = 16;
/// Work that one script may do on one letter, in octets looked at. What it takes in time was not
/// measured in a release build.
pub const SIEVE_STEPS_MAX: u64 = 100_000_000;
/// Octets that the value of a Sieve variable keeps (RFC 5229 §3 asks for 4,000 characters).
pub const SIEVE_VARIABLE_OCTETS_MAX: usize = 16_384;
/// Variables of a Sieve script (RFC 5229 §3 asks for 128).
pub const SIEVE_VARIABLES_MAX: usize = 128;
/// Compiled scripts that are kept in memory.
pub const SIEVE_COMPILED_MAX: usize = 1_000;
/// Octets of an automatic answer's text.
pub const ANSWER_OCTETS_MAX: usize = 32_768;
/// Octets of the subject that a script gives to its answers.
pub const ANSWER_SUBJECT_OCTETS_MAX: usize = 1_000;
/// Message-IDs of a conversation that an automatic answer names.
pub const ANSWER_REFERENCES_MAX: usize = 10;
/// Rows about senders who were answered that are looked at, and removed when they are over, with
/// each answer.
pub const ANSWERED_SWEPT_AT_ONCE: usize = 50;
/// How often a change of a mailbox's scripts is built anew when others changed them under it.
pub const SIEVE_ATTEMPTS_MAX: usize = 20;
/// Octets of a ManageSieve command before login.
pub const MANAGESIEVE_STRANGER_OCTETS_MAX: usize = SASL_LINE_OCTETS_MAX;
/// Octets of a ManageSieve command after login: a script, its name, and the words around them.
pub const MANAGESIEVE_COMMAND_OCTETS_MAX: usize = SIEVE_SCRIPT_OCTETS_MAX + 4_096;
/// Octets of a script that is too large and is read to its end, so that the client hears why.
pub const MANAGESIEVE_SKIPPED_OCTETS_MAX: u64 = 4_194_304;
/// Words of a ManageSieve command; no command has more than four.
pub const MANAGESIEVE_WORDS_MAX: usize = 8;
/// Bad commands before a ManageSieve client is sent away.
pub const MANAGESIEVE_ERRORS_MAX: usize = 20;
/// Time in which a ManageSieve client must log in.
pub const MANAGESIEVE_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which a ManageSieve client must take an answer.
pub const MANAGESIEVE_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in which ManageSieve sessions may end after the relay was told to stop.
pub const MANAGESIEVE_STOP_GRACE: Duration = Duration::from_secs(5);
/// Octets of what an absence says besides: a few paragraphs, in each automatic answer.
pub const ABSENCE_TEXT_OCTETS_MAX: usize = 4_096;
