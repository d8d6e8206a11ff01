//! Stores that call each other within one simulated world, for tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::mesh::{Membership, Welcome};
use crate::cluster::ROOT_PARTITION;
use crate::cluster::peers::{Class, PeerError, Peers};
use crate::disk::fault::FaultMedium;
use crate::model::{
    AccessKeyId, Bucket, BucketName, BucketSettings, ChecksumAlgorithm, Folding, KeyName, Lock, MemberId,
    MemberRow, ObjectHeaders, ObjectKey, Role, SecretKey, StorageClass, Timestamp, WriteCondition, Zone,
};
use crate::objects::{Claims, DeleteTarget, NewKey, NewObject, NewUpload, ObjectBody};
use crate::simulation::{self, SimulatedLayout, SimulatedOptions};
use crate::{NodeSecret, Store, StoreError};

/// How long an answer is waited for: as in a mesh, metadata for less long than blocks.
const METADATA_WAIT: Duration = Duration::from_secs(8);
const BLOCK_WAIT: Duration = Duration::from_secs(90);

/// Stores that call each other within one world.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    stores: BTreeMap<MemberId, Store>,
    away: BTreeSet<MemberId>,
    trap: Option<Trap>,
    /// Those that take calls, and do nothing with them.
    mute: BTreeSet<MemberId>,
    /// How often a member was asked for a row.
    reads: usize,
    /// Bytes of the calls of each member.
    sent: BTreeMap<MemberId, usize>,
}

/// A call that somebody waits for, and of which no answer will come back.
struct Trap {
    /// Words that are all in it.
    words: Vec<&'static str>,
    met: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

struct Line {
    me: MemberId,
    wire: Wire,
}

impl Line {
    fn reach(&self, to: MemberId) -> Option<Store> {
        let ends = self.wire.0.lock().unwrap();
        let cut = ends.away.contains(&self.me) || ends.away.contains(&to);
        ends.stores.get(&to).filter(|_| !cut).cloned()
    }

    /// Takes the trap if it is for this call.
    fn trapped(&self, request: &[u8]) -> Option<Trap> {
        let mut ends = self.wire.0.lock().unwrap();
        ends.trap
            .take_if(|trap| trap.words.iter().all(|word| holds(request, word)))
    }
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|there| there == word.as_bytes())
}

impl Wire {
    /// Nobody reaches a member any more.
    pub(crate) fn cut(&self, member: MemberId) {
        self.0.lock().unwrap().away.insert(member);
    }

    /// Everybody reaches it again.
    pub(crate) fn mend(&self, member: MemberId) {
        self.0.lock().unwrap().away.remove(&member);
    }

    /// A member takes calls and answers none.
    pub(crate) fn mute(&self, member: MemberId) {
        self.0.lock().unwrap().mute.insert(member);
    }

    /// It answers again.
    pub(crate) fn unmute(&self, member: MemberId) {
        self.0.lock().unwrap().mute.remove(&member);
    }

    /// Bytes of the calls that a member has sent so far.
    pub(crate) fn sent(&self, member: MemberId) -> usize {
        self.0.lock().unwrap().sent.get(&member).copied().unwrap_or(0)
    }

    /// How often a member was asked for a row so far.
    pub(crate) fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }

    /// Holds up the next operation about a key that is submitted to another member: says when it is on its way, and lets it
    /// arrive when told to. Whoever submitted it hears nothing of it.
    pub(crate) fn lose_answer_about(
        &self,
        key: &'static str,
    ) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((met, meeting), (going_on, go_on)) = (oneshot::channel(), oneshot::channel());
        let words = vec!["Submit", key];
        self.0.lock().unwrap().trap = Some(Trap { words, met, go_on });
        (meeting, going_on)
    }
}

impl Peers for Line {
    fn call(
        &self,
        to: MemberId,
        class: Class,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let line = Self {
            me: self.me,
            wire: self.wire.clone(),
        };
        Box::pin(async move {
            simulation::pause().await;
            let Some(store) = line.reach(to) else {
                sleep(Duration::from_millis(200)).await;
                return Err(PeerError::NoAnswer(to));
            };
            let is_mute = {
                let mut ends = line.wire.0.lock().unwrap();
                ends.reads += usize::from(holds(&request, "Read"));
                *ends.sent.entry(line.me).or_default() += request.len();
                ends.mute.contains(&to)
            };
            if is_mute {
                sleep(match class {
                    Class::Metadata => METADATA_WAIT,
                    Class::Block => BLOCK_WAIT,
                })
                .await;
                return Err(PeerError::NoAnswer(to));
            }
            let trap = line.trapped(&request);
            let is_lost = trap.is_some();
            if let Some(Trap { met, go_on, .. }) = trap {
                met.send(()).unwrap();
                go_on.await.unwrap();
            }
            let answer = store.answer(line.me, &request).await;
            simulation::pause().await;
            match answer {
                Ok(answer) if !is_lost && line.reach(to).is_some() => Ok(answer),
                _ => Err(PeerError::NoAnswer(to)),
            }
        })
    }

