//! Decides for every connection, from the key its peer has proved, whether it is a member's, a guest's, or none.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::dummy;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::MeshId;
use crate::door::{Door, payer};
use crate::locked::locked;
use crate::removal::Removed;

/// How long a guest may stay without becoming a member.
const GUEST_STAY: Duration = Duration::from_secs(60);
/// Guests at once, of all addresses and of one; more wait outside.
pub(crate) const GUESTS_MAX: usize = 16;
const GUESTS_PER_ADDRESS_MAX: usize = 4;
/// Connections of one guest: it knocks at as many addresses as an invite names, with two transports each.
const CONNECTIONS_PER_GUEST_MAX: usize = 2 * crate::invite::ADDRESSES_MAX;
/// Connections of one member; a direct one per transport, one for blocks, a relayed one, and what crossed on the way.
const CONNECTIONS_PER_MEMBER_MAX: usize = 12;
/// How long a former member may stay, and with how many connections: it is told that it is one, no more.
const PARTING_STAY: Duration = Duration::from_secs(10);
const PARTING_MAX: usize = 2;
/// How long a stranger has to introduce itself, and how many may at once.
const STRANGER_STAY: Duration = Duration::from_secs(5);
const STRANGERS_MAX: usize = 8;
/// How many of these may come from one address: a home with two boxes, each with two transports.
const STRANGERS_PER_ADDRESS_MAX: usize = 4;
/// How often guests are looked after.
const ROUND: Duration = Duration::from_millis(500);

/// Why a connection was refused before a byte of any protocol was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    Stranger,
    TooManyGuests,
    TooManyConnections,
    TooOften,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stranger => "not a member",
            Self::TooManyGuests => "too many guests",
            Self::TooManyConnections => "too many connections of one member",
            Self::TooOften => "too many connections from one address",
        })
    }
}

impl std::error::Error for Denied {}

/// Whether one connection carries the protocols of members. Promotion opens it in place.
#[derive(Default)]
pub(crate) struct Opening {
    open: AtomicBool,
    wakers: Mutex<Vec<Arc<AtomicWaker>>>,
}

impl Opening {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// A waker that is woken when the connection opens.
    pub(crate) fn waker(&self) -> Arc<AtomicWaker> {
        let waker = Arc::new(AtomicWaker::new());
        locked(&self.wakers).push(Arc::clone(&waker));
        waker
    }

    fn set(&self, open: bool) {
        self.open.store(open, Ordering::Release);
        locked(&self.wakers).iter().for_each(|waker| waker.wake());
    }
}

/// As what a peer was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    /// While an invite is outstanding, or at a door where this node knocked.
    Guest,
    /// To be told that it is a member no longer.
    Former,
    /// To introduce itself.
    Stranger,
}

impl Standing {
    /// How long such a peer may stay unless its connection opens: a member one day as a guest, should it be none any longer.
    const fn stay(self) -> Duration {
        match self {
            Self::Member | Self::Guest => GUEST_STAY,
            Self::Former => PARTING_STAY,
            Self::Stranger => STRANGER_STAY,
        }
    }
}

struct Connection {
    peer: PeerId,
    /// Whose connection it is to pay for; none of a relayed one.
    from: Option<IpAddr>,
    opening: Arc<Opening>,
    since: Instant,
    standing: Standing,
}

#[derive(Default)]
struct State {
    members: HashSet<PeerId>,
    /// Former members, who are told so.
    removed: HashMap<PeerId, Removed>,
    connections: HashMap<ConnectionId, Connection>,
    closing: VecDeque<PeerId>,
    guests_until: Option<Instant>,
    /// Whether strangers are heard who may be members that this node has not heard of.
    hears_introductions: bool,
    /// The key that signs for the mesh now; without one nothing that is signed proves anything.
    signer: Option<MeshId>,
    /// Knocking at strangers' doors ourselves: how many joins are under way.
    joins: usize,
    /// How often this node waits to be called back by a member of the mesh that it wants to join.
    awaited: usize,
    door: Door,
    waker: Option<Waker>,
}

