//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 §7.4.2), written from a letter's summary.
use crate::domain::limits;
use crate::proto::imap::write;
use crate::proto::mime::summary::EnvelopeAddress;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;

/// How much a structure tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `BODY`
    Basic,
    /// `BODYSTRUCTURE`, with extension data.
    Extended,
}

/// Writes an ENVELOPE.
pub fn envelope(out: &mut Vec<u8>, fields: &EnvelopeFields) {
    // RFC 3501 §7.4.2: an absent Sender or Reply-To is filled from From by the server.
    let or_from = |list: &'_ Vec<EnvelopeAddress>| -> Vec<EnvelopeAddress> {
        if list.is_empty() { fields.from.clone() } else { list.clone() }
    };
    out.push(b'(');
    header_text(out, fields.date.as_deref());
    out.push(b' ');
    header_text(out, fields.subject.as_deref());
    for list in [
        &fields.from,
        &or_from(&fields.sender),
        &or_from(&fields.reply_to),
        &fields.to,
        &fields.cc,
        &fields.bcc,
    ] {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    header_text(out, fields.in_reply_to.as_deref());
    out.push(b' ');
    header_text(out, fields.message_id.as_deref());
    out.push(b')');
}

/// Writes a BODY or BODYSTRUCTURE.
pub fn structure(out: &mut Vec<u8>, part: &Part, extent: Extent) {
    body(out, part, extent, 0);
}

fn body(out: &mut Vec<u8>, part: &Part, extent: Extent, depth: usize) {
    // A summary is within this depth; a damaged one must not exhaust our stack.
    if depth > limits::MIME_DEPTH_MAX * 2 {
        out.extend_from_slice(EMPTY_PART);
        return;
    }
    out.push(b'(');
    if part.kind == "multipart" {
        multipart(out, part, extent, depth);
    } else {
        single(out, part, extent, depth);
    }
    out.push(b')');
}

fn multipart(out: &mut Vec<u8>, part: &Part, extent: Extent, depth: usize) {
    for child in &part.children {
        body(out, child, extent, depth + 1);
    }
    // The grammar asks for at least one part, even of a multipart that has none.
    if part.children.is_empty() {
        out.extend_from_slice(EMPTY_PART);
    }
    out.push(b' ');
    write::string(out, part.subtype.as_bytes());
    if extent == Extent::Extended {
        out.push(b' ');
        parameters(out, &part.parameters);
        disposition_language_location(out, part);
    }
}

fn single(out: &mut Vec<u8>, part: &Part, extent: Extent, depth: usize) {
    // The grammar of message/rfc822 and text has more fields, so the name alone must not
    // decide: without a nested letter it is described as plain octets.
    let message = part.message.as_deref();
    let is_letter = part.kind == "message" && part.subtype == "rfc822";
    let (kind, subtype) = match message {
        Some(_) => ("message", "rfc822"),
        None if is_letter => ("application", "octet-stream"),
        None => (part.kind.as_str(), part.subtype.as_str()),
    };
    write::string(out, kind.as_bytes());
    out.push(b' ');
    write::string(out, subtype.as_bytes());
    out.push(b' ');
    parameters(out, &part.parameters);
    out.push(b' ');
    header_text(out, part.id.as_deref().map(str::as_bytes));
    out.push(b' ');
    header_text(out, part.description.as_deref().map(str::as_bytes));
    out.push(b' ');
    let encoding = if part.encoding.is_empty() { "7bit" } else { &part.encoding };
    write::string(out, encoding.as_bytes());
    write::text(out, format_args!(" {}", part.body_end.saturating_sub(part.body_start)));
    if let Some((fields, inner)) = message {
        out.push(b' ');
        envelope(out, fields);
        out.push(b' ');
        body(out, inner, extent, depth + 1);
    }
    if message.is_some() || kind == "text" {
        write::text(out, format_args!(" {}", part.lines));
    }
    if extent == Extent::Extended {
        out.push(b' ');
        header_text(out, part.md5.as_deref().map(str::as_bytes));
        disposition_language_location(out, part);
    }
}

fn disposition_language_location(out: &mut Vec<u8>, part: &Part) {
    match &part.disposition {
        Some((disposition, disposition_parameters)) => {
            out.extend_from_slice(b" (");
            write::string(out, disposition.as_bytes());
            out.push(b' ');
            parameters(out, disposition_parameters);
            out.push(b')');
        }
        None => out.extend_from_slice(b" NIL"),
    }
    match &part.language[..] {
        [] => out.extend_from_slice(b" NIL"),
        languages => {
            for (index, language) in languages.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b" (" } else { b" " });
                write::string(out, language.as_bytes());
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    header_text(out, part.location.as_deref().map(str::as_bytes));
}

