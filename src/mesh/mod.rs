//! The node among the others of its mesh: where `p2p` and `storage` meet.
//!
//! | file | its job |
//! |---|---|
//! | `callback` | calls boxes that wait with an invite |
//! | `speed` | remembers how fast content may flow |
//! | `wire` | the way to other members, by their numbers |
//! | `desk` | answers the calls of other members |
//! | `door` | lets in whoever holds an invite |
//! | `follow` | has the connections follow the root rows |
//! | `join` | the way into a mesh |
//! | `own_row` | keeps what the rows say of this box true |
//! | `place` | takes a place anew, where a disk has forgotten |
//! | `removed` | remembers who was a member |

mod callback;
mod desk;
mod door;
mod follow;
mod join;
mod own_row;
mod place;
mod removed;
mod speed;
mod wire;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::join_all;
use p2p::{Address, Class, Identity, Invite, InviteId, Limits, NodeId, PeerStatus, Reach};
use storage::model::{MemberId, MemberRow, Role, Timestamp, Zone};
use storage::{Membership, NodeSecret, Seat, Store};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};

use callback::Callbacks;
pub(crate) use callback::{Called, Progress};
pub(crate) use desk::Told;
use desk::{ASK_FACTS, Desk};
use door::Door;
pub(crate) use join::{Arrival, Patience, capacity, knock};
use removed::Former;
use speed::Speed;
pub(crate) use speed::{QUIET_MAX, Quiet, Way};
use wire::Roster;
pub(crate) use wire::Wire;

use crate::config::Config;

/// How long a member may take to tell of itself, for a person who waits.
const FACTS_WAIT: Duration = Duration::from_secs(2);

/// How long the others are looked for, for a person who invites.
const FIND_WAIT: Duration = Duration::from_secs(5);

/// How long new keys are waited for, for a person who invites right after a box was removed; they take moments where enough
/// boxes answer.
const KEYS_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked whether they are there.
const KEYS_LOOK: Duration = Duration::from_millis(100);

/// A node on its mesh.
pub(crate) struct Mesh {
    node: p2p::Node,
    wire: Arc<Wire>,
    store: Store,
    speed: Speed,
    callbacks: Callbacks,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// A new place was found for this box.
    is_given_place: CancellationToken,
}

/// As whom a box takes part, before its store is open.
pub(crate) struct Place {
    seat: Option<Seat>,
    own: MemberRow,
    secret: NodeSecret,
    wire: Arc<Wire>,
}

impl Place {
    /// Finds the place of the box with this configuration: the one it was given when it joined, or that of a founder.
    ///
    /// # Errors
    /// Its seat does not read.
    pub(crate) fn find(config: &Config, identity: &Identity) -> anyhow::Result<Self> {
        if Seat::take_up(&config.state.value).context("take up the new place of this box")? {
            info!("this box has a new place in its mesh, and hears everything anew");
        }
        let seat = Seat::read(&config.state.value).context("read the seat of this box")?;
        let wire = Arc::new(Wire::default());
        if let Some(seat) = &seat {
            wire.set_roster(Roster::of(&seat.members));
        }
        let own = MemberRow {
            name: box_name(),
            zone: zone(&config.zone.value),
            role: Role::Trusted,
            capacity: 0,
            draining: false,
            parting: false,
            node: Bytes::copy_from_slice(identity.node_id().as_bytes()),
            joined: Timestamp::now(),
        };
        let secret = NodeSecret::from_bytes(&identity.secret());
        Ok(Self {
            seat,
            own,
            secret,
            wire,
        })
    }

    /// What the store has to know of it.
    pub(crate) fn membership(&self) -> Membership {
        let peers = Arc::clone(&self.wire) as Arc<dyn storage::Peers>;
        let (own, secret) = (self.own.clone(), self.secret.clone());
        match &self.seat {
            Some(seat) => {
                let named = seat.members.iter().map(|(member, _)| *member);
                Membership::admitted(seat.welcome.clone(), own, secret, peers).among(named)
            }
            None => Membership::founder(own, secret, peers),
        }
    }
}

