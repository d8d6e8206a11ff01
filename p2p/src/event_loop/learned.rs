//! What the loop learns from its behaviours: who peers are, where they may be, and how this node can be reached.

use std::time::Instant;

use libp2p::swarm::behaviour::NewExternalAddrCandidate;
use libp2p::swarm::{ConnectionId, FromSwarm, NetworkBehaviour};
use libp2p::{Multiaddr, PeerId, autonat, identify, kad, mdns, ping, relay, upnp};
use tracing::{debug, info};

use super::{EventLoop, circuit, ip_of};
use crate::address::is_local;
use crate::links::Transport;
use crate::locked::locked;
use crate::reach::Gateway;
use crate::swarm::BehaviourEvent;
use crate::upkeep::Retry;
use crate::{Address, HostName, NodeId};

/// Members that relay to this node at once.
const RELAYS_MAX: usize = 2;
/// Strangers on the LAN remembered, for joining.
const NEARBY_MAX: usize = 32;
/// Addresses that one peer may tell of itself.
const TOLD_MAX: usize = 16;

impl EventLoop {
    pub(super) fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                connection_id,
                info,
            }) => self.on_identified(peer_id, connection_id, &info),
            BehaviourEvent::Ping(event) => self.on_probed(&event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_lan(found),
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                let mut told = locked(&self.told);
                for (peer, address) in gone {
                    told.nearby.remove(&address);
                    if let (Some(near), Some(address)) =
                        (self.state.near.get_mut(&peer), Address::of(&address))
                    {
                        near.remove(&address);
                    }
                }
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(Ok(found)),
                ..
            }) => {
                for peer in found.peers {
                    self.hear(peer.peer_id, &peer.addrs, true);
                }
            }
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal: false,
                ..
            }) => self.on_reserved(&relay_peer_id),
            BehaviourEvent::Reachable(event) => self.on_reachability(&event),
            BehaviourEvent::Upnp(event) => self.on_gateway(event),
            BehaviourEvent::Dcutr(event) => {
                let result = event.result.map(|_| "direct").map_err(|error| error.to_string());
                debug!(peer = %event.remote_peer_id, ?result, "hole punched");
            }
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, id: ConnectionId, info: &identify::Info) {
        self.on_heard(&peer, id);
        let direct = self.links.with(&peer, |links| {
            let link = links.iter().find(|link| link.id == id && !link.is_relayed())?;
            Some((link.remote.clone(), link.transport))
        });
        let here = direct.as_ref().and_then(|(remote, _)| ip_of(remote));
        self.hear(peer, &info.listen_addrs, here.is_some_and(|ip| ip.is_loopback()));
        let Some((remote, transport)) = direct else {
            return;
        };
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            if self.state.relays.insert(peer, remote).is_none() {
                // Whoever could not be reached may be reached through this one.
                let now = Instant::now();
                self.state
                    .cares
                    .values_mut()
                    .for_each(|care| care.dial.hasten(now));
            }
            // Identify replaces the port it was seen from by the one it listens on. Behind a NAT that changes ports, only
            // the one really seen can be punched through to.
            let candidate = NewExternalAddrCandidate {
                addr: &info.observed_addr,
            };
            let punching = &mut self.swarm.behaviour_mut().dcutr;
            punching.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
            self.reserve();
        } else {
            self.state.relays.remove(&peer);
        }
        if transport == Transport::Quic
            && let (Some(node), Some(seen)) = (NodeId::of_peer(&peer), Address::of(&info.observed_addr))
            && matches!(seen.host(), HostName::Ip(ip) if !is_local(*ip))
        {
            locked(&self.told).reach.observed.insert(node, seen);
            self.changed();
        }
    }

    /// Notes where a member is said to be. An address proves nothing: whoever answers there must prove its key.
    fn hear(&mut self, peer: PeerId, addresses: &[Multiaddr], here: bool) {
        let (Some(node), true) = (NodeId::of_peer(&peer), self.admissions.is_member(&peer)) else {
            return;
        };
        let mut is_news = false;
        for address in addresses.iter().take(TOLD_MAX) {
            let elsewhere = ip_of(address).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified()) && !here;
            if elsewhere {
                continue;
            }
            if let Some(address) = Address::of(address) {
                is_news |= self.book.heard(node, address);
            }
            if peer != *self.swarm.local_peer_id() {
                self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
            }
        }
        self.state.is_book_changed |= is_news;
        if let Some(care) = self.state.cares.get_mut(&peer).filter(|_| is_news) {
            care.dial.hasten(Instant::now());
        }
    }

    fn on_probed(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(round_trip) => {
                self.links
                    .set_round_trip(&event.peer, event.connection, *round_trip);
                self.on_heard(&event.peer, event.connection);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                debug!(peer = %event.peer, %error, "connection lost");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// A peer said something on a connection, so it did not drop it while it was coming up.
    fn on_heard(&self, peer: &PeerId, id: ConnectionId) {
        if self.links.taken_up(peer, id) {
            self.changed();
        }
    }

    fn on_lan(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let now = Instant::now();
        for (peer, address) in found {
            if self.admissions.is_member(&peer) {
                if let Some(place) = Address::of(&address) {
                    let near = self.state.near.entry(peer).or_default();
                    if near.len() < TOLD_MAX {
                        near.insert(place);
                    }
                }
                self.hear(peer, &[address], false);
                if let Some(care) = self.state.cares.get_mut(&peer) {
                    care.dial = Retry::at(now);
                    care.extra = Retry::at(now);
                }
                if !self.links.is_connected(&peer) {
                    self.look_after(peer, now);
                }
            } else {
                let mut told = locked(&self.told);
                if told.nearby.len() < NEARBY_MAX {
                    told.nearby.insert(address);
                }
            }
        }
    }

    fn on_reserved(&mut self, relay: &PeerId) {
        if let Some(node) = NodeId::of_peer(relay) {
            info!(relay = %node, "reachable through a member");
            locked(&self.told).reach.relays.insert(node);
            self.changed();
        }
    }

    fn on_reachability(&mut self, event: &autonat::v2::client::Event) {
        let server = self.links.with(&event.server, |links| {
            links
                .iter()
                .find(|link| !link.is_relayed())
                .and_then(|link| ip_of(&link.remote))
        });
        if let (Some(server), Some(address)) = (server, Address::of(&event.tested_addr)) {
            let believed = self
                .state
                .confirmations
                .note(&address, server, event.result.is_ok());
            if believed {
                self.set_public(address, true);
            }
        }
    }

    fn on_gateway(&mut self, event: upnp::Event) {
        let gateway = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                if let Some(address) = Address::of(&external_addr) {
                    self.set_public(address, true);
                }
                Gateway::Forwards
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                if let Some(address) = Address::of(&external_addr) {
                    self.set_public(address, false);
                }
                Gateway::Forwards
            }
            upnp::Event::GatewayNotFound => Gateway::NotFound,
            upnp::Event::NonRoutableGateway => Gateway::NotOnInternet,
        };
        locked(&self.told).reach.gateway = Some(gateway);
        self.changed();
    }

    /// Notes that this node can be reached there from everywhere, or no longer. Who can be reached relays for the others.
    pub(crate) fn set_public(&mut self, address: Address, is_public: bool) {
        for dialled in address.dialled() {
            if is_public {
                self.swarm.add_external_address(dialled);
            } else {
                self.swarm.remove_external_address(&dialled);
            }
        }
        let relays = {
            let public = &mut locked(&self.told).reach.public;
            if is_public {
                public.insert(address);
            } else {
                public.remove(&address);
            }
            !public.is_empty()
        };
        let status = if relays {
            relay::Status::Enable
        } else {
            relay::Status::Disable
        };
        self.swarm.behaviour_mut().relay.set_status(Some(status));
        self.changed();
    }

    /// Asks members that relay to relay to this node too.
    pub(super) fn reserve(&mut self) {
        if self.is_public {
            return;
        }
        let candidates: Vec<_> = self
            .state
            .relays
            .iter()
            .map(|(peer, at)| (*peer, at.clone()))
            .collect();
        for (relay, address) in candidates {
            if self.state.reservations.len() >= RELAYS_MAX {
                return;
            }
            if self.state.reservations.contains_key(&relay) {
                continue;
            }
            match self.swarm.listen_on(circuit(&address, relay)) {
                Ok(listener) => {
                    self.state.reservations.insert(relay, listener);
                }
                Err(error) => debug!(%relay, %error, "no reservation"),
            }
        }
    }
}
