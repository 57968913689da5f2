//! A letter's way through the relay, on one screen.
//!
//! Each station takes the parcel the one before it made and makes its own. A parcel has
//! private fields and one maker, so a skipped station does not compile.

pub mod office; // what every station leans on
pub mod mailbox; // where letters lie when they have arrived
pub mod accept;
pub mod authenticate;
pub mod policy;
pub mod seal;
pub mod queue;
pub mod route;
pub mod deliver;
pub mod count;
pub mod notify;

use std::sync::Arc;

use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::status::Refusal;
use accept::Accepted;
use authenticate::Authenticated;
use office::Office;
use policy::Approved;
use queue::Queued;
use seal::Sealing;

/// MAIL: may this caller send as this reverse path, a letter of this size?
pub fn sender(office: &Office, accepted: Accepted, reverse_path: ReversePath, parameters: MailParameters) -> Result<Authenticated, Refusal> {
    let _ = (office, accepted, reverse_path, parameters); todo!()
}

/// RCPT: may the sender write to this recipient?
pub async fn recipient(office: &Office, authenticated: &Authenticated, recipient: Recipient) -> Result<Approved, Refusal> {
    let _ = (office, authenticated, recipient); todo!()
}

/// DATA: room for the clear text in memory, keys for every recipient; then the content may stream in.
pub async fn begin(office: &Arc<Office>, authenticated: Authenticated, recipients: Vec<Approved>) -> Result<Sealing, Refusal> {
    let _ = (office, authenticated, recipients); todo!()
}

/// End of DATA: header rules, seal, one durable commit of queue rows and local mailboxes.
/// The only way to a [`Queued`], and `Queued::reply` is the only way to a 250.
pub async fn finish(office: &Arc<Office>, sealing: Sealing) -> Result<Queued, Refusal> {
    let _ = (office, sealing); todo!()
}

/// Says in ledger, metrics and log that a caller was refused.
pub fn refused(office: &Office, accepted: &Accepted, recipient: Option<&crate::domain::address::Address>, refusal: Refusal) {
    let _ = (office, accepted, recipient, refusal); todo!()
}

/// Delivers what is due until the relay stops.
pub async fn dispatch(office: Arc<Office>, stop: crate::infra::net::Stop) {
    let _ = (office, stop); todo!()
}
