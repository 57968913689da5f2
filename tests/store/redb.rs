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

#[tokio::test]
async fn a_part_that_cannot_be_read_costs_only_what_lies_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.redb");
    let store = RedbStore::open(directory.path()).unwrap();
    for number in 0..400_u32 {
        let mut batch = Batch::new();
        batch.put(number.to_be_bytes(), vec![7; 20_000]);
        store.commit(batch).await.unwrap();
    }
    store.close();
    drop(store);
    // With hardly a cache, so that the file is asked again and again.
    let store = RedbStore::open_with_cache(directory.path(), 65_536).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let octets = file.metadata().unwrap().len();
    let mut partial = 0;
    for percent in (1..20).rev().map(|step| step * 5) {
        file.set_len(octets * percent / 100).unwrap();
        let (mut whole, mut damaged) = (0, 0);
        for number in (0..400_u32).step_by(7) {
            match store.get(&number.to_be_bytes()).await {
                Ok(Some(row)) => {
                    assert_eq!(row.value, vec![7; 20_000]);
                    whole += 1;
                }
                Err(StoreError::Damaged(_)) => damaged += 1,
                other => panic!("{other:?}"),
            }
        }
        partial += u32::from(whole > 0 && damaged > 0);
    }
    assert!(partial > 0, "either all or nothing could be read");
}

/// What redb can see it reports; a flipped octet inside a value is for the reader's own checks.
#[tokio::test]
async fn a_file_that_rots_never_ends_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path()).unwrap();
    for number in 0..300_u32 {
        let mut batch = Batch::new();
        batch.put(number.to_be_bytes(), vec![number as u8; 900]);
        drop(store.submit(batch));
    }
    store.close();
    drop(store);
    let path = directory.path().join("truth.redb");
    let whole = fs::read(&path).unwrap();
    for round in 0..40 {
        let mut rotten = whole.clone();
        // All over the file, its first pages more often: there lie the header and the roots.
        let at = if round % 2 == 0 { round * 223 % 9_000 } else { round * 7_919 % whole.len() };
        rotten[at..(at + 16).min(whole.len())].fill(0xa5);
        fs::write(&path, &rotten).unwrap();
        let Ok(store) = RedbStore::open(directory.path()) else {
            assert_eq!(fs::read(&path).unwrap().len(), whole.len(), "the file was touched");
            continue;
        };
        let _ = store.scan(vec![]..vec![0xff; 9], 1_000).await;
        for number in (0..300_u32).step_by(37) {
            let _ = store.get(&number.to_be_bytes()).await;
        }
        let mut batch = Batch::new();
        batch.put(b"after", vec![1; 3_000]);
        let _ = store.commit(batch).await;
        store.close();
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
