//! `vaguemestre mailbox …`: the life of a mailbox, and lists of mailboxes to be made.
mod import; // a list, line by line

use clap::Args;
use clap::Subcommand;

use crate::cli::approval;
use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::Kind;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::domain::mailbox::MailboxKind;
use crate::server::control;
use crate::server::control::life;
use crate::server::control::life::StateLine;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Life {
    /// Take an address for a mailbox that opens later.
    ///
    /// Its keys and folders are made; nobody logs in to it and nothing is delivered before
    /// `mailbox activate`. The address is taken for ever.
    #[command(after_help = REACH)]
    Request {
        /// The address, or `-` to read it from standard input.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// PER a professional, ORG a team, APP a program, CAB a practice, CTN a patient.
        #[arg(long, value_enum, ignore_case = true)]
        kind: Kind,
        /// What people call it, e.g. "Dr Marie MARTIN".
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// Hide it in the public directory (liste rouge).
        #[arg(long)]
        red_list: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Open a requested mailbox.
    #[command(after_help = REACH)]
    Activate(Step),
    /// Put a mailbox out of use: no login, no letters out or in, until `mailbox resume`.
    #[command(after_help = REACH)]
    Suspend(Step),
    /// Put a suspended mailbox into use again.
    #[command(after_help = REACH)]
    Resume(Step),
    /// Hide a mailbox in the public directory (liste rouge). It receives all the same.
    #[command(after_help = REACH)]
    Hide(Step),
    /// Show a mailbox in the public directory.
    #[command(after_help = REACH)]
    Show(Step),
    /// Close a mailbox; `mailbox undo-close` brings it back within life.closing_days.
    ///
    /// From now on nobody logs in and senders hear that it is closed. After life.closing_days its
    /// contents and keys are destroyed; nobody can read them then, whoever has the disk. Its address
    /// is never given to anybody again.
    #[command(after_help = REACH)]
    Close(Step),
    /// Bring a closing mailbox back as it was.
    #[command(after_help = REACH)]
    UndoClose(Step),
    /// Destroy the contents and keys of a closing mailbox now. Nothing brings them back.
    #[command(after_help = REACH)]
    Delete(Step),
    /// Keep a mailbox that nobody logs in to: its year begins anew.
    #[command(after_help = REACH)]
    Oppose(Step),
    /// Where a mailbox is in its life, also one that is closed.
    #[command(after_help = REACH)]
    State(Look),
    /// Every step of a mailbox's life: who, when, why.
    #[command(after_help = REACH)]
    History(Look),
    /// Mailboxes that are closed. Their addresses are given to nobody.
    #[command(after_help = REACH)]
    Closed {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Make the mailboxes of a CSV file.
    ///
    /// The header names the columns: address, kind, name, listing, holder (the RPPS number, needed
    /// for PER). Separated by ; or , in UTF-8. Each line is durable by itself: after an interruption
    /// run it again, and lines that are done are said to be there. Wrong lines are told and left
    /// out; then the exit code is 1.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre mailbox import mailboxes.csv --dry-run
  vaguemestre mailbox import mailboxes.csv --reason \"opening of the cardiology\" \\
    --results results.csv --passwords first-passwords.csv

config/samples/mailboxes.csv is an example with all columns."))]
    Import(import::Import),
}

/// A step.
#[derive(Debug, Args)]
pub(super) struct Step {
    /// The mailbox, or `-` to read it from standard input.
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    why: Why,
}

/// Why, and how.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Why, for the journal and the mailbox's history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// A look at one mailbox.
#[derive(Debug, Args)]
pub(super) struct Look {
    /// The mailbox, or `-` to read it from standard input.
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Life) -> Result<(), Failure> {
    let (name, step) = match command {
        Life::Request { address, kind, name, red_list, why } => {
            let address = commands::address_of(&address)?.to_string();
            let (kind, reason) = (MailboxKind::from(kind).code().to_owned(), why.reason);
            let request = life::Request::Ask { address, kind, name, red_list, reason };
            return ask(request, &why.config, why.format).await;
        }
        Life::State(Look { address, config, format }) => {
            let address = commands::address_of(&address)?.to_string();
            return ask(life::Request::State { address }, &config, format).await;
        }
        Life::History(Look { address, config, format }) => {
            let address = commands::address_of(&address)?.to_string();
            return ask(life::Request::History { address }, &config, format).await;
        }
        Life::Closed { config, format } => {
            return ask(life::Request::Closed {}, &config, format).await;
        }
        Life::Import(import) => return import::run(import).await,
        Life::Activate(step) => ("activate", step),
        Life::Suspend(step) => ("suspend", step),
        Life::Resume(step) => ("resume", step),
        Life::Hide(step) => ("hide", step),
        Life::Show(step) => ("show", step),
        Life::Close(step) => ("close", step),
        Life::UndoClose(step) => ("undo-close", step),
        Life::Delete(step) => ("delete", step),
        Life::Oppose(step) => ("oppose", step),
    };
    let address = commands::address_of(&step.address)?.to_string();
    let reason = step.why.reason;
    let request = life::Request::Step { address, step: name.to_owned(), reason };
    ask(request, &step.why.config, step.why.format).await
}

async fn ask(request: life::Request, config: &ConfigFile, format: Format) -> Result<(), Failure> {
    match commands::reach_with(config, control::Request::Life(request)).await? {
        Response::Life(answer) => show(&answer, format),
        other => commands::unexpected(&other),
    }
}

fn show(answer: &life::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        life::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        life::Answer::Done(text) => output::print_line(text)?,
        life::Answer::Waits(petition) => approval::show_waiting(petition, format)?,
        life::Answer::State(line) if format.json => output::print_json(line)?,
        life::Answer::State(line) => {
            output::print_table(&states(std::slice::from_ref(line)), "")?;
            for notice in &line.notices {
                let (at, days) = (&notice.at, notice.days_before);
                output::print_line(&format!("Told at {at}, {days} days before the closing."))?;
            }
        }
        life::Answer::Closed(lines) if format.json => output::print_json(lines)?,
        life::Answer::Closed(lines) => output::print_table(&states(lines), "None is closed.")?,
        life::Answer::History(lines) if format.json => output::print_json(lines)?,
        life::Answer::History(lines) => {
            let mut table = Table::new(&["When", "Who", "What", "From", "To", "Why"]);
            for line in lines {
                let from = line.from.as_deref().unwrap_or_default();
                table.row([&*line.at, &line.author, &line.step, from, &line.to, &line.reason]);
            }
            output::print_table(&table, "The mailbox is older than these records.")?;
        }
        life::Answer::Lines(lines) => output::print_json(lines)?,
    }
    Ok(())
}

fn states(lines: &[StateLine]) -> Table {
    let heading = ["Kind", "Address", "State", "Listing", "Since", "Until", "Last login"];
    let mut table = Table::new(&heading);
    for line in lines {
        table.row([
            &*line.kind,
            &line.address,
            &line.state,
            &line.listing,
            &line.since,
            line.until.as_deref().unwrap_or_default(),
            &line.last_login,
        ]);
    }
    table
}
