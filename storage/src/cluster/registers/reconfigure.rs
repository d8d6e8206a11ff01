//! Taking part in a change of voters: adopting its epochs, reading every row as a new voter, raising fences through the
//! holder. What has to be done next is for [`Transition`](crate::register::Transition) to say, and for whoever drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::partition::Adopted;
use super::silence::GivenUp;
use super::wire::{Call, Reaction};
use super::{Bell, DEADLINE, Machine, PARTITIONS, RESEND, ROOM, ROOT_PARTITION, Registers, back_off};
use crate::StoreError;
use crate::model::MemberId;
use crate::register::{Ballot, Config, Configs, Epoch, Event, Fences, Key, Purpose, Request, Row, Stamp};

/// Partitions whose epochs are adopted at a time.
const ADOPTIONS_AT_ONCE: usize = 32;
/// How long a member that is met in newer epochs is given to tell them, and they are waited for.
const HEARING: Duration = Duration::from_secs(5);
/// How long nobody is asked after one told nothing new.
const FRUITLESS: Duration = Duration::from_secs(1);
/// How long a holder tries to go on as one in a new epoch, which all others are to adopt meanwhile.
const HOLDING: Duration = Duration::from_secs(5);
/// Rows that a new voter reads at a time.
const READS_AT_ONCE: usize = 128;
/// Voters of the root partition that are asked at a time for epochs that this member has not heard of.
const ASKED_FOR_EPOCHS: usize = 2;

/// How far a member has come with the changes of voters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The epoch of each partition that it has adopted, durably.
    pub(crate) adopted: Vec<Epoch>,
    /// The epoch in which it has every row of a partition.
    pub(crate) synced: BTreeMap<u16, Epoch>,
}

impl<M: Machine> Registers<M> {
    /// Learns the configurations of a partition and adopts the newest; that is durable when it returns.
    ///
    /// # Errors
    /// The disk fails. `Outdated`: epochs are missing in between.
    pub(crate) async fn adopt(&self, partition: u16, known: &Configs) -> Result<(), StoreError> {
        let (this, known) = (self.clone(), known.clone());
        self.finish(async move { this.adopt_here(partition, &known).await })
            .await
    }

