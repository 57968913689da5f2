//! `vaguemestre keys …`: certificates of OpenPGP, of our mailboxes and of people outside.
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::domain::limits;
use crate::infra::keys::peers::PeerCertificate;
use crate::server::control;
use crate::server::control::keys;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Certificates {
    /// All certificates of OpenPGP with their ends, nearest first.
    #[command(after_help = REACH)]
    List {
        /// Only those that end within so many days, or are over.
        #[arg(long, value_name = "DAYS")]
        expiring: Option<u64>,
        /// Only those that people here keep themselves.
        #[arg(long, group = "sort")]
        own: bool,
        /// Only those of people outside.
        #[arg(long, group = "sort")]
        contacts: bool,
        /// Only those of our mailboxes.
        #[arg(long, group = "sort")]
        mailboxes: bool,
        #[command(flatten)]
        options: Options,
    },
    /// What is known of an address: in use, own, revoked, pinned, changed.
    #[command(after_help = REACH)]
    Show(One),
    /// Print the certificate of an address, armoured: its own one if there is one.
    #[command(after_help = REACH)]
    Export(One),
    /// Take in certificates of people outside, or the own one of a mailbox here.
    ///
    /// Without --for the file may be a whole key ring: each certificate is pinned for the addresses
    /// outside that its user ids show. An address for which another one is pinned is left alone.
    #[command(after_help = REACH)]
    Import {
        /// Armoured or binary, public only.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// For this address. One of ours: as `keys own set`.
        #[arg(long = "for", value_name = "ADDRESS")]
        address: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Ask the Web Key Directory of an address's domain, now.
    #[command(after_help = REACH)]
    Look(One),
    /// Decide about people outside whose certificate has changed.
    #[command(subcommand)]
    Contact(ContactCommand),
    /// The certificates that people here keep themselves.
    #[command(subcommand)]
    Own(OwnCommand),
    /// Give a mailbox new subkeys. The old ones are shown as good for openpgp.overlap_days.
    #[command(after_help = REACH)]
    Rotate {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        why: Why,
    },
    /// Move the end of a mailbox's certificate to openpgp.validity_days from now.
    #[command(after_help = REACH)]
    Extend {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        why: Why,
    },
    /// Revoke the key of a mailbox and give it another one.
    ///
    /// The old certificate is published, revoked. Letters that lie here open as before.
    #[command(after_help = REACH)]
    Revoke {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// What others are told.
        #[arg(long, value_enum, default_value = "superseded")]
        code: Code,
        #[command(flatten)]
        why: Why,
    },
}

/// About people outside.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ContactCommand {
    /// Pin the certificate that is shown now; with --keep, keep the pinned one for good.
    #[command(after_help = REACH)]
    Accept {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Of the certificate that is shown now, as the person says it.
        #[arg(value_name = "FINGERPRINT")]
        fingerprint: String,
        /// The pinned one stays, and this one is not spoken of again.
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Forget what is pinned: the next certificate that is found is pinned.
    #[command(after_help = REACH)]
    Forget {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        why: Why,
    },
}

/// About people here.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OwnCommand {
    /// Register an own certificate: from now on the relay cannot open new letters of the mailbox.
    ///
    /// You vouch that its holder has the secret key and a copy of it: whoever loses it loses those
    /// letters. On the pages the holder proves it.
    #[command(after_help = REACH)]
    Set {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Armoured or binary, public only.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        why: Why,
    },
    /// Put the letters of before under the own certificate's seal as well.
    ///
    /// Each letter gets a new number (UID) and keeps its dates and marks; programs fetch it anew.
    /// It can be interrupted and begun again at any time. Whoever loses the key loses all of them.
    #[command(after_help = REACH)]
    Reseal {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take the registration back. Letters sealed to the own certificate stay so.
    #[command(after_help = REACH)]
    Remove {
        /// Whose.
        #[arg(value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Why a key is revoked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Code {
    /// Somebody else may have it.
    Compromised,
    /// Another one takes its place.
    Superseded,
    /// Nobody uses it any more.
    Retired,
}

/// One address.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct One {
    /// The address, or `-` to read it from standard input.
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    options: Options,
}

/// Why, and how.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Why {
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    options: Options,
}

