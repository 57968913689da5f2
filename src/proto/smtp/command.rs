//! One command line, parsed into values (RFC 5321 §4.1.1) and printed back.
//!
//! The parser is strict where two readers could disagree and lenient only where a comment names
//! the software that needs it.
use std::fmt;

use crate::domain::address::Address;
use crate::domain::address::BadAddress;
use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::RcptParameters;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

mod parameters;
mod path;

/// A command, parsed. Verbs that carry nothing we use carry nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO and the client's name.
    Ehlo(ClientName),
    /// HELO, for old clients.
    Helo(ClientName),
    /// MAIL FROM.
    Mail(ReversePath, MailParameters),
    /// RCPT TO.
    Rcpt(ForwardPath, RcptParameters),
    /// DATA.
    Data,
    /// BDAT: a chunk of so many octets follows (RFC 3030 §2).
    Bdat {
        /// Octets that follow the line.
        octets: u64,
        /// The content ends with this chunk.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP, with or without a text.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY; whom, does not matter: nobody is verified.
    Vrfy,
    /// HELP, with or without a subject.
    Help,
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// AUTH (RFC 4954 §4).
    Auth(Mechanism, Option<InitialResponse>),
}

/// What a client calls itself: a name or an address in brackets, of harmless characters.
/// It is used in the Received field only; no decision rests on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

/// Whom RCPT names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: ours (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Mailbox(Address),
}

/// The initial response of AUTH, still base64. It holds a password.
#[derive(Debug)]
pub struct InitialResponse(Secret<String>);

/// Why a line is not a command that we obey. [`Reply::from`] has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// No verb of ours.
    Unknown,
    /// A verb that we know and do not offer (EXPN, TURN…).
    NotOffered,
    /// Not UTF-8.
    NotText,
    /// An argument where none belongs.
    NoArguments,
    /// EHLO or HELO without a usable name.
    Hello,
    /// MAIL without `FROM:<…>`.
    Mail,
    /// RCPT without `TO:<…>`.
    Rcpt,
    /// MAIL whose path is not an address.
    Sender(BadAddress),
    /// RCPT whose path is not an address.
    Recipient(BadAddress),
    /// BDAT without a size. The octets that follow it cannot be told from commands.
    Bdat,
    /// VRFY without an argument.
    Vrfy,
    /// AUTH without a mechanism, or with more than two arguments.
    Auth,
    /// AUTH with a mechanism that we do not speak.
    Mechanism,
    /// A parameter that EHLO does not list (RFC 5321 §4.1.1.11).
    ParameterUnknown,
    /// The same parameter again.
    ParameterTwice,
    /// A value that is not of the parameter's form.
    ParameterValue,
    /// `BODY=BINARYMIME`, which EHLO does not list (RFC 3030 §3).
    BinaryMime,
}

impl Command {
    /// Parses a line without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, BadCommand> {
        let (verb, argument) = split_verb(line);
        let word = Verb::parse(verb).ok_or(BadCommand::Unknown)?;
        let argument = std::str::from_utf8(argument).map_err(|_| match word {
            Verb::Bdat => BadCommand::Bdat,
            _ => BadCommand::NotText,
        })?;
        // Trailing spaces are sent by old devices and mean nothing.
        let argument = argument.trim_matches([' ', '\t']);
        let alone =
            |command| if argument.is_empty() { Ok(command) } else { Err(BadCommand::NoArguments) };
        match word {
            Verb::Ehlo => ClientName::parse(argument).map(Self::Ehlo),
            Verb::Helo => ClientName::parse(argument).map(Self::Helo),
            Verb::Mail => parse_mail(argument),
            Verb::Rcpt => parse_rcpt(argument),
            Verb::Bdat => parse_bdat(argument),
            Verb::Auth => parse_auth(argument),
            Verb::Data => alone(Self::Data),
            Verb::Rset => alone(Self::Rset),
            Verb::Quit => alone(Self::Quit),
            Verb::StartTls => alone(Self::StartTls),
            Verb::Noop => Ok(Self::Noop),
            Verb::Help => Ok(Self::Help),
            Verb::Vrfy if argument.is_empty() => Err(BadCommand::Vrfy),
            Verb::Vrfy => Ok(Self::Vrfy),
            Verb::NotOffered => Err(BadCommand::NotOffered),
        }
    }
}

/// The verbs, as a line begins with them.
#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth,
    NotOffered,
}

impl Verb {
    /// In any case (RFC 5321 §2.4).
    fn parse(word: &[u8]) -> Option<Self> {
        const VERBS: [(&[u8], Verb); 18] = [
            (b"EHLO", Verb::Ehlo),
            (b"HELO", Verb::Helo),
            (b"MAIL", Verb::Mail),
            (b"RCPT", Verb::Rcpt),
            (b"DATA", Verb::Data),
            (b"BDAT", Verb::Bdat),
            (b"RSET", Verb::Rset),
            (b"NOOP", Verb::Noop),
            (b"QUIT", Verb::Quit),
            (b"VRFY", Verb::Vrfy),
            (b"HELP", Verb::Help),
            (b"STARTTLS", Verb::StartTls),
            (b"AUTH", Verb::Auth),
            (b"EXPN", Verb::NotOffered),
            (b"SEND", Verb::NotOffered),
            (b"TURN", Verb::NotOffered),
            (b"ETRN", Verb::NotOffered),
            (b"BURL", Verb::NotOffered),
        ];
        let known = VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        known.map(|(_, verb)| *verb)
    }
}

/// The line up to the first blank, and what follows it.
fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    line.split_at(end)
}

/// `FROM:` or `TO:` in any case, and what follows.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    // RFC 5321 §3.3 forbids a space before the path; Outlook, printers and scanners send one.
    word.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

