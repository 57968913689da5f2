//! `vaguemestre trust`: the list of operators: what is active, what changes, what waits.
use clap::Args;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::explain;
use crate::cli::explain::Explain;
use crate::cli::output;
use crate::cli::output::Table;
use crate::server::control;
use crate::server::control::trust;
use crate::server::control::trust::Answer;
use crate::server::control::trust::DiffTable;
use crate::server::control::trust::DomainCard;
use crate::server::control::trust::Request;
use crate::server::control::trust::Status;
use crate::server::control::trust::VersionLine;
use crate::server::control::wire::Response;

/// Letters' ids that one cell of a table shows; `--json` has all.
const IDS_SHOWN: usize = 3;
/// Domains that a table of differences shows; `--json` has all.
const LINES_SHOWN: usize = 200;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// The active list, its age, and what waits for approval.
    #[command(after_help = "\
Example:
  vaguemestre trust status --json

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Why somebody was let in or refused at the operators' door, and what to do about it.
    #[command(after_help = "\
Examples:
  vaguemestre trust explain 0192f0c1aaaa7bbb8ccc0123456789ab
  vaguemestre trust explain '<20261122.1@cabinet.mssante.fr>' --json

A refusal names its session; a letter that was taken in has the id behind \"Queued as\".

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder, and knows more of strangers' refusals.")]
    Explain(Explain),
    /// What differs between two lists, and what that means for us.
    ///
    /// Without versions: what counts now against what waits for approval; when nothing waits,
    /// the version before against what counts now. With one: what counts now against it.
    #[command(after_help = "\
Examples:
  vaguemestre trust diff
  vaguemestre trust diff 1a2b3c4d
  vaguemestre trust diff 2026-11-20 2026-11-21

A version is named by the beginning of its digest or of its date; `trust versions` lists them.
For each domain: letters exchanged in 30 days, and what waits in the queue for it and could not be
delivered any more.

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Diff {
        /// The older one, or the one to compare with what counts now.
        from: Option<String>,
        /// The other one.
        to: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Which certificates may speak for a domain.
    #[command(after_help = "\
Example:
  vaguemestre trust show chu-x.mssante.fr

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Show {
        /// The domain, exactly: there are no wildcards in the list.
        domain: String,
        #[command(flatten)]
        common: Common,
    },
    /// Ask the source for a newer list now.
    #[command(after_help = "\
Example:
  vaguemestre trust refresh

Says what happened. A bad list is refused and the active one stays.

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Refresh {
        #[command(flatten)]
        common: Common,
    },
    /// Let what waits count, alone and whole.
    ///
    /// After held removals this applies them; after a rollback it takes the younger list.
    #[command(after_help = "\
Examples:
  vaguemestre trust approve --dry-run
  vaguemestre trust approve --reason \"SISRA moved to SARA, ANS note of 20/04\"

The reason and your name go into the journal (`admin journal`).

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Approve {
        /// Another version than the one that waits, for example one that was rolled back.
        version: Option<String>,
        #[command(flatten)]
        hand: Hand,
        #[command(flatten)]
        common: Common,
    },
    /// Go back to an earlier list.
    ///
    /// The list from which you go back is never applied by itself again, and younger ones wait as
    /// a whole until `trust approve`.
    #[command(after_help = "\
Examples:
  vaguemestre trust rollback --dry-run
  vaguemestre trust rollback 2026-11-20 --reason \"our domain is missing since 21/11\"

The reason and your name go into the journal (`admin journal`).

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Rollback {
        /// Another version than the one before.
        version: Option<String>,
        #[command(flatten)]
        hand: Hand,
        #[command(flatten)]
        common: Common,
    },
    /// Every list that was ever taken, youngest first.
    #[command(after_help = "\
Example:
  vaguemestre trust versions

Works on a running and on a stopped relay: a running one is asked through control.sock in its data
folder.")]
    Versions {
        #[command(flatten)]
        common: Common,
    },
}

/// What every command has.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// What every action has.
#[derive(Debug, Args)]
pub(super) struct Hand {
    /// Why; it is kept in the journal with your name.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Say what it would do, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Trust) -> Result<(), Failure> {
    let (common, request) = match command {
        Trust::Status { common } => (common, Request::Status {}),
        Trust::Diff { from, to, common } => (common, Request::Diff { from, to }),
        Trust::Show { domain, common } => (common, Request::Show { domain }),
        Trust::Refresh { common } => (common, Request::Refresh {}),
        Trust::Approve { version, hand: Hand { reason, dry_run }, common } => {
            let reason = reason.unwrap_or_default();
            (common, Request::Approve { version, reason, dry_run })
        }
        Trust::Rollback { version, hand: Hand { reason, dry_run }, common } => {
            let reason = reason.unwrap_or_default();
            (common, Request::Rollback { version, reason, dry_run })
        }
        Trust::Versions { common } => (common, Request::Versions {}),
        Trust::Explain(command) => return explain::run(command).await,
    };
    match commands::reach_with(&common.config, control::Request::Trust(request)).await? {
        Response::Trust(answer) if common.format.json => show_json(&answer)?,
        Response::Trust(answer) => show(&answer)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}

fn show_json(answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Done(text) => output::print_json(&serde_json::json!({ "done": text })),
        Answer::Status(status) => output::print_json(status),
        Answer::Diff(table) => output::print_json(table),
        Answer::Domain(card) => output::print_json(card),
        Answer::Refreshed(report) => output::print_json(report),
        Answer::Changed(report) => output::print_json(report),
        Answer::Versions(lines) => output::print_json(lines),
    }
}

