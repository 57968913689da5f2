//! What a page or a search reads of a letter's content: decoded texts and attachments.
use std::borrow::Cow;

use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::html::text_to_html;

use crate::domain::limits;
use crate::proto::mime::decode;
use crate::proto::mime::header;
use crate::proto::mime::parameters;
use crate::proto::mime::structure;
use crate::proto::mime::structure::Structure;
use crate::proto::mime::summary::Part;
use crate::proto::mime::words;

pub use crate::proto::mime::decode::Base64Pieces;

/// Characters of a file name.
const NAME_CHARACTERS_MAX: usize = 120;
/// Ends a text that was cut.
const CUT: &str = "\n[…]";

/// A letter as a page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// Best text/plain body, UTF-8; empty when there is none.
    pub text: String,
    /// Best text/html body, UTF-8, NOT sanitised; `None` when there is none.
    pub html: Option<String>,
    /// Everything else.
    pub attachments: Vec<Attachment>,
}

/// One attachment, not decoded yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// File name, made safe (no path, no control characters).
    pub name: String,
    /// Media type in lower case.
    pub media_type: String,
    /// Decoded octets.
    pub octets: u64,
    /// Index for [`attachment`].
    pub index: usize,
}

/// What to show of a letter; within the MIME budgets. A text over the budget ends with `[…]`; a
/// letter over it is one attachment, itself.
pub fn readable(letter: &[u8]) -> Readable {
    let structure = structure::read(letter);
    let contents = Contents::of(&structure);
    let mut texts = Vec::new();
    let mut pages = Vec::new();
    let has_html = contents.bodies.iter().any(|body| body.html.is_some());
    for body in &contents.bodies {
        let text = body.plain.map(|part| shown_text(letter, part));
        if has_html {
            let html = body.html.map(|part| shown_text(letter, part));
            pages.extend(html.or_else(|| text.as_deref().map(text_to_html)));
        }
        texts.extend(text);
    }
    let attachments = contents.attachments.iter().enumerate();
    Readable {
        text: texts.join("\n"),
        html: has_html.then(|| pages.join("\n")),
        attachments: attachments.map(|(index, source)| source.describe(letter, index)).collect(),
    }
}

/// The decoded octets of one attachment of [`readable`].
pub fn attachment(letter: &[u8], index: usize) -> Option<Vec<u8>> {
    let structure = structure::read(letter);
    let contents = Contents::of(&structure);
    contents.attachments.get(index).map(|source| source.octets(letter).into_owned())
}

/// Where an attachment of [`readable`] lies in a letter, by the letter's structure alone; its size
/// is not told, because that takes decoding. `None` when there is none, or when the structure does
/// not say: then ask [`attachment`], which reads the letter.
pub fn place_of_attachment(root: &Part, index: usize) -> Option<(Attachment, &Part)> {
    let mut contents = Contents::default();
    contents.sort(root);
    let Source::Part(part) = contents.attachments.get(index)? else { return None };
    let media_type = media_type(part);
    let name = safe_name(given_name(part).unwrap_or_default(), &media_type, index);
    Some((Attachment { name, media_type, octets: 0, index }, part))
}

/// A body without its transfer encoding (in lower case); never longer than `body`.
pub fn decoded<'b>(encoding: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    decode::transfer(encoding, body)
}

/// All text of a letter for SEARCH BODY/TEXT: decoded text parts, UTF-8, joined.
pub fn searchable_text(letter: &[u8]) -> String {
    let structure = structure::read(letter);
    let mut text = String::new();
    let mut waiting = vec![&structure.root];
    while let Some(part) = waiting.pop() {
        if text.len() >= limits::SEARCHED_TEXT_OCTETS_MAX {
            break;
        }
        waiting.extend(part.children.iter().rev());
        if let Some(message) = &part.message {
            let subject = message.0.subject.as_deref().unwrap_or_default();
            text.push_str(&decoded_header(subject));
            text.push('\n');
            waiting.push(&message.1);
        }
        let is_text = part.kind == "text" && part.children.is_empty();
        // RFC 3501 §6.4.4 looks into every body; a report's part is text, whatever its name.
        let is_report = part.kind == "message" && part.message.is_none();
        if is_text || is_report {
            let left = limits::SEARCHED_TEXT_OCTETS_MAX - text.len();
            let decoded = text_of(letter, part, left);
            let is_html = part.subtype == "html";
            text.push_str(&if is_html { html_to_text(&decoded) } else { decoded });
            text.push('\n');
        }
    }
    text
}

