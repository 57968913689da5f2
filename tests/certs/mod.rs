//! Certificates of a running relay: what its doors speak, how new files come into use, and what
//! administrators are told.
mod doors;
mod reload;
mod rotation;
mod status;

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vaguemestre::demo::client;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::demo::pki::PemPair;
use vaguemestre::demo::pki::SIGNER_COMMON_NAME;
use vaguemestre::demo::pki::SIGNER_EMAIL;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;

use crate::cli::vaguemestre;
use crate::support::running::free_port_base;
use crate::support::running::said;

const HOST: &str = "mx.hopital.mssante.test";
const HOME: &str = "hopital.mssante.test";

/// An operator's files, and the program that uses them.
struct House {
    folder: tempfile::TempDir,
    pki: DemoPki,
    base: u16,
    child: Option<Child>,
}

impl House {
    /// Everything on disk; nothing runs. `settings` are lines behind `[certs]`.
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = IpAddr::from([127, 0, 0, 1]);
        let pki = DemoPki::create(&folder.path().join("pki"), &[us()], host, now()).unwrap();
        let house = Self { folder, pki, base: free_port_base(), child: None };
        house.put("mx", &house.pki.mx(&us()));
        house.put("people", &house.issue("first", "people one", days(-1), days(300)));
        fs::copy(house.pki.ca_file(), house.path("anchors.pem")).unwrap();
        house.list(&[DemoPki::mx_dn(&us())], now());
        let listen =
            [("submissions", 465), ("imaps", 993), ("https", 443), ("mx", 25), ("submission", 587)]
                .map(|(door, above)| format!("{door} = \"127.0.0.1:{}\"", house.base + above));
        let at = |name: &str| house.path(name);
        let text = format!(
            "[operator]\nname = \"hopital\"\nhostname = \"{HOST}\"\ndomains = [\"{HOME}\"]\n\
             [listen]\n{}\n\
             [tls]\ncertificate = {:?}\nkey = {:?}\n\
             [mx]\ncertificate = {:?}\nkey = {:?}\nanchors = [{:?}]\nlookup = false\n\
             [trust]\nlist = {:?}\nsigner_anchors = [{:?}]\nsigner_common_name = \
             \"{SIGNER_COMMON_NAME}\"\nsigner_email = \"{SIGNER_EMAIL}\"\nrefresh_seconds = 1\n\
             [storage]\ndata_dir = {:?}\nmaster_key = {:?}\n\
             [revocation]\nmode = \"off\"\n\
             [certs]\n{settings}\n",
            listen.join("\n"),
            at("people.pem"),
            at("people.key"),
            at("mx.pem"),
            at("mx.key"),
            at("anchors.pem"),
            at("list.xml"),
            house.pki.ca_file(),
            at("data"),
            at("master.key"),
        );
        fs::write(house.path("vaguemestre.toml"), text).unwrap();
        house
    }

    /// The real program, serving.
    fn serving(settings: &str) -> Self {
        let mut house = Self::new(settings);
        house.start();
        house
    }

    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log.txt")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", self.config().to_str().unwrap()])
            .env("VAGUEMESTRE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("the relay opens", || self.log().contains("the relay is open"));
    }

    /// As after a crash: it ends at once, and starts anew with an empty log.
    fn restart(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(self.path("log.txt")).unwrap();
        self.start();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("vaguemestre.toml")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log.txt")).unwrap_or_default()
    }

    fn door(&self, above: u16) -> SocketAddr {
        ([127, 0, 0, 1], self.base + above).into()
    }

    /// Puts files where the relay looks, as an administrator copies them.
    fn put(&self, stem: &str, files: &PemPair) {
        fs::copy(&files.key, self.path(&format!("{stem}.key"))).unwrap();
        fs::copy(&files.certificate, self.path(&format!("{stem}.pem"))).unwrap();
    }

    /// A certificate of our authority that may stand at any door.
    fn issue(&self, stem: &str, name: &str, from: Timestamp, until: Timestamp) -> PemPair {
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = Leaf {
            subject: &[(DnType::CountryName, "FR"), (DnType::CommonName, name)],
            names: &[HOST, "localhost", "127.0.0.1"],
            purposes: &both,
            rsa: true,
            not_before: from,
            not_after: until,
        };
        self.pki.issue(&leaf, &self.path("issued"), stem).unwrap()
    }

    /// A trust list that gives our domain to these.
    fn list(&self, subjects: &[OperatorDn], generated: Timestamp) {
        let home = Domain::parse(HOME).unwrap();
        let domains = BTreeMap::from([(home, subjects.iter().cloned().collect())]);
        let signed = self.pki.sign_trust_list(&TrustList { generated, domains }).unwrap();
        let new = self.path("list.new");
        fs::write(&new, signed).unwrap();
        fs::rename(new, self.path("list.xml")).unwrap();
    }

    /// Exit code and everything that `vaguemestre certs …` said.
    fn certs(&self, line: &[&str]) -> (i32, String) {
        let config = self.config();
        let arguments = [&["certs"], line, &["--config", config.to_str().unwrap()]].concat();
        let output = vaguemestre(&arguments, "");
        (output.status.code().unwrap(), said(&output))
    }

    fn status(&self) -> serde_json::Value {
        let (code, text) = self.certs(&["status", "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    async fn connect(&self, above: u16) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.door(above)).await.unwrap();
        let tls = client::trusting(&self.pki.ca_file()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(tls).connect(name, stream).await.unwrap()
    }

    /// The common name that a door shows just now.
    async fn shown_at(&self, above: u16) -> String {
        let stream = self.connect(above).await;
        common_name(&stream.get_ref().1.peer_certificates().unwrap()[0])
    }

    /// The common name at the operators' door, which speaks STARTTLS.
    fn shown_to_operators(&self) -> String {
        let address = self.door(25).to_string();
        let shown = s_client(&["-starttls", "smtp", "-connect", &address], "");
        let line = shown
            .lines()
            .find(|line| line.starts_with("subject="))
            .unwrap_or_else(|| panic!("{shown}"));
        line.rsplit("CN = ").next().unwrap().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("--- what the relay said ---\n{}", self.log());
        }
    }
}

fn us() -> DemoOperator {
    DemoOperator {
        name: "hopital".to_owned(),
        hostname: Domain::parse(HOST).unwrap(),
        structure: "1990000101".to_owned(),
        organisation: "HOPITAL DEMO".to_owned(),
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// So many days from now, or ago.
fn days(days: i64) -> Timestamp {
    let now = i64::try_from(now().as_seconds()).unwrap();
    Timestamp::from_seconds(u64::try_from(now + days * 86_400 + 60).unwrap())
}

fn common_name(leaf: &CertificateDer<'_>) -> String {
    let facts = vaguemestre::infra::net::certificate_facts(leaf).unwrap();
    let pair = facts.subject.pairs().iter().find(|(attribute, _)| attribute == "CN");
    pair.unwrap().1.clone()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited too long until {what}");
}

/// What `openssl s_client` prints, both streams, whether it connected or not.
fn s_client(arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .arg("s_client")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("openssl (make deps installs it): {error}"));
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(&child.wait_with_output().unwrap())
}

/// A client that only trusts.
fn person(ca_file: &Path) -> Arc<rustls::ClientConfig> {
    client::trusting(ca_file).unwrap()
}
