//! The past of the boxes: what they exchanged, when they were here, and what homes keep for each other.

use std::fmt::Write;

use maud::{Markup, html};

use super::pieces::{counted, size};
use crate::api::{Home, LedgerLine};
use crate::past::{BoxPast, DAYS_SHOWN, DayPast, HOURS_SHOWN, HourPast, Past, Presence, date};

/// What was seen of a box.
pub(super) fn of(past: &Past, home: &Home) -> Markup {
    let of = past.of(home);
    html! {
        (sparklines(past.hour, &of, home))
        (strip(past.today(), &of, home))
    }
}

/// What was exchanged in each of the last hours: up what was sent, down what was received.
fn sparklines(now: u32, past: &BoxPast, home: &Home) -> Markup {
    /// Half of the height.
    const HALF: u64 = 22;
    /// The width of an hour.
    const STEP: u32 = 10;
    let most = past.hours.iter().map(|hour| hour.sent.max(hour.received)).max();
    let most = most.unwrap_or(0).max(1);
    let height = |bytes: u64| {
        let height = u128::from(bytes) * u128::from(HALF) / u128::from(most);
        // Little is more than nothing.
        u64::try_from(height).unwrap_or(HALF).max(u64::from(bytes > 0))
    };
    let (mut up, mut down, mut known) = (String::new(), String::new(), String::new());
    for hour in &past.hours {
        let x = (hour.hour + HOURS_SHOWN - 1).saturating_sub(now) * STEP;
        let (sent, received) = (height(hour.sent), height(hour.received));
        // Writing to a string does not fail.
        let _ = write!(known, "M{x} {HALF}h{STEP}v2h-{STEP}z");
        if sent > 0 {
            let _ = write!(up, "M{} {HALF}h8v-{sent}h-8z", x + 1);
        }
        if received > 0 {
            let _ = write!(down, "M{} {}h8v{received}h-8z", x + 1, HALF + 2);
        }
    }
    let sum = |of: fn(&HourPast) -> u64| past.hours.iter().map(of).fold(0, u64::saturating_add);
    let (sent, received) = (sum(|hour| hour.sent), sum(|hour| hour.received));
    let with = if home.here {
        "with all others"
    } else {
        "with this box"
    };
    let unknown = u64::from(HOURS_SHOWN).saturating_sub(past.hours.len() as u64);
    let says = format!(
        "{} {with} in 24 hours: {} up, {} down{}",
        home.name,
        size(sent),
        size(received),
        not_known(unknown, "hour"),
    );
    let (width, height) = (HOURS_SHOWN * STEP, 2 * HALF + 2);
    html! {
        figure.past {
            figcaption.small { "24 hours " (with) ": ↑ " (size(sent)) " ↓ " (size(received)) }
            svg.spark viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" role="img" aria-label=(says) {
                title { (says) }
                @if !known.is_empty() { path.known d=(known) {} }
                @if !up.is_empty() { path.up d=(up) {} }
                @if !down.is_empty() { path.down d=(down) {} }
            }
            (ends("24 hours ago", "now"))
        }
    }
}

/// Whether a box was here on each of the last days. Days differ in height, not in colour alone.
fn strip(today: u32, past: &BoxPast, home: &Home) -> Markup {
    let count = |presence| past.days.iter().filter(|day| day.presence() == presence).count() as u64;
    let (here, partly, away) = (
        count(Presence::Here),
        count(Presence::Partly),
        count(Presence::Away),
    );
    let unknown = u64::from(DAYS_SHOWN).saturating_sub(here + partly + away);
    let says = format!(
        "{} in the last 12 months: here on {}, partly on {partly}, away on {away}{}",
        home.name,
        counted(here, "day"),
        not_known(unknown, "day"),
    );
    html! {
        figure.past {
            figcaption.small {
                "12 months: here on " (counted(here, "day"))
                @if partly > 0 { ", partly on " (partly) }
                @if away > 0 { ", away on " (away) }
                @if unknown > 0 { ", not known of " (unknown) }
            }
            svg.strip viewBox={ "0 0 " (DAYS_SHOWN) " 20" } preserveAspectRatio="none" role="img" aria-label=(says) {
                title { (says) }
                rect.unknown width=(DAYS_SHOWN) height="20" {}
                @for (class, presence, top) in [("here", Presence::Here, 0), ("partly", Presence::Partly, 7), ("away", Presence::Away, 14)] {
                    @let path = runs(today, &past.days, presence, top);
                    @if !path.is_empty() { path.(class) d=(path) {} }
                }
            }
            (ends(&date(today.saturating_sub(DAYS_SHOWN - 1)), &date(today)))
        }
    }
}

