//! The dialogue (RFC 5804 §2).
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::limits;
use crate::domain::login::Entrance;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::filter;
use crate::flow::filter::ScriptError;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::flow::login::conversation::Channel;
use crate::flow::login::conversation::Turn;
use crate::flow::login::live::Seat;
use crate::flow::mailbox::MailboxError;
use crate::flow::mailbox::OpenMailbox;
use crate::flow::office::Office;
use crate::infra::directory::Account;
use crate::proto::managesieve::BadCommand;
use crate::proto::managesieve::Command;
use crate::proto::managesieve::Step;
use crate::proto::managesieve::Word;
use crate::proto::managesieve::write;
use crate::proto::managesieve::write::Ending as Said;
use crate::proto::sieve;
use crate::server::managesieve::DOOR;
use crate::server::managesieve::line::Gone;
use crate::server::managesieve::line::Line;
use crate::server::managesieve::line::Stream;

/// What becomes of a connection after its session.
pub(super) enum Ending<S> {
    /// It is closed.
    Closed,
    /// TLS shall begin on it.
    StartTls(S),
}

/// One session.
pub(super) struct Session<'o, S> {
    office: &'o Arc<Office>,
    line: Line<S>,
    channel: Channel,
    /// Where the login's session stands in the book.
    seat: Seat,
    peer: IpAddr,
    owner: Option<Owner>,
    bad_commands: usize,
    failed_logins: usize,
}

/// Who has logged in.
struct Owner {
    account: Account,
    mailbox: OpenMailbox,
}

/// How a session goes on after a command.
enum Way {
    On,
    HangUp,
    StartTls,
}

/// An answer to a command.
struct Answer {
    said: Said,
    code: Option<String>,
    text: String,
    is_bad: bool,
}

impl Answer {
    fn ok(text: impl Into<String>) -> Self {
        Self { said: Said::Ok, code: None, text: text.into(), is_bad: false }
    }

    fn no(text: impl Into<String>) -> Self {
        Self { said: Said::No, code: None, text: text.into(), is_bad: false }
    }

    /// The client said something that makes no sense.
    fn bad(text: impl Into<String>) -> Self {
        Self { is_bad: true, ..Self::no(text) }
    }

    fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }
}

impl<'o, S: Stream> Session<'o, S> {
    /// A stranger's session. Under TLS, everything that was said before it is forgotten.
    pub(super) fn new(
        office: &'o Arc<Office>,
        line: Line<S>,
        peer: IpAddr,
        channel: Channel,
        seat: Seat,
    ) -> Self {
        let (owner, bad_commands, failed_logins) = (None, 0, 0);
        let mut session =
            Self { office, line, channel, seat, peer, owner, bad_commands, failed_logins };
        // RFC 5804 §1.7, §2.2: at the beginning, and again under TLS.
        session.capabilities();
        session.say(&Answer::ok("Vaguemestre is ready"));
        session
    }

    /// Serves until the connection ends or becomes TLS.
    pub(super) async fn run(mut self) -> Ending<S> {
        loop {
            let step = tokio::select! {
                biased;
                over = self.seat.over() => Err(Gone::Over(over)),
                step = self.line.step() => step,
            };
            self.seat.touch();
            let way = match step {
                Ok(step) => self.take(step).await,
                Err(gone) => Err(gone),
            };
            match way {
                Ok(Way::On) => {}
                Ok(Way::HangUp) => {
                    self.line.hang_up().await;
                    return Ending::Closed;
                }
                Ok(Way::StartTls) => return Ending::StartTls(self.line.into_stream()),
                Err(gone) => {
                    tracing::debug!(?gone, "a ManageSieve session ends");
                    self.part(gone).await;
                    return Ending::Closed;
                }
            }
        }
    }

    async fn part(&mut self, gone: Gone) {
        match gone {
            Gone::Peer => return,
            Gone::Slow => self.bye(None, "Nothing was said for too long"),
            Gone::Stopping => self.bye(Some("TRYLATER"), "The server is stopping"),
            Gone::Over(_) => self.bye(None, "This session was ended; log in again"),
        }
        self.line.hang_up().await;
    }

