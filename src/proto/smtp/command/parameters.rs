//! ESMTP parameters of MAIL and RCPT (RFC 5321 §4.1.1.11), and the forms of their values.
use std::fmt;
use std::fmt::Write;

use super::BadCommand;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Notify;
use crate::domain::envelope::RcptParameters;
use crate::domain::envelope::ReturnContent;

/// Octets of an encoded ENVID (RFC 3461 §4.4).
const ENVID_OCTETS_MAX: usize = 100;
/// Octets of a decoded ORCPT. RFC 3461 §4.2 says 500 encoded, but the UTF-8 forms of one address
/// differ in length and every one of them must fit.
const ORCPT_OCTETS_MAX: usize = 500;

/// The parameters of MAIL.
pub(super) fn parse_mail(text: &str) -> Result<MailParameters, BadCommand> {
    let mut parameters = MailParameters::default();
    let (mut body, mut utf8, mut auth) = (None, None, None);
    for word in words(text) {
        let (keyword, value) = split(word);
        match keyword.as_str() {
            "SIZE" => once(&mut parameters.size, valid(value, parse_size)?)?,
            "BODY" => once(&mut body, valid(value, parse_body)??)?,
            "SMTPUTF8" if value.is_some() => return Err(BadCommand::ParameterValue),
            "SMTPUTF8" => once(&mut utf8, ())?,
            "RET" => once(&mut parameters.ret, valid(value, parse_ret)?)?,
            "ENVID" => once(&mut parameters.envid, valid(value, parse_envid)?)?,
            // RFC 4954 §5: another system's word on who wrote the letter. We know who logged
            // in, or which operator stands there; so it is checked for form and forgotten.
            "AUTH" => once(&mut auth, valid(value, decode_xtext)?)?,
            _ => return Err(BadCommand::ParameterUnknown),
        }
    }
    parameters.eight_bit = body.unwrap_or(false);
    parameters.smtputf8 = utf8.is_some();
    Ok(parameters)
}

/// The parameters of RCPT.
pub(super) fn parse_rcpt(text: &str) -> Result<RcptParameters, BadCommand> {
    let mut parameters = RcptParameters::default();
    for word in words(text) {
        let (keyword, value) = split(word);
        match keyword.as_str() {
            "NOTIFY" => once(&mut parameters.notify, valid(value, parse_notify)?)?,
            "ORCPT" => once(&mut parameters.orcpt, valid(value, parse_orcpt)?)?,
            _ => return Err(BadCommand::ParameterUnknown),
        }
    }
    Ok(parameters)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// `KEYWORD` or `KEYWORD=value`; the keyword in upper case.
fn split(word: &str) -> (String, Option<&str>) {
    match word.split_once('=') {
        Some((keyword, value)) => (keyword.to_ascii_uppercase(), Some(value)),
        None => (word.to_ascii_uppercase(), None),
    }
}

/// Stores a value that may be given once.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), BadCommand> {
    if place.replace(value).is_some() { Err(BadCommand::ParameterTwice) } else { Ok(()) }
}

/// A value that must be there and of the right form.
fn valid<T>(value: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<T, BadCommand> {
    value.filter(|value| !value.is_empty()).and_then(parse).ok_or(BadCommand::ParameterValue)
}

/// Decimal digits only (`str::parse` would take a sign), at most twenty: RFC 1870 §3, RFC 3030
/// §2. What does not fit 64 bits is too large for any door, and stays so.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// RFC 6152 §2. True for eight bits.
fn parse_body(text: &str) -> Option<Result<bool, BadCommand>> {
    match text.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Ok(false)),
        "8BITMIME" => Some(Ok(true)),
        "BINARYMIME" => Some(Err(BadCommand::BinaryMime)),
        _ => None,
    }
}

fn parse_ret(text: &str) -> Option<ReturnContent> {
    match text.to_ascii_uppercase().as_str() {
        "FULL" => Some(ReturnContent::Full),
        "HDRS" => Some(ReturnContent::Headers),
        _ => None,
    }
}

fn parse_envid(text: &str) -> Option<String> {
    (text.len() <= ENVID_OCTETS_MAX).then(|| decode_xtext(text)).flatten()
}

