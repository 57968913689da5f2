//! `vaguemestre queue`: letters that wait for delivery, and operators' hands on them.
use anyhow::Context;
use clap::Args;
use clap::Subcommand;

use crate::cli::arguments::ConfigFile;
use crate::cli::arguments::Format;
use crate::cli::arguments::REACH;
use crate::cli::commands;
use crate::cli::commands::Failure;
use crate::cli::output;
use crate::cli::output::Table;
use crate::cli::password;
use crate::server::control;
use crate::server::control::queue;
use crate::server::control::queue::Acted;
use crate::server::control::queue::Action;
use crate::server::control::queue::CircuitLine;
use crate::server::control::queue::LaneLine;
use crate::server::control::queue::QueueLine;
use crate::server::control::queue::Request;
use crate::server::control::queue::TargetForm;
use crate::server::control::wire::Response;

const EXAMPLES: &str = "\
Examples:
  vaguemestre queue hold --domain cabinet.mssante.fr --reason 'their MX eats letters' --dry-run
  vaguemestre queue bounce 019353a4c0de70008000000000000001 --reason 'wrong patient' --tell
  printf '%s\\n' \"$INS@patient.mssante.fr\" | vaguemestre queue retry -

Without --domain, TARGET is a letter's id (as `queue list` shows it), a recipient's address, or `-`
to read either from the first line of standard input: that keeps an INS out of the process list.
Every action is recorded with your name and reason: `vaguemestre admin journal`. A letter that is
being attempted at this moment is left alone, and the answer says so.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// What waits, recipient by recipient.
    #[command(after_help = REACH)]
    List {
        /// Only this domain.
        #[arg(long, value_name = "DOMAIN", group = "narrow")]
        domain: Option<String>,
        /// Only this letter.
        #[arg(long, value_name = "ID", group = "narrow")]
        letter: Option<String>,
        /// Only this recipient; `-` reads the address from standard input.
        #[arg(long, value_name = "ADDRESS", group = "narrow")]
        recipient: Option<String>,
        /// Only what is on hold or was set aside.
        #[arg(long)]
        held: bool,
        /// One line a domain: how many wait, holds, reroutes, hosts that do not answer.
        #[arg(long, conflicts_with_all = ["narrow", "held", "limit"])]
        by_domain: bool,
        /// At most so many lines.
        #[arg(long, value_name = "N", default_value_t = 1_000,
              value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// One letter: all its recipients, attempts, replies and holds. Never its content.
    #[command(after_help = REACH)]
    Show {
        /// The letter's id.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Hosts that did not answer lately, and when they are tried again.
    #[command(after_help = REACH)]
    Circuits {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Try now instead of when it is due.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Retry {
        #[command(flatten)]
        hands: Hands,
    },
    /// Keep letters from being tried until they are released. A domain: new letters, too.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Hold {
        #[command(flatten)]
        hands: Hands,
    },
    /// Let held letters go their way again, and those that the relay set aside.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Release {
        #[command(flatten)]
        hands: Hands,
    },
    /// Send letters of a domain, or one letter, to another host.
    ///
    /// The host must show a certificate that the trust list names for the recipient's domain, as
    /// any other.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Reroute {
        #[command(flatten)]
        hands: Hands,
        /// The host.
        #[arg(long, value_name = "HOST:PORT", required_unless_present = "clear")]
        to: Option<String>,
        /// Go again where the configuration or the DNS says.
        #[arg(long, conflicts_with = "to")]
        clear: bool,
    },
    /// Give letters up now: their senders get a failure report.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Bounce {
        #[command(flatten)]
        hands: Hands,
        /// The sender reads your reason in the report.
        #[arg(long)]
        tell: bool,
    },
    /// Remove letters. Nobody is told; only the journal knows.
    #[command(after_help = REACH, after_long_help = format!("{REACH}\n\n{EXAMPLES}"))]
    Drop {
        #[command(flatten)]
        hands: Hands,
    },
}

/// What every action needs.
#[derive(Debug, Args)]
pub(super) struct Hands {
    /// A letter's id, a recipient's address, or `-`.
    #[arg(value_name = "TARGET", required_unless_present = "domain")]
    target: Option<String>,
    /// Everything that waits for this domain.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "target")]
    domain: Option<String>,
    /// Why; needed for hold, reroute, bounce and drop.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Tell what would be touched, and touch nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    format: Format,
}

