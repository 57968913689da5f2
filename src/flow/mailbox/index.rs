//! The search index of a mailbox: for each content a signature that tells most letters apart
//! from a searched text without opening them (`proto::imap::folded`).
//!
//! Contents never change, so signatures belong to contents, not to places: a copy or a move has
//! nothing to do here. They lie packed in *leaves*, sorted by the content's name, which begins
//! with the time when it came; each leaf is one sealed row. Nothing relies on the index: a
//! content without a signature, and one whose leaf is damaged, is opened and learnt again. It is
//! never written in the commit of a delivery. Searches write what they had to learn, and
//! [`keeper`] catches up when a mailbox has been quiet for a while.
mod keeper;
mod leaves;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FolderId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::messages;
use crate::infra::keys::MailboxKeys;
use crate::proto::imap::folded::Signature;
use crate::proto::imap::folded::SignatureKey;
use crate::proto::mime::summary;
use crate::proto::mime::summary::Summary;

pub(super) use keeper::News;
pub use keeper::Pace;

/// What all mailboxes share for their searches.
pub(super) struct Workshop {
    /// Searches that work at the same time. Each takes a turn for a small piece of work and
    /// queues again, so that a heavy one does not hold up a light one.
    turns: Arc<Semaphore>,
    pub(super) keeper: keeper::Keeper,
}

/// A content as it is stored, to be opened where time may be taken.
pub struct SealedLetter {
    ciphertext: Bytes,
    sealed_key: Bytes,
    keys: MailboxKeys,
}

/// The summaries of some messages as they are stored, to be opened where time may be taken.
pub struct SealedSummaries {
    sealed: Vec<Vec<u8>>,
    keys: MailboxKeys,
}

impl Default for Workshop {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Half of the machine: the other half goes on serving.
        let turns = Arc::new(Semaphore::new((cores / 2).max(1)));
        Self { turns, keeper: keeper::Keeper::default() }
    }
}

impl SealedLetter {
    /// The letter in clear.
    pub fn open(&self) -> Result<Arc<Secret<Vec<u8>>>, MailboxError> {
        let content_key = self.keys.unwrap(&self.sealed_key)?;
        Ok(self.keys.open(&content_key, &self.ciphertext)?)
    }
}

impl SealedSummaries {
    /// The summary of the message at this place; a safe one when it is damaged.
    pub fn open(&self, place: usize, entry: &Entry) -> Summary {
        let sealed = self.sealed.get(place).map(Vec::as_slice).unwrap_or_default();
        let clear = self.keys.open_index(&messages::summary_context(entry), sealed).ok();
        let summary = clear.and_then(|clear| summary::decode(clear.expose()));
        summary.unwrap_or_else(|| messages::safe_summary(entry))
    }
}

impl OpenMailbox {
    /// Does a piece of work on a thread where it holds up nobody, when it is its turn.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MailboxError> {
        let turns = Arc::clone(&self.shelf.index.turns);
        let turn = turns.acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "a piece of a search met a bug of ours");
            MailboxError::Temporary(Refusal::DependencyFailed)
        })
    }

    /// A content, still sealed. `MailboxError::Unreadable` concerns this message alone.
    pub async fn sealed_letter(&self, entry: &Entry) -> Result<SealedLetter, MailboxError> {
        self.sitting.opens_content(entry.blob).await?;
        let ciphertext = self.shelf.blobs.read(entry.blob).await?;
        let (sealed_key, keys) = (entry.sealed_key.clone(), self.slot.keys.clone());
        Ok(SealedLetter { ciphertext, sealed_key, keys })
    }

    /// The summaries of these messages (ascending), still sealed.
    pub async fn summaries_to_open(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<SealedSummaries, MailboxError> {
        self.sitting.lists().await?;
        let sealed = self.sealed_summaries(folder, entries).await?;
        Ok(SealedSummaries { sealed, keys: self.slot.keys.clone() })
    }

    /// The key of this mailbox's signatures.
    pub fn signature_key(&self) -> SignatureKey {
        SignatureKey::new(&self.slot.keys.digest(b"search index"))
    }

    /// The signatures of these contents, as far as there are any.
    pub async fn signatures(
        &self,
        contents: &[BlobId],
    ) -> Result<HashMap<BlobId, Signature>, MailboxError> {
        self.sitting.searches().await?;
        leaves::read(self, contents).await
    }

    /// Keeps what was learnt. Nothing is lost when it fails: it will be learnt again.
    pub async fn learn(&self, learnt: Vec<(BlobId, Signature)>) {
        if let Err(error) = leaves::write(self, learnt).await {
            tracing::debug!(%error, "a part of a search index was not written");
        }
    }
}
