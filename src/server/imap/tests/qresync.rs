//! QRESYNC (RFC 7162 §3.2).
use super::condstore::number_after;
use super::*;

/// A client that has seen four letters, of which 2 went and 3 was marked since; and what it knows.
async fn left_behind() -> (House, Client, u64, u64) {
    let house = House::new().await;
    let mut client = house.inbox(4).await;
    let answer = client.ok("a SELECT INBOX").await;
    let validity = number_after(&answer, "[UIDVALIDITY");
    let modseq = number_after(&answer, "[HIGHESTMODSEQ");
    client.ok("a STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("a STORE 3 +FLAGS.SILENT (\\Flagged)").await;
    client.ok("a EXPUNGE").await;
    client.append("INBOX", LETTER).await;
    let mut back = house.login().await;
    back.ok("a ENABLE QRESYNC").await;
    (house, back, validity, modseq)
}

#[tokio::test]
async fn who_comes_back_is_told_what_vanished_and_what_changed() {
    let (_house, mut client, validity, modseq) = left_behind().await;
    let answer = client.ok(&format!("a SELECT INBOX (QRESYNC ({validity} {modseq}))")).await;
    let told: Vec<&str> = answer.lines().skip_while(|line| !line.contains("VANISHED")).collect();
    assert_eq!(told[0], "* VANISHED (EARLIER) 2");
    assert!(told[1].starts_with("* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ ("), "{answer}");
    assert!(told[2].starts_with("* 4 FETCH (UID 5 FLAGS () MODSEQ ("), "{answer}");
    assert!(told[3].starts_with("a OK [READ-WRITE]"), "{answer}");
    assert!(answer.find("EXISTS").unwrap() < answer.find("VANISHED").unwrap());
}

#[tokio::test]
async fn only_known_uids_are_told_of() {
    let (_house, mut client, validity, modseq) = left_behind().await;
    let answer = client.ok(&format!("a SELECT INBOX (QRESYNC ({validity} {modseq} 3:4))")).await;
    assert!(!answer.contains("VANISHED") && !answer.contains("UID 5"), "{answer}");
    assert!(answer.contains("* 2 FETCH (UID 3 FLAGS (\\Flagged) "), "{answer}");
    // The client remembers that 1 is 1 and 2 is 2; so 2 went, but nothing before it.
    let known = format!("a SELECT INBOX (QRESYNC ({validity} {modseq} 1:4 (1:2 1:2)))");
    assert!(client.ok(&known).await.contains("* VANISHED (EARLIER) 2\r\n"));
    // The client remembers 2 as 3, and so knows that 2 is gone.
    let known = format!("a SELECT INBOX (QRESYNC ({validity} {modseq} 1:4 (1:2 1,3)))");
    assert!(!client.ok(&known).await.contains("VANISHED"));
}

#[tokio::test]
async fn another_uidvalidity_tells_nothing_and_qresync_must_be_enabled() {
    let (house, mut client, validity, modseq) = left_behind().await;
    let answer = client.ok(&format!("a SELECT INBOX (QRESYNC ({} {modseq}))", validity + 1)).await;
    assert!(!answer.contains("VANISHED") && !answer.contains("FETCH"), "{answer}");
    let mut stranger = house.login().await;
    let command = format!("a SELECT INBOX (QRESYNC ({validity} {modseq}))");
    check(&mut stranger, &command, "a BAD ENABLE QRESYNC first\n").await;
}

#[tokio::test]
async fn vanished_takes_the_place_of_expunge_everywhere() {
    let house = House::new().await;
    let mut client = house.inbox(6).await;
    let mut other = house.inbox(0).await;
    client.ok("a ENABLE QRESYNC").await;
    client.ok("a STORE 1:2,4 +FLAGS.SILENT (\\Deleted)").await;
    let answer = client.ok("a UID EXPUNGE 1:2").await;
    assert!(answer.starts_with("* VANISHED 1:2\r\na OK [HIGHESTMODSEQ "), "{answer}");
    let first = number_after(&answer, "[HIGHESTMODSEQ");
    let answer = client.ok("a EXPUNGE").await;
    assert!(answer.starts_with("* VANISHED 4\r\na OK [HIGHESTMODSEQ "), "{answer}");
    assert!(number_after(&answer, "[HIGHESTMODSEQ") > first);
    check(&mut client, "a EXPUNGE", "a OK Expunged\n").await;
    let answer = client.ok("a MOVE 1 Trash").await;
    assert!(answer.contains("* VANISHED 3\r\na OK [HIGHESTMODSEQ "), "{answer}");
    let told = other.ok("a NOOP").await;
    assert_eq!(told.matches(" EXPUNGE\r\n").count(), 4, "{told}");
    client.send("i IDLE\r\n").await;
    client.read_until(|text| text == "+ idling\r\n").await;
    other.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("a EXPUNGE").await;
    let told = client.read_until(|text| text.contains("VANISHED")).await;
    assert!(told.ends_with("* VANISHED 5\r\n"), "{told}");
    client.send("DONE\r\n").await;
    client.read_until(|text| text.ends_with("i OK Done\r\n")).await;
    client.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let answer = client.ok("a CLOSE").await;
    assert!(answer.starts_with("a OK [HIGHESTMODSEQ "), "{answer}");
}

#[tokio::test]
async fn a_close_names_no_step_over_what_others_removed() {
    let house = House::new().await;
    let mut client = house.inbox(4).await;
    let mut other = house.inbox(0).await;
    client.ok("a ENABLE QRESYNC").await;
    client.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("a NOOP").await;
    other.ok("a STORE 1 -FLAGS.SILENT (\\Deleted)").await;
    other.ok("a STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("a EXPUNGE").await;
    other.ok("a STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    // The client has never heard that 2 went, and removes 1 itself.
    let answer = client.ok("a CLOSE").await;
    assert!(!answer.contains("HIGHESTMODSEQ"), "{answer}");
}

#[tokio::test]
async fn a_fetch_can_ask_what_vanished() {
    let (_house, mut client, _, modseq) = left_behind().await;
    client.ok("a SELECT INBOX").await;
    let answer =
        client.ok(&format!("a UID FETCH 1:300 (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")).await;
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "* VANISHED (EARLIER) 2");
    assert!(lines[1].starts_with("* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ ("), "{answer}");
    let answer =
        client.ok(&format!("a UID FETCH 3:4 (UID) (VANISHED CHANGEDSINCE {modseq})")).await;
    assert!(!answer.contains("VANISHED"), "{answer}");
}

#[tokio::test]
async fn many_that_vanished_are_told_in_lines_of_bounded_length() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    for _ in 0..15 {
        let letters = " {1+}\r\na".repeat(100);
        client.ok(&format!("a APPEND INBOX{letters}")).await;
    }
    client.ok("a ENABLE QRESYNC").await;
    client.ok("a NOOP").await;
    let odd: Vec<String> = (0..1_500).step_by(2).map(|uid| (uid + 1).to_string()).collect();
    client.ok(&format!("a UID STORE {} +FLAGS.SILENT (\\Deleted)", odd.join(","))).await;
    let answer = client.ok("a EXPUNGE").await;
    assert_eq!(answer.matches("* VANISHED ").count(), 2, "{answer}");
}
