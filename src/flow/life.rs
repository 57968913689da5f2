//! The lives of mailboxes: each step with who made it, when and why, in the commit that makes it.
//!
//! What a stage means at the doors is the account's own mark, written in the same commit: a
//! mailbox that is not open neither logs in nor sends nor receives. What may follow what is
//! `domain::life`; this room makes it durable, and `sweep` does what the clock does.
mod ending; // what is destroyed, and in which order
pub mod import; // many mailboxes from a list
mod notice; // the letter to a holder who does not come
mod rows;
mod sweep; // mailboxes that nobody uses, closings whose time has come

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::address::Address;
use crate::domain::identity::NationalId;
use crate::domain::life::Actor;
use crate::domain::life::LastLogin;
use crate::domain::life::NoStep;
use crate::domain::life::Stage;
use crate::domain::life::Standing;
use crate::domain::life::Step;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Timestamp;
use crate::flow::custody::escrow;
use crate::flow::custody::shred;
use crate::flow::office::Office;
use crate::flow::undone::Undone;
use crate::infra::audit::Who;
use crate::infra::directory::Account;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::NewAccount;
use crate::infra::directory::accounts::Known;
use crate::infra::journal::Entry;
use crate::infra::store;
use crate::infra::store::Batch;
use crate::infra::store::CommitError;

pub use sweep::Swept;
pub use sweep::sweep;

/// How often a step is built anew when something else changed the mailbox under it.
const ATTEMPTS_MAX: usize = 20;
/// Who does what the clock does.
pub const CLOCK: &str = "the clock";

/// A mailbox in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which one.
    pub id: MailboxId,
    /// Its address; of a closed inbox of a patient nobody knows it any more.
    pub address: Option<Address>,
    /// The domain of its address.
    pub domain: String,
    /// Where it is, and what follows from that.
    pub standing: Standing,
    /// Since when it is there.
    pub since: Timestamp,
    /// Nobody counts it as quiet before this: it was made, opened, or somebody objected.
    pub quiet_from: Timestamp,
    /// The day of the sweep on which its closing began.
    pub day: u64,
    /// What its holder was told, first one first.
    pub notices: Vec<Notice>,
}

/// A letter about inactivity that lies in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which one: so many days before the closing.
    pub days_before: u64,
    /// When it was filed.
    pub at: Timestamp,
    /// On which day of the sweep.
    pub day: u64,
}

/// One step that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub author: String,
    /// Which.
    pub step: Step,
    /// From where; `None` for the first one.
    pub from: Option<Stage>,
    /// Where it led.
    pub to: Stage,
    /// Why.
    pub reason: String,
}

/// Says when somebody last logged in to a mailbox.
#[async_trait]
pub trait Arrivals: Send + Sync {
    /// The last login, by whatever means and at whatever door.
    async fn last_login(&self, id: &MailboxId) -> Result<LastLogin, String>;
}

/// What somebody wants to happen to a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// To which.
    pub address: &'a Address,
    /// What.
    pub step: Step,
    /// In which role.
    pub by: Actor,
    /// Under which name.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Makes a mailbox, with its first steps in its history: open at once, or requested only.
///
/// # Errors
/// [`DirectoryError::Taken`] also for an address whose mailbox is closed.
pub async fn make(
    office: &Office,
    new: NewAccount<'_>,
    opens: bool,
    author: &str,
    reason: &str,
) -> Result<Account, DirectoryError> {
    make_held(office, new, None, opens, author, reason).await
}

/// [`make`], with the professional who holds it from the first moment on, in the same commit.
///
/// # Errors
/// As [`make`].
pub async fn make_held(
    office: &Office,
    new: NewAccount<'_>,
    holder: Option<&NationalId>,
    opens: bool,
    author: &str,
    reason: &str,
) -> Result<Account, DirectoryError> {
    let now = office.clock.now();
    let account = office
        .accounts
        .add_with(new, |account, batch| {
            if let Some(holder) = holder {
                office.accounts.stage_first_holder(&account.id, holder, batch);
            }
            account.suspended = !opens;
            escrow::stage(office, &account.id, &account.wrapped_keys, batch);
            let mut life = life_of(account);
            life.standing = Standing::requested(account.kind, account.listing);
            let to = if opens { Stage::Active } else { Stage::Requested };
            let steps = [(Step::Request, None, Stage::Requested)];
            let opening = opens.then_some((Step::Activate, Some(Stage::Requested), Stage::Active));
            for (step, from, to) in steps.into_iter().chain(opening) {
                let (author, reason) = (author.to_owned(), reason.to_owned());
                let record = Record { at: now, author, step, from, to, reason };
                tell(office, &life, &record, batch);
            }
            life.standing.stage = to;
            batch.require_absent(rows::state_key(&account.id));
            batch.put(rows::state_key(&account.id), rows::encode(&life));
        })
        .await?;
    Ok(account)
}

