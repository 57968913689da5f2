//! Filing messages: several at once, in the place of another, and names that last.
use crate::domain::folder::ThreadId;

use super::*;

const INBOX: FolderId = FolderId::INBOX;

fn letter(id: &str, references: &str) -> NewMessage {
    let text = format!("Message-ID: {id}\r\n{references}Subject: Essai\r\n\r\nBonjour  à tous\r\n");
    message(text.as_bytes(), &[])
}

async fn thread(mailbox: &OpenMailbox, uid: u32) -> ThreadId {
    mailbox.entry(INBOX, Uid(uid)).await.unwrap().unwrap().thread
}

#[tokio::test]
async fn several_messages_are_filed_together_or_not_at_all() {
    let rules = Rules { quota_messages: Some(3), ..Rules::default() };
    let world = World::ruled(rules).await;
    let mailbox = world.open().await;
    let stage = async |content: &[u8]| mailbox.stage(message(content, &[])).await.unwrap();
    let two = vec![stage(b"a\r\n").await, stage(&noise(300_000)).await];
    let before = mailbox.folder(SENT).await.unwrap();
    let placed = mailbox.append_all(SENT, two, None).await.unwrap();
    let validity = before.uid_validity;
    assert_eq!(placed, [(validity, Uid(1)), (validity, Uid(2))]);
    assert_eq!(files(world.folder.path()), 1);
    let two = vec![stage(&noise(300_000)).await, stage(b"b\r\n").await];
    let refused = mailbox.append_all(SENT, two, None).await;
    assert!(matches!(refused, Err(MailboxError::OverQuota)), "{refused:?}");
    assert_eq!(mailbox.folder(SENT).await.unwrap().exists, 2);
    assert_eq!(files(world.folder.path()), 1, "nothing is left of what was refused");
    let none = mailbox.append_all(FolderId(99), vec![stage(b"c\r\n").await], None).await;
    assert!(matches!(none, Err(MailboxError::NoSuchFolder)), "{none:?}");
}

#[tokio::test]
async fn a_staged_message_that_is_given_up_leaves_no_file() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let staged = mailbox.stage(message(&noise(300_000), &[])).await.unwrap();
    assert_eq!(files(world.folder.path()), 1);
    drop(staged);
    for _ in 0..200 {
        if files(world.folder.path()) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the file is still there");
}

#[tokio::test]
async fn too_much_to_file_at_once_is_refused_before_it_is_tried() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let mut staged = Vec::new();
    for _ in 0..110 {
        staged.push(mailbox.stage(message(&noise(120_000), &[])).await.unwrap());
    }
    let refused = mailbox.append_all(SENT, staged, None).await;
    assert!(matches!(refused, Err(MailboxError::OverLimit(COPIED_AT_ONCE))), "{refused:?}");
}

#[tokio::test]
async fn a_message_takes_the_place_of_another_in_one_step() {
    let rules = Rules { quota_octets: Some(10), ..Rules::default() };
    let world = World::ruled(rules).await;
    let mailbox = world.open().await;
    mailbox.append(SENT, message(b"12345678", &[])).await.unwrap();
    let stage = async |content: &[u8]| mailbox.stage(message(content, &[])).await.unwrap();
    let next = vec![stage(b"1234567890").await];
    // It fits, because the other one goes.
    let placed = mailbox.append_all(INBOX, next, Some((SENT, Uid(1)))).await.unwrap();
    assert_eq!(placed[0].1, Uid(1));
    assert_eq!(mailbox.folder(SENT).await.unwrap().exists, 0);
    let gone = mailbox.append_all(INBOX, vec![stage(b"1").await], Some((SENT, Uid(1)))).await;
    assert!(matches!(gone, Err(MailboxError::NoSuchMessage)), "{gone:?}");
    let large = mailbox.append_all(INBOX, vec![stage(&[b'a'; 11]).await], Some((INBOX, Uid(1))));
    let large = large.await;
    assert!(matches!(large, Err(MailboxError::OverQuota)), "{large:?}");
    assert_eq!(mailbox.folder(INBOX).await.unwrap().exists, 1);
    assert_eq!(world.count(store::prefix(b"blob/")).await, 2, "one content: its row, its chunk");
}

