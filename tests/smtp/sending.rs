//! What goes well, at each door.
use vaguemestre::domain::address::Address;
use vaguemestre::domain::door::Door;
use vaguemestre::domain::envelope::Notify;
use vaguemestre::domain::envelope::ReturnContent;
use vaguemestre::domain::status::Refusal;
use vaguemestre::flow::accept::Credentials;
use vaguemestre::server::smtp::SmtpDoor;

use super::clerk::Clerk;
use super::client::Client;
use super::client::LOGIN;
use super::client::MAIL;
use super::client::RCPT;
use super::tls::Shows;

#[tokio::test]
async fn a_clinician_sends_through_submission_with_starttls() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    let reply = client.letter("Subject: x\r\n\r\n..dot\r\nbye\r\n.\r\n").await;
    assert_eq!(reply, format!("250 2.0.0 Queued as {:032x}\r\n", 1));
    client.talk(&[("QUIT", "221 2.0.0")]).await;
    client.expect_closed().await;

    let letters = clerk.letters();
    assert_eq!(letters[0].content, b"Subject: x\r\n\r\n.dot\r\nbye\r\n");
    let caller = letters[0].accepted.caller();
    assert_eq!(letters[0].accepted.door(), Door::Submission);
    assert_eq!((caller.client_name.as_str(), caller.protocol), ("pc.example", "ESMTPSA"));
    assert!(caller.tls.as_deref().is_some_and(|tls| tls.starts_with("TLSv1_3 TLS13_")));
    assert!(matches!(&caller.credentials, Credentials::Login(account)
        if account.address.local_part() == "lune"));
    assert_eq!(clerk.logins(), [true]);
}

#[tokio::test]
async fn a_clinician_sends_through_submissions_with_login_and_chunks() {
    let clerk = Clerk::new();
    let client = Client::connect(&clerk, SmtpDoor::Submissions);
    let mut client = client.secure(Shows::Nothing).await.unwrap();
    client.expect("220 mx.hopital.mssante.test ESMTP").await;
    let ehlo = client.ask("EHLO [192.0.2.9]").await;
    assert!(ehlo.contains(" PLAIN LOGIN") && !ehlo.contains("STARTTLS"), "{ehlo}");
    client.talk(&[("AUTH LOGIN", "334 VXNlcm5hbWU6")]).await;
    client.talk(&[("bHVuZUBob3BpdGFsLm1zc2FudGUudGVzdA==", "334 UGFzc3dvcmQ6")]).await;
    client.talk(&[("c2VjcmV0", "235 2.7.0"), (MAIL, "250"), (RCPT, "250")]).await;
    client.send("BDAT 16\r\nSubject: x\r\n\r\n.\r").await;
    client.expect("250 2.0.0 16 octets").await;
    client.send("BDAT 4\r\n\n.\r\nBDAT 0 LAST\r\nNOOP\r\n").await;
    client.expect("250 2.0.0 4 octets").await;
    client.expect("250 2.0.0 Queued as").await;
    client.expect("250 2.0.0 OK").await;
    assert_eq!(clerk.letters()[0].content, b"Subject: x\r\n\r\n.\r\n.\r\n");
}

#[tokio::test]
async fn another_operator_sends_with_its_certificate() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    let ehlo = client.ask("EHLO mx.cabinet.mssante.test").await;
    assert!(ehlo.contains("250-STARTTLS") || ehlo.contains("250 STARTTLS"), "{ehlo}");
    assert!(!ehlo.contains("AUTH"), "{ehlo}");
    client.talk(&[(MAIL, "530 5.7.0"), ("STARTTLS", "220")]).await;
    let mut client = client.secure(Shows::Listed).await.unwrap();
    client.talk(&[(MAIL, "503"), ("EHLO mx.cabinet.mssante.test", "250")]).await;
    client.talk(&[("MAIL FROM:<> SMTPUTF8", "250"), ("RCPT TO:<PostMaster>", "250")]).await;
    client.talk(&[("DATA", "354"), ("Subject: report\r\n\r\n.", "250")]).await;

    let letters = clerk.letters();
    assert_eq!(letters[0].accepted.door(), Door::Mx);
    assert_eq!(letters[0].accepted.caller().protocol, "UTF8SMTPS");
    assert!(matches!(letters[0].accepted.caller().credentials, Credentials::Operator(_)));
    assert_eq!(letters[0].recipients[0].address.to_string(), "postmaster@hopital.mssante.test");
}