/// The days of a kind as one path, in which those that follow each other are one rectangle.
fn runs(today: u32, days: &[DayPast], presence: Presence, top: u32) -> String {
    let first = (today + 1).saturating_sub(DAYS_SHOWN);
    let mut path = String::new();
    let mut days = days.iter().filter(|day| day.presence() == presence).peekable();
    while let Some(day) = days.next() {
        let mut last = day.day;
        while let Some(next) = days.next_if(|next| next.day == last + 1) {
            last = next.day;
        }
        let (x, width, height) = (day.day.saturating_sub(first), last - day.day + 1, 20 - top);
        // Writing to a string does not fail.
        let _ = write!(path, "M{x} {top}h{width}v{height}h-{width}z");
    }
    path
}

/// What stands below a picture of a time.
fn ends(from: &str, to: &str) -> Markup {
    html! { div.ends.small aria-hidden="true" { span { (from) } span { (to) } } }
}

fn not_known(count: u64, one: &str) -> String {
    match count {
        0 => String::new(),
        count => format!(", not known of {}", counted(count, one)),
    }
}

/// What homes keep for each other; nothing where there is one home.
pub(super) fn ledger(lines: &[LedgerLine]) -> Markup {
    let most = lines
        .iter()
        .map(|line| line.gives_bytes.max(line.takes_bytes))
        .max();
    html! {
        @if let Some(most) = most {
            section aria-labelledby="ledger-title" {
                h2 #ledger-title { "Give and take" }
                div.card #live-ledger data-part {
                    dl.ledger {
                        @for line in lines {
                            dt { (line.zone) }
                            dd { (balance(line, most.max(1))) }
                        }
                    }
                    p.small {
                        "What a home keeps for the others, and they for it. Nobody notes who brought what: all that is stored "
                        "counts as belonging to all homes in equal parts, each copy as much as it takes on a disk."
                    }
                }
            }
        }
    }
}

/// A bar for what a home gives and one for what it takes.
fn balance(line: &LedgerLine, most: u64) -> Markup {
    let (gives, takes) = (size(line.gives_bytes), size(line.takes_bytes));
    let says = format!("{} gives {gives} and takes {takes}", line.zone);
    let percent = |bytes: u64| {
        let percent = u128::from(bytes) * 100 / u128::from(most);
        u64::try_from(percent).unwrap_or(100).max(u64::from(bytes > 0))
    };
    html! {
        svg.balance width="100%" height="18" role="img" aria-label=(says) {
            title { (says) }
            rect.gives width={ (percent(line.gives_bytes)) "%" } height="8" rx="4" {}
            rect.takes y="10" width={ (percent(line.takes_bytes)) "%" } height="8" rx="4" {}
        }
        span.small { "gives " (gives) " · takes " (takes) }
    }
}

