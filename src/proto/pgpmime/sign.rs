//! A letter that stays readable and is signed beside its text (RFC 3156 §5).
//!
//! What is signed must arrive octet for octet, so it is in a form that nobody on the way has a
//! reason to change: seven bits, and no line that begins with `From `. Parts that are so already
//! (archives in base64, plain texts) stay exactly as they are; the others get another transfer
//! encoding. Header fields that a reader is shown stand inside as well (RFC 9788 §2.2).
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::proto::dsn;
use crate::proto::mime::content;
use crate::proto::mime::header;
use crate::proto::mime::summary::Part;

/// Fields that a reader is shown, in lower case: they are signed with the text.
const SHOWN: [&[u8]; 10] = [
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"date",
    b"message-id",
    b"subject",
    b"in-reply-to",
    b"references",
];
/// Fields that do not leave, or that another body makes untrue.
const DROPPED: [&[u8]; 4] = [b"bcc", b"mime-version", b"dkim-signature", b"hp-outer"];
/// Says what the signed entity is (RFC 9788 §2.1.1), to newer and to older programs.
const PROTECTED: &[u8] = b";\r\n\thp=\"clear\"; protected-headers=\"v1\"\r\n";
/// Octets of base64 to a line (RFC 2045 §6.8).
const BASE64_LINE: usize = 76;
/// A longer line is broken on the way (RFC 5321 §4.5.3.1.6), without its CRLF.
const LINE_OCTETS_MAX: usize = 998;
const ENCODING: &str = "content-transfer-encoding";

/// A letter that can be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signable {
    /// The entity over whose octets the signature goes.
    pub entity: Vec<u8>,
    /// The header section around it, without the fields that describe the body.
    pub outer: Vec<u8>,
}

/// Other octets for a stretch of the letter.
type Edit = (Range<usize>, Vec<u8>);

/// Brings a letter into a form that can be signed; `root` is its structure. `None`: it is signed
/// or sealed already, is a report (whose form programs rely on), or has something in it that could
/// only be signed by changing more than a transfer encoding.
pub fn signable(letter: &[u8], root: &Part) -> Option<Signable> {
    if root.kind == "multipart"
        && matches!(root.subtype.as_str(), "signed" | "encrypted" | "report")
    {
        return None;
    }
    let mut edits = Vec::new();
    let encoding = walk(letter, root, true, &mut edits)?;
    let (mut inner, mut outer) = (Vec::with_capacity(letter.len() + 4_096), Vec::new());
    let (mut walked, mut content_type) = (0, None);
    for field in header::fields(letter) {
        walked += field.raw.len();
        let name = field.name.to_ascii_lowercase();
        if name == b"content-type" && content_type.is_none() {
            content_type = Some(field);
        } else if name.starts_with(b"content-") {
            if name != ENCODING.as_bytes() {
                inner.extend_from_slice(&whole_lines(field.raw));
            }
        } else if !name.is_empty() && !DROPPED.contains(&name.as_slice()) {
            if SHOWN.contains(&name.as_slice()) && field.raw.is_ascii() {
                inner.extend_from_slice(&whole_lines(field.raw));
            }
            outer.extend_from_slice(&whole_lines(field.raw));
        }
    }
    inner.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
    match content_type {
        Some(field) => {
            let end = field.raw.trim_ascii_end();
            inner.extend_from_slice(end.strip_suffix(b";").unwrap_or(end));
        }
        None => inner.extend_from_slice(b"Content-Type: text/plain; charset=us-ascii"),
    }
    inner.extend_from_slice(PROTECTED);
    let mut at = walked;
    for (stretch, octets) in edits {
        inner.extend_from_slice(letter.get(at..stretch.start)?);
        inner.extend_from_slice(&octets);
        at = stretch.end;
    }
    let rest = letter.get(at..)?;
    if walked == letter.len() {
        inner.extend_from_slice(b"\r\n");
    }
    inner.extend_from_slice(rest);
    (!is_fragile(&inner)).then_some(Signable { entity: inner, outer })
}

