//! Runs the registers of all partitions over this disk and the peers: writes through the holder, reads from a quorum.

mod ages;
mod alike;
mod bell;
mod cover;
mod forget;
mod heads;
mod missed;
mod partition;
mod read;
mod reconfigure;
pub(crate) mod record;
mod rows;
mod scan;
mod silence;
mod submit;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use ages::Look;
pub(crate) use bell::Bell;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
pub(crate) use missed::{Miss, Misses};
use partition::{Commit, Fed, Partition};
pub(crate) use reconfigure::Standing;
use rows::Tombstones;
pub(crate) use scan::{Scanned, ScannedKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use silence::Silence;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use wire::{Call, Reaction};

use super::memories::{Memories, PATIENCE};
use super::peers::{Class, Peers};
use crate::StoreError;
use crate::disk::Disk;
use crate::model::{MemberId, Timestamp};
use crate::register::{Config, Decision, Epoch, Event, Key, Loaded, Nonce, OpId, Reply, Request};
use crate::tasks::Tasks;

/// Partitions of keys, and behind them the root partition.
const PARTITIONS: u16 = 257;
/// The partition of the directory.
pub(crate) const ROOT_PARTITION: u16 = 256;
/// How long an operation is tried before its client hears that the store cannot tell.
const DEADLINE: Duration = Duration::from_secs(25);
/// After so long without an answer members are asked again.
const RESEND: Duration = Duration::from_millis(250);
/// And after so long at most, once that was in vain.
const RESEND_MAX: Duration = Duration::from_secs(2);
/// The longest pause between two questions to a member that does not answer.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(5);
/// How long whoever was deposed waits before it tries again, times a random factor of 1 to 2 and doubling up to 16 times.
const BACK_OFF: Duration = Duration::from_millis(4);
/// Bytes of room in the disk's queue that a step waits for before it decides anything.
const ROOM: u64 = 4 << 10;

/// What operations mean.
pub(crate) trait Machine: Send + Sync + 'static {
    /// What is to be done.
    type Command: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What came of it.
    type Outcome: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Decides an operation on the rows as they are; pure. It comes with its name and whether it may be a retry.
    fn decide(&self, op: (OpId, bool), command: &Self::Command, loaded: &Loaded) -> Decision<Self::Outcome>;

    /// Which partition the row of a key belongs to; `None` for rows that are this member's alone.
    fn partition_of(key: &[u8]) -> Option<u16>;

    /// Whether a row belongs to a partition at all: as [`Self::partition_of`] tells, sooner.
    fn is_shared(key: &[u8]) -> bool {
        Self::partition_of(key).is_some()
    }

    /// The lane in which operations on the row of a key are decided.
    fn lane_of(key: &Key) -> Key;
}

/// An operation as it travels: a client's, or the cluster's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task<C> {
    /// Do what a client wants.
    Command(C),
    /// Have what stands be chosen: a read found a write that nobody goes on with.
    Confirm,
}

/// What came of a [`Task`]; nothing of a confirmation.
type Done<M> = Option<<M as Machine>::Outcome>;

/// A request on its way to a member.
pub(super) struct Outgoing {
    partition: u16,
    to: MemberId,
    request: Request,
}

/// The registers of this member. Cloning gives another handle.
pub(crate) struct Registers<M: Machine>(Arc<Inner<M>>);

impl<M: Machine> Clone for Registers<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<M: Machine> {
    me: MemberId,
    disk: Disk,
    peers: Arc<dyn Peers>,
    /// How far the disks of all had come.
    memories: Memories,
    partitions: Vec<Mutex<Partition<M>>>,
    /// Rung when another member says that a root row changed, or turns out to be in a newer epoch.
    feed: Bell,
    /// Rung when voters may have something to do.
    reshape: Bell,
    /// In which epoch of a partition this member has every row, as far as it looked since it started.
    synced: Mutex<BTreeMap<u16, Epoch>>,
    /// What other voters did not acknowledge of what this member sent them.
    missed: Mutex<Misses>,
    /// Who did not answer lately.
    silence: Silence,
    /// Held by whoever asks somebody for newer epochs.
    hearing: Arc<Semaphore>,
    /// Held, of each partition, by whoever adopts an epoch: who came between two turns of that would take rows that are about
    /// to be forgotten for rows that are.
    adopting: Vec<Semaphore>,
    /// Whether there is anybody else who may submit operations: asked by every request.
    meshed: Arc<AtomicBool>,
    /// What begins here is named as if it began later than this.
    newest: AtomicU64,
    /// Calls to peers and commits under way: they run to their end.
    tasks: Tasks,
}

