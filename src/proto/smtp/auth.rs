//! The exchange of AUTH (RFC 4954 §4) for PLAIN (RFC 4616 §2) and LOGIN, without I/O.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::proto::smtp::command::InitialResponse;
use crate::proto::smtp::command::Mechanism;
use crate::proto::smtp::line::Line;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

/// What comes next in an exchange.
#[derive(Debug)]
pub enum AuthStep {
    /// Say the challenge, read a line, give it to [`Exchange::answer`].
    Ask(Exchange, Reply),
    /// Ask whether they are right.
    Check(Credentials),
    /// The exchange is over in vain.
    Fail(Reply),
}

/// Name and password, decoded.
#[derive(Debug)]
pub struct Credentials {
    /// The login name as it was sent.
    pub name: String,
    /// The password.
    pub password: Secret<String>,
}

/// An exchange that waits for a line.
#[derive(Debug)]
pub enum Exchange {
    /// PLAIN without initial response.
    Plain,
    /// LOGIN, before the name.
    LoginName,
    /// LOGIN, before the password.
    LoginPassword {
        /// The name.
        name: String,
    },
}

/// Begins an exchange.
pub fn begin(mechanism: Mechanism, initial_response: Option<InitialResponse>) -> AuthStep {
    let exchange = match mechanism {
        Mechanism::Plain => Exchange::Plain,
        Mechanism::Login => Exchange::LoginName,
    };
    match initial_response {
        // RFC 4954 §4: a lone `=` is an empty response, not a missing one.
        Some(response) if response.expose() == "=" => exchange.decoded(b""),
        Some(response) => exchange.base64(response.expose().as_bytes()),
        None => exchange.ask(),
    }
}

impl Exchange {
    /// The client's next line.
    pub fn answer(self, line: Line<'_>) -> AuthStep {
        match line {
            Line::Whole(b"*") => AuthStep::Fail(reply::AUTH_CANCELLED),
            Line::Whole(base64) => self.base64(base64),
            Line::BadEnds => AuthStep::Fail(reply::LINE_ENDS),
            Line::TooLong => AuthStep::Fail(reply::AUTH_LINE_TOO_LONG),
        }
    }

    fn ask(self) -> AuthStep {
        let challenge = match self {
            Self::Plain => "",
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        };
        AuthStep::Ask(self, Reply::challenge(challenge))
    }

    fn base64(self, base64: &[u8]) -> AuthStep {
        match STANDARD.decode(base64).map(Secret::new) {
            Ok(response) => self.decoded(response.expose()),
            Err(_) => AuthStep::Fail(reply::BAD_BASE64),
        }
    }

    fn decoded(self, response: &[u8]) -> AuthStep {
        // RFC 4616 §2 and RFC 4954 §4 want UTF-8; nothing else is in a directory anyway.
        let Some(text) = std::str::from_utf8(response).ok().filter(|text| !text.is_empty()) else {
            return AuthStep::Fail(reply::BAD_CREDENTIALS);
        };
        match self {
            Self::Plain => plain(text),
            Self::LoginName => Self::LoginPassword { name: text.to_owned() }.ask(),
            Self::LoginPassword { name } => {
                AuthStep::Check(Credentials { name, password: Secret::new(text.to_owned()) })
            }
        }
    }
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`.
fn plain(message: &str) -> AuthStep {
    let mut parts = message.split('\0');
    let (Some(act_as), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return AuthStep::Fail(reply::BAD_CREDENTIALS);
    };
    if name.is_empty() || password.is_empty() {
        return AuthStep::Fail(reply::BAD_CREDENTIALS);
    }
    // Nobody acts as somebody else here (the bypass of maddy, CVE-2023-27582, began so).
    if !act_as.is_empty() && act_as != name {
        return AuthStep::Fail(Reply::from(Refusal::AuthFailed));
    }
    AuthStep::Check(Credentials {
        name: name.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::command::Command;

    /// Runs an exchange on the lines of a client, and says how it ends.
    fn run(command: &str, answers: &[&str]) -> String {
        let Ok(Command::Auth(mechanism, initial)) = Command::parse(command.as_bytes()) else {
            panic!("not AUTH: {command}");
        };
        let mut step = begin(mechanism, initial);
        let mut answers = answers.iter();
        loop {
            step = match step {
                AuthStep::Ask(exchange, challenge) => {
                    assert_eq!(challenge.code(), 334);
                    let answer = answers.next().expect("no question more than answers");
                    exchange.answer(Line::Whole(answer.as_bytes()))
                }
                AuthStep::Check(credentials) => {
                    assert_eq!(answers.next(), None, "an answer was not asked for");
                    return format!("{}/{}", credentials.name, credentials.password.expose());
                }
                AuthStep::Fail(reply) => return reply.code().to_string(),
            };
        }
    }

    #[test]
    fn plain_and_login_work_with_and_without_initial_response() {
        assert_eq!(run("AUTH PLAIN AHUAcHc=", &[]), "u/pw");
        assert_eq!(run("auth plain", &["AHUAcHc="]), "u/pw");
        assert_eq!(run("AUTH PLAIN dQB1AHB3", &[]), "u/pw");
        assert_eq!(run("AUTH LOGIN", &["dQ==", "cHc="]), "u/pw");
        assert_eq!(run("AUTH LOGIN dQ==", &["cHc="]), "u/pw");
    }

    #[test]
    fn a_password_may_have_accents_and_spaces() {
        let response = STANDARD.encode("\0u@x.fr\0é t é");
        assert_eq!(run(&format!("AUTH PLAIN {response}"), &[]), "u@x.fr/é t é");
    }

    #[test]
    fn a_star_cancels_at_every_question() {
        assert_eq!(run("AUTH PLAIN", &["*"]), "501");
        assert_eq!(run("AUTH LOGIN", &["*"]), "501");
        assert_eq!(run("AUTH LOGIN", &["dQ==", "*"]), "501");
    }

    #[test]
    fn what_is_not_base64_or_not_of_the_form_is_501() {
        for response in ["!", "AHUAcHc", "AHUAcHc==", "A", "=", "dQ==", "AHUA", "AABwdw==", "/w=="]
        {
            assert_eq!(run(&format!("AUTH PLAIN {response}"), &[]), "501", "{response}");
        }
        assert_eq!(run("AUTH PLAIN", &[""]), "501");
        assert_eq!(run("AUTH LOGIN =", &[]), "501");
        assert_eq!(run("AUTH LOGIN", &["dQ==", ""]), "501");
        assert_eq!(run("AUTH PLAIN", &["AHUAcHcAAA=="]), "501");
    }

    #[test]
    fn nobody_logs_in_as_one_to_act_as_another() {
        let response = STANDARD.encode("director@x.fr\0u@x.fr\0pw");
        assert_eq!(run(&format!("AUTH PLAIN {response}"), &[]), "535");
    }

    #[test]
    fn nothing_of_an_exchange_shows_in_debug() {
        let step = begin(Mechanism::Plain, None);
        let AuthStep::Ask(exchange, _) = step else { panic!("{step:?}") };
        let step = exchange.answer(Line::Whole(b"AHUAcHc="));
        assert!(!format!("{step:?}").contains("pw"));
    }
}
