//! A letter under a seal: what stays outside for those who carry it, and what goes inside.
//!
//! Inside goes the whole message with its own header fields (RFC 9788 §2.2), so that a reader sees
//! the subject as it was written, and can tell which fields were shown outside (`HP-Outer`).
//! Outside stays what operators of the trust space need to carry, count and answer the letter.
use crate::domain::secret::Secret;
use crate::proto::mime::header;
use crate::proto::mime::header::Field;

/// Fields that stay outside, in lower case. Some of them go inside as well.
const OUTSIDE: [&[u8]; 18] = [
    b"return-path",
    b"received",
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"date",
    b"message-id",
    b"subject",
    b"auto-submitted",
    b"disposition-notification-to",
    b"original-recipient",
    b"resent-from",
    b"resent-to",
    b"resent-date",
    b"resent-message-id",
    b"list-id",
];
/// Fields of the conversation, which stay outside if that is wanted.
const THREAD: [&[u8]; 2] = [b"in-reply-to", b"references"];
/// What operators read of every letter (ANS Ref2 §3.5) begins so.
const OPERATORS: &[u8] = b"x-mss-";
/// Fields that relays write about the way, or that would no longer be true: not inside.
const NOT_INSIDE: [&[u8]; 9] = [
    b"return-path",
    b"received",
    b"bcc",
    b"dkim-signature",
    b"authentication-results",
    b"delivered-to",
    b"hp-outer",
    b"mime-version",
    b"x-vaguemestre-openpgp",
];
/// Says what the sealed entity is (RFC 9788 §2.1.1), to newer and to older programs.
const PROTECTED: &[u8] = b";\r\n\thp=\"cipher\"; protected-headers=\"v1\"\r\n";
/// Octets to a line of a folded header field.
const ROOM: usize = 1_024;

/// What is hidden of a header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection<'a> {
    /// Stands outside in the place of the subject; `None`: the subject stays readable.
    pub subject: Option<&'a str>,
    /// In-Reply-To and References stay outside, so that conversations are found.
    pub threads: bool,
    /// Bcc goes inside: what an author keeps for themselves still says to whom it goes. In what
    /// leaves, Bcc goes nowhere.
    pub keeps_bcc: bool,
}

/// A letter, taken apart.
pub struct Payload {
    /// The entity that is to be sealed.
    pub inner: Secret<Vec<u8>>,
    /// The header section for outside, without the fields that describe the body.
    pub outer: Vec<u8>,
}

/// Takes a letter apart. Field order is kept on both sides.
pub fn payload(letter: &[u8], protection: Protection<'_>) -> Payload {
    let mut outer = Vec::new();
    // Sized for all that can come: a `Vec` that grows leaves clear text behind.
    let mut inner = Vec::with_capacity(letter.len() * 2 + ROOM);
    let mut copies = Vec::new();
    let mut content_type = None;
    let (mut walked, mut subject_seen) = (0, false);
    let mut fields = header::fields(letter);
    for field in fields.by_ref() {
        walked += field.raw.len();
        let name = field.name.to_ascii_lowercase();
        if name == b"content-type" && content_type.is_none() {
            content_type = Some(field);
            continue;
        }
        // What describes the body goes with it; a line that is no field goes nowhere.
        if name.starts_with(b"content-") {
            inner.extend_from_slice(field.raw);
            continue;
        }
        if name.is_empty() {
            continue;
        }
        let hides = name == b"subject" && hides_subject(&field, protection);
        if stays_outside(&name, protection) && !(name == b"subject" && subject_seen) {
            let shown = match (hides, protection.subject) {
                (true, Some(shown)) => format!("Subject: {shown}\r\n").into_bytes(),
                _ => whole_lines(field.raw),
            };
            subject_seen |= name == b"subject";
            if !NOT_INSIDE.contains(&name.as_slice()) {
                copies.push(shown.clone());
            }
            outer.extend_from_slice(&shown);
        }
        let is_kept = protection.keeps_bcc && name == b"bcc";
        if is_kept || !NOT_INSIDE.contains(&name.as_slice()) && !name.starts_with(b"arc-") {
            inner.extend_from_slice(&whole_lines(field.raw));
        }
    }
    // RFC 9788 §2.2.2: each field that is shown outside, as it is shown there.
    for copy in &copies {
        inner.extend_from_slice(b"HP-Outer: ");
        inner.extend_from_slice(copy);
    }
    match content_type {
        Some(field) => {
            let end = field.raw.trim_ascii_end();
            inner.extend_from_slice(end.strip_suffix(b";").unwrap_or(end));
        }
        None => inner.extend_from_slice(b"Content-Type: text/plain; charset=us-ascii"),
    }
    inner.extend_from_slice(PROTECTED);
    let body = letter.get(walked..).unwrap_or_default();
    if body.is_empty() {
        inner.extend_from_slice(b"\r\n");
    }
    inner.extend_from_slice(body);
    Payload { inner: Secret::new(inner), outer }
}

/// `[FIN]` is a word between operators and ends an exchange: it stays readable.
fn hides_subject(field: &Field<'_>, protection: Protection<'_>) -> bool {
    protection.subject.is_some() && &*field.unfolded() != b"[FIN]"
}

fn stays_outside(name: &[u8], protection: Protection<'_>) -> bool {
    OUTSIDE.contains(&name)
        || name.starts_with(OPERATORS)
        || (protection.threads && THREAD.contains(&name))
}

/// A field that ends the letter may have lost its line end.
fn whole_lines(raw: &[u8]) -> Vec<u8> {
    let mut field = raw.trim_ascii_end().to_vec();
    field.extend_from_slice(b"\r\n");
    field
}

/// Puts an armoured message into a letter with this outer header section (RFC 3156 §4).
/// `boundary`: letters, digits, `=` and `_`, with one of the last two in it, so that no line of an
/// armour can be it.
pub fn enclose(outer: &[u8], armoured: &[u8], boundary: &str) -> Vec<u8> {
    let mut letter = Vec::with_capacity(outer.len() + armoured.len() + armoured.len() / 32 + ROOM);
    letter.extend_from_slice(outer);
    let head = format!(
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n\
         \tboundary=\"{boundary}\"\r\n\
         \r\n\
         This is an OpenPGP/MIME encrypted message (RFC 3156).\r\n\
         --{boundary}\r\n\
         Content-Type: application/pgp-encrypted\r\n\
         Content-Description: PGP/MIME version identification\r\n\
         \r\n\
         Version: 1\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
         \r\n"
    );
    letter.extend_from_slice(head.as_bytes());
    for line in armoured.split(|octet| *octet == b'\n') {
        letter.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        letter.extend_from_slice(b"\r\n");
    }
    letter.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    letter
}
