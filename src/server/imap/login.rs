//! How a stranger becomes somebody: STARTTLS, AUTHENTICATE, LOGIN.
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::proto::imap::command;
use crate::proto::imap::command::BadPlain;
use crate::proto::imap::command::Tag;
use crate::proto::imap::reader::Step;
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
        if mechanism != "PLAIN" {
            return Err(Answer::no("CANNOT", "Only PLAIN is known here").into());
        }
        let response = match initial {
            Some(initial) => initial,
            None => {
                self.line.out().extend_from_slice(b"+ \r\n");
                self.line.expect_line();
                match self.line.step().await? {
                    Step::Line(response) => response,
                    Step::Bad(refused) => return Ok(Answer::bad(refused.reason.0)),
                    _ => return Ok(Answer::bad("A SASL response was expected")),
                }
            }
        };
        // RFC 3501 §6.2.2: `*` cancels.
        if response.expose() == b"*" {
            return Ok(Answer::bad("Cancelled"));
        }
        match command::plain(response.expose()) {
            Ok((name, password)) => self.login(&name, &password).await,
            Err(BadPlain::Form) => Ok(Answer::bad("That is no PLAIN response in base64")),
            Err(BadPlain::OtherIdentity) => {
                Ok(Answer::no("AUTHORIZATIONFAILED", "A login cannot act for another"))
            }
        }
    }

    pub(super) async fn login(&mut self, name: &str, password: &Secret<String>) -> Done {
        self.must_be_stranger_under_tls()?;
        let login = self.desk.login(self.peer, name, password).await;
        (self.count_login)(login.is_ok());
        match login {
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
