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
use crate::flow::mailbox::readers::permitted;
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
        self.must_see(folder).await?;
        let _gate = self.slot.gate.lock().await;
        let rights = self.rights(folder).await?;
        let (mut after, mut refused) = (Vec::with_capacity(uids.len()), Vec::new());
        for some in sorted(uids).chunks(MESSAGES_AT_ONCE) {
            let plain = self.present(folder, some).await?;
            let mut shown = plain.clone();
            self.as_seen(folder, &mut shown).await?;
            let mut changes = Vec::with_capacity(plain.len());
            let mut seen = Vec::new();
            for (entry, shown) in plain.into_iter().zip(&shown) {
                if shown.modseq > unchanged_since {
                    refused.push(entry.uid);
                    continue;
                }
                let mut wanted = permitted(rights, &shown.flags, shown.flags.changed(change));
                check_keywords(&wanted)?;
                self.check_claims(&shown.flags, &wanted)?;
                if self.own_seen_of().is_some() {
                    if wanted.seen != shown.flags.seen {
                        seen.push((entry.uid, wanted.seen));
                    }
                    wanted.seen = entry.flags.seen;
                }
                changes.push((entry, wanted));
            }
            let mut changed = match changes.iter().any(|(entry, wanted)| *wanted != entry.flags) {
                true => {
                    let write = |head: &mut Head, batch: &mut Batch| {
                        self.write_flags(folder, &changes, head, batch)
                    };
                    self.change(write).await?
                }
                false => changes.into_iter().map(|(entry, _)| entry).collect(),
            };
            self.mark_seen(folder, &seen).await?;
            self.as_seen(folder, &mut changed).await?;
            after.extend(changed);
        }
        Ok((after, refused))
    }

    fn write_flags(
        &self,
        folder: FolderId,
        changes: &[(Entry, Flags)],
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Vec<Entry>, MailboxError> {
        let mut after: Vec<Entry> = changes.iter().map(|(entry, _)| entry.clone()).collect();
        let different = changes.iter().filter(|(entry, wanted)| *wanted != entry.flags);
        let uids: BTreeSet<u32> = different.map(|(entry, _)| entry.uid.0).collect();
        if uids.is_empty() {
            return Ok(after);
        }
        let counters = head.folder_mut(folder).ok_or(MailboxError::NoSuchFolder)?;
        let mut unseen = i64::from(counters.unseen);
        for (entry, (_, wanted)) in after.iter_mut().zip(changes) {
            unseen += i64::from(entry.flags.seen) - i64::from(wanted.seen);
            entry.flags = wanted.clone();
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
