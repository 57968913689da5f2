//! Messages that go: their rows at once, their contents with the last reference, or when the
//! retention rule lets them go.
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::rights::Right;
use crate::domain::status::Refusal;
use crate::flow::mailbox::ATTEMPTS_MAX;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::index::News;
use crate::flow::mailbox::messages::MESSAGES_AT_ONCE;
use crate::flow::mailbox::messages::references;
use crate::flow::mailbox::messages::sorted;
use crate::flow::mailbox::rows;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::StoreError;
use crate::infra::store::blobs::Released;

/// Messages that one commit takes away and holds: at their longest, their summaries are ten
/// megabytes.
const HELD_AT_ONCE: usize = 40;

impl OpenMailbox {
    /// Removes messages marked `\Deleted`, of these UIDs or of all; answers the UIDs removed,
    /// ascending.
    pub async fn expunge(
        &self,
        folder: FolderId,
        uids: Option<&[Uid]>,
    ) -> Result<Vec<Uid>, MailboxError> {
        self.must_have(folder, Right::Expunge).await?;
        let _gate = self.slot.gate.lock().await;
        let candidates = match uids {
            Some(uids) => sorted(uids),
            None => self.plain_contents(folder).await?.deleted.iter().map(Uid).collect(),
        };
        let mut gone = Vec::new();
        for some in candidates.chunks(MESSAGES_AT_ONCE) {
            let mut doomed = self.present(folder, some).await?;
            doomed.retain(|entry| entry.flags.deleted);
            self.remove(folder, &doomed).await?;
            gone.extend(doomed.iter().map(|entry| entry.uid));
        }
        Ok(gone)
    }

    /// Removes all messages of a folder.
    pub(in crate::flow::mailbox) async fn remove_all(
        &self,
        folder: FolderId,
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        loop {
            let doomed = self.plain_entries(folder, 1..=u32::MAX, MESSAGES_AT_ONCE).await?;
            if doomed.is_empty() {
                return Ok(());
            }
            self.remove(folder, &doomed).await?;
        }
    }

    /// Removes messages, durably, with their contents where nobody else refers to them.
    async fn remove(&self, folder: FolderId, doomed: &[Entry]) -> Result<(), MailboxError> {
        let is_held = !self.shelf.rules.retention.is_zero();
        for some in doomed.chunks(if is_held { HELD_AT_ONCE } else { MESSAGES_AT_ONCE }) {
            self.remove_some(folder, some).await?;
            self.shelf.index.keeper.noticed(&self.slot, self.shelf.clock.now(), News::Changed);
        }
        Ok(())
    }

    async fn remove_some(&self, folder: FolderId, doomed: &[Entry]) -> Result<(), MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            let Parting { rows, released } = self.part_with(folder, doomed).await?;
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(rows);
                    self.take_away(folder, doomed, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(result) => {
                    result?;
                    for each in released {
                        self.shelf.blobs.sweep(each).await;
                    }
                    return Ok(());
                }
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    /// What must be written with the end of these messages' rows.
    pub(in crate::flow::mailbox) async fn part_with(
        &self,
        folder: FolderId,
        doomed: &[Entry],
    ) -> Result<Parting, MailboxError> {
        match self.shelf.rules.retention.is_zero() {
            true => self.release(doomed).await,
            false => self.hold(folder, doomed).await,
        }
    }

    pub(in crate::flow::mailbox) async fn release(
        &self,
        doomed: &[Entry],
    ) -> Result<Parting, MailboxError> {
        let mut parting = Parting::default();
        for (blob, count) in references(doomed) {
            // In a batch of its own: it looks through what the batch has already.
            let mut one = Batch::new();
            match self.shelf.blobs.release(blob, count, &mut one).await {
                Ok(each) => {
                    parting.released.push(each);
                    parting.rows.extend(one);
                }
                // Otherwise it could never be removed. What is left of the content lies there
                // without a message.
                Err(error @ (StoreError::Damaged(_) | StoreError::BlobMissing)) => {
                    tracing::error!(%blob, %error, "a content was not released");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(parting)
    }

    /// The message's row and summary move to where nobody sees them, until they are due. Their
    /// reference to the content moves with them.
    async fn hold(&self, folder: FolderId, doomed: &[Entry]) -> Result<Parting, MailboxError> {
        let due = self.shelf.clock.now().after(self.shelf.rules.retention);
        let mut parting = Parting::default();
        let summaries = self.sealed_summaries(folder, doomed).await?;
        for (entry, summary) in doomed.iter().zip(summaries) {
            // Of a damaged row nothing can be held.
            if entry.blob == rows::NO_CONTENT {
                continue;
            }
            let key = |chunk| rows::held_key(due, &self.slot.id, folder, entry.uid, chunk);
            parting.rows.put(key(0), rows::encode_message(&self.slot.keys, entry));
            for (chunk, octets) in (1..).zip(summary.chunks(rows::SUMMARY_CHUNK_OCTETS)) {
                parting.rows.put(key(chunk), octets.to_vec());
            }
        }
        Ok(parting)
    }
}

/// See [`OpenMailbox::part_with`].
#[derive(Default)]
pub(in crate::flow::mailbox) struct Parting {
    pub(in crate::flow::mailbox) rows: Batch,
    /// To sweep after the commit.
    pub(in crate::flow::mailbox) released: Vec<Released>,
}
