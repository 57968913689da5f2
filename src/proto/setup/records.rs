//! The DNS records by which programs and other relays find ours.
//!
//! What is not offered is said as well, with the target "." (RFC 2782, RFC 6186 §3.4): a program
//! that looks for it need not guess.
use std::fmt;

use crate::domain::address::Domain;
use crate::proto::setup::Offer;
use crate::proto::setup::Protocol;
use crate::proto::setup::Security;
use crate::proto::setup::mta_sts::Policy;
use crate::proto::wkd;

/// The port that a browser and Thunderbird take when nobody says otherwise.
const HTTPS: u16 = 443;
/// Seconds for which resolvers may keep a record: an hour, so that a mistake is soon forgotten.
pub const TTL: u32 = 3_600;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its whole name, without the last dot.
    pub name: String,
    /// What it says.
    pub data: Data,
    /// What it is for.
    pub purpose: &'static str,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Who takes the domain's mail.
    Mx {
        /// The smaller, the better.
        preference: u16,
        /// The host.
        host: String,
    },
    /// Where a service is.
    Srv {
        /// The smaller, the better.
        priority: u16,
        /// Among equals.
        weight: u16,
        /// Port of the host.
        port: u16,
        /// The host; `.`: this service is not offered.
        target: String,
    },
    /// Another name of a host.
    Cname(String),
    /// A text.
    Txt(String),
}

impl Data {
    /// The type, as zone files write it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mx { .. } => "MX",
            Self::Srv { .. } => "SRV",
            Self::Cname(_) => "CNAME",
            Self::Txt(_) => "TXT",
        }
    }
}

impl fmt::Display for Data {
    /// As zone files write it, host names with their last dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mx { preference, host } => write!(f, "{preference} {host}."),
            Self::Srv { priority, weight, port, target } if target == "." => {
                write!(f, "{priority} {weight} {port} .")
            }
            Self::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}.")
            }
            Self::Cname(target) => write!(f, "{target}."),
            Self::Txt(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

/// What the records of a domain are made of, besides the offer.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The operators' door is open: we take the domain's mail.
    pub takes_mail: bool,
    /// The port of the pages; `None` without pages.
    pub pages_port: Option<u16>,
    /// Programs set themselves up by what we serve.
    pub autoconfig: bool,
    /// Certificates of OpenPGP are published (Web Key Directory).
    pub key_directory: bool,
    /// The policy, if one is published.
    pub policy: Option<Policy>,
    /// Who gets reports of failed TLS, as an address.
    pub reports_to: String,
}

/// All records of a domain.
pub fn records(offer: &Offer, domain: &Domain, facts: &Facts) -> Vec<Record> {
    let host = offer.host.as_str().to_owned();
    let record = |name: String, data, purpose| Record { name, data, purpose };
    let mut records = Vec::new();
    if facts.takes_mail {
        let data = Data::Mx { preference: 10, host: host.clone() };
        records.push(record(domain.to_string(), data, "other operators find our door"));
    }
    for (name, protocol, security, purpose) in [
        ("_submissions", Protocol::Submission, Security::Tls, "sending, TLS from the first byte"),
        ("_submission", Protocol::Submission, Security::StartTls, "sending, STARTTLS"),
        ("_imaps", Protocol::Imap, Security::Tls, "reading, TLS from the first byte"),
        ("_imap", Protocol::Imap, Security::StartTls, "reading, STARTTLS"),
        ("_pop3s", Protocol::Pop3, Security::Tls, "fetching, TLS from the first byte"),
        ("_pop3", Protocol::Pop3, Security::StartTls, "fetching, STLS"),
        ("_sieve", Protocol::Sieve, Security::StartTls, "filters (ManageSieve)"),
    ] {
        let mut services = offer.services(protocol);
        let found = services.find(|service| service.security == security);
        let port = found.map(|service| service.port);
        // RFC 8314 §5.1: TLS from the first byte is to be preferred.
        let priority = if security == Security::Tls { 0 } else { 10 };
        let data = srv(priority, port, &host);
        records.push(record(format!("{name}._tcp.{domain}"), data, purpose));
    }
    for (name, security, purpose) in [
        ("_ldaps", Security::Tls, "address book, TLS from the first byte"),
        ("_ldap", Security::StartTls, "address book, StartTLS"),
    ] {
        let mut services = offer.services(Protocol::Ldap);
        if let Some(service) = services.find(|service| service.security == security) {
            let data = srv(0, Some(service.port), &host);
            records.push(record(format!("{name}._tcp.{domain}"), data, purpose));
        }
    }
    let pages = facts.pages_port;
    if let Some(port) = pages.filter(|_| facts.autoconfig) {
        let data = srv(0, Some(port), &host);
        records.push(record(
            format!("_autodiscover._tcp.{domain}"),
            data,
            "Outlook sets itself up",
        ));
    }
    // These names are asked for on the port of HTTPS, and on no other.
    let pages = pages.filter(|port| *port == HTTPS);
    if pages.is_some() && facts.autoconfig {
        for (name, purpose) in [
            ("autoconfig", "Thunderbird sets itself up"),
            ("autodiscover", "Outlook sets itself up"),
        ] {
            records.push(record(format!("{name}.{domain}"), Data::Cname(host.clone()), purpose));
        }
    }
    if pages.is_some() && facts.key_directory {
        // The advanced form; the direct one needs the domain's own name to lead here.
        let name = wkd::host(wkd::Method::Advanced, domain);
        let purpose = "where certificates of OpenPGP are (Web Key Directory)";
        records.push(record(name, Data::Cname(host.clone()), purpose));
    }
    if let (Some(policy), Some(_)) = (&facts.policy, pages) {
        let name = format!("mta-sts.{domain}");
        records.push(record(name, Data::Cname(host), "where the policy of MTA-STS is"));
        let data = Data::Txt(policy.record());
        records.push(record(format!("_mta-sts.{domain}"), data, "there is a policy, this version"));
        let data = Data::Txt(format!("v=TLSRPTv1; rua=mailto:{}", facts.reports_to));
        records.push(record(format!("_smtp._tls.{domain}"), data, "reports of failed TLS"));
    }
    records
}