    async fn adopt_here(&self, partition: u16, known: &Configs) -> Result<(), StoreError> {
        let turn = self.0.adopting.get(usize::from(partition));
        let turn = turn.ok_or_else(|| StoreError::Damaged(format!("there is no partition {partition}")))?;
        let _alone = turn.acquire().await.map_err(|_| StoreError::Closed)?;
        loop {
            let room = self.0.disk.room(ROOM).await?;
            let (held, adopted) = {
                let mut partition = self.partition(partition);
                let held = partition.is_held().then(|| partition.epoch());
                (held, partition.adopt(known, room)?)
            };
            match adopted {
                Adopted::Nothing => return Ok(()),
                Adopted::More(Some(commit)) => {
                    let ended = commit.durable().await;
                    self.partition(partition).note_ended(ended)?;
                }
                Adopted::More(None) => {}
                Adopted::Newest(fed) => {
                    self.follow(partition, fed).await?;
                    let epoch = self.epoch(partition);
                    // Whoever missed one has been replaced meanwhile.
                    if held.is_some_and(|held| held + 1 == epoch) {
                        self.hold_again(partition, epoch);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Takes a partition over again that this member held in the epoch before, so that no client waits for that; and it stays
    /// where it was, not with whoever needs it first in between.
    fn hold_again(&self, partition: u16, epoch: Epoch) {
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let deadline = Instant::now() + HOLDING;
            // Nothing is to be raised: this makes it the holder.
            let mut event = Event::Raise(Fences::default());
            while this.may_hold(partition, epoch) && Instant::now() < deadline {
                if let Err(error) = this.feed(partition, event).await {
                    tracing::debug!(partition, %error, "a partition is not held again");
                    return;
                }
                // Others may adopt the epoch later. Where that takes too long, the next operation takes it over.
                sleep(RESEND).await;
                event = Event::Resend;
            }
        });
    }

    /// Whether nobody holds a partition in this epoch, as far as this member knows, which votes in it.
    fn may_hold(&self, partition: u16, epoch: Epoch) -> bool {
        let partition = self.partition(partition);
        let is_voter = |config: Arc<Config>| config.members().contains(&self.0.me);
        let is_others = |(holder, _): (MemberId, Ballot)| holder != self.0.me;
        partition.epoch() == epoch
            && partition.ballot().is_none()
            && partition.config().is_some_and(is_voter)
            && !partition.believed_holder().is_some_and(is_others)
    }

    /// The configurations of a partition that this member knows.
    pub(crate) fn configs(&self, partition: u16) -> Configs {
        self.partition(partition).configs().clone()
    }

    /// Learns from other members of epochs that this one has not heard of, and adopts them: what one member has adopted was
    /// committed for all.
    ///
    /// # Errors
    /// The disk fails. `Outdated`, as in [`Self::adopt`].
    pub(crate) async fn catch_up(&self, others: &[MemberId]) -> Result<(), StoreError> {
        self.0.memories.check().await?;
        self.hear_epochs(&self.who_may_know_epochs(others)).await
    }

    /// As [`Self::catch_up`], from just these.
    ///
    /// # Errors
    /// As [`Self::catch_up`].
    pub(crate) async fn hear_epochs(&self, members: &[MemberId]) -> Result<(), StoreError> {
        for member in members {
            let told = self.exchange(*member, &Call::Configs(self.epochs())).await;
            if let Some(Reaction::Configs(newer)) = told {
                self.adopt_all(newer).await?;
            }
        }
        Ok(())
    }

    /// Learns of newer epochs from a member that turned out to have adopted some, unless that is under way, and waits for
    /// nothing: under older ones nothing gets done here, not even reading the root rows that tell of the newer.
    pub(super) fn hear_epochs_of(&self, member: MemberId) {
        if member == self.0.me {
            return;
        }
        let Ok(turn) = self.0.hearing.clone().try_acquire_owned() else {
            return;
        };
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let before = this.epochs();
            let heard = async {
                this.0.memories.check().await?;
                this.hear_epochs(&[member]).await
            };
            match timeout(HEARING, heard).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(?member, %error, "newer epochs are not adopted"),
                // What was begun goes on by itself.
                Err(_) => tracing::debug!(?member, "newer epochs are not told in time"),
            }
            match before == this.epochs() {
                // Whoever met it will again.
                true => sleep(FRUITLESS).await,
                false => this.0.feed.ring(),
            }
            drop(turn);
        });
    }

    /// Whether a partition here is in an older epoch than this.
    pub(super) fn is_older(&self, partition: u16, epoch: Option<Epoch>) -> bool {
        epoch.is_some_and(|epoch| self.partition(partition).epoch() < epoch)
    }

    /// Adopts the newest of the epochs of each partition, the root partition first: what happens to one stops no other.
    ///
    /// # Errors
    /// As [`Self::adopt`], of the first that failed.
    pub(crate) async fn adopt_all(&self, known: BTreeMap<u16, Configs>) -> Result<(), StoreError> {
        let adopted: Vec<Result<(), StoreError>> = stream::iter(known.into_iter().rev())
            .map(|(partition, known)| async move {
                let adopted = self.adopt(partition % PARTITIONS, &known).await;
                adopted.inspect_err(|error| tracing::warn!(partition, %error, "a new epoch is not adopted"))
            })
            .buffer_unordered(ADOPTIONS_AT_ONCE)
            .collect()
            .await;
        adopted.into_iter().collect()
    }

    /// The nearest voters of the root partition, as far as this member knows, and anybody else: voters it knows may all be
    /// as far behind as it is, and who moved on then tells it sooner or later.
    fn who_may_know_epochs(&self, others: &[MemberId]) -> Vec<MemberId> {
        let config = self.partition(ROOT_PARTITION).config();
        let voters = config.map(|config| config.members()).unwrap_or_default();
        let here = self.0.peers.nearest(others);
        let (mut asked, rest): (Vec<_>, Vec<_>) =
            here.into_iter().partition(|member| voters.contains(member));
        asked.truncate(ASKED_FOR_EPOCHS);
        let [random] = crate::seal::random::<1>();
        asked.extend(rest.get(usize::from(random) % rest.len().max(1)));
        asked
    }

