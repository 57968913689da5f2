//! As a patient I want that nobody who takes the disk or the logs can read my letters.
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sieve::client::Client;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const TO: &str = "claire.fontaine@hopital.mssante.test";
const THERE: &str = "paul.verdier@cabinet.mssante.test";
const INS: &str = "288027599000175";

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_through_every_door_is_nowhere_in_files_or_logs() {
    let mut running = Running::new(&[]);
    let canary = format!("canari{}", uuid::Uuid::new_v4().simple());
    send_canaries(&running, &canary).await;
    let log = running.log();
    assert!(running.terminate().success());
    let needles = needles(&canary);
    let mut hits: Vec<String> = Vec::new();
    let mut octets_read = 0;
    for operator in [0, 1] {
        for file in files(&running.data_dir(operator)) {
            let octets = fs::read(&file).unwrap_or_default();
            octets_read += octets.len();
            for needle in &needles {
                if find(&octets, needle) {
                    hits.push(format!("{} in {}", String::from_utf8_lossy(needle), file.display()));
                }
            }
            if find(&octets, INS.as_bytes()) {
                hits.push(format!("the INS in {}", file.display()));
            }
        }
    }
    for needle in needles.iter().map(Vec::as_slice).chain([INS.as_bytes()]) {
        if find(log.as_bytes(), needle) {
            hits.push(format!("{} in the log", String::from_utf8_lossy(needle)));
        }
    }
    for station in ["a letter was taken in", "a delivery was tried", "refused"] {
        assert!(log.contains(station), "the log was searched, and it must speak: {station}");
    }
    assert!(octets_read > 100_000, "the search must have read the store: {octets_read} octets");
    assert!(hits.is_empty(), "{hits:#?}");
}

/// Subject, body, attachment, folder name, keyword, wrong password, bad commands: everywhere.
async fn send_canaries(running: &Running, canary: &str) {
    let patient = format!("{INS}@patient.mssante.test");
    let id = letters::message_id();
    let letter = letter(canary, &id);
    let mut session = running.submission(0, FROM).await;
    session.send(FROM, &[TO, THERE, &patient], &letter).await.unwrap();
    assert!(session.send(FROM, &[&format!("{canary}@example.org")], &letter).await.is_err());
    assert_eq!(running.arrived(0, TO, &id).await, 1);
    assert_eq!(running.arrived(1, THERE, &id).await, 1);
    // A large one lies in a file of its own.
    let large = letters::letter(FROM, TO, &letters::message_id(), 400_000);
    let large = [large, canary.repeat(10).into_bytes(), b"\r\n".to_vec()].concat();
    running.submission(0, FROM).await.send(FROM, &[TO, THERE], &large).await.unwrap();
    through_swaks(running, canary);
    through_imap(running, canary, &letter).await;
    through_the_operators_door(running, canary);
    through_managesieve(running, canary, &letter).await;
    through_pop3(running, canary);
    let door = running.door(0, "submissions");
    let tls = running.tls();
    let wrong = vaguemestre::demo::client::Submission::open(door, &tls, FROM, canary);
    assert!(wrong.await.is_err());
}

fn letter(canary: &str, id: &str) -> Vec<u8> {
    let attachment = STANDARD.encode(format!("pièce jointe {canary}"));
    format!(
        "From: {FROM}\r\nTo: {TO}\r\nSubject: Sujet {canary}\r\nMessage-ID: {id}\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nCorps {canary}\r\n\
         --b\r\nContent-Type: text/html\r\n\r\n<p>{canary}</p>\r\n\
         --b\r\nContent-Type: application/pdf; name=\"{canary}.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{attachment}\r\n--b--\r\n"
    )
    .into_bytes()
}