impl State {
    /// As what a peer is let in that just proved its key, unless it is denied.
    fn standing(
        &self,
        peer: &PeerId,
        from: Option<IpAddr>,
        visiting: bool,
        now: Instant,
    ) -> Result<Standing, Denied> {
        let connections = self.connections.values();
        let same = connections.clone().filter(|known| known.peer == *peer).count();
        if self.members.contains(peer) {
            return if same < CONNECTIONS_PER_MEMBER_MAX {
                Ok(Standing::Member)
            } else {
                Err(Denied::TooManyConnections)
            };
        }
        if self.expects_guests(now) || self.awaited > 0 || visiting && self.joins > 0 {
            let is_guest = |standing| matches!(standing, Standing::Member | Standing::Guest);
            let guests = connections.filter(|known| is_guest(known.standing) && !known.opening.is_open());
            let others = || guests.clone().filter(|known| known.peer != *peer);
            let near = others().filter(|known| known.from.is_some() && known.from == from);
            let near: HashSet<_> = near.map(|known| known.peer).collect();
            let others: HashSet<_> = others().map(|known| known.peer).collect();
            let is_crowd = !visiting && near.len() >= GUESTS_PER_ADDRESS_MAX;
            return if same < CONNECTIONS_PER_GUEST_MAX && others.len() < GUESTS_MAX && !is_crowd {
                Ok(Standing::Guest)
            } else {
                Err(Denied::TooManyGuests)
            };
        }
        if self.removed.contains_key(peer) {
            return if same < PARTING_MAX {
                Ok(Standing::Former)
            } else {
                Err(Denied::Stranger)
            };
        }
        let strangers: Vec<_> = connections
            .filter(|known| known.standing == Standing::Stranger)
            .collect();
        let near = strangers.iter().filter(|known| known.from == from);
        let is_heard = strangers.len() < STRANGERS_MAX && near.count() < STRANGERS_PER_ADDRESS_MAX;
        if self.hears_introductions && !visiting && is_heard {
            return Ok(Standing::Stranger);
        }
        Err(Denied::Stranger)
    }

    fn expects_guests(&self, now: Instant) -> bool {
        self.guests_until.is_some_and(|until| now < until)
    }
}

/// Who is in. Shared by the gate, everything it guards, and the handle that changes it.
#[derive(Clone, Default)]
pub(crate) struct Admissions {
    state: Arc<Mutex<State>>,
}

impl Admissions {
    /// Makes exactly these the members: opens the connections of new ones in place, cuts those of removed ones.
    pub(crate) fn set_members(&self, members: HashSet<PeerId>) {
        let mut state = locked(&self.state);
        let removed: Vec<_> = state.members.difference(&members).copied().collect();
        for connection in state.connections.values() {
            let member = members.contains(&connection.peer);
            if member != connection.opening.is_open() {
                connection.opening.set(member);
            }
        }
        state.members = members;
        state.closing.extend(removed);
        wake(&mut state);
    }

    pub(crate) fn is_member(&self, peer: &PeerId) -> bool {
        locked(&self.state).members.contains(peer)
    }

    pub(crate) fn members(&self) -> Vec<PeerId> {
        locked(&self.state).members.iter().copied().collect()
    }

    /// Makes exactly these the former members.
    pub(crate) fn set_removed(&self, removed: HashMap<PeerId, Removed>) {
        locked(&self.state).removed = removed;
    }

    /// What is to be told to a peer that is back, if it was a member and is none.
    pub(crate) fn removal(&self, peer: &PeerId) -> Option<Removed> {
        let state = locked(&self.state);
        let removed = state.removed.get(peer).copied();
        removed.filter(|_| !state.members.contains(peer))
    }

    /// What signs for the mesh from now on; with `None` nothing does.
    pub(crate) fn set_signer(&self, signer: Option<MeshId>) {
        locked(&self.state).signer = signer;
    }

    /// What signs for the mesh now.
    pub(crate) fn signer(&self) -> Option<MeshId> {
        locked(&self.state).signer
    }

    /// Whether strangers may introduce themselves.
    pub(crate) fn hear_introductions(&self, hears: bool) {
        locked(&self.state).hears_introductions = hears;
    }

