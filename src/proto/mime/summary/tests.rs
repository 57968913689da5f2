use proptest::prelude::*;

use super::*;
use crate::domain::limits;

fn body<'l>(letter: &'l [u8], part: &Part) -> &'l [u8] {
    &letter[part.body_start as usize..part.body_end as usize]
}

fn names(part: &Part) -> String {
    let mut text = format!("{}/{}", part.kind, part.subtype);
    let inner = part.children.iter().chain(part.message.iter().map(|message| &message.1));
    let inner: Vec<_> = inner.map(names).collect();
    if !inner.is_empty() {
        text.push_str(&format!("({})", inner.join(" ")));
    }
    text
}

const NESTED: &str = "From: \"Lune, Dr\" <a@x.fr>\r\n\
To: g: b@y.fr;, c@z.fr\r\n\
Subject: =?utf-8?q?H=C3=A9?=\r\n\
Message-ID: <1@x>\r\n\
Content-Type: multipart/mixed; boundary=\"out\"\r\n\
\r\n\
preamble\r\n\
--out\r\n\
Content-Type: multipart/alternative; boundary=in\r\n\
\r\n\
--in\r\n\
\r\n\
plain\r\n\
--in\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Content-Transfer-Encoding: Quoted-Printable\r\n\
\r\n\
<p>one</p>\r\n\
<p>two</p>\r\n\
\r\n\
--in--\r\n\
epilogue\r\n\
--out  \r\n\
Content-Type: message/rfc822\r\n\
Content-Disposition: attachment; filename*=utf-8''%C3%A9.eml\r\n\
\r\n\
From: d@w.fr\r\n\
Subject: inner\r\n\
\r\n\
inner body\r\n\
--out\r\n\
Content-Type: application/pdf; name=a.pdf\r\n\
Content-ID: <cid>\r\n\
Content-Language: fr, en\r\n\
\r\n\
--outer is not a delimiter\r\n\
--out--\r\n\
after\r\n";

#[test]
fn a_nested_letter_is_described_with_exact_offsets() {
    let letter = NESTED.as_bytes();
    let summary = summarise(letter);
    let root = &summary.structure;
    assert_eq!(
        names(root),
        "multipart/mixed(multipart/alternative(text/plain text/html) \
         message/rfc822(text/plain) application/pdf)"
    );
    let alternative = &root.children[0];
    assert_eq!(body(letter, &alternative.children[0]), b"plain");
    assert_eq!(body(letter, &alternative.children[1]), b"<p>one</p>\r\n<p>two</p>\r\n");
    assert_eq!(alternative.children[1].lines, 2);
    assert_eq!(alternative.children[1].encoding, "quoted-printable");
    assert!(body(letter, alternative).ends_with(b"--in--\r\nepilogue"));
    let forwarded = &root.children[1];
    assert_eq!(body(letter, forwarded), b"From: d@w.fr\r\nSubject: inner\r\n\r\ninner body");
    let (envelope, inside) = &**forwarded.message.as_ref().unwrap();
    assert_eq!(envelope.subject.as_deref(), Some(&b"inner"[..]));
    assert_eq!(body(letter, inside), b"inner body");
    assert_eq!(inside.header_start, forwarded.body_start);
    assert_eq!(
        forwarded.disposition,
        Some(("attachment".into(), vec![("filename".into(), "é.eml".into())]))
    );
    let pdf = &root.children[2];
    assert_eq!(body(letter, pdf), b"--outer is not a delimiter");
    assert_eq!(pdf.id.as_deref(), Some("<cid>"));
    assert_eq!(pdf.language, ["fr", "en"]);
    let header = &letter[pdf.header_start as usize..pdf.body_start as usize];
    assert!(header.starts_with(b"Content-Type: app") && header.ends_with(b"fr, en\r\n\r\n"));
    assert_eq!(root.body_end as usize, letter.len());
    assert_eq!((summary.attachments, summary.over_budget), (2, false));
    assert_eq!(summary.subject, "Hé");
}

#[test]
fn the_envelope_is_raw_and_keeps_groups() {
    let envelope = summarise(NESTED.as_bytes()).envelope;
    let text = |text: &[u8]| Some(text.to_vec());
    let address = |name: Option<&[u8]>, mailbox: &[u8], host: &[u8]| EnvelopeAddress {
        name: name.map(<[u8]>::to_vec),
        mailbox: text(mailbox),
        host: text(host),
    };
    assert_eq!(envelope.subject, text(b"=?utf-8?q?H=C3=A9?="));
    assert_eq!(envelope.message_id, text(b"<1@x>"));
    assert_eq!(envelope.date, None);
    assert_eq!(envelope.from, [address(Some(b"Lune, Dr"), b"a", b"x.fr")]);
    assert_eq!((&envelope.sender, &envelope.reply_to), (&envelope.from, &envelope.from));
    assert_eq!(
        envelope.to,
        [
            EnvelopeAddress { name: None, mailbox: text(b"g"), host: None },
            address(None, b"b", b"y.fr"),
            EnvelopeAddress::default(),
            address(None, b"c", b"z.fr"),
        ]
    );
}

