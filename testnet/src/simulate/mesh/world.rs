//! One schedule: boxes that are one mesh, with clients at each, joins and leaves, cut links, power cuts and kills.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use storage::disk::fault::{FaultMedium, Random};
use storage::disk::forget_rows_on;
use storage::model::{AccessKeyId, MemberId, MemberRow, Role, Timestamp, Zone};
use storage::{Membership, NodeSecret, Parting, Store, StoreError, Welcome, simulation};
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

use super::network::Network;
use crate::simulate::store::{Client, Noted, Outcome, Plan, check, owner};

/// The first member.
const FIRST: MemberId = MemberId(1);
/// How long a mesh may take, with nothing going wrong any more, until everybody agrees who votes.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// How long it may take, from then on, until every block is where it is wanted.
const IN_PLACE_WITHIN: Duration = Duration::from_secs(600);
/// How long a sweep may take, with nothing going wrong.
const SWEPT_WITHIN: Duration = Duration::from_secs(600);
/// How long it may take until the last tombstone is forgotten, with nothing going wrong.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(1800);
/// How long any call may take that is made while nothing goes wrong.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// Moments between two misfortunes, in milliseconds.
const CALM_MILLIS_MAX: usize = 900;

/// One box.
struct Seat {
    /// The box itself, whatever its number as a member.
    number: usize,
    medium: FaultMedium,
    /// What a backup of an earlier moment would restore.
    backup: Option<FaultMedium>,
    welcome: Option<Welcome>,
    store: Option<Store>,
}

/// Clients at work, and the box that each is connected to.
#[derive(Default)]
struct Clients {
    all: JoinSet<()>,
    by_member: BTreeMap<MemberId, Vec<AbortHandle>>,
}

impl Clients {
    fn begin(&mut self, client: Client, of: MemberId, calls: usize) {
        let handle = self.all.spawn_local(client.run(calls));
        self.by_member.entry(of).or_default().push(handle);
    }

    /// A process that was killed answers nobody any more; says how many clients that cut off.
    fn cut_off(&mut self, of: MemberId) -> usize {
        let cut = self.by_member.remove(&of).unwrap_or_default();
        let at_work: Vec<_> = cut.into_iter().filter(|client| !client.is_finished()).collect();
        at_work.iter().for_each(AbortHandle::abort);
        at_work.len()
    }

    /// Waits for all of them, and cuts off those that take too long.
    async fn end(&mut self) {
        let over = async { while self.all.join_next().await.is_some() {} };
        drop(timeout(ANSWERS_WITHIN, over).await);
        self.all.shutdown().await;
        self.by_member.clear();
    }
}

struct World {
    plan: Rc<Plan>,
    dice: Random,
    network: Network,
    seats: BTreeMap<MemberId, Seat>,
    clients: Clients,
    noted: Rc<RefCell<Noted>>,
    faults: u64,
    changes: u64,
    forgetful: u64,
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let plan = Rc::new(Plan::of_mesh(seed));
    let mut world = World {
        plan,
        dice: Random(seed ^ 0x3E5E_D1CE),
        network: Network::new(seed ^ 0x0E74_0C4B),
        seats: BTreeMap::new(),
        clients: Clients::default(),
        noted: Rc::default(),
        faults: 0,
        changes: 0,
        forgetful: 0,
    };
    let local = LocalSet::new();
    let ended = simulation::run(seed, local.run_until(world.run()));
    let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
    let noted = world.noted.borrow();
    Outcome {
        broken: ended.err().or_else(|| noted.broken.clone()),
        calls: noted.calls,
        checked: noted.history.checked,
        faults: world.faults + world.network.faults(),
        changes: world.changes,
        forgetful: world.forgetful,
        trace: noted.trace,
    }
}

impl World {
    async fn run(&mut self) -> Result<(), String> {
        self.seats.insert(FIRST, self.seat(1, None));
        self.start(FIRST).await?;
        let owner = owner(self.store(FIRST)?)
            .await
            .map_err(|error| error.to_string())?;
        let boxes = 1 + self.dice.below(3);
        for _ in 0..boxes {
            self.admit().await?;
        }
        for _ in 0..1 + self.dice.below(3) {
            self.back_up();
            self.era(&owner).await?;
            if self.dice.below(3) == 0 {
                self.set_back_somebody(&owner).await?;
            }
        }
        self.heal().await?;
        self.blocks_are_in_place(&owner).await?;
        for member in self.everybody() {
            let client = self.client(member, &owner)?;
            let checked = timeout(ANSWERS_WITHIN * 4, check::everything_is_read(&client)).await;
            checked.map_err(|_| format!("{member:?} does not answer"))??;
        }
        self.nothing_is_left_over(&owner).await?;
        self.no_tombstone_is_left().await?;
        // Calls that were given up may still happen as long as anybody retries them; nobody does any more.
        self.noted.borrow_mut().history.settle()
    }

