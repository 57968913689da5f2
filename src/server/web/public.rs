//! Pages that everybody may see.
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use tokio::io::AsyncReadExt;

use crate::domain::limits;
use crate::infra::metrics::Metrics;
use crate::infra::metrics::OPENMETRICS;
use crate::server::web::pages::Frame;
use crate::server::web::pages::LandingPage;
use crate::server::web::pages::page;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;

/// The one sheet of all pages.
const STYLE: &str = include_str!("style.css");
/// The one script, for the pages that ask an authenticator.
const SCRIPT: &str = include_str!("passkey.js");

/// `GET /`
pub async fn landing(State(site): State<Arc<Site>>, visitor: Visitor) -> Response {
    let frame = Frame::new(visitor.lang, visitor.lang.texts().landing_title, "/");
    let (house, setup) = (site.house.name.clone(), site.house.setup.autoconfig);
    page(StatusCode::OK, &LandingPage { frame, house, setup })
}

/// `GET /style.css`
pub async fn style() -> Response {
    typed(STYLE, "text/css; charset=utf-8", "public, max-age=3600")
}

/// `GET /passkey.js`
pub async fn script() -> Response {
    typed(SCRIPT, "text/javascript; charset=utf-8", "public, max-age=3600")
}

/// `GET /healthz`: the relay is up and answers.
pub async fn healthz() -> Response {
    typed("ok\n", "text/plain; charset=utf-8", "no-store")
}

/// `GET /robots.txt`: nothing here is for a search engine.
pub async fn robots() -> Response {
    typed("User-agent: *\nDisallow: /\n", "text/plain; charset=utf-8", "public, max-age=3600")
}

/// `GET /trust/liste-blanche.xml`: the signed list of operators, as it lies here. It is public,
/// and its readers trust its signature and not us.
pub async fn trust_list(State(site): State<Arc<Site>>) -> Response {
    let Ok(file) = tokio::fs::File::open(&site.house.trust_list).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut list = Vec::new();
    let most = limits::TRUST_LIST_OCTETS_MAX as u64 + 1;
    let read = file.take(most).read_to_end(&mut list).await;
    if read.is_err() || list.len() > limits::TRUST_LIST_OCTETS_MAX {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    typed(list, "application/xml; charset=utf-8", "public, max-age=300")
}

fn typed(body: impl IntoResponse, kind: &'static str, cache: &'static str) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// `/metrics` and `/healthz` for machines, on a private address.
pub fn metrics_router(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .with_state(metrics)
}

async fn show_metrics(State(metrics): State<Arc<Metrics>>) -> Response {
    typed(metrics.render(), OPENMETRICS, "no-store")
}