/// Gathers what must be changed of a part and of those in it; answers its transfer encoding then.
fn walk(letter: &[u8], part: &Part, is_root: bool, edits: &mut Vec<Edit>) -> Option<&'static str> {
    let place = |octet: u64| usize::try_from(octet).ok();
    let (head, start, end) =
        (place(part.header_start)?, place(part.body_start)?, place(part.body_end)?);
    let body = letter.get(start..end)?;
    let is_whole = part.children.is_empty() && part.message.is_none();
    if !is_whole {
        // RFC 2045 §6.4: what holds others has no encoding but these.
        if matches!(part.encoding.as_str(), "8bit" | "binary") && !is_root {
            drop_encoding(letter, head..start, edits)?;
        }
        let before = edits.len();
        for child in part.children.iter().chain(part.message.iter().map(|it| &it.1)) {
            walk(letter, child, false, edits)?;
        }
        let is_sealed =
            part.kind == "multipart" && matches!(part.subtype.as_str(), "signed" | "encrypted");
        return (edits.len() == before || !is_sealed).then_some("7bit");
    }
    if !needs_encoding(body, &part.encoding) {
        return Some(match part.encoding.as_str() {
            "base64" => "base64",
            "quoted-printable" => "quoted-printable",
            _ => "7bit",
        });
    }
    let clear = content::decoded(&part.encoding, body);
    let (encoding, encoded) = match part.kind.as_str() {
        "text" => ("quoted-printable", dsn::quoted_printable(&clear).into_bytes()),
        // Only the encodings of a multipart (RFC 2046 §5.2, §5.1.1).
        "message" | "multipart" => return None,
        _ => ("base64", base64_lines(&clear)),
    };
    if !is_root {
        drop_encoding(letter, head..start, edits)?;
        // Before the empty line: the section's fields end there.
        let fields: usize = header::fields(letter.get(head..start)?).map(|it| it.raw.len()).sum();
        let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
        edits.push((head + fields..head + fields, field.into_bytes()));
    }
    edits.push((start..end, encoded));
    Some(encoding)
}

fn drop_encoding(letter: &[u8], section: Range<usize>, edits: &mut Vec<Edit>) -> Option<()> {
    let mut at = section.start;
    for field in header::fields(letter.get(section)?) {
        let stretch = at..at + field.raw.len();
        at = stretch.end;
        if field.name.eq_ignore_ascii_case(ENCODING.as_bytes()) {
            edits.push((stretch, Vec::new()));
        }
    }
    Some(())
}

/// What is in base64 or quoted-printable already is left alone as long as it is seven bits.
fn needs_encoding(body: &[u8], encoding: &str) -> bool {
    let is_text = !matches!(encoding, "base64" | "quoted-printable");
    let ends_in_white = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        matches!(line.strip_suffix(b"\r").unwrap_or(line).last(), Some(b' ' | b'\t'))
    };
    // RFC 3156 §5: white space at the end of a line is what gateways like to take away.
    is_fragile(body) || is_text && body.split_inclusive(|it| *it == b'\n').any(ends_in_white)
}

/// True when something on the way may change these octets.
fn is_fragile(octets: &[u8]) -> bool {
    let is_bad = |line: &[u8]| line.starts_with(b"From ") || line.len() > LINE_OCTETS_MAX + 2;
    !octets.is_ascii()
        || octets.contains(&0)
        || octets.split_inclusive(|octet| *octet == b'\n').any(is_bad)
}

