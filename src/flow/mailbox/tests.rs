//! Mailboxes over a store in memory: what a kill, a full disk, a large batch, an old letter and
//! a user's own words do to them.
mod changes;
mod filing;
mod measure;
mod remains;
mod rules;
mod transfer;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::envelope::BlobId;
use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::COPIED_AT_ONCE;
use crate::flow::mailbox::Deposit;
use crate::flow::mailbox::Letter;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Placed;
use crate::flow::mailbox::Room;
use crate::flow::mailbox::Rules;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::infra::clock::Clock;
use crate::infra::clock::ManualClock;
use crate::infra::directory::Account;
use crate::infra::keys::Keyring;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::Write;
use crate::infra::store::blobs::Blobs;
use crate::infra::store::simulated::SimulatedStore;
use crate::proto::mime::summary;

const SENT: FolderId = FolderId(2);
const TRASH: FolderId = FolderId(4);

struct World {
    store: Arc<SimulatedStore>,
    blobs: Blobs,
    keys: Arc<Keyring>,
    clock: Arc<ManualClock>,
    mailboxes: Mailboxes,
    account: Account,
    folder: tempfile::TempDir,
}

impl World {
    /// One account, whose mailbox has no folders yet.
    async fn new() -> Self {
        Self::ruled(Rules::default()).await
    }

    async fn ruled(rules: Rules) -> Self {
        Self::seeded(1, rules).await
    }

    async fn seeded(seed: u64, rules: Rules) -> Self {
        let keys = Arc::new(Keyring::with_master(Secret::new([7; 32])));
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
        let account = account(&keys, 1);
        let folder = tempfile::tempdir().unwrap();
        Self::over(SimulatedStore::new(seed), keys, clock, account, folder, rules).await
    }

    async fn over(
        store: SimulatedStore,
        keys: Arc<Keyring>,
        clock: Arc<ManualClock>,
        account: Account,
        folder: tempfile::TempDir,
        rules: Rules,
    ) -> Self {
        let store = Arc::new(store);
        let truth = Arc::clone(&store) as Arc<dyn Store>;
        let blobs = Blobs::open(Arc::clone(&truth), folder.path()).await.unwrap();
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let mailboxes = Mailboxes::with_rules(truth, blobs.clone(), Arc::clone(&keys), time, rules);
        Self { store, blobs, keys, clock, mailboxes, account, folder }
    }

    /// The power goes and comes back; the relay starts again.
    async fn after_a_crash(self, rules: Rules) -> Self {
        let store = self.store.reopen();
        let world =
            Self::over(store, self.keys, self.clock, self.account, self.folder, rules).await;
        world.blobs.collect_orphans().await.unwrap();
        world
    }

    /// Another mailbox in the same house.
    async fn open_another(&self) -> OpenMailbox {
        self.mailboxes.open(&account(&self.keys, 2)).await.unwrap()
    }

    async fn open(&self) -> OpenMailbox {
        self.mailboxes.open(&self.account).await.unwrap()
    }

    /// So many deposits of one letter in one commit.
    async fn deposit(
        &self,
        copies: u32,
        summary: &[u8],
        identity: Option<&[u8]>,
    ) -> Result<Vec<Placed>, MailboxError> {
        self.deposit_with(copies, summary, identity, Room::OneMore).await
    }

    async fn deposit_with(
        &self,
        copies: u32,
        summary: &[u8],
        identity: Option<&[u8]>,
        room: Room,
    ) -> Result<Vec<Placed>, MailboxError> {
        let mailbox = self.open().await;
        let mut sealer = self.keys.seal_to(&[mailbox.certificate().clone()]).unwrap();
        sealer.write(b"Subject: a\r\n\r\nb\r\n").unwrap();
        let sealed = sealer.finish().unwrap();
        let blob = BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let staged = self.blobs.stage(blob, sealed.ciphertext.into()).await.unwrap();
        let letter = Letter {
            blob,
            content_key: &sealed.content_key,
            size: 17,
            summary,
            internal_date: self.clock.now(),
        };
        let deposit = || {
            let inbox = FolderId::INBOX;
            Deposit::new(&mailbox, inbox, &letter, Flags::default(), identity).with_room(room)
        };
        let deposits: Vec<Deposit> = (0..copies).map(|_| deposit()).collect();
        let committed = self.mailboxes.commit(&deposits, |fresh| {
            let mut batch = Batch::new();
            let count = fresh.iter().filter(|fresh| **fresh).count() as u32;
            if count > 0 {
                staged.ride(&mut batch, count);
            }
            Ok(batch)
        });
        committed.await
    }

    async fn days_pass(&self, days: u64) {
        self.clock.set(self.clock.now().after(Duration::from_secs(days * 86_400)));
    }

    async fn count(&self, range: Range<Vec<u8>>) -> usize {
        self.store.scan(range, usize::MAX).await.unwrap().rows.len()
    }
}