/// Makes a step, durably, with its record. Answers where the mailbox is then.
///
/// # Errors
/// A sentence: nothing was changed, and why.
pub async fn change(office: &Arc<Office>, order: &Order<'_>) -> Result<Life, Undone> {
    for _ in 0..ATTEMPTS_MAX {
        let account = match known(office, order.address).await? {
            Known::Living(account) => account,
            Known::Ended(_) => return Err(NoStep::Closed.into()),
        };
        let (life, version) = read(office, &account).await?;
        let now = office.clock.now();
        let until = now.after(office.config.life.closing);
        let standing = life.standing.step(order.step, order.by, now, until)?;
        let mut next = Life { standing, ..life.clone() };
        if standing.stage != life.standing.stage {
            next.since = now;
        }
        if matches!(order.step, Step::Activate | Step::Resume | Step::Oppose | Step::UndoClose) {
            next.notices.clear();
            next.quiet_from = next.quiet_from.max(now);
        }
        if standing.stage == Stage::Closing {
            next.day = sweep::days(office).await?.lived;
        }
        let mut batch = Batch::new();
        stage_row(&mut batch, &next, version);
        tell(office, &next, &record(order, &life, &next, now), &mut batch);
        let committed = if standing.stage == Stage::Closed {
            record_end(office, &account, order).await?;
            shred::stage_mailbox(office, &account, order.author, order.reason, &mut batch)?;
            ending::end(office, &account, batch).await
        } else {
            stage_account(office, &account, &next, &mut batch).await?;
            office.store.commit(batch).await
        };
        match committed {
            Ok(()) => {
                if !standing.stage.is_open() {
                    put_out(office, account.id);
                }
                if standing.stage == Stage::Closed {
                    ending::clear_away(office, &account.id).await;
                }
                tracing::info!(
                    mailbox = ?account.id,
                    step = order.step.name(),
                    to = standing.stage.name(),
                    "a step in the life of a mailbox"
                );
                return Ok(next);
            }
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.to_string().into()),
        }
    }
    Err(Undone::Restless)
}

/// Where a mailbox is; also one that is closed.
///
/// # Errors
/// A sentence for the administrator.
pub async fn look(office: &Office, address: &Address) -> Result<Life, Undone> {
    match known(office, address).await? {
        Known::Living(account) => Ok(read(office, &account).await?.0),
        Known::Ended(id) => {
            let row = office.store.get(&rows::state_key(&id)).await;
            let row = row.map_err(|error| error.to_string())?;
            let life = row.and_then(|row| rows::decode(id, &row.value));
            life.ok_or_else(|| "the mailbox is closed; its record is damaged".into())
        }
    }
}

/// Where the mailbox of an account is.
///
/// # Errors
/// A sentence for the administrator.
pub async fn of(office: &Office, account: &Account) -> Result<Life, String> {
    Ok(read(office, account).await?.0)
}

/// What happened to a mailbox, first step first, at most `limits::LIFE_HISTORY_SHOWN_MAX` steps.
///
/// # Errors
/// A sentence for the administrator.
pub async fn history(office: &Office, id: &MailboxId) -> Result<Vec<Record>, String> {
    let range = store::prefix(&rows::history_prefix(id));
    let page = office.store.scan_back(range, limits::LIFE_HISTORY_SHOWN_MAX).await;
    let page = page.map_err(|error| error.to_string())?;
    let mut records = Vec::with_capacity(page.rows.len());
    for (_, row) in page.rows.iter().rev() {
        match rows::open_record(&office.keys, &row.value) {
            Some(record) => records.push(record),
            None => tracing::error!(mailbox = ?id, "a step of a mailbox's history is damaged"),
        }
    }
    Ok(records)
}

/// Mailboxes that are closed, in the order in which they were made, at most `count`, and where
/// the next ones begin, if there are more.
///
/// # Errors
/// A sentence for the administrator.
pub async fn closed(
    office: &Office,
    after: Option<MailboxId>,
    count: usize,
) -> Result<(Vec<Life>, Option<MailboxId>), String> {
    let mut range = store::prefix(rows::STATES);
    if let Some(after) = after {
        range.start = [rows::state_key(&after).as_slice(), &[0]].concat();
    }
    let page = office.store.scan(range, count).await.map_err(|error| error.to_string())?;
    let number = |key: &[u8]| rows::mailbox_of(rows::STATES, key);
    let lives = page.rows.iter().filter_map(|(key, row)| rows::decode(number(key)?, &row.value));
    let lives = lives.filter(|life| life.standing.stage == Stage::Closed).collect();
    let last = page.rows.last().and_then(|(key, _)| number(key));
    Ok((lives, last.filter(|_| page.more)))
}

/// Goes on with what a kill interrupted: rows of mailboxes whose keys are destroyed already.
pub async fn resume(office: &Arc<Office>) {
    if let Err(error) = ending::clear_all(office).await {
        tracing::warn!(%error, "rows of ended mailboxes are left for now");
    }
}

