//! SELECT and FETCH: what is told of a mailbox and its letters.
use super::*;

#[tokio::test]
async fn select_tells_the_state_of_the_mailbox() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX", LETTER).await;
    client.append("INBOX (\\Seen $Done)", LETTER).await;
    let answer = client.ok("a SELECT {5+}\r\ninbox").await;
    for line in [
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done)\r\n",
        "* 2 EXISTS\r\n* 0 RECENT\r\n",
        "* OK [UNSEEN 1] ",
        "* OK [UIDVALIDITY ",
        "* OK [UIDNEXT 3] ",
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done \\*)] ",
        "a OK [READ-WRITE] Selected",
    ] {
        assert!(answer.contains(line), "{line} is not in {answer}");
    }
    assert!(client.ok("a EXAMINE INBOX").await.contains("[PERMANENTFLAGS ()]"));
    check(
        &mut client,
        "a STORE 1 FLAGS ()",
        "a NO [CANNOT] The mailbox is open for reading only\n",
    )
    .await;
    let closed = "* OK [CLOSED] The mailbox before is closed\na NO [NONEXISTENT] No such mailbox\n";
    check(&mut client, "a SELECT none", closed).await;
    check(&mut client, "a FETCH 1 UID", "a BAD Select a mailbox first\n").await;
}

#[tokio::test]
async fn letters_are_fetched_whole_and_in_parts() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let whole = client.ok("a UID FETCH 1 BODY.PEEK[]").await;
    let expected =
        format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{LETTER})\r\na OK Done\r\n", LETTER.len());
    assert_eq!(whole, expected);
    check(&mut client, "a FETCH 2 (BODY.PEEK[1])", "* 2 FETCH (BODY[1] {7}\nBonjour)\na OK Done\n")
        .await;
    check(
        &mut client,
        "a FETCH 2 (BODY.PEEK[HEADER.FIELDS (subject)] BODY.PEEK[2]<2.4> BODY.PEEK[9])",
        "* 2 FETCH (BODY[HEADER.FIELDS (subject)] {38}\nSubject: =?UTF-8?Q?R=C3=A9sultat?=\n\n BODY[2]<2> {4}\nBERg BODY[9] NIL)\na OK Done\n",
    )
    .await;
    let size = LETTER.len();
    let fast = client.ok("a FETCH 1 FAST").await;
    assert_eq!(
        fast,
        format!(
            "* 1 FETCH (FLAGS () INTERNALDATE \"22-Nov-2026 22:59:59 +0000\" RFC822.SIZE {size})\r\na OK Done\r\n"
        )
    );
    let full = client.ok("a FETCH 1 FULL").await;
    for part in [
        "ENVELOPE (\"Sat, 21 Nov 2026 10:00:00 +0100\" \"=?UTF-8?Q?R=C3=A9sultat?=\" ((\"Dr A\" NIL \"a\" \"hopital.mssante.test\"))",
        "BODY ((\"text\" \"plain\" ",
        "(\"application\" \"pdf\" (\"name\" \"a.pdf\") NIL NIL \"base64\" 8) \"mixed\")",
    ] {
        assert!(full.contains(part), "{part} is not in {full}");
    }
}

#[tokio::test]
async fn reading_marks_a_letter_seen_unless_it_is_a_peek() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    client.ok("a FETCH 1 (BODY.PEEK[TEXT] RFC822.HEADER)").await;
    check(&mut client, "a FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())\na OK Done\n").await;
    let read = client.ok("a FETCH 1 BODY[1]").await;
    assert_eq!(read, "* 1 FETCH (BODY[1] {7}\r\nBonjour FLAGS (\\Seen))\r\na OK Done\r\n");
    check(&mut client, "a FETCH 1 RFC822.TEXT<", "a BAD unexpected text after the command\n").await;
    check(&mut client, "a NOOP", "a OK Done\n").await;
}

