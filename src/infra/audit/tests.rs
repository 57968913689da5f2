//! The chain over a store in memory: what concurrency, a failed disk, and whoever writes to the
//! disk do to it.
use std::time::Duration;

use super::*;
use crate::domain::envelope::BlobId;
use crate::infra::clock::ManualClock;
use crate::infra::store::simulated::SimulatedStore;

/// What only the relay knows, in small.
struct Plain;

impl Witness for Plain {
    fn mark(&self, octets: &[u8]) -> [u8; 32] {
        let keyed = [b"only the relay knows".as_slice(), octets].concat();
        digest::digest(&digest::SHA256, &keyed).as_ref().try_into().unwrap()
    }
}

struct World {
    store: Arc<SimulatedStore>,
    clock: Arc<ManualClock>,
    audit: Audit,
}

const BOX: MailboxId = MailboxId::from_bytes([7; 16]);

fn world() -> World {
    let store = Arc::new(SimulatedStore::new(1));
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_400)));
    let audit = Audit::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, Arc::new(Plain));
    World { store, clock, audit }
}

impl World {
    async fn with(entries: u64) -> Self {
        let world = world();
        for _ in 0..entries {
            world.audit.used(Some(&BOX), &Who::Mailbox(BOX), "imap", "read").await.unwrap();
        }
        world
    }

    async fn flaw(&self) -> Flaw {
        // By another process: nothing of the chain is in its memory.
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let fresh = Audit::new(store, Arc::clone(&self.clock) as _, Arc::new(Plain));
        fresh.prove(None).await.unwrap_err()
    }

    async fn row(&self, number: u64) -> Entry {
        let row = self.store.get(&key(number)).await.unwrap().unwrap();
        decode(&key(number), &row.value).unwrap()
    }

    async fn write(&self, batch: Batch) {
        self.store.commit(batch).await.unwrap();
    }

    async fn put(&self, number: u64, entry: &Entry) {
        let mut batch = Batch::new();
        batch.put(key(number), entry.encode());
        self.write(batch).await;
    }
}

#[tokio::test]
async fn a_chain_of_uses_is_proved_from_the_first_to_the_last() {
    let world = World::with(3).await;
    let proof = world.audit.prove(None).await.unwrap();
    assert_eq!((proof.entries, proof.end.number, proof.pruned_through), (3, 3, 0));
    assert_eq!(proof.end, world.audit.checkpoint().await.unwrap());
    assert_eq!(world.audit.prove(Some(&proof.end)).await.unwrap(), proof);
    let empty = super::tests::world().audit.prove(None).await.unwrap();
    assert_eq!((empty.entries, empty.first_at), (0, None));
}

