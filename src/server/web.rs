//! The pages: citizen inbox, professionals' account, administrators' dashboard, metrics.
//!
//! Rendered here; the one script is for those that ask an authenticator. [`router`] is the map; `desk` is what the pages ask
//! of the relay; everything between is about showing letters to people and keeping everybody
//! else out.
pub mod account;
pub mod admin;
pub mod desk;
pub mod doorkeeper;
pub mod finder;
pub mod guard;
pub mod inbox;
pub mod language;
pub mod login;
pub mod pages;
pub mod passkeys;
pub mod public;
pub mod sanitise;
pub mod session;
pub mod setup;
pub mod site;
pub mod texts;
pub mod wkd;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use axum_server::Handle;
use axum_server::Server;
use axum_server::accept::Accept;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tower_http::timeout::TimeoutLayer;

use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::metrics::Metrics;
use crate::infra::net::Stop;
use crate::server::web::desk::House;
use crate::server::web::desk::office::OfficeDesk;
use crate::server::web::doorkeeper::Doorkeeper;
use crate::server::web::site::Site;

/// How many connections a door of pages takes.
#[derive(Clone, Copy, Debug)]
pub struct Crowding {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub per_address: usize,
}

/// Serves the pages over HTTPS until the relay stops.
pub async fn serve(office: Arc<Office>, listener: TcpListener, stop: Stop) {
    let crowding = Crowding {
        connections: office.config.limits.connections,
        per_address: office.config.limits.connections_per_address,
    };
    let metrics = Arc::clone(&office.metrics);
    let book = Arc::clone(&office);
    // Asked anew for each connection: certificates change while the relay runs.
    let tls: TlsSource = Arc::new(move || book.tls.people("https"));
    serve_over(router(office), listener, tls, crowding, metrics, stop).await;
}

/// Serves any router over HTTPS, with this certificate, until the relay stops.
pub async fn serve_pages(
    router: Router,
    listener: TcpListener,
    tls: &ServerConfig,
    crowding: Crowding,
    metrics: Arc<Metrics>,
    stop: Stop,
) {
    // The certificate is shared with the mail doors; the protocols inside are not.
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = Arc::new(tls);
    let source: TlsSource = Arc::new(move || Arc::clone(&tls));
    serve_over(router, listener, source, crowding, metrics, stop).await;
}

/// Says which TLS the next connection gets.
type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Takes each connection with the TLS that counts when it comes.
#[derive(Clone)]
struct CurrentTls(TlsSource);

impl<S> Accept<TcpStream, S> for CurrentTls
where
    S: Send + 'static,
{
    type Stream = <RustlsAcceptor as Accept<TcpStream, S>>::Stream;
    type Service = <RustlsAcceptor as Accept<TcpStream, S>>::Service;
    type Future = <RustlsAcceptor as Accept<TcpStream, S>>::Future;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        RustlsAcceptor::new(RustlsConfig::from_config((self.0)()))
            .handshake_timeout(limits::TLS_HANDSHAKE_TIMEOUT)
            .accept(stream, service)
    }
}

async fn serve_over(
    router: Router,
    listener: TcpListener,
    tls: TlsSource,
    crowding: Crowding,
    metrics: Arc<Metrics>,
    stop: Stop,
) {
    let doorkeeper = Doorkeeper::new(CurrentTls(tls), crowding, Some(metrics));
    let pages = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = Server::from_listener(listener).acceptor(doorkeeper).handle(stopping(stop));
    bound(server.http_builder());
    ended("https", server.serve(pages).await);
}

/// Serves `GET /metrics` (and `/healthz`) in plain HTTP until the relay stops.
pub async fn serve_metrics(office: Arc<Office>, listener: TcpListener, stop: Stop) {
    serve_figures(Arc::clone(&office.metrics), listener, stop).await;
}

/// Serves these metrics in plain HTTP until the relay stops.
pub async fn serve_figures(metrics: Arc<Metrics>, listener: TcpListener, stop: Stop) {
    let most = limits::METRICS_CONNECTIONS_MAX;
    let crowding = Crowding { connections: most, per_address: most };
    let doorkeeper = Doorkeeper::new(DefaultAcceptor::new(), crowding, None);
    let pages = public::metrics_router(metrics).into_make_service();
    let mut server = Server::from_listener(listener).acceptor(doorkeeper).handle(stopping(stop));
    bound(server.http_builder());
    ended("metrics", server.serve(pages).await);
}

/// All pages of this relay.
pub fn router(office: Arc<Office>) -> Router {
    let house = House::of(&office.config);
    site_router(Arc::new(Site::new(house, Arc::new(OfficeDesk::new(office)))))
}

