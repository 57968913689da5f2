//! How a stranger becomes somebody: STARTTLS, AUTHENTICATE, LOGIN.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::login::Entrance;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::login::Login;
use crate::flow::login::Visitor;
use crate::flow::login::conversation::Turn;
use crate::proto::imap::command::Tag;
use crate::proto::imap::reader::Step;
use crate::proto::imap::write;
use crate::server::imap::answer;
use crate::server::imap::answer::Answer;
use crate::server::imap::answer::Done;
use crate::server::imap::answer::Halt;
use crate::server::imap::line::Gone;
use crate::server::imap::line::Stream;
use crate::server::imap::session::Safety;
use crate::server::imap::session::Session;
use crate::server::imap::session::State;
use crate::server::imap::session::Way;
use crate::server::imap::shelf::Desk;

impl<D: Desk, S: Stream> Session<'_, D, S> {
    pub(super) async fn start_tls(&mut self, tag: &Tag) -> Result<Way, Gone> {
        let refusal = match (self.safety, &self.state) {
            (Safety::Tls, _) => Answer::bad("TLS is on already"),
            (Safety::Clear, State::Stranger) if self.line.has_input() => {
                // Otherwise what somebody in between slipped in would count as said under TLS.
                Answer::bad("Nothing may follow STARTTLS before TLS has begun")
                    .write(self.line.out(), Some(tag));
                return Ok(self.bye("Octets behind STARTTLS"));
            }
            (Safety::Clear, _) => {
                Answer::ok("Begin TLS now").write(self.line.out(), Some(tag));
                self.line.flush().await?;
                return Ok(Way::StartTls);
            }
        };
        refusal.write(self.line.out(), Some(tag));
        Ok(self.after_bad())
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Secret<Vec<u8>>>,
    ) -> Done {
        self.must_be_stranger_under_tls()?;
        // A copy of a reference: the exchange must not hold the session.
        let desk = self.desk;
        let begun = Mechanism::parse(mechanism)
            .and_then(|mechanism| desk.logins().begin(self.visitor(), &self.channel, mechanism));
        let Some(mut talk) = begun else {
            return Err(Answer::no("CANNOT", "This mechanism is not offered here").into());
        };
        // RFC 4959 §3: a single `=` is an empty response.
        let initial = initial.map(|text| match text.expose().as_slice() {
            b"=" => Some(Secret::new(Vec::new())),
            base64 => decoded(base64),
        });
        let mut turn = match initial {
            Some(None) => return Ok(Answer::bad("That is no base64")),
            Some(initial) => talk.start(initial).await,
            None => talk.start(None).await,
        };
        loop {
            turn = match turn {
                Turn::Challenge(challenge) => {
                    let base64 = STANDARD.encode(challenge.expose());
                    write::text(self.line.out(), format_args!("+ {base64}\r\n"));
                    self.line.expect_line();
                    let response = match self.line.step().await? {
                        Step::Line(response) => response,
                        Step::Bad(refused) => return Ok(Answer::bad(refused.reason.0)),
                        _ => return Ok(Answer::bad("A SASL response was expected")),
                    };
                    // RFC 3501 §6.2.2: `*` cancels.
                    if response.expose() == b"*" {
                        return Ok(Answer::bad("Cancelled"));
                    }
                    match decoded(response.expose()) {
                        Some(response) => talk.respond(response).await,
                        None => return Ok(Answer::bad("That is no base64")),
                    }
                }
                Turn::In(login, _) => return self.enter(Ok(*login)).await,
                Turn::Refused(refusal) => return self.enter(Err(refusal)).await,
                Turn::Malformed(why) => return Ok(Answer::bad(why)),
            };
        }
    }

    pub(super) async fn login(&mut self, name: &str, password: &Secret<String>) -> Done {
        self.must_be_stranger_under_tls()?;
        if !self.desk.logins().takes_passwords(&self.channel) {
            return Err(Answer::no("CANNOT", "LOGIN is disabled here").into());
        }
        let login = self.desk.logins().login(self.visitor(), name, password).await;
        self.enter(login).await
    }

    /// What came of a login, by whatever way.
    async fn enter(&mut self, login: Result<Login, Refusal>) -> Done {
        let entered = match login {
            Ok(login) => self.open(login).await,
            Err(refusal) => Err(refusal),
        };
        (self.count_login)(entered.is_ok());
        match entered {
            Ok(shelf) => {
                self.line.logged_in();
                self.failed_logins = 0;
                self.state = State::LoggedIn(shelf);
                let code = format!("CAPABILITY {}", self.capabilities());
                Ok(Answer::ok("Welcome").code(code))
            }
            Err(refusal) => {
                tracing::info!(peer = ?self.peer, reason = refusal.name(), "an IMAP login failed");
                if matches!(refusal, Refusal::AuthFailed | Refusal::TooManyFromPeer) {
                    self.failed_logins += 1;
                }
                Ok(answer::refused(refusal))
            }
        }
    }

    async fn open(&self, login: Login) -> Result<D::Shelf, Refusal> {
        let shelf = self.desk.open(&login.account).await?;
        self.seat.take(self.visitor(), &login)?;
        Ok(shelf)
    }

    fn visitor(&self) -> Visitor {
        Visitor { entrance: Entrance::Imap, ip: self.peer }
    }

    pub(super) fn must_be_stranger_under_tls(&self) -> Result<(), Halt> {
        if !matches!(self.state, State::Stranger) {
            return Err(Answer::bad("You are logged in already").into());
        }
        if self.safety == Safety::Clear {
            return Err(Answer::no("PRIVACYREQUIRED", "STARTTLS first").into());
        }
        Ok(())
    }
}

fn decoded(base64: &[u8]) -> Option<Secret<Vec<u8>>> {
    STANDARD.decode(base64).ok().map(Secret::new)
}
