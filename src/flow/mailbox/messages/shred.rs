//! Messages that go for good, wherever they lie and whatever rule would hold them.
use std::collections::BTreeMap;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::mailbox::ATTEMPTS_MAX;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::index::News;
use crate::flow::mailbox::rows;
use crate::infra::store;
use crate::infra::store::CommitError;
use crate::infra::store::Page;

impl OpenMailbox {
    /// Removes every message with this content from every folder, with its wrapped key; answers
    /// where they were. Nothing is held, and no right is asked for: the flow has decided.
    pub async fn shred(&self, blob: BlobId) -> Result<Vec<(FolderId, Uid)>, MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut places: BTreeMap<FolderId, Vec<Entry>> = BTreeMap::new();
        let mut range = store::prefix(&rows::messages_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some((folder, uid)) = rows::place_of(key) else { continue };
                if rows::glance(&row.value).is_some_and(|glance| glance.blob() == blob) {
                    let entry = rows::decode_message(&self.slot.keys, folder, uid, &row.value);
                    places.entry(folder).or_default().push(entry);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        let mut gone = Vec::new();
        for (folder, doomed) in places {
            self.shred_some(folder, &doomed).await?;
            gone.extend(doomed.iter().map(|entry| (folder, entry.uid)));
            self.shelf.index.keeper.noticed(&self.slot, self.shelf.clock.now(), News::Changed);
        }
        Ok(gone)
    }

    /// Expunged messages of this mailbox that a rule holds: no folder shows them any more.
    pub async fn held(&self) -> Result<Vec<Entry>, MailboxError> {
        let mut held = Vec::new();
        let mut range = rows::all_held();
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let is_its = rows::held_mailbox(key) == Some(self.slot.id);
                // The folder and the UID stand before the last octet, as at the end of a message's.
                let place = key.get(..key.len().saturating_sub(1)).and_then(rows::place_of);
                let Some((folder, uid)) = place.filter(|_| is_its && rows::is_held_message(key))
                else {
                    continue;
                };
                held.push(rows::decode_message(&self.slot.keys, folder, uid, &row.value));
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(held),
            }
        }
    }

    async fn shred_some(&self, folder: FolderId, doomed: &[Entry]) -> Result<(), MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            let parting = self.release(doomed).await?;
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(parting.rows);
                    self.take_away(folder, doomed, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(result) => {
                    result?;
                    for each in parting.released {
                        self.shelf.blobs.shred(each).await;
                    }
                    return Ok(());
                }
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }
}

impl Mailboxes {
    /// Removes expunged messages with this content that a rule holds; answers how many there were.
    pub async fn shred_held(&self, blob: BlobId) -> Result<usize, MailboxError> {
        let mut gone = 0;
        let mut range = rows::all_held();
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let is_it = rows::is_held_message(key)
                    && rows::glance(&row.value).is_some_and(|glance| glance.blob() == blob);
                if is_it {
                    self.shred_one_held(key).await?;
                    gone += 1;
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(gone),
            }
        }
    }

    async fn shred_one_held(&self, key: &[u8]) -> Result<(), MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            // The message's row, and behind it its summary.
            let whole = key.get(..key.len().saturating_sub(1)).unwrap_or_default();
            let found =
                self.shelf.store.scan(store::prefix(whole), usize::from(u8::MAX) + 1).await?;
            if found.rows.is_empty() {
                return Ok(());
            }
            let (batch, released) =
                self.letting_go(&Page { rows: found.rows, more: false }).await?;
            match self.shelf.store.commit(batch).await {
                Ok(()) => {
                    for each in released {
                        self.shelf.blobs.shred(each).await;
                    }
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }
}
