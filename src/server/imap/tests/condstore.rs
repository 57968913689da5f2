//! CONDSTORE (RFC 7162 §3.1).
use super::*;

/// The number behind a word of an answer.
pub(super) fn number_after(answer: &str, word: &str) -> u64 {
    let start = answer.find(word).unwrap_or_else(|| panic!("{word} is not in {answer}"));
    let digits = answer[start + word.len()..].trim_start_matches([' ', '(']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap()
}

#[tokio::test]
async fn select_tells_the_highest_modseq_and_marks_move_it() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let before = number_after(&client.ok("a SELECT INBOX").await, "[HIGHESTMODSEQ");
    // Nobody showed yet that they understand it.
    check(&mut client, "a STORE 1 +FLAGS (\\Seen)", "* 1 FETCH (FLAGS (\\Seen))\na OK Done\n")
        .await;
    let after = number_after(&client.ok("a EXAMINE INBOX (CONDSTORE)").await, "[HIGHESTMODSEQ");
    assert!(after > before);
    let told = client.ok("a FETCH 1:2 (FLAGS)").await;
    assert!(told.contains(&format!("* 1 FETCH (FLAGS (\\Seen) MODSEQ ({after}))\r\n")), "{told}");
    let status = client.ok("a STATUS INBOX (HIGHESTMODSEQ)").await;
    assert_eq!(number_after(&status, "HIGHESTMODSEQ"), after);
}

#[tokio::test]
async fn the_first_use_of_mod_sequences_switches_them_on() {
    for (command, answers) in [
        ("a FETCH 1 MODSEQ", "* 1 FETCH (MODSEQ ("),
        ("a FETCH 1 UID (CHANGEDSINCE 1)", "* 1 FETCH (UID 1 MODSEQ ("),
        ("a STORE 1 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Seen)", "[MODIFIED 1]"),
        ("a STATUS INBOX (HIGHESTMODSEQ)", "HIGHESTMODSEQ "),
        ("a ENABLE CONDSTORE", "* ENABLED CONDSTORE\r\n"),
    ] {
        let house = House::new().await;
        let mut client = house.inbox(1).await;
        let mut other = house.inbox(0).await;
        let answer = client.ok(command).await;
        assert!(answer.starts_with("* OK [HIGHESTMODSEQ "), "{command}: {answer}");
        assert!(answer.contains(answers), "{command}: {answer}");
        other.ok("b STORE 1 +FLAGS (\\Flagged)").await;
        let told = client.ok("b NOOP").await;
        assert!(told.starts_with("* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ ("), "{told}");
        assert!(!client.ok("c FETCH 1 MODSEQ").await.contains("HIGHESTMODSEQ"), "{command}");
    }
}

#[tokio::test]
async fn only_what_changed_since_is_fetched() {
    let house = House::new().await;
    let mut client = house.inbox(4).await;
    let since = number_after(&client.ok("a SELECT INBOX (CONDSTORE)").await, "[HIGHESTMODSEQ");
    client.ok("a STORE 2,4 +FLAGS.SILENT ($Done)").await;
    let told = client.ok(&format!("a UID FETCH 1:3 (FLAGS) (CHANGEDSINCE {since})")).await;
    assert_eq!(told.matches(" FETCH ").count(), 1, "{told}");
    assert!(told.contains("\r\n* 2 FETCH (UID 2 FLAGS ($Done) MODSEQ ("), "{told}");
    let now = number_after(&told, "MODSEQ");
    assert!(now > since);
    check(&mut client, &format!("a FETCH 1:* FLAGS (CHANGEDSINCE {now})"), "a OK Done\n").await;
    let all = client.ok("a FETCH 1:* UID (CHANGEDSINCE 0)").await;
    assert_eq!(all.matches(" FETCH ").count(), 4, "{all}");
    check(
        &mut client,
        &format!("a UID FETCH 1:* FLAGS (CHANGEDSINCE {since} VANISHED)"),
        "a BAD VANISHED needs ENABLE QRESYNC, UID FETCH and CHANGEDSINCE\n",
    )
    .await;
}

