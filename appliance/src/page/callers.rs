//! Counts the connections of each caller, so that one of them cannot take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Source;

/// Connections of one caller: browsers open six, and a tab that listens keeps one.
const EACH_MAX: usize = 24;

/// Connections of one IPv6 network of a home, whose devices take any address they like: most of the page's, and not all.
const NETWORK_MAX: usize = 4 * EACH_MAX;

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
        let full = |source: &Source, most| counts.get(source).is_some_and(|count| *count >= most);
        if full(&source, EACH_MAX)
            || source
                .network()
                .is_some_and(|network| full(&network, NETWORK_MAX))
        {
            return None;
        }
        for counted in counted(source) {
            *counts.entry(counted).or_default() += 1;
        }
        Some(Place {
            callers: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        for counted in counted(self.source) {
            if let Some(count) = counts.get_mut(&counted) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&counted);
                }
            }
        }
    }
}

/// For whom a connection counts: the address, and the network that it was taken from.
fn counted(source: Source) -> impl Iterator<Item = Source> {
    std::iter::once(source).chain(source.network())
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

    #[test]
    fn a_device_with_many_addresses_of_one_network_cannot_take_all() {
        let callers = Callers::default();
        let device = |n: u16| Source::of(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n).into());
        let places: Vec<_> = (1..1000).filter_map(|n| callers.admit(device(n))).collect();
        assert_eq!(places.len(), NETWORK_MAX);
        assert!(callers.admit(Source::of([10, 0, 0, 2].into())).is_some());
        drop(places);
        assert!(callers.0.lock().unwrap().is_empty());
    }
}
