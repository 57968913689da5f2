//! The dialogue of one POP3 connection.
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::flow::login::conversation::Channel;
use crate::flow::login::conversation::Turn;
use crate::flow::login::live::Seat;
use crate::flow::mailbox::MailboxError;
use crate::flow::office::Office;
use crate::flow::reading;
use crate::proto::pop3::Command;
use crate::proto::pop3::Dotting;
use crate::server::pop3::drop::Closed;
use crate::server::pop3::drop::Locks;
use crate::server::pop3::drop::Maildrop;
use crate::server::pop3::wire::Gone;
use crate::server::pop3::wire::PIECE_OCTETS;
use crate::server::pop3::wire::Wire;

/// What a connection offers before anybody logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// In clear: STLS and nothing that shows a password.
    Clear,
    /// Under TLS.
    Tls,
}

/// What becomes of a connection after its session.
pub(super) enum Ending<S> {
    /// It is closed.
    Closed,
    /// TLS shall begin on it.
    StartTls(S),
}

/// One session.
pub(super) struct Session<'a> {
    office: &'a Arc<Office>,
    locks: &'a Arc<Locks>,
    safety: Safety,
    peer: Option<IpAddr>,
    door: &'static str,
    /// After USER, until PASS.
    user: Option<String>,
    maildrop: Option<Maildrop>,
    channel: Channel,
    /// Where the login's session stands in the book.
    seat: Seat,
    errors: usize,
    failed_logins: usize,
}

/// How a session goes on after a command.
enum Way {
    On,
    /// The connection ends; what was said is sent.
    HangUp,
    StartTls,
}

impl<'a> Session<'a> {
    /// A stranger's session.
    pub(super) fn new(
        office: &'a Arc<Office>,
        locks: &'a Arc<Locks>,
        channel: Channel,
        seat: Seat,
        peer: Option<IpAddr>,
        door: &'static str,
    ) -> Self {
        let (errors, failed_logins) = (0, 0);
        let safety = if channel.is_tls() { Safety::Tls } else { Safety::Clear };
        Self {
            office,
            locks,
            safety,
            peer,
            door,
            user: None,
            maildrop: None,
            channel,
            seat,
            errors,
            failed_logins,
        }
    }

