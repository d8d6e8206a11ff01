//! Tells one receiver: several keys at a time, the events of each in order, and after a failure later and later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use storage::model::{Bucket, BucketId, NotificationRule, ObjectEvent, ObjectKey, Timestamp};
use storage::{Store, StoreError};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::post::{PostError, Tls, post};
use super::record::message;
use super::waiting::{Key, Waiting};
use super::{Job, Webhook};

/// Keys that are told at a time.
const AT_ONCE: usize = 8;
/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What tells a receiver; without one, it forgets what nobody wants to know any more.
pub(super) struct Lane {
    store: Store,
    webhook: Option<Webhook>,
    tls: Tls,
    region: String,
}

/// How long it waits for this box to hear of the rules by which an event is to be told.
const UNHEARD: Duration = Duration::from_millis(100);

/// What became of an event.
enum Fate {
    /// This receiver knows it now, or nobody wants to know it any more: it can be forgotten.
    Told,
    /// It is for another receiver, which another lane or box tells.
    Others,
    /// Somebody wants to know it, by rules that this box has not heard of yet.
    Unheard,
}

/// Something that is done for the receiver.
enum Work {
    Tell(Key),
    Say(String),
}

/// Why a key is to be told again.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("it does not take events: {0}")]
    Post(#[from] PostError),
    #[error("the store does not answer")]
    Store(#[from] StoreError),
}

/// How long it is since the receiver took something.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
    until: Option<Instant>,
}

impl Patience {
    /// Notes how a key went; true when that is news.
    fn note(&mut self, succeeded: bool, now: Instant) -> bool {
        let was_well = self.failures == 0;
        if succeeded {
            *self = Self::default();
            return !was_well;
        }
        // Those that were under way together fail together, and count once.
        if self.until.is_none_or(|until| until <= now) {
            let pause = PAUSE_MIN
                .saturating_mul(1 << self.failures.min(16))
                .min(PAUSE_MAX);
            self.failures = self.failures.saturating_add(1);
            self.until = Some(now + pause);
        }
        was_well
    }

