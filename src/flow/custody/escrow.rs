//! The escrow: every mailbox's keys, and the master key, sealed for a quorum of administrators.
//!
//! The relay holds the certificate and can put keys in; to take one out it needs shares, which lie
//! sealed to the administrators' own OpenPGP certificates. A new mailbox's keys go in with the
//! commit that makes it; those of earlier ones, and of an earlier escrow, by a pass that goes on
//! where it was interrupted, because it only asks which row is not as it should be.
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::alerts;
use crate::flow::custody::rows;
use crate::flow::custody::rows::BlobRow;
use crate::flow::custody::rows::HolderRow;
use crate::flow::custody::rows::RecoveredRow;
use crate::flow::custody::rows::SetupRow;
use crate::flow::custody::session::Session;
use crate::flow::office::Office;
use crate::flow::rewrap::OWN_KEYS;
use crate::infra::audit::Who;
use crate::infra::journal::Entry;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::escrow;
use crate::infra::keys::escrow::EscrowId;
use crate::infra::keys::mail;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;
use crate::infra::store::Store;
use crate::infra::store::StoreError;

/// The escrow in memory.
#[derive(Default)]
pub struct Escrow {
    setup: Mutex<Option<Arc<Setup>>>,
    pub(super) session: Mutex<Option<Session>>,
    /// A relay runs, so that memory lasts from one command to the next.
    serves: AtomicBool,
    /// One pass at a time.
    passing: tokio::sync::Mutex<()>,
}

/// The escrow that is in force.
pub struct Setup {
    /// Which one.
    pub id: EscrowId,
    /// So many shares open it.
    pub quorum: u8,
    /// So many there are.
    pub count: u8,
    /// Since when.
    pub at: Timestamp,
    /// Who set it up.
    pub author: String,
    /// When a drill last succeeded.
    pub drilled: Option<Timestamp>,
    pub(super) certificate: Certificate,
    pub(super) sealed_key: Vec<u8>,
}

/// An administrator with a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which share.
    pub number: u8,
    /// The fingerprint of their certificate.
    pub fingerprint: String,
    /// What their certificate calls them.
    pub names: String,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// What stands against sealing to it now.
    pub flaw: Option<String>,
    /// Their share, sealed to it: an armoured OpenPGP message.
    pub share: String,
}

/// How much is in escrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Keys that there are: mailboxes, the relay's own, the master key.
    pub keys: u64,
    /// Of them, those that are in the escrow in force.
    pub covered: u64,
    /// Of them, those that this pass put in.
    pub sealed: u64,
}

impl Escrow {
    /// What this store holds.
    ///
    /// # Errors
    /// [`StoreError`], also when the row is damaged.
    pub async fn load(store: &dyn Store, keys: &Keyring) -> Result<Self, StoreError> {
        let Some(row) = store.get(rows::SETUP).await? else { return Ok(Self::default()) };
        let damaged = || StoreError::Damaged("the escrow's set-up".to_owned());
        let row: SetupRow = rows::decode(&row.value).ok_or_else(damaged)?;
        let setup = setup(keys, row).ok_or_else(damaged)?;
        Ok(Self { setup: Mutex::new(Some(Arc::new(setup))), ..Self::default() })
    }

