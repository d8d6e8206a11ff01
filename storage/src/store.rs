//! The store of one node: opens and closes everything below it in order.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};
use zeroize::Zeroizing;

use crate::StoreError;
#[cfg(any(test, feature = "simulation"))]
use crate::cluster::Displaced;
use crate::cluster::mesh::feed::{self, Feed};
use crate::cluster::mesh::{FOUNDER, Membership, Mesh, Presences, first_config, recall, reshape};
use crate::cluster::peers::Peers;
use crate::cluster::{
    Around, Blocks, Directory, Forgotten, Hot, Memories, Partitions, ROOT_PARTITION, Releaser,
};
#[cfg(any(test, feature = "simulation"))]
use crate::disk::SimulatedLayout;
#[cfg(any(test, feature = "simulation"))]
use crate::disk::medium::Medium;
use crate::disk::{BlockDirectory, Disk, DiskError, DiskOptions, DiskStatus, RowWrite, create_private};
use crate::health;
use crate::limits::Limits;
use crate::model::{AccessKey, KeyName, MemberId, MemberRow, Timestamp, row_key};
#[cfg(any(test, feature = "simulation"))]
use crate::model::{Bucket, ObjectKey};
use crate::objects::{
    Counts, Events, NewKey, OpenedVersion, answer_about_events, answer_about_usage, hand_on_events,
    is_about_events, is_about_usage,
};
use crate::repair::scrub::{self, Pace, ScrubStatus};
use crate::repair::{collect, compare, find_events, lifecycle, reopen, sweep, tombstones};
use crate::seal::{Keyring, NodeSecret};
use crate::tasks::Tasks;

/// Bytes of memory one permit of [`Inner::memory`] stands for.
pub(crate) const MEMORY_UNIT: usize = 64 * 1024;

/// How a store is opened; already valid. Has no `Debug`, so that the phrase reaches no log.
#[derive(Clone)]
pub struct Options {
    /// Directory of keys, rows and index. Created if missing.
    pub state: PathBuf,
    /// Directories of blocks.
    pub blocks: Vec<BlockDirectory>,
    /// Take writes although acknowledged rows are known to be lost.
    pub accept_loss: bool,
    /// The 24 words, when the key file of a store with data is gone.
    pub recovery_phrase: Option<Zeroizing<String>>,
    /// Bytes of content that all writes together may hold in memory; at least 32 MiB.
    pub memory: usize,
    /// Bytes of content that was read lately and is kept in memory while it is in use.
    pub hot: u64,
    /// As whom it takes part in a mesh.
    pub membership: Membership,
}

/// How a simulated store is opened.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone)]
pub struct SimulatedOptions {
    /// Everything durable of it.
    pub medium: Arc<dyn Medium>,
    /// How its disk is laid out.
    pub layout: SimulatedLayout,
    /// All its keys follow from this; the same at each start.
    pub keys: u64,
    /// The most content a row carries itself.
    pub inline_bytes: usize,
    /// The most content one block holds, up to 4 MiB.
    pub block_bytes: usize,
    /// A manifest whose CBOR is longer goes into blocks of its own.
    pub manifest_bytes: usize,
    /// The least a part of an upload has that is not the last.
    pub part_bytes_min: u64,
    /// When older versions are moved out of the row of their object.
    pub folding: crate::model::Folding,
    /// As in [`Options::membership`].
    pub membership: Membership,
    /// As in [`Options::hot`]. Runs are equal only where nothing is pushed out: 0, or far more than is ever read.
    pub hot: u64,
}

/// What opening for the first time created; shown once, kept nowhere in the clear.
pub struct FirstStart {
    /// The 24-word recovery phrase.
    pub recovery_phrase: Zeroizing<String>,
    /// The owner's access key.
    pub owner_key: Arc<AccessKey>,
}

/// The store of one node. Cloning gives another handle.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