fn through_swaks(running: &Running, canary: &str) {
    let port = running.port(0, "submission").to_string();
    let password = running.password(FROM);
    let subject = format!("Subject: {canary}");
    let output = running::run(
        "swaks",
        &["--server", "127.0.0.1", "--port", &port, "--tls", "--auth", "PLAIN", "--from", FROM]
            .into_iter()
            .chain(["--to", TO, "--auth-user", FROM, "--auth-password", &password])
            .chain(["--header", &subject, "--body", canary, "--ehlo", canary])
            .collect::<Vec<_>>(),
    );
    assert!(output.status.success(), "{}", running::said(&output));
}

async fn through_imap(running: &Running, canary: &str, letter: &[u8]) {
    let mut imap = running.imap(0, FROM).await;
    imap.command(&format!("CREATE \"{canary}\"")).await.unwrap();
    let text = String::from_utf8(letter.to_vec()).unwrap();
    let append = format!("APPEND \"{canary}\" (\\Seen) {{{}+}}\r\n{text}", text.len());
    imap.command(&append).await.unwrap();
    imap.command(&format!("SELECT \"{canary}\"")).await.unwrap();
    imap.command(&format!("STORE 1 +FLAGS ({canary})")).await.unwrap();
    let marked = imap.command(&format!("SEARCH KEYWORD {canary}")).await.unwrap();
    assert!(String::from_utf8(marked.concat()).unwrap().contains("* SEARCH 1"));
    let found = imap.command(&format!("SEARCH TEXT {canary}")).await.unwrap();
    assert!(String::from_utf8(found.concat()).unwrap().contains("* SEARCH 1"));
    assert!(imap.command(&format!("{canary} {canary}")).await.is_err());
    // What lies beside letters: annotations, subscriptions, lists of rights, saved searches, drafts.
    for said in [
        format!("SETMETADATA \"{canary}\" (/private/comment \"{canary}\")"),
        format!("SETMETADATA \"\" (/private/vendor/{canary} {{{}+}}\r\n{canary})", canary.len()),
        format!("GETMETADATA \"{canary}\" /private/comment"),
        format!("SUBSCRIBE \"{canary}\""),
        format!("SETACL \"{canary}\" {THERE} lrs"),
        format!("RENAME \"{canary}\" \"b-{canary}\""),
        format!("SELECT \"b-{canary}\""),
        format!("UID SEARCH RETURN (SAVE ALL) OR SUBJECT {canary} BODY {canary}"),
        format!("REPLACE 1 \"b-{canary}\" {{{}+}}\r\n{text}", text.len()),
        "NOTIFY SET (personal (MessageNew FlagChange AnnotationChange))".to_owned(),
    ] {
        let answer = imap.command(&said).await;
        // Not every word of every extension is known here; none of them may be written down.
        drop(answer);
    }
    let noted = imap.command(&format!("GETMETADATA \"b-{canary}\" /private/comment")).await;
    let noted = String::from_utf8(noted.unwrap().concat()).unwrap();
    assert!(noted.matches(canary).count() >= 2, "the annotation is there: {noted}");
    for refused in [
        format!("SELECT \"{canary}/{canary}\""),
        format!("SETACL INBOX {canary}@example.org lr"),
        format!("SEARCH {canary}"),
        format!("LOGIN {canary} {canary}"),
    ] {
        assert!(imap.command(&refused).await.is_err(), "{refused}");
    }
}

