//! Filing messages (APPEND): each is sealed as it comes, so that no clear text waits for the next;
//! all of them are put there in one commit, and what they replace goes in the same.
use std::sync::Arc;

use crate::domain::envelope::BlobId;
use crate::domain::folder::FolderId;
use crate::domain::folder::ModSeq;
use crate::domain::folder::Uid;
use crate::domain::limits;
use crate::domain::rights::Right;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::mailbox::ATTEMPTS_MAX;
use crate::flow::mailbox::COPIED_AT_ONCE;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::ids;
use crate::flow::mailbox::index::News;
use crate::flow::mailbox::messages;
use crate::flow::mailbox::messages::Parting;
use crate::flow::mailbox::rows::Head;
use crate::infra::keys::Certificate;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::SealedContent;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::blobs::Blobs;
use crate::infra::store::blobs::StagedBlob;
use crate::proto::mime::summary;

/// A message that is sealed and may be filed. Its content is on disk if it is large; a message
/// that is dropped instead of being filed leaves nothing there.
pub struct Staged {
    entry: Entry,
    sealed_summary: Vec<u8>,
    blob: Option<StagedBlob>,
    blobs: Blobs,
}

impl Staged {
    /// Clear octets.
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    fn batch_octets(&self) -> usize {
        let inline = self.blob.as_ref().map_or(0, StagedBlob::batch_octets);
        messages::weight(&self.entry, &self.sealed_summary) + inline
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(blob) = self.blob.take().filter(StagedBlob::is_file) else { return };
        // Without a runtime the program ends; the next start collects the file.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let blobs = self.blobs.clone();
            runtime.spawn(async move { blobs.discard(blob).await });
        }
    }
}

impl OpenMailbox {
    /// Files a message durably (Sent, Drafts…); answers UIDVALIDITY and UID.
    pub async fn append(
        &self,
        folder: FolderId,
        message: NewMessage,
    ) -> Result<(u32, Uid), MailboxError> {
        self.must_have(folder, Right::Insert).await?;
        // Before the work of sealing it.
        let head = self.durable_head().await?;
        head.folder(folder).ok_or(MailboxError::NoSuchFolder)?;
        self.shelf.rules.check(&head, message.content.expose().len() as u64, 1)?;
        let staged = self.stage(message).await?;
        let placed = self.append_all(folder, vec![staged], None).await?;
        placed.first().copied().ok_or(MailboxError::NoSuchFolder)
    }

    /// Seals a message that is to be filed; its clear text ends here.
    pub async fn stage(&self, message: NewMessage) -> Result<Staged, MailboxError> {
        messages::check_keywords(&message.flags)?;
        let content = message.content;
        let size = content.expose().len() as u64;
        let (keyring, certificate) = (Arc::clone(&self.shelf.keys), self.certificate().clone());
        // Sealing megabytes takes tens of milliseconds: not on a thread that serves others.
        let sealing = tokio::task::spawn_blocking(move || seal(&keyring, certificate, &content));
        let (sealed, summary) =
            sealing.await.map_err(|_| MailboxError::Unreadable("sealing stopped".to_owned()))??;
        let blob = BlobId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let keys = &self.slot.keys;
        let now = self.shelf.clock.now();
        let date = message.internal_date.unwrap_or_else(|| now.into());
        let entry = Entry {
            uid: Uid(0),
            internal_date: date.at,
            zone: date.zone,
            saved: now,
            thread: ids::thread(keys, &summary, &blob),
            size,
            flags: message.flags,
            modseq: ModSeq(0),
            blob,
            sealed_key: keys.wrap(&sealed.content_key).into(),
            named: self.named(&summary),
        };
        let sealed_summary = keys.seal_index(&messages::summary_context(&entry), &summary);
        let staged = self.shelf.blobs.stage(blob, sealed.ciphertext.into()).await?;
        let blobs = self.shelf.blobs.clone();
        Ok(Staged { entry, sealed_summary, blob: Some(staged), blobs })
    }

    /// Files messages in their order, all or none; answers UIDVALIDITY and UID of each. With
    /// `replacing`, that message goes in the same commit (RFC 8508 §3), and when it is not there
    /// any more nothing is filed.
    pub async fn append_all(
        &self,
        folder: FolderId,
        mut staged: Vec<Staged>,
        replacing: Option<(FolderId, Uid)>,
    ) -> Result<Vec<(u32, Uid)>, MailboxError> {
        if staged.iter().map(Staged::batch_octets).sum::<usize>() > limits::TRANSFER_OCTETS_MAX {
            return Err(MailboxError::OverLimit(COPIED_AT_ONCE));
        }
        self.must_have(folder, Right::Insert).await?;
        if let Some((replaced, _)) = replacing {
            // RFC 8508 §3.4: the rights that STORE \Deleted and EXPUNGE would take.
            self.must_have(replaced, Right::DeleteMessages).await?;
            self.must_have(replaced, Right::Expunge).await?;
        }
        let rights = self.rights(folder).await?;
        let mut seen = Vec::with_capacity(staged.len());
        for message in &mut staged {
            let (kept, is_seen) = self.marks_for_new(rights, &message.entry.flags);
            message.entry.flags = kept;
            seen.push(is_seen);
        }
        let gate = match replacing {
            Some(_) => Some(self.slot.gate.lock().await),
            None => None,
        };
        // Taken out before anything is handed in: whoever stops waiting must not remove the file
        // of a content whose commit is on its way.
        let contents: Vec<StagedBlob> =
            staged.iter_mut().filter_map(|message| message.blob.take()).collect();
        let filed = self.file(folder, &staged, &contents, replacing).await;
        drop(gate);
        if let Ok(placed) = &filed {
            let numbers = placed.iter().zip(&seen).filter(|(_, is_seen)| **is_seen);
            self.mark_placed(folder, numbers.map(|((_, uid), _)| *uid)).await;
        } else {
            // Their files would lie there until the next start.
            for content in contents {
                self.shelf.blobs.discard(content).await;
            }
        }
        filed
    }

