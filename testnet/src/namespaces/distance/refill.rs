//! A box loses its disk and joins anew: how fast it has everything again, and what that costs others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::super::home::within;
use super::super::town::{Standing, Town};
use super::goals::Found;
use super::operations::{Gateway, bytes_over, foreground};

/// How long the foreground is measured while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_QUICK: Duration = Duration::from_secs(3);
/// How soon the others may remove who is gone.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// How soon the box has everything again.
const FULL_WITHIN: Duration = Duration::from_secs(900);
/// How often its interface is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The beginning and the end of a refill are not its rate: nobody sends yet, or the last block is under way.
const COUNTED: std::ops::Range<f64> = 0.1..0.9;
const COMMAND_S: u32 = 30;
/// Objects written meanwhile are numbered from here on: those before were written by who was measured at rest.
const BUSY_FROM: u64 = 1 << 19;

/// Seconds since the box began to join, and bytes that had come in.
type Sample = (f64, f64);

/// Measures it; the link carries so many bytes per second, and so many are stored.
///
/// # Errors
/// The box does not come back, or a client is answered wrongly.
pub(super) fn refill(town: &mut Town, (link, stored): (f64, f64), quick: bool) -> Result<[Found; 2]> {
    let last = town.seats.len() - 1;
    let (home, signer) = (town.street.namespace(0), town.signer.clone());
    let gateway = Gateway {
        number: 0,
        namespace: home,
        signer: &signer,
    };
    let beside = |from: u64, work: &mut dyn FnMut() -> Result<Vec<Sample>>| {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| foreground(&gateway, from, &is_over));
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            let took = asking.join().map_err(|_| anyhow!("the client died"))?;
            Ok::<_, anyhow::Error>((done?, took?))
        })
    };
    let (_, idle) = beside(0, &mut || {
        thread::sleep(if quick { IDLE_QUICK } else { IDLE });
        Ok(Vec::new())
    })?;
    lose(town, last)?;
    println!("  a box has lost its disk, and was removed");
    let (samples, busy) = beside(BUSY_FROM, &mut || come_back(town, last))?;
    let (from, to) = most_of(&samples).context("nothing was sent to the box that came back")?;
    println!("  most of it came from {:.1} to {:.1} s", from.0, to.0);
    let rate = (to.1 - from.1) / (to.0 - from.0);
    let received = samples.last().zip(samples.first());
    let received = received.map_or(f64::NAN, |(last, first)| last.1 - first.1);
    // What came more than once fills the link, and not the box.
    let useful = (stored / received).min(1.0);
    let note = format!("{:.0} MB came for {:.0} MB", received / 1e6, stored / 1e6);
    Ok([
        Found::refill(rate * useful, link, note),
        Found::foreground(&idle, &busy),
    ])
}

fn lose(town: &mut Town, number: usize) -> Result<()> {
    let seat = &mut town.seats[number];
    seat.home.kill();
    seat.disk.wipe()?;
    (seat.standing, seat.is_on) = (Standing::Spare, false);
    let name = format!("box{number}");
    let gone = within(GONE_WITHIN, || {
        let said = town.seats[0]
            .home
            .tell(&["peer", "remove", &name, "--lose-data"], COMMAND_S)?;
        Ok(said.code == 0)
    })?;
    gone.map(drop).context("the lost box is not removed")
}

/// Has the box join, and looks at its interface until all is well.
fn come_back(town: &mut Town, number: usize) -> Result<Vec<Sample>> {
    let namespace = town.street.namespace(number);
    let is_well = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (began, mut samples) = (Instant::now(), Vec::new());
            while !is_well.load(Ordering::Relaxed) {
                samples.push((began.elapsed().as_secs_f64(), bytes_over(&namespace, "rx_bytes")?));
                thread::sleep(LOOK_EVERY);
            }
            Ok(samples)
        });
        let came = (|| {
            let joined = town.join(0)?;
            ensure!(joined == Some(number), "the wiped box is not let in");
            let took = town.is_well(FULL_WITHIN)?;
            println!("  all is well again {:.1} s after it joined", took.as_secs_f64());
            Ok(())
        })();
        is_well.store(true, Ordering::Relaxed);
        let samples = looking.join().map_err(|_| anyhow!("a thread died"))?;
        came.and(samples)
    })
}

/// When most of the bytes came in: from here, and to there.
fn most_of(samples: &[Sample]) -> Option<(Sample, Sample)> {
    let (first, last) = (samples.first()?.1, samples.last()?.1);
    let at = |share: f64| {
        let bytes = first + share * (last - first);
        samples.iter().find(|sample| sample.1 >= bytes).copied()
    };
    let (from, to) = (at(COUNTED.start)?, at(COUNTED.end)?);
    (to.0 > from.0).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_refill_is_that_of_its_middle() {
        // Nothing for ten seconds, then 100 bytes a second for ten, then nothing again.
        let samples: Vec<_> = (0..300_u32)
            .map(|tenth| {
                let second = f64::from(tenth) / 10.0;
                (second, 5000.0 + (second - 10.0).clamp(0.0, 10.0) * 100.0)
            })
            .collect();
        let (from, to) = most_of(&samples).unwrap();
        assert!(
            (from.0 - 11.0).abs() < 0.11 && (to.0 - 19.0).abs() < 0.11,
            "{from:?} {to:?}"
        );
        assert_eq!(most_of(&[(0.0, 5.0), (1.0, 5.0)]), None);
    }
}
