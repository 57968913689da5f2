//! `vaguemestre trust …`: what administrators read and do, on a relay that runs or was killed.
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use vaguemestre::demo::client;
use vaguemestre::demo::client::Submission;
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
use crate::support::letters;
use crate::support::running;
use crate::support::running::Running;

const FROM: &str = "hugo.oreade@hopital.mssante.test";
const THERE: &str = "paul.verdier@cabinet.mssante.test";

/// A relay's folder, in whose queue one letter waits for an operator that is away.
struct Stopped {
    folder: tempfile::TempDir,
    config: String,
    pki: DemoPki,
}

/// The hospital's relay, run by `serve` alone. Killed when dropped.
struct Alone(Child);

impl Alone {
    fn serve(demo: &Running) -> Self {
        let config = demo.json["operators"][0]["config"].as_str().unwrap();
        let log = std::fs::File::create(demo.folder.join("serve.txt")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let alone = Self(child);
        for _ in 0..1_200 {
            if std::net::TcpStream::connect(demo.door(0, "submissions")).is_ok() {
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

impl Stopped {
    /// The relay is killed, not stopped: what it knew of the list must be on the disk.
    async fn with_a_waiting_letter() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("demo");
        let mut demo = Running::start(&place, running::free_port_base(), &[]);
        assert!(demo.terminate().success());
        let config = demo.json["operators"][0]["config"].as_str().unwrap().to_owned();
        let (now, folder_of_keys) = (SystemClock.now(), place.join("pki"));
        let pki = DemoPki::create(&folder_of_keys, &[], loopback(), now).unwrap();
        let stopped = Self { folder, config, pki };
        let relay = Alone::serve(&demo);
        let tls = client::trusting(&demo.ca_file()).unwrap();
        let door = demo.door(0, "submissions");
        let password = demo.password(FROM);
        let mut session = Submission::open(door, &tls, FROM, &password).await.unwrap();
        let letter = letters::letter(FROM, THERE, &letters::message_id(), 2_000);
        session.send(FROM, &[THERE], &letter).await.unwrap();
        assert_eq!(stopped.json(&["status"])["waiting"], Value::Null, "asked while it runs");
        drop(relay);
        stopped
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_seen_approved_and_rolled_back_with_a_reason_in_the_journal() {
    let stopped = Stopped::with_a_waiting_letter().await;
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
    assert!(diff["domains"][0]["exchanged_30_days"].as_u64().unwrap() > 0, "{diff}");
    assert_eq!((&diff["undeliverable"], &diff["domains"][0]["waiting"]), (&1.into(), &1.into()));
    let stuck = diff["domains"][0]["undeliverable_letters"][0].as_str().unwrap();
    let queue = vaguemestre(&["queue", "list", "--json", "--config", &stopped.config], "");
    assert!(String::from_utf8(queue.stdout).unwrap().contains(stuck), "an id of the queue");
    assert!(stopped.run(&["diff"]).unwrap().contains(stuck));
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
