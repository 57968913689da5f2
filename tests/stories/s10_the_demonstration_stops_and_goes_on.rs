//! As a newcomer I may stop the demonstration at any moment; it goes on where it was.
use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use crate::support::running;
use crate::support::running::Running;

fn demo(folder: &Path, base: u16, arguments: &[&str]) -> Child {
    let out = fs::File::create(folder.join("out.txt")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
        .args(["demo", "--port-base", &base.to_string(), "--data-dir"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(out.try_clone().unwrap())
        .stdout(out)
        .spawn()
        .unwrap()
}

fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("out.txt")).unwrap_or_default()
}

fn wait_until_it_says(folder: &Path, child: &mut Child, text: &str) {
    for _ in 0..6_000 {
        if said(folder).contains(text) {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended:\n{}", said(folder));
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it never said {text:?}:\n{}", said(folder));
}

fn interrupt(child: &mut Child) -> ExitStatus {
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    for _ in 0..600 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it did not stop");
}

#[test]
fn killed_before_its_letters_were_sent_it_sends_them_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let mut child = demo(folder.path(), base, &[]);
    wait_until_it_says(folder.path(), &mut child, "mailboxes, each with an OpenPGP key");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(folder.path().join("passwords.json").exists());
    assert!(!folder.path().join("scenario.done").exists());
    let running = Running::start(folder.path(), base, &[]);
    assert!(folder.path().join("scenario.done").exists());
    assert!(said(folder.path()).contains("arrived"), "{}", said(folder.path()));
    drop(running);
}

#[test]
fn ctrl_c_is_heard_while_mailboxes_are_made_and_the_rest_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let mut child = demo(folder.path(), base, &["--accounts", "2000"]);
    wait_until_it_says(folder.path(), &mut child, "50 of 2000");
    let status = interrupt(&mut child);
    assert!(status.success(), "{status}:\n{}", said(folder.path()));
    assert!(said(folder.path()).contains("Stopping…"), "{}", said(folder.path()));
    // The same folder, to the end; it proves itself with many mailboxes too.
    let mut child = demo(folder.path(), base, &["--once", "--accounts", "60"]);
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}:\n{}", said(folder.path()));
    assert_eq!(said(folder.path()).matches("arrived").count(), 8, "{}", said(folder.path()));
}

#[test]
fn a_proof_that_was_interrupted_is_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), running::free_port_base(), &["--once"]);
    wait_until_it_says(folder.path(), &mut child, "mailboxes, each with an OpenPGP key");
    assert!(!interrupt(&mut child).success());
}
