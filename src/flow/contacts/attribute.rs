//! Asking our own directory for the certificate of somebody outside.
//!
//! The directory is ours, and what stands in it was written by our own administrators, or copied
//! from elsewhere by a program: it is a source like any other. What it shows is checked, pinned,
//! and never takes the place of what is pinned by itself.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::directory::DirectoryError;
use crate::infra::keys::peers::CertificateFlaw;
use crate::infra::keys::peers::PeerCertificate;

/// True when the directory is asked about this address.
pub(super) fn may_ask(office: &Office, address: &Address) -> bool {
    let is_configured = office.contacts.directory.is_some() && office.config.openpgp.ldap.is_some();
    is_configured && !office.hosts(address.domain())
}

/// The certificates that the directory shows for an address; none when it knows none. `Err`: it
/// did not say anything that can be understood.
pub(super) async fn ask(
    office: &Arc<Office>,
    address: &Address,
) -> Result<Vec<PeerCertificate>, String> {
    let (Some(directory), Some(shown)) = (&office.contacts.directory, &office.config.openpgp.ldap)
    else {
        return Ok(Vec::new());
    };
    let question = async {
        let turn = office.contacts.asking.acquire().await;
        let _turn = turn.map_err(|_| "the relay stops".to_owned())?;
        let values = directory.values_of(&address.to_string(), &shown.attribute).await;
        values.map_err(|error| match error {
            DirectoryError::Away { reason, .. } => reason,
            error => error.to_string(),
        })
    };
    let late = || Err("the directory does not answer in time".to_owned());
    let values = tokio::time::timeout(limits::WKD_TIMEOUT, question).await;
    let values = values.unwrap_or_else(|_| late())?;
    let mut certificates = Vec::new();
    for value in &values {
        if value.len() > limits::OPENPGP_RING_OCTETS_MAX {
            continue;
        }
        match PeerCertificate::read_ring(value) {
            Ok(ring) => certificates.extend(ring),
            // Whoever put it there must hear of it.
            Err(flaw @ CertificateFlaw::HoldsSecret) => return Err(flaw.to_string()),
            Err(_) => tracing::warn!(
                attribute = shown.attribute,
                "an entry of the directory holds no OpenPGP certificate there"
            ),
        }
    }
    // Values that are all unreadable are no word that there is none.
    if certificates.is_empty() && !values.is_empty() {
        return Err("what it shows holds no OpenPGP certificate".to_owned());
    }
    certificates.truncate(limits::OPENPGP_RING_MAX);
    Ok(certificates)
}
