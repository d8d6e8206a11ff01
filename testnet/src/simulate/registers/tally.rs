//! What happened in many schedules.

use std::fmt;
use std::ops::AddAssign;

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) schedules: u64,
    pub(super) operations: u64,
    pub(super) takeovers: u64,
    /// How often a holder was told all that somebody has.
    pub(super) tellings: u64,
    pub(super) fast_reads: u64,
    pub(super) relays: u64,
    pub(super) learns: u64,
    pub(super) collections: u64,
    pub(super) drops: u64,
    pub(super) raises: u64,
    pub(super) crashes: u64,
    pub(super) amnesias: u64,
    pub(super) reconfigurations: u64,
    pub(super) faults: u64,
    /// Schedules with histories too long to be judged.
    pub(super) unjudged: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.schedules += more.schedules;
        self.operations += more.operations;
        self.takeovers += more.takeovers;
        self.tellings += more.tellings;
        self.fast_reads += more.fast_reads;
        self.relays += more.relays;
        self.learns += more.learns;
        self.collections += more.collections;
        self.drops += more.drops;
        self.raises += more.raises;
        self.crashes += more.crashes;
        self.amnesias += more.amnesias;
        self.reconfigurations += more.reconfigurations;
        self.faults += more.faults;
        self.unjudged += more.unjudged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations checked, {} takeovers, {} tellings of all, {} fast reads, {} relays, {} learns, {} collections, {} drops, \
             {} fences raised, {} crashes, {} disks that forgot, {} reconfigurations completed, {} faults injected",
            self.operations,
            self.takeovers,
            self.tellings,
            self.fast_reads,
            self.relays,
            self.learns,
            self.collections,
            self.drops,
            self.raises,
            self.crashes,
            self.amnesias,
            self.reconfigurations,
            self.faults,
        )?;
        if self.unjudged > 0 {
            write!(f, ", {} schedules too long to judge", self.unjudged)?;
        }
        Ok(())
    }
}
