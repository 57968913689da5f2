//! Measures the seal: processor time for a letter to one mailbox and to many, opening whole and in
//! pieces, beside GnuPG and plain AES-256-GCM (aws-lc and OpenSSL) on the same octets in the same
//! run; and what a FETCH of 25 MB takes of the real program: time to the first octet, and memory.
//!
//! `cargo bench --bench sealing`, or `-- quick` for a short look.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its tables are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the support of the tests")]
#![allow(dead_code, reason = "shares the support of the tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::aead;
use support::running::Running;
use support::running::free_port_base;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::keys::Beginning;
use vaguemestre::infra::keys::Certificate;
use vaguemestre::infra::keys::ContentOpener;
use vaguemestre::infra::keys::Keyring;
use vaguemestre::infra::keys::MailboxKeys;
use vaguemestre::infra::keys::SealedContent;

const USUAL: usize = 51_200;
const LARGE: usize = 25 * 1_048_576;
const RECIPIENTS: [usize; 5] = [1, 2, 5, 10, 50];
const USER: &str = "claire.fontaine@hopital.mssante.test";
/// Chunks that the relay opens at once.
const CHUNKS: u64 = 4;
/// Times that a program is started, to see what one start takes.
const STARTS: u32 = 100;
/// Readers who take a letter slowly, at the same time.
const SLOW: usize = 10;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let time = Duration::from_secs(if quick { 1 } else { 5 });
    let keyring = Keyring::with_master(Secret::new([7; 32]));
    let people: Vec<Person> = (1..=50).map(|number| Person::new(&keyring, number)).collect();
    seals(&keyring, &people, time);
    opens(&keyring, &people, time);
    relay().await;
}

struct Person {
    certificate: Certificate,
    binary: Vec<u8>,
    keys: MailboxKeys,
}

impl Person {
    fn new(keyring: &Keyring, number: u8) -> Self {
        let id = MailboxId::from_bytes([number; 16]);
        let now = Timestamp::from_seconds(1_795_000_000);
        let new = keyring.generate(&id, "measured@hopital.mssante.test", now).unwrap();
        Self {
            certificate: keyring.certificate(&new.certificate).unwrap(),
            binary: new.certificate.to_vec(),
            keys: keyring.unlock(&id, &new.wrapped).unwrap(),
        }
    }
}

/// Lines that compress as a letter with an attachment does: hardly.
fn letter(octets: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut octet = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 58) as usize]
    };
    let line = |at: usize| at % 78;
    (0..octets)
        .map(|at| match line(at) {
            76 => b'\r',
            77 => b'\n',
            _ => octet(),
        })
        .collect()
}

fn seal(keyring: &Keyring, recipients: &[Certificate], clear: &[u8]) -> SealedContent {
    let mut sealer = keyring.seal_to(recipients).unwrap();
    // As it comes in.
    clear.chunks(65_536).for_each(|piece| sealer.write(piece).unwrap());
    sealer.finish().unwrap()
}

