//! How many connections a door holds, in all and of one address.
//!
//! Both limits protect the others: one address may not fill the door, and all addresses
//! together may not fill the memory.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// The counters of one door. Clones share them.
#[derive(Clone, Debug)]
pub struct ConnectionLimits(Arc<Inner>);

/// A place at the door; dropping it frees the place.
#[derive(Debug)]
pub struct Guard {
    limits: Arc<Inner>,
    address: IpAddr,
}

/// Why a connection was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The door is full.
    #[error("too many connections at this door")]
    AtThisDoor,
    /// This address has too many connections already.
    #[error("too many connections from this address")]
    FromThisAddress,
}

#[derive(Debug)]
struct Inner {
    all_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    per_address: HashMap<IpAddr, usize>,
}

impl ConnectionLimits {
    /// A door that holds `all_max` connections, at most `per_address_max` of one address.
    pub fn new(all_max: usize, per_address_max: usize) -> Self {
        Self(Arc::new(Inner { all_max, per_address_max, open: Mutex::default() }))
    }

    /// Takes a place for a connection from `address`.
    ///
    /// # Errors
    /// [`TooMany`] when the door, or this address's share of it, is full.
    pub fn admit(&self, address: IpAddr) -> Result<Guard, TooMany> {
        let address = owner(address);
        let mut open = self.0.open();
        if open.all >= self.0.all_max {
            return Err(TooMany::AtThisDoor);
        }
        let places = open.per_address.get(&address).copied().unwrap_or(0);
        if places >= self.0.per_address_max {
            return Err(TooMany::FromThisAddress);
        }
        open.all += 1;
        open.per_address.insert(address, places + 1);
        Ok(Guard { limits: Arc::clone(&self.0), address })
    }

    /// Connections at the door now, for metrics.
    pub fn open(&self) -> usize {
        self.0.open().all
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing in here panics while it holds the lock; the counters stay true even if it did.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.limits.open();
        open.all = open.all.saturating_sub(1);
        let Some(places) = open.per_address.get_mut(&self.address) else { return };
        *places = places.saturating_sub(1);
        // Otherwise the map would remember every address that ever came.
        if *places == 0 {
            open.per_address.remove(&self.address);
        }
    }
}

/// Who holds an address: an IPv6 subscriber owns a whole /64, so its hosts count as one; an
/// IPv4 address seen through a dual-stack socket is itself.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_fill_the_door() {
        let limits = ConnectionLimits::new(3, 2);
        let first = limits.admit(ip("192.0.2.1")).unwrap();
        let _second = limits.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(limits.admit(ip("192.0.2.1")).unwrap_err(), TooMany::FromThisAddress);
        let _other = limits.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(limits.admit(ip("192.0.2.3")).unwrap_err(), TooMany::AtThisDoor);
        drop(first);
        assert!(limits.admit(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn one_ipv6_subscriber_counts_once() {
        let limits = ConnectionLimits::new(10, 1);
        let _guard = limits.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(limits.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(), TooMany::FromThisAddress);
        assert!(limits.admit(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn an_ipv4_address_behind_a_dual_stack_socket_is_the_same_address() {
        let limits = ConnectionLimits::new(10, 1);
        let _guard = limits.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(limits.admit(ip("192.0.2.1")).is_err());
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let limits = ConnectionLimits::new(10, 1);
        for last in 0..=255 {
            drop(limits.admit(ip(&format!("192.0.2.{last}"))).unwrap());
        }
        assert_eq!(limits.open(), 0);
        assert!(limits.0.open().per_address.is_empty());
    }
}