    /// Serves until the connection ends or becomes TLS.
    pub(super) async fn run<S>(mut self, mut wire: Wire<S>) -> Ending<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let login_until = sleep(limits::POP3_LOGIN_TIMEOUT).deadline();
        loop {
            let idle_until = sleep(limits::POP3_IDLE_TIMEOUT).deadline();
            let until = if self.maildrop.is_some() { idle_until } else { login_until };
            let line = tokio::select! {
                biased;
                over = self.seat.over() => Err(Gone::Over(over)),
                line = wire.line(until) => line,
            };
            self.seat.touch();
            let way = match line {
                Ok(line) => self.obey(&mut wire, &line).await,
                Err(gone) => Err(gone),
            };
            match way {
                Ok(Way::On) => {}
                Ok(Way::HangUp) => {
                    wire.close(None).await;
                    return Ending::Closed;
                }
                Ok(Way::StartTls) => return Ending::StartTls(wire.into_stream()),
                Err(gone) => {
                    tracing::debug!(?gone, "a POP3 session ends");
                    let word = match gone {
                        // Nothing may follow: it would be taken for the letter's end.
                        Gone::Peer | Gone::CutShort => None,
                        // RFC 1939 §3: an autologout does not enter the UPDATE state.
                        Gone::Silent => Some("-ERR Autologout: nothing was said for too long"),
                        Gone::LongLine => Some("-ERR The line is too long"),
                        Gone::Stopping => Some("-ERR [SYS/TEMP] The server is stopping"),
                        Gone::Over(_) => Some("-ERR [AUTH] This session was ended; log in again"),
                    };
                    wire.close(word).await;
                    return Ending::Closed;
                }
            }
        }
    }

    async fn obey<S>(&mut self, wire: &mut Wire<S>, line: &[u8]) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(bad) => return Ok(self.refuse(wire, bad.0)),
        };
        match command {
            Command::Capa => self.capabilities(wire),
            Command::Quit => return self.quit(wire).await,
            Command::Stls => return self.start_tls(wire).await,
            Command::User(_) | Command::Pass(_) | Command::Auth { .. }
                if self.maildrop.is_some() =>
            {
                return Ok(self.refuse(wire, "you are logged in already"));
            }
            Command::User(_) | Command::Pass(_) | Command::Auth { .. }
                if self.safety == Safety::Clear =>
            {
                wire.say("-ERR [AUTH] Say STLS first: passwords travel under TLS only");
            }
            Command::User(_) | Command::Pass(_)
                if !self.office.logins.takes_passwords(&self.channel) =>
            {
                return Ok(self.refuse(wire, "passwords are not taken here; use AUTH"));
            }
            Command::User(name) => {
                // Whether there is such a mailbox is nobody's business before the password.
                self.user = Some(name);
                wire.say("+OK");
            }
            Command::Pass(password) => match self.user.take() {
                Some(name) => {
                    let logins = &self.office.logins;
                    let login = logins.login(self.visitor(), &name, &password).await;
                    return Ok(self.enter(wire, login).await);
                }
                None => return Ok(self.refuse(wire, "USER comes before PASS")),
            },
            Command::Auth { mechanism, initial } => {
                return self.authenticate(wire, &mechanism, initial).await;
            }
            other => return self.perform(wire, other).await,
        }
        Ok(Way::On)
    }

    fn refuse<S>(&mut self, wire: &mut Wire<S>, why: &str) -> Way
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.errors += 1;
        if self.errors >= limits::POP3_ERRORS_MAX {
            wire.say("-ERR Too many bad commands");
            return Way::HangUp;
        }
        wire.say(&format!("-ERR {why}"));
        Way::On
    }

    /// RFC 2449 §5, §6
    fn capabilities<S>(&self, wire: &mut Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        wire.say("+OK Capabilities follow");
        let logins = &self.office.logins;
        match (self.safety, &self.maildrop) {
            (Safety::Clear, _) => wire.say("STLS"),
            (Safety::Tls, Some(_)) => {}
            (Safety::Tls, None) => {
                if logins.takes_passwords(&self.channel) {
                    wire.say("USER");
                }
                let offered = logins.offered(&self.channel);
                let names: Vec<&str> = offered.iter().map(|mechanism| mechanism.name()).collect();
                if !names.is_empty() {
                    wire.say(&format!("SASL {}", names.join(" ")));
                }
            }
        }
        let always = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"];
        always.iter().for_each(|capability| wire.say(capability));
        wire.say("IMPLEMENTATION Vaguemestre");
        wire.say(".");
    }

    async fn start_tls<S>(&mut self, wire: &mut Wire<S>) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.safety == Safety::Tls {
            return Ok(self.refuse(wire, "TLS is on already"));
        }
        if wire.has_input() {
            // Otherwise what somebody in between slipped in would count as said under TLS.
            wire.say("-ERR Nothing may follow STLS before TLS has begun");
            return Ok(Way::HangUp);
        }
        wire.say("+OK Begin TLS now");
        wire.flush().await?;
        Ok(Way::StartTls)
    }

    /// RFC 5034 §4
    async fn authenticate<S>(
        &mut self,
        wire: &mut Wire<S>,
        mechanism: &str,
        initial: Option<Secret<Vec<u8>>>,
    ) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let office = self.office;
        let begun = Mechanism::parse(mechanism)
            .and_then(|mechanism| office.logins.begin(self.visitor(), &self.channel, mechanism));
        let Some(mut talk) = begun else {
            return Ok(self.refuse(wire, "this mechanism is not offered here"));
        };
        let mut turn = match initial.map(|base64| decoded(base64.expose())) {
            Some(None) => return Ok(self.refuse(wire, "that is no base64")),
            Some(initial) => talk.start(initial).await,
            None => talk.start(None).await,
        };
        loop {
            turn = match turn {
                Turn::Challenge(challenge) => {
                    wire.say(&format!("+ {}", STANDARD.encode(challenge.expose())));
                    let until = sleep(limits::POP3_LOGIN_TIMEOUT).deadline();
                    let line = wire.line(until).await?;
                    // RFC 5034 §4: `*` cancels.
                    if line.as_slice() == b"*" {
                        return Ok(self.refuse(wire, "cancelled"));
                    }
                    match decoded(&line) {
                        Some(response) => talk.respond(response).await,
                        None => return Ok(self.refuse(wire, "that is no base64")),
                    }
                }
                Turn::In(login, _) => return Ok(self.enter(wire, Ok(*login)).await),
                Turn::Refused(refusal) => return Ok(self.enter(wire, Err(refusal)).await),
                Turn::Malformed(why) => return Ok(self.refuse(wire, why)),
            };
        }
    }

    /// What came of a login, by whatever way.
    async fn enter<S>(&mut self, wire: &mut Wire<S>, login: Result<Login, Refusal>) -> Way
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let opened = match login {
            Ok(login) => self.open(login).await,
            Err(refusal) => Err(refusal.into()),
        };
        self.office.metrics.login(self.door, opened.is_ok());
        match opened {
            Ok(maildrop) => {
                let (count, octets) = maildrop.sums();
                wire.say(&format!("+OK {count} messages ({octets} octets)"));
                self.maildrop = Some(maildrop);
                Way::On
            }
            Err(refusal) => {
                tracing::info!(peer = ?self.peer, reason = refusal.reason, "a POP3 login failed");
                self.failed_logins += usize::from(refusal.is_theirs);
                wire.say(refusal.answer);
                let is_last = self.failed_logins >= limits::LOGIN_FAILURES_MAX;
                if is_last { Way::HangUp } else { Way::On }
            }
        }
    }

    fn visitor(&self) -> Visitor {
        Visitor { entrance: Entrance::Pop3, ip: self.peer }
    }

    async fn open(&self, login: Login) -> Result<Maildrop, NoLogin> {
        let mailbox = self.office.mailboxes.open(&login.account).await.map_err(unopened)?;
        let mailbox = mailbox.read_by_owner("pop3", "read");
        self.seat.take(self.visitor(), &login)?;
        let opened = Maildrop::open(self.locks, mailbox).await;
        opened.inspect_err(|_| self.seat.leave()).map_err(|closed| match closed {
            Closed::InUse => NoLogin {
                reason: "in use",
                // RFC 2449 §8.1.1
                answer: "-ERR [IN-USE] Another POP3 session has this inbox open",
                is_theirs: false,
            },
            Closed::Failed(error) => unopened(error),
        })
    }

    /// Commands of the TRANSACTION state.
    async fn perform<S>(&mut self, wire: &mut Wire<S>, command: Command) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(maildrop) = &mut self.maildrop else {
            return Ok(self.refuse(wire, "log in first"));
        };
        let missing = "-ERR No such message";
        match command {
            Command::Stat => {
                let (count, octets) = maildrop.sums();
                wire.say(&format!("+OK {count} {octets}"));
            }
            Command::List(Some(number)) => match maildrop.octets(number) {
                Some(octets) => wire.say(&format!("+OK {number} {octets}")),
                None => wire.say(missing),
            },
            Command::Uidl(Some(number)) => match maildrop.id_of(number) {
                Some(id) => wire.say(&format!("+OK {number} {id}")),
                None => wire.say(missing),
            },
            Command::List(None) => {
                let lines = maildrop.sizes().map(|(number, octets)| format!("{number} {octets}"));
                listing(wire, lines).await?;
            }
            Command::Uidl(None) => {
                let lines = maildrop.ids().map(|(number, id)| format!("{number} {id}"));
                listing(wire, lines).await?;
            }
            Command::Retr(number) => return self.send(wire, number, None).await,
            Command::Top(number, lines) => return self.send(wire, number, Some(lines)).await,
            Command::Dele(number) => match maildrop.delete(number) {
                true => wire.say("+OK It goes at QUIT"),
                false => wire.say(missing),
            },
            Command::Rset => {
                maildrop.reset();
                wire.say("+OK Nothing is deleted");
            }
            // NOOP; the rest were answered before.
            _ => wire.say("+OK"),
        }
        Ok(Way::On)
    }

    async fn send<S>(
        &mut self,
        wire: &mut Wire<S>,
        number: u32,
        body_lines: Option<u32>,
    ) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(maildrop) = &mut self.maildrop else { return Ok(Way::On) };
        match maildrop.read(number, &self.office.reading_memory).await {
            Ok(Some((blob, mut letter))) => {
                wire.say("+OK The letter follows");
                let (mut at, end) = (0, letter.octets());
                let room = usize::try_from(end).unwrap_or(PIECE_OCTETS).min(PIECE_OCTETS);
                // Never grows: that would leave copies of the letter behind.
                let mut travelling = Zeroizing::new(Vec::with_capacity(3 * room + 5));
                let mut dotting = Dotting::new(body_lines);
                let mut wants_more = true;
                while wants_more && at < end {
                    let piece = letter.read(at..end).await.map_err(|error| {
                        reading::cut_short(self.office, "pop3", blob, &error);
                        Gone::CutShort
                    })?;
                    at += piece.len() as u64;
                    let mut pieces = piece.chunks(PIECE_OCTETS);
                    while let Some(octets) = pieces.next().filter(|_| wants_more) {
                        wants_more = dotting.push(octets, &mut travelling);
                        if travelling.len() >= PIECE_OCTETS {
                            wire.send(&travelling).await?;
                            travelling.clear();
                        }
                    }
                }
                dotting.finish(&mut travelling);
                wire.send(&travelling).await?;
            }
            Ok(None) | Err(MailboxError::NoSuchMessage) => wire.say("-ERR No such message"),
            Err(MailboxError::Temporary(Refusal::Busy)) => {
                wire.say("-ERR [SYS/TEMP] Too many letters are being read; try later");
            }
            Err(MailboxError::Temporary(_)) => wire.say("-ERR [SYS/TEMP] Try later"),
            Err(error) => {
                tracing::warn!(%error, "a letter cannot be opened");
                wire.say("-ERR [SYS/PERM] This letter cannot be opened; the others can");
            }
        }
        Ok(Way::On)
    }

    async fn quit<S>(&mut self, wire: &mut Wire<S>) -> Result<Way, Gone>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let updated = match self.maildrop.take() {
            Some(maildrop) => maildrop.update().await,
            None => Ok(()),
        };
        match updated {
            Ok(()) => wire.say("+OK Until next time"),
            Err(error) => {
                tracing::warn!(%error, "a POP3 session could not delete");
                // RFC 1939 §6: the client must not believe that they are gone.
                wire.say("-ERR [SYS/TEMP] Some deleted messages were not removed");
            }
        }
        Ok(Way::HangUp)
    }
}

