//! Our own mailboxes, on their way into the national directory: what it knows of us, what has
//! changed since, and what came of telling it.
//!
//! Rows `p/<mailbox id>` say what was published when, and how the last attempt ended. A mailbox
//! that was on the red list from the beginning is never told of at all.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::config::directory::PublishMode;
use crate::infra::directory::Account;
use crate::infra::net;
use crate::infra::net::Stop;
use crate::infra::publish::ApiPublisher;
use crate::infra::publish::Change;
use crate::infra::publish::FilePublisher;
use crate::infra::publish::Holder;
use crate::infra::publish::Outcome;
use crate::infra::publish::Publisher;
use crate::infra::publish::Record;
use crate::infra::replica::PublishedMailbox;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::row;

const ROWS: &[u8] = b"p/";
const FORMAT: u8 = 1;
/// FINESS among the kinds of a structure's identifier.
const FINESS: &str = "1";
/// How often the task looks, and how long after the start it begins.
const EVERY: Duration = Duration::from_secs(86_400);
const FIRST: Duration = Duration::from_secs(600);

/// One run at a time: two would tell everything twice.
#[derive(Default)]
pub struct Publishing(tokio::sync::Mutex<()>);

/// One mailbox, and what the directory knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub address: Address,
    /// Its kind.
    pub kind: MailboxKind,
    /// What the directory knows.
    pub known: Known,
    /// What is to be told; `None` when nothing is.
    pub change: Option<Change>,
    /// When something was told last, and how that ended.
    pub last: Option<Attempt>,
}

/// What the directory knows of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// It is there and shown.
    Shown,
    /// It is there and hidden.
    Hidden,
}

impl Known {
    /// What lists call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "unpublished",
            Self::Shown => "published",
            Self::Hidden => "hidden",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Shown => 1,
            Self::Hidden => 2,
        }
    }

    const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Shown,
            2 => Self::Hidden,
            _ => Self::Nothing,
        }
    }
}

/// How telling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// What was told.
    pub change: String,
    /// `done`, `refused` or `later`.
    pub result: String,
    /// Why, unless it was done.
    pub reason: String,
}

/// As it is stored. Addresses of professionals and teams are public facts; patients have no row.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    address: String,
    kind: String,
    known: u8,
    /// `8` and RPPS, or empty.
    professional: String,
    /// FINESS, or empty.
    structure: String,
    at: u64,
    change: String,
    result: String,
    reason: String,
}

/// A mailbox with all that telling needs.
struct Task {
    id: MailboxId,
    record: Record,
    row: Option<Row>,
    known: Known,
    change: Option<Change>,
}

/// What the directory knows and what it is to be told.
///
/// # Errors
/// A sentence for the administrator.
pub async fn status(office: &Office) -> Result<Vec<Line>, String> {
    Ok(tasks(office).await?.iter().map(line).collect())
}

/// Tells the directory what has changed; each line says how it ended, and what is left to tell.
///
/// # Errors
/// A sentence for the administrator.
pub async fn run(office: &Office) -> Result<Vec<Line>, String> {
    let Ok(_one) = office.publishing.0.try_lock() else {
        return Err("a run of publication is under way".to_owned());
    };
    let publisher = publisher(office)?.ok_or("publish.mode is \"off\"")?;
    let mut tasks = tasks(office).await?;
    tasks.retain(|task| task.change.is_some());
    let mut lines = Vec::new();
    // A file holds all; the API is told in portions, each written down before the next.
    let at_once = if publisher.name() == "file" { usize::MAX } else { 20 };
    for portion in tasks.chunks(at_once.min(tasks.len().max(1))) {
        let changes: Vec<(Record, Change)> =
            portion.iter().filter_map(|task| Some((task.record.clone(), task.change?))).collect();
        let outcomes = publisher.publish(&changes).await;
        lines.extend(write_down(office, portion, &outcomes).await?);
    }
    let done = lines.iter().filter(|line| line.change.is_none()).count();
    tracing::info!(by = publisher.name(), told = lines.len(), done, "mailboxes were published");
    Ok(lines)
}

/// Once a day, until the relay stops.
pub async fn daily(office: Arc<Office>, mut stop: Stop) {
    if office.config.publish.mode == PublishMode::Off {
        return stop.stopped().await;
    }
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = stop.stopped() => return,
            ran = run(&office) => if let Err(error) = ran {
                tracing::error!(error, "mailboxes cannot be published");
            },
        }
        wait = EVERY;
    }
}