    fn nearest(&self, of: &[MemberId]) -> Vec<MemberId> {
        of.iter()
            .copied()
            .filter(|member| self.reach(*member).is_some())
            .collect()
    }
}

/// The key of the node in a zone.
pub(crate) fn secret(zone: &str) -> NodeSecret {
    NodeSecret::from_bytes(blake3::hash(zone.as_bytes()).as_bytes())
}

pub(crate) fn node(zone: &str) -> MemberRow {
    MemberRow {
        name: zone.into(),
        zone: Zone::parse(zone).unwrap(),
        role: Role::Trusted,
        capacity: 1 << 30,
        draining: false,
        parting: false,
        node: Bytes::copy_from_slice(&secret(zone).public()),
        joined: Timestamp::now(),
    }
}

async fn open(wire: &Wire, membership: impl FnOnce(Arc<dyn Peers>) -> Membership, me: MemberId) -> Store {
    open_on(&FaultMedium::new(u64::from(me.0)), wire, membership, me).await
}

async fn open_on(
    medium: &FaultMedium,
    wire: &Wire,
    membership: impl FnOnce(Arc<dyn Peers>) -> Membership,
    me: MemberId,
) -> Store {
    let peers = Arc::new(Line {
        me,
        wire: wire.clone(),
    });
    let store = Store::open_simulated(SimulatedOptions {
        medium: medium.mount(),
        layout: SimulatedLayout {
            row_segment_bytes: 64 << 10,
            block_segment_bytes: 64 << 10,
            accept_loss: false,
        },
        keys: 7,
        inline_bytes: 512,
        block_bytes: 1024,
        manifest_bytes: 1000,
        part_bytes_min: 100,
        folding: Folding { at: 3000, keep: 1000 },
        membership: membership(peers),
        hot: 0,
    });
    let store = store.await.unwrap();
    wire.0.lock().unwrap().stores.insert(me, store.clone());
    store
}

pub(crate) async fn founder(wire: &Wire, zone: &str) -> Store {
    open(
        wire,
        |peers| Membership::founder(node(zone), secret(zone), peers),
        MemberId(1),
    )
    .await
}

/// A founder whose seat names others, on a disk of its own.
pub(crate) async fn founder_on(
    medium: &FaultMedium,
    wire: &Wire,
    zone: &str,
    named: impl IntoIterator<Item = MemberId>,
) -> Store {
    open_on(
        medium,
        wire,
        |peers| Membership::founder(node(zone), secret(zone), peers).among(named),
        MemberId(1),
    )
    .await
}

pub(crate) async fn join(wire: &Wire, through: &Store, zone: &str) -> Store {
    let welcome = through.admit(node(zone)).await.unwrap();
    let me = welcome.member;
    open(
        wire,
        |peers| Membership::admitted(welcome, node(zone), secret(zone), peers),
        me,
    )
    .await
}

/// Whoever was admitted, on a disk of its own.
pub(crate) async fn start(wire: &Wire, welcome: Welcome, zone: &str, medium: &FaultMedium) -> Store {
    let me = welcome.member;
    open_on(
        medium,
        wire,
        |peers| Membership::admitted(welcome, node(zone), secret(zone), peers),
        me,
    )
    .await
}

pub(crate) async fn owner(store: &Store) -> AccessKeyId {
    let id = AccessKeyId::parse("SIMULATED").unwrap();
    let new = NewKey {
        name: KeyName::parse("owner").unwrap(),
        create_buckets: true,
        import: Some((id.clone(), SecretKey::parse("simulated-secret").unwrap())),
    };
    store.create_key(new).await.unwrap();
    id
}

pub(crate) async fn create(store: &Store, name: &str, owner: &AccessKeyId) -> Arc<Bucket> {
    let name = BucketName::parse(name).unwrap();
    store
        .create_bucket(&name, owner, BucketSettings::default())
        .await
        .unwrap()
}

pub(crate) async fn put(store: &Store, bucket: &Bucket, key: &str, text: &str) -> Result<(), StoreError> {
    store
        .put_object(bucket, &object_key(key), new_object(), body(text))
        .await
        .map(drop)
}

