//! Who answered: a letter in a team's mailbox is found by its Message-ID and marked.
//!
//! Rows `M/<mailbox>/r/…` are written with the letter and go with it. Letters from before there
//! were such rows are not found, and not marked.
use std::collections::BTreeSet;

use crate::domain::folder::FlagChange;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Named;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::ids;
use crate::flow::mailbox::readers;
use crate::flow::mailbox::rows;
use crate::infra::store;

impl OpenMailbox {
    /// Marks the letters of these Message-IDs as answered, with a keyword that says by whom;
    /// answers how many were marked. Where whoever opened the mailbox may not read and mark
    /// (RFC 4314 §4: `r` and `w`), they are as if they were not there.
    pub async fn mark_answered(
        &self,
        ids: &[Vec<u8>],
        keyword: &str,
    ) -> Result<usize, MailboxError> {
        if !self.is_shared_by_kind() {
            return Ok(0);
        }
        let mut marked = 0;
        for (folder, uid) in self.places_of(ids).await? {
            let rights = match self.rights(folder).await? {
                rights if readers::can_see(rights) => rights,
                _ => continue,
            };
            if !rights.has(Right::Read) || !rights.has(Right::Write) {
                continue;
            }
            let keywords = BTreeSet::from([keyword.to_owned()]);
            let answered = Flags { answered: true, ..Flags::default() };
            let whole = FlagChange::Add(Flags { keywords, ..answered.clone() });
            let outcome = match self.store_flags(folder, &[uid], &whole).await {
                // No room for one more keyword: that it is answered can still be said.
                Err(MailboxError::OverLimit(_)) => {
                    self.store_flags(folder, &[uid], &FlagChange::Add(answered)).await
                }
                outcome => outcome,
            };
            marked += outcome?.len();
        }
        Ok(marked)
    }

    /// Under which name a letter is found here; only in mailboxes of several people.
    pub(super) fn named(&self, summary: &[u8]) -> Option<Named> {
        let is_team = self.is_shared_by_kind();
        is_team.then(|| ids::named(&self.slot.keys, summary)).flatten()
    }

    async fn places_of(&self, ids: &[Vec<u8>]) -> Result<Vec<(FolderId, Uid)>, MailboxError> {
        let mut places = Vec::new();
        for id in ids.iter().take(limits::ANSWERS_MAX) {
            let named = ids::named_by(&self.slot.keys, id);
            let range = store::prefix(&rows::named_prefix(&self.slot.id, &named));
            let page = self.shelf.store.scan(range, limits::ANSWERED_PLACES_MAX).await?;
            places.extend(page.rows.iter().filter_map(|(key, _)| rows::place_of(key)));
        }
        Ok(places)
    }
}
