//! Decides what the connections to a member still lack, which are too many, and when to try again. Pure: time is given.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;

use crate::Address;
use crate::links::{Link, Transport};

/// The first wait after a failure.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Failures after which the wait doubles: what is missing at first, a relay or its reservation, comes within seconds.
const TRIES_EACH: u32 = 3;
/// The longest wait: a friend who switches on again is back within a minute.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long a direct connection must have lasted before relayed ones are closed, so that what they carry can end.
const SETTLED: Duration = Duration::from_secs(20);
/// Direct connections to one peer beyond which one goes, the youngest of those that make the longest detour: one for calls, one for blocks, and two that crossed.
const DIRECT_MAX: usize = 4;

/// When to try something again that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    failures: u32,
    next: Instant,
}

impl Retry {
    pub(crate) const fn at(now: Instant) -> Self {
        Self {
            failures: 0,
            next: now,
        }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Notes a try; unless something resets it, the next one comes later than the one before.
    pub(crate) fn tried(&mut self, now: Instant) {
        let doublings = (self.failures / TRIES_EACH).min(10);
        let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
        self.failures += 1;
        self.next = now + wait;
    }

    /// Makes it due now: something new is known. The waits after it stay as long as they had become.
    pub(crate) const fn hasten(&mut self, now: Instant) {
        self.next = now;
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }
}

/// An address that this node dialled with success, the nearest.
pub(crate) fn dialled(links: &[Link]) -> Option<Address> {
    links
        .iter()
        .filter(|link| link.dialled && !link.is_relayed())
        .min_by_key(|link| link.detour())
        .and_then(|link| Address::of(&link.remote))
}

/// Whether all connections leave the home: where the other end is in it as well, there is a shorter path.
pub(crate) fn leaves_home(links: &[Link]) -> bool {
    !links.is_empty() && links.iter().all(|link| link.detour() > 0)
}

/// How well a member is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Away,
    Relayed,
    Direct,
    /// Directly, and for a while.
    Settled,
}

pub(crate) fn standing(links: &[Link], now: Instant) -> Standing {
    let age = |link: &Link| now.saturating_duration_since(link.since);
    let direct = links.iter().filter(|link| !link.is_relayed()).map(age).max();
    match direct {
        Some(age) if age >= SETTLED => Standing::Settled,
        Some(_) => Standing::Direct,
        None if links.is_empty() => Standing::Away,
        None => Standing::Relayed,
    }
}

/// The connection that calls and blocks would still like to have: a direct one of the other transport, as near as the nearest
/// there is, so that blocks have one to themselves. Who dialled the first one dials, since it knows an address that works.
pub(crate) fn missing(links: &[Link], failures: u32) -> Option<(Transport, Address)> {
    let detour = links.iter().map(Link::detour).min()?;
    let direct = || {
        let nearest = links.iter().filter(|link| link.detour() == detour);
        nearest.filter(|link| !link.is_relayed())
    };
    if !direct().any(|link| link.dialled) {
        return None;
    }
    let address = dialled(links)?;
    let has = |transport| direct().any(|link| link.transport == transport);
    let wanted = match (has(Transport::Quic), has(Transport::Tcp)) {
        (true, true) => return None,
        (true, false) => Transport::Tcp,
        (false, _) => Transport::Quic,
    };
    // Where the other transport does not get through, a second connection of the same serves blocks as well.
    if failures % 2 == 1 {
        let same = if wanted == Transport::Tcp {
            Transport::Quic
        } else {
            Transport::Tcp
        };
        return (direct().count() < 2).then_some((same, address));
    }
    Some((wanted, address))
}

/// The connections that serve no longer.
pub(crate) fn surplus(links: &[Link], now: Instant, smaller_id: bool) -> Vec<ConnectionId> {
    let mut direct: Vec<_> = links.iter().filter(|link| !link.is_relayed()).collect();
    let mut closed = Vec::new();
    if standing(links, now) == Standing::Settled {
        closed.extend(links.iter().filter(|link| link.is_relayed()).map(|link| link.id));
    }
    // Only one side closes, or each would close what the other keeps.
    if smaller_id {
        direct.sort_by_key(|link| (link.detour(), link.id));
        closed.extend(direct.iter().skip(DIRECT_MAX).map(|link| link.id));
    }
    closed
}

