//! The keyring of the configuration: read first, opened when the store is there.
use crate::domain::time::Timestamp;
use crate::flow::rewrap;
use crate::infra::config::storage::Storage;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::master::Settings;
use crate::infra::keys::master::Sources;
use crate::infra::keys::master::Version;
use crate::infra::store::Store;
use anyhow::Context;
use std::sync::Arc;

/// Reads the keys. First of all, because everything else is pointless without them, and their
/// message is the clearest. `create`: nothing is sealed yet.
pub(super) async fn read(storage: &Storage, create: bool) -> anyhow::Result<Sources> {
    let settings =
        Settings { current: storage.master_key.clone(), old: storage.master_keys_old.clone() };
    // Tokens may take their time.
    let read = tokio::task::spawn_blocking(move || Sources::load(&settings, create)).await?;
    read.context("storage.master_key")
}

/// Opens the keyring; refuses when something is wrapped by a key that nobody gave us.
pub(super) async fn open(
    store: &Arc<dyn Store>,
    sources: Sources,
    now: Timestamp,
) -> anyhow::Result<Keyring> {
    // What every store of before versions has had from its first start on.
    let spool = store.get(rewrap::SPOOL_WRAPPED).await?;
    let before = spool.map(|row| (rewrap::SPOOL, row.value));
    let opened = Keyring::open(store, sources, before, now).await;
    let opened = opened.context("storage.master_key")?;
    if !opened.missing.is_empty() {
        refuse_or_go_on(store.as_ref(), &opened.missing).await?;
    }
    for note in opened.notes {
        tracing::warn!("storage.master_keys_old: {note}");
    }
    if let Some(version) = opened.begun.filter(|version| *version > 1) {
        tracing::info!(version, "a new master key: everything new is wrapped by it");
    }
    Ok(opened.keyring)
}

async fn refuse_or_go_on(store: &dyn Store, missing: &[Version]) -> anyhow::Result<()> {
    let counted = rewrap::count(store).await?;
    for version in missing {
        let left = counted.get(&version.number).copied().unwrap_or_default();
        if left == 0 {
            // A crash came between the last wrap and saying so; the walk says it.
            continue;
        }
        let keys = if left == 1 { "1 key is" } else { &format!("{left} keys of mailboxes are") };
        let reason = KeyError::Master(format!(
            "{keys} still wrapped by version {} ({}, in use since {}). Put that key back into \
             storage.master_keys_old, start, and take it out when `vaguemestre keys master status` \
             calls it retired",
            version.number, version.source, version.begun
        ));
        return Err(anyhow::Error::new(reason).context("storage.master_keys_old"));
    }
    Ok(())
}
