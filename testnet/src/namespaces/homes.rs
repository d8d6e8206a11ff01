//! Two homes behind routers and a server between them, all running the real program: they become one mesh as people make it
//! one, store and read, and lose the server.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::home::{Home, within};
use super::lab::{Lab, Nat, PORT, Place, SERVER};
use super::names;
use super::nat::{DIRECT_WITHIN, EVER, Kept, QUALITY, played};
use crate::bench::find_or_build;
use crate::client::Signer;

/// Where boxes offer S3.
const PORT_OF_S3: u16 = 3900;
/// How soon everybody who is connected has heard that a member was removed.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);
/// The most that a row carries itself.
const INLINE_BYTES: usize = 4096;

/// The routers of the two homes, and whether a direct path is promised between them.
const PAIRS: [(Nat, Nat, bool); 3] = [
    (Nat::Cone, Nat::Cone, true),
    (Nat::Cone, Nat::Symmetric, false),
    (Nat::Symmetric, Nat::Symmetric, false),
];

/// Plays the story for each pair of routers; the number of promises broken.
///
/// # Errors
/// The lab cannot be built, or a command fails.
pub(crate) fn homes() -> Result<usize> {
    let program = find_or_build()?;
    let mut broken = 0;
    for (a, b, is_direct) in PAIRS {
        broken += played(&format!("the real program: {a} / {b}"), || {
            pair(&program, (a, b), is_direct)
        })?;
    }
    Ok(broken + played("the real program: one LAN, no internet", || lan(&program))?)
}

fn pair(program: &Path, (a, b): (Nat, Nat), is_direct: bool) -> Result<Kept> {
    let lab = Lab::build(a, b, QUALITY).context("build the lab")?;
    let folder = tempfile::tempdir().context("make folder")?;
    let place = |place, name| Home::new(lab.namespace(place), folder.path().join(name), program);
    let homes = [
        place(Place::Server, "server")?,
        place(Place::HomeA, "anna")?,
        place(Place::HomeB, "ben")?,
    ];
    story(&lab, homes, ([a, b], is_direct))
}

/// Two boxes on one LAN with no internet.
fn lan(program: &Path) -> Result<Kept> {
    let lab = Lab::build(Nat::Cone, Nat::Cone, QUALITY).context("build the lab")?;
    lab.set_internet_of_home_a(false)?;
    let folder = tempfile::tempdir().context("make folder")?;
    let mut anna = Home::new(lab.namespace(Place::HomeA), folder.path().join("anna"), program)?;
    let mut ben = Home::new(lab.namespace(Place::HomeA2), folder.path().join("ben"), program)?;
    anna.serve_network();
    anna.start(&[])?;
    let signer = anna.signer()?;
    ben.join(&anna, "ben")?;
    ben.start(&[])?;
    let took = within(EVER, || Ok(anna.path_to("ben")? == "lan"))?;
    let mut kept = Kept::default();
    kept.tell("path to ben", took, DIRECT_WITHIN);
    let called = called(&anna)?;
    let leads_to = |host: u8| {
        let address = IpAddr::from([192, 168, 1, host]);
        within(EVER, || {
            Ok(names::addresses(ben.namespace(), &called)?.contains(&address))
        })
    };
    kept.tell("ben's computer finds anna by name", leads_to(10)?, EVER);
    let offer = (called.clone(), PORT_OF_S3);
    let took = within(EVER, || {
        Ok(names::services(ben.namespace(), "_s3._tcp")?.contains(&offer))
    })?;
    kept.tell("and that she offers S3", took, EVER);
    anna.say(&["bucket", "create", "photos", "--owner", "lab"])?;
    let stores = |key: &str| within(EVER, || Ok(ben.put(&signer, key, b"from ben")? == 200));
    kept.tell("ben stores", stores("/photos/a")?, EVER);
    lab.change_lan_address(Place::HomeA, 10, 30)?;
    kept.tell("anna has another address, ben stores", stores("/photos/b")?, EVER);
    let took = within(EVER, || Ok(anna.get(&signer, "/photos/b")?.0 == 200))?;
    kept.tell("anna reads it", took, EVER);
    kept.tell("her name leads to the new address", leads_to(30)?, EVER);
    Ok(kept)
}

/// The name under which a box says that its network finds it.
fn called(home: &Home) -> Result<String> {
    let status = home.say(&["status"])?;
    let urls = status["s3"].as_array().context("find the addresses")?;
    let names = urls
        .iter()
        .filter_map(|url| url.as_str()?.strip_prefix("http://")?.rsplit_once(':'));
    let mut local = names
        .map(|(host, _)| host)
        .filter(|host| host.ends_with(".local"));
    local
        .next()
        .map(str::to_owned)
        .context("find the name in the network")
}