    /// Whether what proves this peer to be a member counts: it is none here, and was none.
    pub(crate) fn hears_introductions_of(&self, peer: &PeerId) -> bool {
        let state = locked(&self.state);
        state.hears_introductions && !state.members.contains(peer) && !state.removed.contains_key(peer)
    }

    /// As what the peer of a connection was let in; a connection the gate does not know is a stranger's.
    pub(crate) fn standing(&self, id: ConnectionId) -> Standing {
        let state = locked(&self.state);
        let connection = state.connections.get(&id);
        connection.map_or(Standing::Stranger, |connection| connection.standing)
    }

    /// Lets strangers in as guests until then, while an invite is outstanding; `None` lets nobody in.
    pub(crate) fn allow_guests_until(&self, until: Option<Instant>) {
        let mut state = locked(&self.state);
        state.guests_until = until;
        wake(&mut state);
    }

    /// Lets this node visit strangers while the visit lasts.
    pub(crate) fn visit(&self) -> Visit {
        locked(&self.state).joins += 1;
        Visit(self.clone())
    }

    /// Whether an invite is outstanding.
    pub(crate) fn expects_guests(&self) -> bool {
        locked(&self.state).expects_guests(Instant::now())
    }

    /// Lets strangers call this node back while it waits for that.
    pub(crate) fn await_callback(&self) -> CallbackAwaited {
        locked(&self.state).awaited += 1;
        CallbackAwaited(self.clone())
    }

    /// Whether this node waits to be called back.
    pub(crate) fn awaits_callback(&self) -> bool {
        locked(&self.state).awaited > 0
    }

    /// Whether this connection carries the protocols of members, and who is told when it does.
    pub(crate) fn opening(&self, id: ConnectionId) -> Arc<Opening> {
        // A connection the gate does not know stays closed for ever.
        locked(&self.state)
            .connections
            .get(&id)
            .map(|connection| Arc::clone(&connection.opening))
            .unwrap_or_default()
    }

    fn knock(&self, id: ConnectionId, remote: &Multiaddr) -> Result<(), Denied> {
        match payer(remote) {
            Some(ip) if !locked(&self.state).door.knock(id, ip, Instant::now()) => Err(Denied::TooOften),
            _ => Ok(()),
        }
    }

    fn admit(
        &self,
        id: ConnectionId,
        peer: PeerId,
        from: Option<IpAddr>,
        visiting: bool,
    ) -> Result<(), Denied> {
        let mut state = locked(&self.state);
        state.door.end(id);
        let now = Instant::now();
        let open = state.members.contains(&peer);
        let standing = state.standing(&peer, from, visiting, now)?;
        if let Some(ip) = from.filter(|_| open) {
            state.door.welcome(ip);
        }
        let opening = Arc::new(Opening::default());
        opening.set(open);
        let connection = Connection {
            peer,
            from,
            opening,
            since: now,
            standing,
        };
        state.connections.insert(id, connection);
        Ok(())
    }

    fn forget(&self, id: ConnectionId) {
        let mut state = locked(&self.state);
        state.door.end(id);
        state.connections.remove(&id);
    }

    /// The next connections to close; else remembers whom to wake when there are some.
    fn next_to_close(&self, cx: &Context<'_>) -> Option<PeerId> {
        let mut state = locked(&self.state);
        let peer = state.closing.pop_front();
        if peer.is_none() {
            state.waker = Some(cx.waker().clone());
        }
        peer
    }

    fn guests_overstaying(&self) -> VecDeque<(PeerId, ConnectionId)> {
        let state = locked(&self.state);
        state
            .connections
            .iter()
            .filter(|(_, connection)| {
                !connection.opening.is_open() && connection.since.elapsed() > connection.standing.stay()
            })
            .map(|(id, connection)| (connection.peer, *id))
            .collect()
    }
}

/// Keeps this node allowed to visit strangers.
pub(crate) struct Visit(Admissions);

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.joins = state.joins.saturating_sub(1);
    }
}

/// Keeps this node open to be called back.
pub(crate) struct CallbackAwaited(Admissions);