/// An object of which nothing special is said.
pub(crate) fn new_object() -> NewObject {
    NewObject {
        headers: ObjectHeaders::default(),
        class: StorageClass::Standard,
        condition: WriteCondition::None,
        lock: Lock::default(),
        cause: crate::model::Cause::default(),
        invocation: None,
    }
}

/// An upload of which nothing special is said.
pub(crate) fn new_upload() -> NewUpload {
    NewUpload {
        headers: ObjectHeaders::default(),
        class: StorageClass::Standard,
        checksum: None,
        full_object: false,
        lock: Lock::default(),
        initiator: None,
        customer: None,
    }
}

/// The whole content of an object.
pub(crate) async fn get(store: &Store, bucket: &Bucket, key: &str) -> Result<String, StoreError> {
    let object = store.object(bucket, &object_key(key), None).await?;
    let (mut reader, mut content) = (object.read(0..u64::MAX), Vec::new());
    while let Some(piece) = reader.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(content).unwrap())
}

pub(crate) async fn delete(store: &Store, bucket: &Bucket, key: &str) {
    try_delete(store, bucket, key).await.unwrap();
}

pub(crate) async fn try_delete(store: &Store, bucket: &Bucket, key: &str) -> Result<(), StoreError> {
    let target = DeleteTarget {
        key: object_key(key),
        version: None,
        condition: WriteCondition::None,
        bypass: false,
        cause: crate::model::Cause::default(),
    };
    store.delete_object(bucket, target).await.map(drop)
}

pub(crate) fn object_key(key: &str) -> ObjectKey {
    ObjectKey::parse(key.as_bytes()).unwrap()
}

/// A body in one piece.
pub(crate) fn body(text: &str) -> Halves {
    Halves {
        first: Some(Bytes::copy_from_slice(text.as_bytes())),
        second: None,
    }
}

/// A body of which one piece is here, and another comes when somebody says so.
pub(crate) struct Halves {
    pub(crate) first: Option<Bytes>,
    pub(crate) second: Option<oneshot::Receiver<Bytes>>,
}

/// A write that begins now, with what is here of it, and ends when the sender is used.
pub(crate) fn slow_put(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    first: Option<String>,
) -> (oneshot::Sender<Bytes>, JoinHandle<Result<(), StoreError>>) {
    let (sender, second) = oneshot::channel();
    let body = Halves {
        first: first.map(Bytes::from),
        second: Some(second),
    };
    let (store, bucket, key) = (store.clone(), bucket.clone(), object_key(key));
    let put = async move { store.put_object(&bucket, &key, new_object(), body).await };
    let putting = tokio::spawn(async move { put.await.map(drop) });
    (sender, putting)
}

impl ObjectBody for Halves {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        Some(Ok(self.second.take()?.await.ok()?))
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        None
    }

    fn claims_sha256(&self) -> bool {
        false
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }
}

/// Waits until every partition has voters as wanted, and nobody has to do anything for that any more.
pub(crate) async fn settled(stores: &[&Store], voters: &[u32]) {
    let voters: BTreeSet<MemberId> = voters.iter().map(|member| MemberId(*member)).collect();
    for _ in 0..2000 {
        let there = |store: &&Store| {
            (0..=ROOT_PARTITION).all(|partition| {
                let registers = store.0.partitions.registers();
                let configs = registers.configs(partition);
                let config = configs.get(registers.epoch(partition)).cloned();
                config.is_some_and(|config| config.new.is_none() && config.members() == voters)
            })
        };
        if stores.iter().all(there) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("not settled");
}

/// Content of so many blocks, of which no two are alike.
pub(crate) fn content(of: &str, blocks: usize) -> String {
    (0..blocks * 64).map(|word| format!("{of:>8}{word:08}")).collect()
}

/// Three boxes with a bucket.
pub(crate) async fn three(wire: &Wire) -> [Store; 3] {
    let first = founder(wire, "anna").await;
    let key = owner(&first).await;
    create(&first, "photos", &key).await;
    let second = join(wire, &first, "ben").await;
    let third = join(wire, &first, "cleo").await;
    assigned(&[&first, &second, &third], &[1, 2, 3]).await;
    [first, second, third]
}

/// Has rows and blocks assigned to these, however short a time they are members.
pub(crate) async fn assigned(stores: &[&Store], voters: &[u32]) {
    let members: Vec<MemberId> = stores.iter().map(|store| store.0.me).collect();
    while !stores[0].reassign(&members).await.unwrap() {
        sleep(Duration::from_secs(1)).await;
    }
    settled(stores, voters).await;
}
