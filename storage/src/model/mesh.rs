//! Root rows about the mesh itself: who takes part, who votes where, and what is wanted.

use std::fmt;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{MemberId, Role, Timestamp, Zone, row_key};

/// Names an invite: the public half of its key, by which whoever holds the invite proves it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InviteId(#[serde(with = "serde_bytes")] [u8; 32]);

impl InviteId {
    /// Takes the bytes of a public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteId({self})")
    }
}

/// Names a row about the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MeshKey {
    /// The highest number ever given to a member.
    Admitted,
    /// Other names of buckets, for everybody: a bucket's id by each name.
    Aliases,
    /// Which members are wanted to hold what: an encoded [`Assignment`](crate::placement::Assignment).
    Assignment,
    /// What signs the certificates that boxes show in their networks: an [`AuthorityRow`].
    Authority,
    /// How many buckets were ever closed: a number that only rises.
    Closings,
    /// Keys that the mesh began to use: a [`GenerationRow`]. The first generation has no row.
    Generation(u32),
    /// When the assignment changed last, and why: a [`LayoutHistory`](super::LayoutHistory).
    History,
    /// An invite that was made and not revoked: an [`InviteRow`].
    Invite(InviteId),
    /// A member: a [`MemberRow`].
    Member(MemberId),
    /// What a person decided for the whole mesh: a [`LayoutPolicy`](super::LayoutPolicy).
    Policy,
    /// How many sweeps of unreferenced blocks were begun, and when the last was.
    Sweeps,
    /// Who votes in a partition, now and in every epoch before: [`Configs`](crate::register::Configs).
    Voters(u16),
}

impl MeshKey {
    /// The key of its row.
    pub(crate) fn row(self) -> Vec<u8> {
        match self {
            Self::Admitted => row_key::root(b'n', &[]),
            Self::Aliases => row_key::root(b'l', &[]),
            Self::Assignment => row_key::root(b'a', &[]),
            Self::Authority => row_key::root(b't', &[]),
            Self::Closings => row_key::root(b'c', &[]),
            Self::Generation(number) => row_key::root(b'g', &number.to_be_bytes()),
            Self::History => row_key::root(b'h', &[]),
            Self::Invite(invite) => row_key::root(b'i', invite.as_bytes()),
            Self::Member(member) => row_key::root(b'm', &member.0.to_be_bytes()),
            Self::Policy => row_key::root(b'p', &[]),
            Self::Sweeps => row_key::root(b's', &[]),
            Self::Voters(partition) => row_key::root(b'v', &partition.to_be_bytes()),
        }
    }

    /// Reads [`Self::row`]; `None` for other rows.
    pub(crate) fn of_row(row: &[u8]) -> Option<Self> {
        match row_key::parse_root(row)? {
            (b'n', []) => Some(Self::Admitted),
            (b'l', []) => Some(Self::Aliases),
            (b'a', []) => Some(Self::Assignment),
            (b't', []) => Some(Self::Authority),
            (b'c', []) => Some(Self::Closings),
            (b'g', name) => Some(Self::Generation(u32::from_be_bytes(name.try_into().ok()?))),
            (b'h', []) => Some(Self::History),
            (b'i', name) => Some(Self::Invite(InviteId(name.try_into().ok()?))),
            (b'm', name) => Some(Self::Member(MemberId(u32::from_be_bytes(name.try_into().ok()?)))),
            (b'p', []) => Some(Self::Policy),
            (b's', []) => Some(Self::Sweeps),
            (b'v', name) => Some(Self::Voters(u16::from_be_bytes(name.try_into().ok()?))),
            _ => None,
        }
    }
}

/// A row about the mesh, as it is changed: whoever changes it says which version it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshRow {
    /// Counts changes, from 1 on.
    pub version: u64,
    /// What it says, by its key.
    pub body: Bytes,
}

/// What the mesh knows of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// What people call the node.
    pub name: String,
    /// Where it stands.
    pub zone: Zone,
    /// What it may hold.
    pub role: Role,
    /// Bytes it gives to the mesh; with 0 it holds nothing.
    pub capacity: u64,
    /// Whether a person asked that it hands over everything it holds.
    pub draining: bool,
    /// Whether it goes for good: nobody listens to it any more, and its row goes once the mesh has keys that it lacks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parting: bool,
    /// The public key of its node, by which it is known on a wire; empty while there is none.
    pub node: Bytes,
    /// When it was admitted.
    pub joined: Timestamp,
}

/// Keys that the mesh began to use at one time, sealed to whoever is to have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// Members who were going, or gone, when it began: none of them is ever given it.
    pub without: BTreeSet<MemberId>,
    /// The keys, sealed to the node of each member that is to have them.
    pub letters: BTreeMap<MemberId, Bytes>,
    /// The keys, sealed to what the recovery phrase stands for.
    pub recovery: Bytes,
}

/// What signs the certificates that boxes of the mesh show in their networks, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRow {
    /// The keys of the mesh that it is sealed with, by number: whoever lacks them never knew it.
    pub generation: u32,
    /// Since when it signs, by the clock of the box that made it.
    pub since: Timestamp,
    /// The secret itself.
    pub sealed: Bytes,
}

/// What the mesh knows of an invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRow {
    /// What it makes of whoever joins.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it works no more.
    pub expires: Timestamp,
    /// Who used it; nobody else can from then on.
    pub redeemed: Option<Redeemed>,
}

/// Who used an invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    /// The public key of its node.
    pub node: Bytes,
    /// The number it was admitted under.
    pub member: MemberId,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_rows_about_the_mesh_read_back() {
        for key in [
            MeshKey::Admitted,
            MeshKey::Aliases,
            MeshKey::Assignment,
            MeshKey::Authority,
            MeshKey::Closings,
            MeshKey::Generation(2),
            MeshKey::History,
            MeshKey::Invite(InviteId([7; 32])),
            MeshKey::Member(MemberId(0x0102_0304)),
            MeshKey::Policy,
            MeshKey::Sweeps,
            MeshKey::Voters(256),
        ] {
            let row = key.row();
            assert_eq!(MeshKey::of_row(&row), Some(key));
            let kind = row_key::parse_root(&row).map(|(kind, _)| kind);
            // The directory reads all rows of these kinds.
            assert!(
                !matches!(kind, Some(row_key::BUCKET | row_key::ACCESS_KEY)),
                "{key:?}"
            );
        }
        for row in [
            &b"\x01"[..],
            b"\x01bphotos",
            b"\x01m123",
            b"\x01ax",
            b"\x01i1234",
            b"\x02m1234",
        ] {
            assert_eq!(MeshKey::of_row(row), None, "{row:?}");
        }
    }
}
