//! A running node of a mesh, and the handle through which its owner uses it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocks::Blocks;
use crate::calls::Calls;
use crate::event_loop::{Command, EventLoop, State, Told, locked};
use crate::frame::BODY_BYTES_MAX;
use crate::gate::Admissions;
use crate::join::Hall;
use crate::links::Links;
use crate::pace::Pace;
use crate::paced::Paces;
use crate::reach::Reach;
use crate::serve::Server;
use crate::streams::Control;
use crate::swarm::{self, Parts};
use crate::{Address, CallError, Class, Host, Identity, MeshId, NodeId, PeerStatus, Service, book};

/// Commands that wait for the loop; more askers wait.
const COMMANDS_MAX: usize = 64;
/// Streams of members, or of strangers, that wait to be served; more are reset.
const INCOMING_MAX: usize = 256;
/// How often one call is sent when connections break under it. Requests may arrive twice; the service copes.
const TRIES_MAX: u32 = 3;
/// How long another connection is waited for when one broke.
const BREAK_WAIT: Duration = Duration::from_millis(500);
/// How long listening may take to begin.
const LISTEN_WAIT: Duration = Duration::from_secs(5);

/// Bytes per second of calls about blocks; none means no limit. Metadata is never limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sent to all members.
    pub sent: Option<u64>,
    /// Received from all members.
    pub received: Option<u64>,
    /// Through relays, both ways: somebody else's uplink.
    pub relayed: Option<u64>,
}

/// How a node starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which mesh it is of.
    pub mesh: MeshId,
    /// The members as far as known now; [`Node::set_members`] changes them.
    pub members: Vec<NodeId>,
    /// A folder of its own, which exists: the port and the addresses of members are kept there.
    pub folder: PathBuf,
    /// Where to listen; usually every address of both families.
    pub listen: Vec<IpAddr>,
    /// The port for TCP and UDP; without one a random port is chosen once and kept.
    pub port: Option<u16>,
    /// Where the owner says it can be reached from everywhere: a server on the internet, a forwarded port.
    pub public: Vec<Address>,
    /// Whether to find and be found by members on the LAN.
    pub mdns: bool,
    /// Whether to ask the router to forward the port.
    pub upnp: bool,
    /// How fast blocks may flow.
    pub limits: Limits,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its key cannot be used for connections.
    #[error("the identity cannot be used")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot listen anywhere.
    #[error("cannot listen on port {port}; is another Warren running?")]
    Listen {
        /// Which port.
        port: u16,
        /// What the system said last.
        #[source]
        source: io::Error,
    },
    /// The port cannot be chosen or kept.
    #[error("{action} {}", .path.display())]
    Port {
        /// What was being done, e.g. "keep the port in".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

pub(crate) struct Inner {
    pub(crate) own: NodeId,
    pub(crate) mesh: MeshId,
    pub(crate) admissions: Admissions,
    pub(crate) links: Links,
    pub(crate) guests: Control,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) commands: mpsc::Sender<Command>,
    calls: Calls,
    blocks: Blocks,
    server: Arc<Server>,
    paces: Arc<Paces>,
    changes: watch::Receiver<u64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    looping: TaskTracker,
    end: CancellationToken,
}

/// A running node. Cloning gives another handle to the same one; [`Node::shutdown`] ends it for all.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.own)
    }
}

