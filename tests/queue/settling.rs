//! What became of an attempt is written down once, whatever clock and disk do meanwhile.
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vaguemestre::domain::address::Domain;
use vaguemestre::domain::limits;
use vaguemestre::domain::status::EnhancedStatus;
use vaguemestre::flow::hands;
use vaguemestre::flow::hands::Job;
use vaguemestre::flow::office::Office;
use vaguemestre::flow::promise;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Change;
use vaguemestre::flow::queue::Target;
use vaguemestre::flow::timeline;
use vaguemestre::flow::timeline::Entry;
use vaguemestre::flow::timeline::Step;
use vaguemestre::infra::clock::ManualClock;
use vaguemestre::infra::net::Stop;
use vaguemestre::infra::store;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Committing;
use vaguemestre::infra::store::Page;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::Versioned;
use vaguemestre::infra::store::Write;

use super::finish;
use super::hands::run_until;
use super::lab::Lab;
use super::next;
use super::schedule;
use super::waiting;

const A: &str = "a.mssante.test";
const B: &str = "b.mssante.test";

type Trouble = Box<dyn Fn(&Batch) -> Option<CommitError> + Send + Sync>;

/// A store that refuses some batches, and whose reader panics over some keys.
struct Rigged {
    below: Arc<dyn Store>,
    trouble: Trouble,
    mines: Mutex<BTreeSet<Vec<u8>>>,
}

impl Rigged {
    fn install(lab: &mut Lab, trouble: Trouble) -> Arc<Self> {
        let below = Arc::clone(&lab.office().store);
        let rigged = Arc::new(Self { below, trouble, mines: Mutex::default() });
        lab.office_mut().store = Arc::clone(&rigged) as Arc<dyn Store>;
        rigged
    }
}

#[async_trait::async_trait]
impl Store for Rigged {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let is_mine = self.mines.lock().unwrap().contains(key);
        assert!(!is_mine, "a worker breaks");
        self.below.get(key).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.below.scan(range, limit).await
    }

    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.below.scan_back(range, limit).await
    }

    fn submit(&self, batch: Batch) -> Committing {
        let Some(error) = (self.trouble)(&batch) else { return self.below.submit(batch) };
        let (answer, committing) = tokio::sync::oneshot::channel();
        let _ = answer.send(Err(error));
        Committing(committing)
    }
}

/// True for a batch that tells what became of an attempt.
fn settles(batch: &Batch) -> bool {
    let key = |write: &Write| match write {
        Write::Put(key, _) | Write::Delete(key) => key.clone(),
    };
    batch.writes.iter().any(|write| key(write).starts_with(b"Y/"))
}

async fn steps(office: &Office, lab_letter: vaguemestre::domain::envelope::QueueId) -> Vec<Step> {
    let entries = timeline::read(office, lab_letter).await.unwrap();
    entries.into_iter().map(|entry| entry.step).collect()
}

fn attempts(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Attempt(_))).count()
}

async fn promises(office: &Office) -> usize {
    office.store.scan(store::prefix(b"W/"), 100).await.unwrap().rows.len()
}

/// A clock that jumps while another hop is faster, and then a disk that is full: the lease holds
/// all the time, so the result counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_outlives_a_clock_that_jumps_and_a_full_disk() {
    let keys = "retry_seconds = [7200]\njitter_percent = 0";
    let mut lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], keys).await;
    let id = lab.letter(&["x@a.mssante.test"]).await;
    let (clock, refused): (Arc<ManualClock>, _) = (Arc::clone(&lab.clock), AtomicUsize::new(0));
    let start = lab.now();
    Rigged::install(
        &mut lab,
        Box::new(move |batch| {
            if !settles(batch) {
                return None;
            }
            clock.set(start.after(limits::LEASE + Duration::from_secs(60)));
            match refused.fetch_add(1, Ordering::Relaxed) {
                0 => Some(CommitError::Conflict),
                1 => Some(CommitError::Full),
                _ => None,
            }
        }),
    );
    let office = lab.office();
    run_until(&lab, || async { attempts(&steps(office, id).await) > 0 }).await;
    let rows = waiting(office).await;
    assert_eq!((rows.len(), rows[0].attempts), (1, 1));
    assert!(!rows[0].last_reply.is_empty(), "the answer was thrown away");
    assert_eq!(rows[0].next_attempt, start.after(Duration::from_secs(7_200)));
    assert_eq!(attempts(&steps(office, id).await), 1);
}

