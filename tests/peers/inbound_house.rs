//! One operator with one mailbox and a door for others, in this process; peers of all kinds.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::demo::pki::PemPair;
use vaguemestre::demo::pki::SIGNER_COMMON_NAME;
use vaguemestre::demo::pki::SIGNER_EMAIL;
use vaguemestre::domain::address::Address;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::certificate::CertificateFacts;
use vaguemestre::domain::decision::Decision;
use vaguemestre::domain::folder::FolderId;
use vaguemestre::domain::mailbox::Listing;
use vaguemestre::domain::mailbox::MailboxKind;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::secret::Secret;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::flow::decisions;
use vaguemestre::flow::office::Office;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::config::Config;
use vaguemestre::infra::directory::Mailboxes;
use vaguemestre::infra::directory::NewAccount;
use vaguemestre::infra::net::certificate_facts;
use vaguemestre::relay::Relay;

use crate::support::running;

/// The mailbox here.
pub(super) const HUGO: &str = "hugo@hopital.test";
/// The honest other operator.
pub(super) const CABINET: &str = "cabinet.test";
/// MAIL and RCPT of an honest letter.
pub(super) const MAIL: &str = "MAIL FROM:<paul@cabinet.test>";
pub(super) const RCPT: &str = "RCPT TO:<hugo@hopital.test>";
const HOUR: Duration = Duration::from_secs(3_600);

/// The hospital's relay.
pub(super) struct House {
    pub(super) folder: tempfile::TempDir,
    pub(super) pki: DemoPki,
    pub(super) door: SocketAddr,
    pub(super) config: PathBuf,
    relay: Relay,
}

impl House {
    pub(super) async fn new() -> Self {
        Self::with("", Duration::ZERO).await
    }

    /// With more configuration, and a list that is so old.
    pub(super) async fn with(more: &str, list_age: Duration) -> Self {
        Self::prepared(|_, _| more.to_owned(), list_age).await
    }

    /// With configuration that needs files of the authority.
    pub(super) async fn prepared(
        more: impl FnOnce(&Path, &DemoPki) -> String,
        list_age: Duration,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = [127, 0, 0, 1].into();
        let operators = [operator("hopital"), operator("cabinet")];
        let pki = DemoPki::create(&folder.path().join("pki"), &operators, host, SystemClock.now())
            .unwrap();
        let generated = SystemClock.now().as_millis() - list_age.as_millis() as u64;
        write_list(folder.path(), &pki, &["hopital", "cabinet"], Timestamp::from_millis(generated));
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let more = more(folder.path(), &pki);
        let config = write_config(folder.path(), &pki, door, &more);
        let relay = Relay::start(Config::load(&config).unwrap()).await.unwrap();
        let house = Self { folder, pki, door, config, relay };
        house.add_mailbox().await;
        house
    }

    async fn add_mailbox(&self) {
        let password = Secret::new("secret secret".to_owned());
        let new = NewAccount {
            address: Address::parse(HUGO).unwrap(),
            kind: MailboxKind::Personal,
            listing: Listing::Public,
            display_name: "Dr Hugo".to_owned(),
            password: Some(&password),
        };
        let account = self.office().accounts.add(new).await.unwrap();
        self.office().mailboxes.create(&account).await.unwrap();
    }

    pub(super) fn office(&self) -> &Arc<Office> {
        self.relay.office()
    }

    pub(super) async fn stop(self) -> (tempfile::TempDir, PathBuf) {
        self.relay.stop().await;
        (self.folder, self.config)
    }

    /// Letters in the mailbox here.
    pub(super) async fn letters(&self) -> u32 {
        let account = self.office().accounts.find(&Address::parse(HUGO).unwrap()).await.unwrap();
        let mailbox = self.office().mailboxes.open(&account.unwrap()).await.unwrap();
        mailbox.folder(FolderId::INBOX).await.unwrap().exists
    }

