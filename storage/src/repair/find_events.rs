//! Looks at rows for what is still to be told of objects: at each start, now and then, and when hints were left out.
//!
//! Who commits a change says so at once (`objects/events`). What a crash kept from being said is found here: of each partition
//! one voter looks at its rows, as for lifecycle rules, and only at what the index knows of them. Buckets that never
//! had a receiver are not looked at.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::lifecycle::partitions_of;
use crate::StoreError;
use crate::cluster::summary_of;
use crate::model::{ObjectKey, partition_of, row_key, summary};
use crate::store::Inner;

/// How often all rows are looked at.
const EVERY: Duration = Duration::from_secs(900);
/// After a start, so that other work goes first.
const FIRST_AFTER: Duration = Duration::from_secs(2);
/// At least between two looks: hints that find no room again and again must not keep a disk busy.
const REST: Duration = Duration::from_secs(10);
/// Rows looked at before other work gets the thread.
const ROWS_MAX: usize = 5000;
/// Between pages, so that clients are served meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut wait = FIRST_AFTER;
    while let Some(looking) = inner.upgrade() {
        let looked = Box::pin(async {
            let _ = timeout(wait, looking.events.missed()).await;
            if let Err(error) = look(&looking).await {
                debug!(%error, "not all rows were looked at for events");
            }
            sleep(REST).await;
        });
        if stop.run_until_cancelled(looked).await.is_none() {
            return;
        }
        wait = EVERY;
    }
}

/// Notes every key here of which something is to be told, as long as there is room.
async fn look(inner: &Arc<Inner>) -> Result<(), StoreError> {
    for bucket in inner.directory.buckets() {
        if !bucket.settings.was_notifying {
            continue;
        }
        let mine = Arc::new(partitions_of(inner));
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
