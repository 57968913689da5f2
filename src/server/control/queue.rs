//! Letters that wait for delivery, and operators' hands on them.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::flow::office::Office;
use crate::flow::queue;
use crate::server::control::Caller;
use crate::server::control::mask;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What waits.
    List {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// What waits.
    Waiting(Vec<QueueLine>),
}

/// One recipient of one letter that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLine {
    /// The letter's correlation id.
    pub queue_id: String,
    /// `***@domain` for a patient.
    pub recipient: String,
    /// Where it goes next.
    pub next_hop: String,
    /// Attempts so far.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub next_attempt: String,
    /// RFC 3339, UTC.
    pub accepted_at: String,
    /// Octets of the letter.
    pub size: u64,
    /// What the next operator said last; long numbers masked.
    pub last_reply: String,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    _caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::List {} => waiting(office).await,
    }
}

async fn waiting(office: &Office) -> Result<Answer, String> {
    let rows = queue::list(office).await.map_err(|refusal| format!("the queue: {refusal}"))?;
    let operator = &office.config.operator;
    let lines = rows
        .into_iter()
        .map(|row| QueueLine {
            queue_id: row.queue_id.to_string(),
            recipient: mask::address(operator, &row.recipient),
            next_hop: row.next_hop,
            attempts: row.attempts,
            next_attempt: row.next_attempt.to_string(),
            accepted_at: row.accepted_at.to_string(),
            size: row.size,
            last_reply: mask::text(&row.last_reply),
        })
        .collect();
    Ok(Answer::Waiting(lines))
}