fn show(answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Done(text) => output::print_line(text),
        Answer::Status(status) => show_status(status),
        Answer::Diff(table) => show_diff(table),
        Answer::Domain(card) => show_domain(card),
        Answer::Refreshed(report) => output::print_line(&report.text),
        Answer::Changed(report) => {
            show_diff(&report.impact)?;
            output::print_line(&report.text)
        }
        Answer::Versions(lines) => {
            output::print_table(&version_table(lines), "No list was ever taken.")
        }
    }
}

fn show_status(status: &Status) -> std::io::Result<()> {
    let mut table = Table::new(&["The list of operators", ""]);
    let age = trust::age_text(status.age_seconds);
    let age = if status.age == "good" { age } else { format!("{age} ({})", status.age) };
    table.row(["Active", &format!("{} ({})", status.active.generated, status.active.short)]);
    table.row(["Counts since", &status.since]);
    table.row(["Age", &age]);
    table.row(["Domains", &status.domains.to_string()]);
    table.row(["Pairs", &status.pairs.to_string()]);
    table.row(["Source", &status.source]);
    let never = "not since the start".to_owned();
    table.row(["Asked", status.fetch_tried.as_ref().unwrap_or(&never)]);
    table.row(["Answered well", status.fetch_succeeded.as_ref().unwrap_or(&never)]);
    if let Some(error) = &status.fetch_error {
        let count = status.fetch_failures_in_a_row;
        table.row(["Last failure", &format!("{error} ({count} in a row)")]);
    }
    if status.rolled_back {
        table.row(["Rolled back", "yes: younger lists wait for `trust approve`"]);
    }
    if let Some(waiting) = &status.waiting {
        let version = format!("{} ({})", waiting.version.generated, waiting.version.short);
        let text = match waiting.what.as_str() {
            "removals" => format!(
                "{} pairs of {} domains that {version} no longer has, since {}: `trust diff`, \
                 then `trust approve` or `trust rollback`",
                waiting.pairs, waiting.domains, waiting.since
            ),
            _ => format!(
                "{version} as a whole, since {}: `trust diff`, then `trust approve`",
                waiting.since
            ),
        };
        table.row(["Waits", &text]);
    }
    for domain in &status.own_domains_missing {
        table.row(["Not listed", &format!("{domain}, which is hosted here")]);
    }
    output::print(&table.text())
}

fn show_diff(table: &DiffTable) -> std::io::Result<()> {
    output::print_line(&format!(
        "From {} ({}) to {} ({}): {}.\n{} domains added, {} removed, {} with other certificates; \
         {} recipients in the queue undeliverable.",
        table.from.generated,
        table.from.short,
        table.to.generated,
        table.to.short,
        table.about,
        table.added,
        table.removed,
        table.swapped,
        table.undeliverable,
    ))?;
    let mut printed = Table::new(&[
        "Change",
        "Domain",
        ">Letters in 30 days",
        ">Waiting",
        ">Undeliverable",
        "Their letters",
        "Certificates",
    ]);
    for line in table.domains.iter().take(LINES_SHOWN) {
        let ours = if line.ours { " (hosted here)" } else { "" };
        printed.row([
            line.change.clone(),
            format!("{}{ours}", line.domain),
            line.exchanged_30_days.to_string(),
            line.waiting.to_string(),
            line.undeliverable.to_string(),
            few(&line.undeliverable_letters),
            certificates(&line.certificates_added, &line.certificates_removed),
        ]);
    }
    output::print_table(&printed, "No domain differs.")?;
    if table.domains.len() > LINES_SHOWN {
        let more = table.domains.len() - LINES_SHOWN;
        output::print_line(&format!("… and {more} more domains: --json shows all."))?;
    }
    Ok(())
}

fn certificates(added: &[String], removed: &[String]) -> String {
    let added = added.iter().map(|subject| format!("+ {subject}"));
    let removed = removed.iter().map(|subject| format!("- {subject}"));
    added.chain(removed).collect::<Vec<_>>().join("; ")
}

fn few(ids: &[String]) -> String {
    let mut text = ids.iter().take(IDS_SHOWN).cloned().collect::<Vec<_>>().join(" ");
    if ids.len() > IDS_SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - IDS_SHOWN));
    }
    text
}

fn show_domain(card: &DomainCard) -> std::io::Result<()> {
    let ours = if card.ours { ", hosted here" } else { "" };
    output::print_line(&format!(
        "{}{ours}, in the list of {} ({}): {} letters exchanged in 30 days, {} wait.",
        card.domain,
        card.version.generated,
        card.version.short,
        card.exchanged_30_days,
        card.waiting_letters.len(),
    ))?;
    let mut table = Table::new(&["Certificate", "Note"]);
    for certificate in &card.certificates {
        let note =
            if certificate.removal_waits { "removed; counts until `trust approve`" } else { "" };
        table.row([certificate.subject.as_str(), note]);
    }
    output::print(&table.text())?;
    if !card.waiting_letters.is_empty() {
        output::print_line(&format!("Waiting: {}", few(&card.waiting_letters)))?;
    }
    Ok(())
}

fn version_table(lines: &[VersionLine]) -> Table {
    let mut table = Table::new(&[
        "Version",
        "Made",
        "Standing",
        "Kept",
        ">Domains",
        ">Pairs",
        ">Skipped",
        "Signer",
        "Signer ends",
    ]);
    for line in lines {
        let expired = if line.signer_expired { " (had ended)" } else { "" };
        table.row([
            line.version.short.clone(),
            line.version.generated.clone(),
            line.standing.clone(),
            line.kept.clone(),
            line.domains.to_string(),
            line.pairs.to_string(),
            line.skipped.to_string(),
            line.signer.clone(),
            format!("{}{expired}", line.signer_ends),
        ]);
    }
    table
}
