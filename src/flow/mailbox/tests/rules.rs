//! Quotas, and what becomes of expunged contents.
use std::collections::BTreeMap;

use super::*;
use crate::flow::mailbox::Usage;

const INBOX: FolderId = FolderId::INBOX;
const DAY: Duration = Duration::from_secs(86_400);
const HELD: Rules =
    Rules { quota_octets: None, quota_messages: None, retention: DAY, shared_seen: false };

fn quota(octets: u64, messages: u64) -> Rules {
    let (quota_octets, quota_messages) = (Some(octets), Some(messages));
    Rules { quota_octets, quota_messages, ..Rules::default() }
}

async fn refuses(mailbox: &OpenMailbox, octets: usize) -> bool {
    let filed = mailbox.append(INBOX, message(&vec![b'a'; octets], &[])).await;
    matches!(filed, Err(MailboxError::OverQuota))
}

#[tokio::test]
async fn a_mailbox_holds_what_its_quota_allows_and_moves_cost_nothing() {
    let world = World::ruled(quota(1_000, 4)).await;
    let mailbox = world.open().await;
    assert!(!refuses(&mailbox, 600).await);
    assert!(refuses(&mailbox, 401).await);
    assert!(!refuses(&mailbox, 400).await);
    assert!(refuses(&mailbox, 1).await);
    let usage = mailbox.usage().await.unwrap();
    let expected =
        Usage { octets: 1_000, messages: 2, octets_max: Some(1_000), messages_max: Some(4) };
    assert_eq!(usage, expected);
    let copied = mailbox.copy(INBOX, &[Uid(2)], SENT).await;
    assert!(matches!(copied, Err(MailboxError::OverQuota)), "{copied:?}");
    mailbox.move_messages(INBOX, &[Uid(2)], SENT).await.unwrap();
    assert!(mailbox.check_room(1).await.is_err());
    // Room is free as soon as a message is expunged.
    mailbox.store_flags(SENT, &[Uid(1)], &deleted()).await.unwrap();
    mailbox.expunge(SENT, None).await.unwrap();
    mailbox.check_room(400).await.unwrap();
    assert!(mailbox.check_room(401).await.is_err());
    for _ in 0..3 {
        assert!(!refuses(&mailbox, 1).await);
    }
    assert!(refuses(&mailbox, 1).await, "four messages are there");
    assert_eq!(files(world.folder.path()), 0);
}

#[tokio::test]
async fn a_quota_holds_against_many_who_file_at_the_same_time() {
    let world = World::ruled(quota(1_000, 1_000)).await;
    let mailbox = world.open().await;
    let mut filing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mailbox = mailbox.clone();
        filing.spawn(async move { refuses(&mailbox, 100).await });
    }
    let refused = filing.join_all().await.into_iter().filter(|refused| *refused).count();
    assert_eq!(refused, 10);
    assert_eq!(mailbox.usage().await.unwrap().octets, 1_000);
}

#[tokio::test]
async fn a_letter_for_several_bends_a_mailbox_that_was_not_full_once() {
    let world = World::ruled(quota(20, 1_000)).await;
    let mailbox = world.open().await;
    let deliver = async |room: Room| world.deposit_with(1, b"", None, room).await;
    deliver(Room::Strict).await.unwrap();
    let strict = deliver(Room::Strict).await;
    assert!(matches!(strict, Err(MailboxError::OverQuota)), "{strict:?}");
    deliver(Room::OneMore).await.unwrap();
    assert_eq!(mailbox.usage().await.unwrap().octets, 34);
    let full = deliver(Room::OneMore).await;
    assert!(matches!(full, Err(MailboxError::OverQuota)), "{full:?}");
    assert_eq!(full.unwrap_err().refusal(), crate::domain::status::Refusal::MailboxFull);
    // The several copies that a filter makes are one letter.
    let other = World::ruled(quota(20, 1_000)).await;
    other.deposit_with(3, b"", None, Room::OneMore).await.unwrap();
    // The relay's own reports are not lost.
    deliver(Room::Any).await.unwrap();
    assert_eq!(mailbox.usage().await.unwrap().messages, 3);
}

