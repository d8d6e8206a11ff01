//! Drives one connection: serves its requests, cuts it when the client stalls, closes it so that answers arrive.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::gateway::Gateway;
use crate::pace::WINDOW_BYTES;
use crate::proxies::Origin;
use crate::transport::{self, Transport};

/// How often a connection looks at its deadlines and at whether the server stops.
const TICK: Duration = Duration::from_millis(500);

/// Most bytes hyper buffers per connection: a whole request head, or a piece of a body.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// A refused upload is read on for at most this long, so that its sender gets to see the answer.
const LINGER: Duration = Duration::from_secs(3);

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Between two requests.
    pub(crate) idle: Duration,
    /// From the first byte of a request to the end of its headers; and from a connection's beginning to its first byte.
    pub(crate) head: Duration,
    /// Until it takes 64 KiB of a response.
    pub(crate) stalled: Duration,
}

const WAITING: u8 = 0;
const HEAD: u8 = 1;
const SERVING: u8 = 2;
const LINGERING: u8 = 3;

/// What a connection is doing, noted without a clock: the driver compares what it sees tick by tick.
///
/// The I/O, the service and the driver of a connection run in one task; atomics only make that shareable.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    phase: AtomicU8,
    moves: AtomicU32,
    /// Bytes of responses taken since the last move.
    taken: AtomicUsize,
    write_blocked: AtomicBool,
    body_unread: AtomicBool,
    /// Bytes of the request's body that came.
    received: AtomicU64,
}

impl Watch {
    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.moved();
    }

    fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// The client took so many bytes of a response; only many of them are a move.
    fn took(&self, bytes: usize) {
        let taken = self.taken.load(Ordering::Relaxed).saturating_add(bytes);
        let is_move = taken >= WINDOW_BYTES;
        self.taken
            .store(if is_move { 0 } else { taken }, Ordering::Relaxed);
        if is_move {
            self.moved();
        }
    }

    /// A request begins; whether it has a body that must be read to the end.
    pub(crate) fn begin(&self, has_body: bool) {
        self.body_unread.store(has_body, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
        self.enter(SERVING);
    }

    /// So many bytes of the request's body came.
    pub(crate) fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of the request's body that came.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The response has been handed over whole.
    pub(crate) fn end(&self) {
        self.enter(WAITING);
    }

    /// The body of the request has been read to its end.
    pub(crate) fn body_read(&self) {
        self.body_unread.store(false, Ordering::Relaxed);
    }

    /// Whether bytes of the request's body may still come.
    pub(crate) fn is_body_unread(&self) -> bool {
        self.body_unread.load(Ordering::Relaxed)
    }

    /// How long the present phase may last without a move; `None` where the store is what takes time.
    fn limit(&self, patience: Patience) -> Option<Duration> {
        if self.write_blocked.load(Ordering::Relaxed) {
            return Some(patience.stalled);
        }
        match self.phase.load(Ordering::Relaxed) {
            WAITING => Some(patience.idle),
            HEAD => Some(patience.head),
            LINGERING => Some(LINGER),
            _ => None,
        }
    }
}

/// Counts the ticks in which the client kept us waiting and nothing moved.
#[derive(Debug, Default)]
struct Stillness {
    moves: u32,
    ticks: u32,
}

impl Stillness {
    /// Looks at the watch once a tick; true when its patience is over.
    fn is_over(&mut self, watch: &Watch, patience: Patience) -> bool {
        let moves = watch.moves.load(Ordering::Relaxed);
        if moves != self.moves {
            *self = Self { moves, ticks: 0 };
            return false;
        }
        let Some(limit) = watch.limit(patience) else {
            return false;
        };
        self.ticks = self.ticks.saturating_add(1);
        TICK * self.ticks > limit
    }
}

/// A socket whose progress is noted.
struct WatchedIo {
    io: TokioIo<Transport>,
    watch: Arc<Watch>,
}

impl WatchedIo {
    fn note_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let watch = &self.watch;
        watch.write_blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = &written {
            watch.took(*bytes);
        }
        written
    }
}

impl Read for WatchedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, into);
        if read.is_ready() && this.watch.phase.load(Ordering::Relaxed) == WAITING {
            this.watch.enter(HEAD);
        }
        read
    }
}

