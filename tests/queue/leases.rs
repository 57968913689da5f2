//! Who may attempt a letter, and whose result counts.
use std::time::Duration;

use vaguemestre::domain::limits;
use vaguemestre::flow::queue;
use vaguemestre::infra::store::CommitError;

use super::again;
use super::end;
use super::finish;
use super::lab::Lab;
use super::next;
use super::schedule;
use super::waiting;

const OTHER: &str = "b@cabinet.mssante.test";

async fn lab() -> Lab {
    Lab::new(&["cabinet.mssante.test"], &[], "").await
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_commits_nothing_over_anothers_result() {
    for sleeper_speaks_first in [false, true] {
        let lab = lab().await;
        let office = lab.office();
        lab.letter(&[OTHER]).await;
        let mut first = schedule(office).await;
        let sleeper = next(&mut first, office).await.unwrap().claimed;
        lab.pass(limits::LEASE);
        assert_eq!(queue::take_back(office, lab.now(), |_, _| false).await, Ok(1));
        // Another worker: a schedule of its own knows nothing of the first one's.
        let mut second = schedule(office).await;
        let other = next(&mut second, office).await.unwrap().claimed;
        assert_eq!(other.recipients()[0].attempts, 2);
        if sleeper_speaks_first {
            let late = finish(office, &sleeper).await;
            assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
            assert_eq!(waiting(office).await.len(), 1, "the sleeper took the letter away");
            finish(office, &other).await.unwrap();
        } else {
            finish(office, &other).await.unwrap();
            let late = end(office, &sleeper, again(lab.now())).await;
            assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
        }
        assert!(waiting(office).await.is_empty(), "the letter lives again");
        lab.pass(2 * limits::LEASE);
        assert_eq!(queue::take_back(office, lab.now(), |_, _| false).await, Ok(0));
        assert!(next(&mut second, office).await.is_none());
    }
}

#[tokio::test]
async fn a_sleeper_cannot_settle_after_the_other_put_the_letter_off() {
    let lab = lab().await;
    let office = lab.office();
    lab.letter(&[OTHER]).await;
    let sleeper = next(&mut schedule(office).await, office).await.unwrap().claimed;
    lab.pass(limits::LEASE);
    queue::take_back(office, lab.now(), |_, _| false).await.unwrap();
    let other = next(&mut schedule(office).await, office).await.unwrap().claimed;
    end(office, &other, again(lab.now().after(Duration::from_secs(60)))).await.unwrap();
    assert!(finish(office, &sleeper).await.is_err());
    let rows = waiting(office).await;
    assert_eq!((rows.len(), rows[0].attempts), (1, 2));
}

#[tokio::test]
async fn a_worker_that_died_leaves_its_letter_to_the_next_process() {
    let mut lab = lab().await;
    let id = lab.letter(&[OTHER, "c@cabinet.mssante.test"]).await;
    {
        let office = lab.office();
        let dead = next(&mut schedule(office).await, office).await.unwrap().claimed;
        assert_eq!(dead.recipients().len(), 2);
    }
    lab.restart().await;
    let office = lab.office();
    let recovered = queue::recover(office).await.unwrap();
    assert_eq!((recovered.freed, recovered.set_aside), (2, 0));
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    assert_eq!(work.claimed.queue_id(), id);
    assert_eq!(work.claimed.recipients().len(), 2, "one letter is one attempt");
    finish(office, &work.claimed).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert!(next(&mut schedule, office).await.is_none());
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_takes_no_letter_from_who_works_on_it() {
    let lab = lab().await;
    let office = lab.office();
    lab.letter(&[OTHER]).await;
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    lab.pass(Duration::from_secs(7 * 86_400));
    // Enough turns to look at the leases again, in the runtime's time.
    tokio::time::pause();
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(next(&mut schedule, office).await.is_none(), "it was given to another");
        assert!(schedule.nap(office, lab.now()) > Duration::from_secs(1), "a busy loop");
    }
    finish(office, &work.claimed).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert!(waiting(office).await.is_empty());
}

#[tokio::test]
async fn a_worker_that_hangs_for_ever_loses_its_letter_in_the_end() {
    let lab = lab().await;
    let office = lab.office();
    lab.letter(&[OTHER]).await;
    let mut schedule = schedule(office).await;
    let hanging = next(&mut schedule, office).await.unwrap();
    lab.pass(limits::LEASE);
    tokio::time::pause();
    tokio::time::advance(limits::LEASE + Duration::from_secs(1)).await;
    let other = next(&mut schedule, office).await.expect("its lease is over by any clock");
    finish(office, &other.claimed).await.unwrap();
    assert!(finish(office, &hanging.claimed).await.is_err());
}

#[tokio::test]
async fn a_clock_that_goes_back_delays_nothing_for_ever() {
    let lab = lab().await;
    let office = lab.office();
    lab.pass(Duration::from_secs(30 * 86_400));
    lab.letter(&[OTHER]).await;
    lab.clock.set(office.clock.now());
    let mut schedule = schedule(office).await;
    // The clock was a month ahead, and is set right.
    let real = lab.now().as_millis() - 30 * 86_400_000;
    lab.clock.set(vaguemestre::domain::time::Timestamp::from_millis(real));
    let work = next(&mut schedule, office).await.expect("due in a month is due now");
    end(office, &work.claimed, again(lab.now().after(Duration::from_secs(60)))).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert!(next(&mut schedule, office).await.is_none(), "tried again at once");
    assert!(schedule.nap(office, lab.now()) > Duration::from_secs(1), "a busy loop");
}

#[tokio::test]
async fn an_attempt_that_a_stop_cuts_is_neither_lost_nor_suspect() {
    let mut lab = lab().await;
    lab.letter(&[OTHER]).await;
    {
        let office = lab.office();
        let cut = next(&mut schedule(office).await, office).await.unwrap().claimed;
        queue::give_back(office, &cut).await;
        assert!(finish(office, &cut).await.is_err());
    }
    lab.restart().await;
    let office = lab.office();
    assert_eq!(queue::recover(office).await.unwrap().freed, 0);
    assert!(next(&mut schedule(office).await, office).await.is_some());
}

#[tokio::test]
async fn what_a_clock_ahead_put_off_is_not_hidden_behind_nearer_letters() {
    let lab = lab().await;
    let office = lab.office();
    let nearer = lab.letter(&[OTHER]).await;
    let mut schedule = schedule(office).await;
    let work = next(&mut schedule, office).await.unwrap();
    assert_eq!(work.claimed.queue_id(), nearer);
    end(office, &work.claimed, again(lab.now().after(Duration::from_secs(60)))).await.unwrap();
    schedule.ended(office, &work.ticket);
    let real = lab.now();
    lab.pass(Duration::from_secs(30 * 86_400));
    let ahead = lab.letter(&[OTHER]).await;
    lab.clock.set(real);
    let work = next(&mut schedule, office).await.expect("due in a month is due now");
    assert_eq!(work.claimed.queue_id(), ahead);
    assert!(next(&mut schedule, office).await.is_none(), "the nearer one has time");
}

#[tokio::test]
async fn a_lease_from_a_clock_that_was_ahead_ends_when_nobody_works_on_it() {
    let lab = lab().await;
    let office = lab.office();
    lab.letter(&[OTHER]).await;
    let real = lab.now();
    lab.pass(Duration::from_secs(30 * 86_400));
    let work = next(&mut schedule(office).await, office).await.unwrap();
    lab.clock.set(real);
    assert_eq!(queue::take_back(office, real, |_, _| true).await, Ok(0));
    assert_eq!(queue::take_back(office, real, |_, _| false).await, Ok(1));
    assert!(finish(office, &work.claimed).await.is_err());
}
