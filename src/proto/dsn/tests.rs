//! Reports as other programs read them.
use mail_parser::MimeHeaders;
use proptest::prelude::*;

use super::*;
use crate::proto::mime::header;
use crate::proto::mime::summary;

struct Case {
    mta: Domain,
    from: Address,
    to: Address,
    patient: Address,
}

impl Case {
    fn new() -> Self {
        Self {
            mta: Domain::parse("mx.hopital.mssante.test").unwrap(),
            from: Address::parse("postmaster@hopital.mssante.test").unwrap(),
            to: Address::parse("dr.lune@hopital.mssante.test").unwrap(),
            patient: Address::parse("279035121518989@patient.mssante.test").unwrap(),
        }
    }

    fn recipient<'r>(&'r self, diagnostic: Option<&'r str>) -> RecipientReport<'r> {
        RecipientReport {
            address: &self.patient,
            orcpt: Some("rfc822;Old@patient.mssante.test"),
            action: Action::Failed,
            status: EnhancedStatus(5, 1, 1),
            diagnostic,
            remote_mta: Some("mx.cabinet.mssante.test"),
            last_attempt: None,
            retry_until: None,
            attempts: 1,
            alternatives: &[],
        }
    }

    fn report<'r>(&'r self, recipients: &'r [RecipientReport<'r>]) -> Report<'r> {
        Report {
            reporting_mta: &self.mta,
            from: &self.from,
            to: &self.to,
            message_id: "report-1@hopital.mssante.test",
            arrival: Timestamp::from_seconds(1_795_181_760),
            now: Timestamp::from_seconds(1_795_185_360),
            envid: Some("QQ314159"),
            about: Some("<1@hopital.mssante.test>"),
            reference: "0192",
            late: None,
            recipients,
            returned: Returned::Headers(b"From: a@x.fr\r\nSubject: s\r\n"),
        }
    }
}

fn check_form(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    assert!(can_travel(octets), "{text}");
    assert!(octets.ends_with(b"--\r\n"));
    let seen = header::view(octets);
    assert!(seen.automatic && !seen.unreadable_sender && seen.has_date);
}

#[test]
fn a_report_has_one_pair_of_brackets_around_its_name() {
    let case = Case::new();
    for given in ["report-1@hopital.mssante.test", "<report-1@hopital.mssante.test>"] {
        let recipients = [case.recipient(None)];
        let octets = write(&Report { message_id: given, ..case.report(&recipients) });
        let text = String::from_utf8_lossy(&octets).into_owned();
        assert!(text.contains("\r\nMessage-ID: <report-1@hopital.mssante.test>\r\n"), "{text}");
        let seen = header::view(&octets).message_id;
        assert_eq!(seen.as_deref(), Some("<report-1@hopital.mssante.test>"));
    }
}