fn seals(keyring: &Keyring, people: &[Person], time: Duration) {
    let usual = letter(USUAL);
    println!("\n| sealing 50 KB for | CPU ms a letter | each further one |\n|---|---|---|");
    let mut first = 0.0;
    for count in RECIPIENTS {
        let to: Vec<Certificate> =
            people[..count].iter().map(|person| person.certificate.clone()).collect();
        let cost = cpu_each(time, || {
            let sealed = seal(keyring, &to, &usual);
            // What a door does for each mailbox.
            for person in &people[..count] {
                black_box(person.keys.wrap(&sealed.content_key));
            }
            black_box(sealed);
        });
        match count {
            1 => {
                first = cost;
                println!("| 1 | {:.3} | |", cost * 1e3);
            }
            _ => {
                let further = (cost - first) / (count - 1) as f64;
                println!("| {count} | {:.3} | {:.3} |", cost * 1e3, further * 1e3);
            }
        }
    }
    println!("\n| sealing to one, CPU ms | 50 KB | ratio | 25 MB | ratio |\n|---|---|---|---|---|");
    let large = letter(LARGE);
    let one = [people[0].certificate.clone()];
    let ours = [&usual, &large]
        .map(|clear| cpu_each(time, || drop(black_box(seal(keyring, &one, clear)))));
    let row = |name: &str, [usual, large]: [f64; 2]| {
        println!(
            "| {name} | {:.3} | {:.2} | {:.1} | {:.2} |",
            usual * 1e3,
            usual / ours[0],
            large * 1e3,
            large / ours[1]
        );
    };
    row("the relay", ours);
    let home = tempfile::tempdir().unwrap();
    gpg(home.path(), &["--import"], &people[0].binary);
    for (name, compression) in [("gpg --encrypt", "none"), ("gpg --encrypt, compressing", "zip")] {
        let options = ["--compress-algo", compression];
        let whole = [&usual, &large].map(|clear| gpg_cpu(home.path(), &options, clear));
        row(name, whole);
    }
    // What a program costs that is started for each letter, before its first octet.
    let start = gpg_cpu(home.path(), &["--compress-algo", "none"], b"x");
    row("gpg --encrypt of one octet", [start, start]);
    row("AES-256-GCM, aws-lc", [&usual, &large].map(|clear| aws_lc_seals(time, clear)));
    #[cfg(feature = "pgp-openssl")]
    row("AES-256-GCM, OpenSSL", [&usual, &large].map(|clear| openssl_seals(time, clear)));
}

fn opens(keyring: &Keyring, people: &[Person], time: Duration) {
    println!("\n| opening, MB a CPU second | 50 KB | 1 MB | 25 MB |\n|---|---|---|---|");
    let person = &people[0];
    let one = [person.certificate.clone()];
    let letters = [USUAL, 1_048_576, LARGE].map(letter);
    let sealed: Vec<SealedContent> =
        letters.iter().map(|clear| seal(keyring, &one, clear)).collect();
    let row = |name: &str, costs: Vec<f64>| {
        let rates = letters
            .iter()
            .zip(costs)
            .map(|(clear, cost)| format!(" {:.0} |", clear.len() as f64 / 1e6 / cost));
        println!("| {name} |{}", rates.collect::<String>());
    };
    let whole = |sealed: &SealedContent| {
        cpu_each(time, || {
            drop(black_box(person.keys.open(&sealed.content_key, &sealed.ciphertext).unwrap()));
        })
    };
    row("the relay, as a whole", sealed.iter().map(whole).collect());
    let mut clear = Vec::new();
    let mut in_pieces = |sealed: &SealedContent| {
        cpu_each(time, || open_in_pieces(person, sealed, &mut clear, u64::MAX))
    };
    row("the relay, in pieces", sealed.iter().map(&mut in_pieces).collect());
    row("AES-256-GCM, aws-lc", letters.iter().map(|clear| aws_lc_opens(time, clear)).collect());
    #[cfg(feature = "pgp-openssl")]
    row("AES-256-GCM, OpenSSL", letters.iter().map(|clear| openssl_opens(time, clear)).collect());

    let large = sealed.last().unwrap();
    let first_whole = cpu_each(time, || {
        drop(black_box(person.keys.open(&large.content_key, &large.ciphertext).unwrap()));
    });
    let first_piece = cpu_each(time, || open_in_pieces(person, large, &mut clear, 1));
    println!(
        "\nFirst octets of 25 MB: {:.3} ms when it is opened as a whole, {:.3} ms in pieces",
        first_whole * 1e3,
        first_piece * 1e3
    );
}

