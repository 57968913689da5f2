//! As an operator I see a full or failing disk answered with 4xx, and nothing that was
//! acknowledged is lost when it is mended.
use std::fs;
use std::time::Duration;

use crate::powercut;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const TO: &str = "claire.fontaine@hopital.mssante.test";

async fn fails_with(fault: &str, code: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (demo, platter) = (folder.path().join("demo"), folder.path().join("platter"));
    fs::create_dir_all(&demo).unwrap();
    fs::create_dir_all(&platter).unwrap();
    let trigger = folder.path().join("fault");
    let environment = [
        ("LD_PRELOAD", powercut::shim()),
        ("POWERCUT_SOURCE", &demo),
        ("POWERCUT_PLATTER", &platter),
        ("POWERCUT_FAULT", &trigger),
    ];
    let base = running::free_port_base();
    let running = Running::start_with(&demo, base, &[], &environment);
    let mut kept = Vec::new();
    let send = async |octets: usize| {
        let id = letters::message_id();
        let letter = letters::letter(FROM, TO, &id, octets);
        let mut session = running.submission(0, FROM).await;
        (id, session.send(FROM, &[TO], &letter).await)
    };
    for octets in [1_000, 300_000] {
        let (id, answer) = send(octets).await;
        answer.unwrap();
        kept.push(id);
    }
    fs::write(&trigger, fault).unwrap();
    for octets in [1_000, 300_000] {
        let refusal = send(octets).await.1.unwrap_err().to_string();
        assert!(refusal.contains(code), "{octets} octets should hear {code}: {refusal}");
    }
    fs::remove_file(&trigger).unwrap();
    let mut answer = send(1_000).await;
    for _ in 0..100 {
        if answer.1.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = send(1_000).await;
    }
    answer.1.unwrap();
    kept.push(answer.0);
    for id in &kept {
        assert_eq!(running.arrived(0, TO, id).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_452_and_loses_nothing() {
    fails_with("f", "452 4.3.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_sync_is_451_and_loses_nothing() {
    fails_with("s", "451 4.3.0").await;
}

/// Each reading is recorded before it happens: where it cannot be, nothing is opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gives_no_content_that_the_ledger_would_not_know() {
    const READER: &str = "eloise.lumier@cabinet.mssante.test";
    const POP3: &str = "
import os, poplib, ssl, sys, time
ca, port, user, password, trigger = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
door = poplib.POP3_SSL('127.0.0.1', port, timeout=20, context=tls)
door.user(user)
door.pass_(password)
open(trigger, 'w').write('f')
try:
    raise SystemExit(door.retr(1))
except poplib.error_proto as error:
    assert error.args[0].startswith(b'-ERR [SYS/TEMP]'), error
os.remove(trigger)
for _ in range(100):
    try:
        assert len(door.retr(1)[1]) > 5
        print('fine')
        break
    except poplib.error_proto:
        time.sleep(0.1)
";
    let folder = tempfile::tempdir().unwrap();
    let (demo, platter) = (folder.path().join("demo"), folder.path().join("platter"));
    fs::create_dir_all(&demo).unwrap();
    fs::create_dir_all(&platter).unwrap();
    let trigger = folder.path().join("fault");
    let environment = [
        ("LD_PRELOAD", powercut::shim()),
        ("POWERCUT_SOURCE", &demo),
        ("POWERCUT_PLATTER", &platter),
        ("POWERCUT_FAULT", &trigger),
    ];
    let running = Running::start_with(&demo, running::free_port_base(), &[], &environment);
    let mut imap = running.imap(1, READER).await;
    imap.command("EXAMINE INBOX").await.unwrap();
    fs::write(&trigger, "f").unwrap();
    let refused = imap.command("FETCH 1 BODY.PEEK[]").await.unwrap_err().to_string();
    assert!(refused.contains("NO"), "{refused}");
    fs::remove_file(&trigger).unwrap();
    let mut read = imap.command("FETCH 1 BODY.PEEK[]").await;
    for _ in 0..100 {
        if read.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        read = imap.command("FETCH 1 BODY.PEEK[]").await;
    }
    assert!(read.unwrap().concat().len() > 100, "the letter is read when it can be recorded");

    let (port, ca) = (running.port(1, "pop3s").to_string(), running.ca_file());
    let (password, trigger) = (running.password(READER), trigger.to_str().unwrap());
    let words = ["-c", POP3, ca.to_str().unwrap(), &port, READER, &password, trigger];
    let output = running::run("python3", &words);
    assert!(running::said(&output).contains("fine"), "{}", running::said(&output));
}
