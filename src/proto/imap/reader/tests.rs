//! Framing, budgets, and the round trip of every command.
use proptest::prelude::*;

use super::*;

mod bodies;
mod filing;
mod limits_hold;

/// Feeds everything at once and collects what it comes to; messages are accepted.
fn steps(reader: &mut Reader, input: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    let mut rest = input;
    loop {
        let (used, step) = reader.feed(rest);
        rest = &rest[used..];
        match step {
            None => return told,
            Some(Step::Continue) => told.push("+".to_owned()),
            Some(Step::Message(announced)) => {
                told.push(format!("message of {}", announced.octets));
                reader.accept_message();
            }
            Some(Step::Received(message)) => {
                told.push(format!("got {}", String::from_utf8_lossy(message.expose())));
            }
            Some(Step::Command(command)) => {
                told.push(format!("{} {}", command.tag.as_str(), command.body.name()));
            }
            Some(Step::Line(line)) => {
                told.push(format!("line {}", String::from_utf8_lossy(line.expose())));
            }
            Some(Step::Bad(refused)) => {
                let tag = refused.tag.as_ref().map_or("*", Tag::as_str);
                let Bad(reason, fault) = refused.reason;
                told.push(match fault.code() {
                    Some(code) => format!("{tag} NO [{code}] {reason}"),
                    None => format!("{tag} BAD {reason}"),
                });
                if refused.next == Next::Close {
                    told.push("close".to_owned());
                    return told;
                }
            }
        }
    }
}

fn check(input: &[u8], expected: &[&str]) {
    let whole = steps(&mut Reader::new(Budget::AFTER_LOGIN), input);
    assert_eq!(whole, expected, "{:?}", String::from_utf8_lossy(input));
    // However the octets are cut up, they mean the same.
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let mut bitwise = Vec::new();
    for octet in input {
        bitwise.extend(steps(&mut reader, &[*octet]));
        if bitwise.last().is_some_and(|last| last == "close") {
            break;
        }
    }
    assert_eq!(bitwise, expected, "octet by octet");
}

#[test]
fn commands_follow_each_other() {
    check(b"a NOOP\r\nb login x y\r\n", &["a NOOP", "b LOGIN"]);
    check(b"a CAPABILITY\r\nb SEL", &["a CAPABILITY"]);
    check(b"a select {5}\r\nINBOX\r\n", &["+", "a SELECT"]);
    check(b"a LOGIN {1+}\r\nx {3+}\r\na\"b\r\nb NOOP\r\n", &["a LOGIN", "b NOOP"]);
    check(b"a SELECT {0+}\r\n\r\n", &["a SELECT"]);
}

#[test]
fn a_broken_command_is_answered_and_the_next_one_is_read() {
    check(b"a NONSENSE\r\nb NOOP\r\n", &["a BAD unknown command", "b NOOP"]);
    check(b"\r\n", &["* BAD a tag was expected"]);
    check(b"a\r\n", &["a BAD one space expected"]);
    check(b"+ NOOP\r\n", &["* BAD a tag was expected"]);
    check(b"a NOOP x\r\n", &["a BAD unexpected text after the command"]);
    check(b"a  NOOP\r\n", &["a BAD a command was expected"]);
    check(b"a STORE 1 ++FLAGS (x)\r\n", &["a BAD unknown STORE item"]);
    check(b"a FETCH 0 UID\r\n", &["a BAD a number from 1 was expected"]);
    check(b"a UID NOOP\r\n", &["a BAD arguments are missing"]);
    check(b"a LOGIN \xff\xfe x\r\n", &["a BAD an argument is missing"]);
    check(b"a LOGIN \"\xff\xfe\" x\r\n", &["a BAD an argument is not UTF-8"]);
    check(b"a NONSENSE {3+}\r\nxyz\r\nb NOOP\r\n", &["a BAD unknown command", "b NOOP"]);
}

#[test]
fn bare_line_ends_and_nul_are_refused() {
    check(b"a NOOP\nb NOOP\r\n", &["a BAD a line ends with LF alone, not with CRLF", "b NOOP"]);
    check(b"a NO\rOP\r\nb NOOP\r\n", &["a BAD a line holds a bare CR or NUL", "b NOOP"]);
    check(b"a LOGIN x\0y z\r\nb NOOP\r\n", &["a BAD a line holds a bare CR or NUL", "b NOOP"]);
    check(b"a SELECT {3+}\r\nx\0y\r\nb NOOP\r\n", &["a BAD a literal holds NUL", "b NOOP"]);
}

