//! What root rows say about the mesh, by this member's copy of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tracing::error;

use crate::cluster::{HeardRow, Partitions};
use crate::model::command::{Command, Outcome, Refusal, RootCommand, Submission, decode_row, encode_row};
use crate::model::{
    AuthorityRow, BucketId, BucketName, GenerationRow, InviteId, InviteRow, LayoutHistory, LayoutPolicy,
    MemberId, MemberRow, MeshKey, MeshRow, OpId, Timestamp,
};
use crate::placement::Assignment;
use crate::register::Configs;
use crate::{Store, StoreError};

/// What a row says, and in which version of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versioned<T> {
    /// 0 where there is no row.
    pub(crate) version: u64,
    pub(crate) value: T,
}

/// The mesh at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) members: BTreeMap<MemberId, Versioned<MemberRow>>,
    /// Who was a member, and whose row is still there.
    pub(crate) parting: BTreeMap<MemberId, Versioned<MemberRow>>,
    /// All keys but the first, by number.
    pub(crate) generations: BTreeMap<u32, Versioned<GenerationRow>>,
    /// What signs certificates; none before the first is made.
    pub(crate) authority: Option<Versioned<AuthorityRow>>,
    /// The highest number ever given to one.
    pub(crate) admitted: Versioned<u32>,
    pub(crate) invites: BTreeMap<InviteId, Versioned<InviteRow>>,
    /// Partitions whose voters ever changed.
    pub(crate) voters: BTreeMap<u16, Versioned<Configs>>,
    pub(crate) assignment: Option<Versioned<Assignment>>,
    /// What a person decided.
    pub(crate) policy: Versioned<LayoutPolicy>,
    /// The last changes of the assignment.
    pub(crate) history: Versioned<LayoutHistory>,
    /// How many sweeps there were, and when the last was counted, by the clock of whoever did.
    pub(crate) sweeps: Versioned<Option<Timestamp>>,
    /// Other names of buckets, for everybody.
    pub(crate) aliases: Versioned<BTreeMap<BucketName, BucketId>>,
}

/// The mesh as it is known here.
#[derive(Default)]
pub(crate) struct Mesh {
    view: RwLock<Arc<View>>,
    /// Members that rows do not name yet.
    introduced: RwLock<BTreeSet<MemberId>>,
    /// Counts changes of the view.
    changes: watch::Sender<u64>,
}

impl Mesh {
    /// As it was heard of last.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many sweeps are known of: what is written from now on says so.
    pub(crate) fn sweeps(&self) -> u32 {
        u32::try_from(self.view().sweeps.version).unwrap_or(u32::MAX)
    }

