//! New files: what they would change, when they count, and when they wait.
//!
//! The files are read as a whole and used as a whole. Two things make a good new certificate wait
//! while everything else counts: other operators do not know its subject yet, or it is worth less
//! than the one in use (it has not begun, or nobody has its authority). What waits is judged again
//! at each look, so that a new list, or the day on which a certificate begins, is enough.
use std::sync::PoisonError;

use rustls::pki_types::CertificateDer;

use crate::domain::certificate::CertificateFacts;
use crate::domain::operator::OperatorDn;
use crate::domain::time::Timestamp;
use crate::flow::certificates::Role;
use crate::flow::certificates::kept;
use crate::flow::office::Office;
use crate::infra::journal::Entry;
use crate::infra::net;
use crate::infra::net::Material;
use crate::infra::net::Purpose;
use crate::infra::store::Batch;

/// Who wants a reload, and how far they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The administrator, for the journal; `None` for the relay itself, which watches its files.
    pub author: Option<String>,
    /// Why, in the administrator's words.
    pub reason: String,
    /// Use a certificate between operators whose subject is not listed for our domains.
    pub accept_unlisted: bool,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What counts from now on, as sentences; empty when the files hold what is in use.
    pub applied: Vec<String>,
    /// What does not.
    pub waiting: Vec<Waiting>,
}

/// A certificate in the files that is not used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For which doors.
    pub role: Role,
    /// The certificate.
    pub facts: CertificateFacts,
    /// Why it waits, and what helps.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `good`, `note` (worth a look) or `bad` (do not use it).
    pub grade: &'static str,
    /// What was looked at: `dates`, `chain`, `list`…
    pub about: &'static str,
    /// What was found.
    pub text: String,
}

/// Reads the files when their content has changed since `last`, or when something waits, and uses
/// what may be used. Tells the log. Called again and again by the relay.
pub async fn look(office: &Office, last: &mut Option<[u8; 32]>) {
    let fingerprint = office.tls.fingerprint();
    let waits = !waiting(office).is_empty();
    if *last == Some(fingerprint) && !waits {
        return;
    }
    let changed = *last != Some(fingerprint);
    if changed && last.is_some() {
        // Somebody may be in the middle of copying certificate and key.
        tokio::time::sleep(SETTLING).await;
        if office.tls.fingerprint() != fingerprint {
            return;
        }
    }
    *last = Some(fingerprint);
    // Failures and what waits are told inside.
    let _ = reload(office, &Consent::default()).await;
}

/// Time for somebody to finish copying.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads all files and uses them, as a whole; open sessions go on.
///
/// # Errors
/// A sentence with the file and what is wrong with it. Everything stays as it was.
pub async fn reload(office: &Office, consent: &Consent) -> Result<Change, String> {
    let _turn = office.certificates.reloading.lock().await;
    let done = decide_and_apply(office, consent).await;
    let mut trouble = office.certificates.trouble.lock().unwrap_or_else(PoisonError::into_inner);
    match &done {
        Ok(change) => {
            *trouble = None;
            for sentence in &change.applied {
                tracing::info!("{sentence}");
            }
        }
        Err(reason) if trouble.as_ref() != Some(reason) => {
            tracing::error!(reason, "certificates were not reloaded, those in use stay");
            *trouble = Some(reason.clone());
        }
        Err(_) => {}
    }
    done
}

async fn decide_and_apply(office: &Office, consent: &Consent) -> Result<Change, String> {
    let mut material = office.tls.read().map_err(|error| error.to_string())?;
    let mut change = Change::default();
    hold_back(office, &mut material, consent, &mut change.waiting)?;
    change.applied = differences(office, &material)?;
    if !change.applied.is_empty() {
        if let Some(author) = &consent.author {
            record(office, author, consent, &change).await?;
        }
        office.tls.apply(material).map_err(|error| error.to_string())?;
        kept::keep(office).await;
    }
    remember(office, &mut change.waiting);
    Ok(change)
}

