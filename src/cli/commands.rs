//! Doing what was typed.
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::cli::Outcome;
use crate::cli::approval;
use crate::cli::arguments::Admin;
use crate::cli::arguments::Arguments;
use crate::cli::arguments::Command;
use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Demo;
use crate::cli::arguments::Format;
use crate::cli::arguments::Mailbox;
use crate::cli::arguments::PasswordSource;
use crate::cli::arguments::Stats;
use crate::cli::audit;
use crate::cli::certs;
use crate::cli::directory;
use crate::cli::dns;
use crate::cli::escrow;
use crate::cli::holders;
use crate::cli::keys;
use crate::cli::life;
use crate::cli::output;
use crate::cli::output::Table;
use crate::cli::password;
use crate::cli::publish;
use crate::cli::queue;
use crate::cli::session;
use crate::cli::shred;
use crate::cli::team;
use crate::cli::trace;
use crate::cli::trust;
use crate::demo;
use crate::domain::address::Address;
use crate::domain::mailbox::Listing;
use crate::domain::secret::Secret;
use crate::flow::office::Office;
use crate::infra::config::Config;
use crate::infra::config::ConfigError;
use crate::infra::config::storage::LockMemory;
use crate::infra::directory::factors::Proposal;
use crate::infra::keys::KeyError;
use crate::infra::log;
use crate::infra::log::LogGuard;
use crate::infra::process;
use crate::infra::store::StoreError;
use crate::relay;
use crate::server::control;
use crate::server::control::Caller;
use crate::server::control::ControlError;
use crate::server::control::Request;
use crate::server::control::wire::JournalLine;
use crate::server::control::wire::MailboxRow;
use crate::server::control::wire::Response;
use crate::server::control::wire::StatTable;
use crate::server::web::admin::people;
use crate::server::web::admin::totp_file;

/// A relay that has the store open and no control socket yet is starting: so long it may take.
const STARTING_PATIENCE: Duration = Duration::from_secs(10);
const STARTING_STEP: Duration = Duration::from_millis(100);

/// The key that names what a start misses.
const OLD_KEYS: &str = "storage.master_keys_old";
/// The key of the one in force.
const MASTER_KEY: &str = "storage.master_key";

/// Why a command did not do its work.
pub(super) enum Failure {
    Configuration(Vec<ConfigError>),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Runs the command and says on standard error why it failed.
pub async fn run(arguments: Arguments) -> Outcome {
    // Before the first secret is read, whatever the command.
    if let Err(error) = process::forbid_dumps() {
        output::tell(&format!("vaguemestre: core dumps cannot be forbidden: {error}"));
    }
    match dispatch(arguments.command).await {
        Ok(()) => Outcome::Done,
        Err(Failure::Configuration(errors)) => {
            tell_errors(&errors);
            Outcome::BadConfiguration
        }
        Err(Failure::Other(error)) => match refused_key(&error, "the configuration") {
            Some(refused) => {
                tell_errors(&[refused]);
                Outcome::BadConfiguration
            }
            None => {
                output::tell(&format!("vaguemestre: {error:#}"));
                Outcome::Failed
            }
        },
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { config } => serve(&config).await,
        Command::CheckConfig { config, format } => check_config(&config.file, format),
        Command::Mailbox(command) => mailbox(command).await,
        Command::Stats(Stats::Show { from, to, config, format }) => {
            ask(&config, Request::StatsShow { from, to }, format).await
        }
        Command::Queue(command) => queue::run(command).await,
        Command::Trust(command) => trust::run(command).await,
        Command::Certs(command) => certs::run(command).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Dns(command) => dns::run(command).await,
        Command::Session(command) => session::run(command).await,
        Command::Directory(command) => directory::run(command).await,
        Command::Team(command) => team::run(command).await,
        Command::Approval(command) => approval::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Escrow(command) => escrow::run(command).await,
        Command::Shred(command) => shred::run(command).await,
        Command::Publish(command) => publish::run(command).await,
        Command::Trace(command) => trace::run(command).await,
        Command::Admin(Admin::Journal { last, config, format }) => {
            ask(&config, Request::Journal { entries: usize::from(last) }, format).await
        }
        Command::Admin(Admin::Totp { user, config, format }) => admin_totp(user, &config, format),
        Command::Admin(Admin::Passkeys { user, reset, reason, config, format }) => {
            let name = match user {
                Some(user) => user,
                None => load(&config.file)?.admin.user,
            };
            holders::passkeys(name, reason.filter(|_| reset), &config, format).await
        }
        Command::Admin(Admin::Passwd { user, remove, file, password, config }) => {
            let (file, first) = administrators(file, &config)?;
            let name = user.unwrap_or_else(|| first.clone());
            match remove {
                true => remove_administrator(&file, &name, &first),
                false => admin_password(&file, &name, &first, password),
            }
        }
        Command::Demo(demo) => run_demo(demo).await,
        Command::Version { format } => version(format),
    }
}

async fn serve(file: &ConfigFile) -> Result<(), Failure> {
    let config = load(&file.file)?;
    let format = if config.log.json { log::Format::Json } else { log::Format::Pretty };
    let _log = log::install(format, &config.log.level);
    keep_in_memory(&config, Quiet::No)?;
    let file_name = file.file.display().to_string();
    relay::serve(config).await.map_err(|error| match refused_key(&error, &file_name) {
        Some(refused) => Failure::Configuration(vec![refused]),
        None => error.into(),
    })
}

/// Whether it is said that memory is not locked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Yes,
    No,
}

