//! Tells receivers what happened to objects: each event as an HTTP POST to a webhook, at least once, in order for each key.
//!
//! | file | its job |
//! |---|---|
//! | `webhook` | a receiver, as the owner of the box names it |
//! | `authorities` | who vouches for a receiver, where the owner says so |
//! | `record` | an event as S3 writes it |
//! | `post` | sends one of them |
//! | `waiting` | keys in the order in which they are to be told |
//! | `lane` | tells one receiver, as fast as it takes it |
//!
//! Receivers stand in the configuration of a box, and nowhere else: whoever may write to a bucket cannot make the box
//! connect to a place of its choice. Every box that knows a receiver by name tells it, whichever box committed the change: what one
//! of them could not tell another one does, and a receiver that two know may be told twice. Nothing is told while all are away that
//! know it; the first that returns tells it then. A receiver that does not answer with 2xx
//! within ten seconds is asked again, later and later, for five minutes at most; others are not kept waiting by it, and no request is.
//! What survives a crash, and what does not, is said at `storage::model::ObjectEvent`'s module.

mod authorities;
mod lane;
mod post;
mod record;
mod waiting;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use storage::Store;
use storage::model::{Bucket, BucketId, ObjectKey};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

pub use self::authorities::{Authorities, InvalidAuthorities};
use self::lane::Lane;
use self::post::Tls;
pub(crate) use self::record::test_event;
pub use self::webhook::{InvalidWebhook, Webhook};

/// Jobs on their way to a receiver's lane; what finds no room is found again in rows.
const JOBS_MAX: usize = 1024;

/// Something to do for a receiver.
pub(crate) enum Job {
    /// Something may be to be told of this key.
    Key(BucketId, ObjectKey),
    /// Tell it this, once, if it listens.
    Say(String),
}

/// The receivers that this box knows.
pub(crate) struct Webhooks {
    known: BTreeMap<String, Sender<Job>>,
    /// Whoever wants to know nothing any more.
    nobody: Sender<Job>,
    /// What each lane begins with; taken when the server starts.
    start: Mutex<Vec<(Option<Webhook>, Receiver<Job>)>>,
}

impl Webhooks {
    pub(crate) fn new(webhooks: &[Webhook]) -> Self {
        let (nobody, jobs) = channel(JOBS_MAX);
        let mut start = vec![(None, jobs)];
        let mut known = BTreeMap::new();
        for webhook in webhooks {
            let (sender, jobs) = channel(JOBS_MAX);
            known.insert(webhook.name().to_owned(), sender);
            start.push((Some(webhook.clone()), jobs));
        }
        Self {
            known,
            nobody,
            start: start.into(),
        }
    }

    /// Whether the configuration names this receiver.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Has a receiver told something outside of all rules, if it listens and has nothing better to do.
    pub(crate) fn say(&self, name: &str, what: String) {
        if let Some(lane) = self.known.get(name) {
            let _ = lane.try_send(Job::Say(what));
        }
    }

    /// Starts what tells; it ends at `stop`.
    pub(crate) fn start(
        self: &Arc<Self>,
        store: &Store,
        region: &str,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) {
        let lanes = std::mem::take(&mut *self.start.lock().unwrap_or_else(PoisonError::into_inner));
        for (webhook, jobs) in lanes {
            let tls = Tls::new(webhook.as_ref().and_then(Webhook::authorities));
            let lane = Lane::new(store.clone(), webhook, tls, region.to_owned());
            let telling = lane.run(jobs, stop.clone());
            tasks.spawn(telling.instrument(info_span!("tell")));
        }
        let (webhooks, store, stop) = (self.clone(), store.clone(), stop.clone());
        let handing_out = async move {
            stop.run_until_cancelled(webhooks.hand_out(&store)).await;
        };
        tasks.spawn(handing_out.instrument(info_span!("hand out events")));
    }

    /// Gives each lane the keys that may concern it.
    async fn hand_out(&self, store: &Store) {
        loop {
            for (id, key) in store.noted_events().await {
                let Some(bucket) = known(store, id).await else {
                    continue;
                };
                for lane in self.lanes_of(&bucket) {
                    if let Err(TrySendError::Full(_)) = lane.try_send(Job::Key(id, key.clone())) {
                        store.find_events();
                    }
                }
            }
        }
    }

    /// The lanes of the receivers that a bucket names and this box knows; where there are none, that of nobody.
    fn lanes_of(&self, bucket: &Bucket) -> Vec<&Sender<Job>> {
        let rules = bucket.settings.notifications.iter();
        let names: BTreeSet<&str> = rules.map(|rule| rule.endpoint.as_str()).collect();
        let lanes: Vec<_> = names.iter().filter_map(|name| self.known.get(*name)).collect();
        match lanes.is_empty() {
            true => vec![&self.nobody],
            false => lanes,
        }
    }
}

/// A bucket, of which this box may hear only after it heard of an event in it.
async fn known(store: &Store, id: BucketId) -> Option<Arc<Bucket>> {
    let bucket = store.bucket_of_id(id);
    if bucket.is_none() && store.hear_news().await {
        return store.bucket_of_id(id);
    }
    bucket
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.known.keys()).finish()
    }
}
