//! How a member proves to another that has not heard of it yet that it is one: by what the mesh signed.
//!
//! Whoever was away while somebody joined, and cannot ask the others, would take that one for a stranger. On each connection
//! to a member a node therefore opens a stream of the protocol `/warren/HASH/introduce/1`, HASH being that of
//! [`swarm::hashed`](crate::swarm::hashed), sends one [notice](crate::notice): the CBOR
//! array `[version = 1, [certificate, …]]` of an integer and at most [`CERTIFICATES_MAX`] byte strings, each the same claims
//! signed by another generation of the mesh's key: whoever was away knows only old ones.
//!
//! The stream is offered to strangers only, and only by a node that is cut off from the directory: any other has heard of
//! every member. What is proved is reported to the owner, who decides; a former member is never believed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::certificate::BYTES_MAX;
use crate::event_loop::Command;
use crate::gate::Admissions;
use crate::heard::Heard;
use crate::locked::locked;
use crate::notice;
use crate::streams::{Control, Incoming};
use crate::{Certificate, Claims, MeshId, NodeId};

const VERSION: u8 = 1;
/// Certificates that one message may hold.
pub(crate) const CERTIFICATES_MAX: usize = 16;
/// The longest message, in bytes: certificates, and a few bytes around each.
const MESSAGE_BYTES_MAX: usize = CERTIFICATES_MAX * (BYTES_MAX + 8) + 8;
/// How long an introduction may take.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Message(u8, Vec<ByteBuf>);

/// The message with its length before it; the newest certificates where there are too many.
fn write(certificates: &[Certificate]) -> Option<Vec<u8>> {
    let from = certificates.len().saturating_sub(CERTIFICATES_MAX);
    let newest = certificates.iter().skip(from);
    let newest = newest.map(|certificate| ByteBuf::from(certificate.bytes().to_vec()));
    notice::framed(&Message(VERSION, newest.collect()))
}

/// What the key that signs for the mesh says of a peer in a message; none unless it signed that.
fn read(bytes: &[u8], signer: &MeshId, peer: &NodeId) -> Option<Claims> {
    let mut rest = bytes;
    let Message(version, certificates) = ciborium::from_reader(&mut rest).ok()?;
    if version != VERSION || !rest.is_empty() || certificates.len() > CERTIFICATES_MAX {
        return None;
    }
    let mut verified = certificates
        .iter()
        .filter_map(|bytes| Certificate::verify(bytes, signer).ok());
    let own = verified.find(|certificate| certificate.claims().node == *peer)?;
    Some(own.claims().clone())
}

/// Reads any bytes as a message, as fuzzing does.
#[cfg(any(test, feature = "hostile"))]
pub(crate) fn read_hostile(bytes: &[u8], mesh: &MeshId, node: &NodeId) {
    assert!(read(bytes, mesh, node).is_none(), "the mesh never signed that");
}

/// What introducing and being introduced to needs.
pub(crate) struct Introductions {
    pub(crate) protocol: StreamProtocol,
    pub(crate) control: Control,
    pub(crate) admissions: Admissions,
    /// What proves this node to others; nothing where it cannot.
    pub(crate) certificates: Mutex<Vec<Certificate>>,
    pub(crate) tasks: TaskTracker,
}

impl Introductions {
    /// Introduces this node over a new connection. A peer that knows it does not offer the protocol.
    pub(crate) async fn tell(self: Arc<Self>, peer: PeerId, id: ConnectionId) {
        let message = write(&locked(&self.certificates));
        let Some(message) = message else { return };
        let telling = async {
            let mut opened = self.control.open_on(&peer, id, self.protocol.clone()).await?;
            notice::send(&mut opened.stream, &message).await
        };
        match timeout(WAIT, telling).await {
            Ok(Ok(())) => debug!(%peer, "introduced"),
            Ok(Err(error)) => debug!(%peer, %error, "not introduced"),
            Err(_) => debug!(%peer, "not introduced in time"),
        }
    }

