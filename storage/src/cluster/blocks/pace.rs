//! When a worker that could not do everything tries again: soon at first, then ever later, and at once when somebody comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Blocks;
use crate::StoreError;
use crate::cluster::registers::Bell;
use crate::model::MemberId;

/// The first wait after something could not be done.
const FIRST: Duration = Duration::from_secs(1);
/// How often it is looked who is here.
const LOOK: Duration = Duration::from_secs(2);

/// What one pass of a worker came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Nothing is left.
    Clean,
    /// Something is left that could not be done now.
    Left,
}

/// The waits of one worker.
pub(super) struct Pace {
    bell: Bell,
    most: Duration,
    wait: Duration,
    here: BTreeSet<MemberId>,
}

impl Pace {
    /// Of a worker that `bell` wakes while nothing is left, and that rests at most so long while something is.
    pub(super) fn new(bell: Bell, most: Duration) -> Self {
        Self {
            bell,
            most,
            wait: Duration::ZERO,
            here: BTreeSet::new(),
        }
    }

    /// Works until stopped: one pass after another, with a rest after each.
    pub(super) async fn work<P>(mut self, blocks: &Blocks, stop: CancellationToken, pass: impl Fn() -> P)
    where
        P: Future<Output = Result<Pass, StoreError>>,
    {
        while let Some(passed) = stop.run_until_cancelled(pass()).await {
            let passed = passed.unwrap_or_else(|error| {
                debug!(%error, "not everything could be done");
                Pass::Left
            });
            if !self.rest(blocks, passed, &stop).await {
                return;
            }
        }
    }

    /// Waits until it is time for another pass; false when the worker is to stop.
    async fn rest(&mut self, blocks: &Blocks, pass: Pass, stop: &CancellationToken) -> bool {
        let resting = async {
            match pass {
                Pass::Clean => {
                    self.wait = Duration::ZERO;
                    drop(timeout(LOOK, self.bell.heard()).await);
                }
                Pass::Left => {
                    self.wait = (self.wait * 2).clamp(FIRST, self.most);
                    self.wait_for_somebody(blocks).await;
                }
            }
        };
        stop.run_until_cancelled(resting).await.is_some()
    }

    async fn wait_for_somebody(&mut self, blocks: &Blocks) {
        let mut left = self.wait;
        loop {
            let here: BTreeSet<MemberId> = blocks.connected(&blocks.holders().others()).into_iter().collect();
            let is_new = !here.is_subset(&self.here);
            self.here = here;
            if is_new {
                self.wait = Duration::ZERO;
                return;
            }
            if left.is_zero() {
                return;
            }
            let look = left.min(LOOK);
            sleep(look).await;
            left -= look;
        }
    }
}
