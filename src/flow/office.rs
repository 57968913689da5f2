//! The post office's furniture: what every station and door leans on. Built once, by `relay`.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::domain::address::Domain;
use crate::domain::limits;
use crate::domain::mailbox::MailboxId;
use crate::domain::operator::OperatorDn;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::accept::Credentials;
use crate::flow::addressbook::AddressBook;
use crate::flow::alerts::Alerts;
use crate::flow::certificates::Book;
use crate::flow::contacts::Contacts;
use crate::flow::custody::escrow::Escrow;
use crate::flow::decisions::Decisions;
use crate::flow::deliver::operator::Pool;
use crate::flow::directory;
use crate::flow::filter::Filters;
use crate::flow::life::Arrivals;
use crate::flow::login::Logins;
use crate::flow::mailbox::Mailboxes;
use crate::flow::own::Own;
use crate::flow::publish::Publishing;
use crate::flow::published::Ends;
use crate::flow::queue::Lanes;
use crate::flow::rewrap::Rewrapping;
use crate::flow::team::answered;
use crate::infra::audit::Audit;
use crate::infra::clock::Clock;
use crate::infra::config::Config;
use crate::infra::directory::accounts::Accounts;
use crate::infra::directory::chain::Chain;
use crate::infra::directory::factors::Factors;
use crate::infra::directory::oidc::Oidc;
use crate::infra::dns::Dns;
use crate::infra::journal::Journal;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::keys::peers::PeerCertificate;
use crate::infra::keys::smime::SmimeAnchors;
use crate::infra::ledger::Ledger;
use crate::infra::metrics::Metrics;
use crate::infra::net::TlsBook;
use crate::infra::replica::Replica;
use crate::infra::revocation::Revocation;
use crate::infra::store::Store;
use crate::infra::store::blobs::Blobs;
use crate::infra::trust::TrustSpace;

/// Everything that a running relay shares.
pub struct Office {
    /// The only source of time.
    pub clock: Arc<dyn Clock>,
    /// The configuration.
    pub config: Config,
    /// Where the truth lies.
    pub store: Arc<dyn Store>,
    /// Sealed contents.
    pub blobs: Blobs,
    /// Keys; key bytes stay inside.
    pub keys: Arc<Keyring>,
    /// The relay's own key, for letters that travel on.
    pub spool_certificate: Certificate,
    /// Opens what was sealed for travelling on.
    pub spool_keys: MailboxKeys,
    /// The organisation's own OpenPGP key: signs receipts, exported ledgers, and letters of those
    /// who have no key of their own.
    pub organisation: (PeerCertificate, MailboxKeys),
    /// Who vouches for signers of S/MIME; `None`: nobody looks at their signatures.
    pub smime_anchors: Option<Arc<SmimeAnchors>>,
    /// Keys under a quorum of administrators.
    pub escrow: Escrow,
    /// Who has a mailbox here.
    pub accounts: Arc<Accounts>,
    /// Who says who somebody is, in their order; how they do.
    pub directories: Arc<Chain>,
    /// Second factors of the pages.
    pub factors: Factors,
    /// The OpenID provider, when there is one.
    pub openid: Option<Arc<Oidc>>,
    /// Who last logged in when; without it nobody is taken for inactive.
    pub arrivals: Option<Arc<dyn Arrivals>>,
    /// Login attempts, throttled.
    pub logins: Logins,
    /// The trust space.
    pub trust: Arc<TrustSpace>,
    /// The national directory's copy.
    pub replica: Option<Arc<Replica>>,
    /// One run of publication at a time.
    pub publishing: Publishing,
    /// What the address book remembers.
    pub addressbook: Arc<AddressBook>,
    /// What is remembered about that copy.
    pub directory: Arc<directory::State>,
    /// Letters that have arrived.
    pub mailboxes: Mailboxes,
    /// Facts.
    pub ledger: Ledger,
    /// Counters for Prometheus.
    pub metrics: Arc<Metrics>,
    /// TLS of every door.
    pub tls: TlsBook,
    /// Every certificate that the relay has to do with.
    pub certificates: Book,
    /// Certificates of OpenPGP of people outside.
    pub contacts: Contacts,
    /// Certificates of OpenPGP that people here keep themselves.
    pub own: Own,
    /// When the certificates of our mailboxes end.
    pub ends: Ends,
    /// Whether certificates are revoked.
    pub revocation: Revocation,
    /// Where mail of other domains goes.
    pub dns: Arc<dyn Dns>,
    /// What administrators did.
    pub journal: Journal,
    /// Clear text in memory.
    pub clear_memory: ClearMemory,
    /// Clear text of letters that people read. A budget of its own: whoever reads slowly must
    /// not keep letters from being taken in.
    pub reading_memory: ClearMemory,
    /// Clear text of letters on their way to other operators. A budget of its own: hosts that
    /// hang must not keep letters from being taken in.
    pub sending_memory: ClearMemory,
    /// Open connections to other operators.
    pub operators: Pool,
    /// The lanes of the queue, as far as they are in memory; rung when a row becomes due at once.
    pub lanes: Lanes,
    /// Alarms that were raised lately.
    pub alerts: Alerts,
    /// Rung when a sender waits for a report of success.
    pub promise_bell: Notify,
    /// Answers whose marks are being set.
    pub answers: answered::Turns,
    /// Everything that the master key wraps, wrapped anew.
    pub rewrapping: Rewrapping,
    /// Filters that were run lately.
    pub filters: Filters,
    /// Facts about refusals, bounded, so that a stranger cannot fill the disk with them.
    pub refusals: RefusalBudget,
    /// The last refusals at the operators' door.
    pub decisions: Decisions,
}

