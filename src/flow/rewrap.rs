//! Everything that the master key wraps, wrapped anew while letters come and go.
//!
//! A start under a new master key begins it, or goes on with it; so does an administrator. Rows
//! are walked in their order, some hundreds in one commit together with how far it has come, each
//! on the version that was read: whoever changed a row meanwhile has it looked at again, and after
//! a crash it goes on behind the last commit. New mailboxes are wrapped by the current version
//! from their first moment on. At the end everything is counted once more, and only when nothing
//! is left under an older version is that version retired.
//!
//! What is walked: accounts, the relay's own keys ([`OWN_KEYS`]), and rows
//! `K/wraps/<owner>/<anything>`, whose whole value is a wrap. Whoever keeps a wrap keeps it there.
//! A row `K/…/wrapped` that nobody named here is never wrapped anew, but keeps its version from
//! being retired.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::sync::Notify;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::custody::escrow;
use crate::flow::hands;
use crate::flow::office::Office;
use crate::flow::published;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Mailboxes;
use crate::infra::directory::accounts::wraps;
use crate::infra::directory::accounts::wraps::Rewrap;
use crate::infra::journal::Entry;
use crate::infra::keys::Keyring;
use crate::infra::keys::master::Cursor;
use crate::infra::keys::master::State;
use crate::infra::keys::master::Version;
use crate::infra::keys::master::Versions;
use crate::infra::net::Stop;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;

/// The spool's keys are wrapped for an owner that no mailbox can be.
pub const SPOOL: MailboxId = MailboxId::from_bytes([0; 16]);
/// Where they lie.
pub const SPOOL_WRAPPED: &[u8] = b"K/spool/wrapped";

/// So are the organisation's.
pub const ORGANISATION: MailboxId =
    MailboxId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Where they lie.
pub const ORGANISATION_WRAPPED: &[u8] = b"K/organisation/wrapped";

/// Keys of the relay itself: where each lies, and its owner. Nowhere else do these names stand.
pub const OWN_KEYS: [(&[u8], MailboxId); 2] =
    [(SPOOL_WRAPPED, SPOOL), (ORGANISATION_WRAPPED, ORGANISATION)];

/// Other wraps: the owner's 16 octets follow, then anything.
pub const WRAPS: &[u8] = b"K/wraps/";
/// What every row that looks like one of ours begins with, and ends with.
const KEYS: &[u8] = b"K/";
const WRAPPED: &[u8] = b"/wrapped";

/// Walks over everything, at most: each one finds what others changed during the one before.
const WALKS_MAX: usize = 3;
/// So often in a walk the log says how far it is.
const TOLD_EVERY: u64 = 10_000;
/// A walk that failed is tried again after so long.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// The one walk of a relay.
pub struct Rewrapping {
    versions: Versions,
    bell: Notify,
    running: AtomicBool,
    turn: Mutex<()>,
}

/// Why a walk stopped. What was done stays done.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a walk came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was wrapped by the current version before.
    Nothing,
    /// Nothing is wrapped by these versions any more.
    Done(Vec<Version>),
    /// So many wraps do not open, or are not known here; their versions are needed on.
    Left(u64),
}

/// Versions, and what hangs on them.
#[derive(Debug)]
pub struct Status {
    /// The oldest first; how much each wraps; whether its key is at hand.
    pub versions: Vec<(Version, u64, bool)>,
    /// Rows that should hold a wrap and hold none.
    pub damaged: u64,
    /// Mailboxes whose key does not open although its version is at hand, the first of them.
    pub failing: Vec<MailboxId>,
    /// The walk, if there ever was one.
    pub walk: Option<Cursor>,
    /// Whether it goes on at this moment.
    pub running: bool,
}

/// How many wraps there are, by version. Version 0 stands for what is no wrap at all.
pub type Counted = BTreeMap<u32, u64>;

impl Rewrapping {
    /// Of this store; nothing happens yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            versions: Versions::new(store),
            bell: Notify::new(),
            running: AtomicBool::new(false),
            turn: Mutex::default(),
        }
    }

    /// Lets a running relay begin, or go on.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Whether it goes on at this moment.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// All versions of the master key, the oldest first.
    pub async fn versions(&self) -> Result<Vec<Version>, StoreError> {
        self.versions.list().await
    }

    /// How far it has come; `None` when there never was one.
    pub async fn progress(&self) -> Result<Option<Cursor>, StoreError> {
        self.versions.cursor().await
    }
}

