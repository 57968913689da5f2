//! Measures what a storm of wrong passwords does to mail: letters are submitted over TLS, each on a
//! connection that is logged in, first alone and then while strangers from hundreds of networks
//! guess passwords at the same door as fast as they are answered. The generator runs beside the
//! relay on the same machine and takes its part of it, in both halves alike but for the guessing.
//!
//! `cargo bench --bench logins`, or `-- quick` for a short look.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../support/mod.rs"]
mod support;

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use support::serving::PASSWORD;
use support::serving::Space;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const EVA: &str = "eva.lune@hopital.mssante.test";
/// Strangers who guess at the same time, and clinicians who send.
const STRANGERS: u32 = 64;
const CLINICIANS: usize = 4;
const ALONE: &str = "[revocation]\nmode = \"off\"\n";

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let letters = if quick { 200 } else { 1_000 };
    let space = Space::of(&["hopital.mssante.test"]);
    let relay = space.relay(0).with(ALONE).start(&[EVA]);
    let (door, tls) = (relay.door("submissions"), relay.tls());
    submit(door, &tls, letters / 4).await;
    println!("| | letters a second | p50 | p99 | guesses a second |");
    println!("|---|---|---|---|---|");
    let mut p99 = Vec::new();
    for storm in [false, true, false, true] {
        let (stop, guesses) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut strangers = tokio::task::JoinSet::new();
        for number in 0..if storm { STRANGERS } else { 0 } {
            let (stop, guesses, tls) = (Arc::clone(&stop), Arc::clone(&guesses), Arc::clone(&tls));
            strangers.spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    guess(door, &tls, number, turn).await;
                    turn += 1;
                    guesses.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        if storm {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let before = guesses.load(Ordering::Relaxed);
        let began = Instant::now();
        let mut times = submit(door, &tls, letters).await;
        let whole = began.elapsed().as_secs_f64();
        let tried = guesses.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        while strangers.join_next().await.is_some() {}
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1_000.0;
        println!(
            "| {} | {:.0} | {:.1} ms | {:.1} ms | {:.0} |",
            if storm { "storm" } else { "quiet" },
            times.len() as f64 / whole,
            at(50),
            at(99),
            tried as f64 / whole
        );
        p99.push(at(99));
    }
    println!(
        "p99 under the storm: {:.1} and {:.1} times the quiet one",
        p99[1] / p99[0],
        p99[3] / p99[2]
    );
}

type Stream = BufReader<TlsStream<TcpStream>>;

/// Sends letters, a few clinicians at the same time; how long each took from MAIL to its 250.
async fn submit(door: SocketAddr, tls: &Arc<ClientConfig>, letters: usize) -> Vec<Duration> {
    let mut clinicians = tokio::task::JoinSet::new();
    for number in 0..CLINICIANS {
        let tls = Arc::clone(tls);
        clinicians.spawn(async move {
            let mut stream = greet(door, &tls, Ipv4Addr::LOCALHOST).await;
            let login = STANDARD.encode(format!("\0{EVA}\0{PASSWORD}"));
            assert!(say(&mut stream, &format!("AUTH PLAIN {login}\r\n")).await.starts_with("235"));
            let mut times = Vec::new();
            for letter in 0..letters / CLINICIANS {
                let text = format!(
                    "From: {EVA}\r\nTo: {EVA}\r\nMessage-ID: <{number}.{letter}.{}@hopital.mssante.test>\r\n\
                     Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: x\r\n\r\n{}\r\n.\r\n",
                    uuid::Uuid::now_v7(),
                    "x".repeat(4_096)
                );
                let began = Instant::now();
                assert!(say(&mut stream, &format!("MAIL FROM:<{EVA}>\r\n")).await.starts_with("250"));
                assert!(say(&mut stream, &format!("RCPT TO:<{EVA}>\r\n")).await.starts_with("250"));
                assert!(say(&mut stream, "DATA\r\n").await.starts_with("354"));
                let answer = say(&mut stream, &text).await;
                assert!(answer.starts_with("250"), "{answer}");
                times.push(began.elapsed());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(each) = clinicians.join_next().await {
        times.extend(each.unwrap());
    }
    times
}

/// One connection from a network of its own, and one wrong password.
async fn guess(door: SocketAddr, tls: &Arc<ClientConfig>, number: u32, turn: u32) {
    let network = Ipv4Addr::new(127, 1 + (number % 64) as u8, (turn % 250) as u8, 7);
    let mut stream = greet(door, tls, network).await;
    let login = STANDARD.encode(format!("\0{EVA}\0guess {number} {turn}"));
    let answer = say(&mut stream, &format!("AUTH PLAIN {login}\r\n")).await;
    assert!(!answer.starts_with('2'), "{answer}");
}

async fn greet(door: SocketAddr, tls: &Arc<ClientConfig>, from: Ipv4Addr) -> Stream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let socket = socket.connect(door).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let name = ServerName::from(door.ip());
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await.unwrap();
    let mut stream = BufReader::new(stream);
    answer(&mut stream).await;
    say(&mut stream, "EHLO pc.example\r\n").await;
    stream
}

async fn say(stream: &mut Stream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    answer(stream).await
}

/// The last line of an answer.
async fn answer(stream: &mut Stream) -> String {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 || line.as_bytes().get(3) == Some(&b' ')
        {
            return line;
        }
    }
}