impl Node {
    /// Starts a node. It listens when this returns, and looks for the members.
    ///
    /// # Errors
    /// It cannot listen, or its port cannot be kept.
    pub async fn start(
        identity: &Identity,
        options: Options,
        service: Arc<dyn Service>,
        host: Arc<dyn Host>,
    ) -> Result<Self, StartError> {
        let keypair = identity
            .keypair()
            .map_err(|error| StartError::Identity(error.into()))?;
        let own = identity.node_id();
        let port = port(&options)?;
        let (admissions, links, guests) = (Admissions::default(), Links::default(), Links::default());
        // Before listening: a member that knocks at once must not be taken for a stranger.
        admissions.set_members(peers(own, options.members));
        let (calls_in, incoming_calls) = mpsc::channel(INCOMING_MAX);
        let (joins_in, incoming_joins) = mpsc::channel(INCOMING_MAX);
        let swarm = swarm::build(Parts {
            keypair,
            mesh: options.mesh,
            admissions: admissions.clone(),
            links: links.clone(),
            guests: guests.clone(),
            calls: calls_in,
            joins: joins_in,
            mdns: options.mdns,
            upnp: options.upnp,
        })
        .map_err(|error| StartError::Identity(error.into()))?;

        let (tasks, stop, looping, end) =
            <(TaskTracker, CancellationToken, TaskTracker, CancellationToken)>::default();
        let paces = Arc::new(Paces {
            sent: Pace::new(options.limits.sent),
            received: Pace::new(options.limits.received),
            relayed: Pace::new(options.limits.relayed),
        });
        let server = Arc::new(Server::new(
            service,
            links.clone(),
            Arc::clone(&paces),
            tasks.clone(),
            stop.clone(),
        ));
        let hall = Arc::new(Hall {
            host,
            mesh: options.mesh,
            own,
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let (changes_in, changes) = watch::channel(0);
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let told = Arc::new(Mutex::new(Told::default()));
        let book_path = options.folder.join("addresses");
        let mut event_loop = EventLoop {
            own,
            swarm,
            admissions: admissions.clone(),
            links: links.clone(),
            guests: guests.clone(),
            told: Arc::clone(&told),
            changes: changes_in,
            commands: commands_in.clone(),
            tasks: tasks.clone(),
            book: book::load(&book_path),
            book_path,
            is_public: !options.public.is_empty(),
            state: State::new(),
        };
        listen(&mut event_loop, &options.listen, port)?;
        for address in options.public {
            event_loop.set_public(address, true);
        }

        tasks.spawn(Arc::clone(&server).serve(incoming_calls));
        tasks.spawn(hall.hear(incoming_joins));
        looping.spawn(event_loop.run(commands, end.clone()));
        let control = Control::new(links.clone());
        let inner = Inner {
            own,
            mesh: options.mesh,
            admissions,
            links,
            guests: Control::new(guests),
            told,
            commands: commands_in,
            calls: Calls::new(control.clone(), tasks.clone(), stop.clone()),
            blocks: Blocks::new(control, Arc::clone(&paces)),
            server,
            paces,
            changes,
            tasks,
            stop,
            looping,
            end,
        };
        let node = Self {
            inner: Arc::new(inner),
        };
        node.listening(port).await?;
        Ok(node)
    }

    async fn listening(&self, port: u16) -> Result<(), StartError> {
        let mut changes = self.changes();
        let listens = changes.wait_for(|_| !self.reach().listening.is_empty());
        let waited = tokio::time::timeout(LISTEN_WAIT, listens).await;
        if waited.is_ok_and(|listens| listens.is_ok()) {
            return Ok(());
        }
        self.shutdown().await;
        Err(StartError::Listen {
            port,
            source: io::ErrorKind::TimedOut.into(),
        })
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.inner.own
    }

    /// Which mesh it is of.
    pub fn mesh(&self) -> MeshId {
        self.inner.mesh
    }

    /// Makes exactly these the members, at once: connections of guests among them open in place, those of members no longer
    /// among them are cut, absent ones are looked for. Naming this node itself does no harm.
    pub fn set_members(&self, members: impl IntoIterator<Item = NodeId>) {
        let members = peers(self.inner.own, members);
        self.inner.calls.keep_only(&members);
        self.inner.blocks.keep_only(&members);
        self.inner.server.keep_only(&members);
        self.inner.admissions.set_members(members);
        // A full queue means that the loop is about to look anyway.
        let _ = self.inner.commands.try_send(Command::Members);
    }

    /// Whether this is a member, as the owner last said.
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.inner.admissions.is_member(&node.peer())
    }

    /// Lets strangers knock for this long, to join with an invite; zero lets nobody knock.
    pub fn expect_guests(&self, during: Duration) {
        let until = (!during.is_zero()).then(|| Instant::now() + during);
        self.inner.admissions.allow_guests_until(until);
    }

    /// Asks a member, and waits at most `wait` for the answer. A request or an answer has at most
    /// [`BODY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// There is none, or it is a refusal.
    ///
    /// # Cancellation
    /// The member may act on the request all the same. It may also act on it twice, when a connection breaks.
    pub async fn call(
        &self,
        to: NodeId,
        class: Class,
        request: Bytes,
        wait: Duration,
    ) -> Result<Bytes, CallError> {
        if request.len() > BODY_BYTES_MAX {
            return Err(CallError::TooLarge { bytes: request.len() });
        }
        let peer = to.peer();
        if !self.inner.admissions.is_member(&peer) {
            return Err(CallError::NotConnected);
        }
        if !self.inner.links.is_connected(&peer) {
            return Err(CallError::NotConnected);
        }
        let until = tokio::time::Instant::now() + wait;
        let mut tries = 1;
        loop {
            let outcome = tokio::time::timeout_at(until, self.ask(peer, class, request.clone(), until)).await;
            let outcome = outcome.unwrap_or(Err(CallError::NoAnswer));
            let is_broken = matches!(outcome, Err(CallError::NoAnswer | CallError::NotConnected));
            if !is_broken || tries == TRIES_MAX || tokio::time::Instant::now() >= until {
                return outcome;
            }
            // Where several connections were dialled at once, all but one are closed soon after they came up.
            if !self.inner.links.is_connected_within(&peer, BREAK_WAIT).await {
                return outcome;
            }
            tries += 1;
        }
    }

    async fn ask(
        &self,
        to: PeerId,
        class: Class,
        request: Bytes,
        until: tokio::time::Instant,
    ) -> Result<Bytes, CallError> {
        match class {
            Class::Metadata => self.inner.calls.ask(to, request, until).await,
            Class::Block => self.inner.blocks.ask(to, request, until).await,
        }
    }

    /// Those that are connected, the nearest (by round-trip time) first.
    pub fn nearest(&self, of: &[NodeId]) -> Vec<NodeId> {
        let mut nearest = self.inner.links.nearest(of);
        nearest.retain(|node| self.is_member(node));
        nearest
    }

    /// What is known of a member.
    pub fn peer(&self, node: NodeId) -> PeerStatus {
        self.inner.links.status(node)
    }

    /// What is known of all members, by id.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let members = self.inner.admissions.members();
        let mut nodes: Vec<_> = members.iter().filter_map(NodeId::of_peer).collect();
        nodes.sort();
        nodes.into_iter().map(|node| self.peer(node)).collect()
    }

