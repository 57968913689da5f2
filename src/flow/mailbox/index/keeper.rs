//! Catching up: signatures for letters that no search has opened yet, and none for letters that
//! are gone. One mailbox at a time, in small pieces, when it has been quiet for a while.
//!
//! The index is rebuilt by the same walk: a mailbox without leaves has everything to learn.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::envelope::BlobId;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::index::SealedLetter;
use crate::flow::mailbox::index::leaves;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::slot::Slot;
use crate::infra::store;
use crate::proto::imap::folded::FoldedLetter;
use crate::proto::imap::folded::Signature;

/// A mailbox is left alone until nothing has happened in it for so long.
const QUIET: Duration = Duration::from_secs(30);
/// Or until it has waited for so long, in a mailbox that is never quiet.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Changes of a mailbox that nobody searches before its index catches up: one letter at a time
/// would write its row again for each.
const CHANGES: u32 = 64;
/// Mailboxes that wait; the others are caught up with when they change, or are searched, again.
const WAITING_MAX: usize = 10_000;
/// How often somebody looks who has waited long enough.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who waits for the walk.
#[derive(Default)]
pub(in crate::flow::mailbox) struct Keeper {
    waiting: Mutex<HashMap<MailboxId, Waiting>>,
    bell: Notify,
}

struct Waiting {
    slot: Arc<Slot>,
    since: Timestamp,
    last: Timestamp,
    changes: u32,
    is_searched: bool,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::flow::mailbox) enum News {
    /// Letters came or went.
    Changed,
    /// Somebody searches, and had to open letters.
    Searched,
}

/// How hurried a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As long a rest after each piece as the piece may have taken.
    Gentle,
    /// Without rest; an administrator, or a test, waits.
    Hurried,
}

impl Keeper {
    pub(in crate::flow::mailbox) fn noticed(&self, slot: &Arc<Slot>, now: Timestamp, news: News) {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&slot.id) {
            return;
        }
        let fresh = || Waiting {
            slot: Arc::clone(slot),
            since: now,
            last: now,
            changes: 0,
            is_searched: false,
        };
        let one = waiting.entry(slot.id).or_insert_with(fresh);
        one.last = now;
        match news {
            News::Changed => one.changes = one.changes.saturating_add(1),
            News::Searched => one.is_searched = true,
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Somebody who has waited long enough; they wait no more.
    fn next(&self, now: Timestamp) -> Option<Arc<Slot>> {
        let mut waiting = self.lock();
        let due = waiting.iter().find(|(_, one)| {
            (one.is_searched || one.changes >= CHANGES)
                && (now.since(one.last) >= QUIET || now.since(one.since) >= WAIT_MAX)
        });
        let id = *due?.0;
        waiting.remove(&id).map(|one| one.slot)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MailboxId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailboxes {
    /// Keeps the search indexes for as long as it is polled.
    pub async fn keep_indexes(&self) {
        let keeper = &self.shelf.index.keeper;
        loop {
            if keeper.is_empty() {
                keeper.bell.notified().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            while let Some(slot) = keeper.next(self.shelf.clock.now()) {
                let shelf = Arc::clone(&self.shelf);
                let sitting = shelf.own_work(slot.id, "search index");
                let mailbox = OpenMailbox { shelf, slot, reader: None, sitting };
                if let Err(error) = mailbox.catch_up(Pace::Gentle).await {
                    tracing::warn!(mailbox = ?mailbox.id(), %error, "a search index is behind");
                }
            }
        }
    }
}

impl OpenMailbox {
    /// Somebody searched, and had to open letters that have no signature.
    pub fn was_searched(&self) {
        self.shelf.index.keeper.noticed(&self.slot, self.shelf.clock.now(), News::Searched);
    }

    /// Brings the search index up to date: every letter that can be opened has its signature,
    /// and no other has. Answers how many were learnt.
    pub async fn catch_up(&self, pace: Pace) -> Result<usize, MailboxError> {
        let live = self.all_contents().await?;
        let mut is_known = vec![false; live.len()];
        let mut leaf = leaves::first(self).await?;
        while let Some(here) = leaf {
            for content in here.entries.keys() {
                if let Ok(place) = live.binary_search(content) {
                    is_known[place] = true;
                }
            }
            let name = here.name;
            leaves::shrink(self, here, |content| live.binary_search(content).is_ok()).await?;
            leaf = leaves::following(self, &name).await?;
        }
        let mut learnt = 0;
        let mut gathered: Vec<Entry> = Vec::new();
        let mut octets = 0;
        let mut range = store::prefix(&rows::messages_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some((folder, uid)) = rows::place_of(key) else { continue };
                let entry = rows::decode_message(&self.slot.keys, folder, uid, &row.value);
                let Ok(place) = live.binary_search(&entry.blob) else { continue };
                // A copy has the same content.
                if std::mem::replace(&mut is_known[place], true) {
                    continue;
                }
                octets += entry.size;
                gathered.push(entry);
                if octets >= limits::SEARCHED_OCTETS_AT_ONCE {
                    learnt += self.learn_all(std::mem::take(&mut gathered), pace).await?;
                    octets = 0;
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        Ok(learnt + self.learn_all(gathered, pace).await?)
    }

    async fn learn_all(&self, entries: Vec<Entry>, pace: Pace) -> Result<usize, MailboxError> {
        let mut letters: Vec<(BlobId, SealedLetter)> = Vec::with_capacity(entries.len());
        for entry in &entries {
            match self.sealed_letter(entry).await {
                Ok(letter) => letters.push((entry.blob, letter)),
                // It is listed, and cannot be searched.
                Err(MailboxError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let key = self.signature_key();
        let learnt = self.aside(move || {
            let learnt = letters.into_iter().filter_map(|(content, letter)| {
                let folded = FoldedLetter::new(letter.open().ok()?.expose());
                Some((content, Signature::new(&folded, key)))
            });
            learnt.collect::<Vec<_>>()
        });
        let learnt = learnt.await?;
        let count = learnt.len();
        if count > 0 {
            self.learn(learnt).await;
        }
        if pace == Pace::Gentle {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(count)
    }

    /// All contents of all folders, ascending, each once.
    async fn all_contents(&self) -> Result<Vec<BlobId>, MailboxError> {
        let mut contents = Vec::new();
        let mut range = store::prefix(&rows::messages_prefix(&self.slot.id));
        loop {
            let page = self.shelf.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                let Some((folder, uid)) = rows::place_of(key) else { continue };
                contents.push(rows::decode_message(&self.slot.keys, folder, uid, &row.value).blob);
            }
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        contents.sort_unstable();
        contents.dedup();
        Ok(contents)
    }
}
