//! A home behind a router founds a mesh, and a server on the internet joins it: the server cannot reach the home, which calls
//! it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::home::{Home, Said, within};
use super::lab::{Lab, Nat, PORT, Place, SERVER};
use super::nat::{EVER, Kept, QUALITY, played};
use crate::bench::find_or_build;

/// How long a person is given who walks from one box to the other, in seconds.
const JOIN_S: u32 = 120;
/// How long that person takes.
const WALK: Duration = Duration::from_secs(4);
/// More than a row carries itself.
const CONTENT_BYTES: usize = 300_000;

/// How the home learns that it has to call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// When the invite is made.
    Before,
    /// By what the server says when it has knocked in vain.
    After,
}

/// Plays it for each kind of router; the number of promises broken.
///
/// # Errors
/// The lab cannot be built, or a command fails.
pub(crate) fn founder() -> Result<usize> {
    let program = find_or_build()?;
    let mut broken = 0;
    for (nat, told) in [
        (Nat::Cone, Told::After),
        (Nat::Cone, Told::Before),
        (Nat::ConeOtherPort, Told::After),
        (Nat::FullCone, Told::Before),
        (Nat::Symmetric, Told::After),
    ] {
        let how = match told {
            Told::Before => "told of it with the invite",
            Told::After => "told of it when it waits",
        };
        let title = format!("the real program: a home behind a {nat} founds, calls a server, {how}");
        broken += played(&title, || story(&program, nat, told))?;
    }
    Ok(broken)
}

fn story(program: &Path, nat: Nat, told: Told) -> Result<Kept> {
    let lab = Lab::build(nat, Nat::Cone, QUALITY).context("build the lab")?;
    let folder = tempfile::tempdir().context("make folder")?;
    let place = |place, name| Home::new(lab.namespace(place), folder.path().join(name), program);
    let (mut anna, mut server) = (place(Place::HomeA, "anna")?, place(Place::Server, "server")?);
    let mut kept = Kept::default();
    anna.start(&[])?;
    let signer = anna.signer()?;
    anna.say(&["bucket", "create", "photos", "--owner", "lab"])?;
    let content = vec![7; CONTENT_BYTES];
    ensure!(
        anna.put(&signer, "/photos/before", &content)? == 200,
        "anna stores"
    );
    lets_in(&mut kept, &anna, &server, told)?;
    server.start(&[])?;
    let took = within(EVER, || Ok(anna.path_to("vps")? == "direct"))?;
    kept.tell("anna has a direct path to the server that runs", took, EVER);
    let took = within(EVER, || {
        Ok(server.get(&signer, "/photos/before")? == (200, content.clone()))
    })?;
    kept.tell("the server reads what anna stored", took, EVER);
    let took = within(EVER, || {
        Ok(server.put(&signer, "/photos/after", b"from the server")? == 200)
    })?;
    kept.tell("it stores", took, EVER);
    let took = within(EVER, || {
        Ok(anna.get(&signer, "/photos/after")? == (200, b"from the server".to_vec()))
    })?;
    kept.tell("and anna reads that", took, EVER);
    let took = within(EVER, || {
        Ok(anna.tell(&["layout", "settle"], JOIN_S)?.code == 0 && anna.tell(&["status"], JOIN_S)?.code == 0)
    })?;
    kept.tell("all of it is in both places", took, EVER);
    // Whatever was true when it joined: both are started anew, and find each other.
    anna.kill();
    server.kill();
    server.start(&[])?;
    anna.start(&[])?;
    let took = within(EVER, || {
        Ok(server.path_to("anna")? == "direct" || is_first(&server)?)
    })?;
    kept.tell("after a power failure they find each other", took, EVER);
    Ok(kept)
}

/// Whether a box is connected to the first of the mesh, which goes by its host's name.
fn is_first(home: &Home) -> Result<bool> {
    let status = home.say(&["status"])?;
    let homes = status["homes"].as_array().context("find homes")?;
    Ok(homes
        .iter()
        .any(|home| home["member"] == 1 && home["path"]["kind"] == "direct"))
}

/// The server joins, and the home calls it.
fn lets_in(kept: &mut Kept, anna: &Home, server: &Home, told: Told) -> Result<()> {
    let address = format!("{SERVER}:{PORT}");
    let mut words = vec!["invite"];
    if told == Told::Before {
        words.extend(["--for", &address]);
    }
    let invite = anna.say(&words)?;
    let token = invite["token"].as_str().context("find the token")?;
    let began = Instant::now();
    let joined = thread::scope(|scope| -> Result<Said> {
        let mut join = vec!["join", token, "--name", "vps", "--zone", "datacentre"];
        if told == Told::Before {
            join.extend(["--mesh-public", &address]);
        }
        let joining = scope.spawn(move || server.tell(&join, JOIN_S));
        if told == Told::After {
            thread::sleep(WALK);
            let called = anna.say(&["invite", "call", &address])?;
            ensure!(
                called["state"] == "let-in" && called["name"] == "vps",
                "{called:#}"
            );
        }
        joining
            .join()
            .map_err(|_| anyhow!("the thread that joins died"))?
    })?;
    ensure!(joined.code == 0, "not let in: {} ({})", joined.error, joined.code);
    kept.tell("the server is let in", Some(began.elapsed()), EVER);
    // It said what to type at the other box: exactly what was typed.
    let advice = format!("warren invite call {address}");
    ensure!(
        joined.error.contains(&advice),
        "no word of {advice}: {}",
        joined.error
    );
    let again = server.tell(&["join", token], JOIN_S)?;
    ensure!(again.code == 6, "a box joined twice: {}", again.error);
    Ok(())
}
