//! Towards people outside: for whom letters are encrypted, and what happens without a key.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::status::Refusal;
use crate::flow::contacts;
use crate::flow::office::Office;
use crate::infra::config::gateway::Policy;
use crate::infra::keys::peers::PeerCertificate;

/// What the sender of a waiting letter, and an administrator, read of it.
pub const WITHHELD: &str = "openpgp.policies asks for encryption here, and no valid OpenPGP \
                            certificate of the recipient is known; an administrator can import \
                            one (vaguemestre keys import)";

/// What the configuration says of an address outside; the entry that names it best counts.
pub fn policy_of(office: &Office, address: &Address) -> Policy {
    office.config.gateway.policy_of(address)
}

/// Whether a letter to this address can be taken in: asked at RCPT, where the sender still knows
/// whom it is about.
///
/// # Errors
/// [`Refusal::OutsideKeyMissing`], or a temporary one when nobody can say.
pub async fn check(office: &Arc<Office>, address: &Address) -> Result<(), Refusal> {
    if office.hosts(address.domain()) {
        return Ok(());
    }
    match policy_of(office, address) {
        Policy::Require => certificate(office, address).await.map(|_| ()),
        Policy::Prefer | Policy::Never => Ok(()),
    }
}

/// The certificate to which a letter for this address is sealed; `None`: it goes as it came.
///
/// # Errors
/// [`Refusal::OutsideKeyMissing`] when one is required; a temporary one when nobody can say.
pub async fn certificate(
    office: &Arc<Office>,
    address: &Address,
) -> Result<Option<PeerCertificate>, Refusal> {
    let policy = policy_of(office, address);
    if policy == Policy::Never {
        return Ok(None);
    }
    let found = contacts::find(office, address).await;
    match (found.map(|found| found.and_then(|found| found.certificate)), policy) {
        (Ok(Some(certificate)), _) => Ok(Some(certificate)),
        (Ok(None), Policy::Require) => Err(Refusal::OutsideKeyMissing),
        (Err(refusal), Policy::Require) => Err(refusal),
        // A directory that is away must not stop letters for which nothing was promised.
        (_, _) => Ok(None),
    }
}

/// True when a letter must not be handed over to this recipient now: encryption is required, and
/// the letter is in clear. The one precondition of every attempt, whoever wrote the letter.
pub fn is_withheld(office: &Office, address: &Address, is_encrypted: bool) -> bool {
    !is_encrypted
        && !office.hosts(address.domain())
        && policy_of(office, address) == Policy::Require
}
