//! Keeps what the root rows say of this box true: how much it gives, and that it stands in them once.

use std::time::Duration;

use storage::model::{MemberId, MemberRow};
use storage::{Parting, Store, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How long between two attempts.
const EVERY: Duration = Duration::from_secs(5);

/// Has the rows say how much this box gives, as soon as they can be changed.
pub(super) async fn tell_capacity(store: Store, capacity: u64, stop: CancellationToken) {
    let me = store.me();
    loop {
        let own = store.members().into_iter().find(|(member, _)| *member == me);
        let is_told = own.as_ref().is_some_and(|(_, row)| row.capacity == capacity);
        if is_told {
            return;
        }
        if own.is_some() {
            let changed = store.change_member(me, |row| row.capacity = capacity);
            match stop.run_until_cancelled(changed).await {
                Some(Err(error)) => debug!(%error, "the others do not know yet how much this box gives"),
                Some(Ok(())) => continue,
                None => return,
            }
        }
        if stop.run_until_cancelled(sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Takes away the rows of earlier memberships of this box. It remembers nothing of what it promised under those numbers, so
/// that they are members who never answer: they would count among those of whom a quorum is needed.
pub(super) async fn replace_earlier(store: Store, stop: CancellationToken) {
    loop {
        // Before it has heard of its own row, it has heard of none.
        let members = store.members();
        let is_heard = members.iter().any(|(member, _)| *member == store.me());
        let earlier = earlier(&members, store.me());
        if is_heard && earlier.is_empty() {
            return;
        }
        for member in earlier {
            match stop.run_until_cancelled(remove(&store, member)).await {
                Some(Ok(())) => info!(%member, "an earlier membership of this box has ended"),
                Some(Err(error)) => debug!(%member, %error, "an earlier membership of this box goes on"),
                None => return,
            }
        }
        if stop.run_until_cancelled(sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn remove(store: &Store, member: MemberId) -> Result<(), StoreError> {
    match store.remove_member(member, Parting::WithWhatItHolds).await {
        // Its votes are handed over by the others first.
        Err(StoreError::StillNeeded { partitions }) => {
            store.change_member(member, |row| row.draining = true).await?;
            Err(StoreError::StillNeeded { partitions })
        }
        other => other,
    }
}

/// The members that are the same node as `me`, under a lower number.
fn earlier(members: &[(MemberId, MemberRow)], me: MemberId) -> Vec<MemberId> {
    let own = members.iter().find(|(member, _)| *member == me);
    let is_earlier = |(member, row): &&(MemberId, MemberRow)| {
        *member < me && own.is_some_and(|(_, own)| !own.node.is_empty() && row.node == own.node)
    };
    let earlier = members.iter().filter(is_earlier);
    earlier.map(|(member, _)| *member).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn only_lower_numbers_of_the_same_node_are_earlier_memberships() {
        let rows = [
            (1, b"anna"),
            (2, b"ben!"),
            (3, b"cleo"),
            (4, b"ben!"),
            (5, b"ben!"),
        ]
        .map(|(number, node)| sample(number, "box", node));
        assert_eq!(earlier(&rows, MemberId(4)), [MemberId(2)]);
        assert_eq!(earlier(&rows, MemberId(2)), []);
        // Whoever does not stand in the rows itself takes nobody away.
        assert_eq!(earlier(&rows, MemberId(9)), []);
    }
}
