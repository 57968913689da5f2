//! Measures the real program, with durability and sealing on: letters a second until 250, CPU a
//! letter, time to an IDLE notice, memory of idle connections. Prints Markdown tables.
//!
//! `make bench`, or `cargo bench --bench relay -- quick` for a short look. The load generator
//! runs beside the relay on the same machine; compare figures of one run only.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use support::letters;
use support::running::Running;
use vaguemestre::demo::client::Imap;

const ACCOUNTS: usize = 64;
const SIZES: [(&str, usize); 3] = [("4 KB", 4_096), ("50 KB", 51_200), ("1 MB", 1_048_576)];
const SESSIONS: [usize; 3] = [1, 16, 64];

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let seconds = if quick { 3 } else { 10 };
    let running = Running::new(&["--accounts", &ACCOUNTS.to_string()]);
    println!("| letter | sessions | accepted and delivered /s | CPU s per 1,000 | relay RSS MiB |");
    println!("|---|---|---|---|---|");
    for (name, octets) in SIZES {
        for sessions in SESSIONS {
            let load = load(&running, sessions, octets, Duration::from_secs(seconds)).await;
            println!(
                "| {name} | {sessions} | {:.0} | {:.2} | {} |",
                load.per_second,
                load.cpu_per_thousand,
                memory_mib(&running)
            );
        }
    }
    notice(&running, if quick { 50 } else { 300 }).await;
    idle(if quick { 200 } else { 1_000 }).await;
}

struct Load {
    per_second: f64,
    cpu_per_thousand: f64,
}

/// `sessions` clients send as fast as they are answered; each to a mailbox of its own.
async fn load(running: &Running, sessions: usize, octets: usize, during: Duration) -> Load {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..sessions {
        let from = format!("u{number}@hopital.mssante.test");
        let to = format!("u{}@hopital.mssante.test", (number + 1) % ACCOUNTS);
        let mut session = running.submission(0, &from).await;
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        clients.push(async move {
            let letter = letters::letter(&from, &to, &letters::message_id(), octets);
            while !stop.load(Ordering::Relaxed) {
                session.send(&from, &[&to], &letter).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let cpu = cpu_seconds(running);
    let began = Instant::now();
    let clients: Vec<_> = clients.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(during).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let letters = count.load(Ordering::Relaxed) as f64;
    Load {
        per_second: letters / began.elapsed().as_secs_f64(),
        cpu_per_thousand: (cpu_seconds(running) - cpu) * 1_000.0 / letters,
    }
}

/// From the 250 to the line that an idling client sees.
async fn notice(running: &Running, samples: usize) {
    let (from, to) = ("u0@hopital.mssante.test", "u63@hopital.mssante.test");
    let mut reader = running.imap(0, to).await;
    reader.command("SELECT INBOX").await.unwrap();
    reader.write(b"i IDLE\r\n").await.unwrap();
    assert!(reader.response().await.unwrap().starts_with(b"+"));
    let mut session = running.submission(0, from).await;
    let letter = letters::letter(from, to, &letters::message_id(), 4_096);
    let mut times = Vec::new();
    for _ in 0..samples {
        session.send(from, &[to], &letter).await.unwrap();
        let answered = Instant::now();
        while !reader.response().await.unwrap().ends_with(b"EXISTS\r\n") {}
        times.push(answered.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    let at =
        |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("\n250 to IDLE notice: median {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99));
}

/// Memory of connections that wait for news, in a fresh relay.
async fn idle(connections: usize) {
    let running = Running::new(&["--accounts", "64"]);
    let before = memory_mib(&running);
    let mut clients: Vec<Imap> = Vec::new();
    for number in 0..connections {
        let user = format!("u{}@hopital.mssante.test", number % ACCOUNTS);
        let mut imap = running.imap(0, &user).await;
        imap.command("SELECT INBOX").await.unwrap();
        imap.write(b"i IDLE\r\n").await.unwrap();
        clients.push(imap);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = memory_mib(&running);
    println!("\n{connections} idle IMAP connections: {before} MiB before, {after} MiB after");
    drop(clients);
}

/// User and system time of the relay's process, all threads.
fn cpu_seconds(running: &Running) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // Linux counts in hundredths of a second for every architecture that we run on.
    ticks / 100.0
}

fn memory_mib(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
