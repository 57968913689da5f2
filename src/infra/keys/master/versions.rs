//! Versions of the master key: rows of the store, and what a start makes of them.
//!
//! `K/master/version/<number>`: one each, never deleted. `K/master/root`: what lookups hang on,
//! sealed under one version. `K/master/rewrap`: how far wrapping anew has come.
//!
//! A start reads the keys of the configuration and finds by check values (or, in a token, by what
//! opens) which versions they are. A current key that nobody knows begins a version, in one commit
//! with the root sealed under it, before anything is wrapped by it. Everything else about a start
//! is a pure function of rows and keys.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::keys::KeyError;
use crate::infra::keys::Keyring;
use crate::infra::keys::boxes::BoxKey;
use crate::infra::keys::master::CHECK_OCTETS;
use crate::infra::keys::master::Loaded;
use crate::infra::keys::master::LoadedSecret;
use crate::infra::keys::master::MasterOctets;
use crate::infra::keys::master::Sources;
use crate::infra::keys::master::check_value;
use crate::infra::keys::master::random_octets;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;
use crate::infra::store::row;

const VERSIONS: &[u8] = b"K/master/version/";
const ROOT: &[u8] = b"K/master/root";
const REWRAP: &[u8] = b"K/master/rewrap";
const FORMAT: u8 = 1;
/// The version of what was wrapped before there were versions.
pub(in crate::infra::keys) const FIRST: u32 = 1;

/// A version of the master key, as rows tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1 on.
    pub number: u32,
    /// Where its key lay when it was last read, as the configuration says it.
    pub source: String,
    /// What it is good for.
    pub state: State,
    /// Since when it has been there.
    pub begun: Timestamp,
    /// Since when its state has been this one.
    pub since: Timestamp,
}

/// What a version is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything new is wrapped by it.
    Current,
    /// Something is perhaps still wrapped by it.
    Old,
    /// Nothing is wrapped by it; its key is not needed.
    Retired,
}

/// How far wrapping anew has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// To which version.
    pub to: u32,
    /// The last row that was looked at; empty before the first.
    pub after: Vec<u8>,
    /// Rows that were looked at.
    pub done: u64,
    /// Rows that there were at the beginning.
    pub total: u64,
    /// Rows that do not open.
    pub failed: u64,
    /// When it began.
    pub begun: Timestamp,
    /// When it came to its end.
    pub ended: Option<Timestamp>,
}

/// The rows of versions and of wrapping anew.
#[derive(Clone)]
pub struct Versions {
    store: Arc<dyn Store>,
}

/// What a start made of rows and keys.
pub(in crate::infra::keys) struct Opened {
    pub(in crate::infra::keys) keyring: Keyring,
    /// Versions that are still needed and whose keys nobody gave us.
    pub(in crate::infra::keys) missing: Vec<Version>,
    /// What an administrator may want to hear: configured keys that are of no use.
    pub(in crate::infra::keys) notes: Vec<String>,
    /// The version that this start began.
    pub(in crate::infra::keys) begun: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct VersionRow {
    source: String,
    check: [u8; CHECK_OCTETS],
    state: u8,
    begun: u64,
    since: u64,
    /// The version's key, sealed by a token; absent where the configuration names the key itself.
    sealed: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct RootRow {
    version: u32,
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct CursorRow {
    to: u32,
    after: Vec<u8>,
    done: u64,
    total: u64,
    failed: u64,
    begun: u64,
    ended: Option<u64>,
}

impl State {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Current, Self::Old, Self::Retired].into_iter().find(|state| state.code() == code)
    }

    fn code(self) -> u8 {
        match self {
            Self::Current => 0,
            Self::Old => 1,
            Self::Retired => 2,
        }
    }

    /// `current`, `old`, `retired`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Old => "old",
            Self::Retired => "retired",
        }
    }
}

impl Versions {
    /// Those in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// All of them, the oldest first.
    pub async fn list(&self) -> Result<Vec<Version>, StoreError> {
        let rows = versions(self.store.as_ref()).await?;
        rows.iter().map(|(number, (row, _))| version(*number, row)).collect()
    }

