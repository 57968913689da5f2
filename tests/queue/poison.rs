//! A letter that breaks workers is set aside; a relay that is killed sets nothing aside.
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use vaguemestre::flow::office::Office;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Filter;
use vaguemestre::flow::queue::HoldKind;
use vaguemestre::flow::queue::RowState;
use vaguemestre::flow::queue::Schedule;
use vaguemestre::flow::queue::Work;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::Committing;
use vaguemestre::infra::store::Page;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::Versioned;
use vaguemestre::infra::store::blobs::Blobs;

use super::again;
use super::end;
use super::hands::run_until;
use super::is_held;
use super::lab::Lab;
use super::next;
use super::schedule;
use super::waiting;

const A: &str = "a.mssante.test";

/// A store whose reader panics over the contents that are mined.
struct Minefield {
    below: Arc<dyn Store>,
    mines: Mutex<BTreeSet<Vec<u8>>>,
}

#[async_trait::async_trait]
impl Store for Minefield {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let is_mine = self.mines.lock().unwrap().contains(key);
        assert!(!is_mine, "a worker breaks");
        self.below.get(key).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        let is_mine = self.mines.lock().unwrap().range(range.clone()).next().is_some();
        assert!(!is_mine, "a worker breaks");
        self.below.scan(range, limit).await
    }

    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.below.scan_back(range, limit).await
    }

    fn submit(&self, batch: Batch) -> Committing {
        self.below.submit(batch)
    }
}

#[tokio::test]
async fn a_letter_that_breaks_a_worker_twice_is_set_aside_and_blocks_nothing() {
    let queue_keys = "retry_seconds = [1]\njitter_percent = 0\nat_once = 2\nper_destination = 1";
    let mut lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], queue_keys).await;
    lab.sender().await;
    let poison = lab.letter(&["x@a.mssante.test", "y@a.mssante.test"]).await;
    let stored = lab.office().store.scan(vaguemestre::infra::store::prefix(b"blob/"), 100).await;
    let mines = stored.unwrap().rows.into_iter().map(|(key, _)| key.to_vec()).collect();
    let field =
        Arc::new(Minefield { below: Arc::clone(&lab.office().store), mines: Mutex::new(mines) });
    assert!(!field.mines.lock().unwrap().is_empty(), "no content to break over");
    let blobs = Blobs::open(field, &lab.data()).await.unwrap();
    lab.office_mut().blobs = blobs;
    let harmless = lab.letter(&["z@a.mssante.test"]).await;
    let office = lab.office();
    let clock = Arc::clone(&lab.clock);
    run_until(&lab, || async {
        // Attempts are a second apart.
        clock.set(clock_now(&lab).after(Duration::from_millis(300)));
        let rows = waiting(office).await;
        let held = rows.iter().filter(|row| is_held(row)).count();
        let tried = rows.iter().any(|row| row.queue_id == harmless && row.attempts > 2);
        held == 2 && tried
    })
    .await;
    let filter = Filter { target: None, held: true, limit: 10 };
    let held = queue::list(office, &filter).await.unwrap();
    for row in &held {
        assert_eq!((row.queue_id, row.attempts), (poison, 2));
        let RowState::Held { kind, .. } = &row.state else { panic!("{row:?}") };
        assert_eq!(*kind, HoldKind::SetAside);
    }
    // Administrators got a letter about it: one.
    let mut letters = Vec::new();
    for _ in 0..100 {
        letters = lab.inbox().await;
        if !letters.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let about = letters.iter().filter(|text| text.contains("a letter was set aside")).count();
    assert_eq!(about, 1, "{letters:?}");
    assert!(office.metrics.render().contains("vaguemestre_alerts_total 1"));
}

fn clock_now(lab: &Lab) -> vaguemestre::domain::time::Timestamp {
    lab.now()
}

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_sets_nothing_aside() {
    let mut lab = Lab::new(&[A], &[], "").await;
    for number in 0..6 {
        lab.letter(&[&format!("r{number}@a.mssante.test")]).await;
    }
    for round in 0..20 {
        {
            let office = lab.office();
            let recovered = queue::recover(office).await.unwrap();
            assert_eq!(recovered.set_aside, 0, "round {round}");
            let mut schedule = schedule(office).await;
            // Killed with all in flight but the suspects: their attempts came to an end.
            let mut ended = 0;
            while let Some(work) = next(&mut schedule, office).await {
                if work.ticket.is_suspect() {
                    assert!(next_suspect(&mut schedule, office).await.is_none(), "not alone");
                    end(office, &work.claimed, again(lab.now())).await.unwrap();
                    schedule.ended(office, &work.ticket);
                    ended += 1;
                }
            }
            assert_eq!(ended, if round == 0 { 0 } else { 6 }, "round {round}");
        }
        lab.restart().await;
        lab.pass(Duration::from_secs(1));
    }
}