    /// Whether there is anything to show.
    pub(crate) fn is_certified(&self) -> bool {
        !locked(&self.certificates).is_empty()
    }

    /// Forgets the connections that are gone.
    pub(crate) fn forget_gone(&self) {
        self.control.links().forget_except(|_| false);
    }

    /// Hears strangers introduce themselves, none waiting for another, until stopped.
    pub(crate) async fn hear(
        self: Arc<Self>,
        mut incoming: mpsc::Receiver<Incoming>,
        commands: mpsc::Sender<Command>,
        stop: CancellationToken,
    ) {
        let heard = Heard::default();
        while let Some(Some(mut stranger)) = stop.run_until_cancelled(incoming.recv()).await {
            let Some(turn) = heard.turn(stranger.peer) else {
                continue;
            };
            let (introductions, commands, stop) = (Arc::clone(&self), commands.clone(), stop.clone());
            self.tasks.spawn(async move {
                let hearing = introductions.heard(&mut stranger);
                if let Some(Some(claims)) = stop.run_until_cancelled(hearing).await {
                    // The loop is gone only when this node stops.
                    let _ = commands.send(Command::Introduced { claims }).await;
                }
                drop(turn);
            });
        }
    }

    /// What a stranger proves to be, in time.
    async fn heard(&self, stranger: &mut Incoming) -> Option<Claims> {
        let node = NodeId::of_peer(&stranger.peer)?;
        let said = timeout(WAIT, notice::receive(&mut stranger.stream, MESSAGE_BYTES_MAX)).await;
        let claims = read(&said.ok()?.ok()?, &self.admissions.signer()?, &node)?;
        self.admissions
            .hears_introductions_of(&stranger.peer)
            .then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MeshKey, Role};

    fn key(generation: u8) -> MeshKey {
        MeshKey::from_secret(&[generation; 32])
    }

    fn node(seed: u8) -> NodeId {
        NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn certificate(generation: u8, of: u8) -> Certificate {
        let claims = Claims {
            node: node(of),
            role: Role::Trusted,
            zone: "Ben's flat".into(),
            name: "ben".into(),
            serial: 7,
            issued_s: 1_800_000_000,
        };
        Certificate::issue(&key(generation), claims).unwrap()
    }

    fn said() -> Vec<u8> {
        write(&[certificate(1, 9), certificate(2, 9)]).unwrap()
    }

    #[test]
    fn the_first_format_stays_readable() {
        let bytes = include_bytes!("../fixtures/introduction-1");
        assert_eq!(said(), bytes);
        let read = read(&bytes[2..], &key(1).id(), &node(9)).unwrap();
        assert_eq!(&read, certificate(1, 9).claims());
    }

    #[test]
    fn any_generation_that_the_hearer_knows_proves_a_member_and_no_other_does() {
        let said = said().split_off(2);
        for (generation, is_proof) in [(1, true), (2, true), (3, false)] {
            let claims = read(&said, &key(generation).id(), &node(9));
            assert_eq!(claims.is_some(), is_proof, "{generation}");
        }
        // Somebody else's certificate proves nothing.
        assert_eq!(read(&said, &key(1).id(), &node(8)), None);
    }

    #[test]
    fn a_mesh_that_had_many_keys_is_proved_by_the_newest() {
        let many: Vec<_> = (1..=20).map(|generation| certificate(generation, 9)).collect();
        let said = write(&many).unwrap();
        assert!(said.len() - 2 <= MESSAGE_BYTES_MAX);
        assert!(read(&said[2..], &key(20).id(), &node(9)).is_some());
        assert!(read(&said[2..], &key(4).id(), &node(9)).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_harm(bytes: Vec<u8>) {
            prop_assert_eq!(read(&bytes, &key(1).id(), &node(9)), None);
        }
    }
}
