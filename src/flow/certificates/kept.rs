//! The certificates and keys that were in use last, so that a restart is no consent.
//!
//! A new certificate may wait (see [`change`](super::change)). Who waits must go on waiting when
//! the relay starts again, for whatever reason it does: a start that took the files as they are
//! would show other operators a certificate that they refuse, and nobody would have said yes.
//! Chain and key lie in the store, sealed with the master key.
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::flow::certificates::Role;
use crate::flow::certificates::change;
use crate::flow::certificates::change::Consent;
use crate::flow::office::Office;
use crate::infra::net::Identity;
use crate::infra::store::Batch;
use crate::infra::store::row;

const FORMAT: u8 = 1;
/// What the sealed rows are for; nothing else opens them.
const PURPOSE: &str = "certificate in use";

/// Rows `K/certificate/<role>` -> chain and key, sealed.
fn key(role: Role) -> Vec<u8> {
    format!("K/certificate/{}", role.name()).into_bytes()
}

/// To be called once at the start, before any door opens: takes up again what was in use, and
/// then looks at the files as at any other time. Without such rows the files count as they are.
pub async fn resume(office: &Office) {
    match office.tls.read() {
        Ok(mut material) => {
            let mut differs = false;
            for (role, place) in
                [(Role::Operator, &mut material.operator), (Role::People, &mut material.people)]
            {
                if let Some(kept) = load(office, role).await
                    && kept.chain != place.chain
                {
                    *place = kept;
                    differs = true;
                }
            }
            if differs {
                match office.tls.apply(material) {
                    // Failures and what waits are told inside.
                    Ok(()) => drop(change::reload(office, &Consent::default()).await),
                    Err(error) => {
                        tracing::error!(%error, "the certificates of before cannot be used again");
                    }
                }
            }
        }
        Err(error) => tracing::error!(%error, "the files of certificates cannot be read again"),
    }
    keep(office).await;
}

/// Writes down what is in use, where that has changed. Its failure is told and is no reason to
/// stop: it costs what a restart would otherwise know.
pub(super) async fn keep(office: &Office) {
    let mut batch = Batch::new();
    for (role, used) in [
        (Role::Operator, office.tls.operator_identity()),
        (Role::People, office.tls.people_identity()),
    ] {
        if load(office, role).await.is_some_and(|kept| kept.chain == used.chain) {
            continue;
        }
        let chain: Vec<&[u8]> = used.chain.iter().map(AsRef::as_ref).collect();
        let clear = Zeroizing::new(row::encode(FORMAT, &(chain, used.key.secret_der())));
        batch.put(key(role), office.keys.seal_small(PURPOSE, &clear));
    }
    if batch.writes.is_empty() {
        return;
    }
    if let Err(error) = office.store.commit(batch).await {
        tracing::error!(%error, "the certificates in use are not kept: a restart takes the files");
    }
}

/// `None` when nothing is kept, or it cannot be read; that is told.
async fn load(office: &Office, role: Role) -> Option<Identity> {
    let stored = match office.store.get(&key(role)).await {
        Ok(stored) => stored?,
        Err(error) => {
            tracing::error!(%error, role = role.name(), "the kept certificate cannot be read");
            return None;
        }
    };
    let read = || {
        let clear = office.keys.open_small(PURPOSE, &stored.value).ok()?;
        let (chain, key): (Vec<Vec<u8>>, Vec<u8>) = row::decode(FORMAT, clear.expose())?;
        let key = PrivateKeyDer::try_from(key).ok()?;
        Some(Identity { chain: chain.into_iter().map(CertificateDer::from).collect(), key })
    };
    let identity = read();
    if identity.is_none() {
        tracing::error!(role = role.name(), "the kept certificate is damaged; the files count");
    }
    identity
}
