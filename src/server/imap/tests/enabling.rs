//! CAPABILITY, ENABLE and what it changes; UNAUTHENTICATE; COMPRESS.
use bytes::BytesMut;

use super::*;
use crate::server::imap::compress::Wire;

#[tokio::test]
async fn enable_tells_what_it_switched_on_and_nothing_twice() {
    let house = House::new().await;
    let mut client = house.connect(Safety::Tls).await;
    check(&mut client, "a ENABLE CONDSTORE", "a BAD Log in first\n").await;
    let mut client = house.login().await;
    check(&mut client, "a ENABLE X-GOOD-IDEA", "* ENABLED\na OK Done\n").await;
    check(
        &mut client,
        "a ENABLE qresync UTF8=ACCEPT",
        "* ENABLED QRESYNC UTF8=ACCEPT\na OK Done\n",
    )
    .await;
    // QRESYNC brought it.
    check(&mut client, "a ENABLE CONDSTORE QRESYNC", "* ENABLED\na OK Done\n").await;
}

#[tokio::test]
async fn rev2_knows_no_recent_and_names_the_mailbox() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.ok("a CREATE Dr&AOk-").await;
    client.append("Dr&AOk-", LETTER).await;
    check(&mut client, "a ENABLE IMAP4rev2", "* ENABLED IMAP4rev2\na OK Done\n").await;
    let answer = client.ok("a SELECT \"Dré\"").await;
    assert!(answer.contains("* LIST () \"/\" \"Dré\"\r\n"), "{answer}");
    assert!(!answer.contains("RECENT") && !answer.contains("UNSEEN"), "{answer}");
    assert!(answer.contains("* 1 EXISTS\r\n") && answer.contains("[MAILBOXID (F"), "{answer}");
    let mut other = house.login().await;
    other.append("Dr&AOk-", LETTER).await;
    check(&mut client, "a NOOP", "* 2 EXISTS\na OK Done\n").await;
    let answer = client.ok("a SELECT INBOX").await;
    assert!(answer.starts_with("* OK [CLOSED] "), "{answer}");
    assert!(answer.contains("* LIST () \"/\" \"INBOX\"\r\n"), "{answer}");
}

#[tokio::test]
async fn a_mailbox_keeps_its_id_when_it_is_renamed_and_not_when_it_is_made_again() {
    let house = House::new().await;
    let mut client = house.login().await;
    let id = |answer: String| {
        let start = answer.find("[MAILBOXID (").unwrap() + 12;
        let id = answer[start..].split(')').next().unwrap().to_owned();
        assert!(id.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet)));
        id
    };
    client.ok("a CREATE x").await;
    let first = id(client.ok("a SELECT x").await);
    client.ok("a RENAME x y").await;
    assert_eq!(id(client.ok("a EXAMINE y").await), first);
    client.ok("a DELETE y").await;
    client.ok("a CREATE y").await;
    assert_ne!(id(client.ok("a SELECT y").await), first);
    assert_ne!(id(client.ok("a SELECT INBOX").await), first);
}

#[tokio::test]
async fn who_unauthenticates_is_a_stranger_with_nothing_switched_on() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    client.ok("a ENABLE QRESYNC").await;
    let answer = client.ok("b UNAUTHENTICATE").await;
    assert!(answer.contains("b OK [CAPABILITY IMAP4rev1 ") && answer.contains(" AUTH=PLAIN"));
    assert!(!answer.contains("UNAUTHENTICATE ") && !answer.contains("COMPRESS"), "{answer}");
    check(&mut client, "c UNAUTHENTICATE", "c BAD Log in first\n").await;
    check(&mut client, "c SELECT INBOX", "c BAD Log in first\n").await;
    client.ok("d LOGIN a@hopital.mssante.test secret").await;
    check(&mut client, "e ENABLE QRESYNC", "* ENABLED QRESYNC\ne OK Done\n").await;
}

#[tokio::test]
async fn a_compressed_session_goes_on_where_it_was() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    check(&mut client, "a COMPRESS DEFLATE", "a OK Compressed from here\n").await;
    let mut wire = Wire::new(client.stream);
    wire.compress(b"");
    let size = LETTER.len();
    for (command, expected) in [
        ("b COMPRESS DEFLATE", "b NO [COMPRESSIONACTIVE] ".to_owned()),
        (
            "c FETCH 1 BODY.PEEK[]",
            format!("* 1 FETCH (BODY[] {{{size}}}\r\n{LETTER})\r\nc OK Done\r\n"),
        ),
        ("d NOOP", "d OK Done\r\n".to_owned()),
    ] {
        wire.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        wire.flush().await.unwrap();
        let mut read = BytesMut::new();
        while !String::from_utf8_lossy(&read).starts_with(&expected) {
            assert!(wire.read(&mut read).await.unwrap() > 0, "{read:?}");
        }
    }
}