/// Where and how.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Certificates) -> Result<(), Failure> {
    if let Certificates::Import { file, address, why } = command {
        return import(&file, address.as_deref(), why).await;
    }
    if let Certificates::Own(OwnCommand::Reseal { address, why }) = command {
        return reseal(&address, why).await;
    }
    let (request, options) = request(command)?;
    show(&ask(request, &options).await?, options.format)
}

async fn ask(request: keys::Request, options: &Options) -> Result<keys::Answer, Failure> {
    match commands::reach_with(&options.config, control::Request::Keys(request)).await? {
        Response::Keys(answer) => Ok(answer),
        other => {
            commands::unexpected(&other)?;
            Err(anyhow::anyhow!("no answer about certificates").into())
        }
    }
}

/// One question for each certificate: a line of the socket holds no key ring.
async fn import(file: &Path, address: Option<&str>, why: Why) -> Result<(), Failure> {
    let address = match address {
        Some(address) => Some(commands::address_of(address)?.to_string()),
        None => None,
    };
    let Why { reason, options } = why;
    let mut said = Vec::new();
    let ring = read(file)?;
    if address.is_some() && ring.len() > 1 {
        return Err(anyhow::anyhow!("--for is for a file with one certificate").into());
    }
    for certificate in ring {
        let (address, reason) = (address.clone(), reason.clone());
        match ask(keys::Request::Import { certificate, address, reason }, &options).await? {
            keys::Answer::Done(text) => said.push(text),
            other => show(&other, options.format)?,
        }
    }
    show(&keys::Answer::Done(said.join("\n")), options.format)
}

/// Step by step: the relay remembers nothing between them.
async fn reseal(address: &str, why: Why) -> Result<(), Failure> {
    let address = commands::address_of(address)?.to_string();
    let Why { reason, options } = why;
    let mut all = keys::Resealed { looked: 0, sealed: 0, unreadable: 0, next: None };
    loop {
        let (address, reason) = (address.clone(), reason.clone());
        let step = keys::Request::Reseal { address, from: all.next, reason };
        let done = match ask(step, &options).await? {
            keys::Answer::Resealed(done) => done,
            other => return show(&other, options.format),
        };
        all.looked += done.looked;
        all.sealed += done.sealed;
        all.unreadable += done.unreadable;
        all.next = done.next;
        if all.next.is_none() {
            return show(&keys::Answer::Resealed(all), options.format);
        }
        if !options.format.json {
            output::print_line(&format!(
                "{} letters looked at, {} sealed",
                all.looked, all.sealed
            ))?;
        }
    }
}

