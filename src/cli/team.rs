//! `vaguemestre team`: who may read whose mailbox.
use clap::Subcommand;

use crate::cli::approval;
use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::team;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Team {
    /// Let somebody work in another mailbox, mostly until a day.
    ///
    /// The rights count in every folder, those to come included, at once and in open sessions. They
    /// replace what that person had there. They end by the clock after the last day. Grant, end and
    /// reason stand in the journal and in the ledger.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Rights (RFC 4314): l see, r read, s keep read marks, w set other marks, i file, p send as it, k make
folders, x delete folders, t mark as deleted, e remove, a give rights.

Example:
  vaguemestre team grant cardio@hopital.mssante.fr --to dr.lune@hopital.mssante.fr \\
    --rights lrswite --until 2026-12-31 --reason \"replaces Dr Martin\""))]
    Grant {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// Who shall work in it.
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// Letters; see below.
        #[arg(long, value_name = "LETTERS", default_value = "lrsw")]
        rights: String,
        /// The last day, YYYY-MM-DD.
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Why, for journal and ledger.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Take back whatever somebody may do in a mailbox by name.
    #[command(after_help = REACH)]
    Revoke {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// From whom.
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// Why, for journal and ledger.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// All delegations that administrators granted.
    #[command(after_help = REACH)]
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// `vaguemestre mailbox absence`.
#[derive(Debug, clap::Args)]
pub(super) struct Absence {
    /// The mailbox.
    #[arg(value_name = "ADDRESS")]
    pub(super) address: String,
    /// Who stands in: a professional of the trust space.
    #[arg(long, value_name = "ADDRESS", requires_all = ["until", "reason"])]
    pub(super) substitute: Option<String>,
    /// The first day, YYYY-MM-DD; from now on when it is left out.
    #[arg(long, value_name = "DAY", requires = "substitute")]
    pub(super) from: Option<String>,
    /// The last day, YYYY-MM-DD.
    #[arg(long, value_name = "DAY", requires = "substitute")]
    pub(super) until: Option<String>,
    /// What senders read besides, before the sentences that name the substitute.
    #[arg(long, value_name = "TEXT", requires = "substitute")]
    pub(super) text: Option<String>,
    /// What the substitute may do in the mailbox in that time, e.g. lrsw; see `team grant --help`.
    #[arg(long, value_name = "LETTERS", requires = "substitute")]
    pub(super) delegate: Option<String>,
    /// Whoever was away is back.
    #[arg(long, requires = "reason", conflicts_with = "substitute")]
    pub(super) off: bool,
    /// Why, for journal and ledger.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Team) -> Result<(), Failure> {
    let (request, config, format) = match command {
        Team::Grant { mailbox, to, rights, until, reason, config, format } => {
            (team::Request::Grant { mailbox, to, rights, until, reason }, config, format)
        }
        Team::Revoke { mailbox, to, reason, config, format } => {
            (team::Request::Revoke { mailbox, to, reason }, config, format)
        }
        Team::List { config, format } => (team::Request::List {}, config, format),
    };
    ask(request, &config, format).await
}

/// Asks the relay about an absence and shows its answer.
pub(super) async fn ask_absence(absence: Absence) -> Result<(), Failure> {
    let Absence { address: mailbox, substitute, from, until, text, delegate, off, .. } = absence;
    let reason = absence.reason.unwrap_or_default();
    let request = match (off, substitute, until) {
        (true, ..) => team::Request::EndAway { mailbox, reason },
        (false, Some(substitute), Some(until)) => {
            team::Request::SetAway { mailbox, substitute, from, until, text, delegate, reason }
        }
        _ => team::Request::Away { mailbox },
    };
    ask(request, &absence.config, absence.format).await
}

async fn ask(request: team::Request, config: &ConfigFile, format: Format) -> Result<(), Failure> {
    match commands::reach_with(config, control::Request::Team(request)).await? {
        Response::Team(answer) => show(&answer, format),
        other => commands::unexpected(&other),
    }
}

fn show(answer: &team::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        team::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        team::Answer::Done(text) => output::print_line(text)?,
        team::Answer::Waits(petition) => approval::show_waiting(petition, format)?,
        team::Answer::Away(away) if format.json => output::print_json(away)?,
        team::Answer::Away(away) => {
            let mut table = Table::new(&["Mailbox", "Substitute", "From", "Until", "State", "Why"]);
            if let Some(one) = away {
                table.row([
                    &*one.mailbox,
                    &one.substitute,
                    &one.from,
                    &one.until,
                    &one.state,
                    &one.reason,
                ]);
            }
            output::print_table(&table, "No absence is recorded for this mailbox.")?;
        }
        team::Answer::List(lines) if format.json => output::print_json(lines)?,
        team::Answer::List(lines) => {
            let mut table =
                Table::new(&["Mailbox", "To", "Rights", "Since", "Until", "Who", "Why"]);
            for line in lines {
                let until = line.until.as_deref().unwrap_or("no end");
                table.row([
                    &*line.mailbox,
                    &line.to,
                    &line.rights,
                    &line.since,
                    until,
                    &line.author,
                    &line.reason,
                ]);
            }
            output::print_table(&table, "Nothing is delegated: `team grant` does it.")?;
        }
    }
    Ok(())
}
