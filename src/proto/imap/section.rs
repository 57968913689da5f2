//! Octets of a letter that a `BODY[section]<partial>` names (RFC 3501 §6.4.5).
use std::borrow::Cow;
use std::ops::Range;

use crate::proto::imap::fetch::BodySection;
use crate::proto::imap::fetch::Section;
use crate::proto::imap::fetch::SectionText;
use crate::proto::mime::summary::Part;

/// The octets of `body` in `letter`; `None` (NIL) when the letter has no such part.
pub fn extract<'a>(
    letter: &'a [u8],
    structure: &Part,
    body: &BodySection,
) -> Option<Cow<'a, [u8]>> {
    extract_from(letter, Some(structure), body)
}

/// The same for sections of the letter itself, which need no structure.
pub fn extract_whole<'a>(letter: &'a [u8], body: &BodySection) -> Option<Cow<'a, [u8]>> {
    extract_from(letter, None, body)
}

fn extract_from<'a>(
    letter: &'a [u8],
    structure: Option<&Part>,
    body: &BodySection,
) -> Option<Cow<'a, [u8]>> {
    let octets = letter.len() as u64;
    let header_end = match needs_header_end(&body.section) {
        true => end_of_header(letter) as u64,
        false => 0,
    };
    Some(match locate(&body.section, structure, octets, header_end)? {
        Place::Octets(range) => {
            let range = part_of(range, body.partial);
            Cow::Borrowed(between(letter, range.start, range.end)?)
        }
        Place::Fields { header, names, listed } => {
            let header = between(letter, header.start, header.end)?;
            let chosen = Cow::Owned(fields(header, names, listed));
            match body.partial {
                None => chosen,
                Some((offset, length)) => cut(chosen, offset, length),
            }
        }
    })
}

/// Where a section lies in its letter.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<'s> {
    /// These octets.
    Octets(Range<u64>),
    /// Fields of a header section: see [`fields`].
    Fields {
        /// Where the header section is.
        header: Range<u64>,
        /// The names of the fields.
        names: &'s [Vec<u8>],
        /// Whether these fields are meant, or all others.
        listed: bool,
    },
}

/// Where `section` lies in a letter of `octets` octets; `None` (NIL) when the letter has no such
/// part. `header_end` counts for those sections alone that need it ([`needs_header_end`]).
pub fn locate<'s>(
    section: &'s Section,
    structure: Option<&Part>,
    octets: u64,
    header_end: u64,
) -> Option<Place<'s>> {
    // Offsets come from a stored summary: they may be those of another letter.
    let within =
        |range: Range<u64>| (range.start <= range.end && range.end <= octets).then_some(range);
    let (header, body) = if section.part.is_empty() {
        // The letter's own header ends where it ends, whatever its summary says: a letter
        // over the budgets of MIME can still be read whole.
        (within(0..header_end)?, header_end..octets)
    } else {
        let part = find(structure?, &section.part)?;
        match section.text {
            SectionText::Whole => {
                return within(part.body_start..part.body_end).map(Place::Octets);
            }
            SectionText::Mime => {
                return within(part.header_start..part.body_start).map(Place::Octets);
            }
            _ => {
                // RFC 3501 §6.4.5: HEADER and TEXT of a part exist for MESSAGE/RFC822 only.
                let (_, inner) = part.message.as_deref()?;
                let header = within(inner.header_start..inner.body_start)?;
                (header, within(inner.body_start..inner.body_end)?)
            }
        }
    };
    match &section.text {
        SectionText::Whole => Some(Place::Octets(0..octets)),
        SectionText::Header => Some(Place::Octets(header)),
        SectionText::Text => Some(Place::Octets(body)),
        SectionText::HeaderFields(names) => Some(Place::Fields { header, names, listed: true }),
        SectionText::HeaderFieldsNot(names) => Some(Place::Fields { header, names, listed: false }),
        // The grammar knows no MIME of the letter itself.
        SectionText::Mime => None,
    }
}

/// True when it matters where the letter's own header section ends.
pub fn needs_header_end(section: &Section) -> bool {
    section.part.is_empty() && section.text != SectionText::Whole
}

/// True when only the letter's structure can tell where the section is.
pub fn needs_structure(section: &Section) -> bool {
    !section.part.is_empty()
}

/// The part with these numbers. RFC 3501 §6.4.5: every letter has a part 1; parts of a nested
/// letter are numbered below the part that holds it.
pub(super) fn find<'p>(letter: &'p Part, numbers: &[u32]) -> Option<&'p Part> {
    let (first, rest) = numbers.split_first()?;
    let mut part = part_of_letter(letter, *first)?;
    for &number in rest {
        part = match part.message.as_deref() {
            Some((_, inner)) => part_of_letter(inner, number)?,
            None => child(part, number)?,
        };
    }
    Some(part)
}

