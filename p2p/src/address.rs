//! A place where a node listens: a host and the one port it uses for TCP and QUIC alike.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// The longest name of a host, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is HOST:PORT, for example 203.0.113.7:4001, [2001:db8::7]:4001 or box.example.org:4001")]
pub struct InvalidAddress;

/// What can be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A number.
    Ip(IpAddr),
    /// A name to be looked up when dialling: letters, digits, dots, hyphens.
    Dns(String),
}

/// A place where a node listens, on TCP and on QUIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: Host,
    port: u16,
}

impl Address {
    /// Takes a number and a port.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            host: Host::Ip(ip),
            port,
        }
    }

    /// Takes a name and a port.
    ///
    /// # Errors
    /// The name is none.
    pub fn named(name: &str, port: u16) -> Result<Self, InvalidAddress> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if name.is_empty() || name.len() > HOST_BYTES_MAX || !name.bytes().all(letter) {
            return Err(InvalidAddress);
        }
        Ok(Self {
            host: Host::Dns(name.to_ascii_lowercase()),
            port,
        })
    }

    /// What is dialled.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, of TCP and UDP alike.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where to dial it with QUIC and with TCP.
    pub(crate) fn dialled(&self) -> [Multiaddr; 2] {
        [self.quic(), self.tcp()]
    }

    pub(crate) fn quic(&self) -> Multiaddr {
        self.base().with(Protocol::Udp(self.port)).with(Protocol::QuicV1)
    }

    pub(crate) fn tcp(&self) -> Multiaddr {
        self.base().with(Protocol::Tcp(self.port))
    }

    fn base(&self) -> Multiaddr {
        Multiaddr::empty().with(match &self.host {
            Host::Ip(IpAddr::V4(ip)) => Protocol::Ip4(*ip),
            Host::Ip(IpAddr::V6(ip)) => Protocol::Ip6(*ip),
            Host::Dns(name) => Protocol::Dns(name.as_str().into()),
        })
    }

    /// The place that a direct multiaddress of TCP or QUIC means; none for a relayed one or another transport.
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        if is_relayed(address) {
            return None;
        }
        let mut parts = address.iter();
        let host = parts.next()?;
        let port = match parts.next()? {
            Protocol::Tcp(port) | Protocol::Udp(port) => port,
            _ => return None,
        };
        match host {
            Protocol::Ip4(ip) => Some(Self::new(IpAddr::V4(ip), port)),
            Protocol::Ip6(ip) => Some(Self::new(IpAddr::V6(ip), port)),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                Self::named(&name, port).ok()
            }
            _ => None,
        }
    }
}

/// Whether a connection to or from this address runs through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether a number belongs to one site: a LAN, this machine, or a link.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_local_v6(ip), is_local_v4),
    }
}

const fn is_local_v4(ip: Ipv4Addr) -> bool {
    ip.is_private() || ip.is_loopback() || ip.is_link_local()
}

const fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Dns(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().map_err(|_| InvalidAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(host) = bracketed {
            let ip: Ipv6Addr = host.parse().map_err(|_| InvalidAddress)?;
            return Ok(Self::new(IpAddr::V6(ip), port));
        }
        match host.parse::<Ipv4Addr>() {
            Ok(ip) => Ok(Self::new(IpAddr::V4(ip), port)),
            Err(_) => Self::named(host, port),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_address() -> impl Strategy<Value = Address> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| Address::new(IpAddr::from(ip), port)),
            (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| Address::new(IpAddr::from(ip), port)),
            ("[a-z][a-z0-9-]{0,20}\\.[a-z]{2,6}", any::<u16>())
                .prop_map(|(name, port)| Address::named(&name, port).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn an_address_survives_being_written_and_dialled(address in any_address()) {
            prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
            for dialled in address.dialled() {
                prop_assert_eq!(Address::of(&dialled), Some(address.clone()));
            }
        }

        #[test]
        fn any_text_is_refused_or_means_one_address(text: String) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }

    #[test]
    fn a_relayed_address_is_no_place_to_listen() {
        let relayed: Multiaddr =
            "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X/p2p-circuit"
                .parse()
                .unwrap();
        assert!(is_relayed(&relayed));
        assert_eq!(Address::of(&relayed), None);
    }

    #[test]
    fn homes_are_told_from_the_internet() {
        for ip in [
            "192.168.1.4",
            "10.0.0.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.7", "2001:db8::1", "100.64.0.1"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
    }
}
