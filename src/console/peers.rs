//! Shows the other boxes of the mesh, invites more, and lets them go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use appliance::NodeError;
use appliance::api::{
    self, CallState, CalledBox, CreateInvite, CreatedInvite, EpochForced, Home, Invite, InviteState,
    NetReport, PathKind, PeerPath, PeerReached, Pong, Schema, Secret,
};
use futures_util::future::join_all;
use p2p::{CallBackError, Gateway, NodeId, Path, PeerStatus};
use storage::model::{InviteId, InviteRow, MemberId, MemberRow, Role, Timestamp};
use storage::{Parting, StoreError};

use super::{Console, refusal, time_shown};
use crate::mesh::{Called, Progress, Quiet, Told, box_name, name_of};

/// The longest that an invite may work: whoever finds it in an old mail is not to join with it.
const VALID_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest beginning of an invite's id that is shown.
const ID_SHOWN: usize = 12;

impl Console {
    /// All boxes, this one first.
    pub(super) async fn homes(&self) -> Vec<Home> {
        let members = self.store.members();
        let me = self.store.me();
        let others = members.iter().filter(|(member, _)| *member != me);
        let others = join_all(others.map(|(member, row)| self.home(*member, row))).await;
        let own = members.iter().find(|(member, _)| *member == me);
        let here = self.own_home(own.map(|(_, row)| row));
        std::iter::once(here).chain(others).collect()
    }

    /// Whether this box was a member, and is none any more: by the rows, or, where nobody tells it of rows any longer, by the
    /// word of a member.
    pub(super) fn has_left(&self) -> bool {
        let (me, members) = (self.store.me(), self.store.members());
        self.mesh.is_removed() || !members.is_empty() && !members.iter().any(|(member, _)| *member == me)
    }

    /// The box of that number or node id, or the only one of that name.
    pub(super) async fn find_peer(&self, text: &str) -> Result<(MemberId, MemberRow), NodeError> {
        match found(&self.store.members(), text) {
            // It may have joined, or been renamed, a moment ago.
            Err(NodeError::NoSuchPeer(_)) if self.store.hear_news().await => {
                found(&self.store.members(), text)
            }
            found => found,
        }
    }

    /// A box, with what it tells of itself now.
    pub(super) async fn home(&self, member: MemberId, row: &MemberRow) -> Home {
        if member == self.store.me() {
            return self.own_home(Some(row));
        }
        let Some(node) = self.mesh.node_of(member) else {
            return self.shown(member, row, None);
        };
        let status = self.mesh.peer(node);
        let told = match status.link {
            Some(_) => self.mesh.told_by(node).await,
            None => None,
        };
        Home {
            node: node.to_string(),
            online: status.link.is_some(),
            path: self.path(&status),
            seen_seconds: match (&status.link, status.seen) {
                (None, Some(seen)) => Some(seen.elapsed().as_secs()),
                _ => None,
            },
            ..self.shown(member, row, told)
        }
    }

    fn own_home(&self, row: Option<&MemberRow>) -> Home {
        let disk = self.store.disk_status();
        Home {
            zone: row.map_or_else(|| self.config.zone.value.clone(), |row| row.zone.to_string()),
            name: row.map_or_else(box_name, |row| row.name.clone()),
            member: self.store.me().0,
            node: self.node.to_string(),
            here: true,
            online: !self.stopping.is_cancelled(),
            draining: row.is_some_and(|row| row.draining),
            used_bytes: Some(disk.used),
            given_bytes: disk.given,
            behind: None,
            verified: self.store.scrub_status().finished.map(time_shown),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            path: None,
            seen_seconds: None,
        }
    }

    /// Another box, as its row has it.
    fn shown(&self, member: MemberId, row: &MemberRow, told: Option<Told>) -> Home {
        Home {
            zone: row.zone.to_string(),
            name: row.name.clone(),
            member: member.0,
            node: String::new(),
            here: false,
            online: false,
            draining: row.draining,
            used_bytes: told.as_ref().map(|told| told.used_bytes),
            given_bytes: told.as_ref().map_or(row.capacity, |told| told.given_bytes),
            behind: None,
            verified: told.as_ref().and_then(|told| told.verified.clone()),
            version: told.map(|told| told.version),
            path: None,
            seen_seconds: None,
        }
    }

