//! `vaguemestre trace`: where a letter is, and what happened to it.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::server::control;
use crate::server::control::trace;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Trace {
    /// One letter, step by step.
    Show {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Trace) -> Result<(), Failure> {
    let (Trace::Show { config, format }, request) = (command, trace::Request::Show {});
    match commands::reach_with(&config, control::Request::Trace(request)).await? {
        Response::Trace(trace::Answer::Done(text)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Trace(trace::Answer::Done(text)) => output::print_line(&text)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}
