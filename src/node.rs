//! Starts and stops a node: what comes up first goes down last.

use std::error::Error;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use appliance::api::Secret;
use appliance::{
    Access, AdminServer, AdminSocket, Announcer, Desk, HttpsFacts, Offer, PageOptions, PageServer, Trouble,
    local_name,
};
use p2p::{Identity, NodeId};
use s3::proxies::Proxies;
use s3::uri::RootDomains;
use storage::disk::BlockDirectory;
use storage::{FirstStart, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info, info_span, warn};

use crate::admin_client;
use crate::config::{Config, PageAddress, S3Domain};
use crate::console::{Console, RecentCopies, RecentObjects};
use crate::history::{self, History};
use crate::https::Certificates;
use crate::listen::{ListenError, Whose};
use crate::mesh::{self, Mesh, Place};
use crate::{endpoint, limits, listen};

/// Clients may stay connected between requests this long: a little more than the common SDKs do,
/// so that they and not we decide when a connection ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A client sends its headers in one go; half a minute forgives a bad radio link.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A transfer may stall this long: a laptop changes networks in less.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests in flight may take this long when the node stops: well below the 90 s after which
/// systemd kills.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What clients are told when they ask; they may sign with any region. A name of our own, because botocore
/// makes links of the first signature version, which we refuse, for the regions of Amazon that it knows.
pub(crate) const REGION: &str = "warren";

/// What a node starts from.
#[derive(Clone)]
pub struct Start {
    /// What it runs with.
    pub config: Config,
    /// What to do about a loss.
    pub loss: Loss,
    /// The 24 words, when the key file of a store with data is gone.
    pub recovery_phrase: Option<Secret>,
}

/// Whether a node may go on although acknowledged data is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Open read-only and name the loss.
    Refuse,
    /// A person accepted it.
    Accept,
}

/// What was made by creating a node's state.
pub struct Created {
    /// The node's name.
    pub node: NodeId,
    /// What must be shown once.
    pub first: FirstStart,
    /// Bytes it may use.
    pub given: u64,
    /// Whether its store closed in order; what was made is to be shown either way.
    pub closed: anyhow::Result<()>,
}

/// A running node.
pub struct Node {
    console: Arc<Console>,
    desk: Arc<Desk<Console>>,
    admin: AdminServer,
    page: Option<PageServer>,
    gateway: TaskTracker,
    /// Looks at the boxes.
    watching: TaskTracker,
    announcer: Option<Announcer>,
}

impl Node {
    /// Starts a node; on its first start also returns what must be shown once.
    ///
    /// # Errors
    /// Another process uses the state directory, an address is in use, or a disk fails.
    ///
    /// # Cancellation
    /// Safe to drop, but what a first start made is then shown to nobody.
    pub async fn start(start: Start) -> anyhow::Result<(Self, Option<FirstStart>)> {
        // Everything that can be refused comes before the store, whose first start makes secrets
        // that must not be lost to a port in use.
        let config = &start.config;
        let (socket, identity) = claim(&config.state.value)?;
        let listeners = listen::everywhere(config.s3_address.value.0, Whose::S3).await?;
        let s3 = listeners
            .first()
            .context("no S3 address")?
            .local_addr()
            .context("read S3 address")?;
        // The page is no reason to serve nothing else.
        let (page, why) = page_listeners(config).await;
        let no_page = why.map(|why| {
            error!(%why, cause = ?why.source(), "page not served");
            Trouble::NoPage(why.to_string())
        });
        let access = Access::open(&config.state.value);
        mesh::check_port(config)?;
        let place = Place::find(config, &identity)?;
        let (store, first) = open_store(&start, &place).await?;
        let mesh = match Mesh::start(config, &identity, place, store.clone()).await {
            Ok(mesh) => mesh,
            Err(error) => return Err(given_up(error, &store, first.is_some(), config).await),
        };

        let stopping = CancellationToken::new();
        let name = mesh::name_of(&store, store.me());
        let announcer = announce(config, &name, Some(s3), &page);
        let called = announcer.is_some().then(|| local_name(&name));
        let certificates = match certificates(config, &store, called.as_deref()).await {
            Ok(certificates) => certificates,
            Err(error) => return Err(given_up(error, &store, first.is_some(), config).await),
        };
        let tls = Some(certificates.https.config());
        let options = s3::Options {
            tls: tls.clone(),
            ..s3_options(config, called.as_deref())
        };
        let server = s3::Server::on(listeners, store.clone(), options);
        let meter = server.meter();
        let gateway = TaskTracker::new();
        gateway.spawn(server.serve(stopping.clone()).instrument(info_span!("s3")));
        let renewing = Arc::clone(&certificates).run(stopping.clone());
        gateway.spawn(renewing.instrument(info_span!("https")));
        gateway.close();
        let options = PageOptions {
            tls,
            ..page_options(config)
        };
        let state = config.state.value.clone();
        let console = Arc::new(Console {
            store,
            mesh,
            config: start.config,
            node: identity.node_id(),
            s3,
            called,
            certificates,
            started: Instant::now(),
            stopping,
            copies: RecentCopies::default(),
            objects: RecentObjects::default(),
            meter,
            history: History::open(&state),
        });
        let watching = TaskTracker::new();
        watching.spawn(history::watch(Arc::clone(&console)).instrument(info_span!("history")));
        watching.close();
        let urls = page_urls(&page, console.called.as_deref())?;
        let desk = Desk::new(Arc::clone(&console), access, urls, no_page);
        let admin = AdminServer::serve(socket, Arc::clone(&desk));
        let page = (!page.is_empty()).then(|| PageServer::serve(page, Arc::clone(&desk), options));
        info!(%s3, node = %console.node, "node serves");
        Ok((
            Self {
                console,
                desk,
                admin,
                page,
                gateway,
                watching,
                announcer,
            },
            first,
        ))
    }

