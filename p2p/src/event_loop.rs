//! The one task that owns the swarm: it decides whom to dial, what to close, and what is believed of this node's reach.

mod learned;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::address::is_relayed;
use crate::book::{self, Book};
use crate::callback::Callbacks;
use crate::gate::Admissions;
use crate::introduction::Introductions;
use crate::links::{Links, Transport};
use crate::locked::locked;
use crate::reach::{Confirmations, Reach};
use crate::removal::{Parting, Removed};
use crate::swarm::{Behaviour, BehaviourEvent};
use crate::upkeep::{Retry, Standing, dialled, leaves_home, missing, standing, surplus};
use crate::{Address, Claims, HostName, NodeId};

/// How often members are looked after.
const ROUND: Duration = Duration::from_secs(1);
/// How often a changed book is kept at most.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// How often the others are asked where an absent member is.
const ASK_EVERY: Duration = Duration::from_secs(20);
/// Strangers remembered that introduced themselves.
const INTRODUCED_MAX: usize = 16;
/// How long connections get to close when this node stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long what was said last takes to leave this machine.
const PARTING: Duration = Duration::from_millis(50);

/// What the handle asks of the loop.
pub(crate) enum Command {
    /// The members changed: look after them now.
    Members,
    /// Connect to whoever listens there, and say who it is.
    Visit {
        address: Multiaddr,
        connected: oneshot::Sender<PeerId>,
    },
    /// A member's name was looked up.
    Found { peer: PeerId, addresses: Vec<Address> },
    /// Try to reach all members now.
    Retry,
    /// A member says that this node is one no longer.
    Told { removed: Removed },
    /// A stranger proved to be a member by what the mesh signed.
    Introduced { claims: Claims },
}

/// What the loop tells the handle; each look is short.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) reach: Reach,
    /// Whoever announces itself on the LAN and is no member.
    pub(crate) nearby: HashSet<Multiaddr>,
    /// What a member said last of this node being none.
    pub(crate) removal: Option<Removed>,
    /// Who introduced itself while strangers were heard.
    pub(crate) introduced: HashMap<NodeId, Claims>,
}

/// How hard a member is being tried.
struct Care {
    dial: Retry,
    extra: Retry,
    ask: Instant,
}

/// State of the loop.
pub(crate) struct EventLoop {
    pub(crate) own: NodeId,
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) admissions: Admissions,
    pub(crate) links: Links,
    pub(crate) guests: Links,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) changes: watch::Sender<u64>,
    /// For tasks of the loop to answer it.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) tasks: TaskTracker,
    pub(crate) parting: Arc<Parting>,
    pub(crate) introductions: Arc<Introductions>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) book: Book,
    pub(crate) book_path: PathBuf,
    /// Whether the owner says that this node is reachable, so that it needs no relay.
    pub(crate) is_public: bool,
    pub(crate) state: State,
}

/// What the loop remembers of what it did.
pub(crate) struct State {
    cares: HashMap<PeerId, Care>,
    visits: HashMap<ConnectionId, oneshot::Sender<PeerId>>,
    relays: HashMap<PeerId, Multiaddr>,
    /// Where members announce themselves on the LAN.
    near: HashMap<PeerId, HashSet<Address>>,
    reservations: HashMap<PeerId, ListenerId>,
    confirmations: Confirmations,
    is_book_changed: bool,
    kept: Instant,
    measured: Instant,
}

impl State {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            cares: HashMap::new(),
            visits: HashMap::new(),
            relays: HashMap::new(),
            near: HashMap::new(),
            reservations: HashMap::new(),
            confirmations: Confirmations::default(),
            is_book_changed: false,
            kept: now,
            measured: now,
        }
    }
}

