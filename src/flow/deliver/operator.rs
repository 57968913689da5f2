//! SMTP towards another operator: our own connect, STARTTLS and TLS; lettre speaks inside.
use std::sync::Arc;
use std::time::Duration;
use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::operator::OperatorDn;
use crate::domain::status::EnhancedStatus;

/// Where and how to hand a letter over.
pub struct Handover<'a> {
    /// `host:port` of the next operator.
    pub next_hop: &'a str,
    /// Our name in EHLO.
    pub client_name: &'a str,
    /// Presents our certificate, trusts the operators' anchors only.
    pub tls: Arc<rustls::ClientConfig>,
    /// The server's certificate subject must satisfy this (listed for the recipients' domain).
    pub is_listed: &'a (dyn Fn(&OperatorDn) -> bool + Sync),
    /// The sender.
    pub reverse_path: &'a ReversePath,
    /// What the sender asked of the whole letter (DSN, 8BITMIME, SMTPUTF8).
    pub parameters: &'a MailParameters,
    /// At least one, all in domains of the same operator.
    pub recipients: &'a [Recipient],
    /// The clear content, CRLF line ends.
    pub content: &'a [u8],
    /// For the whole conversation.
    pub timeout: Duration,
}

/// What the next operator said about one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub result: HandoverResult,
    /// Its reply, one line, without anything of the letter; or our own diagnosis.
    pub reply: String,
}

/// Taken, put off or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverResult {
    /// 250 to the final dot.
    Taken,
    /// 4xx, no connection, doubt of any kind: try again.
    PutOff(EnhancedStatus),
    /// 5xx: give up.
    Refused(EnhancedStatus),
}

/// Hands a letter over; one outcome a recipient, in their order. Any doubt (a reply that fits
/// no command, bytes behind the 220 to STARTTLS, a lost connection after the dot) is `PutOff`.
pub async fn hand_over(handover: Handover<'_>) -> Vec<Outcome> { let _ = handover; todo!() }