#[cfg(test)]
mod tests {
    use libp2p::Multiaddr;
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;
    use crate::NodeId;
    use crate::links::Path;

    fn link(at: usize, what: &str, since: Instant) -> Link {
        let via = NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key());
        let (quic, is_near) = (what.contains("quic"), what.contains("lan-"));
        let remote: Multiaddr = if quic {
            "/ip4/203.0.113.7/udp/4/quic-v1"
        } else {
            "/ip4/203.0.113.7/tcp/4"
        }
        .replace("203.0.113.7", if is_near { "192.168.1.7" } else { "203.0.113.7" })
        .parse()
        .unwrap();
        Link {
            id: ConnectionId::new_unchecked(at),
            path: if what == "relayed" {
                Path::Relayed { via: Some(via) }
            } else if is_near {
                Path::Lan
            } else {
                Path::Direct
            },
            transport: if quic { Transport::Quic } else { Transport::Tcp },
            remote,
            dialled: !what.starts_with('<'),
            is_taken_up: true,
            since,
            round_trip: None,
            requests: mpsc::channel(1).0,
        }
    }

    fn links(what: &str, since: Instant) -> Vec<Link> {
        let words = what.split_whitespace().enumerate();
        words.map(|(at, what)| link(at, what, since)).collect()
    }

    fn check(what: &str, failures: u32, expected: Option<Transport>) {
        let found = missing(&links(what, Instant::now()), failures);
        assert_eq!(found.map(|(transport, _)| transport), expected, "{what}");
    }

    #[test]
    fn who_dialled_adds_the_other_transport() {
        check("quic", 0, Some(Transport::Tcp));
        check("tcp", 0, Some(Transport::Quic));
        check("<quic", 0, None);
        check("quic tcp", 0, None);
        check("quic <tcp", 0, None);
        check("relayed", 0, None);
    }

    #[test]
    fn where_only_one_transport_gets_through_blocks_still_get_a_connection() {
        check("quic", 1, Some(Transport::Quic));
        check("quic quic", 1, None);
        check("quic quic", 2, Some(Transport::Tcp));
    }

    #[test]
    fn the_second_connection_is_as_near_as_the_first() {
        check("quic tcp lan-quic", 0, Some(Transport::Tcp));
        check("quic <lan-quic", 0, None);
        check("quic lan-quic lan-tcp", 0, None);
        let found = missing(&links("quic lan-quic", Instant::now()), 0);
        assert_eq!(
            found.map(|(_, address)| address),
            Some("192.168.1.7:4".parse().unwrap())
        );
    }

    #[test]
    fn a_shorter_path_is_looked_for_until_there_is_one() {
        let leaves = |what: &str| leaves_home(&links(what, Instant::now()));
        assert!(leaves("quic tcp") && leaves("relayed"));
        assert!(!leaves("quic lan-tcp") && !leaves(""));
    }

    #[test]
    fn of_too_many_connections_those_that_stay_at_home_are_kept() {
        let start = Instant::now();
        let many = links("quic tcp quic lan-tcp lan-quic", start);
        assert_eq!(surplus(&many, start, true), [ConnectionId::new_unchecked(2)]);
    }

    #[test]
    fn relayed_connections_are_closed_once_a_direct_one_has_settled() {
        let start = Instant::now();
        let two = links("relayed quic", start);
        assert!(surplus(&two, start, true).is_empty());
        assert_eq!(
            surplus(&two, start + SETTLED, false),
            [ConnectionId::new_unchecked(0)]
        );
        assert!(surplus(&links("relayed", start), start + SETTLED, true).is_empty());
    }

    #[test]
    fn of_too_many_connections_one_side_closes_the_youngest() {
        let start = Instant::now();
        let many = links("quic quic tcp tcp quic", start);
        assert_eq!(surplus(&many, start, true), [ConnectionId::new_unchecked(4)]);
        assert!(surplus(&many, start, false).is_empty());
    }

    proptest! {
        #[test]
        fn waits_grow_and_end_at_a_minute(tries in 1_u32..100) {
            let mut now = Instant::now();
            let mut retry = Retry::at(now);
            let mut last = Duration::ZERO;
            for _ in 0..tries {
                prop_assert!(retry.is_due(now));
                retry.tried(now);
                let wait = retry.next - now;
                prop_assert!(wait >= last && wait <= RETRY_MAX);
                (last, now) = (wait, retry.next);
            }
        }
    }
}
