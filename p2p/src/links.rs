//! Which connections lead to which peer, how good they are, and which of them a call or a block takes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::address::{is_local, is_relayed};
use crate::locked::locked;
use crate::streams::Request;
use crate::traffic::Traffic;
use crate::{Class, NodeId};

/// How a peer is reached, the best way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Inside one site.
    Lan,
    /// Across the internet, without help.
    Direct,
    /// Through another member.
    Relayed {
        /// Which; none where that cannot be told.
        via: Option<NodeId>,
    },
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Over UDP; several streams do not wait for one another.
    Quic,
    /// One ordered flow.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        })
    }
}

/// One connection to a peer.
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) path: Path,
    pub(crate) transport: Transport,
    /// Where the other end is, as this node sees it.
    pub(crate) remote: Multiaddr,
    /// Whether this node opened it, so that its remote address is one to dial again.
    pub(crate) dialled: bool,
    /// Whether the other end is known to use it. Who dials several addresses at once keeps the first connection and drops
    /// the others, even those that look established to whoever accepted them: what is sent over such a one is lost.
    pub(crate) is_taken_up: bool,
    pub(crate) since: Instant,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Link {
    pub(crate) const fn is_relayed(&self) -> bool {
        matches!(self.path, Path::Relayed { .. })
    }

    /// How far it leads away: what leaves a home and comes back through its router's public address is a detour.
    pub(crate) const fn detour(&self) -> u8 {
        match self.path {
            Path::Lan => 0,
            Path::Direct => 1,
            Path::Relayed { .. } => 2,
        }
    }
}

/// Whether two addresses are the same but for names of peers and circuits.
fn same_place(one: &Multiaddr, other: &Multiaddr) -> bool {
    let is_place = |part: &Protocol<'_>| !matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit);
    one.iter().filter(is_place).eq(other.iter().filter(is_place))
}

/// The path and transport that an address implies, to a node that is in these networks.
fn nature(address: &Multiaddr, own: &HashSet<u64>) -> (Path, Transport) {
    let quic = address.iter().any(|part| part == Protocol::QuicV1);
    let transport = if quic { Transport::Quic } else { Transport::Tcp };
    if is_relayed(address) {
        let relay = address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => NodeId::of_peer(&peer),
            _ => None,
        });
        return (Path::Relayed { via: relay }, transport);
    }
    let ip = address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    });
    let is_near = |ip| is_local(ip) || network(ip).is_some_and(|network| own.contains(&network));
    let path = if ip.is_some_and(is_near) {
        Path::Lan
    } else {
        Path::Direct
    };
    (path, transport)
}

/// The /64 of an address that is global although it is on a LAN, as all of IPv6 are; of IPv4 there is no telling.
fn network(ip: IpAddr) -> Option<u64> {
    match ip {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() => u64::try_from(ip.to_bits() >> 64).ok(),
        _ => None,
    }
}

#[derive(Default)]
struct Peer {
    links: Vec<Link>,
    traffic: Arc<Traffic>,
    /// Totals at the last measurement, and bytes per second since the one before.
    measured: (u64, u64),
    speed: (f64, f64),
    seen: Option<Instant>,
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// Who it is.
    pub node: NodeId,
    /// Over what calls reach it; none when it is not connected.
    pub link: Option<LinkStatus>,
    /// When it was last connected, if it ever was since this node started.
    pub seen: Option<Instant>,
    /// Bytes per second sent to it of late, in calls and blocks.
    pub sent_bytes_per_s: f64,
    /// Bytes per second received from it of late.
    pub received_bytes_per_s: f64,
    /// Bytes per second of content sent to it while some was, when that was measured last; `None` before enough was. What it
    /// asked for and this node's buffers hold counts as sent.
    pub sent_content_per_s: Option<u64>,
    /// The same of content received from it.
    pub received_content_per_s: Option<u64>,
    /// Bytes sent to it since this node started.
    pub sent_bytes: u64,
    /// Bytes received from it since this node started.
    pub received_bytes: u64,
}

/// How a connected peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Lan, direct or relayed.
    pub path: Path,
    /// What carries it.
    pub transport: Transport,
    /// Round-trip time, once measured.
    pub round_trip: Option<Duration>,
    /// Since when.
    pub since: Instant,
}

/// All connections of this node by peer. Shared; no lock is held for longer than a look.
#[derive(Clone, Default)]
pub(crate) struct Links {
    peers: Arc<Mutex<HashMap<PeerId, Peer>>>,
    /// The networks of IPv6 that this node is in.
    own: Arc<Mutex<HashSet<u64>>>,
    /// Told whenever there is another connection to use.
    added: Arc<Notify>,
}

