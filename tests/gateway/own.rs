//! Mailboxes whose people keep their own key.
use std::process::Command;

use vaguemestre::flow::own;
use vaguemestre::flow::own::Act;
use vaguemestre::infra::audit::Wanted;
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
use crate::support::imap::Client;
use crate::support::letters;
use crate::support::running::run;
use crate::support::running::said;
use crate::support::serving::PASSWORD;
use crate::support::serving::Serving;
use crate::support::serving::Space;

async fn reader(relay: &Serving<'_>) -> Client {
    Client::open(relay.door("imaps"), &relay.tls(), DOCTOR, PASSWORD).await.unwrap()
}

/// Files a message; answers its number.
async fn file(imap: &mut Client, place: &str, message: &str) -> u32 {
    let command = format!("APPEND {place} {{{}+}}\r\n{message}", message.len());
    let answer = imap.ok(&command).await.unwrap();
    let code = answer.code_of("APPENDUID").expect("APPENDUID");
    code.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A message of the selected folder as a program fetches it, and all that was told of it.
async fn fetch(imap: &mut Client, uid: u32) -> (String, String) {
    let told = imap.ok(&format!("UID FETCH {uid} (FLAGS INTERNALDATE RFC822.SIZE)")).await.unwrap();
    let told: String = told.untagged.iter().map(|one| one.raw.as_str()).collect();
    let whole = imap.ok(&format!("UID FETCH {uid} BODY.PEEK[]")).await.unwrap();
    let raw = whole.untagged.iter().map(|one| one.raw.as_str()).find(|raw| raw.contains("BODY[]"));
    let (head, rest) = raw.expect("a message").split_once("}\r\n").unwrap();
    let octets: usize = head.rsplit('{').next().unwrap().parse().unwrap();
    assert!(told.contains(&format!("RFC822.SIZE {octets}")), "{told}");
    (rest.get(..octets).unwrap().to_owned(), told)
}

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
    // A search says what it cannot see, once in a folder.
    let mut said = Vec::new();
    for command in ["SEARCH SUBJECT x", "SEARCH BODY x", "SEARCH TEXT x"] {
        let found = imap.command(command).await.unwrap().concat();
        said.push(String::from_utf8_lossy(&found).contains("* OK Letters sealed to the key"));
    }
    assert_eq!(said, [false, true, false]);
    // Uses of the relay's keys stand in the ledger: the sender's has signed.
    relay.kill();
    let office = office(&relay).await;
    let wanted = Wanted { door: Some("gateway".to_owned()), ..Wanted::default() };
    let uses: Vec<String> =
        office.audit().last(&wanted, 10).await.unwrap().into_iter().map(|use_| use_.why).collect();
    assert_eq!(uses, ["sign a letter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn thunderbird_opens_such_a_letter_and_shows_the_subject_under_the_seal() {
    let space = Space::of(&[OURS]);
    let mut relay = space.relay(0).with(QUICK).start(&[DOCTOR, NURSE]);
    relay.kill();
    let gpg = Gpg::of(DOCTOR);
    register(&relay, DOCTOR, &gpg).await;
    relay.begin();
    let id = letters::message_id();
    let mut submission = relay.submission(NURSE).await;
    let sent = letter(NURSE, DOCTOR, &id);
    submission.send(NURSE, &[DOCTOR], sent.as_bytes()).await.unwrap();
    relay.wait_for(DOCTOR, &id).await;
    let secret = relay.folder.join("secret.asc");
    std::fs::write(&secret, gpg.secret(DOCTOR)).unwrap();
    let here = std::env::current_dir().unwrap();
    let output = Command::new("python3")
        .arg(here.join("tests/clients/python/with_thunderbird_openpgp.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RELAY_IMAPS", relay.port("imaps").to_string())
        .env("RELAY_CA", relay.ca_file())
        .env("RELAY_USER", DOCTOR)
        .env("RELAY_PASSWORD", PASSWORD)
        .env("RELAY_SECRET", &secret)
        .env("RELAY_SUBJECT", "Serologie de M. Untel")
        .env("RELAY_TEXT", "est négatif")
        .output()
        .unwrap();
    let told = said(&output);
    assert!(output.status.success() && told.contains("all passed"), "{told}");
}

#[tokio::test]
async fn what_a_program_files_in_such_a_mailbox_lies_there_under_its_owners_seal() {
    let space = Space::of(&[OURS]);
    let mut relay = space.relay(0).with(QUICK).start(&[DOCTOR]);
    relay.kill();
    let gpg = Gpg::of(DOCTOR);
    register(&relay, DOCTOR, &gpg).await;
    relay.begin();
    let mut imap = reader(&relay).await;
    let draft = letter(DOCTOR, NURSE, "<draft@x>")
        .replace("MIME-Version", "Bcc: cache@hopital.mssante.test\r\nMIME-Version");
    let uid = file(&mut imap, "Drafts (\\Draft \\Seen Brouillon)", &draft).await;
    imap.ok("SELECT Drafts").await.unwrap();
    let (lies, told) = fetch(&mut imap, uid).await;
    assert!(told.contains("\\Draft") && told.contains("Brouillon"), "{told}");
    assert!(lies.contains("multipart/encrypted") && lies.contains("Subject: [...]"), "{lies}");
    for word in ["Untel", "gatif", "cache@"] {
        assert!(!lies.contains(word), "{word}: {lies}");
    }
    let (opened, said) = gpg.open(gpg::armour(&lies).as_bytes());
    assert!(opened.contains("Bcc: cache@hopital.mssante.test\r\n"), "{opened}");
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
    // Whoever can log in can file anything: the organisation does not sign it.
    assert!(!said.contains("ERRSIG") && !said.contains("GOODSIG"), "{said}");
    // What is sealed already stays octet for octet.
    let again = file(&mut imap, "Drafts", &lies).await;
    assert_eq!(fetch(&mut imap, again).await.0, lies);
    // REPLACE is how programs save a draft once more.
    let command = format!("UID REPLACE {again} Drafts {{{}+}}\r\n{draft}", draft.len());
    imap.ok(&command).await.unwrap();
    let (replaced, _) = fetch(&mut imap, again + 1).await;
    assert!(replaced.contains("multipart/encrypted") && !replaced.contains("gatif"));
}

#[tokio::test]
async fn letters_of_before_a_registration_are_put_under_the_owners_seal_as_well() {
    let space = Space::of(&[OURS]);
    let mut relay = space.relay(0).with(QUICK).start(&[DOCTOR, NURSE]);
    let id = letters::message_id();
    let mut submission = relay.submission(NURSE).await;
    submission.send(NURSE, &[DOCTOR], letter(NURSE, DOCTOR, &id).as_bytes()).await.unwrap();
    relay.wait_for(DOCTOR, &id).await;
    let mut imap = reader(&relay).await;
    let place = "Sent (\\Flagged \\Seen $Vu) \" 1-Feb-2026 09:30:00 +0000\"";
    let sent = letter(DOCTOR, NURSE, "<sent@x>");
    let before = file(&mut imap, place, &sent).await;
    drop(imap);
    let refused = relay.command(&["keys", "own", "reseal", DOCTOR, "--reason", "none yet"]);
    assert!(said(&refused).contains("no own certificate"), "{}", said(&refused));
    relay.kill();
    let gpg = Gpg::of(DOCTOR);
    register(&relay, DOCTOR, &gpg).await;
    relay.begin();
    let reseal = ["keys", "own", "reseal", DOCTOR, "--reason", "asked by telephone"];
    let told = relay.said(&reseal);
    assert!(told.contains("2 of 2 letters"), "{told}");
    let mut imap = reader(&relay).await;
    imap.ok("SELECT Sent").await.unwrap();
    let gone = imap.ok(&format!("UID FETCH {before} FLAGS")).await.unwrap();
    assert!(gone.untagged.is_empty(), "a number never gets another content");
    let (lies, told) = fetch(&mut imap, before + 1).await;
    for kept in ["\\Flagged", "\\Seen", "$Vu", " 1-Feb-2026 09:30:00 +0000"] {
        assert!(told.contains(kept), "{kept}: {told}");
    }
    assert!(lies.contains("multipart/encrypted") && !lies.contains("gatif"), "{lies}");
    let (opened, _) = gpg.open(gpg::armour(&lies).as_bytes());
    assert!(opened.contains("Subject: Serologie de M. Untel\r\n"), "{opened}");
    imap.ok("SELECT INBOX").await.unwrap();
    let (lies, _) = fetch(&mut imap, 2).await;
    assert!(!lies.contains("gatif") && lies.contains("Received: "), "{lies}");
    // As after a crash in the middle: what is sealed is passed over.
    let told = relay.said(&reseal);
    assert!(told.contains("0 of 2 letters"), "{told}");
    relay.kill();
    let office = office(&relay).await;
    let wanted = Wanted { door: Some("control".to_owned()), ..Wanted::default() };
    let uses = office.audit().last(&wanted, 10).await.unwrap();
    let why = "seal earlier letters to the own certificate";
    assert!(uses.iter().any(|use_| use_.why.starts_with(why)), "{uses:?}");
}
