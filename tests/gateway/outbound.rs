//! Towards people outside.
use std::fs;
use std::time::Duration;

use vaguemestre::domain::address::Address;
use vaguemestre::flow::contacts;
use vaguemestre::infra::keys::peers::PeerCertificate;

use super::DOCTOR;
use super::OURS;
use super::PEER;
use super::QUICK;
use super::THEIRS;
use super::gpg;
use super::gpg::Gpg;
use super::letter;
use super::office;
use super::published;
use crate::support::letters;
use crate::support::postfix::Postfix;
use crate::support::serving::Serving;
use crate::support::serving::Space;

async fn import(relay: &Serving<'_>, address: &str, certificate: &[u8]) {
    let office = office(relay).await;
    let certificate = PeerCertificate::read(certificate).unwrap();
    let address = Address::parse(address).unwrap();
    contacts::import(&office, &address, &certificate, "admin", "test").await.unwrap();
}

fn is_hidden(wire: &str) {
    for word in ["Serologie", "Untel", "négatif", "gatif"] {
        assert!(!wire.contains(word), "{word} is seen on the wire:\n{wire}");
    }
}

#[tokio::test]
async fn a_letter_for_somebody_whose_certificate_is_known_leaves_sealed_and_gpg_opens_it() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let mut relay = space.relay(0).route(THEIRS, postfix.mx).with(QUICK).start(&[DOCTOR]);
    relay.kill();
    let gpg = Gpg::of(PEER);
    import(&relay, PEER, &gpg.certificate(PEER)).await;
    gpg.import(&published(&relay, DOCTOR).await);
    relay.begin();

    let (id, other) = (letters::message_id(), format!("autre@{THEIRS}"));
    let sent = letter(DOCTOR, PEER, &id).replace(
        "MIME-Version",
        "Bcc: cache@chu-postfix.mssante.test\r\nX-Vaguemestre-OpenPGP: signature=good\r\nMIME-Version",
    );
    let mut submission = relay.submission(DOCTOR).await;
    submission.send(DOCTOR, &[PEER, &other], sent.as_bytes()).await.unwrap();
    let mut arrived = Vec::new();
    for _ in 0..150 {
        arrived = postfix.letters().into_iter().filter(|one| one.contains(&id)).collect();
        if arrived.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(arrived.len(), 2, "one letter, two forms:\n{}", relay.log());
    let (sealed, clear): (Vec<String>, Vec<String>) =
        arrived.into_iter().partition(|one| one.contains("multipart/encrypted"));
    let [sealed] = sealed.as_slice() else { panic!("{sealed:?}") };
    assert!(clear[0].contains("négatif"), "nobody's key is known there:\n{}", clear[0]);
    is_hidden(sealed);
    for outside in ["Subject: [...]", "X-MSS-NIL: DEV935997", "From: Expediteur <dr.martin@"] {
        assert!(sealed.contains(outside), "{outside}:\n{sealed}");
    }
    assert!(
        sealed.contains("Delivered-To: dr.durand@") || sealed.contains("dr.durand@"),
        "{sealed}"
    );
    for gone in ["Bcc:", "X-Vaguemestre-OpenPGP", "cache@"] {
        assert!(!sealed.contains(gone), "{gone}:\n{sealed}");
    }
    let (opened, said) = gpg.open(gpg::armour(sealed).as_bytes());
    assert!(opened.contains("Subject: Serologie de M. Untel\r\n"), "{opened}");
    assert!(opened.contains("HP-Outer: Subject: [...]\r\n"), "{opened}");
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
    assert!(opened.contains("hp=\"cipher\""), "{opened}");
    assert!(!opened.contains("cache@"), "{opened}");
    assert!(said.contains("Good signature"), "{said}");
    assert!(said.contains(DOCTOR), "{said}");
}

#[tokio::test]
async fn without_a_key_that_is_required_rcpt_is_put_off_and_nothing_leaves() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let policy =
        format!("[openpgp]\npolicies = [\"{THEIRS}=require\", \"libre@{THEIRS}=never\"]\n");
    let relay = space.relay(0).route(THEIRS, postfix.mx).with(QUICK).with(&policy).start(&[DOCTOR]);
    let mut session = relay.submission(DOCTOR).await;
    session.command(&format!("MAIL FROM:<{DOCTOR}>"), "250").await.unwrap();
    let said = session.command(&format!("RCPT TO:<{PEER}>"), "450").await.unwrap();
    assert!(said.starts_with("4.7.5") && said.contains("OpenPGP certificate"), "{said}");
    // The address counts before its domain.
    session.command(&format!("RCPT TO:<libre@{THEIRS}>"), "250").await.unwrap();
    session.command("DATA", "354").await.unwrap();
    let id = letters::message_id();
    session.command(&format!("{}.", letter(DOCTOR, PEER, &id)), "250").await.unwrap();
    let arrived = postfix.wait_for(&id).await;
    assert!(arrived.contains("négatif"), "{arrived}");
    assert_eq!(postfix.letters().len(), 1);
}

