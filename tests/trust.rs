//! The signed list of operators: what is taken, what is refused, and that xmlsec1 agrees.
#[path = "trust/commands.rs"]
mod commands;
#[path = "trust/fetching.rs"]
mod fetching;
#[path = "trust/interop.rs"]
mod interop;
#[path = "trust/national.rs"]
mod national;
#[path = "trust/quirks.rs"]
mod quirks;
#[path = "trust/signatures.rs"]
mod signatures;
#[path = "trust/signers.rs"]
mod signers;
#[path = "trust/staging.rs"]
mod staging;
#[path = "trust/vector.rs"]
mod vector;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::demo::pki::SIGNER_EMAIL;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::certificate::RevocationEvidence;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::Refreshed;
use vaguemestre::infra::trust::Settings;
use vaguemestre::infra::trust::SignerWatch;
use vaguemestre::infra::trust::Source;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::TrustSpace;
use vaguemestre::proto::trust_list;

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// An authority, a signer and a file to publish in.
struct Publisher {
    folder: tempfile::TempDir,
    pki: DemoPki,
    now: Timestamp,
}

impl Publisher {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // xmlsec1 goes by the machine's clock, so this test does too.
        let now = SystemClock.now();
        let pki = DemoPki::create(&folder.path().join("pki"), &operators(), loopback(), now);
        Self { folder, pki: pki.unwrap(), now }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("list.xml")
    }

    fn publish(&self, document: impl AsRef<[u8]>) {
        std::fs::write(self.file(), document).unwrap();
    }

    /// A first start, with nothing kept.
    fn load(&self) -> Result<TrustSpace, TrustError> {
        let data = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let store = Arc::new(SimulatedStore::new(1));
        wait_for(TrustSpace::open(self.settings(data), store, &NobodyAsks, self.now))
    }

    /// As the configuration has it by default, with this data folder.
    fn settings(&self, data: PathBuf) -> Settings {
        Settings {
            source: Source::File(self.file()),
            signer: self.pki.signer_rule(),
            accept_expired_signer: false,
            removals_percent: 5,
            age_warning: HOUR * 24,
            age_alarm: HOUR * 72,
            age_limit: None,
            folder: data.join("trust"),
            plain_copy: data.join("trust-list.xml"),
        }
    }

    fn refresh(&self, space: &TrustSpace) -> Result<Refreshed, TrustError> {
        wait_for(space.refresh(&NobodyAsks, self.now))
    }

    /// Publishes a list of these domains, made so many hours from now.
    fn publish_list(&self, hours: u32, names: &[&str]) {
        let list = list(self.now.after(HOUR * hours), names);
        self.publish(self.pki.sign_trust_list(&list).unwrap());
    }

    /// What becomes of `document` when a good list is active: the error, after checking that
    /// the active list stayed.
    fn refused(&self, document: impl AsRef<[u8]>) -> TrustError {
        self.publish(self.pki.sign_trust_list(&list(self.now, &["good.mssante.test"])).unwrap());
        let space = self.load().unwrap();
        let before = space.list();
        self.publish(document);
        let error = self.refresh(&space).expect_err("the document was taken");
        assert_eq!(space.list(), before, "the active list changed");
        assert!(self.load().is_err(), "a start took what a refresh refused");
        error
    }

    /// A list signed by a certificate with these properties.
    fn signed_by(
        &self,
        pki: &DemoPki,
        common_name: &str,
        change: impl FnOnce(&mut Leaf<'_>),
    ) -> Vec<u8> {
        let subject = [(rcgen::DnType::CommonName, common_name)];
        let mut leaf = Leaf {
            subject: &subject,
            names: &[SIGNER_EMAIL],
            purposes: &[rcgen::ExtendedKeyUsagePurpose::EmailProtection],
            rsa: true,
            not_before: Timestamp::from_millis(self.now.as_millis() - 3_600_000),
            not_after: self.now.after(YEAR),
        };
        change(&mut leaf);
        let files = pki.issue(&leaf, self.folder.path(), "other-signer").unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_file(&files.key).unwrap();
        let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
        let text = trust_list::write(&list(self.now, &["evil.mssante.test"]));
        vaguemestre::demo::pki::sign(&text, &key, &certificate).unwrap()
    }

    /// A canonical text, signed by the signer.
    fn sign(&self, text: &str) -> Vec<u8> {
        let stem = self.folder.path().join("pki/list-signer");
        let key = PrivatePkcs8KeyDer::from_pem_file(stem.with_extension("key")).unwrap();
        let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let certificate = CertificateDer::from_pem_file(stem.with_extension("pem")).unwrap();
        vaguemestre::demo::pki::sign(text, &key, &certificate).unwrap()
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// `revocation.mode = "off"`.
struct NobodyAsks;

#[async_trait]
impl SignerWatch for NobodyAsks {
    async fn evidence(&self, _: &[CertificateDer<'static>], _: Timestamp) -> RevocationEvidence {
        RevocationEvidence::not_asked()
    }
}

/// Says what a test tells it to, and remembers the path that it was asked about.
struct Watch {
    standing: Mutex<Standing>,
    asked: Mutex<Vec<CertificateDer<'static>>>,
}

impl Watch {
    fn saying(standing: Standing) -> Self {
        Self { standing: Mutex::new(standing), asked: Mutex::default() }
    }
}

#[async_trait]
impl SignerWatch for Watch {
    async fn evidence(&self, path: &[CertificateDer<'static>], _: Timestamp) -> RevocationEvidence {
        *self.asked.lock().unwrap() = path.to_vec();
        let standing = *self.standing.lock().unwrap();
        let trouble = "the responder is away".to_owned();
        RevocationEvidence { standing, trouble, ..RevocationEvidence::not_asked() }
    }
}

fn loopback() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

fn operators() -> Vec<DemoOperator> {
    vec![DemoOperator {
        name: "hopital".to_owned(),
        hostname: domain("mx.hopital.mssante.test"),
        structure: "1990000101".to_owned(),
        organisation: "HOPITAL DEMO".to_owned(),
    }]
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn dn(common_name: &str) -> OperatorDn {
    OperatorDn::new([("CN", common_name), ("OU", "1990000101"), ("O", "R&D <x>"), ("C", "FR")])
}

fn list(generated: Timestamp, names: &[&str]) -> TrustList {
    let generated = Timestamp::from_seconds(generated.as_seconds());
    let domains: BTreeMap<_, _> =
        names.iter().map(|name| (domain(name), BTreeSet::from([dn("mx.test")]))).collect();
    TrustList { generated, domains }
}

#[test]
fn a_younger_list_replaces_the_active_one_and_an_older_one_never_does() {
    let publisher = Publisher::new();
    let younger = publisher.now.after(HOUR);
    publisher.publish(publisher.pki.sign_trust_list(&list(publisher.now, &["a.test"])).unwrap());
    let space = publisher.load().unwrap();
    assert_eq!(publisher.refresh(&space).unwrap(), Refreshed::Unchanged);

    let signed = publisher.pki.sign_trust_list(&list(younger, &["a.test", "b.test"])).unwrap();
    publisher.publish(signed);
    assert_eq!(publisher.refresh(&space).unwrap(), Refreshed::Replaced(2));
    assert!(space.list().lists(&domain("b.test")));

    publisher.publish(publisher.pki.sign_trust_list(&list(publisher.now, &["c.test"])).unwrap());
    assert!(matches!(publisher.refresh(&space), Err(TrustError::Rollback(_))));
    assert!(space.list().lists(&domain("b.test")));
}

#[test]
fn a_missing_or_unreadable_file_keeps_the_active_list() {
    let publisher = Publisher::new();
    publisher.publish(publisher.pki.sign_trust_list(&list(publisher.now, &["a.test"])).unwrap());
    let space = publisher.load().unwrap();
    std::fs::remove_file(publisher.file()).unwrap();
    assert!(matches!(publisher.refresh(&space), Err(TrustError::File { .. })));
    assert!(space.list().lists(&domain("a.test")));
    assert!(matches!(publisher.load(), Err(TrustError::File { .. })));
}

#[test]
fn a_list_without_entries_is_refused_although_it_is_signed() {
    let publisher = Publisher::new();
    let empty = publisher.pki.sign_trust_list(&list(publisher.now.after(HOUR), &[])).unwrap();
    assert!(matches!(publisher.refused(empty), TrustError::Form(_)));
}

#[test]
fn too_large_a_file_is_refused() {
    let publisher = Publisher::new();
    let large = vec![b' '; vaguemestre::domain::limits::TRUST_LIST_OCTETS_MAX + 1];
    assert!(matches!(publisher.refused(large), TrustError::File { .. }));
}

#[test]
fn a_peer_is_judged_by_its_name_and_the_domain_it_speaks_for() {
    let mut listed = list(Timestamp::from_seconds(0), &["a.test", "b.test"]);
    listed.domains.insert(domain("c.test"), BTreeSet::from([dn("other.test"), dn("third.test")]));
    let space = TrustSpace::fixed(listed);
    let judge = |name: &str, of: Option<&str>| space.judge_peer(&dn(name), of.map(domain).as_ref());
    assert_eq!(judge("mx.test", Some("a.test")), Ok(()));
    assert_eq!(judge("MX.TEST", Some("b.test")), Ok(()));
    assert_eq!(judge("third.test", Some("c.test")), Ok(()));
    assert_eq!(judge("mx.test", Some("c.test")), Err(Refusal::PeerDomainMismatch));
    assert_eq!(judge("mx.test", Some("sub.a.test")), Err(Refusal::PeerDomainMismatch));
    assert_eq!(judge("mx.test", Some("unlisted.test")), Err(Refusal::PeerDomainMismatch));
    assert_eq!(judge("mx.test", None), Ok(()), "a report is judged by the name alone");
    assert_eq!(judge("nobody.test", Some("a.test")), Err(Refusal::PeerNotListed));
    assert_eq!(judge("nobody.test", None), Err(Refusal::PeerNotListed));
}
