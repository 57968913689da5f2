//! What a new list changes at once, what waits for a person, and that a restart at any moment
//! goes on from there.
use std::path::PathBuf;
use std::sync::Arc;

use vaguemestre::domain::status::Refusal;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::simulated::SimulatedStore;
use vaguemestre::infra::trust::Age;
use vaguemestre::infra::trust::Refreshed;
use vaguemestre::infra::trust::Settings;
use vaguemestre::infra::trust::TrustError;
use vaguemestre::infra::trust::TrustSpace;

use super::HOUR;
use super::NobodyAsks;
use super::Publisher;
use super::dn;
use super::domain;
use super::list;
use super::wait_for;

/// A publisher, and a relay's data folder and store that outlive its kills.
struct House {
    publisher: Publisher,
    data: PathBuf,
    store: Arc<SimulatedStore>,
    space: Option<TrustSpace>,
}

impl House {
    fn new() -> Self {
        let publisher = Publisher::new();
        let data = publisher.folder.path().join("data");
        Self { publisher, data, store: Arc::new(SimulatedStore::new(7)), space: None }
    }

    fn settings(&self) -> Settings {
        self.publisher.settings(self.data.clone())
    }

    fn try_open(&mut self) -> Result<(), TrustError> {
        self.space = None;
        let settings = self.settings();
        let now = self.publisher.now;
        let opening = TrustSpace::open(settings, self.store.clone(), &NobodyAsks, now);
        self.space = Some(wait_for(opening)?);
        Ok(())
    }

    /// Killed, and started again while the source is away.
    fn kill_and_start(&mut self) {
        self.store.crash();
        self.store = Arc::new(self.store.reopen());
        let away = self.publisher.folder.path().join("away.xml");
        let _ = std::fs::rename(self.publisher.file(), &away);
        self.try_open().unwrap();
        let _ = std::fs::rename(away, self.publisher.file());
    }

    fn space(&self) -> &TrustSpace {
        self.space.as_ref().unwrap()
    }

    /// A list of these hundred-odd domains, made so many hours from now; what a refresh says.
    fn offer(&self, hours: u32, numbers: impl IntoIterator<Item = usize>) -> Refreshed {
        self.put(hours, numbers);
        self.publisher.refresh(self.space()).unwrap()
    }

    fn put(&self, hours: u32, numbers: impl IntoIterator<Item = usize>) {
        let names: Vec<String> = numbers.into_iter().map(|n| format!("d{n}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.publisher.publish_list(hours, &names);
    }

    fn approve(&self, version: Option<&str>) -> Result<(), TrustError> {
        let plan = wait_for(self.space().plan_approval(version))?;
        wait_for(self.space().carry_out(plan, Batch::new(), self.publisher.now))
    }

    fn roll_back(&self, version: Option<&str>) -> Result<(), TrustError> {
        let plan = wait_for(self.space().plan_rollback(version))?;
        wait_for(self.space().carry_out(plan, Batch::new(), self.publisher.now))
    }

    fn counts(&self, number: usize) -> bool {
        self.space().list().lists(&domain(&format!("d{number}.test")))
    }

    fn pairs(&self) -> usize {
        self.space().state(self.publisher.now).pairs
    }

    /// The same questions before and after a kill: the answers must be the same.
    fn survives_a_kill(&mut self) {
        let look = |house: &Self| {
            let state = house.space().state(house.publisher.now);
            let waiting = state.waiting.clone();
            (house.space().list(), state.active, state.rolled_back, waiting, state.since)
        };
        let before = look(self);
        self.kill_and_start();
        assert_eq!(look(self), before);
    }
}

#[test]
fn additions_and_few_removals_count_at_once_and_after_a_kill() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    assert_eq!(house.offer(1, 3..110), Refreshed::Replaced(107));
    assert!(!house.counts(0) && house.counts(109));
    house.survives_a_kill();
    assert_eq!(wait_for(house.space().kept_versions()).unwrap().len(), 2);
    assert!(house.approve(None).unwrap_err().to_string().contains("nothing waits"));
}

#[test]
fn removals_in_mass_are_held_until_somebody_approves() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    assert_eq!(house.offer(1, 50..150), Refreshed::Held(50));
    assert_eq!(house.pairs(), 150, "additions count, removals wait");
    assert_eq!(house.space().judge_peer(&dn("mx.test"), Some(&domain("d0.test"))), Ok(()));
    let waiting = house.space().state(house.publisher.now).waiting.unwrap();
    assert_eq!((waiting.whole, waiting.pairs, waiting.domains), (false, 50, 50));
    assert_eq!(waiting.version, house.space().version());
    assert!(house.space().entries(&domain("d0.test"))[0].1, "it is shown as held");
    house.survives_a_kill();
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Unchanged);

    house.approve(None).unwrap();
    assert_eq!((house.pairs(), house.counts(0)), (100, false));
    let verdict = house.space().judge_peer(&dn("mx.test"), Some(&domain("d0.test")));
    assert_eq!(verdict, Err(Refusal::PeerDomainMismatch));
    assert_eq!(house.space().state(house.publisher.now).waiting, None);
    house.survives_a_kill();
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Unchanged);
}

