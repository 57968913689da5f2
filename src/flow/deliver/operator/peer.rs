//! Whether the host that answered may have the letter: chain, dates, revocation, trust list.
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::domain::certificate::CertificateFacts;
use crate::domain::certificate::RevocationEvidence;
use crate::domain::certificate::Standing;
use crate::domain::operator::OperatorDn;
use crate::flow::deliver::operator::contact::Contact;
use crate::flow::deliver::operator::reply::Trouble;
use crate::infra::clock::Clock;
use crate::infra::net::Purpose;
use crate::infra::net::certificate_facts;
use crate::infra::net::verified_path;
use crate::infra::revocation::Revocation;

/// How old an answer about revocation may be when a waiting connection gets another letter.
const REVOCATION_AGE_MAX: Duration = Duration::from_secs(60);

/// What a host must show before it hears a word about the letter.
pub struct Demands<'a> {
    /// The certificate's subject must satisfy this: listed for the recipients' domain, now.
    pub is_listed: &'a (dyn Fn(&OperatorDn) -> bool + Sync),
    /// Its path must end here.
    pub anchors: Arc<Vec<CertificateDer<'static>>>,
    /// Knows whether it is revoked.
    pub revocation: &'a Revocation,
    /// Its dates must be good now.
    pub clock: &'a dyn Clock,
}

/// A host that showed what was demanded.
pub(super) struct Peer {
    facts: CertificateFacts,
    path: Vec<CertificateDer<'static>>,
    evidence: RevocationEvidence,
    asked: Instant,
}

impl Peer {
    /// Judges the chain of a handshake, leaf first. The handshake has proved that the server has
    /// the key; everything else is decided here, so that the reason can be told.
    pub(super) async fn judge(
        demands: &Demands<'_>,
        chain: &[CertificateDer<'static>],
        contact: &mut Contact,
    ) -> Result<Self, Trouble> {
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| refused("the server showed no certificate"))?;
        let facts = certificate_facts(leaf).map_err(|error| refused(&error.to_string()))?;
        contact.certificate = Some(facts.clone());
        let now = demands.clock.now();
        let path = verified_path(leaf, intermediates, &demands.anchors, Purpose::Server, now)
            .map_err(|reason| {
                refused(&format!("the certificate of {}: {reason}", facts.subject))
            })?;
        // The list first: it costs nothing, and a stranger is not worth a question to his CA.
        check_listed(demands, &facts)?;
        let evidence = demands.revocation.check(&path, now).await;
        contact.revocation = Some(evidence.clone());
        check_revocation(&facts, &evidence)?;
        Ok(Self { facts, path, evidence, asked: Instant::now() })
    }

    /// The same for another letter on a connection that waited, perhaps for another domain of
    /// the operator: list and dates.
    pub(super) fn is_good_now(&self, demands: &Demands<'_>) -> bool {
        let now = demands.clock.now();
        let in_time = self.facts.not_before <= now && now <= self.facts.not_after;
        in_time && (demands.is_listed)(&self.facts.subject)
    }

    /// Asks again about revocation when the last answer is not fresh.
    pub(super) async fn check_again(
        &mut self,
        demands: &Demands<'_>,
        contact: &mut Contact,
    ) -> Result<(), Trouble> {
        contact.certificate = Some(self.facts.clone());
        if self.asked.elapsed() >= REVOCATION_AGE_MAX {
            self.evidence = demands.revocation.check(&self.path, demands.clock.now()).await;
            self.asked = Instant::now();
        }
        contact.revocation = Some(self.evidence.clone());
        check_revocation(&self.facts, &self.evidence)
    }
}

fn check_listed(demands: &Demands<'_>, facts: &CertificateFacts) -> Result<(), Trouble> {
    if (demands.is_listed)(&facts.subject) {
        return Ok(());
    }
    Err(refused(&format!("the trust list does not name {} for this domain", facts.subject)))
}

fn check_revocation(
    facts: &CertificateFacts,
    evidence: &RevocationEvidence,
) -> Result<(), Trouble> {
    match evidence.standing {
        Standing::Good | Standing::NotAsked => Ok(()),
        Standing::Revoked(since) => Err(refused(&format!(
            "the certificate of {} is revoked since {since} ({})",
            facts.subject, evidence.source
        ))),
        Standing::Unknown => Err(refused(&format!(
            "nobody can say whether the certificate of {} is revoked: {}",
            facts.subject, evidence.trouble
        ))),
    }
}

/// Never for good: certificates are renewed, lists are younger tomorrow.
fn refused(reason: &str) -> Trouble {
    Trouble::later(7, 5, reason)
}