/// Weight of the newest second in the speeds shown.
const SPEED_WEIGHT: f64 = 0.3;

impl Links {
    pub(crate) fn insert(&self, peer: PeerId, link: Link) {
        let mut peers = self.locked();
        let known = peers.entry(peer).or_default();
        known.seen = Some(link.since);
        known.links.push(link);
        drop(peers);
        self.added.notify_waiters();
    }

    /// Says at which addresses this node is.
    pub(crate) fn set_own(&self, addresses: impl Iterator<Item = IpAddr>) {
        *locked(&self.own) = addresses.filter_map(network).collect();
    }

    /// The path and transport of a connection to this address.
    pub(crate) fn nature(&self, address: &Multiaddr) -> (Path, Transport) {
        nature(address, &locked(&self.own))
    }

    /// Whether there is a connection, or was one a moment ago: one that broke is soon replaced.
    pub(crate) fn was_connected_within(&self, peer: &PeerId, lately: Duration) -> bool {
        let peers = self.locked();
        let known = peers.get(peer);
        known.is_some_and(|peer| {
            !peer.links.is_empty() || peer.seen.is_some_and(|seen| seen.elapsed() < lately)
        })
    }

    /// Waits for a connection to use, at most this long. Says whether there is one.
    pub(crate) async fn is_connected_within(&self, peer: &PeerId, wait: Duration) -> bool {
        let connected = async {
            loop {
                // Listening before looking, or what is added in between would be missed.
                let mut added = std::pin::pin!(self.added.notified());
                added.as_mut().enable();
                if self.with(peer, |links| {
                    chosen(links.iter(), Class::Metadata, true).is_some()
                }) {
                    return;
                }
                added.await;
            }
        };
        timeout(wait, connected).await.is_ok()
    }

    /// Who is connected directly and seen at `address`, the address of a relay without its name.
    pub(crate) fn found_at(&self, address: &Multiaddr) -> Option<NodeId> {
        let there = |link: &Link| !link.is_relayed() && same_place(&link.remote, address);
        let peers = self.locked();
        let found = peers.iter().find(|(_, known)| known.links.iter().any(there))?;
        NodeId::of_peer(found.0)
    }

    pub(crate) fn remove(&self, peer: Option<PeerId>, id: ConnectionId) {
        let Some(peer) = peer else { return };
        if let Some(known) = self.locked().get_mut(&peer) {
            known.links.retain(|link| link.id != id);
            known.seen = Some(Instant::now());
        }
    }

    /// The other end was heard on this connection, so it uses it. Says whether that is news.
    pub(crate) fn taken_up(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let mut peers = self.locked();
        let mut links = peers.get_mut(peer).into_iter().flat_map(|peer| &mut peer.links);
        let news = links.find(|link| link.id == id && !link.is_taken_up);
        let is_news = news.map(|link| link.is_taken_up = true).is_some();
        drop(peers);
        if is_news {
            self.added.notify_waiters();
        }
        is_news
    }

    /// The connection that this class takes, and how to ask it for a stream.
    pub(crate) fn choose(&self, peer: &PeerId, class: Class, allow_relay: bool) -> Option<Chosen> {
        let peers = self.locked();
        // One that is closing takes no more requests, and is only still listed.
        let open = |link: &&Link| !link.requests.is_closed();
        let link = chosen(peers.get(peer)?.links.iter().filter(open), class, allow_relay)?;
        Some(Chosen::of(link))
    }

    /// One connection, whether it serves or not.
    pub(crate) fn one(&self, peer: &PeerId, id: ConnectionId) -> Option<Chosen> {
        self.with(peer, |links| {
            links.iter().find(|link| link.id == id).map(Chosen::of)
        })
    }

    pub(crate) fn traffic(&self, peer: &PeerId) -> Arc<Traffic> {
        Arc::clone(&self.locked().entry(*peer).or_default().traffic)
    }

    pub(crate) fn is_relayed(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let peers = self.locked();
        let link = peers
            .get(peer)
            .and_then(|peer| peer.links.iter().find(|link| link.id == id));
        link.is_some_and(Link::is_relayed)
    }

    pub(crate) fn set_round_trip(&self, peer: &PeerId, id: ConnectionId, round_trip: Duration) {
        let mut peers = self.locked();
        let links = peers.get_mut(peer).into_iter().flat_map(|peer| &mut peer.links);
        for link in links.filter(|link| link.id == id) {
            link.round_trip = Some(round_trip);
        }
    }

