//! Peers that may not come in: each hears why, at the right moment, and nothing of theirs stays.
use std::path::Path;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use vaguemestre::demo::pki::PemPair;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::certificate::RevocationEvidence;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::decision::SessionId;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::judge;
use vaguemestre::flow::judge::Grounds;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use super::inbound_house::House;
use super::inbound_house::MAIL;
use super::inbound_house::RCPT;
use super::inbound_house::crl;
use super::inbound_house::facts_of;
use super::inbound_house::in_a_year;
use super::inbound_house::leaf;
use super::inbound_house::letter;
use super::inbound_house::session_of;

const DAY: Duration = Duration::from_secs(86_400);
const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;

#[tokio::test(flavor = "multi_thread")]
async fn without_starttls_nothing_works_and_it_is_on_record() {
    let house = House::new().await;
    let mut peer = house.connect().await;
    peer.talk(&[("EHLO rogue.test", "250"), (RCPT, "530 5.7.0"), ("DATA", "530")]).await;
    let reply = peer.ask(MAIL).await;
    assert!(reply.starts_with("530 5.7.0 "), "{reply}");
    peer.talk(&[("HELO rogue.test", "250"), (MAIL, "530"), ("QUIT", "221")]).await;
    let found = house.explained(&session_of(&reply)).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].certificate_trouble.contains("STARTTLS"), "{found:?}");
    assert_eq!(house.letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_missing_or_not_good_is_told_why_right_after_ehlo() {
    let house = House::new().await;
    let yesterday = Timestamp::from_millis(SystemClock.now().as_millis() - 3_600_000);
    let mail = ExtendedKeyUsagePurpose::EmailProtection;
    let cases: [(Option<PemPair>, &str, &str, Refusal); 6] = [
        (None, "554 5.7.1 ", "", Refusal::PeerCertificateMissing),
        (Some(house.self_signed()), "554 5.7.5 ", "elf-signed", Refusal::PeerCertificateInvalid),
        (Some(house.of_another_authority()), "554 5.7.5 ", "", Refusal::PeerCertificateInvalid),
        (
            Some(house.leaf("expired", "cabinet", CLIENT, yesterday)),
            "554 5.7.5 ",
            "xpired",
            Refusal::PeerCertificateInvalid,
        ),
        (
            Some(house.leaf("mail", "cabinet", mail, in_a_year())),
            "554 5.7.5 ",
            "",
            Refusal::PeerCertificateInvalid,
        ),
        (
            Some(house.leaf("unlisted", "inconnu", CLIENT, in_a_year())),
            "550 5.7.1 ",
            "",
            Refusal::PeerNotListed,
        ),
    ];
    for (files, code, trouble, refusal) in cases {
        let mut peer = house.secured(&house.tls(files.as_ref())).await;
        // Before EHLO nothing is judged, and nothing works.
        peer.talk(&[(MAIL, "503")]).await;
        let reply = peer.ask("EHLO rogue.test").await;
        assert!(reply.starts_with(code), "{refusal}: {reply}");
        peer.talk(&[(MAIL, code), (RCPT, code), ("EHLO x", code), ("QUIT", "221")]).await;
        let found = house.explained(&session_of(&reply)).await;
        assert_eq!(found.len(), 1, "{refusal}: {found:?}");
        let decision = &found[0];
        assert_eq!(decision.refusal, Some(refusal));
        assert_eq!(decision.client_name, "rogue.test");
        assert!(decision.certificate_trouble.contains(trouble), "{refusal}: {decision:?}");
        assert_eq!(decision.certificate.is_some(), files.is_some());
        let is_judged_by_list = refusal == Refusal::PeerNotListed;
        assert_eq!(decision.list.is_some(), is_judged_by_list, "{decision:?}");
        assert_eq!(decision.certificate_trouble.is_empty(), is_judged_by_list || files.is_none());
    }
    assert_eq!(house.letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_certificate_is_taken_when_the_configuration_says_so() {
    for (accept, code) in [(true, "250"), (false, "554 5.7.5 ")] {
        let more = format!("mx.accept_server_certificates = {accept}");
        let house = House::with(&more, Duration::ZERO).await;
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        let files = house.leaf("server", "cabinet", server, in_a_year());
        let mut peer = house.secured(&house.tls(Some(&files))).await;
        peer.talk(&[("EHLO mx.cabinet.test", code)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_certificate_speaks_for_its_own_domain_only() {
    let house = House::new().await;
    let mut peer = house.honest().await;
    for foreign in ["hugo@hopital.test", "a@inconnu.test", "a@sub.cabinet.test", "a@test"] {
        let reply = peer.ask(&format!("MAIL FROM:<{foreign}>")).await;
        assert!(reply.starts_with("550 5.7.1 "), "{foreign}: {reply}");
        peer.talk(&[(RCPT, "503"), ("DATA", "503")]).await;
    }
    // Another listed operator's certificate is not the sender's either.
    let tls = house.tls(Some(&house.files("hopital")));
    let mut other = house.secured(&tls).await;
    other.talk(&[("EHLO x.test", "250"), (MAIL, "550 5.7.1"), ("MAIL FROM:<>", "250")]).await;
    // What was decided about one letter says nothing about the next.
    peer.talk(&[(MAIL, "250"), (RCPT, "250"), ("RSET", "250")]).await;
    peer.talk(&[("MAIL FROM:<a@hopital.test>", "550 5.7.1"), (RCPT, "503")]).await;
    peer.talk(&[("MAIL FROM:<PAUL@CABINET.TEST>", "250"), ("RSET", "250")]).await;
    peer.talk(&[(MAIL, "250"), ("RCPT TO:<a@cabinet.test>", "550 5.7.1"), ("RSET", "250")]).await;
    assert!(peer.deliver(&letter("own")).await.starts_with("250"));
    assert_eq!(house.letters().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_leaves_the_list_is_refused_at_the_next_mail() {
    let house = House::new().await;
    let tls = house.tls(Some(&house.files("cabinet")));
    let mut early = house.secured(&tls).await;
    early.talk(&[("EHLO mx.cabinet.test", "250")]).await;
    let mut open = house.honest().await;
    open.talk(&[(MAIL, "250"), (RCPT, "250")]).await;
    // A list is younger by whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    house.publish(&["hopital"]).await;
    let reply = early.ask(MAIL).await;
    assert!(reply.starts_with("550 5.7.1 Your certificate is not in the trust list"), "{reply}");
    early.talk(&[("MAIL FROM:<>", "550 5.7.1"), (RCPT, "503")]).await;
    let found = house.explained(&session_of(&reply)).await;
    assert_eq!(found[0].refusal, Some(Refusal::PeerNotListed));
    assert_eq!(found[0].mail_from, Domain::parse("cabinet.test").ok());
    assert_eq!(found[0].list.as_ref().map(|list| list.entry.is_none()), Some(true));
    // MAIL was the point: the letter under way is taken, the next one is not.
    open.talk(&[("DATA", "354")]).await;
    assert!(open.ask(&format!("{}.", letter("open"))).await.starts_with("250"));
    open.talk(&[(MAIL, "550 5.7.1"), ("EHLO again", "550 5.7.1")]).await;
    // Whoever resumes its TLS session, or tries to, is judged by the list of now.
    let mut again = house.secured(&tls).await;
    again.talk(&[("EHLO mx.cabinet.test", "550 5.7.1")]).await;
    // And comes in again when it is listed again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    house.publish(&["hopital", "cabinet"]).await;
    early.talk(&[(MAIL, "250")]).await;
    assert_eq!(house.letters().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_during_the_connection_is_refused_at_the_next_mail() {
    let house = House::new().await;
    let ends = SystemClock.now().after(Duration::from_secs(4));
    let files = house.leaf("short", "cabinet", CLIENT, ends);
    let mut peer = house.secured(&house.tls(Some(&files))).await;
    peer.talk(&[("EHLO mx.cabinet.test", "250"), (MAIL, "250"), ("RSET", "250")]).await;
    let left =
        Duration::from_millis(ends.as_millis().saturating_sub(SystemClock.now().as_millis()));
    tokio::time::sleep(left + Duration::from_millis(1_500)).await;
    let reply = peer.ask(MAIL).await;
    assert!(reply.starts_with("554 5.7.5 "), "{reply}");
    let found = house.explained(&session_of(&reply)).await;
    assert!(found[0].certificate_trouble.contains("xpired"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_old_puts_everybody_off() {
    let house = House::with("trust.age_limit_seconds = 3600", Duration::from_secs(7_200)).await;
    let mut peer = house.secured(&house.tls(Some(&house.files("cabinet")))).await;
    let reply = peer.ask("EHLO mx.cabinet.test").await;
    assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    let found = house.explained(&session_of(&reply)).await;
    assert_eq!(found[0].refusal, Some(Refusal::TrustListExpired));
    house.publish(&["hopital", "cabinet"]).await;
    let mut peer = house.honest().await;
    assert!(peer.deliver(&letter("fresh")).await.starts_with("250"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_revocation_says_is_obeyed_as_the_mode_wants() {
    let house = House::prepared(|folder, _| required(folder, DAY), Duration::ZERO).await;
    let facts = house.facts("cabinet");
    let now = SystemClock.now();
    let verdict = |standing| {
        let evidence = RevocationEvidence { standing, ..RevocationEvidence::not_asked() };
        let session = SessionId::from_bytes([1; 16]);
        let grounds = Grounds::given(session, Some(facts.clone()), Some(evidence));
        judge::verdict(house.office(), &grounds, None, now)
    };
    assert_eq!(verdict(Standing::Good), Ok(()));
    assert_eq!(verdict(Standing::NotAsked), Ok(()));
    assert_eq!(verdict(Standing::Revoked(now)), Err(Refusal::PeerCertificateRevoked));
    assert_eq!(verdict(Standing::Unknown), Err(Refusal::RevocationUnknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_and_the_evidence_is_kept() {
    let mut revoked = None;
    let house = House::prepared(
        |folder, pki| {
            let files = leaf(folder, pki, "revoked", "cabinet", (CLIENT, in_a_year()));
            let lists = [
                crl(folder, "ca-root", None, DAY),
                crl(folder, "ca-organisations", Some(&facts_of(&files).serial), DAY),
            ];
            revoked = Some(files);
            format!(
                "revocation.mode = \"required\"\nrevocation.crl = false\n\
                 revocation.ocsp = false\nrevocation.crl_files = {lists:?}\n"
            )
        },
        Duration::ZERO,
    )
    .await;
    let mut peer = house.secured(&house.tls(revoked.as_ref())).await;
    let reply = peer.ask("EHLO mx.cabinet.test").await;
    assert!(reply.starts_with("554 5.7.5 Your certificate is revoked"), "{reply}");
    let found = house.explained(&session_of(&reply)).await;
    assert_eq!(found[0].refusal, Some(Refusal::PeerCertificateRevoked));
    let evidence = found[0].revocation.as_ref().unwrap();
    assert!(matches!(evidence.standing, Standing::Revoked(_)), "{evidence:?}");
    assert!(evidence.source.contains("ca-organisations.crl"), "{evidence:?}");
    // The same operator's other certificate comes in, with evidence that it is good.
    let reply = house.honest().await.deliver(&letter("good")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    let found = house.explained(&id).await;
    let evidence = found[0].revocation.as_ref().unwrap();
    assert_eq!(evidence.standing, Standing::Good);
    assert!(evidence.made.is_some(), "{evidence:?}");
}

/// Insists on evidence, and has it for so long.
fn required(folder: &Path, lives: Duration) -> String {
    let lists = [crl(folder, "ca-root", None, DAY), crl(folder, "ca-organisations", None, lives)];
    format!(
        "revocation.mode = \"required\"\nrevocation.crl = false\nrevocation.ocsp = false\n\
         revocation.grace_seconds = 0\nrevocation.crl_files = {lists:?}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_ends_during_the_connection_puts_the_next_letter_off() {
    let lives = Duration::from_secs(25);
    let begun = SystemClock.now();
    let house = House::prepared(|folder, _| required(folder, lives), Duration::ZERO).await;
    let mut peer = house.honest().await;
    peer.talk(&[(MAIL, "250"), ("RSET", "250")]).await;
    let passed = SystemClock.now().since(begun);
    tokio::time::sleep((lives + Duration::from_secs(2)).saturating_sub(passed)).await;
    let reply = peer.ask(MAIL).await;
    assert!(reply.starts_with("451 4.7.5 "), "{reply}");
    let found = house.explained(&session_of(&reply)).await;
    assert_eq!(found[0].refusal, Some(Refusal::RevocationUnknown));
    assert!(!found[0].revocation.as_ref().unwrap().trouble.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_evidence_a_peer_comes_in_when_none_is_insisted_on() {
    let more =
        "revocation.mode = \"if-available\"\nrevocation.crl = false\nrevocation.ocsp = false";
    let house = House::with(more, Duration::ZERO).await;
    let reply = house.honest().await.deliver(&letter("unasked")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap().to_owned();
    let found = house.explained(&id).await;
    assert_eq!(found[0].revocation.as_ref().unwrap().standing, Standing::NotAsked);
}
