//! Logins of people on the pages: authorisation code with PKCE, and the provider's word that
//! somebody has left (OpenID Connect Core, RP-Initiated Logout and Back-Channel Logout 1.0).
//!
//! What must come back from the browser (state, nonce, verifier) is not stored: it is derived
//! from a random cookie by a key of this process, so that strangers who begin logins and never
//! come back cost no memory.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::oidc::Oidc;
use crate::infra::directory::oidc::check;
use crate::infra::directory::oidc::check::Refused;
use crate::infra::directory::oidc::provider::away;
use crate::infra::net::fetch;
use crate::proto::jwt::Claims;
use crate::proto::jwt::Jwt;

/// The event of a logout message (OpenID Connect Back-Channel Logout 1.0 §2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Somebody whom the provider vouches for.
#[derive(Debug)]
pub struct Person {
    /// 8 + RPPS.
    pub national_id: String,
    /// The provider's own name for them.
    pub subject: String,
    /// Its session.
    pub sid: Option<String>,
    /// Shown again when they log out.
    pub id_token: Secret<String>,
}

/// Whose sessions are over.
#[derive(Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// This one session.
    pub sid: Option<String>,
    /// This person's.
    pub subject: Option<String>,
}

/// Logout messages that were taken, until they end.
#[derive(Default)]
pub(super) struct Logouts(Mutex<HashMap<[u8; 32], Timestamp>>);

impl Oidc {
    /// True when people can log in to the pages by it.
    pub fn has_pages(&self) -> bool {
        self.provider.settings().client_id.is_some()
    }

    /// A cookie for a browser that goes to the provider now.
    pub fn browser(&self, random: &Secret<String>) -> Secret<String> {
        Secret::new(format!("{}.{}", self.clock.now().as_seconds(), random.expose()))
    }

