//! One conversation: does what the session says, and gives the flow's answers back to it.
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time;
use tokio::time::Instant;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::address::ReversePath;
use crate::domain::decision::SessionId;
use crate::domain::envelope::MailParameters;
use crate::domain::envelope::RcptParameters;
use crate::domain::envelope::Recipient;
use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Mechanism;
use crate::domain::status::Refusal;
use crate::flow::accept::Caller;
use crate::flow::accept::Credentials;
use crate::flow::judge::Grounds;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::flow::login::conversation;
use crate::flow::login::conversation::Channel;
use crate::flow::login::live::Seat;
use crate::infra::net::Stop;
use crate::proto::smtp::auth;
use crate::proto::smtp::command::ForwardPath;
use crate::proto::smtp::command::InitialResponse;
use crate::proto::smtp::data::ContentReader;
use crate::proto::smtp::line::Expecting;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;
use crate::proto::smtp::session;
use crate::proto::smtp::session::Authenticating;
use crate::proto::smtp::session::Client;
use crate::proto::smtp::session::Parcels;
use crate::proto::smtp::session::Session;
use crate::proto::smtp::session::Turn;
use crate::proto::smtp::session::Upgrading;
use crate::server::smtp::SmtpDoor;
use crate::server::smtp::desk;
use crate::server::smtp::desk::Desk;
use crate::server::smtp::wire::Lost;
use crate::server::smtp::wire::Wire;

/// What the session machine carries for us.
pub(super) struct Talk<D>(std::marker::PhantomData<D>);

impl<D: Desk> Parcels for Talk<D> {
    type Voucher = Credentials;
    type Sender = D::Sender;
    type Recipient = D::Recipient;
    type Content = Incoming<D>;
}

/// A letter that streams in, and the reader that watches over it.
pub(super) struct Incoming<D: Desk> {
    reader: ContentReader,
    content: D::Content,
}

/// Who called, at which door.
pub(super) struct Visit<D> {
    pub(super) desk: Arc<D>,
    pub(super) door: SmtpDoor,
    pub(super) ip: IpAddr,
    pub(super) session: SessionId,
    pub(super) arrived: Instant,
    /// TLS version and suite.
    pub(super) tls: Option<String>,
    /// What the peer showed in the handshake, leaf first. Nobody has judged it there.
    pub(super) shown: Vec<CertificateDer<'static>>,
    /// What the connection says for logins.
    pub(super) channel: Channel,
    /// Where the login's session stands in the book.
    pub(super) seat: Seat,
    pub(super) stop: Stop,
    pub(super) heard: Mutex<Heard>,
}

/// What has come up in a conversation at the operators' door, for the record.
#[derive(Default)]
pub(super) struct Heard {
    /// What is known of the peer, as of the last look.
    grounds: Option<Arc<Grounds>>,
    /// What the peer called itself when it was looked at.
    client: Option<Client>,
    /// Its certificate vouches for it.
    is_welcome: bool,
    /// For which domain the open letter speaks.
    mail_from: Option<Domain>,
    /// It is on record that this caller goes on in clear.
    in_clear: bool,
}

