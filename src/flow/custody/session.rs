//! Shares that come one after the other, from administrators at their own places: for a drill, or
//! to bring a mailbox's keys back. They are in memory only, for a quarter of an hour at most; with
//! the last one of the quorum the work is done at once, and all of them are wiped.
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::address::Address;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::time::Timestamp;
use crate::flow::custody::escrow;
use crate::flow::custody::escrow::Setup;
use crate::flow::hands::masked;
use crate::flow::office::Office;
use crate::flow::rewrap::OWN_KEYS;
use crate::infra::audit::Who;
use crate::infra::directory::Account;
use crate::infra::directory::Mailboxes;
use crate::infra::journal::Entry;
use crate::infra::keys::escrow as keys;
use crate::infra::keys::escrow::CombineFlaw;
use crate::infra::keys::escrow::EscrowKey;
use crate::infra::keys::escrow::Opened;
use crate::infra::keys::escrow::Share;
use crate::infra::store::Batch;

/// What the shares are collected for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To prove that recovery works: for all mailboxes, or for so many, drawn by lot.
    Drill(Option<u32>),
    /// To bring the keys of this mailbox back.
    Mailbox(Address),
}

/// A collection of shares.
pub(super) struct Session {
    setup: Arc<Setup>,
    purpose: Purpose,
    author: String,
    reason: String,
    until: Timestamp,
    shares: Vec<Share>,
}

/// Where a collection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More shares are needed, until then.
    Waiting {
        /// So many are here.
        have: usize,
        /// So many are needed.
        need: u8,
        /// Until when.
        until: Timestamp,
    },
    /// The drill is over.
    Drilled(Drilled),
    /// The mailbox's keys are back.
    Restored(String),
}

/// What a drill has shown: numbers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drilled {
    /// Keys that were looked at: mailboxes, the relay's own, the master key.
    pub keys: u64,
    /// Of them, those that came out of escrow just as they are in use.
    pub good: u64,
    /// Those that are not in escrow.
    pub missing: u64,
    /// Those that did not open, or are other keys.
    pub wrong: u64,
    /// All keys that there are; more than were looked at, when only some were drawn.
    pub all: u64,
}

impl Drilled {
    /// Recovery would bring back everything.
    pub fn is_good(&self) -> bool {
        self.good == self.keys
    }
}

/// Begins to collect shares.
///
/// # Errors
/// A sentence.
pub async fn begin(
    office: &Arc<Office>,
    purpose: Purpose,
    author: &str,
    reason: &str,
) -> Result<Progress, String> {
    let setup = office.escrow.setup().ok_or("there is no escrow: `escrow setup` makes one")?;
    if let Purpose::Mailbox(address) = &purpose {
        let found = office.accounts.find(address).await.map_err(|error| error.to_string())?;
        let account = found.ok_or("no such mailbox")?;
        if escrow::sealed(office, &account.id).await?.is_none() {
            return Err("the keys of this mailbox are not in escrow".to_owned());
        }
    }
    let now = office.clock.now();
    let until = now.after(limits::ESCROW_SHARES_KEPT);
    let mut session = office.escrow.session.lock().unwrap_or_else(PoisonError::into_inner);
    if session.as_ref().is_some_and(|session| now < session.until) {
        return Err("shares are being collected already: `escrow cancel` ends that".to_owned());
    }
    if !office.escrow.serves() {
        return Err("the relay must run: shares are kept in its memory only".to_owned());
    }
    let need = setup.quorum;
    *session = Some(Session {
        setup,
        purpose,
        author: author.to_owned(),
        reason: reason.to_owned(),
        until,
        shares: Vec::new(),
    });
    drop(session);
    let waiting = Arc::downgrade(office);
    tokio::spawn(async move {
        tokio::time::sleep(limits::ESCROW_SHARES_KEPT + Duration::from_secs(1)).await;
        if let Some(office) = waiting.upgrade() {
            forget(&office);
        }
    });
    Ok(Progress::Waiting { have: 0, need, until })
}

