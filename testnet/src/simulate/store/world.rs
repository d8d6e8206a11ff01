//! One schedule: lives of a store, one after another on the same disk, with clients, faults and crashes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use storage::disk::fault::{FaultMedium, Random};
use storage::model::{AccessKeyId, KeyName, SecretKey};
use storage::{NewKey, Store, StoreError, simulation};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::check;
use super::client::{Client, Noted};
use super::plan::{End, Fault, Life, Plan};

/// How often the disk is looked at for a power cut that nobody noticed.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Starts that may fail one after another because the power is cut again.
const STARTS_MAX: usize = 4;

/// What became of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The promise that was broken, if any.
    pub(crate) broken: Option<String>,
    /// Calls that clients made.
    pub(crate) calls: u64,
    /// Answers that an order of all calls explains.
    pub(crate) checked: u64,
    /// Power cuts, kills, failed syncs and full disks.
    pub(crate) faults: u64,
    /// Changes of voters that were wanted.
    pub(crate) changes: u64,
    /// Boxes that came back with an older disk, were not listened to, and took their place anew.
    pub(crate) forgetful: u64,
    /// A hash of every change of the disk and every answer.
    pub(crate) trace: u64,
}

/// Runs the schedule of a seed.
pub(super) fn run(seed: u64) -> Outcome {
    let plan = Rc::new(Plan::of_seed(seed));
    let mut world = World {
        medium: FaultMedium::new(seed ^ 0xD15C),
        dice: Random(seed ^ 0xD1CE),
        noted: Rc::default(),
        faults: 0,
        plan,
    };
    let local = LocalSet::new();
    let ended = simulation::run(seed, local.run_until(world.run()));
    let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
    let noted = world.noted.borrow();
    Outcome {
        broken: ended.err().or_else(|| noted.broken.clone()),
        calls: noted.calls,
        checked: noted.history.checked,
        faults: world.faults,
        changes: 0,
        forgetful: 0,
        trace: world.medium.trace() ^ noted.trace,
    }
}

struct World {
    plan: Rc<Plan>,
    medium: FaultMedium,
    dice: Random,
    noted: Rc<RefCell<Noted>>,
    faults: u64,
}

impl World {
    async fn run(&mut self) -> Result<(), String> {
        for life in self.plan.lives.clone() {
            let store = self.start(life.cut_while_opening).await?;
            let owner = owner(&store).await;
            // A disk that fails or a power cut may come first.
            if let Ok(owner) = owner {
                self.check(&store, &owner).await?;
                self.live(&store, &owner, &life).await;
            }
            self.end(store, life.end).await?;
        }
        self.end_of_days().await
    }

    /// Starts the store, again if the power is cut meanwhile.
    async fn start(&mut self, mut cut_after: Option<u64>) -> Result<Store, String> {
        for _ in 0..STARTS_MAX {
            if let Some(changes) = cut_after.take() {
                self.medium.cut_power_after(changes);
            }
            let opened = Store::open_simulated(self.plan.options(self.medium.mount())).await;
            match opened {
                Ok(store) if self.medium.is_powered() => return Ok(store),
                Ok(store) => store.kill(),
                Err(error) if self.medium.is_powered() => return Err(in_words("open", &error)),
                Err(_) => {}
            }
            self.faults += 1;
            self.medium.restart();
        }
        Err("it does not start".into())
    }

    /// Checks that everything is as promised, with nobody else around.
    async fn check(&mut self, store: &Store, owner: &AccessKeyId) -> Result<(), String> {
        let there: BTreeSet<_> = store.buckets().iter().map(|bucket| bucket.id).collect();
        self.noted.borrow_mut().history.see_buckets(&there)?;
        let client = self.client(store, owner);
        let checked = check::everything_is_read(&client).await;
        // A cut that was meant for the start may come only now; what is read without power says nothing.
        match self.medium.is_powered() {
            true => checked.and_then(|()| check::nothing_is_damaged(store)),
            false => Ok(()),
        }
    }