    async fn file(
        &self,
        folder: FolderId,
        staged: &[Staged],
        contents: &[StagedBlob],
        replacing: Option<(FolderId, Uid)>,
    ) -> Result<Vec<(u32, Uid)>, MailboxError> {
        let replaced = match replacing {
            None => None,
            Some((folder, uid)) => {
                let entry =
                    self.plain_entry(folder, uid).await?.ok_or(MailboxError::NoSuchMessage)?;
                Some((folder, entry))
            }
        };
        let octets = staged.iter().map(Staged::size).sum();
        for _ in 0..ATTEMPTS_MAX {
            let Parting { rows, released } = match &replaced {
                None => Parting::default(),
                Some((folder, entry)) => {
                    self.part_with(*folder, std::slice::from_ref(entry)).await?
                }
            };
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(rows);
                    if let Some((folder, entry)) = &replaced {
                        self.take_away(*folder, [entry], head, batch)?;
                    }
                    self.shelf.rules.check(head, octets, staged.len() as u64)?;
                    self.put_staged(folder, staged, contents, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(result) => {
                    let placed = result?;
                    for each in released {
                        self.shelf.blobs.sweep(each).await;
                    }
                    return Ok(placed);
                }
            }
        }
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    /// Puts another content in the place of a message: a new number, because what a number stands
    /// for never changes (RFC 9051 §2.3.1.1), with the dates and marks of the old one, and what its
    /// readers have seen. The old content goes in the same commit and is held by no rule. No right
    /// is asked for: the flow has decided. `None`: the message is not there any more.
    pub async fn put_in_place(
        &self,
        folder: FolderId,
        old: &Entry,
        mut staged: Staged,
    ) -> Result<Option<Uid>, MailboxError> {
        let _gate = self.slot.gate.lock().await;
        let there = self.plain_entry(folder, old.uid).await?;
        let Some(there) = there.filter(|there| there.blob == old.blob) else { return Ok(None) };
        staged.entry = Entry {
            internal_date: there.internal_date,
            zone: there.zone,
            saved: there.saved,
            flags: there.flags.clone(),
            ..staged.entry.clone()
        };
        // See `append_all`: from here on its file may be in a commit that is on its way.
        let Some(content) = staged.blob.take() else { return Ok(None) };
        for _ in 0..ATTEMPTS_MAX {
            let Parting { rows, released } = self.release(std::slice::from_ref(&there)).await?;
            let outcome = self
                .attempt(|head, batch| {
                    batch.extend(rows);
                    self.take_away(folder, [&there], head, batch)?;
                    content.ride(batch, 1);
                    let entry = staged.entry.clone();
                    self.put_message(folder, entry, &staged.sealed_summary, head, batch)
                })
                .await;
            match outcome {
                Err(CommitError::Conflict) => {}
                Err(error) => {
                    self.shelf.blobs.discard(content).await;
                    return Err(error.into());
                }
                Ok(Err(error)) => {
                    self.shelf.blobs.discard(content).await;
                    return Err(error);
                }
                Ok(Ok(uid)) => {
                    for each in released {
                        self.shelf.blobs.shred(each).await;
                    }
                    self.carry_marks(folder, folder, &[(there.uid, uid)]).await;
                    let now = self.shelf.clock.now();
                    self.shelf.index.keeper.noticed(&self.slot, now, News::Changed);
                    return Ok(Some(uid));
                }
            }
        }
        self.shelf.blobs.discard(content).await;
        Err(MailboxError::Temporary(Refusal::Busy))
    }

    fn put_staged(
        &self,
        folder: FolderId,
        staged: &[Staged],
        contents: &[StagedBlob],
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<Vec<(u32, Uid)>, MailboxError> {
        contents.iter().for_each(|content| content.ride(batch, 1));
        let saved = self.shelf.clock.now();
        let mut placed = Vec::with_capacity(staged.len());
        for message in staged {
            let entry = Entry { saved, ..message.entry.clone() };
            let uid = self.put_message(folder, entry, &message.sealed_summary, head, batch)?;
            let validity = head.folder(folder).ok_or(MailboxError::NoSuchFolder)?.uid_validity;
            placed.push((validity, uid));
        }
        Ok(placed)
    }
}

fn seal(
    keyring: &Keyring,
    certificate: Certificate,
    content: &Secret<Vec<u8>>,
) -> Result<(SealedContent, Vec<u8>), KeyError> {
    let mut sealer = keyring.seal_to(&[certificate])?;
    sealer.write(content.expose())?;
    let sealed = sealer.finish()?;
    Ok((sealed, summary::encode(&summary::summarise(content.expose()))))
}
