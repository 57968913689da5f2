//! The second half of a letter's way: what waits in the queue is routed, delivered, counted, and
//! its sender told, when the clock says so.
//!
//! Nothing here may deliver twice behind another's back: a letter is leased before it is tried,
//! and what became of it commits only while the lease holds. A letter that breaks an attempt
//! breaks nothing else.
mod settle; // what became of an attempt

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::domain::delivery::NextHop;
use crate::domain::delivery::Route;
use crate::domain::envelope::QueueId;
use crate::domain::status::EnhancedStatus;
use crate::domain::status::Refusal;
use crate::flow::alerts;
use crate::flow::deliver;
use crate::flow::deliver::Delivery;
use crate::flow::deliver::operator::HandoverResult;
use crate::flow::deliver::operator::Met;
use crate::flow::deliver::operator::Outcome;
use crate::flow::gateway;
use crate::flow::office::Office;
use crate::flow::queue;
use crate::flow::queue::Claimed;
use crate::flow::queue::ClaimedRecipient;
use crate::flow::queue::Order;
use crate::flow::queue::Schedule;
use crate::flow::queue::Ticket;
use crate::flow::queue::Work;
use crate::flow::route;
use crate::flow::route::Routed;
use crate::infra::net::Stop;

/// How long the queue sleeps at least, and at most: a bell may be missed, a due row never is.
const NAP_MIN: Duration = Duration::from_millis(5);
const NAP_MAX: Duration = Duration::from_secs(30);
/// Letters that are leased together.
const CLAIMS_AT_ONCE: usize = 64;
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// An attempt that runs when the relay stops gets so long to come to its end.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// Pause of a letter for which there was no memory; it has waited for some already.
const UNTRIED_PAUSE: Duration = Duration::from_secs(5);
/// What the sender of a letter reads whom an administrator gave up (RFC 3463 §3.4).
const GIVEN_UP: EnhancedStatus = EnhancedStatus(5, 3, 0);
/// What the sender of a letter reads that got too old (RFC 3463 §3.5).
const EXPIRED: EnhancedStatus = EnhancedStatus(4, 4, 7);
/// The subject of the alarm about poison.
const SET_ASIDE: &str = "a letter was set aside";

/// What runs.
struct Traffic {
    schedule: Schedule,
    attempts: JoinSet<Attempted>,
    under_way: HashMap<task::Id, (Ticket, Arc<Claimed>)>,
}

/// What an attempt leaves behind for the next choice.
#[derive(Default)]
struct Attempted {
    heard: Vec<Heard>,
    /// Recipients over whom a worker broke.
    broken: Vec<u16>,
}

/// What was found at a hop.
struct Heard {
    host: String,
    has_answered: bool,
}

/// Delivers what is due until the relay stops.
pub async fn run(office: Arc<Office>, mut stop: Stop) {
    let Some(mut traffic) = Traffic::open(&office, &mut stop).await else { return };
    let mut background = JoinSet::new();
    background.spawn(in_the_background(Arc::clone(&office)));
    while !stop.is_stopping() {
        let nap = traffic.start_due(&office, &stop).await;
        tokio::select! {
            () = office.lanes.rung() => {}
            () = tokio::time::sleep(nap) => {}
            Some(ended) = traffic.attempts.join_next_with_id() => traffic.end(&office, ended).await,
            () = stop.stopped() => {}
        }
    }
    traffic.close(&office).await;
}

