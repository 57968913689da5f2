//! Every certificate, ours and theirs, its end, and how a new one comes into use.
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::Serialize;

use crate::flow::certificates;
use crate::flow::certificates::Change;
use crate::flow::certificates::Consent;
use crate::flow::certificates::Finding;
use crate::flow::certificates::Known;
use crate::flow::certificates::Role;
use crate::flow::office::Office;
use crate::server::control::Caller;

/// Characters of a reason that the journal keeps.
const REASON_MAX: usize = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Every certificate with its end, nearest first.
    Status {},
    /// Read the files again and use what may be used.
    Reload {
        /// Also a certificate between operators whose subject is not listed for our domains.
        accept_unlisted: bool,
        /// Why, for the journal; needed with `accept_unlisted`.
        reason: String,
    },
    /// What would happen with this chain. Its key stays with the one who asks.
    Check {
        /// PEM, leaf first.
        chain: String,
        /// For the doors of people, and not between operators.
        people: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// Everything that is known of certificates.
    Status(Status),
    /// What was looked at, one by one.
    Checked(Vec<FindingRow>),
}

/// Everything that is known of certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What somebody has to do something about, the most urgent first.
    pub alarms: Vec<AlarmRow>,
    /// Every certificate, the nearest end first.
    pub certificates: Vec<CertificateRow>,
    /// Every CRL.
    pub crls: Vec<CrlRow>,
}

/// One matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmRow {
    /// `urgent` or `soon`.
    pub level: String,
    /// One sentence.
    pub text: String,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// `people`, `operator`, `authority`, `anchor`, `list-signer`, `peer-in`, `peer-out`.
    pub role: String,
    /// Subject, normalised.
    pub subject: String,
    /// Issuer, normalised.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// RFC 3339, UTC.
    pub from: String,
    /// RFC 3339, UTC.
    pub until: String,
    /// Whole days until then; negative when it is over.
    pub days_left: i64,
    /// `expired`, `within 30 days`, `not yet valid`, or empty.
    pub warning: String,
    /// The file, or `in` and `out` for other operators.
    pub source: String,
    /// The day on which another operator last showed it.
    pub last_seen: Option<String>,
    /// The same operator has shown a younger one since.
    pub superseded: bool,
}

/// One CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrlRow {
    /// File or URL.
    pub source: String,
    /// Issuer.
    pub issuer: String,
    /// RFC 3339, UTC.
    pub made: String,
    /// RFC 3339, UTC.
    pub ends: Option<String>,
    /// Certificates on it.
    pub entries: usize,
    /// Why it does not count; empty when it does.
    pub trouble: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRow {
    /// `good`, `note` or `bad`.
    pub grade: String,
    /// What was looked at.
    pub about: String,
    /// What was found.
    pub text: String,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::Status {} => status(office).await.map(Answer::Status),
        Request::Reload { accept_unlisted, reason } => {
            let reason: String = reason.trim().chars().take(REASON_MAX).collect();
            if accept_unlisted && reason.is_empty() {
                return Err(
                    "a reason is needed to use an unlisted certificate: --reason".to_owned()
                );
            }
            let consent = Consent { author: Some(caller.author.clone()), reason, accept_unlisted };
            let change = certificates::reload(office, &consent).await?;
            let reading = Arc::clone(office);
            let read = tokio::task::spawn_blocking(move || reading.revocation.reload()).await;
            read.map_err(|error| format!("reading the CRLs ended badly: {error}"))?;
            certificates::tell(office).await;
            told(&change).map(Answer::Done)
        }
        Request::Check { chain, people } => check(office, &chain, people).map(Answer::Checked),
    }
}

async fn status(office: &Office) -> Result<Status, String> {
    let now = i64::try_from(office.clock.now().as_seconds()).unwrap_or(i64::MAX);
    let known = certificates::known(office).await.map_err(|error| error.to_string())?;
    let alarms = certificates::alarms(office).await.map_err(|error| error.to_string())?;
    let alarms = alarms.into_iter().map(|alarm| AlarmRow {
        level: if alarm.is_urgent { "urgent" } else { "soon" }.to_owned(),
        text: alarm.text,
    });
    let crls = office.revocation.lists().into_iter().map(|list| CrlRow {
        source: list.source,
        issuer: list.issuer,
        made: list.made.to_string(),
        ends: list.ends.map(|ends| ends.to_string()),
        entries: list.entries,
        trouble: list.trouble,
    });
    Ok(Status {
        alarms: alarms.collect(),
        certificates: known.iter().map(|known| row(known, now)).collect(),
        crls: crls.collect(),
    })
}

fn row(known: &Known, now: i64) -> CertificateRow {
    let facts = &known.facts;
    let end = i64::try_from(facts.not_after.as_seconds()).unwrap_or(i64::MAX);
    CertificateRow {
        role: known.role.name().to_owned(),
        subject: facts.subject.to_string(),
        issuer: facts.issuer.to_string(),
        serial: facts.serial.clone(),
        from: facts.not_before.to_string(),
        until: facts.not_after.to_string(),
        days_left: (end - now).div_euclid(86_400),
        warning: known.level.text(),
        source: known.source.clone(),
        last_seen: known.last_seen.map(|last| last.to_string().chars().take(10).collect()),
        superseded: known.superseded,
    }
}

/// What was asked for and did not happen is a failure, so that a script notices.
fn told(change: &Change) -> Result<String, String> {
    let mut sentences = change.applied.clone();
    for waiting in &change.waiting {
        let (role, facts) = (waiting.role.name(), &waiting.facts);
        sentences.push(format!(
            "Not used: the {role} certificate {} of {}: {}.",
            facts.serial, facts.subject, waiting.reason
        ));
    }
    if sentences.is_empty() {
        sentences.push("Nothing has changed: the files hold what is in use.".to_owned());
    }
    let text = sentences.join("\n");
    if change.waiting.is_empty() { Ok(text) } else { Err(text) }
}

fn check(office: &Office, chain: &str, people: bool) -> Result<Vec<FindingRow>, String> {
    let certificates: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let certificates = certificates.map_err(|error| format!("the chain is not PEM: {error}"))?;
    let role = if people { Role::People } else { Role::Operator };
    let row = |finding: Finding| FindingRow {
        grade: finding.grade.to_owned(),
        about: finding.about.to_owned(),
        text: finding.text,
    };
    Ok(certificates::judge(office, &certificates, role).into_iter().map(row).collect())
}
