//! The small part of XML that the list uses, and nothing else.
//!
//! quick-xml splits the text into events; this reader refuses every kind of event that the list
//! has no use for, because each of them has once made two readers of one signed document
//! disagree: comments inside values, CDATA, entities, DTDs, processing instructions.
use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::events::BytesDecl;
use quick_xml::events::BytesRef;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use quick_xml::name::Namespace;
use quick_xml::name::ResolveResult;

use crate::proto::trust_list::BadTrustList;

/// Octets of one value: the longest real one has some hundreds, a certificate some thousands.
const VALUE_OCTETS_MAX: usize = 65_536;
/// Attributes of one element: two are in use, the others are namespace declarations.
const ATTRIBUTES_MAX: usize = 16;
/// Elements inside each other: a signature has six.
const DEPTH_MAX: usize = 16;

/// Reads elements in the order in which they must come.
pub(super) struct Reader<'a> {
    inner: NsReader<&'a [u8]>,
    document: &'a str,
    depth: usize,
    /// Where the tag or text that was read last begins.
    begun: usize,
}

/// One step through the document.
pub(super) enum Step<'a> {
    /// A start tag; an empty element is a start and an end.
    Open(BytesStart<'a>),
    /// The end tag of the element opened last.
    Close,
    /// Character data with its references resolved.
    Text(Cow<'a, str>),
    /// Nothing is left.
    End,
}

impl<'a> Reader<'a> {
    /// A reader at the first element of `document`.
    pub(super) fn new(document: &'a [u8], octets_max: usize) -> Result<Self, BadTrustList> {
        let wrong = |place: usize, reason: &str| BadTrustList {
            line: line_of(document, place),
            reason: reason.to_owned(),
        };
        if document.len() > octets_max {
            return Err(wrong(0, "larger than any list may be"));
        }
        let text = std::str::from_utf8(document)
            .map_err(|error| wrong(error.valid_up_to(), "not UTF-8"))?;
        let forbidden = |octet: &u8| *octet < b' ' && !matches!(*octet, b'\t' | b'\n' | b'\r');
        if let Some(place) = document.iter().position(forbidden) {
            return Err(wrong(place, "a control character"));
        }
        let mut inner = NsReader::from_str(text);
        inner.config_mut().expand_empty_elements = true;
        Ok(Self { inner, document: text, depth: 0, begun: 0 })
    }

    /// An error at the present place.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> BadTrustList {
        BadTrustList {
            line: line_of(self.document.as_bytes(), self.place()),
            reason: reason.into(),
        }
    }

    /// Where the tag or text that was read last begins.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Where the reader stands, in octets.
    pub(super) fn place(&self) -> usize {
        usize::try_from(self.inner.buffer_position()).unwrap_or(usize::MAX)
    }

    /// Elements that are open now.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Opens the element that must come next; it has no attributes.
    pub(super) fn open(&mut self, namespace: &str, name: &str) -> Result<(), BadTrustList> {
        let attributes = self.open_with(namespace, name)?;
        if attributes.is_empty() {
            return Ok(());
        }
        Err(self.wrong(format!("{name} with an attribute")))
    }

    /// Opens the element that must come next and returns its attributes.
    pub(super) fn open_with(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<(String, String)>, BadTrustList> {
        match self.step_over_space()? {
            Step::Open(start) if self.is(&start, namespace, name) => self.attributes(&start),
            _ => Err(self.wrong(format!("expected the element {name}"))),
        }
    }

    /// Opens one more element of this name (true), or closes the one around them (false).
    pub(super) fn open_or_close(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<bool, BadTrustList> {
        match self.step_over_space()? {
            Step::Open(start) if self.is(&start, namespace, name) => {
                if self.attributes(&start)?.is_empty() {
                    return Ok(true);
                }
                Err(self.wrong(format!("{name} with an attribute")))
            }
            Step::Close => Ok(false),
            _ => Err(self.wrong(format!("expected the element {name} or the end of its list"))),
        }
    }

    /// The text of the element that must come next; it has neither attributes nor children.
    pub(super) fn element(&mut self, namespace: &str, name: &str) -> Result<String, BadTrustList> {
        self.open(namespace, name)?;
        self.text()
    }

    /// The text of the open element, up to and with its end tag.
    pub(super) fn text(&mut self) -> Result<String, BadTrustList> {
        let mut value = String::new();
        loop {
            match self.step()? {
                Step::Text(piece) => value.push_str(&piece),
                Step::Close => return Ok(value),
                Step::Open(_) | Step::End => return Err(self.wrong("expected text only")),
            }
            if value.len() > VALUE_OCTETS_MAX {
                return Err(self.wrong("a value longer than any may be"));
            }
        }
    }

    /// Closes the open element.
    pub(super) fn close(&mut self) -> Result<(), BadTrustList> {
        match self.step_over_space()? {
            Step::Close => Ok(()),
            _ => Err(self.wrong("expected the end of the element")),
        }
    }

    /// Nothing but space may be left.
    pub(super) fn end(&mut self) -> Result<(), BadTrustList> {
        match self.step_over_space()? {
            Step::End => Ok(()),
            _ => Err(self.wrong("something behind the end of the list")),
        }
    }

    /// True when the tag has this name in this namespace, whatever its prefix.
    pub(super) fn is(&self, start: &BytesStart<'_>, namespace: &str, name: &str) -> bool {
        let (found, local) = self.inner.resolver().resolve_element(start.name());
        found == ResolveResult::Bound(Namespace(namespace)) && local.as_ref() == name
    }

    /// Attributes but for namespace declarations; at most [`ATTRIBUTES_MAX`] of both.
    pub(super) fn attributes(
        &self,
        start: &BytesStart<'_>,
    ) -> Result<Vec<(String, String)>, BadTrustList> {
        let mut found = Vec::new();
        for (count, attribute) in start.attributes().enumerate() {
            let attribute = attribute.map_err(|error| self.wrong(error.to_string()))?;
            if count >= ATTRIBUTES_MAX {
                return Err(self.wrong("more attributes than any element has"));
            }
            // No attribute of the form holds a character that would need a reference.
            if attribute.value.contains(['&', '<']) {
                return Err(self.wrong("a reference inside an attribute"));
            }
            if attribute.key.as_namespace_binding().is_none() {
                found.push((attribute.key.as_ref().to_owned(), attribute.value.into_owned()));
            }
        }
        Ok(found)
    }

    fn step_over_space(&mut self) -> Result<Step<'a>, BadTrustList> {
        loop {
            match self.step()? {
                Step::Text(text) if text.chars().all(is_xml_space) => {}
                other => return Ok(other),
            }
        }
    }

    /// The next step; everything that the list has no use for is an error.
    pub(super) fn step(&mut self) -> Result<Step<'a>, BadTrustList> {
        loop {
            self.begun = self.place();
            let event = match self.inner.read_event() {
                Ok(event) => event,
                Err(error) => return Err(self.wrong(error.to_string())),
            };
            return match event {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(self.wrong("elements nested deeper than in any list"));
                    }
                    Ok(Step::Open(start))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Step::Close)
                }
                Event::Text(text) => Ok(Step::Text(text.into_inner())),
                Event::GeneralRef(reference) => self.referred(&reference).map(Step::Text),
                Event::Decl(declaration) => {
                    self.check_declaration(&declaration)?;
                    continue;
                }
                Event::Eof if self.depth == 0 => Ok(Step::End),
                Event::Eof => Err(self.wrong("the document ends inside an element")),
                Event::DocType(_) => Err(self.wrong("a DTD")),
                Event::Comment(_) => Err(self.wrong("a comment")),
                Event::CData(_) => Err(self.wrong("a CDATA section")),
                Event::PI(_) => Err(self.wrong("a processing instruction")),
                Event::Empty(_) => Err(self.wrong("an empty element")),
            };
        }
    }

    /// The five entities of XML and character references; no DTD, so no others.
    fn referred(&self, reference: &BytesRef<'_>) -> Result<Cow<'a, str>, BadTrustList> {
        if reference.is_char_ref() {
            let allowed = |c: &char| !c.is_control() || is_xml_space(*c);
            return match reference.resolve_char_ref() {
                Ok(Some(character)) if allowed(&character) => Ok(character.to_string().into()),
                _ => Err(self.wrong("a character reference that XML does not allow")),
            };
        }
        let value = match &**reference {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            _ => return Err(self.wrong("an entity that nobody declared")),
        };
        Ok(value.into())
    }

    fn check_declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), BadTrustList> {
        if self.begun != 0 {
            return Err(self.wrong("an XML declaration in the middle"));
        }
        let utf8 = match declaration.encoding() {
            None => true,
            Some(Ok(name)) => name.eq_ignore_ascii_case("UTF-8"),
            Some(Err(_)) => false,
        };
        if utf8 { Ok(()) } else { Err(self.wrong("an encoding other than UTF-8")) }
    }
}

/// Text content as canonical XML writes it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#xD;")
}

fn is_xml_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn line_of(document: &[u8], place: usize) -> usize {
    1 + document.iter().take(place).filter(|octet| **octet == b'\n').count()
}
