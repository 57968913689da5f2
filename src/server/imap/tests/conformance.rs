//! What the RFCs' authors would ask of any server, as tables of what is said and what is answered.
use crate::domain::limits;
use crate::server::imap::session::Safety;
use crate::server::imap::tests::Client;
use crate::server::imap::tests::House;
use crate::server::imap::tests::LETTER;
use crate::server::imap::tests::check;

/// A letter in a letter, with two parts, and fields that need quoting.
const NESTED: &str = "From: \"Dr \\\"B\\\"\" <b@h.test>\r\nSubject: \r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/plain\r\n\r\n\
    outer\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\
    Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\none\r\n--i\r\n\
    Content-Type: text/html\r\n\r\n<p>\r\n--i--\r\n--o--\r\n";

/// Each command is answered so, in this order.
async fn talk(client: &mut Client, table: &[(&str, &str)]) {
    for (command, expected) in table {
        check(client, command, expected).await;
    }
}

/// Each command ends so (`OK`, `NO [CODE]`, `BAD`), in this order.
async fn ends(client: &mut Client, table: &[(&str, &str)]) {
    for (command, expected) in table {
        let answer = client.say(command).await;
        let tag = command.split(' ').next().unwrap();
        let last = answer.lines().last().unwrap();
        assert!(last.starts_with(&format!("{tag} {expected}")), "{command} is answered {answer}");
    }
}

#[tokio::test]
async fn commands_in_the_wrong_state_are_bad() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    for command in [
        "ENABLE CONDSTORE",
        "SELECT INBOX",
        "LIST \"\" *",
        "STATUS INBOX (MESSAGES)",
        "NAMESPACE",
        "IDLE",
        "FETCH 1 FLAGS",
        "CLOSE",
        "CHECK",
        "UNSELECT",
        "NONSENSE",
        "UID NONSENSE 1",
        "UID",
        "SELECT",
        "LOGIN a",
    ] {
        ends(&mut client, &[(&format!("t1.{} {command}", command.len()), "BAD")]).await;
    }
    client.ok("a LOGIN a@hopital.mssante.test secret").await;
    for command in ["FETCH 1 FLAGS", "UID SEARCH ALL", "EXPUNGE", "CLOSE", "CHECK", "UNSELECT"] {
        ends(&mut client, &[(&format!("A001 {command}"), "BAD")]).await;
    }
    ends(
        &mut client,
        &[
            ("a LOGIN x y", "BAD"),
            ("a AUTHENTICATE PLAIN AGEAYg==", "BAD"),
            ("a STARTTLS", "BAD"),
            ("a NOOP", "OK"),
        ],
    )
    .await;
}

#[tokio::test]
async fn mistakes_end_a_session_only_when_they_follow_each_other() {
    let house = House::new().await;
    let mut client = house.login().await;
    for _ in 0..limits::IMAP_ERRORS_MAX * 2 {
        ends(&mut client, &[("a NONSENSE", "BAD"), ("a NOOP", "OK")]).await;
    }
}

#[tokio::test]
async fn a_keyword_is_introduced_before_it_is_shown() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let mut reader = house.login().await;
    reader.ok("a EXAMINE INBOX").await;
    let mut other = house.login().await;
    other.ok("a SELECT INBOX").await;
    other.ok("a STORE 2 +FLAGS.SILENT ($Urgent)").await;
    let flags = "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Urgent)\n";
    let permanent = "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \
                     $Urgent \\*)] Kept\n";
    let told = format!("{flags}{permanent}* 2 FETCH (UID 2 FLAGS ($Urgent))\na OK Done\n");
    let fetch = "a FETCH 2 FLAGS";
    let fetched = "* 2 FETCH (FLAGS ($Urgent))\na OK Done\n";
    talk(&mut client, &[("a NOOP", &told), (fetch, fetched)]).await;
    // Who may change nothing is told of it, too, and that it is not theirs to change.
    let examined = format!("{flags}* OK [PERMANENTFLAGS ()] Kept\n{fetched}");
    let answer = reader.say(fetch).await;
    assert!(answer.starts_with(&examined.replace('\n', "\r\n")[..flags.len()]), "{answer}");
    // The silent one hears of its own word when it is shown.
    let answer = other.say(fetch).await;
    assert!(answer.starts_with("* FLAGS (") && answer.contains(" $Urgent \\*)] Kept\r\n"));
    // A spelling in another case is no other word.
    let answer = other.ok("a STORE 1 +FLAGS ($URGENT)").await;
    assert!(!answer.contains("* FLAGS ("), "{answer}");
}