    /// Voters change, and clients work meanwhile, among misfortunes.
    async fn era(&mut self, owner: &AccessKeyId) -> Result<(), String> {
        let members = self.everybody();
        for _ in 0..self.plan.clients {
            let member = members[self.dice.below(members.len())];
            self.begin_client(member, owner)?;
        }
        let wanted: Vec<MemberId> = {
            let mut wanted = members.clone();
            while wanted.len() > 1 && self.dice.below(3) > 0 {
                wanted.swap_remove(self.dice.below(wanted.len()));
            }
            wanted
        };
        let leader = members[self.dice.below(members.len())];
        let reassigned = self.store(leader)?.reassign(&wanted);
        if matches!(timeout(ANSWERS_WITHIN, reassigned).await, Ok(Ok(true))) {
            self.changes += 1;
        }
        for _ in 0..self.dice.below(4) {
            sleep(Duration::from_millis(self.dice.below(CALM_MILLIS_MAX) as u64)).await;
            self.misfortune(&members, owner).await?;
        }
        self.clients.end().await;
        Ok(())
    }

    fn begin_client(&mut self, member: MemberId, owner: &AccessKeyId) -> Result<(), String> {
        let (client, calls) = (self.client(member, owner)?, 4 + self.dice.below(10));
        self.clients.begin(client, member, calls);
        Ok(())
    }

    async fn misfortune(&mut self, members: &[MemberId], owner: &AccessKeyId) -> Result<(), String> {
        let (a, b) = (
            members[self.dice.below(members.len())],
            members[self.dice.below(members.len())],
        );
        match self.dice.below(5) {
            0 if a != b => self.network.toggle(a, b),
            3 => self.sweep(a, b).await?,
            4 => self.forget().await?,
            dice => {
                let cut_off = self.restart(a, dice == 1).await?;
                for _ in 0..cut_off {
                    self.begin_client(a, owner)?;
                }
            }
        }
        Ok(())
    }

    /// One box begins a sweep of unreferenced blocks, and another does its share, both without being waited for.
    async fn sweep(&mut self, begins: MemberId, sweeps: MemberId) -> Result<(), String> {
        let (beginning, sweeping) = (self.store(begins)?.clone(), self.store(sweeps)?.clone());
        let work = async move {
            drop(beginning.begin_sweep().await);
            drop(sweeping.sweep().await);
        };
        drop(timeout(Duration::from_millis(400), work).await);
        Ok(())
    }

    /// Every box forgets tombstones of the partitions it holds, without being waited for.
    async fn forget(&mut self) -> Result<(), String> {
        let stores: Vec<_> = self
            .seats
            .values()
            .filter_map(|seat| seat.store.clone())
            .collect();
        let work = join_all(stores.iter().map(Store::forget_tombstones));
        drop(timeout(Duration::from_millis(2000), work).await);
        Ok(())
    }

    /// A power cut, or a kill; the box comes back after a while. Says how many clients lost their connection.
    async fn restart(&mut self, member: MemberId, loses_power: bool) -> Result<usize, String> {
        self.faults += 1;
        let away = Duration::from_millis(self.dice.below(3000) as u64);
        let Some(seat) = self.seats.get_mut(&member) else {
            return Ok(0);
        };
        let cut_off = self.clients.cut_off(member);
        self.network.leave(member);
        if loses_power {
            seat.medium.cut_power();
        }
        if let Some(store) = seat.store.take() {
            store.kill();
        }
        match loses_power {
            true => seat.medium.restart(),
            false => seat.medium.restart_process(),
        }
        sleep(away).await;
        self.start(member).await?;
        Ok(cut_off)
    }

    /// Keeps what is durable now, here and there.
    fn back_up(&mut self) {
        for seat in self.seats.values_mut() {
            if self.dice.below(2) == 0 {
                seat.backup = Some(seat.medium.back_up());
            }
        }
    }

