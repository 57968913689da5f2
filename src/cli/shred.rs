//! `vaguemestre shred`: letters and mailboxes destroyed for good, with a receipt.
use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::approval::show_waiting;
use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::audit::write_new;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::shred::Answer;
use crate::server::control::shred::Request;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Shred {
    /// Destroy a letter everywhere here: in all mailboxes and in the queue, at once and for good.
    ///
    /// Its wrapped keys go, its content is overwritten where it is a file, and a signed receipt
    /// says what was destroyed and what may remain (backups, copies elsewhere). Every mailbox is
    /// looked through, which takes a while where there are very many.
    #[command(after_help = REACH)]
    Message {
        /// The id under which it was taken in ("250 Queued as ...").
        #[arg(long, value_name = "QUEUE_ID", required_unless_present = "mailbox")]
        letter: Option<String>,
        /// Or: a mailbox in which it lies, with --uid.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "letter", requires = "uid")]
        mailbox: Option<String>,
        /// The number of the folder there; 1 is the inbox.
        #[arg(long, default_value_t = 1)]
        folder: u32,
        /// Its UID there.
        #[arg(long)]
        uid: Option<u32>,
        /// Although mailboxes.retention_seconds holds letters; always needs a second administrator.
        #[arg(long)]
        over_retention: bool,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Destroy a mailbox at once: its keys, their escrow, then everything in it.
    #[command(after_help = REACH)]
    Mailbox {
        /// Its address.
        address: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Print a receipt, or write it and its signature to files.
    #[command(after_help = REACH)]
    Receipt {
        /// Its name.
        id: String,
        /// Where to; the signature goes to FILE.asc (`gpg --verify FILE.asc FILE`).
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// The last receipts.
    #[command(after_help = REACH)]
    Receipts {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Shred) -> Result<(), Failure> {
    let (request, config, format, to) = match command {
        Shred::Message { letter, mailbox, folder, uid, over_retention, why, config, format } => {
            let request = Request::Message { letter, mailbox, folder, uid, over_retention, why };
            (request, config, format, None)
        }
        Shred::Mailbox { address, why, config, format } => {
            (Request::Mailbox { address, why }, config, format, None)
        }
        Shred::Receipt { id, to, config } => {
            (Request::Receipt { id }, config, Format { json: false }, to)
        }
        Shred::Receipts { config, format } => (Request::Receipts {}, config, format, None),
    };
    match commands::reach_with(&config, control::Request::Shred(request)).await? {
        Response::Shred(Answer::Done(text)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Shred(Answer::Done(text)) => output::print_line(&text)?,
        Response::Shred(Answer::Waits(petition)) => show_waiting(&petition, format)?,
        Response::Shred(Answer::Receipt { text, signature }) => match to {
            None => output::print(&format!("{text}{signature}"))?,
            Some(file) => {
                let mut beside = file.clone().into_os_string();
                beside.push(".asc");
                write_new(&file, &text)?;
                write_new(&PathBuf::from(beside), &signature)?;
            }
        },
        Response::Shred(Answer::Receipts(receipts)) if format.json => {
            output::print_json(&receipts)?;
        }
        Response::Shred(Answer::Receipts(receipts)) => {
            let mut table = Table::new(&["Receipt", "Of", "When", "By"]);
            for (id, text) in &receipts {
                let value: serde_json::Value = serde_json::from_str(text)?;
                let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                table.row([id.clone(), part("of"), part("at"), part("by")]);
            }
            output::print_table(&table, "Nothing was shredded.")?;
        }
        other => commands::unexpected(&other)?,
    }
    Ok(())
}