#[tokio::test]
async fn a_policy_that_changes_while_a_letter_waits_holds_it_back_until_there_is_a_key() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    // Nobody listens there yet.
    let relay = space.relay(0).route(THEIRS, 1).with(QUICK);
    let mut relay = relay.with("[openpgp]\noutbound = \"prefer\"\n").start(&[DOCTOR]);
    let id = letters::message_id();
    let mut submission = relay.submission(DOCTOR).await;
    submission.send(DOCTOR, &[PEER], letter(DOCTOR, PEER, &id).as_bytes()).await.unwrap();
    relay.kill();
    let text = fs::read_to_string(relay.config()).unwrap();
    let text = text.replace("outbound = \"prefer\"", "outbound = \"require\"");
    let text = text.replace("\"127.0.0.1:1\"", &format!("\"127.0.0.1:{}\"", postfix.mx));
    fs::write(relay.config(), text).unwrap();
    relay.begin();
    let mut told = String::new();
    for _ in 0..100 {
        told = relay.json(&["queue", "list"]).to_string();
        if told.contains("openpgp.policies") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(told.contains("openpgp.policies") && told.contains("keys import"), "{told}");
    assert!(postfix.letters().is_empty(), "it left in clear");
    relay.kill();
    let gpg = Gpg::of(PEER);
    import(&relay, PEER, &gpg.certificate(PEER)).await;
    relay.begin();
    let arrived = postfix.wait_for(&id).await;
    is_hidden(&arrived);
    let (opened, _) = gpg.open(gpg::armour(&arrived).as_bytes());
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
    assert_eq!(postfix.letters().len(), 1, "once");
}

#[tokio::test]
async fn what_its_sender_sealed_to_the_recipient_travels_as_it_is() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let policy = "[openpgp]\noutbound = \"require\"\n";
    let mut relay =
        space.relay(0).route(THEIRS, postfix.mx).with(QUICK).with(policy).start(&[DOCTOR]);
    relay.kill();
    let gpg = Gpg::of(PEER);
    import(&relay, PEER, &gpg.certificate(PEER)).await;
    relay.begin();
    let message = gpg.encrypt(b"Content-Type: text/plain\r\n\r\nSous mon sceau\r\n", PEER, &[]);
    let message = String::from_utf8(message).unwrap().replace('\n', "\r\n");
    let sealed = |message: &str, id: &str| {
        format!(
            "From: {DOCTOR}\r\nTo: {PEER}\r\nSubject: visible\r\nMessage-ID: {id}\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/encrypted;\r\n \
             protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n--b\r\nContent-Type: \
             application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\nContent-Type: \
             application/octet-stream\r\n\r\n{message}\r\n--b--\r\n"
        )
    };
    let id = letters::message_id();
    let mut submission = relay.submission(DOCTOR).await;
    submission.send(DOCTOR, &[PEER], sealed(&message, &id).as_bytes()).await.unwrap();
    let arrived = postfix.wait_for(&id).await;
    let (opened, _) = gpg.open(gpg::armour(&arrived).as_bytes());
    assert!(opened.contains("Sous mon sceau"), "{opened}");
    // Whoever only says that it is sealed does not get clear text through.
    let id = letters::message_id();
    let fake =
        "-----BEGIN PGP MESSAGE-----\r\n\r\nTW9uc2lldXIgVW50ZWw=\r\n-----END PGP MESSAGE-----";
    submission.send(DOCTOR, &[PEER], sealed(fake, &id).as_bytes()).await.unwrap();
    let arrived = postfix.wait_for(&id).await;
    assert!(!arrived.contains("TW9uc2lldXIgVW50ZWw="), "{arrived}");
    let (opened, _) = gpg.open(gpg::armour(&arrived).as_bytes());
    assert!(opened.contains("TW9uc2lldXIgVW50ZWw="), "{opened}");
}

/// `keys import`, as an administrator does it while the relay runs.
fn take_in(relay: &Serving<'_>, gpg: &Gpg) {
    let file = relay.folder.join("peer.asc");
    fs::write(&file, gpg.certificate(PEER)).unwrap();
    relay.said(&["keys", "import", file.to_str().unwrap(), "--for", PEER, "--reason", "test"]);
}

/// Waits until what is said of the queue holds this text.
async fn wait_for_queue(relay: &Serving<'_>, text: &str) {
    for _ in 0..300 {
        if relay.json(&["queue", "list"]).to_string().contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{text}: {}\n{}", relay.json(&["queue", "list"]), relay.log());
}

#[tokio::test]
async fn a_letter_that_waits_is_not_sent_to_a_key_that_was_revoked_meanwhile() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let policy = "[openpgp]\noutbound = \"require\"\n";
    let mut relay =
        space.relay(0).route(THEIRS, postfix.mx).with(QUICK).with(policy).start(&[DOCTOR]);
    relay.kill();
    let (first, second) = (Gpg::of(PEER), Gpg::of(PEER));
    import(&relay, PEER, &first.certificate(PEER)).await;
    relay.begin();
    relay.said(&["queue", "hold", "--domain", THEIRS, "--reason", "their host is down"]);
    let id = letters::message_id();
    let mut submission = relay.submission(DOCTOR).await;
    submission.send(DOCTOR, &[PEER], letter(DOCTOR, PEER, &id).as_bytes()).await.unwrap();
    first.revoke();
    take_in(&relay, &first);
    relay.said(&["queue", "release", "--domain", THEIRS, "--reason", "it is up"]);
    wait_for_queue(&relay, "openpgp.policies").await;
    assert!(postfix.letters().is_empty(), "it left for a key that is revoked");
    relay.said(&["keys", "contact", "forget", PEER, "--reason", "has another"]);
    take_in(&relay, &second);
    let arrived = postfix.wait_for(&id).await;
    is_hidden(&arrived);
    let (opened, _) = second.open(gpg::armour(&arrived).as_bytes());
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
    assert_eq!(postfix.letters().len(), 1, "once");
}

