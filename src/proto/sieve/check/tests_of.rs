//! Tests, and how they compare.
use crate::proto::sieve::Fault;
use crate::proto::sieve::check::Checker;
use crate::proto::sieve::check::arguments::Arguments;
use crate::proto::sieve::check::fault;
use crate::proto::sieve::moment;
use crate::proto::sieve::program::AddressPart;
use crate::proto::sieve::program::BodyPart;
use crate::proto::sieve::program::Comparator;
use crate::proto::sieve::program::How;
use crate::proto::sieve::program::MatchKind;
use crate::proto::sieve::program::Relation;
use crate::proto::sieve::program::Test;
use crate::proto::sieve::program::Text;
use crate::proto::sieve::program::Which;
use crate::proto::sieve::program::Zone;
use crate::proto::sieve::syntax::Node;

/// RFC 5228 §5.1: fields that hold addresses.
const ADDRESS_FIELDS: [&str; 18] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-sender",
    "resent-reply-to",
    "return-path",
    "delivered-to",
    "x-original-to",
    "errors-to",
    "disposition-notification-to",
    "return-receipt-to",
];

/// What is said of how a test compares, before its keys are known.
struct Comparing {
    comparator: Comparator,
    kind: MatchKind,
}

impl Checker {
    pub(super) fn test(&mut self, node: &Node) -> Result<Test, Fault> {
        let takes_tests = matches!(node.name.as_str(), "not" | "allof" | "anyof");
        if !takes_tests && !node.tests.is_empty() {
            return Err(fault(node.line, format!("{} takes no test", node.name)));
        }
        let mut arguments = Arguments::new(self, node);
        let test = match node.name.as_str() {
            "true" => Test::Fixed(true),
            "false" => Test::Fixed(false),
            "not" => match node.tests.as_slice() {
                [test] => Test::Not(Box::new(self.test(test)?)),
                _ => return Err(fault(node.line, "not takes one test")),
            },
            "allof" => Test::All(self.tests(node)?),
            "anyof" => Test::Any(self.tests(node)?),
            "size" => {
                let (over, under) = (arguments.tag("over"), arguments.tag("under"));
                if over == under {
                    return Err(fault(node.line, "size takes :over or :under"));
                }
                Test::Size { over, limit: arguments.number("the size")? }
            }
            "exists" => Test::Exists(self.field_names(&mut arguments)?),
            "header" => {
                let comparing = self.comparing(&mut arguments)?;
                let which = self.which(&mut arguments)?;
                let names = self.field_names(&mut arguments)?;
                Test::Header { names, which, how: comparing.with_keys(&mut arguments)? }
            }
            "address" => self.address_test(&mut arguments)?,
            "envelope" => self.envelope_test(&mut arguments)?,
            "body" => self.body_test(&mut arguments)?,
            "string" => {
                self.needs("variables", node, "the test string")?;
                let comparing = self.comparing(&mut arguments)?;
                let sources = arguments.texts("the strings")?;
                Test::Strings { sources, how: comparing.with_keys(&mut arguments)? }
            }
            "hasflag" => self.hasflag_test(&mut arguments)?,
            "date" => {
                self.needs("date", node, "the test date")?;
                let comparing = self.comparing(&mut arguments)?;
                let which = self.which(&mut arguments)?;
                let original = arguments.tag("originalzone");
                let zone = match (arguments.tagged_text("zone")?, original) {
                    (Some(_), true) => {
                        return Err(fault(node.line, "date takes :zone or :originalzone"));
                    }
                    (Some(zone), false) => self.zone(node, zone)?,
                    (None, true) => Zone::Original,
                    (None, false) => Zone::Local,
                };
                let header = arguments.text("the field")?;
                let part = self.date_part(&mut arguments)?;
                let how = comparing.with_keys(&mut arguments)?;
                Test::Date { header, which, zone, part, how }
            }
            "currentdate" => {
                self.needs("date", node, "the test currentdate")?;
                let comparing = self.comparing(&mut arguments)?;
                let zone = match arguments.tagged_text("zone")? {
                    Some(zone) => self.zone(node, zone)?,
                    None => Zone::Local,
                };
                let part = self.date_part(&mut arguments)?;
                Test::CurrentDate { zone, part, how: comparing.with_keys(&mut arguments)? }
            }
            "mailboxexists" => {
                self.needs("mailbox", node, "the test mailboxexists")?;
                Test::FolderExists(arguments.texts("the folders")?)
            }
            "specialuse_exists" => {
                self.needs("special-use", node, "the test specialuse_exists")?;
                let folder = match arguments.positions() {
                    2 => Some(arguments.text("the folder")?),
                    _ => None,
                };
                Test::SpecialUseExists { folder, uses: arguments.texts("the uses")? }
            }
            name => return Err(fault(node.line, format!("there is no test {name}"))),
        };
        arguments.end()?;
        Ok(test)
    }

