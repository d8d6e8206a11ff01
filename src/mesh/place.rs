//! Takes the place of this box among the others anew, where its disk has forgotten what it promised, and gives others theirs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use p2p::{Class, Node};
use storage::model::MemberId;
use storage::{Peers, Seat, Store, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::wire::Wire;

/// Asks for a new place. Calls of stores begin with the number of their format, which is no letter.
pub(super) const ASK_PLACE: &[u8] = b"warren place 1";
/// How long a member may take to give one.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);
/// How long between two attempts.
const EVERY: Duration = Duration::from_secs(10);

/// Gives a member a new place; the answer to [`ASK_PLACE`].
///
/// # Errors
/// As [`Store::readmit`].
pub(super) async fn give(store: &Store, to: MemberId) -> Result<Bytes, StoreError> {
    let welcome = store.readmit(to).await?;
    info!(member = %to, anew = %welcome.member, "a member whose disk forgot takes its place anew");
    let members = store.members();
    Ok(Seat { welcome, members }.encode().into())
}

/// Once this box has forgotten something, finds it a new place: it is taken up when the box starts again, which `is_given`
/// asks for.
pub(super) async fn find(
    (store, wire, node): (Store, Arc<Wire>, Node),
    state: PathBuf,
    is_given: CancellationToken,
    stop: CancellationToken,
) {
    let Some(why) = stop.run_until_cancelled(store.until_forgotten()).await else {
        return;
    };
    error!(%why, "this box asks the others for a new place");
    loop {
        match stop.run_until_cancelled(ask(&store, &wire, &node)).await {
            Some(Ok(seat)) => {
                let folder = state.clone();
                let kept = tokio::task::spawn_blocking(move || seat.keep_next(&folder)).await;
                match kept {
                    Ok(Ok(())) => return is_given.cancel(),
                    Ok(Err(error)) => error!(%error, "the new place of this box cannot be kept"),
                    Err(_) => return,
                }
            }
            Some(Err(error)) => error!(
                error = format!("{error:#}"),
                "this box has no new place yet: it serves nothing until the others can be asked, or it joins anew"
            ),
            None => return,
        }
        if stop.run_until_cancelled(sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Asks the others, the nearest first, until one gives a place.
async fn ask(store: &Store, wire: &Wire, node: &Node) -> anyhow::Result<Seat> {
    let roster = wire.roster();
    let others = roster.others(store.me());
    let mut refused = None;
    for member in wire.nearest(&others) {
        let Some(peer) = roster.node(member) else { continue };
        let question = Bytes::from_static(ASK_PLACE);
        match node.call(peer, Class::Metadata, question, GIVEN_WITHIN).await {
            Ok(seat) => return Seat::decode(&seat).context("read the new place"),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => Err(error.into()),
        None => bail!("no other member is connected"),
    }
}
