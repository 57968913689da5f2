//! `vaguemestre queue`: letters that wait for delivery, and operators' hands on them.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::queue;
use crate::server::control::queue::QueueLine;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// What waits.
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Queue) -> Result<(), Failure> {
    let (Queue::List { config, format }, request) = (command, queue::Request::List {});
    match commands::reach_with(&config, control::Request::Queue(request)).await? {
        Response::Queue(queue::Answer::Waiting(lines)) if format.json => {
            output::print_json(&lines)?
        }
        Response::Queue(queue::Answer::Waiting(lines)) => {
            output::print_table(&queue_table(&lines), "Nothing waits.")?;
        }
        Response::Queue(queue::Answer::Done(text)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Queue(queue::Answer::Done(text)) => output::print_line(&text)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}

fn queue_table(lines: &[QueueLine]) -> Table {
    let heading = [
        "Letter",
        "Recipient",
        "Next hop",
        ">Tries",
        "Next try",
        "Accepted",
        ">Octets",
        "Last reply",
    ];
    let mut table = Table::new(&heading);
    for line in lines {
        table.row([
            line.queue_id.clone(),
            line.recipient.clone(),
            line.next_hop.clone(),
            line.attempts.to_string(),
            line.next_attempt.clone(),
            line.accepted_at.clone(),
            line.size.to_string(),
            line.last_reply.clone(),
        ]);
    }
    table
}