    /// How a box is reached, if it is.
    fn path(&self, status: &PeerStatus) -> Option<PeerPath> {
        path(status, |node| self.name_of(node))
    }

    fn name_of(&self, node: &NodeId) -> String {
        let members = self.store.members();
        let found = members
            .iter()
            .find(|(_, row)| row.node.as_ref() == node.as_bytes());
        found.map_or_else(|| node.to_string(), |(_, row)| row.name.clone())
    }

    pub(super) async fn rename(&self, peer: &str, name: &str) -> Result<Home, NodeError> {
        let name = name.trim();
        if name.is_empty() || name.len() > p2p::NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let most = p2p::NAME_BYTES_MAX;
            return Err(NodeError::Invalid(format!(
                "a name has 1 to {most} printable bytes"
            )));
        }
        let (member, _) = self.find_peer(peer).await?;
        self.change(member, peer, |row| row.name = name.to_owned()).await
    }

    pub(super) async fn drain(&self, peer: &str, draining: bool) -> Result<Home, NodeError> {
        let (member, _) = self.find_peer(peer).await?;
        self.change(member, peer, |row| row.draining = draining).await
    }

    async fn change(
        &self,
        member: MemberId,
        peer: &str,
        change: impl Fn(&mut MemberRow) + Send + Sync,
    ) -> Result<Home, NodeError> {
        let changed = self.store.change_member(member, change).await;
        changed.map_err(|error| refusal(error, peer))?;
        let (member, row) = self.find_peer(&member.to_string()).await?;
        Ok(self.home(member, &row).await)
    }

    pub(super) async fn remove(&self, peer: &str, parting: Parting) -> Result<(), NodeError> {
        let (member, row) = self.find_peer(peer).await?;
        if member == self.store.me() {
            return Err(NodeError::ThisBox(row.name));
        }
        let removed = self.store.remove_member(member, parting).await;
        removed.map_err(|error| refusal(error, &row.name))
    }

    pub(super) async fn go_on_without(
        &self,
        without: &[String],
        dry_run: bool,
    ) -> Result<EpochForced, NodeError> {
        let mut lost = BTreeSet::new();
        for peer in without {
            let (member, row) = self.find_peer(peer).await?;
            if member == self.store.me() {
                return Err(NodeError::ThisBox(row.name));
            }
            lost.insert(member);
        }
        let forced = match dry_run {
            true => self.store.force_preview(&lost),
            false => self.store.force_epoch(&lost).await,
        };
        let name = |member| name_of(&self.store, member);
        let forced = forced.map_err(|error| match error {
            StoreError::StillHere { member } => {
                NodeError::NotLost(format!("{:?} is connected: it is not lost", name(member)))
            }
            StoreError::AlsoAway { member } => NodeError::NotLost(format!(
                "{:?} is away as well: wait for it, or say that it is lost, too",
                name(member)
            )),
            StoreError::NoVoteHere => NodeError::NotLost(
                "this box does not hold the directory of the mesh: do this at one that does (warren layout show)".into(),
            ),
            other => refusal(other, &without.join(", ")),
        })?;
        Ok(EpochForced {
            schema: Schema,
            partitions: forced.partitions,
            emptied: forced.emptied,
        })
    }

    pub(super) async fn ping(&self, peer: &str) -> Result<Pong, NodeError> {
        let (member, row) = self.find_peer(peer).await?;
        if member == self.store.me() {
            return Err(NodeError::ThisBox(row.name));
        }
        let no_answer = || NodeError::NoAnswer(row.name.clone());
        let node = self.mesh.node_of(member).ok_or_else(no_answer)?;
        let asked = Instant::now();
        self.mesh.told_by(node).await.ok_or_else(no_answer)?;
        Ok(Pong {
            schema: Schema,
            answer_seconds: asked.elapsed().as_secs_f64(),
            path: self.path(&self.mesh.peer(node)),
            name: row.name.clone(),
        })
    }

    pub(super) async fn leave_mesh(&self, parting: Parting) -> Result<(), NodeError> {
        if self.store.members().len() < 2 {
            return Err(NodeError::Invalid(
                "this box is alone in its mesh: there is nobody to leave".into(),
            ));
        }
        let (me, name) = (self.store.me(), self.own_home(None).name);
        let refusal = |error| refusal(error, &name);
        // Handing over goes on where it cannot go at once.
        let drained = self.store.change_member(me, |row| row.draining = true).await;
        drained.map_err(refusal)?;
        self.store.remove_member(me, parting).await.map_err(refusal)
    }

    pub(super) async fn invite(&self, request: &CreateInvite) -> Result<CreatedInvite, NodeError> {
        if request.role != api::Role::Trusted {
            let why = "only trusted boxes can join so far: vaults and witnesses are not there yet";
            return Err(NodeError::Invalid(why.into()));
        }
        let valid = Duration::from_secs(request.valid_seconds);
        if valid.is_zero() || valid > VALID_MAX {
            return Err(NodeError::Invalid("an invite works for at most 30 days".into()));
        }
        let now = Timestamp::now();
        let valid_ms = request.valid_seconds.saturating_mul(1000);
        let expires = Timestamp::from_millis(now.as_millis().saturating_add(valid_ms));
        let invite = self
            .mesh
            .invite(expires)
            .await
            .map_err(|error| match error.downcast() {
                Ok(error) => refusal(error, "invite"),
                Err(other) => NodeError::Failed(other.into()),
            })?;
        let id = InviteId::from_bytes(*invite.id().as_bytes());
        let row = InviteRow {
            role: Role::Trusted,
            created: now,
            expires,
            redeemed: None,
        };
        Ok(CreatedInvite {
            schema: Schema,
            invite: invite_shown(id, &row, now),
            token: Secret::new(invite.text().to_string()),
            qr: Secret::new(invite.qr_text().to_string()),
            addresses: invite.addresses().iter().map(ToString::to_string).collect(),
        })
    }

    pub(super) fn invites_shown(&self) -> Vec<Invite> {
        let now = Timestamp::now();
        let mut invites = self.store.invites();
        invites.sort_by_key(|(_, row)| row.created);
        let shown = invites.iter().map(|(id, row)| invite_shown(*id, row, now));
        shown.collect()
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<(), NodeError> {
        let (invite, row) = begins_with(&self.store.invites(), id)?;
        if row.redeemed.is_some() {
            return Err(NodeError::InviteUsed(id.into()));
        }
        let revoked = self.store.revoke_invite(invite).await;
        revoked.map_err(|error| refusal(error, id))
    }

    /// Has a box called, unless nothing would let it in.
    pub(super) fn call(&self, address: &str) -> Result<(), NodeError> {
        let address: p2p::Address = address
            .trim()
            .parse()
            .map_err(|error: p2p::InvalidAddress| NodeError::Invalid(format!("{address:?}: {error}")))?;
        let now = Timestamp::now();
        let is_open = |row: &InviteRow| row.redeemed.is_none() && now < row.expires;
        if !self.store.invites().iter().any(|(_, row)| is_open(row)) {
            let why = CallBackError::NoInvite.to_string();
            return Err(NodeError::Invalid(why));
        }
        self.mesh.call_back(address);
        Ok(())
    }

    pub(super) fn called_shown(&self) -> Vec<CalledBox> {
        let called = self.mesh.called().into_iter();
        called
            .map(|called| called_shown(called, |node| self.name_of(node)))
            .collect()
    }

    /// How each other box is reached.
    fn reached(&self) -> Vec<PeerReached> {
        let members = self.store.members();
        let others = members.iter().filter(|(member, _)| *member != self.store.me());
        let reached = others.map(|(member, row)| PeerReached {
            name: row.name.clone(),
            path: self
                .mesh
                .node_of(*member)
                .and_then(|node| self.path(&self.mesh.peer(node))),
        });
        reached.collect()
    }

    pub(super) fn net_report(&self) -> NetReport {
        let reach = self.mesh.reach();
        let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
        let control = control.ok().map(|text| text.trim().to_owned());
        let texts = |addresses: &BTreeSet<p2p::Address>| addresses.iter().map(ToString::to_string).collect();
        NetReport {
            schema: Schema,
            node: self.node.to_string(),
            listening: texts(&reach.listening),
            public: texts(&reach.public),
            relays: reach.relays.iter().map(|node| self.name_of(node)).collect(),
            router: reach.gateway.map(|gateway| router(gateway).into()),
            symmetric_nat: reach.is_symmetric(),
            limit_up: self.mesh.limits().sent,
            limit_down: self.mesh.limits().received,
            quiet: self.mesh.quiet().map(quiet_shown),
            peers: self.reached(),
            advice: advice(&reach, control.as_deref()),
            congestion_control: control,
        }
    }
}