/// Puts what is in use in the place of what must wait.
fn hold_back(
    office: &Office,
    material: &mut Material,
    consent: &Consent,
    waiting: &mut Vec<Waiting>,
) -> Result<(), String> {
    let now = office.clock.now();
    let mut wait = |role, facts: CertificateFacts, reason| {
        waiting.push(Waiting { role, facts, reason, since: now });
    };
    let used = office.tls.operator_chain();
    if material.operator.chain != used {
        let new = facts_of(&material.operator.chain)?;
        let fails = own_path(&material.operator.chain, &material.anchors, now).err();
        let was_good = own_path(&used, &office.tls.anchors(), now).is_ok();
        let missing = unlisted_for(office, &new.subject);
        let same_subject = facts_of(&used).is_ok_and(|used| used.subject == new.subject);
        let reason = match fails {
            Some(fails) if was_good => {
                Some(format!("the certificate in use is good, this one is not: {fails}"))
            }
            _ if consent.accept_unlisted || same_subject || missing.is_empty() => None,
            _ => Some(format!(
                "other operators would refuse it: the trust list does not have its subject for {}. \
                 It counts as soon as the list does; `vaguemestre certs reload --accept-unlisted \
                 --reason …` uses it now",
                missing.join(", ")
            )),
        };
        if let Some(reason) = reason {
            material.operator = office.tls.operator_identity();
            wait(Role::Operator, new, reason);
        }
    }
    let used = office.tls.people_chain();
    if material.people.chain != used {
        let new = facts_of(&material.people.chain)?;
        let fails = outside_dates(&new, now);
        let was_good = facts_of(&used).is_ok_and(|used| outside_dates(&used, now).is_none());
        if let Some(fails) = fails.filter(|_| was_good) {
            material.people = office.tls.people_identity();
            wait(Role::People, new, format!("the certificate in use is good, this one is {fails}"));
        }
    }
    Ok(())
}

/// What is different from what is in use, as sentences.
fn differences(office: &Office, material: &Material) -> Result<Vec<String>, String> {
    let mut sentences = Vec::new();
    for (what, new, used) in [
        ("The doors of people use", &material.people.chain, office.tls.people_chain()),
        ("Between operators counts", &material.operator.chain, office.tls.operator_chain()),
    ] {
        if *new != used {
            let facts = facts_of(new)?;
            sentences.push(format!(
                "{what} the certificate {} of {}, valid until {}.",
                facts.serial, facts.subject, facts.not_after
            ));
        }
    }
    let used = office.tls.anchors();
    let added = material.anchors.iter().filter(|anchor| !used.contains(anchor)).count();
    let gone = used.iter().filter(|anchor| !material.anchors.contains(anchor)).count();
    if added + gone > 0 {
        sentences.push(format!("Operators stand under {added} new anchors; {gone} are gone."));
    }
    Ok(sentences)
}

/// What an administrator does is written down before it is done: an action that cannot be
/// recorded is not done.
async fn record(
    office: &Office,
    author: &str,
    consent: &Consent,
    change: &Change,
) -> Result<(), String> {
    let action =
        if consent.accept_unlisted { "certs reload --accept-unlisted" } else { "certs reload" };
    let entry = Entry {
        at: office.clock.now(),
        author: author.to_owned(),
        action: action.to_owned(),
        target: "certificates".to_owned(),
        reason: consent.reason.clone(),
        outcome: change.applied.join(" "),
    };
    let mut batch = Batch::new();
    office.journal.ride(&entry, &mut batch);
    let written = office.store.commit(batch).await;
    written.map_err(|error| format!("nothing was changed: the journal is not writable: {error}"))
}

/// Keeps what waits, for the next look and for `certs status`; tells the log once.
fn remember(office: &Office, waiting: &mut [Waiting]) {
    let mut kept = office.certificates.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    for one in &mut *waiting {
        match kept.iter().find(|known| known.facts == one.facts && known.role == one.role) {
            Some(known) => one.since = known.since,
            None => tracing::error!(
                subject = %one.facts.subject,
                serial = one.facts.serial,
                role = one.role.name(),
                reason = one.reason,
                "a new certificate waits, the one in use stays"
            ),
        }
    }
    *kept = waiting.to_vec();
}

