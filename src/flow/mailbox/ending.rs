//! The end of a mailbox: its head becomes one that nobody can build on, then its rows go.
//!
//! Every change of a mailbox meets the head at its version, so from the commit that writes the
//! last head on, no letter, no mark and no folder comes into being, whoever still has it open.
//! What lies under it is removed afterwards, in pieces; a kill in between costs nothing, for each
//! piece lets go of exactly the contents whose rows it removes.
use std::collections::BTreeMap;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::status::Refusal;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::readers::reverse_key;
use crate::flow::mailbox::rows;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Page;
use crate::infra::store::StoreError;
use crate::infra::store::blobs::Released;

impl Mailboxes {
    /// Ends a mailbox in one commit with `also`. A conflict says that a letter came meanwhile, or
    /// that what `also` requires holds no longer: build it again.
    pub async fn end(&self, id: &MailboxId, mut also: Batch) -> Result<(), CommitError> {
        let key = rows::head_key(id);
        let head = self.shelf.store.get(&key).await;
        match head.map_err(|error| CommitError::Engine(error.to_string()))? {
            None => also.require_absent(key.clone()),
            Some(row) => also.require_at(key.clone(), row.version),
        };
        also.put(key, rows::LAST_HEAD.to_vec());
        self.shelf.store.commit(also).await?;
        self.shelf.lock().remove(id);
        Ok(())
    }

    /// Removes what an ended mailbox left; answers how many rows went. Needs no key, so it works
    /// after those are destroyed. Zero means that nothing is left but the last head.
    pub async fn clear_away(&self, id: &MailboxId) -> Result<usize, MailboxError> {
        let mut gone = self.clear_messages(id).await?;
        gone += self.clear_held(id).await?;
        gone += self.clear_names(id).await?;
        let all = store::prefix(&rows::mailbox_prefix(id));
        loop {
            let page = self.shelf.store.scan(all.clone(), limits::SCAN_ROWS_MAX.min(500)).await?;
            let mut batch = Batch::new();
            for (key, _) in &page.rows {
                // A letter that was on its way in counts its content: not by this road.
                if **key != rows::head_key(id) && !key.starts_with(&rows::messages_prefix(id)) {
                    batch.delete(key.to_vec());
                }
            }
            let count = batch.writes.len();
            if count == 0 {
                return Ok(gone);
            }
            self.shelf.store.commit(batch).await?;
            gone += count;
            tokio::task::yield_now().await;
        }
    }

    async fn clear_messages(&self, id: &MailboxId) -> Result<usize, MailboxError> {
        let messages = store::prefix(&rows::messages_prefix(id));
        let mut gone = 0;
        loop {
            let most = limits::HELD_SWEPT_AT_ONCE;
            let page = self.shelf.store.scan(messages.clone(), most).await?;
            if page.rows.is_empty() {
                return Ok(gone);
            }
            gone += self.part_from(&page).await?;
            tokio::task::yield_now().await;
        }
    }

    /// Expunged messages that a rule holds lie by their due time, those of all mailboxes together.
    async fn clear_held(&self, id: &MailboxId) -> Result<usize, MailboxError> {
        let mut range = rows::all_held();
        let mut gone = 0;
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            let last = page.rows.last().map(|(key, _)| key.to_vec());
            let is_more = page.more;
            let of_it = |(key, _): &(bytes::Bytes, _)| rows::held_mailbox(key) == Some(*id);
            let mut of_it: Vec<_> = page.rows.into_iter().filter(of_it).collect();
            while !of_it.is_empty() {
                let rest = of_it.split_off(of_it.len().min(limits::HELD_SWEPT_AT_ONCE));
                match self.part_from(&Page { rows: of_it, more: false }).await? {
                    0 => return Err(MailboxError::Temporary(Refusal::Busy)),
                    some => gone += some,
                }
                of_it = rest;
            }
            match last {
                Some(last) if is_more => range.start = [last.as_slice(), &[0]].concat(),
                _ => return Ok(gone),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Under whose name it was found.
    async fn clear_names(&self, id: &MailboxId) -> Result<usize, MailboxError> {
        let Some(row) = self.shelf.store.get(&rows::acl_names_key(id)).await? else { return Ok(0) };
        let readers: Vec<[u8; 32]> = rows::decode(&row.value).unwrap_or_default();
        let mut batch = Batch::new();
        for reader in &readers {
            batch.delete(reverse_key(reader, id));
        }
        batch.delete(rows::acl_names_key(id));
        self.shelf.store.commit(batch).await?;
        Ok(readers.len() + 1)
    }

    /// Removes message rows with their references. A conflict means that a content was counted
    /// elsewhere meanwhile: the caller's next round reads again.
    async fn part_from(&self, page: &Page) -> Result<usize, MailboxError> {
        let mut batch = Batch::new();
        let mut references: BTreeMap<BlobId, u32> = BTreeMap::new();
        for (key, row) in &page.rows {
            if rows::is_message(key) || rows::is_held_message(key) {
                batch.require_at(key.to_vec(), row.version);
                match rows::glance(&row.value) {
                    Some(glance) => *references.entry(glance.blob()).or_default() += 1,
                    None => tracing::error!("a message row is damaged; its content stays sealed"),
                }
            }
            batch.delete(key.to_vec());
        }
        let mut released: Vec<Released> = Vec::with_capacity(references.len());
        for (blob, count) in references {
            // In a batch of its own: it looks through what the batch has already.
            let mut one = Batch::new();
            match self.shelf.blobs.release(blob, count, &mut one).await {
                Ok(each) => {
                    released.push(each);
                    batch.extend(one);
                }
                Err(error @ (StoreError::Damaged(_) | StoreError::BlobMissing)) => {
                    tracing::error!(%blob, %error, "a content was not released");
                }
                Err(error) => return Err(error.into()),
            }
        }
        match self.shelf.store.commit(batch).await {
            Ok(()) => {}
            Err(CommitError::Conflict) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        for each in released {
            self.shelf.blobs.sweep(each).await;
        }
        Ok(page.rows.len())
    }

    /// Keyed hashes of the addresses to which a mailbox grants something: whoever reads it.
    pub async fn granted_to(&self, id: &MailboxId) -> Result<Vec<[u8; 32]>, MailboxError> {
        let row = self.shelf.store.get(&rows::acl_names_key(id)).await?;
        Ok(row.and_then(|row| rows::decode(&row.value)).unwrap_or_default())
    }
}
