//! Looks at rows for what is still to be told of objects: at each start, when members come and go, when hints were left out,
//! and now and then.
//!
//! Who commits a change says so at once (`objects/events`). What a crash kept from being said is found here: of each partition
//! one voter looks at its rows, as for lifecycle rules, and only at what the index knows of them. Where members came or
//! went, all voters look: whoever went may have left something unsaid, and whoever came heard nothing, and has no rows yet of
//! what was written meanwhile. Buckets that never had a receiver are not looked at.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::lifecycle::partitions_of;
use crate::StoreError;
use crate::cluster::summary_of;
use crate::model::{MemberId, ObjectKey, partition_of, row_key, summary};
use crate::objects::ask_for_events;
use crate::store::Inner;

/// How often all rows are looked at.
const EVERY: Duration = Duration::from_secs(900);
/// After a start, so that other work goes first.
const FIRST_AFTER: Duration = Duration::from_secs(2);
/// At least between two looks: hints that find no room, and members that come and go, again and again must not keep a disk
/// busy.
const REST: Duration = Duration::from_secs(10);
/// At most between two looks because of members that come and go all the time.
const CALM_MAX: Duration = Duration::from_secs(300);
/// How often it is seen whether members came or went, which reads no disk.
const OFTEN: Duration = Duration::from_secs(2);
/// Rows looked at before other work gets the thread.
const ROWS_MAX: usize = 5000;
/// Between pages, so that clients are served meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut due = Instant::now() + FIRST_AFTER;
    let (mut members, mut calm) = (Members::default(), Calm::new(Instant::now()));
    while let Some(looking) = inner.upgrade() {
        let looked = Box::pin(async {
            let wait = due.duration_since(Instant::now()).min(OFTEN);
            let has_missed = timeout(wait, looking.events.missed()).await.is_ok();
            let mine = match calm.is_over(Instant::now()) && members.have_changed(&looking).await {
                true => {
                    calm.grow(Instant::now());
                    voted_in(&looking)
                }
                false if has_missed || due <= Instant::now() => partitions_of(&looking),
                false => return,
            };
            if let Err(error) = look(&looking, Arc::new(mine)).await {
                debug!(%error, "not all rows were looked at for events");
            }
            due = Instant::now() + EVERY;
            sleep(REST).await;
        });
        if stop.run_until_cancelled(looked).await.is_none() {
            return;
        }
    }
}

/// The other members, as far as they come and go.
#[derive(Default)]
struct Members {
    reached: Option<BTreeSet<MemberId>>,
    /// Those that know that this one has started.
    asked: BTreeSet<MemberId>,
}

impl Members {
    /// Whether some came or went, or may not have heard something, since this was asked last; true at first.
    async fn have_changed(&mut self, inner: &Inner) -> bool {
        let reached = reachable(inner);
        for member in &reached {
            if !self.asked.contains(member) && ask_for_events(inner, *member).await {
                self.asked.insert(*member);
            }
        }
        let are_uninformed = inner.events.take_uninformed(&reached);
        let before = self.reached.replace(reached);
        before != self.reached || are_uninformed
    }
}

/// How long members may come and go without a look: the longer, the more often they do.
struct Calm {
    until: Instant,
    pause: Duration,
}

