//! A schedule for each mutant that is known to catch it.

use storage::register::Mutant;

/// Mutants that random schedules hardly ever meet, since each takes messages that are late in one certain order, or never: who
/// reads behind a fence without asking a holder is not judged there. Schedules made by hand in
/// `storage/src/register/tests/broken.rs` and `told.rs` show what happens without their rules.
pub(super) const CAUGHT_BY_HAND: [Mutant; 5] = [
    Mutant::TellBeforePromise,
    Mutant::TrustAnyRow,
    Mutant::DropWithoutPromise,
    Mutant::ConfirmByOldAcks,
    Mutant::FenceWithoutDraining,
];

/// The seed of a schedule that catches it; any where none is known.
pub(super) fn catching_seed(mutant: Mutant) -> u64 {
    match mutant {
        Mutant::AcceptIgnoresPromise => 58,
        Mutant::LearnIgnoresPromise => 160,
        Mutant::OutsiderAnswers => 21844,
        Mutant::DropOnQuorum => 15518,
        Mutant::DropWithoutNewBallot => 244,
        Mutant::AnswerWithoutConfirming => 21,
        Mutant::IgnoreOutstanding => 218,
        Mutant::WriteWithoutConfirming => 9022,
        Mutant::StagesAtOnce => 260,
        Mutant::ReadUnchosen => 4284,
        Mutant::ReadInOldEpoch => 16838,
        Mutant::LearnUnchosen => 4833,
        Mutant::ForgetOperations => 376,
        Mutant::ForgetRefusals => 753,
        Mutant::TouchWithoutQuorum => 227,
        Mutant::ForgetFences => 699,
        Mutant::WithoutJoint => 8,
        Mutant::SyncWithoutBarrier => 4413,
        Mutant::EpochWithoutSync => 61,
        Mutant::EpochWithoutFences => 58801,
        Mutant::RejoinWithRows => 77147,
        Mutant::Amnesia => 4867,
        Mutant::ReplyBeforeSync => 4867,
        Mutant::UnknownAsFailed => 4,
        Mutant::DropWithoutFence => 883,
        Mutant::TrustFirstAttempts => 8714,
        Mutant::TellBeforePromise
        | Mutant::TrustAnyRow
        | Mutant::DropWithoutPromise
        | Mutant::ConfirmByOldAcks
        | Mutant::FenceWithoutDraining => 1,
    }
}
