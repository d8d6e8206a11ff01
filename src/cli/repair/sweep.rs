//! `warren repair sweep`: has all boxes free the blocks that nothing refers to, and waits until they have.

use std::collections::BTreeMap;
use std::time::Duration;

use appliance::api::{AskSweep, Schema, SweepBox, SweepShown, SweepWaits};
use hyper::Method;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::super::failure::{Exit, Failure};
use super::super::output::{Mark, Output};
use crate::admin_client::{AdminClient, AskError};

/// How long before the node is asked again.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Where nothing but boxes that are away is waited for, they are given so long to come back.
const AWAY: Duration = Duration::from_secs(60);
/// How long the node may say that too few boxes answer: one that just started is not connected yet.
const TOO_FEW: Duration = Duration::from_secs(60);

/// What was done, as a document.
#[derive(Serialize)]
struct Done<'a> {
    schema: Schema,
    removed: u64,
    boxes: &'a [SweepBox],
}

pub(super) async fn run(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let (mut until, mut freed, mut said) = (None, Freed::default(), String::new());
    let (mut answered, mut at_work) = (Instant::now(), Instant::now());
    loop {
        let asked = AskSweep {
            schema: Schema,
            until,
        };
        match client
            .send::<SweepShown>(Method::POST, &["repair", "sweep"], &asked)
            .await
        {
            Ok(swept) => {
                answered = Instant::now();
                until = Some(swept.until);
                freed.take(&swept.boxes);
                if swept.done {
                    return Ok(done(&swept, freed.removed, out)?);
                }
                let waits = waited_for(&swept.boxes);
                if waits != said {
                    out.note(&waits);
                    said = waits;
                }
                if is_someone_here(&swept.boxes) {
                    at_work = Instant::now();
                }
                if at_work.elapsed() > AWAY {
                    let failure =
                        Failure::new(Exit::Timeout, format!("not all boxes have freed them: {said}"));
                    return Err(failure.hint("each does when it is back"));
                }
            }
            Err(AskError::Problem(problem))
                if problem.code == "too-few-answer" && answered.elapsed() < TOO_FEW => {}
            Err(error) => return Err(error.into()),
        }
        sleep(ASK_EVERY).await;
    }
}

fn done(swept: &SweepShown, removed: u64, out: &Output) -> std::io::Result<Exit> {
    if out.json {
        out.document(&Done {
            schema: Schema,
            removed,
            boxes: &swept.boxes,
        })?;
    } else {
        let blocks = match removed {
            0 => "nothing was left behind".into(),
            1 => "1 block that nothing referred to is gone".into(),
            more => format!("{more} blocks that nothing referred to are gone"),
        };
        let boxes = match swept.boxes.len() {
            1 => String::new(),
            boxes => format!(", as all {boxes} boxes say"),
        };
        out.note(&format!("{} {blocks}{boxes}", out.mark(Mark::Good)));
    }
    Ok(Exit::Ok)
}

/// What boxes freed since the first answer; each counts from its start.
#[derive(Default)]
struct Freed {
    last: BTreeMap<u32, u64>,
    removed: u64,
}

impl Freed {
    fn take(&mut self, boxes: &[SweepBox]) {
        for one in boxes {
            let Some(freed) = one.freed else { continue };
            if let Some(last) = self.last.insert(one.member, freed) {
                // Whoever has started anew meanwhile counts from zero.
                self.removed += if freed < last { freed } else { freed - last };
            }
        }
    }
}

/// Whether somebody is waited for who can do something.
fn is_someone_here(boxes: &[SweepBox]) -> bool {
    let waits = boxes.iter().filter_map(|one| one.waits);
    let mut able = waits.filter(|waits| !matches!(waits, SweepWaits::Away | SweepWaits::RowsLost));
    let is_mute = |one: &SweepBox| matches!(one.waits, Some(SweepWaits::Away | SweepWaits::RowsLost));
    let is_somebody_mute = boxes.iter().any(is_mute);
    // Nobody knows what the rows name of a box that is away, or has lost some: who holds what it would have to tell waits for it.
    able.any(|waits| waits == SweepWaits::Writing || !is_somebody_mute)
}

/// Who is waited for, in words.
fn waited_for(boxes: &[SweepBox]) -> String {
    let waits = boxes.iter().filter_map(|one| {
        let why = match one.waits? {
            SweepWaits::Away => "is away",
            SweepWaits::RowsLost => "has lost rows, see `warren status`",
            SweepWaits::Writing => "has writes under way",
            SweepWaits::Sweeping => "is at it",
        };
        Some(format!("{} {why}", one.name))
    });
    waits.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(member: u32, freed: u64, waits: Option<SweepWaits>) -> SweepBox {
        SweepBox {
            name: format!("box{member}"),
            member,
            freed: Some(freed),
            held: None,
            waits,
        }
    }

    #[test]
    fn what_is_freed_is_counted_across_restarts() {
        let mut freed = Freed::default();
        freed.take(&[one(1, 70, None), one(2, 5, None)]);
        freed.take(&[one(1, 73, None), one(2, 2, None)]);
        freed.take(&[one(1, 73, None), one(2, 4, None)]);
        assert_eq!(freed.removed, 3 + 2 + 2);
    }

    #[test]
    fn only_boxes_that_are_away_are_not_waited_for_without_end() {
        let (away, at_it) = (Some(SweepWaits::Away), Some(SweepWaits::Sweeping));
        assert!(is_someone_here(&[one(1, 0, at_it), one(2, 0, None)]));
        assert!(is_someone_here(&[
            one(1, 0, Some(SweepWaits::Writing)),
            one(2, 0, away)
        ]));
        assert!(!is_someone_here(&[one(1, 0, None), one(2, 0, away)]));
        for mute in [away, Some(SweepWaits::RowsLost)] {
            assert!(!is_someone_here(&[one(1, 0, at_it), one(2, 0, mute)]));
        }
        assert_eq!(
            waited_for(&[one(1, 0, at_it), one(2, 0, away), one(3, 0, None)]),
            "box1 is at it; box2 is away"
        );
    }
}
