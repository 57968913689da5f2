//! Whose signature counts, and for how long: expired signers, revoked ones, nobody knows.
use std::sync::Arc;

use vaguemestre::demo::pki::SIGNER_COMMON_NAME;
use vaguemestre::domain::certificate::Standing;
use vaguemestre::domain::time::Timestamp;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::Refreshed;
use vaguemestre::infra::trust::SignerWatch;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::TrustSpace;

use super::HOUR;
use super::NobodyAsks;
use super::Publisher;
use super::Watch;
use super::domain;
use super::wait_for;

/// A data folder and a store that outlive a start.
struct House {
    data: tempfile::TempDir,
    store: Arc<SimulatedStore>,
    accept_expired: bool,
}

impl House {
    fn new(accept_expired: bool) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { data, store: Arc::new(SimulatedStore::new(1)), accept_expired }
    }

    fn open(
        &self,
        publisher: &Publisher,
        watch: &dyn SignerWatch,
        now: Timestamp,
    ) -> Result<TrustSpace, TrustError> {
        let mut settings = publisher.settings(self.data.path().to_owned());
        settings.accept_expired_signer = self.accept_expired;
        wait_for(TrustSpace::open(settings, self.store.clone(), watch, now))
    }
}

fn expired(publisher: &Publisher) -> Vec<u8> {
    publisher.signed_by(&publisher.pki, SIGNER_COMMON_NAME, |leaf| {
        leaf.not_after = Timestamp::from_millis(publisher.now.as_millis() - 60_000);
    })
}

#[test]
fn an_expired_signer_is_refused_with_its_date_and_taken_only_when_the_operator_says_so() {
    let publisher = Publisher::new();
    publisher.publish(expired(&publisher));
    let refused = House::new(false).open(&publisher, &NobodyAsks, publisher.now);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("has expired on 20"), "{error}");
    assert!(error.contains("trust.accept_expired_signer"), "{error}");

    let house = House::new(true);
    let space = house.open(&publisher, &NobodyAsks, publisher.now).unwrap();
    let kept = wait_for(space.kept_versions()).unwrap();
    assert!(kept[0].signer_expired, "it is written down for ever");
}

#[test]
fn the_override_forgives_the_date_and_nothing_else() {
    let publisher = Publisher::new();
    let other = tempfile::tempdir().unwrap();
    let stranger = vaguemestre::demo::pki::DemoPki::create(
        other.path(),
        &super::operators(),
        super::loopback(),
        publisher.now,
    );
    let past = Timestamp::from_millis(publisher.now.as_millis() - 60_000);
    for (what, document) in [
        (
            "another authority",
            publisher.signed_by(&stranger.unwrap(), SIGNER_COMMON_NAME, |leaf| {
                leaf.not_after = past;
            }),
        ),
        (
            "another name",
            publisher.signed_by(&publisher.pki, "mallory.test", |leaf| {
                leaf.names = &["mallory@mssante.test"];
                leaf.not_after = past;
            }),
        ),
        ("a changed octet", {
            let text = String::from_utf8(expired(&publisher)).unwrap();
            text.replace("evil.mssante.test", "live.mssante.test").into_bytes()
        }),
    ] {
        publisher.publish(document);
        let opened = House::new(true).open(&publisher, &NobodyAsks, publisher.now);
        assert!(matches!(opened.err(), Some(TrustError::Signature(_))), "{what}");
    }
}

#[test]
fn a_list_that_was_good_stays_good_when_its_signer_expires() {
    let publisher = Publisher::new();
    publisher.publish_list(0, &["a.test"]);
    let house = House::new(false);
    house.open(&publisher, &NobodyAsks, publisher.now).unwrap();
    std::fs::remove_file(publisher.file()).unwrap();
    // Years later, in a house that was closed in between.
    let space = house.open(&publisher, &NobodyAsks, publisher.now.after(HOUR * 24 * 365 * 5));
    assert!(space.unwrap().list().lists(&domain("a.test")));
}

#[test]
fn a_revoked_signer_is_refused_and_one_of_whom_nobody_knows_is_put_off() {
    let publisher = Publisher::new();
    publisher.publish_list(0, &["a.test"]);
    let watch = Watch::saying(Standing::Revoked(publisher.now));
    let house = House::new(false);
    let first = house.open(&publisher, &watch, publisher.now);
    assert!(matches!(first.err(), Some(TrustError::SignerRevoked(_))));
    *watch.standing.lock().unwrap() = Standing::Unknown;
    let first = house.open(&publisher, &watch, publisher.now);
    assert!(matches!(first.err(), Some(TrustError::SignerUnknown(_))));

    *watch.standing.lock().unwrap() = Standing::Good;
    let space = house.open(&publisher, &watch, publisher.now).unwrap();
    let path = watch.asked.lock().unwrap().clone();
    assert!(path.len() >= 2, "the signer's certificate and its authority");

    publisher.publish_list(1, &["a.test", "b.test"]);
    *watch.standing.lock().unwrap() = Standing::Revoked(publisher.now);
    let error = wait_for(space.refresh(&watch, publisher.now)).unwrap_err();
    assert!(matches!(error, TrustError::SignerRevoked(_)), "{error}");
    *watch.standing.lock().unwrap() = Standing::Unknown;
    let error = wait_for(space.refresh(&watch, publisher.now)).unwrap_err();
    assert!(error.to_string().contains("the responder is away"), "{error}");
    assert!(!space.list().lists(&domain("b.test")), "the active list stays");
    let state = space.state(publisher.now);
    assert_eq!((state.fetching.failures_in_a_row, state.fetching.failures), (2, 2));
    assert_eq!(wait_for(space.kept_versions()).unwrap().len(), 1, "what is refused is not kept");

    *watch.standing.lock().unwrap() = Standing::Good;
    let refreshed = wait_for(space.refresh(&watch, publisher.now)).unwrap();
    assert_eq!(refreshed, Refreshed::Replaced(2));
    assert_eq!(space.state(publisher.now).fetching.failures_in_a_row, 0);
}
