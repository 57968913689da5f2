//! Mailboxes as a whole: made, listed, renamed, deleted.
use super::*;

#[tokio::test]
async fn folders_are_listed_with_their_uses() {
    let house = House::new().await;
    let mut client = house.login().await;
    check(&mut client, "a LIST \"\" \"\"", "* LIST (\\Noselect) \"/\" \"\"\na OK Done\n").await;
    client.ok("a CREATE Dr&AOk-/2026/").await;
    client.ok("a CREATE Dr&AOk-/2026/a").await;
    client.ok("a DELETE Dr&AOk-/2026").await;
    check(
        &mut client,
        "a LIST \"\" \"%\"",
        "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\n* LIST (\\HasNoChildren \\Drafts) \"/\" \"Drafts\"\n\
         * LIST (\\HasChildren) \"/\" \"Dr&AOk-\"\n* LIST (\\HasNoChildren \\Junk) \"/\" \"Junk\"\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\n* LIST (\\HasNoChildren \\Trash) \"/\" \"Trash\"\n\
         a OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LIST Dr&AOk-/ *",
        "* LIST (\\Noselect \\HasChildren) \"/\" \"Dr&AOk-/2026\"\n\
         * LIST (\\HasNoChildren) \"/\" \"Dr&AOk-/2026/a\"\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LIST (SPECIAL-USE) \"\" (S% inbox) RETURN (SUBSCRIBED STATUS (MESSAGES))",
        "* LIST (\\HasNoChildren \\Subscribed \\Sent) \"/\" \"Sent\"\n* STATUS \"Sent\" (MESSAGES 0)\n\
         a OK Done\n",
    )
    .await;
    client.ok("a SUBSCRIBE Dr&AOk-/2026/a").await;
    check(
        &mut client,
        "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" D%",
        "* LIST (\\HasNoChildren \\Subscribed \\Drafts) \"/\" \"Drafts\"\n\
         * LIST (\\HasChildren) \"/\" \"Dr&AOk-\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a LSUB \"\" D%",
        "* LSUB () \"/\" \"Drafts\"\n* LSUB (\\Noselect) \"/\" \"Dr&AOk-\"\na OK Done\n",
    )
    .await;
    check(
        &mut client,
        "a NAMESPACE",
        "* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) NIL\na OK Done\n",
    )
    .await;
}

#[tokio::test]
async fn folders_are_made_renamed_and_removed_or_a_code_says_why_not() {
    let house = House::new().await;
    let mut client = house.login().await;
    for (command, expected) in [
        ("a CREATE inbox", "a NO [ALREADYEXISTS] A mailbox of that name exists\n"),
        ("a CREATE a*", "a BAD unexpected text after the command\n"),
        ("a CREATE \"a*\"", "a NO [CANNOT] A mailbox cannot have that name\n"),
        ("a CREATE a//b", "a NO [CANNOT] A mailbox cannot have that name\n"),
        ("a CREATE s (USE (\\Sent))", "a NO [USEATTR] Another mailbox has this special use\n"),
        ("a CREATE Archive (USE (\\Archive))", "a OK Created\n"),
        ("a DELETE INBOX", "a NO [CANNOT] This mailbox cannot be changed so\n"),
        ("a DELETE none", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a SUBSCRIBE none", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a RENAME none x", "a NO [NONEXISTENT] No such mailbox\n"),
        ("a CREATE p/q", "a OK Created\n"),
        ("a RENAME p p/r", "a NO [CANNOT] A mailbox cannot move into itself\n"),
        ("a RENAME p n/o", "a OK Renamed\n"),
        ("a STATUS n/o/q (MESSAGES)", "* STATUS \"n/o/q\" (MESSAGES 0)\na OK Done\n"),
        ("a DELETE n/o/q", "a OK Deleted\n"),
        ("a STATUS n/o/q (MESSAGES)", "a NO [NONEXISTENT] No such mailbox\n"),
    ] {
        let answer = client.say(command).await;
        // RFC 8474 §4.1: CREATE answers the mailbox's name for ever, which is keyed.
        let answer = match answer.split_once("[MAILBOXID (F") {
            Some((before, rest)) => format!("{before}{}", &rest[rest.find(")] ").unwrap() + 3..]),
            None => answer,
        };
        assert_eq!(answer, expected.replace('\n', "\r\n"), "{command}");
    }
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_under_a_session_ends_it() {
    let house = House::new().await;
    let mut one = house.login().await;
    one.ok("a CREATE x").await;
    one.ok("a SELECT x").await;
    let mut two = house.login().await;
    two.ok("a DELETE x").await;
    one.send("a NOOP\r\n").await;
    assert_eq!(
        one.closed().await,
        "* BYE The selected mailbox was deleted\r\na OK Done\r\n<closed>"
    );
    // But who deletes it goes on.
    two.ok("a CREATE y").await;
    two.ok("a SELECT y").await;
    check(&mut two, "a DELETE y", "a OK Deleted\n").await;
    check(&mut two, "a FETCH 1:* UID", "a BAD Select a mailbox first\n").await;
}