impl<D: Desk> Visit<D> {
    /// Talks until the last word is said, or until the client begins the TLS handshake.
    pub(super) async fn converse<S>(
        &self,
        wire: &mut Wire<S>,
        mut session: Session<Talk<D>>,
    ) -> Result<Option<Upgrading<Talk<D>>>, Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        loop {
            let between_letters = session.is_between_letters();
            if between_letters && self.stop.is_stopping() {
                return Err(Lost::Stopping);
            }
            if between_letters {
                self.heard().mail_from = None;
            }
            let limits = self.desk.limits();
            let give_up = self.give_up(between_letters);
            let line = wire.line(Expecting::Command, limits.line, give_up).await?;
            self.seat.touch();
            let mut turn = session.line(line);
            session = loop {
                turn = match turn {
                    Turn::Say(session, reply) => {
                        let reply = self.signed(reply);
                        wire.say(&reply);
                        if reply.closes() {
                            return Ok(None);
                        }
                        break session;
                    }
                    Turn::Refuse(session, refusal, recipient) => {
                        self.record(&session, recipient.as_ref(), refusal);
                        Turn::Say(session, refusal.into())
                    }
                    Turn::Close(reply) => {
                        self.record_close(&reply);
                        wire.say(&self.signed(reply));
                        return Ok(None);
                    }
                    Turn::Upgrade(upgrading, _) if !wire.arrived().is_empty() => {
                        tracing::warn!("octets were pipelined behind STARTTLS");
                        upgrading.injected()
                    }
                    Turn::Upgrade(upgrading, reply) => {
                        wire.say(&reply);
                        wire.flush().await?;
                        return Ok(Some(upgrading));
                    }
                    Turn::AskPeer(introducing) => {
                        self.heard().client = Some(introducing.client().clone());
                        let verdict = self.judge_peer().await;
                        self.heard().is_welcome = verdict.is_ok();
                        introducing.answer(verdict)
                    }
                    Turn::Authenticate(authenticating, mechanism, response) => {
                        let exchange = (mechanism, response);
                        self.authenticate(wire, authenticating, exchange).await?
                    }
                    Turn::AskSender(sender, reverse_path, parameters) => {
                        let (client, voucher) = sender.caller();
                        let mut caller = self.caller(Some(client), voucher, parameters.smtputf8);
                        if self.door == SmtpDoor::Mx {
                            // The list, the clock and the CRLs have gone on since EHLO.
                            caller.credentials = Credentials::Operator(self.look().await);
                            let domain = reverse_path.address().map(Address::domain);
                            self.heard().mail_from = domain.cloned();
                        }
                        let verdict = self.sender(caller, reverse_path, parameters).await;
                        sender.answer(verdict)
                    }
                    Turn::AskRecipient(recipient, to, parameters) => {
                        let verdict = self.recipient(recipient.sender(), to, parameters).await;
                        recipient.answer(verdict)
                    }
                    Turn::Begin(beginning, sender, recipients) => {
                        let octets_max = limits.message_octets;
                        let reader = match beginning.is_chunked() {
                            true => ContentReader::counted(octets_max),
                            false => ContentReader::dotted(octets_max),
                        };
                        let content = self.desk.begin(sender, recipients).await;
                        beginning.answer(content.map(|content| Incoming { reader, content }))
                    }
                    Turn::ReadContent(content, incoming, reply) => {
                        wire.say(&reply);
                        let incoming = self.read_content(wire, incoming).await?;
                        self.finish(content, incoming).await
                    }
                    Turn::ReadChunk(chunk, incoming) => {
                        let octets = chunk.octets();
                        chunk.arrived(self.read_chunk(wire, octets, incoming).await?)
                    }
                    Turn::ReadLastChunk(content, octets, incoming) => {
                        let incoming = self.read_chunk(wire, octets, incoming).await?;
                        self.finish(content, incoming).await
                    }
                    Turn::Discard(session, octets, reply) => {
                        let nowhere = Err(Refusal::ContentMalformed);
                        let _forgotten = self.read_chunk(wire, octets, nowhere).await?;
                        Turn::Say(session, reply)
                    }
                };
            };
        }
    }

    /// Resolves when the relay stops: at once between letters, after a moment within one.
    async fn give_up(&self, between_letters: bool) -> Lost {
        self.stop.clone().stopped().await;
        if !between_letters {
            time::sleep(limits::SMTP_STOP_GRACE / 2).await;
        }
        Lost::Stopping
    }

    /// Resolves when somebody stands at the operators' door for whom no certificate vouches after
    /// the time that an honest relay needs for it. A few strangers who wait as long as commands
    /// may would fill the door.
    pub(super) async fn waited_too_long(&self) {
        if self.door == SmtpDoor::Mx {
            time::sleep_until(self.arrived + limits::SMTP_STRANGER_LIFETIME).await;
            let (is_welcome, is_seen) = {
                let heard = self.heard();
                (heard.is_welcome, heard.grounds.is_some())
            };
            if !is_welcome {
                if !is_seen {
                    let trouble = "the caller showed none in time".to_owned();
                    let refusal = Refusal::PeerCertificateMissing;
                    self.desk.turned_away(self.session, self.ip, refusal, trouble);
                }
                return;
            }
        }
        std::future::pending().await
    }

    async fn judge_peer(&self) -> Result<Credentials, Refusal> {
        let grounds = self.look().await;
        self.desk.peer(&grounds)?;
        Ok(Credentials::Operator(grounds))
    }

    /// What is known of the peer now.
    async fn look(&self) -> Arc<Grounds> {
        let before = self.heard().grounds.clone();
        let grounds = self.desk.look(self.session, &self.shown, before.as_ref()).await;
        self.heard().grounds = Some(Arc::clone(&grounds));
        grounds
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the operators' door a refusal names its session, so that the other side can ask.
    fn signed(&self, reply: Reply) -> Reply {
        if self.door != SmtpDoor::Mx {
            return reply;
        }
        let in_clear = self.tls.is_none() && reply.code() == 530;
        if in_clear && !std::mem::replace(&mut self.heard().in_clear, true) {
            let trouble = "the caller went on without STARTTLS".to_owned();
            let refusal = Refusal::PeerCertificateMissing;
            self.desk.turned_away(self.session, self.ip, refusal, trouble);
        }
        reply.in_session(self.session)
    }

    /// What AUTH may name on this connection.
    pub(super) fn offered(&self) -> Vec<Mechanism> {
        self.desk.logins().offered(&self.channel)
    }

    /// Carries an AUTH exchange on to its end.
    async fn authenticate<S>(
        &self,
        wire: &mut Wire<S>,
        authenticating: Authenticating<Talk<D>>,
        exchange: (Mechanism, Option<InitialResponse>),
    ) -> Result<Turn<Talk<D>>, Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let verdict = self.exchange(wire, exchange).await?;
        wire.wipe_used();
        let login = match verdict {
            Ok(login) => login.and_then(|login| {
                let visitor = self.visitor();
                self.seat.take(visitor, &login).map(|()| Credentials::Login(login.account))
            }),
            Err(reply) => return Ok(authenticating.failed(reply)),
        };
        self.desk.login_counted(self.door, login.is_ok());
        if let Err(refusal) = login {
            let caller = self.caller(None, None, false);
            self.desk.refused(&desk::accept_at(self.door, caller), None, refusal);
        }
        Ok(authenticating.answer(login))
    }

    /// A login; or the reply to an exchange that came to nothing.
    async fn exchange<S>(
        &self,
        wire: &mut Wire<S>,
        (mechanism, initial): (Mechanism, Option<InitialResponse>),
    ) -> Result<Result<Result<Login, Refusal>, Reply>, Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let logins = self.desk.logins();
        let Some(mut talk) = logins.begin(self.visitor(), &self.channel, mechanism) else {
            return Ok(Err(reply::MECHANISM_UNKNOWN));
        };
        let mut turn = match initial.map(|response| auth::initial(&response)).transpose() {
            Ok(initial) => talk.start(initial).await,
            Err(reply) => return Ok(Err(reply)),
        };
        loop {
            turn = match turn {
                conversation::Turn::Challenge(challenge) => {
                    wire.say(&auth::challenge(&challenge));
                    let line = self.desk.limits().line;
                    let give_up = self.give_up(true);
                    match auth::answer(wire.line(Expecting::AuthResponse, line, give_up).await?) {
                        Ok(response) => talk.respond(response).await,
                        Err(reply) => return Ok(Err(reply)),
                    }
                }
                conversation::Turn::In(login, _) => return Ok(Ok(Ok(*login))),
                conversation::Turn::Refused(refusal) => return Ok(Ok(Err(refusal))),
                conversation::Turn::Malformed(why) => {
                    tracing::debug!(mechanism = mechanism.name(), why, "a malformed response");
                    return Ok(Err(reply::BAD_CREDENTIALS));
                }
            };
        }
    }

    fn visitor(&self) -> Visitor {
        Visitor { entrance: Entrance::Submission, ip: Some(self.ip) }
    }

    async fn sender(
        &self,
        caller: Caller,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Result<D::Sender, Refusal> {
        // Made anew for each letter, so that no decision outlives its letter.
        let accepted = desk::accept_at(self.door, caller);
        self.desk.sender(accepted, reverse_path, parameters).await
    }

    async fn recipient(
        &self,
        sender: &D::Sender,
        to: ForwardPath,
        parameters: RcptParameters,
    ) -> Result<D::Recipient, (Refusal, Address)> {
        let address = match to {
            ForwardPath::Mailbox(address) => address,
            ForwardPath::Postmaster => self.desk.postmaster(),
        };
        let recipient = Recipient { address: address.clone(), parameters };
        self.desk.recipient(sender, recipient).await.map_err(|refusal| (refusal, address))
    }

    /// Reads up to the line of one dot. After a refusal nothing is kept, but the end is awaited
    /// all the same: what is left of the letter must not be read as commands.
    async fn read_content<S>(
        &self,
        wire: &mut Wire<S>,
        incoming: Incoming<D>,
    ) -> Result<Result<Incoming<D>, Refusal>, Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Incoming { mut reader, content } = incoming;
        let mut content = Some(content);
        let read = async {
            loop {
                if wire.arrived().is_empty() {
                    wire.more().await?;
                }
                let taken = reader.take(wire.arrived());
                let (used, ended) = (taken.used, taken.ended);
                self.write(&mut content, taken.content, &mut reader);
                wire.used(used);
                if ended {
                    return Ok(());
                }
                if reader.is_out_of_bounds() {
                    return Err(Lost::TooMuch);
                }
            }
        };
        in_data_time(self.desk.limits().data, read).await?;
        Ok(kept(reader, content))
    }

    /// Reads a chunk of so many octets into the content, or into nothing.
    async fn read_chunk<S>(
        &self,
        wire: &mut Wire<S>,
        octets: u64,
        incoming: Result<Incoming<D>, Refusal>,
    ) -> Result<Result<Incoming<D>, Refusal>, Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut reader, mut content) = match incoming {
            Ok(Incoming { reader, content }) => (reader, Some(content)),
            Err(refusal) => {
                let mut reader = ContentReader::counted(self.desk.limits().message_octets);
                reader.refuse(refusal);
                (reader, None)
            }
        };
        let read = async {
            let mut left = octets;
            while left > 0 {
                if wire.arrived().is_empty() {
                    wire.more().await?;
                }
                let arrived = wire.arrived();
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(arrived.len());
                let taken = reader.take(&arrived[..here]);
                let used = taken.used;
                self.write(&mut content, taken.content, &mut reader);
                wire.used(used);
                left -= used as u64;
            }
            if reader.is_out_of_bounds() { Err(Lost::TooMuch) } else { Ok(()) }
        };
        in_data_time(self.desk.limits().data, read).await?;
        Ok(kept(reader, content))
    }

    /// Hands octets to the flow; drops the letter, and the memory that it holds, once refused.
    fn write(&self, content: &mut Option<D::Content>, octets: &[u8], reader: &mut ContentReader) {
        if let Some(letter) = content
            && !octets.is_empty()
            && let Err(refusal) = self.desk.write(letter, octets)
        {
            reader.refuse(refusal);
        }
        if reader.refusal().is_some() {
            *content = None;
        }
    }

    /// The content is whole: its letter becomes durable, or not.
    async fn finish(
        &self,
        content: session::Content<Talk<D>>,
        incoming: Result<Incoming<D>, Refusal>,
    ) -> Turn<Talk<D>> {
        let verdict = async {
            let Incoming { reader, content } = incoming?;
            reader.finish()?;
            self.desk.finish(content).await
        };
        let verdict = verdict.await;
        content.ended(verdict.map(|said| Reply::queued(&said)))
    }

    fn record(&self, session: &Session<Talk<D>>, recipient: Option<&Address>, refusal: Refusal) {
        let (client, voucher) = session.caller();
        let accepted = desk::accept_at(self.door, self.caller(client, voucher, false));
        self.desk.refused(&accepted, recipient, refusal);
        let (grounds, mail_from) = {
            let heard = self.heard();
            (heard.grounds.clone(), heard.mail_from.clone())
        };
        if let Some(grounds) = grounds {
            self.desk.explained(&accepted, &grounds, mail_from, refusal);
        }
    }

    /// The operators' door hangs up on somebody: they may ask why, as after any refusal.
    fn record_close(&self, reply: &Reply) {
        let refusal = match reply.code() {
            221 => return,
            421 => Refusal::TooManyFromPeer,
            552 => Refusal::MessageTooLarge,
            _ => Refusal::ContentMalformed,
        };
        if self.door != SmtpDoor::Mx {
            return;
        }
        let (grounds, client, mail_from) = {
            let heard = self.heard();
            (heard.grounds.clone(), heard.client.clone(), heard.mail_from.clone())
        };
        let Some(grounds) = grounds else {
            let trouble = reply.text().to_owned();
            self.desk.turned_away(self.session, self.ip, refusal, trouble);
            return;
        };
        let caller = self.caller(client.as_ref(), None, false);
        let accepted = desk::accept_at(self.door, caller);
        self.desk.explained(&accepted, &grounds, mail_from, refusal);
    }

    fn caller(
        &self,
        client: Option<&Client>,
        voucher: Option<&Credentials>,
        smtputf8: bool,
    ) -> Caller {
        let extended = client.is_some_and(|client| client.extended);
        Caller {
            ip: Some(self.ip),
            client_name: client.map_or_else(String::new, |client| client.name.as_str().to_owned()),
            protocol: self.protocol(extended, smtputf8),
            tls: self.tls.clone(),
            credentials: voucher.cloned().unwrap_or(Credentials::None),
        }
    }

    /// The `with` of the Received field (RFC 3848 §3, RFC 6531 §4.3). Who may send has TLS.
    fn protocol(&self, extended: bool, smtputf8: bool) -> &'static str {
        match (self.door, extended, smtputf8) {
            (_, false, _) => "SMTP",
            (SmtpDoor::Mx, true, false) => "ESMTPS",
            (SmtpDoor::Mx, true, true) => "UTF8SMTPS",
            (_, true, false) => "ESMTPSA",
            (_, true, true) => "UTF8SMTPSA",
        }
    }
}

/// The letter, if it is still welcome.
fn kept<D: Desk>(
    reader: ContentReader,
    content: Option<D::Content>,
) -> Result<Incoming<D>, Refusal> {
    match (reader.refusal(), content) {
        (None, Some(content)) => Ok(Incoming { reader, content }),
        (refusal, _) => Err(refusal.unwrap_or(Refusal::ContentMalformed)),
    }
}

async fn in_data_time(
    patience: std::time::Duration,
    read: impl Future<Output = Result<(), Lost>>,
) -> Result<(), Lost> {
    time::timeout(patience, read).await.unwrap_or(Err(Lost::TimedOut))
}
