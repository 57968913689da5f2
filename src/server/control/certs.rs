//! Every certificate, ours and theirs, and its end.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::flow::office::Office;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Every certificate with its end, nearest first.
    Status {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    _office: &Arc<Office>,
    request: Request,
    _caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Status {} => Err("not built yet".to_owned()),
    }
}
