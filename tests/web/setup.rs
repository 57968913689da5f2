//! What programs are told that set themselves up, and what people read.
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use axum::http::StatusCode;
use vaguemestre::domain::address::Domain;
use vaguemestre::flow::setup::Setup;
use vaguemestre::proto::setup::Means;
use vaguemestre::proto::setup::Offer;
use vaguemestre::proto::setup::Protocol;
use vaguemestre::proto::setup::Security;
use vaguemestre::proto::setup::Service;
use vaguemestre::proto::setup::mta_sts::Mode;
use vaguemestre::proto::setup::mta_sts::Policy;
use vaguemestre::server::web::desk::House;

use super::browser::Browser;
use super::paper;
use super::paper::Paper;

const SCHEMA: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

pub(super) fn setup() -> Setup {
    let domain = |text| Domain::parse(text).unwrap();
    let service = |protocol, security, port| Service { protocol, security, port };
    Setup {
        offer: Offer {
            name: "hopital".to_owned(),
            host: domain("mx.hopital.mssante.test"),
            pages: Some("https://mx.hopital.mssante.test:10443".to_owned()),
            services: vec![
                service(Protocol::Imap, Security::Tls, 10_993),
                service(Protocol::Submission, Security::Tls, 10_465),
                service(Protocol::Submission, Security::StartTls, 10_587),
            ],
            means: vec![Means::Password],
            address_book: "dc=mssante,dc=fr".to_owned(),
        },
        domains: vec![domain("hopital.mssante.test")],
        autoconfig: true,
        policy: Some(Policy {
            mode: Mode::Enforce,
            hosts: vec![domain("mx.hopital.mssante.test")],
            age: Duration::from_secs(86_400),
        }),
        policy_domains: vec![domain("hopital.mssante.test"), domain("patient.mssante.test")],
    }
}

fn browser(host: &str) -> Browser {
    let mut browser = Browser::new(paper::site(&Arc::new(Paper::default()), paper::house()));
    browser.headers.push(("host", host.to_owned()));
    browser
}

fn asked(address: &str) -> Vec<u8> {
    format!(
        "<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/\
         requestschema/2006\"><Request><EMailAddress>{address}</EMailAddress>\
         <AcceptableResponseSchema>{SCHEMA}</AcceptableResponseSchema></Request></Autodiscover>"
    )
    .into_bytes()
}

#[tokio::test]
async fn thunderbird_is_told_the_doors_of_a_domain_and_never_who_has_a_mailbox() {
    let mut browser = browser("autoconfig.hopital.mssante.test");
    let path = "/mail/config-v1.1.xml?emailaddress=";
    let known = browser.get(&format!("{path}dr.martin%40hopital.mssante.test")).await;
    assert_eq!(
        (known.status, known.header("content-type")),
        (StatusCode::OK, "text/xml; charset=utf-8")
    );
    assert!(known.body.contains("<port>10993</port>"), "{}", known.body);
    let stranger = browser.get(&format!("{path}nobody%40hopital.mssante.test")).await;
    assert_eq!(known.body, stranger.body);
    let path = "/.well-known/autoconfig/mail/config-v1.1.xml";
    assert_eq!(browser.get(path).await.body, known.body, "by the name of the host");
    for elsewhere in ["a%40cabinet.mssante.test", "a%40patient.mssante.test", "a", "%00"] {
        let reply = browser.get(&format!("{path}?emailaddress={elsewhere}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{elsewhere}");
    }
}

#[tokio::test]
async fn outlook_is_told_the_same_whatever_capitals_it_asks_with() {
    let mut browser = browser("autodiscover.hopital.mssante.test");
    for path in ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"] {
        let body = asked("dr.martin@hopital.mssante.test");
        let reply = browser.ask(Method::POST, path, "text/xml", body).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body.contains("<Port>10465</Port>"), "{}", reply.body);
    }
    let path = "/autodiscover/autodiscover.xml";
    for (body, code) in [
        (asked("a@cabinet.mssante.test"), "500"),
        (b"<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>".to_vec(), "600"),
        (b"<a".to_vec(), "600"),
    ] {
        let reply = browser.ask(Method::POST, path, "text/xml", body).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body.contains(&format!("<ErrorCode>{code}</ErrorCode>")), "{}", reply.body);
    }
    let huge = browser.ask(Method::POST, path, "text/xml", vec![b' '; 100_000]).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    let one = "/autodiscover/autodiscover.json/v1.0/a@hopital.mssante.test?Protocol=Autodiscoverv1";
    let other =
        "/autodiscover/autodiscover.json?Email=b@hopital.mssante.test&Protocol=AutodiscoverV1";
    for path in [one, other] {
        let reply = browser.get(path).await;
        assert_eq!(
            reply.body,
            "{\"Protocol\":\"AutodiscoverV1\",\"Url\":\"https://mx.hopital.mssante.test:10443/autodiscover/autodiscover.xml\"}"
        );
    }
    let reply = browser.get(&one.replace("Autodiscoverv1", "ActiveSync")).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::BAD_REQUEST, "application/json")
    );
    assert!(reply.body.contains("InvalidProtocol"), "{}", reply.body);
}