/// How long the room lasts, by the box that is full first.
pub(super) fn lasting(past: &Past, homes: &[Home]) -> Markup {
    let full = homes
        .iter()
        .filter_map(|home| Some((past.full_in_days(home)?, home)));
    let first = full.min_by_key(|(days, _)| *days);
    html! {
        @match first {
            Some((0, home)) => { (home.name) " is full." }
            Some((days, home)) => { "At the pace of the last month " (home.name) " is full in " (counted(days, "day")) "." }
            None if homes.iter().any(|home| past.has_pace(home)) => { "At the pace of the last month no box fills soon." }
            None => { "How long the room lasts is known after three days." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::tests::home;

    const TODAY: u32 = 20_000;

    fn days(of: &[(u32, u32)]) -> BoxPast {
        let day = |&(ago, here): &(u32, u32)| DayPast {
            day: TODAY - ago,
            here_seconds: here,
            known_seconds: 100,
            used: None,
        };
        BoxPast {
            hours: Vec::new(),
            days: of.iter().map(day).collect(),
        }
    }

    #[test]
    fn the_strip_joins_days_and_what_nobody_knows_is_not_shown_as_away() {
        let past = days(&[(364, 100), (363, 100), (20, 0), (2, 50), (1, 100), (0, 100)]);
        let shown = strip(TODAY, &past, &home(1, "ben", None)).into_string();
        assert!(
            shown.contains("class=\"here\" d=\"M0 0h2v20h-2zM363 0h2v20h-2z\""),
            "{shown}"
        );
        assert!(
            shown.contains("class=\"partly\" d=\"M362 7h1v13h-1z\""),
            "{shown}"
        );
        assert!(shown.contains("class=\"away\" d=\"M344 14h1v6h-1z\""), "{shown}");
        let says = "ben in the last 12 months: here on 4 days, partly on 1, away on 1, not known of 359 days";
        assert!(shown.contains(&format!("<title>{says}</title>")), "{shown}");
        let nothing = strip(TODAY, &BoxPast::default(), &home(1, "ben", None)).into_string();
        assert!(!nothing.contains("<path") && nothing.contains("not known of 365 days"));
    }

    #[test]
    fn sparklines_go_up_and_down_and_leave_out_what_nobody_knows() {
        let hour = |ago, sent, received| HourPast {
            hour: TODAY * 24 - ago,
            sent,
            received,
        };
        let past = BoxPast {
            hours: vec![hour(23, 0, 1), hour(0, 1_000_000, 500_000)],
            days: Vec::new(),
        };
        let shown = sparklines(TODAY * 24, &past, &home(1, "ben", None)).into_string();
        assert!(shown.contains("class=\"up\" d=\"M231 22h8v-22h-8z\""), "{shown}");
        assert!(
            shown.contains("class=\"down\" d=\"M1 24h8v1h-8zM231 24h8v11h-8z\""),
            "{shown}"
        );
        assert!(
            shown.contains("class=\"known\" d=\"M0 22h10v2h-10zM230 22h10v2h-10z\""),
            "{shown}"
        );
        assert!(
            shown.contains("with this box in 24 hours: 1 MB up, 500 kB down, not known of 22 hours"),
            "{shown}"
        );
    }

    #[test]
    fn the_strip_of_the_worst_year_is_small() {
        let days = days(&(0..365).rev().map(|ago| (ago, ago % 3 * 50)).collect::<Vec<_>>());
        let shown = strip(TODAY, &days, &home(1, "ben", None)).into_string();
        assert!(shown.len() < 9_000, "{} bytes", shown.len());
    }

    #[test]
    fn how_long_the_room_lasts_is_said_only_where_it_is_known() {
        let check = |used: &[(u32, u64)], expected: &str| {
            let mut of = days(&used.iter().map(|(ago, _)| (*ago, 100)).collect::<Vec<_>>());
            for (day, (_, used)) in of.days.iter_mut().zip(used) {
                day.used = Some(*used);
            }
            let past = Past {
                hour: TODAY * 24,
                boxes: [(1, of)].into(),
            };
            let homes = [home(0, "anna", Some(1)), home(1, "ben", None)];
            assert_eq!(lasting(&past, &homes).into_string(), expected);
        };
        check(
            &[(1, 1), (0, 2)],
            "How long the room lasts is known after three days.",
        );
        check(
            &[(9, 2), (0, 2)],
            "At the pace of the last month no box fills soon.",
        );
        check(
            &[(10, 0), (0, 475_000_000_000)],
            "At the pace of the last month ben is full in 10 days.",
        );
        check(&[(10, 0), (0, 960_000_000_000)], "ben is full.");
    }

    #[test]
    fn the_ledger_is_said_in_words_and_drawn_to_one_scale() {
        let lines =
            Past::default().ledger(&[home(0, "anna", Some(4_000_000)), home(1, "ben", Some(2_000_000))]);
        let shown = ledger(&lines).into_string();
        assert!(shown.contains("anna gives 2 MB and takes 1 MB"), "{shown}");
        assert!(
            shown.contains("class=\"gives\" width=\"50%\"")
                && shown.contains("class=\"takes\" y=\"10\" width=\"100%\"")
        );
        assert_eq!(ledger(&[]).into_string(), "");
    }
}
