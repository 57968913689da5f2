//! Mailboxes that several people work in, as administrators hand them out.
mod answered;
mod ends;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

use crate::cli::vaguemestre;
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const DOCTOR: &str = "hugo.oreade@hopital.mssante.test";

fn run(config: &str, arguments: &[&str]) -> Output {
    vaguemestre(&[arguments, &["--config", config]].concat(), "")
}

fn json(config: &str, arguments: &[&str]) -> Value {
    let output = run(config, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// On a running relay and on a stopped one.
#[test]
fn a_delegation_is_granted_listed_and_taken_back_and_the_journal_knows_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(&folder.path().join("demo"), running::free_port_base(), &[]);
    let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
    let team = "service.partage@hopital.mssante.test";
    let add = ["mailbox", "add", team, "--kind", "ORG", "--generate"];
    assert!(run(&config, &add).status.success());
    let grant = |until: &str| {
        let arguments = ["team", "grant", team, "--to", DOCTOR, "--rights", "lrswp"];
        run(&config, &[&arguments[..], &["--until", until, "--reason", "holidays"]].concat())
    };
    assert!(!grant("2020-01-01").status.success(), "the end lies in the past");
    assert!(!grant("tomorrow").status.success());
    assert!(grant("2098-12-31").status.success());
    let listed = json(&config, &["team", "list"]);
    assert_eq!(listed[0]["mailbox"], team);
    assert_eq!(listed[0]["to"], DOCTOR);
    assert_eq!(listed[0]["rights"], "lrswp");
    assert_eq!(listed[0]["until"], "2098-12-31T23:00:00Z", "the end of the day in France");

    assert!(demo.terminate().success());
    let nobody = ["team", "grant", team, "--to", "nobody@hopital.mssante.test", "--reason", "x"];
    assert!(!run(&config, &nobody).status.success());
    let revoke = ["team", "revoke", team, "--to", DOCTOR, "--reason", "is back"];
    assert!(run(&config, &revoke).status.success());
    assert_eq!(json(&config, &["team", "list"]).as_array().unwrap().len(), 0);
    let journal = json(&config, &["admin", "journal"]);
    let told: Vec<(&str, &str)> = journal
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["action"].as_str().unwrap().starts_with("team "))
        .map(|line| (line["action"].as_str().unwrap(), line["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("team revoke", "is back"), ("team grant", "holidays")]);
    let statistics = json(&config, &["stats", "show"]);
    let rows = statistics["rows"].as_array().unwrap();
    let steps: Vec<&str> = rows
        .iter()
        .filter(|row| row["event"] == "delegation")
        .map(|row| row["reason"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["grant", "revoke"]);
}

const CLAIRE: &str = "claire.fontaine@hopital.mssante.test";
const AMINE: &str = "amine.belcourt@hopital.mssante.test";

async fn send(running: &Running, from: &str, to: &str) -> String {
    let id = letters::message_id();
    let letter = letters::letter(from, to, &id, 600);
    running.submission(0, from).await.send(from, &[to], &letter).await.unwrap();
    id
}

async fn inbox(running: &Running, user: &str) -> Vec<String> {
    let mut imap = running.imap(0, user).await;
    imap.command("SELECT INBOX").await.unwrap();
    let found = imap.command("UID FETCH 1:* (FLAGS BODY.PEEK[])").await.unwrap();
    let letters = found.iter().filter(|line| line.windows(5).any(|five| five == b"BODY["));
    letters.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

async fn answer_to(running: &Running, user: &str, id: &str) -> String {
    let wanted = format!("In-Reply-To: {id}");
    for _ in 0..150 {
        let found = inbox(running, user).await.into_iter().find(|letter| letter.contains(&wanted));
        if let Some(letter) = found {
            return letter;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{user} got no answer\n{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_names_the_substitute_once_to_each_sender_and_lends_the_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(&folder.path().join("demo"), running::free_port_base(), &[]);
    let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
    let canary = "Kanarienvogel-auf-Reisen";
    let absence = ["mailbox", "absence", CLAIRE];
    let set = |from: &str, until: &str| {
        let who = ["--substitute", AMINE, "--from", from, "--until", until, "--text", canary];
        let why = ["--delegate", "lrs", "--reason", "leave"];
        run(&config, &[&absence[..], &who, &why].concat())
    };
    assert!(!set("2020-01-01", "2020-01-02").status.success(), "it lies in the past");
    // To come: nobody is told, and nothing is lent yet.
    assert!(set("2098-01-01", "2098-12-31").status.success());
    assert_eq!(json(&config, &absence)["state"], "to come");
    let early = send(&demo, DOCTOR, CLAIRE).await;
    let select = format!("SELECT \"Other Users/{CLAIRE}/INBOX\"");
    assert!(demo.imap(0, AMINE).await.command(&select).await.is_err());
    // Now.
    assert!(set("2020-01-01", "2098-12-31").status.success());
    assert_eq!(json(&config, &absence)["state"], "now");
    assert!(demo.imap(0, AMINE).await.command(&select).await.is_ok());
    let first = send(&demo, DOCTOR, CLAIRE).await;
    demo.kill();
    let port_base = demo.port(0, "mx") - 25;
    let mut demo = Running::start(&demo.folder.clone(), port_base, &[]);
    let answer = answer_to(&demo, DOCTOR, &first).await;
    assert!(answer.contains("Auto-Submitted: auto-replied"), "{answer}");
    assert!(answer.contains("Return-Path: <>"), "{answer}");
    let said = body_of(&answer);
    for word in [canary, AMINE, "Réponse automatique", "Automatic reply", "2098-12-31"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let second = send(&demo, DOCTOR, CLAIRE).await;
    let other = send(&demo, AMINE, CLAIRE).await;
    answer_to(&demo, AMINE, &other).await;
    // Back.
    let off = [&absence[..], &["--off", "--reason", "is back"]].concat();
    assert!(run(&config, &off).status.success());
    assert!(demo.imap(0, AMINE).await.command(&select).await.is_err());
    let late = send(&demo, AMINE, CLAIRE).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (user, unanswered) in [(DOCTOR, &early), (DOCTOR, &second), (AMINE, &late)] {
        let wanted = format!("In-Reply-To: {unanswered}");
        assert!(!inbox(&demo, user).await.iter().any(|letter| letter.contains(&wanted)), "{user}");
    }
    assert!(demo.terminate().success());
    assert_eq!(json(&config, &absence), Value::Null);
    assert_eq!(files_with(&demo.data_dir(0), canary.as_bytes()), Vec::<String>::new());
    assert!(!demo.log().contains(canary));
}

/// The text of an answer, which travels in base64.
fn body_of(letter: &str) -> String {
    let (head, body) = letter.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
    let text: String = body.lines().take_while(|line| !line.is_empty() && *line != ")").collect();
    let octets = base64::engine::general_purpose::STANDARD.decode(text.trim_end_matches(')'));
    String::from_utf8(octets.unwrap()).unwrap()
}

fn files_with(folder: &Path, word: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, word));
        } else if std::fs::read(&path).unwrap_or_default().windows(word.len()).any(|w| w == word) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// The right `p` on the team's inbox, and nothing else, lets a login send with the team's address.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_post_for_a_team_sends_with_its_address_and_the_trace_names_the_login() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Running::start(&folder.path().join("demo"), running::free_port_base(), &[]);
    let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
    let team = "service.partage@hopital.mssante.test";
    let add = ["mailbox", "add", team, "--kind", "ORG", "--generate"];
    assert!(run(&config, &add).status.success());
    let send_as = async |path: &str, shown: &str| {
        let id = letters::message_id();
        let letter = letters::letter(shown, CLAIRE, &id, 600);
        let mut submission = demo.submission(0, DOCTOR).await;
        let sent = submission.send(path, &[CLAIRE], &letter).await;
        sent.map(|_| id).map_err(|error| format!("{error:?}"))
    };
    let grant = |rights: &str| {
        let to = ["team", "grant", team, "--to", DOCTOR, "--rights", rights, "--reason", "x"];
        assert!(run(&config, &to).status.success());
    };
    for rights in ["", "lrswite", "p"] {
        if !rights.is_empty() {
            grant(rights);
        }
        for (path, shown) in [(team, team), (DOCTOR, team), (team, DOCTOR)] {
            let sent = send_as(path, shown).await;
            match rights {
                "p" => assert!(sent.is_ok(), "{path} {shown}: {sent:?}"),
                _ => assert!(sent.unwrap_err().contains("5.7.1"), "{rights} {path} {shown}"),
            }
        }
        // Nobody becomes a third one by it.
        assert!(send_as(CLAIRE, CLAIRE).await.is_err());
        assert!(send_as(team, CLAIRE).await.is_err());
    }
    let id = send_as(team, team).await.unwrap();
    let trace = run(&config, &["trace", &id, "--json"]);
    let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
    assert!(trace.contains(DOCTOR) && trace.contains(&format!("{DOCTOR} as {team}")), "{trace}");
    let revoke = ["team", "revoke", team, "--to", DOCTOR, "--reason", "x"];
    assert!(run(&config, &revoke).status.success());
    assert!(send_as(team, team).await.is_err());
}
