//! `vaguemestre directory`: the copy of the national directory.
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::infra::config::Config;
use crate::infra::replica::Kind;
use crate::infra::replica::Replica;
use crate::server::control;
use crate::server::control::ControlError;
use crate::server::control::directory;
use crate::server::control::directory::Answer;
use crate::server::control::directory::ImportRow;
use crate::server::control::directory::LiveLine;
use crate::server::control::directory::MailboxLine;
use crate::server::control::directory::Request;
use crate::server::control::directory::Shown;
use crate::server::control::directory::Status;
use crate::server::control::wire::Response;

/// Progress is told so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Rows between two lines of progress of an import that this process does itself.
const PROGRESS_ROWS: usize = 100_000;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Directory {
    /// Take files of the national directory: the mailbox extraction, PS_LibreAcces.
    ///
    /// Zip or text; what a file is, its columns tell. The new copy counts from one moment to the
    /// next, when it is whole. A file that cannot be read, is cut, or lost more than
    /// directory.shrink_percent of its entries is refused, and the old copy stays. Progress goes to
    /// standard error.
    #[command(after_help = "\
Examples:
  vaguemestre directory import Extraction_Correspondance_MSSante_202611210730.zip
  vaguemestre directory import *.zip --any-size

Works on a running relay (through its control socket) and on a stopped one.")]
    Import {
        /// The files, one after the other.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Also a file with far fewer entries than the copy has.
        #[arg(long)]
        any_size: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Ask the sources of the configuration now, and take what is new.
    Refresh {
        #[command(flatten)]
        common: Common,
    },
    /// What the copy has, how old it is, and what somebody should do.
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Find mailboxes by the beginnings of words; those that are hidden never appear.
    #[command(after_help = "\
Examples:
  vaguemestre directory search lumier valfictif
  vaguemestre directory search --profession 10 --speciality radio --place 75
  vaguemestre directory search --structure 990000101 --kind ORG --json")]
    Search {
        /// Words of anything: name, place, profession, structure, address.
        #[arg(value_name = "WORD")]
        words: Vec<String>,
        /// Words of the name.
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// Code or label.
        #[arg(long, default_value = "", hide_default_value = true)]
        profession: String,
        /// Code or label.
        #[arg(long, default_value = "", hide_default_value = true)]
        speciality: String,
        /// Department, postal code or town.
        #[arg(long, default_value = "", hide_default_value = true)]
        place: String,
        /// FINESS, SIRET or name.
        #[arg(long, default_value = "", hide_default_value = true)]
        structure: String,
        /// PER or ORG.
        #[arg(long)]
        kind: Option<String>,
        /// At most so many, 1 to 1000.
        #[arg(long, value_name = "N", default_value_t = 20,
              value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        #[command(flatten)]
        common: Common,
    },
    /// Everything that is known of one address. Exits with 1 when it is not published.
    Show {
        /// The address.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Ask the directory's FHIR API, too (fhir.url).
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Where the directory and we say different things about our mailboxes.
    ///
    /// Retired professionals, another holder or profession, public here and not published, hidden
    /// or closed here and published. It stops nobody's mail.
    Drift {
        #[command(flatten)]
        common: Common,
    },
    /// What the FHIR API says has changed since a day, beside the file, which is the truth.
    ///
    /// `same` and `differs` stand in the file too, `api-only` does not (yet), `ending` is in the
    /// file, but its holder or structure is no longer active. The API remembers thirty days.
    Delta {
        /// The day, YYYY-MM-DD.
        #[arg(long, value_name = "DAY")]
        since: String,
        #[command(flatten)]
        common: Common,
    },
}

/// What all commands have.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Directory) -> Result<(), Failure> {
    let (common, request) = match command {
        Directory::Import { files, any_size, common } => {
            return import(files, any_size, &common).await;
        }
        Directory::Refresh { common } => (common, Request::Refresh {}),
        Directory::Status { common } => (common, Request::Status {}),
        Directory::Search {
            words,
            name,
            profession,
            speciality,
            place,
            structure,
            kind,
            limit,
            common,
        } => {
            let (words, limit) = (words.join(" "), usize::from(limit));
            let request = Request::Search {
                words,
                name,
                profession,
                speciality,
                place,
                structure,
                kind,
                limit,
            };
            (common, request)
        }
        Directory::Show { address, live, common } => (common, Request::Show { address, live }),
        Directory::Drift { common } => (common, Request::Drift {}),
        Directory::Delta { since, common } => (common, Request::Delta { since }),
    };
    let request = control::Request::Directory(request);
    match commands::reach_with(&common.config, request).await? {
        Response::Directory(answer) => show(&answer, common.format)?,
        other => commands::unexpected(&other)?,
    }
    Ok(())
}

/// A running relay imports itself; otherwise this process opens the replica. The replica's lock
/// decides races.
async fn import(files: Vec<PathBuf>, any_size: bool, common: &Common) -> Result<(), Failure> {
    let config = Config::load_despite_certificates(&common.config.file);
    let config = config.map_err(Failure::Configuration)?;
    let mut imported = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let file = std::path::absolute(&file).with_context(|| shown.clone())?;
        output::tell(&format!("{shown}: importing"));
        imported.push(import_one(&config, file, any_size).await?);
    }
    show(&Answer::Imported(imported), common.format)?;
    Ok(())
}

