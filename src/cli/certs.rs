//! `vaguemestre certs`: every certificate, ours and theirs, and its end.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::server::control;
use crate::server::control::certs;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Certs {
    /// Every certificate with its end, nearest first.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Certs) -> Result<(), Failure> {
    let (Certs::Status { config, format }, request) = (command, certs::Request::Status {});
    match commands::reach_with(&config, control::Request::Certs(request)).await? {
        Response::Certs(certs::Answer::Done(text)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Certs(certs::Answer::Done(text)) => output::print_line(&text)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}