/// Lines that end with a dot (RFC 1939 §3); sent in pieces, because they may be many.
async fn listing<S>(wire: &mut Wire<S>, lines: impl Iterator<Item = String>) -> Result<(), Gone>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.say("+OK");
    for (place, line) in lines.enumerate() {
        wire.say(&line);
        if place % 1_000 == 999 {
            wire.flush().await?;
        }
    }
    wire.say(".");
    Ok(())
}

fn decoded(base64: &[u8]) -> Option<Secret<Vec<u8>>> {
    STANDARD.decode(base64).ok().map(Secret::new)
}

/// Why a login opens nothing.
struct NoLogin {
    reason: &'static str,
    answer: &'static str,
    /// It counts against the client.
    is_theirs: bool,
}

impl From<Refusal> for NoLogin {
    fn from(refusal: Refusal) -> Self {
        let (answer, is_theirs) = match refusal {
            // RFC 3206 §4: the client may ask for the password again.
            Refusal::AuthFailed | Refusal::MailboxSuspended => {
                ("-ERR [AUTH] Wrong name or password", true)
            }
            Refusal::TooManyFromPeer => {
                ("-ERR [LOGIN-DELAY] Too many failed logins from your address; try later", true)
            }
            Refusal::DirectoryAway => {
                ("-ERR [SYS/TEMP] The directory does not answer; try later", false)
            }
            _ => ("-ERR [SYS/TEMP] Temporary failure; try later", false),
        };
        Self { reason: refusal.name(), answer, is_theirs }
    }
}

fn unopened(error: MailboxError) -> NoLogin {
    tracing::error!(%error, "a mailbox does not open");
    match error {
        MailboxError::Temporary(refusal) => refusal.into(),
        _ => Refusal::DependencyFailed.into(),
    }
}