#[test]
fn held_removals_end_when_a_later_list_has_them_again() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    assert_eq!(house.offer(1, 50..100), Refreshed::Held(50));
    assert_eq!(house.offer(2, 25..100), Refreshed::Held(25));
    house.survives_a_kill();
    assert_eq!(house.offer(3, 0..100), Refreshed::Replaced(100));
    assert_eq!(house.space().state(house.publisher.now).waiting, None);
    house.survives_a_kill();
}

#[test]
fn a_rollback_keeps_the_rejected_list_out_and_younger_ones_waiting() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    let first = house.space().version();
    assert_eq!(house.offer(1, 0..101), Refreshed::Replaced(101));
    let second = house.space().version();
    house.roll_back(None).unwrap();
    assert_eq!(house.space().version(), first);
    assert!(!house.counts(100));
    house.survives_a_kill();
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Rejected);
    assert_eq!(house.space().version(), first);

    // Additions wait too, for nobody knows what was wrong.
    assert_eq!(house.offer(2, 0..120), Refreshed::Waits);
    assert!(!house.counts(110));
    let waiting = house.space().state(house.publisher.now).waiting.unwrap();
    assert!(waiting.whole && waiting.version > second);
    house.survives_a_kill();
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Unchanged);
    // The youngest one waits.
    assert_eq!(house.offer(3, 0..121), Refreshed::Waits);

    house.approve(None).unwrap();
    assert!(house.counts(120) && house.pairs() == 121);
    assert!(!house.space().state(house.publisher.now).rolled_back);
    house.survives_a_kill();
    assert_eq!(house.offer(4, 0..122), Refreshed::Replaced(122), "back to normal");
}

#[test]
fn held_removals_can_be_rolled_back_and_a_rejected_list_can_be_approved_by_name() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    assert_eq!(house.offer(1, 50..100), Refreshed::Held(50));
    let rejected = house.space().version();
    house.roll_back(None).unwrap();
    assert_eq!(house.pairs(), 100);
    assert_eq!(house.space().state(house.publisher.now).waiting, None);
    house.survives_a_kill();
    assert!(house.roll_back(None).is_err(), "nothing is earlier");
    assert!(house.roll_back(Some(&rejected.short())).is_err(), "that is younger");
    house.approve(Some(&rejected.short())).unwrap();
    assert_eq!((house.pairs(), house.space().version()), (50, rejected));
    house.survives_a_kill();
    assert!(!wait_for(house.space().kept_versions()).unwrap()[0].rejected);
}

