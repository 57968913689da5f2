//! Every verified list, kept for ever, so that a decision can be explained years later.
//!
//! | where | what |
//! |---|---|
//! | `trust/<date>-<digest>.xml.gz` | the document as it was published |
//! | row `T/v/<date><digest>` | what is known of it |
//! | row `T/state` | which one counts, and what waits |
//! | row `T/h/<domain>` | certificates that count although the list no longer has them |
//!
//! A file is durable before a row names it; the rows of one step are one commit.
use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Domain;
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::limits::TRUST_LIST_OCTETS_MAX;
use crate::domain::operator::ListVersion;
use crate::domain::operator::OperatorDn;
use crate::domain::time::Timestamp;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::Store;
use crate::infra::store::Version;
use crate::infra::store::row;
use crate::infra::trust::TrustError;
use crate::infra::trust::diff::Pairs;

const STATE: &[u8] = b"T/state";
const VERSIONS: &[u8] = b"T/v/";
const HELD: &[u8] = b"T/h/";
const FORMAT: u8 = 1;

/// A version of the list, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) generated: u64,
    pub(super) digest: [u8; 32],
}

/// Which list counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateRow {
    /// The newest document of what counts.
    pub(super) active: Key,
    /// Since when.
    pub(super) since: u64,
    /// An administrator went back to it: younger lists wait as a whole.
    pub(super) rolled_back: bool,
    /// The youngest list that waits as a whole.
    pub(super) waiting: Option<Key>,
    /// Since when something waits.
    pub(super) waiting_since: Option<u64>,
    /// The date of the youngest list that was ever taken: no older one is taken again.
    pub(super) youngest: u64,
}

/// What is known of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionRow {
    /// When it was verified and kept. A restart judges its signer at this time, for signers'
    /// certificates end and lists do not.
    pub(super) kept: u64,
    pub(super) domains: u64,
    pub(super) pairs: u64,
    /// Entries that could not be read.
    pub(super) skipped: u64,
    pub(super) octets: u64,
    pub(super) signer: String,
    pub(super) signer_serial: String,
    pub(super) signer_ends: u64,
    /// Taken by `trust.accept_expired_signer`.
    pub(super) signer_expired: bool,
    /// An administrator went back from it: it is never applied by itself again.
    pub(super) rejected: bool,
}

impl Key {
    pub(super) fn version(self) -> ListVersion {
        ListVersion { generated: Timestamp::from_millis(self.generated), digest: self.digest }
    }

    /// In the order of dates.
    fn row(self) -> Vec<u8> {
        [VERSIONS, &self.generated.to_be_bytes(), &self.digest].concat()
    }

    fn from_row(key: &[u8]) -> Option<Self> {
        let (generated, digest) = key.strip_prefix(VERSIONS)?.split_at_checked(8)?;
        Some(Self {
            generated: u64::from_be_bytes(generated.try_into().ok()?),
            digest: digest.try_into().ok()?,
        })
    }

    /// `20261122T070000Z-1a2b3c4d.xml.gz`
    fn file_name(self) -> String {
        let version = self.version();
        let date = version.generated.to_string().replace([':', '-'], "");
        format!("{date}-{}.xml.gz", version.short())
    }
}

/// The versions on disk.
#[derive(Clone)]
pub(super) struct Versions {
    folder: PathBuf,
    store: Arc<dyn Store>,
}

fn failed(error: &dyn std::fmt::Display) -> TrustError {
    TrustError::Store(error.to_string())
}