/// Ends a collection; what was given is wiped. True when there was one.
pub fn cancel(office: &Office) -> bool {
    let mut session = office.escrow.session.lock().unwrap_or_else(PoisonError::into_inner);
    session.take().is_some()
}

/// Forgets shares whose time is over.
pub(super) fn forget(office: &Office) {
    let now = office.clock.now();
    let mut session = office.escrow.session.lock().unwrap_or_else(PoisonError::into_inner);
    if session.as_ref().is_some_and(|session| now >= session.until) {
        *session = None;
        tracing::info!("shares that were given for the escrow are wiped: their time is over");
    }
}

/// Takes a share; with the last one of the quorum, does what they were collected for.
///
/// # Errors
/// A sentence: the share was not taken, or what was to be done failed.
pub async fn give(office: &Arc<Office>, share: &str, giver: &str) -> Result<Progress, String> {
    let share = Share::parse(share).map_err(|flaw| flaw.to_string())?;
    let number = share.number();
    forget(office);
    let (session, key) = {
        let mut place = office.escrow.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = place.as_mut().ok_or(
            "no shares are being collected: begin with `escrow drill` or `escrow recover`",
        )?;
        if share.escrow() != session.setup.id {
            return Err(CombineFlaw::OtherEscrow(number).to_string());
        }
        if session.shares.iter().any(|other| other.number() == number) {
            return Err(CombineFlaw::Twice(number).to_string());
        }
        session.shares.push(share);
        let setup = Arc::clone(&session.setup);
        match keys::combine(&setup.id, setup.quorum, &session.shares, &setup.sealed_key) {
            Err(CombineFlaw::TooFew { have, need }) => {
                tracing::info!(number, have, need, "a share for the escrow was given");
                return Ok(Progress::Waiting { have, need, until: session.until });
            }
            Err(flaw) => {
                *place = None;
                return Err(format!("{flaw}. What was given is wiped; begin again."));
            }
            Ok(key) => (place.take().ok_or("nothing is being collected")?, key),
        }
    };
    let numbers: Vec<String> = session.shares.iter().map(|one| one.number().to_string()).collect();
    let with = format!("with shares {}", numbers.join(", "));
    let Session { setup, purpose, author, reason, .. } = session;
    let who = Who::Administrator(format!("{author} and {giver}"));
    match &purpose {
        Purpose::Drill(sample) => {
            let why = format!("escrow drill {with}");
            let used = office.audit().used(None, &who, "control", &why).await;
            used.map_err(|error| error.to_string())?;
            let drilled = drill(office, &key, *sample).await?;
            drop(key);
            let entry = Entry {
                at: office.clock.now(),
                author,
                action: "escrow drill".to_owned(),
                target: format!("escrow {}", setup.id),
                reason,
                outcome: format!(
                    "{} of {} keys came back, of {} that there are, {with}; last given by {giver}",
                    drilled.good, drilled.keys, drilled.all
                ),
            };
            match drilled.is_good() {
                true => escrow::drilled(office, &setup.id, &entry).await?,
                false => {
                    let mut batch = Batch::new();
                    office.journal.ride(&entry, &mut batch);
                    office.store.commit(batch).await.map_err(|error| error.to_string())?;
                }
            }
            Ok(Progress::Drilled(drilled))
        }
        Purpose::Mailbox(address) => {
            let restored = restore(office, &key, address, &who, &with).await?;
            let mut batch = restored;
            let shown = masked(office, address);
            office.journal.ride(
                &Entry {
                    at: office.clock.now(),
                    author,
                    action: "escrow recover".to_owned(),
                    target: shown.clone(),
                    reason,
                    outcome: format!("{with}; last given by {giver}"),
                },
                &mut batch,
            );
            office.store.commit(batch).await.map_err(|error| error.to_string())?;
            Ok(Progress::Restored(shown))
        }
    }
}

