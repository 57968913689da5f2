//! What other OpenPGP programs write is opened here, and what is sealed here they open: every kind
//! of key, container, signed or not, compressed or not, in both directions, at sizes from 1 KB to
//! 25 MB. What a program does not do is a row as well, with its own words: nothing is left out
//! silently.
//!
//! GnuPG 2.2 is the one of Debian 12; 2.4 is fetched by scripts/gnupg24. The table is
//! docs/interoperability.md; with `VAGUEMESTRE_WRITE=1` the test writes it.
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use vaguemestre::domain::mailbox::MailboxId;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::keys::Keyring;
use vaguemestre::infra::keys::MailboxKeys;
use vaguemestre::infra::keys::mail;
use vaguemestre::infra::keys::mail::Certificates;
use vaguemestre::infra::keys::mail::OpenFlaw;
use vaguemestre::infra::keys::mail::SignatureVerdict;
use vaguemestre::infra::keys::peers::PeerCertificate;

use super::peer::Aead;
use super::peer::Form;
use super::peer::Key;
use super::peer::Kind;
use super::peer::PEERS;
use super::peer::Peer;

const TABLE: &str = "docs/interoperability.md";
const KB: usize = 1_024;

/// Programs date their keys by the real clock; ours are dated a little before "now".
#[allow(clippy::disallowed_methods, reason = "other programs read the real clock")]
fn now() -> Timestamp {
    Timestamp::from_seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

struct Known(PeerCertificate);

impl Certificates for Known {
    fn of_key(&self, _: &str) -> Vec<PeerCertificate> {
        vec![self.0.clone()]
    }
}

/// A mailbox of ours.
struct Mailbox {
    keys: MailboxKeys,
    certificate: Vec<u8>,
}

impl Mailbox {
    fn new() -> Self {
        let keyring = Keyring::with_master(Secret::new([7; 32]));
        let id = MailboxId::from_bytes([1; 16]);
        let new = keyring.generate(&id, "<mailbox@example.test>", now()).unwrap();
        let keys = keyring.unlock(&id, &new.wrapped).unwrap();
        Self { keys, certificate: new.certificate.to_vec() }
    }
}

/// Text with line ends of mail that shrinks to a half, as base64 of attachments does.
fn clear(octets: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"0123456789abcdef"[(state >> 28) as usize]
    };
    let mut text = b"Content-Type: text/plain; charset=utf-8\r\n\r\n".to_vec();
    while text.len() + 78 <= octets {
        text.extend((0..76).map(|_| next()));
        text.extend(b"\r\n");
    }
    text
}

/// Which container a message has: 1, 2, or 20 for the packet of LibrePGP. A walk over the packets
/// before it, written without a look at the one that is tested.
fn container(message: &[u8]) -> u8 {
    let mut at = 0;
    loop {
        let first = message[at];
        let (tag, body, length) = match first & 0x40 != 0 {
            true => {
                let (octets, length) = match message[at + 1] {
                    one @ 0..=191 => (1, usize::from(one)),
                    high @ 192..=223 => {
                        (2, (usize::from(high) - 192) * 256 + usize::from(message[at + 2]) + 192)
                    }
                    255 => (5, 0),
                    _ => (1, 0),
                };
                (first & 0x3F, at + 1 + octets, length)
            }
            false => {
                let (octets, length) = match first & 3 {
                    0 => (1, usize::from(message[at + 1])),
                    1 => (2, usize::from(message[at + 1]) * 256 + usize::from(message[at + 2])),
                    2 => (4, 0),
                    _ => (0, 0),
                };
                ((first >> 2) & 0x0F, at + 1 + octets, length)
            }
        };
        match tag {
            18 => return message[body],
            20 => return 20,
            _ => at = body + length,
        }
    }
}

