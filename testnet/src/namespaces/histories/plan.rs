//! Decides what goes wrong, when and for how long: one seed is one plan.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

/// How long everything is well between two troubles, in milliseconds.
const REST_MS: std::ops::Range<u64> = 500..3500;
/// How long something stays wrong, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 2000..9000;
/// How often two things go wrong at once.
const TWO_AT_ONCE: f64 = 0.35;
/// How far a clock may jump, in seconds: a little, to another hour, to another year.
const JUMPS_S: [i64; 6] = [20, -20, 3700, -3700, 366 * 86_400, -366 * 86_400];
/// How much longer a sync of a slow disk takes, in milliseconds.
const SLOW_MS: std::ops::Range<u64> = 20..400;
/// How long a frame is under way on a slow link, in milliseconds.
const DELAY_MS: std::ops::Range<u64> = 40..400;

/// What may go wrong. Members go by their place among those that are there when it happens, counted around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Those whose bits are set hear nobody else, and are not heard.
    Split { side: u64 },
    /// One does not hear another, who hears it.
    OneWay { from: usize, to: usize },
    /// All hear one badly.
    Faint { who: usize },
    /// All that one sends and gets is under way for long.
    SlowLink { who: usize, delay_ms: u64 },
    /// The power of one fails.
    Kill { who: usize },
    /// The power of all fails.
    KillAll,
    /// One stops in the middle of everything, and goes on.
    Freeze { who: usize },
    /// The clock of one jumps, and jumps back.
    Clock { who: usize, ahead_s: i64 },
    /// The disk of one is filled by somebody else.
    FullDisk { who: usize },
    /// The disk of one takes long.
    SlowDisk { who: usize, sync_ms: u64 },
    /// A spare box joins.
    Join { through: usize },
    /// A box leaves, once it has handed over.
    Leave { who: usize },
}

impl Fault {
    /// What kind it is, for counting.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Split { .. } => "partition",
            Self::OneWay { .. } => "one-way wall",
            Self::Faint { .. } => "one-way loss",
            Self::SlowLink { .. } => "slow link",
            Self::Kill { .. } => "kill -9",
            Self::KillAll => "kill -9 of all",
            Self::Freeze { .. } => "freeze",
            Self::Clock { .. } => "clock jump",
            Self::FullDisk { .. } => "full disk",
            Self::SlowDisk { .. } => "slow disk",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
        }
    }

    /// Whether it makes another mesh of it, which nothing is undone of.
    pub(super) const fn is_change(self) -> bool {
        matches!(self, Self::Join { .. } | Self::Leave { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match *self {
            Self::Split { side } => write!(f, "{kind} {side:b}"),
            Self::OneWay { from, to } => write!(f, "{kind} {from} to {to}"),
            Self::SlowLink { who, delay_ms } => write!(f, "{kind} of {who}, {delay_ms} ms"),
            Self::KillAll => f.write_str(kind),
            Self::Clock { who, ahead_s } => write!(f, "{kind} of {who}, {ahead_s} s"),
            Self::SlowDisk { who, sync_ms } => write!(f, "{kind} of {who}, {sync_ms} ms"),
            Self::Join { through } => write!(f, "{kind} through {through}"),
            Self::Faint { who }
            | Self::Kill { who }
            | Self::Freeze { who }
            | Self::FullDisk { who }
            | Self::Leave { who } => write!(f, "{kind} of {who}"),
        }
    }
}

/// Some time of peace, and then something wrong for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How long nothing is wrong before it.
    pub(super) rest: Duration,
    /// What goes wrong at once.
    pub(super) faults: Vec<Fault>,
    /// For how long.
    pub(super) lasts: Duration,
}

/// Steps for as long as this: every kind of fault comes once before any comes again, in another order each time.
pub(super) fn plan(seed: u64, members: usize, length: Duration) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let (mut steps, mut planned, mut deck) = (Vec::new(), Duration::ZERO, Vec::new());
    while planned < length {
        let rest = Duration::from_millis(dice.within(REST_MS));
        let lasts = Duration::from_millis(dice.within(LASTS_MS));
        let mut faults = vec![draw(&mut deck, &mut dice, members)];
        if dice.chance(TWO_AT_ONCE) {
            faults.push(draw(&mut deck, &mut dice, members));
        }
        // What changes the mesh comes last: it takes as long as it takes, amid the other.
        faults.sort_by_key(|fault| fault.is_change());
        planned += rest + lasts;
        steps.push(Step { rest, faults, lasts });
    }
    steps
}

/// Takes the next fault from a deck, which is shuffled anew when it is empty.
fn draw(deck: &mut Vec<Fault>, dice: &mut Dice, members: usize) -> Fault {
    loop {
        if let Some(fault) = deck.pop() {
            return fault;
        }
        *deck = faults(dice, members);
        for last in (1..deck.len()).rev() {
            deck.swap(last, dice.below(last + 1));
        }
    }
}

/// One of each kind; partitions and power failures are what matters most, and come twice.
fn faults(dice: &mut Dice, members: usize) -> Vec<Fault> {
    let members = members.max(2);
    let everybody = 1 << members;
    let from = dice.below(members);
    let to = (from + 1 + dice.below(members - 1)) % members;
    let [split, split_again] = [(); 2].map(|()| dice.within(1..everybody - 1));
    let mut who = || dice.below(members);
    let [
        kill,
        kill_again,
        faint,
        slow_link,
        freeze,
        clock,
        full,
        slow_disk,
        through,
        leave,
    ] = [(); 10].map(|()| who());
    vec![
        Fault::Split { side: split },
        Fault::Split { side: split_again },
        Fault::OneWay { from, to },
        Fault::Faint { who: faint },
        Fault::SlowLink {
            who: slow_link,
            delay_ms: dice.within(DELAY_MS),
        },
        Fault::Kill { who: kill },
        Fault::Kill { who: kill_again },
        Fault::KillAll,
        Fault::Freeze { who: freeze },
        Fault::Clock {
            who: clock,
            ahead_s: dice.one_of(&JUMPS_S).copied().unwrap_or_default(),
        },
        Fault::FullDisk { who: full },
        Fault::SlowDisk {
            who: slow_disk,
            sync_ms: dice.within(SLOW_MS),
        },
        Fault::Join { through },
        Fault::Leave { who: leave },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_seed_repeats_its_plan_and_nobody_is_split_from_nobody(seed: u64, members in 2..8_usize) {
            let length = Duration::from_secs(600);
            let planned = plan(seed, members, length);
            prop_assert_eq!(&planned, &plan(seed, members, length));
            for fault in planned.iter().flat_map(|step| &step.faults) {
                if let Fault::Split { side } = fault {
                    prop_assert!(*side > 0 && *side < (1 << members) - 1, "{side:b}");
                }
                if let Fault::OneWay { from, to } = fault {
                    prop_assert!(from != to && *from < members && *to < members);
                }
            }
        }
    }

    #[test]
    fn a_longer_plan_begins_as_the_shorter_one_and_each_kind_of_fault_comes_soon() {
        let (short, long) = (Duration::from_secs(60), Duration::from_secs(180));
        let steps = plan(7, 3, long);
        assert!(steps.starts_with(&plan(7, 3, short)));
        let kinds: BTreeSet<_> = steps
            .iter()
            .flat_map(|step| &step.faults)
            .map(|fault| fault.kind())
            .collect();
        assert_eq!(kinds.len(), 12);
    }
}
