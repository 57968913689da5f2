//! How mail programs set themselves up, and the page that says the same to people.
//!
//! Answers follow from the configuration and the domain alone: whether an address has a mailbox
//! here shows in none of them.
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use serde::Deserialize;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::limits;
use crate::flow::setup::Setup;
use crate::proto::setup::Means;
use crate::proto::setup::Protocol;
use crate::proto::setup::Security;
use crate::proto::setup::apple;
use crate::proto::setup::autoconfig;
use crate::proto::setup::autodiscover;
use crate::proto::setup::autodiscover::Trouble;
use crate::server::web::language;
use crate::server::web::pages::Frame;
use crate::server::web::pages::Made;
use crate::server::web::pages::SetupDoor;
use crate::server::web::pages::SetupPage;
use crate::server::web::pages::page;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;
use crate::server::web::texts::Texts;

/// Outlook's versions do not agree on capitals.
const AUTODISCOVER: [&str; 4] =
    ["/autodiscover", "/Autodiscover", "/AutoDiscover", "/AUTODISCOVER"];
const XML: &str = "text/xml; charset=utf-8";

/// The pages of this room: those that the configuration switches on.
pub fn routes(setup: &Setup) -> Router<Arc<Site>> {
    let mut routes = Router::new();
    if setup.policy.is_some() {
        routes = routes.route("/.well-known/mta-sts.txt", get(policy));
    }
    if !setup.autoconfig {
        return routes;
    }
    for folder in AUTODISCOVER {
        for file in ["autodiscover", "Autodiscover", "AutoDiscover"] {
            routes = routes
                .route(&format!("{folder}/{file}.xml"), post(outlook))
                .route(&format!("{folder}/{file}.json"), get(outlook_json))
                .route(&format!("{folder}/{file}.json/v1.0/{{address}}"), get(outlook_json_of));
        }
    }
    routes
        .route("/mail/config-v1.1.xml", get(thunderbird))
        .route("/.well-known/autoconfig/mail/config-v1.1.xml", get(thunderbird))
        .route("/setup", get(people))
        .route("/setup/apple", get(apple_profile))
        .layer(DefaultBodyLimit::max(limits::AUTODISCOVER_OCTETS_MAX))
}

/// What Thunderbird adds to its question.
#[derive(Deserialize)]
pub struct AutoconfigQuery {
    emailaddress: Option<String>,
}

