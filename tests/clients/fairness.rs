//! A heavy search of one client, and the others meanwhile.
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clients::COLLEAGUE;
use crate::clients::USER;
use crate::support::imap::Status;
use crate::support::imap::Value;

const LETTERS: usize = 300;
const OCTETS: usize = 60_000;

/// A search that must look into every letter, and finds none.
const HEAVY: &str = "UID SEARCH OR OR OR BODY aaaa1 BODY aaaa2 BODY aaaa3 OR TEXT aaaa4 BODY aaaa5";

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_search_of_one_client_does_not_delay_the_others() {
    let space = super::space();
    let relay = super::relay(&space);
    let mut searching = super::client(&relay, USER).await.unwrap();
    for _ in 0..LETTERS {
        let (_, letter) = super::letter(OCTETS);
        super::file(&mut searching, "INBOX", "", &letter).await.unwrap();
    }
    let mut beside = super::client(&relay, USER).await.unwrap();
    let mut other = super::client(&relay, COLLEAGUE).await.unwrap();
    for client in [&mut searching, &mut beside, &mut other] {
        client.ok("SELECT INBOX").await.unwrap();
    }
    let quiet = [measure(&mut beside, 60).await, measure(&mut other, 60).await];

    let ended = Arc::new(AtomicBool::new(false));
    let searches = {
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            let mut searches = 0;
            while !ended.load(Ordering::Relaxed) {
                let answer = searching.ok(&format!("{HEAVY} BODY bbbb{searches}")).await.unwrap();
                let found = answer.find("SEARCH").unwrap();
                assert!(found.iter().all(|word| word.number().is_none()), "{found:?}");
                searches += 1;
            }
            searches
        })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let busy = [measure(&mut beside, 60).await, measure(&mut other, 60).await];
    // Whoever changes the mailbox that is being searched is not kept waiting either.
    let (_, letter) = super::letter(900);
    super::file(&mut beside, "INBOX", "", &letter).await.unwrap();
    let answer = beside.ok("UID SEARCH SUBJECT rendu").await.unwrap();
    let found = answer.find("SEARCH").unwrap().iter().filter_map(Value::number).count();
    assert_eq!(found, LETTERS + 1);
    ended.store(true, Ordering::Relaxed);
    let searches: usize = searches.await.unwrap();
    assert!(searches > 0);
    for (who, at) in [("the same mailbox", 0), ("another mailbox", 1)] {
        let ratio = busy[at].as_secs_f64() / quiet[at].as_secs_f64().max(1e-6);
        println!(
            "p99 of NOOP and FETCH in {who}: {:?} alone, {:?} beside {searches} searches, {ratio:.1} times",
            quiet[at], busy[at]
        );
    }
}

/// The slowest but one of some rounds: the 99th percentile of what a person waits for.
#[allow(clippy::disallowed_methods, reason = "a measurement of real time, printed, not asserted")]
async fn measure(client: &mut crate::support::imap::Client, rounds: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = std::time::Instant::now();
        let answer = client.say("NOOP").await.unwrap();
        assert_eq!(answer.status, Status::Ok);
        client.ok("UID FETCH 1:20 (FLAGS ENVELOPE)").await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