async fn write_down(
    office: &Office,
    tasks: &[Task],
    outcomes: &[Outcome],
) -> Result<Vec<Line>, String> {
    let now = office.clock.now();
    let mut batch = Batch::new();
    let mut lines = Vec::new();
    for (task, outcome) in tasks.iter().zip(outcomes) {
        let Some(change) = task.change else { continue };
        let (result, reason) = match outcome {
            Outcome::Done => ("done", ""),
            Outcome::Refused(reason) => ("refused", reason.as_str()),
            Outcome::Later(reason, _) => ("later", reason.as_str()),
        };
        let known = match (outcome, change) {
            (Outcome::Done, Change::Insert | Change::Hide(false)) => Known::Shown,
            (Outcome::Done, Change::Hide(true)) => Known::Hidden,
            (Outcome::Done, Change::Delete) => Known::Nothing,
            _ => task.known,
        };
        let (professional, structure) = match &task.record.holder {
            Holder::Professional(id) => (id.clone(), String::new()),
            Holder::Structure(id) => (String::new(), id.clone()),
            Holder::Unknown => Default::default(),
        };
        let end = reason.floor_char_boundary(limits::PUBLISH_REASON_OCTETS_MAX);
        let row = Row {
            address: task.record.address.to_string(),
            kind: task.record.kind.code().to_owned(),
            known: known.number(),
            professional,
            structure,
            at: now.as_millis(),
            change: change.name().to_owned(),
            result: result.to_owned(),
            reason: reason[..end].to_owned(),
        };
        batch.put([ROWS, task.id.as_bytes()].concat(), row::encode(FORMAT, &row));
        let left = (*outcome != Outcome::Done).then_some(change);
        lines.push(Line {
            address: task.record.address.clone(),
            kind: task.record.kind,
            known,
            change: left,
            last: Some(attempt(&row)),
        });
    }
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    Ok(lines)
}

/// Every mailbox that the directory knows or is to know.
async fn tasks(office: &Office) -> Result<Vec<Task>, String> {
    let mut rows = rows(office).await?;
    let accounts = office.accounts.list().await.map_err(|error| error.to_string())?;
    let mut tasks = Vec::new();
    let mut seen = HashSet::new();
    for account in accounts.iter().filter(|account| account.kind != MailboxKind::Citizen) {
        seen.insert(account.id);
        let at = rows.iter().position(|(id, _)| *id == account.id);
        let row = at.map(|at| rows.swap_remove(at).1);
        let known = row.as_ref().map_or(Known::Nothing, |row| Known::of_number(row.known));
        let change = change(account, known);
        let holders = office.accounts.holders(&account.id).await;
        let holders = holders.map_err(|error| error.to_string())?;
        // Of several, the one who was named first: the directory hangs a mailbox on one.
        let named = holders.first().map(|holder| holder.national_id.to_string());
        let record = record(office, account, named, row.as_ref());
        tasks.push(Task { id: account.id, record, row, known, change });
    }
    // Whatever is not here any more.
    for (id, row) in rows.into_iter().filter(|(id, _)| !seen.contains(id)) {
        let known = Known::of_number(row.known);
        let (Ok(address), Some(kind)) =
            (Address::parse(&row.address), MailboxKind::from_code(&row.kind))
        else {
            continue;
        };
        let record = Record { holder: holder_of(&row), ..empty(address, kind) };
        let change = (known != Known::Nothing).then_some(Change::Delete);
        tasks.push(Task { id, record, row: Some(row), known, change });
    }
    Ok(tasks)
}

/// What is to be told of a mailbox.
fn change(account: &Account, known: Known) -> Option<Change> {
    match (account.suspended, account.listing, known) {
        (false, Listing::Public, Known::Nothing) => Some(Change::Insert),
        (false, Listing::Public, Known::Hidden) => Some(Change::Hide(false)),
        (false, Listing::RedList, Known::Shown) => Some(Change::Hide(true)),
        (true, _, Known::Shown | Known::Hidden) => Some(Change::Delete),
        _ => None,
    }
}