impl Office {
    /// The ledger of key uses: record each use there before it happens.
    pub fn audit(&self) -> &Audit {
        self.mailboxes.audit()
    }

    /// True when mailboxes of this domain live here.
    pub fn hosts(&self, domain: &Domain) -> bool {
        let operator = &self.config.operator;
        operator.domains.contains(domain) || operator.citizen_domains.contains(domain)
    }

    /// True when the local parts of this domain are patients' numbers.
    pub fn is_patient_domain(&self, domain: &Domain) -> bool {
        let operator = &self.config.operator;
        operator.patient_domains.contains(domain) || operator.citizen_domains.contains(domain)
    }

    /// True when the domain is ours or in the trust list.
    pub fn is_trusted(&self, domain: &Domain) -> bool {
        self.hosts(domain) || self.trust.list().lists(domain)
    }
}

/// How many refusals get a row on disk.
///
/// Whoever logged in or is a listed operator has a name, and can be asked to stop: up to ten of
/// their refusals a second and 20,000 a day are kept, and a hundred a second of all of them
/// together. Nobody with a name can use up what belongs to another name for more than moments,
/// and nobody fills the disk. Strangers share five a second, or one of them could write millions
/// of rows a day. The ledger's figures of strangers' refusals are therefore a sample when there
/// are more. The exact totals, reason by reason, are the metric
/// `vaguemestre_events_total{event="refused"}`, which counts every refusal.
#[derive(Default)]
pub struct RefusalBudget {
    known: Mutex<Spent>,
    strangers: Mutex<Spent>,
    ones: Mutex<HashMap<Name, OneSpent>>,
}

/// Who has a budget of their own.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Operator(OperatorDn),
    Mailbox(MailboxId),
}

#[derive(Default)]
struct Spent {
    second: u64,
    rows: u64,
}

#[derive(Default)]
struct OneSpent {
    now: Spent,
    day: u64,
    rows_of_day: u64,
}

impl RefusalBudget {
    const KNOWN_A_SECOND: u64 = 100;
    const STRANGERS_A_SECOND: u64 = 5;

    /// True while the budget lasts for a caller who has shown this.
    pub fn take_for(&self, credentials: &Credentials, now: Timestamp) -> bool {
        match credentials {
            Credentials::None => self.take_for_stranger(now),
            Credentials::Login(account) | Credentials::Filter(account) => {
                self.take_named(Name::Mailbox(account.id), now)
            }
            Credentials::Operator(grounds) => match grounds.certificate() {
                Some(certificate) => self.take_for_operator(&certificate.subject, now),
                None => self.take_for_stranger(now),
            },
            Credentials::House => self.take(now),
        }
    }

    /// True while the budget lasts for a listed operator.
    pub fn take_for_operator(&self, subject: &OperatorDn, now: Timestamp) -> bool {
        self.take_named(Name::Operator(subject.clone()), now)
    }

    /// True while the budget of this second lasts for those without a name.
    pub fn take_for_stranger(&self, now: Timestamp) -> bool {
        spend(&self.strangers, now, Self::STRANGERS_A_SECOND)
    }

    fn take(&self, now: Timestamp) -> bool {
        spend(&self.known, now, Self::KNOWN_A_SECOND)
    }

    fn take_named(&self, name: Name, now: Timestamp) -> bool {
        // One's own budget first: who is over it must not spend what all share.
        self.take_of_one(name, now) && self.take(now)
    }

    fn take_of_one(&self, name: Name, now: Timestamp) -> bool {
        let day = now.as_seconds() / 86_400;
        let mut ones = self.ones.lock().unwrap_or_else(PoisonError::into_inner);
        if ones.len() >= limits::REFUSED_ONES_MAX && !ones.contains_key(&name) {
            ones.retain(|_, spent| spent.day == day);
            // More names than any trust space has operators: the shared budget still holds.
            if ones.len() >= limits::REFUSED_ONES_MAX {
                ones.clear();
            }
        }
        let spent = ones.entry(name).or_default();
        if spent.day != day {
            *spent = OneSpent { day, ..OneSpent::default() };
        }
        if spent.rows_of_day >= limits::REFUSALS_OF_ONE_A_DAY
            || !spent.now.take(now, limits::REFUSALS_OF_ONE_A_SECOND)
        {
            return false;
        }
        spent.rows_of_day += 1;
        true
    }
}

