//! Letters that wait for delivery, and operators' hands on them.
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::address::Domain;
use crate::domain::envelope::QueueId;
use crate::domain::limits;
use crate::domain::status::Refusal;
use crate::flow::hands;
use crate::flow::hands::Job;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Change;
use crate::flow::queue::Filter;
use crate::flow::queue::HoldKind;
use crate::flow::queue::QueueRow;
use crate::flow::queue::RowState;
use crate::flow::queue::Seen;
use crate::flow::queue::Target;
use crate::server::control::Caller;
use crate::server::control::mask;

/// Characters of a reason: it ends in the journal, and perhaps in a report.
const REASON_CHARACTERS_MAX: usize = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What waits.
    List {
        /// Of whom; everything when `None`.
        #[serde(default)]
        target: Option<TargetForm>,
        /// Only what is on hold or set aside.
        #[serde(default)]
        held: bool,
        /// At most so many lines.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// What waits, domain by domain.
    Lanes {},
    /// Hosts that do not answer.
    Circuits {},
    /// One letter.
    Show {
        /// Its id.
        id: String,
    },
    /// Hands on rows.
    Act {
        /// To do what.
        action: Action,
        /// To which rows.
        target: TargetForm,
        /// Why.
        #[serde(default)]
        reason: String,
        /// Only tell.
        #[serde(default)]
        dry_run: bool,
    },
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Due now.
    Retry,
    /// Wait until released.
    Hold,
    /// Wait no longer.
    Release,
    /// End with a report.
    Bounce {
        /// The sender reads the reason.
        tell: bool,
    },
    /// End without a report.
    Drop,
    /// Go to this `host:port`; `None`: as before.
    Reroute {
        /// Where.
        to: Option<String>,
    },
}

/// Which rows. Its `Debug` names nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetForm {
    /// A letter's id.
    Letter(String),
    /// A recipient's address.
    Recipient(String),
    /// A domain.
    Domain(String),
}

impl std::fmt::Debug for TargetForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Letter(id) => write!(f, "Letter({id})"),
            Self::Recipient(_) => f.write_str("Recipient([hidden])"),
            Self::Domain(domain) => write!(f, "Domain({domain})"),
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One sentence.
    Done(String),
    /// What waits.
    Waiting(Vec<QueueLine>),
    /// What waits, domain by domain.
    Lanes(Vec<LaneLine>),
    /// Hosts that do not answer.
    Circuits(Vec<CircuitLine>),
    /// What was done, or would be.
    Acted(Acted),
}

/// One recipient of one letter that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLine {
    /// The letter's correlation id.
    pub queue_id: String,
    /// `***@domain` for a patient.
    pub recipient: String,
    /// Where it goes next.
    pub next_hop: String,
    /// Attempts so far.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub next_attempt: String,
    /// RFC 3339, UTC.
    pub accepted_at: String,
    /// Octets of the letter.
    pub size: u64,
    /// What the next operator said last; long numbers masked.
    pub last_reply: String,
    /// `waiting`, `attempted`, `suspect`, `ending`, `domain-held`, `held`, `set-aside`, `damaged`.
    #[serde(default)]
    pub state: String,
    /// Who holds it and why; empty when nobody does.
    #[serde(default)]
    pub why: String,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneLine {
    /// Its name.
    pub domain: String,
    /// Recipients that wait.
    pub rows: u64,
    /// Attempts that run now.
    pub running: usize,
    /// When the first one is due, RFC 3339, UTC; empty when none is.
    pub next: String,
    /// Who holds the domain and why; empty when nobody does.
    pub held: String,
    /// Where an administrator sends its mail; empty when nobody does.
    pub rerouted: String,
    /// Seconds for which its host is left alone; `None` when it is not.
    pub barred_seconds: Option<u64>,
}

