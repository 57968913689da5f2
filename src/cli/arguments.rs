//! What can be typed, and its help. The texts are for somebody who is in a hurry.
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::approval::Approval;
use crate::cli::audit::Audit;
use crate::cli::certs::Certs;
use crate::cli::directory::Directory;
use crate::cli::dns::Dns;
use crate::cli::escrow::Escrow;
use crate::cli::holders::AppPassword;
use crate::cli::holders::Factors;
use crate::cli::holders::Holder;
use crate::cli::keys::Keys;
use crate::cli::life::Life;
use crate::cli::publish::Publish;
use crate::cli::queue::Queue;
use crate::cli::session::Session;
use crate::cli::shred::Shred;
use crate::cli::team::Absence;
use crate::cli::team::Team;
use crate::cli::trace::Trace;
use crate::cli::trust::Trust;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Day;
use crate::server::web::admin::people;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed; standard error says why
  2   wrong usage
  78  the configuration is wrong; standard error names every error

Environment:
  VAGUEMESTRE__SECTION__KEY  goes before the key in the configuration file
  VAGUEMESTRE_LOG            refines the log level for one run, e.g. vaguemestre::flow=debug";

/// Says how a command reaches the data. One text, so that no command says it otherwise.
pub(super) const REACH: &str = "\
Works on a running and on a stopped relay. If the relay runs, it is asked through the socket
control.sock in its data folder, which answers only its own user and root. If not, this command
opens the store itself; the store's lock makes both at once impossible. So run it as the relay's
user (sudo -u vaguemestre ...) or as root while the relay runs.";

/// A relay for secure health mail (MSSanté).
///
/// An operator runs one relay for its mail domains. Clinicians and software send and read with
/// ordinary mail programs; other operators are met with certificates and the signed list of the
/// trust space; patients read and answer on a web page. Everything that is kept is sealed.
#[derive(Debug, Parser)]
#[command(name = "vaguemestre", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the relay until Ctrl-C or SIGTERM.
    ///
    /// Checks the whole configuration first, opens the store, then the doors. On SIGINT or
    /// SIGTERM it takes no new connection, lets running letters finish for a moment and stops; a
    /// letter that got its 250 is on disk. Logs go to standard error.
    #[command(after_help = "\
Example:
  vaguemestre serve --config /etc/vaguemestre/vaguemestre.toml

Refuses to start while another relay uses the same data folder.")]
    Serve {
        #[command(flatten)]
        config: ConfigFile,
    },

    /// Check a configuration and say everything that is wrong with it.
    ///
    /// Reads the file and the environment as `serve` would, checks every key, file and number, and
    /// lists all errors at once, each with its key, the file or variable that set it, and what is
    /// expected. Changes nothing; whether the relay runs does not matter.
    #[command(after_help = "\
Examples:
  vaguemestre check-config --config vaguemestre.toml && systemctl restart vaguemestre
  VAGUEMESTRE__LOG__LEVEL=debug vaguemestre check-config --config vaguemestre.toml
  vaguemestre check-config --config vaguemestre.toml --json

Exits with 78 when something is wrong.")]
    CheckConfig {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },

    /// The mailboxes of this relay: make, list, re-key, suspend, close.
    #[command(subcommand)]
    Mailbox(Mailbox),

    /// Statistics from the ledger.
    #[command(subcommand)]
    Stats(Stats),

    /// Letters that wait for delivery, and what may be done with them.
    #[command(subcommand)]
    Queue(Queue),

    /// The list of operators: what is active, what changes, why somebody was refused.
    #[command(subcommand)]
    Trust(Trust),

    /// Every certificate, ours and theirs, and its end.
    #[command(subcommand)]
    Certs(Certs),

    /// Keys: the operator's master key and its versions.
    #[command(subcommand)]
    Keys(Keys),

    /// The DNS records that lead mail and mail programs here.
    #[command(subcommand)]
    Dns(Dns),

    /// Who is logged in now, and ending it.
    #[command(subcommand)]
    Session(Session),

    /// The copy of the national directory: import, age, search, drift.
    #[command(subcommand)]
    Directory(Directory),

    /// Who may read whose mailbox: delegations with their reason and their end.
    #[command(subcommand)]
    Team(Team),

    /// What waits for a second administrator (life.four_eyes).
    #[command(subcommand)]
    Approval(Approval),

    /// The ledger of key uses: proving it, listing it, exporting it signed.
    #[command(subcommand)]
    Audit(Audit),

    /// Keys under a quorum of administrators: set-up, drill, recovery.
    #[command(subcommand)]
    Escrow(Escrow),

    /// Letters and mailboxes destroyed for good, with a signed receipt.
    #[command(subcommand)]
    Shred(Shred),

    /// Our mailboxes in the national directory: what it knows, and telling it.
    #[command(subcommand)]
    Publish(Publish),

    /// Where a letter is, and what happened to it, recipient by recipient.
    ///
    /// Every letter with this Message-ID (with or without angle brackets) or this queue id: how it
    /// came, each attempt with host, certificate, TLS and reply, the reports and receipts that
    /// went and came, and what administrators did. Patients are shown as ***@domain.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre trace '<20261122.1@hopital.mssante.fr>'
  vaguemestre trace 0192f3c4a5b67c8d9e0f1a2b3c4d5e6f --json
  printf '%s\\n' \"$ID\" | vaguemestre trace -

