//! Frees references whose owner is gone, on a box that is alone: what a crash left between storing blocks and committing
//! their row. In a mesh that takes a [`sweep`](super::sweep).
//!
//! Mark: walk the rows and note every owner they name. Sweep: walk the references and release those of other owners.
//! Four things make it safe beside running requests: what is being read is spared until its reader has gone; references younger than the collection are spared; so are writes that
//! were under way when it began; and parts are walked before objects, because a part's blocks move from its row to the
//! object's and never back. The order matters too: first the youngest reference is noted, then the writes under way, then
//! rows are read, so that a write which ended in between has its row read.

use std::collections::HashSet;
use std::ops::Bound::{Excluded, Included};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::sweep::named;
use crate::StoreError;
use crate::cluster::Displaced;
use crate::disk::{DiskError, HeldReference, RowScan};
use crate::model::command::{Action, Command, ObjectCommand, Rest, Submission};
use crate::model::{
    BlockId, BucketId, Keeping, ObjectKey, OpId, Timestamp, UploadId, UploadRow, UploadState, row_key,
};
use crate::store::Inner;

/// After a crash the first collection waits until the box has settled.
const FIRST_AFTER: Duration = Duration::from_secs(20);
/// Then once a week: a failed release is the only other thing that leaves references behind.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// A finished upload answers a repeated Complete for so long.
const COMPLETED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Rows or references looked at before other work gets the thread.
const PAGE: usize = 1000;
/// Owners remembered at once, as 8 bytes each; with more, the references are swept in several passes.
const OWNERS_MAX: usize = 4 << 20;

/// What a collection did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collected {
    /// References released.
    pub(crate) released: u64,
    /// Finished uploads forgotten.
    pub(crate) uploads: u64,
}

/// Collects soon after a crash (no `last` collection is known then) and then every week, until stopped.
pub(crate) async fn run(inner: Weak<Inner>, last: Option<Timestamp>, stop: CancellationToken) {
    let mut wait = first_wait(last, Timestamp::now());
    while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = EVERY;
        let Some(inner) = inner.upgrade() else { return };
        inner
            .collected
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
        match collect(&inner, &stop).await {
            Ok(Collected {
                released: 0,
                uploads: 0,
            }) => {}
            Ok(Collected { released, uploads }) => info!(released, uploads, "unreferenced blocks collected"),
            Err(error) => {
                warn!(%error, "collection of unreferenced blocks given up; the next one starts anew")
            }
        }
    }
}

/// How long to wait for the first collection: not at all long after a crash, else until a week has passed since the last.
fn first_wait(last: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(last) = last else { return FIRST_AFTER };
    let since = Duration::from_millis(now.as_millis().saturating_sub(last.as_millis()));
    EVERY.saturating_sub(since).max(FIRST_AFTER)
}

/// One whole collection.
///
/// # Errors
/// The disk fails, or a row does not read: then nothing more is released, since what it names is unknown.
pub(crate) async fn collect(inner: &Arc<Inner>, stop: &CancellationToken) -> Result<Collected, StoreError> {
    if inner.loss.is_some() {
        // What lost rows refer to must wait for a person: the rows may come back from a copy of their segment.
        return Ok(Collected::default());
    }
    if !is_alone(inner) {
        // Rows that name blocks of this disk stand on others as well, or writes under way at others are about to name them:
        // see [`super::sweep`].
        return Ok(Collected::default());
    }
    let uploads = forget_ended(inner).await?;
    let mut released = 0;
    let mut passes = 1;
    let mut pass = 0;
    while pass < passes {
        let newest = inner.disk.newest_stamp();
        let spared = Spared {
            newest,
            pending: inner.releaser.pending(),
        };
        let slice = Slice { passes, pass };
        // Looked at behind the youngest reference, and again behind the rows: whoever joined writes what is unknown here.
        if !is_alone(inner) {
            break;
        }
        let (marking, stopped) = (inner.clone(), stop.clone());
        let marked = inner.disk.run(move || mark(&marking, slice, &stopped)).await??;
        if !is_alone(inner) {
            break;
        }
        match marked {
            Marked::All(owners) => {
                released += sweep(inner, &spared, &owners, slice, stop).await?;
                pass += 1;
            }
            Marked::TooMany => (passes, pass) = (passes * 4, 0),
            Marked::Stopped => break,
        }
    }
    Ok(Collected { released, uploads })
}

