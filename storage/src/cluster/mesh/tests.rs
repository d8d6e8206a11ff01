//! Promises of stores that are one mesh, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::*;
use crate::cluster::ROOT_PARTITION;
use crate::cluster::peers::{Class, PeerError, Peers};
use crate::disk::fault::FaultMedium;
use crate::model::{
    AccessKeyId, Bucket, BucketName, BucketSettings, ChecksumAlgorithm, InviteId, KeyName, MemberId,
    MemberRow, ObjectHeaders, ObjectKey, Role, SecretKey, StorageClass, Timestamp, WriteCondition, Zone,
};
use crate::objects::{Claims, NewKey, NewObject, ObjectBody};
use crate::simulation::{self, SimulatedLayout, SimulatedOptions};
use crate::{Store, StoreError};

/// Stores that call each other within one world.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    stores: BTreeMap<MemberId, Store>,
    away: BTreeSet<MemberId>,
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
}

impl Peers for Line {
    fn call(&self, to: MemberId, _: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, PeerError>> {
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
            let answer = store.answer(line.me, &request).await;
            simulation::pause().await;
            match answer {
                Ok(answer) if line.reach(to).is_some() => Ok(answer),
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

fn node(zone: &str) -> MemberRow {
    MemberRow {
        name: zone.into(),
        zone: Zone::parse(zone).unwrap(),
        role: Role::Trusted,
        capacity: 1 << 30,
        draining: false,
        node: Bytes::new(),
        joined: Timestamp::now(),
    }
}

async fn open(wire: &Wire, membership: impl FnOnce(Arc<dyn Peers>) -> Membership, me: MemberId) -> Store {
    let peers = Arc::new(Line {
        me,
        wire: wire.clone(),
    });
    let store = Store::open_simulated(SimulatedOptions {
        medium: FaultMedium::new(u64::from(me.0)).mount(),
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
        membership: membership(peers),
        hot: 0,
    });
    let store = store.await.unwrap();
    wire.0.lock().unwrap().stores.insert(me, store.clone());
    store
}

async fn founder(wire: &Wire, zone: &str) -> Store {
    open(wire, |peers| Membership::founder(node(zone), peers), MemberId(1)).await
}

async fn join(wire: &Wire, through: &Store, zone: &str) -> Store {
    let welcome = through.admit(node(zone)).await.unwrap();
    let me = welcome.member;
    open(wire, |peers| Membership::admitted(welcome, node(zone), peers), me).await
}

async fn owner(store: &Store) -> AccessKeyId {
    let id = AccessKeyId::parse("SIMULATED").unwrap();
    let new = NewKey {
        name: KeyName::parse("owner").unwrap(),
        create_buckets: true,
        import: Some((id.clone(), SecretKey::parse("simulated-secret").unwrap())),
    };
    store.create_key(new).await.unwrap();
    id
}

async fn create(store: &Store, name: &str, owner: &AccessKeyId) -> Arc<Bucket> {
    let name = BucketName::parse(name).unwrap();
    store
        .create_bucket(&name, owner, BucketSettings::default())
        .await
        .unwrap()
}

async fn put(store: &Store, bucket: &Bucket, key: &str, text: &str) -> Result<(), StoreError> {
    let new = NewObject {
        headers: ObjectHeaders::default(),
        class: StorageClass::Standard,
        condition: WriteCondition::None,
    };
    let body = Text(Some(Bytes::copy_from_slice(text.as_bytes())));
    let key = ObjectKey::parse(key.as_bytes()).unwrap();
    store.put_object(bucket, &key, new, body).await.map(drop)
}

/// A body in one piece.
struct Text(Option<Bytes>);

impl ObjectBody for Text {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        self.0.take().map(Ok)
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
async fn settled(stores: &[&Store], voters: &[u32]) {
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

#[test]
fn one_box_becomes_three_and_everybody_finds_everything() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "before", "there").await.unwrap();
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        assert_eq!(second.buckets().len(), 1);
        let third = join(&wire, &second, "cleo").await;
        settled(&[&first, &second, &third], &[1, 2, 3]).await;
        assert_eq!(third.members().len(), 3);
        let bucket = third.buckets().remove(0);
        put(&third, &bucket, "after", "there as well").await.unwrap();
        for store in [&first, &second, &third] {
            for (key, size) in [("before", 5), ("after", 13)] {
                let key = ObjectKey::parse(key.as_bytes()).unwrap();
                let object = store.object(&bucket, &key, None).await.unwrap();
                assert_eq!(object.info().size, size);
            }
        }
        // Any one of them may go.
        wire.0.lock().unwrap().away.insert(MemberId(1));
        put(&second, &bucket, "without", "anna").await.unwrap();
        let key = ObjectKey::parse(b"without").unwrap();
        assert_eq!(third.object(&bucket, &key, None).await.unwrap().info().size, 4);
    })
    .unwrap();
}

fn guest(key: u8) -> MemberRow {
    MemberRow {
        node: Bytes::from(vec![key; 32]),
        ..node("ben")
    }
}

fn later() -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() + 3_600_000)
}