/// The octets of a part as its author wrote them, without the transfer encoding.
pub fn decoded_part<'l>(letter: &'l [u8], part: &Part) -> Cow<'l, [u8]> {
    decode::transfer(&part.encoding, body(letter, part))
}

/// The text of one part as UTF-8, decoded; HTML as it is written.
pub fn part_text(letter: &[u8], part: &Part) -> String {
    text_of(letter, part, usize::MAX)
}

/// The text of one part as people read it: HTML without its marks.
pub fn readable_part(letter: &[u8], part: &Part) -> String {
    let text = part_text(letter, part);
    if part.subtype == "html" { html_to_text(&text) } else { text }
}

/// Octets of a charset as UTF-8; `None` when nobody here knows the charset.
pub fn charset_text(charset: &[u8], octets: &[u8]) -> Option<String> {
    decode::known_text(charset, octets)
}

/// A decoded header field value (RFC 2047) as UTF-8, e.g. of `Subject`.
pub fn decoded_header(raw: &[u8]) -> String {
    words::decode(&header::unfold(raw))
}

/// A letter sorted into what is read and what is saved.
#[derive(Default)]
struct Contents<'p> {
    bodies: Vec<Body<'p>>,
    attachments: Vec<Source<'p>>,
}

/// One piece of the letter's text, in one or two forms.
#[derive(Default)]
struct Body<'p> {
    plain: Option<&'p Part>,
    html: Option<&'p Part>,
}

/// Where an attachment lies.
enum Source<'p> {
    /// In a part of the letter.
    Part(&'p Part),
    /// The letter itself, when nobody may look into it.
    Letter,
}

impl<'p> Contents<'p> {
    fn of(structure: &'p Structure) -> Self {
        let mut contents = Self::default();
        let root = &structure.root;
        let opaque = structure.over_budget && root.children.is_empty() && root.message.is_none();
        if opaque {
            contents.attachments.push(Source::Letter);
        } else {
            contents.sort(root);
        }
        contents
    }

    /// Recursion is bounded by `limits::MIME_DEPTH_MAX`.
    fn sort(&mut self, part: &'p Part) {
        match (&*part.kind, &*part.subtype) {
            ("multipart", "alternative") => self.sort_alternatives(&part.children),
            ("multipart", _) => part.children.iter().for_each(|child| self.sort(child)),
            ("text", "plain") if is_body(part) => {
                self.bodies.push(Body { plain: Some(part), html: None });
            }
            ("text", "html") if is_body(part) => {
                self.bodies.push(Body { plain: None, html: Some(part) });
            }
            _ => self.attachments.push(Source::Part(part)),
        }
    }

    /// RFC 2046 §5.1.4: the same thing in several forms. The last form of a kind is the best.
    fn sort_alternatives(&mut self, forms: &'p [Part]) {
        let mut body = Body::default();
        for form in forms {
            let mut inside = Self::default();
            inside.sort(form);
            for found in inside.bodies {
                body.plain = found.plain.or(body.plain);
                body.html = found.html.or(body.html);
            }
            self.attachments.append(&mut inside.attachments);
        }
        if body.plain.is_some() || body.html.is_some() {
            self.bodies.push(body);
        }
    }
}

/// Text that is meant to be read in place.
pub(super) fn is_body(part: &Part) -> bool {
    let disposition = part.disposition.as_ref();
    disposition.is_none_or(|(kind, _)| kind != "attachment") && given_name(part).is_none()
}

fn given_name(part: &Part) -> Option<&str> {
    let disposition = part.disposition.as_ref();
    disposition
        .and_then(|(_, parameters)| parameters::find(parameters, "filename"))
        .or_else(|| parameters::find(&part.parameters, "name"))
}