/// One host that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitLine {
    /// `host:port`, or a domain where no host is known.
    pub host: String,
    /// `counting`, `open`, `half-open`.
    pub state: String,
    /// Connections in a row that did not come about.
    pub failures: u32,
    /// Seconds until the next try.
    pub seconds: u64,
}

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// In one sentence.
    pub sentence: String,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Changed, or would be; the first ones of many.
    pub rows: Vec<TouchedLine>,
    /// Left alone: an attempt has them.
    pub busy: Vec<TouchedLine>,
}

/// One row that hands were laid on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchedLine {
    /// The letter's correlation id.
    pub queue_id: String,
    /// `***@domain` for a patient; empty when the row cannot be read.
    pub recipient: String,
}

/// Does it. `Err` is a sentence for the administrator: what is wrong and what to do.
pub async fn handle(
    office: &Arc<Office>,
    request: Request,
    caller: &Caller,
) -> Result<Answer, String> {
    match request {
        Request::List { target, held, limit } => {
            let target = target.map(|form| parse_target(&form)).transpose()?;
            let limit = limit.unwrap_or(limits::QUEUE_ROWS_SHOWN_DEFAULT);
            waiting(office, &Filter { target, held, limit }).await
        }
        Request::Show { id } => {
            let target = Some(parse_target(&TargetForm::Letter(id.clone()))?);
            match waiting(office, &Filter { target, held: false, limit: usize::MAX }).await? {
                Answer::Waiting(lines) if lines.is_empty() => Err(format!(
                    "no letter {id} waits; `vaguemestre trace {id}` tells what became of it"
                )),
                answer => Ok(answer),
            }
        }
        Request::Lanes {} => lanes(office).await,
        Request::Circuits {} => Ok(circuits(office)),
        Request::Act { action, target, reason, dry_run } => {
            act(office, action, &target, reason, dry_run, caller).await
        }
    }
}

async fn waiting(office: &Office, filter: &Filter) -> Result<Answer, String> {
    let rows = queue::list(office, filter).await.map_err(failed)?;
    Ok(Answer::Waiting(rows.into_iter().map(|row| line(office, row)).collect()))
}

fn line(office: &Office, row: QueueRow) -> QueueLine {
    let operator = &office.config.operator;
    let (state, why) = state(&row.state);
    let recipient = row.recipient.map(|address| mask::address(operator, &address));
    QueueLine {
        queue_id: row.queue_id.to_string(),
        recipient: recipient.unwrap_or_default(),
        next_hop: row.next_hop,
        attempts: row.attempts,
        next_attempt: row.next_attempt.to_string(),
        accepted_at: row.accepted_at.to_string(),
        size: row.size,
        last_reply: mask::text(&row.last_reply),
        state: state.to_owned(),
        why,
    }
}

fn state(state: &RowState) -> (&'static str, String) {
    match state {
        RowState::Waiting => ("waiting", String::new()),
        RowState::Attempted => ("attempted", String::new()),
        RowState::Suspect => ("suspect", String::new()),
        RowState::Ending => ("ending", String::new()),
        RowState::LaneHeld { author, reason } => ("domain-held", format!("{author}: {reason}")),
        RowState::Held { kind, author, reason, since } => {
            let state = match kind {
                HoldKind::Hands => "held",
                HoldKind::SetAside => "set-aside",
                HoldKind::Damaged => "damaged",
            };
            (state, format!("{author}, {since}: {reason}"))
        }
    }
}

async fn lanes(office: &Office) -> Result<Answer, String> {
    let views = queue::by_domain(office).await.map_err(failed)?;
    let line = |view: queue::LaneView| LaneLine {
        domain: view.domain,
        rows: view.rows,
        running: view.running,
        next: view.next.map(|at| at.to_string()).unwrap_or_default(),
        held: view.held.map(|(who, why)| format!("{who}: {why}")).unwrap_or_default(),
        rerouted: view.rerouted.unwrap_or_default(),
        barred_seconds: view.barred_for.map(|left| left.as_secs()),
    };
    Ok(Answer::Lanes(views.into_iter().map(line).collect()))
}

