//! APPEND of several messages, REPLACE, and what cannot be filed.
use super::*;

#[tokio::test]
async fn several_messages_are_filed_at_once() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    let answer = client
        .ok("a APPEND INBOX (\\Seen) {6+}\r\nA: 1\r\n (\\Flagged) \"17-Jul-1996 02:44:25 -0700\" {6+}\r\nB: 2\r\n {6+}\r\nC: 3\r\n")
        .await;
    assert!(answer.starts_with("* 3 EXISTS\r\n") && answer.contains(" 1:3] Kept\r\n"), "{answer}");
    check(
        &mut client,
        "a FETCH 1:3 (FLAGS BODY.PEEK[])",
        "* 1 FETCH (FLAGS (\\Seen) BODY[] {6}\nA: 1\n)\n* 2 FETCH (FLAGS (\\Flagged) BODY[] {6}\nB: 2\n)\n\
         * 3 FETCH (FLAGS () BODY[] {6}\nC: 3\n)\na OK Done\n",
    )
    .await;
}

#[tokio::test]
async fn when_one_message_cannot_be_kept_none_is() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    for (command, answers) in [
        ("a APPEND INBOX {6+}\r\nA: 1\r\n {0+}\r\n", "a NO [CANNOT] An empty message"),
        ("a APPEND INBOX {0+}\r\n {6+}\r\nA: 1\r\n", "a NO [CANNOT] An empty message"),
        ("a APPEND INBOX {6+}\r\nA: 1\r\n {3+}\r\na\0b", "a NO [CANNOT] A message cannot hold NUL"),
        ("a APPEND INBOX {6+}\r\nA: 1\r\n ~{3+}\r\na\0b", "a NO [UNKNOWN-CTE] "),
        ("a APPEND INBOX {6+}\r\nA: 1\r\n {100001}", "a NO [TOOBIG] "),
        (
            "a APPEND INBOX {6+}\r\nA: 1\r\n UTF8 (~{6+}\r\nA: 1\r\n)",
            "a BAD ENABLE UTF8=ACCEPT first",
        ),
    ] {
        let answer = client.say(command).await;
        assert!(answer.starts_with(answers), "{command}: {answer}");
    }
    assert!(client.ok("a SELECT INBOX").await.contains("* 0 EXISTS\r\n"));
    assert!(client.append("INBOX", LETTER).await.contains("* 1 EXISTS\r\n"));
}

#[tokio::test]
async fn binary_and_utf8_messages_are_filed() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    client.ok("a ENABLE UTF8=ACCEPT").await;
    client.ok("a APPEND INBOX ~{6+}\r\nA: 1\r\n").await;
    client.ok("a APPEND INBOX UTF8 (~{7+}\r\nA: \u{e9}\r\n)").await;
    let answer = client.ok("a FETCH 1:2 BODY.PEEK[]").await;
    assert!(answer.contains("{7}\r\nA: \u{e9}\r\n)"), "{answer}");
}

#[tokio::test]
async fn a_draft_is_replaced_in_one_step() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    let answer = client.ok("a REPLACE 2 INBOX (\\Draft) {6+}\r\nA: 1\r\n").await;
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].starts_with("* OK [APPENDUID ") && lines[0].contains(" 4]"), "{answer}");
    assert!(lines.contains(&"* 2 EXPUNGE") && lines.contains(&"* 3 EXISTS"), "{answer}");
    assert_eq!(lines.last(), Some(&"a OK Replaced"), "{answer}");
    check(&mut client, "a FETCH 3 (UID FLAGS)", "* 3 FETCH (UID 4 FLAGS (\\Draft))\na OK Done\n")
        .await;
    let answer = client.ok("a UID REPLACE 4 Sent {6+}\r\nA: 2\r\n").await;
    assert!(answer.contains("* 3 EXPUNGE\r\n") && !answer.contains("EXISTS"), "{answer}");
    for (command, expected) in [
        ("a UID REPLACE 4 Sent {6}", "a NO [NONEXISTENT] No message has that UID\n"),
        ("a REPLACE 9 Sent {6}", "a BAD No message has that sequence number\n"),
        ("a REPLACE 1 none {6}", "a NO [TRYCREATE] No such mailbox; it can be created\n"),
    ] {
        check(&mut client, command, expected).await;
    }
    client.ok("a ENABLE QRESYNC").await;
    let answer = client.ok("a REPLACE * INBOX {6+}\r\nA: 3\r\n").await;
    assert!(
        answer.contains("* VANISHED 3\r\n") && answer.contains("a OK [HIGHESTMODSEQ "),
        "{answer}"
    );
    client.ok("a EXAMINE INBOX").await;
    let answer = client.say("a REPLACE 1 INBOX {6}").await;
    assert!(answer.starts_with("a NO [CANNOT] "), "{answer}");
    client.ok("a UNSELECT").await;
    check(&mut client, "a REPLACE 1 INBOX {6}", "a BAD Select a mailbox first\n").await;
}

#[tokio::test]
async fn a_message_that_is_gone_cannot_be_replaced() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let mut other = house.inbox(0).await;
    other.ok("a STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("a EXPUNGE").await;
    let answer = client.say("a REPLACE 1 INBOX {6+}\r\nA: 1\r\n").await;
    assert!(answer.contains("a NO [EXPUNGEISSUED] "), "{answer}");
    assert!(other.ok("a SELECT INBOX").await.contains("* 1 EXISTS\r\n"));
}

#[tokio::test]
async fn a_letter_that_is_too_large_is_refused_before_it_comes() {
    let house = House::new().await;
    let mut client = house.login().await;
    let too_big = "a NO [TOOBIG] The message is too large\n";
    check(&mut client, "a APPEND INBOX {4294967295}", too_big).await;
    check(&mut client, "a APPEND INBOX {100001}", too_big).await;
    check(
        &mut client,
        "a APPEND none {3}",
        "a NO [TRYCREATE] No such mailbox; it can be created\n",
    )
    .await;
    check(
        &mut client,
        "a APPEND none {3+}\r\nabc",
        "a NO [TRYCREATE] No such mailbox; it can be created\n",
    )
    .await;
    check(&mut client, "b NOOP", "b OK Done\n").await;
    check(
        &mut client,
        "a APPEND INBOX {0+}\r\n",
        "a NO [CANNOT] An empty message cannot be kept\n",
    )
    .await;
    check(&mut client, "a APPEND INBOX {3+}\r\na\0b", "a NO [CANNOT] A message cannot hold NUL\n")
        .await;
    client.send("a APPEND INBOX {4294967295+}\r\n").await;
    let answer = client.closed().await;
    assert!(answer.starts_with("a NO [TOOBIG] ") && answer.contains("* BYE"), "{answer}");
}

#[tokio::test]
async fn a_filed_letter_keeps_its_date_and_marks() {
    let house = House::new().await;
    let mut client = house.login().await;
    let answer =
        client.append("Sent (\\Seen) \"17-Jul-1996 02:44:25 -0700\"", "Subject: a\n\nb\n").await;
    assert!(answer.contains("a OK [APPENDUID ") && answer.contains(" 1] Kept"), "{answer}");
    client.ok("a SELECT Sent").await;
    check(
        &mut client,
        "a FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])",
        "* 1 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {17}\nSubject: a\n\nb\n)\na OK Done\n",
    )
    .await;
}
