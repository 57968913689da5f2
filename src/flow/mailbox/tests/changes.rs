//! What happened, and what is there: told from the log, from the rows and from memory alike.
use std::collections::BTreeMap;

use crate::domain::folder::UidSet;
use crate::flow::mailbox::Contents;
use crate::flow::mailbox::rows::ChangeRow;

use super::*;

const INBOX: FolderId = FolderId::INBOX;

fn set(uids: impl IntoIterator<Item = u32>) -> UidSet {
    uids.into_iter().collect()
}

fn seen() -> FlagChange {
    FlagChange::Add(Flags { seen: true, ..Flags::default() })
}

async fn modseq(mailbox: &OpenMailbox, folder: FolderId) -> ModSeq {
    mailbox.folder(folder).await.unwrap().highest_modseq
}

/// So many steps of the log that concern nobody who is here.
async fn much_happens(mailbox: &OpenMailbox, steps: u64) {
    let changed = mailbox.change(|head, batch| {
        for _ in 0..steps {
            mailbox.log_change(head, TRASH, ChangeKind::Changed, vec![1], batch);
        }
        Ok(())
    });
    changed.await.unwrap();
}

#[tokio::test]
async fn every_change_raises_the_modseq_of_its_messages_and_of_its_folder() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let mut last = ModSeq(0);
    for _ in 0..3 {
        mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
        let entry = mailbox.entries(INBOX, 1..=u32::MAX, 9).await.unwrap().pop().unwrap();
        assert!(entry.modseq > last);
        last = modseq(&mailbox, INBOX).await;
        assert_eq!(last, entry.modseq);
    }
    let changed = mailbox.store_flags(INBOX, &[Uid(1), Uid(2)], &seen()).await.unwrap();
    assert!(changed.iter().all(|entry| entry.modseq > last));
    last = modseq(&mailbox, INBOX).await;
    // Nothing changes for messages that had the mark.
    mailbox.store_flags(INBOX, &[Uid(1)], &seen()).await.unwrap();
    assert_eq!(modseq(&mailbox, INBOX).await, last);
    let sent = modseq(&mailbox, SENT).await;
    mailbox.copy(INBOX, &[Uid(1)], SENT).await.unwrap();
    assert!(modseq(&mailbox, SENT).await > sent);
    assert_eq!(modseq(&mailbox, INBOX).await, last);
    mailbox.store_flags(INBOX, &[Uid(3)], &deleted()).await.unwrap();
    last = modseq(&mailbox, INBOX).await;
    mailbox.expunge(INBOX, None).await.unwrap();
    assert!(modseq(&mailbox, INBOX).await > last);
    last = modseq(&mailbox, INBOX).await;
    mailbox.move_messages(INBOX, &[Uid(2)], SENT).await.unwrap();
    assert!(modseq(&mailbox, INBOX).await > last);
}

