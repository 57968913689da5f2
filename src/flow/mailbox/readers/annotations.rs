//! Annotations of folders and of the mailbox itself (RFC 5464): small texts that mail programs keep
//! for all readers (`/shared`) or for one (`/private`). Sealed, for they may say anything.
use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::hash::Hasher;

use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::infra::store;

/// What does not fit: a value.
pub const VALUE_TOO_LONG: &str = "octets of an annotation";
/// What does not fit: all of them.
pub const TOO_MANY: &str = "annotations";

/// Whose annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// For each place with annotations that whoever opened the mailbox may have, a number that is
    /// another one after every change. Nothing is opened.
    pub async fn annotation_marks(&self) -> Result<BTreeMap<(FolderId, Scope), u64>, MailboxError> {
        let own = self.whose(Scope::Private);
        let mut marks = BTreeMap::new();
        let mut range = store::prefix(&rows::annotations_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some((folder, who)) = rows::annotated(key) else { continue };
                let scope = match who {
                    NOBODY => Scope::Shared,
                    who if who == own => Scope::Private,
                    _ => continue,
                };
                let mut hasher = DefaultHasher::new();
                hasher.write(&row.value);
                marks.insert((folder, scope), hasher.finish());
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(marks),
            }
        }
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