    /// Once everything is with everybody who should have it, one box that the others can do without comes back with an older
    /// disk. Nobody listens to it, and it takes its place anew.
    async fn set_back_somebody(&mut self, owner: &AccessKeyId) -> Result<(), String> {
        let members = self.everybody();
        let member = members[self.dice.below(members.len())];
        self.network.calm();
        self.settles().await?;
        self.blocks_are_in_place(owner).await?;
        let Some(seat) = self.seats.get_mut(&member) else {
            return Ok(());
        };
        // Somebody may be gone for good who still votes: then those who are left may need this one.
        let others = members.iter().copied().filter(|other| *other != member).collect();
        let Some(store) = seat.store.clone().filter(|store| store.suffice(&others)) else {
            return Ok(());
        };
        let Some(backup) = seat.backup.take() else {
            return Ok(());
        };
        self.faults += 1;
        let (_, durable) = store.disk().durable_lsns();
        self.clients.cut_off(member);
        self.network.leave(member);
        store.kill();
        seat.medium = backup;
        self.start(member).await?;
        for number in 0..self.plan.clients {
            let at = if number == 0 {
                member
            } else {
                members[self.dice.below(members.len())]
            };
            self.begin_client(at, owner)?;
        }
        let store = self.store(member)?.clone();
        let (opened, _) = store.disk().durable_lsns();
        if opened < durable {
            let noticed = timeout(ANSWERS_WITHIN, store.until_forgotten()).await;
            noticed.map_err(|_| {
                format!("nobody notices that {member:?} was set back from {durable} to {opened}")
            })?;
        }
        self.clients.end().await;
        match store.forgotten() {
            Some(_) => self.takes_its_place_anew(member).await,
            None => Ok(()),
        }
    }

    /// Who votes as far as each knows, and who has forgotten what.
    fn standing(&self) -> String {
        let stores = self
            .seats
            .iter()
            .filter_map(|(member, seat)| Some((member, seat.store.as_ref()?)));
        let says = stores.map(|(member, store)| {
            let (voters, forgotten) = (store.voters(), store.forgotten());
            format!("{member:?}: {voters} {forgotten:?}")
        });
        says.collect::<Vec<_>>().join("; ")
    }

