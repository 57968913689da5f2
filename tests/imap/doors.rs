//! The running program, over sockets and TLS.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::letters;
use crate::support::running::Running;

const USER: &str = "claire.fontaine@hopital.mssante.test";
const OTHER: &str = "hugo.oreade@hopital.mssante.test";
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client that says exactly what the test says.
struct Raw {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Raw {
    async fn in_clear(door: SocketAddr) -> Self {
        let stream = Box::new(TcpStream::connect(door).await.unwrap());
        let mut raw = Self { stream, read: Vec::new() };
        raw.until("\r\n").await;
        raw
    }

    async fn over_tls(running: &Running) -> Self {
        let socket = TcpStream::connect(running.door(0, "imaps")).await.unwrap();
        let stream = Box::new(shake_hands(running, socket).await);
        let mut raw = Self { stream, read: Vec::new() };
        raw.until("\r\n").await;
        raw
    }

    async fn logged_in(running: &Running, user: &str) -> Self {
        let mut raw = Self::over_tls(running).await;
        let answer = raw.say(&format!("l LOGIN {user} {}", running.password(user))).await;
        assert!(answer.contains("l OK"), "{answer}");
        raw
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads up to `end`, or until the connection closes.
    async fn until(&mut self, end: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if text.contains(end) {
                self.read.clear();
                return text;
            }
            match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await {
                Err(_) => panic!("{end:?} does not come after {text:?}"),
                Ok(Ok(0) | Err(_)) => return format!("{text}<closed>"),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Sends a command and reads up to its tagged line.
    async fn say(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        let tag = command.split(' ').next().unwrap();
        let mut answer = String::new();
        let is_whole = |answer: &str| {
            answer.ends_with("\r\n")
                && answer.lines().any(|line| line.starts_with(&format!("{tag} ")))
        };
        while !is_whole(&answer) && !answer.ends_with("<closed>") {
            answer.push_str(&self.until("\n").await);
        }
        answer
    }
}

async fn shake_hands(
    running: &Running,
    socket: TcpStream,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    TlsConnector::from(Arc::clone(&running.tls())).connect(name, socket).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_begins_a_new_session_and_nothing_can_be_slipped_in_before() {
    let running = Running::new(&[]);
    let door = running.door(0, "imap");

    let mut injected = Raw::in_clear(door).await;
    injected.send("a STARTTLS\r\nb CAPABILITY\r\n").await;
    let answer = injected.until("<never>").await;
    assert!(answer.starts_with("a BAD ") && answer.contains("* BYE"), "{answer}");
    assert!(!answer.contains("b OK") && answer.ends_with("<closed>"), "{answer}");

    let mut clear = Raw::in_clear(door).await;
    let answer = clear.say("a CAPABILITY").await;
    assert!(answer.contains(" STARTTLS LOGINDISABLED"), "{answer}");
    let login = format!("a LOGIN {USER} {}", running.password(USER));
    assert!(clear.say(&login).await.starts_with("a NO [PRIVACYREQUIRED]"));

    let mut socket = TcpStream::connect(door).await.unwrap();
    socket.write_all(b"a STARTTLS\r\n").await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"a OK Begin TLS now\r\n") {
        socket.read_buf(&mut read).await.unwrap();
    }
    let stream = Box::new(shake_hands(&running, socket).await);
    let mut secure = Raw { stream, read: Vec::new() };
    let answer = secure.say("b CAPABILITY").await;
    assert!(answer.starts_with("* CAPABILITY IMAP4rev1 ") && answer.contains(" AUTH=PLAIN"));
    assert!(secure.say(&login).await.contains("a OK"));

    // Somebody who begins TLS and then talks in clear is not listened to.
    let mut broken = Raw::in_clear(door).await;
    broken.say("a STARTTLS").await;
    broken.send("b LOGIN x y\r\nc NOOP\r\n").await;
    let answer = broken.until("c OK").await;
    assert!(answer.ends_with("<closed>"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_reads_on_the_inbox_page_and_not_over_imap() {
    let running = Running::new(&[]);
    let patient = "288027599000175@patient.mssante.test";
    let mut raw = Raw::over_tls(&running).await;
    let answer = raw.say(&format!("a LOGIN {patient} {}", running.password(patient))).await;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED] "), "{answer}");
    // Nobody learns from the answer that the password was right.
    assert_eq!(raw.say(&format!("a LOGIN {patient} wrong")).await, answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_gigabytes_cost_no_memory() {
    let running = Running::new(&[]);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(Raw::logged_in(&running, USER).await);
    }
    let before = resident_kibibytes(running.pid());
    for raw in &mut waiting {
        let answer = raw.say("a APPEND INBOX {4294967295}").await;
        assert!(answer.starts_with("a NO [TOOBIG] "), "{answer}");
        let answer = raw.say("b SEARCH TEXT {4294967295}").await;
        assert!(answer.starts_with("b BAD "), "{answer}");
        // Room for it is reserved, but the memory is not taken before the octets come.
        raw.send("c APPEND INBOX {20000000}\r\n").await;
        assert!(raw.until("\r\n").await.starts_with("+ "));
    }
    let grown = resident_kibibytes(running.pid()).saturating_sub(before);
    assert!(grown < 20_000, "{grown} KiB more for announcements");
    let mut closed = Raw::logged_in(&running, USER).await;
    closed.send("d APPEND INBOX {4294967295+}\r\n").await;
    let answer = closed.until("<never>").await;
    assert!(answer.starts_with("d NO [TOOBIG] ") && answer.ends_with("<closed>"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_told_to_idle_sessions_as_soon_as_it_is_accepted() {
    let running = Running::new(&[]);
    let mut idle = Raw::logged_in(&running, USER).await;
    idle.say("a SELECT INBOX").await;
    idle.send("b IDLE\r\n").await;
    idle.until("+ idling\r\n").await;
    let mut submission = running.submission(0, OTHER).await;
    let letter = letters::letter(OTHER, USER, &letters::message_id(), 4_096);
    submission.send(OTHER, &[USER], &letter).await.unwrap();
    let news = tokio::time::timeout(Duration::from_secs(60), idle.until(" EXISTS\r\n")).await;
    assert!(news.is_ok(), "no news after the 250");
    idle.send("DONE\r\n").await;
    assert!(idle.until("b OK").await.contains("b OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_bye_to_open_sessions() {
    let mut running = Running::new(&[]);
    let mut idle = Raw::logged_in(&running, USER).await;
    idle.send("a IDLE\r\n").await;
    idle.until("+ idling\r\n").await;
    let listening = tokio::spawn(async move { idle.until("<never>").await });
    let status = tokio::task::spawn_blocking(move || running.terminate()).await.unwrap();
    assert!(status.success());
    let answer = listening.await.unwrap();
    assert!(answer.starts_with("* BYE [UNAVAILABLE] "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_broken_clients_do_not_stop_the_next_one() {
    let running = Running::new(&[]);
    for round in 0..200_usize {
        let mut socket = TcpStream::connect(running.door(0, "imaps")).await.unwrap();
        let garbage: Vec<u8> = (0..round).map(|at| (at * 31 % 251) as u8).collect();
        let _ = socket.write_all(&garbage).await;
        let mut clear = TcpStream::connect(running.door(0, "imap")).await.unwrap();
        let _ = clear.write_all(&garbage).await;
        let _ = clear.write_all(b"\0\r\n\n{4294967295+}\r\na LOGIN {9999999+}\r\n").await;
    }
    let mut raw = Raw::logged_in(&running, USER).await;
    let answer = raw.say("a SELECT INBOX").await;
    assert!(answer.contains("a OK [READ-WRITE]"), "{answer}");
}

fn resident_kibibytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
