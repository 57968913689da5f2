//! Hosts that do not speak, and letters for which we have no room: through the real dispatch.
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use vaguemestre::domain::limits;
use vaguemestre::flow::office::ClearMemory;
use vaguemestre::flow::queue::RowState;

use super::hands::run_until;
use super::lab::Lab;
use super::waiting;

const A: &str = "a.mssante.test";
const NO_JITTER: &str = "retry_seconds = [3600]\njitter_percent = 0";

/// Lets time pass for all who wait, without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_left_alone_after_some_letters() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let silent = tokio::spawn(async move {
        let mut callers = Vec::new();
        loop {
            callers.push(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let lab = Lab::new(&[A], &[(A, host.as_str())], NO_JITTER).await;
    let letters = limits::CIRCUIT_FAILURES as usize;
    for number in 0..letters {
        lab.letter(&[&format!("r{number}@{A}")]).await;
    }
    let office = lab.office();
    run_until(&lab, || async {
        if calls.load(Ordering::SeqCst) == letters {
            pass(Duration::from_secs(1)).await;
        }
        office.lanes.circuits().iter().any(|circuit| circuit.state == "open")
    })
    .await;
    let circuits = office.lanes.circuits();
    assert_eq!((circuits.len(), circuits[0].host.as_str()), (1, host.as_str()));
    // Another letter does not even call.
    lab.letter(&[&format!("late@{A}")]).await;
    run_until(&lab, || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        true
    })
    .await;
    assert_eq!(calls.load(Ordering::SeqCst), letters);
    silent.abort();
}

#[tokio::test]
async fn a_letter_without_memory_waits_for_seconds_and_it_is_no_attempt() {
    let mut lab = Lab::new(&[A], &[(A, "127.0.0.1:1")], NO_JITTER).await;
    let memory = ClearMemory::new(1_048_576);
    lab.office_mut().sending_memory = memory.clone();
    let others = memory.reserve(1_048_575).await.unwrap();
    lab.letter(&[&format!("a@{A}"), &format!("b@{A}")]).await;
    let office = lab.office();
    run_until(&lab, || async {
        let rows = waiting(office).await;
        if rows.iter().any(|row| row.state == RowState::Attempted) {
            pass(Duration::from_secs(1)).await;
        }
        rows.iter().all(|row| {
            let soon = row.next_attempt > lab.now()
                && row.next_attempt <= lab.now().after(Duration::from_secs(10));
            row.state == RowState::Waiting && row.attempts == 0 && soon
        })
    })
    .await;
    drop(others);
    lab.pass(Duration::from_secs(10));
    run_until(&lab, || async {
        let rows = waiting(office).await;
        rows.len() == 2 && rows.iter().all(|row| row.attempts == 1 && !row.last_reply.is_empty())
    })
    .await;
}