#[tokio::test]
async fn expunged_contents_are_gone_at_once_without_a_rule() {
    let world = World::new().await;
    let mailbox = world.open().await;
    mailbox.append(INBOX, message(&noise(300_000), &[])).await.unwrap();
    mailbox.append(INBOX, message(b"small\r\n", &[])).await.unwrap();
    mailbox.copy(INBOX, &[Uid(1)], SENT).await.unwrap();
    mailbox.store_flags(INBOX, &[Uid(1), Uid(2)], &deleted()).await.unwrap();
    mailbox.expunge(INBOX, None).await.unwrap();
    assert_eq!(files(world.folder.path()), 1, "a copy refers to it");
    mailbox.store_flags(SENT, &[Uid(1)], &deleted()).await.unwrap();
    mailbox.expunge(SENT, None).await.unwrap();
    assert_eq!(files(world.folder.path()), 0);
    assert_eq!(world.count(store::prefix(b"blob/")).await, 0);
    assert_eq!(world.count(store::prefix(b"held/")).await, 0);
}

#[tokio::test]
async fn expunged_contents_are_held_unseen_for_as_long_as_the_rule_says() {
    let world = World::ruled(Rules { quota_messages: Some(2), ..HELD }).await;
    let mailbox = world.open().await;
    mailbox.append(INBOX, message(&noise(300_000), &["Mot"])).await.unwrap();
    mailbox.append(INBOX, message(b"small\r\n", &[])).await.unwrap();
    mailbox.store_flags(INBOX, &[Uid(1), Uid(2)], &deleted()).await.unwrap();
    assert_eq!(mailbox.expunge(INBOX, None).await.unwrap(), [Uid(1), Uid(2)]);
    assert_eq!(mailbox.folder(INBOX).await.unwrap().exists, 0);
    assert!(mailbox.entries(INBOX, 1..=u32::MAX, 9).await.unwrap().is_empty());
    assert_eq!(mailbox.usage().await.unwrap().messages, 0);
    assert!(!refuses(&mailbox, 10).await, "what is held is not counted");
    assert_eq!(files(world.folder.path()), 1);
    assert_eq!(world.mailboxes.collect_held().await.unwrap(), 0);
    assert_eq!(files(world.folder.path()), 1);
    world.days_pass(1).await;
    assert_eq!(world.mailboxes.collect_held().await.unwrap(), 2);
    assert_eq!(files(world.folder.path()), 0);
    assert_eq!(world.count(store::prefix(b"held/")).await, 0);
    assert_eq!(world.mailboxes.collect_held().await.unwrap(), 0);
    let entry = mailbox.entry(INBOX, Uid(3)).await.unwrap().unwrap();
    assert_eq!(mailbox.content(&entry).await.unwrap().expose().len(), 10);
}

#[tokio::test]
async fn a_deleted_folder_and_a_replaced_message_are_held_too() {
    let world = World::ruled(HELD).await;
    let mailbox = world.open().await;
    let folder = mailbox.create_folder("Essai", None).await.unwrap().id;
    for _ in 0..90 {
        mailbox.append(folder, message(b"a\r\n", &[])).await.unwrap();
    }
    mailbox.append(INBOX, message(b"first\r\n", &[])).await.unwrap();
    let staged = mailbox.stage(message(b"second\r\n", &[])).await.unwrap();
    mailbox.append_all(INBOX, vec![staged], Some((INBOX, Uid(1)))).await.unwrap();
    mailbox.delete_folder(folder).await.unwrap();
    world.days_pass(2).await;
    assert_eq!(world.mailboxes.collect_held().await.unwrap(), 91);
    let contents = world.contents().await;
    assert_eq!(contents.len(), 1);
}

