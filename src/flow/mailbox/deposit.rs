//! Putting letters into mailboxes: several at once, in one durable commit with whatever else
//! must happen then (queue rows, facts), and never the same letter twice.
use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::domain::envelope::BlobId;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::domain::time::Zone;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Room;
use crate::flow::mailbox::Shelf;
use crate::flow::mailbox::ids;
use crate::flow::mailbox::index::News;
use crate::flow::mailbox::messages;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::slot::Slot;
use crate::infra::keys::ContentKey;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Version;
use crate::proto::mime::summary;

/// One letter for one mailbox, sealed and ready.
pub struct Deposit {
    mailbox: OpenMailbox,
    folder: FolderId,
    entry: Entry,
    sealed_summary: Vec<u8>,
    digest: Option<[u8; 32]>,
    room: Room,
    /// Other folders of the mailbox where the same letter lies as well.
    more: Vec<(FolderId, Flags)>,
    /// Other rows of the same commit that name its content.
    held: u32,
}

/// Which deposits bring something new.
struct Freshness {
    fresh: Vec<bool>,
    /// Versions of rows that say so of a letter too long ago to count; they are overwritten.
    outlived: Vec<Option<Version>>,
}

/// Why a commit did not come about.
enum Failure {
    Commit(CommitError),
    /// The mailbox itself says no.
    Mailbox(MailboxError),
}

/// What became of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It lies there.
    At {
        /// The folder's UIDVALIDITY.
        uid_validity: u32,
        /// Its number.
        uid: Uid,
    },
    /// The mailbox has had this very letter before: nothing was added.
    Duplicate,
}

/// What all deposits of one letter share.
pub struct Letter<'a> {
    /// The sealed content.
    pub blob: BlobId,
    /// Its key.
    pub content_key: &'a ContentKey,
    /// Octets in clear.
    pub size: u64,
    /// `summary::encode` of its summary.
    pub summary: &'a [u8],
    /// INTERNALDATE.
    pub internal_date: Timestamp,
}

impl Deposit {
    /// Prepares a letter for one mailbox. With `identity` (the letter's octets as another
    /// relay sent them) a second copy of the same letter is recognised and left out.
    pub fn new(
        mailbox: &OpenMailbox,
        folder: FolderId,
        letter: &Letter<'_>,
        flags: Flags,
        identity: Option<&[u8]>,
    ) -> Self {
        let keys = &mailbox.slot.keys;
        let entry = Entry {
            uid: Uid(0),
            internal_date: letter.internal_date,
            zone: Zone::UTC,
            saved: mailbox.shelf.clock.now(),
            thread: ids::thread(keys, letter.summary, &letter.blob),
            size: letter.size,
            flags,
            modseq: ModSeq(0),
            blob: letter.blob,
            sealed_key: keys.wrap(letter.content_key).into(),
            named: mailbox.named(letter.summary),
        };
        let sealed_summary = keys.seal_index(&messages::summary_context(&entry), letter.summary);
        let digest = identity.map(|octets| keys.digest(octets));
        let (more, held, room) = (Vec::new(), 0, Room::OneMore);
        Self { mailbox: mailbox.clone(), folder, entry, sealed_summary, digest, room, more, held }
    }

    /// How much the mailbox bends for it; by default [`Room::OneMore`].
    #[must_use]
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// The letter lies in these folders as well.
    #[must_use]
    pub fn also_in(mut self, more: &[(FolderId, Flags)]) -> Self {
        self.more = more.to_vec();
        self
    }

    /// So many other rows of the commit name the content, when the letter is news here.
    #[must_use]
    pub fn held_by(mut self, rows: u32) -> Self {
        self.held = rows;
        self
    }

    /// References to a content that come of the messages of this deposit when it is news.
    pub fn references_to(&self, blob: &BlobId) -> u32 {
        let places = u32::try_from(self.more.len()).unwrap_or(u32::MAX);
        if self.entry.blob == *blob { places.saturating_add(1) } else { 0 }
    }

    /// Other rows of the commit that name the letter's content as it came.
    pub fn held(&self) -> u32 {
        self.held
    }
}

impl Mailboxes {
    /// Commits deposits and `build`'s batch together; durable when this returns. `build` is
    /// told which deposits are new, and may be called again after a conflict. When one mailbox is
    /// full, nothing is committed ([`MailboxError::OverQuota`]).
    pub async fn commit(
        &self,
        deposits: &[Deposit],
        build: impl FnMut(&[bool]) -> Result<Batch, CommitError>,
    ) -> Result<Vec<Placed>, MailboxError> {
        self.shelf.commit(deposits, build).await.map_err(|failure| match failure {
            Failure::Commit(error) => error.into(),
            Failure::Mailbox(error) => error,
        })
    }
}

