//! Answers the calls of other members: those of their stores, and how this box is.

use std::sync::Arc;

use appliance::api::Schema;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use p2p::{Class, NodeId, Refusal, Service};
use serde::{Deserialize, Serialize};
use storage::Store;

use super::wire::Wire;
use super::{place, short};
use crate::console::time_shown;

/// Asks how a box is. Calls of stores begin with the number of their format, which is no letter.
pub(super) const ASK_FACTS: &[u8] = b"warren facts 1";
/// The longest reason that a refusal may carry, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// How a box is, in its own words: the answer to [`ASK_FACTS`], as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    schema: Schema,
    /// Its version of Warren.
    pub(crate) version: String,
    /// Bytes in use.
    pub(crate) used_bytes: u64,
    /// Bytes it may use.
    pub(crate) given_bytes: u64,
    /// When all its blocks had been proven last.
    pub(crate) verified: Option<String>,
    /// Where it is believed to be reachable from everywhere.
    pub(super) public: Vec<String>,
}

/// Answers members.
pub(super) struct Desk {
    wire: Arc<Wire>,
    store: Store,
}

impl Desk {
    pub(super) fn new(wire: &Arc<Wire>, store: &Store) -> Self {
        Self {
            wire: Arc::clone(wire),
            store: store.clone(),
        }
    }
}

impl Service for Desk {
    fn answer(&self, from: NodeId, _: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let (member, store) = (self.wire.roster().member(&from), self.store.clone());
        let wire = Arc::clone(&self.wire);
        Box::pin(async move {
            let refused = |why: String| Refusal(short(&why, REASON_BYTES_MAX));
            let member = member.ok_or_else(|| refused("not a member by the rows here".into()))?;
            if request == ASK_FACTS {
                let told = serde_json::to_vec(&told(&store, &wire));
                return told.map(Bytes::from).map_err(|error| refused(error.to_string()));
            }
            if request == place::ASK_PLACE {
                let given = place::give(&store, member).await;
                return given.map_err(|error| refused(error.to_string()));
            }
            let answer = store.answer(member, &request).await;
            answer.map_err(|error| refused(error.to_string()))
        })
    }
}

fn told(store: &Store, wire: &Wire) -> Told {
    let disk = store.disk_status();
    let public = wire.node().map(|node| node.reach().public).unwrap_or_default();
    Told {
        schema: Schema,
        version: env!("CARGO_PKG_VERSION").into(),
        used_bytes: disk.used,
        given_bytes: disk.given,
        verified: store.scrub_status().finished.map(time_shown),
        public: public.iter().map(ToString::to_string).collect(),
    }
}
