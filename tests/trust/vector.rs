//! A list that other programs made, with the oddities of the published one.
use std::path::Path;
use std::sync::Arc;

use vaguemestre::domain::status::Refusal;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::net::TestAuthorities;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::Settings;
use vaguemestre::infra::trust::SignerRule;
use vaguemestre::infra::trust::Source;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::TrustSpace;
use vaguemestre::infra::trust::verified_bytes;
use vaguemestre::proto::trust_list;

use super::HOUR;
use super::NobodyAsks;
use super::OperatorDn;
use super::YEAR;
use super::domain;
use super::wait_for;

/// 2026-12-01T00:00:00Z.
const WHEN: Timestamp = Timestamp::from_seconds(1_796_083_200);

fn vector(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/trust").join(name)
}

fn rule() -> SignerRule {
    SignerRule {
        anchors: vec![vector("anchors.pem")],
        common_name: None,
        email: Some("ALB@mssante.test".to_owned()),
        tests: TestAuthorities::Refused,
    }
}

fn load(signer: SignerRule, now: Timestamp) -> Result<TrustSpace, TrustError> {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        source: Source::File(vector("list.xml")),
        signer,
        accept_expired_signer: false,
        removals_percent: 5,
        age_warning: HOUR * 24,
        age_alarm: HOUR * 72,
        age_limit: None,
        folder: data.path().join("trust"),
        plain_copy: data.path().join("trust-list.xml"),
    };
    wait_for(TrustSpace::open(settings, Arc::new(SimulatedStore::new(1)), &NobodyAsks, now))
}

#[test]
fn a_list_of_other_makers_is_read_with_all_its_oddities() {
    let space = load(rule(), WHEN).unwrap();
    let list = space.list();
    assert_eq!(list.domains.len(), 5);
    let of = |name: &str| list.domains.get(&domain(name)).map_or(0, |listed| listed.len());
    assert_eq!(of("chu-vector.mssante.test"), 2);
    assert_eq!(of("uc-vector.mssante.test"), 1);
    assert_eq!(of("dn-vide.mssante.test"), 0);

    // As certificates write it: the other way round, one space, other letter cases.
    let peer = OperatorDn::new([
        ("C", "FR"),
        ("ST", "Rhône (69)"),
        ("O", "Groupement \"X\" de santé, site A"),
        ("OU", "318003502400041"),
        ("CN", "smtp-1.vector.test"),
    ]);
    let judge = |name: &str| space.judge_peer(&peer, Some(&domain(name)));
    assert_eq!(judge("CHU-vector.mssante.test"), Ok(()));
    assert_eq!(judge("uc-vector.mssante.test"), Err(Refusal::PeerDomainMismatch));
}

#[test]
fn what_cannot_be_read_in_it_is_counted() {
    let anchors = load_anchors(&rule().anchors).unwrap();
    let document = std::fs::read(vector("list.xml")).unwrap();
    let bytes = verified_bytes(&document, &rule(), &anchors, WHEN).unwrap();
    let reading = trust_list::read(&bytes).unwrap();
    assert_eq!((reading.entries, reading.skipped), (9, 2));
}

#[test]
fn nobody_signs_for_ever_and_nobody_signs_unconfigured() {
    assert!(load(rule(), WHEN.after(YEAR * 3)).is_err());
    let nobody = SignerRule { email: None, ..rule() };
    assert!(load(nobody, WHEN).is_err());
    let other =
        SignerRule { common_name: Some("alb.mssante.fr".to_owned()), email: None, ..rule() };
    assert!(load(other, WHEN).is_err());
}