/// Keeps what this process has in memory out of the swap space, as `storage.lock_memory` says.
fn keep_in_memory(config: &Config, quiet: Quiet) -> anyhow::Result<()> {
    let how = config.storage.lock_memory;
    if how == LockMemory::Off {
        return Ok(());
    }
    match process::lock_memory() {
        Ok(()) if quiet == Quiet::No => tracing::info!("memory is kept out of the swap space"),
        Ok(()) => {}
        Err(error) if how == LockMemory::Require => {
            return Err(anyhow::Error::new(error).context("storage.lock_memory = \"require\""));
        }
        Err(error) if quiet == Quiet::No => {
            tracing::warn!("memory may be swapped out (storage.lock_memory = \"try\"): {error}");
        }
        Err(_) => {}
    }
    Ok(())
}

/// A master key that is missing, or another one, is an error of the configuration, whichever command
/// opens the store: whoever starts the program again and again must stop
/// (`RestartPreventExitStatus=78`), all the more when each start tries a wrong PIN. What opens the
/// store says so in the error's context; commands that make a key have another.
fn refused_key(error: &anyhow::Error, file: &str) -> Option<ConfigError> {
    let expected = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(KeyError::Master(reason)) => Some(reason.clone()),
        _ => None,
    })?;
    let said: Vec<String> = error.chain().map(ToString::to_string).collect();
    let key = [OLD_KEYS, MASTER_KEY].into_iter().find(|key| said.iter().any(|it| it == key))?;
    Some(ConfigError { key: key.to_owned(), file: file.to_owned(), expected })
}

fn check_config(file: &Path, format: Format) -> Result<(), Failure> {
    let errors = Config::load(file).err().unwrap_or_default();
    if format.json {
        output::print_json(&errors.iter().map(ErrorRow::from).collect::<Vec<_>>())?;
    }
    if !errors.is_empty() {
        return Err(Failure::Configuration(errors));
    }
    if !format.json {
        output::print_line(&format!("{}: nothing is wrong.", file.display()))?;
    }
    Ok(())
}

