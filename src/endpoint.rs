//! The URLs under which people on the local network reach a listening address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses set aside for documentation (RFC 5737, RFC 3849): routed like any other, owned by nobody.
const ELSEWHERE: [(IpAddr, IpAddr); 2] = [
    (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    ),
    (
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    ),
];

/// URLs of `listening`, the one to show first; at least one. `called` is a name under which the network knows this box too.
pub(crate) fn urls_called(listening: SocketAddr, called: Option<&str>) -> Vec<String> {
    let mut urls = urls(listening);
    if let Some(name) = called.filter(|_| !listening.ip().to_canonical().is_loopback()) {
        urls.insert(1, format!("http://{name}:{}", listening.port()));
    }
    urls
}

/// URLs of `listening` by its addresses, the one to show first; at least one.
pub(crate) fn urls(listening: SocketAddr) -> Vec<String> {
    let url = |ip| format!("http://{}", SocketAddr::new(ip, listening.port()));
    if !listening.ip().is_unspecified() {
        return vec![url(listening.ip().to_canonical())];
    }
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    lan_address().into_iter().chain([here]).map(url).collect()
}

/// The address of this box in its network. Connecting a UDP socket sends nothing: the system only
/// picks the route, and with it the address.
fn lan_address() -> Option<IpAddr> {
    ELSEWHERE.iter().find_map(|(any, elsewhere)| {
        let socket = UdpSocket::bind((*any, 0)).ok()?;
        socket.connect((*elsewhere, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_said_is_the_address_shown() {
        assert_eq!(urls("127.0.0.1:3900".parse().unwrap()), ["http://127.0.0.1:3900"]);
        assert_eq!(urls("[::1]:80".parse().unwrap()), ["http://[::1]:80"]);
    }

    #[test]
    fn a_name_is_shown_beside_the_address_that_others_reach() {
        let urls = |address: &str| urls_called(address.parse().unwrap(), Some("warren-anna.local"));
        let (address, name) = ("http://192.168.1.2:3900", "http://warren-anna.local:3900");
        assert_eq!(urls("192.168.1.2:3900"), [address, name]);
        assert_eq!(urls("127.0.0.1:3900"), ["http://127.0.0.1:3900"]);
        assert_eq!(urls("[::]:3900")[1], name);
    }

    #[test]
    fn listening_everywhere_shows_at_least_this_box() {
        assert_eq!(
            urls("[::]:3900".parse().unwrap()).last().unwrap(),
            "http://127.0.0.1:3900"
        );
    }
}
