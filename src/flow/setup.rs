//! How mail programs and other relays find us: what the configuration offers, and whether the DNS
//! says the same.
mod check;

use std::net::SocketAddr;

use crate::domain::address::Domain;
use crate::domain::login::Mechanism;
use crate::domain::login::Source;
use crate::infra::config::Config;
use crate::infra::config::life::MtaSts;
use crate::proto::setup::Means;
use crate::proto::setup::Offer;
use crate::proto::setup::Protocol;
use crate::proto::setup::Security;
use crate::proto::setup::Service;
use crate::proto::setup::mta_sts::Mode;
use crate::proto::setup::mta_sts::Policy;
use crate::proto::setup::records;
use crate::proto::setup::records::Facts;
use crate::proto::setup::records::Record;

pub use check::Finding;
pub use check::Found;
pub use check::check;

/// The port of HTTPS.
const HTTPS: u16 = 443;

/// What the pages know about setting programs up; fixed while the relay runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What there is.
    pub offer: Offer,
    /// Domains of professionals, structures and software: only these are answered.
    pub domains: Vec<Domain>,
    /// `setup.autoconfig`
    pub autoconfig: bool,
    /// The policy for mail to any of our domains.
    pub policy: Option<Policy>,
    /// Domains that have this policy: also patients'.
    pub policy_domains: Vec<Domain>,
}

/// What this configuration says.
pub fn setup(config: &Config) -> Setup {
    let operator = &config.operator;
    Setup {
        offer: offer(config),
        domains: operator.domains.clone(),
        autoconfig: config.setup.autoconfig,
        policy: policy(config),
        policy_domains: all_domains(config),
    }
}

/// What is offered to people's programs.
pub fn offer(config: &Config) -> Offer {
    let listen = &config.listen;
    let doors = [
        (Protocol::Imap, Security::Tls, listen.imaps),
        (Protocol::Imap, Security::StartTls, listen.imap),
        (Protocol::Pop3, Security::Tls, listen.pop3s),
        (Protocol::Pop3, Security::StartTls, listen.pop3),
        (Protocol::Submission, Security::Tls, listen.submissions),
        (Protocol::Submission, Security::StartTls, listen.submission),
        (Protocol::Sieve, Security::StartTls, listen.managesieve),
        (Protocol::Ldap, Security::Tls, listen.ldaps),
        (Protocol::Ldap, Security::StartTls, listen.ldap),
    ];
    let service = |(protocol, security, door): (Protocol, Security, Option<SocketAddr>)| {
        door.map(|address| Service { protocol, security, port: address.port() })
    };
    let host = config.operator.hostname.clone();
    Offer {
        name: config.operator.name.clone(),
        pages: pages(config),
        services: doors.into_iter().filter_map(service).collect(),
        means: means(config),
        address_book: config.addressbook.base.clone(),
        host,
    }
}

/// The DNS records of every domain here, ready to paste.
pub fn dns_records(config: &Config) -> Vec<Record> {
    let (offer, listen) = (offer(config), &config.listen);
    let people = |domain: &Domain| config.operator.domains.contains(domain);
    let nothing = Offer { services: Vec::new(), ..offer.clone() };
    let mut all = Vec::new();
    for domain in all_domains(config) {
        let reports = config.admin.alerts_to.as_ref();
        let facts = Facts {
            takes_mail: listen.mx.is_some(),
            pages_port: listen.https.map(|address| address.port()),
            autoconfig: config.setup.autoconfig && people(&domain),
            // No patient is ever published.
            key_directory: config.openpgp.wkd && people(&domain),
            policy: policy(config),
            reports_to: reports
                .map_or_else(|| format!("postmaster@{domain}"), |address| address.to_string()),
        };
        // Patients read on the pages: for them every service is "not offered".
        let offer = if people(&domain) { &offer } else { &nothing };
        all.extend(records::records(offer, &domain, &facts));
    }
    all
}

/// The policy that is published for mail to us.
fn policy(config: &Config) -> Option<Policy> {
    let mode = match config.setup.mta_sts? {
        MtaSts::Testing => Mode::Testing,
        MtaSts::Enforce => Mode::Enforce,
    };
    let hosts = vec![config.operator.hostname.clone()];
    Some(Policy { mode, hosts, age: config.setup.mta_sts_age })
}

fn all_domains(config: &Config) -> Vec<Domain> {
    [config.operator.domains.as_slice(), &config.operator.citizen_domains].concat()
}

/// Where the pages are for others; their own port only when it is not the one of HTTPS.
pub fn pages(config: &Config) -> Option<String> {
    let door = config.listen.https?;
    if let Some(url) = &config.web.public_url {
        return Some(url.clone());
    }
    let host = &config.operator.hostname;
    Some(match door.port() {
        HTTPS => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    })
}

/// True when the pages are on a port on which nobody looks for what sets programs up.
pub fn needs_other_port(config: &Config) -> bool {
    config.listen.https.is_some_and(|address| address.port() != HTTPS)
}

/// Those of the configured mechanisms that a program can name, the best first.
fn means(config: &Config) -> Vec<Means> {
    let login = &config.login;
    let has = |mechanisms: &[Mechanism]| {
        mechanisms.iter().any(|mechanism| login.mechanisms.contains(mechanism))
    };
    let mut means = Vec::new();
    let tokens = config.oidc.is_some() && login.directories.contains(&Source::Oidc);
    if tokens && has(&[Mechanism::OAuthBearer, Mechanism::XOAuth2]) {
        means.push(Means::Token);
    }
    if has(&[Mechanism::Plain, Mechanism::Login]) {
        means.push(Means::Password);
    }
    if !login.client_anchors.is_empty() && has(&[Mechanism::External]) {
        means.push(Means::Certificate);
    }
    means
}