/// `named` is who holds it by what administrators said.
fn record(office: &Office, account: &Account, named: Option<String>, row: Option<&Row>) -> Record {
    let replica = office.replica.as_ref();
    let found = replica.and_then(|replica| replica.find(&account.address).ok()?);
    let is_person = matches!(account.kind, MailboxKind::Personal | MailboxKind::Practice);
    let holder = match (&found, row) {
        _ if is_person && named.is_some() => Holder::Professional(named.unwrap_or_default()),
        (Some(found), _) if is_person && !found.identity.is_empty() => {
            Holder::Professional(found.identity.clone())
        }
        (Some(found), _) if !is_person && found.structure_kind == FINESS => {
            Holder::Structure(found.structure.clone())
        }
        (_, Some(row)) => holder_of(row),
        _ => Holder::Unknown,
    };
    let description = if is_person { "" } else { account.display_name.trim() };
    let record = Record {
        holder,
        description: description.to_owned(),
        ..empty(account.address.clone(), account.kind)
    };
    match found {
        Some(found) => described(record, found, is_person),
        None => Record {
            name: if is_person { account.display_name.trim().to_owned() } else { String::new() },
            ..record
        },
    }
}

fn described(record: Record, found: PublishedMailbox, is_person: bool) -> Record {
    let (name, given_name) = match is_person {
        true => (found.name, found.given_name),
        false => Default::default(),
    };
    Record {
        name,
        given_name,
        profession: found.profession,
        structure_name: found.structure_name,
        service: found.service,
        ..record
    }
}

fn empty(address: Address, kind: MailboxKind) -> Record {
    Record {
        address,
        kind,
        holder: Holder::Unknown,
        description: String::new(),
        name: String::new(),
        given_name: String::new(),
        profession: String::new(),
        structure_name: String::new(),
        service: String::new(),
    }
}

fn holder_of(row: &Row) -> Holder {
    match (row.professional.is_empty(), row.structure.is_empty()) {
        (false, _) => Holder::Professional(row.professional.clone()),
        (true, false) => Holder::Structure(row.structure.clone()),
        (true, true) => Holder::Unknown,
    }
}

async fn rows(office: &Office) -> Result<Vec<(MailboxId, Row)>, String> {
    let mut found = Vec::new();
    let mut range = store::prefix(ROWS);
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await;
        let page = page.map_err(|error| error.to_string())?;
        for (key, value) in &page.rows {
            let id = key.get(ROWS.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            let row: Option<Row> = row::decode(FORMAT, &value.value);
            match (id, row) {
                (Some(id), Some(row)) => found.push((MailboxId::from_bytes(id), row)),
                _ => return Err("a row about publication is damaged".to_owned()),
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(found),
        }
    }
}

fn line(task: &Task) -> Line {
    Line {
        address: task.record.address.clone(),
        kind: task.record.kind,
        known: task.known,
        change: task.change,
        last: task.row.as_ref().map(attempt),
    }
}

fn attempt(row: &Row) -> Attempt {
    Attempt {
        at: Timestamp::from_millis(row.at),
        change: row.change.clone(),
        result: row.result.clone(),
        reason: row.reason.clone(),
    }
}

/// The way that the configuration names.
fn publisher(office: &Office) -> Result<Option<Box<dyn Publisher>>, String> {
    let settings = &office.config.publish;
    match (settings.mode, &settings.folder, &settings.url) {
        (PublishMode::Off, ..) => Ok(None),
        (PublishMode::File, Some(folder), _) => {
            Ok(Some(Box::new(FilePublisher::new(folder, Arc::clone(&office.clock)))))
        }
        (PublishMode::Api, _, Some(url)) => {
            let anchors = match settings.anchors.is_empty() {
                true => Vec::new(),
                false => net::load_anchors(&settings.anchors).map_err(|error| error.to_string())?,
            };
            let key = match &settings.key_file {
                Some(file) => {
                    let text = std::fs::read_to_string(file)
                        .map_err(|error| format!("publish.key_file: {error}"))?;
                    Some(Secret::new(text.trim().to_owned()))
                }
                None => None,
            };
            let api = ApiPublisher::new(url, key, &anchors).map_err(|error| error.to_string())?;
            Ok(Some(Box::new(api)))
        }
        _ => Err("publish.folder or publish.url is missing".to_owned()),
    }
}