Exits with 1 when no such letter is known (any more)."))]
    Trace(Trace),

    /// The administrators' dashboard.
    #[command(subcommand)]
    Admin(Admin),

    /// Run a whole trust space on this machine, to look at.
    ///
    /// Makes a private certificate authority, two operators, a signed trust list, mailboxes,
    /// patients and keys in one folder, runs both relays in this process, sends sample letters
    /// and says how to connect a mail program. Everything is marked DEMO and trusts only itself.
    /// Ctrl-C stops it; the same folder goes on with the same data.
    #[command(after_help = "\
Examples:
  vaguemestre demo
  vaguemestre demo --data-dir /tmp/demo --port-base 20000
  vaguemestre demo --once              checks that each letter arrived, reports, exits

DIR/demo.json describes the running demo for scripts. The first operator listens on N+587 and N+465
(submission), N+25 (operators), N+143 and N+993 (IMAP), N+443 (pages), N+90 (metrics); the second
one on the same plus 1000.")]
    Demo(Demo),

    /// Say which version this is, and how it was built.
    Version {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Mailbox {
    #[command(flatten)]
    Life(Life),
    /// Open a mailbox with its keys, folders and first password.
    ///
    /// Address and kind are for ever: an address is never given to another mailbox. The password
    /// is asked for twice on the terminal, unless one of the options says otherwise; it is never
    /// an argument, because arguments can be seen by everybody on the machine.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre mailbox add dr.martin@hopital.mssante.fr --kind PER --name \"Dr Marie MARTIN\"
  vaguemestre mailbox add labo@hopital.mssante.fr --kind APP --generate
  printf '%s\\n' \"$INS@patient.mssante.fr\" |
    vaguemestre mailbox add - --kind CTN --generate      keeps the INS out of the process list"))]
    Add {
        /// The address, or `-` to read it from the first line of standard input.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// PER a professional, ORG a team, APP a program, CAB a practice, CTN a patient.
        #[arg(long, value_enum, ignore_case = true)]
        kind: Kind,
        /// What people call it, e.g. "Dr Marie MARTIN".
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// Hide it in the public directory (liste rouge). It receives all the same.
        #[arg(long)]
        red_list: bool,
        /// None of our own: its person is another directory's (login.directories), or shows app
        /// passwords, tokens or a certificate.
        #[arg(long, conflicts_with_all = ["password_stdin", "generate"])]
        no_password: bool,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// List all mailboxes. A patient is shown as ***@domain.
    #[command(after_help = REACH)]
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Say that somebody is away and who stands in; without options: show it.
    ///
    /// From the first day to the last one, each letter that reaches the mailbox gives its sender
    /// one automatic answer in French and English that names the substitute; lists, programs and
    /// reports get none. With --delegate the substitute may work in the mailbox in that time.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre mailbox absence dr.martin@hopital.mssante.fr --substitute dr.lune@hopital.mssante.fr \\
    --from 2026-12-20 --until 2027-01-03 --delegate lrs --reason \"leave\"
  vaguemestre mailbox absence dr.martin@hopital.mssante.fr
  vaguemestre mailbox absence dr.martin@hopital.mssante.fr --off --reason \"is back\""))]
    Absence(Absence),
    /// The professionals who open the mailbox with their own identity.
    #[command(subcommand)]
    Holder(Holder),
    /// Passwords for single programs: named, limited, revocable.
    #[command(subcommand)]
    AppPassword(AppPassword),
    /// Which second factors the mailbox's pages ask for; with --reset, forget lost ones.
    ///
    /// Make sure that it is the person who asks: afterwards a password alone opens the page, or
    /// sets a new factor up.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre mailbox factors dr.martin@hopital.mssante.fr
  vaguemestre mailbox factors dr.martin@hopital.mssante.fr --reset \\
    --reason \"telephone stolen, called back\""))]
    Factors(Factors),
    /// Set a new password. What is sealed stays readable: keys do not hang on passwords.
    #[command(after_help = REACH)]
    Passwd {
        /// The address, or `-` to read it from the first line of standard input.
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Take the password away: its person is another directory's (login.directories), or shows app
        /// passwords, tokens or a certificate.
        #[arg(long, conflicts_with_all = ["password_stdin", "generate"])]
        no_password: bool,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Stats {
    /// Letters sent, received, refused, by day, domain, kind of mailbox and counterpart.
    ///
    /// Every figure is computed from the facts in the ledger; days are French calendar days.
    /// `accepted` counts letters, `sent` and `received` count a letter once for each recipient.
    #[command(after_help = REACH, after_long_help = format!("\
{REACH}

Examples:
  vaguemestre stats show
  vaguemestre stats show --from 2026-11-01 --to 2026-11-30 --json"))]
    Show {
        /// First day, YYYY-MM-DD. Default: the first of the month of the last day.
        #[arg(long, value_name = "DAY", value_parser = day)]
        from: Option<Day>,
        /// Last day, included. Default: today.
        #[arg(long, value_name = "DAY", value_parser = day)]
        to: Option<Day>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Set an administrator's password of the dashboard.
    ///
    /// Writes an argon2id hash, mode 600, to the file that `admin.password_file` names (or
    /// `--file`), whole or not at all. Other administrators' lines stay as they are. Does not talk
    /// to the relay, which reads the file at each login.
    #[command(after_help = "\
Examples:
  vaguemestre admin passwd --config /etc/vaguemestre/vaguemestre.toml
  vaguemestre admin passwd --user marie.martin --generate
  vaguemestre admin passwd --user marie.martin --remove
  vaguemestre admin passwd --file admin.passwd --generate")]
    Passwd {
        /// Whose password. Default: the one that `admin.user` names.
        #[arg(long, value_name = "NAME", value_parser = administrator)]
        user: Option<String>,
        /// Take the administrator out of the file, with their one-time secret.
        #[arg(long, requires = "user", conflicts_with_all = ["generate", "password_stdin"])]
        remove: bool,
        /// Write here instead of asking the configuration.
        #[arg(long, value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make the secret of an administrator's one-time codes, and show it once.
    ///
    /// Writes it, mode 600, beside the file of the passwords (FILE.totp). From then on the
    /// dashboard asks them for a code, unless `login.second_factor` is "off". A secret that was
    /// there is replaced. Does not talk to the relay, which needs no restart.
    Totp {
        /// Whose codes. Default: the one that `admin.user` names.
        #[arg(long, value_name = "NAME", value_parser = administrator)]
        user: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// How many passkeys an administrator of the dashboard has; with --reset, forget lost ones.
    #[command(after_help = REACH)]
    Passkeys {
        /// Whose passkeys. Default: the one that `admin.user` names.
        #[arg(long, value_name = "NAME", value_parser = administrator)]
        user: Option<String>,
        /// Forget them all: every device that keeps one is lost.
        #[arg(long, requires = "reason")]
        reset: bool,
        /// Why, for the journal.
        #[arg(long, value_name = "TEXT", requires = "reset")]
        reason: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// What administrators did, and why: youngest first.
    #[command(after_help = REACH)]
    Journal {
        /// At most so many lines, 1 to 1000.
        #[arg(long, value_name = "N", default_value_t = 100,
              value_parser = clap::value_parser!(u16).range(1..=1_000))]
        last: u16,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where the demo keeps everything. Made when missing.
    #[arg(long, value_name = "DIR", default_value = "./demo-data")]
    pub(super) data_dir: PathBuf,
    /// Added to every port, 1024 to 63000.
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u16).range(1_024..=63_000))]
    pub(super) port_base: u16,
    /// The address on which both relays listen.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(super) host: IpAddr,
    /// Run the scenario, check it, report and exit: 0, or 1 naming what failed.
    #[arg(long)]
    pub(super) once: bool,
    /// Make K more mailboxes, u0@ to u{K-1}@hopital.mssante.test, password `secret`, to measure.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(super) accounts: u32,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file; config/vaguemestre.toml explains every key.
    #[arg(
        long = "config",
        id = "config",
        value_name = "FILE",
        default_value = "/etc/vaguemestre/vaguemestre.toml"
    )]
    pub(super) file: PathBuf,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Format {
    /// JSON for programs instead of a table for people.
    #[arg(long)]
    pub(super) json: bool,
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub(super) struct PasswordSource {
    /// Read the password from the next line of standard input.
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Make a random password and print it, once.
    #[arg(long)]
    pub(super) generate: bool,
}

/// The national codes, and ours for patients.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(super) enum Kind {
    /// One professional.
    Per,
    /// A team or service of a structure.
    Org,
    /// A program, with a person responsible.
    App,
    /// A practice with several holders.
    Cab,
    /// A patient; the part before the @ is the INS.
    Ctn,
}

impl From<Kind> for MailboxKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Per => Self::Personal,
            Kind::Org => Self::Organisational,
            Kind::App => Self::Applicative,
            Kind::Cab => Self::Practice,
            Kind::Ctn => Self::Citizen,
        }
    }
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a day is written YYYY-MM-DD".to_owned())
}

fn administrator(text: &str) -> Result<String, String> {
    match people::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 64 characters without spaces and colons".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_password_is_never_an_argument() {
        let lines = [
            "vaguemestre mailbox add a@b.test --kind PER --password secret",
            "vaguemestre mailbox passwd a@b.test secret",
            "vaguemestre admin passwd --password secret",
        ];
        for line in lines {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
