//! `vaguemestre trust`: the list of operators: what is active, what changes, why somebody was refused.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::explain;
use crate::cli::explain::Explain;
use crate::cli::output;
use crate::server::control;
use crate::server::control::trust;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// The active list, its age, and what waits for approval.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Why somebody was let in or refused at the operators' door, and what to do about it.
    Explain(Explain),
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Trust) -> Result<(), Failure> {
    let (config, format, request) = match command {
        Trust::Status { config, format } => (config, format, trust::Request::Status {}),
        Trust::Explain(command) => return explain::run(command).await,
    };
    match commands::reach_with(&config, control::Request::Trust(request)).await? {
        Response::Trust(trust::Answer::Done(text)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Trust(trust::Answer::Done(text)) => output::print_line(&text)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}
