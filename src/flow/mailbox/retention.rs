//! Contents of expunged messages that a rule held, and whose time has come. Until then they are
//! invisible and weigh nothing; nobody but the master key's owner could read them anyhow.
use std::collections::BTreeMap;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::rows;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Page;
use crate::infra::store::StoreError;
use crate::infra::store::blobs::Released;

impl Mailboxes {
    /// Lets go of everything that was held for long enough; answers how many messages went. A
    /// commit releases a content and removes the row that referred to it, so neither a crash nor
    /// a second sweep at the same time releases one twice or forgets one.
    pub async fn collect_held(&self) -> Result<usize, MailboxError> {
        let now = self.shelf.clock.now();
        let due = rows::held_until(Timestamp::from_millis(now.as_millis().saturating_add(1)));
        let mut collected = 0;
        for _ in 0..limits::HELD_SWEEPS_MAX {
            let page = self.shelf.store.scan(due.clone(), limits::HELD_SWEPT_AT_ONCE).await?;
            if page.rows.is_empty() {
                break;
            }
            let (batch, released) = self.letting_go(&page).await?;
            match self.shelf.store.commit(batch).await {
                Ok(()) => {}
                // A content was copied or expunged elsewhere meanwhile: count it again.
                Err(CommitError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
            for each in released {
                self.shelf.blobs.sweep(each).await;
            }
            collected += page.rows.iter().filter(|(key, _)| rows::is_held_message(key)).count();
            tokio::task::yield_now().await;
        }
        Ok(collected)
    }

    pub(super) async fn letting_go(
        &self,
        page: &Page,
    ) -> Result<(Batch, Vec<Released>), MailboxError> {
        let mut batch = Batch::new();
        let mut references: BTreeMap<BlobId, u32> = BTreeMap::new();
        for (key, row) in &page.rows {
            if rows::is_held_message(key) {
                batch.require_at(key.to_vec(), row.version);
                match rows::glance(&row.value) {
                    Some(glance) => *references.entry(glance.blob()).or_default() += 1,
                    None => tracing::error!("a held row is damaged; its content stays"),
                }
            }
            batch.delete(key.to_vec());
        }
        let mut released = Vec::with_capacity(references.len());
        for (blob, count) in references {
            // In a batch of its own: it looks through what the batch has already.
            let mut one = Batch::new();
            match self.shelf.blobs.release(blob, count, &mut one).await {
                Ok(each) => {
                    released.push(each);
                    batch.extend(one);
                }
                Err(error @ (StoreError::Damaged(_) | StoreError::BlobMissing)) => {
                    tracing::error!(%blob, %error, "a held content was not released");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((batch, released))
    }
}
