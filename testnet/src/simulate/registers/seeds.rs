//! A schedule for each mutant that is known to catch it.

use storage::register::Mutant;

/// Mutants that random schedules hardly ever meet: each takes messages that are late in one certain order. Schedules made by
/// hand in `storage/src/register/tests/broken.rs` show what happens without their rules.
pub(super) const CAUGHT_BY_HAND: [Mutant; 2] = [Mutant::DropWithoutPromise, Mutant::ConfirmByOldAcks];

/// The seed of a schedule that catches it; any where none is known.
pub(super) fn catching_seed(mutant: Mutant) -> u64 {
    match mutant {
        Mutant::AcceptIgnoresPromise => 17,
        Mutant::LearnIgnoresPromise => 1222,
        Mutant::OutsiderAnswers => 4912,
        Mutant::DropOnQuorum => 3532,
        Mutant::DropWithoutNewBallot => 282,
        Mutant::AnswerWithoutConfirming => 539,
        Mutant::IgnoreOutstanding => 329,
        Mutant::WriteWithoutConfirming => 6296,
        Mutant::StagesAtOnce => 14041,
        Mutant::ReadUnchosen => 3716,
        Mutant::ReadInOldEpoch => 15860,
        Mutant::LearnUnchosen => 16653,
        Mutant::ForgetOperations => 32,
        Mutant::ForgetRefusals => 692,
        Mutant::TouchWithoutQuorum => 149,
        Mutant::ForgetFences => 245,
        Mutant::WithoutJoint => 34,
        Mutant::SyncWithoutBarrier => 4349,
        Mutant::EpochWithoutSync => 89,
        Mutant::EpochWithoutFences => 8711,
        Mutant::RejoinWithRows => 59,
        Mutant::Amnesia => 2366,
        Mutant::ReplyBeforeSync => 4818,
        Mutant::UnknownAsFailed => 3,
        Mutant::DropWithoutPromise | Mutant::ConfirmByOldAcks => 1,
    }
}
