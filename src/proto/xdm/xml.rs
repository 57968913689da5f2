//! XML within bounds: no DTD, no entity but the five, no recursion, nothing endless.
//!
//! Looser than the trust list's reader, because no signature is at stake and real software
//! writes comments, CDATA and stylesheet instructions: those are passed over or read as text.
use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use quick_xml::Reader;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use zeroize::Zeroizing;

use crate::domain::limits;

/// Octets in which the declaration of an encoding is looked for.
const DECLARATION_OCTETS: usize = 200;

/// The text is not well-formed, or beyond what is read.
#[derive(Debug)]
pub(super) struct Malformed;

/// One step through a text.
pub(super) enum Step<'a> {
    /// An element begins; an empty one ends at once.
    Open(Element<'a>),
    /// The element opened last ends.
    Close,
    /// Character data, references resolved.
    Text(Cow<'a, str>),
    /// Nothing is left.
    End,
}

/// The start tag of an element.
pub(super) struct Element<'a> {
    start: BytesStart<'a>,
    /// Elements around it.
    pub(super) depth: usize,
}

impl Element<'_> {
    /// The name without its prefix.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// The value of an attribute, references resolved; `None` when it has none that can be read.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let attributes = attributes.with_checks(false).take(limits::XML_ATTRIBUTES_MAX);
        let mut named =
            attributes.flatten().filter(|each| each.key.local_name().into_inner() == name);
        let found = named.next()?;
        let fits = found.value.len() <= limits::XML_VALUE_OCTETS_MAX;
        fits.then(|| resolved(&found.value)).flatten()
    }
}

/// Reads a text step by step.
pub(super) struct Xml<'a> {
    inner: Reader<&'a [u8]>,
    depth: usize,
    steps: usize,
    begun: bool,
}

impl<'a> Xml<'a> {
    /// A reader at the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        let mut inner = Reader::from_str(text);
        inner.config_mut().expand_empty_elements = true;
        inner.config_mut().check_end_names = true;
        Self { inner, depth: 0, steps: 0, begun: false }
    }

    /// The next step.
    pub(super) fn step(&mut self) -> Result<Step<'a>, Malformed> {
        loop {
            self.steps += 1;
            if self.steps > limits::XML_STEPS_MAX {
                return Err(Malformed);
            }
            match self.inner.read_event().map_err(|_| Malformed)? {
                Event::Start(start) => {
                    if start
                        .attributes()
                        .with_checks(false)
                        .nth(limits::XML_ATTRIBUTES_MAX)
                        .is_some()
                    {
                        return Err(Malformed);
                    }
                    let depth = self.depth;
                    self.depth += 1;
                    self.begun = true;
                    if self.depth > limits::XML_DEPTH_MAX {
                        return Err(Malformed);
                    }
                    return Ok(Step::Open(Element { start, depth }));
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Step::Close);
                }
                Event::Text(text) => return Ok(Step::Text(text.into_inner())),
                Event::CData(text) => return Ok(Step::Text(text.into_inner())),
                Event::GeneralRef(reference) => {
                    let text = referred(&reference).ok_or(Malformed)?;
                    return Ok(Step::Text(text.to_string().into()));
                }
                // Where entities are declared, and files and hosts are named.
                Event::DocType(_) => return Err(Malformed),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::Empty(_) => {}
                Event::Eof if self.depth == 0 && self.begun => return Ok(Step::End),
                Event::Eof => return Err(Malformed),
            }
        }
    }

    /// The text of the element just opened, without that of its children, up to its end tag.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let mut text = String::new();
        let mut inside = 0;
        loop {
            match self.step()? {
                Step::Open(_) => inside += 1,
                Step::Close if inside == 0 => return Ok(text),
                Step::Close => inside -= 1,
                Step::Text(piece) if inside == 0 => {
                    if text.len() + piece.len() > limits::XML_VALUE_OCTETS_MAX {
                        return Err(Malformed);
                    }
                    text.push_str(&piece);
                }
                Step::Text(_) => {}
                Step::End => return Err(Malformed),
            }
        }
    }
}

/// A character reference or one of the five entities; without a DTD there are no others.
fn referred(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        None => {
            let known = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
            return known.into_iter().find(|(known, _)| *known == name).map(|(_, c)| c);
        }
        Some(number) => match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        },
    };
    char::from_u32(number.ok()?).filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

/// An attribute's value with its references resolved.
fn resolved(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after.split_once(';')?;
        text.push_str(before);
        text.push(referred(name)?);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// The octets as text: UTF-8, or what their first octets or their declaration say.
pub(super) fn text(octets: &[u8]) -> Option<Cow<'_, str>> {
    let octets = match octets {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        plain => plain,
    };
    if let Ok(text) = std::str::from_utf8(octets) {
        return Some(Cow::Borrowed(text));
    }
    let name = declared(octets)?;
    // A charset of several octets a character could hide a tag from one reader of two.
    let simple = ["iso-8859-", "windows-125", "cp125", "latin"];
    let known = simple.iter().any(|start| name.to_ascii_lowercase().starts_with(start));
    let decoder = charset_decoder(name.as_bytes()).filter(|_| known)?;
    Some(Cow::Owned(decoder(octets)))
}

fn utf16(octets: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Cow<'_, str>> {
    let (pairs, _) = octets.as_chunks::<2>();
    let units: Zeroizing<Vec<u16>> = Zeroizing::new(pairs.iter().map(|pair| unit(*pair)).collect());
    String::from_utf16(&units).ok().map(Cow::Owned)
}

/// The encoding that `<?xml … encoding="…"?>` names.
fn declared(octets: &[u8]) -> Option<String> {
    let start = octets.get(..octets.len().min(DECLARATION_OCTETS))?;
    let start = String::from_utf8_lossy(start);
    let declaration = start.strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}
