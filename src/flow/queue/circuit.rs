//! Hosts that do not answer: after some failures in a row nobody knocks for a while, then one
//! letter does. In memory only: after a restart everybody deserves a try.
//!
//! Time is the runtime's and not the clock's: a clock that jumps must neither open nor close.
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::delivery::MailHost;
use crate::domain::limits;
use crate::flow::office::Office;
use crate::flow::queue::Lanes;
use crate::flow::queue::lanes;

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

/// One letter that knocks at hosts whose circuits are half open; over when dropped.
pub struct Knock<'a> {
    lanes: &'a Lanes,
    hosts: Vec<String>,
}

impl Drop for Knock<'_> {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| self.lanes.end(host));
    }
}

impl Lanes {
    /// An attempt called this host, and another one speaks for the lane.
    pub fn met(&self, office: &Office, host: &str, answers: bool) {
        let mut memory = self.memory();
        match answers {
            true => {
                if memory.circuits.answered(host) {
                    tracing::info!(host, "a host answers again");
                }
            }
            false => memory.circuits.failed(host, lanes::patience(office), Instant::now()),
        }
    }

    /// Hosts of one operator, best first: those that nobody should knock at now go to the end,
    /// so that a dead first host does not cost every letter the time of a connection in vain.
    /// None is left out; somebody who does not answer may still be the only one.
    pub fn line_up(&self, hosts: &mut [MailHost]) -> Knock<'_> {
        let mut knock = Knock { lanes: self, hosts: Vec::new() };
        if hosts.len() < 2 {
            // The scheduler has asked already.
            return knock;
        }
        let now = Instant::now();
        let circuits = &mut self.memory().circuits;
        hosts.sort_by_cached_key(|host| match circuits.verdict(&host.to_string(), now) {
            Verdict::Closed | Verdict::HalfOpen => 0,
            Verdict::Probed => 1,
            Verdict::Open(_) => 2,
        });
        for host in hosts.iter().map(MailHost::to_string) {
            if circuits.verdict(&host, now) == Verdict::HalfOpen {
                circuits.begin(&host, now);
                knock.hosts.push(host);
            }
        }
        knock
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
    fn a_dead_first_host_goes_to_the_end_and_one_letter_looks_whether_it_is_back() {
        let lanes = Lanes::seeded(1);
        let best_first =
            || [1, 2].map(|last| MailHost::at(std::net::IpAddr::from([192, 0, 2, last]), 25));
        let first = |lanes: &Lanes| {
            let mut hosts = best_first();
            let knock = lanes.line_up(&mut hosts);
            (hosts[0].name.clone(), knock.hosts.len())
        };
        let (dead, live) = ("192.0.2.1", "192.0.2.2");
        assert_eq!(first(&lanes), (dead.to_owned(), 0));
        let now = Instant::now();
        for _ in 0..limits::CIRCUIT_FAILURES {
            lanes.memory().circuits.failed("192.0.2.1:25", PATIENCE, now);
        }
        assert_eq!(first(&lanes), (live.to_owned(), 0), "every letter waits for the dead one");
        lanes.memory().circuits.half_open("192.0.2.1:25", now);
        let mut hosts = best_first();
        let knock = lanes.line_up(&mut hosts);
        assert_eq!((hosts[0].name.as_str(), knock.hosts.len()), (dead, 1), "nobody looks");
        assert_eq!(first(&lanes), (live.to_owned(), 0), "two look");
        drop(knock);
        assert_eq!(first(&lanes), (dead.to_owned(), 1), "the first one was cut");
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
