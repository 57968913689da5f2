//! Measures logins with tokens: the real program, IMAP over TLS, XOAUTH2, signatures by the
//! provider's keys. Each login is a connection of its own, with a full handshake or a resumed
//! one; with tokens that were never seen before, and with one that was. The generator runs beside
//! the relay on the same machine and takes its part of it.
//!
//! `cargo bench --bench tokens`, or `-- quick` for a short look.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../oidc/fake.rs"]
mod fake;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake::ELOISE;
use fake::Fake;
use fake::Key;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use serde_json::json;
use support::serving::Space;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

const HERS: &str = "eloise@cabinet.mssante.test";
/// Connections at the same time.
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let logins = if quick { 1_000 } else { 10_000 };
    println!("| keys | tokens | handshake | logins a second | p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    for key in [Key::rsa("k1"), Key::ec("k1")] {
        let fake = Fake::open(&[&key]).await;
        let space = Space::of(&["cabinet.mssante.test"]);
        let relay = space
            .relay(0)
            .with(&format!(
                "[revocation]\nmode = \"off\"\n[login]\ndirectories = [\"local\", \"oidc\"]\n[oidc]\nissuer = {:?}\n\
                 discovery = \"/.well-known/wallet-openid-configuration\"\n",
                fake.issuer
            ))
            .start(&[HERS]);
        relay.said(&["mailbox", "holder", "add", HERS, ELOISE, "--reason", "measured"]);
        let now = SystemClock.now().as_seconds();
        let token = |number: usize| {
            let mut claims = fake.claims();
            claims["iat"] = json!(now);
            claims["exp"] = json!(now + 3_600);
            claims["jti"] = json!(number);
            key.token(json!({}), &claims)
        };
        // Made before anything is measured: the provider signs them elsewhere.
        let tokens: Vec<String> = (0..logins * 2).map(token).collect();
        let one = vec![tokens[0].clone(); logins];
        let tls = relay.tls();
        let mut full = ClientConfig::clone(&tls);
        full.resumption = Resumption::disabled();
        let full = Arc::new(full);
        let name = match &key {
            Key::Rsa(..) => "RS256",
            Key::Ec(..) => "ES256",
        };
        let (first, second) = tokens.split_at(logins);
        for (what, handshake, tls, tokens) in [
            ("all new", "full", &full, first),
            ("all new", "resumed", &tls, second),
            ("one", "full", &full, &one),
            ("one", "resumed", &tls, &one),
        ] {
            let mut times = run(relay.door("imaps"), tls, tokens).await;
            let whole = times.0.as_secs_f64();
            times.1.sort_unstable();
            let at = |share: usize| times.1[times.1.len() * share / 100].as_secs_f64() * 1_000.0;
            println!(
                "| {name} | {what} | {handshake} | {:.0} | {:.1} ms | {:.1} ms |",
                logins as f64 / whole,
                at(50),
                at(99)
            );
        }
    }
}

/// Logs in with each token, and says how long all took, and each.
async fn run(
    door: std::net::SocketAddr,
    tls: &Arc<ClientConfig>,
    tokens: &[String],
) -> (Duration, Vec<Duration>) {
    let tokens: Arc<Vec<String>> = Arc::new(tokens.to_vec());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (tokens, next, tls) = (Arc::clone(&tokens), Arc::clone(&next), Arc::clone(tls));
        clients.spawn(async move {
            let mut times = Vec::new();
            while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begin = Instant::now();
                log_in(door, &tls, token).await;
                times.push(begin.elapsed());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(each) = clients.join_next().await {
        times.extend(each.unwrap());
    }
    (began.elapsed(), times)
}

async fn log_in(door: std::net::SocketAddr, tls: &Arc<ClientConfig>, token: &str) {
    let socket = TcpStream::connect(door).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let name = ServerName::from(door.ip());
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let initial = STANDARD.encode(format!("user={HERS}\x01auth=Bearer {token}\x01\x01"));
    let command = format!("a AUTHENTICATE XOAUTH2 {initial}\r\n");
    stream.write_all(command.as_bytes()).await.unwrap();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if line.starts_with("a OK") {
            return;
        }
        assert!(line.starts_with("* "), "{line}");
    }
}
