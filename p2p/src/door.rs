//! How often strangers may knock: a budget per address, spent by connections and refilled by time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Connections one address may open at once.
const BURST: f64 = 64.0;
/// Connections per second one address may open for ever. A home with a handful of boxes needs a few per minute.
const PER_SECOND: f64 = 4.0;
/// Addresses remembered at most; a flood from more of them shares what one stranger has.
const ADDRESSES_MAX: usize = 4096;

/// Who knocked, and what budget is left.
#[derive(Default)]
pub(crate) struct Door {
    budgets: HashMap<IpAddr, Budget>,
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
    /// Whether a connection from `ip` is heard at all.
    pub(crate) fn knock(&mut self, ip: IpAddr, now: Instant) -> bool {
        let ip = payer(ip);
        if !self.budgets.contains_key(&ip) && self.budgets.len() >= ADDRESSES_MAX {
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

/// Who pays for a knock: an IPv4 address, or the /64 that one IPv6 home has.
fn payer(ip: IpAddr) -> IpAddr {
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

    #[test]
    fn a_flood_from_one_address_is_not_heard_and_others_are() {
        let (mut door, now) = (Door::default(), Instant::now());
        let heard = (0..1000)
            .filter(|_| door.knock(IpAddr::from([203, 0, 113, 1]), now))
            .count();
        assert_eq!(heard, 64);
        assert!(door.knock(IpAddr::from([203, 0, 113, 2]), now));
        assert!(door.knock(IpAddr::from([203, 0, 113, 1]), now + Duration::from_secs(1)));
    }

    #[test]
    fn a_home_with_a_million_ipv6_addresses_is_one_home() {
        let (mut door, now) = (Door::default(), Instant::now());
        let heard = (0..1000_u16)
            .filter(|at| {
                door.knock(
                    IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, *at)),
                    now,
                )
            })
            .count();
        assert_eq!(heard, 64);
    }

    #[test]
    fn memory_stays_bounded_whoever_knocks() {
        let (mut door, now) = (Door::default(), Instant::now());
        for at in 0..10_000_u32 {
            door.knock(IpAddr::V4(Ipv4Addr::from(at)), now);
        }
        assert_eq!(door.budgets.len(), ADDRESSES_MAX);
        assert!(door.knock(IpAddr::from([203, 0, 113, 9]), now + Duration::from_secs(60)));
    }
}