/// Opens what is in escrow and compares it with what is in use: the relay's own keys and the master
/// key always; of the mailboxes all, or some drawn by lot.
async fn drill(office: &Office, key: &EscrowKey, sample: Option<u32>) -> Result<Drilled, String> {
    let mut drilled = Drilled::default();
    let master = open(office, key, &keys::MASTER).await?;
    drilled.count(master, |opened| Ok(office.keys.is_master_in_escrow(opened)));
    for (row, owner) in OWN_KEYS {
        let row = office.store.get(row).await.map_err(|error| error.to_string())?;
        if let Some(row) = row {
            let found = open(office, key, &owner).await?;
            drilled.count(found, |opened| {
                office.keys.is_in_escrow(&owner, &row.value, opened).map_err(|e| e.to_string())
            });
        }
    }
    drilled.all = drilled.keys;
    let mut drawn: Vec<Account> = Vec::new();
    let mut after = None;
    loop {
        let page = office.accounts.page(after, limits::SCAN_ROWS_MAX.min(200)).await;
        let (accounts, next) = page.map_err(|error| error.to_string())?;
        for account in accounts {
            drilled.all += 1;
            match sample {
                None => drill_one(office, key, &account, &mut drilled).await?,
                // Each has the same chance, however many come behind it.
                Some(most) if drawn.len() < most as usize => drawn.push(account),
                Some(_) => {
                    let place = usize::try_from(office.lanes.chance() % drilled.all);
                    if let Some(one) = place.ok().and_then(|place| drawn.get_mut(place)) {
                        *one = account;
                    }
                }
            }
        }
        tokio::task::yield_now().await;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for account in &drawn {
        drill_one(office, key, account, &mut drilled).await?;
    }
    Ok(drilled)
}

async fn drill_one(
    office: &Office,
    key: &EscrowKey,
    account: &Account,
    drilled: &mut Drilled,
) -> Result<(), String> {
    let found = open(office, key, &account.id).await?;
    drilled.count(found, |opened| {
        let (id, wrapped) = (&account.id, &account.wrapped_keys);
        office.keys.is_in_escrow(id, wrapped, opened).map_err(|error| error.to_string())
    });
    tokio::task::yield_now().await;
    Ok(())
}

/// What lies in escrow for an owner.
enum Found {
    Nothing,
    Sealed,
    Clear(Opened),
}

async fn open(office: &Office, key: &EscrowKey, owner: &MailboxId) -> Result<Found, String> {
    let Some(sealed) = escrow::sealed(office, owner).await? else { return Ok(Found::Nothing) };
    Ok(key.open(owner, &sealed).map_or(Found::Sealed, Found::Clear))
}

impl Drilled {
    fn count(&mut self, found: Found, is_same: impl FnOnce(&Opened) -> Result<bool, String>) {
        self.keys += 1;
        match found {
            Found::Nothing => self.missing += 1,
            Found::Sealed => self.wrong += 1,
            Found::Clear(opened) => match is_same(&opened) {
                Ok(true) => self.good += 1,
                _ => self.wrong += 1,
            },
        }
    }
}

/// The commit that gives a mailbox its keys back.
async fn restore(
    office: &Office,
    key: &EscrowKey,
    address: &Address,
    who: &Who,
    with: &str,
) -> Result<Batch, String> {
    let mut batch = Batch::new();
    let found = office.accounts.find(address).await.map_err(|error| error.to_string())?;
    let account = found.ok_or("no such mailbox")?;
    let used = office
        .audit()
        .used(Some(&account.id), who, "control", &format!("recovery from escrow {with}"))
        .await;
    used.map_err(|error| error.to_string())?;
    let sealed = escrow::sealed(office, &account.id).await?;
    let sealed = sealed.ok_or("the keys of this mailbox are not in escrow")?;
    let opened = key.open(&account.id, &sealed).map_err(|error| error.to_string())?;
    let wrapped = office.keys.from_escrow(&account.id, &opened);
    let wrapped = wrapped.map_err(|error| error.to_string())?;
    let staged = office.accounts.stage(address, &mut batch, |account| {
        account.wrapped_keys = wrapped.into();
    });
    staged.await.map_err(|error| error.to_string())?;
    Ok(batch)
}
