//! Rules that a test can switch off, to prove that the simulation notices.

/// A rule of the protocol, switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// An acceptor accepts below what it promised (rule 4; also for a reader's relay, rule 3).
    AcceptIgnoresPromise,
    /// An acceptor learns below what it promised (rule 5: dropped tombstones would come back as the rows they hid).
    LearnIgnoresPromise,
    /// A member outside the configuration answers like one inside (rule 6).
    OutsiderAnswers,
    /// A tombstone is dropped by members that have not promised the new ballot: the holder does not wait for all, and the
    /// others do not look (rule 5). Either check alone would do.
    DropWithoutPromise,
    /// A tombstone is dropped when a quorum, not all, confirmed it (rule 5).
    DropOnQuorum,
    /// A tombstone is dropped under the ballot it was confirmed in, without a new one (rule 5).
    DropWithoutNewBallot,
    /// A tombstone is dropped without a fence against what it remembers (rules 4 and 5).
    DropWithoutFence,
    /// The first attempt of an operation is done where it may be forgotten that another was (rule 4).
    TrustFirstAttempts,
    /// An operation counts as known by a row in which its attempts do not look for one another (rule 4).
    TrustAnyRow,
    /// A result that writes nothing is answered without being confirmed (rule 2).
    AnswerWithoutConfirming,
    /// Acknowledgements from before the operation confirm its result (rule 2).
    ConfirmByOldAcks,
    /// An operation is decided on a row while another one's write to it is still outstanding (rule 1).
    IgnoreOutstanding,
    /// Rows that a result relies on are not confirmed before others are written (rule 2, several rows).
    WriteWithoutConfirming,
    /// All stages of an operation are written at once (several rows).
    StagesAtOnce,
    /// A reader takes the newest row for chosen without asking who holds it (rule 3).
    ReadUnchosen,
    /// A reader goes on although somebody is in a newer epoch (rule 3).
    ReadInOldEpoch,
    /// A reader teaches the newest row to others without knowing it chosen (rule 3).
    LearnUnchosen,
    /// A retry of an operation is executed again (rule 4).
    ForgetOperations,
    /// A retry that fails on a condition leaves no mark, so that an earlier attempt may yet be executed (rule 4). Broken by
    /// the simulated world.
    ForgetRefusals,
    /// A row is decided by whoever answered the touch first, not by a quorum (rule 1).
    TouchWithoutQuorum,
    /// What a member has counts as told to a holder although it had not promised that one's ballot before it looked (rule 1).
    /// Broken by the simulated world.
    TellBeforePromise,
    /// Fences told in promises are forgotten by a new holder (rule 7).
    ForgetFences,
    /// A fence is told to be raised while something from below it is still being written (rule 7).
    FenceWithoutDraining,
    /// Voters change without a joint configuration (rule 6).
    WithoutJoint,
    /// New voters are synced before the old epoch is closed (rule 6).
    SyncWithoutBarrier,
    /// New voters decide without having been synced (rule 6).
    EpochWithoutSync,
    /// New voters decide without knowing the fences (rules 6 and 7).
    EpochWithoutFences,
    /// A member that was outside for a while comes back with the rows it had (rule 6).
    RejoinWithRows,
    /// A member comes back as the same with an empty disk (rule 8). Broken by the simulated world.
    Amnesia,
    /// Replies leave before what they promise is durable. Broken by the simulated world.
    ReplyBeforeSync,
    /// A deposed holder's operation is told as failed although it may yet be chosen (rule 4). Broken by the simulated world.
    UnknownAsFailed,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::AcceptIgnoresPromise,
        Self::LearnIgnoresPromise,
        Self::OutsiderAnswers,
        Self::DropWithoutPromise,
        Self::DropOnQuorum,
        Self::DropWithoutNewBallot,
        Self::DropWithoutFence,
        Self::TrustFirstAttempts,
        Self::TrustAnyRow,
        Self::AnswerWithoutConfirming,
        Self::ConfirmByOldAcks,
        Self::IgnoreOutstanding,
        Self::WriteWithoutConfirming,
        Self::StagesAtOnce,
        Self::ReadUnchosen,
        Self::ReadInOldEpoch,
        Self::LearnUnchosen,
        Self::ForgetOperations,
        Self::ForgetRefusals,
        Self::TouchWithoutQuorum,
        Self::TellBeforePromise,
        Self::ForgetFences,
        Self::FenceWithoutDraining,
        Self::WithoutJoint,
        Self::SyncWithoutBarrier,
        Self::EpochWithoutSync,
        Self::EpochWithoutFences,
        Self::RejoinWithRows,
        Self::Amnesia,
        Self::ReplyBeforeSync,
        Self::UnknownAsFailed,
    ];
}

/// Which rule is broken: none, except in a simulation that asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken(#[cfg(any(test, feature = "simulation"))] Option<Mutant>);

impl Broken {
    /// Every rule holds.
    pub const NOTHING: Self = Self(
        #[cfg(any(test, feature = "simulation"))]
        None,
    );

    /// Breaks one rule.
    #[cfg(any(test, feature = "simulation"))]
    pub fn by(mutant: Mutant) -> Self {
        Self(Some(mutant))
    }

    /// Whether this rule is broken; always false in the product.
    #[cfg(any(test, feature = "simulation"))]
    pub fn is(self, mutant: Mutant) -> bool {
        self.0 == Some(mutant)
    }

    /// Whether this rule is broken; always false in the product.
    #[cfg(not(any(test, feature = "simulation")))]
    pub fn is(self, _: Mutant) -> bool {
        false
    }
}