fn circuits(office: &Office) -> Answer {
    let line = |view: queue::CircuitView| CircuitLine {
        host: view.host,
        state: view.state.to_owned(),
        failures: view.failures,
        seconds: view.left.as_secs(),
    };
    Answer::Circuits(office.lanes.circuits().into_iter().map(line).collect())
}

async fn act(
    office: &Office,
    action: Action,
    target: &TargetForm,
    reason: String,
    is_dry: bool,
    caller: &Caller,
) -> Result<Answer, String> {
    let reason = reason.trim().to_owned();
    if reason.chars().count() > REASON_CHARACTERS_MAX || reason.chars().any(char::is_control) {
        return Err(format!("a reason is one line of at most {REASON_CHARACTERS_MAX} characters"));
    }
    // The journal is kept for years: an identity number in a reason must not be.
    let reason = mask::text(&reason);
    let change = match action {
        Action::Retry => Change::Retry,
        Action::Hold => Change::Hold,
        Action::Release => Change::Release,
        Action::Bounce { tell } => Change::Bounce(tell.then(|| reason.clone())),
        Action::Drop => Change::Drop,
        Action::Reroute { to } => {
            if let Some(to) = &to {
                check_host(to)?;
            }
            Change::Reroute(to)
        }
    };
    let target = parse_target(target)?;
    let job = Job { change, target, author: caller.author.clone(), reason, is_dry };
    let done = hands::act(office, &job).await?;
    let operator = &office.config.operator;
    let line = |seen: &Seen| TouchedLine {
        queue_id: seen.letter.to_string(),
        recipient: seen
            .recipient
            .as_ref()
            .map(|address| mask::address(operator, address))
            .unwrap_or_default(),
    };
    Ok(Answer::Acted(Acted {
        sentence: done.sentence,
        dry_run: is_dry,
        rows: done.rows.iter().map(line).collect(),
        busy: done.busy.iter().map(line).collect(),
    }))
}

/// What cannot be parsed is not repeated: it may be an identity number in the wrong place.
fn parse_target(form: &TargetForm) -> Result<Target, String> {
    match form {
        TargetForm::Letter(id) => QueueId::parse(id)
            .map(Target::Letter)
            .ok_or_else(|| "a letter's id is 32 hexadecimal digits".to_owned()),
        TargetForm::Recipient(address) => Address::parse(address)
            .map(Target::Recipient)
            .map_err(|_| "the address is not one".to_owned()),
        TargetForm::Domain(domain) => Domain::parse(domain)
            .map(Target::Domain)
            .map_err(|_| "the domain is not one".to_owned()),
    }
}

/// `host:port`; an IPv6 address in brackets.
fn check_host(text: &str) -> Result<(), String> {
    let form = || "a host is written HOST:PORT, e.g. mx2.cabinet.mssante.fr:25".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    let number: u16 = port.parse().map_err(|_| form())?;
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = Domain::parse(host).is_ok() || host.parse::<std::net::Ipv4Addr>().is_ok();
    if number == 0 || !(is_address || is_name || host == "localhost") {
        return Err(form());
    }
    Ok(())
}

fn failed(refusal: Refusal) -> String {
    format!("the queue: {refusal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port() {
        for good in ["mx.test:25", "127.0.0.1:2525", "[::1]:25", "localhost:25"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in ["mx.test", "mx.test:0", "mx.test:70000", ":25", "::1:25", "a b:25", "[x]:25"] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_named_in_an_error_or_a_debug_text() {
        let form = TargetForm::Recipient("279035121518989@patient.test".to_owned());
        assert!(!format!("{form:?}").contains("279035"));
        let error = parse_target(&TargetForm::Recipient("279035121518989".to_owned()));
        assert!(!error.unwrap_err().contains("279035"));
    }

    #[test]
    fn requests_of_the_first_relays_are_still_understood() {
        let list: Request = serde_json::from_str(r#"{"do":"list"}"#).unwrap();
        assert_eq!(list, Request::List { target: None, held: false, limit: None });
        assert!(serde_json::from_str::<Request>(r#"{"do":"list","x":1}"#).is_err());
    }
}
