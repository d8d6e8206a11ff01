//! The root partition, as far as it matters here: it changes who votes, again and again.

use std::collections::BTreeSet;

use storage::model::MemberId;
use storage::register::{
    Configs, DiskMark, Epoch, Event, Fences, Key, Memory, Mutant, Next, Nonce, Transition, Votes, adopt,
    judge,
};

use super::disk::Entry;
use super::member::{Member, Wanted};
use super::plan::votes;
use super::world::World;

/// What is committed, and the change under way.
pub(super) struct Root {
    pub(super) configs: Configs,
    pub(super) newest: Epoch,
    /// Who votes, or will.
    votes: Votes,
    pub(super) transition: Option<Transition>,
    synced: BTreeSet<(MemberId, Key)>,
    begun: u32,
}

impl Root {
    pub(super) fn new(configs: Configs, votes: Votes) -> Self {
        Self {
            configs,
            newest: 0,
            votes,
            transition: None,
            synced: BTreeSet::new(),
            begun: 0,
        }
    }

    /// Members of the newest configuration.
    pub(super) fn members(&self) -> BTreeSet<MemberId> {
        let newest = self.configs.get(self.newest);
        newest.map(|config| config.members()).unwrap_or_default()
    }
}

impl World {
    /// Whether the newest configuration counts on somebody who is gone.
    pub(super) fn misses_somebody(&self) -> bool {
        let gone = |id: MemberId| !self.members[id.0 as usize].is_alive;
        self.root.votes.members().any(gone)
    }

    pub(super) fn root_acts(&mut self) {
        if self.dice.chance(self.plan.commits) {
            self.root_commits();
        }
        let any = self.any_member();
        let outside = !self.root.members().contains(&any);
        let sleeps = outside && self.plan.sleeper == Some(any);
        let comes_in = self
            .member(any)
            .is_some_and(|member| member.epoch() == 0 && any.0 > 0);
        let adopts = match self.plan.newcomers_first && comes_in {
            true => 1.0,
            false => self.plan.adopts,
        };
        if !sleeps && self.dice.chance(adopts) {
            self.adopt(any);
        }
        for _ in 0..3 {
            self.sync_somebody();
        }
    }

    fn root_commits(&mut self) {
        let keys = self.keys();
        let Some(transition) = &mut self.root.transition else {
            let may = self.now >= self.plan.changes_from && self.root.begun < self.plan.changes;
            if may || self.misses_somebody() {
                self.begin_change();
            }
            return;
        };
        let epoch = transition.epoch();
        for member in self.members.iter().filter(|member| member.is_alive) {
            if member.disk.durable.part.promised.epoch >= epoch {
                transition.adopted(member.id);
            }
            if keys
                .iter()
                .all(|key| self.root.synced.contains(&(member.id, key.clone())))
            {
                transition.synced(member.id);
            }
        }
        let next = transition.next();
        if next == Next::Raise {
            let holder = self.likely_holder();
            if self.member(holder).is_some_and(|member| member.epoch() == epoch) {
                self.holder(holder, Event::Raise(Fences::default()));
            }
        }
        if let Next::Commit(epoch, config) = next {
            self.root.votes = config.old.clone();
            self.root.configs.learn(epoch, config);
            self.root.newest = epoch;
            self.root.transition = None;
            self.tally.reconfigurations += 1;
            self.trace(|| format!("root commits epoch {epoch}: {:?}", self.root.votes));
        }
    }

    fn begin_change(&mut self) {
        let alive = self.members.iter().filter(|member| member.is_alive);
        let mut alive: Vec<_> = alive.map(|member| member.id).collect();
        for index in (1..alive.len()).rev() {
            alive.swap(index, self.dice.below(index + 1));
        }
        if let Some(sleeper) = self.plan.sleeper
            && self.members[sleeper.0 as usize].is_alive
        {
            let is_in = self.root.votes.members().any(|member| member == sleeper);
            alive.retain(|member| *member != sleeper);
            if !is_in || alive.is_empty() {
                alive.insert(0, sleeper);
            }
        }
        let new = votes(self.dice.below(6), &alive);
        let old = self.root.votes.clone();
        let (epoch, joint, transition) = Transition::begin(self.root.newest, old, new, self.broken);
        self.trace(|| format!("root commits epoch {epoch}: {joint:?}"));
        self.root.configs.learn(epoch, joint);
        self.root.newest = epoch;
        self.root.transition = Some(transition);
        self.root.synced.clear();
        self.root.begun += 1;
    }