/// Everything a store is made of.
pub(crate) struct Inner {
    pub(crate) me: MemberId,
    /// What this member says of itself.
    pub(crate) node: MemberRow,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) feed: Feed,
    pub(crate) presences: Presences,
    pub(crate) disk: Disk,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Directory,
    pub(crate) partitions: Partitions,
    pub(crate) blocks: Blocks,
    pub(crate) releaser: Releaser,
    /// Content that writes hold in memory, in units of [`MEMORY_UNIT`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) memory_units: usize,
    pub(crate) hot: Hot<Arc<OpenedVersion>>,
    /// Why writes are refused: acknowledged rows that are lost, in words.
    pub(crate) loss: Option<String>,
    /// When unreferenced blocks were last collected, in milliseconds since 1970.
    pub(crate) collected: AtomicU64,
    /// References that sweeps have freed since this member started.
    pub(crate) freed: AtomicU64,
    /// References to blocks that were here when the last sweep since then began.
    pub(crate) held: AtomicU64,
    /// What buckets hold, as it was counted lately.
    pub(crate) counts: Counts,
    /// Of what something is still to be told.
    pub(crate) events: Events,
    /// Rings when a bucket may have other lifecycle rules.
    pub(crate) rules_changed: Arc<Notify>,
    /// What other members said of themselves.
    pub(crate) memory_of_health: health::Memory,
    /// With whom the rows here were compared.
    pub(crate) comparisons: compare::Comparisons,
    /// How far scrubbing has come.
    pub(crate) scrub: Mutex<ScrubStatus>,
    /// What a person wants of it.
    pub(crate) scrub_wish: scrub::Wish,
    /// Commits, and reads ahead: they run to their end.
    pub(crate) tasks: Tasks,
    /// How large the pieces of objects are.
    pub(crate) limits: Limits,
    background: Background,
}

/// What runs beside requests.
#[derive(Default)]
struct Background {
    tasks: Tasks,
    /// Ends collection, scrubbing and cooling.
    stop: CancellationToken,
    /// Ends the releaser, after the last commit.
    drained: CancellationToken,
}

/// What a close in order leaves for the next start.
#[derive(Serialize, Deserialize)]
struct CleanMark {
    collected: Timestamp,
}