    /// From now on shares may be collected: the process goes on.
    pub fn serve(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    pub(super) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// The escrow in force.
    pub fn setup(&self) -> Option<Arc<Setup>> {
        lock(&self.setup).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setup(keys: &Keyring, row: SetupRow) -> Option<Setup> {
    Some(Setup {
        id: EscrowId::from_bytes(row.id),
        quorum: row.quorum,
        count: row.count,
        at: Timestamp::from_millis(row.at),
        author: row.author,
        drilled: row.drilled.map(Timestamp::from_millis),
        certificate: keys.certificate(&row.certificate).ok()?,
        sealed_key: row.sealed_key,
    })
}

/// Makes an escrow of these certificates, of whose holders `quorum` open it; with `anew` in the
/// place of the one in force, whose shares are worthless from then on. Answers the holders with
/// their sealed shares. Keys go in afterwards: see [`cover`].
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn set_up(
    office: &Arc<Office>,
    quorum: u8,
    certificates: &[PeerCertificate],
    anew: bool,
    author: &str,
    reason: &str,
) -> Result<Vec<Holder>, String> {
    let now = office.clock.now();
    let count = u8::try_from(certificates.len()).unwrap_or(u8::MAX);
    if !(2..=count).contains(&quorum) || usize::from(count) > limits::ESCROW_HOLDERS_MAX {
        return Err(format!(
            "a quorum is 2 to all of at most {} certificates",
            limits::ESCROW_HOLDERS_MAX
        ));
    }
    for (at, certificate) in certificates.iter().enumerate() {
        let fingerprint = certificate.fingerprint();
        if certificates[..at].iter().any(|other| other.fingerprint() == fingerprint) {
            return Err(format!("{fingerprint} is named twice: one share for each administrator"));
        }
        certificate.check(now).map_err(|flaw| format!("{fingerprint}: {flaw}"))?;
    }
    let before = office.store.get(rows::SETUP).await.map_err(|error| error.to_string())?;
    match (&before, anew) {
        (Some(_), false) => {
            return Err("there is an escrow already: `escrow rotate` replaces it".to_owned());
        }
        (None, true) => return Err("there is no escrow yet: `escrow setup` makes one".to_owned()),
        _ => {}
    }
    let action = if anew { "escrow rotate" } else { "escrow setup" };
    let who = Who::Administrator(author.to_owned());
    let used = office.audit().used(None, &who, "control", action).await;
    used.map_err(|error| error.to_string())?;

    let new = escrow::establish(quorum, count, now).map_err(|error| error.to_string())?;
    let mut batch = Batch::new();
    match &before {
        None => batch.require_absent(rows::SETUP),
        Some(row) => batch.require_at(rows::SETUP, row.version),
    };
    let row = SetupRow {
        id: *new.id.as_bytes(),
        quorum,
        count,
        certificate: new.certificate.to_vec(),
        sealed_key: new.sealed_key.to_vec(),
        at: now.as_millis(),
        author: author.to_owned(),
        drilled: None,
    };
    batch.put(rows::SETUP, rows::encode(&row));
    for number in 1..=u8::try_from(limits::ESCROW_HOLDERS_MAX).unwrap_or(u8::MAX) {
        batch.delete(rows::holder_key(number));
    }
    let mut holders = Vec::with_capacity(certificates.len());
    for ((certificate, share), number) in certificates.iter().zip(&new.shares).zip(1..) {
        let to = std::slice::from_ref(certificate);
        let sealed = mail::seal_for(share.expose().as_bytes(), to, None, now);
        let sealed = sealed.map_err(|error| error.to_string())?;
        let holder = HolderRow {
            fingerprint: certificate.fingerprint().to_string(),
            certificate: certificate.to_binary().map_err(|error| error.to_string())?,
            share: String::from_utf8(sealed).map_err(|error| error.to_string())?,
        };
        batch.put(rows::holder_key(number), rows::encode(&holder));
        holders.push(self::holder(number, holder, now));
    }
    let names: Vec<&str> = holders.iter().map(|holder| &*holder.fingerprint).collect();
    office.journal.ride(
        &Entry {
            at: now,
            author: author.to_owned(),
            action: action.to_owned(),
            target: format!("escrow {}", new.id),
            reason: reason.to_owned(),
            outcome: format!("{quorum} of {count}: {}", names.join(", ")),
        },
        &mut batch,
    );
    match office.store.commit(batch).await {
        Ok(()) => {}
        Err(CommitError::Conflict) => {
            return Err("somebody else set the escrow up at the same time".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    }
    let made = setup(&office.keys, row).ok_or("the new escrow does not open")?;
    *lock(&office.escrow.setup) = Some(Arc::new(made));
    // What somebody began with shares of the earlier one is over.
    *lock(&office.escrow.session) = None;
    Ok(holders)
}

/// Adds the escrow of a new mailbox's keys to the commit that makes it, where there is an escrow.
/// A failure leaves it to the next pass: a mailbox is not refused for it.
pub fn stage(office: &Office, owner: &MailboxId, wrapped: &[u8], batch: &mut Batch) {
    let Some(setup) = office.escrow.setup() else { return };
    match blob(&office.keys, &setup, owner, wrapped) {
        Ok(blob) => {
            batch.put(rows::blob_key(owner), blob);
        }
        Err(error) => tracing::error!(mailbox = ?owner, %error, "keys are not in escrow yet"),
    }
}

/// Adds the end of a mailbox's escrow to the commit that destroys its keys.
pub fn stage_end(owner: &MailboxId, batch: &mut Batch) {
    batch.delete(rows::blob_key(owner));
}

fn blob(
    keys: &Keyring,
    setup: &Setup,
    owner: &MailboxId,
    wrapped: &[u8],
) -> Result<Vec<u8>, String> {
    let sealed = keys.to_escrow(owner, wrapped, &setup.certificate);
    let mark = keys.escrow_mark(owner, wrapped).map_err(|error| error.to_string())?;
    let sealed = sealed.map_err(|error| error.to_string())?;
    Ok(rows::encode(&BlobRow { escrow: *setup.id.as_bytes(), mark, sealed }))
}

/// Puts in escrow what is not there yet, or is there as it was under an earlier escrow or before
/// the keys changed; takes out what belongs to nobody any more. Without an escrow it does nothing.
///
/// # Errors
/// A sentence; what was put in so far stays there.
pub async fn cover(office: &Office) -> Result<Covered, String> {
    let Some(setup) = office.escrow.setup() else { return Ok(Covered::default()) };
    let _one = office.escrow.passing.lock().await;
    let mut covered = Covered::default();
    let mark = office.keys.master_escrow_mark();
    let master = office.keys.master_to_escrow(&setup.certificate);
    let master = master.map_err(|error| error.to_string())?;
    let master = BlobRow { escrow: *setup.id.as_bytes(), mark, sealed: master };
    let mut batch = Batch::new();
    put_if_other(office, &escrow::MASTER, &mark, &setup, &mut covered, &mut batch, || {
        Ok(rows::encode(&master))
    })
    .await?;
    commit(office, batch).await?;
    for (key, owner) in OWN_KEYS {
        if let Some(row) = office.store.get(key).await.map_err(|error| error.to_string())? {
            cover_one(office, &setup, &owner, &row.value, None, &mut covered).await?;
        }
    }
    let mut after = None;
    loop {
        let page = office.accounts.page(after, limits::SCAN_ROWS_MAX.min(200)).await;
        let (accounts, next) = page.map_err(|error| error.to_string())?;
        for account in &accounts {
            let (id, keys) = (&account.id, &account.wrapped_keys);
            // One whose keys do not open is told, and does not hold up the others.
            if let Err(error) = cover_one(office, &setup, id, keys, Some(id), &mut covered).await {
                tracing::error!(mailbox = ?id, %error, "keys are not in escrow");
            }
        }
        tokio::task::yield_now().await;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    take_out(office).await?;
    if covered.sealed > 0 {
        tracing::info!(sealed = covered.sealed, keys = covered.keys, "keys were put in escrow");
    }
    Ok(covered)
}

async fn cover_one(
    office: &Office,
    setup: &Setup,
    owner: &MailboxId,
    wrapped: &[u8],
    account: Option<&MailboxId>,
    covered: &mut Covered,
) -> Result<(), String> {
    covered.keys += 1;
    let mark = office.keys.escrow_mark(owner, wrapped).map_err(|error| error.to_string())?;
    covered.keys -= 1;
    let mut batch = Batch::new();
    put_if_other(office, owner, &mark, setup, covered, &mut batch, || {
        blob(&office.keys, setup, owner, wrapped)
    })
    .await?;
    if batch.writes.is_empty() {
        return Ok(());
    }
    if let Some(id) = account {
        // A mailbox that ends at this moment must not leave its keys here.
        office.accounts.require_present(id, &mut batch).await.map_err(|error| error.to_string())?;
    }
    commit(office, batch).await
}

async fn put_if_other(
    office: &Office,
    owner: &MailboxId,
    mark: &[u8; 32],
    setup: &Setup,
    covered: &mut Covered,
    batch: &mut Batch,
    blob: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let key = rows::blob_key(owner);
    let row = office.store.get(&key).await.map_err(|error| error.to_string())?;
    let there = row.and_then(|row| rows::decode::<BlobRow>(&row.value));
    let is_there =
        there.is_some_and(|there| there.escrow == *setup.id.as_bytes() && there.mark == *mark);
    covered.keys += 1;
    covered.covered += 1;
    if !is_there {
        batch.put(key, blob()?);
        covered.sealed += 1;
    }
    Ok(())
}

async fn commit(office: &Office, batch: Batch) -> Result<(), String> {
    if batch.writes.is_empty() {
        return Ok(());
    }
    match office.store.commit(batch).await {
        // Whatever it was that changed meanwhile: the next pass sees it.
        Ok(()) | Err(CommitError::Conflict) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Keys of mailboxes that are gone.
async fn take_out(office: &Office) -> Result<(), String> {
    let mut range = store::prefix(rows::BLOBS);
    loop {
        let page = office.store.scan(range.clone(), limits::SCAN_ROWS_MAX).await;
        let page = page.map_err(|error| error.to_string())?;
        let mut batch = Batch::new();
        for (key, _) in &page.rows {
            let Some(owner) = rows::owner_of(key) else { continue };
            let is_own = owner == escrow::MASTER || OWN_KEYS.iter().any(|(_, own)| *own == owner);
            if !is_own && !office.accounts.is_there(&owner).await.map_err(|e| e.to_string())? {
                batch.delete(key.to_vec());
            }
        }
        commit(office, batch).await?;
        match page.rows.last() {
            Some((last, _)) if page.more => range.start = [last.as_ref(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// The administrators with shares.
///
/// # Errors
/// A sentence.
pub async fn holders(office: &Office) -> Result<Vec<Holder>, String> {
    let now = office.clock.now();
    let page = office.store.scan(store::prefix(rows::HOLDERS), limits::ESCROW_HOLDERS_MAX).await;
    let page = page.map_err(|error| error.to_string())?;
    let mut holders = Vec::with_capacity(page.rows.len());
    for (key, row) in &page.rows {
        let number = key.last().copied().unwrap_or(0);
        let row = rows::decode(&row.value).ok_or("a share's row is damaged")?;
        holders.push(holder(number, row, now));
    }
    Ok(holders)
}

fn holder(number: u8, row: HolderRow, now: Timestamp) -> Holder {
    let certificate = PeerCertificate::read(&row.certificate);
    let (names, expires, flaw) = match &certificate {
        Ok(one) => {
            let names =
                one.addresses(now).iter().map(|name| format!("{name:?}")).collect::<Vec<_>>();
            let flaw = one.check(now).err().map(|flaw| flaw.to_string());
            (names.join(", "), one.expires(now), flaw)
        }
        Err(flaw) => (String::new(), None, Some(flaw.to_string())),
    };
    Holder { number, fingerprint: row.fingerprint, names, expires, flaw, share: row.share }
}

/// How many keys are in the escrow in force; changes nothing.
///
/// # Errors
/// A sentence.
pub async fn count(office: &Office) -> Result<Covered, String> {
    let Some(setup) = office.escrow.setup() else { return Ok(Covered::default()) };
    let mut covered = Covered::default();
    let mut after = None;
    let mut owners = vec![escrow::MASTER];
    for (key, owner) in OWN_KEYS {
        if office.store.get(key).await.map_err(|error| error.to_string())?.is_some() {
            owners.push(owner);
        }
    }
    loop {
        for owner in owners.drain(..) {
            covered.keys += 1;
            let row = office.store.get(&rows::blob_key(&owner)).await;
            let row = row.map_err(|error| error.to_string())?;
            let there = row.and_then(|row| rows::decode::<BlobRow>(&row.value));
            let is_there = there.is_some_and(|there| there.escrow == *setup.id.as_bytes());
            covered.covered += u64::from(is_there);
        }
        let page = office.accounts.page(after, limits::SCAN_ROWS_MAX).await;
        let (accounts, next) = page.map_err(|error| error.to_string())?;
        owners.extend(accounts.iter().map(|account| account.id));
        match next {
            Some(next) => after = Some(next),
            None if owners.is_empty() => return Ok(covered),
            None => after = accounts.last().map(|account| account.id),
        }
    }
}

/// What is looked at now and then: what is not in escrow yet, a drill that is due, certificates of
/// administrators that end.
pub(super) async fn tend(office: &Arc<Office>) {
    tell_recoveries(office).await;
    let Some(setup) = office.escrow.setup() else { return };
    if let Err(error) = cover(office).await {
        tracing::error!(%error, "keys are left out of escrow for now");
    }
    let now = office.clock.now();
    let last = setup.drilled.unwrap_or(setup.at);
    if now.since(last) >= office.config.custody.drill_due {
        alerts::raise(
            office,
            "a drill of key recovery is due",
            &format!("The last one was on {last}. See `vaguemestre escrow drill`."),
        );
    }
    let holders = match holders(office).await {
        Ok(holders) => holders,
        Err(error) => return tracing::error!(%error, "the escrow's holders cannot be read"),
    };
    let usable = holders.iter().filter(|holder| holder.flaw.is_none()).count();
    if usable < holders.len() {
        alerts::raise(
            office,
            "a certificate of the escrow has ended",
            &format!(
                "{usable} of {} administrators have a valid certificate; {} are needed. \
                 Shares still open with an expired key, but not with a lost one: see \
                 `vaguemestre escrow status`, and `escrow rotate`.",
                holders.len(),
                setup.quorum
            ),
        );
    }
}

/// Notes in the escrow's row that a drill succeeded.
pub(super) async fn drilled(office: &Office, id: &EscrowId, entry: &Entry) -> Result<(), String> {
    let row = office.store.get(rows::SETUP).await.map_err(|error| error.to_string())?;
    let row = row.ok_or("the escrow is gone")?;
    let mut changed: SetupRow = rows::decode(&row.value).ok_or("the escrow's row is damaged")?;
    if changed.id != *id.as_bytes() {
        return Err("the escrow was replaced meanwhile".to_owned());
    }
    changed.drilled = Some(entry.at.as_millis());
    let mut batch = Batch::new();
    batch.require_at(rows::SETUP, row.version);
    batch.put(rows::SETUP, rows::encode(&changed));
    office.journal.ride(entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())?;
    let made = setup(&office.keys, changed).ok_or("the escrow's row is damaged")?;
    *lock(&office.escrow.setup) = Some(Arc::new(made));
    Ok(())
}

/// Keys of an owner as they lie in escrow.
pub async fn sealed(office: &Office, owner: &MailboxId) -> Result<Option<Vec<u8>>, String> {
    sealed_in(office.store.as_ref(), owner).await
}

async fn sealed_in(store: &dyn Store, owner: &MailboxId) -> Result<Option<Vec<u8>>, String> {
    let row = store.get(&rows::blob_key(owner)).await.map_err(|error| error.to_string())?;
    Ok(row.and_then(|row| rows::decode::<BlobRow>(&row.value)).map(|row| row.sealed))
}

/// Brings a lost master key back from the store of a stopped relay: nothing of it opens without
/// the key, so neither configuration nor keyring are needed. The key goes to a new file; the
/// recovery is told in journal and ledger when a relay starts with it.
///
/// # Errors
/// A sentence: nothing was written, and why.
pub async fn recover_master(
    store: &dyn Store,
    shares: &[escrow::Share],
    to: &std::path::Path,
    author: &str,
    now: Timestamp,
) -> Result<(), String> {
    let row = store.get(rows::SETUP).await.map_err(|error| error.to_string())?;
    let row = row.ok_or("this relay has no escrow")?;
    let setup: SetupRow = rows::decode(&row.value).ok_or("the escrow's row is damaged")?;
    let id = EscrowId::from_bytes(setup.id);
    let key = escrow::combine(&id, setup.quorum, shares, &setup.sealed_key);
    let key = key.map_err(|flaw| flaw.to_string())?;
    let sealed = sealed_in(store, &escrow::MASTER).await?;
    let sealed = sealed.ok_or("the master key was never put in escrow")?;
    let opened = key.open(&escrow::MASTER, &sealed).map_err(|error| error.to_string())?;
    let told = RecoveredRow {
        at: now.as_millis(),
        author: author.to_owned(),
        shares: shares.iter().map(escrow::Share::number).collect(),
    };
    // First the note, then the deed.
    let mut batch = Batch::new();
    let name = [rows::RECOVERED, uuid::Uuid::now_v7().as_bytes()].concat();
    batch.put(name, rows::encode(&told));
    store.commit(batch).await.map_err(|error| error.to_string())?;
    opened.write_master(to).map_err(|error| format!("{}: {error}", to.display()))
}

/// Recoveries that no running relay saw, told in journal and ledger.
async fn tell_recoveries(office: &Office) {
    let told = async {
        let page = office.store.scan(store::prefix(rows::RECOVERED), limits::SCAN_ROWS_MAX).await;
        for (key, row) in &page.map_err(|error| error.to_string())?.rows {
            let row: RecoveredRow = rows::decode(&row.value).ok_or("a damaged row")?;
            let at = Timestamp::from_millis(row.at);
            let shares: Vec<String> = row.shares.iter().map(u8::to_string).collect();
            let with = format!("with shares {}", shares.join(", "));
            let who = Who::Administrator(row.author.clone());
            let why = format!("recovery of the master key on {at}, {with}");
            let used = office.audit().used(None, &who, "control", &why).await;
            used.map_err(|error| error.to_string())?;
            let mut batch = Batch::new();
            office.journal.ride(
                &Entry {
                    at,
                    author: row.author,
                    action: "escrow recover".to_owned(),
                    target: "the master key".to_owned(),
                    reason: "it was lost".to_owned(),
                    outcome: with,
                },
                &mut batch,
            );
            batch.delete(key.to_vec());
            office.store.commit(batch).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    };
    if let Err(error) = told.await {
        tracing::error!(%error, "a recovery of the master key could not be told");
    }
}
