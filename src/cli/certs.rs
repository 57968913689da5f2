//! `vaguemestre certs`: every certificate, ours and theirs, its end, and how a new one comes into
//! use.
use std::path::PathBuf;

use clap::Subcommand;
use rustls::pki_types::CertificateDer;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::infra::net::Identity;
use crate::server::control;
use crate::server::control::certs;
use crate::server::control::certs::FindingRow;
use crate::server::control::certs::Status;
use crate::server::control::wire::Response;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Certs {
    /// Every certificate with its end, nearest first, and what somebody has to do.
    ///
    /// Ours, the authorities that our files send along, the anchors of operators, the signer of
    /// the trust list, CRLs, and those of other operators as they were seen (`peer-in`: they
    /// called us, `peer-out`: we called them). Exits with 0 also when there are alarms.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Read certificates, keys, anchors and CRLs again, now.
    ///
    /// The relay looks at its files by itself (`certs.watch_seconds`) and on SIGHUP. Open sessions
    /// go on. A file that cannot be used changes nothing. A new certificate between operators whose
    /// subject the trust list does not have for our domains waits until it does: other operators
    /// would refuse it. Fails when something of it is not used.
    #[command(after_help = "\
Examples:
  vaguemestre certs reload
  vaguemestre certs reload --accept-unlisted --reason \"list of tomorrow has it, ticket 4711\"")]
    Reload {
        /// Use a certificate between operators that is not listed. It is recorded.
        #[arg(long, requires = "reason")]
        accept_unlisted: bool,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Say what would happen with a new certificate, before anybody swaps files.
    ///
    /// Looks whether the key belongs to the certificate, at its dates, its chain up to the anchors,
    /// whether the trust list has its subject for our domains, and what its subject has that the
    /// one in use has not. The key is read here and does not reach the relay. Exits with 1 when the
    /// certificate should not be used.
    #[command(after_help = "\
Example:
  vaguemestre certs check --certificate new.pem --key new.key && cp new.* /etc/vaguemestre/")]
    Check {
        /// The new chain, PEM, leaf first.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Its key, PEM.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// It is for the doors of people (`tls.certificate`), not for operators.
        #[arg(long)]
        people: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Certs) -> Result<(), Failure> {
    match command {
        Certs::Status { config, format } => {
            let answer = ask(&config, certs::Request::Status {}).await?;
            match answer {
                certs::Answer::Status(status) if format.json => output::print_json(&status)?,
                certs::Answer::Status(status) => show_status(&status)?,
                other => commands::unexpected(&Response::Certs(other))?,
            }
            Ok(())
        }
        Certs::Reload { accept_unlisted, reason, config, format } => {
            let answer = ask(&config, certs::Request::Reload { accept_unlisted, reason }).await?;
            match answer {
                certs::Answer::Done(text) if format.json => {
                    output::print_json(&serde_json::json!({ "done": text }))?;
                }
                certs::Answer::Done(text) => output::print_line(&text)?,
                other => commands::unexpected(&Response::Certs(other))?,
            }
            Ok(())
        }
        Certs::Check { certificate, key, people, config, format } => {
            let identity = Identity::load(&certificate, &key)?;
            let pair = FindingRow {
                grade: "good".to_owned(),
                about: "key".to_owned(),
                text: "it belongs to the certificate".to_owned(),
            };
            let chain = identity.chain.iter().map(pem).collect();
            let answer = ask(&config, certs::Request::Check { chain, people }).await?;
            match answer {
                certs::Answer::Checked(rows) => {
                    show_findings([vec![pair], rows].concat(), format)
                }
                other => commands::unexpected(&Response::Certs(other)),
            }
        }
    }
}

async fn ask(config: &ConfigFile, request: certs::Request) -> Result<certs::Answer, Failure> {
    match commands::reach_with(config, control::Request::Certs(request)).await? {
        Response::Certs(answer) => Ok(answer),
        other => {
            commands::unexpected(&other)?;
            Err(anyhow::anyhow!("no answer about certificates").into())
        }
    }
}

fn show_status(status: &Status) -> std::io::Result<()> {
    for alarm in &status.alarms {
        output::print_line(&format!("{}: {}", alarm.level, alarm.text))?;
    }
    if !status.alarms.is_empty() {
        output::print_line("")?;
    }
    let heading =
        ["Until", ">Days", "Warning", "Role", "Subject", "Serial", "Issuer", "Seen", "Source"];
    let mut table = Table::new(&heading);
    for row in &status.certificates {
        let warning = if row.superseded { "superseded" } else { row.warning.as_str() };
        table.row([
            row.until.chars().take(10).collect(),
            row.days_left.to_string(),
            warning.to_owned(),
            row.role.clone(),
            row.subject.clone(),
            row.serial.clone(),
            row.issuer.clone(),
            row.last_seen.clone().unwrap_or_default(),
            row.source.clone(),
        ]);
    }
    output::print_table(&table, "No certificates.")?;
    if status.crls.is_empty() {
        return Ok(());
    }
    output::print_line("")?;
    let mut table = Table::new(&["Until", ">Entries", "Trouble", "CRL of", "Source"]);
    for row in &status.crls {
        table.row([
            row.ends.clone().unwrap_or_else(|| "not said".to_owned()),
            row.entries.to_string(),
            row.trouble.clone(),
            row.issuer.clone(),
            row.source.clone(),
        ]);
    }
    output::print_table(&table, "")
}

fn show_findings(rows: Vec<FindingRow>, format: Format) -> Result<(), Failure> {
    let is_bad = rows.iter().any(|row| row.grade == "bad");
    if format.json {
        output::print_json(&rows)?;
    } else {
        let mut table = Table::new(&["", "About", "Finding"]);
        for row in &rows {
            table.row([&row.grade, &row.about, &row.text]);
        }
        output::print_table(&table, "")?;
    }
    if is_bad {
        return Err(anyhow::anyhow!("this certificate should not be used now").into());
    }
    Ok(())
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
