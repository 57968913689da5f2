//! Sealed contents: immutable, durable before, or in, the commit that names them.
//!
//! One row per content counts its references; it holds the length and a checksum, too. A small
//! content lies behind that row in chunks and rides in the batch of its first owner. A larger
//! one is a file, synced with its directory before any row may name it. The content is
//! ciphertext: nothing here can read it.
//!
//! Counting is guarded by the version of the row, so of two batches that count at the same time
//! one meets a conflict, reads again and retries.
mod row;
mod shelf;

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;
use bytes::BytesMut;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::infra::store::Batch;
use crate::infra::store::Page;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::Version;
use crate::infra::store::Write;
use crate::infra::store::blobs::row::Place;
use crate::infra::store::blobs::row::Row;
use crate::infra::store::blobs::shelf::Shelf;
use crate::infra::store::prefix;

/// All keys of contents begin so.
const PREFIX: &[u8] = b"blob/";
/// First octet of a chunk's value: the version of its format.
const CHUNK_FORMAT: u8 = 1;

/// The shelf of sealed contents: small ones as rows of the store, larger ones as files.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn Store>,
    shelf: Arc<Shelf>,
    damaged: Arc<Damaged>,
}

/// Places of contents that were found damaged when somebody read them in stretches.
type Damaged = Mutex<BTreeSet<(BlobId, u64)>>;

/// A content that is durable already, or becomes so with the batch that [`StagedBlob::ride`]s.
#[must_use = "a staged blob is lost unless a batch names it"]
#[derive(Clone, Debug)]
pub struct StagedBlob {
    id: BlobId,
    row: Row,
    /// The content, when it rides in the batch.
    inline: Bytes,
}

impl Blobs {
    /// Uses `directory/blobs` for the large ones.
    pub async fn open(store: Arc<dyn Store>, directory: &Path) -> Result<Self, StoreError> {
        let shelf = Arc::new(Shelf::open(directory.join("blobs")).await?);
        Ok(Self { store, shelf, damaged: Arc::default() })
    }

    /// Takes a content in. A large one is on disk (fdatasync, directory synced) when this
    /// returns. Give each content a fresh id: nothing is ever overwritten.
    pub async fn stage(&self, id: BlobId, sealed: Bytes) -> Result<StagedBlob, StoreError> {
        let length = sealed.len() as u64;
        if sealed.len() <= limits::BLOB_INLINE_OCTETS_MAX {
            let chunks = sealed.len().div_ceil(limits::BLOB_CHUNK_OCTETS);
            let place = Place::Chunks(u8::try_from(chunks).expect("a few, by the limits"));
            let row = Row { references: 0, length, checksum: row::checksum(&sealed), place };
            return Ok(StagedBlob { id, row, inline: sealed });
        }
        let checksum = self.shelf.write(id, sealed).await?;
        let row = Row { references: 0, length, checksum, place: Place::File };
        Ok(StagedBlob { id, row, inline: Bytes::new() })
    }

    /// Gives up a staged content that no batch took, or whose batch failed. One that a row
    /// names stays.
    pub async fn discard(&self, staged: StagedBlob) {
        let file = (staged.row.place == Place::File).then_some(staged.id);
        self.sweep(Released { file }).await;
    }

    /// The whole content.
    pub async fn read(&self, id: BlobId) -> Result<Bytes, StoreError> {
        let (row, content) = self.read_sealed(id).await?;
        if row::checksum(&content) != row.checksum {
            return Err(damaged(id, "its checksum is not the one that was written"));
        }
        Ok(content)
    }

    /// The whole content, without comparing its checksum: for whoever opens it at once, and so
    /// checks its seal, which finds every damage that the checksum finds. The checksum would
    /// take a third of the time of opening.
    pub async fn read_to_open(&self, id: BlobId) -> Result<Bytes, StoreError> {
        self.read_sealed(id).await.map(|(_, content)| content)
    }

    /// The content in stretches, for whoever opens them at once and so checks their seals. A
    /// content that goes meanwhile can be read to its end all the same.
    pub async fn reader(&self, id: BlobId) -> Result<BlobReader, StoreError> {
        let page = self.store.scan(prefix(&key(id)), usize::from(u8::MAX) + 2).await?;
        let (row, _) = first_row(id, &page)?;
        let (source, length) = match row.place {
            Place::Chunks(count) => {
                let content = join_chunks(id, &page, count)?;
                let length = content.len() as u64;
                (Source::Octets(content), length)
            }
            Place::File => match self.shelf.open_file(id).await? {
                Some((file, length)) => (Source::File(Arc::clone(&self.shelf), file), length),
                None => return Err(self.without_file(id).await?),
            },
        };
        if length != row.length {
            return Err(damaged(id, "its length is not the one that was written"));
        }
        Ok(BlobReader { id, length, source, damaged: Arc::clone(&self.damaged) })
    }

