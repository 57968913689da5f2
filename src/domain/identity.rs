//! People and structures: INS, RPPS, FINESS, SIRET.
use std::fmt;

use crate::domain::secret::Secret;

/// A patient's INS matricule (NIR or NIA): 15 characters whose key checks.
///
/// It is a national identity number. `Debug` hides it; [`Ins::expose`] reads it.
pub struct Ins(Secret<String>);

/// Why a text is not a matricule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIns {
    /// Not 15 characters, or something else than digits (and `2A`/`2B` at positions 6-7).
    #[error("not 15 characters of the form of a matricule")]
    Form,
    /// The last two digits are not 97 - (first 13 modulo 97).
    #[error("the control key is wrong")]
    Key,
}

impl Ins {
    /// Parses a matricule; a lower-case Corsican `2a`/`2b` is read as upper case.
    pub fn parse(text: &str) -> Result<Self, BadIns> {
        let text = text.to_ascii_uppercase();
        if text.len() != 15 || !text.is_ascii() {
            return Err(BadIns::Form);
        }
        // Corsica: the letter stays in the matricule and becomes 19 or 18 only for the key.
        let digits = match &text[5..7] {
            "2A" => format!("{}19{}", &text[..5], &text[7..]),
            "2B" => format!("{}18{}", &text[..5], &text[7..]),
            _ => text.clone(),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadIns::Form);
        }
        let body: u64 = digits[..13].parse().map_err(|_| BadIns::Form)?;
        let key: u64 = digits[13..].parse().map_err(|_| BadIns::Form)?;
        if key != 97 - body % 97 {
            return Err(BadIns::Key);
        }
        Ok(Self(Secret::new(text)))
    }

    /// The 15 characters, upper case. Never put them where somebody else can read.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Clone for Ins {
    fn clone(&self) -> Self {
        Self(Secret::new(self.0.expose().clone()))
    }
}

impl fmt::Debug for Ins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[ins]")
    }
}

/// A professional's national number: 11 digits, the last one a Luhn key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rpps(String);

impl Rpps {
    /// Parses 11 digits and checks the key.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 11 && luhn_holds(text)).then(|| Self(text.to_owned()))
    }

    /// The 11 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A professional's national identity: `8` and the RPPS number. Pro Santé Connect calls it
/// `SubjectNameID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NationalId(Rpps);

impl NationalId {
    /// Parses `8` and a number whose key holds.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix('8').and_then(Rpps::parse).map(Self)
    }

    /// The identity of a number.
    pub const fn of(rpps: Rpps) -> Self {
        Self(rpps)
    }

    /// The number.
    pub fn rpps(&self) -> &Rpps {
        &self.0
    }
}

impl fmt::Display for NationalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "8{}", self.0.as_str())
    }
}

/// A structure's national identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StructureId {
    /// 9 characters, hospitals and other establishments.
    Finess(String),
    /// 14 digits, any enterprise.
    Siret(String),
}

impl StructureId {
    /// Parses a FINESS (9 characters) or SIRET (14 digits) number.
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            9 if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Some(Self::Finess(text.to_ascii_uppercase()))
            }
            14 if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::Siret(text.to_owned()))
            }
            _ => None,
        }
    }

    /// `1` + FINESS or `3` + SIRET, the form that certificates and statistics use.
    pub fn national(&self) -> String {
        match self {
            Self::Finess(number) => format!("1{number}"),
            Self::Siret(number) => format!("3{number}"),
        }
    }
}

fn luhn_holds(digits: &str) -> bool {
    let mut sum = 0;
    for (place, character) in digits.chars().rev().enumerate() {
        let Some(digit) = character.to_digit(10) else { return false };
        sum += match place % 2 {
            0 => digit,
            _ if digit > 4 => 2 * digit - 9,
            _ => 2 * digit,
        };
    }
    sum % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_matricules_check() {
        for text in [
            "288027599000175",
            "115067599000279",
            "195122A99000394",
            "286072B99000443",
            "790019999000529",
            "279035121518989",
            "146026322000196",
            "277076322082910",
            "195122a99000394",
        ] {
            assert!(Ins::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_wrong_key_and_a_wrong_form_are_told_apart() {
        assert_eq!(Ins::parse("288027599000176").unwrap_err(), BadIns::Key);
        assert_eq!(Ins::parse("276059205062865").unwrap_err(), BadIns::Key);
        for text in ["28802759900017", "288022C99000175", "", "28802759900017é"] {
            assert_eq!(Ins::parse(text).unwrap_err(), BadIns::Form, "{text}");
        }
    }

    #[test]
    fn an_ins_never_prints() {
        assert_eq!(format!("{:?}", Ins::parse("288027599000175").unwrap()), "[ins]");
    }

    #[test]
    fn rpps_keys_check() {
        assert!(Rpps::parse("10001045367").is_some());
        assert!(Rpps::parse("10001045368").is_none());
        assert_eq!(NationalId::parse("810001045367").unwrap().to_string(), "810001045367");
        for bad in ["10001045367", "010001045367", "810001045368", "8", ""] {
            assert!(NationalId::parse(bad).is_none(), "{bad}");
        }
    }
}
