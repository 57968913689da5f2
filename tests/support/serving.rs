//! A trust space of any operators, and the real program serving one of them.
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ClientConfig;
use vaguemestre::demo::client;
use vaguemestre::demo::client::Imap;
use vaguemestre::demo::client::Submission;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::SIGNER_COMMON_NAME;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use super::running::free_port_base;

/// The password of every mailbox that a test makes.
pub(crate) const PASSWORD: &str = "un mot de passe";

const START_PATIENCE: Duration = Duration::from_secs(60);

/// Certificates of some operators, and the list that names them.
pub(crate) struct Space {
    keep: tempfile::TempDir,
    pub(crate) pki: DemoPki,
    operators: Vec<DemoOperator>,
    lists: AtomicU64,
}

impl Space {
    /// One operator for each host name; each is listed for the domain of the same name.
    pub(crate) fn of(hosts: &[&str]) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let operators: Vec<DemoOperator> = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| DemoOperator {
                name: format!("operator-{number}"),
                hostname: Domain::parse(host).unwrap(),
                structure: format!("19900002{number:02}"),
                organisation: format!("OPERATEUR {number} DEMO"),
            })
            .collect();
        let localhost = [127, 0, 0, 1].into();
        let pki_folder = keep.path().join("pki");
        let pki = DemoPki::create(&pki_folder, &operators, localhost, SystemClock.now()).unwrap();
        let space = Self { keep, pki, operators, lists: AtomicU64::new(0) };
        let all: Vec<(&str, usize)> =
            hosts.iter().enumerate().map(|(number, host)| (*host, number)).collect();
        space.publish(&all);
        space
    }

    pub(crate) fn folder(&self) -> &Path {
        self.keep.path()
    }

    pub(crate) fn operator(&self, number: usize) -> &DemoOperator {
        &self.operators[number]
    }

    pub(crate) fn list_file(&self) -> PathBuf {
        self.folder().join("list.xml")
    }

    /// Publishes a younger list: these domains, each with the operator of this number.
    pub(crate) fn publish(&self, entries: &[(&str, usize)]) {
        let dns = entries
            .iter()
            .map(|(domain, number)| (*domain, DemoPki::mx_dn(&self.operators[*number])));
        self.publish_names(&dns.collect::<Vec<_>>());
    }

    /// [`Space::publish`] with any certificate subjects.
    pub(crate) fn publish_names(&self, entries: &[(&str, OperatorDn)]) {
        let younger = self.lists.fetch_add(1, Ordering::Relaxed);
        let made = SystemClock.now().as_seconds() - 3_600 + younger * 5;
        let mut list =
            TrustList { generated: Timestamp::from_seconds(made), domains: Default::default() };
        for (domain, dn) in entries {
            let listed = list.domains.entry(Domain::parse(domain).unwrap()).or_default();
            listed.insert(dn.clone());
        }
        let fresh = self.folder().join("list.new");
        fs::write(&fresh, self.pki.sign_trust_list(&list).unwrap()).unwrap();
        fs::rename(fresh, self.list_file()).unwrap();
    }

    /// Configuration and folder of one operator's relay, not started yet.
    pub(crate) fn relay(&self, number: usize) -> Serving<'_> {
        let base = free_port_base();
        Serving {
            space: self,
            number,
            base,
            folder: self.folder().join(format!("relay-{number}-{base}")),
            routes: String::new(),
            more: String::new(),
            environment: Vec::new(),
            child: None,
        }
    }
}

