//! Search filters (RFC 4511 §4.5.1.7): read with bounds, asked of entries, and turned into the
//! words by which an index finds candidates.
use crate::domain::folding::folded;
use crate::domain::folding::words;
use crate::domain::limits;
use crate::proto::ldap::ber::BadBer;
use crate::proto::ldap::ber::OCTETS;
use crate::proto::ldap::ber::Reader;
use crate::proto::ldap::ber::SEQUENCE;
use crate::proto::ldap::entry::Folded;
use crate::proto::ldap::schema;

/// Different texts that one search looks up; a client that searches two words in nine attributes
/// needs one.
const ALTERNATIVES_MAX: usize = 16;

/// What *ambiguous name resolution* and a match without an attribute look at.
const NAMES: [&str; 5] = ["cn", "sn", "givenName", "displayName", "mail"];

/// A filter. Attribute names are those of the schema, values are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All hold; true when there are none (RFC 4526 §2).
    And(Vec<Filter>),
    /// One holds; false when there are none.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// There is such an attribute.
    Present(&'static str),
    /// One value is this.
    Equal(&'static str, String),
    /// One value has these parts, in this order.
    Substrings {
        /// Of which attribute.
        name: &'static str,
        /// It begins so.
        initial: Option<String>,
        /// These follow.
        any: Vec<String>,
        /// It ends so.
        last: Option<String>,
    },
    /// One value is not before this.
    AtLeast(&'static str, String),
    /// One value is not after this.
    AtMost(&'static str, String),
    /// A name, or an address, begins so (`anr` of Active Directory, which Outlook knows).
    Named(String),
    /// About something that we do not know: neither true nor false.
    Undefined,
}

/// What an index must look up so that nothing is missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing can match.
    Nothing,
    /// Everything could: there is no word to look up.
    Everything,
    /// Whatever matches has all words of one of these texts.
    Texts(Vec<String>),
}

impl Filter {
    /// Reads a filter.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, BadBer> {
        let mut terms = 0;
        read(reader, 0, &mut terms)
    }

    /// Whether it holds for an entry; `None` is *Undefined*.
    pub fn holds(&self, entry: &Folded<'_>) -> Option<bool> {
        let any = |name: &str, test: &dyn Fn(&str) -> bool| {
            Some(entry.values(name).iter().any(|value| test(value)))
        };
        match self {
            Self::And(all) => all
                .iter()
                .try_fold(Some(true), |so_far, filter| match (so_far, filter.holds(entry)) {
                    (_, Some(false)) => Err(Some(false)),
                    (Some(true), Some(true)) => Ok(Some(true)),
                    _ => Ok(None),
                })
                .unwrap_or_else(|decided| decided),
            Self::Or(all) => all
                .iter()
                .try_fold(Some(false), |so_far, filter| match (so_far, filter.holds(entry)) {
                    (_, Some(true)) => Err(Some(true)),
                    (Some(false), Some(false)) => Ok(Some(false)),
                    _ => Ok(None),
                })
                .unwrap_or_else(|decided| decided),
            Self::Not(filter) => filter.holds(entry).map(|holds| !holds),
            Self::Present(name) => Some(entry.has(name)),
            Self::Equal(name, wanted) => any(name, &|value| value == wanted),
            Self::AtLeast(name, wanted) => any(name, &|value| value >= wanted.as_str()),
            Self::AtMost(name, wanted) => any(name, &|value| value <= wanted.as_str()),
            Self::Substrings { name, initial, any: between, last } => {
                any(name, &|value| has_parts(value, initial.as_deref(), between, last.as_deref()))
            }
            Self::Named(wanted) => Some(NAMES.iter().any(|name| {
                entry.values(name).iter().any(|value| value.starts_with(wanted.as_str()))
            })),
            Self::Undefined => None,
        }
    }

    /// What an index must look up. Parts of words are looked up as beginnings of words: that is
    /// what the index knows.
    pub fn needs(&self) -> Needs {
        match self {
            Self::And(all) => all.iter().map(Self::needs).fold(Needs::Everything, Needs::and),
            Self::Or(all) => {
                // Thunderbird asks for each word in `description` as well. Our own remarks stand
                // there, and no index has them: beside names they are nobody's question.
                let by_index = all.iter().filter(|one| !one.is_about_remarks());
                match by_index.clone().next() {
                    None if !all.is_empty() => Needs::Everything,
                    _ => by_index.map(Self::needs).fold(Needs::Nothing, Needs::or),
                }
            }
            Self::Not(_) | Self::Present(_) | Self::AtLeast(..) | Self::AtMost(..) => {
                Needs::Everything
            }
            Self::Equal("objectClass", class) => {
                let known = schema::PERSON_CLASSES.iter().any(|name| folded(name) == *class);
                if known { Needs::Everything } else { Needs::Nothing }
            }
            Self::Equal(name, value) if is_indexed(name) => Needs::text(&[value]),
            Self::Substrings { name, initial, any, last } if is_indexed(name) => {
                let parts: Vec<&String> = initial.iter().chain(any).chain(last).collect();
                Needs::text(&parts)
            }
            Self::Equal(..) | Self::Substrings { .. } => Needs::Everything,
            Self::Named(value) => Needs::text(&[value]),
            Self::Undefined => Needs::Nothing,
        }
    }
}

impl Filter {
    /// True when all of it is about the remarks of entries.
    fn is_about_remarks(&self) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => {
                !all.is_empty() && all.iter().all(Self::is_about_remarks)
            }
            Self::Equal(name, _) | Self::Substrings { name, .. } => *name == "description",
            _ => false,
        }
    }
}