    /// A member learns of all configurations, and adopts the newest in the same turn.
    pub(super) fn adopt(&mut self, me: MemberId) {
        let (known, newest, broken) = (self.root.configs.clone(), self.root.newest, self.broken);
        let Some(member) = self.member(me).filter(|member| member.epoch() < newest) else {
            return;
        };
        let Some(adoption) = adopt(me, &known, &member.disk.newest.part, newest, broken) else {
            return;
        };
        for epoch in 0..=newest {
            if let Some(config) = known.get(epoch) {
                member.holder.learn_config(epoch, config.as_ref().clone());
            }
        }
        member.configs = known;
        if let Some(outside) = adoption.outside {
            self.write(me, Entry::Part(outside));
            self.write(me, Entry::Wipe);
        }
        self.write(me, Entry::Part(adoption.part));
        self.trace(|| format!("{me:?} adopts {adoption:?}"));
        self.holder(me, Event::Adopted(newest));
    }

    /// One new voter reads one of the rows that it has not read yet.
    pub(super) fn sync_somebody(&mut self) {
        let Some(transition) = &self.root.transition else {
            return;
        };
        let (epoch, Next::Sync(missing)) = (transition.epoch(), transition.next()) else {
            return;
        };
        let keys = self.keys();
        let wanted = missing
            .iter()
            .flat_map(|member| keys.iter().map(move |key| (*member, key.clone())));
        let wanted: Vec<_> = wanted
            .filter(|wanted| !self.root.synced.contains(wanted))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let (me, key) = wanted[self.dice.below(wanted.len())].clone();
        // Durably: until then it may still tell rows that it is about to forget.
        let has_adopted = |member: &mut Member| member.disk.durable.part.promised.epoch == epoch;
        if self.member(me).is_some_and(has_adopted) {
            self.read(me, key, Wanted::Sync(epoch));
        }
    }

    /// Notes what a read has brought to a new voter.
    pub(super) fn note_synced(&mut self, me: MemberId, nonce: Nonce) {
        let Some(member) = self.member(me) else { return };
        let Some(reading) = member.readings.get(&nonce) else {
            return;
        };
        let Wanted::Sync(epoch) = reading.wanted else {
            return;
        };
        if reading.has_found && reading.reader.holders().contains(&me) {
            let key = reading.key.clone();
            member.readings.remove(&nonce);
            if self
                .root
                .transition
                .as_ref()
                .is_some_and(|transition| transition.epoch() == epoch)
            {
                self.root.synced.insert((me, key));
            }
        }
    }

    /// Whether the partition would survive the loss of this member.
    pub(super) fn may_lose(&self, me: MemberId) -> bool {
        let mut others = self.root.members();
        let is_voter = others.remove(&me);
        let newest = self.root.configs.get(self.root.newest);
        is_voter && self.root.transition.is_none() && newest.is_some_and(|config| config.is_quorum(&others))
    }

    /// A node comes back with a disk that may have forgotten something; then it is another member.
    pub(super) fn rejoin(&mut self, me: MemberId, remembered: DiskMark) {
        let (broken, nonce) = (self.broken, self.next_nonces());
        let id = MemberId(u32::try_from(self.members.len()).unwrap_or_default());
        let Some(member) = self.member(me) else { return };
        let memory = judge(Some(remembered), member.disk.mark(), Some(member.disk.runs()));
        if memory == Some(Memory::Whole) || broken.is(Mutant::Amnesia) {
            return;
        }
        member.is_alive = false;
        let mut configs = Configs::default();
        if let Some(first) = self.root.configs.get(0) {
            configs.learn(0, first.as_ref().clone());
        }
        self.members.push(Member::new(id, configs, nonce, broken));
        self.tally.amnesias += 1;
        self.trace(|| format!("{me:?}: {memory:?}; it rejoins as {id:?}"));
    }
}
