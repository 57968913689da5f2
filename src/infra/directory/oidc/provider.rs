//! What we know of the provider and what we ask it.
//!
//! Its description and keys are fetched when they are first needed, again every hour, and when a
//! token names a key that we have not seen; never more often than every few seconds, whatever
//! strangers show us. While the provider is away, what it last said goes on to count.
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;
use tokio::sync::Semaphore;

use crate::domain::limits;
use crate::domain::login::Source;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::infra::clock::Clock;
use crate::infra::directory::DirectoryError;
use crate::infra::directory::oidc::Settings;
use crate::infra::directory::oidc::check;
use crate::infra::directory::oidc::check::Refused;
use crate::infra::directory::oidc::keys::Keys;
use crate::infra::net;
use crate::infra::net::NetError;
use crate::infra::net::fetch;
use crate::infra::net::fetch::Answer;
use crate::infra::net::fetch::Fetcher;
use crate::infra::net::fetch::Question;
use crate::proto::jwt::Claims;
use crate::proto::jwt::Jwt;

/// Keys are looked at again after so long, in the background.
const FRESH_FOR: Duration = Duration::from_secs(3_600);
/// At most one fetch in so long, whoever asks.
const FETCH_EVERY: Duration = Duration::from_secs(5);

/// One OpenID provider.
pub(super) struct Provider {
    known: Arc<Knowledge>,
}

struct Knowledge {
    settings: Settings,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Known>,
    /// Whoever holds it fetches; the others wait for what it brings.
    fetching: Mutex<Fetches>,
    waiting: Semaphore,
}

#[derive(Default)]
struct Fetches {
    last: Option<Timestamp>,
    failure: Option<String>,
}

/// What the provider said last.
struct Known {
    endpoints: Endpoints,
    keys: Keys,
    /// The key document as it came: another one is another generation.
    document: Vec<u8>,
    generation: u64,
    at: Timestamp,
}

/// Addresses of its description (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, Default)]
pub(super) struct Endpoints {
    pub(super) authorization: Option<String>,
    pub(super) token: Option<String>,
    pub(super) introspection: Option<String>,
    pub(super) userinfo: Option<String>,
    pub(super) end_session: Option<String>,
    /// It puts `iss` into its answers to browsers (RFC 9207 §3).
    pub(super) names_itself: bool,
}

