//! The real program, running `vaguemestre demo` in a folder of its own.
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;
use vaguemestre::demo::client;
use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;

const START_PATIENCE: Duration = Duration::from_secs(120);

/// A running demonstration. Killed when dropped.
pub(crate) struct Running {
    pub(crate) folder: PathBuf,
    pub(crate) json: Value,
    child: Child,
    _keep: Option<Arc<tempfile::TempDir>>,
}

impl Running {
    /// A new demonstration in a temporary folder.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let keep = Arc::new(tempfile::tempdir().unwrap());
        let folder = keep.path().join("demo");
        let mut running = Self::start(&folder, free_port_base(), arguments);
        running._keep = Some(keep);
        running
    }

    /// Starts (again) in a folder; returns when `demo.json` says that everything listens.
    pub(crate) fn start(folder: &Path, port_base: u16, arguments: &[&str]) -> Self {
        Self::start_with(folder, port_base, arguments, &[])
    }

    /// [`Running::start`] with environment variables.
    pub(crate) fn start_with(
        folder: &Path,
        port_base: u16,
        arguments: &[&str],
        environment: &[(&str, &Path)],
    ) -> Self {
        fs::create_dir_all(folder).unwrap();
        let _ = fs::remove_file(folder.join("demo.json"));
        let open =
            |name| File::options().create(true).append(true).open(folder.join(name)).unwrap();
        // What it tells people (the table of addresses) is not a log.
        let (out, log) = (open("out.txt"), open("log.txt"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .arg("demo")
            .args(["--data-dir", folder.to_str().unwrap()])
            .args(["--port-base", &port_base.to_string()])
            .args(arguments)
            // All that a relay can be made to say: a test that searches the log must have one.
            // A benchmark, which is optimised, measures without.
            .env("VAGUEMESTRE_LOG", if cfg!(debug_assertions) { "debug" } else { "warn" })
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .unwrap();
        let began = std::time::Duration::ZERO;
        let mut waited = began;
        while !folder.join("demo.json").exists() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the demonstration ended with {status}:\n{}", read(&folder.join("log.txt")));
            }
            assert!(
                waited < START_PATIENCE,
                "the demonstration does not start:\n{}",
                read(&folder.join("log.txt"))
            );
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
        let json = serde_json::from_str(&read(&folder.join("demo.json"))).unwrap();
        Self { folder: folder.to_owned(), json, child, _keep: None }
    }

    /// SIGKILL: nothing is said, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Port of a door; operator 0 is the hospital, 1 the practice.
    pub(crate) fn port(&self, operator: usize, door: &str) -> u16 {
        u16::try_from(self.json["operators"][operator]["ports"][door].as_u64().unwrap()).unwrap()
    }

    pub(crate) fn door(&self, operator: usize, door: &str) -> SocketAddr {
        ([127, 0, 0, 1], self.port(operator, door)).into()
    }

    /// Password of an account or patient.
    pub(crate) fn password(&self, address: &str) -> String {
        let all =
            ["accounts", "patients"].into_iter().flat_map(|of| self.json[of].as_array().unwrap());
        let found = all.into_iter().find(|each| each["address"] == address);
        found.unwrap()["password"].as_str().unwrap().to_owned()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.json["ca_file"].as_str().unwrap().into()
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        client::trusting(&self.ca_file()).unwrap()
    }

    /// The folder in which an operator keeps its truth.
    pub(crate) fn data_dir(&self, operator: usize) -> PathBuf {
        self.json["operators"][operator]["data_dir"].as_str().unwrap().into()
    }

    /// What the program has written to its terminal and log so far.
    pub(crate) fn log(&self) -> String {
        read(&self.folder.join("log.txt"))
    }

    pub(crate) async fn submission(&self, operator: usize, user: &str) -> Submission {
        let door = self.door(operator, "submissions");
        Submission::open(door, &self.tls(), user, &self.password(user)).await.unwrap()
    }

    pub(crate) async fn imap(&self, operator: usize, user: &str) -> Imap {
        let door = self.door(operator, "imaps");
        Imap::open(door, &self.tls(), user, &self.password(user)).await.unwrap()
    }

    /// Waits until INBOX has a letter of this Message-ID; answers how many.
    pub(crate) async fn arrived(&self, operator: usize, user: &str, message_id: &str) -> usize {
        let mut imap = self.imap(operator, user).await;
        for _ in 0..300 {
            let count = imap.count_in_inbox(message_id).await.unwrap();
            if count > 0 {
                return count;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- what the demonstration said ---\n{}", self.log());
        }
    }
}

/// Runs a program that the test needs; a missing one is a failure that names it.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} (make deps installs it): {error}"))
}

/// What a program printed, both streams.
pub(crate) fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

fn read(file: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(file) {
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A base whose ports are free now and that no other caller in this process gets: a
/// test that kills and restarts must find its own ports again.
pub(crate) fn free_port_base() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    const DOORS: [u16; 12] = [25, 90, 110, 143, 389, 443, 465, 587, 636, 993, 995, 4190];
    let mut given = GIVEN.lock().unwrap();
    for base in (10_500..27_500).step_by(2) {
        let ports: Vec<u16> =
            DOORS.iter().flat_map(|door| [base + door, base + 1000 + door]).collect();
        let free =
            |port: &u16| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if ports.iter().all(free) {
            given.extend(ports);
            return base;
        }
    }
    panic!("no free ports");
}
