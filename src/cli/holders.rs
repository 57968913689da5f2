//! `vaguemestre mailbox holder`, `mailbox app-password` and `mailbox factors`.
use clap::Args;
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
use crate::server::control::holders;
use crate::server::control::wire::Response;

/// `vaguemestre mailbox holder`.
#[derive(Debug, Subcommand)]
pub(super) enum Holder {
    /// Let a professional open the mailbox with their own identity.
    ///
    /// Whoever shows it (a token of Pro Santé Connect, an entry of the hospital's directory) may
    /// then log in to this mailbox. A mailbox PER has one holder; ORG, APP and CAB have several.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Example:
  vaguemestre mailbox holder add cardio@hopital.mssante.fr 810001045367 --reason \"joins the team\""))]
    Add {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// The professional: 8 and the RPPS number.
        #[arg(value_name = "NATIONAL_ID")]
        national_id: String,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// A professional no longer holds the mailbox.
    #[command(after_help = REACH)]
    Remove {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// The professional: 8 and the RPPS number.
        #[arg(value_name = "NATIONAL_ID")]
        national_id: String,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Who holds the mailbox.
    #[command(after_help = REACH)]
    List {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// `vaguemestre mailbox app-password`.
#[derive(Debug, Subcommand)]
pub(super) enum AppPassword {
    /// Make a password for one program. It is shown once.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre mailbox app-password add labo@hopital.mssante.fr --name analyser --scope send \\
    --network 10.12.0.0/16 --days 365 --reason \"results\"
  vaguemestre mailbox app-password add dr.martin@hopital.mssante.fr --name telephone \\
    --reason \"asked by telephone, called back\""))]
    Add {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// What its owner calls it; one name a mailbox.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// What it is good for: send, read or send,read.
        #[arg(long, value_name = "SCOPE", default_value = "send,read")]
        scope: String,
        /// The only network from which it is good, e.g. 192.0.2.0/24. Default: everywhere.
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
        /// It ends after so many days. Default: when it is revoked.
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// The app passwords of a mailbox, with their last use.
    #[command(after_help = REACH)]
    List {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// End one, and at once every session that it opened.
    #[command(after_help = REACH)]
    Revoke {
        /// The mailbox.
        #[arg(value_name = "ADDRESS")]
        mailbox: String,
        /// Its name.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// `vaguemestre mailbox factors`.
#[derive(Debug, Args)]
pub(super) struct Factors {
    /// The mailbox.
    #[arg(value_name = "ADDRESS")]
    mailbox: String,
    /// Forget them all: telephone and recovery codes are lost.
    #[arg(long, requires = "reason")]
    reset: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", requires = "reset")]
    reason: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay about second factors and shows its answer.
pub(super) async fn factors(command: Factors) -> Result<(), Failure> {
    let Factors { mailbox, reset, reason, config, format } = command;
    let request = match reason.filter(|_| reset) {
        Some(reason) => holders::Request::ResetFactors { mailbox, reason },
        None => holders::Request::Factors { mailbox },
    };
    ask(request, &config, format).await
}

/// Asks the relay about an administrator's passkeys and shows its answer.
pub(super) async fn passkeys(
    name: String,
    reset: Option<String>,
    config: &ConfigFile,
    format: Format,
) -> Result<(), Failure> {
    let request = match reset {
        Some(reason) => holders::Request::ResetAdministratorPasskeys { name, reason },
        None => holders::Request::AdministratorPasskeys { name },
    };
    ask(request, config, format).await
}

/// Asks the relay about holders and shows its answer.
pub(super) async fn holder(command: Holder) -> Result<(), Failure> {
    let (request, config, format) = match command {
        Holder::Add { mailbox, national_id, reason, config, format } => {
            (holders::Request::AddHolder { mailbox, national_id, reason }, config, format)
        }
        Holder::Remove { mailbox, national_id, reason, config, format } => {
            (holders::Request::RemoveHolder { mailbox, national_id, reason }, config, format)
        }
        Holder::List { mailbox, config, format } => {
            (holders::Request::Holders { mailbox }, config, format)
        }
    };
    ask(request, &config, format).await
}

/// Asks the relay about app passwords and shows its answer.
pub(super) async fn app_password(command: AppPassword) -> Result<(), Failure> {
    let (request, config, format) = match command {
        AppPassword::Add { mailbox, name, scope, network, days, reason, config, format } => {
            let add =
                holders::Request::AddAppPassword { mailbox, name, scope, network, days, reason };
            (add, config, format)
        }
        AppPassword::List { mailbox, config, format } => {
            (holders::Request::AppPasswords { mailbox }, config, format)
        }
        AppPassword::Revoke { mailbox, name, reason, config, format } => {
            (holders::Request::RevokeAppPassword { mailbox, name, reason }, config, format)
        }
    };
    ask(request, &config, format).await
}

async fn ask(
    request: holders::Request,
    config: &ConfigFile,
    format: Format,
) -> Result<(), Failure> {
    match commands::reach_with(config, control::Request::Holders(request)).await? {
        Response::Holders(answer) => show(&answer, format),
        other => commands::unexpected(&other),
    }
}

fn show(answer: &holders::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        holders::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        holders::Answer::Done(text) => output::print_line(text)?,
        holders::Answer::Waits(petition) => approval::show_waiting(petition, format)?,
        holders::Answer::Made(made) if format.json => output::print_json(made)?,
        holders::Answer::Made(made) => {
            output::print_line(&made.password)?;
            output::tell("It is shown this once; groups and letter case do not matter.");
        }
        holders::Answer::Factors(line) if format.json => output::print_json(line)?,
        holders::Answer::Factors(line) => {
            let codes =
                line.codes_since.as_ref().map(|since| format!("one-time codes since {since}"));
            let passkeys = match line.passkeys {
                0 => None,
                1 => Some("1 passkey".to_owned()),
                many => Some(format!("{many} passkeys")),
            };
            let factors: Vec<String> = codes.into_iter().chain(passkeys).collect();
            match factors.is_empty() {
                true => output::print_line(&format!("{}: no second factor.", line.mailbox))?,
                false => output::print_line(&format!(
                    "{}: {}; {} recovery codes are left.",
                    line.mailbox,
                    factors.join(", "),
                    line.recovery_codes
                ))?,
            }
        }
        holders::Answer::Holders(lines) if format.json => output::print_json(lines)?,
        holders::Answer::Holders(lines) => {
            let mut table = Table::new(&["Mailbox", "Holder", "Since"]);
            for line in lines {
                table.row([&line.mailbox, &line.national_id, &line.since]);
            }
            output::print_table(
                &table,
                "Nobody holds this mailbox: `mailbox holder add` does it.",
            )?;
        }
        holders::Answer::AppPasswords(lines) if format.json => output::print_json(lines)?,
        holders::Answer::AppPasswords(lines) => {
            let heading = [
                "Name", "For", "From", "Made", "By", "Until", "State", "Last use", "At", "By door",
            ];
            let mut table = Table::new(&heading);
            for line in lines {
                let used = line.last_use.as_ref();
                table.row([
                    &*line.name,
                    &line.scope,
                    line.network.as_deref().unwrap_or("everywhere"),
                    &line.created,
                    &line.author,
                    line.until.as_deref().unwrap_or("revoked"),
                    &line.state,
                    used.map_or("never", |used| &used.at),
                    used.and_then(|used| used.address.as_deref()).unwrap_or(""),
                    used.map_or("", |used| &used.door),
                ]);
            }
            output::print_table(&table, "This mailbox has no app passwords.")?;
        }
    }
    Ok(())
}