    /// Creates the state of a node without serving; `None` if it exists already.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn create(start: &Start) -> anyhow::Result<Option<Created>> {
        let (_socket, identity) = claim(&start.config.state.value)?;
        let place = Place::find(&start.config, &identity)?;
        let (store, first) = open_store(start, &place).await?;
        let given = store.disk_status().given;
        let closed = store.close().await.context("close the store");
        match first {
            Some(first) => Ok(Some(Created {
                node: identity.node_id(),
                first,
                given,
                closed,
            })),
            None => closed.map(|()| None),
        }
    }

    /// Where S3 clients connect, the URL to show first; the real port where port 0 was asked for.
    pub fn s3(&self) -> Vec<String> {
        endpoint::urls_called(self.console.s3, self.console.called.as_deref())
    }

    /// What clients have to trust over HTTPS; none before there is a certificate.
    pub fn https(&self) -> Option<HttpsFacts> {
        self.console.https_facts()
    }

    /// Where browsers connect; empty while the page is off.
    pub fn page(&self) -> &[String] {
        self.desk.page()
    }

    /// A login code, as long as nobody has chosen a password for the page.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn first_login_code(&self) -> anyhow::Result<Option<Secret>> {
        self.desk.first_login_code().context("make a login code")
    }

    /// Whether no client can sign in: a first start that crashed before it made a key.
    pub fn has_no_keys(&self) -> bool {
        let store = &self.console.store;
        // A box that has just joined hears of them before long.
        store.access_keys().is_empty() && !store.is_meshed()
    }

    /// Waits until this node has to start again: its disk forgot what it promised to the others, and they gave it a new place.
    pub async fn until_given_place(&self) {
        self.console.mesh.until_given_place().await;
    }

    /// Stops in order: answer what is in flight, end what works on its own, leave the mesh, flush and close the disk.
    ///
    /// # Errors
    /// The disk failed while flushing.
    ///
    /// # Cancellation
    /// Dropped, acknowledged data is safe; the next start has more of the log to read.
    pub async fn stop(self) -> anyhow::Result<()> {
        info!("node stops");
        self.console.stopping.cancel();
        if let Some(announcer) = self.announcer {
            announcer.stop().await;
        }
        self.gateway.wait().await;
        self.watching.wait().await;
        if let Some(page) = self.page {
            page.shutdown().await;
        }
        self.admin.shutdown().await;
        self.desk.settle().await;
        self.console.mesh.calm().await;
        // Commits in flight may need the others.
        self.console.store.settle().await;
        self.console.mesh.leave().await;
        self.console.store.close().await.context("close the store")?;
        info!("node stopped");
        Ok(())
    }
}

/// Closes a store whose node does not start after all.
async fn given_up(error: anyhow::Error, store: &Store, is_first: bool, config: &Config) -> anyhow::Error {
    let error = match store.close().await {
        Ok(()) => error,
        Err(closing) => error.context(format!("close the store: {closing}")),
    };
    if !is_first {
        return error;
    }
    // What a first start made has been shown to nobody.
    let state = config.state.value.display();
    error.context(format!(
        "nothing is stored yet: delete {state} and the directories of its data, then start over"
    ))
}

/// Makes the state directory ours: nobody else runs with it while the socket lives.
pub(crate) fn claim(state: &Path) -> anyhow::Result<(AdminSocket, Identity)> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .with_context(|| format!("create state directory {}", state.display()))?;
    let socket = AdminSocket::bind(&admin_client::socket_path(state))?;
    let identity = Identity::load_or_create(&state.join("identity")).context("load the node's identity")?;
    Ok((socket, identity))
}

