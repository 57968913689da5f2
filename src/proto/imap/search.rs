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
            Self::ModSeq(modseq) => write::text(out, format_args!("MODSEQ {modseq}")),
            Self::Older(seconds) => write::text(out, format_args!("OLDER {seconds}")),
            Self::Younger(seconds) => write::text(out, format_args!("YOUNGER {seconds}")),
            Self::Saved(when, day) => print_day(out, "SAVED", *when, *day),
            Self::SaveDateSupported => word(out, "SAVEDATESUPPORTED"),
            Self::EmailId(id) => write::text(out, format_args!("EMAILID {id}")),
            Self::ThreadId(id) => write::text(out, format_args!("THREADID {id}")),
        }
    }
}

fn parse(cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Bad> {
    // Otherwise `NOT NOT NOT …` would be a way through our stack.
    if depth >= limits::IMAP_DEPTH_MAX {
        return Err(Bad::form("search keys are nested too deep"));
    }
    cursor.count_key()?;
    match cursor.peek() {
        Some(b'(') => {
            let keys = cursor.list(false, |cursor| parse(cursor, depth + 1))?;
            return Ok(one_or_all(keys));
        }
        Some(b'*' | b'$' | b'0'..=b'9') => {
            return SequenceSet::parse(cursor).map(SearchKey::Numbers);
        }
        _ => {}
    }
    let flag = |flag, is_set| Ok(SearchKey::Flag(flag, is_set));
    let name =
        cursor.atom().map_err(|_| Bad::form("a search key was expected"))?.to_ascii_uppercase();
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
        "SAVEDATESUPPORTED" => Ok(SearchKey::SaveDateSupported),
        _ => {
            if !NAMES_WITH_ARGUMENT.contains(&name.as_str()) {
                return Err(Bad::form("unknown search key"));
            }
            cursor.space().map_err(|_| Bad::form("a search key lacks its argument"))?;
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
    let saved =
        |cursor: &mut Cursor<'_>, when| date::date(cursor).map(|day| SearchKey::Saved(when, day));
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
        "SAVEDBEFORE" => saved(cursor, When::Before),
        "SAVEDON" => saved(cursor, When::On),
        "SAVEDSINCE" => saved(cursor, When::Since),
        "MODSEQ" => modseq(cursor).map(SearchKey::ModSeq),
        "OLDER" => cursor.nonzero().map(SearchKey::Older),
        "YOUNGER" => cursor.nonzero().map(SearchKey::Younger),
        "EMAILID" => object_id(cursor).map(SearchKey::EmailId),
        "THREADID" => object_id(cursor).map(SearchKey::ThreadId),
        "LARGER" => size(cursor).map(SearchKey::Larger),
        "SMALLER" => size(cursor).map(SearchKey::Smaller),
        _ => Err(Bad::form("unknown search key")),
    }
}

/// `[SP entry-name SP entry-type-req] SP mod-sequence-valzer` (RFC 7162 §7). Marks have one
/// mod-sequence for all, so which entry is meant makes no difference.
fn modseq(cursor: &mut Cursor<'_>) -> Result<u64, Bad> {
    if cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        return cursor.number64();
    }
    let entry = cursor.string()?.ok_or(Bad::form("a mod-sequence or an entry was expected"))?;
    // Nobody can set `\Recent`, so it has no mod-sequence.
    let entry = entry.to_ascii_lowercase();
    if !entry.starts_with(b"/flags/") || entry == b"/flags/\\recent" {
        return Err(Bad::form("an entry such as \"/flags/\\\\Seen\" was expected"));
    }
    cursor.space()?;
    if !["priv ", "shared ", "all "].iter().any(|kind| cursor.eat_word(kind)) {
        return Err(Bad::form("priv, shared or all was expected"));
    }
    cursor.number64()
}

/// `number64` (RFC 9051 §9). No message has 4 GB, so what is over it is as good as 4 GB.
fn size(cursor: &mut Cursor<'_>) -> Result<u32, Bad> {
    cursor.number64().map(|octets| u32::try_from(octets).unwrap_or(u32::MAX))
}

/// `objectid`: up to 255 characters (RFC 8474 §7).
fn object_id(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let is_id_char = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    // Some clients put it in quotes, as they do with texts.
    let id = cursor.astring()?;
    let id = String::from_utf8(id).ok().filter(|id| {
        !id.is_empty() && id.len() <= OBJECT_ID_OCTETS_MAX && id.bytes().all(is_id_char)
    });
    id.ok_or(Bad::form("an object id was expected"))
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

/// RFC 8474 §7
const OBJECT_ID_OCTETS_MAX: usize = 255;

const NAMES_WITH_ARGUMENT: [&str; 29] = [
    "NOT",
    "OR",
    "UID",
    "KEYWORD",
    "UNKEYWORD",
    "FROM",
    "TO",
    "CC",
    "BCC",
    "SUBJECT",
    "BODY",
    "TEXT",
    "HEADER",
    "BEFORE",
    "ON",
    "SINCE",
    "SENTBEFORE",
    "SENTON",
    "SENTSINCE",
    "SAVEDBEFORE",
    "SAVEDON",
    "SAVEDSINCE",
    "MODSEQ",
    "OLDER",
    "YOUNGER",
    "EMAILID",
    "THREADID",
    "LARGER",
    "SMALLER",
];
