//! Copies and moves, within a mailbox and into another one.
use std::collections::BTreeSet;

use crate::domain::folder::FolderId;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::status::Refusal;
use crate::flow::mailbox::ATTEMPTS_MAX;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::ids;
use crate::flow::mailbox::messages::MESSAGES_AT_ONCE;
use crate::flow::mailbox::messages::references;
use crate::flow::mailbox::messages::sorted;
use crate::flow::mailbox::messages::summary_context;
use crate::flow::mailbox::rows::Head;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

/// Octets after which a move commits and goes on: one more message always fits the batch.
const MOVED_OCTETS_AT_ONCE: usize = limits::BATCH_OCTETS_MAX / 8;
/// Messages whose summaries a transfer reads at a time.
const SUMMARIES_AT_ONCE: usize = 40;
/// What is over its limit when too much is copied.
pub const COPIED_AT_ONCE: &str = "messages copied at once";

/// A message on its way, with its sealed summary.
type Sealed = (Entry, Vec<u8>);
/// UIDVALIDITY of the target, and pairs of old and new numbers.
type Pairs = (u32, Vec<(Uid, Uid)>);

impl OpenMailbox {
    /// Copies; answers UIDVALIDITY of the target and (source, target) UID pairs. All or nothing
    /// (RFC 3501 §6.4.7), so there is a limit to what is copied at once.
    pub async fn copy(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<Pairs, MailboxError> {
        self.must_have(from, Right::Read).await?;
        self.must_have(to, Right::Insert).await?;
        let (placed, seen) = {
            let _gate = self.slot.gate.lock().await;
            let mut sealed = self.gather(from, uids).await?;
            let seen = self.take_marks(to, &mut sealed).await?;
            (self.place_copies(&sealed, to).await?, seen)
        };
        self.mark_placed(to, new_numbers(&placed, &seen)).await;
        Ok(placed)
    }

    /// Copies into another mailbox, for whose reader everything is sealed anew; the content stays
    /// as it lies, with one reference more: the target opens it by its content key, not by its
    /// OpenPGP key, to which it was never encrypted. All or nothing, as [`OpenMailbox::copy`].
    pub async fn copy_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> Result<Pairs, MailboxError> {
        if target.slot.id == self.slot.id {
            return self.copy(from, uids, to).await;
        }
        self.must_have(from, Right::Read).await?;
        target.must_have(to, Right::Insert).await?;
        let (placed, seen) = {
            let _gate = self.slot.gate.lock().await;
            let sealed = self.gather(from, uids).await?;
            self.sitting.opens(sealed.len() as u64).await?;
            let mut sealed = self.seal_for(target, sealed)?;
            let seen = target.take_marks(to, &mut sealed).await?;
            (target.place_copies(&sealed, to).await?, seen)
        };
        target.mark_placed(to, new_numbers(&placed, &seen)).await;
        Ok(placed)
    }

    /// Takes from messages on their way here the marks that whoever puts them here may not set
    /// (RFC 4314 §4: COPY), and answers which of them they have seen.
    async fn take_marks(
        &self,
        to: FolderId,
        sealed: &mut [Sealed],
    ) -> Result<BTreeSet<Uid>, MailboxError> {
        let rights = self.rights(to).await?;
        let mut seen = BTreeSet::new();
        for (entry, _) in sealed {
            let (kept, is_seen) = self.marks_for_new(rights, &entry.flags);
            entry.flags = kept;
            seen.extend(is_seen.then_some(entry.uid));
        }
        Ok(seen)
    }

    async fn gather(&self, from: FolderId, uids: &[Uid]) -> Result<Vec<Sealed>, MailboxError> {
        let mut sealed: Vec<Sealed> = Vec::new();
        let mut octets = 0;
        for some in sorted(uids).chunks(SUMMARIES_AT_ONCE) {
            let mut entries = self.present(from, some).await?;
            self.as_seen(from, &mut entries).await?;
            let summaries = self.sealed_summaries(from, &entries).await?;
            for (entry, summary) in entries.into_iter().zip(summaries) {
                octets += weight(&entry, &summary);
                if octets > limits::TRANSFER_OCTETS_MAX {
                    return Err(MailboxError::OverLimit(COPIED_AT_ONCE));
                }
                sealed.push((entry, summary));
            }
        }
        Ok(sealed)
    }

    async fn place_copies(&self, sealed: &[Sealed], to: FolderId) -> Result<Pairs, MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut contents = Batch::new();
            for (blob, count) in references(sealed.iter().map(|(entry, _)| entry)) {
                // In a batch of its own: it looks through what the batch has already.
                let mut one = Batch::new();
                self.shelf.blobs.refer(blob, count, &mut one).await?;
                contents.extend(one);
            }
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(contents);
                    self.check_room_for(sealed, head)?;
                    self.place(sealed, to, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(placed) => return placed,
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    /// Moves; answers as [`OpenMailbox::copy`]. Each message is moved or not (RFC 6851 §3.3);
    /// many of them take several commits.
    pub async fn move_messages(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
    ) -> Result<Pairs, MailboxError> {
        self.may_move(from, self, to).await?;
        let gate = self.slot.gate.lock().await;
        let mut uid_validity = self.folder(to).await?.uid_validity;
        let mut pairs = Vec::with_capacity(uids.len());
        let mut seen = BTreeSet::new();
        let mut rest: &[Uid] = &sorted(uids);
        while !rest.is_empty() {
            let mut sealed = self.next_moved(from, &mut rest).await?;
            let unmarked = sealed.clone();
            seen.extend(self.take_marks(to, &mut sealed).await?);
            if self.own_seen_of().is_some() {
                // Who moves letters within a mailbox marks them for nobody: the owner's mark
                // stays, and each reader's is carried along below.
                seen.clear();
                for ((entry, _), (before, _)) in sealed.iter_mut().zip(&unmarked) {
                    entry.flags.seen = before.flags.seen;
                }
            }
            let moved = self.change(|head, batch| {
                // First gone, then placed: a move within one folder gives new UIDs.
                self.take_away(from, unmarked.iter().map(|(entry, _)| entry), head, batch)?;
                self.place(&sealed, to, head, batch)
            });
            let (validity, more) = moved.await?;
            uid_validity = validity;
            pairs.extend(more);
        }
        self.carry_marks(from, to, &pairs).await;
        drop(gate);
        let placed = (uid_validity, pairs);
        self.mark_placed(to, new_numbers(&placed, &seen)).await;
        Ok(placed)
    }

    /// RFC 6851 §4.3: whoever moves must be allowed to remove here and to put there.
    async fn may_move(
        &self,
        from: FolderId,
        target: &Self,
        to: FolderId,
    ) -> Result<(), MailboxError> {
        for right in [Right::Read, Right::DeleteMessages, Right::Expunge] {
            self.must_have(from, right).await?;
        }
        target.must_have(to, Right::Insert).await
    }

    /// Moves into another mailbox. Each message is there or here, never in both and never lost:
    /// both heads change in one commit.
    pub async fn move_to(
        &self,
        from: FolderId,
        uids: &[Uid],
        target: &Self,
        to: FolderId,
    ) -> Result<Pairs, MailboxError> {
        if target.slot.id == self.slot.id {
            return self.move_messages(from, uids, to).await;
        }
        self.may_move(from, target, to).await?;
        let _gate = self.slot.gate.lock().await;
        let mut uid_validity = target.folder(to).await?.uid_validity;
        let mut pairs = Vec::with_capacity(uids.len());
        let mut seen = BTreeSet::new();
        let mut rest: &[Uid] = &sorted(uids);
        while !rest.is_empty() {
            let own = self.next_moved(from, &mut rest).await?;
            self.sitting.opens(own.len() as u64).await?;
            let mut theirs = self.seal_for(target, own.clone())?;
            seen.extend(target.take_marks(to, &mut theirs).await?);
            let (validity, more) = self
                .change_both(target, |head, target_head, batch| {
                    target.check_room_for(&theirs, target_head)?;
                    self.take_away(from, own.iter().map(|(entry, _)| entry), head, batch)?;
                    target.place(&theirs, to, target_head, batch)
                })
                .await?;
            uid_validity = validity;
            pairs.extend(more);
        }
        let placed = (uid_validity, pairs);
        target.mark_placed(to, new_numbers(&placed, &seen)).await;
        Ok(placed)
    }

    /// Moves all messages of a folder.
    pub(in crate::flow::mailbox) async fn move_all(
        &self,
        from: FolderId,
        to: FolderId,
    ) -> Result<(), MailboxError> {
        let end = self.folder(from).await?.uid_next.0;
        let mut next = 1;
        loop {
            let some =
                self.plain_entries(from, next..=end.saturating_sub(1), MESSAGES_AT_ONCE).await?;
            let Some(last) = some.last() else { return Ok(()) };
            next = last.uid.0.saturating_add(1);
            let uids: Vec<Uid> = some.iter().map(|entry| entry.uid).collect();
            self.move_messages(from, &uids, to).await?;
        }
    }

    /// As many of the next messages as one commit moves. Those that are gone are passed over.
    async fn next_moved(
        &self,
        from: FolderId,
        rest: &mut &[Uid],
    ) -> Result<Vec<Sealed>, MailboxError> {
        let mut sealed: Vec<Sealed> = Vec::new();
        let mut octets = 0;
        while octets < MOVED_OCTETS_AT_ONCE && sealed.len() < MESSAGES_AT_ONCE && !rest.is_empty() {
            let (some, _) = rest.split_at(rest.len().min(SUMMARIES_AT_ONCE));
            let entries = self.present(from, some).await?;
            let summaries = self.sealed_summaries(from, &entries).await?;
            let mut taken = some.len();
            for (entry, summary) in entries.into_iter().zip(summaries) {
                if octets >= MOVED_OCTETS_AT_ONCE {
                    // Not of this commit: it is read again for the next.
                    taken = some.partition_point(|uid| *uid < entry.uid);
                    break;
                }
                octets += weight(&entry, &summary);
                sealed.push((entry, summary));
            }
            *rest = &rest[taken..];
        }
        Ok(sealed)
    }

    /// Opens what was sealed for this mailbox and seals it for another: the content's key, the
    /// summary, and, when its row is written, the keywords. What cannot be opened cannot be given
    /// to anybody.
    fn seal_for(&self, target: &Self, sealed: Vec<Sealed>) -> Result<Vec<Sealed>, MailboxError> {
        let (own, theirs) = (&self.slot.keys, &target.slot.keys);
        let mut anew = Vec::with_capacity(sealed.len());
        for (mut entry, summary) in sealed {
            entry.sealed_key = theirs.wrap(&own.unwrap(&entry.sealed_key)?).into();
            let context = summary_context(&entry);
            // A damaged summary is replaced by none: the listing shows a safe one there as here.
            let clear = own.open_index(&context, &summary).ok();
            let clear = clear.as_ref().map_or(&[][..], |clear| clear.expose());
            entry.thread = ids::thread(theirs, clear, &entry.blob);
            entry.named = target.named(clear);
            let summary = match clear.is_empty() {
                true => Vec::new(),
                false => theirs.seal_index(&context, clear),
            };
            anew.push((entry, summary));
        }
        Ok(anew)
    }

    fn check_room_for(&self, sealed: &[Sealed], head: &Head) -> Result<(), MailboxError> {
        let octets = sealed.iter().map(|(entry, _)| entry.size).sum();
        self.shelf.rules.check(head, octets, sealed.len() as u64)
    }

    /// Gives messages new rows at the end of a folder.
    fn place(
        &self,
        sealed: &[Sealed],
        to: FolderId,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Pairs, MailboxError> {
        let saved = self.shelf.clock.now();
        let mut pairs = Vec::with_capacity(sealed.len());
        for (entry, summary) in sealed {
            let placed = Entry { saved, ..entry.clone() };
            let uid = self.put_message(to, placed, summary, head, batch)?;
            pairs.push((entry.uid, uid));
        }
        let counters = head.folder(to).ok_or(MailboxError::NoSuchFolder)?;
        Ok((counters.uid_validity, pairs))
    }

    /// One durable change of two mailboxes. `build` is called again on newer heads when somebody
    /// else changed one of them first.
    async fn change_both<T>(
        &self,
        target: &Self,
        mut build: impl FnMut(&mut Head, &mut Head, &mut Batch) -> Result<T, MailboxError>,
    ) -> Result<T, MailboxError> {
        for _ in 0..ATTEMPTS_MAX {
            self.slot.load(&self.shelf).await?;
            target.slot.load(&target.shelf).await?;
            let (result, epochs, committing) = {
                // In the order of their ids, so that two changes cannot wait for each other.
                let (mut own, mut theirs);
                if self.slot.id < target.slot.id {
                    own = self.slot.lock();
                    theirs = target.slot.lock();
                } else {
                    theirs = target.slot.lock();
                    own = self.slot.lock();
                }
                let heads = own.head().cloned().zip(theirs.head().cloned());
                let Some((mut head, mut target_head)) = heads else { continue };
                let mut batch = Batch::new();
                self.add_missing_folders(&mut head, &mut batch);
                target.add_missing_folders(&mut target_head, &mut batch);
                let result = build(&mut head, &mut target_head, &mut batch)?;
                let epochs = (
                    own.foretell(&self.slot.id, head, &mut batch),
                    theirs.foretell(&target.slot.id, target_head, &mut batch),
                );
                // Submitted under both locks: the order of heads is the order of commits.
                (result, epochs, self.shelf.store.submit(batch))
            };
            match committing.await {
                Ok(()) => {
                    self.slot.announce();
                    target.slot.announce();
                    return Ok(result);
                }
                Err(error) => {
                    self.slot.forget(epochs.0);
                    target.slot.forget(epochs.1);
                    if !matches!(error, CommitError::Conflict) {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }
}

/// The new numbers of those that were seen under their old ones.
fn new_numbers(placed: &Pairs, seen: &BTreeSet<Uid>) -> Vec<Uid> {
    placed.1.iter().filter(|(from, _)| seen.contains(from)).map(|(_, to)| *to).collect()
}

/// Octets of a batch that a message takes to be copied or moved: its summary, its keywords (a
/// sealed row holds them once), and rows and keys of a known length.
pub(in crate::flow::mailbox) fn weight(entry: &Entry, sealed_summary: &[u8]) -> usize {
    let keywords: usize = entry.flags.keywords.iter().map(|word| word.len() + 4).sum();
    sealed_summary.len() + keywords + entry.sealed_key.len() + 1_024
}