#[test]
fn a_line_over_the_budget_is_answered_under_its_tag() {
    let long = [b"a LOGIN ", &vec![b'x'; 70_000][..], b"\r\nb NOOP\r\n"].concat();
    check(&long, &["a BAD a line is too long", "b NOOP"]);
    let mut reader = Reader::new(Budget::BEFORE_LOGIN);
    let early = [b"a LOGIN ", &vec![b'x'; 9_000][..], b"\r\nb NOOP\r\n"].concat();
    assert_eq!(steps(&mut reader, &early), ["a BAD a line is too long", "b NOOP"]);
}

#[test]
fn a_line_without_end_closes_the_connection_and_costs_no_memory() {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    for _ in 0..1_000 {
        let told = steps(&mut reader, &[b'x'; 4_096]);
        assert!(reader.text.capacity() <= 256 * 1_024);
        if told.last().is_some_and(|last| last == "close") {
            return;
        }
    }
    panic!("4 MB without a line end, and still listening");
}

#[test]
fn a_literal_of_4_gb_is_refused_before_it_comes_and_nothing_is_allocated() {
    let too_large = "a BAD a literal is too large";
    check(b"a LOGIN {4294967295}\r\nb NOOP\r\n", &[too_large, "b NOOP"]);
    check(b"a LOGIN {4294967295+}\r\nxxxx", &[too_large, "close"]);
    check(b"a LOGIN {99999999999999999999999}\r\nb NOOP\r\n", &[too_large, "b NOOP"]);
    check(b"a SEARCH TEXT {65537+}\r\n", &[too_large, "close"]);
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    steps(&mut reader, b"a APPEND INBOX {4294967295}\r\nabc");
    assert!(reader.is_in_message() && held(&reader) < 10_000);
}

#[test]
fn many_literals_share_one_budget() {
    let mut input = b"a SEARCH".to_vec();
    for _ in 0..5 {
        input.extend_from_slice(b" TEXT {60000+}\r\n");
        input.extend(vec![b'x'; 60_000]);
    }
    input.extend_from_slice(b"\r\n");
    check(&input, &["a BAD a literal is too large", "close"]);
}

#[test]
fn an_append_asks_before_its_message() {
    check(
        b"a APPEND INBOX {3}\r\nabc\r\nb NOOP\r\n",
        &["message of 3", "got abc", "a APPEND", "b NOOP"],
    );
    check(
        b"a APPEND {5}\r\nDr&-D (\\Seen) \" 1-Feb-2026 00:00:00 +0100\" {3+}\r\nabc\r\n",
        &["+", "message of 3", "got abc", "a APPEND"],
    );
    check(
        b"a APPEND INBOX {0+}\r\n\r\nb NOOP\r\n",
        &["message of 0", "got ", "a APPEND", "b NOOP"],
    );
    let expected = "a BAD the end of the command or another message was expected";
    check(
        b"a APPEND INBOX {1}\r\nx (\\Seen)\r\nb NOOP\r\n",
        &["message of 1", "got x", expected, "b NOOP"],
    );
    check(b"a APPEND INBOX\r\n", &["a BAD APPEND is: mailbox, flags, date-time, message literal"]);
}

#[test]
fn a_message_that_is_refused_is_swallowed_when_it_comes_anyway() {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    let (used, step) = reader.feed(b"a APPEND INBOX {3+}\r\nabc\r\nb NOOP\r\n");
    assert!(matches!(step, Some(Step::Message(_))));
    assert_eq!(reader.refuse_message(10), Next::GoOn);
    assert_eq!(used, 21);
    assert_eq!(steps(&mut reader, b"abc\r\nb NOOP\r\n"), ["b NOOP"]);
    let (_, step) = reader.feed(b"a APPEND INBOX {3}\r\n");
    assert!(matches!(step, Some(Step::Message(_))));
    assert_eq!(reader.refuse_message(0), Next::GoOn);
    assert_eq!(steps(&mut reader, b"b NOOP\r\n"), ["b NOOP"]);
    reader.feed(b"a APPEND INBOX {11+}\r\n");
    assert_eq!(reader.refuse_message(10), Next::Close);
}

