//! Where the list is published: a file, or an HTTPS server under private anchors.
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::domain::limits::TRUST_FETCH_TIMEOUT;
use crate::domain::limits::TRUST_LIST_OCTETS_MAX;
use crate::infra::net::fetch::Fetched;
use crate::infra::net::fetch::Fetcher;
use crate::infra::net::fetch::Validators;
use crate::infra::net::load_anchors;
use crate::infra::trust::TrustError;

/// Where the list is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that somebody puts there.
    File(PathBuf),
    /// An address.
    Url {
        /// `https://…`
        url: String,
        /// PEM files of the anchors of its server; no public authority is trusted.
        anchors: Vec<PathBuf>,
    },
}

/// A document as it was published, nothing proven.
pub(super) struct Document {
    pub(super) octets: Vec<u8>,
    /// What the server said about it.
    pub(super) validators: Validators,
}

impl Source {
    /// The document, or `None` when the server says that it is still the one of `known`.
    pub(super) async fn obtain(&self, known: &Validators) -> Result<Option<Document>, TrustError> {
        match self {
            Self::File(file) => {
                let file = file.clone();
                let octets = super::blocking(move || read_bounded(&file)).await?;
                Ok(Some(Document { octets, validators: Validators::default() }))
            }
            Self::Url { url, anchors } => fetch(url, anchors, known).await,
        }
    }
}

/// Anchors are read anew each time: an authority may change without a restart.
async fn fetch(
    url: &str,
    anchors: &[PathBuf],
    known: &Validators,
) -> Result<Option<Document>, TrustError> {
    let failed = |error: &dyn std::fmt::Display| TrustError::Fetch(error.to_string());
    let files = anchors.to_vec();
    let anchors = super::blocking(move || {
        load_anchors(&files).map_err(|error| TrustError::Fetch(format!("anchors: {error}")))
    })
    .await?;
    let fetcher = Fetcher::new(&anchors, TRUST_FETCH_TIMEOUT).map_err(|error| failed(&error))?;
    let answer = fetcher.get(url, TRUST_LIST_OCTETS_MAX, known).await;
    match answer.map_err(|error| failed(&error))? {
        Fetched::Unchanged => Ok(None),
        Fetched::Document { octets, validators } => Ok(Some(Document { octets, validators })),
    }
}

pub(super) fn read_bounded(file: &Path) -> Result<Vec<u8>, TrustError> {
    let wrong = |reason: String| TrustError::File { file: file.display().to_string(), reason };
    let open = std::fs::File::open(file).map_err(|error| wrong(error.to_string()))?;
    let mut document = Vec::new();
    let limit = TRUST_LIST_OCTETS_MAX as u64 + 1;
    open.take(limit).read_to_end(&mut document).map_err(|error| wrong(error.to_string()))?;
    if document.len() > TRUST_LIST_OCTETS_MAX {
        return Err(wrong(format!("larger than {TRUST_LIST_OCTETS_MAX} octets")));
    }
    Ok(document)
}
