//! Goes on without members that are lost for good, where those that are left are no quorum without them.
//!
//! No protocol can tell a member that is lost from one that goes on elsewhere: a person says so, and answers for it. A write
//! is sent to all voters, and acknowledged by a quorum. So what was acknowledged is on those who are left as well, but for
//! the last moments in which they were connected, and for what was written while only the lost were: that is lost.
//!
//! The root partition goes first, by an epoch that nobody voted for: whoever votes in it and is left. Then its rows can be
//! changed again, and all else follows from them, as any change of voters does. So this may be cut off anywhere, and done
//! once more. The epochs skip some numbers, all with the same voters: the lost may have been a few ahead. One that comes
//! back all the same finds a newer epoch in which it has no vote, and forgets its rows.

use std::collections::BTreeSet;

use tracing::warn;

use super::feed::refresh;
use super::members::Parting;
use super::reshape;
use crate::cluster::ROOT_PARTITION;
use crate::model::MemberId;
use crate::register::{Config, Configs, Epoch, Votes};
use crate::{Store, StoreError};

/// How many epochs are taken at a time.
const EPOCHS: Epoch = 4;
/// How often a root row is written anew that somebody else changed meanwhile.
const TRIES_MAX: usize = 16;

/// What going on without some members means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// Partitions, of 257, in which those who are left are no quorum.
    pub partitions: usize,
    /// Those of them in which none of them votes: every row in them is lost.
    pub emptied: usize,
}

impl Store {
    /// What [`Self::force_epoch`] would do.
    ///
    /// # Errors
    /// `NoSuchMember`: one of them is none, or this one. `StillHere`: one of them is connected. `AlsoAway`: somebody is away
    /// who is not among them. `NoVoteHere`: this member does not vote in the root partition. `Forgotten`.
    pub fn force_preview(&self, lost: &BTreeSet<MemberId>) -> Result<Forced, StoreError> {
        self.may_force(lost)?;
        let stuck = (0..=ROOT_PARTITION).filter(|partition| self.is_stuck(*partition, lost));
        let mut forced = Forced::default();
        for partition in stuck {
            forced.partitions += 1;
            forced.emptied += usize::from(self.left_in(partition, lost).is_empty());
        }
        Ok(forced)
    }

    /// Goes on without members that are lost for good, and removes them. They must never run again as the members they were.
    ///
    /// # Errors
    /// As [`Self::force_preview`]. `Unavailable`: those who are left do not answer in time. `Conflict`: others changed the
    /// same. The disk fails. It may be begun anew after any.
    pub async fn force_epoch(&self, lost: &BTreeSet<MemberId>) -> Result<Forced, StoreError> {
        self.may_force(lost)?;
        let registers = self.0.partitions.registers();
        // Nobody is left whose answer could be waited for.
        registers.memories().settle();
        let others = self.0.others();
        registers.hear_epochs(&self.0.peers.nearest(&others)).await?;
        let forced = self.force_preview(lost)?;
        warn!(
            ?lost,
            ?forced,
            "going on without lost members, by the word of a person"
        );
        if self.is_stuck(ROOT_PARTITION, lost) {
            let root = self.without(ROOT_PARTITION, lost);
            registers.adopt(ROOT_PARTITION, &root).await?;
            registers.wake(&others);
        }
        refresh(&self.0).await?;
        for partition in 0..=ROOT_PARTITION {
            self.force(partition, lost).await?;
        }
        refresh(&self.0).await?;
        self.0.tell_of_change();
        for member in lost {
            match self.remove_member(*member, Parting::WithWhatItHolds).await {
                Ok(()) | Err(StoreError::NoSuchMember) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(forced)
    }

    fn may_force(&self, lost: &BTreeSet<MemberId>) -> Result<(), StoreError> {
        if let Some(why) = self.forgotten() {
            return Err(StoreError::Forgotten(why));
        }
        let everybody = self.0.mesh.view().everybody();
        let is_one = |member: &MemberId| *member != self.me() && everybody.contains(member);
        if lost.is_empty() || !lost.iter().all(is_one) {
            return Err(StoreError::NoSuchMember);
        }
        let others = self.0.others();
        let here: BTreeSet<MemberId> = self.0.peers.nearest(&others).into_iter().collect();
        if let Some(member) = lost.intersection(&here).next() {
            return Err(StoreError::StillHere { member: *member });
        }
        let is_away = |member: &&MemberId| !here.contains(member) && !lost.contains(member);
        if let Some(member) = everybody
            .iter()
            .filter(|member| **member != self.me())
            .find(is_away)
        {
            return Err(StoreError::AlsoAway { member: *member });
        }
        match self.0.voters(ROOT_PARTITION).contains(&self.me()) {
            true => Ok(()),
            false => Err(StoreError::NoVoteHere),
        }
    }

    /// Whether a partition has no quorum without the lost.
    fn is_stuck(&self, partition: u16, lost: &BTreeSet<MemberId>) -> bool {
        let configs = self.0.partitions.registers().configs(partition);
        let newest = configs.newest().and_then(|epoch| configs.get(epoch));
        newest.is_some_and(|config| {
            let left = config.members().difference(lost).copied().collect();
            !config.is_quorum(&left)
        })
    }

    /// Who votes in a partition and is not lost.
    fn left_in(&self, partition: u16, lost: &BTreeSet<MemberId>) -> BTreeSet<MemberId> {
        self.0.voters(partition).difference(lost).copied().collect()
    }

    /// The configurations of a partition, and behind them those in which only the others vote.
    fn without(&self, partition: u16, lost: &BTreeSet<MemberId>) -> Configs {
        let mut configs = self.0.partitions.registers().configs(partition);
        let left = Votes::equal(self.left_in(partition, lost));
        let config = left.map_or_else(|| Config::sole(self.me()), Config::stable);
        let newest = configs.newest().unwrap_or_default();
        for epoch in newest.saturating_add(1)..=newest.saturating_add(EPOCHS) {
            configs.learn(epoch, config.clone());
        }
        configs
    }

    /// Has the row of a partition say what is to follow, or in that of the root partition what was adopted already.
    async fn force(&self, partition: u16, lost: &BTreeSet<MemberId>) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            let view = self.0.mesh.view();
            let known = reshape::configs(&self.0, &view, partition);
            let mine = self.0.partitions.registers().configs(partition);
            let wanted = match self.is_stuck(partition, lost) {
                true => self.without(partition, lost),
                false if mine.newest() > known.value.newest() => mine,
                false => return Ok(()),
            };
            if reshape::commit(&self.0, partition, &wanted, known.version).await? {
                return Ok(());
            }
            refresh(&self.0).await?;
        }
        Err(StoreError::Conflict)
    }
}
