//! As an attacker I send what no client should, and get a proper answer each time.
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::running::Running;

/// Sends octets in clear to a door and reads until it closes or falls silent.
fn talk(running: &Running, door: &str, octets: &[u8]) -> String {
    let mut socket = TcpStream::connect(running.door(0, door)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let _ = socket.write_all(octets);
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = socket.read(&mut buffer) {
        if read == 0 {
            break;
        }
        heard.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn smtp_says_what_is_wrong() {
    let running = Running::new(&[]);
    let long = [b"EHLO ".as_slice(), &[b'a'; 100_000], b"\r\n"].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"DANCE\r\n", "500 5.5"),
        (b"MAIL FROM:<a@b.test>\r\n", "503 5.5.1"),
        (b"EHLO x\r\nMAIL FROM:<a@b.test>\r\n", "530 5.7.0"),
        (b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\n", "530 5.7.0"),
        (b"EHLO x\nNOOP\r\n", "500 5.5.2"),
        (b"EHLO x\rNOOP\r\n", "500 5.5.2"),
        (b"EHLO \0x\r\n", "500 5.5.2"),
        (b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@b.test>\r\n", "5"),
        (&long, "500 5.5.6"),
    ];
    for (sent, expected) in cases {
        let heard = talk(&running, "submission", sent);
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(40)]).into_owned();
        assert!(heard.contains(expected), "{shown:?} should hear {expected}, heard:\n{heard}");
        assert!(!heard.contains("250 2.1.0"), "{shown:?}:\n{heard}");
    }
}

#[test]
fn imap_says_what_is_wrong_and_never_allocates_what_is_announced() {
    let running = Running::new(&[]);
    let before = resident_mib(&running);
    let long = [b"a LOGIN ".as_slice(), &[b'x'; 200_000], b"\r\n"].concat();
    let cases: [(&[u8], &str); 6] = [
        (b"a DANCE\r\n", "a BAD"),
        (b"a SELECT INBOX\r\n", "a BAD"),
        (b"a LOGIN a b\r\n", "a NO [PRIVACYREQUIRED]"),
        (b"a LOGIN {4294967296}\r\n", "BAD"),
        (b"\0\r\n", "BAD"),
        (&long, "BAD"),
    ];
    for (sent, expected) in cases {
        let heard = talk(&running, "imap", sent);
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(40)]).into_owned();
        assert!(heard.contains(expected), "{shown:?} should hear {expected}, heard:\n{heard}");
    }
    let grown = resident_mib(&running).saturating_sub(before);
    assert!(grown < 64, "memory grew by {grown} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_letters_are_delivered_whole_and_listed_safely() {
    let running = Running::new(&[]);
    let (from, to) = ("hugo.oreade@hopital.mssante.test", "claire.fontaine@hopital.mssante.test");
    let mut session = running.submission(0, from).await;
    let mut ids = Vec::new();
    for (name, body) in hostile_bodies() {
        let id = crate::support::letters::message_id();
        let header = format!("From: {from}\r\nTo: {to}\r\nMessage-ID: {id}\r\nSubject: {name}\r\n");
        let letter = [header.as_bytes(), &body].concat();
        session.send(from, &[to], &letter).await.unwrap();
        ids.push((name, id));
    }
    let mut imap = running.imap(0, to).await;
    for (name, id) in ids {
        assert_eq!(imap.count_in_inbox(&id).await.unwrap(), 1, "{name}");
    }
    let all = imap.command("FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE)").await.unwrap();
    assert_eq!(all.iter().filter(|line| line.starts_with(b"* ")).count(), 6, "{}", all.len());
    assert!(resident_mib(&running) < 600, "{} MiB", resident_mib(&running));
}

fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let mut nested = Vec::new();
    for depth in 0..10_000 {
        nested.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n")
                .as_bytes(),
        );
    }
    let headers: Vec<u8> = (0..20_000).flat_map(|n| format!("X-{n}: y\r\n").into_bytes()).collect();
    let parts: Vec<u8> = (0..20_000).flat_map(|_| b"--b\r\n\r\nx\r\n".to_vec()).collect();
    let many = [b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".as_slice(), &parts].concat();
    let bomb = zip_bomb();
    vec![
        ("10,000 nested parts", nested),
        ("20,000 header fields", [headers.as_slice(), b"\r\nbody\r\n"].concat()),
        ("20,000 parts without an end", many),
        ("a zip bomb", bomb),
        ("no body at all", b"X-Last: field\r\n".to_vec()),
    ]
}

/// A megabyte of zeros, a thousand times, in a few kilobytes of zip: nobody here unpacks it.
fn zip_bomb() -> Vec<u8> {
    use base64::Engine;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let zeros = vec![0; 1_048_576];
    zip.start_file("IHE_XDM/SUBSET01/METADATA.XML", zip::write::SimpleFileOptions::default())
        .unwrap();
    for _ in 0..200 {
        zip.write_all(&zeros).unwrap();
    }
    let octets = zip.finish().unwrap().into_inner();
    let text = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<&str> =
        text.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).unwrap()).collect();
    let header = "Content-Type: application/zip; name=IHE_XDM.zip\r\nContent-Transfer-Encoding: base64\r\n\
                  Content-Disposition: attachment; filename=IHE_XDM.zip\r\n\r\n";
    format!("{header}{}\r\n", lines.join("\r\n")).into_bytes()
}

fn resident_mib(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
