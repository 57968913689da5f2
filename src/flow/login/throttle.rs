//! How often somebody may be wrong.
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::time::Timestamp;

/// Counters of attempts that are remembered, of each kind.
const COUNTERS_MAX: usize = 100_000;
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// A network may fail so many times as often as one name from it: a hospital has many people
/// behind one address, and some of them forget their password on the same morning.
pub(super) const NAMES_OF_A_NETWORK: u32 = 10;

/// Counts attempts that failed or have no answer yet.
///
/// A counter belongs to a name *as tried from one network*, and a wider one to the network.
/// Nothing is counted per account alone: otherwise a stranger could lock a clinician out. A
/// password that was right a moment ago passes before anything is counted, so that a colleague's
/// program with an old password stops nobody who is at work.
pub(super) struct Throttle {
    failures_per_minute: u32,
    /// Names are kept as keyed hashes: a stranger chooses them, and their length.
    hasher: RandomState,
    attempts: Mutex<Attempts>,
}

/// A network, and a name as tried from it.
pub(super) type Tried = (IpAddr, u64);

#[derive(Default)]
struct Attempts {
    by_name: HashMap<(IpAddr, u64), Window>,
    by_network: HashMap<IpAddr, Window>,
}

/// Attempts that failed or have no answer yet, since a moment.
#[derive(Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

impl Throttle {
    pub(super) fn new(failures_per_minute: u32) -> Self {
        Self { failures_per_minute, hasher: RandomState::new(), attempts: Mutex::default() }
    }

    pub(super) fn caller(&self, ip: IpAddr, name: &str) -> Tried {
        (network_of(ip), self.hasher.hash_one(name.to_ascii_lowercase()))
    }

    /// Counts an attempt; false, and nothing counted, when there were too many.
    pub(super) fn count(&self, (network, name): Tried, now: Timestamp) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = &mut *attempts;
        let all = window(&mut attempts.by_network, network, now);
        if all.count >= self.failures_per_minute.saturating_mul(NAMES_OF_A_NETWORK) {
            return false;
        }
        let one = window(&mut attempts.by_name, (network, name), now);
        if one.count >= self.failures_per_minute {
            return false;
        }
        one.count += 1;
        all.count += 1;
        true
    }

    /// The attempt of that moment was none: the password was right, or nobody could tell.
    pub(super) fn refund(&self, (network, name): Tried, counted: Timestamp) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = &mut *attempts;
        let windows =
            [attempts.by_network.get_mut(&network), attempts.by_name.get_mut(&(network, name))];
        for window in windows.into_iter().flatten().filter(|window| window.since <= counted) {
            window.count = window.count.saturating_sub(1);
        }
    }
}

/// The current window of a key. When too many keys are remembered the old windows go; when
/// none is old, all go: a flood from so many networks may guess a little more for a moment, and
/// neither memory nor anybody's login is spent on it.
fn window<K: Hash + Eq>(windows: &mut HashMap<K, Window>, key: K, now: Timestamp) -> &mut Window {
    if windows.len() >= COUNTERS_MAX && !windows.contains_key(&key) {
        windows.retain(|_, window| now.since(window.since) < WINDOW);
        if windows.len() >= COUNTERS_MAX {
            windows.clear();
        }
    }
    let fresh = Window { since: now, count: 0 };
    let window = windows.entry(key).or_insert(fresh);
    if now.since(window.since) >= WINDOW {
        *window = fresh;
    }
    window
}

/// One IPv6 subscriber has a /64 at least: counting single addresses would count nothing.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((u128::from(six) & !(u128::from(u64::MAX))).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_is_one_network() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }

    #[tokio::test]
    async fn what_is_remembered_of_strangers_is_bounded() {
        let mut windows = HashMap::new();
        let now = Timestamp::from_seconds(1_795_388_399);
        for key in 0..COUNTERS_MAX * 2 + 10 {
            window(&mut windows, key, now).count += 1;
            assert!(windows.len() <= COUNTERS_MAX);
        }
        window(&mut windows, 5, now).count = 7;
        window(&mut windows, 5, now.after(WINDOW)).count += 1;
        assert_eq!(windows[&5].count, 1);
    }
}