/// Opens up to so many chunks, the first one alone, as the relay does.
fn open_in_pieces(person: &Person, sealed: &SealedContent, clear: &mut Vec<u8>, chunks: u64) {
    let length = sealed.ciphertext.len() as u64;
    let start = &sealed.ciphertext[..sealed.ciphertext.len().min(81_920)];
    let beginning = person.keys.begin_to_open(&sealed.content_key, start, length).unwrap();
    let Beginning::InChunks(opener) = beginning else { panic!("not in our framing") };
    let last = (length - ContentOpener::LAST_OCTETS) as usize;
    assert!(opener.is_complete(&sealed.ciphertext[last..]));
    let behind = opener.chunk_of(opener.clear_octets() - 1) + 1;
    let mut at = 0;
    while at < behind.min(chunks) {
        let next = behind.min(if at == 0 { 1 } else { at + CHUNKS });
        let range = opener.sealed_range(at..next);
        clear.clear();
        let sealed = &sealed.ciphertext[range.start as usize..range.end as usize];
        opener.open(at, sealed, clear).unwrap();
        black_box(&clear);
        at = next;
    }
}

fn gcm() -> aead::LessSafeKey {
    aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).unwrap())
}

fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([1; 12])
}

fn aws_lc_seals(time: Duration, clear: &[u8]) -> f64 {
    let key = gcm();
    cpu_each(time, || {
        // Into a buffer of its own, as a sealed letter is.
        let mut sealed = Vec::with_capacity(clear.len() + 16);
        sealed.extend_from_slice(clear);
        key.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut sealed).unwrap();
        black_box(sealed);
    })
}

fn aws_lc_opens(time: Duration, clear: &[u8]) -> f64 {
    let key = gcm();
    let mut sealed = clear.to_vec();
    key.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut sealed).unwrap();
    cpu_each(time, || {
        let mut opened = sealed.clone();
        key.open_in_place(nonce(), aead::Aad::empty(), &mut opened).unwrap();
        black_box(opened);
    })
}

#[cfg(feature = "pgp-openssl")]
fn openssl_seals(time: Duration, clear: &[u8]) -> f64 {
    let cipher = openssl::symm::Cipher::aes_256_gcm();
    cpu_each(time, || {
        let mut tag = [0; 16];
        let iv = Some(&[1; 12][..]);
        let sealed = openssl::symm::encrypt_aead(cipher, &[7; 32], iv, &[], clear, &mut tag);
        black_box(sealed.unwrap());
    })
}

#[cfg(feature = "pgp-openssl")]
fn openssl_opens(time: Duration, clear: &[u8]) -> f64 {
    let cipher = openssl::symm::Cipher::aes_256_gcm();
    let (mut tag, iv) = ([0; 16], Some(&[1; 12][..]));
    let sealed = openssl::symm::encrypt_aead(cipher, &[7; 32], iv, &[], clear, &mut tag).unwrap();
    cpu_each(time, || {
        let opened = openssl::symm::decrypt_aead(cipher, &[7; 32], iv, &[], &sealed, &tag);
        black_box(opened.unwrap());
    })
}

fn gpg(home: &Path, arguments: &[&str], input: &[u8]) {
    let mut child = Command::new("gpg")
        .args(["--homedir", home.to_str().unwrap(), "--batch", "--quiet", "--no-autostart"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "gpg {arguments:?}");
}

/// Processor seconds of one `gpg --encrypt`.
fn gpg_cpu(home: &Path, options: &[&str], clear: &[u8]) -> f64 {
    let to = ["--trust-model", "always", "--recipient", "measured@hopital.mssante.test"];
    let arguments = [&to[..], options, &["--encrypt"]].concat();
    gpg(home, &arguments, clear);
    let before = ticks(Whose::Children);
    (0..STARTS).for_each(|_| gpg(home, &arguments, clear));
    (ticks(Whose::Children) - before) / f64::from(STARTS)
}

/// Processor seconds of one call, by calls for so long.
fn cpu_each(time: Duration, mut call: impl FnMut()) -> f64 {
    call();
    let (began, before) = (Instant::now(), ticks(Whose::Own));
    let mut calls = 0_u32;
    while began.elapsed() < time {
        call();
        calls += 1;
    }
    (ticks(Whose::Own) - before) / f64::from(calls)
}

#[derive(Clone, Copy)]
enum Whose {
    Own,
    Children,
}

/// User and system time in seconds. Linux counts in hundredths for every architecture that we run on.
fn ticks(whose: Whose) -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .map(|field| field.trim().parse().unwrap_or(0.0))
        .collect();
    let first = match whose {
        Whose::Own => 11,
        Whose::Children => 13,
    };
    (fields[first] + fields[first + 1]) / 100.0
}

