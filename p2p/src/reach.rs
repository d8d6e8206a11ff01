//! How this node can be reached from outside, as far as it knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::address::is_local;
use crate::{Address, HostName, NodeId};

/// What the home router said when asked to forward the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// It forwards.
    Forwards,
    /// None answered: UPnP is off, or there is no router.
    NotFound,
    /// It has no address of the internet itself: the provider shares one among homes.
    NotOnInternet,
}

/// How this node can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Where it listens.
    pub listening: BTreeSet<Address>,
    /// Where it is believed to be reachable from everywhere.
    pub public: BTreeSet<Address>,
    /// The members that relay to it.
    pub relays: BTreeSet<NodeId>,
    /// Where members saw it coming from, QUIC only. Two that saw different ports tell a symmetric NAT.
    pub observed: BTreeMap<NodeId, Address>,
    /// What the router said; none before it was asked, or where asking is switched off.
    pub gateway: Option<Gateway>,
}

impl Reach {
    /// Where to knock, for an invite: from everywhere first, then on the LAN; this machine only where nothing else is.
    pub fn knocked(&self) -> Vec<Address> {
        let is_loopback = |address: &&Address| matches!(address.host(), HostName::Ip(ip) if ip.is_loopback());
        // An address of one link means nothing without the interface, which is another one on every box.
        let is_link = |address: &Address| matches!(address.host(), HostName::Ip(IpAddr::V6(ip)) if ip.is_unicast_link_local());
        let near = self
            .listening
            .iter()
            .filter(|address| !self.public.contains(*address) && !is_link(address));
        let (loopback, lan): (Vec<_>, Vec<_>) = near.partition(is_loopback);
        let all = self.public.iter().chain(lan);
        let mut all: Vec<_> = all.cloned().collect();
        if all.is_empty() {
            all.extend(loopback.into_iter().cloned());
        }
        all
    }

    /// Where the internet may reach this node, as far as it knows: where its owner says so, else at the addresses of the
    /// internet that this machine has itself. Of IPv6, which homes have behind a wall as well, only the owner knows.
    pub fn callable(&self) -> Vec<Address> {
        if !self.public.is_empty() {
            return self.public.iter().cloned().collect();
        }
        let is_open = |address: &&Address| match address.host() {
            HostName::Ip(IpAddr::V4(ip)) => !is_local(IpAddr::V4(*ip)) && !is_shared(*ip),
            _ => false,
        };
        self.listening.iter().filter(is_open).cloned().collect()
    }

    /// Whether members in different networks saw this node come from different ports, so that punching through with TCP is
    /// of no use.
    pub fn is_symmetric(&self) -> bool {
        let ports: HashSet<_> = self.observed.values().map(Address::port).collect();
        ports.len() > 1
    }
}

/// Whether an address is one that a provider shares among homes (RFC 6598), which private networks over the internet use too.
const fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// Who confirmed that an address can be reached. One server is not believed: it may share a network with this node, or a
/// router that lets in those it was contacted by.
#[derive(Default)]
pub(crate) struct Confirmations {
    networks: HashMap<Address, HashSet<IpAddr>>,
}

/// Networks that must agree.
const AGREEING: usize = 2;
/// Addresses followed at most.
const FOLLOWED_MAX: usize = 32;

impl Confirmations {
    /// Notes what a server found. Says whether the address is believed now.
    pub(crate) fn note(&mut self, address: &Address, server: IpAddr, reachable: bool) -> bool {
        if !reachable {
            self.networks.remove(address);
            return false;
        }
        let local = matches!(address.host(), HostName::Ip(ip) if is_local(*ip));
        if local || !self.networks.contains_key(address) && self.networks.len() >= FOLLOWED_MAX {
            return false;
        }
        let networks = self.networks.entry(address.clone()).or_default();
        networks.insert(network(server));
        networks.len() >= AGREEING
    }
}

/// The /16 of an IPv4 address, the /32 of an IPv6 one: about one provider's customers in one place.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) >> 16 << 16).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 96 << 96).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_invite_names_public_addresses_first_and_this_machine_only_in_need() {
        let mut reach = Reach::default();
        reach.listening.insert(address("127.0.0.1:4"));
        assert_eq!(reach.knocked(), [address("127.0.0.1:4")]);
        reach.listening.insert(address("192.168.1.2:4"));
        reach.listening.insert(address("[fe80::1]:4"));
        reach.public.insert(address("203.0.113.7:4"));
        assert_eq!(
            reach.knocked(),
            [address("203.0.113.7:4"), address("192.168.1.2:4")]
        );
    }

    #[test]
    fn a_server_knows_where_it_can_be_called_and_a_home_is_told() {
        let mut reach = Reach::default();
        for text in ["127.0.0.1:4", "192.168.1.2:4", "100.64.0.9:4", "[2001:db8::1]:4"] {
            reach.listening.insert(address(text));
        }
        assert_eq!(reach.callable(), []);
        reach.listening.insert(address("203.0.113.7:4"));
        assert_eq!(reach.callable(), [address("203.0.113.7:4")]);
        reach.public.insert(address("box.example.org:4001"));
        assert_eq!(reach.callable(), [address("box.example.org:4001")]);
    }

    #[test]
    fn reachability_is_believed_only_when_two_networks_agree() {
        let (mut confirmations, home) = (Confirmations::default(), address("203.0.113.7:4"));
        assert!(!confirmations.note(&home, ip("198.51.100.1"), true));
        assert!(!confirmations.note(&home, ip("198.51.100.9"), true));
        assert!(confirmations.note(&home, ip("192.0.2.1"), true));
        assert!(!confirmations.note(&home, ip("192.0.2.1"), false));
        assert!(!confirmations.note(&home, ip("192.0.2.1"), true));
    }

    #[test]
    fn an_address_of_the_lan_is_never_public() {
        let mut confirmations = Confirmations::default();
        for server in ["192.168.1.3", "10.0.0.1", "198.51.100.1"] {
            assert!(!confirmations.note(&address("192.168.1.2:4"), ip(server), true));
        }
    }

    #[test]
    fn different_ports_seen_tell_a_symmetric_nat() {
        let node = |seed| NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let mut reach = Reach::default();
        reach.observed.insert(node(1), address("203.0.113.7:4"));
        assert!(!reach.is_symmetric());
        reach.observed.insert(node(2), address("203.0.113.7:5"));
        assert!(reach.is_symmetric());
    }
}