#[test]
fn versions_are_named_by_digest_or_date_and_never_guessed() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    let first = house.space().version();
    house.offer(1, 0..11);
    let by = |text: &str| wait_for(house.space().kept_list(text)).map(|(version, _)| version);
    assert_eq!(by(&first.short()).unwrap(), first);
    assert_eq!(by(&first.generated.to_string()).unwrap(), first);
    for (text, says) in [("20", "too short"), ("2026", "may mean"), ("ffffffffffff", "no kept")] {
        let year = first.generated.to_string()[..4].to_owned();
        let text = if text == "2026" { year.as_str() } else { text };
        let error = by(text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_plan_is_not_carried_out_after_something_else_changed() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    house.offer(1, 50..100);
    let plan = wait_for(house.space().plan_approval(None)).unwrap();
    assert_eq!(house.offer(2, 0..100), Refreshed::Replaced(100));
    let done = wait_for(house.space().carry_out(plan, Batch::new(), house.publisher.now));
    assert!(matches!(done, Err(TrustError::Changed)));
    assert_eq!(house.pairs(), 100);
}

#[test]
fn what_an_administrator_did_is_kept_in_the_same_commit_or_nothing_is_done() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    house.offer(1, 50..100);
    let mut note = Batch::new();
    note.put(b"J/note".to_vec(), b"why".to_vec());
    let plan = wait_for(house.space().plan_approval(None)).unwrap();
    house.store.fail_next_sync();
    let now = house.publisher.now;
    assert!(wait_for(house.space().carry_out(plan, note.clone(), now)).is_err());
    assert_eq!(house.pairs(), 100, "what counts is what is durable");
    assert!(wait_for(house.store.get(b"J/note")).unwrap().is_none());
    house.kill_and_start();
    assert_eq!(house.pairs(), 100);
    let plan = wait_for(house.space().plan_approval(None)).unwrap();
    wait_for(house.space().carry_out(plan, note, now)).unwrap();
    assert!(wait_for(house.store.get(b"J/note")).unwrap().is_some());
}

#[test]
fn a_full_disk_keeps_the_active_list() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    house.store.set_full(true);
    house.put(1, 0..110);
    assert!(house.publisher.refresh(house.space()).is_err());
    assert_eq!(house.pairs(), 100);
    house.store.set_full(false);
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Replaced(110));
    assert_eq!(wait_for(house.space().kept_versions()).unwrap().len(), 2);
}

#[test]
fn a_restart_neither_goes_back_in_time_nor_stops_for_a_damaged_file() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    house.offer(1, 0..11);
    house.put(0, 0..10);
    house.try_open().unwrap();
    assert!(house.counts(10), "back in time");
    assert!(matches!(house.publisher.refresh(house.space()), Err(TrustError::Rollback(_))));
    house.publisher.publish("rubbish");
    house.try_open().unwrap();
    assert!(house.counts(10), "stopped by rubbish");
    let active = std::fs::read(house.data.join("trust-list.xml")).unwrap();
    assert!(active.starts_with(b"<?xml"), "a plain copy for readers");
}

#[test]
fn a_damaged_file_of_the_active_list_is_replaced_by_an_earlier_one_and_healed_by_the_source() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    house.offer(1, 0..101);
    let newest = house.space().version();
    let kept = std::fs::read_dir(house.data.join("trust")).unwrap();
    let file = kept
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(&newest.short()))
        .unwrap();
    std::fs::write(&file, "spoiled").unwrap();
    house.kill_and_start();
    assert_eq!((house.pairs(), house.counts(100)), (100, false));
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Replaced(101));
    house.survives_a_kill();
    assert_eq!(house.space().version(), newest);

    // With nothing left on the disk, the source's list is a first one.
    std::fs::remove_dir_all(house.data.join("trust")).unwrap();
    house.try_open().unwrap();
    assert_eq!(house.space().version(), newest);
    // And with nothing left anywhere there is no start.
    std::fs::remove_dir_all(house.data.join("trust")).unwrap();
    std::fs::remove_file(house.publisher.file()).unwrap();
    assert!(house.try_open().is_err());
}

#[test]
fn a_half_written_file_of_a_crash_is_cleared_away() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    let half = house.data.join("trust/20991231T000000Z-00000000.xml.gz.new");
    std::fs::write(&half, "half").unwrap();
    house.kill_and_start();
    assert!(!half.exists());
}

