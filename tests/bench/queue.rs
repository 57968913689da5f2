//! Measures the queue with very many waiting recipients: from the start to the first letter in
//! hand, a look for work, memory. The rows are written by the relay's own code.
//!
//! `cargo bench --bench queue`, or `cargo bench --bench queue -- quick` with 50,000 recipients.
//! One JSON line for programs, then the same for people.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its figures are its result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(unreachable_pub, reason = "shares the laboratory of the tests")]
#![allow(dead_code, reason = "shares the laboratory of the tests")]

#[path = "../queue/lab.rs"]
mod lab;

use std::time::Duration;
use std::time::Instant;

use lab::Lab;
use vaguemestre::flow::queue;
use vaguemestre::flow::queue::Schedule;
use vaguemestre::flow::queue::Settlement;

const DOMAINS: usize = 5_000;
/// Recipients of one letter: rows are what is measured, not sealing.
const PER_LETTER: usize = 1_000;
/// Lanes that hold a tenth of all rows each; the others share the rest, the first ones more.
const BIG_LANES: usize = 4;

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "quick");
    let recipients = if quick { 50_000 } else { 1_000_000 };
    let domains: Vec<String> = (0..DOMAINS).map(|n| format!("d{n}.mssante.test")).collect();
    let mut lab = Lab::new(&[], &[], "at_once = 32\nper_destination = 8").await;
    lab.list(&domains);
    let filling = Instant::now();
    for first in (0..recipients).step_by(PER_LETTER) {
        let to: Vec<String> = (first..(first + PER_LETTER).min(recipients))
            .map(|number| format!("r{number}@{}", domains[lane_of(number)]))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        lab.letter(&to).await;
    }
    let fill = filling.elapsed();

    // A new process: the store is opened again, too.
    let before = memory_mib();
    let starting = Instant::now();
    lab.restart().await;
    let opened = starting.elapsed();
    let office = lab.office();
    queue::recover(office).await.unwrap();
    let mut schedule = Schedule::open(office).await.unwrap();
    let lanes = schedule.lanes();
    let first = schedule.next(office, lab.now()).await.unwrap().expect("a letter is due");
    let started = starting.elapsed();
    let memory = memory_mib();

    // Many due: every look finds a letter, until the places are full.
    let mut looks = Vec::new();
    let mut running = vec![first];
    for _ in 0..2_000 {
        let look = Instant::now();
        let found = schedule.next(office, lab.now()).await.unwrap();
        looks.push(look.elapsed());
        match found {
            Some(work) => running.push(work),
            None => {
                let done = running.remove(0);
                put_off(&lab, &done.claimed).await;
                schedule.ended(office, &done.ticket);
            }
        }
    }
    // Nothing has a place: the places are full.
    while let Some(work) = schedule.next(office, lab.now()).await.unwrap() {
        running.push(work);
    }
    let full = median_of(1_000, async || schedule_is_full(&lab, &mut schedule).await).await;

    let counting = Instant::now();
    queue::count(office).await.unwrap();
    let counted = counting.elapsed();

    // Nothing due: everything waits for tomorrow.
    let idle = idle().await;

    looks.sort();
    let (median, worst) = (looks[looks.len() / 2], looks[looks.len() * 99 / 100]);
    println!(
        "{{\"recipients\":{recipients},\"lanes\":{lanes},\"fill_s\":{:.1},\"store_open_s\":{:.3},\
         \"start_to_first_claim_s\":{:.3},\"look_many_due_us\":{:.0},\"look_many_due_p99_us\":{:.0},\
         \"look_full_us\":{:.1},\"look_none_due_us\":{:.1},\"count_s\":{:.2},\"rows_counted\":{},\
         \"rss_before_mib\":{before},\"rss_after_mib\":{memory}}}",
        fill.as_secs_f64(),
        opened.as_secs_f64(),
        started.as_secs_f64(),
        micros(median),
        micros(worst),
        micros(full),
        micros(idle),
        counted.as_secs_f64(),
        office.lanes.rows().unwrap_or(0),
    );
    println!(
        "{recipients} recipients wait in {lanes} lanes (filled in {:.0} s)",
        fill.as_secs_f64()
    );
    println!(
        "start to the first letter in hand: {:.2} s, of which the store opens for {:.2} s",
        started.as_secs_f64(),
        opened.as_secs_f64()
    );
    println!(
        "a look for work, and the lease that it finds: median {:.0} µs, p99 {:.0} µs (with its \
         disk sync)",
        micros(median),
        micros(worst)
    );
    println!(
        "a look when no place is free: {:.1} µs; when nothing is due: {:.1} µs",
        micros(full),
        micros(idle)
    );
    println!("counting every row, in the background: {:.1} s", counted.as_secs_f64());
    println!("memory: {before} MiB before the start, {memory} MiB with the first letter in hand");
    drop(running);
}

/// Four lanes with a tenth each, then ever smaller ones.
fn lane_of(number: usize) -> usize {
    let place = number % 10;
    if place < BIG_LANES {
        return place;
    }
    // A long tail: half of the rest in a tenth of the lanes.
    let spread = number / 10 * 6 + place;
    let tail = DOMAINS - BIG_LANES;
    BIG_LANES + if spread.is_multiple_of(2) { spread / 2 % (tail / 10) } else { spread / 2 % tail }
}

async fn schedule_is_full(lab: &Lab, schedule: &mut Schedule) {
    assert!(schedule.next(lab.office(), lab.now()).await.unwrap().is_none());
}

async fn median_of<F: AsyncFnMut()>(times: usize, mut what: F) -> Duration {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        what().await;
        taken.push(began.elapsed());
    }
    taken.sort();
    taken[times / 2]
}

async fn put_off(lab: &Lab, claimed: &queue::Claimed) {
    let later = lab.now().after(Duration::from_secs(3_600));
    let ends: Vec<_> = claimed
        .recipients()
        .iter()
        .map(|r| (r.number, Settlement::Again(later, "later".to_owned())))
        .collect();
    let settled = queue::settle(lab.office(), claimed, &ends).await.unwrap();
    lab.office().store.commit(settled.batch).await.unwrap();
}

/// A look when every lane sleeps.
async fn idle() -> Duration {
    let mut lab = Lab::new(&[], &[], "").await;
    let domains: Vec<String> = (0..500).map(|n| format!("d{n}.mssante.test")).collect();
    lab.list(&domains);
    lab.pass(Duration::from_secs(600));
    let to: Vec<String> = domains.iter().map(|domain| format!("r@{domain}")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    lab.letter(&to).await;
    lab.clock
        .set(vaguemestre::domain::time::Timestamp::from_millis(lab.now().as_millis() - 600_000));
    let mut schedule = Schedule::open(lab.office()).await.unwrap();
    median_of(1_000, async || schedule_is_full(&lab, &mut schedule).await).await
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
