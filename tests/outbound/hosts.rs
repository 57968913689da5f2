//! Several hosts of one operator: what sends a letter on to the next one, and what does not.
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::delivery::MailHost;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::deliver::operator::HandedOver;
use vaguemestre::flow::deliver::operator::HandoverResult::Taken;
use vaguemestre::flow::deliver::operator::Pool;
use vaguemestre::flow::deliver::operator::hand_over;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::revocation::Mode;
use vaguemestre::infra::revocation::Revocation;
use vaguemestre::infra::revocation::Settings;

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

/// The hosts by name, in order.
fn hosts(servers: &[(&str, &Server)]) -> Vec<MailHost> {
    servers
        .iter()
        .map(|(name, server)| MailHost {
            name: (*name).to_owned(),
            ..MailHost::at(Ipv4Addr::LOCALHOST.into(), server.port())
        })
        .collect()
}

async fn send(space: &Space, hosts: &[MailHost], letter: &Letter) -> HandedOver {
    let listed = DemoPki::mx_dn(&practice());
    let is_listed = |peer: &OperatorDn| *peer == listed;
    hand_over(space.handover(hosts, letter, space.client(), &is_listed)).await
}

/// The practice's subject in a certificate that ended an hour ago, or of another authority.
async fn server_with(space: &Space, issuer: &DemoPki, ended: bool) -> Server {
    let now = SystemClock.now().as_millis();
    let hour = 3_600_000;
    let (not_before, not_after) = match ended {
        true => (now - 2 * hour, now - hour),
        false => (now - hour, now + hour),
    };
    let subject = [(DnType::CommonName, "mx.cabinet.test")];
    let leaf = Leaf {
        subject: &subject,
        names: &["mx.cabinet.test"],
        purposes: &[ExtendedKeyUsagePurpose::ServerAuth],
        rsa: false,
        not_before: Timestamp::from_millis(not_before),
        not_after: Timestamp::from_millis(not_after),
    };
    let folder = tempfile::tempdir().unwrap();
    let files = issuer.issue(&leaf, folder.path(), "server").unwrap();
    let identity = Identity::load(&files.certificate, &files.key).unwrap();
    Server::start(operators_tls(identity, &space.anchors).unwrap(), Script::good()).await
}

/// The first host fails in this way; the second one has the letter, once, and the first nothing.
async fn check_next(space: &Space, what: &str, first: &Server, timeout: Duration) {
    for script in [Script::good(), Script::chunking()] {
        let second = space.server(script).await;
        let letter = Letter { timeout, ..Letter::to(&["b@cabinet.test", "c@cabinet.test"]) };
        let hosts = hosts(&[("mx1.cabinet.test", first), ("mx2.cabinet.test", &second)]);
        let HandedOver { outcomes, contact, .. } = send(space, &hosts, &letter).await;
        assert_eq!(results(&outcomes), [Taken, Taken], "{what}: {outcomes:?}");
        assert_eq!(second.seen().contents, [letter.content.as_slice()], "{what}");
        assert!(contact.host.starts_with("mx2.cabinet.test:"), "{what}: {contact:?}");
        assert!(first.seen().contents.is_empty(), "{what}: the first host has it, too");
    }
}

#[tokio::test]
async fn what_is_about_the_host_leads_to_the_next_one() {
    let space = Space::new();
    let long = Duration::from_secs(20);
    for (what, script) in [
        ("a greeting that refuses", Script { greeting: "554 no\r\n", ..Script::good() }),
        ("421 as a greeting", Script { greeting: "421 busy\r\n", ..Script::good() }),
        ("no STARTTLS", Script { clear_ehlo: "250 mx\r\n", ..Script::good() }),
        ("STARTTLS refused", Script { starttls: "454 no\r\n", ..Script::good() }),
        ("octets behind STARTTLS", Script { starttls: "220 go\r\n250 x\r\n", ..Script::good() }),
        ("EHLO refused", Script::good().at("EHLO", Act::Say("502 what\r\n"))),
        ("421 to EHLO", Script::good().at("EHLO", Act::SayAndClose("421 bye\r\n"))),
        ("421 to MAIL", Script::good().at("MAIL", Act::SayAndClose("421 bye\r\n"))),
        ("4xx to MAIL", Script::good().at("MAIL", Act::Say("451 4.3.0 list is old\r\n"))),
        ("421 to RCPT", Script::plain().at("RCPT TO:<c@", Act::SayAndClose("421 bye\r\n"))),
        ("421 to DATA", Script::good().at("DATA", Act::SayAndClose("421 bye\r\n"))),
        ("gone at MAIL", Script::good().at("MAIL", Act::Close)),
        ("gone at RCPT", Script::plain().at("RCPT TO:<c@", Act::Close)),
        ("gone at DATA", Script::good().at("DATA", Act::Close)),
        ("a lie at MAIL", Script::good().at("MAIL", Act::Say("250 ok\r\n250 ok\r\n"))),
        ("a lie at DATA", Script::good().at("DATA", Act::Say("250 ok\r\n"))),
    ] {
        let first = space.server(script).await;
        check_next(&space, what, &first, long).await;
    }
}

