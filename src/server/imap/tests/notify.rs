//! IDLE and NOTIFY: what a client is told unasked.
use super::*;

/// A second client does something; the first one has a moment to hear of it.
async fn heard(client: &mut Client, until: &str) -> String {
    client.read_until(|text| text.contains(until) && text.ends_with("\r\n")).await
}

/// What comes before the answer of a NOOP: nothing else is on its way then.
async fn hears_nothing(client: &mut Client) {
    // The bell may ring a little after the other client was answered.
    tokio::time::sleep(Duration::from_millis(50)).await;
    check(client, "n NOOP", "n OK Done\n").await;
}

#[tokio::test]
async fn a_letter_in_any_folder_is_told_while_no_command_runs() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let mut other = house.login().await;
    client.ok("b NOTIFY SET (personal (MessageNew MessageExpunge))").await;
    other.append("Sent", LETTER).await;
    let told = heard(&mut client, "STATUS").await;
    assert_eq!(told, "* STATUS \"Sent\" (MESSAGES 1 UIDNEXT 2 UNSEEN 1)\r\n");
    other.ok("c SELECT Sent").await;
    other.ok("c STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("c EXPUNGE").await;
    let told = heard(&mut client, "MESSAGES 0").await;
    assert_eq!(told, "* STATUS \"Sent\" (MESSAGES 0 UIDNEXT 2 UNSEEN 0)\r\n");
    // Of INBOX, which is selected, nothing was asked for.
    other.append("INBOX", LETTER).await;
    hears_nothing(&mut client).await;
    client.ok("d NOTIFY NONE").await;
    other.append("Sent", LETTER).await;
    hears_nothing(&mut client).await;
}

#[tokio::test]
async fn of_new_letters_in_the_selected_mailbox_is_told_what_was_asked_for() {
    let house = House::new().await;
    let mut client = house.inbox(1).await;
    let mut other = house.login().await;
    let notify = "b NOTIFY SET (selected (MessageNew (uid body.peek[header.fields (subject)]) \
                  MessageExpunge))";
    client.ok(notify).await;
    other.append("INBOX", LETTER).await;
    let told = heard(&mut client, ")\r\n").await;
    assert!(told.starts_with("* 2 EXISTS\r\n"), "{told}");
    assert!(told.contains("* 2 FETCH (UID 2 BODY[HEADER.FIELDS (subject)] {"), "{told}");
    // Marks were not asked for.
    other.ok("c SELECT INBOX").await;
    other.ok("c STORE 1 +FLAGS (\\Flagged \\Deleted)").await;
    hears_nothing(&mut client).await;
    other.ok("c EXPUNGE").await;
    assert_eq!(heard(&mut client, "EXPUNGE").await, "* 1 EXPUNGE\r\n");
    client.ok("d NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))").await;
    other.ok("c STORE 1 +FLAGS (\\Flagged)").await;
    let told = heard(&mut client, "FETCH").await;
    assert!(told.contains("* 1 FETCH (UID 2 FLAGS (\\Flagged))"), "{told}");
}

#[tokio::test]
async fn delayed_sequence_numbers_change_with_the_next_noop() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    let mut other = house.login().await;
    client.ok("b NOTIFY SET (selected-delayed (MessageNew MessageExpunge))").await;
    other.ok("c SELECT INBOX").await;
    other.ok("c STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("c EXPUNGE").await;
    other.append("INBOX", LETTER).await;
    assert!(heard(&mut client, "EXISTS").await.starts_with("* 3 EXISTS"));
    check(&mut client, "d NOOP", "* 1 EXPUNGE\nd OK Done\n").await;
}

#[tokio::test]
async fn folders_that_others_make_rename_and_delete_are_told() {
    let house = House::new().await;
    let mut client = house.login().await;
    let mut other = house.login().await;
    client.ok("b NOTIFY SET (subtree (A Z) (MailboxName SubscriptionChange))").await;
    other.ok("c CREATE A").await;
    let made = "* LIST (\\HasNoChildren) \"/\" \"A\"\r\n";
    assert_eq!(heard(&mut client, "LIST").await, made);
    other.ok("c CREATE A/b").await;
    let told = heard(&mut client, "\"A\"\r\n").await;
    assert!(told.contains("(\\HasNoChildren) \"/\" \"A/b\"\r\n"), "{told}");
    assert!(told.contains("(\\HasChildren) \"/\" \"A\"\r\n"), "{told}");
    other.ok("c RENAME A Z").await;
    let renamed = "* LIST (\\HasChildren) \"/\" \"Z\" (\"OLDNAME\" (\"A\"))\r\n";
    // Its children go with it without a word.
    assert_eq!(heard(&mut client, "OLDNAME").await, renamed);
    other.ok("c SUBSCRIBE Z/b").await;
    let subscribed = "* LIST (\\HasNoChildren \\Subscribed) \"/\" \"Z/b\"\r\n";
    assert_eq!(heard(&mut client, "Z/b").await, subscribed);
    other.ok("c UNSUBSCRIBE Z/b").await;
    let unsubscribed = "* LIST (\\HasNoChildren) \"/\" \"Z/b\"\r\n";
    assert_eq!(heard(&mut client, "Z/b").await, unsubscribed);
    other.ok("c DELETE Z/b").await;
    let told = heard(&mut client, "\"Z\"\r\n").await;
    assert!(told.contains("* LIST (\\NonExistent) \"/\" \"Z/b\"\r\n"), "{told}");
    // What somebody does is not news to them; what lies elsewhere is not theirs to hear.
    let created = client.ok("d CREATE A/own").await;
    assert!(created.starts_with("d OK [MAILBOXID (F"), "{created}");
    other.ok("c CREATE Elsewhere").await;
    hears_nothing(&mut client).await;
}

