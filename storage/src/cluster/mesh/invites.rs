//! Who may join: invites as root rows, each of which lets one node in, once.
//!
//! An invite is used up by one compare-and-set on its row, which names the node and the number it gets. The member's row
//! comes after that, so that whoever asks again after a crash in between is seated then, and gets the same answer. Removing
//! a member removes the invite it came with first: nobody is seated twice by one invite.

use bytes::Bytes;

use super::feed::refresh;
use super::members::TRIES_MAX;
use super::view::Versioned;
use crate::model::{InviteId, InviteRow, MemberId, MemberRow, MeshKey, Redeemed, Role, Timestamp};
use crate::{Store, StoreError, Welcome};

/// How long an invite that works no more is still listed.
const KEPT_MILLIS: u64 = 7 * 24 * 3600 * 1000;

/// What an invite is to whoever holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// It lets it in.
    Fresh,
    /// It let it in before.
    Again(MemberId),
}

impl Store {
    /// Makes an invite known to all members.
    ///
    /// # Errors
    /// `Conflict`: it is known already. `Unavailable`: too few members answer. The disk fails.
    pub async fn create_invite(
        &self,
        invite: InviteId,
        role: Role,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        self.0.introduce_itself().await?;
        refresh(&self.0).await?;
        let created = Timestamp::now();
        self.forget_old(created).await?;
        let row = InviteRow {
            role,
            created,
            expires,
            redeemed: None,
        };
        if !self.replace_invite(invite, Some(&row), 0).await? {
            return Err(StoreError::Conflict);
        }
        self.spread().await
    }

    /// All invites that work, and those that did of late.
    pub fn invites(&self) -> Vec<(InviteId, InviteRow)> {
        let view = self.0.mesh.view();
        let invites = view.invites.iter();
        invites
            .map(|(invite, row)| (*invite, row.value.clone()))
            .collect()
    }

    /// Takes an invite back: nobody joins with it any more. Who joined with it stays.
    ///
    /// # Errors
    /// `NoSuchInvite`; as [`Self::create_invite`].
    pub async fn revoke_invite(&self, invite: InviteId) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            refresh(&self.0).await?;
            let view = self.0.mesh.view();
            let known = view.invites.get(&invite).ok_or(StoreError::NoSuchInvite)?;
            if self.replace_invite(invite, None, known.version).await? {
                return self.spread().await;
            }
        }
        Err(StoreError::Conflict)
    }

    /// Admits the node that proved to hold an invite, in the invite's role. Exactly one node ever is by one invite; the
    /// same one asking again gets the same answer.
    ///
    /// # Errors
    /// `NoSuchInvite`, `InviteUsed`, `InviteExpired`; as [`Self::create_invite`].
    pub async fn redeem_invite(&self, invite: InviteId, node: MemberRow) -> Result<Welcome, StoreError> {
        let inner = &self.0;
        for _ in 0..TRIES_MAX {
            refresh(inner).await?;
            let known = inner.mesh.view().invites.get(&invite).cloned();
            let Versioned { version, value } = known.ok_or(StoreError::NoSuchInvite)?;
            let member = match judge(&value, &node.node, Timestamp::now())? {
                Judged::Again(member) => member,
                Judged::Fresh => match inner.next_number().await? {
                    Some(member) => member,
                    None => continue,
                },
            };
            let used = InviteRow {
                redeemed: Some(Redeemed {
                    node: node.node.clone(),
                    member,
                    at: Timestamp::now(),
                }),
                ..value.clone()
            };
            if value.redeemed.is_none() && !self.replace_invite(invite, Some(&used), version).await? {
                continue;
            }
            let row = MemberRow {
                role: value.role,
                ..node
            };
            return self.seat_invited(invite, member, &row).await;
        }
        Err(StoreError::Conflict)
    }

    /// Seats whoever used an invite, unless the invite went meanwhile: who removes a member removes that first.
    async fn seat_invited(
        &self,
        invite: InviteId,
        member: MemberId,
        row: &MemberRow,
    ) -> Result<Welcome, StoreError> {
        let is_new = self.0.seat(member, row).await?;
        if self.0.mesh.view().invites.contains_key(&invite) {
            return Ok(self.0.welcome(member));
        }
        if is_new {
            self.unseat(member).await?;
        }
        Err(StoreError::NoSuchInvite)
    }

    /// Forgets the invites that a member came with.
    pub(super) async fn forget_redeemed(&self, member: MemberId) -> Result<(), StoreError> {
        let came_with = |row: &InviteRow| {
            row.redeemed
                .as_ref()
                .is_some_and(|redeemed| redeemed.member == member)
        };
        self.forget(came_with).await
    }

    /// Forgets invites that have not worked for a while.
    async fn forget_old(&self, now: Timestamp) -> Result<(), StoreError> {
        let is_old = |row: &InviteRow| row.expires.as_millis().saturating_add(KEPT_MILLIS) < now.as_millis();
        self.forget(is_old).await
    }

    async fn forget(&self, which: impl Fn(&InviteRow) -> bool) -> Result<(), StoreError> {
        let view = self.0.mesh.view();
        for (invite, row) in view.invites.iter().filter(|(_, row)| which(&row.value)) {
            // Whoever changed it meanwhile has seen the rest of what is said here as well.
            self.replace_invite(*invite, None, row.version).await?;
        }
        Ok(())
    }

    async fn replace_invite(
        &self,
        invite: InviteId,
        row: Option<&InviteRow>,
        from: u64,
    ) -> Result<bool, StoreError> {
        let key = MeshKey::Invite(invite);
        self.0.mesh.replace(&self.0.partitions, key, row, from).await
    }

    async fn spread(&self) -> Result<(), StoreError> {
        refresh(&self.0).await?;
        self.0.tell_of_change();
        Ok(())
    }
}

fn judge(invite: &InviteRow, node: &Bytes, now: Timestamp) -> Result<Judged, StoreError> {
    match &invite.redeemed {
        // Its first answer may have been lost, however long ago.
        Some(redeemed) if redeemed.node == *node => Ok(Judged::Again(redeemed.member)),
        Some(_) => Err(StoreError::InviteUsed),
        None if invite.expires <= now => Err(StoreError::InviteExpired),
        None => Ok(Judged::Fresh),
    }
}
