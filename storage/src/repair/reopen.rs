//! Has directories of blocks opened again that stopped since their index could not be written, so that nobody has to start a
//! box again after somebody else had filled its disk.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::Inner;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(5);
/// The same, while opening them fails again and again.
const AT_MOST: Duration = Duration::from_secs(600);

/// Looks until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut pause = EVERY;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let Some(inner) = inner.upgrade() else { return };
        // Not cut short: a disk is not closed while it is being opened.
        match inner.disk.reopen_blocks().await {
            Ok(reopened) => {
                pause = EVERY;
                if reopened {
                    info!("blocks are stored again: there is room for their index");
                }
            }
            Err(error) => {
                pause = (pause * 2).min(AT_MOST);
                warn!(%error, cause = ?std::error::Error::source(&error), "blocks could not be opened again");
            }
        }
    }
}