    fn tests(&mut self, node: &Node) -> Result<Vec<Test>, Fault> {
        if node.tests.is_empty() {
            return Err(fault(node.line, format!("{} takes tests in brackets", node.name)));
        }
        node.tests.iter().map(|test| self.test(test)).collect()
    }

    fn address_test(&self, arguments: &mut Arguments<'_>) -> Result<Test, Fault> {
        let node = arguments.node();
        let comparing = self.comparing(arguments)?;
        let which = self.which(arguments)?;
        let part = address_part(arguments)?;
        let names = self.field_names(arguments)?;
        let is_known = |name: &Text| {
            (self.declares("variables") && name.contains("${"))
                || ADDRESS_FIELDS.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if let Some(other) = names.iter().find(|name| !is_known(name)) {
            let why = format!("the field {other:?} holds no addresses; use header");
            return Err(fault(node.line, why));
        }
        Ok(Test::Address { names, part, which, how: comparing.with_keys(arguments)? })
    }

    fn envelope_test(&self, arguments: &mut Arguments<'_>) -> Result<Test, Fault> {
        let node = arguments.node();
        self.needs("envelope", node, "the test envelope")?;
        let comparing = self.comparing(arguments)?;
        let part = address_part(arguments)?;
        let fields = arguments.texts("the envelope's parts")?;
        let is_known = |name: &Text| {
            (self.declares("variables") && name.contains("${"))
                || ["from", "to"].iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if let Some(other) = fields.iter().find(|name| !is_known(name)) {
            return Err(fault(node.line, format!("an envelope has from and to, no {other:?}")));
        }
        Ok(Test::Envelope { fields, part, how: comparing.with_keys(arguments)? })
    }

    fn body_test(&mut self, arguments: &mut Arguments<'_>) -> Result<Test, Fault> {
        let node = arguments.node();
        self.needs("body", node, "the test body")?;
        self.reads_bodies = true;
        let comparing = self.comparing(arguments)?;
        let raw = arguments.tag("raw");
        let text = arguments.tag("text");
        let content = arguments.tagged_texts("content")?;
        if usize::from(raw) + usize::from(text) + usize::from(content.is_some()) > 1 {
            return Err(fault(node.line, "body takes one of :raw, :content and :text"));
        }
        let of = match content {
            Some(kinds) => BodyPart::Content(kinds),
            None if raw => BodyPart::Raw,
            None => BodyPart::Text,
        };
        Ok(Test::Body { of, how: comparing.with_keys(arguments)? })
    }

    fn hasflag_test(&self, arguments: &mut Arguments<'_>) -> Result<Test, Fault> {
        let node = arguments.node();
        self.needs("imap4flags", node, "the test hasflag")?;
        let comparing = self.comparing(arguments)?;
        let variables = match arguments.positions() {
            2 => {
                let names = arguments.texts("the variables")?;
                let names = names.into_iter().map(|name| self.flag_variable(node, name));
                Some(names.collect::<Result<Vec<String>, Fault>>()?)
            }
            _ => None,
        };
        Ok(Test::HasFlag { variables, how: comparing.with_keys(arguments)? })
    }

    /// RFC 5228 §2.4.2.2: what could be no field is a fault.
    fn field_names(&self, arguments: &mut Arguments<'_>) -> Result<Vec<Text>, Fault> {
        let node = arguments.node();
        let names = arguments.texts("the fields")?;
        let is_name = |name: &Text| {
            (self.declares("variables") && name.contains("${"))
                || (!name.is_empty() && name.bytes().all(|o| matches!(o, 33..=57 | 59..=126)))
        };
        match names.iter().find(|name| !is_name(name)) {
            Some(other) => Err(fault(node.line, format!("{other:?} is no name of a field"))),
            None => Ok(names),
        }
    }

    fn which(&self, arguments: &mut Arguments<'_>) -> Result<Which, Fault> {
        let node = arguments.node();
        let (index, last) = (arguments.tagged_number("index")?, arguments.tag("last"));
        if index.is_some() || last {
            self.needs("index", node, ":index")?;
        }
        match index {
            None if last => Err(fault(node.line, ":last needs :index")),
            Some(0) => Err(fault(node.line, ":index counts from 1")),
            index => Ok(Which { index, last }),
        }
    }

    fn zone(&self, node: &Node, zone: Text) -> Result<Zone, Fault> {
        let is_made = self.declares("variables") && zone.contains("${");
        if is_made || moment::zone_minutes(&zone).is_some() {
            return Ok(Zone::Named(zone));
        }
        Err(fault(node.line, format!("{zone:?} is no zone like \"+0100\"")))
    }

    fn date_part(&self, arguments: &mut Arguments<'_>) -> Result<Text, Fault> {
        let node = arguments.node();
        let part = arguments.text("the part of the date")?;
        let is_made = self.declares("variables") && part.contains("${");
        if is_made || moment::is_part(&part) {
            return Ok(part);
        }
        Err(fault(node.line, format!("{part:?} is no part of a date")))
    }

    /// RFC 5228 §2.7, RFC 5231 §4.
    fn comparing(&self, arguments: &mut Arguments<'_>) -> Result<Comparing, Fault> {
        let node = arguments.node();
        let comparator = match arguments.tagged_text("comparator")?.as_deref() {
            None | Some("i;ascii-casemap") => Comparator::AsciiCasemap,
            Some("i;octet") => Comparator::Octet,
            Some("i;ascii-numeric") => {
                let name = "comparator-i;ascii-numeric";
                self.needs(name, node, "this comparator")?;
                Comparator::AsciiNumeric
            }
            Some(other) => {
                return Err(fault(node.line, format!("the comparator {other:?} is not known")));
            }
        };
        let mut kinds = Vec::new();
        for (tag, kind) in [
            ("is", MatchKind::Is),
            ("contains", MatchKind::Contains),
            ("matches", MatchKind::Matches),
        ] {
            kinds.extend(arguments.tag(tag).then_some(kind));
        }
        for (tag, kind) in [
            ("value", MatchKind::Value as fn(Relation) -> MatchKind),
            ("count", MatchKind::Count as fn(Relation) -> MatchKind),
        ] {
            if let Some(relation) = arguments.tagged_text(tag)? {
                self.needs("relational", node, &format!(":{tag}"))?;
                let relation = relation_of(&relation)
                    .ok_or_else(|| fault(node.line, format!("{relation:?} is no relation")))?;
                kinds.push(kind(relation));
            }
        }
        let kind = match kinds.as_slice() {
            [] => MatchKind::Is,
            [kind] => *kind,
            _ => return Err(fault(node.line, "a test has one match type")),
        };
        let is_substring = matches!(kind, MatchKind::Contains | MatchKind::Matches);
        if is_substring && comparator == Comparator::AsciiNumeric {
            // RFC 4790 §9.1.1
            return Err(fault(node.line, "i;ascii-numeric knows no parts of strings"));
        }
        Ok(Comparing { comparator, kind })
    }
}

impl Comparing {
    fn with_keys(self, arguments: &mut Arguments<'_>) -> Result<How, Fault> {
        let Self { comparator, kind } = self;
        Ok(How { keys: arguments.texts("what to compare with")?, comparator, kind })
    }
}

fn relation_of(name: &str) -> Option<Relation> {
    Some(match name.to_ascii_lowercase().as_str() {
        "gt" => Relation::Gt,
        "ge" => Relation::Ge,
        "lt" => Relation::Lt,
        "le" => Relation::Le,
        "eq" => Relation::Eq,
        "ne" => Relation::Ne,
        _ => return None,
    })
}

fn address_part(arguments: &mut Arguments<'_>) -> Result<AddressPart, Fault> {
    let node = arguments.node();
    let mut parts = Vec::new();
    for (tag, part) in [
        ("all", AddressPart::All),
        ("localpart", AddressPart::LocalPart),
        ("domain", AddressPart::Domain),
    ] {
        parts.extend(arguments.tag(tag).then_some(part));
    }
    match parts.as_slice() {
        [] => Ok(AddressPart::All),
        [part] => Ok(*part),
        _ => Err(fault(node.line, "a test looks at one part of an address")),
    }
}
