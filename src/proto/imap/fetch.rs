//! What FETCH may ask of a message (RFC 3501 §6.4.5).
use crate::domain::limits;
use crate::proto::imap::cursor::Bad;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::cursor::at_most;
use crate::proto::imap::write;

/// One thing asked of each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822`: the letter; sets `\Seen`.
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `RFC822.TEXT`: sets `\Seen`.
    Rfc822Text,
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `UID`
    Uid,
    /// `BODY[section]<partial>`
    Section(BodySection),
    /// `MODSEQ` (RFC 7162 §3.1.4.2)
    ModSeq,
    /// `EMAILID` (RFC 8474 §5.1)
    EmailId,
    /// `THREADID` (RFC 8474 §5.2)
    ThreadId,
    /// `SAVEDATE` (RFC 8514 §4.1)
    SaveDate,
    /// `PREVIEW`, and whether `(LAZY)` (RFC 8970 §3)
    Preview {
        /// True when the client would rather have nothing than wait.
        lazy: bool,
    },
    /// `BINARY[part]<partial>` (RFC 3516 §4.2)
    Binary(BinarySection),
    /// `BINARY.SIZE[part]` (RFC 3516 §4.2)
    BinarySize(Vec<u32>),
}

/// `BINARY[part]<partial>` or `BINARY.PEEK[part]<partial>`: a part without its transfer encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinarySection {
    /// Part numbers from the outside in; empty for the letter itself.
    pub part: Vec<u32>,
    /// Of these octets, from where and at most how many; how many is not 0.
    pub partial: Option<(u32, u32)>,
    /// What reading does to `\Seen`.
    pub reading: Reading,
}

/// `BODY[section]<partial>` or `BODY.PEEK[section]<partial>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySection {
    /// Which octets.
    pub section: Section,
    /// Of these, from where and at most how many; how many is not 0.
    pub partial: Option<(u32, u32)>,
    /// What reading does to `\Seen`.
    pub reading: Reading,
}

/// Whether reading leaves a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// `BODY.PEEK`: no mark.
    Peek,
    /// `BODY`: sets `\Seen`.
    Marks,
}