    /// The files of an operator of the trust space's authority.
    pub(super) fn files(&self, name: &str) -> PemPair {
        self.pki.mx(&operator(name))
    }

    /// What the certificate of an operator says.
    pub(super) fn facts(&self, name: &str) -> CertificateFacts {
        facts_of(&self.files(name))
    }

    /// Publishes another list and waits until the relay uses it.
    pub(super) async fn publish(&self, listed: &[&str]) {
        let generated = SystemClock.now();
        write_list(self.folder.path(), &self.pki, listed, generated);
        let is_active =
            || self.office().trust.list().generated.as_seconds() >= generated.as_seconds();
        for _ in 0..200 {
            if is_active() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the relay does not take the list");
    }

    /// A leaf of the trust space's authority, with the subject of an operator.
    pub(super) fn leaf(
        &self,
        stem: &str,
        of: &str,
        purpose: ExtendedKeyUsagePurpose,
        ends: Timestamp,
    ) -> PemPair {
        leaf(self.folder.path(), &self.pki, stem, of, (purpose, ends))
    }

    /// A self-signed certificate with the subject of the honest operator.
    pub(super) fn self_signed(&self) -> PemPair {
        let mut params = rcgen::CertificateParams::new(vec![CABINET.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, CABINET);
        let key = rcgen::KeyPair::generate().unwrap();
        let folder = self.folder.path().join("rogue");
        std::fs::create_dir_all(&folder).unwrap();
        let certificate = folder.join("self.pem");
        std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(folder.join("self.key"), key.serialize_pem()).unwrap();
        PemPair { certificate, key: folder.join("self.key") }
    }

    /// The honest operator's names, below an authority that nobody trusts.
    pub(super) fn of_another_authority(&self) -> PemPair {
        let folder = self.folder.path().join("other");
        let host = [127, 0, 0, 1].into();
        let operators = [operator("cabinet")];
        let pki = DemoPki::create(&folder, &operators, host, SystemClock.now()).unwrap();
        pki.mx(&operators[0])
    }

    pub(super) fn tls(&self, identity: Option<&PemPair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.pki.ca_file()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(files) = identity else { return Arc::new(builder.with_no_client_auth()) };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        // A client that hides its certificate when the hint of authorities does not fit would
        // not be the rogue that we want.
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, signing));
        Arc::new(builder.with_client_cert_resolver(Arc::new(Always(certified))))
    }

    /// At the door, greeted.
    pub(super) async fn connect(&self) -> Peer {
        let mut peer = Peer::on(TcpStream::connect(self.door).await.unwrap());
        peer.expect("220 ").await;
        peer
    }

    /// At the door, under TLS, EHLO not said again.
    pub(super) async fn secured(&self, tls: &Arc<ClientConfig>) -> Peer {
        let mut peer = self.connect().await;
        peer.talk(&[("EHLO mx.cabinet.test", "250"), ("STARTTLS", "220")]).await;
        peer.secure(tls).await.unwrap()
    }

    /// The honest operator, welcomed.
    pub(super) async fn honest(&self) -> Peer {
        let mut peer = self.secured(&self.tls(Some(&self.files("cabinet")))).await;
        peer.talk(&[("EHLO mx.cabinet.test", "250")]).await;
        peer
    }

    /// What is kept under a name.
    pub(super) async fn explained(&self, id: &str) -> Vec<Decision> {
        decisions::explain(self.office(), id).await.unwrap()
    }

    /// `vaguemestre trust explain`.
    pub(super) fn explain(&self, id: &str, more: &[&str]) -> Output {
        explain(&self.config, id, more)
    }
}

pub(super) fn explain(config: &Path, id: &str, more: &[&str]) -> Output {
    let mut arguments = vec!["trust", "explain", id, "--config", config.to_str().unwrap()];
    arguments.extend(more);
    running::run(env!("CARGO_BIN_EXE_vaguemestre"), &arguments)
}

