//! Messages on their way into another mailbox.
use super::*;

const INBOX: FolderId = FolderId::INBOX;

fn letter(number: u32) -> NewMessage {
    let text = format!(
        "Message-ID: <{number}@x>\r\nReferences: <root@x>\r\nSubject: Sujet {number}\r\n\r\ntexte\r\n"
    );
    message(text.as_bytes(), &["Urgent"])
}

#[tokio::test]
async fn a_copy_in_another_mailbox_is_sealed_for_its_reader() {
    let world = World::new().await;
    let (mine, theirs) = (world.open().await, world.open_another().await);
    for number in 1..=3 {
        mine.append(INBOX, letter(number)).await.unwrap();
    }
    theirs.append(SENT, letter(9)).await.unwrap();
    world.days_pass(1).await;
    let uids = [Uid(1), Uid(3), Uid(77)];
    let (validity, pairs) = mine.copy_to(INBOX, &uids, &theirs, SENT).await.unwrap();
    assert_eq!(pairs, [(Uid(1), Uid(2)), (Uid(3), Uid(3))]);
    assert_eq!(validity, theirs.folder(SENT).await.unwrap().uid_validity);
    assert_eq!(mine.folder(INBOX).await.unwrap().exists, 3);
    let source = mine.entry(INBOX, Uid(3)).await.unwrap().unwrap();
    // Their own copy lives on when mine is gone.
    mine.store_flags(INBOX, &[Uid(3)], &deleted()).await.unwrap();
    mine.expunge(INBOX, None).await.unwrap();
    let entry = theirs.entry(SENT, Uid(3)).await.unwrap().unwrap();
    let summary = theirs.summary(SENT, &entry).await.unwrap();
    assert_eq!((summary.subject.as_str(), summary.over_budget), ("Sujet 3", false));
    let content = theirs.content(&entry).await.unwrap();
    assert!(content.expose().ends_with(b"texte\r\n"));
    assert!(entry.flags.has_keyword("urgent"));
    assert_eq!(entry.saved, world.clock.now());
    assert_eq!(entry.internal_date, source.internal_date);
    // A conversation is one of that mailbox.
    let own = theirs.entry(SENT, Uid(1)).await.unwrap().unwrap();
    assert_eq!(entry.thread, own.thread);
    assert_ne!(entry.thread, source.thread);
    assert!(mine.content(&entry).await.is_err(), "my keys do not open what was sealed for them");
}

#[tokio::test]
async fn a_copy_into_a_mailbox_without_room_leaves_nothing_there() {
    let rules = Rules { quota_messages: Some(3), ..Rules::default() };
    let world = World::ruled(rules).await;
    let (mine, theirs) = (world.open().await, world.open_another().await);
    for number in 1..=2 {
        mine.append(INBOX, letter(number)).await.unwrap();
        theirs.append(INBOX, letter(number)).await.unwrap();
    }
    let both = [Uid(1), Uid(2)];
    let copied = mine.copy_to(INBOX, &both, &theirs, INBOX).await;
    assert!(matches!(copied, Err(MailboxError::OverQuota)), "{copied:?}");
    let moved = mine.move_to(INBOX, &both, &theirs, INBOX).await;
    assert!(matches!(moved, Err(MailboxError::OverQuota)), "{moved:?}");
    assert_eq!(theirs.folder(INBOX).await.unwrap().exists, 2);
    assert_eq!(mine.folder(INBOX).await.unwrap().exists, 2);
    let nowhere = mine.copy_to(INBOX, &both[..1], &theirs, FolderId(99)).await;
    assert!(matches!(nowhere, Err(MailboxError::NoSuchFolder)), "{nowhere:?}");
    mine.move_to(INBOX, &[Uid(2)], &theirs, INBOX).await.unwrap();
    assert_eq!(theirs.folder(INBOX).await.unwrap().exists, 3);
    assert_eq!(mine.usage().await.unwrap().messages, 1);
}

#[tokio::test]
async fn moves_in_both_directions_at_once_lose_and_double_nothing() {
    let world = World::new().await;
    let (mine, theirs) = (world.open().await, world.open_another().await);
    for number in 1..=30 {
        mine.append(INBOX, letter(number)).await.unwrap();
        theirs.append(INBOX, letter(100 + number)).await.unwrap();
    }
    let one = async |from: &OpenMailbox, to: &OpenMailbox| {
        for uid in 1..=30 {
            from.move_to(INBOX, &[Uid(uid)], to, SENT).await.unwrap();
        }
    };
    tokio::join!(one(&mine, &theirs), one(&theirs, &mine));
    for (mailbox, subjects) in [(&mine, 101..=130), (&theirs, 1..=30)] {
        assert_eq!(mailbox.folder(INBOX).await.unwrap().exists, 0);
        let entries = mailbox.entries(SENT, 1..=u32::MAX, usize::MAX).await.unwrap();
        let summaries = mailbox.summaries(SENT, &entries).await.unwrap();
        let found: Vec<String> = summaries.iter().map(|summary| summary.subject.clone()).collect();
        assert_eq!(found, subjects.map(|number| format!("Sujet {number}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_kill_finds_a_moved_message_in_one_mailbox() {
    for seed in 0..12 {
        let world = World::seeded(seed, Rules::default()).await;
        let (mine, theirs) = (world.open().await, world.open_another().await);
        mine.append(INBOX, letter(1)).await.unwrap();
        theirs.folders().await.unwrap();
        world.store.hold();
        let moving = mine.move_to(INBOX, &[Uid(1)], &theirs, INBOX);
        let _ = tokio::time::timeout(Duration::from_millis(5), moving).await;
        drop((mine, theirs));
        let world = world.after_a_crash(Rules::default()).await;
        let mine = world.open().await.folder(INBOX).await.unwrap().exists;
        // Its keys were made anew, but its counters are in clear.
        let theirs = world.open_another().await.folder(INBOX).await.unwrap().exists;
        assert_eq!(mine + theirs, 1, "seed {seed}");
    }
}

#[tokio::test]
async fn a_large_folder_is_emptied_page_by_page() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let folder = mailbox.create_folder("Grand", None).await.unwrap().id;
    for _ in 0..7 {
        world.deposit(100, b"", None).await.unwrap();
    }
    let uids: Vec<Uid> = (1..=700).map(Uid).collect();
    mailbox.move_messages(INBOX, &uids, folder).await.unwrap();
    mailbox.copy(folder, &uids, SENT).await.unwrap();
    mailbox.rename_folder(INBOX, "Ancien").await.unwrap();
    mailbox.delete_folder(folder).await.unwrap();
    assert_eq!(mailbox.folder(SENT).await.unwrap().exists, 700);
    assert_eq!(mailbox.contents(SENT).await.unwrap().uids.len(), 700);
    mailbox.store_flags(SENT, &uids, &deleted()).await.unwrap();
    assert_eq!(mailbox.expunge(SENT, None).await.unwrap().len(), 700);
    assert_eq!(world.count(store::prefix(b"blob/")).await, 0);
}
