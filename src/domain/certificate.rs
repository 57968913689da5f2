//! Certificates of operators as the relay speaks of them, and what is known of their revocation.
use std::fmt;

use crate::domain::operator::OperatorDn;
use crate::domain::time::Timestamp;

/// What a certificate says of itself, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject.
    pub subject: OperatorDn,
    /// Issuer.
    pub issuer: OperatorDn,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

/// What is known of a certificate's revocation, and since when: the evidence of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationEvidence {
    /// What the source says.
    pub standing: Standing,
    /// Where it comes from: the URL or file of the CRL, the URL of the OCSP responder; empty when
    /// nobody was asked.
    pub source: String,
    /// When its issuer made it (`thisUpdate`).
    pub made: Option<Timestamp>,
    /// Until when it counts (`nextUpdate`).
    pub ends: Option<Timestamp>,
    /// When we got it.
    pub fetched: Option<Timestamp>,
    /// True when it counts beyond its end, under the configured grace.
    pub in_grace: bool,
    /// Why there is no answer, for people; empty otherwise.
    pub trouble: String,
}

/// What a revocation source says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not revoked.
    Good,
    /// Revoked, since then.
    Revoked(Timestamp),
    /// Nobody could say.
    Unknown,
    /// Nobody was asked (`revocation.mode = "off"`, or the certificate names no source and the
    /// mode does not insist).
    NotAsked,
}

impl Standing {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked(_) => "revoked",
            Self::Unknown => "unknown",
            Self::NotAsked => "not-asked",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(since) => write!(f, "revoked since {since}"),
            other => f.write_str(other.name()),
        }
    }
}

impl RevocationEvidence {
    /// Nobody was asked.
    pub fn not_asked() -> Self {
        Self {
            standing: Standing::NotAsked,
            source: String::new(),
            made: None,
            ends: None,
            fetched: None,
            in_grace: false,
            trouble: String::new(),
        }
    }
}