/// What need not be done before the first letter goes out.
async fn in_the_background(office: Arc<Office>) {
    loop {
        let done = match queue::migrate(&office).await {
            Ok(moved) => {
                if moved > 0 {
                    tracing::info!(moved, "rows of an older form wait in their lanes now");
                }
                queue::count(&office).await
            }
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(()) => return,
            Err(refusal) => tracing::warn!(%refusal, "the queue could not be looked through yet"),
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

impl Traffic {
    /// Frees what an earlier life left behind, and finds the lanes. `None`: the relay stops.
    async fn open(office: &Arc<Office>, stop: &mut Stop) -> Option<Self> {
        while !stop.is_stopping() {
            match Self::try_open(office).await {
                Ok(traffic) => return Some(traffic),
                Err(refusal) => tracing::error!(%refusal, "the queue could not be opened"),
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_PAUSE) => {}
                () = stop.stopped() => {}
            }
        }
        None
    }

    async fn try_open(office: &Arc<Office>) -> Result<Self, Refusal> {
        let recovered = queue::recover(office).await?;
        if recovered.freed > 0 {
            tracing::info!(freed = recovered.freed, "leases of an earlier life are free again");
        }
        if recovered.set_aside > 0 {
            tell_set_aside(office, recovered.set_aside);
        }
        let schedule = Schedule::open(office).await?;
        let (attempts, under_way) = (JoinSet::new(), HashMap::new());
        Ok(Self { schedule, attempts, under_way })
    }

    /// Starts what is due and has a place; tells how long to sleep.
    async fn start_due(&mut self, office: &Arc<Office>, stop: &Stop) -> Duration {
        let nap = loop {
            if stop.is_stopping() {
                break Duration::ZERO;
            }
            let now = office.clock.now();
            match self.schedule.next_some(office, now, CLAIMS_AT_ONCE).await {
                Ok(works) if works.is_empty() => {
                    break self.schedule.nap(office, office.clock.now());
                }
                Ok(works) => works.into_iter().for_each(|work| self.start(office, work)),
                Err(refusal) => {
                    tracing::warn!(%refusal, "due letters could not be leased");
                    break STORE_PAUSE;
                }
            }
        };
        let damaged = self.schedule.take_damaged();
        if damaged > 0 {
            let text = format!(
                "{damaged} waiting recipients cannot be read and are set aside; \
                 `vaguemestre queue list --held` shows them."
            );
            alerts::raise(office, "rows of the queue are damaged", &text);
        }
        nap.clamp(NAP_MIN, NAP_MAX)
    }

    fn start(&mut self, office: &Arc<Office>, work: Work) {
        let claimed = Arc::new(work.claimed);
        let (at, letter) = (Arc::clone(office), Arc::clone(&claimed));
        let handle = self.attempts.spawn(async move { attempt(&at, &letter).await });
        self.under_way.insert(handle.id(), (work.ticket, claimed));
    }

    async fn end(&mut self, office: &Arc<Office>, ended: Result<(task::Id, Attempted), JoinError>) {
        let (id, attempted) = match ended {
            Ok((id, attempted)) => (id, Some(attempted)),
            Err(error) => (error.id(), None),
        };
        let Some((ticket, claimed)) = self.under_way.remove(&id) else { return };
        let attempted = attempted.unwrap_or_else(|| Attempted {
            heard: Vec::new(),
            broken: claimed.recipients().iter().map(|each| each.number).collect(),
        });
        for heard in &attempted.heard {
            office.lanes.heard(office, ticket.lane(), &heard.host, heard.has_answered);
        }
        if !attempted.broken.is_empty() {
            let letter = claimed.queue_id();
            tracing::error!(%letter, "a delivery broke its worker");
            let now = office.clock.now();
            match queue::broke(office, &claimed, &attempted.broken, now).await {
                Ok(0) => {}
                Ok(aside) => tell_set_aside(office, aside),
                Err(refusal) => {
                    tracing::error!(%refusal, "could not be written down; its lease runs out");
                }
            }
        }
        queue::note_gone(office, &claimed).await;
        self.schedule.ended(office, &ticket);
    }

    /// What is cut waits again: a stop is no death.
    async fn close(mut self, office: &Arc<Office>) {
        let until = tokio::time::Instant::now() + STOP_GRACE;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(until, self.attempts.join_next_with_id()).await
        {
            self.end(office, ended).await;
        }
        self.attempts.shutdown().await;
        for (_, claimed) in self.under_way.values() {
            queue::give_back(office, claimed).await;
        }
    }
}

fn tell_set_aside(office: &Arc<Office>, recipients: usize) {
    let text = format!(
        "{recipients} waiting recipients broke the relay's workers and are set aside; nothing else \
         waits for them. `vaguemestre queue list --held` shows them, `queue release`, `queue \
         bounce` or `queue drop` decide."
    );
    alerts::raise(office, SET_ASIDE, &text);
}

/// One attempt: all hops of the letter at the same time.
async fn attempt(office: &Arc<Office>, claimed: &Claimed) -> Attempted {
    let mut hops = JoinSet::new();
    let mut numbers: HashMap<task::Id, Vec<u16>> = HashMap::new();
    let (ordered, tried) = claimed.clone().split();
    for (claimed, is_tried) in [(ordered, false), (tried, true)] {
        let Some(claimed) = claimed else { continue };
        let (claimed, withheld) = match is_tried {
            true => gateway::look_again(office, claimed).await,
            false => (Some(claimed), Vec::new()),
        };
        let Some(claimed) = claimed.map(Arc::new) else { continue };
        for routed in route::plan(office, &claimed, &withheld) {
            let here = routed.recipients().iter().map(|each| each.number).collect();
            let (office, claimed) = (Arc::clone(office), Arc::clone(&claimed));
            let hop = async move {
                if is_tried {
                    one_hop(&office, &claimed, routed).await
                } else {
                    one_end(&office, &claimed, routed).await;
                    Vec::new()
                }
            };
            numbers.insert(hops.spawn(hop).id(), here);
        }
    }
    let mut attempted = Attempted::default();
    while let Some(ended) = hops.join_next_with_id().await {
        match ended {
            Ok((_, heard)) => attempted.heard.extend(heard),
            Err(error) => attempted.broken.extend(numbers.remove(&error.id()).unwrap_or_default()),
        }
    }
    attempted
}

async fn one_hop(office: &Arc<Office>, claimed: &Claimed, routed: Routed) -> Vec<Heard> {
    if let [recipient] = routed.recipients()
        && routed.is_withheld()
        && !routed.letter().encrypted
        && gateway::reform(office, claimed, routed.letter(), recipient).await
    {
        return Vec::new();
    }
    let delivery = deliver::to_operator(office, routed).await;
    let age = office.clock.now().since(claimed.letter().accepted_at);
    if delivery.is_too_much() && age < office.config.queue.give_up {
        let (letter, recipients) = (claimed.queue_id(), delivery.routed().recipients());
        tracing::warn!(%letter, "no memory for one more letter now");
        queue::untried(office, letter, recipients, UNTRIED_PAUSE).await;
        return Vec::new();
    }
    let heard = heard(office, &delivery);
    settle::settle(office, claimed, &delivery).await;
    heard
}

/// What the delivery tells about the hosts that were called; one of them speaks for the lane.
fn heard(office: &Office, delivery: &Delivery) -> Vec<Heard> {
    let NextHop::Operator { route, .. } = delivery.routed().next() else { return Vec::new() };
    // As the scheduler calls a route that somebody wrote down.
    let host = |met: &Met| match route {
        Route::Fixed(host) => host.clone(),
        Route::Dns | Route::Unknown => met.host.clone(),
    };
    // The lane waits for a host only while none of them answers.
    let (met, last) = (delivery.met(), &delivery.contact().host);
    let chosen = met.iter().rfind(|met| met.answers).or(met.iter().find(|met| met.host == *last));
    for other in met.iter().filter(|met| Some(*met) != chosen) {
        office.lanes.met(office, &host(other), other.answers);
    }
    chosen.map(|met| Heard { host: host(met), has_answered: met.answers }).into_iter().collect()
}

/// What ends without an attempt is reported and settled like any other failure.
async fn one_end(office: &Arc<Office>, claimed: &Claimed, routed: Routed) {
    let letter = routed.queue_id();
    let outcomes = routed.recipients().iter().map(|each| end_of(office, letter, each)).collect();
    let delivery = deliver::without_attempt(office, routed, outcomes).await;
    settle::settle(office, claimed, &delivery).await;
}

fn end_of(office: &Office, letter: QueueId, recipient: &ClaimedRecipient) -> Outcome {
    match &recipient.order {
        Some(Order::Bounce(told)) => {
            let by = "an administrator of this relay ended the delivery";
            let reply = told.as_ref().map_or(by.to_owned(), |told| format!("{by}: {told}"));
            Outcome { result: HandoverResult::Refused(GIVEN_UP), reply }
        }
        Some(Order::Expired) | None => {
            let last = recipient.last_reply(office, letter);
            let reply = match last.is_empty() {
                true => "the time for delivery is over".to_owned(),
                false => format!("the time for delivery is over; the last answer was: {last}"),
            };
            Outcome { result: HandoverResult::PutOff(EXPIRED), reply }
        }
    }
}