async fn mailbox(command: Mailbox) -> Result<(), Failure> {
    match command {
        Mailbox::Add { address, kind, name, red_list, no_password, password, config, format } => {
            // The configuration first: nobody should type a password in vain.
            let file = load(&config.file)?;
            let address = address_of(&address)?;
            let chosen = match no_password {
                true => password::none(),
                false => password::choose(password)?,
            };
            let shown = chosen.made.then(|| chosen.password.expose().clone());
            let request = Request::MailboxAdd {
                address,
                kind: kind.into(),
                display_name: name,
                password: chosen.password,
                listing: if red_list { Listing::RedList } else { Listing::Public },
            };
            let response = reach(&file, request).await?;
            show_with_password(response, shown, format)
        }
        Mailbox::List { config, format } => ask(&config, Request::MailboxList, format).await,
        Mailbox::Life(command) => life::run(command).await,
        Mailbox::Holder(command) => holders::holder(command).await,
        Mailbox::AppPassword(command) => holders::app_password(command).await,
        Mailbox::Factors(command) => holders::factors(command).await,
        Mailbox::Absence(absence) => team::ask_absence(absence).await,
        Mailbox::Passwd { address, no_password, password, config, format } => {
            let file = load(&config.file)?;
            let address = address_of(&address)?;
            let chosen = match no_password {
                true => password::none(),
                false => password::choose(password)?,
            };
            let shown = chosen.made.then(|| chosen.password.expose().clone());
            let request = Request::MailboxPassword { address, password: chosen.password };
            let response = reach(&file, request).await?;
            show_with_password(response, shown, format)
        }
    }
}

/// The file of the administrators, and the name of the first one.
fn administrators(
    file: Option<PathBuf>,
    config: &ConfigFile,
) -> Result<(PathBuf, String), Failure> {
    if let Some(file) = file {
        return Ok((file, "admin".to_owned()));
    }
    let admin =
        Config::load_before_first_password(&config.file).map_err(Failure::Configuration)?.admin;
    let file = admin
        .password_file
        .context("the configuration has no admin.password_file; add it, or use --file")?;
    Ok((file, admin.user))
}

fn admin_password(
    file: &Path,
    name: &str,
    first: &str,
    source: PasswordSource,
) -> Result<(), Failure> {
    let chosen = password::choose(source)?;
    let hash = password::hash(&chosen.password)?;
    let text = password::read_private(file)?;
    let text = people::with(text.expose(), name, first, Some(&hash));
    password::write_private(file, &Secret::new(text))?;
    if chosen.made {
        output::print_line(chosen.password.expose())?;
    }
    output::tell(&format!(
        "{} is written for {name}. A relay that started without this file must start again.",
        file.display()
    ));
    Ok(())
}

fn remove_administrator(file: &Path, name: &str, first: &str) -> Result<(), Failure> {
    let text = password::read_private(file)?;
    if people::find(text.expose(), name, first).is_none() {
        return Err(anyhow::anyhow!("{} names no administrator {name}", file.display()).into());
    }
    let left = people::with(text.expose(), name, first, None);
    if people::any(&left).is_none() {
        let last = "this is the last administrator: take admin.password_file out of the \
                    configuration to close the dashboard";
        return Err(anyhow::anyhow!(last).into());
    }
    password::write_private(file, &Secret::new(left))?;
    let secrets = totp_file(file);
    let text = password::read_private(&secrets)?;
    if people::find(text.expose(), name, first).is_some() {
        let left = people::with(text.expose(), name, first, None);
        password::write_private(&secrets, &Secret::new(left))?;
    }
    output::tell(&format!(
        "{name} is taken out of {}. Pages that they have open end with the next request.",
        file.display()
    ));
    Ok(())
}

fn admin_totp(user: Option<String>, config: &ConfigFile, format: Format) -> Result<(), Failure> {
    let config = load(&config.file)?;
    let file =
        config.admin.password_file.context("the configuration has no admin.password_file")?;
    let first = config.admin.user;
    let name = user.unwrap_or_else(|| first.clone());
    if people::find(password::read_private(&file)?.expose(), &name, &first).is_none() {
        return Err(anyhow::anyhow!("{} names no administrator {name}", file.display()).into());
    }
    let file = totp_file(&file);
    let proposal = Proposal::new(&config.operator.name, &name)?;
    let octets = proposal.secret.expose().iter();
    let secret: String = octets.map(|octet| format!("{octet:02x}")).collect();
    let text = password::read_private(&file)?;
    let text = people::with(text.expose(), &name, &first, Some(&secret));
    password::write_private(&file, &Secret::new(text))?;
    let (secret, address) = (proposal.base32.expose(), proposal.address.expose());
    if format.json {
        output::print_json(&serde_json::json!({ "secret": secret, "address": address }))?;
    } else {
        output::print_line(secret)?;
        output::print_line(address)?;
    }
    output::tell(&format!("{} is written.", file.display()));
    Ok(())
}

