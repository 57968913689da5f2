//! `vaguemestre session`: who is logged in now.
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::session;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Everybody who is in: door, address, what was shown, since when.
    List {
        /// Of this mailbox only.
        #[arg(long, value_name = "ADDRESS")]
        mailbox: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// End a session at once, or all of a mailbox.
    ///
    /// The connection is closed, also while it waits for news. Whoever still has a password, a
    /// token or a certificate can log in again: revoke that first. It stands in the journal.
    #[command(after_long_help = "\
Examples:
  vaguemestre session kill 0192f3c4a5b67c8d9e0f1a2b3c4d5e6f --reason \"lost phone\"
  vaguemestre session kill --mailbox dr.lune@hopital.mssante.fr --reason \"left the hospital\"")]
    Kill {
        /// The session's name, from `session list`.
        #[arg(value_name = "ID", required_unless_present = "mailbox", conflicts_with = "mailbox")]
        id: Option<String>,
        /// All of this mailbox.
        #[arg(long, value_name = "ADDRESS")]
        mailbox: Option<String>,
        /// Of them, those that began with the app password of this name.
        #[arg(long, value_name = "NAME", requires = "mailbox")]
        app_password: Option<String>,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Session) -> Result<(), Failure> {
    let (request, config, format) = match command {
        Session::List { mailbox, config, format } => {
            (session::Request::List { mailbox }, config, format)
        }
        Session::Kill { id, mailbox, app_password, reason, config, format } => {
            (session::Request::Kill { id, mailbox, app_password, reason }, config, format)
        }
    };
    match commands::reach_with(&config, control::Request::Session(request)).await? {
        Response::Session(answer) => show(&answer, format),
        other => commands::unexpected(&other),
    }
}

fn show(answer: &session::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        session::Answer::Killed { sessions } if format.json => {
            output::print_json(&serde_json::json!({ "killed": sessions }))?;
        }
        session::Answer::Killed { sessions: 1 } => output::print_line("One session is ended.")?,
        session::Answer::Killed { sessions } => {
            output::print_line(&format!("{sessions} sessions are ended."))?;
        }
        session::Answer::List(lines) if format.json => output::print_json(lines)?,
        session::Answer::List(lines) => {
            let mut table =
                Table::new(&["Session", "Mailbox", "Door", "From", "Shown", "Since", "Last use"]);
            for line in lines {
                let shown = match &line.app_password {
                    Some(name) => format!("{} ({name})", line.means),
                    None => line.means.clone(),
                };
                table.row([
                    &*line.id,
                    &line.mailbox,
                    &line.door,
                    line.peer.as_deref().unwrap_or(""),
                    &shown,
                    &line.since,
                    &line.used,
                ]);
            }
            output::print_table(&table, "Nobody is logged in.")?;
        }
    }
    Ok(())
}
