//! SMTP towards another operator: our own connect, STARTTLS and TLS; lettre speaks inside.
//!
//! lettre's own STARTTLS keeps what a man in the middle appended in clear behind the 220 and
//! takes it for the first reply inside TLS. So everything up to the handshake is done here,
//! byte by byte accounted for, and lettre gets a stream that lets one reply through for each
//! command and not an octet more (see [`guarded`]).
mod commands; // the text of MAIL and RCPT, and what the server offers
mod guarded; // a stream that keeps commands and replies in step
mod opening; // connect, greeting, STARTTLS, TLS
mod reply; // what an answer means, and what of it may be written down

use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::ClientId;

use crate::domain::address::ReversePath;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::Recipient;
use crate::domain::operator::OperatorDn;
use crate::domain::status::EnhancedStatus;

use commands::Needs;
use commands::Offers;
use guarded::Gate;
use guarded::Guarded;
use reply::Answer;
use reply::Trouble;

/// Octets of content that are encoded and written at once.
const CHUNK_OCTETS: usize = 65_536;
/// Recipients of one pipelined group: their replies must fit into the socket's buffer while we
/// still write (RFC 2920 §3.1).
const PIPELINED_MAX: usize = 50;
/// How long we wait for the answer to QUIT; nothing depends on it any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

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
///
/// Cancelling it is safe for the queue: a letter whose dot was not answered is tried again, so
/// it may arrive twice but is never lost (RFC 5321 §4.5.4.1 asks for exactly that).
pub async fn hand_over(handover: Handover<'_>) -> Vec<Outcome> {
    let mut outcomes = Outcomes::of(&handover);
    let conversation = converse(&handover, &mut outcomes);
    match tokio::time::timeout(handover.timeout, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(trouble)) => outcomes.settle(trouble),
        Err(_) => outcomes.settle(Trouble::later(4, 2, "no answer in time")),
    }
    outcomes.close()
}

/// The whole conversation. What was said about single recipients is in `outcomes` at every
/// moment, so that a conversation that breaks keeps what was certain.
async fn converse(handover: &Handover<'_>, outcomes: &mut Outcomes) -> Result<(), Trouble> {
    commands::check_content(handover.content)?;
    let stream = opening::open(handover).await?;
    let gate = Arc::new(Gate::default());
    gate.expect(1);
    let stream = Box::new(Guarded::new(stream, Arc::clone(&gate)));
    let name = ClientId::Domain(handover.client_name.to_owned());
    // lettre insists on a greeting, which the guarded stream plays back to it, and says EHLO.
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &name)
        .await
        .map_err(|error| reply::of_connection(&gate, error))?;
    let offers = Offers::read(&gate.last_reply());
    let said = transaction(handover, &offers, &mut connection, &gate, outcomes).await;
    if !matches!(said, Err(Trouble::Doubt(_))) {
        gate.expect(1);
        // Sends QUIT and closes.
        let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.abort()).await;
    }
    said
}

/// MAIL, RCPT, DATA, content (RFC 5321 §3.3).
async fn transaction(
    handover: &Handover<'_>,
    offers: &Offers,
    connection: &mut AsyncSmtpConnection,
    gate: &Gate,
    outcomes: &mut Outcomes,
) -> Result<(), Trouble> {
    let needs = Needs::of(handover);
    needs.check(offers, commands::octets_sent(handover.content))?;
    for (place, recipient) in handover.recipients.iter().enumerate() {
        if recipient.address.needs_smtputf8() && !offers.smtputf8 {
            outcomes.refuse(place, commands::utf8_not_offered());
        }
    }
    let open = outcomes.open();
    if open.is_empty() {
        return Ok(());
    }
    envelope(handover, offers, &needs, connection, gate, outcomes, &open).await?;
    if !outcomes.any_accepted() {
        return Ok(());
    }
    gate.expect(1);
    expect(354, reply::answer(gate, connection.command(Data).await)?)?;
    // lettre ends the content with CRLF dot CRLF; the content's own last CRLF is part of that.
    let content = handover.content.strip_suffix(b"\r\n").unwrap_or(handover.content);
    gate.expect_after_silence();
    let sent = connection.message_iter(content.chunks(CHUNK_OCTETS)).await;
    let answer = expect(250, reply::answer(gate, sent)?)?;
    outcomes.take_accepted(&answer);
    Ok(())
}

