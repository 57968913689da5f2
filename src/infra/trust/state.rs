//! What is told about the list: for people, for metrics, and again and again for the log.
use std::time::Duration;

use crate::domain::operator::ListVersion;
use crate::domain::time::Timestamp;
use crate::infra::trust::TrustError;
use crate::infra::trust::TrustSpace;
use crate::infra::trust::diff;
use crate::infra::trust::versions::Key;
use crate::infra::trust::versions::VersionRow;

/// Everything worth knowing about the list at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListState {
    /// The newest document of what counts.
    pub active: ListVersion,
    /// Since when.
    pub since: Timestamp,
    /// Domains that count.
    pub domains: usize,
    /// (domain, certificate) pairs that count.
    pub pairs: usize,
    /// Time since the publisher made it.
    pub age: Duration,
    /// What that means.
    pub age_level: Age,
    /// An administrator went back to it.
    pub rolled_back: bool,
    /// What waits for approval.
    pub waiting: Option<Waiting>,
    /// How fetching goes.
    pub fetching: Fetching,
}

/// What waits for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The list that will count alone after approval.
    pub version: ListVersion,
    /// Since when.
    pub since: Timestamp,
    /// The whole list waits, because an administrator went back to an older one. Otherwise it
    /// counts already, and only its removals wait.
    pub whole: bool,
    /// Pairs whose removal waits; 0 when the whole list does.
    pub pairs: usize,
    /// Domains that they belong to.
    pub domains: usize,
}

/// What the age of the list means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Young enough.
    Good,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Alarm,
    /// Nobody is judged by it any more.
    Expired,
}

impl Age {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
            Self::Expired => "expired",
        }
    }
}

/// How fetching goes, since the relay started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// The last try.
    pub tried: Option<Timestamp>,
    /// The last one that brought a good list, old or new.
    pub succeeded: Option<Timestamp>,
    /// Why the last one failed; `None` when it did not.
    pub error: Option<String>,
    /// How many failed one after the other.
    pub failures_in_a_row: u64,
    /// How many failed in all.
    pub failures: u64,
}

impl Fetching {
    pub(super) fn note(&mut self, error: Option<&TrustError>, now: Timestamp) {
        self.tried = Some(now);
        self.error = error.map(ToString::to_string);
        if error.is_some() {
            self.failures_in_a_row += 1;
            self.failures += 1;
        } else {
            self.succeeded = Some(now);
            self.failures_in_a_row = 0;
        }
    }
}

/// A list that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVersion {
    /// Which.
    pub version: ListVersion,
    /// When it was verified and kept.
    pub kept: Timestamp,
    /// Its domains.
    pub domains: u64,
    /// Its (domain, certificate) pairs.
    pub pairs: u64,
    /// Entries in it that could not be read.
    pub skipped: u64,
    /// Octets of the document.
    pub octets: u64,
    /// Who signed it.
    pub signer: String,
    /// The serial number of that certificate.
    pub signer_serial: String,
    /// When it ends.
    pub signer_ends: Timestamp,
    /// It had ended and was taken all the same.
    pub signer_expired: bool,
    /// An administrator went back from it.
    pub rejected: bool,
}

impl KeptVersion {
    pub(super) fn new(key: Key, row: VersionRow) -> Self {
        Self {
            version: key.version(),
            kept: Timestamp::from_millis(row.kept),
            domains: row.domains,
            pairs: row.pairs,
            skipped: row.skipped,
            octets: row.octets,
            signer: row.signer,
            signer_serial: row.signer_serial,
            signer_ends: Timestamp::from_millis(row.signer_ends),
            signer_expired: row.signer_expired,
            rejected: row.rejected,
        }
    }
}

impl TrustSpace {
    /// What counts, what waits, how old it is, how fetching goes.
    pub fn state(&self, now: Timestamp) -> ListState {
        let active = self.active.load();
        let state = &active.state;
        let since = Timestamp::from_millis(state.waiting_since.unwrap_or(state.since));
        let whole = state.waiting.map(|key| Waiting {
            version: key.version(),
            since,
            whole: true,
            pairs: 0,
            domains: 0,
        });
        let removals = (!active.held.is_empty()).then(|| Waiting {
            version: state.active.version(),
            since,
            whole: false,
            pairs: diff::count(&active.held),
            domains: active.held.len(),
        });
        let age = now.since(active.list.generated);
        ListState {
            active: state.active.version(),
            since: Timestamp::from_millis(state.since),
            domains: active.list.domains.len(),
            pairs: diff::count(&active.list.domains),
            age,
            age_level: self.age_level(age),
            rolled_back: state.rolled_back,
            waiting: whole.or(removals),
            fetching: self.fetching().0.clone(),
        }
    }

    fn age_level(&self, age: Duration) -> Age {
        let Some(settings) = self.keeper.as_ref().map(|keeper| &keeper.settings) else {
            return Age::Good;
        };
        match age {
            age if settings.age_limit.is_some_and(|limit| age > limit) => Age::Expired,
            age if age >= settings.age_alarm => Age::Alarm,
            age if age >= settings.age_warning => Age::Warning,
            _ => Age::Good,
        }
    }

    /// Said at each look at the list until somebody does something.
    pub(super) fn tell_alarms(&self, now: Timestamp) {
        let state = self.state(now);
        let hours = state.age.as_secs() / 3_600;
        match state.age_level {
            Age::Good => {}
            Age::Warning => tracing::warn!(hours, "the trust list is old: is it still fetched?"),
            Age::Alarm => tracing::error!(hours, "the trust list is far too old: see to it"),
            Age::Expired => {
                tracing::error!(hours, "the trust list is over its limit: letters are put off");
            }
        }
        match state.waiting {
            Some(waiting) if waiting.whole => tracing::error!(
                version = %waiting.version,
                since = %waiting.since,
                "a younger trust list waits, because an administrator went back: \
                 `trust diff`, then `trust approve`"
            ),
            Some(waiting) => tracing::error!(
                version = %waiting.version,
                since = %waiting.since,
                domains = waiting.domains,
                pairs = waiting.pairs,
                "removals from the trust list wait: `trust diff`, then `trust approve` or \
                 `trust rollback`"
            ),
            None => {}
        }
    }
}
