//! When to ask a second member for a block: after as long as 19 of 20 answers took lately.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are remembered.
const REMEMBERED: usize = 64;
/// What is assumed before any answer.
const FIRST: Duration = Duration::from_millis(400);
/// Never sooner: two answers cost twice the traffic.
const LEAST: Duration = Duration::from_millis(30);
/// Never later: a member that takes so long may have gone.
const MOST: Duration = Duration::from_secs(5);

/// How long answers took.
#[derive(Debug, Default)]
pub(super) struct Hedge(VecDeque<Duration>);

impl Hedge {
    /// Remembers how long an answer took.
    pub(super) fn note(&mut self, took: Duration) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(took);
    }

    /// How long to wait before a second member is asked.
    pub(super) fn wait(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let at = sorted.len() * 19 / 20;
        sorted.get(at).copied().unwrap_or(FIRST).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answers: &[u64], wait: u64) {
        let mut hedge = Hedge::default();
        answers
            .iter()
            .for_each(|millis| hedge.note(Duration::from_millis(*millis)));
        assert_eq!(hedge.wait(), Duration::from_millis(wait));
    }

    #[test]
    fn one_in_twenty_waits_too_long() {
        check(&[], 400);
        check(&[&[100; 19][..], &[900]].concat(), 900);
        check(&[&[100; 39][..], &[900]].concat(), 100);
    }

    #[test]
    fn the_wait_has_bounds_and_forgets() {
        check(&[1; 30], 30);
        check(&[60_000; 30], 5000);
        check(&[&[900; 64][..], &[100; 64]].concat(), 100);
    }
}
