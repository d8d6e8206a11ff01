//! The way to other members: calls them by the numbers that root rows give them, once the node is there to carry the calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use p2p::{CallError, Claims, NodeId};
use storage::model::{MemberId, MemberRow};
use storage::{Class, PeerError, Peers};
use tokio::sync::watch;

/// How long an answer about rows may take. Well below the 25 s for which a store tries: of a holder that hangs, another
/// has to take over in time.
const METADATA_WAIT: Duration = Duration::from_secs(8);
/// How long a block may take: the largest, over an uplink of 1 Mbit/s.
const BLOCK_WAIT: Duration = Duration::from_secs(90);

/// Which node is which member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    nodes: BTreeMap<MemberId, NodeId>,
    members: HashMap<NodeId, MemberId>,
}

impl Roster {
    /// By the rows of members. A node that joined anew is whoever it is by its last number, and nobody by an older one: it
    /// does not remember what it promised then.
    pub(super) fn of(rows: &[(MemberId, MemberRow)]) -> Self {
        let node = |row: &MemberRow| NodeId::from_bytes(row.node.as_ref().try_into().ok()?).ok();
        let mut rows: Vec<_> = rows
            .iter()
            .filter_map(|(member, row)| Some((*member, node(row)?)))
            .collect();
        rows.sort();
        let members: HashMap<NodeId, MemberId> =
            rows.into_iter().map(|(member, node)| (node, member)).collect();
        Self {
            nodes: members.iter().map(|(node, member)| (*member, *node)).collect(),
            members,
        }
    }

    /// Everybody of both; of two numbers of a node the later one counts.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut members = self.members.clone();
        for (node, member) in &other.members {
            let known = members.entry(*node).or_insert(*member);
            *known = (*known).max(*member);
        }
        Self {
            nodes: members.iter().map(|(node, member)| (*member, *node)).collect(),
            members,
        }
    }

    /// The same with those who proved to be members and are in no row yet. What rows say counts for more: a number or a node
    /// that they name is taken.
    pub(super) fn with(&self, introduced: &[Claims]) -> Self {
        let mut both = self.clone();
        for claims in introduced {
            let member = u32::try_from(claims.serial).map(MemberId);
            let Ok(member) = member else { continue };
            let is_taken = both.nodes.contains_key(&member) || both.members.contains_key(&claims.node);
            if !is_taken {
                both.nodes.insert(member, claims.node);
                both.members.insert(claims.node, member);
            }
        }
        both
    }

    /// The numbers that are not in another roster.
    pub(super) fn beyond(&self, other: &Self) -> BTreeSet<MemberId> {
        let members = self.nodes.keys().copied();
        members
            .filter(|member| !other.nodes.contains_key(member))
            .collect()
    }

    pub(super) fn node(&self, member: MemberId) -> Option<NodeId> {
        self.nodes.get(&member).copied()
    }

    pub(super) fn member(&self, node: &NodeId) -> Option<MemberId> {
        self.members.get(node).copied()
    }

    /// Everybody but one.
    pub(super) fn others(&self, me: MemberId) -> Vec<MemberId> {
        let members = self.nodes.keys().copied();
        members.filter(|member| *member != me).collect()
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.values().copied().collect()
    }
}

/// The way to the others: there from the beginning, usable once a node is bound to it.
#[derive(Default)]
pub(crate) struct Wire {
    roster: RwLock<Arc<Roster>>,
    node: watch::Sender<Option<p2p::Node>>,
}

impl Wire {
    pub(super) fn roster(&self) -> Arc<Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_roster(&self, roster: Roster) {
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(roster);
    }

    /// From now on calls are carried by this node.
    pub(super) fn bind(&self, node: p2p::Node) {
        self.node.send_replace(Some(node));
    }

    /// From now on nobody is there. Whoever holds the other end of the circle that a node and a store are is let go of.
    pub(super) fn unbind(&self) {
        self.node.send_replace(None);
    }

