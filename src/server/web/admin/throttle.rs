//! Failed logins of administrators, counted by network address.
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::limits;
use crate::domain::time::Timestamp;

const WINDOW: Duration = Duration::from_secs(60);

/// Who failed lately.
#[derive(Debug)]
pub struct Throttle {
    failures_max: u32,
    failures: Mutex<HashMap<Option<IpAddr>, (u32, Timestamp)>>,
}

impl Throttle {
    /// Allows so many failures a minute.
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, failures: Mutex::new(HashMap::new()) }
    }

    /// Counts an attempt before it is checked, so that attempts at the same time count too.
    /// False when the address must wait.
    pub fn begin(&self, ip: Option<IpAddr>, now: Timestamp) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= limits::THROTTLED_ADDRESSES_MAX {
            failures.retain(|_, (_, since)| now.since(*since) < WINDOW);
            // Still full: a flood from everywhere. Nobody new may try until it ends.
            if failures.len() >= limits::THROTTLED_ADDRESSES_MAX {
                return false;
            }
        }
        let (count, since) = failures.entry(ip.map(network)).or_insert((0, now));
        if now.since(*since) >= WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= self.failures_max
    }

    /// Forgets the attempt: it succeeded.
    pub fn succeeded(&self, ip: Option<IpAddr>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&ip.map(network));
    }
}

/// One person has a whole /64 of IPv6 addresses.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !0 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_failures_an_address_waits_a_minute() {
        let throttle = Throttle::new(3);
        let now = Timestamp::from_seconds(1_795_358_400);
        let ip = |text: &str| Some(text.parse().unwrap());
        for _ in 0..3 {
            assert!(throttle.begin(ip("2001:db8::1"), now));
        }
        assert!(!throttle.begin(ip("2001:db8::2"), now), "another address of the same network");
        assert!(throttle.begin(ip("2001:db8:0:1::1"), now));
        assert!(throttle.begin(ip("2001:db8::1"), now.after(WINDOW)));
        throttle.succeeded(ip("2001:db8::1"));
        assert!(throttle.begin(ip("2001:db8::1"), now.after(WINDOW)));
    }
}
