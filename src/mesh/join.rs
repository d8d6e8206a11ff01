//! The way into a mesh: knocks with an invite, and makes a box of what it is given.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use p2p::{
    Address, Applicant, Application, Class, Host, Identity, Invite, JoinError, LinkStatus, NodeId,
    NotWelcome, Refusal, Service, Welcome,
};
use rustix::fs::statvfs;
use storage::Gift;

use super::door::Greeting;
use super::wire::Roster;
use crate::config::Config;

/// How long the way to the others is looked for, once it is a member.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// A box that was let in, and has not kept anything of it yet.
pub(crate) struct Arrival {
    node: p2p::Node,
    gift: Gift,
    host: NodeId,
    /// Who let it in.
    pub(crate) host_name: String,
    /// What it is called.
    pub(crate) name: String,
}

/// What a box does where it reaches nobody, and the internet may reach it: it waits to be called by the box that invited it.
pub(crate) struct Patience<'a> {
    /// For how long; zero for not at all.
    pub(crate) wait: Duration,
    /// Told when it begins to wait, with the addresses at which it may be called.
    pub(crate) tell: &'a (dyn Fn(&[Address]) + Send + Sync),
}

/// Knocks at the doors that an invite names, as the box with this configuration; else waits to be called, where it may be.
///
/// # Errors
/// [`JoinError`]; it cannot listen.
pub(crate) async fn knock(
    config: &Config,
    identity: &Identity,
    invite: &Invite,
    name: String,
    patience: Patience<'_>,
) -> anyhow::Result<Arrival> {
    let options = super::options(config, invite.mesh(), Vec::new())?;
    let nobody = Arc::new(Nobody);
    let node = p2p::Node::start(identity, options, nobody.clone(), nobody)
        .await
        .context("listen for other members (mesh.address)")?;
    let applicant = Applicant {
        zone: config.zone.value.clone(),
        name,
        greeting: serde_json::to_vec(&Greeting::new(capacity(config)))?.into(),
    };
    let mut joined = node.join(invite, &applicant).await;
    let callable = node.reach().callable();
    if matches!(joined, Err(JoinError::NobodyAnswered { .. }))
        && !patience.wait.is_zero()
        && !callable.is_empty()
    {
        (patience.tell)(&callable);
        joined = node.await_callback(invite, &applicant, patience.wait).await;
    }
    match joined.map_err(anyhow::Error::from).and_then(understand) {
        Ok((welcome, gift)) => Ok(Arrival {
            node,
            gift,
            host: welcome.own.claims().node,
            host_name: welcome.own.claims().name.clone(),
            name: welcome.yours.claims().name.clone(),
        }),
        Err(error) => {
            node.shutdown().await;
            Err(error)
        }
    }
}

fn understand(welcome: Welcome) -> anyhow::Result<(Welcome, Gift)> {
    let gift =
        Gift::decode(&welcome.gift).context("understand what the mesh gave; is it newer than this box?")?;
    Ok((welcome, gift))
}

impl Arrival {
    /// Who this box is.
    pub(crate) fn node_id(&self) -> NodeId {
        self.node.id()
    }

    /// What people call the mesh.
    pub(crate) fn mesh(&self) -> &str {
        &self.gift.mesh
    }

    /// Keeps what it was given: it is a member from then on. Says how whoever let it in is reached now.
    ///
    /// # Errors
    /// There are keys already, or the disk fails.
    pub(crate) async fn settle(self, state: &Path) -> anyhow::Result<Option<LinkStatus>> {
        let (state, gift) = (state.to_owned(), self.gift);
        let roster = Roster::of(&gift.seat.members);
        let kept = tokio::task::spawn_blocking(move || gift.keep(&state)).await;
        let kept = kept.context("keep what the mesh gave")?;
        if kept.is_ok() {
            self.node.set_members(roster.nodes());
        }
        let link = match &kept {
            Ok(()) => reached(&self.node, self.host).await,
            Err(_) => None,
        };
        // Remembers the addresses that worked, so that the server finds the others at once.
        self.node.shutdown().await;
        kept.context("keep what the mesh gave")?;
        Ok(link)
    }

    /// Goes away without keeping anything.
    pub(crate) async fn give_up(self) {
        self.node.shutdown().await;
    }
}

async fn reached(node: &p2p::Node, host: NodeId) -> Option<LinkStatus> {
    let mut changes = node.changes();
    let link = || node.peer(host).link.filter(|link| link.round_trip.is_some());
    let measured = changes.wait_for(|_| link().is_some());
    // A way that was not measured in time is a way all the same.
    let _ = tokio::time::timeout(CONNECT_WAIT, measured).await;
    node.peer(host).link
}

/// Bytes that its directories give: as it was told, or what there is.
pub(crate) fn capacity(config: &Config) -> u64 {
    let given = config
        .data
        .value
        .iter()
        .map(|directory| match directory.capacity {
            Some(capacity) => capacity.0,
            None => {
                let there = directory.path.ancestors().find(|path| path.exists());
                let system = there.and_then(|path| statvfs(path).ok());
                system.map_or(0, |system| system.f_blocks * system.f_frsize)
            }
        });
    given.sum()
}

/// Answers nobody: this box is no member yet.
struct Nobody;

impl Service for Nobody {
    fn answer(&self, _: NodeId, _: Class, _: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(ready(Err(Refusal("this box is joining".into()))))
    }
}

impl Host for Nobody {
    fn redeem(&self, _: Application) -> BoxFuture<'static, Result<Welcome, NotWelcome>> {
        Box::pin(ready(Err(NotWelcome)))
    }
}