#[tokio::test]
async fn a_conditional_change_leaves_alone_what_somebody_else_changed() {
    let world = World::new().await;
    let mailbox = world.open().await;
    for _ in 0..3 {
        mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    }
    let known = modseq(&mailbox, INBOX).await;
    mailbox.store_flags(INBOX, &[Uid(2)], &seen()).await.unwrap();
    let all = [Uid(1), Uid(2), Uid(3), Uid(9)];
    let outcome = mailbox.store_flags_unless(INBOX, &all, &deleted(), known).await.unwrap();
    let (changed, refused) = outcome;
    assert_eq!(changed.iter().map(|entry| entry.uid.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(refused, [Uid(2)]);
    assert!(!mailbox.entry(INBOX, Uid(2)).await.unwrap().unwrap().flags.deleted);
    // RFC 7162 §3.1.3: with 0, nothing that exists is unchanged.
    let none = mailbox.store_flags_unless(INBOX, &all, &seen(), ModSeq(0)).await.unwrap();
    assert_eq!((none.0.len(), none.1.len()), (0, 3));
}

#[tokio::test]
async fn of_many_conditional_changes_at_once_one_wins() {
    let world = World::new().await;
    let mailbox = world.open().await;
    mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    let known = modseq(&mailbox, INBOX).await;
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mailbox = mailbox.clone();
        claims.spawn(async move {
            let keywords = [format!("$Claim{number}")].into();
            let claim = FlagChange::Add(Flags { keywords, ..Flags::default() });
            mailbox.store_flags_unless(INBOX, &[Uid(1)], &claim, known).await.unwrap().1.len()
        });
    }
    let refused: usize = claims.join_all().await.into_iter().sum();
    assert_eq!(refused, 7);
}

#[tokio::test]
async fn the_change_log_forgets_its_oldest_steps_and_the_messages_answer_for_them() {
    let world = World::new().await;
    let mailbox = world.open().await;
    for _ in 0..5 {
        mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    }
    let contents = mailbox.contents(INBOX).await.unwrap();
    let before = modseq(&mailbox, INBOX).await;
    mailbox.store_flags(INBOX, &[Uid(1), Uid(2)], &deleted()).await.unwrap();
    mailbox.expunge(INBOX, Some(&[Uid(2)])).await.unwrap();
    mailbox.append(INBOX, message(b"b\r\n", &[])).await.unwrap();
    let logged = mailbox.changes(INBOX, before).await.unwrap();
    assert_eq!((logged.touched, logged.gone), (set([1, 6]), set([2])));
    much_happens(&mailbox, limits::CHANGES_KEPT + 10).await;
    much_happens(&mailbox, 1).await;
    let log = rows::change_key(&world.account.id, 0)..rows::changes_end(&world.account.id);
    assert!(world.count(log).await as u64 <= limits::CHANGES_KEPT);
    let told = mailbox.changes(INBOX, before).await.unwrap();
    assert_eq!((told.touched, told.gone), (set([1, 6]), set([2])));
    assert!(told.folder.is_some());
    // Whoever knows all of this folder is told nothing, however much happened elsewhere.
    let told = mailbox.changes(INBOX, modseq(&mailbox, INBOX).await).await.unwrap();
    assert!(told.touched.is_empty() && told.gone.is_empty());
    assert_eq!(contents.uids, set(1..=5), "an older view stays as it was");
    let contents = mailbox.contents(INBOX).await.unwrap();
    assert_eq!((&contents.uids, &contents.deleted), (&set([1, 3, 4, 5, 6]), &set([1])));
    let nobody = mailbox.changes(FolderId(77), ModSeq(0)).await.unwrap();
    assert!(nobody.folder.is_none());
}

#[tokio::test]
async fn a_damaged_step_of_the_log_hides_no_change() {
    let world = World::new().await;
    let mailbox = world.open().await;
    for _ in 0..3 {
        mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    }
    let before = modseq(&mailbox, INBOX).await;
    mailbox.store_flags(INBOX, &[Uid(1)], &deleted()).await.unwrap();
    let step = modseq(&mailbox, INBOX).await;
    mailbox.expunge(INBOX, None).await.unwrap();
    let mut batch = Batch::new();
    batch.put(rows::change_key(&world.account.id, step.0), vec![9; 4]);
    world.store.commit(batch).await.unwrap();
    let told = mailbox.changes(INBOX, before).await.unwrap();
    assert_eq!((told.touched, told.gone), (set([]), set([1])));
}

#[tokio::test]
async fn contents_kept_in_memory_are_those_of_the_rows_whatever_happens() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let mut dice = 7_u64;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    for step in 0..120 {
        let uid = Uid(1 + u32::try_from(roll(40)).unwrap());
        match roll(6) {
            0 | 1 => {
                let word = format!("k{}", roll(5));
                mailbox.append(INBOX, message(b"a\r\n", &[&word])).await.unwrap();
            }
            2 => {
                mailbox.store_flags(INBOX, &[uid], &seen()).await.unwrap();
            }
            3 => {
                mailbox.store_flags(INBOX, &[uid], &deleted()).await.unwrap();
            }
            4 => {
                mailbox.expunge(INBOX, (roll(2) == 0).then_some(&[uid][..])).await.unwrap();
            }
            _ => {
                mailbox.move_messages(INBOX, &[uid], SENT).await.unwrap();
            }
        }
        if roll(3) == 0 {
            let known = mailbox.contents(INBOX).await.unwrap();
            let mut truth = Contents::default();
            let mut words = BTreeMap::new();
            for entry in mailbox.entries(INBOX, 1..=u32::MAX, usize::MAX).await.unwrap() {
                truth.uids.insert(entry.uid.0);
                if !entry.flags.seen {
                    truth.unseen.insert(entry.uid.0);
                }
                if entry.flags.deleted {
                    truth.deleted.insert(entry.uid.0);
                }
                words.extend(entry.flags.keywords.into_iter().map(|word| (word, ())));
            }
            assert_eq!(known.uids, truth.uids, "step {step}");
            assert_eq!(known.unseen, truth.unseen, "step {step}");
            assert_eq!(known.deleted, truth.deleted, "step {step}");
            assert_eq!(known.first_unseen(), truth.first_unseen());
            assert!(words.keys().all(|word| known.keywords.contains(word)));
            assert_eq!(known.modseq, modseq(&mailbox, INBOX).await);
        }
    }
}

#[tokio::test]
async fn changes_are_told_the_same_after_a_kill() {
    for seed in 0..8 {
        let mut world = World::seeded(seed, Rules::default()).await;
        world.mailboxes.create(&world.account).await.unwrap();
        let mut acknowledged = ModSeq(0);
        for _ in 0..3 {
            let mailbox = world.open().await;
            mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
            acknowledged = modseq(&mailbox, INBOX).await;
            world.store.hold();
            let filed = mailbox.append(INBOX, message(b"b\r\n", &[]));
            let seen = seen();
            let marked = mailbox.store_flags(INBOX, &[Uid(1)], &seen);
            let both = async { tokio::join!(filed, marked) };
            let _ = tokio::time::timeout(Duration::from_millis(30), both).await;
            drop(mailbox);
            world = world.after_a_crash(Rules::default()).await;
        }
        let mailbox = world.open().await;
        let folder = mailbox.folder(INBOX).await.unwrap();
        assert!(folder.highest_modseq >= acknowledged);
        let entries = mailbox.entries(INBOX, 1..=u32::MAX, usize::MAX).await.unwrap();
        assert_eq!(folder.exists as usize, entries.len(), "seed {seed}");
        let told = mailbox.changes(INBOX, ModSeq(0)).await.unwrap();
        assert_eq!(told.touched, set(entries.iter().map(|entry| entry.uid.0)), "seed {seed}");
        let most = entries.iter().map(|entry| entry.modseq).max();
        assert_eq!(most, Some(folder.highest_modseq), "seed {seed}");
    }
}

#[test]
fn a_row_looked_at_is_a_row_read() {
    let row = rows::encode(&ChangeRow { folder: 1, kind: ChangeKind::Gone, uids: vec![1] });
    assert!(rows::glance(&row).is_none());
    assert!(rows::glance(b"").is_none());
}