impl Write for WatchedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.note_write(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        // TLS takes what is written into a buffer of its own, and waits for the client only here.
        this.watch
            .write_blocked
            .store(flushed.is_pending(), Ordering::Relaxed);
        flushed
    }

    /// Says that nothing more comes. Where the client is still sending, takes what it sends for a while:
    /// closing on unread bytes would reset the connection before the answer is seen.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.phase.load(Ordering::Relaxed) != LINGERING {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if !this.watch.is_body_unread() {
                return Poll::Ready(Ok(()));
            }
            this.watch.enter(LINGERING);
        }
        let mut scrap = [0; 8 * 1024];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            ready!(Pin::new(this.io.inner_mut()).poll_read(cx, &mut scrap))?;
            if scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bytes);
        this.note_write(written)
    }
}

/// Serves a connection until it ends, stalls, or the server stops: `drain` lets the request in flight
/// finish, `cut` does not.
pub(crate) async fn drive(
    (stream, from): (TcpStream, IpAddr),
    gateway: Arc<Gateway>,
    patience: Patience,
    drain: CancellationToken,
    cut: CancellationToken,
) {
    let opening = transport::open(stream, gateway.tls.as_ref(), patience.head);
    let transport = match drain.run_until_cancelled(opening).await {
        None => return,
        Some(Ok(transport)) => transport,
        Some(Err(error)) => {
            debug!(%error, "connection not opened");
            return;
        }
    };
    let cipher = transport::cipher(&transport);
    let peer = Origin {
        from,
        secure: cipher.is_some(),
        cipher,
    };
    let watch = Arc::new(Watch::default());
    let io = WatchedIo {
        io: TokioIo::new(transport),
        watch: watch.clone(),
    };
    let watched = watch.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (gateway, watch) = (gateway.clone(), watched.clone());
        async move { Ok::<_, Infallible>(gateway.answer(request, peer, watch).await) }
    });
    // Never with `pipeline_flush`: it lifts the bound on what is buffered, and a slow client's whole object is copied
    // into memory.
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut ticks = ticks();
    let mut stillness = Stillness::default();
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection broke off");
                }
                return;
            }
            _ = ticks.tick() => {
                if cut.is_cancelled() || stillness.is_over(&watch, patience) {
                    return;
                }
                if !draining && drain.is_cancelled() {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(10),
        head: Duration::from_secs(2),
        stalled: Duration::from_secs(4),
    };

    /// Seconds until a watch in this state is given up.
    fn seconds_until_over(watch: &Watch) -> Option<u32> {
        let mut stillness = Stillness::default();
        (0..100)
            .find(|_| stillness.is_over(watch, PATIENCE))
            .map(|ticks| ticks / 2)
    }

    #[test]
    fn only_a_client_that_keeps_us_waiting_is_cut() {
        let watch = Watch::default();
        assert_eq!(seconds_until_over(&watch), Some(10));
        watch.enter(HEAD);
        assert_eq!(seconds_until_over(&watch), Some(2));
        watch.begin(true);
        assert_eq!(seconds_until_over(&watch), None);
        watch.write_blocked.store(true, Ordering::Relaxed);
        assert_eq!(seconds_until_over(&watch), Some(4));
        watch.write_blocked.store(false, Ordering::Relaxed);
        watch.end();
        assert_eq!(seconds_until_over(&watch), Some(10));
    }

    #[test]
    fn a_client_that_takes_a_response_in_drips_is_cut() {
        let (watch, mut stillness) = (Watch::default(), Stillness::default());
        watch.begin(false);
        let mut seconds_of = |bytes: usize| {
            (0..100).find(|_| {
                watch.took(bytes);
                watch.write_blocked.store(true, Ordering::Relaxed);
                stillness.is_over(&watch, PATIENCE)
            })
        };
        assert_eq!(seconds_of(WINDOW_BYTES / 8), None);
        assert!(seconds_of(1).is_some());
    }

    #[test]
    fn every_move_renews_the_patience() {
        let watch = Watch::default();
        let mut stillness = Stillness::default();
        for _ in 0..100 {
            watch.enter(HEAD);
            assert!((0..4).all(|_| !stillness.is_over(&watch, PATIENCE)));
        }
    }
}
