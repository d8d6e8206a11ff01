//! The stories: what goes wrong, what people see and do, and how it ends.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::home::within;
use super::super::town::{Standing, Town};
use super::belongings::Belongings;
use super::locked::Archive;

/// One story; it is given how long somebody is away in it.
pub(super) type Story = fn(&mut Town, &mut Belongings, Duration) -> Result<Verdict>;

/// How a story ended that is kept.
pub(super) enum Verdict {
    Kept,
    /// It cannot be played here, and why.
    Skipped(&'static str),
}

/// How soon people are told that something is wrong, and see that it is good again.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// How soon all is well again by itself.
const WELL_WITHIN: Duration = Duration::from_secs(300);
/// How long any command may take, in seconds.
const COMMAND_S: u32 = 30;
/// Bytes of an object that needs room for blocks.
const LARGE_BYTES: usize = 1_300_000;
/// Bytes of one that fits into a row.
const SMALL_BYTES: usize = 100;
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
/// So many bytes of a disk go bad.
const DAMAGED_BYTES: usize = 4096;
/// How soon a box that has just started has heard of the clocks of others.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// The status of an answer that says: not now.
const UNAVAILABLE: u16 = 503;
/// And of one to a request whose clock differs.
const REFUSED: u16 = 403;

/// A part of a disk goes bad. Reading everything once finds it, says so and mends it, and whoever reads gets the right bytes.
pub(super) fn damaged_block(town: &mut Town, things: &mut Belongings, _: Duration) -> Result<Verdict> {
    let file = largest_below(&town.seats[1].home.disk().join("state/blocks"))?;
    damage(&file.context("box 1 has no blocks")?)?;
    // In whole seconds it would look as if the last pass had been this one.
    std::thread::sleep(Duration::from_secs(1));
    let before = say(town, 1, &["scrub", "status"])?["finished"].clone();
    say(town, 1, &["scrub", "start"])?;
    let mut scrub = Value::Null;
    let verified = within(WELL_WITHIN, || {
        scrub = say(town, 1, &["scrub", "status"])?;
        Ok(scrub["began"].is_null() && scrub["finished"] != before)
    })?;
    verified.context("the blocks are not all verified")?;
    ensure!(
        scrub["damaged"].as_u64() > Some(0),
        "nobody is told that a block is damaged: {scrub}"
    );
    println!("    {} blocks or frames found damaged", scrub["damaged"]);
    things.are_all_there(town, &[1])?;
    is_well(town)?;
    Ok(Verdict::Kept)
}

/// A box loses its disk. The others say that it is away; its owner removes what is gone and has it join anew.
pub(super) fn wiped_box(town: &mut Town, things: &mut Belongings, _: Duration) -> Result<Verdict> {
    town.seats[2].home.kill();
    town.seats[2].disk.wipe()?;
    (town.seats[2].standing, town.seats[2].is_on) = (Standing::Spare, false);
    tells(town, 0, "box2 is away")?;
    things.store(town, &[0, 1])?;
    let gone = within(TOLD_WITHIN, || {
        let said = town.seats[0]
            .home
            .tell(&["peer", "remove", "box2", "--lose-data"], COMMAND_S)?;
        Ok(said.code == 0)
    })?;
    gone.context("the lost box is not removed")?;
    let joined = town.join(0)?;
    ensure!(joined == Some(2), "the wiped box is not let in");
    are_in_homes(town, 3)?;
    things.store(town, &[2])?;
    Ok(Verdict::Kept)
}

/// A disk fills up. Its box says so; what it acknowledges nevertheless is there, everything can be read, and the others store on.
pub(super) fn full_disk(town: &mut Town, things: &mut Belongings, _: Duration) -> Result<Verdict> {
    town.seats[1].disk.fill()?;
    let answered = things.store_one(town, 1, LARGE_BYTES, 0)?;
    println!("    the full box answers {answered} to something large");
    tells(town, 1, "the disk is full")?;
    things.are_all_there(town, &[0, 1, 2])?;
    let stored = within(TOLD_WITHIN, || {
        Ok(things.store_one(town, 0, LARGE_BYTES, 0)? == 200)
    })?;
    stored.context("the other boxes store nothing")?;
    town.seats[1].disk.free()?;
    is_well(town)?;
    things.store(town, &[1])?;
    Ok(Verdict::Kept)
}

/// A clock is a year ahead. Every box names the one that is; it refuses requests of the right time, and nothing becomes old:
/// what is locked until tomorrow stays, also where that box has to decide, and also when it has just been started.
pub(super) fn clock_ahead(town: &mut Town, things: &mut Belongings, _: Duration) -> Result<Verdict> {
    let Some(tampered) = &town.seats[1].tampered else {
        return Ok(Verdict::Skipped(
            "no C compiler, or a program that loads no library",
        ));
    };
    let archive = Archive::store(town, 0)?;
    tampered.set_clock(YEAR_MS)?;
    archive.stays(town, 1, YEAR_MS)?;
    for asked in [0, 1] {
        // 364 or 365 days: answers take a moment.
        tells(town, asked, "the clock of box1 is 36")?;
    }
    let answered = things.store_one(town, 1, SMALL_BYTES, 0)?;
    ensure!(
        answered == REFUSED,
        "a request of another year is answered with {answered}"
    );
    let answered = things.store_one(town, 1, LARGE_BYTES, YEAR_MS)?;
    ensure!(
        answered == 200,
        "a request of its own time is answered with {answered}"
    );
    things.store(town, &[0, 2])?;
    things.are_all_there(town, &[0, 2])?;
    archive.stays(town, 1, YEAR_MS)?;
    // Whoever decided until now has gone, and this one has to, right after its start and when it has heard of other clocks.
    town.seats[0].home.kill();
    town.seats[1].home.kill();
    town.seats[1].home.start_in(|_| Ok(()))?;
    archive.stays(town, 1, YEAR_MS)?;
    std::thread::sleep(HEARD_WITHIN);
    archive.stays(town, 1, YEAR_MS)?;
    town.seats[0].home.start_in(|_| Ok(()))?;
    archive.is_there(town, &[0, 2])?;
    if let Some(tampered) = &town.seats[1].tampered {
        tampered.set_clock(0)?;
    }
    is_well(town)?;
    archive.is_there(town, &[0, 1, 2])?;
    things.store(town, &[1, 0])?;
    Ok(Verdict::Kept)
}

/// A home leaves. What only it would have is handed over first; the others are well without it.
pub(super) fn home_leaves(town: &mut Town, things: &mut Belongings, _: Duration) -> Result<Verdict> {
    let left = town.leave(2, WELL_WITHIN)?;
    ensure!(left, "it hands over for ever");
    are_in_homes(town, 2)?;
    things.store(town, &[0, 1])?;
    Ok(Verdict::Kept)
}

/// Of two homes the one with the tie-break goes on alone, and the other says that it cannot; together they converge.
pub(super) fn one_of_two_away(town: &mut Town, things: &mut Belongings, away: Duration) -> Result<Verdict> {
    town.street.wall(0, 1)?;
    town.street.wall(1, 0)?;
    tells(town, 0, "box1 is away")?;
    // Who was started last may have handed it over.
    let answered = things.store_one(town, 0, SMALL_BYTES, 0)?;
    let (decides, waits) = if answered == 200 { (0, 1) } else { (1, 0) };
    println!("    box {decides} has the tie-break");
    let began = std::time::Instant::now();
    let mut stored = 0;
    while began.elapsed() < away || stored == 0 {
        let answered = things.store_one(town, decides, [SMALL_BYTES, LARGE_BYTES][stored % 2], 0)?;
        ensure!(answered == 200, "the home with the tie-break answers {answered}");
        let answered = things.read_one(town, decides)?;
        ensure!(answered == 200, "and {answered} to who reads");
        stored += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("    {stored} objects stored by one of two homes");
    // The other must not decide anything, and says so.
    let answered = things.store_one(town, waits, SMALL_BYTES, 0)?;
    ensure!(answered == UNAVAILABLE, "the other home answers {answered}");
    tells(town, 1, "box0 is away")?;
    town.street.open()?;
    is_well(town)?;
    things.store(town, &[1, 0])?;
    Ok(Verdict::Kept)
}

/// Waits until all members say that all is well.
fn is_well(town: &Town) -> Result<()> {
    let took = town.is_well(WELL_WITHIN)?;
    println!("    all is well after {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Waits until all members say that everything is in so many homes, and that there are no more.
fn are_in_homes(town: &Town, homes: usize) -> Result<()> {
    for number in town.members() {
        let mut last = Value::Null;
        let took = within(WELL_WITHIN, || {
            let (code, said) = status(town, number)?;
            last = said["copies"].clone();
            let members = said["homes"].as_array().map_or(0, Vec::len);
            Ok(code == 0 && members == homes && last["least"] == homes)
        })?;
        let took =
            took.with_context(|| format!("box {number} says that not all is in {homes} homes: {last}"))?;
        println!(
            "    box {number} says that all is in {homes} homes after {:.1} s",
            took.as_secs_f64()
        );
    }
    Ok(())
}

/// Waits until the status of a box names this problem, and is not well.
fn tells(town: &Town, number: usize, problem: &str) -> Result<()> {
    let mut last = Value::Null;
    let told = within(TOLD_WITHIN, || {
        let (code, said) = status(town, number)?;
        last = said["problems"].clone();
        let problems = last.as_array().map_or(&[][..], Vec::as_slice);
        let is_told = problems
            .iter()
            .any(|one| one.as_str().is_some_and(|one| one.starts_with(problem)));
        Ok(is_told && code != 0)
    })?;
    let told = told.with_context(|| format!("box {number} does not say that {problem}, but {last}"))?;
    println!(
        "    box {number} says that {problem} after {:.1} s",
        told.as_secs_f64()
    );
    Ok(())
}

/// What a box says of itself, and the exit code.
fn status(town: &Town, number: usize) -> Result<(i32, Value)> {
    let said = town.seats[number].home.tell(&["status"], COMMAND_S)?;
    Ok((said.code, said.document))
}

fn say(town: &Town, number: usize, words: &[&str]) -> Result<Value> {
    town.seats[number].home.say(words)
}

/// The largest file in a folder and those in it.
fn largest_below(folder: &Path) -> Result<Option<PathBuf>> {
    let mut largest = None;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let (path, about) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            match about.is_dir() {
                true => folders.push(path),
                false => largest = largest.max(Some((about.len(), path))),
            }
        }
    }
    Ok(largest.map(|(_, path)| path))
}

/// Turns bytes in the middle of a file into others.
fn damage(file: &Path) -> Result<()> {
    let open = File::options().read(true).write(true).open(file)?;
    let middle = open.metadata()?.len() / 2;
    let mut bytes = [0; DAMAGED_BYTES];
    open.read_exact_at(&mut bytes, middle)
        .context("read what is damaged")?;
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    open.write_all_at(&bytes, middle).context("damage a block")
}
