//! Keeps in memory, opened, what was read lately: reading it again costs neither disk nor decryption.
//!
//! Nothing here can be stale: rows are kept under the name of one content ([`RowId`]), which a reader learns from the
//! index each time, and blocks under their hash. The policy and the bounds are `quick_cache`'s, the cache that the row
//! index uses too; what nobody reads for a while is dropped, so that an idle box is a small one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio_util::sync::CancellationToken;

use crate::disk::RowId;
use crate::model::BlockId;

/// The share of the cache that rows may take: about 20,000 rows with a KiB of content in 32 MiB, each of which costs an
/// eighth of its GET to read and open again.
const ROWS_SHARE: u64 = 16;
/// What an entry costs beside its content.
const OVERHEAD: u64 = 512;
/// Content that nobody has read for so long is dropped.
const IDLE: Duration = Duration::from_secs(60);

/// Which part of which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StepId {
    pub(crate) block: BlockId,
    /// Offset of the step in the content of the block.
    pub(crate) start: u32,
}

/// Rows of type `R` and steps of blocks that were read lately.
pub(crate) struct Hot<R> {
    rows: Cache<RowId, R, RowWeight>,
    steps: Cache<StepId, Vec<Bytes>, StepWeight>,
    touched: AtomicBool,
}

/// Says how many bytes of content a row holds.
pub(crate) trait Weigh: Clone {
    fn bytes(&self) -> u64;
}

#[derive(Clone)]
struct RowWeight;

impl<R: Weigh> Weighter<RowId, R> for RowWeight {
    fn weight(&self, _: &RowId, row: &R) -> u64 {
        row.bytes() + OVERHEAD
    }
}

#[derive(Clone)]
struct StepWeight;

impl Weighter<StepId, Vec<Bytes>> for StepWeight {
    fn weight(&self, _: &StepId, pieces: &Vec<Bytes>) -> u64 {
        pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() + OVERHEAD
    }
}

impl<R: Weigh> Hot<R> {
    /// Keeps at most so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let rows = bytes_max / ROWS_SHARE;
        let steps = bytes_max - rows;
        Self {
            rows: Cache::with_weighter(estimate(rows / 2048), rows, RowWeight),
            steps: Cache::with_weighter(estimate(steps >> 19), steps, StepWeight),
            touched: AtomicBool::new(false),
        }
    }

    pub(crate) fn row(&self, id: RowId) -> Option<R> {
        self.rows.get(&id)
    }

    pub(crate) fn keep_row(&self, id: RowId, row: R) {
        self.touch();
        self.rows.insert(id, row);
    }

    pub(crate) fn step(&self, id: StepId) -> Option<Vec<Bytes>> {
        self.touch();
        self.steps.get(&id)
    }

    pub(crate) fn keep_step(&self, id: StepId, pieces: Vec<Bytes>) {
        self.steps.insert(id, pieces);
    }

    /// Drops everything whenever nothing was read between two looks, until stopped.
    pub(crate) async fn cool(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(IDLE)).await.is_some() {
            if !self.touched.swap(false, Ordering::Relaxed) {
                self.rows.clear();
                self.steps.clear();
            }
        }
    }

    fn touch(&self) {
        // A plain store on every read would make the cores fight for the line.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }
}

fn estimate(entries: u64) -> usize {
    usize::try_from(entries.clamp(16, 65_536)).unwrap_or(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for u64 {
        fn bytes(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn it_never_keeps_more_than_it_may() {
        let hot = Hot::<u64>::new(16 << 20);
        for number in 0..100 {
            let block = BlockId([number; 32]);
            hot.keep_step(
                StepId { block, start: 0 },
                vec![Bytes::from(vec![number; 1 << 20])],
            );
        }
        assert!(hot.steps.weight() <= 15 << 20);
        let kept = (0..100).filter(|number| {
            hot.step(StepId {
                block: BlockId([*number; 32]),
                start: 0,
            })
            .is_some()
        });
        assert!((1..=15).contains(&kept.count()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_is_dropped() {
        let hot = std::sync::Arc::new(Hot::<u64>::new(16 << 20));
        let id = StepId {
            block: BlockId([1; 32]),
            start: 0,
        };
        hot.keep_step(id, vec![Bytes::from_static(b"content")]);
        assert!(hot.step(id).is_some());
        let stop = CancellationToken::new();
        let (cooling, stopped) = (hot.clone(), stop.clone());
        let task = tokio::spawn(async move { cooling.cool(stopped).await });
        tokio::time::sleep(IDLE * 3).await;
        stop.cancel();
        task.await.unwrap();
        assert!(hot.step(id).is_none());
    }
}
