//! What is destroyed with a mailbox, and in which order.
//!
//! First the keys, in the commit that says that it is closed: from then on nothing of it can be
//! read, whatever else still lies there. Then its rows and contents, in pieces. A mark stays until
//! a later look finds nothing left, so a kill at any moment only puts the rest off.
use std::sync::Arc;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::flow::custody::escrow;
use crate::flow::life::rows;
use crate::flow::office::Office;
use crate::flow::own;
use crate::flow::published;
use crate::flow::team;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

/// Commits `also` with the end of the account, its keys and its head.
pub(super) async fn end(
    office: &Office,
    account: &Account,
    mut also: Batch,
) -> Result<(), CommitError> {
    match office.accounts.stage_end(&account.address, &mut also).await {
        Ok(()) => {}
        // Somebody else ended it meanwhile: read again.
        Err(DirectoryError::Unknown) => return Err(CommitError::Conflict),
        Err(error) => return Err(CommitError::Engine(error.to_string())),
    }
    escrow::stage_end(&account.id, &mut also);
    also.put(rows::left_key(&account.id), Vec::new());
    published::stage_end(office, account, &mut also).await;
    own::stage_end(&account.id, &mut also);
    office.mailboxes.end(&account.id, also).await?;
    own::ended(office, &account.id);
    Ok(())
}

/// Removes what is left of an ended mailbox; answers whether nothing is.
pub(super) async fn clear_away(office: &Arc<Office>, id: &MailboxId) -> bool {
    let cleared = async {
        let delegations = team::forget_mailbox(office, id).await?;
        // Passkeys have rows that do not begin with their mailbox.
        let none = Batch::new();
        office.factors.clear(id, &none).await.map_err(|error| error.to_string())?;
        let kept = office.accounts.clear_away(id).await.map_err(|error| error.to_string())?;
        let rows = office.mailboxes.clear_away(id).await.map_err(|error| error.to_string())?;
        if delegations + kept + rows > 0 {
            // Somebody who had it open may have written beside it: look once more later.
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(rows::left_key(id));
        office.store.commit(batch).await.map_err(|error| error.to_string())?;
        Ok(true)
    };
    cleared.await.unwrap_or_else(|error: String| {
        tracing::warn!(mailbox = ?id, %error, "rows of an ended mailbox are left for now");
        false
    })
}

/// Goes on where a kill, or a full disk, interrupted.
pub(super) async fn clear_all(office: &Arc<Office>) -> Result<(), String> {
    let page = office.store.scan(store::prefix(rows::LEFT), limits::SCAN_ROWS_MAX).await;
    let page = page.map_err(|error| error.to_string())?;
    for (key, _) in &page.rows {
        if let Some(id) = rows::mailbox_of(rows::LEFT, key) {
            clear_away(office, &id).await;
        }
    }
    Ok(())
}
