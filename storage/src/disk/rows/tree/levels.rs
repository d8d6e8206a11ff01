//! Which tables there are, and which to merge next.
//!
//! A flush adds a table to the fresh ones, each of which may hold any key. The tables of a level follow one another,
//! and each level may have ten times the bytes of the one above. A row stands at most once in a level, and the version
//! in a higher level is the newer one.

use std::cmp::Reverse;

use super::table::TableNumber;

/// So many fresh tables are merged: each is one more place to look for a row.
const FRESH_MAX: usize = 4;
/// So many are merged when nobody writes. Each stands for up to 32 MiB of the row log, so writing the first level again
/// for two costs no more than the log did.
const FRESH_MAX_QUIET: usize = 2;
/// Fresh tables with so many bytes are merged: a quarter of the level they are merged into.
const FRESH_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the first level.
const LEVEL_BYTES: u64 = 64 << 20;
/// How many times the bytes of a level the next one may have.
const LEVEL_RATIO: u64 = 10;
/// Bytes of a table of the first level, doubled from level to level: few files in a large index, small steps in a
/// small one, and rows that are overwritten again and again cost no more than the merging of one table.
const TABLE_BYTES: u64 = 16 << 20;
/// Levels at most: the last would have 64 TB.
pub(super) const LEVELS_MAX: usize = 7;

/// What happens to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Rows are being written.
    Busy,
    /// Nobody has written for a while.
    Quiet,
}

/// What a decision must know of a table.
pub(super) trait Spans {
    /// Its number.
    fn number(&self) -> TableNumber;
    /// Its bytes.
    fn bytes(&self) -> u64;
    /// Its first and its last key.
    fn keys(&self) -> (&[u8], &[u8]);
}

/// The tables of an index.
#[derive(Clone, Debug)]
pub(super) struct Levels<T> {
    /// Newest first.
    pub(super) fresh: Vec<T>,
    /// Tables in key order, level by level.
    pub(super) levels: Vec<Vec<T>>,
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self {
            fresh: Vec::new(),
            levels: Vec::new(),
        }
    }
}

/// Tables to merge into a level.
#[derive(Clone, Debug)]
pub(super) struct Merge<T> {
    /// Fresh tables, newest first, each a source of its own.
    pub(super) fresh: Vec<T>,
    /// Tables of the level above that follow one another.
    pub(super) upper: Vec<T>,
    /// Tables of the level itself that overlap them.
    pub(super) lower: Vec<T>,
    /// The level, from 0.
    pub(super) level: usize,
    /// Whether nothing older than these tables may hold their rows, so that none need be kept as forgotten.
    pub(super) oldest: bool,
}

impl<T: Spans + Clone> Merge<T> {
    /// All tables that are merged.
    pub(super) fn tables(&self) -> impl Iterator<Item = &T> {
        self.fresh.iter().chain(&self.upper).chain(&self.lower)
    }

    /// Whether the tables may go to the level as they are.
    pub(super) fn is_move(&self) -> bool {
        self.fresh.is_empty() && self.lower.is_empty() && !self.oldest
    }
}

/// Bytes of a level's tables.
pub(super) fn table_bytes(level: usize) -> u64 {
    TABLE_BYTES << level.min(LEVELS_MAX)
}

fn level_bytes_max(level: usize) -> u64 {
    let exponent = u32::try_from(level).unwrap_or(u32::MAX);
    LEVEL_BYTES.saturating_mul(LEVEL_RATIO.saturating_pow(exponent))
}

