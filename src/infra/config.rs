//! Typed configuration from a TOML file and the environment; all errors at once.
mod build; // values to types, and what must hold between them
mod files; // what the named files must be
mod keys; // every key, whether it is needed, and what it expects
mod read; // the TOML file and the environment to values with an origin
#[cfg(test)]
mod tests;

use crate::domain::address::Domain;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of one relay. Every key is explained in `config/vaguemestre.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[operator]`
    pub operator: Operator,
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]`: certificate of the doors where people log in.
    pub tls: Tls,
    /// `[mx]`: certificate and anchors between operators.
    pub mx: Mx,
    /// `[trust]`
    pub trust: Trust,
    /// `[storage]`
    pub storage: Storage,
    /// `[limits]`
    pub limits: Limits,
    /// `[queue]`
    pub queue: Queue,
    /// `[log]`
    pub log: Log,
    /// `[admin]`
    pub admin: Admin,
}
/// Who we are.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `operator.name`: short name in logs and pages.
    pub name: String,
    /// `operator.hostname`: in the greeting, EHLO, Received.
    pub hostname: Domain,
    /// `operator.domains`: professional mail domains hosted here.
    pub domains: Vec<Domain>,
    /// `operator.citizen_domains`: domains of patients' inboxes hosted here (may be empty).
    pub citizen_domains: Vec<Domain>,
    /// `operator.patient_domains`: every domain of the trust space whose local parts are INS
    /// matricules, ours and others'. Default `["patient.mssante.fr"]` plus `citizen_domains`.
    pub patient_domains: Vec<Domain>,
    /// `operator.patient_service_mailboxes`: local parts in patient domains that are not people
    /// (default `["reponse.automatique-test"]`).
    pub patient_service_mailboxes: Vec<String>,
}
/// Where the doors listen; `None` closes a door.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// SMTP submission with STARTTLS.
    pub submission: Option<SocketAddr>,
    /// SMTP submission, TLS from the first byte.
    pub submissions: Option<SocketAddr>,
    /// Operators' door.
    pub mx: Option<SocketAddr>,
    /// IMAP with STARTTLS.
    pub imap: Option<SocketAddr>,
    /// IMAP, TLS from the first byte.
    pub imaps: Option<SocketAddr>,
    /// Pages.
    pub https: Option<SocketAddr>,
    /// Prometheus metrics, plain HTTP: bind it to a private address.
    pub metrics: Option<SocketAddr>,
}
/// PEM files for people's doors.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `tls.certificate`: chain, leaf first.
    pub certificate: PathBuf,
    /// `tls.key`
    pub key: PathBuf,
}
/// PEM files between operators, and fixed routes.
#[derive(Clone, Debug)]
pub struct Mx {
    /// `mx.certificate`: chain, leaf first.
    pub certificate: PathBuf,
    /// `mx.key`
    pub key: PathBuf,
    /// `mx.anchors`: CA certificates of operators.
    pub anchors: Vec<PathBuf>,
    /// `mx.routes."domain" = "host:port"`: where a domain's operator listens.
    pub routes: BTreeMap<Domain, String>,
}
/// The signed list of operators.
#[derive(Clone, Debug)]
pub struct Trust {
    /// `trust.list`: file.
    pub list: PathBuf,
    /// `trust.signer_anchors`: CA certificates of the signer.
    pub signer_anchors: Vec<PathBuf>,
    /// `trust.signer_common_name`
    pub signer_common_name: Option<String>,
    /// `trust.signer_email`
    pub signer_email: Option<String>,
    /// `trust.refresh_seconds`: how often the file is read again.
    pub refresh: Duration,
}
/// Where things lie.
#[derive(Clone, Debug)]
pub struct Storage {
    /// `storage.data_dir`
    pub data_dir: PathBuf,
    /// `storage.master_key`: file with the operator master key, mode 0600.
    pub master_key: PathBuf,
}
/// Limits that an operator may change; defaults in `domain::limits`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `limits.message_octets`
    pub message_octets: u64,
    /// `limits.recipients`
    pub recipients: usize,
    /// `limits.connections`: of one door.
    pub connections: usize,
    /// `limits.connections_per_address`: of one door.
    pub connections_per_address: usize,
    /// `limits.clear_octets`: clear text in memory in the whole process.
    pub clear_octets: u64,
    /// `limits.logins_failed_per_minute`: with one name from one network, before they are put off.
    pub logins_failed_per_minute: u32,
    /// `limits.command_seconds`: idle time on the SMTP doors.
    pub command: Duration,
    /// `limits.line_seconds`: time in which one begun line must end.
    pub line: Duration,
    /// `limits.data_seconds`: time in which one letter must arrive.
    pub data: Duration,
    /// `limits.imap_idle_seconds`: autologout, at least 1800.
    pub imap_idle: Duration,
}
/// Delivery schedule.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `queue.retry_seconds`: waits before the second, third, … attempt; the last one repeats.
    pub retry: Vec<Duration>,
    /// `queue.give_up_seconds`: age at which a letter is returned.
    pub give_up: Duration,
}
/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `log.format`: `pretty` or `json`.
    pub json: bool,
    /// `log.level`: `error|warn|info|debug`.
    pub level: String,
}
/// The dashboard's login.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `admin.user`
    pub user: String,
    /// `admin.password_file`: argon2id hash (as `vaguemestre admin passwd` writes it), mode 0600.
    pub password_file: Option<PathBuf>,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Dotted key, e.g. `mx.certificate`.
    pub key: String,
    /// The file (or `environment`) that set it, or should.
    pub file: String,
    /// What is wrong and what is expected.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.file, self.expected);
        }
        write!(f, "{} ({}): {}", self.key, self.file, self.expected)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads `file`, then environment variables `VAGUEMESTRE__SECTION__KEY`, and checks
    /// everything. Relative paths are relative to the file's folder.
    pub fn load(file: &Path) -> Result<Self, Vec<ConfigError>> {
        Self::load_with(file, None)
    }

    /// Like [`Config::load`], with these variables in place of the process's environment.
    pub fn load_with(
        file: &Path,
        environment: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, Vec<ConfigError>> {
        let found = read::read(file, environment)?;
        build::build(found).finish()
    }

    /// Like [`Config::load`], for the command that writes the administrator's password file:
    /// that this file is missing is no error for it.
    pub fn load_before_first_password(file: &Path) -> Result<Self, Vec<ConfigError>> {
        let found = read::read(file, None)?;
        let mut built = build::build(found);
        built.errors.retain(|error| error.key != "admin.password_file");
        built.finish()
    }
}
