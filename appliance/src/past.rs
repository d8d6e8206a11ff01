//! What was seen of the boxes over time, and what follows from it: how long the room lasts, and what homes keep for each other.

use std::collections::BTreeMap;

use crate::api::{BoxHistory, DayOfPresence, HistoryShown, Home, HourOfTraffic, LedgerLine, Schema};

/// Hours that are shown.
pub(crate) const HOURS_SHOWN: u32 = 24;
/// Days that are shown: twelve months.
pub(crate) const DAYS_SHOWN: u32 = 365;

/// Days from which the pace is taken.
const PACE_DAYS: u32 = 30;
/// A pace of fewer days says nothing: one large upload would fill the box within the week.
const PACE_DAYS_LEAST: u32 = 3;
/// A disk refuses new blocks once it is so full, in percent.
const FULL_PERCENT: u128 = 95;
/// A time beyond which nobody plans, in days.
const FULL_DAYS_MAX: u128 = 3650;

/// What was seen of the boxes over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The hour it is, counted in UTC from the first of 1970.
    pub hour: u32,
    /// What was seen of each box, by its number in the mesh.
    pub boxes: BTreeMap<u32, BoxPast>,
}

/// What was seen of a box. An hour or day of which nothing is known is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoxPast {
    /// What was exchanged with it, in ascending order.
    pub hours: Vec<HourPast>,
    /// Whether it was here, in ascending order.
    pub days: Vec<DayPast>,
}

/// What was exchanged with a box in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourPast {
    /// Which hour, counted as [`Past::hour`].
    pub hour: u32,
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
}

/// What was seen of a box on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayPast {
    /// Which day, counted in UTC from the first of 1970.
    pub day: u32,
    /// Seconds that it was here.
    pub here_seconds: u32,
    /// Seconds of which it is known whether it was.
    pub known_seconds: u32,
    /// Bytes it had in use when it told last.
    pub used: Option<u64>,
}

/// Whether a box was here on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nobody knows: whoever would was off.
    Unknown,
    /// It was, but for moments.
    Here,
    /// It was for a part of the day.
    Partly,
    /// It was not.
    Away,
}

impl Past {
    /// The day it is.
    pub(crate) const fn today(&self) -> u32 {
        self.hour / 24
    }

    /// What was seen of a box; nothing of one that is not known.
    pub(crate) fn of(&self, home: &Home) -> BoxPast {
        let mut past = self.boxes.get(&home.member).cloned().unwrap_or_default();
        let (hour, today) = (self.hour, self.today());
        // What lies ahead was noted while the clock was wrong.
        past.hours
            .retain(|one| one.hour <= hour && hour - one.hour < HOURS_SHOWN);
        past.days
            .retain(|one| one.day <= today && today - one.day < DAYS_SHOWN);
        past
    }

    /// Bytes that a box has in use; of one that is away, what it told last.
    pub(crate) fn used(&self, home: &Home) -> Option<u64> {
        let told = || self.of(home).days.iter().rev().find_map(|day| day.used);
        home.used_bytes.or_else(told)
    }

    /// How many days a box was told of in the last month, and how many bytes more it had in use at their end; none while they
    /// are too few.
    fn pace(&self, home: &Home) -> Option<(u32, u64)> {
        let days = self.of(home).days;
        let told = days.iter().filter_map(|day| Some((day.day, day.used?)));
        let mut told = told.filter(|(day, _)| self.today() - day <= PACE_DAYS);
        let (first, before) = told.next()?;
        let (last, now) = told.next_back()?;
        (last - first >= PACE_DAYS_LEAST).then(|| (last - first, now.saturating_sub(before)))
    }

    /// Whether it is known how fast a box fills.
    pub(crate) fn has_pace(&self, home: &Home) -> bool {
        self.pace(home).is_some()
    }

    /// Days until a box is full, at the pace of the last month; none if it does not fill, or too slowly, or that is not known.
    pub(crate) fn full_in_days(&self, home: &Home) -> Option<u64> {
        let (days, filled) = self.pace(home)?;
        let most = u128::from(home.given_bytes) * FULL_PERCENT / 100;
        let left = most.saturating_sub(u128::from(self.used(home)?));
        let until = (left * u128::from(days)).checked_div(u128::from(filled))?;
        u64::try_from(until).ok().filter(|_| until <= FULL_DAYS_MAX)
    }