fn quiet_shown(quiet: Quiet) -> api::Quiet {
    api::Quiet {
        until: time_shown(Timestamp::from_millis(quiet.until.saturating_mul(1000))),
        left_seconds: quiet.until.saturating_sub(Timestamp::now().as_secs()),
        bytes_per_second: quiet.bytes_per_s,
    }
}

fn found(members: &[(MemberId, MemberRow)], text: &str) -> Result<(MemberId, MemberRow), NodeError> {
    let node: Option<NodeId> = text.parse().ok();
    let is_exact = |(member, row): &&(MemberId, MemberRow)| {
        text.parse() == Ok(member.0) || node.is_some_and(|node| row.node.as_ref() == node.as_bytes())
    };
    // Of a node that joined anew, the last number counts.
    if let Some(exact) = members.iter().rfind(is_exact) {
        return Ok(exact.clone());
    }
    let mut named = members.iter().filter(|(_, row)| row.name == text);
    match (named.next(), named.next()) {
        (Some(peer), None) => Ok(peer.clone()),
        (Some(_), Some(_)) => Err(NodeError::AmbiguousPeer(text.into())),
        (None, _) => Err(NodeError::NoSuchPeer(text.into())),
    }
}

fn path(status: &PeerStatus, name_of: impl Fn(&NodeId) -> String) -> Option<PeerPath> {
    let link = status.link?;
    let (kind, via) = match link.path {
        Path::Lan => (PathKind::Lan, None),
        Path::Direct => (PathKind::Direct, None),
        Path::Relayed { via } => (PathKind::Relayed, via),
    };
    Some(PeerPath {
        kind,
        via: via.as_ref().map(name_of),
        transport: link.transport.to_string(),
        round_trip_seconds: link.round_trip.map(|time| time.as_secs_f64()),
        sent_bytes_per_second: status.sent_content_per_s,
        received_bytes_per_second: status.received_content_per_s,
    })
}

