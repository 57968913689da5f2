//! The list over HTTPS: a real server under a private authority, and what may go wrong with it.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::domain::limits::TRUST_LIST_OCTETS_MAX;
use vaguemestre::domain::status::Refusal;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::NetError;
use vaguemestre::infra::net::fetch::Fetcher;
use vaguemestre::infra::net::fetch::Validators;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::Refreshed;
use vaguemestre::infra::trust::Settings;
use vaguemestre::infra::trust::Source;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::TrustSpace;

use super::HOUR;
use super::NobodyAsks;
use super::Publisher;
use super::dn;
use super::domain;
use super::list;
use super::loopback;
use super::operators;

/// What the server does with the next questions.
#[derive(Clone)]
enum Answer {
    /// A document with a validator; 304 to who has it.
    Document(Vec<u8>, &'static str),
    /// These octets, then the end.
    Raw(Vec<u8>),
    /// A head that promises content, some of it, then nothing.
    Stalls,
    /// Content without an end.
    Endless,
}

#[derive(Default)]
struct Seen {
    questions: Vec<String>,
}

struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// Stands under this authority until the runtime of the test ends.
    async fn start(pki: &DemoPki, answer: Answer) -> Self {
        let files = pki.people(&operators()[0]);
        let identity = Identity::load(&files.certificate, &files.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((loopback(), 0)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            seen: Arc::default(),
        };
        let (answer, seen) = (Arc::clone(&server.answer), Arc::clone(&server.seen));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answer, seen) =
                    (acceptor.clone(), Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    // A client that does not trust us hangs up here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = answer.lock().unwrap().clone();
                    serve(stream, answer, &seen).await;
                });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("https://{}/listeblanchemssante.xml", self.address)
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn says_raw(&self, head: &str, body: &[u8]) {
        self.says(Answer::Raw([head.as_bytes(), b"\r\n\r\n", body].concat()));
    }

    fn questions(&self) -> Vec<String> {
        self.seen.lock().unwrap().questions.clone()
    }
}

async fn serve(
    mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    answer: Answer,
    seen: &Mutex<Seen>,
) {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => question.push(octet),
            Err(_) => return,
        }
    }
    let question = String::from_utf8_lossy(&question).to_lowercase();
    seen.lock().unwrap().questions.push(question.clone());
    // Whoever has heard enough hangs up: no matter here.
    let _ = match answer {
        Answer::Document(_, etag) if question.contains(&format!("if-none-match: {etag}")) => {
            stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").await
        }
        Answer::Document(document, etag) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n",
                document.len()
            );
            stream.write_all(&[head.as_bytes(), &document].concat()).await
        }
        Answer::Raw(octets) => stream.write_all(&octets).await,
        Answer::Stalls => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a>").await;
            let _ = stream.flush().await;
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(())
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            loop {
                if let Err(error) = stream.write_all(&[b' '; 65_536]).await {
                    break Err(error);
                }
            }
        }
    };
    let _ = stream.shutdown().await;
}

/// A data folder, a store, and a list under this address.
struct House {
    publisher: Publisher,
    store: Arc<SimulatedStore>,
    data: PathBuf,
}

impl House {
    fn new() -> Self {
        let publisher = Publisher::new();
        let data = publisher.folder.path().join("data");
        Self { publisher, store: Arc::new(SimulatedStore::new(3)), data }
    }

    fn settings(&self, url: String) -> Settings {
        let anchors = vec![self.publisher.pki.ca_file()];
        Settings {
            source: Source::Url { url, anchors },
            ..self.publisher.settings(self.data.clone())
        }
    }

    async fn open(&self, url: String) -> Result<TrustSpace, TrustError> {
        let now = self.publisher.now;
        TrustSpace::open(self.settings(url), self.store.clone(), &NobodyAsks, now).await
    }

    fn signed(&self, hours: u32, names: &[&str]) -> Vec<u8> {
        let list = list(self.publisher.now.after(HOUR * hours), names);
        self.publisher.pki.sign_trust_list(&list).unwrap()
    }
}

#[tokio::test]
async fn the_list_is_fetched_and_asked_for_again_only_if_it_changed() {
    let house = House::new();
    let first = Answer::Document(house.signed(0, &["a.test"]), "\"one\"");
    let server = Server::start(&house.publisher.pki, first).await;
    let space = house.open(server.url()).await.unwrap();
    let now = house.publisher.now;
    assert_eq!(space.refresh(&NobodyAsks, now).await.unwrap(), Refreshed::Unchanged);
    server.says(Answer::Document(house.signed(1, &["a.test", "b.test"]), "\"two\""));
    assert_eq!(space.refresh(&NobodyAsks, now).await.unwrap(), Refreshed::Replaced(2));
    assert_eq!(space.refresh(&NobodyAsks, now).await.unwrap(), Refreshed::Unchanged);
    let questions = server.questions();
    let asked: Vec<bool> = questions.iter().map(|q| q.contains("if-none-match")).collect();
    assert_eq!(asked, [false, true, true, true]);
    assert!(questions[3].contains("if-none-match: \"two\""));
    assert_eq!(space.judge_peer(&dn("mx.test"), Some(&domain("b.test"))), Ok(()));
    assert_eq!(space.judge_peer(&dn("no.test"), None), Err(Refusal::PeerNotListed));
}