    /// Until when nothing is begun.
    fn pause(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

impl Lane {
    pub(super) fn new(store: Store, webhook: Option<Webhook>, tls: Tls, region: String) -> Self {
        Self {
            store,
            webhook,
            tls,
            region,
        }
    }

    /// Tells what there is to tell, until stopped. What is under way then is told again after the next start.
    pub(super) async fn run(self, mut jobs: Receiver<Job>, stop: CancellationToken) {
        let lane = Arc::new(self);
        let mut waiting = Waiting::default();
        let mut patience = Patience::default();
        let mut telling = FuturesUnordered::new();
        loop {
            let pause = patience.pause(Instant::now());
            while pause.is_none()
                && telling.len() < AT_ONCE
                && let Some(key) = waiting.next()
            {
                telling.push(lane.clone().work(Work::Tell(key)));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                job = jobs.recv() => match job {
                    Some(Job::Key(bucket, key)) => waiting.add((bucket, key)),
                    Some(Job::Say(what)) => telling.push(lane.clone().work(Work::Say(what))),
                    None => return,
                },
                Some((key, told)) = telling.next(), if !telling.is_empty() => {
                    let Some(key) = key else { continue };
                    waiting.done(key, told.is_ok());
                    if patience.note(told.is_ok(), Instant::now()) {
                        lane.log(told.err());
                    }
                    if waiting.may_look_again() {
                        lane.store.find_events();
                    }
                }
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
            }
        }
    }

    /// Does something; says of which key it told, and how that went.
    async fn work(self: Arc<Self>, work: Work) -> (Option<Key>, Result<(), Untold>) {
        match work {
            Work::Tell(key) => {
                let told = self.tell(&key).await;
                (Some(key), told)
            }
            Work::Say(what) => {
                self.say(what).await;
                (None, Ok(()))
            }
        }
    }

    /// Tells the events of a key, oldest first, and forgets those that were told.
    async fn tell(&self, (id, key): &Key) -> Result<(), Untold> {
        let events = match self.store.events(*id, key).await {
            Ok(events) => events,
            // Whoever deleted the bucket wants to know nothing more of it.
            Err(StoreError::NoSuchBucket) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut told = Vec::new();
        let mut outcome = Ok(());
        for event in &events {
            match self.tell_one(event, (*id, key)).await {
                Ok(Fate::Told) => told.push(event.at),
                Ok(Fate::Others) => {}
                Ok(Fate::Unheard) => {
                    self.hear(*id, key).await;
                    break;
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.settle((*id, key), told).await?;
        outcome
    }

    /// Has a key handed out anew, by newer rules if they can be had.
    async fn hear(&self, id: BucketId, key: &ObjectKey) {
        if !self.store.hear_news().await {
            tokio::time::sleep(UNHEARD).await;
        }
        self.store.note_events_again(id, key);
    }

    async fn settle(&self, (id, key): (BucketId, &ObjectKey), told: Vec<Timestamp>) -> Result<(), Untold> {
        if told.is_empty() {
            return Ok(());
        }
        match self.store.settle_events(id, key, told).await {
            Ok(()) | Err(StoreError::NoSuchBucket) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells an event, if it is for this receiver.
    async fn tell_one(&self, event: &ObjectEvent, (id, key): (BucketId, &ObjectKey)) -> Result<Fate, Untold> {
        let Some(bucket) = self.store.bucket_of_id(id) else {
            return Ok(Fate::Others);
        };
        let Some(rule) = rule_for(&bucket, event, key) else {
            return self.unwanted(event, (id, key)).await;
        };
        let Some(webhook) = self
            .webhook
            .as_ref()
            .filter(|webhook| webhook.name() == rule.endpoint)
        else {
            return Ok(Fate::Others);
        };
        let body = message(event, key, &bucket, &rule.id, &self.region);
        post(webhook, &self.tls, body).await?;
        Ok(Fate::Told)
    }

    /// What becomes of an event that nobody wants to know by the rules that this box has heard of. A box that hears of a rule
    /// later than of an event must not have it forgotten before others tell it.
    async fn unwanted(&self, event: &ObjectEvent, (id, key): (BucketId, &ObjectKey)) -> Result<Fate, Untold> {
        let now = match self.store.bucket_of_id_now(id).await {
            Ok(bucket) => bucket,
            Err(StoreError::NoSuchBucket) => return Ok(Fate::Others),
            Err(error) => return Err(error.into()),
        };
        Ok(match rule_for(&now, event, key) {
            Some(_) => Fate::Unheard,
            None => Fate::Told,
        })
    }

    async fn say(&self, what: String) {
        if let Some(webhook) = &self.webhook
            && let Err(error) = post(webhook, &self.tls, what).await
        {
            warn!(?webhook, %error, "webhook takes no test event");
        }
    }

    fn log(&self, failure: Option<Untold>) {
        let webhook = self.webhook.as_ref().map(Webhook::name);
        match failure {
            None => info!(webhook, "webhook takes events again"),
            Some(why) => warn!(webhook, %why, "webhook is told later"),
        }
    }
}

/// The rule by which an event is told; there is one at most.
fn rule_for<'a>(bucket: &'a Bucket, event: &ObjectEvent, key: &ObjectKey) -> Option<&'a NotificationRule> {
    let mut rules = bucket.settings.notifications.iter();
    rules.find(|rule| rule.fits(event.kind, key.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_each_failure_up_to_a_bound_and_end_with_a_success() {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            patience.note(false, now);
            // Another that was under way.
            assert!(!patience.note(false, now));
            let until = patience.pause(now).unwrap();
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses.last(), Some(&300));
        assert!(patience.note(true, now) && !patience.note(true, now));
        assert_eq!(patience.pause(now), None);
    }
}