    /// Serves clients until they are done or the life ends.
    async fn live(&mut self, store: &Store, owner: &AccessKeyId, life: &Life) {
        let over = CancellationToken::new();
        let mut clients = JoinSet::new();
        for _ in 0..self.plan.clients {
            let (client, over) = (self.client(store, owner), over.clone());
            let calls = life.calls;
            clients.spawn_local(async move {
                Box::pin(over.run_until_cancelled(client.run(calls)))
                    .await
                    .is_some()
            });
        }
        match life.fault {
            Fault::FailedSync(syncs) => {
                self.faults += 1;
                self.medium.fail_sync_after(syncs);
            }
            Fault::Full { .. } => self.faults += 1,
            Fault::Nothing => {}
        }
        if let End::PowerCutAtChange(changes) = life.end {
            self.medium.cut_power_after(changes);
        }
        let misfortune = misfortune(self.medium.clone(), *life);
        tokio::select! {
            biased;
            () = misfortune => {}
            () = async { while clients.join_next().await.is_some() {} } => {}
        }
        over.cancel();
        if matches!(life.end, End::PowerCut(_) | End::PowerCutAtChange(_)) {
            self.medium.cut_power();
        }
        clients.shutdown().await;
    }

    /// Ends a life, and says that all calls of it have happened or never will.
    async fn end(&mut self, store: Store, end: End) -> Result<(), String> {
        let stopped = store.disk_status().rows.stopped;
        if end == End::Closed && self.medium.is_powered() {
            let closed = store.close().await;
            if let Err(error) = closed
                && !stopped
                && !matches!(error, StoreError::Disk(_) | StoreError::DiskFull)
            {
                return Err(in_words("close", &error));
            }
        } else {
            self.faults += 1;
        }
        store.kill();
        drop(store);
        match end {
            End::PowerCut(_) | End::PowerCutAtChange(_) => self.medium.restart(),
            End::Closed | End::Killed(_) => self.medium.restart_process(),
        }
        self.medium.set_capacity(u64::MAX);
        // What is left of the old life ends before the new one begins.
        sleep(Duration::from_millis(1)).await;
        self.noted.borrow_mut().history.settle()
    }

    /// Nothing goes wrong any more: whatever is left over must be found and freed.
    async fn end_of_days(&mut self) -> Result<(), String> {
        let store = self.start(None).await?;
        let owner = owner(&store)
            .await
            .map_err(|error| in_words("make a key", &error))?;
        self.check(&store, &owner).await?;
        check::everything_is_freed(&self.client(&store, &owner)).await?;
        store.close().await.map_err(|error| in_words("close", &error))?;
        self.noted.borrow_mut().history.settle()
    }

    fn client(&mut self, store: &Store, owner: &AccessKeyId) -> Client {
        Client {
            store: store.clone(),
            dice: Random(self.dice.next_u64()),
            owner: owner.clone(),
            keys: self.plan.keys,
            plan: self.plan.clone(),
            noted: self.noted.clone(),
        }
    }
}

/// Lets what was planned go wrong; ends when the life is over.
async fn misfortune(medium: FaultMedium, life: Life) {
    let full = async {
        if let Fault::Full { from, to, room } = life.fault {
            sleep(from).await;
            medium.set_capacity(medium.used() + room);
            sleep(to - from).await;
            medium.set_capacity(u64::MAX);
        }
        std::future::pending::<()>().await;
    };
    let over = async {
        match life.end {
            End::PowerCut(at) | End::Killed(at) => sleep(at).await,
            End::Closed | End::PowerCutAtChange(_) => {
                while medium.is_powered() {
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = over => {}
        () = full => {}
    }
}

/// The key of whoever owns all buckets.
pub(crate) async fn owner(store: &Store) -> Result<AccessKeyId, StoreError> {
    let damaged = StoreError::Damaged;
    let id = AccessKeyId::parse("SIMULATED").map_err(damaged)?;
    if store.access_key(&id).is_ok() {
        return Ok(id);
    }
    let new = NewKey {
        name: KeyName::parse("owner").map_err(damaged)?,
        create_buckets: true,
        import: Some((id.clone(), SecretKey::parse("simulated-secret").map_err(damaged)?)),
    };
    // On a disk without power nobody answers in a hurry.
    match timeout(Duration::from_secs(60), store.create_key(new)).await {
        Ok(created) => created.map(|_| id),
        Err(_) => Err(StoreError::Busy),
    }
}

fn in_words(doing: &str, error: &dyn std::error::Error) -> String {
    let mut words = format!("{doing}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
