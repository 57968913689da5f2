//! Delegations: an administrator lets somebody read a mailbox, with a reason and mostly with an end.
//!
//! What counts is the mailbox's list of rights, where the clock ends it at once; a row here says who
//! decided it and why. Row, list, journal and ledger change in one commit. When a delegation is over
//! the hourly tidying removes it and writes its end into the ledger.
//!
//! Rows `G/<mailbox><keyed reader>` -> sealed delegation: a reason may name a patient.
pub mod answered; // whose answer a letter has got
mod absence; // somebody is away, a named substitute stands in

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::fact::Counterpart;
use crate::domain::fact::DelegationRecord;
use crate::domain::fact::DelegationStep;
use crate::domain::fact::Event;
use crate::domain::fact::Fact;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::rights::Rights;
use crate::domain::time::Timestamp;
use crate::flow::mailbox::readers::Identifier;
use crate::flow::office::Office;
use crate::flow::undone::Undone;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::journal::Entry;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::row;

pub use absence::away;
pub use absence::end_away;
pub use absence::set_away;

const DELEGATIONS: &[u8] = b"G/";
const FORMAT: u8 = 1;
const PURPOSE: &str = "delegation";
/// Who ends what is over.
const CLOCK: &str = "the clock";

/// One delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Of which mailbox.
    pub mailbox: Address,
    /// To whom.
    pub reader: Address,
    /// What they may do there.
    pub rights: Rights,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who decided it.
    pub author: String,
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    mailbox: String,
    reader: String,
    rights: u16,
    since: u64,
    until: Option<u64>,
    author: String,
    reason: String,
}

/// Grants a reader rights in every folder of a mailbox, instead of what they had there.
///
/// # Errors
/// A sentence for the administrator.
pub async fn grant(office: &Arc<Office>, delegation: &Delegation) -> Result<(), Undone> {
    let account = account(office, &delegation.mailbox).await?;
    let reader = self::account(office, &delegation.reader).await?;
    if account.id == reader.id {
        return Err(Undone::ToItself);
    }
    if delegation.rights.is_empty() {
        return Err(Undone::NoRights);
    }
    if delegation.until.is_some_and(|until| until <= delegation.since) {
        return Err(Undone::EndInPast);
    }
    let mut batch = Batch::new();
    let key = key(office, &account, &delegation.reader);
    batch.put(key, sealed(office, delegation));
    tell(office, &account, delegation, DelegationStep::Granted, &delegation.author, &mut batch);
    let when = (None, delegation.until);
    let identifier = Identifier::of(&delegation.reader);
    let mailbox = office.mailboxes.open(&account).await.map_err(|error| error.to_string())?;
    let granted = mailbox.grant_everywhere(&identifier, delegation.rights, when, batch).await;
    granted.map_err(|error| error.to_string().into())
}

/// Takes away whatever a reader may do in a mailbox.
///
/// # Errors
/// A sentence for the administrator.
pub async fn revoke(
    office: &Arc<Office>,
    mailbox: &Address,
    reader: &Address,
    author: &str,
    reason: &str,
) -> Result<(), String> {
    let account = account(office, mailbox).await?;
    let key = key(office, &account, reader);
    let known = office.store.get(&key).await.map_err(|error| error.to_string())?;
    let known = known.and_then(|row| opened(office, &row.value));
    let now = office.clock.now();
    let ended = Delegation {
        mailbox: account.address.clone(),
        reader: reader.clone(),
        rights: known.as_ref().map_or(Rights::NONE, |known| known.rights),
        since: known.as_ref().map_or(now, |known| known.since),
        until: known.and_then(|known| known.until),
        author: author.to_owned(),
        reason: reason.to_owned(),
    };
    let mut batch = Batch::new();
    batch.delete(key);
    tell(office, &account, &ended, DelegationStep::Revoked, author, &mut batch);
    let mailbox = office.mailboxes.open(&account).await.map_err(|error| error.to_string())?;
    let identifier = Identifier::of(reader);
    let revoked = mailbox.grant_everywhere(&identifier, Rights::NONE, (None, None), batch).await;
    revoked.map_err(|error| error.to_string())
}

/// Every delegation that an administrator granted, also those that are over and not removed yet.
///
/// # Errors
/// A sentence for the administrator.
pub async fn list(office: &Office) -> Result<Vec<Delegation>, String> {
    let mut delegations = Vec::new();
    let mut range = store::prefix(DELEGATIONS);
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await;
        let page = page.map_err(|error| error.to_string())?;
        for (_, row) in &page.rows {
            match opened(office, &row.value) {
                Some(delegation) => delegations.push(delegation),
                None => tracing::error!("a delegation is damaged; its rights count all the same"),
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(delegations),
        }
    }
}

