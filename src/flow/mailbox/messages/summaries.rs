//! Summaries: one scan for many, and symmetric work only.
use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::infra::store;
use crate::proto::mime::forms::HeaderForms;
use crate::proto::mime::summary;
use crate::proto::mime::summary::EnvelopeFields;
use crate::proto::mime::summary::Part;
use crate::proto::mime::summary::Summary;

/// Summaries of one scan: at their longest they are sixteen megabytes.
const SUMMARIES_AT_ONCE: usize = 64;

impl OpenMailbox {
    /// The message's summary (envelope, structure), opened from the sealed index. A message
    /// whose summary is damaged gets a safe one: never an error for the listing.
    pub async fn summary(
        &self,
        folder: FolderId,
        entry: &Entry,
    ) -> Result<Arc<Summary>, MailboxError> {
        self.sitting.lists().await?;
        let sealed = self.sealed_summary(folder, entry.uid).await?;
        Ok(Arc::new(self.open_summary(entry, &sealed)))
    }

    /// [`OpenMailbox::summary`] of many messages (ascending, of one folder), in their order. Their
    /// memory is the caller's: ask by pages.
    pub async fn summaries(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<Vec<Arc<Summary>>, MailboxError> {
        self.sitting.lists().await?;
        let mut summaries = Vec::with_capacity(entries.len());
        for some in entries.chunks(SUMMARIES_AT_ONCE) {
            let sealed = self.sealed_summaries(folder, some).await?;
            let open =
                |(entry, sealed): (&Entry, Vec<u8>)| Arc::new(self.open_summary(entry, &sealed));
            summaries.extend(some.iter().zip(sealed).map(open));
            // A long listing leaves the thread to others now and then.
            tokio::task::yield_now().await;
        }
        Ok(summaries)
    }

    fn open_summary(&self, entry: &Entry, sealed: &[u8]) -> Summary {
        let opened = self.slot.keys.open_index(&summary_context(entry), sealed).ok();
        let summary = opened.and_then(|clear| summary::decode(clear.expose()));
        summary.unwrap_or_else(|| safe_summary(entry))
    }

    /// As they are stored, in the order of the entries (ascending); empty where there is none.
    pub(in crate::flow::mailbox) async fn sealed_summaries(
        &self,
        folder: FolderId,
        entries: &[Entry],
    ) -> Result<Vec<Vec<u8>>, MailboxError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(Vec::new());
        };
        let span = last.uid.0.saturating_sub(first.uid.0) as usize;
        if span > entries.len().saturating_mul(4) {
            let mut sealed = Vec::with_capacity(entries.len());
            for entry in entries {
                sealed.push(self.sealed_summary(folder, entry.uid).await?);
            }
            return Ok(sealed);
        }
        let places: HashMap<Uid, usize> =
            entries.iter().enumerate().map(|(place, entry)| (entry.uid, place)).collect();
        let mut sealed = vec![Vec::new(); entries.len()];
        let mut range = rows::summary_range(&self.slot.id, folder, first.uid.0, last.uid.0);
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let place = rows::summary_uid(key).and_then(|uid| places.get(&uid));
                if let Some(&place) = place {
                    sealed[place].extend_from_slice(&row.value);
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(sealed),
            }
        }
    }

    async fn sealed_summary(&self, folder: FolderId, uid: Uid) -> Result<Vec<u8>, MailboxError> {
        let range = store::prefix(&rows::summary_prefix(&self.slot.id, folder, uid));
        let page = self.shelf.store.scan(range, usize::from(u8::MAX)).await?;
        Ok(page.rows.iter().flat_map(|(_, row)| row.value.iter().copied()).collect())
    }
}

/// A sealed summary is bound to its content, not to its place, so that copies keep it.
pub(in crate::flow::mailbox) fn summary_context(entry: &Entry) -> Vec<u8> {
    [b"summary/".as_slice(), entry.blob.as_bytes()].concat()
}

/// What a listing shows of a message whose summary cannot be read.
pub(in crate::flow::mailbox) fn safe_summary(entry: &Entry) -> Summary {
    Summary {
        envelope: EnvelopeFields::default(),
        structure: Part {
            kind: "application".to_owned(),
            subtype: "octet-stream".to_owned(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: "8bit".to_owned(),
            disposition: None,
            language: Vec::new(),
            location: None,
            md5: None,
            header_start: 0,
            body_start: 0,
            body_end: entry.size,
            lines: 0,
            children: Vec::new(),
            message: None,
        },
        subject: String::new(),
        attachments: 0,
        over_budget: true,
        header_forms: HeaderForms::default(),
        references: Vec::new(),
        preview: String::new(),
    }
}
