//! The stored form of a summary: a format version, then postcard of flat private structs. Flat,
//! so that neither reading nor writing recurses.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::structure;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;
use crate::proto::mime::thread;

/// First octet; another number is another format.
const FORMAT: u8 = 3;
/// Octets of one header text that the safe form keeps.
const SAFE_TEXT_OCTETS: usize = 998;
/// Addresses of one field that the safe form keeps.
const SAFE_ADDRESSES: usize = 20;
/// References that the safe form keeps.
const SAFE_REFERENCES: usize = 10;
/// A part number that means "none".
const NO_PARENT: u32 = u32::MAX;

#[derive(Serialize, Deserialize)]
struct StoredSummary {
    envelope: StoredEnvelope,
    /// Parents before children, children in order.
    parts: Vec<StoredPart>,
    subject: String,
    attachments: u32,
    over_budget: bool,
    header_forms: u32,
    references: Vec<Vec<u8>>,
    preview: String,
}

#[derive(Serialize, Deserialize)]
struct StoredEnvelope {
    date: Option<Vec<u8>>,
    subject: Option<Vec<u8>>,
    in_reply_to: Option<Vec<u8>>,
    message_id: Option<Vec<u8>>,
    from: Vec<StoredAddress>,
    /// `None`: the same as `from`.
    sender: Option<Vec<StoredAddress>>,
    reply_to: Option<Vec<StoredAddress>>,
    to: Vec<StoredAddress>,
    cc: Vec<StoredAddress>,
    bcc: Vec<StoredAddress>,
}

