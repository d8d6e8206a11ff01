//! A schedule for each mutant that is known to catch it.

use storage::register::Mutant;

/// Mutants that random schedules hardly ever meet, since each takes messages that are late in one certain order, or never: who
/// reads behind a fence without asking a holder is not judged there. Schedules made by hand in
/// `storage/src/register/tests/broken.rs` and `told.rs` show what happens without their rules.
pub(super) const CAUGHT_BY_HAND: [Mutant; 4] = [
    Mutant::TellBeforePromise,
    Mutant::DropWithoutPromise,
    Mutant::ConfirmByOldAcks,
    Mutant::FenceWithoutDraining,
];

/// The seed of a schedule that catches it; any where none is known.
pub(super) fn catching_seed(mutant: Mutant) -> u64 {
    match mutant {
        Mutant::AcceptIgnoresPromise => 58,
        Mutant::LearnIgnoresPromise => 1122,
        Mutant::OutsiderAnswers => 10369,
        Mutant::DropOnQuorum => 17661,
        Mutant::DropWithoutNewBallot => 137,
        Mutant::AnswerWithoutConfirming => 26,
        Mutant::IgnoreOutstanding => 142,
        Mutant::WriteWithoutConfirming => 2534,
        Mutant::StagesAtOnce => 28085,
        Mutant::ReadUnchosen => 4483,
        Mutant::ReadInOldEpoch => 16702,
        Mutant::LearnUnchosen => 4833,
        Mutant::ForgetOperations => 575,
        Mutant::ForgetRefusals => 18527,
        Mutant::TouchWithoutQuorum => 227,
        Mutant::ForgetFences => 699,
        Mutant::WithoutJoint => 9,
        Mutant::SyncWithoutBarrier => 4413,
        Mutant::EpochWithoutSync => 92,
        Mutant::EpochWithoutFences => 3533,
        Mutant::RejoinWithRows => 6726,
        Mutant::Amnesia => 7255,
        Mutant::ReplyBeforeSync => 25916,
        Mutant::UnknownAsFailed => 7,
        Mutant::DropWithoutFence => 1565,
        Mutant::TrustFirstAttempts => 1963,
        Mutant::TellBeforePromise
        | Mutant::DropWithoutPromise
        | Mutant::ConfirmByOldAcks
        | Mutant::FenceWithoutDraining => 1,
    }
}
