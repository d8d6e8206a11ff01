//! Reads a range of an opened object as verified pieces, one step ahead of whoever takes them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::get::{OpenedContent, OpenedVersion};
use crate::StoreError;
use crate::cluster::{Opened, StepId};
use crate::model::{BlockRef, Content, Extent, Manifest, WriteId};
use crate::seal::BlockOpener;

/// Content read and opened in one go: a reader holds at most two of these.
const STEP_BYTES: usize = 1 << 20;

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
        ahead: Option<Ahead>,
    },
    Done,
}

/// The step behind the one that is being taken.
enum Ahead {
    /// It was in memory.
    Hot(Vec<Bytes>),
    /// It is being read.
    Reading(JoinHandle<Result<Step, StoreError>>),
}

/// A step that was read, and what makes the next one in the same block cheaper.
struct Step {
    opened: Opened,
    block: BlockRef,
}

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
                    if let Content::Inline(bytes) = &self.object.version.content {
                        let piece = inline(bytes, &self.range)?;
                        self.state = State::Done;
                        return Ok(Some(piece));
                    }
                    let mut steps = Steps::new(Blocks::of(&self.object).await?, self.range.clone());
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
                    let (pieces, last) = match ahead.as_mut() {
                        None => {
                            self.state = State::Done;
                            continue;
                        }
                        Some(Ahead::Hot(pieces)) => (std::mem::take(pieces), None),
                        Some(Ahead::Reading(reading)) => {
                            let Step { opened, block } = reading.await.map_err(|_| StoreError::Closed)??;
                            (opened.pieces, Some((block, opened.opener)))
                        }
                    };
                    *ahead = steps.start(&self.object, last)?;
                    ready.extend(pieces);
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

/// The blocks of an object: in its row, or in a manifest of its own.
enum Blocks {
    InRow(Arc<OpenedVersion>),
    Long(Arc<Manifest>),
}

impl Blocks {
    async fn of(object: &Arc<OpenedContent>) -> Result<Self, StoreError> {
        Ok(match &object.version.content {
            Content::Blocks(_) => Self::InRow(object.version.clone()),
            Content::Inline(_) | Content::Long { .. } => Self::Long(object.manifest().await?),
        })
    }

    fn extents(&self) -> &[Extent] {
        match self {
            Self::Long(manifest) => &manifest.extents,
            Self::InRow(version) => match &version.content {
                Content::Blocks(manifest) => &manifest.extents,
                Content::Inline(_) | Content::Long { .. } => &[],
            },
        }
    }
}

/// Where in which block the next step reads.
struct Steps {
    blocks: Blocks,
    extent: usize,
    block: usize,
    /// Offset in the object at which the block begins.
    block_start: u64,
    range: Range<u64>,
}

impl Steps {
    fn new(blocks: Blocks, range: Range<u64>) -> Self {
        Self {
            blocks,
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
    ) -> Result<Option<Ahead>, StoreError> {
        let Some((write, block, range)) = self.next()? else {
            return Ok(None);
        };
        // Before anything is looked for in memory: what is sealed for a customer is nobody else's there either.
        let block = object.unmasked(block)?;
        let whole = whole_step(&block, range.start);
        let id = StepId {
            block: block.id,
            start: u32::try_from(whole.start).unwrap_or(u32::MAX),
        };
        if let Some(pieces) = object.store.0.hot.step(id) {
            return Ok(Some(Ahead::Hot(cut(
                pieces,
                range.start - whole.start..range.end - whole.start,
            ))));
        }
        let opener = last
            .filter(|(before, _)| before.id == block.id)
            .map(|(_, opener)| opener);
        let reading = object.clone();
        Ok(Some(Ahead::Reading(object.store.0.tasks.spawn(async move {
            let (inner, owner) = (&reading.store.0, reading.version.owner(write)?);
            let opened = inner.blocks.fetch(owner, &block, range.clone(), opener).await?;
            if range == whole {
                inner.hot.keep_step(id, opened.pieces.clone());
            }
            Ok(Step { opened, block })
        }))))
    }

    fn next(&mut self) -> Result<Option<(WriteId, BlockRef, Range<usize>)>, StoreError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        loop {
            let extent = self.blocks.extents().get(self.extent).ok_or_else(too_short)?;
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
            let from = usize::try_from(self.range.start - self.block_start).unwrap_or(usize::MAX);
            let wanted = usize::try_from(self.range.end - self.block_start).unwrap_or(usize::MAX);
            // A step never crosses a multiple of its size, so that no piece is opened twice.
            let to = whole_step(block, from).end.min(wanted);
            self.range.start = self.block_start + to as u64;
            return Ok(Some((extent.write, block.clone(), from..to)));
        }
    }
}

/// The whole step of a block's content in which an offset lies.
fn whole_step(block: &BlockRef, offset: usize) -> Range<usize> {
    let start = offset / STEP_BYTES * STEP_BYTES;
    start..(start + STEP_BYTES).min(block.bytes as usize)
}

/// The pieces of a range within the pieces of a step.
fn cut(pieces: Vec<Bytes>, range: Range<usize>) -> Vec<Bytes> {
    let mut start = 0;
    let mut inside = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = start + piece.len();
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            inside.push(piece.slice(from - start..to - start));
        }
        start = end;
    }
    inside
}

fn too_short() -> StoreError {
    StoreError::Damaged("the manifest is shorter than its object".into())
}