impl<T: Spans + Clone> Levels<T> {
    /// All tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &T> {
        self.fresh.iter().chain(self.levels.iter().flatten())
    }

    /// The merge that is due, if any.
    pub(super) fn next_merge(&self, writers: Writers) -> Option<Merge<T>> {
        let fresh_max = match writers {
            Writers::Busy => FRESH_MAX,
            Writers::Quiet => FRESH_MAX_QUIET,
        };
        let bytes = |tables: &[T]| tables.iter().map(T::bytes).sum::<u64>();
        if self.fresh.len() >= fresh_max || bytes(&self.fresh) >= FRESH_BYTES_MAX {
            return Some(self.merge(self.fresh.clone(), Vec::new(), 0));
        }
        let (level, tables) = self
            .levels
            .iter()
            .enumerate()
            .take(LEVELS_MAX - 1)
            .find(|(level, tables)| bytes(tables) > level_bytes_max(*level))?;
        let none = Vec::new();
        let below = self.levels.get(level + 1).unwrap_or(&none);
        // What moves the most bytes for those that are written again: tables beside which nothing lies move for free.
        let table = tables.iter().min_by_key(|table| {
            let written = bytes(overlapping(below, table.keys()));
            (written * 1000 / table.bytes().max(1), Reverse(table.bytes()))
        })?;
        Some(self.merge(Vec::new(), vec![table.clone()], level + 1))
    }

    fn merge(&self, fresh: Vec<T>, upper: Vec<T>, level: usize) -> Merge<T> {
        let keys = span(fresh.iter().chain(&upper));
        let overlapped = |tables: &[T]| keys.map_or(Vec::new(), |keys| overlapping(tables, keys).to_vec());
        let lower = self
            .levels
            .get(level)
            .map_or(Vec::new(), |tables| overlapped(tables));
        // The tables of the level may reach further than those that are merged into it.
        let whole = span(fresh.iter().chain(&upper).chain(&lower));
        let deeper = self.levels.iter().skip(level + 1);
        let oldest = whole.is_none_or(|keys| {
            let mut deeper = deeper;
            deeper.all(|tables| overlapping(tables, keys).is_empty())
        });
        Merge {
            fresh,
            upper,
            lower,
            level,
            oldest,
        }
    }

    /// The tables when a merge is done, whatever was added meanwhile.
    pub(super) fn merged(&self, merge: &Merge<T>, into: Vec<T>) -> Self {
        let stays = |table: &&T| merge.tables().all(|gone| gone.number() != table.number());
        let staying = |tables: &Vec<T>| tables.iter().filter(stays).cloned().collect::<Vec<T>>();
        let mut levels: Vec<Vec<T>> = self.levels.iter().map(staying).collect();
        while levels.len() <= merge.level {
            levels.push(Vec::new());
        }
        levels[merge.level].extend(into);
        levels[merge.level].sort_by(|a, b| a.keys().cmp(&b.keys()));
        while levels.last().is_some_and(Vec::is_empty) {
            levels.pop();
        }
        Self {
            fresh: staying(&self.fresh),
            levels,
        }
    }
}

/// The first and the last key of all.
fn span<'a, T: Spans + 'a>(tables: impl Iterator<Item = &'a T>) -> Option<(&'a [u8], &'a [u8])> {
    tables
        .map(T::keys)
        .reduce(|(first, last), (other_first, other_last)| (first.min(other_first), last.max(other_last)))
}

