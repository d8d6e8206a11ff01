//! A mesh of real boxes, each at home in a street, that grows and shrinks as people make it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::disk::Disk;
use super::home::{Home, Said, within};
use super::street::Street;
use super::tamper::{Library, Tampered};
use crate::client::Signer;

/// How large the disk of a box is, in MiB.
const DISK_MIB: u64 = 1024;
/// How soon a mesh that was just made is well.
const WELL_WITHIN: Duration = Duration::from_secs(300);
/// How long any command may take, in seconds.
const COMMAND_S: u32 = 20;
/// How long a box may need to knock and be let in, in seconds.
const JOIN_S: u32 = 45;
/// Between two looks at how the boxes are.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The exit code that says: not now.
const CONFLICT: i32 = 6;

/// What a home has to do with the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: its box is new, or was wiped.
    Spare,
    /// Its box was given this invite, and may have used it.
    Joining(String),
    Member,
    /// It hands over, to leave.
    Leaving,
}

/// A home and its box.
pub(super) struct Seat {
    pub(super) home: Home,
    pub(super) disk: Disk,
    /// None where nothing can be loaded into its box.
    pub(super) tampered: Option<Tampered>,
    pub(super) standing: Standing,
    /// What its box is called; another name each time it joins.
    name: String,
    /// Whether its box is to run.
    pub(super) is_on: bool,
}

/// Homes with boxes.
pub(super) struct Town {
    // Before the street, since boxes end before their namespaces do.
    pub(super) seats: Vec<Seat>,
    pub(super) street: Street,
    names: usize,
    /// A key that may do everything with the bucket.
    pub(super) signer: Signer,
}

impl Town {
    /// Founds a mesh of so many boxes with one key and one bucket, and waits until it is well; more homes have boxes that
    /// are no members.
    ///
    /// # Errors
    /// Something does not work that nothing disturbs.
    pub(super) fn found(
        (program, folder): (&Path, &Path),
        (members, spares): (usize, usize),
        bucket: &str,
    ) -> Result<Self> {
        let street = Street::build(members + spares).context("build the street")?;
        let library = Library::compile(folder)?;
        let mut seats = Vec::new();
        for number in 0..members + spares {
            let own = folder.join(format!("box{number}"));
            let mut home = Home::new(street.namespace(number), own.clone(), program)?;
            let disk = Disk::mount(home.disk(), DISK_MIB)?;
            home.set("WARREN_ZONE", &format!("home{number}"));
            let tampered = library
                .as_ref()
                .map(|library| library.load_into(&mut home, &own.join("tamper")));
            seats.push(Seat {
                home,
                disk,
                tampered: tampered.transpose()?,
                standing: Standing::Spare,
                name: format!("box{number}"),
                is_on: false,
            });
        }
        let first = seats.first_mut().context("a mesh of nobody")?;
        first.home.start(&[])?;
        (first.standing, first.is_on) = (Standing::Member, true);
        let signer = first.home.signer()?;
        first.home.say(&["bucket", "create", bucket, "--owner", "lab"])?;
        let mut town = Self {
            seats,
            street,
            names: 0,
            signer,
        };
        for number in 1..members {
            let (one, rest) = town.seats.split_at_mut(1);
            let (first, seat) = (&one[0], &mut rest[number - 1]);
            seat.home.join(&first.home, &seat.name)?;
            seat.home.start(&[])?;
            (seat.standing, seat.is_on) = (Standing::Member, true);
        }
        let first = &town.seats[0].home;
        first.say(&["peer", "rename", "1", "box0"])?;
        // Whoever is not connected yet would be given no share.
        let met = within(WELL_WITHIN, || Ok(online(&first.say(&["status"])?) == members))?;
        met.context("the boxes do not meet")?;
        first.say(&["layout", "settle"])?;
        town.is_well(WELL_WITHIN)
            .context("the mesh is not well although nothing disturbs it")?;
        town.forget_useless_tampering()?;
        Ok(town)
    }

    /// A program that is linked statically loads no library.
    fn forget_useless_tampering(&mut self) -> Result<()> {
        let first = self.seats.first().and_then(|seat| seat.tampered.as_ref());
        if !first.map_or(Ok(false), Tampered::is_loaded)? {
            for seat in &mut self.seats {
                seat.tampered = None;
            }
        }
        Ok(())
    }

    /// Those that are members, and are not about to leave.
    pub(super) fn members(&self) -> Vec<usize> {
        let numbered = self.seats.iter().enumerate();
        let members = numbered.filter(|(_, seat)| seat.standing == Standing::Member);
        members.map(|(number, _)| number).collect()
    }