    /// Looks at a peer's connections.
    pub(crate) fn with<T>(&self, peer: &PeerId, look: impl FnOnce(&[Link]) -> T) -> T {
        look(self.locked().get(peer).map_or(&[], |peer| &peer.links))
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.with(peer, |links| !links.is_empty())
    }

    /// Those that are connected, the nearest first; a peer not measured yet comes last.
    pub(crate) fn nearest(&self, of: &[NodeId]) -> Vec<NodeId> {
        let mut near: Vec<_> = of
            .iter()
            .filter_map(|node| {
                let distance = self.with(&node.peer(), |links| {
                    chosen(links.iter(), Class::Metadata, true)
                        .map(|link| link.round_trip.unwrap_or(Duration::MAX))
                })?;
                Some((distance, *node))
            })
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        near.into_iter().map(|(_, node)| node).collect()
    }

    /// Measures the speeds of the last `elapsed`.
    pub(crate) fn measure(&self, elapsed: Duration) {
        let (seconds, now) = (elapsed.as_secs_f64().max(0.001), Instant::now());
        for peer in self.locked().values_mut() {
            let (sent, received) = peer.traffic.totals();
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let smooth = |old: f64, new: f64| old + SPEED_WEIGHT * (new - old);
            peer.speed = (
                smooth(peer.speed.0, rate(sent, peer.measured.0)),
                smooth(peer.speed.1, rate(received, peer.measured.1)),
            );
            peer.measured = (sent, received);
            peer.traffic.measure(now);
        }
    }

    pub(crate) fn status(&self, node: NodeId) -> PeerStatus {
        let mut peers = self.locked();
        let peer = peers.entry(node.peer()).or_default();
        let link = chosen(peer.links.iter(), Class::Metadata, true);
        let (sent_bytes, received_bytes) = peer.traffic.totals();
        let (sent_content_per_s, received_content_per_s) = peer.traffic.speeds();
        PeerStatus {
            node,
            link: link.map(|link| LinkStatus {
                path: link.path,
                transport: link.transport,
                round_trip: link.round_trip,
                since: link.since,
            }),
            seen: if link.is_some() {
                Some(Instant::now())
            } else {
                peer.seen
            },
            sent_bytes_per_s: peer.speed.0,
            received_bytes_per_s: peer.speed.1,
            sent_content_per_s,
            received_content_per_s,
            sent_bytes,
            received_bytes,
        }
    }

