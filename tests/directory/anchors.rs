//! The API's host gets a certificate of another CA: the file is enough, nothing is restarted.
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Server;
use crate::directory_ldap::slapd::Pki;
use crate::support::running::said;
use crate::support::serving::Serving;
use crate::support::serving::Space;

/// The same server behind TLS, with this certificate; its address.
async fn behind_tls(server: &Server, pki: &Pki) -> String {
    let chain = CertificateDer::pem_file_iter(&pki.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&pki.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/fhir/v2", listener.local_addr().unwrap());
    let plain = server.url.clone();
    let plain = plain.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    *server.shared.address.lock().unwrap() = url.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(socket).await else { return };
                let mut inside = TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    url
}

fn delta(relay: &Serving<'_>) -> (bool, String) {
    let output = relay.command(&["directory", "delta", "--since", "2026-11-20"]);
    (output.status.success(), said(&output))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_asked_under_the_anchors_that_stand_in_the_file_now() {
    let server = Server::start().await;
    let space = Space::of(&["hopital.mssante.test"]);
    let (first, second) =
        (Pki::new(&space.folder().join("first")), Pki::new(&space.folder().join("second")));
    let url = behind_tls(&server, &first).await;
    let anchors = space.folder().join("fhir.pem");
    let stands = |pki: &Path| {
        fs::copy(pki, &anchors).unwrap();
    };
    stands(&second.anchors);
    let relay = space
        .relay(0)
        .with(&format!(
            "[revocation]\nmode = \"off\"\n[fhir]\nurl = {url:?}\nanchors = [{anchors:?}]\n"
        ))
        .start(&[]);
    let file = relay.folder.join("Extraction.txt");
    fs::write(&file, super::story::SAMPLE).unwrap();
    relay.said(&["directory", "import", file.to_str().unwrap()]);
    let (good, told) = delta(&relay);
    assert!(!good, "it stands under another CA: {told}");
    stands(&first.anchors);
    let (good, told) = delta(&relay);
    assert!(good && told.contains("eloise.lumier"), "{told}\n{}", relay.log());
    stands(&second.anchors);
    let (good, told) = delta(&relay);
    assert!(!good, "{told}");
    stands(&first.anchors);
    assert!(delta(&relay).0);
}
