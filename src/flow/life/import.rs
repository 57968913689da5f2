//! Many mailboxes from a list: each line is durable by itself, and doing it again does nothing.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::identity::Ins;
use crate::domain::identity::NationalId;
use crate::domain::identity::Rpps;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::flow::life;
use crate::flow::office::Office;
use crate::infra::config::Operator;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::NewAccount;
use crate::infra::directory::accounts::Known;
use crate::proto::roster::Entry;

/// What a line came to, or would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mailbox is made; in a dry run: would be.
    Made,
    /// It was there already, just as the line says.
    There,
    /// Nothing is made, and why.
    Wrong(String),
}

/// What stands in the way of a line, if anything: looks only.
///
/// # Errors
/// A sentence: it cannot be told now.
pub async fn plan(office: &Office, entry: &Entry) -> Result<Outcome, String> {
    if let Err(reason) = fits(&office.config.operator, &entry.address, entry.kind) {
        return Ok(Outcome::Wrong(reason));
    }
    let known = office.accounts.known(&entry.address).await.map_err(|error| error.to_string())?;
    Ok(match known {
        None => match &entry.holder {
            Some(rpps) if holds_enough(office, rpps).await? => {
                Outcome::Wrong("its holder holds as many mailboxes as there may be".to_owned())
            }
            _ => Outcome::Made,
        },
        Some(Known::Ended(_)) => Outcome::Wrong(
            "the address had a mailbox that is closed: it is never given again".to_owned(),
        ),
        Some(Known::Living(there)) => compare(office, entry, &there).await?,
    })
}

/// An import makes mailboxes and changes none: what is there must be just what the line says.
async fn compare(office: &Office, entry: &Entry, there: &Account) -> Result<Outcome, String> {
    let differs = |what: &str| {
        let kind = there.kind.code();
        Outcome::Wrong(format!("the address has a mailbox already: {kind}, {what}"))
    };
    if there.kind != entry.kind || there.display_name != entry.name {
        return Ok(differs("by another name or kind"));
    }
    if there.kind != MailboxKind::Citizen && there.listing != entry.listing {
        return Ok(differs("with another listing (`mailbox hide`, `mailbox show`)"));
    }
    let Some(holder) = &entry.holder else { return Ok(Outcome::There) };
    let holders = office.accounts.holders(&there.id).await.map_err(|error| error.to_string())?;
    match holders.iter().any(|one| one.national_id.rpps() == holder) {
        true => Ok(Outcome::There),
        false => Ok(differs("without this holder (`mailbox holder add`)")),
    }
}

/// Makes the mailbox of a line, if nothing stands in the way. Without a password nobody can log in
/// to it with one, until an administrator sets it; other directories may open it at once.
///
/// # Errors
/// A sentence: the relay cannot do it now; the line may be tried again.
pub async fn make(
    office: &Arc<Office>,
    entry: &Entry,
    password: Option<&Secret<String>>,
    author: &str,
    reason: &str,
) -> Result<Outcome, String> {
    let planned = plan(office, entry).await?;
    if planned == Outcome::There {
        // A kill between account and folders leaves one without them.
        folders(office, &entry.address).await?;
    }
    if planned != Outcome::Made {
        return Ok(planned);
    }
    let new = NewAccount {
        address: entry.address.clone(),
        kind: entry.kind,
        listing: entry.listing,
        display_name: entry.name.clone(),
        password,
    };
    let holder = entry.holder.clone().map(NationalId::of);
    let made = life::make_held(office, new, holder.as_ref(), true, author, reason);
    let account = match made.await {
        Ok(account) => account,
        Err(DirectoryError::Taken) => return plan(office, entry).await,
        Err(error) => return Err(error.to_string()),
    };
    office.mailboxes.create(&account).await.map_err(|error| error.to_string())?;
    Ok(Outcome::Made)
}

async fn folders(office: &Office, address: &Address) -> Result<(), String> {
    let there = office.accounts.find(address).await.map_err(|error| error.to_string())?;
    let Some(there) = there else { return Ok(()) };
    office.mailboxes.create(&there).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn holds_enough(office: &Office, rpps: &Rpps) -> Result<bool, String> {
    let held = office.accounts.held_count(&NationalId::of(rpps.clone())).await;
    Ok(held.map_err(|error| error.to_string())? >= limits::HELD_MAX)
}

/// Patients live in citizen domains under their INS, everybody else in ours.
///
/// # Errors
/// A sentence that repeats no number.
pub fn fits(operator: &Operator, address: &Address, kind: MailboxKind) -> Result<(), String> {
    let names = |domains: &[crate::domain::address::Domain]| {
        let names: Vec<&str> = domains.iter().map(|domain| domain.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if kind == MailboxKind::Citizen {
        if !operator.citizen_domains.contains(address.domain()) {
            let ours = names(&operator.citizen_domains);
            return Err(format!("a patient's inbox must be in a citizen domain of ours ({ours})"));
        }
        return Ins::parse(address.local_part())
            .map(|_| ())
            .map_err(|error| format!("before the @ must stand the patient's INS: {error}"));
    }
    if !operator.domains.contains(address.domain()) {
        let ours = names(&operator.domains);
        return Err(format!("a {} mailbox must be in a domain of ours ({ours})", kind.code()));
    }
    Ok(())
}
