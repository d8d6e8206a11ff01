//! Tells whether a history could have happened one operation at a time.
//!
//! The search of Wing & Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memo ("Testing for
//! linearizability", 2017): put one operation after another into an order that respects real time and explains every
//! answer, and never look twice at the same set of operations with the same state. An operation that nobody heard of may
//! always stay undone, so of two ways to the same answers and the same state, one that left more undone makes the other
//! needless.

use std::collections::HashMap;
use std::hash::Hash;

/// Operations in one history: as many as a set of them has bits.
pub(crate) const OPERATIONS_MAX: usize = 128;
/// States looked at before the search gives up.
const STATES_MAX: usize = 1_000_000;

/// One operation, as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call<C, O> {
    /// What was asked.
    pub(crate) command: C,
    /// When it was asked.
    pub(crate) called: u64,
    /// What came of it; `None` when the client never heard. Then it took effect once or not at all.
    pub(crate) outcome: Option<O>,
    /// It took effect by then, or never. `u64::MAX` when that is not known.
    pub(crate) until: u64,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order that explains everything.
    Linearizable,
    /// There is none.
    Violated,
    /// There are too many operations, or too many orders, to tell.
    TooLarge,
}

/// Operations that are done, one bit each.
type Done = u128;

/// What keeps one operation from being the next.
struct Order {
    /// These must be done before it: they were answered before it was asked.
    before: Done,
    /// None of these may be done before it: they were asked after its last moment.
    after: Done,
}

/// Looks for an order in which `apply` gives every answer that a client got.
pub(crate) fn judge<S, C, O>(history: &[Call<C, O>], initial: S, apply: impl Fn(&S, &C) -> (S, O)) -> Verdict
where
    S: Clone + Eq + Hash,
    O: PartialEq,
{
    if history.len() > OPERATIONS_MAX {
        return Verdict::TooLarge;
    }
    let orders: Vec<_> = (0..history.len()).map(|index| order(history, index)).collect();
    let answered = set(history, |call| call.outcome.is_some());
    let mut seen: HashMap<(Done, S), Vec<Done>> = HashMap::new();
    let mut looked_at = 0;
    let mut open = vec![(0, initial)];
    while let Some((done, state)) = open.pop() {
        if done & answered == answered {
            return Verdict::Linearizable;
        }
        looked_at += 1;
        if looked_at >= STATES_MAX {
            return Verdict::TooLarge;
        }
        let guessed = seen.entry((done & answered, state.clone())).or_default();
        let extra = done & !answered;
        if guessed.iter().any(|fewer| fewer & !extra == 0) {
            continue;
        }
        guessed.retain(|more| extra & !more != 0);
        guessed.push(extra);
        let may_be_next = |index: &usize| {
            let (bit, order) = (1 << index, &orders[*index]);
            done & bit == 0 && order.before & !done == 0 && order.after & done == 0
        };
        // What is popped first is tried first: answered operations before those that nobody heard of.
        let (heard, unheard): (Vec<_>, Vec<_>) = (0..history.len())
            .filter(may_be_next)
            .partition(|index| history[*index].outcome.is_some());
        for index in unheard.into_iter().chain(heard.into_iter().rev()) {
            let call = &history[index];
            let (next, outcome) = apply(&state, &call.command);
            if call.outcome.as_ref().is_none_or(|heard| *heard == outcome) {
                open.push((done | 1 << index, next));
            }
        }
    }
    Verdict::Violated
}

fn order<C, O>(history: &[Call<C, O>], index: usize) -> Order {
    let call = &history[index];
    // What was asked after its last moment never takes effect: it would have to come before itself.
    let never = Done::from(call.until < call.called) << index;
    Order {
        before: never
            | set(history, |other| {
                other.outcome.is_some() && other.until < call.called
            }),
        after: set(history, |other| other.called > call.until),
    }
}

