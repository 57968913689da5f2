//! Who gets through the TLS of each door.
use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::HandshakeKind;
use rustls::NamedGroup;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
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
use vaguemestre::infra::net::Purpose;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::net::people_tls;
use vaguemestre::infra::net::towards_operators_tls;
use vaguemestre::infra::net::verified_path;

use super::Space;
use super::hospital;
use super::practice;

/// How one connection went, or the error.
type Met = Result<Meeting, String>;

#[derive(Debug)]
struct Meeting {
    version: ProtocolVersion,
    kind: HandshakeKind,
    group: Option<NamedGroup>,
    /// What the server saw of the client.
    shown: Vec<CertificateDer<'static>>,
}

/// Connects once, sends an octet and wants it back.
async fn meet(server: &Arc<rustls::ServerConfig>, client: &Arc<rustls::ClientConfig>) -> Met {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let octet = stream.read_u8().await?;
        stream.write_u8(octet).await?;
        stream.shutdown().await?;
        Ok(shown)
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
    let shown = serving.await.unwrap().map_err(text)?;
    let connection = stream.get_ref().1;
    Ok(Meeting {
        version: connection.protocol_version().unwrap(),
        kind: connection.handshake_kind().unwrap(),
        group: connection.negotiated_key_exchange_group().map(|group| group.name()),
        shown,
    })
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
        let first = meet(&server, &client).await.unwrap();
        assert_eq!(first.version, name);
        assert_ne!(first.kind, HandshakeKind::Resumed);
        let second = meet(&server, &client).await.unwrap();
        assert_eq!(second.kind, HandshakeKind::Resumed, "{name:?}");
    }
}

#[tokio::test]
async fn two_of_ours_agree_on_a_key_that_outlives_quantum_computers() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    let client = space.client();
    assert_eq!(client.crypto_provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    let met = meet(&server, &client).await.unwrap();
    assert_eq!(met.version, ProtocolVersion::TLSv1_3);
    assert_eq!(met.group, Some(NamedGroup::X25519MLKEM768));
}

#[tokio::test]
async fn the_operators_door_asks_for_a_certificate_each_time_and_sends_nobody_away_unheard() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // Without a certificate the handshake is done; the session says why it goes no further.
        let met = meet(&server, &person(&space, &[version])).await.unwrap();
        assert!(met.shown.is_empty());
    }
    let client = space.client();
    for _ in 0..2 {
        let met = meet(&server, &client).await.unwrap();
        assert_ne!(met.kind, HandshakeKind::Resumed, "a session without a certificate");
        assert_eq!(met.shown.len(), 2, "the leaf and its authority");
    }
}

#[tokio::test]
async fn every_certificate_gets_through_the_handshake_and_is_judged_after_it() {
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
    let tomorrow = now.after(std::time::Duration::from_secs(99_999));
    for (what, purposes, not_before, not_after, verdict) in [
        ("for clients", &client, past, future, None),
        ("for any purpose", &Vec::new(), past, future, None),
        // The purposes of the trust space's certificates are not published.
        ("for servers", &host, past, future, None),
        ("for e-mail", &email, past, future, Some("for another use (emailProtection)")),
        ("ended", &client, long_past, past, Some("expired on 20")),
        ("ended, for servers", &host, long_past, past, Some("expired on 20")),
        ("of tomorrow", &client, future, tomorrow, Some("not valid before 20")),
    ] {
        let subject = [(DnType::CommonName, "peer.test")];
        let names = &["peer.test"];
        let leaf = Leaf { subject: &subject, names, purposes, rsa: false, not_before, not_after };
        let folder = tempfile::tempdir().unwrap();
        let files = space.pki.issue(&leaf, folder.path(), "peer").unwrap();
        let identity = Identity::load(&files.certificate, &files.key).unwrap();
        let client = towards_operators_tls(identity, &space.anchors).unwrap();
        let met = meet(&server, &client).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let purpose = Purpose::Client { or_server: true };
        let (leaf, rest) = met.shown.split_first().unwrap();
        let judged = verified_path(leaf, rest, &space.anchors, purpose, SystemClock.now());
        match (judged, verdict) {
            (Ok(path), None) => assert_eq!(path.len(), 2, "{what}: the authority is an anchor"),
            (Err(said), Some(verdict)) => assert!(said.starts_with(verdict), "{what}: {said}"),
            (judged, _) => panic!("{what}: {judged:?}"),
        }
    }
}

#[tokio::test]
async fn a_stranger_with_a_certificate_of_its_own_making_is_heard_too() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["stranger.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let identity = Identity { chain: vec![made.cert.der().clone()], key };
    let client = towards_operators_tls(identity, &space.anchors).unwrap();
    let met = meet(&server, &client).await.unwrap();
    let purpose = Purpose::Client { or_server: true };
    let judged =
        verified_path(&met.shown[0], &[], &space.anchors, purpose, SystemClock.now()).unwrap_err();
    assert_eq!(judged, "self-signed, not under our anchors");
}

/// Shows the certificate of one and signs with the key of another.
#[derive(Debug)]
struct Impostor(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Impostor {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn who_does_not_hold_the_key_of_the_certificate_does_not_get_through_the_handshake() {
    let space = Space::new();
    let server = operators_tls(space.identity(&practice()), &space.anchors).unwrap();
    let victim = space.identity(&hospital()).chain;
    let own = rcgen::KeyPair::generate().unwrap();
    let own = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&own).unwrap();
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(victim, signing));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = (*person(&space, &[version])).clone();
        client.client_auth_cert_resolver = Arc::new(Impostor(Arc::clone(&stolen)));
        let error = meet(&server, &Arc::new(client)).await.unwrap_err();
        assert!(error.contains("alert") || error.contains("signature"), "{error}");
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
