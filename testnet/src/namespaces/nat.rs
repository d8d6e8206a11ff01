//! Two homes behind routers and a server between them: they meet, lose the server, change addresses, and find each other again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::boxes::Driven;
use super::lab::{Lab, Nat, PORT, Place, SERVER};
use super::wire::Quality;

/// How long anything may take before it counts as never.
pub(super) const EVER: Duration = Duration::from_secs(90);
/// How soon homes behind routers that allow it are to be connected without a relay.
pub(super) const DIRECT_WITHIN: Duration = Duration::from_secs(3);
/// How soon a direct path that died is there again once it can be: both ends must try within the same half minute.
const BACK_WITHIN: Duration = Duration::from_secs(180);
/// How long a direct path is waited for where none is promised.
const DIRECT_PERHAPS: Duration = Duration::from_secs(5);
/// What is sent to see how fast a path is.
const BLOCK_BYTES: usize = 1 << 20;

/// What two kinds of routers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Direct,
    Relayed,
}

/// The pairs to try, and what was measured to be possible between them.
const PAIRS: [(Nat, Nat, Promise); 5] = [
    (Nat::Cone, Nat::Cone, Promise::Direct),
    (Nat::ConeOtherPort, Nat::ConeOtherPort, Promise::Direct),
    (Nat::FullCone, Nat::Symmetric, Promise::Direct),
    (Nat::Cone, Nat::Symmetric, Promise::Relayed),
    (Nat::Symmetric, Nat::Symmetric, Promise::Relayed),
];

/// A line that loses some of what it carries.
const LOSSY: Quality = Quality {
    loss_percent: 2.0,
    ..QUALITY
};
/// How long a cable is out: longer than it takes to notice.
const CABLE_OUT: Duration = Duration::from_secs(25);

pub(super) const QUALITY: Quality = Quality {
    delay: Duration::from_millis(20),
    loss_percent: 0.0,
    rate_mbit: 100.0,
};

/// How often a scenario is played in which something came, but late: a machine that is busy with other things for a moment
/// breaks no promise, a path that is late each time does.
const PLAYS_MAX: usize = 3;

/// What a scenario did not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// What never came.
    never: usize,
    /// What came, but later than promised.
    late: usize,
}

impl Kept {
    /// Prints how long something took, and notes whether that was too long.
    pub(super) fn tell(&mut self, what: &str, took: Option<Duration>, within: Duration) {
        match took {
            Some(took) if took <= within => println!("  {what}: {:.2} s", took.as_secs_f64()),
            Some(took) => {
                let (took, within) = (took.as_secs_f64(), within.as_secs_f64());
                println!("  {what}: LATE, {took:.2} s and not {within:.0}");
                self.late += 1;
            }
            None => {
                println!("  {what}: BROKEN, never");
                self.never += 1;
            }
        }
    }
}

/// Plays a scenario, and again while nothing worse happened than that something came late; the number of promises broken.
pub(super) fn played(title: &str, play: impl Fn() -> Result<Kept>) -> Result<usize> {
    let mut kept = Kept::default();
    for number in 1..=PLAYS_MAX {
        println!("\n{title}");
        kept = play()?;
        if kept.never > 0 || kept.late == 0 {
            break;
        }
        if number == PLAYS_MAX {
            println!("  BROKEN: late {PLAYS_MAX} times of {PLAYS_MAX}");
        }
    }
    Ok(kept.never + kept.late)
}

/// Tries all pairs; the number of promises broken.
///
/// # Errors
/// The lab cannot be built.
pub(crate) fn nat() -> Result<usize> {
    let mut broken = 0;
    for (a, b, promise) in PAIRS {
        broken += played(&format!("{a} / {b}"), || pair(a, b, promise))?;
    }
    for (a, b, promise) in PAIRS {
        broken += played(&format!("{a} / {b}, 2 % of all lost"), || lossy(a, b, promise))?;
    }
    Ok(broken + played("cone / cone, no UDP gets through", no_udp)?)
}

fn pair(a: Nat, b: Nat, promise: Promise) -> Result<Kept> {
    let lab = Lab::build(a, b, QUALITY).context("build the lab")?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut story = Story::begin(&lab, folder.path())?;
    story.meet(promise, DIRECT_WITHIN)?;
    story.lose_server(promise)?;
    if a == Nat::Cone {
        if promise == Promise::Direct {
            story.lose_direct_path()?;
        }
        story.pull_cable()?;
        story.change_address()?;
    }
    Ok(story.kept)
}

