//! The process that runs one node of a mesh in a namespace, and does what it reads line by line.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use clap::Args;
use p2p::{
    Address, Applicant, Application, Certificate, Claims, Class, Host, Identity, Invite, InviteId, Limits,
    MeshKey, Node, NodeId, NotWelcome, Options, Path, Refusal, Role, Service, Welcome,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::lab::PORT;

/// The options of the hidden subcommand.
#[derive(Args)]
pub(crate) struct DriverOptions {
    /// A folder for this node
    #[arg(long)]
    folder: PathBuf,
    /// Where it can be reached from everywhere
    #[arg(long)]
    public: Vec<Address>,
    /// Listen at addresses of IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Find members on the LAN
    #[arg(long)]
    mdns: bool,
}

/// What a node is told to do, a line of JSON each.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make an invite that this node honours.
    Invite { addresses: Vec<String> },
    /// Join with an invite.
    Join { invite: String },
    /// These are the members.
    Members { nodes: Vec<String> },
    /// Call one, with so many bytes there and back.
    Call {
        to: String,
        is_block: bool,
        bytes: usize,
        wait_ms: u64,
    },
    /// Say how one is reached.
    Peer { node: String },
}

/// What it says to each, a line of JSON; the first line is its id.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Text(String),
    /// How a peer is reached; none when it is away.
    Reached(Option<Way>),
    Failed(String),
}

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Way {
    /// "lan", "direct" or "relayed".
    pub(crate) path: String,
    /// The id of the member that relays.
    pub(crate) via: Option<String>,
    /// "QUIC" or "TCP".
    pub(crate) transport: String,
}

/// Gives back what it gets.
struct Echo;

impl Service for Echo {
    fn answer(
        &self,
        _: NodeId,
        _: Class,
        request: Bytes,
    ) -> futures_util::future::BoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move { Ok(request) })
    }
}

/// Honours the invites it made, each once.
struct Door {
    key: MeshKey,
    own: NodeId,
    invites: Mutex<HashMap<InviteId, Option<NodeId>>>,
}

impl Door {
    fn certificate(&self, node: NodeId, name: &str) -> Option<Certificate> {
        let claims = Claims {
            node,
            role: Role::Trusted,
            zone: "lab".into(),
            name: name.into(),
            serial: 1,
            issued_s: 0,
        };
        Certificate::issue(&self.key, claims).ok()
    }

    fn welcome(&self, application: &Application) -> Option<Welcome> {
        let mut invites = self.invites.lock().unwrap_or_else(PoisonError::into_inner);
        let used = invites.get_mut(&application.invite)?;
        if *used.get_or_insert(application.node) != application.node {
            return None;
        }
        Some(Welcome {
            own: self.certificate(self.own, "host")?,
            yours: self.certificate(application.node, &application.name)?,
            gift: Bytes::new(),
        })
    }
}

impl Host for Door {
    fn redeem(
        &self,
        application: Application,
    ) -> futures_util::future::BoxFuture<'static, Result<Welcome, NotWelcome>> {
        let welcome = self.welcome(&application).ok_or(NotWelcome);
        Box::pin(async move { welcome })
    }
}

/// All nodes of a lab are of this mesh.
fn mesh_key() -> MeshKey {
    MeshKey::from_secret(&[42; 32])
}

/// Runs a node until its input ends.
///
/// # Errors
/// It cannot start.
pub(crate) fn drive(options: &DriverOptions) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: &DriverOptions) -> Result<()> {
    // RUST_LOG=warren_p2p=debug shows what every node does.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let identity = Identity::load_or_create(&options.folder.join("identity"))?;
    let door = Arc::new(Door {
        key: mesh_key(),
        own: identity.node_id(),
        invites: Mutex::default(),
    });
    let node_options = Options {
        mesh: mesh_key().id(),
        members: Vec::new(),
        folder: options.folder.clone(),
        listen: match options.ipv6 {
            true => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            false => vec![Ipv4Addr::UNSPECIFIED.into()],
        },
        port: Some(PORT),
        public: options.public.clone(),
        mdns: options.mdns,
        upnp: false,
        limits: Limits {
            sent: None,
            received: None,
            relayed: None,
        },
    };
    let node = Node::start(
        &identity,
        node_options,
        Arc::new(Echo),
        Arc::clone(&door) as Arc<dyn Host>,
    )
    .await?;
    say(&Reply::Text(node.id().to_string())).await?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        let order = serde_json::from_str(&line).context("read order")?;
        let reply = obey(&node, &door, order).await;
        say(&reply.unwrap_or_else(|error| Reply::Failed(format!("{error:#}")))).await?;
    }
    node.shutdown().await;
    Ok(())
}

async fn say(reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    let mut out = tokio::io::stdout();
    out.write_all(line.as_bytes()).await?;
    Ok(out.flush().await?)
}

async fn obey(node: &Node, door: &Door, order: Order) -> Result<Reply> {
    match order {
        Order::Invite { addresses } => {
            let addresses: Result<Vec<Address>, _> = addresses.iter().map(|text| text.parse()).collect();
            let invite = Invite::new(node.mesh(), Role::Trusted, 1 << 33, addresses?)
                .map_err(|error| anyhow!("{error}"))?;
            let mut invites = door.invites.lock().unwrap_or_else(PoisonError::into_inner);
            invites.insert(invite.id(), None);
            node.set_signer(Some(node.mesh()));
            node.expect_guests(Duration::from_secs(600));
            Ok(Reply::Text(invite.text().to_string()))
        }
        Order::Join { invite } => {
            let applicant = Applicant {
                zone: "lab".into(),
                name: "joiner".into(),
                greeting: Bytes::new(),
            };
            let welcome = node.join(&Invite::parse(&invite)?, &applicant).await?;
            Ok(Reply::Text(welcome.own.claims().node.to_string()))
        }
        Order::Members { nodes } => {
            let nodes: Result<Vec<NodeId>, _> = nodes.iter().map(|text| text.parse()).collect();
            node.set_members(nodes?);
            Ok(Reply::Done)
        }
        Order::Call {
            to,
            is_block,
            bytes,
            wait_ms,
        } => {
            let class = if is_block { Class::Block } else { Class::Metadata };
            let wait = Duration::from_millis(wait_ms);
            node.call(to.parse()?, class, vec![7; bytes].into(), wait).await?;
            Ok(Reply::Done)
        }
        Order::Peer { node: peer } => {
            let link = node.peer(peer.parse()?).link;
            Ok(Reply::Reached(link.map(|link| {
                let (path, via) = match link.path {
                    Path::Lan => ("lan", None),
                    Path::Direct => ("direct", None),
                    Path::Relayed { via } => ("relayed", via),
                };
                Way {
                    path: path.to_owned(),
                    via: via.map(|node| node.to_string()),
                    transport: link.transport.to_string(),
                }
            })))
        }
    }
}
