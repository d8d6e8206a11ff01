//! The network between members: it loses, repeats, reorders and delays.

use std::collections::BTreeSet;

use storage::model::MemberId;
use storage::register::{Answer, Ballot, Broken, Key, Mutant, OpId, Operation, Reply, Request, Stamp};

use super::lane::{Outcome, Task};
use crate::dice::Dice;

/// What is under way.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    Request(Request),
    Reply(Reply),
    /// All that a member has, to whom it has promised this ballot.
    Told(Ballot, Vec<(Key, Stamp)>),
    /// A client's operation, to whom it takes for the holder.
    Forward(Operation<Task>),
    /// To a client, which of its attempts came to what.
    Answer {
        op: OpId,
        attempt: u32,
        answer: Answer<Outcome>,
    },
}

impl Mail {
    /// Which kind it is, of those that may be late for long.
    fn kind(&self) -> Option<usize> {
        Some(match self {
            Self::Request(Request::Prepare { .. }) => 0,
            Self::Request(Request::Accept { .. }) => 1,
            Self::Request(Request::Learn { .. }) => 2,
            Self::Request(Request::Drop { .. }) => 3,
            Self::Request(Request::Confirm { .. }) => 4,
            Self::Request(Request::Raise { .. }) => 5,
            Self::Reply(Reply::Confirmed { .. }) => 6,
            Self::Reply(Reply::Promise { .. }) => 7,
            Self::Reply(Reply::Accepted { .. }) => 8,
            Self::Forward(_) => 9,
            Self::Request(_) | Self::Reply(_) | Self::Told(..) | Self::Answer { .. } => return None,
        })
    }
}

/// Kinds of mail that may be delayed for long.
const KINDS: usize = 10;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) mail: Mail,
}

impl Letter {
    /// What a member says to itself passes no network.
    fn is_local(&self) -> bool {
        self.from == self.to && matches!(self.mail, Mail::Reply(_))
    }
}

/// How bad it is.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    loss: f64,
    duplication: f64,
    /// How often, by kind, and for how many steps at most, mail is late.
    late: [f64; KINDS],
    late_max: u64,
    /// Mail to this member waits.
    slow: Option<MemberId>,
    /// Much of the mail to this member is late, whatever it is.
    lagging: Option<MemberId>,
}

impl Weather {
    pub(super) fn fair() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            late: [0.0; KINDS],
            late_max: 1,
            slow: None,
            lagging: None,
        }
    }

    /// Any weather; where a rule is broken that guards against late mail, some in which that mail is late.
    pub(super) fn random(dice: &mut Dice, members: usize, broken: Broken) -> Self {
        let guarded = [
            (Mutant::DropWithoutPromise, 1),
            (Mutant::ConfirmByOldAcks, 8),
            (Mutant::EpochWithoutFences, 9),
            (Mutant::DropWithoutFence, 9),
            (Mutant::TrustFirstAttempts, 9),
        ];
        let guarded = guarded.into_iter().find(|(mutant, _)| broken.is(*mutant));
        let mut late = [0.0; KINDS];
        let chance = [0.0, 0.01, 0.05][dice.below(3)];
        late[1..=9].fill(chance);
        if dice.chance(0.5) {
            // One kind is late much more often than the others.
            late[dice.below(KINDS)] = 0.3;
        }
        if let Some((_, kind)) = guarded {
            late[kind] = 0.3;
        }
        let mut any = || MemberId(u32::try_from(dice.below(members)).unwrap_or_default());
        let (slow, lagging) = (any(), any());
        Self {
            loss: [0.0, 0.02, 0.1, 0.25][dice.below(4)],
            duplication: [0.0, 0.05, 0.2][dice.below(3)],
            late,
            late_max: [200, 950][dice.below(2)],
            slow: dice.chance(0.4).then_some(slow),
            lagging: dice.chance(0.25).then_some(lagging),
        }
    }
}

/// All mail under way.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) weather: Weather,
    mail: Vec<Letter>,
    late: Vec<(u64, Letter)>,
    /// Nothing passes from the first to the second.
    blocked: BTreeSet<(MemberId, MemberId)>,
    /// Mail that was lost, repeated or late.
    pub(super) faults: u64,
}

impl Network {
    pub(super) fn new(weather: Weather) -> Self {
        Self {
            weather,
            mail: Vec::new(),
            late: Vec::new(),
            blocked: BTreeSet::new(),
            faults: 0,
        }
    }

    pub(super) fn send(&mut self, letter: Letter) {
        self.mail.push(letter);
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.mail.is_empty() && self.late.is_empty()
    }

    /// From now on nothing passes this way, or everything does again.
    pub(super) fn toggle(&mut self, from: MemberId, to: MemberId) {
        if !self.blocked.remove(&(from, to)) && from != to {
            self.blocked.insert((from, to));
            self.faults += 1;
        }
    }

    /// Repairs everything; what was late arrives now.
    pub(super) fn heal(&mut self) {
        self.weather = Weather::fair();
        self.blocked.clear();
        self.mail.extend(self.late.drain(..).map(|(_, letter)| letter));
    }

    /// A letter that arrives now.
    pub(super) fn next(&mut self, dice: &mut Dice, now: u64) -> Option<Letter> {
        if let Some(due) = self.late.iter().position(|(at, _)| *at <= now) {
            return Some(self.late.swap_remove(due).1);
        }
        if self.mail.is_empty() {
            return None;
        }
        let index = match dice.chance(0.7) {
            true => dice.below(self.mail.len()),
            false => 0,
        };
        let letter = &self.mail[index];
        if letter.is_local() {
            return Some(self.mail.swap_remove(index));
        }
        if self.weather.slow == Some(letter.to) && dice.chance(0.8) {
            return None;
        }
        // A call of a client is one call with one answer; what is asked twice it asks itself.
        let is_call = matches!(letter.mail, Mail::Forward(_) | Mail::Answer { .. });
        if !is_call && dice.chance(self.weather.duplication) {
            self.faults += 1;
            return Some(letter.clone());
        }
        let letter = self.mail.swap_remove(index);
        let lags = self.weather.lagging == Some(letter.to) && !is_call;
        let late = match letter.mail.kind() {
            _ if lags => 0.3,
            Some(kind) => self.weather.late[kind],
            None => 0.0,
        };
        if dice.chance(late) {
            self.faults += 1;
            let delay = dice.within(50..50 + self.weather.late_max);
            self.late.push((now + delay, letter));
            return None;
        }
        if dice.chance(self.weather.loss) || self.blocked.contains(&(letter.from, letter.to)) {
            self.faults += 1;
            return None;
        }
        Some(letter)
    }
}
