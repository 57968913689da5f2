//! SMTP towards another operator: our own connect, STARTTLS and TLS; lettre speaks inside.
//!
//! lettre's own STARTTLS keeps what a man in the middle appended in clear behind the 220 and
//! takes it for the first reply inside TLS. So everything up to the handshake is done here,
//! byte by byte accounted for, and lettre gets a stream that lets one reply through for each
//! command and not an octet more (see `guarded`).
mod attempt; // host after host, until one has the letter
mod commands; // the text of MAIL and RCPT, and what the server offers
mod contact; // with whom we spoke
mod guarded; // a stream that keeps commands and replies in step
mod opening; // connect, greeting, STARTTLS, TLS
mod outcomes; // what is known about each recipient
mod peer; // whether the host may have the letter
mod pool; // connections that wait for another letter
mod reply; // what an answer means, and what of it may be written down
mod session; // one connection: letters, one after the other

use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::ReversePath;
use crate::domain::delivery::MailHost;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::status::EnhancedStatus;

use attempt::Attempt;

pub use contact::Contact;
pub use contact::Met;
pub use peer::Demands;
pub use pool::Pool;

/// Where and how to hand a letter over.
pub struct Handover<'a> {
    /// The next operator's hosts, best first.
    pub hosts: &'a [MailHost],
    /// Our name in EHLO.
    pub client_name: &'a str,
    /// Presents our certificate, trusts the operators' anchors only.
    pub tls: Arc<rustls::ClientConfig>,
    /// What a host must show.
    pub demands: Demands<'a>,
    /// The sender.
    pub reverse_path: &'a ReversePath,
    /// What the sender asked of the whole letter (DSN, 8BITMIME, SMTPUTF8).
    pub parameters: &'a MailParameters,
    /// At least one, all in domains of the same operator.
    pub recipients: &'a [Recipient],
    /// The clear content, CRLF line ends.
    pub content: &'a [u8],
    /// For all hosts together.
    pub timeout: Duration,
}

/// What became of a letter, and with whom it was spoken about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// One a recipient, in their order.
    pub outcomes: Vec<Outcome>,
    /// The host that was spoken to last.
    pub contact: Contact,
    /// Every host that was called and of which something is known now.
    pub met: Vec<Met>,
}

/// What the next operator said about one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub result: HandoverResult,
    /// Its reply, one line, without anything of the letter; or our own diagnosis, with every host
    /// that was tried.
    pub reply: String,
}

/// Taken, put off or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverResult {
    /// 250 to the end of the content.
    Taken,
    /// 4xx, no connection, doubt of any kind: try again.
    PutOff(EnhancedStatus),
    /// 5xx: give up.
    Refused(EnhancedStatus),
}

/// Hands a letter over on a connection of its own; one outcome a recipient, in their order. Any
/// doubt (a reply that fits no command, bytes behind the 220 to STARTTLS, a lost connection
/// after the content) is `PutOff`.
///
/// Cancelling it is safe for the queue: a letter whose end was not answered is tried again, so
/// it may arrive twice but is never lost (RFC 5321 §4.5.4.1 asks for exactly that).
pub async fn hand_over(handover: Handover<'_>) -> HandedOver {
    Attempt::new(&handover, None).run().await
}

impl Pool {
    /// Like [`hand_over`], on a connection that waits for another letter to the same host if
    /// there is one. Trust list and certificate are asked again each time.
    pub async fn hand_over(&self, handover: Handover<'_>) -> HandedOver {
        Attempt::new(&handover, Some(self)).run().await
    }
}

impl Handover<'_> {
    /// A step's time, but never more than a quarter of the whole: a host that is silent leaves
    /// time for the next one.
    fn share_of_time(&self, step: Duration) -> Duration {
        step.min(self.timeout / 4)
    }
}
