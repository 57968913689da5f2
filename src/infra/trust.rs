//! The trust space: the signed list of operators, verified, kept, asked.
//!
//! The active list is replaced as a whole and only by a younger one whose signature is good;
//! whatever goes wrong, the one before stays. It is never empty.
mod signer; // whose signature counts
mod verify; // from a signed document to the bytes that the signature covers

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;

use crate::domain::address::Domain;
use crate::domain::limits::TRUST_LIST_OCTETS_MAX;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::infra::net::load_anchors;
use crate::proto::trust_list;

pub use verify::verified_bytes;

/// Age of a list at which somebody should look; the real one is made daily.
pub const AGE_WARNING: Duration = Duration::from_secs(24 * 3_600);
/// Age at which somebody must.
pub const AGE_ALARM: Duration = Duration::from_secs(72 * 3_600);

/// Who may sign the list.
#[derive(Clone, Debug)]
pub struct SignerRule {
    /// PEM files of the anchors to which the signer's certificate must chain.
    pub anchors: Vec<PathBuf>,
    /// The signer's subject CN, e.g. `alb.mssante.fr`.
    pub common_name: Option<String>,
    /// The signer's rfc822 SAN, e.g. `alb@mssante.fr`. One of the two must match.
    pub email: Option<String>,
}

/// Why a list was not taken. The active one stays.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// File missing, too large, not readable.
    #[error("trust list {file}: {reason}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The signature, its signer or its form is wrong.
    #[error("trust list signature: {0}")]
    Signature(String),
    /// The verified text is not a list.
    #[error("trust list form: {0}")]
    Form(String),
    /// Older than the active list, or empty.
    #[error("trust list refused: {0}")]
    Rollback(String),
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The same list as before.
    Unchanged,
    /// A younger list is active now, with this many domains.
    Replaced(usize),
}

/// The active list. Cheap to ask, replaced as a whole.
pub struct TrustSpace {
    /// `None` for a fixed list.
    source: Option<Source>,
    active: ArcSwap<Active>,
    /// One refresh at a time, so that of two the younger list always wins.
    refreshing: Mutex<()>,
}

struct Source {
    file: PathBuf,
    signer: SignerRule,
    /// Where the last good document lies, so that a restart cannot go back in time.
    kept: Option<PathBuf>,
}

/// A list, ready for questions.
struct Active {
    list: Arc<TrustList>,
    /// Every DN of the list: judging by DN alone must not walk through all domains.
    known: HashSet<OperatorDn>,
    /// SHA-256 of the document it came from.
    document: Vec<u8>,
}

impl TrustSpace {
    /// Verifies and loads the list in `file`.
    ///
    /// # Errors
    /// [`TrustError`]: without a good list the relay does not start, for it could neither send
    /// nor receive.
    pub fn load(file: PathBuf, signer: SignerRule, now: Timestamp) -> Result<Self, TrustError> {
        Self::start(Source { file, signer, kept: None }, now)
    }

    /// Like [`Self::load`], and keeps a copy of the last good document at `kept`. At the next
    /// start the younger of both counts: a damaged or older file then neither stops the relay
    /// nor takes the trust space back in time.
    ///
    /// # Errors
    /// [`TrustError`] when neither the file nor the copy is good.
    pub fn load_keeping(
        file: PathBuf,
        signer: SignerRule,
        kept: PathBuf,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        Self::start(Source { file, signer, kept: Some(kept) }, now)
    }

    /// A given list, for tests.
    pub fn fixed(list: TrustList) -> Self {
        Self {
            source: None,
            active: ArcSwap::from_pointee(Active::new(list, Vec::new())),
            refreshing: Mutex::new(()),
        }
    }

    fn start(source: Source, now: Timestamp) -> Result<Self, TrustError> {
        let kept = source.kept.as_ref().and_then(|kept| match source.active_of(kept, now) {
            Ok(active) => Some(active),
            Err(error) => {
                tracing::info!(%error, "no copy of an earlier trust list");
                None
            }
        });
        let active = match (source.active_of(&source.file, now), kept) {
            (Ok(fresh), Some(kept)) if fresh.list.generated < kept.list.generated => {
                let error = older(&fresh.list, &kept.list);
                tracing::error!(%error, "the kept copy of the trust list is used");
                kept
            }
            (Ok(fresh), _) => {
                source.keep(&fresh);
                fresh
            }
            (Err(error), Some(kept)) => {
                tracing::error!(%error, "the kept copy of the trust list is used");
                kept
            }
            (Err(error), None) => return Err(error),
        };
        tell_age(&active.list, now);
        Ok(Self {
            source: Some(source),
            active: ArcSwap::from_pointee(active),
            refreshing: Mutex::new(()),
        })
    }

