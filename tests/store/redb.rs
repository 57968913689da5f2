//! What only the embedded engine can show: its file, its lock, its pace.
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::redb::RedbStore;

#[tokio::test]
async fn a_second_opening_of_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = RedbStore::open(directory.path()).unwrap();
    assert!(matches!(RedbStore::open(directory.path()), Err(StoreError::InUse(_))));
    first.close();
    drop(first);
    RedbStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn closing_finishes_what_was_submitted_and_takes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    let submitted: Vec<_> = (0..500_u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put(number.to_be_bytes(), vec![7; 1_000]);
            store.submit(batch)
        })
        .collect();
    store.close();
    for committing in submitted {
        committing.await.unwrap();
    }
    assert!(matches!(store.commit(Batch::new()).await, Err(CommitError::Closing)));
    assert!(store.get(b"x").await.is_err());
    drop(store);
    let store = RedbStore::open(directory.path()).unwrap();
    let page = store.scan(vec![0]..vec![255], 1_000).await.unwrap();
    assert_eq!(page.rows.len(), 500);
}

#[tokio::test]
async fn a_damaged_file_is_reported_with_advice_and_left_as_it_is() {
    for damage in [b"this is a letter, not a store".repeat(1_000), vec![0; 9_000], vec![0xff; 10]] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("truth.redb");
        fs::write(&path, &damage).unwrap();
        let error = RedbStore::open(directory.path()).err().expect("damage is noticed");
        assert!(matches!(&error, StoreError::Damaged(text) if text.contains("backup")), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damage);
    }
}

/// Not a proof, a guard against waste: figures are printed with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "measures")]
async fn many_writers_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedbStore::open(directory.path()).unwrap());
    let begin = std::time::Instant::now();
    let mut writers = Vec::new();
    for writer in 0..64_u32 {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            let mut commits = 0_u32;
            while begin.elapsed() < Duration::from_secs(2) {
                let mut batch = Batch::new();
                let key = [&writer.to_be_bytes()[..], &commits.to_be_bytes()].concat();
                batch.require_absent(key.clone()).put(key, vec![7_u8; 4_096]);
                store.commit(batch).await.unwrap();
                commits += 1;
            }
            commits
        }));
    }
    let mut commits = 0;
    for writer in writers {
        commits += writer.await.unwrap();
    }
    let rate = f64::from(commits) / begin.elapsed().as_secs_f64();
    let memory = fs::read_to_string("/proc/self/status").unwrap();
    let memory = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("64 writers of 4 KiB: {rate:.0} commits a second; {memory}");
    let begin = std::time::Instant::now();
    for _ in 0..20_000 {
        store.get(&[0, 0, 0, 1, 0, 0, 0, 1]).await.unwrap().unwrap();
    }
    println!("a get takes {:?}", begin.elapsed() / 20_000);
    assert!(commits > 64, "syncs are not shared: {rate:.0} commits a second");
}
