//! How a node learns that it is no member any longer: a member that it knows says so, signed.
//!
//! The member opens a stream of the protocol `/warren/removed/1` on the connection of whoever was removed, writes one
//! message and closes: two bytes of length (big-endian) and the CBOR array `[version = 1, number, removed, signature]` of the
//! number it had, the seconds since 1970 when the member noticed, and a string of 64 bytes. The signature is ed25519 by the
//! member's own key over the ASCII text `warren removed 1`, the mesh's public key, the member's, the removed node's, and the
//! two numbers in eight bytes each, big-endian. Not by the key of the mesh: a former member has that one too. Whoever was
//! removed before the node was is no member to it any longer, so that it cannot tell it such a thing.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use libp2p::identity::Keypair;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::event_loop::Command;
use crate::gate::Admissions;
use crate::heard::Heard;
use crate::notice;
use crate::streams::{Control, Incoming};
use crate::{MeshId, NodeId};

/// The protocol of being told; open to all, since whoever is told is a stranger by then.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/warren/removed/1");
const VERSION: u8 = 1;
/// Sets these signatures apart from everything else that a node signs.
const CONTEXT: &[u8] = b"warren removed 1";
/// The longest message, in bytes: two integers and a signature.
const MESSAGE_BYTES_MAX: usize = 128;
/// How long telling may take.
const TELL_WAIT: Duration = Duration::from_secs(5);

/// A member that is one no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Who.
    pub node: NodeId,
    /// The number it had, for whom a number says which of its memberships ended.
    pub number: u64,
    /// When that was noticed, in seconds since 1970.
    pub removed_s: u64,
}

#[derive(Serialize, Deserialize)]
struct Message(u8, u64, u64, ByteArray<64>);

/// What is signed.
fn statement(mesh: &MeshId, member: &NodeId, removed: &Removed) -> Vec<u8> {
    [
        CONTEXT,
        mesh.as_bytes(),
        member.as_bytes(),
        removed.node.as_bytes(),
        &removed.number.to_be_bytes(),
        &removed.removed_s.to_be_bytes(),
    ]
    .concat()
}

/// The message with its length before it; none where the key is of a kind that signs otherwise.
fn write(mesh: &MeshId, member: &NodeId, key: &Keypair, removed: &Removed) -> Option<Vec<u8>> {
    let signature = key.sign(&statement(mesh, member, removed)).ok()?;
    let signature = ByteArray::new(signature.try_into().ok()?);
    notice::framed(&Message(VERSION, removed.number, removed.removed_s, signature))
}

/// What `member` says of `own`; none unless it signed that.
fn read(bytes: &[u8], mesh: &MeshId, member: &NodeId, own: NodeId) -> Option<Removed> {
    let mut rest = bytes;
    let Message(version, number, removed_s, signature) = ciborium::from_reader(&mut rest).ok()?;
    if version != VERSION || !rest.is_empty() {
        return None;
    }
    let removed = Removed {
        node: own,
        number,
        removed_s,
    };
    let key = VerifyingKey::from_bytes(member.as_bytes()).ok()?;
    let signature = Signature::from_bytes(&signature);
    let said = statement(mesh, member, &removed);
    key.verify_strict(&said, &signature).is_ok().then_some(removed)
}

/// Reads any bytes as a message, as fuzzing does.
#[cfg(any(test, feature = "hostile"))]
pub(crate) fn read_hostile(bytes: &[u8], mesh: &MeshId, node: &NodeId) {
    assert!(
        read(bytes, mesh, node, *node).is_none(),
        "the member never signed that"
    );
}

/// What telling and being told need.
pub(crate) struct Parting {
    pub(crate) mesh: MeshId,
    pub(crate) own: NodeId,
    pub(crate) key: Keypair,
    pub(crate) control: Control,
    pub(crate) admissions: Admissions,
    pub(crate) tasks: TaskTracker,
}