impl Calm {
    fn new(now: Instant) -> Self {
        Self {
            until: now,
            pause: REST,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Begins anew after a look; it is short again once nobody came or went for as long as it would be next.
    fn grow(&mut self, now: Instant) {
        if now >= self.until + self.pause {
            self.pause = REST;
        }
        self.until = now + self.pause;
        self.pause = self.pause.saturating_mul(2).min(CALM_MAX);
    }
}

/// The other members that can be reached now.
fn reachable(inner: &Inner) -> BTreeSet<MemberId> {
    inner.peers.nearest(&inner.others()).into_iter().collect()
}

/// The partitions of which this member votes on the rows, and so has them.
fn voted_in(inner: &Inner) -> BTreeSet<u8> {
    let votes = |partition: &u8| inner.voters(u16::from(*partition)).contains(&inner.me);
    (0..=u8::MAX).filter(votes).collect()
}

/// Notes every key in these partitions of which something is to be told, as long as there is room.
async fn look(inner: &Arc<Inner>, mine: Arc<BTreeSet<u8>>) -> Result<(), StoreError> {
    for bucket in inner.directory.buckets() {
        if !bucket.settings.was_notifying {
            continue;
        }
        let mut next = Some(row_key::objects_of(bucket.id).0);
        while let Some(from) = next {
            let (looking, mine) = (inner.clone(), mine.clone());
            let page = inner.disk.run(move || page(&looking, &mine, &from)).await??;
            for key in page.keys {
                inner.events.note(bucket.id, &key);
            }
            if inner.events.is_full() {
                return Ok(());
            }
            next = page.next;
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A part of the rows: of what something is to be told, and where to go on.
struct Page {
    keys: Vec<ObjectKey>,
    next: Option<Vec<u8>>,
}

/// Blocks the thread.
fn page(inner: &Inner, mine: &BTreeSet<u8>, from: &[u8]) -> Result<Page, StoreError> {
    let to = row_key::after_bucket(from);
    let mut rows = inner.disk.scan(Included(from), Excluded(&to))?;
    let mut keys = Vec::new();
    let mut looked_at = 0;
    while let Some(row) = rows.next_row()? {
        if looked_at == ROWS_MAX {
            let next = Some(row.key().to_vec());
            return Ok(Page { keys, next });
        }
        looked_at += 1;
        let is_mine = partition_of(row.key()).is_some_and(|partition| mine.contains(&partition));
        if is_mine && summary::is_to_be_told(summary_of(row)) {
            keys.extend(row_key::object_key(row.key()));
        }
    }
    Ok(Page { keys, next: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::neighbour_tests::{Wire, object_key, put, three};
    use crate::model::{Bucket, BucketName, BucketSettings, Cause, EventPattern, NotificationRule};
    use crate::objects::NotedKey;
    use crate::{Store, simulation};

    /// Sooner than rows are looked at without a reason.
    const SOON: Duration = Duration::from_secs(120);

    /// Has the bucket of these stores tell of tags that are put.
    async fn tell(store: &Store) -> Arc<Bucket> {
        let photos = BucketName::parse("photos").unwrap();
        let bucket = store.bucket(&photos).unwrap();
        let rule = NotificationRule {
            id: "r".into(),
            endpoint: "hook".into(),
            events: vec![EventPattern::parse("s3:ObjectTagging:Put").unwrap()],
            prefix: None,
            suffix: None,
        };
        let set = move |settings: &mut BucketSettings| {
            settings.notifications = vec![rule.clone()];
            settings.was_notifying = true;
        };
        store.change_bucket(&bucket, set).await.unwrap()
    }

    async fn tag(store: &Store, bucket: &Bucket, key: &str) {
        put(store, bucket, key, "x").await.unwrap();
        let tags = vec![("a".to_owned(), "b".to_owned())];
        let tags = (tags, Cause::default());
        store
            .set_tags(bucket, &object_key(key), None, tags)
            .await
            .unwrap();
    }

    /// The keys of which a store hears before long that there is something to be told.
    async fn heard(store: &Store) -> BTreeSet<NotedKey> {
        let mut heard = BTreeSet::new();
        let listening = async {
            loop {
                heard.extend(store.noted_events().await);
            }
        };
        let _ = timeout(SOON, listening).await;
        heard
    }

    #[test]
    fn a_member_that_was_away_hears_of_what_is_still_to_be_told() {
        simulation::run(1, async {
            let wire = Wire::default();
            let [first, second, third] = &three(&wire).await;
            let bucket = tell(first).await;
            sleep(SOON).await;
            wire.cut(MemberId(3));
            let names: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
            for name in &names {
                tag(second, &bucket, name).await;
            }
            let expected: BTreeSet<_> = names.iter().map(|name| (bucket.id, object_key(name))).collect();
            assert_eq!(heard(third).await, BTreeSet::new());
            wire.mend(MemberId(3));
            assert_eq!(heard(third).await, expected);
            // Once more when it has forgotten everything, and nobody saw it go.
            assert_eq!(heard(third).await, BTreeSet::new());
            assert!(ask_for_events(&third.0, MemberId(1)).await);
            assert_eq!(heard(third).await, expected);
        })
        .unwrap();
    }

    #[test]
    fn members_that_come_and_go_all_the_time_cost_fewer_and_fewer_looks() {
        let mut now = Instant::now();
        let mut calm = Calm::new(now);
        assert!(calm.is_over(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            calm.grow(now);
            assert!(!calm.is_over(now));
            pauses.push((calm.until - now).as_secs());
            now = calm.until;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
        calm.grow(now + CALM_MAX);
        assert_eq!(calm.until, now + CALM_MAX + REST);
    }

    #[test]
    fn what_was_told_is_found_no_more() {
        simulation::run(2, async {
            let wire = Wire::default();
            let [first, second, third] = &three(&wire).await;
            let bucket = tell(first).await;
            sleep(SOON).await;
            tag(first, &bucket, "k").await;
            let key = object_key("k");
            let events = second.events(bucket.id, &key).await.unwrap();
            let told = events.iter().map(|event| event.at).collect();
            second.settle_events(bucket.id, &key, told).await.unwrap();
            heard(third).await;
            assert!(ask_for_events(&third.0, MemberId(1)).await);
            assert_eq!(heard(third).await, BTreeSet::new());
        })
        .unwrap();
    }

    #[test]
    fn a_member_can_tell_that_there_are_rules_of_which_it_has_not_heard() {
        simulation::run(3, async {
            let wire = Wire::default();
            let [first, _second, third] = &three(&wire).await;
            let id = tell(first).await.id;
            let rules = |bucket: &Bucket| bucket.settings.notifications.len();
            assert_eq!(third.bucket_of_id(id).map(|bucket| rules(&bucket)), Some(0));
            assert_eq!(rules(&third.bucket_of_id_now(id).await.unwrap()), 1);
            sleep(SOON).await;
            assert_eq!(third.bucket_of_id(id).map(|bucket| rules(&bucket)), Some(1));
        })
        .unwrap();
    }
}
