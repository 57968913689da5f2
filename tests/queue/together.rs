//! Letters are leased together: the disk is waited for once, and each is leased once.
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use vaguemestre::flow::queue;
use vaguemestre::infra::store::Batch;
use vaguemestre::infra::store::CommitError;
use vaguemestre::infra::store::Committing;
use vaguemestre::infra::store::Page;
use vaguemestre::infra::store::Store;
use vaguemestre::infra::store::StoreError;
use vaguemestre::infra::store::Versioned;

use super::finish;
use super::lab::Lab;
use super::schedule;
use super::waiting;

type Held = (Batch, oneshot::Sender<Result<(), CommitError>>);

/// A disk that writes only when so many batches lie before it, and refuses some of the first.
struct Patient {
    below: Arc<dyn Store>,
    held: Mutex<Vec<Held>>,
    patience: Mutex<(usize, usize)>,
}

#[async_trait::async_trait]
impl Store for Patient {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.below.get(key).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.below.scan(range, limit).await
    }

    async fn scan_back(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.below.scan_back(range, limit).await
    }

    fn submit(&self, batch: Batch) -> Committing {
        let (answer, committing) = oneshot::channel();
        let mut patience = self.patience.lock().unwrap();
        let (wanted, refused) = &mut *patience;
        if *refused > 0 {
            *refused -= 1;
            let _ = answer.send(Err(CommitError::Conflict));
            return Committing(committing);
        }
        let mut held = self.held.lock().unwrap();
        held.push((batch, answer));
        if held.len() >= *wanted {
            *wanted = 1;
            for (batch, answer) in held.drain(..) {
                let below = self.below.submit(batch);
                tokio::spawn(async move { answer.send(below.await) });
            }
        }
        Committing(committing)
    }
}

#[tokio::test]
async fn letters_for_all_free_places_are_leased_together_and_each_once() {
    for refused in [0, 3] {
        let domains: Vec<String> = (0..12).map(|n| format!("d{n}.mssante.test")).collect();
        let listed: Vec<&str> = domains.iter().map(String::as_str).collect();
        let mut lab = Lab::new(&listed, &[], "at_once = 16\nper_destination = 4").await;
        let many: Vec<String> = (0..250).map(|n| format!("r{n}@{}", domains[0])).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        lab.letter(&many).await;
        for domain in &domains {
            lab.letter(&[&format!("x@{domain}")]).await;
        }
        let below = Arc::clone(&lab.office().store);
        // 3 of the big letter's and 11 others; what is refused comes again in the next round.
        let patience = Mutex::new((if refused == 0 { 12 } else { 5 }, refused));
        lab.office_mut().store = Arc::new(Patient { below, held: Mutex::default(), patience });
        let office = lab.office();
        let mut schedule = schedule(office).await;
        let (mut running, mut seen) = (Vec::new(), BTreeSet::new());
        loop {
            let some = schedule.next_some(office, lab.now(), usize::MAX);
            let some = tokio::time::timeout(Duration::from_secs(10), some).await;
            let works = some.expect("it waits for one letter before it takes the next").unwrap();
            for work in &works {
                for recipient in work.claimed.recipients() {
                    let row = (work.claimed.queue_id(), recipient.number);
                    assert!(seen.insert(row), "leased twice");
                    assert_eq!(recipient.attempts, 1);
                }
            }
            running.extend(works);
            assert!(running.len() <= 16);
            let Some(work) = running.pop() else { break };
            finish(office, &work.claimed).await.unwrap();
            schedule.ended(office, &work.ticket);
        }
        assert_eq!(seen.len(), 262);
        assert!(waiting(office).await.is_empty());
        assert_eq!(schedule.lanes(), 0, "a place was not given back");
        let lanes = queue::by_domain(office).await.unwrap();
        assert!(lanes.iter().all(|lane| lane.running == 0), "{lanes:?}");
    }
}