#[tokio::test]
async fn a_document_that_was_refused_is_asked_for_again_in_full() {
    let house = House::new();
    let first = Answer::Document(house.signed(1, &["a.test"]), "\"one\"");
    let server = Server::start(&house.publisher.pki, first).await;
    let space = house.open(server.url()).await.unwrap();
    let now = house.publisher.now;
    server.says(Answer::Document(house.signed(0, &["old.test"]), "\"old\""));
    for _ in 0..2 {
        let refused = space.refresh(&NobodyAsks, now).await;
        assert!(matches!(refused, Err(TrustError::Rollback(_))));
    }
    assert!(!server.questions().last().unwrap().contains("\"old\""));
    assert!(space.list().lists(&domain("a.test")));
}

#[tokio::test]
async fn whatever_the_server_says_the_active_list_stays_and_the_failure_is_told() {
    let house = House::new();
    let good = house.signed(0, &["a.test"]);
    let server = Server::start(&house.publisher.pki, Answer::Document(good, "\"one\"")).await;
    let space = house.open(server.url()).await.unwrap();
    let before = space.list();
    let mut failures = 0;
    let too_long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", TRUST_LIST_OCTETS_MAX + 1);
    let forbidden = "<html>403 Forbidden</html>";
    let html = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", forbidden.len());
    for (head, body, says) in [
        ("HTTP/1.1 500 Internal Server Error", "", "HTTP 500"),
        ("HTTP/1.1 403 Forbidden", forbidden, "HTTP 403"),
        ("HTTP/1.1 404 Not Found", "", "HTTP 404"),
        ("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/x", "", "not followed"),
        ("HTTP/1.1 204 No Content", "", "HTTP 204"),
        (&too_long, "", "more than 33554432 octets"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip", "\u{1f}", "packed"),
        (&html, forbidden, "signature"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100", "<a>", "not fetched"),
        ("SMTP 220 hello", "", "not fetched"),
    ] {
        server.says_raw(head, body.as_bytes());
        let error = space.refresh(&NobodyAsks, house.publisher.now).await.unwrap_err().to_string();
        assert!(error.contains(says), "{head}: {error}");
        failures += 1;
        let state = space.state(house.publisher.now);
        assert_eq!(state.fetching.failures_in_a_row, failures);
        assert_eq!(state.fetching.error.as_deref(), Some(error.as_str()));
    }
    assert_eq!(space.list(), before);
}

#[tokio::test]
async fn content_without_an_end_is_cut_at_the_limit() {
    let house = House::new();
    let server = Server::start(&house.publisher.pki, Answer::Endless).await;
    let anchors = load_anchors(&[house.publisher.pki.ca_file()]).unwrap();
    let fetcher = Fetcher::new(&anchors, Duration::from_secs(30)).unwrap();
    let error = fetcher.get(&server.url(), 1_000_000, &Validators::default()).await.unwrap_err();
    assert!(error.to_string().contains("more than 1000000 octets"), "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let house = House::new();
    let server = Server::start(&house.publisher.pki, Answer::Stalls).await;
    let anchors = load_anchors(&[house.publisher.pki.ca_file()]).unwrap();
    let fetcher = Fetcher::new(&anchors, Duration::from_millis(300)).unwrap();
    let error = fetcher.get(&server.url(), 1_000, &Validators::default()).await.unwrap_err();
    assert!(error.to_string().contains("took too long"), "{error}");
    assert!(matches!(error, NetError::Fetch { .. }));
}

#[tokio::test]
async fn only_a_server_under_the_configured_anchors_is_believed() {
    let house = House::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let now = house.publisher.now;
    let stranger = DemoPki::create(elsewhere.path(), &operators(), loopback(), now).unwrap();
    let answer = Answer::Document(house.signed(0, &["a.test"]), "\"one\"");
    let server = Server::start(&stranger, answer.clone()).await;
    let error = house.open(server.url()).await.err().unwrap();
    assert!(matches!(error, TrustError::Fetch(_)), "{error}");
    assert!(server.questions().is_empty(), "nothing was asked of a stranger");

    // The right authority, another name.
    let server = Server::start(&house.publisher.pki, answer).await;
    let url = server.url().replace("127.0.0.1", "127.0.0.2");
    assert!(house.open(url).await.is_err());
}

#[tokio::test]
async fn a_relay_starts_with_its_kept_list_while_the_source_is_away_and_not_without_one() {
    let house = House::new();
    let away = "https://127.0.0.1:9/list.xml".to_owned();
    assert!(matches!(house.open(away.clone()).await.err(), Some(TrustError::Fetch(_))));
    let first = Answer::Document(house.signed(0, &["a.test"]), "\"one\"");
    let server = Server::start(&house.publisher.pki, first).await;
    house.open(server.url()).await.unwrap();
    let space = house.open(away).await.unwrap();
    assert!(space.list().lists(&domain("a.test")));
    let refused = space.refresh(&NobodyAsks, house.publisher.now).await;
    assert!(matches!(refused, Err(TrustError::Fetch(_))));
    assert!(space.list().lists(&domain("a.test")));
}

#[tokio::test]
async fn a_start_under_another_rule_says_that_lists_are_kept_and_why_none_counts() {
    let house = House::new();
    let good = house.signed(0, &["a.test"]);
    let server = Server::start(&house.publisher.pki, Answer::Document(good, "\"one\"")).await;
    house.open(server.url()).await.unwrap();
    let mut settings = house.settings("https://127.0.0.1:1/list.xml".to_owned());
    settings.signer.common_name = Some("somebody.test".to_owned());
    settings.signer.email = None;
    let now = house.publisher.now;
    let opened = TrustSpace::open(settings, house.store.clone(), &NobodyAsks, now).await;
    let error = opened.err().unwrap().to_string();
    for text in ["lists are kept", "trust.signer_common_name", "no certificate in it has"] {
        assert!(error.contains(text), "{text}: {error}");
    }
}
