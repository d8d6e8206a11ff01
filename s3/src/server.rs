//! Accepts connections, within limits, until told to stop; then lets requests in flight finish.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use storage::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::addresses::Addresses;
use crate::connection::{self, Patience};
use crate::gateway::Gateway;
use crate::meter::Meter;
use crate::notify::Webhook;
use crate::proxies::Proxies;
use crate::uri::RootDomains;

/// How a server serves; already valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// Domains below which the first labels of a host name are a bucket.
    pub root_domains: RootDomains,
    /// Domains below which the first labels of a host name are a bucket that is served as a website.
    pub website_domains: RootDomains,
    /// The region clients are told; any region they sign with is accepted.
    pub region: String,
    /// Who is believed about where requests come from, and whether over TLS.
    pub proxies: Proxies,
    /// Whom buckets may have told of what happens to their objects.
    pub webhooks: Vec<Webhook>,
    /// How connections that begin with a TLS handshake are answered, on the same ports; where there is none, they are cut.
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections at most; more wait in the kernel's queue. A quarter of them for one address, the box itself excepted.
    pub connections_max: usize,
    /// Requests served at a time; more wait a while, then hear `SlowDown`.
    pub requests_max: usize,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long the headers of a request may take, and how long a client that has connected may say nothing at all.
    pub header_timeout: Duration,
    /// How long a client may keep us waiting until it has sent 64 KiB of a body or taken 64 KiB of a response.
    pub body_timeout: Duration,
    /// How long requests in flight may take to finish once the server stops.
    pub drain_timeout: Duration,
}

/// A server that listens but does not yet serve.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    gateway: Arc<Gateway>,
    connections: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    patience: Patience,
    drain_timeout: Duration,
}

impl Server {
    /// Listens on every address.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(addresses: &[SocketAddr], store: Store, options: Options) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.push(TcpListener::bind(address).await?);
        }
        Ok(Self::on(listeners, store, options))
    }

    /// Takes listeners that are already bound, e.g. by systemd.
    pub fn on(listeners: Vec<TcpListener>, store: Store, options: Options) -> Self {
        Self {
            listeners,
            connections: Arc::new(Semaphore::new(
                options.connections_max.min(Semaphore::MAX_PERMITS),
            )),
            addresses: Addresses::new(options.connections_max.div_ceil(4)),
            patience: Patience {
                idle: options.idle_timeout,
                head: options.header_timeout,
                stalled: options.body_timeout,
            },
            drain_timeout: options.drain_timeout,
            gateway: Arc::new(Gateway::new(store, &options)),
        }
    }

    /// The counters of its requests.
    pub fn meter(&self) -> Arc<Meter> {
        self.gateway.meter.clone()
    }

    /// The addresses it listens on, with the ports the system chose.
    ///
    /// # Errors
    /// The system cannot say.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop`, then drains: no new connection, requests in flight finish within the drain
    /// time-out, the rest is cut. Returns when no task is left.
    ///
    /// # Cancellation
    /// Dropped, its connections go on until they end; stop it by `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let cut = CancellationToken::new();
        let gateway = self.gateway.clone();
        let Gateway {
            webhooks,
            access_log,
            store,
            region,
            ..
        } = &*gateway;
        webhooks.start(store, region, (&tasks, &stop));
        let (logged, store, logging) = (access_log.clone(), store.clone(), stop.clone());
        tasks.spawn(async move { logged.run(&store, logging).await }.instrument(info_span!("access log")));
        for listener in self.listeners {
            tasks.spawn(accept(
                listener,
                self.gateway.clone(),
                (self.connections.clone(), self.addresses.clone()),
                self.patience,
                tasks.clone(),
                stop.clone(),
                cut.clone(),
            ));
        }
        stop.cancelled().await;
        tasks.close();
        if timeout(self.drain_timeout, tasks.wait()).await.is_err() {
            info!(
                connections = tasks.len(),
                "cutting connections that did not finish"
            );
            cut.cancel();
            tasks.wait().await;
        }
        gateway.access_log.finish(&gateway.store).await;
    }
}

/// Accepts from one listener until `stop`; each connection becomes a task of its own.
async fn accept(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    (connections, addresses): (Arc<Semaphore>, Arc<Addresses>),
    patience: Patience,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
) {
    while let Some(Some((stream, from, permit))) =
        stop.run_until_cancelled(next(&listener, &connections)).await
    {
        let Some(place) = addresses.enter(from) else {
            debug!(%from, "connection refused: too many from one address");
            continue;
        };
        let (gateway, drain, cut) = (gateway.clone(), stop.clone(), cut.clone());
        tasks.spawn(async move {
            connection::drive((stream, from), gateway, patience, drain, cut).await;
            drop((permit, place));
        });
    }
}

/// The next connection and its place among the permitted ones; `None` once places are no longer given.
async fn next(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Without this a small response waits for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    warn!(%error, "TCP_NODELAY not set");
                }
                return Some((stream, from.ip(), permit));
            }
            Err(error) => {
                // Out of descriptors, or the client is already gone: trying again at once would spin.
                warn!(%error, "connection not accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
