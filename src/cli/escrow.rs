//! `vaguemestre escrow`: keys under a quorum of administrators.
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::audit::write_new;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::domain::secret::Secret;
use crate::infra::keys::escrow::Share;
use crate::infra::keys::peers::PeerCertificate;
use crate::relay;
use crate::server::control;
use crate::server::control::Caller;
use crate::server::control::escrow::Answer;
use crate::server::control::escrow::HolderLine;
use crate::server::control::escrow::Request;
use crate::server::control::escrow::ShareText;
use crate::server::control::escrow::StatusLine;
use crate::server::control::wire::Response;

/// Octets of all certificates together, as they go over the control socket.
const CERTIFICATES_OCTETS_MAX: usize = 60_000;
/// Octets of a share that somebody gives.
const SHARE_OCTETS_MAX: u64 = 4_096;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Escrow {
    /// Make the escrow: all keys, sealed so that a quorum of administrators opens them.
    ///
    /// Each certificate is an administrator's own OpenPGP certificate. For each one a file
    /// share-FINGERPRINT.asc is written: their share, which only they can open.
    #[command(after_help = REACH)]
    Setup {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Another escrow in its place, when an administrator leaves or a share is lost.
    ///
    /// All keys are sealed anew; shares of the earlier escrow open nothing any more.
    #[command(after_help = REACH)]
    Rotate {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Who has shares, how many keys are in escrow, when the last drill was.
    #[command(after_help = REACH)]
    Status {
        /// Also write the sealed shares to files again, in this folder.
        #[arg(long, value_name = "FOLDER")]
        shares: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Begin a drill: prove that recovery works, without showing a key to anybody.
    ///
    /// Administrators then give their shares, within a quarter of an hour, each at their own place:
    /// gpg --decrypt share-....asc | vaguemestre escrow give --share -
    /// With the last one of the quorum every key is taken out of escrow and compared with the one
    /// in use. The relay must run: shares are kept in its memory only.
    Drill {
        /// Only so many mailboxes, drawn by lot, beside the relay's own keys. Without it, all.
        #[arg(long, value_name = "MAILBOXES", value_parser = clap::value_parser!(u32).range(1..))]
        sample: Option<u32>,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT", default_value = "a drill of recovery")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Give a share, for a drill or a recovery that somebody began.
    Give {
        /// The decrypted share: a file, or - for standard input.
        #[arg(long, value_name = "FILE")]
        share: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Wipe the shares that were given.
    Cancel {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Bring keys back: those of a mailbox whose row is damaged, or the lost master key.
    ///
    /// --mailbox begins a collection of shares on the running relay, as a drill does. --master-key
    /// works on a stopped relay and takes the decrypted shares as files: the key is written to a
    /// new file, which `storage.master_key` then names.
    Recover {
        /// The mailbox whose keys are damaged.
        #[arg(long, value_name = "ADDRESS", required_unless_present = "master_key")]
        mailbox: Option<String>,
        /// Where to write the master key; nothing there is overwritten.
        #[arg(long, value_name = "FILE", conflicts_with = "mailbox", requires = "share")]
        master_key: Option<PathBuf>,
        /// A decrypted share; say it as often as the quorum needs.
        #[arg(long, value_name = "FILE")]
        share: Vec<PathBuf>,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT", default_value = "keys were lost")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// A new escrow.
#[derive(Debug, clap::Args)]
pub(super) struct Made {
    /// How many shares open it.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=16))]
    quorum: u8,
    /// Files with the administrators' certificates: `gpg --export --armor`.
    #[arg(value_name = "CERTIFICATE", required = true, num_args = 2..=16)]
    certificates: Vec<PathBuf>,
    /// The folder for the files with the sealed shares.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    to: PathBuf,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it and shows what came of it.
pub(super) async fn run(command: Escrow) -> Result<(), Failure> {
    match command {
        Escrow::Setup { made, config, format } => make(made, false, &config, format).await,
        Escrow::Rotate { made, config, format } => make(made, true, &config, format).await,
        Escrow::Status { shares, config, format } => {
            match ask(&config, Request::Status {}).await? {
                Answer::Status(status) => {
                    if let Some(folder) = shares {
                        write_shares(&folder, &status.holders)?;
                    }
                    show_status(&status, format)
                }
                other => show(&other, format),
            }
        }
        Escrow::Drill { sample, reason, config, format } => {
            show(&ask(&config, Request::Drill { sample, reason }).await?, format)
        }
        Escrow::Give { share, config, format } => {
            let share = ShareText(read_share(&share)?.expose().clone());
            show(&ask(&config, Request::Give { share }).await?, format)
        }
        Escrow::Cancel { config } => {
            show(&ask(&config, Request::Cancel {}).await?, Format { json: false })
        }
        Escrow::Recover { mailbox: Some(mailbox), reason, config, format, .. } => {
            show(&ask(&config, Request::Recover { mailbox, reason }).await?, format)
        }
        Escrow::Recover { master_key, share, config, .. } => {
            let to = master_key.context("--mailbox or --master-key")?;
            recover_master(&to, &share, &config).await
        }
    }
}

async fn ask(config: &ConfigFile, request: Request) -> Result<Answer, Failure> {
    match commands::reach_with(config, control::Request::Escrow(request)).await? {
        Response::Escrow(answer) => Ok(answer),
        other => {
            commands::unexpected(&other)?;
            Err(anyhow::anyhow!("no answer").into())
        }
    }
}

async fn make(made: Made, anew: bool, config: &ConfigFile, format: Format) -> Result<(), Failure> {
    let mut certificates = Vec::with_capacity(made.certificates.len());
    for file in &made.certificates {
        let octets = std::fs::read(file);
        let octets = octets.with_context(|| format!("cannot read {}", file.display()))?;
        let read = PeerCertificate::read(&octets);
        let read = read.with_context(|| file.display().to_string())?;
        certificates.push(read.to_armour()?);
    }
    if certificates.iter().map(String::len).sum::<usize>() > CERTIFICATES_OCTETS_MAX {
        return Err(anyhow::anyhow!(
            "the certificates are too large together: export them with \
             `gpg --export-options export-minimal --export --armor`"
        )
        .into());
    }
    // Before anything is made: nobody should have an escrow and no place for its shares.
    if !made.to.is_dir() {
        return Err(anyhow::anyhow!("{} is no folder", made.to.display()).into());
    }
    let request = Request::SetUp { quorum: made.quorum, certificates, anew, reason: made.reason };
    match ask(config, request).await? {
        Answer::Made { holders, sealed } => {
            let files = write_shares(&made.to, &holders)?;
            if format.json {
                let value = serde_json::json!({ "sealed": sealed, "shares": files });
                return Ok(output::print_json(&value)?);
            }
            output::print_line(&format!(
                "The escrow is made: {} of {} administrators open it. {sealed} keys are in it.\n\
                 Give each administrator their file, and begin a drill: vaguemestre escrow drill",
                made.quorum,
                holders.len()
            ))?;
            for file in files {
                output::print_line(&format!("  {}", file.display()))?;
            }
            Ok(())
        }
        other => show(&other, format),
    }
}

fn write_shares(folder: &Path, holders: &[HolderLine]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::with_capacity(holders.len());
    for holder in holders {
        let file = folder.join(format!("share-{}.asc", holder.fingerprint));
        // A share of an earlier escrow may lie there: it opens nothing any more.
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        write_new(&file, &holder.share)?;
        files.push(file);
    }
    Ok(files)
}

fn read_share(file: &Path) -> anyhow::Result<Secret<String>> {
    let mut text = String::with_capacity(SHARE_OCTETS_MAX as usize);
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(SHARE_OCTETS_MAX).read_to_string(&mut text),
        _ => std::fs::File::open(file)
            .and_then(|open| open.take(SHARE_OCTETS_MAX).read_to_string(&mut text)),
    };
    let text = Secret::new(text);
    read.with_context(|| format!("cannot read the share {}", file.display()))?;
    Ok(text)
}

async fn recover_master(to: &Path, files: &[PathBuf], config: &ConfigFile) -> Result<(), Failure> {
    let mut shares = Vec::with_capacity(files.len());
    for file in files {
        let share = Share::parse(read_share(file)?.expose());
        shares.push(share.with_context(|| file.display().to_string())?);
    }
    let data_dir = commands::data_dir(&config.file)?;
    relay::recover_master(&data_dir, &shares, to, &Caller::own().author).await?;
    Ok(output::print_line(&format!(
        "The master key is in {}. Name it in storage.master_key and start the relay; the recovery \
         is then told in journal and ledger.",
        to.display()
    ))?)
}

fn show(answer: &Answer, format: Format) -> Result<(), Failure> {
    if format.json {
        output::print_json(answer)?;
    }
    match answer {
        Answer::Waiting { have, need, until } if !format.json => output::print_line(&format!(
            "{have} of {need} shares are here. The others must be given before {until}:\n  \
             gpg --decrypt share-FINGERPRINT.asc | vaguemestre escrow give --share -"
        ))?,
        Answer::Drilled { keys, good, missing, wrong, all } => {
            if !format.json {
                let drawn = match keys == all {
                    true => String::new(),
                    false => format!(" These were drawn from {all}."),
                };
                output::print_line(&format!(
                    "{good} of {keys} keys came out of escrow just as they are in use; {missing} \
                     are not in escrow, {wrong} did not come back.{drawn} Shares and keys are wiped."
                ))?;
            }
            if good != keys {
                return Err(anyhow::anyhow!("the drill failed: not every key came back").into());
            }
        }
        Answer::Done(text) if !format.json => output::print_line(text)?,
        Answer::Status(_) | Answer::Made { .. } if !format.json => {
            output::print_json(answer)?;
        }
        _ => {}
    }
    Ok(())
}

fn show_status(status: &StatusLine, format: Format) -> Result<(), Failure> {
    if format.json {
        return Ok(output::print_json(status)?);
    }
    let drilled = match &status.drilled {
        Some(at) => format!("the last drill was on {at}"),
        None => "there was no drill yet".to_owned(),
    };
    let due = if status.drill_due { "; one is due" } else { "" };
    output::print_line(&format!(
        "{} of {} administrators open it, since {} (by {}); {drilled}{due}.\n\
         {} of {} keys are in escrow.",
        status.quorum,
        status.holders.len(),
        status.since,
        status.author,
        status.covered,
        status.keys
    ))?;
    let mut table = Table::new(&["Share", "Certificate", "Of", "Ends", "State"]);
    for holder in &status.holders {
        table.row([
            holder.number.to_string(),
            holder.fingerprint.clone(),
            holder.names.clone(),
            holder.expires.clone().unwrap_or_else(|| "never".to_owned()),
            holder.flaw.clone().unwrap_or_else(|| "good".to_owned()),
        ]);
    }
    Ok(output::print_table(&table, "Nobody has a share.")?)
}
