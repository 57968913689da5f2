//! What a page or a search reads of a letter's content: decoded texts and attachments.
use crate::proto::mime::header;
use crate::proto::mime::words;

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

/// What to show of a letter; within the MIME budgets.
pub fn readable(letter: &[u8]) -> Readable {
    let _ = letter;
    todo!()
}

/// The decoded octets of one attachment of [`readable`].
pub fn attachment(letter: &[u8], index: usize) -> Option<Vec<u8>> {
    let _ = (letter, index);
    todo!()
}

/// All text of a letter for SEARCH BODY/TEXT: decoded text parts, UTF-8, joined.
pub fn searchable_text(letter: &[u8]) -> String {
    let _ = letter;
    todo!()
}

/// A decoded header field value (RFC 2047) as UTF-8, e.g. of `Subject`.
pub fn decoded_header(raw: &[u8]) -> String {
    words::decode(&header::unfold(raw))
}
