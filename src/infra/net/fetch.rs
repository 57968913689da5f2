//! Documents over HTTP: bounded in octets and time, no redirects, no proxies, no public CA.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;

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

/// What [`Fetcher::save`] brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// 304: as before.
    Unchanged,
    /// 200: the body is in the file.
    File {
        /// What the server calls it (RFC 6266 §4.3), when that is a plain file name.
        name: Option<String>,
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
        let builder = Self::builder(anchors, silence, whole)?;
        let client = builder.build().map_err(|error| NetError::Tls(error.to_string()))?;
        Ok(Self { client })
    }

    /// The same for one host, which is called at these addresses and nowhere else, whatever
    /// the DNS says by then.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn at(
        anchors: &[CertificateDer<'static>],
        timeout: Duration,
        host: &str,
        addresses: &[SocketAddr],
    ) -> Result<Self, NetError> {
        let builder = Self::builder(anchors, timeout, timeout)?;
        let builder = builder.resolve_to_addrs(host, addresses);
        let client = builder.build().map_err(|error| NetError::Tls(error.to_string()))?;
        Ok(Self { client })
    }

    fn builder(
        anchors: &[CertificateDer<'static>],
        silence: Duration,
        whole: Duration,
    ) -> Result<reqwest::ClientBuilder, NetError> {
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
        Ok(reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // What a certificate or the configuration names is where we go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vaguemestre/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .timeout(whole)
            .connect_timeout(silence)
            .read_timeout(silence)
            .pool_max_idle_per_host(0))
    }

    /// GET of something that may not be there: `None` for 404 and 410.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn find(&self, url: &str, octets_max: usize) -> Result<Option<Vec<u8>>, NetError> {
        let response = self.client.get(url).send().await.map_err(|error| failed(url, error))?;
        if matches!(response.status().as_u16(), 404 | 410) {
            return Ok(None);
        }
        body(url, response, octets_max).await.map(Some)
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
        let Some((response, validators)) = self.fetched(url, known).await? else {
            return Ok(Fetched::Unchanged);
        };
        let octets = body(url, response, octets_max).await?;
        Ok(Fetched::Document { octets, validators })
    }

    /// The same for large documents, into a file. The file is durable when this returns; after an
    /// error it may hold a beginning.
    ///
    /// # Errors
    /// As [`Self::get`], and when the file cannot be written.
    pub async fn save(
        &self,
        url: &str,
        file: &Path,
        octets_max: u64,
        known: &Validators,
    ) -> Result<Saved, NetError> {
        let Some((mut response, validators)) = self.fetched(url, known).await? else {
            return Ok(Saved::Unchanged);
        };
        let refused = |reason: String| NetError::Fetch { url: url.to_owned(), reason };
        let too_many = || refused(format!("more than {octets_max} octets"));
        check(url, &response)?;
        let expected = response.content_length();
        if expected.is_some_and(|length| length > octets_max) {
            return Err(too_many());
        }
        let name = response.headers().get(header::CONTENT_DISPOSITION);
        let name = name.and_then(|value| value.to_str().ok()).and_then(file_name);
        let written = |error: std::io::Error| refused(format!("cannot be kept: {error}"));
        let mut target = tokio::fs::File::create(file).await.map_err(written)?;
        let mut octets = 0_u64;
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, error))? {
            octets += chunk.len() as u64;
            if octets > octets_max {
                return Err(too_many());
            }
            target.write_all(&chunk).await.map_err(written)?;
        }
        target.sync_all().await.map_err(written)?;
        Ok(Saved::File { name, validators })
    }

    /// A GET's answer, or `None` when nothing has changed.
    async fn fetched(
        &self,
        url: &str,
        known: &Validators,
    ) -> Result<Option<(reqwest::Response, Validators)>, NetError> {
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
            return Ok(None);
        }
        let text = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            (value.len() <= VALIDATOR_OCTETS_MAX).then(|| value.to_owned())
        };
        let validators =
            Validators { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) };
        Ok(Some((response, validators)))
    }

    /// PATCH of a small body, with a key in a header. Answers the status and, in seconds, how
    /// long the other side asks to wait; what it says besides is not read.
    ///
    /// # Errors
    /// [`NetError::Fetch`] when there is no answer.
    pub async fn patch(
        &self,
        url: &str,
        content_type: &'static str,
        key: Option<(&'static str, &Secret<String>)>,
        content: Vec<u8>,
    ) -> Result<(u16, Option<u64>), NetError> {
        let mut request = self.client.patch(url).header(header::CONTENT_TYPE, content_type);
        if let Some((name, key)) = key {
            request = request.header(name, key.expose().as_str());
        }
        let response = request.body(content).send().await.map_err(|error| failed(url, error))?;
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((response.status().as_u16(), after))
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
    check(url, &response)?;
    bounded(url, &mut response, octets_max).await
}

/// Refuses what is no plain 200.
fn check(url: &str, response: &reqwest::Response) -> Result<(), NetError> {
    match response.status() {
        reqwest::StatusCode::OK => unpacked(url, response),
        status => Err(refused(url, status)),
    }
}

/// We offer no packing, and unpacking would be a way round the limits.
fn unpacked(url: &str, response: &reqwest::Response) -> Result<(), NetError> {
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        let reason = "packed, although nobody asked for that".to_owned();
        return Err(NetError::Fetch { url: url.to_owned(), reason });
    }
    Ok(())
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
    unpacked(url, response)?;
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

/// The `filename` of a Content-Disposition, when it is letters, digits, `.`, `_` and `-` only:
/// a server does not choose our folders.
fn file_name(disposition: &str) -> Option<String> {
    let value = disposition.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
    let name = value.trim().trim_matches('"');
    let is_plain = (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet));
    is_plain.then(|| name.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_does_not_choose_our_folders() {
        let file = "Extraction_Correspondance_MSSante_202611210730.zip";
        for given in
            [format!("attachment; filename={file}"), format!("attachment;filename=\"{file}\"")]
        {
            assert_eq!(file_name(&given).as_deref(), Some(file));
        }
        for bad in [
            "attachment",
            "filename=../../etc/passwd",
            "filename=\"a/b\"",
            "filename=.ssh",
            "filename=",
            "filename=é",
        ] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
    }
}
