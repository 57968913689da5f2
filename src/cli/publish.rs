//! `vaguemestre publish`: our mailboxes in the national directory.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::publish;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Publish {
    /// Tell the directory now what has changed since the last time.
    ///
    /// The relay does the same once a day. `publish.mode` says how: a file for somebody to
    /// deposit, or the API.
    #[command(after_help = REACH)]
    Run {
        /// Only show what would be told.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// What the directory knows of each mailbox, and what it is to be told.
    #[command(after_help = REACH)]
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Mailboxes with which it did not end well the last time, and why.
    #[command(after_help = REACH)]
    Report {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Publish) -> Result<(), Failure> {
    let (request, config, format) = match command {
        Publish::Run { dry_run, config, format } => {
            (publish::Request::Run { dry_run }, config, format)
        }
        Publish::Status { config, format } => (publish::Request::Status {}, config, format),
        Publish::Report { config, format } => (publish::Request::Report {}, config, format),
    };
    let lines = match commands::reach_with(&config, control::Request::Publish(request)).await? {
        Response::Publish(lines) => lines,
        other => return commands::unexpected(&other),
    };
    if format.json {
        output::print_json(&lines)?;
        return Ok(());
    }
    let mut table =
        Table::new(&["Mailbox", "Kind", "Directory", "To tell", "Last", "Told", "Result", "Why"]);
    for line in &lines {
        let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            &*line.address,
            &line.kind,
            &line.known,
            &text(&line.change),
            &text(&line.at),
            &text(&line.told),
            &text(&line.result),
            &text(&line.reason),
        ]);
    }
    output::print_table(&table, "Nothing is to be told.")?;
    Ok(())
}
