//! Has things go wrong as a plan says, and makes them good again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::street::USUAL;
use super::super::town::{Standing, Town};
use super::super::wire::Quality;
use super::plan::{Fault, Step};

/// The rate of a slow link, in megabits per second: without one nothing bounds what is under way.
const SLOW_MBIT: f64 = 10.0;
/// How many of 100 frames a slow link loses.
const SLOW_LOSS: f64 = 0.5;
/// How long a box may take to hand over before it is left for later.
const LEAVES_WITHIN: Duration = Duration::from_secs(30);
/// How soon after everything is good again members are members, and the others gone.
const CHANGED_WITHIN: Duration = Duration::from_secs(180);

/// What went wrong so far.
pub(super) struct Nemesis<'a> {
    pub(super) town: &'a mut Town,
    /// How few members a mesh is left with.
    members_min: usize,
    /// How often each kind of thing went wrong.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Kinds that cannot be had on this machine.
    pub(super) skipped: BTreeSet<&'static str>,
    /// Boxes that ended by themselves.
    pub(super) ended: u64,
    began: Instant,
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(town: &'a mut Town, members_min: usize) -> Self {
        Self {
            town,
            members_min,
            counts: BTreeMap::new(),
            skipped: BTreeSet::new(),
            ended: 0,
            began: Instant::now(),
        }
    }

    /// Takes steps until the time is over.
    ///
    /// # Errors
    /// The lab refuses.
    pub(super) fn follow(&mut self, steps: &[Step], length: Duration) -> Result<()> {
        for step in steps {
            let left = length.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(step.rest.min(left));
            for fault in &step.faults {
                self.say(&format!("{fault}"));
                match self.begin(*fault)? {
                    true => *self.counts.entry(fault.kind()).or_default() += 1,
                    false => self.say(&format!("no {}", fault.kind())),
                }
            }
            let left = length.saturating_sub(self.began.elapsed());
            std::thread::sleep(step.lasts.min(left));
            self.undo()?;
        }
        Ok(())
    }

    /// Makes everything good again, and has those that were joining or leaving come to an end of it.
    ///
    /// # Errors
    /// The lab refuses, or somebody neither joins nor leaves.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.undo()?;
        let began = Instant::now();
        for number in 0..self.town.seats.len() {
            while matches!(self.town.seats[number].standing, Standing::Joining(_)) {
                let through = self.town.member(0)?;
                let is_in = self.town.go_on_joining(number, through)?;
                anyhow::ensure!(
                    is_in || began.elapsed() < CHANGED_WITHIN,
                    "box {number} is not let in with an invite that it was given"
                );
            }
            if self.town.seats[number].standing == Standing::Leaving {
                let left = self.town.leave(number, CHANGED_WITHIN)?;
                anyhow::ensure!(left, "box {number} hands over for ever");
            }
        }
        Ok(())
    }

    /// Whether it went wrong: there may be nobody to join or to leave, or no way to do it here.
    fn begin(&mut self, fault: Fault) -> Result<bool> {
        match fault {
            Fault::Split { side } => self.split(side)?,
            Fault::OneWay { from, to } => {
                let (from, to) = (self.town.member(from)?, self.town.member(to)?);
                // With fewer members than planned both may be the same.
                if from != to {
                    self.town.street.wall(from, to)?;
                }
            }
            Fault::Faint { who } => {
                let who = self.town.member(who)?;
                for other in self.town.members() {
                    self.town.street.lose(who, other)?;
                }
            }
            Fault::SlowLink { who, delay_ms } => {
                let quality = Quality {
                    delay: Duration::from_millis(delay_ms),
                    loss_percent: SLOW_LOSS,
                    rate_mbit: SLOW_MBIT,
                };
                self.town.street.set_link(self.town.member(who)?, quality);
            }
            Fault::Kill { who } => {
                let who = self.town.member(who)?;
                self.town.seats[who].home.kill();
            }
            Fault::KillAll => self.town.seats.iter_mut().for_each(|seat| seat.home.kill()),
            Fault::Freeze { who } => {
                let who = self.town.member(who)?;
                let home = &mut self.town.seats[who].home;
                if home.is_running()? {
                    home.freeze(true)?;
                }
            }
            Fault::FullDisk { who } => self.town.seats[self.town.member(who)?].disk.fill()?,
            Fault::Clock { .. } | Fault::SlowDisk { .. } => return self.tamper(fault),
            Fault::Join { through } => {
                let through = self.town.member(through)?;
                return Ok(self.town.join(through)?.is_some());
            }
            Fault::Leave { who } => {
                let who = self.town.member(who)?;
                let is_possible = self.town.members().len() > self.members_min;
                return Ok(is_possible && self.town.leave(who, LEAVES_WITHIN)?);
            }
        }
        Ok(true)
    }

    fn split(&mut self, side: u64) -> Result<()> {
        let members = self.town.members();
        let is_on_side = |place: usize| side >> place & 1 == 1;
        for (place, one) in members.iter().enumerate() {
            for (other_place, other) in members.iter().enumerate() {
                if is_on_side(place) != is_on_side(other_place) {
                    self.town.street.wall(*one, *other)?;
                }
            }
        }
        Ok(())
    }

    fn tamper(&mut self, fault: Fault) -> Result<bool> {
        let (Fault::Clock { who, .. } | Fault::SlowDisk { who, .. }) = fault else {
            return Ok(false);
        };
        let who = self.town.member(who)?;
        let Some(tampered) = &self.town.seats[who].tampered else {
            self.skipped.insert(fault.kind());
            return Ok(false);
        };
        match fault {
            Fault::Clock { ahead_s, .. } => tampered.set_clock(ahead_s * 1000)?,
            Fault::SlowDisk { sync_ms, .. } => tampered.slow_disk(Duration::from_millis(sync_ms))?,
            _ => {}
        }
        Ok(true)
    }

    /// Undoes whatever can be undone.
    fn undo(&mut self) -> Result<()> {
        self.town.street.open()?;
        for number in 0..self.town.seats.len() {
            self.town.street.set_link(number, USUAL);
            let seat = &mut self.town.seats[number];
            seat.disk.free()?;
            if let Some(tampered) = &seat.tampered {
                tampered.set_clock(0)?;
                tampered.slow_disk(Duration::ZERO)?;
            }
            if seat.home.is_running()? {
                seat.home.freeze(false)?;
            }
        }
        for (number, by_itself) in self.town.start_all()? {
            self.ended += u64::from(by_itself);
            let why = if by_itself { ", which ended by itself" } else { "" };
            self.say(&format!("start of box {number}{why}"));
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("  {:>7.2} s  {what}", self.began.elapsed().as_secs_f64());
    }
}
