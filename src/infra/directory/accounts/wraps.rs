//! Wrapped keys of accounts, when the master key changes: walked row by row, nothing else of a
//! row is opened or changed.
use bytes::Bytes;

use crate::domain::mailbox::MailboxId;
use crate::infra::directory::accounts::rows;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::StoreError;

/// What one step of the walk did.
#[derive(Debug, Default)]
pub struct Walked {
    /// Rows that were looked at.
    pub rows: u64,
    /// The last of them; `None` when there was none.
    pub last: Option<Vec<u8>>,
    /// More rows are behind it.
    pub more: bool,
    /// Of them, those whose key could not be wrapped anew.
    pub failed: Vec<MailboxId>,
}

/// What is to be done with one wrapped key.
pub enum Rewrap {
    /// It stays.
    Keep,
    /// This takes its place.
    With(Vec<u8>),
    /// It does not open.
    Fails,
}

/// The range of rows, for whoever begins.
pub fn first() -> Vec<u8> {
    rows::BY_ID.to_vec()
}

/// Looks at the next `count` accounts behind the row `after`, and adds to `batch` those whose
/// wrapped key changes, each on the version that was read.
///
/// # Errors
/// [`StoreError`] when the store does not answer.
pub async fn step(
    store: &dyn Store,
    after: &[u8],
    count: usize,
    batch: &mut Batch,
    mut change: impl FnMut(&MailboxId, &[u8]) -> Rewrap,
) -> Result<Walked, StoreError> {
    let mut range = store::prefix(rows::BY_ID);
    if after.len() > rows::BY_ID.len() {
        range.start = [after, &[0]].concat();
    }
    let page = store.scan(range, count).await?;
    let mut walked = Walked { more: page.more, ..Walked::default() };
    for (key, found) in page.rows {
        walked.rows += 1;
        let id = key.get(rows::BY_ID.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
        let id = MailboxId::from_bytes(id.unwrap_or_default());
        match rows::rewrapped(&found.value, |wrapped| change(&id, wrapped)) {
            Some(Rewrap::Keep) => {}
            Some(Rewrap::With(value)) => {
                batch.require_at(key.to_vec(), found.version);
                batch.put(key.to_vec(), Bytes::from(value));
            }
            Some(Rewrap::Fails) | None => walked.failed.push(id),
        }
        walked.last = Some(key.to_vec());
    }
    Ok(walked)
}