impl Mesh {
    /// Goes among the others with an open store.
    ///
    /// # Errors
    /// It cannot listen.
    pub(crate) async fn start(
        config: &Config,
        identity: &Identity,
        place: Place,
        store: Store,
    ) -> anyhow::Result<Self> {
        let Place { own, wire, .. } = place;
        let own = MemberRow {
            capacity: store.disk_status().given,
            ..own
        };
        // A store that takes no writes still answers, and says itself what is wrong.
        if let Err(error) = store.introduce(own.clone()).await {
            warn!(%error, "this box does not stand in its own mesh yet");
        }
        let keys = signing_keys(&store);
        let first = keys.first().context("find the key that names the mesh")?;
        let speed = Speed::begin(&config.mesh, &folder(config));
        let options = options(config, first.id(), wire.roster().nodes())?;
        let desk = Arc::new(Desk::new(&wire, &store));
        let door = Arc::new(Door::new(config, identity.node_id(), &store));
        let node = p2p::Node::start(identity, options, desk, door)
            .await
            .context("listen for other members (mesh.address)")?;
        wire.bind(node.clone());
        let mesh = Self {
            node,
            wire,
            store,
            speed,
            callbacks: Callbacks::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            is_given_place: CancellationToken::new(),
        };
        let following = follow::follow(
            Arc::clone(&mesh.wire),
            mesh.store.clone(),
            mesh.node.clone(),
            Former::load(&folder(config)),
            mesh.stop.clone(),
        );
        mesh.tasks.spawn(following.instrument(info_span!("mesh")));
        let replacing = own_row::replace_earlier(mesh.store.clone(), mesh.stop.clone());
        mesh.tasks.spawn(replacing.instrument(info_span!("mesh")));
        let telling = own_row::tell_capacity(mesh.store.clone(), own.capacity, mesh.stop.clone());
        mesh.tasks.spawn(telling.instrument(info_span!("mesh")));
        let placing = place::find(
            (mesh.store.clone(), Arc::clone(&mesh.wire), mesh.node.clone()),
            config.state.value.clone(),
            mesh.is_given_place.clone(),
            mesh.stop.clone(),
        );
        mesh.tasks.spawn(placing.instrument(info_span!("mesh")));
        let pacing = speed::keep_to(mesh.speed.clone(), mesh.node.clone(), mesh.stop.clone());
        mesh.tasks.spawn(pacing.instrument(info_span!("mesh")));
        let calling = callback::keep_calling(
            mesh.callbacks.clone(),
            mesh.store.clone(),
            mesh.node.clone(),
            mesh.stop.clone(),
        );
        mesh.tasks.spawn(calling.instrument(info_span!("mesh")));
        mesh.tasks.close();
        Ok(mesh)
    }

    /// Waits until a new place was found for this box, whose disk forgot what it promised: it is taken up by the next start.
    pub(crate) async fn until_given_place(&self) {
        self.is_given_place.cancelled().await;
    }

