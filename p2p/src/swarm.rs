//! What the node is made of below calls: transports, and the behaviours behind the gate.

use std::convert::Infallible;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder, autonat, dcutr, identify, kad, mdns, noise, ping, relay,
    tcp, upnp, yamux,
};
use tokio::sync::mpsc;
use tracing::warn;

use crate::gate::{Admissions, Gate, Standing};
use crate::gated::Gated;
use crate::links::Links;
use crate::streams::{self, Incoming};
use crate::{MeshId, blocks, callback, calls, join, removal};

/// How often a connection is probed, and how long a probe may take: a peer whose cable is pulled is gone after both.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_WAIT: Duration = Duration::from_secs(10);
/// How long a connection nobody uses stays. Members' are always in use; this is for guests.
const IDLE: Duration = Duration::from_secs(30);
/// Circuits and reservations of a relay: as many as a mesh has members, with room.
const CIRCUITS_MAX: usize = 256;
const RESERVATION: Duration = Duration::from_secs(3600);
const CIRCUIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What identify says of this node to members; strangers are told nothing.
const AGENT: &str = concat!("warren/", env!("CARGO_PKG_VERSION"));

/// The gate comes first, so that it decides before any other sees a connection. Only `joining` and `parting` are open to
/// guests, and `called_back` while this node waits to join, and only `introducing` to strangers.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    gate: Gate,
    pub(crate) joining: streams::Behaviour,
    parting: streams::Behaviour,
    introducing: streams::Behaviour,
    called_back: streams::Behaviour,
    pub(crate) streams: Gated<streams::Behaviour>,
    pub(crate) identify: Gated<identify::Behaviour>,
    pub(crate) ping: Gated<ping::Behaviour>,
    pub(crate) kad: Gated<kad::Behaviour<MemoryStore>>,
    pub(crate) relay: Gated<relay::Behaviour>,
    pub(crate) relay_client: Gated<relay::client::Behaviour>,
    pub(crate) dcutr: Gated<dcutr::Behaviour>,
    pub(crate) reachable: Gated<autonat::v2::client::Behaviour>,
    pub(crate) reaching: Gated<autonat::v2::server::Behaviour>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
}

/// What the swarm is built from.
pub(crate) struct Parts {
    pub(crate) keypair: Keypair,
    pub(crate) mesh: MeshId,
    pub(crate) admissions: Admissions,
    /// Connections of members, and those of guests.
    pub(crate) links: Links,
    pub(crate) guests: Links,
    /// All connections, for telling former members.
    pub(crate) parting: Links,
    pub(crate) calls: mpsc::Sender<Incoming>,
    pub(crate) joins: mpsc::Sender<Incoming>,
    pub(crate) partings: mpsc::Sender<Incoming>,
    /// Connections of strangers, and those to introduce this node on.
    pub(crate) introducing: Links,
    pub(crate) introductions: mpsc::Sender<Incoming>,
    /// Connections over which this node may be called back, and who did.
    pub(crate) calling_back: Links,
    pub(crate) callbacks: mpsc::Sender<Incoming>,
    pub(crate) mdns: bool,
    pub(crate) upnp: bool,
}

/// Builds the swarm; it listens nowhere yet.
pub(crate) fn build(parts: Parts) -> Result<Swarm<Behaviour>, noise::Error> {
    let keypair = parts.keypair.clone();
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )?
        .with_quic()
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|keypair, relay_client| behaviour(parts, keypair, relay_client))
        .unwrap_or_else(|never: Infallible| match never {})
        // Every stream agrees on its protocol before it is used. The lazy way, which sends the first bytes along, saves a round
        // trip of streams that live long, and where one task writes while another reads the writer is never woken again.
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build();
    Ok(swarm)
}

fn behaviour(parts: Parts, keypair: &Keypair, relay_client: relay::client::Behaviour) -> Behaviour {
    let own = keypair.public().to_peer_id();
    let admissions = parts.admissions;
    let gate = || admissions.clone();
    let calls = [calls::PROTOCOL, blocks::PROTOCOL];
    let probes = ping::Config::new()
        .with_interval(PROBE_EVERY)
        .with_timeout(PROBE_WAIT);
    Behaviour {
        gate: Gate::new(gate()),
        joining: streams::Behaviour::guests(parts.guests, join::PROTOCOL, parts.joins, lets_in(gate())),
        parting: streams::Behaviour::guests(parts.parting, removal::PROTOCOL, parts.partings, known(gate())),
        introducing: streams::Behaviour::guests(
            parts.introducing,
            introduction(&parts.mesh),
            parts.introductions,
            stranger(gate()),
        ),
        called_back: streams::Behaviour::guests(
            parts.calling_back,
            callback::PROTOCOL,
            parts.callbacks,
            awaited(gate()),
        ),
        streams: Gated::new(
            gate(),
            streams::Behaviour::members(parts.links, calls, parts.calls),
        ),
        identify: Gated::new(gate(), identify::Behaviour::new(identification(keypair))),
        ping: Gated::new(gate(), ping::Behaviour::new(probes)),
        kad: Gated::new(gate(), kademlia(own, &parts.mesh)),
        // It tells all connections when it begins to relay, and relayed ones have no ear for it: their tasks panic.
        relay: Gated::direct_only(gate(), relay(own)),
        relay_client: Gated::new(gate(), relay_client),
        dcutr: Gated::new(gate(), dcutr::Behaviour::new(own)),
        reachable: Gated::new(gate(), autonat::v2::client::Behaviour::default()),
        reaching: Gated::new(gate(), autonat::v2::server::Behaviour::default()),
        mdns: parts.mdns.then(|| on_lan(own)).flatten().into(),
        upnp: parts.upnp.then(upnp::tokio::Behaviour::default).into(),
    }
}

