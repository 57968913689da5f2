//! The post office's furniture: what every station and door leans on. Built once, by `relay`.
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::domain::address::Domain;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::authenticate::Logins;
use crate::flow::deliver::operator::Pool;
use crate::flow::mailbox::Mailboxes;
use crate::infra::clock::Clock;
use crate::infra::config::Config;
use crate::infra::directory::accounts::Accounts;
use crate::infra::keys::Certificate;
use crate::infra::keys::Keyring;
use crate::infra::keys::MailboxKeys;
use crate::infra::ledger::Ledger;
use crate::infra::metrics::Metrics;
use crate::infra::net::TlsSettings;
use crate::infra::replica::Replica;
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
    /// Who has a mailbox here.
    pub accounts: Arc<Accounts>,
    /// Login attempts, throttled.
    pub logins: Logins,
    /// The trust space.
    pub trust: Arc<TrustSpace>,
    /// The national directory's copy.
    pub replica: Option<Arc<Replica>>,
    /// Letters that have arrived.
    pub mailboxes: Mailboxes,
    /// Facts.
    pub ledger: Ledger,
    /// Counters for Prometheus.
    pub metrics: Arc<Metrics>,
    /// TLS of every door.
    pub tls: TlsSettings,
    /// Clear text in memory.
    pub clear_memory: ClearMemory,
    /// Clear text of letters that people read. A budget of its own: whoever reads slowly must
    /// not keep letters from being taken in.
    pub reading_memory: ClearMemory,
    /// Open connections to other operators.
    pub operators: Pool,
    /// Rung when a queue row becomes due at once.
    pub queue_bell: Notify,
    /// Facts about refusals, bounded, so that a stranger cannot fill the disk with them.
    pub refusals: RefusalBudget,
}

impl Office {
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

/// At most so many refusals a second get a row in the ledger; the metrics count all.
#[derive(Default)]
pub struct RefusalBudget {
    second: AtomicU64,
    spent: AtomicU64,
}

impl RefusalBudget {
    const A_SECOND: u64 = 100;

    /// True while the budget of this second lasts.
    pub fn take(&self, now: Timestamp) -> bool {
        if self.second.swap(now.as_seconds(), Ordering::Relaxed) != now.as_seconds() {
            self.spent.store(0, Ordering::Relaxed);
        }
        self.spent.fetch_add(1, Ordering::Relaxed) < Self::A_SECOND
    }
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

impl ClearMemory {
    /// A budget of `octets`.
    pub fn new(octets: u64) -> Self {
        let kibibytes = usize::try_from(octets / 1024).unwrap_or(usize::MAX);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// More room for a letter that turns out larger than announced, if there is some now.
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