    /// Where a browser with this cookie goes.
    ///
    /// # Errors
    /// [`DirectoryError::Away`].
    pub async fn authorization(
        &self,
        browser: &Secret<String>,
        redirect: &str,
        language: &str,
    ) -> Result<String, DirectoryError> {
        let settings = self.provider.settings();
        let endpoint = self.provider.endpoints().await?.authorization;
        let Some(endpoint) = endpoint else {
            return Err(away("it describes no authorization_endpoint".to_owned()));
        };
        let verifier = self.derived("verifier", browser);
        let challenge =
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let (state, nonce) = (self.derived("state", browser), self.derived("nonce", browser));
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", settings.client_id.as_deref().unwrap_or_default()),
            ("redirect_uri", redirect),
            ("scope", &settings.scope),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("ui_locales", language),
        ];
        if !settings.acr_values.is_empty() {
            fields.push(("acr_values", &settings.acr_values));
        }
        Ok(with_query(&endpoint, &fields))
    }

    /// Who came back with this code; `None` when it is not to be believed.
    ///
    /// # Errors
    /// [`DirectoryError::Away`].
    pub async fn arrived(
        &self,
        browser: &Secret<String>,
        redirect: &str,
        state: &str,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Option<Person>, DirectoryError> {
        let refused = match self.arrive(browser, redirect, state, code, issuer).await? {
            Ok(person) => return Ok(Some(person)),
            Err(refused) => refused,
        };
        tracing::info!(directory = "oidc", %refused, "a login on the pages was refused");
        Ok(None)
    }

    async fn arrive(
        &self,
        browser: &Secret<String>,
        redirect: &str,
        state: &str,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Result<Person, Refused>, DirectoryError> {
        // Before anybody is asked anything: only a browser that we sent away may come back.
        if !self.is_back(browser, state) {
            return Ok(Err(Refused::Nonce));
        }
        let settings = self.provider.settings();
        let endpoints = self.provider.endpoints().await?;
        // RFC 9207 §2.4: an answer of another provider would have its code sent to ours.
        let is_named = issuer.map_or(!endpoints.names_itself, |it| it == settings.issuer);
        if !is_named {
            return Ok(Err(Refused::Issuer));
        }
        let Some(url) = endpoints.token else {
            return Err(away("it describes no token_endpoint".to_owned()));
        };
        let verifier = Secret::new(self.derived("verifier", browser));
        let basic = self.provider.basic();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier.expose()),
        ];
        if basic.is_none() {
            form.push(("client_id", settings.client_id.as_deref().unwrap_or_default()));
        }
        let answer = self.provider.ask(&url, Some(&form), basic.as_ref()).await?;
        if answer.status != 200 {
            // 401 and `invalid_client` are about us, and then nobody can log in.
            let error = Claims::parse(answer.octets.expose(), limits::OIDC_ANSWER_OCTETS_MAX);
            let error = error.unwrap_or_default();
            let code =
                error.text("error").filter(|it| it.len() < 64 && !it.contains(char::is_control));
            if answer.status == 401 || code == Some("invalid_client") {
                return Err(away("it does not know oidc.client_id with our secret".to_owned()));
            }
            tracing::info!(status = answer.status, error = code, "the code was refused");
            return Ok(Err(Refused::Inactive));
        }
        let Ok(tokens) = Claims::parse(answer.octets.expose(), limits::OIDC_ANSWER_OCTETS_MAX)
        else {
            return Err(away("its answer to a code cannot be read".to_owned()));
        };
        let Some(id_token) = tokens.text("id_token") else { return Ok(Err(Refused::Subject)) };
        let access = tokens.text("access_token").map(str::to_owned).map(Secret::new);
        let nonce = self.derived("nonce", browser);
        let claims = match self.id_token(id_token, access.as_ref(), &nonce).await? {
            Ok(claims) => claims,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(subject) = claims.text("sub").map(str::to_owned) else {
            return Ok(Err(Refused::Subject));
        };
        let mut national_id = check::national_id(&claims, &settings.subject_claim);
        if national_id.is_none()
            && let Some(access) = &access
            && let Some(person) = self.provider.userinfo(access.expose()).await?
            // OpenID Connect Core §5.3.2.
            && person.text("sub") == Some(subject.as_str())
        {
            national_id = check::national_id(&person, &settings.subject_claim);
        }
        let Some(national_id) = national_id else { return Ok(Err(Refused::Subject)) };
        let sid = claims.text("sid").or_else(|| claims.text("session_state")).map(str::to_owned);
        let id_token = Secret::new(id_token.to_owned());
        Ok(Ok(Person { national_id, subject, sid, id_token }))
    }

    /// The claims of an ID token that is for us, now, and for this browser (OpenID Connect Core
    /// §3.1.3.7).
    async fn id_token(
        &self,
        text: &str,
        access: Option<&Secret<String>>,
        nonce: &str,
    ) -> Result<Result<Claims, Refused>, DirectoryError> {
        let jwt = match Jwt::parse(text) {
            Ok(jwt) => jwt,
            Err(error) => return Ok(Err(Refused::Form(error))),
        };
        if let Err(refused) = self.for_us(&jwt) {
            return Ok(Err(refused));
        }
        let settings = self.provider.settings();
        let claims = &jwt.claims;
        if !same(claims.text("nonce").unwrap_or_default(), nonce) {
            return Ok(Err(Refused::Nonce));
        }
        // Keycloak says which of its tokens is which.
        if claims.text("typ").is_some_and(|kind| kind != "ID") {
            return Ok(Err(Refused::Type));
        }
        let acr = claims.text("acr");
        let is_strong = acr.is_some_and(|acr| settings.acr.iter().any(|one| one == acr));
        if !settings.acr.is_empty() && !is_strong {
            return Ok(Err(Refused::Acr));
        }
        if let (Some(hash), Some(access)) = (claims.text("at_hash"), access)
            && access_hash(&jwt.algorithm, access.expose()).as_deref() != Some(hash)
        {
            return Ok(Err(Refused::AccessHash));
        }
        Ok(self.provider.verify(&jwt).await?.map(|()| jwt.claims))
    }

    /// Algorithm, issuer, audience and lifetime of a token that is for nobody but us.
    fn for_us(&self, jwt: &Jwt<'_>) -> Result<(), Refused> {
        let settings = self.provider.settings();
        let claims = &jwt.claims;
        check::algorithm(jwt, settings)?;
        if claims.text("iss") != Some(settings.issuer.as_str()) {
            return Err(Refused::Issuer);
        }
        let ours = settings.client_id.as_deref().ok_or(Refused::Audience)?;
        let audience = claims.texts("aud");
        if !audience.contains(&ours) {
            return Err(Refused::Audience);
        }
        // Among several, it must have been given to us.
        let party = claims.text("azp");
        if party.is_some_and(|party| party != ours) || (audience.len() > 1 && party.is_none()) {
            return Err(Refused::Client);
        }
        check::lifetime(claims, settings.skew, self.clock.now())
    }

    /// Where a browser goes that logs out here, so that it logs out there, too; `None` where the
    /// provider has no such page.
    pub async fn end_session(&self, id_token: &Secret<String>, back: &str) -> Option<String> {
        let endpoint = self.provider.endpoints().await.ok()?.end_session?;
        let client_id = self.provider.settings().client_id.as_deref()?;
        Some(with_query(
            &endpoint,
            &[
                ("id_token_hint", id_token.expose()),
                ("client_id", client_id),
                ("post_logout_redirect_uri", back),
            ],
        ))
    }

    /// Whose sessions a logout message ends; `None` when it is not to be believed.
    ///
    /// # Errors
    /// [`DirectoryError::Away`]: the provider may say it again.
    pub async fn logged_out(&self, text: &str) -> Result<Option<LogoutToken>, DirectoryError> {
        let refused = match self.logout(text).await? {
            Ok(token) => return Ok(Some(token)),
            Err(refused) => refused,
        };
        tracing::info!(directory = "oidc", %refused, "a logout message was refused");
        Ok(None)
    }

    /// OpenID Connect Back-Channel Logout 1.0 §2.6.
    async fn logout(&self, text: &str) -> Result<Result<LogoutToken, Refused>, DirectoryError> {
        let jwt = match Jwt::parse(text) {
            Ok(jwt) => jwt,
            Err(error) => return Ok(Err(Refused::Form(error))),
        };
        let claims = &jwt.claims;
        if let Err(refused) = self.for_us(&jwt) {
            return Ok(Err(refused));
        }
        let is_message =
            claims.object("events").is_some_and(|it| it.object(LOGOUT_EVENT).is_some());
        let kind = jwt.header_type.as_deref();
        if !is_message || kind.is_some_and(|kind| !["logout+jwt", "jwt"].contains(&kind)) {
            return Ok(Err(Refused::Event));
        }
        // An ID token must never do as one.
        if claims.has("nonce") || !claims.has("iat") {
            return Ok(Err(Refused::Nonce));
        }
        let text = |name| claims.text(name).filter(|it: &&str| !it.is_empty()).map(str::to_owned);
        let token = LogoutToken { sid: text("sid"), subject: text("sub") };
        if token.sid.is_none() && token.subject.is_none() {
            return Ok(Err(Refused::Subject));
        }
        let (Some(id), Some(ends)) = (text("jti"), claims.seconds("exp")) else {
            return Ok(Err(Refused::Replay));
        };
        if let Err(refused) = self.provider.verify(&jwt).await? {
            return Ok(Err(refused));
        }
        let ends = Timestamp::from_seconds(ends).after(self.provider.settings().skew);
        let is_new = self.logouts.take(&id, ends, self.clock.now());
        Ok(if is_new { Ok(token) } else { Err(Refused::Replay) })
    }

    /// True when this cookie is one that we gave a while ago, and the state belongs to it.
    fn is_back(&self, browser: &Secret<String>, state: &str) -> bool {
        let given = browser.expose().split_once('.').and_then(|(given, _)| given.parse().ok());
        let Some(given) = given.filter(|it: &u64| *it < u64::MAX / 1_000) else { return false };
        let (given, now) = (Timestamp::from_seconds(given), self.clock.now());
        now.since(given) < limits::OIDC_LOGIN_TIMEOUT
            && given.since(now).is_zero()
            && same(&self.derived("state", browser), state)
    }

    fn derived(&self, what: &str, browser: &Secret<String>) -> String {
        let mut context = hmac::Context::with_key(&self.browsers);
        context.update(what.as_bytes());
        context.update(b":");
        context.update(browser.expose().as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

impl Logouts {
    /// True the first time.
    fn take(&self, id: &str, ends: Timestamp, now: Timestamp) -> bool {
        let mut name = [0; 32];
        name.copy_from_slice(digest::digest(&digest::SHA256, id.as_bytes()).as_ref());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, ends| *ends > now);
        // Only the provider can fill it, and ending a session twice harms nobody.
        if taken.len() >= limits::OIDC_LOGOUTS_MAX {
            taken.clear();
        }
        taken.insert(name, ends).is_none()
    }
}

/// The left half of the hash that goes with the ID token's algorithm (OpenID Connect Core
/// §3.1.3.6).
fn access_hash(algorithm: &str, access: &str) -> Option<String> {
    let hash = match algorithm {
        "RS256" | "PS256" | "ES256" => &digest::SHA256,
        "RS384" | "PS384" | "ES384" => &digest::SHA384,
        "RS512" | "PS512" | "EdDSA" => &digest::SHA512,
        _ => return None,
    };
    let hash = digest::digest(hash, access.as_bytes());
    let octets = hash.as_ref();
    Some(URL_SAFE_NO_PAD.encode(&octets[..octets.len() / 2]))
}

fn with_query(address: &str, fields: &[(&str, &str)]) -> String {
    let and = if address.contains('?') { '&' } else { '?' };
    format!("{address}{and}{}", fetch::form(fields))
}

fn same(one: &str, other: &str) -> bool {
    !one.is_empty() && verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