    /// What each home keeps for the others and they for it, in the order of the homes; nothing while fewer than two are known.
    ///
    /// Nobody notes who brought what, so all that is stored counts as belonging to all homes in equal parts. Of the `used`
    /// bytes of a home, one part of `homes` is its own and the rest it gives; of all bytes that the others use, it takes the
    /// same part. So all homes together give what they take.
    pub(crate) fn ledger(&self, homes: &[Home]) -> Vec<LedgerLine> {
        let mut used: Vec<(&str, u128)> = Vec::new();
        for home in homes {
            let Some(bytes) = self.used(home) else {
                continue;
            };
            match used.iter_mut().find(|(zone, _)| *zone == home.zone) {
                Some((_, sum)) => *sum += u128::from(bytes),
                None => used.push((&home.zone, bytes.into())),
            }
        }
        if used.len() < 2 {
            return Vec::new();
        }
        let homes = used.len() as u128;
        let all: u128 = used.iter().map(|(_, used)| used).sum();
        let line = |&(zone, used): &(&str, u128)| LedgerLine {
            zone: zone.to_owned(),
            gives_bytes: saturated(used * (homes - 1) / homes),
            takes_bytes: saturated((all - used) / homes),
        };
        used.iter().map(line).collect()
    }

    /// All of it as the admin API tells it.
    pub(crate) fn shown(&self, homes: &[Home]) -> HistoryShown {
        let one = |home: &Home| {
            let past = self.of(home);
            let hour = |one: &HourPast| HourOfTraffic {
                from: instant(one.hour).to_string(),
                sent_bytes: one.sent,
                received_bytes: one.received,
            };
            let day = |one: &DayPast| DayOfPresence {
                date: date(one.day),
                here_seconds: one.here_seconds,
                known_seconds: one.known_seconds,
            };
            BoxHistory {
                member: home.member,
                zone: home.zone.clone(),
                name: home.name.clone(),
                hours: past.hours.iter().map(hour).collect(),
                days: past.days.iter().map(day).collect(),
                full_in_days: self.full_in_days(home),
            }
        };
        HistoryShown {
            schema: Schema,
            boxes: homes.iter().map(one).collect(),
            ledger: self.ledger(homes),
        }
    }
}

impl DayPast {
    /// Whether the box was here, as far as is known; a restart of it takes less than a twentieth of a day.
    pub(crate) fn presence(&self) -> Presence {
        let (here, known) = (u64::from(self.here_seconds) * 20, u64::from(self.known_seconds));
        match () {
            () if known == 0 => Presence::Unknown,
            () if here >= known * 19 => Presence::Here,
            () if here <= known => Presence::Away,
            () => Presence::Partly,
        }
    }
}

/// A day as people write it.
pub(crate) fn date(day: u32) -> String {
    let text = instant(day.saturating_mul(24)).to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// When an hour began.
fn instant(hour: u32) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::from(hour) * 3600).unwrap_or(jiff::Timestamp::MAX)
}

