//! A bell that one worker waits for: rung while nobody waits, it is heard next time.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes whoever waits. Cloning gives another handle.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    /// Wakes it.
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits to be woken.
    pub(crate) async fn heard(&self) {
        self.0.notified().await;
    }
}
