//! Shows what became of the boxes, and sees how they are for those who remember it.

use std::collections::{BTreeMap, BTreeSet};

use appliance::{BoxPast, DayPast, HourPast, Past};
use futures_util::future::join_all;
use p2p::NodeId;
use storage::model::Timestamp;

use super::Console;
use crate::history::{Counted, Sighting, hour_of};

impl Console {
    /// What is remembered of the members.
    pub(super) fn past_shown(&self) -> Past {
        let nodes: Vec<_> = self.nodes().into_iter().collect();
        let boxes = self.history.look(|record| {
            let of = |(member, node): &(u32, NodeId)| {
                let of = record.of(node)?;
                let hours = of.hours.iter().map(|(hour, one)| HourPast {
                    hour: *hour,
                    sent: one.sent,
                    received: one.received,
                });
                let days = of.days.iter().map(|(day, one)| DayPast {
                    day: *day,
                    here_seconds: one.here_seconds,
                    known_seconds: one.known_seconds,
                    used: one.used,
                });
                let past = BoxPast {
                    hours: hours.collect(),
                    days: days.collect(),
                };
                Some((*member, past))
            };
            nodes.iter().filter_map(of).collect()
        });
        Past {
            hour: hour_of(Timestamp::now()),
            boxes,
        }
    }

    /// What the boxes have in use that tell so now.
    pub(crate) async fn used(&self) -> BTreeMap<NodeId, u64> {
        let me = self.store.me().0;
        let others = self.nodes().into_iter().filter(|(member, _)| *member != me);
        let told = others.map(|(_, node)| async move {
            self.mesh.peer(node).link?;
            Some((node, self.mesh.told_by(node).await?.used_bytes))
        });
        let told = join_all(told).await.into_iter().flatten();
        told.chain([(self.node, self.store.disk_status().used)]).collect()
    }

    /// How the boxes are now, and what was exchanged with them since the last time. `has_searched` says whether this box has
    /// had time to find the others.
    pub(crate) fn sightings(
        &self,
        counted: &mut Counted,
        used: &BTreeMap<NodeId, u64>,
        has_searched: bool,
    ) -> Vec<Sighting> {
        let others: BTreeSet<NodeId> = self
            .nodes()
            .into_values()
            .filter(|node| *node != self.node)
            .collect();
        counted.keep_only(&others);
        let statuses: Vec<_> = others.iter().map(|node| self.mesh.peer(*node)).collect();
        let is_any_here = statuses.iter().any(|status| status.link.is_some());
        let is_known = is_absence_known(has_searched, is_any_here, self.other_homes());
        let (mut sent_in_all, mut received_in_all) = (0_u64, 0_u64);
        let mut sightings = Vec::with_capacity(others.len() + 1);
        for status in statuses {
            let (sent, received) = counted.since(status.node, status.sent_bytes, status.received_bytes);
            sent_in_all = sent_in_all.saturating_add(sent);
            received_in_all = received_in_all.saturating_add(received);
            let is_here = status.link.is_some();
            sightings.push(Sighting {
                node: status.node,
                is_here: (is_here || is_known).then_some(is_here),
                sent,
                received,
                used: used.get(&status.node).copied(),
            });
        }
        sightings.push(Sighting {
            node: self.node,
            is_here: Some(true),
            sent: sent_in_all,
            received: received_in_all,
            used: used.get(&self.node).copied(),
        });
        sightings
    }

    /// Who takes part; none while this box has not heard of the rows that say so, or is no member any more.
    pub(crate) fn members_known(&self) -> Option<BTreeSet<NodeId>> {
        (!self.has_left() && !self.store.members().is_empty()).then(|| self.nodes().into_values().collect())
    }

    /// The members and who they are.
    fn nodes(&self) -> BTreeMap<u32, NodeId> {
        let me = self.store.me();
        let members = self.store.members();
        let others = members
            .iter()
            .map(|(member, _)| *member)
            .filter(|member| *member != me);
        let others = others.filter_map(|member| Some((member.0, self.mesh.node_of(member)?)));
        others.chain([(me.0, self.node)]).collect()
    }

    /// How many homes there are beside this one.
    fn other_homes(&self) -> usize {
        let (me, members) = (self.store.me(), self.store.members());
        let own = members.iter().find(|(member, _)| *member == me);
        let own = own.map(|(_, row)| row.zone.clone());
        let zones: BTreeSet<_> = members.iter().map(|(_, row)| &row.zone).collect();
        zones
            .into_iter()
            .filter(|zone| Some(*zone) != own.as_ref())
            .count()
    }
}

/// Whether who is not here is known to be away: not before this box has had time to find the others, and not while several
/// homes are all out of reach, when it is rather this one that is cut off.
fn is_absence_known(has_searched: bool, is_any_here: bool, other_homes: usize) -> bool {
    has_searched && (is_any_here || other_homes < 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_taken_for_away_by_a_box_that_searches_or_is_cut_off() {
        assert!(!is_absence_known(false, true, 2));
        assert!(!is_absence_known(true, false, 2));
        assert!(is_absence_known(true, true, 2));
        // With one other home nobody can tell which of the two is cut off; that they do not meet is what counts.
        assert!(is_absence_known(true, false, 1));
    }
}
