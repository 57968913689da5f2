//! From the publisher to the replica: a file that somebody puts somewhere, or an HTTPS server
//! under private anchors, asked every `directory.refresh_seconds` or so.
//!
//! What is fetched is public, and may lie in clear: it goes to `replica/` in the data folder.
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::flow::alerts;
use crate::flow::directory;
use crate::flow::directory::DirectoryCopyError;
use crate::flow::office::Office;
use crate::infra::config::ListSource;
use crate::infra::net::Stop;
use crate::infra::net::fetch::Fetcher;
use crate::infra::net::fetch::Saved;
use crate::infra::net::fetch::Validators;
use crate::infra::replica::Imported;
use crate::infra::replica::Kind;
use crate::infra::replica::ReplicaError;

/// A server may say nothing for so long.
const SILENCE: Duration = Duration::from_secs(60);
/// So long one file may take.
const WHOLE: Duration = Duration::from_secs(3_600);
/// After a failure the sources are asked again so soon.
const AGAIN: Duration = Duration::from_secs(900);
/// How often the age is looked at.
const LOOK: Duration = Duration::from_secs(3_600);

/// What a server said about the file that was imported last.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Keeps the copy young until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    if office.replica.is_none() {
        return stop.stopped().await;
    }
    make_again(&office).await;
    let mut wait = limits::TRUST_FIRST_FETCH_SPREAD.mul_f64(chance());
    let mut until_asked = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
        until_asked = until_asked.saturating_sub(wait);
        if until_asked.is_zero() {
            let outcome = tokio::select! {
                () = stop.stopped() => return,
                outcome = refresh(&office) => outcome,
            };
            until_asked = match outcome {
                Ok(_) => office.config.directory.refresh.mul_f64(0.9 + 0.2 * chance()),
                Err(_) => AGAIN.min(office.config.directory.refresh),
            };
        }
        directory::tell(&office).await;
        wait = until_asked.min(LOOK).max(Duration::from_secs(1));
    }
}