    /// Takes all root rows there are. One that does not read is named in the log, and counts as what it said before.
    pub(crate) fn take(&self, rows: &[HeardRow]) {
        let before = self.view();
        let mut view = View::default();
        for row in rows {
            let Some(key) = MeshKey::of_row(&row.key) else {
                continue;
            };
            if let Err(error) = view.take(key, &row.body) {
                error!(?key, %error, "a row about the mesh does not read");
                view.keep(key, &before);
            }
        }
        if view != *before {
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Who said with proof to be a member while rows could not be read.
    pub(crate) fn introduced(&self) -> BTreeSet<MemberId> {
        self.introduced
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Names members that rows do not name.
    pub(crate) fn set_introduced(&self, members: BTreeSet<MemberId>) {
        *self.introduced.write().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Notes that other keys are here, or that rows can be read again or no longer.
    pub(crate) fn note(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Changes whenever something else is known about the mesh, and with [`Self::note`].
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes a row from the version it was seen in; says whether it was still that. Removes it where there is no body.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer, or it is not known whether it is changed. The disk fails.
    pub(crate) async fn replace<T: Serialize + Sync>(
        &self,
        partitions: &Partitions,
        key: MeshKey,
        body: Option<&T>,
        from: u64,
    ) -> Result<bool, StoreError> {
        let command = RootCommand::ReplaceMesh {
            key,
            body: body.map(encode_row),
            from,
        };
        let submission = Submission {
            op: OpId::new(),
            sweeps: 0,
            command: Command::Root(command),
        };
        match partitions.submit(submission).await? {
            Outcome::Mesh(_) => Ok(true),
            Outcome::Refused(Refusal::MeshChanged(_)) => Ok(false),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(StoreError::Damaged("an answer to another question".into())),
        }
    }
}

impl Store {
    /// Names members that rows do not name yet, who proved to be some: they are asked for rows like the others.
    pub fn set_introduced(&self, members: BTreeSet<MemberId>) {
        let is_news = !members.is_empty();
        self.0.mesh.set_introduced(members);
        if is_news {
            self.0.partitions.registers().wake_self();
        }
    }
}

impl View {
    fn take(&mut self, key: MeshKey, body: &Bytes) -> Result<(), StoreError> {
        let row: MeshRow = decode_row(body)?;
        let version = row.version;
        match key {
            MeshKey::Member(member) => {
                let value: MemberRow = decode_row(&row.body)?;
                let members = if value.parting {
                    &mut self.parting
                } else {
                    &mut self.members
                };
                members.insert(member, Versioned { version, value });
            }
            MeshKey::Generation(number) => {
                let value = decode_row(&row.body)?;
                self.generations.insert(number, Versioned { version, value });
            }
            MeshKey::Voters(partition) => {
                let value = decode_row(&row.body)?;
                self.voters.insert(partition, Versioned { version, value });
            }
            MeshKey::Assignment => {
                let bytes: Bytes = decode_row(&row.body)?;
                let damaged = |error| StoreError::Damaged(format!("assignment: {error}"));
                let value = Assignment::decode(&bytes).map_err(damaged)?;
                self.assignment = Some(Versioned { version, value });
            }
            MeshKey::Authority => {
                let value = decode_row(&row.body)?;
                self.authority = Some(Versioned { version, value });
            }
            MeshKey::Admitted => {
                let value = decode_row(&row.body)?;
                self.admitted = Versioned { version, value };
            }
            MeshKey::Invite(invite) => {
                let value = decode_row(&row.body)?;
                self.invites.insert(invite, Versioned { version, value });
            }
            MeshKey::Sweeps => {
                let value = decode_row(&row.body)?;
                self.sweeps = Versioned { version, value };
            }
            MeshKey::Aliases => {
                let value = decode_row(&row.body)?;
                self.aliases = Versioned { version, value };
            }
            MeshKey::Policy => {
                let value = decode_row(&row.body)?;
                self.policy = Versioned { version, value };
            }
            MeshKey::History => {
                let value = decode_row(&row.body)?;
                self.history = Versioned { version, value };
            }
            MeshKey::Closings => {}
        }
        Ok(())
    }

    fn keep(&mut self, key: MeshKey, before: &Self) {
        match key {
            MeshKey::Member(member) => {
                let kept = before.members.get(&member);
                self.members.extend(kept.map(|kept| (member, kept.clone())));
                let kept = before.parting.get(&member);
                self.parting.extend(kept.map(|kept| (member, kept.clone())));
            }
            MeshKey::Generation(number) => {
                let kept = before.generations.get(&number);
                self.generations.extend(kept.map(|kept| (number, kept.clone())));
            }
            MeshKey::Voters(partition) => {
                let kept = before.voters.get(&partition);
                self.voters.extend(kept.map(|kept| (partition, kept.clone())));
            }
            MeshKey::Assignment => self.assignment.clone_from(&before.assignment),
            MeshKey::Authority => self.authority.clone_from(&before.authority),
            MeshKey::Admitted => self.admitted = before.admitted.clone(),
            MeshKey::Invite(invite) => {
                let kept = before.invites.get(&invite);
                self.invites.extend(kept.map(|kept| (invite, kept.clone())));
            }
            MeshKey::Sweeps => self.sweeps = before.sweeps.clone(),
            MeshKey::Aliases => self.aliases = before.aliases.clone(),
            MeshKey::Policy => self.policy = before.policy.clone(),
            MeshKey::History => self.history = before.history.clone(),
            MeshKey::Closings => {}
        }
    }

    /// Everybody who takes part.
    pub(crate) fn everybody(&self) -> BTreeSet<MemberId> {
        self.members.keys().copied().collect()
    }
}
