//! A SASL exchange, for every door alike: which mechanisms are offered on this very connection,
//! and one login by one of them.
//!
//! The machines of [`proto::sasl`](crate::proto::sasl) know the octets, the directories know the
//! people; what is here knows who may ask how often, and what may be told.
use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::domain::address::Address;
use crate::domain::login::Entrance;
use crate::domain::login::Mechanism;
use crate::domain::secret::Secret;
use crate::domain::status::Refusal;
use crate::flow::login::Attempt;
use crate::flow::login::Login;
use crate::flow::login::Logins;
use crate::flow::login::Visitor;
use crate::flow::login::live::Cuts;
use crate::flow::login::software::Software;
use crate::flow::login::unanswered;
use crate::infra::directory::Identified;
use crate::infra::directory::ScramKeys;
use crate::proto::sasl;
use crate::proto::sasl::Binding;
use crate::proto::sasl::Machine;
use crate::proto::sasl::Question;
use crate::proto::sasl::Step;
use crate::proto::sasl::scram::ClientFirst;
use crate::proto::sasl::scram::Keys;
use crate::proto::sasl::scram::NoProof;
use crate::proto::sasl::scram::Pair;
use crate::proto::sasl::scram::Waiting;

/// What a refused token is answered with in XOAUTH2 (ANS Ref2 §1.2.1), before the refusal.
const XOAUTH2_REFUSED: &str = r#"{"status":"401","schemes":"bearer","scope":"mail"}"#;
/// Random octets of our part of a SCRAM nonce.
const NONCE_OCTETS: usize = 24;

/// What the connection itself says, before anybody says who they are.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    is_tls: bool,
    exporter: Option<[u8; 32]>,
    software: Option<Software>,
}

impl Channel {
    /// Nothing is hidden from the network yet: nobody logs in.
    pub fn clear() -> Self {
        Self::default()
    }

    /// Under TLS, with 32 octets of its `EXPORTER-Channel-Binding` (RFC 9266 §2) from TLS 1.3 on,
    /// and with whom the client's certificate names.
    pub fn tls(exporter: Option<[u8; 32]>, software: Option<Software>) -> Self {
        Self { is_tls: true, exporter, software }
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// How an exchange goes on.
#[derive(Debug)]
pub enum Turn {
    /// Send this, and give the answer to [`Conversation::respond`].
    Challenge(Secret<Vec<u8>>),
    /// They are in. Where the door says that it carries data with its success, here they are.
    In(Box<Login>, Option<Secret<Vec<u8>>>),
    /// They are not.
    Refused(Refusal),
    /// What they said is not of the mechanism's form; the text says what was expected.
    Malformed(&'static str),
}

/// One exchange. To cancel it, drop it.
pub struct Conversation<'l> {
    logins: &'l Logins,
    visitor: Visitor,
    channel: Channel,
    mechanism: Mechanism,
    /// Before any keys are looked up: SCRAM's proof may come long after them.
    began: Cuts,
    state: State,
}

enum State {
    /// The client says something that a machine reads.
    Machine(Machine),
    /// SCRAM, before the proof. Nobody has the name when there is no address. App passwords of
    /// the name open the mailbox for what they are good for.
    Proof(Box<Waiting>, Option<Address>, Vec<Identified>),
    /// SCRAM, after the proof: the client looks at ours.
    Proven(Box<Login>),
    /// A token was refused and the client has read why.
    TokenRefused(Refusal),
    Over,
}

impl Logins {
    /// What may be offered on this very connection: all of it works.
    pub fn offered(&self, channel: &Channel) -> Vec<Mechanism> {
        if !channel.is_tls {
            return Vec::new();
        }
        let works = |mechanism: &Mechanism| match mechanism {
            Mechanism::External => channel.software.as_ref().is_some_and(Software::may_try),
            Mechanism::ScramSha256Plus => channel.exporter.is_some() && self.knows_scram(),
            Mechanism::ScramSha256 => self.knows_scram(),
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => self.chain.knows_tokens(),
            Mechanism::Plain | Mechanism::Login => true,
        };
        self.settings.mechanisms.iter().copied().filter(works).collect()
    }

    /// Whether name and password may be said outside SASL (IMAP's LOGIN, POP3's USER) here.
    pub fn takes_passwords(&self, channel: &Channel) -> bool {
        let of_passwords = [Mechanism::Plain, Mechanism::Login];
        self.offered(channel).iter().any(|mechanism| of_passwords.contains(mechanism))
    }

    /// SCRAM proves a mailbox's own password, or one of its app passwords.
    fn knows_scram(&self) -> bool {
        self.chain.keeps_scram()
    }

    /// Begins an exchange; `None` when this mechanism is not offered here.
    pub fn begin(
        &self,
        visitor: Visitor,
        channel: &Channel,
        mechanism: Mechanism,
    ) -> Option<Conversation<'_>> {
        let offered = self.offered(channel);
        if !offered.contains(&mechanism) {
            return None;
        }
        let is_offered = offered.contains(&Mechanism::ScramSha256Plus);
        let machine = Machine::begin(mechanism, Binding { exporter: channel.exporter, is_offered });
        let state = State::Machine(machine);
        let (channel, began) = (channel.clone(), self.sessions.cuts());
        Some(Conversation { logins: self, visitor, channel, mechanism, began, state })
    }
}

impl Conversation<'_> {
    /// The beginning: with the client's initial response, or by asking for it.
    pub async fn start(&mut self, initial: Option<Secret<Vec<u8>>>) -> Turn {
        if let Some(response) = initial {
            return self.respond(response).await;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Machine(machine) => self.take(machine.prompt()).await,
            _ => Turn::Malformed("the exchange has begun already"),
        }
    }