    fn bye(&mut self, code: Option<&str>, why: &str) {
        write::answer(self.line.out(), Said::Bye, code, why);
    }

    fn say(&mut self, answer: &Answer) {
        let code = answer.code.as_deref();
        write::answer(self.line.out(), answer.said, code, &answer.text);
    }

    async fn take(&mut self, step: Step) -> Result<Way, Gone> {
        let words = match step {
            Step::Words(words) => words,
            Step::Bad(why) => return Ok(self.finish(&Answer::bad(why))),
            Step::TooLarge => {
                let error = ScriptError::TooLarge;
                return Ok(self.finish(&refused(&error)));
            }
            Step::Close => {
                self.bye(None, "Too much is on its way to go on");
                return Ok(Way::HangUp);
            }
        };
        let command = match Command::parse(words) {
            Ok(command) => command,
            Err(bad) => {
                let why = match bad {
                    BadCommand::Unknown => "There is no such command",
                    BadCommand::Arguments => "This command has other arguments",
                    BadCommand::NotUtf8 => "A name is UTF-8",
                };
                return Ok(self.finish(&Answer::bad(why)));
            }
        };
        let answer = match command {
            Command::Logout => {
                self.say(&Answer::ok("Until next time"));
                return Ok(Way::HangUp);
            }
            Command::StartTls => return self.start_tls().await,
            Command::Capability => {
                self.capabilities();
                Answer::ok("Done")
            }
            Command::Noop(None) => Answer::ok("Done"),
            Command::Noop(Some(tag)) => {
                // RFC 5804 §2.13: the same string comes back.
                let mut code = b"TAG ".to_vec();
                write::string(&mut code, &tag);
                match String::from_utf8(code) {
                    Ok(code) => Answer::ok("Done").code(code),
                    Err(_) => Answer::bad("A tag is UTF-8"),
                }
            }
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(&mechanism, initial).await?
            }
            Command::Unauthenticate if self.owner.take().is_some() => {
                self.line.logged_out();
                self.seat.leave();
                Answer::ok("Nobody is logged in any more")
            }
            other => match &self.owner {
                Some(owner) => {
                    let done = perform(self.office, owner, self.line.out(), other).await;
                    done.unwrap_or_else(|error| refused(&error))
                }
                None => Answer::bad("Log in first"),
            },
        };
        Ok(self.finish(&answer))
    }

    fn finish(&mut self, answer: &Answer) -> Way {
        self.say(answer);
        self.bad_commands += usize::from(answer.is_bad);
        if self.bad_commands >= limits::MANAGESIEVE_ERRORS_MAX {
            self.bye(None, "Too many bad commands");
            return Way::HangUp;
        }
        if self.failed_logins >= limits::LOGIN_FAILURES_MAX {
            self.bye(None, "Too many failed logins");
            return Way::HangUp;
        }
        Way::On
    }

    /// RFC 5804 §1.7.
    fn capabilities(&mut self) {
        let redirects = self.office.config.sieve.redirects_max.to_string();
        let offered = self.office.logins.offered(&self.channel);
        let names: Vec<&str> = offered.iter().map(|mechanism| mechanism.name()).collect();
        let out = self.line.out();
        write::capability(out, "IMPLEMENTATION", Some("Vaguemestre"));
        write::capability(out, "SASL", Some(&names.join(" ")));
        write::capability(out, "SIEVE", Some(&sieve::EXTENSIONS.join(" ")));
        if !self.channel.is_tls() {
            write::capability(out, "STARTTLS", None);
        }
        write::capability(out, "MAXREDIRECTS", Some(&redirects));
        write::capability(out, "UNAUTHENTICATE", None);
        if let Some(owner) = &self.owner {
            write::capability(out, "OWNER", Some(&owner.account.address.to_string()));
        }
        write::capability(out, "VERSION", Some("1.0"));
    }

    async fn start_tls(&mut self) -> Result<Way, Gone> {
        if self.channel.is_tls() {
            return Ok(self.finish(&Answer::bad("TLS is on already")));
        }
        if self.line.has_input() {
            // Otherwise what somebody in between slipped in would count as said under TLS.
            self.bye(None, "Octets behind STARTTLS");
            return Ok(Way::HangUp);
        }
        self.say(&Answer::ok("Begin TLS now"));
        self.line.flush().await?;
        Ok(Way::StartTls)
    }

    async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Secret<Vec<u8>>>,
    ) -> Result<Answer, Gone> {
        if self.owner.is_some() {
            return Ok(Answer::bad("You are logged in already"));
        }
        if !self.channel.is_tls() {
            return Ok(Answer::no("STARTTLS first").code("ENCRYPT-NEEDED"));
        }
        let office = self.office;
        let begun = Mechanism::parse(mechanism)
            .and_then(|mechanism| office.logins.begin(self.visitor(), &self.channel, mechanism));
        let Some(mut talk) = begun else {
            return Ok(Answer::no("This mechanism is not offered here"));
        };
        let mut turn = match initial.map(|base64| decoded(base64.expose())) {
            Some(None) => return Ok(Answer::bad("That is no base64")),
            Some(initial) => talk.start(initial).await,
            None => talk.start(None).await,
        };
        loop {
            turn = match turn {
                Turn::Challenge(challenge) => {
                    let out = self.line.out();
                    write::string(out, STANDARD.encode(challenge.expose()).as_bytes());
                    out.extend_from_slice(b"\r\n");
                    let response = match self.line.step().await? {
                        Step::Words(words) => match <[Word; 1]>::try_from(words) {
                            Ok([Word::Text(response)]) => Secret::new(response),
                            _ => return Ok(Answer::bad("A SASL response is one string")),
                        },
                        _ => return Ok(Answer::bad("A SASL response is one string")),
                    };
                    // RFC 5804 §2.1: `*` cancels.
                    if response.expose() == b"*" {
                        return Ok(Answer::no("Cancelled"));
                    }
                    match decoded(response.expose()) {
                        Some(response) => talk.respond(response).await,
                        None => return Ok(Answer::bad("That is no base64")),
                    }
                }
                Turn::In(login, last) => {
                    let answer = self.enter(Ok(*login)).await;
                    // RFC 5804 §2.1: data that ends the exchange comes with the OK.
                    let data = last.filter(|_| self.owner.is_some());
                    return Ok(match data {
                        Some(data) => {
                            let base64 = STANDARD.encode(data.expose());
                            answer.code(format!("SASL \"{base64}\""))
                        }
                        None => answer,
                    });
                }
                Turn::Refused(refusal) => return Ok(self.enter(Err(refusal)).await),
                Turn::Malformed(why) => return Ok(Answer::bad(why)),
            };
        }
    }

    fn visitor(&self) -> Visitor {
        Visitor { entrance: Entrance::ManageSieve, ip: Some(self.peer) }
    }

    /// What came of a login.
    async fn enter(&mut self, login: Result<Login, Refusal>) -> Answer {
        let login = match login {
            Ok(login) => self.open(login).await,
            Err(refusal) => Err(refusal),
        };
        self.office.metrics.login(DOOR, login.is_ok());
        match login {
            Ok(owner) => {
                self.line.logged_in(self.office.config.limits.imap_idle);
                self.failed_logins = 0;
                self.owner = Some(owner);
                Answer::ok("Welcome")
            }
            Err(refusal) => {
                tracing::info!(peer = %self.peer, reason = refusal.name(), "a login failed");
                match refusal {
                    Refusal::AuthFailed => {
                        self.failed_logins += 1;
                        Answer::no("Name or password is wrong")
                    }
                    Refusal::TooManyFromPeer => {
                        self.failed_logins += 1;
                        Answer::no("Too many failed logins; wait a minute").code("TRYLATER")
                    }
                    Refusal::DirectoryAway => {
                        Answer::no("The directory does not answer; try later").code("TRYLATER")
                    }
                    _ => Answer::no("Not now").code("TRYLATER"),
                }
            }
        }
    }

    async fn open(&self, login: Login) -> Result<Owner, Refusal> {
        let mailbox = self.office.mailboxes.open(&login.account).await.map_err(|error| {
            tracing::error!(mailbox = ?login.account.id, %error, "a mailbox does not open");
            match error {
                MailboxError::Temporary(refusal) => refusal,
                _ => Refusal::DependencyFailed,
            }
        })?;
        self.seat.take(self.visitor(), &login)?;
        Ok(Owner { account: login.account, mailbox })
    }
}

