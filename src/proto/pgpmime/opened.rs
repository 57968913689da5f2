//! An opened content in the place of the sealed one, and the relay's word about it.
use crate::domain::secret::Secret;
use crate::proto::mime::header;

/// The field that tells a reader what the relay found. One that comes from outside is removed.
pub const VERDICT: &str = "X-Vaguemestre-OpenPGP";
/// A line of our word is no longer where it can be folded (RFC 5322 §2.1.1).
const LINE_OCTETS: usize = 78;

/// A header section without fields of our name, however they are written; `None` when there are
/// none, which is nearly always.
pub fn without_verdicts(header_section: &[u8]) -> Option<Vec<u8>> {
    let is_ours = |name: &[u8]| name.eq_ignore_ascii_case(VERDICT.as_bytes());
    if !header::fields(header_section).any(|field| is_ours(field.name)) {
        return None;
    }
    let mut kept = Vec::with_capacity(header_section.len());
    let mut walked = 0;
    for field in header::fields(header_section) {
        walked += field.raw.len();
        if !is_ours(field.name) {
            kept.extend_from_slice(field.raw);
        }
    }
    kept.extend_from_slice(header_section.get(walked..).unwrap_or_default());
    Some(kept)
}

/// The letter with our word at octet `at`, where a field may begin. The word is printable ASCII,
/// its parameters with `; ` between them; between two of them a long line is folded (RFC 5322
/// §2.2.3). Other characters become `?`, so that nothing a stranger wrote begins a field of its own.
pub fn with_verdict(letter: &[u8], at: usize, verdict: &str) -> Secret<Vec<u8>> {
    let at = at.min(letter.len());
    let field = field(verdict);
    let mut told = Vec::with_capacity(letter.len() + field.len());
    told.extend_from_slice(&letter[..at]);
    told.extend_from_slice(field.as_bytes());
    told.extend_from_slice(&letter[at..]);
    Secret::new(told)
}

fn field(verdict: &str) -> String {
    let mut field = format!("{VERDICT}:");
    let mut column = field.len();
    let parameters: Vec<&str> = verdict.split("; ").collect();
    for (at, parameter) in parameters.iter().enumerate() {
        let end = if at + 1 < parameters.len() { ";" } else { "" };
        // The space before it, and what stands behind it.
        if column + 1 + parameter.len() + end.len() > LINE_OCTETS && at > 0 {
            field.push_str("\r\n");
            column = 0;
        }
        field.push(' ');
        field.extend(parameter.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }));
        field.push_str(end);
        column += 1 + parameter.len() + end.len();
    }
    field.push_str("\r\n");
    field
}

/// The letter with `clear`, which was all under one seal, as its whole body: an entity with header
/// fields of its own, or with `is_text` the text of a body. Of an entity's fields only those count
/// that describe it, and the subject that the sender put under the seal (RFC 9788 §3). `None`: it
/// is nothing that a letter can hold.
pub fn in_place(letter: &[u8], clear: &[u8], is_text: bool) -> Option<Secret<Vec<u8>>> {
    if clear.contains(&0) {
        return None;
    }
    let (described, body) = match is_text || !begins_with_a_field(clear) {
        true => (b"".as_slice(), clear),
        false => split(clear),
    };
    let subject = header::fields(described).find(|field| field.is("subject"));
    let subject = subject.filter(|_| protects_fields(described));
    let mut whole = Vec::with_capacity(letter.len() + clear.len() * 2 + 256);
    let mut is_subject_there = false;
    for field in header::fields(letter) {
        let is_of_body = field.name.to_ascii_lowercase().starts_with(b"content-");
        if is_of_body || field.is("mime-version") || field.name.is_empty() {
            continue;
        }
        match subject.filter(|_| field.is("subject")) {
            Some(_) if is_subject_there => {}
            Some(subject) => push_lines(&mut whole, subject.raw),
            None => push_lines(&mut whole, field.raw),
        }
        is_subject_there |= field.is("subject");
    }
    if let Some(subject) = subject.filter(|_| !is_subject_there) {
        push_lines(&mut whole, subject.raw);
    }
    whole.extend_from_slice(b"MIME-Version: 1.0\r\n");
    let mut is_described = false;
    for field in header::fields(described) {
        if field.name.to_ascii_lowercase().starts_with(b"content-") {
            is_described |= field.is("content-type");
            push_lines(&mut whole, field.raw);
        }
    }
    if !is_described {
        let charset = if clear.is_ascii() { "us-ascii" } else { "utf-8" };
        whole.extend_from_slice(
            format!("Content-Type: text/plain; charset={charset}\r\n").as_bytes(),
        );
        if described.is_empty() {
            whole.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
    }
    whole.extend_from_slice(b"\r\n");
    push_text(&mut whole, body);
    Some(Secret::new(whole))
}

/// RFC 9788 §2.1.1, and what older programs write in its place.
fn protects_fields(described: &[u8]) -> bool {
    header::fields(described).filter(|field| field.is("content-type")).any(|field| {
        let value = field.unfolded().to_ascii_lowercase();
        let value: Vec<u8> = value.into_iter().filter(|octet| !b" \t\"'".contains(octet)).collect();
        value
            .split(|octet| *octet == b';')
            .any(|parameter| parameter.starts_with(b"hp=") || parameter == b"protected-headers=v1")
    })
}

fn begins_with_a_field(entity: &[u8]) -> bool {
    entity.starts_with(b"\r\n")
        || entity.starts_with(b"\n")
        || header::fields(entity).next().is_some_and(|field| !field.name.is_empty())
}

/// Header section and body, without the empty line between.
fn split(entity: &[u8]) -> (&[u8], &[u8]) {
    let end: usize = header::fields(entity).map(|field| field.raw.len()).sum();
    let (section, rest) = entity.split_at(end);
    let body = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
    (section, body)
}

/// A field as whole lines, whatever line ends it had.
fn push_lines(into: &mut Vec<u8>, raw: &[u8]) {
    push_text(into, raw.trim_ascii_end());
    into.extend_from_slice(b"\r\n");
}

/// Text with CRLF line ends: programs seal with the line ends of their system.
fn push_text(into: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text.iter().copied().peekable();
    while let Some(octet) = rest.next() {
        match octet {
            b'\r' => {
                rest.next_if_eq(&b'\n');
                into.extend_from_slice(b"\r\n");
            }
            b'\n' => into.extend_from_slice(b"\r\n"),
            octet => into.push(octet),
        }
    }
}
