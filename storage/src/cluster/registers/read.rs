//! Linearizable reads: of this disk alone where it decides alone, else of the nearest quorum.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::wire::{Call, Reaction};
use super::{DEADLINE, Machine, Registers, back_off};
use crate::StoreError;
use crate::model::MemberId;
use crate::register::{Broken, Configs, Epoch, Key, Nonce, Purpose, ReadEffect, Reader, Reply, Request, Row};

/// After so long without a quorum everybody else is asked, and an unfinished write is helped along. Each time it takes twice
/// as long: on a link that is full, asking again and again makes it fuller, and every answer carries a row.
const HURRY: Duration = Duration::from_millis(100);
const HURRY_MAX: Duration = Duration::from_secs(2);
/// No client waits for what brings members up to date, a thousand rows at once.
const HURRY_TO_TEACH: Duration = Duration::from_secs(1);

/// What came of one attempt to read.
enum Read {
    Found(Row),
    /// Somebody is in a newer epoch, or holds a newer ballot: once more, a little later.
    Again,
}

impl<M: Machine> Registers<M> {
    /// Whether this member alone decides over a partition, so that its own disk is the truth.
    pub(crate) fn is_sole(&self, partition: u16) -> bool {
        self.0.memories.is_whole() && self.partition(partition).is_sole()
    }

    /// The row of a register, linearizably.
    ///
    /// # Errors
    /// `Unavailable`: no quorum in time. The disk fails.
    pub(crate) async fn read(&self, partition: u16, key: &Key) -> Result<Row, StoreError> {
        self.read_for(partition, key, Purpose::Answer).await
    }

    /// As [`Self::read`], and brings every member up to date.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn read_for(
        &self,
        partition: u16,
        key: &Key,
        purpose: Purpose,
    ) -> Result<Row, StoreError> {
        self.0.memories.check().await?;
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        loop {
            if let Read::Found(row) = self.attempt(partition, key, purpose).await? {
                // What was learned meanwhile counts against what this member told itself.
                self.0.memories.check().await?;
                return Ok(row);
            }
            tries += 1;
            let wait = back_off(tries);
            if Instant::now() + wait >= deadline {
                return Err(StoreError::Unavailable);
            }
            sleep(wait).await;
        }
    }

    async fn attempt(&self, partition: u16, key: &Key, purpose: Purpose) -> Result<Read, StoreError> {
        let (epoch, configs, members) = self.whom_to_ask(partition);
        let nonce = Nonce::from_le_bytes(crate::seal::random());
        let (mut reader, mut effects) =
            Reader::begin((key.clone(), epoch, purpose), members, nonce, Broken::NOTHING);
        let mut calls = FuturesUnordered::new();
        let give_up = Instant::now() + DEADLINE / 4;
        let (mut found, mut answered) = (None, None);
        let mut hurry = match purpose {
            Purpose::Answer => HURRY,
            Purpose::Teach => HURRY_TO_TEACH,
        };
        loop {
            for effect in effects {
                match effect {
                    ReadEffect::Send { to, request } => calls.push(self.ask(partition, to, request)),
                    ReadEffect::Found(row) => found = Some(row),
                    ReadEffect::NewerEpoch(_) => {
                        if let Some(answered) = answered {
                            self.hear_epochs_of(answered);
                        }
                        return Ok(Read::Again);
                    }
                    ReadEffect::AskHolder(_) => {
                        self.confirm(partition, key).await?;
                        return Ok(Read::Again);
                    }
                }
            }
            match (&found, purpose) {
                (Some(row), Purpose::Answer) => return Ok(Read::Found(row.clone())),
                // Teaching goes on for those who answer at once; for others there is another day.
                (Some(row), Purpose::Teach) if calls.is_empty() => return Ok(Read::Found(row.clone())),
                _ => {}
            }
            effects = match timeout(hurry, calls.next()).await {
                Ok(Some((from, Some(reply)))) => {
                    answered = Some(from);
                    reader.reply(&configs, from, reply)
                }
                Ok(Some((_, None))) => Vec::new(),
                Ok(None) | Err(_) if Instant::now() >= give_up => {
                    return Ok(found.map_or(Read::Again, Read::Found));
                }
                Ok(None) => {
                    sleep(hurry).await;
                    hurry = (hurry * 2).min(HURRY_MAX);
                    reader.hurry(&configs)
                }
                Err(_) => {
                    hurry = (hurry * 2).min(HURRY_MAX);
                    reader.hurry(&configs)
                }
            };
        }
    }

    /// The epoch to read in, and the nearest quorum of its members, this one first.
    fn whom_to_ask(&self, partition: u16) -> (Epoch, Configs, Vec<MemberId>) {
        let (epoch, configs, config) = {
            let partition = self.partition(partition);
            (partition.epoch(), partition.configs().clone(), partition.config())
        };
        let Some(config) = config else {
            return (epoch, configs, Vec::new());
        };
        let others: Vec<_> = config
            .members()
            .into_iter()
            .filter(|member| *member != self.0.me)
            .collect();
        let mut asked = Vec::new();
        if config.members().contains(&self.0.me) {
            asked.push(self.0.me);
        }
        for member in self.0.peers.nearest(&others) {
            if config.is_quorum(&asked.iter().copied().collect()) {
                break;
            }
            asked.push(member);
        }
        (epoch, configs, asked)
    }

    async fn ask(&self, partition: u16, to: MemberId, request: Request) -> (MemberId, Option<Reply>) {
        let requests = vec![(partition, request)];
        if to == self.0.me {
            let this = self.clone();
            let replies = self.finish(async move { this.requests(requests).await }).await;
            let replies = replies.unwrap_or_default();
            return (to, replies.into_iter().next().flatten());
        }
        match self.exchange(to, &Call::Requests(requests)).await {
            Some(Reaction::Replies(replies)) => (to, replies.into_iter().next().flatten()),
            Some(_) | None => (to, None),
        }
    }
}
