//! Commands on data, on a running relay through its socket and on a stopped one through the store.
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::secret::Secret;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::Directory;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::directory::Verdict;

use crate::cli::vaguemestre;

/// How long a demo in a debug build may take to listen.
const START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(60);

/// A running demo; killed if the test fails.
struct Demo(Child);

impl Demo {
    fn start(folder: &Path) -> (Self, Value) {
        let log = fs::File::create(folder.join("demo.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["demo", "--port-base", &free_port_base().to_string(), "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut demo = Self(child);
        let description = folder.join("demo.json");
        for _ in 0..START.as_millis() / 100 {
            if let Ok(text) = fs::read_to_string(&description)
                && let Ok(value) = serde_json::from_str(&text)
            {
                return (demo, value);
            }
            if let Some(status) = demo.0.try_wait().unwrap() {
                panic!("the demo ended with {status}:\n{}", log_of(folder));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the demo did not start:\n{}", log_of(folder));
    }

    fn stop(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        for _ in 0..STOP.as_millis() / 100 {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "the demo ended with {status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the demo did not stop");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("demo.log")).unwrap_or_default()
}

/// A base at which every port of both operators is free right now.
fn free_port_base() -> u16 {
    let offsets = [25, 90, 143, 443, 465, 587, 993];
    let start = 20_000 + (std::process::id() % 200) as u16 * 100;
    (0..20)
        .map(|step| start + step * 1_000)
        .find(|base| {
            offsets.iter().all(|offset| {
                [0, 1_000].iter().all(|operator| {
                    TcpListener::bind(("127.0.0.1", base + operator + offset)).is_ok()
                })
            })
        })
        .expect("free ports")
}

fn run(config: &str, line: &str, input: &str) -> String {
    let mut arguments: Vec<&str> = line.split(' ').collect();
    arguments.extend(["--config", config]);
    let output = vaguemestre(&arguments, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn addresses(config: &str) -> Vec<String> {
    let rows: Value = serde_json::from_str(&run(config, "mailbox list --json", "")).unwrap();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn mailboxes_statistics_and_queue_are_reached_running_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, description) = Demo::start(folder.path());
    let config = description["operators"][0]["config"].as_str().unwrap().to_owned();
    let ins = description["patients"][0]["ins"].as_str().unwrap();

    run(
        &config,
        "mailbox add new.one@hopital.mssante.test --kind PER --password-stdin",
        "long enough\n",
    );
    run(&config, "mailbox passwd new.one@hopital.mssante.test --password-stdin", "longer enough\n");
    assert!(addresses(&config).contains(&"new.one@hopital.mssante.test".to_owned()));
    let seen = run(&config, "mailbox list", "") + &run(&config, "queue list --json", "");
    assert!(!seen.contains(ins), "an INS is shown:\n{seen}");
    assert!(seen.contains("***@patient.mssante.test"), "{seen}");
    let running = first_statistics(&config);
    demo.stop();

    assert!(addresses(&config).contains(&"new.one@hopital.mssante.test".to_owned()));
    run(&config, "mailbox add new.two@hopital.mssante.test --kind ORG --generate --json", "");
    assert!(addresses(&config).contains(&"new.two@hopital.mssante.test".to_owned()));
    run(&config, "queue list", "");
    an_account_that_was_cut_off_is_finished(&config);
    let stopped = rows(&run(&config, "stats show --json", ""));
    assert!(stopped >= running, "{running} rows while it ran, {stopped} after it stopped");
}

/// As a kill between the account and its folders leaves it.
fn an_account_that_was_cut_off_is_finished(config: &str) {
    let loaded = Config::load(Path::new(config)).unwrap_or_else(|errors| panic!("{errors:?}"));
    let address = "cut.off@hopital.mssante.test";
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let office = vaguemestre::relay::offline(&loaded).await.unwrap();
        let new = NewAccount {
            address: Address::parse(address).unwrap(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            display_name: "Cut Off".to_owned(),
            password: Some(&Secret::new("the first attempt".to_owned())),
        };
        office.accounts.add(new).await.unwrap();
    });
    let add = format!("mailbox add {address} --kind PER --password-stdin");
    run(config, &add, "the second attempt\n");
    let again: Vec<&str> = add.split(' ').chain(["--config", config]).collect();
    let output = vaguemestre(&again, "the third attempt\n");
    assert!(!output.status.success(), "a mailbox that is whole is taken");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let office = vaguemestre::relay::offline(&loaded).await.unwrap();
        let password = Secret::new("the second attempt".to_owned());
        let verdict = office.accounts.password(address, &password).await.unwrap();
        let Verdict::Known(known) = verdict else { panic!("{verdict:?}") };
        let account = office.accounts.find(&known.mailboxes[0]).await.unwrap().unwrap();
        let mailbox = office.mailboxes.open(&account).await.unwrap();
        assert_eq!(mailbox.folders().await.unwrap().len(), 5);
    });
}

/// How many rows the statistics have, once the sample letters have been counted.
fn first_statistics(config: &str) -> usize {
    for _ in 0..START.as_secs() {
        let count = rows(&run(config, "stats show --json", ""));
        if count > 0 {
            return count;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("no letter was ever counted");
}

fn rows(json: &str) -> usize {
    let table: Value = serde_json::from_str(json).unwrap();
    table["rows"].as_array().unwrap().len()
}