#[tokio::test]
async fn a_host_that_never_answers_leaves_time_for_the_next_one() {
    let space = Space::new();
    for moment in ["<connect>", "<clear EHLO>", "<handshake>", "EHLO", "MAIL", "RCPT", "DATA"] {
        let first = space.server(Script::good().at(moment, Act::Hang)).await;
        check_next(&space, moment, &first, Duration::from_secs(6)).await;
    }
}

#[tokio::test]
async fn a_host_is_there_when_its_ehlo_inside_tls_came_back() {
    let space = Space::new();
    let (there, away) = (Some(true), Some(false));
    for (what, script, expected) in [
        ("silent", Script::good().at("<connect>", Act::Hang), away),
        ("hangs up", Script::good().at("<connect>", Act::Close), away),
        ("refuses", Script { greeting: "554 no\r\n", ..Script::good() }, away),
        ("no STARTTLS", Script { clear_ehlo: "250 mx\r\n", ..Script::good() }, away),
        ("no handshake", Script::good().at("<handshake>", Act::Hang), away),
        ("silent inside TLS", Script::good().at("EHLO", Act::Hang), away),
        ("silent later", Script::good().at("MAIL", Act::Hang), there),
        ("says no", Script::good().at("MAIL", Act::Say("451 4.3.0 no\r\n")), there),
        ("takes it", Script::good(), there),
    ] {
        let server = space.server(script).await;
        let hosts = hosts(&[("mx.cabinet.test", &server)]);
        let letter = Letter { timeout: Duration::from_secs(4), ..Letter::to(&["b@c.test"]) };
        let HandedOver { met, .. } = send(&space, &hosts, &letter).await;
        assert_eq!(met.first().map(|met| met.answers), expected, "{what}");
    }
    // Whom we refuse is there, and may be good for another domain.
    let server = space.server(Script::good()).await;
    let (hosts, letter) = (hosts(&[("mx.cabinet.test", &server)]), Letter::to(&["b@c.test"]));
    let stranger = |_: &OperatorDn| false;
    let handed = hand_over(space.handover(&hosts, &letter, space.client(), &stranger)).await;
    assert_eq!(handed.met, [], "a stranger for this domain opens or closes nothing");
}

#[tokio::test]
async fn a_certificate_that_does_not_count_leads_to_the_next_host() {
    let space = Space::new();
    let long = Duration::from_secs(20);
    let folder = tempfile::tempdir().unwrap();
    let operators = [hospital(), practice()];
    let stranger =
        DemoPki::create(folder.path(), &operators, IpAddr::from([127, 0, 0, 1]), SystemClock.now());
    let other_authority = server_with(&space, &stranger.unwrap(), false).await;
    check_next(&space, "another authority", &other_authority, long).await;
    check_next(&space, "ended", &server_with(&space, &space.pki, true).await, long).await;
    // The name is the practice's, the rest of the subject is not.
    check_next(&space, "not listed", &server_with(&space, &space.pki, false).await, long).await;
    let other_operator = operators_tls(space.identity(&hospital()), &space.anchors).unwrap();
    let other_operator = Server::start(other_operator, Script::good()).await;
    check_next(&space, "another operator's", &other_operator, long).await;
}

