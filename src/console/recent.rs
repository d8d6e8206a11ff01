//! Finds out once, for all who ask at about the same time, what is costly to find out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

/// The newest answer, or the one that is being found out.
///
/// Whoever may ask over the network may ask as often as it likes: that must not cost the disks of the whole mesh more than
/// one who asks now and then.
pub(crate) struct Recent<T> {
    answer: Mutex<Option<Answering<T>>>,
    fresh: Duration,
}

/// An answer and when it was complete.
type Answering<T> = Shared<BoxFuture<'static, (Arc<T>, Instant)>>;

impl<T: Send + Sync + 'static> Recent<T> {
    /// Answers that are given again for as long as `fresh`.
    pub(crate) const fn new(fresh: Duration) -> Self {
        Self {
            answer: Mutex::new(None),
            fresh,
        }
    }

    /// A fresh answer, the one that somebody waits for already, or else what `find` gives.
    ///
    /// # Cancellation
    /// The others who wait go on.
    pub(crate) async fn get<F: Future<Output = T> + Send + 'static>(
        &self,
        find: impl FnOnce() -> F,
    ) -> Arc<T> {
        let answering = {
            let mut newest = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
            match newest.as_ref().filter(|answering| self.is_recent(answering)) {
                Some(answering) => answering.clone(),
                None => {
                    let finding = find().map(|answer| (Arc::new(answer), Instant::now()));
                    newest.insert(finding.boxed().shared()).clone()
                }
            }
        };
        answering.await.0
    }

    fn is_recent(&self, answering: &Answering<T>) -> bool {
        match answering.peek() {
            Some((_, at)) => at.elapsed() < self.fresh,
            // Where everybody has gone who waited for it, nobody drives it on, and what it has found so far is old.
            None => answering.strong_count().is_some_and(|count| count > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn times_found(fresh: Duration) -> usize {
        let (recent, found) = (Recent::new(fresh), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            recent.get(|| {
                let found = Arc::clone(&found);
                async move {
                    tokio::task::yield_now().await;
                    found.fetch_add(1, Ordering::Relaxed)
                }
            })
        };
        // One who leaves before it is found out.
        let mut gone = Box::pin(ask());
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        futures_util::future::join3(ask(), ask(), ask()).await;
        ask().await;
        found.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_and_soon_after_cost_as_much_as_one() {
        assert_eq!(times_found(Duration::from_secs(60)).await, 1);
    }

    #[tokio::test]
    async fn what_is_old_is_found_out_anew() {
        assert!(times_found(Duration::ZERO).await > 1);
    }
}
