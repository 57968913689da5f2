//! A short tour of the trust space: a rogue operator is refused, the list is swapped under
//! everybody's eyes, and each decision is explained.
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::demo::people::CITIZEN_DOMAIN;
use crate::demo::people::OPERATORS;
use crate::demo::pki::DemoOperator;
use crate::demo::pki::DemoPki;
use crate::demo::say;
use crate::demo::set_up;
use crate::demo::set_up::Demo;
use crate::demo::step;
use crate::domain::address::Domain;
use crate::domain::operator::OperatorDn;
use crate::domain::operator::TrustList;
use crate::domain::time::Timestamp;
use crate::flow::office::Office;
use crate::infra::net;
use crate::infra::net::Identity;
use crate::server::control::Caller;
use crate::server::control::explain;
use crate::server::control::trust;

/// The hospital, whose door is tried, and the practice, whose name is taken.
const HOSPITAL: usize = 0;
const PRACTICE: usize = 1;
/// Width of an explanation on the terminal.
const COLUMNS: usize = 100;

/// An operator with a good certificate of the trust space's authority that no list names.
pub(super) fn rogue() -> DemoOperator {
    DemoOperator {
        name: "rogue".to_owned(),
        hostname: Domain::parse("mx.intrus.mssante.test").expect("a domain in the code"),
        structure: "1990000666".to_owned(),
        organisation: "INTRUS DEMO".to_owned(),
    }
}

/// Walks through it. Afterwards the list is what it was before.
///
/// # Errors
/// When a relay decides otherwise than it should.
pub(super) async fn walk(demo: &Demo) -> anyhow::Result<()> {
    say("\nA tour of the trust space");
    let office = demo.office(HOSPITAL);
    let practice = OPERATORS[PRACTICE].domain;

    let refused = step("a rogue operator calls: good certificate, not listed", async {
        let answer = Call::make(demo, &rogue()).await?.hello().await?;
        ensure!(answer.starts_with("550"), "it was let in: {answer}");
        Ok(answer)
    })
    .await?;
    say(&format!("    < {refused}"));
    let session = session_of(&refused)?;
    let why = step("trust explain: why?", explained(office, &session)).await?;
    say(&indented(&why));

    let listed = [DemoPki::mx_dn(&set_up::operator(PRACTICE)?), DemoPki::mx_dn(&rogue())];
    // The relays raise alarms here, as they should; they need lines of their own.
    say("  a new list gives the practice's domain to the rogue; the relay raises an alarm:");
    publish(demo, &listed[1])?;
    trust_request(office, trust::Request::Refresh {}).await?;
    logged().await;
    let held = trust_request(office, trust::Request::Status {}).await?;
    ensure!(held["status"]["waiting"].is_object(), "nothing waits for approval: {held}");
    say(
        "    The addition counts at once; taking the practice's certificate away waits for approval.",
    );
    say("  trust approve: now the list is swapped; that is written down, too:");
    trust_request(office, approve("the tour swaps the list")).await?;
    logged().await;
    step("the rogue may send for the practice's domain now", async {
        let mut call = Call::make(demo, &rogue()).await?;
        call.hello().await?;
        let answer = call.say(&format!("MAIL FROM:<someone@{practice}>")).await?;
        ensure!(answer.starts_with("250"), "refused: {answer}");
        Ok(())
    })
    .await?;
    let refused = step("and the practice's own certificate no longer does", async {
        let mut call = Call::make(demo, &set_up::operator(PRACTICE)?).await?;
        let hello = call.hello().await?;
        let answer = match hello.starts_with("250") {
            true => call.say(&format!("MAIL FROM:<someone@{practice}>")).await?,
            false => hello,
        };
        ensure!(answer.starts_with("550"), "it was let in: {answer}");
        Ok(answer)
    })
    .await?;
    say(&format!("    < {refused}"));

    say("  a younger list puts everything right, approved as well:");
    publish(demo, &listed[0])?;
    trust_request(office, trust::Request::Refresh {}).await?;
    trust_request(office, approve("the tour ends")).await?;
    logged().await;
    step("the practice's certificate counts again", async {
        let mut call = Call::make(demo, &set_up::operator(PRACTICE)?).await?;
        call.hello().await?;
        let answer = call.say(&format!("MAIL FROM:<someone@{practice}>")).await?;
        ensure!(answer.starts_with("250"), "refused: {answer}");
        Ok(())
    })
    .await?;
    say("");
    Ok(())
}