/// What waits now.
pub(super) fn waiting(office: &Office) -> Vec<Waiting> {
    office.certificates.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What would happen with this chain (leaf first) in this role. Nothing is changed.
pub fn judge(office: &Office, chain: &[CertificateDer<'_>], role: Role) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |grade, about, text| findings.push(Finding { grade, about, text });
    let chain: Vec<CertificateDer<'static>> =
        chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let facts = match facts_of(&chain) {
        Ok(facts) => facts,
        Err(reason) => {
            find("bad", "certificate", reason);
            return findings;
        }
    };
    let now = office.clock.now();
    find("good", "certificate", format!("{} of {}", facts.serial, facts.subject));
    match outside_dates(&facts, now) {
        Some(fails) => find("bad", "dates", format!("it is {fails}")),
        None => {
            let days = facts.not_after.since(now).as_secs() / 86_400;
            let near = office.config.certs.warn_days.first().is_some_and(|first| days <= *first);
            let grade = if near { "note" } else { "good" };
            find(grade, "dates", format!("{days} days left, until {}", facts.not_after));
        }
    }
    let names = chain.first().map(net::certificate_names).unwrap_or_default();
    let host = office.config.operator.hostname.as_str();
    let named = names.iter().any(|name| name.eq_ignore_ascii_case(host));
    let text = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    match role {
        Role::Operator => {
            find("good", "names", text);
            judge_operator(office, &chain, &facts, &mut find);
        }
        // A wildcard may cover the host too; programs know better than we do here.
        _ if named => find("good", "names", text),
        _ => find("note", "names", format!("{text}; our host {host} is not among them")),
    }
    findings
}

fn judge_operator(
    office: &Office,
    chain: &[CertificateDer<'static>],
    facts: &CertificateFacts,
    find: &mut impl FnMut(&'static str, &'static str, String),
) {
    let now = office.clock.now();
    let anchors = office.tls.anchors();
    match path(chain, &anchors, Purpose::Server, now) {
        Ok(path) => {
            let anchor = path.last().and_then(|anchor| net::certificate_facts(anchor).ok());
            let anchor = anchor.map(|anchor| anchor.subject.to_string()).unwrap_or_default();
            find("good", "chain", format!("{} certificates, up to {anchor}", path.len()));
        }
        Err(reason) => find("bad", "chain", reason),
    }
    if let Err(reason) = path(chain, &anchors, Purpose::Client { or_server: false }, now)
        && path(chain, &anchors, Purpose::Server, now).is_ok()
    {
        find("note", "use", format!("as a client: {reason}; other operators may refuse it"));
    }
    let used = facts_of(&office.tls.operator_chain()).map(|used| used.subject);
    match used {
        Ok(used) if used == facts.subject => {
            find("good", "subject", "the same as that of the certificate in use".to_owned());
        }
        Ok(used) => find("note", "subject", difference(&used, &facts.subject)),
        Err(reason) => find("note", "subject", reason),
    }
    let missing = unlisted_for(office, &facts.subject);
    if missing.is_empty() {
        find("good", "list", "the trust list has its subject for our domains".to_owned());
    } else {
        let text = format!("the trust list does not have its subject for {}", missing.join(", "));
        find("bad", "list", text);
    }
}

/// What one name has and the other has not.
fn difference(used: &OperatorDn, new: &OperatorDn) -> String {
    let only = |one: &OperatorDn, other: &OperatorDn| {
        let pairs = one.pairs().iter().filter(|pair| !other.pairs().contains(pair));
        let shown: Vec<String> =
            pairs.map(|(attribute, value)| format!("{attribute}={value}")).collect();
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
    };
    format!(
        "not that of the certificate in use: {} instead of {}",
        only(new, used),
        only(used, new)
    )
}

/// Our domains for which other operators would refuse this subject. A domain that is not on the
/// list at all is not lost by a change of certificate; without any, all of them are named.
pub(super) fn unlisted_for(office: &Office, subject: &OperatorDn) -> Vec<String> {
    let list = office.trust.list();
    let operator = &office.config.operator;
    let ours: Vec<_> = operator.domains.iter().chain(&operator.citizen_domains).collect();
    let listed: Vec<_> = ours.iter().copied().filter(|domain| list.lists(domain)).collect();
    let expected = if listed.is_empty() { ours } else { listed };
    let missing = expected.into_iter().filter(|domain| !list.binds(domain, subject));
    missing.map(ToString::to_string).collect()
}

fn outside_dates(facts: &CertificateFacts, now: Timestamp) -> Option<String> {
    if now < facts.not_before {
        Some(format!("not valid before {}", facts.not_before))
    } else if now > facts.not_after {
        Some(format!("expired since {}", facts.not_after))
    } else {
        None
    }
}

/// As other operators will judge it when they call us.
fn own_path(
    chain: &[CertificateDer<'static>],
    anchors: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(), String> {
    path(chain, anchors, Purpose::Server, now).map(|_| ())
}

fn path(
    chain: &[CertificateDer<'static>],
    anchors: &[CertificateDer<'static>],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let (leaf, rest) = chain.split_first().ok_or("the file holds no certificate")?;
    net::verified_path(leaf, rest, anchors, purpose, now)
}

fn facts_of(chain: &[CertificateDer<'static>]) -> Result<CertificateFacts, String> {
    let leaf = chain.first().ok_or("the file holds no certificate")?;
    net::certificate_facts(leaf).map_err(|error| error.to_string())
}
