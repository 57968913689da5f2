//! Bearer tokens and logins of an OpenID provider, such as Pro Santé Connect.
//!
//! A token says `SubjectNameID`, 8 + RPPS; which mailboxes that opens is said here, by the
//! accounts' holders, and never by the token.
mod check;
mod keys;
mod pages;
mod provider;
mod verified;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;

use crate::domain::login::Means;
use crate::domain::login::Scope;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::directory::Directory;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::Identified;
use crate::infra::directory::Verdict;
use crate::infra::directory::Voucher;
use crate::infra::directory::oidc::check::Refused;
use crate::infra::directory::oidc::provider::Provider;
use crate::infra::directory::oidc::verified::Verified;
use crate::infra::net::NetError;
use crate::proto::jwt::Claims;
use crate::proto::jwt::Jwt;

pub use pages::LogoutToken;
pub use pages::Person;

/// What the provider is, and what its tokens must say. Each field is the key of that name below
/// `oidc.` in the configuration.
#[derive(Debug)]
pub struct Settings {
    /// As `iss` says it.
    pub issuer: String,
    /// A path below the issuer or an address.
    pub discovery: String,
    /// PEM files; nobody else is trusted.
    pub anchors: Vec<PathBuf>,
    /// Our own name at the provider.
    pub client_id: Option<String>,
    /// And our secret; a client without one proves itself by PKCE alone.
    pub client_secret: Option<Secret<String>>,
    /// One of them must be in `aud`; empty: not checked.
    pub audiences: Vec<String>,
    /// `azp` must be one of them; empty: not checked.
    pub clients: Vec<String>,
    /// Algorithms of signatures.
    pub algorithms: Vec<String>,
    /// `acr` must be one of them; empty: not checked.
    pub acr: Vec<String>,
    /// `typ` must be one of them; empty: not checked.
    pub types: Vec<String>,
    /// Signatures are checked.
    pub by_signature: bool,
    /// The provider is asked for each token.
    pub by_introspection: bool,
    /// The claim with the national identity.
    pub subject_claim: String,
    /// What the pages ask for.
    pub scope: String,
    /// What the pages ask for; empty: nothing.
    pub acr_values: String,
    /// By how much clocks may differ.
    pub skew: Duration,
    /// For one question.
    pub timeout: Duration,
}

/// An OpenID provider as a directory.
pub struct Oidc {
    provider: Provider,
    clock: Arc<dyn Clock>,
    verified: Verified,
    /// What the pages hand to a browser and get back; lives and dies with the process.
    browsers: hmac::Key,
    logouts: pages::Logouts,
}

