//! A list of the size of the real one: 8,655 entries in June 2026.
use std::sync::Arc;

use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::clock::Clock;
use vaguemestre::infra::clock::SystemClock;
use vaguemestre::infra::net::load_anchors;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::TrustSpace;
use vaguemestre::infra::trust::verified;
use vaguemestre::proto::trust_list;

use super::NobodyAsks;
use super::Publisher;
use super::dn;
use super::domain;
use super::list;
use super::wait_for;

const ENTRIES: usize = 8_655;

fn national(publisher: &Publisher) -> Vec<u8> {
    let mut listed = list(publisher.now, &[]);
    for n in 0..ENTRIES {
        let dn = dn(&format!("smtp-{}.operateur-{}.example.fr", n % 2, n % 321));
        listed.domains.insert(domain(&format!("etablissement-{n}.mssante.test")), [dn].into());
    }
    publisher.pki.sign_trust_list(&listed).unwrap()
}

#[test]
fn a_national_list_is_taken_and_found_again_after_a_restart() {
    let publisher = Publisher::new();
    publisher.publish(national(&publisher));
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(SimulatedStore::new(1));
    let open = |now: Timestamp| {
        let settings = publisher.settings(data.path().to_owned());
        wait_for(TrustSpace::open(settings, store.clone(), &NobodyAsks, now)).unwrap()
    };
    assert_eq!(open(publisher.now).list().domains.len(), ENTRIES);
    std::fs::remove_file(publisher.file()).unwrap();
    assert_eq!(open(publisher.now).list().domains.len(), ENTRIES);
}

/// `cargo test --release --test all national -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for an optimised build on a quiet machine"]
fn how_long_a_national_list_takes() {
    const TIMES: u32 = 10;
    let publisher = Publisher::new();
    let document = national(&publisher);
    let rule = publisher.pki.signer_rule();
    let anchors = load_anchors(&rule.anchors).unwrap();
    let start = SystemClock.now();
    for _ in 0..TIMES {
        let verified = verified(&document, &rule, &anchors, false, publisher.now).unwrap();
        assert_eq!(trust_list::read(&verified.bytes).unwrap().entries, ENTRIES);
    }
    let each = SystemClock.now().since(start) / TIMES;
    println!("{} octets, {ENTRIES} entries: verified and read in {each:?}", document.len());
    assert!(cfg!(debug_assertions) || each < std::time::Duration::from_secs(1), "{each:?}");
}