/// Another suspect, if two may be tried at the same time.
async fn next_suspect(schedule: &mut Schedule, office: &Office) -> Option<Work> {
    next(schedule, office).await.filter(|work| work.ticket.is_suspect())
}

#[tokio::test]
async fn a_letter_with_which_the_relay_died_twice_alone_is_set_aside() {
    let mut lab = Lab::new(&[A], &[], "").await;
    let id = lab.letter(&["x@a.mssante.test"]).await;
    for expected in [0, 0, 1] {
        {
            let office = lab.office();
            let mut schedule = schedule(office).await;
            lab.pass(Duration::from_secs(60));
            let work = next(&mut schedule, office).await.expect("it is tried");
            assert_eq!(work.claimed.queue_id(), id);
            assert!(next(&mut schedule, office).await.is_none());
        }
        lab.restart().await;
        let recovered = queue::recover(lab.office()).await.unwrap();
        assert_eq!(recovered.set_aside, expected);
    }
    let office = lab.office();
    assert!(waiting(office).await.iter().all(is_held));
    let mut schedule = schedule(office).await;
    lab.pass(Duration::from_secs(60));
    assert!(next(&mut schedule, office).await.is_none());
    lab.letter(&["y@a.mssante.test"]).await;
    assert!(next(&mut schedule, office).await.is_some(), "poison blocks others");
}

#[tokio::test]
async fn suspects_do_not_wait_for_one_that_hangs_unless_the_relay_just_died_with_several() {
    let mut lab = Lab::new(&[A], &[], "").await;
    for number in 0..3 {
        lab.letter(&[&format!("r{number}@a.mssante.test")]).await;
    }
    {
        let office = lab.office();
        let mut schedule = schedule(office).await;
        while next(&mut schedule, office).await.is_some() {}
    }
    for is_strict in [false, true, false] {
        lab.restart().await;
        lab.pass(Duration::from_secs(60));
        let office = lab.office();
        let recovered = queue::recover(office).await.unwrap();
        assert_eq!((recovered.freed > 0, recovered.set_aside), (true, 0));
        let mut schedule = schedule(office).await;
        lab.pass(Duration::from_secs(60));
        assert!(next(&mut schedule, office).await.is_some_and(|one| one.ticket.is_suspect()));
        assert!(next(&mut schedule, office).await.is_none(), "two at the same time");
        let nap = schedule.nap(office, lab.now());
        assert!(nap > Duration::from_secs(1), "a busy loop: {nap:?}");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        let second = next(&mut schedule, office).await;
        tokio::time::resume();
        assert_eq!(second.is_none(), is_strict, "the first one has lived for long enough");
    }
}

#[tokio::test]
async fn suspects_of_a_held_domain_hide_no_others() {
    let b = "b.mssante.test";
    let mut lab = Lab::new(&[A, b], &[], "").await;
    let many: Vec<String> = (0..1_100).map(|n| format!("r{n}@{A}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    {
        let office = lab.office();
        lab.letter(&many).await;
        let mut schedule = schedule(office).await;
        let mut claimed = 0;
        for _ in 0..2 {
            // Attempts that are forgotten: as many as there are places for one domain.
            while let Some(work) = next(&mut schedule, office).await {
                claimed += work.claimed.recipients().len();
            }
            schedule = Schedule::open(office).await.unwrap();
        }
        assert_eq!(claimed, 1_100);
        lab.pass(Duration::from_secs(1));
        lab.letter(&[&format!("x@{b}")]).await;
        assert!(next(&mut schedule, office).await.is_some());
        let domain = vaguemestre::domain::address::Domain::parse(A).unwrap();
        queue::pause(office, &domain, ("somebody", "a test"), Batch::new()).await.unwrap();
    }
    lab.restart().await;
    let office = lab.office();
    assert_eq!(queue::recover(office).await.unwrap().freed, 1_101);
    let mut schedule = schedule(office).await;
    let mut found = None;
    for _ in 0..3 {
        found = found.or(next(&mut schedule, office).await);
    }
    assert_eq!(super::lane_of(&found.expect("hidden").claimed), b);
    let nap = schedule.nap(office, lab.now());
    assert!(nap > Duration::from_secs(1), "a busy loop: {nap:?}");
}
