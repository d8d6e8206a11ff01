//! What signs the certificates that boxes of the mesh show in their networks: one secret, which every trusted box has.
//!
//! What is in it means nothing here. One root row holds it, sealed with the newest keys of the mesh, so that a box that joins
//! finds it among the rows, and the recovery phrase opens it with everything else. It is made and replaced by a
//! compare-and-set on that row: of two boxes at once one wins, and the other finds what it made.
//!
//! A trusted box that goes takes the secret along. The mesh has newer keys from then on, and [`Store::wants_authority`] says
//! so until there is another secret, sealed with those: the row names the keys, so that nobody has to remember.

use std::sync::Arc;

use serde_bytes::ByteBuf;
use tracing::debug;
use zeroize::Zeroizing;

use super::feed::refresh;
use crate::model::{AuthorityRow, MeshKey, Timestamp};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Sets it apart from everything else that is sealed with the same keys.
const CONTEXT: &[&[u8]] = &[b"certificate authority"];

/// What signs certificates, opened. Has no `Debug`, so that it reaches no log.
#[derive(Clone)]
pub struct Authority {
    /// Counts the secrets that the mesh had, from 1 on.
    pub number: u64,
    /// Since when this is the one, by the clock of the box that made it.
    pub since: Timestamp,
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
}

impl Store {
    /// What signs certificates, by this member's copy of the rows; none before it is made, and while its keys are not here.
    pub fn authority(&self) -> Option<Authority> {
        let known = self.0.mesh.view().authority.clone()?;
        match self
            .0
            .keyring
            .open_sealed::<ByteBuf>(CONTEXT, &known.value.sealed)
        {
            Ok(secret) => Some(Authority {
                number: known.version,
                since: known.value.since,
                secret: Zeroizing::new(secret.into_vec()),
            }),
            Err(error) => {
                // A box that was away has not heard of newer keys yet, and one that was removed never will.
                debug!(%error, "what signs certificates does not open");
                None
            }
        }
    }

    /// Whether somebody who has the newest keys has to make it, or make another since somebody who knew it went: this member
    /// can. It says so too where rows that it has not heard of say otherwise; [`Self::set_authority`] finds that out.
    pub fn wants_authority(&self) -> bool {
        let view = self.0.mesh.view();
        let known = view.authority.as_ref().map(|row| row.value.generation);
        self.is_informed()
            && self.has_newest_keys()
            && known.is_none_or(|generation| generation < self.0.keyring.newest())
    }

    /// Has this sign from now on, in place of the one of that number, or of none (0); says whether that was still the one.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer, or it is not known whether it is changed. The disk fails.
    pub async fn set_authority(
        &self,
        secret: Zeroizing<Vec<u8>>,
        instead_of: u64,
    ) -> Result<bool, StoreError> {
        let store = self.clone();
        self.finish(async move { store.0.set_authority(&secret, instead_of).await })
            .await
    }
}

impl Inner {
    async fn set_authority(self: &Arc<Self>, secret: &[u8], instead_of: u64) -> Result<bool, StoreError> {
        let text = Zeroizing::new(secret.to_vec());
        let row = AuthorityRow {
            generation: self.keyring.newest(),
            since: Timestamp::now(),
            sealed: self.keyring.seal(CONTEXT, &serde_bytes::Bytes::new(&text)),
        };
        let replaced = self
            .mesh
            .replace(&self.partitions, MeshKey::Authority, Some(&row), instead_of)
            .await?;
        refresh(self).await?;
        if replaced {
            self.tell_of_change();
        }
        Ok(replaced)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::cluster::neighbour_tests::{Wire, founder, join};
    use crate::{Parting, simulation};

    /// The secret that a box has, once it has one.
    async fn secret(store: &Store, number: u64) -> Vec<u8> {
        loop {
            match store.authority().filter(|known| known.number == number) {
                Some(known) => return known.secret.to_vec(),
                None => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn text(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.into())
    }

    #[test]
    fn of_two_that_make_one_at_once_one_wins_and_everybody_has_it_also_who_joins() {
        simulation::run(31, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            assert!(first.authority().is_none() && first.wants_authority());
            let second = join(&wire, &first, "ben").await;
            let (one, other) = tokio::join!(
                first.set_authority(text("anna's"), 0),
                second.set_authority(text("ben's"), 0)
            );
            let (one, other) = (one.unwrap(), other.unwrap());
            assert!(one != other, "{one} {other}");
            let winner = if one { "anna's" } else { "ben's" };
            let third = join(&wire, &first, "cleo").await;
            for store in [&first, &second, &third] {
                assert_eq!(secret(store, 1).await, winner.as_bytes());
                assert!(!store.wants_authority());
            }
        })
        .unwrap();
    }

    #[test]
    fn who_is_removed_never_knows_what_signs_from_then_on() {
        simulation::run(32, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let second = join(&wire, &first, "ben").await;
            let third = join(&wire, &first, "cleo").await;
            assert!(first.set_authority(text("old"), 0).await.unwrap());
            assert_eq!(secret(&second, 1).await, b"old");
            let lose = Parting::WithWhatItHolds;
            first.remove_member(second.me(), lose).await.unwrap();
            wire.cut(second.me());
            // It goes on to sign until there is another.
            assert!(first.wants_authority() && first.authority().is_some());
            assert!(first.set_authority(text("new"), 1).await.unwrap());
            for store in [&first, &third] {
                assert_eq!(secret(store, 2).await, b"new");
                assert!(!store.wants_authority());
            }
            let row = first.0.mesh.view().authority.clone().unwrap().value;
            let opened = second.0.keyring.open_sealed::<ByteBuf>(CONTEXT, &row.sealed);
            assert!(opened.is_err());
            assert_eq!(secret(&second, 1).await, b"old");
        })
        .unwrap();
    }
}
