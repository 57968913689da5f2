//! The sealed summary of a letter: all that a listing needs, so that no body is opened for it.
//! Written at acceptance, read by IMAP (ENVELOPE, BODYSTRUCTURE) and the inbox.
use crate::proto::mime::content;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::preview;
use crate::proto::mime::stored;
use crate::proto::mime::structure;
use crate::proto::mime::thread;

/// Summary of a letter. Texts are decoded to UTF-8 only where said; raw header texts stay raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// IMAP ENVELOPE: header texts as they stand in the letter (unfolded, still RFC 2047 encoded).
    pub envelope: EnvelopeFields,
    /// The MIME tree with octet offsets into the letter.
    pub structure: Part,
    /// Subject, decoded, for pages.
    pub subject: String,
    /// Attachments with a file name, for lists.
    pub attachments: u32,
    /// True when the letter was over a parse budget: it is listed with a safe envelope and
    /// described as one opaque `application/octet-stream` or `text/plain` part.
    pub over_budget: bool,
    /// Which fields the envelope tells exactly.
    pub header_forms: HeaderForms,
    /// Message-IDs of the References field, as [`thread::message_ids`] writes them, the oldest
    /// first; of more than `limits::REFERENCES_MAX` the first, which is the root, and the last.
    pub references: Vec<Vec<u8>>,
    /// The beginning of the text, for lists: at most `limits::PREVIEW_CHARS_MAX` characters,
    /// without line ends (RFC 8970 §3.1). Empty when there is no text.
    pub preview: String,
}

/// RFC 3501 §7.4.2 ENVELOPE, raw octets; `None` where the field is absent. Sender and Reply-To
/// are already those of From where the letter has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeFields {
    /// Date field as written.
    pub date: Option<Vec<u8>>,
    /// Subject field as written, unfolded.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<EnvelopeAddress>,
    /// Sender.
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To.
    pub to: Vec<EnvelopeAddress>,
    /// Cc.
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc.
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To as written.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID as written, with its angle brackets.
    pub message_id: Option<Vec<u8>>,
}

/// One address structure of an ENVELOPE: display name (raw), mailbox, host. A group start has
/// `host == None` and the group name as `mailbox`; a group end has both `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeAddress {
    /// Display name as written (may be RFC 2047 encoded), unquoted.
    pub name: Option<Vec<u8>>,
    /// Local part.
    pub mailbox: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

/// One MIME part. Offsets are octets from the start of the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Type in lower case, e.g. `text`.
    pub kind: String,
    /// Subtype in lower case, e.g. `plain`.
    pub subtype: String,
    /// Content-Type parameters, names in lower case, values decoded (RFC 2231) to UTF-8.
    pub parameters: Vec<(String, String)>,
    /// Content-ID as written.
    pub id: Option<String>,
    /// Content-Description as written.
    pub description: Option<String>,
    /// Content-Transfer-Encoding in lower case, `7bit` when absent.
    pub encoding: String,
    /// Content-Disposition and its parameters.
    pub disposition: Option<(String, Vec<(String, String)>)>,
    /// Content-Language tags.
    pub language: Vec<String>,
    /// Content-Location.
    pub location: Option<String>,
    /// Content-MD5.
    pub md5: Option<String>,
    /// Where the part's MIME header begins.
    pub header_start: u64,
    /// Where its body begins.
    pub body_start: u64,
    /// Where its body ends (exclusive), before the CRLF of the next boundary.
    pub body_end: u64,
    /// Line ends in the body, as Dovecot counts them.
    pub lines: u64,
    /// Parts of a multipart.
    pub children: Vec<Part>,
    /// Envelope and structure of a message/rfc822 body.
    pub message: Option<Box<(EnvelopeFields, Part)>>,
}

/// Summarises a letter, within `limits::MIME_PARTS_MAX`, `MIME_DEPTH_MAX`, `HEADER_OCTETS_MAX`.
/// Never fails: what is over budget or broken becomes an opaque part.
pub fn summarise(letter: &[u8]) -> Summary {
    let structure = structure::read(letter);
    let subject = structure.envelope.subject.as_deref().unwrap_or_default();
    let header_forms = match structure.over_budget {
        true => HeaderForms::default(),
        false => HeaderForms::new(letter, &structure.envelope),
    };
    Summary {
        header_forms,
        references: thread::references(letter),
        preview: preview::of(letter, &structure),
        subject: content::decoded_header(subject),
        envelope: structure.envelope,
        structure: structure.root,
        attachments: structure.attachments,
        over_budget: structure.over_budget,
    }
}

/// Stored form, with a format version first. Never longer than `limits::SUMMARY_OCTETS_MAX`:
/// a summary that would be is cut down to a safe one, marked `over_budget`.
pub fn encode(summary: &Summary) -> Vec<u8> {
    stored::encode(summary)
}

/// Stored form of what is left of a summary that is too large: short texts, few addresses, one
/// opaque part; marked `over_budget`.
pub fn encode_short(summary: &Summary) -> Vec<u8> {
    stored::encode_short(summary)
}

/// Reads the stored form; `None` when it is not one.
pub fn decode(stored: &[u8]) -> Option<Summary> {
    stored::decode(stored)
}

#[cfg(test)]
mod tests;
