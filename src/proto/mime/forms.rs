//! Which header fields an envelope tells just as they stand in the letter. SEARCH HEADER is
//! answered from the envelope then, and the letter stays sealed.
use crate::proto::mime::header;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;

/// Fields of an envelope, in lower case; the place is the number in [`HeaderForms`].
const FIELDS: [&str; 10] = [
    "date",
    "subject",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "in-reply-to",
    "message-id",
];

/// Two bits a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderForms(pub(super) u32);

/// How a field's value is had from the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Not at all: it is there twice, has comments, groups or other spacing.
    Unknown,
    /// The letter has no such field.
    Absent,
    /// A text, or addresses as `Name <a@b>`.
    Bare,
    /// Addresses as `"Name" <a@b>`.
    Quoted,
}

impl Form {
    const ALL: [Self; 4] = [Self::Unknown, Self::Absent, Self::Bare, Self::Quoted];
}

/// True when an envelope may tell the field (its name in lower case).
pub fn is_of_envelope(name: &[u8]) -> bool {
    FIELDS.iter().any(|field| field.as_bytes() == name)
}

impl HeaderForms {
    /// Compares an envelope with the header section that it was read from.
    pub(super) fn new(section: &[u8], envelope: &EnvelopeFields) -> Self {
        let mut found = [Form::Absent; FIELDS.len()];
        for field in header::fields(section) {
            let Some(place) = FIELDS.iter().position(|name| field.is(name)) else { continue };
            let is_it = |form: &Form| {
                written(envelope, place, *form).is_some_and(|value| value == *field.unfolded())
            };
            found[place] = match found[place] {
                Form::Absent => {
                    [Form::Bare, Form::Quoted].into_iter().find(is_it).unwrap_or(Form::Unknown)
                }
                _ => Form::Unknown,
            };
        }
        Self(found.iter().enumerate().fold(0, |sum, (place, form)| {
            let number = Form::ALL.iter().position(|each| each == form).unwrap_or(0);
            sum | (number as u32) << (2 * place)
        }))
    }

    /// The unfolded value of the field (its name in lower case) as it stands in the letter;
    /// `Some(None)` when the letter has none, `None` when only the letter knows.
    pub fn value(self, envelope: &EnvelopeFields, name: &[u8]) -> Option<Option<Vec<u8>>> {
        let place = FIELDS.iter().position(|field| field.as_bytes() == name)?;
        match Form::ALL[(self.0 >> (2 * place)) as usize & 3] {
            Form::Unknown => None,
            Form::Absent => Some(None),
            form => written(envelope, place, form).map(Some),
        }
    }
}

fn written(envelope: &EnvelopeFields, place: usize, form: Form) -> Option<Vec<u8>> {
    match place {
        0 => envelope.date.clone(),
        1 => envelope.subject.clone(),
        2 => addresses(&envelope.from, form),
        3 => addresses(&envelope.sender, form),
        4 => addresses(&envelope.reply_to, form),
        5 => addresses(&envelope.to, form),
        6 => addresses(&envelope.cc, form),
        7 => addresses(&envelope.bcc, form),
        8 => envelope.in_reply_to.clone(),
        _ => envelope.message_id.clone(),
    }
}

fn addresses(addresses: &[EnvelopeAddress], form: Form) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for address in addresses {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        let (mailbox, host) = (address.mailbox.as_ref()?, address.host.as_ref()?);
        match &address.name {
            None => text.extend([mailbox.as_slice(), b"@", host].concat()),
            Some(name) => {
                let quote: &[u8] = if form == Form::Quoted { b"\"" } else { b"" };
                text.extend([quote, name, quote, b" <", mailbox, b"@", host, b">"].concat());
            }
        }
    }
    Some(text)
}