fn check(letter: &str, expected: &str, bodies: &[&str]) {
    let summary = summarise(letter.as_bytes());
    assert_eq!(names(&summary.structure), expected, "{letter:?}");
    let found: Vec<_> = leaves(&summary.structure)
        .into_iter()
        .map(|part| String::from_utf8_lossy(body(letter.as_bytes(), part)).into_owned())
        .collect();
    assert_eq!(found, bodies, "{letter:?}");
}

fn leaves(part: &Part) -> Vec<&Part> {
    let inner: Vec<_> =
        part.children.iter().chain(part.message.iter().map(|message| &message.1)).collect();
    if inner.is_empty() { vec![part] } else { inner.into_iter().flat_map(leaves).collect() }
}

#[test]
fn broken_letters_are_described_as_well_as_they_can_be() {
    const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    check("", "text/plain", &[""]);
    check("\r\n", "text/plain", &[""]);
    check("no header at all", "text/plain", &[""]);
    check("A: b\r\n\r\nbody", "text/plain", &["body"]);
    check("A: b\n\nbody\n", "text/plain", &["body\n"]);
    check("Content-Type: rubbish\r\n\r\nx", "text/plain", &["x"]);
    check("Content-Type: multipart/mixed\r\n\r\nx", "text/plain", &["x"]);
    check(&format!("{MIXED}no part"), "text/plain", &["no part"]);
    check(&format!("{MIXED}--b--\r\n"), "text/plain", &["--b--\r\n"]);
    check(&format!("{MIXED}--b\r\n\r\nx"), "multipart/mixed(text/plain)", &["x"]);
    check(&format!("{MIXED}--b\r\n\r\nx\r\n"), "multipart/mixed(text/plain)", &["x\r\n"]);
    check(&format!("{MIXED}--b"), "multipart/mixed(text/plain)", &[""]);
    check(
        &format!("{MIXED}--b\r\n--b\r\n--b--"),
        "multipart/mixed(text/plain text/plain)",
        &["", ""],
    );
    check(&format!("{MIXED}--b\r\nA: 1\r\n--b--"), "multipart/mixed(text/plain)", &[""]);
    check(&format!("{MIXED}--b\r\n\r\n--b--"), "multipart/mixed(text/plain)", &[""]);
    check(&format!("{MIXED}--b\r\n\r\n\r\n--b--"), "multipart/mixed(text/plain)", &[""]);
    check(
        &format!("{MIXED}--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny"),
        "multipart/mixed(text/plain)",
        &["x"],
    );
    check(
        &format!(
            "{MIXED}--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--"
        ),
        "multipart/mixed(multipart/mixed(text/plain) text/plain)",
        &["x", "y"],
    );
    check(
        "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: s\r\n\r\nx\r\n--b\r\nContent-Type: text/plain\r\n\r\ny\r\n--b--",
        "multipart/digest(message/rfc822(text/plain) text/plain)",
        &["x", "y"],
    );
    check(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
        "application/octet-stream",
        &["AAAA"],
    );
    check(
        "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n",
        "message/rfc822(text/plain)",
        &[""],
    );
    check(
        "Content-Type: TEXT/Html\r\nContent-Type: image/png\r\n\r\nx\rlone\r",
        "text/html",
        &["x\rlone\r"],
    );
}

#[test]
fn ten_thousand_nested_multiparts_are_over_budget_and_still_listed() {
    let mut letter = "Subject: deep\r\n".to_owned();
    for level in 0..10_000 {
        letter.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
        ));
    }
    letter.push_str("\r\nbottom\r\n");
    let summary = summarise(letter.as_bytes());
    assert!(summary.over_budget);
    assert_eq!(summary.subject, "deep");
    assert!(depth(&summary.structure) <= limits::MIME_DEPTH_MAX);
    assert_eq!(decode(&encode(&summary)), Some(summary));

    let letter = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    let summary = summarise(letter.as_bytes());
    assert!(summary.over_budget && depth(&summary.structure) <= limits::MIME_DEPTH_MAX);
}

fn depth(part: &Part) -> usize {
    let inner = part.children.iter().chain(part.message.iter().map(|message| &message.1));
    1 + inner.map(depth).max().unwrap_or(0)
}

#[test]
fn more_parts_than_allowed_make_one_opaque_part() {
    let letter = |parts| {
        let head = "Subject: wide\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
        format!("{head}{}--b--\r\n", "--b\r\n\r\nx\r\n".repeat(parts))
    };
    let fits = summarise(letter(limits::MIME_PARTS_MAX - 1).as_bytes());
    assert!(!fits.over_budget);
    assert_eq!(fits.structure.children.len(), limits::MIME_PARTS_MAX - 1);
    let text = letter(limits::MIME_PARTS_MAX);
    let over = summarise(text.as_bytes());
    assert!(over.over_budget);
    assert_eq!(names(&over.structure), "application/octet-stream");
    assert_eq!(over.subject, "wide");
    assert!(body(text.as_bytes(), &over.structure).starts_with(b"--b\r\n"));
    assert_eq!(over.structure.body_end as usize, text.len());
}