fn saturated(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const TODAY: u32 = 20_000;

    /// A box in a home of its own.
    pub(crate) fn home(member: u32, zone: &str, used: Option<u64>) -> Home {
        Home {
            zone: zone.into(),
            name: zone.into(),
            member,
            node: String::new(),
            here: member == 0,
            online: used.is_some(),
            draining: false,
            used_bytes: used,
            given_bytes: 1000 * GB,
            behind: None,
            verified: None,
            version: None,
            path: None,
            seen_seconds: None,
        }
    }

    /// A box that told on some days, counted back from today, how many GB it had in use.
    fn told(days: &[(u32, u64)]) -> Past {
        let day = |&(ago, used): &(u32, u64)| DayPast {
            day: TODAY - ago,
            here_seconds: 86_400,
            known_seconds: 86_400,
            used: Some(used * GB),
        };
        let days = days.iter().map(day).collect();
        Past {
            hour: TODAY * 24,
            boxes: [(
                0,
                BoxPast {
                    hours: Vec::new(),
                    days,
                },
            )]
            .into(),
        }
    }

    #[track_caller]
    fn check(days: &[(u32, u64)], expected: Option<u64>) {
        let used = days.last().map(|(_, used)| used * GB);
        assert_eq!(told(days).full_in_days(&home(0, "anna", used)), expected);
    }

    #[test]
    fn room_lasts_as_long_as_the_pace_of_the_last_month_lets_it() {
        // 300 GB in 30 days, and 950 may be used.
        check(&[(30, 100), (10, 110), (0, 400)], Some(55));
        // What was before the last month does not count.
        check(&[(300, 0), (30, 390), (0, 400)], Some(1650));
        check(&[(10, 800), (0, 960)], Some(0));
    }

    #[test]
    fn a_box_that_does_not_fill_or_is_not_known_long_enough_has_no_day_when_it_is_full() {
        check(&[], None);
        check(&[(2, 0), (0, 100)], None);
        check(&[(20, 100), (0, 100)], None);
        check(&[(20, 200), (0, 100)], None);
        // Longer than anybody plans.
        check(&[(30, 0), (0, 1)], None);
    }

    #[test]
    fn homes_give_together_what_they_take_and_the_one_that_keeps_most_gives_most() {
        let homes = [
            home(0, "anna", Some(300)),
            home(1, "ben", Some(300)),
            home(2, "cleo", Some(0)),
            // A second box of the same home.
            home(3, "anna", Some(300)),
        ];
        let ledger = Past::default().ledger(&homes);
        let lines: Vec<_> = ledger
            .iter()
            .map(|line| (line.zone.as_str(), line.gives_bytes, line.takes_bytes))
            .collect();
        assert_eq!(lines, [("anna", 400, 100), ("ben", 200, 200), ("cleo", 0, 300)]);
    }

    #[test]
    fn a_home_that_is_away_counts_with_what_it_told_last_and_one_alone_owes_nobody() {
        let homes = [home(0, "anna", None), home(1, "ben", Some(100 * GB))];
        let lines = told(&[(5, 60), (3, 100)]).ledger(&homes);
        assert_eq!((lines[0].gives_bytes, lines[0].takes_bytes), (50 * GB, 50 * GB));
        assert_eq!(Past::default().ledger(&homes), []);
    }

    #[test]
    fn a_day_is_what_was_known_of_it() {
        let presence = |here_seconds, known_seconds| {
            DayPast {
                day: 0,
                here_seconds,
                known_seconds,
                used: None,
            }
            .presence()
        };
        assert_eq!(presence(0, 0), Presence::Unknown);
        assert_eq!(presence(86_000, 86_400), Presence::Here);
        assert_eq!(presence(40_000, 86_400), Presence::Partly);
        assert_eq!(presence(60, 86_400), Presence::Away);
        assert_eq!(presence(60, 60), Presence::Here);
    }

    #[test]
    fn what_is_too_old_or_lies_ahead_is_not_shown() {
        let mut past = told(&[(365, 1), (364, 1), (0, 1)]);
        let of = past.boxes.get_mut(&0).unwrap();
        of.days.push(DayPast {
            day: TODAY + 1,
            ..of.days[0]
        });
        for hour in [24, 23, 0] {
            of.hours.push(HourPast {
                hour: TODAY * 24 - hour,
                sent: 1,
                received: 2,
            });
        }
        let shown = past.shown(&[home(0, "anna", None)]);
        let [anna] = &shown.boxes[..] else {
            panic!("one box")
        };
        let dates: Vec<_> = anna.days.iter().map(|day| day.date.as_str()).collect();
        assert_eq!(dates, ["2023-10-06", "2024-10-04"]);
        let hours: Vec<_> = anna.hours.iter().map(|hour| hour.from.as_str()).collect();
        assert_eq!(hours, ["2024-10-03T01:00:00Z", "2024-10-04T00:00:00Z"]);
    }
}
