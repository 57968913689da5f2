//! Where a domain's mail goes: MX and address records.
mod records; // any records, for administrators
mod system; // the DNS of the configuration, or of the machine

use std::net::IpAddr;

use crate::domain::address::Domain;

pub use records::Answer;
pub use system::SystemDns;

/// Answers about names. A trait, because tests have a DNS of their own.
#[async_trait::async_trait]
pub trait Dns: Send + Sync {
    /// The hosts that take a domain's mail, best first; equal ones in random order
    /// (RFC 5321 §5.1).
    async fn mail_hosts(&self, domain: &Domain) -> Result<MailHosts, DnsError>;
    /// A host's addresses, IPv6 and IPv4; none when the name has no address records. A literal
    /// address is its own answer.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError>;
}

/// Who takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHosts {
    /// These, best first. Without MX records, the domain itself (RFC 5321 §5.1).
    Hosts(Vec<Exchanger>),
    /// Nobody: the domain says so (null MX, RFC 7505 §3).
    Nobody,
}

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// The smaller, the better.
    pub preference: u16,
    /// A host name without the last dot, in lower case.
    pub name: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist.
    #[error("no such name in the DNS")]
    NoSuchName,
    /// Nobody answered, or with an error; later.
    #[error("the DNS does not answer: {0}")]
    Later(String),
}
