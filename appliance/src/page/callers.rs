//! Counts the connections of each caller, so that one of them cannot take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Source;

/// Connections of one caller: browsers open six, and a tab that listens keeps one.
const EACH_MAX: usize = 24;

/// Who is connected how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers(Arc<Mutex<HashMap<Source, usize>>>);

/// A connection that is counted until this is dropped.
pub(super) struct Place {
    callers: Callers,
    source: Source,
}

impl Callers {
    /// Counts one more connection; none where the caller has too many.
    pub(super) fn admit(&self, source: Source) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= EACH_MAX {
            return None;
        }
        *count += 1;
        Some(Place {
            callers: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_bounded_number_of_connections_and_gets_them_back() {
        let (callers, source) = (Callers::default(), Source::of([10, 0, 0, 1].into()));
        let places: Vec<_> = (0..EACH_MAX).map(|_| callers.admit(source).unwrap()).collect();
        assert!(callers.admit(source).is_none());
        assert!(callers.admit(Source::of([10, 0, 0, 2].into())).is_some());
        drop(places);
        assert!(callers.0.lock().unwrap().is_empty());
    }
}
