//! The versions of the master key, and wrapping everything anew.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::flow::hands;
use crate::flow::office::Office;
use crate::flow::rewrap;
use crate::flow::rewrap::Outcome;
use crate::infra::journal::Entry;
use crate::infra::keys::master::Cursor;
use crate::infra::keys::master::State;
use crate::infra::store::Batch;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Versions, what hangs on each, and how far wrapping anew is. Reads every account.
    Status {},
    /// How far wrapping anew is.
    Progress {},
    /// Begin it, or go on.
    Rewrap {},
    /// Give up what lies in a mailbox whose key does not open.
    GiveUp {
        /// Whose.
        address: String,
        /// Why, for the journal.
        reason: String,
        /// Also when its keys are in escrow.
        despite_escrow: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `Status`.
    Status(Status),
    /// To `Progress` and `Rewrap`.
    Progress {
        /// Whether something is perhaps wrapped by an older version.
        needed: bool,
        /// The last walk; nothing when there never was a change of keys.
        walk: Option<Walk>,
    },
    /// To `GiveUp`.
    GivenUp {},
}

/// Versions, and how far wrapping anew is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The oldest first.
    pub versions: Vec<VersionLine>,
    /// Wraps that are none: damaged rows.
    pub damaged: u64,
    /// Mailboxes whose keys do not open, the first of them: address, or number when even that
    /// cannot be read.
    pub failing: Vec<String>,
    /// The last walk.
    pub rewrap: Option<Walk>,
}

/// A version of the master key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// Its number.
    pub version: u32,
    /// `current`, `old`, `retired`.
    pub state: String,
    /// Keys that it wraps: one a mailbox, and those of the relay.
    pub keys: u64,
    /// Where it lies: a path, `credential:…`, `pkcs11:…`.
    pub source: String,
    /// RFC 3339, UTC.
    pub begun: String,
    /// Since when it is in its state. RFC 3339, UTC.
    pub since: String,
    /// Whether the relay has it.
    pub at_hand: bool,
}

/// How far wrapping anew is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// To which version.
    pub version: u32,
    /// Rows that were looked at.
    pub done: u64,
    /// Rows that there were at its beginning.
    pub total: u64,
    /// Keys that do not open.
    pub failed: u64,
    /// RFC 3339, UTC.
    pub begun: String,
    /// RFC 3339, UTC; nothing while there is something to do.
    pub ended: Option<String>,
    /// Whether it goes on at this moment.
    pub running: bool,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Status {} => {
            let status = rewrap::status(office).await.map_err(|error| error.to_string())?;
            let mut shown = shown(&status);
            for id in &status.failing {
                let found = office.accounts.numbered(id).await.ok().flatten();
                let address = found.map(|account| hands::masked(office, &account.address));
                shown.failing.push(address.unwrap_or_else(|| format!("{id:?}")));
            }
            Ok(Answer::Status(shown))
        }
        Request::GiveUp { address, reason, despite_escrow } => {
            let address = Address::parse(&address).map_err(|error| error.to_string())?;
            let reason = reason.trim();
            if reason.is_empty() {
                return Err("a reason is needed: --reason".to_owned());
            }
            rewrap::give_up(office, &address, &caller.author, reason, despite_escrow).await?;
            Ok(Answer::GivenUp {})
        }
        Request::Progress {} => progress(office).await,
        Request::Rewrap {} => {
            record(office, caller).await?;
            office.rewrapping.ring();
            progress(office).await
        }
    }
}

/// Wraps everything anew in this process: for a stopped relay. `told` hears of each step.
pub async fn rewrap_here(
    office: &Arc<Office>,
    caller: &Caller,
    mut told: impl FnMut(&Walk),
) -> Result<Outcome, String> {
    record(office, caller).await?;
    let outcome = rewrap::to_end(office, |cursor| told(&walk(cursor, true))).await;
    outcome.map_err(|error| error.to_string())
}

async fn record(office: &Office, caller: &Caller) -> Result<(), String> {
    let versions = rewrap_needed(office).await?;
    let entry = Entry {
        at: office.clock.now(),
        author: caller.author.clone(),
        action: "keys master rewrap".to_owned(),
        target: format!("master key, version {}", office.keys.current_version()),
        reason: String::new(),
        outcome: if versions { "begun" } else { "nothing to do" }.to_owned(),
    };
    let mut batch = Batch::new();
    office.journal.ride(&entry, &mut batch);
    office.store.commit(batch).await.map_err(|error| error.to_string())
}

async fn rewrap_needed(office: &Office) -> Result<bool, String> {
    let versions = office.rewrapping.versions().await.map_err(|error| error.to_string())?;
    Ok(versions.iter().any(|version| version.state == State::Old))
}

async fn progress(office: &Office) -> Result<Answer, String> {
    let needed = rewrap_needed(office).await?;
    let cursor = office.rewrapping.progress().await.map_err(|error| error.to_string())?;
    let walk = cursor.map(|cursor| walk(&cursor, office.rewrapping.is_running()));
    Ok(Answer::Progress { needed, walk })
}

fn shown(status: &rewrap::Status) -> Status {
    let versions = status.versions.iter().map(|(version, keys, at_hand)| VersionLine {
        version: version.number,
        state: version.state.name().to_owned(),
        keys: *keys,
        source: version.source.clone(),
        begun: version.begun.to_string(),
        since: version.since.to_string(),
        at_hand: *at_hand,
    });
    Status {
        versions: versions.collect(),
        damaged: status.damaged,
        failing: Vec::new(),
        rewrap: status.walk.as_ref().map(|cursor| walk(cursor, status.running)),
    }
}

fn walk(cursor: &Cursor, running: bool) -> Walk {
    Walk {
        version: cursor.to,
        done: cursor.done.min(cursor.total),
        total: cursor.total,
        failed: cursor.failed,
        begun: cursor.begun.to_string(),
        ended: cursor.ended.map(|ended| ended.to_string()),
        running,
    }
}