/// All hops of a letter come to their end in the same moment, and all of them change its row.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_hops_that_end_at_the_same_time_are_all_made_and_made_once() {
    let domains: Vec<String> = (0..16).map(|number| format!("d{number}.mssante.test")).collect();
    let hosts: Vec<String> = (0..16).map(|number| format!("127.0.1.{number}:1")).collect();
    let names: Vec<&str> = domains.iter().map(String::as_str).collect();
    let routes: Vec<(&str, &str)> =
        names.iter().copied().zip(hosts.iter().map(String::as_str)).collect();
    let lab = Lab::new(&names, &routes, "give_up_seconds = 60\nretry_seconds = [1]").await;
    let to: Vec<String> = domains.iter().map(|domain| format!("x@{domain}")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let id = lab.letter_of_sender(&to).await;
    lab.pass(Duration::from_secs(61));
    let office = lab.office();
    run_until(&lab, || async { waiting(office).await.is_empty() }).await;
    let inbox = lab.inbox().await;
    let about: BTreeSet<&str> = names
        .iter()
        .copied()
        .filter(|domain| inbox.iter().any(|report| report.contains(&format!("x@{domain}"))))
        .collect();
    assert_eq!((inbox.len(), about.len()), (16, 16));
    let steps = steps(office, id).await;
    let reported = steps.iter().filter(|step| matches!(step, Step::Reported(_))).count();
    assert_eq!((attempts(&steps), reported), (16, 16), "{steps:?}");
    let left = office.store.scan(store::prefix(b"Q/"), 10).await.unwrap();
    assert!(left.rows.is_empty(), "{:?}", left.rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_who_are_put_off_together_come_back_together() {
    let keys = "retry_seconds = [600]\njitter_percent = 50";
    let lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], keys).await;
    let to: Vec<String> = (0..40).map(|number| format!("r{number}@{A}")).collect();
    lab.letter(&to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let office = lab.office();
    run_until(&lab, || async {
        let rows = waiting(office).await;
        rows.iter().all(|row| !row.last_reply.is_empty())
    })
    .await;
    let due: BTreeSet<_> = waiting(office).await.iter().map(|row| row.next_attempt).collect();
    assert_eq!(due.len(), 1, "one letter became {} attempts", due.len());
}

#[tokio::test]
async fn a_letter_whose_content_is_gone_comes_to_its_end() {
    let lab = Lab::new(&[A], &[], "").await;
    let office = lab.office();
    for damage in [false, true] {
        lab.letter(&["x@a.mssante.test"]).await;
        let blobs = office.store.scan(store::prefix(b"blob/"), 10).await.unwrap();
        assert!(!blobs.rows.is_empty());
        let mut batch = Batch::new();
        for (key, _) in &blobs.rows {
            match damage {
                true => batch.put(key.to_vec(), vec![0xFF]),
                false => batch.delete(key.to_vec()),
            };
        }
        office.store.commit(batch).await.unwrap();
        let work = next(&mut schedule(office).await, office).await.unwrap();
        finish(office, &work.claimed).await.unwrap();
        let left = office.store.scan(store::prefix(b"Q/"), 10).await.unwrap();
        assert!(left.rows.is_empty(), "{:?}", left.rows);
    }
}

#[tokio::test]
async fn a_long_timeline_is_read_to_its_end() {
    let lab = Lab::new(&[A], &[], "").await;
    let (office, at) = (lab.office(), lab.now());
    let id = lab.letter(&["x@a.mssante.test"]).await;
    let mut written = 0;
    let mut write = async |until: u32| {
        while written < until {
            let mut batch = Batch::new();
            for _ in 0..500 {
                written += 1;
                let entry = Entry { at, recipient: None, step: Step::Cut(written) };
                timeline::ride(office, id, &[entry], &mut batch);
            }
            office.store.commit(batch).await.unwrap();
        }
    };
    write(2_500).await;
    let cuts = |steps: Vec<Step>| -> Vec<u32> {
        let cut = |step: &Step| match step {
            Step::Cut(number) => Some(*number),
            _ => None,
        };
        steps.iter().filter_map(cut).collect()
    };
    assert_eq!(cuts(steps(office, id).await), (1..=2_500).collect::<Vec<_>>());
    let most = u32::try_from(limits::TIMELINE_PAGES_MAX * limits::SCAN_ROWS_MAX).unwrap();
    write(most + 2_000).await;
    let told = cuts(steps(office, id).await);
    assert_eq!((told.first(), told.last()), (Some(&1), Some(&(most + 2_000))));
    assert!(told.is_sorted() && told.len() > most as usize, "{}", told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_breaks_its_worker_twice_is_given_up_and_hinders_nobody() {
    let mut lab = Lab::new(&[A], &[], "delay_notice_seconds = 60").await;
    let evil = lab.letter_of_sender(&["x@a.mssante.test"]).await;
    let rigged = Rigged::install(&mut lab, Box::new(|_| None));
    let letter_row = [b"Q/m/".as_slice(), evil.as_bytes()].concat();
    assert!(rigged.get(&letter_row).await.unwrap().is_some(), "the letter's row lies elsewhere");
    rigged.mines.lock().unwrap().insert(letter_row);
    lab.letter_of_sender(&["y@a.mssante.test"]).await;
    let office = lab.office();
    assert_eq!(promises(office).await, 2);
    lab.pass(Duration::from_secs(61));
    let (stop, listener) = Stop::new();
    let running = tokio::spawn(promise::run(Arc::clone(office), listener));
    let mut left = 2;
    for _ in 0..200 {
        left = promises(office).await;
        if left == 0 {
            break;
        }
        lab.pass(Duration::from_secs(2));
        office.promise_bell.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.stop();
    running.await.unwrap();
    assert_eq!(left, 0, "it is met for ever");
    let mut inbox = Vec::new();
    for _ in 0..100 {
        inbox = lab.inbox().await;
        if inbox.len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let about = |text: &str| inbox.iter().filter(|letter| letter.contains(text)).count();
    assert_eq!(about("y@a.mssante.test"), 1, "the other letter's notice");
    assert_eq!(about(&evil.to_string()), 1, "administrators are told: {inbox:?}");
}

async fn act(office: &Office, change: Change, target: Target) {
    let (author, reason) = ("root".to_owned(), "a test".to_owned());
    let job = Job { change, target, author, reason, is_dry: false };
    hands::act(office, &job).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_without_an_attempt_shows_none() {
    let lab = Lab::new(&[A], &[], "give_up_seconds = 600").await;
    let office = lab.office();
    let bounced = lab.letter_of_sender(&["x@a.mssante.test"]).await;
    act(office, Change::Bounce(None), Target::Letter(bounced)).await;
    run_until(&lab, || async { waiting(office).await.is_empty() }).await;
    let steps = steps(office, bounced).await;
    assert_eq!(attempts(&steps), 0, "{steps:?}");
    let is_end = |step: &Step| matches!(step, Step::Ended { enhanced: EnhancedStatus(5, 3, 0), reply } if !reply.is_empty());
    assert_eq!(steps.iter().filter(|step| is_end(step)).count(), 1, "{steps:?}");
    let inbox = lab.inbox().await;
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].contains("Action: failed\r\n"), "{}", inbox[0]);
    assert!(!inbox[0].contains("Last-Attempt-Date"), "{}", inbox[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_of_a_held_letter_is_not_told_that_it_is_tried() {
    let lab = Lab::new(&[A, B], &[], "delay_notice_seconds = 60").await;
    let office = lab.office();
    act(office, Change::Hold, Target::Domain(Domain::parse(A).unwrap())).await;
    lab.letter_of_sender(&["x@a.mssante.test"]).await;
    lab.letter_of_sender(&["y@b.mssante.test"]).await;
    lab.pass(Duration::from_secs(61));
    let (stop, listener) = Stop::new();
    let running = tokio::spawn(promise::run(Arc::clone(office), listener));
    for _ in 0..200 {
        if promises(office).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.stop();
    running.await.unwrap();
    let inbox = lab.inbox().await;
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    let about = |address: &str| inbox.iter().find(|report| report.contains(address)).unwrap();
    let (held, tried) = (about("x@a.mssante.test"), about("y@b.mssante.test"));
    assert!(held.contains("Action: delayed") && !held.contains("Will-Retry-Until"), "{held}");
    assert!(held.contains("This mail is on hold"), "{held}");
    assert!(tried.contains("Will-Retry-Until") && tried.contains("We keep trying"), "{tried}");
}

#[tokio::test]
async fn attempts_that_a_stop_or_a_crash_cut_are_in_the_timeline() {
    let mut lab = Lab::new(&[A], &[], "").await;
    let id = lab.letter(&["x@a.mssante.test"]).await;
    {
        let office = lab.office();
        let stopped = next(&mut schedule(office).await, office).await.unwrap().claimed;
        queue::give_back(office, &stopped).await;
        next(&mut schedule(office).await, office).await.expect("it waits again");
    }
    lab.restart().await;
    queue::recover(lab.office()).await.unwrap();
    let steps = steps(lab.office(), id).await;
    assert!(steps.ends_with(&[Step::Cut(1), Step::Cut(2)]), "{steps:?}");
}
