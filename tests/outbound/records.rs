//! The records that lead programs and other relays here, compared with what a DNS server says.
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::rdata::TXT;
use vaguemestre::flow::setup::Found;
use vaguemestre::flow::setup::check;
use vaguemestre::infra::dns::SystemDns;
use vaguemestre::proto::setup::records::Data;
use vaguemestre::proto::setup::records::Record;

use super::nameserver::Mood;
use super::nameserver::NameServer;

fn record(name: &str, data: Data) -> Record {
    Record { name: name.to_owned(), data, purpose: "" }
}

fn srv(port: u16, target: &str) -> Data {
    Data::Srv { priority: 0, weight: 1, port, target: target.to_owned() }
}

#[tokio::test]
async fn what_the_dns_lacks_or_says_otherwise_is_told_record_by_record() {
    let server = NameServer::start().await;
    let host = || "mx.a.test".to_owned();
    let name = |text| Name::from_str(text).unwrap();
    server.mx("a.test.", 5, "mx.a.test.");
    server.host("mx.a.test.", "192.0.2.7");
    server.add("_imaps._tcp.a.test.", RData::SRV(SRV::new(7, 7, 993, name("mx.a.test."))));
    server.add("_imap._tcp.a.test.", RData::SRV(SRV::new(0, 0, 0, name("."))));
    server.add("_submissions._tcp.a.test.", RData::SRV(SRV::new(0, 1, 465, name("old.a.test."))));
    server.alias("autoconfig.a.test.", "mx.a.test.");
    server.host("autodiscover.a.test.", "192.0.2.7");
    server.host("mta-sts.a.test.", "192.0.2.8");
    let parts = vec!["v=STSv1; ".to_owned(), "id=abc;".to_owned()];
    server.add("_mta-sts.a.test.", RData::TXT(TXT::new(parts)));
    server.mood("_sieve._tcp.a.test.", Mood::Broken);
    let records = vec![
        record("a.test", Data::Mx { preference: 10, host: host() }),
        record("_imaps._tcp.a.test", srv(993, "mx.a.test")),
        record("_imap._tcp.a.test", srv(0, ".")),
        record("_pop3._tcp.a.test", srv(0, ".")),
        record("_submissions._tcp.a.test", srv(465, "mx.a.test")),
        record("_submission._tcp.a.test", srv(587, "mx.a.test")),
        record("autoconfig.a.test", Data::Cname(host())),
        record("autodiscover.a.test", Data::Cname(host())),
        record("mta-sts.a.test", Data::Cname(host())),
        record("_mta-sts.a.test", Data::Txt("v=STSv1; id=abc;".to_owned())),
        record("_sieve._tcp.a.test", srv(4190, "mx.a.test")),
    ];
    let dns = SystemDns::with_patience(&[server.address()], Duration::from_millis(500));
    let findings = check(&dns, records).await;
    let states: Vec<&Found> = findings.iter().map(|finding| &finding.found).collect();
    let right = &Found::Right;
    assert_eq!(states[..4], [right, right, right, right]);
    assert_eq!(*states[4], Found::Other(vec!["0 1 465 old.a.test.".to_owned()]));
    assert_eq!(*states[5], Found::Missing);
    assert_eq!(states[6..8], [right, right], "an alias, or the host's own address");
    assert_eq!(*states[8], Found::Missing, "another host's address");
    assert_eq!(states[9], right, "a text in parts");
    assert!(matches!(states[10], Found::Unknown(_)), "{:?}", states[10]);
}
