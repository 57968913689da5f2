//! Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2, the form that came before it.
use crate::domain::secret::Secret;
use crate::proto::sasl::Question;
use crate::proto::sasl::Step;
use crate::proto::sasl::names;

/// Fields end with it.
const END: char = '\u{1}';

/// RFC 7628 §3.1: `n,a=name,` ^A `auth=Bearer token` ^A ^A, among other fields.
pub(super) fn oauth(message: &str) -> Step {
    let Some((header, fields)) = message.split_once(END) else {
        return Step::Malformed("a GS2 header was expected");
    };
    // RFC 7628 §3.1 gives the header of RFC 5801 §4; there is no channel binding to speak of.
    let Some(identity) = ["n,", "y,"].iter().find_map(|flag| header.strip_prefix(flag)) else {
        return Step::Malformed("OAUTHBEARER binds to no channel");
    };
    let Some(identity) = identity.strip_suffix(',') else {
        return Step::Malformed("a GS2 header ends with a comma");
    };
    let name = match identity.strip_prefix("a=") {
        Some(name) => match names::unescaped(name) {
            Some(name) => name,
            None => return Step::Malformed("that is no login name"),
        },
        None if identity.is_empty() => String::new(),
        None => return Step::Malformed("an authorisation identity was expected"),
    };
    token(name, fields)
}

/// `user=name` ^A `auth=Bearer token` ^A ^A.
pub(super) fn xoauth2(message: &str) -> Step {
    let user = message.strip_prefix("user=").and_then(|rest| rest.split_once(END));
    match user {
        Some((name, fields)) if names::fits(name) => token(name.to_owned(), fields),
        _ => Step::Malformed("user= was expected"),
    }
}

/// Fields, each with its end, and an end behind them all.
fn token(name: String, fields: &str) -> Step {
    let Some(fields) = fields.strip_suffix(END).filter(|fields| fields.ends_with(END)) else {
        return Step::Malformed("the fields do not end");
    };
    let mut authorisation = None;
    for field in fields.split_terminator(END) {
        let Some((key, value)) = field.split_once('=') else {
            return Step::Malformed("a field has a name and a value");
        };
        // RFC 7628 §3.1: names that nobody knows are passed over, host and port as well.
        if key.eq_ignore_ascii_case("auth") && authorisation.replace(value).is_some() {
            return Step::Malformed("auth= is there twice");
        }
    }
    let Some(authorisation) = authorisation else {
        return Step::Malformed("auth= was expected");
    };
    let token = match authorisation.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
        // RFC 7628 §4.3: an empty value asks where tokens are to be had.
        None if authorisation.is_empty() => "",
        _ => return Step::Malformed("auth=Bearer was expected"),
    };
    // RFC 6750 §2.1: the characters of a token.
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    if !token.bytes().all(is_token) {
        return Step::Malformed("that is no bearer token");
    }
    Step::Ask(Question::Token { name, token: Secret::new(token.to_owned()) })
}
