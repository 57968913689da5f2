//! Mail addresses (RFC 5321 §4.1.2, RFC 6531 §3.3), parsed once at the door.
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::domain::identity::Ins;

/// A domain in lower-case A-label form. Compare with `==`, never as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

/// `local-part@domain`, already parsed, so nobody downstream checks it again.
///
/// The local part is kept as it was written (RFC 5321 §2.4 forbids changing it in
/// transit) and compared without regard to ASCII case, as every MSSanté operator does.
#[derive(Clone)]
pub struct Address {
    local_part: String,
    domain: Domain,
}

/// Where a report about this message goes: an address, or nowhere (`<>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a report about a report is never sent (RFC 5321 §4.5.5).
    Null,
    /// The sender.
    Address(Address),
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// No `@`, an empty side, or characters that RFC 5321 does not allow there.
    #[error("not of the form local-part@domain")]
    Syntax,
    /// A local part over 64 octets or a domain over 255 (RFC 5321 §4.5.3.1).
    #[error("longer than the standard allows")]
    TooLong,
    /// `user@[192.0.2.1]`: the trust space knows operators by domain only.
    #[error("an address literal names no operator")]
    Literal,
}

impl Domain {
    /// Parses a host or mail domain; Unicode labels become A-labels.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text.starts_with('[') {
            return Err(BadAddress::Literal);
        }
        if text.len() > 255 {
            return Err(BadAddress::TooLong);
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| BadAddress::Syntax)?;
        if ascii.is_empty() || ascii.ends_with('.') {
            return Err(BadAddress::Syntax);
        }
        Ok(Self(ascii))
    }

    /// The lower-case A-label form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// Parses the text between `<` and `>` of a path, without source routes.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let (local_part, domain) = text.rsplit_once('@').ok_or(BadAddress::Syntax)?;
        // RFC 5321 §4.5.3.1.1: a local part has at most 64 octets.
        if local_part.len() > 64 {
            return Err(BadAddress::TooLong);
        }
        let local_part = parse_local_part(local_part)?;
        Ok(Self { local_part, domain: Domain::parse(domain)? })
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The local part without quotes, in the case in which it was written.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The form that maps and indexes use: local part in lower case.
    pub fn lookup_form(&self) -> String {
        format!("{}@{}", self.local_part.to_ascii_lowercase(), self.domain)
    }

    /// True when the form needs SMTPUTF8 on the wire (RFC 6531 §3.2).
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part.is_ascii()
    }

    /// The same local part elsewhere.
    pub fn at(&self, domain: &Domain) -> Self {
        Self { local_part: self.local_part.clone(), domain: domain.clone() }
    }

    /// A patient's local part is a national identity number: nobody may print it.
    fn hides_a_person(&self) -> bool {
        let digits = self.local_part.chars().filter(char::is_ascii_digit).count();
        Ins::parse(&self.local_part).is_ok() || digits >= 11
    }
}

/// RFC 5321 §4.1.2: a dot-string or a quoted string; the value is returned unquoted.
fn parse_local_part(text: &str) -> Result<String, BadAddress> {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let mut value = String::new();
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some(escaped @ ' '..='~') => value.push(escaped),
                    _ => return Err(BadAddress::Syntax),
                },
                '"' => return Err(BadAddress::Syntax),
                control if control.is_control() => return Err(BadAddress::Syntax),
                other => value.push(other),
            }
        }
        return if value.is_empty() { Err(BadAddress::Syntax) } else { Ok(value) };
    }
    let well_formed = !text.is_empty() && text.split('.').all(is_atom);
    if well_formed { Ok(text.to_owned()) } else { Err(BadAddress::Syntax) }
}

/// RFC 5322 §3.2.3 `atext`, and non-ASCII as RFC 6531 §3.3 allows.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || "!#$%&'*+-/=?^_`{|}~".contains(c)
                || (!c.is_ascii() && !c.is_control())
        })
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.local_part.eq_ignore_ascii_case(&other.local_part)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lookup_form().hash(state);
    }
}

/// The wire form: quoted when it must be, never changed otherwise.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.local_part.split('.').all(is_atom) {
            return write!(f, "{}@{}", self.local_part, self.domain);
        }
        f.write_str("\"")?;
        for character in self.local_part.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

/// What logs may show. A patient's local part is a national identity number.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hides_a_person() { write!(f, "***@{}", self.domain) } else { write!(f, "{self}") }
    }
}

impl ReversePath {
    /// The sender, unless the path is null.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_address_never_shows_the_ins_in_logs() {
        for local_part in ["279035121518989", "195122a99000394", "2880275990001", "288027599000176"]
        {
            let address = Address::parse(&format!("{local_part}@patient.mssante.fr")).unwrap();
            assert_eq!(format!("{address:?}"), "***@patient.mssante.fr");
        }
    }

    #[test]
    fn an_address_prints_as_it_was_written() {
        for text in ["Dr.Lune@medecin.mssante.fr", "\"a b\"@x.fr", "hélène@x.fr", "a+b@x-y.fr"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "@x",
            "a@",
            "a",
            "a b@x.fr",
            "a..b@x.fr",
            ".a@x.fr",
            "a@[1.2.3.4]",
            "a@x..fr",
            "\"a@x.fr",
            "a\r\nb@x.fr",
            "\"a\r\n\"@x.fr",
            "a\0@x.fr",
            "a@x.fr\r\n",
            "<a@x.fr>",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn letter_case_does_not_make_another_mailbox() {
        let upper = Address::parse("Dr.Lune@CHU-X.mssante.fr").unwrap();
        assert_eq!(upper, Address::parse("dr.lune@chu-x.mssante.fr").unwrap());
    }
}
