//! Measures mail between operators, against Postfix under the same rules on the same machine in
//! the same run: TLS with certificates on both sides, every letter durable before its 250.
//!
//! Two ways: *in* (an operator's door to a mailbox here) and *through* (taken in, handed on to a
//! second operator). In both the relay under test shares two cores with the generator and the
//! second operator, which are this process. Runs take turns, so that the machine's moods hit both.
//!
//! `cargo bench --bench operators`, or `-- quick` for a short look. Needs the package postfix.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustls::pki_types::ServerName;
use support::letters;
use support::postfix::Postfix;
use support::serving::PASSWORD;
use support::serving::Serving;
use support::serving::Space;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use vaguemestre::demo::client::Submission;
use vaguemestre::demo::client::dot_stuffed;
use vaguemestre::infra::net::Identity;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::net::operators_tls;
use vaguemestre::infra::net::towards_operators_tls;

const OURS: &str = "hopital.mssante.test";
const THEIRS: &str = "chu-postfix.mssante.test";
const SENDER: &str = "labo.mssante.test";
const SINK: &str = "puits.mssante.test";
const SESSIONS: usize = 16;
const OCTETS: usize = 51_200;
/// Of the queue: nothing waits on purpose here.
const SETTINGS: &str = "[queue]\nretry_seconds = [1]\nper_destination = 16\n\
     [revocation]\nmode = \"off\"\n";
/// What Postfix needs to be at its best here, and to relay for us.
const POSTFIX: &str = "smtpd_client_connection_count_limit = 0\nsmtpd_client_event_limit_exceptions = static:all\n\
     smtp_tls_connection_reuse = yes\nsmtp_connection_cache_on_demand = yes\n\
     smtpd_tls_session_cache_database = btree:${data_directory}/smtpd_scache\n\
     smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache\n\
     smtp_destination_concurrency_limit = 16\ninitial_destination_concurrency = 16\n\
     in_flow_delay = 0\nsmtpd_tls_received_header = no\n";

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let (letters, rounds) = if quick { (300, 1) } else { (2_000, 3) };
    let space = Space::of(&[OURS, THEIRS, SENDER, SINK]);
    let sink = Sink::open(&space).await;
    let doctors: Vec<String> = (0..SESSIONS).map(|n| format!("dr{n}@{OURS}")).collect();
    let mailboxes: Vec<&str> = doctors.iter().map(String::as_str).collect();
    let relay = space.relay(0).route(SINK, sink.port).with(SETTINGS).start(&mailboxes);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[(SINK, sink.port)], POSTFIX);
    println!("{letters} letters of {OCTETS} octets, {SESSIONS} sessions, {rounds} rounds\n");
    println!("| way | round | relay | accepted /s | delivered /s | CPU s per 1,000 |");
    println!("|---|---|---|---|---|---|");
    let mut ratios: Vec<(&str, f64, f64)> = Vec::new();
    for round in 1..=rounds {
        for way in [Way::In, Way::Through] {
            let ours = measure(way, letters, Subject::Relay(&relay), &space, &sink).await;
            let theirs = measure(way, letters, Subject::Postfix(&postfix), &space, &sink).await;
            for (name, run) in [("Vaguemestre", &ours), ("Postfix", &theirs)] {
                println!(
                    "| {} | {round} | {name} | {:.0} | {:.0} | {:.2} |",
                    way.name(),
                    run.accepted,
                    run.delivered,
                    run.cpu
                );
            }
            ratios.push((way.name(), ours.delivered / theirs.delivered, theirs.cpu / ours.cpu));
        }
    }
    println!("\n| way | delivered, times Postfix | CPU, Postfix's by ours |\n|---|---|---|");
    for (way, rate, cpu) in ratios {
        println!("| {way} | {rate:.1} | {cpu:.1} |");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Through,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Through => "through",
        }
    }
}

enum Subject<'s> {
    Relay(&'s Serving<'s>),
    Postfix(&'s Postfix),
}

