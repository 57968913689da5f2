//! Commands that are wrong: each gets its proper answer, and the next right one is obeyed.
use vaguemestre::domain::status::Refusal;
use vaguemestre::server::smtp::SmtpDoor;

use super::clerk::Clerk;
use super::client::Client;
use super::client::LOGIN;
use super::client::MAIL;
use super::client::RCPT;
use super::tls::Shows;

#[tokio::test]
async fn unknown_malformed_and_overlong_lines_are_500() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    let overlong = format!("NOOP {}\r\n", "x".repeat(200_000));
    let lines: [&[u8]; 8] = [
        b"XYZZY\r\n",
        b"NOOP\n",
        b"NOOP\rNOOP\r\n",
        b"NO\0OP\r\n",
        b"\r\n",
        b"\n",
        b"\xff\xfe\xfd\r\n",
        overlong.as_bytes(),
    ];
    for line in lines {
        client.send(line).await;
        client.expect("500 5.5.").await;
        client.talk(&[("NOOP", "250")]).await;
    }
    client.send(b"MAIL FROM:<\xe9@x.fr>\r\n").await;
    client.expect("501 5.5.2").await;
    assert!(client.letter("x\r\n.\r\n").await.starts_with("250"));
}

#[tokio::test]
async fn a_line_with_a_bare_lf_hides_no_command() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.send(format!("{MAIL}\n{RCPT}\nDATA\r\n")).await;
    for beginning in ["500 5.5.2", "500 5.5.2", "503 5.5.1"] {
        client.expect(beginning).await;
    }
}

#[tokio::test]
async fn commands_out_of_order_and_a_missing_ehlo_are_503() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    for line in [MAIL, RCPT, "DATA", LOGIN] {
        client.talk(&[(line, "503 5.5.1")]).await;
    }
    client.talk(&[("EHLO", "501"), ("EHLO a b", "501"), ("EHLO pc", "250")]).await;
    client.talk(&[(MAIL, "530 5.7.0"), (LOGIN, "530 5.7.0"), ("STARTTLS x", "501")]).await;
    let mut client = Client::people(&clerk).await;
    client.talk(&[(MAIL, "530 5.7.0"), ("STARTTLS", "503"), (LOGIN, "235")]).await;
    client.talk(&[("DATA", "503"), (RCPT, "503"), (MAIL, "250"), (MAIL, "503")]).await;
    client.talk(&[("DATA", "503"), ("RCPT TO:<unknown@x.fr>", "550"), ("DATA", "554")]).await;
    assert!(clerk.letters().is_empty());
}

#[tokio::test]
async fn after_starttls_nothing_that_was_said_before_counts() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    client.talk(&[("EHLO pc.example", "250"), ("STARTTLS", "220")]).await;
    let mut client = client.secure(Shows::Nothing).await.unwrap();
    client.talk(&[(LOGIN, "503"), ("EHLO pc.example", "250"), (LOGIN, "235")]).await;
}

#[tokio::test]
async fn octets_pipelined_behind_starttls_are_refused_and_never_carried_over() {
    let clerk = Clerk::new();
    for injected in ["NOOP\r\n", "E", "\r\n"] {
        let mut client = Client::connect(&clerk, SmtpDoor::Submission);
        client.expect("220").await;
        client.talk(&[("EHLO pc.example", "250")]).await;
        client.send(format!("STARTTLS\r\n{injected}")).await;
        client.expect("554 5.5.1").await;
        client.expect_closed().await;
    }
    // In a second piece they meet the TLS library, which knows no such handshake.
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    client.talk(&[("EHLO pc.example", "250"), ("STARTTLS", "220")]).await;
    client.send("EHLO pc.example\r\nNOOP\r\n").await;
    let answer = client.reply_octets().await;
    assert!(!answer.windows(3).any(|window| window == b"250"), "{answer:?}");
}