impl Spent {
    fn take(&mut self, now: Timestamp, a_second: u64) -> bool {
        if self.second != now.as_seconds() {
            *self = Self { second: now.as_seconds(), rows: 0 };
        }
        self.rows += 1;
        self.rows <= a_second
    }
}

fn spend(spent: &Mutex<Spent>, now: Timestamp, a_second: u64) -> bool {
    spent.lock().unwrap_or_else(PoisonError::into_inner).take(now, a_second)
}

/// One budget of clear text for the whole process. When it is spent, new content waits, then
/// is put off: memory is bounded by this and not by the number of connections.
#[derive(Clone)]
pub struct ClearMemory {
    kibibytes: Arc<Semaphore>,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct ClearPermit(OwnedSemaphorePermit);

impl ClearPermit {
    /// Gives back what is over so many octets.
    pub fn shrink(&mut self, octets: u64) {
        let kept = usize::try_from(octets / 1024 + 1).unwrap_or(usize::MAX);
        drop(self.0.split(self.0.num_permits().saturating_sub(kept)));
    }
}

impl ClearMemory {
    /// A budget of `octets`.
    pub fn new(octets: u64) -> Self {
        let kibibytes = usize::try_from(octets / 1024).unwrap_or(usize::MAX);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// More room for a letter that goes on arriving, if there is some now. It never waits:
    /// two letters that both hold room and wait for more would wait for ever.
    pub fn grow(&self, permit: &mut ClearPermit, octets: u64) -> Result<(), Refusal> {
        let kibibytes = u32::try_from(octets / 1024 + 1).map_err(|_| Refusal::MessageTooLarge)?;
        match Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes) {
            Ok(more) => {
                permit.0.merge(more);
                Ok(())
            }
            Err(_) => Err(Refusal::Busy),
        }
    }

    /// Waits for room, at most `limits::CLEAR_WAIT`.
    pub async fn reserve(&self, octets: u64) -> Result<ClearPermit, Refusal> {
        let kibibytes = u32::try_from(octets / 1024 + 1).map_err(|_| Refusal::MessageTooLarge)?;
        let wait = Arc::clone(&self.kibibytes).acquire_many_owned(kibibytes);
        match tokio::time::timeout(limits::CLEAR_WAIT, wait).await {
            Ok(Ok(permit)) => Ok(ClearPermit(permit)),
            _ => Err(Refusal::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_ledger_with_refusals_nor_silence_those_who_are_known() {
        let budget = RefusalBudget::default();
        let now = Timestamp::from_seconds(1_795_388_399);
        let rows = |count: usize, credentials: &Credentials, now| {
            (0..count).filter(|_| budget.take_for(credentials, now)).count()
        };
        assert_eq!(rows(1_000, &Credentials::None, now), 5);
        assert_eq!(rows(1_000, &Credentials::House, now), 100);
        let next = Timestamp::from_seconds(1_795_388_400);
        assert_eq!(rows(1_000, &Credentials::None, next), 5);
    }

    #[test]
    fn one_name_has_a_budget_of_its_own_and_cannot_silence_the_others() {
        let budget = RefusalBudget::default();
        let [loud, calm] =
            ["loud.test", "calm.test"].map(|name| OperatorDn::new([("CN", name), ("C", "FR")]));
        let rows = |count: usize, subject: &OperatorDn, now| {
            (0..count).filter(|_| budget.take_for_operator(subject, now)).count()
        };
        let morning = 1_795_392_000 / 86_400 * 86_400;
        assert_eq!(rows(1_000, &loud, Timestamp::from_seconds(morning)), 10);
        assert_eq!(rows(5, &calm, Timestamp::from_seconds(morning)), 5);
        let day =
            (1..10_000).map(|second| rows(20, &loud, Timestamp::from_seconds(morning + second)));
        assert_eq!(day.sum::<usize>(), 20_000 - 10);
        assert_eq!(rows(5, &calm, Timestamp::from_seconds(morning + 9_999)), 5);
        assert_eq!(rows(20, &loud, Timestamp::from_seconds(morning + 86_400)), 10);
    }

    #[tokio::test]
    async fn room_grows_without_waiting_and_comes_back() {
        let memory = ClearMemory::new(1_048_576);
        let mut first = memory.reserve(524_288).await.unwrap();
        assert_eq!(memory.grow(&mut first, 1_048_576), Err(Refusal::Busy));
        memory.grow(&mut first, 400_000).unwrap();
        first.shrink(1_024);
        let second = memory.reserve(1_000_000).await.unwrap();
        drop((first, second));
        drop(memory.reserve(1_047_000).await.unwrap());
    }
}
