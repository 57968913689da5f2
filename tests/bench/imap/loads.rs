//! What is measured.
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::client::Client;
use crate::server::Server;
use crate::server::kernel_sockets;
use crate::support::letters;

/// A measured number.
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// Whether more is better.
    pub more: bool,
    /// Seconds of CPU for a thousand, where that says something.
    pub cpu: Option<f64>,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, more: bool) -> Self {
        Self { name: name.into(), value, unit, more, cpu: None }
    }

    pub fn shown(&self) -> String {
        let value = match self.value {
            small if small < 10.0 => format!("{small:.2}"),
            middle if middle < 100.0 => format!("{middle:.1}"),
            large => format!("{large:.0}"),
        };
        match self.cpu {
            Some(cpu) => format!("{value} {} ({cpu:.2} CPU s per 1,000)", self.unit),
            None => format!("{value} {}", self.unit),
        }
    }

    /// How many times better this is than the other.
    pub fn ratio(&self, other: &Self) -> f64 {
        if self.more { self.value / other.value } else { other.value / self.value }
    }
}

fn label(octets: usize) -> &'static str {
    match octets {
        4_096 => "4 KB",
        51_200 => "50 KB",
        _ => "1 MB",
    }
}

fn letter(octets: usize) -> Vec<u8> {
    letters::letter("a@b.test", "c@d.test", &letters::message_id(), octets)
}

/// Bodies that `sessions` sessions fetch, each from a mailbox of its own.
pub async fn bodies(
    server: &Server,
    sessions: usize,
    octets: usize,
    messages: usize,
    seconds: u64,
) -> Vec<Figure> {
    let user = |session: usize| 20 + session;
    let filled = (0..sessions).map(|session| fill(server, user(session), octets, messages));
    for filling in filled.collect::<Vec<_>>() {
        filling.await;
    }
    let mut clients = Vec::new();
    for session in 0..sessions {
        let mut client = server.open(user(session)).await;
        client.run("SELECT INBOX").await;
        clients.push(client);
    }
    let cpu = server.cpu_seconds();
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let fetching = clients.into_iter().map(|mut client| async move {
        let mut fetched = (0, 0);
        while Instant::now() < until {
            let came = client.run("UID FETCH 1:* BODY.PEEK[]").await;
            fetched.0 += messages;
            fetched.1 += came;
        }
        (client, fetched)
    });
    let ended = all(fetching).await;
    let took = began.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds() - cpu;
    let (mut fetched, mut came) = (0, 0);
    for (client, (bodies, octets)) in ended {
        fetched += bodies;
        came += octets;
        empty(client).await;
    }
    let name = format!("FETCH {} bodies, {sessions} sessions", label(octets));
    let mut rate = Figure::new(&name, fetched as f64 / took, "/s", true);
    rate.cpu = Some(cpu * 1_000.0 / fetched as f64);
    vec![rate, Figure::new(format!("{name}, octets"), came as f64 / took / 1e6, "MB/s", true)]
}

/// Letters that `sessions` sessions file, each into a mailbox of its own.
pub async fn append(server: &Server, sessions: usize, octets: usize, seconds: u64) -> Figure {
    let mut clients = Vec::new();
    for session in 0..sessions {
        clients.push(server.open(session).await);
    }
    let cpu = server.cpu_seconds();
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let filing = clients.into_iter().map(|mut client| async move {
        let letter = letter(octets);
        let mut filed = 0_usize;
        while Instant::now() < until {
            client.append(&letter).await;
            filed += 1;
        }
        filed
    });
    let filed: usize = all(filing).await.into_iter().sum();
    let took = began.elapsed().as_secs_f64();
    let name = format!("APPEND {}, {sessions} sessions", label(octets));
    let mut rate = Figure::new(name, filed as f64 / took, "/s", true);
    rate.cpu = Some((server.cpu_seconds() - cpu) * 1_000.0 / filed as f64);
    rate
}

/// What a client asks of a mailbox that it opens for the first time; and marks.
pub async fn listing(server: &Server, messages: usize, store: bool, seconds: u64) -> Vec<Figure> {
    let user = 30;
    fill(server, user, 4_096, messages).await;
    let mut client = server.open(user).await;
    client.run("SELECT INBOX").await;
    let mut figures = Vec::new();
    for items in ["(FLAGS ENVELOPE BODYSTRUCTURE)", "(UID FLAGS)"] {
        // Twice: Dovecot fills its cache at the first time.
        let first = Instant::now();
        client.run(&format!("FETCH 1:* {items}")).await;
        let first = first.elapsed();
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            client.run(&format!("FETCH 1:* {items}")).await;
            best = best.min(began.elapsed());
        }
        let name = format!("FETCH 1:* {items}, {messages} messages");
        let milliseconds = |took: Duration| took.as_secs_f64() * 1_000.0;
        figures.push(Figure::new(format!("{name}, first"), milliseconds(first), "ms", false));
        figures.push(Figure::new(name, milliseconds(best), "ms", false));
    }
    if store {
        let began = Instant::now();
        client.run("UID STORE 1:* +FLAGS.SILENT (\\Flagged)").await;
        let took = began.elapsed().as_secs_f64();
        let name = format!("STORE 1:* +FLAGS, {messages} messages");
        figures.push(Figure::new(name, messages as f64 / took, "messages/s", true));
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < Duration::from_secs(seconds) {
            count += 1;
            let (number, sign) = (count % messages + 1, if count % 2 == 0 { '+' } else { '-' });
            client.run(&format!("STORE {number} {sign}FLAGS (\\Answered \\Flagged)")).await;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        figures.push(Figure::new("STORE of one message, 1 session", rate, "/s", true));
    }
    empty(client).await;
    figures
}