fn called_shown(called: Called, name_of: impl Fn(&NodeId) -> String) -> CalledBox {
    let (state, why, name) = match &called.progress {
        Progress::Calling => (CallState::Calling, None, None),
        Progress::InVain(error) => (CallState::InVain, Some(error.to_string()), None),
        Progress::Answered => (CallState::Answered, None, None),
        Progress::LetIn(node) => (CallState::LetIn, None, Some(name_of(node))),
        Progress::Over => (CallState::Over, None, None),
    };
    CalledBox {
        address: called.address.to_string(),
        state,
        why,
        name,
    }
}

/// The only invite whose id begins so.
fn begins_with(invites: &[(InviteId, InviteRow)], id: &str) -> Result<(InviteId, InviteRow), NodeError> {
    let mut matching = invites
        .iter()
        .filter(|(invite, _)| !id.is_empty() && invite.to_string().starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((invite, row)), None) => Ok((*invite, row.clone())),
        _ => Err(NodeError::NoSuchInvite(id.into())),
    }
}

fn invite_shown(id: InviteId, row: &InviteRow, now: Timestamp) -> Invite {
    let state = match &row.redeemed {
        Some(_) => InviteState::Used,
        None if row.expires <= now => InviteState::Expired,
        None => InviteState::Open,
    };
    Invite {
        id: id.to_string().chars().take(ID_SHOWN).collect(),
        role: match row.role {
            Role::Trusted => api::Role::Trusted,
            Role::Vault => api::Role::Vault,
            Role::Witness => api::Role::Witness,
        },
        created: time_shown(row.created),
        expires: time_shown(row.expires),
        state,
        member: row.redeemed.as_ref().map(|redeemed| redeemed.member.0),
    }
}