#[tokio::test]
async fn writers_at_the_same_time_make_one_chain() {
    let world = world();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let audit = world.audit.clone();
        tasks.spawn(async move {
            for _ in 0..25 {
                audit.used(Some(&BOX), &Who::Relay, "relay", "index").await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(world.audit.prove(None).await.unwrap().entries, 200);
}

#[tokio::test]
async fn two_ledgers_over_one_store_make_one_chain() {
    let world = world();
    let other =
        Audit::new(Arc::clone(&world.store) as _, Arc::clone(&world.clock) as _, Arc::new(Plain));
    for _ in 0..10 {
        world.audit.used(None, &Who::Relay, "relay", "one").await.unwrap();
        other.used(None, &Who::Relay, "relay", "other").await.unwrap();
    }
    assert_eq!(other.prove(None).await.unwrap().entries, 20);
}

#[tokio::test]
async fn what_is_not_durable_is_not_recorded_and_the_chain_goes_on_after_it() {
    let world = World::with(2).await;
    world.store.set_full(true);
    world.audit.used(None, &Who::Relay, "relay", "full").await.unwrap_err();
    let sitting = world.audit.sitting(BOX, Who::Mailbox(BOX), "imap", "read");
    sitting.opens(1).await.unwrap_err();
    world.store.set_full(false);
    sitting.opens(1).await.unwrap();
    assert_eq!(world.audit.prove(None).await.unwrap().entries, 3);
}

#[tokio::test]
async fn a_session_is_recorded_before_its_first_content_and_counted_at_its_end() {
    let world = world();
    let sitting = world.audit.sitting(BOX, Who::Mailbox(BOX), "imap", "read");
    drop(world.audit.sitting(BOX, Who::Relay, "imap", "nothing was opened"));
    assert_eq!(world.audit.prove(None).await.unwrap().entries, 0);
    for _ in 0..5 {
        sitting.opens(1).await.unwrap();
    }
    assert_eq!(world.audit.prove(None).await.unwrap().entries, 1);
    drop(sitting);
    // Whatever is handed in later is durable later.
    world.audit.used(None, &Who::Relay, "relay", "after").await.unwrap();
    let all = world.audit.last(&Wanted::default(), 10).await.unwrap();
    let told: Vec<(&str, u64)> = all.iter().rev().map(|one| (&*one.why, one.count)).collect();
    assert_eq!(told, [("read", 1), ("read: all since entry 1", 5), ("after", 1)]);
}

#[tokio::test]
async fn listings_and_searches_of_a_session_are_one_entry_each_and_a_content_counts_once() {
    let world = world();
    let sitting = world.audit.sitting(BOX, Who::Mailbox(BOX), "imap", "read");
    let content = BlobId::from_bytes([7; 16]);
    for _ in 0..3 {
        sitting.lists().await.unwrap();
        sitting.searches().await.unwrap();
        // A large letter is fetched piece by piece.
        sitting.opens_content(content).await.unwrap();
    }
    sitting.opens_content(BlobId::from_bytes([8; 16])).await.unwrap();
    // The same session in another's mailbox, however often it is opened there.
    let other = MailboxId::from_bytes([9; 16]);
    for _ in 0..3 {
        let beside = sitting.beside(other, Who::Mailbox(BOX), "read as its reader");
        beside.lists().await.unwrap();
    }
    // What the relay does letter by letter stands in the letters' timelines.
    world.audit.sitting(BOX, Who::Relay, "relay", "its own work").lists().await.unwrap();
    drop(sitting);
    world.audit.used(None, &Who::Relay, "relay", "after").await.unwrap();
    let all = world.audit.last(&Wanted::default(), 10).await.unwrap();
    let told: Vec<(&str, u64)> = all.iter().rev().map(|one| (&*one.why, one.count)).collect();
    let expected = [
        ("list", 0),
        ("search", 0),
        ("read", 1),
        ("list", 0),
        ("read: all since entry 3", 2),
        ("after", 1),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_entry_that_was_changed_is_named() {
    let world = World::with(5).await;
    let changes: [fn(&mut Entry); 6] = [
        |entry| entry.who = "relay".to_owned(),
        |entry| entry.why = "rede".to_owned(),
        |entry| entry.door = "pop3".to_owned(),
        |entry| entry.count += 1,
        |entry| entry.mailbox = None,
        |entry| entry.at = Timestamp::from_millis(entry.at.as_millis() + 1),
    ];
    let whole = world.row(3).await;
    for change in changes {
        let mut entry = whole.clone();
        change(&mut entry);
        world.put(3, &entry).await;
        assert_eq!(world.flaw().await, Flaw::Changed(3));
        // With a hash that fits, the next one does not follow it.
        entry.hash = entry.computed();
        world.put(3, &entry).await;
        assert_eq!(world.flaw().await, Flaw::Unchained(4));
    }
    let mut batch = Batch::new();
    batch.put(key(3), b"nothing that was written here".to_vec());
    world.write(batch).await;
    assert_eq!(world.flaw().await, Flaw::Changed(3));
}

#[tokio::test]
async fn entries_that_are_missing_moved_or_cut_are_named() {
    let world = World::with(5).await;
    let (two, three) = (world.row(2).await, world.row(3).await);
    world.put(2, &three).await;
    world.put(3, &two).await;
    assert_eq!(world.flaw().await, Flaw::Moved(2));
    world.put(2, &two).await;
    world.put(3, &three).await;
    for (number, end) in [(1, 1), (3, 3), (5, 5)] {
        let whole = world.row(number).await;
        let mut batch = Batch::new();
        batch.delete(key(number));
        world.write(batch).await;
        assert_eq!(world.flaw().await, Flaw::Missing(end));
        world.put(number, &whole).await;
    }
}

#[tokio::test]
async fn an_end_that_was_cut_together_with_its_head_is_found_by_what_was_written_down() {
    let world = World::with(3).await;
    let old_head = world.store.get(HEAD).await.unwrap().unwrap().value;
    for _ in 0..3 {
        world.audit.used(None, &Who::Relay, "relay", "later").await.unwrap();
    }
    let seen = world.audit.checkpoint().await.unwrap();
    let mut batch = Batch::new();
    batch.put(HEAD, old_head);
    world.write(batch).await;
    assert_eq!(world.flaw().await, Flaw::BehindTheEnd(4));
    let mut batch = Batch::new();
    (4..=6).for_each(|number| {
        batch.delete(key(number));
    });
    world.write(batch).await;
    let fresh =
        Audit::new(Arc::clone(&world.store) as _, Arc::clone(&world.clock) as _, Arc::new(Plain));
    fresh.prove(None).await.unwrap();
    let cut = fresh.prove(Some(&seen)).await.unwrap_err();
    assert_eq!(cut, Flaw::Cut { end: 3, expected: 6 });
    for _ in 0..4 {
        fresh.used(None, &Who::Relay, "relay", "other").await.unwrap();
    }
    assert_eq!(fresh.prove(Some(&seen)).await.unwrap_err(), Flaw::Unexpected(6));
}

#[tokio::test]
async fn a_chain_that_somebody_else_wrote_has_no_mark_of_the_relay() {
    struct Stranger;
    impl Witness for Stranger {
        fn mark(&self, _: &[u8]) -> [u8; 32] {
            [0; 32]
        }
    }
    let world = world();
    let clock = Arc::clone(&world.clock);
    let forged = Audit::new(Arc::clone(&world.store) as _, clock as _, Arc::new(Stranger));
    forged.used(None, &Who::Relay, "relay", "nothing happened").await.unwrap();
    assert_eq!(world.flaw().await, Flaw::Head(1));
}

#[tokio::test]
async fn a_front_that_was_pruned_leaves_an_anchor_and_the_rest_is_proved() {
    let world = World::with(6).await;
    let later = world.clock.now().after(Duration::from_secs(100));
    world.clock.set(later);
    world.audit.used(None, &Who::Relay, "relay", "young").await.unwrap();
    assert_eq!(world.audit.prune(later).await.unwrap(), 6);
    let proof = world.audit.prove(None).await.unwrap();
    assert_eq!((proof.pruned_through, proof.entries, proof.end.number), (6, 2, 8));
    assert_eq!(world.audit.prune(later).await.unwrap(), 0);
    // Once more: the older anchor and what tells of it go as well.
    let last = later.after(Duration::from_secs(100));
    world.clock.set(last);
    assert_eq!(world.audit.prune(last).await.unwrap(), 1);
    let proof = world.audit.prove(None).await.unwrap();
    assert_eq!((proof.pruned_through, proof.entries, proof.end.number), (7, 2, 9));
}

#[tokio::test]
async fn a_front_that_somebody_else_cut_off_is_found() {
    let world = World::with(6).await;
    let third = world.row(3).await;
    for mark in [[0; 32], Plain.mark(&marked(b"anchor", 3, &third.hash))] {
        let mut batch = Batch::new();
        (1..=3).for_each(|number| {
            batch.delete(key(number));
        });
        let anchor = Anchor { through: 3, hash: third.hash, mark };
        batch.put(ANCHOR, row::encode(FORMAT, &anchor));
        world.write(batch).await;
        assert_eq!(world.flaw().await, Flaw::Anchor(3));
    }
}

#[tokio::test]
async fn only_what_is_wanted_is_listed_youngest_first() {
    let world = World::with(2).await;
    world.clock.set(world.clock.now().after(Duration::from_secs(60)));
    let since = world.clock.now();
    let other = MailboxId::from_bytes([8; 16]);
    let administrator = Who::Administrator("claude\nrelay".to_owned());
    world.audit.used(Some(&other), &administrator, "control", "drill").await.unwrap();
    let numbers = async |wanted: Wanted| {
        let found = world.audit.last(&wanted, 10).await.unwrap();
        found.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    let all = Wanted::default();
    assert_eq!(numbers(all.clone()).await, [3, 2, 1]);
    assert_eq!(numbers(Wanted { mailbox: Some(BOX), ..all.clone() }).await, [2, 1]);
    assert_eq!(numbers(Wanted { since: Some(since), ..all.clone() }).await, [3]);
    assert_eq!(numbers(Wanted { door: Some("imap".to_owned()), ..all }).await, [2, 1]);
    // A name cannot begin a line of its own.
    assert_eq!(world.row(3).await.who, "administrator:claude relay");
}

#[tokio::test]
async fn an_exported_part_is_proved_without_the_store() {
    let world = World::with(7).await;
    let (file, end) = world.audit.export(1, 4).await.unwrap();
    assert_eq!(end, 4);
    let checked = check(&file, None).unwrap();
    assert_eq!((checked.after, checked.entries, checked.end.number), (0, 4, 4));
    let (rest, end) = world.audit.export(5, 100).await.unwrap();
    let checked = check(&rest, None).unwrap();
    assert_eq!((checked.after, checked.entries, end), (4, 3, 7));
    assert_eq!(
        check(&world.audit.export(8, 5).await.unwrap().0, None).unwrap_err(),
        ExportFlaw::Line(1)
    );
    assert_eq!(world.audit.export(1, 4).await.unwrap().0, file, "not the same octets again");
}

#[tokio::test]
async fn an_exported_file_that_was_changed_or_cut_anywhere_is_refused() {
    let world = World::with(4).await;
    let (file, _) = world.audit.export(1, 100).await.unwrap();
    let lines: Vec<&str> = file.lines().collect();
    let with = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(with(&lines), file);
    for gone in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(gone);
        assert!(check(&with(&less), None).is_err(), "without line {}", gone + 1);
        assert!(check(&with(&lines[..gone]), None).is_err(), "cut before line {}", gone + 1);
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(check(&with(&swapped), None).unwrap_err(), ExportFlaw::Chain(Flaw::Missing(2)));
    let changed = file.replacen("\"imap\"", "\"pop3\"", 1);
    assert_eq!(check(&changed, None).unwrap_err(), ExportFlaw::Chain(Flaw::Changed(1)));
    for at in (0..file.len()).step_by(7) {
        let mut octets = file.clone().into_bytes();
        octets[at] ^= 1;
        let Ok(altered) = String::from_utf8(octets) else { continue };
        assert!(check(&altered, None).is_err(), "octet {at}");
    }
}
