//! The FHIR API v2 of the *Annuaire Santé*: details of a mailbox, and what changed since a day.
//!
//! The daily file is the truth; this answers for what the file does not have yet. One address, one
//! key, a number of requests a second, bounded answers. A `next` link is opaque, and is followed on
//! the same origin only: the key goes nowhere else.
mod bundle; // the JSON of answers

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;

use crate::domain::limits;
use crate::domain::secret::Secret;

pub use bundle::LiveMailbox;
pub use bundle::Resource;

/// The header of the key.
const KEY_HEADER: &str = "ESANTE-API-KEY";
/// A page has this many entries, as the API's own default.
const PAGE_ENTRIES: &str = "50";
/// A request that was turned away with 429 or 503 is tried so often in all.
const TRIES: u32 = 4;
/// A `Retry-After` (RFC 9110 §10.2.3) over this is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Wait before the next try when the server names none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the client needs.
pub struct Settings {
    /// `https://gateway.api.esante.gouv.fr/fhir/v2`, without a slash at its end.
    pub url: String,
    /// The API key.
    pub key: Option<Secret<String>>,
    /// CA certificates of its host; no public CA is trusted.
    pub anchors: Vec<CertificateDer<'static>>,
    /// Requests in any second; the national API allows 17.
    pub per_second: u32,
    /// Time for one question.
    pub timeout: Duration,
}

/// Why the API gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum FhirError {
    /// The configuration cannot be used.
    #[error("FHIR API: {0}")]
    Settings(String),
    /// It did not answer, or not in time.
    #[error("FHIR API: no answer: {0}")]
    Away(String),
    /// It refused.
    #[error("FHIR API: HTTP {0}{1}")]
    Status(u16, &'static str),
    /// It asks to come back later than we wait.
    #[error("FHIR API: busy; it asks to come back later")]
    Busy,
    /// The answer is no Bundle, or has another form.
    #[error("FHIR API: the answer cannot be read: {0}")]
    Form(String),
    /// The answer is larger than any real one.
    #[error("FHIR API: an answer of more than {0} octets")]
    TooLarge(usize),
    /// The next page lies on another host: the key does not go there.
    #[error("FHIR API: the next page lies elsewhere, and is not fetched")]
    Elsewhere,
    /// More pages than any real answer has, or the same page again.
    #[error("FHIR API: the pages do not end")]
    Endless,
}

/// The client.
pub struct Fhir {
    client: reqwest::Client,
    base: Url,
    key: Option<HeaderValue>,
    /// A permit comes back a second after its request began.
    pace: Arc<Semaphore>,
}