#[test]
fn a_report_is_read_by_another_parser() {
    let case = Case::new();
    let mut delayed = case.recipient(None);
    delayed.action = Action::Delayed;
    delayed.status = EnhancedStatus(4, 4, 1);
    delayed.last_attempt = Some(Timestamp::from_seconds(1_795_185_360));
    delayed.retry_until = Some(Timestamp::from_seconds(1_795_268_160));
    let recipients = [case.recipient(Some("550 5.1.1 no such user")), delayed];
    let octets = write(&case.report(&recipients));
    check_form(&octets);
    let message = mail_parser::MessageParser::default().parse(&octets).unwrap();
    assert_eq!(message.subject(), Some("Message non remis / Mail not delivered"));
    assert_eq!(message.date().unwrap().to_rfc822(), "Fri, 20 Nov 2026 15:36:00 +0100");
    assert_eq!(message.in_reply_to().as_text(), Some("1@hopital.mssante.test"));
    let report = message.content_type().unwrap();
    assert_eq!((report.ctype(), report.subtype()), ("multipart", Some("report")));
    assert_eq!(report.attribute("report-type"), Some("delivery-status"));
    let text = message.body_text(0).unwrap();
    assert!(
        text.contains("Il n'a pas été remis à 279035121518989@patient.mssante.test."),
        "{text}"
    );
    assert!(text.contains("Cette adresse n'existe pas"));
    assert!(text.contains("20/11/2026 à 14h36 (heure de Paris)"));
    assert!(text.contains("This address does not exist"));
    assert!(text.find("Bonjour").unwrap() < text.find("Hello").unwrap());
    let status = message.parts[2].text_contents().unwrap();
    assert_eq!(
        status,
        "Original-Envelope-Id: QQ314159\r\n\
         Reporting-MTA: dns; mx.hopital.mssante.test\r\n\
         Arrival-Date: Fri, 20 Nov 2026 14:36:00 +0100\r\n\
         \r\n\
         Original-Recipient: rfc822; Old@patient.mssante.test\r\n\
         Final-Recipient: rfc822; 279035121518989@patient.mssante.test\r\n\
         Action: failed\r\n\
         Status: 5.1.1\r\n\
         Remote-MTA: dns; mx.cabinet.mssante.test\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
         \r\n\
         Original-Recipient: rfc822; Old@patient.mssante.test\r\n\
         Final-Recipient: rfc822; 279035121518989@patient.mssante.test\r\n\
         Action: delayed\r\n\
         Status: 4.4.1\r\n\
         Remote-MTA: dns; mx.cabinet.mssante.test\r\n\
         Last-Attempt-Date: Fri, 20 Nov 2026 15:36:00 +0100\r\n\
         Will-Retry-Until: Sat, 21 Nov 2026 14:36:00 +0100\r\n"
    );
    assert_eq!(message.parts[3].text_contents(), Some("From: a@x.fr\r\nSubject: s\r\n"));
}

#[test]
fn what_strangers_said_cannot_become_a_field_or_a_part() {
    let case = Case::new();
    let evil = "550 no\r\nX-MSS-MES: FIN\r\n\r\n--=_vaguemestre_0\r\nContent-Type: text/html\r\n\r\n<b>\0é";
    let mut recipient = case.recipient(Some(evil));
    recipient.orcpt = Some("rfc822;a\r\nAction: delivered");
    recipient.remote_mta = Some("mx\r\nStatus: 2.0.0");
    let recipients = [recipient];
    let mut report = case.report(&recipients);
    report.envid = Some(evil);
    report.about = Some("<a>\r\nBcc: x@y.fr");
    report.message_id = "a\r\nBcc: x@y.fr";
    report.returned =
        Returned::Letter(b"Subject: x\r\n\r\n--=_vaguemestre_0--\r\n--=_vaguemestre_1\r\n");
    let octets = write(&report);
    check_form(&octets);
    let summary = summary::summarise(&octets);
    assert_eq!(summary.structure.children.len(), 3);
    let top: Vec<_> = header::fields(&octets).map(|field| field.name.to_vec()).collect();
    for name in ["Bcc", "X-MSS-MES"] {
        assert!(!top.iter().any(|found| found == name.as_bytes()), "{name} got in");
    }
    let status = &summary.structure.children[1];
    let body = &octets[status.body_start as usize..status.body_end as usize];
    let lines: Vec<_> = body.split(|octet| *octet == b'\n').collect();
    let count =
        |start: &str| lines.iter().filter(|line| line.starts_with(start.as_bytes())).count();
    assert_eq!((count("Action:"), count("Status:"), count("X-MSS"), count("--")), (1, 1, 0, 0));
}

#[test]
fn an_address_in_another_alphabet_is_reported_in_ascii() {
    let case = Case::new();
    let address = Address::parse("hélène@hopital.mssante.test").unwrap();
    let mut recipient = case.recipient(None);
    recipient.address = &address;
    let recipients = [recipient];
    let text = String::from_utf8(write(&case.report(&recipients))).unwrap();
    assert!(text.contains("Final-Recipient: utf-8; h\\x{E9}l\\x{E8}ne@hopital.mssante.test\r\n"));
}

