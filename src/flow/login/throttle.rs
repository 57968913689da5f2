//! How often somebody may be wrong, and how long the next try waits.
//!
//! Failures are counted for a name *as tried from one address*, for the address, and for its
//! neighbourhood (/24 of IPv4, /48 of IPv6). Each failure makes the next try wait longer: first
//! for moments, in which the connection is held and nothing else is; from `failures_per_minute` on
//! for minutes, and then a try is turned away unread. Nothing is counted for an account alone:
//! otherwise a stranger could lock a clinician out. And what strangers did in the same network is
//! not held against whoever comes from where they usually come from.
//!
//! One stranger is left: somebody behind the very address that a mailbox is usually opened from, a
//! hospital's, who guesses at that mailbox. Nothing that is seen before the password is looked at
//! tells the two apart, so they share a *lane*: a queue for this name from this address, in which
//! each waits for their turn, one every `limits::LOGIN_LANE_PACE`, and nobody is passed over. Guessing
//! has a pace there, and the right password a bound. What needs no throttle (an app password, a
//! token that is known) never comes here.
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::limits;
use crate::domain::login::Network;
use crate::domain::time::Timestamp;

/// Counters that are remembered, of each kind.
const COUNTERS_MAX: usize = 100_000;
/// An address may fail so many times as often as one name from it: a hospital has many people
/// behind one address, and some of them forget their password on the same morning.
pub(super) const NAMES_OF_AN_ADDRESS: u32 = 10;
/// And its neighbourhood so many times as often.
pub(super) const NAMES_OF_A_NEIGHBOURHOOD: u32 = 30;
/// The first pause after which a try is turned away. It doubles with each further failure.
const PAUSE: Duration = Duration::from_secs(60);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(900);
/// Half of the failures are forgotten when nobody failed for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Tries that were turned away before the memory of right passwords is closed to them, too.
/// It is quick to ask: without an end to it, a guess would cost nothing.
const GLANCES_MAX: u32 = 100;

/// Counts attempts that failed or have no answer yet.
pub(super) struct Throttle {
    failures_per_minute: u32,
    /// Names are kept as keyed hashes: a stranger chooses them, and their length.
    hasher: RandomState,
    counters: Mutex<Counters>,
    lanes: Mutex<HashMap<(Network, u64), Arc<Lane>>>,
}

/// Somebody, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tried {
    address: Network,
    neighbourhood: Network,
    name: u64,
}

/// When a try may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// After so long; often zero. It is counted as a failure until it is given back.
    In(Duration, Counted),
    /// After everybody who waits in the lane of this name and address. Counted as well.
    Lane(Counted),
    /// Not for minutes. Nothing is counted.
    TurnedAway,
}

/// By how much a try made later ones wait: of this name and address, of the address, of its
/// neighbourhood; `None` where it was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted([Option<Duration>; 3]);

/// A place in a lane. Whoever drops it leaves.
pub(super) struct Place<'t> {
    throttle: &'t Throttle,
    tried: (Network, u64),
    lane: Arc<Lane>,
}

/// Who waits for a turn with one name at one address.
#[derive(Default)]
struct Lane {
    /// Given in the order in which it was asked for.
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Counters {
    names: HashMap<(Network, u64), Failures>,
    addresses: HashMap<Network, Failures>,
    neighbourhoods: HashMap<Network, Failures>,
    /// From where names came in lately.
    usual: HashMap<(Network, u64), Timestamp>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    /// When the next try may be looked at.
    ready: Timestamp,
    turned_away: u32,
}

impl Throttle {
    pub(super) fn new(failures_per_minute: u32) -> Self {
        let hasher = RandomState::new();
        let (counters, lanes) = (Mutex::default(), Mutex::default());
        Self { failures_per_minute, hasher, counters, lanes }
    }

    /// `name` as of an address: what is one mailbox is one name.
    pub(super) fn tried(&self, ip: IpAddr, name: &str) -> Tried {
        // One IPv6 subscriber has a /64 at least: counting single addresses would count nothing.
        let bits = if ip.to_canonical().is_ipv4() { 32 } else { 64 };
        Tried {
            address: Network::around(ip, bits),
            neighbourhood: Network::neighbourhood(ip),
            name: self.hasher.hash_one(name.to_lowercase()),
        }
    }