#[tokio::test]
async fn where_encryption_is_only_preferred_a_revoked_key_lets_the_letter_leave_as_a_new_one_would()
{
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let mut relay = space.relay(0).route(THEIRS, postfix.mx).with(QUICK).start(&[DOCTOR]);
    relay.kill();
    let (gpg, next) = (Gpg::of(PEER), Gpg::of(PEER));
    import(&relay, PEER, &gpg.certificate(PEER)).await;
    relay.begin();
    let mut submission = relay.submission(DOCTOR).await;
    let hold = |relay: &Serving<'_>, verb: &str| {
        relay.said(&["queue", verb, "--domain", THEIRS, "--reason", "a test"]);
    };
    hold(&relay, "hold");
    let id = letters::message_id();
    submission.send(DOCTOR, &[PEER], letter(DOCTOR, PEER, &id).as_bytes()).await.unwrap();
    gpg.revoke();
    take_in(&relay, &gpg);
    hold(&relay, "release");
    let arrived = postfix.wait_for(&id).await;
    assert!(arrived.contains("gatif") && !arrived.contains("PGP MESSAGE"), "{arrived}");
    // Another certificate that counts by now: what waits goes under that one.
    relay.said(&["keys", "contact", "forget", PEER, "--reason", "has another"]);
    take_in(&relay, &next);
    hold(&relay, "hold");
    let id = letters::message_id();
    submission.send(DOCTOR, &[PEER], letter(DOCTOR, PEER, &id).as_bytes()).await.unwrap();
    let last = Gpg::of(PEER);
    relay.said(&["keys", "contact", "forget", PEER, "--reason", "has one more"]);
    take_in(&relay, &last);
    hold(&relay, "release");
    let arrived = postfix.wait_for(&id).await;
    is_hidden(&arrived);
    let (opened, _) = last.open(gpg::armour(&arrived).as_bytes());
    assert!(opened.contains("Le résultat est négatif."), "{opened}");
}

#[tokio::test]
async fn a_letter_that_leaves_readable_is_signed_beside_its_text_when_that_is_asked_for() {
    let space = Space::of(&[OURS, THEIRS]);
    let postfix = Postfix::start(&space.pki, space.operator(1), &[], "");
    let asked = "[openpgp]\nsign_clear = true\n";
    let mut relay =
        space.relay(0).route(THEIRS, postfix.mx).with(QUICK).with(asked).start(&[DOCTOR]);
    relay.kill();
    let gpg = Gpg::of(PEER);
    gpg.import(&published(&relay, DOCTOR).await);
    relay.begin();
    let id = letters::message_id();
    let sent = letter(DOCTOR, PEER, &id)
        .replace("MIME-Version", "Bcc: cache@chu-postfix.mssante.test\r\nMIME-Version")
        .replace("Le résultat", "From here \r\nLe résultat");
    let mut submission = relay.submission(DOCTOR).await;
    submission.send(DOCTOR, &[PEER], sent.as_bytes()).await.unwrap();
    let arrived = postfix.wait_for(&id).await;
    assert!(arrived.contains("multipart/signed; micalg=pgp-sha512"), "{arrived}");
    assert!(!arrived.contains("Bcc") && arrived.is_ascii(), "{arrived}");
    // As RFC 3156 says: what stands between the boundaries, with CRLF, without the last line end.
    let lines = arrived.replace("\r\n", "\n").replace('\n', "\r\n");
    let boundary = lines.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    let parts: Vec<&str> = lines.split(&format!("--{boundary}")).collect();
    let signed = parts[1].strip_prefix("\r\n").unwrap().strip_suffix("\r\n").unwrap();
    let from = parts[2].find("-----BEGIN").unwrap();
    let told = gpg.verify(signed.as_bytes(), &parts[2][from..]);
    assert!(told.contains("GOODSIG"), "{told}\n{lines}");
    assert!(signed.contains("=46rom here=20\r\nLe r=C3=A9sultat"), "{signed}");
    assert!(signed.contains("Subject: Serologie de M. Untel\r\n"), "{signed}");
    let told = gpg.verify(signed.replace("Untel", "Autre").as_bytes(), &parts[2][from..]);
    assert!(told.contains("BADSIG"), "{told}");
}
