//! What a certificate of a home may vouch for: its own names and addresses, never those of the web.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

/// Domains that lead nowhere outside a home (RFC 6762, RFC 6761).
const DOMAINS: [&str; 2] = ["local", "localhost"];

/// Networks that the internet does not route: loopback, private (RFC 1918, RFC 4193), link-local (RFC 3927, RFC 4291), and
/// shared by a provider or an overlay (RFC 6598). The same for which the page is local.
const NETWORKS: [(IpAddr, u8); 9] = [
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// Addresses in one certificate: a box with many virtual networks has more, and a handshake should stay small.
const ADDRESSES_MAX: usize = 32;

/// How a box is called: what its certificate is to vouch for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    hosts: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// These host names, `*.` before a domain for all names directly below it, and these addresses. What is neither a name
    /// nor an address that a URL can have is left away.
    pub fn new(hosts: impl IntoIterator<Item = String>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase());
        let addresses = addresses.into_iter().map(|address| address.to_canonical());
        Self {
            hosts: hosts.filter(|host| is_domain(base(host))).collect(),
            addresses: addresses.filter(|address| has_url(*address)).collect(),
        }
    }

    /// What of this is permitted, and what is not.
    pub(super) fn within(&self, permitted: &Permitted) -> (Self, Vec<String>) {
        let (hosts, far): (BTreeSet<_>, BTreeSet<_>) =
            self.hosts.iter().cloned().partition(|host| permitted.host(host));
        let (near, public): (BTreeSet<_>, BTreeSet<_>) = self
            .addresses
            .iter()
            .copied()
            .partition(|address| is_permitted(*address));
        let addresses = near.into_iter().take(ADDRESSES_MAX).collect();
        let left_out = far.into_iter().chain(public.iter().map(IpAddr::to_string));
        (Self { hosts, addresses }, left_out.collect())
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// All of it as people read it.
    pub(super) fn shown(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        self.hosts.iter().cloned().chain(addresses).collect()
    }
}

/// The domains below which an authority may vouch for hosts, beside the networks in which it always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Permitted(Vec<String>);

impl Permitted {
    /// The domains of every home, and of these the ones that can be permitted.
    ///
    /// A constraint on a name covers all that is below it, so that a host called `dev` would stand for everything in `.dev`,
    /// which belongs to others: a name without a dot is never permitted.
    pub(super) fn with(hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase());
        let always = Self(DOMAINS.map(String::from).into());
        let own = hosts.filter(|host| host.contains('.') && is_domain(host) && !always.host(host));
        let own: BTreeSet<String> = own.collect();
        Self(always.0.into_iter().chain(own).collect())
    }

    pub(super) fn domains(&self) -> &[String] {
        &self.0
    }

    /// Whether a host, or all names below a domain, may be vouched for.
    fn host(&self, host: &str) -> bool {
        let name = base(host);
        let mut domains = self.0.iter();
        domains.any(|domain| {
            name.strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }

    /// The same as X.509 says it.
    pub(super) fn constraints(&self) -> NameConstraints {
        let domains = self.0.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = NETWORKS
            .map(|(network, bits)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network, bits)));
        NameConstraints {
            permitted_subtrees: domains.chain(networks).collect(),
            excluded_subtrees: Vec::new(),
        }
    }
}

fn is_permitted(address: IpAddr) -> bool {
    NETWORKS.iter().any(|(network, bits)| match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()) >> (32 - u32::from(*bits)) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits()) >> (128 - u32::from(*bits)) == 0
        }
        _ => false,
    })
}

/// Whether a browser can be led to an address: one of IPv6 that is local to a link needs the name of an interface as well.
fn has_url(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !four.is_unspecified(),
        IpAddr::V6(six) => !six.is_unspecified() && !six.is_unicast_link_local(),
    }
}

/// A host, or the domain below which all names are meant.
fn base(host: &str) -> &str {
    host.strip_prefix("*.").unwrap_or(host)
}

/// Whether a text in lower case is a name as hosts have (RFC 1123, section 2.1, and RFC 1035, section 2.3.4).
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let letters = label.bytes();
        let mut letters = letters.map(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        (1..=63).contains(&label.len()) && letters.all(|good| good) && !label.starts_with('-')
    };
    text.len() <= 253 && text.parse::<IpAddr>().is_err() && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hosts: &[&str], addresses: &[&str]) -> Names {
        Names::new(
            hosts.iter().map(|host| (*host).into()),
            addresses.iter().map(|address| address.parse().unwrap()),
        )
    }

    #[test]
    fn a_home_is_vouched_for_and_the_web_is_not() {
        let permitted = Permitted::with(&[
            "S3.Example.org".into(),
            "box.local".into(),
            "dev".into(),
            "192.168.1.2".into(),
        ]);
        assert_eq!(permitted.domains(), ["local", "localhost", "s3.example.org"]);
        let all = names(
            &[
                "localhost",
                "Warren-Anna.local",
                "*.warren-anna.local",
                "s3.example.org",
                "*.s3.example.org",
                "example.org",
                "xs3.example.org",
                "evillocal",
                "dev",
                "shop.dev",
                "-a.local",
                "a b.local",
            ],
            &[
                "192.168.1.2",
                "127.0.0.1",
                "::1",
                "fd12::1",
                "8.8.8.8",
                "2001:db8::1",
                "fe80::1",
                "0.0.0.0",
            ],
        );
        let (within, left_out) = all.within(&permitted);
        assert_eq!(
            within.shown(),
            [
                "*.s3.example.org",
                "*.warren-anna.local",
                "localhost",
                "s3.example.org",
                "warren-anna.local",
                "127.0.0.1",
                "192.168.1.2",
                "::1",
                "fd12::1"
            ]
        );
        assert_eq!(
            left_out,
            [
                "dev",
                "evillocal",
                "example.org",
                "shop.dev",
                "xs3.example.org",
                "8.8.8.8",
                "2001:db8::1"
            ]
        );
    }

    #[test]
    fn the_networks_that_are_permitted_are_those_that_the_page_is_local_for() {
        for text in [
            "10.1.2.3",
            "172.31.0.1",
            "172.32.0.1",
            "100.64.0.1",
            "100.128.0.1",
            "169.254.1.1",
            "192.169.0.1",
        ] {
            let address = text.parse().unwrap();
            assert_eq!(is_permitted(address), crate::page::is_local(address), "{text}");
        }
        for text in ["fc00::1", "fe00::1", "fe80::1", "::1", "::2", "2001:4860::1"] {
            let address = text.parse().unwrap();
            assert_eq!(is_permitted(address), crate::page::is_local(address), "{text}");
        }
    }

    #[test]
    fn a_box_with_very_many_addresses_has_a_certificate_all_the_same() {
        let many: Vec<String> = (0..100).map(|last| format!("10.0.0.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (within, _) = names(&[], &many).within(&Permitted::with(&[]));
        assert_eq!(within.addresses().count(), ADDRESSES_MAX);
    }
}
