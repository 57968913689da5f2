//! Several sessions, and several commands, at once: who is told what, and when.
use super::*;

#[tokio::test]
async fn flags_are_stored_and_other_sessions_are_told_once() {
    let house = House::new().await;
    let mut one = house.inbox(2).await;
    let mut two = house.login().await;
    two.ok("a SELECT INBOX").await;
    let marks = "\\Answered \\Flagged \\Deleted \\Seen \\Draft $Done";
    let introduced = format!("* FLAGS ({marks})\n* OK [PERMANENTFLAGS ({marks} \\*)] Kept\n");
    check(
        &mut one,
        "a STORE 1:2 +FLAGS ($Done \\flagged)",
        &format!(
            "{introduced}* 1 FETCH (FLAGS (\\Flagged $Done))\n* 2 FETCH (FLAGS (\\Flagged $Done))\na OK Done\n"
        ),
    )
    .await;
    check(&mut one, "a UID STORE 2 -FLAGS.SILENT ($DONE)", "a OK Done\n").await;
    check(&mut one, "a NOOP", "a OK Done\n").await;
    check(
        &mut two,
        "a NOOP",
        &format!(
            "{introduced}* 1 FETCH (UID 1 FLAGS (\\Flagged $Done))\n* 2 FETCH (UID 2 FLAGS (\\Flagged))\na OK Done\n"
        ),
    )
    .await;
    check(&mut two, "a NOOP", "a OK Done\n").await;
    let long = format!("a STORE 1 +FLAGS ({})", "x".repeat(200));
    check(&mut one, &long, "a NO [LIMIT] Too many keywords, or one is too long\n").await;
}

#[tokio::test]
async fn numbers_never_change_during_fetch_store_and_search() {
    let house = House::new().await;
    let mut one = house.inbox(3).await;
    let mut two = house.login().await;
    two.ok("a SELECT INBOX").await;
    one.ok("a STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    check(&mut one, "a UID EXPUNGE 2:9", "* 2 EXPUNGE\na OK Expunged\n").await;
    check(&mut one, "a EXPUNGE", "* 1 EXPUNGE\na OK Expunged\n").await;
    one.append("INBOX", LETTER).await;
    for command in ["a FETCH 3 UID", "a SEARCH 1:3", "a STORE 3 FLAGS ()"] {
        let answer = two.ok(command).await;
        assert!(!answer.contains("EXPUNGE\r\n"), "{answer}");
    }
    check(
        &mut two,
        "a FETCH 1:4 UID",
        "* 3 FETCH (UID 3)\n* 4 FETCH (UID 4)\na OK [EXPUNGEISSUED] Done\n",
    )
    .await;
    check(&mut two, "a NOOP", "* 1 EXPUNGE\n* 1 EXPUNGE\na OK Done\n").await;
    check(&mut two, "a FETCH 1:2 UID", "* 1 FETCH (UID 3)\n* 2 FETCH (UID 4)\na OK Done\n").await;
}

#[tokio::test]
async fn idle_tells_news_at_once() {
    let house = House::new().await;
    let mut one = house.inbox(0).await;
    let mut two = house.login().await;
    one.send("i IDLE\r\n").await;
    one.read_until(|text| text == "+ idling\r\n").await;
    two.append("INBOX", LETTER).await;
    assert_eq!(
        one.read_until(|text| text.ends_with("RECENT\r\n")).await,
        "* 1 EXISTS\r\n* 0 RECENT\r\n"
    );
    two.ok("a SELECT INBOX").await;
    two.ok("a STORE 1 FLAGS (\\Deleted)").await;
    one.read_until(|text| text.contains("FLAGS (\\Deleted)")).await;
    two.ok("a CLOSE").await;
    one.read_until(|text| text == "* 1 EXPUNGE\r\n").await;
    one.send("DONE\r\n").await;
    assert_eq!(one.read_until(|text| text.ends_with('\n')).await, "i OK Done\r\n");
    check(&mut one, "i IDLE\r\nNOOP", "+ idling\ni BAD DONE was expected\n").await;
}

#[tokio::test]
async fn letters_are_copied_and_moved_with_their_new_uids() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    let copied = client.ok("a COPY 1,3 Trash").await;
    assert!(copied.contains("[COPYUID ") && copied.contains(" 1,3 1:2]"), "{copied}");
    let moved = client.ok("a UID MOVE 2:3 Trash").await;
    assert!(moved.starts_with("* OK [COPYUID ") && moved.contains(" 2:3 3:4]"), "{moved}");
    assert!(moved.ends_with("* 2 EXPUNGE\r\n* 2 EXPUNGE\r\na OK Done\r\n"), "{moved}");
    check(&mut client, "a COPY 1 none", "a NO [TRYCREATE] No such mailbox; it can be created\n")
        .await;
    check(&mut client, "a UID COPY 77 Trash", "a OK Nothing to do\n").await;
    let status = client.ok("a STATUS Trash (MESSAGES UIDNEXT UNSEEN RECENT SIZE)").await;
    let octets = LETTER.len() * 4;
    let expected =
        format!("* STATUS \"Trash\" (MESSAGES 4 UIDNEXT 5 UNSEEN 4 RECENT 0 SIZE {octets})\r\n");
    assert!(status.starts_with(&expected), "{status}");
}