#[tokio::test]
async fn an_apple_device_gets_a_profile_without_a_password() {
    let mut browser = browser("mx.hopital.mssante.test");
    let reply = browser.get("/setup/apple?address=dr.martin%40hopital.mssante.test").await;
    assert_eq!(reply.header("content-type"), "application/x-apple-aspen-config");
    assert!(reply.header("content-disposition").contains(".mobileconfig"));
    assert!(reply.body.contains("<integer>10993</integer>"), "{}", reply.body);
    for wrong in ["a%40cabinet.mssante.test", "%3Cscript%3E", ""] {
        let reply = browser.get(&format!("/setup/apple?address={wrong}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert!(reply.body.contains("role=\"alert\"") && !reply.body.contains("<script"));
    }
}

#[tokio::test]
async fn people_read_host_ports_and_encryption_in_both_languages() {
    let mut browser = browser("mx.hopital.mssante.test");
    for (lang, words) in [("fr", "Configurer un logiciel"), ("en", "Set up a mail program")] {
        let page = browser.get(&format!("/setup?lang={lang}")).await;
        assert_eq!(page.status, StatusCode::OK);
        for part in [words, "mx.hopital.mssante.test", "<td>10587</td><td>STARTTLS</td>"] {
            assert!(page.body.contains(part), "{part}");
        }
        assert!(page.body.contains("<label for=\"address\">") && page.body.contains("<caption>"));
    }
}

#[tokio::test]
async fn the_policy_of_mta_sts_is_served_under_the_name_of_our_domains_only() {
    for (host, status) in [
        ("mta-sts.hopital.mssante.test", StatusCode::OK),
        ("MTA-STS.patient.mssante.test:443", StatusCode::OK),
        ("mta-sts.cabinet.mssante.test", StatusCode::NOT_FOUND),
        ("mta-sts.", StatusCode::NOT_FOUND),
    ] {
        let reply = browser(host).get("/.well-known/mta-sts.txt").await;
        assert_eq!(reply.status, status, "{host}");
        if status == StatusCode::OK {
            assert!(reply.header("content-type").starts_with("text/plain"));
            assert_eq!(
                reply.body,
                "version: STSv1\r\nmode: enforce\r\nmx: mx.hopital.mssante.test\r\nmax_age: 86400\r\n"
            );
        }
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_there() {
    let off = Setup { autoconfig: false, policy: None, ..setup() };
    let house = House { setup: off, ..paper::house() };
    let mut browser = Browser::new(paper::site(&Arc::new(Paper::default()), house));
    browser.headers.push(("host", "mta-sts.hopital.mssante.test".to_owned()));
    for path in ["/setup", "/setup/apple", "/mail/config-v1.1.xml", "/.well-known/mta-sts.txt"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!browser.get("/").await.body.contains("/setup"));
}