/// Shows one certificate, whatever the server hints at.
#[derive(Debug)]
struct Always(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

pub(super) fn operator(name: &str) -> DemoOperator {
    DemoOperator {
        name: name.to_owned(),
        hostname: Domain::parse(&format!("{name}.test")).unwrap(),
        structure: "1990000101".to_owned(),
        organisation: format!("{} DEMO", name.to_uppercase()),
    }
}

/// Each operator is listed for the domain of its name.
fn write_list(folder: &Path, pki: &DemoPki, listed: &[&str], generated: Timestamp) {
    let mut domains = BTreeMap::new();
    for name in listed {
        let operator = operator(name);
        domains.insert(operator.hostname.clone(), [DemoPki::mx_dn(&operator)].into());
    }
    let signed = pki.sign_trust_list(&TrustList { generated, domains }).unwrap();
    let draft = folder.join("list.part");
    std::fs::write(&draft, signed).unwrap();
    std::fs::rename(draft, folder.join("list.xml")).unwrap();
}

fn write_config(folder: &Path, pki: &DemoPki, door: SocketAddr, more: &str) -> PathBuf {
    let hospital = operator("hopital");
    let (people, mx, ca) = (pki.people(&hospital), pki.mx(&hospital), pki.ca_file());
    // Dotted keys: what a test says more may concern any table.
    let text = format!(
        "operator.name = \"hopital\"\noperator.hostname = \"hopital.test\"\n\
         operator.domains = [\"hopital.test\"]\nlisten.mx = \"{door}\"\n\
         tls.certificate = {:?}\ntls.key = {:?}\n\
         mx.certificate = {:?}\nmx.key = {:?}\nmx.anchors = [{ca:?}]\nmx.lookup = false\n\
         storage.data_dir = {:?}\nstorage.master_key = {:?}\n\
         trust.list = {:?}\ntrust.signer_anchors = [{ca:?}]\n\
         trust.signer_common_name = {SIGNER_COMMON_NAME:?}\ntrust.signer_email = {SIGNER_EMAIL:?}\n\
         trust.refresh_seconds = 1\ntrust.removals_percent = 100\n{more}\n",
        people.certificate,
        people.key,
        mx.certificate,
        mx.key,
        folder.join("data"),
        folder.join("master.key"),
        folder.join("list.xml"),
    );
    // Tests that say nothing about revocation have nobody to ask.
    let text = match more.contains("revocation.") {
        true => text,
        false => format!("{text}revocation.mode = \"off\"\n"),
    };
    let file = folder.join("vaguemestre.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// See [`House::leaf`]; before there is a house.
pub(super) fn leaf(
    folder: &Path,
    pki: &DemoPki,
    stem: &str,
    of: &str,
    (purpose, ends): (ExtendedKeyUsagePurpose, Timestamp),
) -> PemPair {
    let operator = operator(of);
    let leaf = Leaf {
        subject: &[
            (DnType::CountryName, "FR"),
            (DnType::StateOrProvinceName, "Paris (75)"),
            (DnType::OrganizationName, &operator.organisation),
            (DnType::OrganizationalUnitName, &operator.structure),
            (DnType::CommonName, operator.hostname.as_str()),
        ],
        names: &[operator.hostname.as_str()],
        purposes: &[purpose],
        rsa: false,
        not_before: Timestamp::from_millis(SystemClock.now().as_millis() - 86_400_000),
        not_after: ends,
    };
    pki.issue(&leaf, &folder.join("rogue"), stem).unwrap()
}

/// Writes a CRL of one of the two authorities (`ca-root`, `ca-organisations`) with one serial.
pub(super) fn crl(
    folder: &Path,
    authority: &str,
    revoked: Option<&str>,
    lives: Duration,
) -> PathBuf {
    let read = |end: &str| std::fs::read_to_string(folder.join("pki").join(end)).unwrap();
    let key = rcgen::KeyPair::from_pem(&read(&format!("{authority}.key"))).unwrap();
    let certificate = read(&format!("{authority}.pem"));
    let issuer = rcgen::Issuer::from_ca_cert_pem(&certificate, key).unwrap();
    let moment = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let now = SystemClock.now().as_seconds();
    let entry = |serial: &str| {
        let even = format!("{}{serial}", if serial.len().is_multiple_of(2) { "" } else { "0" });
        let octet = |at: usize| u8::from_str_radix(&even[at..at + 2], 16).unwrap();
        let octets: Vec<u8> = (0..even.len()).step_by(2).map(octet).collect();
        rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&octets),
            revocation_time: moment(now - 30),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        }
    };
    let list = rcgen::CertificateRevocationListParams {
        this_update: moment(now - 60),
        next_update: moment(now + lives.as_secs()),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.map(entry).into_iter().collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let file = folder.join(format!("{authority}.crl"));
    std::fs::write(&file, list.signed_by(&issuer).unwrap().der()).unwrap();
    file
}

/// What a certificate in a file says.
pub(super) fn facts_of(files: &PemPair) -> CertificateFacts {
    let leaf = CertificateDer::from_pem_file(&files.certificate).unwrap();
    certificate_facts(&leaf).unwrap()
}

pub(super) fn in_a_year() -> Timestamp {
    SystemClock.now().after(HOUR * 24 * 365)
}

/// An honest letter as another relay sends it: with a Received field in front.
pub(super) fn letter(name: &str) -> String {
    format!(
        "Received: from pc by cabinet.test with ESMTPSA id {name}; Sun, 22 Nov 2026 08:00:00 +0000\r\n\
         From: paul@cabinet.test\r\nTo: hugo@hopital.test\r\nSubject: {name}\r\n\
         Message-ID: <{name}@cabinet.test>\r\n\r\nBonjour, voici {name}.\r\n"
    )
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The other end of a connection. It says what a test wants, however wrong.
pub(super) struct Peer {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Peer {
    pub(super) fn on(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    pub(super) async fn secure(self, tls: &Arc<ClientConfig>) -> std::io::Result<Self> {
        assert!(self.read.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.read));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Ok(Self::on(TlsConnector::from(Arc::clone(tls)).connect(name, self.stream).await?))
    }

    pub(super) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        // Who was hung up on learns it from the reply that does not come.
        let _ = self.stream.write_all(octets.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// A whole reply; empty when the connection has ended.
    pub(super) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") else {
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer).await {
                    Ok(octets @ 1..) => self.read.extend_from_slice(&buffer[..octets]),
                    Ok(0) | Err(_) => return reply,
                }
                continue;
            };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            reply.push_str(std::str::from_utf8(&line).unwrap());
            if line.get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub(super) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    pub(super) async fn expect(&mut self, beginning: &str) {
        let reply = self.reply().await;
        assert!(reply.starts_with(beginning), "expected {beginning}, got {reply:?}");
    }

    pub(super) async fn talk(&mut self, script: &[(&str, &str)]) {
        for (line, beginning) in script {
            let reply = self.ask(line).await;
            assert!(reply.starts_with(beginning), "{line}: expected {beginning}, got {reply:?}");
        }
    }

    /// A letter with DATA; the reply to its content.
    pub(super) async fn deliver(&mut self, content: &str) -> String {
        self.talk(&[(MAIL, "250"), (RCPT, "250"), ("DATA", "354")]).await;
        self.ask(&format!("{content}.")).await
    }

    /// Nothing more comes.
    pub(super) async fn expect_closed(&mut self) {
        assert_eq!(self.reply().await, "", "the connection is still open");
    }
}

/// The session that a refusal names.
pub(super) fn session_of(reply: &str) -> String {
    let (_, rest) = reply.split_once("(session ").unwrap_or_else(|| panic!("no session: {reply}"));
    rest.split(')').next().unwrap().to_owned()
}
