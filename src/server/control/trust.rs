//! The list of operators: what is active, what changes, what waits for approval.
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Domain;
use crate::domain::limits::REASON_CHARACTERS_MAX;
use crate::domain::operator::ListVersion;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::flow::listing;
use crate::flow::office::Office;
use crate::flow::outlook;
use crate::flow::outlook::Outlook;
use crate::flow::outlook::Traffic;
use crate::infra::journal::Entry;
use crate::infra::store::Batch;
use crate::infra::trust::KeptVersion;
use crate::infra::trust::ListState;
use crate::infra::trust::Plan;
use crate::infra::trust::Refreshed;
use crate::infra::trust::TrustError;
use crate::server::control::Caller;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The active list, its age, and what waits for approval.
    Status {},
    /// What differs between two lists, and what that means for us.
    Diff {
        /// What counts now when `None`.
        from: Option<String>,
        /// What waits when `None`; without anything that waits, the version before is compared
        /// with what counts now.
        to: Option<String>,
    },
    /// Who may speak for a domain.
    Show {
        /// Which one.
        domain: String,
    },
    /// Ask the source now.
    Refresh {},
    /// Let what waits count.
    Approve {
        /// Another one than the one that waits.
        version: Option<String>,
        /// Why.
        reason: String,
        /// Only say what it would do.
        dry_run: bool,
    },
    /// Go back to an earlier list.
    Rollback {
        /// Another one than the one before.
        version: Option<String>,
        /// Why.
        reason: String,
        /// Only say what it would do.
        dry_run: bool,
    },
    /// Every kept version.
    Versions {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// The active list.
    Status(Box<Status>),
    /// What differs.
    Diff(DiffTable),
    /// One domain.
    Domain(DomainCard),
    /// What a refresh did.
    Refreshed(RefreshReport),
    /// What an approval or rollback did, or would do.
    Changed(ChangeReport),
    /// Every kept version, youngest first.
    Versions(Vec<VersionLine>),
}

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

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Status {} => Ok(status(office)),
        Request::Diff { from, to } => diff(office, from, to).await.map(Answer::Diff),
        Request::Show { domain } => show(office, &domain).await,
        Request::Refresh {} => refresh(office).await,
        Request::Approve { version, reason, dry_run } => {
            let reason = checked(&reason, dry_run)?;
            let plan = office.trust.plan_approval(version.as_deref()).await.map_err(told)?;
            change(office, plan, Action { name: "trust approve", reason, dry_run }, caller).await
        }
        Request::Rollback { version, reason, dry_run } => {
            let reason = checked(&reason, dry_run)?;
            let plan = office.trust.plan_rollback(version.as_deref()).await.map_err(told)?;
            change(office, plan, Action { name: "trust rollback", reason, dry_run }, caller).await
        }
        Request::Versions {} => versions(office).await,
    }
}

fn told(error: TrustError) -> String {
    error.to_string()
}

/// A reason that will still mean something in a year. Looking needs none.
fn checked(reason: &str, dry_run: bool) -> Result<String, String> {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let reason = words.join(" ");
    if reason.is_empty() && !dry_run {
        return Err("a reason is needed: --reason \"who said so, and why\"".to_owned());
    }
    if reason.chars().count() > REASON_CHARACTERS_MAX || reason.chars().any(char::is_control) {
        return Err(format!("the reason is text of at most {REASON_CHARACTERS_MAX} characters"));
    }
    Ok(reason)
}

fn name(version: ListVersion) -> VersionName {
    VersionName {
        generated: version.generated.to_string(),
        digest: version.digest.iter().map(|octet| format!("{octet:02x}")).collect(),
        short: version.short(),
    }
}

fn status(office: &Office) -> Answer {
    let state = office.trust.state(office.clock.now());
    let list = office.trust.list();
    let operator = &office.config.operator;
    let own = operator.domains.iter().chain(&operator.citizen_domains);
    let waiting = state.waiting.as_ref().map(|waiting| WaitingLine {
        version: name(waiting.version),
        since: waiting.since.to_string(),
        what: if waiting.whole { "whole-list" } else { "removals" }.to_owned(),
        pairs: waiting.pairs,
        domains: waiting.domains,
    });
    Answer::Status(Box::new(Status {
        active: name(state.active),
        since: state.since.to_string(),
        source: listing::source_name(&office.config),
        domains: state.domains,
        pairs: state.pairs,
        age_seconds: state.age.as_secs(),
        age: state.age_level.name().to_owned(),
        rolled_back: state.rolled_back,
        waiting,
        fetch_tried: state.fetching.tried.map(|at| at.to_string()),
        fetch_succeeded: state.fetching.succeeded.map(|at| at.to_string()),
        fetch_error: state.fetching.error,
        fetch_failures_in_a_row: state.fetching.failures_in_a_row,
        fetch_failures: state.fetching.failures,
        own_domains_missing: own
            .filter(|domain| !list.lists(domain))
            .map(ToString::to_string)
            .collect(),
    }))
}