/// Contents that the store knows of, and how many references each says to have.
impl World {
    async fn contents(&self) -> BTreeMap<Vec<u8>, u32> {
        let page = self.store.scan(store::prefix(b"blob/"), usize::MAX).await.unwrap();
        let rows = page.rows.iter().filter(|(key, _)| key.len() == b"blob/".len() + 16);
        let count = |value: &[u8]| u32::from_be_bytes(value[1..5].try_into().unwrap());
        rows.map(|(key, row)| (key[b"blob/".len()..].to_vec(), count(&row.value))).collect()
    }

    /// References counted where they are: rows of messages and of what is held.
    async fn references(&self) -> BTreeMap<Vec<u8>, u32> {
        let mut found = BTreeMap::new();
        for range in [rows::messages_prefix(&self.account.id), b"held/".to_vec()] {
            let page = self.store.scan(store::prefix(&range), usize::MAX).await.unwrap();
            for (key, row) in &page.rows {
                if !key.starts_with(b"held/") || rows::is_held_message(key) {
                    let blob = rows::glance(&row.value).unwrap().blob();
                    *found.entry(blob.as_bytes().to_vec()).or_default() += 1;
                }
            }
        }
        found
    }
}

#[tokio::test]
async fn no_kill_leaks_a_content_or_releases_one_twice() {
    for seed in 0..12_u64 {
        let rules = if seed % 3 == 0 { Rules::default() } else { HELD };
        let mut world = World::seeded(seed, rules).await;
        world.mailboxes.create(&world.account).await.unwrap();
        let large = noise(200_000);
        for life in 0..4 {
            let mailbox = world.open().await;
            let acts = async {
                let content = if life % 2 == 0 { &large[..] } else { b"small\r\n" };
                mailbox.append(INBOX, message(content, &[])).await?;
                let all = mailbox.entries(INBOX, 1..=u32::MAX, 99).await?;
                let uids: Vec<Uid> = all.iter().map(|entry| entry.uid).collect();
                mailbox.copy(INBOX, &uids, SENT).await?;
                // The power goes somewhere behind here.
                world.store.hold();
                mailbox.store_flags(INBOX, &uids, &deleted()).await?;
                mailbox.expunge(INBOX, None).await?;
                let sent = mailbox.entries(SENT, 1..=u32::MAX, 1).await?;
                let first: Vec<Uid> = sent.iter().map(|entry| entry.uid).collect();
                mailbox.store_flags(SENT, &first, &deleted()).await?;
                mailbox.expunge(SENT, None).await?;
                world.clock.set(world.clock.now().after(2 * DAY));
                world.mailboxes.collect_held().await?;
                Ok::<_, MailboxError>(())
            };
            let steps = async {
                for _ in 0..(seed + life) % 9 {
                    // A sealing thread may be at work before the next batch comes.
                    while !world.store.step() {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                }
            };
            tokio::select! {
                done = acts => done.unwrap(),
                () = steps => {}
            }
            drop(mailbox);
            world = world.after_a_crash(rules).await;
            assert_eq!(world.contents().await, world.references().await, "seed {seed}");
        }
        let mailbox = world.open().await;
        for folder in [INBOX, SENT] {
            let all = mailbox.entries(folder, 1..=u32::MAX, 99).await.unwrap();
            let uids: Vec<Uid> = all.iter().map(|entry| entry.uid).collect();
            mailbox.store_flags(folder, &uids, &deleted()).await.unwrap();
            mailbox.expunge(folder, None).await.unwrap();
        }
        world.days_pass(2).await;
        world.mailboxes.collect_held().await.unwrap();
        assert_eq!(world.contents().await, BTreeMap::new(), "seed {seed}");
        assert_eq!(files(world.folder.path()), 0, "seed {seed}");
        assert_eq!(world.count(store::prefix(b"held/")).await, 0, "seed {seed}");
    }
}