#[tokio::test]
async fn numbers_that_name_nothing_get_the_answer_of_the_standard() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let bad = "a BAD No message has that sequence number\n";
    check(&mut client, "a FETCH 2 FLAGS", bad).await;
    check(&mut client, "a FETCH 1:2 FLAGS", bad).await;
    check(&mut client, "a UID FETCH 7,9 FLAGS", "a OK Done\n").await;
    check(&mut client, "a UID FETCH 7:* UID", "* 1 FETCH (UID 1)\na OK Done\n").await;
    client.ok("a SELECT Trash").await;
    check(&mut client, "a FETCH 1:* FLAGS", "a OK Done\n").await;
    check(&mut client, "a FETCH 1 FLAGS", bad).await;
}

#[tokio::test]
async fn searches_ask_rows_envelopes_and_letters() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    client.ok("a STORE 2 FLAGS (\\Seen)").await;
    client.ok("a STORE 1 FLAGS (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
    for (command, expected) in [
        ("a SEARCH UNSEEN", "* SEARCH 2\n"),
        ("a UID SEARCH UNSEEN", "* SEARCH 3\n"),
        ("a UID SEARCH ALL", "* SEARCH 2 3\n"),
        ("a SEARCH FLAGGED", "* SEARCH\n"),
        ("a SEARCH SENTON 21-Nov-2026 SUBJECT \"\"", "* SEARCH 1 2\n"),
        ("a SEARCH CHARSET UTF-8 SUBJECT {9+}\r\nR\u{c9}SULTAT", "* SEARCH 1 2\n"),
        ("a SEARCH FROM \"dr a\"", "* SEARCH 1 2\n"),
        ("a SEARCH BODY bonJOUR", "* SEARCH 1 2\n"),
        ("a SEARCH TEXT \"hopital\" NOT 1", "* SEARCH 2\n"),
        ("a SEARCH HEADER message-id 1@", "* SEARCH 1 2\n"),
        ("a SEARCH HEADER x-none \"\"", "* SEARCH\n"),
    ] {
        check(&mut client, command, &format!("{expected}a OK Done\n")).await;
    }
    check(
        &mut client,
        "a SEARCH CHARSET X-UNKNOWN ALL",
        "a NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset\n",
    )
    .await;
}

#[tokio::test]
async fn a_letter_that_cannot_be_opened_does_not_hide_the_others() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    house.spoil_second_letter().await;
    let answer = client.say("a FETCH 1:3 (UID ENVELOPE BODY.PEEK[1])").await;
    assert_eq!(answer.matches("BODY[1] {7}\r\nBonjour").count(), 2, "{answer}");
    assert!(answer.contains("* 2 FETCH (UID 2 ENVELOPE (") && answer.contains(" BODY[1] NIL)"));
    assert!(
        answer.ends_with("a NO [UNAVAILABLE] A message cannot be opened; the others were sent\r\n")
    );
    check(&mut client, "a SEARCH BODY bonjour", "* SEARCH 1 3\na OK Done\n").await;
    // Fields that the sealed summary has are not looked for in the letters.
    let by_id = "a SEARCH HEADER Message-ID <1@x> HEADER to b@ NOT HEADER cc \"\"";
    check(&mut client, by_id, "* SEARCH 1 2 3\na OK Done\n").await;
    check(&mut client, "a FETCH 2 BODY[]", "* 2 FETCH (BODY[] NIL)\na NO [UNAVAILABLE] A message cannot be opened; the others were sent\n").await;
    check(&mut client, "a FETCH 2 FLAGS", "* 2 FETCH (FLAGS ())\na OK Done\n").await;
    client.ok("a STORE 2 FLAGS (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
}

#[tokio::test]
async fn slow_readers_and_slow_senders_do_not_wait_for_each_other() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    // As if others were reading all that may be read at once.
    let readers = house.desk.reading.reserve(9_999_000).await.unwrap();
    client.append("INBOX", LETTER).await;
    drop(readers);
    let senders = house.desk.memory.reserve(9_999_000).await.unwrap();
    assert!(client.ok("a FETCH 1 BODY.PEEK[]").await.contains(LETTER));
    assert!(client.ok("a SEARCH BODY bonjour").await.contains("* SEARCH 1"));
    drop(senders);
}