    /// What it means that a file which a row named is not there.
    async fn without_file(&self, id: BlobId) -> Result<StoreError, StoreError> {
        Ok(match self.store.get(&key(id)).await? {
            // Released and swept since we read the row.
            None => StoreError::BlobMissing,
            Some(_) => damaged(id, "its file is gone"),
        })
    }

    async fn read_sealed(&self, id: BlobId) -> Result<(Row, Bytes), StoreError> {
        // One scan brings the row and all chunks, of one moment.
        let page = self.store.scan(prefix(&key(id)), usize::from(u8::MAX) + 2).await?;
        let (row, _) = first_row(id, &page)?;
        let content = match row.place {
            Place::Chunks(count) => join_chunks(id, &page, count)?,
            Place::File => match self.shelf.read(id, row.length).await? {
                Some(content) => content,
                None => return Err(self.without_file(id).await?),
            },
        };
        if content.len() as u64 != row.length {
            return Err(damaged(id, "its length is not the one that was written"));
        }
        Ok((row, content))
    }

    /// Adds `count` references in `batch`; the blob must have one already, in the store or by an
    /// earlier step of the same batch.
    pub async fn refer(&self, id: BlobId, count: u32, batch: &mut Batch) -> Result<(), StoreError> {
        let mut row = self.counted(id, batch).await?;
        row.references = row
            .references
            .checked_add(count)
            .ok_or_else(|| damaged(id, "more references than can be counted"))?;
        // A release earlier in this batch may have taken the rows away: they stay now.
        batch.writes.retain(
            |write| !matches!(write, Write::Delete(deleted) if deleted.starts_with(&key(id))),
        );
        batch.put(key(id), row.encode());
        Ok(())
    }

    /// Drops `count` references in `batch`; the last one takes the rows with it. Call
    /// [`Blobs::sweep`] after the commit to remove the file of a large one.
    pub async fn release(
        &self,
        id: BlobId,
        count: u32,
        batch: &mut Batch,
    ) -> Result<Released, StoreError> {
        let mut row = self.counted(id, batch).await?;
        row.references = row
            .references
            .checked_sub(count)
            .ok_or_else(|| damaged(id, "fewer references than are being dropped"))?;
        if row.references > 0 {
            batch.put(key(id), row.encode());
            return Ok(Released { file: None });
        }
        batch.delete(key(id));
        match row.place {
            Place::File => Ok(Released { file: Some(id) }),
            Place::Chunks(count) => {
                for index in 0..count {
                    batch.delete(chunk_key(id, index));
                }
                Ok(Released { file: None })
            }
        }
    }

    /// Removes what a committed release left behind. A file that a row still names stays, so
    /// nothing is lost when the release did not commit after all.
    pub async fn sweep(&self, released: Released) {
        let Some(id) = released.file else { return };
        match self.store.get(&key(id)).await {
            Ok(None) => self.shelf.remove(id).await,
            Ok(Some(_)) => {}
            // The next start collects it.
            Err(error) => tracing::warn!(blob = %id, %error, "a released content was not removed"),
        }
    }

    /// Removes files that no row names: what a crash left between file and commit. Only at
    /// start, before anything is staged. Returns how many went.
    pub async fn collect_orphans(&self) -> Result<usize, StoreError> {
        let mut collected = 0;
        for drawer in 0..=u8::MAX {
            for id in self.shelf.list(drawer).await? {
                if self.store.get(&key(id)).await?.is_none() {
                    self.shelf.remove(id).await;
                    collected += 1;
                }
            }
        }
        Ok(collected)
    }

    /// The row as the batch would find it, and the precondition that this is so.
    async fn counted(&self, id: BlobId, batch: &mut Batch) -> Result<Row, StoreError> {
        let key = key(id);
        let pending = batch.writes.iter().rev().find_map(|write| match write {
            Write::Put(put, value) if *put == key => Some(Some(value.clone())),
            Write::Delete(deleted) if *deleted == key => Some(None),
            _ => None,
        });
        if let Some(Some(value)) = pending {
            return Row::decode(&value).ok_or_else(|| damaged(id, "its row cannot be read"));
        }
        let Some(stored) = self.store.get(&key).await? else {
            return Err(StoreError::BlobMissing);
        };
        let mut row =
            Row::decode(&stored.value).ok_or_else(|| damaged(id, "its row cannot be read"))?;
        match pending {
            // This batch let the last reference go; the precondition is there already.
            Some(_) => row.references = 0,
            None => {
                batch.require_at(key, stored.version);
            }
        }
        Ok(row)
    }
}

