//! A letter that waits in clear, for somebody for whom encryption is required by now, gets another
//! form as soon as there is a key.
use std::sync::Arc;

use crate::domain::status::Refusal;
use crate::flow::gateway::form;
use crate::flow::gateway::outbound;
use crate::flow::gateway::protection;
use crate::flow::gateway::sealing;
use crate::flow::gateway::signers;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::Letter;
use crate::infra::directory::Mailboxes;
use crate::infra::keys::peers::PeerCertificate;

/// Gives one leased recipient a form under a seal; true when that is durable. The attempt is over
/// then: the recipient waits again, due now.
pub async fn reform(
    office: &Arc<Office>,
    claimed: &Claimed,
    letter: &Letter,
    recipient: &ClaimedRecipient,
) -> bool {
    let address = &recipient.recipient.address;
    let Ok(Some(certificate)) = outbound::certificate(office, address).await else {
        return false;
    };
    match attempt(office, claimed, letter, recipient, certificate).await {
        Ok(()) => {
            tracing::info!(letter = %claimed.queue_id(), "a waiting letter is encrypted now");
            true
        }
        Err(refusal) => {
            tracing::warn!(letter = %claimed.queue_id(), %refusal, "it stays withheld");
            false
        }
    }
}

async fn attempt(
    office: &Arc<Office>,
    claimed: &Claimed,
    letter: &Letter,
    recipient: &ClaimedRecipient,
    certificate: PeerCertificate,
) -> Result<(), Refusal> {
    let all = office.config.limits.clear_octets.saturating_sub(1_024);
    let room = letter.size.saturating_mul(super::COPIES_WHILE_SEALING).min(all);
    let room = office.sending_memory.reserve(room).await?;
    let ciphertext = office.blobs.read(letter.blob).await.map_err(|_| Refusal::StoreFailed)?;
    let opened = office
        .spool_keys
        .unwrap(&letter.sealed_key)
        .and_then(|key| office.spool_keys.open(&key, &ciphertext));
    let clear = opened.map_err(|_| Refusal::DependencyFailed)?;
    let sender = match letter.reverse_path.address() {
        Some(sender) => office.accounts.find(sender).await.ok().flatten(),
        None => None,
    };
    let signers = signers(office, sender.as_ref()).await;
    let (at, now, skip) = (Arc::clone(office), office.clock.now(), letter.return_path_octets);
    let made = tokio::task::spawn_blocking(move || {
        let protection = protection(&at);
        let sealed = sealing::sealed(clear.expose(), protection, &[certificate], &signers, now)?;
        let skip = usize::try_from(skip).unwrap_or(0);
        let readers = [at.spool_certificate.clone()];
        let made = form(&at.keys, &readers, sealed.expose(), skip, true);
        drop(room);
        made
    });
    let made = made.await.map_err(|_| Refusal::DependencyFailed)??;
    queue::reform(office, claimed.queue_id(), recipient, &made).await
}