/// FETCH of 25 MB from the real program.
async fn relay() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, ports) = (folder.path().join("demo"), free_port_base());
    let mut running = Running::start(&demo, ports, &[]);
    let mut imap = running.imap(0, USER).await;
    // With its header it must not be larger than what is taken.
    let body = letter(LARGE - 4_096);
    let append = format!("a APPEND INBOX {{{}+}}\r\nSubject: scanner\r\n\r\n", body.len() + 20);
    imap.write(append.as_bytes()).await.unwrap();
    imap.write(&body).await.unwrap();
    imap.write(b"\r\n").await.unwrap();
    while !imap.response().await.unwrap().starts_with(b"a OK") {}
    let number = imap.command("SELECT INBOX").await.unwrap();
    let exists = number.iter().find_map(|line| {
        String::from_utf8_lossy(line).strip_suffix(" EXISTS\r\n")?[2..].parse::<u32>().ok()
    });
    let fetch = format!("f FETCH {} BODY.PEEK[]\r\n", exists.unwrap());
    drop(imap);
    // A new process: memory that taking the letter left behind would be used again unseen.
    running.terminate();
    drop(running);
    let running = Running::start(&demo, ports, &[]);
    tokio::time::sleep(Duration::from_secs(5)).await;

    // The first one brings in what all of them share: the program's own pages, caches.
    let mut slow = vec![slow_reader(&running, &fetch).await];
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = memory(&running, "RssAnon");
    for _ in 0..SLOW {
        slow.push(slow_reader(&running, &fetch).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = memory(&running, "RssAnon").saturating_sub(before);
    println!("\n| FETCH of 25 MB | |\n|---|---|");
    println!("| memory for each of {SLOW} slow readers, KiB | {} |", held / SLOW as u64);
    drop(slow);

    let (mut first, mut all) = (Vec::new(), Vec::new());
    let mut reader = raw(&running).await;
    let mut octets = vec![0; 1 << 20];
    for _ in 0..20 {
        let began = Instant::now();
        reader.write_all(fetch.as_bytes()).await.unwrap();
        let mut end = Vec::new();
        loop {
            let read = reader.read(&mut octets).await.unwrap();
            if end.is_empty() {
                first.push(began.elapsed());
            }
            // The tagged line may come in two.
            end.extend_from_slice(&octets[read.saturating_sub(64)..read]);
            if end.windows(6).any(|six| six == b"\nf OK ") {
                break;
            }
            let over = end.len().saturating_sub(64);
            end.drain(..over);
        }
        all.push(began.elapsed());
    }
    first.sort();
    all.sort();
    println!("| first octet, median ms | {:.2} |", first[10].as_secs_f64() * 1e3);
    println!("| all of it, median ms | {:.1} |", all[10].as_secs_f64() * 1e3);
}

/// Somebody who asks for the letter, takes a little of it, and then nothing for long.
async fn slow_reader(running: &Running, fetch: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut reader = raw(running).await;
    reader.write_all(fetch.as_bytes()).await.unwrap();
    let mut octets = [0; 1_000];
    reader.read_exact(&mut octets).await.unwrap();
    reader
}

async fn raw(running: &Running) -> tokio_rustls::client::TlsStream<TcpStream> {
    let socket = TcpStream::connect(running.door(0, "imaps")).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(running.tls()).connect(name, socket).await.unwrap();
    let login = format!("l LOGIN {USER} {:?}\r\ns EXAMINE INBOX\r\n", running.password(USER));
    stream.write_all(login.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"s OK") {
        stream.read_buf(&mut read).await.unwrap();
    }
    stream
}

fn memory(running: &Running, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