async fn run_demo(demo: Demo) -> Result<(), Failure> {
    // The demo tells its story on standard output; the relays' log would drown it.
    let _log = log::install(log::Format::Pretty, "warn");
    // As `storage.lock_memory = "try"` would, without a word: nothing in a demo is secret.
    let _ = process::lock_memory();
    demo::run(demo::Options {
        data_dir: demo.data_dir,
        port_base: demo.port_base,
        host: demo.host,
        once: demo.once,
        accounts: demo.accounts,
    })
    .await?;
    Ok(())
}

fn version(format: Format) -> Result<(), Failure> {
    let openpgp = if cfg!(feature = "pgp-openssl") { "openssl" } else { "rust" };
    let version = env!("CARGO_PKG_VERSION");
    if format.json {
        let value = serde_json::json!({
            "version": version,
            "openpgp": openpgp,
            "tls": "rustls with aws-lc-rs",
            "license": env!("CARGO_PKG_LICENSE"),
        });
        output::print_json(&value)?;
    } else {
        output::print_line(&format!(
            "vaguemestre {version}\nTLS: rustls with aws-lc-rs. OpenPGP: sequoia with {openpgp}.\n\
             Licence: {}; NOTICE names the parts under other ones.",
            env!("CARGO_PKG_LICENSE")
        ))?;
    }
    Ok(())
}

pub(super) fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(Failure::Configuration)
}

/// `-` keeps a patient's INS out of the process list and the shell's history.
pub(super) fn address_of(text: &str) -> anyhow::Result<Address> {
    let line;
    let text = if text == "-" {
        line = password::read_line().context("no address on standard input")?;
        line.expose().trim()
    } else {
        text
    };
    Address::parse(text).context("the address is not one")
}

/// Loads the configuration and asks; a failure is an error here. Certificates are not looked at:
/// a running relay has its own, and a stopped one says itself which file it cannot use.
pub(super) async fn reach_with(config: &ConfigFile, request: Request) -> Result<Response, Failure> {
    let config = Config::load_despite_certificates(&config.file).map_err(Failure::Configuration)?;
    match reach(&config, request).await? {
        Response::Failed(reason) => Err(anyhow::anyhow!(reason).into()),
        response => Ok(response),
    }
}

/// Where the data lies, also when files that the configuration names are gone.
pub(super) fn data_dir(file: &Path) -> Result<PathBuf, Failure> {
    let config = Config::load_despite_keys(file).map_err(Failure::Configuration)?;
    Ok(config.storage.data_dir)
}

/// A relay of another version answered what nobody asked.
pub(super) fn unexpected(_response: &Response) -> Result<(), Failure> {
    Err(anyhow::anyhow!("the relay gave an answer that this program does not know").into())
}

async fn ask(config: &ConfigFile, request: Request, format: Format) -> Result<(), Failure> {
    let config = load(&config.file)?;
    show(reach(&config, request).await?, format)
}

async fn reach(config: &Config, request: Request) -> anyhow::Result<Response> {
    match find_relay(config, &request).await? {
        Found::Running(response) => Ok(response),
        Found::Stopped(office, _log) => Ok(control::handle(&office, request, &Caller::own()).await),
    }
}

/// Who does what is asked.
pub(super) enum Found {
    /// The relay runs, and this is its answer.
    Running(Response),
    /// It does not: we do, as long as we hold this.
    Stopped(Arc<Office>, LogGuard),
}