impl EventLoop {
    /// Runs until stopped, then says farewell and keeps what it learned.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = commands.recv() => self.on_command(command),
                _ = rounds.tick() => self.on_round(Instant::now()),
            }
        }
        // Boxed: with the swarm in it, it is large.
        Box::pin(self.farewell()).await;
    }

    async fn farewell(mut self) {
        // A node may stop right after it joined, before it has looked after anybody.
        for peer in self.admissions.members() {
            let worked = self.links.with(&peer, dialled);
            self.note_worked(&peer, worked);
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // It may have gone by itself.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, closing).await;
        // QUIC says goodbye in tasks of its own; whoever does not hear it takes this node for being there for a while.
        tokio::time::sleep(PARTING).await;
        if self.state.is_book_changed {
            let (path, text) = (self.book_path, self.book.text());
            let kept = tokio::task::spawn_blocking(move || book::keep(&path, &text)).await;
            if let Ok(Err(error)) = kept {
                warn!(%error, "addresses of members not kept");
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Members => self.on_members(),
            Command::Retry => self.retry_all(),
            Command::Told { removed } => {
                locked(&self.told).removal = Some(removed);
                self.changed();
            }
            Command::Introduced { claims } => {
                {
                    let introduced = &mut locked(&self.told).introduced;
                    if introduced.len() < INTRODUCED_MAX || introduced.contains_key(&claims.node) {
                        introduced.insert(claims.node, claims);
                    }
                }
                self.changed();
            }
            Command::Visit { address, connected } => {
                let dial = DialOpts::unknown_peer_id().address(address).build();
                let id = dial.connection_id();
                self.state.visits.insert(id, connected);
                if self.swarm.dial(dial).is_err() {
                    self.state.visits.remove(&id);
                }
            }
            Command::Found { peer, addresses } => {
                if self.admissions.is_member(&peer) && !self.links.is_connected(&peer) {
                    self.dial(peer, &addresses, PeerCondition::Disconnected);
                }
            }
        }
    }

    fn on_members(&mut self) {
        let members: HashSet<_> = self.admissions.members().into_iter().collect();
        self.book
            .keep_only(&members.iter().filter_map(NodeId::of_peer).collect());
        self.state.cares.retain(|peer, _| members.contains(peer));
        self.state.near.retain(|peer, _| members.contains(peer));
        self.links.forget_except(|peer| members.contains(peer));
        self.look_after_all(Instant::now());
        self.changed();
    }

    fn on_round(&mut self, now: Instant) {
        self.links
            .measure(now.saturating_duration_since(self.state.measured));
        self.state.measured = now;
        self.guests.forget_except(|_| false);
        self.parting.forget_gone();
        self.introductions.forget_gone();
        self.callbacks.forget_gone();
        self.look_after_all(now);
        self.reserve();
        if self.state.is_book_changed && now.saturating_duration_since(self.state.kept) >= KEEP_EVERY {
            self.keep_book(now);
        }
    }

    fn look_after_all(&mut self, now: Instant) {
        for peer in self.admissions.members() {
            self.look_after(peer, now);
        }
    }

    /// Dials a member that is away, adds the connection it lacks, closes those that are too many.
    fn look_after(&mut self, peer: PeerId, now: Instant) {
        let fresh = || Care {
            dial: Retry::at(now),
            extra: Retry::at(now),
            ask: now + ROUND,
        };
        let care = self.state.cares.entry(peer).or_insert_with(fresh);
        let smaller_id = NodeId::of_peer(&peer).is_some_and(|node| self.own < node);
        let (failures, extra_due) = (care.extra.failures(), care.extra.is_due(now));
        let near = self.state.near.get(&peer);
        let near = near.filter(|near| extra_due && !near.is_empty());
        let (standing, worked, shorter, lacking, closing) = self.links.with(&peer, |links| {
            let shorter = near.filter(|_| leaves_home(links));
            let lacking = extra_due && shorter.is_none();
            (
                standing(links, now),
                dialled(links),
                shorter.map(|near| near.iter().cloned().collect::<Vec<_>>()),
                lacking.then(|| missing(links, failures)).flatten(),
                surplus(links, now, smaller_id),
            )
        });
        let is_direct = matches!(standing, Standing::Direct | Standing::Settled);
        if standing == Standing::Settled {
            // Only what lasts makes the next absence one to be tried at once: else whoever is refused knocks for ever.
            care.dial = Retry::at(now);
        }
        let seek = !is_direct && care.dial.is_due(now);
        if seek {
            care.dial.tried(now);
        } else if lacking.is_some() || shorter.is_some() {
            care.extra.tried(now);
        }
        let ask_due = !is_direct && now >= care.ask;
        if ask_due {
            care.ask = now + ASK_EVERY;
        }
        // Noted here and not on connecting: who joined was no member then.
        self.note_worked(&peer, worked);
        if seek {
            self.seek(peer, standing == Standing::Relayed);
        }
        if ask_due {
            self.swarm.behaviour_mut().kad.get_closest_peers(peer);
        }
        if let Some(near) = shorter {
            self.dial(peer, &near, PeerCondition::NotDialing);
        }
        if let Some((transport, address)) = lacking {
            self.dial_extra(peer, transport, &address);
        }
        for id in closing {
            debug!(%peer, "surplus connection closed");
            self.swarm.close_connection(id);
        }
    }

    fn note_worked(&mut self, peer: &PeerId, address: Option<Address>) {
        if let (Some(node), Some(address)) = (NodeId::of_peer(peer), address) {
            self.state.is_book_changed |= self.book.worked(node, address, now_s());
        }
    }

    /// Dials a member wherever it may be: where it was, where it says it is, and through relays.
    fn seek(&mut self, peer: PeerId, is_relayed: bool) {
        let Some(node) = NodeId::of_peer(&peer) else {
            return;
        };
        let (named, numbered): (Vec<_>, Vec<_>) = self
            .book
            .of(&node)
            .into_iter()
            .partition(|address| matches!(address.host(), HostName::Dns(_)));
        if !named.is_empty() {
            self.look_up(peer, named);
        }
        // Once relayed, only a direct connection is still sought.
        let condition = if is_relayed {
            PeerCondition::NotDialing
        } else {
            PeerCondition::DisconnectedAndNotDialing
        };
        self.dial(peer, &numbered, condition);
    }

    fn dial(&mut self, peer: PeerId, addresses: &[Address], condition: PeerCondition) {
        let mut all: Vec<_> = addresses.iter().flat_map(Address::dialled).collect();
        if !self.links.is_connected(&peer) {
            let circuits = self.state.relays.iter().filter(|(relay, _)| **relay != peer);
            all.extend(circuits.map(|(relay, address)| circuit(address, *relay).with(Protocol::P2p(peer))));
        }
        let dial = DialOpts::peer_id(peer).condition(condition).addresses(all);
        let dial = if self.links.is_connected(&peer) {
            // What the others say of it may lead through the relay again.
            dial.build()
        } else {
            dial.extend_addresses_through_behaviour().build()
        };
        // Being dialled already, or having no address, is no news.
        if let Err(error) = self.swarm.dial(dial) {
            debug!(%peer, %error, "not dialled");
        }
    }

    fn dial_extra(&mut self, peer: PeerId, transport: Transport, address: &Address) {
        let address = match transport {
            Transport::Quic => address.quic(),
            Transport::Tcp => address.tcp(),
        };
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::NotDialing)
            .addresses(vec![address])
            .build();
        if let Err(error) = self.swarm.dial(dial) {
            debug!(%peer, %error, "second connection not dialled");
        }
    }

    /// Looks names up in a task of its own: the loop waits for nothing.
    fn look_up(&self, peer: PeerId, named: Vec<Address>) {
        let commands = self.commands.clone();
        self.tasks.spawn(async move {
            let mut addresses = Vec::new();
            for address in named {
                addresses.extend(looked_up(&address).await);
            }
            if !addresses.is_empty() {
                // The loop may have ended.
                let _ = commands.send(Command::Found { peer, addresses }).await;
            }
        });
    }

    fn retry_all(&mut self) {
        let now = Instant::now();
        for care in self.state.cares.values_mut() {
            care.dial = Retry::at(now);
            care.extra = Retry::at(now);
        }
    }

    fn keep_book(&mut self, now: Instant) {
        self.state.is_book_changed = false;
        self.state.kept = now;
        let (path, text) = (self.book_path.clone(), self.book.text());
        self.tasks.spawn_blocking(move || {
            if let Err(error) = book::keep(&path, &text) {
                warn!(%error, "addresses of members not kept");
            }
        });
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.on_connected(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => self.on_gone(peer_id),
            SwarmEvent::ConnectionClosed { .. } => self.changed(),
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => {
                debug!(%error, "dialling failed");
                self.state.visits.remove(&connection_id);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(&address, true),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listening(&address, false),
            SwarmEvent::ListenerClosed { listener_id, .. } => self.on_listener_closed(listener_id),
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => {
                debug!(%error, from = %send_back_addr, "connection refused");
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        if let Some(connected) = self.state.visits.remove(&id) {
            // Who asked may have left.
            let _ = connected.send(peer);
        }
        if let Some(removed) = self.admissions.removal(&peer) {
            let telling = Arc::clone(&self.parting).tell(peer, id, removed);
            self.tasks.spawn(telling);
        }
        if !self.admissions.is_member(&peer) {
            return;
        }
        if self.introductions.is_certified() {
            // It may not have heard of this node.
            let telling = Arc::clone(&self.introductions).tell(peer, id);
            self.tasks.spawn(telling);
        }
        let direct = self.links.with(&peer, |links| {
            links.iter().filter(|link| !link.is_relayed()).count()
        });
        if let Some(care) = self.state.cares.get_mut(&peer).filter(|_| direct == 1) {
            care.extra = Retry::at(Instant::now());
        }
        debug!(%peer, at = %endpoint.get_remote_address(), "connected");
        self.changed();
    }

    fn on_gone(&mut self, peer: PeerId) {
        self.state.relays.remove(&peer);
        self.state.reservations.remove(&peer);
        if let Some(node) = NodeId::of_peer(&peer) {
            let mut told = locked(&self.told);
            told.reach.relays.remove(&node);
            told.reach.observed.remove(&node);
        }
        self.changed();
    }

    fn on_listening(&mut self, address: &Multiaddr, is_new: bool) {
        let Some(listening) = Address::of(address) else {
            return;
        };
        {
            let reach = &mut locked(&self.told).reach;
            if is_new {
                reach.listening.insert(listening);
            } else {
                reach.listening.remove(&listening);
            }
            let own = reach.listening.iter().filter_map(|address| match address.host() {
                HostName::Ip(ip) => Some(*ip),
                HostName::Dns(_) => None,
            });
            self.links.set_own(own);
        }
        // The network changed: what failed before may work now.
        self.retry_all();
        self.changed();
    }

    fn on_listener_closed(&mut self, listener: ListenerId) {
        self.state.reservations.retain(|relay, reserved| {
            let closed = *reserved == listener;
            if closed && let Some(node) = NodeId::of_peer(relay) {
                locked(&self.told).reach.relays.remove(&node);
            }
            !closed
        });
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// The numbers that a name means now; none when it cannot be looked up.
pub(crate) async fn looked_up(address: &Address) -> Vec<Address> {
    match address.host() {
        HostName::Ip(_) => vec![address.clone()],
        HostName::Dns(name) => match tokio::net::lookup_host((name.as_str(), address.port())).await {
            Ok(found) => found.map(|at| Address::new(at.ip(), at.port())).collect(),
            Err(error) => {
                debug!(name, %error, "name not found");
                Vec::new()
            }
        },
    }
}

/// The address of whoever has a reservation with this relay, to be completed with who.
fn circuit(address: &Multiaddr, relay: PeerId) -> Multiaddr {
    let named = address.iter().any(|part| matches!(part, Protocol::P2p(_)));
    let address = if named {
        address.clone()
    } else {
        address.clone().with(Protocol::P2p(relay))
    };
    address.with(Protocol::P2pCircuit)
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