/// Two lists, and a sentence about which they are.
struct Pair {
    from: (ListVersion, Arc<TrustList>),
    to: (ListVersion, Arc<TrustList>),
    about: String,
}

async fn diff(
    office: &Office,
    from: Option<String>,
    to: Option<String>,
) -> Result<DiffTable, String> {
    let trust = &office.trust;
    let now = (trust.version(), trust.list());
    let pair = match (from, to) {
        (Some(from), Some(to)) => Pair {
            from: trust.kept_list(&from).await.map_err(told)?,
            to: trust.kept_list(&to).await.map_err(told)?,
            about: "two kept versions".to_owned(),
        },
        (Some(version), None) | (None, Some(version)) => Pair {
            from: now,
            to: trust.kept_list(&version).await.map_err(told)?,
            about: "what counts now, and a kept version".to_owned(),
        },
        (None, None) => what_is_new(office, now).await?,
    };
    table(office, pair).await
}

/// What waits, or else what came last.
async fn what_is_new(office: &Office, now: (ListVersion, Arc<TrustList>)) -> Result<Pair, String> {
    let trust = &office.trust;
    if trust.state(office.clock.now()).waiting.is_some() {
        let plan = trust.plan_approval(None).await.map_err(told)?;
        return Ok(Pair {
            from: now,
            to: (plan.target, plan.after),
            about: "what counts now, and what waits for `trust approve`".to_owned(),
        });
    }
    let versions = trust.kept_versions().await.map_err(told)?;
    let before = versions.iter().find(|kept| kept.version < now.0 && !kept.rejected);
    let before = before.ok_or("nothing waits, and no earlier version is kept to compare with")?;
    let earlier = trust.kept_list(&full_name(before.version)).await.map_err(told)?;
    let about = "the version before, and what counts now; nothing waits".to_owned();
    Ok(Pair { from: earlier, to: now, about })
}

fn full_name(version: ListVersion) -> String {
    name(version).digest
}

async fn table(office: &Office, pair: Pair) -> Result<DiffTable, String> {
    let changes = outlook::between(office, &pair.from.1, &pair.to.1).await?;
    let domains: Vec<DiffLine> = changes.into_iter().map(line).collect();
    let of = |kind: &str| domains.iter().filter(|line| line.change == kind).count();
    Ok(DiffTable {
        from: name(pair.from.0),
        to: name(pair.to.0),
        about: pair.about,
        added: of("added"),
        removed: of("removed"),
        swapped: of("swapped"),
        undeliverable: domains.iter().map(|line| line.undeliverable).sum(),
        domains,
    })
}

fn line(change: Outlook) -> DiffLine {
    let names = |names: &std::collections::BTreeSet<OperatorDn>| {
        names.iter().map(ToString::to_string).collect()
    };
    let stuck = change.undeliverable;
    let letters = change.waiting.letters.iter().filter(|_| stuck);
    DiffLine {
        domain: change.domain.to_string(),
        change: change.kind.name().to_owned(),
        ours: change.is_ours,
        certificates_added: names(&change.gained),
        certificates_removed: names(&change.lost),
        exchanged_30_days: change.exchanged,
        waiting: change.waiting.recipients,
        undeliverable: if stuck { change.waiting.recipients } else { 0 },
        undeliverable_letters: letters.map(ToString::to_string).collect(),
    }
}

async fn show(office: &Office, text: &str) -> Result<Answer, String> {
    let domain = Domain::parse(text.trim()).map_err(|error| format!("`{text}`: {error}"))?;
    let listed = office.trust.entries(&domain);
    if listed.is_empty() {
        return Err(format!(
            "{domain} is not in the list of {}. Names match exactly, without wildcards; `trust \
             refresh` asks for a newer list",
            office.trust.version()
        ));
    }
    let traffic = Traffic::look(office).await?;
    let waiting = traffic.waiting_for(&domain);
    Ok(Answer::Domain(DomainCard {
        version: name(office.trust.version()),
        ours: office.hosts(&domain),
        certificates: listed
            .into_iter()
            .map(|(dn, held)| CertificateLine { subject: dn.to_string(), removal_waits: held })
            .collect(),
        exchanged_30_days: traffic.exchanged_with(&domain),
        waiting_letters: waiting.letters.iter().map(ToString::to_string).collect(),
        domain: domain.to_string(),
    }))
}

