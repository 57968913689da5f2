//! What became of each letter, step by step: the answer to "where is my letter?".
//!
//! Entries are sealed with the spool's keys: they name people. They ride in the commit of what
//! they tell.
use crate::domain::address::Address;
use crate::domain::certificate::CertificateFacts;
use crate::domain::decision::SessionId;
use crate::domain::envelope::QueueId;
use crate::domain::status::DeliveryStatus;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::store::Batch;

/// One thing that happened to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// To which recipient; `None` for the whole letter. Never print its `Display` unmasked.
    pub recipient: Option<Address>,
    /// What.
    pub step: Step,
}

/// What can happen to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Taken in, sealed and queued: one durable commit.
    Accepted {
        /// Name of the door.
        door: String,
        /// The connection, at the operators' door.
        session: Option<SessionId>,
        /// The other operator's subject, at the operators' door.
        peer: Option<String>,
        /// Octets in clear.
        size: u64,
        /// Keys it was sealed to.
        keys: u32,
    },
    /// In a mailbox here.
    Delivered,
    /// Waits for another operator.
    Queued {
        /// Of this domain.
        domain: String,
    },
    /// Another operator was tried.
    Attempt(Box<Attempt>),
    /// A report of ours went to the sender: `failed`, `delayed`, `delivered`, `relayed`, `late`.
    Reported(String),
    /// A report about the letter came from elsewhere.
    ReportCame {
        /// RFC 3464 §2.3.3.
        action: String,
        /// RFC 3464 §2.3.4.
        status: String,
        /// Who reports.
        reporter: String,
    },
    /// A receipt came (RFC 8098): its disposition.
    ReceiptCame(String),
    /// The recipient opened it on the page.
    ReadOnPage,
    /// An administrator did something.
    Hands {
        /// What.
        action: String,
        /// Who.
        author: String,
        /// Why.
        reason: String,
    },
    /// It broke a worker and was set aside.
    SetAside(String),
}

/// One attempt at another operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one it was, from 1.
    pub number: u32,
    /// The host, as route or DNS name it.
    pub host: String,
    /// Its network address.
    pub address: String,
    /// Its certificate.
    pub certificate: Option<CertificateFacts>,
    /// TLS version and suite.
    pub tls: Option<String>,
    /// What came of it.
    pub status: DeliveryStatus,
    /// Its code.
    pub enhanced: EnhancedStatus,
    /// What the host, or our own diagnosis, said.
    pub reply: String,
    /// What the host called the letter.
    pub remote_id: Option<String>,
    /// When it is tried again.
    pub again_at: Option<Timestamp>,
}

/// A letter and all that happened to it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The letter.
    pub letter: QueueId,
    /// Its timeline.
    pub entries: Vec<Entry>,
}

/// Adds entries to a batch, so that they are kept exactly when what they tell is.
pub fn ride(_office: &Office, _letter: QueueId, _entries: &[Entry], _batch: &mut Batch) {}

/// Lets a letter be found by its Message-ID (a keyed hash of it).
pub fn index(_office: &Office, _message_id: &str, _letter: QueueId, _batch: &mut Batch) {}

/// Every letter with this Message-ID (with or without angle brackets) or this queue id.
pub async fn trace(_office: &Office, _id: &str) -> Result<Vec<Traced>, Refusal> {
    Ok(Vec::new())
}

/// Adds one entry and does not wait for it: what it tells has happened already.
pub fn note(office: &Office, letter: QueueId, entry: &Entry) {
    let mut batch = Batch::new();
    ride(office, letter, std::slice::from_ref(entry), &mut batch);
    drop(office.store.submit(batch));
}
