//! Certificates of OpenPGP for everybody: the Web Key Directory of our domains
//! (draft-koch-openpgp-webkey-service) and look-ups as key servers answer them
//! (draft-shaw-openpgp-hkp), exact ones only.
//!
//! Whom we do not publish is not told apart from whom we do not know, by answer or by time.
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::time::Timestamp;
use crate::infra::keys::peers::PeerCertificate;
use crate::proto::wkd;
use crate::server::web::desk::Sought;
use crate::server::web::pages::Made;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;

/// No answer comes sooner: longer than any look into the store.
const NOT_BEFORE: Duration = Duration::from_millis(25);

/// The addresses of this room.
pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/.well-known/openpgpkey/policy", get(direct_policy))
        .route("/.well-known/openpgpkey/hu/{name}", get(direct))
        .route("/.well-known/openpgpkey/{domain}/policy", get(advanced_policy))
        .route("/.well-known/openpgpkey/{domain}/hu/{name}", get(advanced))
        .route("/pks/lookup", get(look_up))
}

async fn advanced_policy(State(site): State<Arc<Site>>, Path(domain): Path<String>) -> Response {
    policy(&site, Domain::parse(&domain).ok())
}

async fn direct_policy(State(site): State<Arc<Site>>, headers: HeaderMap, uri: Uri) -> Response {
    policy(&site, host(&headers, &uri))
}

/// The file that says that there is a directory. It has nothing to say besides: certificates
/// come from the relay itself, nobody submits any.
fn policy(site: &Site, domain: Option<Domain>) -> Response {
    match domain.filter(|domain| site.house.certificates_of.contains(domain)) {
        Some(_) => typed(StatusCode::OK, "text/plain; charset=utf-8", Vec::new()),
        None => nothing(),
    }
}

async fn advanced(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path((domain, name)): Path<(String, String)>,
) -> Response {
    show(&site, &visitor, Domain::parse(&domain).ok(), name).await
}

async fn direct(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    show(&site, &visitor, host(&headers, &uri), name).await
}

async fn show(site: &Site, visitor: &Visitor, domain: Option<Domain>, name: String) -> Response {
    if !site.lookups.begin(visitor.ip, site.desk.now()) {
        return put_off();
    }
    let domain = domain.filter(|domain| site.house.certificates_of.contains(domain));
    let Some(domain) = domain.filter(|_| name.len() == wkd::HASH_DIGITS) else {
        tokio::time::sleep(NOT_BEFORE).await;
        return nothing();
    };
    match found(site, Sought::Named(domain, name)).await {
        Ok(certificates) if certificates.is_empty() => nothing(),
        Ok(certificates) => match binary(&certificates) {
            Some(octets) => typed(StatusCode::OK, "application/octet-stream", octets),
            None => failed(),
        },
        Err(response) => response,
    }
}

/// What somebody asks of a key server.
#[derive(Deserialize)]
pub struct LookUp {
    op: Option<String>,
    options: Option<String>,
    search: Option<String>,
}

async fn look_up(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<LookUp>,
) -> Response {
    if site.house.certificates_of.is_empty() {
        return nothing();
    }
    if !site.lookups.begin(visitor.ip, site.desk.now()) {
        return put_off();
    }
    let op = query.op.as_deref().unwrap_or("get");
    if !matches!(op, "get" | "index" | "vindex") {
        return typed(StatusCode::NOT_IMPLEMENTED, "text/plain; charset=utf-8", Vec::new());
    }
    let Some(wanted) = query.search.as_deref().and_then(wanted) else {
        let text = "search: an address, or 0x and a fingerprint or long key id\n";
        let plain = "text/plain; charset=utf-8";
        return typed(StatusCode::BAD_REQUEST, plain, text.as_bytes().to_vec());
    };
    let certificates = match found(&site, wanted).await {
        Ok(certificates) if certificates.is_empty() => return nothing(),
        Ok(certificates) => certificates,
        Err(response) => return response,
    };
    if op == "get" {
        let armoured: Option<Vec<String>> =
            certificates.iter().map(|it| it.to_armour().ok()).collect();
        return match armoured {
            Some(blocks) => {
                typed(StatusCode::OK, "application/pgp-keys", blocks.concat().into_bytes())
            }
            None => failed(),
        };
    }
    // Without `mr` a page for people would be allowed; the list for programs serves both.
    let _for_programs = query.options;
    let text = index(&certificates, site.desk.now());
    typed(StatusCode::OK, "text/plain; charset=utf-8", text.into_bytes())
}

/// An exact address, or a whole fingerprint or long key id. Short key ids are anybody's.
fn wanted(search: &str) -> Option<Sought> {
    let search = search.trim();
    if let Some(key) = search.strip_prefix("0x").or_else(|| search.strip_prefix("0X")) {
        let is_key =
            matches!(key.len(), 16 | 40 | 64) && key.bytes().all(|octet| octet.is_ascii_hexdigit());
        return is_key.then(|| Sought::WithKey(key.to_ascii_uppercase()));
    }
    Address::parse(search).ok().map(Sought::Of)
}

/// The machine-readable index of draft-shaw-openpgp-hkp §5.2.
fn index(certificates: &[PeerCertificate], now: Timestamp) -> String {
    let mut text = format!("info:1:{}\n", certificates.len());
    for certificate in certificates {
        let listed = certificate.listed(now);
        let flags = match (listed.revoked, listed.expires.is_some_and(|end| end <= now)) {
            (true, true) => "re",
            (true, false) => "r",
            (false, true) => "e",
            (false, false) => "",
        };
        let bits = listed.bits.map(|bits| bits.to_string()).unwrap_or_default();
        let created = listed.created.as_seconds();
        let expires = listed.expires.map(|end| end.as_seconds().to_string()).unwrap_or_default();
        text.push_str(&format!(
            "pub:{}:{}:{bits}:{created}:{expires}:{flags}\n",
            certificate.fingerprint(),
            listed.algorithm
        ));
        for id in listed.user_ids {
            text.push_str(&format!("uid:{}:{created}:{expires}:{flags}\n", escaped(&id)));
        }
    }
    text
}

/// RFC 3986 §2.1, for a colon above all.
fn escaped(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_graphic() && octet != b':' && octet != b'%';
    text.bytes()
        .map(|octet| match octet {
            octet if plain(octet) || octet == b' ' => char::from(octet).to_string(),
            octet => format!("%{octet:02X}"),
        })
        .collect()
}

async fn found(site: &Site, wanted: Sought) -> Result<Vec<PeerCertificate>, Response> {
    let look = site.desk.published(&wanted);
    let (found, ()) = tokio::join!(look, tokio::time::sleep(NOT_BEFORE));
    found.map_err(|_| failed())
}

/// Certificates one behind the other: the one in use, then revoked ones.
fn binary(certificates: &[PeerCertificate]) -> Option<Vec<u8>> {
    let octets: Option<Vec<Vec<u8>>> = certificates.iter().map(|it| it.to_binary().ok()).collect();
    octets.map(|octets| octets.concat())
}

/// The domain that was asked, from the name of the host.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<Domain> {
    // HTTP/2 carries the host as `:authority`.
    let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(named)?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    Domain::parse(host).ok()
}

fn nothing() -> Response {
    typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", b"not found\n".to_vec())
}

fn put_off() -> Response {
    let mut response =
        typed(StatusCode::TOO_MANY_REQUESTS, "text/plain; charset=utf-8", Vec::new());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

fn failed() -> Response {
    typed(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", Vec::new())
}

/// Something for programs, of any site.
fn typed(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
    response.extensions_mut().insert(Made);
    response
}