/// When somebody last logged in to a mailbox.
///
/// `None` where nobody keeps a record of logins: then nobody is taken for inactive.
///
/// # Errors
/// A sentence for the administrator.
pub async fn last_login(office: &Office, id: &MailboxId) -> Result<Option<LastLogin>, String> {
    match &office.arrivals {
        None => Ok(None),
        Some(arrivals) => arrivals.last_login(id).await.map(Some),
    }
}

/// The life of a mailbox behind its number, and what people call it.
///
/// # Errors
/// A sentence for the administrator.
pub async fn numbered(office: &Office, id: &MailboxId) -> Result<Option<(Life, String)>, String> {
    let account = office.accounts.numbered(id).await.map_err(|error| error.to_string())?;
    if let Some(account) = account {
        return Ok(Some((read(office, &account).await?.0, account.display_name)));
    }
    let row = office.store.get(&rows::state_key(id)).await.map_err(|error| error.to_string())?;
    let life = row.and_then(|row| rows::decode(*id, &row.value));
    Ok(life.map(|life| (life, String::new())))
}

/// The ledger of key uses tells of the end of keys as well.
async fn record_end(office: &Office, account: &Account, order: &Order<'_>) -> Result<(), String> {
    let who = match order.by {
        Actor::Clock => Who::Relay,
        _ => Who::Administrator(order.author.to_owned()),
    };
    let used = office.audit().used(Some(&account.id), &who, "control", "its keys are destroyed");
    used.await.map(|_| ()).map_err(|error| error.to_string())
}

/// Whoever is in a mailbox that has just closed is put out, at every door; so is whoever is logging
/// in to it at this moment.
fn put_out(office: &Office, id: MailboxId) {
    let ended = office.logins.sessions().end_mailbox(&id);
    if ended > 0 {
        tracing::info!(mailbox = ?id, ended, "sessions were ended with their mailbox");
    }
}

async fn known(office: &Office, address: &Address) -> Result<Known, Undone> {
    office.accounts.known(address).await?.ok_or(Undone::NoSuchMailbox)
}

/// The life of an account, and the version of its row, if it has one.
async fn read(
    office: &Office,
    account: &Account,
) -> Result<(Life, Option<store::Version>), String> {
    let row = office.store.get(&rows::state_key(&account.id)).await;
    let Some(row) = row.map_err(|error| error.to_string())? else {
        return Ok((life_of(account), None));
    };
    let life = rows::decode(account.id, &row.value);
    let life = life.ok_or("the record of this mailbox's life is damaged")?;
    // A patient's address is known as long as the account is there.
    Ok((Life { address: Some(account.address.clone()), ..life }, Some(row.version)))
}

/// The life of an account that is older than these records.
fn life_of(account: &Account) -> Life {
    let stage = if account.suspended { Stage::Suspended } else { Stage::Active };
    Life {
        id: account.id,
        address: Some(account.address.clone()),
        domain: account.address.domain().to_string(),
        standing: Standing {
            stage,
            kind: account.kind,
            listing: account.listing,
            until: None,
            before: None,
        },
        since: account.created,
        quiet_from: account.created,
        day: 0,
        notices: Vec::new(),
    }
}

fn stage_row(batch: &mut Batch, life: &Life, version: Option<store::Version>) {
    let key = rows::state_key(&life.id);
    match version {
        None => batch.require_absent(key.clone()),
        Some(version) => batch.require_at(key.clone(), version),
    };
    batch.put(key, rows::encode(life));
}

/// What the doors look at, in the same commit.
async fn stage_account(
    office: &Office,
    account: &Account,
    life: &Life,
    batch: &mut Batch,
) -> Result<(), String> {
    let staged = office.accounts.stage(&account.address, batch, |account| {
        account.suspended = !life.standing.stage.is_open();
        account.listing = life.standing.listing;
    });
    staged.await.map(|_| ()).map_err(|error| error.to_string())
}

fn record(order: &Order<'_>, before: &Life, after: &Life, at: Timestamp) -> Record {
    Record {
        at,
        author: order.author.to_owned(),
        step: order.step,
        from: Some(before.standing.stage),
        to: after.standing.stage,
        reason: order.reason.to_owned(),
    }
}

/// History and journal.
fn tell(office: &Office, life: &Life, record: &Record, batch: &mut Batch) {
    batch.put(rows::history_key(&life.id), rows::seal_record(&office.keys, record));
    let target = match &life.address {
        Some(address) if life.standing.kind != MailboxKind::Citizen => format!("{address:?}"),
        _ => format!("***@{}", life.domain),
    };
    let until = life.standing.until.map_or(String::new(), |until| format!(" until {until}"));
    office.journal.ride(
        &Entry {
            at: record.at,
            author: record.author.clone(),
            action: format!("mailbox {}", record.step.name()),
            target,
            reason: record.reason.clone(),
            outcome: format!("{}{until}", record.to.name()),
        },
        batch,
    );
}