/// A filter with names, texts and an answer; letters that it files, answers and sends on.
async fn through_managesieve(running: &Running, canary: &str, letter: &[u8]) {
    let mut client = Client::logged_in(running, 0, TO).await;
    assert!(client.put(canary, &format!("# {canary}\r\nkeep;\r\n")).await.starts_with("OK"));
    assert!(client.put("bad", &format!("{canary} \"{canary}\";\r\n")).await.starts_with("NO"));
    client
        .activate(&format!(
            "require [\"fileinto\", \"mailbox\", \"imap4flags\", \"vacation\", \"variables\", \"copy\"];\r\n\
             set \"v\" \"{canary}\";\r\n\
             fileinto :create :flags [\"{canary}\"] \"f-${{v}}\";\r\n\
             vacation :handle \"{canary}\" :subject \"{canary}\" \"Absente: {canary}\";\r\n\
             redirect :copy \"{THERE}\";\r\nredirect :copy \"{canary}@example.org\";\r\nkeep;\r\n"
        ))
        .await;
    let id = letters::message_id();
    let text = String::from_utf8(letter.to_vec()).unwrap();
    let begin = text.find("Message-ID: ").unwrap();
    let end = begin + text[begin..].find("\r\n").unwrap();
    let text = format!("{}Message-ID: {id}{}", &text[..begin], &text[end..]);
    let mut session = running.submission(0, FROM).await;
    session.send(FROM, &[TO], text.as_bytes()).await.unwrap();
    assert_eq!(running.arrived(0, TO, &id).await, 1);
    assert_eq!(running.arrived(1, THERE, &id).await, 1, "it was sent on");
    let mut imap = running.imap(0, TO).await;
    imap.command(&format!("SELECT \"f-{canary}\"")).await.unwrap();
    client.say(&format!("GETSCRIPT \"{canary}\"")).await;
    client.say(&format!("{canary} \"{canary}\"")).await;
}

/// A letter that is read, and words that are none.
fn through_pop3(running: &Running, canary: &str) {
    const SCRIPT: &str = "
import poplib, ssl, sys
ca, port, user, password, canary = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
def bad(call):
    try:
        call()
    except poplib.error_proto:
        return
    raise SystemExit('no refusal')
door = poplib.POP3_SSL('127.0.0.1', port, timeout=20, context=tls)
door.user(canary)
bad(lambda: door.pass_(canary))
bad(lambda: door._shortcmd(canary + ' ' + canary))
door.user(user)
door.pass_(password)
count = door.stat()[0]
found = [n for n in range(1, count + 1) if canary.encode() in b''.join(door.retr(n)[1])]
assert found, 'the canary is in a letter'
door.quit()
print('fine')
";
    let (port, ca) = (running.port(1, "pop3s").to_string(), running.ca_file());
    let password = running.password(THERE);
    let arguments = ["-c", SCRIPT, ca.to_str().unwrap(), &port, THERE, &password, canary];
    let output = running::run("python3", &arguments);
    assert!(running::said(&output).contains("fine"), "{}", running::said(&output));
}

/// A letter from a real operator certificate that is not listed for its MAIL FROM domain, and
/// one that is.
fn through_the_operators_door(running: &Running, canary: &str) {
    let operator = &running.json["operators"][1];
    let (certificate, key) =
        (operator["mx_cert"].as_str().unwrap(), operator["mx_key"].as_str().unwrap());
    let port = running.port(0, "mx").to_string();
    let subject = format!("Subject: {canary}");
    for (from, accepted) in [(THERE, true), (FROM, false)] {
        let output = running::run(
            "swaks",
            &["--server", "127.0.0.1", "--port", &port, "--tls", "--tls-cert", certificate]
                .into_iter()
                .chain(["--tls-key", key, "--from", from, "--to", TO, "--header", &subject])
                .chain(["--body", canary])
                .collect::<Vec<_>>(),
        );
        assert_eq!(output.status.success(), accepted, "{}", running::said(&output));
    }
}

/// The canary in clear, and as base64 at each of the three positions in a triple.
pub(super) fn needles(canary: &str) -> Vec<Vec<u8>> {
    let mut needles = vec![canary.as_bytes().to_vec(), canary.to_uppercase().into_bytes()];
    for shift in 0..3 {
        let padded = format!("{}{canary}", "x".repeat(shift));
        let encoded = STANDARD.encode(padded);
        needles.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    // Quoted-printable leaves letters as they are, but may break the line in the middle.
    needles.push(canary.as_bytes()[..20].to_vec());
    needles.push(canary.as_bytes()[canary.len() - 20..].to_vec());
    needles
}

pub(super) fn find(octets: &[u8], needle: &[u8]) -> bool {
    octets.windows(needle.len()).any(|window| window == needle)
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
