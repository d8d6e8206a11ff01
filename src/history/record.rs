//! What is remembered of the boxes: by the hour what was exchanged with each, and by the day whether it was here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2p::NodeId;
use storage::model::Timestamp;

/// Hours kept of each box: two days, of which one is shown.
const HOURS_MAX: usize = 48;
/// Days kept of each box: a year, of which twelve months are shown, and a month to spare for days that a wrong clock made.
const DAYS_MAX: usize = 400;

/// The seconds of a day.
pub(super) const DAY_SECONDS: u32 = 86_400;
const HOUR_SECONDS: u64 = 3600;

/// What is remembered of all boxes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record(pub(super) BTreeMap<NodeId, Remembered>);

/// What is remembered of a box. An hour or day of which nothing is known is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// By the hours since 1970.
    pub(crate) hours: BTreeMap<u32, Hour>,
    /// By the days since 1970.
    pub(crate) days: BTreeMap<u32, Day>,
}

/// What was exchanged with a box in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hour {
    /// Bytes sent to it.
    pub(crate) sent: u64,
    /// Bytes received from it.
    pub(crate) received: u64,
}

/// What was seen of a box on a day: it was here for at most as long as is known, and that is at most a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Day {
    /// Seconds that it was here.
    pub(crate) here_seconds: u32,
    /// Seconds of which it is known whether it was.
    pub(crate) known_seconds: u32,
    /// Bytes it had in use when it told last.
    pub(crate) used: Option<u64>,
}

/// What is seen of a box at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Which box.
    pub(crate) node: NodeId,
    /// Whether it is here; none where that cannot be known.
    pub(crate) is_here: Option<bool>,
    /// Bytes sent to it since the last look.
    pub(crate) sent: u64,
    /// Bytes received from it since the last look.
    pub(crate) received: u64,
    /// Bytes it has in use, if it told.
    pub(crate) used: Option<u64>,
}

impl Record {
    /// Notes what was seen in the time up to `now`.
    ///
    /// The clock only says which hour and day it is, and how long a look lasted is measured without it. So a clock that jumps
    /// notes a little under a wrong date, and nothing is ever taken away for it.
    pub(crate) fn note(&mut self, now: Timestamp, lasted: Duration, sightings: &[Sighting]) {
        let (hour, day) = (hour_of(now), day_of(now));
        let lasted = u32::try_from(lasted.as_secs()).unwrap_or(DAY_SECONDS);
        for sighting in sightings {
            let of = self.0.entry(sighting.node).or_default();
            let in_hour = of.hours.entry(hour).or_default();
            in_hour.sent = in_hour.sent.saturating_add(sighting.sent);
            in_hour.received = in_hour.received.saturating_add(sighting.received);
            bound(&mut of.hours, hour, HOURS_MAX);
            if sighting.is_here.is_none() && sighting.used.is_none() {
                continue;
            }
            let on_day = of.days.entry(day).or_default();
            if let Some(is_here) = sighting.is_here {
                // A day that a clock lets come twice is no longer than any other.
                let known = lasted.min(DAY_SECONDS - on_day.known_seconds.min(DAY_SECONDS));
                on_day.known_seconds += known;
                on_day.here_seconds += if is_here { known } else { 0 };
            }
            on_day.used = sighting.used.or(on_day.used);
            bound(&mut of.days, day, DAYS_MAX);
        }
    }

    /// Forgets all other boxes: they are members no longer.
    pub(crate) fn keep_only(&mut self, nodes: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| nodes.contains(node));
    }

    /// What is remembered of a box.
    pub(crate) fn of(&self, node: &NodeId) -> Option<&Remembered> {
        self.0.get(node)
    }
}

/// Of too many the one goes that is farthest from now: what a wrong clock left behind goes before what is true, once the
/// clock is right again.
fn bound<V>(by_time: &mut BTreeMap<u32, V>, now: u32, most: usize) {
    while by_time.len() > most {
        let ends = [by_time.first_key_value(), by_time.last_key_value()];
        let ends = ends.into_iter().flatten().map(|(time, _)| *time);
        let Some(farthest) = ends.max_by_key(|time| now.abs_diff(*time)) else {
            return;
        };
        by_time.remove(&farthest);
    }
}

/// The hours since 1970.
pub(crate) fn hour_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_secs() / HOUR_SECONDS).unwrap_or(u32::MAX)
}

fn day_of(now: Timestamp) -> u32 {
    hour_of(now) / 24
}

/// What was exchanged with each box up to the last look, by counters that begin anew with each start.
#[derive(Debug, Default)]
pub(crate) struct Counted(BTreeMap<NodeId, (u64, u64)>);