impl<M: Machine> Registers<M> {
    /// The registers as the disk remembers them, or as they begin under `first`.
    ///
    /// # Errors
    /// The disk fails, or what it remembers does not read.
    pub(crate) fn open(
        me: MemberId,
        disk: &Disk,
        peers: Arc<dyn Peers>,
        machine: &Arc<M>,
        first: &Config,
        tasks: Tasks,
    ) -> Result<Self, StoreError> {
        let tombstones = Tombstones::on(disk)?;
        let meshed = Arc::<AtomicBool>::default();
        let load = |number| {
            let nonce = Nonce::from_le_bytes(crate::seal::random());
            let others = meshed.clone();
            Partition::load((number, me), disk, tombstones, machine, first, (nonce, others)).map(Mutex::new)
        };
        Ok(Self(Arc::new(Inner {
            me,
            disk: disk.clone(),
            peers,
            memories: Memories::open(me, disk)?,
            partitions: (0..PARTITIONS).map(load).collect::<Result<_, _>>()?,
            feed: Bell::default(),
            reshape: Bell::default(),
            synced: Mutex::default(),
            missed: Mutex::default(),
            silence: Silence::default(),
            hearing: Arc::new(Semaphore::new(1)),
            adopting: (0..PARTITIONS).map(|_| Semaphore::new(1)).collect(),
            meshed,
            newest: AtomicU64::default(),
            tasks,
        })))
    }

    /// How far the disks of all had come.
    pub(crate) fn memories(&self) -> &Memories {
        &self.0.memories
    }

    /// Asks all others what they remember of this disk, until each has answered. This member acts as a voter once all have,
    /// or after some seconds: if somebody has, or it may be needed alone. Begins once peers can be called at all.
    pub(crate) async fn recall(&self, others: impl Fn() -> Vec<MemberId>) {
        self.0.peers.until_bound().await;
        let (mut known, mut asked) = (BTreeSet::new(), FuturesUnordered::new());
        let mut patience = std::pin::pin!(sleep(PATIENCE));
        let (mut has_answer, mut is_over) = (false, false);
        loop {
            // Somebody may be heard of meanwhile, who joined while this member was away.
            let newcomers: Vec<_> = others()
                .into_iter()
                .filter(|member| known.insert(*member))
                .collect();
            asked.extend(
                newcomers
                    .into_iter()
                    .map(|member| self.recall_from(member, &others)),
            );
            tokio::select! {
                // So that a simulated world follows from its seed.
                biased;
                answered = asked.next() => match answered {
                    Some(answered) => has_answer |= answered,
                    None => break,
                },
                () = patience.as_mut(), if !is_over => is_over = true,
                () = sleep(ASK_AGAIN_MAX) => {}
            }
            // Whoever does not answer is taken for away.
            if is_over && (has_answer || self.may_go_on_alone()) {
                self.0.memories.settle();
            }
        }
        self.0.memories.settle();
    }

    /// Whether it answered, before it was removed.
    async fn recall_from(&self, member: MemberId, others: impl Fn() -> Vec<MemberId>) -> bool {
        let mut pause = RESEND;
        while self.0.memories.forgotten().is_none() && others().contains(&member) {
            if self.tell(member, &Call::Recall).await.is_some() {
                return true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN_MAX);
        }
        false
    }

    /// Whether this member is a quorum by itself anywhere, though others may vote.
    fn may_go_on_alone(&self) -> bool {
        let me = BTreeSet::from([self.0.me]);
        (0..PARTITIONS).any(|number| {
            let partition = self.partition(number);
            let configs = partition.configs();
            let newest = configs.newest().and_then(|epoch| configs.get(epoch));
            newest.is_some_and(|config| config.is_quorum(&me))
        })
    }

    /// Whether there is anybody else, as was noted last.
    pub(crate) fn is_meshed(&self) -> bool {
        self.0.meshed.load(Ordering::Relaxed)
    }

    /// What [`Self::is_meshed`] says from now on.
    pub(crate) fn meshed(&self) -> Arc<AtomicBool> {
        self.0.meshed.clone()
    }

    /// Notes whether there is anybody else. Before somebody else may submit operations, it must be.
    pub(crate) fn note_meshed(&self, is_meshed: bool) {
        self.0.meshed.store(is_meshed, Ordering::Relaxed);
    }