/// Removes delegations that are over; answers how many.
///
/// # Errors
/// A sentence for the log; what is left is done the next time.
pub async fn sweep(office: &Arc<Office>) -> Result<usize, String> {
    let now = office.clock.now();
    let mut ended = 0;
    for delegation in list(office).await? {
        if delegation.until.is_none_or(|until| until > now) {
            continue;
        }
        let Ok(account) = account(office, &delegation.mailbox).await else { continue };
        let mut batch = Batch::new();
        batch.delete(key(office, &account, &delegation.reader));
        tell(office, &account, &delegation, DelegationStep::Ended, CLOCK, &mut batch);
        let mailbox = office.mailboxes.open(&account).await.map_err(|error| error.to_string())?;
        mailbox.sweep_acl(batch).await.map_err(|error| error.to_string())?;
        ended += 1;
    }
    Ok(ended)
}

/// Removes the delegations of a mailbox that has ended; answers how many there were.
///
/// # Errors
/// A sentence for the log; what is left is done the next time.
pub async fn forget_mailbox(office: &Office, id: &MailboxId) -> Result<usize, String> {
    let range = store::prefix(&[DELEGATIONS, id.as_bytes()].concat());
    let page = office.store.scan(range, limits::SCAN_ROWS_MAX).await;
    let page = page.map_err(|error| error.to_string())?;
    if page.rows.is_empty() {
        return Ok(0);
    }
    let mut batch = Batch::new();
    for (key, _) in &page.rows {
        batch.delete(key.to_vec());
    }
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    Ok(page.rows.len())
}

/// Journal and ledger.
fn tell(
    office: &Office,
    account: &Account,
    delegation: &Delegation,
    step: DelegationStep,
    author: &str,
    batch: &mut Batch,
) {
    let at = office.clock.now();
    let until = delegation.until.map_or("no end".to_owned(), |until| format!("until {until}"));
    let (reader, rights) = (&delegation.reader, delegation.rights);
    office.journal.ride(
        &Entry {
            at,
            author: author.to_owned(),
            action: format!("team {}", step.name()),
            target: format!("{:?} to {reader:?}", delegation.mailbox),
            reason: delegation.reason.clone(),
            outcome: format!("{rights}, {until}"),
        },
        batch,
    );
    let fact = Fact {
        at,
        letter: None,
        domain: account.address.domain().to_string(),
        mailbox_kind: Some(account.kind),
        counterpart: Counterpart::Here,
        peer: None,
        event: Event::Delegation(step),
        size: 0,
        automatic: author == CLOCK,
    };
    let record = DelegationRecord {
        mailbox: delegation.mailbox.lookup_form(),
        reader: reader.lookup_form(),
        rights: rights.to_string(),
        until: delegation.until,
        author: author.to_owned(),
        reason: delegation.reason.clone(),
    };
    office.ledger.ride_delegation(&fact, &record, batch);
}

async fn account(office: &Office, address: &Address) -> Result<Account, Undone> {
    match office.accounts.find(address).await? {
        Some(account) if account.kind != MailboxKind::Citizen => Ok(account),
        Some(_) => Err(Undone::PatientsInbox),
        None => Err(Undone::NoSuchMailbox),
    }
}

fn key(office: &Office, mailbox: &Account, reader: &Address) -> Vec<u8> {
    [DELEGATIONS, mailbox.id.as_bytes(), &office.keys.address_key(reader)].concat()
}

fn sealed(office: &Office, delegation: &Delegation) -> Vec<u8> {
    let row = Row {
        mailbox: delegation.mailbox.to_string(),
        reader: delegation.reader.to_string(),
        rights: delegation.rights.bits(),
        since: delegation.since.as_millis(),
        until: delegation.until.map(Timestamp::as_millis),
        author: delegation.author.clone(),
        reason: delegation.reason.clone(),
    };
    office.keys.seal_small(PURPOSE, &row::encode(FORMAT, &row))
}

fn opened(office: &Office, sealed: &[u8]) -> Option<Delegation> {
    let clear = office.keys.open_small(PURPOSE, sealed).ok()?;
    let row: Row = row::decode(FORMAT, clear.expose())?;
    Some(Delegation {
        mailbox: Address::parse(&row.mailbox).ok()?,
        reader: Address::parse(&row.reader).ok()?,
        rights: Rights::from_bits(row.rights),
        since: Timestamp::from_millis(row.since),
        until: row.until.map(Timestamp::from_millis),
        author: row.author,
        reason: row.reason,
    })
}
