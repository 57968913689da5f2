//! The custody of keys: what is kept of their use, their escrow under a quorum of administrators,
//! and their destruction with a receipt.
use crate::domain::time::Timestamp;
use crate::flow::office::Office;

/// A checkpoint of the ledger of key uses goes to the log so often: whoever keeps the log elsewhere
/// can show that nothing was cut off.
const CHECKPOINT_EVERY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// What is looked at every hour: `told` is when the last checkpoint was logged.
pub async fn tidy(office: &Office, told: &mut Option<Timestamp>) {
    let now = office.clock.now();
    if told.is_none_or(|told| now.since(told) >= CHECKPOINT_EVERY) {
        match office.audit().checkpoint().await {
            Ok(checkpoint) => {
                tracing::info!(%checkpoint, "the ledger of key uses; audit verify --expect takes it");
                *told = Some(now);
            }
            Err(error) => tracing::error!(%error, "the ledger of key uses cannot be read"),
        }
    }
    let kept = office.config.custody.audit_kept;
    let until = Timestamp::from_millis(
        now.as_millis().saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)),
    );
    match office.audit().prune(until).await {
        Ok(0) => {}
        Ok(entries) => tracing::info!(entries, "key uses forgotten after audit.retention_days"),
        Err(error) => tracing::warn!(%error, "old key uses cannot be forgotten now"),
    }
}
