//! What one seed decides before its schedule begins.

use storage::model::MemberId;
use storage::register::{Broken, Mutant, Votes};

use crate::dice::Dice;

/// Members at most; those outside the first configuration may come in later.
const POOL_MAX: usize = 7;

/// Who may vote from the beginning.
const FIRST: [MemberId; 5] = [MemberId(0), MemberId(1), MemberId(2), MemberId(3), MemberId(4)];

/// The character of one schedule.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) steps: u64,
    /// Members that exist from the beginning.
    pub(super) pool: usize,
    pub(super) first: Votes,
    pub(super) lanes: usize,
    pub(super) clients: usize,
    /// Operations that clients begin at most.
    pub(super) operations: usize,
    /// How soon a client begins the next one.
    pub(super) haste: f64,
    /// Changes of voters at most, and the step before which none begins.
    pub(super) changes: u32,
    pub(super) changes_from: u64,
    /// How eagerly the root partition commits, and members adopt.
    pub(super) commits: f64,
    pub(super) adopts: f64,
    /// Members that come in adopt long before those that are there.
    pub(super) newcomers_first: bool,
    /// A member that leaves and comes back, again and again, and does not notice it left.
    pub(super) sleeper: Option<MemberId>,
    pub(super) crashes: f64,
    /// One disk forgets.
    pub(super) forgets: bool,
    pub(super) fences: f64,
    /// Tombstones are collected so often.
    pub(super) collects: f64,
    /// Links are cut and repaired.
    pub(super) cuts: f64,
    /// Clients take the first member for the holder so often.
    pub(super) loyalty: f64,
    /// Clients try again after a time-out so often.
    pub(super) retries: f64,
    /// Clients lose patience so often.
    pub(super) impatience: f64,
    /// Objects are read by a reader so often, else through the holder.
    pub(super) readers: f64,
    /// Uploads are asked for so often.
    pub(super) uploads: f64,
    /// A gateway knows an older version of the directory so often.
    pub(super) outdated: f64,
    /// A member's own requests and rows reach it at once.
    pub(super) is_prompt: bool,
    /// Members tell holders all they have.
    pub(super) tells: bool,
}

/// Plans that are drawn until one suits a broken rule.
const DRAWS_MAX: usize = 200;

impl Plan {
    /// Any plan; where a rule is broken, one in which that may matter.
    pub(super) fn random(dice: &mut Dice, broken: Broken) -> Self {
        let mut plan = Self::any(dice);
        for _ in 0..DRAWS_MAX {
            if plan.may_show(broken) {
                break;
            }
            plan = Self::any(dice);
        }
        plan.forgets |= broken.is(Mutant::Amnesia);
        plan
    }

    fn any(dice: &mut Dice) -> Self {
        match dice.chance(0.6) {
            true => Self::changing(dice),
            false => Self::still(dice),
        }
    }

    /// Whether something may go wrong here when the rule is broken.
    fn may_show(&self, broken: Broken) -> bool {
        let needs = |mutant, holds: bool| !broken.is(mutant) || holds;
        let (is_still, voters) = (self.changes == 0, self.first.members().count());
        needs(Mutant::RejoinWithRows, self.sleeper.is_some())
            && needs(Mutant::OutsiderAnswers, self.changes > 1)
            && needs(
                Mutant::ReadInOldEpoch,
                self.changes > 1 && self.adopts < 0.4 && self.readers > 0.5,
            )
            && needs(Mutant::SyncWithoutBarrier, !is_still && self.adopts < 0.2)
            && needs(
                Mutant::EpochWithoutFences,
                !is_still && self.fences > 0.2 && self.retries > 0.5,
            )
            && needs(Mutant::DropWithoutFence, is_still && self.retries > 0.5)
            && needs(
                Mutant::TrustFirstAttempts,
                is_still && self.retries > 0.5 && self.collects > 0.5 && self.uploads < 0.5,
            )
            && needs(Mutant::ForgetRefusals, self.collects < 0.5)
            && needs(Mutant::ReplyBeforeSync, is_still && self.crashes > 0.05)
            && needs(
                Mutant::ConfirmByOldAcks,
                is_still && voters == 3 && self.readers < 0.5,
            )
            && needs(
                Mutant::DropWithoutPromise,
                is_still && voters == 3 && self.cuts < 0.1,
            )
            && needs(Mutant::Amnesia, voters == 3)
    }

    /// Nobody comes or goes.
    fn still(dice: &mut Dice) -> Self {
        let first = votes(2 + dice.below(4), &FIRST);
        Self {
            steps: 2_500,
            pool: first.members().count(),
            first,
            lanes: 1 + dice.below(2),
            clients: 3 + dice.below(3),
            operations: 50,
            haste: 1.0,
            changes: 0,
            changes_from: 0,
            commits: 0.0,
            adopts: 0.0,
            newcomers_first: false,
            sleeper: None,
            crashes: [0.0, 0.02, 0.1][dice.below(3)],
            forgets: dice.chance(0.15),
            fences: [0.0, 0.0, 0.1, 0.5][dice.below(4)],
            collects: [0.1, 1.0, 1.0][dice.below(3)],
            cuts: [0.0, 0.0, 0.05, 0.2][dice.below(4)],
            loyalty: [0.3, 0.7, 0.95][dice.below(3)],
            impatience: [0.03, 0.08][dice.below(2)],
            readers: [0.3, 0.8][dice.below(2)],
            retries: [0.5, 0.9][dice.below(2)],
            uploads: [0.0, 0.3, 0.8][dice.below(3)],
            outdated: 0.3,
            is_prompt: dice.chance(0.5),
            tells: false,
        }
    }

    /// Voters change, once or in a chain.
    fn changing(dice: &mut Dice) -> Self {
        let first = votes(dice.below(6), &FIRST);
        let voters = first.members().count();
        let plan = Self {
            steps: 4_000,
            pool: POOL_MAX.min(voters.max(2) + 1 + dice.below(3)),
            first,
            // Operations are to be met by all that changes meanwhile.
            haste: 0.3,
            changes: 1 + u32::try_from(dice.below(4)).unwrap_or_default(),
            changes_from: [0, 100, 600][dice.below(3)],
            commits: [0.05, 0.3, 0.8][dice.below(3)],
            adopts: [0.5, 0.1, 0.03][dice.below(3)],
            newcomers_first: dice.chance(0.3),
            ..Self::still(dice)
        };
        match dice.chance(0.3) {
            // It is away for a whole configuration at least: that takes quick changes, and time.
            true => Self {
                steps: 6_000,
                lanes: 1,
                operations: 70,
                changes: 4,
                commits: 0.8,
                adopts: 0.5,
                sleeper: Some(MemberId(1)),
                ..plan
            },
            false => plan,
        }
    }
}

/// Votes of one kind, for the first of these members.
pub(super) fn votes(kind: usize, members: &[MemberId]) -> Votes {
    let weights: &[u8] = match kind {
        0 => &[1],
        1 => &[2, 1],
        2 | 3 => &[1, 1, 1],
        4 => &[1, 1],
        _ => &[1, 1, 1, 1, 1],
    };
    let weighted = members.iter().copied().zip(weights.iter().copied());
    // A member with one vote at least: the lists above are not empty.
    Votes::new(weighted).unwrap_or_else(|| votes(0, &[MemberId(0)]))
}
