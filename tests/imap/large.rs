//! Letters of the largest size, read slowly and by many: what the running program holds of them.
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::running::Running;

const USER: &str = "claire.fontaine@hopital.mssante.test";
const OCTETS: usize = 24 * 1_048_576;
const READERS: usize = 12;
/// For each reader: two pieces, what is on its way out, buffers of TLS, and what an allocator keeps.
const KIBIBYTES_EACH: u64 = 4_096;

async fn session(running: &Running, door: &str) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(running.door(0, door)).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(running.tls()).connect(name, socket).await.unwrap()
}

async fn until(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        assert!(
            stream.read_buf(&mut read).await.unwrap() > 0,
            "{}",
            String::from_utf8_lossy(&read)
        );
    }
    String::from_utf8(read).unwrap()
}

fn kibibytes(running: &Running, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dozen_who_read_24_megabytes_slowly_hold_a_few_and_each_gets_all_of_it() {
    let running = Running::new(&[]);
    let mut letter = String::from("From: a@hopital.mssante.test\r\nSubject: scanner\r\n\r\n");
    while letter.len() < OCTETS {
        letter.push_str(&format!("{:>62}\r\n", letter.len()));
    }
    letter.push_str(".a dot\r\n..\r\n");
    let mut imap = running.imap(0, USER).await;
    let append = format!("a APPEND INBOX {{{}+}}\r\n{letter}\r\n", letter.len());
    imap.write(append.as_bytes()).await.unwrap();
    let appended = loop {
        let line = String::from_utf8(imap.response().await.unwrap()).unwrap();
        if line.starts_with("a ") {
            break line;
        }
    };
    let uid = appended.split(['[', ']']).nth(1).unwrap().rsplit(' ').next().unwrap().to_owned();

    // What taking the letter in has needed is given back after a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
    std::fs::write(format!("/proc/{}/clear_refs", running.pid()), "5").unwrap();
    let before = kibibytes(&running, "VmRSS");
    let mut readers = Vec::new();
    let announced = format!("BODY[] {{{}}}\r\n", letter.len());
    for _ in 0..READERS {
        let mut stream = session(&running, "imaps").await;
        let password = running.password(USER);
        let login = format!("l LOGIN {USER} {password:?}\r\ns EXAMINE INBOX\r\n");
        stream.write_all(login.as_bytes()).await.unwrap();
        until(&mut stream, "s OK").await;
        stream.write_all(format!("f UID FETCH {uid} BODY.PEEK[]\r\n").as_bytes()).await.unwrap();
        let begun = until(&mut stream, &announced).await;
        readers.push((stream, begun));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let peak = kibibytes(&running, "VmHWM").saturating_sub(before);
    assert!(peak < READERS as u64 * KIBIBYTES_EACH, "{peak} KiB for {READERS} readers");

    for (mut stream, begun) in readers {
        let (_, begun) = begun.split_once(&announced).unwrap();
        let mut read = begun.as_bytes().to_vec();
        let have = read.len();
        read.resize(letter.len(), 0);
        stream.read_exact(&mut read[have..]).await.unwrap();
        assert!(read == letter.as_bytes());
        until(&mut stream, "f OK").await;
    }

    // Over POP3 each line that begins with a dot has one more.
    let mut stream = session(&running, "pop3s").await;
    let login = format!("USER {USER}\r\nPASS {}\r\nSTAT\r\n", running.password(USER));
    stream.write_all(login.as_bytes()).await.unwrap();
    let mut stat = String::new();
    while stat.matches("\r\n").count() < 4 {
        stat.push_str(&until(&mut stream, "\r\n").await);
    }
    let last = stat.rsplit("+OK ").next().unwrap().split(' ').next().unwrap().to_owned();
    stream.write_all(format!("RETR {last}\r\n").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n.\r\n") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    let travelled = letter.replace("\r\n.", "\r\n..") + ".\r\n";
    assert!(read.ends_with(travelled.as_bytes()));
}
