//! Counts connections by the address they come from, so that no single one takes all there are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of every address that has any.
#[derive(Debug)]
pub(crate) struct Addresses {
    most: usize,
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among those of its address; given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Each address may have so many connections.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            connections: Mutex::default(),
        })
    }

    /// A place for a connection from this address, unless it has too many already.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<AddressPlace> {
        let address = counted_as(from);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(address).or_default();
        // Whoever connects from the box itself may as well stop it; proxies live there.
        if *count >= self.most && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(AddressPlace {
            addresses: self.clone(),
            address,
        })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let connections = &self.addresses.connections;
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

/// The address that stands for one household: all of an IPv6 /64, which a single machine can use up at will.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these addresses get a place where each may have two.
    fn admitted<const N: usize>(from: [&str; N]) -> [bool; N] {
        let addresses = Addresses::new(2);
        let places = from.map(|address| addresses.enter(address.parse().unwrap()));
        let admitted = places.each_ref().map(Option::is_some);
        drop(places);
        assert!(addresses.connections.lock().unwrap().is_empty());
        admitted
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let same = "192.0.2.1";
        assert_eq!(
            admitted([same, "::ffff:192.0.2.1", same, "192.0.2.2"]),
            [true, true, false, true]
        );
        assert_eq!(
            admitted(["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]),
            [true, true, false, true]
        );
    }

    #[test]
    fn the_box_itself_has_no_limit() {
        assert_eq!(admitted(["::1", "::1", "::1"]), [true; 3]);
        assert_eq!(admitted(["127.0.0.1", "127.0.0.2", "127.0.0.1"]), [true; 3]);
    }

    #[test]
    fn a_connection_that_ended_makes_room() {
        let addresses = Addresses::new(1);
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let first = addresses.enter(from);
        assert!(addresses.enter(from).is_none());
        drop(first);
        assert!(addresses.enter(from).is_some());
    }
}
