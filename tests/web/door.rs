//! The pages' door, over real sockets and TLS.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vaguemestre::infra::metrics::Metrics;
use vaguemestre::infra::net::Stop;
use vaguemestre::infra::net::StopHandle;
use vaguemestre::server::web;
use vaguemestre::server::web::Crowding;
use vaguemestre::server::web::desk::House;

use super::paper;
use super::paper::Paper;

pub(super) struct Door {
    pub(super) address: SocketAddr,
    roots: RootCertStore,
    metrics: Arc<Metrics>,
    stop: StopHandle,
    task: tokio::task::JoinHandle<()>,
}

async fn open(crowding: Crowding) -> Door {
    open_for(crowding, &Arc::new(Paper::default()), paper::house()).await
}

/// A door to pages in front of this paper.
pub(super) async fn open_for(crowding: Crowding, paper: &Arc<Paper>, house: House) -> Door {
    let made = rcgen::generate_simple_self_signed(vec!["inbox.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = Stop::new();
    let metrics = Arc::new(Metrics::new());
    let pages = paper::site(paper, house);
    let counted = Arc::clone(&metrics);
    let task = tokio::spawn(async move {
        web::serve_pages(pages, listener, &tls, crowding, counted, stopped).await;
    });
    Door { address, roots, metrics, stop, task }
}

impl Door {
    async fn enter(&self, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("inbox.test").unwrap();
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    }
}

pub(super) const ROOMY: Crowding = Crowding { connections: 10, per_address: 10 };

#[tokio::test]
async fn a_page_comes_over_tls_and_the_door_closes_on_stop() {
    let door = open(ROOMY).await;
    let mut stream = door.enter(b"http/1.1").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: inbox.test\r\n\r\n").await.unwrap();
    let mut head = vec![0; 4_096];
    let length = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(door.metrics.open_sessions().contains(&("https", 1)));

    let second = door.enter(b"h2").await.unwrap();
    assert_eq!(second.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    drop(second);

    door.stop.stop();
    let ended = tokio::time::timeout(Duration::from_secs(10), door.task).await;
    assert!(ended.is_ok(), "the door did not close");
    assert!(door.metrics.open_sessions().contains(&("https", 0)));
}

#[tokio::test]
async fn one_address_has_so_many_places_and_no_more() {
    let door = open(Crowding { connections: 10, per_address: 2 }).await;
    let first = door.enter(b"http/1.1").await.unwrap();
    let _second = door.enter(b"http/1.1").await.unwrap();
    assert!(door.enter(b"http/1.1").await.is_err(), "a third came in");
    drop(first);
    // The place is free again as soon as the server has seen the end.
    for _ in 0..50 {
        if door.enter(b"http/1.1").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the place was never given back");
}

#[tokio::test]
async fn a_header_that_is_too_long_is_refused() {
    let door = open(ROOMY).await;
    let mut stream = door.enter(b"http/1.1").await.unwrap();
    let long =
        format!("GET / HTTP/1.1\r\nHost: inbox.test\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    let _ = stream.write_all(long.as_bytes()).await;
    let mut head = vec![0; 4_096];
    let length = stream.read(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[tokio::test]
async fn metrics_are_plain_text_at_one_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new());
    metrics.login("imaps", true);
    let (_stop, stopped) = Stop::new();
    tokio::spawn(web::serve_figures(metrics, listener, stopped));
    for (path, status, text) in [
        ("/metrics", "200 OK", "vaguemestre_logins_total{door=\"imaps\",result=\"succeeded\"} 1"),
        ("/healthz", "200 OK", "ok\n"),
        ("/inbox", "404 Not Found", ""),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        assert!(reply.contains(text), "{reply}");
    }
}