/// The log has a thread of its own: what was logged shall stand where it belongs.
async fn logged() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn approve(reason: &str) -> trust::Request {
    trust::Request::Approve { version: None, reason: reason.to_owned(), dry_run: false }
}

/// What an administrator would type, answered by the relay itself.
async fn trust_request(
    office: &Arc<Office>,
    request: trust::Request,
) -> anyhow::Result<serde_json::Value> {
    let answer = trust::handle(office, request, &Caller::own()).await;
    Ok(serde_json::to_value(answer.map_err(anyhow::Error::msg)?)?)
}

async fn explained(office: &Arc<Office>, session: &str) -> anyhow::Result<String> {
    let request = explain::Request::Why { id: session.to_owned() };
    let answer = explain::handle(office, request, &Caller::own()).await;
    let explain::Answer::Decisions(decisions) = answer.map_err(anyhow::Error::msg)?;
    let first = decisions.first().context("no decision is kept")?;
    Ok(format!("{}\n{}", first.told, first.next))
}

/// `550 5.7.1 … (session 0192…)`
fn session_of(answer: &str) -> anyhow::Result<String> {
    let (_, rest) = answer.split_once("(session ").context("the answer names no session")?;
    Ok(rest.trim_end_matches(')').to_owned())
}

/// Paragraphs, four columns in, lines of a usual terminal's width where words allow it.
fn indented(text: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + word.chars().count() >= COLUMNS {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "   " } else { "" });
            line.push(' ');
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Publishes a list that is younger than the one before, with this certificate for the practice.
fn publish(demo: &Demo, practice: &OperatorDn) -> anyhow::Result<()> {
    let office = demo.office(HOSPITAL);
    let before = office.trust.list().generated.as_seconds();
    let now = office.clock.now().as_seconds();
    let generated = Timestamp::from_seconds(now.max(before + 1));
    let hospital = DemoPki::mx_dn(&set_up::operator(HOSPITAL)?);
    let mut list = TrustList { generated, domains: Default::default() };
    for (domain, dn) in [
        (OPERATORS[HOSPITAL].domain, &hospital),
        (CITIZEN_DOMAIN, &hospital),
        (OPERATORS[PRACTICE].domain, practice),
    ] {
        list.domains.entry(Domain::parse(domain)?).or_default().insert(dn.clone());
    }
    let file = set_up::trust_list_file(&demo.folder);
    let fresh = file.with_extension("new");
    fs::write(&fresh, demo.pki.sign_trust_list(&list)?)?;
    fs::rename(&fresh, &file)?;
    Ok(())
}

/// A connection to the hospital's door for operators.
struct Call(BufReader<TlsStream<TcpStream>>);

impl Call {
    /// Up to and with the TLS handshake.
    async fn make(demo: &Demo, operator: &DemoOperator) -> anyhow::Result<Self> {
        let door = (demo.host, demo.port_base + 25);
        let mut stream = BufReader::new(TcpStream::connect(door).await?);
        wanted(&answer(&mut stream).await?, "220")?;
        wanted(&said(&mut stream, "EHLO tour.demo.test").await?, "250")?;
        wanted(&said(&mut stream, "STARTTLS").await?, "220")?;
        let pair = demo.pki.mx(operator);
        let identity = Identity::load(&pair.certificate, &pair.key)?;
        let anchors = net::load_anchors(&[demo.pki.ca_file()])?;
        let tls = net::towards_operators_tls(identity, &anchors)?;
        let name = ServerName::from(demo.host);
        let stream = TlsConnector::from(tls).connect(name, stream.into_inner()).await?;
        Ok(Self(BufReader::new(stream)))
    }

    async fn hello(&mut self) -> anyhow::Result<String> {
        self.say("EHLO tour.demo.test").await
    }

    /// A command; the last line of its answer.
    async fn say(&mut self, command: &str) -> anyhow::Result<String> {
        said(&mut self.0, command).await
    }
}

async fn said<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    command: &str,
) -> anyhow::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    stream.flush().await?;
    answer(stream).await
}

async fn answer<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> anyhow::Result<String> {
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the relay closed the connection");
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
}

fn wanted(answer: &str, code: &str) -> anyhow::Result<()> {
    ensure!(answer.starts_with(code), "{code} was expected, not {answer}");
    Ok(())
}
