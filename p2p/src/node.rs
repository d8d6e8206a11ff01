//! The handle through which its owner uses a running node.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::blocks::Blocks;
use crate::callback::Callbacks;
use crate::calls::Calls;
use crate::event_loop::{Command, Told};
use crate::frame::BODY_BYTES_MAX;
use crate::gate::Admissions;
use crate::introduction::Introductions;
use crate::links::Links;
use crate::locked::locked;
use crate::paced::Paces;
use crate::reach::Reach;
use crate::serve::Server;
use crate::streams::Control;
use crate::{CallError, Certificate, Claims, Class, Limits, MeshId, NodeId, PeerStatus, Removed};

/// How long answers under way may take once the node ends.
const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// How often one call is tried when connections break under it.
const TRIES_MAX: u32 = 3;
/// How long to wait before asking again over another connection.
const RETRY_WAIT: Duration = Duration::from_millis(20);
/// How long another connection is waited for when one broke.
const BREAK_WAIT: Duration = Duration::from_millis(500);

/// What all handles of a node share.
pub(crate) struct Inner {
    pub(crate) own: NodeId,
    pub(crate) mesh: MeshId,
    pub(crate) admissions: Admissions,
    pub(crate) introductions: Arc<Introductions>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) links: Links,
    pub(crate) guests: Control,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) calls: Calls,
    pub(crate) blocks: Blocks,
    pub(crate) server: Arc<Server>,
    pub(crate) paces: Arc<Paces>,
    pub(crate) changes: watch::Receiver<u64>,
    /// Everything but the loop, and what stops it.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// The loop, which ends last.
    pub(crate) looping: TaskTracker,
    pub(crate) end: CancellationToken,
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
    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.inner.own
    }

    /// Says which key signs for the mesh from now on: what other keys signed proves nothing. With `None` nobody is let in and
    /// nobody is believed, until it is known which.
    pub fn set_signer(&self, signer: Option<MeshId>) {
        self.inner.admissions.set_signer(signer);
    }

    /// Which key signs for the mesh, as the owner last said: invites name it.
    pub fn signer(&self) -> Option<MeshId> {
        self.inner.admissions.signer()
    }

    /// Which mesh it is of: the key that signed for it first.
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

    /// Names former members. When one of them is back, it is told, signed by this node, that it is one no longer; whoever is
    /// a member (again) is not told.
    pub fn set_removed(&self, removed: impl IntoIterator<Item = Removed>) {
        let removed = removed.into_iter().map(|removed| (removed.node.peer(), removed));
        self.inner.admissions.set_removed(removed.collect());
    }

    /// What a member said last of this node being a member no longer; the owner knows whether that membership is the one it
    /// holds.
    pub fn removal(&self) -> Option<Removed> {
        locked(&self.inner.told).removal
    }

    /// What this node shows to members that may not have heard of it: the same claims, signed by each key that ever signed
    /// for the mesh, the oldest first.
    pub fn set_certificates(&self, certificates: Vec<Certificate>) {
        *locked(&self.inner.introductions.certificates) = certificates;
    }

    /// Hears, or hears no longer, strangers that may be members the owner has not heard of: for as long as it cannot ask
    /// the directory. Who introduced itself before is forgotten when that ends.
    pub fn hear_introductions(&self, hears: bool) {
        self.inner.admissions.hear_introductions(hears);
        if !hears {
            locked(&self.inner.told).introduced.clear();
        }
    }

    /// Who introduced itself: what the mesh signed of it. They are members once the owner says so.
    pub fn introduced(&self) -> Vec<Claims> {
        locked(&self.inner.told).introduced.values().cloned().collect()
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
    /// The member may act on the request all the same. A request about metadata is sent once; one about a block may arrive
    /// twice, when a connection breaks: blocks are named after their content, so that does no harm.
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
        let links = &self.inner.links;
        if !links.was_connected_within(&peer, BREAK_WAIT)
            || !links.is_connected_within(&peer, BREAK_WAIT).await
        {
            return Err(CallError::NotConnected);
        }
        let until = tokio::time::Instant::now() + wait;
        let mut tries = 1;
        loop {
            let outcome = tokio::time::timeout_at(until, self.ask(peer, class, request.clone(), until)).await;
            let outcome = outcome.unwrap_or(Err(CallError::NoAnswer));
            // What was sent may have been acted on: to send it again is for whoever knows what it means.
            let may_repeat = match &outcome {
                Err(CallError::NotConnected) => true,
                Err(CallError::NoAnswer) => class == Class::Block,
                _ => false,
            };
            if !may_repeat || tries == TRIES_MAX || tokio::time::Instant::now() >= until {
                return outcome;
            }
            // A connection that broke under it may have been one of several, or is soon replaced.
            if !self.inner.links.is_connected_within(&peer, BREAK_WAIT).await {
                return outcome;
            }
            tokio::time::sleep(RETRY_WAIT).await;
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

    /// How fast blocks may flow.
    pub fn limits(&self) -> Limits {
        let paces = &self.inner.paces;
        Limits {
            sent: paces.sent.limit(),
            received: paces.received.limit(),
            relayed: paces.relayed.limit(),
        }
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

    /// Ends the node, in this order: no new request is taken; answers under way are finished, for at most half a minute;
    /// connections are closed and what was learned of addresses is kept. Ending an ended node does nothing.
    ///
    /// # Cancellation
    /// May be called again; it must have returned before the process ends, or peers notice late.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(DRAIN_WAIT, self.inner.tasks.wait())
            .await
            .is_err()
        {
            warn!(unfinished = self.inner.tasks.len(), "answers given up");
        }
        self.inner.end.cancel();
        self.inner.looping.close();
        self.inner.looping.wait().await;
    }
}

/// The others among `members`, as connections name them.
pub(crate) fn peers(own: NodeId, members: impl IntoIterator<Item = NodeId>) -> HashSet<PeerId> {
    let others = members.into_iter().filter(|node| *node != own);
    others.map(|node| node.peer()).collect()
}