    /// Runs something to its end even if whoever waits for it goes away: a commit whose end nobody notes would never count
    /// as durable here.
    async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.tasks.spawn(work).await.map_err(|_| StoreError::Closed)?
    }

    /// Answers a call of another member; runs to its end.
    ///
    /// # Errors
    /// It does not read, or the disk fails.
    pub(crate) async fn answer(&self, from: MemberId, call: &[u8]) -> Result<Bytes, StoreError> {
        let (this, call) = (self.clone(), Bytes::copy_from_slice(call));
        self.finish(async move { this.answer_here(from, &call).await })
            .await
    }

    async fn answer_here(&self, from: MemberId, call: &[u8]) -> Result<Bytes, StoreError> {
        let (marks, call) = wire::decode(call)?;
        self.0.memories.meet().await;
        let counts = self.0.memories.heard(from, &marks);
        // Not even how its disk stands: others may know it by its new number already.
        if let Some(why) = self.0.memories.forgotten() {
            return Err(StoreError::Forgotten(why));
        }
        let reaction = match call {
            // Answered in any state, or two that start together would wait for each other.
            Call::Recall => Reaction::Woken,
            _ if !counts => Reaction::Unheard,
            call => self.react(from, call).await?,
        };
        // It may have been learned while the call was under way.
        if let Some(why) = self.0.memories.forgotten() {
            return Err(StoreError::Forgotten(why));
        }
        Ok(wire::encode(&self.0.memories.marks_for(from), &reaction))
    }

    async fn react(
        &self,
        from: MemberId,
        call: Call<Task<M::Command>>,
    ) -> Result<Reaction<Done<M>>, StoreError> {
        self.0.memories.check().await?;
        match call {
            Call::Requests(requests) => {
                let is_ahead = |(partition, request): &(u16, Request)| {
                    *partition < PARTITIONS && self.is_older(*partition, request.epoch())
                };
                if requests.iter().any(is_ahead) {
                    self.hear_epochs_of(from);
                }
                Ok(Reaction::Replies(self.requests(requests).await?))
            }
            Call::Tell {
                from,
                to,
                most,
                known,
            } => {
                let (this, most) = (self.clone(), usize::try_from(most).unwrap_or(usize::MAX));
                let tell = move || {
                    Ok::<_, StoreError>(
                        this.0
                            .tell(&from, &to, most)?
                            .without_same(&known, M::partition_of),
                    )
                };
                Ok(Reaction::Told(self.0.disk.run(tell).await??))
            }
            Call::Submit(partition, operation) => {
                if partition >= PARTITIONS {
                    return Err(StoreError::Damaged(format!(
                        "{from:?} names partition {partition}"
                    )));
                }
                let deadline = Instant::now() + DEADLINE;
                let answer = self.decide(partition, operation, deadline).await?;
                Ok(Reaction::Answer(answer))
            }
            Call::Raise(partition, fences) => {
                let deadline = Instant::now() + DEADLINE / 4;
                let raised = self.raise_here(partition % PARTITIONS, fences, deadline).await?;
                Ok(Reaction::Raised(raised))
            }
            Call::Configs(known) => Ok(Reaction::Configs(self.newer_than(&known))),
            Call::Wake => {
                self.wake_self();
                Ok(Reaction::Woken)
            }
            Call::Standing => Ok(Reaction::Standing(self.standing())),
            Call::Recall => Ok(Reaction::Woken),
        }
    }

    /// Has this member's acceptors decide on requests; the replies are durable when this returns.
    async fn requests(&self, requests: Vec<(u16, Request)>) -> Result<Vec<Option<Reply>>, StoreError> {
        // Runs of one partition are decided under one lock and become durable together.
        let mut commits: Vec<(u16, Commit)> = Vec::new();
        let mut replies = Vec::with_capacity(requests.len());
        let mut by_partition: BTreeMap<u16, Vec<(usize, Request)>> = BTreeMap::new();
        for (at, (partition, request)) in requests.into_iter().enumerate() {
            replies.push(None);
            if partition < PARTITIONS {
                by_partition.entry(partition).or_default().push((at, request));
            }
        }
        for (partition, requests) in by_partition {
            let room = self.0.disk.room(ROOM).await?;
            let (places, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
            let (commit, answers) = self.partition(partition).requests(&requests, room)?;
            commits.extend(commit.map(|commit| (partition, commit)));
            for (at, answer) in places.into_iter().zip(answers) {
                replies[at] = answer;
            }
        }
        for (partition, commit) in commits {
            let ended = commit.durable().await;
            self.partition(partition).note_ended(ended)?;
        }
        Ok(replies)
    }

    /// Calls a member. `None` when it does not answer, or nothing that can be relied on.
    async fn exchange(&self, to: MemberId, call: &Call<Task<M::Command>>) -> Option<Reaction<Done<M>>> {
        let (counts, reaction) = self.tell(to, call).await?;
        // Who learns by this very answer that it forgot something must not count itself beside it.
        (counts && self.0.memories.forgotten().is_none()).then_some(reaction)
    }

    /// Calls a member; says what it answers, and whether its word counts.
    async fn tell(&self, to: MemberId, call: &Call<Task<M::Command>>) -> Option<(bool, Reaction<Done<M>>)> {
        if self.0.memories.forgotten().is_some() {
            return None;
        }
        if !self.0.peers.nearest(&[to]).is_empty() {
            self.0.memories.meet().await;
        }
        let call = wire::encode(&self.0.memories.marks_for(to), call);
        let began = Instant::now();
        let answer = self.0.peers.call(to, Class::Metadata, call).await;
        self.0.silence.note(to, began, answer.is_ok());
        let bytes = answer.ok()?;
        match wire::decode(&bytes) {
            Ok((marks, reaction)) => Some((self.0.memories.heard(to, &marks), reaction)),
            Err(error) => {
                tracing::warn!(%error, member = ?to, "reply not understood");
                None
            }
        }
    }

    async fn feed(&self, partition: u16, event: Event<Task<M::Command>, Done<M>>) -> Result<(), StoreError> {
        let room = self.0.disk.room(ROOM).await?;
        let fed = self.partition(partition).feed([event], room)?;
        self.follow(partition, fed).await
    }

    /// Sends what is to be sent, waits for what becomes durable, and goes on with what that leads to.
    async fn follow(&self, partition: u16, mut fed: Fed) -> Result<(), StoreError> {
        let mut failure = None;
        loop {
            failure = failure.or(fed.failure);
            self.send(std::mem::take(&mut fed.outgoing));
            let Some(commit) = fed.commit else {
                return failure.map_or(Ok(()), |error| Err(*error));
            };
            let ended = commit.durable().await;
            let room = self.0.disk.room(ROOM).await?;
            fed = self.partition(partition).ended(ended, room)?;
        }
    }

    /// Calls each member once with everything that is for it; its replies are fed when they come.
    fn send(&self, outgoing: Vec<Outgoing>) {
        let mut calls: BTreeMap<MemberId, Vec<(u16, Request)>> = BTreeMap::new();
        for Outgoing {
            partition,
            to,
            request,
        } in outgoing
        {
            calls.entry(to).or_default().push((partition, request));
        }
        for (to, requests) in calls {
            let this = self.clone();
            self.0.tasks.spawn(async move { this.call(to, requests).await });
        }
    }

    async fn call(&self, to: MemberId, requests: Vec<(u16, Request)>) {
        let asked: Vec<u16> = requests.iter().map(|(partition, _)| *partition).collect();
        let changing = missed::changing(&requests);
        // Where nothing comes of it, whoever waits asks again, until its deadline.
        let Some(Reaction::Replies(replies)) = self.exchange(to, &Call::Requests(requests)).await else {
            return missed::note(&mut self.0.misses(), to, &changing, Timestamp::now());
        };
        let mut is_ahead = false;
        for (partition, reply) in asked.into_iter().zip(replies) {
            let Some(reply) = reply else { continue };
            is_ahead |= self.is_older(partition, reply.epoch());
            if let Err(error) = self.feed(partition, Event::Reply { from: to, reply }).await {
                tracing::warn!(%error, "what a member answered was not taken up");
            }
        }
        if is_ahead {
            self.hear_epochs_of(to);
        }
    }

    fn partition(&self, number: u16) -> MutexGuard<'_, Partition<M>> {
        self.0.partition(number)
    }
}

impl<M: Machine> Inner<M> {
    fn synced(&self) -> MutexGuard<'_, BTreeMap<u16, Epoch>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misses(&self) -> MutexGuard<'_, Misses> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, number: u16) -> MutexGuard<'_, Partition<M>> {
        // Callers give numbers below PARTITIONS; a panic under the lock leaves a partition that is read again from disk.
        self.partitions[usize::from(number % PARTITIONS)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn back_off(tries: u32) -> Duration {
    let [random] = crate::seal::random::<1>();
    let steps = 1 << tries.min(4);
    BACK_OFF * steps + BACK_OFF * steps * u32::from(random) / 256
}
