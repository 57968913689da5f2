//! The JSON forms of answers about the list: also the `--json` output of the commands, so a field
//! is added here, never renamed.
use serde::Deserialize;
use serde::Serialize;

/// A version's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionName {
    /// When its publisher made it; RFC 3339, UTC.
    pub generated: String,
    /// SHA-256 of the document, hexadecimal.
    pub digest: String,
    /// What people type: the first eight digits.
    pub short: String,
}

/// The active list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The newest document of what counts.
    pub active: VersionName,
    /// Since when it counts.
    pub since: String,
    /// Where lists come from: file or address.
    pub source: String,
    /// Domains that count.
    pub domains: usize,
    /// (domain, certificate) pairs that count.
    pub pairs: usize,
    /// Seconds since it was made.
    pub age_seconds: u64,
    /// `good`, `warning`, `alarm`, `expired`.
    pub age: String,
    /// An administrator went back to it.
    pub rolled_back: bool,
    /// What waits for approval.
    pub waiting: Option<WaitingLine>,
    /// When the source was asked last, since the relay started.
    pub fetch_tried: Option<String>,
    /// When it last gave a good list.
    pub fetch_succeeded: Option<String>,
    /// Why the last try failed.
    pub fetch_error: Option<String>,
    /// Failed tries in a row.
    pub fetch_failures_in_a_row: u64,
    /// Failed tries in all.
    pub fetch_failures: u64,
    /// Our own domains that the list does not have: others refuse what we send for them.
    pub own_domains_missing: Vec<String>,
}

/// What waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLine {
    /// The list that will count alone after approval.
    pub version: VersionName,
    /// Since when.
    pub since: String,
    /// `removals` or `whole-list`.
    pub what: String,
    /// Pairs whose removal waits.
    pub pairs: usize,
    /// Domains that they belong to.
    pub domains: usize,
}

/// What differs between two lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffTable {
    /// The older one.
    pub from: VersionName,
    /// The other one.
    pub to: VersionName,
    /// One sentence: which two these are.
    pub about: String,
    /// Domains that come.
    pub added: usize,
    /// Domains that go.
    pub removed: usize,
    /// Domains with other certificates.
    pub swapped: usize,
    /// Recipients that wait in the queue and could not be reached any more.
    pub undeliverable: usize,
    /// One line for each domain that differs; removed ones first.
    pub domains: Vec<DiffLine>,
}

/// One domain that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffLine {
    /// Which one.
    pub domain: String,
    /// `added`, `removed`, `swapped`.
    pub change: String,
    /// It is hosted here.
    pub ours: bool,
    /// Certificates' names that come.
    pub certificates_added: Vec<String>,
    /// Certificates' names that go.
    pub certificates_removed: Vec<String>,
    /// Letters exchanged with it in 30 days.
    pub exchanged_30_days: u64,
    /// Recipients that wait for it in the queue.
    pub waiting: usize,
    /// Recipients in the queue that could not be reached any more.
    pub undeliverable: usize,
    /// Their letters.
    pub undeliverable_letters: Vec<String>,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCard {
    /// Which one.
    pub domain: String,
    /// The list that was asked.
    pub version: VersionName,
    /// It is hosted here.
    pub ours: bool,
    /// Who may speak for it.
    pub certificates: Vec<CertificateLine>,
    /// Letters exchanged with it in 30 days.
    pub exchanged_30_days: u64,
    /// Letters that wait for it.
    pub waiting_letters: Vec<String>,
}

/// A certificate's name that is listed for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLine {
    /// Normalised: sorted, lower case.
    pub subject: String,
    /// The newest list no longer has it; it counts until somebody approves.
    pub removal_waits: bool,
}

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshReport {
    /// `unchanged`, `replaced`, `removals-held`, `whole-list-waits`, `rejected-before`.
    pub outcome: String,
    /// The active version now.
    pub active: VersionName,
    /// One sentence.
    pub text: String,
}

/// What an approval or rollback did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// False for a dry run.
    pub done: bool,
    /// One sentence.
    pub text: String,
    /// What it means for us.
    pub impact: DiffTable,
}

/// A kept version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// Which.
    pub version: VersionName,
    /// `active`, `removals-wait`, `waits`, `rejected` or `kept`.
    pub standing: String,
    /// When it was verified and kept.
    pub kept: String,
    /// Its domains.
    pub domains: u64,
    /// Its (domain, certificate) pairs.
    pub pairs: u64,
    /// Entries that could not be read.
    pub skipped: u64,
    /// Octets.
    pub octets: u64,
    /// Who signed it.
    pub signer: String,
    /// The serial number of that certificate.
    pub signer_serial: String,
    /// When it ends.
    pub signer_ends: String,
    /// It had ended and was taken all the same.
    pub signer_expired: bool,
}
