//! Counts who is inside: in all, and from one network address.
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Counts the connections of one door.
pub(super) struct Doorkeeper {
    all_max: usize,
    per_address_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Held by a connection for as long as it lives.
pub(super) struct Admitted {
    doorkeeper: Arc<Doorkeeper>,
    address: IpAddr,
}

impl Doorkeeper {
    /// A door for this many connections.
    pub(super) fn new(all_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, per_address_max, inside: Mutex::default() })
    }

    /// Lets a connection in, if there is room for it.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = neighbourhood(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = inside.by_address.get(&address).copied().unwrap_or(0);
        if inside.all >= self.all_max || from_there >= self.per_address_max {
            return None;
        }
        inside.all += 1;
        inside.by_address.insert(address, from_there + 1);
        drop(inside);
        Some(Admitted { doorkeeper: Arc::clone(self), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut inside = self.doorkeeper.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(count) = inside.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// One household has 2^64 IPv6 addresses, so they count as one.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_fill_the_door_and_leaving_makes_room() {
        let doorkeeper = Doorkeeper::new(3, 2);
        let from = |text: &str| doorkeeper.admit(text.parse().unwrap());
        let first = from("192.0.2.1").unwrap();
        let _second = from("::ffff:192.0.2.1").unwrap();
        assert!(from("192.0.2.1").is_none());
        let _third = from("2001:db8::1").unwrap();
        assert!(from("2001:db8:1::1").is_none());
        drop(first);
        assert!(from("192.0.2.1").is_some());
        let _fourth = from("2001:db8::2").unwrap();
        assert!(from("2001:db8::3").is_none());
    }
}