#[tokio::test]
async fn an_operator_without_certificate_is_told_so_at_ehlo() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    client.talk(&[("EHLO mx.cabinet.mssante.test", "250"), ("STARTTLS", "220")]).await;
    let mut client = client.secure(Shows::Nothing).await.unwrap();
    for line in ["EHLO mx.cabinet.mssante.test", MAIL, "HELO x"] {
        let reply = client.ask(line).await;
        assert!(reply.starts_with("550 5.7.1") && reply.ends_with(")\r\n"), "{reply}");
        assert!(reply.contains(" (session 0"), "{reply}");
    }
    assert_eq!(clerk.explained(), [(Refusal::PeerNotListed, None)]);
}

#[tokio::test]
async fn the_peer_is_looked_at_again_at_each_mail() {
    let clerk = Clerk::new();
    let mut client = Client::operator(&clerk, Shows::Listed).await;
    for _ in 0..2 {
        client.talk(&[("MAIL FROM:<a@cabinet.mssante.test>", "250"), ("RSET", "250")]).await;
    }
    assert_eq!(clerk.looks(), [false, true, true]);
}

#[tokio::test]
async fn a_refusal_is_kept_with_the_domain_that_its_letter_speaks_for() {
    let clerk = Clerk::new();
    let mut client = Client::operator(&clerk, Shows::Listed).await;
    let unknown = "RCPT TO:<unknown@x.fr>";
    client.talk(&[("MAIL FROM:<a@one.test>", "250"), (unknown, "550"), ("RSET", "250")]).await;
    client.talk(&[("MAIL FROM:<> SIZE=900000", "552"), ("MAIL FROM:<>", "250")]).await;
    client.talk(&[(unknown, "550")]).await;
    let expected = [
        (Refusal::MailboxUnknown, Some("one.test".to_owned())),
        (Refusal::MessageTooLarge, None),
        (Refusal::MailboxUnknown, None),
    ];
    assert_eq!(clerk.explained(), expected);
}

#[tokio::test]
async fn a_handshake_that_fails_and_a_caller_in_clear_are_on_record_once() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    client.talk(&[("EHLO mx.cabinet.mssante.test", "250"), (MAIL, "530"), (MAIL, "530")]).await;
    client.talk(&[("STARTTLS", "220")]).await;
    client.send("\x16\x03\x01\0\x05hello").await;
    client.reply_octets().await;
    let turned_away = clerk.turned_away();
    assert!(turned_away[0].contains("without STARTTLS"), "{turned_away:?}");
    assert!(turned_away[1].contains("handshake failed"), "{turned_away:?}");
    assert_eq!(turned_away.len(), 2);
    // People's doors keep no such record.
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    client.talk(&[("EHLO pc", "250"), (MAIL, "530")]).await;
    assert_eq!(clerk.turned_away().len(), 2);
}

#[tokio::test]
async fn an_operator_in_no_list_is_refused_right_after_ehlo() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Mx);
    client.expect("220").await;
    client.talk(&[("EHLO mx.stranger.test", "250"), ("STARTTLS", "220")]).await;
    let mut client = client.secure(Shows::Unlisted).await.unwrap();
    client.talk(&[("EHLO mx.stranger.test", "550 5.7.1"), (MAIL, "550 5.7.1")]).await;
    client.talk(&[("QUIT", "221")]).await;
    assert_eq!(clerk.refusals(), [Refusal::PeerNotListed]);
}

#[tokio::test]
async fn wishes_for_reports_arrive_with_the_letter() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[
        ("mail from: <lune@hopital.mssante.test> size=12 body=8bitmime ret=hdrs envid=id+2B1", "250"),
        ("rcpt to:<martin@cabinet.mssante.test> notify=success,delay orcpt=rfc822;m+2B@x.fr", "250"),
        ("data", "354"),
        ("hi\r\n.", "250"),
    ]).await;
    let letter = &clerk.letters()[0];
    assert_eq!(letter.reverse_path.address().map(Address::local_part), Some("lune"));
    assert_eq!(letter.parameters.size, Some(12));
    assert!(letter.parameters.eight_bit);
    assert_eq!(letter.parameters.ret, Some(ReturnContent::Headers));
    assert_eq!(letter.parameters.envid.as_deref(), Some("id+1"));
    let wishes = &letter.recipients[0].parameters;
    let notify = Notify { never: false, success: true, failure: false, delay: true };
    assert_eq!(wishes.notify, Some(notify));
    assert_eq!(wishes.orcpt.as_deref(), Some("rfc822;m+@x.fr"));
}

