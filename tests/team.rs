//! Mailboxes that several people work in, as administrators hand them out.
use std::process::Output;

use serde_json::Value;

use crate::cli::vaguemestre;
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
