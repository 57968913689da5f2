//! Mailboxes whose people keep their own key.
use std::time::Duration;

use vaguemestre::flow::own;
use vaguemestre::flow::own::Act;
use vaguemestre::infra::keys::peers::PeerCertificate;

use super::DOCTOR;
use super::NURSE;
use super::OURS;
use super::QUICK;
use super::account;
use super::gpg;
use super::gpg::Gpg;
use super::letter;
use super::office;
use crate::support::letters;
use crate::support::running::run;
use crate::support::running::said;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

pub(super) async fn register(relay: &Serving<'_>, address: &str, gpg: &Gpg) {
    let office = office(relay).await;
    let certificate = PeerCertificate::read(&gpg.certificate(address)).unwrap();
    let act = Act { author: "the holder", way: "page", reason: "test" };
    own::set(&office, &account(&office, address).await, &certificate, act).await.unwrap();
}

#[tokio::test]
async fn a_mailbox_with_an_own_certificate_gets_letters_that_only_its_holder_opens() {
    let space = Space::of(&[OURS]);
    let mut relay = space.relay(0).with(QUICK).start(&[DOCTOR, NURSE]);
    relay.kill();
    let gpg = Gpg::of(DOCTOR);
    register(&relay, DOCTOR, &gpg).await;
    relay.begin();
    let id = letters::message_id();
    let sent = letter(NURSE, DOCTOR, &id);
    let mut submission = relay.submission(NURSE).await;
    submission.send(NURSE, &[DOCTOR, NURSE], sent.as_bytes()).await.unwrap();
    relay.wait_for(DOCTOR, &id).await;
    // As any program gets it.
    let url = format!("imaps://127.0.0.1:{}/INBOX;MAILINDEX=1", relay.port("imaps"));
    let login = format!("{DOCTOR}:{PASSWORD}");
    let ca = relay.ca_file();
    let output = run("curl", &["-s", "--cacert", ca.to_str().unwrap(), "-u", &login, &url]);
    let lies = said(&output);
    assert!(lies.contains("multipart/encrypted") && lies.contains("Subject: [...]"), "{lies}");
    assert!(lies.contains("Received: ") && lies.starts_with("Return-Path: <"), "{lies}");
    for word in ["Untel", "négatif"] {
        assert!(!lies.contains(word), "{lies}");
    }
    let (opened, _) = gpg.open(gpg::armour(&lies).as_bytes());
    assert!(opened.contains("Subject: Serologie de M. Untel\r\n"), "{opened}");
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
    // The other recipient, who keeps no key, reads it as it came.
    let theirs = relay.wait_for(NURSE, &id).await;
    assert!(theirs.contains("négatif") && !theirs.contains("PGP MESSAGE"), "{theirs}");
    // What the relay keeps of it opens to nobody here: not even with every key of the store.
    let mut imap = relay.imap(DOCTOR).await;
    imap.command("SELECT INBOX").await.unwrap();
    let found = imap.command("FETCH 1 (ENVELOPE)").await.unwrap().concat();
    assert!(!String::from_utf8_lossy(&found).contains("Untel"));
    tokio::time::sleep(Duration::from_millis(10)).await;
}