/// What the replica's index holds words of.
fn is_indexed(name: &str) -> bool {
    matches!(
        name,
        "cn" | "sn"
            | "givenName"
            | "displayName"
            | "mail"
            | "uid"
            | "o"
            | "ou"
            | "title"
            | "businessCategory"
            | "postalCode"
            | "l"
            | "employeeNumber"
    )
}

impl Needs {
    fn text(parts: &[&String]) -> Self {
        let words: Vec<String> = parts.iter().flat_map(|part| words(part)).collect();
        if words.is_empty() { Self::Everything } else { Self::Texts(vec![words.join(" ")]) }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Everything, needs) | (needs, Self::Everything) => needs,
            (Self::Texts(one), Self::Texts(other)) => {
                if one.len() * other.len() > ALTERNATIVES_MAX {
                    return Self::Texts(if one.len() <= other.len() { one } else { other });
                }
                let mut texts = Vec::new();
                for (left, right) in one.iter().flat_map(|l| other.iter().map(move |r| (l, r))) {
                    let text = if left == right { left.clone() } else { format!("{left} {right}") };
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                Self::Texts(texts)
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, needs) | (needs, Self::Nothing) => needs,
            (Self::Texts(mut texts), Self::Texts(others)) => {
                for text in others {
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                if texts.len() > ALTERNATIVES_MAX { Self::Everything } else { Self::Texts(texts) }
            }
        }
    }
}

