//! Header sections, well made and hostile.
use super::*;

fn viewed(section: &str) -> HeaderView {
    view(section.as_bytes())
}

fn addresses(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn every_octet_of_a_header_belongs_to_one_field() {
    let section = b"A: 1\r\n folded\r\nnot a field\r\nB : 2\n\tx\nC:\r\nbad name: 3\r\n: 4\r\n";
    let found: Vec<_> = fields(section).collect();
    let names: Vec<_> = found.iter().map(|field| String::from_utf8_lossy(field.name)).collect();
    assert_eq!(names, ["A", "", "B", "C", "", ""]);
    assert_eq!(found.iter().map(|field| field.raw).collect::<Vec<_>>().concat(), section);
    assert_eq!(&*found[0].unfolded(), b"1 folded");
    assert_eq!(&*found[2].unfolded(), b"2\tx");
    assert_eq!(&*found[3].unfolded(), b"");
    assert!(found[2].is("b"));
}

#[test]
fn fields_end_at_the_empty_line() {
    assert_eq!(fields(b"A: 1\r\n\r\nB: 2\r\n").count(), 1);
    assert_eq!(fields(b"A: 1\n\nB: 2\n").count(), 1);
    assert_eq!(fields(b"\r\nB: 2\r\n").count(), 0);
    assert_eq!(fields(b"A: 1").count(), 1);
    assert_eq!(fields(b"").count(), 0);
}

#[test]
fn an_ordinary_letter_has_a_readable_sender() {
    let seen = viewed(
        "Received: from a by b; Fri, 20 Nov 2026 14:36:00 +0100\r\n\
         From: =?utf-8?q?Dr_Lune?= <dr.lune@hopital.mssante.test>\r\n\
         Sender: secretariat@hopital.mssante.test\r\n\
         Reply-To: a@hopital.mssante.test,\r\n \"B, C\" <b@hopital.mssante.test>\r\n\
         Date: Fri, 20 Nov 2026 14:36:00 +0100\r\n\
         Message-ID: <1@hopital.mssante.test>\r\n\
         In-Reply-To: <2@x>\r\nReferences: <3@x>\r\n <4@x>\r\n\
         X-MSS-NIL: NIL-1\r\nX-MSS-CODECDA: 34112-3, PRESC-BIO,\r\n 15508-5\r\n\
         X-MSS-INS: O\r\nX-MSS-MES: FIN\r\nSubject: [FIN]\r\n",
    );
    assert_eq!(addresses(&seen.from), ["dr.lune@hopital.mssante.test"]);
    assert_eq!(addresses(&seen.sender), ["secretariat@hopital.mssante.test"]);
    assert_eq!(addresses(&seen.reply_to), ["a@hopital.mssante.test", "b@hopital.mssante.test"]);
    assert_eq!((seen.from_fields, seen.received), (1, 1));
    assert!(!seen.unreadable_sender && seen.relayed && seen.has_date && seen.subject_is_fin);
    assert!(!seen.automatic);
    assert_eq!(seen.message_id.as_deref(), Some("<1@hopital.mssante.test>"));
    assert_eq!(seen.references, ["<2@x>", "<3@x>", "<4@x>"]);
    assert_eq!(seen.mss.nil.as_deref(), Some("NIL-1"));
    assert_eq!(seen.mss.cda_codes, ["34112-3", "PRESC-BIO", "15508-5"]);
    assert_eq!(seen.mss.qualified_ins, Some(true));
    assert!(seen.mss.closes_exchange);
}

#[test]
fn a_sender_that_two_readers_could_read_differently_is_marked() {
    for section in [
        "From: a@x.fr, b@y.fr\r\n",
        "From: a@x.fr\r\nFrom: b@y.fr\r\n",
        "From: a@x.fr <b@y.fr>\r\n",
        "From: <a@x.fr>\r\nSender: b@y.fr, c@z.fr\r\n",
        "From: root\r\n",
        "From:\r\n",
        "From: a@x.fr\r\n \r\n <b@y.fr>\r\n",
        "From: a@[192.0.2.1]\r\n",
        "From: \"a <b@y.fr>\r\n",
        "From: a(c)@x.fr\r\n",
        "From: a@x.fr\r\nReply-To: nobody\r\n",
        "From: a@x.fr\r\nFr om: b@y.fr\r\n",
        "From: a@x.fr\r\nFrom\0: b@y.fr\r\n",
        "From: a@x.fr\r\nFrom\u{a0}: b@y.fr\r\n",
        "From: a@x.fr\rFrom: b@y.fr\r\n",
        "From: =?utf-8?q?a=40x.fr?=\r\n",
        "From: a@x..fr\r\n",
        "From: a@x.fr,\r\n b@y.fr\r\n",
        "From: g: a@x.fr, b@y.fr;\r\n",
    ] {
        assert!(viewed(section).unreadable_sender, "{section:?} passed");
    }
    assert!(view(b"From: \xff@x.fr\r\n").unreadable_sender);
}

#[test]
fn usual_ways_to_write_a_sender_are_readable() {
    for section in [
        "From: a@x.fr\r\n",
        "From:a@x.fr\r\n",
        "From : a@x.fr\r\n",
        "FROM: <a@x.fr>\r\n",
        "From: Dr Lune <a@x.fr>\r\n",
        "From: \"Lune, Dr (CHU)\" <a@x.fr>\r\n",
        "From: \"a@x.fr\" <a@x.fr>\r\n",
        "From: Hélène Lune <a@x.fr>\r\n",
        "From: =?utf-8?q?H=C3=A9l=C3=A8ne_Lune?= <a@x.fr>\r\n",
        "From: =?utf-8?q?H=C3=A9l=C3=A8ne?=\r\n =?utf-8?q?_Lune?= <a@x.fr>\r\n",
        "From: Dr. J. Lune <a@x.fr>\r\n",
        "From: Dr_Hugo_OREADE_CH de Valfictif <a@x.fr>\r\n",
        "From: O'Brien-Smith / CHU & co <a@x.fr>\r\n",
        "From: a@x.fr (Dr Lune)\r\n",
        "From: Dr Lune\r\n <a@x.fr>\r\n",
        "From: \"\" <a@x.fr>\r\n",
        "From: service: a@x.fr;\r\n",
        "From: a@x.fr\r\nReply-To:\r\n",
        "From: a@x.fr\r\nReply-To: service: b@y.fr, \"C\" <c@z.fr>;, d@z.fr\r\n",
    ] {
        let seen = viewed(section);
        assert_eq!(addresses(&seen.from), ["a@x.fr"], "{section:?}");
        assert!(!seen.unreadable_sender, "{section:?} was doubted");
    }
}

#[test]
fn only_an_exact_fin_closes_an_exchange() {
    for (subject, is_fin) in [
        ("[FIN]", true),
        (" [FIN] ", true),
        ("=?utf-8?q?=5BFIN=5D?=", true),
        ("[fin]", false),
        ("Re: [FIN]", false),
        ("[FIN].", false),
        ("FIN", false),
        ("", false),
    ] {
        assert_eq!(viewed(&format!("Subject: {subject}\r\n")).subject_is_fin, is_fin, "{subject}");
    }
    for (value, closes) in [("FIN", true), ("fin", false), ("FINAL", false), ("", false)] {
        let seen = viewed(&format!("X-MSS-MES: {value}\r\n"));
        assert_eq!(seen.mss.closes_exchange, closes, "{value}");
    }
}

#[test]
fn automatic_letters_are_told_apart() {
    for (section, automatic) in [
        ("Auto-Submitted: auto-replied\r\n", true),
        ("Auto-Submitted: auto-generated; x=y\r\n", true),
        ("Auto-Submitted: no\r\n", false),
        ("Auto-Submitted: No (human)\r\n", false),
        ("Content-Type: multipart/report; report-type=delivery-status\r\n", true),
        ("Content-Type: Multipart/Report\r\n", true),
        ("Content-Type: multipart/mixed\r\n", false),
        ("", false),
    ] {
        assert_eq!(viewed(section).automatic, automatic, "{section}");
    }
}

#[test]
fn a_header_of_a_hundred_thousand_fields_is_viewed() {
    let seen = viewed(&"Received: x\r\n".repeat(100_000));
    assert_eq!(seen.received, 100_000);
    for unit in
        ["From: a@x.fr\r\n", ":", "\r\n ", "From: ", "References: <a@b> ", "X-MSS-CODECDA: a,"]
    {
        let seen = viewed(&unit.repeat(1_000_000 / unit.len()));
        assert!(seen.references.len() <= REFERENCES_MAX);
        assert!(seen.mss.cda_codes.len() <= CDA_CODES_MAX);
    }
}

#[test]
fn the_hosts_that_took_a_letter_in_are_read_without_being_fooled() {
    let check = |value: &str, expected: &[&str]| {
        let seen = view(format!("Received: {value}\r\n").as_bytes());
        assert_eq!(seen.received_by, expected, "{value:?}");
    };
    check("from a by MX.Hopital.test with ESMTPS id 1; Sun, 22 Nov", &["mx.hopital.test"]);
    check("from a (x [192.0.2.1])\r\n\t(TLS)\r\n\tby mx.test. with SMTP; date", &["mx.test"]);
    check("by mx.test (Postfix, by another.test) id 1; by late.test", &["mx.test"]);
    check("from by.test (by (nested \\) by) evil.test) by mx.test; d", &["mx.test"]);
    check("from \"by evil.test\" by mx.test; d", &["mx.test"]);
    check("from a BY\r\n mx.test; d", &["mx.test"]);
    for nothing in ["", "by", "from a; by mx.test", "(by mx.test", "from a with SMTP"] {
        check(nothing, &[]);
    }
    check(&format!("by {}", "x".repeat(300)), &[]);
    let many = view("Received: by mx.test\r\n".repeat(500).as_bytes());
    assert!(many.received == 500 && many.received_by.len() <= 101);
}

proptest::proptest! {
    #[test]
    fn any_octets_can_be_viewed(section in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let from = [b"From: ", section.as_slice(), b"\r\nSender: ", &section].concat();
        let seen = view(&from);
        // Whoever is named without a doubt is named by the other parser too.
        if !seen.unreadable_sender && seen.from_fields == 1 {
            let theirs = mail_parser::MessageParser::default().parse_headers(&from).unwrap();
            let theirs = theirs.from().and_then(|from| from.first()).and_then(|from| from.address());
            proptest::prop_assert_eq!(theirs.map(Address::parse), Some(Ok(seen.from[0].clone())));
        }
        let _ = view(&section);
    }

    #[test]
    fn any_sender_like_text_is_read_alike_or_doubted(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "a@x.fr", "b@y.fr", "<a@x.fr>", "<", ">", "\"", "(", ")", ",", ";", ":", "@", "\\",
                " ", "\r\n ", "\r\n\t", "Dr", "=?utf-8?q?a=40x?=", "[", "]", ".", "\0", "é", "g:",
            ]),
            0..8,
        ),
    ) {
        let from = format!("From: {}\r\n", pieces.concat());
        let seen = view(from.as_bytes());
        if !seen.unreadable_sender {
            let theirs = mail_parser::MessageParser::default().parse_headers(&from).unwrap();
            let theirs: Vec<_> = theirs
                .from()
                .map(|from| from.iter().filter_map(|from| from.address()).map(Address::parse).collect())
                .unwrap_or_default();
            let ours: Vec<_> = seen.from.into_iter().map(Ok).collect();
            proptest::prop_assert_eq!(theirs, ours);
        }
    }
}
