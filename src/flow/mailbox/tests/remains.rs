//! What must not remain: heads that nobody writes, numbers of messages that are gone, notes of
//! folders that are gone.
use crate::domain::folder::UidSet;
use crate::flow::mailbox::readers::Scope;

use super::*;

const INBOX: FolderId = FolderId::INBOX;

impl World {
    /// The head's row is worn out, and the relay starts again.
    async fn after_the_head_is_damaged(self, rules: Rules) -> Self {
        let mut batch = Batch::new();
        batch.put(rows::head_key(&self.account.id), b"worn".to_vec());
        self.store.commit(batch).await.unwrap();
        self.after_a_crash(rules).await
    }
}

#[tokio::test]
async fn a_full_mailbox_leaves_no_head_foretold_in_another() {
    let world = World::ruled(Rules { quota_messages: Some(1), ..Rules::default() }).await;
    let (mine, theirs) = (world.open().await, world.open_another().await);
    theirs.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    mine.folders().await.unwrap();
    let mut sealer = world.keys.seal_to(&[mine.certificate().clone()]).unwrap();
    sealer.write(b"Subject: a\r\n\r\nb\r\n").unwrap();
    let sealed = sealer.finish().unwrap();
    let blob = BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
    let letter = Letter {
        blob,
        content_key: &sealed.content_key,
        size: 17,
        summary: b"",
        internal_date: world.clock.now(),
    };
    let deposits =
        [&mine, &theirs].map(|home| Deposit::new(home, INBOX, &letter, Flags::default(), None));
    let placed = world.mailboxes.commit(&deposits, |_| Ok(Batch::new())).await;
    assert!(matches!(placed, Err(MailboxError::OverQuota)), "{placed:?}");
    let on_disk = world.mailboxes.shelf.head(&mine.slot).await.unwrap().0;
    let state = mine.slot.lock();
    assert_eq!(state.head().map(|head| head.modseq), Some(on_disk.modseq));
}

#[tokio::test]
async fn a_number_that_a_reader_has_seen_never_names_another_letter() {
    let rules = Rules::default();
    let world = World::ruled(rules).await;
    let mailbox = world.open().await;
    for _ in 0..3 {
        mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
    }
    let folder = mailbox.create_folder("Bientôt", None).await.unwrap();
    mailbox.delete_folder(folder.id).await.unwrap();
    mailbox.store_flags(INBOX, &[Uid(2), Uid(3)], &deleted()).await.unwrap();
    mailbox.expunge(INBOX, None).await.unwrap();
    drop(mailbox);
    let world = world.after_the_head_is_damaged(rules).await;
    let mailbox = world.open().await;
    let (_, uid) = mailbox.append(INBOX, message(b"b\r\n", &[])).await.unwrap();
    assert!(uid > Uid(3), "{uid:?}");
    let made = mailbox.create_folder("Autre", None).await.unwrap();
    assert!(made.id.0 > folder.id.0, "{made:?}");
}

#[tokio::test]
async fn notes_of_a_deleted_folder_go_with_it() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let folder = mailbox.create_folder("Projet", None).await.unwrap().id;
    let note = [("/private/comment".to_owned(), Some(b"patient".to_vec()))];
    mailbox.annotate(folder, Scope::Private, &note).await.unwrap();
    mailbox.annotate(folder, Scope::Shared, &note).await.unwrap();
    mailbox.annotate(INBOX, Scope::Private, &note).await.unwrap();
    let notes = |folder| store::prefix(&rows::annotations_of(&world.account.id, folder));
    assert_eq!(world.count(notes(folder)).await, 2);
    mailbox.delete_folder(folder).await.unwrap();
    assert_eq!(world.count(notes(folder)).await, 0);
    assert_eq!(world.count(notes(INBOX)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_the_steps_that_changes_answer_misses_nothing() {
    let world = World::new().await;
    let mailbox = world.open().await;
    let filing = {
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                mailbox.append(INBOX, message(b"a\r\n", &[])).await.unwrap();
            }
        })
    };
    let (mut known, mut told) = (ModSeq(1), UidSet::new());
    loop {
        let is_last = filing.is_finished();
        let changes = mailbox.changes(INBOX, known).await.unwrap();
        told = told.union(&changes.touched);
        known = changes.folder.unwrap().highest_modseq;
        if is_last {
            break;
        }
    }
    assert_eq!(told.len(), 200);
}
