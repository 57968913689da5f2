//! Documents over HTTP: bounded in octets and time, no redirects, no proxies, no public CA.
use std::sync::Arc;
use std::time::Duration;

use reqwest::header;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::domain::secret::Secret;
use crate::infra::net::NetError;

/// A validator over this is not kept: it would be sent back with each question.
const VALIDATOR_OCTETS_MAX: usize = 512;

/// Fetches documents.
pub struct Fetcher {
    client: reqwest::Client,
}

/// What a server said about its document, for the next conditional GET (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What a GET brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// 304: as before.
    Unchanged,
    /// 200.
    Document {
        /// The body.
        octets: Vec<u8>,
        /// For the next time.
        validators: Validators,
    },
}

impl Fetcher {
    /// Trusts servers under these anchors and no others; without anchors, plain HTTP only.
    /// `timeout` is for one whole document.
    ///
    /// # Errors
    /// [`NetError::Tls`] when an anchor is no CA certificate.
    pub fn new(anchors: &[CertificateDer<'static>], timeout: Duration) -> Result<Self, NetError> {
        Self::patient(anchors, timeout, timeout)
    }

    /// The same for large documents: `silence` is how long a server may say nothing, before its
    /// first octet and between two, and `whole` is for one whole document.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn patient(
        anchors: &[CertificateDer<'static>],
        silence: Duration,
        whole: Duration,
    ) -> Result<Self, NetError> {
        let refused = |error: &dyn std::fmt::Display| NetError::Tls(error.to_string());
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor.clone()).map_err(|error| refused(&error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // What a certificate or the configuration names is where we go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vaguemestre/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .timeout(whole)
            .connect_timeout(silence)
            .read_timeout(silence)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self { client })
    }

    /// GET, conditional when `known` says what we have.
    ///
    /// # Errors
    /// [`NetError::Fetch`] for every answer that is neither 200 nor 304, for one over
    /// `octets_max`, and for silence.
    pub async fn get(
        &self,
        url: &str,
        octets_max: usize,
        known: &Validators,
    ) -> Result<Fetched, NetError> {
        let mut request = self.client.get(url);
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(date) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        let response = request.send().await.map_err(|error| failed(url, error))?;
        if response.status() == reqwest::StatusCode::NOT_MODIFIED && *known != Validators::default()
        {
            return Ok(Fetched::Unchanged);
        }
        let text = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            (value.len() <= VALIDATOR_OCTETS_MAX).then(|| value.to_owned())
        };
        let validators =
            Validators { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) };
        let octets = body(url, response, octets_max).await?;
        Ok(Fetched::Document { octets, validators })
    }

    /// POST of a small body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        content: Vec<u8>,
        octets_max: usize,
    ) -> Result<Vec<u8>, NetError> {
        let request = self.client.post(url).header(header::CONTENT_TYPE, content_type);
        let response = request.body(content).send().await.map_err(|error| failed(url, error))?;
        body(url, response, octets_max).await
    }
}

/// Fields as `application/x-www-form-urlencoded`.
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        let and = if form.is_empty() { "" } else { "&" };
        form.push_str(and);
        form_octets(name, &mut form);
        form.push('=');
        form_octets(value, &mut form);
    }
    form
}

/// One word of a form; also what HTTP Basic wants of an OAuth client's name and secret
/// (RFC 6749 §2.3.1).
pub fn form_word(text: &str) -> String {
    let mut word = String::new();
    form_octets(text, &mut word);
    word
}

fn form_octets(text: &str, into: &mut String) {
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                into.push(char::from(octet));
            }
            b' ' => into.push('+'),
            other => into.push_str(&format!("%{other:02X}")),
        }
    }
}

/// One question to an API, and who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    /// Fields of a form, POSTed; without them it is a GET.
    pub form: Option<&'a [(&'a str, &'a str)]>,
    /// The whole `Authorization` field.
    pub authorization: Option<&'a Secret<String>>,
}

/// An API's answer, whether it liked the question or not.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status; never a redirection.
    pub status: u16,
    /// `Content-Type` without parameters, in small letters.
    pub content_type: String,
    /// The body.
    pub octets: Secret<Vec<u8>>,
}

impl Fetcher {
    /// Asks an API. Unlike [`Self::get`], a 4xx is an answer: it says why.
    ///
    /// # Errors
    /// [`NetError::Fetch`] for redirections, 5xx, what is over `octets_max`, and silence.
    pub async fn ask(
        &self,
        url: &str,
        question: Question<'_>,
        octets_max: usize,
    ) -> Result<Answer, NetError> {
        let mut request = match question.form {
            Some(fields) => {
                let kind = "application/x-www-form-urlencoded";
                self.client.post(url).header(header::CONTENT_TYPE, kind).body(form(fields))
            }
            None => self.client.get(url),
        };
        request = request.header(header::ACCEPT, "application/json, application/jwt");
        if let Some(authorization) = question.authorization {
            let value = header::HeaderValue::from_str(authorization.expose());
            let mut value = value.map_err(|_| NetError::Fetch {
                url: url.to_owned(),
                reason: "the credentials cannot stand in a header field".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(|error| failed(url, error))?;
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let content_type = kind.to_ascii_lowercase();
        if status.is_redirection() || status.is_server_error() {
            return Err(refused(url, status));
        }
        let octets = Secret::new(bounded(url, &mut response, octets_max).await?);
        Ok(Answer { status: status.as_u16(), content_type, octets })
    }
}

async fn body(
    url: &str,
    mut response: reqwest::Response,
    octets_max: usize,
) -> Result<Vec<u8>, NetError> {
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        return Err(refused(url, status));
    }
    bounded(url, &mut response, octets_max).await
}

fn refused(url: &str, status: reqwest::StatusCode) -> NetError {
    let elsewhere =
        if status.is_redirection() { ": it points elsewhere, and is not followed" } else { "" };
    NetError::Fetch { url: url.to_owned(), reason: format!("HTTP {}{elsewhere}", status.as_u16()) }
}

/// The body, if it is as it is and not too long.
async fn bounded(
    url: &str,
    response: &mut reqwest::Response,
    octets_max: usize,
) -> Result<Vec<u8>, NetError> {
    let refused = |reason: String| NetError::Fetch { url: url.to_owned(), reason };
    // We offer none, and unpacking would be a way round the limit.
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(refused("packed, although nobody asked for that".to_owned()));
    }
    let over = response.content_length().is_some_and(|length| length > octets_max as u64);
    if over {
        return Err(refused(format!("more than {octets_max} octets")));
    }
    let mut octets = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, error))? {
        if octets.len() + chunk.len() > octets_max {
            return Err(refused(format!("more than {octets_max} octets")));
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

/// With the causes behind it: "error sending request" alone helps nobody.
fn failed(url: &str, error: reqwest::Error) -> NetError {
    let is_late = error.is_timeout();
    // The address stands before the reason already.
    let error = error.without_url();
    let mut reason = String::new();
    if is_late {
        reason.push_str("it took too long");
    }
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            let colon = if reason.is_empty() { "" } else { ": " };
            reason.push_str(colon);
            reason.push_str(&text);
        }
        cause = error.source();
    }
    NetError::Fetch { url: url.to_owned(), reason }
}