/// Whether all rows that name blocks of this disk stand on it, and all writes under way are this box's own.
fn is_alone(inner: &Inner) -> bool {
    inner.partitions.decides_alone() && !inner.is_meshed()
}

/// References that are none of a collection's business.
struct Spared {
    newest: u64,
    pending: HashSet<[u8; 16]>,
}

impl Spared {
    fn has(&self, reference: &HeldReference) -> bool {
        reference.stamp > self.newest || self.pending.contains(&reference.owner)
    }
}

/// The owners one pass is about, by their first byte.
#[derive(Clone, Copy)]
struct Slice {
    passes: usize,
    pass: usize,
}

impl Slice {
    fn has(self, owner: &[u8; 16]) -> bool {
        usize::from(owner[0]) % self.passes == self.pass
    }
}

/// The owners that rows name; the second half of the name suffices, since a collision merely spares something.
#[derive(Default)]
struct Owners(HashSet<u64>);

impl Owners {
    fn short(owner: &[u8; 16]) -> u64 {
        owner.last_chunk().map_or(0, |half| u64::from_le_bytes(*half))
    }

    fn has(&self, owner: &[u8; 16]) -> bool {
        self.0.contains(&Self::short(owner))
    }
}

/// What marking came to.
enum Marked {
    All(Owners),
    /// More owners than one pass may remember.
    TooMany,
    /// The store is closing.
    Stopped,
}

/// Every owner of this slice that a row names. Blocks the thread.
fn mark(inner: &Inner, slice: Slice, stop: &CancellationToken) -> Result<Marked, StoreError> {
    let mut owners = Owners::default();
    let mut add = |owner: [u8; 16]| {
        if slice.has(&owner) {
            owners.0.insert(Owners::short(&owner));
        }
        // 256 slices are as fine as the first byte allows.
        let fits = owners.0.len() <= OWNERS_MAX || slice.passes >= 256;
        fits && !stop.is_cancelled()
    };
    let all = mark_parts(inner, &mut add)? && mark_objects(inner, &mut add)?;
    Ok(match all {
        true => Marked::All(owners),
        false if stop.is_cancelled() => Marked::Stopped,
        false => Marked::TooMany,
    })
}

