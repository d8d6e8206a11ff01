//! Serves the admin API on its socket until told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use crate::desk::Desk;
use crate::right::Right;
use crate::{AdminSocket, Node, live, routes};

/// A box has a handful of callers; more are a runaway script, and wait in the socket's queue.
const CONNECTIONS_MAX: usize = 32;

/// A caller on the same machine sends its headers at once or is broken.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failed accept (usually: no file descriptors left) wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in flight may take once the server stops: every change is a few disk syncs.
const GRACE: Duration = Duration::from_secs(5);

/// The running admin API.
#[derive(Debug)]
pub struct AdminServer {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl AdminServer {
    /// Serves `desk` on `socket`, and tells whoever listens how the box is, until [`Self::shutdown`].
    pub fn serve<N: Node>(socket: AdminSocket, desk: Arc<Desk<N>>) -> Self {
        let server = Self {
            tasks: TaskTracker::new(),
            stop: desk.stop.clone(),
        };
        server
            .tasks
            .spawn(live::watch(Arc::clone(&desk)).instrument(info_span!("live")));
        server.tasks.spawn(
            accept(socket, desk, server.tasks.clone(), server.stop.clone()).instrument(info_span!("admin")),
        );
        server
    }

    /// Closes the desk: takes no more requests, and returns when those in flight are answered, after five seconds at most.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Takes callers one after another until stopped.
async fn accept<N: Node>(
    socket: AdminSocket,
    desk: Arc<Desk<N>>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let next = async || {
        let slot = Arc::clone(&slots).acquire_owned().await;
        (slot, socket.accept().await)
    };
    while let Some((slot, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok(stream) => {
                let (desk, stop) = (Arc::clone(&desk), stop.clone());
                tasks.spawn(async move {
                    converse(stream, desk, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "admin caller not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one caller.
async fn converse<N: Node>(stream: UnixStream, desk: Arc<Desk<N>>, stop: CancellationToken) {
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(routes::answer(desk, Right::AtTheBox, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(GRACE, connection).await else {
                warn!("admin request dropped unanswered");
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        debug!(%error, "admin caller broke off");
    }
}