#[tokio::test]
async fn what_is_about_the_letter_is_final_for_the_attempt() {
    let space = Space::new();
    for (command, reply, expected) in [
        ("MAIL", "550 5.7.1 not you\r\n", refused(7, 1)),
        ("RCPT", "550 5.1.1 unknown\r\n", refused(1, 1)),
        ("RCPT", "450 4.2.1 later\r\n", put_off(2, 1)),
        ("DATA", "554 5.5.1 no\r\n", refused(5, 1)),
        ("DATA", "451 4.3.0 no\r\n", put_off(3, 0)),
        (".", "552 5.3.4 too big\r\n", refused(3, 4)),
        (".", "452 4.3.1 full\r\n", put_off(3, 1)),
    ] {
        let first = space.server(Script::good().at(command, Act::Say(reply))).await;
        let second = space.server(Script::good()).await;
        let hosts = hosts(&[("mx1.test", &first), ("mx2.test", &second)]);
        let HandedOver { outcomes, .. } = send(&space, &hosts, &Letter::to(&["b@c.test"])).await;
        assert_eq!(results(&outcomes), [expected], "{command} {reply}");
        assert_eq!(second.connections(), 0, "{command} {reply}: a colleague was asked");
    }
}

/// After the content left, only the host that has it may be asked again, later.
#[tokio::test]
async fn a_letter_that_may_have_arrived_goes_to_no_second_host() {
    let space = Space::new();
    for script in [Script::good(), Script::chunking()] {
        for act in [Act::Close, Act::SayAndVanish("25"), Act::Say("250 ok\r\n250 ok\r\n")] {
            let first = space.server(script.clone().at(".", act.clone())).await;
            let second = space.server(Script::good()).await;
            let hosts = hosts(&[("mx1.test", &first), ("mx2.test", &second)]);
            let letter = Letter::to(&["b@c.test"]);
            let HandedOver { outcomes, .. } = send(&space, &hosts, &letter).await;
            assert_ne!(results(&outcomes), [Taken], "{act:?}");
            assert_eq!(second.connections(), 0, "{act:?}: it may be there twice");
        }
        for (moment, octets) in [(".", 10), ("<content>", 12_000_000)] {
            let first = space.server(script.clone().at(moment, Act::Hang)).await;
            let second = space.server(Script::good()).await;
            let hosts = hosts(&[("mx1.test", &first), ("mx2.test", &second)]);
            let mut letter = Letter::saying("line\r\n".repeat(octets / 6));
            letter.timeout = Duration::from_secs(3);
            let HandedOver { outcomes, .. } = send(&space, &hosts, &letter).await;
            assert_eq!(results(&outcomes), [put_off(4, 2)], "{moment}: {outcomes:?}");
            assert_eq!(second.connections(), 0, "{moment}: it may be there twice");
        }
        // But a host that says itself that it does not have it is believed.
        let first =
            space.server(script.clone().at(".", Act::SayAndClose("421 stopping\r\n"))).await;
        let second = space.server(Script::good()).await;
        let hosts = hosts(&[("mx1.test", &first), ("mx2.test", &second)]);
        let HandedOver { outcomes, .. } = send(&space, &hosts, &Letter::to(&["b@c.test"])).await;
        assert_eq!(results(&outcomes), [Taken]);
    }
}

#[tokio::test]
async fn a_recipient_who_was_refused_is_not_asked_for_at_the_next_host() {
    let space = Space::new();
    let first = Script::plain()
        .at("RCPT TO:<b@", Act::Say("550 5.1.1 unknown\r\n"))
        .at("DATA", Act::SayAndClose("421 bye\r\n"));
    let (first, second) = (space.server(first).await, space.server(Script::good()).await);
    let hosts = hosts(&[("mx1.test", &first), ("mx2.test", &second)]);
    let letter = Letter::to(&["b@c.test", "c@c.test"]);
    let HandedOver { outcomes, .. } = send(&space, &hosts, &letter).await;
    assert_eq!(results(&outcomes), [refused(1, 1), Taken]);
    let said = second.seen().commands.join("\n");
    assert!(said.contains("RCPT TO:<c@c.test>") && !said.contains("RCPT TO:<b@"), "{said}");
}

