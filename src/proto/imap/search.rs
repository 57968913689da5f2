//! What SEARCH may ask (RFC 3501 §6.4.4).
use crate::domain::limits;
use crate::domain::time::Day;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::date;
use crate::proto::imap::sequence::SequenceSet;
use crate::proto::imap::write;

/// A search key; a tree no deeper than `limits::IMAP_DEPTH_MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// All of them, as in a list of keys; `ALL` when empty.
    And(Vec<SearchKey>),
    /// `OR`
    Or(Box<(SearchKey, SearchKey)>),
    /// `NOT`
    Not(Box<SearchKey>),
    /// A set of sequence numbers.
    Numbers(SequenceSet),
    /// `UID`
    Uids(SequenceSet),
    /// `ANSWERED` and the like, which are set; or `UNANSWERED`, which are not.
    Flag(SystemFlag, bool),
    /// `KEYWORD` or `UNKEYWORD`
    Keyword(String, bool),
    /// `RECENT`, `NEW`: never true here. `OLD` is `Recent(false)`.
    Recent(bool),
    /// `FROM`, `TO`, `CC`, `BCC`: in the envelope's addresses.
    Addresses(AddressField, Vec<u8>),
    /// `SUBJECT`
    Subject(Vec<u8>),
    /// `HEADER name text`; an empty text asks whether the field is there.
    Header(Vec<u8>, Vec<u8>),
    /// `BODY`
    Body(Vec<u8>),
    /// `TEXT`
    Text(Vec<u8>),
    /// `BEFORE`, `ON`, `SINCE`: internal date.
    Internal(When, Day),
    /// `SENTBEFORE`, `SENTON`, `SENTSINCE`: Date field.
    Sent(When, Day),
    /// `LARGER`
    Larger(u32),
    /// `SMALLER`
    Smaller(u32),
    /// `MODSEQ` (RFC 7162 §3.1.5); which entry is asked for makes no difference here.
    ModSeq(u64),
    /// `OLDER`: seconds (RFC 5032 §3)
    Older(u32),
    /// `YOUNGER`: seconds (RFC 5032 §3)
    Younger(u32),
    /// `SAVEDBEFORE`, `SAVEDON`, `SAVEDSINCE` (RFC 8514 §4.3)
    Saved(When, Day),
    /// `SAVEDATESUPPORTED` (RFC 8514 §4.3): always true here.
    SaveDateSupported,
    /// `EMAILID` (RFC 8474 §5.3)
    EmailId(String),
    /// `THREADID` (RFC 8474 §5.3)
    ThreadId(String),
}

/// Marks that have a search key of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemFlag {
    /// `\Answered`
    Answered,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
    /// `\Flagged`
    Flagged,
    /// `\Seen`
    Seen,
}

/// Header fields with addresses that have a search key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressField {
    /// From
    From,
    /// To
    To,
    /// Cc
    Cc,
    /// Bcc
    Bcc,
}

/// How a day is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Earlier than the day.
    Before,
    /// On the day.
    On,
    /// On the day or later.
    Since,
}

impl SearchKey {
    /// Parses the keys of a SEARCH up to the command's end.
    pub fn parse_all(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        let mut keys = vec![parse(cursor, 0)?];
        while cursor.eat(b' ') {
            keys.push(parse(cursor, 0)?);
        }
        Ok(one_or_all(keys))
    }

    /// Writes the key as a client would.
    pub fn print(&self, out: &mut Vec<u8>) {
        let word = |out: &mut Vec<u8>, word: &str| out.extend_from_slice(word.as_bytes());
        let text = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
            write::text(out, format_args!("{name} "));
            write_argument(out, value);
        };
        match self {
            Self::And(keys) if keys.is_empty() => word(out, "ALL"),
            Self::And(keys) => {
                for (index, key) in keys.iter().enumerate() {
                    word(out, if index == 0 { "(" } else { " " });
                    key.print(out);
                }
                word(out, ")");
            }
            Self::Or(keys) => {
                word(out, "OR ");
                keys.0.print(out);
                word(out, " ");
                keys.1.print(out);
            }
            Self::Not(key) => {
                word(out, "NOT ");
                key.print(out);
            }
            Self::Numbers(set) => write::text(out, format_args!("{set}")),
            Self::Uids(set) => write::text(out, format_args!("UID {set}")),
            Self::Flag(flag, is_set) => {
                let name = match flag {
                    SystemFlag::Answered => "ANSWERED",
                    SystemFlag::Deleted => "DELETED",
                    SystemFlag::Draft => "DRAFT",
                    SystemFlag::Flagged => "FLAGGED",
                    SystemFlag::Seen => "SEEN",
                };
                word(out, if *is_set { "" } else { "UN" });
                word(out, name);
            }
            Self::Keyword(keyword, is_set) => {
                let un = if *is_set { "" } else { "UN" };
                write::text(out, format_args!("{un}KEYWORD {keyword}"));
            }
            Self::Recent(is_recent) => word(out, if *is_recent { "RECENT" } else { "OLD" }),
            Self::Addresses(field, value) => {
                let name = match field {
                    AddressField::From => "FROM",
                    AddressField::To => "TO",
                    AddressField::Cc => "CC",
                    AddressField::Bcc => "BCC",
                };
                text(out, name, value);
            }
            Self::Subject(value) => text(out, "SUBJECT", value),
            Self::Header(name, value) => {
                text(out, "HEADER", name);
                word(out, " ");
                write_argument(out, value);
            }
            Self::Body(value) => text(out, "BODY", value),
            Self::Text(value) => text(out, "TEXT", value),
            Self::Internal(when, day) => print_day(out, "", *when, *day),
            Self::Sent(when, day) => print_day(out, "SENT", *when, *day),
            Self::Larger(octets) => write::text(out, format_args!("LARGER {octets}")),
            Self::Smaller(octets) => write::text(out, format_args!("SMALLER {octets}")),
            Self::ModSeq(_)
            | Self::Older(_)
            | Self::Younger(_)
            | Self::Saved(..)
            | Self::SaveDateSupported
            | Self::EmailId(_)
            | Self::ThreadId(_) => {}
        }
    }
}

