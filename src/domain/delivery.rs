//! Where a letter goes next.
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
