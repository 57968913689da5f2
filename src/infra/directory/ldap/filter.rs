//! Search filters (RFC 4515) as a tree: a name can fill a value, and nothing else.
use std::fmt;
use std::fmt::Write as _;

use crate::domain::limits;

/// What stands for the login name in a filter of the configuration.
const NAME: &str = "{name}";

/// A filter that was read once. What a stranger types never meets the reader: it is octets of a
/// value, written as `\xx` wherever it is not a plain letter or digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// `(&…)`
    And(Vec<Filter>),
    /// `(|…)`
    Or(Vec<Filter>),
    /// `(!…)`
    Not(Box<Filter>),
    /// `(attribute=*)`
    Present(String),
    /// `(attribute=value)`, and with `~=`, `>=`, `<=`, `:rule:=`.
    Compare(String, Value),
    /// `(attribute=a*b*c)`: the parts between the asterisks, of which the outer ones may be empty.
    Substring(String, Vec<Vec<u8>>),
}

/// The right side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Octets(Vec<u8>),
    Name,
}

impl Filter {
    /// Reads a filter of the configuration.
    ///
    /// # Errors
    /// What is wrong with it, for the administrator.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::LDAP_FILTER_OCTETS_MAX {
            return Err("it is too long".to_owned());
        }
        let mut reader = Reader { text, at: 0 };
        let filter = reader.filter(0)?;
        if reader.at != text.len() {
            return Err(format!("something stands behind its last bracket: {}", reader.rest()));
        }
        if !filter.names() {
            return Err(format!("{NAME} is in no value: everybody would be the same person"));
        }
        Ok(filter)
    }

    /// `(attribute=value)` for any octets.
    pub(super) fn equals(attribute: &str, value: &str) -> Self {
        let value = Value(vec![Piece::Octets(value.as_bytes().to_vec())]);
        Self::Compare(format!("{attribute}="), value)
    }

    /// The text of this filter for one login name.
    pub(super) fn of(&self, name: &str) -> String {
        let mut text = String::new();
        self.write(&mut text, name).expect("a String takes everything");
        text
    }

    fn write(&self, text: &mut String, name: &str) -> fmt::Result {
        text.push('(');
        match self {
            Self::And(all) | Self::Or(all) => {
                text.push(if matches!(self, Self::And(_)) { '&' } else { '|' });
                all.iter().try_for_each(|each| each.write(text, name))?;
            }
            Self::Not(inner) => {
                text.push('!');
                inner.write(text, name)?;
            }
            Self::Present(attribute) => write!(text, "{attribute}=*")?,
            Self::Compare(left, Value(pieces)) => {
                text.push_str(left);
                for piece in pieces {
                    match piece {
                        Piece::Octets(octets) => escape(text, octets)?,
                        Piece::Name => escape(text, name.as_bytes())?,
                    }
                }
            }
            Self::Substring(attribute, parts) => {
                write!(text, "{attribute}=")?;
                for (place, part) in parts.iter().enumerate() {
                    if place > 0 {
                        text.push('*');
                    }
                    escape(text, part)?;
                }
            }
        }
        text.push(')');
        Ok(())
    }

    fn names(&self) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(Self::names),
            Self::Not(inner) => inner.names(),
            Self::Compare(_, Value(pieces)) => pieces.contains(&Piece::Name),
            Self::Present(_) | Self::Substring(..) => false,
        }
    }
}

