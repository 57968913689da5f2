//! Certificates of our mailboxes: which of them others may look up, and how they live.
//!
//! Only professionals' mailboxes that are open and listed are published, never a patient's: its
//! address is a number, and a hash of a number is soon guessed. What was revoked stays published,
//! also when its mailbox is closed: whoever still has it must be able to hear of it.
//!
//! Rows `O/r/<mailbox><fingerprint>` -> revoked certificate, sealed; `O/d` -> the last day on which
//! certificates that end were looked for.
mod renew; // what the clock does
mod look; // who asks for which

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::status::Refusal;
use crate::flow::contacts;
use crate::flow::custody::escrow;
use crate::flow::office::Office;
use crate::infra::audit::Who;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::accounts::Known;
use crate::infra::journal::Entry;
use crate::infra::keys::KeyError;
use crate::infra::keys::NewKeys;
use crate::infra::keys::lifecycle::RevocationReason;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

pub use look::by_address;
pub use look::by_key;
pub use look::by_name;
pub use renew::Ends;
pub use renew::Forecast;
pub use renew::daily;
pub use renew::measure;

const REVOKED: &[u8] = b"O/r/";
const PURPOSE: &str = "revoked openpgp certificate";
/// Who does what the clock does.
const CLOCK: &str = "the clock";
/// How often a change is built anew when somebody else changed the account under it.
const ATTEMPTS_MAX: usize = 10;

/// Who wants what, for the journal.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// Who.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Moves the end of a mailbox's certificate to `openpgp.validity_days` from now.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn extend(office: &Office, address: &Address, act: Act<'_>) -> Result<Account, String> {
    let now = office.clock.now();
    let until = office.config.openpgp.validity.map(|validity| now.after(validity));
    let edit = |account: &Account, _: &mut Batch| {
        office.keys.extend(&account.id, &account.wrapped_keys, until, now)
    };
    change(office, address, "keys extend", act, edit).await
}

/// Gives a mailbox new subkeys; the old ones are shown as good for `openpgp.overlap_days`.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn rotate(office: &Office, address: &Address, act: Act<'_>) -> Result<Account, String> {
    let now = office.clock.now();
    let old_until = now.after(office.config.openpgp.overlap);
    let edit = |account: &Account, _: &mut Batch| {
        office.keys.rotate(&account.id, &account.wrapped_keys, old_until, now)
    };
    change(office, address, "keys rotate", act, edit).await
}

/// Revokes the key of a mailbox and gives it another one. The old certificate is published,
/// revoked; what was sealed to it opens as before.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn revoke(
    office: &Office,
    address: &Address,
    code: RevocationReason,
    act: Act<'_>,
) -> Result<Account, String> {
    let now = office.clock.now();
    let until = office.config.openpgp.validity.map(|validity| now.after(validity));
    let edit = |account: &Account, batch: &mut Batch| {
        let (id, wrapped) = (&account.id, &account.wrapped_keys);
        let shown = user_id(account);
        let (new, revoked) = office.keys.replace(id, wrapped, &shown, code, now)?;
        stage_revoked(office, id, &revoked, batch)?;
        // From the beginning with the end that the others have.
        office.keys.extend(id, &new.wrapped, until, now)
    };
    change(office, address, "keys revoke", act, edit).await
}

/// Adds to the batch that ends a mailbox: its certificate, revoked, for those who still have it.
/// Nothing for a patient's, which nobody could look up.
pub async fn stage_end(office: &Office, account: &Account, batch: &mut Batch) {
    if account.kind == MailboxKind::Citizen {
        return;
    }
    let now = office.clock.now();
    let (id, wrapped) = (&account.id, &account.wrapped_keys);
    let why = "revoke the certificate of an ended mailbox";
    if let Err(error) = office.audit().used(Some(id), &Who::Relay, "keys", why).await {
        // What cannot be recorded is not done; the end of a mailbox does not wait for it.
        tracing::error!(mailbox = ?id, %error, "the certificate of an ended mailbox is not revoked");
        return;
    }
    let staged = office.keys.revoked(id, wrapped, RevocationReason::Retired, now);
    let staged = staged.and_then(|revoked| stage_revoked(office, id, &revoked, batch));
    if let Err(error) = staged {
        // The end of a mailbox does not wait for it.
        tracing::error!(mailbox = ?id, %error, "the certificate of an ended mailbox is not revoked");
    }
}

