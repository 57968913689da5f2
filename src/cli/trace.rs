//! `vaguemestre trace`: where a letter is, and what happened to it.
use std::io::BufRead;
use std::io::Read;

use anyhow::Context;
use clap::Args;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::server::control;
use crate::server::control::trace;
use crate::server::control::trace::LetterLine;
use crate::server::control::trace::StepLine;
use crate::server::control::wire::Response;

/// Octets of a line with an id.
const LINE_OCTETS_MAX: u64 = 4_096;

/// What is typed behind `trace`.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The Message-ID or the queue id, or `-` to read it from the first line of standard input.
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Trace) -> Result<(), Failure> {
    let Trace { id, config, format } = command;
    let id = if id == "-" { first_line()? } else { id };
    let request = trace::Request::Show { id };
    match commands::reach_with(&config, control::Request::Trace(request)).await? {
        Response::Trace(trace::Answer::Letters(letters)) if format.json => {
            output::print_json(&letters)?;
        }
        Response::Trace(trace::Answer::Letters(letters)) => {
            for (place, letter) in letters.iter().enumerate() {
                if place > 0 {
                    output::print_line("")?;
                }
                show(letter)?;
            }
        }
        other => commands::unexpected(&other)?,
    }
    Ok(())
}

fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(LINE_OCTETS_MAX);
    input.read_line(&mut line).context("standard input")?;
    Ok(line.trim().to_owned())
}

fn show(letter: &LetterLine) -> Result<(), Failure> {
    output::print_line(&format!("Letter {}", letter.queue_id))?;
    for step in &letter.steps {
        output::print_line(&format!("  {}", told(step)))?;
    }
    for recipient in &letter.recipients {
        output::print_line(&format!("{}: {}", recipient.recipient, recipient.state))?;
        for step in &recipient.steps {
            output::print_line(&format!("  {}", told(step)))?;
        }
    }
    Ok(())
}

/// One step in one line.
fn told(step: &StepLine) -> String {
    format!("{}  {}", step.at, sentence(step))
}

fn sentence(step: &StepLine) -> String {
    let outcome = step.outcome.as_deref().unwrap_or_default();
    let mut parts = Vec::new();
    match step.step.as_str() {
        "accepted" => {
            let door = step.door.as_deref().unwrap_or_default();
            parts.push(format!("accepted at the {door} door"));
            parts.extend(step.peer.as_ref().map(|peer| format!("from {peer}")));
            parts.extend(step.session.as_ref().map(|session| format!("session {session}")));
            parts.extend(step.size.map(|size| format!("{size} octets")));
            parts.extend(step.keys.map(|keys| format!("sealed to {keys} key(s)")));
        }
        "delivered" => parts.push("delivered to the mailbox here".to_owned()),
        "known-already" => {
            parts.push("the mailbox has had this very letter before: not added again".to_owned());
        }
        "queued" => {
            let domain = step.domain.as_deref().unwrap_or_default();
            parts.push(format!("queued for {domain}"));
        }
        "attempt" => return attempt(step),
        "reported" => parts.push(format!("a report went to the sender: {outcome}")),
        "report-came" => {
            parts.push(format!("a report came: {outcome}"));
            parts.extend(step.status.clone());
            parts.extend(step.peer.as_ref().map(|peer| format!("from {peer}")));
        }
        "receipt-came" => parts.push(format!("a read receipt came: {outcome}")),
        "read-on-page" => parts.push("read on the page".to_owned()),
        "hands" => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (action, author) = (text(&step.action), text(&step.author));
            parts.push(format!("{action} by {author}"));
            parts.extend(step.reason.clone().filter(|reason| !reason.is_empty()));
        }
        "set-aside" => {
            parts.push("set aside: it broke a worker".to_owned());
            parts.extend(step.reason.clone());
        }
        "ended" => {
            parts.push("given up without another attempt".to_owned());
            parts.extend(step.status.clone());
            parts.extend(step.reply.clone());
        }
        "attempt-cut" => {
            let number = step.attempt.unwrap_or_default();
            parts.push(format!("attempt {number} was cut: the relay stopped meanwhile"));
        }
        "filtered" => parts.push(format!("by the recipient's filter: {outcome}")),
        other => parts.push(other.to_owned()),
    }
    parts.join(", ")
}

fn attempt(step: &StepLine) -> String {
    let outcome = step.outcome.as_deref().unwrap_or_default();
    let number = step.attempt.unwrap_or_default();
    let mut parts = vec![format!("attempt {number}: {outcome}")];
    parts.extend(match (&step.host, &step.address) {
        (Some(host), Some(address)) => Some(format!("{host} ({address})")),
        (host, address) => host.clone().or(address.clone()),
    });
    parts.extend(step.peer.as_ref().map(|peer| match &step.serial {
        Some(serial) => format!("certificate {peer} serial {serial}"),
        None => format!("certificate {peer}"),
    }));
    parts.extend(step.tls.clone());
    parts.extend(match (&step.reply, &step.status) {
        (Some(reply), Some(status)) => Some(format!("{status} \"{reply}\"")),
        (_, status) => status.clone(),
    });
    parts.extend(step.remote_id.as_ref().map(|id| format!("there called {id}")));
    parts.extend(step.next_attempt.as_ref().map(|at| format!("next try {at}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_line_that_says_all_of_it() {
        let step = StepLine {
            at: "2026-11-20T13:36:00Z".to_owned(),
            step: "attempt".to_owned(),
            attempt: Some(2),
            outcome: Some("deferred".to_owned()),
            host: Some("mx.x.test:25".to_owned()),
            address: Some("192.0.2.1:25".to_owned()),
            peer: Some("CN=mx.x.test".to_owned()),
            serial: Some("0a".to_owned()),
            tls: Some("TLSv1_3".to_owned()),
            status: Some("4.2.2".to_owned()),
            reply: Some("452 full".to_owned()),
            next_attempt: Some("2026-11-20T13:46:00Z".to_owned()),
            ..StepLine::default()
        };
        assert_eq!(
            told(&step),
            "2026-11-20T13:36:00Z  attempt 2: deferred, mx.x.test:25 (192.0.2.1:25), \
             certificate CN=mx.x.test serial 0a, TLSv1_3, 4.2.2 \"452 full\", \
             next try 2026-11-20T13:46:00Z"
        );
    }
}
