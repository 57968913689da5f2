//! Automatic answers: who may get one (RFC 3834 §2, RFC 5230 §4.5 and §4.6), and how they are
//! written.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::proto::mime::address;
use crate::proto::mime::address::Item;
use crate::proto::mime::content;
use crate::proto::mime::date;
use crate::proto::mime::header;
use crate::proto::sieve::Letter;

/// Characters of a subject that an answer repeats.
const SUBJECT_CHARS_MAX: usize = 200;
/// Message-IDs that an answer names, the last ones.
const REFERENCES_MAX: usize = 10;
/// Octets of a text in one encoded word (RFC 2047 §2: 75 with its frame), as base64 makes them.
const ENCODED_WORD_OCTETS: usize = 42;
/// RFC 5322 §2.1.1
const LINE_OCTETS_MAX: usize = 998;

/// An answer to be written.
pub struct Answer<'a> {
    /// Whose answer it is.
    pub from: &'a Address,
    /// Their name, if the script has one.
    pub name: Option<&'a str>,
    /// Who is answered.
    pub to: &'a Address,
    /// The subject.
    pub subject: &'a str,
    /// The text, or a MIME entity.
    pub text: &'a str,
    /// Which of the two.
    pub mime: bool,
    /// Message-IDs of the conversation, with their angle brackets, the one that is answered last.
    pub references: &'a [String],
    /// The answer's own Message-ID, without angle brackets.
    pub message_id: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Whether an automatic answer to this letter is decent: a person wrote it, to one of `own`
/// addresses, and it is not known to come from a program or a list.
pub fn may_be_answered(letter: &Letter<'_>, from: &str, own: &[String]) -> bool {
    if from.is_empty() || own.iter().any(|own| own.eq_ignore_ascii_case(from)) {
        return false;
    }
    let local = from.rsplit_once('@').map_or(from, |(local, _)| local).to_ascii_lowercase();
    const NOBODY: [&str; 7] =
        ["mailer-daemon", "postmaster", "listserv", "majordomo", "noreply", "no-reply", "owner"];
    if NOBODY.contains(&local.as_str())
        || local.starts_with("owner-")
        || local.ends_with("-owner")
        || local.ends_with("-request")
        || local.ends_with("-bounces")
    {
        return false;
    }
    if header::view(letter.header()).automatic || is_bulk(letter) {
        return false;
    }
    let fields = ["to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"];
    let mut shown = fields
        .iter()
        .flat_map(|name| letter.raw(name))
        .flat_map(|value| super::letter::addresses(value, super::program::AddressPart::All));
    shown.any(|shown| own.iter().any(|own| own.eq_ignore_ascii_case(&shown)))
}

fn is_bulk(letter: &Letter<'_>) -> bool {
    let says = |name: &str, words: &[&str]| {
        letter.values(name).iter().any(|value| {
            value.to_ascii_lowercase().split([',', ' ']).any(|word| words.contains(&word))
        })
    };
    header::fields(letter.header())
        .any(|field| field.name.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"list-")))
        || says("precedence", &["bulk", "list", "junk"])
        || says("x-auto-response-suppress", &["all", "oof", "autoreply"])
}

/// RFC 5230 §4.3: what the subject of an answer is when the script has none.
pub fn answer_subject(letter: &Letter<'_>) -> String {
    let subject = letter.values("subject").into_iter().next().unwrap_or_default();
    match subject.trim() {
        "" => "Automated reply".to_owned(),
        subject => format!("Auto: {subject}"),
    }
}

/// True when a text is one address, perhaps with a name.
pub(super) fn is_one_address(text: &str) -> bool {
    let list = address::parse(text.as_bytes());
    matches!(list.items.as_slice(), [Item::Mailbox { domain: Some(_), .. }])
}

