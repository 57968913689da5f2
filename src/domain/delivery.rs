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
        /// `host:port`; `None` while nobody told where that operator listens.
        address: Option<String>,
    },
}
