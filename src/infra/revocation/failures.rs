//! Which sources failed, and until when they are left alone.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::limits::REVOCATION_BACKOFF_FIRST;
use crate::domain::limits::REVOCATION_BACKOFF_MAX;
use crate::domain::limits::REVOCATION_FAILURES_MAX;
use crate::domain::time::Timestamp;

/// Failures by source.
pub(super) struct Failures<Key>(Mutex<HashMap<Key, Failure>>);

#[derive(Clone, Debug)]
struct Failure {
    times: u32,
    until: Timestamp,
    reason: String,
}

impl<Key: Clone + Eq + Hash> Failures<Key> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// One more failure of a question asked `now`, and how long the source is left alone after
    /// it. Twice as long each time, a quarter more or less: sources that failed together are not
    /// asked together. `None` when it is left alone already: of many questions that were open at
    /// the same time, the first that fails counts, and is told.
    pub(super) fn note(&self, key: Key, reason: &str, now: Timestamp) -> Option<Duration> {
        let mut failures = self.lock();
        if failures.get(&key).is_some_and(|failure| failure.lasts(now)) {
            return None;
        }
        if failures.len() >= REVOCATION_FAILURES_MAX && !failures.contains_key(&key) {
            make_room(&mut failures);
        }
        let times = failures.get(&key).map_or(0, |failure| failure.times).saturating_add(1);
        let wait = jittered(wait_after(times), random());
        failures.insert(key, Failure { times, until: now.after(wait), reason: reason.to_owned() });
        Some(wait)
    }

    /// The source answered. True when it had failed before.
    pub(super) fn forget(&self, key: &Key) -> bool {
        self.lock().remove(key).is_some()
    }

    /// Why the source is left alone now.
    pub(super) fn waiting(&self, key: &Key, now: Timestamp) -> Option<String> {
        let failures = self.lock();
        let failure = failures.get(key)?;
        failure.lasts(now).then(|| failure.reason.clone())
    }

    /// Why it failed the last time.
    pub(super) fn reason(&self, key: &Key) -> Option<String> {
        self.lock().get(key).map(|failure| failure.reason.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// A clock that was set back must not keep a source waiting for days.
    fn lasts(&self, now: Timestamp) -> bool {
        now < self.until && self.until.since(now) <= REVOCATION_BACKOFF_MAX * 2
    }
}

/// A tenth goes, those first that may be asked again soonest.
fn make_room<Key: Clone + Eq + Hash>(failures: &mut HashMap<Key, Failure>) {
    let mut ends: Vec<(Timestamp, Key)> =
        failures.iter().map(|(key, failure)| (failure.until, key.clone())).collect();
    ends.sort_unstable_by_key(|(until, _)| *until);
    for (_, key) in ends.into_iter().take(REVOCATION_FAILURES_MAX / 10) {
        failures.remove(&key);
    }
}

fn wait_after(times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
    REVOCATION_BACKOFF_FIRST.saturating_mul(doubled).min(REVOCATION_BACKOFF_MAX)
}

/// From three to five quarters.
fn jittered(wait: Duration, random: u16) -> Duration {
    wait * 3 / 4 + wait / 2 * u32::from(random) / u32::from(u16::MAX)
}

fn random() -> u16 {
    let mut octets = [0; 2];
    // Without randomness there is no jitter, and nothing else is lost.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u16::from_ne_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_up_to_an_hour() {
        let waits: Vec<u64> = (1..10).map(|times| wait_after(times).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(wait_after(u32::MAX), REVOCATION_BACKOFF_MAX);
        let hour = REVOCATION_BACKOFF_MAX;
        assert_eq!(jittered(hour, 0), hour * 3 / 4);
        assert_eq!(jittered(hour, u16::MAX), hour * 5 / 4);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_a_source_waiting() {
        let failures = Failures::new();
        let now = Timestamp::from_seconds(1_800_000_000);
        failures.note("crl", "HTTP 403", now);
        assert!(failures.waiting(&"crl", now).is_some());
        assert!(failures.waiting(&"crl", Timestamp::from_seconds(1_700_000_000)).is_none());
        assert!(failures.waiting(&"crl", now.after(Duration::from_secs(60))).is_none());
    }

    #[test]
    fn questions_that_fail_together_count_once() {
        let failures = Failures::new();
        let now = Timestamp::from_seconds(1_800_000_000);
        assert!(failures.note("ocsp", "silence", now).is_some());
        for _ in 0..40 {
            assert!(failures.note("ocsp", "silence", now.after(Duration::from_secs(1))).is_none());
        }
        assert!(failures.waiting(&"ocsp", now.after(Duration::from_secs(45))).is_none());
    }

    #[test]
    fn memory_of_failures_is_bounded() {
        let failures = Failures::new();
        for key in 0..3 * REVOCATION_FAILURES_MAX {
            failures.note(key, "HTTP 403", Timestamp::from_seconds(1));
        }
        assert!(failures.lock().len() <= REVOCATION_FAILURES_MAX);
    }
}