#[tokio::test]
async fn when_every_host_fails_each_reason_is_told() {
    let space = Space::new();
    let busy = space.server(Script { greeting: "421 too busy\r\n", ..Script::good() }).await;
    let clear = space.server(Script { clear_ehlo: "250 mx\r\n", ..Script::good() }).await;
    let gone = space.server(Script::good()).await;
    let mut hosts = hosts(&[("mx0.test", &gone), ("mx1.test", &busy), ("mx2.test", &clear)]);
    drop(gone);
    let mut nameless = hosts[0].clone();
    nameless.name = "mx3.test".to_owned();
    nameless.addresses.clear();
    nameless.trouble = "no address in the DNS".to_owned();
    hosts.push(nameless);
    let HandedOver { outcomes, .. } = send(&space, &hosts, &Letter::to(&["b@c.test"])).await;
    assert_eq!(results(&outcomes), [put_off(7, 4)], "{outcomes:?}");
    for part in [
        "mx0.test:",
        "no connection",
        "mx1.test:",
        "too busy",
        "mx2.test:",
        "STARTTLS",
        "mx3.test:",
    ] {
        assert!(outcomes[0].reply.contains(part), "{part} is missing: {}", outcomes[0].reply);
    }
}

#[tokio::test]
async fn every_address_of_a_host_is_tried() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let mut host = hosts(&[("mx.test", &server)]);
    // Nobody listens on the second loopback address.
    host[0].addresses.insert(0, IpAddr::from([127, 0, 0, 2]));
    let HandedOver { outcomes, contact, .. } =
        send(&space, &host, &Letter::to(&["b@c.test"])).await;
    assert_eq!(results(&outcomes), [Taken], "{outcomes:?}");
    assert_eq!(contact.address.unwrap().ip(), IpAddr::from([127, 0, 0, 1]));
}

