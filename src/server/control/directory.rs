//! The copy of the national directory: its age, what is in it, and where it and we differ.
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::directory;
use crate::flow::directory::drift::Finding;
use crate::flow::directory::live::Mark;
use crate::flow::office::Office;
use crate::infra::fhir::LiveMailbox;
use crate::infra::journal::Entry;
use crate::infra::replica::Imported;
use crate::infra::replica::Kind;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Query;
use crate::infra::store::Batch;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What is there, and how old it is.
    Status {},
    /// Import a file.
    Import {
        /// Its path, absolute.
        file: PathBuf,
        /// Also when it shrank.
        any_size: bool,
    },
    /// Ask the sources of the configuration now.
    Refresh {},
    /// Find mailboxes.
    Search {
        /// Words of anything.
        words: String,
        /// Words of the name.
        name: String,
        /// Code or label.
        profession: String,
        /// Code or label.
        speciality: String,
        /// Department, postal code, town.
        place: String,
        /// Identifier or name.
        structure: String,
        /// `PER` or `ORG`.
        kind: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// Everything about one address.
    Show {
        /// Which one.
        address: String,
        /// Ask the FHIR API, too.
        live: bool,
    },
    /// Where the directory and we differ.
    Drift {},
    /// What the FHIR API says has changed.
    Delta {
        /// `YYYY-MM-DD`, or RFC 3339.
        since: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What is there.
    Status(Box<Status>),
    /// What was imported.
    Imported(Vec<ImportRow>),
    /// Mailboxes, the best first.
    Mailboxes(Vec<MailboxLine>),
    /// Everything about one address.
    Shown(Shown),
    /// Where the directory and we differ.
    Drift(Vec<DriftLine>),
    /// What has changed.
    Delta(Delta),
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The mailboxes.
    pub mailboxes: Option<ImportRow>,
    /// PS_LibreAcces.
    pub people: Option<ImportRow>,
    /// Since the publisher made the mailboxes' file, or else since the import.
    pub age_seconds: u64,
    /// `good`, `warning`, `alarm`, `empty`.
    pub age: String,
    /// What somebody should do something about.
    pub alarms: Vec<String>,
    /// Where the mailboxes come from, by the configuration.
    pub extraction: Option<String>,
    /// Where PS_LibreAcces comes from.
    pub people_source: Option<String>,
    /// RFC 3339, UTC; since the start.
    pub tried: Option<String>,
    /// RFC 3339, UTC; since the start.
    pub succeeded: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// An import runs, and has read so many rows.
    pub importing_rows: Option<usize>,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// `mailboxes` or `people`.
    pub kind: String,
    /// File name.
    pub source: String,
    /// Rows read.
    pub rows: usize,
    /// Distinct addresses, or people.
    pub distinct: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// RFC 3339, UTC.
    pub imported: String,
    /// When the publisher made it, by its name; RFC 3339, UTC.
    pub made: Option<String>,
}

/// A published mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxLine {
    /// `PER` or `ORG`.
    pub kind: String,
    /// The mailbox.
    pub address: String,
    /// RPPS.
    pub rpps: String,
    /// *Identification nationale PP*.
    pub identity: String,
    /// FINESS or SIRET.
    pub structure: String,
    /// Kind of the structure's identifier.
    pub structure_kind: String,
    /// The structure's name.
    pub structure_name: String,
    /// The service.
    pub service: String,
    /// `Docteur`…
    pub title: String,
    /// Family name, or the structure's name.
    pub name: String,
    /// Given name, or the service.
    pub given_name: String,
    /// Code.
    pub profession_code: String,
    /// Label.
    pub profession: String,
    /// Code.
    pub speciality_code: String,
    /// Label.
    pub speciality: String,
    /// Street.
    pub street: String,
    /// Postal code.
    pub postal_code: String,
    /// Town.
    pub town: String,
    /// Department.
    pub department: String,
    /// Paper-free exchange accepted.
    pub paper_free: bool,
}

/// Everything about one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its lines in the extraction.
    pub lines: Vec<MailboxLine>,
    /// What PS_LibreAcces knows of its professional.
    pub professional: Option<ProfessionalLine>,
    /// What the FHIR API says; `None` when it was not asked.
    pub live: Option<Vec<LiveLine>>,
}

/// A professional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfessionalLine {
    /// `8` and the RPPS.
    pub identity: String,
    /// Family name.
    pub name: String,
    /// Given name.
    pub given_name: String,
    /// Has an activity.
    pub active: bool,
    /// Labels with their codes.
    pub professions: Vec<String>,
    /// Codes.
    pub specialities: Vec<String>,
    /// FINESS or SIRET.
    pub structures: Vec<String>,
}

