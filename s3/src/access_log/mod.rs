//! Server access logs: a line for each request about a bucket that wants that, written as objects into a bucket of its choice.
//!
//! | file | its job |
//! |---|---|
//! | `entry` | what is known of a request while it is answered |
//! | `line` | an entry as AWS writes it |
//! | `batch` | lines until they are an object |
//!
//! As with AWS, this is best effort: lines wait in memory for a minute or until there are enough of them, all together at most
//! [`BYTES_MAX`](batch::BYTES_MAX); what finds no room, cannot be written, or stands there when the power goes, is lost. A request never waits
//! for its line. What writes the logs is no request, so it is not logged itself.

mod batch;
mod entry;
mod line;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use storage::model::{
    Acl, BucketLogging, Cause, ChecksumAlgorithm, Lock, ObjectHeaders, ObjectKey, StorageClass, Timestamp,
    WriteCondition,
};
use storage::{Claims, NewObject, ObjectBody, Store, StoreError};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::batch::Batches;
pub(crate) use self::entry::{Ended, Entry};
use self::line::key_suffix;

/// How often it is looked which batches are due.
const LOOK: Duration = Duration::from_secs(5);
/// How long writing what is left may take when the server stops.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    batches: Mutex<Batches>,
}

impl AccessLog {
    /// Adds the line of a request that is over.
    pub(crate) fn add(&self, to: &BucketLogging, line: &str) {
        self.batches().add(to, line, Instant::now());
    }

    /// Writes batches as they come due, until stopped.
    pub(crate) async fn run(&self, store: &Store, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let (due, dropped) = self.batches().take_due(Instant::now());
            if dropped > 0 {
                warn!(lines = dropped, "access log has no room for these");
            }
            write_all(store, due).await;
        }
    }

    /// Writes everything that is left: no request is answered any more.
    pub(crate) async fn finish(&self, store: &Store) {
        let left = self.batches().take_all();
        if timeout(LAST_PATIENCE, write_all(store, left)).await.is_err() {
            warn!("the end of the access logs was not written in time");
        }
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_all(store: &Store, batches: Vec<(BucketLogging, String)>) {
    for (to, text) in batches {
        if let Err(error) = write(store, &to, text).await {
            warn!(prefix = to.prefix, %error, "access log not written");
        }
    }
}

/// Writes one object of lines.
async fn write(store: &Store, to: &BucketLogging, text: String) -> Result<(), StoreError> {
    let bucket = store.bucket_of_id(to.target).ok_or(StoreError::NoSuchBucket)?;
    let unique = getrandom::u64().unwrap_or_else(|_| Timestamp::now().as_millis());
    let key = format!("{}{}", to.prefix, key_suffix(Timestamp::now(), unique));
    let key = ObjectKey::parse(key.as_bytes()).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let new = NewObject {
        headers: ObjectHeaders {
            content_type: Some("text/plain".into()),
            acl: Acl::Private,
            ..ObjectHeaders::default()
        },
        class: StorageClass::Standard,
        lock: Lock::default(),
        condition: WriteCondition::None,
        cause: Cause::default(),
        invocation: None,
    };
    store.put_object(&bucket, &key, new, Text(Some(text))).await?;
    Ok(())
}

/// A text as the body of an object.
struct Text(Option<String>);

impl ObjectBody for Text {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        self.0.take().map(|text| Ok(text.into()))
    }

    fn size_hint(&self) -> Option<u64> {
        self.0.as_ref().map(|text| text.len() as u64)
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