#[tokio::test]
async fn commands_that_were_pipelined_behind_compress_are_read_compressed() {
    let house = House::new().await;
    let client = house.login().await;
    let (mut near, mut far) = (Wire::new(tokio::io::duplex(1).0), client.stream);
    let mut compressed = Vec::new();
    {
        let mut deflater = flate2::Compress::new(flate2::Compression::fast(), false);
        compressed.reserve(1_000);
        let flush = flate2::FlushCompress::Sync;
        deflater.compress_vec(b"b NOOP\r\n", &mut compressed, flush).unwrap();
    }
    near.compress(b"");
    far.write_all(&[b"a COMPRESS DEFLATE\r\n".as_slice(), &compressed].concat()).await.unwrap();
    let mut clear = Vec::new();
    while !clear.ends_with(b"from here\r\n") {
        clear.push(far.read_u8().await.unwrap());
    }
    let mut wire = Wire::new(far);
    wire.compress(b"");
    let mut read = BytesMut::new();
    while &read[..] != b"b OK Done\r\n" {
        assert!(wire.read(&mut read).await.unwrap() > 0, "{read:?}");
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_understood() {
    let mut house = House::new().await;
    let without: Vec<String> =
        ["CONDSTORE", "IDLE", "MULTIAPPEND", "SASL-IR", "BINARY", "MOVE"].map(str::to_owned).into();
    Arc::get_mut(&mut house.desk).unwrap().offer = Offer::new(&without, false, MESSAGE_OCTETS_MAX);
    let mut client = house.connect(Safety::Tls).await;
    let bad = "a BAD unknown command or argument\n";
    check(&mut client, "a AUTHENTICATE PLAIN AGEAYg==", bad).await;
    client.ok("a LOGIN a@hopital.mssante.test secret").await;
    let names = client.ok("a CAPABILITY").await;
    for name in ["CONDSTORE", "QRESYNC", "IDLE", "MULTIAPPEND", "COMPRESS", "MOVE"] {
        assert!(!names.contains(name), "{names}");
    }
    client.append("INBOX", LETTER).await;
    for command in [
        "a SELECT INBOX (CONDSTORE)",
        "a IDLE",
        "a STATUS INBOX (HIGHESTMODSEQ)",
        "a COMPRESS DEFLATE",
    ] {
        check(&mut client, command, bad).await;
    }
    client.ok("a SELECT INBOX").await;
    for command in [
        "a FETCH 1 MODSEQ",
        "a FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "a STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
        "a FETCH 1 BINARY[1]",
        "a MOVE 1 Trash",
    ] {
        check(&mut client, command, bad).await;
    }
    check(&mut client, "a ENABLE CONDSTORE", "* ENABLED\na OK Done\n").await;
    let two = "a APPEND INBOX {3+}\r\nabc {3+}\r\nabc";
    check(&mut client, two, "a BAD APPEND takes one message\n").await;
}

#[tokio::test]
async fn in_imap4rev2_nobody_asks_for_recent_any_more() {
    let house = House::new().await;
    let mut client = house.login().await;
    let counted = client.ok("a STATUS INBOX (RECENT)").await;
    assert!(counted.contains("(RECENT 0)"), "{counted}");
    client.ok("b ENABLE IMAP4rev2").await;
    for command in ["c STATUS INBOX (MESSAGES RECENT)", "c LIST \"\" * RETURN (STATUS (RECENT))"] {
        check(&mut client, command, "c BAD unknown STATUS item\n").await;
    }
}

#[tokio::test]
async fn what_is_marked_as_deleted_is_counted_with_its_octets() {
    let house = House::new().await;
    let mut client = house.inbox(4).await;
    for set in ["1:2", "4"] {
        client.ok(&format!("c STORE {set} +FLAGS.SILENT (\\Deleted)")).await;
    }
    let counted = client.ok("d STATUS INBOX (DELETED DELETED-STORAGE)").await;
    let octets = 3 * LETTER.len();
    assert!(counted.contains(&format!("(DELETED 3 DELETED-STORAGE {octets})")), "{counted}");
}
