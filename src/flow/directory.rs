//! The national directory's copy: fetched again and again, its age watched, searched on behalf of
//! people, and compared with our own mailboxes.
pub mod drift; // where the directory and we say different things
pub mod live; // what the FHIR API says beyond the file
mod refresh; // from the publisher to the replica

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::office::Office;
use crate::infra::directory::Mailboxes;
use crate::infra::net;
use crate::infra::net::NetError;
use crate::infra::replica::Imported;
use crate::infra::replica::Kind;
use crate::infra::replica::Professional;
use crate::infra::replica::PublishedMailbox;
use crate::infra::replica::Query;
use crate::infra::replica::Ranking;
use crate::infra::replica::Replica;
use crate::infra::replica::ReplicaError;

pub use refresh::refresh;
pub use refresh::run;

/// The list of our hidden addresses is read again after so long; results of our own domains are
/// looked up besides, so that a mailbox hidden a moment ago does not show.
const HIDDEN_KEPT: Duration = Duration::from_secs(30);

/// What a running relay remembers about its copy.
#[derive(Default)]
pub struct State {
    rows: AtomicUsize,
    attempts: Mutex<Attempts>,
    hidden: Mutex<Option<(Timestamp, Arc<HashSet<String>>)>>,
    noted: drift::Noted,
    /// When mailboxes were compared last, and how many differed.
    drifts: Mutex<Option<(Timestamp, usize)>>,
    client: live::Client,
}

/// How fetching went.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// An import runs at this moment.
    pub importing: bool,
    /// When a source was asked last.
    pub tried: Option<Timestamp>,
    /// When all sources answered well last.
    pub succeeded: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
}

/// How old the copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As it should be.
    Good,
    /// Older than `directory.age_warning_seconds`.
    Warning,
    /// Older than `directory.age_alarm_seconds`.
    Alarm,
    /// Nothing was imported yet.
    Empty,
}

impl Age {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
            Self::Empty => "empty",
        }
    }
}

/// What is known of the copy.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The mailboxes.
    pub mailboxes: Option<Imported>,
    /// PS_LibreAcces.
    pub people: Option<Imported>,
    /// How old the mailboxes are: since the publisher made them, or else since the import.
    pub age: Duration,
    /// What that means.
    pub level: Age,
    /// How fetching went.
    pub attempts: Attempts,
    /// Rows that a running import has read.
    pub rows: usize,
}

/// Why the copy could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryCopyError {
    /// It did not open at the start.
    #[error("the copy of the national directory did not open; the log says why")]
    None,
    /// It refused, or failed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The publisher did not answer well.
    #[error("{0}")]
    Source(String),
    /// Our own accounts could not be read.
    #[error("our own mailboxes cannot be read: {0}")]
    Accounts(String),
    /// Work was cut.
    #[error("the work on the copy was cut")]
    Cut,
}

/// Mailboxes that a query finds, the best first, without those that are hidden (*liste rouge*) or
/// closed here. `known` are addresses, in their look-up form, that the asker exchanged letters
/// with, and what that is worth.
pub async fn search(
    office: &Office,
    query: Query,
    known: Arc<HashMap<String, u32>>,
    limit: usize,
) -> Result<Vec<PublishedMailbox>, DirectoryCopyError> {
    let hidden = hidden(office).await?;
    let departments = office.config.directory.departments.clone();
    // A few more: some may turn out to be hidden here.
    let wanted = limit.saturating_add(20);
    let found = blocking(office, move |replica| {
        let ranking = Ranking {
            departments: &departments,
            known: &known,
            hidden: &|address| hidden.contains(address),
        };
        Ok(replica.search(&query, &ranking, wanted)?)
    })
    .await?;
    let mut shown = Vec::with_capacity(limit.min(found.len()));
    for mailbox in found {
        if shown.len() >= limit {
            break;
        }
        if is_shown(office, &mailbox).await? {
            shown.push(mailbox);
        }
    }
    Ok(shown)
}

/// What the copy says of one address, line by line; empty for a mailbox that is hidden here.
pub async fn look_up(
    office: &Office,
    address: &Address,
) -> Result<Vec<PublishedMailbox>, DirectoryCopyError> {
    const LINES_MAX: usize = 32;
    let wanted = address.clone();
    let lines = blocking(office, move |replica| Ok(replica.lines(&wanted, LINES_MAX)?)).await?;
    match lines.first() {
        Some(first) if !is_shown(office, first).await? => Ok(Vec::new()),
        _ => Ok(lines),
    }
}

/// What PS_LibreAcces says of a professional.
pub async fn professional(
    office: &Office,
    identity: String,
) -> Result<Option<Professional>, DirectoryCopyError> {
    blocking(office, move |replica| Ok(replica.professional(&identity)?)).await
}

/// A mailbox of ours is shown as we know it, whatever an older extraction says.
async fn is_shown(office: &Office, mailbox: &PublishedMailbox) -> Result<bool, DirectoryCopyError> {
    let Ok(address) = Address::parse(&mailbox.address) else { return Ok(false) };
    if !office.hosts(address.domain()) {
        return Ok(true);
    }
    let account = office.accounts.find(&address).await;
    let account = account.map_err(|error| DirectoryCopyError::Accounts(error.to_string()))?;
    Ok(account.is_none_or(|account| account.listing == Listing::Public && !account.suspended))
}

