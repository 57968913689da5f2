//! The property of the kill test on a simulated disk, with torn and unsynced writes: a letter
//! that was acknowledged is in all its mailboxes, once and whole; none is half there.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::envelope::BlobId;
use vaguemestre::domain::folder::Flags;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::mailbox::Deposit;
use vaguemestre::flow::mailbox::Letter;
use vaguemestre::flow::mailbox::MailboxError;
use vaguemestre::flow::mailbox::Mailboxes;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::directory::Account;
use vaguemestre::infra::keys::Keyring;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::blobs::Blobs;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::proto::mime::summary;

use crate::support::letters;
use crate::support::letters::Dice;

const LIVES: usize = 40;
const WRITERS: usize = 6;
const NOW: Timestamp = Timestamp::from_seconds(1_795_388_399);

/// The relay's keys and two of its mailboxes; the store comes and goes.
struct House {
    keys: Arc<Keyring>,
    accounts: Vec<Account>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let keys = Arc::new(Keyring::with_master(Secret::new([7; 32])));
        let account = |number: u8| {
            let id = MailboxId::from_bytes([number; 16]);
            let new = keys.generate(&id, "nobody", NOW).unwrap();
            Account {
                id,
                address: Address::parse(&format!("u{number}@hopital.mssante.test")).unwrap(),
                kind: MailboxKind::Personal,
                listing: Listing::Public,
                suspended: false,
                display_name: String::new(),
                certificate: new.certificate,
                wrapped_keys: new.wrapped,
                created: NOW,
            }
        };
        let accounts = vec![account(1), account(2)];
        Self { keys, accounts, folder: tempfile::tempdir().unwrap() }
    }

    /// The mailboxes as a relay finds them at a start.
    async fn wake(&self, store: &Arc<SimulatedStore>) -> (Arc<Mailboxes>, Blobs) {
        let truth = Arc::clone(store) as Arc<dyn Store>;
        let blobs = Blobs::open(Arc::clone(&truth), self.folder.path()).await.unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let keys = Arc::clone(&self.keys);
        (Arc::new(Mailboxes::new(truth, blobs.clone(), keys, clock)), blobs)
    }

    /// One letter into both mailboxes, in one commit.
    async fn deliver(
        &self,
        mailboxes: &Mailboxes,
        blobs: &Blobs,
        id: &str,
        octets: usize,
    ) -> Result<(), MailboxError> {
        let content = letters::letter("a@x.test", "b@x.test", id, octets);
        let mut homes = Vec::new();
        for account in &self.accounts {
            homes.push(mailboxes.open(account).await.unwrap());
        }
        let certificates: Vec<_> = homes.iter().map(|home| home.certificate().clone()).collect();
        let mut sealer = self.keys.seal_to(&certificates).unwrap();
        sealer.write(&content).unwrap();
        let sealed = sealer.finish().unwrap();
        let blob = BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let staged = blobs.stage(blob, Bytes::from(sealed.ciphertext)).await;
        let staged = staged.map_err(MailboxError::from)?;
        let letter = Letter {
            blob,
            content_key: &sealed.content_key,
            size: content.len() as u64,
            summary: &summary::encode(&summary::summarise(&content)),
            internal_date: NOW,
        };
        let deposits: Vec<Deposit> = homes
            .iter()
            .map(|home| Deposit::new(home, FolderId::INBOX, &letter, Flags::default(), None))
            .collect();
        let commit = mailboxes.commit(&deposits, |_| {
            let mut batch = Batch::new();
            staged.ride(&mut batch, 2);
            Ok(batch)
        });
        commit.await.map(|_| ())
    }

    /// Message-IDs in a mailbox, each letter opened whole.
    async fn found(&self, mailboxes: &Mailboxes, account: &Account) -> HashMap<String, usize> {
        let home = mailboxes.open(account).await.unwrap();
        let mut found = HashMap::new();
        let entries = home.entries(FolderId::INBOX, 1..=u32::MAX, usize::MAX).await.unwrap();
        let folder = home.folder(FolderId::INBOX).await.unwrap();
        assert_eq!(folder.exists as usize, entries.len());
        assert!(entries.windows(2).all(|two| two[0].uid < two[1].uid));
        assert!(entries.last().is_none_or(|last| last.uid < folder.uid_next));
        for entry in entries {
            let content = home.content(&entry).await.unwrap();
            assert_eq!(content.expose().len() as u64, entry.size);
            let summary = home.summary(FolderId::INBOX, &entry).await.unwrap();
            let id = String::from_utf8(summary.envelope.message_id.clone().unwrap()).unwrap();
            *found.entry(id).or_default() += 1;
        }
        found
    }
}

#[tokio::test]
async fn acknowledged_letters_survive_torn_writes_in_all_their_mailboxes_once() {
    let seed = letters::seed();
    let mut dice = Dice(seed);
    let house = Arc::new(House::new());
    let mut store = Arc::new(SimulatedStore::new(seed));
    {
        let (mailboxes, _) = house.wake(&store).await;
        for account in &house.accounts {
            mailboxes.create(account).await.unwrap();
        }
    }
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let tried = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..LIVES {
        let (mailboxes, blobs) = house.wake(&store).await;
        let letters_each = 1 + dice.below(4);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (house, mailboxes, blobs) =
                    (Arc::clone(&house), Arc::clone(&mailboxes), blobs.clone());
                let (acknowledged, tried) = (Arc::clone(&acknowledged), Arc::clone(&tried));
                let octets = [400, 5_000, 200_000][dice.below(3) as usize];
                tokio::spawn(async move {
                    for _ in 0..letters_each {
                        let id = letters::message_id();
                        tried.lock().unwrap().push(id.clone());
                        if house.deliver(&mailboxes, &blobs, &id, octets).await.is_ok() {
                            acknowledged.lock().unwrap().push(id);
                        }
                    }
                })
            })
            .collect();
        // Somewhere in the middle: batches wait, some groups reach the disk, the power goes.
        for _ in 0..dice.below(200) {
            match dice.below(12) {
                0 => store.hold(),
                1 => store.release(),
                2 => store.fail_next_sync(),
                3 => {
                    store.step();
                }
                _ => {}
            }
            tokio::task::yield_now().await;
        }
        store.crash();
        for writer in writers {
            writer.await.unwrap();
        }
        store = Arc::new(store.reopen());
        let (mailboxes, _) = house.wake(&store).await;
        let (one, two) = (
            house.found(&mailboxes, &house.accounts[0]).await,
            house.found(&mailboxes, &house.accounts[1]).await,
        );
        for id in acknowledged.lock().unwrap().iter() {
            assert_eq!((one.get(id), two.get(id)), (Some(&1), Some(&1)), "{id} was acknowledged");
        }
        for id in tried.lock().unwrap().iter() {
            assert_eq!(one.get(id), two.get(id), "{id} is half there");
            assert!(one.get(id).is_none_or(|copies| *copies == 1), "{id} came twice");
        }
    }
    let count = acknowledged.lock().unwrap().len();
    println!("{count} letters acknowledged in {LIVES} lives");
    assert!(count > LIVES, "too few to prove anything");
}