#[test]
fn a_list_from_the_future_is_refused_and_one_of_a_clock_that_is_ahead_is_taken() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    house.put(25, 0..11);
    let error = house.publisher.refresh(house.space()).unwrap_err();
    assert!(error.to_string().contains("ahead of this machine's clock"), "{error}");
    assert_eq!(house.offer(23, 0..11), Refreshed::Replaced(11));
}

#[test]
fn the_same_document_is_kept_once() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    house.publisher.refresh(house.space()).unwrap();
    house.try_open().unwrap();
    assert_eq!(wait_for(house.space().kept_versions()).unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(house.data.join("trust")).unwrap().count(), 1);
}

#[test]
fn the_age_is_told_in_steps_and_an_expired_list_says_so() {
    let mut house = House::new();
    house.put(0, 0..10);
    house.try_open().unwrap();
    let made = house.space().version().generated;
    let at = |hours: u32| house.space().state(made.after(HOUR * hours)).age_level;
    assert_eq!([at(0), at(23), at(24), at(71), at(72)], {
        [Age::Good, Age::Good, Age::Warning, Age::Warning, Age::Alarm]
    });
    assert!(!house.space().is_expired(made.after(HOUR * 10_000)), "no limit is configured");

    let mut settings = house.settings();
    settings.age_limit = Some(HOUR * 96);
    let opening = TrustSpace::open(settings, house.store.clone(), &NobodyAsks, house.publisher.now);
    let space = wait_for(opening).unwrap();
    assert!(!space.is_expired(made.after(HOUR * 96)));
    assert!(space.is_expired(made.after(HOUR * 97)));
    assert_eq!(space.state(made.after(HOUR * 97)).age_level, Age::Expired);
    let young = list(made.after(HOUR * 20), &["d0.test"]);
    house.publisher.publish(house.publisher.pki.sign_trust_list(&young).unwrap());
    let _ = wait_for(space.refresh(&NobodyAsks, made.after(HOUR * 20)));
    assert!(!space.is_expired(made.after(HOUR * 97)), "a younger list counts anew");
}

#[test]
fn a_certificate_taken_off_the_list_stops_counting_with_the_next_question() {
    let mut house = House::new();
    let mut both = list(house.publisher.now, &["a.test", "b.test"]);
    both.domains.insert(domain("a.test"), [dn("old.test"), dn("new.test")].into());
    house.publisher.publish(house.publisher.pki.sign_trust_list(&both).unwrap());
    let mut settings = house.settings();
    settings.removals_percent = 50;
    let opening = TrustSpace::open(settings, house.store.clone(), &NobodyAsks, house.publisher.now);
    house.space = Some(wait_for(opening).unwrap());
    let verdict =
        |house: &House| house.space().judge_with_evidence(&dn("old.test"), Some(&domain("a.test")));
    let (judged, evidence) = verdict(&house);
    assert_eq!((judged, evidence.entry.is_some()), (Ok(()), true));

    both.generated = both.generated.after(HOUR);
    both.domains.insert(domain("a.test"), [dn("new.test")].into());
    house.publisher.publish(house.publisher.pki.sign_trust_list(&both).unwrap());
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Replaced(2));
    let (judged, later) = verdict(&house);
    assert_eq!((judged, later.entry), (Err(Refusal::PeerNotListed), None));
    assert!(later.version > evidence.version, "the evidence names the list that was asked");
}

#[test]
fn a_change_whose_asker_hung_up_after_its_commit_counts_with_the_next_look() {
    let mut house = House::new();
    house.put(0, 0..100);
    house.try_open().unwrap();
    house.offer(1, 50..100);
    let plan = wait_for(house.space().plan_approval(None)).unwrap();
    house.store.hold();
    let now = house.publisher.now;
    let asked = wait_for(async {
        let work = house.space().carry_out(plan, Batch::new(), now);
        tokio::time::timeout(std::time::Duration::from_millis(50), work).await
    });
    assert!(asked.is_err(), "the disk was held");
    house.store.release();
    assert_eq!(house.pairs(), 100, "nobody saw the commit");
    assert_eq!(house.publisher.refresh(house.space()).unwrap(), Refreshed::Unchanged);
    assert_eq!(house.pairs(), 50);
}
