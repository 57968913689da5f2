//! SMTP towards another operator: our own connect, STARTTLS and TLS; lettre speaks inside.
//!
//! lettre's own STARTTLS keeps what a man in the middle appended in clear behind the 220 and
//! takes it for the first reply inside TLS. So everything up to the handshake is done here,
//! byte by byte accounted for, and lettre gets a stream that lets one reply through for each
//! command and not an octet more (see `guarded`).
mod commands; // the text of MAIL and RCPT, and what the server offers
mod guarded; // a stream that keeps commands and replies in step
mod opening; // connect, greeting, STARTTLS, TLS
mod outcomes; // what is known about each recipient
mod pool; // connections that wait for another letter
mod reply; // what an answer means, and what of it may be written down
mod session; // one connection: letters, one after the other

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::address::ReversePath;
use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::operator::OperatorDn;
use crate::domain::status::EnhancedStatus;

use outcomes::Outcomes;
use reply::Trouble;
use session::Session;

pub use pool::Pool;

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

/// With whom a letter was spoken about: for its timeline. Empty where it did not come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The host that was tried last, as the route or the DNS names it, with its port.
    pub host: String,
    /// Its network address.
    pub address: Option<SocketAddr>,
    /// The certificate that it showed.
    pub certificate: Option<CertificateFacts>,
    /// What is known of the certificate's revocation.
    pub revocation: Option<RevocationEvidence>,
    /// TLS version and suite.
    pub tls: Option<String>,
    /// True when it offered DSN (RFC 3461 §4): it makes the reports that were asked for.
    pub offers_dsn: bool,
    /// What it called the letter in its last word: `queued as 4XyZ`.
    pub remote_id: Option<String>,
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

/// Hands a letter over on a connection of its own; one outcome a recipient, in their order. Any
/// doubt (a reply that fits no command, bytes behind the 220 to STARTTLS, a lost connection
/// after the dot) is `PutOff`.
///
/// Cancelling it is safe for the queue: a letter whose dot was not answered is tried again, so
/// it may arrive twice but is never lost (RFC 5321 §4.5.4.1 asks for exactly that).
pub async fn hand_over(handover: Handover<'_>) -> Vec<Outcome> {
    converse(&handover, None).await
}

impl Pool {
    /// Like [`hand_over`], on a connection that waits for another letter to the same next hop
    /// if there is one. The trust list is asked again each time.
    pub async fn hand_over(&self, handover: Handover<'_>) -> Vec<Outcome> {
        converse(&handover, Some(self)).await
    }
}

async fn converse(handover: &Handover<'_>, pool: Option<&Pool>) -> Vec<Outcome> {
    let mut outcomes = Outcomes::of(handover);
    let conversation = send(handover, pool, &mut outcomes);
    match tokio::time::timeout(handover.timeout, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(trouble)) => outcomes.settle(trouble),
        Err(_) => outcomes.settle(Trouble::later(4, 2, "no answer in time")),
    }
    outcomes.close()
}

/// What was said about single recipients is in `outcomes` at every moment, so that a
/// conversation that breaks keeps what was certain.
async fn send(
    handover: &Handover<'_>,
    pool: Option<&Pool>,
    outcomes: &mut Outcomes,
) -> Result<(), Trouble> {
    commands::check_content(handover.content)?;
    if let Some(mut session) = pool.and_then(|pool| pool.take(handover)) {
        let said = session.letter(handover, outcomes).await;
        // A server may close a connection that waits whenever it likes. If that broke before
        // anything was answered, nothing was said, and a new connection may say it all.
        if !(session.is_broken() && outcomes.nothing_heard()) {
            outcomes.conclude(said);
            finish(session, handover, pool).await;
            return Ok(());
        }
    }
    let mut session = Session::open(handover).await?;
    let said = session.letter(handover, outcomes).await;
    outcomes.conclude(said);
    finish(session, handover, pool).await;
    Ok(())
}

/// The outcomes are certain before this: it may be cut short.
async fn finish(session: Session, handover: &Handover<'_>, pool: Option<&Pool>) {
    match pool {
        Some(pool) if session.may_carry_more() => pool.put(handover, session),
        _ => session.quit().await,
    }
}