/// Parts without the row of an upload are garbage.
fn mark_parts(inner: &Inner, add: &mut impl FnMut([u8; 16]) -> bool) -> Result<bool, StoreError> {
    let mut uploads = rows(inner, row_key::all_uploads())?;
    while let Some(row) = uploads.next_row()? {
        let (Some(bucket), Some((key, upload))) =
            (row_key::bucket_id(row.key()), row_key::parse_upload(row.key()))
        else {
            continue;
        };
        let prefix = row_key::parts(bucket, &key, upload);
        let mut parts = rows(inner, (prefix.clone(), row_key::after_prefix(prefix)))?;
        while let Some(part) = parts.next_row()? {
            if !named::by_part(inner, part)?.into_iter().all(&mut *add) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn mark_objects(inner: &Inner, add: &mut impl FnMut([u8; 16]) -> bool) -> Result<bool, StoreError> {
    let mut objects = rows(inner, row_key::all_objects())?;
    while let Some(row) = objects.next_row()? {
        if !named::by_object(inner, row)?.into_iter().all(&mut *add) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Releases references of this slice whose owner no row names and no write under way uses.
async fn sweep(
    inner: &Arc<Inner>,
    spared: &Spared,
    owners: &Owners,
    slice: Slice,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    let mut released = 0;
    let mut after = None;
    while !stop.is_cancelled() {
        let disk = inner.disk.clone();
        let page = inner.disk.run(move || disk.references(after, PAGE)).await??;
        let Some(last) = page.last() else { break };
        after = Some((last.id, last.owner));
        for reference in page {
            let owner = reference.owner;
            if slice.has(&owner)
                && !owners.has(&owner)
                && !spared.has(&reference)
                && !inner.releaser.is_pinned(&owner)
            {
                let blocks = vec![BlockId(reference.id)];
                inner.blocks.release(vec![Displaced { owner, blocks }]).await?;
                released += 1;
            }
        }
    }
    Ok(released)
}

/// Forgets uploads that completed long ago, and parts that a crash left of uploads that have ended. Their blocks are swept
/// afterwards: no row names them.
pub(super) async fn forget_ended(inner: &Arc<Inner>) -> Result<u64, StoreError> {
    let finding = inner.clone();
    let ended = inner
        .disk
        .run(move || {
            let mut ended = completed_long_ago(&finding)?;
            ended.extend(left_parts(&finding)?);
            Ok::<_, StoreError>(ended)
        })
        .await??;
    let mut forgotten = 0;
    for Ended { row, rest } in ended {
        let (bucket, key, upload) = row;
        let command = Command::Object(ObjectCommand {
            bucket,
            // What only removes passes every fence.
            closings: 0,
            keeping: Keeping::default(),
            asked: Timestamp::now(),
            key,
            action: Action::Forget { upload, rest },
            telling: None,
        });
        let submission = Submission {
            op: OpId::new(),
            sweeps: 0,
            command,
        };
        inner.partitions.submit(submission).await?;
        forgotten += u64::from(rest == Rest::All);
    }
    Ok(forgotten)
}

/// An upload that has ended, and what is left of it.
struct Ended {
    row: (BucketId, ObjectKey, UploadId),
    rest: Rest,
}

fn completed_long_ago(inner: &Inner) -> Result<Vec<Ended>, StoreError> {
    let now = Timestamp::now().as_millis();
    let kept = u64::try_from(COMPLETED_KEPT.as_millis()).unwrap_or(u64::MAX);
    let mut old = Vec::new();
    let mut uploads = rows(inner, row_key::all_uploads())?;
    while let Some(row) = uploads.next_row()? {
        let (Some(bucket), Some((key, upload))) =
            (row_key::bucket_id(row.key()), row_key::parse_upload(row.key()))
        else {
            continue;
        };
        let state = inner
            .partitions
            .read::<UploadRow>(row.key())?
            .map(|row| row.state);
        if let Some(UploadState::Completed(completed)) = state
            && completed.modified.as_millis() + kept < now
        {
            let rest = Rest::All;
            old.push(Ended {
                row: (bucket, key, upload),
                rest,
            });
        }
    }
    Ok(old)
}

/// Uploads that are not open and have parts.
fn left_parts(inner: &Inner) -> Result<Vec<Ended>, StoreError> {
    let mut left = Vec::new();
    let mut last = None;
    let mut parts = rows(inner, row_key::all_parts())?;
    while let Some(row) = parts.next_row()? {
        let (Some(bucket), Some((key, upload))) =
            (row_key::bucket_id(row.key()), row_key::parse_part(row.key()))
        else {
            continue;
        };
        if last.replace((bucket, upload)) == Some((bucket, upload)) {
            continue;
        }
        let row: Option<UploadRow> = inner.partitions.read(&row_key::upload(bucket, &key, upload))?;
        if row.is_none_or(|row| row.state != UploadState::Open) {
            let rest = Rest::Parts;
            left.push(Ended {
                row: (bucket, key, upload),
                rest,
            });
        }
    }
    Ok(left)
}

fn rows(inner: &Inner, (from, to): (Vec<u8>, Vec<u8>)) -> Result<RowScan, DiskError> {
    inner.disk.scan(Included(&from), Excluded(&to))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::disk::BlockDirectory;
    use crate::model::{BucketName, BucketSettings, ObjectHeaders, PartNumber, StorageClass, WriteCondition};
    use crate::seal::seal_block;
    use crate::{Claims, NewObject, NewUpload, ObjectBody, Options, Store};

    struct Body(Option<Bytes>);

    impl ObjectBody for Body {
        async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
            self.0.take().map(Ok)
        }
        fn size_hint(&self) -> Option<u64> {
            None
        }
        fn checksum_algorithm(&self) -> Option<crate::model::ChecksumAlgorithm> {
            None
        }
        fn claims_sha256(&self) -> bool {
            false
        }
        fn claims(&self) -> Claims {
            Claims::default()
        }
    }

    #[test]
    fn a_box_that_restarts_often_still_collects_every_week() {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let now = Timestamp::from_millis(10 * millis(EVERY));
        let ago = |time: Duration| Some(Timestamp::from_millis(now.as_millis() - millis(time)));
        assert_eq!(first_wait(None, now), FIRST_AFTER);
        assert_eq!(first_wait(ago(EVERY / 4), now), EVERY - EVERY / 4);
        assert_eq!(first_wait(ago(EVERY * 2), now), FIRST_AFTER);
    }

    #[tokio::test]
    async fn only_references_that_no_row_and_no_running_write_names_are_collected() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = vec![BlockDirectory {
            path: folder.path().join("blocks"),
            capacity: None,
        }];
        let state = folder.path().join("state");
        let options = Options {
            state,
            blocks,
            accept_loss: false,
            recovery_phrase: None,
            memory: 0,
            hot: 0,
            membership: crate::Membership::alone(),
        };
        let (store, first) = Store::open(options).await.unwrap();
        let owner = first.unwrap().owner_key.id.clone();
        let name = BucketName::parse("photos").unwrap();
        let bucket = store
            .create_bucket(&name, &owner, BucketSettings::default())
            .await
            .unwrap();
        let key = ObjectKey::parse(b"a").unwrap();
        let headers = ObjectHeaders::default();
        let (class, condition) = (StorageClass::Standard, WriteCondition::None);
        let new = NewObject {
            headers: headers.clone(),
            class,
            condition,
            lock: crate::model::Lock::default(),
            cause: crate::model::Cause::default(),
            invocation: None,
        };
        store
            .put_object(&bucket, &key, new, Body(Some(vec![1; 10_000].into())))
            .await
            .unwrap();
        let new = NewUpload {
            customer: None,
            headers,
            class,
            checksum: None,
            full_object: false,
            initiator: None,
            lock: crate::model::Lock::default(),
        };
        let upload = store.create_upload(&bucket, &key, new).await.unwrap();
        let part = Body(Some(vec![2; 10_000].into()));
        store
            .put_part(&bucket, &key, upload, PartNumber::FIRST, part)
            .await
            .unwrap();
        let running = store.0.lease(&bucket, &key);
        let inner = &store.0;
        for (owner, content) in [(running.owner(), 3), ([9; 16], 4), ([9; 16], 1)] {
            let block = seal_block(inner.keyring.dedup_key(), &[content; 10_000]);
            inner.blocks.store(owner, block).await.unwrap();
        }
        assert_eq!(inner.disk.references(None, 10).unwrap().len(), 5);
        let stop = CancellationToken::new();
        assert_eq!(collect(inner, &stop).await.unwrap().released, 2);
        assert_eq!(collect(inner, &stop).await.unwrap().released, 0);
        let left = inner.disk.references(None, 10).unwrap();
        assert!(left.len() == 3 && left.iter().all(|reference| reference.owner != [9; 16]));
        drop(running);
        store.close().await.unwrap();
    }
}
