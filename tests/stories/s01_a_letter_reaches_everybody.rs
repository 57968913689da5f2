//! As a newcomer I run the demonstration once and see every letter arrive and be counted.
use std::process::Command;

use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

#[test]
fn the_demonstration_proves_itself_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["demo", "--once", "--port-base", &base, "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = running::said(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("arrived").count(), 8, "{said}");
    assert!(!folder.path().join("demo.json").exists(), "demo.json describes a running demo only");
}

#[test]
fn a_second_start_goes_on_with_the_same_data_and_a_stop_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let mut first = Running::start(folder.path(), base, &[]);
    let count = |running: &Running| {
        let door = running.door(0, "imaps");
        let (tls, user) = (running.tls(), "claire.fontaine@hopital.mssante.test");
        let password = running.password(user);
        tokio::runtime::Runtime::new().unwrap().block_on(async move {
            let imap = vaguemestre::demo::client::Imap::open(door, &tls, user, &password);
            let status = imap.await.unwrap().command("STATUS INBOX (MESSAGES)").await.unwrap();
            String::from_utf8(status.concat()).unwrap()
        })
    };
    let before = count(&first);
    assert!(before.contains("MESSAGES 1"), "{before}");
    assert!(first.terminate().success(), "{}", first.log());
    assert!(!folder.path().join("demo.json").exists());
    let second = Running::start(folder.path(), base, &[]);
    assert_eq!(count(&second), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_letter_goes_to_a_colleague_another_operator_and_a_patient() {
    let running = Running::new(&[]);
    let (from, here) = ("hugo.oreade@hopital.mssante.test", "claire.fontaine@hopital.mssante.test");
    let (there, patient) =
        ("paul.verdier@cabinet.mssante.test", "288027599000175@patient.mssante.test");
    let id = letters::message_id();
    let letter = letters::letter(from, here, &id, 4_096);
    let mut session = running.submission(0, from).await;
    let answer = session.send(from, &[here, there, patient], &letter).await.unwrap();
    assert!(answer.contains("Queued as"), "{answer}");
    assert_eq!(running.arrived(0, here, &id).await, 1);
    assert_eq!(running.arrived(1, there, &id).await, 1);
    // The content arrives octet for octet behind the trace fields.
    for (operator, user) in [(0, here), (1, there)] {
        let mut imap = running.imap(operator, user).await;
        imap.command("SELECT INBOX").await.unwrap();
        let found = imap.command(&format!("UID SEARCH HEADER Message-ID {id}")).await.unwrap();
        let line = String::from_utf8(found.concat()).unwrap();
        let uid = line.split_whitespace().last().unwrap();
        let body = imap.command(&format!("UID FETCH {uid} (BODY.PEEK[])")).await.unwrap().concat();
        let whole = body.windows(letter.len()).any(|window| window == letter);
        assert!(whole, "{}", String::from_utf8_lossy(&body));
    }
}