/// MAIL and every RCPT that is still open, in one breath where the server allows it.
async fn envelope(
    handover: &Handover<'_>,
    offers: &Offers,
    needs: &Needs,
    connection: &mut AsyncSmtpConnection,
    gate: &Gate,
    outcomes: &mut Outcomes,
    open: &[usize],
) -> Result<(), Trouble> {
    let mail = (None, commands::mail(handover, offers, needs));
    let rcpt = |place: &usize| (Some(*place), commands::rcpt(&handover.recipients[*place], offers));
    let steps: Vec<(Option<usize>, String)> =
        std::iter::once(mail).chain(open.iter().map(rcpt)).collect();
    let at_once = if offers.pipelining { PIPELINED_MAX } else { 1 };
    for group in steps.chunks(at_once) {
        gate.expect(group.len());
        let text: String = group.iter().map(|(_, text)| text.as_str()).collect();
        let mut mail_refused = None;
        for (turn, (place, _)) in group.iter().enumerate() {
            let result = match turn {
                0 => connection.command(&text).await,
                _ => connection.read_response().await,
            };
            let answer = reply::answer(gate, result)?;
            match place {
                None => match expect(250, answer) {
                    Err(doubt @ Trouble::Doubt(_)) => return Err(doubt),
                    said => mail_refused = said.err(),
                },
                Some(place) if mail_refused.is_none() => outcomes.hear(*place, answer)?,
                // RCPT without MAIL: whatever the server says, it is not about the recipient.
                Some(_) => {}
            }
        }
        if let Some(trouble) = mail_refused {
            return Err(trouble);
        }
    }
    Ok(())
}

/// Exactly this code. Another positive one answers some other command: doubt.
fn expect(code: u16, answer: Answer) -> Result<Answer, Trouble> {
    if answer.code == code {
        return Ok(answer);
    }
    Err(answer
        .negative()
        .unwrap_or_else(|| Trouble::doubt(&format!("{code} was expected, not: {}", answer.code))))
}

/// What is known about each recipient so far.
struct Outcomes {
    known: Vec<Option<Outcome>>,
    accepted: Vec<usize>,
    mask: reply::Mask,
}

impl Outcomes {
    fn of(handover: &Handover<'_>) -> Self {
        Self {
            known: vec![None; handover.recipients.len()],
            accepted: Vec::new(),
            mask: reply::Mask::of(handover.reverse_path, handover.recipients),
        }
    }

    /// Recipients about whom nothing is known.
    fn open(&self) -> Vec<usize> {
        (0..self.known.len()).filter(|place| self.known[*place].is_none()).collect()
    }

    fn any_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// The reply to one RCPT. RFC 5321 §3.4: 251 accepts and forwards.
    fn hear(&mut self, place: usize, answer: Answer) -> Result<(), Trouble> {
        match answer.code {
            250 | 251 => {
                self.accepted.push(place);
                Ok(())
            }
            _ => match answer.negative() {
                Some(refusal) => {
                    self.refuse(place, refusal);
                    Ok(())
                }
                None => Err(Trouble::doubt(&format!("{} to RCPT", answer.code))),
            },
        }
    }

    fn refuse(&mut self, place: usize, trouble: Trouble) {
        self.known[place] = Some(self.outcome(&trouble));
    }

    fn take_accepted(&mut self, answer: &Answer) {
        let reply = self.mask.clean(&answer.line());
        for place in std::mem::take(&mut self.accepted) {
            self.known[place] =
                Some(Outcome { result: HandoverResult::Taken, reply: reply.clone() });
        }
    }

    /// Everybody still open meets this fate. After a doubt nobody's reply is certain, for they
    /// may have been answers to other commands.
    fn settle(&mut self, trouble: Trouble) {
        if matches!(trouble, Trouble::Doubt(_)) {
            self.known.fill(None);
        }
        let outcome = self.outcome(&trouble);
        for known in self.known.iter_mut().filter(|known| known.is_none()) {
            *known = Some(outcome.clone());
        }
    }

    fn outcome(&self, trouble: &Trouble) -> Outcome {
        let (result, text) = trouble.verdict();
        Outcome { result, reply: self.mask.clean(text) }
    }

    /// A recipient that was forgotten would be lost mail, so it is tried again instead.
    fn close(mut self) -> Vec<Outcome> {
        self.settle(Trouble::later(5, 0, "the conversation ended too soon"));
        self.known.into_iter().flatten().collect()
    }
}
