//! `vaguemestre keys master …`: the operator's master key and its versions.
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::commands::Found;
use crate::cli::output;
use crate::cli::output::Table;
use crate::flow::office::Office;
use crate::flow::rewrap::Outcome;
use crate::infra::config::Config;
use crate::infra::keys::master as keys;
use crate::proto::key_source::KeySource;
use crate::server::control;
use crate::server::control::Caller;
use crate::server::control::master;
use crate::server::control::master::Walk;
use crate::server::control::wire::Response;

/// How often a long walk is asked how far it is.
const STEP: Duration = Duration::from_secs(1);
/// The first time sooner: most walks are over by then.
const FIRST_STEP: Duration = Duration::from_millis(200);

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Master {
    /// Which versions there are, and how many keys each still wraps.
    ///
    /// A version is `current` (everything new is wrapped by it), `old` (something is perhaps still
    /// wrapped by it: keep its key in storage.master_keys_old) or `retired` (not needed any more:
    /// destroy its key). One key a mailbox is counted, and those of the relay itself.
    #[command(after_help = REACH)]
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Make the file of a new master key, mode 600.
    ///
    /// Never overwrites a file, and changes nothing else: docs/operations/keys.md says what comes
    /// then. Run it as the relay's user, or give the file to it.
    #[command(after_help = "\
Example:
  sudo -u vaguemestre vaguemestre keys master new /etc/vaguemestre/master-2.key")]
    New {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make an AES key inside a hardware token, from where nobody gets it out.
    ///
    /// The token has been initialised with its vendor's program, and its PIN stands in a file of
    /// mode 600. Never beside a key of the same name. Changes nothing else.
    #[command(after_help = "\
Example:
  vaguemestre keys master init-token 'pkcs11:token=vaguemestre;object=master-2\\
?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/vaguemestre/pin'")]
    InitToken {
        /// The token, and the name of the key, as in storage.master_key.
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Wrap everything by the current master key; says how far it is until it is done.
    ///
    /// A relay that starts with another storage.master_key does this by itself. This command lets
    /// it begin again, if it stopped, and shows it. Interrupting the command does not interrupt a
    /// running relay; on a stopped one the next run goes on where this one was.
    #[command(after_help = REACH)]
    Rewrap {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Give up what lies in a mailbox whose key is damaged: nothing of it can be read, ever.
    ///
    /// Try `escrow recover --mailbox`, or a backup, first. The mailbox gets another key, so that
    /// letters can come again, and no older master key is needed for it any more. Refused for a
    /// mailbox whose key opens. Restart the relay afterwards.
    #[command(after_help = REACH)]
    GiveUp {
        /// The mailbox, or `-` to read it from standard input.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Also when its keys are in escrow, and did not come back from there.
        #[arg(long)]
        despite_escrow: bool,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// Does it.
pub(in crate::cli) async fn run(command: Master) -> Result<(), Failure> {
    match command {
        Master::Status { config, format } => {
            match ask(&config, master::Request::Status {}).await? {
                master::Answer::Status(status) => show(&status, format),
                other => unexpected(other),
            }
        }
        Master::New { file } => new(&file),
        Master::InitToken { uri } => init_token(&uri).await,
        Master::Rewrap { config, format } => rewrap(&config, format).await,
        Master::GiveUp { address, despite_escrow, reason, config } => {
            let address = commands::address_of(&address)?.to_string();
            let request = master::Request::GiveUp { address, reason, despite_escrow };
            match ask(&config, request).await? {
                master::Answer::GivenUp {} => Ok(output::print_line(
                    "Given up: the mailbox has another key. What lay there is unreadable for ever.",
                )?),
                other => unexpected(other),
            }
        }
    }
}

fn new(file: &Path) -> Result<(), Failure> {
    keys::make_file(file)?;
    output::print_line(&format!("{} holds a new master key.", file.display()))?;
    output::tell("Keep a copy of it elsewhere, and not with the backup of the data folder.");
    Ok(())
}

async fn init_token(uri: &str) -> Result<(), Failure> {
    let source = KeySource::parse(uri).context("the URI")?;
    if !matches!(source, KeySource::Token(_)) {
        return Err(anyhow::anyhow!("a pkcs11: URI is expected").into());
    }
    tokio::task::spawn_blocking(move || keys::make_in_token(&source)).await??;
    output::print_line("The token holds a new key.")?;
    Ok(())
}

async fn ask(config: &ConfigFile, request: master::Request) -> Result<master::Answer, Failure> {
    match commands::reach_with(config, control::Request::Master(request)).await? {
        Response::Master(answer) => Ok(answer),
        _ => {
            Err(anyhow::anyhow!("the relay gave an answer that this program does not know").into())
        }
    }
}

fn unexpected(answer: master::Answer) -> Result<(), Failure> {
    commands::unexpected(&Response::Master(answer))
}

async fn rewrap(file: &ConfigFile, format: Format) -> Result<(), Failure> {
    let config = Config::load_despite_certificates(&file.file).map_err(Failure::Configuration)?;
    let request = control::Request::Master(master::Request::Rewrap {});
    match commands::find_relay(&config, &request).await? {
        Found::Running(Response::Master(_)) => {}
        Found::Running(Response::Failed(reason)) => return Err(anyhow::anyhow!(reason).into()),
        Found::Running(other) => return commands::unexpected(&other),
        Found::Stopped(office, _log) => return rewrap_here(&office, format).await,
    }
    let mut pause = FIRST_STEP;
    loop {
        tokio::time::sleep(pause).await;
        pause = STEP;
        match ask(file, master::Request::Progress {}).await? {
            master::Answer::Progress { needed: false, walk } => {
                return ended(walk.as_ref(), format);
            }
            master::Answer::Progress { walk: Some(walk), .. } => {
                if walk.ended.is_some() && !walk.running {
                    return ended(Some(&walk), format);
                }
                tell(&walk);
            }
            master::Answer::Progress { walk: None, .. } => {}
            other => return unexpected(other),
        }
    }
}

/// On a stopped relay this process does it.
async fn rewrap_here(office: &Arc<Office>, format: Format) -> Result<(), Failure> {
    let mut last: Option<Walk> = None;
    let mut told = office.clock.now();
    let on_step = |walk: &Walk| {
        let now = office.clock.now();
        if now.since(told) >= STEP {
            told = now;
            tell(walk);
        }
        last = Some(walk.clone());
    };
    let outcome = master::rewrap_here(office, &Caller::own(), on_step).await;
    match outcome.map_err(|reason| anyhow::anyhow!(reason))? {
        Outcome::Nothing => ended(None, format),
        Outcome::Done(_) | Outcome::Left(_) => ended(last.as_ref(), format),
    }
}

fn tell(walk: &Walk) {
    let Walk { done, total, .. } = walk;
    let share = if *total == 0 { 100 } else { done * 100 / total };
    output::tell(&format!("{done} of {total} keys ({share} %)"));
}

fn ended(walk: Option<&Walk>, format: Format) -> Result<(), Failure> {
    if format.json {
        output::print_json(&walk)?;
    }
    match walk {
        Some(walk) if walk.failed > 0 => {
            return Err(anyhow::anyhow!(
                "{} keys do not open and are left as they are; the relay's log names their \
                 mailboxes. Keep the older master keys",
                walk.failed
            )
            .into());
        }
        _ if format.json => {}
        Some(walk) => output::print_line(&format!(
            "Everything is wrapped by version {} of the master key ({} keys looked at).",
            walk.version, walk.done
        ))?,
        None => output::print_line("Everything is wrapped by the current master key.")?,
    }
    Ok(())
}

fn show(status: &master::Status, format: Format) -> Result<(), Failure> {
    if format.json {
        output::print_json(status)?;
        return Ok(());
    }
    let mut table =
        Table::new(&[">Version", "State", ">Keys", "Since", "At hand", "Where it lies"]);
    for line in &status.versions {
        table.row([
            &*line.version.to_string(),
            &line.state,
            &line.keys.to_string(),
            &line.since,
            if line.at_hand { "yes" } else { "no" },
            &line.source,
        ]);
    }
    output::print_table(&table, "There is no version yet.")?;
    if let Some(walk) = &status.rewrap {
        match (&walk.ended, walk.running) {
            (Some(ended), _) => output::print_line(&format!(
                "Everything was wrapped by version {} by {ended}.",
                walk.version
            ))?,
            (None, true) => output::print_line(&format!(
                "Wrapping by version {} goes on: {} of {} keys.",
                walk.version, walk.done, walk.total
            ))?,
            (None, false) => output::print_line(&format!(
                "Wrapping by version {} stopped at {} of {} keys; `keys master rewrap` goes on.",
                walk.version, walk.done, walk.total
            ))?,
        }
    }
    if status.damaged > 0 {
        output::print_line(&format!("{} rows hold no wrapped key: damaged.", status.damaged))?;
    }
    for mailbox in &status.failing {
        output::print_line(&format!(
            "The key of {mailbox} does not open, and keeps the older versions needed: bring it \
             back (escrow recover --mailbox, or a backup), or keys master give-up."
        ))?;
    }
    for line in status.versions.iter().filter(|line| line.state == "retired" && line.at_hand) {
        output::print_line(&format!(
            "Version {} is not needed: take it out of storage.master_keys_old.",
            line.version
        ))?;
    }
    Ok(())
}
