//! What the simulated disk does when it is broken on purpose.
use std::sync::Arc;

use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Committing;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::Version;
use vaguemestre::infra::store::simulated::SimulatedStore;

/// The next of a row of dependent batches: three rows and a counter.
fn numbered(number: u64) -> Batch {
    let mut batch = Batch::new();
    match number {
        0 => batch.require_absent(b"counter"),
        _ => batch.require_at(b"counter", Version(number)),
    };
    batch.put(b"counter", number.to_be_bytes().to_vec());
    for row in 0..3_u8 {
        batch.put([&number.to_be_bytes()[..], &[row]].concat(), vec![row; 300]);
    }
    batch
}

async fn rows(store: &SimulatedStore) -> usize {
    store.scan(vec![]..vec![0xff], 100_000).await.unwrap().rows.len()
}

#[tokio::test]
async fn a_crash_keeps_what_was_answered_and_whole_batches_only() {
    let mut survivors = 0;
    for seed in 0..300 {
        let store = SimulatedStore::new(seed);
        let mut submitted: Vec<Committing> = Vec::new();
        for number in 0..seed % 7 {
            submitted.push(store.submit(numbered(number)));
        }
        store.hold();
        for number in seed % 7..20 {
            submitted.push(store.submit(numbered(number)));
        }
        for _ in 0..seed % 3 {
            store.step();
        }
        store.crash();
        assert!(store.get(b"counter").await.is_err());
        let mut answered = 0;
        for committing in submitted {
            match committing.await {
                Ok(()) => answered += 1,
                Err(CommitError::Closing) => {}
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        let store = store.reopen();
        let counter = store.get(b"counter").await.unwrap().map_or(0, |row| row.version.0);
        assert!(counter >= answered, "seed {seed}: {answered} answered, {counter} there");
        let expected = counter * 3 + u64::from(counter > 0);
        assert_eq!(rows(&store).await as u64, expected, "seed {seed}: half a batch");
        survivors += counter - answered;
        // It goes on where it stood.
        store.commit(numbered(counter)).await.unwrap();
    }
    assert!(survivors > 0, "no unanswered batch ever survived: the model is too kind");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_crash() {
    let outcome = |seed| async move {
        let store = SimulatedStore::new(seed);
        store.hold();
        for number in 0..20 {
            drop(store.submit(numbered(number)));
        }
        rows(&store.reopen()).await
    };
    for seed in 0..20 {
        assert_eq!(outcome(seed).await, outcome(seed).await);
    }
}

#[tokio::test]
async fn a_failed_sync_refuses_its_group_and_keeps_nothing() {
    let store = SimulatedStore::new(1);
    store.commit(numbered(0)).await.unwrap();
    store.fail_next_sync();
    assert!(matches!(store.commit(numbered(1)).await, Err(CommitError::Engine(_))));
    assert_eq!(rows(&store).await, 4);
    store.commit(numbered(1)).await.unwrap();
    assert_eq!(rows(&store.reopen()).await, 7);
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let store = SimulatedStore::new(1);
    store.commit(numbered(0)).await.unwrap();
    store.set_full(true);
    for _ in 0..3 {
        assert!(matches!(store.commit(numbered(1)).await, Err(CommitError::Full)));
        assert_eq!(store.get(b"counter").await.unwrap().unwrap().version, Version(1));
    }
    store.set_full(false);
    store.commit(numbered(1)).await.unwrap();
    assert_eq!(rows(&store.reopen()).await, 7);
}

#[tokio::test]
async fn a_held_batch_is_not_visible_and_not_answered() {
    let store = Arc::new(SimulatedStore::new(1));
    store.hold();
    let committing = store.submit(numbered(0));
    assert_eq!(rows(&store).await, 0);
    store.release();
    committing.await.unwrap();
    assert_eq!(rows(&store).await, 4);
}

#[tokio::test]
async fn what_worked_before_the_crash_cannot_touch_what_came_after() {
    let store = SimulatedStore::new(1);
    let reopened = store.reopen();
    assert!(matches!(store.commit(numbered(0)).await, Err(CommitError::Closing)));
    assert_eq!(rows(&reopened).await, 0);
}
