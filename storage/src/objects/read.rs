//! Reads a range of an opened object as verified pieces, one step ahead of whoever takes them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::get::OpenedContent;
use crate::StoreError;
use crate::cluster::Opened;
use crate::model::{BlockRef, Content, Manifest};
use crate::seal::BlockOpener;

/// Content read and opened in one go: a reader holds at most two of these.
const STEP_BYTES: u64 = 1 << 20;

/// A range of an object's content as verified pieces of at most 64 KiB, read ahead by at most 1 MiB.
///
/// Dropping it is safe at any time.
pub struct ObjectReader {
    object: Arc<OpenedContent>,
    range: Range<u64>,
    state: State,
}

enum State {
    New,
    Reading {
        steps: Steps,
        ready: VecDeque<Bytes>,
        ahead: Option<JoinHandle<StepResult>>,
    },
    Done,
}

type StepResult = Result<(Opened, BlockRef), StoreError>;

impl ObjectReader {
    pub(super) fn new(object: Arc<OpenedContent>, range: Range<u64>) -> Self {
        let state = if range.is_empty() { State::Done } else { State::New };
        Self { object, range, state }
    }

    /// The next bytes; `None` after the last. After an error the response must be cut off.
    ///
    /// # Errors
    /// A block is missing or damaged.
    pub async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        match self.step().await {
            Ok(piece) => piece.map(Ok),
            Err(error) => {
                self.state = State::Done;
                Some(Err(error))
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            match &mut self.state {
                State::Done => return Ok(None),
                State::New => {
                    if let Content::Inline(bytes) = &self.object.content {
                        let piece = inline(bytes, &self.range)?;
                        self.state = State::Done;
                        return Ok(Some(piece));
                    }
                    let mut steps = Steps::new(self.object.manifest().await?, self.range.clone());
                    let ahead = steps.start(&self.object, None)?;
                    self.state = State::Reading {
                        steps,
                        ready: VecDeque::new(),
                        ahead,
                    };
                }
                State::Reading { steps, ready, ahead } => {
                    if let Some(piece) = ready.pop_front() {
                        return Ok(Some(piece));
                    }
                    let Some(reading) = ahead.as_mut() else {
                        self.state = State::Done;
                        continue;
                    };
                    let (opened, block) = reading.await.map_err(|_| StoreError::Closed)??;
                    *ahead = steps.start(&self.object, Some((block, opened.opener)))?;
                    ready.extend(opened.pieces);
                }
            }
        }
    }
}

fn inline(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes, StoreError> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    if at(range.end) > bytes.len() {
        return Err(StoreError::Damaged(
            "inline content is shorter than its row says".into(),
        ));
    }
    Ok(bytes.slice(at(range.start)..at(range.end)))
}

/// Where in which block the next step reads.
struct Steps {
    manifest: Arc<Manifest>,
    extent: usize,
    block: usize,
    /// Offset in the object at which the block begins.
    block_start: u64,
    range: Range<u64>,
}

impl Steps {
    fn new(manifest: Arc<Manifest>, range: Range<u64>) -> Self {
        Self {
            manifest,
            extent: 0,
            block: 0,
            block_start: 0,
            range,
        }
    }

    /// Starts the next step; `None` after the last.
    fn start(
        &mut self,
        object: &Arc<OpenedContent>,
        last: Option<(BlockRef, Arc<BlockOpener>)>,
    ) -> Result<Option<JoinHandle<StepResult>>, StoreError> {
        let Some((block, range)) = self.next()? else {
            return Ok(None);
        };
        let opener = last
            .filter(|(before, _)| before.id == block.id)
            .map(|(_, opener)| opener);
        let reading = object.clone();
        Ok(Some(object.store.0.tasks.spawn(async move {
            let blocks = reading.store.0.blocks.clone();
            let fetch = move || blocks.fetch(&block, range, opener).map(|opened| (opened, block));
            reading.store.0.disk.run(fetch).await?
        })))
    }

    fn next(&mut self) -> Result<Option<(BlockRef, Range<usize>)>, StoreError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        loop {
            let extent = self.manifest.extents.get(self.extent).ok_or_else(too_short)?;
            let Some(block) = extent.blocks.get(self.block) else {
                self.extent += 1;
                self.block = 0;
                continue;
            };
            let block_end = self.block_start + u64::from(block.bytes);
            if self.range.start >= block_end {
                self.block += 1;
                self.block_start = block_end;
                continue;
            }
            let from = self.range.start - self.block_start;
            // Steps end at multiples of their size, so that no piece is opened twice.
            let to =
                ((from / STEP_BYTES + 1) * STEP_BYTES).min(self.range.end.min(block_end) - self.block_start);
            self.range.start = self.block_start + to;
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            return Ok(Some((block.clone(), at(from)..at(to))));
        }
    }
}

fn too_short() -> StoreError {
    StoreError::Damaged("the manifest is shorter than its object".into())
}
