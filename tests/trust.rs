//! The signed list of operators: what is taken, what is refused, and that xmlsec1 agrees.
#[path = "trust/interop.rs"]
mod interop;
#[path = "trust/vector.rs"]
mod vector;
#[path = "trust/signatures.rs"]
mod signatures;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use vaguemestre::demo::pki::DemoOperator;
use vaguemestre::demo::pki::DemoPki;
use vaguemestre::demo::pki::Leaf;
use vaguemestre::demo::pki::SIGNER_EMAIL;
use vaguemestre::domain::address::Domain;
use vaguemestre::domain::operator::OperatorDn;
use vaguemestre::domain::operator::TrustList;
use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::trust::Refreshed;
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

    fn load(&self) -> Result<TrustSpace, TrustError> {
        TrustSpace::load(self.file(), self.pki.signer_rule(), self.now)
    }

    /// What becomes of `document` when a good list is active: the error, after checking that
    /// the active list stayed.
    fn refused(&self, document: impl AsRef<[u8]>) -> TrustError {
        self.publish(self.pki.sign_trust_list(&list(self.now, &["good.mssante.test"])).unwrap());
        let space = self.load().unwrap();
        let before = space.list();
        self.publish(document);
        let error = space.refresh(self.now).expect_err("the document was taken");
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
    assert_eq!(space.refresh(publisher.now).unwrap(), Refreshed::Unchanged);

    let signed = publisher.pki.sign_trust_list(&list(younger, &["a.test", "b.test"])).unwrap();
    publisher.publish(signed);
    assert_eq!(space.refresh(publisher.now).unwrap(), Refreshed::Replaced(2));
    assert!(space.list().lists(&domain("b.test")));

    publisher.publish(publisher.pki.sign_trust_list(&list(publisher.now, &["c.test"])).unwrap());
    assert!(matches!(space.refresh(publisher.now), Err(TrustError::Rollback(_))));
    assert!(space.list().lists(&domain("b.test")));
}

#[test]
fn a_missing_or_unreadable_file_keeps_the_active_list() {
    let publisher = Publisher::new();
    publisher.publish(publisher.pki.sign_trust_list(&list(publisher.now, &["a.test"])).unwrap());
    let space = publisher.load().unwrap();
    std::fs::remove_file(publisher.file()).unwrap();
    assert!(matches!(space.refresh(publisher.now), Err(TrustError::File { .. })));
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
fn a_restart_neither_goes_back_in_time_nor_stops_for_a_damaged_file() {
    let publisher = Publisher::new();
    let kept = publisher.folder.path().join("kept.xml");
    let start = || {
        TrustSpace::load_keeping(
            publisher.file(),
            publisher.pki.signer_rule(),
            kept.clone(),
            publisher.now,
        )
    };
    let older = publisher.pki.sign_trust_list(&list(publisher.now, &["old.test"])).unwrap();
    let younger =
        publisher.pki.sign_trust_list(&list(publisher.now.after(HOUR), &["new.test"])).unwrap();
    publisher.publish(&older);
    let space = start().unwrap();
    publisher.publish(&younger);
    assert_eq!(space.refresh(publisher.now).unwrap(), Refreshed::Replaced(1));
    drop(space);

    publisher.publish(&older);
    assert!(start().unwrap().list().lists(&domain("new.test")), "back in time");
    publisher.publish("rubbish");
    assert!(start().unwrap().list().lists(&domain("new.test")), "stopped by rubbish");
    std::fs::write(&kept, "rubbish").unwrap();
    assert!(start().is_err(), "started without a good list");
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

#[test]
fn a_national_list_is_verified_and_read_within_seconds() {
    let publisher = Publisher::new();
    let names: Vec<String> = (0..8_655).map(|n| format!("chu-{n}.mssante.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let signed = publisher.pki.sign_trust_list(&list(publisher.now, &names)).unwrap();
    publisher.publish(&signed);
    let start = SystemClock.now();
    let space = publisher.load().unwrap();
    let elapsed = SystemClock.now().since(start);
    println!("{} octets, 8655 entries verified and read in {elapsed:?}", signed.len());
    assert_eq!(space.list().domains.len(), 8_655);
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}