impl Versions {
    /// Makes the folder, and clears away what a crash left half written.
    pub(super) fn open(folder: PathBuf, store: Arc<dyn Store>) -> Result<Self, TrustError> {
        use std::os::unix::fs::DirBuilderExt;
        let wrong = |error: std::io::Error| file_error(&folder, &error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(wrong)?;
        for entry in std::fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(&path).map_err(wrong)?;
            }
        }
        Ok(Self { folder, store })
    }

    /// Puts a document on the disk; durable when this returns. The same one is kept once.
    pub(super) fn keep(&self, key: Key, document: &[u8]) -> Result<(), TrustError> {
        let file = self.folder.join(key.file_name());
        if self.read(key).is_ok() {
            return Ok(());
        }
        let wrong = |error: std::io::Error| file_error(&file, &error);
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(document).map_err(wrong)?;
        replace_file(&file, &packed.finish().map_err(wrong)?).map_err(wrong)
    }

    /// The document, just as it was published.
    pub(super) fn read(&self, key: Key) -> Result<Vec<u8>, TrustError> {
        let file = self.folder.join(key.file_name());
        let wrong = |error: std::io::Error| file_error(&file, &error);
        let packed = std::fs::File::open(&file).map_err(wrong)?;
        let mut document = Vec::new();
        let limit = TRUST_LIST_OCTETS_MAX as u64 + 1;
        GzDecoder::new(packed).take(limit).read_to_end(&mut document).map_err(wrong)?;
        if digest(&SHA256, &document).as_ref() != key.digest {
            let reason = "it is not the document that was kept under this name".to_owned();
            return Err(TrustError::File { file: file.display().to_string(), reason });
        }
        Ok(document)
    }

    /// Which list counts, and the row's version for the next change.
    pub(super) async fn state(&self) -> Result<Option<(StateRow, Version)>, TrustError> {
        let Some(found) = self.store.get(STATE).await.map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        let state = row::decode(FORMAT, &found.value)
            .ok_or_else(|| TrustError::Store("the row of the trust list is damaged".to_owned()))?;
        Ok(Some((state, found.version)))
    }

    /// Certificates that count although the list no longer has them.
    pub(super) async fn held(&self) -> Result<Pairs, TrustError> {
        let mut held = Pairs::new();
        for (key, value) in self.rows(HELD).await? {
            let damaged = || TrustError::Store("a held entry is damaged".to_owned());
            let domain = std::str::from_utf8(&key[HELD.len()..]).map_err(|_| damaged())?;
            let domain = Domain::parse(domain).map_err(|_| damaged())?;
            let names: Vec<Vec<(String, String)>> =
                row::decode(FORMAT, &value).ok_or_else(damaged)?;
            held.insert(domain, names.into_iter().map(OperatorDn::new).collect());
        }
        Ok(held)
    }

    /// Every version, youngest first.
    pub(super) async fn all(&self) -> Result<Vec<(Key, VersionRow)>, TrustError> {
        let mut all = Vec::new();
        for (key, value) in self.rows(VERSIONS).await? {
            let known = Key::from_row(&key).zip(row::decode(FORMAT, &value));
            all.push(known.ok_or_else(|| {
                TrustError::Store("a row of the kept trust lists is damaged".to_owned())
            })?);
        }
        all.reverse();
        Ok(all)
    }

    pub(super) async fn find(&self, key: Key) -> Result<Option<VersionRow>, TrustError> {
        let found = self.store.get(&key.row()).await.map_err(|error| failed(&error))?;
        Ok(found.and_then(|found| row::decode(FORMAT, &found.value)))
    }

    async fn rows(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, TrustError> {
        let mut rows = Vec::new();
        let mut range = store::prefix(prefix);
        loop {
            let page = self.store.scan(range.clone(), SCAN_ROWS_MAX).await;
            let page = page.map_err(|error| failed(&error))?;
            rows.extend(page.rows.iter().map(|(key, row)| (key.to_vec(), row.value.to_vec())));
            match page.rows.last() {
                Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
                _ => return Ok(rows),
            }
        }
    }

    pub(super) fn put_version(batch: &mut Batch, key: Key, row: &VersionRow) {
        batch.put(key.row(), row::encode(FORMAT, row));
    }

    /// The new state, if nobody changed it since `at`.
    pub(super) fn put_state(batch: &mut Batch, state: &StateRow, at: Option<Version>) {
        match at {
            Some(at) => batch.require_at(STATE, at),
            None => batch.require_absent(STATE),
        };
        batch.put(STATE, row::encode(FORMAT, state));
    }

    /// Turns the held rows of `before` into those of `after`.
    pub(super) fn put_held(batch: &mut Batch, before: &Pairs, after: &Pairs) {
        let key = |domain: &Domain| [HELD, domain.as_str().as_bytes()].concat();
        for domain in before.keys().filter(|domain| !after.contains_key(*domain)) {
            batch.delete(key(domain));
        }
        for (domain, names) in after {
            if before.get(domain) != Some(names) {
                let names: Vec<&[(String, String)]> = names.iter().map(OperatorDn::pairs).collect();
                batch.put(key(domain), row::encode(FORMAT, &names));
            }
        }
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), TrustError> {
        self.store.commit(batch).await.map_err(|error| match error {
            store::CommitError::Conflict => TrustError::Changed,
            error => failed(&error),
        })
    }
}

fn file_error(file: &Path, error: &std::io::Error) -> TrustError {
    TrustError::File { file: file.display().to_string(), reason: error.to_string() }
}

/// After a crash there is the old file or the new one, never half of one.
pub(super) fn replace_file(file: &Path, octets: &[u8]) -> std::io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let mut handle = std::fs::File::create(&fresh)?;
    handle.write_all(octets)?;
    handle.sync_all()?;
    std::fs::rename(&fresh, file)?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The one version that a person means: by digits of its digest, or by its date.
pub(super) fn meant<'a>(
    all: &'a [(Key, VersionRow)],
    text: &str,
) -> Result<&'a (Key, VersionRow), TrustError> {
    let text = text.trim();
    let is_meant = |(key, _): &&(Key, VersionRow)| {
        let hex: String = key.digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let date = key.version().generated.to_string();
        hex.starts_with(&text.to_ascii_lowercase()) || date.starts_with(&text.to_ascii_uppercase())
    };
    let found: Vec<&(Key, VersionRow)> = all.iter().filter(is_meant).collect();
    match found.as_slice() {
        _ if text.len() < 4 => Err(TrustError::NoVersion(format!(
            "`{text}` is too short to name a version; `trust versions` lists them"
        ))),
        [one] => Ok(one),
        [] => Err(TrustError::NoVersion(format!(
            "no kept version begins with `{text}`; `trust versions` lists them"
        ))),
        several => {
            let names: BTreeSet<String> =
                several.iter().take(5).map(|(key, _)| key.version().to_string()).collect();
            let names: Vec<String> = names.into_iter().collect();
            Err(TrustError::NoVersion(format!(
                "`{text}` may mean {} versions: {}",
                several.len(),
                names.join(", ")
            )))
        }
    }
}
