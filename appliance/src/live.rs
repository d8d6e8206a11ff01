//! Tells whoever listens how the box is, whenever that changes: server-sent events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::access::Caller;
use crate::content::ContentError;
use crate::desk::Desk;
use crate::routes::Body;
use crate::{Node, Problem, verdict};

/// Where it is asked for.
pub(crate) const PATH: &str = "/api/v1/events";

/// How often the box looks at itself while somebody listens.
const EVERY: Duration = Duration::from_secs(2);

/// So long nothing may happen before a comment says that the connection lives.
const BREATH: Duration = Duration::from_secs(15);

/// Listeners at once: a tab each, in a home.
const LISTENERS_MAX: usize = 32;

/// Listeners of one token or session: whoever has one cannot keep all others from listening.
const EACH_MAX: usize = 8;

/// Who listens.
#[derive(Debug)]
pub(crate) struct Live {
    by_caller: Arc<Mutex<HashMap<Caller, usize>>>,
    seen: watch::Sender<Arc<str>>,
    places: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            by_caller: Arc::default(),
            seen: watch::Sender::new("".into()),
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
        }
    }
}

impl Live {
    /// A seat for one more listener who came over the network; none where the same listens too often.
    pub(crate) fn seat(&self, caller: Caller) -> Option<Seat> {
        let mut seats = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(caller).or_default();
        (*taken < EACH_MAX).then(|| {
            *taken += 1;
            Seat {
                seats: Arc::clone(&self.by_caller),
                caller,
            }
        })
    }
}

/// The seat of a listener, taken until this is dropped.
pub(crate) struct Seat {
    seats: Arc<Mutex<HashMap<Caller, usize>>>,
    caller: Caller,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.caller) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.caller);
            }
        }
    }
}

/// What whoever has this seat hears: it ends before the next event, or breath, once who listens would not be let in any more.
pub(crate) fn seated<N: Node>(desk: Arc<Desk<N>>, seat: Seat, events: Body) -> Body {
    let events = BodyStream::new(events);
    let heard = events.take_while(move |_| future::ready(desk.access.still_knows(&seat.caller)));
    StreamBody::new(heard).boxed_unsync()
}

/// Looks at the box again and again while somebody listens, until the desk closes.
pub(crate) async fn watch<N: Node>(desk: Arc<Desk<N>>) {
    let live = &desk.live;
    while desk
        .stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        if live.seen.receiver_count() == 0 {
            continue;
        }
        let Some(now) = desk.stop.run_until_cancelled(drawn(&desk)).await else {
            return;
        };
        live.seen.send_if_modified(|seen| {
            let is_news = *seen != now;
            *seen = now;
            is_news
        });
    }
}

/// The status as a line of JSON. Seconds that pass are no news, nor is how fast something went.
async fn drawn<N: Node>(desk: &Desk<N>) -> Arc<str> {
    let mut status = verdict::status(desk.facts().await);
    status.uptime_seconds = 0;
    for home in &mut status.homes {
        home.seen_seconds = None;
        if let Some(path) = &mut home.path {
            path.round_trip_seconds = None;
            path.sent_bytes_per_second = None;
            path.received_bytes_per_second = None;
        }
    }
    serde_json::to_string(&status).unwrap_or_default().into()
}

/// A body that tells the status now, and again whenever it changes; none where too many listen.
pub(crate) async fn listen<N: Node>(desk: &Desk<N>) -> Option<Body> {
    let place = Arc::clone(&desk.live.places).try_acquire_owned().ok()?;
    let seen = desk.live.seen.subscribe();
    let listener = Listener {
        first: Some(drawn(desk).await),
        seen,
        stop: desk.stop.clone(),
        _place: place,
    };
    Some(StreamBody::new(events(listener)).boxed_unsync())
}

/// Why somebody may not listen.
pub(crate) fn too_many() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-listeners",
        "too many listen already",
    )
}

struct Listener {
    first: Option<Arc<str>>,
    seen: watch::Receiver<Arc<str>>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

fn events(listener: Listener) -> impl Stream<Item = Result<Frame<Bytes>, ContentError>> {
    stream::unfold(listener, |mut listener| async move {
        let event = match listener.first.take() {
            Some(first) => event(&first),
            None => tokio::select! {
                () = listener.stop.cancelled() => return None,
                changed = listener.seen.changed() => {
                    changed.ok()?;
                    event(&listener.seen.borrow_and_update())
                }
                () = tokio::time::sleep(BREATH) => Bytes::from_static(b":\n\n"),
            },
        };
        Some((Ok(Frame::data(event)), listener))
    })
}

fn event(status: &str) -> Bytes {
    format!("event: status\ndata: {status}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_too_often_leaves_seats_for_others() {
        let (live, caller) = (Live::default(), Caller::bearing("warren_1"));
        let seats: Vec<_> = (0..EACH_MAX).map(|_| live.seat(caller).unwrap()).collect();
        assert!(live.seat(caller).is_none());
        assert!(live.seat(Caller::bearing("warren_2")).is_some());
        drop(seats);
        assert!(live.by_caller.lock().unwrap().is_empty());
    }
}
