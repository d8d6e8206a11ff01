//! The joiner's way in: knocks wherever the invite says and at whoever is on the LAN, until somebody of the mesh answers.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

use crate::event_loop::{Command, looked_up};
use crate::join::{self, Applicant, Failure};
use crate::locked::locked;
use crate::{Address, Class, Invite, Node, NodeId, Welcome};

/// How long one door may take to open.
const KNOCK_WAIT: Duration = Duration::from_secs(15);
/// How long members on the LAN get to announce themselves when the invite's addresses do not answer.
const LAN_WAIT: Duration = Duration::from_secs(3);

/// Why a node did not join, each saying what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The invite is for another mesh than this node was started for.
    #[error("the invite is for another mesh than this box belongs to")]
    OtherMesh,
    /// Nobody of the mesh answered.
    #[error(
        "nobody of the mesh let this box in{}; if the invite was used, revoked or has expired, ask for a new one; if not, is the inviting box on? Else join from the same network, or invite from a box that the internet can reach: a server, or a home whose router forwards its port (see `warren net check`). Where the internet reaches this box instead, say where: `warren join … --mesh-public HOST:PORT`, and the inviting box can call it",
        tried(.addresses)
    )]
    NobodyAnswered {
        /// Where it knocked.
        addresses: Vec<Address>,
    },
    /// No member called this box.
    #[error(
        "no member called this box; on the box that invited, type `warren invite call HOST:PORT` with the address at which the internet reaches this one, and let its port through the firewall"
    )]
    NobodyCalled,
    /// A member of the mesh refused.
    #[error("the invite was refused: it was used, revoked, or has expired; ask for a new one")]
    Refused,
    /// Whoever answered is not of the mesh.
    #[error("who answered is not of this mesh; do not trust the network you are in, and try from another")]
    Impostor,
}

fn tried(addresses: &[Address]) -> String {
    let list: Vec<_> = addresses.iter().map(Address::to_string).collect();
    if list.is_empty() {
        String::new()
    } else {
        format!(" at {}", list.join(", "))
    }
}

impl Node {
    /// Joins the mesh that an invite is for. Afterwards the owner names the members with [`Node::set_members`].
    ///
    /// # Errors
    /// Nobody answers, or the invite is refused.
    ///
    /// # Cancellation
    /// The invite may have been redeemed for this node; asking again gets the same welcome.
    pub async fn join(&self, invite: &Invite, applicant: &Applicant) -> Result<Welcome, JoinError> {
        if invite.mesh() != self.mesh() {
            return Err(JoinError::OtherMesh);
        }
        let _visit = self.inner.admissions.visit();
        let mut doors: HashSet<Multiaddr> = HashSet::new();
        for address in invite.addresses() {
            let numbers = looked_up(address).await;
            doors.extend(numbers.iter().flat_map(Address::dialled));
        }
        let mut asked = HashSet::new();
        let known = self.knock(&doors, invite, applicant, &mut asked).await;
        if !matches!(known, Err(JoinError::NobodyAnswered { .. })) {
            return known;
        }
        tokio::time::sleep(LAN_WAIT).await;
        let nearby = locked(&self.inner.told).nearby.clone();
        let nearby = nearby.difference(&doors).cloned().collect();
        match self.knock(&nearby, invite, applicant, &mut asked).await {
            Err(JoinError::NobodyAnswered { .. }) => known,
            other => other,
        }
    }

    /// Knocks at all doors at once, and asks who opens one after another.
    async fn knock(
        &self,
        doors: &HashSet<Multiaddr>,
        invite: &Invite,
        applicant: &Applicant,
        asked: &mut HashSet<PeerId>,
    ) -> Result<Welcome, JoinError> {
        let mut opening: FuturesUnordered<_> = doors.iter().map(|door| self.visit(door.clone())).collect();
        let mut worst = JoinError::NobodyAnswered {
            addresses: invite.addresses().to_vec(),
        };
        while let Some(opened) = opening.next().await {
            let Some(peer) = opened.filter(|peer| asked.insert(*peer)) else {
                continue;
            };
            match self.plead(peer, invite, applicant).await {
                Ok(welcome) => return Ok(welcome),
                Err(Failure::Refused) => worst = JoinError::Refused,
                Err(Failure::Impostor) if worst != JoinError::Refused => worst = JoinError::Impostor,
                Err(error) => debug!(%peer, %error, "asked in vain"),
            }
        }
        Err(worst)
    }

    /// Connects to whoever listens there.
    pub(crate) async fn visit(&self, address: Multiaddr) -> Option<PeerId> {
        let (connected, who) = oneshot::channel();
        let visit = Command::Visit { address, connected };
        self.inner.commands.send(visit).await.ok()?;
        timeout(KNOCK_WAIT, who).await.ok()?.ok()
    }

    async fn plead(&self, peer: PeerId, invite: &Invite, applicant: &Applicant) -> Result<Welcome, Failure> {
        let responder = NodeId::of_peer(&peer).ok_or(Failure::Impostor)?;
        let guests = &self.inner.guests;
        let mut opened = guests.open(&peer, join::PROTOCOL, Class::Metadata, true).await?;
        join::ask(&mut opened.stream, invite, self.id(), responder, applicant).await
    }
}