impl Drop for CallbackAwaited {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        state.awaited = state.awaited.saturating_sub(1);
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

/// The first field of the composed behaviour, so that it decides before any other sees a connection.
pub(crate) struct Gate {
    admissions: Admissions,
    round: Pin<Box<tokio::time::Sleep>>,
    leaving: VecDeque<(PeerId, ConnectionId)>,
}

impl Gate {
    pub(crate) fn new(admissions: Admissions) -> Self {
        Self {
            admissions,
            round: Box::pin(tokio::time::sleep(ROUND)),
            leaving: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admissions.knock(id, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admissions
            .admit(id, peer, payer(remote), false)
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admissions
            .admit(id, peer, payer(remote), true)
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.admissions.forget(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.admissions.forget(failure.connection_id),
            FromSwarm::DialFailure(failure) => self.admissions.forget(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer_id) = self.admissions.next_to_close(cx) {
            let connection = CloseConnection::All;
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        while self.round.as_mut().poll(cx).is_ready() {
            self.round.as_mut().reset(tokio::time::Instant::now() + ROUND);
            self.leaving.extend(self.admissions.guests_overstaying());
        }
        match self.leaving.pop_front() {
            Some((peer_id, id)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(id),
            }),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(at: usize) -> ConnectionId {
        ConnectionId::new_unchecked(at)
    }

    /// Admits somebody from an address of its own.
    fn admit(gate: &Admissions, at: usize, peer: PeerId, visiting: bool) -> Result<(), Denied> {
        let own = u32::try_from(at).unwrap();
        gate.admit(
            connection(at),
            peer,
            Some(std::net::Ipv4Addr::from(own).into()),
            visiting,
        )
    }

    #[test]
    fn a_stranger_is_denied_unless_an_invite_is_outstanding() {
        let (gate, stranger) = (Admissions::default(), PeerId::random());
        assert_eq!(admit(&gate, 1, stranger, false), Err(Denied::Stranger));
        gate.allow_guests_until(Some(Instant::now() + Duration::from_secs(60)));
        assert_eq!(admit(&gate, 2, stranger, false), Ok(()));
        assert!(!gate.opening(connection(2)).is_open());
        gate.allow_guests_until(None);
        assert_eq!(admit(&gate, 3, stranger, false), Err(Denied::Stranger));
    }

    #[test]
    fn a_former_member_is_heard_for_a_moment_and_no_longer_once_it_is_a_member_again() {
        let node = crate::NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key());
        let (gate, peer) = (Admissions::default(), node.peer());
        let removed = Removed {
            node,
            number: 2,
            removed_s: 1,
        };
        gate.set_removed(HashMap::from([(peer, removed)]));
        let admitted = (0..10).filter(|at| admit(&gate, *at, peer, false).is_ok());
        assert_eq!(admitted.count(), PARTING_MAX);
        assert!(!gate.opening(connection(0)).is_open());
        assert_eq!(gate.removal(&peer), Some(removed));
        assert_eq!(admit(&gate, 20, PeerId::random(), false), Err(Denied::Stranger));
        gate.set_members(HashSet::from([peer]));
        assert_eq!(gate.removal(&peer), None);
    }

    #[test]
    fn a_stranger_that_may_be_a_member_is_heard_for_a_moment_and_a_former_one_as_such() {
        let (gate, stranger) = (Admissions::default(), PeerId::random());
        gate.hear_introductions(true);
        let admitted = (0..20).filter(|at| admit(&gate, *at, stranger, false).is_ok());
        assert_eq!(admitted.count(), STRANGERS_MAX);
        assert_eq!(gate.standing(connection(0)), Standing::Stranger);
        assert!(!gate.opening(connection(0)).is_open());
        assert!(gate.hears_introductions_of(&stranger));
        let node = crate::NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key());
        let removed = Removed {
            node,
            number: 2,
            removed_s: 1,
        };
        gate.set_removed(HashMap::from([(node.peer(), removed)]));
        admit(&gate, 30, node.peer(), false).unwrap();
        assert_eq!(gate.standing(connection(30)), Standing::Former);
        assert!(!gate.hears_introductions_of(&node.peer()));
    }

    #[test]
    fn a_guest_is_promoted_in_place_and_a_removed_member_is_cut() {
        let (gate, peer) = (Admissions::default(), PeerId::random());
        gate.allow_guests_until(Some(Instant::now() + Duration::from_secs(60)));
        admit(&gate, 1, peer, false).unwrap();
        let opening = gate.opening(connection(1));
        gate.set_members(HashSet::from([peer]));
        assert!(opening.is_open());
        gate.set_members(HashSet::new());
        assert!(!opening.is_open());
        let waker = futures_util::task::noop_waker();
        assert_eq!(gate.next_to_close(&Context::from_waker(&waker)), Some(peer));
    }

    #[test]
    fn visiting_strangers_ends_with_the_visit() {
        let (gate, stranger) = (Admissions::default(), PeerId::random());
        let visit = gate.visit();
        assert_eq!(admit(&gate, 1, stranger, true), Ok(()));
        assert_eq!(admit(&gate, 2, stranger, false), Err(Denied::Stranger));
        drop(visit);
        assert_eq!(admit(&gate, 3, stranger, true), Err(Denied::Stranger));
    }

    #[test]
    fn neither_guests_nor_one_member_can_take_all_connections() {
        let (gate, member) = (Admissions::default(), PeerId::random());
        gate.set_members(HashSet::from([member]));
        gate.allow_guests_until(Some(Instant::now() + Duration::from_secs(60)));
        let admitted = |peer: &dyn Fn() -> PeerId, from: usize| {
            (from..from + 100)
                .filter(|at| admit(&gate, *at, peer(), false).is_ok())
                .count()
        };
        assert_eq!(admitted(&PeerId::random, 0), GUESTS_MAX);
        assert_eq!(admitted(&|| member, 1000), CONNECTIONS_PER_MEMBER_MAX);
        gate.forget(connection(1000));
        assert_eq!(admit(&gate, 2000, member, false), Ok(()));
    }

    #[test]
    fn one_address_takes_neither_all_places_of_guests_nor_all_of_strangers() {
        let (gate, home) = (Admissions::default(), Some([203, 0, 113, 1].into()));
        let crowd = |from: usize| {
            (from..from + 100)
                .filter(|at| gate.admit(connection(*at), PeerId::random(), home, false).is_ok())
                .count()
        };
        gate.hear_introductions(true);
        assert_eq!(crowd(0), STRANGERS_PER_ADDRESS_MAX);
        assert_eq!(admit(&gate, 1000, PeerId::random(), false), Ok(()));
        gate.allow_guests_until(Some(Instant::now() + Duration::from_secs(60)));
        assert_eq!(crowd(2000), GUESTS_PER_ADDRESS_MAX);
        assert_eq!(admit(&gate, 3000, PeerId::random(), false), Ok(()));
    }

    #[test]
    fn a_guest_may_knock_at_every_address_of_its_invite_and_is_one_guest() {
        let (gate, joiner) = (Admissions::default(), PeerId::random());
        gate.allow_guests_until(Some(Instant::now() + Duration::from_secs(60)));
        let admitted = (0..100).filter(|at| admit(&gate, *at, joiner, false).is_ok());
        assert_eq!(admitted.count(), CONNECTIONS_PER_GUEST_MAX);
        assert_eq!(admit(&gate, 200, PeerId::random(), false), Ok(()));
    }

    #[test]
    fn who_waits_to_be_called_hears_strangers_for_as_long_as_it_waits() {
        let (gate, caller) = (Admissions::default(), PeerId::random());
        let awaited = gate.await_callback();
        assert!(gate.awaits_callback() && !gate.expects_guests());
        assert_eq!(admit(&gate, 1, caller, false), Ok(()));
        drop(awaited);
        assert_eq!(admit(&gate, 2, caller, false), Err(Denied::Stranger));
    }

    #[test]
    fn a_connection_the_gate_never_saw_stays_closed() {
        assert!(!Admissions::default().opening(connection(7)).is_open());
    }
}
