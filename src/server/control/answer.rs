//! Requests to work, work to rows.
use std::sync::Arc;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Day;
use crate::flow::life as lives;
use crate::flow::life::import::fits;
use crate::flow::office::Office;
use crate::infra::config::Operator;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::NewAccount;
use crate::infra::directory::accounts::arrivals::LastLogin;
use crate::infra::journal::Entry;
use crate::server::control::Caller;
use crate::server::control::Request;
use crate::server::control::approval;
use crate::server::control::audit;
use crate::server::control::certs;
use crate::server::control::directory;
use crate::server::control::escrow;
use crate::server::control::explain;
use crate::server::control::holders;
use crate::server::control::keys;
use crate::server::control::life;
use crate::server::control::mask;
use crate::server::control::master;
use crate::server::control::publish;
use crate::server::control::queue;
use crate::server::control::session;
use crate::server::control::shred;
use crate::server::control::team;
use crate::server::control::trace;
use crate::server::control::trust;
use crate::server::control::wire::JournalLine;
use crate::server::control::wire::MailboxRow;
use crate::server::control::wire::Response;
use crate::server::control::wire::StatLine;
use crate::server::control::wire::StatTable;

/// Does what an administrator asks. A failure is an answer too.
pub async fn handle(office: &Arc<Office>, request: Request, caller: &Caller) -> Response {
    let answer = match request {
        Request::MailboxAdd { address, kind, display_name, password, listing } => {
            let own = Some(&password).filter(|password| !password.expose().is_empty());
            let new = NewAccount { address, kind, listing, display_name, password: own };
            add(office, new, &password, caller).await
        }
        Request::MailboxList => list(office).await,
        Request::MailboxPassword { address, password } => {
            set_password(office, &address, &password).await
        }
        Request::StatsShow { from, to } => statistics(office, from, to).await,
        Request::Queue(about) => queue::handle(office, about, caller).await.map(Response::Queue),
        Request::Trust(about) => trust::handle(office, about, caller).await.map(Response::Trust),
        Request::Keys(about) => keys::handle(office, about, caller).await.map(Response::Keys),
        Request::Certs(about) => certs::handle(office, about, caller).await.map(Response::Certs),
        Request::Directory(about) => {
            directory::handle(office, about, caller).await.map(Response::Directory)
        }
        Request::Explain(about) => {
            explain::handle(office, about, caller).await.map(Response::Explain)
        }
        Request::Session(about) => {
            session::handle(office, about, caller).await.map(Response::Session)
        }
        Request::Life(about) => life::handle(office, about, caller).await.map(Response::Life),
        Request::Approval(about) => {
            approval::handle(office, about, caller).await.map(Response::Approval)
        }
        Request::Holders(about) => {
            holders::handle(office, about, caller).await.map(Response::Holders)
        }
        Request::Team(about) => team::handle(office, about, caller).await.map(Response::Team),
        Request::Publish(about) => {
            publish::handle(office, about, caller).await.map(Response::Publish)
        }
        Request::Audit(about) => audit::handle(office, about, caller).await.map(Response::Audit),
        Request::Master(about) => master::handle(office, about, caller).await.map(Response::Master),
        Request::Escrow(about) => escrow::handle(office, about, caller).await.map(Response::Escrow),
        Request::Shred(about) => shred::handle(office, about, caller).await.map(Response::Shred),
        Request::Trace(about) => trace::handle(office, about, caller).await.map(Response::Trace),
        Request::Journal { entries } => journal(office, entries).await,
    };
    answer.unwrap_or_else(Response::Failed)
}

