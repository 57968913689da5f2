//! Distinguished names (RFC 4514): read, compared, written.
use crate::domain::folding::folded;
use crate::proto::ldap::schema;

/// RDNs of a name, and parts of an RDN; real ones have a handful.
const PARTS_MAX: usize = 32;

/// A name in the form in which names are compared: attribute names as the schema writes them,
/// values folded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Dn(Vec<Vec<(String, String)>>);

impl Dn {
    /// Reads a name; the empty one is the root. `None` when it is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rdns = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let mut parts = Vec::new();
            loop {
                let (part, end) = part(rest)?;
                parts.push(part);
                rest = end;
                match rest.strip_prefix('+') {
                    Some(more) if parts.len() < PARTS_MAX => rest = more,
                    Some(_) => return None,
                    None => break,
                }
            }
            parts.sort();
            rdns.push(parts);
            match rest.strip_prefix([',', ';']) {
                // A separator promises another RDN.
                Some(more) if !more.trim().is_empty() && rdns.len() < PARTS_MAX => rest = more,
                Some(_) => return None,
                None if rest.is_empty() => {}
                None => return None,
            }
        }
        Some(Self(rdns))
    }

    /// True for the empty name.
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// What stands before `base`: attribute and folded value, when it is exactly one RDN of one
    /// part.
    pub fn child_of(&self, base: &Self) -> Option<(&str, &str)> {
        let (first, rest) = self.0.split_first()?;
        match first.as_slice() {
            [(name, value)] if rest == base.0 => Some((name, value)),
            _ => None,
        }
    }

    /// The first RDN's attribute and value.
    pub fn first(&self) -> Option<(&str, &str)> {
        let (name, value) = self.0.first()?.first()?;
        Some((name, value))
    }
}

/// `name=value`, and what follows it.
fn part(text: &str) -> Option<((String, String), &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim();
    let is_name =
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c));
    if !is_name {
        return None;
    }
    let name = schema::named(name).map_or_else(|| name.to_ascii_lowercase(), |a| a.name.to_owned());
    let (value, rest) = value(rest.trim_start())?;
    Some(((name, folded(&value)), rest))
}

/// RFC 4514 §3, and the quoted values of RFC 2253 §4 that old clients write.
fn value(text: &str) -> Option<(String, &str)> {
    if text.starts_with('#') {
        return None; // BER in hexadecimal: nobody names people so.
    }
    let quoted = text.starts_with('"');
    let octets = text.as_bytes();
    let mut value = Vec::new();
    let mut at = usize::from(quoted);
    loop {
        match octets.get(at) {
            None if quoted => return None,
            None => break,
            Some(b'"') if quoted => {
                at += 1;
                break;
            }
            Some(b'"') => return None,
            Some(b',' | b';' | b'+') if !quoted => break,
            Some(b'\\') => {
                let pair = octets.get(at + 1..at + 3).and_then(|pair| {
                    let digits = std::str::from_utf8(pair).ok()?;
                    let is_hex = pair.iter().all(u8::is_ascii_hexdigit);
                    is_hex.then(|| u8::from_str_radix(digits, 16).ok())?
                });
                match pair {
                    Some(octet) => {
                        value.push(octet);
                        at += 3;
                    }
                    None => {
                        value.push(*octets.get(at + 1)?);
                        at += 2;
                    }
                }
            }
            Some(octet) => {
                value.push(*octet);
                at += 1;
            }
        }
    }
    let rest = text.get(at..)?;
    Some((String::from_utf8(value).ok()?, if quoted { rest.trim_start() } else { rest }))
}

/// A value as it stands in a name (RFC 4514 §2.4).
pub fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (place, letter) in value.chars().enumerate() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                text.push('\\');
                text.push(letter);
            }
            '#' if place == 0 => text.push_str("\\#"),
            ' ' if place == 0 || place == last => text.push_str("\\ "),
            '\0' => text.push_str("\\00"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_and_not_their_spelling() {
        let base = Dn::parse("dc=mssante,dc=fr").unwrap();
        for text in [
            "DC=MSSante, dc=FR",
            "0.9.2342.19200300.100.1.25=mssante;dc=\"fr\"",
            "dc=mss\\61nte,dc=fr",
        ] {
            assert_eq!(Dn::parse(text).unwrap(), base, "{text}");
        }
        let child = Dn::parse("mail=A.b@x.fr , dc=mssante,dc=fr").unwrap();
        assert_eq!(child.child_of(&base), Some(("mail", "a.b@x.fr")));
        assert_eq!(base.child_of(&base), None);
        assert!(Dn::parse("").unwrap().is_root());
        assert_eq!(Dn::parse("a=1+b=2,c=3"), Dn::parse("B=2+A=1,C=3"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "dr.lune",
            "=x",
            "a b=c",
            "dc=a,",
            "dc=a,,dc=b",
            "dc=\"a",
            "dc=a\\",
            "cn=#0401",
            "a=b+",
        ] {
            assert_eq!(Dn::parse(text), None, "{text}");
        }
        assert_eq!(Dn::parse(&"dc=a,".repeat(40)), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_is_one_value(value in "[^\0]{1,20}") {
            let dn = Dn::parse(&format!("cn={},dc=fr", escaped(&value))).unwrap();
            let base = Dn::parse("dc=fr").unwrap();
            let folded = folded(&value);
            proptest::prop_assert_eq!(dn.child_of(&base), Some(("cn", folded.as_str())));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = Dn::parse(&text);
        }
    }
}
