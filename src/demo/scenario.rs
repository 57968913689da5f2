//! The sample letters, sent by people and software, and the proof that each one arrived.
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::ClientConfig;

use crate::demo::client;
use crate::demo::client::Imap;
use crate::demo::client::Submission;
use crate::demo::people::OPERATORS;
use crate::demo::people::PEOPLE;
use crate::demo::people::Person;
use crate::demo::say;
use crate::demo::set_up::Demo;
use crate::demo::step;
use crate::domain::address::Address;
use crate::domain::fact::Event;
use crate::domain::folder::FolderId;
use crate::domain::mailbox::MailboxKind;
use crate::domain::time::Day;
use crate::flow::office::Office;
use crate::infra::clock::Clock;
use crate::infra::clock::SystemClock;
use crate::infra::directory::Mailboxes;

/// How long a letter may take to arrive in the demonstration.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sample letter, who sends it and who gets it (local parts).
struct Sample {
    title: &'static str,
    octets: &'static [u8],
    from: &'static str,
    to: &'static str,
    reply_to: &'static [&'static str],
}

macro_rules! sample {
    ($number:literal, $from:literal => $to:literal, $title:literal $(, $reply_to:literal)?) => {
        Sample {
            title: $title,
            octets: include_bytes!(concat!("letters/", $number, ".eml")),
            from: $from,
            to: $to,
            reply_to: &[$($reply_to)?],
        }
    };
}

const SAMPLES: [Sample; 8] = [
    sample!("01", "hugo.oreade" => "eloise.lumier", "imaging report (XDM) to another operator"),
    sample!("16", "hugo.oreade" => "claire.fontaine", "two documents (XDM) to a colleague here"),
    sample!("09", "eloise.lumier" => "hugo.oreade", "request for advice to the hospital"),
    sample!("02", "paul.verdier" => "eloise.lumier", "plain answer between colleagues"),
    sample!("07", "labo.app" => "eloise.lumier", "software replaces a report (XDM)", "imagerie"),
    sample!("08", "claire.fontaine" => "secretariat", "report without qualified INS to a team"),
    sample!("03", "imagerie" => "288027599000175", "report to a patient, who may answer"),
    sample!("04", "labo.app" => "115067599000279", "software to a patient, exchange closed"),
];

/// Letters on their way.
pub(super) struct Scenario {
    sent: Vec<Sent>,
    /// The day on which it began; midnight in Paris may pass before it ends.
    began: Day,
    before: Vec<Tally>,
}

struct Sent {
    title: &'static str,
    from: &'static Person,
    to: &'static Person,
    message_id: String,
    answer: String,
}

/// What the checks found.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) failures: usize,
}

/// Figures of one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    sent: u64,
    received: u64,
}

impl Scenario {
    /// Sends every sample through the submission door of its sender's operator.
    pub(super) async fn send(demo: &Demo) -> anyhow::Result<Self> {
        let tls = client::trusting(&demo.pki.ca_file())?;
        let began = Day::in_france(SystemClock.now());
        let mut before = Vec::new();
        for number in 0..OPERATORS.len() {
            before.push(tally_since(began, demo.office(number)).await?);
        }
        let run = uuid::Uuid::new_v4().simple().to_string();
        let mut sent = Vec::new();
        for (number, sample) in SAMPLES.iter().enumerate() {
            let (from, to) = (person(sample.from)?, person(sample.to)?);
            let message_id = format!("<demo-{run}-{number}@{}>", OPERATORS[from.operator].domain);
            let letter = addressed(sample, from, to, &message_id)?;
            let answer = step(sample.title, send_one(demo, &tls, from, to, &letter)).await?;
            sent.push(Sent { title: sample.title, from, to, message_id, answer });
        }
        Ok(Self { sent, began, before })
    }

    /// Waits until each letter lies in its mailbox, once, and was counted.
    pub(super) async fn check(&self, demo: &Demo) -> anyhow::Result<Report> {
        say("");
        let tls = client::trusting(&demo.pki.ca_file())?;
        let mut report = Report { text: String::new(), failures: 0 };
        let heading = ("letter", "from", "to");
        let _ =
            writeln!(report.text, "  {:<44} {:<17} {:<17} result", heading.0, heading.1, heading.2);
        for letter in &self.sent {
            wait_for(demo, &tls, letter).await?;
        }
        // Counted when all are in: a second copy may come after the first.
        for letter in &self.sent {
            let found = copies(demo, &tls, letter).await?;
            let result = match found {
                1 => "arrived".to_owned(),
                0 => format!("DID NOT ARRIVE ({})", letter.answer),
                copies => format!("ARRIVED {copies} TIMES"),
            };
            report.failures += usize::from(found != 1);
            let Sent { title, from, to, .. } = letter;
            let _ = writeln!(
                report.text,
                "  {title:<44} {:<17} {:<17} {result}",
                shown(from),
                shown(to)
            );
        }
        for (number, operator) in OPERATORS.iter().enumerate() {
            self.check_figures(demo, number, operator.domain, &mut report).await?;
        }
        Ok(report)
    }

