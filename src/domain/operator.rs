//! Operators of the trust space, their certificates' names, and the list that binds both.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use crate::domain::address::Domain;
use crate::domain::time::Timestamp;

/// A certificate subject, compared as a normalised multiset of (attribute, value).
///
/// Lists write `CN=…,OU=…,O=…,ST=…,C=FR`, certificates the reverse; spacing and case differ.
/// Normal form: NFC, trimmed, inner spaces collapsed, lower case, sorted.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorDn(Vec<(String, String)>);

/// The signed list of operators: which certificate subjects may speak for which domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustList {
    /// When the list's publisher made it; a list never replaces a younger one.
    pub generated: Timestamp,
    /// Domain to every DN that is listed for it (up to five were seen).
    pub domains: BTreeMap<Domain, BTreeSet<OperatorDn>>,
}

/// Which list: when its publisher made it, and the SHA-256 of the published document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListVersion {
    /// `DateDeGeneration`.
    pub generated: Timestamp,
    /// SHA-256 of the whole signed document.
    pub digest: [u8; 32],
}

impl ListVersion {
    /// The first eight hexadecimal digits of the digest: what people type.
    pub fn short(&self) -> String {
        self.digest[..4].iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl fmt::Display for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.generated, self.short())
    }
}

impl fmt::Debug for ListVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl OperatorDn {
    /// From (attribute short name, value) pairs in any order, e.g. `("CN", "mx.example")`.
    pub fn new<A: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (A, V)>) -> Self {
        let mut normal: Vec<(String, String)> = pairs
            .into_iter()
            .map(|(attribute, value)| {
                let attribute = attribute.as_ref().trim().to_ascii_uppercase();
                let words: Vec<&str> = value.as_ref().split_whitespace().collect();
                (attribute, words.join(" ").nfc().collect::<String>().to_lowercase())
            })
            .collect();
        normal.sort();
        Self(normal)
    }

    /// Parses the list's text form. Values may hold quotes and spaces; a comma separates only
    /// where an attribute name and `=` follow it, because the real list escapes nothing.
    pub fn parse_list_form(text: &str) -> Option<Self> {
        const ATTRIBUTES: [&str; 7] = ["CN", "OU", "O", "ST", "L", "C", "S"];
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in text.split(',') {
            let named = piece.trim_start().split_once('=').filter(|(attribute, _)| {
                ATTRIBUTES.contains(&attribute.trim().to_ascii_uppercase().as_str())
            });
            match (named, pairs.last_mut()) {
                (Some((attribute, value)), _) => {
                    pairs.push((attribute.to_owned(), value.to_owned()));
                }
                (None, Some((_, value))) => {
                    value.push(',');
                    value.push_str(piece);
                }
                (None, None) => return None,
            }
        }
        (!pairs.is_empty()).then(|| Self::new(pairs))
    }

    /// Parses a subject as people write it (RFC 4514 §2): any attribute, by its short name or its
    /// dotted object identifier; a comma separates only where an attribute and `=` follow it, and
    /// a backslash before a character takes its meaning away.
    pub fn parse_text(text: &str) -> Option<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in text.split(',') {
            let named = piece
                .trim_start()
                .split_once('=')
                .and_then(|(attribute, value)| Some((attribute_of(attribute.trim())?, value)));
            let is_escaped = pairs.last().is_some_and(|(_, value)| value.ends_with('\\'));
            match (named.filter(|_| !is_escaped), pairs.last_mut()) {
                (Some((attribute, value)), _) => pairs.push((attribute, value.to_owned())),
                (None, Some((_, value))) => {
                    value.push(',');
                    value.push_str(piece);
                }
                (None, None) => return None,
            }
        }
        for (_, value) in &mut pairs {
            *value = unescaped(value);
        }
        (!pairs.is_empty()).then(|| Self::new(pairs))
    }

    /// The normalised pairs, sorted.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// An attribute as certificates are read here: six have a short name, others are identifiers.
fn attribute_of(name: &str) -> Option<String> {
    const SHORT: [&str; 6] = ["CN", "C", "L", "ST", "O", "OU"];
    const OTHERS: [(&str, &str); 11] = [
        ("S", "ST"),
        ("SN", "2.5.4.4"),
        ("SURNAME", "2.5.4.4"),
        ("SERIALNUMBER", "2.5.4.5"),
        ("TITLE", "2.5.4.12"),
        ("GN", "2.5.4.42"),
        ("GIVENNAME", "2.5.4.42"),
        ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
        ("UID", "0.9.2342.19200300.100.1.1"),
        ("DC", "0.9.2342.19200300.100.1.25"),
        ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ];
    let upper = name.to_ascii_uppercase();
    if SHORT.contains(&upper.as_str()) {
        return Some(upper);
    }
    if let Some((_, other)) = OTHERS.iter().find(|(known, _)| *known == upper) {
        return Some((*other).to_owned());
    }
    let is_identifier = name.contains('.')
        && name.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|c| c.is_ascii_digit()));
    is_identifier.then_some(upper)
}

fn unescaped(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

impl fmt::Display for OperatorDn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (attribute, value)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{attribute}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for OperatorDn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TrustList {
    /// True when the domain belongs to the trust space. Exact match: no wildcard, no parent.
    pub fn lists(&self, domain: &Domain) -> bool {
        self.domains.contains_key(domain)
    }

    /// True when this certificate subject may speak for this domain.
    pub fn binds(&self, domain: &Domain, dn: &OperatorDn) -> bool {
        self.domains.get(domain).is_some_and(|listed| listed.contains(dn))
    }

    /// True when the subject is listed for any domain at all.
    pub fn knows(&self, dn: &OperatorDn) -> bool {
        self.domains.values().any(|listed| listed.contains(dn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dn_is_the_same_in_any_order_case_and_spacing() {
        let listed = OperatorDn::parse_list_form(
            "CN=mx.chu-x.fr,OU=318003502400041,O=CHU  \"X\", site A,ST=Paris (75), C=FR",
        );
        let presented = OperatorDn::new([
            ("C", "FR"),
            ("ST", "Paris (75)"),
            ("O", "chu \"X\", site A"),
            ("OU", "318003502400041"),
            ("CN", "MX.chu-x.fr"),
        ]);
        assert_eq!(listed, Some(presented));
    }

    #[test]
    fn a_dn_that_somebody_wrote_down_is_the_one_of_the_certificate() {
        let parsed = OperatorDn::parse_text(
            "CN=Dossier patient, serialNumber=42, O=CHU X\\, site A, 2.5.4.97=NTRFR-1, C=FR",
        );
        let presented = OperatorDn::new([
            ("C", "FR"),
            ("2.5.4.97", "NTRFR-1"),
            ("O", "chu x, site a"),
            ("2.5.4.5", "42"),
            ("CN", "dossier patient"),
        ]);
        assert_eq!(parsed, Some(presented));
        assert_eq!(OperatorDn::parse_text("hello, world"), None);
        assert_eq!(OperatorDn::parse_text(""), None);
    }

    #[test]
    fn a_locality_is_not_a_state() {
        let state = OperatorDn::parse_list_form("CN=a,ST=Paris,C=FR");
        assert_ne!(state, OperatorDn::parse_list_form("CN=a,L=Paris,C=FR"));
    }

    #[test]
    fn a_text_without_attributes_is_not_a_dn() {
        assert_eq!(OperatorDn::parse_list_form("hello, world"), None);
        assert_eq!(OperatorDn::parse_list_form(""), None);
    }
}
