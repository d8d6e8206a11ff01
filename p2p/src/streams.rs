//! Opens and accepts byte streams on the connections that exist, choosing the connection by what the stream is for.
//!
//! Unlike the one of libp2p it opens in parallel, never picks a relayed connection where a direct one exists, and keeps
//! blocks apart from calls. It never dials.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    Stream, StreamUpgradeError, SubstreamProtocol, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::Class;
use crate::links::{Chosen, Link, Links, Path};

/// Streams that a peer may hold open towards this node on one connection; more are reset.
const INBOUND_MAX: usize = 32;
/// Streams asked of one connection and not yet begun; askers wait.
const REQUESTS_MAX: usize = 64;
/// How long opening a stream may take.
const OPEN_WAIT: Duration = Duration::from_secs(10);

/// A stream asked of a connection.
pub(crate) struct Request {
    protocol: StreamProtocol,
    opened: oneshot::Sender<io::Result<Stream>>,
}

/// A stream that a peer opened.
pub(crate) struct Incoming {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
    /// Held as long as the stream is used.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A stream that this node opened.
pub(crate) struct Opened {
    pub(crate) connection: ConnectionId,
    pub(crate) relayed: bool,
    pub(crate) stream: Stream,
}

/// Opens streams.
#[derive(Clone)]
pub(crate) struct Control {
    links: Links,
}

impl Control {
    pub(crate) const fn new(links: Links) -> Self {
        Self { links }
    }

    pub(crate) const fn links(&self) -> &Links {
        &self.links
    }

    /// The connection that a stream of this class would take now.
    pub(crate) fn choice(&self, peer: &PeerId, class: Class) -> Option<Chosen> {
        self.links.choose(peer, class, true)
    }

    /// Opens a stream. An error of kind `NotConnected` means that nothing was sent.
    pub(crate) async fn open(
        &self,
        peer: &PeerId,
        protocol: StreamProtocol,
        class: Class,
        allow_relay: bool,
    ) -> io::Result<Opened> {
        let chosen = self.links.choose(peer, class, allow_relay);
        open_on(chosen.ok_or(io::ErrorKind::NotConnected)?, protocol).await
    }

    /// Opens a stream on one connection, whatever became of it.
    pub(crate) async fn open_on(
        &self,
        peer: &PeerId,
        id: ConnectionId,
        protocol: StreamProtocol,
    ) -> io::Result<Opened> {
        let chosen = self.links.one(peer, id);
        open_on(chosen.ok_or(io::ErrorKind::NotConnected)?, protocol).await
    }
}

async fn open_on(chosen: Chosen, protocol: StreamProtocol) -> io::Result<Opened> {
    let (opened, answer) = oneshot::channel();
    let asked = async {
        let request = Request { protocol, opened };
        let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
        chosen.requests.send(request).await.map_err(gone)?;
        answer.await.map_err(|_| io::ErrorKind::NotConnected)?
    };
    let stream = tokio::time::timeout(OPEN_WAIT, asked)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(Opened {
        connection: chosen.id,
        relayed: chosen.relayed,
        stream,
    })
}

/// The part of the swarm that knows all connections and hands out streams.
pub(crate) struct Behaviour {
    links: Links,
    protocols: Arc<[StreamProtocol]>,
    incoming: mpsc::Sender<Incoming>,
    keep_alive: bool,
    /// To whom the protocols are offered: decided once for each connection.
    offered: Offer,
}

/// Decides whether the protocols of a behaviour are offered on a connection.
pub(crate) type Offer = Box<dyn Fn(ConnectionId) -> bool + Send>;

impl Behaviour {
    /// Streams of `protocols` that members open go to `incoming`; when it is full they are reset. Their connections stay
    /// open, used or not.
    pub(crate) fn members(
        links: Links,
        protocols: impl IntoIterator<Item = StreamProtocol>,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        Self {
            links,
            protocols: protocols.into_iter().collect(),
            incoming,
            keep_alive: true,
            offered: Box::new(|_| true),
        }
    }

