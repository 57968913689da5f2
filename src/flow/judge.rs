//! Furniture: who is the peer at the operators' door, and may it speak for this domain now?
//!
//! The handshake asks for a certificate and judges nothing, so that each refusal can be told in
//! words. What the peer has shown becomes [`Grounds`] here ([`look`]: path to an anchor, dates,
//! use, revocation), and [`verdict`] decides on them, against the list of that very moment. A
//! second look on the same connection costs comparisons only, as long as nothing has changed.
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::domain::address::Domain;
use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::decision::ListEvidence;
use crate::domain::decision::SessionId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::certificates;
use crate::flow::certificates::Direction;
use crate::flow::office::Office;
use crate::infra::config::RevocationMode;
use crate::infra::net;
use crate::infra::net::Purpose;

/// What is known of a peer: the evidence on which it is let in or refused.
#[derive(Clone, Debug)]
pub struct Grounds {
    session: SessionId,
    certificate: Option<CertificateFacts>,
    trouble: String,
    revocation: Option<RevocationEvidence>,
    /// Leaf first; empty while there is no good path.
    path: Vec<CertificateDer<'static>>,
    /// Under which anchors the path was found: they change while the relay runs.
    anchors: Arc<Vec<CertificateDer<'static>>>,
    /// The moments between which the whole path is in its dates.
    begins: Timestamp,
    ends: Timestamp,
    /// When somebody was asked about revocation.
    asked: Timestamp,
}