impl Store {
    /// Opens the store, creating it on the first start.
    ///
    /// # Errors
    /// The disk cannot be opened, is in use, or keys are missing or damaged.
    pub async fn open(options: Options) -> Result<(Self, Option<FirstStart>), StoreError> {
        create_private(&options.state).map_err(|source| DiskError::Io {
            directory: options.state.clone(),
            action: "create state directory",
            source,
        })?;
        let rows = options.state.join("rows");
        let disk = Disk::open(DiskOptions {
            rows,
            blocks: options.blocks,
            accept_loss: options.accept_loss,
        })
        .await?;
        if let Err(error) = Memories::note_accepted_loss(&disk).await {
            disk.close().await?;
            return Err(error);
        }
        // Keys after the disk: its lock keeps two processes from both making some.
        let is_founder = options.membership.member == FOUNDER;
        let secret = options.membership.secret.clone();
        let opened = open_keyring(&disk, options.state, secret, is_founder, options.recovery_phrase).await;
        let (keyring, phrase) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                disk.close().await?;
                return Err(error);
            }
        };
        let sizes = (options.memory, options.hot);
        let store = Self::start(disk, keyring, options.membership, sizes, Limits::PRODUCT).await?;
        let first_start = match phrase {
            Some(recovery_phrase) => Some(store.first_start(recovery_phrase).await?),
            None => None,
        };
        Ok((store, first_start))
    }

    /// Opens a store in a simulation (see [`crate::simulation`]), creating it on the first start. It has no access key at
    /// first.
    ///
    /// # Errors
    /// The disk cannot be opened, or keys are other than those it was created with.
    #[cfg(any(test, feature = "simulation"))]
    pub async fn open_simulated(options: SimulatedOptions) -> Result<Self, StoreError> {
        let disk = Disk::open_simulated(&options.medium, &options.layout)?;
        let limits = Limits {
            inline_bytes: options.inline_bytes,
            block_bytes: options.block_bytes,
            manifest_bytes: options.manifest_bytes,
            part_bytes_min: options.part_bytes_min,
            folding: options.folding,
        };
        let (keyring, sizes) = (
            Keyring::of_seed(options.keys, options.membership.secret.clone()),
            (0, options.hot),
        );
        Self::start(disk, keyring, options.membership, sizes, limits).await
    }

    /// Puts together what a store is made of, and starts what runs beside requests.
    async fn start(
        disk: Disk,
        keyring: Keyring,
        membership: Membership,
        (memory, hot): (usize, u64),
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let tasks = Tasks::default();
        let Membership {
            member: me,
            node,
            secret: _,
            root,
            named,
            peers,
        } = membership;
        let partitions = Partitions::open(
            me,
            &disk,
            peers.clone(),
            (&first_config(), limits.folding),
            tasks.clone(),
        )?;
        partitions.registers().adopt(ROOT_PARTITION, &root).await?;
        let mark = take_clean_mark(&disk, &partitions).await?;
        let heard = partitions.remembered()?;
        let mesh = Arc::new(Mesh::default());
        mesh.take(&heard);
        let keyring = Arc::new(keyring);
        let view = mesh.view();
        let generations = view.generations.iter();
        // Heard of, and perhaps not in a file yet.
        let has_news = keyring.take(me, generations.map(|(number, row)| (*number, &row.value)));
        let directory = Directory::load(&heard, partitions.closings_known()?, &keyring)?;
        let memory_units = (memory / MEMORY_UNIT).max((32 << 20) / MEMORY_UNIT);
        let memory = Arc::new(Semaphore::new(memory_units));
        let background = Background::default();
        let releaser = Releaser::default();
        let blocks = Blocks::new(Around {
            me,
            zone: node.zone.clone(),
            disk: disk.clone(),
            peers: peers.clone(),
            mesh: mesh.clone(),
            meshed: partitions.registers().meshed(),
            news: partitions.registers().feed_bell(),
            tasks: tasks.clone(),
            releaser: releaser.clone(),
            stop: background.stop.clone(),
            memory: memory.clone(),
            memory_units,
            relayed_min: limits.block_bytes / 4,
        });
        let store = Self(Arc::new(Inner {
            me,
            node,
            peers,
            mesh,
            feed: Feed::new(&heard),
            presences: Presences::default(),
            blocks,
            releaser,
            memory,
            memory_units,
            hot: Hot::new(hot),
            loss: disk.status().rows.loss,
            collected: AtomicU64::new(
                mark.as_ref()
                    .map_or_else(Timestamp::now, |mark| mark.collected)
                    .as_millis(),
            ),
            freed: AtomicU64::default(),
            held: AtomicU64::default(),
            counts: Counts::default(),
            events: Events::default(),
            rules_changed: Arc::default(),
            memory_of_health: health::Memory::default(),
            comparisons: compare::Comparisons::default(),
            scrub: Mutex::new(scrub::load(&partitions)),
            scrub_wish: scrub::Wish::default(),
            tasks,
            limits,
            background,
            disk,
            keyring,
            directory,
            partitions,
        }));
        if has_news {
            store.0.keep_keys().await;
        }
        let memories = store.0.partitions.registers().memories();
        if named.last().is_some_and(|last| store.0.has_not_given(*last)) {
            memories.forget(Forgotten::KnowsNobody);
            store.0.mesh.set_introduced(named);
        }
        store.0.note_meshed();
        let is_meshed = store.0.is_meshed();
        memories.begin(is_meshed).await?;
        if !is_meshed {
            store.0.partitions.clock().hear(&[], []);
        }
        store.start_background(mark);
        if is_meshed {
            // The others cannot be asked before this store is there.
            let (reopening, stop) = (store.clone(), store.0.background.stop.clone());
            let reopen = async move {
                let _ = stop.run_until_cancelled(reopening.reopen_buckets()).await;
            };
            store
                .0
                .background
                .tasks
                .spawn(reopen.instrument(info_span!("reopen")));
        } else {
            store.reopen_buckets().await;
        }
        Ok(store)
    }

    /// Ends what runs beside requests, finishes commits in flight, and frees what waits to be freed. Peers are needed until
    /// then, and not behind it.
    pub async fn settle(&self) {
        let Background { tasks, stop, drained } = &self.0.background;
        stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        drained.cancel();
        tasks.close();
        tasks.wait().await;
    }

    /// Settles, flushes and closes.
    ///
    /// # Errors
    /// The disk failed while flushing.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.settle().await;
        let marked = self.leave_clean_mark().await;
        self.0.disk.close().await?;
        marked
    }

    /// Notes that the next start has nothing to collect, if that is so.
    async fn leave_clean_mark(&self) -> Result<(), StoreError> {
        if !self.0.releaser.is_settled() || self.0.loss.is_some() {
            return Ok(());
        }
        let collected = Timestamp::from_millis(self.0.collected.load(Ordering::Relaxed));
        let mark = CleanMark { collected };
        self.0.partitions.keep(row_key::clean_mark(), &mark).await
    }

    /// Answers a call of another member's store, which came from its [`Peers`](crate::Peers).
    ///
    /// # Errors
    /// The call does not read, or the disk fails.
    pub async fn answer(&self, from: MemberId, call: &Bytes) -> Result<Bytes, StoreError> {
        let is_about_more = is_about_usage(call)
            || sweep::is_about_sweeps(call)
            || health::is_about_health(call)
            || compare::is_about_rows(call);
        if is_about_more {
            // Registers see to it themselves, and blocks prove themselves.
            self.0.partitions.registers().memories().check().await?;
        }
        match call {
            call if Blocks::is_about_blocks(call) => self.0.blocks.answer(call).await,
            call if is_about_usage(call) => answer_about_usage(&self.0, call).await,
            call if is_about_events(call) => answer_about_events(&self.0, from, call),
            call if sweep::is_about_sweeps(call) => sweep::answer(&self.0, call).await,
            call if health::is_about_health(call) => health::answer(&self.0).await,
            call if compare::is_about_rows(call) => compare::answer(&self.0, call).await,
            _ => self.0.partitions.answer(from, call).await,
        }
    }

    /// What the disk says about itself.
    pub fn disk_status(&self) -> DiskStatus {
        self.0.disk.status()
    }

    /// The bytes of `recovery.sealed` as it stands: no secret without the recovery phrase. None where somebody took it away.
    pub fn recovery_copy(&self) -> Option<Vec<u8>> {
        self.0.keyring.recovery_copy()
    }

    /// What is known of the blocks since they were verified last.
    pub fn scrub_status(&self) -> ScrubStatus {
        scrub::status(&self.0)
    }

    /// Runs a commit to its end even if whoever waits for it goes away.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        commit: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.tasks.spawn(commit).await.map_err(|_| StoreError::Closed)?
    }

    fn start_background(&self, mark: Option<CleanMark>) {
        let inner = &self.0;
        let Background { tasks, stop, drained } = &inner.background;
        let release = inner.releaser.clone().run(inner.blocks.clone(), drained.clone());
        tasks.spawn(release.instrument(info_span!("release")));
        let (cooling, stopped) = (inner.clone(), stop.clone());
        tasks.spawn(async move { cooling.hot.cool(stopped).await }.instrument(info_span!("cool")));
        let walk = inner.blocks.clone().run_walk(stop.clone());
        tasks.spawn(walk.instrument(info_span!("walk")));
        let wanted = inner.blocks.clone().run_wanted(stop.clone());
        tasks.spawn(wanted.instrument(info_span!("hand on")));
        let remove = inner.blocks.clone().run_release(stop.clone());
        tasks.spawn(remove.instrument(info_span!("remove")));
        let last = mark.map(|mark| mark.collected);
        let collect = collect::run(Arc::downgrade(inner), last, stop.clone());
        tasks.spawn(collect.instrument(info_span!("collect")));
        let sweep = sweep::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(sweep.instrument(info_span!("sweep")));
        let forget = tombstones::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(forget.instrument(info_span!("forget")));
        let lifecycle = lifecycle::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(lifecycle.instrument(info_span!("lifecycle")));
        let find = find_events::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(find.instrument(info_span!("find events")));
        let hand_on = hand_on_events(inner.clone(), stop.clone());
        tasks.spawn(hand_on.instrument(info_span!("hand on events")));
        let recall = recall::run(inner.clone(), stop.clone());
        tasks.spawn(recall.instrument(info_span!("recall")));
        let compare = compare::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(compare.instrument(info_span!("compare")));
        let health = health::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(health.instrument(info_span!("health")));
        let feed = feed::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(feed.instrument(info_span!("feed")));
        let reshape = reshape::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(reshape.instrument(info_span!("reshape")));
        let scrub = scrub::run(Arc::downgrade(inner), Pace::CALM, stop.clone());
        tasks.spawn(scrub.instrument(info_span!("scrub")));
        let reopen = reopen::run(Arc::downgrade(inner), stop.clone());
        tasks.spawn(reopen.instrument(info_span!("reopen")));
    }

    async fn first_start(&self, recovery_phrase: Zeroizing<String>) -> Result<FirstStart, StoreError> {
        let name = KeyName::parse("owner").map_err(StoreError::Damaged)?;
        let owner_key = self
            .create_key(NewKey {
                name,
                create_buckets: true,
                import: None,
            })
            .await?;
        Ok(FirstStart {
            recovery_phrase,
            owner_key,
        })
    }
}