/// All pages of a site, whoever its desk is.
pub fn site_router(site: Arc<Site>) -> Router {
    let answers = Router::new()
        .route("/inbox/{folder}/{uid}/answer", post(inbox::answer::send))
        .layer(DefaultBodyLimit::max(inbox::answer::body_octets_max(&site)))
        .layer(timeout(limits::WEB_ANSWER_TIMEOUT));
    let brought = Router::new()
        .route(account::certificate::HOME, post(account::certificate::bring))
        .route(account::certificate::OF_PATIENTS, post(account::certificate::bring))
        .layer(DefaultBodyLimit::max(account::certificate::BODY_OCTETS_MAX))
        .layer(timeout(limits::WEB_REQUEST_TIMEOUT));
    let pages = Router::new()
        .route("/", get(public::landing))
        .route("/style.css", get(public::style))
        .route(passkeys::SCRIPT, get(public::script))
        .route("/healthz", get(public::healthz))
        .route("/robots.txt", get(public::robots))
        .route("/trust/liste-blanche.xml", get(public::trust_list))
        .route("/inbox", get(inbox::list))
        .route("/inbox/login", get(inbox::login_page).post(inbox::log_in))
        .route("/inbox/logout", post(inbox::log_out))
        .route("/inbox/{folder}/{uid}", get(inbox::letter::read))
        .route("/inbox/{folder}/{uid}/attachment/{index}", get(inbox::letter::attachment))
        .route("/account", get(account::overview))
        .route("/account/login", get(account::login_page).post(account::log_in))
        .route("/account/logout", post(account::log_out))
        .route("/account/session/end", post(account::sessions::end))
        .route(account::programs::HOME, get(account::programs::list).post(account::programs::add))
        .route("/account/app-passwords/revoke", post(account::programs::revoke))
        .route(finder::FINDER, get(finder::find))
        .route(account::certificate::HOME, get(account::certificate::show))
        .route("/account/certificate/prove", post(account::certificate::prove))
        .route("/account/certificate/remove", post(account::certificate::remove))
        .route(account::certificate::OF_PATIENTS, get(account::certificate::show))
        .route("/inbox/certificate/prove", post(account::certificate::prove))
        .route("/inbox/certificate/remove", post(account::certificate::remove))
        .route("/account/second", get(account::second::ask).post(account::second::answer))
        .route("/account/factors", get(account::second::factors))
        .route("/account/factors/confirm", post(account::second::confirm))
        .route("/account/factors/change", post(account::second::change))
        .route(account::adding::ADD, post(account::adding::add))
        .route(account::adding::MADE, post(account::adding::made))
        .route("/account/mailbox", get(account::choice).post(account::choose))
        .route(account::provider::START, get(account::provider::start))
        .route(account::provider::CALLBACK, get(account::provider::arrive))
        .route("/login/oidc/logout", post(account::provider::logged_out))
        .route("/admin", get(admin::overview))
        .route("/admin/login", get(admin::login_page).post(admin::log_in))
        .route("/admin/logout", post(admin::log_out))
        .route(admin::passkeys::SECOND, get(admin::passkeys::ask).post(admin::passkeys::answer))
        .route(admin::passkeys::HOME, get(admin::passkeys::list).post(admin::passkeys::change))
        .route(admin::passkeys::ADD, post(admin::passkeys::add))
        .route(admin::passkeys::MADE, post(admin::passkeys::made))
        .route("/admin/mailboxes", get(admin::mailboxes::list))
        .route("/admin/mailboxes/{id}", get(admin::mailboxes::show).post(admin::mailboxes::press))
        .route("/admin/approvals/{id}", post(admin::mailboxes::reply))
        .route("/admin/statistics.csv", get(admin::download))
        .layer(DefaultBodyLimit::max(limits::WEB_BODY_OCTETS_MAX))
        .layer(timeout(limits::WEB_REQUEST_TIMEOUT));
    answers
        .merge(pages)
        .merge(brought)
        .merge(wkd::routes().layer(timeout(limits::WEB_REQUEST_TIMEOUT)))
        .merge(setup::routes(&site.house.setup).layer(timeout(limits::WEB_REQUEST_TIMEOUT)))
        .fallback(not_found)
        .layer(middleware::from_fn(guard::watch))
        .with_state(site)
}

async fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

fn timeout(duration: std::time::Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, duration)
}

/// Bounds what one connection may cost before a handler sees it.
fn bound(http: &mut Builder<TokioExecutor>) {
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::WEB_HEADER_TIMEOUT)
        .max_buf_size(limits::WEB_HEADER_OCTETS_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::WEB_STREAMS_MAX)
        .max_header_list_size(limits::WEB_HEADER_OCTETS_MAX as u32)
        .keep_alive_interval(limits::WEB_HEADER_TIMEOUT)
        .keep_alive_timeout(limits::WEB_HEADER_TIMEOUT);
}

/// A handle that lets open requests finish for a moment when the relay stops.
fn stopping(mut stop: Stop) -> Handle<SocketAddr> {
    let handle = Handle::new();
    let stopped = handle.clone();
    tokio::spawn(async move {
        stop.stopped().await;
        stopped.graceful_shutdown(Some(limits::WEB_STOP_GRACE));
    });
    handle
}

/// Says how a door ended.
fn ended(door: &'static str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(door, %error, "the pages ended");
    }
}