/// A section of a letter (RFC 3501 §6.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outside in; empty for the letter itself.
    pub part: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// The whole letter, or the part's body.
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS (…)`: only these, in any case.
    HeaderFields(Vec<Vec<u8>>),
    /// `HEADER.FIELDS.NOT (…)`: all but these.
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// `TEXT`
    Text,
    /// `MIME`: the part's own header; never of the letter itself.
    Mime,
}

impl FetchItem {
    /// Parses the items of a FETCH: a macro, one item, or a list.
    pub fn parse_all(cursor: &mut Cursor<'_>) -> Result<Vec<Self>, Bad> {
        if cursor.peek() == Some(b'(') {
            return Self::parse_list(cursor);
        }
        let fast = [Self::Flags, Self::InternalDate, Self::Rfc822Size];
        if cursor.eat_word("ALL") {
            return Ok([&fast[..], &[Self::Envelope]].concat());
        }
        if cursor.eat_word("FULL") {
            return Ok([&fast[..], &[Self::Envelope, Self::Body]].concat());
        }
        if cursor.eat_word("FAST") {
            return Ok(fast.into());
        }
        Ok(vec![Self::parse(cursor)?])
    }

    /// Parses items in parentheses.
    pub fn parse_list(cursor: &mut Cursor<'_>) -> Result<Vec<Self>, Bad> {
        let mut count = 0;
        cursor.list(false, |cursor| {
            count += 1;
            at_most(count, limits::IMAP_FETCH_ITEMS_MAX, "a FETCH has too many items")?;
            Self::parse(cursor)
        })
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        let name = cursor.take_while(|octet| octet.is_ascii_alphanumeric() || octet == b'.');
        let item = match name.to_ascii_uppercase().as_slice() {
            b"ENVELOPE" => Self::Envelope,
            b"FLAGS" => Self::Flags,
            b"INTERNALDATE" => Self::InternalDate,
            b"RFC822" => Self::Rfc822,
            b"RFC822.HEADER" => Self::Rfc822Header,
            b"RFC822.SIZE" => Self::Rfc822Size,
            b"RFC822.TEXT" => Self::Rfc822Text,
            b"BODYSTRUCTURE" => Self::BodyStructure,
            b"UID" => Self::Uid,
            b"BODY" if cursor.peek() == Some(b'[') => body_section(cursor, Reading::Marks)?,
            b"BODY.PEEK" if cursor.peek() == Some(b'[') => body_section(cursor, Reading::Peek)?,
            b"BODY" => Self::Body,
            b"MODSEQ" => Self::ModSeq,
            b"EMAILID" => Self::EmailId,
            b"THREADID" => Self::ThreadId,
            b"SAVEDATE" => Self::SaveDate,
            b"PREVIEW" => Self::Preview { lazy: cursor.eat_word(" (LAZY)") },
            b"BINARY" => binary_section(cursor, Reading::Marks)?,
            b"BINARY.PEEK" => binary_section(cursor, Reading::Peek)?,
            b"BINARY.SIZE" => Self::BinarySize(section_binary(cursor)?),
            _ => return Err(Bad::form("unknown FETCH item")),
        };
        Ok(item)
    }

    /// True when fetching it sets `\Seen`.
    pub fn marks_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::Section(body) => body.reading == Reading::Marks,
            Self::Binary(binary) => binary.reading == Reading::Marks,
            _ => false,
        }
    }

    /// The section that it asks for, if it asks for octets of the letter.
    pub fn section(&self) -> Option<BodySection> {
        let whole = |text| BodySection {
            section: Section { part: Vec::new(), text },
            partial: None,
            reading: Reading::Peek,
        };
        match self {
            Self::Rfc822 => Some(whole(SectionText::Whole)),
            Self::Rfc822Header => Some(whole(SectionText::Header)),
            Self::Rfc822Text => Some(whole(SectionText::Text)),
            Self::Section(body) => Some(body.clone()),
            _ => None,
        }
    }

    /// Writes the item as a client asks for it.
    pub fn print(&self, out: &mut Vec<u8>) {
        match self {
            Self::Section(body) => {
                let peek = if body.reading == Reading::Peek { ".PEEK" } else { "" };
                write::text(out, format_args!("BODY{peek}["));
                body.section.print(out);
                out.push(b']');
                if let Some((offset, octets)) = body.partial {
                    write::text(out, format_args!("<{offset}.{octets}>"));
                }
            }
            Self::Binary(binary) => {
                let peek = if binary.reading == Reading::Peek { ".PEEK" } else { "" };
                write::text(out, format_args!("BINARY{peek}[{}]", dotted(&binary.part)));
                if let Some((offset, octets)) = binary.partial {
                    write::text(out, format_args!("<{offset}.{octets}>"));
                }
            }
            Self::Preview { lazy: true } => out.extend_from_slice(b"PREVIEW (LAZY)"),
            other => other.print_label(out),
        }
    }

    /// Writes the item's name as a response does: without PEEK, with the partial's origin only.
    pub fn print_label(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::Envelope => "ENVELOPE",
            Self::Flags => "FLAGS",
            Self::InternalDate => "INTERNALDATE",
            Self::Rfc822 => "RFC822",
            Self::Rfc822Header => "RFC822.HEADER",
            Self::Rfc822Size => "RFC822.SIZE",
            Self::Rfc822Text => "RFC822.TEXT",
            Self::Body => "BODY",
            Self::BodyStructure => "BODYSTRUCTURE",
            Self::Uid => "UID",
            Self::ModSeq => "MODSEQ",
            Self::EmailId => "EMAILID",
            Self::ThreadId => "THREADID",
            Self::SaveDate => "SAVEDATE",
            Self::Preview { .. } => "PREVIEW",
            Self::Binary(binary) => {
                write::text(out, format_args!("BINARY[{}]", dotted(&binary.part)));
                if let Some((offset, _)) = binary.partial {
                    write::text(out, format_args!("<{offset}>"));
                }
                return;
            }
            Self::BinarySize(part) => {
                write::text(out, format_args!("BINARY.SIZE[{}]", dotted(part)));
                return;
            }
            Self::Section(body) => {
                out.extend_from_slice(b"BODY[");
                body.section.print(out);
                out.push(b']');
                if let Some((offset, _)) = body.partial {
                    write::text(out, format_args!("<{offset}>"));
                }
                return;
            }
        };
        out.extend_from_slice(name.as_bytes());
    }
}

impl Section {
    /// Writes what stands between the brackets.
    pub fn print(&self, out: &mut Vec<u8>) {
        let mut words = dotted(&self.part);
        let (word, names) = match &self.text {
            SectionText::Whole => ("", None),
            SectionText::Header => ("HEADER", None),
            SectionText::HeaderFields(names) => ("HEADER.FIELDS", Some(names)),
            SectionText::HeaderFieldsNot(names) => ("HEADER.FIELDS.NOT", Some(names)),
            SectionText::Text => ("TEXT", None),
            SectionText::Mime => ("MIME", None),
        };
        if !words.is_empty() && !word.is_empty() {
            words.push('.');
        }
        words.push_str(word);
        out.extend_from_slice(words.as_bytes());
        for (index, name) in names.into_iter().flatten().enumerate() {
            out.extend_from_slice(if index == 0 { b" (" } else { b" " });
            if !name.is_empty() && name.iter().all(|&octet| is_plain_field_char(octet)) {
                out.extend_from_slice(name);
            } else {
                write::string(out, name);
            }
        }
        if names.is_some() {
            out.push(b')');
        }
    }
}

fn body_section(cursor: &mut Cursor<'_>, reading: Reading) -> Result<FetchItem, Bad> {
    cursor.expect(b'[', "[ was expected")?;
    let section = section(cursor)?;
    cursor.expect(b']', "a section has no ]")?;
    Ok(FetchItem::Section(BodySection { section, partial: partial(cursor)?, reading }))
}

fn binary_section(cursor: &mut Cursor<'_>, reading: Reading) -> Result<FetchItem, Bad> {
    let part = section_binary(cursor)?;
    Ok(FetchItem::Binary(BinarySection { part, partial: partial(cursor)?, reading }))
}

/// `section-binary`: part numbers alone (RFC 3516 §7).
fn section_binary(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, Bad> {
    cursor.expect(b'[', "[ was expected after BINARY")?;
    let mut part = Vec::new();
    if cursor.peek() != Some(b']') {
        loop {
            one_more_part_number(cursor, &mut part)?;
            if !cursor.eat(b'.') {
                break;
            }
        }
    }
    cursor.expect(b']', "part numbers and ] were expected")?;
    Ok(part)
}

fn one_more_part_number(cursor: &mut Cursor<'_>, part: &mut Vec<u32>) -> Result<(), Bad> {
    if part.len() >= PART_NUMBERS_MAX {
        return Err(Bad::form("a section has too many part numbers"));
    }
    part.push(cursor.nonzero()?);
    Ok(())
}

/// `"<" number64 "." nz-number64 ">"`, or nothing.
fn partial(cursor: &mut Cursor<'_>) -> Result<Option<(u32, u32)>, Bad> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let offset = cursor.number64()?;
    cursor.expect(b'.', "a partial is <first octet.octets>")?;
    let octets = cursor.number64()?;
    cursor.expect(b'>', "a partial has no >")?;
    if octets == 0 {
        return Err(Bad::form("a partial has at least one octet"));
    }
    // RFC 9051 §9 allows 63 bits; no message has 4 GB.
    let clamped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Some((clamped(offset), clamped(octets))))
}

fn dotted(part: &[u32]) -> String {
    let numbers: Vec<String> = part.iter().map(u32::to_string).collect();
    numbers.join(".")
}

fn section(cursor: &mut Cursor<'_>) -> Result<Section, Bad> {
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        one_more_part_number(cursor, &mut part)?;
        if !cursor.eat(b'.') {
            return Ok(Section { part, text: SectionText::Whole });
        }
    }
    let is_after_dot = !part.is_empty();
    let word = cursor.take_while(|octet| octet.is_ascii_alphabetic() || octet == b'.');
    let text = match word.to_ascii_uppercase().as_slice() {
        b"" if !is_after_dot => SectionText::Whole,
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" if is_after_dot => SectionText::Mime,
        b"HEADER.FIELDS" => SectionText::HeaderFields(field_names(cursor)?),
        b"HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(field_names(cursor)?),
        _ => return Err(Bad::form("unknown section")),
    };
    Ok(Section { part, text })
}

fn field_names(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>, Bad> {
    cursor.space()?;
    let names = cursor.list(false, Cursor::astring)?;
    // A name with other octets can match no field, and would have to be echoed.
    let is_field_name = |name: &Vec<u8>| {
        !name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic() && *octet != b':')
    };
    if names.iter().all(is_field_name) {
        Ok(names)
    } else {
        Err(Bad::form("not a header field name"))
    }
}

fn is_plain_field_char(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

/// Deeper than any structure that we describe.
const PART_NUMBERS_MAX: usize = 64;