/// `GET /mail/config-v1.1.xml` on `autoconfig.DOMAIN`, and the same below `/.well-known/`.
async fn thunderbird(
    State(site): State<Arc<Site>>,
    Query(query): Query<AutoconfigQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let setup = &site.house.setup;
    // Thunderbird always names the address; others may ask with the host name alone.
    let domain = match &query.emailaddress {
        Some(address) => {
            address.rsplit_once('@').and_then(|(_, domain)| Domain::parse(domain).ok())
        }
        None => host(&headers, &uri, "autoconfig."),
    };
    match domain.filter(|domain| setup.domains.contains(domain)) {
        Some(domain) => typed(StatusCode::OK, XML, autoconfig::config(&setup.offer, &domain)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `POST /autodiscover/autodiscover.xml`
async fn outlook(State(site): State<Arc<Site>>, body: Bytes) -> Response {
    let setup = &site.house.setup;
    let answer = match autodiscover::question(&body) {
        Ok(question) if setup.domains.contains(question.address.domain()) => {
            autodiscover::settings(&setup.offer, &question)
        }
        Ok(_) => told(&site, Trouble::NotOurs),
        Err(trouble) => told(&site, trouble),
    };
    typed(StatusCode::OK, XML, answer)
}

fn told(site: &Site, trouble: Trouble) -> String {
    let time = language::in_paris(site.desk.now()).strftime("%H:%M:%S").to_string();
    autodiscover::trouble(trouble, &time)
}

/// What Outlook asks first: where the other form is.
#[derive(Deserialize)]
pub struct JsonQuery {
    #[serde(rename = "Email", alias = "email")]
    email: Option<String>,
    #[serde(rename = "Protocol", alias = "protocol")]
    protocol: Option<String>,
}

/// `GET /autodiscover/autodiscover.json?Email=…&Protocol=AutodiscoverV1`
async fn outlook_json(State(site): State<Arc<Site>>, Query(query): Query<JsonQuery>) -> Response {
    where_xml_is(&site, query.email.as_deref(), query.protocol.as_deref())
}

/// `GET /autodiscover/autodiscover.json/v1.0/ADDRESS?Protocol=AutodiscoverV1`
async fn outlook_json_of(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    Query(query): Query<JsonQuery>,
) -> Response {
    where_xml_is(&site, Some(&address), query.protocol.as_deref())
}

fn where_xml_is(site: &Site, address: Option<&str>, protocol: Option<&str>) -> Response {
    let setup = &site.house.setup;
    let refuse = |status, code: &str, message: &str| {
        let error = serde_json::json!({ "ErrorCode": code, "ErrorMessage": message });
        typed(status, "application/json", error.to_string())
    };
    let address = address.and_then(|address| Address::parse(address).ok());
    let Some(address) = address else {
        return refuse(StatusCode::BAD_REQUEST, "InvalidEmail", "Email is no mail address.");
    };
    if !setup.domains.contains(address.domain()) {
        return refuse(StatusCode::NOT_FOUND, "DomainNotFound", "This domain is not here.");
    }
    let is_xml = protocol.is_some_and(|name| name.eq_ignore_ascii_case("AutodiscoverV1"));
    match (&setup.offer.pages, is_xml) {
        (Some(pages), true) => {
            let url = format!("{pages}/autodiscover/autodiscover.xml");
            let found = serde_json::json!({ "Protocol": "AutodiscoverV1", "Url": url });
            typed(StatusCode::OK, "application/json", found.to_string())
        }
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "InvalidProtocol",
            "Only AutodiscoverV1 is supported; there is no Exchange here.",
        ),
    }
}

/// A mailbox that somebody wants to set up.
#[derive(Deserialize)]
pub struct AddressQuery {
    address: Option<String>,
}

/// `GET /setup/apple?address=…`: a profile for Mail and Contacts.
async fn apple_profile(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<AddressQuery>,
) -> Response {
    let setup = &site.house.setup;
    let address = query.address.as_deref().and_then(|text| Address::parse(text.trim()).ok());
    let ours = address.filter(|address| setup.domains.contains(address.domain()));
    let Some(address) = ours else {
        return show(&site, &visitor, query.address, true);
    };
    let Some(profile) = apple::profile(&setup.offer, &address) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = typed(StatusCode::OK, "application/x-apple-aspen-config", profile);
    let name = HeaderValue::from_static("attachment; filename=\"messagerie.mobileconfig\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    response
}

/// `GET /setup`
async fn people(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    show(&site, &visitor, None, false)
}

fn show(site: &Site, visitor: &Visitor, address: Option<String>, is_wrong: bool) -> Response {
    let (setup, t) = (&site.house.setup, visitor.lang.texts());
    let offer = &setup.offer;
    let template = SetupPage {
        frame: Frame::new(visitor.lang, t.setup_title, "/setup").with_error(is_wrong),
        house: offer.name.clone(),
        domains: setup.domains.iter().map(|domain| format!("@{domain}")).collect(),
        address: address.unwrap_or_default(),
        error: is_wrong.then_some(t.setup_not_ours),
        host: offer.host.to_string(),
        doors: doors(setup, t),
        apple: offer.best(Protocol::Submission).is_some()
            && offer.best(Protocol::Imap).or(offer.best(Protocol::Pop3)).is_some(),
        token: offer.means.contains(&Means::Token),
        address_book: offer.best(Protocol::Ldap).map(|_| offer.address_book.clone()),
    };
    let status = if is_wrong { StatusCode::NOT_FOUND } else { StatusCode::OK };
    page(status, &template)
}

fn doors(setup: &Setup, t: &'static Texts) -> Vec<SetupDoor> {
    let door = |service: &crate::proto::setup::Service| SetupDoor {
        name: match service.protocol {
            Protocol::Imap => "IMAP",
            Protocol::Pop3 => "POP3",
            Protocol::Submission => "SMTP",
            Protocol::Sieve => "ManageSieve",
            Protocol::Ldap => "LDAP",
        },
        purpose: match service.protocol {
            Protocol::Imap => t.setup_reading,
            Protocol::Pop3 => t.setup_fetching,
            Protocol::Submission => t.setup_sending,
            Protocol::Sieve => t.setup_filters,
            Protocol::Ldap => t.setup_address_book,
        },
        port: service.port,
        security: match service.security {
            Security::Tls => "SSL/TLS",
            Security::StartTls => "STARTTLS",
        },
    };
    setup.offer.services.iter().map(door).collect()
}

/// `GET /.well-known/mta-sts.txt` on `mta-sts.DOMAIN` (RFC 8461 §3.3).
async fn policy(State(site): State<Arc<Site>>, headers: HeaderMap, uri: Uri) -> Response {
    let setup = &site.house.setup;
    let domain = host(&headers, &uri, "mta-sts.");
    let ours = domain.is_some_and(|domain| setup.policy_domains.contains(&domain));
    match setup.policy.as_ref().filter(|_| ours) {
        Some(policy) => typed(StatusCode::OK, "text/plain; charset=utf-8", policy.text()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The domain of the host that a program believes it asks.
fn host(headers: &HeaderMap, uri: &Uri, prefix: &str) -> Option<Domain> {
    // HTTP/2 carries the host as `:authority`.
    let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(named)?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).to_ascii_lowercase();
    Domain::parse(host.strip_prefix(prefix).unwrap_or(&host)).ok()
}

/// Something for programs; an error too, which is not to become a page for people.
fn typed(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.extensions_mut().insert(Made);
    response
}