const fn router(gateway: Gateway) -> &'static str {
    match gateway {
        Gateway::Forwards => "forwards",
        Gateway::NotFound => "not-found",
        Gateway::NotOnInternet => "not-on-internet",
    }
}

/// What could be better, and how.
fn advice(reach: &p2p::Reach, congestion_control: Option<&str>) -> Vec<String> {
    let mut advice = Vec::new();
    if reach.public.is_empty() && reach.relays.is_empty() {
        advice.push(
            "boxes outside this network cannot call this one: forward its port on the router and say so with \
             --mesh-public, or invite a server on the internet, through which the homes find each other (warren \
             invite --for HOST:PORT)"
                .to_owned(),
        );
    }
    if reach.is_symmetric() {
        advice.push(
            "the router gives each conversation another port: between two such homes everything is relayed"
                .into(),
        );
    }
    if congestion_control.is_some_and(|control| control != "bbr") {
        advice.push(
            "TCP with BBR is many times faster over lossy lines: sysctl -w net.ipv4.tcp_congestion_control=bbr"
                .into(),
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::sample;

    #[test]
    fn a_box_is_found_by_number_and_by_a_name_that_is_its_own() {
        let members = [(1, "anna"), (2, "ben"), (3, "ben")].map(|(number, name)| sample(number, name, b""));
        let number = |text: &str| found(&members, text).map(|(member, _)| member.0);
        assert_eq!((number("anna").unwrap(), number("3").unwrap()), (1, 3));
        assert!(matches!(number("ben"), Err(NodeError::AmbiguousPeer(_))));
        assert!(matches!(number("cleo"), Err(NodeError::NoSuchPeer(_))));
        assert!(matches!(number("4"), Err(NodeError::NoSuchPeer(_))));
    }

    #[test]
    fn an_invite_is_named_by_the_beginning_of_its_id() {
        let invite = |first: u8| {
            let row = InviteRow {
                role: Role::Trusted,
                created: Timestamp::from_millis(0),
                expires: Timestamp::from_millis(9),
                redeemed: None,
            };
            let mut id = [7; 32];
            id[0] = first;
            (InviteId::from_bytes(id), row)
        };
        let invites = [invite(0x10), invite(0x11)];
        assert!(begins_with(&invites, "11").is_ok());
        for wrong in ["1", "2", ""] {
            assert!(begins_with(&invites, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_invite_says_whether_it_works() {
        let row = InviteRow {
            role: Role::Trusted,
            created: Timestamp::from_millis(0),
            expires: Timestamp::from_millis(1000),
            redeemed: None,
        };
        let state =
            |now| invite_shown(InviteId::from_bytes([1; 32]), &row, Timestamp::from_millis(now)).state;
        assert_eq!(
            (state(999), state(1000)),
            (InviteState::Open, InviteState::Expired)
        );
    }

    #[test]
    fn a_box_that_nobody_reaches_says_what_to_do() {
        let mut reach = p2p::Reach::default();
        assert_eq!(advice(&reach, Some("bbr")).len(), 1);
        reach.public.insert("203.0.113.7:4001".parse().unwrap());
        assert!(advice(&reach, Some("bbr")).is_empty() && advice(&reach, None).is_empty());
        assert!(advice(&reach, Some("cubic"))[0].contains("bbr"));
    }
}
