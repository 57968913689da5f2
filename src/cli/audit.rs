//! `vaguemestre audit`: the ledger of key uses.
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::domain::limits;
use crate::domain::time::Day;
use crate::infra::audit;
use crate::infra::audit::Checkpoint;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::keys::mail;
use crate::infra::keys::mail::Certificates;
use crate::infra::keys::mail::SignatureVerdict;
use crate::infra::keys::peers::PeerCertificate;
use crate::server::control;
use crate::server::control::audit::Answer;
use crate::server::control::audit::EntryLine;
use crate::server::control::audit::ProofLine;
use crate::server::control::audit::Request;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Prove that no use of a key was changed, removed or put in afterwards.
    ///
    /// Reads every entry, hashes it again, and compares it with the next one; the end is compared
    /// with the head, which only this relay can have written. An end that was cut together with its
    /// head is found against a checkpoint: the relay logs one each day, and this command prints one.
    #[command(after_help = REACH)]
    Verify {
        /// A checkpoint that was written down elsewhere.
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Who used which key, by which door and why; the youngest first.
    #[command(after_help = REACH)]
    List {
        /// Of this mailbox only: its address or its id.
        #[arg(long, value_name = "ADDRESS")]
        mailbox: Option<String>,
        /// Since this day (of France).
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
        since: Option<Day>,
        /// By this door only: imap, pop3, portal, control, gateway, relay.
        #[arg(long)]
        door: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        last: u16,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Write the ledger to a file, one JSON line an entry, with a signature beside it.
    ///
    /// FILE.asc is an OpenPGP signature by the organisation's key: `gpg --verify FILE.asc FILE`
    /// checks it, `audit check` checks it and the chain, without this relay. A ledger of more than
    /// 100,000 entries takes several files; --from says where the next one begins.
    #[command(after_help = REACH)]
    Export {
        /// Where to; nothing there is overwritten.
        file: PathBuf,
        /// The first entry.
        #[arg(long, default_value_t = 1, value_name = "NUMBER")]
        from: u64,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// The organisation's OpenPGP certificate, armoured.
    #[command(after_help = REACH)]
    Certificate {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Check an exported file: its signature and its chain. Needs no relay and no configuration.
    Check {
        /// The file; its signature is FILE.asc.
        file: PathBuf,
        /// The organisation's certificate, as `audit certificate` printed it.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// A checkpoint that the file must hold, or begin behind.
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<String>,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it and shows what came of it.
pub(super) async fn run(command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Verify { expect, config, format } => {
            match ask(&config, Request::Verify { expected: expect }).await? {
                Answer::Proved(proof) => show_proof(&proof, format),
                Answer::Broken(flaw) => Err(anyhow::anyhow!(flaw).into()),
                _ => unknown(),
            }
        }
        Audit::List { mailbox, since, door, last, config, format } => {
            let since = since.and_then(Day::start).map(|start| start.as_millis());
            let request = Request::List { mailbox, since, door, last: usize::from(last) };
            match ask(&config, request).await? {
                Answer::List(entries) => show_entries(&entries, format),
                _ => unknown(),
            }
        }
        Audit::Export { file, from, config, format } => export(&file, from, &config, format).await,
        Audit::Certificate { config } => match ask(&config, Request::Certificate {}).await? {
            Answer::Armour(armour) => Ok(output::print(&armour)?),
            _ => unknown(),
        },
        Audit::Check { file, certificate, expect, format } => {
            check(&file, &certificate, expect.as_deref(), format)
        }
    }
}

async fn ask(config: &ConfigFile, request: Request) -> Result<Answer, Failure> {
    match commands::reach_with(config, control::Request::Audit(request)).await? {
        Response::Audit(answer) => Ok(answer),
        other => commands::unexpected(&other).and_then(|()| unknown()),
    }
}

fn unknown<T>() -> Result<T, Failure> {
    Err(anyhow::anyhow!("the relay gave an answer that this program does not know").into())
}

fn day(text: &str) -> Result<Day, &'static str> {
    Day::parse(text).ok_or("a day is written YYYY-MM-DD")
}

fn show_proof(proof: &ProofLine, format: Format) -> Result<(), Failure> {
    if format.json {
        return Ok(output::print_json(proof)?);
    }
    let pruned = match proof.pruned_through {
        0 => String::new(),
        through => format!(" Entries up to {through} are older than audit.retention_days."),
    };
    let times = match (&proof.first, &proof.last) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    output::print_line(&format!(
        "The chain holds: {} entries{times}.{pruned}\nCheckpoint: {}",
        proof.entries, proof.end
    ))?;
    Ok(())
}

fn show_entries(entries: &[EntryLine], format: Format) -> Result<(), Failure> {
    if format.json {
        return Ok(output::print_json(&entries)?);
    }
    let mut table = Table::new(&[">Number", "When", "Who", "Mailbox", "Door", "Why", ">Contents"]);
    for entry in entries {
        table.row([
            &entry.number.to_string(),
            &entry.at,
            &entry.who,
            entry.mailbox.as_deref().unwrap_or("-"),
            &entry.door,
            &entry.why,
            &entry.count.to_string(),
        ]);
    }
    Ok(output::print_table(&table, "No key was used.")?)
}

async fn export(
    file: &Path,
    from: u64,
    config: &ConfigFile,
    format: Format,
) -> Result<(), Failure> {
    let from = from.max(1);
    let mut text = String::new();
    let mut most = limits::AUDIT_EXPORTED_AT_ONCE;
    let (to, end) = loop {
        let request = Request::Piece { from, most, offset: text.len() };
        match ask(config, request).await? {
            Answer::Piece { text: piece, is_last, to, end } => {
                text.push_str(&piece);
                // Whatever is written meanwhile is not of this file.
                most = to.saturating_sub(from).saturating_add(1).min(most);
                if is_last {
                    break (to, end);
                }
            }
            _ => return unknown(),
        }
    };
    if to < from {
        return Err(anyhow::anyhow!("there is no entry {from} yet").into());
    }
    let Answer::Armour(signature) = ask(config, Request::Sign { from, to }).await? else {
        return unknown();
    };
    let signature_file = beside(file);
    write_new(file, &text)?;
    write_new(&signature_file, &signature)?;
    let next = (to < end).then(|| to + 1);
    if format.json {
        let value = serde_json::json!({
            "file": file, "signature": signature_file, "from": from, "to": to, "next": next,
        });
        return Ok(output::print_json(&value)?);
    }
    let more = next.map_or(String::new(), |next| {
        format!("\nThere is more: export --from {next} to another file.")
    });
    Ok(output::print_line(&format!(
        "Entries {from} to {to} are in {}, signed in {}.{more}",
        file.display(),
        signature_file.display()
    ))?)
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".asc");
    PathBuf::from(name)
}

/// Writes a file that is not there yet.
pub(super) fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(file);
    let written = opened.and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written.with_context(|| format!("{} is not written", file.display()))
}

struct One(PeerCertificate);

impl Certificates for One {
    fn of_key(&self, _handle: &str) -> Vec<PeerCertificate> {
        vec![self.0.clone()]
    }
}

fn check(
    file: &Path,
    certificate: &Path,
    expect: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let expect =
        expect.map(|text| Checkpoint::parse(text).context("a checkpoint is written NUMBER:HASH"));
    let expect = expect.transpose()?;
    let (text, signature) = (read(file)?, read(&beside(file))?);
    let certificate = PeerCertificate::read(&read(certificate)?).context("the certificate")?;
    let fingerprint = certificate.fingerprint();
    let now = SystemClock.now();
    let verdicts = mail::verify_detached(&text, &signature, &One(certificate), now);
    match verdicts.as_slice() {
        [SignatureVerdict::Good(by)] if *by == fingerprint => {}
        [SignatureVerdict::Unknown(key)] => {
            return Err(anyhow::anyhow!("signed by another key: {key}").into());
        }
        [SignatureVerdict::Bad(why)] => {
            return Err(anyhow::anyhow!("the signature is not good: {why}").into());
        }
        _ => return Err(anyhow::anyhow!("the signature is not one of this certificate").into()),
    }
    let text = String::from_utf8(text).context("not an exported ledger")?;
    let checked = audit::check(&text, expect.as_ref())?;
    let line = ProofLine {
        entries: checked.entries,
        pruned_through: checked.after,
        first: checked.first_at.map(|at| at.to_string()),
        last: checked.last_at.map(|at| at.to_string()),
        end: checked.end.to_string(),
    };
    if format.json {
        return Ok(output::print_json(&line)?);
    }
    let times = match (&line.first, &line.last) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    Ok(output::print_line(&format!(
        "The signature is good ({fingerprint}).\nThe chain holds: entries {} to {}{times}.\n\
         Checkpoint: {}",
        checked.after + 1,
        checked.end.number,
        line.end
    ))?)
}
