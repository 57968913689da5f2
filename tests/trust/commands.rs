//! `vaguemestre trust …` on a relay that is stopped: what administrators read and do.
use std::path::Path;

use serde_json::Value;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::proto::trust_list;

use super::HOUR;
use super::dn;
use super::domain;
use super::loopback;
use crate::cli::vaguemestre;

/// A demonstration that ran once, as a relay's folder with a list and a signer.
struct Stopped {
    folder: tempfile::TempDir,
    config: String,
    pki: DemoPki,
}

impl Stopped {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("demo");
        let running = crate::support::running::Running::start(
            &place,
            crate::support::running::free_port_base(),
            &[],
        );
        let config = running.json["operators"][0]["config"].as_str().unwrap().to_owned();
        let pki_folder = Path::new(running.json["operators"][0]["mx_cert"].as_str().unwrap())
            .ancestors()
            .nth(2)
            .unwrap()
            .to_owned();
        drop(running);
        let pki = DemoPki::create(&pki_folder, &[], loopback(), SystemClock.now()).unwrap();
        Self { folder, config, pki }
    }

    fn list_file(&self) -> std::path::PathBuf {
        self.folder.path().join("demo/listeblanchemssante.xml")
    }

    fn run(&self, line: &[&str]) -> Result<String, String> {
        let arguments: Vec<&str> =
            ["trust"].iter().chain(line).copied().chain(["--config", &self.config]).collect();
        let output = vaguemestre(&arguments, "");
        let error = String::from_utf8(output.stderr).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if output.status.success() { Ok(text) } else { Err(error) }
    }

    fn json(&self, line: &[&str]) -> Value {
        let line: Vec<&str> = line.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.run(&line).unwrap()).unwrap()
    }
}

#[test]
fn a_list_is_seen_approved_and_rolled_back_with_a_reason_in_the_journal() {
    let stopped = Stopped::new();
    let status = stopped.json(&["status"]);
    assert_eq!(status["waiting"], Value::Null);
    let first = status["active"]["short"].as_str().unwrap().to_owned();
    let pairs = status["pairs"].as_u64().unwrap();

    // The practice goes, another comes.
    let document = std::fs::read(stopped.list_file()).unwrap();
    let rule = stopped.pki.signer_rule();
    let anchors = vaguemestre::infra::net::load_anchors(&rule.anchors).unwrap();
    let now = SystemClock.now();
    let bytes = vaguemestre::infra::trust::verified_bytes(&document, &rule, &anchors, now).unwrap();
    let mut list = trust_list::parse(&bytes).unwrap();
    let gone = domain("cabinet.mssante.test");
    assert!(list.domains.remove(&gone).is_some());
    list.domains.insert(domain("nouveau.mssante.test"), [dn("mx.nouveau.test")].into());
    list.generated = Timestamp::from_seconds(now.after(HOUR).as_seconds());
    let younger = stopped.pki.sign_trust_list(&list).unwrap();
    std::fs::write(stopped.list_file(), younger).unwrap();

    let status = stopped.json(&["status"]);
    assert_eq!(status["waiting"]["what"], "removals");
    assert_eq!(status["pairs"].as_u64(), Some(pairs + 1));
    let second = status["active"]["short"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let text = stopped.run(&["status"]).unwrap();
    assert!(text.contains("trust approve"), "{text}");
    let text = stopped.run(&["show", "cabinet.mssante.test"]).unwrap();
    assert!(text.contains("removed; counts until `trust approve`"), "{text}");

    let diff = stopped.json(&["diff"]);
    assert_eq!(diff["removed"], 1);
    assert_eq!(diff["domains"][0]["domain"], "cabinet.mssante.test");
    assert_eq!(diff["domains"][0]["change"], "removed");
    assert!(diff["domains"][0]["exchanged_30_days"].is_u64());
    let backwards = stopped.json(&["diff", &second, &first]);
    assert_eq!((&backwards["added"], &backwards["removed"]), (&1.into(), &1.into()));

    let looked = stopped.json(&["approve", "--dry-run"]);
    assert_eq!((&looked["done"], &looked["impact"]["removed"]), (&false.into(), &1.into()));
    assert_eq!(stopped.json(&["status"])["waiting"]["what"], "removals", "only looked");
    assert!(stopped.run(&["approve"]).unwrap_err().contains("--reason"));
    assert!(stopped.run(&["approve", "--reason", " "]).unwrap_err().contains("reason is needed"));
    assert_eq!(stopped.json(&["approve", "--reason", "it closed"])["done"], true);
    assert_eq!(stopped.json(&["status"])["waiting"], Value::Null);
    let error = stopped.run(&["show", "cabinet.mssante.test"]).unwrap_err();
    assert!(error.contains("is not in the list"), "{error}");
    assert!(stopped.run(&["approve", "--reason", "x"]).unwrap_err().contains("nothing waits"));

    assert_eq!(stopped.json(&["rollback", "--reason", "a mistake"])["done"], true);
    let status = stopped.json(&["status"]);
    assert_eq!((&status["active"]["short"], &status["rolled_back"]), (&first.into(), &true.into()));
    assert_eq!(stopped.json(&["refresh"])["outcome"], "rejected-before");
    let versions = stopped.json(&["versions"]);
    assert_eq!(versions[0]["standing"], "rejected");
    assert!(stopped.run(&["versions"]).unwrap().contains("rejected"));
    let error = stopped.run(&["diff", "ffffffff"]).unwrap_err();
    assert!(error.contains("trust versions"), "{error}");

    let journal = vaguemestre(&["admin", "journal", "--json", "--config", &stopped.config], "");
    let journal: Value = serde_json::from_slice(&journal.stdout).unwrap();
    assert_eq!(journal[0]["action"], "trust rollback");
    assert_eq!(journal[1]["reason"], "it closed");
    assert!(journal[1]["outcome"].as_str().unwrap().contains("1 removed"));
    assert!(!journal[1]["author"].as_str().unwrap().is_empty());
}