impl Parting {
    /// Tells a former member that is back, over the connection it came with.
    pub(crate) async fn tell(self: Arc<Self>, peer: PeerId, id: ConnectionId, removed: Removed) {
        let Some(message) = write(&self.mesh, &self.own, &self.key, &removed) else {
            return;
        };
        let telling = async {
            let mut opened = self.control.open_on(&peer, id, PROTOCOL).await?;
            notice::send(&mut opened.stream, &message).await
        };
        match timeout(TELL_WAIT, telling).await {
            Ok(Ok(())) => debug!(%peer, "told that it was removed"),
            // It dials again, and is told then.
            Ok(Err(error)) => debug!(%peer, %error, "not told that it was removed"),
            Err(_) => debug!(%peer, "not told in time that it was removed"),
        }
    }

    /// Forgets the connections that are gone.
    pub(crate) fn forget_gone(&self) {
        self.control.links().forget_except(|_| false);
    }

    /// Hears from members that this node is one no longer, none waiting for another, until stopped.
    pub(crate) async fn hear(
        self: Arc<Self>,
        mut incoming: mpsc::Receiver<Incoming>,
        commands: mpsc::Sender<Command>,
        stop: CancellationToken,
    ) {
        let heard = Heard::default();
        while let Some(Some(mut teller)) = stop.run_until_cancelled(incoming.recv()).await {
            // A stranger, or whoever was removed itself, can say what it likes.
            let member = NodeId::of_peer(&teller.peer).filter(|_| self.admissions.is_member(&teller.peer));
            let (Some(member), Some(turn)) = (member, heard.turn(teller.peer)) else {
                continue;
            };
            let (parting, commands, stop) = (Arc::clone(&self), commands.clone(), stop.clone());
            self.tasks.spawn(async move {
                let hearing = parting.heard(&mut teller, &member);
                if let Some(Some(removed)) = stop.run_until_cancelled(hearing).await {
                    // The loop is gone only when this node stops.
                    let _ = commands.send(Command::Told { removed }).await;
                }
                drop(turn);
            });
        }
    }

    /// What a member says of this node, in time.
    async fn heard(&self, teller: &mut Incoming, member: &NodeId) -> Option<Removed> {
        let said = timeout(TELL_WAIT, notice::receive(&mut teller.stream, MESSAGE_BYTES_MAX)).await;
        read(&said.ok()?.ok()?, &self.mesh, member, self.own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MeshKey;

    fn mesh() -> MeshId {
        MeshKey::from_secret(&[1; 32]).id()
    }

    fn node(seed: u8) -> (NodeId, Keypair) {
        let id = NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key());
        (id, Keypair::ed25519_from_bytes([seed; 32]).unwrap())
    }

    fn removed() -> Removed {
        Removed {
            node: node(3).0,
            number: 7,
            removed_s: 1_800_000_000,
        }
    }

    fn said() -> Vec<u8> {
        let (member, key) = node(2);
        write(&mesh(), &member, &key, &removed()).unwrap()
    }

    #[test]
    fn the_first_format_stays_readable() {
        let bytes = include_bytes!("../fixtures/removed-1");
        assert_eq!(said(), bytes);
        assert_eq!(read(&bytes[2..], &mesh(), &node(2).0, node(3).0), Some(removed()));
    }

    #[test]
    fn nobody_else_can_say_it_nor_of_another_nor_in_another_mesh() {
        let (said, other) = (said(), MeshKey::from_secret(&[9; 32]).id());
        assert_eq!(read(&said[2..], &mesh(), &node(4).0, node(3).0), None);
        assert_eq!(read(&said[2..], &mesh(), &node(2).0, node(4).0), None);
        assert_eq!(read(&said[2..], &other, &node(2).0, node(3).0), None);
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unseen(at in 0_usize..200, flip in 1_u8..=255) {
            let mut bytes = said().split_off(2);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            // CBOR has several spellings of a length, so a changed byte outside what is signed may read the same.
            let read = read(&bytes, &mesh(), &node(2).0, node(3).0);
            prop_assert!(read.is_none_or(|read| read == removed()));
        }

        #[test]
        fn any_bytes_are_refused_without_harm(bytes: Vec<u8>) {
            prop_assert_eq!(read(&bytes, &mesh(), &node(2).0, node(3).0), None);
        }
    }
}