impl Provider {
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        let anchors = match settings.anchors.as_slice() {
            // Nobody but this machine itself, over plain HTTP; `away` says so.
            [] => Vec::new(),
            files => net::load_anchors(files)?,
        };
        let fetcher = Fetcher::new(&anchors, settings.timeout)?;
        let known = Knowledge {
            settings,
            fetcher,
            clock,
            current: ArcSwapOption::empty(),
            fetching: Mutex::default(),
            waiting: Semaphore::new(limits::OIDC_WAITING_MAX),
        };
        Ok(Self { known: Arc::new(known) })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.known.settings
    }

    /// A number that changes with the keys.
    pub(super) fn keys_in_use(&self) -> u64 {
        self.known.current.load().as_ref().map_or(0, |known| known.generation)
    }

    /// Its addresses.
    pub(super) async fn endpoints(&self) -> Result<Endpoints, DirectoryError> {
        Ok(self.current().await?.endpoints.clone())
    }

    /// Whether one of the provider's keys made the signature.
    ///
    /// # Errors
    /// When the keys cannot be had: then nobody knows, and nobody is refused.
    pub(super) async fn verify(
        &self,
        jwt: &Jwt<'_>,
    ) -> Result<Result<(), Refused>, DirectoryError> {
        let mut known = self.current().await?;
        if !known.keys.has(jwt) {
            // It may have changed its keys a moment ago.
            known = self.known.refetch(&known).await?;
        }
        Ok(known.keys.verify(jwt))
    }

    async fn current(&self) -> Result<Arc<Known>, DirectoryError> {
        let Some(known) = self.known.current.load_full() else {
            return self.known.first().await;
        };
        if self.known.clock.now().since(known.at) >= FRESH_FOR {
            // Nobody waits for that: what we have is good.
            let (knowledge, old) = (Arc::clone(&self.known), Arc::clone(&known));
            tokio::spawn(async move {
                if let Err(error) = knowledge.refetch(&old).await {
                    tracing::warn!(%error, "the OpenID provider's keys cannot be looked at again");
                }
            });
        }
        Ok(known)
    }

    /// What the provider says about a token; `None` when it is not active.
    pub(super) async fn introspect(&self, token: &str) -> Result<Option<Claims>, DirectoryError> {
        let endpoints = self.endpoints().await?;
        let settings = self.settings();
        if settings.client_id.is_none() || settings.client_secret.is_none() {
            return Err(away("oidc.client_id or oidc.client_secret_file is missing".to_owned()));
        }
        let Some(url) = endpoints.introspection else {
            return Err(away("it describes no introspection_endpoint".to_owned()));
        };
        // A token that could not stand in a header is none, and is not sent around.
        if token.is_empty() || token.len() > limits::TOKEN_OCTETS_MAX {
            return Ok(None);
        }
        let form = [("token", token), ("token_type_hint", "access_token")];
        let answer = self.ask(&url, Some(&form), self.basic().as_ref()).await?;
        // RFC 7662 §2.3: 401 is about us, not about the token.
        if answer.status != 200 {
            return Err(away(format!("introspection: HTTP {}", answer.status)));
        }
        let claims = claims(&answer)?;
        Ok((claims.truth("active") == Some(true)).then_some(claims))
    }

    /// The same where we have a name at the provider and it has such an endpoint.
    pub(super) async fn introspect_if_we_can(
        &self,
        token: &str,
    ) -> Result<Option<Claims>, DirectoryError> {
        let settings = self.settings();
        let can = settings.client_id.is_some() && settings.client_secret.is_some();
        if !can || self.endpoints().await?.introspection.is_none() {
            return Ok(None);
        }
        self.introspect(token).await
    }

    /// What the provider says about a token's person; `None` when it does not take the token.
    pub(super) async fn userinfo(&self, token: &str) -> Result<Option<Claims>, DirectoryError> {
        let Some(url) = self.endpoints().await?.userinfo else { return Ok(None) };
        let bearer = Secret::new(format!("Bearer {token}"));
        let answer = self.ask(&url, None, Some(&bearer)).await?;
        if answer.status != 200 {
            return Ok(None);
        }
        if answer.content_type != "application/jwt" {
            return claims(&answer).map(Some);
        }
        // OpenID Connect Core §5.3.2: it may be signed, and is then for us.
        let signed = std::str::from_utf8(answer.octets.expose()).ok().map(str::trim);
        let Some(Ok(jwt)) = signed.map(Jwt::parse) else { return Ok(None) };
        let is_ours = |name, ours: Option<&str>| {
            !jwt.claims.has(name) || ours.is_some_and(|ours| jwt.claims.texts(name).contains(&ours))
        };
        let settings = self.settings();
        let is_taken = check::algorithm(&jwt, settings).is_ok()
            && is_ours("iss", Some(&settings.issuer))
            && is_ours("aud", settings.client_id.as_deref());
        if !is_taken || self.verify(&jwt).await?.is_err() {
            return Ok(None);
        }
        Ok(Some(jwt.claims))
    }

    /// Asks one of its endpoints.
    pub(super) async fn ask(
        &self,
        url: &str,
        form: Option<&[(&str, &str)]>,
        authorization: Option<&Secret<String>>,
    ) -> Result<Answer, DirectoryError> {
        let question = Question { form, authorization };
        let asked = self.known.fetcher.ask(url, question, limits::OIDC_ANSWER_OCTETS_MAX);
        // The whole of it: a server that sends one octet a second is late, too.
        match tokio::time::timeout(self.settings().timeout, asked).await {
            Ok(answer) => answer.map_err(|error| self.known.away(&error)),
            Err(_) => Err(away(format!("{url}: it took too long"))),
        }
    }

    /// Our name and secret (RFC 6749 §2.3.1), when we have a secret.
    pub(super) fn basic(&self) -> Option<Secret<String>> {
        let settings = self.settings();
        let (id, secret) = settings.client_id.as_ref().zip(settings.client_secret.as_ref())?;
        let secret = Secret::new(fetch::form_word(secret.expose()));
        let pair = Secret::new(format!("{}:{}", fetch::form_word(id), secret.expose()));
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
    }
}

impl Knowledge {
    /// What is known, when nothing was a moment ago.
    async fn first(&self) -> Result<Arc<Known>, DirectoryError> {
        let _place = self.waiting.try_acquire().map_err(|_| DirectoryError::Busy)?;
        let mut fetches = self.fetching.lock().await;
        if let Some(known) = self.current.load_full() {
            return Ok(known);
        }
        if self.is_too_soon(&fetches)
            && let Some(failure) = &fetches.failure
        {
            return Err(away(failure.clone()));
        }
        self.fetch(&mut fetches).await
    }

    /// What is known now that `old` was not enough.
    async fn refetch(&self, old: &Arc<Known>) -> Result<Arc<Known>, DirectoryError> {
        let _place = self.waiting.try_acquire().map_err(|_| DirectoryError::Busy)?;
        let mut fetches = self.fetching.lock().await;
        if let Some(known) = self.current.load_full()
            && (known.at > old.at || known.generation != old.generation)
        {
            return Ok(known);
        }
        // Not yet: others have just asked. Whoever waits here waits for the next answer; whoever
        // comes behind them gets it without asking.
        if let Some(last) = fetches.last {
            let passed = self.clock.now().since(last);
            if passed < FETCH_EVERY {
                if let Some(failure) = &fetches.failure {
                    return Err(away(failure.clone()));
                }
                tokio::time::sleep(FETCH_EVERY - passed).await;
            }
        }
        self.fetch(&mut fetches).await
    }