async fn add(
    office: &Office,
    new: NewAccount<'_>,
    password: &Secret<String>,
    caller: &Caller,
) -> Result<Response, String> {
    let operator = &office.config.operator;
    fits(operator, &new.address, new.kind)?;
    if new.password.is_some() {
        check_password(password)?;
    }
    check_display_name(&new.display_name)?;
    let (shown, kind) = (mask::address(operator, &new.address), new.kind);

    let address = new.address.clone();
    let made = lives::make(office, new, true, &caller.author, "mailbox add").await;
    let account = match made {
        Ok(account) => account,
        Err(DirectoryError::Taken) => {
            return finish(office, &address, kind, password, &shown).await;
        }
        Err(error) => return Err(error.to_string()),
    };
    office
        .mailboxes
        .create(&account)
        .await
        .map_err(|error| format!("the mailbox {shown} was made, but not its folders: {error}"))?;
    tracing::info!(mailbox = ?account.id, kind = kind.code(), "mailbox added");
    Ok(Response::Done(format!("The mailbox {shown} ({}) is open.", kind.code())))
}

/// An account and its folders are two commits. When the first attempt was cut in between, the
/// second one finishes its work; the password is the one that the administrator says now.
async fn finish(
    office: &Office,
    address: &Address,
    kind: MailboxKind,
    password: &Secret<String>,
    shown: &str,
) -> Result<Response, String> {
    let taken = || DirectoryError::Taken.to_string();
    let found = office.accounts.find(address).await.map_err(|error| error.to_string())?;
    let account = found.filter(|account| account.kind == kind).ok_or_else(taken)?;
    let has_made = office.mailboxes.create(&account).await;
    if !has_made.map_err(|error| format!("the folders of {shown} are missing: {error}"))? {
        return Err(taken());
    }
    let set = match password.expose().is_empty() {
        true => office.accounts.remove_password(address).await,
        false => office.accounts.set_password(address, password).await,
    };
    set.map_err(|error| format!("{shown}: {error}"))?;
    tracing::info!(mailbox = ?account.id, kind = kind.code(), "an unfinished mailbox is finished");
    Ok(Response::Done(format!("The mailbox {shown} ({}) is open.", kind.code())))
}

async fn list(office: &Office) -> Result<Response, String> {
    let accounts = office.accounts.list().await.map_err(|error| error.to_string())?;
    let mut rows: Vec<MailboxRow> = Vec::with_capacity(accounts.len());
    for account in &accounts {
        let state = lives::of(office, account).await.map(|life| life.standing.stage.name());
        let last = office.accounts.last_login(&account.id).await;
        let last = last.map_err(|error| error.to_string())?;
        let operator = &office.config.operator;
        rows.push(mailbox_row(operator, account, state.unwrap_or("damaged"), &last));
    }
    rows.sort_by(|one, other| (&one.kind, &one.address).cmp(&(&other.kind, &other.address)));
    Ok(Response::Mailboxes(rows))
}

async fn set_password(
    office: &Office,
    address: &Address,
    password: &Secret<String>,
) -> Result<Response, String> {
    let shown = mask::address(&office.config.operator, address);
    if password.expose().is_empty() {
        let removed = office.accounts.remove_password(address).await;
        removed.map_err(|error| format!("{shown}: {error}"))?;
        tracing::info!(address = ?address, "password taken away by an administrator");
        return Ok(Response::Done(format!("{shown} has no password of its own.")));
    }
    check_password(password)?;
    office
        .accounts
        .set_password(address, password)
        .await
        .map_err(|error| format!("{shown}: {error}"))?;
    tracing::info!(address = ?address, "password set by an administrator");
    Ok(Response::Done(format!("The password of {shown} is changed.")))
}

async fn statistics(
    office: &Office,
    from: Option<Day>,
    to: Option<Day>,
) -> Result<Response, String> {
    let to = to.unwrap_or_else(|| Day::in_france(office.clock.now()));
    let from = from.unwrap_or(Day { day: 1, ..to });
    if from > to {
        return Err(format!("the first day, {from}, is after the last one, {to}"));
    }
    let rows = office.ledger.statistics(from, to).await.map_err(|error| error.to_string())?;
    let rows = rows
        .into_iter()
        .map(|row| StatLine {
            day: row.day.to_string(),
            domain: row.domain,
            kind: row.mailbox_kind.map(|kind| kind.code().to_owned()),
            counterpart: row.counterpart.name().to_owned(),
            event: row.event,
            reason: row.reason,
            count: row.count,
            octets: row.octets,
        })
        .collect();
    Ok(Response::Stats(StatTable { from: from.to_string(), to: to.to_string(), rows }))
}