fn identification(keypair: &Keypair) -> identify::Config {
    identify::Config::new_with_signed_peer_record("/warren/1".into(), keypair)
        .with_agent_version(AGENT.into())
        .with_push_listen_addr_updates(true)
}

/// Names a mesh in the names of protocols, to those who know it already.
pub(crate) fn hashed(mesh: &MeshId) -> String {
    let hash = blake3::derive_key("warren 2026 kademlia name 1", mesh.as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The protocol of introductions: whoever does not know the mesh cannot even ask for it.
pub(crate) fn introduction(mesh: &MeshId) -> StreamProtocol {
    let protocol = StreamProtocol::try_from_owned(format!("/warren/{}/introduce/1", hashed(mesh)));
    // The name begins with a slash, which is all that is asked of one.
    protocol.unwrap_or(StreamProtocol::new("/warren/introduce/1"))
}

/// Offers a protocol to all but strangers.
fn known(admissions: Admissions) -> impl Fn(ConnectionId) -> bool {
    move |id| admissions.standing(id) != Standing::Stranger
}

/// Offers a protocol to all but strangers, unless this node is no member itself and waits to be called.
fn lets_in(admissions: Admissions) -> impl Fn(ConnectionId) -> bool {
    move |id| {
        let standing = admissions.standing(id);
        standing != Standing::Stranger && !(standing == Standing::Guest && admissions.awaits_callback())
    }
}

/// Offers a protocol to guests for as long as this node waits to be called back.
fn awaited(admissions: Admissions) -> impl Fn(ConnectionId) -> bool {
    move |id| admissions.awaits_callback() && admissions.standing(id) == Standing::Guest
}

/// Offers a protocol to strangers only.
fn stranger(admissions: Admissions) -> impl Fn(ConnectionId) -> bool {
    move |id| admissions.standing(id) == Standing::Stranger
}

/// A table of addresses that only members of this mesh speak about: its name is a hash of the mesh.
fn kademlia(own: PeerId, mesh: &MeshId) -> kad::Behaviour<MemoryStore> {
    let protocol = StreamProtocol::try_from_owned(format!("/warren/{}/kad/1", hashed(mesh)));
    // The name begins with a slash, which is all that is asked of one.
    let mut config = kad::Config::new(protocol.unwrap_or(StreamProtocol::new("/warren/kad/1")));
    config.set_query_timeout(Duration::from_secs(20));
    let mut kademlia = kad::Behaviour::with_config(own, MemoryStore::new(own), config);
    // Else it would follow what is believed of our reachability, and a home would answer nobody.
    kademlia.set_mode(Some(kad::Mode::Server));
    kademlia
}

/// Does not relay until told to: left alone it would count being reachable through a relay as being reachable.
fn relay(own: PeerId) -> relay::Behaviour {
    let mut relay = relay::Behaviour::new(own, relaying());
    relay.set_status(Some(relay::Status::Disable));
    relay
}

/// Relays for members without the limits meant for strangers; how much they may send is paced by the senders.
fn relaying() -> relay::Config {
    relay::Config {
        max_reservations: CIRCUITS_MAX,
        max_reservations_per_peer: 4,
        reservation_duration: RESERVATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: CIRCUITS_MAX,
        max_circuits_per_peer: 64,
        max_circuit_duration: CIRCUIT,
        // Zero means no limit.
        max_circuit_bytes: 0,
        circuit_src_rate_limiters: Vec::new(),
    }
}

fn on_lan(own: PeerId) -> Option<mdns::tokio::Behaviour> {
    let config = mdns::Config {
        query_interval: Duration::from_secs(60),
        ..mdns::Config::default()
    };
    mdns::tokio::Behaviour::new(config, own)
        .inspect_err(|error| warn!(%error, "members on the LAN are not looked for"))
        .ok()
}