/// Revoked certificates of a mailbox, also of one that has ended.
///
/// # Errors
/// [`Refusal::StoreFailed`].
pub async fn revoked(office: &Office, id: &MailboxId) -> Result<Vec<PeerCertificate>, Refusal> {
    let range = store::prefix(&[REVOKED, id.as_bytes()].concat());
    let page = office.store.scan(range, limits::SCAN_ROWS_MAX).await.map_err(|error| {
        tracing::error!(%error, "cannot read revoked certificates");
        Refusal::StoreFailed
    })?;
    let read = page.rows.iter().filter_map(|(_, row)| {
        let clear = office.keys.open_small(PURPOSE, &row.value).ok()?;
        PeerCertificate::read(clear.expose()).ok()
    });
    Ok(read.collect())
}

fn stage_revoked(
    office: &Office,
    id: &MailboxId,
    revoked: &PeerCertificate,
    batch: &mut Batch,
) -> Result<(), KeyError> {
    let key = [REVOKED, id.as_bytes(), revoked.fingerprint().as_str().as_bytes()].concat();
    batch.put(key, office.keys.seal_small(PURPOSE, &revoked.to_binary()?));
    Ok(())
}

/// What the certificate of a mailbox shows, as it was made.
pub(super) fn user_id(account: &Account) -> String {
    match account.kind {
        MailboxKind::Citizen => format!("<{:?}@{}>", account.id, account.address.domain()),
        _ => format!("<{}>", account.address),
    }
}

/// Changes the keys of an account, with an entry in the journal, on the version that the change
/// was made from.
async fn change(
    office: &Office,
    address: &Address,
    action: &str,
    act: Act<'_>,
    edit: impl Fn(&Account, &mut Batch) -> Result<NewKeys, KeyError>,
) -> Result<Account, String> {
    let id = office.accounts.known(address).await.map_err(|error| error.to_string())?;
    let Some(Known::Living(Account { id, .. })) = id else {
        return Err("there is no such mailbox here".to_owned());
    };
    let who = match act.author {
        CLOCK => Who::Relay,
        author => Who::Administrator(author.to_owned()),
    };
    let recorded = office.audit().used(Some(&id), &who, "keys", action).await;
    recorded.map_err(|error| error.to_string())?;
    for _ in 0..ATTEMPTS_MAX {
        let mut batch = Batch::new();
        let mut besides = Batch::new();
        let mut made = Ok(());
        let staged = office.accounts.stage(address, &mut batch, |account| {
            match edit(account, &mut besides) {
                Ok(new) => {
                    account.certificate = new.certificate;
                    account.wrapped_keys = new.wrapped;
                }
                Err(error) => made = Err(error.to_string()),
            }
        });
        let account = staged.await.map_err(|error| match error {
            DirectoryError::Unknown => "there is no such mailbox here".to_owned(),
            other => other.to_string(),
        })?;
        made?;
        batch.extend(besides);
        // What is in escrow opens what comes from now on, without waiting for the next pass.
        escrow::stage(office, &account.id, &account.wrapped_keys, &mut batch);
        let certificate = read(&account)?;
        let entry = Entry {
            at: office.clock.now(),
            author: act.author.to_owned(),
            action: action.to_owned(),
            target: format!("{address:?}"),
            reason: act.reason.to_owned(),
            outcome: certificate.fingerprint().to_string(),
        };
        office.journal.ride(&entry, &mut batch);
        match office.store.commit(batch).await {
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.to_string()),
            Ok(()) => {
                contacts::mailbox_changed(office, account.id, &certificate);
                // Letters that come in from now on are sealed to what is new.
                if let Err(error) = office.mailboxes.open(&account).await {
                    tracing::error!(%error, "new keys of a mailbox do not open");
                }
                return Ok(account);
            }
        }
    }
    Err("the mailbox is being changed by others; try again".to_owned())
}

/// The certificate of an account.
///
/// # Errors
/// A sentence, when it cannot be read.
pub fn read(account: &Account) -> Result<PeerCertificate, String> {
    PeerCertificate::read(&account.certificate).map_err(|flaw| flaw.to_string())
}