#[test]
fn an_invite_lets_one_node_in_and_the_same_one_again() {
    simulation::run(3, async {
        let first = founder(&Wire::default(), "anna").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let welcome = first.redeem_invite(invite, guest(1)).await.unwrap();
        assert_eq!(welcome.member, MemberId(2));
        assert_eq!(first.redeem_invite(invite, guest(1)).await.unwrap(), welcome);
        assert!(matches!(
            first.redeem_invite(invite, guest(2)).await,
            Err(StoreError::InviteUsed)
        ));
        let members: Vec<_> = first.members().into_iter().map(|(member, _)| member).collect();
        assert_eq!(members, [MemberId(1), MemberId(2)]);
        let redeemed = first.invites().remove(0).1.redeemed.unwrap();
        assert_eq!((redeemed.member, redeemed.node), (MemberId(2), guest(1).node));
    })
    .unwrap();
}

#[test]
fn an_invite_that_was_revoked_has_expired_or_never_was_lets_nobody_in() {
    simulation::run(4, async {
        let first = founder(&Wire::default(), "anna").await;
        let [revoked, expired, unknown] = [1, 2, 3].map(|seed| InviteId::from_bytes([seed; 32]));
        first
            .create_invite(revoked, Role::Trusted, later())
            .await
            .unwrap();
        first
            .create_invite(expired, Role::Trusted, Timestamp::now())
            .await
            .unwrap();
        first.revoke_invite(revoked).await.unwrap();
        assert!(matches!(
            first.revoke_invite(revoked).await,
            Err(StoreError::NoSuchInvite)
        ));
        for invite in [revoked, expired, unknown] {
            assert!(first.redeem_invite(invite, guest(1)).await.is_err());
        }
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_removed_member_does_not_come_back_with_its_old_invite() {
    simulation::run(5, async {
        let first = founder(&Wire::default(), "anna").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let welcome = first.redeem_invite(invite, guest(1)).await.unwrap();
        first.remove_member(welcome.member).await.unwrap();
        assert!(matches!(
            first.redeem_invite(invite, guest(1)).await,
            Err(StoreError::NoSuchInvite)
        ));
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn any_member_redeems_an_invite_that_another_made_and_two_at_once_let_one_in() {
    simulation::run(6, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let (here, there) = futures_util::join!(
            first.redeem_invite(invite, guest(1)),
            second.redeem_invite(invite, guest(2))
        );
        assert_eq!(usize::from(here.is_ok()) + usize::from(there.is_ok()), 1);
        assert_eq!(first.members().len(), 3);
    })
    .unwrap();
}

#[test]
fn a_member_without_which_nothing_could_be_decided_is_not_let_go() {
    simulation::run(7, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        for store in [&first, &second] {
            let refused = store.remove_member(MemberId(1)).await;
            assert!(
                matches!(refused, Err(StoreError::StillNeeded { partitions: 257 })),
                "{refused:?}"
            );
        }
        second.remove_member(MemberId(2)).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_box_that_joins_and_goes_away_at_once_stops_nobody() {
    simulation::run(8, async {
        let wire = Wire::default();
        let first = founder(&wire, "zoe").await;
        let key = owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        sleep(Duration::from_secs(30)).await;
        wire.0.lock().unwrap().away.insert(second.me());
        sleep(Duration::from_secs(60)).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "alone", "again").await.unwrap();
        // Once it has stayed for a while it votes, and the first box goes on without it all the same.
        wire.0.lock().unwrap().away.clear();
        settled(&[&first, &second], &[1, 2]).await;
        wire.0.lock().unwrap().away.insert(second.me());
        put(&first, &bucket, "alone", "once more").await.unwrap();
    })
    .unwrap();
}

#[test]
fn buckets_that_one_key_creates_at_a_time_wait_for_nobody_for_ever() {
    simulation::run(3, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        while second.access_key(&key).is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        for number in 0..30 {
            // Both rely on the row of the access key.
            let names = [format!("photos-{number}"), format!("films-{number}")];
            let created = async {
                futures_util::join!(create(&first, &names[0], &key), create(&second, &names[1], &key))
            };
            let created = tokio::time::timeout(Duration::from_secs(10), created);
            created.await.unwrap();
        }
    })
    .unwrap();
}

#[test]
fn a_bucket_is_deleted_here_or_written_to_elsewhere_and_never_both() {
    let (mut deleted, mut written) = (0, 0);
    for seed in 0..4 {
        let both = simulation::run(seed, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let key = owner(&first).await;
            let second = join(&wire, &first, "ben").await;
            settled(&[&first, &second], &[1, 2]).await;
            let bucket = create(&first, "photos", &key).await;
            // The other box takes the bucket to be open for as long as nobody tells it better.
            while second.bucket(&bucket.name).is_err() {
                sleep(Duration::from_millis(10)).await;
            }
            let later = sleep(Duration::from_millis(9 * seed));
            let put = async {
                later.await;
                put(&second, &bucket, "late", "there").await
            };
            let (gone, put) = futures_util::join!(first.delete_bucket(&bucket), put);
            match (&gone, &put) {
                (Ok(()), Err(StoreError::NoSuchBucket)) => {}
                (Err(StoreError::BucketNotEmpty), Ok(())) => {
                    let key = ObjectKey::parse(b"late").unwrap();
                    assert_eq!(first.object(&bucket, &key, None).await.unwrap().info().size, 5);
                }
                other => panic!("{other:?}"),
            }
            (gone.is_ok(), put.is_ok())
        });
        let (gone, put) = both.unwrap();
        deleted += u32::from(gone);
        written += u32::from(put);
    }
    // Both ways round were met.
    assert!(deleted > 0 && written > 0, "{deleted} {written}");
}