    /// Counts a try, before it is looked at, so that guesses made at the same time count as well.
    pub(super) fn count(&self, tried: Tried, is_usual: bool, now: Timestamp) -> Turn {
        let mut counters = self.counters();
        let counters = &mut *counters;
        let own = failures(&mut counters.names, (tried.address, tried.name), now);
        let address = failures(&mut counters.addresses, tried.address, now);
        let neighbourhood = failures(&mut counters.neighbourhoods, tried.neighbourhood, now);
        let mut ready = own.ready;
        if !is_usual {
            ready = ready.max(address.ready).max(neighbourhood.ready);
        }
        let wait = ready.since(now);
        if wait > limits::LOGIN_HELD_FOR {
            own.turned_away = own.turned_away.saturating_add(1);
            if !is_usual {
                return Turn::TurnedAway;
            }
            // The lane has a pace of its own. What happens in it makes no pause longer, and is
            // nobody else's at the same address to pay for.
            own.count = own.count.saturating_add(1);
            own.last = now;
            return Turn::Lane(Counted([Some(Duration::ZERO), None, None]));
        }
        let free = self.failures_per_minute;
        let begins = now.after(wait);
        Turn::In(
            wait,
            Counted([
                Some(own.add(free, begins)),
                Some(address.add(free.saturating_mul(NAMES_OF_AN_ADDRESS), begins)),
                Some(neighbourhood.add(free.saturating_mul(NAMES_OF_A_NEIGHBOURHOOD), begins)),
            ]),
        )
    }

    /// A place in the lane of this name and address; `None` when too many wait in it already.
    pub(super) fn queue_up(&self, tried: Tried) -> Option<Place<'_>> {
        let tried = (tried.address, tried.name);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(tried).or_default();
        if lane.waiting.load(Ordering::Relaxed) >= limits::LOGIN_LANE_PLACES {
            return None;
        }
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Place { throttle: self, tried, lane: Arc::clone(lane) })
    }

    /// The try was no failure: the password was right, or nobody could tell.
    pub(super) fn refund(&self, tried: Tried, counted: Counted) {
        let mut counters = self.counters();
        let counters = &mut *counters;
        let found = [
            counters.names.get_mut(&(tried.address, tried.name)),
            counters.addresses.get_mut(&tried.address),
            counters.neighbourhoods.get_mut(&tried.neighbourhood),
        ];
        for (failures, added) in found.into_iter().zip(counted.0) {
            if let (Some(failures), Some(added)) = (failures, added) {
                failures.count = failures.count.saturating_sub(1);
                failures.turned_away = 0;
                let added = u64::try_from(added.as_millis()).unwrap_or(u64::MAX);
                let ready = failures.ready.as_millis().saturating_sub(added);
                failures.ready = Timestamp::from_millis(ready);
            }
        }
    }

    /// This name came in from there.
    pub(super) fn came_in(&self, tried: Tried, now: Timestamp) {
        let mut counters = self.counters();
        if counters.usual.len() >= COUNTERS_MAX {
            counters.usual.clear();
        }
        counters.usual.insert((tried.neighbourhood, tried.name), now);
    }

    /// True when this name came in from there since the start.
    pub(super) fn is_usual(&self, tried: Tried) -> bool {
        self.counters().usual.contains_key(&(tried.neighbourhood, tried.name))
    }

    /// True when the memory of right passwords may be asked before anything is counted.
    pub(super) fn may_glance(&self, tried: Tried) -> bool {
        let counters = self.counters();
        let own = counters.names.get(&(tried.address, tried.name));
        counters.usual.contains_key(&(tried.neighbourhood, tried.name))
            && own.is_none_or(|own| own.turned_away < GLANCES_MAX)
    }

    /// True when a try would not be looked at at once.
    pub(super) fn would_wait(&self, tried: Tried, now: Timestamp) -> bool {
        let counters = self.counters();
        let known = [
            counters.names.get(&(tried.address, tried.name)),
            counters.addresses.get(&tried.address),
            counters.neighbourhoods.get(&tried.neighbourhood),
        ];
        known.into_iter().flatten().any(|failures| failures.ready > now)
    }

    /// True when nobody waits in a lane.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits until those before are heard, and then as long as the pace says.
    pub(super) async fn turn(self) {
        let _turn = self.lane.turn.lock().await;
        tokio::time::sleep(limits::LOGIN_LANE_PACE).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lanes = self.throttle.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lane.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            lanes.remove(&self.tried);
        }
    }
}

impl Tried {
    /// The neighbourhood, for who asks the directory whether it is usual.
    pub(super) fn neighbourhood(&self) -> Network {
        self.neighbourhood
    }
}

impl Failures {
    fn add(&mut self, free: u32, at: Timestamp) -> Duration {
        self.count = self.count.saturating_add(1);
        self.last = at;
        let pause = pause(self.count, free);
        self.ready = self.ready.max(at).after(pause);
        pause
    }
}

/// How long the next try waits after so many failures: up to `free` of them it is held, a little
/// longer each time, and afterwards it is turned away.
fn pause(count: u32, free: u32) -> Duration {
    if count < free {
        let share = f64::from(count) / f64::from(free);
        return limits::LOGIN_HELD_FOR.mul_f64(share * share);
    }
    let doublings = (count - free).min(10);
    (PAUSE * 2_u32.pow(doublings)).min(PAUSE_MAX)
}