    /// What carries the calls; none before it is bound.
    pub(super) fn node(&self) -> Option<p2p::Node> {
        self.node.borrow().clone()
    }
}

impl Peers for Wire {
    fn call(
        &self,
        to: MemberId,
        class: Class,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let line = self.node().zip(self.roster().node(to));
        Box::pin(async move {
            let (node, peer) = line.ok_or(PeerError::NotConnected(to))?;
            let (class, wait) = match class {
                Class::Metadata => (p2p::Class::Metadata, METADATA_WAIT),
                Class::Block => (p2p::Class::Block, BLOCK_WAIT),
            };
            let answer = node.call(peer, class, request, wait).await;
            answer.map_err(|error| match error {
                CallError::NotConnected => PeerError::NotConnected(to),
                CallError::NoAnswer => PeerError::NoAnswer(to),
                other => PeerError::Refused(to, other.to_string()),
            })
        })
    }

    fn until_bound(&self) -> BoxFuture<'static, ()> {
        let mut node = self.node.subscribe();
        Box::pin(async move {
            // Whoever holds the other end is gone then, and nobody is asked.
            let _ = node.wait_for(Option::is_some).await;
        })
    }

    fn nearest(&self, of: &[MemberId]) -> Vec<MemberId> {
        let (Some(node), roster) = (self.node(), self.roster()) else {
            return Vec::new();
        };
        let nodes: Vec<NodeId> = of.iter().filter_map(|member| roster.node(*member)).collect();
        let nearest = node.nearest(&nodes);
        nearest.iter().filter_map(|node| roster.member(node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn node(folder: &tempfile::TempDir, name: &str) -> NodeId {
        let identity = p2p::Identity::load_or_create(&folder.path().join(name));
        identity.unwrap().node_id()
    }

    #[test]
    fn a_node_that_joined_anew_is_nobody_by_its_old_number() {
        let folder = tempfile::tempdir().unwrap();
        let (anna, ben) = (node(&folder, "anna"), node(&folder, "ben"));
        let roster = Roster::of(&[
            sample(1, "box", anna.as_bytes()),
            sample(2, "box", ben.as_bytes()),
            sample(3, "box", ben.as_bytes()),
            sample(4, "box", b"no key"),
        ]);
        assert_eq!(roster.member(&ben), Some(MemberId(3)));
        assert_eq!((roster.node(MemberId(2)), roster.node(MemberId(4))), (None, None));
        assert_eq!(roster.nodes(), [anna, ben]);
    }

    #[test]
    fn who_is_introduced_takes_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        let [anna, ben, cleo] = ["anna", "ben", "cleo"].map(|name| node(&folder, name));
        let known = Roster::of(&[
            sample(1, "box", anna.as_bytes()),
            sample(2, "box", ben.as_bytes()),
        ]);
        let claims = |node, serial| Claims {
            node,
            role: p2p::Role::Trusted,
            zone: "here".into(),
            name: "box".into(),
            serial,
            issued_s: 0,
        };
        let both = known.with(&[
            claims(cleo, 2),
            claims(ben, 4),
            claims(cleo, 1 << 40),
            claims(cleo, 3),
            claims(cleo, 5),
        ]);
        assert_eq!(
            (both.member(&ben), both.member(&cleo)),
            (Some(MemberId(2)), Some(MemberId(3)))
        );
        assert_eq!(both.node(MemberId(2)), Some(ben));
        assert_eq!(both.beyond(&known), BTreeSet::from([MemberId(3)]));
        assert_eq!(known.with(&[]), known);
    }

    #[tokio::test]
    async fn nobody_is_there_before_a_node_is_bound() {
        let wire = Wire::default();
        let called = wire.call(MemberId(1), Class::Metadata, Bytes::new()).await;
        assert_eq!(called, Err(PeerError::NotConnected(MemberId(1))));
        assert!(wire.nearest(&[MemberId(1)]).is_empty());
    }
}
