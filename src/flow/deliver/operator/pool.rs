//! Connections that wait for another letter.
//!
//! A handshake with two certificates costs more than a small letter; a laboratory sends its
//! results in bursts, often to one other operator.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::delivery::MailHost;
use crate::flow::deliver::operator::Handover;
use crate::flow::deliver::operator::session::Session;

/// Connections that wait for one host and port; whatever the domain, an operator has one door.
const IDLE_PER_HOP_MAX: usize = 4;
/// Connections that wait in all.
const IDLE_MAX: usize = 64;
/// How long one waits; servers hang up after minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Connections to other operators that wait for another letter. Dropping it closes them.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<HashMap<String, Vec<Idle>>>,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Pool {
    /// No connections yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connections that wait now.
    pub fn idle(&self) -> usize {
        self.waiting().values().map(Vec::len).sum()
    }

    /// The youngest one for this hop that this letter may use: opened with the certificate in
    /// use now, to a server that the list names for these recipients now.
    pub(super) fn take(&self, handover: &Handover<'_>, host: &MailHost) -> Option<Session> {
        let mut waiting = self.waiting();
        let idle = waiting.get_mut(&host.to_string())?;
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
        let mut waiting = self.waiting();
        waiting.retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < IDLE_TIME_MAX);
            !idle.is_empty()
        });
        if waiting.values().map(Vec::len).sum::<usize>() >= IDLE_MAX {
            return;
        }
        let idle = waiting.entry(host.to_string()).or_default();
        if idle.len() >= IDLE_PER_HOP_MAX {
            idle.remove(0);
        }
        idle.push(Idle { session, since: Instant::now() });
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        // Nothing panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