    /// Ends what works on its own; calls still go there and back.
    pub(crate) async fn calm(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Leaves the others: answers what is under way, then closes all connections.
    pub(crate) async fn leave(&self) {
        self.node.shutdown().await;
        self.wire.unbind();
    }

    /// Which node a member is, if its row says so.
    pub(crate) fn node_of(&self, member: MemberId) -> Option<NodeId> {
        self.wire.roster().node(member)
    }

    /// How a member is reached.
    pub(crate) fn peer(&self, node: NodeId) -> PeerStatus {
        self.node.peer(node)
    }

    /// How this node can be reached.
    pub(crate) fn reach(&self) -> Reach {
        self.node.reach()
    }

    /// How fast content may flow, whatever holds for a while.
    pub(crate) fn limits(&self) -> Limits {
        self.speed.limits()
    }

    /// A time in which it flows more slowly, if it is now.
    pub(crate) fn quiet(&self) -> Option<Quiet> {
        self.speed.quiet()
    }

    /// Changes how fast content may flow one way, from now on and after the next start.
    ///
    /// # Errors
    /// It cannot be kept; it counts until the next start all the same.
    pub(crate) async fn set_limit(&self, way: Way, bytes_per_s: Option<u64>) -> std::io::Result<()> {
        let kept = self.speed.limit(way, bytes_per_s).await;
        self.node.set_limits(self.speed.now());
        kept
    }

    /// Begins a time in which content flows more slowly, or ends it.
    ///
    /// # Errors
    /// As [`Self::set_limit`].
    pub(crate) async fn set_quiet(&self, quiet: Option<Quiet>) -> std::io::Result<()> {
        let kept = self.speed.set_quiet(quiet).await;
        self.node.set_limits(self.speed.now());
        kept
    }

    /// Whether a member said that this box is one no longer.
    pub(crate) fn is_removed(&self) -> bool {
        follow::is_removed(&self.node, self.store.me())
    }

    /// What another member tells of itself; `None` when it does not answer.
    pub(crate) async fn told_by(&self, node: NodeId) -> Option<Told> {
        let ask = Bytes::from_static(ASK_FACTS);
        let answer = self
            .node
            .call(node, Class::Metadata, ask, FACTS_WAIT)
            .await
            .ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// Where the connected others are open to the internet.
    async fn public_of_others(&self) -> BTreeSet<Address> {
        let nodes = self.wire.roster().nodes();
        let is_reached = || !self.node.nearest(&nodes).is_empty();
        if nodes.iter().any(|node| *node != self.node.id()) && !is_reached() {
            // A box that has just started is about to find them.
            let mut changes = self.node.changes();
            let _ = timeout(FIND_WAIT, changes.wait_for(|_| is_reached())).await;
        }
        let others = self.node.nearest(&nodes);
        let told = join_all(others.into_iter().map(|node| self.told_by(node))).await;
        let public = told.into_iter().flatten().flat_map(|told| told.public);
        public.filter_map(|text| text.parse().ok()).collect()
    }

    /// Has a box called that waits with an invite at an address that this one can reach.
    pub(crate) fn call_back(&self, address: Address) {
        self.callbacks.call(address);
    }

    /// The boxes that are called, or were of late.
    pub(crate) fn called(&self) -> Vec<Called> {
        self.callbacks.all()
    }

    /// The key that signs for the mesh; where it is being replaced, once there is another.
    async fn next_signer(&self) -> p2p::MeshId {
        loop {
            // The rows may know already that somebody went, and whoever lets guests in not yet.
            let by_rows = signer(&self.store).map(|key| key.id());
            if let Some(signer) = by_rows.filter(|by_rows| self.node.signer().as_ref() == Some(by_rows)) {
                return signer;
            }
            sleep(KEYS_LOOK).await;
        }
    }

    /// Makes an invite that says where to knock: at this node where that is open to the internet, at others that are, and on
    /// the LAN.
    ///
    /// # Errors
    /// The root rows cannot be changed, or the system gives no random bytes.
    pub(crate) async fn invite(&self, expires: Timestamp) -> anyhow::Result<Invite> {
        let addresses = doors(&self.node.reach(), &self.public_of_others().await);
        let signer = timeout(KEYS_WAIT, self.next_signer())
            .await
            .context("the mesh is getting new keys after a box was removed; try again in a moment")?;
        let invite = Invite::new(signer, p2p::Role::Trusted, expires.as_secs(), addresses);
        let invite = invite.map_err(|error| anyhow::anyhow!("no random bytes from the system: {error}"))?;
        self.store
            .create_invite(id(invite.id()), Role::Trusted, expires)
            .await?;
        Ok(invite)
    }
}

/// The keys that ever signed for the mesh, the oldest first.
fn signing_keys(store: &Store) -> Vec<p2p::MeshKey> {
    let seeds = store.signing_seeds();
    seeds.iter().map(|seed| p2p::MeshKey::from_secret(seed)).collect()
}

/// The key that signs for the mesh now; `None` while it may be in the hands of somebody who went, or is not here.
fn signer(store: &Store) -> Option<p2p::MeshKey> {
    store
        .has_newest_keys()
        .then(|| signing_keys(store).pop())
        .flatten()
}

/// Where to knock, the best first: any member that can be reached lets in whoever holds the invite.
fn doors(own: &Reach, others: &BTreeSet<Address>) -> Vec<Address> {
    let (public, near): (Vec<_>, Vec<_>) = own
        .knocked()
        .into_iter()
        .partition(|address| own.public.contains(address));
    let others = others.iter().filter(|address| !public.contains(address));
    // One that is near must find room, or a box in the next room could join only over the internet.
    let others = others.take(p2p::ADDRESSES_MAX / 2).cloned();
    let mut doors: Vec<Address> = public.iter().cloned().chain(others).collect();
    doors.truncate(p2p::ADDRESSES_MAX - near.len().min(2));
    doors.extend(near);
    doors
}

/// The name of an invite in root rows.
fn id(invite: InviteId) -> storage::model::InviteId {
    storage::model::InviteId::from_bytes(*invite.as_bytes())
}

/// Whether the port that was asked for can be had. Asked before anything is made that would be lost with it.
///
/// # Errors
/// It is in use.
pub(crate) fn check_port(config: &Config) -> anyhow::Result<()> {
    let Some(port) = config.mesh.address.value.port() else {
        return Ok(());
    };
    for ip in config.mesh.address.value.ips() {
        let address = SocketAddr::new(ip, port);
        let free = TcpListener::bind(address).and_then(|_| UdpSocket::bind(address));
        match free {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(crate::listen::ListenError::MeshInUse(address).into());
            }
            // A family that is missing is no harm as long as the other is there.
            _ => {}
        }
    }
    Ok(())
}

/// Where the connections of a node, and what is about them, keep what they remember.
fn folder(config: &Config) -> PathBuf {
    config.state.value.join("mesh")
}

/// How the connections of a node begin.
fn options(config: &Config, mesh: p2p::MeshId, members: Vec<NodeId>) -> anyhow::Result<p2p::Options> {
    let folder = folder(config);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("create {}", folder.display()))?;
    let limits = Speed::begin(&config.mesh, &folder).now();
    Ok(p2p::Options {
        mesh,
        members,
        folder,
        listen: config.mesh.address.value.ips(),
        port: config.mesh.address.value.port(),
        public: config.mesh.public.value.clone(),
        mdns: config.mesh.mdns.value.0,
        upnp: config.mesh.upnp.value.0,
        limits,
    })
}

