//! Subscriptions that a folder's own row cannot hold: to folders of others, and of names whatever
//! becomes of their folders. They belong to whoever subscribed, so they lie in their own mailbox.
use serde::Deserialize;
use serde::Serialize;

use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Folders of other mailboxes.
    pub folders: Vec<(MailboxId, FolderId)>,
    /// Names that a client subscribed. RFC 3501 §6.3.6: a name stays so when its folder is gone.
    pub names: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Row {
    folders: Vec<([u8; 16], u32)>,
    names: Vec<String>,
}

const CONTEXT: &[u8] = b"subscriptions";

impl OpenMailbox {
    /// What this mailbox's owner subscribed to elsewhere.
    pub async fn kept_subscriptions(&self) -> Result<Kept, MailboxError> {
        let row = self.shelf.store.get(&rows::subscriptions_key(&self.slot.id)).await?;
        let Some(row) = row else { return Ok(Kept::default()) };
        let clear = self.slot.keys.open_index(CONTEXT, &row.value).ok();
        let stored = clear.and_then(|clear| rows::decode::<Row>(clear.expose()));
        let Row { folders, names } = stored.unwrap_or_else(|| {
            tracing::error!(mailbox = ?self.slot.id, "subscriptions are damaged; they are gone");
            Row::default()
        });
        let folders = folders
            .into_iter()
            .map(|(mailbox, folder)| (MailboxId::from_bytes(mailbox), FolderId(folder)))
            .collect();
        Ok(Kept { folders, names })
    }

    /// Changes them, durably.
    pub async fn change_subscriptions(
        &self,
        edit: impl FnOnce(&mut Kept) + Send,
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let before = self.kept_subscriptions().await?;
        let mut kept = before.clone();
        edit(&mut kept);
        if kept == before {
            return Ok(());
        }
        let names_octets: usize = kept.names.iter().map(String::len).sum();
        let is_over = kept.folders.len() > limits::SUBSCRIPTIONS_KEPT_MAX
            || names_octets > limits::SUBSCRIBED_NAMES_OCTETS_MAX;
        if is_over {
            return Err(MailboxError::OverLimit("subscriptions"));
        }
        let row = Row {
            folders: kept.folders.iter().map(|(id, folder)| (*id.as_bytes(), folder.0)).collect(),
            names: kept.names,
        };
        let sealed = self.slot.keys.seal_index(CONTEXT, &rows::encode(&row));
        self.change(|_, batch| {
            batch.put(rows::subscriptions_key(&self.slot.id), sealed.clone());
            Ok(())
        })
        .await
    }
}