#[tokio::test]
async fn too_much_to_copy_is_said_to_be_so() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let words: Vec<String> = (0..64).map(|word| format!("{word:03}{}", "k".repeat(120))).collect();
    client.ok(&format!("a STORE 1 +FLAGS.SILENT ({})", words.join(" "))).await;
    for _ in 0..11 {
        client.ok("a COPY 1:* INBOX").await;
    }
    let answer = client.say("a COPY 1:* Trash").await;
    let limit = "a NO [LIMIT] Too many messages to copy at once; copy fewer at a time\r\n";
    assert!(answer.ends_with(limit), "{answer}");
    let moved = client.ok("a MOVE 1:* Trash").await;
    assert_eq!(moved.matches(" EXPUNGE\r\n").count(), 2_048, "{moved}");
    assert!(moved.contains(" 1:2048 1:2048] Moved"), "{moved}");
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    client.send("a FETCH 1 UID\r\nb UID FETCH 2 UID\r\nc NOOP\r\nd LOGOUT\r\n").await;
    let answer = client.closed().await;
    assert_eq!(
        answer,
        "* 1 FETCH (UID 1)\r\na OK Done\r\n* 2 FETCH (UID 2)\r\nb OK Done\r\nc OK Done\r\n* BYE Until next time\r\nd OK Done\r\n<closed>"
    );
}

/// What a client believes of the mailbox, from nothing but the responses.
#[derive(Default)]
struct Belief {
    uids: Vec<Option<String>>,
    flags: std::collections::BTreeMap<String, String>,
}

impl Belief {
    /// Takes in the untagged responses. A client that is told what cannot be is lost.
    fn hear(&mut self, answer: &str) {
        for line in answer.lines().filter_map(|line| line.strip_prefix("* ")) {
            let Some((number, rest)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            if rest == "EXISTS" {
                assert!(number >= self.uids.len(), "EXISTS {number} below {}", self.uids.len());
                self.uids.resize(number, None);
            } else if rest == "EXPUNGE" {
                assert!((1..=self.uids.len()).contains(&number), "EXPUNGE {number}");
                self.uids.remove(number - 1);
            } else if let Some(items) = rest.strip_prefix("FETCH (UID ") {
                let (uid, items) = items.split_once([' ', ')']).unwrap();
                let known = &mut self.uids[number - 1];
                assert!(known.is_none() || known.as_deref() == Some(uid), "{number} is {uid}");
                *known = Some(uid.to_owned());
                if let Some(flags) = items.strip_prefix("FLAGS (") {
                    let flags = flags.split_once(')').unwrap().0;
                    self.flags.insert(uid.to_owned(), flags.to_owned());
                }
            }
        }
    }
}

/// RFC 3501 §5.5 and §7.4.1: however sessions interleave, each client that only listens to its
/// own responses ends up with the true mailbox.
#[allow(clippy::print_stdout, reason = "a random test names its seed")]
#[tokio::test]
async fn sessions_that_change_one_mailbox_never_lose_count() {
    let seed: u64 = std::env::var("VAGUEMESTRE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("VAGUEMESTRE_TEST_SEED={seed}");
    let mut state = seed;
    let mut dice = move |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let house = House::new().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = house.login().await;
        let mut belief = Belief::default();
        belief.hear(&client.ok("a SELECT INBOX").await);
        clients.push((client, belief));
    }
    for _ in 0..300 {
        let (client, belief) = &mut clients[dice(3) as usize];
        let exists = belief.uids.len() as u64;
        let one = dice(exists.max(1)) + 1;
        let command = match dice(12) {
            0..=2 => format!("a APPEND INBOX {{3+}}\r\na{}b", dice(10)),
            _ if exists == 0 => "a NOOP".to_owned(),
            3 => format!("a UID STORE {one}:* +FLAGS (\\Deleted)"),
            4 => format!("a UID STORE {one} -FLAGS (\\Deleted)"),
            5 => format!("a UID STORE 1:{one} +FLAGS (\\Seen $x{})", dice(3)),
            6 => "a EXPUNGE".to_owned(),
            7 => format!("a MOVE {one} INBOX"),
            8 => format!("a COPY {one} INBOX"),
            9 => format!("a UID FETCH {one}:* (UID FLAGS)"),
            10 => "a SEARCH ALL".to_owned(),
            _ => "a NOOP".to_owned(),
        };
        let answer = client.say(&command).await;
        let may_say_no = answer.contains("EXPUNGEISSUED") && command.contains("PY");
        assert!(answer.contains("a OK") || may_say_no, "{command}: {answer}");
        belief.hear(&answer);
    }
    let mut truth = Belief::default();
    let mut fresh = house.login().await;
    truth.hear(&fresh.ok("a SELECT INBOX").await);
    truth.hear(&fresh.ok("a UID FETCH 1:* FLAGS").await);
    for (mut client, mut belief) in clients {
        belief.hear(&client.ok("a NOOP").await);
        assert_eq!(belief.uids.len(), truth.uids.len());
        let told = client.ok("a UID FETCH 1:* UID").await;
        belief.hear(&told);
        assert_eq!(belief.uids, truth.uids);
        for (uid, flags) in &belief.flags {
            let is_there = truth.uids.iter().flatten().any(|known| known == uid);
            assert!(!is_there || truth.flags.get(uid) == Some(flags), "flags of {uid}");
        }
    }
}
