//! Contents that are refused, and what comes after them.
use vaguemestre::domain::limits;
use vaguemestre::domain::status::Refusal;

use super::clerk::Clerk;
use super::client::Client;
use super::client::MAIL;
use super::client::RCPT;

#[tokio::test]
async fn no_letter_smuggles_another_in_its_content() {
    let ends: [&[u8]; 16] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r.\n",
        b"\n.\r",
        b"\n\n.\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\0\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\n",
        b"\n\r.\r\n",
        b"\r\r.\r\n",
    ];
    let clerk = Clerk::new();
    for end in ends {
        let mut client = Client::logged_in(&clerk).await;
        let hidden = format!("{MAIL}\r\nRCPT TO:<victim@x.fr>\r\nDATA\r\nevil");
        let content = [b"Subject: x\r\n\r\nhi", end, hidden.as_bytes(), b"\r\n.\r\n"].concat();
        let reply = client.letter(&content).await;
        assert!(reply.starts_with("554 5.6.0"), "{end:?}: {reply}");
        // One reply for one letter: no command was found inside.
        client.talk(&[("NOOP", "250 2.0.0 OK"), ("DATA", "503"), ("QUIT", "221")]).await;
        client.expect_closed().await;
    }
    assert!(clerk.letters().is_empty());
    assert!(clerk.refusals().iter().all(|refusal| *refusal == Refusal::ContentMalformed));
    assert_eq!(clerk.refusals().len(), ends.len());
}

#[tokio::test]
async fn bare_cr_lf_nul_and_overlong_lines_are_refused_and_the_next_letter_is_taken() {
    let clerk = Clerk::with(|limits| limits.message_octets = 1_000_000);
    let mut client = Client::logged_in(&clerk).await;
    let overlong = "a".repeat(limits::CONTENT_LINE_OCTETS_MAX);
    for content in ["a\rb", "a\nb", "a\0b", "\n", &overlong] {
        let reply = client.letter(format!("{content}\r\n.\r\n")).await;
        assert!(reply.starts_with("554 5.6.0"), "{reply}");
    }
    assert!(client.letter("good\r\n.\r\n").await.starts_with("250"));
    assert_eq!(clerk.letters().len(), 1);
}

#[tokio::test]
async fn the_same_rules_hold_across_chunks() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    // A CR at the end of one chunk, something other than LF at the beginning of the next.
    client.talk(&[(MAIL, "250"), (RCPT, "250"), ("BDAT 2\r\na\rBDAT 1\r\nb", "250 2.0.0 2")]).await;
    client.send("RSET\r\n").await;
    client.expect("554 5.6.0").await;
    // The line end above was the client's helper's; it is an empty command.
    client.expect("500").await;
    client.expect("250").await;
    // A CR as the very last octet.
    client.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    client.send("BDAT 2 LAST\r\na\rNOOP\r\n").await;
    client.expect("554 5.6.0").await;
    client.expect("250 2.0.0 OK").await;
    assert!(clerk.letters().is_empty());
}

#[tokio::test]
async fn chunks_out_of_place_are_read_and_never_taken_for_commands() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.send("BDAT 6\r\nQUIT\r\nNOOP\r\n").await;
    client.expect("503 5.5.1").await;
    client.expect("250 2.0.0 OK").await;
    client.talk(&[(MAIL, "250")]).await;
    client.send("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    client.expect("503 5.5.1").await;
    client.expect("250 2.0.0 OK").await;
    client.talk(&[("BDAT six", "501 5.5.4")]).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn a_letter_too_large_is_552_by_its_word_by_its_content_and_by_its_chunks() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    let ehlo = client.ask("EHLO pc.example").await;
    assert!(ehlo.contains("SIZE 100000\r\n"), "{ehlo}");
    client.talk(&[(&format!("{MAIL} SIZE=100001"), "552 5.3.4"), (RCPT, "503")]).await;
    let large = format!("{}\r\n", "a".repeat(98)).repeat(1001);
    assert!(client.letter(format!("{large}.\r\n")).await.starts_with("552 5.3.4"));
    client.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    client.send(format!("BDAT {}\r\n{large}BDAT 2 LAST\r\n\r\nNOOP\r\n", large.len())).await;
    client.expect("552 5.3.4").await;
    client.expect("552 5.3.4").await;
    client.expect("250 2.0.0 OK").await;
    assert!(client.letter("small\r\n.\r\n").await.starts_with("250"));
    assert_eq!(clerk.letters().len(), 1);
    // Each letter is one refusal, however many chunks it had.
    assert_eq!(clerk.refusals(), [Refusal::MessageTooLarge; 3]);
}

#[tokio::test]
async fn a_refused_letter_that_never_ends_is_cut() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), (RCPT, "250"), ("DATA", "354")]).await;
    let line = format!("{}\r\n", "a".repeat(998));
    let mut sent = 0;
    while sent < 450 && client.try_send(&line).await {
        sent += 1;
    }
    client.expect("421 4.3.4").await;
    assert!(sent >= 400, "cut after {sent} kB");
    client.expect_closed().await;
}

#[tokio::test]
async fn a_full_disk_in_mid_content_is_452_after_the_end_of_the_content() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    let reply = client.letter(format!("DISK FULL\r\n{MAIL}\r\nQUIT\r\n.\r\n")).await;
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    client.talk(&[("NOOP", "250 2.0.0 OK"), (MAIL, "250"), (RCPT, "250")]).await;
    client.send("BDAT 11\r\nDISK FULL\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    for beginning in ["452 4.3.1", "452 4.3.1", "250 2.0.0 OK"] {
        client.expect(beginning).await;
    }
    assert!(client.letter("x\r\n.\r\n").await.starts_with("250"));
    assert_eq!(clerk.letters().len(), 1);
}

#[tokio::test]
async fn a_refusal_before_the_content_comes_instead_of_354() {
    let clerk = Clerk::new();
    let mut client = Client::logged_in(&clerk).await;
    client.talk(&[(MAIL, "250"), ("RCPT TO:<keyless@x.fr>", "250"), ("DATA", "451 4.7.5")]).await;
    client.talk(&[("DATA", "503"), (MAIL, "250"), ("RCPT TO:<keyless@x.fr>", "250")]).await;
    client.send("BDAT 6\r\nQUIT\r\nRSET\r\n").await;
    client.expect("451 4.7.5").await;
    client.expect("250").await;
    assert!(client.letter("x\r\n.\r\n").await.starts_with("250"));
}
