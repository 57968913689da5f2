//! Absences: somebody is away, a named substitute stands in, and may be given rights meanwhile.
//!
//! What senders are told is the filters' matter ([`crate::flow::filter`]); here it is recorded,
//! together with the substitute's rights, in one commit with journal and ledger.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::fact::DelegationStep;
use crate::domain::rights::Rights;
use crate::flow::filter;
use crate::flow::filter::Away;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::mailbox::readers::Identifier;
use crate::flow::office::Office;
use crate::flow::team;
use crate::flow::team::Delegation;
use crate::infra::directory::Account;
use crate::infra::store::Batch;

/// Records an absence instead of the one that was recorded.
///
/// # Errors
/// A sentence for the administrator.
pub async fn set_away(office: &Arc<Office>, mailbox: &Address, away: &Away) -> Result<(), String> {
    let account = team::account(office, mailbox).await?;
    check(office, &account, away).await?;
    let home = opened(office, &account).await?;
    let before = known(office, &home).await?;
    let was_given = before.as_ref().filter(|before| !before.delegated.is_empty());
    if was_given.is_some_and(|before| before.substitute != away.substitute) {
        return Err("another substitute has rights in the mailbox: `--off` takes them back first"
            .to_owned());
    }
    let mut batch = Batch::new();
    filter::put_away(&home, Some(away), &mut batch);
    let record = record(&account, away);
    team::tell(office, &account, &record, DelegationStep::Away, &away.author, &mut batch);
    let identifier = Identifier::of(&away.substitute);
    let key = team::key(office, &account, &away.substitute);
    if away.delegated.is_empty() {
        return match was_given {
            Some(_) => take_back(&home, &identifier, key, batch).await,
            None => commit(office, batch).await,
        };
    }
    let holds_others = home.has_grants(&identifier).await.map_err(|error| error.to_string())?;
    if was_given.is_none() && holds_others {
        return Err("the substitute has rights in the mailbox already: leave out --delegate, \
                    or `team revoke` them first"
            .to_owned());
    }
    batch.put(key, team::sealed(office, &record));
    team::tell(office, &account, &record, DelegationStep::Granted, &away.author, &mut batch);
    let when = (Some(away.from), Some(away.until));
    let granted = home.grant_everywhere(&identifier, away.delegated, when, batch).await;
    granted.map_err(|error| error.to_string())
}

/// Forgets the recorded absence, and takes back what the substitute got by it.
///
/// # Errors
/// A sentence for the administrator.
pub async fn end_away(
    office: &Arc<Office>,
    mailbox: &Address,
    author: &str,
    reason: &str,
) -> Result<(), String> {
    let account = team::account(office, mailbox).await?;
    let home = opened(office, &account).await?;
    let Some(away) = known(office, &home).await? else {
        return Err("no absence is recorded for this mailbox".to_owned());
    };
    let mut batch = Batch::new();
    filter::put_away(&home, None, &mut batch);
    let ended = Delegation { reason: reason.to_owned(), ..record(&account, &away) };
    team::tell(office, &account, &ended, DelegationStep::Back, author, &mut batch);
    if away.delegated.is_empty() {
        return commit(office, batch).await;
    }
    team::tell(office, &account, &ended, DelegationStep::Revoked, author, &mut batch);
    let key = team::key(office, &account, &away.substitute);
    take_back(&home, &Identifier::of(&away.substitute), key, batch).await
}

/// The absence that is recorded for a mailbox, also one that is over or to come.
///
/// # Errors
/// A sentence for the administrator.
pub async fn away(office: &Arc<Office>, mailbox: &Address) -> Result<Option<Away>, String> {
    let account = team::account(office, mailbox).await?;
    known(office, &opened(office, &account).await?).await
}

async fn check(office: &Office, account: &Account, away: &Away) -> Result<(), String> {
    let substitute = &away.substitute;
    if *substitute == account.address {
        return Err("nobody stands in for themselves".to_owned());
    }
    if away.until <= away.from || away.until <= office.clock.now() {
        return Err("the absence ends before it begins, or lies in the past".to_owned());
    }
    if !office.is_trusted(substitute.domain()) || office.is_patient_domain(substitute.domain()) {
        return Err("the substitute is a professional of the trust space".to_owned());
    }
    if office.hosts(substitute.domain()) || !away.delegated.is_empty() {
        team::account(office, substitute).await?;
    }
    Ok(())
}

/// As the ledger keeps it.
fn record(account: &Account, away: &Away) -> Delegation {
    Delegation {
        mailbox: account.address.clone(),
        reader: away.substitute.clone(),
        rights: away.delegated,
        since: away.from,
        until: Some(away.until),
        author: away.author.clone(),
        reason: away.reason.clone(),
    }
}

async fn take_back(
    home: &OpenMailbox,
    identifier: &Identifier,
    key: Vec<u8>,
    mut batch: Batch,
) -> Result<(), String> {
    batch.delete(key);
    let taken = home.grant_everywhere(identifier, Rights::NONE, (None, None), batch).await;
    taken.map_err(|error| error.to_string())
}

async fn opened(office: &Office, account: &Account) -> Result<OpenMailbox, String> {
    office.mailboxes.open(account).await.map_err(|error| error.to_string())
}

async fn known(office: &Office, home: &OpenMailbox) -> Result<Option<Away>, String> {
    filter::away(office, home).await.map_err(|error| error.to_string())
}

async fn commit(office: &Office, batch: Batch) -> Result<(), String> {
    office.store.commit(batch).await.map_err(|error| error.to_string())
}