/// RFC 4515 §3 asks for `*()\` and NUL; more does no harm, and less is easily forgotten.
fn escape(text: &mut String, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(text, "{}", char::from(*octet)),
        other => write!(text, "\\{other:02x}"),
    })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn take(&mut self, expected: char) -> Result<(), String> {
        if !self.rest().starts_with(expected) {
            return Err(format!("expected {expected:?} at: {:?}", self.rest()));
        }
        self.at += expected.len_utf8();
        Ok(())
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > limits::LDAP_TEMPLATE_DEPTH_MAX {
            return Err("its brackets are too deep".to_owned());
        }
        self.take('(')?;
        let filter = match self.rest().chars().next() {
            Some('&') => Filter::And(self.list(depth)?),
            Some('|') => Filter::Or(self.list(depth)?),
            Some('!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.take(')')?;
        Ok(filter)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, String> {
        self.at += 1;
        let mut all = Vec::new();
        while self.rest().starts_with('(') {
            all.push(self.filter(depth + 1)?);
        }
        if all.is_empty() {
            return Err("an empty & or |".to_owned());
        }
        Ok(all)
    }

    fn item(&mut self) -> Result<Filter, String> {
        let item = self.rest();
        let end = item.find([')', '(']).ok_or("a bracket is missing")?;
        let item = &item[..end];
        let (left, right) = item.split_once('=').ok_or_else(|| format!("no = in {item:?}"))?;
        let attribute = left.trim_end_matches(['~', '<', '>', ':']);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-;.:".contains(c);
        // At most one sign: `a><=b` is nothing.
        let signs = left.len() - attribute.len();
        if attribute.is_empty() || signs > 1 || !attribute.chars().all(is_plain) {
            return Err(format!("{left:?} is no attribute"));
        }
        self.at += end;
        match right {
            "*" if signs == 0 => return Ok(Filter::Present(attribute.to_owned())),
            _ if right.contains('*') => {}
            _ => return Ok(Filter::Compare(format!("{left}="), value(right)?)),
        }
        if signs > 0 || right.contains(NAME) {
            // Half a name must not find somebody.
            return Err(format!("no * may stand in the value of {item:?}"));
        }
        let parts: Result<Vec<Vec<u8>>, String> = right.split('*').map(octets).collect();
        let parts = parts?;
        let inner = &parts[1..parts.len() - 1];
        if inner.iter().any(Vec::is_empty) {
            return Err(format!("two * side by side in {item:?}"));
        }
        Ok(Filter::Substring(attribute.to_owned(), parts))
    }
}

fn value(text: &str) -> Result<Value, String> {
    let mut pieces = Vec::new();
    for (place, part) in text.split(NAME).enumerate() {
        if place > 0 {
            pieces.push(Piece::Name);
        }
        if !part.is_empty() {
            pieces.push(Piece::Octets(octets(part)?));
        }
    }
    Ok(Value(pieces))
}

/// `\xx` is an octet; everything else stands for itself.
fn octets(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'\\' => {
                let mut digit = || rest.next().and_then(|c| char::from(c).to_digit(16));
                let both = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                let octet = both.and_then(|octet| u8::try_from(octet).ok());
                octet.ok_or_else(|| format!("two digits must follow the \\ in {text:?}"))?
            }
            0 => return Err("a NUL".to_owned()),
            other => other,
        };
        octets.push(octet);
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &str = "(&(objectClass=inetOrgPerson)(|(mail={name})(uid={name})))";

    #[test]
    fn a_filter_is_read_once_and_written_for_each_name() {
        let filter = Filter::parse(USUAL).unwrap();
        assert_eq!(
            filter.of("marie.martin@hopital.test"),
            "(&(objectClass=inetOrgPerson)(|(mail=marie\\2emartin\\40hopital\\2etest)\
             (uid=marie\\2emartin\\40hopital\\2etest)))"
        );
        let rule = "(&(sAMAccountName={name})(!(userAccountControl:1.2.840.113556.1.4.803:=2))\
                    (proxyAddresses=smtp:{name})(cn=A*b*)(mail=*)(age>=18)(sn~=\\c3\\a9))";
        assert_eq!(
            Filter::parse(rule).unwrap().of("hugo"),
            "(&(sAMAccountName=hugo)(!(userAccountControl:1.2.840.113556.1.4.803:=2))\
             (proxyAddresses=smtp\\3ahugo)(cn=A*b*)(mail=*)(age>=18)(sn~=\\c3\\a9))"
        );
    }

    #[test]
    fn a_filter_that_would_surprise_is_refused() {
        for wrong in [
            "",
            "()",
            "(uid={name}",
            "(uid={name}))",
            "(uid={name})x",
            "(&)",
            "(uid=hugo)",
            "(uid=*)",
            "({name}=hugo)",
            "(uid={name}*)",
            "(uid=*{name}*)",
            "(cn=a**b)",
            "(&(uid={name})(cn>=a*))",
            "(uid=\\4{name})",
            "(uid=\\zz{name})",
            "(u id={name})",
            "(uid><={name})",
            "(!(&))",
        ] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
        let deep = format!("{}(uid={{name}}){}", "(!".repeat(500), ")".repeat(500));
        assert!(Filter::parse(&deep).is_err());
    }

    /// CVE-2026-27860.
    #[test]
    fn what_a_stranger_types_adds_no_bracket_and_no_asterisk() {
        let filter = Filter::parse(USUAL).unwrap();
        let shape =
            |text: &str| text.matches(['(', ')', '*', '&', '|', '!', '=']).collect::<String>();
        let usual = shape(&filter.of("hugo"));
        for name in
            ["*", "*)(uid=*", "hugo)(|(uid=*", "\\2a", "\0", "(", ")", "hugo,ou=x", "{name}", "é"]
        {
            assert_eq!(shape(&filter.of(name)), usual, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_out_as_it_went_in(name in any::<String>()) {
            let filter = Filter::parse("(uid={name})").unwrap();
            let text = filter.of(&name);
            let inner = text.strip_prefix("(uid=").and_then(|rest| rest.strip_suffix(')')).unwrap();
            prop_assert!(!inner.contains(['(', ')', '*', '\0']));
            prop_assert_eq!(octets(inner).unwrap(), name.as_bytes());
            // And the library that sends it reads the same.
            prop_assert!(ldap3::parse_filter(&text).is_ok());
        }
    }
}
