//! A letter's header section, looked at while it streams in.
use std::borrow::Cow;

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::domain::address::Address;
use crate::domain::envelope::MssHeaders;
use crate::domain::limits;
use crate::proto::mime::address;
use crate::proto::mime::address::AddressList;
use crate::proto::mime::address::Item;
use crate::proto::mime::content;
use crate::proto::mime::parameters;
use crate::proto::mime::thread;

/// Octets of one text that the view keeps (a Message-ID, a product name).
const TEXT_OCTETS_MAX: usize = 998;
/// Octets of a host name (RFC 5321 §4.5.3.1.2).
const HOST_OCTETS_MAX: usize = 255;
/// Message-IDs of In-Reply-To and References that the view keeps.
const REFERENCES_MAX: usize = 100;
/// Document codes that the view keeps.
const CDA_CODES_MAX: usize = 100;

/// What policy and statistics read of a header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderView {
    /// Addresses of the From field(s). Groups are flattened.
    pub from: Vec<Address>,
    /// How many From fields there are (RFC 5322 §3.6: just one).
    pub from_fields: usize,
    /// Addresses of Sender.
    pub sender: Vec<Address>,
    /// Addresses of Reply-To.
    pub reply_to: Vec<Address>,
    /// True when any of the three could not be parsed whole: treat as not the sender's.
    pub unreadable_sender: bool,
    /// Number of Received fields (loop guard).
    pub received: usize,
    /// Hosts that say in Received that they took the letter in (`by`), lower case, youngest first.
    pub received_by: Vec<String>,
    /// True when the very first field is Received: a relay has handled it.
    pub relayed: bool,
    /// Message-ID as written, with its angle brackets.
    pub message_id: Option<String>,
    /// Has a Date field.
    pub has_date: bool,
    /// Message-IDs of In-Reply-To and References, with their angle brackets.
    pub references: Vec<String>,
    /// Which letters this one answers, as [`thread::message_ids`] writes them: those of
    /// In-Reply-To, else the last one of References.
    pub answers: Vec<Vec<u8>>,
    /// MSSanté fields.
    pub mss: MssHeaders,
    /// Subject is exactly `[FIN]`: closes the exchange with a patient.
    pub subject_is_fin: bool,
    /// Auto-Submitted other than `no`, or a multipart/report: counted apart.
    pub automatic: bool,
}

/// One header field as it stands in a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as written; empty when the line is not a field (it still has to be shown).
    pub name: &'a [u8],
    /// The whole field with its line ends.
    pub raw: &'a [u8],
    /// What follows the colon, still folded, with the last line end.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// True when the field has this name, in any letter case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value without line ends and without white space around it (RFC 5322 §2.2.3).
    pub fn unfolded(&self) -> Cow<'_, [u8]> {
        unfold(self.value)
    }
}

/// Fields of a header section, in order. Ends at the empty line or where the octets end.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Walks over the fields of a header section. Every octet before the empty line belongs to
/// just one field. Line ends are CRLF or LF.
pub fn fields(section: &[u8]) -> Fields<'_> {
    Fields { rest: section }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(b"\n") || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = line_end(self.rest, 0);
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.rest, end);
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match field_name(raw) {
            Some((name, value)) => Field { name, raw, value },
            None => Field { name: &[], raw, value: raw },
        })
    }
}

/// Where the line that holds `from` ends, behind its LF.
pub(super) fn line_end(octets: &[u8], from: usize) -> usize {
    let line = octets.get(from..).unwrap_or_default();
    line.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |at| from + at + 1)
}

/// RFC 5322 §2.2 and §4.5: printable characters, perhaps white space, a colon.
fn field_name(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = raw.iter().position(|octet| *octet == b':')?;
    let (name, value) = (raw[..colon].trim_ascii_end(), &raw[colon + 1..]);
    let printable = !name.is_empty() && name.iter().all(|octet| matches!(octet, 33..=126));
    printable.then_some((name, value))
}