    fn epochs(&self) -> Vec<Epoch> {
        (0..PARTITIONS)
            .map(|number| self.partition(number).epoch())
            .collect()
    }

    pub(super) fn newer_than(&self, known: &[Epoch]) -> BTreeMap<u16, Configs> {
        let numbers = (0..PARTITIONS).zip(known);
        let newer = numbers.filter_map(|(number, known)| {
            let partition = self.partition(number);
            (partition.durable_epoch() > *known).then(|| (number, partition.configs().clone()))
        });
        newer.collect()
    }

    /// Tells other members that there is something for them to do, without waiting for them.
    pub(crate) fn wake(&self, others: &[MemberId]) {
        for member in self.0.peers.nearest(others) {
            let this = self.clone();
            // Who does not hear it looks by itself before long.
            self.0
                .tasks
                .spawn(async move { drop(this.exchange(member, &Call::Wake).await) });
        }
    }

    /// Wakes the workers of this member.
    pub(crate) fn wake_self(&self) {
        self.0.feed.ring();
        self.0.reshape.ring();
    }

    /// Heard by whoever reads root rows.
    pub(crate) fn feed_bell(&self) -> Bell {
        self.0.feed.clone()
    }

    /// Heard by whoever changes voters.
    pub(crate) fn reshape_bell(&self) -> Bell {
        self.0.reshape.clone()
    }

    /// The epoch of a partition that this member has adopted.
    pub(crate) fn epoch(&self, partition: u16) -> Epoch {
        self.partition(partition).epoch()
    }

    /// How far this member has come.
    pub(crate) fn standing(&self) -> Standing {
        let adopted = (0..PARTITIONS).map(|number| self.partition(number).durable_epoch());
        Standing {
            adopted: adopted.collect(),
            synced: self.0.synced().clone(),
        }
    }

    /// How far another member has come; `None` when it does not answer.
    pub(crate) async fn standing_of(&self, member: MemberId) -> Option<Standing> {
        if member == self.0.me {
            return Some(self.standing());
        }
        match self.exchange(member, &Call::Standing).await {
            Some(Reaction::Standing(standing)) => Some(standing),
            Some(_) | None => None,
        }
    }

    /// As a voter of these partitions under the epochs it has adopted: sees to it that this member has every row, as
    /// linearizable reads find it that begin after nothing can be decided under older epochs any more.
    ///
    /// # Errors
    /// `Unavailable`: too few voters have adopted these epochs, or answer. `Conflict`: an epoch changed meanwhile. The disk
    /// fails.
    pub(crate) async fn sync(&self, partitions: &BTreeSet<u16>) -> Result<(), StoreError> {
        let epochs: BTreeMap<u16, Epoch> = partitions
            .iter()
            .map(|number| (*number, self.partition(*number).durable_epoch()))
            .collect();
        let mut from = Some(Key::new());
        while let Some(next) = from {
            let to_sync = self.keys_to_sync(&next, partitions).await?;
            for rows in to_sync.unmarked.chunks(READS_AT_ONCE) {
                self.mark(rows.to_vec()).await?;
            }
            stream::iter(to_sync.lacking)
                .map(|key| self.sync_row(key))
                .buffer_unordered(READS_AT_ONCE)
                .try_collect::<()>()
                .await?;
            from = to_sync.next;
        }
        let is_same = |(number, epoch): (&u16, &Epoch)| self.partition(*number).durable_epoch() == *epoch;
        if !epochs.iter().all(is_same) {
            return Err(StoreError::Conflict);
        }
        self.0.synced().extend(epochs);
        Ok(())
    }

    /// Has this member remember that these rows are chosen, where they still stand here.
    async fn mark(&self, rows: Vec<(Key, Stamp)>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        let read = move || {
            let mut requests = Vec::with_capacity(rows.len());
            for (key, stamp) in rows {
                let Some(number) = M::partition_of(&key) else {
                    continue;
                };
                let partition = this.partition(number);
                let row = partition.durable_row(&key)?;
                if row.stamp == stamp {
                    let learn = Request::Learn {
                        floor: partition.durable_promise(),
                        key,
                        row: Row { chosen: true, ..row },
                        nonce: 0,
                    };
                    requests.push((number, learn));
                }
            }
            Ok::<_, StoreError>(requests)
        };
        let requests = self.0.disk.run(read).await??;
        let this = self.clone();
        self.finish(async move { this.requests(requests).await })
            .await
            .map(drop)
    }

