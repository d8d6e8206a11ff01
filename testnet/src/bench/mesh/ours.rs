//! The mesh under load: two real nodes of one process, over loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use p2p::{
    Applicant, Application, Certificate, Claims, Class, Host, Identity, Invite, Limits, MeshKey, Node,
    NodeId, NotWelcome, Options, Refusal, Role, Service, Welcome,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{BLOCK_BYTES, CALL_BYTES, CALLS_AT_ONCE, STREAMS};

const WAIT: Duration = Duration::from_secs(20);
/// How long connections get to find their places after the first one.
const SETTLE: Duration = Duration::from_secs(3);
/// The longest call counted, in microseconds.
const MICROS_MAX: u64 = 60_000_000;

/// Gives calls back, and takes blocks.
struct Taker {
    received: Arc<AtomicU64>,
}

impl Service for Taker {
    fn answer(&self, _: NodeId, class: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let answer = match class {
            Class::Metadata => request,
            Class::Block => {
                self.received.fetch_add(request.len() as u64, Ordering::Relaxed);
                Bytes::new()
            }
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// Lets everybody in who holds any invite: nobody else can reach it.
struct Open {
    key: MeshKey,
    own: NodeId,
}

impl Host for Open {
    fn redeem(&self, application: Application) -> BoxFuture<'static, Result<Welcome, NotWelcome>> {
        let certificate = |node| {
            let claims = Claims {
                node,
                role: Role::Trusted,
                zone: "bench".into(),
                name: "bench".into(),
                serial: 1,
                issued_s: 0,
            };
            Certificate::issue(&self.key, claims).map_err(|_| NotWelcome)
        };
        let welcome = certificate(self.own).and_then(|own| {
            Ok(Welcome {
                own,
                yours: certificate(application.node)?,
                gift: Bytes::new(),
            })
        });
        Box::pin(std::future::ready(welcome))
    }
}

/// Two nodes of one mesh.
pub(super) struct Pair {
    near: Node,
    far: Node,
    received: Arc<AtomicU64>,
    _folders: [TempDir; 2],
}

impl Pair {
    /// Starts two nodes and lets one join the other.
    ///
    /// # Errors
    /// A node does not start, or they do not meet.
    pub(super) async fn start() -> Result<Self> {
        let key = || MeshKey::from_secret(&[42; 32]);
        let received = Arc::new(AtomicU64::new(0));
        let (near, near_folder) = node(key(), &received).await?;
        let (far, far_folder) = node(key(), &received).await?;
        far.set_signer(Some(key().id()));
        far.expect_guests(WAIT);
        let invite = Invite::new(key().id(), Role::Trusted, u64::MAX, far.reach().knocked());
        let applicant = Applicant {
            zone: "bench".into(),
            name: "bench".into(),
            greeting: Bytes::new(),
        };
        let invite = invite.map_err(|error| anyhow::anyhow!("{error}"))?;
        near.join(&invite, &applicant).await.context("join")?;
        near.set_members([far.id()]);
        far.set_members([near.id()]);
        let mut changes = near.changes();
        let connected = changes.wait_for(|_| near.peer(far.id()).link.is_some());
        tokio::time::timeout(WAIT, connected)
            .await
            .context("connect nodes")??;
        tokio::time::sleep(SETTLE).await;
        Ok(Self {
            near,
            far,
            received,
            _folders: [near_folder, far_folder],
        })
    }

    pub(super) async fn stop(self) {
        self.near.shutdown().await;
        self.far.shutdown().await;
    }

    /// Bytes of blocks per second.
    pub(super) async fn bulk(&self, turn: Duration) -> Result<f64> {
        let mut senders = self.senders();
        let rate = super::rate_of(&self.received, turn).await;
        finish(&mut senders).await?;
        Ok(rate)
    }

    /// Calls per second with many at once.
    pub(super) async fn calls(&self, turn: Duration) -> Result<f64> {
        let until = Instant::now() + turn;
        let mut callers = JoinSet::new();
        for _ in 0..CALLS_AT_ONCE {
            let (node, to) = (self.near.clone(), self.far.id());
            callers.spawn(async move {
                let mut answered = 0_u32;
                let request = Bytes::from(vec![7; CALL_BYTES]);
                while Instant::now() < until {
                    node.call(to, Class::Metadata, request.clone(), WAIT).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            });
        }
        let mut answered = 0.0;
        while let Some(caller) = callers.join_next().await {
            answered += f64::from(caller??);
        }
        Ok(answered / turn.as_secs_f64())
    }

    /// How long 99 of 100 calls take at most, one at a time, in microseconds.
    pub(super) async fn p99(&self, turn: Duration, among_blocks: bool) -> Result<f64> {
        let mut senders = if among_blocks {
            self.senders()
        } else {
            JoinSet::new()
        };
        let mut times = Histogram::<u64>::new_with_max(MICROS_MAX, 3)?;
        let (until, request) = (Instant::now() + turn, Bytes::from(vec![7; CALL_BYTES]));
        while Instant::now() < until {
            let start = Instant::now();
            let answer = self
                .near
                .call(self.far.id(), Class::Metadata, request.clone(), WAIT)
                .await?;
            ensure!(answer == request, "another answer");
            times.saturating_record(u64::try_from(start.elapsed().as_micros()).unwrap_or(MICROS_MAX));
        }
        finish(&mut senders).await?;
        Ok(f64::from(
            u32::try_from(times.value_at_quantile(0.99)).unwrap_or(u32::MAX),
        ))
    }

    /// Sends blocks for ever, a few at once.
    fn senders(&self) -> JoinSet<Result<()>> {
        let mut senders = JoinSet::new();
        for _ in 0..STREAMS {
            let (node, to) = (self.near.clone(), self.far.id());
            let block = Bytes::from(vec![7; BLOCK_BYTES]);
            senders.spawn(async move {
                loop {
                    node.call(to, Class::Block, block.clone(), WAIT).await?;
                }
            });
        }
        senders
    }
}

/// Ends senders; fails when one had failed.
async fn finish(senders: &mut JoinSet<Result<()>>) -> Result<()> {
    if let Some(failed) = senders.try_join_next() {
        bail!("a block was not taken: {failed:?}");
    }
    senders.shutdown().await;
    Ok(())
}

async fn node(key: MeshKey, received: &Arc<AtomicU64>) -> Result<(Node, TempDir)> {
    let folder = tempfile::tempdir().context("make folder")?;
    let identity = Identity::load_or_create(&folder.path().join("identity"))?;
    let options = Options {
        mesh: key.id(),
        members: Vec::new(),
        folder: folder.path().to_owned(),
        listen: vec![Ipv4Addr::LOCALHOST.into()],
        port: None,
        public: Vec::new(),
        mdns: false,
        upnp: false,
        limits: Limits {
            sent: None,
            received: None,
            relayed: None,
        },
    };
    let service = Arc::new(Taker {
        received: Arc::clone(received),
    });
    let host = Arc::new(Open {
        key,
        own: identity.node_id(),
    });
    Ok((Node::start(&identity, options, service, host).await?, folder))
}
