//! Annotations of folders and of the mailbox itself (RFC 5464): small texts that mail programs keep
//! for all readers (`/shared`) or for one (`/private`). Sealed, for they may say anything.
use std::collections::BTreeMap;

use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;

/// What does not fit: a value.
pub const VALUE_TOO_LONG: &str = "octets of an annotation";
/// What does not fit: all of them.
pub const TOO_MANY: &str = "annotations";

/// Whose annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's who may see the folder.
    Shared,
    /// The reader's own.
    Private,
}

/// Name, in lower case and without its scope, and value.
pub type Annotations = BTreeMap<String, Vec<u8>>;

const NOBODY: MailboxId = MailboxId::from_bytes([0; 16]);

impl OpenMailbox {
    /// The annotations of a folder; of the mailbox with [`super::EVERY_FOLDER`].
    pub async fn annotations(
        &self,
        folder: FolderId,
        scope: Scope,
    ) -> Result<Annotations, MailboxError> {
        let who = self.whose(scope);
        let row = self.shelf.store.get(&rows::annotations_key(&self.slot.id, folder, &who)).await?;
        let Some(row) = row else { return Ok(Annotations::new()) };
        let clear = self.slot.keys.open_index(&context(folder, &who), &row.value).ok();
        Ok(clear.and_then(|clear| rows::decode(clear.expose())).unwrap_or_else(|| {
            tracing::error!(folder = folder.0, "annotations are damaged; they are gone");
            Annotations::new()
        }))
    }

    /// Sets annotations, or removes those without a value; all or nothing, durably.
    pub async fn annotate(
        &self,
        folder: FolderId,
        scope: Scope,
        entries: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let mut kept = self.annotations(folder, scope).await?;
        for (name, value) in entries {
            match value {
                Some(value) if value.len() > limits::ANNOTATION_OCTETS_MAX => {
                    return Err(MailboxError::OverLimit(VALUE_TOO_LONG));
                }
                Some(value) => drop(kept.insert(name.clone(), value.clone())),
                None => drop(kept.remove(name)),
            }
        }
        let octets: usize = kept.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        if kept.len() > limits::ANNOTATIONS_MAX || octets > limits::ANNOTATIONS_OCTETS_MAX {
            return Err(MailboxError::OverLimit(TOO_MANY));
        }
        let who = self.whose(scope);
        let key = rows::annotations_key(&self.slot.id, folder, &who);
        let sealed = self.slot.keys.seal_index(&context(folder, &who), &rows::encode(&kept));
        self.change(|_, batch| {
            match kept.is_empty() {
                true => batch.delete(key.clone()),
                false => batch.put(key.clone(), sealed.clone()),
            };
            Ok(())
        })
        .await
    }

    fn whose(&self, scope: Scope) -> MailboxId {
        match scope {
            Scope::Shared => NOBODY,
            Scope::Private => self.reader.as_ref().map_or(self.slot.id, |reader| reader.id),
        }
    }
}

fn context(folder: FolderId, who: &MailboxId) -> Vec<u8> {
    [b"annotations/".as_slice(), &folder.0.to_be_bytes(), who.as_bytes()].concat()
}