fn set<C, O>(history: &[Call<C, O>], contains: impl Fn(&Call<C, O>) -> bool) -> Done {
    let bits = history.iter().enumerate().filter(|(_, call)| contains(call));
    bits.fold(0, |set, (index, _)| set | 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Command {
        Get,
        Put(u8),
        PutNew(u8),
        CompareAndSet(u8, u8),
        Delete,
    }
    use Command::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Outcome {
        Ok,
        No,
        Is(u8),
        Nothing,
    }
    use Outcome::*;

    fn apply(state: &Option<u8>, command: &Command) -> (Option<u8>, Outcome) {
        match (*command, *state) {
            (Get, state) => (state, state.map_or(Nothing, Is)),
            (Put(value), _) | (PutNew(value), None) => (Some(value), Ok),
            (CompareAndSet(old, new), Some(value)) if old == value => (Some(new), Ok),
            (PutNew(_) | CompareAndSet(..), state) => (state, No),
            (Delete, _) => (None, Ok),
        }
    }

    fn heard(command: Command, called: u64, answered: u64, outcome: Outcome) -> Call<Command, Outcome> {
        Call {
            command,
            called,
            outcome: Some(outcome),
            until: answered,
        }
    }

    fn unheard(command: Command, called: u64) -> Call<Command, Outcome> {
        Call {
            command,
            called,
            outcome: None,
            until: u64::MAX,
        }
    }

    #[track_caller]
    fn check(history: &[Call<Command, Outcome>], expected: Verdict) {
        assert_eq!(judge(history, None, apply), expected);
    }

    const GOOD: Verdict = Verdict::Linearizable;
    const BAD: Verdict = Verdict::Violated;

    #[test]
    fn what_happens_one_after_another_is_good() {
        check(&[], GOOD);
        check(
            &[
                heard(PutNew(1), 1, 2, Ok),
                heard(PutNew(2), 3, 4, No),
                heard(CompareAndSet(1, 3), 5, 6, Ok),
                heard(Get, 7, 8, Is(3)),
                heard(Delete, 9, 10, Ok),
                heard(Get, 11, 12, Nothing),
            ],
            GOOD,
        );
    }

    #[test]
    fn operations_at_the_same_time_may_take_either_order() {
        for seen in [1, 2] {
            check(
                &[
                    heard(Put(1), 1, 9, Ok),
                    heard(Put(2), 2, 8, Ok),
                    heard(Get, 10, 11, Is(seen)),
                ],
                GOOD,
            );
        }
    }

    #[test]
    fn a_lost_update_is_bad() {
        check(&[heard(Put(1), 1, 2, Ok), heard(Get, 3, 4, Nothing)], BAD);
        let both_won = [
            heard(Put(1), 1, 2, Ok),
            heard(CompareAndSet(1, 2), 3, 9, Ok),
            heard(CompareAndSet(1, 3), 4, 8, Ok),
        ];
        check(&both_won, BAD);
    }

    #[test]
    fn a_stale_read_is_bad() {
        check(
            &[
                heard(Put(1), 1, 2, Ok),
                heard(Put(2), 3, 4, Ok),
                heard(Get, 5, 6, Is(1)),
            ],
            BAD,
        );
    }

    #[test]
    fn two_readers_must_not_see_a_write_come_and_go() {
        let write = heard(Put(1), 1, 20, Ok);
        let first = heard(Get, 2, 3, Is(1));
        check(&[write.clone(), first.clone(), heard(Get, 4, 5, Nothing)], BAD);
        check(&[write, first, heard(Get, 2, 5, Nothing)], GOOD);
        // Also when nobody knows what became of it.
        let write = unheard(Put(1), 1);
        check(&[write, heard(Get, 2, 3, Is(1)), heard(Get, 4, 5, Nothing)], BAD);
    }

    #[test]
    fn a_value_that_nobody_wrote_is_bad() {
        check(&[heard(Put(1), 1, 2, Ok), heard(Get, 1, 4, Is(2))], BAD);
        // Nor may it be seen before it was asked for.
        check(&[heard(Get, 1, 2, Is(1)), heard(Put(1), 3, 4, Ok)], BAD);
    }

    #[test]
    fn an_unheard_operation_may_happen_late_or_never_but_once() {
        let lost = unheard(Delete, 1);
        let put = |value, at| heard(Put(value), at, at + 1, Ok);
        check(&[lost.clone(), put(1, 2), heard(Get, 4, 5, Is(1))], GOOD);
        check(
            &[
                lost.clone(),
                put(1, 2),
                heard(Get, 4, 5, Is(1)),
                heard(Get, 6, 7, Nothing),
            ],
            GOOD,
        );
        let twice = [
            put(1, 2),
            lost,
            heard(Get, 4, 5, Nothing),
            put(2, 6),
            heard(Get, 8, 9, Nothing),
        ];
        check(&twice, BAD);
    }

    #[test]
    fn an_operation_that_is_done_twice_is_bad() {
        check(
            &[
                heard(Put(1), 1, 30, Ok),
                heard(Get, 2, 3, Is(1)),
                heard(Put(2), 4, 5, Ok),
                heard(Get, 6, 7, Is(2)),
                heard(Get, 8, 9, Is(1)),
            ],
            BAD,
        );
    }

    #[test]
    fn an_operation_takes_effect_by_its_last_moment_or_never() {
        let fenced = Call {
            until: 5,
            ..unheard(Put(1), 1)
        };
        let seen_by = |at| heard(Get, at, at + 1, Is(1));
        check(&[fenced.clone(), seen_by(4)], GOOD);
        check(&[fenced.clone(), seen_by(7)], GOOD);
        check(&[fenced.clone(), heard(Get, 6, 7, Nothing)], GOOD);
        check(&[fenced.clone(), heard(Get, 6, 7, Nothing), seen_by(8)], BAD);
        let too_late = Call { called: 6, ..fenced };
        check(&[too_late.clone(), heard(Get, 7, 8, Nothing)], GOOD);
        let answered = Some(Ok);
        check(
            &[Call {
                outcome: answered,
                ..too_late
            }],
            BAD,
        );
    }

    #[test]
    fn a_history_of_many_operations_is_judged_and_a_longer_one_is_not() {
        let turns = |count: u64| {
            let turn = |turn: u64| {
                let value = u8::try_from(turn % 200).unwrap();
                [
                    heard(Put(value), turn * 10, turn * 10 + 15, Ok),
                    unheard(Delete, turn * 10),
                ]
            };
            (0..count).flat_map(turn).collect::<Vec<_>>()
        };
        check(&turns(64), GOOD);
        check(&turns(65), Verdict::TooLarge);
    }
}
