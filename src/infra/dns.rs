//! Where a domain's mail goes: MX and address records.
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::domain::address::Domain;

/// Answers about names. A trait, because tests have a DNS of their own.
#[async_trait::async_trait]
pub trait Dns: Send + Sync {
    /// The hosts that take a domain's mail, best first; equal ones in random order
    /// (RFC 5321 §5.1).
    async fn mail_hosts(&self, domain: &Domain) -> Result<MailHosts, DnsError>;
    /// A host's addresses, IPv6 and IPv4.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError>;
}

/// Who takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHosts {
    /// These, best first. Without MX records, the domain itself (RFC 5321 §5.1).
    Hosts(Vec<String>),
    /// Nobody: the domain says so (null MX, RFC 7505).
    Nobody,
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

/// The DNS of the configuration, or of the system.
pub struct SystemDns {
    _servers: Vec<SocketAddr>,
}

impl SystemDns {
    /// Asks these servers; the system's when there are none.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self { _servers: servers.to_vec() }
    }
}

#[async_trait::async_trait]
impl Dns for SystemDns {
    async fn mail_hosts(&self, _domain: &Domain) -> Result<MailHosts, DnsError> {
        Err(DnsError::Later("not asked yet".to_owned()))
    }

    async fn addresses(&self, _host: &str) -> Result<Vec<IpAddr>, DnsError> {
        Err(DnsError::Later("not asked yet".to_owned()))
    }
}