#[test]
fn a_letter_goes_back_whole_when_it_can_and_as_headers_when_it_cannot() {
    let case = Case::new();
    let recipients = [case.recipient(None)];
    let long = format!("Subject: s\r\n\r\n{}\r\n", "x".repeat(999));
    let odd_header = format!("Subject: é {}\r\n\r\nbody\nbare\r\n", "x".repeat(2_000));
    for (letter, media_type, encoding) in [
        ("Subject: s\r\n\r\nbody\r\n", "message/rfc822", "7bit"),
        ("Subject: s\r\n\r\ncorps été\r\n", "message/rfc822", "8bit"),
        ("Subject: s\r\n\r\nbare\nline\r\n", "text/rfc822-headers", "7bit"),
        ("Subject: s\r\n\r\nnul\0\r\n", "text/rfc822-headers", "7bit"),
        (&long, "text/rfc822-headers", "7bit"),
        (&odd_header, "text/rfc822-headers", "quoted-printable"),
    ] {
        let mut report = case.report(&recipients);
        report.returned = Returned::Letter(letter.as_bytes());
        let octets = write(&report);
        check_form(&octets);
        let summary = summary::summarise(&octets);
        let part = &summary.structure.children[2];
        assert_eq!(format!("{}/{}", part.kind, part.subtype), media_type, "{letter:.60}");
        assert_eq!(part.encoding, encoding, "{letter:.60}");
        // What holds 8bit says so itself, and nothing else does.
        let outer = String::from_utf8_lossy(header_section(&octets)).into_owned();
        let says = outer.contains("Content-Transfer-Encoding: 8bit\r\n");
        assert_eq!(says, encoding == "8bit", "{outer}");
        let body = &octets[part.body_start as usize..part.body_end as usize];
        if media_type == "message/rfc822" {
            assert_eq!(body, letter.as_bytes());
        } else {
            assert!(!body.windows(4).any(|window| window == b"body" || window == b"bare"));
        }
    }
    let mut report = case.report(&recipients);
    report.returned = Returned::Nothing;
    let octets = write(&report);
    check_form(&octets);
    assert_eq!(summary::summarise(&octets).structure.children.len(), 2);
}

#[test]
fn every_action_and_status_has_words() {
    let case = Case::new();
    for action in [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed] {
        for subject in 0..9 {
            for detail in 0..12 {
                let mut recipient = case.recipient(None);
                recipient.action = action;
                recipient.status = EnhancedStatus(5, subject, detail);
                let recipients = [recipient];
                check_form(&write(&case.report(&recipients)));
            }
        }
    }
}

fn text_of(report: &Report<'_>) -> String {
    let octets = write(report);
    let message = mail_parser::MessageParser::default().parse(&octets).unwrap();
    message.body_text(0).unwrap().into_owned()
}

#[test]
fn each_cause_has_its_own_words_in_both_languages() {
    let case = Case::new();
    let ours = [
        ((5, 3, 0), "Un administrateur a arrêté", "An administrator stopped"),
        ((4, 4, 4), "où joindre l'opérateur", "where to reach the operator"),
        ((4, 4, 1), "n'a pas pu être joint à temps", "could not be reached in time"),
        ((4, 4, 7), "n'a pas pu être joint à temps", "could not be reached in time"),
        ((4, 7, 5), "La liaison chiffrée", "The encrypted connection"),
        ((4, 4, 3), "n'était pas à jour", "was out of date"),
    ];
    let theirs = [
        ((5, 1, 1), "n'existe pas", "does not exist"),
        ((5, 1, 10), "ne reçoit pas de courrier", "receives no mail"),
        ((4, 2, 2), "est pleine", "is full"),
        ((5, 2, 1), "est fermée", "is closed"),
        ((5, 3, 4), "trop volumineux", "too large"),
        ((5, 4, 6), "tourne en boucle", "goes round in a loop"),
        ((5, 6, 3), "8 bits", "8 bit"),
        ((5, 6, 7), "caractères accentués", "accented characters"),
        ((5, 6, 0), "n'a pas été accepté", "was not accepted"),
        ((4, 7, 1), "n'a pas pu vérifier à temps", "could not verify in time"),
        ((5, 7, 1), "Les règles de sécurité", "The security rules"),
        ((5, 0, 0), "l'a refusé", "refused it"),
    ];
    for (is_ours, causes) in [(true, &ours[..]), (false, &theirs[..])] {
        for ((class, subject, detail), french, english) in causes {
            let mut recipient = case.recipient(None);
            recipient.status = EnhancedStatus(*class, *subject, *detail);
            recipient.remote_mta = recipient.remote_mta.filter(|_| !is_ours);
            let recipients = [recipient];
            let text = text_of(&case.report(&recipients));
            assert!(
                text.contains(french) && text.contains(english),
                "{class}.{subject}.{detail}\n{text}"
            );
        }
    }
}