#[tokio::test]
async fn a_conditional_store_names_those_that_others_changed_first() {
    let house = House::new().await;
    let mut client = house.inbox(4).await;
    let mut other = house.inbox(0).await;
    let since = number_after(&client.ok("a SELECT INBOX (CONDSTORE)").await, "[HIGHESTMODSEQ");
    client.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("a EXPUNGE").await;
    other.ok("a SELECT INBOX").await;
    other.ok("a STORE 2 +FLAGS ($Theirs)").await;
    let condition = format!("(UNCHANGEDSINCE {since})");
    // Sequence number 2 is UID 3.
    let answer = client.ok(&format!("a STORE 1:3 {condition} +FLAGS.SILENT ($Mine)")).await;
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].starts_with("* 1 FETCH (UID 2 MODSEQ ("), "{answer}");
    assert!(lines[1].starts_with("* 3 FETCH (UID 4 MODSEQ ("), "{answer}");
    // The keyword of others is introduced before it is shown.
    assert!(lines[2].starts_with("* FLAGS (") && lines[2].ends_with(" $Theirs)"), "{answer}");
    assert!(lines[4].starts_with("* 2 FETCH (UID 3 FLAGS ($Theirs) MODSEQ ("), "{answer}");
    assert!(lines[3].starts_with("a OK [MODIFIED 2] "), "{answer}");
    let answer = client.ok(&format!("a UID STORE 2:4 {condition} +FLAGS ($Mine)")).await;
    assert!(answer.contains("a OK [MODIFIED 2:4] "), "{answer}");
    let now = number_after(&client.ok("a FETCH 2 MODSEQ").await, "MODSEQ");
    let answer = client.ok(&format!("a UID STORE 3 (UNCHANGEDSINCE {now}) +FLAGS ($Mine)")).await;
    assert!(answer.contains("* 2 FETCH (UID 3 FLAGS ($Mine $Theirs) MODSEQ ("), "{answer}");
    assert!(answer.ends_with("a OK Done\r\n"), "{answer}");
    // RFC 7162 §3.1.3: a system flag is always there, so 0 always fails.
    let answer = client.ok("a STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)").await;
    assert!(answer.contains("a OK [MODIFIED 1] "), "{answer}");
}

#[tokio::test]
async fn a_condition_on_a_message_that_is_gone_fails() {
    let house = House::new().await;
    let mut client = house.inbox(3).await;
    let since = number_after(&client.ok("a SELECT INBOX (CONDSTORE)").await, "[HIGHESTMODSEQ");
    let mut other = house.inbox(0).await;
    other.ok("a STORE 2 +FLAGS (\\Deleted)").await;
    other.ok("a EXPUNGE").await;
    let answer = client.say(&format!("a STORE 1:2 (UNCHANGEDSINCE {since}) +FLAGS (\\Seen)")).await;
    assert!(answer.contains("* 1 FETCH (UID 1 FLAGS (\\Seen) "), "{answer}");
    assert!(answer.contains("a NO [MODIFIED 2] "), "{answer}");
    let answer = client.ok("a UID STORE 2 (UNCHANGEDSINCE 999999) +FLAGS (\\Seen)").await;
    assert!(!answer.contains("MODIFIED"), "{answer}");
}

#[tokio::test]
async fn reading_a_letter_tells_its_new_modseq() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    client.ok("a ENABLE CONDSTORE").await;
    let answer = client.ok("a FETCH 1 BODY[1]").await;
    assert!(answer.contains("Bonjour FLAGS (\\Seen) MODSEQ ("), "{answer}");
    let mut client = house.login().await;
    client.ok("a SELECT INBOX (CONDSTORE)").await;
    client.ok("a STORE 1 -FLAGS.SILENT (\\Seen)").await;
    check(&mut client, "a NOOP", "a OK Done\n").await;
}