/// The same over lines that lose some: whoever joins, calls and punches gets through all the same.
fn lossy(a: Nat, b: Nat, promise: Promise) -> Result<Kept> {
    let lab = Lab::build(a, b, LOSSY).context("build the lab")?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut story = Story::begin(&lab, folder.path())?;
    story.meet(promise, EVER)?;
    Ok(story.kept)
}

/// Homes in networks that let only TCP through.
fn no_udp() -> Result<Kept> {
    let lab = Lab::build(Nat::Cone, Nat::Cone, QUALITY).context("build the lab")?;
    lab.drop_udp()?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut story = Story::begin(&lab, folder.path())?;
    story.meet(Promise::Relayed, EVER)?;
    let way = story.b.path(&story.a.id)?.context("there is a path")?;
    anyhow::ensure!(way.transport == "TCP", "over {way:?} although UDP is dropped");
    Ok(story.kept)
}

/// Two boxes on one LAN with no internet and no server.
///
/// # Errors
/// The lab cannot be built.
pub(crate) fn lan() -> Result<usize> {
    Ok(played("one LAN, no internet", one_lan)? + played("one LAN of IPv6", lan_of_ipv6)?)
}

fn one_lan() -> Result<Kept> {
    let lab = Lab::build(Nat::Cone, Nat::Cone, QUALITY).context("build the lab")?;
    lab.set_internet_of_home_a(false)?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut one = Driven::start(&lab, Place::HomeA, &folder.path().join("one"), &["--mdns"])?;
    let mut two = Driven::start(&lab, Place::HomeA2, &folder.path().join("two"), &["--mdns"])?;
    let mut kept = Kept::default();
    // The invite names nothing: whoever is on the LAN is asked.
    let invite = one.invite(Vec::new())?;
    two.join(&invite)?;
    println!("  joined by an invite without addresses");
    let members = [one.id.clone(), two.id.clone()];
    one.set_members(&members)?;
    two.set_members(&members)?;
    kept.tell("first call", two.reach(&one.id, EVER)?, DIRECT_WITHIN);
    lab.change_lan_address(Place::HomeA, 10, 30)?;
    kept.tell(
        "found again after its address changed",
        two.reach(&one.id, EVER)?,
        EVER,
    );
    Ok(kept)
}

/// The same where the LAN has only IPv6, and addresses that are of the internet.
fn lan_of_ipv6() -> Result<Kept> {
    let lab = Lab::build(Nat::Cone, Nat::Cone, QUALITY).context("build the lab")?;
    let [at_one, _] = lab.make_home_a_ipv6()?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut one = Driven::start(&lab, Place::HomeA, &folder.path().join("one"), &["--ipv6"])?;
    let mut two = Driven::start(&lab, Place::HomeA2, &folder.path().join("two"), &["--ipv6"])?;
    let mut kept = Kept::default();
    let invite = one.invite(vec![at_one])?;
    two.join(&invite)?;
    let members = [one.id.clone(), two.id.clone()];
    one.set_members(&members)?;
    two.set_members(&members)?;
    kept.tell("first call", two.reach(&one.id, EVER)?, DIRECT_WITHIN);
    for (who, home, other) in [("one", &mut one, &members[1]), ("two", &mut two, &members[0])] {
        let took = home.reached(other, ("lan", None), EVER)?;
        kept.tell(&format!("{who} knows the other to be on its LAN"), took, EVER);
    }
    Ok(kept)
}

/// A mesh of a server and two homes, and what it did not keep.
struct Story<'a> {
    lab: &'a Lab,
    folder: &'a Path,
    server: Driven,
    a: Driven,
    b: Driven,
    members: Vec<String>,
    kept: Kept,
}

impl<'a> Story<'a> {
    /// Home A's box is in the mesh already, home B's comes by an invite that only the server can answer.
    fn begin(lab: &'a Lab, folder: &'a Path) -> Result<Self> {
        let mut server = start_server(lab, folder)?;
        let mut a = Driven::start(lab, Place::HomeA, &folder.join("a"), &[])?;
        let mut b = Driven::start(lab, Place::HomeB, &folder.join("b"), &[])?;
        for home in [&mut a, &mut b] {
            let invite = server.invite(vec![server_address()])?;
            home.join(&invite)?;
        }
        let members = vec![server.id.clone(), a.id.clone(), b.id.clone()];
        Ok(Self {
            lab,
            folder,
            server,
            a,
            b,
            members,
            kept: Kept::default(),
        })
    }

