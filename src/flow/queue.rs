//! Station 5, queue: when it has committed, the letter is ours to deliver.
use crate::domain::envelope::QueueId;

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
