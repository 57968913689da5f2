//! A new certificate between operators counts when others know its subject, or when somebody
//! answers for it.
use super::HOST;
use super::House;
use super::days;
use super::eventually;
use super::now;
use crate::cli::vaguemestre;
use crate::support::running::said;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::time::Timestamp;

const NEW: &str = "mx2.hopital.mssante.test";

fn new_subject() -> OperatorDn {
    OperatorDn::new([("C", "FR"), ("CN", NEW)])
}

#[test]
fn an_unlisted_subject_waits_until_the_list_has_it() {
    let house = House::serving("watch_seconds = 1");
    assert_eq!(house.shown_to_operators(), HOST);
    house.put("mx", &house.issue("mx2", NEW, days(-1), days(300)));
    eventually("the watcher tells", || house.log().contains("a new certificate waits"));
    assert_eq!(house.shown_to_operators(), HOST, "the one in use stays");
    let alarms = house.status()["alarms"].to_string();
    assert!(alarms.contains(NEW) && alarms.contains("waits since"), "{alarms}");
    let told = house.log().matches("a new certificate waits").count();
    assert_eq!(told, 1, "once, not at each look");

    // The list's time has seconds; it must be younger than the one before.
    let later = Timestamp::from_seconds(now().as_seconds() + 5);
    house.list(&[new_subject(), house_subject()], later);
    eventually("the list and then the certificate count", || house.shown_to_operators() == NEW);
    assert!(!house.status()["alarms"].to_string().contains("waits since"));
}

#[test]
fn a_restart_is_no_consent() {
    let mut house = House::serving("watch_seconds = 1");
    house.put("mx", &house.issue("mx2", NEW, days(-1), days(300)));
    house.put("people", &house.issue("early", "people early", days(2), days(300)));
    eventually("both wait", || house.log().matches("a new certificate waits").count() == 2);
    house.restart();
    assert_eq!(house.shown_to_operators(), HOST, "what was in use is in use");
    let alarms = house.status()["alarms"].to_string();
    for text in [NEW, "waits since", "people early"] {
        assert!(alarms.contains(text), "{text}: {alarms}");
    }
    let (code, text) = house.certs(&["reload", "--accept-unlisted", "--reason", "ticket 4711"]);
    assert_eq!(code, 1, "the people's one still has not begun: {text}");
    assert_eq!(house.shown_to_operators(), NEW);
    house.restart();
    assert_eq!(house.shown_to_operators(), NEW, "what was agreed to stays agreed to");
}

#[test]
fn a_bundle_with_the_test_hierarchy_does_not_come_into_use_while_the_relay_runs() {
    let house = House::serving("watch_seconds = 86400");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let name = "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS";
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let test = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let file = house.path("anchors.pem");
    let real = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{real}{test}")).unwrap();
    let (code, text) = house.certs(&["reload"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(name) && text.contains("mx.allow_test_authorities"), "{text}");
    let shown = house.status();
    assert!(!shown["certificates"].to_string().contains("CN=test ac"), "{shown:#}");
}

fn house_subject() -> OperatorDn {
    vaguemestre::demo::pki::DemoPki::mx_dn(&super::us())
}

#[test]
fn an_administrator_may_answer_for_an_unlisted_subject_and_it_is_recorded() {
    let house = House::serving("watch_seconds = 86400");
    house.put("mx", &house.issue("mx2", NEW, days(-1), days(300)));
    house.put("people", &house.issue("next", "people two", days(-1), days(300)));
    let (code, text) = house.certs(&["reload"]);
    assert_eq!(code, 1, "what was asked for did not happen: {text}");
    assert!(text.contains("other operators would refuse it"), "{text}");
    assert!(text.contains("hopital.mssante.test") && text.contains("--accept-unlisted"), "{text}");
    assert!(text.contains("The doors of people use"), "the rest does not wait: {text}");
    assert_eq!(house.shown_to_operators(), HOST);

    let (code, text) = house.certs(&["reload", "--accept-unlisted"]);
    assert_eq!(code, 2, "a reason is needed: {text}");
    let line = ["reload", "--accept-unlisted", "--reason", "ticket 4711"];
    let (code, text) = house.certs(&line);
    assert_eq!(code, 0, "{text}");
    assert_eq!(house.shown_to_operators(), NEW);
    let config = house.config();
    let journal = vaguemestre(&["admin", "journal", "--config", config.to_str().unwrap()], "");
    let journal = said(&journal);
    for text in ["certs reload --accept-unlisted", "ticket 4711", NEW] {
        assert!(journal.contains(text), "{text}:\n{journal}");
    }
    let alarms = house.status()["alarms"].to_string();
    assert!(alarms.contains("does not have our subject"), "{alarms}");
}

#[test]
fn check_tells_before_anybody_swaps_files() {
    let house = House::serving("watch_seconds = 86400");
    let check = |files: &vaguemestre::demo::pki::PemPair, more: &[&str]| {
        let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
        let line = [&["check", "--certificate", certificate, "--key", key], more].concat();
        house.certs(&line)
    };
    let (code, text) = check(&house.pki.mx(&super::us()), &[]);
    assert_eq!(code, 0, "{text}");
    for expected in ["it belongs to the certificate", "the same as that", "up to", "days left"] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }

    let unlisted = house.issue("mx2", NEW, days(-1), days(300));
    let (code, text) = check(&unlisted, &[]);
    assert_eq!(code, 1, "{text}");
    for expected in [
        "the trust list does not have its subject for hopital.mssante.test",
        "CN=mx2.hopital.mssante.test instead of CN=mx.hopital.mssante.test",
        "OU=1990000101",
        "localhost",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    let (code, text) = check(&unlisted, &["--people"]);
    assert_eq!(code, 0, "people's programs know no list: {text}");

    let ended = house.issue("ended", HOST, days(-9), days(-2));
    let (code, text) = check(&ended, &["--json"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("expired on 20"), "{text}");

    let mixed = vaguemestre::demo::pki::PemPair {
        certificate: unlisted.certificate.clone(),
        key: ended.key.clone(),
    };
    let (code, text) = check(&mixed, &[]);
    assert_eq!(code, 1);
    assert!(text.contains("the key does not fit"), "{text}");
    assert_eq!(house.shown_to_operators(), HOST, "nothing was changed by asking");
}
