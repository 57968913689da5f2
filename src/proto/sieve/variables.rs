//! `${name}`, `${1}` (RFC 5229) and `${hex: 40}`, `${unicode: 20AC}` (RFC 5228 §2.4.2.4).
use std::collections::BTreeMap;

use crate::domain::limits;
use crate::proto::sieve::program::Modifier;

/// Variables while a script runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    named: BTreeMap<String, String>,
    /// `${0}`, `${1}`… of the last match.
    matched: Vec<String>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> &str {
        self.named.get(name).map_or("", String::as_str)
    }

    /// `name` in lower case.
    pub(super) fn set(&mut self, name: &str, value: String) {
        if self.named.len() < limits::SIEVE_VARIABLES_MAX || self.named.contains_key(name) {
            self.named.insert(name.to_owned(), bounded(value));
        }
    }

    pub(super) fn set_matched(&mut self, matched: Vec<String>) {
        self.matched = matched.into_iter().map(bounded).collect();
    }

    /// RFC 5229 §3: what is unknown is empty; what is no reference stays as it is.
    pub(super) fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            match reference(rest) {
                Some((name, octets)) => {
                    match name.parse::<usize>() {
                        Ok(number) => {
                            expanded.push_str(self.matched.get(number).map_or("", String::as_str));
                        }
                        Err(_) => expanded.push_str(self.get(&name.to_ascii_lowercase())),
                    }
                    rest = &rest[octets..];
                }
                None => {
                    expanded.push_str("${");
                    rest = &rest[2..];
                }
            }
            if expanded.len() > limits::SIEVE_VARIABLE_OCTETS_MAX {
                return bounded(expanded);
            }
        }
        expanded.push_str(rest);
        expanded
    }
}

/// RFC 5229 §4.1, the modifier of the highest precedence first.
pub(super) fn modified(value: String, modifiers: &[Modifier]) -> String {
    modifiers.iter().fold(value, |value, modifier| match modifier {
        Modifier::Lower => value.to_ascii_lowercase(),
        Modifier::Upper => value.to_ascii_uppercase(),
        Modifier::LowerFirst => first(&value, |c| c.to_ascii_lowercase()),
        Modifier::UpperFirst => first(&value, |c| c.to_ascii_uppercase()),
        Modifier::QuoteWildcard => {
            let quoted =
                |c: char| if matches!(c, '*' | '?' | '\\') { vec!['\\', c] } else { vec![c] };
            value.chars().flat_map(quoted).collect()
        }
        Modifier::Length => value.chars().count().to_string(),
    })
}

fn first(value: &str, change: impl Fn(char) -> char) -> String {
    let mut characters = value.chars();
    characters.next().map(change).into_iter().chain(characters).collect()
}

fn bounded(mut value: String) -> String {
    if value.len() > limits::SIEVE_VARIABLE_OCTETS_MAX {
        let mut end = limits::SIEVE_VARIABLE_OCTETS_MAX;
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
    }
    value
}

/// RFC 5228 §8.1 identifier: what may be set.
pub(super) fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.starts_with(|c: char| is_word(c) && !c.is_ascii_digit())
}

/// The name of the reference that `text` begins with, and the octets of it all.
fn reference(text: &str) -> Option<(&str, usize)> {
    let inside = text.strip_prefix("${")?;
    let name = &inside[..inside.find('}')?];
    let is_number = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit());
    (is_number || name.split('.').all(is_name)).then_some((name, name.len() + 3))
}

/// RFC 5229 §3: an unknown namespace, or a match variable that can never be, is a fault.
pub(super) fn check(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices("${") {
        let Some((name, _)) = reference(&text[at..]) else { continue };
        if name.contains('.') {
            return Err(format!("the variable ${{{name}}} has a namespace that is not known"));
        }
        if name.bytes().all(|octet| octet.is_ascii_digit())
            && name.parse::<usize>().is_ok_and(|number| number > super::matching::WILDCARDS_MAX)
        {
            return Err(format!("there is no match variable ${{{name}}}"));
        }
    }
    Ok(())
}

/// RFC 5228 §2.4.2.4: octets and characters by their numbers. What has not the form stays.
pub(super) fn decode_characters(text: &str) -> Result<String, String> {
    let mut decoded: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        decoded.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        match encoded(rest)? {
            Some((octets, taken)) => {
                decoded.extend_from_slice(&octets);
                rest = &rest[taken..];
            }
            None => {
                decoded.extend_from_slice(b"${");
                rest = &rest[2..];
            }
        }
    }
    decoded.extend_from_slice(rest.as_bytes());
    String::from_utf8(decoded).map_err(|_| "${hex:…} makes no UTF-8".to_owned())
}

fn encoded(text: &str) -> Result<Option<(Vec<u8>, usize)>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inside = &text[2..end];
    let Some((kind, numbers)) = inside.split_once(':') else { return Ok(None) };
    let is_unicode = kind.eq_ignore_ascii_case("unicode");
    if !is_unicode && !kind.eq_ignore_ascii_case("hex") {
        return Ok(None);
    }
    let mut octets = Vec::new();
    let mut is_empty = true;
    for number in numbers.split_ascii_whitespace() {
        let has_form = number.bytes().all(|octet| octet.is_ascii_hexdigit())
            && (is_unicode || number.len() <= 2);
        let Some(value) = u32::from_str_radix(number, 16).ok().filter(|_| has_form) else {
            return if has_form { Err("${unicode:…} is too large".to_owned()) } else { Ok(None) };
        };
        is_empty = false;
        if is_unicode {
            let character = char::from_u32(value).filter(|character| *character != '\0');
            let character = character.ok_or("${unicode:…} names no character")?;
            octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let octet = u8::try_from(value).unwrap_or(0);
            if octet == 0 {
                return Err("a NUL character".to_owned());
            }
            octets.push(octet);
        }
    }
    Ok((!is_empty).then_some((octets, end + 1)))
}