    async fn takes_its_place_anew(&mut self, member: MemberId) -> Result<(), String> {
        let others: Vec<MemberId> = self
            .everybody()
            .into_iter()
            .filter(|other| *other != member)
            .collect();
        let through = others[self.dice.below(others.len())];
        let through = self.store(through)?.clone();
        let welcome = patiently(|| through.readmit(member)).await;
        let welcome = welcome
            .map_err(|error| format!("{member:?} takes no place anew: {error}; {}", self.standing()))?;
        let Some(mut seat) = self.seats.remove(&member) else {
            return Ok(());
        };
        self.network.leave(member);
        if let Some(store) = seat.store.take() {
            store.kill();
        }
        seat.medium.restart();
        let forgotten = forget_rows_on(&*seat.medium.mount());
        forgotten.map_err(|error| error.to_string())?;
        self.forgetful += 1;
        let (anew, number) = (welcome.member, seat.number);
        seat.welcome = Some(welcome);
        self.seats.insert(anew, seat);
        self.start(anew).await?;
        // A place whose giver was not heard is there as well.
        let places = through.members().into_iter();
        let own = node(number).node;
        let earlier = places.filter(|(place, row)| *place != anew && row.node == own);
        for (place, _) in earlier {
            let removed = patiently(|| through.remove_member(place, Parting::WithWhatItHolds)).await;
            match removed {
                // An attempt whose answer was lost did it.
                Ok(()) | Err(StoreError::NoSuchMember) => {}
                Err(error) => return Err(format!("{place:?} is not removed: {error}")),
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more: before long everybody agrees who votes, and nobody has anything left to do.
    async fn heal(&mut self) -> Result<(), String> {
        self.network.heal();
        self.settles().await
    }

    async fn settles(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while !self.is_settled() {
            if began.elapsed() > SETTLES_WITHIN {
                return Err(format!("voters do not settle: {}", self.standing()));
            }
            sleep(Duration::from_millis(500)).await;
        }
        // Gateways try for less than this.
        sleep(Duration::from_secs(60)).await;
        Ok(())
    }

    /// Before long every block is with everybody who should hold it.
    async fn blocks_are_in_place(&mut self, owner: &AccessKeyId) -> Result<(), String> {
        let client = self.client(self.first()?, owner)?;
        let stores = self.seats.iter();
        let stores: BTreeMap<MemberId, Store> = stores
            .filter_map(|(member, seat)| Some((*member, seat.store.clone()?)))
            .collect();
        let began = Instant::now();
        while let Some(astray) = check::astray(&client, &stores).await? {
            if began.elapsed() > IN_PLACE_WITHIN {
                return Err(astray);
            }
            sleep(Duration::from_secs(5)).await;
        }
        Ok(())
    }

    /// With every object and every bucket deleted, two sweeps leave no block anywhere.
    async fn nothing_is_left_over(&mut self, owner: &AccessKeyId) -> Result<(), String> {
        let client = self.client(self.first()?, owner)?;
        check::everything_is_deleted(&client).await?;
        let stores: Vec<Store> = self
            .seats
            .values()
            .filter_map(|seat| seat.store.clone())
            .collect();
        for _ in 0..2 {
            let begun = self.store(self.first()?)?.begin_sweep().await;
            begun.map_err(|error| format!("a sweep does not begin: {error}"))?;
        }
        let began = Instant::now();
        for store in &stores {
            store.hear_news().await;
            while let Err(error) = store.sweep().await {
                if began.elapsed() > SWEPT_WITHIN {
                    return Err(format!("{:?} cannot sweep: {error}", store.me()));
                }
                sleep(Duration::from_secs(5)).await;
            }
        }
        while let Some(left) = check::left_over(&stores)? {
            if began.elapsed() > SWEPT_WITHIN {
                return Err(left);
            }
            sleep(Duration::from_secs(5)).await;
        }
        Ok(())
    }

    /// With everybody there, no tombstone is left anywhere.
    async fn no_tombstone_is_left(&mut self) -> Result<(), String> {
        let stores: Vec<Store> = self
            .seats
            .values()
            .filter_map(|seat| seat.store.clone())
            .collect();
        let failed = |error: StoreError| format!("tombstones cannot be forgotten: {error}");
        let began = Instant::now();
        loop {
            let mut left = None;
            for store in &stores {
                store.forget_tombstones().await.map_err(failed)?;
            }
            for store in &stores {
                left = left.or(store.has_tombstones().map_err(failed)?.then_some(store.me()));
            }
            let Some(left) = left else { return Ok(()) };
            if began.elapsed() > FORGOTTEN_WITHIN {
                return Err(format!("tombstones are left at {left:?}"));
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn is_settled(&self) -> bool {
        let stores = self.seats.values().filter_map(|seat| seat.store.as_ref());
        let standings: Vec<_> = stores.map(Store::voters).collect();
        standings
            .iter()
            .all(|voters| Some(voters) == standings.first() && voters.is_settled())
    }

    /// A box joins.
    async fn admit(&mut self) -> Result<(), String> {
        let number = self.seats.len() + 1;
        let admitted = self.store(FIRST)?.admit(node(number)).await;
        let welcome = admitted.map_err(|error| format!("admit: {error}"))?;
        let member = welcome.member;
        self.seats.insert(member, self.seat(member.0, Some(welcome)));
        self.start(member).await
    }

    fn seat(&self, number: u32, welcome: Option<Welcome>) -> Seat {
        Seat {
            number: number as usize,
            medium: FaultMedium::new(u64::from(number) ^ self.plan.seed()),
            backup: None,
            welcome,
            store: None,
        }
    }

    async fn start(&mut self, member: MemberId) -> Result<(), String> {
        let peers = self.network.line(member);
        let Some(seat) = self.seats.get_mut(&member) else {
            return Ok(());
        };
        let number = seat.number;
        let membership = match seat.welcome.clone() {
            Some(welcome) => Membership::admitted(welcome, node(number), secret(number), peers),
            None => Membership::founder(node(number), secret(number), peers),
        };
        let mut options = self.plan.options(seat.medium.mount());
        options.membership = membership;
        let opened = Store::open_simulated(options).await;
        let store = opened.map_err(|error| format!("{member:?} does not open: {error}"))?;
        self.network.join(member, store.clone());
        seat.store = Some(store);
        Ok(())
    }

    /// The member of the lowest number.
    fn first(&self) -> Result<MemberId, String> {
        let first = self.seats.keys().next().copied();
        first.ok_or_else(|| "nobody is there".to_owned())
    }

    fn everybody(&self) -> Vec<MemberId> {
        self.seats.keys().copied().collect()
    }

    fn store(&self, member: MemberId) -> Result<&Store, String> {
        let store = self.seats.get(&member).and_then(|seat| seat.store.as_ref());
        store.ok_or_else(|| format!("{member:?} is not open"))
    }

    fn client(&mut self, member: MemberId, owner: &AccessKeyId) -> Result<Client, String> {
        let dice = Random(self.dice.next_u64());
        Ok(Client {
            store: self.store(member)?.clone(),
            dice,
            owner: owner.clone(),
            keys: self.plan.keys(),
            plan: self.plan.clone(),
            noted: self.noted.clone(),
        })
    }
}

/// Tries again while too few members answer, for as long as voters may take to settle.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    work: impl Fn() -> F,
) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match work().await {
            Err(StoreError::Unavailable) if began.elapsed() < SETTLES_WITHIN => {
                sleep(Duration::from_secs(1)).await;
            }
            ended => return ended,
        }
    }
}

fn secret(number: usize) -> NodeSecret {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    NodeSecret::from_bytes(&bytes)
}

fn node(number: usize) -> MemberRow {
    MemberRow {
        name: format!("box {number}"),
        zone: Zone::parse(&format!("zone {number}")).unwrap_or_else(|_| Zone::home()),
        role: Role::Trusted,
        capacity: 1 << 30,
        draining: false,
        parting: false,
        node: Bytes::copy_from_slice(&secret(number).public()),
        joined: Timestamp::from_millis(0),
    }
}
