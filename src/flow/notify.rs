//! Reports (DSN) to senders: our own letters, with their own door.
use crate::domain::address::Address;
use crate::domain::time::Timestamp;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::flow::queue::ClaimedRecipient;

/// The report about recipients whom the letter did not reach, and to whom it goes. `None` when
/// nobody wants one: a null reverse path (RFC 5321 §4.5.5) or NOTIFY without FAILURE.
pub fn failed(
    office: &Office,
    delivery: &Delivery,
    failures: &[(&ClaimedRecipient, &Outcome)],
    now: Timestamp,
) -> Option<(Address, Vec<u8>)> {
    let _ = (office, delivery, failures, now);
    None
}