    /// How this node can be reached.
    pub fn reach(&self) -> Reach {
        locked(&self.inner.told).reach.clone()
    }

    /// Counts changes of connections and of reach; wait on it instead of asking again and again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.clone()
    }

    /// Changes how fast blocks may flow, from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.paces.sent.set(limits.sent);
        self.inner.paces.received.set(limits.received);
        self.inner.paces.relayed.set(limits.relayed);
    }

    /// Tries absent members now instead of when their turn comes, for a person who waits.
    pub async fn retry(&self) {
        // The loop is gone only when the node has stopped.
        let _ = self.inner.commands.send(Command::Retry).await;
    }

    /// Ends the node, in this order: no new request is taken; answers under way are finished and sent where the peer still
    /// listens; connections are closed and what was learned of addresses is kept. Ending an ended node does nothing.
    ///
    /// # Cancellation
    /// May be called again; it must have returned before the process ends, or peers notice late.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.end.cancel();
        self.inner.looping.close();
        self.inner.looping.wait().await;
    }
}

/// The others among `members`, as connections name them.
fn peers(own: NodeId, members: impl IntoIterator<Item = NodeId>) -> HashSet<PeerId> {
    let others = members.into_iter().filter(|node| *node != own);
    others.map(|node| node.peer()).collect()
}

/// Listens on all that works; an address family may be missing, but not all of them.
fn listen(event_loop: &mut EventLoop, at: &[IpAddr], port: u16) -> Result<(), StartError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut works = false;
    for address in at.iter().flat_map(|ip| Address::new(*ip, port).dialled()) {
        match event_loop.swarm.listen_on(address.clone()) {
            Ok(_) => works = true,
            Err(error) => {
                tracing::warn!(%address, %error, "not listening");
                last = io::Error::other(error);
            }
        }
    }
    if works {
        Ok(())
    } else {
        Err(StartError::Listen { port, source: last })
    }
}

/// The port to use: the one asked for, the one kept, or a free one that is kept from now on.
fn port(options: &Options) -> Result<u16, StartError> {
    if let Some(port) = options.port {
        return Ok(port);
    }
    let path = options.folder.join("port");
    if let Some(port) = kept_port(&path) {
        return Ok(port);
    }
    let failed = |action| {
        let path = path.clone();
        move |source| StartError::Port { action, path, source }
    };
    let port = free_port().map_err(failed("choose a port to keep in"))?;
    fs::write(&path, format!("{port}\n")).map_err(failed("keep the port in"))?;
    Ok(port)
}

fn kept_port(path: &FilePath) -> Option<u16> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// How many random ports are tried before giving up.
const PORT_TRIES: usize = 32;

/// A port that is free for TCP and UDP, in both families where both exist.
fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = tcp.local_addr()?.port();
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        let both = match UdpSocket::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            _ => udp,
        };
        match both {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