fn story(
    lab: &Lab,
    [mut server, mut anna, mut ben]: [Home; 3],
    (routers, is_direct): ([Nat; 2], bool),
) -> Result<Kept> {
    let mut kept = Kept::default();
    let public = format!("{SERVER}:{PORT}");
    server.start(&["--mesh-public", &public])?;
    let signer = server.signer()?;
    anna.join(&server, "anna")?;
    anna.start(&[])?;
    // Made behind a router that lets nobody in: the server answers for anna.
    let began = Instant::now();
    ben.join(&anna, "ben")?;
    println!(
        "  ben joined by anna's invite: {:.2} s",
        began.elapsed().as_secs_f64()
    );
    ben.start(&[])?;
    let soon = if is_direct { DIRECT_WITHIN } else { EVER };
    meets(&mut kept, &ben, (is_direct, soon))?;
    server.say(&["bucket", "create", "photos", "--owner", "lab"])?;
    gives(&mut kept, "anna", (&anna, &ben), &signer, &vec![7; INLINE_BYTES])?;
    gives(&mut kept, "ben", (&ben, &anna), &signer, b"from ben")?;

    server.kill();
    let took = within(EVER, || Ok(anna.path_to("server")?.is_empty()))?;
    kept.tell("the server is missed", took, EVER);
    if is_direct {
        meets(&mut kept, &ben, (is_direct, EVER))?;
    }
    server.start(&["--mesh-public", &public])?;
    gives(
        &mut kept,
        "the server is back, ben",
        (&ben, &anna),
        &signer,
        b"again",
    )?;

    lab.change_address_of_home_a()?;
    gives(
        &mut kept,
        "at another address, anna",
        (&anna, &ben),
        &signer,
        b"moved",
    )?;
    anna.kill();
    anna.start(&[])?;
    gives(
        &mut kept,
        "after a power failure, anna",
        (&anna, &ben),
        &signer,
        b"back",
    )?;
    let took = within(EVER, || Ok(is_as_promised(&ben.path_to("anna")?, is_direct)))?;
    kept.tell("ben reaches anna as before", took, EVER);
    is_told(&[&anna, &ben], routers)?;
    leaves(&mut kept, [&server, &anna, &ben])?;
    Ok(kept)
}

/// `net check` says what is so: who relays, of which kind the router is, and how the others are reached.
fn is_told(homes: &[&Home; 2], routers: [Nat; 2]) -> Result<()> {
    for (home, router) in homes.iter().zip(routers) {
        let told = within(EVER, || {
            let check = home.say(&["net", "check"])?;
            let peers = check["peers"].as_array().context("find the peers")?;
            let is_via_server =
                |peer: &Value| peer["path"]["kind"] != "relayed" || peer["path"]["via"] == check["relays"][0];
            Ok(check["relays"].as_array().is_some_and(|relays| relays.len() == 1)
                && peers.len() == 2
                && peers
                    .iter()
                    .all(|peer| !peer["path"].is_null() && is_via_server(peer)))
        })?;
        let check = home.say(&["net", "check"])?;
        ensure!(told.is_some(), "a home behind a {router} is told {check:#}");
        // One server sees one port: two would tell a symmetric one.
        ensure!(check["public"] == serde_json::json!([]), "{check:#}");
    }
    println!("  net check says so at both homes");
    Ok(())
}

/// A member is removed, of which it and the others hear at once.
fn leaves(kept: &mut Kept, [server, anna, ben]: [&Home; 3]) -> Result<()> {
    let heard = ben.logged_bytes();
    let began = Instant::now();
    server.say(&["peer", "remove", "ben", "--lose-data"])?;
    println!(
        "  ben is removed: that is decided after {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let mut hears = |what: &str, is_so: &mut dyn FnMut() -> Result<bool>| -> Result<()> {
        let came = within(EVER, is_so)?.map(|_| began.elapsed());
        kept.tell(what, came, REMOVED_WITHIN);
        Ok(())
    };
    hears("anna has heard it", &mut || {
        let peers = anna.say(&["peer", "ls"])?;
        let peers = peers["peers"].as_array().context("find the peers")?;
        Ok(!peers.iter().any(|peer| peer["name"] == "ben"))
    })?;
    hears("ben is cut off from both, and knows why", &mut || {
        let said = ben.logged_since(heard)?;
        Ok(said.contains("was removed from the mesh"))
    })
}

/// Whether a path is one that the routers allow.
fn is_as_promised(path: &str, is_direct: bool) -> bool {
    match is_direct {
        true => path == "direct",
        false => !path.is_empty(),
    }
}

/// Ben finds a path to anna.
fn meets(kept: &mut Kept, ben: &Home, (is_direct, soon): (bool, Duration)) -> Result<()> {
    let took = within(EVER, || Ok(is_as_promised(&ben.path_to("anna")?, is_direct)))?;
    kept.tell("path to anna", took, soon);
    println!("  which is {}", ben.path_to("anna")?);
    Ok(())
}

/// One box stores what the other reads, byte for byte.
fn gives(
    kept: &mut Kept,
    who: &str,
    (from, to): (&Home, &Home),
    signer: &Signer,
    content: &[u8],
) -> Result<()> {
    let stored = within(EVER, || Ok(from.put(signer, "/photos/it", content)? == 200))?;
    let read = within(EVER, || {
        Ok(to.get(signer, "/photos/it")? == (200, content.to_vec()))
    })?;
    kept.tell(&format!("{who} stores"), stored, EVER);
    kept.tell("the other reads it", read, EVER);
    Ok(())
}
