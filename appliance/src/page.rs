//! Serves the page and the admin API to the network until told to stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use crate::Node;
use crate::desk::Desk;

mod assets;
mod callers;
pub(crate) mod cookie;
mod door;
mod form;
mod host;
mod note;
mod pace;
mod site;
mod source;
mod transport;

pub(crate) use assets::Assets;
use callers::Callers;
pub(crate) use cookie::Carrier;
pub(crate) use door::Visitor;
pub(crate) use form::Form;
pub(crate) use host::named;
pub(crate) use note::Note;
use pace::Pace;
pub(crate) use site::Site;
pub(crate) use source::{Source, is_local};

/// Connections at once; more wait in the sockets' queues.
const CONNECTIONS_MAX: usize = 128;

/// A browser sends its headers in one go; between requests, and before the first, it may keep a connection as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// All headers of a request: browsers send two thousand bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The longest a connection lives, so that one which takes nothing off our hands does not stay for ever. Browsers connect
/// anew, and so do those who listen to events.
const CONNECTION_LIFE: Duration = Duration::from_secs(60 * 60);

/// After a failed accept (usually: no file descriptors left) wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in flight may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How the page is served.
#[derive(Clone, Debug)]
pub struct PageOptions {
    /// Names of the box beside its addresses, `localhost` and those in `.local`; in lower case.
    pub hosts: Vec<String>,
    /// Whether only this home's own network is answered.
    pub lan_only: bool,
    /// How connections that begin with a TLS handshake are answered; where there is none, they are cut.
    pub tls: Option<Arc<ServerConfig>>,
}

impl PageOptions {
    /// Whether anybody at this address is answered at all.
    fn answers(&self, address: IpAddr) -> bool {
        !self.lan_only || is_local(address)
    }
}

/// What all connections share.
struct Shared<S> {
    site: Arc<S>,
    options: PageOptions,
    assets: Assets,
    pace: Mutex<Pace>,
    callers: Callers,
}

impl<S> Shared<S> {
    /// Lets a request pass, or says how long its sender has to wait.
    fn pass(&self, from: Source) -> Result<(), Duration> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.pass(from, Instant::now())
    }
}

/// The running page.
#[derive(Debug)]
pub struct PageServer {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl PageServer {
    /// Serves `desk` on these listeners until [`Self::shutdown`].
    pub fn serve<N: Node>(listeners: Vec<TcpListener>, desk: Arc<Desk<N>>, options: PageOptions) -> Self {
        let stop = desk.stop.clone();
        Self::of(listeners, desk, stop, options)
    }

    /// Serves what people log in to, until `stop` or [`Self::shutdown`].
    pub(crate) fn of<S: Site>(
        listeners: Vec<TcpListener>,
        site: Arc<S>,
        stop: CancellationToken,
        options: PageOptions,
    ) -> Self {
        let server = Self {
            tasks: TaskTracker::new(),
            stop,
        };
        let shared = Arc::new(Shared {
            site,
            options,
            assets: Assets::new(),
            pace: Mutex::default(),
            callers: Callers::default(),
        });
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for listener in listeners {
            let serving = accept(
                listener,
                Arc::clone(&shared),
                Arc::clone(&slots),
                server.tasks.clone(),
                server.stop.clone(),
            );
            server.tasks.spawn(serving.instrument(info_span!("page")));
        }
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
async fn accept<S: Site>(
    listener: TcpListener,
    shared: Arc<Shared<S>>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let next = async || {
        let slot = Arc::clone(&slots).acquire_owned().await;
        (slot, listener.accept().await)
    };
    while let Some((slot, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            // Nothing that such a caller says could make it local, so it holds no place that others need.
            Ok((_, from)) if !shared.options.answers(from.ip()) => {
                debug!(%from, "page caller is not of this network");
            }
            Ok((stream, from)) => {
                let Some(place) = shared.callers.admit(Source::of(from.ip())) else {
                    debug!(%from, "page caller has too many connections");
                    continue;
                };
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                tasks.spawn(async move {
                    converse(stream, from, shared, stop).await;
                    drop((slot, place));
                });
            }
            Err(error) => {
                warn!(%error, "page caller not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one caller.
async fn converse<S: Site>(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared<S>>,
    stop: CancellationToken,
) {
    // Answers are small; without this the last piece of each would wait for the one before it to be confirmed.
    let _ = stream.set_nodelay(true);
    let opening = transport::open(stream, shared.options.tls.as_ref(), HEADER_TIMEOUT);
    let transport = match stop.run_until_cancelled(opening).await {
        None => return,
        Some(Ok(transport)) => transport,
        Some(Err(error)) => {
            debug!(%from, %error, "page caller did not begin");
            return;
        }
    };
    let carrier = match &transport {
        Either::Left(_) => Carrier::Plain,
        Either::Right(_) => Carrier::Encrypted,
    };
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move {
            Ok::<_, std::convert::Infallible>(door::answer(&shared, (from.ip(), carrier), request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(transport), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = tokio::time::timeout(CONNECTION_LIFE, connection.as_mut()) => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "page caller broke off"),
        Err(_) => debug!("page caller cut off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_of_this_network_is_dropped_before_it_takes_a_place_unless_the_page_is_for_all() {
        let options = |lan_only| PageOptions {
            hosts: Vec::new(),
            lan_only,
            tls: None,
        };
        let (near, far) = ([192, 168, 1, 9].into(), [203, 0, 113, 9].into());
        assert!(options(true).answers(near) && !options(true).answers(far));
        assert!(options(false).answers(near) && options(false).answers(far));
    }
}