impl Oidc {
    /// The provider of these settings. Nothing is asked of it yet: a relay starts without it.
    ///
    /// # Errors
    /// [`NetError`] when an anchor cannot be read.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        let random = || {
            hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new())
                .map_err(|_| NetError::Tls("no randomness".to_owned()))
        };
        Ok(Self {
            provider: Provider::new(settings, Arc::clone(&clock))?,
            clock,
            verified: Verified::new(random()?),
            browsers: random()?,
            logouts: pages::Logouts::default(),
        })
    }

    /// True for the national provider, whose name professionals know.
    pub fn is_pro_sante_connect(&self) -> bool {
        let host = self.provider.settings().issuer.strip_prefix("https://").unwrap_or_default();
        host.split('/').next().is_some_and(|host| host.ends_with(".esante.gouv.fr"))
    }

    /// Whose access token this is, or why it is nobody's.
    async fn identify(&self, token: &str) -> Result<Result<Identified, Refused>, DirectoryError> {
        let settings = self.provider.settings();
        let now = self.clock.now();
        let mut claims = Claims::default();
        if settings.by_signature {
            // While the keys are those that verified it, and not a moment after it ended.
            let keys = self.provider.keys_in_use();
            if !settings.by_introspection
                && let Some(identified) = self.verified.find(token, keys, now)
            {
                return Ok(Ok(identified));
            }
            let jwt = match Jwt::parse(token) {
                Ok(jwt) => jwt,
                Err(error) => return Ok(Err(Refused::Form(error))),
            };
            // Before a signature is verified or a key fetched: who forges gets nothing for it.
            if let Err(refused) = check::access_token(&jwt, settings, now) {
                return Ok(Err(refused));
            }
            if let Err(refused) = self.provider.verify(&jwt).await? {
                return Ok(Err(refused));
            }
            claims = jwt.claims;
        }
        if settings.by_introspection {
            let Some(answer) = self.provider.introspect(token).await? else {
                return Ok(Err(Refused::Inactive));
            };
            if let Err(refused) = check::introspected(&answer, settings, now) {
                return Ok(Err(refused));
            }
            // Two answers about one token must speak of one person.
            if let (Some(one), Some(other)) = (claims.text("sub"), answer.text("sub"))
                && one != other
            {
                return Ok(Err(Refused::Subject));
            }
            claims = answer;
        }
        let Some(national_id) = self.national_id(token, &claims).await? else {
            return Ok(Err(Refused::Subject));
        };
        let until = claims.seconds("exp").map(Timestamp::from_seconds);
        let voucher = claims.text("sub").map(|subject| Voucher {
            subject: subject.to_owned(),
            sid: claims.text("sid").map(str::to_owned),
        });
        let identified = Identified {
            mailboxes: Vec::new(),
            national_id: Some(national_id),
            display_name: None,
            means: Means::Token,
            scope: Scope::ALL,
            network: None,
            until,
            voucher,
        };
        if settings.by_signature && !settings.by_introspection {
            let keys = self.provider.keys_in_use();
            self.verified.remember(token, keys, now, &identified);
        }
        Ok(Ok(identified))
    }

    /// The national identity: in the token, or asked for with it. Pro Santé Connect may leave it
    /// out of tokens and then says it when asked.
    async fn national_id(
        &self,
        token: &str,
        claims: &Claims,
    ) -> Result<Option<String>, DirectoryError> {
        let settings = self.provider.settings();
        if let Some(id) = check::national_id(claims, &settings.subject_claim) {
            return Ok(Some(id));
        }
        let Some(subject) = claims.text("sub") else { return Ok(None) };
        if !settings.by_introspection
            && let Some(answer) = self.provider.introspect_if_we_can(token).await?
            && check::introspected(&answer, settings, self.clock.now()).is_ok()
            && answer.text("sub") == Some(subject)
            && let Some(id) = check::national_id(&answer, &settings.subject_claim)
        {
            return Ok(Some(id));
        }
        let Some(person) = self.provider.userinfo(token).await? else { return Ok(None) };
        // OpenID Connect Core §5.3.2: an answer about somebody else is no answer.
        let is_same = person.text("sub") == Some(subject);
        Ok(is_same.then(|| check::national_id(&person, &settings.subject_claim)).flatten())
    }
}

#[async_trait]
impl Directory for Oidc {
    fn source(&self) -> Source {
        Source::Oidc
    }

    /// A provider knows no passwords.
    async fn password(&self, _: &str, _: &Secret<String>) -> Result<Verdict, DirectoryError> {
        Ok(Verdict::Stranger)
    }

    async fn recent_token(&self, token: &Secret<String>) -> Option<Identified> {
        let settings = self.provider.settings();
        if !settings.by_signature || settings.by_introspection {
            return None;
        }
        self.verified.find(token.expose(), self.provider.keys_in_use(), self.clock.now())
    }

    async fn token(&self, _name: &str, token: &Secret<String>) -> Result<Verdict, DirectoryError> {
        match self.identify(token.expose()).await? {
            Ok(identified) => Ok(Verdict::Known(identified)),
            Err(refused) => {
                tracing::info!(directory = "oidc", %refused, "a token was refused");
                Ok(Verdict::Refused)
            }
        }
    }
}

#[cfg(test)]
mod tests;
