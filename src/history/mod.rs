//! Remembers what became of the boxes: looks at them now and then, and keeps what it saw for the next start.

mod file;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use storage::model::Timestamp;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::console::Console;
use file::Found;
pub(crate) use record::{Counted, Record, Sighting, hour_of};

/// How often the boxes are looked at: an absence that is shorter is none.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often the boxes are asked what they have in use: what is kept of it is one number a day.
const ASK_EVERY: Duration = Duration::from_secs(600);

/// How often the past is written, beside once at the end: memory cards bear only so many writes, and a power cut costs no more
/// than this.
const KEEP_EVERY: Duration = Duration::from_secs(900);

/// How long a box that has just started may look for the others: who is not found yet is not known to be away.
const FIND_WAIT: Duration = Duration::from_secs(60);

/// The past as far as it is remembered, and where it is kept.
pub(crate) struct History {
    path: PathBuf,
    record: Mutex<Record>,
}

impl History {
    /// Reads what is kept in the state directory. A past that cannot be read is no reason not to start.
    pub(crate) fn open(state: &Path) -> Self {
        let path = state.join("history.json");
        let record = match file::read(&path) {
            Found::Whole(record) => record,
            Found::Damaged => {
                let aside = file::set_aside(&path).err();
                warn!(path = %path.display(), not_renamed = ?aside, "the history of the boxes is damaged, and begins anew");
                Record::default()
            }
            Found::Unreadable(error) => {
                warn!(path = %path.display(), %error, "the history of the boxes cannot be read, and begins anew");
                Record::default()
            }
        };
        Self {
            path,
            record: Mutex::new(record),
        }
    }

    /// Looks at the past, for no longer than a look.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&mut Record) -> T) -> T {
        at(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what is remembered.
    async fn keep(&self) {
        let (path, text) = (self.path.clone(), self.look(|record| file::text(record)));
        let written = match text {
            Ok(text) => tokio::task::spawn_blocking(move || file::write(&path, &text)).await,
            Err(error) => Ok(Err(error.into())),
        };
        if let Err(error) = written.map_err(std::io::Error::other).flatten() {
            error!(path = %self.path.display(), %error, "the history of the boxes is not kept");
        }
    }
}

/// Looks at the boxes until the node stops.
pub(crate) async fn watch(console: Arc<Console>) {
    let (history, stop) = (&console.history, &console.stopping);
    let started = Instant::now();
    let (mut looked, mut kept, mut asked) = (started, started, None::<Instant>);
    let mut counted = Counted::default();
    while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
        // A process that did not run for a while has seen nothing meanwhile.
        let lasted = looked.elapsed().min(2 * LOOK_EVERY);
        looked = Instant::now();
        let mut used = BTreeMap::new();
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            asked = Some(Instant::now());
            match stop.run_until_cancelled(console.used()).await {
                Some(told) => used = told,
                None => break,
            }
        }
        let has_searched = started.elapsed() >= FIND_WAIT;
        let sightings = console.sightings(&mut counted, &used, has_searched);
        history.look(|record| {
            record.note(Timestamp::now(), lasted, &sightings);
            if let Some(members) = console.members_known() {
                record.keep_only(&members);
            }
        });
        if kept.elapsed() >= KEEP_EVERY {
            history.keep().await;
            kept = Instant::now();
        }
    }
    history.keep().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_cannot_be_read_begins_anew_and_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.json");
        std::fs::write(&path, "{torn").unwrap();
        let history = History::open(folder.path());
        assert_eq!(history.look(|record| record.clone()), Record::default());
        let aside = std::fs::read(folder.path().join("history.json.damaged")).unwrap();
        assert_eq!((aside, path.exists()), (b"{torn".to_vec(), false));
        // Neither a file nor nothing.
        std::fs::create_dir(&path).unwrap();
        History::open(folder.path());
    }
}