impl Fhir {
    /// A client of that address.
    ///
    /// # Errors
    /// [`FhirError::Settings`] when the address, the key or an anchor cannot be used.
    pub fn new(settings: Settings) -> Result<Self, FhirError> {
        let refused = |error: &dyn std::fmt::Display| FhirError::Settings(error.to_string());
        let base = Url::parse(&settings.url).map_err(|error| refused(&error))?;
        let mut roots = RootCertStore::empty();
        for anchor in settings.anchors {
            roots.add(anchor).map_err(|error| refused(&error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vaguemestre/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .timeout(settings.timeout)
            .build()
            .map_err(|error| refused(&error))?;
        let key = match &settings.key {
            None => None,
            Some(key) => {
                let mut value = HeaderValue::from_str(key.expose().trim())
                    .map_err(|_| FhirError::Settings("the key holds other signs".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let pace = Arc::new(Semaphore::new(settings.per_second.max(1) as usize));
        Ok(Self { client, base, key, pace })
    }

    /// Everything that is known of one address.
    ///
    /// # Errors
    /// [`FhirError`].
    pub async fn mailbox(&self, address: &str) -> Result<Vec<LiveMailbox>, FhirError> {
        let mut found = Vec::new();
        for resource in Resource::ALL {
            self.search(resource, &[("mailbox-mss:exact", address)], &mut |mailbox| {
                // The server's idea of equality has varied.
                if mailbox.address.eq_ignore_ascii_case(address) {
                    found.push(mailbox);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// Mailboxes under an identifier: an RPPS, a FINESS, `system|value`.
    ///
    /// # Errors
    /// [`FhirError`].
    pub async fn identifier(
        &self,
        resource: Resource,
        identifier: &str,
    ) -> Result<Vec<LiveMailbox>, FhirError> {
        let mut found = Vec::new();
        self.search(resource, &[("identifier", identifier)], &mut |mailbox| found.push(mailbox))
            .await?;
        Ok(found)
    }

    /// Mailboxes of resources that changed since `since` (`YYYY-MM-DD` or RFC 3339). The API
    /// remembers thirty days.
    ///
    /// # Errors
    /// [`FhirError`].
    pub async fn changed_since(
        &self,
        since: &str,
        hear: &mut (dyn FnMut(LiveMailbox) + Send),
    ) -> Result<(), FhirError> {
        let since = format!("ge{since}");
        for resource in Resource::ALL {
            let wanted = [("_lastUpdated", since.as_str()), ("mailbox-mss:contains", "@")];
            self.search(resource, &wanted, hear).await?;
        }
        Ok(())
    }

    /// Asks, and follows the pages.
    async fn search(
        &self,
        resource: Resource,
        parameters: &[(&str, &str)],
        hear: &mut (dyn FnMut(LiveMailbox) + Send),
    ) -> Result<(), FhirError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| FhirError::Settings("the address has no path".to_owned()))?
            .pop_if_empty()
            .push(resource.name());
        url.query_pairs_mut().extend_pairs(parameters).append_pair("_count", PAGE_ENTRIES);
        let mut seen = HashSet::new();
        for _ in 0..limits::FHIR_PAGES_MAX {
            if !seen.insert(url.as_str().to_owned()) {
                return Err(FhirError::Endless);
            }
            let page = bundle::read(&self.get(&url).await?)?;
            page.mailboxes.into_iter().for_each(&mut *hear);
            let Some(next) = page.next else { return Ok(()) };
            let next = url.join(&next).map_err(|error| FhirError::Form(error.to_string()))?;
            if next.origin() != self.base.origin() {
                return Err(FhirError::Elsewhere);
            }
            url = next;
        }
        Err(FhirError::Endless)
    }

    /// One answer, within the pace; a server that is busy is asked again.
    async fn get(&self, url: &Url) -> Result<Vec<u8>, FhirError> {
        let mut wait = RETRY_AFTER;
        for attempt in 1..=TRIES {
            self.take_turn().await;
            let mut request = self.client.get(url.clone());
            request = request.header(header::ACCEPT, "application/fhir+json");
            if let Some(key) = &self.key {
                request = request.header(KEY_HEADER, key.clone());
            }
            // Never the URL in an error: it may hold somebody's address.
            let response = request
                .send()
                .await
                .map_err(|error| FhirError::Away(error.without_url().to_string()))?;
            let status = response.status();
            let is_busy = status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::SERVICE_UNAVAILABLE;
            if !is_busy {
                return body(response).await;
            }
            let named = response.headers().get(header::RETRY_AFTER);
            let named = named.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            wait = named.map_or(wait, Duration::from_secs);
            if attempt == TRIES || wait > RETRY_AFTER_MAX {
                return Err(FhirError::Busy);
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
        }
        Err(FhirError::Busy)
    }

    /// Waits until fewer than `per_second` requests began within the last second.
    async fn take_turn(&self) {
        let Ok(permit) = Arc::clone(&self.pace).acquire_owned().await else { return };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(permit);
        });
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, FhirError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let code = response.status().as_u16();
            return Err(FhirError::Status(code, ": look at fhir.key_file"));
        }
        other => return Err(FhirError::Status(other.as_u16(), "")),
    }
    let max = limits::FHIR_ANSWER_OCTETS_MAX;
    let mut octets = Vec::new();
    let away = |error: reqwest::Error| FhirError::Away(error.without_url().to_string());
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if octets.len() + chunk.len() > max {
            return Err(FhirError::TooLarge(max));
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}
