//! SASL (RFC 4422), one implementation for all doors: mechanisms as machines, octets in, octets
//! out. Base64 and lines are the doors' business; who somebody is, is the directories'.
//!
//! A machine consumes itself at each response and gives a [`Step`]: a challenge with the only way
//! on, a [`Question`] for a directory, or the end. No step can be forgotten or taken twice.
mod bearer; // OAUTHBEARER, XOAUTH2
mod names; // names as strangers write them
pub mod scram; // SCRAM-SHA-256

#[cfg(test)]
mod tests;

pub use names::prepared;

use crate::domain::limits;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::proto::sasl::scram::ClientFirst;

/// An exchange that waits for a response.
#[derive(Debug)]
pub enum Machine {
    /// RFC 4616.
    Plain,
    /// LOGIN, before the name.
    LoginName,
    /// LOGIN, before the password.
    LoginPassword {
        /// The name.
        name: String,
    },
    /// RFC 7628.
    OAuthBearer,
    /// Google's form of it.
    XOAuth2,
    /// RFC 4422, appendix A.
    External,
    /// RFC 5802 §7, before the client's first message.
    Scram(scram::Offer),
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send this; the answer goes to the machine.
    Challenge(Machine, &'static [u8]),
    /// A directory must be asked.
    Ask(Question),
    /// Not of the mechanism's form.
    Malformed(&'static str),
}

/// What was claimed.
#[derive(Debug)]
pub enum Question {
    /// Are these name and password right?
    Password {
        /// Who they want to be; empty: whoever they are.
        act_as: String,
        /// The login name.
        name: String,
        /// The password.
        password: Secret<String>,
    },
    /// Is this bearer token good for the mailbox of that name?
    Token {
        /// The mailbox; may be empty in OAUTHBEARER.
        name: String,
        /// The token; empty when the client only asks where to get one (RFC 7628 §4.3).
        token: Secret<String>,
    },
    /// What is kept for this name? [`ClientFirst::challenge`] goes on with it.
    Keys(ClientFirst),
    /// Whose is the certificate that was shown in the handshake?
    Certificate {
        /// Who they want to be; empty: whoever the certificate says.
        act_as: String,
    },
}

/// What TLS says for SCRAM, and what was offered on this connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Binding {
    /// 32 octets of `EXPORTER-Channel-Binding` (RFC 9266 §2); `None` without TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// The client was offered SCRAM-SHA-256-PLUS.
    pub is_offered: bool,
}

impl Machine {
    /// Begins an exchange.
    pub fn begin(mechanism: Mechanism, binding: Binding) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
            Mechanism::OAuthBearer => Self::OAuthBearer,
            Mechanism::XOAuth2 => Self::XOAuth2,
            Mechanism::External => Self::External,
            Mechanism::ScramSha256 => Self::Scram(scram::Offer::unbound(binding.is_offered)),
            Mechanism::ScramSha256Plus => Self::Scram(scram::Offer::bound(binding.exporter)),
        }
    }

    /// What is sent to a client that gave no initial response. Only LOGIN says something; the
    /// others wait for the client (RFC 4422 §5, item 2a).
    pub fn prompt(self) -> Step {
        let challenge: &[u8] = match self {
            Self::LoginName => b"Username:",
            Self::LoginPassword { .. } => b"Password:",
            _ => b"",
        };
        Step::Challenge(self, challenge)
    }

    /// Takes a response.
    pub fn respond(self, response: &[u8]) -> Step {
        if response.len() > limits::SASL_RESPONSE_OCTETS_MAX {
            return Step::Malformed("the response is too long");
        }
        // All mechanisms here speak UTF-8; nothing else is in a directory anyway.
        let Ok(text) = std::str::from_utf8(response) else {
            return Step::Malformed("the response is not UTF-8");
        };
        match self {
            Self::Plain => plain(text),
            Self::LoginName => match names::fits(text) {
                true => Self::LoginPassword { name: text.to_owned() }.prompt(),
                false => Step::Malformed("that is no login name"),
            },
            Self::LoginPassword { name } => claim(String::new(), name, text),
            Self::OAuthBearer => bearer::oauth(text),
            Self::XOAuth2 => bearer::xoauth2(text),
            Self::External => match text.len() <= limits::SASL_NAME_OCTETS_MAX {
                true if !text.contains('\0') => {
                    Step::Ask(Question::Certificate { act_as: text.to_owned() })
                }
                _ => Step::Malformed("that is no authorisation identity"),
            },
            Self::Scram(offer) => match offer.first(text) {
                Ok(first) => Step::Ask(Question::Keys(first)),
                Err(why) => Step::Malformed(why),
            },
        }
    }
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`.
fn plain(message: &str) -> Step {
    let mut parts = message.split('\0');
    let (Some(act_as), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Step::Malformed("PLAIN has three fields");
    };
    if !names::fits(name) || act_as.len() > limits::SASL_NAME_OCTETS_MAX {
        return Step::Malformed("that is no login name");
    }
    claim(act_as.to_owned(), name.to_owned(), password)
}

fn claim(act_as: String, name: String, password: &str) -> Step {
    // RFC 4616 §2: an empty password is none. Some directories take one for an anonymous bind.
    if password.is_empty() || password.contains('\0') {
        return Step::Malformed("that is no password");
    }
    Step::Ask(Question::Password { act_as, name, password: Secret::new(password.to_owned()) })
}

/// Whether somebody who is `name`, with the mailbox `address`, may act as `act_as`: as themselves
/// and nobody else (the bypass of maddy, CVE-2023-27582, began with another answer).
pub fn acts_for(act_as: &str, name: &str, address: &str) -> bool {
    act_as.is_empty() || act_as == name || act_as.eq_ignore_ascii_case(address)
}
