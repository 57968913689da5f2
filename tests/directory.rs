//! The national directory's API: pages, pace, and servers that do as they should not.
#[path = "directory/anchors.rs"]
mod anchors;
#[path = "directory/story.rs"]
mod story;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::fhir::Fhir;
use vaguemestre::infra::fhir::FhirError;
use vaguemestre::infra::fhir::Resource;
use vaguemestre::infra::fhir::Settings;

const PAGE_1: &str = include_str!("vectors/fhir/practitioner_searchset_page1.json");
const PAGE_2: &str = include_str!("vectors/fhir/practitioner_searchset_page2.json");
const ROLES: &str = include_str!("vectors/fhir/practitionerrole_include.json");
const ORGANIZATIONS: &str = include_str!("vectors/fhir/organization_searchset.json");
const OFFICIAL: &str = "https://gateway.api.esante.gouv.fr/fhir/v2";

/// What the server does, and what it was asked.
#[derive(Default)]
struct Shared {
    /// Requests that are turned away with 429 first.
    busy: Mutex<u32>,
    /// Replaces the first page.
    page: Mutex<Option<String>>,
    asked: Mutex<Vec<String>>,
    keys: Mutex<Vec<String>>,
    address: Mutex<String>,
}

struct Server {
    shared: Arc<Shared>,
    url: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let url = format!("http://{address}/fhir/v2");
        *shared.address.lock().unwrap() = url.clone();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, url, task }
    }

    fn client(&self, per_second: u32) -> Fhir {
        Fhir::new(Settings {
            url: self.url.clone(),
            key: Some(Secret::new("a-key-of-tests\n".to_owned())),
            anchors: Vec::new(),
            per_second,
            timeout: Duration::from_secs(10),
        })
        .unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().to_string();
    shared.asked.lock().unwrap().push(path.clone());
    let key = request.headers().get("ESANTE-API-KEY");
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    shared.keys.lock().unwrap().push(key);
    {
        let mut busy = shared.busy.lock().unwrap();
        if *busy > 0 {
            *busy -= 1;
            return (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "0")], "").into_response();
        }
    }
    let page = shared.page.lock().unwrap().clone();
    let here = shared.address.lock().unwrap().clone();
    let text = match path.as_str() {
        path if path.contains("/_page?") => PAGE_2.to_owned(),
        path if path.contains("/PractitionerRole?") => ROLES.to_owned(),
        path if path.contains("/Practitioner?") => page.unwrap_or_else(|| PAGE_1.to_owned()),
        path if path.contains("/Organization?") => ORGANIZATIONS.to_owned(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    // The samples name the official address; this server stands for it.
    text.replace(OFFICIAL, &here).into_response()
}

#[tokio::test]
async fn all_pages_are_read_with_the_key_and_an_opaque_next_link() {
    let server = Server::start().await;
    let mut found = Vec::new();
    server
        .client(100)
        .changed_since("2026-11-20", &mut |mailbox| found.push(mailbox.address))
        .await
        .unwrap();
    for expected in [
        "eloise.lumier@medecin.exemple.mssante.fr",
        "hugo.oreade@medecin.exemple.mssante.fr",
        "l.tisson@infirmier.exemple.mssante.fr",
        "eloise.lumier@ch-valfictif.exemple.mssante.fr",
        "cardiologie.secretariat@ch-valfictif.exemple.mssante.fr",
    ] {
        assert!(found.iter().any(|address| address == expected), "{expected}: {found:?}");
    }
    let asked = server.asked();
    assert!(asked[0].contains("_lastUpdated=ge2026-11-20"), "{asked:?}");
    assert!(asked[0].contains("mailbox-mss%3Acontains=%40"), "{asked:?}");
    assert!(asked[1].ends_with("/_page?id=AAAA-opaque-token-BBBB"), "{asked:?}");
    assert!(server.shared.keys.lock().unwrap().iter().all(|key| key == "a-key-of-tests"));
}

#[tokio::test]
async fn one_address_is_asked_for_and_others_are_left_out() {
    let server = Server::start().await;
    let wanted = "eloise.lumier@ch-valfictif.exemple.mssante.fr";
    let found = server.client(100).mailbox(wanted).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].resource, Resource::PractitionerRole);
    assert!(found[0].paper_free);
}

#[tokio::test]
async fn a_next_link_to_another_host_is_not_followed() {
    let server = Server::start().await;
    for elsewhere in ["https://attacker.example/fhir/v2", "http://127.0.0.1:1/fhir/v2"] {
        *server.shared.page.lock().unwrap() = Some(PAGE_1.replace(OFFICIAL, elsewhere));
        let outcome = server.client(100).mailbox("a@b.mssante.fr").await;
        assert!(matches!(outcome, Err(FhirError::Elsewhere)), "{outcome:?}");
    }
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_end() {
    let server = Server::start().await;
    let circle = PAGE_1.replace(
        "_page?id=AAAA-opaque-token-BBBB",
        "Practitioner?mailbox-mss%3Aexact=a%40b.mssante.fr&_count=50",
    );
    *server.shared.page.lock().unwrap() = Some(circle);
    let outcome = server.client(100).mailbox("a@b.mssante.fr").await;
    assert!(matches!(outcome, Err(FhirError::Endless)), "{outcome:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_not_for_ever() {
    let server = Server::start().await;
    *server.shared.busy.lock().unwrap() = 2;
    let client = server.client(100);
    client.identifier(Resource::Organization, "990000101").await.unwrap();
    assert_eq!(server.asked().len(), 3);
    *server.shared.busy.lock().unwrap() = 100;
    let outcome = client.identifier(Resource::Organization, "990000101").await;
    assert!(matches!(outcome, Err(FhirError::Busy)), "{outcome:?}");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "measures how long requests take")]
async fn no_more_requests_a_second_than_allowed() {
    let server = Server::start().await;
    let client = server.client(5);
    let begin = std::time::Instant::now();
    for _ in 0..11 {
        client.identifier(Resource::Organization, "990000101").await.unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let server = Server::start().await;
    for page in ["", "<html>", "{\"resourceType\":\"OperationOutcome\"}", "[[[[["] {
        *server.shared.page.lock().unwrap() = Some(page.to_owned());
        let outcome = server.client(100).mailbox("a@b.mssante.fr").await;
        assert!(matches!(outcome, Err(FhirError::Form(_))), "{outcome:?}");
    }
}