impl Shelf {
    async fn commit(
        &self,
        deposits: &[Deposit],
        mut build: impl FnMut(&[bool]) -> Result<Batch, CommitError>,
    ) -> Result<Vec<Placed>, Failure> {
        let summaries = fitting_summaries(deposits);
        for _ in 0..super::ATTEMPTS_MAX {
            let freshness = self.freshness(deposits).await?;
            let mut batch = build(&freshness.fresh)?;
            let submitted = self.submit(deposits, &summaries, &freshness, &mut batch)?;
            let Some((placed, slots, committing)) = submitted else { continue };
            match committing.await {
                Ok(()) => {
                    slots.iter().for_each(|(slot, _)| slot.announce());
                    let now = self.clock.now();
                    for deposit in deposits {
                        self.index.keeper.noticed(&deposit.mailbox.slot, now, News::Changed);
                    }
                    self.sweep_duplicates(deposits).await;
                    return Ok(placed);
                }
                Err(error) => {
                    slots.iter().for_each(|(slot, epoch)| slot.forget(*epoch));
                    if !matches!(error, CommitError::Conflict) {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Which deposits bring a letter that their mailbox has not had; loads the heads as well.
    async fn freshness(&self, deposits: &[Deposit]) -> Result<Freshness, Failure> {
        let now = self.clock.now();
        let (mut fresh, mut outlived) = (Vec::new(), Vec::new());
        for deposit in deposits {
            let slot = &deposit.mailbox.slot;
            slot.load(self).await.map_err(Failure::Mailbox)?;
            let known = match &deposit.digest {
                None => None,
                Some(digest) => {
                    let key = rows::duplicate_key(&slot.id, digest);
                    let known = self.store.get(&key).await;
                    known.map_err(|error| CommitError::Engine(error.to_string()))?
                }
            };
            let is_outlived = known.as_ref().is_some_and(|row| is_outlived(&row.value, now));
            fresh.push(known.is_none() || is_outlived);
            outlived.push(known.filter(|_| is_outlived).map(|row| row.version));
        }
        Ok(Freshness { fresh, outlived })
    }

    /// Removes some rows about letters of long ago, of the mailboxes that got one now. Where to
    /// look is as random as the new letter's digest, so in time all are seen. Not waited for,
    /// and nothing is lost when it fails: other letters will come.
    async fn sweep_duplicates(&self, deposits: &[Deposit]) {
        let now = self.clock.now();
        for deposit in deposits {
            let Some(digest) = &deposit.digest else { continue };
            let all = store::prefix(&rows::duplicates_prefix(&deposit.mailbox.slot.id));
            let middle = rows::duplicate_key(&deposit.mailbox.slot.id, digest);
            let mut batch = Batch::new();
            let mut left = limits::DUPLICATES_SWEPT_AT_ONCE;
            for range in [middle.clone()..all.end, all.start..middle] {
                let Ok(page) = self.store.scan(range, left).await else { return };
                left -= page.rows.len();
                for (key, row) in page.rows.iter().filter(|(_, row)| is_outlived(&row.value, now)) {
                    batch.require_at(key.to_vec(), row.version);
                    batch.delete(key.to_vec());
                }
            }
            if !batch.writes.is_empty() {
                drop(self.store.submit(batch));
            }
        }
    }

    /// Builds all heads and hands the batch in, while every mailbox concerned is locked (in
    /// the order of their ids, so that two letters cannot wait for each other). `None`: a head
    /// was forgotten meanwhile.
    #[allow(clippy::type_complexity, reason = "used once, just above")]
    fn submit<'a>(
        &self,
        deposits: &'a [Deposit],
        summaries: &[Cow<'_, [u8]>],
        freshness: &Freshness,
        batch: &mut Batch,
    ) -> Result<
        Option<(Vec<Placed>, Vec<(&'a Slot, super::slot::Epoch)>, crate::infra::store::Committing)>,
        Failure,
    > {
        let fresh = &freshness.fresh;
        let mut placed = vec![Placed::Duplicate; deposits.len()];
        let mut by_mailbox: BTreeMap<MailboxId, Vec<usize>> = BTreeMap::new();
        for (place, deposit) in deposits.iter().enumerate().filter(|(place, _)| fresh[*place]) {
            by_mailbox.entry(deposit.mailbox.slot.id).or_default().push(place);
        }
        let mut locked = Vec::with_capacity(by_mailbox.len());
        for places in by_mailbox.into_values() {
            let slot: &Slot = &deposits[places[0]].mailbox.slot;
            let state = slot.lock();
            if state.head().is_none() {
                return Ok(None);
            }
            locked.push((slot, state, places));
        }
        // None is foretold before all are built: a mailbox that says no must leave no head behind
        // that nobody will write.
        let mut heads = Vec::with_capacity(locked.len());
        for (slot, state, places) in &locked {
            let Some(mut head) = state.head().cloned() else { return Ok(None) };
            if let Some(first) = places.first() {
                deposits[*first].mailbox.add_missing_folders(&mut head, batch);
            }
            let before = self.rules.usage(&head);
            for place in places.iter().copied() {
                let deposit = &deposits[place];
                let folder = existing(deposit.folder, &head);
                let more: Vec<(FolderId, Flags)> = deposit
                    .more
                    .iter()
                    .map(|(folder, flags)| (existing(*folder, &head), flags.clone()))
                    .collect();
                let mut put = |folder: FolderId, entry: Entry| {
                    self.rules
                        .check_letter(&before, &head, entry.size, deposit.room)
                        .map_err(Failure::Mailbox)?;
                    deposit
                        .mailbox
                        .put_message(folder, entry, &summaries[place], &mut head, batch)
                        .map_err(Failure::Mailbox)
                };
                let uid = put(folder, deposit.entry.clone())?;
                for (folder, flags) in &more {
                    put(*folder, Entry { flags: flags.clone(), ..deposit.entry.clone() })?;
                }
                if let Some(digest) = &deposit.digest {
                    let key = rows::duplicate_key(&slot.id, digest);
                    match freshness.outlived[place] {
                        None => batch.require_absent(key.clone()),
                        Some(version) => batch.require_at(key.clone(), version),
                    };
                    let arrived = deposit.entry.internal_date.as_millis();
                    batch.put(key, arrived.to_be_bytes().to_vec());
                }
                let uid_validity = head.folder(folder).map_or(0, |folder| folder.uid_validity);
                placed[place] = Placed::At { uid_validity, uid };
            }
            heads.push(head);
        }
        let mut slots = Vec::with_capacity(locked.len());
        for ((slot, state, _), head) in locked.iter_mut().zip(heads) {
            slots.push((*slot, state.foretell(&slot.id, head, batch)));
        }
        // Submitted before any lock is let go: the order of heads is the order of commits.
        let committing = self.store.submit(std::mem::take(batch));
        Ok(Some((placed, slots, committing)))
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

/// A folder that a filter chose may have been deleted in this moment: then INBOX.
fn existing(folder: FolderId, head: &rows::Head) -> FolderId {
    if head.folder(folder).is_some() { folder } else { FolderId::INBOX }
}

/// True when a row says that its letter came too long ago to count, or says nothing legible: a
/// letter that lies there twice is better than one that is lost.
fn is_outlived(value: &[u8], now: Timestamp) -> bool {
    let arrived = value.try_into().map(u64::from_be_bytes).map(Timestamp::from_millis);
    arrived.is_ok_and(|arrived| now.since(arrived) > limits::DUPLICATES_KNOWN_FOR)
        || arrived.is_err()
}

/// The sealed summaries as they are stored: shorter ones when together they would be too much
/// for one batch (a hundred recipients, and a letter of a thousand parts).
fn fitting_summaries(deposits: &[Deposit]) -> Vec<Cow<'_, [u8]>> {
    let octets = |deposit: &Deposit| deposit.sealed_summary.len() * (deposit.more.len() + 1);
    let octets_sum: usize = deposits.iter().map(octets).sum();
    let places: usize = deposits.iter().map(|deposit| deposit.more.len() + 1).sum();
    let share = limits::DELIVERED_SUMMARIES_OCTETS_MAX / places.max(1);
    let fits = |summary: &[u8]| summary.len() <= share;
    deposits
        .iter()
        .map(|deposit| {
            let sealed = deposit.sealed_summary.as_slice();
            if octets_sum <= limits::DELIVERED_SUMMARIES_OCTETS_MAX || fits(sealed) {
                return Cow::Borrowed(sealed);
            }
            let short = deposit.shorter_summary().filter(|short| fits(short));
            Cow::Owned(short.unwrap_or_else(|| deposit.shortest_summary()))
        })
        .collect()
}

impl Deposit {
    /// Without the structure, and with a bounded envelope.
    fn shorter_summary(&self) -> Option<Vec<u8>> {
        let keys = &self.mailbox.slot.keys;
        let context = messages::summary_context(&self.entry);
        let clear = keys.open_index(&context, &self.sealed_summary).ok()?;
        let short = summary::encode_short(&summary::decode(clear.expose())?);
        Some(keys.seal_index(&context, &short))
    }

    /// That there is a letter, and nothing of what it says.
    fn shortest_summary(&self) -> Vec<u8> {
        let context = messages::summary_context(&self.entry);
        let summary = summary::encode(&messages::safe_summary(&self.entry));
        self.mailbox.slot.keys.seal_index(&context, &summary)
    }
}
