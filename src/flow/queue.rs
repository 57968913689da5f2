//! Station 5, queue: when it has committed, the letter is ours to deliver.
use crate::domain::address::Address;
use crate::domain::envelope::QueueId;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;

/// Stub.
pub struct QueueRow {
    /// Stub.
    pub queue_id: QueueId,
    /// Stub.
    pub recipient: Address,
    /// Stub.
    pub next_hop: String,
    /// Stub.
    pub attempts: u32,
    /// Stub.
    pub next_attempt: Timestamp,
    /// Stub.
    pub accepted_at: Timestamp,
    /// Stub.
    pub size: u64,
    /// Stub.
    pub last_reply: String,
}

/// Stub.
pub async fn list(office: &Office) -> Result<Vec<QueueRow>, Refusal> { let _ = office; todo!() }

/// A letter that is durable.
#[derive(Debug)]
pub struct Queued { queue_id: QueueId }

impl Queued {
    /// The text of the reply that takes responsibility (RFC 5321 §6.1), without code:
    /// `Queued as 0192…`. Only a committed letter can say it.
    pub fn reply(&self) -> String { format!("Queued as {}", self.queue_id) }
    /// The letter's correlation id.
    pub fn queue_id(&self) -> QueueId { self.queue_id }
}
