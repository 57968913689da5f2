//! Why a caller at the operators' door was let in or refused: what `trust explain` tells.
use std::fmt;
use std::net::IpAddr;

use crate::domain::address::Domain;
use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::envelope::QueueId;
use crate::domain::operator::ListVersion;
use crate::domain::operator::OperatorDn;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;

/// The name of one connection: 16 bytes, UUIDv7. It is in each log line of the connection and in
/// the text of each refusal, so that the other side can ask about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// From the stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The stored bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses 32 hexadecimal digits, with or without hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|uuid| Self(uuid.into_bytes()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What was decided about a caller, or about one letter of theirs, and on what grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The connection.
    pub session: SessionId,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub ip: Option<IpAddr>,
    /// What EHLO said.
    pub client_name: String,
    /// TLS version and suite; `None` in clear.
    pub tls: Option<String>,
    /// The certificate that was shown.
    pub certificate: Option<CertificateFacts>,
    /// Why the certificate itself was not good (chain, dates, use), for people; empty otherwise.
    pub certificate_trouble: String,
    /// What is known of its revocation.
    pub revocation: Option<RevocationEvidence>,
    /// The list that was asked, and the entry that was found.
    pub list: Option<ListEvidence>,
    /// The domain in MAIL FROM; `None` before MAIL or for the null reverse path.
    pub mail_from: Option<Domain>,
    /// The letter that was taken in.
    pub letter: Option<QueueId>,
    /// `None`: let in.
    pub refusal: Option<Refusal>,
}

/// What the trust list said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEvidence {
    /// Which list.
    pub version: ListVersion,
    /// The (domain, certificate) pair that lets the caller in; `None` when there is none.
    pub entry: Option<(Domain, OperatorDn)>,
}