#[test]
fn a_header_over_its_budget_gives_a_safe_envelope() {
    let mut letter = "Subject: large\r\n".to_owned();
    letter.push_str(&"X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(30_000));
    letter.push_str("\r\nbody");
    let summary = summarise(letter.as_bytes());
    assert!(summary.over_budget);
    assert_eq!(summary.subject, "large");
    assert_eq!(body(letter.as_bytes(), &summary.structure), b"body");
}

#[test]
fn a_summary_never_outgrows_its_row() {
    let name = "x".repeat(900);
    let to = format!("To: {}\r\n", format!("\"{name}\" <a@x.fr>,\r\n ").repeat(900));
    let letter = format!("From: a@x.fr\r\nSubject: many\r\n{to}\r\n\r\nbody");
    let summary = summarise(letter.as_bytes());
    let encoded = encode(&summary);
    assert!(encoded.len() <= limits::SUMMARY_OCTETS_MAX);
    let decoded = decode(&encoded).unwrap();
    assert!(decoded.over_budget);
    assert_eq!(decoded.subject, "many");
    assert_eq!(decoded.envelope.from, summary.envelope.from);
    assert_eq!(decoded.envelope.to.len(), 20);
    assert_eq!(
        body(letter.as_bytes(), &decoded.structure),
        body(letter.as_bytes(), &summary.structure)
    );

    let subject = "é".repeat(400_000);
    let letter = format!("Subject: {subject}\r\nContent-Type: text/plain; x=\"{subject}\"\r\n\r\n");
    let encoded = encode(&summarise(letter.as_bytes()));
    assert!(encoded.len() <= limits::SUMMARY_OCTETS_MAX && decode(&encoded).is_some());
}

#[test]
fn what_is_not_a_stored_summary_is_refused() {
    let good = encode(&summarise(NESTED.as_bytes()));
    assert!(decode(&[]).is_none());
    assert!(decode(&[2]).is_none());
    for end in 0..good.len() {
        assert!(decode(&good[..end]).is_none());
    }
    assert!(decode(&[good.as_slice(), &[0]].concat()).is_none());
    let mut other_format = good;
    other_format[0] = 9;
    assert!(decode(&other_format).is_none());
}

fn check_sane(letter: &[u8], part: &Part, within: (u64, u64)) {
    assert!(within.0 <= part.header_start && part.header_start <= part.body_start);
    assert!(part.body_start <= part.body_end && part.body_end <= within.1);
    assert!(part.body_end <= letter.len() as u64);
    let mut end = part.body_start;
    for child in &part.children {
        assert!(child.header_start >= end);
        end = child.body_end;
    }
    for inner in part.children.iter().chain(part.message.iter().map(|message| &message.1)) {
        check_sane(letter, inner, (part.body_start, part.body_end));
    }
    assert!(part.kind != "multipart" || !part.children.is_empty());
    assert!(part.subtype != "rfc822" || part.message.is_some());
    let lines = body(letter, part).iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(part.lines, lines as u64, "{part:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_octets_are_described_sanely(letter in proptest::collection::vec(any::<u8>(), 0..400)) {
        let summary = summarise(&letter);
        check_sane(&letter, &summary.structure, (0, letter.len() as u64));
        prop_assert_eq!(decode(&encode(&summary)), Some(summary));
    }

    #[test]
    fn any_heap_of_mime_lines_is_described_sanely(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("Content-Type: multipart/mixed; boundary=a\r\n"),
                Just("Content-Type: multipart/digest; boundary=b\n"),
                Just("Content-Type: multipart/alternative; boundary=\"a\"\r\n"),
                Just("Content-Type: message/rfc822\r\n"),
                Just("Content-Transfer-Encoding: base64\r\n"),
                Just("Content-Disposition: attachment; filename=x\r\n"),
                Just("From: a@x.fr, g: b@y.fr;\r\n"),
                Just("\r\n"), Just("\n"), Just(" \r\n"), Just("text\r\n"), Just("text"), Just("\r"),
                Just("--a\r\n"), Just("--b\r\n"), Just("--a--\r\n"), Just("--b--\n"), Just("--a"),
            ],
            0..40,
        ),
    ) {
        let letter = lines.concat().into_bytes();
        let summary = summarise(&letter);
        check_sane(&letter, &summary.structure, (0, letter.len() as u64));
        prop_assert_eq!(decode(&encode(&summary)), Some(summary));
        let _ = crate::proto::mime::header::view(&letter);
    }
}
