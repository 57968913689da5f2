//! Every limit on what one command may hold, and the answer of whoever goes over it.
use super::*;

/// At the limit it is read, over it it is refused; in both cases the next command is read.
fn limit(max: usize, make: impl Fn(usize) -> String, refusal: &str) {
    let told = |count| {
        let input = format!("a {}\r\nb NOOP\r\n", make(count));
        let mut reader = Reader::new(Budget::AFTER_LOGIN);
        let told = steps(&mut reader, input.as_bytes());
        assert_eq!(told.last().map(String::as_str), Some("b NOOP"), "{refusal}");
        told[told.len() - 2].clone()
    };
    let within = told(max);
    assert!(!within.contains("BAD"), "{within}");
    assert_eq!(told(max + 1), refusal);
}

fn many(count: usize, one: &str, between: &str) -> String {
    vec![one; count].join(between)
}

#[test]
fn every_list_of_a_command_has_an_end() {
    limit(
        limits::IMAP_SEARCH_KEYS_MAX,
        |count| format!("SEARCH {}", many(count, "SEEN", " ")),
        "a NO [LIMIT] a search has too many keys",
    );
    limit(
        limits::IMAP_RANGES_MAX,
        |count| format!("FETCH {} UID", many(count, "1", ",")),
        "a NO [LIMIT] a set has too many ranges",
    );
    limit(
        limits::IMAP_FETCH_ITEMS_MAX,
        |count| format!("FETCH 1 ({})", many(count, "UID", " ")),
        "a NO [LIMIT] a FETCH has too many items",
    );
    limit(
        limits::IMAP_NOTIFY_MAILBOXES_MAX,
        |count| format!("NOTIFY SET (mailboxes ({}) NONE)", many(count, "a", " ")),
        "a NO [LIMIT] a NOTIFY names too many mailboxes",
    );
    limit(
        limits::IMAP_NOTIFY_MAILBOXES_MAX,
        |count| format!("NOTIFY SET {}", many(count, "(subtree a NONE)", " ")),
        "a NO [LIMIT] a NOTIFY names too many mailboxes",
    );
    limit(
        limits::IMAP_METADATA_ENTRIES_MAX,
        |count| format!("GETMETADATA x ({})", many(count, "/a", " ")),
        "a NO [LIMIT] too many entries are asked for",
    );
    limit(
        limits::IMAP_METADATA_ENTRIES_MAX,
        |count| format!("SETMETADATA x ({})", many(count, "/a NIL", " ")),
        "a NO [LIMIT] too many entries are set",
    );
    limit(
        limits::IMAP_METADATA_NAME_OCTETS_MAX - 1,
        |count| format!("GETMETADATA x /{}", many(count, "a", "")),
        "a NO [LIMIT] an entry's name is too long",
    );
    limit(
        limits::IMAP_PATTERNS_MAX,
        |count| format!("LIST \"\" ({})", many(count, "a", " ")),
        "a NO [LIMIT] a LIST has too many patterns",
    );
    limit(
        limits::IMAP_ENABLE_NAMES_MAX,
        |count| format!("ENABLE {}", many(count, "x", " ")),
        "a NO [LIMIT] ENABLE names too many capabilities",
    );
    limit(
        limits::IMAP_QUOTA_RESOURCES_MAX,
        |count| format!("SETQUOTA x ({})", many(count, "STORAGE 1", " ")),
        "a NO [LIMIT] a quota has too many resources",
    );
    limit(
        limits::IMAP_SORT_KEYS_MAX,
        |count| format!("SORT ({}) UTF-8 ALL", many(count, "DATE", " ")),
        "a NO [LIMIT] an order has too many keys",
    );
    limit(
        limits::IMAP_LITERALS_MAX,
        |count| format!("SEARCH {}", many(count, "TEXT {1+}\r\nx", " ")),
        "a NO [LIMIT] a command has too many literals",
    );
    limit(
        limits::IMAP_APPEND_MESSAGES_MAX,
        |count| format!("APPEND x {}", many(count, "{1+}\r\nx", " ")),
        "a NO [LIMIT] an APPEND brings too many messages",
    );
}

#[test]
fn messages_of_one_append_are_not_larger_together_than_we_take() {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    steps(&mut reader, b"a APPEND x {1+}\r\nx");
    let too_large = format!(" {{{}}}\r\nb NOOP\r\n", limits::IMAP_APPEND_OCTETS_MAX);
    let expected = "a NO [TOOBIG] the messages of an APPEND are too large together";
    assert_eq!(steps(&mut reader, too_large.as_bytes()), [expected, "b NOOP"]);
}

#[test]
fn a_stranger_has_less_of_everything() {
    let told = |input: &[u8]| steps(&mut Reader::new(Budget::BEFORE_LOGIN), input);
    let literals = |count| format!("a ID ({})\r\nb NOOP\r\n", many(count, "{1+}\r\nx", " "));
    let max = limits::IMAP_LITERALS_BEFORE_LOGIN_MAX;
    assert_eq!(told(literals(max).as_bytes()), ["a ID", "b NOOP"]);
    let refusal = "a NO [LIMIT] a command has too many literals";
    assert_eq!(told(literals(max + 1).as_bytes()), [refusal, "b NOOP"]);
    // Lines and literals share the 8 KiB.
    let long = [b"a LOGIN {5000+}\r\n", &[b'x'; 5_000][..], b" {5000}\r\nb NOOP\r\n"].concat();
    assert_eq!(told(&long), ["a BAD a literal is too large", "b NOOP"]);
    // Nobody is asked for a literal of what is no command.
    assert_eq!(told(b"a NONSENSE {3}\r\nb NOOP\r\n"), ["a BAD unknown command", "b NOOP"]);
    // Nor does anybody read a message that a stranger sends unasked.
    let mut reader = Reader::new(Budget::BEFORE_LOGIN);
    let (_, step) = reader.feed(b"a APPEND x {10000+}\r\n");
    assert!(matches!(step, Some(Step::Message(_))));
    assert_eq!(reader.refuse_message(25_000_000), Next::Close);
}