/// Our hidden addresses, in their look-up form.
async fn hidden(office: &Office) -> Result<Arc<HashSet<String>>, DirectoryCopyError> {
    let now = office.clock.now();
    let kept = office.directory.hidden.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((at, hidden)) = kept
        && at <= now
        && now.since(at) < HIDDEN_KEPT
    {
        return Ok(hidden);
    }
    let accounts = office.accounts.list().await;
    let accounts = accounts.map_err(|error| DirectoryCopyError::Accounts(error.to_string()))?;
    let hidden: HashSet<String> = accounts
        .iter()
        .filter(|account| account.listing == Listing::RedList)
        .map(|account| account.address.lookup_form())
        .collect();
    let hidden = Arc::new(hidden);
    let mut kept = office.directory.hidden.lock().unwrap_or_else(PoisonError::into_inner);
    *kept = Some((now, Arc::clone(&hidden)));
    Ok(hidden)
}

/// Imports a file. `any_size` takes one that shrank, too.
pub async fn import(
    office: &Office,
    file: PathBuf,
    any_size: bool,
) -> Result<(Kind, Imported), DirectoryCopyError> {
    let share = share_min(office, any_size);
    set_importing(office, true);
    office.directory.rows.store(0, Ordering::Relaxed);
    // The replica's own lock makes one import wait for the other.
    let (replica, state) = (replica(office)?, Arc::clone(&office.directory));
    let work = tokio::task::spawn_blocking(move || {
        let mut progress = |rows| state.rows.store(rows, Ordering::Relaxed);
        let kind = Replica::kind_of(&file)?;
        let imported = match kind {
            Kind::Mailboxes => replica.import_at_least(&file, share, &mut progress)?,
            Kind::People => replica.import_people(&file, share, &mut progress)?,
        };
        Ok::<_, ReplicaError>((kind, imported))
    });
    let outcome = work.await;
    set_importing(office, false);
    let (kind, imported) = outcome.map_err(|_| DirectoryCopyError::Cut)??;
    let Imported { rows, addresses, bad_rows, source, .. } = &imported;
    tracing::info!(?kind, rows, addresses, bad_rows, source, "directory file imported");
    show_age(office, &standing(office).await?);
    Ok((kind, imported))
}

fn share_min(office: &Office, any_size: bool) -> usize {
    if any_size {
        return 0;
    }
    let lost = usize::try_from(office.config.directory.shrink_percent).unwrap_or(100);
    100_usize.saturating_sub(lost)
}

fn set_importing(office: &Office, importing: bool) {
    let mut attempts = office.directory.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    attempts.importing = importing;
}

/// What is known of the copy.
pub async fn standing(office: &Office) -> Result<Standing, DirectoryCopyError> {
    let (mailboxes, people) =
        blocking(office, |replica| Ok((replica.imported()?, replica.people_imported()?))).await?;
    let now = office.clock.now();
    let age = mailboxes.as_ref().map(|imported| now.since(imported.made().unwrap_or(imported.at)));
    let settings = &office.config.directory;
    let level = match age {
        None => Age::Empty,
        Some(age) if age >= settings.age_alarm => Age::Alarm,
        Some(age) if age >= settings.age_warning => Age::Warning,
        Some(_) => Age::Good,
    };
    let attempts = office.directory.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let rows = office.directory.rows.load(Ordering::Relaxed);
    let age = age.unwrap_or_default();
    Ok(Standing { mailboxes, people, age, level, attempts, rows })
}

fn show_age(office: &Office, standing: &Standing) {
    if let Some(imported) = &standing.mailboxes {
        office.metrics.directory(standing.age, imported.addresses as u64);
    }
}

/// Says what about the copy needs a human: its age. Whoever configured no source and imported
/// nothing has asked for no copy.
pub async fn tell(office: &Arc<Office>) {
    let Ok(standing) = standing(office).await else { return };
    show_age(office, &standing);
    let hours = standing.age.as_secs() / 3_600;
    let reason = standing.attempts.error.clone().unwrap_or_else(|| "no younger file came".into());
    match standing.level {
        Age::Warning => tracing::warn!(hours, reason, "the copy of the directory is old"),
        Age::Alarm => {
            let text = format!(
                "The copy of the national directory is {hours} hours old: {reason}. Mail goes on; \
                 searches and checks of senders use what was true then. `vaguemestre directory \
                 status` says more, `vaguemestre directory import` takes a file by hand."
            );
            alerts::raise(office, "the national directory is too old", &text);
        }
        Age::Good | Age::Empty => {}
    }
}

/// The authorities under which the server of this address must be. None are needed on this
/// machine, where nothing is encrypted; elsewhere no public one is trusted.
fn anchors(url: &str, files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, NetError> {
    if files.is_empty() && url.starts_with("http://") {
        return Ok(Vec::new());
    }
    net::load_anchors(files)
}

fn replica(office: &Office) -> Result<Arc<Replica>, DirectoryCopyError> {
    office.replica.as_ref().map(Arc::clone).ok_or(DirectoryCopyError::None)
}

/// The replica reads files: never on a thread that serves sessions.
async fn blocking<T: Send + 'static>(
    office: &Office,
    work: impl FnOnce(&Replica) -> Result<T, DirectoryCopyError> + Send + 'static,
) -> Result<T, DirectoryCopyError> {
    let replica = replica(office)?;
    let work = tokio::task::spawn_blocking(move || work(&replica));
    work.await.map_err(|_| DirectoryCopyError::Cut)?
}