/// A copy that was damaged is made again from the file that was imported last.
async fn make_again(office: &Arc<Office>) {
    let Ok(replica) = directory::replica(office) else { return };
    let made = tokio::task::spawn_blocking(move || replica.rebuild(&mut |_| {})).await;
    match made {
        Ok(Ok(true)) => tracing::info!("the directory replica was made again"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the directory replica cannot be made again"),
        Err(_) => tracing::error!("making the directory replica again ended badly"),
    }
}

/// Asks both sources now, and imports what is new. Tells what was imported.
pub async fn refresh(office: &Arc<Office>) -> Result<Vec<Imported>, DirectoryCopyError> {
    let settings = &office.config.directory;
    let sources = [(Kind::Mailboxes, &settings.extraction), (Kind::People, &settings.people)];
    let mut imported = Vec::new();
    let mut failure = None;
    let mut has_asked = false;
    for (kind, source) in sources {
        let Some(source) = source else { continue };
        has_asked = true;
        match refresh_one(office, kind, source).await {
            Ok(new) => imported.extend(new),
            Err(error) => {
                tracing::warn!(?kind, %error, "the directory was not renewed; the old copy stays");
                tell_refused(office, &error);
                failure = Some(error);
            }
        }
    }
    if has_asked {
        note(office, failure.as_ref());
    }
    failure.map_or(Ok(imported), Err)
}

/// A publisher that is away comes back; a file that came and was refused waits for a human.
fn tell_refused(office: &Arc<Office>, error: &DirectoryCopyError) {
    let DirectoryCopyError::Replica(ReplicaError::Source { .. }) = error else { return };
    let text = format!(
        "{error}. The old copy stays and goes on to be searched. If the file is as it should be, \
         `vaguemestre directory import FILE --any-size` takes it."
    );
    alerts::raise(office, "a file of the national directory was refused", &text);
}

fn note(office: &Office, failure: Option<&DirectoryCopyError>) {
    let now = office.clock.now();
    let mut attempts = office.directory.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    attempts.tried = Some(now);
    match failure {
        None => {
            (attempts.succeeded, attempts.error, attempts.failures) = (Some(now), None, 0);
        }
        Some(error) => {
            attempts.error = Some(error.to_string());
            attempts.failures = attempts.failures.saturating_add(1);
        }
    }
}

async fn refresh_one(
    office: &Office,
    kind: Kind,
    source: &ListSource,
) -> Result<Option<Imported>, DirectoryCopyError> {
    let last = directory::blocking(office, move |replica| {
        Ok(match kind {
            Kind::Mailboxes => replica.imported()?,
            Kind::People => replica.people_imported()?,
        })
    })
    .await?;
    match source {
        ListSource::File(file) => {
            if !is_younger(file, last.as_ref()).await? {
                return Ok(None);
            }
            import_as(office, kind, file.clone()).await.map(Some)
        }
        ListSource::Url(url) => {
            let folder = directory::replica(office)?.folder().to_owned();
            fetch(office, kind, url, last.is_some(), &folder).await
        }
    }
}

/// True when the file was written after the last import, or has another name.
async fn is_younger(file: &Path, last: Option<&Imported>) -> Result<bool, DirectoryCopyError> {
    let wrong = |error| DirectoryCopyError::Source(format!("{}: {error}", file.display()));
    let written = tokio::fs::metadata(file).await.and_then(|found| found.modified());
    let written = written.map_err(wrong)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(last.is_none_or(|last| {
        let is_same = file.file_name().is_some_and(|name| *name == *last.source);
        !is_same || written.as_millis() > u128::from(last.at.as_millis())
    }))
}

/// A file of the other kind under this key is a mistake of the configuration.
async fn import_as(
    office: &Office,
    kind: Kind,
    file: PathBuf,
) -> Result<Imported, DirectoryCopyError> {
    let name = file.display().to_string();
    let is = {
        let file = file.clone();
        directory::blocking(office, move |_| Ok(crate::infra::replica::Replica::kind_of(&file)?))
    };
    if is.await? != kind {
        let key = match kind {
            Kind::Mailboxes => "directory.extraction",
            Kind::People => "directory.people",
        };
        return Err(DirectoryCopyError::Source(format!("{name} is not what {key} should name")));
    }
    directory::import(office, file, false).await.map(|(_, imported)| imported)
}

async fn fetch(
    office: &Office,
    kind: Kind,
    url: &str,
    has_copy: bool,
    folder: &Path,
) -> Result<Option<Imported>, DirectoryCopyError> {
    let failed = |error: &dyn std::fmt::Display| DirectoryCopyError::Source(error.to_string());
    let names = match kind {
        Kind::Mailboxes => ("seen-extraction.json", "extraction.zip"),
        Kind::People => ("seen-people.json", "people.zip"),
    };
    let notes = folder.join(names.0);
    let known = match tokio::fs::read(&notes).await {
        Ok(octets) if has_copy => serde_json::from_slice::<Seen>(&octets).unwrap_or_default(),
        _ => Seen::default(),
    };
    let known = if known.url == url {
        Validators { etag: known.etag, last_modified: known.last_modified }
    } else {
        Validators::default()
    };
    let files = office.config.directory.anchors.clone();
    let asked = url.to_owned();
    // Anchors are read anew each time: an authority may change without a restart.
    let anchors = tokio::task::spawn_blocking(move || directory::anchors(&asked, &files)).await;
    let anchors = anchors.map_err(|_| DirectoryCopyError::Cut)?;
    let anchors = anchors.map_err(|error| failed(&format!("directory.anchors: {error}")))?;
    let fetcher = Fetcher::patient(&anchors, SILENCE, WHOLE).map_err(|error| failed(&error))?;
    let incoming = folder.join("incoming");
    tokio::fs::create_dir_all(&incoming).await.map_err(|error| failed(&error))?;
    let part = incoming.join(format!("{}.part", names.1));
    let saved = fetcher.save(url, &part, limits::DIRECTORY_FETCH_OCTETS_MAX, &known).await;
    let (name, validators) = match saved {
        Ok(Saved::Unchanged) => return Ok(None),
        Ok(Saved::File { name, validators }) => (name, validators),
        Err(error) => {
            let _ = tokio::fs::remove_file(&part).await;
            return Err(failed(&error));
        }
    };
    // The name tells when the file was made.
    let file = incoming.join(name.unwrap_or_else(|| names.1.to_owned()));
    tokio::fs::rename(&part, &file).await.map_err(|error| failed(&error))?;
    let imported = import_as(office, kind, file.clone()).await;
    let _ = tokio::fs::remove_file(&file).await;
    let imported = imported?;
    let seen = Seen {
        url: url.to_owned(),
        etag: validators.etag,
        last_modified: validators.last_modified,
    };
    if let Ok(text) = serde_json::to_vec(&seen)
        && let Err(error) = tokio::fs::write(&notes, text).await
    {
        tracing::warn!(%error, "what the directory's server said cannot be kept");
    }
    Ok(Some(imported))
}

fn chance() -> f64 {
    let random = uuid::Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([random[0], random[1]])) / f64::from(u16::MAX)
}