#[tokio::test]
async fn letters_that_answer_each_other_are_one_conversation() {
    let world = World::new().await;
    let mailbox = world.open().await;
    for (id, references) in [
        ("<a@x>", ""),
        ("<b@x>", "In-Reply-To: <a@x>\r\n"),
        ("<c@x>", "References: <a@x> <b@x>\r\n"),
        ("<d@x>", ""),
    ] {
        mailbox.append(INBOX, letter(id, references)).await.unwrap();
    }
    mailbox.append(INBOX, message(b"no id\r\n", &[])).await.unwrap();
    mailbox.append(INBOX, message(b"no id\r\n", &[])).await.unwrap();
    let first = thread(&mailbox, 1).await;
    assert_eq!((thread(&mailbox, 2).await, thread(&mailbox, 3).await), (first, first));
    let mut others = Vec::new();
    for uid in 4..=6 {
        others.push(thread(&mailbox, uid).await);
    }
    others.sort_unstable();
    others.dedup();
    assert_eq!(others.len(), 3);
    assert!(!others.contains(&first));
    // Elsewhere the same letters are another conversation: nobody can compare.
    let other = world.open_another().await;
    other.append(INBOX, letter("<a@x>", "")).await.unwrap();
    assert_ne!(thread(&other, 1).await, first);
    let entry = mailbox.entry(INBOX, Uid(3)).await.unwrap().unwrap();
    let summary = mailbox.summary(INBOX, &entry).await.unwrap();
    assert_eq!(summary.references, [b"<a@x>", b"<b@x>"]);
    assert_eq!(summary.preview, "Bonjour à tous");
}

#[tokio::test]
async fn names_of_contents_conversations_and_folders_last() {
    let world = World::new().await;
    let mailbox = world.open().await;
    mailbox.append(INBOX, letter("<a@x>", "")).await.unwrap();
    mailbox.append(INBOX, letter("<a@x>", "")).await.unwrap();
    let first = mailbox.entry(INBOX, Uid(1)).await.unwrap().unwrap();
    let second = mailbox.entry(INBOX, Uid(2)).await.unwrap().unwrap();
    assert_ne!(first.email_id(), second.email_id());
    assert_eq!(first.thread_id(), second.thread_id());
    world.days_pass(1).await;
    mailbox.copy(INBOX, &[Uid(1)], SENT).await.unwrap();
    mailbox.move_messages(INBOX, &[Uid(1)], TRASH).await.unwrap();
    for folder in [SENT, TRASH] {
        let entry = mailbox.entry(folder, Uid(1)).await.unwrap().unwrap();
        assert_eq!(entry.email_id(), first.email_id());
        assert_eq!(entry.thread_id(), first.thread_id());
        assert_eq!(entry.internal_date, first.internal_date);
        assert_eq!(entry.saved, world.clock.now(), "RFC 8514: when it came into this folder");
    }
    let made = mailbox.create_folder("Essai", None).await.unwrap();
    let name = mailbox.mailbox_id(&made);
    mailbox.rename_folder(made.id, "Autre").await.unwrap();
    assert_eq!(mailbox.mailbox_id(&mailbox.folder(made.id).await.unwrap()), name);
    mailbox.delete_folder(made.id).await.unwrap();
    let again = mailbox.create_folder("Autre", None).await.unwrap();
    assert_ne!(mailbox.mailbox_id(&again), name);
    let mut names: Vec<String> = Vec::new();
    for mailbox in [&mailbox, &world.open_another().await] {
        let folders = mailbox.folders().await.unwrap();
        names.extend(folders.iter().map(|folder| mailbox.mailbox_id(folder)));
    }
    names.extend([first.email_id(), first.thread_id()]);
    let is_objectid = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric());
    assert!(names.iter().all(is_objectid), "{names:?}");
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[tokio::test]
async fn many_summaries_come_in_the_order_that_was_asked_for() {
    let world = World::new().await;
    let mailbox = world.open().await;
    for number in 0..150 {
        let text = format!("Subject: {number}\r\n\r\nx\r\n");
        mailbox.append(INBOX, message(text.as_bytes(), &[])).await.unwrap();
    }
    let all = mailbox.entries(INBOX, 1..=u32::MAX, usize::MAX).await.unwrap();
    let few: Vec<_> = all.iter().step_by(37).cloned().collect();
    // A damaged one is shown safely, and the others as they are.
    let mut batch = Batch::new();
    batch.put(rows::summary_key(&world.account.id, INBOX, Uid(38), 0), vec![1, 2, 3]);
    world.store.commit(batch).await.unwrap();
    for entries in [&all, &few] {
        let summaries = mailbox.summaries(INBOX, entries).await.unwrap();
        assert_eq!(summaries.len(), entries.len());
        for (entry, summary) in entries.iter().zip(summaries) {
            match entry.uid {
                Uid(38) => assert!(summary.over_budget),
                Uid(uid) => assert_eq!(summary.subject, (uid - 1).to_string()),
            }
        }
    }
}