fn base64_lines(clear: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(clear);
    let mut lines = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    for line in text.as_bytes().chunks(BASE64_LINE) {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

fn whole_lines(raw: &[u8]) -> Vec<u8> {
    let mut field = raw.trim_ascii_end().to_vec();
    field.extend_from_slice(b"\r\n");
    field
}

/// The letter with its signature beside it. `boundary` as for [`super::enclose`], and in no line
/// of the entity; `digest`: the name of the signature's digest, e.g. `pgp-sha512`.
pub fn with_signature(
    signable: &Signable,
    armoured: &[u8],
    digest: &str,
    boundary: &str,
) -> Vec<u8> {
    let room = signable.entity.len() + signable.outer.len() + armoured.len() * 2 + 1_024;
    let mut letter = Vec::with_capacity(room);
    letter.extend_from_slice(&signable.outer);
    let head = format!(
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; micalg={digest};\r\n\
         \tprotocol=\"application/pgp-signature\"; boundary=\"{boundary}\"\r\n\
         \r\n\
         This is an OpenPGP/MIME signed message (RFC 3156).\r\n\
         --{boundary}\r\n"
    );
    letter.extend_from_slice(head.as_bytes());
    letter.extend_from_slice(&signable.entity);
    // RFC 2046 §5.1.1: this line end belongs to the boundary and is not signed.
    let between = format!(
        "\r\n--{boundary}\r\n\
         Content-Type: application/pgp-signature; name=\"signature.asc\"\r\n\
         Content-Description: OpenPGP digital signature\r\n\
         Content-Disposition: attachment; filename=\"signature.asc\"\r\n\
         \r\n"
    );
    letter.extend_from_slice(between.as_bytes());
    for line in armoured.split(|octet| *octet == b'\n') {
        letter.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        letter.extend_from_slice(b"\r\n");
    }
    letter.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    letter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mime::summary;
    use crate::proto::pgpmime;
    use crate::proto::pgpmime::Found;

    fn of(letter: &str) -> Option<Signable> {
        signable(letter.as_bytes(), &summary::summarise(letter.as_bytes()).structure)
    }

    #[test]
    fn a_text_of_eight_bits_is_signed_in_seven_and_reads_the_same() {
        let letter = "Return-Path: <a@a.test>\r\nFrom: a@a.test\r\nBcc: b@b.test\r\nSubject: S\r\n\
                      MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                      Content-Transfer-Encoding: 8bit\r\n\r\nétat \r\nFrom here\r\n";
        let signable = of(letter).unwrap();
        let entity = String::from_utf8(signable.entity.clone()).unwrap();
        assert!(entity.contains("\r\n\r\n=C3=A9tat=20\r\n=46rom here\r\n"), "{entity}");
        assert!(entity.contains("Content-Transfer-Encoding: quoted-printable\r\n"), "{entity}");
        assert!(entity.contains("Subject: S\r\n") && !entity.contains("Bcc"), "{entity}");
        assert!(entity.contains("hp=\"clear\""), "{entity}");
        let outer = String::from_utf8(signable.outer.clone()).unwrap();
        assert!(outer.starts_with("Return-Path: ") && !outer.contains("Bcc"), "{outer}");
        let whole = with_signature(&signable, b"SIG\n", "pgp-sha512", "=_s");
        let found = pgpmime::find(&whole, &summary::summarise(&whole).structure);
        let Some(Found::Signed(found)) = found else { panic!("{found:?}") };
        assert_eq!(found.signed, signable.entity);
        let second = mail_parser::MessageParser::default().parse(&whole).unwrap();
        assert_eq!(second.body_text(0).unwrap().trim_end(), "état \r\nFrom here");
    }

    #[test]
    fn parts_that_need_nothing_stay_octet_for_octet() {
        let archive = "--b\r\nContent-Type: application/zip; name=IHE_XDM.ZIP\r\n\
                       Content-Transfer-Encoding: base64\r\n\r\nUEsDBAo=\r\n";
        let letter = format!(
            "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\nContent-Language: fr\r\n\r\né\r\n{archive}--b--\r\n"
        );
        let signable = of(&letter).unwrap();
        let entity = String::from_utf8(signable.entity).unwrap();
        assert!(entity.contains(&format!("\r\n{archive}--b--\r\n")), "{entity}");
        assert!(
            entity.contains(
                "Content-Language: fr\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n--b"
            ),
            "{entity}"
        );
        assert_eq!(entity.matches("8bit").count(), 0, "{entity}");
    }

    #[test]
    fn what_could_only_be_signed_by_changing_more_is_left_alone() {
        for letter in [
            "From: a@a.test\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
            "From: a@a.test\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
            "From: a@a.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\né\r\n--b\r\n\r\nx\r\n--b--\r\n",
            "From: a@a.test\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
             Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\né\r\n--b--\r\n--o--\r\n",
        ] {
            assert_eq!(of(letter), None, "{letter}");
        }
        let unnamed = of("From: a@a.test\r\nSubject: é\r\n\r\nx\r\n").unwrap();
        assert!(!unnamed.entity.windows(7).any(|it| it == b"Subject"));
    }
}
