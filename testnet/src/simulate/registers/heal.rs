//! When the faults stop: everything asked is answered, everybody has the same, and tombstones go.

use storage::model::MemberId;
use storage::register::{Event, Row, Rows};

use super::history::Heard;
use super::lane::{Command, Outcome};
use super::member::Wanted;
use super::world::World;

/// Rounds in which something has to succeed. In one round all mail arrives, all is synced, and who waits asks again.
const ROUNDS_MAX: usize = 12;
/// Steps in which one round has to come to rest.
const STEPS_MAX: usize = 20_000;

/// What does not recover although nothing is broken any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Mail never ceases.
    Restless,
    /// Voters never finish changing.
    Change,
    /// An operation is never answered.
    Operation(String),
    /// Members never have the same rows.
    Differing(String),
    /// Tombstones stay.
    Tombstones(String),
    /// A member waits for something for ever.
    Waiting(MemberId),
}

impl World {
    /// Ends all faults, and sees whether everything recovers.
    pub(super) fn heal(&mut self) -> Result<(), Stuck> {
        self.trace(|| "all faults end".into());
        self.network.heal();
        self.plan.crashes = 0.0;
        self.plan.retries = 1.0;
        self.plan.changes = 0;
        self.plan.commits = 1.0;
        self.plan.outdated = 0.0;
        self.give_up();
        self.finish_change()?;
        for index in 0..self.members.len() {
            self.adopt(self.members[index].id);
        }
        // Attempts that nobody waits for any more come to their end.
        self.rest()?;
        // From now on nobody else is taken for the holder.
        self.plan.loyalty = 1.0;
        for lane in 0..self.lanes.len() {
            for command in [Command::Inspect, Command::Put(0), Command::Get, Command::Inspect] {
                self.values += 1;
                let command = match command {
                    Command::Put(_) => Command::Put(self.values),
                    other => other,
                };
                self.complete(lane, command)?;
            }
        }
        self.converge()?;
        for lane in 0..self.lanes.len() {
            self.complete(lane, Command::Delete)?;
            self.complete(lane, Command::Forget)?;
        }
        self.bury()?;
        self.rest()
    }

    /// Until nothing is under way.
    fn round(&mut self) -> Result<(), Stuck> {
        let mut steps = 0;
        loop {
            while self.deliver() {
                self.now += 1;
                steps += 1;
                if steps > STEPS_MAX {
                    return Err(Stuck::Restless);
                }
            }
            for index in 0..self.members.len() {
                let id = self.members[index].id;
                while self.members[index].is_alive
                    && !(self.members[index].to_self.is_empty() && self.members[index].loads.is_empty())
                {
                    self.work(id);
                }
                self.sync(id);
            }
            let at_rest = |world: &Self| {
                world.network.is_empty()
                    && world
                        .members
                        .iter()
                        .filter(|member| member.is_alive)
                        .all(|member| {
                            member.to_self.is_empty() && member.loads.is_empty() && member.disk.is_synced()
                        })
            };
            if at_rest(self) {
                return Ok(());
            }
        }
    }

    /// Everybody asks again what is overdue.
    fn press(&mut self) {
        for index in 0..self.members.len() {
            let id = self.members[index].id;
            self.holder(id, Event::Resend);
            for _ in 0..self.members[index].readings.len() {
                self.hurry(id);
            }
        }
    }

    fn finish_change(&mut self) -> Result<(), Stuck> {
        // Every new voter reads every row, one after another.
        for _ in 0..ROUNDS_MAX * 20 {
            if self.root.transition.is_none() && !self.misses_somebody() {
                return Ok(());
            }
            self.root_acts();
            for index in 0..self.members.len() {
                self.adopt(self.members[index].id);
            }
            for _ in 0..4 {
                self.sync_somebody();
            }
            self.round()?;
            self.press();
            self.round()?;
        }
        Err(Stuck::Change)
    }

    /// Asks one thing until it is answered.
    fn complete(&mut self, lane: usize, command: Command) -> Result<(), Stuck> {
        let asked = self.history.asked.len();
        self.begin(0, lane, command, command == Command::Get);
        for _ in 0..ROUNDS_MAX {
            self.round()?;
            match self.history.asked[asked].heard {
                // Other attempts of operations that nobody waits for any more are over soon.
                Heard::Answer(_, Outcome::Refused) | Heard::Nothing => {}
                Heard::Answer(..) => return Ok(()),
                Heard::Failed => break,
            }
            self.press();
        }
        Err(Stuck::Operation(format!("{command:?} of lane {lane}")))
    }

    fn rows(&self, key: &storage::register::Key) -> Vec<(MemberId, Row)> {
        let members = self.root.members().into_iter();
        let row = |id: MemberId| (id, self.members[id.0 as usize].disk.durable.row(key));
        members.map(row).collect()
    }

    /// Teaches every row until every member has it.
    fn converge(&mut self) -> Result<(), Stuck> {
        let mut differing = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.teach_all()?;
            let keys = self.keys().into_iter();
            let rows = keys.map(|key| self.rows(&key));
            differing = rows
                .filter(|rows| rows.iter().any(|(_, row)| *row != rows[0].1))
                .collect();
            if differing.is_empty() {
                return Ok(());
            }
        }
        Err(Stuck::Differing(format!("{differing:?}")))
    }

    fn teach_all(&mut self) -> Result<(), Stuck> {
        for key in self.keys() {
            let at = self.likely_holder();
            self.read(at, key, Wanted::Teach);
        }
        self.round()?;
        self.press();
        self.round()
    }

    /// Forgets tombstones until none is left.
    fn bury(&mut self) -> Result<(), Stuck> {
        let mut left = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.teach_all()?;
            let holder = self.likely_holder();
            // One that was deposed on the way takes over again with the next operation.
            for lane in 0..self.lanes.len() {
                self.complete(lane, Command::Inspect)?;
            }
            self.collect(holder, 1.0);
            self.round()?;
            self.press();
            self.round()?;
            let keys = self.keys().into_iter();
            let rows = keys.flat_map(|key| self.rows(&key));
            left = rows.filter(|(_, row)| !row.stamp.is_zero()).collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(Stuck::Tombstones(format!("{left:?}")))
    }

    /// Nobody waits for anything.
    fn rest(&mut self) -> Result<(), Stuck> {
        for _ in 0..ROUNDS_MAX {
            let mut members = self.members.iter().filter(|member| member.is_alive);
            if members.all(|member| member.holder.is_idle()) {
                return Ok(());
            }
            self.press();
            self.round()?;
        }
        let waiting = self
            .members
            .iter()
            .find(|member| member.is_alive && !member.holder.is_idle());
        waiting.map_or(Ok(()), |member| Err(Stuck::Waiting(member.id)))
    }
}
