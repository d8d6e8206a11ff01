//! Measures a mesh of real boxes whose homes are far from each other, beside what the links themselves give in the same run:
//! a round trip over bare TCP, and a bare TCP copy.

mod goals;
mod limits;
mod operations;
mod refill;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::goals::{Found, Report};
use self::operations::Gateway;
use super::evidence::keep_if_wrong;
use super::lab::run_in;
use super::street::Street;
use super::town::Town;
use super::wire::Quality;
use super::{disk, lab};
use crate::bench::find_or_build;

/// The bucket that everything happens in.
const BUCKET: &str = "far";
/// Fewer homes have no majority that one of them can be away from, and more than these no disk on this machine.
const HOMES: std::ops::RangeInclusive<usize> = 3..=12;
/// Homes differ in how far they are by this share of the round trip, to either side.
const SPREAD: f64 = 0.2;
/// How soon a mesh of far homes is well.
const WELL_WITHIN: Duration = Duration::from_secs(300);

/// What to measure.
pub(crate) struct Far<'a> {
    /// Homes with a box each.
    pub(crate) homes: usize,
    /// The round trip between two of them, in milliseconds, more or less a fifth of it.
    pub(crate) rtt_ms: f64,
    /// What each home's link carries in each direction, in megabits per second.
    pub(crate) rate_mbit: f64,
    /// A fast pass that shows that everything works.
    pub(crate) quick: bool,
    /// A folder for the disks of the boxes.
    pub(crate) dir: &'a Path,
    /// Where everything measured is written.
    pub(crate) json: Option<&'a Path>,
    /// Whether to fail when a goal is missed.
    pub(crate) check: bool,
}

/// Measures and prints what was found, with the goals beside it.
///
/// # Errors
/// The lab refuses, or a box answers wrongly.
pub(crate) fn bench(far: &Far<'_>) -> Result<ExitCode> {
    if let Some(obstacle) = lab::obstacle() {
        println!("SKIPPED bench --mesh: {obstacle}");
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        HOMES.contains(&far.homes),
        "--mesh takes {} to {} homes",
        HOMES.start(),
        HOMES.end()
    );
    ensure!(
        far.rtt_ms > 0.0 && far.rate_mbit > 0.0,
        "--rtt and --rate must be more than 0"
    );
    let program = find_or_build()?;
    disk::mount_in_private()?;
    let mut missed = 0;
    let broken = keep_if_wrong(("bench-mesh", 0, far.dir), |folder| {
        let mut town = Town::found((&program, folder), (far.homes, 0), BUCKET)?;
        let report = measure(&mut town, far)?;
        report.print();
        if let Some(path) = far.json {
            report.write(path)?;
        }
        missed = report.missed();
        Ok(Vec::new())
    })?;
    Ok(match broken > 0 || far.check && missed > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn measure(town: &mut Town, far: &Far<'_>) -> Result<Report> {
    // Near each other the first home fills a bucket fast, and so becomes the holder of every partition.
    operations::fill(&town.street.namespace(0), &town.signer)?;
    let control = move_apart(&town.street, far)?;
    town.is_well(WELL_WITHIN).context("far from each other")?;
    let mut report = Report::new((far.homes, far.rtt_ms, far.rate_mbit), control);
    let counts = operations::Counts::of(far.quick);
    let gateway = |number| Gateway {
        number,
        namespace: town.street.namespace(number),
        signer: &town.signer,
    };
    operations::settle(&gateway(0), counts)?;
    for home in 0..far.homes {
        let round_trips = limits::round_trips(&town.street, home, far.homes)?;
        let gateway = gateway(home);
        println!(
            "  home {home}: its nearest is {:.1} ms away",
            round_trips.nearest_ms()
        );
        for (operation, latencies) in gateway.ask_one_after_the_other(counts)? {
            report.add(Found::latency((home, operation), &latencies, &round_trips));
        }
    }
    let uplink = limits::copy(&town.street, 0, 1)?;
    report.add(Found::link(uplink, far.rate_mbit));
    for found in operations::upload((&town.street, &town.signer), uplink, counts)? {
        report.add(found);
    }
    town.is_well(WELL_WITHIN).context("after large uploads")?;
    let stored = operations::bytes_stored(far.homes, counts);
    for found in refill::refill(town, (uplink, stored), far.quick)? {
        report.add(found);
    }
    Ok(report)
}

/// Gives every home its distance and its rate, and has its TCP behave as the image and the packages set it; the name of the
/// congestion control it got.
fn move_apart(street: &Street, far: &Far<'_>) -> Result<&'static str> {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    let has_bbr = known.is_ok_and(|known| known.split_whitespace().any(|name| name == "bbr"));
    for home in 0..far.homes {
        if has_bbr {
            let setting = "net.ipv4.tcp_congestion_control=bbr";
            run_in(&street.namespace(home), &["sysctl", "-qw", setting], "")?;
        }
        let quality = Quality {
            // A round trip passes two links, each in both directions.
            delay: Duration::from_secs_f64(share_of(home, far.homes) * far.rtt_ms / 4.0 / 1e3),
            loss_percent: 0.0,
            rate_mbit: far.rate_mbit,
        };
        street.set_link(home, quality);
    }
    Ok(if has_bbr { "BBR" } else { "the kernel's default" })
}

/// How far a home is from the middle: 1 on average, and so that the two nearest and the two farthest homes are as far from
/// each other as the spread says.
fn share_of(home: usize, homes: usize) -> f64 {
    let count = |number: usize| u32::try_from(number).map_or(f64::INFINITY, f64::from);
    let step = 2.0 * SPREAD / (count(homes) - 2.0);
    1.0 - SPREAD - step / 2.0 + step * count(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_as_far_from_each_other_as_the_spread_allows_and_no_farther() {
        for homes in HOMES {
            let pairs = (0..homes).flat_map(|one| (one + 1..homes).map(move |other| (one, other)));
            let round_trips: Vec<_> = pairs
                .map(|(one, other)| (share_of(one, homes) + share_of(other, homes)) / 2.0)
                .collect();
            let (least, most) = (
                round_trips.iter().copied().fold(f64::INFINITY, f64::min),
                round_trips.iter().copied().fold(0.0, f64::max),
            );
            assert!(
                (least - 0.8).abs() < 1e-9 && (most - 1.2).abs() < 1e-9,
                "{homes}: {round_trips:?}"
            );
        }
    }
}
