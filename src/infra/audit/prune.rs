//! What is too old goes from the front. An anchor takes its place: the number and the hash of the
//! last entry that went, marked by the relay's keys, and written into an entry of the chain, in the
//! same commit. So the rest can be proved, and nobody else can cut the front off.
use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::audit::ANCHOR;
use crate::infra::audit::Anchor;
use crate::infra::audit::Audit;
use crate::infra::audit::AuditError;
use crate::infra::audit::Draft;
use crate::infra::audit::ENTRIES;
use crate::infra::audit::FORMAT;
use crate::infra::audit::Hash;
use crate::infra::audit::Who;
use crate::infra::audit::decode;
use crate::infra::audit::hex;
use crate::infra::audit::marked;
use crate::infra::store;
use crate::infra::store::row;

impl Audit {
    /// Removes entries from before `until`, at most `limits::AUDIT_PRUNED_AT_ONCE`, and answers how
    /// many. The last entry of the chain always stays.
    ///
    /// # Errors
    /// [`AuditError`]: nothing was removed.
    pub async fn prune(&self, until: Timestamp) -> Result<usize, AuditError> {
        let end = self.checkpoint().await?.number;
        let mut gone: Vec<Vec<u8>> = Vec::new();
        let mut last = None;
        let mut range = store::prefix(ENTRIES);
        'rows: while gone.len() < limits::AUDIT_PRUNED_AT_ONCE {
            let page = self.0.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
            for (key, row) in &page.rows {
                match decode(key, &row.value) {
                    Some(entry) if entry.at < until && entry.number < end => {
                        gone.push(key.to_vec());
                        last = Some((entry.number, entry.hash));
                    }
                    // A damaged one stays: `audit verify` must still find it.
                    _ => break 'rows,
                }
            }
            match page.rows.last() {
                Some((key, _)) if page.more => range.start = [key.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        let Some((through, hash)) = last else { return Ok(0) };
        let mark = self.0.witness.mark(&marked(b"anchor", through, &hash));
        let anchor = row::encode(FORMAT, &Anchor { through, hash, mark });
        let count = gone.len();
        let draft = Draft::new(None, &Who::Relay, "relay", &why(through, &hash), count as u64);
        self.append(&draft, |batch| {
            for key in &gone {
                batch.delete(key.clone());
            }
            batch.put(ANCHOR, anchor.clone());
        })
        .await?;
        Ok(count)
    }
}

/// What the entry about an anchor says.
pub(super) fn why(through: u64, hash: &Hash) -> String {
    format!("pruned through {through}:{}", hex(hash))
}
