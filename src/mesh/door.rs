//! Lets in whoever proved to hold an invite: admits it to the root rows, and gives it what it needs to begin.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use p2p::{Application, Certificate, Claims, Host, MeshKey, NodeId, NotWelcome, Welcome};
use serde::{Deserialize, Serialize};
use storage::model::{MemberId, MemberRow, Role, Timestamp};
use storage::{Gift, Seat, Store};
use tracing::{info, warn};

use super::{id, short, signer, zone};
use crate::config::Config;

/// What a new box says of itself beyond its name and place: JSON, `{"version": 1, "capacity": bytes}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    version: u32,
    /// Bytes it gives.
    pub(super) capacity: u64,
}

impl Greeting {
    const VERSION: u32 = 1;

    pub(super) fn new(capacity: u64) -> Self {
        let version = Self::VERSION;
        Self { version, capacity }
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let greeting: Self = serde_json::from_slice(bytes).context("read the greeting")?;
        if greeting.version != Self::VERSION {
            bail!("a greeting of version {}", greeting.version);
        }
        Ok(greeting)
    }
}

/// Opens to invites.
#[derive(Clone)]
pub(super) struct Door {
    state: PathBuf,
    mesh: String,
    own: NodeId,
    store: Store,
}

impl Door {
    pub(super) fn new(config: &Config, own: NodeId, store: &Store) -> Self {
        Self {
            state: config.state.value.clone(),
            mesh: config.name.value.clone(),
            own,
            store: store.clone(),
        }
    }

    async fn admit(&self, application: Application) -> anyhow::Result<Welcome> {
        let node = application.node;
        let row = MemberRow {
            name: free_name(&application.name, &self.store.members(), node),
            zone: zone(&application.zone),
            // The invite's counts.
            role: Role::Witness,
            capacity: Greeting::read(&application.greeting)?.capacity,
            draining: false,
            parting: false,
            node: Bytes::copy_from_slice(node.as_bytes()),
            joined: Timestamp::now(),
        };
        let welcome = self.store.redeem_invite(id(application.invite), row).await?;
        let member = welcome.member;
        let members = self.store.members();
        let admitted = row_of(&members, member).context("find the new member")?;
        if admitted.role != Role::Trusted {
            bail!("only trusted members can be given keys");
        }
        info!(%member, name = admitted.name, zone = %admitted.zone, "member admitted");
        let certificates = self.certificates(&members, member)?;
        let seat = Seat { welcome, members };
        let mut own = seat.clone();
        own.welcome.member = self.store.me();
        let (state, mesh) = (self.state.clone(), self.mesh.clone());
        let packed = tokio::task::spawn_blocking(move || {
            // One whose rows are set back to before this would not know.
            own.keep_members(&state)?;
            Gift::pack(&state, mesh, seat)
        });
        let gift = packed.await.context("pack the gift")??;
        let [own, yours] = certificates;
        let gift = Bytes::copy_from_slice(&gift.encode());
        Ok(Welcome { own, yours, gift })
    }

    /// The certificates of this node and of the new member.
    fn certificates(
        &self,
        members: &[(MemberId, MemberRow)],
        new: MemberId,
    ) -> anyhow::Result<[Certificate; 2]> {
        let key = signer(&self.store).context("the mesh is getting new keys")?;
        let issue = |member| certificate(&key, members, member);
        let (own, yours) = (issue(self.store.me())?, issue(new)?);
        if own.claims().node != self.own {
            bail!("the row of this box is another's");
        }
        Ok([own, yours])
    }
}

impl Host for Door {
    fn redeem(&self, application: Application) -> BoxFuture<'static, Result<Welcome, NotWelcome>> {
        let door = self.clone();
        Box::pin(async move {
            let node = application.node;
            door.admit(application).await.map_err(|error| {
                warn!(%node, error = format!("{error:#}"), "not let in");
                NotWelcome
            })
        })
    }
}

/// What the mesh says of a member, signed by one of its keys.
pub(super) fn certificate(
    key: &MeshKey,
    members: &[(MemberId, MemberRow)],
    member: MemberId,
) -> anyhow::Result<Certificate> {
    let row = row_of(members, member).context("find a member")?;
    Ok(Certificate::issue(key, claims(member, row)?)?)
}

fn row_of(members: &[(MemberId, MemberRow)], member: MemberId) -> Option<&MemberRow> {
    let found = members.iter().find(|(number, _)| *number == member);
    found.map(|(_, row)| row)
}

fn claims(member: MemberId, row: &MemberRow) -> anyhow::Result<Claims> {
    Ok(Claims {
        node: NodeId::from_bytes(row.node.as_ref().try_into()?)?,
        role: match row.role {
            Role::Trusted => p2p::Role::Trusted,
            Role::Vault => p2p::Role::Vault,
            Role::Witness => p2p::Role::Witness,
        },
        zone: short(row.zone.as_str(), p2p::NAME_BYTES_MAX),
        name: short(&row.name, p2p::NAME_BYTES_MAX),
        // Whoever joins anew does so under a higher number.
        serial: member.0.into(),
        issued_s: Timestamp::now().as_secs(),
    })
}

/// The name that a box asked for, or with a number behind it where another has it.
fn free_name(wanted: &str, members: &[(MemberId, MemberRow)], own: NodeId) -> String {
    let is_taken = |name: &str| {
        members
            .iter()
            .any(|(_, row)| row.name == name && row.node.as_ref() != own.as_bytes())
    };
    let wanted = short(wanted.trim(), p2p::NAME_BYTES_MAX - "-1000".len());
    let numbered = (2..=members.len() + 2).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.clone()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn no_two_boxes_have_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let own = p2p::Identity::load_or_create(&folder.path().join("identity"));
        let own = own.unwrap().node_id();
        let members = [(1, "anna"), (2, "ben"), (3, "ben-2")].map(|(number, name)| sample(number, name, b""));
        for (wanted, given) in [("cleo", "cleo"), (" anna ", "anna-2"), ("ben", "ben-3")] {
            assert_eq!(free_name(wanted, &members, own), given);
        }
    }

    #[test]
    fn a_greeting_reads_back_and_one_of_another_version_is_refused() {
        let bytes = serde_json::to_vec(&Greeting::new(5)).unwrap();
        assert_eq!(bytes, br#"{"version":1,"capacity":5}"#);
        assert_eq!(Greeting::read(&bytes).unwrap(), Greeting::new(5));
        for wrong in [&br#"{"version":2,"capacity":5}"#[..], b"", b"{}"] {
            assert!(Greeting::read(wrong).is_err());
        }
    }
}
