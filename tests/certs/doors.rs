//! What the doors speak, to OpenSSL and to rustls: versions, suites, tickets.
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use vaguemestre::infra::net::TestAuthorities;
use vaguemestre::infra::net::TlsBook;

use super::House;
use super::days;
use super::person;
use super::s_client;
use super::us;

const DOORS: [&str; 5] = ["submission", "submissions", "imap", "imaps", "https"];

fn book(house: &House) -> TlsBook {
    let (people, operator) = (house.path("people.pem"), house.pki.mx(&us()));
    let key = house.path("people.key");
    let anchors = [house.pki.ca_file()];
    let operator = (operator.certificate.as_path(), operator.key.as_path());
    TlsBook::load((&people, &key), operator, &anchors, TestAuthorities::Refused).unwrap()
}

async fn kind(
    server: Arc<rustls::ServerConfig>,
    client: &Arc<rustls::ClientConfig>,
) -> HandshakeKind {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(server).accept(stream).await.unwrap();
        stream.write_u8(7).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    serving.await.unwrap();
    stream.get_ref().1.handshake_kind().unwrap()
}

fn only(
    client: &Arc<rustls::ClientConfig>,
    version: &'static rustls::SupportedProtocolVersion,
    house: &House,
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for anchor in vaguemestre::infra::net::load_anchors(&[house.pki.ca_file()]).unwrap() {
        roots.add(anchor).unwrap();
    }
    let provider = Arc::clone(client.crypto_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn a_ticket_of_one_door_is_worth_nothing_at_another() {
    let house = House::new("");
    let book = book(&house);
    let any = person(&house.pki.ca_file());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for door in DOORS {
            let client = only(&any, version, &house);
            assert_ne!(kind(book.people(door), &client).await, HandshakeKind::Resumed);
            assert_eq!(kind(book.people(door), &client).await, HandshakeKind::Resumed, "{door}");
            for other in DOORS.iter().filter(|other| **other != door) {
                // A fresh client each time: it holds one ticket, of this door.
                let client = only(&any, version, &house);
                kind(book.people(door), &client).await;
                let met = kind(book.people(other), &client).await;
                assert_ne!(met, HandshakeKind::Resumed, "{door}'s ticket at {other}");
            }
            let client = only(&any, version, &house);
            kind(book.people(door), &client).await;
            let met = kind(book.operators(), &client).await;
            assert_ne!(met, HandshakeKind::Resumed, "{door}'s ticket at the operators' door");
        }
    }
}

#[tokio::test]
async fn tickets_outlive_a_reload_exactly_when_their_certificate_does() {
    let house = House::new("");
    let book = book(&house);
    let client = person(&house.pki.ca_file());
    kind(book.people("imaps"), &client).await;
    let towards = book.towards_operators();

    book.apply(book.read().unwrap()).unwrap();
    assert_eq!(kind(book.people("imaps"), &client).await, HandshakeKind::Resumed);
    assert!(Arc::ptr_eq(&towards, &book.towards_operators()), "connections are used again");

    house.put("people", &house.issue("next", "people two", days(-1), days(300)));
    book.apply(book.read().unwrap()).unwrap();
    assert_ne!(kind(book.people("imaps"), &client).await, HandshakeKind::Resumed);
    assert!(Arc::ptr_eq(&towards, &book.towards_operators()), "nothing of operators has changed");
}

#[tokio::test]
async fn only_the_door_of_pages_names_protocols() {
    let house = House::new("");
    let book = book(&house);
    for door in DOORS {
        let named = !book.people(door).alpn_protocols.is_empty();
        assert_eq!(named, door == "https", "{door}");
    }
    assert_eq!(book.people("https").max_early_data_size, 0, "early data could be replayed");
}

#[test]
fn openssl_speaks_tls_1_2_and_1_3_with_the_doors_and_nothing_older_or_weaker() {
    let house = House::serving("");
    let (imaps, mx) = (house.door(993).to_string(), house.door(25).to_string());
    let ca = house.pki.ca_file();
    let ca = ca.to_str().unwrap();
    let people = ["-connect", imaps.as_str(), "-CAfile", ca, "-verify_return_error"];
    let operators = ["-starttls", "smtp", "-connect", mx.as_str(), "-CAfile", ca];
    for (what, door) in [("people", &people[..]), ("operators", &operators[..])] {
        for (arguments, protocol) in [
            (&["-tls1_3"][..], Some("New, TLSv1.3, Cipher is TLS_")),
            (&["-tls1_2"], Some("New, TLSv1.2, Cipher is ECDHE-")),
            (
                &[
                    "-tls1_2",
                    "-cipher",
                    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
                ],
                Some("New, TLSv1.2, Cipher is ECDHE-"),
            ),
            (&["-tls1_2", "-cipher", "ECDHE+CHACHA20"], Some("New, TLSv1.2, Cipher is ECDHE-")),
            // CBC with ephemeral keys, AEAD without, neither; finite-field; old versions.
            (
                &[
                    "-tls1_2",
                    "-cipher",
                    "ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA",
                ],
                None,
            ),
            (&["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384"], None),
            (&["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA256"], None),
            (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], None),
            (&["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], None),
            (&["-tls1", "-cipher", "ALL@SECLEVEL=0"], None),
        ] {
            let said = s_client(&[door, arguments].concat(), "");
            match protocol {
                Some(protocol) => assert!(said.contains(protocol), "{what} {arguments:?}:\n{said}"),
                None => {
                    assert!(said.contains("Cipher is (NONE)"), "{what} {arguments:?}:\n{said}");
                    assert!(
                        said.contains("alert"),
                        "{what} {arguments:?}, not refused by us:\n{said}"
                    );
                }
            }
        }
    }
    let said = s_client(&[&operators[..], &["-tls1_3"]].concat(), "");
    // Asked for a certificate, and told under which authorities it has to be.
    let hints = said.split("Acceptable client certificate CA names").nth(1);
    let hints = hints.unwrap_or_else(|| panic!("no hints:\n{said}"));
    assert!(hints.contains("CN = DEMO AC IGC-SANTE"), "{said}");
}

#[test]
fn openssl_resumes_at_the_door_that_gave_the_ticket_and_nowhere_else() {
    let house = House::serving("");
    let ticket = house.path("ticket");
    let ticket = ticket.to_str().unwrap();
    let imaps = house.door(993).to_string();
    let (submissions, mx) = (house.door(465).to_string(), house.door(25).to_string());
    for version in ["-tls1_3", "-tls1_2"] {
        let imap = ["-connect", imaps.as_str(), version, "-ign_eof"];
        let first = s_client(&[&imap[..], &["-sess_out", ticket]].concat(), "a LOGOUT\r\n");
        assert!(first.contains("New, TLS"), "{first}");
        let again = s_client(&[&imap[..], &["-sess_in", ticket]].concat(), "a LOGOUT\r\n");
        assert!(again.contains("Reused, TLS"), "{version}:\n{again}");
        for other in [
            &["-connect", submissions.as_str(), version, "-ign_eof"][..],
            &["-starttls", "smtp", "-connect", mx.as_str(), version, "-ign_eof"],
        ] {
            let said = s_client(&[other, &["-sess_in", ticket]].concat(), "QUIT\r\n");
            assert!(said.contains("New, TLS"), "{version} {other:?}:\n{said}");
            assert!(!said.contains("Reused"), "{version} {other:?}:\n{said}");
        }
        // The operators' door gives nothing that could be resumed.
        let own = house.path("own-ticket");
        let door = ["-starttls", "smtp", "-connect", mx.as_str(), version, "-ign_eof"];
        let own = own.to_str().unwrap();
        let first = s_client(&[&door[..], &["-sess_out", own]].concat(), "QUIT\r\n");
        assert!(!first.contains("TLS session ticket:"), "{first}");
        if std::path::Path::new(own).exists() {
            let again = s_client(&[&door[..], &["-sess_in", own]].concat(), "QUIT\r\n");
            assert!(again.contains("New, TLS") && !again.contains("Reused"), "{again}");
        }
    }
}
