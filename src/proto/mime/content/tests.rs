use proptest::prelude::*;

use super::*;

fn named(readable: &Readable) -> Vec<(&str, &str, u64)> {
    let attachments = readable.attachments.iter();
    attachments.map(|a| (a.name.as_str(), a.media_type.as_str(), a.octets)).collect()
}

const WITH_DOCUMENT: &[u8] = include_bytes!("../../../../tests/vectors/mail/01_pro_to_pro_xdm.eml");

#[test]
fn a_letter_with_a_document_shows_its_text_and_its_document() {
    let letter = WITH_DOCUMENT;
    let shown = readable(letter);
    assert!(shown.text.starts_with("Chère consœur,\r\n"), "{}", shown.text);
    assert_eq!(shown.html, None);
    let names: Vec<_> = named(&shown).into_iter().map(|(name, kind, _)| (name, kind)).collect();
    assert_eq!(
        names,
        [
            ("IHE_XDM.zip", "application/zip"),
            ("20261120_CR d'imagerie médicale_EXEMPLIER_ADA.pdf", "application/pdf"),
        ]
    );
    let zip = attachment(letter, 0).unwrap();
    assert!(zip.starts_with(b"PK\x03\x04"));
    assert_eq!(zip.len() as u64, shown.attachments[0].octets);
    let theirs = mail_parser::MessageParser::default().parse(letter).unwrap();
    assert_eq!(zip, theirs.attachment(0).unwrap().contents());
    assert_eq!(attachment(letter, 2), None);
}

#[test]
fn the_better_of_two_forms_is_shown_once() {
    let letter = b"Content-Type: multipart/mixed; boundary=m\r\n\r\n\
        --m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
        --a\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe9t\xe9\r\n\
        --a\r\nContent-Type: multipart/related; boundary=r\r\n\r\n\
        --r\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>\xc3\xa9t\xc3\xa9</b>\r\n\
        --r\r\nContent-Type: image/png; name=logo.png\r\n\r\nPNG\r\n--r--\r\n--a--\r\n\
        --m\r\nContent-Type: text/plain\r\n\r\n1 < 2\r\n\
        --m\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nsaved\r\n\
        --m--\r\n";
    let shown = readable(letter);
    assert_eq!(shown.text, "été\n1 < 2");
    let html = shown.html.clone().unwrap();
    assert!(html.contains("<b>été</b>") && html.contains("1 &lt; 2"), "{html}");
    assert_eq!(named(&shown), [("logo.png", "image/png", 3), ("document-2.txt", "text/plain", 5)]);
    assert_eq!(attachment(letter, 1).as_deref(), Some(&b"saved"[..]));
    let searched = searchable_text(letter);
    for text in ["été", "1 < 2", "saved"] {
        assert!(searched.contains(text), "{searched}");
    }
    assert!(!searched.contains("<b>"));
}

#[test]
fn a_forwarded_letter_is_an_attachment_and_can_be_searched() {
    let letter = b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?=C3=A9?=\r\n\r\ninside";
    let shown = readable(letter);
    assert_eq!(named(&shown), [("document-1.eml", "message/rfc822", 37)]);
    assert_eq!(searchable_text(letter), "é\ninside\n");
}

#[test]
fn a_letter_over_budget_is_its_own_attachment() {
    let mut letter = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    letter.extend(b"--b\r\n\r\nx\r\n".repeat(2_000));
    let shown = readable(&letter);
    assert_eq!(shown.text, "");
    assert_eq!(named(&shown), [("document-1.eml", "message/rfc822", letter.len() as u64)]);
    assert_eq!(attachment(&letter, 0), Some(letter));
}

#[test]
fn a_text_over_the_budget_says_that_it_was_cut() {
    let letter = ["\r\n".to_owned(), "é".repeat(limits::SHOWN_TEXT_OCTETS_MAX)].concat();
    let shown = readable(letter.as_bytes());
    assert!(shown.text.ends_with("é\n[…]"));
    assert!(shown.text.len() <= limits::SHOWN_TEXT_OCTETS_MAX + CUT.len());
}

#[test]
fn a_file_name_cannot_leave_its_folder_or_lie_about_its_kind() {
    for (given, safe) in [
        ("compte rendu é.pdf", "compte rendu é.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.exe", "x.exe"),
        ("..", "document-1.pdf"),
        (".bashrc", "bashrc"),
        ("a\r\nb\0.pdf", "ab.pdf"),
        ("a\u{202e}fdp.exe", "afdp.exe"),
        ("a:b|c?.pdf", "a_b_c_.pdf"),
        ("/", "document-1.pdf"),
        ("", "document-1.pdf"),
        ("a.pdf. ", "a.pdf"),
    ] {
        assert_eq!(safe_name(given, "application/pdf", 0), safe, "{given:?}");
    }
    let long = safe_name(&format!("{}.pdf", "é".repeat(500)), "application/pdf", 0);
    assert!(long.ends_with("é.pdf") && long.chars().count() == NAME_CHARACTERS_MAX);
}

#[test]
fn a_media_type_cannot_carry_more_than_a_type() {
    let letter = b"Content-Type: a/b\"<script>\r\nContent-Disposition: attachment\r\n\r\nx";
    assert_eq!(readable(letter).attachments[0].media_type, "application/octet-stream");
}

proptest! {
    #[test]
    fn any_octets_can_be_shown(letter in proptest::collection::vec(any::<u8>(), 0..400)) {
        let shown = readable(&letter);
        for listed in &shown.attachments {
            let octets = attachment(&letter, listed.index).unwrap();
            prop_assert_eq!(octets.len() as u64, listed.octets);
        }
        let _ = searchable_text(&letter);
    }
}