impl Counted {
    /// What came since the last look to what was sent and received in all.
    pub(crate) fn since(&mut self, node: NodeId, sent: u64, received: u64) -> (u64, u64) {
        let before = self.0.insert(node, (sent, received)).unwrap_or_default();
        // A counter that was forgotten meanwhile has begun anew.
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        (grown(sent, before.0), grown(received, before.1))
    }

    /// Forgets all others.
    pub(crate) fn keep_only(&mut self, nodes: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| nodes.contains(node));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const DAY: u64 = 24 * HOUR_SECONDS;
    const NOW: u64 = 20_000 * DAY;
    const LOOK: Duration = Duration::from_secs(10);

    pub(in crate::history) fn node(number: u8) -> NodeId {
        // Not every number is a point of the curve.
        let nodes = (0..=255).filter_map(|byte| NodeId::from_bytes([byte; 32]).ok());
        nodes.into_iter().nth(number.into()).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn seen(is_here: Option<bool>) -> [Sighting; 1] {
        [Sighting {
            node: node(1),
            is_here,
            sent: 3,
            received: 4,
            used: None,
        }]
    }

    fn day(record: &Record, day: u32) -> Option<(u32, u32)> {
        let day = record.of(&node(1))?.days.get(&day)?;
        Some((day.here_seconds, day.known_seconds))
    }

    #[test]
    fn hours_add_up_and_days_know_how_long_somebody_looked() {
        let mut record = Record::default();
        record.note(at(NOW), LOOK, &seen(Some(true)));
        record.note(at(NOW + 10), LOOK, &seen(Some(false)));
        record.note(at(NOW + HOUR_SECONDS), LOOK, &seen(None));
        let of = record.of(&node(1)).unwrap();
        let hours: Vec<_> = of.hours.values().map(|hour| (hour.sent, hour.received)).collect();
        assert_eq!(hours, [(6, 8), (3, 4)]);
        assert_eq!(day(&record, 20_000), Some((10, 20)));
    }

    #[test]
    fn what_nobody_could_know_is_no_absence() {
        let mut record = Record::default();
        record.note(at(NOW), LOOK, &seen(None));
        assert_eq!(day(&record, 20_000), None);
    }

    #[test]
    fn the_newest_word_on_what_is_used_counts_for_its_day() {
        let mut record = Record::default();
        for used in [Some(5), None, Some(7), None] {
            let sighting = Sighting {
                used,
                ..seen(Some(true))[0]
            };
            record.note(at(NOW), LOOK, &[sighting]);
        }
        assert_eq!(record.of(&node(1)).unwrap().days[&20_000].used, Some(7));
    }

    #[test]
    fn a_clock_that_jumps_takes_nothing_away_and_what_it_left_goes_first() {
        let mut record = Record::default();
        for ago in (0..DAYS_MAX as u64 - 3).rev() {
            record.note(at(NOW - ago * DAY), LOOK, &seen(Some(true)));
        }
        // Into a far future, before the beginning, and back.
        for wrong in [NOW * 2, NOW * 2 + DAY, 0, u64::MAX / 1000] {
            record.note(at(wrong), LOOK, &seen(Some(false)));
        }
        for ahead in 1..10 {
            record.note(at(NOW + ahead * DAY), LOOK, &seen(Some(true)));
        }
        let of = record.of(&node(1)).unwrap();
        assert_eq!(of.days.len(), DAYS_MAX);
        let year = of.days.range(20_009 - 365..=20_009);
        assert_eq!(year.filter(|(_, day)| day.here_seconds == 10).count(), 366);
        assert_eq!(of.days.last_key_value().map(|(day, _)| *day), Some(20_009));
        assert_eq!(of.hours.len(), HOURS_MAX);
    }

    #[test]
    fn a_day_that_comes_again_and_again_has_no_more_seconds() {
        let mut record = Record::default();
        for _ in 0..3 {
            record.note(at(NOW), Duration::from_secs(50_000), &seen(Some(true)));
        }
        assert_eq!(day(&record, 20_000), Some((86_400, 86_400)));
    }

    #[test]
    fn who_is_no_member_any_more_is_forgotten() {
        let mut record = Record::default();
        record.note(at(NOW), LOOK, &seen(Some(true)));
        let other = Sighting {
            node: node(2),
            ..seen(Some(true))[0]
        };
        record.note(at(NOW), LOOK, &[other]);
        record.keep_only(&[node(2), node(3)].into());
        assert_eq!(record.0.keys().copied().collect::<Vec<_>>(), [node(2)]);
    }

    #[test]
    fn counters_that_begin_anew_are_counted_from_there() {
        let mut counted = Counted::default();
        assert_eq!(counted.since(node(1), 5, 7), (5, 7));
        assert_eq!(counted.since(node(1), 6, 9), (1, 2));
        assert_eq!(counted.since(node(1), 2, 10), (2, 1));
        counted.keep_only(&[node(2)].into());
        assert_eq!(counted.since(node(1), 2, 10), (2, 10));
    }
}
