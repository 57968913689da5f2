//! Where a letter goes next.
use std::fmt;
use std::net::IpAddr;

use crate::domain::address::Domain;

/// The next step of a letter for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// A mailbox of this relay.
    Mailbox,
    /// Another operator of the trust space.
    Operator {
        /// The recipient's domain, which the operator's certificate must be listed for.
        domain: Domain,
        /// How to find its host.
        route: Route,
    },
}

/// How another operator's host is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The configuration, or an administrator, says: `host:port`.
    Fixed(String),
    /// The DNS says: MX records.
    Dns,
    /// Nobody says, and the DNS is not asked.
    Unknown,
}

/// One host of another operator, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHost {
    /// Its name as route or DNS tell it, or a literal address.
    pub name: String,
    /// Where it listens.
    pub port: u16,
    /// In the order in which they are tried.
    pub addresses: Vec<IpAddr>,
    /// Why there is no address, for people; empty otherwise.
    pub trouble: String,
}

impl MailHost {
    /// A host at one address that needs no looking up.
    pub fn at(address: IpAddr, port: u16) -> Self {
        Self { name: address.to_string(), port, addresses: vec![address], trouble: String::new() }
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for MailHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}
