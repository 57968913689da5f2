//! How our mailboxes come into the national directory.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::flow::office::Office;
use crate::flow::publish;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Tell the directory what has changed.
    Run {
        /// Only say what would be told.
        dry_run: bool,
    },
    /// What the directory knows of each mailbox.
    Status {},
    /// How telling ended, for those with whom it did not end well.
    Report {},
}

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its address.
    pub address: String,
    /// Its kind.
    pub kind: String,
    /// `unpublished`, `published` or `hidden`: what the directory knows.
    pub known: String,
    /// `insert`, `hide`, `show` or `delete`: what is to be told.
    pub change: Option<String>,
    /// When something was told last, RFC 3339.
    pub at: Option<String>,
    /// What was told.
    pub told: Option<String>,
    /// `done`, `refused` or `later`.
    pub result: Option<String>,
    /// Why, unless it was done.
    pub reason: Option<String>,
}

/// Does what is asked.
pub(super) async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Vec<Line>, String> {
    let lines = match request {
        Request::Run { dry_run: true } => {
            let mut lines = publish::status(office).await?;
            lines.retain(|line| line.change.is_some());
            lines
        }
        Request::Run { dry_run: false } => {
            let lines = publish::run(office).await?;
            note(office, caller, lines.len()).await;
            lines
        }
        Request::Status {} => publish::status(office).await?,
        Request::Report {} => {
            let mut lines = publish::status(office).await?;
            lines.retain(|line| line.last.as_ref().is_some_and(|last| last.result != "done"));
            lines
        }
    };
    Ok(lines.into_iter().map(shown).collect())
}

async fn note(office: &Office, caller: &Caller, told: usize) {
    let mut batch = Batch::new();
    let entry = Entry {
        at: office.clock.now(),
        author: caller.author.clone(),
        action: "publish run".to_owned(),
        target: "national directory".to_owned(),
        reason: String::new(),
        outcome: format!("{told} changes were told"),
    };
    office.journal.ride(&entry, &mut batch);
    if let Err(error) = office.store.commit(batch).await {
        tracing::error!(%error, "the journal does not know of a publication");
    }
}

fn shown(line: publish::Line) -> Line {
    let last = line.last.as_ref();
    Line {
        address: line.address.to_string(),
        kind: line.kind.code().to_owned(),
        known: line.known.name().to_owned(),
        change: line.change.map(|change| change.name().to_owned()),
        at: last.map(|last| last.at.to_string()),
        told: last.map(|last| last.change.clone()),
        result: last.map(|last| last.result.clone()),
        reason: last.map(|last| last.reason.clone()).filter(|reason| !reason.is_empty()),
    }
}
