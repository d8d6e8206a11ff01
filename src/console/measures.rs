//! Shows what the node measures: its disks, its objects, and what was asked of S3.

use std::time::Duration;

use appliance::api::{DiskShown, DiskState};
use appliance::{DiskMeasure, Measures, RequestMeasure};
use storage::disk::{DirectoryState, DirectoryStatus};
use storage::model::Timestamp;
use storage::{Store, StoreError};
use tokio::time::timeout;

use super::Console;
use super::recent::Recent;

/// How long a count of all objects is given again: it reads the index of every bucket, and is asked for at each scrape.
const FRESH: Duration = Duration::from_secs(300);

/// How long a count may take: whoever scrapes waits for it. Where it takes longer the number is left out, and tried again when
/// it would have been old.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many objects there are, found out once for all who ask.
pub(crate) struct RecentObjects(Recent<Option<u64>>);

impl Default for RecentObjects {
    fn default() -> Self {
        Self(Recent::new(FRESH))
    }
}

impl Console {
    pub(super) async fn measured(&self) -> Measures {
        let store = self.store.clone();
        let count = || async move { timeout(PATIENCE, objects(&store)).await.ok()?.ok() };
        let objects = *self.objects.0.get(count).await;
        let disks = self.store.disk_status().directories;
        Measures {
            scrubbed_seconds: self.store.scrub_status().finished.map(Timestamp::as_secs),
            disks: disks.iter().map(disk).collect(),
            objects,
            requests: self.meter.counted().into_iter().map(request).collect(),
        }
    }

    pub(super) fn disks_shown(&self) -> Vec<DiskShown> {
        self.store.disk_status().directories.iter().map(shown).collect()
    }
}

/// Objects in all buckets, old versions included.
async fn objects(store: &Store) -> Result<u64, StoreError> {
    let mut sum: u64 = 0;
    for bucket in store.buckets() {
        match store.usage(&bucket).await {
            Ok(usage) => sum = sum.saturating_add(usage.objects),
            // Deleted a moment ago.
            Err(StoreError::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

fn disk(directory: &DirectoryStatus) -> DiskMeasure {
    DiskMeasure {
        path: directory.path.display().to_string(),
        used: directory.used,
        given: directory.given,
    }
}

fn shown(directory: &DirectoryStatus) -> DiskShown {
    DiskShown {
        path: directory.path.display().to_string(),
        state: match directory.state {
            DirectoryState::Serving if directory.full => DiskState::Full,
            DirectoryState::Serving => DiskState::Serving,
            DirectoryState::Stopped => DiskState::Stopped,
            DirectoryState::Missing => DiskState::Missing,
        },
        used: directory.used,
        given: directory.given,
        damaged: directory.damaged,
        lost: directory.frames_lost,
    }
}

fn request(counted: s3::Counted) -> RequestMeasure {
    RequestMeasure {
        operation: counted.operation.to_owned(),
        statuses: counted.statuses,
        within: s3::BOUNDS_MICROS.into_iter().zip(counted.within).collect(),
        requests: counted.requests,
        micros: counted.micros,
        received: counted.received,
        sent: counted.sent,
    }
}
