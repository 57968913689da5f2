//! Marks.
use std::collections::BTreeSet;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::messages::MESSAGES_AT_ONCE;
use crate::flow::mailbox::messages::sorted;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::rows::ChangeKind;
use crate::flow::mailbox::rows::Head;
use crate::infra::store::Batch;

impl OpenMailbox {
    /// Changes marks; answers the rows as they stand now, ascending, those that had the marks
    /// already included. UIDs that are gone are left out.
    pub async fn store_flags(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<Entry>, MailboxError> {
        let any = ModSeq(u64::MAX);
        self.store_flags_unless(folder, uids, change, any).await.map(|(after, _)| after)
    }

    /// [`OpenMailbox::store_flags`] of the messages that nobody changed after `unchanged_since`;
    /// the others are left alone and named (RFC 7162 §3.1.3). Nobody can change one in between.
    pub async fn store_flags_unless(
        &self,
        folder: FolderId,
        uids: &[Uid],
        change: &FlagChange,
        unchanged_since: ModSeq,
    ) -> Result<(Vec<Entry>, Vec<Uid>), MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let (mut after, mut refused) = (Vec::with_capacity(uids.len()), Vec::new());
        for some in sorted(uids).chunks(MESSAGES_AT_ONCE) {
            let mut entries = self.present(folder, some).await?;
            entries.retain(|entry| {
                let is_unchanged = entry.modseq <= unchanged_since;
                refused.extend((!is_unchanged).then_some(entry.uid));
                is_unchanged
            });
            for entry in &entries {
                check_keywords(&entry.flags.changed(change))?;
            }
            let changed = self
                .change(|head, batch| self.write_flags(folder, &entries, change, head, batch))
                .await?;
            after.extend(changed);
        }
        Ok((after, refused))
    }

    fn write_flags(
        &self,
        folder: FolderId,
        entries: &[Entry],
        change: &FlagChange,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Vec<Entry>, MailboxError> {
        let mut after = entries.to_vec();
        let different = |entry: &&Entry| entry.flags.changed(change) != entry.flags;
        let uids: BTreeSet<u32> = entries.iter().filter(different).map(|e| e.uid.0).collect();
        if uids.is_empty() {
            return Ok(after);
        }
        let counters = head.folder_mut(folder).ok_or(MailboxError::NoSuchFolder)?;
        let mut unseen = i64::from(counters.unseen);
        for entry in &mut after {
            let flags = entry.flags.changed(change);
            unseen += i64::from(entry.flags.seen) - i64::from(flags.seen);
            entry.flags = flags;
        }
        counters.unseen = u32::try_from(unseen.max(0)).unwrap_or(u32::MAX);
        let changed = uids.iter().copied().collect();
        let modseq = self.log_change(head, folder, ChangeKind::Changed, changed, batch);
        for entry in after.iter_mut().filter(|entry| uids.contains(&entry.uid.0)) {
            entry.modseq = modseq;
            let key = rows::message_key(&self.slot.id, folder, entry.uid);
            batch.put(key, rows::encode_message(&self.slot.keys, entry));
        }
        Ok(after)
    }
}

pub(in crate::flow::mailbox) fn check_keywords(flags: &Flags) -> Result<(), MailboxError> {
    let long = flags.keywords.iter().any(|word| word.len() > limits::KEYWORD_OCTETS_MAX);
    if long || flags.keywords.len() > limits::KEYWORDS_MAX {
        return Err(MailboxError::OverLimit("keywords of one message"));
    }
    Ok(())
}
