//! Sealed contents: as rows and as files.
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use vaguemestre::domain::envelope::BlobId;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::blobs::Blobs;
use vaguemestre::infra::store::redb::RedbStore;

const SIZES: [usize; 8] = [0, 1, 4_096, 61_440, 61_441, 131_072, 131_073, 3_000_000];

struct World {
    directory: TempDir,
    store: Arc<dyn Store>,
    blobs: Blobs,
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(directory.path()).unwrap());
    let blobs = Blobs::open(Arc::clone(&store), directory.path()).await.unwrap();
    World { directory, store, blobs }
}

fn id(number: u8) -> BlobId {
    BlobId::from_bytes([number; 16])
}

fn content(octets: usize) -> Bytes {
    (0..octets).map(|index| (index * 7 + index / 256) as u8).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory.join("blobs"))
        .unwrap()
        .flat_map(|drawer| fs::read_dir(drawer.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

async fn put(world: &World, id: BlobId, octets: usize, references: u32) {
    let staged = world.blobs.stage(id, content(octets)).await.unwrap();
    let mut batch = Batch::new();
    staged.ride(&mut batch, references);
    world.store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_content_of_any_size_comes_back_as_it_was() {
    let world = world().await;
    for (number, octets) in (0..).zip(SIZES) {
        put(&world, id(number), octets, 1).await;
        assert_eq!(world.blobs.read(id(number)).await.unwrap(), content(octets));
    }
    assert_eq!(files(world.directory.path()).len(), 2);
}

#[tokio::test]
async fn a_content_is_not_there_before_its_batch_commits() {
    let world = world().await;
    for octets in SIZES {
        let staged = world.blobs.stage(id(1), content(octets)).await.unwrap();
        assert!(matches!(world.blobs.read(id(1)).await, Err(StoreError::BlobMissing)));
        world.blobs.discard(staged).await;
    }
    assert_eq!(files(world.directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_last_owner_takes_the_content_away() {
    let world = world().await;
    for (number, octets) in (0..).zip(SIZES) {
        let id = id(number);
        put(&world, id, octets, 1).await;
        let mut batch = Batch::new();
        world.blobs.refer(id, 2, &mut batch).await.unwrap();
        world.store.commit(batch).await.unwrap();
        for left in (0..3).rev() {
            assert_eq!(world.blobs.read(id).await.unwrap().len(), octets);
            let mut batch = Batch::new();
            let released = world.blobs.release(id, 1, &mut batch).await.unwrap();
            world.store.commit(batch).await.unwrap();
            world.blobs.sweep(released).await;
            assert_eq!(world.blobs.read(id).await.is_ok(), left > 0);
        }
    }
    assert_eq!(files(world.directory.path()), Vec::<PathBuf>::new());
    let rows = world.store.scan(vec![0]..vec![255], 10).await.unwrap().rows;
    assert_eq!(rows, Vec::new());
}

#[tokio::test]
async fn a_content_may_change_hands_in_one_batch() {
    let world = world().await;
    for octets in [100, 200_000] {
        for release_first in [true, false] {
            let id = id(u8::from(release_first) + if octets > 100 { 2 } else { 0 });
            put(&world, id, octets, 1).await;
            let mut batch = Batch::new();
            if !release_first {
                world.blobs.refer(id, 1, &mut batch).await.unwrap();
            }
            let released = world.blobs.release(id, 1, &mut batch).await.unwrap();
            if release_first {
                world.blobs.refer(id, 1, &mut batch).await.unwrap();
            }
            world.store.commit(batch).await.unwrap();
            world.blobs.sweep(released).await;
            assert_eq!(world.blobs.read(id).await.unwrap(), content(octets));
            let mut batch = Batch::new();
            let released = world.blobs.release(id, 1, &mut batch).await.unwrap();
            world.store.commit(batch).await.unwrap();
            world.blobs.sweep(released).await;
            assert!(matches!(world.blobs.read(id).await, Err(StoreError::BlobMissing)));
        }
    }
}

#[tokio::test]
async fn two_who_count_at_the_same_time_do_not_lose_a_reference() {
    let world = world().await;
    put(&world, id(1), 10, 1).await;
    let (mut first, mut second) = (Batch::new(), Batch::new());
    world.blobs.refer(id(1), 1, &mut first).await.unwrap();
    let released = world.blobs.release(id(1), 1, &mut second).await.unwrap();
    world.store.commit(first).await.unwrap();
    assert!(matches!(world.store.commit(second).await, Err(CommitError::Conflict)));
    world.blobs.sweep(released).await;
    assert_eq!(world.blobs.read(id(1)).await.unwrap(), content(10));
}

#[tokio::test]
async fn dropping_more_references_than_there_are_is_refused() {
    let world = world().await;
    put(&world, id(1), 10, 2).await;
    let outcome = world.blobs.release(id(1), 3, &mut Batch::new()).await;
    assert!(matches!(outcome, Err(StoreError::Damaged(_))));
    let outcome = world.blobs.refer(id(2), 1, &mut Batch::new()).await;
    assert!(matches!(outcome, Err(StoreError::BlobMissing)));
}

#[tokio::test]
async fn a_sweep_whose_release_did_not_commit_keeps_the_file() {
    let world = world().await;
    put(&world, id(1), 200_000, 1).await;
    let released = world.blobs.release(id(1), 1, &mut Batch::new()).await.unwrap();
    world.blobs.sweep(released).await;
    assert_eq!(world.blobs.read(id(1)).await.unwrap(), content(200_000));
}

#[tokio::test]
async fn only_files_that_no_row_names_are_collected_at_start() {
    let world = world().await;
    put(&world, id(1), 200_000, 1).await;
    let _lost = world.blobs.stage(id(2), content(200_000)).await.unwrap();
    let foreign = world.directory.path().join("blobs/07/a note of the administrator");
    fs::write(&foreign, "do not delete").unwrap();
    let blobs = Blobs::open(Arc::clone(&world.store), world.directory.path()).await.unwrap();
    assert_eq!(blobs.collect_orphans().await.unwrap(), 1);
    assert_eq!(blobs.read(id(1)).await.unwrap(), content(200_000));
    assert!(foreign.exists());
    assert_eq!(files(world.directory.path()).len(), 2);
}

#[tokio::test]
async fn nothing_is_overwritten_by_a_second_content_of_the_same_name() {
    let world = world().await;
    for octets in [100, 200_000] {
        let id = id(u8::from(octets > 100));
        put(&world, id, octets, 1).await;
        if let Ok(staged) = world.blobs.stage(id, content(octets + 1)).await {
            let mut batch = Batch::new();
            staged.ride(&mut batch, 1);
            assert!(matches!(world.store.commit(batch).await, Err(CommitError::Conflict)));
        }
        assert_eq!(world.blobs.read(id).await.unwrap(), content(octets));
    }
}

#[tokio::test]
async fn damage_is_noticed_and_the_damaged_file_is_kept() {
    let world = world().await;
    put(&world, id(1), 200_000, 1).await;
    let file = files(world.directory.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[77_777] ^= 1;
    for bad in [&flipped[..], &whole[..199_999], &[&whole[..], b"x"].concat(), b""] {
        fs::write(&file, bad).unwrap();
        assert!(matches!(world.blobs.read(id(1)).await, Err(StoreError::Damaged(_))));
        assert_eq!(fs::read(&file).unwrap(), bad);
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(world.blobs.read(id(1)).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn damage_of_rows_is_noticed() {
    let world = world().await;
    put(&world, id(1), 100_000, 1).await;
    let rows = world.store.scan(vec![0]..vec![255], 10).await.unwrap().rows;
    assert_eq!(rows.len(), 3, "a row and two chunks");
    for (key, row) in &rows {
        let mut flipped = row.value.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        for damage in [None, Some(flipped), Some(row.value[..row.value.len() - 1].to_vec())] {
            let mut batch = Batch::new();
            match damage {
                Some(value) => batch.put(key.to_vec(), value),
                None => batch.delete(key.to_vec()),
            };
            world.store.commit(batch).await.unwrap();
            assert!(matches!(world.blobs.read(id(1)).await, Err(StoreError::Damaged(_))));
            let mut batch = Batch::new();
            batch.put(key.to_vec(), row.value.clone());
            world.store.commit(batch).await.unwrap();
        }
    }
    assert_eq!(world.blobs.read(id(1)).await.unwrap(), content(100_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_contents_at_once_are_all_there() {
    let world = world().await;
    let mut writers = Vec::new();
    for number in 0..100 {
        let (store, blobs) = (Arc::clone(&world.store), world.blobs.clone());
        writers.push(tokio::spawn(async move {
            let octets = 140_000 + usize::from(number);
            let mut octets_of_id = [1; 16];
            octets_of_id[15] = number;
            let id = BlobId::from_bytes(octets_of_id);
            let staged = blobs.stage(id, content(octets)).await.unwrap();
            let mut batch = Batch::new();
            staged.ride(&mut batch, 1);
            store.commit(batch).await.unwrap();
            assert_eq!(blobs.read(id).await.unwrap(), content(octets));
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}
