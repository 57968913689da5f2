//! One connection to another operator: letters, one after the other.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::domain::delivery::MailHost;
use crate::domain::limits::REPLY_TIMEOUT;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::commands;
use crate::flow::deliver::operator::commands::Needs;
use crate::flow::deliver::operator::commands::Offers;
use crate::flow::deliver::operator::contact::Contact;
use crate::flow::deliver::operator::contact::Said;
use crate::flow::deliver::operator::guarded::Gate;
use crate::flow::deliver::operator::guarded::Guarded;
use crate::flow::deliver::operator::guarded::Shared;
use crate::flow::deliver::operator::opening;
use crate::flow::deliver::operator::outcomes::Outcomes;
use crate::flow::deliver::operator::peer::Peer;
use crate::flow::deliver::operator::reply;
use crate::flow::deliver::operator::reply::Answer;
use crate::flow::deliver::operator::reply::Trouble;

/// Octets of content that are encoded and written at once.
const PIECE_OCTETS: usize = 65_536;
/// Octets of one BDAT chunk. A usual letter is one chunk; a server that refuses a large one says
/// so after the first.
const CHUNK_OCTETS: usize = 1_048_576;
/// Commands of one pipelined group: their replies must fit into the socket's buffer while we
/// still write (RFC 2920 §3.1).
const PIPELINED_MAX: usize = 50;
/// How long we wait for the answer to QUIT; nothing depends on it any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Letters of one connection.
const LETTERS_MAX: usize = 100;
/// Age of a connection: the handshake proves the server's key, and keys get lost.
const AGE_MAX: Duration = Duration::from_secs(300);

/// A connection on which the server is a listed operator.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    /// The same stream, for chunks.
    stream: Shared,
    gate: Arc<Gate>,
    offers: Offers,
    peer: Peer,
    contact: Contact,
    /// The configuration with which it opened; after a change of certificates it is another.
    pub(super) tls: Arc<rustls::ClientConfig>,
    opened: Instant,
    letters: usize,
    /// The last letter's end was answered: MAIL may come.
    between_letters: bool,
}