/// Of tables in key order, those that have keys between two.
fn overlapping<'a, T: Spans>(tables: &'a [T], (first, last): (&[u8], &[u8])) -> &'a [T] {
    let from = tables.partition_point(|table| table.keys().1 < first);
    let to = tables.partition_point(|table| table.keys().0 <= last);
    tables.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A table of a simulated index: rows with the time they were set, forgotten ones negative.
    #[derive(Clone, Debug)]
    struct Model {
        number: TableNumber,
        rows: Vec<([u8; 2], i64)>,
    }

    /// Bytes of a row, so that a few hundred make several levels.
    const ROW: u64 = 1 << 20;

    impl Spans for Model {
        fn number(&self) -> TableNumber {
            self.number
        }
        fn bytes(&self) -> u64 {
            self.rows.len() as u64 * ROW
        }
        fn keys(&self) -> (&[u8], &[u8]) {
            (&self.rows[0].0, &self.rows[self.rows.len() - 1].0)
        }
    }

    fn newest(tables: &[&Model]) -> std::collections::BTreeMap<[u8; 2], i64> {
        let mut rows = std::collections::BTreeMap::new();
        for table in tables {
            for (key, set) in &table.rows {
                rows.entry(*key).or_insert(*set);
            }
        }
        rows
    }

    fn do_merge(merge: &Merge<Model>, next: &mut TableNumber) -> Vec<Model> {
        let sources: Vec<_> = merge.tables().collect();
        let mut rows: Vec<_> = newest(&sources).into_iter().collect();
        if merge.oldest {
            rows.retain(|(_, set)| *set > 0);
        }
        let per_table = usize::try_from(table_bytes(merge.level) / ROW).unwrap();
        let table = |rows: &[([u8; 2], i64)]| {
            *next += 1;
            Model {
                number: *next,
                rows: rows.to_vec(),
            }
        };
        rows.chunks(per_table).map(table).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn merging_keeps_the_newest_version_of_each_row_and_the_levels_in_order(
            flushes in prop::collection::vec(
                prop::collection::btree_map(0..600_u16, any::<bool>(), 1..30), 1..80),
            flush_meanwhile: bool,
        ) {
            let (mut levels, mut next, mut truth) = (Levels::<Model>::default(), 0, std::collections::BTreeMap::new());
            for (time, flush) in (1..).zip(flushes) {
                next += 1;
                let set = |(key, live): (u16, bool)| (key.to_be_bytes(), if live { time } else { -time });
                let table = Model { number: next, rows: flush.into_iter().map(set).collect() };
                truth.extend(table.rows.iter().copied());
                let mut waiting = Some(table);
                if !flush_meanwhile {
                    levels.fresh.insert(0, waiting.take().unwrap());
                }
                while let Some(merge) = levels.next_merge(Writers::Busy) {
                    let into = if merge.is_move() { merge.upper.clone() } else { do_merge(&merge, &mut next) };
                    if let Some(table) = waiting.take() {
                        levels.fresh.insert(0, table);
                    }
                    levels = levels.merged(&merge, into);
                }
                levels.fresh.splice(0..0, waiting);
                for tables in &levels.levels {
                    let ordered = tables.windows(2).all(|pair| pair[0].keys().1 < pair[1].keys().0);
                    prop_assert!(ordered);
                }
                let all: Vec<_> = levels.tables().collect();
                let mut found = newest(&all);
                found.retain(|_, set| *set > 0);
                let mut expected = truth.clone();
                expected.retain(|_, set| *set > 0);
                prop_assert_eq!(found, expected);
            }
            prop_assert!(levels.fresh.len() <= FRESH_MAX);
        }
    }

    fn table(number: TableNumber, keys: std::ops::Range<u16>) -> Model {
        let rows = keys.map(|key| (key.to_be_bytes(), 1)).collect();
        Model { number, rows }
    }

    #[test]
    fn a_level_that_is_too_large_gives_what_costs_least() {
        let levels = Levels {
            fresh: Vec::new(),
            levels: vec![
                vec![table(1, 0..40), table(2, 100..140)],
                vec![table(3, 0..10), table(4, 20..30), table(5, 200..210)],
            ],
        };
        let merge = levels.next_merge(Writers::Busy).unwrap();
        assert_eq!(merge.tables().map(|table| table.number).collect::<Vec<_>>(), [2]);
        assert_eq!((merge.level, merge.oldest), (1, true));
        assert!(
            levels
                .merged(&merge, merge.upper.clone())
                .next_merge(Writers::Quiet)
                .is_none()
        );
    }

    #[test]
    fn fresh_tables_are_merged_sooner_when_nobody_writes() {
        let fresh = vec![table(2, 0..3), table(1, 0..3)];
        let levels = Levels {
            fresh,
            levels: Vec::new(),
        };
        assert!(levels.next_merge(Writers::Busy).is_none());
        let merge = levels.next_merge(Writers::Quiet).unwrap();
        assert_eq!((merge.fresh.len(), merge.level), (2, 0));
        let merged = levels.merged(&merge, vec![table(3, 0..3)]);
        assert!(merged.next_merge(Writers::Quiet).is_none());
    }

    #[test]
    fn a_forgotten_row_stays_known_while_an_older_version_may_lie_deeper() {
        let mut levels = Levels {
            fresh: vec![table(9, 5..10), table(8, 0..3), table(7, 0..3), table(6, 0..3)],
            levels: vec![vec![table(1, 0..20)], vec![table(2, 15..30)]],
        };
        assert!(
            !levels.next_merge(Writers::Busy).unwrap().oldest,
            "within the tables merged into"
        );
        levels.levels[1] = vec![table(2, 20..30)];
        assert!(levels.next_merge(Writers::Busy).unwrap().oldest);
        assert_eq!(levels.next_merge(Writers::Busy).unwrap().lower.len(), 1);
    }
}
