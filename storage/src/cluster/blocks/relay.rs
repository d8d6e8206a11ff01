//! Has a block passed on by one of those it is sent to, and passes on what others send here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::holders::Holders;
use super::route::Route;
use super::wire::{self, Held, Pair};
use super::{BLOCK_PATIENCE, Blocks};
use crate::model::{BlockId, MemberId};

/// How long passing on is given before it is looked for the first time; the second and third time it is twice as long.
const FIRST_LOOK: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(8);
const LOOKS: u32 = 3;

impl Route {
    /// The call that stores a block at all this route goes to.
    pub(super) fn call(&self, version: u64, pair: Pair, sealed: &[u8]) -> Bytes {
        match self.via {
            Some(via) => wire::relay(version, pair, (via, &self.passed), sealed),
            None => wire::put(version, pair, sealed),
        }
    }
}

impl Blocks {
    /// By which way a block of so many bytes goes to all who are wanted to hold it.
    pub(super) fn route(&self, holders: &Holders, id: &BlockId, bytes: usize) -> Route {
        let wanted = holders.wanted(id);
        let zones: BTreeMap<_, _> = wanted
            .iter()
            .map(|member| (*member, holders.zone(*member)))
            .collect();
        let connected = self.connected(&wanted);
        let home = holders.zone(self.me());
        Route::plan(
            (self.me(), &home),
            (wanted, &zones),
            &connected,
            &self.answering(),
            bytes >= self.0.around.relayed_min,
        )
    }

    /// Sends a call that stores a block, as it came, to those it is to be passed on to, if that keeps up with what comes:
    /// whoever sent it looks whether it arrives.
    pub(super) fn pass_on(&self, call: &Bytes, id: &BlockId, to: &[MemberId]) {
        let wanted = self.holders().wanted(id);
        // Each once, however often a caller names it.
        let to: BTreeSet<MemberId> = to
            .iter()
            .copied()
            .filter(|member| *member != self.me() && wanted.contains(member))
            .collect();
        let to = self.connected(&Vec::from_iter(to));
        if to.is_empty() {
            return;
        }
        let place = self.0.relaying.clone().try_acquire_owned();
        let (Ok(place), Some(room)) = (place, self.room_now(call.len())) else {
            return;
        };
        let (this, call) = (self.clone(), call.clone());
        self.0.around.tasks.spawn(async move {
            let sending = to
                .into_iter()
                .map(|member| this.ask(member, call.clone(), BLOCK_PATIENCE));
            let stop = &this.0.around.stop;
            drop(stop.run_until_cancelled(join_all(sending)).await);
            drop((place, room));
        });
    }

    /// Waits until a block has been passed on to all of these; whether it has. Sending it to whoever was to pass it on
    /// `took` so long.
    pub(super) async fn is_passed_on(&self, pair: Pair, mut to: Vec<MemberId>, took: Duration) -> bool {
        let mut wait = took.clamp(*FIRST_LOOK.start(), *FIRST_LOOK.end());
        for _ in 0..LOOKS {
            if to.is_empty()
                || self
                    .0
                    .around
                    .stop
                    .run_until_cancelled(sleep(wait))
                    .await
                    .is_none()
            {
                break;
            }
            wait *= 2;
            let version = self.holders().version();
            let asking = to
                .iter()
                .map(|member| self.share_at(*member, version, std::slice::from_ref(&pair)));
            let mut answers = join_all(asking).await.into_iter();
            to.retain(|_| !matches!(answers.next(), Some(Some((_, each))) if each == [Held::Yes]));
        }
        to.is_empty()
    }
}