/// A mailbox, as the FHIR API knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLine {
    /// `same`, `differs`, `api-only`, `ending`: how it stands to the file, which is the truth.
    pub mark: String,
    /// The mailbox.
    pub address: String,
    /// `PER`, `ORG`, `APP`, `CAB`.
    pub kind: String,
    /// The person's or structure's name.
    pub name: String,
    /// Paper-free exchange accepted.
    pub paper_free: bool,
    /// What it is for.
    pub description: String,
    /// The service.
    pub service: String,
    /// The carrier: `Practitioner/003-…`.
    pub carrier: String,
    /// The carrier is active.
    pub active: bool,
    /// Codes.
    pub qualifications: Vec<String>,
    /// `system|value`.
    pub identifiers: Vec<String>,
    /// As the API wrote it.
    pub last_updated: String,
}

/// One mailbox that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftLine {
    /// The mailbox.
    pub address: String,
    /// Words: `retired`, `not-published`…
    pub drift: Vec<String>,
    /// The same, for people.
    pub text: String,
    /// The day on which it last sent while it differed; RFC 3339, UTC.
    pub sent: Option<String>,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Since when.
    pub since: String,
    /// Mailboxes of carriers that changed.
    pub mailboxes: Vec<LiveLine>,
    /// There were more than are told.
    pub cut: bool,
}

pub(super) async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Status {} => status(office).await.map(Box::new).map(Answer::Status),
        Request::Import { file, any_size } => {
            let shown = file.display().to_string();
            let outcome = directory::import(office, file, any_size).await;
            let what = match &outcome {
                Ok((_, imported)) => format!("{} taken", imported.addresses),
                Err(error) => format!("refused: {error}"),
            };
            record(office, caller, "directory import", &shown, &what).await?;
            let (kind, imported) = outcome.map_err(|error| error.to_string())?;
            Ok(Answer::Imported(vec![import_row(kind, &imported)]))
        }
        Request::Refresh {} => {
            let settings = &office.config.directory;
            if settings.extraction.is_none() && settings.people.is_none() {
                return Err("the configuration has no directory.extraction to ask; `directory \
                            import` takes a file by hand"
                    .to_owned());
            }
            let imported = directory::refresh(office).await.map_err(|error| error.to_string())?;
            let kind = |imported: &Imported| {
                let is_people = imported.source.starts_with("PS_");
                if is_people { Kind::People } else { Kind::Mailboxes }
            };
            let rows = imported.iter().map(|one| import_row(kind(one), one)).collect();
            Ok(Answer::Imported(rows))
        }
        Request::Search { words, name, profession, speciality, place, structure, kind, limit } => {
            let kind = kind.map(|code| {
                MailboxKind::from_code(&code.to_uppercase()).ok_or("a kind is PER or ORG")
            });
            let kind = kind.transpose()?;
            let query = Query { words, name, profession, speciality, place, structure, kind };
            let limit = limit.min(limits::DIRECTORY_SHOWN_MAX);
            let found = directory::search(office, query, Arc::new(HashMap::new()), limit).await;
            let found = found.map_err(|error| error.to_string())?;
            Ok(Answer::Mailboxes(found.into_iter().map(line).collect()))
        }
        Request::Show { address, live } => show(office, &address, live).await.map(Answer::Shown),
        Request::Drift {} => {
            let findings =
                directory::drift::all(office).await.map_err(|error| error.to_string())?;
            Ok(Answer::Drift(findings.iter().map(drift_line).collect()))
        }
        Request::Delta { since } => {
            check_since(&since)?;
            let (found, cut) = directory::live::changed_since(office, &since)
                .await
                .map_err(|error| error.to_string())?;
            let mailboxes = found.into_iter().map(live_line).collect();
            Ok(Answer::Delta(Delta { since, mailboxes, cut }))
        }
    }
}

async fn status(office: &Office) -> Result<Status, String> {
    let standing = directory::standing(office).await.map_err(|error| error.to_string())?;
    let settings = &office.config.directory;
    let name = |source: &crate::infra::config::ListSource| match source {
        crate::infra::config::ListSource::File(file) => file.display().to_string(),
        crate::infra::config::ListSource::Url(url) => url.clone(),
    };
    let hours = standing.age.as_secs() / 3_600;
    let mut alarms = Vec::new();
    match standing.level {
        directory::Age::Good => {}
        directory::Age::Empty => alarms.push("nothing was imported yet".to_owned()),
        directory::Age::Warning => alarms.push(format!("the copy is {hours} hours old")),
        directory::Age::Alarm => alarms.push(format!("the copy is {hours} hours old: too old")),
    }
    let attempts = &standing.attempts;
    if let Some(error) = &attempts.error {
        alarms.push(format!("the source failed {} times in a row: {error}", attempts.failures));
    }
    if standing.people.is_none() {
        alarms.push("PS_LibreAcces was not imported: nobody is known to be retired".to_owned());
    }
    Ok(Status {
        mailboxes: standing.mailboxes.as_ref().map(|one| import_row(Kind::Mailboxes, one)),
        people: standing.people.as_ref().map(|one| import_row(Kind::People, one)),
        age_seconds: standing.age.as_secs(),
        age: standing.level.name().to_owned(),
        alarms,
        extraction: settings.extraction.as_ref().map(name),
        people_source: settings.people.as_ref().map(name),
        tried: attempts.tried.map(|at| at.to_string()),
        succeeded: attempts.succeeded.map(|at| at.to_string()),
        error: attempts.error.clone(),
        importing_rows: attempts.importing.then_some(standing.rows),
    })
}