    fn meet(&mut self, promise: Promise, soon: Duration) -> Result<()> {
        self.server.set_members(&self.members)?;
        self.a.set_members(&self.members)?;
        self.b.set_members(&self.members)?;
        let start = Instant::now();
        self.kept
            .tell("first call", self.b.reach(&self.a.id, EVER)?, EVER);
        let wait = if promise == Promise::Direct {
            EVER
        } else {
            DIRECT_PERHAPS
        };
        let direct = self.b.direct(&self.a.id, wait)?.map(|_| start.elapsed());
        match (direct, promise) {
            (direct, Promise::Direct) => self.kept.tell("direct", direct, soon),
            (Some(after), Promise::Relayed) => println!("  direct after {:.2} s", after.as_secs_f64()),
            (None, Promise::Relayed) => {
                let relayed = self
                    .b
                    .reached(&self.a.id, ("relayed", Some(&self.server.id)), EVER)?;
                self.kept
                    .tell("relayed via the server, as these routers must", relayed, EVER);
            }
        }
        let took = self.b.block(&self.a.id, BLOCK_BYTES, EVER)?;
        println!(
            "  1 MiB there and back in {:.2} s over {}",
            took.as_secs_f64(),
            self.path()?
        );
        Ok(())
    }

    fn lose_server(&mut self, promise: Promise) -> Result<()> {
        let id = self.server.id.clone();
        self.server.kill();
        if promise == Promise::Direct {
            anyhow::ensure!(self.b.away(&id, EVER)?, "the server should be gone");
            self.kept.tell(
                "without the server",
                self.b.reach(&self.a.id, EVER)?,
                DIRECT_WITHIN,
            );
        } else {
            anyhow::ensure!(self.b.away(&self.a.id, EVER)?, "the relayed path should be gone");
        }
        self.server = start_server(self.lab, self.folder)?;
        self.server.set_members(&self.members)?;
        self.kept
            .tell("the server is back", self.b.reach(&id, EVER)?, EVER);
        self.kept
            .tell("the other home too", self.b.reach(&self.a.id, EVER)?, EVER);
        Ok(())
    }

    /// Both homes still reach the server, and each other only through it, for a while.
    fn lose_direct_path(&mut self) -> Result<()> {
        anyhow::ensure!(
            self.b.direct(&self.a.id, EVER)?.is_some(),
            "there should be a direct path"
        );
        self.lab.set_wall_between_homes(true)?;
        let relayed = self
            .b
            .reached(&self.a.id, ("relayed", Some(&self.server.id)), EVER)?;
        self.kept
            .tell("the direct path dies, the server relays", relayed, EVER);
        self.kept
            .tell("a call gets through", self.b.reach(&self.a.id, EVER)?, EVER);
        self.b.block(&self.a.id, BLOCK_BYTES, EVER)?;
        self.lab.set_wall_between_homes(false)?;
        let direct = self.b.direct(&self.a.id, BACK_WITHIN)?;
        self.kept.tell("the direct path is back", direct, BACK_WITHIN);
        Ok(())
    }

    /// Home A has no internet for a while.
    fn pull_cable(&mut self) -> Result<()> {
        self.lab.set_internet_of_home_a(false)?;
        std::thread::sleep(CABLE_OUT);
        anyhow::ensure!(!self.b.reaches(&self.a.id)?, "there should be no path");
        self.lab.set_internet_of_home_a(true)?;
        let took = self.b.reach(&self.a.id, EVER)?;
        self.kept
            .tell("its cable was out and is back, first call", took, EVER);
        Ok(())
    }

    fn change_address(&mut self) -> Result<()> {
        self.lab.change_address_of_home_a()?;
        self.kept.tell(
            "found again after its address changed",
            self.b.reach(&self.a.id, EVER)?,
            EVER,
        );
        println!("  now over {}", self.path()?);
        Ok(())
    }

    fn path(&mut self) -> Result<String> {
        let path = self.b.path(&self.a.id)?;
        Ok(path.map_or("nothing".into(), |way| format!("{} {}", way.path, way.transport)))
    }
}

fn start_server(lab: &Lab, folder: &Path) -> Result<Driven> {
    Driven::start(
        lab,
        Place::Server,
        &folder.join("server"),
        &["--public", &server_address()],
    )
}

fn server_address() -> String {
    format!("{SERVER}:{PORT}")
}