#[tokio::test]
async fn bad_base64_is_501_and_a_star_cancels() {
    let clerk = Clerk::new();
    let mut client = Client::people(&clerk).await;
    client.talk(&[("AUTH PLAIN !!!", "501 5.5.2"), ("AUTH PLAIN", "334 \r\n")]).await;
    client.talk(&[("not base64", "501 5.5.2"), ("AUTH PLAIN =", "501 5.5.2")]).await;
    client.talk(&[("AUTH LOGIN", "334"), ("*", "501 5.7.0"), ("AUTH CRAM-MD5", "504 5.5.4")]).await;
    client.talk(&[("AUTH LOGIN", "334")]).await;
    client
        .send([b"a\rb\r\n".as_slice(), b"AUTH PLAIN\r\n", &[b'A'; 20_000], b"\r\n"].concat())
        .await;
    for beginning in ["500 5.5.2", "334", "500 5.5.6"] {
        client.expect(beginning).await;
    }
    assert!(clerk.logins().is_empty(), "nothing of that was a login");
    client.talk(&[(LOGIN, "235")]).await;
}

#[tokio::test]
async fn a_wrong_password_is_535_and_the_third_ends_the_connection() {
    let clerk = Clerk::new();
    let mut client = Client::people(&clerk).await;
    let wrong = "AUTH PLAIN AGx1bmVAaG9waXRhbC5tc3NhbnRlLnRlc3QAd3Jvbmc=";
    client.talk(&[(wrong, "535 5.7.8"), (MAIL, "530"), (wrong, "535 5.7.8")]).await;
    client.talk(&[(wrong, "421 4.7.0")]).await;
    client.expect_closed().await;
    assert_eq!(clerk.logins(), [false, false, false]);
    assert_eq!(clerk.refusals(), [Refusal::AuthFailed; 3]);
}

#[tokio::test]
async fn a_directory_that_does_not_answer_is_454_at_login() {
    let clerk = Clerk::new();
    let mut client = Client::people(&clerk).await;
    client.talk(&[("AUTH PLAIN AGRpcmVjdG9yeS1kb3duAHg=", "454 4.7.0"), (LOGIN, "235")]).await;
}

#[tokio::test]
async fn recipients_are_refused_one_by_one_each_with_its_reason() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), ("RCPT TO:<unknown@x.fr>", "550 5.1.1")]).await;
    client.talk(&[("RCPT TO:<a@elsewhere.example>", "550 5.7.1")]).await;
    client.talk(&[("RCPT TO:<a@[192.0.2.1]>", "550 5.1.2"), ("RCPT TO:<a>", "501 5.1.3")]).await;
    client.talk(&[("RCPT TO:<é@x.fr>", "553 5.6.7"), ("RCPT TO:<a@x.fr> X=1", "555 5.5.4")]).await;
    for number in 1..=3 {
        client.talk(&[(&format!("RCPT TO:<a{number}@x.fr>"), "250 2.1.5")]).await;
    }
    client.talk(&[("RCPT TO:<a4@x.fr>", "452 4.5.3"), ("DATA", "354"), ("x\r\n.", "250")]).await;
    assert_eq!(clerk.letters()[0].recipients.len(), 3);
    let reasons = [
        Refusal::MailboxUnknown,
        Refusal::DomainNotTrusted,
        Refusal::Utf8NotAnnounced,
        Refusal::TooManyRecipients,
    ];
    assert_eq!(clerk.refusals(), reasons);
    let named = ["unknown@x.fr", "a@elsewhere.example", "é@x.fr", "a4@x.fr"];
    assert_eq!(clerk.refused_recipients(), named);
}

#[tokio::test]
async fn a_client_that_makes_only_errors_is_sent_away() {
    let clerk = Clerk::new();
    let mut client = Client::connect(&clerk, SmtpDoor::Submission);
    client.expect("220").await;
    client.send("GET / HTTP/1.1\r\n".repeat(30)).await;
    for _ in 0..20 {
        client.expect("500").await;
    }
    client.expect("421 4.7.0").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn nobody_learns_who_has_a_mailbox() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[("VRFY lune", "252"), ("VRFY nobody", "252"), ("EXPN all", "502")]).await;
}