    /// Sees to it that this member has a row as a linearizable read finds it, and teaches it to whoever answers at once.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub(crate) async fn sync_row(&self, key: Key) -> Result<(), StoreError> {
        let Some(partition) = M::partition_of(&key) else {
            return Ok(());
        };
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        loop {
            let row = self.read_for(partition, &key, Purpose::Teach).await?;
            if self.partition(partition).durable_stamp(&key)? >= row.stamp {
                return Ok(());
            }
            tries += 1;
            if Instant::now() >= deadline {
                return Err(StoreError::Unavailable);
            }
            // What forbids to teach this member is a ballot that only a holder can bring to all.
            self.confirm(partition, &key).await?;
            sleep(back_off(tries)).await;
        }
    }

    /// Has the holder raise fences at a quorum; says under which ballot. All of them are at least so high when it returns,
    /// and no holder of this ballot or a higher one lets in anything from below them.
    ///
    /// # Errors
    /// `Unavailable`: no quorum in time. The disk fails.
    pub(crate) async fn raise(&self, partition: u16, fences: Fences) -> Result<Ballot, StoreError> {
        self.0.memories.check().await?;
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        let (mut given_up, mut turned_away) = (GivenUp::default(), 0);
        loop {
            let (holder, asked) = (self.holder_elsewhere(partition, &given_up), Instant::now());
            let raised = match holder {
                Some((holder, _)) => self.ask_to_raise(partition, holder, fences).await,
                None => {
                    let this = self.clone();
                    let raised = async move { this.raise_here(partition, fences, deadline).await };
                    Some(self.finish(raised).await?)
                }
            };
            match raised {
                Some(Some(ballot)) => return Ok(ballot),
                Some(None) => self.note_turned_away(&mut turned_away, holder),
                None => self.note_given_up(&mut given_up, holder, asked),
            }
            tries += 1;
            let wait = back_off(tries);
            if Instant::now() + wait >= deadline {
                return Err(StoreError::Unavailable);
            }
            sleep(wait).await;
        }
    }

    /// How often a row of a partition changed here, as long as nothing comes from other ballots than this.
    pub(crate) fn changes_under(&self, partition: u16, ballot: Ballot) -> Option<u64> {
        self.partition(partition).changes_under(ballot)
    }

    /// Who votes in a partition under an epoch, if none of them are changing.
    pub(crate) fn steady_voters(&self, partition: u16, epoch: Epoch) -> Option<BTreeSet<MemberId>> {
        let partition = self.partition(partition);
        let config = partition.configs().get(epoch)?;
        config.new.is_none().then(|| config.members())
    }

    /// `None` when the holder does not answer, `Some(None)` when it is none.
    async fn ask_to_raise(&self, partition: u16, holder: MemberId, fences: Fences) -> Option<Option<Ballot>> {
        match self.exchange(holder, &Call::Raise(partition, fences)).await {
            Some(Reaction::Raised(ballot)) => Some(ballot),
            Some(_) | None => None,
        }
    }

    pub(super) async fn raise_here(
        &self,
        partition: u16,
        fences: Fences,
        deadline: Instant,
    ) -> Result<Option<Ballot>, StoreError> {
        let (waiter, mut raised) = oneshot::channel();
        let is_voter = {
            let mut partition = self.partition(partition);
            let config = partition.config();
            let is_voter = config.is_some_and(|config| config.members().contains(&self.0.me));
            if is_voter {
                partition.wait_for_raise(fences, waiter);
            }
            is_voter
        };
        if !is_voter {
            return Ok(None);
        }
        while Instant::now() < deadline {
            // Whoever lost its ballot meanwhile has to be told again.
            self.feed(partition, Event::Raise(fences)).await?;
            let overdue = (Instant::now() + RESEND).min(deadline);
            if let Ok(raised) = timeout_at(overdue, &mut raised).await {
                return Ok(raised.ok());
            }
            self.feed(partition, Event::Resend).await?;
        }
        Ok(None)
    }
}