#[tokio::test]
async fn four_hundreds_and_five_hundreds_for_one_of_ten_harm_nobody_else() {
    let space = Space::new();
    let names: Vec<String> = (0..10).map(|number| format!("r{number}@c.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for script in [Script::good(), Script::plain(), Script::chunking()] {
        let first = script.clone().at("RCPT TO:<r3@", Act::Say("450 4.2.1 later\r\n"));
        let first = space.server(first).await;
        let tried = send(&space, &first.hosts(), &Letter::to(&names)).await.outcomes;
        for (place, result) in results(&tried).into_iter().enumerate() {
            assert_eq!(result, if place == 3 { put_off(2, 1) } else { Taken }, "{place}");
        }
        let then = script.at("RCPT TO:<r3@", Act::Say("550 5.1.1 unknown\r\n"));
        let then = space.server(then).await;
        let tried = send(&space, &then.hosts(), &Letter::to(&[names[3]])).await.outcomes;
        assert_eq!(results(&tried), [refused(1, 1)]);
        assert_eq!((first.seen().contents.len(), then.seen().contents.len()), (1, 0));
    }
}

#[tokio::test]
async fn the_contact_tells_with_whom_we_spoke() {
    let mut space = Space::new();
    space.revocation = required(&space);
    for (script, offers_dsn) in [(Script::chunking(), true), (Script::plain(), false)] {
        let script = script.at(".", Act::Say("250 2.0.0 Ok: queued as 4XyZ0k\r\n"));
        let server = space.server(script).await;
        let hosts = hosts(&[("mx.cabinet.test", &server)]);
        let HandedOver { outcomes, contact, .. } =
            send(&space, &hosts, &Letter::to(&["b@c.test"])).await;
        assert_eq!(results(&outcomes), [Taken], "{outcomes:?}");
        assert_eq!(contact.host, format!("mx.cabinet.test:{}", server.port()));
        assert_eq!(contact.address.unwrap().port(), server.port());
        assert_eq!(contact.certificate.unwrap().subject, DemoPki::mx_dn(&practice()));
        assert_eq!(contact.revocation.unwrap().standing, Standing::Good);
        assert_eq!(contact.tls.as_deref(), Some("TLSv1.3 TLS13_AES_256_GCM_SHA384"));
        assert_eq!(contact.offers_dsn, offers_dsn);
        assert_eq!(contact.remote_id.as_deref(), Some("4XyZ0k"));
    }
}

fn settings(space: &Space) -> Settings {
    Settings {
        mode: Mode::Required,
        crl_files: vec![space.pki.crl_file()],
        crl: false,
        ocsp: false,
        timeout: Duration::from_secs(1),
        refresh: Duration::from_secs(60),
        grace: Duration::ZERO,
        kept: space.pki.crl_file().with_extension("kept"),
    }
}

fn required(space: &Space) -> Revocation {
    Revocation::new(settings(space))
}

/// The serial number of the practice's certificate.
fn serial(space: &Space) -> Vec<u8> {
    let file = space.pki.mx(&practice()).certificate;
    let leaf = CertificateDer::from_pem_file(file).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    certificate.raw_serial().to_vec()
}

#[tokio::test]
async fn a_revoked_certificate_or_one_of_which_nobody_knows_gets_no_letter() {
    let mut space = Space::new();
    let server = space.server(Script::good()).await;
    let hosts = hosts(&[("mx.cabinet.test", &server)]);
    let letter = Letter::to(&["b@c.test"]);

    space.revocation = Revocation::new(Settings { crl_files: Vec::new(), ..settings(&space) });
    let HandedOver { outcomes, contact, .. } = send(&space, &hosts, &letter).await;
    assert_eq!(results(&outcomes), [put_off(7, 5)]);
    assert!(outcomes[0].reply.contains("nobody can say"), "{outcomes:?}");
    assert_eq!(contact.revocation.unwrap().standing, Standing::Unknown);

    space.pki.revoke(&[serial(&space)], SystemClock.now()).unwrap();
    space.revocation = required(&space);
    let HandedOver { outcomes, contact, .. } = send(&space, &hosts, &letter).await;
    assert_eq!(results(&outcomes), [put_off(7, 5)]);
    assert!(outcomes[0].reply.contains("is revoked"), "{outcomes:?}");
    assert!(matches!(contact.revocation.unwrap().standing, Standing::Revoked(_)));
    assert!(server.seen().commands.is_empty(), "it got more than a handshake");
}

/// The connection is in use all the time; its certificate is revoked meanwhile.
#[tokio::test]
async fn a_certificate_that_is_revoked_ends_its_open_connection_within_a_minute_or_so() {
    let mut space = Space::new();
    space.revocation = required(&space);
    let server = space.server(Script::good()).await;
    let hosts = hosts(&[("mx.cabinet.test", &server)]);
    let letter = Letter { timeout: Duration::from_secs(500), ..Letter::to(&["b@c.test"]) };
    let (pool, client) = (Pool::new(), space.client());
    let send = async || {
        let handover = space.handover(&hosts, &letter, Arc::clone(&client), &|_| true);
        pool.hand_over(handover).await.outcomes
    };
    assert_eq!(results(&send().await), [Taken]);
    space.pki.revoke(&[serial(&space)], SystemClock.now()).unwrap();
    space.revocation.reload();
    for _ in 0..2 {
        wait(25).await;
        assert_eq!(results(&send().await), [Taken], "the answer of the handshake is still young");
    }
    wait(25).await;
    assert_eq!(results(&send().await), [put_off(7, 5)]);
    assert_eq!(server.seen().contents.len(), 3);
}

/// Lets time pass without waiting for it, and nobody notice while sockets are in use.
async fn wait(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn one_connection_serves_every_domain_of_an_operator_as_far_as_the_list_goes() {
    let space = Space::new();
    let server = space.server(Script::good()).await;
    let hosts = hosts(&[("mx.cabinet.test", &server)]);
    let (pool, client) = (Pool::new(), space.client());
    let listed = ["one.test", "two.test"];
    for (domain, expected) in [
        ("one.test", Taken),
        ("two.test", Taken),
        ("three.test", put_off(7, 5)),
        ("one.test", Taken),
    ] {
        let letter = Letter::to(&[&format!("b@{domain}")]);
        let is_listed = |_: &OperatorDn| listed.contains(&domain);
        let handover = space.handover(&hosts, &letter, Arc::clone(&client), &is_listed);
        let outcomes = pool.hand_over(handover).await.outcomes;
        assert_eq!(results(&outcomes), [expected], "{domain}: {outcomes:?}");
    }
    let sessions = server.seen().commands.iter().filter(|line| line.starts_with("EHLO")).count();
    assert_eq!(sessions, 1, "each listed domain went over the first connection");
}
