//! A list of mailboxes, line by line: what each came to goes to a file and to the screen.
use std::collections::BTreeMap;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::cli::approval;
use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::cli::password;
use crate::domain::limits;
use crate::domain::mailbox::Listing;
use crate::proto::roster::Entry;
use crate::proto::roster::Roster;
use crate::proto::roster::Wrong;
use crate::server::control;
use crate::server::control::life;
use crate::server::control::life::Line;
use crate::server::control::life::LineAnswer;
use crate::server::control::wire::Response;

/// What can be typed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// The list.
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Only tell what each line would come to. Changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the journal and each mailbox's history.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Write each line's result here (CSV).
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Give each new mailbox a first password and add it to this file, mode 600. Without this
    /// nobody knows a password: another directory opens the mailbox, or `mailbox passwd` sets one.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    passwords: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// The whole of it, for programs.
#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    counts: BTreeMap<&'a str, usize>,
    lines: &'a [LineAnswer],
}

/// Reads the list, asks the relay part by part, and tells.
pub(super) async fn run(import: Import) -> Result<(), Failure> {
    let reason = import.reason.clone().unwrap_or_else(|| "dry run".to_owned());
    let (entries, mut answers) = read(&import.file)?;
    let parts: Vec<Vec<Line>> = entries
        .chunks(limits::ROSTER_LINES_AT_ONCE)
        .map(|part| part.iter().map(line).collect())
        .collect();
    let digests: Vec<String> =
        parts.iter().map(|part| life::digest_text(&life::part_digest(part))).collect();
    if !import.dry_run && !parts.is_empty() {
        let file = import.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (lines, parts) = (entries.len() as u64, digests.clone());
        let begin = life::Request::ImportBegin { file, lines, parts, reason: reason.clone() };
        match ask(begin, &import.config).await? {
            life::Answer::Waits(petition) => {
                return Ok(approval::show_waiting(&petition, import.format)?);
            }
            life::Answer::Done(_) => {}
            _ => return Err(anyhow::anyhow!("the relay gave an unknown answer").into()),
        }
    }
    let mut keys = import.passwords.as_deref().map(Passwords::open).transpose()?;
    let mut done = 0;
    for part in parts {
        let count = part.len();
        answers.extend(hand_over(part, &import, &reason, keys.as_mut()).await?);
        done += count;
        if !import.format.json {
            output::tell(&format!("{done} of {} lines", entries.len()));
        }
    }
    answers.sort_by_key(|answer| answer.line);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &answers {
        *counts.entry(result_name(&answer.result)).or_default() += 1;
    }
    let said: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let failed = counts.get("failed").copied().unwrap_or(0);
    if let Some(part) = digests.first().filter(|_| !import.dry_run && failed == 0) {
        let outcome = said.join(", ");
        ask(life::Request::ImportEnd { part: part.clone(), outcome }, &import.config).await?;
    }
    if let Some(file) = &import.results {
        write_results(file, &answers)?;
    }
    show(&answers, counts, &said, &import)?;
    let wrong = answers.iter().filter(|one| matches!(&*one.result, "wrong" | "failed")).count();
    match wrong {
        0 => Ok(()),
        some => Err(anyhow::anyhow!("{some} lines made nothing").into()),
    }
}

fn read(file: &Path) -> anyhow::Result<(Vec<Entry>, Vec<LineAnswer>)> {
    let input = File::open(file).with_context(|| file.display().to_string())?;
    let roster = Roster::open(BufReader::new(input));
    let roster = roster.with_context(|| file.display().to_string())?;
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for one in roster {
        match one.with_context(|| file.display().to_string())? {
            Ok(entry) => entries.push(entry),
            Err(one) => wrong.push(answer(one)),
        }
    }
    Ok((entries, wrong))
}

/// `Debug` of an address masks what looks like an INS.
fn answer(wrong: Wrong) -> LineAnswer {
    LineAnswer {
        line: wrong.line,
        address: wrong.address.map(|address| format!("{address:?}")),
        result: "wrong".to_owned(),
        detail: wrong.reason,
    }
}

