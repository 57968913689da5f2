//! What tests look at: fields, addresses, bodies.
use std::cell::OnceCell;

use crate::proto::mime::address;
use crate::proto::mime::address::Item;
use crate::proto::mime::content;
use crate::proto::mime::header;
use crate::proto::mime::summary;
use crate::proto::mime::summary::Part;
use crate::proto::sieve::program::AddressPart;

/// A letter in clear, in memory.
pub struct Letter<'l> {
    octets: &'l [u8],
    /// Without the empty line behind it.
    header: &'l [u8],
    structure: OnceCell<Part>,
}

impl<'l> Letter<'l> {
    /// The letter's octets, with the fields that the relay put before them.
    pub fn new(octets: &'l [u8]) -> Self {
        let end = match octets.starts_with(b"\r\n") {
            true => Some(0),
            false => octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2),
        };
        let header = &octets[..end.unwrap_or(octets.len())];
        Self { octets, header, structure: OnceCell::new() }
    }

    /// Octets of all of it.
    pub(super) fn size(&self) -> u64 {
        self.octets.len() as u64
    }

    /// The header section.
    pub(super) fn header(&self) -> &'l [u8] {
        self.header
    }

    /// Values of all fields of a name, as they stand there.
    pub(super) fn raw(&self, name: &str) -> impl Iterator<Item = &'l [u8]> + use<'l> {
        let name = name.to_owned();
        header::fields(self.header).filter(move |field| field.is(&name)).map(|field| field.value)
    }

    /// Values of all fields of a name, decoded (RFC 5228 §2.7.2: RFC 2047 is undone).
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        self.raw(name).map(|raw| content::decoded_header(raw).trim().to_owned()).collect()
    }

    /// Everything behind the header section.
    pub(super) fn body(&self) -> &'l [u8] {
        let body = &self.octets[self.header.len()..];
        body.strip_prefix(b"\r\n").unwrap_or(body)
    }

    /// Texts of the parts of some kinds (RFC 5173 §5.2), or of all that people read when there
    /// are no kinds (§5.3).
    pub(super) fn parts(&self, kinds: Option<&[String]>) -> Vec<String> {
        let root = self.structure.get_or_init(|| summary::summarise(self.octets).structure);
        let mut texts = Vec::new();
        let mut waiting = vec![root];
        while let Some(part) = waiting.pop() {
            waiting.extend(part.children.iter().rev());
            waiting.extend(part.message.as_deref().map(|(_, inside)| inside));
            let is_wanted = match kinds {
                None => part.kind == "text",
                Some(kinds) => kinds.iter().any(|kind| is_of(part, kind)),
            };
            if !is_wanted || !part.children.is_empty() {
                continue;
            }
            texts.push(match (&part.message, kinds) {
                // RFC 5173 §5.2: of a letter inside, its header section.
                (Some(inside), _) => {
                    let (start, end) = (inside.1.header_start, inside.1.body_start);
                    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                    let section = range.and_then(|(start, end)| self.octets.get(start..end));
                    String::from_utf8_lossy(section.unwrap_or_default()).into_owned()
                }
                (None, None) => content::readable_part(self.octets, part),
                (None, Some(_)) => content::part_text(self.octets, part),
            });
        }
        texts
    }
}

/// RFC 5173 §5.2: `""` is every kind, `text` all of one, `text/html` just that.
fn is_of(part: &Part, kind: &str) -> bool {
    let kind = kind.trim().to_ascii_lowercase();
    match kind.split_once('/') {
        _ if kind.is_empty() => true,
        Some((kind, subtype)) if kind.is_empty() || subtype.contains('/') => false,
        Some((kind, subtype)) => part.kind == kind && part.subtype == subtype,
        None => part.kind == kind,
    }
}

/// The wanted part of each address of a field.
pub(super) fn addresses(value: &[u8], part: AddressPart) -> Vec<String> {
    let list = address::parse(value);
    let texts = list.items.into_iter().filter_map(|item| match item {
        Item::Mailbox { local_part, domain, written, .. } => match (part, domain) {
            (AddressPart::All, _) => Some(written),
            (AddressPart::LocalPart, Some(_)) => Some(local_part),
            (AddressPart::Domain, Some(domain)) => Some(domain),
            // RFC 5228 §2.7.4: what is no address has no parts.
            (_, None) => None,
        },
        Item::GroupStart(_) | Item::GroupEnd => None,
    });
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
}

/// The wanted part of an address of the envelope. The null path has no parts, and is empty.
pub(super) fn part_of(address: &str, part: AddressPart) -> Option<String> {
    match (part, address.rsplit_once('@')) {
        (AddressPart::All, _) => Some(address.to_owned()),
        (AddressPart::LocalPart, Some((local, _))) => Some(local.to_owned()),
        (AddressPart::Domain, Some((_, domain))) => Some(domain.to_owned()),
        (_, None) => None,
    }
}
