//! Letters that a filter sends on. The mailbox that sends one on answers for it: its address is
//! the reverse path, and reports about failures come to it. The content is unchanged.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::address::ReversePath;
use crate::domain::envelope::BlobId;
use crate::domain::envelope::QueueId;
use crate::domain::fact::Fact;
use crate::domain::folder::Flags;
use crate::domain::folder::FolderId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::count;
use crate::flow::mailbox::Deposit;
use crate::flow::mailbox::Letter;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::Room;
use crate::flow::mailbox::commit_refusal;
use crate::flow::office::Office;
use crate::flow::seal::Sealed;
use crate::flow::timeline;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::keys::ContentKey;
use crate::infra::store::Batch;
use crate::infra::store::blobs::Released;
use crate::proto::mime::summary;

/// A letter that is promised to be sent on. The promise holds a reference to its content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Redirect {
    /// The mailbox whose filter it is.
    mailbox: String,
    /// True when the letter came with the null path: nobody hears of a failure then.
    is_null: bool,
    to: String,
    blob: [u8; 16],
    /// The content key, sealed for the spool.
    key: Vec<u8>,
    return_path_octets: u64,
    size: u64,
}

/// Whether a letter may be sent on to an address, as far as can be told at once.
pub(super) async fn may_go(office: &Office, sealed: &Sealed, to: &Address) -> Result<(), Refusal> {
    if !office.is_trusted(to.domain()) {
        return Err(Refusal::DomainNotTrusted);
    }
    // A patient gets letters from those who write them, not from filters.
    if office.is_patient_domain(to.domain()) {
        return Err(Refusal::PatientMayOnlyAnswer);
    }
    let hostname = office.config.operator.hostname.as_str();
    let passes = sealed.header().received_by.iter().filter(|by| *by == hostname).count();
    if passes >= office.config.queue.own_passes {
        return Err(Refusal::MailLoop);
    }
    // A patient wrote to one person: another may read it when the patient may write there.
    let patients =
        sealed.header().from.iter().filter(|from| office.is_patient_domain(from.domain()));
    for from in patients {
        if !crate::flow::exchange::is_open(office, from, to).await? {
            return Err(Refusal::PatientMayOnlyAnswer);
        }
    }
    if office.hosts(to.domain()) {
        match office.accounts.find(to).await {
            Ok(Some(account)) if account.suspended => return Err(Refusal::MailboxSuspended),
            Ok(Some(account)) if account.kind == MailboxKind::Citizen => {
                return Err(Refusal::PatientMayOnlyAnswer);
            }
            Ok(Some(_)) => {}
            Ok(None) => return Err(Refusal::MailboxUnknown),
            Err(_) => return Err(Refusal::DependencyFailed),
        }
    }
    Ok(())
}

/// What is promised.
pub(super) fn of(office: &Office, sealed: &Sealed, account: &Account, to: &Address) -> Redirect {
    let path = sealed.cleared().authenticated().reverse_path();
    let came = sealed.as_it_came();
    Redirect {
        mailbox: account.address.to_string(),
        is_null: path.address().is_none(),
        to: to.to_string(),
        blob: *came.blob.as_bytes(),
        key: office.spool_keys.wrap(&came.content_key),
        return_path_octets: came.return_path_octets,
        size: came.size,
    }
}

/// The fact that a letter was not sent on.
pub(super) fn refused(office: &Office, account: &Account, to: &Address, refusal: Refusal) -> Fact {
    let domain = account.address.domain().to_string();
    let fact = count::refused(office, domain, Some(account.kind), Some(to), refusal);
    office.metrics.count(&fact);
    tracing::info!(mailbox = ?account.id, %refusal, "a filter may not send a letter on");
    fact
}

