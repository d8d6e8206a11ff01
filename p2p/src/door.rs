//! How often strangers may knock, and how many may be in the middle of it: a budget per address, spent by connections and
//! refilled by time, and places for handshakes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;

use crate::address::is_relayed;

/// Connections one address may open at once.
const BURST: f64 = 64.0;
/// Connections per second one address may open for ever. A home with a handful of boxes needs a few per minute.
const PER_SECOND: f64 = 4.0;
/// Addresses remembered at most; a flood from more of them shares what one stranger has.
const ADDRESSES_MAX: usize = 4096;
/// Handshakes under way at once, of all and of one address: nobody has proved a key yet. One joiner tries eight addresses
/// with two transports each.
const HANDSHAKES_MAX: usize = 128;
const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;
/// Addresses remembered from which a member came; they find room whatever strangers do.
const FAMILIAR_MAX: usize = 256;

/// Who knocked, and what budget is left.
#[derive(Default)]
pub(crate) struct Door {
    budgets: HashMap<IpAddr, Budget>,
    handshakes: HashMap<ConnectionId, IpAddr>,
    familiar: HashSet<IpAddr>,
}

struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn refilled(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + since * PER_SECOND).min(BURST)
    }
}

impl Door {
    /// Whether a connection from `ip`, which is a [`payer`], is heard at all. If so it is under way until [`Door::end`].
    pub(crate) fn knock(&mut self, id: ConnectionId, ip: IpAddr, now: Instant) -> bool {
        self.has_room(ip) && self.pay(ip, now) && {
            self.handshakes.insert(id, ip);
            true
        }
    }

    /// A handshake came to its end, whichever.
    pub(crate) fn end(&mut self, id: ConnectionId) {
        self.handshakes.remove(&id);
    }

    /// A member came from there.
    pub(crate) fn welcome(&mut self, ip: IpAddr) {
        if self.familiar.len() < FAMILIAR_MAX {
            self.familiar.insert(ip);
        }
    }

    fn has_room(&self, ip: IpAddr) -> bool {
        let same = self.handshakes.values().filter(|from| **from == ip).count();
        let is_known = self.familiar.contains(&ip);
        same < HANDSHAKES_PER_ADDRESS_MAX && (is_known || self.handshakes.len() < HANDSHAKES_MAX)
    }

    fn pay(&mut self, ip: IpAddr, now: Instant) -> bool {
        let is_new = !self.budgets.contains_key(&ip) && !self.familiar.contains(&ip);
        if is_new && self.budgets.len() >= ADDRESSES_MAX {
            self.budgets.retain(|_, budget| budget.refilled(now) < BURST);
            if self.budgets.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let budget = self.budgets.entry(ip).or_insert(Budget { left: BURST, at: now });
        let left = budget.refilled(now);
        budget.at = now;
        budget.left = if left >= 1.0 { left - 1.0 } else { left };
        left >= 1.0
    }
}

/// Who pays for a knock: an IPv4 address, or the /64 that one IPv6 home has; nobody where it comes through a relay, which is a
/// member.
pub(crate) fn payer(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(home(IpAddr::V4(ip))),
        Protocol::Ip6(ip) => Some(home(IpAddr::V6(ip))),
        _ => None,
    })
}

fn home(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    /// Knocks, and is done with the handshake at once.
    fn heard(door: &mut Door, ip: impl Into<IpAddr>, now: Instant) -> bool {
        let id = ConnectionId::new_unchecked(0);
        let is_heard = door.knock(id, home(ip.into()), now);
        door.end(id);
        is_heard
    }

    #[test]
    fn a_flood_from_one_address_is_not_heard_and_others_are() {
        let (mut door, now) = (Door::default(), Instant::now());
        let count = (0..1000)
            .filter(|_| heard(&mut door, [203, 0, 113, 1], now))
            .count();
        assert_eq!(count, 64);
        assert!(heard(&mut door, [203, 0, 113, 2], now));
        assert!(heard(&mut door, [203, 0, 113, 1], now + Duration::from_secs(1)));
    }

    #[test]
    fn a_home_with_a_million_ipv6_addresses_is_one_home() {
        let (mut door, now) = (Door::default(), Instant::now());
        let address = |at| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, at);
        let count = (0..1000_u16)
            .filter(|at| heard(&mut door, address(*at), now))
            .count();
        assert_eq!(count, 64);
    }

    #[test]
    fn memory_stays_bounded_whoever_knocks_and_members_find_room() {
        let (mut door, now) = (Door::default(), Instant::now());
        let friend = IpAddr::from([198, 51, 100, 7]);
        door.welcome(friend);
        for at in 0..10_000_u32 {
            heard(&mut door, Ipv4Addr::from(at), now);
        }
        assert_eq!(door.budgets.len(), ADDRESSES_MAX);
        assert!(!heard(&mut door, [203, 0, 113, 9], now) && heard(&mut door, friend, now));
        assert!(heard(&mut door, [203, 0, 113, 9], now + Duration::from_secs(60)));
    }

    #[test]
    fn handshakes_that_never_end_leave_room_for_other_addresses_and_for_members() {
        let (mut door, now) = (Door::default(), Instant::now());
        let mut ids = (0..).map(ConnectionId::new_unchecked);
        let mut begin = |door: &mut Door, ip: [u8; 4]| door.knock(ids.next().unwrap(), ip.into(), now);
        let one = (0..40).filter(|_| begin(&mut door, [203, 0, 113, 1])).count();
        assert_eq!(one, HANDSHAKES_PER_ADDRESS_MAX);
        door.welcome([198, 51, 100, 7].into());
        for host in 2..100 {
            for _ in 0..16 {
                begin(&mut door, [203, 0, 113, host]);
            }
        }
        assert_eq!(door.handshakes.len(), HANDSHAKES_MAX);
        assert!(!begin(&mut door, [203, 0, 113, 200]) && begin(&mut door, [198, 51, 100, 7]));
        door.end(ConnectionId::new_unchecked(0));
        door.end(ConnectionId::new_unchecked(1));
        assert!(begin(&mut door, [203, 0, 113, 200]));
    }

    #[test]
    fn who_comes_through_a_relay_pays_nothing() {
        let relayed = "/ip4/203.0.113.2/tcp/1/p2p-circuit".parse().unwrap();
        assert_eq!(payer(&relayed), None);
        assert_eq!(
            payer(&"/ip4/203.0.113.2/tcp/1".parse().unwrap()),
            Some([203, 0, 113, 2].into())
        );
    }
}
