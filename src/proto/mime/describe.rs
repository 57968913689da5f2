//! What a header section says of its entity: the fields of a part (RFC 2045) and the ENVELOPE of
//! a letter (RFC 3501 §7.4.2).
use std::borrow::Cow;

use crate::domain::limits;
use crate::proto::mime::address;
use crate::proto::mime::address::Item;
use crate::proto::mime::header;
use crate::proto::mime::header::Field;
use crate::proto::mime::parameters;
use crate::proto::mime::parameters::Parameterised;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;

/// Fills a part from its own header section. The first field of a name counts.
pub(super) fn fill(part: &mut Part, section: &[u8], in_digest: bool) {
    if in_digest {
        part.kind = "message".to_owned();
        part.subtype = "rfc822".to_owned();
        part.parameters.clear();
    }
    let mut seen = Seen::default();
    for field in header::fields(section) {
        let Some(name) = field.name.split_at_checked(8).map(|(start, _)| start) else { continue };
        if !name.eq_ignore_ascii_case(b"content-") {
            continue;
        }
        let rest = field.name[8..].to_ascii_lowercase();
        let slot = match rest.as_slice() {
            b"type" => 0,
            b"transfer-encoding" => 1,
            b"disposition" => 2,
            b"id" => 3,
            b"description" => 4,
            b"language" => 5,
            b"location" => 6,
            b"md5" => 7,
            _ => continue,
        };
        if !seen.first(slot) {
            continue;
        }
        let value = field.unfolded();
        match slot {
            0 => set_type(part, parameters::parse(&value)),
            1 => {
                let encoding = parameters::parse(&value).value;
                if !encoding.is_empty() {
                    part.encoding = encoding;
                }
            }
            2 => {
                let parsed = parameters::parse(&value);
                if !parsed.value.is_empty() {
                    part.disposition = Some((parsed.value, parsed.parameters));
                }
            }
            3 => part.id = short_text(&value),
            4 => part.description = short_text(&value),
            5 => {
                let tags = value.split(|octet| *octet == b',').take(32);
                part.language = tags.filter_map(|tag| short_text(tag.trim_ascii())).collect();
            }
            6 => part.location = short_text(&value),
            _ => part.md5 = short_text(&value),
        }
    }
}

#[derive(Default)]
struct Seen([bool; 8]);

impl Seen {
    fn first(&mut self, slot: usize) -> bool {
        !std::mem::replace(&mut self.0[slot], true)
    }
}

fn set_type(part: &mut Part, content_type: Parameterised) {
    let Some((kind, subtype)) = content_type.value.split_once('/') else { return };
    // RFC 2045 §5.2: a type that cannot be read is text/plain.
    if kind.is_empty() || subtype.is_empty() {
        return;
    }
    part.kind = kind.to_owned();
    part.subtype = subtype.to_owned();
    part.parameters = content_type.parameters;
}

fn short_text(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&value[..value.len().min(2_048)]);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

/// Reads the ENVELOPE of a letter's header section.
pub(super) fn envelope(section: &[u8]) -> EnvelopeFields {
    let mut envelope = EnvelopeFields::default();
    for field in header::fields(section) {
        let mut name = [0; 12];
        let Some(lower) = name.get_mut(..field.name.len()) else { continue };
        lower.copy_from_slice(field.name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"date" => set_text(&mut envelope.date, &field),
            b"subject" => set_text(&mut envelope.subject, &field),
            b"in-reply-to" => set_text(&mut envelope.in_reply_to, &field),
            b"message-id" => set_text(&mut envelope.message_id, &field),
            b"from" if envelope.from.is_empty() => add_addresses(&mut envelope.from, &field),
            b"sender" if envelope.sender.is_empty() => add_addresses(&mut envelope.sender, &field),
            b"reply-to" if envelope.reply_to.is_empty() => {
                add_addresses(&mut envelope.reply_to, &field);
            }
            b"to" => add_addresses(&mut envelope.to, &field),
            b"cc" => add_addresses(&mut envelope.cc, &field),
            b"bcc" => add_addresses(&mut envelope.bcc, &field),
            _ => {}
        }
    }
    // RFC 3501 §7.4.2: an absent Sender or Reply-To is shown as From.
    if envelope.sender.is_empty() {
        envelope.sender.clone_from(&envelope.from);
    }
    if envelope.reply_to.is_empty() {
        envelope.reply_to.clone_from(&envelope.from);
    }
    envelope
}

fn set_text(text: &mut Option<Vec<u8>>, field: &Field<'_>) {
    if text.is_none() {
        *text = Some(Cow::into_owned(field.unfolded()));
    }
}

fn add_addresses(into: &mut Vec<EnvelopeAddress>, field: &Field<'_>) {
    if into.len() >= limits::ADDRESSES_PER_FIELD_MAX {
        return;
    }
    into.extend(address::parse(field.value).items.into_iter().map(|item| match item {
        Item::GroupStart(name) => EnvelopeAddress { name: None, mailbox: Some(name), host: None },
        Item::GroupEnd => EnvelopeAddress::default(),
        // A bare word must not look like the start of a group.
        Item::Mailbox { name, local_part, domain, .. } => EnvelopeAddress {
            name,
            mailbox: Some(local_part),
            host: Some(domain.unwrap_or_default()),
        },
    }));
}