/// Removes the mark that the last close left; there is none after a crash, and on the first start.
async fn take_clean_mark(disk: &Disk, partitions: &Partitions) -> Result<Option<CleanMark>, StoreError> {
    let key = row_key::clean_mark();
    let Some(mark) = partitions.read(&key)? else {
        return Ok(None);
    };
    match disk.commit(vec![RowWrite::Drop { key }]).await {
        Ok(()) | Err(DiskError::ReadOnly(_)) => Ok(Some(mark)),
        // No room even for this: open all the same, so that something can be deleted. The mark stays, and would be
        // found after a crash too, so it counts for nothing.
        Err(DiskError::Full { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn open_keyring(
    disk: &Disk,
    state: PathBuf,
    secret: NodeSecret,
    is_founder: bool,
    phrase: Option<Zeroizing<String>>,
) -> Result<(Keyring, Option<Zeroizing<String>>), StoreError> {
    // Keys are made before the first row: rows without keys mean that the keys were lost. Only the founder makes keys.
    let has_data = !is_founder || disk.first_key(Bound::Unbounded, Bound::Unbounded)?.is_some();
    let opened = disk
        .run(move || {
            Keyring::open(
                &state,
                secret,
                has_data,
                phrase.as_ref().map(|words| words.as_str()),
            )
        })
        .await?;
    opened.map_err(|error| StoreError::Keys(Box::new(error)))
}

/// A reference that a version makes, and who should hold it.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Debug)]
pub struct WantedReference {
    /// The block.
    pub id: [u8; 32],
    /// The name under which the version's write refers to it.
    pub owner: [u8; 16],
    /// Whom the assignment names.
    pub holders: Vec<MemberId>,
}

/// What only simulations may ask of a store.
#[cfg(any(test, feature = "simulation"))]
impl Store {
    /// Ends the store as a killed process ends: each task at the point where it waits, and nothing is closed. Its medium
    /// must refuse whatever it still tries.
    pub fn kill(&self) {
        self.0.tasks.kill();
        self.0.background.tasks.kill();
    }

    /// Frees what nothing refers to, now; says how many references were released.
    ///
    /// # Errors
    /// The disk fails, or a row does not read.
    pub async fn collect(&self) -> Result<u64, StoreError> {
        let collected = collect::collect(&self.0, &CancellationToken::new()).await?;
        Ok(collected.released)
    }

    /// Begins a sweep of unreferenced blocks.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer.
    pub async fn begin_sweep(&self) -> Result<(), StoreError> {
        sweep::count_one(&self.0).await.map(drop)
    }

    /// Does this member's share of the last sweep that was begun.
    ///
    /// # Errors
    /// `Unavailable`: some of it has to wait.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        sweep::sweep(&self.0).await
    }

    /// Has all tombstones of the partitions that this member holds be forgotten; says how many it asked for.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn forget_tombstones(&self) -> Result<usize, StoreError> {
        tombstones::forget(&self.0, std::time::Duration::ZERO).await
    }

    /// Whether a tombstone stands on this disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn has_tombstones(&self) -> Result<bool, StoreError> {
        self.0.partitions.registers().has_tombstones()
    }

    /// Whether everything that lost its version has been freed, everywhere.
    pub fn is_settled(&self) -> bool {
        self.0.releaser.is_settled() && self.0.blocks.is_released().unwrap_or(false)
    }

    /// The references of all versions of an object, each a block and an owner, and who should hold it.
    ///
    /// # Errors
    /// As [`Store::object`].
    pub async fn references(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Vec<WantedReference>, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let row = self.0.whole_row(bucket.id, key).await?;
        let mut references = Vec::new();
        for version in row.into_iter().flat_map(|row| row.joined().versions) {
            for Displaced { owner, blocks } in self.0.blocks_of(&entry, key, version).await? {
                references.extend(blocks.into_iter().map(|id| WantedReference {
                    id: id.0,
                    owner,
                    holders: self.0.blocks.wanted_holders(&id),
                }));
            }
        }
        Ok(references)
    }

    /// The disk under it.
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }
}
