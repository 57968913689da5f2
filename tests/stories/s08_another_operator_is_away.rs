//! As a clinician I may write while the other operator is away: my letter waits, arrives when it
//! is back, and if it never is, I am told.
use std::fs;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use vaguemestre::demo::client;
use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;

use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const THERE: &str = "paul.verdier@cabinet.mssante.test";

/// One relay of a stopped demonstration, run by `serve` alone.
struct Alone(Child);

impl Alone {
    fn serve(running: &Running, operator: usize) -> Self {
        let config = running.json["operators"][operator]["config"].as_str().unwrap();
        let log = fs::File::create(running.folder.join(format!("serve{operator}.txt"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let alone = Self(child);
        let door = running.door(operator, "imaps");
        for _ in 0..600 {
            if std::net::TcpStream::connect(door).is_ok() {
                return alone;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the relay does not start");
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_waits_for_the_other_operator_and_then_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let mut demo = Running::start(folder.path(), base, &[]);
    assert!(demo.terminate().success());
    let here = Alone::serve(&demo, 0);
    let id = letters::message_id();
    send(&demo, &id).await;
    let config = demo.json["operators"][0]["config"].as_str().unwrap();
    let list = || {
        let program = env!("CARGO_BIN_EXE_vaguemestre");
        running::said(&running::run(program, &["queue", "list", "--json", "--config", config]))
    };
    let waiting = list();
    assert!(waiting.contains("cabinet.mssante.test"), "{waiting}");
    let there = Alone::serve(&demo, 1);
    assert_eq!(arrived(&demo, 1, THERE, &id).await, 1);
    for _ in 0..100 {
        if !list().contains("cabinet.mssante.test") {
            drop((here, there));
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the queue still holds the letter: {}", list());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_can_never_arrive_comes_back_as_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let base = running::free_port_base();
    let mut demo = Running::start(folder.path(), base, &[]);
    assert!(demo.terminate().success());
    // Give up after three seconds instead of five days.
    let config = demo.json["operators"][0]["config"].as_str().unwrap();
    let text = fs::read_to_string(config).unwrap();
    let text = text.replace("[queue]\n", "[queue]\ngive_up_seconds = 3\n");
    fs::write(config, text.replace("retry_seconds = [2, 5, 10, 30, 60]", "retry_seconds = [1]"))
        .unwrap();
    let here = Alone::serve(&demo, 0);
    let id = letters::message_id();
    send(&demo, &id).await;
    let mut imap = imap(&demo, 0, FROM).await;
    let mut reports = 0;
    for _ in 0..300 {
        imap.command("SELECT INBOX").await.unwrap();
        let found = imap.command("SEARCH HEADER Content-Type multipart/report").await.unwrap();
        let line = String::from_utf8(found.concat()).unwrap();
        let line = line.lines().find(|line| line.starts_with("* SEARCH")).unwrap().to_owned();
        reports = line.split_whitespace().skip(2).count();
        if reports > 0 {
            let uid = line.split_whitespace().last().unwrap();
            let report = imap.command(&format!("FETCH {uid} BODY.PEEK[]")).await.unwrap().concat();
            let report = String::from_utf8_lossy(&report).into_owned();
            for expected in ["Action: failed", THERE, "Status: ", "Auto-Submitted", &id] {
                assert!(report.contains(expected), "{expected} is missing:\n{report}");
            }
            assert!(report.contains("Return-Path: <>"), "{report}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(reports, 1);
    drop(here);
}

async fn send(demo: &Running, id: &str) {
    let door = demo.door(0, "submissions");
    let tls = client::trusting(&demo.ca_file()).unwrap();
    let mut session = Submission::open(door, &tls, FROM, &demo.password(FROM)).await.unwrap();
    session.send(FROM, &[THERE], &letters::letter(FROM, THERE, id, 2_000)).await.unwrap();
}

async fn imap(demo: &Running, operator: usize, user: &str) -> Imap {
    let tls = client::trusting(&demo.ca_file()).unwrap();
    Imap::open(demo.door(operator, "imaps"), &tls, user, &demo.password(user)).await.unwrap()
}

async fn arrived(demo: &Running, operator: usize, user: &str, id: &str) -> usize {
    let mut imap = imap(demo, operator, user).await;
    for _ in 0..600 {
        let count = imap.count_in_inbox(id).await.unwrap();
        if count > 0 {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    0
}
