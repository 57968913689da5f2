//! Sealed contents: immutable, durable before, or in, the commit that names them.
use std::path::Path;
use std::sync::Arc;
use bytes::Bytes;
use crate::domain::envelope::BlobId;
use crate::infra::store::{Batch, Store, StoreError};

/// The shelf of sealed contents: small ones as rows of the store, larger ones as files.
#[derive(Clone)]
pub struct Blobs { _store: Arc<dyn Store> }

/// A content that is durable already, or becomes so with the batch that [`StagedBlob::ride`]s.
#[must_use = "a staged blob is lost unless a batch names it"]
pub struct StagedBlob {}

impl Blobs {
    /// Uses `directory/blobs` for the large ones.
    pub async fn open(store: Arc<dyn Store>, directory: &Path) -> Result<Self, StoreError> { let _ = directory; Ok(Self { _store: store }) }
    /// Takes a content in. A large one is on disk (fdatasync, directory synced) when this returns.
    pub async fn stage(&self, id: BlobId, sealed: Bytes) -> Result<StagedBlob, StoreError> { let _ = (id, sealed); todo!() }
    /// The whole content.
    pub async fn read(&self, id: BlobId) -> Result<Bytes, StoreError> { let _ = id; todo!() }
    /// Adds `count` references in `batch`; the blob must have one already.
    pub async fn refer(&self, id: BlobId, count: u32, batch: &mut Batch) -> Result<(), StoreError> { let _ = (id, count, batch); todo!() }
    /// Drops `count` references in `batch`; the last one takes the rows with it. Call
    /// [`Blobs::sweep`] after the commit to remove the file of a large one.
    pub async fn release(&self, id: BlobId, count: u32, batch: &mut Batch) -> Result<Released, StoreError> { let _ = (id, count, batch); todo!() }
    /// Removes what a committed release left behind.
    pub async fn sweep(&self, released: Released) { let _ = released; todo!() }
    /// Removes files that no row names: what a crash left between file and commit. Only at start.
    pub async fn collect_orphans(&self) -> Result<usize, StoreError> { todo!() }
}

impl StagedBlob {
    /// Its name.
    pub fn id(&self) -> BlobId { todo!() }
    /// Adds the rows that make the blob exist with `references` (at least 1) to the batch.
    pub fn ride(&self, batch: &mut Batch, references: u32) { let _ = (batch, references); todo!() }
}

/// What a release leaves to sweep after its commit.
#[must_use = "sweep it after the commit"]
pub struct Released {}