async fn show(office: &Office, address: &str, live: bool) -> Result<Shown, String> {
    let address = Address::parse(address).map_err(|error| error.to_string())?;
    let lines = directory::look_up(office, &address).await.map_err(|error| error.to_string())?;
    let identity = lines.first().map(|line| line.identity.clone()).unwrap_or_default();
    let professional =
        directory::professional(office, identity).await.map_err(|error| error.to_string())?;
    let live = if live {
        let found = directory::live::mailbox(office, &address).await;
        let found = found.map_err(|error| error.to_string())?;
        Some(found.into_iter().map(live_line).collect())
    } else {
        None
    };
    Ok(Shown {
        lines: lines.into_iter().map(line).collect(),
        professional: professional.map(|known| ProfessionalLine {
            identity: known.identity,
            name: known.name,
            given_name: known.given_name,
            active: known.active,
            professions: known
                .professions
                .into_iter()
                .map(|(code, label)| format!("{label} ({code})"))
                .collect(),
            specialities: known.specialities,
            structures: known.structures,
        }),
        live,
    })
}

/// The API takes a day or a moment; nothing else comes into its address.
fn check_since(since: &str) -> Result<(), String> {
    let is_day = crate::domain::time::Day::parse(since).is_some();
    let is_moment = since.parse::<jiff::Timestamp>().is_ok();
    if is_day || is_moment { Ok(()) } else { Err("since is a day, YYYY-MM-DD".to_owned()) }
}

async fn record(
    office: &Office,
    caller: &Caller,
    action: &str,
    target: &str,
    outcome: &str,
) -> Result<(), String> {
    let mut batch = Batch::new();
    let entry = Entry {
        at: office.clock.now(),
        author: caller.author.clone(),
        action: action.to_owned(),
        target: target.to_owned(),
        reason: String::new(),
        outcome: outcome.to_owned(),
    };
    office.journal.ride(&entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())
}

/// One import, for tables and programs.
pub fn import_row(kind: Kind, imported: &Imported) -> ImportRow {
    ImportRow {
        kind: match kind {
            Kind::Mailboxes => "mailboxes",
            Kind::People => "people",
        }
        .to_owned(),
        source: imported.source.clone(),
        rows: imported.rows,
        distinct: imported.addresses,
        bad_rows: imported.bad_rows,
        imported: imported.at.to_string(),
        made: imported.made().map(|at: Timestamp| at.to_string()),
    }
}

fn line(mailbox: PublishedMailbox) -> MailboxLine {
    MailboxLine {
        kind: mailbox.kind,
        address: mailbox.address,
        rpps: mailbox.rpps,
        identity: mailbox.identity,
        structure: mailbox.structure,
        structure_kind: mailbox.structure_kind,
        structure_name: mailbox.structure_name,
        service: mailbox.service,
        title: mailbox.title,
        name: mailbox.name,
        given_name: mailbox.given_name,
        profession_code: mailbox.profession_code,
        profession: mailbox.profession,
        speciality_code: mailbox.speciality_code,
        speciality: mailbox.speciality,
        street: mailbox.street,
        postal_code: mailbox.postal_code,
        town: mailbox.town,
        department: mailbox.department,
        paper_free: mailbox.paper_free,
    }
}

fn live_line((live, mark): (LiveMailbox, Mark)) -> LiveLine {
    LiveLine {
        mark: mark.name().to_owned(),
        address: live.address,
        kind: live.kind,
        name: live.name,
        paper_free: live.paper_free,
        description: live.description,
        service: live.service,
        carrier: format!("{}/{}", live.resource.name(), live.id),
        active: live.active,
        qualifications: live.qualifications,
        identifiers: live
            .identifiers
            .into_iter()
            .map(|(system, value)| format!("{system}|{value}"))
            .collect(),
        last_updated: live.last_updated,
    }
}

fn drift_line(finding: &Finding) -> DriftLine {
    let texts: Vec<_> = finding.drifts.iter().map(|drift| drift.text()).collect();
    DriftLine {
        address: finding.address.to_string(),
        drift: finding.drifts.iter().map(|drift| drift.code().to_owned()).collect(),
        text: texts.join("; "),
        sent: finding.sent.map(|at| at.to_string()),
    }
}
