//! What is asked of `webauthn-rs`: challenges, and whether an answer belongs to one.
use webauthn_rs::Webauthn;
use webauthn_rs::WebauthnBuilder;
use webauthn_rs::prelude::AuthenticationResult;
use webauthn_rs::prelude::Passkey;
use webauthn_rs::prelude::PasskeyAuthentication;
use webauthn_rs::prelude::PasskeyRegistration;
use webauthn_rs::prelude::PublicKeyCredential;
use webauthn_rs::prelude::RegisterPublicKeyCredential;
use webauthn_rs::prelude::Url;
use webauthn_rs::prelude::WebauthnError;

use crate::domain::limits;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::factors::passkeys::Challenge;

/// The relying party: our pages, by their public name.
#[derive(Debug)]
pub struct Party(Webauthn);

/// A challenge on its way. It is given up with the first answer, right or wrong.
pub struct Ceremony {
    user: [u8; 16],
    until: Timestamp,
    state: State,
}

enum State {
    Making(PasskeyRegistration),
    Asking(PasskeyAuthentication),
}

/// A passkey that was made.
pub(super) struct Made {
    pub(super) credential: Vec<u8>,
    pub(super) kept: Vec<u8>,
}

/// A passkey that was shown.
pub(super) struct Seen(AuthenticationResult);

/// Why one was not.
pub(super) enum NotShown {
    /// The answer is not one to the challenge.
    No,
    /// All is right but the counter, which ran backwards.
    Copied(Vec<u8>),
}

impl Party {
    /// The pages at this origin (`https://host[:port]`), by the house's name.
    ///
    /// # Errors
    /// A sentence: passkeys belong to a host name, and there is none.
    pub fn new(house: &str, origin: &str) -> Result<Self, String> {
        let url = Url::parse(origin).map_err(|error| format!("{origin}: {error}"))?;
        let host = url.domain().ok_or_else(|| format!("{origin} has no host name"))?;
        let webauthn = WebauthnBuilder::new(host, &url)
            .and_then(|party| party.rp_name(house).timeout(limits::PASSKEY_CEREMONY).build());
        webauthn.map(Self).map_err(|error| format!("{origin}: {error}"))
    }

    pub(super) fn make(
        &self,
        user: [u8; 16],
        name: &str,
        display: &str,
        known: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Challenge, DirectoryError> {
        let known = known.into_iter().map(Into::into).collect();
        let id = uuid::Uuid::from_bytes(user);
        let begun = self.0.start_passkey_registration(id, name, display, Some(known));
        let (options, state) = begun.map_err(failed)?;
        challenge(&options, user, State::Making(state), now)
    }

    pub(super) fn made(
        &self,
        ceremony: Ceremony,
        user: [u8; 16],
        answer: &str,
        now: Timestamp,
    ) -> Option<Made> {
        let State::Making(state) = ceremony.open(user, now)? else { return None };
        let answer: RegisterPublicKeyCredential = read(answer)?;
        let passkey = self
            .0
            .finish_passkey_registration(&answer, &state)
            .inspect_err(|error| tracing::info!(%error, "a passkey was not registered"))
            .ok()?;
        let kept = serde_json::to_vec(&passkey).ok()?;
        Some(Made { credential: passkey.cred_id().as_slice().to_vec(), kept })
    }

    pub(super) fn ask(
        &self,
        user: [u8; 16],
        kept: &[&[u8]],
        now: Timestamp,
    ) -> Result<Challenge, DirectoryError> {
        let damaged = |_| DirectoryError::Damaged("a passkey".to_owned());
        let passkeys: Result<Vec<Passkey>, _> =
            kept.iter().map(|one| serde_json::from_slice(one)).collect();
        let begun = self.0.start_passkey_authentication(&passkeys.map_err(damaged)?);
        let (options, state) = begun.map_err(failed)?;
        challenge(&options, user, State::Asking(state), now)
    }

    pub(super) fn shown(
        &self,
        ceremony: Ceremony,
        user: [u8; 16],
        answer: &str,
        now: Timestamp,
    ) -> Result<Seen, NotShown> {
        let Some(State::Asking(state)) = ceremony.open(user, now) else { return Err(NotShown::No) };
        let answer: PublicKeyCredential = read(answer).ok_or(NotShown::No)?;
        // WebAuthn §7.2, step 6: whose it says that it is, where it says so.
        if answer.get_user_unique_id().is_some_and(|said| said != user) {
            return Err(NotShown::No);
        }
        match self.0.finish_passkey_authentication(&answer, &state) {
            Ok(result) if result.user_verified() => Ok(Seen(result)),
            Ok(_) => Err(NotShown::No),
            Err(WebauthnError::CredentialPossibleCompromise) => {
                Err(NotShown::Copied(answer.get_credential_id().to_vec()))
            }
            Err(error) => {
                tracing::info!(%error, "a passkey was not taken");
                Err(NotShown::No)
            }
        }
    }
}

impl Ceremony {
    /// What was begun, for the one for whom it was, in time.
    fn open(self, user: [u8; 16], now: Timestamp) -> Option<State> {
        (self.user == user && now < self.until).then_some(self.state)
    }
}

impl Seen {
    pub(super) fn credential(&self) -> &[u8] {
        self.0.cred_id().as_slice()
    }

    pub(super) fn counter(&self) -> u32 {
        self.0.counter()
    }

    /// What is kept of it from now on; `None` when that was never this one's.
    pub(super) fn updated(&self, kept: &[u8]) -> Option<Vec<u8>> {
        let mut passkey: Passkey = serde_json::from_slice(kept).ok()?;
        passkey.update_credential(&self.0)?;
        serde_json::to_vec(&passkey).ok()
    }
}

fn challenge(
    options: &impl serde::Serialize,
    user: [u8; 16],
    state: State,
    now: Timestamp,
) -> Result<Challenge, DirectoryError> {
    let options = serde_json::to_string(options)
        .map_err(|error| DirectoryError::Keys(format!("a challenge: {error}")))?;
    let until = now.after(limits::PASSKEY_CEREMONY);
    Ok(Challenge { options, ceremony: Ceremony { user, until, state } })
}

/// An answer of bounded length.
fn read<T: serde::de::DeserializeOwned>(answer: &str) -> Option<T> {
    if answer.len() > limits::PASSKEY_ANSWER_OCTETS_MAX {
        return None;
    }
    serde_json::from_str(answer).ok()
}

fn failed(error: WebauthnError) -> DirectoryError {
    DirectoryError::Keys(format!("no challenge for a passkey: {error}"))
}
