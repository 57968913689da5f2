//! What happened in a folder: read from the change log, or, where that has forgotten it, from the
//! messages. Sets of numbers and pages of rows, so a folder of a million messages is no matter.
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::UidSet;
use crate::domain::limits;
use crate::flow::mailbox::Changes;
use crate::flow::mailbox::Folder;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::ChangeRow;

impl OpenMailbox {
    /// What happened in the folder after `since`. Without an end in the change log, `gone` names
    /// every number that no message has: more than went since then, never less (RFC 7162 §3.2.5.2
    /// allows it, and asks that the rest be exact). The folder is read first: what happens in
    /// between may be told already, and its step is not, so that nobody skips it.
    pub async fn changes(&self, folder: FolderId, since: ModSeq) -> Result<Changes, MailboxError> {
        let Some(now) = self.folder_if_any(folder).await? else { return Ok(Changes::default()) };
        if now.highest_modseq <= since {
            return Ok(Changes { folder: Some(now), ..Changes::default() });
        }
        match self.logged_changes(folder, since).await? {
            Some((touched, gone)) => {
                let touched = touched.difference(&gone);
                Ok(Changes { touched, gone, folder: Some(now) })
            }
            None => self.changes_by_rows(now, since).await,
        }
    }

    /// Numbers in the log after `since`; `None` when the log does not go back so far.
    pub(in crate::flow::mailbox) async fn logged_changes(
        &self,
        folder: FolderId,
        since: ModSeq,
    ) -> Result<Option<(UidSet, UidSet)>, MailboxError> {
        let (mut touched, mut gone) = (UidSet::new(), UidSet::new());
        let own = self.own_seen_of().map(|reader| *reader.as_bytes());
        if self.durable_head().await?.floor > since.0 {
            return Ok(None);
        }
        let mut range = rows::change_key(&self.slot.id, since.0.saturating_add(1))
            ..rows::changes_end(&self.slot.id);
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (_, row) in &page.rows {
                let Some(row) = rows::decode::<ChangeRow>(&row.value) else {
                    tracing::error!(mailbox = ?self.slot.id, "a row of the change log is damaged");
                    return Ok(None);
                };
                if row.folder != folder.0 {
                    continue;
                }
                match row.kind {
                    ChangeKind::Changed => touched.extend(row.uids),
                    ChangeKind::Gone => gone.extend(row.uids),
                    ChangeKind::SeenBy(reader) if own == Some(reader) => touched.extend(row.uids),
                    ChangeKind::Folder | ChangeKind::SeenBy(_) => {}
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
            tokio::task::yield_now().await;
        }
        // Rows may have been forgotten while they were read.
        let is_whole = self.durable_head().await?.floor <= since.0;
        Ok(is_whole.then_some((touched, gone)))
    }

    /// `now` was read before the rows: what arrives in between is told, and not taken for gone.
    async fn changes_by_rows(&self, now: Folder, since: ModSeq) -> Result<Changes, MailboxError> {
        let (mut there, mut touched) = (UidSet::new(), UidSet::new());
        self.glances(now.id, 1..=u32::MAX, |uid, glance| {
            there.insert(uid.0);
            if glance.is_none_or(|glance| glance.modseq > since.0) {
                touched.insert(uid.0);
            }
        })
        .await?;
        let mut gone = UidSet::new();
        if now.uid_next.0 > 1 {
            gone.insert_range(1..=now.uid_next.0 - 1);
        }
        let marked = self.marked_since(now.id, since).await?.intersection(&there);
        let touched = touched.union(&marked);
        Ok(Changes { gone: gone.difference(&there), touched, folder: Some(now) })
    }

    async fn folder_if_any(&self, id: FolderId) -> Result<Option<Folder>, MailboxError> {
        match self.folder(id).await {
            Ok(folder) => Ok(Some(folder)),
            Err(MailboxError::NoSuchFolder) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
