//! What a willing server gets.
use vaguemestre::domain::address::ReversePath;
use vaguemestre::domain::envelope::MailParameters;
use vaguemestre::domain::envelope::Notify;
use vaguemestre::domain::envelope::ReturnContent;
use vaguemestre::flow::deliver::operator::HandoverResult::Taken;

use super::Letter;
use super::Space;
use super::put_off;
use super::recipient;
use super::refused;
use super::results;
use super::server::Act;
use super::server::Script;

#[tokio::test]
async fn a_letter_is_taken_over_mutual_tls() {
    let space = Space::new();
    for script in [Script::good(), Script::plain()] {
        let server = space.server(script).await;
        let letter = Letter::to(&["b@cabinet.test", "c@cabinet.test"]);
        let outcomes = space.send(&server, &letter).await;
        assert_eq!(results(&outcomes), [Taken, Taken], "{outcomes:?}");
        assert_eq!(outcomes[0].reply, "250 2.0.0 ok");
        let seen = server.seen();
        assert_eq!(seen.contents, [letter.content]);
        assert_eq!(seen.clear, ["EHLO mx.hopital.test", "STARTTLS"]);
        assert_eq!(seen.commands.last().unwrap(), "QUIT");
        let verbs: Vec<&str> = seen.commands.iter().map(|line| line.get(..4).unwrap()).collect();
        assert_eq!(verbs, ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]);
    }
}

#[tokio::test]
async fn content_arrives_octet_by_octet() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let long = format!("Subject: long\r\n\r\n{}\r\n", ".x\r\n".repeat(100_000));
    let every: Vec<u8> = (0..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    for content in [
        b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n".to_vec(),
        b".\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"a\r\n.\r\nMAIL FROM:<x@y>\r\n".to_vec(),
        [b"Subject: \xe9\r\n\r\n".as_slice(), &every, b"\r\n"].concat(),
        long.into_bytes(),
    ] {
        let letter = Letter::saying(content.clone());
        let outcomes = space.send(&server, &letter).await;
        assert_eq!(results(&outcomes), [Taken], "{outcomes:?}");
        assert_eq!(server.seen().contents.pop().unwrap(), content);
    }
    // SMTP knows no content without a last line end; nothing else may change.
    for content in ["a\r\n.", "a\r\nb", ""] {
        let outcomes = space.send(&server, &Letter::saying(content)).await;
        assert_eq!(results(&outcomes), [Taken], "{outcomes:?}");
        let arrived = server.seen().contents.pop().unwrap();
        assert_eq!(arrived, format!("{content}\r\n").into_bytes());
    }
}

#[tokio::test]
async fn a_refused_recipient_does_not_harm_the_others() {
    let space = Space::new();
    for script in [Script::good(), Script::plain()] {
        let script = script
            .at("RCPT TO:<unknown@", Act::Say("550 5.1.1 no such mailbox\r\n"))
            .at("RCPT TO:<full@", Act::Say("452-4.2.2 full\r\n452 4.2.2 come later\r\n"))
            .at("RCPT TO:<gone@", Act::Say("251 forwarded\r\n"));
        let server = space.server(script).await;
        let letter = Letter::to(&["unknown@c.test", "b@c.test", "full@c.test", "gone@c.test"]);
        let outcomes = space.send(&server, &letter).await;
        assert_eq!(results(&outcomes), [refused(1, 1), Taken, put_off(2, 2), Taken]);
        assert_eq!(outcomes[0].reply, "550 5.1.1 no such mailbox");
        assert_eq!(server.seen().contents.len(), 1);
    }
}

#[tokio::test]
async fn a_letter_that_no_recipient_may_have_is_not_sent() {
    let space = Space::new();
    for script in [Script::good(), Script::plain()] {
        let script = script.at("RCPT", Act::Say("550 5.7.1 not you\r\n"));
        let server = space.server(script).await;
        let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
        assert_eq!(results(&outcomes), [refused(7, 1), refused(7, 1)]);
        let seen = server.seen();
        assert!(!seen.commands.contains(&"DATA".to_owned()), "{:?}", seen.commands);
        assert_eq!(seen.commands.last().unwrap(), "QUIT");
    }
}

#[tokio::test]
async fn a_refusal_of_the_letter_is_one_of_every_recipient() {
    let space = Space::new();
    for (command, reply, expected) in [
        ("MAIL", "550 5.7.1 not your domain\r\n", refused(7, 1)),
        ("MAIL", "451 4.3.0 later\r\n", put_off(3, 0)),
        ("MAIL", "550 go away\r\n", refused(0, 0)),
        ("DATA", "554 5.5.1 no\r\n", refused(5, 1)),
        ("DATA", "451 no\r\n", put_off(0, 0)),
        (".", "552 5.3.4 too big\r\n", refused(3, 4)),
        (".", "452 4.3.1 disk full\r\n", put_off(3, 1)),
    ] {
        for script in [Script::good(), Script::plain()] {
            let server = space.server(script.at(command, Act::Say(reply))).await;
            let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
            assert_eq!(results(&outcomes), [expected, expected], "{command} {outcomes:?}");
        }
    }
}