#[tokio::test]
async fn orders_and_threads_are_found_in_utf8_sessions() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX", LETTER).await;
    client.ok("a ENABLE UTF8=ACCEPT").await;
    client.ok("a SELECT INBOX").await;
    talk(
        &mut client,
        &[
            ("a SORT (DATE) UTF-8 ALL", "* SORT 1\na OK Done\n"),
            ("a UID SORT (SUBJECT) US-ASCII SEEN", "* SORT\na OK Done\n"),
            ("a THREAD REFERENCES UTF-8 ALL", "* THREAD (1)\na OK Done\n"),
            ("a THREAD ORDEREDSUBJECT UTF-8 SEEN", "* THREAD\na OK Done\n"),
            ("a SEARCH CHARSET UTF-8 ALL", "a BAD With UTF8=ACCEPT no charset may be named\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn sets_that_name_nothing_and_sets_that_are_none_differ() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    ends(
        &mut client,
        &[
            ("a FETCH 0 FLAGS", "BAD"),
            ("a FETCH 1: FLAGS", "BAD"),
            ("a FETCH 1,,2 FLAGS", "BAD"),
            ("a FETCH 4 FLAGS", "BAD"),
            ("a FETCH 1 ()", "BAD"),
            ("a FETCH 1 BODY[HEADER.FIELDS ()]", "BAD"),
            ("a FETCH 1 BODY[MIME]", "BAD"),
            ("a FETCH 1 BODY[]<0>", "BAD"),
            ("a UID FETCH 0 FLAGS", "BAD"),
        ],
    )
    .await;
    talk(
        &mut client,
        &[
            ("a FETCH 3:2 UID", "* 2 FETCH (UID 2)\n* 3 FETCH (UID 3)\na OK Done\n"),
            ("a FETCH * UID", "* 3 FETCH (UID 3)\na OK Done\n"),
            ("a UID FETCH 99:* FLAGS", "* 3 FETCH (UID 3 FLAGS ())\na OK Done\n"),
            ("a UID FETCH 99:98 FLAGS", "a OK Done\n"),
            ("a UID STORE 99 +FLAGS (\\Seen)", "a OK Done\n"),
            ("a UID COPY 99 Trash", "a OK Nothing to do\n"),
            ("a UID MOVE 99 Trash", "a OK Nothing to do\n"),
            ("a UID EXPUNGE 1:*", "a OK Expunged\n"),
            ("a FETCH 1 (FLAGS UID FLAGS)", "* 1 FETCH (FLAGS () UID 1)\na OK Done\n"),
            ("a UID FETCH 1 (FLAGS UID)", "* 1 FETCH (FLAGS () UID 1)\na OK Done\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn parts_of_a_letter_in_a_letter_are_found_by_number() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.append("INBOX (\\Draft) \" 1-Feb-2026 09:30:00 +0100\"", NESTED).await;
    client.ok("a EXAMINE INBOX").await;
    let size = NESTED.len();
    talk(
        &mut client,
        &[
            (
                "a FETCH 1 (INTERNALDATE RFC822.SIZE)",
                &format!(
                    "* 1 FETCH (INTERNALDATE \" 1-Feb-2026 09:30:00 +0100\" RFC822.SIZE {size})\na OK Done\n"
                ),
            ),
            (
                "a FETCH 1 BODY[2.1.MIME]",
                "* 1 FETCH (BODY[2.1.MIME] {2}\n\n)\na OK Done\n",
            ),
            ("a FETCH 1 BODY[2.2]", "* 1 FETCH (BODY[2.2] {3}\n<p>)\na OK Done\n"),
            (
                "a FETCH 1 BODY[2.HEADER.FIELDS (\"Subject\" date)]",
                "* 1 FETCH (BODY[2.HEADER.FIELDS (Subject date)] {18}\nSubject: inner\n\n)\na OK Done\n",
            ),
            ("a FETCH 1 BODY[1.MIME]", "* 1 FETCH (BODY[1.MIME] {28}\nContent-Type: text/plain\n\n)\na OK Done\n"),
            ("a FETCH 1 BODY[TEXT]<99999.1>", "* 1 FETCH (BODY[TEXT]<99999> {0}\n)\na OK Done\n"),
            ("a FETCH 1 BODY[9]", "* 1 FETCH (BODY[9] NIL)\na OK Done\n"),
            // Nothing was marked: it is examined only.
            ("a FETCH 1 FLAGS", "* 1 FETCH (FLAGS (\\Draft))\na OK Done\n"),
        ],
    )
    .await;
    let envelope = client.ok("a FETCH 1 ENVELOPE").await;
    let expected = "ENVELOPE (NIL \"\" ((\"Dr \\\"B\\\"\" NIL \"b\" \"h.test\")) ((";
    assert!(envelope.contains(expected), "{envelope}");
    assert!(envelope.ends_with("NIL NIL NIL NIL NIL))\r\na OK Done\r\n"), "{envelope}");
    let structure = client.ok("a FETCH 1 BODYSTRUCTURE").await;
    assert!(
        structure.contains("\"alternative\" (\"boundary\" \"i\") NIL NIL NIL) "),
        "{structure}"
    );
}

#[tokio::test]
async fn searches_are_answered_in_the_form_that_was_asked_for() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    talk(
        &mut client,
        &[
            ("a SEARCH SEEN", "* SEARCH\na OK Done\n"),
            ("a UID SEARCH UNDRAFT UNKEYWORD $Done", "* SEARCH 1 2 3\na OK Done\n"),
            ("a SEARCH NOT (OR 1 UID 2)", "* SEARCH 3\na OK Done\n"),
            ("a SEARCH SINCE 1-JAN-2026 BEFORE \"01-Jan-2030\"", "* SEARCH 1 2 3\na OK Done\n"),
            ("a SEARCH OLD NOT NEW", "* SEARCH 1 2 3\na OK Done\n"),
            ("a SEARCH HEADER Message-ID \"\"", "* SEARCH 1 2 3\na OK Done\n"),
            ("a SEARCH RETURN () SEEN", "* ESEARCH (TAG \"a\")\na OK Done\n"),
            (
                "a SEARCH RETURN (COUNT MIN MAX ALL) SEEN",
                "* ESEARCH (TAG \"a\") COUNT 0\na OK Done\n",
            ),
            (
                "a UID SEARCH RETURN (COUNT MIN MAX) ALL",
                "* ESEARCH (TAG \"a\") UID MIN 1 MAX 3 COUNT 3\na OK Done\n",
            ),
            ("a SEARCH RETURN (SAVE) 2:3", "a OK Done\n"),
            ("a SEARCH $ UID 3", "* SEARCH 3\na OK Done\n"),
            ("a SEARCH RETURN (SAVE) SEEN", "a OK Done\n"),
            ("a FETCH $ UID", "a OK Done\n"),
            (
                "a SEARCH CHARSET X-NONE TEXT x",
                "a NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset\n",
            ),
            ("a SORT (REVERSE ARRIVAL) UTF-8 SEEN", "* SORT\na OK Done\n"),
            ("a THREAD REFERENCES UTF-8 SEEN", "* THREAD\na OK Done\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_date_is_shown_and_searched_in_the_zone_that_named_it() {
    let house = House::new().await;
    let mut client = house.login().await;
    for date in ["01-Feb-2026 00:30:00 +0100", "31-Jan-2026 23:30:00 -0330"] {
        client.append(&format!("INBOX \"{date}\""), LETTER).await;
    }
    client.ok("a SELECT INBOX").await;
    client.ok("a COPY 1:2 Trash").await;
    client.ok("a STORE 2 +FLAGS.SILENT (\\Flagged)").await;
    for folder in ["INBOX", "Trash"] {
        client.ok(&format!("a SELECT {folder}")).await;
        talk(
            &mut client,
            &[
                (
                    "a FETCH 1:2 INTERNALDATE",
                    "* 1 FETCH (INTERNALDATE \" 1-Feb-2026 00:30:00 +0100\")\n\
                     * 2 FETCH (INTERNALDATE \"31-Jan-2026 23:30:00 -0330\")\na OK Done\n",
                ),
                // RFC 3501 §6.4.4: disregarding time and zone. In UTC it is the other way round.
                ("a SEARCH ON 1-Feb-2026", "* SEARCH 1\na OK Done\n"),
                ("a SEARCH BEFORE 1-Feb-2026", "* SEARCH 2\na OK Done\n"),
                // RFC 5256 §3: ARRIVAL is the moment.
                ("a SORT (ARRIVAL) UTF-8 ALL", "* SORT 1 2\na OK Done\n"),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn system_flags_that_nobody_knows_change_nothing() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    ends(
        &mut client,
        &[
            ("a STORE 1 +FLAGS (\\Foo)", "BAD"),
            ("a STORE 1 FLAGS \\Seen \\Foo", "BAD"),
            ("a STORE 1 FLAGS (\\*)", "BAD"),
            ("a UID STORE 1 -FLAGS.SILENT (\\Foo)", "BAD"),
            // What a program read of another server, which has it.
            ("a STORE 1 +FLAGS (\\Recent)", "OK"),
        ],
    )
    .await;
    // The octets that come behind are no command.
    for literal in ["{3+}\r\nabc", "{9+}\r\nb LOGOUT\r"] {
        let answer = client.say(&format!("a APPEND INBOX (\\Seen \\Foo) {literal}")).await;
        assert_eq!(answer, "a BAD unknown system flag\r\n");
    }
    // A client that waits is not asked for its letter.
    check(&mut client, "a APPEND INBOX (\\Foo) {3}", "a BAD unknown system flag\n").await;
    check(&mut client, "a FETCH 1:* FLAGS", "* 1 FETCH (FLAGS ())\na OK Done\n").await;
}

#[tokio::test]
async fn a_search_for_numbers_that_are_not_there_finds_nothing() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    talk(
        &mut client,
        &[
            ("a SEARCH 9", "* SEARCH\na OK Done\n"),
            ("a SEARCH 2:9", "* SEARCH 2\na OK Done\n"),
            ("a SEARCH NOT 9", "* SEARCH 1 2\na OK Done\n"),
            ("a FETCH 2:9 UID", "a BAD No message has that sequence number\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn enable_is_taken_in_a_mailbox_too_and_counts_from_there() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let mut other = house.login().await;
    let answer = client.ok("a ENABLE QRESYNC IMAP4rev2").await;
    assert!(answer.contains("* ENABLED QRESYNC IMAP4rev2\r\n"), "{answer}");
    assert!(answer.contains("[HIGHESTMODSEQ "), "{answer}");
    other.append("INBOX", LETTER).await;
    check(&mut client, "a NOOP", "* 2 EXISTS\na OK Done\n").await;
    let expunged = {
        client.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        client.ok("a EXPUNGE").await
    };
    assert!(expunged.starts_with("* VANISHED 1\r\n"), "{expunged}");
}

#[tokio::test]
async fn what_is_created_is_subscribed_when_its_name_is() {
    let house = House::new().await;
    let mut client = house.login().await;
    let listed = "* LSUB () \"/\" \"new\"\na OK Done\n";
    client.ok("a CREATE new").await;
    check(&mut client, "a LSUB \"\" n%", "a OK Done\n").await;
    client.ok("a SUBSCRIBE new").await;
    check(&mut client, "a LSUB \"\" n%", listed).await;
    client.ok("a DELETE new").await;
    client.ok("a CREATE new").await;
    check(&mut client, "a LSUB \"\" n%", listed).await;
    client.ok("a UNSUBSCRIBE new").await;
    client.ok("a DELETE new").await;
    client.ok("a CREATE new").await;
    check(&mut client, "a LSUB \"\" n%", "a OK Done\n").await;
}

#[tokio::test]
async fn a_name_that_is_only_a_level_says_that_there_are_mailboxes_below() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.ok("a CREATE foo/bar").await;
    ends(
        &mut client,
        &[
            ("a DELETE foo", "OK"),
            ("a DELETE foo", "NO [HASCHILDREN]"),
            ("a DELETE fo", "NO [NONEXISTENT]"),
            ("a DELETE foo/bar", "OK"),
            ("a DELETE foo", "NO [NONEXISTENT]"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_second_revision_is_spoken_once_it_is_enabled() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.ok("a CREATE Re&AOc-us").await;
    client.ok("a SUBSCRIBE Re&AOc-us").await;
    client.append("INBOX", LETTER).await;
    check(&mut client, "a ENABLE IMAP4rev2 X", "* ENABLED IMAP4rev2\na OK Done\n").await;
    let selected = client.ok("a SELECT inbox").await;
    for absent in ["RECENT", "[UNSEEN"] {
        assert!(!selected.contains(absent), "{selected}");
    }
    assert!(selected.contains("* LIST () \"/\" \"INBOX\"\r\n"), "{selected}");
    talk(
        &mut client,
        &[
            ("a SEARCH ALL", "* ESEARCH (TAG \"a\") ALL 1\na OK Done\n"),
            ("a UID SEARCH SEEN", "* ESEARCH (TAG \"a\") UID\na OK Done\n"),
            ("a STATUS \"Reçus\" (MESSAGES)", "* STATUS \"Reçus\" (MESSAGES 0)\na OK Done\n"),
        ],
    )
    .await;
    client.ok("a CREATE \"R&D/été\"").await;
    client.ok("a DELETE R&D").await;
    check(
        &mut client,
        "a LIST \"\" R%",
        "* LIST (\\NonExistent \\Noselect \\HasChildren) \"/\" \"R&D\"\n\
         * LIST (\\HasNoChildren) \"/\" \"Reçus\"\na OK Done\n",
    )
    .await;
}

#[tokio::test]
async fn a_mailbox_that_somebody_deleted_can_be_closed() {
    let house = House::new().await;
    let mut other = house.login().await;
    for qresync in [false, true] {
        let mut client = house.login().await;
        if qresync {
            client.ok("a ENABLE QRESYNC").await;
        }
        client.ok("a CREATE Clients").await;
        client.append("Clients", LETTER).await;
        client.ok("a SELECT Clients").await;
        other.ok("b DELETE Clients").await;
        assert!(client.ok("a CLOSE").await.ends_with("a OK Closed\r\n"));
        client.ok("a STATUS INBOX (MESSAGES)").await;
    }
}

#[tokio::test]
async fn odd_names_and_failed_deeds_are_answered_as_the_standard_says() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    ends(
        &mut client,
        &[
            ("a CREATE \"a \\\"b\\\" \\\\c/\"", "OK"),
            ("a STATUS \"a \\\"b\\\" \\\\c\" (MESSAGES)", "OK"),
            ("a CREATE \"x&y\"", "BAD"),
            ("a CREATE iNbOx", "NO [ALREADYEXISTS]"),
            ("a CREATE p", "OK"),
            ("a RENAME p p/q", "NO [CANNOT]"),
            ("a RENAME p INBOX", "NO [ALREADYEXISTS]"),
            ("a DELETE iNBOX", "NO [CANNOT]"),
            ("a STATUS none (MESSAGES)", "NO [NONEXISTENT]"),
            ("a STATUS INBOX ()", "BAD"),
            ("a COPY 1 none", "NO [TRYCREATE]"),
            ("a MOVE 1 none", "NO [TRYCREATE]"),
            ("a APPEND none {3+}\r\nabc", "NO [TRYCREATE]"),
            ("a EXAMINE INBOX", "OK [READ-ONLY]"),
            ("a EXPUNGE", "NO"),
            ("a MOVE 1 Trash", "NO"),
            ("a STORE 1 +FLAGS (\\Seen)", "NO"),
            ("a CLOSE", "OK"),
            ("a SELECT INBOX", "OK [READ-WRITE]"),
            ("a SELECT none", "NO [NONEXISTENT]"),
            ("a CLOSE", "BAD"),
        ],
    )
    .await;
    let odd = "* LIST (\\HasNoChildren) \"/\" \"a \\\"b\\\" \\\\c\"\na OK Done\n";
    let lsub = "* LSUB () \"/\" \"INBOX\"\na OK Done\n";
    client.ok("a SUBSCRIBE inbox").await;
    talk(
        &mut client,
        &[
            ("a LIST \"\" a%", odd),
            ("a LIST \"\" iNbOx", "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\na OK Done\n"),
            ("a LIST nowhere/ *", "a OK Done\n"),
            ("a LIST x/ \"\"", "* LIST (\\Noselect) \"/\" \"\"\na OK Done\n"),
            ("a LSUB \"\" inbox", lsub),
            ("a LIST \"\" () RETURN ()", "a BAD a mailbox pattern is missing\n"),
        ],
    )
    .await;
}