fn account(keys: &Keyring, number: u8) -> Account {
    let id = MailboxId::from_bytes([number; 16]);
    let now = Timestamp::from_seconds(1_795_388_399);
    let new = keys.generate(&id, "a", now).unwrap();
    Account {
        id,
        address: Address::parse(&format!("a{number}@hopital.mssante.test")).unwrap(),
        kind: MailboxKind::Personal,
        listing: Listing::Public,
        suspended: false,
        display_name: "Dr A".to_owned(),
        certificate: new.certificate,
        wrapped_keys: new.wrapped,
        created: now,
    }
}

/// Octets that do not get smaller when what is sealed is compressed.
fn noise(octets: usize) -> Vec<u8> {
    (0..octets / 16).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect()
}

fn deleted() -> FlagChange {
    FlagChange::Add(Flags { deleted: true, ..Flags::default() })
}

fn message(content: &[u8], keywords: &[&str]) -> NewMessage {
    let keywords = keywords.iter().map(|word| (*word).to_owned()).collect();
    NewMessage {
        content: Secret::new(content.to_vec()),
        flags: Flags { keywords, ..Flags::default() },
        internal_date: None,
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn an_account_without_folders_gets_them_with_its_first_letter() {
    let world = World::new().await;
    let placed = world.deposit(1, b"", None).await.unwrap();
    assert!(matches!(placed[..], [Placed::At { uid: Uid(1), .. }]), "{placed:?}");
    let folders = world.open().await.folders().await.unwrap();
    let names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
    assert_eq!(names, ["INBOX", "Drafts", "Junk", "Sent", "Trash"]);
    assert_eq!(folders[0].exists, 1);
    assert!(!world.mailboxes.create(&world.account).await.unwrap());
}

#[tokio::test]
async fn an_account_without_folders_gets_them_when_somebody_looks_or_files() {
    let world = World::new().await;
    assert_eq!(world.open().await.folders().await.unwrap().len(), 5);
    let world = World::new().await;
    world.open().await.append(SENT, message(b"a\r\n", &[])).await.unwrap();
    let world = World::new().await;
    let made = world.open().await.create_folder("Sent", None).await;
    assert!(matches!(made, Err(MailboxError::FolderExists)), "{made:?}");
    let world = World::new().await;
    assert!(world.mailboxes.create(&world.account).await.unwrap());
}

#[tokio::test]
async fn a_message_that_cannot_be_filed_leaves_no_file() {
    let world = World::new().await;
    world.mailboxes.create(&world.account).await.unwrap();
    let mailbox = world.open().await;
    let large = noise(320_000);
    world.store.set_full(true);
    let filed = mailbox.append(SENT, message(&large, &[])).await;
    assert!(matches!(filed, Err(MailboxError::Temporary(_))), "{filed:?}");
    assert_eq!(files(world.folder.path()), 0);
    world.store.set_full(false);
    mailbox.append(SENT, message(&large, &[])).await.unwrap();
    assert_eq!(files(world.folder.path()), 1);
    let filed = mailbox.append(FolderId(99), message(b"a", &[])).await;
    assert!(matches!(filed, Err(MailboxError::NoSuchFolder)), "{filed:?}");
}

#[tokio::test]
async fn many_large_messages_are_moved_whole_and_a_copy_says_that_they_are_too_many() {
    let world = World::new().await;
    let summary = vec![1; 250_000];
    for _ in 0..60 {
        world.deposit(1, &summary, None).await.unwrap();
    }
    let mailbox = world.open().await;
    let uids: Vec<Uid> = (1..=60).map(Uid).collect();
    let copied = mailbox.copy(FolderId::INBOX, &uids, TRASH).await;
    assert!(matches!(copied, Err(MailboxError::OverLimit(COPIED_AT_ONCE))), "{copied:?}");
    assert_eq!(mailbox.folder(TRASH).await.unwrap().exists, 0, "a copy is whole or not at all");
    mailbox.copy(FolderId::INBOX, &uids[..40], TRASH).await.unwrap();
    let (_, pairs) = mailbox.move_messages(FolderId::INBOX, &uids, TRASH).await.unwrap();
    assert_eq!(pairs, (1..=60).map(|uid| (Uid(uid), Uid(uid + 40))).collect::<Vec<_>>());
    assert_eq!(mailbox.folder(FolderId::INBOX).await.unwrap().exists, 0);
    assert_eq!(mailbox.folder(TRASH).await.unwrap().exists, 100);
    let changes = mailbox.changes(FolderId::INBOX, ModSeq(0)).await.unwrap();
    assert_eq!(changes.gone, uids.iter().map(|uid| uid.0).collect());
}

#[tokio::test]
async fn a_change_of_many_messages_takes_several_rows_of_the_log() {
    let world = World::new().await;
    world.mailboxes.create(&world.account).await.unwrap();
    let mailbox = world.open().await;
    let uids: Vec<u32> = (u32::MAX - 25_000..u32::MAX).collect();
    let changed = mailbox.change(|head, batch| {
        mailbox.log_change(head, FolderId::INBOX, ChangeKind::Gone, uids.clone(), batch);
        let octets = |write: &Write| match write {
            Write::Put(_, value) => value.len(),
            Write::Delete(_) => 0,
        };
        assert!(batch.writes.iter().map(octets).max().unwrap() <= limits::VALUE_OCTETS_MAX);
        Ok(())
    });
    changed.await.unwrap();
    let changes = mailbox.changes(FolderId::INBOX, ModSeq(0)).await.unwrap();
    assert_eq!(changes.gone, uids.into_iter().collect());
}

#[tokio::test]
async fn a_letter_of_many_parts_for_a_hundred_mailboxes_fits_one_commit() {
    let world = World::new().await;
    let mut letter = b"From: a@x.test\r\nSubject: Compte rendu\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        .to_vec();
    for part in 0..700 {
        let description = "d".repeat(250);
        let part =
            format!("--b\r\nContent-ID: {part}\r\nContent-Description: {description}\r\n\r\nx\r\n");
        letter.extend(part.into_bytes());
    }
    letter.extend(b"--b--\r\n");
    let summary = summary::encode(&summary::summarise(&letter));
    assert!(summary.len() * 100 > limits::BATCH_OCTETS_MAX, "{}", summary.len());
    let placed = world.deposit(100, &summary, None).await.unwrap();
    assert!(placed.iter().all(|placed| matches!(placed, Placed::At { .. })));
    let mailbox = world.open().await;
    for uid in [1, 100] {
        let entry = mailbox.entry(FolderId::INBOX, Uid(uid)).await.unwrap().unwrap();
        let short = mailbox.summary(FolderId::INBOX, &entry).await.unwrap();
        assert_eq!((short.subject.as_str(), short.over_budget), ("Compte rendu", true));
        assert!(mailbox.content(&entry).await.unwrap().expose().ends_with(b"b\r\n"));
    }
    // A few recipients get it as it is.
    world.deposit(2, &summary, None).await.unwrap();
    let entry = mailbox.entry(FolderId::INBOX, Uid(101)).await.unwrap().unwrap();
    let whole = mailbox.summary(FolderId::INBOX, &entry).await.unwrap();
    assert_eq!(whole.structure.children.len(), 700);
}

#[tokio::test]
async fn keywords_are_sealed_and_copies_keep_them() {
    let world = World::new().await;
    let mailbox = world.open().await;
    mailbox.append(FolderId::INBOX, message(b"a\r\n", &["DiabeteDeMartin"])).await.unwrap();
    let other = Flags { keywords: ["AutreCanari".to_owned()].into(), ..Flags::default() };
    let changed =
        mailbox.store_flags(FolderId::INBOX, &[Uid(1)], &FlagChange::Add(other)).await.unwrap();
    mailbox.copy(FolderId::INBOX, &[Uid(1)], SENT).await.unwrap();
    mailbox.move_messages(FolderId::INBOX, &[Uid(1)], TRASH).await.unwrap();
    for folder in [SENT, TRASH] {
        let entry = mailbox.entry(folder, Uid(1)).await.unwrap().unwrap();
        assert_eq!(entry.flags, changed[0].flags);
        assert_eq!(entry.flags.keywords.len(), 2);
    }
    let all = world.store.scan(Vec::new()..vec![u8::MAX; 8], usize::MAX).await.unwrap();
    assert!(all.rows.len() > 10);
    for (key, row) in &all.rows {
        for word in [b"DiabeteDeMartin".as_slice(), b"AutreCanari"] {
            let lies_there = row.value.windows(word.len()).any(|window| window == word);
            assert!(!lies_there, "{}", String::from_utf8_lossy(key));
        }
    }
}

#[tokio::test]
async fn a_letter_is_known_again_for_ten_days_and_then_counts_as_new() {
    let world = World::new().await;
    let is_new = async || {
        let placed = world.deposit(1, b"", Some(b"a letter")).await.unwrap();
        placed[0] != Placed::Duplicate
    };
    assert!(is_new().await);
    assert!(!is_new().await);
    world.days_pass(9).await;
    assert!(!is_new().await, "relays try again for days");
    world.days_pass(2).await;
    assert!(is_new().await, "it was sent again on purpose");
    assert!(!is_new().await);
    assert_eq!(world.open().await.folder(FolderId::INBOX).await.unwrap().exists, 2);
}

#[tokio::test]
async fn marks_of_letters_of_long_ago_are_swept_as_others_arrive() {
    let world = World::new().await;
    let marks = || store::prefix(&rows::duplicates_prefix(&world.account.id));
    for letter in 0..12_u8 {
        world.deposit(1, b"", Some(&[letter])).await.unwrap();
    }
    assert_eq!(world.count(marks()).await, 12);
    world.days_pass(11).await;
    world.deposit(1, b"", Some(b"a new one")).await.unwrap();
    assert_eq!(world.count(marks()).await, 1);
}
