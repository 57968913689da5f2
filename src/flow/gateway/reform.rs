//! A letter that waits gets another form: one in clear, for somebody for whom encryption is required
//! by now, as soon as there is a key; and one that was sealed to a key that must not be used any
//! more, before it leaves.
use std::sync::Arc;

use crate::domain::status::Refusal;
use crate::flow::gateway::Use;
use crate::flow::gateway::form;
use crate::flow::gateway::outbound;
use crate::flow::gateway::outbound::Standing;
use crate::flow::gateway::protection;
use crate::flow::gateway::record;
use crate::flow::gateway::sealing;
use crate::flow::gateway::signer;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::Letter;
use crate::infra::config::gateway::Policy;
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

/// Looks again at the forms that the relay sealed, before they leave: a certificate may have been
/// revoked, have ended or given way to another while they waited. Answers what of the attempt is
/// left (others wait again, with another form), and who of them must be put off.
pub async fn look_again(office: &Arc<Office>, claimed: Claimed) -> (Option<Claimed>, Vec<u16>) {
    let (mut waiting, mut withheld) = (Vec::new(), Vec::new());
    for recipient in claimed.recipients() {
        let form = claimed.letter().clone().in_form(recipient.form);
        if form.sealed_to.is_empty() {
            continue;
        }
        let address = &recipient.recipient.address;
        let is_required = outbound::policy_of(office, address) == Policy::Require;
        let standing = outbound::standing(office, address, &form.sealed_to).await;
        let source = form.as_it_came();
        let changed = match (standing, source) {
            (Standing::Good, _) => continue,
            (Standing::Unknown, _) if !is_required => continue,
            (Standing::Other(certificate), Some(source)) => {
                attempt(office, &claimed, &source, recipient, certificate).await
            }
            (Standing::Nothing, Some(_)) if !is_required => {
                queue::unseal(office, claimed.queue_id(), recipient).await
            }
            _ => Err(Refusal::OutsideKeyMissing),
        };
        let letter = claimed.queue_id();
        match changed {
            Ok(()) => {
                tracing::info!(%letter, "sealed anew: the recipient's certificate is another");
                waiting.push(recipient.number);
            }
            Err(refusal) => {
                tracing::warn!(%letter, %refusal, "sealed to a certificate that is not used any more");
                withheld.push(recipient.number);
            }
        }
    }
    (claimed.without(&waiting), withheld)
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
    let mark = certificate.encryption_mark(office.clock.now());
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
    let signer = signer(office, sender.as_ref()).await;
    let uses: Vec<Use> = signer.iter().map(|it| (it.mailbox, "sign a letter")).collect();
    record(office, &uses).await?;
    let (at, now, skip) = (Arc::clone(office), office.clock.now(), letter.return_path_octets);
    let made = tokio::task::spawn_blocking(move || {
        let protection = protection(&at);
        let sealed =
            sealing::sealed(clear.expose(), protection, &[certificate], signer.as_ref(), now)?;
        let skip = usize::try_from(skip).unwrap_or(0);
        let readers = [at.spool_certificate.clone()];
        let made = form(&at.keys, &readers, sealed.expose(), skip, true);
        drop(room);
        made
    });
    let mut made = made.await.map_err(|_| Refusal::DependencyFailed)??;
    made.sealed_to.push(mark);
    queue::reform(office, claimed.queue_id(), recipient, &made).await
}
