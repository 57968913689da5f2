//! One connection to another operator: letters, one after the other.
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::ClientId;
use tokio::time::Instant;

use crate::domain::operator::OperatorDn;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::commands;
use crate::flow::deliver::operator::commands::Needs;
use crate::flow::deliver::operator::commands::Offers;
use crate::flow::deliver::operator::guarded::Gate;
use crate::flow::deliver::operator::guarded::Guarded;
use crate::flow::deliver::operator::opening;
use crate::flow::deliver::operator::outcomes::Outcomes;
use crate::flow::deliver::operator::reply;
use crate::flow::deliver::operator::reply::Answer;
use crate::flow::deliver::operator::reply::Trouble;

/// Octets of content that are encoded and written at once.
const CHUNK_OCTETS: usize = 65_536;
/// Commands of one pipelined group: their replies must fit into the socket's buffer while we
/// still write (RFC 2920 §3.1).
const PIPELINED_MAX: usize = 50;
/// How long we wait for the answer to QUIT; nothing depends on it any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Letters of one connection.
const LETTERS_MAX: usize = 100;
/// Age of a connection: certificates are looked at when it opens.
const AGE_MAX: Duration = Duration::from_secs(300);

/// A connection on which the server is a listed operator.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    gate: Arc<Gate>,
    offers: Offers,
    /// The server's subject.
    pub(super) peer: OperatorDn,
    /// The configuration with which it opened; after a change of certificates it is another.
    pub(super) tls: Arc<rustls::ClientConfig>,
    opened: Instant,
    letters: usize,
    /// The last letter's dot was answered: MAIL may come.
    between_letters: bool,
}

impl Session {
    /// Connects, up to and with the EHLO inside TLS.
    pub(super) async fn open(handover: &Handover<'_>) -> Result<Self, Trouble> {
        let (stream, peer) = opening::open(handover).await?;
        let gate = Arc::new(Gate::default());
        gate.expect(1);
        let stream = Box::new(Guarded::new(stream, Arc::clone(&gate)));
        let name = ClientId::Domain(handover.client_name.to_owned());
        // lettre insists on a greeting, which the guarded stream plays back, and says EHLO.
        let connection = AsyncSmtpConnection::connect_with_transport(stream, &name)
            .await
            .map_err(|error| reply::of_connection(&gate, error))?;
        let offers = Offers::read(&gate.last_reply());
        Ok(Self {
            connection,
            gate,
            offers,
            peer,
            tls: Arc::clone(&handover.tls),
            opened: Instant::now(),
            letters: 0,
            between_letters: true,
        })
    }

    /// True when the server hung up, or nothing that it says counts any more.
    pub(super) fn is_broken(&self) -> bool {
        self.gate.is_closed() || self.gate.doubt().is_some()
    }

    /// True when another letter may follow on this connection.
    pub(super) fn may_carry_more(&self) -> bool {
        self.between_letters
            && !self.is_broken()
            && self.letters < LETTERS_MAX
            && self.opened.elapsed() < AGE_MAX
    }

    /// Says QUIT if the server still listens, and closes.
    pub(super) async fn quit(mut self) {
        if self.is_broken() {
            return;
        }
        self.gate.expect(1);
        // Sends QUIT and closes.
        let _ = tokio::time::timeout(QUIT_TIMEOUT, self.connection.abort()).await;
    }

    /// MAIL, RCPT, DATA, content (RFC 5321 §3.3).
    pub(super) async fn letter(
        &mut self,
        handover: &Handover<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<(), Trouble> {
        let needs = Needs::of(handover);
        needs.check(&self.offers, commands::octets_sent(handover.content))?;
        for (place, recipient) in handover.recipients.iter().enumerate() {
            if recipient.address.needs_smtputf8() && !self.offers.smtputf8 {
                outcomes.refuse(place, commands::utf8_not_offered());
            }
        }
        let open = outcomes.open();
        if open.is_empty() {
            return Ok(());
        }
        self.letters += 1;
        self.between_letters = false;
        self.envelope(handover, &needs, outcomes, &open).await?;
        if outcomes.any_accepted() {
            self.content(handover.content, outcomes).await?;
        }
        Ok(())
    }

    /// MAIL and every RCPT that is still open, in one breath where the server allows it.
    async fn envelope(
        &mut self,
        handover: &Handover<'_>,
        needs: &Needs,
        outcomes: &mut Outcomes,
        open: &[usize],
    ) -> Result<(), Trouble> {
        let mail = (None, commands::mail(handover, &self.offers, needs));
        let rcpt = |place: &usize| {
            (Some(*place), commands::rcpt(&handover.recipients[*place], &self.offers))
        };
        let steps: Vec<(Option<usize>, String)> =
            std::iter::once(mail).chain(open.iter().map(rcpt)).collect();
        let at_once = if self.offers.pipelining { PIPELINED_MAX } else { 1 };
        for group in steps.chunks(at_once) {
            self.gate.expect(group.len());
            let text: String = group.iter().map(|(_, text)| text.as_str()).collect();
            let mut mail_refused = None;
            for (turn, (place, _)) in group.iter().enumerate() {
                let result = match turn {
                    0 => self.connection.command(&text).await,
                    _ => self.connection.read_response().await,
                };
                let answer = reply::answer(&self.gate, result)?;
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

    async fn content(&mut self, content: &[u8], outcomes: &mut Outcomes) -> Result<(), Trouble> {
        self.gate.expect(1);
        let answer = reply::answer(&self.gate, self.connection.command(Data).await)?;
        expect(354, answer)?;
        // lettre ends the content with CRLF dot CRLF; the content's own last CRLF is part of it.
        let content = content.strip_suffix(b"\r\n").unwrap_or(content);
        self.gate.expect_after_silence();
        let sent = self.connection.message_iter(content.chunks(CHUNK_OCTETS)).await;
        let answer = reply::answer(&self.gate, sent)?;
        let said = expect(250, answer);
        // Taken or refused, the letter is over. A strange code may belong to something else.
        self.between_letters = !matches!(said, Err(Trouble::Doubt(_)));
        outcomes.take_accepted(&said?);
        Ok(())
    }
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