fn parameters(out: &mut Vec<u8>, parameters: &[(String, String)]) {
    if parameters.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (index, (name, value)) in parameters.iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        if value.is_ascii() {
            write::string(out, &one_line(name.as_bytes()));
            out.push(b' ');
            write::string(out, &one_line(value.as_bytes()));
        } else {
            // Octets over 0x7F are not for IMAP4rev1 strings; clients know this form.
            write::string(out, &one_line(format!("{name}*").as_bytes()));
            out.push(b' ');
            write::string(out, rfc2231(value).as_bytes());
        }
    }
    out.push(b')');
}

/// `utf-8''percent%20encoded` (RFC 2231 §4).
fn rfc2231(value: &str) -> String {
    let mut encoded = String::from("utf-8''");
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_') {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

fn addresses(out: &mut Vec<u8>, list: &[EnvelopeAddress]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        header_text(out, address.name.as_deref());
        // The second field is a source route, which RFC 5322 §4.4 made obsolete.
        out.extend_from_slice(b" NIL ");
        header_text(out, address.mailbox.as_deref());
        out.push(b' ');
        header_text(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

fn header_text(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => write::string(out, &one_line(value)),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// A header text is one line. What a letter smuggles in must not make clients see two.
fn one_line(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n' | 0)).collect()
}

/// Stands where a part cannot be described.
const EMPTY_PART: &[u8] = b"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::section;

    fn written(part: &Part, extent: Extent) -> String {
        let mut out = Vec::new();
        structure(&mut out, part, extent);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_envelope_fills_sender_and_reply_to_and_stays_on_one_line() {
        let address = |name: Option<&str>, mailbox: &str, host: Option<&str>| EnvelopeAddress {
            name: name.map(|name| name.as_bytes().to_vec()),
            mailbox: Some(mailbox.as_bytes().to_vec()),
            host: host.map(|host| host.as_bytes().to_vec()),
        };
        let fields = EnvelopeFields {
            date: Some(b"Sat, 21 Nov 2026 10:00:00 +0100".to_vec()),
            subject: Some(b"a \"quoted\"\r\n* BYE one".to_vec()),
            from: vec![address(Some("Dr A"), "a", Some("b.test"))],
            to: vec![address(None, "team", None), EnvelopeAddress::default()],
            message_id: Some(b"<1@b.test>".to_vec()),
            ..EnvelopeFields::default()
        };
        let mut out = Vec::new();
        envelope(&mut out, &fields);
        let from = r#"(("Dr A" NIL "a" "b.test"))"#;
        let expected = format!(
            r#"("Sat, 21 Nov 2026 10:00:00 +0100" "a \"quoted\"* BYE one" {from} {from} {from} ((NIL NIL "team" NIL)(NIL NIL NIL NIL)) NIL NIL NIL "<1@b.test>")"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_structure_shows_nested_letters() {
        let (_, part) = section::tests::nested();
        let text = |octets| format!(r#"("text" "plain" NIL NIL NIL "7bit" {octets} 1)"#);
        let nothing = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
        assert_eq!(
            written(&part, Extent::Basic),
            format!(
                r#"({}("message" "rfc822" NIL NIL NIL "7bit" {} {nothing} ({}{} "mixed") 1) "mixed")"#,
                text(5),
                part.children[1].body_end - part.children[1].body_start,
                text(6),
                text(6)
            )
        );
    }

    #[test]
    fn extension_data_carries_disposition_and_foreign_letters() {
        let mut part = section::tests::part("application", "pdf", [0, 10, 30]);
        part.parameters = vec![("name".to_owned(), "a.pdf".to_owned())];
        part.disposition = Some((
            "attachment".to_owned(),
            vec![("filename".to_owned(), "Résumé 1.pdf".to_owned())],
        ));
        part.language = vec!["fr".to_owned()];
        part.encoding = "base64".to_owned();
        assert_eq!(
            written(&part, Extent::Extended),
            concat!(
                r#"("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 20 NIL ("#,
                r#""attachment" ("filename*" "utf-8''R%C3%A9sum%C3%A9%201.pdf")) ("fr") NIL)"#
            )
        );
    }

    #[test]
    fn what_has_no_inside_still_has_a_valid_form() {
        let multipart = section::tests::part("multipart", "mixed", [0, 0, 0]);
        assert_eq!(
            written(&multipart, Extent::Basic),
            r#"(("text" "plain" NIL NIL NIL "7bit" 0 0) "mixed")"#
        );
        let message = section::tests::part("message", "rfc822", [0, 2, 9]);
        assert_eq!(
            written(&message, Extent::Basic),
            r#"("application" "octet-stream" NIL NIL NIL "7bit" 7)"#
        );
    }

    #[test]
    fn a_structure_of_endless_depth_is_cut_and_no_stack_overflows() {
        let mut part = section::tests::part("text", "plain", [0, 0, 0]);
        for _ in 0..5_000 {
            let mut outer = section::tests::part("multipart", "mixed", [0, 0, 0]);
            outer.children.push(part);
            part = outer;
        }
        assert!(written(&part, Extent::Extended).len() < 10_000);
        // Dropping it must not recurse either, which is the summary's business, not ours.
        while let Some(child) = part.children.pop() {
            part = child;
        }
    }
}