    /// The same for those who are no members, whose connections close when they lie idle.
    pub(crate) fn guests(
        links: Links,
        protocol: StreamProtocol,
        incoming: mpsc::Sender<Incoming>,
        offered: impl Fn(ConnectionId) -> bool + Send + 'static,
    ) -> Self {
        Self {
            links,
            protocols: Arc::new([protocol]),
            incoming,
            keep_alive: false,
            offered: Box::new(offered),
        }
    }

    fn handler(
        &self,
        id: ConnectionId,
        peer: PeerId,
        local: Option<&Multiaddr>,
        remote: &Multiaddr,
        role: Endpoint,
    ) -> Handler {
        // Of a relayed connection that the peer opened, only the local address tells the relay, by where it is.
        let telling = local
            .filter(|local| crate::address::is_relayed(local))
            .unwrap_or(remote);
        let (mut path, transport) = self.links.nature(telling);
        if path == (Path::Relayed { via: None }) {
            let via = self.links.found_at(telling);
            path = Path::Relayed { via };
        }
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let link = Link {
            id,
            path,
            transport,
            remote: remote.clone(),
            dialled: local.is_none(),
            // Where both punch through at once, both have dialled, and one is told to act as if it had not.
            is_taken_up: role.is_dialer(),
            since: Instant::now(),
            round_trip: None,
            requests: sender,
        };
        self.links.insert(peer, link);
        Handler {
            peer,
            id,
            protocols: if (self.offered)(id) {
                Arc::clone(&self.protocols)
            } else {
                Arc::new([])
            },
            incoming: self.incoming.clone(),
            keep_alive: self.keep_alive,
            places: Arc::new(Semaphore::new(INBOUND_MAX)),
            requests,
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(id, peer, Some(local), remote, Endpoint::Listener))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(id, peer, None, address, role))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.links.remove(Some(closed.peer_id), closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => self.links.remove(failure.peer_id, failure.connection_id),
            FromSwarm::DialFailure(failure) => self.links.remove(failure.peer_id, failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// One connection's part.
pub(crate) struct Handler {
    peer: PeerId,
    id: ConnectionId,
    protocols: Arc<[StreamProtocol]>,
    incoming: mpsc::Sender<Incoming>,
    keep_alive: bool,
    places: Arc<Semaphore>,
    requests: mpsc::Receiver<Request>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Raw;
    type OutboundProtocol = Raw;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<io::Result<Stream>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Raw> {
        SubstreamProtocol::new(Raw(Arc::clone(&self.protocols)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep_alive
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Raw, Self::OutboundOpenInfo, Infallible>> {
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            if request.opened.is_closed() {
                continue;
            }
            let wanted = Raw(Arc::new([request.protocol]));
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(wanted, request.opened),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Raw, Raw, (), Self::OutboundOpenInfo>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => {
                // A peer that wants more than its places, or floods, finds its streams reset.
                if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                    let incoming = Incoming {
                        peer: self.peer,
                        connection: self.id,
                        protocol,
                        stream,
                        place,
                    };
                    drop(self.incoming.try_send(incoming));
                }
            }
            // Who asked and left gets nothing; the stream closes.
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: opened,
            }) => drop(opened.send(Ok(stream))),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: opened, error }) => {
                drop(opened.send(Err(match error {
                    StreamUpgradeError::Timeout => io::ErrorKind::TimedOut.into(),
                    StreamUpgradeError::NegotiationFailed => io::ErrorKind::Unsupported.into(),
                    StreamUpgradeError::Io(error) => error,
                    StreamUpgradeError::Apply(never) => match never {},
                })));
            }
            _ => {}
        }
    }
}

/// Agrees on a protocol's name and leaves the stream as it is.
pub(crate) struct Raw(Arc<[StreamProtocol]>);

impl UpgradeInfo for Raw {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Vec<StreamProtocol> {
        self.0.to_vec()
    }
}

impl InboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