fn decoded(base64: &[u8]) -> Option<Secret<Vec<u8>>> {
    // RFC 5804 §2.1 has no `=` for an empty response, but clients that know SMTP send it.
    let base64 = if base64 == b"=" { b"" } else { base64 };
    STANDARD.decode(base64).ok().map(Secret::new)
}

/// What needs a login.
async fn perform(
    office: &Arc<Office>,
    owner: &Owner,
    out: &mut Vec<u8>,
    command: Command,
) -> Result<Answer, ScriptError> {
    let mailbox = &owner.mailbox;
    match command {
        Command::HaveSpace { name, octets } => {
            filter::have_space(office, mailbox, &name, octets).await?;
            Ok(Answer::ok("There is room"))
        }
        Command::PutScript { name, text } => {
            filter::put(office, mailbox, &name, text.expose()).await?;
            Ok(with_warnings(office, text.expose(), "Stored"))
        }
        Command::CheckScript(text) => {
            filter::check(text.expose())?;
            Ok(with_warnings(office, text.expose(), "It can be run"))
        }
        Command::ListScripts => {
            for script in filter::list(office, mailbox).await? {
                write::string(out, script.name.as_bytes());
                out.extend_from_slice(if script.is_active { b" ACTIVE\r\n" } else { b"\r\n" });
            }
            Ok(Answer::ok("Done"))
        }
        Command::SetActive(name) => {
            let name = Some(name.as_str()).filter(|name| !name.is_empty());
            filter::set_active(office, mailbox, name).await?;
            Ok(Answer::ok(if name.is_some() { "Active" } else { "No script is active" }))
        }
        Command::GetScript(name) => {
            let text = filter::get(office, mailbox, &name).await?;
            write::literal(out, text.expose());
            out.extend_from_slice(b"\r\n");
            Ok(Answer::ok("Done"))
        }
        Command::DeleteScript(name) => {
            filter::delete(office, mailbox, &name).await?;
            Ok(Answer::ok("Deleted"))
        }
        Command::RenameScript { from, to } => {
            filter::rename(office, mailbox, &from, &to).await?;
            Ok(Answer::ok("Renamed"))
        }
        Command::Authenticate { .. }
        | Command::StartTls
        | Command::Logout
        | Command::Capability
        | Command::Unauthenticate
        | Command::Noop(_) => Ok(Answer::bad("Not here")),
    }
}

fn with_warnings(office: &Arc<Office>, text: &[u8], done: &str) -> Answer {
    match filter::warnings(office, text) {
        Some(warnings) => Answer::ok(warnings).code("WARNINGS"),
        None => Answer::ok(done),
    }
}

/// RFC 5804 §1.3.
fn refused(error: &ScriptError) -> Answer {
    let answer = Answer::no(error.to_string());
    match error {
        ScriptError::NoSuchScript => answer.code("NONEXISTENT"),
        ScriptError::Exists => answer.code("ALREADYEXISTS"),
        ScriptError::Active => answer.code("ACTIVE"),
        ScriptError::TooLarge => answer.code("QUOTA/MAXSIZE"),
        ScriptError::TooMany => answer.code("QUOTA/MAXSCRIPTS"),
        ScriptError::Temporary(Refusal::StoreFull) => answer.code("QUOTA"),
        ScriptError::Temporary(_) => answer.code("TRYLATER"),
        ScriptError::BadName | ScriptError::Faulty(_) => answer,
    }
}
