//! Whose turn it is: nobody starves, nobody is asked who does not answer.
use std::collections::BTreeMap;
use std::time::Duration;

use vaguemestre::domain::limits;
use vaguemestre::flow::queue;

use super::again;
use super::end;
use super::finish;
use super::lab::Lab;
use super::lane_of;
use super::next;
use super::schedule;
use super::waiting;

const BIG: &str = "grand.mssante.test";

#[tokio::test]
async fn a_lane_with_very_many_letters_starves_nobody() {
    let small = ["a.mssante.test", "b.mssante.test", "c.mssante.test", "d.mssante.test"];
    let mut domains = vec![BIG];
    domains.extend(small);
    let lab = Lab::new(&domains, &[], "per_destination = 8\nat_once = 8").await;
    let office = lab.office();
    let many: Vec<String> = (0..1_500).map(|n| format!("r{n}@{BIG}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    lab.letter(&many).await;
    for domain in small {
        lab.letter(&[&format!("x@{domain}")]).await;
    }
    let mut schedule = schedule(office).await;
    let mut running = Vec::new();
    while let Some(work) = next(&mut schedule, office).await {
        running.push(work);
    }
    let mut lanes: BTreeMap<String, usize> = BTreeMap::new();
    for work in &running {
        *lanes.entry(lane_of(&work.claimed)).or_default() += 1;
    }
    assert_eq!(lanes.len(), 5, "somebody waits behind the big one: {lanes:?}");
    assert_eq!(running.len(), 6, "two of eight places are kept for lanes without one: {lanes:?}");
    // The big lane goes on as soon as a place is free, letter by letter, until nothing is left.
    while let Some(work) = running.pop() {
        assert!(work.claimed.recipients().len() <= limits::ATTEMPT_RECIPIENTS_MAX);
        finish(office, &work.claimed).await.unwrap();
        schedule.ended(office, &work.ticket);
        while let Some(work) = next(&mut schedule, office).await {
            running.push(work);
        }
    }
    assert!(waiting(office).await.is_empty());
    assert_eq!(schedule.lanes(), 0, "an empty lane costs memory");
}

#[tokio::test]
async fn one_destination_gets_no_more_than_its_places() {
    let lab = Lab::new(&[BIG], &[], "per_destination = 3\nat_once = 32").await;
    let office = lab.office();
    for number in 0..10 {
        lab.letter(&[&format!("r{number}@{BIG}")]).await;
    }
    let mut schedule = schedule(office).await;
    let mut running = Vec::new();
    while let Some(work) = next(&mut schedule, office).await {
        running.push(work);
    }
    assert_eq!(running.len(), 3);
    assert!(schedule.nap(office, lab.now()) > Duration::from_secs(1), "a busy loop");
    let work = running.pop().unwrap();
    finish(office, &work.claimed).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert!(next(&mut schedule, office).await.is_some());
    assert!(next(&mut schedule, office).await.is_none());
}

#[tokio::test]
async fn a_letter_that_comes_while_the_queue_sleeps_wakes_its_lane() {
    let lab = Lab::new(&[BIG], &[], "").await;
    let office = lab.office();
    let mut schedule = schedule(office).await;
    assert!(next(&mut schedule, office).await.is_none());
    lab.letter(&[&format!("r@{BIG}")]).await;
    tokio::time::timeout(Duration::from_secs(60), office.lanes.rung()).await.unwrap();
    assert!(next(&mut schedule, office).await.is_some());
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_left_alone_and_costs_no_attempts() {
    let lab = Lab::new(
        &[BIG, "ami.mssante.test", "b.mssante.test"],
        &[(BIG, "127.0.0.1:1"), ("ami.mssante.test", "127.0.0.1:1")],
        "",
    )
    .await;
    let office = lab.office();
    for _ in 0..limits::CIRCUIT_FAILURES {
        office.lanes.heard(office, BIG, "", false);
    }
    lab.letter(&[&format!("r@{BIG}"), "r@ami.mssante.test"]).await;
    lab.letter(&["r@b.mssante.test"]).await;
    tokio::time::pause();
    let mut schedule = schedule(office).await;
    let only = next(&mut schedule, office).await.unwrap();
    assert_eq!(lane_of(&only.claimed), "b.mssante.test", "the same host under another domain");
    assert!(next(&mut schedule, office).await.is_none());
    assert!(waiting(office).await.iter().filter(|row| row.attempts == 0).count() == 2);
    assert_eq!(office.lanes.circuits()[0].state, "open");
    // Half open: one letter knocks, the other one waits for what it finds.
    tokio::time::advance(limits::CIRCUIT_OPEN_MIN + Duration::from_secs(1)).await;
    let probe = next(&mut schedule, office).await.expect("one knocks");
    assert!(next(&mut schedule, office).await.is_none(), "two knock");
    let domain = lane_of(&probe.claimed);
    office.lanes.heard(office, &domain, "127.0.0.1:1", true);
    finish(office, &probe.claimed).await.unwrap();
    schedule.ended(office, &probe.ticket);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(next(&mut schedule, office).await.is_some(), "the host answers again");
    assert!(office.lanes.circuits().is_empty());
}

#[tokio::test]
async fn a_letter_that_gets_too_old_behind_a_dead_host_is_given_up_all_the_same() {
    let lab = Lab::new(&[BIG], &[(BIG, "127.0.0.1:1")], "give_up_seconds = 3600").await;
    let office = lab.office();
    let id = lab.letter(&[&format!("r@{BIG}")]).await;
    for _ in 0..limits::CIRCUIT_FAILURES {
        office.lanes.heard(office, BIG, "", false);
    }
    lab.pass(Duration::from_secs(3_700));
    let mut schedule = schedule(office).await;
    assert!(next(&mut schedule, office).await.is_none(), "nothing knocks");
    let end = next(&mut schedule, office).await.expect("its sender hears of it");
    assert_eq!(end.claimed.queue_id(), id);
    assert_eq!(end.claimed.recipients()[0].order, Some(queue::Order::Expired));
}

#[tokio::test]
async fn counts_follow_what_comes_and_goes() {
    let mut lab = Lab::new(&[BIG, "b.mssante.test"], &[], "").await;
    lab.letter(&[&format!("a@{BIG}"), &format!("b@{BIG}"), "c@b.mssante.test"]).await;
    lab.restart().await;
    let office = lab.office();
    let mut schedule = schedule(office).await;
    assert_eq!(office.lanes.rows(), None);
    queue::count(office).await.unwrap();
    assert_eq!(office.lanes.rows(), Some(3));
    lab.letter(&["d@b.mssante.test"]).await;
    assert_eq!(office.lanes.rows(), Some(4));
    let work = next(&mut schedule, office).await.unwrap();
    let gone = work.claimed.recipients().len() as u64;
    finish(office, &work.claimed).await.unwrap();
    assert_eq!(office.lanes.rows(), Some(4 - gone));
    let lanes = queue::by_domain(office).await.unwrap();
    assert_eq!(lanes.iter().map(|lane| lane.rows).sum::<u64>(), 4 - gone);
    assert!(queue::oldest(office).await.unwrap().is_some());
}

#[tokio::test]
async fn one_host_of_many_domains_gets_no_more_than_one_destinations_places() {
    let domains: Vec<String> = (0..40).map(|n| format!("d{n}.mssante.test")).collect();
    let routes: Vec<_> = domains.iter().map(|domain| (domain.as_str(), "127.0.0.1:1")).collect();
    let mut listed: Vec<&str> = domains.iter().map(String::as_str).collect();
    listed.push(BIG);
    let lab = Lab::new(&listed, &routes, "per_destination = 8\nat_once = 32").await;
    let office = lab.office();
    for domain in &domains {
        lab.letter(&[&format!("r@{domain}")]).await;
    }
    let mut schedule = schedule(office).await;
    let mut hanging = Vec::new();
    while let Some(work) = next(&mut schedule, office).await {
        hanging.push(work);
    }
    assert_eq!(hanging.len(), 8, "one operator takes the others' places");
    lab.letter(&[&format!("r@{BIG}")]).await;
    let healthy = next(&mut schedule, office).await.expect("a healthy host need not wait");
    assert_eq!(lane_of(&healthy.claimed), BIG);
    assert!(next(&mut schedule, office).await.is_none());
    assert!(schedule.nap(office, lab.now()) > Duration::from_secs(1), "a busy loop");
    // One place of the host's is free: another of its domains has it.
    let work = hanging.pop().unwrap();
    finish(office, &work.claimed).await.unwrap();
    schedule.ended(office, &work.ticket);
    assert!(next(&mut schedule, office).await.is_some());
    assert!(next(&mut schedule, office).await.is_none());
}

#[tokio::test]
async fn a_letter_for_which_nobody_rang_is_found_all_the_same() {
    let mut lab = Lab::new(&[BIG], &[], "").await;
    let mut schedule = schedule(lab.office()).await;
    assert!(next(&mut schedule, lab.office()).await.is_none());
    let id = lab.letter(&[&format!("r@{BIG}")]).await;
    // Whoever committed it was gone before it could ring.
    lab.office_mut().lanes = queue::Lanes::seeded(1);
    let office = lab.office();
    assert!(next(&mut schedule, office).await.is_none());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;
    let work = next(&mut schedule, office).await.expect("a due row is never missed");
    assert_eq!(work.claimed.queue_id(), id);
}

#[tokio::test]
async fn a_letter_sent_elsewhere_that_was_a_suspect_is_tried_again_when_it_is_due() {
    let mut lab = Lab::new(&[BIG], &[], "").await;
    {
        let office = lab.office();
        let id = lab.letter(&[&format!("r@{BIG}")]).await;
        let keys = queue::find(office, &queue::Target::Letter(id)).await.unwrap();
        let change = queue::Change::Reroute(Some("127.0.0.1:1".to_owned()));
        let by = ("somebody", "a test");
        queue::touch(office, &keys, &change, by, false, |_, _| {}).await.unwrap();
        assert!(next(&mut schedule(office).await, office).await.is_some());
    }
    lab.restart().await;
    let office = lab.office();
    assert_eq!(queue::recover(office).await.unwrap().freed, 1);
    let mut schedule = schedule(office).await;
    let suspect = next(&mut schedule, office).await.unwrap();
    assert!(suspect.ticket.is_suspect());
    let later = lab.now().after(Duration::from_secs(60));
    end(office, &suspect.claimed, again(later)).await.unwrap();
    schedule.ended(office, &suspect.ticket);
    assert!(next(&mut schedule, office).await.is_none());
    lab.pass(Duration::from_secs(61));
    assert!(next(&mut schedule, office).await.is_some(), "nobody wakes its lane");
}