#[test]
fn what_contradicts_itself_is_refused_with_a_reason() {
    for (command, reason) in [
        (
            "FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)",
            "VANISHED goes with UID FETCH and CHANGEDSINCE",
        ),
        ("UID FETCH 1 (FLAGS) (VANISHED)", "VANISHED goes with UID FETCH and CHANGEDSINCE"),
        ("FETCH 1 (FLAGS) (PARTIAL 1:2)", "PARTIAL goes with UID FETCH"),
        ("SEARCH RETURN (ALL PARTIAL 1:2) ALL", "PARTIAL and ALL exclude each other"),
        ("SEARCH RETURN (PARTIAL 1:-2) ALL", "a range such as 1:100 or -1:-100 was expected"),
        ("FETCH 1 (PREVIEW (FUZZY))", "unknown FETCH item"),
        ("SELECT x (QRESYNC (1 0))", "a mod-sequence from 1 was expected"),
        ("SELECT x (QRESYNC (1 1 1:*))", "a set without * or $ was expected"),
        (
            "SELECT x (QRESYNC (1 1 1:9 (1:2 1:3)))",
            "as many UIDs as sequence numbers were expected",
        ),
        ("SELECT x (QRESYNC (1 1)", "one space expected"),
        (
            "STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS ()",
            "a number is over 9223372036854775807",
        ),
        ("SORT (DATE) ALL", "one space expected"),
        ("SORT (SENT) UTF-8 ALL", "unknown sort key"),
        ("THREAD JWZ UTF-8 ALL", "unknown threading algorithm"),
        ("SEARCH MODSEQ /flags/x all 1", "a mod-sequence or an entry was expected"),
        ("SEARCH OLDER 0", "a number from 1 was expected"),
        ("SEARCH SUBJECT", "a search key lacks its argument"),
        ("SETACL x y +lZ", "unknown right"),
        ("SETACL x \"\" l", "an identifier without control characters was expected"),
        ("GETMETADATA x comment", "an entry such as /private/comment was expected"),
        ("GETMETADATA x (/a //b)", "an entry such as /private/comment was expected"),
        ("GETMETADATA (DEPTH 2) x /a", "a depth is 0, 1 or infinity"),
        ("NOTIFY SET (selected (MessageNew))", "MessageNew and MessageExpunge go together"),
        ("NOTIFY SET (inboxes (FlagChange))", "FlagChange goes with MessageNew and MessageExpunge"),
        (
            "NOTIFY SET (selected NONE) (selected-delayed NONE)",
            "the selected mailbox is named twice",
        ),
        ("NOTIFY SET (everything NONE)", "unknown choice of mailboxes"),
        ("COMPRESS LZ4", "DEFLATE was expected"),
        ("UNAUTHENTICATE x", "unexpected text after the command"),
        ("STATUS x (MOOD)", "unknown STATUS item"),
    ] {
        let input = format!("a {command}\r\nb NOOP\r\n");
        let told = steps(&mut Reader::new(Budget::AFTER_LOGIN), input.as_bytes());
        assert_eq!(told, [format!("a BAD {reason}"), "b NOOP".to_owned()], "{command}");
    }
    let event =
        steps(&mut Reader::new(Budget::AFTER_LOGIN), b"a NOTIFY SET (inboxes (MessageRead))\r\n");
    assert!(event[0].starts_with("a NO [BADEVENT (MessageNew "), "{event:?}");
}

#[test]
fn in_utf8_a_name_is_what_it_says() {
    let name = |mode, line: &[u8]| {
        let mut reader = Reader::new(Budget::AFTER_LOGIN);
        reader.set_mode(mode);
        match reader.feed(line).1 {
            Some(Step::Command(Command { body: Body::Delete(name), .. })) => {
                Ok(name.as_str().to_owned())
            }
            Some(Step::Bad(refused)) => Err(refused.reason.0),
            other => panic!("{other:?}"),
        }
    };
    let both = b"a DELETE \"A&AOk-\"\r\n";
    assert_eq!(name(Mode::Utf7, both), Ok("Aé".to_owned()));
    assert_eq!(name(Mode::Utf8, both), Ok("A&AOk-".to_owned()));
    assert_eq!(name(Mode::Utf8, "a DELETE \"Aé&\"\r\n".as_bytes()), Ok("Aé&".to_owned()));
    assert_eq!(
        name(Mode::Utf7, b"a DELETE \"A&\"\r\n"),
        Err("a mailbox name is not modified UTF-7")
    );
    assert_eq!(name(Mode::Utf8, b"a DELETE \"\xff\"\r\n"), Err("a mailbox name is not UTF-8"));
    assert_eq!(
        name(Mode::Utf8, "a DELETE Aé\r\n".as_bytes()),
        Err("unexpected text after the command")
    );
}