    fn is_too_soon(&self, fetches: &Fetches) -> bool {
        fetches.last.is_some_and(|last| self.clock.now().since(last) < FETCH_EVERY)
    }

    async fn fetch(&self, fetches: &mut Fetches) -> Result<Arc<Known>, DirectoryError> {
        // Before the answer: a fetch that is given up in the middle was one, too.
        fetches.last = Some(self.clock.now());
        let fetched = tokio::time::timeout(self.settings.timeout, self.describe()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(away("it took too long".to_owned())));
        let (endpoints, keys, document) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                fetches.failure = Some(match &error {
                    DirectoryError::Away { reason, .. } => reason.clone(),
                    other => other.to_string(),
                });
                tracing::warn!(%error, "the OpenID provider does not answer");
                return Err(error);
            }
        };
        fetches.failure = None;
        let (generation, changed) = match self.current.load().as_ref() {
            Some(old) if old.document == document => (old.generation, false),
            Some(old) => (old.generation + 1, true),
            None => (1, true),
        };
        if changed {
            tracing::info!(generation, "keys of the OpenID provider are in use");
        }
        let at = self.clock.now();
        let known = Arc::new(Known { endpoints, keys, document, generation, at });
        self.current.store(Some(Arc::clone(&known)));
        Ok(known)
    }

    /// Description and keys.
    async fn describe(&self) -> Result<(Endpoints, Keys, Vec<u8>), DirectoryError> {
        let issuer = self.settings.issuer.as_str();
        let url = match self.settings.discovery.strip_prefix('/') {
            Some(path) => format!("{}/{path}", issuer.trim_end_matches('/')),
            None => self.settings.discovery.clone(),
        };
        let description = self.document(&url).await?;
        let claims = Claims::parse(&description, limits::OIDC_ANSWER_OCTETS_MAX)
            .map_err(|error| away(format!("{url}: {error}")))?;
        // OpenID Connect Discovery 1.0 §4.3: or anybody could describe themselves in its name.
        if claims.text("issuer") != Some(issuer) {
            return Err(away(format!("{url}: its issuer is not oidc.issuer")));
        }
        let endpoint = |name: &str| {
            let address = claims.text(name)?;
            is_private(address).then(|| address.to_owned())
        };
        let Some(jwks) = endpoint("jwks_uri") else {
            return Err(away(format!("{url}: no jwks_uri over https")));
        };
        let endpoints = Endpoints {
            authorization: endpoint("authorization_endpoint"),
            token: endpoint("token_endpoint"),
            introspection: endpoint("introspection_endpoint"),
            userinfo: endpoint("userinfo_endpoint"),
            end_session: endpoint("end_session_endpoint"),
            names_itself: claims.truth("authorization_response_iss_parameter_supported")
                == Some(true),
        };
        let document = self.document(&jwks).await?;
        let keys = Keys::parse(&document).filter(|keys| !keys.is_empty());
        let keys = keys.ok_or_else(|| away(format!("{jwks}: no keys that we can use")))?;
        Ok((endpoints, keys, document))
    }

    async fn document(&self, url: &str) -> Result<Vec<u8>, DirectoryError> {
        let asked = self.fetcher.ask(url, Question::default(), limits::OIDC_ANSWER_OCTETS_MAX);
        let answer = asked.await.map_err(|error| self.away(&error))?;
        match answer.status {
            200 => Ok(answer.octets.expose().clone()),
            status => Err(away(format!("{url}: HTTP {status}"))),
        }
    }

    fn away(&self, error: &NetError) -> DirectoryError {
        let is_https = self.settings.issuer.starts_with("https://");
        let hint = if self.settings.anchors.is_empty() && is_https {
            " (oidc.anchors is empty: no certificate is trusted)"
        } else {
            ""
        };
        away(format!("{error}{hint}"))
    }
}

/// `https://`, or plain HTTP within this machine.
fn is_private(address: &str) -> bool {
    let is_local = ["http://127.0.0.1", "http://[::1]", "http://localhost"].iter().any(|start| {
        let rest = address.strip_prefix(start);
        rest.is_some_and(|rest| rest.starts_with([':', '/']))
    });
    let is_plain = address.bytes().all(|c| c.is_ascii_graphic());
    is_plain && (is_local || address.starts_with("https://"))
}

fn claims(answer: &Answer) -> Result<Claims, DirectoryError> {
    Claims::parse(answer.octets.expose(), limits::OIDC_ANSWER_OCTETS_MAX)
        .map_err(|error| away(format!("an answer of it cannot be read: {error}")))
}

pub(super) fn away(reason: String) -> DirectoryError {
    DirectoryError::Away { directory: Source::Oidc, reason }
}