#[tokio::test]
async fn the_state_of_what_is_watched_can_be_told_at_once() {
    let house = House::new().await;
    let mut client = house.inbox(2).await;
    client.append("Sent", LETTER).await;
    client.ok("a NOOP").await;
    let answer = client
        .ok("b NOTIFY SET STATUS (mailboxes (INBOX Sent Nowhere) (MessageNew MessageExpunge))")
        .await;
    let expected = "* STATUS \"Sent\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ";
    assert!(answer.starts_with(expected), "{answer}");
    assert_eq!(answer.matches("STATUS").count(), 1, "{answer}");
}

#[tokio::test]
async fn wishes_that_contradict_the_rules_are_refused_and_change_nothing() {
    let house = House::new().await;
    let mut client = house.login().await;
    client.ok("b NOTIFY SET (personal (MessageNew MessageExpunge))").await;
    for wish in [
        "(personal (MessageNew))",
        "(personal (FlagChange))",
        "(selected (MailboxName))",
        "(selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))",
        "(personal (MessageNew (uid) MessageExpunge))",
    ] {
        let answer = client.say(&format!("c NOTIFY SET {wish}")).await;
        assert!(answer.starts_with("c BAD "), "{wish}: {answer}");
    }
    let annotations = "c NOTIFY SET (personal (AnnotationChange MessageNew MessageExpunge))";
    let answer = client.say(annotations).await;
    assert!(answer.starts_with("c NO [BADEVENT (MessageNew "), "{answer}");
    let mut other = house.login().await;
    other.append("Sent", LETTER).await;
    heard(&mut client, "STATUS \"Sent\"").await;
}

#[tokio::test]
async fn an_idling_client_hears_exactly_what_it_asked_for() {
    let house = House::new().await;
    let mut client = house.inbox(0).await;
    let mut other = house.login().await;
    client.ok("b NOTIFY SET (mailboxes Sent (MessageNew MessageExpunge))").await;
    client.send("c IDLE\r\n").await;
    heard(&mut client, "+ idling").await;
    other.append("INBOX", LETTER).await;
    other.append("Sent", LETTER).await;
    let told = heard(&mut client, "STATUS").await;
    assert!(told.starts_with("* STATUS \"Sent\" (MESSAGES 1"), "{told}");
    client.send("DONE\r\n").await;
    assert_eq!(heard(&mut client, "c OK").await, "c OK Done\r\n");
}

/// However much happens, a client that does not read costs what one answer costs, and is let go.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_costs_little_and_holds_nobody_up() {
    let day = Duration::from_secs(86_400);
    let house = House::with_times(Times { login: day, idle: day, line: day, data: day }).await;
    let mut other = house.inbox(50).await;
    let mut silent = house.connect_through(Safety::Tls, 512).await;
    silent.ok("a LOGIN a@hopital.mssante.test secret").await;
    silent.ok("a SELECT INBOX").await;
    silent.send("b IDLE\r\n").await;
    for round in 0..200 {
        let sign = if round % 2 == 0 { '+' } else { '-' };
        other.ok(&format!("c STORE 1:50 {sign}FLAGS.SILENT (\\Flagged)")).await;
    }
    // Ten thousand marks have changed, and were told to nobody.
    tokio::time::sleep(crate::domain::limits::IMAP_WRITE_TIMEOUT * 2).await;
    other.ok("c NOOP").await;
    let told = silent.closed().await;
    assert!(told.ends_with("<closed>"), "{told}");
    assert!(told.len() < 2_048, "{} octets were kept for it", told.len());
}

/// Ten thousand of them wait at once: what a session needs for a command, it gets for the
/// command.
#[tokio::test]
async fn a_session_that_waits_takes_a_few_kilobytes() {
    let house = House::new().await;
    let (_near, far) = tokio::io::duplex(512);
    let count = |_: bool| {};
    let line = Line::new(far, house.stopped.clone(), house.desk.times());
    let session = Box::new(Session::new(&*house.desk, line, Safety::Tls, None, &count));
    let kept = size_of_val(&*session);
    let task = size_of_val(&session.run());
    assert!(kept + task < 4_096, "{kept} and {task} octets");
}

#[tokio::test]
async fn annotations_that_change_are_named_and_what_they_say_is_not_told() {
    let house = House::new().await;
    let mut client = house.login().await;
    let mut other = house.login().await;
    other.ok("a SETMETADATA Sent (/shared/comment \"before\")").await;
    client.ok("b NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))").await;
    other.ok("c SETMETADATA INBOX (/shared/Comment \"all\" /shared/x \"y\")").await;
    let told = heard(&mut client, "METADATA").await;
    assert_eq!(told, "* METADATA \"INBOX\" /shared/comment /shared/x\r\n");
    other.ok("c SETMETADATA INBOX (/shared/x NIL /shared/comment \"all\")").await;
    assert_eq!(heard(&mut client, "METADATA").await, "* METADATA \"INBOX\" /shared/x\r\n");
    other.ok("c SETMETADATA \"\" (/private/vendor/a \"1\")").await;
    assert_eq!(heard(&mut client, "METADATA").await, "* METADATA \"\" /private/vendor/a\r\n");
    // Their own are no news, nor what they say in vain.
    let answer = client.ok("d SETMETADATA Sent (/private/comment \"own\")").await;
    assert!(!answer.contains("METADATA \"Sent\""), "{answer}");
    other.ok("c SETMETADATA Sent (/shared/comment \"before\")").await;
    hears_nothing(&mut client).await;
    // Whoever asked for one kind hears of one kind.
    client.ok("e NOTIFY SET (personal (ServerMetadataChange))").await;
    other.ok("c SETMETADATA INBOX (/shared/x \"z\")").await;
    hears_nothing(&mut client).await;
}
