//! As the trust space I decide who may write to whom and as whom, and each refusal says why.
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use vaguemestre::demo::client::Submission;
use vaguemestre::demo::people::OPERATORS;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::domain::address::Domain;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const HUGO: &str = "hugo.oreade@hopital.mssante.test";
const CLAIRE: &str = "claire.fontaine@hopital.mssante.test";
const LABO: &str = "labo.app@hopital.mssante.test";
const IMAGERIE: &str = "imagerie@hopital.mssante.test";
const PAUL: &str = "paul.verdier@cabinet.mssante.test";
const ADA: &str = "288027599000175@patient.mssante.test";

/// What was said to a command or letter: the text of 250, or the refusal.
fn said(answer: anyhow::Result<String>) -> String {
    answer.map_or_else(|error| error.to_string(), |text| format!("250 {text}"))
}

async fn content(session: &mut Submission, from: &str, to: &str, content: &str) -> String {
    session.command(&format!("MAIL FROM:<{from}>"), "250").await.unwrap();
    session.command(&format!("RCPT TO:<{to}>"), "250").await.unwrap();
    session.command("DATA", "354").await.unwrap();
    let content = content.strip_suffix("\r\n").unwrap_or(content);
    said(session.command(&format!("{content}\r\n."), "250").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_somebody_else() {
    let running = Running::new(&[]);
    let cases = [
        (HUGO, format!("From: {HUGO}"), "250 2."),
        (HUGO, format!("From: Dr =?utf-8?q?Hugo_OR=C3=89ADE?= <{HUGO}>"), "250 2."),
        (HUGO, format!("From: {CLAIRE}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}, {CLAIRE}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nFrom: {CLAIRE}"), "550 5.6.0"),
        (HUGO, format!("From: {HUGO}\r\nFrom: {HUGO}"), "550 5.6.0"),
        (HUGO, "Subject: no From".to_owned(), "550 5.6.0"),
        (HUGO, "From: nobody:;".to_owned(), "550 5.7.1"),
        (HUGO, format!("From: team: {CLAIRE};"), "550 5.7.1"),
        (
            HUGO,
            "From: =?utf-8?q?claire=2Efontaine=40hopital=2Emssante=2Etest?=".to_owned(),
            "550 5.7.1",
        ),
        (HUGO, format!("From: =?utf-8?q?=3C?= <{CLAIRE}> <{HUGO}>"), "550 5.7.1"),
        (HUGO, format!("From : {CLAIRE}\r\nFrom: {HUGO}"), "550 5."),
        (HUGO, format!("From: {HUGO}\r\nSender: {CLAIRE}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nSender: {HUGO}\r\nReply-To: {HUGO}"), "250 2."),
        (HUGO, format!("From: {HUGO}\r\nReply-To: {IMAGERIE}"), "250 2."),
        (HUGO, format!("From: {HUGO}\r\nReply-To: {CLAIRE}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nReply-To: {HUGO}, {CLAIRE}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nReply-To: nobody@hopital.mssante.test"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nReply-To: {PAUL}"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nReply-To: hugo@example.org"), "550 5.7.1"),
        (HUGO, format!("From: {HUGO}\r\nReply-To: {ADA}"), "550 5.7.1"),
        (LABO, format!("From: {LABO}\r\nReply-To: {CLAIRE}"), "250 2."),
        (LABO, format!("From: {LABO}\r\nReply-To: {PAUL}"), "550 5.7.1"),
        // A first line that would continue our own Received field.
        (HUGO, format!(" by another.test\r\nFrom: {HUGO}"), "554 5.6.0"),
        (HUGO, format!("\tby another.test\r\nFrom: {HUGO}"), "554 5.6.0"),
    ];
    let mut wrong = Vec::new();
    for (user, header, expected) in cases {
        let mut session = running.submission(0, user).await;
        let heard =
            content(&mut session, user, CLAIRE, &format!("{header}\r\n\r\nBonjour\r\n")).await;
        if !heard.contains(expected) {
            wrong.push(format!("{header:?} should hear {expected}: {heard}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patients_address_is_a_matricule_and_a_domain_is_a_listed_one() {
    let running = Running::new(&[]);
    let cases = [
        (ADA, "250 2.1.5"),
        ("279035121518989@patient.mssante.test", "550 5.1.1"),
        ("288027599000176@patient.mssante.test", "550 5.1.3"),
        ("2880275990001@patient.mssante.test", "550 5.1.3"),
        ("ada.exemplier@patient.mssante.test", "550 5.1.3"),
        // Corsican numbers are valid in either letter case; nobody lives there.
        ("195122A99000394@patient.mssante.test", "550 5.1.1"),
        ("195122a99000394@patient.mssante.test", "550 5.1.1"),
        ("reponse.automatique-test@patient.mssante.test", "550 5.1.1"),
        (PAUL, "250 2.1.5"),
        ("a@example.org", "550 5.7.1"),
        ("nobody@hopital.mssante.test", "550 5.1.1"),
    ];
    let mut session = running.submission(0, HUGO).await;
    session.command(&format!("MAIL FROM:<{HUGO}>"), "250").await.unwrap();
    for (to, expected) in cases {
        // The wanted code is an error to the client too, which then quotes the whole line.
        let heard =
            session.command(&format!("RCPT TO:<{to}>"), "???").await.unwrap_err().to_string();
        assert!(heard.contains(expected), "{to} should hear {expected}: {heard}");
    }
}

/// Certificate and key of somebody who calls at an operators' door.
struct Peer(Option<(PathBuf, PathBuf)>);

impl Peer {
    fn of(running: &Running, operator: usize) -> Self {
        let file = |name: &str| running.json["operators"][operator][name].as_str().unwrap().into();
        Self(Some((file("mx_cert"), file("mx_key"))))
    }

    /// An operator with a certificate of the authorities in this folder.
    fn certified(pki: &Path, name: &str, hostname: &str, organisation: &str) -> Self {
        let operator = DemoOperator {
            name: name.to_owned(),
            hostname: Domain::parse(hostname).unwrap(),
            structure: OPERATORS[1].structure.to_owned(),
            organisation: organisation.to_owned(),
        };
        let host = [127, 0, 0, 1].into();
        let made = std::slice::from_ref(&operator);
        let files = DemoPki::create(pki, made, host, SystemClock.now()).unwrap().mx(&operator);
        Self(Some((files.certificate, files.key)))
    }

    /// Sends a letter to an operator's door with swaks; answers the whole dialogue.
    fn send(
        &self,
        running: &Running,
        operator: usize,
        from: &str,
        to: &str,
        extra: &[&str],
    ) -> String {
        let port = running.port(operator, "mx").to_string();
        let mut arguments =
            vec!["--server", "127.0.0.1", "--port", &port, "--ehlo", "mx.client.test"];
        arguments.extend(["--from", from, "--to", to, "--tls"]);
        if let Some((certificate, key)) = &self.0 {
            arguments.extend(["--tls-cert", certificate.to_str().unwrap()]);
            arguments.extend(["--tls-key", key.to_str().unwrap()]);
        }
        arguments.extend(extra);
        running::said(&running::run("swaks", &arguments))
    }
}

#[test]
fn between_operators_the_certificate_decides_who_speaks_for_which_domain() {
    let running = Running::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    let cabinet = Peer::of(&running, 1);
    let pki = running.folder.join("pki");
    let unlisted = Peer::certified(&pki, "inconnu", "inconnu.mssante.test", "INCONNU DEMO");
    // The right names, of an authority that nobody trusts.
    let (domain, organisation) = (OPERATORS[1].domain, OPERATORS[1].organisation);
    let forged = Peer::certified(folder.path(), "cabinet", domain, organisation);
    let cases = [
        (&cabinet, PAUL, HUGO, Ok("250 2.0.0")),
        (&cabinet, "<>", HUGO, Ok("250 2.0.0")),
        (&cabinet, CLAIRE, HUGO, Err("550 5.7.1")),
        (&cabinet, "a@example.org", HUGO, Err("550 5.7.1")),
        (&cabinet, PAUL, "eloise.lumier@cabinet.mssante.test", Err("550 5.7.1")),
        (&cabinet, PAUL, "a@example.org", Err("550 5.7.1")),
        (&cabinet, PAUL, "nobody@hopital.mssante.test", Err("550 5.1.1")),
        (&cabinet, PAUL, "288027599000176@patient.mssante.test", Err("550 5.1.3")),
        (&unlisted, "a@inconnu.mssante.test", HUGO, Err("550 5.7.1")),
        (&unlisted, "<>", HUGO, Err("550 5.7.1")),
        // Without a certificate, or with one of strange authorities, EHLO is told why.
        (&Peer(None), PAUL, HUGO, Err("554 5.7.1 Show your operator certificate")),
        (&forged, PAUL, HUGO, Err("554 5.7.5 ")),
    ];
    for (peer, from, to, expected) in cases {
        let heard = peer.send(&running, 0, from, to, &[]);
        let is_queued = heard.contains("Queued as");
        assert_eq!(is_queued, expected.is_ok(), "{from} to {to}:\n{heard}");
        let (Ok(code) | Err(code)) = expected;
        assert!(heard.contains(code), "{from} to {to} should hear {code}:\n{heard}");
    }
    // And in clear nobody gets as far as a sender.
    let port = running.port(0, "mx").to_string();
    let arguments = ["--server", "127.0.0.1", "--port", &port, "--from", PAUL, "--to", HUGO];
    let heard = running::said(&running::run("swaks", &arguments));
    assert!(heard.contains("530 5.7.0"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_may_only_answer() {
    let running = Running::new(&[]);
    // Patients live at the hospital; they write to the practice through its operators' door.
    let hospital = Peer::of(&running, 0);
    let send = |from: &str, extra: &[&str]| hospital.send(&running, 1, from, PAUL, extra);
    for from in [ADA, "ada@patient.mssante.test", "288027599000176@patient.mssante.test"] {
        let heard = send(from, &[]);
        assert!(heard.contains("550 5.7.1 A patient"), "{from}:\n{heard}");
    }
    assert!(send("reponse.automatique-test@patient.mssante.test", &[]).contains("Queued as"));
    // From is looked at where the path says nothing, or something else.
    for path in ["<>", HUGO] {
        let heard = send(path, &["--h-From", ADA]);
        assert!(heard.contains("550 5.7.1 A patient"), "{path}:\n{heard}");
    }
    let receipt = send("<>", &["--h-From", ADA, "--add-header", "Auto-Submitted: auto-replied"]);
    assert!(receipt.contains("Queued as"), "{receipt}");
    // Paul writes first; then she may answer him, and nobody else.
    let id = letters::message_id();
    let mut session = running.submission(1, PAUL).await;
    session.send(PAUL, &[ADA], &letters::letter(PAUL, ADA, &id, 1_000)).await.unwrap();
    assert!(send(ADA, &["--h-From", ADA]).contains("Queued as"));
    let heard = hospital.send(&running, 1, ADA, "eloise.lumier@cabinet.mssante.test", &[]);
    // Éloïse wrote to nobody here.
    assert!(heard.contains("550 5.7.1 A patient"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_ours_and_has_a_proper_name() {
    let running = Running::new(&[]);
    let id = letters::message_id();
    let to = "nobody@cabinet.mssante.test";
    let mut session = running.submission(0, LABO).await;
    session.send(LABO, &[to], &letters::letter(LABO, to, &id, 1_000)).await.unwrap();
    let mut imap = running.imap(0, LABO).await;
    let mut report = String::new();
    for _ in 0..300 {
        imap.command("SELECT INBOX").await.unwrap();
        let found = imap.command("UID SEARCH HEADER In-Reply-To \"<\"").await.unwrap().concat();
        let line = String::from_utf8(found).unwrap();
        if let Some(uid) = line.split_whitespace().last().filter(|last| *last != "SEARCH") {
            let body = imap.command(&format!("UID FETCH {uid} (BODY.PEEK[])")).await.unwrap();
            report = String::from_utf8_lossy(&body.concat()).into_owned();
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(report.contains(&format!("In-Reply-To: {id}")), "{report}");
    let name = report.lines().find(|line| line.starts_with("Message-ID:")).unwrap();
    assert_eq!((name.matches('<').count(), name.matches('>').count()), (1, 1), "{name}");
    let config = running.json["operators"][0]["config"].as_str().unwrap();
    let program = env!("CARGO_BIN_EXE_vaguemestre");
    let output = running::run(program, &["stats", "show", "--json", "--config", config]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = stats["rows"].as_array().unwrap();
    let received = |counterpart: &str| {
        let rows = rows.iter().filter(|row| {
            row["event"] == "received" && row["kind"] == "APP" && row["counterpart"] == counterpart
        });
        rows.map(|row| row["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((received("here"), received("other-operator")), (1, 0), "{stats:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_announce_much_and_send_nothing_stop_nobody() {
    let running = Running::new(&[]);
    let mut stalled = Vec::new();
    for _ in 0..24 {
        let mut session = running.submission(0, HUGO).await;
        session.command(&format!("MAIL FROM:<{HUGO}> SIZE=25000000"), "250").await.unwrap();
        session.command(&format!("RCPT TO:<{CLAIRE}>"), "250").await.unwrap();
        session.command("DATA", "354").await.unwrap();
        stalled.push(session);
    }
    let id = letters::message_id();
    let letter = letters::letter(LABO, CLAIRE, &id, 20_000_000);
    let mut session = running.submission(0, LABO).await;
    let sent =
        tokio::time::timeout(Duration::from_secs(60), session.send(LABO, &[CLAIRE], &letter));
    sent.await.unwrap().unwrap();
    assert_eq!(running.arrived(0, CLAIRE, &id).await, 1);
}
