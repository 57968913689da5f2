//! LDAP version 3 (RFC 4511), as far as an address book that is only read needs it.
//!
//! The codec is ours (docs/decisions): what comes from strangers is bounded in size, depth and
//! number before anything is kept of it.

pub mod answer; // what the server says
pub mod ber; // tags, lengths, values
pub mod dn; // distinguished names
pub mod entry; // what is found: names and values
pub mod filter; // what a search asks for
pub mod message; // what a client says
pub mod schema; // attributes that we know

/// Result codes (RFC 4511 §4.1.9) that we give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Success = 0,
    /// Something out of order, e.g. TLS that is on already.
    OperationsError = 1,
    /// Not LDAP, or not as it should be.
    ProtocolError = 2,
    /// It took too long; what was found was sent.
    TimeLimitExceeded = 3,
    /// There is more; what was found was sent.
    SizeLimitExceeded = 4,
    /// The entry has another value.
    CompareFalse = 5,
    /// The entry has this value.
    CompareTrue = 6,
    /// Not a simple bind.
    AuthMethodNotSupported = 7,
    /// The search would look at too much.
    AdminLimitExceeded = 11,
    /// A control that must be understood is not.
    UnavailableCriticalExtension = 12,
    /// TLS first.
    ConfidentialityRequired = 13,
    /// No such attribute in the entry.
    NoSuchAttribute = 16,
    /// No such attribute at all.
    UndefinedAttributeType = 17,
    /// No such entry.
    NoSuchObject = 32,
    /// Not a distinguished name.
    InvalidDnSyntax = 34,
    /// Wrong name or password.
    InvalidCredentials = 49,
    /// Log in first.
    InsufficientAccessRights = 50,
    /// Later.
    Busy = 51,
    /// What we lean on does not answer.
    Unavailable = 52,
    /// Not here.
    UnwillingToPerform = 53,
}
