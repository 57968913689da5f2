//! What the directory's FHIR API says beyond the file: details of one mailbox, and what changed
//! since a day. The file is the truth; what only the API knows is marked so.
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::flow::directory;
use crate::flow::directory::DirectoryCopyError;
use crate::flow::directory::blocking;
use crate::flow::office::Office;
use crate::infra::fhir::Fhir;
use crate::infra::fhir::LiveMailbox;
use crate::infra::fhir::Settings;
use crate::infra::replica::PublishedMailbox;

/// The client, made at its first use: all share its pace. It is made anew when the key or the
/// anchors are others: both end, and changing one must not need a restart.
#[derive(Default)]
pub(super) struct Client(Mutex<Option<Made>>);

struct Made {
    key: Option<Secret<String>>,
    anchors: Vec<CertificateDer<'static>>,
    client: Arc<Fhir>,
}

/// How what the API says stands to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The file says the same.
    Same,
    /// The file says something else.
    Differs,
    /// Only the API knows it.
    ApiOnly,
    /// The API says that its carrier is no longer active, and the file has it still.
    Ending,
}

impl Mark {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::ApiOnly => "api-only",
            Self::Ending => "ending",
        }
    }
}

/// What the API says of one address. Hidden mailboxes are left out.
pub async fn mailbox(
    office: &Office,
    address: &Address,
) -> Result<Vec<(LiveMailbox, Mark)>, DirectoryCopyError> {
    let found = client(office).await?.mailbox(&address.lookup_form()).await;
    let found = found.map_err(|error| DirectoryCopyError::Source(error.to_string()))?;
    marked(office, found.into_iter().filter(|one| !one.red_list).collect()).await
}

/// What changed since a day. Hidden mailboxes are left out. True when there was more than is
/// told.
pub async fn changed_since(
    office: &Office,
    since: &str,
) -> Result<(Vec<(LiveMailbox, Mark)>, bool), DirectoryCopyError> {
    let mut found = Vec::new();
    let mut is_cut = false;
    let asked = client(office)
        .await?
        .changed_since(since, &mut |mailbox| {
            if mailbox.red_list {
                return;
            }
            if found.len() < limits::DELTA_MAILBOXES_MAX {
                found.push(mailbox);
            } else {
                is_cut = true;
            }
        })
        .await;
    asked.map_err(|error| DirectoryCopyError::Source(error.to_string()))?;
    Ok((marked(office, found).await?, is_cut))
}

async fn client(office: &Office) -> Result<Arc<Fhir>, DirectoryCopyError> {
    let wrong = DirectoryCopyError::Source;
    let settings = office.config.fhir.clone();
    let settings = settings.ok_or_else(|| wrong("the configuration has no fhir.url".to_owned()))?;
    let mut kept = office.directory.client.0.lock().await;
    let file = settings.key_file.clone();
    let key = on_thread(move || {
        let read = |file| std::fs::read_to_string(file).map(Secret::new);
        file.map(read).transpose().map_err(|error| wrong(format!("fhir.key_file: {error}")))
    })
    .await?;
    let (url, files) = (settings.url.clone(), settings.anchors.clone());
    let read = on_thread(move || {
        let read = directory::anchors(&url, &files);
        read.map_err(|error| wrong(format!("fhir.anchors: {error}")))
    });
    let anchors = match (read.await, kept.as_ref()) {
        (Ok(anchors), _) => anchors,
        // Half written, or taken away by mistake: what was good goes on to count.
        (Err(error), Some(made)) => {
            tracing::warn!(%error, "the anchors of the directory's API stay as they were");
            made.anchors.clone()
        }
        (Err(error), None) => return Err(error),
    };
    if let Some(made) = kept.as_ref()
        && secret_of(&made.key) == secret_of(&key)
        && made.anchors == anchors
    {
        return Ok(Arc::clone(&made.client));
    }
    let given = secret_of(&key).map(|key| Secret::new(key.to_owned()));
    let trusted = anchors.clone();
    let client = on_thread(move || {
        let client = Fhir::new(Settings {
            url: settings.url,
            key: given,
            anchors: trusted,
            per_second: settings.per_second,
            timeout: settings.timeout,
        });
        client.map(Arc::new).map_err(|error| wrong(error.to_string()))
    })
    .await?;
    *kept = Some(Made { key, anchors, client: Arc::clone(&client) });
    Ok(client)
}

fn secret_of(key: &Option<Secret<String>>) -> Option<&str> {
    key.as_ref().map(|key| key.expose().as_str())
}

/// Files are read where no session waits for them.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DirectoryCopyError> + Send + 'static,
) -> Result<T, DirectoryCopyError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| DirectoryCopyError::Cut)?
}

/// Compares with the file.
async fn marked(
    office: &Office,
    found: Vec<LiveMailbox>,
) -> Result<Vec<(LiveMailbox, Mark)>, DirectoryCopyError> {
    const LINES_MAX: usize = 32;
    blocking(office, move |replica| {
        let mut marked = Vec::with_capacity(found.len());
        for live in found {
            let Ok(address) = Address::parse(&live.address) else { continue };
            let lines = replica.lines(&address, LINES_MAX)?;
            let mark = mark(&live, &lines);
            marked.push((live, mark));
        }
        Ok(marked)
    })
    .await
}

fn mark(live: &LiveMailbox, lines: &[PublishedMailbox]) -> Mark {
    if lines.is_empty() {
        return Mark::ApiOnly;
    }
    if !live.active {
        return Mark::Ending;
    }
    let is_same = lines.iter().any(|line| {
        let has_kind = live.kind.is_empty() || live.kind == line.kind;
        has_kind && live.paper_free == line.paper_free
    });
    if is_same { Mark::Same } else { Mark::Differs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infra::fhir::Resource;

    fn live() -> LiveMailbox {
        LiveMailbox {
            address: "a@b.mssante.fr".to_owned(),
            kind: "PER".to_owned(),
            red_list: false,
            paper_free: true,
            description: String::new(),
            service: String::new(),
            rank: None,
            resource: Resource::Practitioner,
            id: String::new(),
            active: true,
            name: String::new(),
            identifiers: Vec::new(),
            qualifications: Vec::new(),
            last_updated: String::new(),
        }
    }

    #[test]
    fn the_file_is_the_truth_and_what_only_the_api_knows_is_marked() {
        let line = PublishedMailbox {
            kind: "PER".to_owned(),
            paper_free: true,
            ..PublishedMailbox::default()
        };
        assert_eq!(mark(&live(), &[]), Mark::ApiOnly);
        assert_eq!(mark(&live(), std::slice::from_ref(&line)), Mark::Same);
        let paper = LiveMailbox { paper_free: false, ..live() };
        assert_eq!(mark(&paper, std::slice::from_ref(&line)), Mark::Differs);
        let gone = LiveMailbox { active: false, ..live() };
        assert_eq!(mark(&gone, &[line]), Mark::Ending);
    }
}
