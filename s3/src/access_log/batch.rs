//! Collects lines by the place they go to, within bounds.

use std::collections::HashMap;
use std::time::Duration;

use storage::model::BucketLogging;
use tokio::time::Instant;

/// Bytes of all lines that wait.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// Bytes after which a batch is written.
const BATCH_BYTES: usize = 1 << 20;
/// How long the first line of a batch waits.
const WAIT: Duration = Duration::from_secs(60);

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Batches {
    waiting: HashMap<BucketLogging, Batch>,
    bytes: usize,
    /// Lines that found no room since somebody asked.
    dropped: u64,
}

#[derive(Debug)]
struct Batch {
    text: String,
    since: Instant,
}

impl Batches {
    /// Adds a line, if there is room.
    pub(super) fn add(&mut self, to: &BucketLogging, line: &str, now: Instant) {
        if self.bytes + line.len() > BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        match self.waiting.get_mut(to) {
            Some(batch) => batch.text.push_str(line),
            None => {
                let text = line.to_owned();
                self.waiting.insert(to.clone(), Batch { text, since: now });
            }
        }
    }

    /// What is to be written now, and how many lines found no room.
    pub(super) fn take_due(&mut self, now: Instant) -> (Vec<(BucketLogging, String)>, u64) {
        let is_full = self.bytes >= BYTES_MAX / 2;
        let due = self.waiting.extract_if(|_, batch| {
            is_full || batch.text.len() >= BATCH_BYTES || now.duration_since(batch.since) >= WAIT
        });
        let due: Vec<_> = due.map(|(to, batch)| (to, batch.text)).collect();
        self.bytes -= due.iter().map(|(_, text)| text.len()).sum::<usize>();
        (due, std::mem::take(&mut self.dropped))
    }

    /// Everything.
    pub(super) fn take_all(&mut self) -> Vec<(BucketLogging, String)> {
        self.bytes = 0;
        let all = self.waiting.drain();
        all.map(|(to, batch)| (to, batch.text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use storage::model::{BucketId, BucketName};

    use super::*;

    fn to(prefix: &str) -> BucketLogging {
        BucketLogging {
            target: BucketId::from_bytes([1; 16]),
            target_name: BucketName::parse("logs").unwrap(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn lines_of_one_place_are_one_object_after_a_while() {
        let mut batches = Batches::default();
        let began = Instant::now();
        batches.add(&to("a/"), "1\n", began);
        batches.add(&to("b/"), "2\n", began + WAIT);
        batches.add(&to("a/"), "3\n", began + WAIT);
        assert_eq!(batches.take_due(began), (vec![], 0));
        let due = batches.take_due(began + WAIT);
        assert_eq!(due, (vec![(to("a/"), "1\n3\n".into())], 0));
        assert_eq!(batches.take_all(), [(to("b/"), "2\n".into())]);
    }

    #[test]
    fn memory_is_bounded_and_what_finds_no_room_is_counted() {
        let mut batches = Batches::default();
        let now = Instant::now();
        let line = "x".repeat(BYTES_MAX / 4);
        for _ in 0..5 {
            batches.add(&to(""), &line, now);
        }
        let (due, dropped) = batches.take_due(now);
        assert_eq!((due[0].1.len(), dropped), (BYTES_MAX, 1));
        assert_eq!((batches.bytes, batches.take_due(now).1), (0, 0));
    }
}
