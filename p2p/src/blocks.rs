//! Asks peers about blocks: each call has a stream to itself, a few at once, and streams are used again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::calls::answer_of;
use crate::frame::{self, Head};
use crate::locked::locked;
use crate::paced::{self, Paces, Way};
use crate::streams::{Control, Opened};
use crate::traffic::Traffic;
use crate::{CallError, Class};

/// The protocol of block calls.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/warren/block/1");
/// Block calls to one peer at once; the others wait, until their deadlines.
const IN_FLIGHT_MAX: usize = 8;

/// The block calls of this node to all others.
pub(crate) struct Blocks {
    control: Control,
    paces: Arc<Paces>,
    peers: Mutex<HashMap<PeerId, Arc<Peer>>>,
}

struct Peer {
    places: Semaphore,
    idle: Mutex<Vec<Opened>>,
    traffic: Arc<Traffic>,
}

impl Blocks {
    pub(crate) fn new(control: Control, paces: Arc<Paces>) -> Self {
        Self {
            control,
            paces,
            peers: Mutex::default(),
        }
    }

    /// Asks once, over the connection that is best now. Who asks sets the deadline; `until` is what the peer is told.
    ///
    /// # Cancellation
    /// The stream is reset; the peer may act on the request all the same.
    pub(crate) async fn ask(&self, to: PeerId, request: Bytes, until: Instant) -> Result<Bytes, CallError> {
        let peer = self.peer(to);
        let _place = peer.places.acquire().await.map_err(|_| CallError::NotConnected)?;
        if let Some(mut used) = self.idle(to, &peer)
            && let Ok(answer) = self.exchange(&mut used, &peer, &request, until).await
        {
            locked(&peer.idle).push(used);
            return answer;
        }
        // The peer may have closed a stream that lay idle; a fresh one decides. Requests may arrive twice.
        let mut fresh = match self.control.open(&to, PROTOCOL, Class::Block, true).await {
            Ok(fresh) => fresh,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Err(CallError::NotConnected),
            Err(_) => return Err(CallError::NoAnswer),
        };
        let answer = self
            .exchange(&mut fresh, &peer, &request, until)
            .await
            .map_err(|_| CallError::NoAnswer)?;
        locked(&peer.idle).push(fresh);
        answer
    }

    /// A stream left by an earlier call, if its connection is still the one to take.
    fn idle(&self, to: PeerId, peer: &Peer) -> Option<Opened> {
        let best = self.control.choice(&to, Class::Block)?.id;
        let mut idle = locked(&peer.idle);
        idle.retain(|stream| stream.connection == best);
        idle.pop()
    }

    async fn exchange(
        &self,
        over: &mut Opened,
        peer: &Peer,
        request: &Bytes,
        until: Instant,
    ) -> io::Result<Result<Bytes, CallError>> {
        let way = Way {
            paces: &self.paces,
            relayed: over.relayed,
            traffic: &peer.traffic,
        };
        let wait = until.saturating_duration_since(Instant::now());
        // Until it is answered: what was written may still be in buffers on the way.
        let sending = peer.traffic.sending(request.len());
        paced::write(&mut over.stream, Head::request(0, wait, request), request, way).await?;
        let head = frame::read_head(&mut over.stream)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        drop(sending);
        let body = paced::read_body(&mut over.stream, head.length, way).await?;
        Ok(answer_of(head.kind, body).ok_or(io::ErrorKind::InvalidData)?)
    }

    /// Forgets all others, and the streams to them.
    pub(crate) fn keep_only(&self, peers: &HashSet<PeerId>) {
        locked(&self.peers).retain(|peer, _| peers.contains(peer));
    }

    fn peer(&self, to: PeerId) -> Arc<Peer> {
        let mut peers = locked(&self.peers);
        let known = peers.entry(to).or_insert_with(|| {
            Arc::new(Peer {
                places: Semaphore::new(IN_FLIGHT_MAX),
                idle: Mutex::default(),
                traffic: self.control.links().traffic(&to),
            })
        });
        Arc::clone(known)
    }
}