/// Looks at what a peer has shown in the handshake (leaf first; nothing at all is an answer
/// too). `before` is the look before this one on the same connection: of it, all is kept that
/// still counts.
pub async fn look(
    office: &Office,
    session: SessionId,
    shown: &[CertificateDer<'static>],
    before: Option<&Arc<Grounds>>,
) -> Arc<Grounds> {
    let now = office.clock.now();
    let anchors = office.tls.anchors();
    let path_stands = before.is_some_and(|before| {
        Arc::ptr_eq(&before.anchors, &anchors)
            && before.in_its_dates(now)
            && !before.path.is_empty()
    });
    if let Some(before) = before.filter(|before| path_stands && !before.is_stale(now)) {
        return Arc::clone(before);
    }
    let mut grounds = match before.filter(|_| path_stands) {
        Some(before) => Grounds::clone(before),
        None => Grounds::of_path(office, session, shown, anchors, now),
    };
    if !grounds.path.is_empty() {
        grounds.revocation = Some(office.revocation.check(&grounds.path, now).await);
        grounds.asked = now;
    }
    Arc::new(grounds)
}

/// May a peer on these grounds speak for `domain` at `now`?
///
/// `None` is the null reverse path, or the hello before any path: the certificate's subject has
/// to be in the list, whatever the domain. The certificate itself is asked first: a peer with a
/// bad one learns nothing of the list.
///
/// # Errors
/// The reason, one for each remedy.
pub fn verdict(
    office: &Office,
    grounds: &Grounds,
    domain: Option<&Domain>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(certificate) = &grounds.certificate else {
        return Err(match grounds.trouble.is_empty() {
            true => Refusal::PeerCertificateMissing,
            false => Refusal::PeerCertificateInvalid,
        });
    };
    if !grounds.trouble.is_empty() || !grounds.in_its_dates(now) {
        return Err(Refusal::PeerCertificateInvalid);
    }
    let insists = office.config.revocation.mode == RevocationMode::Required;
    match grounds.revocation.as_ref().map(|evidence| evidence.standing) {
        Some(Standing::Revoked(_)) => return Err(Refusal::PeerCertificateRevoked),
        Some(Standing::Unknown) if insists => return Err(Refusal::RevocationUnknown),
        _ => {}
    }
    if office.trust.is_expired(now) {
        return Err(Refusal::TrustListExpired);
    }
    match office.trust.judge_peer(&certificate.subject, domain) {
        // Whoever was listed since then is not to blame for our old list: later, not never.
        Err(Refusal::PeerNotListed | Refusal::PeerDomainMismatch) if is_list_old(office, now) => {
            Err(Refusal::TrustListExpired)
        }
        verdict => verdict,
    }
}

/// At the age at which somebody must look, what the list does not say proves nothing any more.
fn is_list_old(office: &Office, now: Timestamp) -> bool {
    now.since(office.trust.list().generated) >= office.config.trust.age_alarm
}

/// [`verdict`], and the entry of the very list that let the peer in. For a null path any entry of
/// the subject does, and the first one is named.
///
/// # Errors
/// As [`verdict`].
pub fn verdict_with_evidence(
    office: &Office,
    grounds: &Grounds,
    domain: Option<&Domain>,
    now: Timestamp,
) -> Result<Option<ListEvidence>, Refusal> {
    verdict(office, grounds, domain, now)?;
    let Some(certificate) = &grounds.certificate else { return Ok(None) };
    // The list may have changed since the line above: what is kept is what decides.
    let (listed, evidence) = office.trust.judge_with_evidence(&certificate.subject, domain);
    listed.map(|()| Some(evidence))
}

impl Grounds {
    /// A given peer whose certificate is good for ever, for tests.
    pub fn given(
        session: SessionId,
        certificate: Option<CertificateFacts>,
        revocation: Option<RevocationEvidence>,
    ) -> Self {
        Self {
            session,
            certificate,
            trouble: String::new(),
            revocation,
            path: Vec::new(),
            anchors: Arc::default(),
            begins: Timestamp::from_millis(0),
            ends: Timestamp::from_millis(u64::MAX),
            asked: Timestamp::from_millis(0),
        }
    }

    /// Follows the path to an anchor.
    fn of_path(
        office: &Office,
        session: SessionId,
        shown: &[CertificateDer<'static>],
        anchors: Arc<Vec<CertificateDer<'static>>>,
        now: Timestamp,
    ) -> Self {
        let mut grounds = Self { anchors, ..Self::given(session, None, None) };
        let Some(leaf) = shown.first() else { return grounds };
        let purpose = Purpose::Client { or_server: office.config.mx.accept_server_certificates };
        match office.tls.judge(shown, purpose, now) {
            Ok(judged) => {
                certificates::seen(office, &judged.facts, Direction::In);
                grounds.begins = judged.begins();
                grounds.ends = judged.ends();
                grounds.certificate = Some(judged.facts.clone());
                grounds.path = judged.path.clone();
            }
            Err(trouble) => {
                tracing::info!(trouble, "the peer's certificate is not good");
                grounds.certificate = net::certificate_facts(leaf).ok();
                grounds.trouble = trouble;
            }
        }
        if let Some(facts) = &grounds.certificate {
            tracing::info!(subject = %facts.subject, serial = facts.serial, "operator");
        }
        grounds
    }

    fn in_its_dates(&self, now: Timestamp) -> bool {
        // RFC 5280 §4.1.2.5: the last second of the validity is part of it.
        self.begins <= now && now.as_seconds() <= self.ends.as_seconds()
    }

    /// True when revocation has to be asked about again: there is no evidence, it has come to its
    /// end, or the last question was a moment ago. The room behind the question answers from what
    /// it keeps, so nobody is called for each letter; but what it learns, from a CRL that somebody
    /// put there or from a responder, reaches open connections within that moment.
    fn is_stale(&self, now: Timestamp) -> bool {
        let Some(evidence) = &self.revocation else { return true };
        evidence.standing == Standing::Unknown
            || !evidence.trouble.is_empty()
            || evidence.ends.is_some_and(|ends| ends < now)
            || now.since(self.asked) >= limits::REVOCATION_ASKED_EVERY
    }

    /// The connection.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The certificate that was shown, good or not; `None` when there is none or it cannot be
    /// read.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        self.certificate.as_ref()
    }

    /// Why the certificate itself is not good, for people; empty otherwise.
    pub fn trouble(&self) -> &str {
        &self.trouble
    }

    /// What is known of its revocation.
    pub fn revocation(&self) -> Option<&RevocationEvidence> {
        self.revocation.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_hears_of_a_revocation_within_a_minute() {
        let asked = Timestamp::from_seconds(1_795_388_399);
        let good = RevocationEvidence {
            standing: Standing::Good,
            fetched: Some(asked),
            ends: Some(asked.after(std::time::Duration::from_secs(86_400))),
            ..RevocationEvidence::not_asked()
        };
        let session = SessionId::from_bytes([1; 16]);
        let grounds =
            Grounds { asked, revocation: Some(good), ..Grounds::given(session, None, None) };
        let later = |seconds| asked.after(std::time::Duration::from_secs(seconds));
        assert!(!grounds.is_stale(later(59)));
        assert!(grounds.is_stale(later(60)));
        let unknown =
            RevocationEvidence { standing: Standing::Unknown, ..RevocationEvidence::not_asked() };
        assert!(Grounds { revocation: Some(unknown), ..grounds }.is_stale(asked));
    }
}