struct Run {
    accepted: f64,
    delivered: f64,
    cpu: f64,
}

/// Sends all letters as fast as they are taken, and waits until the last has arrived.
async fn measure(
    way: Way,
    letters: usize,
    subject: Subject<'_>,
    space: &Space,
    sink: &Sink,
) -> Run {
    let before_sink = sink.taken();
    let left = Arc::new(AtomicUsize::new(letters));
    let mut clients = Vec::new();
    for number in 0..SESSIONS {
        let left = Arc::clone(&left);
        // A relay takes letters for others from its own people only, after their login; Postfix
        // takes them by the client's certificate.
        let (from, mouth) = match (&subject, way) {
            (Subject::Relay(relay), Way::Through) => {
                let from = format!("dr{number}@{OURS}");
                let door = relay.door("submissions");
                let session = Submission::open(door, &relay.tls(), &from, PASSWORD).await.unwrap();
                (from, Mouth::Person(Box::new(session)))
            }
            (Subject::Relay(relay), Way::In) => (
                format!("app@{SENDER}"),
                Mouth::Operator(Box::new(Operator::open(space, 2, relay.port("mx")).await)),
            ),
            (Subject::Postfix(postfix), _) => (
                format!("app@{SENDER}"),
                Mouth::Operator(Box::new(Operator::open(space, 2, postfix.mx).await)),
            ),
        };
        let to = match (way, &subject) {
            (Way::Through, _) => format!("dr@{SINK}"),
            (Way::In, Subject::Relay(_)) => format!("dr{number}@{OURS}"),
            (Way::In, Subject::Postfix(_)) => format!("dr{number}@{THEIRS}"),
        };
        clients.push(async move {
            let mut mouth = mouth;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                let letter = letters::letter(&from, &to, &letters::message_id(), OCTETS);
                mouth.send(&from, &to, &letter).await;
            }
        });
    }
    let cpu_before = cpu(&subject);
    let stored_before = stored(&subject);
    let began = Instant::now();
    let clients: Vec<_> = clients.into_iter().map(tokio::spawn).collect();
    for client in clients {
        client.await.unwrap();
    }
    let accepted = began.elapsed();
    let patience = Instant::now();
    loop {
        let arrived = match (way, &subject) {
            (Way::Through, _) => sink.taken() - before_sink,
            // Ours is in the mailbox in the very commit that the 250 speaks of.
            (Way::In, Subject::Relay(_)) => letters,
            (Way::In, Subject::Postfix(_)) => stored(&subject) - stored_before,
        };
        if arrived >= letters {
            break;
        }
        assert!(patience.elapsed() < Duration::from_secs(300), "only {arrived} arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let delivered = began.elapsed();
    // Settlements and removals of what was delivered belong to the work.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cpu = cpu(&subject) - cpu_before;
    Run {
        accepted: letters as f64 / accepted.as_secs_f64(),
        delivered: letters as f64 / delivered.as_secs_f64(),
        cpu: cpu * 1_000.0 / letters as f64,
    }
}

fn stored(subject: &Subject<'_>) -> usize {
    match subject {
        Subject::Relay(_) => 0,
        Subject::Postfix(postfix) => postfix.stored(),
    }
}

/// User and system time of the relay's process, or of all of Postfix's.
fn cpu(subject: &Subject<'_>) -> f64 {
    match subject {
        Subject::Postfix(postfix) => postfix.cpu_seconds(),
        Subject::Relay(relay) => {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", relay.pid())).unwrap();
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            let ticks: f64 =
                fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
            ticks / 100.0
        }
    }
}

enum Mouth {
    Person(Box<Submission>),
    Operator(Box<Operator>),
}

impl Mouth {
    async fn send(&mut self, from: &str, to: &str, letter: &[u8]) {
        match self {
            Self::Person(session) => drop(session.send(from, &[to], letter).await.unwrap()),
            Self::Operator(session) => session.send(from, to, letter).await,
        }
    }
}

/// Another operator's sending side: STARTTLS with a certificate, pipelined envelopes.
struct Operator(BufReader<tokio_rustls::client::TlsStream<TcpStream>>);

impl Operator {
    async fn open(space: &Space, number: usize, port: u16) -> Self {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        stream.get_ref().set_nodelay(true).unwrap();
        expect(&mut stream, "220").await;
        say(&mut stream, b"EHLO labo.mssante.test\r\n").await;
        expect(&mut stream, "250").await;
        say(&mut stream, b"STARTTLS\r\n").await;
        expect(&mut stream, "220").await;
        let pair = space.pki.mx(space.operator(number));
        let identity = Identity::load(&pair.certificate, &pair.key).unwrap();
        let tls = towards_operators_tls(identity, &load_anchors(&[space.pki.ca_file()]).unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(tls.unwrap()).connect(name, stream.into_inner()).await;
        let mut stream = BufReader::new(stream.unwrap());
        say(&mut stream, b"EHLO labo.mssante.test\r\n").await;
        expect(&mut stream, "250").await;
        Self(stream)
    }

    async fn send(&mut self, from: &str, to: &str, letter: &[u8]) {
        let envelope = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        say(&mut self.0, envelope.as_bytes()).await;
        for code in ["250", "250", "354"] {
            expect(&mut self.0, code).await;
        }
        say(&mut self.0, &dot_stuffed(letter)).await;
        expect(&mut self.0, "250").await;
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, octets: &[u8]) {
    stream.write_all(octets).await.unwrap();
    stream.flush().await.unwrap();
}

async fn expect<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, code: &str) {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with(code), "expected {code}, got {line:?}");
        if line.as_bytes().get(3) == Some(&b' ') {
            return;
        }
    }
}