fn request(command: Certificates) -> Result<(keys::Request, Options), Failure> {
    let whole = |address: &str| -> Result<String, Failure> {
        Ok(commands::address_of(address)?.to_string())
    };
    Ok(match command {
        Certificates::List { expiring, own, contacts, mailboxes, options } => {
            let sort = [(own, "own"), (contacts, "contacts"), (mailboxes, "mailboxes")];
            let sort =
                sort.into_iter().find(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
            (keys::Request::List { sort, expiring }, options)
        }
        Certificates::Show(One { address, options }) => {
            (keys::Request::Show { address: whole(&address)? }, options)
        }
        Certificates::Export(One { address, options }) => {
            (keys::Request::Export { address: whole(&address)? }, options)
        }
        Certificates::Look(One { address, options }) => {
            (keys::Request::Look { address: whole(&address)? }, options)
        }
        Certificates::Import { .. } | Certificates::Own(OwnCommand::Reseal { .. }) => {
            return Err(anyhow::anyhow!("this is several questions").into());
        }
        Certificates::Contact(ContactCommand::Accept { address, fingerprint, keep, why }) => {
            let (address, accept, reason) = (whole(&address)?, !keep, why.reason);
            (keys::Request::Decide { address, fingerprint, accept, reason }, why.options)
        }
        Certificates::Contact(ContactCommand::Forget { address, why }) => {
            let address = whole(&address)?;
            (keys::Request::Forget { address, reason: why.reason }, why.options)
        }
        Certificates::Own(OwnCommand::Set { address, file, why }) => {
            let ring = read(&file)?;
            let [certificate] = ring.as_slice() else {
                return Err(anyhow::anyhow!("the file must hold one certificate").into());
            };
            let (address, certificate) = (whole(&address)?, certificate.clone());
            (keys::Request::SetOwn { address, certificate, reason: why.reason }, why.options)
        }
        Certificates::Own(OwnCommand::Remove { address, why }) => {
            let address = whole(&address)?;
            (keys::Request::RemoveOwn { address, reason: why.reason }, why.options)
        }
        Certificates::Rotate { address, why } => {
            let address = whole(&address)?;
            (keys::Request::Rotate { address, reason: why.reason }, why.options)
        }
        Certificates::Extend { address, why } => {
            let address = whole(&address)?;
            (keys::Request::Extend { address, reason: why.reason }, why.options)
        }
        Certificates::Revoke { address, code, why } => {
            let code = match code {
                Code::Compromised => "compromised",
                Code::Superseded => "superseded",
                Code::Retired => "retired",
            };
            let (address, code, reason) = (whole(&address)?, code.to_owned(), why.reason);
            (keys::Request::Revoke { address, code, reason }, why.options)
        }
    })
}

/// The certificates of a file, armoured one by one, without what others signed on them.
fn read(file: &Path) -> Result<Vec<String>, Failure> {
    let name = || file.display().to_string();
    let size = std::fs::metadata(file).with_context(name)?.len();
    if size > limits::OPENPGP_RING_OCTETS_MAX as u64 {
        return Err(anyhow::anyhow!("{}: too large for certificates", name()).into());
    }
    let octets = std::fs::read(file).with_context(name)?;
    let ring = PeerCertificate::read_ring(&octets).with_context(name)?;
    let armoured = ring.iter().map(|certificate| {
        let narrow = certificate.narrowed(None).with_context(name)?;
        Ok(narrow.to_armour()?)
    });
    armoured.collect()
}

fn show(answer: &keys::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        keys::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        keys::Answer::Armour(text) if format.json => {
            output::print_json(&serde_json::json!({ "certificate": text }))?;
        }
        keys::Answer::Resealed(all) if format.json => output::print_json(all)?,
        keys::Answer::Resealed(all) => {
            let left = match all.unreadable {
                0 => String::new(),
                some => format!(" {some} do not open and stay as they are."),
            };
            output::print_line(&format!(
                "{} of {} letters are under the own certificate's seal now; the others were \
                 before.{left}",
                all.sealed, all.looked
            ))?;
        }
        keys::Answer::Done(text) => output::print_line(text)?,
        keys::Answer::Armour(text) => output::print(text)?,
        keys::Answer::List(rows) if format.json => output::print_json(rows)?,
        keys::Answer::List(rows) => {
            let heading = ["Until", ">Days", "Sort", "Address", "Fingerprint", "From", "Trouble"];
            let mut table = Table::new(&heading);
            for row in rows {
                let until = row.until.as_deref().unwrap_or("no end");
                table.row([
                    until.chars().take(10).collect(),
                    row.days_left.map(|days| days.to_string()).unwrap_or_default(),
                    row.sort.clone(),
                    row.address.clone(),
                    row.fingerprint.clone(),
                    row.source.clone(),
                    row.trouble.clone(),
                ]);
            }
            output::print_table(&table, "No certificates.")?;
        }
    }
    Ok(())
}
