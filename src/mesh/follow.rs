//! Has the connections follow the root rows: who is a member, who was one, and whether guests are expected.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use p2p::Certificate;
use storage::model::{InviteId, InviteRow, MemberId, MemberRow, Timestamp};
use storage::{Peers, Store};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::door::certificate;
use super::removed::{Former, keep};
use super::wire::{Roster, Wire};
use super::{signer, signing_keys};

/// Whoever used an invite may have lost the answer, and ask once more for so long, in milliseconds.
const REPEATS_FOR_MS: u64 = 10 * 60 * 1000;

/// Follows until stopped, or until the node has ended.
pub(super) async fn follow(
    wire: Arc<Wire>,
    store: Store,
    node: p2p::Node,
    mut former: Former,
    stop: CancellationToken,
) {
    let (mut rows, mut links) = (store.mesh_changes(), node.changes());
    rows.mark_changed();
    node.set_removed(former.all());
    let mut known = Roster::clone(&wire.roster());
    let mut here = BTreeSet::new();
    loop {
        if rows.has_changed().unwrap_or(false) {
            rows.borrow_and_update();
            if obey(&store, &node, &mut known, &mut former) {
                remember(&former).await;
            }
        }
        links.borrow_and_update();
        believe(&wire, &store, &node, &known);
        if is_removed(&node, store.me()) {
            part(&node);
            return;
        }
        let others = wire.roster().others(store.me());
        let connected: BTreeSet<MemberId> = wire.nearest(&others).into_iter().collect();
        let newcomers: Vec<_> = connected.difference(&here).copied().collect();
        here.clone_from(&connected);
        if !newcomers.is_empty() {
            info!(?newcomers, "members connected");
            // Whatever changed while nobody was there. Whoever was removed is answered by nobody, and told so meanwhile.
            let mut told = node.changes();
            tokio::select! {
                () = stop.cancelled() => return,
                _ = store.hear_news() => {}
                _ = told.wait_for(|_| is_removed(&node, store.me())) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = rows.changed() => match changed {
                // Seen above.
                Ok(()) => rows.mark_changed(),
                Err(_) => return,
            },
            changed = links.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether a member said that this membership is over, not an earlier one of the same box.
pub(super) fn is_removed(node: &p2p::Node, me: MemberId) -> bool {
    let removal = node.removal();
    removal.is_some_and(|removed| removed.number == u64::from(me.0))
}

/// Knocks nowhere any more.
fn part(node: &p2p::Node) {
    error!(
        "this box was removed from the mesh; it holds what it held, and hears of nothing new. To use it again: stop it, move its state directory away, and join with a new invite"
    );
    node.set_members([]);
    node.hear_introductions(false);
    node.expect_guests(Duration::ZERO);
}

/// Makes those the members of the node who are by the rows, and, for as long as the rows cannot be read, those who proved to
/// be some: who joined while this box was away may be needed to read them.
fn believe(wire: &Wire, store: &Store, node: &p2p::Node, known: &Roster) {
    // Who takes itself for alone may have been set back to when it was.
    node.hear_introductions(store.is_cut_off() || !store.is_meshed());
    let introduced = node.introduced();
    for claims in &introduced {
        if let Ok(number) = u32::try_from(claims.serial) {
            store.note_member(MemberId(number));
        }
    }
    let roster = known.with(&introduced);
    let introduced = roster.beyond(known);
    let is_news = *wire.roster() != roster;
    if is_news {
        node.set_members(roster.nodes());
        wire.set_roster(roster);
    }
    if is_news || introduced.is_empty() {
        if !introduced.is_empty() {
            info!(?introduced, "members introduced themselves");
        }
        store.set_introduced(introduced);
    }
}

/// Notes who are the members by the rows and who were, shows what proves this box to be one, and opens to guests for as long
/// as an invite is outstanding. Says whether others are former members now.
fn obey(store: &Store, node: &p2p::Node, known: &mut Roster, former: &mut Former) -> bool {
    let members = store.members();
    let mut is_news = false;
    if store.forgotten().is_some() {
        // Whom these rows do not know may have joined since: nobody is taken for a former member.
        *known = known.and(&Roster::of(&members));
        node.set_signer(signer(store).map(|key| key.id()));
        node.set_certificates(own_certificates(store, &members));
        return false;
    }
    // A box that has just joined knows the others from whoever let it in, until it has heard the rows themselves.
    if !members.is_empty() {
        let roster = Roster::of(&members);
        is_news = former.note(known, &roster, Timestamp::now().as_secs());
        // Before they are cut, so that whoever dials again is told why.
        node.set_removed(former.all());
        *known = roster;
        node.set_certificates(own_certificates(store, &members));
    }
    node.set_signer(signer(store).map(|key| key.id()));
    let window = window(&store.invites(), Timestamp::now());
    debug!(
        members = members.len(),
        guests_for_s = window.as_secs(),
        "rows followed"
    );
    node.expect_guests(window);
    is_news
}

/// What proves this box to whoever has not heard of it, and may not have heard of newer keys.
fn own_certificates(store: &Store, members: &[(MemberId, MemberRow)]) -> Vec<Certificate> {
    let keys = signing_keys(store);
    let issued = keys.iter().map(|key| certificate(key, members, store.me()));
    issued.filter_map(Result::ok).collect()
}

async fn remember(former: &Former) {
    let (path, text) = former.kept();
    let kept = tokio::task::spawn_blocking(move || keep(&path, &text)).await;
    if let Ok(Err(error)) = kept {
        warn!(%error, "boxes that were removed are not remembered");
    }
}

/// How long guests are to be expected: until the last invite that works expires.
fn window(invites: &[(InviteId, InviteRow)], now: Timestamp) -> Duration {
    let until = invites.iter().map(|(_, row)| match &row.redeemed {
        None => row.expires.as_millis(),
        Some(redeemed) => redeemed.at.as_millis().saturating_add(REPEATS_FOR_MS),
    });
    let last = until.max().unwrap_or_default();
    Duration::from_millis(last.saturating_sub(now.as_millis()))
}

#[cfg(test)]
mod tests {
    use storage::model::{Redeemed, Role};

    use super::*;

    #[test]
    fn guests_are_expected_until_the_last_invite_expires() {
        let invite = |seed, expires| {
            let row = InviteRow {
                role: Role::Trusted,
                created: Timestamp::from_millis(0),
                expires: Timestamp::from_millis(expires),
                redeemed: None,
            };
            (InviteId::from_bytes([seed; 32]), row)
        };
        let now = Timestamp::from_millis(1000);
        assert_eq!(window(&[], now), Duration::ZERO);
        assert_eq!(window(&[invite(1, 500)], now), Duration::ZERO);
        let both = [invite(1, 5000), invite(2, 3000)];
        assert_eq!(window(&both, now), Duration::from_secs(4));
        let mut used = invite(1, 86_400_000);
        used.1.redeemed = Some(Redeemed {
            node: bytes::Bytes::new(),
            member: MemberId(2),
            at: now,
        });
        assert_eq!(window(&[used], now), Duration::from_millis(REPEATS_FOR_MS));
    }
}