/// Goes on with what an earlier start left, then waits for the bell.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    loop {
        let pause = tokio::select! {
            () = stop.stopped() => return,
            outcome = to_end(&office, |_| {}) => match outcome {
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(%error, "wrapping keys anew has stopped; it goes on in a minute");
                    Some(AGAIN_AFTER)
                }
            },
        };
        let again = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.stopped() => return,
            () = office.rewrapping.bell.notified() => {}
            () = again => {}
        }
    }
}

/// Wraps everything by the current version; `told` hears of each step. A second caller waits for
/// the first one to end.
pub async fn to_end(
    office: &Office,
    mut told: impl FnMut(&Cursor),
) -> Result<Outcome, RewrapError> {
    let desk = &office.rewrapping;
    let _turn = desk.turn.lock().await;
    let old = |version: &Version| version.state == State::Old;
    if !desk.versions.list().await?.iter().any(old) {
        office.metrics.rewrap_left(0);
        return Ok(Outcome::Nothing);
    }
    let _running = Running::begin(&desk.running);
    let to = office.keys.current_version();
    let mut walks = 1;
    let mut cursor = walk(office, to, true, &mut told).await?;
    loop {
        let left = left_of(&count(office.store.as_ref()).await?, to);
        office.metrics.rewrap_left(left);
        if left <= cursor.failed || walks == WALKS_MAX {
            return end(office, cursor, left).await;
        }
        // Somebody wrote an older wrap back behind us: once more.
        cursor = walk(office, to, false, &mut told).await?;
        walks += 1;
    }
}

async fn end(office: &Office, mut cursor: Cursor, left: u64) -> Result<Outcome, RewrapError> {
    let desk = &office.rewrapping;
    cursor.ended = Some(office.clock.now());
    let mut batch = Batch::new();
    desk.versions.ride(&cursor, &mut batch);
    if left > 0 {
        office.store.commit(batch).await?;
        tracing::error!(
            left,
            "keys that do not open, or are not known, are left under older master keys: keep those"
        );
        return Ok(Outcome::Left(left));
    }
    let retired = desk.versions.retire_all_but(cursor.to, office.clock.now(), batch).await?;
    for version in &retired {
        tracing::info!(
            version = version.number,
            source = version.source,
            "nothing is wrapped by this master key any more: take it out of storage.master_keys_old"
        );
    }
    Ok(Outcome::Done(retired))
}