fn line(entry: &Entry) -> Line {
    Line {
        line: entry.line,
        address: entry.address.to_string(),
        kind: entry.kind.code().to_owned(),
        name: entry.name.clone(),
        red_list: entry.listing == Listing::RedList,
        holder: entry.holder.as_ref().map(|holder| holder.as_str().to_owned()),
        password: None,
    }
}

async fn hand_over(
    mut lines: Vec<Line>,
    import: &Import,
    reason: &str,
    passwords: Option<&mut Passwords>,
) -> Result<Vec<LineAnswer>, Failure> {
    let request = |dry, lines| life::Request::ImportLines { dry, lines, reason: reason.to_owned() };
    if let Some(passwords) = passwords {
        // Only for mailboxes that will be made, and on disk before they are: a power cut must not
        // leave a mailbox whose password nobody ever saw.
        let planned = lines_of(ask(request(true, lines.clone()), &import.config).await?)?;
        for (line, planned) in lines.iter_mut().zip(&planned) {
            if planned.result == "made" {
                let made = password::generate()?;
                passwords.add(&line.address, made.expose())?;
                line.password = Some(made.expose().clone());
            }
        }
        passwords.sync()?;
    }
    Ok(lines_of(ask(request(import.dry_run, lines), &import.config).await?)?)
}

fn lines_of(answer: life::Answer) -> anyhow::Result<Vec<LineAnswer>> {
    match answer {
        life::Answer::Lines(lines) => Ok(lines),
        _ => bail!("the relay gave an answer that this program does not know"),
    }
}

async fn ask(request: life::Request, config: &ConfigFile) -> Result<life::Answer, Failure> {
    match commands::reach_with(config, control::Request::Life(request)).await? {
        Response::Life(answer) => Ok(answer),
        _ => Err(anyhow::anyhow!("the relay gave an unknown answer").into()),
    }
}

/// First passwords, for their owner's eyes.
struct Passwords(csv::Writer<File>);

impl Passwords {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.with_context(|| path.display().to_string())?;
        let metadata = file.metadata()?;
        if metadata.permissions().mode() & 0o077 != 0 || !metadata.is_file() {
            bail!("{}: others can read it; use a new file", path.display());
        }
        let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(file);
        if metadata.len() == 0 {
            writer.write_record(["address", "password"])?;
        }
        Ok(Self(writer))
    }

    fn add(&mut self, address: &str, password: &str) -> anyhow::Result<()> {
        Ok(self.0.write_record([address, password])?)
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        self.0.flush()?;
        Ok(self.0.get_ref().sync_all()?)
    }
}

fn write_results(path: &Path, answers: &[LineAnswer]) -> anyhow::Result<()> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(file);
    writer.write_record(["line", "address", "result", "detail"])?;
    for one in answers {
        let address = one.address.as_deref().unwrap_or_default();
        writer.write_record([&*one.line.to_string(), address, &one.result, &one.detail])?;
    }
    writer.flush()?;
    Ok(writer.get_ref().sync_all()?)
}

fn result_name(result: &str) -> &'static str {
    match result {
        "made" => "made",
        "there" => "there",
        "wrong" => "wrong",
        _ => "failed",
    }
}

fn show(
    answers: &[LineAnswer],
    counts: BTreeMap<&str, usize>,
    said: &[String],
    import: &Import,
) -> anyhow::Result<()> {
    if import.format.json {
        let summary = Summary { dry_run: import.dry_run, counts, lines: answers };
        return Ok(output::print_json(&summary)?);
    }
    let mut table = Table::new(&[">Line", "Address", "Result", "Why"]);
    for one in answers {
        let address = one.address.clone().unwrap_or_default();
        let result = match (import.dry_run, &*one.result) {
            (true, "made") => "would be made",
            (_, result) => result,
        };
        table.row([one.line.to_string(), address, result.to_owned(), one.detail.clone()]);
    }
    output::print_table(&table, "The list has no line.")?;
    let dry = if import.dry_run { " (nothing was changed)" } else { "" };
    Ok(output::print_line(&format!("{}{dry}", said.join(", ")))?)
}