/// RFC 3461 §4.1: NEVER alone, or any of the others, each once.
fn parse_notify(text: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    for word in text.split(',') {
        let wish = match word.to_ascii_uppercase().as_str() {
            "NEVER" => &mut notify.never,
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(wish, true) {
            return None;
        }
    }
    let others = notify.success || notify.failure || notify.delay;
    (!(notify.never && others)).then_some(notify)
}

/// RFC 3461 §4.2 and RFC 6533 §3: `addr-type;address`; the type comes out in lower case.
fn parse_orcpt(text: &str) -> Option<String> {
    let (addr_type, address) = text.split_once(';')?;
    let addr_type = addr_type.to_ascii_lowercase();
    let address = match addr_type.as_str() {
        "rfc822" => decode_xtext(address)?,
        "utf-8" => decode_unitext(address)?,
        _ => return None,
    };
    let fits = (1..=ORCPT_OCTETS_MAX).contains(&address.len());
    fits.then(|| format!("{addr_type};{address}"))
}

/// RFC 3461 §4: `+` and two upper-case hexadecimal digits stand for an octet. What comes out is
/// printable ASCII: otherwise a report that quotes it could be made to hold other header fields.
fn decode_xtext(text: &str) -> Option<String> {
    let mut octets = text.bytes();
    let mut value = String::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        let decoded = match octet {
            b'+' => (hexadecimal(octets.next()?)? << 4) | hexadecimal(octets.next()?)?,
            b'=' | b' ' => return None,
            other => other,
        };
        if !(b' '..=b'~').contains(&decoded) {
            return None;
        }
        value.push(char::from(decoded));
    }
    Some(value)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 6533 §3: UTF-8 as it is, and `\x{…}` for one character; never a control character.
fn decode_unitext(text: &str) -> Option<String> {
    let mut rest = text;
    let mut value = String::with_capacity(text.len());
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let decoded = match character {
            '\\' => {
                let (digits, after) = rest.strip_prefix("x{")?.split_once('}')?;
                let well_formed = (2..=6).contains(&digits.len())
                    && digits.bytes().all(|digit| hexadecimal(digit).is_some());
                if !well_formed {
                    return None;
                }
                rest = after;
                u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?
            }
            '+' | '=' | ' ' => return None,
            other => other,
        };
        if decoded.is_control() {
            return None;
        }
        value.push(decoded);
    }
    Some(value)
}

/// Prints the parameters of MAIL, each with a space before it.
pub(super) fn print_mail(f: &mut fmt::Formatter<'_>, parameters: &MailParameters) -> fmt::Result {
    if let Some(size) = parameters.size {
        write!(f, " SIZE={size}")?;
    }
    if parameters.eight_bit {
        f.write_str(" BODY=8BITMIME")?;
    }
    if parameters.smtputf8 {
        f.write_str(" SMTPUTF8")?;
    }
    match parameters.ret {
        Some(ReturnContent::Full) => f.write_str(" RET=FULL")?,
        Some(ReturnContent::Headers) => f.write_str(" RET=HDRS")?,
        None => {}
    }
    if let Some(envid) = &parameters.envid {
        f.write_str(" ENVID=")?;
        print_xtext(f, envid)?;
    }
    Ok(())
}

/// Prints the parameters of RCPT, each with a space before it.
pub(super) fn print_rcpt(f: &mut fmt::Formatter<'_>, parameters: &RcptParameters) -> fmt::Result {
    if let Some(notify) = parameters.notify {
        let wishes = [
            (notify.never, "NEVER"),
            (notify.success, "SUCCESS"),
            (notify.failure, "FAILURE"),
            (notify.delay, "DELAY"),
        ];
        let wanted: Vec<&str> =
            wishes.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
        write!(f, " NOTIFY={}", wanted.join(","))?;
    }
    match parameters.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
        Some(("utf-8", address)) => {
            f.write_str(" ORCPT=utf-8;")?;
            print_unitext(f, address)
        }
        Some((addr_type, address)) => {
            write!(f, " ORCPT={addr_type};")?;
            print_xtext(f, address)
        }
        None => Ok(()),
    }
}

fn print_xtext(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    value.bytes().try_for_each(|octet| match octet {
        b'!'..=b'~' if !matches!(octet, b'+' | b'=') => f.write_char(char::from(octet)),
        _ => write!(f, "+{octet:02X}"),
    })
}

/// In ASCII: the next hop may have no SMTPUTF8.
fn print_unitext(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    value.chars().try_for_each(|character| match character {
        '!'..='~' if !matches!(character, '+' | '=' | '\\') => f.write_char(character),
        _ => write!(f, "\\x{{{:02X}}}", u32::from(character)),
    })
}