    /// How far wrapping anew has come; `None` when there was none.
    pub async fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        let Some(found) = self.store.get(REWRAP).await? else { return Ok(None) };
        let row: CursorRow = row::decode(FORMAT, &found.value)
            .ok_or_else(|| StoreError::Damaged("K/master/rewrap".to_owned()))?;
        Ok(Some(Cursor {
            to: row.to,
            after: row.after,
            done: row.done,
            total: row.total,
            failed: row.failed,
            begun: Timestamp::from_millis(row.begun),
            ended: row.ended.map(Timestamp::from_millis),
        }))
    }

    /// Adds to a batch how far it has come.
    pub fn ride(&self, cursor: &Cursor, batch: &mut Batch) {
        let row = CursorRow {
            to: cursor.to,
            after: cursor.after.clone(),
            done: cursor.done,
            total: cursor.total,
            failed: cursor.failed,
            begun: cursor.begun.as_millis(),
            ended: cursor.ended.map(Timestamp::as_millis),
        };
        batch.put(REWRAP, row::encode(FORMAT, &row));
    }

    /// Says, together with what is in `batch`, that nothing is wrapped by any but this version.
    /// Answers which ones nobody needs any more. `Conflict` when another one became current.
    pub async fn retire_all_but(
        &self,
        to: u32,
        now: Timestamp,
        mut batch: Batch,
    ) -> Result<Vec<Version>, CommitError> {
        let found = versions(self.store.as_ref()).await;
        let found = found.map_err(|error| CommitError::Engine(error.to_string()))?;
        let mut retired = Vec::new();
        for (number, (mut row, at)) in found {
            batch.require_at(version_key(number), at);
            if number == to && row.state != State::Current.code() {
                return Err(CommitError::Conflict);
            }
            if row.state == State::Old.code() {
                (row.state, row.since) = (State::Retired.code(), now.as_millis());
                batch.put(version_key(number), row::encode(FORMAT, &row));
                retired.extend(version(number, &row).ok());
            }
        }
        self.store.commit(batch).await?;
        Ok(retired)
    }
}

/// Opens the keyring. `before` is something, and its owner, that was wrapped before there were
/// versions: without rows of versions it says which key was the first one.
pub(in crate::infra::keys) async fn open(
    store: &Arc<dyn Store>,
    sources: Sources,
    before: Option<(MailboxId, Bytes)>,
    now: Timestamp,
) -> Result<Opened, KeyError> {
    let failed = |error: StoreError| KeyError::Store(error.to_string());
    let found = Found {
        versions: versions(store.as_ref()).await.map_err(failed)?,
        root: match store.get(ROOT).await.map_err(failed)? {
            Some(found) => {
                let row = row::decode::<RootRow>(FORMAT, &found.value);
                let row = row.ok_or_else(|| KeyError::Store("K/master/root is damaged".into()))?;
                Some((row, found.version))
            }
            None => None,
        },
    };
    // Tokens may take their time.
    let start = tokio::task::spawn_blocking(move || begin(found, sources, before, now)).await;
    let (batch, opened) = start.map_err(|error| KeyError::Store(error.to_string()))??;
    if !batch.writes.is_empty() {
        store.commit(batch).await.map_err(|error| KeyError::Store(error.to_string()))?;
    }
    Ok(opened)
}

type Rows = BTreeMap<u32, (VersionRow, store::Version)>;

async fn versions(store: &dyn Store) -> Result<Rows, StoreError> {
    let page = store.scan(store::prefix(VERSIONS), limits::SCAN_ROWS_MAX).await?;
    let damaged = || StoreError::Damaged("K/master/version".to_owned());
    let mut rows = Rows::new();
    for (key, found) in page.rows {
        let number = key.get(VERSIONS.len()..).and_then(|number| number.try_into().ok());
        let number = u32::from_be_bytes(number.ok_or_else(damaged)?);
        let row = row::decode(FORMAT, &found.value).ok_or_else(damaged)?;
        rows.insert(number, (row, found.version));
    }
    Ok(rows)
}

fn version_key(number: u32) -> Vec<u8> {
    [VERSIONS, &number.to_be_bytes()].concat()
}