/// RFC 4517 §3.3.30, on folded texts.
fn has_parts(value: &str, initial: Option<&str>, any: &[String], last: Option<&str>) -> bool {
    let Some(mut rest) = value.strip_prefix(initial.unwrap_or("")) else { return false };
    if let Some(last) = last {
        match rest.strip_suffix(last) {
            Some(before) => rest = before,
            None => return false,
        }
    }
    for part in any {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn read(reader: &mut Reader<'_>, depth: usize, terms: &mut usize) -> Result<Filter, BadBer> {
    *terms += 1;
    if *terms > limits::LDAP_FILTER_TERMS_MAX {
        return Err(BadBer("the filter has too many terms"));
    }
    if depth > limits::LDAP_FILTER_DEPTH_MAX {
        return Err(BadBer("the filter is nested too deeply"));
    }
    let (tag, content) = reader.element()?;
    let mut inside = Reader::new(content);
    let filter = match tag {
        0xa0 | 0xa1 => {
            let mut all = Vec::new();
            while !inside.is_empty() {
                all.push(read(&mut inside, depth + 1, terms)?);
            }
            if tag == 0xa0 { Filter::And(all) } else { Filter::Or(all) }
        }
        0xa2 => Filter::Not(Box::new(read(&mut inside, depth + 1, terms)?)),
        // approxMatch is equality here: folding is all the approximation there is.
        0xa3 | 0xa8 => assertion(&mut inside, Filter::Equal)?,
        0xa5 => assertion(&mut inside, Filter::AtLeast)?,
        0xa6 => assertion(&mut inside, Filter::AtMost)?,
        0xa4 => return substrings(&mut inside, terms),
        0x87 => {
            let name = std::str::from_utf8(content).ok().and_then(schema::named);
            return Ok(name.map_or(Filter::Undefined, |name| Filter::Present(name.name)));
        }
        0xa9 => extensible(&mut inside)?,
        _ => return Err(BadBer("a filter of no kind that there is")),
    };
    inside.end()?;
    Ok(filter)
}

/// A value as it is compared; `None` when it is not UTF-8, which no value here is.
fn value(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).ok().map(folded)
}

fn assertion(
    inside: &mut Reader<'_>,
    make: impl FnOnce(&'static str, String) -> Filter,
) -> Result<Filter, BadBer> {
    let description = inside.text()?;
    let wanted = value(inside.expect(OCTETS)?);
    let Some(wanted) = wanted else { return Ok(Filter::Undefined) };
    if description.eq_ignore_ascii_case("anr") {
        return Ok(Filter::Named(wanted));
    }
    let attribute = schema::named(description);
    Ok(attribute.map_or(Filter::Undefined, |attribute| make(attribute.name, wanted)))
}

fn substrings(inside: &mut Reader<'_>, terms: &mut usize) -> Result<Filter, BadBer> {
    let attribute = schema::named(inside.text()?);
    let mut parts = Reader::new(inside.expect(SEQUENCE)?);
    inside.end()?;
    if parts.is_empty() {
        return Err(BadBer("a substring filter without substrings"));
    }
    let (mut initial, mut any, mut last) = (None, Vec::new(), None);
    let mut is_text = true;
    let mut first = true;
    while !parts.is_empty() {
        *terms += 1;
        if *terms > limits::LDAP_FILTER_TERMS_MAX {
            return Err(BadBer("the filter has too many terms"));
        }
        let (tag, content) = parts.element()?;
        let part = value(content);
        is_text &= part.is_some();
        let part = part.unwrap_or_default();
        match tag {
            0x80 if first => initial = Some(part),
            0x81 if last.is_none() => any.push(part),
            0x82 if last.is_none() => last = Some(part),
            _ => return Err(BadBer("substrings in a wrong order")),
        }
        first = false;
    }
    match attribute {
        Some(attribute) if is_text => {
            Ok(Filter::Substrings { name: attribute.name, initial, any, last })
        }
        _ => Ok(Filter::Undefined),
    }
}

/// `(cn:=x)` and `(cn:caseIgnoreMatch:=x)` are equality; other rules are not ours.
fn extensible(inside: &mut Reader<'_>) -> Result<Filter, BadBer> {
    let rule = inside.optional(0x81)?.map(value);
    let name = inside.optional(0x82)?.map(|octets| std::str::from_utf8(octets).ok());
    let wanted = value(inside.expect(0x83)?);
    let of_dn = inside.optional(0x84)?;
    let by_rule = match rule {
        None => true,
        Some(rule) => rule.is_some_and(|rule| rule == "caseignorematch" || rule == "2.5.13.2"),
    };
    let attribute = name.flatten().and_then(schema::named);
    Ok(match (attribute, wanted) {
        (Some(attribute), Some(wanted)) if by_rule && of_dn.is_none_or(|of| of == [0]) => {
            Filter::Equal(attribute.name, wanted)
        }
        _ => Filter::Undefined,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::ldap::ber::Writer;
    use crate::proto::ldap::entry::Entry;

    /// A filter as text (RFC 4515), for tests: what programs send is known in this form.
    pub(crate) fn written(text: &str) -> Vec<u8> {
        let mut writer = Writer::new();
        let rest = write(text, &mut writer);
        assert_eq!(rest, "", "{text}");
        writer.finish()
    }

    fn write<'t>(text: &'t str, writer: &mut Writer) -> &'t str {
        let inside = text.strip_prefix('(').unwrap_or_else(|| panic!("{text}"));
        let tag = match inside.as_bytes()[0] {
            b'&' => 0xa0,
            b'|' => 0xa1,
            b'!' => 0xa2,
            _ => return write_item(inside, writer),
        };
        let mut rest = &inside[1..];
        writer.nested(tag, |writer| {
            while !rest.starts_with(')') {
                rest = write(rest, writer);
            }
        });
        &rest[1..]
    }

    fn write_item<'t>(text: &'t str, writer: &mut Writer) -> &'t str {
        let (item, rest) = text.split_once(')').unwrap();
        let (name, value) = item.split_once('=').unwrap();
        let pair = |tag: u8, name: &str, writer: &mut Writer| {
            writer.nested(tag, |writer| {
                writer.octets(OCTETS, name.as_bytes()).octets(OCTETS, value.as_bytes());
            });
        };
        match (name.strip_suffix('>'), name.strip_suffix('<'), value) {
            (Some(name), _, _) => pair(0xa5, name, writer),
            (_, Some(name), _) => pair(0xa6, name, writer),
            (_, _, "*") => drop(writer.octets(0x87, name.as_bytes())),
            (_, _, value) if value.contains('*') => {
                let parts: Vec<&str> = value.split('*').collect();
                writer.nested(0xa4, |writer| {
                    writer.octets(OCTETS, name.as_bytes());
                    writer.nested(SEQUENCE, |writer| {
                        for (at, part) in parts.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
                            let tag = match at {
                                0 => 0x80,
                                at if at + 1 == parts.len() => 0x82,
                                _ => 0x81,
                            };
                            writer.octets(tag, part.as_bytes());
                        }
                    });
                });
            }
            _ => pair(0xa3, name, writer),
        }
        rest
    }

    fn filter(text: &str) -> Filter {
        Filter::read(&mut Reader::new(&written(text))).unwrap()
    }

    fn eloise() -> Entry {
        Entry::new("mail=eloise.lumier@medecin.fr,dc=fr".to_owned())
            .with("objectClass", schema::PERSON_CLASSES)
            .with("cn", ["Eloïse LUMIER", "LUMIER Eloïse"])
            .with("sn", ["LUMIER"])
            .with("givenName", ["Eloïse"])
            .with("mail", ["eloise.lumier@medecin.fr"])
            .with("postalCode", ["75990"])
    }

    /// What Thunderbird 140 sends for one word, from its preferences `autocompletequery.format`
    /// and `attrmap` (the conditions on lists have no attribute and are left out).
    const THUNDERBIRD: &str = "(|(cn=*WORD*)(givenName=*WORD*)(sn=*WORD*)(mozillaNickname=*WORD*)\
        (mail=*WORD*)(mozillaSecondEmail=*WORD*)(&(description=*WORD*)))";
    /// Its quick search.
    const THUNDERBIRD_QUICK: &str = "(|(cn=*WORD*)(givenName=*WORD*)(sn=*WORD*)\
        (mozillaNickname=*WORD*)(mail=*WORD*)(mozillaSecondEmail=*WORD*)(o=*WORD*)(ou=*WORD*)\
        (title=*WORD*)(mozillaWorkUrl=*WORD*)(mozillaHomeUrl=*WORD*))";
    /// Outlook's, old and new.
    const OUTLOOK_2003: &str =
        "(&(mail=*)(|(mail=WORD*)(|(cn=WORD*)(|(sn=WORD*)(givenName=WORD*)))))";
    const OUTLOOK_2016: &str =
        "(&(mail=*)(|(mail=WORD*)(cn=WORD*)(sn=WORD*)(givenName=WORD*)(displayName=WORD*)))";

    #[test]
    fn what_mail_programs_send_finds_whom_they_mean_and_by_an_index() {
        let entry = eloise();
        for program in [THUNDERBIRD, THUNDERBIRD_QUICK, OUTLOOK_2003, OUTLOOK_2016, "(anr=WORD)"] {
            for (word, found) in
                [("lumi", true), ("Élo", true), ("LUMIER e", true), ("martin", false)]
            {
                let filter = filter(&program.replace("WORD", word));
                assert_eq!(filter.holds(&entry.folded()) == Some(true), found, "{program} {word}");
            }
        }
        for program in [THUNDERBIRD, THUNDERBIRD_QUICK, OUTLOOK_2003, OUTLOOK_2016, "(anr=WORD)"] {
            let needs = filter(&program.replace("WORD", "lumi")).needs();
            assert_eq!(needs, Needs::Texts(vec!["lumi".to_owned()]), "{program}");
        }
    }

    #[test]
    fn a_filter_says_what_an_index_must_look_up() {
        let texts = |texts: &[&str]| Needs::Texts(texts.iter().map(|t| (*t).to_owned()).collect());
        for (text, needs) in [
            ("(sn=Lumiér)", texts(&["lumier"])),
            ("(mail=a.b@x.fr)", texts(&["a b x fr"])),
            ("(&(sn=a*)(givenName=b*)(objectClass=person))", texts(&["a b"])),
            ("(|(sn=a*)(givenName=b*))", texts(&["a", "b"])),
            ("(|(sn=a*)(objectClass=person))", Needs::Everything),
            ("(&(sn=a*)(!(l=paris)))", texts(&["a"])),
            ("(objectClass=*)", Needs::Everything),
            ("(|(description=*papier*))", Needs::Everything),
            ("(|(sn=a*)(&(description=*a*)))", texts(&["a"])),
            ("(objectClass=inetOrgPerson)", Needs::Everything),
            ("(objectClass=groupOfNames)", Needs::Nothing),
            ("(mozillaNickname=*x*)", Needs::Nothing),
            ("(sn=*.*)", Needs::Everything),
            ("(&(sn=a*)(objectClass=group))", Needs::Nothing),
        ] {
            assert_eq!(filter(text).needs(), needs, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_neither_true_nor_false() {
        let entry = eloise();
        for (text, holds) in [
            ("(mozillaNickname=x)", None),
            ("(!(mozillaNickname=x))", None),
            ("(|(mozillaNickname=x)(sn=lumier))", Some(true)),
            ("(&(mozillaNickname=x)(sn=lumier))", None),
            ("(&(mozillaNickname=x)(sn=martin))", Some(false)),
            ("(!(sn=martin))", Some(true)),
            ("(!(title=x))", Some(true)),
            ("(cn=l*)", Some(true)),
            ("(cn=*s*m*r)", Some(true)),
            ("(cn=*lumier*lumier*)", Some(false)),
            ("(sn=lum*ier)", Some(true)),
            ("(sn=lumie*ier)", Some(false)),
            ("(postalCode>=75000)", Some(true)),
            ("(postalCode<=75000)", Some(false)),
            ("(&)", Some(true)),
            ("(|)", Some(false)),
            ("(2.5.4.4=LUMIER)", Some(true)),
        ] {
            assert_eq!(filter(text).holds(&entry.folded()), holds, "{text}");
        }
    }

    #[test]
    fn depth_and_number_of_terms_are_bounded() {
        let deep = |levels: usize| format!("{}(sn=a){}", "(!".repeat(levels), ")".repeat(levels));
        let read = |text: &str| Filter::read(&mut Reader::new(&written(text)));
        assert!(read(&deep(limits::LDAP_FILTER_DEPTH_MAX)).is_ok());
        assert!(read(&deep(limits::LDAP_FILTER_DEPTH_MAX + 1)).is_err());
        let wide = |terms: usize| format!("(|{})", "(sn=a)".repeat(terms - 1));
        assert!(read(&wide(limits::LDAP_FILTER_TERMS_MAX)).is_ok());
        assert!(read(&wide(limits::LDAP_FILTER_TERMS_MAX + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(0_u8.., 0..80)) {
            let _ = Filter::read(&mut Reader::new(&octets));
        }

        #[test]
        fn no_changed_octet_makes_it_panic(at in 0_usize..200, octet in 0_u8..) {
            let mut octets = written(&THUNDERBIRD_QUICK.replace("WORD", "lumier"));
            let at = at % octets.len();
            octets[at] = octet;
            if let Ok(filter) = Filter::read(&mut Reader::new(&octets)) {
                let _ = (filter.needs(), filter.holds(&eloise().folded()));
            }
        }
    }
}
