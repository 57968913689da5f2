//! Putting letters into mailboxes: several at once, in one durable commit with whatever else
//! must happen then (queue rows, facts), and never the same letter twice.
use std::collections::BTreeMap;

use crate::domain::envelope::BlobId;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Mailboxes;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::Shelf;
use crate::flow::mailbox::messages;
use crate::flow::mailbox::rows;
use crate::flow::mailbox::slot::Slot;
use crate::infra::keys::ContentKey;
use crate::infra::keys::KeyError;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::proto::mime::summary;

/// One letter for one mailbox, sealed and ready.
pub struct Deposit {
    mailbox: OpenMailbox,
    folder: FolderId,
    entry: Entry,
    sealed_summary: Vec<u8>,
    digest: Option<[u8; 32]>,
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
            size: letter.size,
            flags,
            modseq: ModSeq(0),
            blob: letter.blob,
            sealed_key: keys.wrap(letter.content_key).into(),
        };
        let sealed_summary = keys.seal_index(&messages::summary_context(&entry), letter.summary);
        let digest = identity.map(|octets| keys.digest(octets));
        Self { mailbox: mailbox.clone(), folder, entry, sealed_summary, digest }
    }
}

impl Mailboxes {
    /// Commits deposits and `build`'s batch together; durable when this returns. `build` is
    /// told which deposits are new, and may be called again after a conflict.
    pub async fn commit(
        &self,
        deposits: &[Deposit],
        build: impl FnMut(&[bool]) -> Result<Batch, CommitError>,
    ) -> Result<Vec<Placed>, CommitError> {
        self.shelf.commit(deposits, build).await
    }
}

impl Shelf {
    async fn commit(
        &self,
        deposits: &[Deposit],
        mut build: impl FnMut(&[bool]) -> Result<Batch, CommitError>,
    ) -> Result<Vec<Placed>, CommitError> {
        for _ in 0..super::ATTEMPTS_MAX {
            let fresh = self.fresh(deposits).await?;
            let mut batch = build(&fresh)?;
            let Some((placed, slots, committing)) = self.submit(deposits, &fresh, &mut batch)?
            else {
                continue;
            };
            match committing.await {
                Ok(()) => {
                    slots.iter().for_each(|(slot, _)| slot.announce());
                    return Ok(placed);
                }
                Err(error) => {
                    slots.iter().for_each(|(slot, epoch)| slot.forget(*epoch));
                    if !matches!(error, CommitError::Conflict) {
                        return Err(error);
                    }
                }
            }
        }
        Err(CommitError::Conflict)
    }

    /// Which deposits bring a letter that their mailbox has not had; loads the heads as well.
    async fn fresh(&self, deposits: &[Deposit]) -> Result<Vec<bool>, CommitError> {
        let failed = |error: String| CommitError::Engine(error);
        let mut fresh = Vec::with_capacity(deposits.len());
        for deposit in deposits {
            let slot = &deposit.mailbox.slot;
            slot.load(&self.store).await.map_err(|error| failed(error.to_string()))?;
            let known = match &deposit.digest {
                None => None,
                Some(digest) => {
                    let key = rows::duplicate_key(&slot.id, digest);
                    self.store.get(&key).await.map_err(|error| failed(error.to_string()))?
                }
            };
            fresh.push(known.is_none());
        }
        Ok(fresh)
    }

    /// Builds all heads and hands the batch in, while every mailbox concerned is locked (in
    /// the order of their ids, so that two letters cannot wait for each other). `None`: a head
    /// was forgotten meanwhile.
    #[allow(clippy::type_complexity, reason = "used once, just above")]
    fn submit<'a>(
        &self,
        deposits: &'a [Deposit],
        fresh: &[bool],
        batch: &mut Batch,
    ) -> Result<
        Option<(Vec<Placed>, Vec<(&'a Slot, super::slot::Epoch)>, crate::infra::store::Committing)>,
        CommitError,
    > {
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
        let mut slots = Vec::with_capacity(locked.len());
        for (slot, state, places) in &mut locked {
            let Some(mut head) = state.head().cloned() else { return Ok(None) };
            for place in places.iter().copied() {
                let deposit = &deposits[place];
                let uid = deposit
                    .mailbox
                    .put_message(
                        deposit.folder,
                        deposit.entry.clone(),
                        &deposit.sealed_summary,
                        &mut head,
                        batch,
                    )
                    .map_err(|error| CommitError::Engine(error.to_string()))?;
                if let Some(digest) = &deposit.digest {
                    let key = rows::duplicate_key(&slot.id, digest);
                    batch.require_absent(key.clone());
                    let arrived = deposit.entry.internal_date.as_millis();
                    batch.put(key, arrived.to_be_bytes().to_vec());
                }
                let uid_validity =
                    head.folder(deposit.folder).map_or(0, |folder| folder.uid_validity);
                placed[place] = Placed::At { uid_validity, uid };
            }
            slots.push((*slot, state.foretell(&slot.id, head, batch)));
        }
        // Submitted before any lock is let go: the order of heads is the order of commits.
        let committing = self.store.submit(std::mem::take(batch));
        Ok(Some((placed, slots, committing)))
    }
}

impl OpenMailbox {
    /// Files a message durably (Sent, Drafts…); answers UIDVALIDITY and UID.
    pub async fn append(
        &self,
        folder: FolderId,
        message: NewMessage,
    ) -> Result<(u32, Uid), MailboxError> {
        self.folder(folder).await?;
        let keywords = &message.flags.keywords;
        let long = keywords.iter().any(|word| word.len() > limits::KEYWORD_OCTETS_MAX);
        if long || keywords.len() > limits::KEYWORDS_MAX {
            return Err(MailboxError::OverLimit("keywords of one message"));
        }
        let content = message.content;
        let size = content.expose().len() as u64;
        let (keyring, certificate) =
            (std::sync::Arc::clone(&self.shelf.keys), self.slot.certificate.clone());
        // Sealing megabytes takes tens of milliseconds: not on a thread that serves others.
        let sealing = tokio::task::spawn_blocking(move || seal(&keyring, certificate, &content));
        let (sealed, summary) =
            sealing.await.map_err(|_| MailboxError::Unreadable("sealing stopped".to_owned()))??;
        let blob = BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let staged = self.shelf.blobs.stage(blob, sealed.ciphertext.into()).await?;
        let letter = Letter {
            blob,
            content_key: &sealed.content_key,
            size,
            summary: &summary,
            internal_date: message.internal_date.unwrap_or_else(|| self.shelf.clock.now()),
        };
        let deposit = Deposit::new(self, folder, &letter, message.flags, None);
        let placed = self
            .shelf
            .commit(std::slice::from_ref(&deposit), |_| {
                let mut batch = Batch::new();
                staged.ride(&mut batch, 1);
                Ok(batch)
            })
            .await?;
        match placed.first() {
            Some(Placed::At { uid_validity, uid }) => Ok((*uid_validity, *uid)),
            _ => Err(MailboxError::NoSuchFolder),
        }
    }
}

type SealedMessage = (crate::infra::keys::SealedContent, Vec<u8>);

fn seal(
    keyring: &crate::infra::keys::Keyring,
    certificate: crate::infra::keys::Certificate,
    content: &Secret<Vec<u8>>,
) -> Result<SealedMessage, KeyError> {
    let mut sealer = keyring.seal_to(&[certificate])?;
    sealer.write(content.expose())?;
    let sealed = sealer.finish()?;
    Ok((sealed, summary::encode(&summary::summarise(content.expose()))))
}