fn parse_mail(argument: &str) -> Result<Command, BadCommand> {
    let rest = after_keyword(argument, "FROM:").ok_or(BadCommand::Mail)?;
    let (path, rest) = path::split(rest).ok_or(BadCommand::Mail)?;
    let reverse_path = if path.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Address(path::parse(path).map_err(BadCommand::Sender)?)
    };
    Ok(Command::Mail(reverse_path, parameters::parse_mail(rest)?))
}

fn parse_rcpt(argument: &str) -> Result<Command, BadCommand> {
    let rest = after_keyword(argument, "TO:").ok_or(BadCommand::Rcpt)?;
    let (path, rest) = path::split(rest).ok_or(BadCommand::Rcpt)?;
    let forward_path = if path.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Mailbox(path::parse(path).map_err(BadCommand::Recipient)?)
    };
    Ok(Command::Rcpt(forward_path, parameters::parse_rcpt(rest)?))
}

fn parse_bdat(argument: &str) -> Result<Command, BadCommand> {
    let (size, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, word)) if word.trim_start().eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(BadCommand::Bdat),
    };
    let octets = parameters::parse_size(size).ok_or(BadCommand::Bdat)?;
    Ok(Command::Bdat { octets, last })
}

fn parse_auth(argument: &str) -> Result<Command, BadCommand> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(BadCommand::Auth)?;
    let initial_response = words.next();
    if words.next().is_some() {
        return Err(BadCommand::Auth);
    }
    let mechanism = Mechanism::parse(mechanism).ok_or(BadCommand::Mechanism)?;
    Ok(Command::Auth(mechanism, initial_response.map(InitialResponse::new)))
}

impl ClientName {
    /// RFC 5321 §4.1.3 and §4.1.4. Underscores are let through: Windows hosts have them.
    fn parse(text: &str) -> Result<Self, BadCommand> {
        let harmless = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if text.is_empty() || text.len() > 255 || !text.chars().all(harmless) {
            return Err(BadCommand::Hello);
        }
        Ok(Self(text.to_owned()))
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InitialResponse {
    fn new(base64: &str) -> Self {
        Self(Secret::new(base64.to_owned()))
    }

    /// Base64, or `=` for an empty response (RFC 4954 §4).
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Clone for InitialResponse {
    fn clone(&self) -> Self {
        Self::new(self.expose())
    }
}

impl PartialEq for InitialResponse {
    /// In a time that tells nothing of where two responses differ.
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.expose().as_bytes(), other.expose().as_bytes());
        let differing = ours.iter().zip(theirs).fold(0, |bits, (a, b)| bits | (a ^ b));
        ours.len() == theirs.len() && differing == 0
    }
}

impl Eq for InitialResponse {}

impl BadCommand {
    /// What the client is told.
    pub fn reply(self) -> Reply {
        match self {
            Self::Unknown => reply::UNKNOWN_COMMAND,
            Self::NotOffered => reply::NOT_OFFERED,
            Self::NotText => reply::NOT_TEXT,
            Self::NoArguments => reply::NO_ARGUMENTS,
            Self::Hello => reply::SYNTAX_HELLO,
            Self::Mail => reply::SYNTAX_MAIL,
            Self::Rcpt => reply::SYNTAX_RCPT,
            Self::Sender(why) => Reply::bad_sender(why),
            Self::Recipient(why) => Reply::bad_recipient(why),
            Self::Bdat => reply::SYNTAX_BDAT,
            Self::Vrfy => reply::SYNTAX_VRFY,
            Self::Auth => reply::SYNTAX_AUTH,
            Self::Mechanism => reply::MECHANISM_UNKNOWN,
            Self::ParameterUnknown => reply::PARAMETER_UNKNOWN,
            Self::ParameterTwice => reply::PARAMETER_TWICE,
            Self::ParameterValue => reply::PARAMETER_VALUE,
            Self::BinaryMime => reply::BINARYMIME,
        }
    }
}

/// The wire form without CRLF; [`Command::parse`] reads it back to an equal value.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => write!(f, "EHLO {}", name.0),
            Self::Helo(name) => write!(f, "HELO {}", name.0),
            Self::Mail(ReversePath::Null, parameters) => {
                f.write_str("MAIL FROM:<>")?;
                parameters::print_mail(f, parameters)
            }
            Self::Mail(ReversePath::Address(address), parameters) => {
                write!(f, "MAIL FROM:<{address}>")?;
                parameters::print_mail(f, parameters)
            }
            Self::Rcpt(ForwardPath::Postmaster, parameters) => {
                f.write_str("RCPT TO:<Postmaster>")?;
                parameters::print_rcpt(f, parameters)
            }
            Self::Rcpt(ForwardPath::Mailbox(address), parameters) => {
                write!(f, "RCPT TO:<{address}>")?;
                parameters::print_rcpt(f, parameters)
            }
            Self::Data => f.write_str("DATA"),
            Self::Bdat { octets, last: false } => write!(f, "BDAT {octets}"),
            Self::Bdat { octets, last: true } => write!(f, "BDAT {octets} LAST"),
            Self::Rset => f.write_str("RSET"),
            Self::Noop => f.write_str("NOOP"),
            Self::Quit => f.write_str("QUIT"),
            Self::Vrfy => f.write_str("VRFY postmaster"),
            Self::Help => f.write_str("HELP"),
            Self::StartTls => f.write_str("STARTTLS"),
            Self::Auth(mechanism, initial_response) => {
                write!(f, "AUTH {}", mechanism.name())?;
                match initial_response {
                    Some(response) => write!(f, " {}", response.expose()),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