    /// Reads the file again; an older, empty or badly signed list is refused and the active one
    /// stays. Reads and verifies several megabytes: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`TrustError`] says why the list in the file was not taken.
    pub fn refresh(&self, now: Timestamp) -> Result<Refreshed, TrustError> {
        let Some(source) = &self.source else { return Ok(Refreshed::Unchanged) };
        let _turn = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.active.load_full();
        tell_age(&before.list, now);
        let document = read_bounded(&source.file)?;
        if digest(&SHA256, &document).as_ref() == before.document {
            return Ok(Refreshed::Unchanged);
        }
        let after = source.verified(&document, now)?;
        if after.list.generated < before.list.generated {
            return Err(older(&after.list, &before.list));
        }
        tell_difference(&before.list, &after.list);
        source.keep_document(&document);
        let domains = after.list.domains.len();
        self.active.store(Arc::new(after));
        Ok(Refreshed::Replaced(domains))
    }

    /// The active list.
    pub fn list(&self) -> Arc<TrustList> {
        Arc::clone(&self.active.load().list)
    }

    /// May this peer speak for this domain (`None`: the null reverse path, judged by DN alone)?
    ///
    /// # Errors
    /// [`Refusal::PeerNotListed`] when no operator has this subject at all, otherwise
    /// [`Refusal::PeerDomainMismatch`]: the two need different remedies.
    pub fn judge_peer(&self, peer: &OperatorDn, domain: Option<&Domain>) -> Result<(), Refusal> {
        let active = self.active.load();
        if !active.known.contains(peer) {
            return Err(Refusal::PeerNotListed);
        }
        match domain {
            Some(domain) if !active.list.binds(domain, peer) => Err(Refusal::PeerDomainMismatch),
            _ => Ok(()),
        }
    }
}

impl Source {
    fn active_of(&self, file: &Path, now: Timestamp) -> Result<Active, TrustError> {
        self.verified(&read_bounded(file)?, now)
    }

    /// Anchors are read anew each time: an authority may change without a restart.
    fn verified(&self, document: &[u8], now: Timestamp) -> Result<Active, TrustError> {
        let anchors = load_anchors(&self.signer.anchors)
            .map_err(|error| TrustError::Signature(format!("signer anchors: {error}")))?;
        let bytes = verified_bytes(document, &self.signer, &anchors, now)?;
        let reading =
            trust_list::read(&bytes).map_err(|error| TrustError::Form(error.to_string()))?;
        if reading.skipped > 0 {
            let first: Vec<String> =
                reading.skipped_first.iter().map(ToString::to_string).collect();
            tracing::warn!(
                skipped = reading.skipped,
                entries = reading.entries,
                first = %first.join("; "),
                "entries of the trust list cannot be read and are left out"
            );
        }
        Ok(Active::new(reading.list, digest(&SHA256, document).as_ref().to_vec()))
    }

    fn keep(&self, active: &Active) {
        if self.kept.is_none() {
            return;
        }
        // Read again rather than held: several megabytes, once a start. If the file changed in
        // between, the next refresh will see to it.
        if let Ok(document) = read_bounded(&self.file)
            && digest(&SHA256, &document).as_ref() == active.document
        {
            self.keep_document(&document);
        }
    }

    /// A copy that cannot be written is a pity and not a reason to refuse a good list.
    fn keep_document(&self, document: &[u8]) {
        let Some(kept) = &self.kept else { return };
        if let Err(error) = replace_file(kept, document) {
            tracing::error!(file = %kept.display(), %error, "the trust list cannot be kept");
        }
    }
}

impl Active {
    fn new(list: TrustList, document: Vec<u8>) -> Self {
        let known = list.domains.values().flatten().cloned().collect();
        Self { list: Arc::new(list), known, document }
    }
}

fn read_bounded(file: &Path) -> Result<Vec<u8>, TrustError> {
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

/// After a crash there is the old copy or the new one, never half of one.
fn replace_file(file: &Path, document: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let fresh = file.with_extension("new");
    let mut handle = std::fs::File::create(&fresh)?;
    handle.write_all(document)?;
    handle.sync_all()?;
    std::fs::rename(&fresh, file)?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn older(offered: &TrustList, active: &TrustList) -> TrustError {
    TrustError::Rollback(format!(
        "generated {}, older than the active list of {}",
        offered.generated, active.generated
    ))
}

fn tell_age(list: &TrustList, now: Timestamp) {
    let age = now.since(list.generated);
    let hours = age.as_secs() / 3_600;
    if age >= AGE_ALARM {
        tracing::error!(hours, "the trust list is far too old: is it still fetched?");
    } else if age >= AGE_WARNING {
        tracing::warn!(hours, "the trust list is more than a day old");
    }
}

/// A thousand entries may move in a day when operators merge; that is worth a line, not a stop.
fn tell_difference(before: &TrustList, after: &TrustList) {
    let added = after.domains.keys().filter(|domain| !before.lists(domain)).count();
    let removed = before.domains.keys().filter(|domain| !after.lists(domain)).count();
    let rebound = after
        .domains
        .iter()
        .filter(|(domain, dns)| before.domains.get(domain).is_some_and(|old| old != *dns))
        .count();
    tracing::info!(
        domains = after.domains.len(),
        added,
        removed,
        rebound,
        generated = %after.generated,
        "a younger trust list is active"
    );
}