fn parse(cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Bad> {
    // Otherwise `NOT NOT NOT …` would be a way through our stack.
    if depth >= limits::IMAP_DEPTH_MAX {
        return Err(Bad("search keys are nested too deep"));
    }
    match cursor.peek() {
        Some(b'(') => {
            let keys = cursor.list(false, |cursor| parse(cursor, depth + 1))?;
            return Ok(one_or_all(keys));
        }
        Some(b'*' | b'0'..=b'9') => return SequenceSet::parse(cursor).map(SearchKey::Numbers),
        _ => {}
    }
    let flag = |flag, is_set| Ok(SearchKey::Flag(flag, is_set));
    let name = cursor.atom().map_err(|_| Bad("a search key was expected"))?.to_ascii_uppercase();
    match name.as_str() {
        "ALL" => Ok(SearchKey::And(Vec::new())),
        "ANSWERED" => flag(SystemFlag::Answered, true),
        "UNANSWERED" => flag(SystemFlag::Answered, false),
        "DELETED" => flag(SystemFlag::Deleted, true),
        "UNDELETED" => flag(SystemFlag::Deleted, false),
        "DRAFT" => flag(SystemFlag::Draft, true),
        "UNDRAFT" => flag(SystemFlag::Draft, false),
        "FLAGGED" => flag(SystemFlag::Flagged, true),
        "UNFLAGGED" => flag(SystemFlag::Flagged, false),
        "SEEN" => flag(SystemFlag::Seen, true),
        "UNSEEN" => flag(SystemFlag::Seen, false),
        "RECENT" | "NEW" => Ok(SearchKey::Recent(true)),
        "OLD" => Ok(SearchKey::Recent(false)),
        _ => {
            cursor.space()?;
            with_argument(cursor, &name, depth)
        }
    }
}

fn with_argument(cursor: &mut Cursor<'_>, name: &str, depth: usize) -> Result<SearchKey, Bad> {
    let addresses = |cursor: &mut Cursor<'_>, field| {
        cursor.astring().map(|value| SearchKey::Addresses(field, value))
    };
    let internal = |cursor: &mut Cursor<'_>, when| {
        date::date(cursor).map(|day| SearchKey::Internal(when, day))
    };
    let sent =
        |cursor: &mut Cursor<'_>, when| date::date(cursor).map(|day| SearchKey::Sent(when, day));
    let keyword = |cursor: &mut Cursor<'_>, is_set| {
        cursor.atom().map(|keyword| SearchKey::Keyword(keyword.to_owned(), is_set))
    };
    match name {
        "NOT" => Ok(SearchKey::Not(Box::new(parse(cursor, depth + 1)?))),
        "OR" => {
            let first = parse(cursor, depth + 1)?;
            cursor.space()?;
            Ok(SearchKey::Or(Box::new((first, parse(cursor, depth + 1)?))))
        }
        "UID" => SequenceSet::parse(cursor).map(SearchKey::Uids),
        "KEYWORD" => keyword(cursor, true),
        "UNKEYWORD" => keyword(cursor, false),
        "FROM" => addresses(cursor, AddressField::From),
        "TO" => addresses(cursor, AddressField::To),
        "CC" => addresses(cursor, AddressField::Cc),
        "BCC" => addresses(cursor, AddressField::Bcc),
        "SUBJECT" => cursor.astring().map(SearchKey::Subject),
        "BODY" => cursor.astring().map(SearchKey::Body),
        "TEXT" => cursor.astring().map(SearchKey::Text),
        "HEADER" => {
            let field = cursor.astring()?;
            cursor.space()?;
            Ok(SearchKey::Header(field, cursor.astring()?))
        }
        "BEFORE" => internal(cursor, When::Before),
        "ON" => internal(cursor, When::On),
        "SINCE" => internal(cursor, When::Since),
        "SENTBEFORE" => sent(cursor, When::Before),
        "SENTON" => sent(cursor, When::On),
        "SENTSINCE" => sent(cursor, When::Since),
        "LARGER" => cursor.number().map(SearchKey::Larger),
        "SMALLER" => cursor.number().map(SearchKey::Smaller),
        _ => Err(Bad("unknown search key")),
    }
}

fn one_or_all(mut keys: Vec<SearchKey>) -> SearchKey {
    if keys.len() == 1 { keys.remove(0) } else { SearchKey::And(keys) }
}

fn print_day(out: &mut Vec<u8>, prefix: &str, when: When, day: Day) {
    let name = match when {
        When::Before => "BEFORE",
        When::On => "ON",
        When::Since => "SINCE",
    };
    write::text(out, format_args!("{prefix}{name} {}", date::print_date(day)));
}

/// An argument as a client with LITERAL+ writes it.
pub(super) fn write_argument(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|octet| matches!(octet, b' '..=b'~')) && value.len() <= 1_024 {
        write::string(out, value);
    } else {
        write::text(out, format_args!("{{{}+}}\r\n", value.len()));
        out.extend_from_slice(value);
    }
}