impl Session {
    /// Connects, up to and with the EHLO inside TLS.
    pub(super) async fn open(
        handover: &Handover<'_>,
        host: &MailHost,
        address: SocketAddr,
        contact: &mut Contact,
    ) -> Result<Self, Trouble> {
        let (stream, peer) = opening::open(handover, host, address, contact).await?;
        let gate = Arc::new(Gate::default());
        gate.expect(1);
        let stream = Shared::new(Guarded::new(stream, Arc::clone(&gate)));
        let name = ClientId::Domain(handover.client_name.to_owned());
        // lettre insists on a greeting, which the guarded stream plays back, and says EHLO.
        let connection =
            AsyncSmtpConnection::connect_with_transport(Box::new(stream.clone()), &name)
                .await
                .map_err(|error| reply::of_connection(&gate, error))?;
        let offers = Offers::read(&gate.last_reply());
        contact.offers_dsn = offers.dsn;
        contact.said = Said::Ehlo;
        Ok(Self {
            connection,
            stream,
            gate,
            offers,
            peer,
            contact: contact.clone(),
            tls: Arc::clone(&handover.tls),
            opened: Instant::now(),
            letters: 0,
            between_letters: true,
        })
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Before another letter on a connection that waited: what is known of the certificate's
    /// revocation by now. Tells `contact` who is at the other end.
    pub(super) async fn check_again(
        &mut self,
        handover: &Handover<'_>,
        contact: &mut Contact,
    ) -> Result<(), Trouble> {
        *contact = self.contact.clone();
        self.peer.check_again(&handover.demands, contact).await
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

    /// MAIL, RCPT, content (RFC 5321 §3.3). Nothing of the content leaves before a recipient was
    /// accepted, even where the server would let us (RFC 3030 §4.2): a host that wants nobody of
    /// this letter need not have it, and a connection that turns out to be dead can be replaced
    /// without a doubt.
    pub(super) async fn letter(
        &mut self,
        handover: &Handover<'_>,
        outcomes: &mut Outcomes,
        contact: &mut Contact,
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
            let answer = self.content(handover, outcomes).await?;
            contact.remote_id = outcomes.take_accepted(&answer);
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
                let answer = match turn {
                    0 => hear(&self.gate, handover, self.connection.command(&text)).await,
                    _ => hear(&self.gate, handover, self.connection.read_response()).await,
                };
                let answer = match answer {
                    // It said no to MAIL and hung up: that was its answer.
                    Err(Trouble::Lost(..)) if mail_refused.is_some() => break,
                    answer => answer?,
                };
                match place {
                    None => match expect(250, answer) {
                        Err(doubt @ Trouble::Doubt(_)) => return Err(doubt),
                        // Nothing was said about anybody yet: another host may be in better form.
                        Err(Trouble::Later(status, text)) => {
                            mail_refused = Some(Trouble::Elsewhere(status, text));
                        }
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

    /// The whole content, and the server's last word about it.
    async fn content(
        &mut self,
        handover: &Handover<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Answer, Trouble> {
        let answer = if self.offers.chunking {
            self.in_chunks(handover.content, outcomes).await?
        } else {
            self.up_to_a_dot(handover, outcomes).await?
        };
        let said = expect(250, answer);
        // Taken or refused, the letter is over. A strange code may belong to something else.
        self.between_letters = !matches!(said, Err(Trouble::Doubt(_)));
        said
    }

    /// RFC 5321 §4.1.1.4. Answers the reply to the dot.
    async fn up_to_a_dot(
        &mut self,
        handover: &Handover<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Answer, Trouble> {
        self.gate.expect(1);
        let answer = hear(&self.gate, handover, self.connection.command(Data)).await?;
        expect(354, answer)?;
        // lettre ends the content with CRLF dot CRLF; the content's own last CRLF is part of it.
        let content = handover.content;
        let content = content.strip_suffix(b"\r\n").unwrap_or(content);
        self.gate.expect_after_silence();
        outcomes.content_begins();
        let sent = self.connection.message_iter(content.chunks(PIECE_OCTETS)).await;
        reply::answer(&self.gate, sent)
    }

    /// RFC 3030 §2: octets by their number, no dots added, no line end added. One chunk waits for
    /// the reply to the one before it, so that no reply can come for a chunk that is not there
    /// yet. Answers the reply to the last one.
    async fn in_chunks(
        &mut self,
        content: &[u8],
        outcomes: &mut Outcomes,
    ) -> Result<Answer, Trouble> {
        outcomes.content_begins();
        let mut rest = content;
        loop {
            let (chunk, behind) = rest.split_at(rest.len().min(CHUNK_OCTETS));
            rest = behind;
            self.gate.expect_after_silence();
            let command = commands::bdat(chunk.len(), rest.is_empty());
            let written = write(&mut self.stream, command.as_bytes(), chunk).await;
            written.map_err(|error| reply::broken(&self.gate, &error))?;
            let said = self.connection.read_response().await;
            let answer = reply::answer(&self.gate, said)?;
            if rest.is_empty() {
                return Ok(answer);
            }
            // After a refused chunk the transaction is over, and so is this connection.
            expect(250, answer)?;
        }
    }
}

async fn write(stream: &mut Shared, command: &[u8], chunk: &[u8]) -> std::io::Result<()> {
    stream.write_all(command).await?;
    for piece in chunk.chunks(PIECE_OCTETS) {
        stream.write_all(piece).await?;
    }
    stream.flush().await
}

/// The reply to a command, in time.
async fn hear(
    gate: &Gate,
    handover: &Handover<'_>,
    said: impl Future<Output = Result<Response, lettre::transport::smtp::Error>>,
) -> Result<Answer, Trouble> {
    match tokio::time::timeout(handover.share_of_time(REPLY_TIMEOUT), said).await {
        Ok(result) => reply::answer(gate, result),
        Err(_) => {
            gate.give_up();
            Err(Trouble::lost("no reply in time"))
        }
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