    /// A member by its place among them, counted around.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn member(&self, place: usize) -> Result<usize> {
        let members = self.members();
        ensure!(!members.is_empty(), "nobody is a member");
        Ok(members[place % members.len()])
    }

    /// Waits until every member says that all is well; how long that took.
    ///
    /// # Errors
    /// One does not in that time; says why.
    pub(super) fn is_well(&self, ever: Duration) -> Result<Duration> {
        let began = Instant::now();
        let mut left = self.members();
        let mut why = Value::Null;
        while let Some(&number) = left.last() {
            let said = self.seats[number].home.tell(&["status"], COMMAND_S)?;
            if said.code == 0 {
                left.pop();
            } else if began.elapsed() > ever {
                bail!("box {number} is not well ({}): {why:#} {}", said.code, said.error);
            } else {
                why = said.document["problems"].clone();
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(began.elapsed())
    }

    /// Starts whatever is to run and does not: which, and whether it ended by itself.
    ///
    /// # Errors
    /// One cannot be started.
    pub(super) fn start_all(&mut self) -> Result<Vec<(usize, bool)>> {
        let mut started = Vec::new();
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if seat.is_on && !seat.home.is_running()? {
                started.push((number, !seat.home.is_killed()));
                seat.home.launch()?;
            }
        }
        Ok(started)
    }

    /// Has a spare box join through a member; whether it did. Where that is not known, it is tried again later with the same
    /// invite.
    ///
    /// # Errors
    /// A command cannot be run.
    pub(super) fn join(&mut self, through: usize) -> Result<Option<usize>> {
        let spare = self
            .seats
            .iter()
            .position(|seat| seat.standing == Standing::Spare);
        let Some(spare) = spare else { return Ok(None) };
        let said = self.seats[through].home.tell(&["invite"], COMMAND_S)?;
        let Some(token) = said.document["token"].as_str() else {
            return Ok(None);
        };
        self.names += 1;
        let seat = &mut self.seats[spare];
        seat.name = format!("box{spare}-{}", self.names);
        seat.standing = Standing::Joining(token.to_owned());
        let is_in = self.go_on_joining(spare, through)?;
        Ok(is_in.then_some(spare))
    }

    /// Tries to use the invite that a box was given; whether it is a member now.
    ///
    /// # Errors
    /// A command cannot be run.
    pub(super) fn go_on_joining(&mut self, number: usize, through: usize) -> Result<bool> {
        let seat = &mut self.seats[number];
        let Standing::Joining(token) = &seat.standing else {
            return Ok(false);
        };
        let words = [
            "join",
            token,
            "--name",
            &seat.name,
            "--zone",
            &format!("home{number}"),
        ];
        let said = seat.home.tell(&words, JOIN_S)?;
        if said.code != 0 {
            println!("  box {number} is not let in yet: {} ({})", said.error, said.code);
            return Ok(false);
        }
        seat.home.launch()?;
        (seat.standing, seat.is_on) = (Standing::Member, true);
        // It has its share at the latest in ten minutes; people would wait. Before they are connected it would get none.
        let (name, through) = (seat.name.clone(), &self.seats[through].home);
        let settled = within(Duration::from_secs(u64::from(COMMAND_S)), || {
            let status = through.tell(&["status"], COMMAND_S)?.document;
            Ok(is_online(&status, &name) && through.tell(&["layout", "settle"], COMMAND_S)?.code == 0)
        })?;
        if settled.is_none() {
            println!("  box {number} has no share yet");
        }
        Ok(true)
    }

    /// Has a box leave, for at most so long; whether it has.
    ///
    /// # Errors
    /// A command cannot be run.
    pub(super) fn leave(&mut self, number: usize, ever: Duration) -> Result<bool> {
        self.seats[number].standing = Standing::Leaving;
        let mut last = None;
        let gone = within(ever, || {
            let said = self.seats[number].home.tell(&["leave"], COMMAND_S)?;
            let is_gone = said.code == 0 || said.code != CONFLICT && self.is_gone(number)?;
            last = Some(said);
            Ok(is_gone)
        })?;
        if gone.is_none() {
            let Said { code, error, .. } = last.context("nothing was said")?;
            println!("  box {number} has not left yet: {error} ({code})");
            return Ok(false);
        }
        let seat = &mut self.seats[number];
        seat.home.kill();
        seat.disk.wipe()?;
        (seat.standing, seat.is_on) = (Standing::Spare, false);
        Ok(true)
    }

    /// Whether a member says that a box is none.
    fn is_gone(&self, number: usize) -> Result<bool> {
        let name = &self.seats[number].name;
        let other = self.member(0)?;
        let said = self.seats[other].home.tell(&["status"], COMMAND_S)?;
        let homes = said.document["homes"].as_array();
        Ok(homes.is_some_and(|homes| !homes.iter().any(|home| home["name"] == name.as_str())))
    }
}

/// Whether a box is online, by what another says.
fn is_online(status: &Value, name: &str) -> bool {
    let homes = status["homes"].as_array().map_or(&[][..], Vec::as_slice);
    homes
        .iter()
        .any(|home| home["name"] == name && home["online"] == true)
}

/// How many boxes are online, by what one says.
pub(super) fn online(status: &Value) -> usize {
    let homes = status["homes"].as_array().map_or(&[][..], Vec::as_slice);
    homes.iter().filter(|home| home["online"] == true).count()
}
