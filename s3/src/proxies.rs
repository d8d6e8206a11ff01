//! Whom the owner of the box believes about requests that it hands on: from where they come, and whether over TLS.

use std::net::IpAddr;

use http::HeaderMap;

use crate::transport::Cipher;

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads e.g. `192.0.2.0/24`, `2001:db8::/32`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is one of these.
    pub fn holds(self, address: IpAddr) -> bool {
        let (network, address, width) = match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits);
        // Shifting by the whole width means that no bit is compared.
        (network ^ address).checked_shr(shift).unwrap_or(0) == 0
    }

    /// Whether it is so narrow that what is open to it is not open to the public.
    /// Source: AWS S3 user guide, "The meaning of public": not wider than /8 (IPv4) and /32 (IPv6).
    pub(crate) fn is_narrow(self) -> bool {
        self.bits >= if self.address.is_ipv4() { 8 } else { 32 }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The proxies that are believed. What anybody else says of where it comes from is not even read: any client can write that.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Network>);

/// From where a request comes, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The address of the client; that of the connection unless a proxy is believed.
    pub(crate) from: IpAddr,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// How, where that is known: a proxy does not say it.
    pub(crate) cipher: Option<Cipher>,
}

impl Proxies {
    /// These are believed.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// From where a request comes that was read off a connection from `peer`, which is secure where it is TLS.
    pub(crate) fn origin(&self, peer: Origin, headers: &HeaderMap) -> Origin {
        let connected = Origin {
            from: peer.from.to_canonical(),
            ..peer
        };
        let hands_on = ["x-forwarded-for", "x-forwarded-proto"].map(|name| headers.contains_key(name));
        // What runs beside a proxy may be a client as well.
        if !self.believes(connected.from) || hands_on == [false; 2] {
            return connected;
        }
        let peer = connected.from;
        // Each proxy adds at the end what it saw itself: the last one that no proxy of ours is, is the client. What stands
        // before it, the client wrote.
        let addresses = listed(headers, "x-forwarded-for").into_iter().rev();
        let addresses = addresses.map_while(|text| text.parse().ok());
        let mut addresses = addresses.map(|address: IpAddr| address.to_canonical());
        let from = addresses.find(|address| !self.believes(*address)).unwrap_or(peer);
        // A proxy that says nothing of it may have heard the client in the clear.
        let secure = listed(headers, "x-forwarded-proto")
            .last()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Origin {
            from,
            secure,
            cipher: None,
        }
    }

    fn believes(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

/// The elements of a header that is a list, in order.
fn listed<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.map(|value| value.to_str().unwrap_or("?"));
    texts.flat_map(|text| text.split(',')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn origin(peer: &str, forwarded: &[(&'static str, &str)]) -> (String, bool) {
        over(peer, false, forwarded)
    }

    fn over(peer: &str, secure: bool, forwarded: &[(&'static str, &str)]) -> (String, bool) {
        let ours = ["127.0.0.1", "10.0.0.0/8", "::1"].map(|text| Network::parse(text).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let peer = Origin {
            from: peer.parse().unwrap(),
            secure,
            cipher: None,
        };
        let origin = Proxies::new(ours).origin(peer, &headers);
        (origin.from.to_string(), origin.secure)
    }

    #[test]
    fn a_proxy_that_is_named_is_believed_and_nobody_else() {
        let forwarded = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        assert_eq!(origin("10.1.2.3", &forwarded), ("203.0.113.9".into(), true));
        assert_eq!(
            origin("::ffff:127.0.0.1", &forwarded),
            ("203.0.113.9".into(), true)
        );
        assert_eq!(origin("192.0.2.1", &forwarded), ("192.0.2.1".into(), false));
        assert_eq!(origin("10.1.2.3", &[]), ("10.1.2.3".into(), false));
        let plain = [("x-forwarded-proto", "http")];
        assert_eq!(origin("10.1.2.3", &plain), ("10.1.2.3".into(), false));
    }

    #[test]
    fn a_connection_over_tls_is_secure_and_a_proxy_says_whether_its_client_was() {
        let check = |peer, forwarded: &[(&'static str, &str)]| over(peer, true, forwarded).1;
        let (plain, tls) = (("x-forwarded-proto", "http"), ("x-forwarded-proto", "https"));
        assert!(check("192.0.2.1", &[]) && check("192.0.2.1", &[plain]));
        assert!(check("127.0.0.1", &[]) && check("127.0.0.1", &[tls]));
        assert!(!check("127.0.0.1", &[plain]));
        assert!(!check("127.0.0.1", &[("x-forwarded-for", "203.0.113.9")]));
    }

    #[test]
    fn what_a_client_wrote_before_its_proxy_is_not_believed() {
        let lies = ("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.0.0.7");
        assert_eq!(origin("127.0.0.1", &[lies]).0, "203.0.113.9");
        let split = [
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        assert_eq!(origin("127.0.0.1", &split).0, "203.0.113.9");
        let mess = [("x-forwarded-for", "198.51.100.1, junk")];
        assert_eq!(origin("127.0.0.1", &mess).0, "127.0.0.1");
        let schemes = [("x-forwarded-proto", "https, http")];
        assert!(!origin("127.0.0.1", &schemes).1);
    }

    proptest! {
        #[test]
        fn a_network_holds_what_begins_as_it_does(address: u32, other: u32, bits in 0_u8..=32) {
            let text = format!("{}/{bits}", std::net::Ipv4Addr::from(address));
            let network = Network::parse(&text).unwrap();
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let same = address & mask == other & mask;
            prop_assert_eq!(network.holds(IpAddr::V4(other.into())), same);
            prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
        }
    }
}