/// An open content; see [`Blobs::reader`].
pub struct BlobReader {
    id: BlobId,
    length: u64,
    source: Source,
    damaged: Arc<Damaged>,
}

enum Source {
    Octets(Bytes),
    File(Arc<Shelf>, Arc<File>),
}

impl BlobReader {
    /// Its octets.
    pub fn octets(&self) -> u64 {
        self.length
    }

    /// Stretches of it, which must be within it. Their seals are not checked here.
    pub async fn read<const N: usize>(
        &self,
        stretches: [Range<u64>; N],
    ) -> Result<[Bytes; N], StoreError> {
        let found = match &self.source {
            Source::Octets(content) => {
                let mut found = [const { Bytes::new() }; N];
                let all = found.iter_mut().zip(stretches).try_for_each(|(place, stretch)| {
                    let start = usize::try_from(stretch.start).ok()?;
                    let end = usize::try_from(stretch.end).ok()?;
                    content.get(start..end)?;
                    *place = content.slice(start..end);
                    Some(())
                });
                all.map(|()| found)
            }
            Source::File(shelf, file) => shelf.read_stretches(Arc::clone(file), stretches).await?,
        };
        found.ok_or_else(|| damaged(self.id, "it ends before its length"))
    }

    /// Remembers, until the relay stops, that the content is damaged at a place, in whatever way
    /// its readers count places.
    pub fn note_damage(&self, place: u64) {
        let mut damaged = self.damaged();
        if damaged.len() >= limits::DAMAGED_PLACES_MAX {
            damaged.clear();
        }
        damaged.insert((self.id, place));
    }

    /// True when such a place is known there.
    pub fn is_damaged_within(&self, places: Range<u64>) -> bool {
        let places = (self.id, places.start)..(self.id, places.end);
        self.damaged().range(places).next().is_some()
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<(BlobId, u64)>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StagedBlob {
    /// Its name.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// True when a file holds it already.
    pub fn is_file(&self) -> bool {
        self.row.place == Place::File
    }

    /// Octets of content that ride in the batch.
    pub fn batch_octets(&self) -> usize {
        self.inline.len()
    }

    /// Adds the rows that make the blob exist with `references` (at least 1) to the batch.
    ///
    /// # Panics
    ///
    /// Without a reference nobody could ever release it.
    pub fn ride(&self, batch: &mut Batch, references: u32) {
        assert!(references > 0, "a content that nobody refers to");
        batch.require_absent(key(self.id));
        batch.put(key(self.id), Row { references, ..self.row }.encode());
        for (index, chunk) in (0..).zip(self.inline.chunks(limits::BLOB_CHUNK_OCTETS)) {
            let mut value = BytesMut::with_capacity(1 + chunk.len());
            value.extend_from_slice(&[CHUNK_FORMAT]);
            value.extend_from_slice(chunk);
            batch.put(chunk_key(self.id, index), value.freeze());
        }
    }
}

/// What a release leaves to sweep after its commit.
#[must_use = "sweep it after the commit"]
#[derive(Debug)]
pub struct Released {
    file: Option<BlobId>,
}

fn key(id: BlobId) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

fn chunk_key(id: BlobId, index: u8) -> Vec<u8> {
    [PREFIX, id.as_bytes(), &[index]].concat()
}

fn first_row(id: BlobId, page: &Page) -> Result<(Row, Version), StoreError> {
    let Some((first, versioned)) = page.rows.first() else {
        return Err(StoreError::BlobMissing);
    };
    if *first != key(id) {
        return Err(damaged(id, "chunks without a row"));
    }
    let row = Row::decode(&versioned.value).ok_or_else(|| damaged(id, "its row cannot be read"))?;
    Ok((row, versioned.version))
}

/// Chunks behind the first row, in order. One chunk is handed out as it lies there.
fn join_chunks(id: BlobId, page: &Page, count: u8) -> Result<Bytes, StoreError> {
    let mut chunks = Vec::with_capacity(usize::from(count));
    for (index, (stored_key, versioned)) in (0..count).zip(&page.rows[1..]) {
        if *stored_key != chunk_key(id, index) || versioned.value.first() != Some(&CHUNK_FORMAT) {
            return Err(damaged(id, "a chunk is missing"));
        }
        chunks.push(versioned.value.slice(1..));
    }
    if chunks.len() != usize::from(count) {
        return Err(damaged(id, "a chunk is missing"));
    }
    Ok(match chunks.as_slice() {
        [] => Bytes::new(),
        [only] => only.clone(),
        many => many.concat().into(),
    })
}

fn damaged(id: BlobId, reason: &str) -> StoreError {
    StoreError::Damaged(format!("content {id}: {reason}; it was kept for inspection"))
}

/// Ids of a directory listing, without doubles.
type Listing = BTreeSet<BlobId>;
