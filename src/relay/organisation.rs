//! The organisation's own OpenPGP key: it signs what the relay says of itself (receipts, exported
//! ledgers), and letters of mailboxes that have no key of their own.
use std::sync::Arc;

use anyhow::Context;

use crate::domain::time::Timestamp;
use crate::flow::rewrap::ORGANISATION as OWNER;
use crate::flow::rewrap::ORGANISATION_WRAPPED as WRAPPED;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store::Batch;
use crate::infra::store::Store;

const CERTIFICATE: &[u8] = b"K/organisation/certificate";

/// The key, made at the first start. Its user id is the operator's name.
pub(super) async fn open(
    store: &Arc<dyn Store>,
    keys: &Keyring,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<(PeerCertificate, MailboxKeys)> {
    let stored = (store.get(CERTIFICATE).await?, store.get(WRAPPED).await?);
    let (certificate, wrapped) = match stored {
        (Some(certificate), Some(wrapped)) => (certificate.value, wrapped.value),
        _ => {
            let new = keys.generate(&OWNER, name, now)?;
            let mut batch = Batch::new();
            batch.require_absent(CERTIFICATE).require_absent(WRAPPED);
            batch.put(CERTIFICATE, new.certificate.clone()).put(WRAPPED, new.wrapped.clone());
            store.commit(batch).await?;
            (new.certificate, new.wrapped)
        }
    };
    let unlocked = keys
        .unlock(&OWNER, &wrapped)
        .context("the organisation's key was sealed with another master key")?;
    let certificate =
        PeerCertificate::read(&certificate).context("the organisation's certificate is damaged")?;
    Ok((certificate, unlocked))
}
