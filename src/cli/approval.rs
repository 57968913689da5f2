//! `vaguemestre approval`: what waits for a second administrator.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::approval;
use crate::server::control::approval::PetitionLine;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Approval {
    /// What waits, and until when.
    #[command(after_help = REACH)]
    List {
        /// Also what is answered or over.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Approve it: it is done at once, just as it was asked, and once.
    ///
    /// Whoever asked cannot approve. Who is who is the user that logged in to this machine, also
    /// behind sudo; so administrators need accounts of their own on it.
    #[command(after_help = REACH)]
    Approve {
        /// Its name, as `approval list` shows it.
        id: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Refuse it, or take one's own back.
    #[command(after_help = REACH)]
    Refuse {
        /// Its name, as `approval list` shows it.
        id: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Approval) -> Result<(), Failure> {
    let (request, config, format) = match command {
        Approval::List { all, config, format } => (approval::Request::List { all }, config, format),
        Approval::Approve { id, reason, config, format } => {
            (approval::Request::Approve { id, reason }, config, format)
        }
        Approval::Refuse { id, reason, config, format } => {
            (approval::Request::Refuse { id, reason }, config, format)
        }
    };
    match commands::reach_with(&config, control::Request::Approval(request)).await? {
        Response::Approval(answer) => show(&answer, format),
        other => commands::unexpected(&other),
    }
}

/// What is said where something waits.
pub(super) fn show_waiting(petition: &PetitionLine, format: Format) -> std::io::Result<()> {
    if format.json {
        return output::print_json(&serde_json::json!({ "waits": petition }));
    }
    output::print_line(&format!(
        "This waits for a second administrator, until {}:\n  vaguemestre approval approve {} \
         --reason TEXT",
        petition.until, petition.id
    ))
}

fn show(answer: &approval::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        approval::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        approval::Answer::Done(text) => output::print_line(text)?,
        approval::Answer::List(lines) if format.json => output::print_json(lines)?,
        approval::Answer::List(lines) => {
            let heading = ["Id", "What", "Who", "Why", "Until", "State", "Answered by", "Answer"];
            let mut table = Table::new(&heading);
            for line in lines {
                table.row([
                    &*line.id,
                    &line.what,
                    &line.author,
                    &line.reason,
                    &line.until,
                    &line.state,
                    line.answered_by.as_deref().unwrap_or_default(),
                    line.answer.as_deref().unwrap_or_default(),
                ]);
            }
            output::print_table(&table, "Nothing waits.")?;
        }
    }
    Ok(())
}
