//! Letters of before: what a mailbox got before its owner registered a key of their own lies there
//! under the relay's key alone. Here it is put under the owner's, step by step.
//!
//! A step is a bounded piece of work, and each message is one commit. Nothing is remembered between
//! steps but a place, which whoever asks keeps; without it the walk begins anew and passes over
//! what is sealed. So a kill at any moment costs nothing.
use std::sync::Arc;

use crate::domain::folder::FolderId;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::gateway::filed;
use crate::flow::mailbox::Entry;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::NewMessage;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::flow::own;
use crate::infra::audit::Who;
use crate::infra::directory::Account;
use crate::infra::journal::Entry as JournalEntry;
use crate::infra::store::Batch;
use crate::proto::pgpmime;

/// Rows that are read at a time.
const ROWS_AT_ONCE: usize = 64;

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Messages that were looked at.
    pub looked: u64,
    /// Those that were put under the owner's seal.
    pub sealed: u64,
    /// Those that do not open, and stay as they are.
    pub unreadable: u64,
    /// Where the next step begins: a folder's number, and a message's; `None`: all is done.
    pub next: Option<(u32, u32)>,
}

/// Puts some letters of a mailbox under the seal of its owner, from a place on; from the beginning
/// without one. Each gets a new number; dates, marks and what readers have seen stay.
///
/// # Errors
/// A sentence: what was done so far stays done.
pub async fn reseal(
    office: &Arc<Office>,
    account: &Account,
    author: &str,
    reason: &str,
    from: Option<(u32, u32)>,
) -> Result<Resealed, String> {
    let said = |error: MailboxError| error.to_string();
    let registered = own::of(office, &account.id).await;
    let certificate = registered
        .map_err(|_| "the own certificate cannot be used: it has ended or was revoked")?
        .ok_or("no own certificate is registered")?;
    if from.is_none() {
        let mut batch = Batch::new();
        let entry = JournalEntry {
            at: office.clock.now(),
            author: author.to_owned(),
            action: "keys own reseal".to_owned(),
            target: format!("{:?}", account.address),
            reason: reason.to_owned(),
            outcome: format!("begun, to {}", certificate.fingerprint()),
        };
        office.journal.ride(&entry, &mut batch);
        office.store.commit(batch).await.map_err(|error| error.to_string())?;
    }
    let mailbox = office.mailboxes.open(account).await.map_err(said)?;
    let who = Who::Administrator(author.to_owned());
    let mailbox = mailbox.read_by(who, "control", "seal earlier letters to the own certificate");
    let (first, first_uid) = from.unwrap_or((0, 1));
    let mut folders = mailbox.folders().await.map_err(said)?;
    folders.retain(|folder| folder.id.0 >= first);
    folders.sort_by_key(|folder| folder.id.0);
    let (mut done, mut octets) = (Resealed::default(), 0);
    for folder in folders {
        let mut next = if folder.id.0 == first { first_uid } else { 1 };
        // What is filed from here on comes under the seal by itself.
        let end = folder.uid_next.0;
        while next < end {
            let entries = mailbox.entries(folder.id, next..=end - 1, ROWS_AT_ONCE).await;
            let entries = entries.map_err(said)?;
            let Some(last) = entries.last().map(|entry| entry.uid.0) else { break };
            let summaries = mailbox.summaries(folder.id, &entries).await.map_err(said)?;
            for (entry, summary) in entries.iter().zip(summaries) {
                if octets >= limits::RESEALED_OCTETS_AT_ONCE {
                    done.next = Some((folder.id.0, entry.uid.0));
                    return Ok(done);
                }
                done.looked += 1;
                octets += limits::RESEALED_OCTETS_EACH;
                if pgpmime::looks_encrypted(&summary.structure) {
                    continue;
                }
                octets += entry.size;
                match one(office, &mailbox, folder.id, entry).await {
                    Ok(sealed) => done.sealed += u64::from(sealed),
                    Err(MailboxError::Unreadable(why)) => {
                        tracing::warn!(mailbox = ?account.id, %why, "a letter stays as it is");
                        done.unreadable += 1;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            next = last.saturating_add(1);
        }
    }
    Ok(done)
}

/// One message; false when it was sealed already, or is gone.
async fn one(
    office: &Arc<Office>,
    mailbox: &OpenMailbox,
    folder: FolderId,
    entry: &Entry,
) -> Result<bool, MailboxError> {
    let room = office.reading_memory.reserve(entry.size * 2).await;
    let room = room.map_err(MailboxError::Temporary)?;
    let clear = mailbox.content(entry).await?;
    let clear = Secret::new(clear.expose().to_vec());
    let (content, is_new) = filed::sealed(office, &mailbox.id(), clear, None).await?;
    drop(room);
    if !is_new {
        return Ok(false);
    }
    // Marks and dates are taken over when it is put in place.
    let message = NewMessage { content, flags: entry.flags.clone(), internal_date: None };
    let staged = mailbox.stage(message).await?;
    Ok(mailbox.put_in_place(folder, entry, staged).await?.is_some())
}