#[test]
fn a_lone_line_is_no_command() {
    let mut reader = Reader::new(Budget::AFTER_LOGIN);
    reader.expect_line();
    assert!(!reader.is_begun());
    assert_eq!(steps(&mut reader, b"DONE\r\na NOOP\r\n"), ["line DONE", "a NOOP"]);
    reader.expect_line();
    assert_eq!(steps(&mut reader, b"x{5}\r\na NOOP\r\n"), ["line x{5}", "a NOOP"]);
}

#[test]
fn nesting_has_an_end() {
    let deep = format!("a SEARCH {}ALL\r\n", "NOT ".repeat(100));
    check(deep.as_bytes(), &["a BAD search keys are nested too deep"]);
    let deep = format!("a SEARCH {}ALL{}\r\n", "(".repeat(10_000), ")".repeat(10_000));
    check(deep.as_bytes(), &["a BAD search keys are nested too deep"]);
    let fine = format!("a SEARCH {}ALL\r\n", "NOT ".repeat(20));
    check(fine.as_bytes(), &["a SEARCH"]);
    let deep = format!("a FETCH 1 BODY[{}1]\r\n", "1.".repeat(1_000));
    check(deep.as_bytes(), &["a BAD a section has too many part numbers"]);
}

/// Octets that the reader holds in memory.
fn held(reader: &Reader) -> usize {
    let state = match &reader.state {
        State::Literal { octets, .. } | State::Message { octets, .. } => octets.capacity(),
        _ => 0,
    };
    let piece = |piece: &Piece| match piece {
        Piece::Text(octets) | Piece::Literal(octets) | Piece::Literal8(octets) => octets.capacity(),
    };
    state + reader.text.capacity() + reader.pieces.iter().map(piece).sum::<usize>()
}

/// Parses, prints, and parses the print: both must mean the same.
fn round_trip(line: &str) -> Option<String> {
    let parse = |input: &[u8]| {
        let mut reader = Reader::new(Budget::AFTER_LOGIN);
        let mut rest = input;
        loop {
            let (used, step) = reader.feed(rest);
            rest = &rest[used..];
            match step? {
                Step::Command(command) => return Some(command),
                Step::Message(_) => reader.accept_message(),
                Step::Continue | Step::Received(_) => {}
                _ => return None,
            }
        }
    };
    let command = parse(line.as_bytes())?;
    let printed = command.print();
    let again = parse(&printed).unwrap_or_else(|| {
        panic!("{line:?} is printed as {:?}", String::from_utf8_lossy(&printed))
    });
    assert_eq!(format!("{command:?}"), format!("{again:?}"));
    assert_eq!(printed, again.print());
    Some(String::from_utf8_lossy(&printed).into_owned())
}