/// Asks the relay and shows its answer.
pub(super) async fn run(command: Queue) -> Result<(), Failure> {
    let (config, format, request) = match command {
        Queue::List { domain, letter, recipient, held, by_domain, limit, config, format } => {
            let target = match (domain, letter, recipient) {
                (Some(domain), ..) => Some(TargetForm::Domain(domain)),
                (_, Some(letter), _) => Some(TargetForm::Letter(letter)),
                (.., Some(recipient)) => Some(TargetForm::Recipient(typed(recipient)?)),
                _ => None,
            };
            let limit = usize::try_from(limit).ok();
            let list = Request::List { target, held, limit };
            (config, format, if by_domain { Request::Lanes {} } else { list })
        }
        Queue::Show { id, config, format } => (config, format, Request::Show { id }),
        Queue::Circuits { config, format } => (config, format, Request::Circuits {}),
        Queue::Retry { hands } => hands.request(Action::Retry)?,
        Queue::Hold { hands } => hands.request(Action::Hold)?,
        Queue::Release { hands } => hands.request(Action::Release)?,
        Queue::Reroute { hands, to, clear: _ } => hands.request(Action::Reroute { to })?,
        Queue::Bounce { hands, tell } => hands.request(Action::Bounce { tell })?,
        Queue::Drop { hands } => hands.request(Action::Drop)?,
    };
    let response = commands::reach_with(&config, control::Request::Queue(request)).await?;
    match response {
        Response::Queue(answer) => show(answer, format),
        other => commands::unexpected(&other),
    }
}

impl Hands {
    fn request(self, action: Action) -> Result<(ConfigFile, Format, Request), Failure> {
        let needs_reason = !matches!(action, Action::Retry | Action::Release);
        if needs_reason && self.reason.trim().is_empty() {
            return Err(anyhow::anyhow!("say why: --reason TEXT").into());
        }
        let target = match (self.domain, self.target) {
            (Some(domain), _) => TargetForm::Domain(domain),
            (None, target) => {
                let text = typed(target.context("a letter's id, an address, or --domain")?)?;
                if text.contains('@') {
                    TargetForm::Recipient(text)
                } else {
                    TargetForm::Letter(text)
                }
            }
        };
        let act = Request::Act { action, target, reason: self.reason, dry_run: self.dry_run };
        Ok((self.config, self.format, act))
    }
}

/// `-` keeps a patient's INS out of the process list and the shell's history.
fn typed(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let line = password::read_line().context("nothing on standard input")?;
    Ok(line.expose().trim().to_owned())
}

fn show(answer: queue::Answer, format: Format) -> Result<(), Failure> {
    match answer {
        queue::Answer::Waiting(lines) if format.json => output::print_json(&lines)?,
        queue::Answer::Waiting(lines) => {
            output::print_table(&queue_table(&lines), "Nothing waits.")?;
        }
        queue::Answer::Lanes(lines) if format.json => output::print_json(&lines)?,
        queue::Answer::Lanes(lines) => {
            output::print_table(&lane_table(&lines), "Nothing waits.")?;
        }
        queue::Answer::Circuits(lines) if format.json => output::print_json(&lines)?,
        queue::Answer::Circuits(lines) => {
            output::print_table(&circuit_table(&lines), "Every host answers.")?;
        }
        queue::Answer::Acted(acted) if format.json => output::print_json(&acted)?,
        queue::Answer::Acted(acted) => show_acted(&acted)?,
        queue::Answer::Done(text) if format.json => {
            output::print_json(&serde_json::json!({ "done": text }))?;
        }
        queue::Answer::Done(text) => output::print_line(&text)?,
    }
    Ok(())
}

fn show_acted(acted: &Acted) -> std::io::Result<()> {
    if acted.dry_run {
        let mut table = Table::new(&["Letter", "Recipient", ""]);
        for line in &acted.rows {
            table.row([line.queue_id.as_str(), &line.recipient, "would be changed"]);
        }
        for line in &acted.busy {
            table.row([line.queue_id.as_str(), &line.recipient, "an attempt has it"]);
        }
        if !(acted.rows.is_empty() && acted.busy.is_empty()) {
            output::print_table(&table, "")?;
        }
    }
    output::print_line(&acted.sentence)
}

fn queue_table(lines: &[QueueLine]) -> Table {
    let heading = [
        "Letter",
        "Recipient",
        "Next hop",
        "State",
        ">Tries",
        "Next try",
        "Accepted",
        ">Octets",
        "Last reply",
        "Why",
    ];
    let mut table = Table::new(&heading);
    for line in lines {
        table.row([
            line.queue_id.clone(),
            line.recipient.clone(),
            line.next_hop.clone(),
            line.state.clone(),
            line.attempts.to_string(),
            line.next_attempt.clone(),
            line.accepted_at.clone(),
            line.size.to_string(),
            line.last_reply.clone(),
            line.why.clone(),
        ]);
    }
    table
}

fn lane_table(lines: &[LaneLine]) -> Table {
    let heading =
        [">Waiting", ">Running", "Domain", "Next try", "Held", "Goes to", ">Left alone (s)"];
    let mut table = Table::new(&heading);
    for line in lines {
        table.row([
            line.rows.to_string(),
            line.running.to_string(),
            line.domain.clone(),
            line.next.clone(),
            line.held.clone(),
            line.rerouted.clone(),
            line.barred_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
        ]);
    }
    table
}

fn circuit_table(lines: &[CircuitLine]) -> Table {
    let mut table = Table::new(&["Host", "State", ">Failures", ">Tried again in (s)"]);
    for line in lines {
        table.row([
            line.host.clone(),
            line.state.clone(),
            line.failures.to_string(),
            line.seconds.to_string(),
        ]);
    }
    table
}