/// Writes an answer. Nothing that a script or a letter says can add a field: texts of fields
/// lose their control characters.
pub fn write(answer: &Answer<'_>) -> Vec<u8> {
    let name = answer.name.map(|name| format!("{} ", phrase(name))).unwrap_or_default();
    let mut message = format!(
        "From: {name}<{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
         Message-ID: <{id}>\r\n",
        from = answer.from,
        to = answer.to,
        subject = encoded(&line(answer.subject, SUBJECT_CHARS_MAX)),
        date = date::rfc5322(answer.now),
        id = answer.message_id,
    );
    if let Some(last) = answer.references.last() {
        let from = answer.references.len().saturating_sub(REFERENCES_MAX);
        message.push_str(&format!("In-Reply-To: {last}\r\n"));
        message.push_str(&format!("References: {}\r\n", answer.references[from..].join("\r\n ")));
    }
    // RFC 3834 §3.1.7; the second is what Exchange listens to.
    message.push_str("Auto-Submitted: auto-replied\r\nX-Auto-Response-Suppress: All\r\n");
    message.push_str("MIME-Version: 1.0\r\n");
    match answer.mime {
        true => message.push_str(&entity(answer.text)),
        false => message.push_str(&body("text/plain; charset=utf-8", answer.text)),
    }
    message.into_bytes()
}

/// A text without control characters.
fn line(text: &str, chars_max: usize) -> String {
    let text: String = text.split(char::is_control).collect::<Vec<&str>>().join(" ");
    text.chars().take(chars_max).collect()
}

fn phrase(name: &str) -> String {
    let name = line(name, SUBJECT_CHARS_MAX);
    match name.is_ascii() {
        true => format!("\"{}\"", name.replace(['\\', '"'], "")),
        false => encoded(&name),
    }
}

/// RFC 2047 §2, when it must be.
fn encoded(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(ENCODED_WORD_OCTETS);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&rest[..end])));
        rest = &rest[end..];
    }
    words.join("\r\n ")
}

/// A body, and the fields that describe it.
fn body(kind: &str, text: &str) -> String {
    let text = bounded(text);
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let is_plain = text.is_ascii() && lines.iter().all(|line| line.len() <= LINE_OCTETS_MAX);
    if is_plain {
        let text = lines.join("\r\n");
        return format!(
            "Content-Type: {kind}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{text}\r\n"
        );
    }
    let encoded = STANDARD.encode(lines.join("\r\n"));
    let mut wrapped = String::with_capacity(encoded.len() + encoded.len() / 38);
    for chunk in encoded.as_bytes().chunks(76) {
        wrapped.push_str(std::str::from_utf8(chunk).unwrap_or_default());
        wrapped.push_str("\r\n");
    }
    format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{wrapped}")
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(limits::ANSWER_OCTETS_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// RFC 5230 §4.1: the text is an entity with its own fields. Only those that describe content are
/// taken over; without a Content-Type it is text.
fn entity(text: &str) -> String {
    let lines: Vec<&str> = bounded(text).lines().map(|l| l.trim_end_matches('\r')).collect();
    let text = lines.join("\r\n");
    let mut fields = String::new();
    let mut has_type = false;
    let mut octets = 0;
    for field in header::fields(text.as_bytes()) {
        if field.name.is_empty() {
            break;
        }
        octets += field.raw.len();
        let is_content =
            field.name.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"content-"));
        if is_content {
            has_type |= field.is("content-type");
            let raw = String::from_utf8_lossy(field.raw);
            fields.push_str(raw.trim_end());
            fields.push_str("\r\n");
        }
    }
    let rest = text.get(octets..).unwrap_or_default();
    let rest = rest.strip_prefix("\r\n").unwrap_or(rest);
    if !has_type {
        return body("text/plain; charset=utf-8", rest);
    }
    if !text.is_ascii() && !fields.to_ascii_lowercase().contains("content-transfer-encoding") {
        fields.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    format!("{fields}\r\n{rest}\r\n")
}

/// The Message-IDs that an answer to a letter names, the letter's own last.
pub(super) fn references(letter: &Letter<'_>) -> Vec<String> {
    let view = header::view(letter.header());
    let Some(id) = view.message_id.filter(|id| is_id(id)) else { return Vec::new() };
    let mut references: Vec<String> =
        view.references.into_iter().filter(|reference| *reference != id).collect();
    references.dedup();
    references.push(id);
    references
}

fn is_id(id: &str) -> bool {
    id.starts_with('<') && id.ends_with('>') && id.bytes().all(|octet| octet.is_ascii_graphic())
}

/// Name and address of a From that a script wrote.
pub fn from_of(text: &str) -> Option<(Option<String>, String)> {
    match address::parse(text.as_bytes()).items.into_iter().next()? {
        Item::Mailbox { name, written, .. } => {
            let name = name.map(|name| content::decoded_header(&name));
            Some((name, String::from_utf8(written).ok()?))
        }
        Item::GroupStart(_) | Item::GroupEnd => None,
    }
}
