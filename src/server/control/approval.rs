//! What waits for a second administrator.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::flow::approval;
use crate::flow::approval::Petition;
use crate::flow::office::Office;
use crate::server::control::Caller;
use crate::server::control::life::given;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Which petitions there are.
    List {
        /// Also those that are answered or over.
        all: bool,
    },
    /// Yes: it is done at once, just as it was asked.
    Approve {
        /// Which one.
        id: String,
        /// Why.
        reason: String,
    },
    /// No.
    Refuse {
        /// Which one.
        id: String,
        /// Why.
        reason: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// Petitions, youngest first.
    List(Vec<PetitionLine>),
}

/// One petition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PetitionLine {
    /// Its name.
    pub id: String,
    /// `close`, `delete`, `bulk`, `grant`…
    pub action: String,
    /// What is asked, for people; patients are `***@domain`.
    pub what: String,
    /// SHA-256 over all of it.
    pub digest: String,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339, UTC.
    pub at: String,
    /// Until when somebody may answer, RFC 3339, UTC.
    pub until: String,
    /// `waiting`, `approved`, `done`, `refused`, `over`.
    pub state: String,
    /// Who answered.
    pub answered_by: Option<String>,
    /// Why, or what came of it.
    pub answer: Option<String>,
}

/// Does it. `Err` is a sentence for the administrator.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    let name = |id: &str| {
        uuid::Uuid::parse_str(id).map_err(|_| "a petition's name has 32 digits".to_owned())
    };
    match request {
        Request::List { all } => {
            let now = office.clock.now();
            let mut petitions = approval::list(office).await?;
            petitions.retain(|one| all || one.is_open(now));
            let lines = petitions.iter().map(|one| petition_line(office, one)).collect();
            Ok(Answer::List(lines))
        }
        Request::Approve { id, reason } => {
            let reason = given(&reason)?;
            let done = approval::approve(office, &name(&id)?, caller.person(), &reason).await?;
            Ok(Answer::Done(done))
        }
        Request::Refuse { id, reason } => {
            let reason = given(&reason)?;
            let done = approval::refuse(office, &name(&id)?, caller.person(), &reason).await?;
            Ok(Answer::Done(done))
        }
    }
}

/// A petition for people and programs.
pub(super) fn petition_line(office: &Office, petition: &Petition) -> PetitionLine {
    let reply = petition.state.reply();
    PetitionLine {
        id: petition.id.simple().to_string(),
        action: petition.deed.action().name().to_owned(),
        what: petition.deed.sentence(office),
        digest: petition.digest.clone(),
        author: petition.author.clone(),
        reason: petition.deed.reason().to_owned(),
        at: petition.at.to_string(),
        until: petition.until.to_string(),
        state: petition.state_name(office.clock.now()).to_owned(),
        answered_by: reply.map(|reply| reply.author.clone()),
        answer: reply.map(|reply| reply.text.clone()),
    }
}
