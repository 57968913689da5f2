//! What is kept of key uses, and how often recovery is practised: `[audit]`, `[escrow]`.
use std::time::Duration;

use crate::infra::config::build::DAY;
use crate::infra::config::build::Reader;

/// The custody of keys.
#[derive(Clone, Debug)]
pub struct Custody {
    /// `audit.retention_days`: entries of the ledger of key uses are kept for so long.
    pub audit_kept: Duration,
    /// `escrow.drill_days`: a drill of recovery is due after so long.
    pub drill_due: Duration,
}

impl Reader {
    pub(super) fn custody(&mut self) -> Option<Custody> {
        let kept = self.number("audit.retention_days", 1_095, 1, 36_500);
        let drill = self.number("escrow.drill_days", 366, 1, 3_660);
        Some(Custody {
            audit_kept: Duration::from_secs(kept? * DAY),
            drill_due: Duration::from_secs(drill? * DAY),
        })
    }
}
