//! Whatever is not certain is tried again: never taken, never refused.
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::flow::deliver::operator::HandoverResult;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::net::towards_operators_tls;

use super::Letter;
use super::Space;
use super::hospital;
use super::practice;
use super::put_off;
use super::refused;
use super::results;
use super::server::Act;
use super::server::Script;
use super::server::Server;

/// Every recipient is put off, whatever the script says to whom.
async fn check_put_off(
    space: &Space,
    what: &str,
    script: Script,
    (subject, detail): (u16, u16),
) -> Server {
    let server = space.server(script).await;
    let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
    let expected = put_off(subject, detail);
    assert_eq!(results(&outcomes), [expected, expected], "{what}: {outcomes:?}");
    server
}

#[tokio::test]
async fn a_reply_injected_behind_the_220_is_never_believed() {
    let space = Space::new();
    for (what, starttls) in [
        ("a whole reply", "220 go\r\n250-evil.test\r\n250 DSN\r\n"),
        ("one octet", "220 go\r\n2"),
        ("a second 220", "220 go\r\n220 go\r\n"),
        ("an empty line", "220 go\r\n\r\n"),
    ] {
        let script = Script { starttls, ..Script::good() };
        let server = check_put_off(&space, what, script, (5, 0)).await;
        assert!(server.seen().commands.is_empty(), "{what}: spoke on");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_tls() {
    let space = Space::new();
    for (what, script, status) in [
        (
            "STARTTLS is not offered",
            Script { clear_ehlo: "250-mx\r\n250 AUTH PLAIN\r\n", ..Script::good() },
            (7, 4),
        ),
        ("STARTTLS is refused", Script { starttls: "454 no\r\n", ..Script::good() }, (4, 1)),
        (
            "STARTTLS is refused for good",
            Script { starttls: "554 no\r\n", ..Script::good() },
            (4, 1),
        ),
        ("another code to STARTTLS", Script { starttls: "250 ok\r\n", ..Script::good() }, (4, 1)),
        ("EHLO is refused", Script { clear_ehlo: "550 no\r\n", ..Script::good() }, (4, 1)),
        ("the greeting refuses", Script { greeting: "554 no\r\n", ..Script::good() }, (4, 1)),
        ("no SMTP at all", Script { greeting: "HTTP/1.1 400\r\n", ..Script::good() }, (5, 0)),
        (
            "replies before the commands",
            Script { greeting: "220 mx\r\n250 STARTTLS\r\n", ..Script::good() },
            (5, 0),
        ),
    ] {
        let server = check_put_off(&space, what, script, status).await;
        assert!(server.seen().contents.is_empty(), "{what}");
        assert!(server.seen().commands.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn replies_that_fit_no_command_are_never_believed() {
    let space = Space::new();
    for (what, command, act) in [
        ("two replies to EHLO", "EHLO", Act::Say("250 mx\r\n250 ok\r\n")),
        ("two replies to MAIL", "MAIL", Act::Say("250 ok\r\n250 ok\r\n")),
        ("two replies to RCPT", "RCPT TO:<c@", Act::Say("250 ok\r\n550 5.1.1 no\r\n")),
        ("two replies to DATA", "DATA", Act::Say("354 go\r\n250 ok\r\n")),
        ("250 to DATA", "DATA", Act::Say("250 ok\r\n")),
        ("354 to MAIL", "MAIL", Act::Say("354 go\r\n")),
        ("354 to RCPT", "RCPT", Act::Say("354 go\r\n")),
        ("354 to the dot", ".", Act::Say("354 go on\r\n")),
        ("251 to the dot", ".", Act::Say("251 ok\r\n")),
        ("no number", ".", Act::Say("ok\r\n")),
        ("two codes in one reply", ".", Act::Say("250-ok\r\n550 no\r\n")),
        ("a number of nowhere", ".", Act::Say("650 ok\r\n")),
        ("an endless line", "RCPT", Act::Flood),
    ] {
        for script in [Script::good(), Script::plain()] {
            check_put_off(&space, what, script.at(command, act.clone()), (5, 0)).await;
        }
    }
}

/// As soon as it could be seen: a letter that fits into the socket's buffer is gone by then.
#[tokio::test]
async fn a_reply_inside_the_content_is_never_believed() {
    let space = Space::new();
    let script = Script::good().at(".", Act::SayEarly("250 ok\r\n"));
    let server = space.server(script).await;
    let letter = Letter::saying("Subject: x\r\n\r\nline\r\n".repeat(600_000));
    let outcomes = space.send(&server, &letter).await;
    assert_eq!(results(&outcomes), [put_off(5, 0)], "{outcomes:?}");
    assert!(server.seen().contents.is_empty());
}

#[tokio::test]
async fn a_refusal_before_a_doubt_does_not_count() {
    let space = Space::new();
    let script = Script::plain()
        .at("RCPT TO:<b@", Act::Say("550 5.1.1 no\r\n"))
        .at("RCPT TO:<c@", Act::Say("250 ok\r\n250 ok\r\n"));
    let server = space.server(script).await;
    let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
    assert_eq!(results(&outcomes), [put_off(5, 0), put_off(5, 0)]);
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_and_a_certain_refusal_stays() {
    let space = Space::new();
    for command in ["EHLO", "MAIL", "DATA", "."] {
        for script in [Script::good(), Script::plain()] {
            check_put_off(&space, command, script.at(command, Act::Close), (4, 2)).await;
        }
    }
    let script = Script::good().at("RCPT TO:<b@", Act::Say("550 5.1.1 no\r\n")).at(".", Act::Close);
    let server = space.server(script).await;
    let outcomes = space.send(&server, &Letter::to(&["b@c.test", "c@c.test"])).await;
    assert_eq!(results(&outcomes), [refused(1, 1), put_off(4, 2)]);
    assert_eq!(server.seen().contents.len(), 1, "the letter may well be there: it is tried again");
}

#[tokio::test]
async fn a_server_that_drips_is_left_in_time() {
    for command in ["EHLO", "RCPT", "."] {
        let space = Space::new();
        let server = space.server(Script::good().at(command, Act::Drip)).await;
        let mut letter = Letter::to(&["b@c.test"]);
        letter.timeout = Duration::from_millis(1_500);
        let start = SystemClock.now();
        let outcomes = space.send(&server, &letter).await;
        assert_eq!(results(&outcomes), [put_off(4, 2)], "{command}: {outcomes:?}");
        assert!(SystemClock.now().since(start) < Duration::from_secs(6));
    }
}

#[tokio::test]
async fn a_server_that_the_list_does_not_name_gets_nothing() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let letter = Letter::to(&["b@c.test"]);
    let ours = DemoPki::mx_dn(&hospital());
    let outcomes = space.send_with(&server, &letter, space.client(), &|peer| *peer == ours).await;
    assert_eq!(results(&outcomes), [put_off(7, 5)]);
    assert!(outcomes[0].reply.contains("trust list"), "{outcomes:?}");
    assert!(server.seen().commands.is_empty(), "it got more than a handshake");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_on_either_side() {
    let space = Space::new();
    let folder = tempfile::tempdir().unwrap();
    let host = std::net::IpAddr::from([127, 0, 0, 1]);
    let operators = [hospital(), practice()];
    let stranger = DemoPki::create(folder.path(), &operators, host, SystemClock.now()).unwrap();
    let files = stranger.mx(&hospital());
    let server = space.server(Script::good()).await;
    let letter = Letter::to(&["b@c.test"]);

    // We trust another authority than the server's.
    let anchors = load_anchors(&[stranger.ca_file()]).unwrap();
    let own = Identity::load(&files.certificate, &files.key).unwrap();
    let client = towards_operators_tls(own.duplicate(), &anchors).unwrap();
    let outcomes = space.send_with(&server, &letter, client, &|_| true).await;
    assert_eq!(results(&outcomes), [put_off(7, 5)], "{outcomes:?}");

    // The server trusts another authority than ours; with TLS 1.3 it says so late.
    let server = Server::start(strict_tls(&space), Script::good()).await;
    let client = towards_operators_tls(own, &space.anchors).unwrap();
    let outcomes = space.send_with(&server, &letter, client, &|_| true).await;
    assert!(matches!(outcomes[0].result, HandoverResult::PutOff(_)), "{outcomes:?}");
    assert!(server.seen().commands.is_empty());
}

/// An operator whose handshake refuses strangers, as other programs do (ours judges later).
fn strict_tls(space: &Space) -> Arc<rustls::ServerConfig> {
    let mut roots = rustls::RootCertStore::empty();
    space.anchors.iter().for_each(|anchor| roots.add(anchor.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let files = space.pki.mx(&practice());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(files.certificate).unwrap().collect();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain.unwrap(), PrivateKeyDer::from_pem_file(files.key).unwrap());
    Arc::new(config.unwrap())
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_tried_again() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let gone = server.hosts();
    drop(server);
    let letter = Letter::to(&["b@c.test"]);
    let mut nameless = gone[0].clone();
    nameless.addresses.clear();
    nameless.trouble = "no such name in the DNS".to_owned();
    let mut strange = gone[0].clone();
    strange.name = "a b".to_owned();
    for (hosts, status) in [
        (vec![gone[0].clone()], (4, 1)),
        (vec![nameless.clone()], (4, 4)),
        (vec![strange], (3, 5)),
        (vec![nameless, gone[0].clone()], (4, 4)),
        (Vec::new(), (4, 4)),
    ] {
        let handover = space.handover(&hosts, &letter, space.client(), &|_| true);
        let outcomes = super::hand_over(handover).await.outcomes;
        assert_eq!(results(&outcomes), [put_off(status.0, status.1)], "{outcomes:?}");
    }
}