#[test]
fn what_is_printed_is_read_back() {
    for line in [
        "a LOGIN \"a \\\"b\\\" \\\\c\" {3+}\r\nx\"y\r\n",
        "a AUTHENTICATE plain AGEAYg==\r\n",
        "a CREATE \"Envoy&AOk-s\" (USE (\\Sent \\Drafts))\r\n",
        "a LIST \"\" \"%\"\r\n",
        "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a%\" b*) RETURN (CHILDREN STATUS (MESSAGES UIDNEXT))\r\n",
        "a LIST () \"\" * RETURN ()\r\n",
        "a LSUB \"x/\" *\r\n",
        "a STATUS inbox (UNSEEN SIZE)\r\n",
        "a APPEND INBOX (\\Seen $Forwarded) \"17-Jul-1996 02:44:25 -0700\" {3+}\r\nabc\r\n",
        "a SEARCH CHARSET UTF-8 OR (FROM a NOT SEEN) UID 1:* HEADER X-Y \"\" SENTSINCE \"1-Feb-1994\" LARGER 5\r\n",
        "a UID SEARCH UNKEYWORD x 2,4:7,9,12:* BODY {3+}\r\n\u{e9}x\r\n",
        "a FETCH 2:4 ALL\r\n",
        "a UID FETCH 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS.NOT (From \"To\")]<0.9> BODY[TEXT] RFC822.SIZE BODY[])\r\n",
        "a STORE 2:4 +FLAGS.SILENT \\Deleted $Done\r\n",
        "a UID STORE 5 FLAGS ()\r\n",
        "a UID MOVE 1,3 \"Trash\"\r\n",
        "a COPY 2:4 {5+}\r\nTrash\r\n",
        "a UID EXPUNGE 1:3\r\n",
        "a ID (\"name\" \"x\" \"version\" NIL)\r\n",
        "a ENABLE CONDSTORE UTF8=ACCEPT\r\n",
        "a RENAME a \"b c\"\r\n",
        "a SELECT INBOX (CONDSTORE)\r\n",
        "a EXAMINE x (QRESYNC (67890007 90060115194045000 41:211,214:541))\r\n",
        "a SELECT x (condstore QRESYNC (1 2 1:9 (1,3:4 7,9:10)))\r\n",
        "a SELECT x (QRESYNC (1 2 (1,3:4 7,9:10)))\r\n",
        "a FETCH 1:* (MODSEQ EMAILID THREADID SAVEDATE PREVIEW (LAZY) PREVIEW) (CHANGEDSINCE 12345)\r\n",
        "a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)\r\n",
        "a FETCH 1 PREVIEW (LAZY) (CHANGEDSINCE 1)\r\n",
        "a FETCH 1 PREVIEW (CHANGEDSINCE 1)\r\n",
        "a UID FETCH $ FLAGS (PARTIAL -1:-30)\r\n",
        "a FETCH 1 (BINARY[1.2]<0.10> BINARY.PEEK[] BINARY.SIZE[3])\r\n",
        "a STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Seen)\r\n",
        "a UID STORE $ FLAGS \\Seen\r\n",
        "a UID COPY $ x\r\n",
        "a SEARCH RETURN () 1:*\r\n",
        "a UID SEARCH RETURN (MIN MAX COUNT SAVE) CHARSET UTF-8 UID $ NOT $\r\n",
        "a SEARCH RETURN (PARTIAL 10:1) MODSEQ \"/flags/\\\\draft\" all 620162338 SAVEDATESUPPORTED\r\n",
        "a SEARCH OLDER 60 YOUNGER 4294967295 SAVEDON 1-Feb-2026 EMAILID M6d99ac3275bb4e THREADID T1\r\n",
        "a SEARCH LARGER 9223372036854775807\r\n",
        "a SORT (SUBJECT REVERSE DATE) UTF-8 SINCE 1-Feb-1994\r\n",
        "a UID SORT RETURN (COUNT PARTIAL -1:-10) (DISPLAYFROM) us-ascii ALL\r\n",
        "a THREAD REFERENCES UTF-8 UNSEEN (OR SEEN DRAFT)\r\n",
        "a UID THREAD orderedsubject \"UTF-8\" ALL\r\n",
        "a NOTIFY NONE\r\n",
        "a NOTIFY SET (selected-delayed (MessageNew (UID) MessageExpunge FlagChange)) (subtree Lists (MailboxName)) (mailboxes (a \"b c\") NONE) (personal (SubscriptionChange))\r\n",
        "a GETACL INBOX\r\n",
        "a SETACL INBOX \"David\" +lrswipkxtea\r\n",
        "a SETACL INBOX anyone \"\"\r\n",
        "a DELETEACL INBOX -fred\r\n",
        "a LISTRIGHTS ~/Mail/saved smith\r\n",
        "a MYRIGHTS INBOX\r\n",
        "a GETQUOTA \"\"\r\n",
        "a GETQUOTAROOT INBOX\r\n",
        "a SETQUOTA \"#user/a\" (STORAGE 510 MESSAGE 9223372036854775807)\r\n",
        "a GETMETADATA \"\" /shared/comment\r\n",
        "a GETMETADATA (MAXSIZE 1024 DEPTH infinity) INBOX (/shared/comment /private/comment)\r\n",
        "a GETMETADATA INBOX (DEPTH 1) (/private/x)\r\n",
        "a SETMETADATA INBOX (/private/comment NIL /shared/a {3+}\r\nx\r\n /shared/b ~{2+}\r\n\0x)\r\n",
        "a COMPRESS deflate\r\n",
        "a UNAUTHENTICATE\r\n",
        "a LIST (RECURSIVEMATCH SUBSCRIBED) \"\" (a b) RETURN (MYRIGHTS STATUS (SIZE DELETED HIGHESTMODSEQ MAILBOXID APPENDLIMIT DELETED-STORAGE))\r\n",
        "a APPEND x (\\Seen) {3+}\r\nabc (\\Draft) \"17-Jul-1996 02:44:25 -0700\" ~{2+}\r\nab UTF8 (~{1+}\r\nx)\r\n",
        "a REPLACE * x {3+}\r\nabc\r\n",
        "a UID REPLACE 7 {1+}\r\nx (\\Seen) UTF8 (~{3+}\r\nabc)\r\n",
    ] {
        assert!(round_trip(line).is_some(), "{line:?} is not read");
    }
}

