//! What is filed in the mailbox of somebody who keeps their own key: drafts and copies of what was
//! sent, by a program (APPEND) or by the pages. It lies there as letters do that arrive: PGP/MIME
//! that only its owner opens.
use std::sync::Arc;

use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::gateway::COPIES_WHILE_SEALING;
use crate::flow::gateway::SLACK_OCTETS;
use crate::flow::gateway::Signer;
use crate::flow::gateway::Use;
use crate::flow::gateway::protection;
use crate::flow::gateway::record;
use crate::flow::gateway::sealing;
use crate::flow::gateway::signer;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::Office;
use crate::flow::own;
use crate::infra::directory::Account;
use crate::proto::mime::summary;
use crate::proto::pgpmime;
use crate::proto::pgpmime::Found;
use crate::proto::pgpmime::Protection;

/// A message that the relay itself files for somebody: sealed to their own certificate, if they
/// have one, and signed as a letter of theirs would be.
///
/// # Errors
/// [`MailboxError::Temporary`] when it cannot be sealed now: it is not filed in clear instead.
pub async fn for_owner(
    office: &Arc<Office>,
    account: &Account,
    message: Secret<Vec<u8>>,
) -> Result<Secret<Vec<u8>>, MailboxError> {
    if own::registered(office, &account.id).is_none() {
        return Ok(message);
    }
    let signer = signer(office, Some(account)).await;
    let uses: Vec<Use> = signer.iter().map(|it| (it.mailbox, "sign a letter")).collect();
    record(office, &uses).await.map_err(MailboxError::Temporary)?;
    sealed(office, &account.id, message, signer).await.map(|(message, _)| message)
}

/// A message that a program files in this mailbox: sealed to the own certificate of whose it is,
/// if they have one. It is not signed: nobody here knows who wrote it. What came sealed stays
/// octet for octet as it came.
///
/// # Errors
/// As [`for_owner`].
pub async fn filed(
    office: &Arc<Office>,
    id: &MailboxId,
    message: Secret<Vec<u8>>,
) -> Result<Secret<Vec<u8>>, MailboxError> {
    if own::registered(office, id).is_none() {
        return Ok(message);
    }
    sealed(office, id, message, None).await.map(|(message, _)| message)
}

/// The message as it is to lie there, and whether it was not sealed before.
pub(super) async fn sealed(
    office: &Arc<Office>,
    id: &MailboxId,
    message: Secret<Vec<u8>>,
    signer: Option<Signer>,
) -> Result<(Secret<Vec<u8>>, bool), MailboxError> {
    let certificate = own::of(office, id).await.map_err(MailboxError::Temporary)?;
    let Some(certificate) = certificate else { return Ok((message, false)) };
    let octets = message.expose().len() as u64;
    // Whoever has all that there is needs no more: see `Plan::grow`.
    let most = office.config.limits.clear_octets.saturating_sub(octets * 2 + SLACK_OCTETS);
    let room = octets.saturating_mul(COPIES_WHILE_SEALING).min(most);
    let mut permit = office.clear_memory.reserve(0).await.map_err(MailboxError::Temporary)?;
    office.clear_memory.grow(&mut permit, room).map_err(MailboxError::Temporary)?;
    let (at, now) = (Arc::clone(office), office.clock.now());
    let sealing = tokio::task::spawn_blocking(move || {
        let _room = permit;
        if is_sealed(message.expose()) {
            return Ok((message, false));
        }
        let protection = Protection { keeps_bcc: true, ..protection(&at) };
        let (letter, signer) = (message.expose(), signer.as_ref());
        sealing::sealed(letter, protection, &[certificate], signer, now).map(|it| (it, true))
    });
    let sealed = sealing.await.map_err(|_| MailboxError::Temporary(Refusal::DependencyFailed))?;
    sealed.map_err(MailboxError::Temporary)
}

/// True when all of a message is under a seal of OpenPGP already.
fn is_sealed(message: &[u8]) -> bool {
    let found = pgpmime::find(message, &summary::summarise(message).structure);
    matches!(found, Some(Found::Encrypted(_) | Found::Inline(_)))
}