#[derive(Serialize, Deserialize)]
struct StoredAddress {
    name: Option<Vec<u8>>,
    mailbox: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct StoredPart {
    parent: u32,
    /// The letter inside a message/rfc822 part, not a part of a multipart.
    envelope: Option<StoredEnvelope>,
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
    id: Option<String>,
    description: Option<String>,
    encoding: String,
    disposition: Option<(String, Vec<(String, String)>)>,
    language: Vec<String>,
    location: Option<String>,
    md5: Option<String>,
    header_start: u64,
    body_start: u64,
    body_end: u64,
    lines: u64,
}

/// Writes the stored form; at most `limits::SUMMARY_OCTETS_MAX` octets.
pub(super) fn encode(summary: &Summary) -> Vec<u8> {
    let encoded = write(summary);
    if encoded.len() <= limits::SUMMARY_OCTETS_MAX {
        return encoded;
    }
    encode_short(summary)
}

/// Writes the stored form of the safe summary.
pub(super) fn encode_short(summary: &Summary) -> Vec<u8> {
    write(&safe(summary))
}

fn write(summary: &Summary) -> Vec<u8> {
    let stored = StoredSummary {
        envelope: (&summary.envelope).into(),
        parts: flatten(&summary.structure),
        subject: summary.subject.clone(),
        attachments: summary.attachments,
        over_budget: summary.over_budget,
        header_forms: summary.header_forms.0,
        references: summary.references.clone(),
        preview: summary.preview.clone(),
    };
    postcard::to_extend(&stored, vec![FORMAT]).expect("plain structs into memory")
}

/// Reads the stored form.
pub(super) fn decode(stored: &[u8]) -> Option<Summary> {
    if stored.len() > limits::SUMMARY_OCTETS_MAX {
        return None;
    }
    let (&FORMAT, body) = stored.split_first()? else { return None };
    let (stored, rest): (StoredSummary, _) = postcard::take_from_bytes(body).ok()?;
    if !rest.is_empty() {
        return None;
    }
    Some(Summary {
        envelope: stored.envelope.into(),
        structure: unflatten(stored.parts)?,
        subject: stored.subject,
        attachments: stored.attachments,
        over_budget: stored.over_budget,
        header_forms: HeaderForms(stored.header_forms),
        references: stored.references,
        preview: stored.preview,
    })
}

/// What is left of a summary that is too large: short texts, few addresses, one opaque part.
fn safe(summary: &Summary) -> Summary {
    let text = |text: &Option<Vec<u8>>| {
        text.as_ref().map(|text| text[..text.len().min(SAFE_TEXT_OCTETS)].to_vec())
    };
    let addresses = |addresses: &[EnvelopeAddress]| -> Vec<EnvelopeAddress> {
        // A group cut in two would not be a list any more.
        let plain = addresses.iter().filter(|address| address.host.is_some());
        let short = plain.filter(|address| {
            [&address.name, &address.mailbox, &address.host]
                .into_iter()
                .flatten()
                .all(|text| text.len() <= SAFE_TEXT_OCTETS)
        });
        short.take(SAFE_ADDRESSES).cloned().collect()
    };
    let from = &summary.envelope;
    let mut root = Part {
        header_start: summary.structure.header_start,
        body_start: summary.structure.body_start,
        body_end: summary.structure.body_end,
        lines: summary.structure.lines,
        ..structure::text_plain()
    };
    structure::make_opaque(&mut root);
    if summary.structure.encoding.len() <= 32 {
        root.encoding.clone_from(&summary.structure.encoding);
    }
    Summary {
        envelope: EnvelopeFields {
            date: text(&from.date),
            subject: text(&from.subject),
            in_reply_to: text(&from.in_reply_to),
            message_id: text(&from.message_id),
            from: addresses(&from.from),
            sender: addresses(&from.sender),
            reply_to: addresses(&from.reply_to),
            to: addresses(&from.to),
            cc: addresses(&from.cc),
            bcc: addresses(&from.bcc),
        },
        structure: root,
        subject: summary.subject.chars().take(SAFE_TEXT_OCTETS).collect(),
        attachments: summary.attachments,
        over_budget: true,
        header_forms: HeaderForms::default(),
        references: thread::bounded(summary.references.iter().cloned(), SAFE_REFERENCES),
        preview: String::new(),
    }
}

fn flatten(root: &Part) -> Vec<StoredPart> {
    let mut parts = Vec::new();
    let mut waiting = vec![(NO_PARENT, None, root)];
    while let Some((parent, envelope, part)) = waiting.pop() {
        let number = u32::try_from(parts.len()).unwrap_or(NO_PARENT);
        parts.push(StoredPart {
            parent,
            envelope: envelope.map(StoredEnvelope::from),
            kind: part.kind.clone(),
            subtype: part.subtype.clone(),
            parameters: part.parameters.clone(),
            id: part.id.clone(),
            description: part.description.clone(),
            encoding: part.encoding.clone(),
            disposition: part.disposition.clone(),
            language: part.language.clone(),
            location: part.location.clone(),
            md5: part.md5.clone(),
            header_start: part.header_start,
            body_start: part.body_start,
            body_end: part.body_end,
            lines: part.lines,
        });
        // The last one pushed is the first one taken.
        waiting.extend(part.children.iter().rev().map(|child| (number, None, child)));
        if let Some(message) = &part.message {
            waiting.push((number, Some(&message.0), &message.1));
        }
    }
    parts
}

fn unflatten(stored: Vec<StoredPart>) -> Option<Part> {
    let mut depths: Vec<usize> = Vec::with_capacity(stored.len());
    let mut parts: Vec<(u32, Option<EnvelopeFields>, Part)> = Vec::with_capacity(stored.len());
    for part in stored {
        let depth = match usize::try_from(part.parent).ok().and_then(|at| depths.get(at)) {
            Some(depth) => depth + 1,
            None if parts.is_empty() && part.parent == NO_PARENT => 0,
            None => return None,
        };
        // Dropping a tree recurses: one deeper than we ever write is not ours.
        if depth > 2 * limits::MIME_DEPTH_MAX {
            return None;
        }
        depths.push(depth);
        let (parent, envelope, part) = part.into_part();
        parts.push((parent, envelope, part));
    }
    while parts.len() > 1 {
        let (parent, envelope, mut part) = parts.pop()?;
        part.children.reverse();
        let (_, _, parent) = parts.get_mut(usize::try_from(parent).ok()?)?;
        match envelope {
            Some(envelope) => parent.message = Some(Box::new((envelope, part))),
            None => parent.children.push(part),
        }
    }
    let (_, _, mut root) = parts.pop()?;
    root.children.reverse();
    Some(root)
}

impl StoredPart {
    fn into_part(self) -> (u32, Option<EnvelopeFields>, Part) {
        let part = Part {
            kind: self.kind,
            subtype: self.subtype,
            parameters: self.parameters,
            id: self.id,
            description: self.description,
            encoding: self.encoding,
            disposition: self.disposition,
            language: self.language,
            location: self.location,
            md5: self.md5,
            header_start: self.header_start,
            body_start: self.body_start,
            body_end: self.body_end,
            lines: self.lines,
            children: Vec::new(),
            message: None,
        };
        (self.parent, self.envelope.map(EnvelopeFields::from), part)
    }
}

impl From<&EnvelopeFields> for StoredEnvelope {
    fn from(envelope: &EnvelopeFields) -> Self {
        let unless_from = |addresses: &[EnvelopeAddress]| {
            (addresses != envelope.from).then(|| stored_addresses(addresses))
        };
        Self {
            date: envelope.date.clone(),
            subject: envelope.subject.clone(),
            in_reply_to: envelope.in_reply_to.clone(),
            message_id: envelope.message_id.clone(),
            from: stored_addresses(&envelope.from),
            sender: unless_from(&envelope.sender),
            reply_to: unless_from(&envelope.reply_to),
            to: stored_addresses(&envelope.to),
            cc: stored_addresses(&envelope.cc),
            bcc: stored_addresses(&envelope.bcc),
        }
    }
}

impl From<StoredEnvelope> for EnvelopeFields {
    fn from(stored: StoredEnvelope) -> Self {
        let from = addresses(stored.from);
        Self {
            date: stored.date,
            subject: stored.subject,
            in_reply_to: stored.in_reply_to,
            message_id: stored.message_id,
            sender: stored.sender.map_or_else(|| from.clone(), addresses),
            reply_to: stored.reply_to.map_or_else(|| from.clone(), addresses),
            from,
            to: addresses(stored.to),
            cc: addresses(stored.cc),
            bcc: addresses(stored.bcc),
        }
    }
}

fn stored_addresses(addresses: &[EnvelopeAddress]) -> Vec<StoredAddress> {
    let store = |address: &EnvelopeAddress| StoredAddress {
        name: address.name.clone(),
        mailbox: address.mailbox.clone(),
        host: address.host.clone(),
    };
    addresses.iter().map(store).collect()
}

fn addresses(stored: Vec<StoredAddress>) -> Vec<EnvelopeAddress> {
    let read = |StoredAddress { name, mailbox, host }| EnvelopeAddress { name, mailbox, host };
    stored.into_iter().map(read).collect()
}