/// Keeps the promise; `end` is the end of the promise. What is refused after all comes back into
/// INBOX.
///
/// # Errors
/// A temporary refusal: try again later.
pub async fn send(
    office: &Arc<Office>,
    letter: QueueId,
    redirect: &Redirect,
    end: Batch,
) -> Result<(), Refusal> {
    let _alone = office.filters.sending_on.lock().await;
    let blob = BlobId::from_bytes(redirect.blob);
    let addresses = (Address::parse(&redirect.mailbox), Address::parse(&redirect.to));
    let (Ok(mailbox), Ok(to)) = addresses else { return let_go(office, blob, end).await };
    let account = office.accounts.find(&mailbox).await.map_err(|_| Refusal::DependencyFailed)?;
    let Some(account) = account else { return let_go(office, blob, end).await };
    let all = office.config.limits.clear_octets.saturating_sub(1_024);
    let room = office.sending_memory.reserve(redirect.size.saturating_mul(2).min(all)).await?;
    let Some((key, clear)) = content(office, redirect, blob).await? else {
        tracing::error!(%letter, "a letter that was to be sent on cannot be opened");
        return let_go(office, blob, end).await;
    };
    let skip = usize::try_from(redirect.return_path_octets).unwrap_or(0);
    let travels = clear.expose().get(skip..).unwrap_or_default();
    let path = match redirect.is_null {
        true => ReversePath::Null,
        false => ReversePath::Address(account.address.clone()),
    };
    let note = |step: String| {
        let entry = Entry {
            at: office.clock.now(),
            recipient: Some(account.address.clone()),
            step: Step::Filtered(step),
        };
        let mut told = Batch::new();
        timeline::ride(office, letter, &[entry], &mut told);
        told
    };
    let (mut sent, released) = releasing(office, blob, end.clone()).await?;
    sent.extend(note("sent on".to_owned()));
    let refusal =
        match crate::flow::send_on(office, &account, path, to.clone(), travels, sent).await {
            Ok(()) => {
                office.blobs.sweep(released).await;
                return Ok(());
            }
            Err(refusal) if refusal.is_temporary() => return Err(refusal),
            Err(refusal) => refusal,
        };
    // Back into INBOX, as it came: the reference that the promise had becomes the message's, in
    // the commit that ends the promise, so that it lies there once, whatever happens. It has been
    // taken in, so a full mailbox bends for it.
    let home = office.mailboxes.open(&account).await.map_err(|error| as_refusal(&error))?;
    let summary = summary::encode(&summary::summarise(clear.expose()));
    drop((clear, room));
    let back = Letter {
        blob,
        content_key: &key,
        size: redirect.size,
        summary: &summary,
        internal_date: office.clock.now(),
    };
    let back = Deposit::new(&home, FolderId::INBOX, &back, Flags::default(), None);
    let mut also = end;
    also.extend(note(format!("not sent on: {}", refusal.name())));
    office.ledger.ride(&refused(office, &account, &to, refusal), &mut also);
    let deposits = [back.with_room(Room::Any)];
    let committed = office.mailboxes.commit(&deposits, |_| Ok(also.clone())).await;
    committed.map(|_| ()).map_err(|error| as_refusal(&error))
}

/// Ends the promise, and with it its reference to the content.
async fn let_go(office: &Office, blob: BlobId, end: Batch) -> Result<(), Refusal> {
    let (batch, released) = releasing(office, blob, end).await?;
    office.store.commit(batch).await.map_err(|error| commit_refusal(&error))?;
    office.blobs.sweep(released).await;
    Ok(())
}

async fn releasing(
    office: &Office,
    blob: BlobId,
    mut batch: Batch,
) -> Result<(Batch, Released), Refusal> {
    let released = office.blobs.release(blob, 1, &mut batch).await.map_err(|error| {
        tracing::error!(%error, "the content of a letter to be sent on cannot be let go");
        Refusal::StoreFailed
    })?;
    Ok((batch, released))
}

fn as_refusal(error: &MailboxError) -> Refusal {
    tracing::warn!(%error, "a letter that may not be sent on cannot come back yet");
    match error {
        MailboxError::Temporary(refusal) => *refusal,
        _ => Refusal::Busy,
    }
}

/// `None`: it will never open.
async fn content(
    office: &Office,
    redirect: &Redirect,
    blob: BlobId,
) -> Result<Option<(ContentKey, Arc<Secret<Vec<u8>>>)>, Refusal> {
    let ciphertext = office.blobs.read(blob).await.map_err(|_| Refusal::StoreFailed)?;
    let opened = office.spool_keys.unwrap(&redirect.key).and_then(|key| {
        let clear = office.spool_keys.open(&key, &ciphertext)?;
        Ok((key, clear))
    });
    Ok(opened.ok())
}
