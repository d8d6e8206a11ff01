//! Brings the index up to the row log at the start, or makes it anew, and finds out whether acknowledged rows are lost.

use std::path::Path;
use std::sync::Arc;

use super::apply::{RecordNote, RowApply};
use super::index::{Index, IndexBatch};
use super::memory_index::MemoryIndex;
use super::record::Record;
use super::tree::TreeIndex;
use super::{KIND_ACCEPT_LOSS, KIND_ROWS};
use crate::disk::DiskError;
use crate::disk::log::{Bodies, Damage, LogOptions, LogWriter, Placed, ScanFrom, Scanned, open_log};
use crate::disk::medium::Medium;

/// Changes written to the index at once while it is replayed.
const BATCH: usize = 2_000;

/// Where the index lives.
#[derive(Clone, Copy)]
pub(crate) enum IndexAt<'a> {
    /// In this directory.
    Directory(&'a Path),
    /// In memory: what an earlier run left, if anything.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        allow(dead_code, reason = "only simulations keep it in memory")
    )]
    Memory(Option<&'a MemoryIndex>),
}

impl IndexAt<'_> {
    fn open(&self) -> Result<Index, DiskError> {
        match self {
            Self::Directory(path) => TreeIndex::open(path).map(Index::Tree),
            Self::Memory(kept) => Ok(Index::Memory(kept.map(MemoryIndex::copy).unwrap_or_default())),
        }
    }

    fn renew(&self) -> Result<Index, DiskError> {
        match self {
            Self::Memory(_) => Ok(Index::Memory(MemoryIndex::default())),
            Self::Directory(path) => {
                TreeIndex::remove(path).map_err(|source| DiskError::Io {
                    directory: path.to_path_buf(),
                    action: "remove row index",
                    source,
                })?;
                self.open()
            }
        }
    }
}

/// A row log ready to be continued.
pub(super) struct Recovered {
    pub(super) writer: LogWriter,
    pub(super) apply: RowApply,
    pub(super) index: Arc<Index>,
    pub(super) rebuilt: bool,
    /// Acknowledged rows that are gone, in the order of the log.
    pub(super) losses: Vec<Damage>,
}

/// Opens the row log and its index.
pub(super) fn recover(
    medium: &Arc<dyn Medium>,
    options: &LogOptions,
    at: &IndexAt<'_>,
) -> Result<Recovered, DiskError> {
    let opened = at
        .open()
        .map(|index| (index.applied(), index.reached_lsn(), index));
    let proven = match opened {
        Ok((Some(applied), reached_lsn, index)) => {
            match replay(medium, options, Arc::new(index), Some(applied), reached_lsn) {
                Ok(recovered) if recovered.losses.is_empty() => return Ok(recovered),
                Ok(_) | Err(DiskError::Damaged(_) | DiskError::Index(_)) => {}
                Err(error) => return Err(error),
            }
            reached_lsn
        }
        Ok((None, reached_lsn, index)) => {
            // It must be closed before it is removed.
            drop(index);
            let recovered = rebuild(medium, options, at, reached_lsn)?;
            // A first run that was killed before it flushed the index has lost none.
            let rebuilt = recovered.rebuilt && (reached_lsn == 0 || !recovered.losses.is_empty());
            return Ok(Recovered { rebuilt, ..recovered });
        }
        Err(error) => {
            tracing::warn!(%error, "row index cannot be used");
            0
        }
    };
    rebuild(medium, options, at, proven)
}

/// Makes the index anew from the whole log.
fn rebuild(
    medium: &Arc<dyn Medium>,
    options: &LogOptions,
    at: &IndexAt<'_>,
    proven: u64,
) -> Result<Recovered, DiskError> {
    if proven > 0 {
        // What the old index proves goes into the log before the index goes: a crash in between must not hide a loss.
        let from = ScanFrom {
            start: None,
            durable_lsn: proven,
            bodies: Bodies::First(0),
        };
        open_log(medium.clone(), options.clone(), from, &mut |_| Ok(()))?;
    }
    let index = Arc::new(at.renew()?);
    let recovered = replay(medium, options, index, None, proven)?;
    // A log without a row needs no index: the first start rebuilds nothing.
    let rebuilt = recovered.index.applied().is_some() || !recovered.losses.is_empty();
    if rebuilt {
        tracing::info!("row index rebuilt from the log");
    }
    Ok(Recovered { rebuilt, ..recovered })
}

fn replay(
    medium: &Arc<dyn Medium>,
    options: &LogOptions,
    index: Arc<Index>,
    start: Option<Placed>,
    durable_lsn: u64,
) -> Result<Recovered, DiskError> {
    let mut replay = Replay {
        apply: RowApply::new(index.clone()),
        batch: IndexBatch::default(),
        index,
        losses: Vec::new(),
        last: None,
        complete_only: start.is_some(),
    };
    let from = ScanFrom {
        start,
        durable_lsn,
        bodies: Bodies::Whole,
    };
    let writer = open_log(medium.clone(), options.clone(), from, &mut |scanned| {
        replay.visit(scanned)
    })?;
    // While a loss is not accepted, the index does not claim to be complete: every start finds the loss again.
    replay.batch.applied = replay.last.filter(|_| replay.losses.is_empty());
    replay.write()?;
    let Replay {
        apply, index, losses, ..
    } = replay;
    Ok(Recovered {
        writer,
        apply,
        index,
        rebuilt: false,
        losses,
    })
}

struct Replay {
    apply: RowApply,
    index: Arc<Index>,
    batch: IndexBatch,
    losses: Vec<Damage>,
    last: Option<Placed>,
    /// The index holds rows already: only a log without damage may be put on top of them.
    complete_only: bool,
}

impl Replay {
    fn visit(&mut self, scanned: Scanned<'_>) -> Result<(), DiskError> {
        if let Scanned::Frame { position, header, .. } = scanned {
            self.last = Some(Placed {
                position,
                lsn: header.lsn,
            });
        }
        match scanned {
            Scanned::Damaged(damage) if self.complete_only => {
                Err(DiskError::Damaged(format!("row log at {:?}", damage.position)))
            }
            Scanned::Damaged(damage) => {
                self.losses.push(damage);
                Ok(())
            }
            Scanned::Frame { header, .. } if header.kind == KIND_ACCEPT_LOSS => {
                self.losses.clear();
                Ok(())
            }
            Scanned::Frame {
                position,
                header,
                body,
            } if header.kind == KIND_ROWS => {
                let placed = Placed {
                    position,
                    lsn: header.lsn,
                };
                let Some(records) = Record::decode_all(body) else {
                    let damage = Damage {
                        position,
                        first_lsn: header.lsn,
                        last_lsn: header.lsn,
                    };
                    return self.visit(Scanned::Damaged(damage));
                };
                let notes = records
                    .iter()
                    .map(|(at, len, record)| RecordNote::of_record(*at, *len, record));
                self.apply.add(&placed, notes.collect(), &mut self.batch);
                match self.batch.changes.len() {
                    0..BATCH => Ok(()),
                    _ => self.write(),
                }
            }
            Scanned::Frame { header, .. } => Err(DiskError::Damaged(format!(
                "frame of unknown kind {} in the row log",
                header.kind
            ))),
        }
    }

    fn write(&mut self) -> Result<(), DiskError> {
        self.index.write(std::mem::take(&mut self.batch))
    }
}