#[test]
fn a_late_letter_names_the_promise_what_was_tried_and_another_way() {
    let case = Case::new();
    let others = [
        Alternative {
            address: "eloise@ailleurs.mssante.test".to_owned(),
            name: "Eloïse\r\nBcc: x LUMIER".to_owned(),
            same_person: true,
        },
        Alternative {
            address: "accueil@ailleurs.mssante.test".to_owned(),
            name: String::new(),
            same_person: false,
        },
    ];
    let mut recipient = case.recipient(Some("no connection in time"));
    recipient.action = Action::Delayed;
    recipient.status = EnhancedStatus(4, 4, 1);
    recipient.attempts = 3;
    recipient.last_attempt = Some(Timestamp::from_seconds(1_795_185_000));
    recipient.retry_until = Some(Timestamp::from_seconds(1_795_268_160));
    recipient.alternatives = &others;
    recipient.remote_mta = None;
    let recipients = [recipient];
    let mut report = case.report(&recipients);
    report.late = Some(Late { class: "11502-2", within: Duration::from_secs(600) });
    let text = text_of(&report);
    for said in [
        "document de type 11502-2 et devait arriver en 10 minutes",
        "a document of type 11502-2 and should have arrived within 10 minutes",
        "Il y a eu 3 tentatives, la dernière le 20/11/2026 à 15h30",
        "It was tried 3 times, the last time on 2026-11-20 15:30",
        "Autre adresse de cette personne : eloise@ailleurs.mssante.test (EloïseBcc: x LUMIER).",
        "Another address of the same structure : accueil@ailleurs.mssante.test.",
        "Si c'est urgent, écrivez à cette autre adresse.",
        "jusqu'au 21/11/2026",
    ] {
        assert!(text.contains(said), "{said} is missing:\n{text}");
    }
    let octets = String::from_utf8(write(&report)).unwrap();
    for field in [
        "Subject: Message en retard / Mail late\r\n",
        "Diagnostic-Code: x-vaguemestre; no connection in time\r\n",
        "Last-Attempt-Date: Fri, 20 Nov 2026 15:30:00 +0100\r\n",
        "Will-Retry-Until: Sat, 21 Nov 2026 14:36:00 +0100\r\n",
    ] {
        assert!(octets.contains(field), "{field} is missing:\n{octets}");
    }
    report.late = Some(Late { class: "*", within: Duration::from_secs(86_400) });
    let text = text_of(&report);
    assert!(text.contains("Il devait arriver en 24 heures."), "{text}");
    let mut held = report.recipients[0].clone();
    held.retry_until = None;
    let recipients = [held];
    let text = text_of(&case.report(&recipients));
    assert!(text.contains("Cet envoi est suspendu") && text.contains("is on hold"), "{text}");
    assert!(!text.contains("essayer jusqu") && !text.contains("keep trying"), "{text}");
}

proptest! {
    #[test]
    fn any_text_makes_a_well_formed_report(
        said in any::<String>(),
        envid in any::<String>(),
        returned in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let case = Case::new();
        let recipients = [case.recipient(Some(&said))];
        let mut report = case.report(&recipients);
        report.envid = Some(&envid);
        report.returned = Returned::Letter(&returned);
        let octets = write(&report);
        check_form(&octets);
        let summary = summary::summarise(&octets);
        prop_assert_eq!(summary.structure.children.len(), 3);
    }

    #[test]
    fn quoted_printable_can_be_read_back(text in any::<String>()) {
        let text = with_crlf(text.as_bytes());
        let encoded = quoted_printable(&text);
        prop_assert!(encoded.split("\r\n").all(|line| line.len() <= ENCODED_LINE_OCTETS));
        prop_assert_eq!(
            mail_parser::decoders::quoted_printable::quoted_printable_decode(encoded.as_bytes()).unwrap(),
            text
        );
    }
}
