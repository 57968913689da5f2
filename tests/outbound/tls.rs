//! Who gets through the TLS of each door.
use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::HandshakeKind;
use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::net::people_tls;
use vaguemestre::infra::net::towards_operators_tls;

use super::Space;
use super::hospital;
use super::practice;

/// How one connection went: the version and kind of handshake, or the error.
type Met = Result<(ProtocolVersion, HandshakeKind), String>;

/// Connects once, sends an octet and wants it back.
async fn meet(server: &Arc<rustls::ServerConfig>, client: &Arc<rustls::ClientConfig>) -> Met {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await?;
        let octet = stream.read_u8().await?;
        stream.write_u8(octet).await?;
        stream.shutdown().await
    });
    let text = |error: std::io::Error| error.to_string();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connected = TlsConnector::from(Arc::clone(client)).connect(name, stream).await;
    let mut stream = connected.map_err(text)?;
    stream.write_u8(7).await.map_err(text)?;
    stream.read_u8().await.map_err(text)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.map_err(text)?;
    serving.await.unwrap().map_err(text)?;
    let connection = stream.get_ref().1;
    Ok((connection.protocol_version().unwrap(), connection.handshake_kind().unwrap()))
}

fn person(
    space: &Space,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for anchor in &space.anchors {
        roots.add(anchor.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn people_may_use_tls_1_2_and_1_3_and_resume_their_sessions() {
    let space = Space::new();
    let files = space.pki.people(&practice());
    let server = people_tls(Identity::load(&files.certificate, &files.key).unwrap()).unwrap();
    for (version, name) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = person(&space, &[version]);
        let (spoken, first) = meet(&server, &client).await.unwrap();
        assert_eq!(spoken, name);
        assert_ne!(first, HandshakeKind::Resumed);
        let (_, second) = meet(&server, &client).await.unwrap();
        assert_eq!(second, HandshakeKind::Resumed, "{name:?}");
    }
}

#[tokio::test]
async fn the_operators_door_wants_a_certificate_each_time() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert!(meet(&server, &person(&space, &[version])).await.is_err(), "nobody came in");
    }
    let client = space.client();
    for _ in 0..2 {
        let (_, kind) = meet(&server, &client).await.unwrap();
        assert_ne!(kind, HandshakeKind::Resumed, "a session without a certificate");
    }
}

#[tokio::test]
async fn a_peer_shows_a_valid_certificate_for_tls() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    let now = SystemClock.now();
    let hour = 3_600_000;
    let past = Timestamp::from_millis(now.as_millis() - 2 * hour);
    let future = Timestamp::from_millis(now.as_millis() + 2 * hour);
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let host = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let email = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let long_past = Timestamp::from_millis(now.as_millis() - 3 * hour);
    for (what, purposes, not_before, not_after, welcome) in [
        ("for clients", &client, past, future, true),
        ("for any purpose", &Vec::new(), past, future, true),
        // The purposes of the trust space's certificates are not published; see net::tls.
        ("for servers", &host, past, future, true),
        ("for e-mail", &email, past, future, false),
        ("ended", &client, long_past, past, false),
        ("ended, for servers", &host, long_past, past, false),
        ("of tomorrow", &client, future, now.after(std::time::Duration::from_secs(99_999)), false),
    ] {
        let subject = [(DnType::CommonName, "peer.test")];
        let names = &["peer.test"];
        let leaf = Leaf { subject: &subject, names, purposes, rsa: false, not_before, not_after };
        let folder = tempfile::tempdir().unwrap();
        let files = space.pki.issue(&leaf, folder.path(), "peer").unwrap();
        let identity = Identity::load(&files.certificate, &files.key).unwrap();
        let client = towards_operators_tls(identity, &space.anchors).unwrap();
        let met = meet(&server, &client).await;
        assert_eq!(met.is_ok(), welcome, "{what}: {met:?}");
    }
}

#[tokio::test]
async fn a_server_is_bound_by_the_list_and_not_by_its_host_name() {
    let space = Space::new();
    let now = SystemClock.now();
    for (what, purposes, welcome) in [
        ("another name", vec![ExtendedKeyUsagePurpose::ServerAuth], true),
        ("not a server", vec![ExtendedKeyUsagePurpose::ClientAuth], false),
    ] {
        let subject = [(DnType::CommonName, "elsewhere.test")];
        let leaf = Leaf {
            subject: &subject,
            names: &["elsewhere.test"],
            purposes: &purposes,
            rsa: true,
            not_before: Timestamp::from_millis(now.as_millis() - 60_000),
            not_after: now.after(std::time::Duration::from_secs(3_600)),
        };
        let folder = tempfile::tempdir().unwrap();
        let files = space.pki.issue(&leaf, folder.path(), "server").unwrap();
        let identity = Identity::load(&files.certificate, &files.key).unwrap();
        let server = operators_tls(identity, &space.anchors).unwrap();
        let client = towards_operators_tls(space.identity(&hospital()), &space.anchors).unwrap();
        let met = meet(&server, &client).await;
        assert_eq!(met.is_ok(), welcome, "{what}: {met:?}");
    }
}