/// One walk over everything, if wanted from where the last one was interrupted.
async fn walk(
    office: &Office,
    to: u32,
    resumes: bool,
    told: &mut impl FnMut(&Cursor),
) -> Result<Cursor, RewrapError> {
    let versions = &office.rewrapping.versions;
    let kept = versions.cursor().await?;
    let kept = kept.filter(|cursor| resumes && cursor.to == to && cursor.ended.is_none());
    let mut cursor = match kept {
        Some(cursor) => {
            tracing::info!(version = to, done = cursor.done, "wrapping keys anew goes on");
            cursor
        }
        None => {
            let counted = count(office.store.as_ref()).await?;
            let total = counted.values().sum();
            tracing::info!(version = to, total, "wrapping keys anew begins");
            begin(to, total, office.clock.now())
        }
    };
    own_keys(office, &mut cursor).await?;
    told(&cursor);
    let mut count = limits::REWRAP_ROWS_AT_ONCE;
    let mut told_at = cursor.done;
    loop {
        let mut batch = Batch::new();
        let mut next = cursor.clone();
        let walked = wraps::step(
            office.store.as_ref(),
            &cursor.after,
            count,
            &mut batch,
            |owner, wrapped| match office.keys.rewrap(owner, wrapped) {
                Ok(None) => Rewrap::Keep,
                Ok(Some(wrapped)) => Rewrap::With(wrapped),
                Err(_) => Rewrap::Fails,
            },
        );
        let walked = walked.await?;
        for mailbox in &walked.failed {
            tracing::error!(?mailbox, "the key of this mailbox does not open; it is left as it is");
        }
        next.done += walked.rows;
        next.failed += walked.failed.len() as u64;
        next.after = walked.last.unwrap_or_else(|| cursor.after.clone());
        if !batch.writes.is_empty() {
            versions.ride(&next, &mut batch);
            match office.store.commit(batch).await {
                Ok(()) => {}
                // An account was changed between reading and writing: again, in smaller steps.
                Err(CommitError::Conflict) => {
                    count = (count / 2).max(1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        count = (count * 2).min(limits::REWRAP_ROWS_AT_ONCE);
        cursor = next;
        told(&cursor);
        office.metrics.rewrap_left(cursor.total.saturating_sub(cursor.done));
        if cursor.done - told_at >= TOLD_EVERY {
            told_at = cursor.done;
            tracing::info!(done = cursor.done, total = cursor.total, "wrapping keys anew");
        }
        if !walked.more {
            return Ok(cursor);
        }
    }
}

fn begin(to: u32, total: u64, now: Timestamp) -> Cursor {
    Cursor { to, after: Vec::new(), done: 0, total, failed: 0, begun: now, ended: None }
}

/// The relay's own keys, and `K/wraps/`. A handful, so they are looked at in every walk.
async fn own_keys(office: &Office, cursor: &mut Cursor) -> Result<(), RewrapError> {
    let mut found = Vec::new();
    for (key, owner) in OWN_KEYS {
        if let Some(row) = office.store.get(key).await? {
            found.push((key.to_vec(), owner, row));
        }
    }
    let mut range = store::prefix(WRAPS);
    loop {
        for (key, owner, row) in std::mem::take(&mut found) {
            cursor.done += u64::from(cursor.after.is_empty());
            rewrap_row(office, cursor, key, owner, row).await?;
        }
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
        let Some((last, _)) = page.rows.last() else { return Ok(()) };
        range.start = [last.as_ref(), &[0]].concat();
        for (key, row) in page.rows {
            let owner = key.get(WRAPS.len()..).and_then(|rest| rest.first_chunk::<16>());
            let owner = MailboxId::from_bytes(owner.copied().unwrap_or_default());
            found.push((key.to_vec(), owner, row));
        }
    }
}

async fn rewrap_row(
    office: &Office,
    cursor: &mut Cursor,
    key: Vec<u8>,
    owner: MailboxId,
    mut row: store::Versioned,
) -> Result<(), RewrapError> {
    loop {
        let wrapped = match office.keys.rewrap(&owner, &row.value) {
            Ok(None) => return Ok(()),
            Ok(Some(wrapped)) => wrapped,
            Err(_) => {
                let key = String::from_utf8_lossy(key.get(..WRAPS.len()).unwrap_or(&key));
                tracing::error!(%key, "a key of the relay does not open; it is left as it is");
                cursor.failed += 1;
                return Ok(());
            }
        };
        let mut batch = Batch::new();
        batch.require_at(key.clone(), row.version).put(key.clone(), Bytes::from(wrapped));
        match office.store.commit(batch).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict) => match office.store.get(&key).await? {
                Some(newer) => row = newer,
                None => return Ok(()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}

/// Versions, what each wraps, and the walk. Reads every account's row.
pub async fn status(office: &Office) -> Result<Status, StoreError> {
    let desk = &office.rewrapping;
    let counted = count(office.store.as_ref()).await?;
    let versions = desk.versions.list().await?.into_iter().map(|version| {
        let wraps = counted.get(&version.number).copied().unwrap_or_default();
        let at_hand = office.keys.has_version(version.number);
        (version, wraps, at_hand)
    });
    Ok(Status {
        versions: versions.collect(),
        damaged: counted.get(&0).copied().unwrap_or_default(),
        failing: failing(office).await?,
        walk: desk.versions.cursor().await?,
        running: desk.is_running(),
    })
}

/// Mailboxes whose key does not open, of those that a key at hand should open. Until they are
/// recovered or given up, what they hang on is needed.
async fn failing(office: &Office) -> Result<Vec<MailboxId>, StoreError> {
    let (mut failing, mut after) = (Vec::new(), wraps::first());
    loop {
        let (store, count) = (office.store.as_ref(), limits::REWRAP_ROWS_AT_ONCE);
        let mut nothing = Batch::new();
        let step = wraps::step(store, &after, count, &mut nothing, |owner, wrapped| {
            let version = Keyring::version_of(wrapped);
            let is_at_hand = version.is_none_or(|version| office.keys.has_version(version));
            match !is_at_hand || office.keys.opens(owner, wrapped) {
                true => Rewrap::Keep,
                false => Rewrap::Fails,
            }
        });
        let walked = step.await?;
        failing.extend(walked.failed);
        failing.truncate(limits::FAILING_SHOWN_MAX);
        match walked.last {
            Some(last) if walked.more && failing.len() < limits::FAILING_SHOWN_MAX => after = last,
            _ => return Ok(failing),
        }
        tokio::task::yield_now().await;
    }
}

/// Gives up what lies in a mailbox whose key does not open: it gets another key, with which letters
/// can come again, and nothing needs the master key of before for it. What lies there stays
/// unreadable for ever.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn give_up(
    office: &Office,
    address: &Address,
    author: &str,
    reason: &str,
    despite_escrow: bool,
) -> Result<(), String> {
    let said = |error: DirectoryError| error.to_string();
    let account = office.accounts.find(address).await.map_err(said)?.ok_or("no such mailbox")?;
    let wrapped = &account.wrapped_keys;
    if office.keys.opens(&account.id, wrapped) {
        return Err("the key of this mailbox opens: nothing has to be given up".to_owned());
    }
    let missing = Keyring::version_of(wrapped).filter(|it| !office.keys.has_version(*it));
    if let Some(version) = missing {
        return Err(format!(
            "its key is wrapped by version {version} of the master key, which is not here: put it \
             into storage.master_keys_old first"
        ));
    }
    if !despite_escrow && escrow::sealed(office, &account.id).await?.is_some() {
        return Err("its keys are in escrow: `escrow recover --mailbox` brings them back; when \
                    that fails, --despite-escrow gives them up"
            .to_owned());
    }
    let now = office.clock.now();
    let validity = office.config.openpgp.validity.filter(|_| account.kind != MailboxKind::Citizen);
    let until = validity.map(|validity| now.after(validity));
    let shown = published::user_id(&account);
    let new = office.keys.generate_until(&account.id, &shown, until, now);
    let new = new.map_err(|error| error.to_string())?;
    let mut batch = Batch::new();
    let staged = office.accounts.stage(address, &mut batch, |account| {
        account.certificate = new.certificate.clone();
        account.wrapped_keys = new.wrapped.clone();
    });
    staged.await.map_err(said)?;
    let entry = Entry {
        at: now,
        author: author.to_owned(),
        action: "keys master give-up".to_owned(),
        target: hands::masked(office, address),
        reason: reason.to_owned(),
        outcome: "another key; what lay there is unreadable for ever".to_owned(),
    };
    office.journal.ride(&entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    office.rewrapping.ring();
    Ok(())
}

/// Everything that is wrapped, by version. Reads every account's row.
pub async fn count(store: &dyn Store) -> Result<Counted, StoreError> {
    let mut counted = Counted::new();
    let mut add = |wrapped: &[u8]| {
        *counted.entry(Keyring::version_of(wrapped).unwrap_or_default()).or_default() += 1;
    };
    let mut after = wraps::first();
    loop {
        let mut damaged = 0;
        let mut nothing = Batch::new();
        let step = wraps::step(store, &after, limits::SCAN_ROWS_MAX, &mut nothing, |_, wrapped| {
            add(wrapped);
            Rewrap::Keep
        });
        let walked = step.await?;
        damaged += walked.failed.len();
        (0..damaged).for_each(|_| add(&[]));
        match walked.last {
            Some(last) if walked.more => after = last,
            _ => break,
        }
    }
    let mut range = store::prefix(KEYS);
    loop {
        let page = store.scan(range.clone(), limits::SCAN_ROWS_MAX).await?;
        for (key, row) in &page.rows {
            if key.starts_with(WRAPS) || key.ends_with(WRAPPED) {
                add(&row.value);
            }
        }
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(counted),
        }
    }
}

/// How much is wrapped by any but this version.
pub fn left_of(counted: &Counted, to: u32) -> u64 {
    counted.iter().filter(|(number, _)| **number != to).map(|(_, count)| count).sum()
}

/// Says for as long as it lives that a walk goes on.
struct Running<'r>(&'r AtomicBool);

impl<'r> Running<'r> {
    fn begin(flag: &'r AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
