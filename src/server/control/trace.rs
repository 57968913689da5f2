//! Where a letter is, and what happened to it.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::certificate::CertificateFacts;
use crate::domain::identity::Ins;
use crate::domain::status::DeliveryStatus;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::flow::timeline;
use crate::flow::timeline::Attempt;
use crate::flow::timeline::Entry;
use crate::flow::timeline::Step;
use crate::flow::timeline::Traced;
use crate::infra::config::Operator;
use crate::server::control::Caller;
use crate::server::control::mask;

/// Characters of an id that are worth looking up (RFC 5322 §2.1.1).
const ID_CHARACTERS_MAX: usize = 998;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// One letter, step by step.
    Show {
        /// A Message-ID, with or without angle brackets, or a queue id.
        id: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Every letter of that name, oldest first; at least one.
    Letters(Vec<LetterLine>),
}

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterLine {
    /// Its queue id.
    pub queue_id: String,
    /// What happened to all of it.
    pub steps: Vec<StepLine>,
    /// What happened for each recipient.
    pub recipients: Vec<RecipientLine>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientLine {
    /// `***@domain` for a patient.
    pub recipient: String,
    /// `delivered`, `known-already`, `queued`, `deferred`, `relayed`, `failed`.
    pub state: String,
    /// In order.
    pub steps: Vec<StepLine>,
}

/// One step. What does not belong to it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLine {
    /// RFC 3339, UTC.
    pub at: String,
    /// `accepted`, `delivered`, `known-already`, `queued`, `attempt`, `reported`, `report-came`,
    /// `receipt-came`, `read-on-page`, `hands`, `set-aside`, `ended`, `attempt-cut`, `filtered`.
    pub step: String,
    /// Name of the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// The connection at the operators' door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Subject of the peer's certificate, or the reporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Serial number of the peer's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Octets in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Keys it was sealed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u32>,
    /// The domain it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The host that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// TLS version and suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// `relayed`, `deferred`, `failed`; of a report its action; of a receipt its disposition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// `class.subject.detail`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What was said; long numbers masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// What the other host called the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// When it is tried again. RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// What an administrator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    _caller: &Caller,
) -> Result<Answer, String> {
    let Request::Show { id } = request;
    let id = id.trim();
    if id.is_empty() || id.chars().count() > ID_CHARACTERS_MAX {
        return Err("a letter is named by its Message-ID or its queue id".to_owned());
    }
    let traced = timeline::trace(office, id).await;
    let traced = traced.map_err(|refusal| format!("timelines: {refusal}"))?;
    if traced.is_empty() {
        let days = office.config.trace.keep.as_secs() / 86_400;
        return Err(format!(
            "no letter of that name is known; timelines are kept for {days} days (trace.keep_days)"
        ));
    }
    let operator = &office.config.operator;
    Ok(Answer::Letters(traced.iter().map(|traced| letter(operator, traced)).collect()))
}

fn letter(operator: &Operator, traced: &Traced) -> LetterLine {
    let mut line = LetterLine {
        queue_id: traced.letter.to_string(),
        steps: Vec::new(),
        recipients: Vec::new(),
    };
    // Two patients are both shown as ***@domain: the addresses tell them apart, not their masks.
    let mut known: Vec<&Address> = Vec::new();
    for entry in &traced.entries {
        let Some(address) = &entry.recipient else {
            line.steps.push(step(entry));
            continue;
        };
        let place = match known.iter().position(|one| *one == address) {
            Some(place) => place,
            None => {
                known.push(address);
                line.recipients.push(RecipientLine {
                    recipient: mask::address(operator, address),
                    state: String::new(),
                    steps: Vec::new(),
                });
                known.len() - 1
            }
        };
        let recipient = &mut line.recipients[place];
        if let Some(state) = state(&entry.step) {
            recipient.state = state.to_owned();
        }
        recipient.steps.push(step(entry));
    }
    line
}

/// Where the recipient's copy is after this step; `None` where a step says nothing of it.
fn state(step: &Step) -> Option<&'static str> {
    match step {
        Step::Delivered => Some("delivered"),
        Step::KnownAlready => Some("known-already"),
        Step::Queued { .. } => Some("queued"),
        Step::Attempt(attempt) => Some(status_name(attempt.status)),
        Step::SetAside(_) => Some("set-aside"),
        Step::Ended { .. } => Some("failed"),
        _ => None,
    }
}

const fn status_name(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Delivered => "delivered",
        DeliveryStatus::Relayed => "relayed",
        DeliveryStatus::Deferred => "deferred",
        DeliveryStatus::Failed => "failed",
    }
}