fn text() -> impl Strategy<Value = String> {
    "[ -~\u{a0}-\u{ff}]{0,12}"
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn set() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1:*".to_owned()),
        Just("*".to_owned()),
        "[1-9][0-9]{0,3}(:[1-9][0-9]{0,3})?(,[1-9][0-9]{0,2}){0,2}"
    ]
}

fn key() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("ALL".to_owned()),
        Just("UNSEEN".to_owned()),
        Just("NEW".to_owned()),
        set(),
        set().prop_map(|set| format!("UID {set}")),
        text().prop_map(|text| format!("SUBJECT {}", quoted(&text))),
        text().prop_map(|text| format!("HEADER {} {}", quoted("x-y"), quoted(&text))),
        (1..29, 1990..2030).prop_map(|(day, year)| format!("SENTON {day}-Mar-{year}")),
        any::<u32>().prop_map(|octets| format!("SMALLER {octets}")),
        "[a-z$]{1,8}".prop_map(|word| format!("KEYWORD {word}")),
    ];
    leaf.prop_recursive(6, 24, 3, |key| {
        prop_oneof![
            key.clone().prop_map(|key| format!("NOT {key}")),
            (key.clone(), key.clone()).prop_map(|(one, two)| format!("OR {one} {two}")),
            prop::collection::vec(key, 1..4).prop_map(|keys| format!("({})", keys.join(" "))),
        ]
    })
}

fn command_line() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        Just("FLAGS".to_owned()),
        Just("BODYSTRUCTURE".to_owned()),
        Just("RFC822.HEADER".to_owned()),
        (
            "(\\.PEEK)?",
            "([1-9]\\.){0,3}(HEADER|TEXT)|[1-9](\\.[1-9]){0,2}(\\.MIME)?|",
            "(<[0-9]{1,4}\\.[1-9][0-9]{0,3}>)?"
        )
            .prop_map(|(peek, section, partial)| format!("BODY{peek}[{section}]{partial}")),
        prop::collection::vec("[A-Za-z-]{1,9}", 1..4)
            .prop_map(|names| format!("BODY[HEADER.FIELDS ({})]", names.join(" "))),
    ];
    let items = prop::collection::vec(item, 1..4).prop_map(|items| items.join(" "));
    prop_oneof![
        key().prop_map(|key| format!("SEARCH {key}")),
        (set(), items).prop_map(|(set, items)| format!("UID FETCH {set} ({items})")),
        (text(), text()).prop_map(|(name, pass)| format!(
            "LOGIN {} {}",
            quoted(&name),
            quoted(&pass)
        )),
        text().prop_map(|name| format!(
            "SELECT {}",
            quoted(&crate::proto::imap::name::encode(&name))
        )),
        text().prop_map(|name| format!(
            "LIST \"\" {}",
            quoted(&crate::proto::imap::name::encode(&name))
        )),
        (set(), "(\\+|-)?", "(\\.SILENT)?").prop_map(|(set, sign, silent)| {
            format!("STORE {set} {sign}FLAGS{silent} (\\Seen $Done)")
        }),
    ]
}

proptest! {
    #[test]
    fn every_command_survives_printing(line in command_line()) {
        prop_assert!(round_trip(&format!("t1 {line}\r\n")).is_some(), "{line:?} is not read");
    }

    #[test]
    fn arbitrary_octets_never_panic_and_never_exceed_the_budget(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                command_line().prop_map(|line| format!("t {line}\r\n").into_bytes()),
                Just(b"a APPEND x {9+}\r\n".to_vec()),
                Just(b"{5}\r\n".to_vec()),
                Just(b" {70000+}\r\n".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(vec![b'x'; 70_000]),
            ],
            0..12,
        )
    ) {
        let mut reader = Reader::new(Budget::AFTER_LOGIN);
        for piece in pieces {
            let told = steps(&mut reader, &piece);
            // Twice, because buffers grow by doubling; and the head and tail of a line.
            prop_assert!(held(&reader) <= 2 * limits::IMAP_COMMAND_OCTETS_MAX + 1_024);
            if told.last().is_some_and(|last| last == "close") {
                break;
            }
        }
    }
}