/// The real program, running `vaguemestre serve` for one operator. Killed when dropped.
pub(crate) struct Serving<'s> {
    space: &'s Space,
    number: usize,
    base: u16,
    pub(crate) folder: PathBuf,
    routes: String,
    more: String,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Serving<'_> {
    /// Mail of this domain goes there.
    pub(crate) fn route(mut self, domain: &str, port: u16) -> Self {
        self.routes.push_str(&format!("{domain:?} = \"127.0.0.1:{port}\"\n"));
        self
    }

    /// More sections of the configuration, e.g. `[queue]…`. Not `[operator]`, `[listen]`, `[tls]`,
    /// `[mx]`, `[trust]`, `[storage]`, `[limits]`.
    pub(crate) fn with(mut self, sections: &str) -> Self {
        self.more.push_str(sections);
        self
    }

    /// A variable of the program's environment, at starts and for commands.
    #[allow(dead_code, reason = "tests of keys ask, benchmarks do not")]
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts although it is expected to end by itself; how it ended, and what it said.
    #[allow(dead_code, reason = "tests of keys ask, benchmarks do not")]
    pub(crate) fn refused(&mut self) -> (Option<i32>, String) {
        self.kill();
        let output = Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_vaguemestre"), "serve", "--config"])
            .arg(self.config())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), super::running::said(&output))
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("vaguemestre.toml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn port(&self, door: &str) -> u16 {
        let above = match door {
            "mx" => 25,
            "metrics" => 90,
            "imap" => 143,
            "https" => 443,
            "submissions" => 465,
            "submission" => 587,
            "imaps" => 993,
            "pop3s" => 995,
            "managesieve" => 4190,
            "ldap" => 389,
            "ldaps" => 636,
            other => panic!("no door {other}"),
        };
        self.base + above
    }

    pub(crate) fn door(&self, door: &str) -> SocketAddr {
        ([127, 0, 0, 1], self.port(door)).into()
    }

    /// Writes the configuration, makes these mailboxes (`PER`) and starts.
    pub(crate) fn start(mut self, mailboxes: &[&str]) -> Self {
        fs::create_dir_all(&self.folder).unwrap();
        fs::write(self.config(), self.text()).unwrap();
        for address in mailboxes {
            self.add_mailbox(address);
        }
        self.begin();
        self
    }

    /// Starts (again).
    pub(crate) fn begin(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log.txt"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", self.config().to_str().unwrap()])
            .env("VAGUEMESTRE_LOG", if cfg!(debug_assertions) { "debug" } else { "warn" })
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut waited = Duration::ZERO;
        let doors = ["submissions", "mx", "imaps"];
        while !doors.iter().all(|door| std::net::TcpStream::connect(self.door(door)).is_ok()) {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the relay ended with {status}:\n{}", self.log());
            }
            assert!(waited < START_PATIENCE, "the relay does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
        self.child = Some(child);
    }

    /// Waits until it ends by itself.
    #[allow(dead_code, reason = "tests of keys ask, benchmarks do not")]
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// SIGTERM, and waits.
    #[allow(dead_code, reason = "tests of keys ask, benchmarks do not")]
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    #[allow(dead_code, reason = "the benchmark asks")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }

    /// Runs a command of the program on this relay, e.g. `queue list --json`.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.config();
        Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(arguments)
            .args(["--config", config.to_str().unwrap()])
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command printed; it must end well.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let said = super::running::said(&output);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// A command's `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.command(&[arguments, &["--json"]].concat());
        let said = super::running::said(&output);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    pub(crate) fn add_mailbox(&self, address: &str) {
        let config = self.config();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["mailbox", "add", address, "--kind", "PER", "--password-stdin"])
            .args(["--config", config.to_str().unwrap()])
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", super::running::said(&output));
    }

    #[allow(dead_code, reason = "programs ask, benchmarks do not")]
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.space.pki.ca_file()
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        client::trusting(&self.space.pki.ca_file()).unwrap()
    }

    pub(crate) async fn submission(&self, user: &str) -> Submission {
        Submission::open(self.door("submissions"), &self.tls(), user, PASSWORD).await.unwrap()
    }

    pub(crate) async fn imap(&self, user: &str) -> Imap {
        Imap::open(self.door("imaps"), &self.tls(), user, PASSWORD).await.unwrap()
    }

    /// Every letter in INBOX, whole.
    pub(crate) async fn inbox(&self, user: &str) -> Vec<String> {
        let mut imap = self.imap(user).await;
        imap.command("SELECT INBOX").await.unwrap();
        let found = imap.command("UID FETCH 1:* BODY.PEEK[]").await.unwrap();
        let letters = found.iter().filter(|line| line.windows(5).any(|five| five == b"BODY["));
        letters.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Waits for a letter in INBOX that holds this text, for half a minute.
    pub(crate) async fn wait_for(&self, user: &str, text: &str) -> String {
        for _ in 0..150 {
            if let Some(letter) = self.inbox(user).await.into_iter().find(|l| l.contains(text)) {
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("no letter with {text:?} in {user}'s inbox");
    }

    fn text(&self) -> String {
        let space = self.space;
        let operator = space.operator(self.number);
        let (people, mx, ca) =
            (space.pki.people(operator), space.pki.mx(operator), space.pki.ca_file());
        let doors = [
            "submission",
            "submissions",
            "mx",
            "imap",
            "imaps",
            "pop3s",
            "managesieve",
            "https",
            "metrics",
            "ldap",
            "ldaps",
        ]
        .map(|door| format!("{door} = \"{}\"", self.door(door)))
        .join("\n");
        format!(
            "[operator]\nname = \"operator-{number}\"\nhostname = \"{host}\"\ndomains = [\"{host}\"]\n\
             [listen]\n{doors}\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\n\
             [mx]\ncertificate = {:?}\nkey = {:?}\nanchors = [{ca:?}]\nlookup = false\n\
             [mx.routes]\n{routes}\n\
             [trust]\nlist = {list:?}\nsigner_anchors = [{ca:?}]\n\
             signer_common_name = {SIGNER_COMMON_NAME:?}\nrefresh_seconds = 1\n\
             removals_percent = 100\n\
             [storage]\ndata_dir = {data:?}\nmaster_key = {master:?}\n\
             [limits]\nconnections = 10000\nconnections_per_address = 10000\n\
             logins_failed_per_minute = 100000\n{more}",
            people.certificate,
            people.key,
            mx.certificate,
            mx.key,
            number = self.number,
            host = operator.hostname,
            routes = self.routes,
            list = space.list_file(),
            data = self.data_dir(),
            master = self.folder.join("master.key"),
            more = self.more,
        )
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- what the relay said ---\n{}", self.log());
        }
    }
}
