//! What a change of the trust list means for us: letters exchanged, letters that would be stuck.
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::limits::TRUST_OUTLOOK_DAYS;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::time::Day;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::infra::trust::diff;
use crate::infra::trust::diff::ChangeKind;

/// One domain that differs, seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Which one.
    pub domain: Domain,
    /// What happens to it.
    pub kind: ChangeKind,
    /// It is hosted here: others will judge us by this.
    pub is_ours: bool,
    /// Certificates' names that come.
    pub gained: BTreeSet<OperatorDn>,
    /// Certificates' names that go.
    pub lost: BTreeSet<OperatorDn>,
    /// Letters exchanged with it in the last 30 days, each recipient counted.
    pub exchanged: u64,
    /// What waits for it.
    pub waiting: Waiting,
    /// What waits for it could not be delivered any more: the domain goes, or none of the
    /// certificates that counted for it stays.
    pub undeliverable: bool,
}

/// What waits for a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Recipients.
    pub recipients: usize,
    /// Their letters.
    pub letters: BTreeSet<QueueId>,
}

/// What is exchanged with, and waits for, each domain.
pub struct Traffic {
    exchanged: BTreeMap<String, u64>,
    waiting: BTreeMap<Domain, Waiting>,
}

impl Traffic {
    /// Looks at the ledger of the last 30 days and at the queue.
    ///
    /// # Errors
    /// A sentence when the store does not answer.
    pub async fn look(office: &Office) -> Result<Self, String> {
        let now = office.clock.now();
        let to = Day::in_france(now);
        let exchanged = office.ledger.exchanged(Day::in_france(days_before(now)), to).await;
        let exchanged = exchanged.map_err(|error| format!("the ledger: {error}"))?;
        let rows = queue::list(office).await.map_err(|refusal| format!("the queue: {refusal}"))?;
        let mut waiting: BTreeMap<Domain, Waiting> = BTreeMap::new();
        for row in rows {
            let domain = waiting.entry(row.recipient.domain().clone()).or_default();
            domain.recipients += 1;
            domain.letters.insert(row.queue_id);
        }
        Ok(Self { exchanged, waiting })
    }

    /// Letters exchanged with a domain in the last 30 days.
    pub fn exchanged_with(&self, domain: &Domain) -> u64 {
        self.exchanged.get(domain.as_str()).copied().unwrap_or(0)
    }

    /// What waits for it.
    pub fn waiting_for(&self, domain: &Domain) -> Waiting {
        self.waiting.get(domain).cloned().unwrap_or_default()
    }
}

/// Every domain that differs between two lists, what goes first.
///
/// # Errors
/// A sentence when the store does not answer.
pub async fn between(
    office: &Office,
    before: &TrustList,
    after: &TrustList,
) -> Result<Vec<Outlook>, String> {
    let traffic = Traffic::look(office).await?;
    let of = |change: diff::Change| Outlook {
        is_ours: office.hosts(&change.domain),
        exchanged: traffic.exchanged_with(&change.domain),
        waiting: traffic.waiting_for(&change.domain),
        undeliverable: change.kind != ChangeKind::Added && !change.keeps_one,
        domain: change.domain,
        kind: change.kind,
        gained: change.gained,
        lost: change.lost,
    };
    Ok(diff::changes(before, after).into_iter().map(of).collect())
}

fn days_before(now: Timestamp) -> Timestamp {
    let days = Duration::from_secs(TRUST_OUTLOOK_DAYS * 86_400);
    Timestamp::from_millis(
        now.as_millis().saturating_sub(u64::try_from(days.as_millis()).unwrap_or(u64::MAX)),
    )
}
