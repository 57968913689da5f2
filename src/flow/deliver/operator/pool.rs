//! Connections that wait for another letter.
//!
//! A handshake with two certificates costs more than a small letter; a laboratory sends its
//! results in bursts, often to one other operator.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::delivery::MailHost;
use crate::domain::limits;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::session::Session;

/// How long one waits; servers hang up after minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Connections to other operators that wait for another letter. Dropping it closes them.
pub struct Pool {
    waiting: Arc<Mutex<Waiting>>,
    /// Connections that wait for one host and port; whatever the domain, an operator has one door.
    per_hop: usize,
    /// Connections that wait in all.
    in_all: usize,
}

#[derive(Default)]
struct Waiting {
    idle: HashMap<String, Vec<Idle>>,
    /// A task looks for those that waited too long.
    is_swept: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// No connections yet; as many as the usual configuration lets attempts run.
    pub fn new() -> Self {
        Self::sized(limits::DELIVERIES_PER_DESTINATION_DEFAULT, limits::DELIVERIES_AT_ONCE_DEFAULT)
    }

    /// For so many attempts at one destination, and in all: each may leave a connection behind
    /// that the next one uses, and those in all meet other hosts in the meantime.
    pub fn sized(per_destination: usize, at_once: usize) -> Self {
        let (per_hop, in_all) = (per_destination.max(1), at_once.saturating_mul(2).max(1));
        Self { waiting: Arc::default(), per_hop, in_all }
    }

    /// Connections that wait now.
    pub fn idle(&self) -> usize {
        lock(&self.waiting).count()
    }

    /// The youngest one for this hop that this letter may use: opened with the certificate in
    /// use now, to a server that the list names for these recipients now.
    pub(super) fn take(&self, handover: &Handover<'_>, host: &MailHost) -> Option<Session> {
        let mut waiting = lock(&self.waiting);
        let idle = waiting.idle.get_mut(&host.to_string())?;
        let may_use = |idle: &Idle| {
            idle.since.elapsed() < IDLE_TIME_MAX
                && idle.session.may_carry_more()
                && Arc::ptr_eq(&idle.session.tls, &handover.tls)
                && idle.session.peer().is_good_now(&handover.demands)
        };
        let place = idle.iter().rposition(may_use)?;
        Some(idle.remove(place).session)
    }

    /// Keeps a connection; the oldest ones go when there are too many.
    pub(super) fn put(&self, host: &MailHost, session: Session) {
        let hop = host.to_string();
        let mut waiting = lock(&self.waiting);
        let mut gone = Vec::new();
        if waiting.idle.get(&hop).is_some_and(|idle| idle.len() >= self.per_hop) {
            gone.extend(waiting.oldest_of(&hop));
        }
        if waiting.count() >= self.in_all {
            gone.extend(waiting.oldest());
        }
        waiting.idle.entry(hop).or_default().push(Idle { session, since: Instant::now() });
        if !std::mem::replace(&mut waiting.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.waiting)));
        }
        drop(waiting);
        say_farewell(gone);
    }
}

impl Waiting {
    fn count(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    /// Those of one hop stand in the order in which they came.
    fn oldest_of(&mut self, hop: &str) -> Option<Session> {
        let idle = self.idle.get_mut(hop)?;
        let oldest = (!idle.is_empty()).then(|| idle.remove(0).session);
        if idle.is_empty() {
            self.idle.remove(hop);
        }
        oldest
    }

    fn oldest(&mut self) -> Option<Session> {
        let first = |(hop, idle): (&String, &Vec<Idle>)| Some((idle.first()?.since, hop.clone()));
        let (_, hop) = self.idle.iter().filter_map(first).min()?;
        self.oldest_of(&hop)
    }

    /// Those that waited too long, or are of no use any more.
    fn expired(&mut self) -> Vec<Session> {
        let mut gone = Vec::new();
        self.idle.retain(|_, idle| {
            let is_over = |idle: &mut Idle| {
                idle.since.elapsed() >= IDLE_TIME_MAX || !idle.session.may_carry_more()
            };
            gone.extend(idle.extract_if(.., is_over).map(|idle| idle.session));
            !idle.is_empty()
        });
        gone
    }
}

/// Runs as long as anything waits. Without it, a server would keep a connection for us until the
/// next letter to anybody.
async fn sweep(waiting: Weak<Mutex<Waiting>>) {
    loop {
        tokio::time::sleep(IDLE_TIME_MAX / 2).await;
        let Some(waiting) = waiting.upgrade() else { return };
        let mut waiting = lock(&waiting);
        let gone = waiting.expired();
        waiting.is_swept = !waiting.idle.is_empty();
        let goes_on = waiting.is_swept;
        drop(waiting);
        say_farewell(gone);
        if !goes_on {
            return;
        }
    }
}

/// QUIT, while nobody waits for it: each takes two seconds at most.
fn say_farewell(gone: Vec<Session>) {
    if gone.is_empty() {
        return;
    }
    tokio::spawn(async move {
        let farewells: tokio::task::JoinSet<()> = gone.into_iter().map(Session::quit).collect();
        farewells.join_all().await;
    });
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // Nothing panics while it holds the lock.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