fn part_of_letter(letter: &Part, number: u32) -> Option<&Part> {
    if letter.kind == "multipart" && !letter.children.is_empty() {
        child(letter, number)
    } else {
        (number == 1).then_some(letter)
    }
}

fn child(part: &Part, number: u32) -> Option<&Part> {
    part.children.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

pub(super) fn between(letter: &[u8], start: u64, end: u64) -> Option<&[u8]> {
    letter.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// Where the body begins, of a letter that is all there.
fn end_of_header(letter: &[u8]) -> usize {
    HeaderEnd::default().find(letter).unwrap_or(letter.len())
}

/// Looks for where the body begins, piece by piece: behind the empty line, which belongs to the header
/// (RFC 3501 §6.4.5).
#[derive(Debug, Default)]
pub struct HeaderEnd {
    /// What there is of the line that has begun.
    line: Begun,
}

/// A line, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Begun {
    #[default]
    Empty,
    /// CR, and nothing else.
    Return,
    Full,
}

impl HeaderEnd {
    /// How many octets of the next piece belong to the header, when it ends there.
    pub fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(length) = piece[at..].iter().position(|&octet| octet == b'\n') {
            self.grow(&piece[at..at + length]);
            at += length + 1;
            if std::mem::take(&mut self.line) != Begun::Full {
                return Some(at);
            }
        }
        self.grow(&piece[at..]);
        None
    }

    fn grow(&mut self, octets: &[u8]) {
        self.line = match (self.line, octets) {
            (line, b"") => line,
            (Begun::Empty, b"\r") => Begun::Return,
            _ => Begun::Full,
        };
    }
}

/// The fields whose names are listed (or are not), folded as they stand, and the empty line.
pub fn fields(header: &[u8], names: &[Vec<u8>], listed: bool) -> Vec<u8> {
    let mut chosen = Vec::new();
    let mut takes = false;
    for line in header.split_inclusive(|&octet| octet == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let end = line.iter().position(|&octet| octet == b':').unwrap_or(line.len());
            let name = line[..end].trim_ascii_end();
            takes = names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) == listed;
        }
        if takes {
            chosen.extend_from_slice(line);
        }
    }
    chosen.extend_from_slice(b"\r\n");
    chosen
}

/// The stretch of these octets that a partial names, as far as they are there.
pub fn part_of(octets: Range<u64>, partial: Option<(u32, u32)>) -> Range<u64> {
    let Some((offset, length)) = partial else { return octets };
    let start = octets.start.saturating_add(u64::from(offset)).min(octets.end);
    start..start.saturating_add(u64::from(length)).min(octets.end)
}