    /// Forgets peers that are neither connected nor wanted.
    pub(crate) fn forget_except(&self, wanted: impl Fn(&PeerId) -> bool) {
        self.locked()
            .retain(|peer, known| !known.links.is_empty() || wanted(peer));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<PeerId, Peer>> {
        locked(&self.peers)
    }
}

/// A connection chosen for a stream.
pub(crate) struct Chosen {
    pub(crate) id: ConnectionId,
    pub(crate) relayed: bool,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Chosen {
    fn of(link: &Link) -> Self {
        Self {
            id: link.id,
            relayed: link.is_relayed(),
            requests: link.requests.clone(),
        }
    }
}

/// Of the connections that both ends use only those serve that make the shortest detour: none that leaves a home where one
/// stays in it, and relayed ones when nothing else is there. Among these, calls take QUIC before TCP, the oldest. Blocks take
/// another connection than calls, TCP before QUIC, since a filled connection delays all it carries.
fn chosen<'a>(
    links: impl Iterator<Item = &'a Link> + Clone,
    class: Class,
    allow_relay: bool,
) -> Option<&'a Link> {
    let links = links.filter(|link| link.is_taken_up && (allow_relay || !link.is_relayed()));
    let detour = links.clone().map(Link::detour).min()?;
    let nearest = links.filter(|link| link.detour() == detour);
    if nearest.clone().any(Link::is_relayed) {
        return nearest.min_by_key(|link| link.id);
    }
    let for_calls = nearest
        .clone()
        .min_by_key(|link| (link.transport != Transport::Quic, link.id));
    match class {
        Class::Metadata => for_calls,
        Class::Block => nearest
            .filter(|link| for_calls.is_none_or(|taken| taken.id != link.id))
            .max_by_key(|link| (link.transport == Transport::Tcp, link.id))
            .or(for_calls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(what: &str) -> Vec<Link> {
        let via = NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key());
        what.split_whitespace()
            .enumerate()
            .map(|(at, what)| Link {
                id: ConnectionId::new_unchecked(at),
                path: if what == "relayed" {
                    Path::Relayed { via: Some(via) }
                } else if what.starts_with("lan-") {
                    Path::Lan
                } else {
                    Path::Direct
                },
                transport: if what.ends_with("quic") {
                    Transport::Quic
                } else {
                    Transport::Tcp
                },
                remote: Multiaddr::empty(),
                dialled: true,
                is_taken_up: true,
                since: Instant::now(),
                round_trip: None,
                requests: mpsc::channel(1).0,
            })
            .collect()
    }

    fn check(what: &str, calls: Option<usize>, blocks: Option<usize>) {
        let links = links(what);
        let at = |class| {
            chosen(links.iter(), class, true)
                .map(|link| links.iter().position(|other| other.id == link.id).unwrap())
        };
        assert_eq!((at(Class::Metadata), at(Class::Block)), (calls, blocks), "{what}");
    }

    #[test]
    fn blocks_never_share_a_connection_with_calls_where_there_are_two() {
        check("", None, None);
        check("quic", Some(0), Some(0));
        check("tcp quic", Some(1), Some(0));
        check("quic quic", Some(0), Some(1));
        check("tcp tcp", Some(0), Some(1));
        check("quic tcp tcp", Some(0), Some(2));
    }

    #[test]
    fn a_relayed_connection_serves_only_when_nothing_else_does() {
        check("relayed", Some(0), Some(0));
        check("relayed quic", Some(1), Some(1));
        check("relayed tcp", Some(1), Some(1));
        assert!(chosen(links("relayed").iter(), Class::Block, false).is_none());
    }

    #[test]
    fn what_stays_in_a_home_serves_before_what_comes_back_through_its_router() {
        check("quic lan-tcp", Some(1), Some(1));
        check("tcp quic lan-quic", Some(2), Some(2));
        check("quic tcp lan-tcp lan-quic", Some(3), Some(2));
        check("relayed lan-tcp", Some(1), Some(1));
        assert!(chosen(links("relayed lan-tcp").iter(), Class::Block, false).is_some());
    }

    #[test]
    fn a_connection_serves_once_the_other_end_was_heard_on_it() {
        let (known, peer) = (Links::default(), PeerId::random());
        let mut accepted = links("quic").remove(0);
        accepted.is_taken_up = false;
        let id = accepted.id;
        known.insert(peer, accepted);
        let serving = || {
            known.with(&peer, |links| {
                chosen(links.iter(), Class::Metadata, true).map(|link| link.id)
            })
        };
        assert_eq!(serving(), None);
        assert!(known.taken_up(&peer, id) && !known.taken_up(&peer, id));
        assert_eq!(serving(), Some(id));
    }

    #[test]
    fn an_address_tells_the_path() {
        let relay = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
        let known = Links::default();
        let path = |address: &str| known.nature(&address.parse().unwrap());
        assert_eq!(path("/ip4/192.168.1.2/tcp/1"), (Path::Lan, Transport::Tcp));
        let direct = path("/ip4/203.0.113.2/udp/1/quic-v1");
        assert_eq!(direct, (Path::Direct, Transport::Quic));
        let relayed = path(&format!("/ip4/203.0.113.2/udp/1/quic-v1/p2p/{relay}/p2p-circuit"));
        let via = NodeId::of_peer(&relay.parse().unwrap());
        assert_eq!(relayed, (Path::Relayed { via }, Transport::Quic));
        let unnamed = path("/ip4/203.0.113.2/tcp/1/p2p-circuit");
        assert_eq!(unnamed, (Path::Relayed { via: None }, Transport::Tcp));
        // A home has one network of IPv6, whose addresses are of the internet.
        let global = "/ip6/2001:db8:0:1::7/tcp/1";
        assert_eq!(path(global).0, Path::Direct);
        let own = ["2001:db8:0:1::2", "192.168.1.2"].map(|ip| ip.parse().unwrap());
        known.set_own(own.into_iter());
        assert_eq!(path(global).0, Path::Lan);
        assert_eq!(path("/ip6/2001:db8:0:2::7/tcp/1").0, Path::Direct);
        assert_eq!(path("/ip4/203.0.113.2/tcp/1").0, Path::Direct);
    }

    #[test]
    fn a_relay_is_recognised_by_its_address() {
        let (known, peer) = (Links::default(), PeerId::random());
        let mut links = links("tcp");
        let remote = format!("/ip4/203.0.113.2/tcp/1/p2p/{peer}");
        if let Some(link) = links.first_mut() {
            link.remote = remote.parse().unwrap();
        }
        let node = NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[2; 32]).verifying_key());
        known.insert(node.peer(), links.remove(0));
        let at = |address: &str| known.found_at(&address.parse().unwrap());
        assert_eq!(at("/ip4/203.0.113.2/tcp/1/p2p-circuit"), Some(node));
        assert_eq!(at("/ip4/203.0.113.2/tcp/2/p2p-circuit"), None);
    }
}