async fn refresh(office: &Office) -> Result<Answer, String> {
    let refreshed = listing::refresh(office).await.map_err(|error| {
        format!(
            "{error}. The list of {} goes on counting; docs/operations/trust-list.md says what \
             to do",
            office.trust.version()
        )
    })?;
    let active = office.trust.version();
    let (outcome, text) = match refreshed {
        Refreshed::Unchanged => ("unchanged", format!("Nothing new: {active} counts.")),
        Refreshed::Replaced(domains) => {
            ("replaced", format!("{active} counts now, with {domains} domains."))
        }
        Refreshed::Held(pairs) => (
            "removals-held",
            format!(
                "{active} counts now, but {pairs} pairs of domain and certificate that it no \
                 longer has count too, until `trust approve` (see `trust diff`)."
            ),
        ),
        Refreshed::Waits => (
            "whole-list-waits",
            format!(
                "A younger list is kept and waits, because an administrator went back to \
                 {active}: see `trust diff`, then `trust approve`."
            ),
        ),
        Refreshed::Rejected => (
            "rejected-before",
            format!(
                "The source still has the list from which an administrator went back; {active} \
                 counts."
            ),
        ),
    };
    let report = RefreshReport { outcome: outcome.to_owned(), active: name(active), text };
    Ok(Answer::Refreshed(report))
}

struct Action {
    name: &'static str,
    reason: String,
    dry_run: bool,
}

async fn change(
    office: &Office,
    plan: Plan,
    action: Action,
    caller: &Caller,
) -> Result<Answer, String> {
    let target = plan.target;
    let now = office.trust.version();
    let pair = Pair {
        from: (now, Arc::clone(&plan.before)),
        to: (target, Arc::clone(&plan.after)),
        about: "what counts now, and what will count".to_owned(),
    };
    let impact = table(office, pair).await?;
    let counts = format!(
        "{} domains added, {} removed, {} with other certificates; {} recipients in the queue \
         undeliverable",
        impact.added, impact.removed, impact.swapped, impact.undeliverable
    );
    if action.dry_run {
        let text = format!("{target} would count alone: {counts}. Nothing was done.");
        return Ok(Answer::Changed(ChangeReport { done: false, text, impact }));
    }
    let at = office.clock.now();
    let entry = Entry {
        at,
        author: caller.author.clone(),
        action: action.name.to_owned(),
        target: target.to_string(),
        reason: action.reason,
        outcome: counts.clone(),
    };
    let mut batch = Batch::new();
    office.journal.ride(&entry, &mut batch);
    office.trust.carry_out(plan, batch, at).await.map_err(told)?;
    let text = format!("{target} counts alone: {counts}.");
    Ok(Answer::Changed(ChangeReport { done: true, text, impact }))
}

async fn versions(office: &Office) -> Result<Answer, String> {
    let state = office.trust.state(office.clock.now());
    let kept = office.trust.kept_versions().await.map_err(told)?;
    let lines = kept.into_iter().map(|kept| VersionLine {
        version: name(kept.version),
        standing: standing(&state, &kept).to_owned(),
        kept: kept.kept.to_string(),
        domains: kept.domains,
        pairs: kept.pairs,
        skipped: kept.skipped,
        octets: kept.octets,
        signer: kept.signer,
        signer_serial: kept.signer_serial,
        signer_ends: kept.signer_ends.to_string(),
        signer_expired: kept.signer_expired,
    });
    Ok(Answer::Versions(lines.collect()))
}

fn standing(state: &ListState, kept: &KeptVersion) -> &'static str {
    let waits = state.waiting.as_ref().filter(|waiting| waiting.version == kept.version);
    match waits {
        Some(waiting) if waiting.whole => "waits",
        Some(_) => "removals-wait",
        None if state.active == kept.version => "active",
        None if kept.rejected => "rejected",
        None => "kept",
    }
}

/// `3 h 20 min`, for people.
pub fn age_text(seconds: u64) -> String {
    let age = Duration::from_secs(seconds);
    let (hours, minutes) = (age.as_secs() / 3_600, age.as_secs() / 60 % 60);
    match hours {
        0 => format!("{minutes} min"),
        1..48 => format!("{hours} h {minutes} min"),
        _ => format!("{} days {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_words() {
        assert_eq!(checked("  told by\n ANS ", false).unwrap(), "told by ANS");
        assert!(checked(" \t", false).unwrap_err().contains("--reason"));
        assert_eq!(checked("", true).unwrap(), "", "looking needs no reason");
        assert!(checked("a\u{1b}[2J", false).is_err());
        assert!(checked(&"a".repeat(501), false).is_err());
    }

    #[test]
    fn ages_are_told_in_units_that_people_use() {
        assert_eq!(age_text(59), "0 min");
        assert_eq!(age_text(12_000), "3 h 20 min");
        assert_eq!(age_text(180_000), "2 days 2 h");
    }
}
