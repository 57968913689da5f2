//! A checked script: nothing in it is unknown, misplaced or undeclared.
use crate::domain::address::Address;

#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) commands: Vec<Command>,
    /// `variables` is required: texts are expanded.
    pub(super) has_variables: bool,
    /// `imap4flags` is required: keep and fileinto take the marks that were set.
    pub(super) has_flags: bool,
    pub(super) reads_bodies: bool,
}

impl Program {
    /// The addresses that stand behind redirect, wherever that is.
    pub(super) fn redirects(&self) -> Vec<&Address> {
        let mut found = Vec::new();
        let mut waiting: Vec<&Command> = self.commands.iter().collect();
        while let Some(command) = waiting.pop() {
            match command {
                Command::If(branches) => {
                    waiting.extend(branches.iter().flat_map(|(_, block)| block));
                }
                Command::Redirect { to: To::Address(address), .. } => found.push(address),
                _ => {}
            }
        }
        found
    }
}

/// A text as written; with `${…}` in it when the script has variables.
pub(super) type Text = String;

#[derive(Clone, Debug)]
pub(super) enum Command {
    /// The first branch whose test is true; the last may have none.
    If(Vec<(Option<Test>, Vec<Command>)>),
    Stop,
    Keep {
        flags: Option<Vec<Text>>,
    },
    Discard,
    FileInto(FileInto),
    Redirect {
        to: To,
        copy: bool,
    },
    Vacation(Box<VacationCommand>),
    Set {
        name: String,
        modifiers: Vec<Modifier>,
        value: Text,
    },
    Flags {
        change: FlagsChange,
        variable: Option<String>,
        flags: Vec<Text>,
    },
}

/// Where a redirect goes.
#[derive(Clone, Debug)]
pub(super) enum To {
    Address(Address),
    /// Made of variables.
    Text(Text),
}

#[derive(Clone, Debug)]
pub(super) struct FileInto {
    pub(super) folder: Text,
    pub(super) flags: Option<Vec<Text>>,
    pub(super) copy: bool,
    pub(super) create: bool,
    pub(super) special_use: Option<Text>,
}

#[derive(Clone, Debug)]
pub(super) struct VacationCommand {
    pub(super) seconds: Option<u64>,
    pub(super) subject: Option<Text>,
    pub(super) from: Option<Text>,
    pub(super) addresses: Vec<Text>,
    pub(super) mime: bool,
    pub(super) handle: Option<Text>,
    pub(super) reason: Text,
}

/// RFC 5229 §4.1, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Modifier {
    Lower,
    Upper,
    LowerFirst,
    UpperFirst,
    QuoteWildcard,
    Length,
}

impl Modifier {
    /// RFC 5229 §4.1: two of the same may not stand together.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Lower | Self::Upper => 40,
            Self::LowerFirst | Self::UpperFirst => 30,
            Self::QuoteWildcard => 20,
            Self::Length => 10,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagsChange {
    Set,
    Add,
    Remove,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Fixed(bool),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Size { over: bool, limit: u64 },
    Exists(Vec<Text>),
    Header { names: Vec<Text>, which: Which, how: How },
    Address { names: Vec<Text>, part: AddressPart, which: Which, how: How },
    Envelope { fields: Vec<Text>, part: AddressPart, how: How },
    Body { of: BodyPart, how: How },
    Strings { sources: Vec<Text>, how: How },
    HasFlag { variables: Option<Vec<String>>, how: How },
    Date { header: Text, which: Which, zone: Zone, part: Text, how: How },
    CurrentDate { zone: Zone, part: Text, how: How },
    FolderExists(Vec<Text>),
    SpecialUseExists { folder: Option<Text>, uses: Vec<Text> },
}

/// How values and keys are compared.
#[derive(Clone, Debug)]
pub(super) struct How {
    pub(super) keys: Vec<Text>,
    pub(super) comparator: Comparator,
    pub(super) kind: MatchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Octet,
    AsciiCasemap,
    AsciiNumeric,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchKind {
    Is,
    Contains,
    Matches,
    Value(Relation),
    Count(Relation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Gt,
    Ge,
    Lt,
    Le,
    Eq,
    Ne,
}

/// RFC 5260 §6: one of several fields of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Which {
    /// From 1; `None`: all.
    pub(super) index: Option<u64>,
    /// Counted from the end.
    pub(super) last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPart {
    All,
    LocalPart,
    Domain,
}

#[derive(Clone, Debug)]
pub(super) enum BodyPart {
    Raw,
    Text,
    Content(Vec<Text>),
}

#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// Of the server: Paris.
    Local,
    Original,
    /// `+hhmm`
    Named(Text),
}
