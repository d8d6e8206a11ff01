//! Operations: done by this member where it holds the partition or nobody does, else through whoever holds it.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::silence::GivenUp;
use super::wire::{Call, Reaction};
use super::{DEADLINE, Done, Machine, RESEND, RESEND_MAX, ROOM, Registers, Task, back_off};
use crate::StoreError;
use crate::model::MemberId;
use crate::register::{Answer, Ballot, Event, Key, OpId, Operation};

impl<M: Machine> Registers<M> {
    /// Does an operation: by itself where it holds the partition or nobody does, else through whoever holds it. Tried again
    /// under the same name until it is known to be done; given another where nothing was, nor will be, done under that. Must
    /// run to its end: see [`Tasks`].
    ///
    /// # Errors
    /// `Unavailable`: no quorum in time; whether it is done is not known. The disk fails or is full.
    pub(crate) async fn submit(
        &self,
        partition: u16,
        operation: Operation<M::Command>,
    ) -> Result<M::Outcome, StoreError> {
        let Operation {
            id,
            is_retry,
            lane,
            keys,
            ranges,
            command,
        } = operation;
        let task = Operation {
            id,
            is_retry,
            lane,
            keys,
            ranges,
            command: Task::Command(command),
        };
        self.run(partition, task).await?.ok_or(StoreError::Unavailable)
    }

    /// Has a quorum accept what stands in a row.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub(super) async fn confirm(&self, partition: u16, key: &Key) -> Result<(), StoreError> {
        let task = Operation {
            // It changes nothing, so it may be done again at any time, and no row remembers it.
            id: OpId(crate::seal::random()).later_than(u64::MAX),
            is_retry: false,
            lane: M::lane_of(key),
            keys: vec![key.clone()],
            ranges: Vec::new(),
            command: Task::Confirm,
        };
        let this = self.clone();
        self.finish(async move { this.run(partition, task).await })
            .await
            .map(drop)
    }

    async fn run(
        &self,
        partition: u16,
        mut operation: Operation<Task<M::Command>>,
    ) -> Result<Done<M>, StoreError> {
        self.0.memories.check().await?;
        let newest = self.0.newest.load(Ordering::Relaxed);
        if operation.id.began() <= newest {
            operation.id = operation.id.later_than(newest);
        }
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        let (mut given_up, mut turned_away) = (GivenUp::default(), 0);
        loop {
            let (holder, asked) = (self.holder_elsewhere(partition, &given_up), Instant::now());
            let answer = match holder {
                Some((holder, _)) => self.forward(partition, holder, operation.clone()).await,
                None => match self.decide(partition, operation.clone(), deadline).await {
                    Ok(answer) => Some(answer),
                    // Whatever stops this attempt, an earlier one may have happened.
                    Err(_) if operation.is_retry => return Err(StoreError::Unavailable),
                    Err(error) => return Err(error),
                },
            };
            match answer {
                Some(Answer::Done(outcome)) => return Ok(outcome),
                Some(Answer::Forgotten { newest }) => {
                    // The clock of this member is behind, or it waited for long.
                    self.0.newest.fetch_max(newest, Ordering::Relaxed);
                    if operation.is_retry {
                        return Err(StoreError::Unavailable);
                    }
                    // This was the only attempt.
                    operation.id = operation.id.later_than(newest);
                }
                Some(Answer::NotHolder) => self.note_turned_away(&mut turned_away, holder),
                Some(Answer::Unknown) => operation.is_retry = true,
                None => {
                    // It may have arrived.
                    operation.is_retry = true;
                    self.note_given_up(&mut given_up, holder, asked);
                }
            }
            tries += 1;
            let wait = back_off(tries);
            if Instant::now() + wait >= deadline {
                return Err(StoreError::Unavailable);
            }
            sleep(wait).await;
        }
    }

    /// Who else is to be asked: whoever is believed to hold the partition, and under which ballot. This member takes over
    /// only where that one was given up: two that depose each other get nothing done.
    pub(super) fn holder_elsewhere(
        &self,
        partition: u16,
        given_up: &GivenUp,
    ) -> Option<(MemberId, Option<Ballot>)> {
        let (config, believed) = {
            let partition = self.partition(partition);
            (partition.config()?, partition.believed_holder())
        };
        let members = config.members();
        let believed = believed
            .filter(|(holder, ballot)| members.contains(holder) && !given_up.has_holder(*holder, *ballot));
        let believed = believed.map(|(holder, ballot)| (holder, Some(ballot)));
        if members.contains(&self.0.me) {
            return believed.filter(|(holder, _)| *holder != self.0.me);
        }
        let others: Vec<_> = members
            .iter()
            .copied()
            .filter(|member| !given_up.has(*member))
            .collect();
        let somebody = || self.0.peers.nearest(&others).first().copied();
        believed.or_else(|| {
            let other = somebody().or_else(|| members.first().copied());
            other.map(|member| (member, None))
        })
    }

    /// Notes that a holder did not answer what it was asked then.
    pub(super) fn note_given_up(
        &self,
        given_up: &mut GivenUp,
        holder: Option<(MemberId, Option<Ballot>)>,
        asked: Instant,
    ) {
        if let Some((holder, ballot)) = holder {
            given_up.note((holder, ballot), self.0.silence.is_there_since(holder, asked));
        }
    }

    /// Notes that whoever was asked holds nothing: where it does so again and again, it may be in an epoch in which it does
    /// not even vote.
    pub(super) fn note_turned_away(&self, times: &mut u32, holder: Option<(MemberId, Option<Ballot>)>) {
        *times += 1;
        if let Some((holder, _)) = holder.filter(|_| *times > 1) {
            self.hear_epochs_of(holder);
        }
    }

    /// Has another member decide an operation; `None` when it does not answer.
    async fn forward(
        &self,
        partition: u16,
        holder: MemberId,
        operation: Operation<Task<M::Command>>,
    ) -> Option<Answer<Done<M>>> {
        match self.exchange(holder, &Call::Submit(partition, operation)).await {
            Some(Reaction::Answer(answer)) => Some(answer),
            Some(_) | None => None,
        }
    }

    /// Has this member decide an operation, as the holder or by becoming it.
    pub(super) async fn decide(
        &self,
        partition: u16,
        operation: Operation<Task<M::Command>>,
        deadline: Instant,
    ) -> Result<Answer<Done<M>>, StoreError> {
        let (waiter, mut answer) = oneshot::channel();
        let room = self.0.disk.room(ROOM).await?;
        let fed = self.partition(partition).submit(operation, waiter, room)?;
        if let Err(error) = self.follow(partition, fed).await {
            // What failed may be the commit of another operation that went on with this one.
            return match answer.try_recv() {
                Ok(Answer::Done(outcome)) => Ok(Answer::Done(outcome)),
                _ => Err(error),
            };
        }
        let mut pause = RESEND;
        loop {
            let overdue = (Instant::now() + pause).min(deadline);
            match timeout_at(overdue, &mut answer).await {
                Ok(answer) => return Ok(answer.unwrap_or(Answer::Unknown)),
                Err(_) if Instant::now() >= deadline => return Ok(Answer::Unknown),
                Err(_) => self.feed(partition, Event::Resend).await?,
            }
            // On a link that is full, asking more often makes it fuller.
            pause = (pause * 2).min(RESEND_MAX);
        }
    }
}
