//! Sums of rows, stretch by stretch: a member that is asked what it has leaves out what the asker has too.

use serde::{Deserialize, Serialize};

use super::scan::{Told, ToldRow};
use crate::register::Key;

/// Rows in a stretch, as the asker has them.
const ROWS: usize = 32;

/// The rows from a key on, up to the beginning of the next stretch or to the end of what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    from: Key,
    /// Of their keys and stamps: rows of one stamp have one content.
    sum: Sum,
}

/// Half of a BLAKE3 hash: nobody finds two lists of one sum.
type Sum = [u8; 16];

/// The stretches of a range that begins at `from`, of which these are all rows; none where there are no rows.
pub(super) fn of(from: &Key, rows: &[ToldRow]) -> Vec<Stretch> {
    let mut from = Some(from);
    rows.chunks(ROWS)
        .filter_map(|chunk| {
            // The first begins before its first row: somebody else may have a row there.
            let from = from.take().or(chunk.first().map(|row| &row.key))?;
            Some(Stretch {
                from: from.clone(),
                sum: sum(chunk),
            })
        })
        .collect()
}

fn sum(rows: &[ToldRow]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher
            .update(&(row.key.len() as u64).to_le_bytes())
            .update(&row.key);
        hasher.update(&crate::seal::cbor(&row.stamp));
    }
    let mut sum = Sum::default();
    hasher.finalize_xof().fill(&mut sum);
    sum
}

impl Told {
    /// Leaves out what the asker has too. Stretches that are in no order are taken for none.
    pub(super) fn without_same(mut self, known: &[Stretch]) -> Self {
        if !known.is_sorted_by(|one, next| one.from < next.from) {
            return self;
        }
        let (mut rows, mut left) = (Vec::new(), self.rows.as_slice());
        let before = known.first().map_or(0, |first| begin_of(left, &first.from));
        let (first, rest) = left.split_at(before);
        rows.extend_from_slice(first);
        left = rest;
        for (place, stretch) in known.iter().enumerate() {
            let end = known.get(place + 1).map(|next| &next.from);
            let (within, rest) = left.split_at(end.map_or(left.len(), |end| begin_of(left, end)));
            left = rest;
            // Of a stretch that is not told to its end nothing is known behind it.
            let is_whole = self
                .end
                .as_ref()
                .is_none_or(|told| end.is_some_and(|end| end <= told));
            match u32::try_from(place) {
                Ok(place) if is_whole && sum(within) == stretch.sum => self.same.push(place),
                _ => rows.extend_from_slice(within),
            }
        }
        rows.extend_from_slice(left);
        self.rows = rows;
        self
    }

    /// Puts in what was left out, which are the asker's own rows; `None` where that cannot be.
    pub(super) fn with_same(mut self, known: &[Stretch], mine: &[ToldRow]) -> Option<Self> {
        if self.same.is_empty() {
            return Some(self);
        }
        for place in std::mem::take(&mut self.same) {
            let place = usize::try_from(place).ok()?;
            let chunk = mine.chunks(ROWS).nth(place).filter(|_| place < known.len())?;
            self.rows.extend_from_slice(chunk);
        }
        self.rows.sort_by(|one, other| one.key.cmp(&other.key));
        self.rows
            .is_sorted_by(|one, next| one.key < next.key)
            .then_some(self)
    }
}

/// How many rows stand before a key.
fn begin_of(rows: &[ToldRow], key: &Key) -> usize {
    rows.partition_point(|row| row.key < *key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::MemberId;
    use crate::register::{Ballot, Stamp};

    fn row(key: u16, seq: u32) -> ToldRow {
        ToldRow {
            key: Key::from(format!("k{key:04}")),
            stamp: Stamp {
                ballot: Ballot {
                    epoch: 1,
                    round: 1,
                    member: MemberId(1),
                },
                seq,
            },
            chosen: false,
            summary: None,
        }
    }

    fn told(rows: &BTreeMap<u16, u32>, end: Option<u16>) -> Told {
        let end = end.map(|end| row(end, 0).key);
        let rows = rows.iter().map(|(key, seq)| row(*key, *seq));
        Told {
            rows: rows
                .filter(|row| end.as_ref().is_none_or(|end| row.key < *end))
                .collect(),
            end,
            ..Told::default()
        }
    }

    fn rows() -> impl Strategy<Value = BTreeMap<u16, u32>> {
        // Most are of one stamp, so that most stretches are equal.
        let seq = prop_oneof![9 => Just(1_u32), 1 => 1..4_u32];
        prop::collection::btree_map(0..300_u16, seq, 0..250)
    }

    proptest! {
        #[test]
        fn what_is_left_out_is_put_in_again(
            mine in rows(),
            changes in prop::collection::btree_map(0..300_u16, prop::option::of(2..4_u32), 0..4),
            end in prop::option::of(0..300_u16),
        ) {
            let mut theirs = mine.clone();
            for (key, seq) in changes {
                match seq {
                    Some(seq) => drop(theirs.insert(key, seq)),
                    None => drop(theirs.remove(&key)),
                }
            }
            let (mine, theirs) = (told(&mine, None), told(&theirs, end));
            let known = of(&Key::from_static(b"k"), &mine.rows);
            let sent = theirs.clone().without_same(&known);
            prop_assert_eq!(sent.with_same(&known, &mine.rows), Some(theirs));
        }

        #[test]
        fn stretches_of_somebody_hostile_do_no_harm(
            mine in rows(),
            known in prop::collection::vec((0..300_u16, any::<Sum>()), 0..9),
            same in prop::collection::vec(0..20_u32, 0..9),
        ) {
            let known: Vec<_> = known
                .into_iter()
                .map(|(key, sum)| Stretch { from: row(key, 0).key, sum })
                .collect();
            let mine = told(&mine, None);
            let answer = mine.clone().without_same(&known);
            prop_assert_eq!(&answer.rows, &mine.rows);
            let lying = Told { same, ..mine.clone() };
            if let Some(read) = lying.with_same(&of(&Key::new(), &mine.rows), &mine.rows) {
                prop_assert_eq!(read.rows, mine.rows);
            }
        }
    }

    #[test]
    fn of_equal_rows_none_is_sent_and_of_one_that_differs_its_stretch() {
        let mine: BTreeMap<u16, u32> = (0..200).map(|key| (key, 1)).collect();
        let known = of(&Key::from_static(b"k"), &told(&mine, None).rows);
        assert_eq!(known.len(), 7);
        let equal = told(&mine, None).without_same(&known);
        assert_eq!((equal.rows.len(), equal.same.len()), (0, 7));
        let mut other = mine.clone();
        other.insert(40, 2);
        let differing = told(&other, None).without_same(&known);
        assert_eq!(
            (differing.rows.len(), differing.same),
            (ROWS, vec![0, 2, 3, 4, 5, 6])
        );
    }
}