/// The second operator: takes everything, keeps nothing, and demands a certificate.
struct Sink {
    port: u16,
    taken: Arc<AtomicUsize>,
}

impl Sink {
    async fn open(space: &Space) -> Self {
        let pair = space.pki.mx(space.operator(3));
        let identity = Identity::load(&pair.certificate, &pair.key).unwrap();
        let tls = operators_tls(identity, &load_anchors(&[space.pki.ca_file()]).unwrap()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (acceptor, count) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    say(&mut stream, b"220 sink\r\n").await;
                    converse(&mut stream, &count, false).await;
                    if let Ok(stream) = acceptor.accept(stream.into_inner()).await {
                        converse(&mut BufReader::new(stream), &count, true).await;
                    }
                });
            }
        });
        Self { port, taken }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Until STARTTLS in clear, until QUIT after it.
async fn converse<S>(stream: &mut BufReader<S>, count: &AtomicUsize, secured: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut line = String::new();
    let mut content = Vec::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let verb = line.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        let reply: &[u8] = match verb.as_str() {
            "EHLO" if secured => {
                b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 DSN\r\n"
            }
            "EHLO" => b"250-sink\r\n250 STARTTLS\r\n",
            "STARTTLS" => {
                say(stream, b"220 go\r\n").await;
                return;
            }
            "DATA" => {
                say(stream, b"354 go\r\n").await;
                content.clear();
                while !content.ends_with(b"\r\n.\r\n") {
                    if stream.read_until(b'\n', &mut content).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
                b"250 2.0.0 taken\r\n"
            }
            "BDAT" => {
                let octets: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
                content.resize(octets, 0);
                if stream.read_exact(&mut content).await.is_err() {
                    return;
                }
                if line.to_ascii_uppercase().contains("LAST") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                b"250 2.0.0 taken\r\n"
            }
            "QUIT" => {
                say(stream, b"221 bye\r\n").await;
                return;
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        // Replies to a pipelined group leave together.
        stream.get_mut().write_all(reply).await.unwrap_or(());
        if stream.buffer().is_empty() {
            stream.get_mut().flush().await.unwrap_or(());
        }
    }
}