fn version(number: u32, row: &VersionRow) -> Result<Version, StoreError> {
    Ok(Version {
        number,
        source: row.source.clone(),
        state: State::from_code(row.state)
            .ok_or_else(|| StoreError::Damaged("K/master/version".to_owned()))?,
        begun: Timestamp::from_millis(row.begun),
        since: Timestamp::from_millis(row.since),
    })
}

/// What the store says.
struct Found {
    versions: Rows,
    root: Option<(RootRow, store::Version)>,
}

/// What a start has in hands.
struct Start {
    rows: BTreeMap<u32, (VersionRow, Option<store::Version>)>,
    changed: Vec<u32>,
    /// Keys of versions.
    keys: BTreeMap<u32, MasterOctets>,
    now: Timestamp,
}

fn begin(
    found: Found,
    sources: Sources,
    before: Option<(MailboxId, Bytes)>,
    now: Timestamp,
) -> Result<(Batch, Opened), KeyError> {
    let rows = found.versions.into_iter();
    let rows = rows.map(|(number, (row, at))| (number, (row, Some(at)))).collect();
    let mut start = Start { rows, changed: Vec::new(), keys: BTreeMap::new(), now };
    let Sources { current, old } = sources;
    let mut root = None;
    if start.rows.is_empty() {
        root = Some(start.first_version(&current, &old, before)?);
    }

    let mut notes = Vec::new();
    let mut numbers = start.recognise(&current)?;
    for (source, loaded) in &old {
        match loaded {
            Ok(loaded) if start.recognise(loaded)?.is_empty() => {
                notes.push(format!("{source} is no master key of this store"));
            }
            Ok(_) => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    let root_version = found.root.as_ref().map_or(FIRST, |(row, _)| row.version);
    let root = match (root, &found.root) {
        (Some(root), _) => root,
        (None, Some((row, _))) => start.open_root(row, &current, &notes)?,
        (None, None) => return Err(KeyError::Store("K/master/root is missing".to_owned())),
    };

    let mut begun = None;
    if numbers.is_empty() {
        let number = start.next_version(&current)?;
        begun = Some(number);
        numbers.push(number);
    }
    let is_current = |number: &&u32| start.rows[*number].0.state == State::Current.code();
    let to = *numbers.iter().find(is_current).or(numbers.iter().max()).expect("not empty: above");
    start.make_current(to, &current.source.to_string());

    let mut batch = Batch::new();
    for number in &start.changed {
        let (row, at) = &start.rows[number];
        match at {
            Some(at) => batch.require_at(version_key(*number), *at),
            None => batch.require_absent(version_key(*number)),
        };
        batch.put(version_key(*number), row::encode(FORMAT, row));
    }
    if found.root.is_none() || root_version != to {
        match &found.root {
            Some((_, at)) => batch.require_at(ROOT, *at),
            None => batch.require_absent(ROOT),
        };
        let sealed = root_box(&start.keys[&to]).seal(&to.to_be_bytes(), root.expose());
        batch.put(ROOT, row::encode(FORMAT, &RootRow { version: to, sealed }));
    }
    let missing = start.rows.iter().filter(|(number, (row, _))| {
        row.state == State::Old.code() && !start.keys.contains_key(number)
    });
    let missing = missing.map(|(number, (row, _))| version(*number, row));
    let missing = missing.collect::<Result<_, _>>();
    let missing = missing.map_err(|error| KeyError::Store(error.to_string()))?;
    let keys = start.keys.iter().map(|(number, key)| (*number, key.expose().as_slice()));
    let keyring = Keyring::of_versions(root.expose(), to, keys);
    Ok((batch, Opened { keyring, missing, notes, begun }))
}

impl Start {
    /// A store without versions: a new one, or one from before them. Answers its root.
    fn first_version(
        &mut self,
        current: &Loaded,
        old: &[(crate::proto::key_source::KeySource, Result<Loaded, KeyError>)],
        before: Option<(MailboxId, Bytes)>,
    ) -> Result<MasterOctets, KeyError> {
        let Some((owner, wrapped)) = before else {
            self.add(FIRST, current)?;
            return Ok(random_octets());
        };
        let loaded = old.iter().filter_map(|(_, loaded)| loaded.as_ref().ok());
        for loaded in std::iter::once(current).chain(loaded) {
            let LoadedSecret::Octets(octets) = &loaded.secret else { continue };
            if Keyring::opens_first(octets.expose(), &owner, &wrapped) {
                self.add(FIRST, loaded)?;
                // What it has always been, so that every lookup finds what it found.
                return Ok(Secret::new(octets.expose().clone()));
            }
        }
        Err(KeyError::Master(format!(
            "{}: this is not the master key with which the data was sealed. Put that key back; to \
             change keys, name it in storage.master_keys_old",
            current.source
        )))
    }

    /// Which versions this is the key of; they can be used from now on.
    fn recognise(&mut self, loaded: &Loaded) -> Result<Vec<u32>, KeyError> {
        let mut numbers = Vec::new();
        for (&number, (row, _)) in &self.rows {
            let octets = match (&loaded.secret, &row.sealed) {
                // Also of a version whose token is lost: its key may have come out of escrow.
                (LoadedSecret::Octets(octets), _) => Some(Secret::new(octets.expose().clone())),
                (LoadedSecret::Token(token), Some(sealed)) => {
                    token.open(&token_context(number), sealed)?
                }
                _ => None,
            };
            // An earlier source may have brought the same key.
            let Some(octets) = octets.filter(|octets| check_value(octets.expose()) == row.check)
            else {
                continue;
            };
            self.keys.insert(number, octets);
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn open_root(
        &self,
        row: &RootRow,
        current: &Loaded,
        notes: &[String],
    ) -> Result<MasterOctets, KeyError> {
        let Some(key) = self.keys.get(&row.version) else {
            let (number, source) = (row.version, self.rows.get(&row.version));
            let source = source.map_or("an unknown place", |(row, _)| row.source.as_str());
            let notes: String = notes.iter().map(|note| format!(". ({note})")).collect();
            return Err(KeyError::Master(format!(
                "{}: this is not the master key with which the data was sealed: that is version \
                 {number}, last read from {source}. Put that key back; to change keys, name it in \
                 storage.master_keys_old{notes}",
                current.source
            )));
        };
        root_box(key).open(&row.version.to_be_bytes(), &row.sealed).ok_or_else(|| {
            KeyError::Store("K/master/root does not open with its own key: it is damaged".into())
        })
    }

    fn next_version(&mut self, current: &Loaded) -> Result<u32, KeyError> {
        let last = self.rows.keys().max().copied().unwrap_or_default();
        let number = last.checked_add(1).ok_or(KeyError::Unwrap)?;
        self.add(number, current)?;
        Ok(number)
    }

    fn add(&mut self, number: u32, loaded: &Loaded) -> Result<(), KeyError> {
        let (octets, sealed) = match &loaded.secret {
            LoadedSecret::Octets(octets) => (Secret::new(octets.expose().clone()), None),
            LoadedSecret::Token(token) => {
                let octets = random_octets();
                let sealed = token.seal(&token_context(number), &octets)?;
                (octets, Some(sealed))
            }
        };
        let row = VersionRow {
            source: loaded.source.to_string(),
            check: check_value(octets.expose()),
            // One that is not made current is one from before.
            state: State::Old.code(),
            begun: self.now.as_millis(),
            since: self.now.as_millis(),
            sealed,
        };
        self.rows.insert(number, (row, None));
        self.keys.insert(number, octets);
        self.changed.push(number);
        Ok(())
    }

    fn make_current(&mut self, to: u32, source: &str) {
        for (&number, (row, _)) in &mut self.rows {
            let state = match State::from_code(row.state) {
                _ if number == to => State::Current,
                Some(State::Current) => State::Old,
                _ => continue,
            };
            let moved = number == to && row.source != source;
            if row.state != state.code() || moved {
                if row.state != state.code() {
                    (row.state, row.since) = (state.code(), self.now.as_millis());
                }
                if moved {
                    row.source = source.to_owned();
                }
                if !self.changed.contains(&number) {
                    self.changed.push(number);
                }
            }
        }
    }
}

fn token_context(number: u32) -> Vec<u8> {
    [b"vaguemestre master key ".as_slice(), &number.to_be_bytes()].concat()
}

fn root_box(key: &MasterOctets) -> BoxKey {
    BoxKey::derive(key.expose(), "root")
}