#[tokio::test]
async fn too_many_recipients_by_its_old_number_are_some_for_later() {
    let space = Space::new();
    for (reply, expected) in [
        ("552 too many recipients\r\n", put_off(5, 3)),
        ("552 5.5.3 too many recipients\r\n", put_off(5, 3)),
        ("552 5.2.2 mailbox full\r\n", put_off(2, 2)),
        ("552 5.2.3 too large for this one\r\n", refused(2, 3)),
        ("552 5.3.4 too large\r\n", refused(3, 4)),
    ] {
        let script = Script::good().at("RCPT TO:<c@", Act::Say(reply));
        let server = space.server(script).await;
        let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
        assert_eq!(results(&outcomes), [Taken, expected], "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_server_hangs_up_counts() {
    let space = Space::new();
    for script in [Script::good(), Script::plain()] {
        for (command, reply, expected) in [
            ("MAIL", "550 5.7.1 not your domain\r\n", refused(7, 1)),
            ("MAIL", "421 4.3.2 stopping\r\n", put_off(3, 2)),
            (".", "554 5.6.0 no\r\n", refused(6, 0)),
        ] {
            let server = space.server(script.clone().at(command, Act::SayAndClose(reply))).await;
            let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
            assert_eq!(results(&outcomes), [expected, expected], "{command} {outcomes:?}");
        }
    }
}

#[tokio::test]
async fn parameters_are_said_when_they_are_offered_and_only_then() {
    let space = Space::new();
    let mut letter = Letter::saying("Subject: x\r\n\r\n\u{e9}\r\n");
    letter.parameters = MailParameters {
        size: None,
        eight_bit: true,
        smtputf8: false,
        ret: Some(ReturnContent::Headers),
        envid: Some("a+b c".to_owned()),
    };
    letter.recipients[0].parameters.notify =
        Some(Notify { success: true, failure: true, ..Notify::default() });
    letter.recipients[0].parameters.orcpt = Some("rfc822;B@cabinet.test".to_owned());

    let server = space.server(Script::good()).await;
    assert_eq!(results(&space.send(&server, &letter).await), [Taken]);
    let said = server.seen().commands.join("\n");
    let mail = "MAIL FROM:<a@hopital.test> SIZE=18 BODY=8BITMIME RET=HDRS ENVID=a+2Bb+20c";
    let rcpt = "RCPT TO:<b@cabinet.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B@cabinet.test";
    assert!(said.contains(&format!("{mail}\n{rcpt}\n")), "{said}");

    letter.content = b"Subject: x\r\n\r\ne\r\n".to_vec();
    let server = space.server(Script::plain()).await;
    assert_eq!(results(&space.send(&server, &letter).await), [Taken]);
    let said = server.seen().commands.join("\n");
    assert!(said.contains("MAIL FROM:<a@hopital.test>\nRCPT TO:<b@cabinet.test>\n"), "{said}");
}

#[tokio::test]
async fn a_letter_that_the_server_cannot_take_goes_back_unchanged() {
    let space = Space::new();
    let server = space.server(Script::plain()).await;
    let eight_bit = Letter::saying("Subject: x\r\n\r\n\u{e9}\r\n");
    assert_eq!(results(&space.send(&server, &eight_bit).await), [refused(6, 3)]);

    let accented = Letter::to(&["b@c.test", "h\u{e9}l\u{e8}ne@c.test"]);
    assert_eq!(results(&space.send(&server, &accented).await), [Taken, refused(6, 7)]);
    let good = space.server(Script::good()).await;
    assert_eq!(results(&space.send(&good, &accented).await), [Taken, Taken]);
    assert!(good.seen().commands[1].ends_with(" SMTPUTF8"), "{:?}", good.seen().commands);

    let small = Script { ehlo: "250-mx\r\n250 SIZE 10\r\n", ..Script::good() };
    let server = space.server(small).await;
    assert_eq!(results(&space.send(&server, &Letter::to(&["b@c.test"])).await), [refused(3, 4)]);
    assert!(server.seen().contents.is_empty());
}

#[tokio::test]
async fn a_line_end_that_is_not_crlf_never_leaves() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    for content in ["a\n.\nMAIL FROM:<x@y>\r\n", "a\r\n.\rb\r\n", "a\n", "a\r"] {
        let outcomes = space.send(&server, &Letter::saying(content)).await;
        assert_eq!(results(&outcomes), [refused(6, 0)], "{content:?}");
    }
    assert!(server.seen().commands.is_empty());
}

#[tokio::test]
async fn a_report_goes_out_with_the_null_reverse_path() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let mut letter = Letter::to(&["b@cabinet.test"]);
    letter.reverse_path = ReversePath::Null;
    letter.recipients.push(recipient("\"b c\"@cabinet.test"));
    assert_eq!(results(&space.send(&server, &letter).await), [Taken, Taken]);
    let seen = server.seen();
    assert!(seen.commands[1].starts_with("MAIL FROM:<> "), "{:?}", seen.commands);
    assert_eq!(seen.commands[3], "RCPT TO:<\"b c\"@cabinet.test>");
}

