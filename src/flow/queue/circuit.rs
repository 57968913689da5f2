//! Hosts that do not answer: after some failures in a row nobody knocks for a while, then one
//! letter does. In memory only: after a restart everybody deserves a try.
//!
//! Time is the runtime's and not the clock's: a clock that jumps must neither open nor close.
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::limits;

/// How long circuits stay open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

#[derive(Default)]
pub(super) struct Circuits(HashMap<String, Circuit>);

struct Circuit {
    /// Connections that did not come about since the last one that did.
    failures: u32,
    /// Nobody knocks before.
    until: Option<Instant>,
    /// One letter is knocking.
    probing: bool,
}

/// What the circuit of a host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go.
    Closed,
    /// One may go.
    HalfOpen,
    /// Not before then.
    Open(Instant),
    /// One is there; wait for what it finds.
    Probed,
}

/// A circuit that is not closed, for tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitView {
    /// `host:port`, or the domain where no host is known.
    pub host: String,
    /// Failures in a row.
    pub failures: u32,
    /// `counting`, `open`, `half-open`.
    pub state: &'static str,
    /// How long nobody knocks yet.
    pub left: Duration,
}

impl Circuits {
    pub(super) fn verdict(&self, host: &str, now: Instant) -> Verdict {
        match self.0.get(host) {
            None | Some(Circuit { until: None, .. }) => Verdict::Closed,
            Some(Circuit { until: Some(until), .. }) if *until > now => Verdict::Open(*until),
            Some(Circuit { probing: true, .. }) => Verdict::Probed,
            Some(_) => Verdict::HalfOpen,
        }
    }

    /// An attempt at the host begins.
    pub(super) fn begin(&mut self, host: &str, now: Instant) {
        if self.verdict(host, now) == Verdict::HalfOpen
            && let Some(circuit) = self.0.get_mut(host)
        {
            circuit.probing = true;
        }
    }

    /// An attempt at the host ended and says nothing about it.
    pub(super) fn end(&mut self, host: &str) {
        if let Some(circuit) = self.0.get_mut(host) {
            circuit.probing = false;
        }
    }

    /// No connection came about.
    pub(super) fn failed(&mut self, host: &str, patience: Patience, now: Instant) {
        if self.0.len() >= limits::CIRCUITS_MAX && !self.0.contains_key(host) {
            let oldest = self.0.iter().min_by_key(|(_, circuit)| circuit.until);
            let oldest = oldest.map(|(host, _)| host.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let new = Circuit { failures: 0, until: None, probing: false };
        let circuit = self.0.entry(host.to_owned()).or_insert(new);
        let was_open = circuit.until.is_some_and(|until| until > now);
        circuit.probing = false;
        // Those who knocked before it opened are one failure together.
        if was_open {
            return;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        if let Some(steps) = circuit.failures.checked_sub(limits::CIRCUIT_FAILURES) {
            let wait = patience.first.saturating_mul(1 << steps.min(16)).min(patience.most);
            circuit.until = Some(now + wait);
        }
    }

    /// The host answered. True when it had not before.
    pub(super) fn answered(&mut self, host: &str) -> bool {
        self.0.remove(host).is_some_and(|circuit| circuit.until.is_some())
    }

    /// An administrator wants a try now.
    pub(super) fn half_open(&mut self, host: &str, now: Instant) {
        if let Some(circuit) = self.0.get_mut(host)
            && circuit.until.is_some()
        {
            circuit.until = Some(now);
        }
    }

    pub(super) fn views(&self, now: Instant) -> Vec<CircuitView> {
        let view = |(host, circuit): (&String, &Circuit)| CircuitView {
            host: host.clone(),
            failures: circuit.failures,
            state: match circuit.until {
                None => "counting",
                Some(until) if until > now => "open",
                Some(_) => "half-open",
            },
            left: circuit.until.map_or(Duration::ZERO, |until| until.duration_since(now)),
        };
        let mut views: Vec<CircuitView> = self.0.iter().map(view).collect();
        views.sort_by(|one, other| one.host.cmp(&other.host));
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { first: Duration::from_secs(30), most: Duration::from_secs(900) };

    #[test]
    fn a_circuit_opens_after_some_failures_for_longer_and_longer() {
        let mut circuits = Circuits::default();
        let mut now = Instant::now();
        for _ in 1..limits::CIRCUIT_FAILURES {
            circuits.failed("mx:25", PATIENCE, now);
            assert_eq!(circuits.verdict("mx:25", now), Verdict::Closed);
        }
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            circuits.failed("mx:25", PATIENCE, now);
            // Others that were on their way are not counted again.
            circuits.failed("mx:25", PATIENCE, now);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(circuits.verdict("mx:25", now), Verdict::Open(until));
            assert_eq!(circuits.verdict("other:25", now), Verdict::Closed);
            now = until;
            assert_eq!(circuits.verdict("mx:25", now), Verdict::HalfOpen);
        }
    }

    #[test]
    fn one_letter_knocks_at_a_half_open_circuit_and_an_answer_closes_it() {
        let mut circuits = Circuits::default();
        let mut now = Instant::now();
        (0..limits::CIRCUIT_FAILURES).for_each(|_| circuits.failed("mx:25", PATIENCE, now));
        now += Duration::from_secs(30);
        circuits.begin("mx:25", now);
        assert_eq!(circuits.verdict("mx:25", now), Verdict::Probed);
        circuits.end("mx:25");
        assert_eq!(circuits.verdict("mx:25", now), Verdict::HalfOpen, "the probe said nothing");
        circuits.begin("mx:25", now);
        assert!(circuits.answered("mx:25"));
        assert_eq!(circuits.verdict("mx:25", now), Verdict::Closed);
        assert!(circuits.views(now).is_empty());
    }

    #[test]
    fn an_administrator_need_not_wait_and_hosts_are_bounded() {
        let mut circuits = Circuits::default();
        let now = Instant::now();
        (0..limits::CIRCUIT_FAILURES).for_each(|_| circuits.failed("mx:25", PATIENCE, now));
        circuits.half_open("mx:25", now);
        assert_eq!(circuits.verdict("mx:25", now), Verdict::HalfOpen);
        for host in 0..limits::CIRCUITS_MAX + 10 {
            circuits.failed(&host.to_string(), PATIENCE, now);
        }
        assert_eq!(circuits.0.len(), limits::CIRCUITS_MAX);
    }
}