/// The octets of a partial, as far as they are there.
pub fn cut(octets: Cow<'_, [u8]>, offset: u32, length: u32) -> Cow<'_, [u8]> {
    let start = (offset as usize).min(octets.len());
    let end = start.saturating_add(length as usize).min(octets.len());
    match octets {
        Cow::Borrowed(octets) => Cow::Borrowed(&octets[start..end]),
        Cow::Owned(octets) => Cow::Owned(octets[start..end].to_vec()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::imap::cursor::Cursor;
    use crate::proto::imap::cursor::Piece;
    use crate::proto::imap::fetch::FetchItem;
    use crate::proto::mime::summary::EnvelopeFields;

    pub(in crate::proto::imap) fn part(kind: &str, subtype: &str, offsets: [usize; 3]) -> Part {
        Part {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: "7bit".to_owned(),
            disposition: None,
            language: Vec::new(),
            location: None,
            md5: None,
            header_start: offsets[0] as u64,
            body_start: offsets[1] as u64,
            body_end: offsets[2] as u64,
            lines: 1,
            children: Vec::new(),
            message: None,
        }
    }

    /// A text, and a nested letter of two texts.
    pub(in crate::proto::imap) fn nested() -> (Vec<u8>, Part) {
        let letter = b"Subject: outer\r\nFrom: a@b.test\r\n\tfolded\r\n\r\n--1\r\n\r\nfirst\r\n--1\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n--2\r\n\r\nin one\r\n--2\r\nX: y\r\n\r\nin two\r\n--2--\r\n--1--\r\n";
        let at = |text: &str| {
            letter.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
        };
        let mut outer = part("multipart", "mixed", [0, at("--1"), letter.len()]);
        let mut first = part("text", "plain", [at("first") - 2, at("first"), at("first") + 5]);
        first.lines = 1;
        let end = at("\r\n--1--");
        let mut inner = part("multipart", "mixed", [at("Subject: inner"), at("--2"), end]);
        inner.children.push(part(
            "text",
            "plain",
            [at("in one") - 2, at("in one"), at("in one") + 6],
        ));
        inner.children.push(part("text", "plain", [at("X: y"), at("in two"), at("in two") + 6]));
        let mut message =
            part("message", "rfc822", [at("Content-Type"), at("Subject: inner"), end]);
        message.message = Some(Box::new((EnvelopeFields::default(), inner)));
        outer.children = vec![first, message];
        (letter.to_vec(), outer)
    }

    fn body(item: &str) -> BodySection {
        let pieces = [Piece::Text(item.as_bytes().to_vec())];
        match &FetchItem::parse_all(&mut Cursor::new(&pieces)).unwrap()[..] {
            [FetchItem::Section(body)] => body.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_section_is_found() {
        let (letter, structure) = nested();
        let check = |item: &str, expected: Option<&str>| {
            let found = extract(&letter, &structure, &body(item));
            let found = found.map(|octets| String::from_utf8(octets.to_vec()).unwrap());
            assert_eq!(found.as_deref(), expected, "{item}");
        };
        let whole = String::from_utf8(letter.clone()).unwrap();
        check("BODY[]", Some(&whole));
        check("BODY[]<0.7>", Some("Subject"));
        check("BODY[]<9.5>", Some("outer"));
        check("BODY[]<99999.5>", Some(""));
        check("BODY[HEADER]", Some("Subject: outer\r\nFrom: a@b.test\r\n\tfolded\r\n\r\n"));
        check("BODY[HEADER.FIELDS (from)]", Some("From: a@b.test\r\n\tfolded\r\n\r\n"));
        check("BODY[HEADER.FIELDS (FROM)]<0.4>", Some("From"));
        check("BODY[HEADER.FIELDS.NOT (FROM)]", Some("Subject: outer\r\n\r\n"));
        check("BODY[HEADER.FIELDS (X-None)]", Some("\r\n"));
        check("BODY[TEXT]", Some(&whole[whole.find("--1").unwrap()..]));
        check("BODY[1]", Some("first"));
        check("BODY[1.MIME]", Some("\r\n"));
        check("BODY[1.HEADER]", None);
        check("BODY[1.1]", None);
        check("BODY[2.MIME]", Some("Content-Type: message/rfc822\r\n\r\n"));
        check("BODY[2.HEADER]", Some("Subject: inner\r\n\r\n"));
        check("BODY[2.HEADER.FIELDS (SUBJECT)]", Some("Subject: inner\r\n\r\n"));
        check("BODY[2.TEXT]", Some("--2\r\n\r\nin one\r\n--2\r\nX: y\r\n\r\nin two\r\n--2--"));
        check("BODY[2.1]", Some("in one"));
        check("BODY[2.2]", Some("in two"));
        check("BODY[2.2.MIME]", Some("X: y\r\n\r\n"));
        check("BODY[2.3]", None);
        check("BODY[3]", None);
        check("BODY[4294967295]", None);
    }

    #[test]
    fn the_end_of_a_header_is_found_wherever_its_pieces_end() {
        let letters: [(&[u8], Option<usize>); 8] = [
            (b"A: b\r\n\r\ntext\r\n\r\n", Some(8)),
            (b"A: b\n\ntext", Some(6)),
            (b"A: b\r\n\ntext", Some(7)),
            (b"\r\ntext", Some(2)),
            (b"\ntext", Some(1)),
            (b"A: b\r\n\r\r\nC: d\r\n\r\n", Some(17)),
            (b"A: b\r\n\r", None),
            (b"", None),
        ];
        for (letter, end) in letters {
            for first in 0..=letter.len() {
                for second in first..=letter.len() {
                    let mut looking = HeaderEnd::default();
                    let pieces = [&letter[..first], &letter[first..second], &letter[second..]];
                    let mut before = 0;
                    let found = pieces.iter().find_map(|piece| {
                        let found = looking.find(piece).map(|at| before + at);
                        before += piece.len();
                        found
                    });
                    assert_eq!(found, end, "{letter:?} {first} {second}");
                }
            }
        }
    }

    #[test]
    fn a_letter_without_parts_has_a_part_1() {
        let letter = b"A: b\r\n\r\ntext";
        let structure = part("text", "plain", [0, 8, 12]);
        let octets = extract(letter, &structure, &body("BODY[1]")).unwrap();
        assert_eq!(&*octets, b"text");
        assert!(extract(letter, &structure, &body("BODY[2]")).is_none());
        assert!(extract(letter, &structure, &body("BODY[1.1]")).is_none());
    }

    #[test]
    fn offsets_beyond_the_letter_are_nil_and_no_panic() {
        let structure = part("text", "plain", [7, 3, usize::MAX]);
        for item in ["BODY[1]", "BODY[1.MIME]", "BODY[1.TEXT]"] {
            assert!(extract(b"short", &structure, &body(item)).is_none(), "{item}");
        }
        assert_eq!(&*extract(b"no end", &structure, &body("BODY[HEADER]")).unwrap(), b"no end");
        assert_eq!(&*extract(b"no end", &structure, &body("BODY[TEXT]")).unwrap(), b"");
    }
}