    /// The client's answer to a challenge.
    pub async fn respond(&mut self, response: Secret<Vec<u8>>) -> Turn {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Machine(machine) => self.take(machine.respond(response.expose())).await,
            State::Proof(waiting, address, apps) => {
                self.prove(*waiting, address, &apps, &response).await
            }
            // RFC 5802 §5: the client has checked that we know its keys, and has no more to say.
            State::Proven(login) if response.expose().is_empty() => Turn::In(login, None),
            State::Proven(_) => Turn::Malformed("an empty answer was expected"),
            State::TokenRefused(refusal) => Turn::Refused(refusal),
            State::Over => Turn::Malformed("the exchange is over"),
        }
    }

    async fn take(&mut self, step: Step) -> Turn {
        match step {
            Step::Challenge(machine, challenge) => {
                self.state = State::Machine(machine);
                Turn::Challenge(Secret::new(challenge.to_vec()))
            }
            Step::Malformed(why) => Turn::Malformed(why),
            Step::Ask(Question::Password { act_as, name, password }) => {
                let login = self.logins.login(self.visitor, &name, &password).await;
                self.end(login, &act_as, &name)
            }
            Step::Ask(Question::Token { name, token }) => self.token(&name, &token).await,
            Step::Ask(Question::Keys(first)) => self.challenge(first).await,
            Step::Ask(Question::Certificate { act_as }) => {
                let login = self.certified().await;
                let name =
                    self.channel.software.as_ref().map(Software::subject).unwrap_or_default();
                self.end(login, &act_as, &name)
            }
        }
    }

    /// Nobody acts for somebody else. That the password was right is not told.
    fn end(&self, login: Result<Login, Refusal>, act_as: &str, name: &str) -> Turn {
        match login {
            Ok(login) if sasl::acts_for(act_as, name, &login.account.address.to_string()) => {
                Turn::In(Box::new(login), None)
            }
            Ok(_) => Turn::Refused(Refusal::AuthFailed),
            Err(refusal) => Turn::Refused(refusal),
        }
    }

    async fn token(&mut self, name: &str, token: &Secret<String>) -> Turn {
        let logins = self.logins;
        // RFC 7628 §4.3: whoever has none asks where to get one, and guesses nothing.
        if token.expose().is_empty() {
            return self.token_refused(Refusal::AuthFailed);
        }
        // One that was right before: nobody guesses it, and nobody waits with it.
        match logins.known_token(self.visitor, name, token, self.began).await {
            Ok(Some(login)) => return Turn::In(Box::new(login), None),
            Ok(None) => {}
            Err(refusal) => return Turn::Refused(refusal),
        }
        let attempt = match logins.attempt(self.visitor, name).await {
            Ok(attempt) => attempt,
            Err(refusal) => return Turn::Refused(refusal),
        };
        let verdict = logins.chain.token(name, token).await;
        match logins.settle(self.visitor, attempt, "token", verdict).await {
            Ok(login) => Turn::In(Box::new(login), None),
            Err(Refusal::AuthFailed) => self.token_refused(Refusal::AuthFailed),
            // The token may be good: nothing is said of it.
            Err(refusal) => Turn::Refused(refusal),
        }
    }

    /// The documented challenge; the refusal follows the client's answer to it.
    fn token_refused(&mut self, refusal: Refusal) -> Turn {
        self.state = State::TokenRefused(refusal);
        let challenge = match (self.mechanism, &self.logins.settings.openid_configuration) {
            (Mechanism::XOAuth2, _) => XOAUTH2_REFUSED.to_owned(),
            // RFC 7628 §3.2.2
            (_, Some(place)) => serde_json::json!({
                "status": "invalid_token", "scope": "mail", "openid-configuration": place,
            })
            .to_string(),
            (_, None) => r#"{"status":"invalid_token","scope":"mail"}"#.to_owned(),
        };
        Turn::Challenge(Secret::new(challenge.into_bytes()))
    }

    /// Our first message of SCRAM: for a name that nobody has, one that looks like any other.
    async fn challenge(&mut self, first: ClientFirst) -> Turn {
        let settings = &self.logins.settings;
        let full = match (&settings.home, first.name().contains('@')) {
            (Some(home), false) => format!("{}@{home}", first.name()),
            _ => first.name().to_owned(),
        };
        let address = Address::parse(&full).ok();
        // What is one address is one name, however it is written.
        let name = address.as_ref().map_or(full, Address::lookup_form);
        let kept = match self.logins.chain.scram(&name).await {
            Ok(kept) => kept,
            Err(error) => return Turn::Refused(unanswered(&error)),
        };
        let mut random = [0; NONCE_OCTETS];
        if SystemRandom::new().fill(&mut random).is_err() {
            return Turn::Refused(Refusal::DependencyFailed);
        }
        let owner = address.filter(|_| kept.is_some());
        let (keys, apps) = match kept {
            Some(kept) => as_kept(kept),
            None => (Keys::of_nobody(settings.relay_key.expose(), &name), Vec::new()),
        };
        let (waiting, challenge) = first.challenge(keys, &STANDARD_NO_PAD.encode(random));
        self.state = State::Proof(Box::new(waiting), owner, apps);
        Turn::Challenge(Secret::new(challenge))
    }

    async fn prove(
        &mut self,
        waiting: Waiting,
        owner: Option<Address>,
        apps: &[Identified],
        response: &Secret<Vec<u8>>,
    ) -> Turn {
        let logins = self.logins;
        let name = waiting.name().to_owned();
        let proof = waiting.proof(response.expose());
        // Nobody guesses an app password: its proof waits for nothing that others did.
        let is_app = owner.is_some() && proof.as_ref().is_ok_and(|proven| proven.other.is_some());
        let attempt = match is_app {
            true => Attempt { began: self.began, counted: None, _turn: None },
            false => match logins.attempt(self.visitor, &name).await {
                Ok(attempt) => attempt,
                Err(refusal) => return Turn::Refused(refusal),
            },
        };
        let (proven, owner) = match (proof, owner) {
            (Ok(proven), Some(owner)) => (proven, owner),
            (Ok(_), None) | (Err(NoProof::Wrong), _) => return Turn::Refused(Refusal::AuthFailed),
            (Err(NoProof::Malformed(why)), _) => return Turn::Malformed(why),
        };
        let app = proven.other.and_then(|place| apps.get(place));
        let verdict = logins.chain.proven(&owner, app).await;
        let attempt = Attempt { began: self.began, ..attempt };
        let login = logins.settle(self.visitor, attempt, "password", verdict).await;
        match self.end(login, &proven.act_as, &proven.name) {
            Turn::In(login, _) if self.visitor.entrance == Entrance::ManageSieve => {
                Turn::In(login, Some(proven.last))
            }
            // Doors whose success carries nothing send it as a last challenge.
            Turn::In(login, _) => {
                self.state = State::Proven(login);
                Turn::Challenge(proven.last)
            }
            other => other,
        }
    }

    async fn certified(&self) -> Result<Login, Refusal> {
        let Some(software) = &self.channel.software else { return Err(Refusal::AuthFailed) };
        let (address, until) = software.vouched(self.logins.clock.now())?;
        let verdict = self.logins.chain.certified(address, until).await;
        let attempt = Attempt { began: self.began, counted: None, _turn: None };
        self.logins.settle(self.visitor, attempt, "certificate", verdict).await
    }
}

/// The keys for the exchange, and whom those of app passwords are good for.
fn as_kept(kept: ScramKeys) -> (Keys, Vec<Identified>) {
    let ScramKeys { salt, iterations, stored_key, server_key, app_passwords } = kept;
    let (others, identified) = app_passwords
        .into_iter()
        .map(|app| {
            let pair = Pair { stored_key: app.stored_key, server_key: app.server_key };
            (pair, app.identified)
        })
        .unzip();
    (Keys { salt, iterations, stored_key, server_key, others }, identified)
}

#[cfg(test)]
mod tests;
