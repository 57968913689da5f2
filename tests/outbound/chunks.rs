//! Content by its length (BDAT): the same octets as by a dot, and no reply believed that is not due.
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use vaguemestre::flow::deliver::operator::HandoverResult::Taken;
use vaguemestre::flow::deliver::operator::Pool;

use super::Letter;
use super::Space;
use super::put_off;
use super::refused;
use super::results;
use super::server::Act;
use super::server::Script;

/// Content of lines with all that has fooled somebody: dots, empty lines, commands, any octet.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let octet = any::<u8>().prop_filter("line ends are made below", |o| !b"\r\n".contains(o));
    let line = prop_oneof![
        Just(b".".to_vec()),
        Just(b"..".to_vec()),
        Just(Vec::new()),
        Just(b"BDAT 5 LAST".to_vec()),
        Just(b"X-MSS-INS: O".to_vec()),
        proptest::collection::vec(octet, 0..200),
    ];
    proptest::collection::vec(line, 1..60).prop_map(|lines| {
        lines.into_iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect()
    })
}

#[test]
fn chunks_and_dots_carry_the_same_octets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let space = Space::new();
    let tls = space.client();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let (by_chunks, by_dots) = runtime.block_on(async {
        (space.server(Script::chunking()).await, space.server(Script::good()).await)
    });
    let pool = Pool::new();
    runner
        .run(&content(), |content| {
            for server in [&by_chunks, &by_dots] {
                let letter = Letter::saying(content.clone());
                let hosts = server.hosts();
                let handover = space.handover(&hosts, &letter, tls.clone(), &|_| true);
                let outcomes = runtime.block_on(pool.hand_over(handover)).outcomes;
                prop_assert_eq!(results(&outcomes), [Taken]);
                prop_assert_eq!(server.seen().contents.pop().unwrap(), content.as_slice());
            }
            Ok(())
        })
        .unwrap();
    let said = by_chunks.seen().commands.join("\n");
    assert!(said.contains("BDAT ") && !said.contains("DATA\n"), "no chunk was sent");
}

#[tokio::test]
async fn a_long_letter_is_a_few_chunks_and_the_last_one_says_so() {
    let space = Space::new();
    let server = space.server(Script::chunking()).await;
    let letter = Letter::saying("line\r\n.\r\n".repeat(300_000));
    assert_eq!(results(&space.send(&server, &letter).await), [Taken]);
    let seen = server.seen();
    assert_eq!(seen.contents, [letter.content]);
    let chunks: Vec<&str> =
        seen.commands.iter().filter(|line| line.starts_with("BDAT")).map(String::as_str).collect();
    assert_eq!(chunks, ["BDAT 1048576", "BDAT 1048576", "BDAT 602848 LAST"]);
}

#[tokio::test]
async fn content_without_a_last_line_end_goes_as_it_is() {
    let space = Space::new();
    let server = space.server(Script::chunking()).await;
    for content in ["Subject: x\r\n\r\nno line end", "a\r\n.", ""] {
        assert_eq!(results(&space.send(&server, &Letter::saying(content)).await), [Taken]);
        assert_eq!(server.seen().contents.pop().unwrap(), content.as_bytes());
    }
}

#[tokio::test]
async fn a_refused_chunk_refuses_the_letter_and_the_rest_is_not_sent() {
    let space = Space::new();
    for (reply, expected) in [
        ("552 5.3.4 too big\r\n", refused(3, 4)),
        ("452 4.3.1 full\r\n", put_off(3, 1)),
        ("503 5.5.1 no\r\n", refused(5, 1)),
    ] {
        let server = space.server(Script::chunking().at("BDAT", Act::Say(reply))).await;
        let letter = Letter::saying("line\r\n".repeat(600_000));
        assert_eq!(results(&space.send(&server, &letter).await), [expected]);
        let seen = server.seen();
        assert_eq!(seen.commands.iter().filter(|line| line.starts_with("BDAT")).count(), 1);
        assert!(seen.contents.is_empty());
    }
}

#[tokio::test]
async fn nothing_is_sent_for_nobody_and_refused_recipients_stay_refused() {
    let space = Space::new();
    let script = Script::chunking().at("RCPT TO:<b@", Act::Say("550 5.1.1 unknown\r\n"));
    let server = space.server(script.clone()).await;
    assert_eq!(results(&space.send(&server, &Letter::to(&["b@c.test"])).await), [refused(1, 1)]);
    assert!(!server.seen().commands.iter().any(|line| line.starts_with("BDAT")));
    let both = Letter::to(&["b@c.test", "c@c.test"]);
    assert_eq!(results(&space.send(&server, &both).await), [refused(1, 1), Taken]);
    let server = space.server(script.at(".", Act::Say("554 5.6.0 no\r\n"))).await;
    assert_eq!(results(&space.send(&server, &both).await), [refused(1, 1), refused(6, 0)]);
}

#[tokio::test]
async fn a_lie_about_a_chunk_is_never_believed() {
    let space = Space::new();
    let long = "line\r\n".repeat(600_000);
    for (what, place, act) in [
        ("two replies to the end", ".", Act::Say("250 ok\r\n250 ok\r\n")),
        ("354 to the end", ".", Act::Say("354 go on\r\n")),
        ("251 to the end", ".", Act::Say("251 ok\r\n")),
        ("two replies to a chunk", "BDAT", Act::Say("250 ok\r\n250 ok\r\n")),
        ("354 to a chunk", "BDAT", Act::Say("354 go on\r\n")),
        ("a reply inside a chunk", "<content>", Act::Say("250 ok\r\n")),
        ("no number", ".", Act::Say("ok\r\n")),
        ("an endless line", ".", Act::Flood),
    ] {
        let server = space.server(Script::chunking().at(place, act)).await;
        let outcomes = space.send(&server, &Letter::saying(long.clone())).await;
        assert_eq!(results(&outcomes), [put_off(5, 0)], "{what}: {outcomes:?}");
    }
}
