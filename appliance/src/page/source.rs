//! Where a request comes from: whether that is this home's own network, and who counts as one caller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One caller, as far as limits go: an address of this home's own network, or else an IPv4 address or an IPv6 network of 64
/// bits, in which a device takes any address it likes. In one home all devices share such a network, see
/// [`Source::network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(six) if !is_local(address) => Self(network_of(six)),
            other => Self(other),
        }
    }

    /// The IPv6 network of this home from which a device took its address, and could take others: it is limited beside the
    /// address, but to more.
    pub(crate) fn network(self) -> Option<Self> {
        match self.0 {
            IpAddr::V6(six) if six.is_unique_local() || six.is_unicast_link_local() => {
                Some(Self(network_of(six)))
            }
            _ => None,
        }
    }
}

fn network_of(address: Ipv6Addr) -> IpAddr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()
}

/// Whether an address is this box, or belongs to a network that the internet does not route: private (RFC 1918, RFC 4193),
/// link-local (RFC 3927, RFC 4291), or shared by a provider or an overlay such as Tailscale (RFC 6598).
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            four.is_loopback() || four.is_private() || four.is_link_local() || is_shared(four)
        }
        IpAddr::V6(six) => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
    }
}

fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}

/// Who asks: whoever is connected, or, where that is a proxy on this box which says so, whoever it asks for. So a proxy does
/// not make the whole internet local. None where a proxy says something that is no address.
pub(crate) fn asking(connected: IpAddr, forwarded_for: Option<&str>) -> Option<IpAddr> {
    match forwarded_for {
        // The last is the one that our own proxy has seen; what is before it anybody may have written.
        Some(chain) if connected.to_canonical().is_loopback() => named(chain.rsplit(',').next()?),
        _ => Some(connected),
    }
}

/// Whether whoever is connected is of this home's own network, and so is everybody for whom it says that it asks. Anybody may
/// write that, and a proxy elsewhere in the home is believed so far: what it says makes a caller less local, never more.
pub(crate) fn is_local_throughout<'a>(
    connected: IpAddr,
    mut forwarded_for: impl Iterator<Item = &'a str>,
) -> bool {
    is_local(connected)
        && forwarded_for.all(|chain| chain.split(',').all(|asking| named(asking).is_some_and(is_local)))
}

/// The address that a proxy names, with or without a port.
fn named(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.trim_matches(['[', ']']).parse().ok();
    alone.or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_home_is_told_from_the_internet() {
        for local in [
            "127.0.0.1",
            "192.168.1.20",
            "10.9.8.7",
            "172.31.0.1",
            "169.254.3.4",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd12::1",
            "::ffff:192.168.1.2",
        ] {
            assert!(is_local(ip(local)), "{local}");
        }
        for far in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:4860::1",
            "::ffff:8.8.8.8",
            "0.0.0.0",
            "::",
        ] {
            assert!(!is_local(ip(far)), "{far}");
        }
    }

    #[test]
    fn a_proxy_on_this_box_speaks_for_others_and_nobody_else_does() {
        assert_eq!(asking(ip("127.0.0.1"), None), Some(ip("127.0.0.1")));
        assert_eq!(asking(ip("::1"), Some("10.0.0.1, 8.8.8.8")), Some(ip("8.8.8.8")));
        assert_eq!(
            asking(ip("127.0.0.1"), Some("[2001:db8::1]")),
            Some(ip("2001:db8::1"))
        );
        assert_eq!(asking(ip("127.0.0.1"), Some("unknown")), None);
        assert_eq!(asking(ip("8.8.8.8"), Some("127.0.0.1")), Some(ip("8.8.8.8")));
    }

    #[test]
    fn no_proxy_in_the_home_makes_the_internet_local() {
        let check = |connected, said: &[&str]| is_local_throughout(ip(connected), said.iter().copied());
        assert!(check("192.168.1.2", &[]) && check("192.168.1.2", &["10.0.0.7, 192.168.1.3"]));
        assert!(check("127.0.0.1", &["192.168.1.7:4711", "[fd12::1]:80"]));
        for far in [
            &["8.8.8.8"][..],
            &["8.8.8.8, 192.168.1.3"],
            &["8.8.8.8", "10.0.0.1"],
            &["unknown"],
            &[""],
        ] {
            assert!(!check("192.168.1.2", far), "{far:?}");
        }
        assert!(!check("8.8.8.8", &["127.0.0.1"]));
    }

    #[test]
    fn addresses_of_one_device_count_as_one_caller() {
        assert_eq!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8::ffff:2")));
        assert_ne!(Source::of(ip("2001:db8::1")), Source::of(ip("2001:db8:0:1::1")));
        assert_eq!(Source::of(ip("::ffff:10.0.0.1")), Source::of(ip("10.0.0.1")));
        assert_ne!(Source::of(ip("10.0.0.1")), Source::of(ip("10.0.0.2")));
    }

    #[test]
    fn devices_of_one_home_are_told_apart_and_their_network_is_known() {
        for (one, other) in [("fe80::1", "fe80::2"), ("fd12::1", "fd12::2")] {
            let (one, other) = (Source::of(ip(one)), Source::of(ip(other)));
            assert_ne!(one, other);
            assert!(one.network().is_some() && one.network() == other.network());
        }
        for alone in ["10.0.0.1", "::1", "2001:db8::1"] {
            assert_eq!(Source::of(ip(alone)).network(), None, "{alone}");
        }
    }

    proptest! {
        #[test]
        fn who_is_not_a_proxy_of_ours_never_becomes_local(octets: [u8; 4], said: String) {
            let connected = IpAddr::from(octets);
            prop_assume!(!is_local(connected));
            prop_assert_eq!(asking(connected, Some(&said)), Some(connected));
        }
    }
}
