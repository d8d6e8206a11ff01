//! Who votes in a partition, and when enough of them have agreed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::model::MemberId;

/// The voters of a partition with their votes.
///
/// A quorum has more than half of all votes, so any two quorums share a voter. One box: (1). Two homes: (2, 1): the first
/// is a quorum alone, the second never. Three: (1, 1, 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes(BTreeMap<MemberId, u8>);

impl Votes {
    /// Takes who has a vote; `None` when nobody has.
    pub fn new(votes: impl IntoIterator<Item = (MemberId, u8)>) -> Option<Self> {
        let votes: BTreeMap<_, _> = votes.into_iter().filter(|(_, votes)| *votes > 0).collect();
        (!votes.is_empty()).then_some(Self(votes))
    }

    /// One vote for each.
    pub fn equal(members: impl IntoIterator<Item = MemberId>) -> Option<Self> {
        Self::new(members.into_iter().map(|member| (member, 1)))
    }

    /// Everybody who votes, ascending.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.0.keys().copied()
    }

    /// Whether `agreed` have more than half of the votes.
    pub fn is_quorum(&self, agreed: &BTreeSet<MemberId>) -> bool {
        let count = |votes: u32, (_, more): (&MemberId, &u8)| votes + u32::from(*more);
        let all = self.0.iter().fold(0, count);
        let got = self
            .0
            .iter()
            .filter(|(member, _)| agreed.contains(member))
            .fold(0, count);
        got * 2 > all
    }
}

/// The configuration of a partition in one epoch.
///
/// While its members change, a quorum of the old *and* of the new voters is needed (joint consensus; read: Ongaro's Raft
/// dissertation, section 4.3), so that neither can decide behind the other's back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Who votes now.
    pub old: Votes,
    /// Who will vote, while that changes.
    pub new: Option<Votes>,
}

impl Config {
    /// A configuration that is not changing.
    pub fn stable(votes: Votes) -> Self {
        Self {
            old: votes,
            new: None,
        }
    }

    /// One member, which decides alone.
    pub fn sole(member: MemberId) -> Self {
        Self::stable(Votes(BTreeMap::from([(member, 1)])))
    }

    /// Everybody who votes before or after, ascending.
    pub fn members(&self) -> BTreeSet<MemberId> {
        let new = self.new.iter().flat_map(Votes::members);
        self.old.members().chain(new).collect()
    }

    /// Whether `agreed` suffices to decide.
    pub fn is_quorum(&self, agreed: &BTreeSet<MemberId>) -> bool {
        self.old.is_quorum(agreed) && self.new.as_ref().is_none_or(|new| new.is_quorum(agreed))
    }

    /// Whether this member decides alone.
    pub fn is_sole(&self, member: MemberId) -> bool {
        let alone = |votes: &Votes| votes.members().eq([member]);
        alone(&self.old) && self.new.as_ref().is_none_or(alone)
    }
}

/// The configurations of a partition that are known here, of all epochs.
///
/// Old ones are needed as long as rows stand that were written under them: whether such a row is chosen is decided by the
/// quorum of its own epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configs(BTreeMap<Epoch, Arc<Config>>);

impl Configs {
    /// A partition that begins in epoch 0.
    pub fn first(config: Config) -> Self {
        Self(BTreeMap::from([(0, Arc::new(config))]))
    }

    /// Learns of an epoch. What is known of an epoch never changes.
    pub fn learn(&mut self, epoch: Epoch, config: Config) {
        self.0.entry(epoch).or_insert_with(|| Arc::new(config));
    }

    /// The configuration of an epoch, if it is known here.
    pub fn get(&self, epoch: Epoch) -> Option<&Arc<Config>> {
        self.0.get(&epoch)
    }

    /// All that are known here, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = (Epoch, &Arc<Config>)> {
        self.0.iter().map(|(epoch, config)| (*epoch, config))
    }

    /// The newest epoch known here.
    pub fn newest(&self) -> Option<Epoch> {
        self.0.last_key_value().map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn votes() -> impl Strategy<Value = Votes> {
        proptest::collection::btree_map((0..6_u32).prop_map(MemberId), 1..4_u8, 1..6)
            .prop_map(|votes| Votes::new(votes).unwrap())
    }

    fn some() -> impl Strategy<Value = BTreeSet<MemberId>> {
        proptest::collection::btree_set((0..6_u32).prop_map(MemberId), 0..6)
    }

    proptest! {
        #[test]
        fn any_two_quorums_share_a_voter(old in votes(), new in proptest::option::of(votes()), a in some(), b in some()) {
            let config = Config { old, new };
            if config.is_quorum(&a) && config.is_quorum(&b) {
                prop_assert!(a.intersection(&b).next().is_some());
            }
        }

        #[test]
        fn while_members_change_no_quorum_of_either_side_decides_alone(old in votes(), new in votes(), a in some()) {
            let joint = Config { old: old.clone(), new: Some(new.clone()) };
            prop_assert_eq!(joint.is_quorum(&a), old.is_quorum(&a) && new.is_quorum(&a));
        }
    }

    proptest! {
        #[test]
        fn a_sole_member_is_the_only_one_and_a_quorum(old in votes(), new in proptest::option::of(votes())) {
            let config = Config { old, new };
            let members = config.members();
            for member in (0..6).map(MemberId) {
                let decides = config.is_quorum(&[member].into()) && members == [member].into();
                prop_assert_eq!(config.is_sole(member), decides);
            }
        }
    }

    #[test]
    fn the_tie_break_home_decides_alone_and_the_other_never() {
        let votes = Votes::new([(MemberId(1), 2), (MemberId(2), 1)]).unwrap();
        assert!(votes.is_quorum(&BTreeSet::from([MemberId(1)])));
        assert!(!votes.is_quorum(&BTreeSet::from([MemberId(2)])));
        assert!(!Config::stable(votes).is_sole(MemberId(1)));
        assert_eq!(Votes::new([(MemberId(1), 0)]), None);
    }
}