/// Removes line ends and the white space around; keeps the white space that folding needs.
pub(super) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if value.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
        let kept = value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n'));
        return Cow::Owned(kept.collect());
    }
    Cow::Borrowed(value)
}

/// Reads a header section (up to and without the empty line). Never fails; what cannot be read
/// is left out and marked.
pub fn view(header_section: &[u8]) -> HeaderView {
    let mut view = HeaderView::default();
    let mut subject_seen = false;
    let mut last_reference = None;
    for (place, field) in fields(header_section).enumerate() {
        let mut name = [0; 16];
        let name = match name.get_mut(..field.name.len()) {
            Some(lower) => {
                lower.copy_from_slice(field.name);
                lower.make_ascii_lowercase();
                &*lower
            }
            None => &[],
        };
        match name {
            b"from" => {
                view.from_fields += 1;
                view.unreadable_sender |= !read_addresses(&field, &mut view.from);
            }
            // An empty Sender or Reply-To names nobody, to any reader.
            b"sender" | b"reply-to" if field.unfolded().is_empty() => {}
            b"sender" => view.unreadable_sender |= !read_addresses(&field, &mut view.sender),
            b"reply-to" => view.unreadable_sender |= !read_addresses(&field, &mut view.reply_to),
            b"received" => {
                view.received += 1;
                if view.received_by.len() <= limits::RECEIVED_FIELDS_MAX {
                    view.received_by.extend(received_by(&field));
                }
                view.relayed |= place == 0;
            }
            b"message-id" if view.message_id.is_none() => view.message_id = text(&field),
            b"date" => view.has_date = true,
            b"in-reply-to" => {
                read_references(&field, &mut view.references);
                view.answers =
                    thread::message_ids(&field.unfolded()).take(limits::ANSWERS_MAX).collect();
            }
            b"references" => {
                read_references(&field, &mut view.references);
                last_reference = thread::message_ids(&field.unfolded()).last();
            }
            b"subject" if !std::mem::replace(&mut subject_seen, true) => {
                view.subject_is_fin = content::decoded_header(&field.unfolded()) == "[FIN]";
            }
            b"auto-submitted" => view.automatic |= is_automatic(&field),
            b"content-type" => {
                let content_type = parameters::parse(&field.unfolded());
                view.automatic |= content_type.value.eq_ignore_ascii_case("multipart/report");
            }
            b"x-mss-nil" if view.mss.nil.is_none() => view.mss.nil = text(&field),
            b"x-mss-codecda" => read_cda_codes(&field, &mut view.mss.cda_codes),
            b"x-mss-ins" if view.mss.qualified_ins.is_none() => {
                view.mss.qualified_ins = match &*field.unfolded() {
                    b"O" | b"o" => Some(true),
                    b"N" | b"n" => Some(false),
                    _ => None,
                };
            }
            b"x-mss-mes" => view.mss.closes_exchange |= &*field.unfolded() == b"FIN",
            b"" => view.unreadable_sender |= hides_a_sender(field.raw),
            _ => {}
        }
    }
    if view.answers.is_empty() {
        view.answers.extend(last_reference);
    }
    // Readers that show one author show the first or the last: nobody can be both.
    view.unreadable_sender |= view.from.len() > 1 || view.sender.len() > 1;
    view
}

/// A line that is not a field to us but may be one to somebody else.
fn hides_a_sender(raw: &[u8]) -> bool {
    let start: Vec<u8> = raw
        .iter()
        .filter(|octet| octet.is_ascii_alphabetic() || **octet == b'-')
        .take(8)
        .map(u8::to_ascii_lowercase)
        .collect();
    [&b"from"[..], b"sender", b"reply-to"].iter().any(|name| start.starts_with(name))
        && raw.contains(&b':')
}