/// Words that no letter holds, and orders; the first search pays for what later ones know.
pub async fn search(server: &Server, messages: usize) -> Vec<Figure> {
    let user = 32;
    fill(server, user, 4_096, messages).await;
    let mut client = server.open(user).await;
    client.run("SELECT INBOX").await;
    let mut figures = Vec::new();
    for (name, command) in [
        ("SEARCH TEXT, first", "SEARCH TEXT zanzibar"),
        ("SEARCH TEXT of another word", "SEARCH TEXT madagascar"),
        ("SEARCH SUBJECT", "SEARCH SUBJECT zanzibar"),
        ("SORT (SUBJECT DATE)", "SORT (SUBJECT DATE) UTF-8 ALL"),
        ("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL"),
    ] {
        let began = Instant::now();
        client.run(command).await;
        let took = began.elapsed().as_secs_f64() * 1_000.0;
        figures.push(Figure::new(format!("{name}, {messages} messages"), took, "ms", false));
    }
    empty(client).await;
    figures
}

/// SELECT of a large mailbox.
pub async fn select(server: &Server, messages: usize) -> Vec<Figure> {
    let user = 31;
    fill(server, user, 512, 1_000).await;
    let mut client = server.open(user).await;
    client.run("SELECT INBOX").await;
    let mut has = 1_000;
    while has < messages {
        let more = has.min(messages - has).min(10_000);
        client.run(&format!("COPY 1:{more} INBOX")).await;
        has += more;
    }
    let said = client.ask("STATUS INBOX (MESSAGES)").await;
    assert!(said.contains(&format!("(MESSAGES {messages})")), "copies are missing: {said}");
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let mut fresh = server.open(user).await;
        let began = Instant::now();
        fresh.run("SELECT INBOX").await;
        best = best.min(began.elapsed());
    }
    let name = format!("SELECT of {has} messages");
    vec![Figure::new(name, best.as_secs_f64() * 1_000.0, "ms", false)]
}

/// From the OK of an APPEND to the line that an idling client sees, with `idlers` clients.
pub async fn notices(server: &Server, idlers: usize, samples: usize) -> Vec<Figure> {
    let users = server.users.len();
    let (said, mut heard) = mpsc::unbounded_channel::<Instant>();
    let mut idling = Vec::new();
    let count = Arc::new(AtomicUsize::new(0));
    for number in 0..idlers {
        let mut client = idle(server, number).await;
        let (said, count) = (said.clone(), Arc::clone(&count));
        idling.push(tokio::spawn(async move {
            loop {
                client.until(|text| text.windows(6).any(|at| at == b"EXISTS")).await;
                count.fetch_add(1, Ordering::Relaxed);
                let _ = said.send(Instant::now());
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut dice = letters::Dice(7);
    let mut times = Vec::new();
    let mut filers: Vec<Option<Client>> = (0..users).map(|_| None).collect();
    let letter = letter(4_096);
    for _ in 0..samples {
        let user = dice.below(users as u64) as usize;
        let filer = match &mut filers[user] {
            Some(filer) => filer,
            empty => empty.insert(server.open(user).await),
        };
        filer.append(&letter).await;
        let answered = Instant::now();
        let listening = idlers / users + usize::from(user < idlers % users);
        for _ in 0..listening {
            let at = tokio::time::timeout(Duration::from_secs(60), heard.recv()).await;
            times.push(
                at.expect("a notice in a minute").unwrap().saturating_duration_since(answered),
            );
        }
    }
    idling.iter().for_each(tokio::task::JoinHandle::abort);
    times.sort();
    let at =
        |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    let name = format!("IDLE notice, {idlers} idling clients");
    vec![
        Figure::new(format!("{name}, median"), at(0.5), "ms", false),
        Figure::new(format!("{name}, p99"), at(0.99), "ms", false),
        Figure::new(format!("{name}, worst"), at(1.0), "ms", false),
    ]
}

/// Memory of connections that wait for news.
pub async fn memory(server: &Server, connections: usize) -> Vec<Figure> {
    // The first ones warm up what all share.
    let mut clients = Vec::new();
    for number in 0..server.users.len() {
        clients.push(idle(server, number).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, kernel) = (server.memory(), kernel_sockets());
    for number in 0..connections {
        clients.push(idle(server, number).await);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / connections as f64;
    let ours = each(server.memory(), before) / 1_024.0;
    // Both ends of each connection are on this machine.
    let kernel = each(kernel_sockets(), kernel) / 1_024.0;
    drop(clients);
    let name = format!("memory of an idle TLS connection, at {connections}");
    vec![
        Figure::new(&name, ours, "KiB", false),
        Figure::new(format!("{name}, kernel, both ends"), kernel, "KiB", false),
    ]
}

async fn idle(server: &Server, number: usize) -> Client {
    let mut client = server.open(number).await;
    client.run("SELECT INBOX").await;
    client.write(b"i IDLE\r\n").await;
    client.until(|text| text.starts_with(b"+") && text.ends_with(b"\r\n")).await;
    client
}

/// Files `messages` letters into a mailbox that is made empty first.
pub async fn fill(server: &Server, user: usize, octets: usize, messages: usize) {
    let mut client = server.open(user).await;
    client.run("SELECT INBOX").await;
    empty(client).await;
    let left = Arc::new(AtomicUsize::new(messages));
    let mut filing = Vec::new();
    for _ in 0..16 {
        let mut client = server.open(user).await;
        let left = Arc::clone(&left);
        filing.push(async move {
            let letter = letter(octets);
            let more = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                client.append(&letter).await;
            }
        });
    }
    all(filing).await;
}

async fn empty(mut client: Client) {
    client.run("UID STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    client.run("EXPUNGE").await;
}

async fn all<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