/// From a peer to us. The cell of the table.
fn inbound(mailbox: &Mailbox, key: &Key<'_>, peer: &Peer, form: Form, text: &[u8]) -> &'static str {
    let told = format!("{} writes {form:?}", peer.name);
    let sealed = key.seal(&mailbox.certificate, form, text);
    let expected = match (form.aead, peer.aead) {
        (false, _) => 1,
        (true, Aead::Written) => 2,
        (true, Aead::Version1) => 1,
        (true, Aead::LibrePgp) => 20,
        (true, Aead::Refused(words)) => {
            let said = sealed.expect_err(&told);
            assert!(said.contains(words), "{told}: {said}");
            return "not offered";
        }
    };
    let sealed = sealed.unwrap_or_else(|said| panic!("{told}: {said}"));
    assert_eq!(container(&sealed), expected, "{told}");
    let certificate = PeerCertificate::read(&key.certificate()).unwrap();
    let by = SignatureVerdict::Good(certificate.fingerprint());
    let opened = mail::open_message(&mailbox.keys, &sealed, &Known(certificate), now());
    if expected == 20 {
        assert_eq!(opened.err(), Some(OpenFlaw::Unsupported), "{told}");
        return "LibrePGP, refused";
    }
    let opened = opened.unwrap_or_else(|flaw| panic!("{told}: {flaw}"));
    assert!(opened.clear.expose() == text, "{told}: another text");
    assert!(opened.encrypted);
    let signatures: &[SignatureVerdict] = if form.signed { &[by] } else { &[] };
    assert_eq!(opened.signatures, signatures, "{told}");
    if form.aead && expected == 1 { "writes version 1" } else { "yes" }
}

/// From us to a peer. Never compressed; the container is the one that its certificate reads.
fn outbound(mailbox: &Mailbox, key: &Key<'_>, peer: &Peer, signed: bool, text: &[u8]) {
    let told = format!("{} opens, signed: {signed}", peer.name);
    let to = PeerCertificate::read(&key.certificate()).unwrap();
    assert_eq!(to.check(now()), Ok(()), "{told}");
    let signer = signed.then_some(&mailbox.keys);
    let sealed = mail::seal_for(text, &[to], signer, now()).unwrap();
    let sealed = unarmoured(&sealed);
    assert_eq!(container(&sealed), if peer.reads_aead { 2 } else { 1 }, "{told}");
    let from = signed.then_some(mailbox.certificate.as_slice());
    let (opened, verdict) = key.open(&sealed, from).unwrap_or_else(|said| panic!("{told}: {said}"));
    assert!(opened == text, "{told}: another text");
    assert_eq!(verdict, if signed { "good" } else { "unsigned" }, "{told}");
    let mut altered = sealed;
    let last = altered.len() - 30;
    altered[last] ^= 1;
    let opened = key.open(&altered, from);
    assert!(opened.is_err(), "{told}: the alteration went unseen");
}

fn unarmoured(text: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = std::str::from_utf8(text).unwrap();
    let body: String = text
        .lines()
        .skip_while(|line| !line.is_empty())
        .take_while(|line| !line.starts_with('=') && !line.starts_with("-----END"))
        .collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

/// One row of the table for each kind of key and container.
fn rows(peer: &Peer) -> String {
    let mut rows = String::new();
    let mailbox = Mailbox::new();
    let small = clear(KB);
    for kind in Kind::ALL {
        let name = kind.name();
        let key = match (peer.make(kind), peer.no_v6) {
            (Err(said), Some(words)) if kind == Kind::V6 => {
                assert!(said.contains(words), "{}: {said}", peer.name);
                writeln!(rows, "| {} | {name} | | makes none | | | | | |", peer.name).unwrap();
                continue;
            }
            (made, _) => made.unwrap_or_else(|said| panic!("{} {name}: {said}", peer.name)),
        };
        for aead in [false, true] {
            let cells: Vec<&str> = [(false, false), (true, false), (false, true), (true, true)]
                .into_iter()
                .map(|(signed, compressed)| {
                    inbound(&mailbox, &key, peer, Form { aead, signed, compressed }, &small)
                })
                .collect();
            // We write the container that a certificate reads, and no other.
            let ours = peer.reads_aead == aead;
            if ours {
                outbound(&mailbox, &key, peer, false, &small);
                outbound(&mailbox, &key, peer, true, &small);
            }
            let container = if aead { "AEAD" } else { "SEIPD 1" };
            let opens = if ours { "yes | yes" } else { "— | —" };
            let cells = cells.join(" | ");
            writeln!(rows, "| {} | {name} | {container} | {cells} | {opens} |", peer.name).unwrap();
        }
    }
    rows
}

/// Sizes, with one kind of key.
fn sizes(peer: &Peer) {
    let mailbox = Mailbox::new();
    let key = peer.make(Kind::Cv25519).unwrap();
    for octets in [50 * KB, KB * KB, 25 * KB * KB] {
        let text = clear(octets);
        let aead = matches!(peer.aead, Aead::Written);
        // Compressed where a program does it within its time.
        let form = Form { aead, signed: true, compressed: octets <= KB * KB };
        inbound(&mailbox, &key, peer, form, &text);
        outbound_once(&mailbox, &key, peer, &text);
    }
}

fn outbound_once(mailbox: &Mailbox, key: &Key<'_>, peer: &Peer, text: &[u8]) {
    let to = PeerCertificate::read(&key.certificate()).unwrap();
    let sealed = mail::seal_for(text, &[to], Some(&mailbox.keys), now()).unwrap();
    let opened = key.open(&unarmoured(&sealed), Some(&mailbox.certificate));
    let (opened, verdict) =
        opened.unwrap_or_else(|said| panic!("{}, {} octets: {said}", peer.name, text.len()));
    assert!(opened == text, "{}: another text", peer.name);
    assert_eq!(verdict, "good", "{}", peer.name);
}

#[test]
fn what_other_programs_write_is_opened_here_and_what_is_sealed_here_they_open() {
    let found: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = PEERS.iter().map(|peer| scope.spawn(|| rows(peer))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let table = found.concat();
    println!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let document = fs::read_to_string(&path).unwrap();
    let (before, after) = document.split_once("|---|---|---|---|---|---|---|---|---|\n").unwrap();
    let (written, rest) = after.split_once("\n\n").unwrap();
    if std::env::var_os("VAGUEMESTRE_WRITE").is_some() {
        let versions: Vec<String> = PEERS.iter().map(Peer::version).collect();
        println!("{}", versions.join(", "));
        let line = "|---|---|---|---|---|---|---|---|---|\n";
        fs::write(&path, format!("{before}{line}{table}\n{rest}")).unwrap();
        return;
    }
    assert_eq!(written.trim_end(), table.trim_end(), "{TABLE} says something else");
}

#[test]
fn letters_of_50_kb_to_25_mb_pass_in_both_directions() {
    // Two at a time: each holds a few copies of its letter.
    for pair in PEERS.chunks(2) {
        thread::scope(|scope| {
            let running: Vec<_> = pair.iter().map(|peer| scope.spawn(|| sizes(peer))).collect();
            running.into_iter().for_each(|one| one.join().unwrap());
        });
    }
}