fn srv(priority: u16, port: Option<u16>, host: &str) -> Data {
    match port {
        Some(port) => Data::Srv { priority, weight: 1, port, target: host.to_owned() },
        None => Data::Srv { priority: 0, weight: 0, port: 0, target: ".".to_owned() },
    }
}

/// A line of a zone file.
pub fn line(record: &Record) -> String {
    format!("{}. {TTL} IN {} {}", record.name, record.data.kind(), record.data)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::setup::mta_sts::Mode;
    use crate::proto::setup::tests::offer;

    fn facts() -> Facts {
        Facts {
            takes_mail: true,
            pages_port: Some(443),
            autoconfig: true,
            key_directory: true,
            policy: None,
            reports_to: "postmaster@hopital.mssante.fr".to_owned(),
        }
    }

    fn lines(facts: &Facts) -> Vec<String> {
        let domain = Domain::parse("hopital.mssante.fr").unwrap();
        records(&offer(), &domain, facts).iter().map(line).collect()
    }

    #[test]
    fn every_service_has_its_record_and_what_is_off_says_so() {
        let lines = lines(&facts());
        for line in [
            "hopital.mssante.fr. 3600 IN MX 10 mx.hopital.mssante.fr.",
            "_submissions._tcp.hopital.mssante.fr. 3600 IN SRV 0 1 465 mx.hopital.mssante.fr.",
            "_submission._tcp.hopital.mssante.fr. 3600 IN SRV 10 1 587 mx.hopital.mssante.fr.",
            "_imaps._tcp.hopital.mssante.fr. 3600 IN SRV 0 1 993 mx.hopital.mssante.fr.",
            "_pop3._tcp.hopital.mssante.fr. 3600 IN SRV 0 0 0 .",
            "_sieve._tcp.hopital.mssante.fr. 3600 IN SRV 10 1 4190 mx.hopital.mssante.fr.",
            "_ldaps._tcp.hopital.mssante.fr. 3600 IN SRV 0 1 636 mx.hopital.mssante.fr.",
            "_autodiscover._tcp.hopital.mssante.fr. 3600 IN SRV 0 1 443 mx.hopital.mssante.fr.",
            "autoconfig.hopital.mssante.fr. 3600 IN CNAME mx.hopital.mssante.fr.",
            "openpgpkey.hopital.mssante.fr. 3600 IN CNAME mx.hopital.mssante.fr.",
        ] {
            assert!(lines.iter().any(|known| known == line), "{line} is not in\n{lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("sts") || line.contains("_ldap._tcp")));
        let unpublished = super::tests::lines(&Facts { key_directory: false, ..facts() });
        assert!(!unpublished.iter().any(|line| line.contains("openpgpkey")));
    }

    #[test]
    fn names_that_imply_port_443_are_left_out_on_another_port() {
        let mut facts = Facts { pages_port: Some(10_443), ..facts() };
        facts.policy = Some(Policy {
            mode: Mode::Enforce,
            hosts: vec![offer().host],
            age: Duration::from_secs(86_400),
        });
        assert!(!lines(&facts).iter().any(|line| line.contains("CNAME") || line.contains("STSv1")));
        facts.pages_port = Some(443);
        let published = lines(&facts).join("\n");
        assert!(published.contains("IN TXT \"v=STSv1; id="), "{published}");
        assert!(published.contains("\"v=TLSRPTv1; rua=mailto:postmaster@"), "{published}");
    }
}