async fn open_store(start: &Start, place: &Place) -> anyhow::Result<(Store, Option<FirstStart>)> {
    let directories = start.config.data.value.iter().map(|directory| BlockDirectory {
        path: directory.path.clone(),
        capacity: directory.capacity.map(|capacity| capacity.0),
    });
    let memory = limits::memory_bytes();
    let options = storage::Options {
        state: start.config.state.value.clone(),
        blocks: directories.collect(),
        accept_loss: start.loss == Loss::Accept,
        recovery_phrase: start
            .recovery_phrase
            .as_ref()
            .map(|phrase| phrase.expose().to_owned().into()),
        memory: limits::write_bytes_max(memory),
        hot: limits::hot_bytes_max(memory),
        membership: place.membership(),
    };
    Store::open(options).await.context("open the store")
}

/// Listens for browsers; empty where there is no page. Where it cannot listen at one of several addresses it does at the
/// others, and says why.
pub(crate) async fn page_listeners(config: &Config) -> (Vec<TcpListener>, Option<ListenError>) {
    let addresses = match &config.page.address.value {
        PageAddress::Off => &[][..],
        PageAddress::At(addresses) => addresses,
    };
    let (mut listeners, mut failed) = (Vec::new(), None);
    for address in addresses {
        match listen::everywhere(*address, Whose::Page).await {
            Ok(bound) => listeners.extend(bound),
            Err(why) => failed = Some(why),
        }
    }
    (listeners, failed)
}

/// Announces the box in its network, unless a person turned that off; being found is no condition for serving.
pub(crate) fn announce(
    config: &Config,
    name: &str,
    s3: Option<SocketAddr>,
    page: &[TcpListener],
) -> Option<Announcer> {
    if !config.mesh.mdns.value.0 {
        return None;
    }
    let page = page.first().and_then(|listener| listener.local_addr().ok());
    let offers: Vec<_> = s3
        .map(|s3| (Offer::S3, s3))
        .into_iter()
        .chain(page.map(|page| (Offer::Page, page)))
        .collect();
    Announcer::start(name, &offers).unwrap_or_else(|error| {
        warn!(%error, cause = ?error.source(), "nobody in this network is told where the box is");
        None
    })
}

/// The certificate of this box, and what renews it.
async fn certificates(
    config: &Config,
    store: &Store,
    called: Option<&str>,
) -> anyhow::Result<Arc<Certificates>> {
    let own = own_domains(&rustix::system::uname().nodename().to_string_lossy());
    let certificates = Certificates::new(store.clone(), config, &own, called)?;
    certificates.first().await;
    Ok(certificates)
}

/// Where browsers connect; the real port where port 0 was asked for.
fn page_urls(listeners: &[TcpListener], called: Option<&str>) -> anyhow::Result<Vec<String>> {
    let Some(first) = listeners.first() else {
        return Ok(Vec::new());
    };
    let address = first.local_addr().context("read page address")?;
    Ok(endpoint::urls_called(address, called))
}

/// How the page is served, without HTTPS.
pub(crate) fn page_options(config: &Config) -> PageOptions {
    let own = own_domains(&rustix::system::uname().nodename().to_string_lossy());
    let configured = config
        .page
        .hosts
        .value
        .iter()
        .map(|host| host.as_str().to_owned());
    let own = own.into_iter().map(|name| name.to_ascii_lowercase());
    PageOptions {
        hosts: own.chain(configured).filter(|name| !name.is_empty()).collect(),
        lan_only: config.page.lan_only.value.0,
        tls: None,
    }
}

/// Domains that lead to this box without anybody's doing: buckets are found below them as below those configured.
fn own_domains(host: &str) -> [String; 3] {
    let label = host.split('.').next().unwrap_or_default();
    let local = if label.is_empty() {
        String::new()
    } else {
        format!("{label}.local")
    };
    ["localhost".into(), host.into(), local]
}

/// How S3 is served, without HTTPS.
fn s3_options(config: &Config, called: Option<&str>) -> s3::Options {
    let own = own_domains(&rustix::system::uname().nodename().to_string_lossy());
    let configured = config.s3_domains.value.iter().map(S3Domain::as_str);
    s3::Options {
        root_domains: RootDomains::new(own.iter().map(String::as_str).chain(configured).chain(called)),
        website_domains: RootDomains::new(config.website_domains.value.iter().map(S3Domain::as_str)),
        proxies: Proxies::new(config.proxies.value.iter().copied()),
        webhooks: config.webhooks.value.clone(),
        tls: None,
        region: REGION.into(),
        connections_max: limits::CONNECTIONS_MAX,
        requests_max: limits::requests_max(limits::memory_bytes()),
        idle_timeout: IDLE_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        body_timeout: BODY_TIMEOUT,
        drain_timeout: DRAIN_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_knows_its_own_names() {
        assert_eq!(own_domains("box"), ["localhost", "box", "box.local"]);
        assert_eq!(own_domains("box.lan"), ["localhost", "box.lan", "box.local"]);
        assert_eq!(own_domains(""), ["localhost", "", ""]);
    }
}