/// A running relay does it itself; otherwise we open its store. The store's lock decides races:
/// whoever holds it answers on the socket in a moment, because it is a relay that starts.
pub(super) async fn find_relay(config: &Config, request: &Request) -> anyhow::Result<Found> {
    let socket = control::socket_path(&config.storage.data_dir);
    let mut patience = STARTING_PATIENCE;
    loop {
        match control::ask(&socket, request).await {
            Ok(response) => return Ok(Found::Running(response)),
            Err(ControlError::NotRunning(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match office_of_stopped(config).await {
            Ok((office, log)) => return Ok(Found::Stopped(office, log)),
            Err(error) if !patience.is_zero() && is_in_use(&error) => {
                tokio::time::sleep(STARTING_STEP).await;
                patience = patience.saturating_sub(STARTING_STEP);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The office of a relay that does not run, and its log. Only one process has it at a time.
async fn office_of_stopped(config: &Config) -> anyhow::Result<(Arc<Office>, LogGuard)> {
    let log = log::install(log::Format::Pretty, "warn");
    keep_in_memory(config, Quiet::Yes)?;
    Ok((relay::offline(config).await?, log))
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::InUse(_))))
}

fn show(response: Response, format: Format) -> Result<(), Failure> {
    match response {
        Response::Failed(reason) => return Err(anyhow::anyhow!(reason).into()),
        Response::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        Response::Done(text) => output::print_line(&text)?,
        Response::Mailboxes(rows) if format.json => output::print_json(&rows)?,
        Response::Mailboxes(rows) => {
            output::print_table(
                &mailbox_table(&rows),
                "No mailboxes yet: `mailbox add` makes one.",
            )?;
        }
        Response::Stats(table) if format.json => output::print_json(&table)?,
        Response::Stats(table) => {
            let empty = format!("Nothing happened from {} to {}.", table.from, table.to);
            output::print_table(&stat_table(&table), &empty)?;
        }
        Response::Journal(lines) if format.json => output::print_json(&lines)?,
        Response::Journal(lines) => {
            output::print_table(&journal_table(&lines), "Nobody has done anything yet.")?;
        }
        other => unexpected(&other)?,
    }
    Ok(())
}

/// A made password is shown once, and only when it is in force.
fn show_with_password(
    response: Response,
    password: Option<String>,
    format: Format,
) -> Result<(), Failure> {
    match (response, password) {
        (Response::Done(text), Some(password)) if format.json => {
            output::print_json(&serde_json::json!({ "done": text, "password": password }))?;
        }
        (Response::Done(text), Some(password)) => {
            output::print_line(&format!("{text}\nPassword, shown only now: {password}"))?;
        }
        (response, _) => show(response, format)?,
    }
    Ok(())
}

fn mailbox_table(rows: &[MailboxRow]) -> Table {
    let mut table =
        Table::new(&["Kind", "Address", "Name", "Listing", "State", "Created", "Last login"]);
    for row in rows {
        table.row([
            &row.kind,
            &row.address,
            &row.display_name,
            &row.listing,
            &row.state,
            &row.created,
            &row.last_login,
        ]);
    }
    table
}

fn stat_table(table: &StatTable) -> Table {
    let heading = ["Day", "Domain", "Kind", "Counterpart", "Event", "Reason", ">Count", ">Octets"];
    let mut printed = Table::new(&heading);
    for row in &table.rows {
        printed.row([
            row.day.clone(),
            row.domain.clone(),
            row.kind.clone().unwrap_or_default(),
            row.counterpart.clone(),
            row.event.clone(),
            row.reason.clone(),
            row.count.to_string(),
            row.octets.to_string(),
        ]);
    }
    printed
}

fn journal_table(lines: &[JournalLine]) -> Table {
    let mut table = Table::new(&["When", "Who", "What", "On", "Why", "Outcome"]);
    for line in lines {
        table.row([
            &line.at,
            &line.author,
            &line.action,
            &line.target,
            &line.reason,
            &line.outcome,
        ]);
    }
    table
}

/// [`ConfigError`] for programs.
#[derive(Serialize)]
struct ErrorRow<'a> {
    key: &'a str,
    file: &'a str,
    expected: &'a str,
}

impl<'a> From<&'a ConfigError> for ErrorRow<'a> {
    fn from(error: &'a ConfigError) -> Self {
        Self { key: &error.key, file: &error.file, expected: &error.expected }
    }
}

fn tell_errors(errors: &[ConfigError]) {
    let count = match errors.len() {
        1 => "1 error".to_owned(),
        several => format!("{several} errors"),
    };
    output::tell(&format!("vaguemestre: the configuration has {count}:"));
    for error in errors {
        output::tell(&format!("  {error}"));
    }
}