impl Source<'_> {
    fn describe(&self, letter: &[u8], index: usize) -> Attachment {
        let media_type = match self {
            Self::Part(part) => media_type(part),
            Self::Letter => "message/rfc822".to_owned(),
        };
        let given = match self {
            Self::Part(part) => given_name(part).unwrap_or_default(),
            Self::Letter => "",
        };
        Attachment {
            name: safe_name(given, &media_type, index),
            octets: self.octets(letter).len() as u64,
            media_type,
            index,
        }
    }

    fn octets<'l>(&self, letter: &'l [u8]) -> Cow<'l, [u8]> {
        match self {
            Self::Part(part) => decode::transfer(&part.encoding, body(letter, part)),
            Self::Letter => Cow::Borrowed(letter),
        }
    }
}

fn body<'l>(letter: &'l [u8], part: &Part) -> &'l [u8] {
    let start = usize::try_from(part.body_start).unwrap_or(usize::MAX);
    let end = usize::try_from(part.body_end).unwrap_or(usize::MAX);
    letter.get(start..end).unwrap_or_default()
}

/// The text at the beginning of a part: what at most `octets_max` octets of its body say.
pub(super) fn beginning(letter: &[u8], part: &Part, octets_max: usize) -> String {
    let body = body(letter, part);
    let body = &body[..body.len().min(octets_max)];
    let mut decoded = decode::transfer(&part.encoding, body);
    // What was cut in the middle of a UTF-8 character would not look like UTF-8 any more.
    if let Err(error) = std::str::from_utf8(&decoded)
        && error.error_len().is_none()
    {
        let whole = error.valid_up_to();
        decoded.to_mut().truncate(whole);
    }
    decode::text(parameters::find(&part.parameters, "charset"), &decoded)
}

/// At most about `octets_max` octets of a part's text.
fn text_of(letter: &[u8], part: &Part, octets_max: usize) -> String {
    let decoded = decode::transfer(&part.encoding, body(letter, part));
    let mut end = decoded.len();
    if end > octets_max {
        // Not in the middle of a UTF-8 character.
        let mut cuts = (octets_max.saturating_sub(3)..=octets_max).rev();
        end = cuts.find(|cut| decoded[*cut] & 0xC0 != 0x80).unwrap_or(octets_max);
    }
    decode::text(parameters::find(&part.parameters, "charset"), &decoded[..end])
}

fn shown_text(letter: &[u8], part: &Part) -> String {
    let mut text = text_of(letter, part, limits::SHOWN_TEXT_OCTETS_MAX + 4);
    if text.len() > limits::SHOWN_TEXT_OCTETS_MAX {
        text.truncate(text.floor_char_boundary(limits::SHOWN_TEXT_OCTETS_MAX));
        text.push_str(CUT);
    }
    text
}

/// A type that may stand in an HTTP header (RFC 6838 §4.2).
fn media_type(part: &Part) -> String {
    let restricted = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
        !name.is_empty() && name.len() <= 127 && name.chars().all(allowed)
    };
    if restricted(&part.kind) && restricted(&part.subtype) {
        format!("{}/{}", part.kind, part.subtype)
    } else {
        "application/octet-stream".to_owned()
    }
}

/// A name that is only a name: no folder, no control or direction character, not hidden, not
/// endless. The sender's name is never a path of ours anyhow; it is one on the reader's machine.
fn safe_name(given: &str, media_type: &str, index: usize) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let harmless = last.chars().filter(|c| !c.is_control() && !is_invisible(*c)).map(|c| match c {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
        other => other,
    });
    let name: String = harmless.collect();
    let name = name.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    if name.is_empty() {
        return format!("document-{}.{}", index + 1, extension(media_type));
    }
    if name.chars().count() <= NAME_CHARACTERS_MAX {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, end)) if end.chars().count() <= 10 => {
            let kept = NAME_CHARACTERS_MAX - 1 - end.chars().count();
            let stem: String = stem.chars().take(kept).collect();
            format!("{stem}.{end}")
        }
        _ => name.chars().take(NAME_CHARACTERS_MAX).collect(),
    }
}

/// Characters that turn the writing direction or show nothing: `exe.fdp` must not read `pdf.exe`.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn extension(media_type: &str) -> &'static str {
    match media_type {
        "application/pdf" => "pdf",
        "application/zip" | "application/x-zip-compressed" => "zip",
        "application/xml" | "text/xml" => "xml",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "message/rfc822" | "message/global" => "eml",
        "text/html" => "html",
        other if other.starts_with("text/") || other.starts_with("message/") => "txt",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests;
