//! OpenSSL and swaks at the operators' door: what other people's software gets to hear.
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use vaguemestre::demo::pki::PemPair;

use super::inbound_house::House;
use super::inbound_house::MAIL;
use super::inbound_house::RCPT;
use super::inbound_house::letter;
use crate::support::running;

/// `openssl s_client -starttls smtp`, saying `input`; everything that it printed.
fn openssl(house: &House, identity: Option<&PemPair>, more: &[&str], input: &str) -> String {
    let address = house.door.to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", "smtp", "-connect", &address, "-quiet", "-crlf"]);
    if let Some(files) = identity {
        command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
        command.arg("-cert_chain").arg(house.pki.ca_file());
    }
    let mut child = command
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("openssl (make deps installs it): {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running::said(&child.wait_with_output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_hears_why_whatever_it_shows() {
    let house = House::new().await;
    let (own, good) = (house.self_signed(), house.files("cabinet"));
    let letter = letter("openssl").replace("\r\n", "\n");
    let dialogue = format!("EHLO x.test\n{MAIL}\n{RCPT}\nDATA\n{letter}.\nQUIT\n");
    for version in ["-tls1_2", "-tls1_3"] {
        let heard = openssl(&house, None, &[version], "EHLO x.test\nQUIT\n");
        assert!(heard.contains("554 5.7.1 Show your operator certificate"), "{version}: {heard}");
        let heard = openssl(&house, Some(&own), &[version], "EHLO x.test\nQUIT\n");
        assert!(heard.contains("554 5.7.5 "), "{version}: {heard}");
        let heard = openssl(&house, Some(&good), &[version], &dialogue);
        assert!(heard.contains("250 2.0.0 Queued as"), "{version}: {heard}");
    }
    // The same octets twice are one letter.
    assert_eq!(house.letters().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tls_and_weak_suites_end_in_the_handshake() {
    let house = House::new().await;
    let good = house.files("cabinet");
    for more in [
        &["-tls1_1"][..],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
    ] {
        let heard = openssl(&house, Some(&good), more, "EHLO x.test\nQUIT\n");
        assert!(!heard.contains("250-hopital.test\n250-PIPELINING\n250-SIZE"), "{more:?}: {heard}");
        assert!(!heard.contains("250 2."), "{more:?}: {heard}");
    }
    assert_eq!(house.letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_sends_with_a_client_certificate() {
    let house = House::new().await;
    let (good, own) = (house.files("cabinet"), house.self_signed());
    let send = |files: Option<&PemPair>, from: &str| {
        let port = house.door.port().to_string();
        let mut arguments = vec!["--server", "127.0.0.1", "--port", &port, "--tls", "--from", from];
        arguments.extend(["--to", "hugo@hopital.test", "--ehlo", "mx.cabinet.test"]);
        if let Some(files) = files {
            arguments.extend(["--tls-cert", files.certificate.to_str().unwrap()]);
            arguments.extend(["--tls-key", files.key.to_str().unwrap()]);
        }
        running::said(&running::run("swaks", &arguments))
    };
    assert!(send(Some(&good), "paul@cabinet.test").contains("250 2.0.0 Queued as"));
    assert!(send(Some(&good), "paul@hopital.test").contains("550 5.7.1 "));
    assert!(send(Some(&own), "paul@cabinet.test").contains("554 5.7.5 "));
    assert!(send(None, "paul@cabinet.test").contains("554 5.7.1 "));
    assert_eq!(house.letters().await, 1);
}