    async fn check_figures(
        &self,
        demo: &Demo,
        number: usize,
        domain: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let counted = tally_since(self.began, demo.office(number)).await?;
        let grown = counted.grown_since(self.before[number]);
        let at = |person: &Person| u64::from(person.operator == number);
        let expected = Tally {
            sent: self.sent.iter().map(|letter| at(letter.from)).sum(),
            received: self.sent.iter().map(|letter| at(letter.to)).sum(),
        };
        let verdict = if grown == expected { "as sent" } else { "WRONG" };
        report.failures += usize::from(grown != expected);
        let _ = writeln!(
            report.text,
            "  counted at {domain}: {} sent, {} received: {verdict}",
            grown.sent, grown.received
        );
        Ok(())
    }
}

fn person(local_part: &str) -> anyhow::Result<&'static Person> {
    PEOPLE.iter().find(|person| person.local_part == local_part).context("nobody of that name")
}

/// A patient's number is shown to nobody, not even here.
fn shown(person: &Person) -> &'static str {
    match person.kind {
        MailboxKind::Citizen => "a patient",
        _ => person.local_part,
    }
}

/// The sample with the demonstration's people in its header; the content is not touched.
fn addressed(
    sample: &Sample,
    from: &Person,
    to: &Person,
    message_id: &str,
) -> anyhow::Result<Vec<u8>> {
    const REPLACED: [&str; 5] =
        ["from:", "to:", "reply-to:", "message-id:", "disposition-notification-to:"];
    let end = sample.octets.windows(4).position(|four| four == b"\r\n\r\n");
    let (header, body) = sample.octets.split_at(end.context("a sample without a body")? + 2);
    let mut kept = Vec::new();
    let mut keep = true;
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let lower = line.to_ascii_lowercase();
            keep = !REPLACED.iter().any(|name| lower.starts_with(name.as_bytes()));
        }
        if keep {
            kept.extend_from_slice(line);
        }
    }
    let name = encoded_word(from.display_name);
    let mut letter =
        format!("From: {name} <{}>\r\nTo: {}\r\n", from.address(), to.address()).into_bytes();
    for reply_to in sample.reply_to {
        letter
            .extend_from_slice(format!("Reply-To: {}\r\n", person(reply_to)?.address()).as_bytes());
    }
    letter.extend_from_slice(format!("Message-ID: {message_id}\r\n").as_bytes());
    letter.extend_from_slice(&kept);
    letter.extend_from_slice(body);
    Ok(letter)
}

/// RFC 2047 §4.1, base64.
fn encoded_word(text: &str) -> String {
    use base64::Engine;
    format!("=?utf-8?b?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

async fn send_one(
    demo: &Demo,
    tls: &Arc<ClientConfig>,
    from: &Person,
    to: &Person,
    letter: &[u8],
) -> anyhow::Result<String> {
    let door = SocketAddr::new(demo.host, demo.port(from.operator, "submissions"));
    let address = from.address();
    let mut session = Submission::open(door, tls, &address, demo.password(from)).await?;
    let answer = session.send(&address, &[&to.address()], letter).await?;
    session.command("QUIT", "221").await?;
    Ok(answer)
}

/// Waits until the letter lies in its recipient's inbox, but not for ever.
async fn wait_for(demo: &Demo, tls: &Arc<ClientConfig>, letter: &Sent) -> anyhow::Result<()> {
    let began = SystemClock.now();
    while copies(demo, tls, letter).await? == 0 && SystemClock.now().since(began) <= PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Copies of the letter in its recipient's inbox.
async fn copies(demo: &Demo, tls: &Arc<ClientConfig>, letter: &Sent) -> anyhow::Result<usize> {
    if letter.to.kind == MailboxKind::Citizen {
        return count_in_citizen_inbox(demo, letter).await;
    }
    let door = SocketAddr::new(demo.host, demo.port(letter.to.operator, "imaps"));
    let address = letter.to.address();
    let mut imap = Imap::open(door, tls, &address, demo.password(letter.to)).await?;
    imap.count_in_inbox(&letter.message_id).await
}

/// Patients have no IMAP: their letters are looked up where the inbox page finds them.
async fn count_in_citizen_inbox(demo: &Demo, letter: &Sent) -> anyhow::Result<usize> {
    let office = demo.office(letter.to.operator);
    let account = office.accounts.find(&Address::parse(&letter.to.address())?).await?;
    let mailbox = office.mailboxes.open(&account.context("the patient has no mailbox")?).await?;
    let mut found = 0;
    for entry in mailbox.entries(FolderId::INBOX, 1..=u32::MAX, usize::MAX).await? {
        let summary = mailbox.summary(FolderId::INBOX, &entry).await?;
        let message_id = summary.envelope.message_id.as_deref();
        found += usize::from(message_id == Some(letter.message_id.as_bytes()));
    }
    Ok(found)
}

async fn tally_since(began: Day, office: &Office) -> anyhow::Result<Tally> {
    let rows = office.ledger.statistics(began, Day::in_france(SystemClock.now())).await?;
    let sum = |event: Event| {
        rows.iter().filter(|row| row.event == event.name()).map(|row| row.count).sum()
    };
    Ok(Tally { sent: sum(Event::Sent), received: sum(Event::Received) })
}

impl Tally {
    fn grown_since(self, before: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
        }
    }
}