#[tokio::test]
async fn more_recipients_than_one_group_are_all_answered() {
    let space = Space::new();
    let script = Script::good().at("RCPT TO:<r77@", Act::Say("550 5.1.1 no\r\n"));
    let server = space.server(script).await;
    let names: Vec<String> = (0..200).map(|n| format!("r{n}@c.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let outcomes = space.send(&server, &Letter::to(&names)).await;
    for (place, outcome) in outcomes.iter().enumerate() {
        let expected = if place == 77 { refused(1, 1) } else { Taken };
        assert_eq!(outcome.result, expected, "{place}");
    }
}

#[tokio::test]
async fn a_server_with_odd_but_lawful_replies_is_understood() {
    let space = Space::new();
    let script = Script {
        greeting: "220-welcome\r\n220 mx\r\n",
        clear_ehlo: "250-mx\r\n250-X-ODD a b\r\n250 starttls\r\n",
        starttls: "220\r\n",
        ..Script::good()
    }
    .at("MAIL", Act::Say("250\r\n"))
    .at("RCPT", Act::Say("250-2.1.5 first\r\n250 2.1.5 d\u{e9}j\u{e0} vu\r\n"))
    .at(".", Act::Say("250 2.0.0 queued as 4711\r\n"));
    let server = space.server(script).await;
    let outcomes = space.send(&server, &Letter::to(&["b@c.test"])).await;
    assert_eq!(results(&outcomes), [Taken], "{outcomes:?}");
    assert_eq!(outcomes[0].reply, "250 2.0.0 queued as 4711");
}

#[tokio::test]
async fn a_reply_that_quotes_a_patient_is_not_repeated() {
    let space = Space::new();
    let script =
        Script::good().at("RCPT", Act::Say("550 5.1.1 <279035121518989@patient.test>?\r\n"));
    let server = space.server(script).await;
    let outcomes = space.send(&server, &Letter::to(&["279035121518989@patient.test"])).await;
    assert_eq!(outcomes[0].reply, "550 5.1.1 <***@patient.test>?");
}

#[tokio::test]
async fn internationalised_mail_is_refused_with_the_code_of_what_cannot_go() {
    let space = Space::new();
    let server = space.server(Script::plain()).await;
    let mut sender = Letter::to(&["b@c.test"]);
    sender.reverse_path = ReversePath::Address(super::address("h\u{e9}l\u{e8}ne@hopital.test"));
    assert_eq!(results(&space.send(&server, &sender).await), [refused(6, 7)]);
    let mut header = Letter::saying("Subject: \u{e9}t\u{e9}\r\n\r\nx\r\n");
    header.parameters.smtputf8 = true;
    assert_eq!(results(&space.send(&server, &header).await), [refused(6, 9)]);
    assert!(server.seen().contents.is_empty());
    let good = space.server(Script::good()).await;
    assert_eq!(results(&space.send(&good, &header).await), [Taken]);
    assert!(good.seen().commands[1].contains(" SMTPUTF8"), "{:?}", good.seen().commands);
}

#[tokio::test]
async fn a_recipient_for_whom_reports_were_asked_keeps_its_first_name() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let mut letter = Letter::to(&["b@c.test", "c+d@c.test", "e@c.test"]);
    let asked = Notify { failure: true, ..Notify::default() };
    letter.recipients[1].parameters.notify = Some(asked);
    letter.recipients[2].parameters.notify = Some(Notify { never: true, ..Notify::default() });
    assert_eq!(results(&space.send(&server, &letter).await), [Taken, Taken, Taken]);
    let seen = server.seen();
    assert_eq!(
        seen.commands[2..5],
        [
            "RCPT TO:<b@c.test>",
            "RCPT TO:<c+d@c.test> NOTIFY=FAILURE ORCPT=rfc822;c+2Bd@c.test",
            "RCPT TO:<e@c.test> NOTIFY=NEVER",
        ]
    );
}
