//! Rows in which something must stay get their mark with everybody soon after they are written: acceptors refuse to replace
//! only what they know to be chosen, see [`partition`](super::partition).

use std::time::Duration;

use tokio::time::timeout;

use super::{Machine, Registers};
use crate::StoreError;
use crate::register::Key;

/// Rows that are marked at a time; whoever writes more waits.
pub(super) const BINDING_MAX: usize = 64;
/// How long a store that closes may have to wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

impl<M: Machine> Registers<M> {
    /// Has everybody who answers know that the row of a key is chosen, if something in it may have to stay. Returns as soon
    /// as that is under way.
    pub(crate) async fn bind(&self, key: Key) {
        let Some(partition) = M::partition_of(&key).filter(|partition| !self.is_sole(*partition)) else {
            return;
        };
        let Ok(permit) = self.0.binding.clone().acquire_owned().await else {
            return;
        };
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let _permit = permit;
            let bound = timeout(PATIENCE, this.bind_now(partition, key)).await;
            if !matches!(bound, Ok(Ok(()))) {
                tracing::debug!(
                    partition,
                    ?bound,
                    "a row in which something must stay is not marked"
                );
            }
        });
    }

    async fn bind_now(&self, partition: u16, key: Key) -> Result<(), StoreError> {
        let row = self.read(partition, &key).await?;
        match row.content.value {
            Some(value) if M::may_bind(&value.summary) => self.sync_row(key).await,
            Some(_) | None => Ok(()),
        }
    }
}
