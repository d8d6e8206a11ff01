//! Brings a node up: its port, its sockets, its tasks.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::Swarm;
use libp2p::identity::Keypair;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocks::Blocks;
use crate::callback::Callbacks;
use crate::calls::Calls;
use crate::event_loop::{Command, EventLoop, State, Told};
use crate::gate::Admissions;
use crate::introduction::Introductions;
use crate::join::Hall;
use crate::links::Links;
use crate::node::{Inner, peers};
use crate::pace::Pace;
use crate::paced::Paces;
use crate::removal::Parting;
use crate::serve::Server;
use crate::streams::{Control, Incoming};
use crate::swarm::{self, Behaviour, Parts};
use crate::{Address, Host, Identity, MeshId, Node, NodeId, Service, book, port};

/// Commands that wait for the loop; more askers wait.
const COMMANDS_MAX: usize = 64;
/// Streams of members, or of strangers, that wait to be served; more are reset.
const INCOMING_MAX: usize = 256;
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
    /// The port for TCP and UDP; without one that of the first public address or a random one is chosen once and kept.
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

/// What the parts of a node have in common.
struct Common {
    own: NodeId,
    mesh: MeshId,
    admissions: Admissions,
    links: Links,
    guests: Links,
    parting: Links,
    introducing: Links,
    calling_back: Links,
    paces: Arc<Paces>,
    told: Arc<Mutex<Told>>,
    tasks: TaskTracker,
    stop: CancellationToken,
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
        let port = port::settle(&options).await?;
        let common = Common::new(identity.node_id(), &options);
        let (calls_in, calls) = mpsc::channel(INCOMING_MAX);
        let (joins_in, joins) = mpsc::channel(INCOMING_MAX);
        let (partings_in, partings) = mpsc::channel(INCOMING_MAX);
        let (introductions_in, introductions) = mpsc::channel(INCOMING_MAX);
        let (callbacks_in, callbacks) = mpsc::channel(INCOMING_MAX);
        let parting = common.parting(keypair.clone());
        let introducing = common.introductions();
        let called = common.callbacks();
        let incoming = [calls_in, joins_in, partings_in, introductions_in, callbacks_in];
        let swarm = common.swarm(keypair, &options, incoming)?;
        let (changes_in, changes) = watch::channel(0);
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let ends = (&parting, &introducing, &called);
        let mut event_loop = common.event_loop(swarm, &options, changes_in, commands_in.clone(), ends);
        listen(&mut event_loop, &options.listen, port)?;
        for address in options.public {
            event_loop.set_public(address, true);
        }
        let hall = common.hall(host);
        let ends = (&introducing, &called);
        let inner = common.inner(service, commands_in.clone(), changes, ends);
        inner.tasks.spawn(Arc::clone(&inner.server).serve(calls));
        inner.tasks.spawn(hall.hear(joins));
        inner.tasks.spawn(called.hear(callbacks, inner.stop.clone()));
        let hearing = introducing.hear(introductions, commands_in.clone(), inner.stop.clone());
        inner.tasks.spawn(hearing);
        let hearing = parting.hear(partings, commands_in, inner.stop.clone());
        inner.tasks.spawn(hearing);
        inner.looping.spawn(event_loop.run(commands, inner.end.clone()));
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
}

impl Common {
    fn new(own: NodeId, options: &Options) -> Self {
        let admissions = Admissions::default();
        // Before listening: a member that knocks at once must not be taken for a stranger.
        admissions.set_members(peers(own, options.members.iter().copied()));
        let paces = Paces {
            sent: Pace::new(options.limits.sent),
            received: Pace::new(options.limits.received),
            relayed: Pace::new(options.limits.relayed),
        };
        Self {
            own,
            mesh: options.mesh,
            admissions,
            links: Links::default(),
            guests: Links::default(),
            parting: Links::default(),
            introducing: Links::default(),
            calling_back: Links::default(),
            paces: Arc::new(paces),
            told: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    fn swarm(
        &self,
        keypair: Keypair,
        options: &Options,
        [calls, joins, partings, introductions, callbacks]: [mpsc::Sender<Incoming>; 5],
    ) -> Result<Swarm<Behaviour>, StartError> {
        let parts = Parts {
            keypair,
            mesh: self.mesh,
            admissions: self.admissions.clone(),
            links: self.links.clone(),
            guests: self.guests.clone(),
            parting: self.parting.clone(),
            calls,
            joins,
            partings,
            introducing: self.introducing.clone(),
            introductions,
            calling_back: self.calling_back.clone(),
            callbacks,
            mdns: options.mdns,
            upnp: options.upnp,
        };
        swarm::build(parts).map_err(|error| StartError::Identity(error.into()))
    }

    fn event_loop(
        &self,
        swarm: Swarm<Behaviour>,
        options: &Options,
        changes: watch::Sender<u64>,
        commands: mpsc::Sender<Command>,
        (parting, introductions, callbacks): (&Arc<Parting>, &Arc<Introductions>, &Arc<Callbacks>),
    ) -> EventLoop {
        let book_path = options.folder.join("addresses");
        EventLoop {
            own: self.own,
            swarm,
            admissions: self.admissions.clone(),
            links: self.links.clone(),
            guests: self.guests.clone(),
            told: Arc::clone(&self.told),
            changes,
            commands,
            tasks: self.tasks.clone(),
            parting: Arc::clone(parting),
            introductions: Arc::clone(introductions),
            callbacks: Arc::clone(callbacks),
            book: book::load(&book_path),
            book_path,
            is_public: !options.public.is_empty(),
            state: State::new(),
        }
    }

    fn parting(&self, key: Keypair) -> Arc<Parting> {
        Arc::new(Parting {
            mesh: self.mesh,
            own: self.own,
            key,
            control: Control::new(self.parting.clone()),
            admissions: self.admissions.clone(),
            tasks: self.tasks.clone(),
        })
    }

    fn introductions(&self) -> Arc<Introductions> {
        Arc::new(Introductions {
            protocol: swarm::introduction(&self.mesh),
            control: Control::new(self.introducing.clone()),
            admissions: self.admissions.clone(),
            certificates: Mutex::default(),
            tasks: self.tasks.clone(),
        })
    }

    fn callbacks(&self) -> Arc<Callbacks> {
        let links = self.calling_back.clone();
        Arc::new(Callbacks::new(self.own, links, self.tasks.clone()))
    }

    fn hall(&self, host: Arc<dyn Host>) -> Arc<Hall> {
        Arc::new(Hall {
            host,
            admissions: self.admissions.clone(),
            own: self.own,
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        })
    }

    fn inner(
        self,
        service: Arc<dyn Service>,
        commands: mpsc::Sender<Command>,
        changes: watch::Receiver<u64>,
        (introductions, callbacks): (&Arc<Introductions>, &Arc<Callbacks>),
    ) -> Inner {
        let control = Control::new(self.links.clone());
        let server = Server::new(
            service,
            self.links.clone(),
            Arc::clone(&self.paces),
            self.tasks.clone(),
            self.stop.clone(),
        );
        Inner {
            own: self.own,
            mesh: self.mesh,
            admissions: self.admissions,
            introductions: Arc::clone(introductions),
            callbacks: Arc::clone(callbacks),
            links: self.links,
            guests: Control::new(self.guests),
            told: self.told,
            commands,
            calls: Calls::new(control.clone(), self.tasks.clone(), self.stop.clone()),
            blocks: Blocks::new(control, Arc::clone(&self.paces)),
            server: Arc::new(server),
            paces: self.paces,
            changes,
            tasks: self.tasks,
            stop: self.stop,
            looping: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }
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