fn step(entry: &Entry) -> StepLine {
    let named = |name: &str| StepLine {
        at: entry.at.to_string(),
        step: name.to_owned(),
        ..StepLine::default()
    };
    match &entry.step {
        Step::Accepted { door, session, peer, size, keys } => StepLine {
            door: Some(door.clone()),
            session: session.map(|session| session.to_string()),
            peer: peer.as_deref().map(visible),
            size: Some(*size),
            keys: Some(*keys),
            ..named("accepted")
        },
        Step::Delivered => named("delivered"),
        Step::KnownAlready => named("known-already"),
        Step::Queued { domain } => StepLine { domain: Some(domain.clone()), ..named("queued") },
        Step::Attempt(attempt) => attempt_line(attempt, named("attempt")),
        Step::Reported(what) => StepLine { outcome: Some(what.clone()), ..named("reported") },
        Step::ReportCame { action, status, reporter } => StepLine {
            outcome: Some(mask::text(action)),
            status: Some(mask::text(status)).filter(|status| !status.is_empty()),
            peer: Some(mask::text(reporter)).filter(|reporter| !reporter.is_empty()),
            ..named("report-came")
        },
        Step::ReceiptCame(disposition) => {
            StepLine { outcome: Some(mask::text(disposition)), ..named("receipt-came") }
        }
        Step::ReadOnPage => named("read-on-page"),
        Step::Hands { action, author, reason } => StepLine {
            action: Some(mask::text(action)),
            author: Some(mask::text(author)),
            reason: Some(mask::text(reason)),
            ..named("hands")
        },
        Step::SetAside(why) => StepLine { reason: Some(mask::text(why)), ..named("set-aside") },
        Step::Ended { enhanced, reply } => StepLine {
            outcome: Some("failed".to_owned()),
            status: Some(enhanced.to_string()),
            reply: Some(mask::text(reply)),
            ..named("ended")
        },
        Step::Cut(attempt) => StepLine { attempt: Some(*attempt), ..named("attempt-cut") },
        Step::Filtered(what) => StepLine { outcome: Some(what.clone()), ..named("filtered") },
    }
}

fn attempt_line(attempt: &Attempt, line: StepLine) -> StepLine {
    let certificate = attempt.certificate.as_ref();
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    StepLine {
        attempt: Some(attempt.number),
        host: text(&attempt.host),
        address: text(&attempt.address),
        peer: certificate.map(|facts: &CertificateFacts| visible(&facts.subject.to_string())),
        serial: certificate.map(|facts| facts.serial.clone()),
        tls: attempt.tls.clone(),
        outcome: Some(status_name(attempt.status).to_owned()),
        status: Some(attempt.enhanced.to_string()),
        reply: text(&mask::text(&attempt.reply)),
        remote_id: attempt.remote_id.as_deref().map(remote_id),
        next_attempt: attempt.again_at.map(|at: Timestamp| at.to_string()),
        ..line
    }
}

/// A certificate's subject: the structure's long number in it is public, and needed to find the
/// entry of the list.
fn visible(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Names of letters are long numbers by right; one that could be a person's is not shown.
fn remote_id(id: &str) -> String {
    let mut words = id.split(|character: char| !character.is_ascii_alphanumeric());
    if words.any(|word| Ins::parse(word).is_ok()) { mask::text(id) } else { visible(id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Domain;
    use crate::domain::envelope::QueueId;
    use crate::domain::status::EnhancedStatus;

    fn operator() -> Operator {
        let domain = |text| Domain::parse(text).unwrap();
        Operator {
            name: "hopital".to_owned(),
            hostname: domain("mx.test"),
            domains: vec![domain("hopital.mssante.test")],
            citizen_domains: Vec::new(),
            patient_domains: vec![domain("patient.mssante.test")],
            patient_service_mailboxes: Vec::new(),
        }
    }

    fn entry(recipient: Option<&str>, step: Step) -> Entry {
        let recipient = recipient.map(|text| Address::parse(text).unwrap());
        Entry { at: Timestamp::from_seconds(1_795_181_760), recipient, step }
    }

    #[test]
    fn each_recipient_has_their_own_steps_and_no_patient_is_named() {
        let patients = ["279035121518989@patient.mssante.test", "marie@patient.mssante.test"];
        let attempt = Attempt {
            number: 1,
            host: "mx.patient.test:25".to_owned(),
            address: "192.0.2.1:25".to_owned(),
            certificate: None,
            tls: None,
            status: DeliveryStatus::Deferred,
            enhanced: EnhancedStatus(4, 2, 2),
            reply: "452 4.2.2 <279035121518989@patient.mssante.test> full".to_owned(),
            remote_id: None,
            again_at: Some(Timestamp::from_seconds(1_795_181_770)),
        };
        let accepted = Step::Accepted {
            door: "submission".to_owned(),
            session: None,
            peer: None,
            size: 10,
            keys: 1,
        };
        let queued = || Step::Queued { domain: "patient.mssante.test".to_owned() };
        let traced = Traced {
            letter: QueueId::from_bytes([1; 16]),
            entries: vec![
                entry(None, accepted),
                entry(Some(patients[0]), queued()),
                entry(Some(patients[1]), queued()),
                entry(Some(patients[0]), Step::Attempt(Box::new(attempt))),
                entry(Some(patients[0]), Step::Reported("delayed".to_owned())),
            ],
        };
        let line = letter(&operator(), &traced);
        assert_eq!((line.steps.len(), line.recipients.len()), (1, 2));
        assert_eq!(line.recipients[0].state, "deferred");
        assert_eq!(line.recipients[1].state, "queued");
        assert_eq!(line.recipients[0].steps.len(), 3);
        let json = serde_json::to_string(&line).unwrap();
        for hidden in ["279035121518989", "marie"] {
            assert!(!json.contains(hidden), "{json}");
        }
        assert!(json.contains("***@patient.mssante.test") && json.contains("2026-11-20T"));
        assert!(!json.contains("null"), "{json}");
    }
}
