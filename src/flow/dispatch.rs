//! The second half of a letter's way: what waits in the queue is routed, delivered, counted, and
//! its sender told, when the clock says so.
//!
//! Nothing here may deliver twice behind another's back: a letter is leased before it is tried,
//! and what became of it commits only while the lease holds.
mod settle; // what became of an attempt

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::delivery::NextHop;
use crate::domain::time::Timestamp;
use crate::flow::deliver;
use crate::flow::deliver::operator::Outcome;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::Due;
use crate::flow::route;
use crate::flow::route::Routed;
use crate::infra::net::Stop;

/// How long the queue sleeps when nothing is due: a bell may be missed, a due row never is.
const NAP: Duration = Duration::from_secs(30);
/// After no connection came about, the domain's other letters are not tried for so long.
const UNREACHABLE_FOR: Duration = Duration::from_secs(30);
/// An attempt that runs when the relay stops gets so long to come to its end.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// What runs, and what is not worth trying now.
#[derive(Default)]
struct Traffic {
    running: HashMap<String, usize>,
    unreachable: HashMap<String, Timestamp>,
    attempts: JoinSet<Attempted>,
}

/// What an attempt leaves behind for the next choice.
struct Attempted {
    domains: Vec<String>,
    unreachable: Vec<String>,
}

/// Delivers what is due until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    match queue::recover(&office).await {
        Ok(0) => {}
        Ok(freed) => tracing::info!(freed, "leases of an earlier life are free again"),
        Err(refusal) => tracing::error!(%refusal, "the queue could not be recovered"),
    }
    let mut traffic = Traffic::default();
    while !stop.is_stopping() {
        let nap = traffic.start_due(&office, &stop).await;
        tokio::select! {
            () = office.queue_bell.notified() => {}
            () = tokio::time::sleep(nap) => {}
            Some(ended) = traffic.attempts.join_next() => traffic.end(&office, ended),
            () = stop.stopped() => {}
        }
    }
    // An attempt that is cut keeps its lease; the next start frees it.
    let ending = async { while traffic.attempts.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_GRACE, ending).await;
}

impl Traffic {
    /// Starts what is due and has a place; tells how long to sleep.
    async fn start_due(&mut self, office: &Arc<Office>, stop: &Stop) -> Duration {
        let now = office.clock.now();
        self.unreachable.retain(|_, until| *until > now);
        let skip = |domain: &str| {
            self.unreachable.contains_key(domain)
                || self
                    .running
                    .get(domain)
                    .is_some_and(|running| *running >= office.config.queue.per_destination)
        };
        let places = office.config.queue.at_once.saturating_sub(self.attempts.len());
        let (due, next) = match queue::due(office, now, places, skip).await {
            Ok(found) => found,
            Err(_) => (Vec::new(), Some(now.after(Duration::from_secs(1)))),
        };
        for letter in due {
            if stop.is_stopping() {
                break;
            }
            self.start(office, letter).await;
        }
        let next = self.unreachable.values().copied().chain(next).min();
        let nap = next.map_or(NAP, |next| next.since(office.clock.now()));
        nap.clamp(Duration::from_millis(5), NAP)
    }

    async fn start(&mut self, office: &Arc<Office>, letter: Due) {
        // Now, not when the queue was looked through: a lease must not begin in the past.
        match queue::claim(office, &letter, office.clock.now()).await {
            Ok(Some(claimed)) => {
                let domains = letter.domains().to_vec();
                for domain in &domains {
                    *self.running.entry(domain.clone()).or_default() += 1;
                }
                let office = Arc::clone(office);
                self.attempts.spawn(async move {
                    let unreachable = attempt(&office, &claimed).await;
                    Attempted { domains, unreachable }
                });
            }
            Ok(None) => {}
            Err(refusal) => tracing::warn!(%refusal, "a due letter could not be leased"),
        }
    }

    fn end(&mut self, office: &Office, ended: Result<Attempted, tokio::task::JoinError>) {
        let attempted = match ended {
            Ok(attempted) => attempted,
            Err(error) => {
                // Its places are given back below, all of them: better one too many.
                tracing::error!(%error, "an attempt ended badly; its lease runs out");
                self.running.clear();
                return;
            }
        };
        for domain in &attempted.domains {
            if let Some(running) = self.running.get_mut(domain) {
                *running = running.saturating_sub(1);
            }
        }
        self.running.retain(|_, running| *running > 0);
        let until = office.clock.now().after(UNREACHABLE_FOR.min(shortest_wait(office)));
        self.unreachable.extend(attempted.unreachable.into_iter().map(|domain| (domain, until)));
    }
}

/// The wait before the second attempt: an unreachable domain is not left alone for longer.
fn shortest_wait(office: &Office) -> Duration {
    office.config.queue.retry.iter().min().copied().unwrap_or(UNREACHABLE_FOR)
}

/// One attempt: all hops of the letter at the same time. Answers the domains to which no
/// connection came about.
async fn attempt(office: &Arc<Office>, claimed: &Claimed) -> Vec<String> {
    let mut hops = JoinSet::new();
    let claimed = Arc::new(claimed.clone());
    for routed in route::plan(office, &claimed) {
        let (office, claimed) = (Arc::clone(office), Arc::clone(&claimed));
        hops.spawn(async move { one_hop(&office, &claimed, routed).await });
    }
    let mut unreachable = Vec::new();
    while let Some(ended) = hops.join_next().await {
        match ended {
            Ok(domain) => unreachable.extend(domain),
            Err(error) => {
                tracing::error!(%error, letter = %claimed.queue_id(), "a delivery ended badly");
            }
        }
    }
    unreachable
}

async fn one_hop(office: &Arc<Office>, claimed: &Claimed, routed: Routed) -> Option<String> {
    let domain = match routed.next() {
        NextHop::Operator { domain, .. } => Some(domain.to_string()),
        NextHop::Mailbox => None,
    };
    let delivery = deliver::to_operator(office, routed).await;
    let no_connection = delivery.outcomes().iter().all(Outcome::is_about_the_connection);
    settle::settle(office, claimed, &delivery).await;
    domain.filter(|_| no_connection)
}
