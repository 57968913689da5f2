//! Where mail goes, asked of a real DNS server on loopback.
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::delivery::Route;
use vaguemestre::domain::status::EnhancedStatus;
use vaguemestre::flow::route::Finder;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::dns::Dns;
use vaguemestre::infra::dns::DnsError;
use vaguemestre::infra::dns::MailHosts;
use vaguemestre::infra::dns::SystemDns;

use super::nameserver::Mood;
use super::nameserver::NameServer;

fn dns(server: &NameServer) -> SystemDns {
    SystemDns::with_patience(&[server.address()], Duration::from_millis(500))
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn names(hosts: &MailHosts) -> Vec<(u16, &str)> {
    let MailHosts::Hosts(hosts) = hosts else { panic!("{hosts:?}") };
    hosts.iter().map(|host| (host.preference, host.name.as_str())).collect()
}

async fn hosts_of(server: &NameServer, name: &str) -> Result<MailHosts, DnsError> {
    dns(server).mail_hosts(&domain(name)).await
}

#[tokio::test]
async fn mail_hosts_come_in_the_order_of_their_preference() {
    let server = NameServer::start().await;
    server.mx("a.test.", 20, "third.a.test.");
    server.mx("a.test.", 5, "First.a.test.");
    server.mx("a.test.", 10, "second.a.test.");
    let expected = [(5, "first.a.test"), (10, "second.a.test"), (20, "third.a.test")];
    assert_eq!(names(&hosts_of(&server, "a.test").await.unwrap()), expected);
}

#[tokio::test]
async fn equal_mail_hosts_share_the_load() {
    let server = NameServer::start().await;
    server.mx("a.test.", 10, "one.a.test.");
    server.mx("a.test.", 10, "two.a.test.");
    server.mx("a.test.", 5, "best.a.test.");
    let dns = dns(&server);
    let mut second_places = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let hosts = dns.mail_hosts(&domain("a.test")).await.unwrap();
        assert_eq!(names(&hosts)[0], (5, "best.a.test"));
        second_places.insert(names(&hosts)[1].1.to_owned());
    }
    assert_eq!(second_places.len(), 2, "always the same of two equal hosts: {second_places:?}");
    assert_eq!(server.asked("a.test.", RecordType::MX).len(), 1, "an answer is kept for its time");
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_it_says() {
    let server = NameServer::start().await;
    server.mx("a.test.", 10, "old.a.test.");
    server.ttl(1);
    let dns = dns(&server);
    assert_eq!(names(&dns.mail_hosts(&domain("a.test")).await.unwrap()), [(10, "old.a.test")]);
    server.forget("a.test.");
    server.mx("a.test.", 10, "new.a.test.");
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(names(&dns.mail_hosts(&domain("a.test")).await.unwrap()), [(10, "new.a.test")]);
}

#[tokio::test]
async fn a_name_without_mx_is_its_own_host() {
    let server = NameServer::start().await;
    server.host("a.test.", "203.0.113.7");
    assert_eq!(names(&hosts_of(&server, "a.test").await.unwrap()), [(0, "a.test")]);
}

#[tokio::test]
async fn a_null_mx_takes_no_mail_and_means_nothing_beside_others() {
    let server = NameServer::start().await;
    server.mx("nobody.test.", 0, ".");
    assert_eq!(hosts_of(&server, "nobody.test").await, Ok(MailHosts::Nobody));
    server.mx("both.test.", 0, ".");
    server.mx("both.test.", 10, "mx.both.test.");
    assert_eq!(names(&hosts_of(&server, "both.test").await.unwrap()), [(10, "mx.both.test")]);
}

#[tokio::test]
async fn what_the_dns_cannot_say_is_told_apart_from_what_is_not_there() {
    let server = NameServer::start().await;
    assert_eq!(hosts_of(&server, "nowhere.test").await, Err(DnsError::NoSuchName));
    for (name, mood) in [
        ("broken.test", Mood::Broken),
        ("refusing.test", Mood::Refusing),
        ("silent.test", Mood::Silent),
    ] {
        server.mx(&format!("{name}."), 10, "mx.test.");
        server.mood(&format!("{name}."), mood);
        let start = SystemClock.now();
        let answer = hosts_of(&server, name).await;
        assert!(matches!(answer, Err(DnsError::Later(_))), "{name}: {answer:?}");
        assert!(SystemClock.now().since(start) < Duration::from_secs(10), "{name}");
    }
    let nobody = SystemDns::with_patience(
        &[SocketAddr::from(([127, 0, 0, 1], 9))],
        Duration::from_millis(300),
    );
    let answer = nobody.mail_hosts(&domain("a.test")).await;
    assert!(matches!(answer, Err(DnsError::Later(_))), "{answer:?}");
}

#[tokio::test]
async fn a_second_server_answers_when_the_first_does_not() {
    let (silent, good) = (NameServer::start().await, NameServer::start().await);
    silent.mood("a.test.", Mood::Silent);
    good.mx("a.test.", 10, "mx.a.test.");
    let servers = [silent.address(), good.address()];
    let dns = SystemDns::with_patience(&servers, Duration::from_millis(500));
    assert_eq!(names(&dns.mail_hosts(&domain("a.test")).await.unwrap()), [(10, "mx.a.test")]);
}

#[tokio::test]
async fn a_long_answer_is_asked_for_again_over_tcp() {
    let server = NameServer::start().await;
    for number in 0..60 {
        server.mx("a.test.", number, &format!("a-long-host-name-number-{number}.a.test."));
    }
    server.mood("a.test.", Mood::TooLong);
    let hosts = hosts_of(&server, "a.test").await.unwrap();
    assert_eq!(names(&hosts).len(), 10, "no more hosts than anybody tries");
    assert_eq!(names(&hosts)[0].0, 0);
    assert_eq!(server.asked("a.test.", RecordType::MX), ["udp", "tcp"]);
}

#[tokio::test]
async fn aliases_are_followed() {
    let server = NameServer::start().await;
    server.alias("alias.test.", "real.test.");
    server.mx("real.test.", 10, "mx-alias.test.");
    server.alias("mx-alias.test.", "mx.test.");
    server.host("mx.test.", "203.0.113.1");
    let dns = dns(&server);
    let hosts = dns.mail_hosts(&domain("alias.test")).await.unwrap();
    assert_eq!(names(&hosts), [(10, "mx-alias.test")]);
    let addresses = dns.addresses("mx-alias.test").await.unwrap();
    assert_eq!(addresses, [IpAddr::from([203, 0, 113, 1])]);
}

#[tokio::test]
async fn a_host_has_addresses_of_both_kinds_and_not_too_many() {
    let server = NameServer::start().await;
    server.host("mx.test.", "203.0.113.1");
    server.host("mx.test.", "2001:db8::1");
    server.host("odd.test.", "0.0.0.0");
    server.mx("empty.test.", 10, "mx.test.");
    for number in 0..50 {
        server.host("many.test.", &format!("203.0.113.{number}"));
    }
    let dns = dns(&server);
    let both = dns.addresses("mx.test").await.unwrap();
    assert!(both.iter().any(IpAddr::is_ipv4) && both.iter().any(IpAddr::is_ipv6), "{both:?}");
    assert_eq!(dns.addresses("odd.test").await, Ok(Vec::new()), "0.0.0.0 is this machine");
    assert_eq!(dns.addresses("empty.test").await, Ok(Vec::new()));
    assert_eq!(dns.addresses("many.test").await.unwrap().len(), 10);
    assert_eq!(dns.addresses("nowhere.test").await, Err(DnsError::NoSuchName));
    assert_eq!(dns.addresses("[2001:db8::9]").await.unwrap().len(), 1, "a literal needs no DNS");
}

/// A relay called `us.test` whose door listens on port 25 of every address.
fn finder(server: &NameServer) -> Finder {
    Finder {
        dns: Arc::new(dns(server)),
        port: 25,
        hostname: "us.test".to_owned(),
        door: Some(SocketAddr::from(([0, 0, 0, 0], 25))),
    }
}

#[tokio::test]
async fn a_route_by_the_dns_ends_in_hosts_with_addresses_or_in_a_reason() {
    let server = NameServer::start().await;
    server.mx("a.test.", 10, "mx1.a.test.");
    server.mx("a.test.", 20, "mx2.a.test.");
    server.host("mx2.a.test.", "203.0.113.2");
    server.mx("nobody.test.", 0, ".");
    server.mx("broken.test.", 10, "mx.test.");
    server.mood("broken.test.", Mood::Broken);
    server.mx("half.test.", 10, "mx.half.test.");
    server.mood("mx.half.test.", Mood::Broken);
    server.mx("empty.test.", 10, "nowhere.test.");
    let finder = finder(&server);
    let hosts = finder.find(&domain("a.test"), &Route::Dns).await.unwrap();
    assert_eq!(hosts.len(), 2);
    assert_eq!(hosts[0].trouble, "no such name in the DNS");
    assert_eq!((hosts[1].to_string().as_str(), hosts[1].addresses.len()), ("mx2.a.test:25", 1));
    for (name, status) in [
        ("nobody.test", EnhancedStatus(5, 1, 10)),
        ("broken.test", EnhancedStatus(4, 4, 3)),
        ("nowhere.test", EnhancedStatus(4, 4, 4)),
        ("half.test", EnhancedStatus(4, 4, 3)),
        ("empty.test", EnhancedStatus(4, 4, 4)),
    ] {
        let no_way = finder.find(&domain(name), &Route::Dns).await.unwrap_err();
        assert_eq!(no_way.status, status, "{name}: {}", no_way.reason);
    }
    let no_way = finder.find(&domain("a.test"), &Route::Unknown).await.unwrap_err();
    assert_eq!(no_way.status, EnhancedStatus(4, 4, 4));
}

#[tokio::test]
async fn a_letter_is_never_sent_to_ourselves() {
    let server = NameServer::start().await;
    // By name: better hosts count, equal and worse ones would bring the letter back.
    server.mx("a.test.", 10, "best.test.");
    server.mx("a.test.", 20, "US.test.");
    server.mx("a.test.", 20, "equal.test.");
    server.mx("a.test.", 30, "worse.test.");
    server.host("best.test.", "203.0.113.1");
    // By address.
    server.mx("b.test.", 10, "other-name.test.");
    server.host("other-name.test.", "127.0.0.1");
    let mut finder = finder(&server);
    let hosts = finder.find(&domain("a.test"), &Route::Dns).await.unwrap();
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["best.test"]);
    let no_way = finder.find(&domain("b.test"), &Route::Dns).await.unwrap_err();
    assert_eq!(no_way.status, EnhancedStatus(4, 4, 6), "{}", no_way.reason);
    let no_way =
        finder.find(&domain("c.test"), &Route::Fixed("127.0.0.1:25".to_owned())).await.unwrap_err();
    assert_eq!(no_way.status, EnhancedStatus(4, 4, 6), "a slip in the configuration can be mended");
    // Another port, or another address, is another relay.
    assert!(finder.find(&domain("c.test"), &Route::Fixed("127.0.0.1:26".into())).await.is_ok());
    finder.door = Some(SocketAddr::from(([127, 0, 0, 2], 25)));
    assert!(finder.find(&domain("b.test"), &Route::Dns).await.is_ok());
}
