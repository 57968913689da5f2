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

/// What is to become of a form that the relay sealed, now that it is to leave.
pub enum Standing {
    /// It leaves.
    Good,
    /// It was sealed to a key that is no longer the one; to this one it must be.
    Other(PeerCertificate),
    /// No key is known any more that may be used.
    Nothing,
    /// Nobody can say now.
    Unknown,
}

/// Whether a form with these marks is still sealed to the certificate of its recipient that may be
/// used: since it was made, that may have ended, been revoked, or given way to another.
pub async fn standing(office: &Arc<Office>, address: &Address, marks: &[[u8; 32]]) -> Standing {
    // What was sealed under a policy of before is no worse than in clear.
    if policy_of(office, address) == Policy::Never {
        return Standing::Good;
    }
    match contacts::find(office, address).await.map(|found| found.and_then(|it| it.certificate)) {
        Ok(Some(certificate)) => {
            match marks.contains(&certificate.encryption_mark(office.clock.now())) {
                true => Standing::Good,
                false => Standing::Other(certificate),
            }
        }
        Ok(None) => Standing::Nothing,
        Err(_) => Standing::Unknown,
    }
}
