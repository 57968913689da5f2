//! `vaguemestre dns`: the DNS records that lead mail and mail programs here.
use clap::Subcommand;
use clap::ValueEnum;
use serde_json::Value;
use serde_json::json;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::flow::setup;
use crate::flow::setup::Finding;
use crate::flow::setup::Found;
use crate::infra::config::Config;
use crate::infra::dns::SystemDns;
use crate::proto::setup::records;
use crate::proto::setup::records::Data;
use crate::proto::setup::records::Record;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Dns {
    /// Print the records for every domain here, ready to paste into a zone.
    ///
    /// MX for other operators; SRV for mail programs, with the target "." for what is not offered;
    /// names for Thunderbird, Outlook, MTA-STS and the Web Key Directory. Follows from the configuration alone: whether
    /// the relay runs does not matter. Addresses (A, AAAA) of the host are yours to add.
    #[command(after_help = "\
Examples:
  vaguemestre dns records --config /etc/vaguemestre/vaguemestre.toml
  vaguemestre dns records --format json")]
    Records {
        /// A zone file, or JSON for programs.
        #[arg(long, value_enum, default_value_t = Form::Zone)]
        format: Form,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Ask the DNS for these records and say what is missing or other.
    ///
    /// Asks the servers of `dns.servers`, or the system's. Preferences and weights are yours to
    /// choose and are not compared. Exits with 1 when something has to be done.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

/// How records are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Form {
    /// As zone files write them.
    Zone,
    /// For programs.
    Json,
}

/// Prints or checks the records.
pub(super) async fn run(command: Dns) -> Result<(), Failure> {
    match command {
        Dns::Records { format, config } => {
            let config = commands::load(&config.file)?;
            let records = setup::dns_records(&config);
            match format {
                Form::Zone => output::print(&zone(&config, &records))?,
                Form::Json => {
                    output::print_json(&records.iter().map(shown).collect::<Vec<Value>>())?;
                }
            }
            Ok(())
        }
        Dns::Check { config, format } => {
            let config = commands::load(&config.file)?;
            let dns = SystemDns::new(&config.dns.servers);
            let findings = setup::check(&dns, setup::dns_records(&config)).await;
            let bad = findings.iter().filter(|finding| finding.found.is_bad()).count();
            if format.json {
                output::print_json(&findings.iter().map(found).collect::<Vec<Value>>())?;
            } else {
                show(&findings)?;
            }
            if bad > 0 {
                let all = findings.len();
                return Err(
                    anyhow::anyhow!("{bad} of {all} records are not as they should be").into()
                );
            }
            Ok(())
        }
    }
}

fn zone(config: &Config, records: &[Record]) -> String {
    let host = &config.operator.hostname;
    let mut text = format!(
        "; Vaguemestre, for {}. The host {host} needs A and AAAA records of its own.\n",
        config.operator.name
    );
    if setup::needs_other_port(config) {
        text.push_str(
            "; The pages are not on port 443: Thunderbird, MTA-STS and OpenPGP programs ask on no\n\
             ; other, so their names (autoconfig, autodiscover, mta-sts, openpgpkey) are left out.\n",
        );
    }
    if records.iter().any(|record| record.name.starts_with("_smtp._tls.")) {
        text.push_str(
            "; Reports of failed TLS come from outside the trust space: let the address in\n\
             ; _smtp._tls be a mailbox that can be written to from there.\n",
        );
    }
    let mut purpose = "";
    for record in records {
        if record.purpose != purpose {
            purpose = record.purpose;
            text.push_str(&format!("; {purpose}\n"));
        }
        text.push_str(&records::line(record));
        text.push('\n');
    }
    text
}

fn shown(record: &Record) -> Value {
    let mut shown = json!({
        "name": record.name,
        "ttl": records::TTL,
        "type": record.data.kind(),
        "data": record.data.to_string(),
        "purpose": record.purpose,
    });
    let more = match &record.data {
        Data::Mx { preference, host } => json!({ "preference": preference, "host": host }),
        Data::Srv { priority, weight, port, target } => {
            json!({ "priority": priority, "weight": weight, "port": port, "target": target })
        }
        Data::Cname(target) => json!({ "target": target }),
        Data::Txt(text) => json!({ "text": text }),
    };
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}

fn found(finding: &Finding) -> Value {
    let mut value = shown(&finding.record);
    let (state, details) = told(&finding.found);
    value["state"] = state.into();
    value["found"] = details.into();
    value
}

fn told(found: &Found) -> (&'static str, String) {
    match found {
        Found::Right => ("ok", String::new()),
        Found::Missing => ("missing", String::new()),
        Found::Other(texts) => ("other", texts.join(", ")),
        Found::Unknown(reason) => ("unknown", reason.clone()),
    }
}

fn show(findings: &[Finding]) -> std::io::Result<()> {
    let mut table = Table::new(&["State", "Name", "Type", "Should be", "Is"]);
    for finding in findings {
        let (state, details) = told(&finding.found);
        let record = &finding.record;
        let data = record.data.to_string();
        table.row([state, &record.name, record.data.kind(), &data, &details]);
    }
    output::print_table(&table, "No records.")
}