async fn journal(office: &Office, entries: usize) -> Result<Response, String> {
    let entries = office.journal.last(entries).await.map_err(|error| error.to_string())?;
    let line = |entry: Entry| JournalLine {
        at: entry.at.to_string(),
        author: entry.author,
        action: entry.action,
        target: entry.target,
        reason: entry.reason,
        outcome: entry.outcome,
    };
    Ok(Response::Journal(entries.into_iter().map(line).collect()))
}

fn mailbox_row(
    operator: &Operator,
    account: &Account,
    state: &str,
    last: &LastLogin,
) -> MailboxRow {
    let citizen = account.kind == MailboxKind::Citizen;
    MailboxRow {
        address: match citizen {
            true => format!("***@{}", account.address.domain()),
            false => mask::address(operator, &account.address),
        },
        kind: account.kind.code().to_owned(),
        display_name: if citizen { String::new() } else { account.display_name.clone() },
        listing: match account.listing {
            Listing::Public => "public",
            Listing::RedList => "red-list",
        }
        .to_owned(),
        state: state.to_owned(),
        created: account.created.to_string(),
        last_login: match last {
            LastLogin::Unknown => "unknown".to_owned(),
            LastLogin::Never => "never".to_owned(),
            LastLogin::At { at, .. } => at.to_string(),
        },
        last_login_door: match last {
            LastLogin::At { door, .. } => Some(door.clone()),
            _ => None,
        },
    }
}

/// Length alone: rules about kinds of characters make passwords worse.
fn check_password(password: &Secret<String>) -> Result<(), String> {
    let length = password.expose().chars().count();
    if !(limits::PASSWORD_CHARACTERS_MIN..=limits::PASSWORD_CHARACTERS_MAX).contains(&length) {
        return Err(format!(
            "a password has {} to {} characters",
            limits::PASSWORD_CHARACTERS_MIN,
            limits::PASSWORD_CHARACTERS_MAX
        ));
    }
    if password.expose().chars().any(char::is_control) {
        return Err("a password has no control characters".to_owned());
    }
    Ok(())
}

/// It ends in header fields and pages: one line of text.
fn check_display_name(name: &str) -> Result<(), String> {
    if name.chars().count() > limits::DISPLAY_NAME_CHARACTERS_MAX {
        let most = limits::DISPLAY_NAME_CHARACTERS_MAX;
        return Err(format!("a display name has at most {most} characters"));
    }
    if name.chars().any(char::is_control) {
        return Err("a display name is one line of text".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Domain;

    #[test]
    fn each_kind_of_mailbox_has_its_domains() {
        let domain = |text| Domain::parse(text).unwrap();
        let operator = Operator {
            name: "hopital".to_owned(),
            hostname: domain("mx.test"),
            domains: vec![domain("hopital.test")],
            citizen_domains: vec![domain("patient.test")],
            patient_domains: vec![domain("patient.test")],
            patient_service_mailboxes: Vec::new(),
        };
        let fits = |text: &str, kind| fits(&operator, &Address::parse(text).unwrap(), kind);
        assert_eq!(fits("a@hopital.test", MailboxKind::Personal), Ok(()));
        assert_eq!(fits("279035121518989@patient.test", MailboxKind::Citizen), Ok(()));
        assert!(fits("a@elsewhere.test", MailboxKind::Personal).is_err());
        assert!(fits("a@patient.test", MailboxKind::Organisational).is_err());
        assert!(fits("279035121518989@hopital.test", MailboxKind::Citizen).is_err());
        let error = fits("279035121518988@patient.test", MailboxKind::Citizen).unwrap_err();
        assert!(!error.contains("279035121518988"), "{error}");
    }

    #[test]
    fn a_short_password_is_refused() {
        let check = |text: &str| check_password(&Secret::new(text.to_owned()));
        assert!(check("1234567").is_err());
        assert!(check("12345678").is_ok());
        assert!(check("123456\n78").is_err());
        assert!(check(&"x".repeat(1_000)).is_err());
    }
}