async fn import_one(config: &Config, file: PathBuf, any_size: bool) -> Result<ImportRow, Failure> {
    let socket = control::socket_path(&config.storage.data_dir);
    let request = Request::Import { file: file.clone(), any_size };
    let request = control::Request::Directory(request);
    let work = control::ask(&socket, &request);
    tokio::pin!(work);
    let answer = loop {
        tokio::select! {
            answer = &mut work => break answer,
            () = tokio::time::sleep(PROGRESS_EVERY) => {
                let status = control::Request::Directory(Request::Status {});
                if let Ok(Response::Directory(Answer::Status(status))) =
                    control::ask(&socket, &status).await
                    && let Some(rows) = status.importing_rows
                {
                    output::tell(&format!("  {rows} rows"));
                }
            }
        }
    };
    match answer {
        Ok(Response::Directory(Answer::Imported(rows))) if rows.len() == 1 => {
            Ok(rows.into_iter().next().expect("there is one, by the guard"))
        }
        Ok(Response::Failed(reason)) => Err(anyhow::anyhow!(reason).into()),
        Ok(_) => Err(anyhow::anyhow!("the relay gave an answer that is not known").into()),
        Err(ControlError::NotRunning(_)) => {
            let lost = usize::try_from(config.directory.shrink_percent).unwrap_or(100);
            let share = if any_size { 0 } else { 100_usize.saturating_sub(lost) };
            let folder = config.storage.data_dir.clone();
            let work = tokio::task::spawn_blocking(move || import_here(&folder, &file, share));
            Ok(work.await??)
        }
        Err(error) => Err(error.into()),
    }
}

fn import_here(folder: &Path, file: &Path, share: usize) -> anyhow::Result<ImportRow> {
    // The data folder is for the relay alone.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("storage.data_dir = {}", folder.display()))?;
    let kind = Replica::kind_of(file)?;
    let replica = Replica::open(folder)?;
    let mut told = 0;
    let mut progress = |rows: usize| {
        if rows >= told + PROGRESS_ROWS {
            told = rows;
            output::tell(&format!("  {rows} rows"));
        }
    };
    let imported = match kind {
        Kind::Mailboxes => replica.import_at_least(file, share, &mut progress)?,
        Kind::People => replica.import_people(file, share, &mut progress)?,
    };
    Ok(directory::import_row(kind, &imported))
}

fn show(answer: &Answer, format: Format) -> Result<(), Failure> {
    if format.json {
        match answer {
            Answer::Status(status) => output::print_json(status)?,
            Answer::Imported(rows) => output::print_json(rows)?,
            Answer::Mailboxes(lines) => output::print_json(lines)?,
            Answer::Shown(shown) => output::print_json(shown)?,
            Answer::Drift(lines) => output::print_json(lines)?,
            Answer::Delta(delta) => output::print_json(delta)?,
        }
    } else {
        match answer {
            Answer::Status(status) => show_status(status)?,
            Answer::Imported(rows) => show_imported(rows)?,
            Answer::Mailboxes(lines) => show_mailboxes(lines)?,
            Answer::Shown(shown) => show_address(shown)?,
            Answer::Drift(lines) => {
                let mut table = Table::new(&["Mailbox", "Drift", "Sent last"]);
                for line in lines {
                    let sent = line.sent.clone().unwrap_or_default();
                    table.row([line.address.clone(), line.text.clone(), sent]);
                }
                output::print_table(&table, "The directory and our mailboxes agree.")?;
            }
            Answer::Delta(delta) => {
                let empty = format!("Nothing has changed since {}.", delta.since);
                output::print_table(&live_table(&delta.mailboxes), &empty)?;
                if delta.cut {
                    output::tell("There were more; take the file of today.");
                }
            }
        }
    }
    match answer {
        Answer::Shown(Shown { lines, live, .. })
            if lines.is_empty() && live.as_ref().is_none_or(Vec::is_empty) =>
        {
            let reason = "the address is not published; it may be on the red list";
            Err(anyhow::anyhow!(reason).into())
        }
        _ => Ok(()),
    }
}