#[tokio::test]
async fn a_pipelined_batch_is_answered_in_one_piece() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.send(format!("{MAIL}\r\n{RCPT}\r\nRCPT TO:<unknown@x.fr>\r\nDATA\r\n")).await;
    for beginning in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354"] {
        client.expect(beginning).await;
    }
    // RFC 2920 §3.1: what follows the content may come with it.
    client.send(format!("one\r\n.\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n")).await;
    for beginning in ["250 2.0.0 Queued", "250", "250", "354"] {
        client.expect(beginning).await;
    }
    client.send("two\r\n.\r\nQUIT\r\n").await;
    client.expect("250 2.0.0 Queued").await;
    client.expect("221").await;
    let contents: Vec<_> = clerk.letters().into_iter().map(|letter| letter.content).collect();
    assert_eq!(contents, [b"one\r\n", b"two\r\n"]);
}

#[tokio::test]
async fn the_same_octets_get_the_same_replies_however_the_network_cuts_them() {
    let session = format!(
        "EHLO pc\r\n{LOGIN}\r\n{MAIL}\r\n{RCPT}\r\nRCPT TO:<unknown@x.fr>\r\nDATA\r\n\
         Subject: x\r\n\r\n..\r\n.a\r\n.\r\nNOOP\nNOOP\r\n{MAIL}\r\n{RCPT}\r\nBDAT 7\r\n.\r\n.\r\na\
         BDAT 3 LAST\r\nb\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nbad\n.\r\nbad\r\n.\r\nMAIL FROM:<\r\nQUIT\r\n"
    );
    let mut outcomes = Vec::new();
    for size in [session.len(), 1, 2, 3, 5, 17, 64] {
        let clerk = Clerk::new();
        let client = Client::connect(&clerk, SmtpDoor::Submissions);
        let mut client = client.secure(Shows::Nothing).await.unwrap();
        client.expect("220").await;
        for piece in session.as_bytes().chunks(size) {
            client.send(piece).await;
        }
        let replies = String::from_utf8(client.reply_octets().await).unwrap();
        let contents: Vec<_> = clerk.letters().into_iter().map(|letter| letter.content).collect();
        assert_eq!(contents, [&b"Subject: x\r\n\r\n.\r\na\r\n"[..], b".\r\n.\r\nab\r\n"]);
        outcomes.push(replies);
    }
    assert!(outcomes[0].contains("\r\n554 5.6.0") && outcomes[0].ends_with("221 2.0.0 Bye\r\n"));
    assert!(outcomes.iter().all(|replies| *replies == outcomes[0]), "{outcomes:#?}");
}

#[tokio::test]
async fn an_empty_letter_and_a_large_one_arrive_as_they_were() {
    let clerk = Clerk::with(|limits| limits.message_octets = 10_000_000);
    let mut client = Client::logged_in(&clerk).await;
    assert!(client.letter(".\r\n").await.starts_with("250"));
    let line = format!("{}\r\n", "Zm9v".repeat(19));
    let large = line.repeat(100_000);
    assert!(client.letter(format!("{large}.\r\n")).await.starts_with("250"));
    assert!(clerk.letters()[0].content.is_empty());
    assert_eq!(clerk.letters()[1].content, large.as_bytes());
}

#[tokio::test]
async fn each_letter_on_a_connection_has_its_own_envelope() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), ("RCPT TO:<a@x.fr>", "250"), ("RSET", "250")]).await;
    client.talk(&[(MAIL, "250"), ("RCPT TO:<b@x.fr>", "250"), ("EHLO again", "250")]).await;
    client.talk(&[("MAIL FROM:<somebody.else@x.fr>", "550 5.7.1"), ("DATA", "503")]).await;
    assert!(client.letter("x\r\n.\r\n").await.starts_with("250"));
    client.talk(&[(RCPT, "503"), ("DATA", "503"), (LOGIN, "503")]).await;
    let to: Vec<_> =
        clerk.letters()[0].recipients.iter().map(|to| to.address.to_string()).collect();
    assert_eq!(to, ["martin@cabinet.mssante.test"]);
    assert_eq!(clerk.letters().len(), 1);
}
