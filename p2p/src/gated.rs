//! Wraps any behaviour so that its protocols exist only on the connections of members.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either as EitherOutput;
use futures_util::task::AtomicWaker;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo};
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::handler::{
    ConnectionEvent, FullyNegotiatedInbound, InboundUpgradeSend, ListenUpgradeError, UpgradeInfoSend,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    Stream, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::gate::{Admissions, Opening};

/// A behaviour behind the gate. On any other connection its protocols are neither offered nor used.
pub(crate) struct Gated<B> {
    inner: B,
    admissions: Admissions,
    hides_relayed: bool,
}

impl<B> Gated<B> {
    pub(crate) const fn new(admissions: Admissions, inner: B) -> Self {
        Self {
            inner,
            admissions,
            hides_relayed: false,
        }
    }

    /// The same for a behaviour that must not hear of relayed connections.
    pub(crate) const fn direct_only(admissions: Admissions, inner: B) -> Self {
        Self {
            inner,
            admissions,
            hides_relayed: true,
        }
    }
}

impl<B> Deref for Gated<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.inner
    }
}

impl<B> DerefMut for Gated<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: NetworkBehaviour> Gated<B> {
    fn guard(&self, id: ConnectionId, inner: THandler<B>) -> GatedHandler<THandler<B>> {
        let opening = self.admissions.opening(id);
        let waker = opening.waker();
        GatedHandler {
            inner,
            opening,
            waker,
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gated<B> {
    type ConnectionHandler = GatedHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self
            .inner
            .handle_established_inbound_connection(id, peer, local, remote)?;
        Ok(self.guard(id, handler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self
            .inner
            .handle_established_outbound_connection(id, peer, address, role, port_use)?;
        Ok(self.guard(id, handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let is_relayed = match &event {
            FromSwarm::ConnectionEstablished(established) => established.endpoint.is_relayed(),
            FromSwarm::ConnectionClosed(closed) => closed.endpoint.is_relayed(),
            _ => false,
        };
        if !(is_relayed && self.hides_relayed) {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

/// One connection's part of a guarded behaviour: asleep until the connection opens.
pub(crate) struct GatedHandler<H> {
    inner: H,
    opening: Arc<Opening>,
    waker: Arc<AtomicWaker>,
}

impl<H: ConnectionHandler> ConnectionHandler for GatedHandler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type OutboundProtocol = H::OutboundProtocol;
    type OutboundOpenInfo = H::OutboundOpenInfo;
    type InboundProtocol = Either<Upgrade<H::InboundProtocol>, Upgrade<DeniedUpgrade>>;
    type InboundOpenInfo = Either<H::InboundOpenInfo, ()>;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        if self.opening.is_open() {
            let offered = self.inner.listen_protocol();
            offered
                .map_upgrade(|upgrade| Either::Left(Upgrade(upgrade)))
                .map_info(Either::Left)
        } else {
            SubstreamProtocol::new(Either::Right(Upgrade(DeniedUpgrade)), Either::Right(()))
        }
    }

    fn connection_keep_alive(&self) -> bool {
        self.opening.is_open() && self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        // Registered before looking: an opening between the two would go unseen the other way round.
        self.waker.register(cx.waker());
        if !self.opening.is_open() {
            return Poll::Pending;
        }
        self.inner.poll(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let passed = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
                let (EitherOutput::Left(protocol), Either::Left(info)) = (protocol, info) else {
                    return;
                };
                ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                let (Either::Left(info), Either::Left(error)) = (info, error) else {
                    return;
                };
                ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            ConnectionEvent::FullyNegotiatedOutbound(event) => {
                ConnectionEvent::FullyNegotiatedOutbound(event)
            }
            ConnectionEvent::DialUpgradeError(event) => ConnectionEvent::DialUpgradeError(event),
            ConnectionEvent::AddressChange(event) => ConnectionEvent::AddressChange(event),
            ConnectionEvent::LocalProtocolsChange(event) => ConnectionEvent::LocalProtocolsChange(event),
            ConnectionEvent::RemoteProtocolsChange(event) => ConnectionEvent::RemoteProtocolsChange(event),
            _ => return,
        };
        self.inner.on_connection_event(passed);
    }
}

/// Turns what a handler must offer into what [`Either`] can combine; the trait bounds of the two differ.
pub(crate) struct Upgrade<T>(T);

impl<T: UpgradeInfoSend> UpgradeInfo for Upgrade<T> {
    type Info = T::Info;
    type InfoIter = T::InfoIter;

    fn protocol_info(&self) -> T::InfoIter {
        UpgradeInfoSend::protocol_info(&self.0)
    }
}

impl<T: InboundUpgradeSend> InboundUpgrade<Stream> for Upgrade<T> {
    type Output = T::Output;
    type Error = T::Error;
    type Future = T::Future;

    fn upgrade_inbound(self, stream: Stream, info: T::Info) -> T::Future {
        InboundUpgradeSend::upgrade_inbound(self.0, stream, info)
    }
}