fn show_status(status: &Status) -> std::io::Result<()> {
    let mut table = Table::new(&["Copy of the directory", ""]);
    for (what, row) in [("Mailboxes", &status.mailboxes), ("Professionals", &status.people)] {
        let Some(row) = row else {
            table.row([what, "none imported"]);
            continue;
        };
        let text = format!(
            "{} in {} rows, {} bad, from {}, imported {}",
            row.distinct, row.rows, row.bad_rows, row.source, row.imported
        );
        table.row([what, &text]);
        table.row(["  Made", row.made.as_deref().unwrap_or("its name does not tell")]);
    }
    if status.mailboxes.is_some() {
        let age = control::trust::age_text(status.age_seconds);
        let mark = if status.age == "good" { String::new() } else { format!(" ({})", status.age) };
        table.row(["Age", &format!("{age}{mark}")]);
    }
    let none = "none: `directory import` takes a file by hand";
    table.row(["Source", status.extraction.as_deref().unwrap_or(none)]);
    if let Some(source) = &status.people_source {
        table.row(["Source of professionals", source]);
    }
    if let Some(tried) = &status.tried {
        table.row(["Asked", tried]);
    }
    if let Some(rows) = status.importing_rows {
        table.row(["Importing", &format!("{rows} rows")]);
    }
    for alarm in &status.alarms {
        table.row(["Alarm", alarm]);
    }
    output::print(&table.text())
}

fn show_imported(rows: &[ImportRow]) -> std::io::Result<()> {
    if rows.is_empty() {
        return output::print_line("Nothing is new.");
    }
    for row in rows {
        let what = if row.kind == "people" { "professionals" } else { "mailboxes" };
        output::print_line(&format!(
            "{}: {} {what} from {} rows, {} of them bad.",
            row.source, row.distinct, row.rows, row.bad_rows
        ))?;
    }
    Ok(())
}

fn show_mailboxes(lines: &[MailboxLine]) -> std::io::Result<()> {
    let mut table = Table::new(&["Address", "Name", "Profession", "Structure", "Place", "Paper"]);
    for line in lines {
        table.row([
            line.address.clone(),
            format!("{} {}", line.name, line.given_name),
            either(&line.speciality, &line.profession),
            line.structure_name.clone(),
            format!("{} {}", line.postal_code, line.town),
            if line.paper_free { "no" } else { "yes" }.to_owned(),
        ]);
    }
    output::print_table(&table, "No published mailbox is like that.")
}

fn either(first: &str, second: &str) -> String {
    if first.is_empty() { second } else { first }.to_owned()
}

fn show_address(shown: &Shown) -> std::io::Result<()> {
    for line in &shown.lines {
        let mut table = Table::new(&["In the directory", ""]);
        let paper = if line.paper_free { "accepted" } else { "not accepted" };
        for (what, text) in [
            ("Address", line.address.clone()),
            ("Kind", line.kind.clone()),
            ("Name", format!("{} {} {}", line.title, line.given_name, line.name)),
            ("Identity", line.identity.clone()),
            ("Profession", with_code(&line.profession, &line.profession_code)),
            ("Speciality", with_code(&line.speciality, &line.speciality_code)),
            ("Structure", with_code(&line.structure_name, &line.structure)),
            ("Service", line.service.clone()),
            ("Place", format!("{} {} {}", line.street, line.postal_code, line.town)),
            ("Paper-free", paper.to_owned()),
        ] {
            if !text.trim().is_empty() {
                table.row([what, text.trim()]);
            }
        }
        output::print(&table.text())?;
    }
    if let Some(known) = &shown.professional {
        let active = if known.active { "has an activity" } else { "has no activity any more" };
        output::print_line(&format!(
            "PS_LibreAcces: {} {} {active}: {}; works at {}.",
            known.given_name,
            known.name,
            known.professions.join(", "),
            if known.structures.is_empty() { "-".into() } else { known.structures.join(", ") },
        ))?;
    }
    match &shown.live {
        Some(live) => output::print_table(&live_table(live), "The FHIR API does not know it."),
        None => Ok(()),
    }
}

fn with_code(label: &str, code: &str) -> String {
    if code.is_empty() { label.to_owned() } else { format!("{label} ({code})") }
}

fn live_table(lines: &[LiveLine]) -> Table {
    let mut table =
        Table::new(&["Beside the file", "Address", "Kind", "Name", "Carrier", "Changed"]);
    for line in lines {
        table.row([
            &line.mark,
            &line.address,
            &line.kind,
            &line.name,
            &line.carrier,
            &line.last_updated,
        ]);
    }
    table
}
