//! Typed configuration from a TOML file and the environment; all errors at once.
mod build; // sections to types, and what must hold between them
pub mod custody; // [audit], [escrow]
pub mod directory; // [directory], [fhir], [addressbook], [publish]
mod files; // what the named files must be
mod keys; // every key, whether it is needed, and what it expects
pub mod gateway; // [openpgp]: what happens to letters
pub mod life; // [life], [setup]
pub mod openpgp; // [openpgp]
pub mod login; // [login], [ldap], [oidc], [web]
mod read; // the TOML file and the environment to values with an origin
pub mod storage; // [storage]
#[cfg(test)]
mod tests;
mod values; // one key at a time

use crate::domain::address::Domain;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::infra::config::custody::Custody;
use crate::infra::config::directory::AddressBook;
use crate::infra::config::directory::Directory;
use crate::infra::config::directory::Fhir;
use crate::infra::config::directory::Publish;
use crate::infra::config::gateway::Gateway;
use crate::infra::config::life::Life;
use crate::infra::config::life::Setup;
use crate::infra::config::login::Ldap;
use crate::infra::config::login::Login;
use crate::infra::config::login::Oidc;
use crate::infra::config::login::Web;
use crate::infra::config::storage::Storage;
use crate::infra::config::openpgp::OpenPgp;

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
    /// `[dns]`
    pub dns: Dns,
    /// `[trust]`
    pub trust: Trust,
    /// `[revocation]`
    pub revocation: Revocation,
    /// `[certs]`
    pub certs: Certs,
    /// `[storage]`
    pub storage: Storage,
    /// `[limits]`
    pub limits: Limits,
    /// `[imap]`
    pub imap: Imap,
    /// `[mailboxes]`
    pub mailboxes: MailboxRules,
    /// `[sieve]`
    pub sieve: Sieve,
    /// `[queue]`
    pub queue: Queue,
    /// `[service]`
    pub service: Service,
    /// `[documents]`
    pub documents: Documents,
    /// `[trace]`
    pub trace: Trace,
    /// `[log]`
    pub log: Log,
    /// `[login]`
    pub login: Login,
    /// `[ldap]`: `None` without servers.
    pub ldap: Option<Ldap>,
    /// `[oidc]`: `None` without an issuer.
    pub oidc: Option<Oidc>,
    /// `[web]`
    pub web: Web,
    /// `[directory]`
    pub directory: Directory,
    /// `[fhir]`: `None` without an address.
    pub fhir: Option<Fhir>,
    /// `[addressbook]`
    pub addressbook: AddressBook,
    /// `[publish]`
    pub publish: Publish,
    /// `[openpgp]`: what happens to letters
    pub gateway: Gateway,
    /// `[life]`
    pub life: Life,
    /// `[audit]`, `[escrow]`
    pub custody: Custody,
    /// `[setup]`
    pub setup: Setup,
    /// `[openpgp]`
    pub openpgp: OpenPgp,
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
    /// POP3 with STLS.
    pub pop3: Option<SocketAddr>,
    /// POP3, TLS from the first byte.
    pub pop3s: Option<SocketAddr>,
    /// ManageSieve with STARTTLS.
    pub managesieve: Option<SocketAddr>,
    /// Address book over LDAP, with StartTLS.
    pub ldap: Option<SocketAddr>,
    /// Address book over LDAP, TLS from the first byte.
    pub ldaps: Option<SocketAddr>,
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
    /// `mx.lookup`: other domains' hosts are looked up in the DNS (MX records).
    pub lookup: bool,
    /// `mx.port`: where hosts found in the DNS listen.
    pub port: u16,
    /// `mx.accept_server_certificates`: a peer that calls us may show a certificate for servers
    /// only (serverAuth without clientAuth).
    pub accept_server_certificates: bool,
    /// `mx.allow_test_authorities`: anchors of the TEST hierarchy are taken, here and for the
    /// list's signer.
    pub allow_test_authorities: bool,
}
/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Dns {
    /// `dns.servers`: empty for those of the system.
    pub servers: Vec<SocketAddr>,
}
/// Where the trust list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// A file.
    File(PathBuf),
    /// An `https://` address (`http://` is refused but for loopback addresses).
    Url(String),
}
/// The signed list of operators.
#[derive(Clone, Debug)]
pub struct Trust {
    /// `trust.list`: file or URL.
    pub list: ListSource,
    /// `trust.server_anchors`: CA certificates of the HTTPS server; the signer's by default.
    pub server_anchors: Vec<PathBuf>,
    /// `trust.signer_anchors`: CA certificates of the signer.
    pub signer_anchors: Vec<PathBuf>,
    /// `trust.signer_common_name`
    pub signer_common_name: Option<String>,
    /// `trust.signer_email`
    pub signer_email: Option<String>,
    /// `trust.refresh_seconds`: how often the list is fetched again.
    pub refresh: Duration,
    /// `trust.accept_expired_signer`: an expired signer's certificate is taken, and logged.
    pub accept_expired_signer: bool,
    /// `trust.removals_percent`: when a new list takes away more than this share of the (domain,
    /// certificate) pairs, the removals wait for approval.
    pub removals_percent: u64,
    /// `trust.age_warning_seconds`
    pub age_warning: Duration,
    /// `trust.age_alarm_seconds`
    pub age_alarm: Duration,
    /// `trust.age_limit_seconds`: over it nobody is judged by the list any more: 4xx. `None`: no
    /// limit.
    pub age_limit: Option<Duration>,
}
/// What happens when nobody can say whether a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// No evidence within the grace: temporary failure.
    Required,
    /// No evidence: logged, let through. A revoked certificate is refused.
    IfAvailable,
    /// Nobody asks.
    Off,
}
/// Revocation of other operators' certificates, and of the list's signer and server.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// `revocation.mode`
    pub mode: RevocationMode,
    /// `revocation.crl_files`: CRLs that lie here, PEM or DER, read again when they change.
    pub crl_files: Vec<PathBuf>,
    /// `revocation.crl`: CRLs are fetched from where certificates say.
    pub crl: bool,
    /// `revocation.ocsp`: responders are asked where certificates say.
    pub ocsp: bool,
    /// `revocation.timeout_seconds`: of one question.
    pub timeout: Duration,
    /// `revocation.refresh_seconds`: the age at which evidence that is still valid is renewed.
    pub refresh: Duration,
    /// `revocation.grace_seconds`: how long evidence counts after its own end when nobody answers.
    pub grace: Duration,
}
/// Watching certificates.
#[derive(Clone, Debug)]
pub struct Certs {
    /// `certs.warn_days`: days before an expiry at which it is said, longest first.
    pub warn_days: Vec<u64>,
    /// `certs.watch_seconds`: how often the files are looked at for a change.
    pub watch: Duration,
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
/// What the IMAP doors offer.
#[derive(Clone, Debug)]
pub struct Imap {
    /// `imap.without`: capabilities that are switched off, in capitals as CAPABILITY names them.
    pub without: Vec<String>,
    /// `imap.compress`: COMPRESS=DEFLATE is offered.
    pub compress: bool,
}
/// What holds for every mailbox.
#[derive(Clone, Debug)]
pub struct MailboxRules {
    /// `mailboxes.quota_octets`: clear octets of all messages; `None`: no limit.
    pub quota_octets: Option<u64>,
    /// `mailboxes.quota_messages`; `None`: no limit.
    pub quota_messages: Option<u64>,
    /// `mailboxes.retention_seconds`: how long contents are held after they were expunged.
    pub retention: Duration,
    /// `mailboxes.shared_seen`: readers of a team mailbox share `\Seen`; each has an own one
    /// otherwise.
    pub shared_seen: bool,
}
/// Filters at delivery.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// `sieve.vacation_seconds_min`: the shortest time between two answers to one sender.
    pub vacation_min: Duration,
    /// `sieve.redirects_max`: addresses that one letter may be redirected to; 0: none.
    pub redirects_max: usize,
}
/// Delivery schedule.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `queue.retry_seconds`: waits before the second, third, … attempt; the last one repeats.
    pub retry: Vec<Duration>,
    /// `queue.give_up_seconds`: age at which a letter is returned.
    pub give_up: Duration,
    /// `queue.jitter_percent`: by how much a wait may be longer or shorter.
    pub jitter_percent: u64,
    /// `queue.delay_notice_seconds`: age at which the sender hears of a delay; `None`: never.
    pub delay_notice: Option<Duration>,
    /// `queue.per_destination`: attempts at one domain at the same time.
    pub per_destination: usize,
    /// `queue.at_once`: attempts in all at the same time.
    pub at_once: usize,
    /// `queue.own_passes`: how often a letter may have passed this relay before it is a loop.
    pub own_passes: usize,
}
/// What senders may rely on.
#[derive(Clone, Debug)]
pub struct Service {
    /// `service.within_seconds."CODE" = seconds`: a letter with a document of this code (LOINC, as
    /// in X-MSS-CODECDA) that has not arrived after so long gives a notice to its sender; `*` is
    /// every letter.
    pub within: BTreeMap<String, Duration>,
}
/// Structured letters (XDM).
#[derive(Clone, Debug)]
pub struct Documents {
    /// `documents.inspect`: recognise them at all.
    pub inspect: bool,
    /// `documents.warn_sender`: tell the sender when the patient in the document is not the one
    /// who gets the letter.
    pub warn_sender: bool,
    /// `documents.refuse_mismatch`: refuse such a letter.
    pub refuse_mismatch: bool,
}
/// Timelines of letters and decisions.
#[derive(Clone, Debug)]
pub struct Trace {
    /// `trace.keep_days`
    pub keep: Duration,
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
    /// `admin.alerts_to`: a mailbox that alerts are written to, besides the log.
    pub alerts_to: Option<crate::domain::address::Address>,
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

    /// Like [`Config::load`], for commands that ask a relay which may be running: the content of
    /// certificates and keys is no error for them. A file that somebody spoilt must not keep
    /// administrators from the relay that still runs with the one before.
    pub fn load_despite_certificates(file: &Path) -> Result<Self, Vec<ConfigError>> {
        const FILES: [&str; 7] = [
            "tls.certificate",
            "tls.key",
            "mx.certificate",
            "mx.key",
            "mx.anchors",
            "trust.signer_anchors",
            "revocation.crl_files",
        ];
        let found = read::read(file, None)?;
        let mut built = build::build(found);
        // Without a configuration these keys may be missing, and that is an error for everybody.
        if built.config.is_some() {
            built.errors.retain(|error| !FILES.contains(&error.key.as_str()));
        }
        built.finish()
    }
}