/// What a box is called until somebody renames it: the first label of its host name.
pub(crate) fn box_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label = host.split('.').next().unwrap_or_default();
    if label.is_empty() {
        "box".into()
    } else {
        short(label, p2p::NAME_BYTES_MAX)
    }
}

/// What people call a member; its number where this box has not heard of it.
pub(crate) fn name_of(store: &Store, member: MemberId) -> String {
    let mut members = store.members().into_iter();
    match members.find(|(known, _)| *known == member) {
        Some((_, row)) => row.name,
        None if member == store.me() => box_name(),
        None => member.to_string(),
    }
}

/// The name of a place. The configuration promises that it is one.
fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap_or_else(|_| Zone::home())
}

/// The beginning of a text, of so many bytes at most.
fn short(text: &str, bytes_max: usize) -> String {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or_default()
        .to_owned()
}

/// Whether a state directory may become the box of a member.
pub(crate) fn is_free(state: &Path) -> bool {
    storage::Gift::fits(state)
}

/// A member as tests need one.
#[cfg(test)]
pub(crate) fn sample(number: u32, name: &str, node: &[u8]) -> (MemberId, MemberRow) {
    let row = MemberRow {
        name: name.into(),
        zone: Zone::home(),
        role: Role::Trusted,
        capacity: 0,
        draining: false,
        parting: false,
        node: Bytes::copy_from_slice(node),
        joined: Timestamp::from_millis(0),
    };
    (MemberId(number), row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_knocks_at_whoever_the_internet_reaches_and_on_the_lan() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let mut own = Reach::default();
        own.listening.insert(address("192.168.1.10:4001"));
        let server = BTreeSet::from([address("203.0.113.10:4001")]);
        assert_eq!(
            doors(&own, &server),
            [address("203.0.113.10:4001"), address("192.168.1.10:4001")]
        );
        own.public.insert(address("198.51.100.7:4001"));
        assert_eq!(doors(&own, &server)[0], address("198.51.100.7:4001"));
        // However many there are, the LAN finds room.
        let many = (1..40)
            .map(|host| address(&format!("203.0.113.{host}:4001")))
            .collect();
        let doors = doors(&own, &many);
        let lan = doors
            .iter()
            .position(|door| *door == address("192.168.1.10:4001"));
        assert!(lan.is_some_and(|at| at < p2p::ADDRESSES_MAX), "{doors:?}");
    }
}
