//! The embedded engine: redb, with group commit.
use std::ops::Range;
use std::path::Path;
use async_trait::async_trait;
use crate::infra::store::{Batch, Committing, Page, Store, StoreError, Versioned};

/// One redb file and the thread that commits to it.
pub struct RedbStore {}

impl RedbStore {
    /// Opens or creates `directory/truth.redb` and starts the committing thread.
    pub fn open(directory: &Path) -> Result<Self, StoreError> { let _ = directory; todo!() }
    /// Stops taking batches, waits for the submitted ones, closes the file.
    pub fn close(&self) { todo!() }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, _key: &[u8]) -> Result<Option<Versioned>, StoreError> { todo!() }
    async fn scan(&self, _range: Range<Vec<u8>>, _limit: usize) -> Result<Page, StoreError> { todo!() }
    async fn scan_back(&self, _range: Range<Vec<u8>>, _limit: usize) -> Result<Page, StoreError> { todo!() }
    fn submit(&self, _batch: Batch) -> Committing { todo!() }
}