/// Adds the addresses of a field; false when it could not be read whole, or when two readers
/// could disagree.
fn read_addresses(field: &Field<'_>, into: &mut Vec<Address>) -> bool {
    if into.len() >= limits::ADDRESSES_PER_FIELD_MAX {
        return false;
    }
    let list = address::parse(field.value);
    let mut readable = !list.doubtful && !has_blank_line(field.value);
    let before = into.len();
    for item in &list.items {
        let Item::Mailbox { written, .. } = item else { continue };
        match std::str::from_utf8(written).map(Address::parse) {
            Ok(Ok(address)) => into.push(address),
            _ => readable = false,
        }
    }
    readable && into.len() > before && second_reader_agrees(field.value, &list)
}

/// A line of white space only: the end of the header to some (RFC 5322 §4.2).
fn has_blank_line(value: &[u8]) -> bool {
    let mut lines = value.split(|octet| *octet == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() && line.trim_ascii().is_empty() {
            return true;
        }
    }
    false
}

/// Asks the other parser in the house for the same field.
fn second_reader_agrees(value: &[u8], ours: &AddressList) -> bool {
    // Folded, as other readers get it: some read a folded field differently.
    let line = [value.trim_ascii_end(), b"\n"].concat();
    let HeaderValue::Address(theirs) = MessageStream::new(&line).parse_address() else {
        return false;
    };
    let theirs = theirs.iter().filter_map(|address| address.address.as_deref());
    let ours = ours.items.iter().filter_map(|item| match item {
        Item::Mailbox { local_part, domain: Some(domain), .. } => {
            Some([local_part.as_slice(), b"@", domain].concat())
        }
        _ => None,
    });
    theirs.map(|address| address.as_bytes().to_vec()).eq(ours)
}

/// RFC 5321 §4.4: the host behind `by`. Comments and quoted strings are the sender's to write.
fn received_by(field: &Field<'_>) -> Option<String> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let bare = field.value.iter().map(|octet| {
        let inside = depth > 0 || quoted || escaped;
        match octet {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = depth > 0 || quoted,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if inside || depth > 0 || quoted { b' ' } else { *octet }
    });
    let bare: Vec<u8> = bare.collect();
    // What follows the semicolon is the date.
    let path = bare.split(|octet| *octet == b';').next().unwrap_or_default();
    let mut words = path.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.find(|word| word.eq_ignore_ascii_case(b"by"))?;
    let host = std::str::from_utf8(words.next()?).ok()?;
    (host.len() <= HOST_OCTETS_MAX).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

/// A short text; `None` when it is empty, too long, or not text.
fn text(field: &Field<'_>) -> Option<String> {
    let value = field.unfolded();
    let text = std::str::from_utf8(&value).ok()?;
    let fits = !text.is_empty() && text.len() <= TEXT_OCTETS_MAX;
    (fits && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn read_references(field: &Field<'_>, into: &mut Vec<String>) {
    let value = field.unfolded();
    for start in value.split(|octet| *octet == b'<').skip(1) {
        let id = start.split(|octet| *octet == b'>').next().unwrap_or_default();
        let whole = id.len() < start.len() && !id.is_empty() && id.len() < TEXT_OCTETS_MAX;
        if whole && into.len() < REFERENCES_MAX && id.iter().all(u8::is_ascii_graphic) {
            into.push(format!("<{}>", String::from_utf8_lossy(id)));
        }
    }
}

fn read_cda_codes(field: &Field<'_>, into: &mut Vec<String>) {
    let value = field.unfolded();
    let codes = value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
    for code in codes.filter(|code| !code.is_empty() && code.len() <= 64) {
        if into.len() < CDA_CODES_MAX && code.iter().all(u8::is_ascii_graphic) {
            into.push(String::from_utf8_lossy(code).into_owned());
        }
    }
}

/// RFC 3834 §5: any value but `no` means that no human sent it.
fn is_automatic(field: &Field<'_>) -> bool {
    let value = field.unfolded();
    let end = value.iter().position(|octet| b" \t;(".contains(octet)).unwrap_or(value.len());
    !value[..end].eq_ignore_ascii_case(b"no")
}

#[cfg(test)]
mod tests;