/// The counter of a key, without what is forgotten. When too many keys are remembered those that
/// were quiet for long go; when none was, all go: a flood from so many networks may guess a little
/// more for a moment, and neither memory nor anybody's login is spent on it.
fn failures<K: Hash + Eq>(
    counters: &mut HashMap<K, Failures>,
    key: K,
    now: Timestamp,
) -> &mut Failures {
    if counters.len() >= COUNTERS_MAX && !counters.contains_key(&key) {
        counters.retain(|_, failures| now.since(failures.last) < FORGOTTEN_AFTER);
        if counters.len() >= COUNTERS_MAX {
            counters.clear();
        }
    }
    let fresh = Failures { count: 0, last: now, ready: now, turned_away: 0 };
    let failures = counters.entry(key).or_insert(fresh);
    let quiet = now.since(failures.last).as_secs() / FORGOTTEN_AFTER.as_secs();
    if quiet > 0 {
        failures.count =
            failures.count.checked_shr(u32::try_from(quiet).unwrap_or(32)).unwrap_or(0);
        failures.turned_away = 0;
        failures.last = now;
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_388_399);

    #[test]
    fn an_ipv6_subscriber_is_one_address_and_a_site_one_neighbourhood() {
        let throttle = Throttle::new(10);
        let tried = |ip: &str| throttle.tried(ip.parse().unwrap(), "hugo");
        assert_eq!(tried("2001:db8:1:2::1"), tried("2001:db8:1:2:ffff::9"));
        assert_ne!(tried("2001:db8:1:2::1"), tried("2001:db8:1:3::1"));
        assert_eq!(tried("2001:db8:1:2::1").neighbourhood, tried("2001:db8:1:3::1").neighbourhood);
        assert_ne!(tried("2001:db8:1::1").neighbourhood, tried("2001:db8:2::1").neighbourhood);
        assert_eq!(tried("::ffff:192.0.2.1"), tried("192.0.2.1"));
        assert_eq!(tried("192.0.2.1").neighbourhood, tried("192.0.2.200").neighbourhood);
        assert_ne!(tried("192.0.2.1").neighbourhood, tried("192.0.3.1").neighbourhood);
        assert_eq!(tried("192.0.2.1"), throttle.tried("192.0.2.1".parse().unwrap(), "HUGO"));
    }

    #[test]
    fn each_failure_waits_longer_than_the_one_before_up_to_a_quarter_of_an_hour() {
        let pauses: Vec<Duration> = (1..40).map(|count| pause(count, 10)).collect();
        assert!(pauses.is_sorted());
        assert!(pauses[0] <= Duration::from_millis(50), "one slip of the finger costs nothing");
        assert!(pauses[..9].iter().all(|pause| *pause < limits::LOGIN_HELD_FOR));
        assert_eq!(pauses[9..12], [60, 120, 240].map(Duration::from_secs));
        assert_eq!(pauses[38], PAUSE_MAX);
        assert_eq!(pause(u32::MAX, 1), PAUSE_MAX);
        assert!(pause(5_000, 100_000) < Duration::from_millis(15));
    }

    #[test]
    fn addresses_that_take_turns_are_one_neighbourhood() {
        let throttle = Throttle::new(1);
        let mut heard = 0;
        for last in 0..=255_u8 {
            let tried = throttle.tried([192, 0, 2, last].into(), &format!("name {last}"));
            heard += u32::from(matches!(throttle.count(tried, false, NOW), Turn::In(..)));
        }
        assert!(heard <= NAMES_OF_A_NEIGHBOURHOOD, "{heard} of 256");
        let elsewhere = throttle.tried([192, 0, 3, 1].into(), "name");
        assert!(matches!(throttle.count(elsewhere, false, NOW), Turn::In(..)));
    }

    #[test]
    fn failures_are_forgotten_in_time_and_given_back_exactly() {
        let throttle = Throttle::new(3);
        let tried = throttle.tried([192, 0, 2, 1].into(), "hugo");
        for _ in 0..100 {
            let Turn::In(wait, counted) = throttle.count(tried, false, NOW) else {
                panic!("heard")
            };
            assert_eq!(wait, Duration::ZERO);
            throttle.refund(tried, counted);
        }
        while matches!(throttle.count(tried, false, NOW), Turn::In(..)) {}
        assert!(throttle.would_wait(tried, NOW));
        let later = NOW.after(Duration::from_secs(3_600));
        assert!(matches!(throttle.count(tried, false, later), Turn::In(wait, _) if wait.is_zero()));
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut counters = HashMap::new();
        for key in 0..2 * COUNTERS_MAX + 7 {
            failures(&mut counters, key, NOW).count += 1;
        }
        assert!(counters.len() <= COUNTERS_MAX);
    }
}
